"""Images at a part of their resolution: what is read for them, and what they say."""

import io

import numpy as np
import pytest
import rasterio
from cases import crop
from images import make, one_line
from rasterio.enums import Resampling
from rasterio.transform import Affine

import isoq
from isoq.api.dataset import take
from isoq.api.grids import Grid
from isoq.cli import main
from isoq.codec.reader import File
from isoq.errors import CorruptFileError, InputError
from isoq.raster.window import window_of

pytestmark = pytest.mark.slow

PLACE = Affine(30.0, 0.0, 500_000.0, 0.0, -30.0, 4_000_000.0)


class Counted(io.BytesIO):
    bytes_read = 0

    def read(self, size=-1):
        data = super().read(size)
        self.bytes_read += len(data)
        return data


def reduced(src: isoq.Dataset, level: int) -> np.ma.MaskedArray:
    """Return all bands of a reduced image as it is, without interpolation."""
    sides = [np.arange(-(-n >> level)) for n in src.shape]
    return take(src, [*range(src.count)], Grid(level, *sides), True)


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    """A real crop, reflected until it has 640 x 600 pixels."""
    return np.pad(crop("landsat.tif")[0], ((0, 448), (0, 408)), mode="reflect")[:640, :600]


@pytest.fixture(scope="module")
def packed(large) -> bytes:
    return isoq.compress(large, snr=30, tile=256, single_pass=True)


@pytest.mark.parametrize(("level", "share"), [(4, 0.06), (3, 0.06), (2, 0.17), (1, 0.5)])
def test_coarse_levels_are_a_small_part_of_the_file(packed, level, share):
    stream = Counted(packed)
    with isoq.open(stream) as src:
        src.read(out_shape=(-(-640 >> level), -(-600 >> level)))
    assert stream.bytes_read < share * len(packed)


def test_tiles_of_reduced_images_fit_each_other(packed, large):
    """They are those of an image in a single tile but for the borders of the tiles."""
    whole = isoq.compress(large, snr=30, single_pass=True)
    images = []
    for data in (packed, whole):
        with isoq.open(io.BytesIO(data)) as src:
            images.append(reduced(src, 3)[0].astype(float))
    apart = np.sqrt(np.mean((images[0] - images[1]) ** 2))
    assert apart < 0.1 * images[1].std()


def test_a_prefix_that_was_altered_is_refused(packed):
    with isoq.open(io.BytesIO(packed)) as src:
        at = int(src.file._container._starts[0]) + 60
    damaged = packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]
    with isoq.open(io.BytesIO(damaged)) as src, pytest.raises(CorruptFileError):
        src.read(out_shape=(80, 75))
    lost = []
    with isoq.open(io.BytesIO(damaged), on_damage=lost.append) as src:
        assert src.read(out_shape=(80, 75)).shape == (1, 80, 75)
    assert [part.part for part in lost] == ["tile"]


def test_altered_tiles_without_segments_are_refused(large):
    """No checksum within such a tile protects them, only that of its chunk."""
    data = isoq.compress(large[:300, :300], lossless=True)
    with isoq.open(io.BytesIO(data)) as src:
        start, size = (int(a[0]) for a in (src.file._container._starts, src.file._container.sizes))
    at = start + size - 40
    damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    with (
        isoq.open(io.BytesIO(damaged)) as src,
        pytest.raises(CorruptFileError, match="checksum"),
    ):
        src.read(out_shape=(75, 75))


@pytest.mark.parametrize("target", [("--mse", "900"), ("--lossless",), ("--max-error", "5")])
def test_the_georeference_is_that_of_the_small_image(tmp_path, large, target):
    source = make(tmp_path / "a.tif", large[None], crs="EPSG:32631", transform=PLACE, nodata=0)
    arguments = ["compress", str(source), str(tmp_path / "a.isoq"), *target, "--tile", "256"]
    assert main([*arguments, "--quiet"]) == 0
    small = ["decompress", str(tmp_path / "a.isoq"), str(tmp_path / "b.tif"), "--scale", "1/8"]
    assert main([*small, "--quiet"]) == 0
    with rasterio.open(tmp_path / "b.tif") as dataset:
        assert dataset.shape == (80, 75)
        assert dataset.transform == PLACE * Affine.translation(-3.5, -3.5) * Affine.scale(8)
        assert dataset.crs.to_epsg() == 32631
        assert dataset.nodata == 0
        # The centre of a small pixel is that of every eighth pixel.
        assert dataset.xy(2, 3) == pytest.approx(rasterio.transform.xy(PLACE, 16, 24))


