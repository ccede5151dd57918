"""Describe files, check their records, and estimate what files would be like."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from ..arguments import checked
from ..codec.advice import Advice
from ..codec.advice import advise as advise_source
from ..codec.estimate import Estimate
from ..codec.estimate import estimate as estimate_source
from ..codec.generations import remark
from ..codec.lossless_bands import lossless_bands as find_lossless_bands
from ..codec.reader import File, LostPart
from ..codec.sources import Readable
from ..codec.target import Target
from ..codec.verify import verify_against, verify_summary
from ..errors import GuaranteeError, InputError, argument
from ..raster.source import open_source
from .files import _counter
from .keywords import (
    DEFAULT_MODEL,
    ModelLike,
    PathLike,
    Progress,
    about,
    model_of,
    options_of,
)
from .selection import listed
from .source import NoData, image_source
from .streams import opened

_HEADER = (
    "model",
    "target",
    "loop",
    "software",
    "tile",
    "block",
    "source",
    "lossless",
    "per_band",
    "earlier",
)


@checked
def info(source: PathLike | BinaryIO) -> dict[str, Any]:
    """Describe an .isoq file: its image, how it was made, the requested and the measured errors.

    Only the header, the index and the summary are read.

    Parameters
    ----------
    source : path or file object
        As for `open`.

    Returns
    -------
    dict
        The output of ``isoq info --json``, which is plain JSON: among others ``bytes``,
        ``bits_per_sample``, ``ratio``, the image's ``bands``, ``rows``, ``cols``, ``dtype``,
        ``nodata`` and ``metadata``, the ``target``, and per band ``mse`` (squared digital numbers)
        and ``snr`` (dB).

    Raises
    ------
    InputError
        The file cannot be opened.
    CorruptFileError
        The file is damaged, or is not an .isoq file.

    Examples
    --------
    >>> import isoq
    >>> _ = isoq.compress_file("scene.tif", "scene.isoq", mse=900, overwrite=True)
    >>> facts = isoq.info("scene.isoq")
    >>> facts["target"], facts["mse"][0] <= 900
    ({'kind': 'mse', 'value': 900}, True)
    """
    with opened(source) as (stream, name):
        start = stream.tell()
        file = File(stream, name)
        statistics, header, d = file.statistics(), file.header, file.description
        size = stream.seek(0, 2) - start
    samples = d.bands * d.rows * d.cols
    mse, variance = (np.array(statistics[key], float) for key in ("mse", "variance"))
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = 10 * np.log10(variance / mse)
    return {
        "file": name,
        "bytes": size,
        "bits_per_sample": round(8 * size / samples, 4),
        "ratio": round(samples * np.dtype(d.dtype).itemsize / size, 2),
        **{key: value for key, value in d.to_dict().items() if key != "metadata"},
        **{key: header[key] for key in _HEADER if key in header},
        **statistics,
        "snr": [round(float(value), 2) if np.isfinite(value) else None for value in snr],
        **({"embedded_model": file.embedded} if file.embedded else {}),
        "metadata": d.metadata,
    }


@checked
def verify(
    source: PathLike | BinaryIO,
    against: PathLike | None = None,
    *,
    model: ModelLike | None = None,
    device: str | None = None,
    threads: int | None = None,
    geometry: str | None = None,
    on_problem: Callable[[str], None] | None = None,
    on_damage: Callable[[LostPart], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Decode an .isoq file and check its records.

    Parameters
    ----------
    source : path or file object
        As for `open`.
    against : path, optional
        The original image. With it every recorded error is measured again. Without it the tiles
        are compared with the checksums and the summary.
    model, device, threads
        As for `open`.
    geometry : str, optional
        Layout of a raw original, as for `compress_file`.
    on_problem : callable, optional
        Called with each thing that is not as recorded. By default GuaranteeError is raised if
        there is any.
    on_damage : callable, optional
        Called with each part that is lost. By default CorruptFileError is raised.
    progress : callable, optional
        Called with the samples done so far and the samples of the image.

    Returns
    -------
    dict
        The output of ``isoq verify --json``: ``file``, ``against``, ``problems`` and ``lost``. Both
        lists are empty if all is true. ``remark`` tells if errors may have added up, because the
        original had been decoded from lossy data itself.

    Raises
    ------
    GuaranteeError
        A recorded error is not true, or a block does not keep its target.
    CorruptFileError
        The file is damaged, or is not an .isoq file.
    InputError
        A file cannot be read, or the image to compare with has another size or type.

    Examples
    --------
    >>> import isoq
    >>> _ = isoq.compress_file("scene.tif", "scene.isoq", mse=900, overwrite=True)
    >>> isoq.verify("scene.isoq", against="scene.tif")["problems"]
    []
    """
    lost: list[LostPart] = []

    def lose(part: LostPart) -> None:
        lost.append(part)
        if on_damage is not None:
            on_damage(part)

    count = options_of(threads=threads).threads
    with opened(source) as (stream, name):
        file = File(stream, name, None if on_damage is None else lose)
        network = file.model(model)
        network = network if device is None else network.on(device)
        d = file.description
        counted = _counter(progress, d.bands * d.rows * d.cols)
        if against is None:
            problems = verify_summary(file, network, count, counted)
        else:
            mask = d.metadata.get("mask_from", "auto")
            with open_source(os.fspath(against), geometry, mask=mask) as image:
                problems = verify_against(file, image, network, count, counted)
        line = None if lost or problems else remark(file.header, file.statistics())
    if on_problem is not None:
        for problem in problems:
            on_problem(problem)
    elif problems:
        more = f" (and {len(problems) - 1} problems more)" if len(problems) > 1 else ""
        raise GuaranteeError(f"{name}: {problems[0]}{more}; do not rely on the recorded error")
    return {
        "file": name,
        "against": None if against is None else str(against),
        "problems": problems,
        "lost": [part.to_dict() for part in lost],
        **({} if line is None else {"remark": line}),
    }


