"""The codec `isoq` of Zarr version 3 behind the codecs that change numbers before it."""

import numpy as np
import pytest
from cases import crop

zarr = pytest.importorskip("zarr")
pytest.importorskip("zarr.codecs.cast_value")
pytest.importorskip("cast_value_rs")
from zarr.codecs import CastValue, ScaleOffset  # noqa: E402
from zarr_arrays import block_errors  # noqa: E402

from isoq.ecosystem.zarr import IsoqCodec  # noqa: E402


def test_floats_are_scaled_and_cast_before_the_codec(tmp_path):
    """`scale_offset` and `cast_value` turn reflectances into integers, in whose unit the target
    is."""
    pytest.importorskip("zarr.codecs.cast_value")
    pytest.importorskip("cast_value_rs")

    numbers = crop("sentinel2.tif")[0]
    reflectance = numbers.astype(np.float32) * np.float32(1e-4) - np.float32(0.1)
    array = zarr.create_array(
        tmp_path / "reflectance.zarr",
        shape=reflectance.shape,
        chunks=reflectance.shape,
        dtype="float32",
        filters=[ScaleOffset(offset=-0.1, scale=1e4), CastValue(data_type="uint16")],
        serializer=IsoqCodec(mse=25),
        compressors=None,
        fill_value=0.0,
    )
    array[:] = reflectance
    found = (zarr.open_array(tmp_path / "reflectance.zarr")[:] + 0.1) * 1e4
    errors = block_errors(found, numbers, max(numbers.shape))
    assert 1 < errors.max() < 25.1  # float32 keeps the scaled values to some 1e-4
