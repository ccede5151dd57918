"""The reader for rio-tiler beside rio-tiler's own reader of the decompressed GeoTIFF."""

import contextlib
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import numpy as np
import pytest
import rasterio
from cases import terrain
from images import make, one_line, samples

import isoq
from isoq.codec.reader import File
from isoq.ecosystem import vrt

rio_tiler = pytest.importorskip("rio_tiler")
Reader = rio_tiler.io.Reader
IsoqReader = import_module("isoq.ecosystem.rio_tiler").IsoqReader

SIDES = 600, 520


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """An .isoq file, and the GeoTIFF that is decompressed from it, without overviews."""
    folder = tmp_path_factory.mktemp("tiler")

    def edit(dataset):
        dataset.descriptions = ("red", "green", None)
        dataset.scales, dataset.offsets = (1e-4, 1e-4, 2.0), (-0.1, -0.1, 5.0)

    pixels = terrain(3, *SIDES, "uint16")
    pixels[:, :80, :100] = 0
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 52e5)}
    made = make(folder / "a.tif", pixels, edit, nodata=0, **place)
    with pytest.warns(isoq.IsoqWarning, match="by nodata"):
        isoq.compress_file(made, folder / "a.isoq", rmse=4, tile=128)
    isoq.decompress_file(folder / "a.isoq", folder / "b.tif")
    return folder / "a.isoq", folder / "b.tif"