def test_masks_and_classes_are_those_of_the_centres(large):
    rng = np.random.default_rng(0)
    image = np.stack([large, large])
    image[:, 100:300, 50:250] = 0
    mask = rng.random(large.shape) < 0.8
    classes = rng.integers(1, 9, (40, 38)).repeat(16, 0).repeat(16, 1)[:640, :600]
    image[1] = classes
    data = isoq.compress(image, mse=900, nodata=0, mask=mask, lossless_bands=[2], tile=256)
    with isoq.open(io.BytesIO(data)) as src:
        masked = reduced(src, 2)
    got = masked.data
    centres = (slice(None, None, 4), slice(None, None, 4))
    missing = ~mask[centres] | (image[0][centres] == 0)
    assert np.array_equal(got[0] == 0, missing)
    assert np.array_equal(np.ma.getmaskarray(masked)[0], missing)
    inside = mask[centres]
    assert np.array_equal(got[1][inside], classes[centres][inside])


@pytest.mark.parametrize("shape", [(320, 300), (80, 75), (160, 32), (33, 41), (7, 5)])
@pytest.mark.parametrize("target", [{"snr": 40}, {"max_error": 1}])
def test_reduced_reads_have_no_displacement(large, shape, target):
    """They correlate best with means of the image over their own pixels."""
    data = isoq.compress(large, **target, tile=256, threads=1)
    with isoq.open(io.BytesIO(data)) as src:
        got = src.read(1, out_shape=shape).astype(float)
    means = [means_of(np.roll(large, moved, (0, 1)), shape) for moved in ((0, 0), (0, 3), (3, 0))]
    inside = (slice(1, -1), slice(1, -1))
    apart = [np.square(mean - got)[inside].mean() for mean in means]
    assert apart[0] == min(apart)


