"""Files to .isoq and back: metadata, byte orders, recorded errors."""

import io
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import rasterio
from cases import CROPS, DATA, crop, model, terrain
from images import make, one_line, whole

import isoq
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.verify import verify_against
from isoq.codec.writer import compress_to
from isoq.errors import CorruptFileError, InputError
from isoq.format.container import ContainerReader
from isoq.network.model import Model
from isoq.raster.sink import create_sink
from isoq.raster.source import open_source
from isoq.raster.window import window_of


def reopened(out: BinaryIO) -> File:
    out.seek(0)
    return File(out)


def restore(file: File, path: Path) -> Path:
    window = window_of(None, file.description, path)
    with create_sink(path, file.description, step=file.at_level(0).step(window)) as sink:
        for part, samples, mask in file.at_level(0).pieces(model(), window):
            sink.write(part.row, part.col, samples, part.band, mask)
    return path


@pytest.mark.parametrize("name", CROPS)
@pytest.mark.slow
def test_verify_against(tmp_path, name):
    with open_source(DATA / name) as source, open(tmp_path / "a.isoq", "w+b") as out:
        compress_to(out, source, Target("snr", 30), model(), Options(tile=128))
        file = reopened(out)
        assert verify_against(file, source, model(), 2) == []
        other = make(
            tmp_path / "other.tif",
            np.roll(source.read(0, 0, source.description.rows, source.description.cols), 3, 1),
        )
        with open_source(other) as wrong:
            problems = verify_against(file, wrong, model(), 2)
    assert sum("not true" in problem for problem in problems) == len(file.boxes)
    assert all("not true" in problem or "above their target" in problem for problem in problems)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("mse", [0.3, 3, 1e4])
@pytest.mark.slow
def test_verify_on_another_device(dtype, mse):
    """Transforms that differ in the last digits make no record false: at full range they move
    pixels that are patched to be exact."""
    image, rng = (80 * terrain(1, 70, 135, "float32")).astype(dtype), np.random.default_rng(0)
    other = Model(model().folder)
    synthesis = other.synthesis
    other.synthesis = lambda y: (
        synthesis(y)
        + rng.uniform(-2e-6, 2e-6, (1, 1, 16 * y.shape[2], 16 * y.shape[3])).astype(np.float32)
    )
    out, source = io.BytesIO(), ArraySource(image)
    compress_to(out, source, Target("mse", mse), model(), Options())
    file = reopened(out)
    assert verify_against(file, source, other, 1) == []
    image[0, 40, :30] += np.sqrt(2 * 64 * mse).astype(dtype) + 1
    assert verify_against(file, source, other, 1) != []


def test_open(tmp_path):
    pixels = crop("sentinel1.tif")
    path = tmp_path / "a.isoq"
    path.write_bytes(isoq.compress(pixels, snr=30))
    with isoq.open(path) as src:
        assert (src.description.bands, src.description.rows, src.description.cols) == pixels.shape
        assert src.description.dtype == "float32"
        assert np.array_equal(src.read(), isoq.decompress(path.read_bytes()))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorruptFileError, match=r"a\.isoq: "):
        isoq.open(path)
    with pytest.raises(InputError, match=r"none\.isoq: "):
        isoq.open(tmp_path / "none.isoq")


def edit(dataset) -> None:
    dataset.update_tags(mission="Sentinel-2", processing="é")
    dataset.update_tags(2, wavelength="560")
    dataset.descriptions = ("blue", "green", "red")
    dataset.scales = (1e-4,) * 3


def test_geotiff_metadata_survive(tmp_path):
    with rasterio.open(DATA / "sentinel2.tif") as src:
        profile = {"crs": src.crs, "transform": src.transform, "nodata": src.nodata}
    path = make(tmp_path / "a.tif", crop("sentinel2.tif"), edit, **profile)
    out = io.BytesIO()
    with open_source(path) as source:
        compress_to(out, source, Target("snr", 30), model(), Options())
        before = source.description
    file = reopened(out)
    assert file.description == before
    assert whole(restore(file, tmp_path / "b.tif"))[0] == before
    with rasterio.open(tmp_path / "b.tif") as dst:
        assert dst.crs.to_epsg() == 32631
        assert dst.transform == profile["transform"]
        assert dst.nodata == 65535
        assert dst.descriptions == ("blue", "green", "red")
        assert dst.scales == (1e-4,) * 3
        assert dst.tags().items() >= {"mission": "Sentinel-2", "processing": "é"}.items()
        assert dst.tags(2)["wavelength"] == "560"


