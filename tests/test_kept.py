"""Everything about an image comes back, or a line names what does not."""

import warnings
import zipfile

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from cases import terrain
from images import make, one_line, samples, save, whole
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

import isoq
from isoq.cli import main
from isoq.errors import CorruptFileError, InputError, IsoqWarning
from isoq.names import ImageName
from isoq.raster.description import Description
from isoq.raster.source import open_source

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
TABLE = """<GDALRasterAttributeTable tableType="thematic"><FieldDefn index="0"><Name>Value</Name>
<Type>0</Type><Usage>5</Usage></FieldDefn><FieldDefn index="1"><Name>Class</Name><Type>2</Type>
<Usage>2</Usage></FieldDefn><Row index="0"><F>1</F><F>for &amp; est</F></Row>
</GDALRasterAttributeTable>"""


def round_trip(path, *options, capsys=None):
    """Compress, decompress and return the path of the image that comes back."""
    packed, back = path.with_suffix(".isoq"), path.with_name(f"back_{path.stem}.tif")
    target = [] if "--mse" in options or "--max-error" in options else ["--lossless"]
    assert main(["compress", str(path), str(packed), *target, *options]) == 0
    assert main(["decompress", str(packed), str(back)]) == 0
    return back


def notes(path, mask="auto") -> str:
    with open_source(path, mask=mask) as source:
        d = source.description
        source.read(0, 0, d.rows, d.cols)
        source.mask(0, 0, d.rows, d.cols)
        return "\n".join(source.notes())


def latin_1(path, edit):
    """A file in which each "~" of its texts is one byte that is no UTF-8."""
    make(path, samples(1, 20, 30, "uint16"), edit)
    content = path.read_bytes()
    assert content.count(b"Ume~") == 1
    path.write_bytes(content.replace(b"Ume~", b"Ume\xe5"))
    return path


@pytest.mark.parametrize(
    "edit",
    [
        lambda dataset: dataset.update_tags(PLACE="Ume~"),
        lambda dataset: dataset.update_tags(1, PLACE="Ume~"),
        lambda dataset: dataset.set_band_description(1, "Ume~"),
        lambda dataset: setattr(dataset, "units", ("Ume~",)),
        lambda dataset: dataset.update_tags(TIFFTAG_ARTIST="Ume~"),
    ],
    ids=["tag", "tag of a band", "name of a band", "unit", "tag of TIFF"],
)
def test_texts_that_are_not_utf_8_come_back_in_utf_8(tmp_path, edit):
    path = latin_1(tmp_path / "a.tif", edit)
    assert "Umeå" in str(whole(path)[0].metadata)
    before, after = whole(path)[0].metadata, whole(round_trip(path))[0].metadata
    assert after == {key: value for key, value in before.items() if key != "not_kept"}
    assert "not UTF-8" in notes(path)


def test_ground_control_points_without_a_reference_system_come_back(tmp_path):
    points = [GroundControlPoint(0, 0, 1, 2, 3), GroundControlPoint(9, 9, 4, 5, 6)]
    path = make(
        tmp_path / "a.tif",
        samples(1, 20, 30, "uint8"),
        lambda dataset: setattr(dataset, "gcps", (points, CRS())),
    )
    with rasterio.open(round_trip(path)) as back:
        assert [(p.row, p.x, p.z) for p in back.gcps[0]] == [(0, 1, 3), (9, 4, 6)]
        assert not back.gcps[1]


