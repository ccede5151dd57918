"""isoq: fixed-quality neural compression of remote-sensing images.

You say how much error a block of pixels may have; isoq writes the smallest file that keeps that
in every block of every band, and records the error that was reached.

Examples
--------
>>> import isoq, numpy as np
>>> image = np.arange(64 * 64, dtype="uint16").reshape(64, 64)
>>> data = isoq.compress(image, max_error=2)
>>> int(abs(isoq.decompress(data)[0].astype(int) - image).max()) <= 2
True
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ._version import __version__ as __version__
from .errors import (
    ArgumentError,
    CorruptFileError,
    GuaranteeError,
    InputError,
    IsoqError,
    IsoqWarning,
    ModelMismatchError,
    OutputExistsError,
    UnsupportedImageError,
)

if TYPE_CHECKING:
    from .api import (
        Dataset,
        advise,
        compress,
        compress_file,
        decompress,
        decompress_file,
        estimate,
        info,
        open,
        verify,
    )
    from .codec.target import Target
    from .ecosystem.to_zarr import to_zarr as to_zarr
    from .ecosystem.zarr import IsoqCodec as IsoqCodec
    from .network.model import load_model

# Silent until a program asks for it, as the documentation of `logging` advises libraries.
logging.getLogger("isoq").addHandler(logging.NullHandler())

__all__ = [
    "ArgumentError",
    "CorruptFileError",
    "Dataset",
    "GuaranteeError",
    "InputError",
    "IsoqError",
    "IsoqWarning",
    "ModelMismatchError",
    "OutputExistsError",
    "Target",
    "UnsupportedImageError",
    "advise",
    "compress",
    "compress_file",
    "decompress",
    "decompress_file",
    "estimate",
    "info",
    "load_model",
    "open",
    "verify",
]

_MODULES = {
    **dict.fromkeys(("compress", "decompress"), "api.arrays"),
    **dict.fromkeys(("Dataset", "open"), "api.dataset"),
    **dict.fromkeys(("compress_file", "decompress_file"), "api.files"),
    **dict.fromkeys(("advise", "estimate", "info", "verify"), "api.reports"),
    "Target": "codec.target",
    "load_model": "network.model",
    # These need xarray and zarr, and are therefore not in __all__.
    "IsoqCodec": "ecosystem.zarr",
    "to_zarr": "ecosystem.to_zarr",
}


if not TYPE_CHECKING:  # a type checker knows all names, and finds wrong ones

    def __getattr__(name: str) -> object:
        # Imported on first use, so that `import isoq` and `isoq --help` load next to nothing.
        from importlib import import_module

        if name not in _MODULES:
            raise AttributeError(f"module 'isoq' has no attribute '{name}'")
        value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted([*__all__, "IsoqCodec", "to_zarr", "__version__"])
