"""The measured error, in the attributes of a Zarr array.

The CF conventions (8.4, quantization) describe how floating-point data were degraded. A variable
without data has the attributes `algorithm` and `implementation`. The attribute `quantization` of
each data variable names that variable, and other attributes hold parameters. CF's algorithms are
four ways of rounding mantissas, and it excludes integers. Floating-point variables therefore have
that attribute here, with an algorithm that is not in CF's list. All variables have the same under
another name, `lossy_compression`, with the parameters that matter here: the target and the measured
error."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import zarr

from ..codec.generations import Loss, accumulated
from .zarr import IsoqCodec, Summary, collected_summaries

CONTAINER = "isoq_info"
_MSE, _WORST = "lossy_compression_mse", "lossy_compression_worst_block"
_EARLIER = "lossy_compression_earlier_mse"
# The power of the samples' unit in the value of a keyword.
_EXPONENT = {"mse": 2, "rmse": 1, "peak": 1, "max_error": 1, "quality": -2}


def record_errors(
    store: Any,
    group: str | None = None,
    storage_options: dict[str, Any] | None = None,
    source_attributes: Mapping[Hashable, Mapping[str, Any]] | None = None,
) -> None:
    """Write the errors of the .isoq arrays of a Zarr group into their attributes.

    This reads the summaries of all chunks, but no samples. Call it again when the arrays have
    changed. Errors are in the unit that an array's attribute `scale_factor` gives its samples.

    source_attributes: by name of an array, the attributes that its samples came with. If these
    record an error, and the array does not hold the same coding, the samples have been coded twice.
    The record then says what both errors may have added up to."""
    root = zarr.open_group(
        store, mode="r+", path=group or "", storage_options=storage_options, use_consolidated=False
    )
    written = set()
    for name, array in root.arrays():
        if not isinstance(array.serializer, IsoqCodec):
            continue
        summaries = _summaries(array)
        written |= {(header.get("software", "isoq"), header["model"][0]) for header, _ in summaries}
        attributes = summary_of(summaries, float(str(array.attrs.get("scale_factor", 1))))
        before = float(str(array.attrs.get(_EARLIER, 0)))
        if (came := (source_attributes or {}).get(name, {})) and not _same(attributes, came):
            before = max(before, earlier_error(came))
        kind = {"quantization": CONTAINER} if array.dtype.kind == "f" else {}
        for stale in (_MSE, _WORST, _EARLIER):
            array.attrs.pop(stale, None)
        array.attrs.update(
            {"lossy_compression": CONTAINER, **kind, **with_earlier(attributes, before)}
        )
    if written:
        by = "; ".join(
            f"{software.replace(' ', ' version ', 1)} (model {model})"
            for software, model in sorted(written)
        )
        container = root.create_array(
            CONTAINER, shape=(), dtype="int8", dimension_names=(), compressors=None, overwrite=True
        )
        container.attrs.update({"algorithm": "isoq", "implementation": by})
    whole = zarr.open_group(store, mode="r", storage_options=storage_options)
    if whole.metadata.consolidated_metadata is not None:
        with warnings.catch_warnings():
            # "not part of the specification": but the author of the store wanted it
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(root.store)


def summary_of(summaries: Iterable[Summary], scale: float = 1) -> dict[str, Any]:
    """Return the attributes of an array that describe its chunks.

    These are the target (kind and value), the mean squared error over all valid samples, and, if
    the target is an error, the largest MSE / target of a block. All are against the samples that
    were compressed first, also in chunks that were written several times. scale: units per digital
    number; the attributes are in that unit."""
    squared, pixels = 0.0, 0
    worst: list[float | None] = []
    targets = set()
    for header, statistics in summaries:
        loss = accumulated(header, statistics)
        counts = statistics.get("pixels", ())
        squared += sum(e * n for e, n in zip(loss.mse, counts, strict=True) if n)
        pixels += sum(counts)
        if "target" in header:
            targets.add(_text(header["target"], scale))
        if any(counts) and ("above" in statistics or loss.worst is not None):
            worst.append(loss.worst)
    attributes: dict[str, Any] = {}
    if targets:
        attributes["lossy_compression_target"] = ", ".join(sorted(targets))
    if pixels and np.isfinite(squared):
        attributes[_MSE] = float(f"{in_unit('mse', squared / pixels, scale):.6g}")
    known = [value for value in worst if value is not None]
    if known and len(known) == len(worst):
        attributes[_WORST] = max(known)
    return attributes


def _same(attributes: dict[str, Any], came: Mapping[str, Any]) -> bool:
    """Return True if a record of chunks is the record that samples came with: the chunks are
    copies."""
    expected = with_earlier(attributes, came.get(_EARLIER, 0))
    return all(came.get(key) == value for key, value in expected.items())


def with_earlier(attributes: dict[str, Any], earlier: float) -> dict[str, Any]:
    """Return the record of samples that already had a mean squared error, in the same unit."""
    if not earlier:
        return attributes
    both = accumulated({"earlier": Loss((earlier,)).to_dict()}, {"mse": [attributes.get(_MSE, 0)]})
    total = {_MSE: float(f"{both.mse[0]:.6g}"), _EARLIER: earlier}
    return {key: value for key, value in attributes.items() if key != _WORST} | total


def earlier_error(attributes: Mapping[str, Any]) -> float:
    """Return the mean squared error that an array's attributes record, 0 if they record none.

    It is that of the worst block if that is known, because a part of an array may have it."""
    mse, target = attributes.get(_MSE, 0.0), str(attributes.get("lossy_compression_target", ""))
    kind, _, value = target.partition(" ")
    if kind in ("mse", "rmse") and _WORST in attributes and " " not in value:
        asked = float(value) ** (2 if kind == "rmse" else 1)
        return max(float(mse), asked * float(attributes[_WORST]))
    return float(mse)


def in_unit(key: str, value: Any, scale: float) -> Any:
    """Return a keyword's value, a number or a sequence, in another unit of the samples.

    scale: the new units per old unit."""
    factor = abs(scale) ** _EXPONENT.get(key, 0)
    return value if factor == 1 else (np.asarray(value) * factor).tolist()


def _text(target: dict[str, Any], scale: float) -> str:
    value = target.get("value")
    numbers = np.ravel([] if value is None else in_unit(target["kind"], value, scale))
    return " ".join([target["kind"], *(f"{number:.6g}" for number in numbers)])


def _summaries(array: zarr.Array) -> list[Summary]:
    """Return the summaries of the chunks that are stored, in any order."""
    steps = array.shards or array.chunks
    if array.ndim:  # a row of chunks at a time, which Zarr fetches together
        steps = (*steps[:-1], max(array.shape[-1], 1))
    corners = itertools.product(
        *(range(0, n, step) for n, step in zip(array.shape, steps, strict=True))
    )
    with collected_summaries() as found:
        for corner in corners:
            array[
                tuple(slice(start, start + step) for start, step in zip(corner, steps, strict=True))
            ]
    return found
