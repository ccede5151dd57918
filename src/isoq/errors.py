"""What can go wrong. Every message is one line that names the file, what is wrong and what to
do."""

from __future__ import annotations


class IsoqError(Exception):
    """Base of all errors that isoq raises on purpose."""


class InputError(IsoqError):
    """The input or an argument cannot be used."""


class UnsupportedImageError(InputError):
    """An image of a type that isoq does not handle."""


class OutputExistsError(InputError):
    """The output is there already and may not be replaced."""


class CorruptFileError(IsoqError):
    """An .isoq file that is truncated, altered or not one at all."""


class ModelMismatchError(IsoqError):
    """The model that a file needs is missing or a different one."""


class GuaranteeError(IsoqError):
    """A recorded error or a certificate that is not true."""
