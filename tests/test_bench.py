"""The benchmarks that take a folder of images run, on a crop. Their figures are not judged here."""

import csv
import importlib
import shutil
import sys
from pathlib import Path

import pytest
from cases import DATA

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "bench"))

pytestmark = pytest.mark.slow

# Name: image, and options beside those of all.
BENCHMARKS = {
    "adaptation": ("landsat", "--quality", "20"),
    "accuracy": ("landsat", "--snr", "20"),
    "feedback": ("landsat", "--snr", "20", "30"),
    "quality": ("landsat", "--snr", "20", "--openjpeg"),
    "rate": ("landsat", "--snr", "20"),
    "spectral": ("sentinel2", "--snr", "20"),
    "subbands": ("landsat", "--snr", "10", "20", "30"),
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_writes_its_rows_and_prints_its_tables(name, tmp_path, monkeypatch, capsys):
    pytest.importorskip("imagecodecs")
    pytest.importorskip("scipy")
    common, bench = importlib.import_module("common"), importlib.import_module(name)
    stratum, *more = BENCHMARKS[name]
    (tmp_path / "images" / stratum).mkdir(parents=True)
    shutil.copy(DATA / f"{stratum}.tif", tmp_path / "images" / stratum)
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    here = lambda work, items, unit: [row for item in items for row in work(item)]  # noqa: E731
    monkeypatch.setattr(bench, "over", here, raising=False)
    options = ["--split", str(tmp_path / "images"), "--strata", stratum, *more]
    monkeypatch.setattr(sys, "argv", [name, *options])
    bench.main()
    with (tmp_path / f"{name}.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows
    assert all(row["stratum"] == stratum for row in rows)
    table = capsys.readouterr().out.rpartition("| --")[2].splitlines()
    assert len(table) > 1  # lines below the head
