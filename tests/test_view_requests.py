"""What the server of the viewer answers and refuses, and the estimates for regions."""

import http.client
import json
import socket
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cases import crop
from images import make, one_line
from viewing import ask, packed, region_of, sentinel_of, served

import isoq
from isoq.cli import main
from isoq.codec.target import Target
from isoq.errors import InputError
from isoq.view import server as view_server
from isoq.view.scene import Scene
from isoq.view.server import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("view")


@pytest.fixture(scope="module")
def sentinel(folder):
    return sentinel_of(folder)


@pytest.fixture(scope="module")
def bare(folder):
    """One band without a reference system, and its file."""
    image = make(folder / "bare.tif", crop("landsat.tif"))
    return image, packed(folder, "bare", image, snr=25)


@pytest.fixture(scope="module")
def server(sentinel):
    with served(sentinel[1], sentinel[0]) as running:
        yield running


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "tile/decoded/0/9/0/1.png",
        "tile/decoded/9/0/0/1.png",
        "tile/decoded/0/0/0/4.png",
        "tile/decoded/0/0/0/0.png",
        "tile/decoded/0/0/0/1,2.png",
        "tile/nowhere/0/0/0/1.png",
        "tile/decoded/-1/0/0/1.png",
        "values/393/0/1.json",
        "errors/4.json",
    ],
)
def test_what_is_not_there_is_not_found(server, path):
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "../view.js",
        "../../server.py",
        "page/../../server.py",
        "leaflet/LICENSE",
        "%2e%2e/server.py",
        "..%2fserver.py",
        "/etc/passwd",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_table_of_files(server, path):
    assert ask(server, path)[0] in (403, 404)


def test_only_those_who_know_the_token_get_an_answer(server):
    for token in ("", "x", server.token[:-1], server.token + "x", "%C3%A9"):
        assert ask(server, "scene.json", token=token)[0] == 403
    assert ask(server, "scene.json")[0] == 200


