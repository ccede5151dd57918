"""Still pictures of video codecs, through ffmpeg: one gray frame per band.

Bands have 8, 10 or 12 bits; samples that need more lose their lowest ones before coding, which
counts as error. The setting is the quantizer of the codec, an integer. Needs ffmpeg with libx265
and libaom: the program, or the package imageio-ffmpeg."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from abc import abstractmethod
from functools import cache
from importlib.util import find_spec

import numpy as np

from ..errors import InputError
from .codec import BandCodec, unsigned

_MOST_BITS, _SIDE = 12, 8  # the smallest block of HEVC has 8 x 8 pixels


@cache
def ffmpeg() -> str:
    """Return the path of ffmpeg. Raises InputError if there is none."""
    path = shutil.which("ffmpeg")
    if path is None and find_spec("imageio_ffmpeg"):
        import imageio_ffmpeg

        path = imageio_ffmpeg.get_ffmpeg_exe()
    if path is None:
        raise InputError("ffmpeg is missing; install it, or pip install imageio-ffmpeg")
    return path


class VideoCodec(BandCodec):
    """A codec of gray frames.

    encoder, container: names that ffmpeg uses."""

    integer = True
    encoder: str
    container: str

    def __init__(self, samples: np.ndarray):
        super().__init__(samples)
        levels, low, step = unsigned(samples)
        least = int(levels.min())
        lost = max(0, int(levels.max() - least).bit_length() - _MOST_BITS)
        self._bands = ((levels - least) >> lost).astype(np.uint16)
        self._step = step * 2**lost
        self._low = low + step * (least + (2**lost - 1) / 2)
        most = int(self._bands.max())
        self._bits = next(bits for bits in (8, 10, 12) if most < 1 << bits)

    def first(self, mse: float) -> float:
        quantizer = math.sqrt(12 * max(mse / self._step**2, 1 / 12))
        return self._setting(quantizer / 2 ** (self._bits - 8))

    @abstractmethod
    def _setting(self, quantizer: float) -> float:
        """Return the setting for a quantization step in levels of 8 bits."""

    @abstractmethod
    def _options(self, setting: int) -> list[str]: ...

    @property
    def _raw(self) -> list[str]:
        pixels = "gray" if self._bits == 8 else f"gray{self._bits}le"
        return ["-f", "rawvideo", "-pix_fmt", pixels]

    def _encode(self, band: np.ndarray, setting: float) -> bytes:
        beyond = [(0, -side % _SIDE) for side in band.shape]
        frame = np.pad(band, beyond, mode="edge")
        size = f"{frame.shape[1]}x{frame.shape[0]}"
        return _run(
            [*self._raw, "-s", size, "-i", "-", "-frames:v", "1", "-c:v", self.encoder],
            [*self._options(round(setting)), "-f", self.container, "-"],
            frame.astype("u1" if self._bits == 8 else "<u2").tobytes(),
        )

    def _decode(self, data: bytes) -> np.ndarray:
        rows, cols = self.shape[1:]
        frame = _run(["-f", self.container, "-i", "-"], [*self._raw, "-"], data)
        wide = cols + -cols % _SIDE
        levels = np.frombuffer(frame, "u1" if self._bits == 8 else "<u2").reshape(-1, wide)
        return levels[:rows, :cols]

    @classmethod
    def version(cls) -> str:
        """Return the version of ffmpeg and of the library in it."""
        first = subprocess.run([ffmpeg(), "-version"], capture_output=True, text=True).stdout
        found = re.match(r"ffmpeg version (\S+)", first)
        return f"{cls.library} of ffmpeg {found[1] if found else '?'}"


def _run(before: list[str], after: list[str], data: bytes) -> bytes:
    quiet = ["-hide_banner", "-nostdin", "-loglevel", "error"]
    done = subprocess.run(
        [ffmpeg(), *quiet, "-threads", "1", *before, "-threads", "1", *after],
        input=data,
        capture_output=True,
    )
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no output"]
        raise RuntimeError(f"ffmpeg: {said[-1]}")
    return done.stdout


class Hevc(VideoCodec):
    """HEVC intra (x265), tuned for PSNR. The setting is QP + 1."""

    name, library, encoder, container = "hevc", "x265", "libx265", "hevc"
    largest, power = 52.0, 7.0  # 3 QP double the error

    def _setting(self, quantizer: float) -> float:
        return 8 + 6 * math.log2(quantizer)

    def _options(self, setting: int) -> list[str]:
        one = "keyint=1:info=0:aud=0:pools=none:frame-threads=1:log-level=error"
        return [
            *("-preset", "veryslow", "-tune", "psnr"),
            *("-x265-params", f"qp={setting - 1}:{one}"),
        ]


class Av1(VideoCodec):
    """AV1 intra (libaom), the coding of AVIF, tuned for PSNR. The setting is the quantizer."""

    name, library, encoder, container = "av1", "libaom", "libaom-av1", "obu"
    largest, power = 63.0, 1.7

    def _setting(self, quantizer: float) -> float:
        return quantizer / 2

    def _options(self, setting: int) -> list[str]:
        return [
            *("-crf", str(setting), "-b:v", "0", "-cpu-used", "4", "-still-picture", "1"),
            *("-tune", "psnr"),
        ]
