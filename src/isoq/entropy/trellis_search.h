/* What the encoder searches the trellis for: from each state a way goes on with an even or an odd
   index. isoq_price finds the cheapest index of each parity, for contexts and quantizers. The cost
   is error^2 + trade * bits, in squared steps.

   What is chosen here must not depend on the processor: the extension is compiled without fused
   products (-ffp-contract=off), and the functions have no branches, so that loops over them become
   vectors. */
#ifndef ISOQ_TRELLIS_SEARCH_H
#define ISOQ_TRELLIS_SEARCH_H

#include "trellis.h"

/* Return y (steps) within the range of latents. No number counts as the lower end. The limit leaves
   room for rounding: floats near it are whole steps. */
ISOQ_INLINE float isoq_within(float y) {
    float most = ISOQ_MAX_LATENT - 8;
    return y > most ? most : y > -most ? y : -most;
}

/* What is known of latents that are priced together, a list per quantity. */
typedef struct {
    const int32_t *table, *shift, *flip, *rounded; /* contexts, isoq_with_quantizer */
    const int32_t *quantizer;
    const float *y; /* steps */
} isoq_priced_latents;

/* The cheapest index of each parity, and what it costs. */
typedef struct {
    int32_t *even, *odd;
    float *even_cost, *odd_cost;
} isoq_prices;

enum {
    ISOQ_PRICED = 32, /* latents that are priced together, at most */
    ISOQ_TRIED = 3    /* indices that are tried: the even and the odd one next to y, and a third */
};

/* A list of ISOQ_PRICED times the same. */
#define ISOQ_ALL_PRICED(x) \
    {x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}

/* Memory for pricing: of each index that is tried, its place in the tables, how far its point is
   from y, and what the tables say. */
typedef struct {
    int32_t index[ISOQ_TRIED][ISOQ_PRICED], place[ISOQ_TRIED][ISOQ_PRICED];
    float miss[ISOQ_TRIED][ISOQ_PRICED];
    isoq_symbol symbol[ISOQ_TRIED][ISOQ_PRICED];
} isoq_tried;

/* Return the point of an index: steps from the rounded prediction, before any flip. half: half of
   the quantizer. */
ISOQ_INLINE float isoq_point_of(int32_t index, float half) {
    return (float)index + (index < 0 ? half : index > 0 ? -half : 0);
}

/* List the indices to try for n latents. Of the points on either side of y, one has an even index
   and one an odd one. A third is tried where it is near: 0, or the second of -1 and 1 where these
   are on either side of 0. */
ISOQ_INLINE void isoq_list_tried(const isoq_priced_latents *latents, int n, isoq_tried *tried) {
    const int32_t *table = latents->table, *shift = latents->shift, *flip = latents->flip;
    const int32_t *rounded = latents->rounded, *quantizer = latents->quantizer;
    const float *y = latents->y;
    ISOQ_INDEPENDENT
    for (int j = 0; j < n; j++) {
        float half = 0.5f * (float)quantizer[j];
        float ahead = isoq_within(y[j]) - (float)rounded[j];
        float target = flip[j] ? -ahead : ahead;
        int32_t cell = (int32_t)(target + half);
        cell -= (float)cell > target + half; /* rounded down: between cell - half, cell + 1 - half */
        int32_t below = cell - (quantizer[j] & (cell < 1));
        int32_t index[ISOQ_TRIED] = {(below + 1) & ~1, below | 1, quantizer[j] & (below == -1)};
        for (int k = 0; k < ISOQ_TRIED; k++) {
            tried->index[k][j] = index[k];
            tried->place[k][j] =
                table[j] * ISOQ_SYMBOLS + isoq_symbol_of(index[k] >> shift[j]);
            tried->miss[k][j] = target - isoq_point_of(index[k], half);
        }
    }
}

/* Return error^2 + trade * bits of coding a latent as `index`, whose point is `miss` from it. */
ISOQ_INLINE float isoq_cost_of(int32_t index, int32_t shift, float miss, isoq_symbol symbol,
                               float trade) {
    int32_t coarse = index >> shift;
    int32_t beyond = (coarse < 0 ? -coarse : coarse) - ISOQ_REACH;
    union {
        float number;
        int32_t bits;
    } exact = {(float)beyond}; /* at most 2^24: exact, and its exponent is its bit length */
    int32_t length = (exact.bits >> 23) - 126;
    float error = miss - (((shift != 0) | (beyond > 0)) ? 0 : symbol.offset);
    float bits = symbol.bits + (beyond > 0 ? (float)ISOQ_LATENT_LENGTH_BITS : 0);
    bits += (float)(beyond > 0 ? length : 0);
    return error * error + trade * (bits + (float)shift);
}

/* Find the cheapest index of each parity for n <= ISOQ_PRICED latents. Three loops: the middle one
   looks the symbols up, and the others become vectors. */
ISOQ_INLINE void isoq_price(const isoq_symbol *symbols, const isoq_priced_latents *latents, int n,
                            float trade, isoq_tried *tried, const isoq_prices *prices) {
    const int32_t *shift = latents->shift, *quantizer = latents->quantizer;
    int32_t *even = prices->even, *odd = prices->odd;
    float *even_cost = prices->even_cost, *odd_cost = prices->odd_cost;
    isoq_list_tried(latents, n, tried);
    for (int k = 0; k < ISOQ_TRIED; k++)
        for (int j = 0; j < n; j++) tried->symbol[k][j] = symbols[tried->place[k][j]];
    ISOQ_INDEPENDENT
    for (int j = 0; j < n; j++) {
        float cost[ISOQ_TRIED];
        for (int k = 0; k < ISOQ_TRIED; k++)
            cost[k] = isoq_cost_of(tried->index[k][j], shift[j], tried->miss[k][j],
                                   tried->symbol[k][j], trade);
        int32_t first = tried->index[0][j], second = tried->index[1][j];
        int32_t below = first < second ? first : second;
        int near_zero = (below == -2) | (below == 1);
        int around_zero = quantizer[j] & (below == -1);
        float zero = near_zero ? cost[2] : INFINITY;
        float one = around_zero ? cost[2] : INFINITY;
        even[j] = zero < cost[0] ? 0 : first;
        odd[j] = one < cost[1] ? 1 : second;
        even_cost[j] = zero < cost[0] ? zero : cost[0];
        odd_cost[j] = one < cost[1] ? one : cost[1];
    }
}

#endif
