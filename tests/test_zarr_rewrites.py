"""Zarr arrays whose chunks are copied, or written again in part: the promise holds against what was
written first."""

import numpy as np
import pytest
from cases import crop, terrain

zarr = pytest.importorskip("zarr")
from zarr.codecs import Crc32cCodec  # noqa: E402
from zarr_arrays import block_errors, create  # noqa: E402

from isoq.ecosystem import chunks  # noqa: E402
from isoq.ecosystem.record import record_errors  # noqa: E402
from isoq.ecosystem.zarr import IsoqCodec  # noqa: E402

pytestmark = pytest.mark.usefixtures("nothing_decoded")


@pytest.mark.slow
def test_copies_of_a_chunk_are_the_same_bytes(tmp_path):
    pixels = crop("sentinel2.tif")
    first = create(tmp_path, pixels, IsoqCodec(mse=25), (3, 64, 64))
    create(tmp_path, first[:], IsoqCodec(mse=25), (3, 64, 64), name="b")
    chunks_of_a = [path for path in (tmp_path / "a" / "c").rglob("*") if path.is_file()]
    assert len(chunks_of_a) == 9
    for path in chunks_of_a:
        copy = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert copy.read_bytes() == path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("error", [0.3, 1, 25, 400])
def test_what_was_compressed_first_is_lossy_again(error):
    """Although its decoded samples are known, and many of them are the same."""
    pixels, settings = crop("sentinel2.tif")[:, :128, :128], {"mse": error}
    stream = chunks.encode(pixels, settings)
    chunks.decode(stream, settings)
    assert chunks.encode(pixels, settings) == stream
    darker = np.ascontiguousarray(pixels[::-1] // 2)
    assert len(chunks.encode(darker, settings)) < len(chunks.encode(darker, {"lossless": True}))


WRITES = [
    (slice(None), 3),
    (slice(None), slice(None), 7),
    (0, slice(2, 60), slice(0, 63)),
    (1,),
    (slice(None), slice(None, None, 2)),
    (slice(None), slice(None), slice(None, None, 2)),
    (2, 17, 18),
]


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [(3, 64, 64), (1, 48, 32), (3, 131, 149)], ids=str)
@pytest.mark.parametrize("behind", [None, [Crc32cCodec()]], ids=["alone", "checksum"])
def test_writing_a_part_of_a_chunk_leaves_the_rest_as_it_is(chunk, behind, tmp_path):
    """Any number of times, and the record stays true."""
    pixels = crop("sentinel2.tif")
    array = create(tmp_path, pixels, IsoqCodec(mse=400), chunk, compressors=behind)
    before = array[:]
    kept = np.ones(pixels.shape, bool)
    for number, where in enumerate(WRITES):
        array[where] = 1000 + number
        kept[where] = False
        assert np.array_equal(array[:][kept], before[kept]), where
    first = pixels.copy()
    for number, where in enumerate(WRITES):
        first[where] = 1000 + number
    record_errors(tmp_path)
    error = ((array[:].astype(float) - first) ** 2).mean()
    assert error <= zarr.open_group(tmp_path)["a"].attrs["lossy_compression_mse"] * 1.001


@pytest.mark.slow
def test_bands_written_anew_are_lossy_and_the_others_kept(tmp_path):
    """A chunk that is filled date by date, each of which keeps the promise."""
    pixels = crop("sentinel2.tif")
    array = create(
        tmp_path, np.zeros_like(pixels), IsoqCodec(mse=25), pixels.shape, fill_value=65535
    )
    for date, plane in enumerate(pixels):
        array[date] = plane
    errors = block_errors(array[:], pixels, 149)
    assert errors.max() <= 25
    assert errors.mean((1, 2)).min() > 15
    record_errors(tmp_path)
    found = zarr.open_group(tmp_path)["a"].attrs
    assert found["lossy_compression_mse"] == pytest.approx(
        ((array[:].astype(float) - pixels) ** 2).mean(), rel=1e-3
    )
    assert 0.9 < found["lossy_compression_worst_block"] <= 1


def test_infinities_in_several_chunks_are_compared_without_a_warning():
    """Chunks of one coding are compared with what has been decoded before."""
    samples = terrain(2, 30, 40, "float32")
    samples[:, ::3] = -np.inf
    array = zarr.create_array(
        zarr.storage.MemoryStore(),
        data=samples,
        chunks=(1, 30, 40),
        serializer=IsoqCodec(mse=4),
        compressors=None,
    )
    found = array[:]
    array[:] = np.where(np.isinf(samples), samples, samples + 1)
    assert np.array_equal(np.isinf(found), np.isinf(samples))
