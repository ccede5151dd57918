"""Regions that are drawn on the page: what they would cost, and the command that compresses with
them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..api.dataset import Dataset
from ..api.keywords import DEFAULT_MODEL, model_of
from ..codec.estimate import estimate_with_regions
from ..codec.lossless_bands import lossless_bands
from ..codec.options import Options
from ..codec.plan import tile_side
from ..codec.sources import Readable
from ..codec.target import ERRORS, Target
from ..codec.target_maps import TargetRegions
from ..raster.description import Description
from ..raster.source import open_source
from ..storage.urls import parse_location


class DecodedSource:
    """The image in an .isoq file as a source for the encoder."""

    path = None

    def __init__(self, image: Dataset):
        self._image = image

    @property
    def description(self) -> Description:
        return self._image.description

    def read(
        self, row: int, col: int, rows: int, cols: int, bands: slice = slice(None)
    ) -> np.ndarray:
        numbers = [band + 1 for band in range(self.description.bands)[bands]]
        samples = self._image.read(numbers, ((row, row + rows), (col, col + cols)))
        return self.description.to_coded(samples, bands.start or 0)

    def mask(self, row: int, col: int, rows: int, cols: int) -> np.ndarray | None:
        if not self.description.metadata.get("mask"):
            return None
        return self._image.dataset_mask(((row, row + rows), (col, col + cols))) != 0


@dataclass(frozen=True)
class Drawing:
    """The regions on the page in the place of a file of GeoJSON."""

    name: str
    geojson: str

    def __str__(self) -> str:
        return self.name

    def read_bytes(self) -> bytes:
        return self.geojson.encode()


class Regions:
    """Estimates and commands for one file.

    against: the original, if it is at hand. Without it, the decoded image takes its place.
    geometry: of an original of raw samples. model: the one to compress with, None for the
    newest."""

    def __init__(
        self,
        image: Dataset,
        against: str | None,
        geometry: str | None,
        model: str | None,
        device: str | None,
        threads: int,
    ):
        self._image, self._against, self._geometry = image, against, geometry
        self._model, self._device, self._threads = model, device, threads

    def estimate(self, geojson: str, target: Target, roi_mse: float) -> dict[str, Any]:
        """Return the bytes to expect without and with some polygons, as JSON: those of the file
        that the command writes, whose blocks all keep their targets.

        geojson: what the file for `--roi` holds. Raises InputError."""
        header = self._image.file.header
        exact = () if self._is_lossless else tuple(n - 1 for n in header.get("lossless", ()))
        options = Options(
            block=header["block"],
            tile=header["tile"],
            joint="mean" if self.is_joint else None,
            threads=self._threads,
            lossless_bands=exact,
        )
        regions = TargetRegions(roi=Drawing(self.file_name, geojson), roi_mse=roi_mse)
        with self._source() as source:
            model = model_of(self._model or DEFAULT_MODEL, self._device)
            without, size = estimate_with_regions(source, target, regions, model, options)
        return {"bytes": size, "without": without, "decoded": self._against is None}

    def command(self, target: Target, roi_mse: float) -> str:
        """Return the command line that compresses the original with the regions."""
        header = self._image.file.header
        value = ",".join(f"{v:.15g}" for v in np.atleast_1d(np.array(target.value, float)))
        words = ["isoq", "compress", self.original, str(Path(self.file_name).with_suffix(".isoq"))]
        words += [f"--{target.kind}", value]
        words += ["--peak", f"{target.peak:.15g}"] if target.peak else []
        words += ["--physical"] if target.physical else []
        words += ["--roi", self.file_name, "--roi-mse", f"{roi_mse:.15g}"]
        words += ["--block", str(header["block"])] if header["block"] != Options().block else []
        usual = tile_side(self._image.description, Options(block=header["block"]))
        words += ["--tile", str(header["tile"])] if header["tile"] != usual else []
        words += ["--joint", "mean"] if self.is_joint else []
        exact = header.get("lossless", [])
        if not self._is_lossless and exact != self._found_lossless:
            words += ["--lossless-bands", ",".join(map(str, exact)) or "none"]
        words += ["--mask", self._mask] if self._mask != "auto" else []
        words += ["--geometry", self._geometry] if self._geometry else []
        words += ["--model", self._model] if self._model else []
        return shlex.join(words)

    @property
    def original(self) -> str:
        """The path of the original, or the name of it that the file records."""
        known = self._image.file.header.get("source", {}).get("name")
        return self._against or known or "SRC"

    @property
    def file_name(self) -> str:
        """The name of the GeoJSON file."""
        return f"{parse_location(self._image.name).stem}-regions.geojson"

    @property
    def is_joint(self) -> bool:
        """True if the target holds for the mean over the jointly coded bands."""
        header = self._image.file.header
        is_error = header.get("target", {}).get("kind") in ERRORS
        return is_error and self._image.count > 1 and not header.get("per_band")

    @property
    def _is_lossless(self) -> bool:
        return self._image.file.header.get("target", {}).get("kind") == "lossless"

    @cached_property
    def _found_lossless(self) -> list[int] | None:
        """The bands of the original that `isoq compress` keeps losslessly by itself, None if it is
        not at hand: a decoded image does not tell."""
        if self._against is None:
            return None
        with self._source() as source:
            return [band + 1 for band in lossless_bands("auto", source).bands]

    @contextmanager
    def _source(self) -> Iterator[Readable]:
        if self._against is None:
            yield DecodedSource(self._image)
            return
        with open_source(self._against, self._geometry, mask=self._mask) as source:
            yield source

    @property
    def _mask(self) -> str:
        """The mask of the original that the file was made with, as `--mask` takes it."""
        return self._image.description.metadata.get("mask_from", "auto")
