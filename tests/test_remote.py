"""Files that are elsewhere: few and small requests, and plain words where one fails."""

import http.server
import io
import json
import sys
import threading

import fsspec
import numpy as np
import pytest
from cases import crop, terrain
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from images import one_line

import isoq
from isoq.cli import main
from isoq.codec.options import Options
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.writer import compress_to
from isoq.errors import CorruptFileError, InputError
from isoq.network.model import load_model
from isoq.storage.urls import Url


class Far(AbstractFileSystem):
    """One file behind a network: any address has it, and each fetch is noted."""

    protocol = "far"
    cachable = False
    data = b""
    fetched: tuple[tuple[int, int], ...] = ()
    fails_at = None

    def info(self, path, **options):
        return {"name": path, "size": len(self.data), "type": "file"}

    def _open(self, path, mode="rb", block_size=None, **options):
        if "secret" in path:
            raise RuntimeError("no credentials\nin any of three places")
        return FarFile(self, path, mode, block_size, **options)


class FarFile(AbstractBufferedFile):
    def _fetch_range(self, start, end):
        if Far.fails_at is not None and end > Far.fails_at:
            raise ConnectionError("connection lost")
        Far.fetched = (*Far.fetched, (start, end))
        return Far.data[start:end]


@pytest.fixture(scope="module")
def packed() -> bytes:
    """A file of 8 x 8 tiles."""
    out = io.BytesIO()
    source = ArraySource(terrain(1, 512, 512, "uint16"))
    compress_to(
        out, source, Target("quality", 1.0), load_model("eo16"), Options(tile=64, single_pass=True)
    )
    assert len(out.getvalue()) > 2 << 16
    return out.getvalue()


@pytest.fixture
def far(packed, monkeypatch):
    fsspec.register_implementation("far", Far, clobber=True)
    monkeypatch.setattr(Far, "data", packed)
    monkeypatch.setattr(Far, "fetched", ())
    return Far


def test_a_window_takes_two_requests(far, packed):
    with isoq.open("far://bucket/scene.isoq") as src:
        assert far.fetched == ((0, 1 << 16),)
        got = src.read(1, window=((400, 410), (330, 340)))
        size = int(src.file._container.sizes[6 * 8 + 5])
    (_, (start, end)) = far.fetched
    assert end - start == size + 12  # with its frame and checksum
    assert np.array_equal(got, isoq.decompress(packed)[0, 400:410, 330:340])


def test_a_longer_header_is_read_on(far, packed, monkeypatch):
    monkeypatch.setattr("isoq.storage.urls._FIRST_READ", 100)
    with isoq.open("far://bucket/scene.isoq") as src:
        assert far.fetched[-1][1] == packed.index(b"TILE")
        assert np.array_equal(src.read(), isoq.decompress(packed))


def test_info_takes_two_requests(far, packed, capsys):
    assert main(["info", "far://bucket/scene.isoq", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["file"], facts["bytes"]) == ("far://bucket/scene.isoq", len(packed))
    assert far.fetched == ((0, 1 << 16), (packed.index(b"stat", -2000), len(packed)))


def test_info_on_one_tile_does_not_fetch_it(far, monkeypatch, capsys):
    pixels = np.random.default_rng(0).integers(0, 1 << 16, (1, 300, 300)).astype("uint16")
    data = isoq.compress(pixels, lossless=True)
    monkeypatch.setattr(Far, "data", data)
    assert len(data) > 2 << 16
    assert main(["info", "far://bucket/scene.isoq", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == len(data)
    assert sum(end - start for start, end in far.fetched) <= 1 << 16


@pytest.mark.slow
def test_commands_take_urls(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    system = fsspec.filesystem("memory")
    system.pipe("/folder/scene.isoq", isoq.compress(crop("landsat.tif"), snr=30))
    try:
        url = "memory://folder/scene.isoq"
        assert main(["verify", url, "--quiet"]) == 0
        assert main(["decompress", url, "--window", "5", "6", "70", "80", "--quiet"]) == 0
        assert (
            main(["decompress", f"{url}?version=3", "--out", "new", "--quiet"]) == 2
        )  # no such file there
        assert main(["decompress", url, url, "--out", "new", "--quiet"]) == 0
        assert main(["decompress", url, "named.tif", "--quiet"]) == 0
        assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.tif")} == {
            "scene.tif",
            "new/scene.tif",
            "named.tif",
        }
        with isoq.open(url) as src:
            assert src.shape == (201, 233)
    finally:
        system.rm("/folder", recursive=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"isoq: {url}?version=3: cannot be opened")
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_what_cannot_be_fetched(far, monkeypatch):
    with one_line(InputError, "memory://none.isoq: cannot be opened"):
        isoq.open("memory://none.isoq")
    with one_line(InputError, "nonesuch://a.isoq: cannot be opened", "nonesuch"):
        isoq.open("nonesuch://a.isoq")
    with one_line(InputError, "far://secret/a.isoq: cannot be opened", "three places"):
        isoq.open("far://secret/a.isoq")
    monkeypatch.setattr(Far, "fails_at", 1 << 16)
    with (
        isoq.open("far://bucket/a.isoq") as src,
        one_line(InputError, "far://bucket/a.isoq: cannot be read (connection lost)"),
    ):
        src.read(window=((500, 501), (500, 501)))
    monkeypatch.setattr(Far, "data", b"no image")
    with pytest.raises(CorruptFileError, match=r"^far://bucket/a\.isoq: not an"):
        isoq.open("far://bucket/a.isoq")


def test_an_address_that_leads_to_itself():
    class Circle(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    pytest.importorskip("aiohttp")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Circle) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with one_line(InputError, "too many redirects"):
            isoq.open(f"http://127.0.0.1:{server.server_port}/a.isoq")
        server.shutdown()


def test_without_fsspec(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with one_line(InputError, "s3://bucket/a.isoq: ", "pip install 'isoq[remote]'"):
        isoq.open("s3://bucket/a.isoq")
    (tmp_path / "a.isoq").write_bytes(isoq.compress(crop("landsat.tif"), quality=0.01))
    assert isoq.open(tmp_path / "a.isoq").count == 1


def test_open_streams(packed, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"before" + packed)
    with open(tmp_path / "a.bin", "rb") as stream:
        stream.seek(6)
        with isoq.open(stream) as src:
            assert src.file.name == str(tmp_path / "a.bin")
            got = src.read(window=((0, 64), (448, 512)))
        assert not stream.closed
    assert np.array_equal(got, isoq.decompress(packed)[:, :64, 448:])


def test_a_stream_that_cannot_seek(packed):
    class Pipe(io.BytesIO):
        def tell(self):
            raise OSError(29, "Illegal seek")

        seek = tell

    with one_line(InputError, "data: cannot be read", "Illegal seek"):
        isoq.open(Pipe(packed))


@pytest.mark.parametrize(
    "address",
    [
        "https://host/in/a.isoq?sig=x/y",
        "zip://in/a.isoq::archive.zip",
        "zip://in/a.isoq::https://host/archive.zip",
        "simplecache::https://host/in/a.isoq",
    ],
)
def test_an_address_has_the_name_of_the_file_in_it(address):
    assert Url(address).stem == "a"
