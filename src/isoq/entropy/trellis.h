/* Trellis-coded quantization (Marcellin and Fischer 1990): the states, and the points that an index
   stands for. Encoder and decoder share this; viterbi.h has the encoder's search.

   Two quantizers of step 1 take turns. Points of quantizer 0 are a whole number of steps away from
   the rounded prediction; those of quantizer 1 are half a step nearer to it, and one is at it. A
   latent is coded as the index of a point. The parities of the indices of a channel lead through
   the states of a trellis, and the state says which quantizer is next, as in H.266. In effect all
   half steps can be reached, at the rate of whole ones; decoded latents therefore count half steps.
   The strands of a channel have a trellis each.

   Channels whose contexts look at the channel itself have a single trellis of eight states, since
   the encoder finds a context for each. A model chooses that of all others: more states cost the
   encoder little and the decoder nothing (docs/decisions/056-more-states.md).
 */
#ifndef ISOQ_TRELLIS_H
#define ISOQ_TRELLIS_H

#include "context.h"

enum { ISOQ_STATES = 8, ISOQ_MOST_STATES = 128 };

/* Every channel starts in state 0. After state s comes s >> 1, xor `feedback` if s is odd, xor
   `parity` if the index is. */
typedef struct isoq_trellis {
    int states;                        /* 8, 16, 32, 64 or 128 */
    int feedback;                      /* states / 2 ... states - 1 */
    int parity;                        /* 1 ... states / 2 - 1 */
    uint8_t next[ISOQ_MOST_STATES][2]; /* by state and parity, the state after */
} isoq_trellis;

/* Make a trellis of three numbers. Return whether they are possible. */
ISOQ_API int isoq_make_trellis(isoq_trellis *trellis, int32_t states, int32_t feedback,
                               int32_t parity) {
    int is_size = states >= ISOQ_STATES && states <= ISOQ_MOST_STATES && !(states & (states - 1));
    if (!is_size || feedback < states / 2 || feedback >= states || parity < 1 ||
        parity >= states / 2)
        return 0;
    trellis->states = states;
    trellis->feedback = feedback;
    trellis->parity = parity;
    for (int s = 0; s < states; s++)
        for (int odd = 0; odd < 2; odd++)
            trellis->next[s][odd] =
                (uint8_t)((s >> 1) ^ (s & 1 ? feedback : 0) ^ (odd ? parity : 0));
    return 1;
}

/* The trellis of eight states, the best one of this form: 1.08 dB less error than a uniform
   quantizer at the same high rate. */
#define ISOQ_NEXT_OF_EIGHT {{0, 2}, {5, 7}, {1, 3}, {4, 6}, {2, 0}, {7, 5}, {3, 1}, {6, 4}}
static const uint8_t ISOQ_NEXT[ISOQ_STATES][2] = ISOQ_NEXT_OF_EIGHT;
static const isoq_trellis ISOQ_EIGHT_STATES = {ISOQ_STATES, 5, 2, ISOQ_NEXT_OF_EIGHT};

/* Return the quantizer (0 or 1) of a state. */
static inline int isoq_quantizer_of(int state) { return state & 1; }

/* Return the state after an index. next: of the trellis. */
ISOQ_INLINE int isoq_next_state(const uint8_t (*next)[2], int state, int32_t index) {
    return next[state][index & 1];
}

/* Return the trellis of channels that do not look at themselves. */
ISOQ_INLINE const isoq_trellis *isoq_trellis_of(const isoq_context_model *model) {
    return model->trellis ? model->trellis : &ISOQ_EIGHT_STATES;
}

/* Return the latent (half steps) of an index. |index| below 2^60. */
ISOQ_INLINE int64_t isoq_latent_of(const isoq_context *context, int64_t index, int quantizer) {
    int64_t distance = 2 * index - quantizer * ((index > 0) - (index < 0));
    return 2 * (int64_t)context->rounded + (context->flip ? -distance : distance);
}

/* Return the same for an index that leads to a latent in range. In 32 bits, which vectors are made
   of. */
ISOQ_INLINE int32_t isoq_latent_in_range(const isoq_context *context, int32_t index,
                                         int32_t quantizer) {
    int32_t distance = 2 * index - quantizer * ((index > 0) - (index < 0));
    return 2 * context->rounded + (context->flip ? -distance : distance);
}

/* Return where `offset` and `symbols` of the model keep the symbol of an index. */
ISOQ_INLINE int32_t isoq_symbol_place(const isoq_context *context, int32_t index) {
    return context->table * ISOQ_SYMBOLS + isoq_symbol_of(index >> context->shift);
}

/* Return the reconstruction of a latent with this index, in steps. offset: that of its symbol, how
   far the reconstruction is beyond the point, before any flip. It counts for an index with a symbol
   of its own. */
ISOQ_INLINE float isoq_reconstruct(const isoq_context *context, int32_t latent, int32_t index,
                                   float offset) {
    int coarse = (context->shift != 0) | (index < -ISOQ_REACH) | (index > ISOQ_REACH);
    float beyond = coarse ? 0 : offset;
    return 0.5f * (float)latent + (context->flip ? -beyond : beyond);
}

#endif