def test_epoch_categories_attribute_tables_and_bits_come_back(tmp_path):
    path = make(tmp_path / "a.tif", samples(2, 20, 30, "uint16") % 4096, crs="EPSG:9000")
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><SRS coordinateEpoch="2021.25">EPSG:9000</SRS><PAMRasterBand band="2">'
        "<CategoryNames><Category>water</Category><Category>a &lt; b</Category></CategoryNames>"
        f'<Metadata domain="IMAGE_STRUCTURE"><MDI key="NBITS">12</MDI></Metadata>{TABLE}'
        "</PAMRasterBand></PAMDataset>"
    )
    description, pixels = whole(path)
    assert description.metadata["epoch"] == 2021.25
    assert description.metadata["categories"] == {"2": ["water", "a < b"]}
    assert description.metadata["nbits"] == [None, 12]
    assert description.peaks().tolist() == [65535, 4095]
    assert "for & est" in str(description.metadata["attribute_tables"]["2"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", IsoqWarning)
        again, same = whole(save(tmp_path / "b.tif", description, pixels))
    assert again == description
    assert np.array_equal(same, pixels)


def test_the_peak_of_psnr_is_that_of_the_bits_in_use(tmp_path):
    path = make(tmp_path / "a.tif", terrain(1, 70, 80, "uint16"), nbits=12)
    assert main(["compress", str(path), str(tmp_path / "a.isoq"), "--psnr", "50"]) == 0
    with isoq.open(tmp_path / "a.isoq") as file:
        assert file.file.statistics()["target_mse"] == pytest.approx([4095**2 / 1e5], rel=1e-5)


@pytest.mark.parametrize(
    "table",
    [
        "x",
        ["T", {}, "", [["a b", {}, "", []]]],
        ["T", {"a b": "c"}, "", []],
        ["T", 3, "", []],
        ["T", {}, "", [["T", {}, "", [["T", {}, "", [["T", {}, "", [["T", {}, "", []]]]]]]]]],
    ],
)
def test_attribute_tables_that_are_none_are_damage(table):
    data = Description(1, 2, 3, "uint8", (None,)).to_dict()
    with pytest.raises(CorruptFileError):
        Description.from_dict(data | {"metadata": {"attribute_tables": {"1": table}}})


def test_overviews_are_named_at_both_ends(tmp_path, capsys):
    path = make(tmp_path / "a.tif", terrain(1, 300, 300, "uint8"))
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4])
    back = round_trip(path)
    before, after = capsys.readouterr().err.splitlines()
    assert before == f"isoq: {path}: not kept: overviews (2, 4)"
    assert after == f"isoq: {back}: written without overviews (2, 4)"


def test_other_pages_of_a_tiff_are_named(tmp_path):
    path = tmp_path / "stack.tif"
    make(path, samples(1, 20, 30, "uint8"))
    for seed in (1, 2):
        make(path, samples(1, 20, 30, "uint8", seed), APPEND_SUBDATASET="YES")
    assert f"2 more pages (GTIFF_DIR:2:{path}, GTIFF_DIR:3:{path})" in notes(path)
    one = tmp_path / "second.isoq"
    assert main(["compress", f"GTIFF_DIR:2:{path}", str(one), "--lossless"]) == 0
    assert np.array_equal(isoq.open(one).read(), samples(1, 20, 30, "uint8", 1))


def test_masks_of_single_bands_are_named_and_their_samples_kept(tmp_path):
    pixels = terrain(2, 70, 80, "uint8")
    make(tmp_path / "a.tif", pixels)
    source = (
        '<SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename>'
        "<SourceBand>{}</SourceBand></SimpleSource>"
    )
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{k}">{source.format(k)}'
        + k // 2 * f'<MaskBand><VRTRasterBand dataType="Byte">{source.format(1)}</VRTRasterBand>'
        + k // 2 * "</MaskBand>"
        + "</VRTRasterBand>"
        for k in (1, 2)
    )
    path = tmp_path / "a.vrt"
    path.write_text(f'<VRTDataset rasterXSize="80" rasterYSize="70">{bands}</VRTDataset>')
    assert "not kept: the masks of bands 2" in notes(path)
    assert np.array_equal(whole(round_trip(path))[1], pixels)


def test_a_driver_that_keeps_less_is_named(tmp_path):
    description = Description(
        1, 20, 30, "uint8", (None,), {"scales": [0.5], "tags": {"A": {"b": "c"}}}
    )
    with pytest.warns(IsoqWarning, match=r"a\.bmp: written without .*; GTiff keeps more"):
        save(tmp_path / "a.bmp", description, samples(1, 20, 30, "uint8"))


