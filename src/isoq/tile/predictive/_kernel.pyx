# cython: language_level=3, boundscheck=False, wraparound=False
"""Thin wrapper of predictive.h and fit.h: checks sizes and ranges, owns buffers, releases the GIL.
plan.h says what the arrays of a plan mean."""

from libc.stddef cimport size_t
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t

from isoq.entropy.rans cimport (
    ISOQ_NO_MEMORY, ISOQ_OK, isoq_empty_list, isoq_slot_list, isoq_status, start_of, stream_of,
)

import numpy as np


cdef extern from "predictive.h" nogil:
    enum: ISOQ_REFERENCES, ISOQ_TAPS, ISOQ_OWN_TAPS, ISOQ_FIRST_TAPS, ISOQ_ACTIVITIES
    enum: ISOQ_OWN_ACTIVITIES, ISOQ_FIRST_ACTIVITIES, ISOQ_WEIGHT_BITS, ISOQ_ACTIVITY_BITS
    enum: ISOQ_MAX_WEIGHT, ISOQ_MAX_ACTIVITY, ISOQ_STEP_PARTS
    const int8_t ISOQ_OWN_PLACES[10][2]
    const int8_t ISOQ_REFERENCE_PLACES[9][2]
    const int8_t ISOQ_OWN_ACTIVITY_PLACES[6][2]
    const int8_t ISOQ_REFERENCE_ACTIVITY_PLACES[5][2]
    ctypedef struct isoq_plan:
        const int32_t *reference
        const int32_t *weight
        const int32_t *activity
        const int32_t *range
        const int64_t *avoided
        const uint8_t *repeats
        const int32_t *step
    ctypedef struct isoq_extent:
        int planes, rows, cols, block, grid_cols
        const uint8_t *valid
    isoq_status isoq_encode_planes(
        const isoq_extent *, const isoq_plan *, int32_t *, int32_t *, isoq_slot_list *)
    isoq_status isoq_decode_planes(
        const isoq_extent *, const isoq_plan *, const uint8_t *, size_t, int32_t *)

cdef extern from "fit.h" nogil:
    ctypedef struct isoq_field:
        const int32_t *planes
        const int64_t *places
        const int64_t *first
        const int64_t *count
        int number, rows, cols
    isoq_status isoq_fit_planes(
        const isoq_field *, const double *, int32_t *, int32_t *, int32_t *, uint8_t *)


cdef list _places(const int8_t (*places)[2], int n):
    return [(places[k][0], places[k][1]) for k in range(n)]


LIMITS = dict(
    references=ISOQ_REFERENCES,
    taps=ISOQ_TAPS,
    own_taps=ISOQ_OWN_TAPS,
    activities=ISOQ_ACTIVITIES,
    weight_bits=ISOQ_WEIGHT_BITS,
    activity_bits=ISOQ_ACTIVITY_BITS,
    max_weight=ISOQ_MAX_WEIGHT,
    max_activity=ISOQ_MAX_ACTIVITY,
    step_parts=ISOQ_STEP_PARTS,
)
PLACES = dict(
    own=_places(ISOQ_OWN_PLACES, ISOQ_OWN_TAPS),
    reference=_places(ISOQ_REFERENCE_PLACES, ISOQ_FIRST_TAPS),
    own_activity=_places(ISOQ_OWN_ACTIVITY_PLACES, ISOQ_OWN_ACTIVITIES),
    reference_activity=_places(ISOQ_REFERENCE_ACTIVITY_PLACES, ISOQ_FIRST_ACTIVITIES),
)


