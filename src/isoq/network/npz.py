"""Read the arrays of an .npz file from anywhere. Nothing is unpickled, and no more memory is
allocated than the file justifies."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import numpy as np

_LARGEST = 1 << 28  # bytes of all arrays; the shipped model has 0.8 million


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays like np.load, which believes every size that an archive and its arrays
    claim. Raises ValueError, and OSError if the file cannot be read."""
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > _LARGEST:
                raise ValueError(f"more than {_LARGEST} bytes of arrays")
            return {
                member.filename.removesuffix(".npy"): _array(archive.read(member))
                for member in members
            }
    except Exception as error:  # zipfile and numpy have a dozen kinds of error for damage
        raise ValueError(f"{path.name}: {' '.join(str(error).split())}") from error


def _array(data: bytes) -> np.ndarray:
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array in a format that isoq does not write")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    start = stream.tell()
    if dtype.kind not in "iuf" or len(data) - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"an array of type {dtype} and shape {shape} in {len(data) - start} bytes")
    return np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if fortran else "C")
