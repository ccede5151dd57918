"""Generation loss: the error when decoded samples are compressed again.

The error that a file records is the error against the samples it was made from. If those had been
decoded from another file, their own error comes on top. The header's `earlier` has that error:
{"mse": squared digital numbers by band, "worst": the largest MSE / target of a block}. It is empty
if the samples have been changed since they were decoded.

An image that `isoq decompress` writes names its source in its tags (`decoded_tags`), and `isoq
compress` reads them (`earlier_of`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

NAMESPACE = "ISOQ"  # of the tags of an image that was decoded from a file with loss
_ROWS = 256  # that are read at a time
_MIXERS = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_WORD = {1: np.uint8, 2: np.uint16, 4: np.uint32}


@dataclass(frozen=True)
class Loss:
    """Upper bounds of an error against what was compressed first: the mean squared error by band,
    and the largest MSE / target of a block, None if it is not known."""

    mse: tuple[float, ...]
    worst: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the header's `earlier`."""
        return {"mse": [*self.mse], **({} if self.worst is None else {"worst": self.worst})}


def accumulated(header: dict[str, Any], statistics: dict[str, Any]) -> Loss:
    """Return the loss of a file's decoded samples, over all generations.

    Errors of two generations add up to at most (sqrt(a) + sqrt(b))^2, by Minkowski's inequality."""
    own = np.array(statistics.get("mse", ()), np.float64)
    promised = "above" in statistics and "block_error" in statistics
    worst = statistics["block_error"]["max"] if promised else None
    earlier = header.get("earlier")
    if earlier is None:
        return Loss(tuple(own), worst)
    before = np.array(earlier.get("mse", np.full(len(own), np.inf)), np.float64)
    total = (np.sqrt(before) + np.sqrt(own)) ** 2
    if "worst" not in earlier or not (promised or not own.any()):
        return Loss(tuple(total))
    parts = earlier["worst"], worst or 0.0
    again = bool(((before > 0) & (own > 0)).any())  # else each band has one of the two errors
    return Loss(tuple(total), sum(part**0.5 for part in parts) ** 2 if again else max(parts))


def remark(header: dict[str, Any], statistics: dict[str, Any]) -> str | None:
    """Return a line about errors that may have added up, None if there is no earlier error."""
    earlier = header.get("earlier")
    if earlier is None:
        return None
    if "mse" not in earlier:
        return (
            "the source is a changed image that had been decoded from an .isoq file; its errors "
            "come on top of those recorded here"
        )
    before, total = earlier["mse"], accumulated(header, statistics).mse
    return (
        "the source had been decoded from an .isoq file; with its error (MSE "
        f"{_numbers(before)}), errors may have added up to MSE {_numbers(total)}"
    )


def _numbers(values: Any) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


class SampleDigest:
    """A number that tells images apart, gathered window by window in any order."""

    def __init__(self, rows: int, cols: int) -> None:
        self._rows, self._cols, self._sum = rows, cols, 0

    def add(self, band: int, row: int, col: int, samples: np.ndarray) -> None:
        """Add a window (bands, rows, cols) that begins at `band`, `row` and `col`, from 0."""
        bands, rows, cols = (np.arange(n, dtype=np.uint64)[:, None] for n in samples.shape)
        place = (bands[:, None] + np.uint64(band)) * np.uint64(self._rows) + rows + np.uint64(row)
        place = place * np.uint64(self._cols) + cols[:, 0] + np.uint64(col)
        place = (place + np.uint64(1)) * _MIXERS[0]
        place = (place ^ (place >> np.uint64(29))) * _MIXERS[1] | np.uint64(1)
        words = np.ascontiguousarray(samples).view(_WORD[samples.dtype.itemsize])
        total = ((words.astype(np.uint64) + np.uint64(1)) * place).sum(dtype=np.uint64)
        self._sum = (self._sum + int(total)) % (1 << 64)

    def __str__(self) -> str:
        return f"{self._sum:016x}"


def decoded_tags(
    header: dict[str, Any], statistics: dict[str, Any], digest: SampleDigest | None
) -> dict[str, str]:
    """Return the tags of an image that was decoded from a file; none if that had no loss.

    digest: None for an image that is only decoded when it is read. When it is compressed again, its
    file says that errors add up, but not how far."""
    loss = accumulated(header, statistics)
    if not any(loss.mse):
        return {}
    known = {"mse": json.dumps([*loss.mse])} if np.isfinite(loss.mse).all() else {}
    target = json.dumps(header.get("target", {}))
    known |= {"digest": str(digest)} if digest else {}
    return {"decoded_with": header.get("software", "isoq"), "target": target} | known


def earlier_of(source: Any) -> dict[str, Any] | None:
    """Return the header's `earlier` for a source; read all of an image whose `decoded_tags` have a
    digest.

    Raises InputError."""
    tags, d = source.description.metadata.get("tags", {}).get(NAMESPACE), source.description
    if getattr(source, "earlier", None) is not None or not tags:
        return getattr(source, "earlier", None)
    if "digest" not in tags:
        return {}
    digest = SampleDigest(d.rows, d.cols)
    for row in range(0, d.rows, _ROWS):
        digest.add(0, row, 0, source.read(row, 0, min(_ROWS, d.rows - row), d.cols))
    try:
        mse = [float(value) for value in json.loads(tags["mse"])]
    except (KeyError, TypeError, ValueError):
        return {}
    return {"mse": mse} if tags.get("digest") == str(digest) and len(mse) == d.bands else {}
