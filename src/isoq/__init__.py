"""isoq: fixed-quality neural compression of remote-sensing images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__ as __version__

__all__ = ["File", "Target", "compress", "decompress", "load_model", "open"]

if TYPE_CHECKING:
    from .api import compress, decompress, open
    from .codec.reader import File
    from .codec.target import Target
    from .ecosystem.xarray import to_zarr as to_zarr
    from .ecosystem.zarr import IsoqCodec as IsoqCodec
    from .network.model import load_model

_HOME = {
    "compress": "api",
    "decompress": "api",
    "open": "api",
    "File": "codec.reader",
    "load_model": "network.model",
    "Target": "codec.target",
    # these two need zarr and xarray, and so do not come with an asterisk
    "IsoqCodec": "ecosystem.zarr",
    "to_zarr": "ecosystem.xarray",
}


def __getattr__(name: str):
    # Imported on first use: the command line answers --help and --version without loading anything.
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module 'isoq' has no attribute '{name}'")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
