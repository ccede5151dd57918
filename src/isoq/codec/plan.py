"""Plan a file before its first tile is coded: tiles, header, target of each tile."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .._version import __version__
from ..errors import InputError, IsoqWarning, argument
from ..format.container import overhead
from ..format.limits import LARGEST_SIDE, LARGEST_TILE
from ..format.tiling import Box, boxes, padded_samples
from ..geometry import LEAST_SIDE, is_thin
from ..network.embedded import pack
from ..network.model import Model
from ..raster.description import Description
from ..storage.local import provenance
from ..tile.quality_model import has_own_error
from ..tile.spectral import MOST_BANDS
from ..tile.targets import BoundTarget, ErrorTarget, LambdaTarget, TileTarget
from ..wavelet.layout import LEVELS
from .generations import earlier_of
from .options import Options
from .sources import Readable, read_pixels
from .summary import stored
from .target import BandStatistics, Target

# Samples of a tile whose side isoq chooses: the encoder takes about 50 bytes for each.
_SAMPLES_PER_TILE = 1 << 24
_SIDES = 256, 1024  # least and largest side that isoq chooses
# Targets of the blocks of a tile, see `compress_to`.
BlockTargets = Callable[[Box, np.ndarray], np.ndarray]
_SMALL = 1 << 19  # pixels of an image in one tile that is read as a whole


@dataclass(frozen=True)
class FilePlan:
    """Everything that coding the tiles of a file needs besides the pixels and the model.

    boxes: the tiles in file order; tile_target: the target of all bands, from which every tile
    takes its own."""

    description: Description
    target: Target
    options: Options
    header: dict
    boxes: list[Box]
    tile_target: TileTarget

    @property
    def samples(self) -> int:
        """The number of samples of the image."""
        return self.description.bands * self.description.rows * self.description.cols

    @property
    def shared_mse(self) -> np.ndarray | None:
        """The target per band (bands,) in squared digital numbers, if all blocks share it."""
        if isinstance(self.tile_target, ErrorTarget) and "varied" not in self.header["target"]:
            return self.tile_target.mse[:, 0, 0]
        return None

    def embedded(self, model: Model) -> bytes:
        """Return the part of the model that goes into the file, nothing if it is not embedded."""
        return pack(model) if self.options.embed_model else b""

    def prefixes(self, model: Model) -> int:
        """Return how many prefixes of each tile the index lists: none for graphs, whose latents are
        in one segment, and none for small images in one tile, which are read as a whole."""
        is_small = len(self.boxes) == 1 and self.boxes[0].rows * self.boxes[0].cols <= _SMALL
        return 0 if is_small or not model.wavelet else LEVELS - 1

    def overhead(self, model: Model, summary: dict | None = None) -> int:
        """Return the size of the file without its tiles. summary: its summary, if that is known."""
        d = self.description
        embedded = self.embedded(model)
        return overhead(
            self.header,
            d.metadata,
            len(self.boxes),
            stored(summary, self.header) if summary else {},
            embedded,
            self.prefixes(model),
        )

    def target_for(self, box: Box, block_targets: BlockTargets | None = None) -> TileTarget:
        """Return the target of a tile. block_targets: see `compress_to`."""
        target = self.tile_target.for_bands(slice(box.band, box.band + box.bands))
        return target if block_targets is None else target.vary(partial(block_targets, box))

    def at_lambda(self, lam: float) -> FilePlan:
        """Return the plan with another target for the tiles: lambda per squared digital number."""
        return replace(self, tile_target=LambdaTarget(lam))

    def in_one_pass(self) -> FilePlan:
        """Return the plan without corrections of the blocks."""
        if not isinstance(self.tile_target, ErrorTarget):
            return self
        return replace(self, tile_target=replace(self.tile_target, closed=False))


def make_plan(
    source: Readable,
    target: Target,
    model: Model,
    options: Options,
    varied: bool = False,
    origin: dict | None = None,
) -> FilePlan:
    """Plan a file. Reads the whole image if the target depends on it, and its file for the digest.

    varied: the targets differ between blocks; origin: as `origin_of` returns it, computed if it is
    not given. Raises InputError."""
    d = source.description
    options = options.meeting(target, d.bands)
    depth, parts = tiling(d, options, model)
    tile_target = _tile_target(source, parts, target, options, model)
    origin = origin_of(source) if origin is None else origin
    header = file_header(d, origin, target, model, options, depth, varied)
    return FilePlan(d, target, options, header, parts, tile_target)


def origin_of(source: Readable) -> dict:
    """Return where the image came from, for the header. Reads a source's whole file for its digest.
    Raises InputError."""
    earlier = earlier_of(source)
    return {
        **({"source": provenance(source.path)} if source.path else {}),
        **({} if earlier is None else {"earlier": earlier}),
    }


def tiling(d: Description, options: Options, model: Model) -> tuple[int, list[Box]]:
    """Return the bands per tile, and the tiles in file order. Raises InputError."""
    side = tile_side(d, options)
    depth = _depth(d, side, model)
    try:
        return depth, boxes(d.bands, d.rows, d.cols, side, options.block, depth)
    except ValueError as error:
        raise InputError(f"`tile={side}`: {error}; give a smaller one") from error


def tile_side(d: Description, options: Options) -> int:
    """Return the side of the largest tile in pixels: the requested one, or one that limits the
    memory. Tiles of thin images are longer, because each tile costs some time."""
    if options.tile is not None:
        return options.tile
    least, most = _SIDES
    per_band = _SAMPLES_PER_TILE // min(d.bands, MOST_BANDS)
    side = min(most, max(least, math.isqrt(per_band)))
    if is_thin(d.rows, d.cols) and max(d.rows, d.cols) > side:
        side = max(side, min(LARGEST_SIDE, per_band // LEAST_SIDE))
    return max(options.block, side // options.block * options.block)


def _depth(d: Description, side: int, model: Model) -> int:
    """Return the bands per tile: all that are coded together, as far as a tile may hold them."""
    most = LARGEST_TILE // padded_samples(model.bands, min(d.rows, side), min(d.cols, side))
    if model.bands > 1:
        return max(1, min(most, -(-d.bands // model.bands))) * model.bands
    parts = -(-d.bands // max(1, min(most, MOST_BANDS)))
    return -(-d.bands // parts)


def _tile_target(
    source: Readable, parts: list[Box], target: Target, options: Options, model: Model
) -> TileTarget:
    """Return the target of all bands in the form that tiles take. No other function makes this
    conversion from a `Target`. Lambda is NaN for a bitrate, and for a quality that only a map
    gives."""
    d = source.description
    if target.is_error:
        mse = target_mse(source, parts, target)[:, None, None]
        per_band = options.joint is None
        predictor = _predictor(options.predictor, model)
        return ErrorTarget(mse, predictor, not options.single_pass, per_band)
    if target.is_bound:
        return BoundTarget(target.bound_per_band(d.bands, d.metadata.get("scales")))
    known = target.kind == "quality" and target.value is not None
    return LambdaTarget(float(np.array(target.value)) if known else np.nan)


def _predictor(name: str, model: Model) -> str:
    """Return the predictor of the given name, or isoq's where the paper's cannot work."""
    if name != "paper" or has_own_error(model):
        return name
    warnings.warn(
        f"{argument('predictor', name)}: {model.name} has no error of its own to scale, so isoq's "
        "predictor is used; leave the option out, or give a model of learned transforms",
        IsoqWarning,
        stacklevel=4,
    )
    return "isoq"


def target_mse(source: Readable, parts: list[Box], target: Target) -> np.ndarray:
    """Return the target per band (bands,) in squared digital numbers. Reads the whole image if the
    target depends on it. Raises InputError."""
    d = source.description
    statistics = BandStatistics.empty(d.bands)
    for box in parts if target.needs_statistics else ():
        pixels = read_pixels(source, box)
        tile = BandStatistics.of(pixels.samples, pixels.valid)
        statistics.merge(tile, slice(box.band, box.band + box.bands))
    return target.mse_per_band(statistics, d.peaks(), d.metadata.get("scales"))


def file_header(
    d: Description,
    origin: dict,
    target: Target,
    model: Model,
    options: Options,
    depth: int,
    varied: bool,
) -> dict:
    """Return the header of the file, JSON. varied: the targets differ between blocks."""
    closed = target.is_bound or (target.is_error and not options.single_pass)
    per_band = target.is_error and d.bands > 1 and options.joint is None
    lossless, classes = (
        [band + 1 for band in bands] for bands in (options.lossless_bands, options.classes)
    )
    return {
        "image": {k: v for k, v in d.to_dict().items() if k != "metadata"},
        "target": target.to_dict() | ({"varied": True} if varied else {}),
        "tile": tile_side(d, options),
        "depth": depth,
        "block": options.block,
        "model": [model.name, model.identity],
        "loop": "closed" if closed else "single",
        **({"per_band": True} if per_band else {}),
        **({"lossless": lossless} if lossless else {}),
        **({"classes": classes} if classes else {}),
        "software": f"isoq {__version__}",
        **origin,
    }
