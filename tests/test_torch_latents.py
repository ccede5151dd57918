"""The integers in a file are the same whatever runs the transforms: PyTorch in training, ONNX
Runtime in use."""

from pathlib import Path

import numpy as np
import pytest
import spec_decoder
from cases import crop

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from isoq.entropy.context import ContextModel  # noqa: E402
from isoq.levels import level_to_lambda  # noqa: E402
from isoq.network.model import Model  # noqa: E402
from isoq.tile.decode import decode_tile  # noqa: E402
from isoq.tile.encode import encode_tile  # noqa: E402
from isoq.tile.normalize import robust  # noqa: E402
from isoq.tile.targets import LambdaTarget  # noqa: E402
from isoq.train.contexts import _first_tables, quantize_tables, table_groups  # noqa: E402
from isoq.train.export import write_model  # noqa: E402
from isoq.train.networks import Network, NetworkConfig  # noqa: E402

CALIBRATION = {
    "floor": 1e-5,
    "levels": [0, 1280],
    "paper": {"alpha": 1.0, "a": 0.01, "b": 1.0},
    "synthesis": {"level": [0, 1280], "log2_factor": [0.0, 0.0]},
}
CONFIGS = {
    "default": NetworkConfig(learned=True, wavelet="9/7"),
    "no wavelet": NetworkConfig(learned=True, wavelet=None, widths=(8, 12, 16), latents=24),
    "kept, two bands": NetworkConfig(bands=2, latents=512),
    "two bands": NetworkConfig(bands=2, learned=True, wavelet=None, widths=(8, 8, 8), latents=20),
}


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def forms(channels: int) -> dict[str, np.ndarray]:
    """Every channel looks at the one before it and at its own past."""
    own = np.tile(np.array([2500, 2500, 800, 800, 500, 500], np.int32), (channels, 1))
    start = np.concatenate([[0], np.arange(channels)]).astype(np.int32)
    ones = np.ones(channels - 1, np.int32)
    own_value = np.tile(np.array([300, 200, -100, 0], np.int32), (channels, 1))
    arrays = {"own": own, "own_value": own_value, "bias": np.full(channels, 1 << 12, np.int32)}
    for term, weight in (("around", 700), ("value", 200)):
        arrays |= {
            f"{term}_start": start,
            f"{term}_channel": np.arange(channels - 1, dtype=np.int32),
            f"{term}_place": 4 * ones,
        }
        arrays[f"{term}_weight"] = weight * ones
    return arrays


def random_network(config: NetworkConfig, folder: Path) -> Network:
    """A network of random weights, and the model folder it makes."""
    torch.manual_seed(3)
    network = Network(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn_like(parameter) * 0.02 * (1 if parameter.ndim > 1 else 0.5)
    group = table_groups(config.latents, config.bands)
    prior = _first_tables(int(group.max()) + 1)
    tables = {
        "group": group,
        "cdf": quantize_tables(prior),
        "offset": np.zeros(prior.shape, np.int8),
    }
    entropy = ContextModel({**forms(config.latents), **tables})
    write_model(
        folder,
        network,
        {f"context_{k}": v for k, v in entropy.arrays.items()},
        {"name": "test-1", "calibration": CALIBRATION},
    )
    return network


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request, tmp_path_factory):
    """A network and the model of it."""
    folder = tmp_path_factory.mktemp("models") / "test-1"
    return random_network(CONFIGS[request.param], folder), Model(folder)


def image(bands: int) -> np.ndarray:
    pixels = crop("sentinel2.tif")[:bands, :80, :96]
    return np.stack([robust(band.ravel()).forward(band) for band in pixels])[None]


def test_transforms_agree(pair):
    network, model = pair
    x = image(model.bands)
    with torch.no_grad():
        y = network.analysis(torch.from_numpy(x)).numpy()
        back = network.synthesis(torch.from_numpy(y)).numpy()
    assert np.abs(model.analysis(x) - y).max() < 1e-4 * max(1, np.abs(y).max())
    assert np.abs(model.synthesis(y) - back).max() < 1e-4 * max(1, np.abs(back).max())


def test_gains_agree(pair):
    network, model = pair
    levels = np.array([[0, 300], [700, 1100]])
    with torch.no_grad():
        lam = torch.from_numpy(level_to_lambda(levels).astype(np.float32))
        expected = network.gains(lam).numpy()
    assert np.allclose(model.gains(levels), np.moveaxis(expected, -1, 0), rtol=1e-4)


def test_latents_of_torch_come_back_as_they_are(pair):
    network, model = pair
    levels = np.repeat([[400], [430], [430], [400], [520]], 6, 1)
    with torch.no_grad():
        y = network.analysis(torch.from_numpy(image(model.bands)))[0].numpy()
    scaled = y * model.gains(levels)
    data, q, near = model.entropy.encode(scaled, levels)
    assert np.mean((near - scaled) ** 2) < 1 / 12
    decoded, again = model.entropy.decode(data, levels)
    assert np.array_equal(decoded, q)
    assert np.array_equal(again, near)
    if model.latents < 50:
        assert np.array_equal(
            spec_decoder.context_latents(model.entropy.arrays, data, levels)[0], q
        )


def test_a_file_decodes_to_the_same_integers_and_image(pair):
    """The latents of a tile are integers of the file alone; PyTorch makes the same image of
    them."""
    network, model = pair
    pixels = crop("sentinel2.tif")[: model.bands, :64, :64]
    data, _ = encode_tile(pixels, (None,) * model.bands, LambdaTarget(0.01), model)
    tiles = [
        decode_tile(data, (None,) * model.bands, m, pixels.shape, "uint16")
        for m in (model, Model(model.folder, optimize=False))
    ]
    q = tiles[0].latents[0]
    assert np.array_equal(q, tiles[1].latents[0])
    levels = np.full(q.shape[1:], 600)
    y = (q / 2 / model.gains(levels)).astype(np.float32)[None]
    with torch.no_grad():
        back = network.synthesis(torch.from_numpy(y)).numpy()
    assert np.abs(model.synthesis(y) - back).max() < 1e-4 * max(1, np.abs(back).max())
    stream, again, near = model.entropy.encode((q / 2).astype(np.float32), levels)
    assert np.mean((near - q / 2) ** 2) < 1 / 12
    assert np.array_equal(model.entropy.decode(stream, levels)[0], again)
