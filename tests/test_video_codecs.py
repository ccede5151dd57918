"""Still pictures of video codecs as reference codecs."""

import shutil
import stat
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from cases import crop, terrain
from images import one_line

from isoq.errors import InputError
from isoq.evaluate import video_codecs
from isoq.evaluate.search import nearest, seek
from isoq.evaluate.video_codecs import Av1, Hevc

CODECS = pytest.mark.parametrize("codec", [Hevc, Av1])

# In place of ffmpeg: frames stay as they are, behind the arguments they came with.
COPIES = """#!{python}
import json, sys
data, arguments = sys.stdin.buffer.read(), sys.argv[1:]
if "-s" in arguments:
    data = json.dumps(arguments).encode() + b"\\n" + data
else:
    data = data.partition(b"\\n")[2]
sys.stdout.buffer.write(data)
"""


@pytest.fixture(autouse=True)
def _no_memory_of_other_tests():
    video_codecs.ffmpeg.cache_clear()
    yield
    video_codecs.ffmpeg.cache_clear()


@pytest.fixture
def copies(tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text(COPIES.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))


@CODECS
@pytest.mark.parametrize(
    ("dtype", "span", "pixels", "step"),
    [
        ("uint8", 255, b"gray", 1),
        ("uint16", 1000, b"gray10le", 1),
        ("int16", 4000, b"gray12le", 1),
        ("uint16", 30000, b"gray12le", 8),
        ("float32", 3, b"gray12le", 3 / 65535 * 16),
    ],
)
def test_samples_of_any_type_come_back_within_the_bits_that_fit(
    copies, codec, dtype, span, pixels, step
):
    band = terrain(1, 41, 37, "float32")[0]
    band = (band - band.min()) / np.ptp(band) * span
    samples = (band + (100 if dtype == "uint16" else 0)).astype(dtype)[None]
    coder = codec(samples)
    data = coder.encode(30)
    assert b'"' + pixels + b'"' in data
    back = coder.decode(data)
    assert back.shape == samples.shape
    assert back.dtype == samples.dtype
    assert np.abs(back.astype(float) - samples).max() <= step / 2 + 1e-6


def test_the_program_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(video_codecs, "find_spec", lambda name: None)
    with one_line(InputError, "ffmpeg is missing; install it, or pip install imageio-ffmpeg"):
        video_codecs.ffmpeg()


def test_what_the_program_says_is_passed_on(tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho 'Unknown encoder' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(RuntimeError, match="ffmpeg: Unknown encoder"):
        Hevc(np.zeros((1, 16, 16), np.uint8)).encode(20)


@pytest.mark.skipif(
    not (shutil.which("ffmpeg") or find_spec("imageio_ffmpeg")), reason="needs ffmpeg"
)
@CODECS
def test_errors_reach_a_target(codec):
    samples = crop("sentinel2.tif")[:1]
    target = samples.var() / 300
    error = lambda decoded: float(np.square(decoded - samples.astype(float)).mean())  # noqa: E731
    best = nearest(seek(codec(samples), target, error), target)
    assert target / 1.3 < best.mse < target * 1.3
    assert len(best.data) < samples.nbytes / 3
