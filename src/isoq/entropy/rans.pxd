"""The declarations of rans.h, and what both extensions do with a list of slots."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t


cdef extern from "rans.h" nogil:
    enum: ISOQ_PRECISION, ISOQ_STRANDS
    ctypedef enum isoq_status:
        ISOQ_OK, ISOQ_DAMAGED, ISOQ_NO_MEMORY
    ctypedef struct isoq_slot_list:
        size_t count
        isoq_status status
    ctypedef struct isoq_reader:
        isoq_status status
    isoq_slot_list isoq_empty_list()
    void isoq_release_list(isoq_slot_list *)
    size_t isoq_stream_room(const isoq_slot_list *)
    size_t isoq_write_segments(
        const isoq_slot_list *, int, const size_t *, size_t, size_t *, uint8_t *, size_t)
    void isoq_start_reader(isoq_reader *, const uint8_t *, size_t)
    isoq_status isoq_finish_reader(const isoq_reader *)


cdef enum: MOST_SEGMENTS = 8


cdef inline bytes stream_of(isoq_slot_list *slots, isoq_status status):
    """Return the stream of a list of slots, and release the list. Raise MemoryError if the list is
    not complete or `status`, of the function that filled it, is not ISOQ_OK."""
    cdef size_t end = slots.count
    return segments_of(slots, status, 1, &end, 1)[0]


cdef inline list segments_of(
    isoq_slot_list *slots, isoq_status status, int strands, const size_t *ends, size_t count
):
    """Return the stream cut after certain numbers of slots, the last one all of them: see
    isoq_write_segments. strands: at most ISOQ_STRANDS; count: at most MOST_SEGMENTS."""
    cdef size_t room = isoq_stream_room(slots), size, first, k
    cdef size_t sizes[MOST_SEGMENTS]
    cdef uint8_t *start
    try:
        if status != ISOQ_OK or slots.status != ISOQ_OK:
            raise MemoryError
        out = PyBytes_FromStringAndSize(NULL, room)
        start = <uint8_t *>PyBytes_AS_STRING(out)
        with nogil:
            size = isoq_write_segments(slots, strands, ends, count, sizes, start, room)
        segments, first = [], room - size
        for k in range(count):
            segments.append(out[first:first + sizes[k]])
            first += sizes[k]
        return segments
    finally:
        isoq_release_list(slots)


cdef inline const uint8_t *start_of(const uint8_t[::1] data) noexcept:
    """Return a pointer to bytes, or NULL if there are none."""
    return &data[0] if data.shape[0] else NULL
