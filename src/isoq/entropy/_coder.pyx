# cython: language_level=3, boundscheck=False, wraparound=False
"""Thin wrapper of coder.h: checks sizes, owns buffers, releases the GIL. The Python side of it is context.py, quantize.py and stream.py."""

from libc.stddef cimport size_t
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

import numpy as np

cdef extern from "coder.h" nogil:
    enum: PRECISION, REACH, SYMBOLS, STEPS_PER_OCTAVE, LEVELS, BUCKETS, QUANTIZERS, REST, OWN, OWN_VALUE, MAX_LATENT
    ctypedef struct Slot:
        uint16_t start
    ctypedef struct SlotList:
        Slot *slots
        size_t count, capacity
        int failed
    ctypedef struct Reader:
        int failed
    ctypedef struct Integers:
        pass
    ctypedef struct Sparse:
        const int32_t *start
        const int32_t *channel
        const int32_t *place
        const int32_t *weight
    ctypedef struct Model:
        Sparse around, value
        const int32_t *own
        const int32_t *own_value
        const int32_t *bias
        const uint8_t *group
        const uint16_t *cdf
        const float *offset
        const float *bits
    ctypedef struct Grid:
        int channels, rows, cols
        const int32_t *up
        const int32_t *down
    ctypedef struct Trace:
        int32_t *table
        int16_t *symbol
        int8_t *flip
    size_t flush(const SlotList *, uint32_t *, size_t)
    void start_reader(Reader *, const uint8_t *, size_t)
    int finished(const Reader *)
    void put_value(SlotList *, const uint16_t *, int, int32_t)
    int64_t take_value(Reader *, const uint16_t *, int)
    void put_integer(SlotList *, Integers *, int32_t)
    int32_t take_integer(Reader *, Integers *)
    int encode_latents(const Model *, const Grid *, const float *, float, int32_t *, float *, SlotList *, const Trace *)
    void deadzone_squares(const float *, const float *, float, float *, size_t)
    int decode_latents(const Model *, const Grid *, const uint8_t *, size_t, int32_t *, float *)

CONSTANTS = dict(
    precision=PRECISION, reach=REACH, symbols=SYMBOLS, steps_per_octave=STEPS_PER_OCTAVE, levels=LEVELS, buckets=BUCKETS,
    quantizers=QUANTIZERS, rest=REST, own=OWN, own_value=OWN_VALUE, max_latent=MAX_LATENT,
)


cdef bytes _stream(SlotList *slots):
    """The words of a list of slots, little-endian; frees the list."""
    cdef size_t room = slots.count // 2 + 4, used
    out = np.empty(room, np.uint32)
    cdef uint32_t[::1] view = out
    with nogil:
        used = flush(slots, &view[0], room)
        free(slots.slots)
    return out[room - used:].astype("<u4", copy=False).tobytes()


def encode_symbols(const int32_t[::1] values, const uint16_t[::1] tables, const uint16_t[:, ::1] cdf, const uint8_t[::1] shifts):
    """values (n,), the table of each (n,), cumulative frequencies (tables, SYMBOLS + 1), low bits per table -> bytes."""
    cdef Py_ssize_t n = values.shape[0], k
    cdef SlotList slots
    slots.slots, slots.count, slots.capacity, slots.failed = NULL, 0, 0, 0
    if tables.shape[0] != n or cdf.shape[1] != SYMBOLS + 1 or shifts.shape[0] != cdf.shape[0]:
        raise ValueError("sizes differ")
    if n and np.max(tables) >= cdf.shape[0]:
        raise ValueError("table out of range")
    with nogil:
        for k in range(n):
            put_value(&slots, &cdf[tables[k], 0], shifts[tables[k]], values[k])
    if slots.failed:
        free(slots.slots)
        raise MemoryError
    return _stream(&slots)


