"""Samples come back by any window, and nothing half-written is ever left behind."""

import resource
import signal
from itertools import product

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from images import DTYPES, make, one_line, samples, save, through_json, whole

from isoq.errors import InputError, OutputExistsError, UnsupportedImageError
from isoq.raster.description import Description
from isoq.raster.sink import create_sink, default_suffix
from isoq.raster.source import open_source

AUX = (
    "<PAMDataset><PAMRasterBand band='1'><NoDataValue>9</NoDataValue></PAMRasterBand></PAMDataset>"
)


@given(st.data())
@settings(deadline=None, max_examples=40)
@pytest.mark.slow
def test_windows(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("windows")
    bands, rows, cols = data.draw(
        st.tuples(st.integers(1, 4), st.integers(1, 300), st.integers(1, 300))
    )
    tile_rows, tile_cols = data.draw(
        st.tuples(st.integers(max(1, rows // 4), 300), st.integers(max(1, cols // 4), 300))
    )
    dtype = data.draw(st.sampled_from(DTYPES))
    suffix, driver = data.draw(st.sampled_from([(".tif", None), (".raw", None), (".tif", "COG")]))
    pixels = samples(bands, rows, cols, dtype, seed=rows)
    description = Description(bands, rows, cols, dtype, (None,) * bands)
    path = folder / f"a{suffix}"
    with create_sink(path, description, driver=driver) as sink:
        for row in range(0, rows, tile_rows):
            for col in range(0, cols, tile_cols):
                sink.write(row, col, pixels[:, row : row + tile_rows, col : col + tile_cols])
    assert list(folder.iterdir()) == [path]
    geometry = (
        f"{bands}_{cols}_{rows}_{[1, 2, 3, 4, 6][DTYPES.index(dtype)]}_1_0"
        if suffix == ".raw"
        else None
    )
    row, col = data.draw(st.tuples(st.integers(0, rows - 1), st.integers(0, cols - 1)))
    with open_source(path, geometry) as source:
        window = source.read(row, col, rows - row, cols - col, slice(bands // 2, None))
    assert window.dtype == np.dtype(dtype)
    assert window.dtype.isnative
    assert np.array_equal(window, pixels[bands // 2 :, row:, col:])


@pytest.mark.parametrize("endian", [0, 1])
@pytest.mark.parametrize(("kind", "dtype"), list(zip([1, 2, 3, 4, 6], DTYPES, strict=True)))
def test_raw(tmp_path, kind, dtype, endian):
    pixels = samples(3, 5, 4, dtype)
    path = tmp_path / f"a.b.9_9.3_4_5_{kind}_{endian}_1.raw"
    path.write_bytes(pixels.astype(pixels.dtype.newbyteorder("><"[endian])).tobytes())
    description, read = whole(path)
    assert description == Description(
        3, 5, 4, dtype, (None,) * 3, {"raw": {"endian": endian, "rgb": 1}}
    )
    assert read.dtype.isnative
    assert np.array_equal(read, pixels)
    suffix = default_suffix(through_json(description))
    assert suffix == f".3_4_5_{kind}_{endian}_1.raw"
    assert save(tmp_path / f"copy{suffix}", description, pixels).read_bytes() == path.read_bytes()
    renamed = path.rename(tmp_path / "any.bin")
    assert np.array_equal(whole(renamed, f"3_4_5_{kind}_{endian}_1")[1], pixels)
    description, read = whole(save(tmp_path / "copy.tif", description, pixels))
    assert np.array_equal(read, pixels)
    assert description.metadata == {"container": "GTiff", "colorinterp": ["red", "green", "blue"]}
    assert default_suffix(description) == ".tif"


def test_raw_names(tmp_path):
    description, pixels = Description(1, 2, 3, "uint16", (None,)), samples(1, 2, 3, "uint16")
    big = save(tmp_path / "a.1_3_2_2_0_0.raw", description, pixels)
    assert big.read_bytes() == pixels.astype(">u2").tobytes()
    with one_line(InputError, "a.1_2_3_2_0_0.raw", ".1_3_2_2_1_0.raw"):
        create_sink(tmp_path / "a.1_2_3_2_0_0.raw", description)
    for text in ("1_3_2_2_0", "1_3_2_2_2_0", "a_3_2_2_0_0", "0_3_2_2_0_0", ""):
        with one_line(InputError, repr(text)):
            open_source(big, text)
    with one_line(UnsupportedImageError, "type 5"):
        open_source(big, "1_3_2_5_0_0")
    with one_line(InputError, "a.1_3_2_2_0_0.raw", " 12 bytes", "needs 24"):
        open_source(big, "2_3_2_2_0_0")
    with one_line(InputError, "No such file"):
        open_source(tmp_path / "b.1_3_2_2_0_0.raw")
    with one_line(InputError, "c.raw", "BANDS_WIDTH_HEIGHT_TYPE_ENDIAN_RGB"):
        open_source(big.rename(tmp_path / "c.raw"))


def test_one_pixel(tmp_path):
    for dtype in DTYPES:
        pixels = np.full((1, 1, 1), 3, dtype)
        for driver in (None, "COG"):
            description, read = whole(
                save(
                    tmp_path / "a.tif",
                    Description(1, 1, 1, dtype, (3.0,)),
                    pixels,
                    driver=driver,
                    overwrite=True,
                )
            )
            assert (description.nodata, read.item()) == ((3.0,), 3)


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
def test_complex_samples_are_refused(tmp_path, dtype):
    with one_line(UnsupportedImageError, "a.tif", dtype, "real and imaginary"):
        open_source(make(tmp_path / "a.tif", np.zeros((1, 2, 2), "complex64"), dtype=dtype))


def test_bad_sources(tmp_path):
    with one_line(InputError, "none.tif", "No such file"):
        open_source(tmp_path / "none.tif")
    (tmp_path / "notes.tif").write_text("not\nan image\n")
    with one_line(InputError, "notes.tif"):
        open_source(tmp_path / "notes.tif")
    with one_line(InputError, str(tmp_path)):
        open_source(tmp_path)
    cut = make(tmp_path / "cut.tif", samples(1, 300, 300, "uint16"))
    cut.write_bytes(cut.read_bytes()[:100_000])
    with open_source(cut) as source, one_line(InputError, "cut.tif", "cut off"):
        source.read(0, 0, 300, 300)


@pytest.mark.parametrize(
    "window", [(-1, 0, 1, 1), (0, 0, 3, 1), (1, 1, 1, 4), (0, 0, 0, 1), (2, 0, 1, 1)]
)
def test_windows_outside(tmp_path, window):
    path = save(
        tmp_path / "a.tif", Description(1, 2, 4, "uint8", (None,)), samples(1, 2, 4, "uint8")
    )
    with open_source(path) as source, one_line(InputError, "a.tif", "2 x 4"):
        source.read(*window)


def test_reading_leaves_the_folder_alone(tmp_path):
    path = make(tmp_path / "a.png", samples(1, 4, 4, "uint8"), driver="PNG")
    (tmp_path / "a.png.aux.xml").write_text(AUX)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert whole(path)[0].nodata == (9.0,)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("name", "driver"), [("a.tif", None), ("a.raw", None), ("a.tif", "COG")])
def test_nothing_is_left_after_a_failure(tmp_path, name, driver):
    description, pixels = Description(1, 4, 4, "uint8", (None,)), samples(1, 4, 4, "uint8")

    def interrupted() -> None:
        with create_sink(tmp_path / name, description, driver) as sink:
            sink.write(0, 0, pixels)
            assert not (tmp_path / name).exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with (
        pytest.raises(ValueError, match="float32"),
        create_sink(tmp_path / name, description, driver) as sink,
    ):
        sink.write(0, 0, pixels.astype("float32"))
    with one_line(InputError, name), create_sink(tmp_path / name, description, driver) as sink:
        sink.write(1, 0, pixels)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.tif", "a.raw"])
def test_full_disk(tmp_path, name):
    """Few samples, so that GDAL meets the limit only when the file is closed, and keeps silent
    about it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        with one_line(InputError, name, "free space"):
            save(
                tmp_path / name,
                Description(1, 200, 200, "uint16", (None,)),
                samples(1, 200, 200, "uint16"),
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


def test_existing_outputs(tmp_path):
    description, pixels = Description(1, 4, 4, "uint8", (None,)), samples(1, 4, 4, "uint8")
    path = tmp_path / "a.tif"
    path.write_bytes(b"precious")
    with one_line(OutputExistsError, "a.tif", "`overwrite=True`"):
        create_sink(path, description)
    with pytest.raises(KeyError), create_sink(path, description, overwrite=True):
        raise KeyError
    assert path.read_bytes() == b"precious"
    stale = tmp_path / "a.tif.aux.xml"
    stale.write_text(AUX)
    assert np.array_equal(whole(save(path, description, pixels, overwrite=True))[1], pixels)
    assert whole(path)[0].nodata == (None,)
    assert list(tmp_path.iterdir()) == [path]
    sink = create_sink(tmp_path / "b.tif", description)
    with one_line(OutputExistsError, "b.tif"), sink:
        sink.write(0, 0, pixels)
        (tmp_path / "b.tif").write_bytes(b"meanwhile")
    assert (tmp_path / "b.tif").read_bytes() == b"meanwhile"


def test_bad_outputs(tmp_path):
    description, pixels = Description(1, 4, 4, "uint8", (None,)), samples(1, 4, 4, "uint8")
    with (
        one_line(InputError, "a.tif", "No such file"),
        create_sink(tmp_path / "none" / "a.tif", description),
    ):
        pass
    with one_line(InputError, "folder"):
        create_sink(tmp_path, description, overwrite=True)
    with one_line(InputError, "NONESUCH"):
        create_sink(tmp_path / "a.tif", description, "NONESUCH")
    with one_line(InputError, "a.jpg", "JPEG"):
        save(tmp_path / "a.jpg", description, pixels, driver="JPEG")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("driver", "name"), [("PNG", "a.png"), ("JP2OpenJPEG", "a.jp2"), ("ENVI", "a.img")]
)
def test_other_drivers_come_with_their_side_files(tmp_path, driver, name):
    pixels = samples(3, 40, 30, "uint8")
    description = Description(
        3,
        40,
        30,
        "uint8",
        (5.0,) * 3,
        {"crs": "EPSG:32631", "transform": [10.0, 0.0, 600000.0, 0.0, -10.0, 4900020.0]},
    )
    again, read = whole(save(tmp_path / name, description, pixels, driver=driver))
    assert np.array_equal(read, pixels)
    assert again.nodata == description.nodata
    assert {key: again.metadata[key] for key in ("crs", "transform")} == description.metadata
    assert all(path.is_file() for path in tmp_path.iterdir())


def test_layout(tmp_path):
    for shape, colours, tiled, interleave in [
        ((2, 256, 300), None, True, "band"),
        ((3, 255, 300), None, False, "band"),
        ((3, 256, 256), ["red", "green", "blue"], True, "pixel"),
    ]:
        description = Description(
            *shape, "uint8", (None,) * shape[0], {"colorinterp": colours} if colours else {}
        )
        with rasterio.open(
            save(tmp_path / "a.tif", description, samples(*shape, "uint8"), overwrite=True)
        ) as dataset:
            assert (dataset.block_shapes[0] == (256, 256)) is tiled
            assert dataset.interleaving.name == interleave
            assert dataset.compression.name == "deflate"


@pytest.mark.parametrize(("name", "driver"), [("a.tif", None), ("a.raw", None), ("a.tif", "COG")])
def test_bands_may_come_a_few_at_a_time(tmp_path, name, driver):
    pixels = samples(5, 130, 90, "int16")
    with create_sink(
        tmp_path / name, Description(5, 130, 90, "int16", (None,) * 5), driver, step=(64, 64)
    ) as sink:
        for rows, cols, bands in product(
            (slice(0, 64), slice(64, 130)),
            (slice(0, 64), slice(64, 90)),
            (slice(3, 5), slice(0, 3)),
        ):
            sink.write(rows.start, cols.start, pixels[bands, rows, cols], bands.start)
        with pytest.raises(ValueError, match="from band 4 on"):
            sink.write(0, 0, pixels[:2], 4)
    assert np.array_equal(
        whole(tmp_path / name, "5_90_130_3_1_0" if name == "a.raw" else None)[1], pixels
    )


def test_a_step_lays_out_blocks_that_are_written_once(tmp_path):
    """Writes at odd places would leave holes in a file of compressed blocks that lie across
    them."""
    pixels = np.cumsum(samples(2, 448, 896, "uint8") % 3, axis=2, dtype=np.uint16)
    description = Description(2, 448, 896, "uint16", (None,) * 2)
    with (
        rasterio.Env(GDAL_CACHEMAX=1 << 16),
        create_sink(tmp_path / "a.tif", description, step=(192, 448)) as sink,
    ):
        for row, col, band in product((0, 192, 384), (0, 448), (0, 1)):
            sink.write(row, col, pixels[band : band + 1, row : row + 192, col : col + 448], band)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.block_shapes == [(192, 224)] * 2
    assert (tmp_path / "a.tif").stat().st_size <= 1.01 * save(
        tmp_path / "b.tif", description, pixels
    ).stat().st_size


def test_red_green_and_blue_that_come_apart_are_written_once(tmp_path):
    pixels = np.cumsum(samples(3, 512, 512, "uint8") % 3, axis=2, dtype=np.uint8)
    description = Description(
        3, 512, 512, "uint8", (None,) * 3, {"colorinterp": ["red", "green", "blue"]}
    )
    with create_sink(tmp_path / "a.tif", description, step=(256, 256)) as sink:
        for row, col, bands in product((0, 256), (0, 256), (slice(0, 2), slice(2, 3))):
            sink.write(row, col, pixels[bands, row : row + 256, col : col + 256], bands.start)
    assert np.array_equal(whole(tmp_path / "a.tif")[1], pixels)
    assert (tmp_path / "a.tif").stat().st_size <= 1.01 * save(
        tmp_path / "b.tif", description, pixels
    ).stat().st_size
