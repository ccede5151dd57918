"""Estimates without writing, and files of a wanted rate."""

import io
import json

import numpy as np
import pytest
from cases import DATA, crop, model, modest, terrain
from hypothesis import given
from hypothesis import strategies as st
from images import make, one_line

import isoq
from isoq.cli import main
from isoq.codec.estimate import estimate
from isoq.codec.options import Options
from isoq.codec.rate import RateSearch, nearest_step
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.writer import compress_to, encode_pixels
from isoq.errors import InputError

LANDSAT = DATA / "landsat.tif"


def coded(pixels: np.ndarray, target: Target, options: Options) -> tuple[int, dict]:
    out = io.BytesIO()
    return compress_to(out, ArraySource(pixels), target, model(), options), len(out.getvalue())


@pytest.mark.slow
@pytest.mark.parametrize(
    "target", [Target("snr", 30), Target("mse", (400.0, 900.0, 100.0)), Target("quality", 0.01)]
)
@pytest.mark.parametrize("name", ["landsat.tif", "sentinel2.tif"])
def test_of_all_tiles_it_is_what_a_single_pass_writes(name, target):
    pixels = crop(name)
    if isinstance(target.value, tuple) and len(pixels) == 1:
        target = Target("mse", 400.0)
    how = Options(single_pass=True, threads=1)
    summary, size = coded(pixels, target, how)
    (result,) = estimate(ArraySource(pixels), [target], model(), how)
    assert result.bytes == pytest.approx(size, abs=16)
    assert result.bits_per_sample == pytest.approx(8 * size / pixels.size, rel=0.01)
    assert result.mse == summary["mse"]
    assert result.median == (summary["block_error"]["median"] if target.is_error else None)


@pytest.mark.slow
def test_a_sample_stands_for_the_whole():
    pixels = np.tile(crop("sentinel2.tif")[:1, :128, :128], (1, 2, 5))
    how = Options(tile=64, threads=1)
    summary, size = coded(pixels, Target("mse", 400.0), how)
    (result,) = estimate(ArraySource(pixels), [Target("mse", 400.0)], model(), how)
    assert result.bytes == pytest.approx(size, rel=0.2)
    assert result.mse == pytest.approx(summary["mse"], rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("side", "tile"), [((768, 1024), 1024), ((640, 960), 320)])
def test_at_most_a_quarter_of_a_large_image_is_coded(side, tile, monkeypatch):
    pixels = np.resize(crop("landsat.tif"), (1, 192, 224))
    pixels = np.tile(pixels, (1, 4, 5))[:, : side[0], : side[1]]
    how = Options(tile=tile, single_pass=True, threads=1)
    _, size = coded(pixels, Target("mse", 1e4), how)
    seen = []

    def counted(sample, plan, coder):
        seen.extend(part.samples.size for _, part in sample)
        return encode_pixels(sample, plan, coder)

    monkeypatch.setattr("isoq.codec.estimate.encode_pixels", counted)
    (result,) = estimate(ArraySource(pixels), [Target("mse", 1e4)], model(), how)
    assert 0.1 * pixels.size < sum(seen) <= pixels.size / 4
    assert result.bytes == pytest.approx(size, rel=0.05)


