/* The work of coding one channel of latents, and the memory that it needs.

   Members of latents are kept in arrays of their own, so that loops over latents become vectors. */
#ifndef ISOQ_CHANNEL_JOB_H
#define ISOQ_CHANNEL_JOB_H

#include "neighbours.h"
#include "trellis.h"

enum { ISOQ_SETTLED = 64 }; /* latents that are settled together, at most */

/* By state: the index that leads there, and the state before. */
typedef struct {
    int32_t index[ISOQ_STATES], from[ISOQ_STATES];
} isoq_trellis_step;

/* What is known of the latents (rows * cols) of a channel while they are coded. */
typedef struct {
    int32_t *table, *shift, *flip, *rounded,
        *mu;                  /* contexts: of quantizer 0, in the end those used */
    int32_t *choice;          /* 2 * quantizer + parity of the index */
    int32_t *index;           /* the number that is coded */

    /* The encoder's alone: */
    int32_t *candidate[4];    /* (latents,) each: cheapest index of quantizer k / 2 and parity k % 2 */
    int16_t *cost, *ways;     /* of candidates, and of ways: see isoq_search */
    isoq_trellis_step *steps; /* (cols,) */
    int32_t *memory;          /* of all of them but the steps */
} isoq_scratch;

typedef struct {
    const isoq_context_model *model;
    const isoq_grid *grid;
    const isoq_planes *planes;
    const isoq_scratch *scratch;
    int channel;
    float trade;           /* squared steps that one bit is worth */
    const int32_t *value_move;    /* (rows, cols): see isoq_move */
    const int8_t *magnitude_move; /* same */
    const float *y;        /* (rows, cols): latents before quantization, in steps */
    int32_t *latent;       /* (rows, cols): quantized, in half steps */
    float *reconstruction; /* (rows, cols): in steps */
} isoq_channel_job;

/* Release what isoq_allocate_scratch allocated. */
ISOQ_API void isoq_release_scratch(isoq_scratch *scratch) {
    ISOQ_FREE(scratch->memory);
    ISOQ_FREE(scratch->steps);
}

ISOQ_API int32_t *isoq_take_words(int32_t **memory, size_t n) {
    int32_t *taken = *memory;
    *memory += n;
    return taken;
}

/* Allocate scratch memory for a grid. Release it in any case. states: of the trellis that an
   encoder searches; 0: for a decoder. */
ISOQ_API isoq_status isoq_allocate_scratch(isoq_scratch *scratch, const isoq_grid *grid,
                                           int states) {
    enum { DECODED = 7, SEARCHED = 4 + 2 }; /* words per latent */
    size_t strands = (size_t)grid->strands;
    size_t n = ((size_t)grid->rows * (size_t)grid->cols + strands - 1) / strands * strands;
    size_t ways = (n + strands) * (size_t)states / 2; /* words: two costs each */
    size_t words = n * DECODED + (states ? n * SEARCHED + ways : 0);
    int32_t *memory = (int32_t *)ISOQ_MALLOC(words * sizeof(int32_t));
    memset(scratch, 0, sizeof *scratch);
    scratch->memory = memory;
    if (!memory) return ISOQ_NO_MEMORY;
    scratch->table = isoq_take_words(&memory, n);
    scratch->shift = isoq_take_words(&memory, n);
    scratch->flip = isoq_take_words(&memory, n);
    scratch->rounded = isoq_take_words(&memory, n);
    scratch->mu = isoq_take_words(&memory, n);
    scratch->choice = isoq_take_words(&memory, n);
    scratch->index = isoq_take_words(&memory, n);
    if (!states) return ISOQ_OK;
    for (int k = 0; k < 4; k++) scratch->candidate[k] = isoq_take_words(&memory, n);
    scratch->cost = (int16_t *)isoq_take_words(&memory, 2 * n);
    scratch->ways = (int16_t *)isoq_take_words(&memory, ways);
    scratch->steps =
        (isoq_trellis_step *)ISOQ_MALLOC((size_t)grid->cols * sizeof(isoq_trellis_step));
    return scratch->steps ? ISOQ_OK : ISOQ_NO_MEMORY;
}

