# cython: language_level=3, boundscheck=False, wraparound=False
"""Thin wrapper of adaptive_integers.h and table_integers.h: checks sizes, owns buffers, releases the
GIL. hyperprior.py and format/bytestream.py are its Python side."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t
from libc.string cimport memset

from isoq.entropy.rans cimport (
    ISOQ_OK, isoq_empty_list, isoq_finish_reader, isoq_reader, isoq_slot_list, isoq_start_reader,
    start_of, stream_of,
)

import numpy as np


cdef extern from "adaptive_integers.h" nogil:
    ctypedef struct isoq_integer_model:
        pass
    void isoq_put_integer(isoq_slot_list *, isoq_integer_model *, int32_t)
    int32_t isoq_take_integer(isoq_reader *, isoq_integer_model *)

cdef extern from "table_integers.h" nogil:
    enum: ISOQ_SYMBOLS
    void isoq_put_table_integer(isoq_slot_list *, const uint16_t *, int, int32_t)
    int64_t isoq_take_table_integer(isoq_reader *, const uint16_t *, int)

cdef extern from "context.h" nogil:
    enum: ISOQ_MAX_LATENT


cdef void _check_tables(
    const uint16_t[::1] tables, const uint16_t[:, ::1] cdf, const uint8_t[::1] shifts
) except *:
    if cdf.shape[1] != ISOQ_SYMBOLS + 1 or shifts.shape[0] != cdf.shape[0]:
        raise ValueError("sizes differ")
    if tables.shape[0] and np.max(tables) >= cdf.shape[0]:
        raise ValueError("table out of range")


def encode_symbols(
    const int32_t[::1] values, const uint16_t[::1] tables, const uint16_t[:, ::1] cdf,
    const uint8_t[::1] shifts,
):
    """Return the stream of integers, each coded through a table.

    values: (n,); tables: (n,), the row of `cdf` for each; cdf: (tables, symbols + 1), cumulative
    frequencies; shifts: (tables,), low bits that are coded as they are. Raises ValueError if the
    sizes do not fit."""
    cdef Py_ssize_t n = values.shape[0], k
    cdef isoq_slot_list slots = isoq_empty_list()
    if tables.shape[0] != n:
        raise ValueError("sizes differ")
    _check_tables(tables, cdf, shifts)
    with nogil:
        for k in range(n):
            isoq_put_table_integer(&slots, &cdf[tables[k], 0], shifts[tables[k]], values[k])
    return stream_of(&slots, ISOQ_OK)


def decode_symbols(
    const uint8_t[::1] data, const uint16_t[::1] tables, const uint16_t[:, ::1] cdf,
    const uint8_t[::1] shifts,
):
    """Return the integers (n,) int32 that encode_symbols coded, or None if the stream is damaged."""
    cdef Py_ssize_t n = tables.shape[0], k
    cdef isoq_reader reader
    cdef int64_t value
    cdef bint in_range = True
    _check_tables(tables, cdf, shifts)
    out = np.empty(n, np.int32)
    cdef int32_t[::1] values = out
    isoq_start_reader(&reader, start_of(data), data.shape[0])
    with nogil:
        for k in range(n):
            value = isoq_take_table_integer(&reader, &cdf[tables[k], 0], shifts[tables[k]])
            in_range = -2 * ISOQ_MAX_LATENT <= value <= 2 * ISOQ_MAX_LATENT
            if reader.status or not in_range:
                break
            values[k] = <int32_t>value
    return out if in_range and isoq_finish_reader(&reader) == ISOQ_OK else None


def encode_integers(list sequences):
    """Return the stream of sequences of integers (int32 arrays (n,), below 2^26 in magnitude). Each
    sequence has adaptive probabilities of its own."""
    cdef isoq_slot_list slots = isoq_empty_list()
    cdef isoq_integer_model model
    cdef Py_ssize_t k
    cdef const int32_t[::1] values
    for values in sequences:  # an array of another type raises here, before `slots` owns memory
        pass
    for values in sequences:
        memset(&model, 0, sizeof(model))
        with nogil:
            for k in range(values.shape[0]):
                isoq_put_integer(&slots, &model, values[k])
    return stream_of(&slots, ISOQ_OK)


def decode_integers(const uint8_t[::1] data, list sizes):
    """Return the sequences that encode_integers coded, given the length of each, or None if the
    stream is damaged."""
    cdef isoq_reader reader
    cdef isoq_integer_model model
    cdef Py_ssize_t k
    cdef int32_t[::1] values
    isoq_start_reader(&reader, start_of(data), data.shape[0])
    sequences = [np.empty(size, np.int32) for size in sizes]
    for values in sequences:
        memset(&model, 0, sizeof(model))
        with nogil:
            for k in range(values.shape[0]):
                values[k] = isoq_take_integer(&reader, &model)
                if reader.status:
                    break
        if reader.status:
            return None
    return sequences if isoq_finish_reader(&reader) == ISOQ_OK else None
