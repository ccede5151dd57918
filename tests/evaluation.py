"""What the tests of `isoq evaluate` share: an image, a small plan, a broken codec."""

from __future__ import annotations

import numpy as np
from cases import crop

from isoq.evaluate import images
from isoq.evaluate.plan import EvaluationPlan
from isoq.evaluate.reference_codecs import Jpeg2000


def scene(bands: int = 1, side: int = 128) -> np.ndarray:
    return crop("sentinel2.tif")[:bands, :side, :side]


def group_of(path, side: int = 96) -> images.Group:
    return images.groups_of(path, 1, side)[0]


def plan_of(path, codecs, values=(30.0,)) -> EvaluationPlan:
    return EvaluationPlan((group_of(path),), tuple(codecs), "snr", values, "eo16", 64)


class Shifted(Jpeg2000):
    name = "shifted"
    shift = (0, 1)

    def decode(self, data: bytes) -> np.ndarray:
        return np.roll(super().decode(data), self.shift, (1, 2))
