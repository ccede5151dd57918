"""The functions for Python users; `isoq` shows them at its top level."""

from .arrays import compress, decompress
from .dataset import Dataset, open
from .files import compress_file, decompress_file
from .keywords import DEFAULT_MODEL
from .reports import advise, estimate, info, verify

__all__ = [
    "DEFAULT_MODEL",
    "Dataset",
    "advise",
    "compress",
    "compress_file",
    "decompress",
    "decompress_file",
    "estimate",
    "info",
    "open",
    "verify",
]
