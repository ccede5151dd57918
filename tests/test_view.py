"""The viewer: its layers and what they tell about a pixel."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from cases import crop
from images import make
from rasterio.enums import ColorInterp
from viewing import ask, get, packed, sentinel_of, served

import isoq
from isoq.api.picture import shades
from isoq.codec.reader import File
from isoq.raster.source import open_source
from isoq.view import tiles
from isoq.view.scene import Scene

pytestmark = pytest.mark.slow

SIDE = tiles.SIDE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("view")


@pytest.fixture(scope="module")
def sentinel(folder):
    return sentinel_of(folder)


@pytest.fixture(scope="module")
def bare(folder):
    """One band without a reference system, and its file."""
    image = make(folder / "bare.tif", crop("landsat.tif"))
    return image, packed(folder, "bare", image, snr=25)


@pytest.fixture(scope="module")
def server(sentinel):
    with served(sentinel[1], sentinel[0]) as running:
        yield running


@pytest.mark.parametrize("bands", [(1,), (3, 1, 2)])
@pytest.mark.parametrize(("level", "row", "col"), [(0, 0, 0), (0, 1, 1), (1, 0, 0)])
def test_a_tile_has_the_samples_that_a_read_gives(server, sentinel, bands, level, row, col):
    with isoq.open(sentinel[1]) as image:
        top, left = row * SIDE << level, col * SIDE << level
        bottom = min(top + (SIDE << level), image.height)
        right = min(left + (SIDE << level), image.width)
        shape = -(-(bottom - top) >> level), -(-(right - left) >> level)
        wanted = image.read(bands, ((top, bottom), (left, right)), True, shape)
    found = server.scene.layers["decoded"].tile(bands, level, row, col)
    if level == 0:
        assert np.array_equal(found.filled(0), wanted.filled(0))
    assert found.shape == wanted.shape
    shown = get(server, f"tile/decoded/{level}/{row}/{col}/{','.join(map(str, bands))}.png")
    grey = [
        np.clip((plane.filled(0).astype(float) - low) * 255 / (high - low), 0, 255)
        for plane, (low, high) in zip(found, server.scene.stretch(bands), strict=True)
    ]
    rows, cols = found.shape[1:]
    assert shown.shape == (len(bands) + 1, SIDE, SIDE)
    assert np.abs(shown[:-1, :rows, :cols] - np.array(grey)).max() < 0.51
    assert not shown[:, rows:].any()
    assert not shown[:, :, cols:].any()


def test_tiles_that_cross_the_tiles_of_the_file_have_no_seam(folder):
    image = make(folder / "odd.tif", np.tile(crop("landsat.tif"), (1, 3, 3)))
    path = folder / "odd.isoq"
    isoq.compress_file(image, path, mse=500, tile=192)
    with isoq.open(path) as opened:
        layer, whole = tiles.Decoded(opened), opened.read()
        assert np.array_equal(layer.tile((1,), 0, 1, 1), whole[:, SIDE : 2 * SIDE, SIDE : 2 * SIDE])
        assert np.array_equal(layer.pixel((1,), 300, 200), whole[:, 300, 200])


@pytest.mark.parametrize("level", [0, 1, 2])
def test_no_tile_of_the_file_is_decoded_twice_for_a_picture(folder, level, monkeypatch):
    image = make(folder / f"even-{level}.tif", np.tile(crop("landsat.tif"), (1, 4, 5)))
    path = folder / f"even-{level}.isoq"
    isoq.compress_file(image, path, mse=500, tile=384)  # 804 x 1165: tiles of 256 to 320 pixels
    decoded = []
    real = File._decode

    def counted(self, box, *rest):
        decoded.append(box)
        return real(self, box, *rest)

    monkeypatch.setattr(File, "_decode", counted)
    with isoq.open(path) as opened:
        layer = tiles.Decoded(opened)
        found = layer.window((1,), level, slice(None), slice(None))
        assert sorted(decoded, key=str) == sorted(opened.file.boxes, key=str)
        if level == 0:
            assert np.array_equal(found, opened.read())


def test_masked_pixels_are_transparent_and_others_are_not(server):
    for layer in ("decoded", "original"):
        opacity = get(server, f"tile/{layer}/0/0/0/1,2,3.png")[-1]
        assert not opacity[:40, :70].any()
        assert (opacity[40:] == 255).all()
        assert (opacity[:, 70:] == 255).all()


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_the_same_pixels_are_transparent_in_both_layers(folder, level):
    plane = np.tile(crop("landsat.tif"), (1, 2, 2))
    plane[np.random.default_rng(0).random(plane.shape) < 0.3] = 0
    plane[:, 200:290, 50:333] = 0
    image = make(folder / "holes.tif", plane, nodata=0)
    path = folder / "holes.isoq"
    with pytest.warns(isoq.IsoqWarning, match="by nodata"):
        isoq.compress_file(image, path, mse=500, overwrite=True)
    with Scene(path, image) as scene:
        one, two = (np.ma.getmaskarray(la.tile((1,), level, 0, 0)) for la in scene.layers.values())
    assert 0 < one.mean() < 1
    assert np.array_equal(one, two)


def test_the_original_is_what_gdal_reads(server, sentinel):
    with rasterio.open(sentinel[0]) as image:
        wanted = image.read([2], window=((SIDE, 393), (0, SIDE)), masked=True)
    assert np.array_equal(server.scene.layers["original"].tile((2,), 0, 1, 0), wanted)


def test_a_reduced_original_lies_where_the_reduced_reconstruction_does(folder):
    rows, cols = np.mgrid[:600, :600]
    image = make(folder / "slope.tif", (20 * rows + 50 * cols).astype("uint16")[None])
    path = folder / "slope.isoq"
    isoq.compress_file(image, path, max_error=1)
    with Scene(path, image) as scene:
        one, two = (layer.tile((1,), 1, 1, 1) for layer in scene.layers.values())
        assert np.abs(one.astype(float) - two)[:, :-1, :-1].max() <= 7  # a tenth of a pixel


def test_levels_below_the_smallest_image_leave_pixels_out(folder):
    image = make(folder / "wide.tif", np.tile(crop("landsat.tif")[:, :40], (1, 1, 45)))
    with isoq.open(packed(folder, "wide", image, mse=500)) as opened:
        layer = tiles.Decoded(opened)
        smallest = layer.window((1,), 4, slice(None), slice(None))
        assert np.array_equal(layer.tile((1,), 5, 0, 0), smallest[:, ::2, ::2][:, :, :SIDE])
        assert np.array_equal(layer.tile((1,), 6, 0, 0), smallest[:, ::4, ::4][:, :, :SIDE])


def test_the_first_picture_is_decoded_before_it_is_asked_for_and_once(bare, monkeypatch):
    read = []
    real = tiles.take

    def counted(*args):
        read.append(args)
        return real(*args)

    monkeypatch.setattr(tiles, "take", counted)
    with served(bare[1]) as server:
        server.scene._beginning.join()
        before = list(read)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(server.scene.stretch, [(1,)] * 12))
    assert before == read
    assert len(read) == 1


def test_a_damaged_file_opens_and_its_tiles_say_so(bare, folder):
    data = bytearray(bare[1].read_bytes())
    data[len(data) // 2 : len(data) // 2 + 600] = bytes(600)
    path = folder / "damaged.isoq"
    path.write_bytes(data)
    with served(path) as server:
        status, body = ask(server, "tile/decoded/0/0/0/1.png")
        assert status == 500
        assert b"damaged" in body
        assert len(body.splitlines()) == 1


def test_the_stretch_leaves_out_masked_samples(server, sentinel):
    ((low, high),) = server.scene.stretch((1,))
    with rasterio.open(sentinel[0]) as image:
        values = image.read(1, masked=True).compressed()
    assert np.percentile(values, 0.5) < low < high < np.percentile(values, 99.5)


@pytest.mark.parametrize("against", [True, False])
def test_the_errors_of_blocks_are_those_that_verify_measures(sentinel, against):
    image, path = sentinel
    with path.open("rb") as stream, open_source(image) as source:
        file = File(stream)
        wanted = np.full((3, 7, 7), np.nan)
        for box, tile in file.tiles(file.model()):
            place = slice(box.row // 64, box.row // 64 + 1), slice(box.col // 64, box.col // 64 + 1)
            decoded = tile.samples.astype(float)
            original = source.read(box.row, box.col, box.rows, box.cols)
            error = np.where(tile.valid, decoded - original, np.nan) ** 2
            recorded = tile.report.per_block
            if tile.valid.any():
                wanted[:, *place] = (
                    np.nanmean(error, (1, 2), keepdims=True) if against else recorded
                )
    with Scene(path, image if against else None) as scene:
        scene.errors.wait()
        np.testing.assert_allclose(scene.errors.mse, wanted)
        assert (scene.errors.target == 150).all()
        assert isoq.verify(path, image)["problems"] == []


def test_the_histogram_counts_the_worst_of_the_shown_bands(server):
    server.scene.errors.wait()
    found = get(server, "errors/1,2,3.json")
    worst = np.nanmax(server.scene.errors.mse / 150, 0)
    assert (found["done"], found["running"], found["relative"]) == (1, False, True)
    assert found["blocks"] == sum(found["counts"]) == 49
    assert found["above"] == 0
    assert found["max"] == pytest.approx(worst.max())
    assert found["median"] == pytest.approx(np.median(worst))


@pytest.mark.parametrize("against", [True, False])
def test_rounding_lifts_no_block_above_its_target(folder, against):
    image = make(folder / f"rounded{against}.tif", np.tile(crop("sentinel2.tif"), (1, 3, 3)))
    path = packed(folder, f"rounded{against}", image, snr=25)
    with Scene(path, image if against else None) as scene:
        scene.errors.wait()
        relative = scene.errors.mse / scene.errors.target
        found = [scene.errors.summary((band,)) for band in (1, 2, 3)]
    assert isoq.info(path)["above"] == 0
    assert (relative.max() > 1) or against  # else the case is not one
    assert [one["above"] for one in found] == [0, 0, 0]
    assert max(one["max"] for one in found) == 1 or against


def test_the_overlay_has_a_colour_per_block(server):
    server.scene.errors.wait()
    found = get(server, "tile/errors/0/0/0/1.png")
    assert all(
        len(np.unique(found[:, i : i + 64, j : j + 64].reshape(4, -1), axis=1).T) == 1
        for i in range(0, SIDE, 64)
        for j in range(0, SIDE, 64)
    )
    assert (found[3] == 255).all()


def test_a_file_with_another_mask_than_the_original_says_so(folder, sentinel):
    pixels = np.tile(crop("sentinel2.tif"), (1, 3, 3))
    other = make(folder / "other.tif", pixels, nodata=65535)
    with Scene(sentinel[1], other) as scene:
        scene.errors.wait()
        assert "masked" in scene.errors.summary((1,))["remark"]


def test_errors_without_a_target_are_shown_as_they_are(folder):
    image = make(folder / "bounded.tif", crop("sentinel1.tif"))
    with Scene(packed(folder, "bounded", image, max_error=0.5), image) as scene:
        scene.errors.wait()
        found = scene.errors.summary((2,))
    assert not found["relative"]
    assert found["above"] is None
    assert 0 < found["max"] == found["top"] < 0.25


def test_the_values_of_a_pixel_are_those_of_both_images(server, sentinel):
    server.scene.errors.wait()
    found = get(server, "values/100/200/1,3,2.json")
    with isoq.open(sentinel[1]) as image:
        assert found["decoded"] == image.read([1, 3, 2])[:, 100, 200].tolist()
    with rasterio.open(sentinel[0]) as image:
        assert found["original"] == image.read([1, 3, 2])[:, 100, 200].tolist()
    block = {"mse": server.scene.errors.mse[0, 1, 3], "target": 150}
    assert found["blocks"][0] == block
    assert get(server, "values/0/0/1.json")["decoded"] == [None]


def test_an_image_without_reference_system_or_original_is_shown(bare):
    with served(bare[1]) as server:
        scene = get(server, "scene.json")
        assert (scene["crs"], scene["transform"], scene["geojson_crs"], scene["against"]) == (
            None,
        ) * 4
        assert scene["original"] == "bare.tif"
        assert get(server, "tile/decoded/0/0/0/1.png").shape == (2, SIDE, SIDE)
        assert ask(server, "tile/original/0/0/0/1.png")[0] == 404
        assert list(get(server, "values/5/5/1.json")) == ["decoded", "blocks"]


def test_bands_that_are_named_colours_are_shown_first(folder):
    def colour(dataset):
        dataset.colorinterp = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)

    image = make(folder / "colours.tif", crop("sentinel2.tif"), colour, photometric="minisblack")
    with Scene(packed(folder, "colours", image, mse=900)) as scene:
        assert scene.describe()["shown"] == [3, 2, 1]


@pytest.mark.parametrize("shape", [(1, 2000), (3, 2000), (1500, 2), (300, 303), (257, 600)])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_reduced_original_has_the_means_around_its_pixels(tmp_path, shape, level):
    plane = np.random.default_rng(0).integers(0, 1000, shape).astype("float32")
    raw = tmp_path / f"a.1_{shape[1]}_{shape[0]}_6_1_0.raw"
    raw.write_bytes(plane.astype("<f4").tobytes())
    shown = tiles.Original(str(make(tmp_path / "a.tif", plane[None])))
    with open_source(raw) as source:
        known = tiles.RawOriginal(source)
        for place in np.ndindex(*(math.ceil(size / (SIDE << level)) for size in shape)):
            one, two = (layer.tile((1,), level, *place) for layer in (shown, known))
            assert one.shape == two.shape
            assert np.allclose(one[0], two[0], atol=0.1)
    shown.close()


@pytest.mark.parametrize("shape", [(1, 5000), (3000, 2), (3, 5000), (300, 303)])
def test_every_tile_of_a_thin_image_is_shown_in_both_layers(folder, shape):
    image = make(folder / "thin.tif", np.resize(crop("landsat.tif")[0], shape)[None])
    path = folder / "thin.isoq"
    isoq.compress_file(image, path, mse=500, overwrite=True)
    with Scene(path, image) as scene:
        for level in range(scene.describe()["levels"] + 1):
            one, two = (layer.tile((1,), level, 0, 0) for layer in scene.layers.values())
            assert one.shape == two.shape


def test_bands_of_classes_in_an_original_are_sampled_to_the_border(folder):
    classes = np.random.default_rng(0).integers(0, 250, (1, 301, 283), dtype="uint8")
    layer = tiles.Original(str(make(folder / "classes.tif", classes)), (1,))
    for level in (1, 2, 4):
        step = 1 << level
        assert np.array_equal(layer.tile((1,), level, 0, 0), classes[:, ::step, ::step])
    layer.close()


def test_samples_that_are_not_numbers_are_transparent_in_the_original(folder):
    plane = crop("landsat.tif").astype("float32")
    plane[:, :50] = np.nan
    image = make(folder / "nan.tif", plane)
    with Scene(packed(folder, "nan", image, mse=500), image) as scene:
        for layer in scene.layers.values():
            hidden = np.ma.getmaskarray(layer.tile((1,), 0, 0, 0))[0]
            assert hidden[:50].all()
            assert not hidden[50:].any()


def test_a_picture_keeps_the_detail_of_large_samples():
    samples = np.ma.asarray(2_000_000_000 + np.arange(256, dtype="int32").reshape(1, 16, 16))
    grey = shades(samples, [(2e9, 2e9 + 255)])[0]
    assert np.array_equal(grey.ravel(), np.arange(256))
