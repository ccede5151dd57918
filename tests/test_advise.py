"""The noise of an image, and the targets that follow from it."""

import json
import shlex

import numpy as np
import pytest
from cases import DATA, crop, modest, terrain
from hypothesis import given
from hypothesis import strategies as st
from images import make

import isoq
from isoq.cli import main
from isoq.codec.noise import noise_of
from isoq.codec.sources import ArraySource

SHAPE = (256, 256)


def gaussian(rmse: float, seed: int = 0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, rmse, shape)


def slope(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """A smooth image (rows, cols) between 1000 and 3000."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    return 2000 + 600 * np.sin(rows / 40) + 400 * np.cos(cols / 55)


def noise(image: np.ndarray, nodata: float | None = None):
    (found,) = noise_of(ArraySource(image[None], nodata))
    return found


@modest(20)
@given(st.floats(2, 60), st.sampled_from(["uint16", "int16", "float32"]), st.integers(0, 9))
def test_white_noise_on_a_smooth_image_is_found_and_trusted(rmse, dtype, seed):
    found = noise((slope() + gaussian(rmse, seed)).astype(dtype))
    assert found.rmse == pytest.approx(rmse, rel=0.2)  # some 16 blocks are looked at
    assert found.remarks == ()
    assert found.snr == pytest.approx(10 * np.log10((slope().var() + rmse**2) / rmse**2), abs=2)


@pytest.mark.parametrize("name", ["landsat.tif", "sentinel2.tif", "sentinel1.tif"])
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_noise_added_to_an_image_is_found(name, factor):
    pixels = crop(name)[0]
    own = noise(pixels).rmse
    added = pixels + gaussian(factor * own, shape=pixels.shape)
    found = noise(added.astype("float32"))
    assert found.rmse == pytest.approx(own * np.sqrt(1 + factor**2), rel=0.12)


def test_texture_and_smoothed_noise_are_not_trusted():
    assert "texture" in noise(crop("landsat.tif")[0]).remarks[0]
    white = gaussian(40)
    smoothed = (white + np.roll(white, 1, 0) + np.roll(white, 1, 1) + np.roll(white, (1, 1))) / 4
    assert "correlated" in noise((slope() + smoothed).astype("float32")).remarks[0]


def test_noise_that_grows_with_the_signal_is_named():
    bright = np.linspace(200, 20000, SHAPE[1])[None].repeat(SHAPE[0], 0)
    found = noise((bright + np.sqrt(bright) * gaussian(1)).astype("uint16"))
    assert any("brightness" in remark for remark in found.remarks)


def test_noise_below_rounding_is_the_noise_of_rounding():
    found = noise(np.rint(slope() / 40 + gaussian(0.05)).astype("uint8"))
    assert found.rmse == pytest.approx(1 / np.sqrt(12), rel=0.5)
    assert "rounding" in found.remarks[0]
    steps = noise((16 * np.rint(slope() / 160 + gaussian(0.05))).astype("uint16"))
    assert steps.rmse == pytest.approx(16 / np.sqrt(12), rel=0.5)


def test_missing_filled_and_saturated_pixels_do_not_count():
    image = slope() + gaussian(20)
    image[:, :100] = 65535  # nodata
    image[:60, 100:] = 0  # filled, but not marked
    image = np.minimum(image, 2500)  # saturated
    image[:, :100] = 65535
    assert noise(image.astype("uint16"), 65535).rmse == pytest.approx(20, rel=0.1)
    gaps = (slope() + gaussian(20)).astype("float32")
    gaps[::97] = np.nan
    assert noise(gaps).rmse == pytest.approx(20, rel=0.15)


@pytest.mark.parametrize(
    "image",
    [np.full((64, 64), 7, "uint8"), np.full((9, 9), np.nan, "float32"), np.eye(7, dtype="uint16")],
)
def test_an_image_without_noise_gives_no_advice(capsys, tmp_path, image):
    assert noise(image).rmse is None
    assert noise(image).remarks
    assert isoq.advise(image, lossless_bands="none").choices == []
    path = make(tmp_path / "a.tif", image[None])
    assert main(["advise", str(path), "--lossless-bands", "none"]) == 0
    assert "no target follows" in capsys.readouterr().out


def test_choices_are_shares_of_the_noise():
    advice = isoq.advise(DATA / "sentinel2.tif")
    rmse = [one.rmse for one in advice.noise]
    assert [choice.share for choice in advice.choices] == [0.1, 1, 4]
    for choice in advice.choices:
        assert choice.target.value == pytest.approx(
            np.sqrt(choice.share) * np.array(rmse), rel=0.01
        )
        (same,) = isoq.estimate(DATA / "sentinel2.tif", choice.target)
        assert (choice.bytes, choice.bits_per_sample) == (same.bytes, same.bits_per_sample)
        assert choice.ratio == pytest.approx(16 / choice.bits_per_sample)
    sizes = [choice.bytes for choice in advice.choices]
    assert sizes == sorted(sizes, reverse=True)


def test_the_error_of_a_choice_is_its_share_of_the_noise():
    image = (slope() + gaussian(30)).astype("uint16")
    choice = isoq.advise(image).choices[1]
    error = isoq.decompress(isoq.compress(image, rmse=choice.target.value)).astype(float) - image
    assert 0.7 * 30 <= np.sqrt(np.mean(error**2)) <= choice.target.value


def test_lossless_bands_have_no_noise():
    pixels = np.stack([slope() + gaussian(9), 40 * (slope() > 2000)]).astype("uint16")
    advice = isoq.advise(pixels)
    assert advice.noise[1].remarks == ("kept losslessly",)
    assert advice.choices[0].snr[1] is None
    assert advice.choices[0].target.value == pytest.approx(np.sqrt(0.1) * 9, rel=0.1)


def test_the_command_that_is_printed_runs(capsys, tmp_path):
    path = make(tmp_path / "a b.tif", terrain(2, 100, 90, "uint16"), crs="EPSG:3857")
    assert main(["advise", str(path), "--block", "32", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["band"] for entry in found["noise"]] == [1, 2]
    command = shlex.split(found["choices"][1]["command"])
    assert command[:3] == ["isoq", "compress", str(path)]
    assert command[-2:] == ["--block", "32"]
    assert main(command[1:]) == 0
    capsys.readouterr()
    assert main(["advise", str(path), "--block", "32"]) == 0
    out = capsys.readouterr().out
    assert shlex.join(command) in out.splitlines()
    assert "cannot be told from the original" in out


def test_many_bands_are_summed_up(capsys, tmp_path):
    pixels = np.stack([slope((80, 80)) + gaussian(5 + k, k, (80, 80)) for k in range(20)])
    path = make(tmp_path / "cube.tif", pixels.astype("uint16"), crs="EPSG:3857")
    assert main(["advise", str(path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[2:5]][::2] == ["1", "20"]


def test_compress_without_a_target_advises_and_writes_nothing(capsys, tmp_path):
    path = make(tmp_path / "a.tif", terrain(1, 90, 100, "uint16"), crs="EPSG:3857")
    assert main(["compress", str(path), "--out", str(tmp_path / "new")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith(f"isoq: {path}: no target; ")
    assert err.count(f"isoq compress {path} --rmse ") == 3
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]
    assert main(["compress", str(tmp_path / "none.tif")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_compress_without_a_target_stays_quiet_for_programs(capsys):
    for flag in ("--json", "--quiet"):
        assert main(["compress", str(DATA / "landsat.tif"), flag]) == 2
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert "no target; give one of --mse" in err
