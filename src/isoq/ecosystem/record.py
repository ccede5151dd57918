"""The error that was reached, in the attributes of a Zarr array: after the CF conventions, 8.4
(quantization).

CF describes how floating-point data were degraded by a variable without data, which names
`algorithm` and `implementation`, and on each data variable the attribute `quantization`, its name,
beside parameters. Its algorithms are four ways of rounding mantissas, and it is not for integers.
So here floating-point variables have that attribute, with an algorithm that is not in CF's list;
and all have the same under another name, `lossy_compression`, with the parameters that matter here:
what was asked for, and what was reached."""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import zarr
from zarr.abc.codec import Codec
from zarr.codecs import ShardingCodec
from zarr.core.array import AsyncArray
from zarr.core.metadata import ArrayV3Metadata

from ..codec.reader import File
from .zarr import IsoqCodec

CONTAINER = "isoq_info"
_EXPONENT = {
    "mse": 2,
    "rmse": 1,
    "peak": 1,
    "max_error": 1,
    "quality": -2,
}  # of the unit of the samples, in what a keyword says
Summary = tuple[dict[str, Any], dict[str, Any]]  # header and statistics of an .isoq stream


def record_errors(
    store: Any, group: str | None = None, storage_options: dict[str, Any] | None = None
) -> None:
    """Write what `summary_of` says of each .isoq array of a Zarr group into its attributes, and the
    container variable beside them.

    Reads the summaries of all chunks, and no samples; to be called again when the arrays have
    changed. Errors are in the unit that the attribute `scale_factor` of an array gives its samples.
    """
    root = zarr.open_group(
        store, mode="r+", path=group or "", storage_options=storage_options, use_consolidated=False
    )
    written = set()
    for _, array in root.arrays():
        if not (
            isinstance(array.metadata, ArrayV3Metadata)
            and any(isinstance(c, IsoqCodec) for c in array.metadata.inner_codecs)
        ):
            continue
        summaries = list(_summaries(array))
        written |= {(header.get("software", "isoq"), header["model"][0]) for header, _ in summaries}
        kind = {"quantization": CONTAINER} if array.dtype.kind == "f" else {}
        array.attrs.update(
            {
                "lossy_compression": CONTAINER,
                **kind,
                **summary_of(summaries, float(array.attrs.get("scale_factor", 1))),
            }
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
            warnings.simplefilter(
                "ignore"
            )  # "not part of the specification": whoever wrote the store wanted it nevertheless
            zarr.consolidate_metadata(root.store)


def summary_of(summaries: list[Summary], scale: float = 1) -> dict[str, Any]:
    """Attributes: the target (kind and value); the mean squared error over all valid samples; and,
    if the target is an error, the largest MSE / target of a block. scale: units per digital number;
    the attributes are in that unit."""
    pixels = np.array([n for _, found in summaries for n in found.get("pixels", ())], np.float64)
    errors = np.array([e for _, found in summaries for e in found.get("mse", ())], np.float64)
    worst = [
        found["block_error"]["max"]
        for _, found in summaries
        if "above" in found and "block_error" in found
    ]
    targets = {_text(header["target"], scale) for header, _ in summaries if "target" in header}
    attributes: dict[str, Any] = {}
    if targets:
        attributes["lossy_compression_target"] = ", ".join(sorted(targets))
    if pixels.sum():
        attributes["lossy_compression_mse"] = float(
            f"{in_unit('mse', (errors * pixels).sum() / pixels.sum(), scale):.6g}"
        )
    if worst:
        attributes["lossy_compression_worst_block"] = max(worst)
    return attributes


def in_unit(key: str, value: Any, scale: float) -> Any:
    """A keyword's value, a number or a sequence, in the unit of which a unit that it is in now has
    `scale`."""
    factor = abs(scale) ** _EXPONENT.get(key, 0)
    return value if factor == 1 else (np.asarray(value) * factor).tolist()


def _text(target: dict[str, Any], scale: float) -> str:
    value = target.get("value")
    numbers = [] if value is None else np.ravel(in_unit(target["kind"], value, scale))
    return " ".join([target["kind"], *(f"{number:.6g}" for number in numbers)])


def _summaries(array: zarr.Array) -> Iterator[Summary]:
    """Of the chunks that are stored, in any order."""
    found: list[Summary] = []
    metadata = replace(
        array.metadata, codecs=tuple(_watched(codec, found) for codec in array.metadata.codecs)
    )
    watched = zarr.Array(AsyncArray(metadata, array.store_path))
    steps = array.shards or array.chunks
    if array.ndim:  # a row of chunks at a time, which Zarr fetches together
        steps = (*steps[:-1], max(array.shape[-1], 1))
    for corner in itertools.product(
        *(range(0, n, step) for n, step in zip(array.shape, steps, strict=True))
    ):
        watched[
            tuple(slice(start, start + step) for start, step in zip(corner, steps, strict=True))
        ]
        yield from found
        found.clear()


def _watched(codec: Codec, found: list[Summary]) -> Codec:
    """A codec that reads chunks as the given one would, but of .isoq streams only the summary."""
    if isinstance(codec, ShardingCodec):
        return replace(codec, codecs=tuple(_watched(inner, found) for inner in codec.codecs))
    return _Watched(codec.configuration, found) if isinstance(codec, IsoqCodec) else codec


@dataclass(frozen=True, init=False, repr=False)
class _Watched(IsoqCodec):
    found: list[Summary] = field(default_factory=list, compare=False)

    def __init__(self, configuration: str, found: list[Summary]):
        object.__setattr__(self, "configuration", configuration)
        object.__setattr__(self, "found", found)

    def _decode_sync(self, chunk_data, chunk_spec):
        file = File(io.BytesIO(chunk_data.to_bytes()), "chunk")
        self.found.append((file.header, file.statistics()))
        return chunk_spec.prototype.nd_buffer.create(
            shape=chunk_spec.shape,
            dtype=chunk_spec.dtype.to_native_dtype(),
            order="C",
            fill_value=0,
        )