@pytest.mark.parametrize(
    ("name", "driver"), [("a.jp2", "GTiff"), ("a.png", "COG"), ("a.tif", "PNG"), ("a.vrt", None)]
)
def test_a_name_of_another_format_is_refused(tmp_path, name, driver):
    with one_line(InputError, name):
        save(
            tmp_path / name,
            Description(1, 4, 4, "uint8", (None,)),
            samples(1, 4, 4, "uint8"),
            driver=driver,
        )


@pytest.mark.parametrize(("name", "driver"), [("a.jp2", "JP2OpenJPEG"), ("a.png", "PNG")])
def test_the_name_of_a_format_chooses_its_driver(tmp_path, name, driver):
    pixels = samples(1, 40, 40, "uint8")
    path = save(tmp_path / name, Description(1, 40, 40, "uint8", (None,)), pixels)
    with rasterio.open(path) as dataset:
        assert dataset.driver == driver
        assert np.array_equal(dataset.read(), pixels)


def aerial_photo(path, water):
    """Red, green, blue and near infrared, which GDAL calls alpha, and which is 0 over water."""
    pixels = terrain(4, 150, 150, "uint8")
    pixels[3] = np.where(water, 0, pixels[3])
    return make(path, pixels, photometric="RGB", alpha="YES"), pixels


def test_an_alpha_band_that_looks_like_data_masks_nothing(tmp_path, capsys):
    water = np.add.outer(np.arange(150), np.arange(150)) < 100
    path, pixels = aerial_photo(tmp_path / "a.tif", water)
    decoded = whole(round_trip(path, "--max-error", "2"))[1]
    assert np.abs(decoded.astype(int) - pixels).max() == 2
    assert (
        "band 4 is called alpha, but its values look like measurements" in capsys.readouterr().err
    )
    with rasterio.open(tmp_path / "back_a.tif") as back:
        assert back.colorinterp[3] == ColorInterp.alpha


def test_masks_are_chosen(tmp_path, capsys):
    water = np.add.outer(np.arange(150), np.arange(150)) < 100
    path, pixels = aerial_photo(tmp_path / "a.tif", water)
    masked = whole(round_trip(path, "--max-error", "2", "--mask", "alpha"))[1]
    assert not masked[:3, water].any()
    assert f"{100 * water.mean():.3g} % by alpha band 4" in capsys.readouterr().err
    with one_line(InputError, "a.tif", "no mask is beside"):
        open_source(path, mask="dataset")
    with one_line(InputError, "a.tif", "mask='some'"):
        open_source(path, mask="some")
    plain = make(tmp_path / "b.tif", pixels, nodata=120, photometric="MINISBLACK")
    with one_line(InputError, "b.tif", "no band is an alpha band"):
        open_source(plain, mask="alpha")
    assert "% by nodata; " in notes(plain)
    assert notes(plain, "none") == f"{plain}: not kept: nodata 120"
    assert np.array_equal(whole(round_trip(plain, "--mask", "none"))[1], pixels)


@pytest.mark.slow
def test_pixels_missing_where_all_bands_agree_become_a_mask(tmp_path):
    pixels = terrain(3, 70, 80, "uint8")
    pixels[:, :20] = np.array([255, 0, 255])[:, None, None]
    path = make(
        tmp_path / "a.tif", pixels, lambda dataset: dataset.update_tags(NODATA_VALUES="255 0 255")
    )
    assert "NODATA_VALUES, whose pixels become a mask" in notes(path)
    with rasterio.open(path) as source, rasterio.open(round_trip(path, "--mse", "9")) as back:
        assert np.array_equal(source.dataset_mask(), back.dataset_mask())


@pytest.mark.slow
@pytest.mark.parametrize("text", ["-3.4028235e38", "-3.40282346638529e+38", "3.4028235e38"])
def test_nodata_is_compared_in_the_type_of_the_samples(text):
    image = terrain(1, 70, 80, "float32")
    image[0, :30, :30] = np.float32(text)
    decoded = isoq.decompress(isoq.compress(image, nodata=float(text), snr=40))
    assert np.array_equal(decoded[0, :30, :30], image[0, :30, :30])
    assert np.abs(decoded - image).max() < 50


