"""Virtual rasters: GDAL, with its own tools and in rasterio, gets its pixels from isoq."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cases import DATA, terrain
from images import compressed_with_alpha, make, one_line, samples
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.warp import transform_bounds

import isoq
from isoq.cli import main
from isoq.codec.reader import File
from isoq.ecosystem.vrt import SETTING, write_vrt

SOURCE = str(Path(isoq.__file__).parent.parent)
PROBE = """<VRTDataset rasterXSize="1" rasterYSize="1">
<VRTRasterBand dataType="Byte" band="1" subClass="VRTDerivedRasterBand">
<PixelFunctionType>probe</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>
<PixelFunctionCode>
import isoq.ecosystem.vrt
def probe(in_ar, out_ar, *args, **kwargs):
    out_ar[:] = 1
</PixelFunctionCode></VRTRasterBand></VRTDataset>"""


@pytest.fixture(autouse=True)
def setting(monkeypatch):
    for name, value in SETTING.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([SOURCE, sysconfig.get_path("purelib")]))


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A file of three bands with metadata, and the VRT of it."""
    folder = tmp_path_factory.mktemp("vrt")

    def edit(dataset):
        dataset.descriptions = ("red", "green & <blue>", None)
        dataset.scales, dataset.offsets = (1e-4, 1e-4, 2.0), (-0.1, -0.1, 5.0)
        dataset.units = ("1", "1", "K")
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.nir]
        dataset.update_tags(SATELLITE="a & <b>")

    pixels = terrain(3, 300, 260, "uint16")
    pixels[:, :40, :50] = 0
    made = make(
        *(folder / "a.tif", pixels, edit),
        crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 52e5),
        nodata=0,
    )
    with pytest.warns(isoq.IsoqWarning, match="by nodata"):
        isoq.compress_file(made, folder / "a b.isoq", rmse=4, tile=128)
    write_vrt(folder / "a b.isoq", folder / "a.vrt")
    return folder / "a b.isoq", folder / "a.vrt"


