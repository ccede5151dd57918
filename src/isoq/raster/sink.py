"""Write images: GeoTIFF, any other driver of GDAL, and raw files."""

from __future__ import annotations

import os
import sys
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.drivers import raster_driver_extensions
from rasterio.io import DatasetReader
from rasterio.windows import Window

from ..errors import InputError, IsoqWarning, UnsupportedImageError
from ..names import check_output
from ..unfinished import unfinished
from .comparison import missing
from .description import RGB, Description, colours_of
from .gdal_metadata import describe, open_dataset
from .gtiff import create_gtiff, in_namespaces, side_file
from .guard import guard
from .raw import Geometry
from .validity import Masking
from .window import check_window

_TIFF = ("GTiff", "COG")
_TIFF_SUFFIXES = (".tif", ".tiff")

_SIDECARS = (
    ".aux.xml",
    ".ovr",
    ".msk",
)  # files that GDAL takes for a part of the image beside them
_CREATION = {  # where a driver's defaults are lossy or wasteful
    "COG": {"COMPRESS": "DEFLATE", "PREDICTOR": "YES", "BIGTIFF": "IF_SAFER"},
    "JP2OpenJPEG": {"QUALITY": "100", "REVERSIBLE": "YES"},
    "WEBP": {"LOSSLESS": "YES"},
}


class Sink(ABC):
    """An image being written, to be used as a context manager by one thread at a time.

    Everything is written to a hidden directory beside the target, and moved into place,
    synchronized, on a clean exit only."""

    def __init__(self, path: Path, description: Description, overwrite: bool) -> None:
        check_output(path, overwrite)
        # What a symbolic link leads to is replaced, not the link.
        self.path = path = path.resolve() if path.is_symlink() else path
        self.description = description
        self._overwrite = overwrite
        self._refuse_existing([path.with_name(path.name + suffix) for suffix in ("", *_SIDECARS)])

    def write(
        self, row: int, col: int, samples: np.ndarray, band: int = 0, mask: np.ndarray | None = None
    ) -> None:
        """Write a window, (bands, rows, cols) of the description's type, with its upper left corner
        at (row, col), to the bands from `band` (0 is the first) on. Each sample must be written
        once.

        mask: (rows, cols) bool, to be given once for each pixel if the description has a mask; raw
        files cannot keep it.

        Raises InputError if the window does not lie in the image or cannot be stored (disk full),
        and ValueError for another type or too many bands."""
        d = self.description
        if (
            samples.dtype != d.dtype
            or samples.ndim != 3
            or not 0 <= band < band + len(samples) <= d.bands
        ):
            raise ValueError(
                f"{samples.dtype} {samples.shape} written to {d.bands} bands of {d.dtype} from "
                f"band {band} on"
            )
        check_window(self.path, d, row, col, *samples.shape[1:])
        with guard(self.path, "cannot be written; check the free space"):
            self._write(Window(col, row, samples.shape[2], samples.shape[1]), samples, band, mask)

    @abstractmethod
    def tag(self, namespace: str, tags: dict[str, str]) -> None:
        """Add tags to the image; only GTiff and COG can hold them."""

    @abstractmethod
    def _start(self, stage: Path) -> None: ...

    @abstractmethod
    def _write(
        self, window: Window, samples: np.ndarray, band: int, mask: np.ndarray | None
    ) -> None: ...

    @abstractmethod
    def _close(self, complete: bool) -> None: ...

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._stage = stack.enter_context(unfinished(self.path))
            with guard(
                self.path, "cannot be created; check the folder, its permissions and the free space"
            ):
                self._stage.mkdir(mode=0o700)
                self._start(self._stage)
            self._removal = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._removal, guard(self.path, "cannot be written; check the free space"):
            self._close(complete=kind is None)
            if kind is None:
                self._publish()

    def _publish(self) -> None:
        """Move the finished files to the target's directory, the image itself last."""
        staged = sorted(
            (path for path in self._stage.iterdir() if path.is_file()),
            key=lambda path: path.name == self.path.name,
        )
        targets = [self.path.with_name(path.name) for path in staged]
        self._refuse_existing(targets)
        for path in staged:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        for suffix in (
            _SIDECARS if self._overwrite else ()
        ):  # those of the replaced image would be taken for the new one's
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        for path, target in zip(staged, targets, strict=True):
            os.replace(path, target)

    def _refuse_existing(self, targets: Sequence[Path]) -> None:
        for target in targets:
            check_output(target, self._overwrite)


