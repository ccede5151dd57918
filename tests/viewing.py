"""What the tests of the viewer share: images, a server in a thread, and its answers."""

import contextlib
import http.client
import json
import threading
import warnings

import numpy as np
import rasterio
from cases import DATA, crop
from images import make

import isoq
from isoq.view.scene import Scene
from isoq.view.server import Server


@contextlib.contextmanager
def served(source, against=None, geometry=None):
    """A server in a thread of its own."""
    with Scene(source, against, geometry) as scene, Server(scene) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server, path, method="GET", host=None, token=None):
    """The status and the body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    address = f"/{server.token if token is None else token}/{path}"
    headers = {} if host is None else {"Host": host}
    try:
        connection.request(method, address, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def get(server, path):
    status, body = ask(server, path)
    assert status == 200, body
    return json.loads(body) if path.endswith("json") or "?" in path else unpng(body)


def unpng(data):
    """The planes (bands, rows, cols) of a PNG that the server made, read without its help."""
    with rasterio.MemoryFile(data) as memory, memory.open() as dataset:
        return dataset.read()


def packed(folder, name, image, **target):
    path = folder / f"{name}.isoq"
    with warnings.catch_warnings(category=isoq.IsoqWarning, action="ignore"):
        isoq.compress_file(image, path, tile=64, **target)
    return path


def sentinel_of(folder):
    """Three bands with nodata in one corner, and their file."""
    pixels = np.tile(crop("sentinel2.tif"), (1, 3, 3))
    pixels[:, :40, :70] = 65535
    with rasterio.open(DATA / "sentinel2.tif") as dataset:
        placed = dict(crs=dataset.crs, transform=dataset.transform, nodata=65535)
    image = make(folder / "sentinel.tif", pixels, **placed)
    return image, packed(folder, "sentinel", image, mse=150)


def region_of(*points):
    """A polygon as GeoJSON."""
    polygon = {"type": "Polygon", "coordinates": [[*points, points[0]]]}
    feature = {"type": "Feature", "properties": {}, "geometry": polygon}
    return {"type": "FeatureCollection", "features": [feature]}
