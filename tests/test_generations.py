"""Images that are decoded and compressed again: the record says that errors may have added up."""

import json

import numpy as np
import pytest
import rasterio
from cases import DATA, crop
from images import make, whole

import isoq
from isoq.cli import main
from isoq.codec.generations import SampleDigest, accumulated

QUIET = ("--overwrite", "--quiet")


def info(path, capsys) -> dict:
    capsys.readouterr()
    assert main(["info", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_a_decompressed_image_says_so_when_it_is_compressed_again(tmp_path, capsys):
    first, again, back = tmp_path / "a.isoq", tmp_path / "b.isoq", tmp_path / "back.tif"
    for driver in ("GTiff", "COG"):
        assert (
            main(["compress", str(DATA / "sentinel2.tif"), str(first), "--mse", "25", *QUIET]) == 0
        )
        assert main(["decompress", str(first), str(back), "--driver", driver, *QUIET]) == 0
        assert main(["compress", str(back), str(again), "--mse", "25", *QUIET]) == 0
        one, two = info(first, capsys), info(again, capsys)
        assert "earlier" not in one
        assert np.allclose(two["earlier"]["mse"], one["mse"])
        found = ((isoq.open(again).read().astype(float) - crop("sentinel2.tif")) ** 2).mean((1, 2))
        with isoq.open(again) as file:
            bound = accumulated(file.file.header, file.file.statistics()).mse
        assert (found <= bound).all()
        for command in ("info", "verify"):
            assert main([command, str(again)]) == 0
            assert "errors may have added up to MSE" in capsys.readouterr().out


@pytest.mark.slow
def test_a_third_generation_counts_the_first_two(tmp_path, capsys):
    image, packed, seen = DATA / "landsat.tif", tmp_path / "a.isoq", []
    for _ in range(3):
        assert main(["compress", str(image), str(packed), "--mse", "400", *QUIET]) == 0
        seen.append(info(packed, capsys))
        image = tmp_path / "back.tif"
        assert main(["decompress", str(packed), str(image), *QUIET]) == 0
    before, own = np.array(seen[1]["earlier"]["mse"]), np.array(seen[1]["mse"])
    assert np.allclose(seen[2]["earlier"]["mse"], (before**0.5 + own**0.5) ** 2)


@pytest.mark.slow
def test_a_changed_image_that_was_decoded_is_named(tmp_path, capsys):
    packed, back = tmp_path / "a.isoq", tmp_path / "back.tif"
    assert main(["compress", str(DATA / "landsat.tif"), str(packed), "--mse", "400", *QUIET]) == 0
    assert main(["decompress", str(packed), str(back), *QUIET]) == 0
    with rasterio.open(back, "r+") as dataset:
        dataset.write(dataset.read(1) + 1, 1)
    assert main(["compress", str(back), str(packed), "--mse", "400", *QUIET]) == 0
    assert info(packed, capsys)["earlier"] == {}
    assert main(["info", str(packed)]) == 0
    assert "a changed image that had been decoded" in capsys.readouterr().out


def test_without_loss_there_is_nothing_to_say(tmp_path, capsys):
    packed, back = tmp_path / "a.isoq", tmp_path / "back.tif"
    source = make(tmp_path / "a.tif", crop("landsat.tif"))
    assert main(["compress", str(source), str(packed), "--lossless", *QUIET]) == 0
    assert main(["decompress", str(packed), str(back), *QUIET]) == 0
    assert "ISOQ" not in whole(back)[0].metadata.get("tags", {})
    assert main(["compress", str(back), str(packed), "--mse", "400", *QUIET]) == 0
    assert "earlier" not in info(packed, capsys)


def test_a_digest_does_not_depend_on_the_windows():
    pixels = crop("sentinel2.tif")
    bands, rows, cols = pixels.shape
    one, other = SampleDigest(rows, cols), SampleDigest(rows, cols)
    one.add(0, 0, 0, pixels)
    for row in (64, 0, 128):
        for band in range(bands):
            other.add(band, row, 0, pixels[band : band + 1, row : row + 64])
    assert str(one) == str(other)
    for change in ((0, 0, 0), (2, 130, 148)):
        pixels[change] += 1
        changed = SampleDigest(rows, cols)
        changed.add(0, 0, 0, pixels)
        assert str(changed) != str(one)
