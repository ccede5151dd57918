"""The metadata of an image survive: through JSON, into a GeoTIFF and back."""

import math
import warnings

import numpy as np
import pytest
import rasterio
from images import make, one_line, samples, save, through_json, whole
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from rasterio.transform import Affine

from isoq.errors import CorruptFileError
from isoq.raster.description import Description
from isoq.raster.gtiff import side_file

UTM = dict(crs="EPSG:32631", transform=Affine(10, 0, 600000, 0, -10, 4900020))
RPCS = RPC(
    **{
        f"{axis}_{part}": value
        for axis in ("height", "lat", "long", "line", "samp")
        for part, value in (("off", 12.25), ("scale", 3.5))
    },
    **{
        f"{axis}_{part}_coeff": [k / 7 for k in range(20)]
        for axis in ("line", "samp")
        for part in ("num", "den")
    },
)
CUSTOM = "+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84 +units=m +no_defs"


def setting(**attributes):
    def edit(dataset):
        for name, value in attributes.items():
            setattr(dataset, name, value)

    return edit


def tagging(dataset):
    dataset.update_tags(TIFFTAG_IMAGEDESCRIPTION="a = b", mission="S2 é")
    dataset.update_tags(2, wavelength="842", STATISTICS_MEAN="3")
    dataset.descriptions = ("red", None)
    dataset.scales, dataset.offsets, dataset.units = (0.5, 2.0), (-1.0, 0.0), ("m", "")


def spacing(dataset):
    tagging(dataset)
    dataset.update_tags(ns="ACQUISITION", sun="45.5")
    dataset.update_tags(1, ns="FILTER", width="30")


XML = '<a b="x=y"><c>é &amp; d</c></a>'


def documents(dataset):
    start, rest = XML.split("=", 1)  # rasterio writes key=value
    for band, space in ((0, "xml:XMP"), (0, "xml:SENSOR"), (2, "xml:BAND")):
        dataset.update_tags(band, ns=space, **{start: rest})


def palette(dataset):
    dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (250, 128, 7, 255)})


GCPS = [
    GroundControlPoint(row=r, col=c, x=2 + c / 8, y=45 - r / 8, z=7.0)
    for r, c in ((0, 0), (0, 8), (9, 0), (9, 8))
]
KINDS = {
    "plain": ((1, "uint8"), {}, None),
    "utm": ((1, "uint16"), UTM, None),
    "custom crs": ((1, "int32"), UTM | {"crs": CUSTOM}, None),
    "rotated": (
        (1, "uint8"),
        {"crs": "EPSG:4326", "transform": Affine(0.5, 0.1, 3, 0.2, -0.4, 44)},
        None,
    ),
    "point": ((1, "int16"), UTM, lambda dataset: dataset.update_tags(AREA_OR_POINT="Point")),
    "nodata": ((3, "int16"), {"nodata": -999}, None),
    "nodata nan": ((2, "float32"), {"nodata": math.nan}, None),
    "nodata float": ((1, "float32"), {"nodata": -3.4028234663852886e38}, None),
    "tags": ((2, "uint16"), UTM, tagging),
    "namespaces": ((2, "uint16"), UTM, spacing),
    "gcps": ((1, "uint16"), {}, setting(gcps=(GCPS, CRS.from_epsg(4326)))),
    "rpcs": ((1, "uint16"), {}, setting(rpcs=RPCS)),
    "rgb": ((3, "uint8"), {"photometric": "RGB"}, None),
    "rgb16": ((3, "uint16"), {"photometric": "RGB"}, None),
    "rgba": ((4, "uint8"), {"photometric": "RGB", "alpha": "YES"}, None),
    "three greys": ((3, "uint8"), {"photometric": "MINISBLACK"}, None),
    "grey alpha": ((2, "uint8"), {"alpha": "YES"}, None),
    "bgr nir": (
        (4, "uint16"),
        {},
        setting(colorinterp=[ColorInterp[name] for name in ("blue", "green", "red", "nir")]),
    ),
    "xml": ((2, "uint16"), UTM, documents),
    "palette": ((1, "uint8"), {}, palette),
}


@pytest.mark.parametrize("driver", [None, "COG"])
@pytest.mark.parametrize("kind", KINDS)
def test_metadata_round_trip(tmp_path, kind, driver):
    (bands, dtype), profile, edit = KINDS[kind]
    pixels = samples(bands, 9, 8, dtype)
    source = make(tmp_path / "source.tif", pixels, edit or (lambda dataset: None), **profile)
    description, read = whole(source)
    assert np.array_equal(read, pixels)
    assert through_json(description) == description
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copy = save(tmp_path / "copy.tif", through_json(description), pixels, driver=driver)
    again, read = whole(copy)
    assert np.array_equal(read, pixels)
    assert again == description
    aside = (
        ["copy.tif.aux.xml"] if (kind, driver) == ("namespaces", "COG") else []
    )  # the plain tags of its bands
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.tif", *aside, "source.tif"]
    with rasterio.open(source) as one, rasterio.open(copy) as two:
        assert one.crs == two.crs
        assert one.transform == two.transform
        assert np.array_equal(
            one.nodatavals, two.nodatavals, equal_nan=math.nan in description.nodata
        )
        assert one.colorinterp == two.colorinterp
        assert one.gcps[1] == two.gcps[1]
        assert [p.asdict() | {"id": 0} for p in one.gcps[0]] == [
            p.asdict() | {"id": 0} for p in two.gcps[0]
        ]
        assert one.rpcs == two.rpcs
        assert (one.descriptions, one.scales, one.offsets, one.units) == (
            two.descriptions,
            two.scales,
            two.offsets,
            two.units,
        )


