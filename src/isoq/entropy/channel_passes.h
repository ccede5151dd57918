/* Quantization of a channel whose contexts do not look at the channel itself: most are such.

   All contexts are known beforehand, so the channel is coded in passes over arrays:
     isoq_find_contexts    (channel_job.h)
     isoq_find_candidates  indices of both quantizers and parities, and their costs
     isoq_find_ways        the cheapest ways through the trellis
     isoq_settle_row       latents, reconstructions, and what later channels see of them
                           (channel_job.h) */
#ifndef ISOQ_CHANNEL_PASSES_H
#define ISOQ_CHANNEL_PASSES_H

#include "channel_job.h"
#include "trellis_search.h"

/* Find costs and candidates of the n latents of a channel, given their contexts. */
ISOQ_MULTIVERSION void isoq_find_candidates(const isoq_channel_job *job, int n) {
    static const int32_t QUANTIZER[2][ISOQ_PRICED] = {ISOQ_ALL_PRICED(0), ISOQ_ALL_PRICED(1)};
    const isoq_scratch *scratch = job->scratch;
    isoq_tried tried;
    int32_t other[ISOQ_PRICED];
    for (int first = 0; first < n; first += ISOQ_PRICED) {
        int count = n - first < ISOQ_PRICED ? n - first : ISOQ_PRICED;
        const int32_t *table = scratch->table + first;
        for (int j = 0; j < count; j++) other[j] = table[j] + ISOQ_TABLES_PER_QUANTIZER;
        for (int quantizer = 0; quantizer < 2; quantizer++) {
            isoq_priced_latents latents = {quantizer ? other : table,
                                           scratch->shift + first,
                                           scratch->flip + first,
                                           scratch->rounded + first,
                                           QUANTIZER[quantizer],
                                           job->y + first};
            isoq_prices prices = {scratch->candidate[2 * quantizer] + first,
                                  scratch->candidate[2 * quantizer + 1] + first,
                                  scratch->cost[2 * quantizer] + first,
                                  scratch->cost[2 * quantizer + 1] + first};
            isoq_price(job->model->symbols, &latents, count, job->trade, &tried, &prices);
        }
    }
}

/* Return the ways that are one latent longer, given the costs of the candidates of latent j. */
ISOQ_INLINE isoq_ways isoq_advance_by(isoq_ways ways, const isoq_scratch *scratch, int j) {
    float even = scratch->cost[0][j], odd = scratch->cost[1][j];
    float other_even = scratch->cost[2][j], other_odd = scratch->cost[3][j];
    isoq_step_costs step = {isoq_float4_of(even, even, odd, odd),
                            isoq_float4_of(odd, odd, even, even),
                            isoq_float4_of(other_even, other_even, other_odd, other_odd),
                            isoq_float4_of(other_odd, other_odd, other_even, other_even)};
    return isoq_advance_ways(ways, step, scratch->second + ISOQ_STATES * (size_t)j);
}

/* Find the cheapest way of every strand through n latents from state 0, given the costs of the
   candidates. Strands are extended in turn: none has to wait for the other. */
ISOQ_INLINE void isoq_find_ways(const isoq_scratch *scratch, int n, const int strands) {
    const int32_t *second = scratch->second;
    int32_t *choice = scratch->choice;
    isoq_ways ways[ISOQ_STRANDS];
    int state[ISOQ_STRANDS], j = 0;
    for (int k = 0; k < strands; k++) ways[k] = isoq_ways_from(0);
    for (; j + strands <= n; j += strands)
        for (int k = 0; k < strands; k++) ways[k] = isoq_advance_by(ways[k], scratch, j + k);
    for (int k = 0; j + k < n; k++) ways[k] = isoq_advance_by(ways[k], scratch, j + k);
    for (int k = 0; k < strands; k++) state[k] = isoq_cheapest(ways[k]);
    for (j = n; j-- > 0;) {
        int *to = state + j % strands;
        int from = ISOQ_BEFORE[*to][second[ISOQ_STATES * (size_t)j + (size_t)*to] & 1];
        choice[j] = 2 * isoq_quantizer_of(from) + (ISOQ_NEXT[from][1] == *to);
        *to = from;
    }
}

/* Set the indices of n latents to the candidates that were chosen. */
ISOQ_MULTIVERSION void isoq_take_candidates(const isoq_scratch *scratch, int n) {
    int32_t *choice = scratch->choice, *index = scratch->index;
    const int32_t *even = scratch->candidate[0], *odd = scratch->candidate[1];
    const int32_t *other_even = scratch->candidate[2], *other_odd = scratch->candidate[3];
    ISOQ_INDEPENDENT
    for (int j = 0; j < n; j++) {
        int32_t zeroth = choice[j] & 1 ? odd[j] : even[j];
        int32_t first = choice[j] & 1 ? other_odd[j] : other_even[j];
        index[j] = choice[j] & 2 ? first : zeroth;
    }
}

/* Quantize a channel, given the sums of earlier channels. */
ISOQ_API void isoq_quantize_in_passes(const isoq_channel_job *job) {
    int rows = job->grid->rows;
    int n = rows * job->grid->cols;
    for (int row = 0; row < rows; row++) isoq_find_contexts(job, row);
    isoq_find_candidates(job, n);
    if (job->grid->strands == 1)
        isoq_find_ways(job->scratch, n, 1);
    else
        isoq_find_ways(job->scratch, n, ISOQ_STRANDS);
    isoq_take_candidates(job->scratch, n);
    for (int row = 0; row < rows; row++) isoq_settle_row(job, row);
}

#endif
