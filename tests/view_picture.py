"""Take the picture of `isoq view` for the documentation: `python tests/view_picture.py` writes
docs/images/view.png."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import rasterio
from browser import Browser

import isoq
from isoq.view.scene import Scene
from isoq.view.server import Server

ROOT = Path(__file__).parent.parent
IMAGE = ROOT / "examples/data/sentinel2.tif"
SIZE = 900, 700  # pixels
COLOURS = """
element("mode").value = "3";
[3, 2, 1].forEach((band, k) => { element("bands").querySelectorAll("select")[k].value = band; });
showBands();
element("errors").click();
element("inside").value = 25;
"""


def save(picture: bytes) -> None:
    """Write a PNG without its opacity, in fewer bytes than the browser takes."""
    with rasterio.MemoryFile(picture) as memory, memory.open() as dataset:
        pixels = dataset.read([1, 2, 3]) & 0xFC  # nobody sees the last bits, but they cost a third
    profile = {"driver": "PNG", "count": 3, "dtype": "uint8", "ZLEVEL": 9}
    with rasterio.open(
        ROOT / "docs/images/view.png", "w", **profile, height=SIZE[1], width=SIZE[0]
    ) as out:
        out.write(pixels)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        os.chdir(folder)  # the page shows the path as it is given
        path = Path("sentinel2.isoq")
        isoq.compress_file(IMAGE, path, mse=900, block=32)
        with Scene(path, IMAGE) as scene, Server(scene) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            browser.resize(*SIZE)
            browser.open(server.url)
            browser.until("!!layers.decoded && !layers.decoded.isLoading()")
            browser.run(COLOURS)
            scene.errors.wait()
            browser.run("void map.setView([-128, 160], 0, { animate: false })")
            browser.run("void showErrors()")
            browser.run("element('rectangle').click()")
            browser.drag((330, 390), (430, 440))
            browser.run("element('estimate').click()")
            browser.until("element('result').textContent.startsWith('About ')")
            browser.until("!Object.values(layers).some((layer) => layer.isLoading())")
            browser.move((400, 300))
            browser.until("element('cursor').textContent.includes('original')")
            save(browser.picture())
            browser.open("about:blank")
            server.shutdown()


if __name__ == "__main__":
    main()
