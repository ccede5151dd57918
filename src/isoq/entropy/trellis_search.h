/* The encoder's search through the trellis (Viterbi): costs of indices, and the cheapest way.

   From each state a way goes on with an even or an odd index. isoq_choose finds the cheapest index
   of each parity, for one context and quantizer; isoq_advance_ways extends the cheapest way into
   each of the eight states by one latent. The cost is error^2 + trade * bits, in squared steps.

   What is chosen here must not depend on the processor: the extension is compiled without fused
   products (-ffp-contract=off), and the functions have no branches, so that loops over them become
   vectors. */
#ifndef ISOQ_TRELLIS_SEARCH_H
#define ISOQ_TRELLIS_SEARCH_H

#include "trellis.h"

/* ---- Candidates ---- */

/* Return y (steps) within the range of latents. No number counts as the lower end. The limit leaves
   room for rounding: floats near it are whole steps. */
ISOQ_INLINE float isoq_within(float y) {
    float most = ISOQ_MAX_LATENT - 8;
    return y > most ? most : y > -most ? y : -most;
}

/* Return the point of an index: steps from the rounded prediction, before any flip. */
ISOQ_INLINE float isoq_point_of(int32_t index, int quantizer) {
    float half = index == 0 ? 0 : 0.5f * (float)quantizer;
    return (float)(((quantizer != 0) & (index < 0)) ? index + 1 : index) - half;
}

/* Return error^2 + trade * bits of coding `target` (steps from the rounded prediction, flipped) as
   `index`, whose point is `point`. */
ISOQ_INLINE float isoq_cost_of(const isoq_context_model *model, const isoq_context *context,
                               float target, float point, int32_t index, float trade) {
    float error = target - point - isoq_offset_of(model, context, index);
    int32_t coarse = index >> context->shift;
    int32_t beyond = (coarse < 0 ? -coarse : coarse) - ISOQ_REACH;
    union {
        float number;
        int32_t bits;
    } exact = {(float)beyond}; /* at most 2^24: exact, and its exponent is its bit length */
    float bits = model->bits[isoq_symbol_place(context, index)];
    float escaped = bits + 5 + (float)((exact.bits >> 23) - 126);
    return error * error + trade * ((beyond > 0 ? escaped : bits) + (float)context->shift);
}

/* The cheapest even and the cheapest odd index. */
typedef struct {
    float cost[2];
    int32_t index[2];
} isoq_choice;

/* Return the cheapest index of each parity for y (steps, isoq_within). Of the points on either side
   of y, one has an even index and one an odd one. A third is tried where it is near: 0, or the
   second of -1 and 1 where these are on either side of 0. */
ISOQ_INLINE isoq_choice isoq_choose(const isoq_context_model *model, const isoq_context *context,
                                    int quantizer, float y, float trade) {
    float ahead = y - (float)context->rounded;
    float behind = (float)context->rounded - y;
    float half = 0.5f * (float)quantizer;
    float target = context->flip ? behind : ahead;
    int32_t cell = (int32_t)(target + half);
    cell -= (float)cell > target + half; /* rounded down: between cell - half and cell + 1 - half */
    int32_t below = ((quantizer != 0) & (cell < 1)) ? cell - 1 : cell;
    int32_t even = (below + 1) & ~1;
    int32_t odd = below | 1;
    int around_zero = (quantizer != 0) & (below == -1);
    int near_zero = (below == -2) | (below == 1);
    int32_t third = around_zero ? 1 : 0;
    float even_cost =
        isoq_cost_of(model, context, target, isoq_point_of(even, quantizer), even, trade);
    float odd_cost =
        isoq_cost_of(model, context, target, isoq_point_of(odd, quantizer), odd, trade);
    float third_cost =
        isoq_cost_of(model, context, target, isoq_point_of(third, quantizer), third, trade);
    float zero = near_zero ? third_cost : INFINITY;
    float one = around_zero ? third_cost : INFINITY;
    return (isoq_choice){{zero < even_cost ? zero : even_cost, one < odd_cost ? one : odd_cost},
                         {zero < even_cost ? 0 : even, one < odd_cost ? 1 : odd}};
}

/* ---- Ways ---- */

/* Costs of the cheapest ways that end in states 0 ... 3 and 4 ... 7. */
typedef struct {
    isoq_float4 low, high;
} isoq_ways;

/* Costs of a step into states 0 ... 3 and 4 ... 7, from the first and from the second of the states
   that lead there (ISOQ_BEFORE). */
typedef struct {
    isoq_float4 low_first, low_second, high_first, high_second;
} isoq_step_costs;

/* Return the ways of no latents, which all end in `state`. */
ISOQ_API isoq_ways isoq_ways_from(int state) {
    assert(state >= 0 && state < ISOQ_STATES);
    float cost[ISOQ_STATES];
    for (int k = 0; k < ISOQ_STATES; k++) cost[k] = state == k ? 0 : INFINITY;
    return (isoq_ways){isoq_float4_load(cost), isoq_float4_load(cost + 4)};
}

/* Return the cheapest way into each state that is one latent longer. The lowest bit of second[s]
   (ISOQ_STATES) says whether it comes from the second of the states before s. */
ISOQ_INLINE isoq_ways isoq_advance_ways(isoq_ways ways, isoq_step_costs step, int32_t *second) {
    isoq_float4 from_0_2 = ISOQ_FLOAT4_PICK(ways.low, 0, 2, 0, 2);
    isoq_float4 from_4_6 = ISOQ_FLOAT4_PICK(ways.high, 0, 2, 0, 2);
    isoq_float4 from_3_1 = ISOQ_FLOAT4_PICK(ways.low, 3, 1, 3, 1);
    isoq_float4 from_7_5 = ISOQ_FLOAT4_PICK(ways.high, 3, 1, 3, 1);
    isoq_ways longer;
    longer.low = isoq_float4_least(isoq_float4_add(from_0_2, step.low_first),
                                   isoq_float4_add(from_4_6, step.low_second), second);
    longer.high = isoq_float4_least(isoq_float4_add(from_3_1, step.high_first),
                                    isoq_float4_add(from_7_5, step.high_second), second + 4);
    return longer;
}

/* Return the state in which the cheapest way ends; the first of equal ones. */
ISOQ_API int isoq_cheapest(isoq_ways ways) {
    int state = 0;
    float cost[ISOQ_STATES];
    isoq_float4_store(cost, ways.low);
    isoq_float4_store(cost + 4, ways.high);
    for (int s = 1; s < ISOQ_STATES; s++)
        if (cost[s] < cost[state]) state = s;
    return state;
}

#endif
