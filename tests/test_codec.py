"""Whole images: targets, statistics, models, metadata."""

import io
import math

import numpy as np
import pytest
from cases import crop, model, modest, other_model, terrain
from hypothesis import given
from hypothesis import strategies as st
from images import one_line

import isoq
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.target import BandStatistics, Target
from isoq.codec.writer import compress_to
from isoq.errors import InputError, ModelMismatchError, UnsupportedImageError
from isoq.network.model import load_model
from isoq.parallel import ordered
from isoq.raster.window import window_of


def stream(
    array: np.ndarray, target: Target, options: Options | None = None, nodata: float | None = None
) -> tuple[bytes, dict]:
    out = io.BytesIO()
    summary = compress_to(
        out, ArraySource(array, nodata), target, model(), options or Options(threads=1)
    )
    return out.getvalue(), summary


def test_mse_and_what_the_file_says_of_it():
    pixels = crop("landsat.tif")
    variance = pixels.var(dtype=np.float64)
    asked = variance / 10**3.5
    data, summary = stream(pixels, Target("mse", asked))
    decoded = isoq.decompress(data)
    mse = ((decoded.astype(np.float64) - pixels) ** 2).mean()
    assert asked / 1.6 < mse < 1.6 * asked
    statistics = File(io.BytesIO(data)).statistics()
    assert statistics == summary
    assert statistics["mse"] == pytest.approx([mse], rel=1e-3)
    assert statistics["variance"] == pytest.approx([variance], rel=1e-5)
    assert statistics["target_mse"] == pytest.approx([asked], rel=1e-5)
    assert statistics["pixels"] == [pixels.size]
    assert statistics["blocks"] == 4 * 4
    block = statistics["block_error"]
    assert 0 < block["p5"] <= block["median"] <= block["p95"] <= block["max"] < 4
    assert (statistics["above"] > 0) == (block["max"] > 1)


@pytest.mark.parametrize(
    ("kind", "value", "peak"),
    [("rmse", 30.0, None), ("psnr", 60.0, None), ("psnr", 50.0, 20000.0), ("snr", 30.0, None)],
)
@pytest.mark.slow
def test_other_errors(kind, value, peak):
    pixels = crop("landsat.tif")
    power = pixels.var(dtype=np.float64) if kind == "snr" else (peak or 65535.0) ** 2
    expected = value**2 if kind == "rmse" else power / 10 ** (value / 10)
    data = isoq.compress(pixels, **{kind: value}, **({"peak": peak} if peak else {}))
    error = ((isoq.decompress(data).astype(np.float64) - pixels) ** 2).mean()
    assert expected / 1.6 < error < 1.6 * expected
    file = File(io.BytesIO(data))
    assert file.statistics()["target_mse"] == pytest.approx([expected], rel=1e-5)
    assert file.header["target"] == {"kind": kind, "value": value} | (
        {"peak": peak} if peak else {}
    )


@pytest.mark.slow
def test_snr_is_per_band_and_over_valid_pixels():
    pixels = crop("sentinel2.tif")[:, :100, :100]
    pixels[1, :50] = 65535
    data = isoq.compress(pixels, snr=25, nodata=65535)
    decoded, valid = isoq.decompress(data), pixels != 65535
    assert np.array_equal(decoded == 65535, ~valid)
    for band, (a, b, v) in enumerate(zip(decoded.astype(np.float64), pixels, valid, strict=True)):
        reached = 10 * np.log10(b[v].var(dtype=np.float64) / ((a - b)[v] ** 2).mean())
        assert abs(reached - 25) < 2, band


def test_psnr_of_floats_is_relative_to_the_largest_value():
    pixels = terrain(2, 70, 70, "float32")
    pixels[0] *= 10
    pixels[1, 3, 3] = np.nan
    statistics = File(io.BytesIO(isoq.compress(pixels, psnr=40))).statistics()
    assert statistics["target_mse"] == pytest.approx(
        [float(np.nanmax(band)) ** 2 / 1e4 for band in pixels], rel=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["snr", "mse", "psnr"])
def test_a_band_without_valid_pixels(kind):
    pixels = terrain(2, 40, 40, "float32")
    pixels[1] = np.nan
    data = isoq.compress(pixels, **{kind: 30})
    assert np.isnan(isoq.decompress(data)[1]).all()


