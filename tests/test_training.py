"""From images to a model folder in one command, and what the network is at its start."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cases import DATA

from isoq.cli import main
from isoq.levels import level_to_lambda
from isoq.network.model import Model, load_model

torch = pytest.importorskip("torch")

from isoq.network.onnx_transform import Transform  # noqa: E402
from isoq.train import time_limit  # noqa: E402
from isoq.train.contexts import _Forms, quantize_tables  # noqa: E402
from isoq.train.data import read_planes  # noqa: E402
from isoq.train.export import wavelet_analysis, wavelet_synthesis, write_model  # noqa: E402
from isoq.train.finish import finish  # noqa: E402
from isoq.train.loop import Schedule, Trainee  # noqa: E402
from isoq.train.networks import GDN, Network, NetworkConfig  # noqa: E402
from isoq.train.progress import Progress  # noqa: E402
from isoq.train.rate import start_weights  # noqa: E402
from isoq.train.time_limit import TimeLimit  # noqa: E402
from isoq.train.wavelet import WAVELETS, wavelet_leaves  # noqa: E402

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("learned", [False, True])
def test_train_then_compress(tmp_path, capsys, learned):
    out, images = tmp_path / "mine", [str(DATA / "landsat.tif"), str(DATA / "sentinel2.tif")]
    train = [
        "train",
        *images,
        "--val",
        images[0],
        "--out",
        str(out),
        *(["--learn-transforms"] if learned else []),
        "--patch",
        "64",
        "--batch",
        "2",
        "--quiet",
    ]
    assert main([*train, "--minutes", "0.02"]) == 0
    info = json.loads((out / "model.json").read_text())
    assert (info["name"], info["learned"], info["provenance"]["images"]) == ("mine", learned, 2)
    assert len(info["validation"]) == 7
    assert info["provenance"]["steps"] > 0
    card = (out / "MODEL.md").read_text()
    assert ("multiplications per pixel | analysis " in card) == learned
    if not learned:
        assert "| data | 25 | 1 | " in card  # the folder of the images
        with (out / "progress.csv").open(newline="") as stream:
            assert {point["plane"] for point in csv.DictReader(stream)} == {"landsat.tif#1"}
    assert main([*train, "--minutes", "0.02"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*train, "--minutes", "0.03", "--resume"]) == 0
    if not learned:
        assert main([*train, "--minutes", "0.04", "--resume", "--learn-transforms"]) == 2
        assert "another kind of network" in capsys.readouterr().err
    file, back = str(tmp_path / "x.isoq"), str(tmp_path / "x.tif")
    assert main(["compress", images[0], file, "--quality", "0.001", "--model", str(out)]) == 0
    assert main(["decompress", file, back]) == 2
    assert main(["decompress", file, back, "--model", str(out)]) == 0
    assert main(["verify", file, "--against", images[0], "--model", str(out)]) == 0
    assert main(["calibrate", images[0], "--model", str(out)]) == 0
    assert main(["decompress", file, back, "--model", str(out), "--overwrite"]) == 0


def test_a_network_from_noise_needs_time_and_says_so(tmp_path, capsys):
    out = tmp_path / "mine"
    train = ["train", str(DATA / "landsat.tif"), "--out", str(out), "--preset", "paper"]
    assert main([*train, "--patch", "64", "--batch", "2", "--minutes", "0.05", "--quiet"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert re.match(r"isoq: --minutes 0.05: about \d+ steps a minute make \d+, and this", lines[0])
    assert "no model is written; train longer, with --resume" in lines[1]
    assert (out / "checkpoint.pt").exists()
    assert not (out / "model.json").exists()


def test_a_preset_has_a_schedule_of_its_own():
    paper = Schedule.of_preset("paper", lambda_high=512.0, lambda_low=None)
    assert (paper.lambda_low, paper.lambda_high) == (4, 512)
    assert paper.rate_transforms == paper.rate_modulation == paper.rate_entropy == 2e-4
    assert Schedule.of_preset("default") == Schedule()


def reacting(config: NetworkConfig) -> Trainee:
    """An untrained network whose gains grow with lambda."""
    model = Trainee(config)
    with torch.no_grad():
        first, last = model.network.modulation_layers
        first.weight.fill_(0.3)
        last.weight.fill_(0.3)
    return model


def test_a_model_whose_rate_reacts_is_written(tmp_path):
    planes = read_planes([DATA / "landsat.tif"], 1, 64)
    config = NetworkConfig.of_preset("paper", widths=(4, 4, 4), latents=8, lambda_max=2048.0)
    model = reacting(config)
    schedule = Schedule.of_preset("paper", minutes=0.02)
    finish(model, planes, planes, tmp_path / "t-1", "t-1", schedule, {"images": 1, "samples": 1})
    written = Model(tmp_path / "t-1")
    assert written.learned
    assert set(written.calibration["paper"]) == {"alpha", "a", "b"}
    assert "multiplications per pixel" in (tmp_path / "t-1" / "MODEL.md").read_text()


def test_the_recipe_makes_a_model_of_a_checkpoint_and_all_commands_run(tmp_path, monkeypatch):
    """The commands are those of docs/paper.md beside the authors'."""
    monkeypatch.chdir(tmp_path)
    image = Path("image.1_256_256_2_1_0.raw")
    with rasterio.open(DATA / "landsat.tif") as dataset:
        np.resize(dataset.read(1), (256, 256)).astype("<u2").tofile(image)
    profile = {"driver": "GTiff", "height": 4, "width": 4, "count": 1, "dtype": "float32"}
    with rasterio.open("quality.tif", "w", **profile) as dataset:
        dataset.write(np.full((4, 4), 1e-4, np.float32), 1)
    config = NetworkConfig.of_preset("paper", widths=(4, 4, 4), lambda_max=2048.0)
    state = {"config": config.to_dict(), "average": reacting(config).state_dict(), "step": 22}
    torch.save(state, "checkpoint.pt")
    recipe = ROOT / "training" / "paper16-1.py"
    monkeypatch.setattr(sys, "argv", ["x", "checkpoint.pt", "paper16-1", str(image)])
    runpy.run_path(str(recipe), run_name="__main__")
    assert Model(Path("paper16-1")).name == "paper16-1"
    assert "Far from converged: 22 steps" in Path("paper16-1/MODEL.md").read_text()
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    commands = re.findall(r"`isoq ([a-z]+ [^`]*--model paper16-1[^`]*)`", page)
    assert len(commands) == 10
    for command in commands:
        assert main(command.split()) == 0, command