def means_of(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the means of a plane over equal parts of it, by GDAL."""
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=plane.shape[0], width=plane.shape[1], count=1, dtype="float64"
        ) as out:
            out.write(plane, 1)
        with memory.open() as dataset:
            return dataset.read(1, out_shape=shape, resampling=Resampling.average)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_windows_of_reduced_reads_are_parts_of_them(packed, level):
    step = 1 << level
    with isoq.open(io.BytesIO(packed)) as src:
        whole = src.read(window=((0, 640), (0, 592)), out_shape=(640 // step, 592 // step))
        window = ((3 * step, 19 * step), (step, 35 * step))
        part = src.read(window=window, out_shape=(16, 34))
        assert np.array_equal(part, whole[:, 3:19, 1:35])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32"])
def test_reduced_reads_mix_neither_nodata_nor_classes(dtype):
    """Samples of 100 to 110 and nodata far away: what is between was mixed."""
    rng = np.random.default_rng(2)
    image = rng.integers(100, 111, (2, 96, 80)).astype(dtype)
    image[1] = rng.choice([1, 60], (12, 10)).repeat(8, 0).repeat(8, 1)
    image[0][rng.random((12, 10)).repeat(8, 0).repeat(8, 1) < 0.3] = 0
    data = isoq.compress(image, max_error=2, nodata=0, lossless_bands=[2], tile=32, block=16)
    for shape in ((48, 40), (24, 20), (13, 17), (6, 5), (2, 3)):
        with isoq.open(io.BytesIO(data)) as src:
            got, masked = src.read(out_shape=shape), src.read(out_shape=shape, masked=True)
        assert np.array_equal(got, masked.data)
        assert np.array_equal(np.ma.getmaskarray(masked[0]), got[0] == 0)
        assert ((got[0] == 0) | ((got[0] >= 98) & (got[0] <= 112))).all()
        assert np.isin(got[1], (1, 60)).all()


def test_an_interpolated_sample_is_never_nodata():
    image = np.repeat(np.array([[3, 7]], "uint8"), 8, 1).repeat(16, 0)
    data = isoq.compress(np.tile(image, (4, 4)), lossless=True, nodata=5)
    with isoq.open(io.BytesIO(data)) as src:
        for shape in ((32, 32), (16, 16), (11, 13), (7, 9)):
            assert not np.ma.getmaskarray(src.read(out_shape=shape, masked=True)).any()


def weighted_mean(plane: np.ndarray, valid: np.ndarray, row: int, col: int, factor: int) -> float:
    """Return the mean of the valid pixels around a pixel. Those at the edge count half."""
    half = factor // 2
    inside = [
        range(max(0, at - half), min(at + half + 1, n))
        for at, n in zip((row, col), plane.shape, strict=True)
    ]
    around = np.ix_(*inside)
    weights = [
        1 - 0.5 * (np.abs(np.array(side) - at) == half)
        for side, at in zip(inside, (row, col), strict=True)
    ]
    weight = np.outer(*weights) * valid[around]
    return float((plane[around] * weight).sum() / weight.sum())


@pytest.mark.parametrize("dtype", ["uint16", "float32", "uint32"])
@pytest.mark.parametrize("target", [{"lossless": True}, {"max_error": 0}, {"max_error": 4}])
def test_lossless_and_predicted_bands_are_averaged_and_classes_are_not(large, dtype, target):
    rng = np.random.default_rng(1)
    noisy = large + rng.normal(0, 9, large.shape)  # noise is what sampling would keep
    classes = rng.integers(1, 9, (40, 38)).repeat(16, 0).repeat(16, 1)[:640, :600]
    image = np.stack([noisy, classes]).astype(dtype)
    image[:, 100:300, 50:250] = 0
    mask = rng.random(large.shape) < 0.8
    keywords = {"nodata": 0, "mask": mask, "lossless_bands": [2], "tile": 256}
    with isoq.open(io.BytesIO(isoq.compress(image, **target, **keywords))) as src:
        full, got = src.read(), reduced(src, 2).data
    valid = mask & (full[0] != 0)
    assert np.array_equal(got[1], full[1, ::4, ::4])
    assert np.array_equal(got[0][~valid[::4, ::4]], full[0, ::4, ::4][~valid[::4, ::4]])
    for row, col in np.argwhere(valid[::4, ::4])[::97]:
        if min(row % 16, col % 16) > 0 and max(row % 16, col % 16) < 15:  # tiles are apart
            mean = weighted_mean(full[0], valid, 4 * row, 4 * col, 4)
            assert abs(got[0, row, col] - mean) <= (0.5 if dtype != "float32" else 1e-3)


def test_windows_of_reduced_images_are_parts_of_them(tmp_path, packed):
    (tmp_path / "a.isoq").write_bytes(packed)
    whole = isoq.decompress_file(tmp_path / "a.isoq", tmp_path / "a.tif", scale=1 / 4)
    assert (whole["rows"], whole["cols"]) == (160, 150)
    window = ((203, 501), (100, 333))
    isoq.decompress_file(tmp_path / "a.isoq", tmp_path / "b.tif", scale=1 / 4, window=window)
    with rasterio.open(tmp_path / "a.tif") as one, rasterio.open(tmp_path / "b.tif") as two:
        assert np.array_equal(two.read(), one.read()[:, 50:126, 25:84])


@pytest.mark.parametrize("scale", [0, 2, 1 / 3, 1 / 32, "small", None])
def test_other_scales_are_refused(tmp_path, packed, scale):
    (tmp_path / "a.isoq").write_bytes(packed)
    with one_line(InputError, "1/2, 1/4, 1/8 or 1/16"):
        isoq.decompress_file(tmp_path / "a.isoq", tmp_path / "b.tif", scale=scale)
    assert not (tmp_path / "b.tif").exists()


@pytest.mark.parametrize("text", ["1/3", "1/0", "1/32", "0", "2", "nan", "small", "1e999"])
def test_the_command_refuses_other_scales(text, capsys):
    with pytest.raises(SystemExit):
        main(["decompress", "a.isoq", "--scale", text])
    assert f"'{text}' is not 1, 1/2, 1/4, 1/8 or 1/16" in capsys.readouterr().err


def test_files_without_the_index_of_levels_are_read_as_a_whole(packed):
    at = packed.index(b"levl")
    size = 12 + int.from_bytes(packed[at + 4 : at + 8], "little")
    lean = packed[:at] + packed[at + size :]
    images = []
    for data in (packed, lean):
        file = File(io.BytesIO(data))
        image = file.at_level(2)
        window = window_of(None, image.description, "data")
        pieces = image.pieces(isoq.load_model("eo16"), window)
        images.append([samples for _, samples, _ in pieces])
    assert all(np.array_equal(a, b) for a, b in zip(*images, strict=True))
