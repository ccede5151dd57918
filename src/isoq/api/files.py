"""Image files to .isoq files, and back."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import rasterio

from ..arguments import checked
from ..codec.generations import NAMESPACE, SampleDigest, decoded_tags
from ..codec.lossless_bands import lossless_bands as find_lossless_bands
from ..codec.reader import File, LostPart
from ..codec.target import Target
from ..codec.target_maps import TargetRegions, open_target_maps
from ..codec.writer import Options, compress_to
from ..errors import CorruptFileError, InputError, IsoqWarning
from ..names import ImageName, parse_image_name
from ..network.model import Model
from ..raster.sink import create_sink, default_suffix, with_geometry
from ..raster.source import GDAL_CACHE, open_source
from ..raster.split import stem_of
from ..raster.window import cut, reduced_window, window_of
from ..storage.local import atomic, refuse_same
from ..storage.urls import Url, open_stream, parse_location
from .keywords import (
    DEFAULT_MODEL,
    ModelLike,
    PathLike,
    PerBand,
    Progress,
    about,
    chosen_target,
    model_of,
    options_of,
)
from .selection import level_of

_LOG = logging.getLogger(__name__)


@checked
def compress_file(
    src: PathLike,
    dst: PathLike | None = None,
    *,
    mse: PerBand | None = None,
    rmse: PerBand | None = None,
    psnr: PerBand | None = None,
    snr: PerBand | None = None,
    max_error: PerBand | None = None,
    lossless: bool = False,
    quality: float | None = None,
    bitrate: float | None = None,
    peak: float | None = None,
    physical: bool = False,
    target_map: PathLike | None = None,
    roi: PathLike | None = None,
    roi_mse: float | None = None,
    quality_map: PathLike | None = None,
    joint: str | None = None,
    lossless_bands: str | int | Sequence[int] = "auto",
    single_pass: bool = False,
    block: int = 64,
    tile: int | None = None,
    predictor: str = "isoq",
    mask: str = "auto",
    geometry: str | None = None,
    model: ModelLike = DEFAULT_MODEL,
    embed_model: bool = False,
    device: str | None = None,
    threads: int | None = None,
    out: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compress an image file to an .isoq file, with all its metadata.

    The image is read, coded and written tile by tile, so it may be larger than the memory. The
    file appears only when it is complete.

    Parameters
    ----------
    src : path
        Any image that GDAL reads, or a raw file (see `geometry`).
    dst : path, optional
        The .isoq file. Default: named like `src`, in the folder `out`.
    mse, rmse, psnr, snr, max_error, lossless, quality, bitrate, peak, physical
        The target, as for `compress`. `physical` takes the scales of the bands from the file.
    target_map : path, optional
        Raster of target MSE, of one band or one per band, with a reference system or of the
        image's size in pixels or blocks. A block keeps the smallest value of its pixels, and the
        main target where the map has nodata.
    roi : path, optional
        GeoJSON polygons inside which `roi_mse` is the target.
    roi_mse : float, optional
        Target MSE inside the polygons of `roi`. Blocks partly inside keep the smaller of it and
        the main target.
    quality_map : path, optional
        Raster of lambda in place of a target. No error is guaranteed.
    joint, lossless_bands, single_pass, block, tile, predictor, model, embed_model, device, \
threads
        As for `compress`. With ``lossless_bands="auto"`` these are bands with a palette, alpha
        bands, and those whose name or values show that they hold codes or flags.
    mask : {"auto", "none", "nodata", "alpha", "dataset"}
        The source of validity: nodata values alone, the alpha band, the mask of the file, or
        nothing. "auto" does what GDAL does, but takes an alpha band that looks like data for
        data.
    geometry : str, optional
        Layout of a raw file whose name does not tell it: "BANDS_WIDTH_HEIGHT_TYPE_ENDIAN_RGB".
    out : path, optional
        Folder for a file without `dst`; it is made if needed. Default: the folder of `src`.
    overwrite : bool
        Replace a file that exists.
    progress : callable, optional
        Called with the samples done so far and the samples of the image.

    Returns
    -------
    dict
        The output of ``isoq compress --json``: ``file``, ``bytes``, ``bits_per_sample``, ``model``,
        and the summary that the file keeps: ``mse``, ``variance`` and ``pixels`` per band, and the
        errors of the blocks.

    Raises
    ------
    InputError
        There is not exactly one target, an argument cannot be used, or a file cannot be read or
        written.
    OutputExistsError
        The .isoq file exists, and `overwrite` is false.
    UnsupportedImageError
        The sample type is not supported.

    Warns
    -----
    IsoqWarning
        Something is not kept, pixels are masked, or bands are found to hold codes or flags.

    Examples
    --------
    >>> import isoq
    >>> summary = isoq.compress_file("scene.tif", "scene.isoq", snr=30)
    >>> summary["above"]  # blocks above their target
    0
    """
    targets = dict(mse=mse, rmse=rmse, psnr=psnr, snr=snr, max_error=max_error, lossless=lossless)
    targets |= dict(quality=quality, bitrate=bitrate)
    regions = TargetRegions(_path(target_map), _path(roi), roi_mse, _path(quality_map))
    by_map = quality_map is not None and not any(v not in (None, False) for v in targets.values())
    target = chosen_target(targets, peak, physical) if not by_map else Target("quality", None)
    options = options_of(
        block=block,
        tile=tile,
        predictor=predictor,
        single_pass=single_pass,
        joint=joint,
        threads=threads,
        embed_model=embed_model,
    )
    source = os.fspath(src)
    given = None if dst is None else Path(dst)
    name = parse_image_name(source)
    path = given or folder_for(out, name) / f"{stem_of(name)}.isoq"
    refuse_same([name], path)
    coding = _Coding(target, regions, options, lossless_bands, mask, model_of(model, device))
    return _compress(source, geometry, path, overwrite, coding, progress)


