"""Prediction of the details of a wavelet's levels by small networks.

A network for each of the levels 1 to 3 sees the low-pass band that the coarser levels make, and the
coarser details. It moves the expected value and the expected magnitude of every detail before the
context model looks its tables up. It runs once per level, in integers; subband_predictor.h has the
arithmetic. This module owns the arrays."""

from __future__ import annotations

import numpy as np

from ..wavelet.transform import STEPS_AN_OCTAVE, Wavelet, octave_steps
from ._coder import NETWORK, PREDICTED_LEVELS, SubbandPredictor

PREFIX = "predictor_"
LOW_PASS_BITS = NETWORK["low_pass_bits"]


def predictor_arrays(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return those of a model's arrays that belong to its predictor, if it has one."""
    return {name: array for name, array in arrays.items() if name.startswith(PREFIX)}


def predictor_of(arrays: dict[str, np.ndarray], wavelet: Wavelet) -> SubbandPredictor:
    """Return the predictor of a model's arrays.

    The arrays are, for the L = 3 predicted levels, the finest first:

    - `predictor_head` (L, width, 8, 3, 3), `predictor_body` (L, depth, width, width, 3, 3),
      `predictor_tail` (L, 24, width): weights, int8, in 1/2^7.
    - `predictor_bias` (L, width + depth * width + 24): int32, in 1/2^11.

    Raises ValueError if they are not like this."""
    head, body, tail, bias = (_array(arrays, name) for name in ("head", "body", "tail", "bias"))
    width, depth = (head.shape[1], body.shape[1]) if head.ndim == 5 and body.ndim == 6 else (0, 0)
    inputs, outputs, levels = NETWORK["inputs"], NETWORK["outputs"], PREDICTED_LEVELS
    shapes = {
        "head": (levels, width, inputs, 3, 3),
        "body": (levels, depth, width, width, 3, 3),
        "tail": (levels, outputs, width),
        "bias": (levels, width * (1 + depth) + outputs),
    }
    for (name, shape), array in zip(shapes.items(), (head, body, tail, bias), strict=True):
        if array.shape != shape:
            raise ValueError(f"predictor: {name} has shape {array.shape}, not {shape}")
    if not 0 < width <= NETWORK["most_width"] or width % NETWORK["block"]:
        raise ValueError(f"predictor: {width} channels are not possible")
    if not 0 < depth <= NETWORK["most_depth"]:
        raise ValueError(f"predictor: {depth} layers are not possible")
    # Up to these numbers, the sums in subband_network.h stay below 2^24.
    lowest, most_bias = min(a.min() for a in (head, body, tail)), NETWORK["most_bias"]
    if lowest < -127 or bias.min() < -most_bias or bias.max() > most_bias:
        raise ValueError("predictor: weights are too large")
    names, channels = list(wavelet.names), wavelet.channel_order
    return SubbandPredictor(names, channels, wavelet.unit, head, body, tail, bias)


def fixed_steps(below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `octave` and `shift` (h, w) of fixed.h for latents in multiples of the finest step.

    below: (h, w), levels of quality below the finest."""
    octave = octave_steps()[-below % STEPS_AN_OCTAVE]
    return octave, (-below // STEPS_AN_OCTAVE + (31 - LOW_PASS_BITS)).astype(np.int32)


def _array(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    array = arrays.get(PREFIX + name)
    dtype = np.int32 if name == "bias" else np.int8
    if array is None or array.dtype != dtype:
        raise ValueError(f"predictor: {name} is not an array of {np.dtype(dtype)}")
    return np.ascontiguousarray(array)
