"""The codec of numcodecs: what numcodecs asks of all codecs, and Zarr version 2."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from cases import crop
from images import DTYPES, one_line

from isoq.errors import CorruptFileError, InputError

pytest.importorskip("numcodecs")
zarr = pytest.importorskip("zarr")
from numcodecs.registry import get_codec  # noqa: E402

from isoq.ecosystem.numcodecs import Isoq  # noqa: E402

EXACT = 1e-5  # a mean squared error of a block of integers that is below one is none


def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = zip([50, (7, 9), (2, 5, 6), (2, 2, 3, 4)], DTYPES, strict=False)
    integers = [rng.integers(0, 99, shape).astype(dtype) for shape, dtype in shapes]
    return [*integers, crop("sentinel2.tif")[:, :20, :20].copy(), np.zeros((3, 3), "uint16")]


@pytest.mark.parametrize("array", arrays(), ids=lambda array: f"{array.dtype}{array.shape}")
@pytest.mark.slow
def test_arrays_and_buffers_come_back(array):
    codec = Isoq(mse=EXACT)
    for samples in (array, array.tobytes(), bytearray(array.tobytes())):
        encoded = bytes(codec.encode(samples))
        for kind in (bytes, bytearray, memoryview, lambda data: np.frombuffer(data, "u1")):
            assert codec.decode(kind(encoded)).tobytes() == array.tobytes()


@pytest.mark.parametrize("array", arrays(), ids=lambda array: f"{array.dtype}{array.shape}")
@pytest.mark.slow
def test_arrays_are_decoded_into_what_is_given(array):
    codec = Isoq(mse=EXACT)
    decoded = codec.decode(codec.encode(array))
    assert decoded.dtype == array.dtype
    assert decoded.tobytes() == array.tobytes()
    for out in (np.empty_like(array), bytearray(array.nbytes)):
        codec.decode(codec.encode(array), out=out)
        assert bytes(out) == array.tobytes()


def test_floats_within_their_error():
    array = crop("sentinel1.tif")
    decoded = Isoq(rmse=0.5).decode(Isoq(rmse=0.5).encode(array))
    assert decoded.dtype == array.dtype
    assert np.mean((decoded - array) ** 2) <= 0.25


def test_configuration():
    for codec in (
        Isoq(mse=EXACT),
        Isoq(nodata=np.nan, snr=[30, 40.0], block=32),
        Isoq(nodata=65535, rmse=2.0, model="eo16-4"),
    ):
        stored = json.loads(json.dumps(codec.get_config()))
        assert stored["id"] == "isoq"
        assert get_codec(stored) == codec
    assert repr(Isoq(mse=25.0)) == "Isoq(mse=25.0)"
    several = Isoq(nodata=0.0, snr=[30.0, 40.0], block=32)
    assert repr(several) == "Isoq(nodata=0.0, snr=[30.0, 40.0], block=32)"


def test_what_cannot_be_coded():
    with pytest.raises(TypeError):
        Isoq(mse=1).encode(np.array(["foo", "bar"], dtype=object))
    for array in (np.arange(9), np.zeros((4, 4)), np.zeros((4, 4), ">u2"), np.zeros((4, 4), bool)):
        with pytest.raises(
            TypeError, match=r"^isoq c[^\n]*; convert [^\n]*$|^isoq c[^\n]*; convert them$"
        ):
            Isoq(mse=1).encode(array)
    with pytest.raises(ValueError, match="in C order"):
        Isoq(mse=1).encode(np.asfortranarray(crop("landsat.tif")[0]))
    with one_line(InputError, "give exactly one target"):
        Isoq(nodata=0)
    with pytest.raises(CorruptFileError):
        Isoq(mse=1).decode(b"no stream")


def test_no_samples():
    assert Isoq(mse=1).decode(Isoq(mse=1).encode(np.zeros((0, 5), "uint16"))).size == 0


def test_nodata_come_back():
    array = crop("sentinel2.tif")
    array[:, 20:50, 30:90] = 65535
    decoded = Isoq(nodata=65535, mse=25).decode(Isoq(nodata=65535, mse=25).encode(array))
    assert np.array_equal(decoded == 65535, array == 65535)


@pytest.mark.slow
def test_zarr_version_2_in_another_process(tmp_path):
    """With the codec's defaults taken from the registry, by way of its entry point."""
    pixels = crop("sentinel2.tif")
    codec = get_codec({"id": "isoq", "mse": 25, "nodata": 65535})
    options = {"chunks": (3, 64, 64), "zarr_format": 2, "fill_value": 65535}
    zarr.create_array(tmp_path, data=pixels, compressors=codec, filters=None, **options)
    code = (
        f"import numpy, zarr; numpy.save({str(tmp_path / 'out.npy')!r}, "
        f"zarr.open_array({str(tmp_path)!r})[:])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
    assert 20 < np.mean((np.load(tmp_path / "out.npy").astype(float) - pixels) ** 2) <= 25
