"""The harness of `isoq evaluate`: groups of bands, tables, runs that are resumed, the report in a
browser."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from browser import Browser, chromium
from cases import DATA, crop
from images import make, one_line

pytest.importorskip("imagecodecs")
pytest.importorskip("matplotlib")
pytest.importorskip("scipy")

from evaluation import Shifted, plan_of, scene

from isoq.cli import main
from isoq.errors import InputError
from isoq.evaluate import images, isoq_codec, plan, plots, run, tables
from isoq.evaluate.measure import MATCHED, measure
from isoq.evaluate.plan import EvaluationJob, EvaluationPlan, jobs_of
from isoq.evaluate.reference_codecs import REFERENCE_CODECS

pytestmark = pytest.mark.slow


def test_groups_of_an_image(tmp_path):
    bands, rows, cols = crop("sentinel2.tif").shape
    found = images.groups_of(DATA / "sentinel2.tif", 2, 100)
    assert [group.bands for group in found] == [(0,), (bands - 1,), tuple(range(bands))]
    assert found[0].window == ((rows - 100) // 2, (cols - 100) // 2, 100, 100)
    samples, valid = found[-1].read()
    assert np.array_equal(
        samples, crop("sentinel2.tif")[:, (rows - 100) // 2 :, (cols - 100) // 2 :][:, :100, :100]
    )
    assert valid.all()


def test_stratum_sensor_and_bands_are_known_from_the_index(tmp_path):
    (tmp_path / "green").mkdir()
    path = make(tmp_path / "green" / "a.tif", np.repeat(scene(1, 64), 4, 0))
    (tmp_path / "INDEX.csv").write_text(
        "stratum,file,sensor\nmeadow,green/a.tif,Sentinel-2 L1C 10 m\n"
    )
    group = images.groups_of(path, 1, 64)[-1]
    assert (group.stratum, group.sensor, group.red_nir) == ("meadow", "Sentinel-2 L1C 10 m", (2, 3))
    names = ((1, "NIR"), (3, "Red"))
    named = make(
        tmp_path / "green" / "b.tif",
        scene(3, 64),
        lambda d: [d.set_band_description(*name) for name in names],
    )
    group = images.groups_of(named, 1, 64)[-1]
    assert (group.stratum, group.red_nir) == ("green", (2, 0))


def test_masked_pixels_are_filled_for_peers():
    samples, valid = scene().copy(), np.ones((1, 128, 128), bool)
    valid[0, :30] = False
    samples[~valid] = 65535
    out = images.filled(samples, valid)
    assert np.array_equal(out[valid], samples[valid])
    assert np.all(out[~valid] == round(samples[valid].mean()))


@pytest.mark.parametrize("codec", ["isoq", "jpeg2000", "klt-jpeg2000", "lerc"])
def test_nodata_costs_nothing_and_counts_nothing(codec, tmp_path):
    samples = scene(2, 96).astype(np.int16)
    samples[:, :40, :50] = -999
    group = images.groups_of(make(tmp_path / "holes.tif", samples, nodata=-999), 1, 96)[-1]
    plan = EvaluationPlan((group,), (codec,), "snr", (30.0,), "eo16", 64)
    done = measure(EvaluationJob(plan, group, codec, 30.0))
    assert done.failure == ""
    for row in done.rows:
        assert row["samples"] == 2 * (96 * 96 - 40 * 50)
        assert row["max_error"] < 500
        assert 0.7 < row["of_target"] < 1.5


ARGUMENTS = [
    "--crop",
    "96",
    "--bands",
    "1",
    "--peers",
    "jpeg2000,klt-jpeg2000,jpegls",
    "--snr",
    "20",
    "30",
    "40",
    "--threads",
    "2",
    "--quiet",
]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The folder of a small comparison."""
    folder = tmp_path_factory.mktemp("evaluate") / "out"
    assert (
        main(
            [
                "evaluate",
                str(DATA / "sentinel2.tif"),
                str(DATA / "landsat.tif"),
                *ARGUMENTS,
                "--out",
                str(folder),
            ]
        )
        == 0
    )
    return folder