@pytest.fixture
def gdal(tmp_path):
    """A function that runs a tool of GDAL and returns what it prints."""
    if not shutil.which("gdal_translate"):
        pytest.skip("GDAL's own tools are not installed")
    probe = tmp_path / "probe.vrt"
    probe.write_text(PROBE)
    tried = subprocess.run(
        ["gdal_translate", "-q", probe, tmp_path / "probe.tif"],
        env=os.environ | {"GDAL_VRT_ENABLE_PYTHON": "YES"},
        capture_output=True,
        text=True,
    )
    if tried.returncode:
        pytest.skip(f"the Python that GDAL finds cannot import isoq: {tried.stderr.strip()}")

    def run(*command: object) -> str:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def rio(*command: object) -> str:
    script = "import sys; from rasterio.rio.main import main_group; main_group(sys.argv[1:])"
    words = [sys.executable, "-c", script, *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_vrt_does_not_replace_the_file_that_it_shows(scene, tmp_path):
    file = Path(shutil.copy(scene[0], tmp_path / "a.isoq"))
    with one_line(isoq.InputError, "is the source itself"):
        write_vrt(file, file, overwrite=True)
    assert file.read_bytes() == scene[0].read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_not_utf_8_are_refused(scene, tmp_path):
    folder = tmp_path / os.fsdecode(b"\xe9")
    folder.mkdir()
    file = Path(shutil.copy(scene[0], folder))
    for source, path in ((file, tmp_path / "a.vrt"), (scene[0], folder / "a.vrt")):
        with one_line(isoq.InputError, "the name is not UTF-8"):
            write_vrt(source, path)
        assert not path.exists()


def test_rasterio_reads_the_pixels_and_the_metadata(scene):
    file, vrt = scene
    with isoq.open(file) as src, rasterio.open(vrt) as found:
        for name in ("crs", "transform", "shape", "dtypes", "nodatavals", "descriptions"):
            assert getattr(found, name) == getattr(src, name)
        for name in ("scales", "offsets", "units", "colorinterp"):
            assert getattr(found, name) == getattr(src, name)
        assert found.tags()["SATELLITE"] == "a & <b>"
        assert found.overviews(2) == pytest.approx(src.overviews(2), abs=1)  # of rounded sizes
        assert (found.read() == src.read()).all()
        window = ((10, 200), (33, 150))
        assert (found.read([3, 1], window=window) == src.read([3, 1], window=window)).all()
        shape = (30, 26)
        assert (found.read(2, out_shape=shape) == src.read(2, out_shape=shape)).all()
        assert (found.read(masked=True).mask == src.read(masked=True).mask).all()


def test_a_reduced_read_decodes_the_reduced_image(scene, monkeypatch):
    asked = []
    real = File.at_level

    def at_level(self, level):
        asked.append(level)
        return real(self, level)

    monkeypatch.setattr(File, "at_level", at_level)
    with rasterio.open(scene[1]) as found:
        found.read(out_shape=(3, 37, 32))
    assert set(asked) == {3}


@pytest.mark.parametrize("sides", [(256, 320), (250, 331)])
@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_reduced_images_are_where_gdal_takes_them_to_be(tmp_path, sides, factor):
    """GDAL cuts the sides into equal pixels. A plane has its values at their centres."""
    pixels = (2000 + 9 * np.arange(sides[0])[:, None] + 4 * np.arange(sides[1])).astype("uint16")
    (tmp_path / "a.isoq").write_bytes(isoq.compress(pixels, max_error=1))
    write_vrt(tmp_path / "a.isoq", tmp_path / "a.vrt")
    small = [-(-n // factor) for n in sides]
    at = [(np.arange(k) + 0.5) * n / k - 0.5 for n, k in zip(sides, small, strict=True)]
    expected = 2000 + 9 * at[0][:, None] + 4 * at[1]
    level = {2: 0, 4: 1, 8: 2, 16: 3}[factor]
    with rasterio.open(tmp_path / "a.vrt", overview_level=level) as found:
        assert found.shape == tuple(small)
        inside = (slice(1, -1), slice(1, -1))  # pixels at the border have no other ones outside
        assert np.abs(found.read(1) - expected)[inside].max() < 2 + factor / 4
        window = ((3, 11), (2, 13))
        assert np.array_equal(found.read(1, window=window), found.read(1)[3:11, 2:13])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64", "uint32"])
def test_samples_of_every_type(tmp_path, dtype):
    pixels = terrain(2, 50, 60, "float32").astype(dtype)
    (tmp_path / "a.isoq").write_bytes(isoq.compress(pixels, lossless=True))
    write_vrt(tmp_path / "a.isoq", tmp_path / "a.vrt")
    with rasterio.open(tmp_path / "a.vrt") as found:
        assert found.dtypes == (dtype, dtype)
        assert (found.read() == pixels).all()


def test_the_mask_of_the_image_is_kept(tmp_path):
    def edit(dataset):
        dataset.write_mask(np.arange(60) > 20 + np.zeros((50, 1)))

    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = make(tmp_path / "a.tif", terrain(1, 50, 60, "uint16"), edit, crs="EPSG:3857")
    with pytest.warns(isoq.IsoqWarning, match="beside the bands"):
        isoq.compress_file(path, tmp_path / "a.isoq", mse=9)
    write_vrt(tmp_path / "a.isoq", tmp_path / "a.vrt")
    with isoq.open(tmp_path / "a.isoq") as src, rasterio.open(tmp_path / "a.vrt") as found:
        assert 0 in src.dataset_mask()
        assert (found.dataset_mask() == src.dataset_mask()).all()


def test_control_points_palettes_and_tags_of_bands_are_kept(tmp_path):
    points = [GroundControlPoint(0, 0, 10, 50), GroundControlPoint(0, 50, 11, 50)]
    points.append(GroundControlPoint(40, 0, 10, 49))

    def edit(dataset):
        dataset.gcps = points, "EPSG:4326"
        dataset.write_colormap(1, {0: (1, 2, 3, 255), 4: (9, 8, 7, 255)})
        dataset.update_tags(2, SENSOR="b")

    path = make(tmp_path / "a.tif", samples(2, 40, 50, "uint8") % 5, edit)
    isoq.compress_file(path, tmp_path / "a.isoq", lossless=True)
    write_vrt(tmp_path / "a.isoq", tmp_path / "a.vrt")
    with rasterio.open(tmp_path / "a.vrt") as found:
        assert [(p.row, p.col, p.x, p.y) for p in found.gcps[0]] == [
            (p.row, p.col, p.x, p.y) for p in points
        ]
        assert found.colormap(1)[4] == (9, 8, 7, 255)
        assert found.tags(2) == {"SENSOR": "b"}


def test_the_mask_is_that_beside_the_bands_alone(tmp_path):
    """A band's own NaN and nodata hide none of the others."""
    pixels = samples(2, 40, 50, "float32")
    pixels[0, 5, 6] = np.nan
    mask = np.ones((40, 50), bool)
    mask[:3] = False
    (tmp_path / "a.isoq").write_bytes(isoq.compress(pixels, rmse=1, mask=mask))
    write_vrt(tmp_path / "a.isoq", tmp_path / "a.vrt")
    with isoq.open(tmp_path / "a.isoq") as src, rasterio.open(tmp_path / "a.vrt") as found:
        assert np.array_equal(found.dataset_mask(), np.where(mask, 255, 0))
        for shape in ((40, 50), (20, 25), (10, 12)):
            shapes = {"masked": True, "out_shape": shape}
            assert (found.read(2, **shapes).mask == src.read(2, **shapes).mask).all()


def test_rows_of_an_alpha_band_are_decoded_together(tmp_path, monkeypatch):
    """GDAL makes a mask of one of 16 bit row by row."""
    file = compressed_with_alpha(tmp_path, samples(2, 200, 150, "uint16"))
    write_vrt(file, tmp_path / "a.vrt")
    decoded = []
    real = File.at_level
    monkeypatch.setattr(File, "at_level", lambda *a: decoded.append(a) or real(*a))
    with rasterio.open(tmp_path / "a.vrt") as found:
        assert np.ma.getmaskarray(found.read(1, masked=True))[:, 7].sum() == 9
    assert len(decoded) < 10


def test_narrow_images_are_reduced_only_as_far_as_their_overviews(tmp_path):
    pixels = np.tile((1000 * np.arange(15)).astype("uint16"), (129, 1))
    (tmp_path / "a.isoq").write_bytes(isoq.compress(pixels, max_error=1))
    write_vrt(tmp_path / "a.isoq", tmp_path / "a.vrt")
    with isoq.open(tmp_path / "a.isoq") as src, rasterio.open(tmp_path / "a.vrt") as found:
        for image in (src, found):
            assert int(image.read(1, out_shape=(8, 1))[3, 0]) == pytest.approx(7000, abs=300)


def test_many_bands_have_no_overviews_but_are_read_reduced(tmp_path):
    pixels = samples(20, 90, 80, "uint16")
    (tmp_path / "a.isoq").write_bytes(isoq.compress(pixels, rmse=50))
    write_vrt(tmp_path / "a.isoq", tmp_path / "a.vrt")
    shape = (20, 9, 8)
    with isoq.open(tmp_path / "a.isoq") as src, rasterio.open(tmp_path / "a.vrt") as found:
        assert found.overviews(1) == []
        assert (found.read(out_shape=shape) == src.read(out_shape=shape)).all()


def test_a_file_that_is_replaced_is_read_anew(tmp_path):
    file, vrt = tmp_path / "a.isoq", tmp_path / "a.vrt"
    for value in (3, 9):
        data = isoq.compress(np.full((1, 20, 30 + value), value, "uint8"), lossless=True)
        file.write_bytes(data)
        write_vrt(file, vrt, overwrite=True)
        with rasterio.open(vrt) as found:
            assert (found.read() == value).all()


def test_the_command(capsys, tmp_path):
    file, vrt = tmp_path / "a.isoq", tmp_path / "a.vrt"
    isoq.compress_file(DATA / "sentinel2.tif", file, mse=100)
    assert main(["vrt", str(file), str(vrt)]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1
    assert all(f"{name}={value}" in out for name, value in SETTING.items())
    before = vrt.read_bytes()
    assert main(["vrt", str(file), str(vrt)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert vrt.read_bytes() == before
    assert main(["vrt", str(file), str(vrt), "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["environment"] == SETTING
    assert main(["vrt", str(DATA / "sentinel2.tif"), str(tmp_path / "b.vrt")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "b.vrt").exists()


def test_rio_info_and_clip(scene, tmp_path):
    pytest.importorskip("click")
    file, vrt = scene
    assert json.loads(rio("info", vrt))["nodata"] == 0
    bounds = (500100, 5198000, 501000, 5199000)
    area = " ".join(map(str, bounds))
    rio("clip", vrt, tmp_path / "c.tif", "--bounds", area, "-f", "GTiff")
    with isoq.open(file) as src, rasterio.open(tmp_path / "c.tif") as found:
        assert found.bounds == bounds
        assert (found.read() == src.read(window=src.window(*bounds))).all()


def test_gdalinfo(scene, gdal):
    found = json.loads(gdal("gdalinfo", "-json", scene[1]))
    assert found["size"] == [260, 300]
    assert [len(band["overviews"]) for band in found["bands"]] == [4, 4, 4]
    assert found["bands"][2]["scale"] == 2
    assert found["bands"][1]["description"] == "green & <blue>"


def test_gdal_translate(scene, gdal, tmp_path):
    file, vrt = scene
    gdal("gdal_translate", "-q", "-srcwin", 30, 20, 100, 150, vrt, tmp_path / "w.tif")
    gdal("gdal_translate", "-q", "-outsize", "5%", "5%", vrt, tmp_path / "s.tif")
    with isoq.open(file) as src:
        window = ((20, 170), (30, 130))
        assert (rasterio.open(tmp_path / "w.tif").read() == src.read(window=window)).all()
        assert (rasterio.open(tmp_path / "s.tif").read() == src.read(out_shape=(15, 13))).all()


@pytest.mark.parametrize("resolution", [10, 100])
def test_gdalwarp(scene, gdal, tmp_path, resolution):
    file, vrt = scene
    isoq.decompress_file(file, tmp_path / "same.tif")
    made = []
    for name, source in (("a", vrt), ("b", tmp_path / "same.tif")):
        out = tmp_path / f"{name}.tif"
        gdal("gdalwarp", "-q", "-t_srs", "EPSG:3857", "-tr", resolution, resolution, source, out)
        made.append(rasterio.open(out))
    first, second = made
    assert first.shape == second.shape
    assert first.bounds == second.bounds
    assert transform_bounds(first.crs, "EPSG:32633", *first.bounds)[0] == pytest.approx(
        5e5, abs=200
    )
    a, b = first.read(masked=True), second.read(masked=True)
    if resolution == 10:  # the same pixels; else those of an overview
        assert (a.data == b.data).all()
    both = ~a.mask & ~b.mask
    assert both.mean() > 0.5
    assert np.corrcoef(a.data[both], b.data[both])[0, 1] > 0.9


def test_without_its_setting_gdal_refuses(scene, gdal, tmp_path, monkeypatch):
    monkeypatch.delenv("GDAL_VRT_PYTHON_TRUSTED_MODULES")
    command = ["gdal_translate", "-q", str(scene[1]), str(tmp_path / "a.tif")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode
    assert "GDAL_VRT_ENABLE_PYTHON" in done.stderr


def test_an_image_that_is_compressed_from_a_vrt_says_that_errors_add_up(scene, tmp_path):
    with rasterio.open(scene[1]) as dataset:
        assert dataset.tags(ns="ISOQ")["decoded_with"].startswith("isoq ")
    again = tmp_path / "again.isoq"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", isoq.IsoqWarning)  # its nodata and overviews
        isoq.compress_file(scene[1], again, rmse=4)
    with isoq.open(again) as found:
        assert found.file.header["earlier"] == {}
    write_vrt(again, tmp_path / "again.vrt")  # in place of the tags of the first generation
    with rasterio.open(tmp_path / "again.vrt") as dataset, isoq.open(again) as image:
        assert "mse" not in dataset.tags(ns="ISOQ")
        assert dataset.tags(ns="ISOQ")["target"] == json.dumps(image.file.header["target"])


def test_a_vrt_of_a_lossless_file_has_no_tags_of_isoq(tmp_path):
    isoq.compress_file(
        make(tmp_path / "a.tif", terrain(1, 40, 50, "uint8")), tmp_path / "a.isoq", lossless=True
    )
    write_vrt(tmp_path / "a.isoq", tmp_path / "a.vrt")
    with rasterio.open(tmp_path / "a.vrt") as dataset:
        assert not dataset.tags(ns="ISOQ")
