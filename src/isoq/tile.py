"""One tile: pixels to bytes and back. A tile describes itself; nothing outside it but the model is needed to decode it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from . import blocks, masks, quality
from .entropy.quantize import TRADE
from .errors import DamagedFile
from .levels import COUNT, lambda_to_level
from .model import LEAST_SIDE, STRIDE, Model
from .normalize import Affine, robust
from .stream import Reader, Writer, pack_integers, unpack_integers

DTYPES = ("uint8", "uint16", "int16", "int32", "float32")
EMPTY, CONSTANT, NEURAL = range(3)
ERROR_STEPS = 16  # recorded block errors: steps per octave
_LEAST_ERROR = -40 * ERROR_STEPS
_SCALE_STEPS, _OFFSET_STEPS = 8, 8


@dataclass(frozen=True)
class Goal:
    """What a tile is coded for: `mse` per band (bands,), in squared digital numbers, in every block; or one `lam` (lambda per squared digital
    number) for all of it; or one `level`. Exactly one of them is given."""

    mse: np.ndarray | None = None
    lam: float | None = None
    level: int | None = None
    predictor: str = "isoq"


@dataclass
class TileReport:
    """What the encoder measured, after rounding to the image's type: squared error and valid pixels per band (bands,), mean squared error per
    block (bands, block rows, block cols; NaN without valid pixels), and how many blocks need a better quality than the highest."""

    squared: np.ndarray
    pixels: np.ndarray
    per_block: np.ndarray
    beyond: int = 0


def padded_side(n: int) -> int:
    """Pixels that a side of `n` is padded to for the transforms."""
    return max(LEAST_SIDE, -(-n // STRIDE) * STRIDE)


def _normalization(values: np.ndarray) -> tuple[int, int]:
    """Valid samples (1-D) -> scale exponent and offset, as the tile header keeps them."""
    exact = robust(values)
    exponent = round(_SCALE_STEPS * float(np.log2(exact.scale)))
    return exponent, round(exact.offset * _OFFSET_STEPS / float(np.exp2(exponent / _SCALE_STEPS)))


def _affine(exponent: int, offset: int) -> Affine:
    if not -160 * _SCALE_STEPS <= exponent <= 160 * _SCALE_STEPS or abs(offset) > 1 << 60:
        raise DamagedFile("impossible normalization: the file is damaged")
    scale = float(np.exp2(exponent / _SCALE_STEPS))
    return Affine(offset * scale / _OFFSET_STEPS, scale)


def to_type(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """float64 digital numbers -> `dtype`, rounded and limited to its range."""
    if dtype.kind == "f":
        limit = np.finfo(dtype).max
        return np.clip(x, -limit, limit).astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(x), limits.min, limits.max).astype(dtype)


class BandGroup:
    """The bands that the network takes at once, in the encoder.

    x: (1, bands, h, w) normalized and padded; y: latents (M, h / 16, w / 16), gains not applied; weight: (h / 16, w / 16), the share of valid
    pixels under each latent.
    """

    def __init__(self, samples: np.ndarray, valid: np.ndarray, model: Model):
        self.model, self.samples = model, samples
        self.codes = [_normalization(s[v]) if v.any() else (0, 0) for s, v in zip(samples, valid, strict=True)]
        self.affine = [_affine(*code) for code in self.codes]
        rows, cols = samples.shape[1:]
        pad = ((0, padded_side(rows) - rows), (0, padded_side(cols) - cols))
        planes = [masks.fill(a.forward(np.where(v, s, 0)), v) for a, s, v in zip(self.affine, samples, valid, strict=True)]
        self.x = np.stack([np.pad(p, pad, mode="edge") for p in planes])[None]
        self.y = model.analysis(self.x)[0]
        share = blocks.sums(valid.any(0), STRIDE) / STRIDE**2
        self.weight = np.zeros(self.y.shape[1:])
        self.weight[: share.shape[0], : share.shape[1]] = share

    def units(self) -> np.ndarray:
        """Squared digital numbers per squared normalized unit, per band."""
        return np.array([a.scale**2 for a in self.affine])

    def refine(self) -> None:
        """One step of iterative inversion: analysis of what the synthesis of the unquantized latents misses (near the highest quality)."""
        self.y = self.y + self.model.analysis(self.x - self.model.synthesis(self.y[None]))[0]

    def floor(self, block: int) -> np.ndarray:
        """Error of the unquantized autoencoder per block, mean over the bands, normalized."""
        return self.normalized_error(self.y, block)

    def normalized_error(self, y: np.ndarray, block: int) -> np.ndarray:
        """Error that synthesis of `y` (M, h, w) leaves, per block, mean over the bands; before rounding, all pixels counted."""
        rows, cols = self.samples.shape[1:]
        error = (self.model.synthesis(y[None]) - self.x)[0, :, :rows, :cols]
        return blocks.mean_square(error, np.ones(error.shape, bool), block).mean(0)

    def quantize(self, levels: np.ndarray) -> tuple[bytes, np.ndarray, np.ndarray]:
        """levels (h, w) -> stream, quantized latents and dequantized latents (both (M, h, w), the latter without gains)."""
        gains = self.model.gains(levels)
        data, q, near = self.model.entropy.encode(self.y * gains, levels, TRADE)
        return data, q, (near / gains).astype(np.float32)

    def encode(self, levels: np.ndarray) -> tuple[bytes, np.ndarray, np.ndarray]:
        """levels (h, w) -> stream, quantized latents (M, h, w), decoded samples."""
        data, q, y = self.quantize(levels)
        return data, q, reconstruct(y, self.affine, self.samples.shape, self.samples.dtype, self.model)


def reconstruct(y: np.ndarray, affine: list[Affine], shape: tuple[int, ...], dtype: np.dtype, model: Model) -> np.ndarray:
    """Dequantized latents (M, h, w) -> samples of `shape` (bands, rows, cols) and `dtype`: the decoder's last steps, which the encoder shares."""
    x = model.synthesis(y[None].astype(np.float32))[0, :, : shape[1], : shape[2]]
    return np.stack([to_type(a.inverse(band), dtype) for a, band in zip(affine, x, strict=True)])


