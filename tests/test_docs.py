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
        ("howto/pyramid.md", ("zarr", "xarray", "rioxarray")),
        ("howto/virtual-zarr.md", ("zarr", "numcodecs", "xarray", "rioxarray")),
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
    if '"scene.isoq", mse' not in examples[0]:
        isoq.compress_file(scene, "scene.isoq", mse=25)
    for example in examples:
        assert len(example.splitlines()) < 10
        exec(compile(example, page, "exec"), names)


OF_OTHER_TOOLS = [
    *("advise", "completion", "gdal", "progress", "pyramid"),
    *("qgis", "stac", "tiles", "view", "virtual-zarr"),
]


@pytest.mark.parametrize("task", OF_OTHER_TOOLS)
def test_a_task_of_another_tool_takes_few_lines(task):
    """Details have pages of their own."""
    assert len((ROOT / "docs" / "howto" / f"{task}.md").read_text().splitlines()) < 15