@pytest.mark.slow
def test_names_that_only_gdal_knows_are_sources(tmp_path, capsys, monkeypatch):
    path = make(tmp_path / "stack.tif", samples(1, 20, 30, "uint8"))
    make(path, samples(1, 20, 30, "uint8", 1), APPEND_SUBDATASET="YES")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(path, "in/x.tif")
    monkeypatch.chdir(tmp_path)
    for name, made in (
        (f"GTIFF_DIR:2:{path}", "stack-2.isoq"),
        (f"/vsizip/{tmp_path}/all.zip/in/x.tif", "x.isoq"),
        (f"zip://{tmp_path}/all.zip!/in/x.tif", "x.isoq"),
    ):
        assert main(["compress", name, "--lossless", "--overwrite"]) == 0
        assert main(["verify", made, "--against", name]) == 0
        assert main(["estimate", name, "--rmse", "9"]) == 0
    capsys.readouterr()
    assert main(["compress", "NOSUCH:thing.x:y", "--lossless"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert ImageName('HDF5:"/d/a.h5"://grp/rain').stem == "a-grp-rain"
    assert ImageName("netcdf:/d/weather.nc:lst").stem == "weather-lst"
    assert ImageName("https://host/a/b.tif?sig=x/y").stem == "b"


@pytest.mark.parametrize("document", ["{}", "[]", "[1, 2]", "7", "null", '"x"', '{"a": [1, ":"]}'])
def test_any_json_document_is_read(tmp_path, document):
    """rasterio crashes on those without a colon, which are therefore not written again."""
    path = make(tmp_path / "a.tif", samples(2, 20, 30, "uint8"))
    entry = f'<Metadata domain="json:X" format="json">{document}</Metadata>'
    band = f'<PAMRasterBand band="2">{entry.replace("json:X", "json:B")}</PAMRasterBand>'
    (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset>{entry}{band}</PAMDataset>")
    description = whole(path)[0]
    assert description.metadata["tags"] == {"json:X": {"json:X": document}}
    assert description.metadata["band_tags"] == [{}, {"json:B": {"json:B": document}}]
    if ":" in document:
        assert whole(round_trip(path))[0] == description
    else:
        with pytest.warns(IsoqWarning, match="written without tags of bands, tags"):
            save(tmp_path / "b.tif", description, samples(2, 20, 30, "uint8"))


def test_json_documents_that_are_none_are_named(tmp_path):
    path = make(tmp_path / "a.tif", samples(1, 20, 30, "uint8"))
    entry = '<Metadata domain="json:X" format="json">{"a": </Metadata>'
    (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset>{entry}</PAMDataset>")
    assert "not kept: tags of namespace json:X" in notes(path)


def test_characters_that_xml_lacks_are_no_damage(tmp_path):
    text = "a\ufffeb"
    path = make(
        tmp_path / "a.tif",
        samples(1, 20, 30, "uint8"),
        lambda dataset: (dataset.update_tags(NOTE=text), dataset.set_band_description(1, text)),
    )
    with rasterio.open(round_trip(path)) as back:
        assert back.tags()["NOTE"] == text
        assert back.descriptions == (text,)


def test_what_a_vrt_answers_about_places_is_no_loss(tmp_path):
    make(tmp_path / "a.tif", samples(1, 20, 30, "uint8"))
    with rasterio.open(tmp_path / "a.tif") as dataset:
        rasterio.shutil.copy(dataset, tmp_path / "a.vrt", driver="VRT")
    assert not notes(tmp_path / "a.vrt")


def test_a_band_that_is_lossless_is_not_called_empty(tmp_path, capsys):
    path = make(tmp_path / "qa_pixel.tif", samples(1, 20, 30, "uint8"))
    assert main(["compress", str(path), "--mse", "25"]) == 0
    assert "every band is lossless" in capsys.readouterr().out