def decode_symbols(const uint8_t[::1] data, const uint16_t[::1] tables, const uint16_t[:, ::1] cdf, const uint8_t[::1] shifts):
    """The inverse of encode_symbols; None if the stream is damaged."""
    cdef Py_ssize_t n = tables.shape[0], k
    cdef Reader reader
    cdef int64_t v
    cdef int bad = 0
    if cdf.shape[1] != SYMBOLS + 1 or shifts.shape[0] != cdf.shape[0]:
        raise ValueError("sizes differ")
    if n and np.max(tables) >= cdf.shape[0]:
        raise ValueError("table out of range")
    out = np.empty(n, np.int32)
    cdef int32_t[::1] values = out
    with nogil:
        start_reader(&reader, &data[0] if data.shape[0] else NULL, data.shape[0])
        for k in range(n):
            v = take_value(&reader, &cdf[tables[k], 0], shifts[tables[k]])
            if reader.failed or v > MAX_LATENT * 2 or v < -MAX_LATENT * 2:
                bad = 1
                break
            values[k] = <int32_t>v
        if not bad and not finished(&reader):
            bad = 1
    return None if bad else out


def encode_integers(list sequences):
    """Sequences (int32 arrays (n,), magnitudes below 2^26), each with probabilities of its own -> bytes."""
    cdef SlotList slots
    cdef Integers model
    cdef Py_ssize_t k
    cdef const int32_t[::1] values
    slots.slots, slots.count, slots.capacity, slots.failed = NULL, 0, 0, 0
    for values in sequences:
        memset(&model, 0, sizeof(model))
        for k in range(values.shape[0]):
            put_integer(&slots, &model, values[k])
    if slots.failed:
        free(slots.slots)
        raise MemoryError
    return _stream(&slots)


def decode_integers(const uint8_t[::1] data, list sizes):
    """The inverse of encode_integers, given the length of each sequence; None if the stream is damaged."""
    cdef Reader reader
    cdef Integers model
    cdef Py_ssize_t k
    cdef int32_t[::1] values
    start_reader(&reader, &data[0] if data.shape[0] else NULL, data.shape[0])
    sequences = [np.empty(size, np.int32) for size in sizes]
    for values in sequences:
        memset(&model, 0, sizeof(model))
        for k in range(values.shape[0]):
            values[k] = take_integer(&reader, &model)
            if reader.failed:
                return None
    return sequences if finished(&reader) else None


def quantization_squares(const float[:, :, ::1] y, const float[:, :, ::1] gains, float threshold):
    """Squared error of dead-zone quantization of y with `gains`, (channels, rows, cols) all three, per latent, gains taken back."""
    if y.shape[0] != gains.shape[0] or y.shape[1] != gains.shape[1] or y.shape[2] != gains.shape[2]:
        raise ValueError("sizes differ")
    out = np.empty((y.shape[0], y.shape[1], y.shape[2]), np.float32)
    cdef float[:, :, ::1] view = out
    if out.size:
        with nogil:
            deadzone_squares(&y[0, 0, 0], &gains[0, 0, 0], threshold, &view[0, 0, 0], y.shape[0] * y.shape[1] * y.shape[2])
    return out