class _RasterSink(Sink):
    def __init__(
        self,
        path: Path,
        description: Description,
        overwrite: bool,
        driver: str,
        step: tuple[int, int],
    ) -> None:
        super().__init__(path, description, overwrite)
        self._step, self._tagged = step, False
        with rasterio.Env() as env:
            names = {name.upper(): name for name in env.drivers()}
        if driver.upper() not in names:
            raise InputError(f"{path}: no driver {driver!r} in this GDAL; use GTiff or COG")
        self._driver = names[driver.upper()]
        self._written: list[tuple[Window, list[int], int]] = []
        self._masked: list[tuple[Window, int]] = []

    def _start(self, stage: Path) -> None:
        if self._driver != "GTiff":  # other drivers only copy a complete image
            stage /= "copied"
            stage.mkdir()
        self._staged = stage / self.path.name
        self._dataset, self._failed = create_gtiff(self._staged, self.description, self._step)

    def _write(
        self, window: Window, samples: np.ndarray, band: int, mask: np.ndarray | None
    ) -> None:
        samples = self.description.to_image(samples, band)
        indexes = list(range(band + 1, band + 1 + len(samples)))
        self._dataset.write(samples, indexes, window=window)
        self._written.append((window, indexes, _checksum(samples)))
        if mask is not None:
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
                self._dataset.write_mask(mask, window=window)
            self._masked.append((window, _checksum(mask)))

    def tag(self, namespace: str, tags: dict[str, str]) -> None:
        if tags and self._driver in ("GTiff", "COG"):
            self._dataset.update_tags(ns=namespace, **tags)
            self._tagged = True

    def _close(self, complete: bool) -> None:
        self._dataset.close()
        if complete:
            self._complete(self._stage / self.path.name)

    def _complete(self, final: Path) -> None:
        # Told to copy namespaces, GDAL forgets the plain tags of the bands.
        spaced = self._driver == "COG" and (self._tagged or in_namespaces(self.description))
        side = side_file(self.description, band_tags=spaced)
        if side:  # other drivers than those of TIFF take from it what they can
            beside = final if self._driver in ("GTiff", "COG") else self._staged
            beside.with_name(f"{beside.name}.aux.xml").write_text(side, "utf-8")
        if self._driver != "GTiff":
            options = _CREATION.get(self._driver, {}) | ({"COPY_SRC_MDD": "YES"} if spaced else {})
            with guard(
                self.path,
                f"cannot be written with driver {self._driver}; check the free space, or use "
                "GTiff or COG",
            ):
                rasterio.shutil.copy(self._staged, final, driver=self._driver, **options)
            if not final.is_file():
                raise InputError(
                    f"{self.path}: driver {self._driver} does not write a file; use GTiff or COG"
                )
        # GDAL keeps back samples until the file is closed, and a full disk goes unreported then;
        # other drivers may be lossy.
        with open_dataset(final) as dataset:
            intact = all(
                _checksum(dataset.read(indexes, window=window)) == checksum
                for window, indexes, checksum in self._written
            )
            intact &= all(
                _checksum(dataset.read_masks(1, window=window) != 0) == checksum
                for window, checksum in self._masked
            )
            lost = self._lost(dataset) if intact else []
        if not intact:
            raise InputError(
                f"{self.path}: driver {self._driver} changed the pixels; check the free space, or "
                "use GTiff"
            )
        _warn_of_losses(self.path, lost, "" if self._driver in _TIFF else "; GTiff keeps more")

    def _lost(self, dataset: DatasetReader) -> list[str]:
        """Return in words what the source had and the written image has not."""
        masking = Masking(beside=bool(self.description.metadata.get("mask")))
        found = describe(self.path, dataset, masking)
        return missing(self.description, found, self._failed) + [
            text
            for text in self.description.metadata.get("not_kept", ())
            if not (text.startswith("overviews") and dataset.overviews(1))
        ]


