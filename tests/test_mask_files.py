"""Masks beside the bands and alpha bands: they come back exactly, and what they exclude is in no
error and costs next to nothing."""

import numpy as np
import pytest
import rasterio
from cases import crop, terrain
from images import make, one_line, samples, whole
from rasterio.enums import ColorInterp

import isoq
from isoq.cli import main
from isoq.errors import InputError
from isoq.raster.description import Description
from isoq.raster.sink import create_sink
from isoq.raster.source import open_source

COLOURS = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha]
DTYPES = ["uint8", "uint16", "int16", "int32", "float32"]


def blob(rows: int, cols: int) -> np.ndarray:
    """A disc of measurements and a ragged corner."""
    i, j = np.mgrid[:rows, :cols]
    return (np.hypot(i - rows / 2, j - cols / 2) < 0.45 * min(rows, cols)) | (
        np.random.default_rng(0).random((rows, cols)) < (i < 9) * 0.5
    )


def masked(path, pixels, mask, inside, **profile):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside):
        return make(path, pixels, lambda dataset: dataset.write_mask(mask), **profile)


def run(*arguments) -> None:
    assert main([str(a) for a in (*arguments, "--quiet")]) == 0


def there_and_back(source, tmp_path, *options, driver="GTiff"):
    """The image behind compression, and the file in between."""
    packed, back = tmp_path / "a.isoq", tmp_path / "back.tif"
    run("compress", source, packed, *options, "--overwrite")
    run("verify", packed, "--against", source)
    run("decompress", packed, back, "--driver", driver, "--overwrite")
    return back, packed