def test_quality_has_no_promise():
    pixels = crop("landsat.tif")
    data, more = (isoq.compress(pixels, quality=value) for value in (1e-3, 1e-1))
    assert len(data) < len(more)
    statistics = File(io.BytesIO(data)).statistics()
    assert "target_mse" not in statistics
    assert "above" not in statistics
    assert (
        statistics["block_error"]["median"]
        > File(io.BytesIO(more)).statistics()["block_error"]["median"]
    )


@pytest.mark.parametrize(
    ("rate", "name"),
    [(2.0, "landsat.tif"), (4.0, "landsat.tif"), (3.0, "sentinel2.tif"), (6.0, "sentinel1.tif")],
)
@pytest.mark.slow
def test_bitrate(rate, name):
    pixels = crop(name)
    assert 8 * len(isoq.compress(pixels, bitrate=rate)) / pixels.size == pytest.approx(
        rate, rel=0.05
    )


@pytest.mark.slow
def test_bitrate_of_small_files():
    pixels = crop("landsat.tif")[:, :64, :64]
    assert 8 * len(isoq.compress(pixels, bitrate=3.0)) / pixels.size == pytest.approx(3.0, rel=0.05)


def test_unreachable_bitrate():
    for pixels, rate in (
        (terrain(1, 40, 40, "uint8"), 1e-6),
        (terrain(1, 40, 40, "uint8"), 1e3),
        (np.zeros((1, 64, 64), "uint8"), 2.0),
    ):
        with one_line(InputError, "`bitrate=", "not reachable"):
            isoq.compress(pixels, bitrate=rate)


@pytest.mark.parametrize(
    "target",
    [
        *({}, {"mse": 1, "snr": 30}, {"mse": 1, "block": 60}, {"mse": 1, "block": 0}),
        *(
            {"mse": 0},
            {"mse": -1},
            {"rmse": -2},
            {"mse": math.nan},
            {"snr": math.inf},
            {"quality": 0},
            {"bitrate": -1},
        ),
        *({"mse": 1, "peak": 3}, {"psnr": 30, "peak": 0}, {"psnr": 30, "peak": math.nan}),
        *({"psnr": -5000}, {"rmse": 1e200}),
    ],
)
def test_bad_targets(target):
    with pytest.raises(InputError) as caught:
        isoq.compress(terrain(1, 40, 40, "uint8"), **target)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("target", [{"snr": 5000}, {"mse": 1e-300}, {"rmse": 1e-200}])
def test_impossibly_good_targets(target):
    pixels = terrain(1, 64, 64, "float32")
    try:
        assert np.array_equal(isoq.decompress(isoq.compress(pixels, **target)), pixels)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(5, "u1"),
        np.zeros((1, 1, 4, 4), "u1"),
        np.zeros((0, 4, 4), "u1"),
        np.zeros((4, 0), "u1"),
    ],
)
def test_what_is_no_image(array):
    with pytest.raises(InputError, match="not an image"):
        isoq.compress(array, mse=1)


@pytest.mark.parametrize("dtype", ["bool", "complex64", "float16"])
def test_unsupported_types(dtype):
    with one_line(UnsupportedImageError, dtype):
        isoq.compress(np.zeros((4, 4), dtype), mse=1)


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">i4", ">f4"])
@pytest.mark.slow
def test_arrays_of_any_byte_order_and_layout(dtype):
    pixels = terrain(2, 50, 40, np.dtype(dtype).newbyteorder("=").name)
    plain = isoq.compress(pixels, mse=10)
    assert isoq.compress(pixels.astype(dtype), mse=10) == plain
    assert isoq.compress(np.asfortranarray(pixels), mse=10) == plain
    assert isoq.compress(np.repeat(pixels, 2, 2)[:, :, ::2], mse=10) == plain
    assert np.array_equal(
        isoq.decompress(isoq.compress(pixels[0], mse=10)),
        isoq.decompress(isoq.compress(pixels[:1], mse=10)),
    )