@dataclass(frozen=True)
class _Coding:
    """How an image is to be coded."""

    target: Target
    regions: TargetRegions
    options: Options
    lossless_bands: str | int | Sequence[int]
    mask: str
    model: Model


def _compress(
    source: str,
    geometry: str | None,
    path: Path,
    overwrite: bool,
    coding: _Coding,
    progress: Progress | None,
) -> dict[str, Any]:
    """Compress an image file to `path` and return what `compress_file` returns."""
    with (
        rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE),
        open_source(source, geometry, mask=coding.mask) as image,
    ):
        d = image.description
        samples = d.bands * d.rows * d.cols
        with about(source):
            kept = find_lossless_bands(coding.lossless_bands, image)
            options = replace(coding.options, lossless_bands=kept.bands)
        with (
            atomic(path, overwrite) as stream,
            about(source, path),
            open_target_maps(coding.regions, coding.target, d, options.block) as field,
        ):
            counted = _counter(progress, samples)
            summary = compress_to(
                stream, image, coding.target, coding.model, options, counted, field
            )
            size = stream.tell()
        found = [] if coding.target.kind == "lossless" else kept.notes(source)
        for note in image.notes() + found:
            warnings.warn(note, IsoqWarning, stacklevel=4)
    _LOG.info("%s: %d bytes from %s, model %s", path, size, source, coding.model.name)
    lossless = [band + 1 for band in options.meeting(coding.target, d.bands).lossless_bands]
    return {
        "source": source,
        "file": str(path),
        "bytes": size,
        "bits_per_sample": round(8 * size / samples, 4),
        "model": coding.model.name,
        **summary,
        **({"lossless": lossless} if lossless else {}),
    }


