/* Latents to bytes and back: the head of the family of headers that code latents.

   What calls what, from here down:
     latents.h           isoq_encode_latents, isoq_decode_latents: channel by channel
     channel_passes.h    encoder: quantize a channel whose contexts are known beforehand
     channel_rows.h      encoder: quantize a channel whose contexts look at the channel itself
     channel_decode.h    decoder: the same two ways
     subband_predictor.h both: what coarser levels tell of a level's details
     channel_job.h       what all share: arguments, memory, contexts and latents of a row
     viterbi.h           encoder: cheapest way through the trellis
     trellis_search.h    encoder: costs of indices
     trellis.h           states, quantizers, reconstruction
     neighbours.h        what is kept of decoded latents, and sums over it
     context.h           from sums to the table and the predicted value
     table_integers.h    an integer through a table, with an escape
     rans.h              slots to bytes
     compiler.h          conventions

   Life of a latent: channels are coded in order, latents in raster order. The sums over its decoded
   neighbours give the context; the trellis chooses an index, which stands for a point near y; the
   index is coded through the table of the context; index and context give the latent in half steps
   and its reconstruction; its magnitude and value are kept for later contexts. The decoder does the
   same with the index that it reads.

   Memory: isoq_planes (all channels), isoq_scratch (one channel), slots (all latents, encoder). */
#ifndef ISOQ_LATENTS_H
#define ISOQ_LATENTS_H

#include "channel_decode.h"
#include "channel_passes.h"
#include "channel_rows.h"
#include "subband_predictor.h"

/* What the encoder did, for counting and training. All members may be null, or none. */
typedef struct {
    int32_t *table;  /* (channels, rows, cols): row of cdf */
    int16_t *symbol; /* same: -ISOQ_REACH ... ISOQ_REACH, or ISOQ_REACH + 1 for an escape */
    int8_t *flip;    /* same */
    int32_t *mu;     /* same: predicted value, in 1/16 step */
} isoq_trace;

/* The memory that coding needs. */
typedef struct {
    isoq_planes planes;
    isoq_scratch scratch;
    isoq_moves moves;
} isoq_coding;

/* Release what isoq_allocate_coding allocated. */
ISOQ_API void isoq_release_coding(isoq_coding *coding) {
    isoq_release_planes(&coding->planes);
    isoq_release_scratch(&coding->scratch);
    isoq_release_moves(&coding->moves);
}

/* Allocate the memory for a grid. Release it in any case. states: see isoq_allocate_scratch. */
ISOQ_API isoq_status isoq_allocate_coding(isoq_coding *coding, const isoq_context_model *model,
                                          const isoq_grid *grid, int states) {
    isoq_status no_planes = isoq_allocate_planes(&coding->planes, grid);
    isoq_status no_scratch = isoq_allocate_scratch(&coding->scratch, grid, states);
    isoq_status no_moves = isoq_allocate_moves(&coding->moves, grid, model->predictor != NULL);
    return no_planes ? no_planes : no_scratch ? no_scratch : no_moves;
}

/* Prepare to code channel `c`: predict its level if it is the first, and set `job` and the sums of
   earlier channels. latent, reconstruction: of all channels. */
ISOQ_API isoq_status isoq_start_channel(isoq_channel_job *job, const isoq_context_model *model,
                                        const isoq_grid *grid, isoq_coding *coding, int c,
                                        int32_t *latent, float *reconstruction) {
    isoq_moves *moves = &coding->moves;
    size_t n = (size_t)grid->rows * (size_t)grid->cols, first = (size_t)c * n;
    int level = model->predictor ? isoq_level_beginning(c) : 0;
    isoq_status status = level ? isoq_predict_level(model->predictor, grid, &coding->planes,
                                                    reconstruction, level, moves)
                               : ISOQ_OK;
    size_t moved = model->predictor ? (size_t)(c - moves->first) * n : 0;
    *job = (isoq_channel_job){.model = model,
                              .grid = grid,
                              .planes = &coding->planes,
                              .scratch = &coding->scratch,
                              .channel = c,
                              .value_move = moves->value + moved,
                              .magnitude_move = moves->magnitude + moved,
                              .latent = latent + first,
                              .reconstruction = reconstruction + first};
    isoq_sum_channel(model, &coding->planes, c);
    return status;
}