def test_rows_are_complete(compared):
    rows = tables.read(compared / "rows.csv")
    single = [row for row in rows if not row["joint"]]
    modes = {
        ("isoq", "closed loop"),
        ("isoq", "single pass"),
        ("jpeg2000", "matched"),
        ("jpeg2000", "one shot"),
    }
    assert {(r["codec"], r["mode"]) for r in single} == modes | {
        ("jpegls", "matched"),
        ("jpegls", "one shot"),
    }
    assert {r["codec"] for r in rows if r["joint"]} == {
        "isoq",
        "jpeg2000",
        "klt-jpeg2000",
        "jpegls",
    }
    for row in rows:
        assert row["bits"] == pytest.approx(8 * row["bytes"] / row["samples"], rel=1e-5)
        assert row["of_target"] == pytest.approx(row["mse"] / row["target"], rel=1e-5)
    assert all(row["blocks_above"] == 0 for row in rows if row["mode"] == "closed loop")
    assert all(
        np.isfinite(row["angle"]) for row in rows if row["joint"] and row["mode"] != "one shot"
    )
    if find_spec("pyarrow"):
        from pyarrow import parquet

        assert parquet.read_table(compared / "rows.parquet").num_rows == len(rows)
    about = json.loads((compared / "about.json").read_text())
    assert about["model"][0] == "eo16-5"
    assert set(about["peers"]) == {"jpeg2000", "klt-jpeg2000", "jpegls"}


def test_tables_and_delta_rates(compared):
    rows = tables.read(compared / "rows.csv")
    deltas = tables.delta_rates(rows)
    assert tables.mean_delta(deltas["data", False, "jpeg2000", "matched"]) == pytest.approx(
        0, abs=1e-9
    )
    assert -0.5 < tables.mean_delta(deltas["data", False, "isoq", "closed loop"]) < 0.5
    for table in (
        tables.delta_table(rows, False),
        tables.rate_table(rows, False),
        tables.accuracy_table(rows),
        tables.speed_table(rows),
    ):
        assert table[1]
        assert all(len(line) == len(table[0]) for line in table[1])


def test_a_finished_run_is_not_repeated(compared, capsys):
    before = (compared / "rows.jsonl").read_bytes()
    rows = (compared / "rows.csv").read_bytes()
    assert (
        main(
            [
                "evaluate",
                str(DATA / "sentinel2.tif"),
                str(DATA / "landsat.tif"),
                *ARGUMENTS,
                "--out",
                str(compared),
                "--json",
            ]
        )
        == 0
    )
    facts = json.loads(capsys.readouterr().out)
    assert facts["failures"] == []
    assert {entry["codec"] for entry in facts["delta_rates"]} == {
        "isoq",
        "jpeg2000",
        "klt-jpeg2000",
        "jpegls",
    }
    assert (compared / "rows.jsonl").read_bytes() == before
    assert (compared / "rows.csv").read_bytes() == rows


def test_a_stopped_run_goes_on(compared, tmp_path):
    lines = (compared / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_text("".join(lines[:-2]) + lines[-2][:50])
    stale = json.loads(lines[0])
    plan = plan_of(DATA / "sentinel2.tif", ("jpegls",), (20.0,))
    rows, failures = run.run(plan, tmp_path, 1, True)
    assert rows
    assert not failures
    kept = (tmp_path / "rows.jsonl").read_text().splitlines(keepends=True)
    assert kept[: len(lines) - 2] == lines[:-2]  # the line that was cut off is gone
    assert all(json.loads(line)["key"] for line in kept)
    assert stale["key"] in {json.loads(line)["key"] for line in kept}


def test_a_result_of_another_image_or_code_does_not_count(tmp_path, monkeypatch):
    job = jobs_of(plan_of(DATA / "landsat.tif", ("jpeg2000",)), tmp_path)[0]
    keys = {
        job.key,
        replace(job, group=replace(job.group, digest="another")).key,
        replace(job, value=31.0).key,
    }
    monkeypatch.setattr(plan, "code_version", lambda codec: "another")
    assert len(keys | {job.key}) == 4


def test_a_failure_is_told_and_the_rest_is_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "ProcessPoolExecutor", Here)
    monkeypatch.setitem(REFERENCE_CODECS, "jpegls", Shifted)
    arguments = [
        "--crop",
        "64",
        "--bands",
        "1",
        "--peers",
        "jpegls,jpeg2000",
        "--snr",
        "30",
        "--quiet",
        "--out",
        str(tmp_path / "o"),
    ]
    assert main(["evaluate", str(DATA / "landsat.tif"), *arguments]) == 1
    captured = capsys.readouterr()
    assert "shifted" in captured.err
    assert captured.err.count("\n") == 1
    codecs = {row["codec"] for row in csv.DictReader((tmp_path / "o" / "rows.csv").open())}
    assert codecs == {"isoq", "jpeg2000"}
    assert "shifted" in (tmp_path / "o" / "report.html").read_text()