@pytest.mark.parametrize("inside", [True, False], ids=["internal", ".msk"])
@pytest.mark.parametrize("driver", ["GTiff", "COG"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.slow
def test_a_mask_comes_back(tmp_path, dtype, driver, inside):
    pixels, mask = terrain(2, 130, 150, dtype), blob(130, 150)
    pixels[:, ~mask] = samples(2, 130, 150, dtype)[:, ~mask]  # anything may lie under it
    source = masked(tmp_path / "source.tif", pixels, mask, inside, crs="EPSG:3857")
    back, packed = there_and_back(source, tmp_path, "--mse", 25, "--tile", 64, driver=driver)
    with rasterio.open(source) as one, rasterio.open(back) as two:
        assert one.mask_flag_enums == two.mask_flag_enums
        assert np.array_equal(two.dataset_mask() != 0, mask)
        decoded = two.read()
    assert not (tmp_path / "back.tif.msk").exists()
    assert not decoded[:, ~mask].any()
    with isoq.open(packed) as file:
        assert [int(mask.sum())] * 2 == file.file.statistics()["pixels"]
    assert ((decoded[:, mask].astype(float) - pixels[:, mask]) ** 2).mean() <= 25


@pytest.mark.slow
def test_what_is_masked_costs_next_to_nothing(tmp_path):
    pixels = crop("landsat.tif")
    mask = np.ones(pixels.shape[1:], bool)
    mask[:, 128:] = False
    run("compress", make(tmp_path / "left.tif", pixels[:, :, :128]), "--mse", 900)
    sizes = []
    for seed in (0, 1):
        pixels[:, ~mask] = samples(*pixels.shape, "uint16", seed)[:, ~mask]
        source = masked(tmp_path / "source.tif", pixels, mask, True)
        sizes.append(there_and_back(source, tmp_path, "--mse", 900)[1].stat().st_size)
    assert abs(sizes[0] - sizes[1]) < 8  # only the digest of the source differs
    assert sizes[0] < 1.05 * (tmp_path / "left.isoq").stat().st_size


@pytest.mark.parametrize("target", [("--snr", 25), ("--bitrate", 2), ("--quality", 0.01)])
@pytest.mark.slow
def test_a_target_from_the_image_does_not_look_under_the_mask(tmp_path, target, monkeypatch):
    monkeypatch.setattr(
        "isoq.codec.plan.provenance", lambda path: {"name": "one"}
    )  # its digest differs, and so the bytes that --bitrate leaves to the tiles
    pixels, mask = terrain(1, 130, 150, "uint16"), blob(130, 150)
    found = []
    for value in (0, 60000):
        pixels[:, ~mask] = value
        source = masked(tmp_path / "source.tif", pixels, mask, True)
        found.append(whole(there_and_back(source, tmp_path, *target)[0])[1])
    assert np.array_equal(*found)


def test_a_mask_and_nodata(tmp_path):
    pixels, mask = terrain(1, 70, 90, "int16"), blob(70, 90)
    pixels[0, 20:40, 30:60] = -999
    source = masked(tmp_path / "source.tif", pixels, mask, True, nodata=-999)
    with rasterio.open(there_and_back(source, tmp_path, "--mse", 4)[0]) as back:
        assert np.array_equal(back.dataset_mask() != 0, mask)
        assert back.nodata == -999
        assert np.array_equal(back.read() == -999, (pixels == -999) | ~mask)


@pytest.mark.parametrize("full", [True, False])
def test_a_mask_of_all_or_nothing(tmp_path, full):
    source = masked(
        tmp_path / "source.tif", terrain(1, 70, 90, "uint8"), np.full((70, 90), full), True
    )
    with rasterio.open(there_and_back(source, tmp_path, "--mse", 4)[0]) as back:
        assert (back.dataset_mask() == 255 * full).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("nodata", [None, 0, 255])
@pytest.mark.slow
def test_an_alpha_band_that_is_a_mask_comes_back(tmp_path, dtype, nodata):
    pixels, mask = terrain(4, 130, 150, dtype), blob(130, 150)
    pixels[3] = mask * np.iinfo(dtype).max
    source = make(tmp_path / "source.tif", pixels, photometric="RGB", alpha="YES", nodata=nodata)
    back, packed = there_and_back(source, tmp_path, "--mse", 9, "--tile", 64)
    description, decoded = whole(back)
    assert np.array_equal(decoded[3], pixels[3])
    assert description == whole(source)[0]
    assert (decoded[:3, ~mask] == (nodata or 0)).all()
    with isoq.open(packed) as file:
        statistics = file.file.statistics()
    assert statistics["mse"][3] == 0
    assert max(statistics["pixels"]) <= mask.sum()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bands", ["auto", "none", "1"])
@pytest.mark.slow
def test_an_alpha_band_of_several_values_comes_back(tmp_path, dtype, bands):
    pixels = terrain(3, 130, 150, dtype)
    pixels[2] = np.linspace(0, 100, 150) * blob(130, 150)
    source = make(
        tmp_path / "source.tif", pixels, lambda dataset: setattr(dataset, "colorinterp", COLOURS)
    )
    back, packed = there_and_back(
        source, tmp_path, "--mse", 9, "--tile", 64, "--lossless-bands", bands, "--mask", "alpha"
    )
    description, decoded = whole(back)
    assert description == whole(source)[0]
    assert decoded[2].tobytes() == pixels[2].tobytes()
    mask = pixels[2] != 0
    assert not decoded[1, ~mask].any()
    assert ((decoded[1, mask].astype(float) - pixels[1, mask]) ** 2).mean() <= 9
    with isoq.open(packed) as file:
        assert file.file.statistics()["pixels"][1] == mask.sum()


@pytest.mark.slow
def test_an_alpha_band_that_is_a_mask_costs_no_more_than_one(tmp_path):
    pixels, mask = terrain(3, 130, 150, "uint8"), blob(130, 150)
    pixels[2] = mask * 255
    alpha = make(
        tmp_path / "alpha.tif", pixels, lambda dataset: setattr(dataset, "colorinterp", COLOURS)
    )
    beside = masked(tmp_path / "beside.tif", pixels[:2], mask, True)
    sizes = [
        there_and_back(source, tmp_path, "--mse", 9)[1].stat().st_size for source in (alpha, beside)
    ]
    assert sizes[0] < sizes[1] + 120  # its colour and statistics stand in the header


@pytest.mark.slow
def test_a_lossless_band_is_kept_under_a_mask(tmp_path):
    pixels, mask = terrain(2, 70, 90, "uint8"), blob(70, 90)
    source = masked(tmp_path / "source.tif", pixels, mask, True)
    for bands in (1, "1-2"):
        with rasterio.open(
            there_and_back(source, tmp_path, "--mse", 9, "--lossless-bands", bands)[0]
        ) as back:
            assert np.array_equal(back.read(1), pixels[0])
            assert np.array_equal(back.dataset_mask() != 0, mask)


@pytest.mark.parametrize(
    ("apart", "together"),
    [
        (["bands", "extract", "--group", 1], ["bands", "merge"]),
        (["tile", "cut", "--size", 64], ["tile", "join"]),
    ],
)
def test_masks_of_parts(tmp_path, apart, together):
    mask = blob(70, 90)
    source = masked(tmp_path / "a.tif", samples(2, 70, 90, "uint8"), mask, True, crs="EPSG:3857")
    run(*apart[:2], source, tmp_path / "parts", *apart[2:])
    run(*together, tmp_path / "parts/*", tmp_path / "b.tif")
    assert np.array_equal(whole(tmp_path / "b.tif")[1], whole(source)[1])
    with rasterio.open(tmp_path / "b.tif") as back:
        assert np.array_equal(back.dataset_mask() != 0, mask)


def test_bands_with_different_masks(tmp_path, capsys):
    for name, mask in (("a", blob(30, 40)), ("b", ~blob(30, 40))):
        masked(tmp_path / f"{name}.tif", samples(1, 30, 40, "uint8"), mask, True)
    assert main(["bands", "merge", *(str(tmp_path / f"{name}.tif") for name in "abc")]) == 2
    assert "b.tif: differs from" in capsys.readouterr().err
    assert not (tmp_path / "c.tif").exists()


def test_another_driver_keeps_the_mask_beside(tmp_path):
    description, mask = Description(1, 30, 40, "uint8", (None,), {"mask": True}), blob(30, 40)
    with create_sink(tmp_path / "a.pgm", description, "PNM") as sink:
        sink.write(0, 0, samples(1, 30, 40, "uint8"), mask=mask)
    with open_source(tmp_path / "a.pgm") as source:
        assert np.array_equal(source.mask(0, 0, 30, 40), mask)


def test_a_lost_mask_is_noticed(tmp_path, monkeypatch):
    description = Description(1, 30, 40, "uint8", (None,), {"mask": True})
    monkeypatch.setattr(
        rasterio.io.DatasetWriter, "write_mask", lambda *_, **__: None, raising=False
    )
    with (
        one_line(InputError, "a.tif", "changed the pixels"),
        create_sink(tmp_path / "a.tif", description) as sink,
    ):
        sink.write(0, 0, samples(1, 30, 40, "uint8"), mask=blob(30, 40))
