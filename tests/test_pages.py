"""The tables of the documentation are those that the benchmarks print for the stored results."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "bench"))
pages = importlib.import_module("pages")


@pytest.mark.slow
@pytest.mark.parametrize("page", list(pages.pages()), ids=lambda page: page.stem)
def test_the_tables_of_a_page_are_those_of_the_stored_results(page):
    for name in ("torch", "imagecodecs", "matplotlib"):
        pytest.importorskip(name)
    assert pages.rendered(page) == page.read_text(encoding="utf-8")
