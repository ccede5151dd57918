"""The list of public images is complete, and what is fetched is what was measured."""

import csv
import importlib
import shutil
import sys
from pathlib import Path

import pytest
import rasterio
from cases import DATA

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "bench"))
fetch = importlib.import_module("fetch")


@pytest.fixture
def source():
    with rasterio.open(DATA / "sentinel2.tif") as image:
        samples = image.read()
    bands, height, width = map(str, samples.shape)
    return {
        "split": "test",
        "stratum": "sentinel2",
        "file": "sentinel2/image.jp2",
        "dtype": str(samples.dtype),
        "bands": bands,
        "height": height,
        "width": width,
        "nodata": "",
        "repository": "owner/name",
        "commit": "HEAD",
        "paths": "some folder/sentinel2.tif",
        "licence": "free",
        "open_licence": "yes",
        "sha256": fetch.digest(samples),
    }


def test_every_test_image_has_a_source_and_a_licence():
    rows = fetch.sources(["test"])
    assert {row["file"].split("/")[1] for row in rows} >= set(measured_files())
    assert all(fetch.urls(row) and row["licence"] for row in rows)


def measured_files():
    with (ROOT / "bench/results/evaluate.csv").open(newline="") as stream:
        return {row["file"] for row in csv.DictReader(stream)}


def test_a_fetched_image_has_the_samples_of_its_source(source, tmp_path, monkeypatch):
    asked = []

    def download(url, path):
        asked.append(url)
        shutil.copy(DATA / "sentinel2.tif", path)

    monkeypatch.setattr(fetch, "download", download)
    fetch.fetch(source, tmp_path / source["file"])
    with rasterio.open(tmp_path / source["file"]) as image:
        assert fetch.digest(image.read()) == source["sha256"]
        assert image.crs
    assert asked == [
        "https://raw.githubusercontent.com/owner/name/HEAD/some%20folder/sentinel2.tif"
    ]
    fetch.write_index(tmp_path, [source])
    assert "sentinel2/image.jp2" in (tmp_path / "INDEX.csv").read_text()


def test_another_image_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.setattr(
        fetch, "download", lambda _, path: shutil.copy(DATA / "sentinel2.tif", path)
    )
    with pytest.raises(ValueError, match="not those that were measured"):
        fetch.fetch(source | {"sha256": "0" * 64}, tmp_path / source["file"])
    assert not list(tmp_path.iterdir())


def test_the_list_needs_no_network(monkeypatch, capsys):
    monkeypatch.setattr(fetch, "download", None)
    monkeypatch.setattr(sys, "argv", ["fetch.py", "--list", "--splits", "val"])
    assert fetch.main() == 0
    assert "landsat/pansharpening_l8_s2__landsat_cropped.jp2" in capsys.readouterr().out
