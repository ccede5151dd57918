"""One tile: pixels to bytes and back. A tile describes itself; nothing outside it but the model is
needed to decode it."""

from __future__ import annotations

import zlib
from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np

from .. import blocks
from ..errors import CorruptFileError
from ..format.bytestream import Reader, Writer, pack_integers, unpack_integers
from ..format.limits import LARGEST_SIDE
from ..geometry import STRIDE, padded_side
from ..network.model import Model
from ..samples import DTYPES
from . import lossless, masks, prediction, residual, spectral
from .band_group import BandGroup, affine_of, reconstruct
from .control import LEAST, Goal, code, joint, ratio
from .normalize import Affine
from .prediction import Run
from .predictive import coding
from .quality_map import latent_levels, map_from_residuals, map_residuals

EMPTY, CONSTANT, NEURAL, LOSSLESS, SPECTRAL, PREDICTIVE = range(6)
MODE_NAMES = ("empty", "constant", "neural", "lossless", "spectral", "predictive")
MODES = 8  # room for as many
ERROR_STEPS = 64  # recorded block errors: steps per octave
_NO_ERROR = (
    -400 * ERROR_STEPS
)  # stands for none at all; squared errors of float32 lie between 2^-298 and 2^256


@dataclass
class TileReport:
    """What the encoder measured, after rounding to the image's type: squared error and valid pixels
    per band (bands,), mean squared error per block (bands, block rows, block cols; NaN without
    valid pixels), the targets of the blocks (same shape; None where all of a band have the same, or
    there are none), and error / target as it is promised, of every group of bands that is not
    lossless (groups, block rows, block cols; the encoder only). Of the blocks: how many the
    network's best quality was not enough for, for how many its lowest was too good, how many were
    patched by the residual layer, and the bytes that took. Of the encoder only: the largest error
    of valid pixels per band (bands,), and the number of bands coded in each mode."""

    squared: np.ndarray
    pixels: np.ndarray
    per_block: np.ndarray
    target: np.ndarray | None = None
    relative: np.ndarray | None = None
    beyond: int = 0
    calm: int = 0
    patched: int = 0
    patch_bytes: int = 0
    largest: np.ndarray | None = None
    modes: tuple[int, ...] = (0,) * len(MODE_NAMES)


def encode_tile(
    samples: np.ndarray,
    nodata: tuple[float | None, ...],
    goal: Goal,
    model: Model,
    block: int = 64,
    exact: Container[int] = (),
    mask: np.ndarray | None = None,
) -> tuple[bytes, TileReport]:
    """Code one tile.

    samples: (bands, rows, cols) of one of DTYPES, native byte order; nodata: per band. block:
    pixels, a multiple of 16. exact: the bands that are kept losslessly, of whose blocks the report
    says nothing. The others are taken `model.bands` at a time; if they do not divide evenly, the
    last band is repeated. mask: (rows, cols), False for no measurement in any band. Masked pixels
    are coded losslessly and are in no error; what lies under a mask becomes nodata, or 0 without
    one, in all bands but those of `exact`."""
    classes = masks.classify(samples, nodata, mask)
    runs, listed = prediction.kept(samples, classes, nodata, goal.bound, exact, block)
    coded = _encode(samples, classes, nodata, goal, model, block, exact, runs, listed)
    if goal.mse is not None and goal.closed:
        other = _predicted(coded, samples, classes, nodata, model, block, exact, runs, listed)
        if other:
            again = _encode(samples, classes, nodata, goal, model, block, exact, other, listed)
            coded = min(coded, again, key=lambda made: len(made[0]))
    return coded


def _predicted(
    coded: tuple[bytes, TileReport],
    samples: np.ndarray,
    classes: np.ndarray,
    nodata: tuple[float | None, ...],
    model: Model,
    block: int,
    exact: Container[int],
    runs: list[Run],
    listed: dict[int, bytes],
) -> list[Run] | None:
    """The runs of a tile if what the network takes is predicted too; None if that is not smaller
    than what was `coded`."""
    valid, bunches = classes == masks.VALID, list[slice]()
    for bunch, mode in entries(samples, valid, model.bands, exact, runs, listed):
        if mode in (NEURAL, SPECTRAL):
            before = bunches.pop() if bunches and bunches[-1].stop == bunch.start else bunch
            bunches.append(slice(before.start, bunch.stop))
    bands, size = sum(bunch.stop - bunch.start for bunch in bunches), len(coded[0])
    if not bands or not prediction.promising(8 * size / (samples[0].size * bands), bands):
        return None
    more = prediction.smaller(
        samples,
        valid,
        nodata,
        coded[1].target,
        bunches,
        block,
        size - sum(len(run.data) for run in runs),
    )
    return None if more is None else [*runs, *more]


