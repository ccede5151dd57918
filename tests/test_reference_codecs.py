"""Reference codecs reach a target, and a codec that is broken is caught."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

import numpy as np
import pytest
from cases import DATA, crop

pytest.importorskip("imagecodecs")
pytest.importorskip("matplotlib")
pytest.importorskip("scipy")

from evaluation import Shifted, group_of, plan_of, scene

from isoq.evaluate import isoq_codec, search
from isoq.evaluate.checks import Untrustworthy, check, displacement
from isoq.evaluate.measure import MATCHED, ONE_SHOT, measure, reference
from isoq.evaluate.metrics import mean_squared_error
from isoq.evaluate.plan import EvaluationJob
from isoq.evaluate.reference_codecs import REFERENCE_CODECS, Htj2k, Jpeg2000, JpegLs, Zfp
from isoq.evaluate.video_codecs import VideoCodec

pytestmark = pytest.mark.slow


_INTEGER = ("jpegls", "lerc", "zfp", "hevc", "av1")  # settings of these codecs
MATCHES = [name for name in REFERENCE_CODECS if name not in _INTEGER]
HAS_FFMPEG = shutil.which("ffmpeg") or find_spec("imageio_ffmpeg")
RUNS = [
    name
    for name, codec in REFERENCE_CODECS.items()
    if HAS_FFMPEG or not issubclass(codec, VideoCodec)
]


def error_of(samples: np.ndarray):
    return lambda decoded: float(
        mean_squared_error(samples, decoded, np.ones(samples.shape, bool)).mean()
    )


@pytest.mark.parametrize("name", MATCHES)
def test_a_peer_is_brought_to_the_target(name):
    samples = scene(3, 128)
    target = 40.0
    best = search.nearest(
        search.seek(REFERENCE_CODECS[name](samples), target, error_of(samples)), target
    )
    assert best.mse == pytest.approx(target, rel=0.1 if name == "jpegxl" else 0.04)
    assert best.decoded.dtype == samples.dtype
    assert (
        error_of(samples)(REFERENCE_CODECS[name](samples).decode(best.data)) == best.mse
    )  # the bytes are all there is


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_every_type_comes_back(name, dtype):
    scale = 0.02 if dtype == "uint8" else 1
    samples = ((scene(2, 80).astype(float) - (0 if dtype == "uint8" else 1500)) * scale).astype(
        dtype
    )
    target = float(samples.var()) / 100
    best = search.nearest(
        search.seek(REFERENCE_CODECS[name](samples), target, error_of(samples)), target
    )
    assert (best.decoded.shape, best.decoded.dtype) == (samples.shape, samples.dtype)
    assert best.mse < 6 * target
    assert best.mse > target / 6 or best.setting == REFERENCE_CODECS[name](samples).largest


@pytest.mark.parametrize("kind", [JpegLs, REFERENCE_CODECS["lerc"]])
def test_whole_bounds_keep_the_largest_error(kind):
    samples = scene()
    for trial in search.seek(kind(samples), 30.0, error_of(samples)):
        assert trial.setting == round(trial.setting)
        assert np.abs(trial.decoded.astype(int) - samples).max() <= trial.setting
    best = search.nearest(search.seek(kind(samples), 30.0, error_of(samples)), 30.0)
    others = [
        error_of(samples)(kind(samples).decode(kind(samples).encode(best.setting + step)))
        for step in (-1, 1)
    ]
    assert others[0] < best.mse < others[1]
    assert all(abs(np.log(other / 30)) >= abs(np.log(best.mse / 30)) for other in others)


def test_zfp_moves_in_steps():
    samples = scene()
    sizes = [len(Zfp(samples).encode(setting)) for setting in (44.6, 45.4)]
    assert sizes[0] == sizes[1]  # 2^4.6 and 2^5.4 would both be the tolerance 2^5
    errors = [
        error_of(samples)(Zfp(samples).decode(Zfp(samples).encode(setting)))
        for setting in (43, 45, 47)
    ]
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_htj2k_does_not_wrap(dtype):
    samples = scene()
    top = np.iinfo(dtype).max
    bright = np.where(samples > np.median(samples), top, 0).astype(dtype)
    target = (0.05 * top) ** 2
    best = search.nearest(search.seek(Htj2k(bright), target, error_of(bright)), target)
    assert (
        np.abs(best.decoded.astype(int) - bright).max() < 0.9 * top
        if dtype == "uint8"
        else best.mse < 4 * target
    )


def test_jpeg2000_cuts_bands_at_one_slope():
    samples = scene(3)
    together = search.nearest(search.seek(Jpeg2000(samples), 30.0, error_of(samples)), 30.0)
    alone = sum(
        len(search.nearest(search.seek(Jpeg2000(b[None]), 30.0, error_of(b[None])), 30.0).data)
        for b in samples
    )
    assert len(together.data) < 1.03 * alone


def test_klt_counts_its_coefficients():
    samples = scene(3, 64)
    data = REFERENCE_CODECS["klt-jpeg2000"](samples).encode(1e12)
    assert len(data) > 4 * (3 * 3 + 3)
    basis = np.frombuffer(data[: 4 * 9], "<f4").reshape(3, 3).astype(float)
    assert np.allclose(basis @ basis.T, np.eye(3), atol=1e-5)


class Honest(Jpeg2000):
    name = "honest"


class Far(Shifted):
    shift = (-13, 40)


class Half(Jpeg2000):
    name = "half"

    def decode(self, data: bytes) -> np.ndarray:
        decoded = super().decode(data)
        return ((decoded + np.roll(decoded, 1, 2).astype(int)) // 2).astype(decoded.dtype)


class WrongType(Jpeg2000):
    name = "wrong type"

    def decode(self, data: bytes) -> np.ndarray:
        return super().decode(data).astype(np.float32)


class WrongShape(Jpeg2000):
    name = "wrong shape"

    def decode(self, data: bytes) -> np.ndarray:
        return super().decode(data)[:, :-1]


class Stale(Jpeg2000):
    """Answers with the last image it decoded."""

    name = "stale"
    last = None

    def decode(self, data: bytes) -> np.ndarray:
        found = super().decode(data)
        last, type(self).last = self.last, found
        return found if last is None else last


class Noise(Jpeg2000):
    name = "noise"

    def decode(self, data: bytes) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 4000, self.shape).astype(self.dtype)


class NoBytes(Jpeg2000):
    name = "no bytes"

    def encode(self, setting: float) -> bytes:
        return np.frombuffer(super().encode(setting), np.uint8)


def through(kind) -> list:
    samples = scene()
    return list(reference(kind, samples, np.ones(samples.shape, bool), 40.0))


def test_an_honest_codec_passes():
    found = through(Honest)
    assert [mode for mode, *_ in found] == [MATCHED, ONE_SHOT]


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (Shifted, "shifted"),
        (Far, "shifted"),
        (Half, "shifted"),
        (WrongType, "type"),
        (WrongShape, "shape"),
        (Stale, "different"),
        (Noise, "farther"),
        (NoBytes, "bytes"),
    ],
)
def test_a_broken_codec_is_caught(kind, word):
    with pytest.raises(Untrustworthy, match=word):
        through(kind)


def test_a_shifted_isoq_is_caught(monkeypatch):
    decode = isoq_codec.Isoq.decode
    monkeypatch.setattr(
        isoq_codec.Isoq, "decode", lambda self, data: np.roll(decode(self, data), 1, 1)
    )
    job = EvaluationJob(
        plan_of(DATA / "landsat.tif", ("isoq",)), group_of(DATA / "landsat.tif"), "isoq", 30.0
    )
    done = measure(job)
    assert "shifted" in done.failure
    assert not done.rows


def test_a_false_record_of_isoq_is_caught(monkeypatch):
    monkeypatch.setattr(isoq_codec, "recorded", lambda data: [1.0])
    job = EvaluationJob(
        plan_of(DATA / "landsat.tif", ("isoq",)), group_of(DATA / "landsat.tif"), "isoq", 30.0
    )
    assert "another error" in measure(job).failure


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -2), (17, 33)])
def test_displacement(shift):
    image = scene(1, 160)[0].astype(float)
    moved = np.roll(image, shift, (0, 1)) + np.random.default_rng(1).normal(
        0, image.std() / 3, image.shape
    )
    assert displacement(image, moved) == pytest.approx(shift, abs=0.1)


def test_coarse_results_are_believed():
    """A coarse but honest result must pass: 8 dB."""
    for name in ("sentinel2.tif", "landsat.tif"):
        samples = crop(name)[:1, :128, :128]
        target = float(samples.var()) / 10**0.8
        best = search.nearest(search.seek(Jpeg2000(samples), target, error_of(samples)), target)
        check(
            "JPEG 2000",
            best.data,
            best.decoded,
            best.decoded,
            samples,
            np.ones(samples.shape, bool),
        )
