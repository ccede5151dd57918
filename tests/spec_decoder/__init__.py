"""A decoder of .isoq written from docs/format.md and from nothing else: slow, without isoq, numbers
of sections in the comments.

It keeps whatever a stream holds, so that tests can code it again."""

from .common import CONSTANT, LOSSLESS, PREDICTIVE, SPECTRAL, TYPES, Bytes, Group
from .context import context_latents
from .details import network_outputs
from .file import File, chunks, decode
from .model import Model

__all__ = [
    "CONSTANT",
    "LOSSLESS",
    "PREDICTIVE",
    "SPECTRAL",
    "TYPES",
    "Bytes",
    "File",
    "Group",
    "Model",
    "chunks",
    "context_latents",
    "decode",
    "network_outputs",
]
