"""Where the codec's time goes: seconds per stage, single thread, in process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from isoq import Target
from isoq.codec import reader, writer
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.target import BandStatistics
from isoq.codec.writer import compress_to
from isoq.format.container import ContainerWriter
from isoq.network.model import Model
from isoq.raster.sink import Sink, create_sink
from isoq.raster.source import Source, open_source
from isoq.raster.window import window_of
from isoq.tile import band_group, control, encode, quality_model, residual
from isoq.tile.band_group import BandGroup
from isoq.tile.reconstruct import Reconstruction

REST = "the rest"


class Stages:
    """Seconds per stage; what one stage spends inside another counts for the inner one only."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._running, self._since = [REST], time.perf_counter()

    def _switch(self) -> None:
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def timed(self, work: Callable, stage: str) -> Callable:
        """`work`, its time counted as that of `stage`."""

        def wrapped(*arguments, **options):
            self._switch()
            self._running.append(stage)
            try:
                return work(*arguments, **options)
            finally:
                self._switch()
                self._running.pop()

        return wrapped


def _places(model: Model) -> dict[str, list[tuple[object, str]]]:
    """The functions that make up a stage."""
    return {
        "reading": [(Source, "read")],
        "normalization, filling, padding": [(BandGroup, "direct"), (BandGroup, "spectral")],
        "analysis": [(model, "analysis")],
        "prediction": [
            (BandGroup, "predicted_error"),
            (BandGroup, "expected_error"),
            *((quality_model, n) for n in ("predicted_levels", "after_quantizing")),
        ],
        "quantization, tried for the prediction": [(model.entropy, "quantize")],
        "quantization and entropy coding": [(model, "encode")],
        "entropy decoding": [(model, "decode")],
        "synthesis": [(model, "synthesis"), (model.wavelet or model, "decode")],
        "feedback": [(band_group, "adjusted_latents"), (model, "adjoint")],
        "gains, denormalization, rounding": [
            (BandGroup, "encode"),
            (Reconstruction, "samples"),
            (model, "gains"),
        ],
        "measuring": [(control, "band_ratios"), (encode, "measure")],
        "residual layer": [(residual, "correct"), (residual, "pack"), (residual, "unpack_onto")],
        "statistics": [(BandStatistics, "of")],
        "writing": [(ContainerWriter, "tile"), (Sink, "write"), (Sink, "__exit__")],
    }


@contextmanager
def _watched(model: Model) -> Iterator[Counter[str]]:
    """Seconds per stage of what is done inside, in one thread."""
    stages = Stages()
    with ExitStack() as stack:
        for owner in (writer, reader):
            stack.enter_context(
                patch.object(owner, "ordered", lambda work, items, threads: map(work, items))
            )
        for stage, places in _places(model).items():
            for owner, name in places:
                stack.enter_context(
                    patch.object(owner, name, stages.timed(getattr(owner, name), stage))
                )
        stages.timed(lambda: None, REST)()  # start the clock
        stages.seconds.clear()
        yield stages.seconds
        stages.timed(lambda: None, REST)()


def stages_of(image: Path, snr: float, model: Model) -> dict[str, Counter[str]]:
    """Seconds per stage of one pass, the closed loop and decompression of an image; files are made
    beside it."""
    packed, back = image.with_suffix(".stages.isoq"), image.with_suffix(".stages.tif")
    found = {}
    with open_source(image) as source:
        for how, single_pass in (("to warm up", True), ("one pass", True), ("closed loop", False)):
            with packed.open("w+b") as stream, _watched(model) as seconds:
                compress_to(
                    stream,
                    source,
                    Target("snr", snr),
                    model,
                    Options(threads=1, single_pass=single_pass),
                )
            found[how] = seconds
    del found["to warm up"]
    with packed.open("rb") as stream, _watched(model) as found["decompress"]:
        file = File(stream)
        with create_sink(back, file.description) as sink:
            for part, samples, _ in file.at_level(0).pieces(
                model, window_of(None, file.description, file.name)
            ):
                sink.write(part.row, part.col, samples, part.band)
    return found
