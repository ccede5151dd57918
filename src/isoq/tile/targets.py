"""The targets of a tile: an error per block, a lambda or a bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..format.bytestream import pack_integers, unpack_integers
from ..levels import LAMBDA_MSE_AT_HIGH_RATE

TARGET_STEPS = 64  # steps per octave of targets that a tile stores
_LARGEST_STEP = 1 << 14
# Numbers per band or per file in, numbers per block out; see `ErrorTarget.vary`.
PerBlock = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ErrorTarget:
    """A mean squared error for every block.

    mse: squared digital numbers, (bands, block rows, block cols), or (bands, 1, 1) if all blocks of
    a band share one. predictor: 'isoq' or 'paper', the method that finds the levels. closed: levels
    are corrected until every block is below its target. per_band: each band of a group keeps its
    own target; otherwise their mean error over target counts. varied: the targets of the image
    differ between blocks, so the tile stores its own."""

    mse: np.ndarray
    predictor: str = "isoq"
    closed: bool = True
    per_band: bool = True
    varied: bool = False

    @property
    def weighs_bands(self) -> bool:
        """True if a spectral transform is to weigh the bands for the target."""
        return self.per_band and self.predictor == "isoq"

    def for_bands(self, bands: slice | np.ndarray) -> ErrorTarget:
        """Return the target of some bands."""
        return replace(self, mse=self.mse[bands])

    def vary(self, per_block: PerBlock) -> ErrorTarget:
        """Return the target with an error for each block, which `per_block` makes of the errors
        (bands,) of the bands."""
        return replace(self, mse=per_block(self.mse[:, 0, 0]), varied=True)

    def allowed_error(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the approximate mean squared error of the result, in squared digital numbers, as
        an array of `shape` (bands, block rows, block cols)."""
        return np.broadcast_to(self.mse, shape)


@dataclass(frozen=True)
class LambdaTarget:
    """A weight of the error against the rate.

    lam: lambda per squared digital number, one for the tile or one for each block (block rows,
    block cols)."""

    lam: float | np.ndarray

    def for_bands(self, bands: slice | np.ndarray) -> LambdaTarget:
        """Return the target of some bands, which is the same."""
        return self

    def vary(self, per_block: PerBlock) -> LambdaTarget:
        """Return the target with a lambda for each block; see `ErrorTarget.vary`."""
        return LambdaTarget(per_block(np.array([self.lam]))[0])

    def allowed_error(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the approximate mean squared error of the result; see `ErrorTarget`."""
        return np.broadcast_to(LAMBDA_MSE_AT_HIGH_RATE / np.asarray(self.lam), shape)


@dataclass(frozen=True)
class BoundTarget:
    """A largest error for every valid pixel. bound: digital numbers, (bands,)."""

    bound: np.ndarray

    def for_bands(self, bands: slice | np.ndarray) -> BoundTarget:
        """Return the target of some bands."""
        return BoundTarget(self.bound[bands])

    def vary(self, per_block: PerBlock) -> BoundTarget:
        """Return the same target: a bound is one for all blocks of a band."""
        return self


TileTarget = ErrorTarget | LambdaTarget | BoundTarget


def as_stored(target: TileTarget, grid: tuple[int, int, int]) -> TileTarget:
    """Return a target as the decoder will know it.

    grid: bands, block rows and block columns of the tile. Errors that differ between blocks are
    rounded down to 1/TARGET_STEPS octave."""
    if not isinstance(target, ErrorTarget):
        return target
    if not target.varied and target.mse.shape[1:] == (1, 1):
        return replace(target, mse=np.broadcast_to(target.mse, grid))
    steps = np.floor(TARGET_STEPS * np.log2(target.mse) + 1e-9)
    return replace(target, mse=np.exp2(steps / TARGET_STEPS), varied=True)


def pack_targets(target: TileTarget) -> bytes:
    """Return the bytes of a target of `as_stored`: the errors of the blocks if they differ, each as
    the difference to the block before; else nothing. An error that all blocks of a band share is in
    the header of the file."""
    if not isinstance(target, ErrorTarget) or not target.varied:
        return b""
    steps = np.rint(TARGET_STEPS * np.log2(target.mse)).astype(np.int64)
    return b"\1" + pack_integers(np.diff(steps.ravel(), prepend=0))


def unpack_targets(data: bytes, grid: tuple[int, int, int]) -> np.ndarray | None:
    """Return the errors that `pack_targets` wrote, of shape `grid`; None if there are none. Raises
    CorruptFileError."""
    if not data:
        return None
    steps = np.cumsum(unpack_integers(data[1:], int(np.prod(grid)))[0], dtype=np.int64)
    return np.exp2(steps.reshape(grid).clip(-_LARGEST_STEP, _LARGEST_STEP) / TARGET_STEPS)
