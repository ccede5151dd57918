"""Check the arguments of a public function before it works with them."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable
from functools import wraps
from numbers import Integral
from typing import ParamSpec, TypeVar

import numpy as np

from .errors import ArgumentError, InputError, argument

P = ParamSpec("P")
R = TypeVar("R")


def is_path(value: object) -> bool:
    """Return True for a path, or the text of one, that is not empty."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    return isinstance(text, str) and text != ""


# By the annotation of a parameter: does a value fit, and what a message calls it. The modules that
# define a type for annotations add it. Values of other types are checked where they are used.
ANNOTATIONS: dict[str, tuple[Callable[[object], bool], str]] = {
    "bool": (lambda value: isinstance(value, bool | np.bool_), "True or False"),
    "int": (
        lambda value: isinstance(value, Integral) and not isinstance(value, bool),
        "a whole number",
    ),
    "str": (lambda value: isinstance(value, str), "a text"),
    "str | PathLike": (is_path, "a name or a path"),
    "Callable": (callable, "a function"),
}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Return a public function that first compares its arguments with its signature.

    The new function raises ArgumentError if the arguments are not those of the signature, and
    InputError if a value does not fit the annotation of its parameter."""
    signature = inspect.signature(function)
    kinds = {
        name: kind
        for name, parameter in signature.parameters.items()
        if (kind := _kind_of(str(parameter.annotation))) is not None
    }

    @wraps(function)
    def checking(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            why = _misfit(signature, kwargs) or str(error)
            raise ArgumentError(
                f"isoq.{function.__qualname__}: {why}; see help(isoq.{function.__qualname__})"
            ) from None
        for name in kinds.keys() & given.keys():
            fits, wanted, optional = kinds[name]
            if not (fits(given[name]) or (optional and given[name] is None)):
                value = given[name]
                raise InputError(
                    f"{argument(name, value)}: must be {wanted}, not {type(value).__name__}"
                )
        return function(*args, **kwargs)

    return checking


def _kind_of(annotation: str) -> tuple[Callable[[object], bool], str, bool] | None:
    """Return the check for an annotation, what it wants, and if None is allowed as well."""
    name = annotation.removesuffix(" | None")
    kind = ANNOTATIONS.get(name.partition("[")[0])
    return None if kind is None else (*kind, name != annotation)


def _misfit(signature: inspect.Signature, keywords: dict[str, object]) -> str | None:
    """Return a sentence about a keyword that a signature does not have, None without one."""
    for name in keywords:
        if name not in signature.parameters:
            near = difflib.get_close_matches(name, signature.parameters, 1)
            return f"has no argument `{name}`" + (f", but `{near[0]}`" if near else "")
    return None
