"""The errors that isoq raises on purpose.

Every message is one line: the file or argument, what is wrong, and after a semicolon what to do.
Messages write the arguments of functions in backquotes, as in "`mse=-1`: must be greater than 0".
The command line shows the same message with its options, "--mse -1: must be greater than 0"."""

from __future__ import annotations

import reprlib

_MOST = 16  # numbers of an array that a message shows


class IsoqError(Exception):
    """Base class of all errors that isoq raises on purpose.

    Examples
    --------
    >>> import isoq
    >>> try:
    ...     isoq.decompress(b"not a file")
    ... except isoq.IsoqError as error:
    ...     print(error)
    data: not an .isoq file; check the name
    """

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # names of files may have several lines


class InputError(IsoqError, ValueError):
    """An input image, a file or an argument cannot be used. Also a ``ValueError``."""


class ArgumentError(InputError, TypeError):
    """A function has no such argument, or lacks one. Also a ``TypeError``."""


class UnsupportedImageError(InputError):
    """The image has a sample type or a size that isoq does not handle."""


class OutputExistsError(FileExistsError, InputError):
    """The output exists and may not be replaced. Also a ``FileExistsError``."""


class CorruptFileError(IsoqError):
    """The .isoq file is truncated or altered, or is not an .isoq file."""


class ModelMismatchError(IsoqError):
    """The model that a file needs is missing, damaged or a different one."""


class IsoqWarning(UserWarning):
    """Something that the user should know although the work was done. One line."""


class GuaranteeError(IsoqError):
    """A recorded error is not true, or a block does not keep its target."""


def argument(name: str, value: object) -> str:
    """Write an argument and its value for a message, as in "`mse=-1`" or "`rmse=(1, 2)`"."""
    if getattr(value, "size", _MOST + 1) <= _MOST and hasattr(value, "tolist"):
        value = value.tolist()  # a small array, or a number of numpy's
    if isinstance(value, list | tuple) and all(type(item) in (int, float) for item in value):
        text = f"({', '.join(f'{item:.15g}' for item in value)})"
    else:
        text = f"{value:.15g}" if isinstance(value, float) else reprlib.repr(value)
    return f"`{name}={' '.join(text.split()).replace('`', '')}`"
