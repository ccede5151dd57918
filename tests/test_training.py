"""From images to a model folder in one command, and what the network is at its start."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from cases import DATA

from isoq.cli import main

torch = pytest.importorskip("torch")

from isoq.train.data import read_planes  # noqa: E402
from isoq.train.export import wavelet_analysis, wavelet_synthesis  # noqa: E402
from isoq.train.loop import Trainee  # noqa: E402
from isoq.train.networks import GDN, Network, NetworkConfig  # noqa: E402
from isoq.train.progress import Progress  # noqa: E402
from isoq.train.rate import start_weights  # noqa: E402
from isoq.train.wavelet import wavelet_leaves  # noqa: E402
from isoq.transforms import Transform  # noqa: E402


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_train_then_compress(tmp_path, capsys, preset):
    out, images = tmp_path / "mine", [str(DATA / "landsat.tif"), str(DATA / "sentinel2.tif")]
    train = ["train", *images, "--val", images[0], "--out", str(out), "--preset", preset, "--patch", "64", "--batch", "2", "--quiet"]
    assert main([*train, "--minutes", "0.02"]) == 0
    info = json.loads((out / "model.json").read_text())
    assert (info["name"], info["preset"], info["provenance"]["images"]) == ("mine", preset, 2)
    assert len(info["validation"]) == 7
    assert info["provenance"]["steps"] > 0
    card = (out / "MODEL.md").read_text()
    assert "multiplications per pixel | analysis " in card
    if preset == "default":  # a random network need not reach the qualities that count
        assert "| data | 25 | 1 | " in card  # the folder of the images
        with (out / "progress.csv").open(newline="") as stream:
            assert {point["plane"] for point in csv.DictReader(stream)} == {"landsat.tif#1"}
    assert main([*train, "--minutes", "0.02"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*train, "--minutes", "0.03", "--resume"]) == 0
    file, back = str(tmp_path / "x.isoq"), str(tmp_path / "x.tif")
    assert main(["compress", images[0], file, "--quality", "0.001", "--model", str(out)]) == 0
    assert main(["decompress", file, back]) == 2
    assert main(["decompress", file, back, "--model", str(out)]) == 0
    assert main(["verify", file, "--against", images[0], "--model", str(out)]) == 0
    assert main(["calibrate", images[0], "--model", str(out)]) == 0
    assert main(["decompress", file, back, "--model", str(out), "--overwrite"]) == 0


@pytest.mark.parametrize("bands", [1, 2])
def test_the_untrained_default_reconstructs_perfectly_up_to_its_border(bands):
    network = Network(NetworkConfig.of_preset("default", bands)).eval()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, bands, 80, 112)).astype(np.float32))
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, GDN):
                layer.gamma.zero_()
        error = network.synthesis(network.analysis(x)) - x
    assert float((error**2).max()) < 1e-9


@pytest.mark.parametrize("bands", [1, 2])
def test_the_cheap_graphs_of_the_wavelet_do_what_the_network_does(bands):
    network = Network(NetworkConfig.of_preset("default", bands))
    network.freeze()
    assert network.is_wavelet()
    x = np.random.default_rng(0).normal(size=(1, bands, 80, 112)).astype(np.float32)
    with torch.no_grad():
        y = network.analysis(torch.from_numpy(x)).numpy()
    assert np.abs(Transform(wavelet_analysis(bands))(x) - y).max() < 1e-4
    assert np.abs(Transform(wavelet_synthesis(bands))(y) - x).max() < 1e-4
    network.synthesis[-1].wide.weight.data[0, 0, 0, 0] += 1e-4
    assert not network.is_wavelet()


def test_the_untrained_default_is_nearly_orthonormal():
    network = Network(NetworkConfig.of_preset("default")).eval()
    with torch.no_grad():
        basis = network.synthesis(torch.eye(256).view(256, 256, 1, 1) * torch.nn.functional.pad(torch.ones(1, 1, 1, 1), (4, 4, 4, 4)))
        norms = (basis - network.synthesis(torch.zeros(1, 256, 9, 9))).flatten(1).norm(dim=1)
    assert 0.95 < float(norms.min()) < float(norms.max()) < 1.1


def test_leaves_cover_every_sub_band_sample_once_and_contexts_only_look_back():
    leaves = wavelet_leaves()
    assert len(set(leaves)) == 256
    assert [sum(leaf.level == level for leaf in leaves) for level in (1, 2, 3, 4)] == [192, 48, 12, 4]
    weights = start_weights(256, 1)
    assert (weights >= 0).all()
    assert not np.triu(weights.sum((2, 3))).any()


def test_gains_are_the_same_with_and_without_torch(tmp_path):
    from isoq.levels import level_to_lambda
    from isoq.model import Model
    from isoq.train.contexts import quantize_tables
    from isoq.train.export import write_model

    for preset in ("default", "paper"):
        network = Network(NetworkConfig.of_preset(preset, lambda_min=10.0, lambda_max=1e5))
        torch.nn.init.normal_(network.modulation[-1].weight, 0, 0.02)
        calibration = {"floor": 1e-6, "synthesis": {"level": [0], "log2_factor": [0.0]}, "paper": {"alpha": 1.0, "a": 1.0, "b": 1.0}}
        write_model(tmp_path / preset, network, {}, {"name": preset, "calibration": calibration})
        model, level = Model(tmp_path / preset), 640
        with torch.no_grad():
            expected = network.gains(torch.tensor(float(level_to_lambda(level)))).numpy()
        assert np.allclose(model.gains(np.array(level)), expected, rtol=1e-5)
    assert (np.diff(quantize_tables(np.ones((2, 32))).astype(int), axis=1) >= 1).all()


def test_progress_is_what_the_coder_spends_against_jpeg2000():
    model, (plane,) = Trainee(NetworkConfig()), read_planes([DATA / "landsat.tif"], 1, 64)
    model.network.freeze()
    plane = replace(plane, samples=plane.samples[:, :128, :128], valid=plane.valid[:128, :128])
    progress = Progress([plane], [plane], 64, 4096)
    good = progress(model)[plane.name]
    assert 0.8 < good < 1  # the same transform, better contexts
    model.network.synthesis[-1].wide.weight.data *= 0.98  # an error floor costs rate
    assert progress(model)[plane.name] > 1.02 * good
    assert Progress([], [plane], 64, 4096)(model) == {}
