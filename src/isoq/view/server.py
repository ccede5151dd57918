"""The server of the page: this machine only, nothing but GET, and only for those who know the token
in its address."""

from __future__ import annotations

import json
import re
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from ..errors import InputError, IsoqError
from .scene import NotFound, Scene
from .tiles import Bands

# All files that are served; a path is looked up here and never on the disk.
_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "view.css": ("view.css", "text/css; charset=utf-8"),
    "view.js": ("view.js", "text/javascript; charset=utf-8"),
    "regions.js": ("regions.js", "text/javascript; charset=utf-8"),
    "leaflet.css": ("leaflet/leaflet.css", "text/css; charset=utf-8"),
    "leaflet.js": ("leaflet/leaflet.js", "text/javascript; charset=utf-8"),
}
_NUMBER = r"(\d{1,9})"
_BANDS = r"(\d{1,5}(?:,\d{1,5}){0,2})"
_TILE = re.compile(
    rf"tile/(decoded|original|errors)/(\d{{1,2}})/{_NUMBER}/{_NUMBER}/{_BANDS}\.png", re.ASCII
)
_VALUES = re.compile(rf"values/{_NUMBER}/{_NUMBER}/{_BANDS}\.json", re.ASCII)
_ERRORS = re.compile(rf"errors/{_BANDS}\.json", re.ASCII)
_HEADERS = {
    # Leaflet has an empty picture in a data: address.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
}
_JSON, _PNG = "application/json", "image/png"


class Server(ThreadingHTTPServer):
    """The server of the page for one scene. port: 0 for a free one. Raises InputError."""

    daemon_threads = True

    def __init__(self, scene: Scene, port: int = 0):
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"`port={port}`: cannot be used ({error}); give another one"
            ) from error
        self.scene, self.token = scene, secrets.token_urlsafe(16)
        page = files(__package__) / "page"
        self.files = {
            path: ((page / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()
        }

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def answer(self, path: str, query: str) -> tuple[bytes, str]:
        """Return the content of a path below the token, and its type.

        Raises NotFound if there is none, and the errors of `Scene`."""
        if path in self.files:
            return self.files[path]
        if found := _TILE.fullmatch(path):
            layer, *place, bands = found.groups()
            level, row, col = map(int, place)
            return self.scene.tile(layer, level, row, col, _bands(bands)), _PNG
        return json.dumps(self._facts(path, query)).encode(), _JSON

    def _facts(self, path: str, query: str) -> dict[str, Any]:
        if path == "scene.json":
            return self.scene.describe()
        if found := _VALUES.fullmatch(path):
            return self.scene.values(int(found[1]), int(found[2]), _bands(found[3]))
        if found := _ERRORS.fullmatch(path):
            return self.scene.summary(_bands(found[1]))
        if path == "estimate.json":
            return self.scene.estimate(*_estimate_arguments(query))
        raise NotFound


class _Handler(BaseHTTPRequestHandler):
    """Answers GET. Any other method is refused by the base class."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "isoq", ""
    disable_nagle_algorithm = True  # else the last part of an answer waits for an acknowledgement

    def do_GET(self) -> None:
        address, _, query = self.path.partition("?")
        token, _, path = address.removeprefix("/").partition("/")
        port = self.server.server_port
        # Another name for this address would be that of a foreign page (DNS rebinding).
        if self.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            return self.send_error(HTTPStatus.FORBIDDEN, "unknown host")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            return self.send_error(HTTPStatus.FORBIDDEN, "wrong token")
        try:
            content, kind = self.server.answer(path, query)
        except NotFound:
            self.send_error(HTTPStatus.NOT_FOUND)
        except InputError as error:
            self.send_error(HTTPStatus.BAD_REQUEST, str(error))
        except IsoqError as error:
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        except Exception:
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; please report it")
            raise
        else:
            self._send(HTTPStatus.OK, content, kind)
        return None

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send an error as plain text, and close the connection: a body may be unread."""
        self.close_connection = True
        text = message or HTTPStatus(code).phrase
        self._send(code, text.encode(errors="replace"), "text/plain; charset=utf-8")

    def _send(self, code: int, content: bytes, kind: str) -> None:
        self.send_response(code)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def _bands(text: str) -> Bands:
    """Return the numbers of one or three bands. Raises NotFound."""
    bands = tuple(map(int, text.split(",")))
    if len(bands) == 2:
        raise NotFound
    return bands


def _estimate_arguments(query: str) -> tuple[str, str, list[float], float]:
    """Return the polygons, the kind and value of the main target, and the MSE in the polygons.
    Raises InputError."""
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    try:
        value = [float(part) for part in given["value"].split(",")]
        return given["regions"], given["kind"], value, float(given["inside"])
    except (KeyError, ValueError) as error:
        raise InputError(
            "the targets must be numbers; give one for the regions and one for the rest"
        ) from error