def _choose(group: BandGroup, valid: np.ndarray, goal: Goal, bands: slice, block: int) -> tuple[np.ndarray, int]:
    """Levels per block, and how many blocks would need more than the highest."""
    model, (rows, cols) = group.model, valid.shape[1:]
    grid = (blocks.count(rows, block), blocks.count(cols, block))
    if goal.level is not None:
        return np.full(grid, goal.level, np.int64), 0
    if goal.lam is not None:
        level = lambda_to_level(goal.lam * float(group.units().mean())).clip(model.lowest, model.highest)
        return np.full(grid, level, np.int64), 0
    # Rounding to integers adds 1/12; a joint group keeps the mean over its bands of error / target.
    integer = group.samples.dtype.kind != "f"
    asked = goal.mse[bands]
    left = np.maximum(asked - 1 / 12, asked / 4) if integer else asked
    target = np.full(grid, 1 / float((group.units() / left).mean()))
    target[~(blocks.sums(valid.any(0), block) > 0)] = np.nan
    if np.nanmin(target) < 40 * model.calibration["floor"]:
        group.refine()
    if goal.predictor == "paper":
        levels = quality.paper_levels(group.floor(block), target, model)
    else:
        levels = quality.predicted_levels(group.y, group.weight, target, model, block)
    return levels, int(((levels == model.highest) & ~np.isnan(target)).sum())


def _level_residuals(levels: np.ndarray) -> np.ndarray:
    """Levels (block rows, block cols) -> differences to the median of west, north and west + north - northwest (first row and column: to the
    neighbour; first block: to the middle level)."""
    return (levels - _predicted(levels)).astype(np.int32)


def _predicted(levels: np.ndarray) -> np.ndarray:
    p = np.empty_like(levels)
    p[0, 0] = COUNT // 2
    p[0, 1:], p[1:, 0] = levels[0, :-1], levels[:-1, 0]
    w, n, nw = levels[1:, :-1], levels[:-1, 1:], levels[:-1, :-1]
    p[1:, 1:] = np.clip(w + n - nw, np.minimum(w, n), np.maximum(w, n))
    return p