@checked
def estimate(
    image: Any,
    targets: Target | Iterable[Target],
    *,
    nodata: NoData = None,
    mask: np.ndarray | str | None = None,
    band_axis: int | None = None,
    joint: str | None = None,
    lossless_bands: str | int | Sequence[int] = "auto",
    block: int = 64,
    tile: int | None = None,
    predictor: str = "isoq",
    geometry: str | None = None,
    model: ModelLike = DEFAULT_MODEL,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[Estimate]:
    """Estimate size and error at a list of targets, without writing a file.

    At most 8 tiles, evenly spread over the image, are coded in memory, in a single pass.

    Parameters
    ----------
    image : path or array_like or xarray.DataArray
        An image file, or an array as `compress` takes it.
    targets : Target or iterable of Target
        The targets to try, of any kind except "bitrate".
    nodata, mask, band_axis
        Of an array, as for `compress`; `mask` of a file, as for `compress_file`.
    joint, lossless_bands, block, tile, predictor, model, device, threads
        As for `compress`.
    geometry : str, optional
        Layout of a raw file, as for `compress_file`.
    progress : callable, optional
        Called with the samples coded so far and the samples to be coded for all targets.

    Returns
    -------
    list of Estimate
        One per target: ``bits_per_sample``, ``bytes``, ``mse`` per band (squared digital numbers)
        and ``median`` (of block error / target).

    Raises
    ------
    InputError
        A target cannot be tried, or the image cannot be read.

    Examples
    --------
    >>> import isoq
    >>> coarse, fine = isoq.estimate("scene.tif", [isoq.Target("snr", 25), isoq.Target("snr", 35)])
    >>> coarse.bytes < fine.bytes
    True
    """
    wanted = listed(targets)
    for target in wanted:
        if not isinstance(target, Target) or target.kind == "bitrate":
            raise InputError(f"{argument('targets', target)}: must be a Target, and no bitrate")
    options = options_of(
        block=block,
        tile=tile,
        predictor=predictor,
        single_pass=True,
        joint=joint,
        threads=threads,
    )
    with _readable(image, nodata, mask, band_axis, geometry) as source:
        exact = find_lossless_bands(lossless_bands, source).bands
        chosen, own = model_of(model, device), replace(options, lossless_bands=exact)
        return estimate_source(source, wanted, chosen, own, progress or (lambda *_: None))


@checked
def advise(
    image: Any,
    *,
    nodata: NoData = None,
    mask: np.ndarray | str | None = None,
    band_axis: int | None = None,
    joint: str | None = None,
    lossless_bands: str | int | Sequence[int] = "auto",
    block: int = 64,
    tile: int | None = None,
    predictor: str = "isoq",
    geometry: str | None = None,
    model: ModelLike = DEFAULT_MODEL,
    device: str | None = None,
    threads: int | None = None,
) -> Advice:
    """Estimate the noise of an image, and show targets that are a share of it.

    The noise of a band comes from the high frequencies of its most homogeneous blocks, in at most
    16 windows. Sizes are estimated as `estimate` does it.

    Parameters
    ----------
    image : path or array_like or xarray.DataArray
        An image file, or an array as `compress` takes it.
    nodata, mask, band_axis
        Of an array, as for `compress`; `mask` of a file, as for `compress_file`.
    joint, lossless_bands, block, tile, predictor, model, device, threads
        As for `compress`.
    geometry : str, optional
        Layout of a raw file, as for `compress_file`.

    Returns
    -------
    Advice
        ``noise`` has the RMSE of the noise of each band in digital numbers, and remarks if the
        estimate should not be trusted. ``choices`` has targets with an MSE of 0.1, 1 and 4 times
        the variance of the noise, and the estimated size of the file at each.

    Raises
    ------
    InputError
        The image cannot be read.

    Examples
    --------
    >>> import isoq
    >>> advice = isoq.advise("scene.tif")
    >>> like_the_noise = advice.choices[1]
    >>> data = isoq.compress_file("scene.tif", "advised.isoq", rmse=like_the_noise.target.value)
    """
    options = options_of(
        block=block,
        tile=tile,
        predictor=predictor,
        single_pass=True,
        joint=joint,
        threads=threads,
    )
    with _readable(image, nodata, mask, band_axis, geometry) as source:
        exact = find_lossless_bands(lossless_bands, source).bands
        return advise_source(
            source, model_of(model, device), replace(options, lossless_bands=exact)
        )


@contextmanager
def _readable(
    image: Any,
    nodata: NoData,
    mask: np.ndarray | str | None,
    band_axis: int | None,
    geometry: str | None,
) -> Iterator[Readable]:
    """Yield an image file or an array as a source. Errors inside name the file."""
    if not isinstance(image, str | os.PathLike):
        yield image_source(image, nodata, mask, band_axis)
        return
    opening = open_source(image, geometry, mask=mask if isinstance(mask, str) else "auto")
    with opening as source, about(str(image)):
        yield source
