"""The plots of a comparison, as PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from itertools import product
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from .isoq_codec import CLOSED, NAME, SINGLE
from .metrics import HISTOGRAM
from .tables import (
    ANCHOR,
    NAMES,
    Row,
    codecs_of,
    column,
    delta_rates,
    grouped,
    histogram_of,
    main_rows,
    mean_delta,
)

_COLOURS = {NAME: "#c1121f", ANCHOR: "#1d3557"}
_OTHERS = ("#2a9d8f", "#e9a23b", "#7b5ea7", "#5c8a3a", "#c06c84", "#8d6e63", "#607d8b", "#b5a33f")
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


def rate_distortion(rows: list[Row]) -> bytes:
    """Draw bit/sample and SNR: a panel per stratum for single bands, and one for bands together.

    Each point is a mean over the same groups of bands."""
    with plt.rc_context(_STYLE):
        return _png(rate_distortion_figure(rows))


def rate_distortion_figure(rows: list[Row]) -> Figure:
    """Return the figure of `rate_distortion`."""
    rows = main_rows(rows)
    panels = [
        (stratum, joint, part)
        for (stratum, joint), part in sorted(grouped(rows, "stratum", "joint").items())
        if _points(part)
    ]
    across = min(4, max(1, len(panels)))
    down = math.ceil(max(1, len(panels)) / across)
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(
            down, across, figsize=(3.1 * across, 2.6 * down + 0.4), squeeze=False
        )
        for place, axis in enumerate(axes.flat):
            if place >= len(panels):
                axis.axis("off")
                continue
            stratum, joint, part = panels[place]
            for codec, (bits, snr) in _points(part).items():
                strong = codec in (NAME, ANCHOR)
                width, order = (1.8, 3) if strong else (1.0, 2)
                axis.plot(
                    bits,
                    snr,
                    ".-",
                    color=_colour(codec),
                    lw=width,
                    ms=4,
                    zorder=order,
                    label=NAMES[codec],
                )
            axis.set(
                title=f"{stratum}{', bands together' if joint else ''}",
                xlabel="bit/sample",
                ylabel="SNR, dB",
                xlim=(0, None),
            )
        handles = {
            label: h
            for axis in axes.flat
            for h, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        below = _legend_below(figure, handles) if handles else 0.0
        figure.tight_layout(rect=(0, below, 1, 1))
        return figure


def _legend_below(figure: Figure, handles: dict[str, Artist]) -> float:
    """Put a legend at the bottom of a figure, in as many columns as its width allows.

    Returns the height of the legend as a share of the figure."""
    for columns in range(len(handles), 0, -1):
        legend = figure.legend(
            list(handles.values()), list(handles), loc="lower center", ncols=columns
        )
        box = legend.get_window_extent()
        if box.width <= figure.bbox.width or columns == 1:
            break
        legend.remove()
    return float(box.height / figure.bbox.height)


def block_errors(rows: list[Row]) -> bytes:
    """Draw the distribution of block errors around the target: both modes of isoq, and some
    reference codecs at the same mean error."""
    series = [(NAME, CLOSED, "isoq, closed loop"), (NAME, SINGLE, "isoq, single pass")]
    series += [
        (codec, "matched", NAMES[codec])
        for codec in (ANCHOR, "jpegxl", "jpegls")
        if codec in codecs_of(rows)
    ]
    middle = np.sqrt(HISTOGRAM[:-1] * HISTOGRAM[1:])
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(6.4, 3.2))
        for codec, mode, label in series:
            part = [row for row in rows if (row["codec"], row["mode"]) == (codec, mode)]
            if not part:
                continue
            counts = histogram_of(part)
            share = 100 * counts / counts.sum()
            axis.plot(
                middle,
                share[1:-1],
                drawstyle="steps-mid",
                color=_colour(codec),
                ls="--" if mode == SINGLE else "-",
                label=label,
            )
        axis.axvline(1, color="black", lw=0.8)
        axis.set(
            xscale="log",
            xlim=(0.2, 3),
            xlabel="mean squared error of a block / target",
            ylabel="blocks, % per 1/16 octave",
        )
        ticks = (0.25, 0.5, 0.75, 1, 1.5, 2, 3)
        axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axis.minorticks_off()
        axis.legend()
        figure.tight_layout()
        return _png(figure)


def speed(rows: list[Row]) -> bytes:
    """Draw the speed of encoder and decoder against the delta rate over JPEG 2000, for single
    bands."""
    deltas = delta_rates(rows)
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
        for (codec, mode), part in grouped(
            (r for r in rows if not r["joint"]), "codec", "mode"
        ).items():
            values = [
                v
                for (_, joint, *key), found in deltas.items()
                if not joint and key == [codec, mode]
                for v in found
            ]
            if not values:
                continue
            label = NAMES[str(codec)] + (", single pass" if mode == SINGLE else "")
            for axis, what in zip(axes, ("encode", "decode"), strict=True):
                at = float(np.nanmedian(column(part, what))), 100 * mean_delta(values)
                axis.plot(
                    *at,
                    "o",
                    color=_colour(str(codec)),
                    mfc="none" if mode == SINGLE else None,
                    label=label,
                )
        for axis, what in zip(axes, ("encoder", "decoder"), strict=True):
            axis.set(xscale="log", xlabel=f"{what}, Msample/s, one thread")
        axes[0].set_ylabel("rate over JPEG 2000, %")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="center right")
        figure.tight_layout(rect=(0, 0, 0.8, 1))
        return _png(figure)


PLOTS: dict[str, Callable[[list[Row]], bytes]] = {
    "rate-distortion": rate_distortion,
    "block-errors": block_errors,
    "speed": speed,
}


def _points(rows: list[Row]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return bit/sample and SNR per codec, a point per target.

    All points are means over the same groups of bands; otherwise a curve would have kinks that no
    codec has. A group counts if isoq and JPEG 2000 have it at as many targets as the median group
    or more. Then those targets and codecs count that all these groups have."""
    needed = {NAME, ANCHOR} & set(codecs_of(rows))
    groups = [
        {(str(row["codec"]), row["requested"]): row for row in group}
        for group in grouped(rows, "file", "bands").values()
    ]
    targets = [
        {
            requested
            for _, requested in group
            if all((codec, requested) in group for codec in needed)
        }
        for group in groups
    ]
    most = np.median([len(found) for found in targets]) if targets else 0
    chosen = [
        (group, found)
        for group, found in zip(groups, targets, strict=True)
        if found and len(found) >= most
    ]
    shared = sorted(set.intersection(*(found for _, found in chosen))) if chosen else []
    points: dict[str, list[tuple[float, float]]] = {}
    for codec, requested in product(codecs_of(rows), shared):
        own = [group[codec, requested] for group, _ in chosen if (codec, requested) in group]
        if len(own) == len(chosen) and np.isfinite(column(own, "snr")).all():
            points.setdefault(codec, []).append(
                (column(own, "bits").mean(), column(own, "snr").mean())
            )
    return {codec: tuple(np.array(sorted(found)).T) for codec, found in points.items()}


def _colour(codec: str) -> str:
    """Return the colour of a codec, the same in all plots."""
    others = [c for c in NAMES if c not in _COLOURS]
    return _COLOURS.get(codec) or _OTHERS[others.index(codec) % len(_OTHERS)]


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)
    return out.getvalue()