def _levels_from(residuals: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    r, levels = residuals.reshape(grid).astype(np.int64), np.zeros(grid, np.int64)
    for i in range(grid[0]):
        for j in range(grid[1]):
            if i and j:
                w, n, nw = levels[i, j - 1], levels[i - 1, j], levels[i - 1, j - 1]
                near = min(max(w + n - nw, min(w, n)), max(w, n))
            else:
                near = levels[i, j - 1] if j else levels[i - 1, j] if i else COUNT // 2
            levels[i, j] = near + r[i, j]
            if not 0 <= levels[i, j] < COUNT:
                raise DamagedFile("impossible quality level: the file is damaged")
    return levels


def encode_tile(
    samples: np.ndarray, nodata: tuple[float | None, ...], goal: Goal, model: Model, block: int = 64
) -> tuple[bytes, TileReport]:
    """Code one tile.

    samples: (bands, rows, cols) of one of DTYPES, native byte order; nodata: per band. block: pixels, a multiple of 16. Bands are taken
    `model.bands` at a time; if they do not divide evenly, the last band is repeated. Masked pixels are coded losslessly and are in no error.
    """
    classes = masks.classify(samples, nodata)
    valid = classes == masks.VALID
    bands, rows, cols = samples.shape
    out = Writer()
    out.pack("B", DTYPES.index(samples.dtype.name))
    for n in (bands, rows, cols, block // STRIDE):
        out.varint(n)
    out.part(masks.pack(classes))
    decoded = np.zeros_like(samples)
    sides, streams, headers, check, beyond = [], [], Writer(), 0, 0
    for first in range(0, bands, model.bands):
        group = slice(first, min(first + model.bands, bands))
        mode, constant = _mode(samples[group], valid[group])
        headers.pack("B", mode)
        if mode == CONSTANT:
            headers.data += constant.astype(constant.dtype.newbyteorder("<")).tobytes()
            decoded[group] = constant[:, None, None]
        if mode != NEURAL:
            continue
        index = np.minimum(np.arange(first, first + model.bands), bands - 1)
        coder = BandGroup(samples[index], valid[index], model)
        levels, short = _choose(coder, valid[index], goal, index, block)
        beyond += short
        spread = blocks.spread(levels, block // STRIDE, *coder.y.shape[1:])
        data, q, result = coder.encode(spread)
        check = zlib.crc32(q.astype("<i4", copy=False), check)
        decoded[group] = result[: group.stop - first]
        for code in coder.codes:
            headers.signed(code[0])
            headers.signed(code[1])
        sides.append(_level_residuals(levels).ravel())
        streams.append(data)
    masks.restore(decoded, classes, nodata)
    report = measure(samples, decoded, valid, block, beyond)
    out.data += headers.data
    out.part(pack_integers(np.concatenate(sides)) if sides else b"")
    _write_errors(out, report)
    for data in streams:
        out.part(data)
    out.pack("I", check)
    return bytes(out.data), report


def _mode(samples: np.ndarray, valid: np.ndarray) -> tuple[int, np.ndarray]:
    """The mode of a group of bands, and its constants (bands,) if each band has but one value."""
    if not valid.any():
        return EMPTY, samples[:, 0, 0]
    firsts = np.array([s[v][0] if v.any() else 0 for s, v in zip(samples, valid, strict=True)], samples.dtype)
    same = all((s[v] == f).all() for s, v, f in zip(samples, valid, firsts, strict=True))
    return (CONSTANT if same else NEURAL), firsts


def measure(original: np.ndarray, decoded: np.ndarray, valid: np.ndarray, block: int, beyond: int = 0) -> TileReport:
    """The report on `decoded` against `original`, all (bands, rows, cols)."""
    error = np.where(valid, decoded.astype(np.float64) - np.where(valid, original, 0), 0)
    return TileReport((error**2).sum((1, 2)), valid.sum((1, 2)), blocks.mean_square(error, valid, block), beyond)


def _write_errors(out: Writer, report: TileReport) -> None:
    """Per band its mean squared error (float32); per block log2(block / band) in 1/ERROR_STEPS octave, rounded up."""
    band = (report.squared / np.maximum(report.pixels, 1)).astype(np.float32)
    for value in band:
        out.pack("f", value)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.ceil(ERROR_STEPS * np.log2(report.per_block / band.astype(np.float64)[:, None, None]))
    steps = np.clip(np.nan_to_num(steps, nan=_LEAST_ERROR, neginf=_LEAST_ERROR), _LEAST_ERROR, None)
    out.part(pack_integers(steps[~np.isnan(report.per_block)]))


def _read_errors(data: Reader, valid: np.ndarray, block: int) -> TileReport:
    """The recorded report; block errors are upper bounds, at most 1/ERROR_STEPS octave above what was measured."""
    pixels = valid.sum((1, 2))
    band = np.array([data.unpack("f")[0] for _ in pixels], np.float64)
    number = blocks.sums(valid, block)
    steps = unpack_integers(data.part(), int((number > 0).sum()))
    per_block = np.full(number.shape, np.nan)
    per_block[number > 0] = np.where(steps <= _LEAST_ERROR, 0.0, np.exp2(np.minimum(steps, 1000) / ERROR_STEPS))
    return TileReport(band * pixels, pixels, per_block * band[:, None, None])


@dataclass
class Tile:
    """A decoded tile: samples, validity, the quantized latents of each neural group, and the report that the encoder recorded."""

    samples: np.ndarray
    valid: np.ndarray
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
            neural.append((first, [_affine(reader.signed(), reader.signed()) for _ in range(model.bands)]))
        elif mode != EMPTY:
            raise DamagedFile("a tile has an unknown mode: the file is damaged or made by a newer isoq")
    per_group = unpack_integers(reader.part(), len(neural) * grid[0] * grid[1]).reshape(len(neural), grid[0] * grid[1])
    report = _read_errors(reader, valid, block)
    latents, check = [], 0
    for (first, affine), residuals in zip(neural, per_group, strict=True):
        levels = blocks.spread(_levels_from(residuals, grid), block // STRIDE, padded_side(rows) // STRIDE, padded_side(cols) // STRIDE)
        q, near = model.entropy.decode(reader.part(), levels)
        check = zlib.crc32(q.astype("<i4", copy=False), check)
        result = reconstruct(near / model.gains(levels), affine, (model.bands, rows, cols), samples.dtype, model)
        samples[first : first + model.bands] = result[: bands - first]
        latents.append(q)
    if reader.unpack("I")[0] != check:
        raise DamagedFile("the latents of a tile do not match their checksum: the file is damaged")
    reader.end()
    masks.restore(samples, classes, nodata)
    return Tile(samples, valid, latents, report)
