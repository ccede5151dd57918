"""The examples of the documentation run."""

import re
import shutil
from pathlib import Path

import pytest

import isoq

ROOT = Path(__file__).parent.parent


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
@pytest.mark.parametrize(
    ("page", "needed"),
    [
        ("ecosystem.md", ("zarr", "numcodecs", "xarray", "rioxarray", "dask")),
        ("howto/tiles.md", ("rio_tiler",)),
    ],
)
@pytest.mark.slow
def test_examples(page, needed, tmp_path, monkeypatch):
    for library in needed:
        pytest.importorskip(library)
    scene = ROOT / "examples" / "data" / "sentinel2.tif"
    shutil.copy(scene, tmp_path / "scene.tif")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)
    assert examples
    if "compress_file(" not in examples[0]:
        isoq.compress_file(scene, "scene.isoq", mse=25)
    for example in examples:
        assert len(example.splitlines()) < 10
        exec(compile(example, page, "exec"), names)