@pytest.mark.parametrize("endian", [0, 1])
@pytest.mark.parametrize(
    ("kind", "dtype"), [(1, "uint8"), (2, "uint16"), (3, "int16"), (4, "int32"), (6, "float32")]
)
@pytest.mark.slow
def test_raw_comes_back_as_it_came(tmp_path, kind, dtype, endian):
    pixels = terrain(2, 20, 30, dtype)
    path = tmp_path / f"a.2_30_20_{kind}_{endian}_0.raw"
    path.write_bytes(pixels.astype(pixels.dtype.newbyteorder("><"[endian])).tobytes())
    out = io.BytesIO()
    with open_source(path) as source:
        compress_to(out, source, Target("mse", 20.0), model(), Options())
    back = restore(reopened(out), tmp_path / f"b.2_30_20_{kind}_{endian}_0.raw")
    stored = np.frombuffer(back.read_bytes(), np.dtype(dtype).newbyteorder("><"[endian]))
    assert np.array_equal(stored, isoq.decompress(out.getvalue()).ravel())
    assert ((stored.astype(np.float64) - pixels.ravel()) ** 2).mean() < 60


@pytest.mark.slow
def test_byte_order_changes_nothing(tmp_path):
    pixels, made = terrain(2, 40, 50, "int16"), []
    for endian, order in enumerate("><"):
        path = tmp_path / f"a.2_50_40_3_{endian}_0.raw"
        path.write_bytes(pixels.astype(pixels.dtype.newbyteorder(order)).tobytes())
        out = io.BytesIO()
        with open_source(path) as source:
            compress_to(out, source, Target("mse", 20.0), model(), Options())
        out.seek(0)
        made.append(ContainerReader(out).tile(0))
        array = pixels.astype(pixels.dtype.newbyteorder(order))
        made.append(ContainerReader(io.BytesIO(isoq.compress(array, mse=20.0))).tile(0))
    assert len(set(made)) == 1


def test_pipes_are_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    os.mkfifo(tmp_path / "a.isoq")
    packed = isoq.compress(terrain(1, 20, 30, "uint8"), mse=4)
    (tmp_path / "b.isoq").write_bytes(packed)
    for call in (
        lambda: isoq.compress_file(tmp_path / "a.tif", mse=25),
        lambda: isoq.info(tmp_path / "a.isoq"),
        lambda: isoq.verify(tmp_path / "b.isoq", tmp_path / "a.tif"),
    ):
        with one_line(InputError, "is not a regular file"):
            call()


@pytest.mark.parametrize("linked", [False, True])
def test_pipes_and_devices_are_not_replaced(tmp_path, linked):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    out = tmp_path / "link" if linked else pipe
    if linked:
        out.symlink_to(pipe)
    source = make(tmp_path / "a.tif", terrain(1, 20, 30, "uint8"))
    isoq.compress_file(source, tmp_path / "a.isoq", mse=25)
    for call in (
        lambda: isoq.compress_file(source, out, mse=25, overwrite=True),
        lambda: isoq.decompress_file(tmp_path / "a.isoq", out, overwrite=True),
    ):
        with one_line(InputError, "is not a regular file"):
            call()
    assert pipe.is_fifo()


def test_links_that_lead_in_a_circle_are_not_replaced(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.symlink_to(other)
    other.symlink_to(one)
    source = make(tmp_path / "a.tif", terrain(1, 20, 30, "uint8"))
    isoq.compress_file(source, tmp_path / "a.isoq", mse=25)
    for overwrite in (False, True):
        for call in (
            lambda overwrite: isoq.compress_file(source, one, mse=25, overwrite=overwrite),
            lambda overwrite: isoq.decompress_file(tmp_path / "a.isoq", one, overwrite=overwrite),
            lambda overwrite: isoq.decompress_file(
                tmp_path / "a.isoq", one / "a.tif", overwrite=overwrite
            ),
        ):
            with one_line(InputError, "leads back to itself"):
                call(overwrite)
    assert one.is_symlink()
    assert other.is_symlink()


def test_a_file_does_not_replace_the_one_that_it_is_made_from(tmp_path):
    path = make(tmp_path / "a.tif", terrain(1, 20, 30, "uint8"))
    os.link(path, tmp_path / "same.tif")
    os.symlink(path, tmp_path / "link.tif")
    before = path.read_bytes()
    for name in ("a.tif", "same.tif", "link.tif"):
        with one_line(InputError, "is the source itself"):
            isoq.compress_file(path, tmp_path / name, mse=25, overwrite=True)
    isoq.compress_file(path, tmp_path / "a.isoq", mse=25)
    with one_line(InputError, "is the source itself"):
        isoq.decompress_file(tmp_path / "a.isoq", tmp_path / "a.isoq", overwrite=True)
    assert path.read_bytes() == before


def test_links_lead_to_the_file_that_is_replaced(tmp_path):
    (tmp_path / "archive").mkdir()
    for suffix, write in {
        "isoq": lambda path: isoq.compress_file(
            DATA / "sentinel2.tif", path, mse=25, overwrite=True
        ),
        "tif": lambda path: isoq.decompress_file(tmp_path / "a.isoq", path, overwrite=True),
    }.items():
        stored, link = tmp_path / f"archive/a.{suffix}", tmp_path / f"a.{suffix}"
        stored.write_bytes(b"earlier")
        link.symlink_to(stored)
        write(link)
        assert link.is_symlink()
        assert stored.stat().st_size > 1000
