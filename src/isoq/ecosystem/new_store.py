"""What keeps a Zarr store complete: it is written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from zarr.core.sync import sync
from zarr.storage import LocalStore, MemoryStore
from zarr.storage._common import make_store_path

from ..errors import InputError


@contextmanager
def removed_on_failure(store: Any, storage_options: dict[str, Any] | None) -> Iterator[None]:
    """Remove what is in a Zarr store if the block fails and the store was empty before.

    store: whatever Zarr takes as a store. A store that cannot delete keeps what it has."""
    absent = isinstance(store, str | Path) and not Path(store).exists()
    opened = sync(make_store_path(store, mode="a", storage_options=storage_options)).store
    empty = sync(opened.is_empty(""))
    try:
        yield
    except BaseException:
        if empty and opened.supports_deletes:
            sync(opened.clear())
            if absent and isinstance(opened, LocalStore):
                opened.root.rmdir()
        raise


def check_appended(dataset: xr.Dataset, store: Any, options: Mapping[str, Any]) -> None:
    """Raise InputError if some variables of a store would grow along an axis and others would not,
    which leaves a store that xarray cannot open.

    options: those of `xarray.Dataset.to_zarr`, with `append_dim`."""
    dim = options["append_dim"]
    how = {
        key: options[key] for key in ("group", "storage_options", "consolidated") if key in options
    }
    try:
        with xr.open_zarr(store, chunks=None, decode_cf=False, **how) as found:
            known = {name for name, variable in found.variables.items() if dim in variable.dims}
    except FileNotFoundError:
        return
    given = {name for name, variable in dataset.variables.items() if dim in variable.dims}
    for names, where in (known - given, "in the store"), (given - known, "in the dataset"):
        if names:
            raise InputError(
                f"append_dim={dim!r}: {', '.join(sorted(map(str, names)))} would be only {where}; "
                "append all variables and coordinates of this axis at once"
            )


def check_chunks(dataset: xr.Dataset, options: Mapping[str, Any]) -> None:
    """Raise InputError if the dask chunks of a variable do not fit the chunks of a Zarr array.

    options: those of `xarray.Dataset.to_zarr`. xarray itself decides, on zeros in no store."""
    encodings = options.get("encoding") or {}
    rules = {key: options[key] for key in ("safe_chunks", "align_chunks") if key in options}
    for name, variable in dataset.variables.items():
        if variable.chunks is None:
            continue
        import dask.array

        zeros = dask.array.zeros(variable.shape, np.uint8, chunks=variable.chunks)
        blank = xr.Variable([f"axis {n}" for n in range(variable.ndim)], zeros)
        given = encodings.get(name, variable.encoding)
        blank.encoding = {key: given[key] for key in ("chunks", "shards") if given.get(key)}
        sides = [max(sizes) for sizes in variable.chunks]
        sides = blank.encoding.get("shards", blank.encoding.get("chunks", sides))
        try:
            xr.Dataset({"zeros": blank}).to_zarr(
                MemoryStore(), zarr_format=3, consolidated=False, compute=False, **rules
            )
        except ValueError as error:
            fitting = dict(zip(variable.dims, sides, strict=False))
            raise InputError(
                f"{name}: its dask chunks do not fit those of a Zarr array, which have one size; "
                f"rechunk it, as by .chunk({fitting})"
            ) from error
