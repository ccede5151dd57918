"""What the page asks for: an .isoq file, and the original if it is at hand."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from functools import cached_property
from threading import Lock, Thread
from typing import Any, Self

import numpy as np

from ..api.dataset import Dataset
from ..api.dataset import open as open_isoq
from ..api.keywords import PathLike, options_of
from ..api.picture import shown_bands, stretch_of
from ..codec.target import ERRORS, Target
from ..codec.verify import check_kind
from ..errors import InputError, IsoqError
from ..raster.source import is_raw, open_source
from ..wavelet.layout import LEVELS
from .error_layer import ErrorLayer
from .regions import Regions
from .tiles import SIDE, Bands, Decoded, Layer, Original, RawOriginal, levels_of, picture

_LOOK = 128  # pixels: least side of the reduced image from which the stretch comes


class NotFound(Exception):
    """There is no such tile, band or pixel, and no such address."""


class Scene:
    """A file and its original, opened for the page; a context manager.

    source: a path or URL; against: the original; geometry: of an original of raw samples, as
    `isoq.compress_file` takes it; model: the one that the file needs, if isoq does not include it
    and neither does the file. Raises what `isoq.open` raises, and InputError if the original is of
    another kind."""

    def __init__(
        self,
        source: PathLike,
        against: PathLike | None = None,
        geometry: str | None = None,
        model: str | None = None,
        device: str | None = None,
        threads: int | None = None,
    ):
        cores = options_of(threads=threads).threads
        with ExitStack() as stack:
            self.image: Dataset = stack.enter_context(
                open_isoq(source, model, device=device, threads=cores)
            )
            file, original = self.image.file, None
            decoder = self.image.file.model(model)
            decoder = decoder if device is None else decoder.on(device)
            self._decoded = Decoded(self.image)
            self.layers: dict[str, Layer] = {"decoded": self._decoded}
            if against is not None:
                mask = file.description.metadata.get("mask_from", "auto")
                original = stack.enter_context(open_source(os.fspath(against), geometry, mask=mask))
                check_kind(file, original)
                self.layers["original"] = self._original(os.fspath(against), geometry, stack)
            self.errors = ErrorLayer(file, decoder, cores, original)
            stack.callback(self.errors.stop)
            self._against = None if against is None else os.fspath(against)
            self._geometry = geometry
            self._model, self._device, self._threads = model, device, cores
            self._stretches: dict[int, tuple[float, float]] = {}
            self._stretching, self._estimating = Lock(), Lock()
            self._beginning = Thread(target=self._begin, daemon=True)
            self._closing = stack.pop_all()

    def _original(self, path: str, geometry: str | None, closing: ExitStack) -> Layer:
        """Return the layer of the original, which is open until `closing` is closed."""
        sampled = tuple(self.image.file.header.get("lossless", ()))
        if is_raw(path, geometry):
            return RawOriginal(closing.enter_context(open_source(path, geometry)), sampled)
        shown = Original(path, sampled)
        closing.callback(shown.close)
        return shown

    def __enter__(self) -> Self:
        self._beginning.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._beginning.join()
        self._closing.close()

    def _begin(self) -> None:
        """Decode what the page shows first, while the browser still loads the page."""
        with suppress(IsoqError):  # the page asks for it as well, and is told
            self.stretch(shown_bands(self.image))

    def describe(self) -> dict[str, Any]:
        """Return what the page needs to know at first, as JSON."""
        image, header = self.image, self.image.file.header
        placed = image.description.metadata
        return {
            "name": image.name,
            "rows": image.height,
            "cols": image.width,
            "dtype": image.dtypes[0],
            "bands": [name or "" for name in image.descriptions],
            "shown": list(shown_bands(image)),
            "levels": levels_of(image.shape),
            "block": header["block"],
            "target": header.get("target"),
            "joint": self.regions.is_joint,
            "crs": placed.get("crs") and _crs_name(image),
            "transform": placed.get("transform"),
            "geojson_crs": _urn(image) if placed.get("crs") and placed.get("transform") else None,
            "against": self._against,
            "original": self.regions.original,
            "geojson": self.regions.file_name,
        }

    def tile(self, layer: str, level: int, row: int, col: int, bands: Bands) -> bytes:
        """Return a tile of a layer ("decoded", "original" or "errors") as PNG.

        Raises NotFound if there is no such tile, InputError and CorruptFileError."""
        self._check(level, row, col, bands)
        if layer == "errors":
            return self.errors.tile(bands, level, row, col)
        if layer not in self.layers:
            raise NotFound
        return picture(self.layers[layer].tile(bands, level, row, col), self.stretch(bands))

    def stretch(self, bands: Bands) -> list[tuple[float, float]]:
        """Return the samples that are black and white, by band. Both layers have the same."""
        with self._stretching:
            if any(band not in self._stretches for band in bands):
                levels = [k for k in range(LEVELS + 1) if max(self.image.shape) >> k >= _LOOK]
                level = max(levels, default=0)
                seen = self._decoded.window(bands, level, slice(None), slice(None))
                self._stretches.update(zip(bands, stretch_of(seen), strict=True))
            return [self._stretches[band] for band in bands]

    def values(self, row: int, col: int, bands: Bands) -> dict[str, Any]:
        """Return the samples of a pixel in both layers, and the errors of its block, as JSON."""
        self._check(0, 0, 0, bands)
        if not (row < self.image.height and col < self.image.width):
            raise NotFound
        values = {
            name: [_value(sample) for sample in layer.pixel(bands, row, col)]
            for name, layer in self.layers.items()
        }
        return {**values, "blocks": self.errors.at(bands, row, col)}

    def summary(self, bands: Bands) -> dict[str, Any]:
        """Return the histogram of the errors so far, as JSON. Begins to measure them."""
        self._check(0, 0, 0, bands)
        self.errors.start()
        return self.errors.summary(bands)

    def estimate(self, geojson: str, kind: str, value: list[float], inside: float) -> dict:
        """Return the size to expect with regions, and the command, as JSON. Raises InputError."""
        if kind not in ERRORS:
            raise InputError(f"{kind}: promises no error; give one of {', '.join(ERRORS)}")
        asked = self.image.file.header.get("target", {})
        peak = asked.get("peak") if asked.get("kind") == kind else None
        physical = bool(asked.get("physical")) and kind in ("mse", "rmse")
        target = Target(kind, value, peak, physical)
        with self._estimating:  # one after the other; each keeps all cores busy
            size = self.regions.estimate(geojson, target, inside)
        return size | {"command": self.regions.command(target, inside)}

    @cached_property
    def regions(self) -> Regions:
        """Estimates and commands for regions."""
        return Regions(
            self.image, self._against, self._geometry, self._model, self._device, self._threads
        )

    def _check(self, level: int, row: int, col: int, bands: Bands) -> None:
        """Raise NotFound unless there is such a tile and there are such bands."""
        inside = all(
            n * SIDE << level < size for n, size in zip((row, col), self.image.shape, strict=True)
        )
        known = all(1 <= band <= self.image.count for band in bands)
        if not (level <= levels_of(self.image.shape) and inside and known):
            raise NotFound


def _value(sample: Any) -> float | None:
    """Return a sample as JSON, None if it is masked or not finite."""
    if sample is np.ma.masked or not np.isfinite(sample):
        return None
    return sample.item()


def _crs_name(image: Dataset) -> str:
    """Return the reference system for a person."""
    crs = image.crs
    code = crs and crs.to_epsg()
    return f"EPSG:{code}" if code else "coordinates"


def _urn(image: Dataset) -> str:
    """Return the reference system as the member `crs` of GeoJSON names it."""
    crs = image.crs
    assert crs is not None
    code = crs.to_epsg()
    return f"urn:ogc:def:crs:EPSG::{code}" if code else crs.to_wkt()
