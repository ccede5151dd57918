"""The page of the viewer in a browser."""

import json
import time
import warnings

import numpy as np
import pytest
import rasterio
from browser import Browser, chromium
from viewing import sentinel_of, served

import isoq
from isoq.codec.block_errors import block_errors
from isoq.codec.reader import File

pytestmark = pytest.mark.slow

needs_chromium = pytest.mark.skipif(chromium() is None, reason="needs Chromium; make browser")
LOADED = (
    "!!document.querySelector('.leaflet-tile-loaded') "
    "&& !Object.values(layers).some(layer => layer.isLoading())"
)


def look_at(browser, col, row, zoom):
    """Center the map on a pixel. Events have whole pixels of the window, so zoom 0 is too small for
    exact places."""
    browser.run(f"void map.setView([-{row}, {col}], {zoom}, {{ animate: false }})")


def shown_at(browser, col, row):
    """The place in the window of a corner of a pixel."""
    place = browser.run(f"map.latLngToContainerPoint([-{row}, {col}])")
    return place["x"], place["y"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("view")


@pytest.fixture(scope="module")
def sentinel(folder):
    return sentinel_of(folder)


@pytest.fixture(scope="module")
def server(sentinel):
    with served(sentinel[1], sentinel[0]) as running:
        yield running


@pytest.fixture(scope="module")
def page(server, tmp_path_factory):
    """The page of an image with three bands and its original, and where it saves files."""
    saved = tmp_path_factory.mktemp("saved")
    with Browser() as browser:
        browser.save_to(saved)
        browser.open(server.url)
        browser.until(LOADED)
        yield browser, saved
        assert browser.complaints == []
        assert all(address.startswith((server.url, "blob:")) for address in browser.requests)
        browser.open("about:blank")


@needs_chromium
def test_the_tiles_of_both_images_appear(page):
    browser, _ = page
    assert browser.run("[...document.querySelectorAll('.leaflet-tile')].every(i => i.naturalWidth)")
    for layer in ("decoded", "original"):
        assert browser.run(f"!!document.querySelector('.leaflet-{layer}-pane img')")
    assert "3 bands, uint16, target: mse 150" in browser.run("element('facts').textContent")


@needs_chromium
def test_the_divider_moves_the_border_between_the_images(page):
    browser, _ = page
    width, height = browser.run("(() => { const s = map.getSize(); return [s.x, s.y]; })()")

    def edges():
        """Where the original ends and the reconstruction begins, in the window."""
        start = browser.run("map.containerPointToLayerPoint([0, 0]).x")
        clips = [
            browser.run(f"map.getPane('{name}').style.clip").strip("rect()").split(", ")
            for name in ("original", "decoded")
        ]
        original, decoded = ([float(side.removesuffix("px")) for side in clip] for clip in clips)
        return original[1] - start, decoded[3] - start

    assert edges() == pytest.approx((width / 2, width / 2))
    browser.drag((width / 2, height / 2), (width / 4, height / 2))
    assert edges() == pytest.approx((width / 4, width / 4))
    browser.key("ArrowRight")
    assert edges() == pytest.approx((0.27 * width, 0.27 * width))
    browser.run("void map.panBy([30, 10], { animate: false })")
    assert edges() == pytest.approx((0.27 * width, 0.27 * width))


@needs_chromium
def test_three_bands_are_shown_as_colours(page):
    browser, _ = page
    for value in ("3", "1"):
        browser.run(
            f"element('mode').value = '{value}'; element('mode').dispatchEvent(new Event('change'))"
        )
        wanted = {"3": "/1,2,3.png", "1": "/1.png"}[value]
        browser.until(
            f"{LOADED} && [...document.querySelectorAll('.leaflet-decoded-pane img')]"
            f".every(image => image.src.endsWith('{wanted}'))"
        )


@needs_chromium
def test_the_cursor_shows_coordinates_and_samples(page, sentinel):
    browser, _ = page
    look_at(browser, 100, 250, 3)
    browser.move(shown_at(browser, 100.5, 250.5))
    browser.until("element('cursor').textContent.includes('original')")
    text = browser.run("element('cursor').textContent")
    with rasterio.open(sentinel[0]) as image:
        east, north = image.xy(250, 100)
        value = image.read(1)[250, 100]
    assert text.startswith(f"row 250, column 100   EPSG:32631 {east:.2f}, {north:.2f}\n")
    assert f"original {value}" in text


@needs_chromium
def test_the_overlay_and_the_histogram_appear(page):
    browser, _ = page
    browser.run("element('errors').click()")
    browser.until("element('errors-state').textContent.startsWith('49 blocks, measured')")
    assert browser.run("element('histogram').querySelectorAll('rect').length") == 40
    browser.until("!!document.querySelector('.leaflet-errors-pane .leaflet-tile-loaded')")
    browser.run("element('errors').click()")
    assert browser.run("element('histogram').hidden")


@needs_chromium
def test_drawn_regions_are_saved_as_geojson_for_compress(page, sentinel, folder):
    browser, saved = page
    look_at(browser, 230, 210, 1)
    browser.run("element('rectangle').click()")
    browser.drag(shown_at(browser, 64, 192), shown_at(browser, 256, 320))
    browser.run("element('polygon').click()")
    for corner in ((300, 100), (400, 100), (400, 160)):
        browser.click(shown_at(browser, *corner))
    browser.click(shown_at(browser, 300, 200), times=2)
    browser.run("element('save').click()")
    path = saved / "sentinel-regions.geojson"
    end = time.monotonic() + 20
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    found = json.loads(path.read_text())
    with rasterio.open(sentinel[0]) as image:
        corners = [
            image.transform * place for place in ((64, 320), (256, 320), (256, 192), (64, 192))
        ]
    assert found["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32631"
    rings = [feature["geometry"]["coordinates"][0] for feature in found["features"]]
    assert [tuple(point) for point in rings[0]] in [
        [*corners[k:], *corners[:k], corners[k]] for k in range(4)
    ]
    assert len(rings[1]) == 5
    for ring in rings:  # counterclockwise, and closed
        xs, ys = np.array(ring).T
        assert (xs[:-1] * ys[1:] - xs[1:] * ys[:-1]).sum() > 0
        assert ring[0] == ring[-1]
    with warnings.catch_warnings(category=isoq.IsoqWarning, action="ignore"):
        isoq.compress_file(sentinel[0], folder / "roi.isoq", mse=900, roi=path, roi_mse=90)
    with (folder / "roi.isoq").open("rb") as stream:
        file = File(stream)
        (part,) = block_errors(file, file.model(), 1)
    near = np.zeros((7, 7), bool)
    near[3:5, 1:4] = near[1:4, 4:] = True  # the blocks that the two regions touch
    low = part.target[0] < 500
    assert low[3:5, 1:4].all()
    assert low[1:3, 5].all()
    assert not low[~near].any()


@needs_chromium
def test_the_page_shows_the_estimate_and_the_command(page, sentinel):
    browser, _ = page
    look_at(browser, 200, 200, 1)
    browser.run("element('clear').click()")
    browser.run("element('inside').value = 40; element('estimate').click()")
    assert browser.run("element('result').textContent") == "Draw a region first."
    browser.run("element('rectangle').click()")
    browser.drag(shown_at(browser, 0, 128), shown_at(browser, 128, 256))
    browser.run("element('estimate').click()")
    browser.until("element('result').textContent.startsWith('About ')")
    assert browser.run("element('command').textContent") == (
        f"isoq compress {sentinel[0]} sentinel-regions.isoq --mse 150 "
        "--roi sentinel-regions.geojson --roi-mse 40 --tile 64"
    )
