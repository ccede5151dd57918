# cython: language_level=3, boundscheck=False, wraparound=False
"""Wraps latents.h, deadzone.h and feedback.h: checks sizes, owns buffers, releases the GIL. Its
Python side is context.py, subbands.py, quantize.py and tile/feedback.py."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t

from isoq.entropy.rans cimport (
    ISOQ_NO_MEMORY, ISOQ_OK, ISOQ_PRECISION, ISOQ_STRANDS, isoq_empty_list, isoq_slot_list,
    isoq_status, MOST_SEGMENTS, segments_of, start_of,
)

from typing import NamedTuple

import numpy as np


cdef extern from "table_integers.h" nogil:
    enum: ISOQ_REACH, ISOQ_SYMBOLS

cdef extern from "deadzone.h" nogil:
    void isoq_deadzone_squares(const float *, const float *, float, float, float *, size_t)
    size_t isoq_count_beyond(const float *, float, size_t)

cdef extern from "feedback.h" nogil:
    ctypedef struct isoq_earlier_latents:
        const float *y
        const float *input
        const float *steps
        const float *gain
    void isoq_start_feedback(const isoq_earlier_latents *, const float *, float *, float *, size_t)
    void isoq_finish_feedback(const float *, const float *, float, float, float *, size_t)

cdef extern from "latents.h" nogil:
    enum: ISOQ_STEPS_PER_OCTAVE, ISOQ_LEVELS, ISOQ_BUCKETS, ISOQ_QUANTIZERS, ISOQ_REST
    enum: ISOQ_OWN, ISOQ_OWN_VALUE, ISOQ_MAX_LATENT
    ctypedef struct isoq_sparse_weights:
        const int32_t *start
        const int32_t *channel
        const int32_t *place
        const int32_t *weight
    ctypedef struct isoq_symbol:
        pass
    enum: ISOQ_NETWORK_INPUTS, ISOQ_NETWORK_OUTPUTS, ISOQ_NETWORK_BLOCK, ISOQ_NETWORK_MOST_WIDTH
    enum: ISOQ_NETWORK_MOST_DEPTH, ISOQ_NETWORK_MOST_BIAS, ISOQ_PREDICTED_LEVELS
    enum: ISOQ_LOW_PASS_BITS, ISOQ_WAVELET_LEVELS, ISOQ_WAVELET_CHANNELS
    ctypedef struct isoq_steps:
        pass
    const isoq_steps ISOQ_CDF_9_7, ISOQ_CDF_17_11
    ctypedef struct isoq_network_weights:
        int width, depth
        const int8_t *head
        const int8_t *body
        const int8_t *tail
        const int32_t *bias
    ctypedef struct isoq_network:
        float *memory
    isoq_status isoq_arrange_network(isoq_network *, const isoq_network_weights *)
    void isoq_release_network(isoq_network *)
    ctypedef struct isoq_subband_predictor:
        const isoq_steps **wavelets
        const int32_t *channel
        const int32_t *unit
        const isoq_network *network
    ctypedef struct isoq_trellis:
        pass
    bint isoq_make_trellis(isoq_trellis *, int32_t, int32_t, int32_t)
    ctypedef struct isoq_context_model:
        const isoq_subband_predictor *predictor
        const isoq_trellis *trellis
        isoq_sparse_weights around, value
        const int32_t *own
        const int32_t *own_value
        const int32_t *bias
        const uint8_t *group
        const uint16_t *cdf
        const float *offset
        const isoq_symbol *symbols
    ctypedef struct isoq_grid:
        int channels, rows, cols, strands
        const int32_t *up
        const int32_t *down
        const int32_t *below
        const int32_t *octave
        const int32_t *shift
    ctypedef struct isoq_planes:
        int32_t *value
        int rows, cols
    isoq_status isoq_find_features(
        const isoq_subband_predictor *, const isoq_grid *, const isoq_planes *, const float *, int,
        float *, int32_t *)
    int isoq_side_of(int)
    ctypedef struct isoq_trace:
        int32_t *table
        int16_t *symbol
        int8_t *flip
        int32_t *mu
    isoq_status isoq_encode_latents(
        const isoq_context_model *, const isoq_grid *, const float *, float, int32_t *, float *,
        isoq_slot_list *, size_t *, const isoq_trace *)
    isoq_status isoq_decode_latents(
        const isoq_context_model *, const isoq_grid *, const uint8_t *, size_t, int, int32_t *,
        float *)

CONSTANTS = dict(
    precision=ISOQ_PRECISION,
    strands=ISOQ_STRANDS,
    reach=ISOQ_REACH,
    symbols=ISOQ_SYMBOLS,
    steps_per_octave=ISOQ_STEPS_PER_OCTAVE,
    levels=ISOQ_LEVELS,
    buckets=ISOQ_BUCKETS,
    quantizers=ISOQ_QUANTIZERS,
    rest=ISOQ_REST,
    own=ISOQ_OWN,
    own_value=ISOQ_OWN_VALUE,
    max_latent=ISOQ_MAX_LATENT,
)
NETWORK = dict(
    inputs=ISOQ_NETWORK_INPUTS,
    outputs=ISOQ_NETWORK_OUTPUTS,
    block=ISOQ_NETWORK_BLOCK,
    most_width=ISOQ_NETWORK_MOST_WIDTH,
    most_depth=ISOQ_NETWORK_MOST_DEPTH,
    most_bias=ISOQ_NETWORK_MOST_BIAS,
    low_pass_bits=ISOQ_LOW_PASS_BITS,
)
PREDICTED_LEVELS = ISOQ_PREDICTED_LEVELS


class StepScales(NamedTuple):
    """The steps at the places of a tile, all (rows, cols) int32; see isoq_grid."""

    up: np.ndarray
    down: np.ndarray
    below: np.ndarray
    octave: np.ndarray
    shift: np.ndarray


def quantization_squares(const float[:, :, ::1] y, const float[:, :, ::1] gains, float finer,
                         float threshold):
    """Return the squared error of dead-zone quantization of each latent, in the units of y.

    y, gains: (channels, rows, cols); |y| finer gain is rounded up from 1 - threshold on. Raises
    ValueError if the shapes differ."""
    if np.shape(gains) != np.shape(y):
        raise ValueError("sizes differ")
    out = np.empty_like(y)
    cdef float[:, :, ::1] squares = out
    cdef size_t n = out.size
    with nogil:
        if n:
            isoq_deadzone_squares(&y[0, 0, 0], &gains[0, 0, 0], finer, threshold,
                                  &squares[0, 0, 0], n)
    return out


def start_feedback(const float[:, :, ::1] y, const float[:, :, ::1] inputs,
                   const float[:, :, ::1] steps, const float[:, :, ::1] gains,
                   const float[:, ::1] most):
    """Return what latents are taken for, and where they start from; see isoq_start_feedback."""
    shape = np.shape(y)
    shapes = {shape, np.shape(inputs), np.shape(steps), np.shape(gains)}
    if len(shapes) != 1 or np.shape(most) != shape[1:]:
        raise ValueError("sizes differ")
    taken, begun = np.empty(shape, np.float32), np.empty(shape, np.float32)
    cdef float[:, :, ::1] dequantized = taken, start = begun
    cdef Py_ssize_t c, n = most.shape[0] * most.shape[1]
    cdef isoq_earlier_latents latents
    with nogil:
        for c in range(y.shape[0] if n else 0):
            latents = isoq_earlier_latents(
                &y[c, 0, 0], &inputs[c, 0, 0], &steps[c, 0, 0], &gains[c, 0, 0])
            isoq_start_feedback(&latents, &most[0, 0], &dequantized[c, 0, 0], &start[c, 0, 0], n)
    return taken, begun


def finish_feedback(const float[:, :, ::1] dequantized, const float[:, :, ::1] products,
                    const float[::1] energies, float share, float[:, :, ::1] start):
    """Move latents from `start`, in place; see isoq_finish_feedback."""
    cdef Py_ssize_t c, n = start.shape[1] * start.shape[2]
    shapes = {np.shape(dequantized), np.shape(products), np.shape(start)}
    if len(shapes) != 1 or energies.shape[0] != start.shape[0]:
        raise ValueError("sizes differ")
    with nogil:
        for c in range(start.shape[0] if n else 0):
            isoq_finish_feedback(&dequantized[c, 0, 0], &products[c, 0, 0], energies[c], share,
                                 &start[c, 0, 0], n)


def count_beyond(const float[::1] y, float least):
    """Return how many numbers are beyond `least` in magnitude."""
    return isoq_count_beyond(&y[0], least, y.shape[0]) if y.shape[0] else 0


cdef class SubbandPredictor:
    """The networks that predict the details of levels 1, 2, 3 (subbands.py has shapes and units, and
    checks the arrays)."""

    cdef isoq_subband_predictor predictor
    cdef isoq_network networks[ISOQ_PREDICTED_LEVELS]
    cdef const isoq_steps *wavelets[ISOQ_WAVELET_LEVELS]
    cdef const int32_t[::1] channel, unit  # keep what `predictor` points into

    def __init__(
        self, list names, const int32_t[::1] channel, const int32_t[::1] unit,
        const int8_t[:, :, :, :, ::1] head, const int8_t[:, :, :, :, :, ::1] body,
        const int8_t[:, :, ::1] tail, const int32_t[:, ::1] bias,
    ):
        cdef isoq_network_weights weights
        for level, name in enumerate(names):
            self.wavelets[level] = &ISOQ_CDF_9_7 if name == "9/7" else &ISOQ_CDF_17_11
        self.channel, self.unit = channel, unit
        self.predictor.wavelets = self.wavelets
        self.predictor.channel, self.predictor.unit = &channel[0], &unit[0]
        self.predictor.network = self.networks
        weights.width, weights.depth = <int>head.shape[1], <int>body.shape[1]
        for level in range(ISOQ_PREDICTED_LEVELS):
            weights.head, weights.body = &head[level, 0, 0, 0, 0], &body[level, 0, 0, 0, 0, 0]
            weights.tail, weights.bias = &tail[level, 0, 0], &bias[level, 0]
            if isoq_arrange_network(&self.networks[level], &weights) != ISOQ_OK:
                raise MemoryError

    def __dealloc__(self):
        for level in range(ISOQ_PREDICTED_LEVELS):
            isoq_release_network(&self.networks[level])

    def features(
        self, int32_t[:, :, ::1] values, const float[:, :, ::1] reconstruction, object scales,
        int level,
    ):
        """Return what the network of a level sees, for training: features (INPUTS, rows, cols)
        float32 and contrasts (rows, cols) int32 of the cells.

        values: what later contexts see of the latents (256, h, w), in 1/16 of the finest step;
        reconstruction: of the latents, in steps; scales: StepScales."""
        cdef isoq_grid grid
        cdef isoq_planes planes
        cdef isoq_status status
        cdef const int32_t[:, ::1] below = scales[2], octave = scales[3], shift = scales[4]
        if np.shape(values) != np.shape(reconstruction) or values.shape[0] != ISOQ_WAVELET_CHANNELS \
                or {np.shape(scale) for scale in scales} != {np.shape(values)[1:]} \
                or values.shape[1] < 4 or values.shape[2] < 4 \
                or not 1 <= level <= ISOQ_PREDICTED_LEVELS:
            raise ValueError("latents of the wrong shape")
        grid.rows, grid.cols = <int>values.shape[1], <int>values.shape[2]
        grid.below, grid.octave, grid.shift = &below[0, 0], &octave[0, 0], &shift[0, 0]
        planes.value, planes.rows, planes.cols = &values[0, 0, 0], grid.rows, grid.cols
        side = (grid.rows * isoq_side_of(level) // 2, grid.cols * isoq_side_of(level) // 2)
        found, contrasts = np.empty((ISOQ_NETWORK_INPUTS, *side), np.float32), np.empty(side, np.int32)
        cdef float[:, :, ::1] feature = found
        cdef int32_t[:, ::1] contrast = contrasts
        with nogil:
            status = isoq_find_features(
                &self.predictor, &grid, &planes, &reconstruction[0, 0, 0], level,
                &feature[0, 0, 0], &contrast[0, 0])
        if status != ISOQ_OK:
            raise MemoryError
        return found, contrasts


cdef class ContextCoder:
    """Encoder and decoder with the arrays of a context model (context.py has shapes and units, and
    checks them)."""

    cdef isoq_context_model model
    cdef isoq_trellis trellis
    cdef readonly int channels
    cdef object _arrays  # keep what `model` points into
    cdef SubbandPredictor _predictor

    def __init__(self, dict arrays, SubbandPredictor predictor=None):
        self._arrays, self._predictor = arrays, predictor
        self.model.predictor = NULL if predictor is None else &predictor.predictor
        self.model.trellis = NULL
        if "trellis" in arrays:
            states, feedback, parity = arrays["trellis"]
            if not isoq_make_trellis(&self.trellis, states, feedback, parity):
                raise ValueError("context model: impossible trellis")
            self.model.trellis = &self.trellis
        self._point_to(&self.model.around, "around")
        self._point_to(&self.model.value, "value")
        cdef const int32_t[:, ::1] own = arrays["own"], own_value = arrays["own_value"]
        cdef const int32_t[::1] bias = arrays["bias"]
        cdef const uint8_t[::1] group = arrays["group"]
        cdef const uint16_t[:, ::1] cdf = arrays["cdf"]
        cdef const float[:, ::1] offset = arrays["offset"]
        cdef const float[:, :, ::1] symbols = arrays["symbols"]
        self.channels = group.shape[0]
        self.model.own = &own[0, 0]
        self.model.own_value = &own_value[0, 0]
        self.model.bias = &bias[0]
        self.model.group = &group[0]
        self.model.cdf = &cdf[0, 0]
        self.model.offset = &offset[0, 0]
        self.model.symbols = <const isoq_symbol *>&symbols[0, 0, 0]

    cdef void _point_to(self, isoq_sparse_weights *weights, str name) except *:
        weights.start = _first(self._arrays[f"{name}_start"])
        weights.channel = _first(self._arrays[f"{name}_channel"])
        weights.place = _first(self._arrays[f"{name}_place"])
        weights.weight = _first(self._arrays[f"{name}_weight"])

    def encode(
        self, const float[:, :, ::1] y, object scales, float trade, int strands, bint trace=False,
        tuple ends=(),
    ):
        """Return the segments of the stream, the latents (int32, half steps) and their
        reconstruction (float32, steps), and with `trace` also tables, symbols, flips and
        predicted values (int32, 1/16 step), all (channels, rows, cols).

        y: (channels, rows, cols), steps; scales: StepScales; strands: see isoq_grid; ends: numbers of
        channels after which a segment ends, ascending, the last one all of them; without ends there
        is no stream."""
        cdef isoq_grid grid
        cdef isoq_slot_list slots = isoq_empty_list()
        cdef isoq_trace log
        cdef isoq_status status
        cdef bint stream = len(ends) > 0
        cdef size_t slots_at_ends[MOST_SEGMENTS]
        if len(ends) > MOST_SEGMENTS or (stream and ends[len(ends) - 1] != self.channels):
            raise ValueError("segments do not fit")
        shape = self._grid(&grid, y.shape[0], y.shape[1], y.shape[2], scales, strands)
        slots_after = np.empty(self.channels, np.uintp)
        cdef size_t[::1] after = slots_after
        latents, reconstruction = np.empty(shape, np.int32), np.empty(shape, np.float32)
        traced = shape if trace else (1, 1, 1)
        tables, symbols = np.empty(traced, np.int32), np.empty(traced, np.int16)
        flips, values = np.empty(traced, np.int8), np.empty(traced, np.int32)
        cdef int32_t[:, :, ::1] latent = latents, table = tables, mu = values
        cdef float[:, :, ::1] near = reconstruction
        cdef int16_t[:, :, ::1] symbol = symbols
        cdef int8_t[:, :, ::1] flip = flips
        log.table = &table[0, 0, 0] if trace else NULL
        log.symbol = &symbol[0, 0, 0] if trace else NULL
        log.flip = &flip[0, 0, 0] if trace else NULL
        log.mu = &mu[0, 0, 0] if trace else NULL
        with nogil:
            status = isoq_encode_latents(
                &self.model, &grid, &y[0, 0, 0], trade, &latent[0, 0, 0], &near[0, 0, 0],
                &slots if stream else NULL, &after[0], &log)
        segments = []
        if stream:
            for k, end in enumerate(ends):
                slots_at_ends[k] = slots_after[end - 1]
            segments = segments_of(&slots, status, strands, slots_at_ends, len(ends))
        elif status != ISOQ_OK:
            raise MemoryError
        found = (segments, latents, reconstruction)
        return (*found, tables, symbols, flips, values) if trace else found

    def decode(
        self, const uint8_t[::1] data, object scales, int channels, int strands,
    ):
        """Return the first latents (int32, half steps) and their reconstruction (float32, steps),
        both (channels, rows, cols), or None if the stream is damaged. Segments behind those of the
        channels may be missing."""
        cdef isoq_grid grid
        cdef isoq_status status
        rows, cols = np.shape(scales[0])
        self._grid(&grid, self.channels, rows, cols, scales, strands)
        if not 0 < channels <= self.channels:
            raise ValueError("latents of the wrong shape")
        grid.channels = channels
        shape = (channels, grid.rows, grid.cols)
        latents, reconstruction = np.empty(shape, np.int32), np.empty(shape, np.float32)
        cdef int32_t[:, :, ::1] latent = latents
        cdef float[:, :, ::1] near = reconstruction
        cdef const uint8_t *start = start_of(data)
        cdef size_t size = data.shape[0]
        with nogil:
            status = isoq_decode_latents(
                &self.model, &grid, start, size, channels == self.channels, &latent[0, 0, 0],
                &near[0, 0, 0])
        if status == ISOQ_NO_MEMORY:
            raise MemoryError
        return (latents, reconstruction) if status == ISOQ_OK else None

    cdef tuple _grid(
        self, isoq_grid *grid, Py_ssize_t channels, Py_ssize_t rows, Py_ssize_t cols, object scales,
        int strands,
    ):
        """Fill in a grid, and return its shape."""
        cdef const int32_t[:, ::1] up = scales[0], down = scales[1], below = scales[2]
        cdef const int32_t[:, ::1] octave = scales[3], shift = scales[4]
        if channels != self.channels or rows < 1 or cols < 1:
            raise ValueError("latents of the wrong shape")
        if {np.shape(scale) for scale in scales} != {(rows, cols)}:
            raise ValueError("step scales of the wrong shape")
        if strands not in (1, ISOQ_STRANDS):
            raise ValueError("impossible number of strands")
        grid.strands, grid.channels = strands, <int>channels
        grid.rows, grid.cols = <int>rows, <int>cols
        grid.up, grid.down, grid.below = &up[0, 0], &down[0, 0], &below[0, 0]
        grid.octave, grid.shift = &octave[0, 0], &shift[0, 0]
        return channels, rows, cols


cdef const int32_t *_first(const int32_t[::1] array) except? NULL:
    return &array[0] if array.shape[0] else NULL