@pytest.mark.slow
def test_tiles_and_threads_change_nothing_but_the_size():
    pixels = crop("sentinel2.tif")
    files = [stream(pixels, Target("mse", 900.0), Options(tile=64, threads=n))[0] for n in (1, 2)]
    assert files[0] == files[1]
    file = File(io.BytesIO(files[0]))
    assert len(file.boxes) == 3 * 3
    alone = isoq.decompress(files[0])
    with_threads = np.zeros_like(alone)
    for part, samples, _ in file.at_level(0).pieces(
        model(), window_of(None, file.description, "a"), 2
    ):
        with_threads[:, part.row : part.row + part.rows, part.col : part.col + part.cols] = samples
    assert np.array_equal(alone, with_threads)
    error = ((alone.astype(np.float64) - pixels) ** 2).mean((1, 2))
    assert (error < 1.6 * 900).all()


def test_many_bands_make_several_tiles(monkeypatch):
    monkeypatch.setattr("isoq.codec.plan.MOST_BANDS", 3)
    pixels = terrain(7, 64, 64, "uint16")
    data, summary = stream(pixels, Target("mse", 50.0))
    file = File(io.BytesIO(data))
    assert [(box.band, box.bands) for box in file.boxes] == [(0, 3), (3, 3), (6, 1)]
    decoded = isoq.decompress(data)
    assert ((decoded.astype(np.float64) - pixels) ** 2).mean((1, 2)) == pytest.approx(
        summary["mse"], rel=1e-3
    )


def test_results_keep_their_order_and_errors_come_through():
    assert list(ordered(lambda n: n * n, range(50), 4)) == [n * n for n in range(50)]
    results = ordered(lambda n: 1 // (3 - n), range(50), 2)
    with pytest.raises(ZeroDivisionError):
        list(results)


@pytest.mark.slow
def test_wrong_model(tmp_path):
    data = isoq.compress(terrain(1, 64, 64, "uint16"), mse=50)
    other = other_model(tmp_path / "other-1")
    with one_line(ModelMismatchError, "data: written with model", "give its folder as `model`"):
        isoq.decompress(data, model=other)
    with pytest.raises(ModelMismatchError, match="no model 'nothing'"):
        isoq.decompress(data, model="nothing")
    made = isoq.compress(terrain(1, 64, 64, "uint16"), mse=50, model=other)
    with pytest.raises(ModelMismatchError, match="written with model"):
        isoq.decompress(made)
    assert np.array_equal(
        isoq.decompress(made, model=other), isoq.decompress(made, model=load_model(other))
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("model.json", text) for text in (None, b"", b"[]", b"{}", b"\xff")),
        *(("decoder.npz", data) for data in (None, b"PK\3\4", b"\x93NUMPY")),
        ("decoder.npz", b""),
        *(("synthesis.onnx", data) for data in (None, b"", b"no graph")),
    ],
)
def test_broken_models(tmp_path, name, content):
    folder = other_model(tmp_path / "other-1", "eo16-2")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(ModelMismatchError) as caught:
        isoq.compress(terrain(1, 64, 64, "uint8"), mse=50, model=folder)
    assert "\n" not in str(caught.value)


def test_wrong_model_object(tmp_path):
    data = isoq.compress(terrain(1, 64, 64, "uint16"), mse=50)
    with pytest.raises(ModelMismatchError):
        isoq.decompress(data, model=load_model(other_model(tmp_path / "other-1")))


@pytest.mark.slow
@modest(60)
@given(
    st.integers(1, 4),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 2**31),
    st.integers(0, 12),
)
def test_statistics_merge(bands, rows, cols, seed, cut):
    rng = np.random.default_rng(seed)
    samples = rng.normal(1e4, 50, (bands, rows, cols)).astype(np.float32)
    valid = rng.random(samples.shape) < rng.random()
    total = BandStatistics.empty(bands)
    for rows_part in (slice(0, cut), slice(cut, None)):
        for band in range(bands):
            part = (slice(band, band + 1), rows_part)
            if valid[part].size:
                total.merge(BandStatistics.of(samples[part], valid[part]), part[0])
    for band in range(bands):
        values = samples[band][valid[band]].astype(np.float64)
        assert total.pixels[band] == values.size
        if values.size:
            assert total.mean[band] == pytest.approx(values.mean(), rel=1e-9)
            assert total.variance[band] == pytest.approx(values.var(), rel=1e-6, abs=1e-6)
            assert total.largest[band] == values.max()
