"""Random images by every way: the promise, what is missing, the record, and the metadata."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import rasterio
from any_image import AnyImage, images
from cases import modest
from hypothesis import given
from hypothesis import strategies as st
from images import one_line
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

import isoq
from isoq.codec.decoded_memory import DecodedMemory
from isoq.errors import InputError, IsoqWarning

xr = pytest.importorskip("xarray")
zarr = pytest.importorskip("zarr")
NOT_OURS = "ignore:Consolidated metadata is currently not part"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(NOT_OURS)]
CODED = ["uint8", "uint16", "int16", "int32", "float32"]
# What a line says about each thing that does not come back.
WORDS = {
    "crs": "reference system",
    "transform": "geotransform",
    "gcps": "ground control points",
    "nodata": "nodata",
    "descriptions": "band names",
    "units": "units",
    "scales": "scales",
    "offsets": "offsets",
    "tags": "tags",
    "colours": "colour interpretation",
    "nbits": "NBITS",
    "masks": "mask",
}


def keywords(image: AnyImage) -> dict[str, Any]:
    return {**image.target, **image.coding, "threads": 1}


def check_bytes(image: AnyImage, data: bytes) -> None:
    found = isoq.decompress(data)
    image.check(found)
    image.check_record(isoq.info(io.BytesIO(data)), found)


def check_array(image: AnyImage) -> None:
    how = {"nodata": list(image.nodata), "mask": image.mask, "band_axis": 0}
    check_bytes(image, isoq.compress(image.samples, **how, **keywords(image)))


def check_masked_array(image: AnyImage) -> None:
    """A masked array says itself what is missing; it becomes nodata where there is a value."""
    masked = np.ma.MaskedArray(image.samples, image.missing)
    how = {"nodata": list(image.nodata), "band_axis": 0, **keywords(image)}
    nodata = image.nodata
    if image.samples.dtype.kind == "f":
        nodata = tuple(np.nan if value is None else value for value in nodata)
    if None in nodata and (masked.mask != masked.mask[0]).any():
        with one_line(InputError, "masked in different places"):
            isoq.compress(masked, **how)
        return
    everywhere = None if None not in nodata else ~masked.mask[0]
    gone = image.samples.copy()
    for band, value in enumerate(nodata):
        if everywhere is None:
            gone[band][masked.mask[band]] = value
    check_bytes(
        replace(image, samples=gone, nodata=nodata, mask=everywhere), isoq.compress(masked, **how)
    )


@st.composite
def profiles(draw: Callable[..., Any]) -> dict[str, Any]:
    """What a GeoTIFF says besides its samples, nodata and mask."""
    place = draw(st.sampled_from(["nowhere", "north up", "rotated", "points", "points in no CRS"]))
    crs = draw(st.sampled_from([None, "EPSG:32631", "EPSG:4326", "+proj=laea +lat_0=10"]))
    found: dict[str, Any] = {"crs": crs}
    if place in ("north up", "rotated"):
        turn = 0.0 if place == "north up" else 0.25
        found["transform"] = rasterio.Affine(10, turn, 6e5, turn, -10, 5e6)
    elif place.startswith("points"):
        points = [
            GroundControlPoint(r, c, 6e5 + c, 5e6 - r, 7) for r, c in ((0, 0), (9, 0), (0, 9))
        ]
        found = {"gcps": (points, CRS.from_epsg(32631) if place == "points" else CRS())}
    for key in ("named", "scaled", "offset", "tagged", "coloured", "alpha"):
        found[key] = draw(st.booleans())
    found["nbits"] = draw(st.sampled_from([None, None, 12]))
    return found


def write(path: Path, image: AnyImage, profile: dict[str, Any]) -> None:
    """Write an image as a GeoTIFF, and what that cannot hold beside it."""
    bands, rows, cols = image.samples.shape
    size = {"count": bands, "height": rows, "width": cols, "dtype": image.samples.dtype}
    bits = {"nbits": profile["nbits"]} if profile["nbits"] else {}
    numbers = range(1, bands + 1)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver="GTiff", **size, **bits) as dataset,
    ):
        for key in ("crs", "transform", "gcps"):
            if profile.get(key):
                setattr(dataset, key, profile[key])
        if profile["named"]:
            dataset.descriptions = [f"band {n} é" if n % 2 else None for n in numbers]
            dataset.units = ["m" if n % 2 else "" for n in numbers]
        if profile["scaled"]:
            dataset.scales = [0.5 * n for n in numbers]
        if profile["offset"]:
            dataset.offsets = [-1.0 + n for n in numbers]
        if profile["tagged"]:
            dataset.update_tags(mission="S2 é", empty="")
            dataset.update_tags(ns="SPACE", key="a=b")
            dataset.update_tags(bands, wavelength="842")
        if profile["coloured"]:
            dataset.colorinterp = [ColorInterp.blue, *[ColorInterp.gray] * (bands - 1)]
        if profile["alpha"]:
            dataset.colorinterp = [*dataset.colorinterp[:-1], ColorInterp.alpha]
        dataset.write(image.samples)
        if image.mask is not None and not profile["alpha"]:
            dataset.write_mask(image.mask)
    texts = [
        f'<PAMRasterBand band="{n}"><NoDataValue>{value}</NoDataValue></PAMRasterBand>'
        for n, value in zip(numbers, image.nodata, strict=True)
        if value is not None
    ]
    if texts:
        beside = path.with_name(f"{path.name}.aux.xml")
        beside.write_text(f"<PAMDataset>{''.join(texts)}</PAMDataset>")


def shown(path: Path) -> dict[str, Any]:
    """What GDAL shows of a file besides its samples."""
    with rasterio.open(path) as dataset:
        spaces = [
            (band, space)
            for band in range(dataset.count + 1)
            for space in ("", "SPACE")
            if dataset.tags(band, ns=space)
        ]
        return {
            "crs": dataset.crs,
            "transform": dataset.transform,
            "gcps": ([p.asdict() | {"id": 0} for p in dataset.gcps[0]], dataset.gcps[1]),
            "nodata": [str(value) for value in dataset.nodatavals],
            "descriptions": dataset.descriptions,
            "units": [unit or None for unit in dataset.units],
            "scales": dataset.scales,
            "offsets": dataset.offsets,
            "tags": {key: dataset.tags(key[0], ns=key[1]) for key in spaces},
            "colours": dataset.colorinterp,
            "nbits": [dataset.tags(n, ns="IMAGE_STRUCTURE").get("NBITS") for n in dataset.indexes],
            "masks": dataset.mask_flag_enums,
        }


def fitting(image: AnyImage, profile: dict[str, Any]) -> tuple[AnyImage, dict[str, Any]]:
    """Return both such that a GeoTIFF can have them together."""
    samples, nodata, mask = image.samples.copy(), image.nodata, image.mask
    few = samples.dtype == np.uint16 and samples.max() <= 4095
    alpha = profile["alpha"] and samples.dtype.kind == "u" and len(samples) > 1 and mask is not None
    if alpha:
        samples[-1] = np.where(mask, 4095 if few else np.iinfo(samples.dtype).max, 0)
        nodata = (*nodata[:-1], None)
    profile = profile | {"alpha": alpha, "nbits": profile["nbits"] if few else None}
    return replace(image, samples=samples, nodata=nodata, bits=profile["nbits"]), profile


def check_file(image: AnyImage, profile: dict[str, Any]) -> None:
    image, profile = fitting(image, profile)
    with TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as lines:
        warnings.simplefilter("always", IsoqWarning)
        source, packed, back = (Path(folder, name) for name in ("a.tif", "a.isoq", "b.tif"))
        write(source, image, profile)
        record = isoq.compress_file(source, packed, **keywords(image))
        isoq.decompress_file(packed, back)
        with rasterio.open(back) as dataset:
            found = dataset.read()
            if image.mask is not None and not profile["alpha"]:
                assert np.array_equal(dataset.read_masks(1) != 0, image.mask)
        image.check(found)
        image.check_record(record, found)
        assert isoq.verify(packed, source)
        before, after = shown(source), shown(back)
        said = "\n".join(str(line.message) for line in lines)
        for key, value in before.items():
            assert value == after[key] or WORDS[key] in said, key
        check_dataset(packed, image, found, profile)


def check_dataset(
    packed: Path, image: AnyImage, found: np.ndarray, profile: dict[str, Any]
) -> None:
    """Assert that the xarray engine shows decoded samples in their unit, NaN where missing."""
    with xr.open_dataset(packed, engine="isoq") as dataset:
        data = dataset["band_data"].values
    for band, plane in enumerate(found):
        missing = image.missing[band]
        if profile["alpha"] and band == len(found) - 1:
            missing = np.zeros_like(missing)
        scale = 0.5 * (band + 1) if profile["scaled"] else 1
        offset = band if profile["offset"] else 0
        with np.errstate(over="ignore"):
            wanted = plane.astype(np.float64) * scale + offset
        assert np.isnan(data[band][missing].astype(np.float64)).all()
        assert np.allclose(data[band][~missing], wanted[~missing], rtol=1e-6, equal_nan=True)


def check_codec(image: AnyImage) -> None:
    """One chunk of a Zarr array, whose fill value is the nodata of all bands."""
    fill = 0 if image.nodata[0] is None else image.nodata[0]
    how = {key: value for key, value in keywords(image).items() if key != "threads"}
    array = zarr.create_array(
        zarr.storage.MemoryStore(),
        data=image.samples,
        chunks=image.samples.shape,
        serializer=isoq.IsoqCodec(**how),
        compressors=None,
        fill_value=fill,
    )
    replace(image, nodata=(fill,) * len(image.samples)).check(array[:])


def attributes(image: AnyImage) -> dict[str, Any]:
    fill = image.nodata[0]
    return {} if fill is None else {"_FillValue": image.samples.dtype.type(fill)}


def check_to_zarr(image: AnyImage) -> None:
    variable = xr.Variable(("band", "y", "x"), image.samples, attributes(image))
    store = zarr.storage.MemoryStore()
    how = {key: value for key, value in keywords(image).items() if key != "threads"}
    # What this process has decoded before is not to be recognized.
    with patch("isoq.ecosystem.chunks._DECODED", DecodedMemory()):
        isoq.to_zarr(xr.Dataset({"v": variable}), store, **how)
    found = xr.open_zarr(store, mask_and_scale=False)["v"]
    if image.samples.dtype.kind != "f" and image.nodata[0] is None:
        image = replace(image, nodata=(0,) * len(image.samples))  # Zarr's default
    image.check(found.values)
    number = image.valid.sum()
    error = image.squared_errors(found.values).sum() / number if number else 0
    assert np.isclose(found.attrs.get("lossy_compression_mse", 0), error, rtol=1e-5)


def check_data_array(image: AnyImage) -> None:
    array = xr.DataArray(image.samples, dims=("band", "y", "x"), attrs=attributes(image))
    check_bytes(image, isoq.compress(array.transpose("y", "x", "band"), **keywords(image)))


WAYS: dict[str, tuple[Callable[..., None], st.SearchStrategy[Any]]] = {
    "files": (lambda drawn: check_file(*drawn), st.tuples(images(odd_nodata=True), profiles())),
    "arrays": (check_array, images()),
    "masked arrays": (check_masked_array, images()),
    "data arrays": (check_data_array, images(masks=False, nodata_of_bands=False)),
    "codec": (check_codec, images(CODED, masks=False, nodata_of_bands=False)),
    "datasets": (check_to_zarr, images(CODED, masks=False, nodata_of_bands=False)),
}


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, marks=[pytest.mark.slow] * (way not in ("files", "arrays")))
        for way in WAYS
    ],
)
@modest(12)
@given(st.data())
def test_every_way_keeps_the_promise(way, data):
    check, drawn = WAYS[way]
    check(data.draw(drawn))


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@modest(150)
@given(st.data())
def test_every_way_keeps_the_promise_for_many_images(way, data):
    check, drawn = WAYS[way]
    check(data.draw(drawn))


@pytest.mark.parametrize("target", [{"mse": [4.0, 9.0]}, {"max_error": 2}, {"lossless": True}])
def test_a_broken_promise_is_noticed(target):
    samples = np.tile(np.arange(40, dtype="uint8"), (2, 40, 1))
    image = AnyImage(samples, (0, 0), None, target, {"block": 16})
    image.check(samples.copy())
    for place, wrong in (((0, 39, 39), 20), ((1, 5, 0), 1), ((1, 5, 9), 0)):
        found = samples.copy()
        found[place] = wrong
        with pytest.raises(AssertionError):
            image.check(found)
    record = {"pixels": [1560, 1560], "mse": [0.1, 0.0], "blocks": 0}
    with pytest.raises(AssertionError):
        image.check_record(record, samples)