def test_a_foreign_name_of_this_machine_is_refused(server):
    port = server.server_port
    for host in ("example.com", f"example.com:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", ""):
        assert ask(server, "scene.json", host=host)[0] == 403
    assert ask(server, "scene.json", host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_nothing_but_get_is_answered(server, method):
    assert ask(server, "scene.json", method)[0] == 501


def test_the_server_listens_on_this_machine_only_and_limits_the_page(server):
    assert server.server_address[0] == "127.0.0.1"
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request("GET", f"/{server.token}/")
    answer = connection.getresponse()
    page = answer.read().decode()
    connection.close()
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "://" not in page


def test_the_estimate_of_a_region_is_near_the_size_of_the_file(bare, folder):
    image, path = bare
    region = region_of((0, 0), (0, 100), (110, 100), (110, 0))
    with Scene(path, image) as scene:
        found = scene.estimate(json.dumps(region), "mse", [4000.0], 400.0)
    roi = folder / "roi.geojson"
    roi.write_text(json.dumps(region))
    how = dict(mse=4000, tile=64)
    plain = isoq.compress_file(image, folder / "plain.isoq", **how)["bytes"]
    varied = isoq.compress_file(image, folder / "varied.isoq", roi=roi, roi_mse=400, **how)["bytes"]
    assert varied > 1.1 * plain
    assert found["without"] == pytest.approx(plain, rel=0.05)
    assert found["bytes"] == pytest.approx(varied, rel=0.05)
    assert found["decoded"] is False


@pytest.mark.parametrize(
    ("corner", "inside"), [(0, 4000.0), (5000, 400.0)], ids=["same target", "beside the image"]
)
@pytest.mark.filterwarnings("ignore:.*touches no pixel")
def test_a_region_that_changes_nothing_costs_nothing(bare, corner, inside):
    a, b = corner, corner + 100
    region = region_of((a, a), (a, b), (b, b), (b, a))
    with Scene(bare[1], bare[0]) as scene:
        found = scene.estimate(json.dumps(region), "mse", [4000.0], inside)
    assert found["bytes"] == found["without"]


def test_a_fault_of_the_program_is_not_taken_for_a_wrong_address(server, monkeypatch):
    def fail(*_):
        raise IndexError("list index out of range")

    monkeypatch.setattr(server.scene, "summary", fail)
    monkeypatch.setattr(server, "handle_error", lambda *_: None)  # prints the traceback
    assert ask(server, "errors/1.json") == (500, b"internal error; please report it")


def test_a_region_can_be_estimated_from_the_decoded_image(sentinel):
    region = region_of((0, 0), (0, 200), (200, 200), (200, 0))
    region["crs"] = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
    x, y = rasterio.open(sentinel[0]).transform * (0, 0)
    ring = region["features"][0]["geometry"]["coordinates"][0]
    ring[:] = [(x + 10 * col, y - 10 * row) for col, row in ring]
    with Scene(sentinel[1]) as scene:
        found = scene.estimate(json.dumps(region), "mse", [600.0], 60.0)
    assert found["bytes"] > found["without"]
    assert found["decoded"] is True
    assert found["command"] == (
        "isoq compress sentinel.tif sentinel-regions.isoq --mse 600 --roi sentinel-regions.geojson "
        "--roi-mse 60 --tile 64 --lossless-bands none"
    )


@pytest.mark.parametrize(
    "query",
    [
        "",
        "regions={}&kind=mse&value=1&inside=x",
        "regions=[]&kind=bitrate&value=1&inside=1",
        f"regions={'[' * 20000}&kind=mse&value=1&inside=1",
        f"regions={'%7B%22type%22:' * 4000}&kind=mse&value=1&inside=1",
        "regions=%7B%22type%22:%22%5Cud800%22%7D&kind=mse&value=1&inside=1",
        "regions=nothing&kind=mse&value=1&inside=1",
        "regions=%7B%22type%22:%22Point%22%7D&kind=mse&value=1&inside=1",
    ],
)
def test_an_estimate_that_cannot_be_made_says_why_in_a_line(server, query):
    status, body = ask(server, f"estimate.json?{query}")
    assert status == 400
    assert b"; " in body
    assert b"\n" not in body
    assert b"/" not in body  # no path of a temporary file


@pytest.mark.parametrize("address", ["http://[", "http://[::1/", "//[", "?", "*", "/%"])
def test_an_address_that_is_none_is_refused(server, address):
    port = server.server_port
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {address} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 403 ")


def test_the_estimate_counts_the_corrections_of_blocks(folder):
    noise = np.random.default_rng(0).integers(0, 60000, (1, 128, 128), dtype="uint16")
    image = make(folder / "noise.tif", noise)
    path = packed(folder, "noise", image, mse=1e6)
    with Scene(path, image) as scene:
        geojson = json.dumps(region_of((0, 0), (0, 64), (64, 64), (64, 0)))
        found = scene.estimate(geojson, "mse", [1.0], 0.9)["without"]
    sizes = [
        isoq.compress_file(image, folder / "o.isoq", mse=1, tile=64, overwrite=True, **how)
        for how in ({}, {"single_pass": True})
    ]
    closed, single = (size["bytes"] for size in sizes)
    assert closed > 1.1 * single
    assert found == pytest.approx(closed, rel=0.02)


@pytest.mark.parametrize(
    ("how", "words"),
    [({}, ""), ({"mask": "none"}, " --mask none"), ({"tile": 128, "block": 32}, " --tile 128")],
)
def test_the_command_has_the_options_that_the_file_was_made_with(folder, how, words):
    image = make(folder / "how.tif", crop("landsat.tif"))
    path = folder / "how.isoq"
    isoq.compress_file(image, path, mse=4000, overwrite=True, **how)
    geojson = json.dumps(region_of((0, 0), (0, 100), (110, 100), (110, 0)))
    with Scene(path, image) as scene:
        command = scene.estimate(geojson, "mse", [4000.0], 400.0)["command"]
    block = " --block 32" if "block" in how else ""
    assert command.endswith(f" --roi-mse 400{block}{words}")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("bands", "words"),
    [("auto", " --lossless-bands 2"), ("none", " --lossless-bands none"), ([1, 2], None)],
)
def test_the_command_keeps_the_bands_losslessly_that_the_file_does(folder, known, bands, words):
    def name(dataset):
        dataset.set_band_description(2, "SCL")

    image = make(folder / "scl.tif", crop("sentinel2.tif")[:2], name)
    path = folder / "scl.isoq"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", isoq.IsoqWarning)
        isoq.compress_file(image, path, mse=4000, overwrite=True, lossless_bands=bands)
    with Scene(path, image if known else None) as scene:
        command = scene.regions.command(Target("mse", [4000.0]), 400.0)
    found = " --lossless-bands 1,2" if words is None else words
    assert command.endswith("" if known and bands == "auto" else found)
    assert ("--lossless-bands" in command) == (not (known and bands == "auto"))


def test_the_original_may_have_any_name_that_gdal_opens(sentinel, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(sentinel[0], "a.tif")
    with served(sentinel[1], f"/vsizip/{tmp_path}/a.zip/a.tif") as server:  # with "//"
        assert ask(server, "tile/original/0/0/0/1.png")[0] == 200


def test_another_image_than_the_original_is_refused(bare, sentinel):
    with one_line(InputError, "another size"), Scene(bare[1], sentinel[0]):
        pass


def test_a_port_in_use_is_one_line(server, bare, capsys):
    arguments = ["view", str(bare[1]), "--no-browser", "--port", str(server.server_port)]
    assert main(arguments) == 2
    assert f"--port {server.server_port}: cannot be used" in capsys.readouterr().err


def test_the_command_prints_the_address_and_ends_with_an_interrupt(bare, monkeypatch, capsys):
    def serve(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", serve)
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["view", str(bare[1])]) == 130
    assert opened == [capsys.readouterr().out.strip()]
    assert opened[0].startswith("http://127.0.0.1:")


def test_the_files_of_the_page_are_small():
    page = Path(view_server.__file__).parent / "page"
    assert sum(path.stat().st_size for path in page.rglob("*")) < 1_000_000
