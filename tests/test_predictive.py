"""Predicted bands: what is promised to every pixel holds exactly, whatever the image."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import spec_decoder
from cases import CROPS, crop, model, modest, terrain
from hypothesis import given
from hypothesis import strategies as st
from images import DTYPES, make, one_line, samples

import isoq
from isoq.cli import main
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.verify import verify_against
from isoq.codec.writer import compress_to
from isoq.errors import CorruptFileError, InputError
from isoq.tile import masks
from isoq.tile.decode import decode_tile
from isoq.tile.encode import encode_tile
from isoq.tile.groups import Mode
from isoq.tile.predictive.decode import decode
from isoq.tile.predictive.encode import encode_bounded
from isoq.tile.targets import BoundTarget, ErrorTarget

PATTERNS = ("noise", "terrain", "constant", "few", "apart", "doubled", "edges", "alike")


def pattern(kind: str, bands: int, rows: int, cols: int, dtype: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = (
        samples(bands, rows, cols, dtype, seed)
        if kind == "noise"
        else terrain(bands, rows, cols, dtype, seed)
    )
    if kind == "constant":
        image[:] = image[0, 0, 0]
    if kind == "few":
        image = image.ravel()[rng.integers(0, min(3, image.size), image.shape)]
    if kind == "apart":
        image = image // 8 * 8
    if kind == "doubled":
        image = image[:, :, np.arange(cols) // 2]
    if kind == "alike":
        image[:] = image[:1] // 2
    if kind == "edges":
        limits = np.finfo(dtype) if dtype == "float32" else np.iinfo(dtype)
        image = np.array([limits.min, limits.max, 0, 1], dtype)[rng.integers(0, 4, image.shape)]
    return image


@pytest.mark.slow
@modest(150)
@given(
    st.sampled_from(PATTERNS),
    st.integers(1, 4),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(DTYPES),
    st.sampled_from([0, 1, 2, 5, 10, 0.3, 1e5]),
    st.sampled_from([None, "inside", "first"]),
    st.integers(0, 99),
)
def test_no_valid_pixel_is_off_by_more(kind, bands, rows, cols, dtype, bound, special, seed):
    image = pattern(kind, bands, rows, cols, dtype, seed)
    nodata = {
        None: None,
        "inside": float(np.sort(image.ravel())[image.size // 2]),
        "first": float(image[0, 0, 0]),
    }[special]
    per_band = (nodata,) * bands
    data, report = encode_tile(
        image, per_band, BoundTarget(np.full(bands, float(bound))), model(), 16
    )
    tile = decode_tile(data, per_band, model(), image.shape, dtype)
    valid = masks.classify(image, per_band) == masks.VALID
    error = np.abs(tile.samples.astype(np.float64) - image)
    assert error[valid].max(initial=0) <= bound
    assert report.largest.max() == error[valid].max(initial=0)
    assert np.array_equal(tile.samples[~valid], image[~valid])
    assert np.array_equal(tile.valid, valid)
    if valid.any():
        assert np.allclose(tile.report.squared, report.squared, rtol=0.02)


@modest(80)
@given(
    st.sampled_from(PATTERNS),
    st.integers(1, 3),
    st.integers(1, 30),
    st.integers(1, 30),
    st.sampled_from(DTYPES),
    st.integers(0, 99),
)
def test_lossless_is_bit_for_bit(kind, bands, rows, cols, dtype, seed):
    image = pattern(kind, bands, rows, cols, dtype, seed)
    if dtype == "float32" and kind != "constant":
        odd = np.random.default_rng(seed).random(image.shape) < 0.05
        image.view(np.uint32)[odd] = np.array(
            [0x7FC00001, 0xFFC00000, 0x7F800000, 0x80000000, 1], np.uint32
        )[seed % 5]
    assert (
        isoq.decompress(isoq.compress(image, lossless=True, nodata=float(image[0, 0, 0]))).tobytes()
        == image.tobytes()
    )


@pytest.mark.parametrize("name", CROPS)
@pytest.mark.parametrize("bound", [0, 1, 2, 5, 10])
def test_smaller_than_jpeg_ls(name, bound):
    imagecodecs = pytest.importorskip("imagecodecs")
    image = crop(name)
    if image.dtype.kind == "f":
        image = (image * 40).clip(0, 65535).astype("uint16")
    ours, decoded = encode_bounded(
        image, np.ones(image.shape, bool), (None,) * len(image), np.full(len(image), bound), 64
    )
    assert np.abs(decoded.astype(int) - image).max() <= bound
    assert len(ours) < 1.01 * sum(
        len(imagecodecs.jpegls_encode(band, level=bound)) for band in image
    )


def test_bands_help_each_other():
    image = crop("sentinel2.tif")
    together = len(isoq.compress(image, lossless=True))
    apart = sum(len(isoq.compress(band, lossless=True)) for band in image)
    assert together < 0.95 * apart


def test_repeated_samples_cost_little():
    image = crop("landsat.tif")
    wide = image.repeat(2, axis=2)
    assert len(isoq.compress(wide, lossless=True)) < 1.15 * len(isoq.compress(image, lossless=True))


@pytest.mark.parametrize("kind", ["values", "masked"])
def test_what_is_missing_costs_next_to_nothing(kind):
    image = crop("landsat.tif")
    half = image.shape[2] // 2
    image[:, :, :half] = 0
    left = len(isoq.compress(image[:, :, half:], lossless=True, nodata=0))
    assert (
        len(isoq.compress(image, lossless=True, nodata=0 if kind == "masked" else None))
        < 1.03 * left + 100
    )


def test_floats_keep_a_mean_error_too():
    image = crop("sentinel1.tif")
    goal, nodata = (
        ErrorTarget(np.full((len(image), 1, 1), image.var() * 1e-5)),
        (None,) * len(image),
    )
    data, report = encode_tile(image, nodata, goal, model())
    assert (report.relative <= 1).all()
    assert report.modes[Mode.PREDICTIVE] == len(image)
    tile = decode_tile(data, nodata, model(), image.shape, "float32")
    assert np.mean((tile.samples - image) ** 2) <= image.var() * 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("bound", [0.0, 3.0])
def test_damage_is_noticed(bound):
    image = crop("sentinel2.tif")[:, :40, :48]
    valid, nodata = np.ones(image.shape, bool), (None,) * len(image)
    data = encode_bounded(image, valid, nodata, np.full(len(image), bound), 16)[0]
    rng, unnoticed = np.random.default_rng(0), 0
    for _ in range(300):
        altered = bytearray(data)
        altered[rng.integers(min(len(data), 400 if rng.random() < 0.7 else len(data)))] ^= (
            1 << rng.integers(8)
        )
        try:
            decoded = decode(bytes(altered), image.shape, image.dtype, valid, nodata, 16)
            unnoticed += decoded.shape == image.shape
        except CorruptFileError:
            pass
    assert unnoticed < 60  # the checksums of the file's chunks are for the rest
    for size in range(0, len(data), 97):
        with pytest.raises(CorruptFileError):
            decode(data[:size], image.shape, image.dtype, valid, nodata, 16)
        with pytest.raises(CorruptFileError):
            decode(rng.bytes(size), image.shape, image.dtype, valid, nodata, 16)


@pytest.mark.parametrize(
    ("target", "nodata"),
    [(("lossless", True), None), (("max_error", 4.0), 800.0), (("mse", 20.0), None)],
)
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
@pytest.mark.slow
def test_the_page_says_it_all(target, nodata, dtype):
    image = crop("sentinel2.tif")[:3, :37, :41].astype(dtype)
    out = io.BytesIO()
    compress_to(
        out, ArraySource(image, nodata), Target(*target), model(), Options(block=16, threads=1)
    )
    found = spec_decoder.decode(out.getvalue(), model().folder)
    assert found.tiles[0].groups[0].mode == Mode.PREDICTIVE
    assert found.samples.tobytes() == isoq.decompress(out.getvalue()).tobytes()


def test_verify_proves_the_bound():
    image = crop("landsat.tif")[:, :70, :90]
    out = io.BytesIO()
    compress_to(out, ArraySource(image), Target("max_error", 3), model(), Options(threads=1))
    out.seek(0)
    file = File(out)
    assert verify_against(file, ArraySource(image), model(), 1) == []
    image[0, 5, 7] += 9
    assert "off by" in " ".join(verify_against(file, ArraySource(image), model(), 1))


def test_command_line(tmp_path: Path, capsys):
    image = crop("sentinel2.tif")[:, :60, :80]
    source = make(
        tmp_path / "a.tif", image, lambda dataset: setattr(dataset, "scales", (1e-4,) * len(image))
    )
    for options, most in (
        (["--lossless"], 0),
        (["--max-error", "2"], 2),
        (["--max-error", "0.0005", "--physical"], 5),
    ):
        assert main(["compress", str(source), "--quiet", "--overwrite", *options]) in (None, 0)
        assert main(
            [
                "decompress",
                str(tmp_path / "a.isoq"),
                str(tmp_path / "b.tif"),
                "--overwrite",
                "--quiet",
            ]
        ) in (None, 0)
        assert main(["verify", str(tmp_path / "a.isoq"), "--against", str(source), "--quiet"]) in (
            None,
            0,
        )
        with rasterio.open(tmp_path / "b.tif") as back:
            assert np.abs(back.read().astype(int) - image).max() == most
        capsys.readouterr()
        main(["info", str(tmp_path / "a.isoq"), "--json"])
        facts = json.loads(capsys.readouterr().out)
        assert facts["modes"] == {"predictive": 1.0}
        assert facts.get("max_error") == [most] * len(image)
        main(["info", str(tmp_path / "a.isoq")])
        assert "100 % predictive" in capsys.readouterr().out
    main(["estimate", str(source), "--max-error", "1", "4", "--json"])
    sizes = [entry["bytes"] for entry in json.loads(capsys.readouterr().out)["estimates"]]
    assert sizes[0] > sizes[1] > 1000


def test_lossless_bands_among_lossy_ones():
    image = crop("sentinel2.tif")[:, :64, :64]
    out = io.BytesIO()
    compress_to(
        out,
        ArraySource(image),
        Target("snr", 15),
        model(),
        Options(lossless_bands=(0, 1), threads=1),
    )
    back = isoq.decompress(out.getvalue())
    assert np.array_equal(back[:2], image[:2])
    assert not np.array_equal(back[2], image[2])


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"max_error": -1}, "negative"),
        ({"lossless": False}, "lossless"),
        ({"max_error": (1, 2)}, "values"),
    ],
)
def test_bad_bounds(target, words):
    with one_line(InputError, words):
        isoq.compress(crop("landsat.tif")[:, :20, :20], **target)


def test_window_and_tiles():
    image = np.tile(crop("sentinel2.tif"), (1, 2, 2))[:, :200, :230]
    out = io.BytesIO()
    compress_to(
        out, ArraySource(image), Target("lossless", True), model(), Options(tile=64, threads=1)
    )
    out.seek(0)
    with isoq.open(out) as source:
        assert np.array_equal(
            source.read([2, 1], window=((50, 150), (60, 200))), image[[1, 0], 50:150, 60:200]
        )


@modest(60)
@given(
    st.integers(0, 9999),
    st.sampled_from([1e-20, 1.0, 3e4, 1e20]),
    st.sampled_from([1e-4, 0.02, 0.3, 2.0]),
    st.sampled_from([0.0, 1.0, -0.37]),
)
def test_floats_on_both_sides_of_nodata_keep_their_bound(seed, scale, share, place):
    """Some of them are nearer to nodata than the bound, and would be rounded to it."""
    rng = np.random.default_rng(seed)
    nodata = float(np.float32(place * scale))
    image = (
        nodata + rng.normal(0, scale, rng.integers(1, 40, 3) % [3, 40, 40] + [1, 0, 0])
    ).astype("float32")
    image[rng.random(image.shape) < rng.choice([0, 0.2])] = nodata
    bound = scale * share
    back = isoq.decompress(isoq.compress(image, max_error=bound, nodata=nodata, threads=1))
    assert np.array_equal(back == np.float32(nodata), image == np.float32(nodata))
    assert np.abs(back.astype(np.float64) - image).max() <= bound


def test_fine_errors_of_floats_beside_nodata():
    """Such steps are single integers."""
    image = np.random.default_rng(1).normal(0, 100, (1, 64, 64)).astype("float32")
    image[0, 1, 1] = 0
    for mse in (1e-6, 1e-3, 1.0):
        data = isoq.compress(image, mse=mse, nodata=0)
        assert np.square(isoq.decompress(data).astype(np.float64) - image).mean() <= mse
