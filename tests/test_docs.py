"""The examples of the documentation run."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
@pytest.mark.parametrize("page", ["ecosystem.md"])
@pytest.mark.slow
def test_examples(page, tmp_path, monkeypatch):
    for needed in ("zarr", "numcodecs", "xarray", "rioxarray", "dask"):
        pytest.importorskip(needed)
    shutil.copy(ROOT / "examples" / "data" / "sentinel2.tif", tmp_path / "scene.tif")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)
    assert examples
    for example in examples:
        assert len(example.splitlines()) < 10
        exec(compile(example, page, "exec"), names)
