"""The scale hyperprior: exactness, coding, untrusted input, training."""

from __future__ import annotations

import numpy as np
import pytest

from isoq.entropy.hyperprior import LIMIT, TABLES, HyperpriorModel
from isoq.errors import CorruptFileError

torch = pytest.importorskip("torch")
F = torch.nn.functional

from isoq.train.hyperprior import LOG_MAX, LOG_MIN, LOG_STEP, SCALES, HyperpriorRate, _Bound, export  # noqa: E402

GRIDS = [(4, 4), (5, 7), (16, 12)]


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def rate() -> HyperpriorRate:
    """Random weights, large enough that all of the scales and the saturation of the activations are
    reached."""
    torch.manual_seed(1)
    rate = HyperpriorRate(24, 8)
    with torch.no_grad():
        for layer in rate.synthesis[::2]:
            layer.weight *= 3
            layer.bias.normal_()
    return rate


@pytest.fixture(scope="module")
def model(rate) -> HyperpriorModel:
    return HyperpriorModel.from_arrays(export(rate))


def _latents(rng: np.random.Generator, channels: int, grid: tuple[int, int]) -> np.ndarray:
    spread = np.exp(rng.uniform(-3, 4, (channels, 1, 1)))
    return (rng.laplace(size=(channels, *grid)) * spread).astype(np.float32)


def _known_scales() -> HyperpriorModel:
    """TABLES latent channels; the scale of channel k is SCALES[k] whatever z is, and z is zero."""
    torch.manual_seed(2)
    arrays = export(HyperpriorRate(TABLES, 4))
    for name, array in arrays.items():
        if "analysis" in name:
            array[:] = 0
    arrays["hyper_weight_2"][:] = 0
    arrays["hyper_bias_2"][:] = np.arange(TABLES) << int(arrays["hyper_shift"][2])
    return HyperpriorModel.from_arrays(arrays)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("outliers", [False, True])
def test_round_trip(model, grid, outliers):
    rng = np.random.default_rng(3)
    y, levels = _latents(rng, model.channels, grid), np.zeros(grid, np.int64)
    if outliers:
        y[rng.random(y.shape) < 0.05] = 1e6
        y[0, 0, 0], y[1, -1, -1] = -1e6, 1e30
    data, q, reconstruction = model.encode(y, levels)
    decoded, again = model.decode(data, levels)
    assert q.dtype == decoded.dtype == np.int32
    assert reconstruction.dtype == again.dtype == np.float32
    assert (decoded == q).all()
    assert (again == reconstruction).all()
    assert (q == np.rint(np.clip(y, -(1 << 23), 1 << 23))).all()


def test_arrays_round_trip(model):
    same = HyperpriorModel.from_arrays(model.arrays() | {"something_else": np.zeros(3)})
    y = _latents(np.random.default_rng(4), model.channels, (8, 8))
    assert same.encode(y, np.zeros((8, 8)))[0] == model.encode(y, np.zeros((8, 8)))[0]


