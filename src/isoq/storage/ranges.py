"""Ranges of bytes: which of them are fetched together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Range = tuple[int, int]  # position and size in bytes

_BATCH = 8 << 20  # bytes that are fetched at a time, unless a single range is larger
_GAP = 1 << 12  # bytes: about as much as another request and its answer add
_JOINED = 1 << 20  # bytes: larger parts come faster by several connections


def batches(ranges: Iterable[Range]) -> Iterator[list[Range]]:
    """Yield the ranges in lists of at most 8 MiB, or of one range that is larger."""
    batch: list[Range] = []
    total = 0
    for position, size in ranges:
        if batch and total + size > _BATCH:
            yield batch
            batch, total = [], 0
        batch.append((position, size))
        total += size
    if batch:
        yield batch


def joined(ranges: Iterable[Range]) -> list[list[Range]]:
    """Return the ranges in groups of those that one request fetches.

    The ranges of a group are in the order of the file, with at most 4 KiB between them, and span
    at most 1 MiB. All groups together are in the order of `ranges`."""
    groups: list[list[Range]] = []
    for position, size in ranges:
        if groups:
            start, end = span(groups[-1])
            if 0 <= position - end <= _GAP and position + size - start <= _JOINED:
                groups[-1].append((position, size))
                continue
        groups.append([(position, size)])
    return groups


def span(group: list[Range]) -> tuple[int, int]:
    """Return the first byte of a group of `joined`, and the one after the last."""
    return group[0][0], sum(group[-1])
