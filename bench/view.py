"""Measure how soon the viewer shows a whole scene, and how much of the file that takes;
results/view.csv.

The scene is the mosaic of bench/scene.py, compressed once in one pass and kept in `--folder`.
Headless Chromium opens the page in a window of 1200 x 1000 pixels and asks for the tiles that fill
it: the whole image at a reduced resolution. `first picture` is the time from the request for the
page to the last byte of the last tile. `CPU` is the processor time from opening the file to then,
of isoq and of the HTTP server. Each run opens the file anew, which the system may still hold in
memory, and the fastest counts. `start` is the time from the command to the address that it prints.
`bytes` were read from the file, which lies on the disk or behind an HTTP server of this machine
that answers ranges."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

from common import HERE, Row, add_split, print_table, save
from mosaic import write_mosaic

import isoq
from isoq.storage.streams import LocalStream
from isoq.view.scene import Scene
from isoq.view.server import Server

sys.path.insert(0, str(HERE.parent / "tests"))
from browser import Browser

# Tiles that have come and the time of the last one in ms; none until all have come.
LOADED = """(() => {
  if (!document.querySelector("img.leaflet-tile") || layers.decoded.isLoading()) return null;
  const tiles = performance.getEntriesByType("resource").filter((e) => e.name.includes("/tile/"));
  return [tiles.length, Math.max(...tiles.map((e) => e.responseEnd))];
})()"""


class Ranges(BaseHTTPRequestHandler):
    """Serves `data`, whole or by range, and counts the bytes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    data = b""
    sent = 0

    def do_HEAD(self) -> None:
        self._head(200, len(self.data))

    def do_GET(self) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "bytes=0-"))
        assert found, self.headers["Range"]
        first, last = int(found[1]), int(found[2] or len(self.data) - 1)
        part = self.data[first : last + 1]
        more = {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(self.data)}"}
        self._head(206, len(part), more)
        self.wfile.write(part)
        Ranges.sent += len(part)

    def _head(self, code: int, size: int, more: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Accept-Ranges": "bytes", **(more or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[None]:
    """Serve in a thread."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def first_picture(place: str, browser: Browser) -> tuple[int, float, float]:
    """Return the number of tiles that fill the window, the seconds that they took, and the
    processor time of isoq."""
    began = time.process_time()
    with Scene(place) as scene, Server(scene) as server, running(server):
        browser.open(server.url)
        while (found := browser.run(LOADED)) is None:
            time.sleep(0.02)
        used = time.process_time() - began
        browser.open("about:blank")  # no request is left when the server ends
        assert not browser.complaints, browser.complaints
    tiles, milliseconds = found
    return int(tiles), milliseconds / 1000, used


def start_up(place: str) -> float:
    """Return the seconds until the command prints the address."""
    command = [sys.executable, "-m", "isoq", "view", place, "--no-browser"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://")
        taken = time.perf_counter() - began
        process.terminate()
    return taken


def measure(name: str, place: str, size: int, rounds: int) -> Row:
    """Measure a file at a place, a path or URL."""
    read: list[int] = []
    read_at = LocalStream._read_at

    def counted(stream: LocalStream, position: int, wanted: int) -> bytes:
        data = read_at(stream, position, wanted)
        read.append(len(data))
        return data

    taken, used = [], []
    with Browser() as browser, patch.object(LocalStream, "_read_at", counted):
        for _ in range(rounds):
            read.clear()
            Ranges.sent = 0
            tiles, seconds, processor = first_picture(place, browser)
            taken.append(seconds)
            used.append(processor)
    count = Ranges.sent or sum(read)
    return {
        "file": name,
        "tiles": tiles,
        "first_picture": min(taken),
        "cpu": min(used),
        "start": min(start_up(place) for _ in range(rounds)),
        "bytes": count,
        "share": 100 * count / size,
    }


def packed(folder: Path, split: Path, side: int, snr: float) -> Path:
    """Return the scene as a file, which is made unless it is there."""
    path = folder / f"scene-{side}-{snr:g}.isoq"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as temporary:
            scene = Path(temporary, "scene.tif")
            write_mosaic(scene, split, side, side)
            isoq.compress_file(scene, path, snr=snr, single_pass=True)
    return path


def show(rows: list[Row]) -> None:
    """Print the table of the rows."""
    head = ("file", "first picture, s", "CPU, s", "tiles", "bytes", "of the file, %", "start, s")
    keys = ("file", "first_picture", "cpu", "tiles", "bytes", "share", "start")
    print_table(head, [tuple(row[key] for key in keys) for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_split(parser)
    parser.add_argument(
        "--folder",
        type=Path,
        default=HERE.parent / "build" / "view",
        help="where the compressed scene is kept (default: %(default)s)",
    )
    parser.add_argument(
        "--size", type=int, default=10980, help="pixels a side (default: %(default)s)"
    )
    parser.add_argument(
        "--snr", type=float, default=35, metavar="DB", help="target (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs (default: %(default)s)")
    options = parser.parse_args()
    path = packed(options.folder, options.split, options.size, options.snr)
    Ranges.data = path.read_bytes()
    size = len(Ranges.data)
    rows = [measure("on the disk", str(path), size, options.rounds)]
    with ThreadingHTTPServer(("127.0.0.1", 0), Ranges) as remote, running(remote):
        url = f"http://127.0.0.1:{remote.server_port}/scene.isoq"
        rows.append(measure("behind HTTP", url, size, options.rounds))
    save("view", rows, isoq.load_model("eo16"))
    show(rows)


if __name__ == "__main__":
    main()