def _indices_by_torch(
    arrays: dict[str, np.ndarray], z: np.ndarray, rows: int, cols: int
) -> np.ndarray:
    """The integer synthesis with PyTorch's own float64 convolution."""
    x = torch.from_numpy(z).double()[None]
    for k, shift in enumerate(arrays["hyper_shift"].tolist()):
        weight, bias = (
            torch.from_numpy(arrays[f"hyper_{name}_{k}"]).double() for name in ("weight", "bias")
        )
        x = (F.conv2d(x, weight, bias, padding=1).long() + (1 << shift >> 1)) >> shift
        if k < 2:
            x = F.pixel_shuffle(x.clamp(0, LIMIT).double(), 2)
    return x[0, :, :rows, :cols].clamp(0, TABLES - 1).numpy()


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("reach", [3, 100, LIMIT])
def test_torch_and_numpy_give_the_same_indices(model, grid, reach):
    rows, cols = grid
    z = np.random.default_rng(5).integers(
        -reach, reach + 1, (model.hidden, -(-rows // 4), -(-cols // 4)), dtype=np.int32
    )
    indices = model.table_indices(z, rows, cols)
    assert len(np.unique(indices)) >= 10
    assert (indices == _indices_by_torch(model.arrays(), z, rows, cols)).all()


def test_integers_follow_the_trained_network(rate):
    z = torch.randint(-20, 21, (1, 8, 8, 8)).float()
    model = HyperpriorModel.from_arrays(export(rate, z))
    with torch.no_grad():
        wanted = ((rate.synthesis(z)[0].clamp(LOG_MIN, LOG_MAX) - LOG_MIN) / LOG_STEP).numpy()
    indices = model.table_indices(z[0].numpy().astype(np.int32), 32, 32)
    assert np.abs(indices - wanted).max() < 0.51


def test_threads_do_not_matter(model):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    z = np.random.default_rng(6).integers(-LIMIT, LIMIT, (model.hidden, 16, 16), dtype=np.int32)
    results = []
    for threads in (1, 2):
        with threadpoolctl.threadpool_limits(threads):
            results.append(model.table_indices(z, 64, 64))
    assert (results[0] == results[1]).all()


def test_code_length_is_the_entropy():
    model, rng = _known_scales(), np.random.default_rng(7)
    scale = torch.from_numpy(SCALES).view(-1, 1, 1)
    y = (rng.normal(size=(TABLES, 48, 48)) * scale.numpy()).astype(np.float32)
    data, q, _ = model.encode(y, np.zeros((48, 48)))
    m = torch.from_numpy(q).abs().double()
    ideal = (
        -torch.log2(torch.special.ndtr((0.5 - m) / scale) - torch.special.ndtr((-0.5 - m) / scale))
        .sum()
        .item()
    )
    assert ideal * 0.999 < 8 * len(data) < ideal * 1.01


def test_damage_is_noticed(model):
    rng = np.random.default_rng(8)
    levels, noticed = np.zeros((8, 8)), 0
    data, q, _ = model.encode(_latents(rng, model.channels, (8, 8)), levels)
    for size in [*range(24), *rng.integers(24, len(data), 20), len(data) - 1]:
        with pytest.raises(CorruptFileError):
            model.decode(data[:size], levels)
    with pytest.raises(CorruptFileError):
        model.decode(data + bytes(4), levels)
    for bit in rng.integers(0, 8 * len(data), 200):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:  # A bit coded plainly may turn unnoticed: that is for the checksum of the tile.
            assert (model.decode(bytes(damaged), levels)[0] != q).any()
        except CorruptFileError:
            noticed += 1
    assert noticed > 150


def test_bad_latents_are_refused(model):
    y = np.zeros((model.channels, 4, 4), np.float32)
    with pytest.raises(ValueError, match="shape"):
        model.encode(y, np.zeros((4, 5)))
    y[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        model.encode(y, np.zeros((4, 4)))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("hyper_weight_2", lambda a: None),
        ("hyper_bias_0", lambda a: None),
        ("hyper_weight_2", lambda a: a[0]),
        ("hyper_weight_0", lambda a: a[:-1]),
        ("hyper_weight_1", lambda a: a.astype(np.float32)),
        ("hyper_weight_1", lambda a: np.full_like(a, -(1 << 31))),
        ("hyper_bias_1", lambda a: np.full_like(a, -(1 << 63))),
        ("hyper_shift", lambda a: np.full_like(a, 41)),
        ("hyper_cdf", lambda a: a[:, ::-1]),
        ("hyper_z_cdf", lambda a: np.zeros_like(a)),
        ("hyper_low_bits", lambda a: np.full_like(a, 17)),
        ("hyper_z_center", lambda a: np.full_like(a, -(1 << 31))),
        ("hyper_analysis_bias_0", lambda a: a * np.nan),
    ],
)
def test_bad_arrays_are_refused(model, name, change):
    arrays = model.arrays()
    arrays[name] = change(arrays[name])
    with pytest.raises(
        ValueError,
        match=name if name not in ("hyper_weight_1", "hyper_bias_1") else "weight_1|layer 1",
    ):
        HyperpriorModel.from_arrays(arrays)


def test_weights_too_large_are_not_exported():
    rate = HyperpriorRate(4, 4)
    with torch.no_grad():
        rate.synthesis[0].bias.fill_(1e13)
    with pytest.raises(ValueError, match="layer 0"):
        export(rate)


def test_bound_lets_descent_return():
    x = torch.tensor([-1.0, -1.0, 0.5, 2.0, 2.0], requires_grad=True)
    (_Bound.apply(x, 0.0, 1.0) * torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])).sum().backward()
    assert x.grad.tolist() == [0, -1, 1, 1, 0]


def test_training_pays_and_predicts_the_file():
    torch.manual_seed(9)
    rate = HyperpriorRate(12, 8)
    optimizer = torch.optim.Adam(rate.parameters(), 1e-2)
    spread = torch.exp2(torch.linspace(4, -2, 12)).view(-1, 1, 1)

    def draw(count: int) -> torch.Tensor:
        return torch.randn(count, 12, 14, 14) * spread * torch.exp2(2 * torch.randn(count, 1, 1, 1))

    losses = []
    for _ in range(150):
        y = draw(8)
        losses.append(rate(y + torch.rand_like(y) - 0.5, y.round(), y).mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    with torch.no_grad():
        y = draw(8)
        expected = rate(y + torch.rand_like(y) - 0.5, y.round(), y).sum().item()
        z = rate.analysis(y.abs()).round()
    model = HyperpriorModel.from_arrays(export(rate, z))
    coded = sum(8 * len(model.encode(sample.numpy(), np.zeros((14, 14)))[0]) for sample in y)
    assert abs(coded / expected - 1) < 0.1


def test_the_preset_of_the_paper_trains():
    loop = pytest.importorskip("isoq.train.loop")
    from isoq.train.networks import NetworkConfig

    torch.manual_seed(10)
    model = loop.Trainee(NetworkConfig.of_preset("paper", widths=(4, 4, 4), latents=8))
    assert isinstance(model.rate, HyperpriorRate)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    x, lam = torch.randn(2, 1, 64, 64), torch.full((2, 4, 4), 20.0)
    losses = []
    for _ in range(10):
        losses.append(sum(part.mean() for part in model(x, lam)))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]
