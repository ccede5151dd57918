"""Bands that are kept as they are, among others that are not."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import rasterio
from cases import DATA, crop, model, modest, terrain
from hypothesis import given
from hypothesis import strategies as st
from images import DTYPES, make, one_line, samples
from rasterio.enums import ColorInterp

from isoq.cli import main
from isoq.codec.lossless_bands import lossless_bands
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.verify import verify_against
from isoq.codec.writer import compress_to
from isoq.errors import CorruptFileError, InputError
from isoq.raster.source import open_source
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


@pytest.mark.slow
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


def found(path, text="auto", mask="auto") -> tuple[int, ...]:
    with open_source(path, mask=mask) as source:
        return lossless_bands(text, source).bands


def test_names_palettes_and_alpha_are_recognized(tmp_path):
    def bands(names=None, colours=None, dtype="uint16") -> tuple[int, ...]:
        pixels = terrain(3, 40, 40, dtype)
        pixels[2] = 1  # not measurements, should it be an alpha band
        path = make(tmp_path / "a.tif", pixels, lambda dataset: describe(dataset, names, colours))
        return found(path)

    def describe(dataset, names, colours):
        dataset.descriptions = names or (None,) * 3
        if colours:
            dataset.colorinterp = [ColorInterp[colour] for colour in colours]

    assert bands(["B04", "QA_PIXEL", "SCL"]) == (1, 2)
    assert bands(["B04", "qa_pixel", "udm2"]) == (1, 2)
    assert bands(["Squall", "Classy", "aqua"]) == ()
    assert bands(["CLD", "snow", "b1_amask"]) == ()
    assert bands(colours=["red", "green", "alpha"]) == (2,)
    assert bands(["B04", "QA_PIXEL", "SCL"], dtype="float32") == ()


@pytest.mark.parametrize(
    ("name", "is_code"),
    [
        ("T31TCJ_20240101_SCL_20m", True),
        ("LC08_L2SP_197030_20200101_02_T1_QA_PIXEL", True),
        ("lc08_qa_radsat", True),
        ("qa60", True),
        ("HLS.S30.T32UQD.2024153T101559.v2.0.Fmask", True),
        ("MSK_CLDPRB_B00", False),
        ("MSK_DETFOO_B01", False),
        ("MOD11A1.QC_Day", True),
        ("cloudmask", True),
        ("parcel_labels", True),
        ("T31TCJ_20240101_B04_10m", False),
        ("solaris__road_mask_input", False),
        ("classic", False),
    ],
)
def test_names_of_files_are_recognized(tmp_path, name, is_code):
    path = make(tmp_path / f"{name}.tif", terrain(1, 40, 40, "uint8"))
    assert found(path) == (0,) * is_code


def patches(values, rows=150, cols=150, seed=1) -> np.ndarray:
    coarse = np.random.default_rng(seed).choice(values, (rows // 10, cols // 10))
    return np.kron(coarse, np.ones((10, 10), int))


@pytest.mark.parametrize(
    ("dtype", "plane", "are_codes"),
    [
        ("uint8", patches([0, 1]), True),
        ("uint8", patches([10, 20, 30, 40, 50, 60, 80, 90, 95, 100]), True),
        ("uint16", patches([1, 21824, 21888, 21952, 22280, 23888, 54596, 55052]), True),
        ("int32", patches(range(1, 200)), True),
        ("float32", patches([0, 1, 2, 3, 4, 5]), True),
        ("float32", patches([0, 0.5, 2, 3]), False),
        ("uint8", np.add.outer(np.arange(150) // 10, np.arange(150) // 10), False),
        ("uint8", np.full((150, 150), 7), False),
        ("int16", np.random.default_rng(1).integers(0, 6, (150, 150)), False),
    ],
    ids=[
        *("flags", "classes", "bit patterns", "labels", "classes in floats", "halves"),
        *("terraces", "constant", "noise"),
    ],
)
def test_codes_are_recognized_by_their_values(tmp_path, dtype, plane, are_codes):
    path = make(tmp_path / "a.tif", plane[None].astype(dtype))
    assert found(path) == (0,) * are_codes


@pytest.mark.parametrize("name", ["landsat.tif", "sentinel2.tif", "sentinel1.tif"])
def test_real_images_have_no_codes(name):
    assert found(DATA / name) == ()


def test_lists_of_bands(tmp_path):
    path = make(tmp_path / "mask.tif", terrain(9, 8, 8, "uint8"))
    assert found(path, "4,7-9") == (3, 6, 7, 8)
    assert found(path, "none") == ()
    for wrong in ("0", "10", "3-2", "x", "1,,2"):
        with one_line(InputError, "lossless_bands=", wrong):
            found(path, wrong)


@pytest.mark.slow
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
    assert "band 2 (QA_PIXEL): lossless" in capsys.readouterr().out
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
