"""Servers as they are: some give no parts, some are busy for a moment, some say nothing."""

import gc
import gzip
import http.server
import threading
import time
import zipfile

import fsspec
import numpy as np
import pytest
import rasterio
from cases import crop, terrain
from images import make, one_line

import isoq
from isoq.errors import InputError, IsoqWarning
from isoq.storage import objects, retries
from isoq.storage.retries import is_transient, retried

pytest.importorskip("aiohttp")


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file; the first folder of the path says how."""

    protocol_version = "HTTP/1.1"
    data = b""
    gets: list[str] = []  # noqa: RUF012

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.gets.append(self.path)
        self.answer(body=True)

    def answer(self, body: bool):
        kind = self.path.split("/")[1]
        if kind == "silent":
            time.sleep(2)
        if body and (kind == "down" or (kind == "busy" and len(self.gets) == 1)):
            return self.send(503, b"", body)
        if body and kind == "broken" and len(self.gets) == 1:
            self.close_connection = True
            return None
        wanted = self.headers.get("Range")
        if wanted and kind not in ("whole", "zipped"):
            first, last = wanted.removeprefix("bytes=").split("-")
            part = self.data[int(first) : int(last) + 1]
            total = f"bytes {first}-{int(first) + len(part) - 1}/{len(self.data)}"
            return self.send(206, part, body, {"Content-Range": total})
        if kind == "zipped":
            return self.send(200, gzip.compress(self.data), body, {"Content-Encoding": "gzip"})
        return self.send(200, self.data, body)

    def send(self, status, content, body, headers=()):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture(scope="module")
def base():
    Server.data = isoq.compress(crop("landsat.tif"), mse=25, tile=64)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(retries, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr("isoq.storage.urls._FIRST_READ", 2000)
    monkeypatch.setattr("isoq.storage.urls._SILENCE", 0.3)
    Server.gets.clear()


@pytest.mark.parametrize("kind", ["good", "whole", "zipped", "busy", "broken"])
def test_files_are_read_from_servers_of_any_kind(base, kind):
    with isoq.open(f"{base}/{kind}/a.isoq") as file:
        part = file.read(1, window=((130, 190), (120, 200)))
    assert np.array_equal(part, isoq.decompress(Server.data)[0, 130:190, 120:200])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "word"), [("down", "503"), ("silent", "imeout")])
def test_a_server_that_does_not_answer_is_one_line(base, kind, word):
    with one_line(InputError, f"{base}/{kind}/a.isoq: cannot be ", word):
        isoq.open(f"{base}/{kind}/a.isoq").read()


def test_requests_are_tried_again_only_where_that_can_help():
    class Answer(Exception):
        def __init__(self, status):
            self.status = status

    assert is_transient(ConnectionResetError())
    assert is_transient(Answer(503))
    assert not is_transient(Answer(404))
    assert not is_transient(PermissionError())
    tries = []

    def request(error, failures):
        tries.append(error)
        if len(tries) <= failures:
            raise error
        return "answer"

    assert retried(lambda: request(Answer(503), 2)) == "answer"
    tries.clear()
    with pytest.raises(Answer):
        retried(lambda: request(Answer(404), 1))
    assert len(tries) == 1


def test_no_try_begins_that_would_end_too_late(monkeypatch):
    """Tries that take 7 s each, and twice as long."""
    clock = [0.0]
    monkeypatch.setattr(retries, "_PAUSES", (0.25, 1.0, 3.0))
    monkeypatch.setattr(retries.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(retries.time, "sleep", lambda pause: request(pause, False))

    def request(seconds, silent=True):
        clock[0] += seconds
        if silent:
            raise TimeoutError

    for seconds, total in ((7, 14.25), (14, 14)):
        clock[0] = 0.0
        with pytest.raises(TimeoutError):
            retried(lambda seconds=seconds: request(seconds))
        assert clock[0] == total


@pytest.mark.slow
def test_files_in_archives_and_schemes_in_any_case(tmp_path):
    (tmp_path / "a b%20.isoq").write_bytes(
        Server.data or isoq.compress(crop("landsat.tif"), mse=25)
    )
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "a b%20.isoq", "in/a.isoq")
    for address in (
        f"zip://in/a.isoq::{tmp_path}/z.zip",
        f"ZIP://in/a.isoq::File://{tmp_path}/z.zip",
        f"FILE://{tmp_path}/a b%20.isoq",
    ):
        with isoq.open(address) as file:
            gc.collect()  # the file system of an archive closes the archive when it goes
            assert file.read(1).shape == crop("landsat.tif").shape[1:]


def test_files_beside_a_remote_image_come_along(tmp_path):
    system = fsspec.filesystem("memory")
    image = make(tmp_path / "b.tif", terrain(1, 20, 30, "uint8"))
    files = {
        "a.tif": image.read_bytes(),
        "a.TFW": b"0.2\n0\n0\n-0.2\n250000.1\n5886999.9\n",
        "a.tif.aux.xml": b"<PAMDataset/>",
        "a_RPC.TXT": b"x",
        "a.isoq": b"x",
        "ab.tfw": b"x",
        "all.vrt": b'<VRTDataset><SourceFilename relativeToVRT="1">part/b.tif</SourceFilename>'
        b'<SourceFilename relativeToVRT="1">../c.tif</SourceFilename></VRTDataset>',
        "part/b.tif": image.read_bytes(),
    }
    system.pipe({f"/scenes/{name}": data for name, data in files.items()})
    try:
        (tmp_path / "copy").mkdir()
        path = objects.fetch("memory://scenes/a.tif", tmp_path / "copy")
        assert {file.name for file in path.parent.iterdir()} == {
            *("a.tif", "a.TFW", "a.tif.aux.xml", "a_RPC.TXT")
        }
        (path.parent / "a.TFW").rename(path.parent / "a.tfw")
        with rasterio.open(path) as dataset:
            assert dataset.transform.a == 0.2
        vrt = objects.fetch("memory://scenes/all.vrt", tmp_path / "copy")
        assert (vrt.parent / "part/b.tif").is_file()
    finally:
        system.rm("/scenes", recursive=True)


@pytest.mark.parametrize("option", ["roi", "target_map"])
def test_polygons_and_maps_that_touch_nothing_are_a_warning(tmp_path, option):
    utm = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5.3e6)}
    image = make(tmp_path / "a.tif", terrain(1, 70, 80, "uint8"), **utm)
    if option == "roi":
        path = tmp_path / "a.geojson"
        path.write_text(
            '{"type": "Polygon", "coordinates": [[[48, 9], [48.1, 9], [48.1, 9.1], [48, 9]]]}'
        )
        more = {"roi_mse": 4}
    else:
        away = utm | {"transform": rasterio.Affine(10, 0, 9e5, 0, -10, 5.3e6)}
        path = make(tmp_path / "map.tif", np.full((1, 70, 80), 4, "float32"), **away)
        more = {}
    with pytest.warns(IsoqWarning, match="touches no pixel of the image"):
        isoq.compress_file(image, tmp_path / "a.isoq", mse=25, **{option: path}, **more)
