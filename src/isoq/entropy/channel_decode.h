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

/* Return the next index. Damages the reader if no latent in range has it; then it is 0. */
ISOQ_INLINE int32_t isoq_take_index(isoq_reader *reader, const uint16_t *cdf, int shift) {
    int64_t index = isoq_take_table_integer(reader, cdf, shift), most = 2 * ISOQ_MAX_LATENT + 1;
    if (index < -most || index > most) {
        reader->status = ISOQ_DAMAGED;
        return 0;
    }
    return (int32_t)index;
}

/* What a strand has between two latents. */
typedef struct {
    uint64_t reader; /* state of the reader */
    int trellis;     /* state of the trellis */
} isoq_strand;

/* Decode the index of latent j, whose context for quantizer 0 is kept. next: of the trellis. */
ISOQ_INLINE void isoq_decode_index(const isoq_scratch *scratch, const uint16_t *cdf,
                                   const uint8_t (*next)[2], size_t j, isoq_reader *reader,
                                   isoq_strand *strand) {
    int quantizer = isoq_quantizer_of(strand->trellis);
    size_t other = (size_t)-quantizer & (ISOQ_TABLES_PER_QUANTIZER * (ISOQ_SYMBOLS + 1));
    size_t row = (size_t)(unsigned)scratch->table[j] * (ISOQ_SYMBOLS + 1) + other;
    reader->state = strand->reader;
    int32_t index = isoq_take_index(reader, cdf + row, scratch->shift[j]);
    strand->reader = reader->state;
    strand->trellis = isoq_next_state(next, strand->trellis, index);
    scratch->index[j] = index;
    scratch->choice[j] = 2 * quantizer + (index & 1);
}

/* Decode the indices of a channel of n latents whose contexts for quantizer 0 are kept. Pointers,
   reader and strands are copied, so that compilers can keep them in registers. */
ISOQ_INLINE void isoq_decode_indices(const isoq_channel_job *job, size_t n,
                                     isoq_strand_reader *from, const size_t strands) {
    isoq_scratch scratch = *job->scratch;
    const uint16_t *cdf = job->model->cdf;
    const uint8_t (*next)[2] = isoq_trellis_of(job->model)->next;
    isoq_reader reader = from->common;
    isoq_strand strand[ISOQ_STRANDS];
    size_t j = 0;
    for (size_t k = 0; k < strands; k++) strand[k] = (isoq_strand){from->state[k], 0};
    for (; j + strands <= n && !reader.status; j += strands) {
        ISOQ_UNROLL_4
        for (size_t k = 0; k < strands; k++)
            isoq_decode_index(&scratch, cdf, next, j + k, &reader, strand + k);
    }
    for (size_t k = 0; k < strands; k++) {
        if (j + k < n && !reader.status)
            isoq_decode_index(&scratch, cdf, next, j + k, &reader, strand + k);
        from->state[k] = strand[k].reader;
    }
    from->common = reader;
}

/* Decode the indices of a channel of n latents as the strands of the reader. */
ISOQ_MULTIVERSION void isoq_decode_strands(const isoq_channel_job *job, int n,
                                           isoq_strand_reader *reader) {
    if (reader->count == 1)
        isoq_decode_indices(job, (size_t)n, reader, 1);
    else
        isoq_decode_indices(job, (size_t)n, reader, ISOQ_STRANDS);
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
        reader->common.state = reader->state[strand];
        int32_t index = isoq_take_index(&reader->common, cdf, context.shift);
        int32_t latent = isoq_latent_in_range(&context, index, quantizer);
        reader->state[strand] = reader->common.state;
        if (!isoq_is_in_range(latent)) reader->common.status = ISOQ_DAMAGED;
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
    for (int row = 0; !reader->common.status && row < rows; row++)
        if (!isoq_settle_row(job, row)) reader->common.status = ISOQ_DAMAGED;
}

#endif