cdef class ContextCoder:
    """Tables and weights of a context model, checked once (see context.py for shapes and units)."""

    cdef Model model
    cdef readonly int channels
    cdef object _keep

    def __init__(self, dict a):
        """a: arrays by name; the caller guarantees contiguity and types, the ranges are checked here."""
        self._keep = a
        self._sparse(&self.model.around, "around")
        self._sparse(&self.model.value, "value")
        cdef const int32_t[:, ::1] own = a["own"], own_value = a["own_value"]
        cdef const int32_t[::1] bias = a["bias"]
        cdef const uint8_t[::1] group = a["group"]
        cdef const uint16_t[:, ::1] cdf = a["cdf"]
        cdef const float[:, ::1] offset = a["offset"], bits = a["bits"]
        self.channels = group.shape[0]
        self.model.own, self.model.own_value, self.model.bias, self.model.group = &own[0, 0], &own_value[0, 0], &bias[0], &group[0]
        self.model.cdf, self.model.offset, self.model.bits = &cdf[0, 0], &offset[0, 0], &bits[0, 0]

    cdef void _sparse(self, Sparse *term, str name):
        cdef const int32_t[::1] start = self._keep[f"{name}_start"]
        term.start = &start[0]
        term.channel = _first(self._keep[f"{name}_channel"])
        term.place = _first(self._keep[f"{name}_place"])
        term.weight = _first(self._keep[f"{name}_weight"])

    def encode(self, const float[:, :, ::1] y, const int32_t[:, ::1] up, const int32_t[:, ::1] down, float trade, bint trace=False, bint stream=True):
        """y (channels, rows, cols) -> bytes (None without stream), q int32, reconstruction float32, and with trace: tables, symbols, flips."""
        cdef Grid grid
        cdef SlotList slots
        cdef Trace log
        cdef int ok
        shape = self._grid(&grid, y.shape[0], y.shape[1], y.shape[2], up, down)
        slots.slots, slots.count, slots.capacity, slots.failed = NULL, 0, 0, 0
        q, near = np.empty(shape, np.int32), np.empty(shape, np.float32)
        table = np.empty(shape if trace else (1, 1, 1), np.int32)
        symbol = np.empty(shape if trace else (1, 1, 1), np.int16)
        flip = np.empty(shape if trace else (1, 1, 1), np.int8)
        cdef int32_t[:, :, ::1] qv = q, tv = table
        cdef float[:, :, ::1] nv = near
        cdef int16_t[:, :, ::1] sv = symbol
        cdef int8_t[:, :, ::1] fv = flip
        log.table = &tv[0, 0, 0] if trace else NULL
        log.symbol = &sv[0, 0, 0] if trace else NULL
        log.flip = &fv[0, 0, 0] if trace else NULL
        with nogil:
            ok = encode_latents(&self.model, &grid, &y[0, 0, 0], trade, &qv[0, 0, 0], &nv[0, 0, 0], &slots if stream else NULL, &log)
        if not ok:
            free(slots.slots)
            raise MemoryError
        data = _stream(&slots) if stream else None
        return (data, q, near, table, symbol, flip) if trace else (data, q, near)

    def decode(self, const uint8_t[::1] data, const int32_t[:, ::1] up, const int32_t[:, ::1] down):
        """bytes -> q int32, reconstruction float32, both (channels, rows, cols); None if the stream is damaged."""
        cdef Grid grid
        cdef int result
        shape = self._grid(&grid, self.channels, up.shape[0], up.shape[1], up, down)
        q, near = np.empty(shape, np.int32), np.empty(shape, np.float32)
        cdef int32_t[:, :, ::1] qv = q
        cdef float[:, :, ::1] nv = near
        cdef const uint8_t *start = &data[0] if data.shape[0] else NULL
        cdef size_t size = data.shape[0]
        with nogil:
            result = decode_latents(&self.model, &grid, start, size, &qv[0, 0, 0], &nv[0, 0, 0])
        if result < 0:
            raise MemoryError
        return (q, near) if result else None

    cdef tuple _grid(self, Grid *grid, Py_ssize_t channels, Py_ssize_t rows, Py_ssize_t cols, const int32_t[:, ::1] up, const int32_t[:, ::1] down):
        if channels != self.channels or rows < 1 or cols < 1:
            raise ValueError("latents of the wrong shape")
        if up.shape[0] != rows or up.shape[1] != cols or down.shape[0] != rows or down.shape[1] != cols:
            raise ValueError("step scales of the wrong shape")
        grid.channels, grid.rows, grid.cols = <int>channels, <int>rows, <int>cols
        grid.up, grid.down = &up[0, 0], &down[0, 0]
        return channels, rows, cols


cdef const int32_t *_first(const int32_t[::1] a):
    return &a[0] if a.shape[0] else NULL
