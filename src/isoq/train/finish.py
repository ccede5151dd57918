"""The end of a training: context tables fitted and counted, the model folder written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from .contexts import count_tables, fit_forms, table_groups
from .data import Plane
from .loop import Trainee


def latents_of(model: Trainee, planes: list[Plane], side: int, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Latents (M, h, w), gains not applied, of `count` crops of at most side x side pixels."""
    result = []
    for plane in (planes[i] for i in rng.permutation(len(planes) * 4)[:count] % len(planes)):
        rows, cols = (min(side, n // 64 * 64) for n in plane.valid.shape)
        for _ in range(20):
            i, j = (rng.integers(n - s + 1) for n, s in zip(plane.valid.shape, (rows, cols), strict=True))
            if plane.valid[i : i + rows, j : j + cols].all():
                x = np.stack([a.forward(c) for a, c in zip(plane.affine, plane.samples[:, i : i + rows, j : j + cols], strict=True)])
                with torch.no_grad():
                    result.append(model.network.analysis(torch.from_numpy(x)[None])[0].numpy())
                break
    return result
