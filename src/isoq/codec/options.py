"""The options of coding a file, besides its target."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from ..errors import InputError, argument
from ..format.tiling import Box
from ..geometry import STRIDE
from ..parallel import available_cores
from .target import Target


@dataclass(frozen=True)
class Options:
    """The options of coding a file.

    block: pixels per side of a block
    tile: pixels per side of a tile; None for 1024, or fewer with many bands
    predictor: method that finds the quality, 'isoq' or 'paper'
    single_pass: code once instead of correcting until every block is below its target
    joint: None if every block of every band keeps its target; 'mean' if the mean of error / target
        over the bands that are coded jointly keeps it
    threads: number of threads
    lossless_bands: bands (from 0) that are kept losslessly
    classes: those that hold codes and flags, where all bands are lossless
    embed_model: put the parts of the model that the decoder needs into the file"""

    block: int = 64
    tile: int | None = None
    predictor: str = "isoq"
    single_pass: bool = False
    joint: str | None = None
    threads: int = field(default_factory=available_cores)
    lossless_bands: tuple[int, ...] = ()
    classes: tuple[int, ...] = ()
    embed_model: bool = False

    def __post_init__(self) -> None:
        if self.block < STRIDE or self.block % STRIDE:
            raise InputError(f"`block={self.block}`: must be a multiple of {STRIDE}")
        if self.tile is not None and (self.tile < self.block or self.tile % self.block):
            raise InputError(f"`tile={self.tile}`: must be a multiple of the block ({self.block})")
        if self.predictor not in ("isoq", "paper"):
            raise InputError(f"{argument('predictor', self.predictor)}: must be isoq or paper")
        if self.joint not in (None, "mean"):
            raise InputError(
                f"{argument('joint', self.joint)}: must be mean, or None for every band"
            )
        if self.threads < 1:
            raise InputError(f"`threads={self.threads}`: must be at least 1")

    @classmethod
    def of(cls, options: object) -> Options:
        """Return the options of a command line, which have the same names. Those that
        depend on the image are left out."""
        of_image = ("lossless_bands", "classes")
        names = [field.name for field in fields(cls) if field.name not in of_image]
        return cls(**{name: getattr(options, name) for name in names})

    def lossless_in(self, box: Box) -> set[int]:
        """Return the lossless bands of a tile, counted from its first."""
        return {band - box.band for band in self.lossless_bands}

    def meeting(self, target: Target, bands: int) -> Options:
        """Return these options with all `bands` lossless if that is the target."""
        if target.kind != "lossless":
            return self
        return replace(self, lossless_bands=tuple(range(bands)), classes=self.lossless_bands)
