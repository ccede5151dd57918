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
#include "viterbi.h"

/* Turn the costs of the four candidates of some latents into integers, less the cheapest one.
   `price`: in squared steps. */
ISOQ_INLINE void isoq_round_costs(float price[4][ISOQ_PRICED], int16_t rounded[4][ISOQ_PRICED]) {
    const float most = (float)ISOQ_MOST_COST / ISOQ_COST_UNIT;
    for (int j = 0; j < ISOQ_PRICED; j++) {
        float even = price[0][j] < price[1][j] ? price[0][j] : price[1][j];
        float odd = price[2][j] < price[3][j] ? price[2][j] : price[3][j];
        float least = even < odd ? even : odd;
        for (int k = 0; k < 4; k++) {
            float more = price[k][j] - least < most ? price[k][j] - least : most;
            rounded[k][j] = (int16_t)(int32_t)(more * ISOQ_COST_UNIT + 0.5f);
        }
    }
}

/* Append the costs of `count` latents as isoq_search has them. Return the end. */
ISOQ_INLINE int16_t *isoq_append_costs(int16_t rounded[4][ISOQ_PRICED], int count, int16_t *cost,
                                       const int strands) {
    for (int j = 0; j < count; j += strands, cost += 4 * strands)
        for (int k = 0; k < 4; k++)
            for (int strand = 0; strand < strands; strand++)
                cost[k * strands + strand] = rounded[k][j + strand];
    return cost;
}

/* Find candidates and costs of the n latents of a channel, given their contexts. Where the last
   group of latents is not full, all candidates of the missing ones cost the same. */
ISOQ_MULTIVERSION void isoq_find_candidates(const isoq_channel_job *job, int n) {
    static const int32_t QUANTIZER[2][ISOQ_PRICED] = {ISOQ_ALL_PRICED(0), ISOQ_ALL_PRICED(1)};
    const isoq_scratch *scratch = job->scratch;
    const int strands = job->grid->strands;
    isoq_tried tried;
    int32_t other[ISOQ_PRICED];
    float price[4][ISOQ_PRICED] = {{0}};
    int16_t rounded[4][ISOQ_PRICED], *cost = scratch->cost;
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
                                  price[2 * quantizer], price[2 * quantizer + 1]};
            isoq_price(job->model->symbols, &latents, count, job->trade, &tried, &prices);
        }
        for (int k = 0; k < 4; k++)
            for (int j = count; j < ISOQ_PRICED; j++) price[k][j] = 0;
        isoq_round_costs(price, rounded);
        cost = strands == 1 ? isoq_append_costs(rounded, count, cost, 1)
                            : isoq_append_costs(rounded, count, cost, ISOQ_STRANDS);
    }
}

/* Choose the candidates of the cheapest way of every strand through n latents. */
ISOQ_API void isoq_find_ways(const isoq_channel_job *job, int n) {
    const isoq_scratch *scratch = job->scratch;
    int strands = job->grid->strands;
    isoq_search search = {isoq_trellis_of(job->model), (n + strands - 1) / strands, scratch->cost,
                          scratch->ways, scratch->choice};
    if (strands == 1)
        isoq_search_ways(&search, 1);
    else
        isoq_search_ways(&search, ISOQ_STRANDS);
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
    isoq_find_ways(job, n);
    isoq_take_candidates(job->scratch, n);
    for (int row = 0; row < rows; row++) isoq_settle_row(job, row);
}

#endif
