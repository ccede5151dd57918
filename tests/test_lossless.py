"""Bands that are kept as they are, among others that are not."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import rasterio
from cases import crop, model, modest
from hypothesis import given
from hypothesis import strategies as st
from images import DTYPES, make, one_line, samples

from isoq.cli import main
from isoq.codec.lossless_bands import categorical, exact_bands
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.verify import verify_against
from isoq.codec.writer import compress_to
from isoq.errors import CorruptFileError, InputError
from isoq.raster.description import Description
from isoq.tile.lossless import pack, unpack


def codes(rows: int, cols: int) -> np.ndarray:
    """A class map as Landsat's QA_PIXEL: few, large, unequal values in patches."""
    coarse = np.random.default_rng(4).choice(
        [1, 21824, 21952, 22280, 55052], (rows // 8 + 1, cols // 8 + 1)
    )
    return np.kron(coarse, np.ones((8, 8), int))[:rows, :cols].astype(np.uint16)


@modest(60)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(DTYPES),
    st.integers(0, 3),
    st.integers(0, 99),
)
def test_anything_comes_back(rows, cols, dtype, few, seed):
    image = samples(1, rows, cols, dtype, seed)[0]
    if few:
        image = image.ravel()[
            np.random.default_rng(seed).integers(0, min(few, image.size), image.shape)
        ]
    if dtype == "float32":
        image[0, 0] = np.nan
    back = unpack(pack(image), image.shape, image.dtype)
    assert back.dtype == image.dtype
    assert back.tobytes() == image.tobytes()


def test_class_maps_are_small():
    image = codes(512, 512)
    assert len(pack(image)) < image.nbytes / 100


@pytest.mark.parametrize(
    "image", [codes(40, 40), samples(1, 40, 40, "int32")[0]], ids=["few values", "many values"]
)
def test_damage_is_noticed_or_changes_nothing_else(image):
    data = pack(image)
    for shape in ((40, 41), (39, 40)):
        with pytest.raises(CorruptFileError):
            unpack(data, shape, image.dtype)
    for at in range(0, len(data), 1 + len(data) // 60):
        for altered in (data[:at], data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]):
            try:
                assert unpack(altered, image.shape, image.dtype).shape == image.shape
            except CorruptFileError as error:
                assert "damaged" in str(error)  # noqa: PT017


def test_among_lossy_bands():
    image = crop("landsat.tif")[0]
    both = np.stack([image, codes(*image.shape), image[::-1]])
    out = io.BytesIO()
    summary = compress_to(
        out, ArraySource(both, 0), Target("snr", 30), model(), Options(lossless_bands=(1,))
    )
    file = File(io.BytesIO(out.getvalue()))
    ((_, tile),) = file.tiles(model())
    assert np.array_equal(tile.samples[1], both[1])
    assert not np.array_equal(tile.samples[0], both[0])
    assert summary["mse"][1] == 0
    assert 0 < summary["block_error"]["p5"] <= summary["block_error"]["max"] <= 1
    assert verify_against(file, ArraySource(both, 0), model(), 1) == []
    other = both.copy()
    other[1, 5, 5] += 1
    assert verify_against(file, ArraySource(other, 0), model(), 1)


def test_names_palettes_and_alpha_are_recognized():
    def bands(dtype="uint16", **metadata) -> tuple[int, ...]:
        return categorical(Description(3, 9, 9, dtype, (None,) * 3, metadata), "scene.tif")

    assert bands(descriptions=["B04", "QA_PIXEL", "SCL"]) == (1, 2)
    assert bands(descriptions=["Squall", "Classy", "aqua"]) == ()
    assert bands(colorinterp=["red", "palette", "alpha"]) == (1, 2)
    assert bands("float32", descriptions=["B04", "QA_PIXEL", "SCL"]) == ()
    single = Description(1, 9, 9, "uint8", (None,))
    assert categorical(single, "T31TCJ_20240101_SCL_20m.jp2") == (0,)
    assert categorical(single, "LC08_L2SP_197030_20200101_02_T1_QA_PIXEL.TIF") == (0,)
    assert categorical(single, "T31TCJ_20240101_B04_10m.jp2") == ()
    assert categorical(single, "solaris__road_mask_input.jp2") == ()


def test_lists_of_bands():
    d = Description(9, 9, 9, "uint8", (None,) * 9)
    assert exact_bands("4,7-9", d, "x") == (3, 6, 7, 8)
    assert exact_bands("none", d, "mask.tif") == ()
    for wrong in ("0", "10", "3-2", "x", "1,,2"):
        with one_line(InputError, "lossless_bands=", wrong):
            exact_bands(wrong, d, "x")


def test_on_the_command_line(tmp_path, capsys):
    image = crop("landsat.tif")[:1]
    both = np.concatenate([image, codes(*image.shape[1:])[None]])
    path = make(
        tmp_path / "scene.tif",
        both,
        lambda dataset: setattr(dataset, "descriptions", ("B4", "QA_PIXEL")),
    )
    file, back = str(tmp_path / "x.isoq"), str(tmp_path / "x.tif")
    assert main(["compress", str(path), file, "--snr", "25"]) == 0
    assert "lossless bands: 2" in capsys.readouterr().out
    assert main(["info", file]) == 0
    assert "band 2: lossless" in capsys.readouterr().out
    assert main(["decompress", file, back]) == 0
    with rasterio.open(back) as dataset:
        assert np.array_equal(dataset.read(2), both[1])
        assert not np.array_equal(dataset.read(1), both[0])
    assert main(["verify", file, "--against", str(path)]) == 0
    capsys.readouterr()
    assert (
        main(
            [
                "compress",
                str(path),
                file,
                "--snr",
                "25",
                "--lossless-bands",
                "none",
                "--overwrite",
                "--json",
            ]
        )
        == 0
    )
    assert "lossless" not in json.loads(capsys.readouterr().out)["files"][0]
    assert main(["compress", str(path), file, "--bitrate", "2", "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["bits_per_sample"] == pytest.approx(
        2, rel=0.02
    )
