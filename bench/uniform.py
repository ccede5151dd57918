"""The file of one uniform quality that a file of the closed loop is compared with by quality.py."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from common import Image, Row

from isoq.blocks import mean_square, sums
from isoq.codec.reader import File
from isoq.format.bytestream import Reader, pack_integers
from isoq.format.container import ContainerReader
from isoq.format.tiling import Box
from isoq.network.model import Model
from isoq.tile.band_group import BandGroup
from isoq.tile.control import encode_group
from isoq.tile.decode import open_tile
from isoq.tile.groups import Mode, band_groups
from isoq.tile.header import TileInput
from isoq.tile.masks import MASKED, VALID
from isoq.tile.quality_map import map_residuals
from isoq.tile.report import error_steps, joint_ratio
from isoq.tile.targets import LambdaTarget

BLOCK = 64
LEAST = {"uint8": 0.3, "uint16": 2.0, "int16": 2.0}  # target MSE, squared digital numbers


@dataclass(frozen=True)
class Original:
    """Bands of an image (bands, rows, cols), the target MSE per band, and which blocks (block rows,
    block cols) are calm."""

    samples: np.ndarray
    valid: np.ndarray
    nodata: float | None
    target: np.ndarray
    calm: np.ndarray

    @classmethod
    def of(cls, image: Image, snr: float) -> Original | None:
        """The bands whose target is in range; None if there is no such band."""
        samples, valid = image.read()
        variance = np.array(
            [
                s[v].var(dtype=np.float64) if v.any() else 0.0
                for s, v in zip(samples, valid, strict=True)
            ]
        )
        target = variance * 10 ** (-snr / 10)
        kept = target >= LEAST[samples.dtype.name]
        samples, valid, target = samples[kept], valid[kept], target[kept]
        mean = sums(np.where(valid, samples, 0), BLOCK) / np.maximum(sums(valid, BLOCK), 1)
        calm = (
            joint_ratio(
                (mean_square(samples, valid, BLOCK) - mean**2) / target[:, None, None],
                per_band=False,
            )
            < 1
        )
        return cls(samples, valid, image.nodata, target, calm) if kept.any() else None


def beside_uniform(data: bytes, original: Original, relative: float, model: Model) -> Row:
    """Return the side information and patches of a file, and the bytes of one that differs in
    nothing but this: it has one quality, at which its MSE / target, mean over the bands, is the
    same `relative`, and so neither quality map nor patches."""
    file, container = File(io.BytesIO(data)), ContainerReader(io.BytesIO(data))
    side = streams = 0
    for number, (box, tile) in enumerate(file.tiles(model)):
        reader = Reader(container.tile(number))
        opened = open_tile(
            reader, file.nodata(box), model, tile.samples.shape, tile.samples.dtype.name
        )
        residuals = [map_residuals(levels).ravel() for levels in opened.latents.levels]
        side += len(pack_integers(*residuals, *error_steps(tile.report.per_block)))
        streams += sum(map(len, opened.latents.streams))
    summary = file.statistics()
    patches = summary.get("patch_bytes", 0)
    uniform = uniform_bytes(original, relative, file.boxes, model)
    return {
        "side_bytes": side,
        "patched": summary.get("patched", 0),
        "patch_bytes": patches,
        "uniform_bytes": len(data) - side - streams - patches + uniform,
    }


def uniform_bytes(original: Original, relative: float, places: list[Box], model: Model) -> float:
    """Bytes of the streams of tiles at `places`, at the one quality (in units of the bands'
    targets) that makes MSE / target, mean over the bands, `relative`: two trials close to it,
    linear in its logarithm between them. The latents are always refined, which the codec does at
    high qualities only."""
    groups: list[tuple[BandGroup, np.ndarray]] = []
    for box in places:
        at = (slice(box.row, box.row + box.rows), slice(box.col, box.col + box.cols))
        samples, valid = (
            np.ascontiguousarray(a[:, *at]) for a in (original.samples, original.valid)
        )
        classes = np.where(valid, VALID, MASKED).astype(np.uint8)
        nodata = (None,) * len(samples)
        tile = TileInput(samples.dtype, samples.shape, BLOCK, classes, nodata, samples, ())
        target = np.broadcast_to(original.target[:, None, None], tile.grid)
        for bands, mode in band_groups(tile, model.bands):
            if mode == Mode.TRANSFORM:
                group = BandGroup.direct(samples[bands], valid[bands], model, BLOCK)
            elif mode == Mode.SPECTRAL:
                group = BandGroup.spectral(
                    samples[bands], valid[bands], model, BLOCK, target[bands]
                )
            else:
                continue
            groups.append((group.refined(), original.target[bands]))

    def trial(lam: float) -> tuple[float, float]:
        """log of the mean squared error over target, bytes."""
        squared = size = 0.0
        for group, target in groups:
            weight = float((group.units / target).mean() / group.units.mean())
            coded = encode_group(group, LambdaTarget(lam * weight))
            error = np.where(group.valid, coded.decoded.astype(np.float64) - group.samples, 0)
            squared += float(((error**2).sum((1, 2)) / target).sum())
            size += coded.bits / 8
        return math.log(max(squared, 1e-9) / original.valid.sum()), size

    wanted, lam = math.log(relative), 0.7 / relative
    first, size = trial(lam)
    step = 1.2 * (first - wanted)
    second, other = trial(lam * math.exp(step if abs(step) > 0.03 else 0.03))
    return size if second == first else size + (other - size) * (wanted - first) / (second - first)