class Here:
    """A pool of no processes, so that what a test has replaced is seen."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, work, job):
        from concurrent.futures import Future

        future = Future()
        future.set_result(work(job))
        return future


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--peers", "gzip"], ["gzip"]),
        (["--snr", "-3"], ["-3"]),
        (["--crop", "10"], ["crop"]),
        (["--model", "nowhere"], ["nowhere"]),
        (["--block", "17"], ["17"]),
    ],
)
def test_bad_usage_is_one_line(arguments, words, tmp_path, capsys):
    assert (
        main(["evaluate", str(DATA / "landsat.tif"), "--out", str(tmp_path / "o"), *arguments]) == 2
    )
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(word in error for word in words)
    assert not (tmp_path / "o").exists()


def test_nothing_to_compare(tmp_path):
    path = make(tmp_path / "flat.tif", np.full((1, 64, 64), 7, np.uint16))
    from isoq.evaluate.write import compare

    with one_line(InputError, "nothing to compare"):
        compare(plan_of(path, ("jpeg2000",)), tmp_path, 1, True)


@pytest.mark.skipif(not chromium(), reason="no Chromium: apt-get install chromium-headless-shell")
def test_the_report_in_a_browser(compared):
    with Browser() as browser:
        browser.open((compared / "report.html").as_uri())
        assert browser.run("document.querySelectorAll('table').length") >= 5
        assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert browser.run("document.querySelectorAll('.viewer').length") == 1
        edge = "document.querySelector('.over').style.clipPath"
        assert browser.run(edge) == "inset(0px 50% 0px 0px)"

        left, top, width, height = browser.run(
            "(() => { const s = document.querySelector('.swipe'); s.scrollIntoView(); const b = "
            "s.getBoundingClientRect();"
            " return [b.left, b.top, b.width, b.height]; })()"
        )
        browser.drag((left + width / 2, top + height / 2), (left + width / 4, top + height / 2))
        moved = float(browser.run(edge).split()[1].rstrip("%"))
        assert moved == pytest.approx(75, abs=1)
        assert float(
            browser.run("document.querySelector('input[type=range]').value")
        ) == pytest.approx(25, abs=1)

        browser.run("document.querySelector('input[type=range]').focus()")
        browser.key("ArrowRight")
        assert float(browser.run(edge).split()[1].rstrip("%")) < moved

        picture = "document.querySelector('.under img').dataset.layer"
        assert browser.run(picture) == "isoq"
        change = (
            "const s = document.querySelectorAll('select')[1]; s.value = 'JPEG 2000'; "
            "s.dispatchEvent(new Event('change'));"
        )
        browser.run(f"(() => {{ {change} }})()")
        assert browser.run(picture) == "JPEG 2000"
        assert browser.complaints == []
        assert browser.requests == []


@pytest.mark.parametrize("panels", [1, 2, 5])
def test_the_legend_lies_within_the_figure(panels):
    """All codecs have a name in it, however narrow the figure is."""
    rows = [
        {
            "stratum": f"stratum {panel}",
            "joint": 0,
            "file": "a.tif",
            "bands": "1",
            "codec": codec,
            "mode": isoq_codec.CLOSED if codec == isoq_codec.NAME else MATCHED,
            "requested": snr,
            "snr": snr,
            "bits": snr / 10,
        }
        for panel in range(panels)
        for codec in tables.ORDER
        for snr in (20.0, 30.0)
    ]
    figure = plots.rate_distortion_figure(rows)
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert len(legend.get_texts()) == len(tables.ORDER)
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    drawn = [axis.get_tightbbox() for axis in figure.axes if axis.axison]
    assert min(part.y0 for part in drawn) >= box.y1


def test_the_report_loads_nothing(compared):
    text = (compared / "report.html").read_text()
    assert "http" not in text.replace("http-equiv", "")
    assert "src='data:image/png;base64," in text
    for name in ("rate-distortion", "block-errors", "speed"):
        assert (compared / f"{name}.png").read_bytes().startswith(b"\x89PNG")