/* Return what the predictor adds to the context of latent `at` of the channel. */
ISOQ_INLINE isoq_move isoq_move_at(const isoq_channel_job *job, size_t at) {
    return (isoq_move){job->value_move[at], job->magnitude_move[at]};
}

/* Find the contexts of row `row`, from sums that are complete, for quantizer 0. */
ISOQ_MULTIVERSION void isoq_find_contexts(const isoq_channel_job *job, int row) {
    size_t first = (size_t)row * (size_t)job->grid->cols;
    const isoq_context_model *model = job->model;
    const int32_t *up = job->grid->up + first;
    const isoq_sum *magnitude = isoq_magnitude_sums(job->planes, row);
    const isoq_sum *value = isoq_value_sums(job->planes, row);
    int32_t *table = job->scratch->table + first;
    int32_t *shift = job->scratch->shift + first;
    int32_t *flip = job->scratch->flip + first;
    int32_t *rounded = job->scratch->rounded + first;
    int32_t *mu = job->scratch->mu + first;
    int channel = job->channel;
    ISOQ_INDEPENDENT
    for (int j = 0, n = job->grid->cols; j < n; j++) {
        isoq_context context = isoq_context_at(model, channel, isoq_integer_of(magnitude[j]),
                                               isoq_integer_of(value[j]), up[j],
                                               isoq_move_at(job, first + (size_t)j));
        table[j] = context.table;
        shift[j] = context.shift;
        flip[j] = context.flip;
        rounded[j] = context.rounded;
        mu[j] = context.mu;
    }
}

/* Set latents first ... first + n - 1 of a channel, all in one row and n <= ISOQ_SETTLED, given
   contexts for quantizer 0, choices and indices. Three loops: the middle one looks the symbols up,
   and the others become vectors. */
ISOQ_INLINE void isoq_settle(const isoq_channel_job *job, size_t first, int n, int32_t *magnitudes,
                             int32_t *values) {
    const isoq_scratch *scratch = job->scratch;
    const int32_t *down = job->grid->down + first, *choice = scratch->choice + first;
    const int32_t *shift = scratch->shift + first, *flip = scratch->flip + first;
    const int32_t *rounded = scratch->rounded + first, *mu = scratch->mu + first;
    const int32_t *index = scratch->index + first;
    int32_t *table = scratch->table + first, *latent = job->latent + first;
    float *reconstruction = job->reconstruction + first;
    int32_t place[ISOQ_SETTLED];
    float offset[ISOQ_SETTLED];
    ISOQ_INDEPENDENT
    for (int j = 0; j < n; j++) {
        isoq_context kept = {table[j], shift[j], flip[j], rounded[j], mu[j]};
        isoq_context context = isoq_with_quantizer(kept, choice[j] >> 1);
        table[j] = context.table;
        place[j] = isoq_symbol_place(&context, index[j]);
    }
    for (int j = 0; j < n; j++) offset[j] = job->model->offset[place[j]];
    ISOQ_INDEPENDENT
    for (int j = 0; j < n; j++) {
        isoq_context context = {table[j], shift[j], flip[j], rounded[j], mu[j]};
        int32_t magnitude, value;
        latent[j] = isoq_latent_in_range(&context, index[j], choice[j] >> 1);
        reconstruction[j] = isoq_reconstruct(&context, latent[j], index[j], offset[j]);
        isoq_as_neighbour(latent[j], &context, down[j], &magnitude, &value);
        magnitudes[j] = magnitude;
        values[j] = value;
    }
}

/* Set the latents of row `row`, given contexts for quantizer 0, choices and indices. The contexts
   become those of the quantizers. */
ISOQ_MULTIVERSION void isoq_settle_row(const isoq_channel_job *job, int row) {
    int cols = job->grid->cols;
    int32_t *magnitudes = isoq_magnitude_row(job->planes, job->channel, row);
    int32_t *values = isoq_value_row(job->planes, job->channel, row);
    for (int j = 0; j < cols; j += ISOQ_SETTLED) {
        int n = cols - j < ISOQ_SETTLED ? cols - j : ISOQ_SETTLED;
        isoq_settle(job, (size_t)row * (size_t)cols + (size_t)j, n, magnitudes + j, values + j);
    }
}

#endif