cdef class _Job:
    """The shape and plan of a stream in the form of plan.h, and the arrays that they point into.
    Raises ValueError if sizes differ or a value is impossible."""

    cdef isoq_extent extent
    cdef isoq_plan plan
    cdef object arrays

    def __init__(
        self, const uint8_t[:, :, ::1] valid, int block, const int32_t[:, ::1] reference,
        const int32_t[:, ::1] weight, const int32_t[:, ::1] activity, const int32_t[:, ::1] limits,
        const int64_t[::1] avoided, const uint8_t[::1] repeats, const int32_t[:, :, ::1] step,
    ):
        cdef Py_ssize_t n = valid.shape[0], rows = valid.shape[1], cols = valid.shape[2]
        if not n or not rows or not cols or block < 1:
            raise ValueError("nothing to code")
        grid = (n, -(-rows // block), -(-cols // block))
        cdef tuple plan = tuple(
            map(np.asarray, (reference, weight, activity, limits, avoided, repeats, step)))
        shapes = [array.shape for array in plan]
        if shapes != [
            (n, ISOQ_REFERENCES), (n, ISOQ_TAPS), (n, ISOQ_ACTIVITIES), (n, 2), (n,), (n,), grid
        ]:
            raise ValueError("sizes differ")
        _check_values(*plan[:4], plan[6])
        self.arrays = (valid, *plan)
        self.extent.planes = <int>n
        self.extent.rows = <int>rows
        self.extent.cols = <int>cols
        self.extent.block = block
        self.extent.grid_cols = <int>grid[2]
        self.extent.valid = &valid[0, 0, 0]
        self.plan.reference = &reference[0, 0]
        self.plan.weight = &weight[0, 0]
        self.plan.activity = &activity[0, 0]
        self.plan.range = &limits[0, 0]
        self.plan.avoided = &avoided[0]
        self.plan.repeats = &repeats[0]
        self.plan.step = &step[0, 0, 0]


def _check_values(reference, weight, activity, limits, step):
    later = reference >= np.arange(len(reference))[:, None]
    behind_none = (reference[:, :-1] < 0) & (reference[:, 1:] >= 0)
    if np.any(reference < -1) or np.any(later) or np.any(behind_none):
        raise ValueError("impossible references")
    if np.any(np.abs(weight) >= ISOQ_MAX_WEIGHT):
        raise ValueError("impossible weights or steps")
    if np.any(activity < 0) or np.any(activity > ISOQ_MAX_ACTIVITY):
        raise ValueError("impossible weights or steps")
    if np.any(step < ISOQ_STEP_PARTS):
        raise ValueError("impossible weights or steps")
    if np.any(limits[:, 0] > limits[:, 1]):
        raise ValueError("impossible range")


def spread(const int32_t[::1] found, const uint8_t[:, ::1] valid, int32_t[:, ::1] plane):
    """Put the samples `found` (n,) at the n valid places of a plane, in raster order.

    Each other place gets the sample to its left, or the first of `found` if there is none in its
    row, so that weights can be fitted around it. valid, plane: (rows, cols). Raises ValueError if
    sizes differ."""
    cdef Py_ssize_t row, col, at = 0
    cdef int32_t last
    if np.shape(plane) != np.shape(valid):
        raise ValueError("sizes differ")
    if not found.shape[0] or np.count_nonzero(valid) != found.shape[0]:
        raise ValueError("sizes differ")
    with nogil:
        for row in range(plane.shape[0]):
            last = found[0]
            for col in range(plane.shape[1]):
                if valid[row, col]:
                    last = found[at]
                    at += 1
                plane[row, col] = last


def fit(
    const int32_t[:, :, ::1] planes, const int64_t[::1] places, const int64_t[::1] first,
    const int64_t[::1] count, const double[::1] step, int32_t[:, ::1] reference,
    int32_t[:, ::1] weight, int32_t[:, ::1] activity, uint8_t[::1] repeats,
):
    """Fill in reference, weight, activity and repeats, arrays of a plan, for each of the planes
    (planes, rows, cols) whose count (planes,) is not 0.

    Samples at places[first[k]:first[k] + count[k]] of plane k are tried, see isoq_field. step:
    (planes,), the usual one of quantization. Raises ValueError if sizes differ or places are too
    near the border."""
    cdef isoq_field field
    cdef isoq_status status
    cdef Py_ssize_t n = planes.shape[0], rows = planes.shape[1], cols = planes.shape[2]
    shapes = list(
        map(np.shape, (first, count, step, reference, weight, activity, repeats)))
    if not n or not places.shape[0] or shapes != [
        (n,), (n,), (n,), (n, ISOQ_REFERENCES), (n, ISOQ_TAPS), (n, ISOQ_ACTIVITIES), (n,)
    ]:
        raise ValueError("sizes differ")
    if min(first) < 0 or min(count) < 0 or np.max(np.add(first, count)) > places.shape[0]:
        raise ValueError("there are no such places")
    row, col = np.divmod(places, cols)
    if row.min() < 2 or row.max() > rows - 2 or col.min() < 2 or col.max() > cols - 3:
        raise ValueError("places too near the border")
    field.planes = &planes[0, 0, 0]
    field.places = &places[0]
    field.first = &first[0]
    field.count = &count[0]
    field.number = <int>n
    field.rows = <int>rows
    field.cols = <int>cols
    with nogil:
        status = isoq_fit_planes(
            &field, &step[0], &reference[0, 0], &weight[0, 0], &activity[0, 0], &repeats[0])
    if status == ISOQ_NO_MEMORY:
        raise MemoryError


def encode(int32_t[:, :, ::1] samples, int32_t[:, :, ::1] decoded, *job):
    """Return the stream of samples (planes, rows, cols).

    decoded: None, or an array of the same shape that is set to what a decoder makes of the stream;
    job: valid (same shape, uint8), block, and the arrays of a plan. Raises ValueError if they do
    not fit."""
    cdef _Job j = _Job(*job)
    cdef isoq_slot_list slots = isoq_empty_list()
    cdef isoq_status status
    shape = (j.extent.planes, j.extent.rows, j.extent.cols)
    if np.shape(samples) != shape or (decoded is not None and np.shape(decoded) != shape):
        raise ValueError("sizes differ")
    cdef int32_t *to = &decoded[0, 0, 0] if decoded is not None else NULL
    with nogil:
        status = isoq_encode_planes(&j.extent, &j.plan, &samples[0, 0, 0], to, &slots)
    return stream_of(&slots, status)


def decode(const uint8_t[::1] data, *job):
    """Return the samples (planes, rows, cols) int32 of a stream, or None if it is damaged. job: as
    for `encode`."""
    cdef _Job j = _Job(*job)
    cdef isoq_status status
    samples = np.empty((j.extent.planes, j.extent.rows, j.extent.cols), np.int32)
    cdef int32_t[:, :, ::1] view = samples
    cdef const uint8_t *start = start_of(data)
    cdef size_t size = data.shape[0]
    with nogil:
        status = isoq_decode_planes(&j.extent, &j.plan, start, size, &view[0, 0, 0])
    if status == ISOQ_NO_MEMORY:
        raise MemoryError
    return samples if status == ISOQ_OK else None
