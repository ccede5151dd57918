"""`isoq view`: a page that shows a file beside its original."""

from __future__ import annotations

import argparse
import sys
import webbrowser

from ..view.scene import Scene
from ..view.server import Server
from .common import add_machine
from .messages import say

_DESCRIPTION = """\
Show a file in the browser: its bands, the errors of its blocks, and the original beside it.

isoq prints the address of the page, which only this machine can open, and serves it until Ctrl-C.
Nothing is fetched from the internet."""

_EXAMPLES = """examples:
  isoq view scene.isoq
  isoq view scene.isoq --against scene.tif
  isoq view https://example.com/scene.isoq --no-browser"""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    parser.add_argument("source", metavar="SRC.isoq", help="file or URL")
    parser.add_argument(
        "--against",
        metavar="IMG",
        help="the original image, which is shown beside the file; errors are measured against it "
        "(default: errors are those that the file records)",
    )
    parser.add_argument(
        "--geometry",
        metavar="BANDS_WIDTH_HEIGHT_TYPE_ENDIAN_RGB",
        help="layout of a raw original whose name does not have it",
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="port of the page (default: a free one)"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address, and open no browser"
    )
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="folder of the model, if isoq does not include it and neither does the file",
    )
    add_machine(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.geometry and not options.against:
        say("--geometry: has no effect without --against")
    names = ("source", "against", "geometry", "model", "device", "threads")
    with (
        Scene(**{name: getattr(options, name) for name in names}) as scene,
        Server(scene, options.port) as server,
    ):
        print(server.url, flush=True)
        if sys.stderr.isatty():
            say("press Ctrl-C to stop")
        if not options.no_browser:
            webbrowser.open(server.url)
        server.serve_forever()
    return 0