@pytest.fixture
def both(scene):
    """The reader, and rio-tiler's own reader of the GeoTIFF."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", rio_tiler.errors.NoOverviewWarning)
        yield [
            stack.enter_context(kind(str(path)))
            for kind, path in zip((IsoqReader, Reader), scene, strict=True)
        ]


@pytest.fixture
def levels(monkeypatch):
    """The levels of reduced resolution that have been decoded."""
    vrt._read.cache_clear()
    found = []
    real = File.at_level

    def at_level(self, level):
        found.append(level)
        return real(self, level)

    monkeypatch.setattr(File, "at_level", at_level)
    return found


def same(a, b):
    """Fail unless two images have the same samples, masks and places."""
    assert a.array.dtype == b.array.dtype
    assert (a.mask == b.mask).all()
    assert (a.array == b.array).all()
    assert a.bounds == pytest.approx(b.bounds)
    assert a.band_descriptions == b.band_descriptions


def alike(a, b):
    """Fail unless two images differ no more than two ways of reducing one image do."""
    assert a.array.shape == b.array.shape
    known = ~np.ma.getmaskarray(a.array) & ~np.ma.getmaskarray(b.array)
    assert known.mean() > 0.9 * (~np.ma.getmaskarray(b.array)).mean()
    assert np.corrcoef(a.array.data[known], b.array.data[known])[0, 1] > 0.95
    means = (x.array.data[known].mean(dtype=float) for x in (a, b))
    assert next(means) == pytest.approx(next(means), rel=0.02)


def tile_at(reader, zoom):
    """Return the tile over the middle of an image."""
    west, south, east, north = reader.get_geographic_bounds("EPSG:4326")
    return reader.tms.tile((west + east) / 2, (south + north) / 2, zoom)


def test_tiles_at_full_resolution_are_those_of_the_geotiff(both, levels):
    a, b = both
    assert (a.minzoom, a.maxzoom) == (b.minzoom, b.maxzoom)
    x, y, z = tile_at(a, a.maxzoom + 1)
    same(a.tile(x, y, z), b.tile(x, y, z))
    for how in ("bilinear", "cubic"):
        same(a.tile(x, y, z, reproject_method=how), b.tile(x, y, z, reproject_method=how))
    same(a.tile(x, y, z, indexes=(3, 1), buffer=2), b.tile(x, y, z, indexes=(3, 1), buffer=2))
    assert set(levels) == {0}


@pytest.mark.parametrize(("out", "coarsest"), [(1, 1), (2, 2), (3, 3), (5, 4)])
def test_tiles_at_a_small_scale_decode_a_coarser_level(both, levels, out, coarsest):
    a, b = both
    x, y, z = tile_at(a, a.maxzoom - out)
    found = a.tile(x, y, z, reproject_method="average")
    assert set(levels) <= {coarsest - 1, coarsest}  # a zoom lies between two levels
    assert min(levels) > 0
    alike(found, b.tile(x, y, z, reproject_method="average"))


def test_a_tile_reads_the_bytes_that_it_needs(scene, monkeypatch):
    file, _ = scene
    read = []
    real = isoq.storage.streams.LocalStream._read_at

    def counted(self, position, wanted):
        data = real(self, position, wanted)
        read.append(len(data))
        return data

    monkeypatch.setattr(isoq.storage.streams.LocalStream, "_read_at", counted)
    with IsoqReader(str(file)) as reader:
        reader.tile(*tile_at(reader, reader.maxzoom - 4))
    assert sum(read) < 0.25 * file.stat().st_size


def test_previews_and_statistics_decode_a_coarser_level(both, levels):
    a, b = both
    with isoq.open(a.input) as src:
        reduced = src.read(out_shape=(75, 65), masked=True)
    levels.clear()
    preview = a.preview(max_size=75)
    assert (preview.array.data == reduced.data).all()
    assert (preview.array.mask == reduced.mask).all()
    found, known = (x.statistics(max_size=150)["b2"] for x in (a, b))
    assert set(levels) == {2, 3}
    assert found.mean == pytest.approx(known.mean, rel=0.01)
    assert found.valid_percent == pytest.approx(known.valid_percent, abs=0.5)
    same(a.preview(max_size=None), b.preview(max_size=None))
    full = (x.statistics(max_size=None) for x in (a, b))
    assert next(full) == next(full)


def test_parts_features_and_points_are_those_of_the_geotiff(both):
    a, b = both
    place = {"bounds_crs": "EPSG:32633", "dst_crs": "EPSG:32633"}
    box = (500500, 5195000, 502000, 5198000)
    same(a.part(box, **place), b.part(box, **place))
    same(a.part(box, expression="b1+b2", **place), b.part(box, expression="b1+b2", **place))
    west, south, east, north = a.get_geographic_bounds("EPSG:4326")
    ring = [[west, south], [east, south], [(west + east) / 2, north], [west, south]]
    feature = {"type": "Polygon", "coordinates": [ring]}
    same(a.feature(feature), b.feature(feature))
    at = (west + east) / 2, (south + north) / 2
    assert (a.point(*at).array == b.point(*at).array).all()
    assert (a.point(*at, unscale=True).array == b.point(*at, unscale=True).array).all()


def test_the_facts_are_those_of_the_geotiff(both):
    a, b = (reader.info().model_dump() for reader in both)
    assert (a.pop("driver"), b.pop("driver")) == ("VRT", "GTiff")
    assert a.pop("overviews") == [2, 4, 8, 16]
    b.pop("overviews")
    assert a.pop("band_metadata") is not None
    b.pop("band_metadata")
    assert a == b


def test_threads_make_tiles_at_a_time(scene):
    def tile(zoom):
        with IsoqReader(str(scene[0])) as reader:
            return reader.tile(*tile_at(reader, zoom)).array

    zooms = [9, 10, 11, 12, 13, 14] * 3
    expected = [tile(zoom) for zoom in zooms]
    vrt._read.cache_clear()
    with ThreadPoolExecutor(6) as pool:
        for found, known in zip(pool.map(tile, zooms), expected, strict=True):
            assert (found.data == known.data).all()


def test_a_tile_elsewhere_is_refused(both):
    with pytest.raises(rio_tiler.errors.TileOutsideBounds):
        both[0].tile(0, 0, 10)


def test_the_mask_of_an_image_is_decoded_reduced(tmp_path, levels):
    def edit(dataset):
        dataset.write_mask(np.arange(520) > 200 + np.zeros((600, 1)))

    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 52e5)}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        made = make(tmp_path / "a.tif", terrain(1, *SIDES, "uint16"), edit, **place)
    with pytest.warns(isoq.IsoqWarning, match="beside the bands"):
        isoq.compress_file(made, tmp_path / "a.isoq", mse=9)
    with IsoqReader(str(tmp_path / "a.isoq")) as reader:
        found = reader.tile(*tile_at(reader, reader.maxzoom - 3))
        assert 0 < found.array.mask.mean() < 1
        assert min(levels) > 0


def test_images_of_many_bands_have_overviews(tmp_path, levels):
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 52e5)}
    made = make(tmp_path / "a.tif", samples(20, 200, 180, "uint8"), **place)
    isoq.compress_file(made, tmp_path / "a.isoq", rmse=9)
    levels.clear()
    with IsoqReader(str(tmp_path / "a.isoq")) as reader:
        reader.tile(*tile_at(reader, reader.maxzoom - 3), indexes=18)
    assert min(levels) > 0


def test_another_file_is_refused(scene):
    with one_line(isoq.CorruptFileError):
        IsoqReader(str(scene[1]))
