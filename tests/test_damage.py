"""The rest of a damaged file: every undamaged tile as it was, nothing made up for the others, and
a list of what is lost."""

import io
import json

import numpy as np
import pytest
import rasterio
from cases import terrain
from images import make, one_line
from test_container import chunks

import isoq
from isoq.cli import main
from isoq.codec.reader import File
from isoq.errors import CorruptFileError

SIDE, NODATA = 32, 65535
CODING = ("--mse", "500", "--tile", str(SIDE), "--block", "16", "--quiet")


def with_mask(dataset) -> None:
    dataset.update_tags(mission="none")
    mask = np.ones(dataset.shape, bool)
    mask[:, :3] = False
    dataset.write_mask(mask)


@pytest.fixture(scope="module", params=["nodata", "mask"])
def scene(request, tmp_path_factory):
    """An .isoq of 2 x 2 tiles of two bands, with metadata, in a folder of its own; and whether it
    has a mask."""
    path = tmp_path_factory.mktemp("files") / "scene.tif"
    special = {"nodata": NODATA, "edit": lambda dataset: dataset.update_tags(mission="none")}
    masked = request.param == "mask"
    make(
        path,
        terrain(2, 2 * SIDE, 2 * SIDE, "uint16"),
        crs="EPSG:3857",
        **({"edit": with_mask} if masked else special),
    )
    assert main(["compress", str(path), *CODING]) == 0
    return path.with_suffix(".isoq"), masked


@pytest.fixture
def run(capsys):
    def call(*arguments) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        status = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return status, out, err.splitlines()

    return call


def altered(data: bytes, at: int, flip: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]


def middle(data: bytes, kind: bytes, number: int = 0) -> int:
    """A byte in the payload of a chunk."""
    start, end = [(start, end) for k, start, end in chunks(data) if k == kind][number]
    return (start + end) // 2


def rescued(data: bytes) -> tuple[np.ndarray, list, dict]:
    """Pixels, what is lost, and the summary."""
    lost: list = []
    with isoq.open(io.BytesIO(data), on_damage=lost.append) as src:
        return src.read(), lost, src.file.statistics()


def tiles_of(pixels: np.ndarray) -> list[np.ndarray]:
    return [pixels[:, row : row + SIDE, col : col + SIDE] for row in (0, SIDE) for col in (0, SIDE)]


@pytest.mark.slow
def test_a_lost_tile(scene, run, tmp_path):
    path, masked = scene
    data = path.read_bytes()
    (tmp_path / "a.isoq").write_bytes(altered(data, middle(data, b"TILE", 1)))
    status, out, err = run("decompress", tmp_path / "a.isoq", "--keep-going")
    assert status == 1
    assert out.startswith(str(tmp_path / "a.tif"))
    (line,) = err
    assert line.startswith(
        f"isoq: {tmp_path / 'a.isoq'}: lost: tile of 32 x 32 pixels at row 0, column 32, bands 1 "
        "to 2: a checksum"
    )
    with rasterio.open(tmp_path / "a.tif") as back, isoq.open(path) as src:
        assert back.tags()["mission"] == "none"
        expected = src.read()
        expected[:, :SIDE, SIDE:] = 0 if masked else NODATA
        assert np.array_equal(back.read(), expected)
        assert not back.read_masks(1)[:SIDE, SIDE:].any()
        assert back.read_masks(1)[SIDE:, SIDE:].all()
    assert run("decompress", tmp_path / "a.isoq", tmp_path / "b.tif")[0] == 2
    assert not (tmp_path / "b.tif").exists()


def test_lost_as_json(scene, run, tmp_path):
    data = scene[0].read_bytes()
    data = altered(altered(data, middle(data, b"TILE", 3)), middle(data, b"stat"))
    (tmp_path / "a.isoq").write_bytes(data)
    status, out, err = run("decompress", tmp_path / "a.isoq", "--keep-going", "--json")
    tile, summary = json.loads(out)["files"][0]["lost"]
    assert (status, len(err)) == (1, 2)
    assert {k: tile[k] for k in tile if k != "why"} == {
        "part": "tile",
        "row": 32,
        "col": 32,
        "rows": 32,
        "cols": 32,
        "bands": [1, 2],
    }
    assert summary.keys() == {"part", "why"}
    assert summary["part"] == "summary"
    assert "checksum" in tile["why"]


def test_a_window_beside_the_damage(scene, run, tmp_path):
    data = scene[0].read_bytes()
    (tmp_path / "a.isoq").write_bytes(altered(data, middle(data, b"TILE", 0)))
    inside, beside = ("--window", 20, 20, 30, 30), ("--window", 33, 5, 20, 50)
    assert run(
        "decompress", tmp_path / "a.isoq", tmp_path / "a.tif", "--keep-going", "--quiet", *beside
    ) == (0, "", [])
    status, _, err = run(
        "decompress", tmp_path / "a.isoq", tmp_path / "b.tif", "--keep-going", *inside
    )
    assert (status, len(err)) == (1, 1)
    with rasterio.open(tmp_path / "b.tif") as back, isoq.open(scene[0]) as src:
        got, expected = back.read(), src.read(window=((20, 50), (20, 50)))
        assert np.array_equal(got[:, 12:], expected[:, 12:])
        assert np.array_equal(got[:, :, 12:], expected[:, :, 12:])
        assert (got[:, :12, :12] == (0 if scene[1] else NODATA)).all()