def test_learning_rates_are_options(tmp_path, capsys):
    train = ["train", str(DATA / "landsat.tif"), "--out", str(tmp_path / "t-1"), "--quiet"]
    assert main([*train, "--learning-rates", "0", "1", "1"]) == 2
    assert "--learning-rates" in capsys.readouterr().err
    options = ["--patch", "64", "--batch", "2", "--minutes", "0.02"]
    assert main([*train, *options, "--learning-rates", "1e-5", "2e-5", "3e-5"]) == 0
    made = json.loads((tmp_path / "t-1" / "model.json").read_text())["provenance"]["schedule"]
    rates = [made[f"rate_{part}"] for part in ("transforms", "modulation", "entropy")]
    assert rates == [1e-5, 2e-5, 3e-5]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused_before_anything_is_read(tmp_path, capsys):
    train = ["train", str(DATA / "landsat.tif"), "--out", str(tmp_path / "t-1"), "--quiet"]
    for device, words in (("cuda", "finds no GPU"), ("gpu", "must be cpu or cuda")):
        assert main([*train, "--device", device]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"isoq: --device {device}")
        assert words in line
    assert not (tmp_path / "t-1").exists()


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_all_of_a_network_moves_to_its_device(preset):
    """On the device "meta" an operation on it and on the CPU fails as it does with a GPU."""
    trainee = Trainee(NetworkConfig.of_preset(preset, bands=1, learned=True)).to("meta")
    x, lam = torch.zeros((2, 1, 64, 64), device="meta"), torch.ones((2, 4, 4), device="meta")
    bits, distortion = trainee(x, lam)
    (bits + distortion).mean().backward()
    assert all(p.grad is not None and p.grad.is_meta for p in trainee.parameters())


