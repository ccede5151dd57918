/* Quantization of a channel whose contexts do not look at the channel itself: most are such.

   All contexts are known beforehand, so the channel is coded in passes over arrays:
     isoq_find_contexts    (channel_job.h)
     isoq_find_candidates  indices of both quantizers and parities, and their costs
     isoq_find_way         the cheapest way through the trellis
     isoq_settle_row       latents, reconstructions, and what later channels see of them */
#ifndef ISOQ_CHANNEL_PASSES_H
#define ISOQ_CHANNEL_PASSES_H

#include "channel_job.h"
#include "trellis_search.h"

/* Find costs and candidates of the n latents of a channel, given their contexts. */
ISOQ_MULTIVERSION void isoq_find_candidates(const isoq_channel_job *job, int n) {
    isoq_context_model model = *job->model;
    const float *y = job->y, trade = job->trade;
    const int32_t *table = job->scratch->table, *shift = job->scratch->shift;
    const int32_t *flip = job->scratch->flip, *rounded = job->scratch->rounded;
    float *cost = job->scratch->cost;
    int32_t *candidate = job->scratch->candidate;
    ISOQ_INDEPENDENT
    for (int j = 0; j < n; j++) {
        isoq_context context = {table[j], shift[j], flip[j], rounded[j], 0};
        isoq_context other = isoq_with_quantizer(context, 1);
        isoq_choice zeroth = isoq_choose(&model, &context, 0, isoq_within(y[j]), trade);
        isoq_choice first = isoq_choose(&model, &other, 1, isoq_within(y[j]), trade);
        cost[4 * j] = zeroth.cost[0];
        cost[4 * j + 1] = zeroth.cost[1];
        cost[4 * j + 2] = first.cost[0];
        cost[4 * j + 3] = first.cost[1];
        candidate[4 * j] = zeroth.index[0];
        candidate[4 * j + 1] = zeroth.index[1];
        candidate[4 * j + 2] = first.index[0];
        candidate[4 * j + 3] = first.index[1];
    }
}

/* Find the cheapest way through n latents from state 0, given the costs of the candidates. */
ISOQ_API void isoq_find_way(const isoq_scratch *scratch, int n) {
    const float *cost = scratch->cost;
    int32_t *second = scratch->second;
    int32_t *choice = scratch->choice;
    isoq_ways ways = isoq_ways_from(0);
    for (int j = 0; j < n; j++) {
        const float *of = cost + 4 * j;
        isoq_step_costs step = {
            isoq_float4_of(of[0], of[0], of[1], of[1]), isoq_float4_of(of[1], of[1], of[0], of[0]),
            isoq_float4_of(of[2], of[2], of[3], of[3]), isoq_float4_of(of[3], of[3], of[2], of[2])};
        ways = isoq_advance_ways(ways, step, second + ISOQ_STATES * (size_t)j);
    }
    int state = isoq_cheapest(ways);
    for (int j = n; j-- > 0;) {
        int from = ISOQ_BEFORE[state][second[ISOQ_STATES * (size_t)j + state] & 1];
        choice[j] = 2 * isoq_quantizer_of(from) + (ISOQ_NEXT[from][1] == state);
        state = from;
    }
}

/* Set the latents of row `row`, given contexts, candidates and choices. */
ISOQ_MULTIVERSION void isoq_settle_row(const isoq_channel_job *job, int row) {
    isoq_context_model model = *job->model;
    const isoq_scratch *scratch = job->scratch;
    size_t first = (size_t)row * (size_t)job->grid->cols;
    const int32_t *down = job->grid->down + first, *choice = scratch->choice + first;
    const int32_t *candidate = scratch->candidate + 4 * first;
    const int32_t *shift = scratch->shift + first, *flip = scratch->flip + first;
    const int32_t *rounded = scratch->rounded + first, *mu = scratch->mu + first;
    int32_t *table = scratch->table + first, *indices = scratch->index + first;
    int32_t *latents = job->latent + first;
    float *reconstruction = job->reconstruction + first;
    int32_t *magnitudes = isoq_magnitude_row(job->planes, job->channel, row);
    int32_t *values = isoq_value_row(job->planes, job->channel, row);
    ISOQ_INDEPENDENT
    for (int j = 0, n = job->grid->cols; j < n; j++) {
        int quantizer = choice[j] >> 1;
        isoq_context kept = {table[j], shift[j], flip[j], rounded[j], mu[j]};
        isoq_context context = isoq_with_quantizer(kept, quantizer);
        int32_t index = candidate[4 * j + choice[j]];
        int32_t latent = (int32_t)isoq_latent_of(&context, index, quantizer);
        int32_t magnitude, value;
        table[j] = context.table;
        indices[j] = index;
        latents[j] = latent;
        reconstruction[j] = isoq_reconstruct(&model, &context, latent, index);
        isoq_as_neighbour(latent, &context, down[j], &magnitude, &value);
        magnitudes[j] = magnitude;
        values[j] = value;
    }
}

/* Quantize a channel, given the sums of earlier channels. */
ISOQ_API void isoq_quantize_in_passes(const isoq_channel_job *job) {
    int rows = job->grid->rows;
    int n = rows * job->grid->cols;
    for (int row = 0; row < rows; row++) isoq_find_contexts(job, row);
    isoq_find_candidates(job, n);
    isoq_find_way(job->scratch, n);
    for (int row = 0; row < rows; row++) isoq_settle_row(job, row);
}

#endif
