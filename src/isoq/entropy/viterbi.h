/* The encoder's search for the cheapest way through a trellis (Viterbi), of one strand or of four
   side by side.

   The trellis is taken as a shift register here. A state is the last bits, the newest one lowest.
   The next bit is the parity of the index and of the bits that `feedback` marks together; that of
   the bits that `parity` marks is the quantizer. This is the trellis of trellis.h with its states
   in another order: both are linear filters from parities to quantizers, and one is the transposed
   form of the other. Here the ways into states 2 j and 2 j + 1 come from states j and j + states /
   2, which have the same quantizer. So the costs of all ways lie in memory as vectors, and a step
   takes four sums, two comparisons and two shuffles for each sixteen of them.

   Costs are integers, so that all processors choose the same: ISOQ_COST_UNIT per squared step, less
   the cheapest of the latent. From any state, as many latents as a state has bits lead to any
   other, so no way is dearer than another by more than ISOQ_MOST_COST for each. The cost of state 0
   is subtracted every few latents, and 16 bits are enough. The costs of all ways at all latents are
   kept. The cheapest way is found backwards through them: a step does not note where it comes from.
 */
#ifndef ISOQ_VITERBI_H
#define ISOQ_VITERBI_H

#include "rans.h"
#include "trellis.h"

enum {
    ISOQ_COST_UNIT = 512,
    ISOQ_MOST_COST = 4 * ISOQ_COST_UNIT,
    ISOQ_UNREACHED = 7 * ISOQ_MOST_COST + 1, /* of states but the first one: beyond all ways of 7
                                                latents, after which all states are reached */
    ISOQ_REBASED = 8,                        /* latents of a strand between subtractions */
    ISOQ_COSTS = 8                           /* in a vector */
};

/* The latents of a channel in groups of one per strand; the last group is filled up. A candidate is
   2 * quantizer + parity. */
typedef struct {
    const isoq_trellis *trellis;
    int groups;
    const int16_t *cost; /* (groups, 4, strands): of candidates */
    int16_t *ways;       /* (groups + 1, states, strands): costs, memory of the search */
    int32_t *choice;     /* (groups, strands): the candidates of the cheapest ways */
} isoq_search;

ISOQ_INLINE int isoq_parity(int bits) {
    for (int shift = 4; shift; shift /= 2) bits ^= bits >> shift;
    return bits & 1;
}

/* Return the candidate of the step from state j, of the lower half, to state 2 j. With the other
   parity it leads to 2 j + 1, and from j + states / 2 it is the other way round. */
ISOQ_INLINE int isoq_candidate_from(const isoq_trellis *trellis, int j) {
    return 2 * isoq_parity(j & trellis->parity) + isoq_parity(j & trellis->feedback);
}

/* Return a vector of the costs of one state in all strands, again and again. */
ISOQ_INLINE isoq_short8 isoq_spread(const int16_t *cost, const int strands) {
    if (strands == 1) {
        int16_t c = cost[0];
        return isoq_short8_of(c, c, c, c, c, c, c, c);
    }
    int16_t a = cost[0], b = cost[1], c = cost[2], d = cost[3];
    return isoq_short8_of(a, b, c, d, a, b, c, d);
}

/* Store the costs of states by turns from a and from b, of all strands each. are_both: there are
   eight in a; else four. */