/* Append the slots of the n latents of a channel, and trace them from `first` on. */
ISOQ_API void isoq_list_channel(const isoq_context_model *model, const isoq_scratch *scratch,
                                size_t n, int strands, isoq_slot_list *list,
                                const isoq_trace *trace, size_t first) {
    unsigned last_strand = (unsigned)strands - 1; /* 1 or 4 strands: a mask */
    for (size_t j = 0; list && j < n; j++) {
        list->strand = (unsigned)j & last_strand;
        const uint16_t *cdf = model->cdf + (size_t)scratch->table[j] * (ISOQ_SYMBOLS + 1);
        isoq_put_table_integer(list, cdf, scratch->shift[j], scratch->index[j]);
    }
    for (size_t j = 0; trace->table && j < n; j++) {
        int32_t coarse = scratch->index[j] >> scratch->shift[j];
        trace->table[first + j] = scratch->table[j];
        trace->symbol[first + j] = (int16_t)(isoq_is_escaped(coarse) ? ISOQ_REACH + 1 : coarse);
        trace->flip[first + j] = (int8_t)scratch->flip[j];
        trace->mu[first + j] = scratch->mu[j];
    }
}

/* Quantize and code latents, so that error^2 + trade * bits is least, as far as the search through
   each channel by itself finds.

   y (channels, rows, cols): in steps; any float, see isoq_within. trade: squared steps per bit, 0
   or more. Sets `latent` (half steps, at most 2^24 in magnitude) and `reconstruction` (steps), both
   of the shape of y, and appends the slots to `list` unless it is null; then sets slots_after
   (channels,) to how many there are after each channel. Returns ISOQ_OK or ISOQ_NO_MEMORY. */
ISOQ_API isoq_status isoq_encode_latents(const isoq_context_model *model, const isoq_grid *grid,
                                         const float *y, float trade, int32_t *latent,
                                         float *reconstruction, isoq_slot_list *list,
                                         size_t *slots_after, const isoq_trace *trace) {
    isoq_coding coding;
    isoq_channel_job job;
    size_t n = (size_t)grid->rows * (size_t)grid->cols;
    isoq_status status =
        isoq_allocate_coding(&coding, model, grid, isoq_trellis_of(model)->states);
    for (int c = 0; !status && c < grid->channels; c++) {
        size_t first = (size_t)c * n;
        status = isoq_start_channel(&job, model, grid, &coding, c, latent, reconstruction);
        if (status) break;
        job.trade = trade;
        job.y = y + first;
        if (isoq_looks_at_itself(model, c))
            isoq_quantize_by_rows(&job);
        else
            isoq_quantize_in_passes(&job);
        isoq_fill_frame(&coding.planes, c);
        isoq_list_channel(model, &coding.scratch, n, grid->strands, list, trace, first);
        if (list) slots_after[c] = list->count;
        if (list) status = list->status;
    }
    isoq_release_coding(&coding);
    return status;
}

/* Decode a stream of `size` bytes; data may be null if size is 0. Sets `latent` and
   `reconstruction` as the encoder did. The grid may have less channels than the model: then the
   first segments of the stream are enough. is_all: whether nothing follows. Returns ISOQ_OK,
   ISOQ_DAMAGED (the outputs then have no meaning) or ISOQ_NO_MEMORY. */
ISOQ_API isoq_status isoq_decode_latents(const isoq_context_model *model, const isoq_grid *grid,
                                         const uint8_t *data, size_t size, int is_all,
                                         int32_t *latent, float *reconstruction) {
    isoq_coding coding;
    isoq_channel_job job;
    isoq_strand_reader reader;
    isoq_status status = isoq_allocate_coding(&coding, model, grid, 0);
    isoq_start_strands(&reader, grid->strands, data, size);
    for (int c = 0; !status && c < grid->channels; c++) {
        status = isoq_start_channel(&job, model, grid, &coding, c, latent, reconstruction);
        if (status) break;
        isoq_decode_channel(&job, &reader);
        status = reader.common.status;
        if (!status) isoq_fill_frame(&coding.planes, c);
    }
    if (!status && is_all) status = isoq_finish_strands(&reader);
    isoq_release_coding(&coding);
    return status;
}

#endif
