# cython: language_level=3, boundscheck=False, wraparound=False
"""Thin wrapper of floating.h and fixed.h: checks sizes, owns the outputs, releases the GIL.
wavelet.py is its Python side."""

from libc.stdint cimport int32_t, int64_t, uint8_t

import numpy as np


cdef extern from "compiler.h" nogil:
    ctypedef enum isoq_status:
        ISOQ_OK

cdef extern from "layout.h" nogil:
    enum: ISOQ_WAVELET_LEVELS, ISOQ_WAVELET_CHANNELS
    ctypedef struct isoq_layout:
        int rows, cols
        const int32_t *channel

cdef extern from "steps.h" nogil:
    ctypedef struct isoq_steps:
        pass
    ctypedef enum isoq_direction:
        ISOQ_ANALYSIS, ISOQ_DUAL
    const isoq_steps ISOQ_CDF_9_7, ISOQ_CDF_17_11

cdef extern from "floating.h" nogil:
    ctypedef struct isoq_float_latents:
        isoq_layout layout
        float *latent
        const float *scale
    isoq_status isoq_analyse(
        const isoq_steps **, isoq_direction, const float *, const isoq_float_latents *)
    void isoq_take_scaled(const void *, int, int, int, float *)
    isoq_status isoq_synthesize_float(
        const isoq_steps **, const isoq_layout *, void (*)(const void *, int, int, int, float *),
        const void *, int, float *)

cdef extern from "fixed.h" nogil:
    enum: ISOQ_MOST_FRACTION, ISOQ_STEPS_AN_OCTAVE, ISOQ_UNIT_BITS
    ctypedef struct isoq_fixed_latents:
        isoq_layout layout
        const float *latent
        const int32_t *unit
        const int32_t *octave
        const int32_t *shift
    void isoq_take_latents(const void *, int, int, int, int32_t *)
    isoq_status isoq_synthesize_fixed(
        const isoq_steps **, const isoq_layout *, void (*)(const void *, int, int, int, int32_t *),
        const void *, int, int32_t *)

cdef extern from "bands.h" nogil:
    ctypedef enum isoq_type:
        ISOQ_UINT8, ISOQ_UINT16, ISOQ_INT16, ISOQ_INT32, ISOQ_FLOAT32
    ctypedef struct isoq_band:
        const int32_t *factor
        double unit, scale, offset
    void isoq_samples_of_row(
        const isoq_band *, const int32_t *, size_t, int, isoq_type, int64_t *, double *, void *, int)

_TYPES = {
    "uint8": ISOQ_UINT8, "uint16": ISOQ_UINT16, "int16": ISOQ_INT16, "int32": ISOQ_INT32,
    "float32": ISOQ_FLOAT32,
}
CONSTANTS = dict(
    levels=ISOQ_WAVELET_LEVELS,
    channels=ISOQ_WAVELET_CHANNELS,
    most_fraction=ISOQ_MOST_FRACTION,
    steps_an_octave=ISOQ_STEPS_AN_OCTAVE,
    unit_bits=ISOQ_UNIT_BITS,
)
_CELL = 1 << ISOQ_WAVELET_LEVELS