def test_raw_files_in_the_naming_convention_are_images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4000, (2, 70, 90)).astype("<u2")
    path = tmp_path / "cube.2_90_70_2_1_0.raw"
    path.write_bytes(pixels.tobytes())
    planes = read_planes([path], 1, 64)
    assert [plane.name for plane in planes] == [f"{path.name}#1", f"{path.name}#2"]
    assert np.array_equal(np.concatenate([plane.samples for plane in planes]), pixels)
    assert read_planes([path], 3, 64) == read_planes([path], 1, 128) == []


@pytest.mark.parametrize("minutes", [0.1, 1.0, 5.0, 60.0, 600.0])
def test_the_minutes_include_the_end_of_a_training(minutes):
    schedule = Schedule(minutes)
    assert schedule.training + schedule.finishing == pytest.approx(60 * minutes)
    assert schedule.training >= 30 * minutes
    assert schedule.finishing >= min(40, 30 * minutes)


def test_a_time_limit_ends_a_list_but_not_before_its_first_item(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time_limit.time, "monotonic", lambda: now[0])

    def work(limit, seconds):
        for item in limit.take("abcdef"):
            now[0] += seconds
            yield item

    assert "".join(work(TimeLimit(3), 1)) == "abc"
    assert "".join(work(TimeLimit(3), 5)) == "a"
    assert "".join(work(TimeLimit(0), 1)) == "a"
    assert "".join(work(TimeLimit(6).part(0.5), 1)) == "abc"
    assert "".join(work(TimeLimit(float("inf")), 1)) == "abcdef"


def test_training_says_what_it_does_before_it_reads(tmp_path, capsys):
    assert (
        main(["train", str(DATA / "landsat.tif"), "--out", str(tmp_path), "--patch", "4096"]) == 2
    )
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "isoq train: reading 1 image, then 60 minutes"
    assert "no image has 4096 x 4096 valid pixels" in lines[-1]


def test_a_model_of_the_package_is_not_calibrated(capsys):
    folder = load_model("eo16").folder
    before = (folder / "model.json").read_bytes()
    for name in ("eo16", str(folder)):
        assert main(["calibrate", str(DATA / "landsat.tif"), "--model", name]) == 2
        assert "comes with isoq and is not changed" in capsys.readouterr().err
    assert (folder / "model.json").read_bytes() == before


def test_a_tuned_model_follows_its_images(tmp_path, capsys):
    out, image = tmp_path / "tuned", str(tmp_path / "again.tif")
    shutil.copy(DATA / "sentinel2.tif", image)
    tune = [
        "train",
        image,
        "--from",
        "eo16",
        "--val",
        str(DATA / "sentinel2.tif"),
        "--out",
        str(out),
    ]
    assert main([*tune, "--minutes", "0.3", "--patch", "64", "--quiet"]) == 0
    gained = re.search(r"([+-][0-9.]+) % by tuning eo16-5", capsys.readouterr().out)
    assert gained is not None
    assert float(gained[1]) < 0
    info, start = json.loads((out / "model.json").read_text()), load_model("eo16")
    assert info["provenance"]["from"] == f"eo16-5 ({start.identity})"
    tuned = Model(out)
    same = [
        name for name, array in start.arrays.items() if np.array_equal(array, tuned.arrays[name])
    ]
    assert {"wavelet_unit", "context_group"} <= set(same)
    assert not {"context_around_weight", "context_bias", "context_cdf"} & set(same)
    assert main(["estimate", image, "--snr", "30", "--model", str(out)]) == 0


@pytest.mark.parametrize("name", ["eo16-1", "eo16-2"])
def test_forms_of_shipped_models_survive_the_way_to_floats_and_back(name):
    start = load_model(name)
    arrays = _Forms.of_arrays(start.entropy.arrays).arrays()
    for key, array in arrays.items():
        assert np.array_equal(array, start.entropy.arrays[key]), key
    with torch.no_grad():
        y = torch.randn(1, 256, 4, 6)
        assert np.allclose(
            Trainee.of_model(start).network.synthesis(y), start.synthesis(y.numpy()), atol=1e-4
        )


@pytest.mark.parametrize("bands", [1, 2])
def test_learned_transforms_start_as_the_wavelet_up_to_their_border(bands):
    network = Network(NetworkConfig.of_preset("default", bands, learned=True)).eval()
    wavelet = Network(NetworkConfig(bands=bands, latents=256 * bands, wavelet="9/7"))
    x = torch.from_numpy(
        np.random.default_rng(0).normal(size=(1, bands, 80, 112)).astype(np.float32)
    )
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, GDN):
                layer.gamma.zero_()
        y = network.analysis(x)
        assert float((network.synthesis(y) - x).abs().max()) < 3e-5
        assert float((y - wavelet.analysis(x)).abs().max()) < 3e-5


