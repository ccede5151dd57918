# cython: language_level=3, boundscheck=False, wraparound=False
"""Thin wrapper of kernel.h and fit.h: checks sizes, owns buffers, releases the GIL. What the arrays of a plan mean stands there at `Plan`."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free

import numpy as np

cdef extern from "kernel.h" nogil:
    enum: REFERENCES, TAPS, OWN_TAPS, ACTIVITIES, WEIGHT_BITS, ACTIVITY_BITS, MAX_WEIGHT, MAX_ACTIVITY, STEP_PARTS
    ctypedef signed char int8_t
    const int8_t OWN_PLACES[10][2]
    const int8_t REFERENCE_PLACES[9][2]
    const int8_t OWN_ACTIVITIES[6][2]
    const int8_t REFERENCE_ACTIVITIES[5][2]
    ctypedef struct Slot:
        uint16_t start
    ctypedef struct SlotList:
        Slot *slots
        size_t count, capacity
        int failed
    ctypedef struct Plan:
        const int32_t *reference
        const int32_t *weight
        const int32_t *activity
        const int32_t *range
        const int64_t *avoided
        const uint8_t *repeats
        const int32_t *step
    ctypedef struct Extent:
        int planes, rows, cols, block, grid_cols
        const uint8_t *valid
    size_t flush(const SlotList *, uint32_t *, size_t)
    int encode_planes(const Extent *, const Plan *, int32_t *, int32_t *, SlotList *)
    int decode_planes(const Extent *, const Plan *, const uint8_t *, size_t, int32_t *)

cdef extern from "fit.h" nogil:
    ctypedef struct Field:
        const int32_t *planes
        const int64_t *places
        const int64_t *first
        const int64_t *count
        int number, rows, cols
    int fit_planes(const Field *, const double *, int32_t *, int32_t *, int32_t *, uint8_t *)

LIMITS = dict(
    references=REFERENCES, taps=TAPS, own_taps=OWN_TAPS, activities=ACTIVITIES, weight_bits=WEIGHT_BITS, activity_bits=ACTIVITY_BITS,
    max_weight=MAX_WEIGHT, max_activity=MAX_ACTIVITY, step_parts=STEP_PARTS,
)
PLACES = dict(
    own=[(OWN_PLACES[k][0], OWN_PLACES[k][1]) for k in range(10)],
    reference=[(REFERENCE_PLACES[k][0], REFERENCE_PLACES[k][1]) for k in range(9)],
    own_activity=[(OWN_ACTIVITIES[k][0], OWN_ACTIVITIES[k][1]) for k in range(6)],
    reference_activity=[(REFERENCE_ACTIVITIES[k][0], REFERENCE_ACTIVITIES[k][1]) for k in range(5)],
)


cdef class _Job:
    """The arguments in the form of kernel.h, and the arrays that they point into."""

    cdef Extent extent
    cdef Plan plan
    cdef object arrays

    def __init__(self, const uint8_t[:, :, ::1] valid, int block, const int32_t[:, ::1] reference, const int32_t[:, ::1] weight,
                 const int32_t[:, ::1] activity, const int32_t[:, ::1] limits, const int64_t[::1] avoided, const uint8_t[::1] repeats,
                 const int32_t[:, :, ::1] step):
        cdef Py_ssize_t n = valid.shape[0], rows = valid.shape[1], cols = valid.shape[2]
        if not n or not rows or not cols or block < 1:
            raise ValueError("nothing to code")
        grid = (n, -(-rows // block), -(-cols // block))
        shapes = list(map(np.shape, (reference, weight, activity, limits, avoided, repeats, step)))
        if shapes != [(n, REFERENCES), (n, TAPS), (n, ACTIVITIES), (n, 2), (n,), (n,), grid]:
            raise ValueError("sizes differ")
        r, w, a = np.asarray(reference), np.asarray(weight), np.asarray(activity)
        if np.any(r < -1) or np.any(r >= np.arange(n)[:, None]) or np.any((r[:, :-1] < 0) & (r[:, 1:] >= 0)):
            raise ValueError("impossible references")
        if np.any(np.abs(w) >= MAX_WEIGHT) or np.any(a < 0) or np.any(a > MAX_ACTIVITY) or np.any(np.asarray(step) < STEP_PARTS):
            raise ValueError("impossible weights or steps")
        if np.any(np.asarray(limits)[:, 0] > np.asarray(limits)[:, 1]):
            raise ValueError("impossible range")
        self.arrays = (valid, reference, weight, activity, limits, avoided, repeats, step)
        self.extent.planes, self.extent.rows, self.extent.cols = <int>n, <int>rows, <int>cols
        self.extent.block, self.extent.grid_cols, self.extent.valid = block, <int>grid[2], &valid[0, 0, 0]
        self.plan.reference, self.plan.weight, self.plan.activity = &reference[0, 0], &weight[0, 0], &activity[0, 0]
        self.plan.range, self.plan.avoided, self.plan.repeats, self.plan.step = &limits[0, 0], &avoided[0], &repeats[0], &step[0, 0, 0]


def spread(const int32_t[::1] found, const uint8_t[:, ::1] valid, int32_t[:, ::1] plane):
    """Puts what was found at the valid samples (rows, cols), in their order, into a plane; the others get the value to the left, so that
    weights can be fitted around them, and the first one before any in their row."""
    cdef Py_ssize_t row, col, at = 0
    cdef int32_t last
    if np.shape(plane) != np.shape(valid) or not found.shape[0] or np.count_nonzero(valid) != found.shape[0]:
        raise ValueError("sizes differ")
    with nogil:
        for row in range(plane.shape[0]):
            last = found[0]
            for col in range(plane.shape[1]):
                if valid[row, col]:
                    last = found[at]
                    at += 1
                plane[row, col] = last


def fit(const int32_t[:, :, ::1] planes, const int64_t[::1] places, const int64_t[::1] first, const int64_t[::1] count,
        const double[::1] step, int32_t[:, ::1] reference, int32_t[:, ::1] weight, int32_t[:, ::1] activity, uint8_t[::1] repeats):
    """Fills in the last four, arrays of a plan, for each of the planes (planes, rows, cols) whose count (planes,) is not 0. Its samples
    at places[first[k]:first[k] + count[k]] are tried; see fit.h. step (planes,): usual one of quantization."""
    cdef Field field
    cdef Py_ssize_t n = planes.shape[0], rows = planes.shape[1], cols = planes.shape[2]
    shapes = list(map(np.shape, (first, count, step, reference, weight, activity, repeats)))
    if shapes != [(n,), (n,), (n,), (n, REFERENCES), (n, TAPS), (n, ACTIVITIES), (n,)] or not n or not places.shape[0]:
        raise ValueError("sizes differ")
    if min(first) < 0 or min(count) < 0 or np.max(np.add(first, count)) > places.shape[0]:
        raise ValueError("there are no such places")
    row, col = np.divmod(places, cols)
    if row.min() < 2 or row.max() > rows - 2 or col.min() < 2 or col.max() > cols - 3:
        raise ValueError("places too near the border")
    field.planes, field.places, field.first, field.count = &planes[0, 0, 0], &places[0], &first[0], &count[0]
    field.number, field.rows, field.cols = <int>n, <int>rows, <int>cols
    cdef int done
    with nogil:
        done = fit_planes(&field, &step[0], &reference[0, 0], &weight[0, 0], &activity[0, 0], &repeats[0])
    if not done:
        raise MemoryError


def encode(int32_t[:, :, ::1] samples, int32_t[:, :, ::1] decoded, *job):
    """samples (planes, rows, cols), the same for what is decoded of them or None, valid (the same, uint8), block, and the arrays of a plan
    -> bytes."""
    cdef _Job j = _Job(*job)
    cdef SlotList list
    cdef size_t room, used
    list.slots, list.count, list.capacity, list.failed = NULL, 0, 0, 0
    shape = (j.extent.planes, j.extent.rows, j.extent.cols)
    if np.shape(samples) != shape or (decoded is not None and np.shape(decoded) != shape):
        raise ValueError("sizes differ")
    cdef int32_t *to = &decoded[0, 0, 0] if decoded is not None else NULL
    cdef int done
    with nogil:
        done = encode_planes(&j.extent, &j.plan, &samples[0, 0, 0], to, &list)
    if not done:
        free(list.slots)
        raise MemoryError
    room = list.count // 2 + 4
    out = np.empty(room, np.uint32)
    cdef uint32_t[::1] words = out
    with nogil:
        used = flush(&list, &words[0], room)
        free(list.slots)
    return out[room - used:].astype("<u4", copy=False).tobytes()


def decode(const uint8_t[::1] data, *job):
    """The samples (planes, rows, cols) int32, or None if the data are damaged."""
    cdef _Job j = _Job(*job)
    samples = np.empty((j.extent.planes, j.extent.rows, j.extent.cols), np.int32)
    cdef int32_t[:, :, ::1] view = samples
    cdef size_t size = data.shape[0]
    cdef int done
    if size == 0:
        return None
    with nogil:
        done = decode_planes(&j.extent, &j.plan, &data[0], size, &view[0, 0, 0])
    if done < 0:
        raise MemoryError
    return samples if done else None