cdef class LiftingTransform:
    """The transforms with wavelets of certain names, "9/7" or "17/11" for each level, the finest
    first. channel, scale: see isoq_layout and isoq_float_latents."""

    cdef const isoq_steps *wavelets[ISOQ_WAVELET_LEVELS]
    cdef const int32_t[::1] channel
    cdef const float[::1] scale

    def __init__(self, list names, const int32_t[::1] channel, const float[::1] scale):
        if len(names) != ISOQ_WAVELET_LEVELS or set(names) - {"9/7", "17/11"} \
                or channel.shape[0] != ISOQ_WAVELET_CHANNELS \
                or scale.shape[0] != ISOQ_WAVELET_CHANNELS \
                or sorted(channel) != list(range(ISOQ_WAVELET_CHANNELS)):
            raise ValueError("levels and channels do not fit")
        for level, name in enumerate(names):
            self.wavelets[level] = &ISOQ_CDF_9_7 if name == "9/7" else &ISOQ_CDF_17_11
        self.channel, self.scale = channel, scale

    def to_latents(self, const float[:, ::1] plane, bint dual):
        """Return the latents (channels, h, w) of a plane (16 h, 16 w): its analysis, or with
        `dual` its scalar products with the basis functions of the synthesis."""
        cdef isoq_float_latents latents
        cdef isoq_status status
        latents.layout = self._layout(plane.shape[0] // _CELL, plane.shape[1] // _CELL)
        if np.shape(plane) != (latents.layout.rows * _CELL, latents.layout.cols * _CELL):
            raise ValueError("sides are no multiples of 16")
        out = np.empty((ISOQ_WAVELET_CHANNELS, latents.layout.rows, latents.layout.cols), np.float32)
        cdef float[:, :, ::1] latent = out
        latents.latent, latents.scale = &latent[0, 0, 0], &self.scale[0]
        with nogil:
            status = isoq_analyse(
                self.wavelets, ISOQ_DUAL if dual else ISOQ_ANALYSIS, &plane[0, 0], &latents)
        if status != ISOQ_OK:
            raise MemoryError
        return out

    def to_plane(self, const float[:, :, ::1] latent):
        """Return the plane (16 h, 16 w) of latents (channels, h, w)."""
        cdef isoq_float_latents latents
        cdef isoq_status status
        if latent.shape[0] != ISOQ_WAVELET_CHANNELS:
            raise ValueError("latents of the wrong shape")
        latents.layout = self._layout(latent.shape[1], latent.shape[2])
        latents.latent, latents.scale = <float *>&latent[0, 0, 0], &self.scale[0]
        out = np.empty((latents.layout.rows * _CELL, latents.layout.cols * _CELL), np.float32)
        cdef float[:, ::1] plane = out
        with nogil:
            status = isoq_synthesize_float(
                self.wavelets, &latents.layout, isoq_take_scaled, &latents, 0, &plane[0, 0])
        if status != ISOQ_OK:
            raise MemoryError
        return out

    def to_fixed_plane(
        self, const float[:, :, ::1] latent, const int32_t[::1] unit,
        const int32_t[:, ::1] octave, const int32_t[:, ::1] shift, int finest,
    ):
        """Return the plane of latents in fixed point; for the arguments see isoq_fixed_latents.
        finest: 0 for the image, 1 for half of its resolution and so on. Latents of the levels that
        it leaves out may be missing."""
        cdef isoq_fixed_latents latents
        cdef isoq_status status
        latents.layout = self._layout(latent.shape[1], latent.shape[2])
        if not 0 <= finest <= ISOQ_WAVELET_LEVELS:
            raise ValueError("there is no such level")
        needed = max(channel for channel in self.channel[self._first(finest):])
        if latent.shape[0] <= needed or unit.shape[0] != ISOQ_WAVELET_CHANNELS \
                or not np.shape(octave) == np.shape(shift) == np.shape(latent)[1:] \
                or np.min(shift) < 1 or np.max(shift) > 62:
            raise ValueError("latents do not fit")
        latents.latent, latents.unit = &latent[0, 0, 0], &unit[0]
        latents.octave, latents.shift = &octave[0, 0], &shift[0, 0]
        cell = _CELL >> finest
        out = np.empty((latents.layout.rows * cell, latents.layout.cols * cell), np.int32)
        cdef int32_t[:, ::1] plane = out
        with nogil:
            status = isoq_synthesize_fixed(
                self.wavelets, &latents.layout, isoq_take_latents, &latents, finest, &plane[0, 0])
        if status != ISOQ_OK:
            raise MemoryError
        return out

    cdef int _first(self, int finest):
        """Return the place in `channel` of the first channel that is needed."""
        return ISOQ_WAVELET_CHANNELS - (1 << 2 * (ISOQ_WAVELET_LEVELS - finest))

    cdef isoq_layout _layout(self, Py_ssize_t rows, Py_ssize_t cols) except *:
        cdef isoq_layout layout
        if rows < 4 or cols < 4:
            raise ValueError("a side has less than 64 pixels")
        layout.rows, layout.cols, layout.channel = <int>rows, <int>cols, &self.channel[0]
        return layout


def samples_of(
    const int32_t[:, :, ::1] components, const int32_t[:, ::1] factors, double unit,
    const double[::1] scale, const double[::1] offset, tuple side, dtype,
):
    """Return the samples (bands, *side) of a type: sum * unit * scale + offset, rounded and limited,
    for the sum of factors * components.

    components: (components, rows, cols), in fixed point; factors: (bands, components), None for one
    band that is the only component; scale, offset: (bands,)."""
    cdef int rows = side[0], cols = side[1], count = <int>components.shape[0], i, b
    cdef int bands = <int>scale.shape[0]
    cdef isoq_type type = _TYPES[dtype.name]
    cdef isoq_band band
    cdef bint mixed = factors is not None
    if rows > components.shape[1] or cols > components.shape[2] or offset.shape[0] != bands \
            or np.shape(factors if mixed else [[1]]) != (bands, count):
        raise ValueError("sizes differ")
    out = np.empty((bands, rows, cols), dtype)
    if not out.size:
        return out
    sums, numbers = np.empty(cols, np.int64), np.empty(cols)
    cdef int64_t[::1] sum_ = sums
    cdef double[::1] number = numbers
    cdef uint8_t[:, :, ::1] sample = out.view(np.uint8).reshape(bands, rows, -1)
    cdef size_t plane = components.shape[1] * components.shape[2]
    with nogil:
        for b in range(bands):
            band.factor = &factors[b, 0] if mixed else NULL
            band.unit, band.scale, band.offset = unit, scale[b], offset[b]
            for i in range(rows):
                isoq_samples_of_row(
                    &band, &components[0, i, 0], plane, count, type, &sum_[0], &number[0],
                    &sample[b, i, 0], cols)
    return out
