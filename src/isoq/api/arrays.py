"""Arrays to the bytes of an .isoq file, and back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arguments import checked
from ..codec.lossless_bands import lossless_bands as find_lossless_bands
from ..codec.writer import compress_to
from ..errors import InputError, argument
from .dataset import Dataset
from .keywords import DEFAULT_MODEL, ModelLike, PerBand, chosen_target, model_of, options_of
from .source import NoData, image_source


@checked
def compress(
    array: Any,
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
    nodata: NoData = None,
    mask: np.ndarray | None = None,
    band_axis: int | None = None,
    joint: str | None = None,
    lossless_bands: str | int | Sequence[int] = "auto",
    single_pass: bool = False,
    block: int = 64,
    tile: int | None = None,
    predictor: str = "isoq",
    model: ModelLike = DEFAULT_MODEL,
    embed_model: bool = False,
    device: str | None = None,
    threads: int | None = None,
) -> bytes:
    """Compress an array to the bytes of an .isoq file.

    Give exactly one target: ``mse``, ``rmse``, ``psnr``, ``snr``, ``max_error``, ``lossless``,
    ``quality`` or ``bitrate``. Every block of every band keeps an error target. The file records
    the error that was reached.

    Parameters
    ----------
    array : array_like or xarray.DataArray
        Image of shape (bands, rows, cols) or (rows, cols), in any byte order. Samples are integers
        of 8 to 64 bits, float32 or float64. Those of 64 bits have to fit int32 or float32 exactly
        (float64 values such as 0.1 do not). Masked samples of a NumPy masked array count as
        nodata. The dimensions of a DataArray name its axes; its nodata, reference system,
        transform, band names, units, scales and offsets are kept (the first three as rioxarray
        reads them).
    mse : float or sequence of float, optional
        Largest mean squared error of a block, in squared digital numbers. This and the other
        targets that may be a sequence take one number, or one per band.
    rmse : float or sequence of float, optional
        Square root of that, in digital numbers.
    psnr : float or sequence of float, optional
        Least ``10 log10(peak**2 / MSE)`` of a block, in dB.
    snr : float or sequence of float, optional
        Least ``10 log10(variance / MSE)`` of a block, in dB. The variance is that of the valid
        pixels of the band.
    max_error : float or sequence of float, optional
        Largest absolute error of any valid pixel, in digital numbers.
    lossless : bool
        Keep every sample bit for bit.
    quality : float, optional
        Lambda: the weight of a squared digital number against a bit per sample. No error is
        guaranteed.
    bitrate : float, optional
        Bits per sample of the whole file. No error is guaranteed.
    peak : float, optional
        Peak of ``psnr``, in digital numbers. Default: the largest value of an integer type, the
        largest magnitude of the valid pixels of a floating-point band.
    physical : bool
        ``mse``, ``rmse`` and ``max_error`` are in the unit of the bands' scales. Only a DataArray
        with a ``scale_factor`` has scales.
    nodata : float or sequence of float, optional
        Value of samples that carry no measurement: one, or one per band. They come back exactly
        and count in no error. NaN and infinities never count.
    mask : numpy.ndarray, optional
        Shape (rows, cols): 0 where no band has a measurement, else any other value, as
        ``rasterio`` has it. Samples there come back as nodata, or 0 without one; a lossless band
        keeps them.
    band_axis : int, optional
        Axis of the bands of a three-dimensional array. Default: 0, but an array of shape
        (rows, cols, n) with n up to 4 is refused until this says which it is.
    joint : str, optional
        By default every block of every band keeps the target. With ``"mean"`` only the mean of
        error / target over the bands that are coded jointly keeps it, so single bands may lie above
        it as far as others lie below. The file is a little smaller.
    lossless_bands : str or int or sequence of int
        Bands of codes and flags to be kept bit for bit: band numbers from 1, ``"4,7-9"``,
        ``"none"``, or ``"auto"`` for those whose name (such as QA_PIXEL or SCL) or values show it.
    single_pass : bool
        Code every block once at its predicted quality. Faster, but no error is guaranteed.
    block : int
        Side of a block in pixels, a multiple of 16.
    tile : int, optional
        Side of a tile in pixels, a multiple of `block`. Default: 1024, less for many bands.
    predictor : {"isoq", "paper"}
        How the quality of a block is predicted. "paper" needs a model of learned transforms;
        with others there is a warning, and "isoq" is used.
    model : str, path or Model
        Name of a shipped model, folder of another one, or the result of `load_model`.
    embed_model : bool
        Put the parts of the model that decoding needs into the file.
    device : {"cpu", "cuda"}, optional
        Where the transforms run. Default: the CPU, or where a loaded model is.
    threads : int, optional
        Default: one per core.

    Returns
    -------
    bytes
        The file. Write it as it is, or give it to `decompress`.

    Raises
    ------
    InputError
        There is not exactly one target, or an argument cannot be used.
    UnsupportedImageError
        The sample type is not supported, or samples of 64 bits do not fit.
    ModelMismatchError
        There is no such model.

    Examples
    --------
    >>> import isoq, numpy as np
    >>> rows, cols = np.mgrid[:64, :64]
    >>> image = (1000 + 9 * rows + 100 * np.sin(cols / 9)).astype("uint16")
    >>> data = isoq.compress(image, rmse=2)
    >>> back = isoq.decompress(data)[0]
    >>> bool(np.sqrt(np.mean((back - image.astype(float)) ** 2)) <= 2)
    True
    >>> len(data) < image.nbytes / 8
    True
    """
    targets = dict(mse=mse, rmse=rmse, psnr=psnr, snr=snr, max_error=max_error, lossless=lossless)
    target = chosen_target(targets | dict(quality=quality, bitrate=bitrate), peak, physical)
    source = image_source(array, nodata, mask, band_axis)
    options = options_of(
        block=block,
        tile=tile,
        predictor=predictor,
        single_pass=single_pass,
        joint=joint,
        threads=threads,
        lossless_bands=find_lossless_bands(lossless_bands, source).bands,
        embed_model=embed_model,
    )
    out = io.BytesIO()
    compress_to(out, source, target, model_of(model, device), options)
    return out.getvalue()


@checked
def decompress(
    data: bytes | bytearray | memoryview,
    model: ModelLike | None = None,
    *,
    masked: bool = False,
    device: str | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Decode the bytes of an .isoq file.

    Parameters
    ----------
    data : bytes-like
        The whole file. `open` reads files and parts of them.
    model : str, path or Model, optional
        The model that the file needs, if it is neither a shipped one nor in the file.
    masked : bool
        Return a masked array, as `Dataset.read` does.
    device : {"cpu", "cuda"}, optional
        Where the transforms run. Default: the CPU, or where a loaded model is.
    threads : int, optional
        Default: one per core.

    Returns
    -------
    numpy.ndarray
        Shape (bands, rows, cols), sample type of the image, native byte order.

    Raises
    ------
    CorruptFileError
        The bytes are damaged, or are not an .isoq file.
    ModelMismatchError
        The model is missing, or not the one that the file needs.

    Examples
    --------
    >>> import isoq, numpy as np
    >>> image = np.arange(600, dtype="int16").reshape(2, 15, 20)
    >>> isoq.decompress(isoq.compress(image, max_error=3)).shape
    (2, 15, 20)
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InputError(
            f"{argument('data', data)}: must be the bytes of a file; isoq.open reads paths and "
            "streams"
        )
    stream = io.BytesIO(data)
    with Dataset(stream, "data", model, device=device, threads=threads) as dataset:
        return dataset.read(masked=masked)
