"""The context model: exact for any latents, the same every time, and not to be fooled."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import spec_decoder
from cases import context_arrays, crop, model, modest
from hypothesis import given
from hypothesis import strategies as st

from isoq.entropy.context import ContextModel
from isoq.entropy.quantize import RD_LAMBDA
from isoq.errors import CorruptFileError
from isoq.levels import HIGHEST, LOWEST
from isoq.tile.normalize import robust

LARGEST = 1 << 23


@pytest.fixture(scope="module")
def coder() -> ContextModel:
    return ContextModel(context_arrays())


def latents(
    channels: int, rows: int, cols: int, seed: int = 0, outliers: float = 0.0
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y = rng.laplace(size=(channels, rows, cols)) * np.exp2(rng.uniform(-4, 6, (channels, 1, 1)))
    wild = rng.random(y.shape) < outliers
    y[wild] = rng.choice([-1, 1], wild.sum()) * np.exp2(rng.uniform(4, 40, wild.sum()))
    return y.astype(np.float32)


def qualities(rows: int, cols: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(LOWEST, HIGHEST + 1, (rows, cols))


@modest(60)
@given(st.data())
def test_round_trip(coder, data):
    rows, cols, seed = (
        data.draw(st.integers(low, high)) for low, high in ((1, 9), (1, 9), (0, 2**31))
    )
    outliers, trade, flat = (
        data.draw(st.sampled_from(kinds))
        for kinds in ([0.0, 0.02, 0.5], [0.0, RD_LAMBDA, 3.0], [False, True])
    )
    y = latents(6, rows, cols, seed, outliers)
    levels = np.full((rows, cols), 300) if flat else qualities(rows, cols, seed)
    stream, q, near = coder.encode(y, levels, trade)
    decoded, again = coder.decode(stream, levels)
    assert q.dtype == decoded.dtype == np.int32
    assert np.array_equal(decoded, q)
    assert again.tobytes() == near.tobytes()
    inside = np.clip(y.astype(np.float64), -LARGEST, LARGEST)
    assert (np.abs(q / 2 - inside) <= np.where(np.abs(inside) < LARGEST / 4, 3, 10)).all()
    assert np.abs(near - q / 2).max() <= 0.5


@modest(60)
@given(st.data())
def test_round_trip_through_any_trellis(data):
    states = data.draw(st.sampled_from([8, 16, 32, 64, 128]))
    feedback, parity, rows, cols, seed = (
        data.draw(st.integers(low, high))
        for low, high in ((states // 2, states - 1), (1, states // 2 - 1), (1, 9), (1, 9), (0, 99))
    )
    trellis = np.array([states, feedback, parity], np.int32)
    coder = ContextModel({**context_arrays(), "trellis": trellis})
    y, levels = latents(6, rows, cols, seed, 0.02), qualities(rows, cols, seed)
    for encode, decode in (
        (coder.encode, coder.decode),
        (
            lambda *given: coder.encode_segments(*given, (6,)),
            lambda segments, levels: coder.decode_segments(segments[0], levels, 6),
        ),
    ):
        stream, q, near = encode(y, levels, RD_LAMBDA)
        decoded, again = decode(stream, levels)
        assert np.array_equal(decoded, q)
        assert again.tobytes() == near.tobytes()


@pytest.mark.parametrize("value", [-np.inf, np.inf, 3e38, LARGEST + 0.5, -LARGEST, 0.5, -1.5, 0])
def test_extreme_latents(coder, value):
    y = np.full((6, 3, 4), value, np.float32)
    levels = qualities(3, 4)
    data, q, _ = coder.encode(y, levels, RD_LAMBDA)
    assert np.array_equal(coder.decode(data, levels)[0], q)
    assert np.abs(q).max() <= 2 * LARGEST


def test_trade_saves_bits(coder):
    y, levels = latents(6, 16, 16), np.full((16, 16), 500)
    plain, traded = coder.encode(y, levels)[0], coder.encode(y, levels, 5 * RD_LAMBDA)[0]
    assert len(traded) < len(plain)


@pytest.mark.parametrize(
    ("trellis", "most"), [(None, -0.9), ((8, 5, 2), -0.9), ((64, 38, 25), -1.1)]
)
def test_less_error_than_rounding(trellis, most):
    """At equal step, where nothing is traded for bits. Eight states: 1.08 dB at most (Marcellin and
    Fischer 1990); less in short channels, and in the half of them that look at themselves."""
    y = np.random.default_rng(0).normal(0, 30, (6, 64, 64)).astype(np.float32)
    arrays = context_arrays()
    arrays["offset"][:] = 0
    if trellis:
        arrays["trellis"] = np.array(trellis, np.int32)
    error = y - ContextModel(arrays).encode(y, np.full((64, 64), 300))[1] / 2
    assert 10 * np.log10(np.mean(error**2) * 12) < most


def test_same_stream_every_time_and_in_threads(coder):
    y, levels = latents(6, 40, 40, outliers=0.01), qualities(40, 40)
    with ThreadPoolExecutor(2) as pool:
        streams = list(pool.map(lambda _: coder.encode(y, levels, RD_LAMBDA)[0], range(8)))
        decoded = list(pool.map(lambda data: coder.decode(data, levels)[0].tobytes(), streams))
    assert (
        len(
            {
                *streams,
                coder.encode(y, levels, RD_LAMBDA)[0],
                ContextModel(context_arrays()).encode(y, levels, RD_LAMBDA)[0],
            }
        )
        == 1
    )
    assert len(set(decoded)) == 1


def test_truncated_or_prolonged(coder):
    y, levels = latents(6, 4, 5), qualities(4, 5)
    data = coder.encode(y, levels)[0]
    for cut in [*range(len(data)), -1]:
        with pytest.raises(CorruptFileError, match="damaged"):
            coder.decode(data[:cut] if cut >= 0 else data + b"\0\0\0\0", levels)


def test_altered_streams_never_give_the_same_latents(coder):
    y, levels = latents(6, 4, 5), qualities(4, 5)
    data, q, _ = coder.encode(y, levels)
    rejected = 0
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= 1 << at % 8
        try:
            assert not np.array_equal(coder.decode(bytes(altered), levels)[0], q)
        except CorruptFileError:
            rejected += 1
    assert rejected > len(data) // 2


def test_other_levels_are_not_mistaken(coder):
    y, levels = latents(6, 8, 8), qualities(8, 8)
    data, q, _ = coder.encode(y, levels)
    with suppress(CorruptFileError):
        assert not np.array_equal(coder.decode(data, qualities(8, 8, seed=1))[0], q)


def test_wrong_shapes_are_refused(coder):
    with pytest.raises(ValueError, match="shape"):
        coder.encode(latents(5, 4, 4), qualities(4, 4))
    with pytest.raises(ValueError, match="shape"):
        coder.encode(latents(6, 4, 4), qualities(4, 5))


def _change(name, index, value):
    def edit(arrays):
        arrays[name][index] = value

    return edit


def _cast(name, dtype):
    return lambda arrays: arrays.update({name: arrays[name].astype(dtype)})


BROKEN = {
    "missing": (lambda arrays: arrays.pop("bias"), "lacks bias"),
    "type": (_cast("bias", np.int64), "int64"),
    "float": (_cast("own", np.float32), "float32"),
    "shape": (lambda arrays: arrays.update(own=arrays["own"][:, :5].copy()), "own has shape"),
    "too few tables": (
        lambda arrays: arrays.update(cdf=arrays["cdf"][:-1].copy()),
        "cdf has shape",
    ),
    "group without tables": (_change("group", 0, 7), "has shape"),
    "looks at itself": (_change("around_channel", -1, 5), "not decoded yet"),
    "looks ahead": (_change("value_channel", 0, 4), "not decoded yet"),
    "looks before": (_change("value_channel", 0, -1), "not decoded yet"),
    "place": (_change("around_place", 0, 9), "places"),
    "negative place": (_change("around_place", 0, -1), "places"),
    "start falls": (_change("around_start", 3, 0), "not a list"),
    "start does not begin": (_change("value_start", 0, 1), "not a list"),
    "start does not end": (_change("value_start", -1, 3), "not a list"),
    "uneven": (
        lambda arrays: arrays.update(around_weight=arrays["around_weight"][1:].copy()),
        "not a list",
    ),
    "negative weight": (_change("around_weight", 2, -1), "negative"),
    "negative own": (_change("own", (1, 1), -1), "negative"),
    "negative bias": (_change("bias", 1, -5), "negative"),
    "heavy": (_change("own", (1, 1), 1 << 21), "too large"),
    "heavy value": (_change("own_value", (1, 1), -(1 << 18)), "too large"),
    "table starts late": (_change("cdf", (3, 0), 1), "not a distribution"),
    "table ends early": (_change("cdf", (3, -1), 32767), "not a distribution"),
    "table stands still": (
        lambda arrays: _change("cdf", (3, 4), arrays["cdf"][3, 5])(arrays),
        "not a distribution",
    ),
    **{
        f"trellis {numbers}": (
            lambda arrays, of=numbers: arrays.update(trellis=np.array(of, np.int32)),
            message,
        )
        for numbers, message in {
            (24, 13, 2): "impossible trellis",
            (4, 2, 1): "impossible trellis",
            (256, 128, 1): "impossible trellis",
            (-64, -33, 1): "impossible trellis",
            (64, 31, 25): "impossible trellis",
            (64, 64, 25): "impossible trellis",
            (64, 38, 0): "impossible trellis",
            (64, 38, 32): "impossible trellis",
            (64, 38): "trellis has shape",
        }.items()
    },
    "trellis of another type": (
        lambda arrays: arrays.update(trellis=np.array([64, 38, 25])),
        "trellis is int64",
    ),
}


@pytest.mark.parametrize("name", [*BROKEN, "heaviest value"])
def test_broken_arrays_are_refused(name):
    edit, message = BROKEN.get(name) or (_change("own_value", (1, 1), -(1 << 31)), "too large")
    arrays = context_arrays()
    edit(arrays)
    with pytest.raises(ValueError, match=message):
        ContextModel.from_arrays({f"context_{k}": v for k, v in arrays.items()})


@pytest.mark.parametrize("seed", range(8))
def test_against_plain_python(seed):
    """Tables, latents and reconstructions as an independent decoder in Python integers has them,
    down to the end of the stream."""
    rng = np.random.default_rng(seed)
    rows, cols = (int(n) for n in rng.integers(1, 9, 2))
    arrays = context_arrays(seed=seed)
    if seed > 3:
        arrays["trellis"] = np.array([(32, 27, 10), (64, 38, 25)][seed % 2], np.int32)
    y = latents(6, rows, cols, seed, outliers=0.05 * (seed % 3))
    levels = qualities(rows, cols, seed) if seed % 2 else 600 + rng.integers(-30, 30, (rows, cols))
    data, q, near, tables, _, flips, _ = ContextModel(arrays).encode(
        y, levels, RD_LAMBDA * (seed % 2), trace=True
    )
    slow_q, slow_near, slow_tables = spec_decoder.context_latents(arrays, data, levels)
    assert np.array_equal(slow_tables, tables)
    assert np.array_equal(slow_q, q)
    assert np.array_equal(slow_near, near)
    assert len(np.unique(tables)) > 5
    assert 0 <= flips.min() <= flips.max() <= 1


def test_shipped_model_against_plain_python():
    m, pixels = model(), crop("landsat.tif")[:1, :64, :80]
    y = m.analysis(robust(pixels.ravel()).forward(pixels)[None])[0]
    levels = np.repeat([[500], [520], [520], [610]], 5, 1)
    data, q, near = m.entropy.encode(y * m.gains(levels), levels, RD_LAMBDA)
    slow_q, slow_near, _ = spec_decoder.Model(m.folder).latents(data, levels, None)
    assert np.array_equal(slow_q, q)
    assert np.array_equal(slow_near, near)