def test_undamaged(scene, run, tmp_path):
    status, out, err = run("decompress", scene[0], tmp_path / "a.tif", "--keep-going", "--json")
    assert (status, err) == (0, [])
    assert json.loads(out)["files"][0]["lost"] == []


def test_lost_metadata(scene, run, tmp_path):
    path, masked = scene
    data = path.read_bytes()
    (tmp_path / "a.isoq").write_bytes(altered(data, middle(data, b"meta")))
    with one_line(CorruptFileError, "a.isoq", "checksum", "--keep-going"):
        isoq.open(tmp_path / "a.isoq")
    status, _, err = run("decompress", tmp_path / "a.isoq", "--keep-going")
    assert status == 1
    (line,) = err
    assert "lost: metadata: " in line
    with rasterio.open(tmp_path / "a.tif") as back:
        assert back.crs is None
        assert back.nodata == (None if masked else NODATA)  # of the header
        assert np.array_equal(back.read(), isoq.decompress(data))


@pytest.mark.parametrize("kind", [b"HEAD", b"INDX"])
def test_nothing_to_be_done(scene, run, tmp_path, kind):
    data = scene[0].read_bytes()
    (tmp_path / "a.isoq").write_bytes(altered(data, middle(data, kind)))
    status, out, err = run("decompress", tmp_path / "a.isoq", "--keep-going")
    assert (status, out, len(err)) == (2, "", 1)
    assert "get another copy" in err[0]
    assert "--keep-going" not in err[0]
    assert not (tmp_path / "a.tif").exists()


def test_verify_lists_all(scene, run, tmp_path):
    path, _ = scene
    data = path.read_bytes()
    for kind, number in ((b"TILE", 0), (b"TILE", 3), (b"meta", 0), (b"stat", 0)):
        data = altered(data, middle(data, kind, number))
    (tmp_path / "a.isoq").write_bytes(data)
    status, out, err = run("verify", tmp_path / "a.isoq")
    assert (status, out) == (2, "")
    assert sorted(line.split("lost: ")[1].split(":")[0] for line in err) == [
        "metadata",
        "summary",
        "tile of 32 x 32 pixels at row 0, column 0, bands 1 to 2",
        "tile of 32 x 32 pixels at row 32, column 32, bands 1 to 2",
    ]
    status, out, err = run(
        "verify", tmp_path / "a.isoq", "--against", path.with_suffix(".tif"), "--json"
    )
    assert len(json.loads(out)["lost"]) == len(err) == 4
    assert status == 2


@pytest.mark.slow
def test_any_flipped_bit_costs_its_part_alone(scene):
    """A bit here and there: the tiles that are not reported lost are as they were."""
    data = scene[0].read_bytes()
    intact, lost, summary = rescued(data)
    assert lost == []
    index_end = next(end for kind, _, end in chunks(data) if kind == b"INDX")
    rng, refused = np.random.default_rng(0), 0
    for at in range(0, len(data), 29):
        try:
            pixels, lost, found = rescued(altered(data, at, 1 << rng.integers(8)))
        except CorruptFileError:
            refused += 1
            assert at < index_end
            continue
        (part,) = lost
        assert (part.part == "summary") == (found != summary)
        assert (
            (part.part == "tile") == (part.box is not None) == (not np.array_equal(pixels, intact))
        )
        if part.box:
            number = 2 * (part.box.row > 0) + (part.box.col > 0)
            start, end = [(start, end) for kind, start, end in chunks(data) if kind == b"TILE"][
                number
            ]
            assert start <= at < end
            tiles_of(pixels)[number][:] = tiles_of(intact)[number]
            assert np.array_equal(pixels, intact)
    assert 0 < refused < len(range(0, index_end, 29))  # metadata are no reason to give up


def test_any_truncation_leaves_what_arrived(scene):
    data = scene[0].read_bytes()
    intact = tiles_of(isoq.decompress(data))
    parts = chunks(data)
    index_end = next(end for kind, _, end in parts if kind == b"INDX")
    ends = [end for kind, _, end in parts if kind == b"TILE"]
    borders = {place + step for _, *span in parts for place in span for step in (-1, 0, 1)}
    for cut in sorted({*range(0, index_end, 60), *borders}):
        if cut >= len(data):
            continue
        if cut < index_end:
            with pytest.raises(CorruptFileError, match=r"; (get another copy|check the name)"):
                rescued(data[:cut])
            continue
        pixels, lost, summary = rescued(data[:cut])
        complete = sum(end <= cut for end in ends)
        assert [part.part for part in lost] == ["tile"] * (4 - complete) + ["summary"]
        assert summary == {}
        assert all(
            np.array_equal(a, b) for a, b in zip(tiles_of(pixels)[:complete], intact, strict=False)
        )


def test_tiles_leaves_out_the_lost(scene):
    data = scene[0].read_bytes()
    lost: list = []
    file = File(io.BytesIO(altered(data, middle(data, b"TILE", 2))), on_damage=lost.append)
    found = [box for box, _ in file.tiles(file.model())]
    assert [part.box for part in lost] == [file.boxes[2]]
    assert found == [*file.boxes[:2], file.boxes[3]]