@pytest.mark.parametrize("bands", [1, 2])
@pytest.mark.parametrize("name", WAVELETS)
def test_a_wavelet_reconstructs_perfectly_and_its_graphs_do_the_same(name, bands):
    network = Network(NetworkConfig(bands=bands, latents=256 * bands, wavelet=name))
    x = np.random.default_rng(0).normal(size=(2, bands, 64, 112)).astype(np.float32)
    y = network.analysis(torch.from_numpy(x)).numpy()
    assert np.abs(network.synthesis(torch.from_numpy(y)).numpy() - x).max() < 1e-5
    assert np.abs(Transform(wavelet_analysis(name, bands))(x) - y).max() < 1e-5
    assert np.abs(Transform(wavelet_synthesis(name, bands))(y) - x).max() < 1e-5


@pytest.mark.parametrize("name", WAVELETS)
def test_wavelets_are_smooth_and_nearly_orthonormal_and_gains_make_up_for_the_rest(name):
    for filters in WAVELETS[name]:
        for low, high in (filters.analysis, filters.adjoint):
            assert low.sum() == pytest.approx(2**0.5, abs=1e-9)
            place = np.arange(len(high)) - len(high) // 2
            assert [float((place**k * high).sum()) for k in range(4)] == pytest.approx(
                [0] * 4, abs=1e-6
            )  # vanishing moments
    network = Network(NetworkConfig(wavelet=name))
    impulses = torch.nn.functional.pad(torch.eye(256).view(256, 256, 1, 1), (4, 4, 4, 4))
    norms = network.synthesis(impulses).flatten(1).norm(dim=1)
    assert 0.9 < float(norms.min()) < float(norms.max()) < 1.1
    gains = network.gains(torch.tensor(64.0)).detach()
    assert np.allclose(gains / gains.mean(), norms / norms.mean(), atol=2e-3)


def test_leaves_cover_every_sub_band_sample_once_and_contexts_only_look_back():
    leaves = wavelet_leaves()
    assert len(set(leaves)) == 256
    assert [sum(leaf.level == level for leaf in leaves) for level in (1, 2, 3, 4)] == [
        192,
        48,
        12,
        4,
    ]
    weights = start_weights(256, 1)
    assert (weights >= 0).all()
    assert not np.triu(weights.sum((2, 3))).any()


def test_gains_are_the_same_with_and_without_torch(tmp_path):
    for preset in ("default", "paper"):
        network = Network(
            NetworkConfig.of_preset(preset, learned=True, lambda_min=10.0, lambda_max=1e5)
        )
        torch.nn.init.normal_(network.modulation[-1].weight, 0, 0.02)
        calibration = {
            "floor": 1e-6,
            "synthesis": {"level": [0], "log2_factor": [0.0]},
            "paper": {"alpha": 1.0, "a": 1.0, "b": 1.0},
        }
        write_model(tmp_path / preset, network, {}, {"name": preset, "calibration": calibration})
        model, level = Model(tmp_path / preset), 640
        with torch.no_grad():
            expected = network.gains(torch.tensor(float(level_to_lambda(level)))).numpy()
        assert np.allclose(model.gains(np.array(level)), expected, rtol=1e-5)
    assert (np.diff(quantize_tables(np.ones((2, 32))).astype(int), axis=1) >= 1).all()


def test_progress_is_what_the_coder_spends_against_jpeg2000():
    model, (plane,) = Trainee(NetworkConfig()), read_planes([DATA / "landsat.tif"], 1, 64)
    plane = replace(plane, samples=plane.samples[:, :128, :128], valid=plane.valid[:128, :128])
    progress = Progress([plane], [plane], 64, 4096)
    good = progress(model)[plane.name]
    assert 0.8 < good < 1  # the same transform, better contexts
    model.network.synthesis.levels[0].across *= 0.98  # an error floor costs rate
    assert progress(model)[plane.name] > 1.02 * good
    assert Progress([], [plane], 64, 4096)(model) == {}
