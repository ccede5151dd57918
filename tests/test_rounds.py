"""Pieces of a remote file are asked for together: requests are counted, and those that a server has
not answered yet."""

import http.server
import io
import os
import threading

import numpy as np
import pytest
import rasterio
from cases import modest, terrain
from hypothesis import given
from hypothesis import strategies as st

import isoq
from isoq.cli import main
from isoq.codec.options import Options
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.writer import compress_to
from isoq.network.model import load_model
from isoq.storage import ranges, retries, streams
from isoq.view.scene import Scene

pytest.importorskip("aiohttp")


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, and keeps the answers back until `together` requests are waiting.

    The first two requests, for the header and for the first piece, are answered at once.
    fails: the number of a request that is answered by 503; whole: give no parts."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, data: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.lock = data, threading.Lock()
        self.set()

    def set(self, together: int = 1, fails: int = -1, whole: bool = False) -> None:
        self.together, self.fails, self.whole = together, fails, whole
        self.gets = self.sent = self.waiting = self.most = 0
        self.reached = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/scene.isoq"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_HEAD(self) -> None:
        self.answer(200, self.server.data, False)

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.gets += 1
            number = server.gets
            server.waiting += 1
            server.most = max(server.most, server.waiting)
            if server.waiting >= server.together:
                server.reached.set()
        if number > 2:
            server.reached.wait(5)
        with server.lock:
            server.waiting -= 1
        if number == server.fails:
            self.answer(503, b"")
        elif server.whole:
            self.answer(200, server.data)
        else:
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            self.answer(206, server.data[first : last + 1])

    def answer(self, code: int, content: bytes, with_body: bool = True) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)
            self.server.sent += len(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def packed() -> bytes:
    """A file of 8 x 8 tiles, of some 2 KB each."""
    out = io.BytesIO()
    source = ArraySource(terrain(1, 512, 512, "uint16"))
    target, options = Target("quality", 1.0), Options(tile=64, single_pass=True)
    compress_to(out, source, target, load_model("eo16"), options)
    return out.getvalue()


@pytest.fixture(scope="module")
def running(packed):
    server = Server(packed)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server(running, monkeypatch):
    monkeypatch.setattr("isoq.storage.urls._FIRST_READ", 2000)
    monkeypatch.setattr(ranges, "_GAP", 0)
    monkeypatch.setattr(ranges, "_JOINED", 0)
    monkeypatch.setattr(retries, "_PAUSES", (0.0, 0.0))
    running.set()
    return running


def test_the_tiles_of_a_window_are_asked_for_at_once(server, packed):
    server.set(together=7)
    with isoq.open(server.url) as src:
        found = src.read(1, window=((0, 512), (130, 140)))
    assert server.reached.is_set()
    assert server.gets == 1 + 8
    assert np.array_equal(found, isoq.decompress(packed)[0, :, 130:140])


def test_a_file_that_has_given_a_part_is_asked_for_all_others_at_once(server, packed):
    with isoq.open(server.url) as src:
        src.read(1, window=((500, 501), (500, 501)))
        server.gets = 2
        server.together = 8
        server.reached.clear()
        found = src.read(1, window=((0, 512), (330, 340)))
        assert server.reached.is_set()
    assert np.array_equal(found, isoq.decompress(packed)[0, :, 330:340])


@pytest.mark.parametrize("factor", [2, 4, 16])
def test_reduced_images_take_two_rounds_and_no_more_connections_than_allowed(
    server, packed, factor
):
    server.set(together=streams._REQUESTS)
    shape = (512 // factor, 512 // factor)
    with isoq.open(server.url) as src:
        found = src.read(1, out_shape=shape)
    assert server.most == streams._REQUESTS
    assert server.gets <= 1 + 64
    with isoq.open(io.BytesIO(packed)) as src:
        assert np.array_equal(found, src.read(1, out_shape=shape))


@pytest.mark.parametrize("more", [[], ["--scale", "1/4"]])
def test_the_command_asks_for_the_tiles_of_a_window_at_once(server, packed, tmp_path, more):
    server.set(together=7)
    out = tmp_path / "part.tif"
    window = ["--window", "128", "0", "16", "512"]
    assert main(["decompress", server.url, str(out), *window, *more, "--quiet"]) == 0
    assert server.reached.is_set()
    if not more:
        with rasterio.open(out) as dataset:
            assert np.array_equal(dataset.read(), isoq.decompress(packed)[:, :, 128:144])


def test_the_viewer_asks_for_all_that_it_shows_first_at_once(server):
    server.set(together=streams._REQUESTS)
    with Scene(server.url) as scene:
        scene.stretch((1,))
    assert server.reached.is_set()
    assert server.gets <= 1 + 64


def test_a_request_that_fails_is_tried_again_by_itself(server, packed):
    server.set(together=7, fails=5)
    with isoq.open(server.url) as src:
        assert np.array_equal(
            src.read(1, window=((0, 512), (0, 9))), isoq.decompress(packed)[0, :, :9]
        )
    assert server.gets == 1 + 8 + 1


def test_a_server_that_gives_no_parts_is_asked_for_the_file_once(server, packed):
    server.set(whole=True)
    with isoq.open(server.url) as src:
        assert np.array_equal(src.read(), isoq.decompress(packed))
    assert server.gets == 3  # the header, a part, the file


def test_tiles_that_are_neighbours_in_the_file_come_with_one_request(server, packed, monkeypatch):
    monkeypatch.undo()
    with isoq.open(server.url) as src:
        whole = src.read()
    assert server.gets == 2
    assert server.sent == src.file._container._end  # each byte once
    assert np.array_equal(whole, isoq.decompress(packed))


def test_a_fork_asks_by_connections_of_its_own(server, packed):
    with isoq.open(server.url) as src:
        before = src.read(1, window=((0, 512), (0, 9)))
        child = os.fork()
        if not child:
            same = np.array_equal(src.read(1, window=((0, 512), (0, 9))), before)
            os._exit(0 if same else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert np.array_equal(src.read(1, window=((0, 512), (0, 9))), before)


@modest(100)
@given(st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 1 << 19)), max_size=40))
def test_joined_ranges_cost_few_bytes_and_lose_none(gaps_and_sizes):
    found, position = [], 0
    for gap, size in gaps_and_sizes:
        found.append((position + gap, size))
        position += gap + size
    groups = ranges.joined(found)
    assert [one for group in groups for one in group] == found
    for group in groups:
        start, end = ranges.span(group)
        extra = end - start - sum(size for _, size in group)
        assert extra <= 4096 * (len(group) - 1)
        assert len(group) == 1 or end - start <= 1 << 20
    batches = list(ranges.batches(found))
    assert [one for batch in batches for one in batch] == found
    assert all(len(b) == 1 or sum(size for _, size in b) <= 8 << 20 for b in batches)