class _RawSink(Sink):
    def __init__(self, path: Path, description: Description, overwrite: bool) -> None:
        super().__init__(path, description, overwrite)
        if description.image_dtype != description.dtype:
            raise UnsupportedImageError(
                f"{path}: raw files have no {description.image_dtype} samples; write a GeoTIFF"
            )
        self._geometry = _geometry(description)
        named = Geometry.of_name(path)
        if named:  # the name is the only header, so it decides on the byte order
            if replace(self._geometry, endian=named.endian, rgb=named.rgb) != named:
                raise InputError(
                    f"{path}: the name describes another image; let it end in .{self._geometry}.raw"
                )
            self._geometry = named

    def _start(self, stage: Path) -> None:
        self._file = (stage / self.path.name).open("wb")

    def _write(
        self, window: Window, samples: np.ndarray, band: int, mask: np.ndarray | None
    ) -> None:
        self._geometry.write(self._file, window.row_off, window.col_off, samples, band)

    def tag(self, namespace: str, tags: dict[str, str]) -> None:
        pass

    def _close(self, complete: bool) -> None:
        with self._file:
            if complete:
                self._file.truncate(self._geometry.nbytes)
        if complete:
            kept = replace(self.description, nodata=(None,) * self.description.bands, metadata={})
            lost = missing(self.description, kept, {})
            if self.description.metadata.get("mask"):
                lost.append("the mask")
            lost += self.description.metadata.get("not_kept", ())
            _warn_of_losses(self.path, lost, "; GTiff keeps more")


def create_sink(
    path: str | os.PathLike[str],
    description: Description,
    driver: str | None = None,
    overwrite: bool = False,
    step: tuple[int, int] = (0, 0),
) -> Sink:
    """Return a sink for a new image.

    driver: of GDAL. By default the name decides: raw for .raw, the driver of GDAL for a suffix such
    as .jp2, else GTiff, or raw if the source was.
    step: rows and columns that the places of all writes are multiples of (0: all begin at 0). A
    GTiff is laid out for it.

    GTiff and COG keep all metadata, in part in an .aux.xml beside the file. Other drivers keep what
    they can; an IsoqWarning names the rest. Every driver keeps the exact samples. Raises
    OutputExistsError unless `overwrite`, and InputError for an unknown driver, for a GeoTIFF under
    the name of another format, and for a raw name that tells another geometry."""
    path = Path(path)
    suffix = path.suffix.lower()
    if driver is None and (
        suffix == ".raw" or ("raw" in description.metadata and suffix not in _TIFF_SUFFIXES)
    ):
        return _RawSink(path, description, overwrite)
    return _RasterSink(path, description, overwrite, _driver_for(path, driver), step)


def _driver_for(path: Path, driver: str | None) -> str:
    """Return the driver to write a file with. Raises InputError if it does not fit the name."""
    usual = raster_driver_extensions().get(path.suffix.lower().lstrip("."), "GTiff")
    if driver is None:
        driver = usual
    tiff = driver.upper() in ("GTIFF", "COG")
    if tiff != (usual == "GTiff") and (tiff or path.suffix.lower() in _TIFF_SUFFIXES):
        raise InputError(
            f"{path}: the name is that of a {usual} file, which driver {driver} does not write; "
            "choose another name or driver"
        )
    if driver.upper() == "VRT":
        raise InputError(f"{path}: a VRT holds no pixels; use GTiff or COG")
    return driver


def _warn_of_losses(path: Path, lost: list[str], advice: str) -> None:
    if lost:
        warnings.warn(
            f"{path}: written without {', '.join(lost)}{advice}", IsoqWarning, stacklevel=2
        )


def default_suffix(description: Description) -> str:
    """Return the suffix of the restored image: ".tif", or ".<geometry>.raw" for a raw source."""
    return f".{_geometry(description)}.raw" if "raw" in description.metadata else ".tif"


def with_geometry(path: Path, description: Description) -> Path:
    """Return the path; a .raw name without the geometry gets it, because otherwise nobody could
    read the file."""
    if path.suffix.lower() != ".raw" or Geometry.of_name(path):
        return path
    return path.with_suffix(f".{_geometry(description)}.raw")


def _geometry(description: Description) -> Geometry:
    raw = description.metadata.get("raw", {})
    endian = raw.get("endian", int(sys.byteorder == "little"))
    rgb = raw.get("rgb", int(colours_of(description) == RGB))
    return Geometry(
        description.bands, description.cols, description.rows, description.dtype, endian, rgb
    )


def _checksum(pixels: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(pixels).data)
