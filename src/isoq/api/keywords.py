"""The keywords of the public functions, as values that the codec works with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..arguments import ANNOTATIONS, is_path
from ..codec.options import Options
from ..codec.target import KINDS, Target
from ..errors import InputError
from ..network.model import Model, load_model

DEFAULT_MODEL = "eo16"

PathLike = str | os.PathLike[str]
PerBand = float | Sequence[float] | np.ndarray  # one number, or one per band
ModelLike = str | os.PathLike[str] | Model
Progress = Callable[[int, int], None]  # called with the samples done so far and those of the image

ANNOTATIONS["PathLike"] = is_path, "a path"
ANNOTATIONS["ModelLike"] = (
    lambda value: isinstance(value, Model) or is_path(value),
    "a name, a folder or what load_model returns",
)
ANNOTATIONS["Progress"] = ANNOTATIONS["Callable"]


def chosen_target(
    given: Mapping[str, Any], peak: float | None = None, physical: bool = False
) -> Target:
    """Return the one target among keywords by name; None counts as not
    given, and so does False for `lossless`.
    Raises InputError if there is not exactly one, or if its value cannot be used."""
    chosen = {
        kind: value
        for kind, value in given.items()
        if value is not None and not (kind == "lossless" and value is False)
    }
    if len(chosen) != 1:
        raise InputError(
            f"give exactly one target, one of {', '.join(KINDS)}; got {', '.join(chosen) or 'none'}"
        )
    kind, value = chosen.popitem()
    return Target(kind, value, peak, physical)


def options_of(**given: Any) -> Options:
    """Return the codec's options from keywords of the same names; None stands for the default.
    Raises InputError."""
    plain = {
        name: value.item() if isinstance(value, np.generic) else value  # files hold no NumPy types
        for name, value in given.items()
        if value is not None
    }
    return Options(**plain)


def model_of(model: ModelLike, device: str | None) -> Model:
    """Return a model by name or folder, or a loaded one, on a device (None: the CPU, or where a
    loaded one is). Raises InputError and ModelMismatchError."""
    if isinstance(model, Model):
        return model if device is None else model.on(device)
    return load_model(model, device or "cpu")


@contextmanager
def about(path: object, *others: object) -> Iterator[None]:
    """Put the name of a file in front of the errors inside that name neither it nor `others`."""
    try:
        yield
    except InputError as error:
        if any(str(name) in str(error) for name in (path, *others)):
            raise
        raise type(error)(f"{path}: {error}") from error
