"""Images of types that the codec lacks are coded as another type, and come back as their own."""

import numpy as np
import pytest
import rasterio
from cases import modest, terrain
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from images import make, one_line, whole

import isoq
from isoq.cli import main
from isoq.errors import CorruptFileError, UnsupportedImageError
from isoq.raster.description import Description
from isoq.raster.source import open_source
from isoq.samples import CODED_AS, from_coded, holds, to_coded

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
# Values that fit the type that is coded, and nodata, which need not.
WITHIN = {
    "int8": (-128, 127),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**31) + 1, 2**31 - 1),
    "uint64": (0, 2**31 - 2),
}
NODATA = {
    "int8": -128,
    "uint32": 2**32 - 1,
    "int64": -(2**63),
    "uint64": 2**64 - 1,
    "float64": -1.7976931348623157e308,
}


@modest(60)
@given(st.data())
def test_anything_that_fits_comes_back(data):
    dtype = data.draw(st.sampled_from(list(CODED_AS)))
    if dtype == "float64":
        elements = st.just(np.nan) | st.floats(-(2.0**120), 2.0**120, width=32)
    else:
        elements = st.integers(*WITHIN[dtype])
    samples = data.draw(arrays.arrays(dtype, (1, 3, 4), elements=elements))
    nodata = data.draw(st.sampled_from([None, NODATA[dtype]]))
    if nodata is not None:
        samples[0, 0] = nodata
    coded = to_coded(samples, (nodata,))
    assert coded.dtype == CODED_AS[dtype]
    back = from_coded(coded, dtype, (nodata,))
    assert back.dtype == dtype
    assert np.array_equal(back, samples, equal_nan=dtype == "float64")


@pytest.mark.parametrize(
    ("dtype", "value"), [("int64", 2**31), ("uint64", 2**40), ("float64", 0.1)]
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, dtype, value):
    path = make(tmp_path / "a.tif", np.full((1, 20, 20), value, dtype))
    with open_source(path) as source, one_line(UnsupportedImageError, "a.tif", dtype, str(value)):
        source.read(0, 0, 20, 20)
    assert main(["compress", str(path), str(tmp_path / "a.isoq"), "--lossless"]) == 2
    assert not (tmp_path / "a.isoq").exists()


@pytest.mark.parametrize("dtype", list(CODED_AS))
@pytest.mark.parametrize("target", [("--lossless",), ("--max-error", "3")])
def test_images_come_back_in_their_type(tmp_path, dtype, target):
    pixels = terrain(2, 70, 80, "int16").astype(dtype)
    if dtype == "uint32":
        pixels += 3_000_000_000
    pixels[:, :20, :20] = NODATA[dtype]
    path = make(tmp_path / "a.tif", pixels)
    bands = "".join(
        f'<PAMRasterBand band="{band}"><NoDataValue>{NODATA[dtype]}</NoDataValue></PAMRasterBand>'
        for band in (1, 2)
    )
    (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")
    assert main(["compress", str(path), str(tmp_path / "a.isoq"), *target]) == 0
    assert main(["decompress", str(tmp_path / "a.isoq"), str(tmp_path / "b.tif")]) == 0
    with rasterio.open(tmp_path / "b.tif") as back:
        assert back.dtypes == (dtype,) * 2
        decoded = back.read()
    description = whole(tmp_path / "b.tif")[0]
    assert description == whole(path)[0]
    assert description.image_nodata == (NODATA[dtype],) * 2
    assert (decoded[:, :20, :20] == NODATA[dtype]).all()
    difference = decoded[:, 20:].astype(float) - pixels[:, 20:]
    assert np.abs(difference).max() <= (0 if len(target) == 1 else 3)
    with isoq.open(tmp_path / "a.isoq") as file:
        assert file.dtypes == (dtype,) * 2
        assert file.nodata == NODATA[dtype]
        assert np.array_equal(file.read(), decoded)
        assert np.array_equal(file.read(2, window=((30, 50), (0, 9))), decoded[1, 30:50, :9])


def test_parts_of_such_images_are_put_together_again(tmp_path):
    pixels = terrain(2, 70, 80, "int16").astype("uint32") + 3_000_000_000
    path = make(tmp_path / "a.tif", pixels, nodata=4294967295)
    assert main(["bands", "extract", str(path), str(tmp_path / "parts"), "--group", "1"]) == 0
    assert main(["bands", "merge", str(tmp_path / "parts/*"), str(tmp_path / "b.tif")]) == 0
    with rasterio.open(tmp_path / "b.tif") as back:
        assert np.array_equal(back.read(), pixels)
        assert back.nodata == 4294967295


def test_raw_files_have_none_of_these_types(tmp_path):
    path = make(tmp_path / "a.tif", np.zeros((1, 20, 20), "uint32"))
    assert main(["compress", str(path), str(tmp_path / "a.isoq"), "--lossless"]) == 0
    assert main(["decompress", str(tmp_path / "a.isoq"), str(tmp_path / "b.raw")]) == 2


@pytest.mark.parametrize(
    "metadata", [{"source_dtype": "uint32"}, {"source_dtype": "x"}, {"source_nodata": ["x"]}]
)
def test_impossible_types_are_damage(metadata):
    data = Description(1, 2, 3, "float32", (None,)).to_dict()
    with pytest.raises(CorruptFileError):
        Description.from_dict(data | {"metadata": metadata})


def test_floats_are_rounded_before_they_are_compared():
    assert holds(np.dtype("float32"), -3.4028235e38)
    assert holds(np.dtype("float32"), 0.1)
    assert not holds(np.dtype("float32"), -1.7e308)
    assert not holds(np.dtype("float32"), 1e39)
    assert holds(np.dtype("float32"), np.inf)


def test_what_a_mask_excludes_is_0_in_the_type_of_the_image():
    """uint32 is coded less an offset, so that the coded 0 is another value."""
    samples, mask = terrain(1, 70, 80, "int16").astype("uint32"), np.ones((70, 80), bool)
    mask[10:30] = False
    found = isoq.decompress(isoq.compress(samples, mse=4, mask=mask))
    assert not found[:, 10:30].any()
    assert np.abs(found - samples.astype(float))[:, 30:].max() < 20


@pytest.mark.parametrize("dtype", ["int8", "uint32"])
@pytest.mark.parametrize("nodata", ["0.5", "nan", "-1e300"])
def test_nodata_that_samples_cannot_have_masks_nothing(tmp_path, dtype, nodata):
    pixels = terrain(1, 40, 50, "uint8").astype(dtype)
    pixels[:, :9] = 0
    path = make(tmp_path / "a.tif", pixels)
    item = f'<PAMRasterBand band="1"><NoDataValue>{nodata}</NoDataValue></PAMRasterBand>'
    (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset>{item}</PAMDataset>")
    summary = isoq.compress_file(path, tmp_path / "a.isoq", max_error=1)
    assert summary["pixels"] == [2000]
    isoq.decompress_file(tmp_path / "a.isoq", tmp_path / "b.tif")
    assert whole(tmp_path / "b.tif")[0] == whole(path)[0]