def test_what_a_description_says(tmp_path):
    description, _ = whole(
        make(tmp_path / "a.tif", samples(2, 9, 8, "uint16"), spacing, nodata=7, **UTM)
    )
    assert description.to_dict() == {
        "bands": 2,
        "rows": 9,
        "cols": 8,
        "dtype": "uint16",
        "nodata": 7.0,
        "metadata": {
            "container": "GTiff",
            "crs": "EPSG:32631",
            "transform": [10.0, 0.0, 600000.0, 0.0, -10.0, 4900020.0],
            "tags": {
                "": {"TIFFTAG_IMAGEDESCRIPTION": "a = b", "mission": "S2 é"},
                "ACQUISITION": {"sun": "45.5"},
            },
            "band_tags": [
                {"FILTER": {"width": "30"}},
                {"": {"wavelength": "842"}},
            ],  # without the statistics, false after lossy coding
            "descriptions": ["red", None],
            "scales": [0.5, 2.0],
            "offsets": [-1.0, 0.0],
            "units": ["m", None],
        },
    }
    custom, _ = whole(
        make(tmp_path / "b.tif", samples(1, 9, 8, "uint16"), crs=CUSTOM, transform=UTM["transform"])
    )
    assert custom.metadata["crs"].startswith("PROJCRS[")


def test_documents(tmp_path):
    description, _ = whole(make(tmp_path / "a.tif", samples(2, 9, 8, "uint16"), documents))
    assert description.metadata["tags"] == {
        "xml:XMP": {"xml:XMP": XML},
        "xml:SENSOR": {"xml:SENSOR": XML},
    }
    assert description.metadata["band_tags"] == [{}, {"xml:BAND": {"xml:BAND": XML}}]
    plain = Description(1, 2, 2, "uint8", (None,), {"tags": {"xml:X": {"xml:X": "<a>1</a>"}}})
    again, _ = whole(save(tmp_path / "b.tif", plain, samples(1, 2, 2, "uint8")))
    assert again.metadata["tags"] == {
        "xml:X": {"xml:X": '<?xml version="1.0"?><a>1</a>'}
    }  # the same document


@pytest.mark.parametrize("driver", [None, "COG"])
def test_what_a_geotiff_has_no_place_for(tmp_path, driver):
    document = '{"a":{"b":[1,"<x=y> & z"]},"c":"é"}'
    tags = {"json:ISIS3": {"json:ISIS3": document}, "": {"a": "b"}}
    band_tags = [{}, {"json:BAND": {"json:BAND": document}}, {}]
    metadata = {"tags": tags, "band_tags": band_tags}
    pixels = samples(3, 20, 30, "int16")
    for nodata in ((-9999.0, None, 7.0), (5.0, 5.0, 5.0)):
        description = Description(3, 20, 30, "int16", nodata, metadata)
        again, read = whole(
            save(tmp_path / "a.tif", description, pixels, driver=driver, overwrite=True)
        )
        assert np.array_equal(read, pixels)
        assert (again.nodata, again.metadata["tags"], again.metadata["band_tags"]) == (
            nodata,
            tags,
            band_tags,
        )
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "a.tif.aux.xml"]
    plain = Description(3, 20, 30, "int16", (5.0,) * 3)
    save(tmp_path / "a.tif", plain, pixels, driver=driver, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_description_json():
    plain = Description(3, 4, 5, "uint8", (None,) * 3)
    assert plain.to_dict() == {"bands": 3, "rows": 4, "cols": 5, "dtype": "uint8"}
    mixed = Description(
        4, 4, 5, "float32", (math.nan, -math.inf, 2, None), {"tags": {"": {"a": "b"}}}
    )
    assert mixed.to_dict()["nodata"] == ["nan", "-inf", 2.0, None]
    assert through_json(mixed) == mixed
    assert Description.from_dict(plain.to_dict() | {"later": 1}) == plain


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bands", 0),
        ("bands", 10**12),
        ("rows", "4"),
        ("cols", 1.5),
        ("dtype", "int8"),
        ("nodata", [1]),
        ("nodata", "x"),
        ("metadata", 3),
    ],
)
def test_damaged_description(key, value):
    with one_line(CorruptFileError):
        Description.from_dict({"bands": 3, "rows": 4, "cols": 5, "dtype": "uint8"} | {key: value})
    with one_line(CorruptFileError):
        Description.from_dict({})


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("first", [-1e300, 0.5, math.nan, None])
@pytest.mark.parametrize("second", [-1e300, 7.0])
def test_nodata_that_samples_cannot_have_is_kept(tmp_path, dtype, first, second):
    description = Description(2, 2, 2, dtype, (first, second))
    save(tmp_path / "a.tif", description, samples(2, 2, 2, dtype))
    assert whole(tmp_path / "a.tif")[0].nodata == description.nodata


def test_metadata_that_cannot_be_put_back_costs_a_warning(tmp_path):
    pixels = samples(1, 2, 2, "uint8")
    with pytest.warns(UserWarning, match=r"a\.tif: written without the reference system \("):
        save(
            tmp_path / "a.tif",
            Description(1, 2, 2, "uint8", (None,), {"crs": "EPSG:1", "units": ["m"]}),
            pixels,
        )
    description, read = whole(tmp_path / "a.tif")
    assert np.array_equal(read, pixels)
    assert description.metadata["units"] == ["m"]


def test_a_nodata_value_beyond_the_type_is_no_warning():
    """Found by fuzzing; GDAL files do carry the largest double as nodata of float32."""
    description = Description(1, 2, 2, "float32", (-1.7976931348623157e308,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "-1.7976931348623157e+308" in side_file(description, band_tags=False)
