"""Prediction of sub-bands: the coder against the decoder of the specification, bad arrays, and the
training of the networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import spec_decoder
from cases import crop, modest, reduced_image
from hypothesis import given
from hypothesis import strategies as st

import isoq
from isoq.entropy.quantize import RD_LAMBDA
from isoq.entropy.subbands import NETWORK, PREFIX
from isoq.errors import ModelMismatchError
from isoq.levels import HIGHEST, LOWEST
from isoq.network.model import Model, load_model
from isoq.tile.normalize import robust


def random_predictor(width: int = 8, depth: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs, outputs = NETWORK["inputs"], NETWORK["outputs"]
    shapes = {
        "head": (3, width, inputs, 3, 3),
        "body": (3, depth, width, width, 3, 3),
        "tail": (3, outputs, width),
    }
    arrays = {name: rng.integers(-30, 31, shape, np.int8) for name, shape in shapes.items()}
    bias = rng.integers(-2000, 2001, (3, width * (1 + depth) + outputs), np.int32)
    return {PREFIX + name: array for name, array in (arrays | {"bias": bias}).items()}


def write_predictor(folder: Path, predictor: dict[str, np.ndarray]) -> Path:
    """Write a model of the wavelets and contexts of eo16-3 with a predictor."""
    start = load_model("eo16-3")
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps({**start.info, "name": "t-1"}))
    np.savez(folder / "decoder.npz", **start.arrays, **predictor)
    return folder


@pytest.fixture(scope="module")
def predicting(tmp_path_factory) -> Model:
    return load_model(write_predictor(tmp_path_factory.mktemp("m") / "t-1", random_predictor()))


def latents_of(model: Model, rows: int, cols: int) -> np.ndarray:
    pixels = crop("landsat.tif")[0, :rows, :cols]
    return model.analysis(robust(pixels.ravel()).forward(pixels)[None, None])[0]


@given(st.integers(LOWEST, HIGHEST), st.integers(0, 400), st.integers(0, 2**32 - 1))
@modest(12)
def test_the_specification_says_what_the_coder_does(predicting, level, spread, seed):
    y = latents_of(predicting, 64, 80)
    levels = np.random.default_rng(seed).integers(level, level + spread + 1, y.shape[1:])
    levels = np.minimum(levels, HIGHEST)
    stream, latents, near = predicting.entropy.encode(
        y * predicting.gains(levels), levels, RD_LAMBDA
    )
    for found in (
        predicting.entropy.decode(stream, levels),
        spec_decoder.Model(predicting.folder).latents(stream, levels, None)[:2],
    ):
        assert np.array_equal(found[0], latents)
        assert np.array_equal(found[1], near)


def test_the_predictor_changes_what_is_coded(predicting):
    y, levels = latents_of(predicting, 128, 128), np.full((8, 8), 600)
    plain = load_model("eo16-3")
    streams = [m.entropy.encode(y * m.gains(levels), levels)[0] for m in (predicting, plain)]
    assert streams[0] != streams[1]


def test_files_come_back_whole_and_reduced(predicting, tmp_path):
    pixels = crop("sentinel2.tif")[:1]
    data = isoq.compress(pixels, mse=400.0, model=predicting)
    path = tmp_path / "a.isoq"
    path.write_bytes(data)
    decoded = isoq.decompress(data, model=predicting)
    expected = spec_decoder.decode(data, predicting.folder)
    assert np.array_equal(decoded, expected.samples)
    for halvings in (1, 3):
        reduced = spec_decoder.decode(data, predicting.folder, halvings)
        assert np.array_equal(reduced_image(data, predicting, halvings), reduced.samples)


def test_another_weight_is_another_model(predicting, tmp_path):
    data = isoq.compress(crop("landsat.tif"), mse=1e5, model=predicting)
    changed = random_predictor()
    changed[PREFIX + "tail"][0, 0, 0] += 1
    other = write_predictor(tmp_path / "t-1", changed)
    with pytest.raises(ModelMismatchError):
        isoq.decompress(data, model=other)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("head", lambda a: a[:, :, :7]),
        ("head", lambda a: a.astype(np.int16)),
        ("head", lambda a: np.full_like(a, -128)),
        ("body", lambda a: a[:, :0]),
        ("body", lambda a: np.repeat(a, 3, 1)),
        ("tail", lambda a: a[:2]),
        ("bias", lambda a: a[:, 1:]),
        ("bias", lambda a: a + (1 << 23)),
        ("bias", lambda a: np.full_like(a, -(2**31))),
    ],
)
def test_impossible_networks_are_refused(tmp_path, name, change):
    arrays = random_predictor()
    arrays[PREFIX + name] = change(arrays[PREFIX + name])
    model = load_model(write_predictor(tmp_path / "t-1", arrays))
    with pytest.raises(ModelMismatchError, match="predictor"):
        model.entropy  # noqa: B018


@pytest.mark.parametrize("width", [2, 36])
def test_widths_that_the_coder_cannot_run_are_refused(tmp_path, width):
    model = load_model(write_predictor(tmp_path / "t-1", random_predictor(width)))
    with pytest.raises(ModelMismatchError, match=f"{width} channels"):
        model.entropy  # noqa: B018


def test_a_predictor_without_a_wavelet_is_refused(tmp_path):
    start = load_model("eo16-2")
    folder = tmp_path / "t-1"
    folder.mkdir()
    for file in start.folder.glob("*.onnx"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "model.json").write_text(json.dumps(start.info))
    np.savez(folder / "decoder.npz", **start.arrays, **random_predictor())
    with pytest.raises(ModelMismatchError, match="wavelets"):
        load_model(folder).entropy  # noqa: B018


class TestTraining:
    """The networks in torch and in the coder's integers are the same, and training shortens what
    is coded."""

    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    @pytest.fixture
    def example(self):
        from isoq.train.subbands import code_example

        model = load_model("eo16-3")
        pixels = crop("landsat.tif")[0, :192, :192]
        x = robust(pixels.ravel()).forward(pixels)
        return code_example(model, model.analysis(x[None, None])[0], 500)

    def test_networks_are_the_same_in_integers(self, torch, example, tmp_path):
        from isoq.train.subbands import LevelNetwork, SubbandNetworks

        torch.manual_seed(0)
        networks = SubbandNetworks(8, 2)
        for parameter in networks.networks.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        folder = write_predictor(tmp_path / "t-1", networks.arrays())
        features = example[0].features.astype(np.float32)
        network = networks.networks[0]
        assert isinstance(network, LevelNetwork)
        with torch.no_grad():
            trained = network(torch.from_numpy(features)[None])[0].numpy()
        integers = spec_decoder.network_outputs(
            spec_decoder.Model(folder), 1, features.astype(np.int64)
        )
        assert np.abs(integers).max() > 1000
        assert np.array_equal(np.rint(trained * 2048), integers)

    def test_arrays_of_a_model_make_its_networks_again(self, torch):
        from isoq.train.subbands import SubbandNetworks

        arrays = load_model("eo16-4").arrays
        again = SubbandNetworks.of_arrays(arrays).arrays()
        for name, array in again.items():
            assert np.array_equal(array, arrays[name])

    def test_training_shortens_what_is_coded(self, torch, example, monkeypatch):
        from isoq.train import subbands

        torch.manual_seed(0)
        networks = subbands.SubbandNetworks(8, 1)
        monkeypatch.setattr(subbands, "_BATCH", 1)
        stack = subbands.Examples([example])

        def bits() -> float:
            return networks.bits(stack.batch(16, np.random.default_rng(0))).sum().item()

        before = bits()
        subbands.fit_networks(networks, [stack], StepLimit(100), lambda step, bits: None)
        assert bits() < 0.99 * before

    def test_networks_stay_still_until_the_shapes_fit(self, torch, example):
        from isoq.train import subbands

        networks = subbands.SubbandNetworks.of_arrays(load_model("eo16-4").arrays)
        before, stack = networks.arrays(), subbands.Examples([example])
        subbands.fit_networks(networks, [stack], StepLimit(10), lambda *_: None, 1e-2, 0.5)
        assert not all(np.array_equal(a, before[name]) for name, a in networks.arrays().items())
        networks = subbands.SubbandNetworks.of_arrays(load_model("eo16-4").arrays)
        shapes = networks.shapes.clone()
        subbands.fit_networks(networks, [stack], StepLimit(10), lambda *_: None, 1e-2, 2.0)
        assert all(np.array_equal(a, before[name]) for name, a in networks.arrays().items())
        assert not torch.equal(networks.shapes, shapes)


class StepLimit:
    """A limit of steps in place of one of time, so that the test does the same everywhere."""

    def __init__(self, steps: int):
        self.steps, self._read = steps, 0

    @property
    def used(self) -> float:
        """Read once per step."""
        self._read += 1
        return self._read / self.steps