ISOQ_INLINE void isoq_store_by_turns(int16_t *to, isoq_short8 a, isoq_short8 b, int are_both,
                                     const int strands) {
    int one = strands == 1;
    isoq_short8_store(to, one ? ISOQ_SHORT8_PICK(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
                              : ISOQ_SHORT8_PICK(a, b, 0, 1, 2, 3, 8, 9, 10, 11));
    if (are_both)
        isoq_short8_store(to + ISOQ_COSTS,
                          one ? ISOQ_SHORT8_PICK(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
                              : ISOQ_SHORT8_PICK(a, b, 4, 5, 6, 7, 12, 13, 14, 15));
}

/* Load the costs of ways that end in states of the upper half. low: those of the lower half, at
   `from`; with eight states of one strand, they share a vector. */
ISOQ_INLINE isoq_short8 isoq_load_upper(const int16_t *from, isoq_short8 low, int half) {
    if (half >= ISOQ_COSTS) return isoq_short8_load(from + half);
    return ISOQ_SHORT8_PICK(low, low, 4, 5, 6, 7, 4, 5, 6, 7);
}

/* By the candidate of a step from the first state of a vector: the costs of such steps, from all
   states of the vector. */
typedef struct {
    isoq_short8 of[4];
} isoq_vector_costs;

/* Return the costs of steps, given those of candidates less `base`. quantizer, parity: masks of the
   bits in which the candidates from the states of a vector differ from that of its first one. */
ISOQ_INLINE isoq_vector_costs isoq_vector_costs_of(const int16_t *cost, isoq_short8 base,
                                                   isoq_short8 quantizer, isoq_short8 parity,
                                                   const int strands) {
    isoq_short8 given[4];
    isoq_vector_costs costs;
    for (int k = 0; k < 4; k++)
        given[k] = isoq_short8_subtract(isoq_spread(cost + k * strands, strands), base);
    for (int k = 0; k < 4; k++) {
        isoq_short8 same = isoq_short8_choose(quantizer, given[k], given[k ^ 2]);
        isoq_short8 other = isoq_short8_choose(quantizer, given[k ^ 1], given[k ^ 3]);
        costs.of[k] = isoq_short8_choose(parity, same, other);
    }
    return costs;
}

/* Find the costs of all ways of all strands. */
ISOQ_INLINE void isoq_find_costs(const isoq_search *search, const int states, const int strands) {
    const isoq_trellis *trellis = search->trellis;
    const int half = states / 2 * strands, apart = ISOQ_COSTS / strands;
    int16_t quantizers[ISOQ_COSTS], parities[ISOQ_COSTS];
    int candidate[ISOQ_MOST_STATES / 2];
    for (int j = 0; j < states / 2; j++) candidate[j] = isoq_candidate_from(trellis, j);
    for (int k = 0; k < ISOQ_COSTS; k++) {
        int differs = isoq_candidate_from(trellis, k / strands);
        quantizers[k] = (int16_t)(-(differs >> 1));
        parities[k] = (int16_t)(-(differs & 1));
    }
    isoq_short8 quantizer = isoq_short8_load(quantizers), parity = isoq_short8_load(parities);
    isoq_short8 zero = isoq_short8_of(0, 0, 0, 0, 0, 0, 0, 0);
    for (int k = 0; k < states * strands; k++)
        search->ways[k] = (int16_t)(k < strands ? 0 : ISOQ_UNREACHED);
    for (int g = 0; g < search->groups; g++) {
        const int16_t *before = search->ways + (size_t)g * 2 * half;
        int16_t *after = search->ways + (size_t)(g + 1) * 2 * half;
        isoq_short8 base = g % ISOQ_REBASED ? zero : isoq_spread(before, strands);
        isoq_vector_costs step = isoq_vector_costs_of(search->cost + (size_t)g * 4 * strands, base,
                                                      quantizer, parity, strands);
        for (int k = 0; k < half; k += ISOQ_COSTS) {
            int first = half > ISOQ_COSTS ? candidate[k / ISOQ_COSTS * apart] : 0;
            isoq_short8 straight = step.of[first], crossed = step.of[first ^ 1];
            isoq_short8 low = isoq_short8_load(before + k);
            isoq_short8 high = isoq_load_upper(before + k, low, half);
            isoq_short8 even =
                isoq_short8_least(isoq_short8_add(low, straight), isoq_short8_add(high, crossed));
            isoq_short8 odd =
                isoq_short8_least(isoq_short8_add(low, crossed), isoq_short8_add(high, straight));
            isoq_store_by_turns(after + 2 * k, even, odd, half >= ISOQ_COSTS, strands);
        }
    }
}

/* Choose the candidates of the cheapest way of each strand, from the last group to the first. What
   the state before needs is looked up for both that may be it: then no look-up waits for the choice
   between them. */
ISOQ_INLINE void isoq_follow_ways(const isoq_search *search, const int states, const int strands) {
    int lead[ISOQ_MOST_STATES], state[ISOQ_STRANDS], straight[ISOQ_STRANDS];
    const int16_t *end = search->ways + (size_t)search->groups * (size_t)(states * strands);
    for (int s = 0; s < states; s++)
        lead[s] = isoq_candidate_from(search->trellis, s / 2) ^ (s & 1);
    for (int k = 0; k < strands; k++) {
        state[k] = 0;
        for (int s = 1; s < states; s++)
            if (end[s * strands + k] < end[state[k] * strands + k]) state[k] = s;
        straight[k] = lead[state[k]];
    }
    for (int g = search->groups; g-- > 0;) {
        const int16_t *ways = search->ways + (size_t)g * (size_t)(states * strands);
        const int16_t *cost = search->cost + (size_t)g * 4 * strands;
        int32_t *choice = search->choice + (size_t)g * strands;
        for (int k = 0; k < strands; k++) {
            int low = state[k] / 2, high = low + states / 2, crossed = straight[k] ^ 1;
            int lead_of_low = lead[low], lead_of_high = lead[high];
            int from_low = ways[low * strands + k] + cost[straight[k] * strands + k];
            int from_high = ways[high * strands + k] + cost[crossed * strands + k];
            int is_high = from_high < from_low;
            choice[k] = straight[k] ^ is_high;
            state[k] = low + (-is_high & (states / 2));
            straight[k] = lead_of_low ^ (-is_high & (lead_of_low ^ lead_of_high));
        }
    }
}

ISOQ_INLINE void isoq_search_with(const isoq_search *search, const int states, const int strands) {
    isoq_find_costs(search, states, strands);
    isoq_follow_ways(search, states, strands);
}

/* Choose the candidates of the cheapest way of every strand, which starts in state 0. The compiler
   makes a function of every number of states. strands: 1 or ISOQ_STRANDS. */
ISOQ_INLINE void isoq_search_ways(const isoq_search *search, const int strands) {
    int states = search->trellis->states;
    if (states == 8) isoq_search_with(search, 8, strands);
    if (states == 16) isoq_search_with(search, 16, strands);
    if (states == 32) isoq_search_with(search, 32, strands);
    if (states == 64) isoq_search_with(search, 64, strands);
    if (states == 128) isoq_search_with(search, 128, strands);
}

#endif
