"""One tile: pixels to bytes and back. A tile describes itself; nothing outside it but the model is needed to decode it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from . import blocks, masks, residual
from .control import Goal, code, joint
from .errors import DamagedFile
from .group import BandGroup, affine_of, padded_side, reconstruct
from .model import STRIDE, Model
from .normalize import Affine
from .qualitymap import latent_levels, map_from_residuals, map_residuals
from .stream import Reader, Writer, pack_integers, unpack_integers

DTYPES = ("uint8", "uint16", "int16", "int32", "float32")
EMPTY, CONSTANT, NEURAL = range(3)
ERROR_STEPS = 64  # recorded block errors: steps per octave
_LEAST_ERROR = -40 * ERROR_STEPS
_BAND_STEPS, _NO_ERROR = 1024, -(1 << 20)  # recorded error of a band: steps per octave, and what stands for none at all


@dataclass
class TileReport:
    """What the encoder measured, after rounding to the image's type: squared error and valid pixels per band (bands,), mean squared
    error per block (bands, block rows, block cols; NaN without valid pixels), the targets of the blocks (same shape; None where all of
    a band have the same, or there are none). Of the blocks: how many the network's best quality was not enough for, for how many
    its lowest was too good, how many were patched by the residual layer, and the bytes that took."""

    squared: np.ndarray
    pixels: np.ndarray
    per_block: np.ndarray
    target: np.ndarray | None = None
    beyond: int = 0
    calm: int = 0
    patched: int = 0
    patch_bytes: int = 0


def encode_tile(
    samples: np.ndarray, nodata: tuple[float | None, ...], goal: Goal, model: Model, block: int = 64, mask: np.ndarray | None = None
) -> tuple[bytes, TileReport]:
    """Code one tile.

    samples: (bands, rows, cols) of one of DTYPES, native byte order; nodata: per band. block: pixels, a multiple of 16. Bands are taken
    `model.bands` at a time; if they do not divide evenly, the last band is repeated. mask: (rows, cols), False for no measurement in any
    band. Masked pixels are coded losslessly and are in no error; what lies under a mask becomes nodata, or 0 without one.
    """
    classes = masks.classify(samples, nodata, mask)
    valid = classes == masks.VALID
    bands, rows, cols = samples.shape
    out = Writer()
    out.pack("B", DTYPES.index(samples.dtype.name))
    for n in (bands, rows, cols, block // STRIDE):
        out.varint(n)
    out.part(masks.pack(classes))
    mse, targets = _targets(goal, (bands, blocks.count(rows, block), blocks.count(cols, block)))
    out.part(targets)
    decoded = np.zeros_like(samples)
    sides, streams, headers, check, beyond, calm = [], [], Writer(), 0, 0, 0
    for first in range(0, bands, model.bands):
        bunch = slice(first, min(first + model.bands, bands))
        mode, constant = _mode(samples[bunch], valid[bunch])
        headers.pack("B", mode)
        if mode == CONSTANT:
            headers.data += constant.astype(constant.dtype.newbyteorder("<")).tobytes()
            decoded[bunch] = constant[:, None, None]
        if mode != NEURAL:
            continue
        index = np.minimum(np.arange(first, first + model.bands), bands - 1)
        group = BandGroup(samples[index], valid[index], model)
        coded = code(group, goal, None if mse is None else mse[index], block)
        check = zlib.crc32(coded.latents.astype("<i4", copy=False), check)
        decoded[bunch] = coded.decoded[: bunch.stop - first]
        if mse is not None:
            beyond += int((coded.levels == model.highest).sum())
            calm += int((coded.levels == model.lowest).sum())
        for numbers in group.codes:
            headers.signed(numbers[0])
            headers.signed(numbers[1])
        sides.append(map_residuals(coded.levels).ravel())
        streams.append(coded.stream)
    masks.restore(decoded, classes, nodata)
    patches = _patch(samples, decoded, valid, mse, goal.per_band, block, model.bands) if mse is not None and goal.closed else []
    masks.restore(decoded, classes, nodata)
    report = measure(samples, decoded, valid, block)
    layer = residual.pack(patches, samples.dtype)
    report.target = mse
    report.beyond, report.calm, report.patched, report.patch_bytes = beyond, calm, len(patches), len(layer)
    out.data += headers.data
    out.part(pack_integers(np.concatenate(sides)) if sides else b"")
    _write_errors(out, report)
    for data in streams:
        out.part(data)
    out.pack("I", check)
    out.part(layer)
    return bytes(out.data), report


def _targets(goal: Goal, grid: tuple[int, int, int]) -> tuple[np.ndarray | None, bytes]:
    """Targets per band and block, and how the tile keeps them: not at all where all blocks of a band have the same, which the file's header
    tells; else rounded down to 1/ERROR_STEPS octave, each as the difference to the block before."""
    if goal.mse is None:
        return None, b""
    if goal.mse.shape[1:] == (1, 1) and not goal.varied:
        return np.broadcast_to(goal.mse, grid), b""
    steps = np.floor(ERROR_STEPS * np.log2(goal.mse) + 1e-9).astype(np.int64)
    return np.exp2(steps / ERROR_STEPS), pack_integers(np.diff(steps.ravel(), prepend=0))


def _patch(
    samples: np.ndarray, decoded: np.ndarray, valid: np.ndarray, mse: np.ndarray, per_band: bool, block: int, together: int
) -> list[residual.Patch]:
    """Patches for all blocks above their target; `decoded` is changed in place. `together`: bands of a group."""
    relative = measure(samples, decoded, valid, block).per_block / mse
    patches = []
    for first in range(0, len(samples), together):
        part = relative[first : first + together]
        for row, col in np.argwhere(joint(part, per_band) > 1):
            for band in range(first, first + len(part)):
                if part[band - first, row, col] > 1:
                    patches.append(residual.correct(samples, decoded, valid, float(mse[band, row, col]), (band, int(row), int(col)), block))
    return patches


def _mode(samples: np.ndarray, valid: np.ndarray) -> tuple[int, np.ndarray]:
    """The mode of a group of bands, and its constants (bands,) if each band has but one value."""
    if not valid.any():
        return EMPTY, samples[:, 0, 0]
    firsts = np.array([s[v][0] if v.any() else 0 for s, v in zip(samples, valid, strict=True)], samples.dtype)
    same = all((s[v] == f).all() for s, v, f in zip(samples, valid, firsts, strict=True))
    return (CONSTANT if same else NEURAL), firsts


def measure(original: np.ndarray, decoded: np.ndarray, valid: np.ndarray, block: int) -> TileReport:
    """The report on `decoded` against `original`, all (bands, rows, cols)."""
    if valid.all():
        error = np.subtract(decoded, original, dtype=np.float64)
    else:
        error = np.where(valid, decoded.astype(np.float64) - np.where(valid, original, 0), 0)
    return TileReport((error**2).sum((1, 2)), valid.sum((1, 2)), blocks.mean_square(error, valid, block))


def _write_errors(out: Writer, report: TileReport) -> None:
    """Per band log2 of its mean squared error in 1/_BAND_STEPS octave; per block log2(block / band) in 1/ERROR_STEPS octave."""
    band = report.squared / np.maximum(report.pixels, 1)
    codes = [round(_BAND_STEPS * float(np.log2(value))) if value > 0 else _NO_ERROR for value in band]
    for number in codes:
        out.signed(number)
    recorded = np.array([_band_error(number) for number in codes])
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.rint(ERROR_STEPS * np.log2(report.per_block / recorded[:, None, None]))
    steps = np.clip(np.nan_to_num(steps, nan=_LEAST_ERROR, neginf=_LEAST_ERROR, posinf=0), _LEAST_ERROR, None)
    out.part(pack_integers(steps[~np.isnan(report.per_block)]))


def _band_error(number: int) -> float:
    return 0.0 if number == _NO_ERROR else float(np.exp2(np.clip(number / _BAND_STEPS, -1000, 1000)))


def _read_errors(data: Reader, valid: np.ndarray, block: int) -> TileReport:
    """The recorded report; block errors within half of 1/ERROR_STEPS octave of what was measured."""
    pixels = valid.sum((1, 2))
    band = np.array([_band_error(data.signed()) for _ in pixels])
    number = blocks.sums(valid, block)
    steps = unpack_integers(data.part(), int((number > 0).sum()))
    per_block = np.full(number.shape, np.nan)
    per_block[number > 0] = np.where(steps <= _LEAST_ERROR, 0.0, np.exp2(np.minimum(steps, 1000) / ERROR_STEPS))
    return TileReport(band * pixels, pixels, per_block * band[:, None, None])


@dataclass
class Tile:
    """A decoded tile: samples, validity, the mask (rows, cols) that `encode_tile` was given (all True if none), the quantized latents of
    each neural group, and the report that the encoder recorded."""

    samples: np.ndarray
    valid: np.ndarray
    mask: np.ndarray
    latents: list[np.ndarray]
    report: TileReport


def decode_tile(data: bytes, nodata: tuple[float | None, ...], model: Model, shape: tuple[int, int, int], dtype: str) -> Tile:
    """The inverse of `encode_tile`. shape and dtype: what the file says of this tile. Raises DamagedFile."""
    reader = Reader(data)
    code = reader.unpack("B")[0]
    own = tuple(reader.varint() for _ in range(3))
    block = reader.varint() * STRIDE
    if own != tuple(shape) or code >= len(DTYPES) or DTYPES[code] != dtype or not block:
        raise DamagedFile("a tile does not fit its file: the file is damaged")
    bands, rows, cols = shape
    classes = masks.unpack(reader.part(), shape)
    targets = reader.part()
    valid = classes == masks.VALID
    samples = np.zeros(shape, dtype)
    grid = (blocks.count(rows, block), blocks.count(cols, block))
    little = samples.dtype.newbyteorder("<")
    neural: list[tuple[int, list[Affine]]] = []
    for first in range(0, bands, model.bands):
        mode = reader.unpack("B")[0]
        size = min(model.bands, bands - first)
        if mode == CONSTANT:
            samples[first : first + size] = np.frombuffer(reader.take(size * little.itemsize), little)[:, None, None]
        elif mode == NEURAL:
            neural.append((first, [affine_of(reader.signed(), reader.signed()) for _ in range(model.bands)]))
        elif mode != EMPTY:
            raise DamagedFile("a tile has an unknown mode: the file is damaged or made by a newer isoq")
    per_group = unpack_integers(reader.part(), len(neural) * grid[0] * grid[1]).reshape(len(neural), grid[0] * grid[1])
    report = _read_errors(reader, valid, block)
    if targets:
        steps = np.cumsum(unpack_integers(targets, bands * grid[0] * grid[1]), dtype=np.int64).reshape(bands, *grid)
        report.target = np.exp2(steps.clip(-(1 << 14), 1 << 14) / ERROR_STEPS)
    latents, check = [], 0
    for (first, affine), residuals in zip(neural, per_group, strict=True):
        levels = latent_levels(map_from_residuals(residuals, grid), block, padded_side(rows) // STRIDE, padded_side(cols) // STRIDE)
        q, near = model.entropy.decode(reader.part(), levels)
        check = zlib.crc32(q.astype("<i4", copy=False), check)
        result = reconstruct(near / model.gains(levels), affine, (model.bands, rows, cols), samples.dtype, model)
        samples[first : first + model.bands] = result[: bands - first]
        latents.append(q)
    if reader.unpack("I")[0] != check:
        raise DamagedFile("the latents of a tile do not match their checksum: the file is damaged")
    masks.restore(samples, classes, nodata)
    report.patched = residual.unpack_onto(reader.part(), samples, valid, block)
    masks.restore(samples, classes, nodata)
    reader.end()
    return Tile(samples, valid, classes[0] != masks.MASKED, latents, report)
