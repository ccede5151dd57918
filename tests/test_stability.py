"""What is public does not change unnoticed."""

import public
import pytest


@pytest.mark.parametrize("part", range(4), ids=["python", "command line", "json", "format"])
def test_the_page_lists_what_is_public(part):
    blocks = public.BLOCK.findall(public.PAGE.read_text("utf-8"))
    assert len(blocks) == 4
    assert blocks[part] == public.listing()[part]