@pytest.mark.slow
def test_table_and_json(capsys, tmp_path):
    assert main(["estimate", str(LANDSAT), "--snr", "25", "30", "35"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["snr", "25"], ["snr", "30"], ["snr", "35"]]
    rates = [float(line.split()[2]) for line in lines[1:]]
    assert rates == sorted(rates)
    path = make(tmp_path / "a.tif", terrain(2, 70, 70, "uint8"))
    assert main(["estimate", str(path), "--mse", "9", "1,9", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["estimates"]
    assert first["target"] == {"kind": "mse", "value": 9}
    assert second["target"] == {"kind": "mse", "value": [1, 9]}
    assert second["mse"][0] < first["mse"][0]
    assert second["bytes"] > first["bytes"]
    assert first["ceiling_limited"] == 0
    assert main(["estimate", str(LANDSAT), "--mse", "0.01"]) == 0
    assert "100 % of the blocks out of reach" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_nothing_to_estimate(capsys, tmp_path):
    path = make(tmp_path / "a.tif", np.zeros((1, 40, 40), "uint8"), nodata=0)
    assert main(["estimate", str(path), "--snr", "30"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-1] == "-"


WRONG = {
    "--snr 20 much": "much",
    "--mse 9 --snr 30": "--snr",
    "": "--mse",
    "--mse 1 1,2": "2 values",
    "--mse 0": "--mse 0",
    "--mse": "--mse",
    "--bitrate 2": "is required",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_errors_are_one_line(capsys, arguments):
    try:
        status = main(["estimate", str(LANDSAT), *arguments.split()])
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    assert WRONG[arguments] in err


@pytest.mark.parametrize("rate", [0.7, 2.0, 5.0])
@pytest.mark.parametrize("name", ["landsat.tif", "sentinel2.tif"])
@pytest.mark.slow
def test_the_rate_is_kept(name, rate):
    pixels = crop(name)
    assert 8 * len(isoq.compress(pixels, bitrate=rate)) / pixels.size == pytest.approx(
        rate, rel=0.01
    )


@pytest.mark.slow
def test_the_rate_where_the_sample_misleads():
    pixels = terrain(1, 64 * 5, 64 * 5, "uint16")
    chosen = {int(k) for k in np.linspace(0, 24, 12)}
    for k in set(range(25)) - chosen:  # the tiles that the search does not see are rougher
        row, col = 64 * (k // 5), 64 * (k % 5)
        pixels[0, row : row + 64, col : col + 64] += (
            np.random.default_rng(k).integers(0, 150, (64, 64)).astype("uint16")
        )
    passes = []
    out = io.BytesIO()
    summary = compress_to(
        out,
        ArraySource(pixels),
        Target("bitrate", 3.0),
        model(),
        Options(tile=64, threads=1),
        passes.append,
    )
    assert sum(passes) == pixels.size
    assert min(passes) == -pixels.size  # everything was coded twice
    found = 8 * len(out.getvalue()) / pixels.size
    assert found == pytest.approx(3, rel=0.03)
    assert ("rate_missed" in summary) == (abs(found / 3 - 1) > 0.01)
    assert isoq.decompress(out.getvalue()).shape == pixels.shape
    out.seek(0)
    assert File(out).header["target"] == {"kind": "bitrate", "value": 3.0}


@pytest.mark.slow
def test_a_missed_rate_is_said(capsys, monkeypatch, tmp_path):
    real = RateSearch.find
    monkeypatch.setattr(RateSearch, "find", lambda self, wanted: real(self, 1.03 * wanted))
    path = make(tmp_path / "a.tif", crop("landsat.tif"), crs="EPSG:3857")
    assert main(["compress", str(path), "--bitrate", "3"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == len(err.splitlines()) == 1
    assert "bit/sample instead of 3: " in err


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_rate_of_floats_of_any_size(scale):
    pixels = terrain(1, 128, 128, "float32") * np.float32(scale)
    assert 8 * len(isoq.compress(pixels, bitrate=4)) / pixels.size == pytest.approx(4, rel=0.01)


def test_rates_out_of_reach():
    for rate in (1e-6, 1e3):
        with one_line(InputError, "`bitrate=", "not reachable"):
            isoq.compress(terrain(1, 40, 40, "uint8"), bitrate=rate)


@modest(200)
@given(
    st.integers(-3000, 3000),
    st.integers(2, 2500),
    st.floats(1, 1e7),
    st.floats(0.0005, 0.01),
    st.floats(0, 1),
)
def test_the_search_finds_the_nearest(low, width, wanted, slope, where):
    high = low + width

    def cost(step: int) -> float:
        assert low < step < high
        return 100 * np.exp(slope * (step - low))

    found = nearest_step(cost, wanted, low + 1 + int(where * (width - 2)), low, high)
    best = min(abs(cost(step) - wanted) for step in range(low + 1, high))
    assert abs(cost(found) - wanted) <= max(best * 1.001, 0.0021 * wanted)
