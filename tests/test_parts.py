"""Images taken apart by bands or tiles come back to the byte, with what was known about them; what
does not fit is refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from cases import CROPS, DATA
from images import DTYPES, make, samples, save, whole
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from rasterio.transform import Affine

from isoq.cli import main
from isoq.raster import split
from isoq.raster.description import Description

UTM = dict(crs="EPSG:32631", transform=Affine(10, 0, 600000.1, 0, -10, 4900020.3))
ROTATED = dict(crs="EPSG:4326", transform=Affine(0.5, 0.1, 3, 0.2, -0.4, 44))
GCPS = [
    GroundControlPoint(row=r, col=c, x=2 + c / 8, y=45 - r / 8, z=7.0, id=f"{r}/{c}")
    for r, c in ((0, 0), (0, 70), (61, 0), (61, 70))
]
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


def tagged(dataset) -> None:
    dataset.update_tags(mission="S2 é")
    dataset.update_tags(ns="ACQUISITION", sun="45.5")
    dataset.update_tags(2, wavelength="842")
    dataset.descriptions = ("red", None, "nir", None, "last")
    dataset.scales, dataset.offsets, dataset.units = (
        (1, 2, 1, 1, 0.5),
        (0, 0, -1, 0, 0),
        ("m", "", "", "", "K"),
    )
    dataset.colorinterp = [
        ColorInterp[name] for name in ("gray", "undefined", "nir", "undefined", "undefined")
    ]


def setting(**attributes):
    return lambda dataset: [setattr(dataset, name, value) for name, value in attributes.items()]


KINDS = {
    "plain": ((5, "uint8"), {}, lambda dataset: None),
    "tags": ((5, "uint16"), UTM | {"nodata": 7}, tagged),
    "rotated": ((2, "float32"), ROTATED | {"nodata": math.nan}, lambda dataset: None),
    "gcps": ((1, "int16"), {}, setting(gcps=(GCPS, CRS.from_epsg(4326)))),
    "rpcs": ((1, "uint16"), {}, setting(rpcs=RPCS)),
    "rgba": ((4, "uint8"), {"photometric": "RGB", "alpha": "YES"}, lambda dataset: None),
    "palette": (
        (1, "uint8"),
        {},
        lambda dataset: dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (250, 128, 7, 255)}),
    ),
}


def run(*arguments, status=0) -> None:
    """The command line, in which a warning would stand on standard error."""
    assert main([str(a) for a in arguments]) == status


def apart_and_back(
    tmp_path: Path, source: Path, apart: list, together: list, name: str = "back.tif"
) -> list[Path]:
    """Take an image apart and put it together; check that nothing is lost, and return the parts."""
    run(*apart, source, tmp_path / "parts", *together[2:], "--quiet")
    found = sorted((tmp_path / "parts").iterdir())
    run(*together[:2], *found, tmp_path / name, "--quiet")
    (description, pixels), (again, read) = whole(source), whole(tmp_path / name)
    assert read.tobytes() == pixels.tobytes()
    assert again == description
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.slow
def test_bands(tmp_path, kind, size):
    (bands, dtype), profile, edit = KINDS[kind]
    source = make(tmp_path / "a.b.tif", samples(bands, 62, 71, dtype), edit, **profile)
    found = apart_and_back(
        tmp_path, source, ["bands", "extract"], ["bands", "merge", "--group", min(size, bands)]
    )
    assert len(found) == -(-bands // min(size, bands))
    description, pixels = whole(source)
    for path, first in zip(found, range(0, bands, size), strict=True):
        part, read = whole(path)
        assert np.array_equal(read, pixels[first : first + size], equal_nan=True)
        assert part.nodata == description.nodata[first : first + size]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [25, 71])
@pytest.mark.slow
def test_tiles(tmp_path, kind, size):
    (bands, dtype), profile, edit = KINDS[kind]
    source = make(tmp_path / "a.tif", samples(bands, 62, 71, dtype), edit, **profile)
    found = apart_and_back(tmp_path, source, ["tile", "cut"], ["tile", "join", "--size", size])
    assert len(found) == (9 if size == 25 else 1)


@pytest.mark.parametrize("name", CROPS)
@pytest.mark.slow
def test_tiles_lie_where_they_were(tmp_path, name):
    run("tile", "cut", DATA / name, tmp_path, "--size", 64, "--quiet")
    description, pixels = whole(DATA / name)
    tiles = sorted(tmp_path.iterdir())
    assert len(tiles) == -(-description.rows // 64) * -(-description.cols // 64)
    for number, path in enumerate(tiles):
        row, col = (
            64 * (number // -(-description.cols // 64)),
            64 * (number % -(-description.cols // 64)),
        )
        tile, read = whole(path)
        assert np.array_equal(read, pixels[:, row : row + 64, col : col + 64], equal_nan=True)
        a, b, x, d, e, y = description.metadata["transform"]
        corner = [x + a * col + b * row, y + d * col + e * row]
        assert np.allclose(tile.metadata["transform"][2::3], corner, rtol=0, atol=1e-6)
        path.rename(
            path.with_name(f"{number * 7 % 17:02}.tif")
        )  # from here on only the georeference says where a tile lies
    run("tile", "join", tmp_path / "*.tif", tmp_path / "back.tif", "--quiet")
    again, read = whole(tmp_path / "back.tif")
    assert np.array_equal(read, pixels, equal_nan=True)
    assert again == description


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("endian", [0, 1])
def test_raw(tmp_path, dtype, endian):
    pixels = samples(3, 20, 30, dtype)
    kind = [1, 2, 3, 4, 6][DTYPES.index(dtype)]
    source = tmp_path / f"a.b.3_30_20_{kind}_{endian}_1.raw"
    source.write_bytes(pixels.astype(pixels.dtype.newbyteorder("><"[endian])).tobytes())
    run("tile", "cut", source, tmp_path / "tiles", "--size", 16, "--quiet")
    names = [
        f"a.b-r{r}-c{c}-of-20x30.3_{w}_{h}_{kind}_{endian}_1.raw"
        for r, h in (("00", 16), ("16", 4))
        for c, w in (("00", 16), ("16", 14))
    ]
    assert sorted(path.name for path in (tmp_path / "tiles").iterdir()) == names
    run("tile", "join", tmp_path / "tiles/*", tmp_path / "joined.raw", "--quiet")
    assert (tmp_path / f"joined.3_30_20_{kind}_{endian}_1.raw").read_bytes() == source.read_bytes()
    run("bands", "extract", source, "--out", tmp_path / "bands", "--group", 2, "--quiet")
    names = [f"a.b-b1-2.2_30_20_{kind}_{endian}_0.raw", f"a.b-b3.1_30_20_{kind}_{endian}_0.raw"]
    assert sorted(path.name for path in (tmp_path / "bands").iterdir()) == names
    back = (
        tmp_path / f"merged.3_30_20_{kind}_{endian}_1.raw"
    )  # bands alone are no colours, the name says that they are again
    run("bands", "merge", tmp_path / "bands/*", back, "--quiet")
    assert back.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("command", [("bands", "merge"), ("tile", "join")])
def test_images_are_not_replaced_by_what_is_made_of_them(tmp_path, capsys, command):
    paths = [
        make(tmp_path / f"a-r00-c{col}-of-20x60.tif", samples(1, 20, 30, "uint8"))
        for col in ("00", "30")
    ]
    before = paths[0].read_bytes()
    assert main([*command, *map(str, paths), str(paths[0]), "--overwrite"]) == 2
    assert f"{paths[0].name}: is the source itself" in capsys.readouterr().err
    assert paths[0].read_bytes() == before


def test_memory_is_bounded(tmp_path, monkeypatch):
    """No window is larger than asked, and together they are the image."""
    monkeypatch.setattr(split, "_SAMPLES", 2 * 256 * 256)
    source = make(tmp_path / "a.tif", samples(2, 300, 600, "uint16"), **UTM)
    seen = []
    monkeypatch.setattr(
        split,
        "_windows",
        lambda d, windows=split._windows: (seen.append(w) or w for w in windows(d)),
    )
    for number, (apart, together) in enumerate(
        [
            (["bands", "extract"], ["bands", "merge", "--group", 2]),
            (["tile", "cut"], ["tile", "join", "--size", 599]),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        apart_and_back(tmp_path / str(number), source, apart, together)
    assert max(rows * cols for _, _, rows, cols in seen) <= 256 * 256


def test_what_is_told(tmp_path, capsys):
    source = make(tmp_path / "a.tif", samples(2, 20, 30, "uint8"), **UTM)
    run("bands", "extract", source, "--group", 1)
    assert capsys.readouterr().out == "".join(
        f"{tmp_path / f'a-b{k}.tif'}: 1 x 20 x 30 uint8\n" for k in (1, 2)
    )
    run(
        "bands", "merge", tmp_path / "a-b2.tif", tmp_path / "a-b1.tif", tmp_path / "b.tif", "--json"
    )
    facts = json.loads(capsys.readouterr().out)
    assert facts == {
        "images": [
            {"image": str(tmp_path / "b.tif"), "bands": 2, "rows": 20, "cols": 30, "dtype": "uint8"}
        ]
    }
    assert np.array_equal(whole(tmp_path / "b.tif")[1], samples(2, 20, 30, "uint8")[::-1])


def test_tags_that_differ_are_left_out(tmp_path):
    for name in "ab":
        make(
            tmp_path / f"{name}.tif",
            samples(1, 9, 9, "uint8"),
            lambda d, name=name: d.update_tags(file=name, mission="x"),
            **UTM,
        )
    run("bands", "merge", tmp_path / "a.tif", tmp_path / "b.tif", tmp_path / "c.tif", "--quiet")
    assert whole(tmp_path / "c.tif")[0].metadata["tags"] == {"": {"mission": "x"}}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    make(folder / "a.tif", samples(2, 30, 40, "uint16"), **UTM)
    run("tile", "cut", folder / "a.tif", folder / "t", "--size", 16, "--quiet")
    shift = lambda col, row: {  # noqa: E731
        "crs": "EPSG:32631",
        "transform": Affine(10, 0, 600000.1 + 10 * col, 0, -10, 4900020.3 - 10 * row),
    }
    for name, pixels, profile in [
        ("small", samples(1, 29, 40, "uint16"), UTM),
        ("type", samples(1, 30, 40, "int16"), UTM),
        ("crs", samples(1, 30, 40, "uint16"), UTM | {"crs": "EPSG:32632"}),
        ("moved", samples(1, 30, 40, "uint16"), shift(1, 0)),
        ("half", samples(2, 30, 40, "uint16"), shift(40.5, 0)),
        ("over", samples(2, 30, 40, "uint16"), shift(39, 0)),
        ("below", samples(2, 30, 40, "uint16"), shift(40, 30)),
        ("none", samples(2, 30, 40, "uint16"), {"crs": "EPSG:32631"}),
    ]:
        make(folder / f"{name}.tif", pixels, **profile)
    make(folder / "t/a-r00-c99-of-30x40.tif", samples(2, 16, 16, "uint16"), **UTM)
    make(folder / "t/b-r16-c16-of-30x40.tif", samples(2, 14, 16, "uint16"), **UTM)
    save(
        folder / "t/z-r00-c00-of-9x9.tif",
        Description(1, 9, 8, "uint8", (None,)),
        samples(1, 9, 8, "uint8"),
    )
    return folder


TILES = [f"t/a-r{r}-c{c}-of-30x40.tif" for r in ("00", "16") for c in ("00", "16", "32")]
REFUSED = {
    "other size": (
        ["bands", "merge", "a.tif", "small.tif"],
        "small.tif: differs from a.tif in rows",
    ),
    "other type": (
        ["bands", "merge", "a.tif", "type.tif"],
        "type.tif: differs from a.tif in dtype",
    ),
    "other crs": (["bands", "merge", "a.tif", "crs.tif"], "crs.tif: differs from a.tif in crs"),
    "other place": (
        ["bands", "merge", "a.tif", "moved.tif"],
        "moved.tif: differs from a.tif in transform",
    ),
    "no band file": (["bands", "merge", "a.tif", "absent.tif"], "absent.tif: no such file"),
    "group 0": (["bands", "extract", "a.tif", "--group", "0"], "a.tif: 2 bands"),
    "group too large": (["bands", "extract", "a.tif", "--group", "3"], "--group from 1 to 2"),
    "no group": (["bands", "extract", "a.tif"], "--group"),
    "two folders": (["bands", "extract", "a.tif", "t", "--out", "t", "--group", "1"], "--out"),
    "size 0": (["tile", "cut", "a.tif", "--size", "0"], "--size 0"),
    "part exists": (["tile", "cut", "a.tif", "t", "--size", "16"], "exists already"),
    "missing tile": (["tile", "join", *TILES[:2], *TILES[3:]], "the tile at row 0, column 32"),
    "missing corner": (["tile", "join", *TILES[1:]], "the tile at row 0, column 0"),
    "missing last row": (["tile", "join", *TILES[:3]], "the tile at row 16, column 0"),
    "tile too many": (
        ["tile", "join", *TILES, "t/a-r00-c99-of-30x40.tif"],
        "c99-of-30x40.tif: overlaps",
    ),
    "tile of another image": (
        ["tile", "join", *TILES[:5], "t/b-r16-c16-of-30x40.tif"],
        "of another image",
    ),
    "tile too small": (
        ["tile", "join", "t/z-r00-c00-of-9x9.tif"],
        "column 8 of its image is missing",
    ),
    "tile off the grid": (
        ["tile", "join", "a.tif", "half.tif"],
        "half.tif: its pixels are not on the grid of a.tif",
    ),
    "tiles overlap": (["tile", "join", "a.tif", "over.tif"], "is missing"),
    "tiles touch at a corner": (["tile", "join", "a.tif", "below.tif"], "row 0, column 40"),
    "tile without place": (
        ["tile", "join", "a.tif", "none.tif"],
        "none.tif: neither name nor georeference",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(files, monkeypatch, capsys, name):
    monkeypatch.chdir(files)
    arguments, word = REFUSED[name]
    before = sorted(files.rglob("*"))
    try:
        status = main(arguments + ["new.tif"] * (arguments[1] in ("merge", "join")))
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert word in err
    assert len(err.splitlines()) == 1
    assert "internal" not in err
    assert sorted(files.rglob("*")) == before


def test_a_tile_whose_georeference_is_not_that_of_its_name(files, tmp_path, capsys):
    for name in TILES:
        (tmp_path / Path(name).name).write_bytes((files / name).read_bytes())
    one, two = tmp_path / Path(TILES[0]).name, tmp_path / Path(TILES[1]).name
    swapped = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(swapped)
    run("tile", "join", tmp_path / "*.tif", tmp_path / "new.tif", status=2)
    assert "its georeference is not that of its place" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["bands extract", "bands merge", "tile cut", "tile join", "bands", "tile"]
)
def test_help(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "-h"])
    out, err = capsys.readouterr()
    assert out.startswith(f"usage: isoq {command}")
    assert err == ""
    assert "example" in out
