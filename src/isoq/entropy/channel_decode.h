/* Decoding of a channel.

   If its contexts do not look at the channel itself, all are known beforehand, and a loop over its
   latents finds the indices alone (isoq_decode_indices). Strands take turns, so that a processor
   works on one while it waits for another. Otherwise latents are decoded one by one
   (isoq_decode_row). */
#ifndef ISOQ_CHANNEL_DECODE_H
#define ISOQ_CHANNEL_DECODE_H

#include "channel_job.h"

/* A reader whose state is that of the strand that was read last, and the states of all others.
   count: 1 ... ISOQ_STRANDS. */
typedef struct {
    isoq_reader common;
    uint64_t state[ISOQ_STRANDS];
    int count;
} isoq_strand_reader;

/* Start to decode a stream of some strands; see isoq_start_reader. */
ISOQ_API void isoq_start_strands(isoq_strand_reader *reader, int count, const uint8_t *data,
                                 size_t size) {
    isoq_start_reader(&reader->common, data, size);
    reader->count = count;
    reader->state[0] = reader->common.state;
    for (int k = 1; k < count; k++) reader->state[k] = isoq_next_state_of(&reader->common);
}

/* Return ISOQ_OK if all strands are complete; see isoq_finish_reader. */
ISOQ_API isoq_status isoq_finish_strands(isoq_strand_reader *reader) {
    isoq_status status = ISOQ_OK;
    for (int k = 0; !status && k < reader->count; k++) {
        reader->common.state = reader->state[k];
        status = isoq_finish_reader(&reader->common);
    }
    return status;
}

/* Return the next index of strand k. Damages the reader if it leads to no latent in range. */
ISOQ_INLINE int32_t isoq_take_index(isoq_strand_reader *reader, int k, const uint16_t *cdf,
                                    const isoq_context *context, int quantizer) {
    isoq_reader *common = &reader->common;
    common->state = reader->state[k];
    int64_t index = isoq_take_table_integer(common, cdf, context->shift);
    reader->state[k] = common->state;
    int64_t latent = isoq_latent_of(context, index, quantizer);
    if (latent < -2 * ISOQ_MAX_LATENT || latent > 2 * ISOQ_MAX_LATENT) {
        common->status = ISOQ_DAMAGED;
        return 0;
    }
    return (int32_t)index;
}

/* Decode the index of latent j, whose context for quantizer 0 is kept, as one of strand k. Return
   the state of the trellis after it. next: of the trellis. */
ISOQ_INLINE int isoq_decode_index(const isoq_channel_job *job, int j, int k, int state,
                                  const uint8_t (*next)[2], isoq_strand_reader *reader) {
    const isoq_scratch *scratch = job->scratch;
    int quantizer = isoq_quantizer_of(state);
    isoq_context context = {scratch->table[j], scratch->shift[j], scratch->flip[j],
                            scratch->rounded[j], scratch->mu[j]};
    context = isoq_with_quantizer(context, quantizer);
    const uint16_t *cdf = job->model->cdf + (size_t)context.table * (ISOQ_SYMBOLS + 1);
    int32_t index = isoq_take_index(reader, k, cdf, &context, quantizer);
    scratch->index[j] = index;
    scratch->choice[j] = 2 * quantizer + (index & 1);
    return isoq_next_state(next, state, index);
}

/* Decode the indices of a channel of n latents whose contexts for quantizer 0 are kept. */
ISOQ_INLINE void isoq_decode_indices(const isoq_channel_job *job, int n,
                                     isoq_strand_reader *reader, const int strands) {
    const uint8_t (*next)[2] = isoq_trellis_of(job->model)->next;
    int state[ISOQ_STRANDS] = {0}, j = 0;
    for (; j + strands <= n && !reader->common.status; j += strands)
        for (int k = 0; k < strands; k++)
            state[k] = isoq_decode_index(job, j + k, k, state[k], next, reader);
    for (int k = 0; j + k < n && !reader->common.status; k++)
        state[k] = isoq_decode_index(job, j + k, k, state[k], next, reader);
}

/* Decode the indices of a channel of n latents as the strands of the reader. */
ISOQ_MULTIVERSION void isoq_decode_strands(const isoq_channel_job *job, int n,
                                           isoq_strand_reader *reader) {
    if (reader->count == 1)
        isoq_decode_indices(job, n, reader, 1);
    else
        isoq_decode_indices(job, n, reader, ISOQ_STRANDS);
}

/* Decode row `row` of a channel whose contexts look at the channel itself, given the sums over all
   neighbours but those to the left. The row starts in `state`. Return the state after it. */
ISOQ_API int isoq_decode_row(const isoq_channel_job *job, int row, int state,
                             isoq_strand_reader *reader) {
    const isoq_context_model *model = job->model;
    const isoq_grid *grid = job->grid;
    int channel = job->channel;
    size_t first = (size_t)row * (size_t)grid->cols;
    int32_t *magnitude = isoq_magnitude_row(job->planes, channel, row);
    int32_t *value = isoq_value_row(job->planes, channel, row);
    isoq_sum *magnitudes = isoq_magnitude_sums(job->planes, row);
    isoq_sum *values = isoq_value_sums(job->planes, row);
    for (int j = 0; j < grid->cols; j++) {
        size_t at = first + (size_t)j;
        int strand = (int)(at % (size_t)grid->strands), quantizer = isoq_quantizer_of(state);
        isoq_sum_left(model, channel, j, magnitude, value, magnitudes, values);
        isoq_context context = isoq_context_at(model, channel, isoq_integer_of(magnitudes[j]),
                                               isoq_integer_of(values[j]), grid->up[at],
                                               isoq_move_at(job, at));
        context = isoq_with_quantizer(context, quantizer);
        const uint16_t *cdf = model->cdf + (size_t)context.table * (ISOQ_SYMBOLS + 1);
        int32_t index = isoq_take_index(reader, strand, cdf, &context, quantizer);
        int32_t latent = isoq_latent_in_range(&context, index, quantizer);
        float offset = model->offset[isoq_symbol_place(&context, index)];
        job->latent[at] = latent;
        job->reconstruction[at] = isoq_reconstruct(&context, latent, index, offset);
        isoq_as_neighbour(latent, &context, grid->down[at], magnitude + j, value + j);
        state = isoq_next_state(ISOQ_NEXT, state, index);
    }
    return state;
}

/* Decode one channel into job->latent and job->reconstruction, given the sums of earlier channels.
   Stops soon after the reader is damaged. */
ISOQ_API void isoq_decode_channel(const isoq_channel_job *job, isoq_strand_reader *reader) {
    int rows = job->grid->rows, n = rows * job->grid->cols, state = 0;
    if (isoq_looks_at_itself(job->model, job->channel)) {
        for (int row = 0; !reader->common.status && row < rows; row++) {
            isoq_sum_row(job->model, job->planes, job->channel, row);
            state = isoq_decode_row(job, row, state, reader);
        }
        return;
    }
    for (int row = 0; row < rows; row++) isoq_find_contexts(job, row);
    isoq_decode_strands(job, n, reader);
    for (int row = 0; !reader->common.status && row < rows; row++) isoq_settle_row(job, row);
}

#endif
