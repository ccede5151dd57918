/* Predictive coding of integer planes: linear prediction with weights that are in the stream,
   residuals quantized inside the loop, adaptive tables chosen by the residuals around.

   What calls what, from here down:
     predictive.h    isoq_encode_planes, isoq_decode_planes: plane by plane, row by row
     row.h           a row: prediction, repetition flags, residuals
     prediction.h    sums over rows above and reference planes
     residual.h      a residual through an adaptive table; a flag
     planes_coder.h  the state: tables, planes with pads, sums of a row
     histogram.h     adaptive tables
     plan.h          what the stream says about each plane; constants of the format
     ../../entropy   rans.h, table_integers.h, adaptive_integers.h, compiler.h
   fit.h chooses the plan; only the encoder does.

   Life of a sample: neighbours in its plane and in earlier planes, weighted, give the prediction mu
   in 1/16 of its unit; their distances from their own predictions give the magnitude expected, and
   so the table; the residual, in whole steps from the rounded mu, is coded through the table; the
   sample that the decoder will have, and its distance from mu, are kept for later predictions.

   Integer arithmetic only; docs/format.md says the same in words. */
#ifndef ISOQ_PREDICTIVE_H
#define ISOQ_PREDICTIVE_H

#include "row.h"

/* Code all planes. samples (planes, rows, cols): read if `decoding`, a constant, is 0, otherwise
   set. Returns the status of the list or of the reader. */
ISOQ_INLINE isoq_status isoq_code_planes(isoq_planes_coder *coder, const isoq_extent *extent,
                                         const isoq_plan *plan, int32_t *samples,
                                         const int decoding) {
    size_t cols = (size_t)extent->cols;
    for (int plane = 0; plane < extent->planes; plane++) {
        isoq_begin_plane(coder, plan, plane);
        for (int row = 0; row < extent->rows; row++) {
            int32_t *own = samples + ((size_t)plane * extent->rows + row) * cols;
            isoq_predict_row(coder, plan, plane, row, extent->cols);
            isoq_find_steps(coder, extent, plan, plane, row);
            isoq_code_row(coder, extent, plan, plane, row, own, decoding);
            if (decoding)
                memcpy(own, isoq_padded_row(coder, coder->value, plane, row),
                       cols * sizeof(int32_t));
            isoq_continue_row(coder, coder->value, plane, row, extent);
            isoq_continue_row(coder, coder->distance, plane, row, extent);
            isoq_status status = decoding ? coder->reader.status : coder->list->status;
            if (status) return status;
        }
    }
    return ISOQ_OK;
}

/* Append the slots of `samples` (planes, rows, cols) to a list. Sets `decoded` (same shape) to what
   a decoder makes of them, unless it is null; valid samples are in the range of their plane.
   Returns ISOQ_OK or ISOQ_NO_MEMORY. */
ISOQ_API isoq_status isoq_encode_planes(const isoq_extent *extent, const isoq_plan *plan,
                                        int32_t *samples, int32_t *decoded, isoq_slot_list *list) {
    isoq_planes_coder *coder = isoq_new_planes_coder(extent);
    if (!coder) return ISOQ_NO_MEMORY;
    coder->list = list;
    isoq_status status = isoq_code_planes(coder, extent, plan, samples, 0);
    size_t cols = (size_t)extent->cols;
    for (int plane = 0; !status && decoded && plane < extent->planes; plane++)
        for (int row = 0; row < extent->rows; row++)
            memcpy(decoded + ((size_t)plane * extent->rows + row) * cols,
                   isoq_padded_row(coder, coder->value, plane, row), cols * sizeof(int32_t));
    isoq_release_planes_coder(coder);
    return status;
}

/* Decode a stream of `size` bytes into `samples` (planes, rows, cols). Returns ISOQ_OK,
   ISOQ_DAMAGED (the samples then have no meaning) or ISOQ_NO_MEMORY. */
ISOQ_API isoq_status isoq_decode_planes(const isoq_extent *extent, const isoq_plan *plan,
                                        const uint8_t *data, size_t size, int32_t *samples) {
    isoq_planes_coder *coder = isoq_new_planes_coder(extent);
    if (!coder) return ISOQ_NO_MEMORY;
    isoq_start_reader(&coder->reader, data, size);
    isoq_status status = isoq_code_planes(coder, extent, plan, samples, 1);
    if (!status) status = isoq_finish_reader(&coder->reader);
    isoq_release_planes_coder(coder);
    return status;
}

#endif