@checked
def decompress_file(
    src: PathLike,
    dst: PathLike | None = None,
    *,
    window: Any = None,
    scale: float = 1,
    driver: str | None = None,
    model: ModelLike | None = None,
    device: str | None = None,
    threads: int | None = None,
    out: PathLike | None = None,
    overwrite: bool = False,
    on_damage: Callable[[LostPart], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the image in an .isoq file as an image file, with all its metadata.

    The image is decoded and written tile by tile. It appears only when it is complete.

    Parameters
    ----------
    src : path
        The .isoq file: a path or a URL.
    dst : path, optional
        The image. Default: named like `src`, in the folder `out`.
    window : rasterio.windows.Window or tuple, optional
        Part of the image, as for `Dataset.read`. Only its tiles are read.
    scale : float
        1, 1/2, 1/4, 1/8 or 1/16: write a smaller image, with its georeference. Only what it needs
        is read and decoded. `Dataset.overviews` says what its pixels are.
    driver : str, optional
        GDAL driver, such as "GTiff" or "COG". Default: GTiff, but a raw file for an image that
        was one.
    model, device, threads
        As for `open`.
    out : path, optional
        Folder for an image without `dst`; it is made if needed. Default: the folder of `src`; for
        a URL, the current one.
    overwrite : bool
        Replace an image that exists.
    on_damage : callable, optional
        Called with each part of a damaged file that is lost. The rest is written, with nodata (0
        without one) in place of lost tiles. By default CorruptFileError is raised and nothing is
        written.
    progress : callable, optional
        Called with the samples done so far and the samples to be written.

    Returns
    -------
    dict
        The output of ``isoq decompress --json``: ``file``, ``image``, ``bands``, ``rows``,
        ``cols``, ``dtype``, and with `on_damage` the parts that are ``lost``.

    Raises
    ------
    InputError
        An argument cannot be used, or a file cannot be read or written.
    OutputExistsError
        The image exists, and `overwrite` is false.
    CorruptFileError
        The file is damaged, or is not an .isoq file.
    ModelMismatchError
        The model is missing, or not the one that the file needs.

    Examples
    --------
    >>> import isoq
    >>> _ = isoq.compress_file("scene.tif", "scene.isoq", mse=900, overwrite=True)
    >>> isoq.decompress_file("scene.isoq", "corner.tif", window=((0, 64), (0, 96)))["rows"]
    64
    """
    source = parse_location(os.fspath(src))
    path = None if dst is None else Path(dst)
    count, level = options_of(threads=threads).threads, level_of(scale)
    lost: list[LostPart] = []

    def lose(part: LostPart) -> None:
        lost.append(part)
        if on_damage is not None:
            on_damage(part)

    with open_stream(source) as stream:
        file = File(stream, str(source), None if on_damage is None else lose)
        image = file.at_level(level)
        area = reduced_window(window_of(window, file.description, file.name), level)
        d = cut(image.description, area)
        path = path or folder_for(out, source) / (source.stem + default_suffix(d))
        path = with_geometry(path, d)
        refuse_same([source], path)
        network = file.model(model)
        network = network if device is None else network.on(device)
        counted = _counter(progress, d.bands * d.rows * d.cols)
        with (
            rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE),
            create_sink(path, d, driver, overwrite, image.step(area)) as sink,
        ):
            digest = SampleDigest(d.rows, d.cols)
            for part, samples, mask in image.pieces(network, area, count):
                sink.write(part.row, part.col, samples, part.band, mask)
                digest.add(part.band, part.row, part.col, samples)
                counted(samples.size)
            # The summary lies behind the tiles; without it the samples are complete nevertheless.
            with suppress(CorruptFileError):
                if level == 0:
                    sink.tag(NAMESPACE, decoded_tags(file.header, file.statistics(), digest))
    facts = {"bands": d.bands, "rows": d.rows, "cols": d.cols, "dtype": d.image_dtype}
    _LOG.info("%s: %d x %d x %d samples from %s", path, d.bands, d.rows, d.cols, source)
    damage = {} if on_damage is None else {"lost": [part.to_dict() for part in lost]}
    return {"file": str(source), "image": str(path), **facts, **damage}


def folder_for(out: PathLike | None, source: Path | Url | ImageName) -> Path:
    """Return the folder that output goes to: `out`, made if needed, else the folder of `source`.
    Raises InputError."""
    if out is None:
        return source.parent
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be made a folder ({error.strerror}); choose another `out`"
        ) from error
    return folder


def _path(value: PathLike | None) -> Path | None:
    return None if value is None else Path(value)


def _counter(progress: Progress | None, total: int) -> Callable[[int], None]:
    """Return a function that counts samples and reports their sum to `progress`."""
    done = 0

    def count(samples: int) -> None:
        nonlocal done
        done += samples
        if progress is not None:
            progress(done, total)

    return count
