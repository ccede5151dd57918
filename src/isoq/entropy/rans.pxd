"""The declarations of rans.h, and what both extensions do with a list of slots."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef extern from "rans.h" nogil:
    enum: ISOQ_PRECISION
    ctypedef enum isoq_status:
        ISOQ_OK, ISOQ_DAMAGED, ISOQ_NO_MEMORY
    ctypedef struct isoq_slot:
        uint16_t start, freq
    ctypedef struct isoq_slot_list:
        isoq_slot *slots
        size_t count, capacity
        isoq_status status
    ctypedef struct isoq_reader:
        isoq_status status
    isoq_slot_list isoq_empty_list()
    void isoq_release_list(isoq_slot_list *)
    size_t isoq_stream_room(const isoq_slot_list *)
    size_t isoq_write_stream(const isoq_slot_list *, uint8_t *, size_t)
    void isoq_start_reader(isoq_reader *, const uint8_t *, size_t)
    isoq_status isoq_finish_reader(const isoq_reader *)


cdef inline bytes stream_of(isoq_slot_list *slots, isoq_status status):
    """Return the stream of a list of slots, and release the list. Raise MemoryError if the list is
    not complete or `status`, of the function that filled it, is not ISOQ_OK."""
    cdef size_t room = isoq_stream_room(slots), size
    cdef uint8_t *start
    try:
        if status != ISOQ_OK or slots.status != ISOQ_OK:
            raise MemoryError
        out = PyBytes_FromStringAndSize(NULL, room)
        start = <uint8_t *>PyBytes_AS_STRING(out)
        with nogil:
            size = isoq_write_stream(slots, start, room)
        return out[room - size:]
    finally:
        isoq_release_list(slots)


cdef inline const uint8_t *start_of(const uint8_t[::1] data) noexcept:
    """Return a pointer to bytes, or NULL if there are none."""
    return &data[0] if data.shape[0] else NULL