def _encode(
    samples: np.ndarray,
    classes: np.ndarray,
    nodata: tuple[float | None, ...],
    goal: Goal,
    model: Model,
    block: int,
    exact: Container[int],
    runs: list[Run],
    listed: dict[int, bytes],
) -> tuple[bytes, TileReport]:
    """A tile, with `runs` of predicted bands and those that are `listed`."""
    valid = classes == masks.VALID
    bands, rows, cols = samples.shape
    out = Writer()
    out.pack("B", DTYPES.index(samples.dtype.name))
    for n in (bands, rows, cols, block // STRIDE):
        out.varint(n)
    out.part(masks.pack(classes))
    grid = blocks.count(rows, block), blocks.count(cols, block)
    mse, targets = _targets(goal, (bands, *grid))
    out.part(targets)
    decoded = np.zeros_like(samples)
    sides, streams, headers, check, beyond, calm = [], [], Writer(), 0, 0, 0
    lossy, modes = np.zeros(bands, bool), [0] * len(MODE_NAMES)
    parts, predictions = (
        entries(samples, valid, model.bands, exact, runs, listed),
        {run.bands.start: run for run in runs},
    )
    groups = [bunch for bunch, _ in parts]
    for bunch, mode in parts:
        size = bunch.stop - bunch.start
        headers.varint(mode + MODES * size)
        modes[mode] += size
        if mode == LOSSLESS:
            headers.part(listed[bunch.start])
            decoded[bunch] = samples[bunch]
        if mode == PREDICTIVE:
            headers.part(predictions[bunch.start].data)
            decoded[bunch] = predictions[bunch.start].decoded
            lossy[bunch] = coding.is_lossy(predictions[bunch.start].data)
        if mode == CONSTANT:
            constant = _firsts(samples[bunch], valid[bunch])
            headers.data += constant.astype(constant.dtype.newbyteorder("<")).tobytes()
            decoded[bunch] = constant[:, None, None]
        if mode not in (NEURAL, SPECTRAL):
            continue
        lossy[bunch] = True
        joint_bands = model.bands if mode == NEURAL else size
        index = np.minimum(np.arange(bunch.start, bunch.start + joint_bands), bunch.stop - 1)
        allowed = goal.allowed((bands, *grid))[index] if mode == SPECTRAL else None
        group = BandGroup(samples[index], valid[index], model, block, allowed)
        coded = code(group, goal, None if mse is None else mse[index])
        check = zlib.crc32(coded.latents.astype("<i4", copy=False), check)
        decoded[bunch] = coded.decoded[:size]
        if mse is not None:
            reached = ratio(group, coded.decoded, mse[index], block, goal.per_band)
            beyond += int(((coded.levels == model.highest) & (reached > 1)).sum())
            calm += int(((coded.levels == model.lowest) & (reached < LEAST)).sum())
        for numbers in group.codes:
            headers.signed(numbers[0])
            headers.signed(numbers[1])
        if group.rotation:
            group.rotation.pack(headers)
        sides.append(map_residuals(coded.levels).ravel())
        streams += coded.streams
    masks.restore(decoded, classes, nodata)
    patches = (
        _patch(samples, decoded, valid, nodata, mse, goal.per_band, block, groups)
        if mse is not None and goal.closed
        else []
    )
    report = measure(samples, decoded, valid, block)
    layer = residual.pack(patches, samples.dtype)
    report.target, report.modes = mse, tuple(modes)
    if goal.bound is not None:
        report.largest = np.zeros(bands)
        for band in _changed(samples, decoded):
            report.largest[band] = np.abs(
                blocks.difference(decoded[band], samples[band], valid[band])
            ).max()
    report.beyond, report.calm, report.patched, report.patch_bytes = (
        beyond,
        calm,
        len(patches),
        len(layer),
    )
    out.data += headers.data
    levels = np.concatenate(sides) if sides else np.zeros(0, np.int32)
    out.part(pack_integers(levels, *_error_codes(report.per_block[lossy])))
    for data in streams:
        out.part(data)
    out.pack("I", check)
    out.part(layer)
    report.per_block[[band in exact for band in range(bands)]] = np.nan
    if mse is not None:
        held = [
            joint(report.per_block[bunch] / mse[bunch], goal.per_band)
            for bunch in groups
            if bunch.start not in exact
        ]
        report.relative = np.array(held).reshape(-1, *report.per_block.shape[1:])
    return bytes(out.data), report


def entries(
    samples: np.ndarray,
    valid: np.ndarray,
    together: int,
    exact: Container[int],
    runs: Sequence[Run] = (),
    listed: Container[int] = (),
) -> list[tuple[slice, int]]:
    """The groups of bands in their order, and their modes: `runs`, bands that are `listed`, others.
    A model of several bands takes those `together` at a time; for a model of one band, neighbours
    with something to code are turned into components, as many as there are."""
    groups: list[tuple[slice, int]] = []
    run_of = {band: run.bands for run in runs for band in range(run.bands.start, run.bands.stop)}
    for bunch in _bunches(
        len(samples),
        together,
        {band for band in range(len(samples)) if band in exact or band in run_of},
    ):
        if bunch.start in run_of:
            if bunch.start == run_of[bunch.start].start:
                groups.append((run_of[bunch.start], PREDICTIVE))
            continue
        mode = LOSSLESS if bunch.start in listed else _mode(samples[bunch], valid[bunch])
        last, before = groups[-1] if groups else (bunch, EMPTY)
        if (
            mode == NEURAL
            and together == 1
            and before in (NEURAL, SPECTRAL)
            and bunch.stop - last.start <= spectral.MOST_BANDS
        ):
            groups[-1] = slice(last.start, bunch.stop), SPECTRAL
        else:
            groups.append((bunch, mode))
    return groups


def _bunches(bands: int, together: int, exact: Container[int]) -> list[slice]:
    """The bands in their order, those of `exact` alone, the others up to `together` at a time."""
    bunches: list[slice] = []
    for band in range(bands):
        last = bunches[-1] if bunches else None
        if (
            last is None
            or band in exact
            or last.start in exact
            or last.stop - last.start == together
        ):
            bunches.append(slice(band, band + 1))
        else:
            bunches[-1] = slice(last.start, band + 1)
    return bunches


def _targets(goal: Goal, grid: tuple[int, int, int]) -> tuple[np.ndarray | None, bytes]:
    """Targets per band and block, and how the tile keeps them: not at all where all blocks of a
    band have the same, which the file's header tells; else a 1, and they, rounded down to
    1/ERROR_STEPS octave, each as the difference to the block before."""
    if goal.mse is None:
        return None, b""
    if goal.mse.shape[1:] == (1, 1) and not goal.varied:
        return np.broadcast_to(goal.mse, grid), b""
    steps = np.floor(ERROR_STEPS * np.log2(goal.mse) + 1e-9).astype(np.int64)
    return np.exp2(steps / ERROR_STEPS), b"\1" + pack_integers(np.diff(steps.ravel(), prepend=0))


def _patch(
    samples: np.ndarray,
    decoded: np.ndarray,
    valid: np.ndarray,
    nodata: tuple[float | None, ...],
    mse: np.ndarray,
    per_band: bool,
    block: int,
    groups: list[slice],
) -> list[residual.Patch]:
    """Patches for all blocks above their target; `decoded` is changed in place."""
    relative = measure(samples, decoded, valid, block).per_block / mse
    patches = []
    for bunch in groups:
        for row, col in np.argwhere(joint(relative[bunch], per_band) > 1):
            for band in range(bunch.start, bunch.stop):
                if relative[band, row, col] > 1:
                    place, target = (band, int(row), int(col)), float(mse[band, row, col])
                    patches.append(
                        residual.correct(samples, decoded, valid, nodata, target, place, block)
                    )
    return patches


def _mode(samples: np.ndarray, valid: np.ndarray) -> int:
    """The mode of bands that need not be exact."""
    if not valid.any():
        return EMPTY
    same = all(
        (s[v] == f).all() for s, v, f in zip(samples, valid, _firsts(samples, valid), strict=True)
    )
    return CONSTANT if same else NEURAL


def _firsts(samples: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The first valid sample of each band (bands,), 0 where there is none."""
    return np.array(
        [s[v][0] if v.any() else 0 for s, v in zip(samples, valid, strict=True)], samples.dtype
    )


def measure(original: np.ndarray, decoded: np.ndarray, valid: np.ndarray, block: int) -> TileReport:
    """The report on `decoded` against `original`, all (bands, rows, cols)."""
    number = blocks.sums(valid, block)
    squared = np.zeros(number.shape)
    for band in _changed(original, decoded):
        squared[band] = blocks.square_sums(
            blocks.difference(decoded[band], original[band], valid[band]), block
        )
    per_block = np.divide(squared, number, out=np.full(squared.shape, np.nan), where=number > 0)
    return TileReport(squared.sum((1, 2)), number.sum((1, 2)).astype(np.int64), per_block)


def _changed(original: np.ndarray, decoded: np.ndarray) -> list[int]:
    """The bands of two images of one shape that are not the same."""
    return [
        band for band in range(len(original)) if not np.array_equal(original[band], decoded[band])
    ]


def _error_codes(per_block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the blocks of lossy bands (bands, block rows, block cols) as integers, log2 in
    1/ERROR_STEPS octave: the worst block of each band, as the difference to the band before, and
    how far below it each block with valid pixels is."""
    worst, below = [], [np.zeros(0, np.int64)]
    for errors in (band[~np.isnan(band)] for band in per_block):
        with np.errstate(divide="ignore"):
            steps = np.rint(ERROR_STEPS * np.log2(errors)).clip(_NO_ERROR, None).astype(np.int64)
        worst.append(int(steps.max(initial=_NO_ERROR)))
        below.append(worst[-1] - steps)
    return np.diff(np.array(worst, np.int64), prepend=0), np.concatenate(below)


def _recorded(
    worst: np.ndarray, below: np.ndarray, lossy: np.ndarray, number: np.ndarray
) -> TileReport:
    """The report as `_error_codes` keeps it: block errors within half of 1/ERROR_STEPS octave of
    what was measured, none in bands that are not lossy (bands,), the error of a band as their mean.
    number: valid pixels (bands, block rows, block cols)."""
    there = (number > 0) & lossy[:, None, None]
    of_band = np.zeros(len(lossy), np.int64)
    of_band[lossy] = np.cumsum(worst, dtype=np.int64)
    steps = np.broadcast_to(of_band[:, None, None], number.shape)[there] - below
    per_block = np.where(number > 0, 0.0, np.nan)
    per_block[there] = np.where(
        steps <= _NO_ERROR, 0.0, np.exp2(np.clip(steps, _NO_ERROR, -_NO_ERROR) / ERROR_STEPS)
    )
    return TileReport(np.nansum(per_block * number, (1, 2)), number.sum((1, 2)), per_block)


@dataclass
class Tile:
    """A decoded tile: samples, validity, the mask (rows, cols) that `encode_tile` was given (all
    True if none), the quantized latents of each neural group (one array per component, if it has
    such), the groups of bands that were coded together, the level of each block (bands, block rows,
    block cols; -1 in bands that are not neural), and the report that the encoder recorded."""

    samples: np.ndarray
    valid: np.ndarray
    mask: np.ndarray
    latents: list[np.ndarray]
    groups: list[slice]
    levels: np.ndarray
    report: TileReport


def decode_tile(
    data: bytes,
    nodata: tuple[float | None, ...],
    model: Model,
    shape: tuple[int, int, int],
    dtype: str,
) -> Tile:
    """The inverse of `encode_tile`. shape and dtype: what the file says of this tile. Raises
    CorruptFileError."""
    reader = Reader(data)
    code = reader.unpack("B")[0]
    own = tuple(reader.varint() for _ in range(3))
    block = reader.varint() * STRIDE
    if (
        own != tuple(shape)
        or code >= len(DTYPES)
        or DTYPES[code] != dtype
        or not 0 < block <= LARGEST_SIDE
    ):
        raise CorruptFileError("a tile does not fit its file: the file is damaged")
    bands, rows, cols = shape
    classes = masks.unpack(reader.part(), shape)
    targets = reader.part()
    valid = classes == masks.VALID
    samples = np.zeros(shape, dtype)
    grid = (blocks.count(rows, block), blocks.count(cols, block))
    little = samples.dtype.newbyteorder("<")
    neural: list[tuple[slice, list[Affine], spectral.Rotation | None]] = []
    exact: dict[int, np.ndarray] = {}
    lossy = np.zeros(bands, bool)
    groups: list[slice] = []
    first = 0
    while first < bands:
        together, mode = divmod(reader.varint(), MODES)
        bunch = slice(first, first + together)
        most = {SPECTRAL: spectral.MOST_BANDS if model.bands == 1 else 0, PREDICTIVE: bands}.get(
            mode, model.bands
        )
        if not 0 < together <= min(most, bands - first):
            raise CorruptFileError("a tile has an impossible number of bands: the file is damaged")
        if mode == CONSTANT:
            samples[bunch] = np.frombuffer(reader.take(together * little.itemsize), little)[
                :, None, None
            ]
        elif mode == LOSSLESS and together == 1:
            exact[first] = lossless.unpack(reader.part(), (rows, cols), samples.dtype)
        elif mode == NEURAL:
            affine = [affine_of(reader.signed(), reader.signed()) for _ in range(model.bands)]
            neural.append((bunch, affine, None))
        elif mode == SPECTRAL:
            affine = [affine_of(reader.signed(), reader.signed()) for _ in range(together)]
            neural.append((bunch, affine, spectral.Rotation.unpack(reader, together)))
        elif mode == PREDICTIVE:
            found = coding.decode(
                reader.part(),
                (together, rows, cols),
                samples.dtype,
                valid[bunch],
                nodata[bunch],
                block,
            )
            samples[bunch], lossy[bunch] = found.samples, found.lossy
            if found.whole:
                exact |= dict(enumerate(found.samples, first))
        elif mode != EMPTY:
            raise CorruptFileError(
                "a tile has an unknown mode: the file is damaged or made by a newer isoq"
            )
        groups.append(bunch)
        first = bunch.stop
    size = grid[0] * grid[1]
    number = blocks.sums(valid, block)
    for bunch, _, _ in neural:
        lossy[bunch] = True
    residuals, worst, below = unpack_integers(
        reader.part(), len(neural) * size, int(lossy.sum()), int((number[lossy] > 0).sum())
    )
    report = _recorded(worst, below, lossy, number)
    if targets:
        steps = np.cumsum(unpack_integers(targets[1:], bands * size)[0], dtype=np.int64).reshape(
            bands, *grid
        )
        report.target = np.exp2(steps.clip(-(1 << 14), 1 << 14) / ERROR_STEPS)
    latents, of_blocks, check = [], np.full((bands, *grid), -1), 0
    for own, (bunch, affine, rotation) in zip(
        residuals.reshape(len(neural), size), neural, strict=True
    ):
        of_blocks[bunch] = map_from_residuals(own, grid)
        levels = latent_levels(
            of_blocks[bunch.start], block, padded_side(rows) // STRIDE, padded_side(cols) // STRIDE
        )
        gains, y = model.gains(levels), []
        for _ in range(rotation.components if rotation else 1):
            q, near = model.entropy.decode(reader.part(), levels)
            check = zlib.crc32(q.astype("<i4", copy=False), check)
            latents.append(q)
            y.append(np.divide(near, gains, out=near))
        result = reconstruct(y, affine, rotation, (rows, cols), samples.dtype, model)
        samples[bunch] = result[: bunch.stop - bunch.start]
    if reader.unpack("I")[0] != check:
        raise CorruptFileError(
            "the latents of a tile do not match their checksum: the file is damaged"
        )
    masks.restore(samples, classes, nodata)
    report.patched = residual.unpack_onto(reader.part(), samples, valid, block)
    masks.restore(samples, classes, nodata)
    for band, plane in exact.items():  # last, for they are kept under a mask too
        samples[band] = plane
    reader.end()
    return Tile(samples, valid, classes[0] != masks.MASKED, latents, groups, of_blocks, report)
