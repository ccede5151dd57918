/* Trellis-coded quantization (Marcellin and Fischer 1990): the states, and the points that an index
   stands for. Encoder and decoder share this; trellis_search.h has the encoder's search.

   Two quantizers of step 1 take turns. Points of quantizer 0 are a whole number of steps away from
   the rounded prediction; those of quantizer 1 are half a step nearer to it, and one is at it. A
   latent is coded as the index of a point. The parities of the indices of a channel lead through
   the states of a trellis, and the state says which quantizer is next, as in H.266. In effect all
   half steps can be reached, at the rate of whole ones; decoded latents therefore count half steps.
   The strands of a channel have a trellis each, unless its contexts look at the channel itself.
 */
#ifndef ISOQ_TRELLIS_H
#define ISOQ_TRELLIS_H

#include "context.h"

enum { ISOQ_STATES = 8 }; /* every channel starts in state 0 */

/* By state and parity, the state after. Found by trying all linear trellises of this form: 1.08 dB
   less error than a uniform quantizer at the same high rate. */
static const uint8_t ISOQ_NEXT[ISOQ_STATES][2] = {{0, 2}, {5, 7}, {1, 3}, {4, 6},
                                                  {2, 0}, {7, 5}, {3, 1}, {6, 4}};

/* By state, the two states that lead there. */
static const uint8_t ISOQ_BEFORE[ISOQ_STATES][2] = {{0, 4}, {2, 6}, {0, 4}, {2, 6},
                                                    {3, 7}, {1, 5}, {3, 7}, {1, 5}};

/* Return the quantizer (0 or 1) of a state. */
static inline int isoq_quantizer_of(int state) { return state & 1; }

/* Return the state after an index. */
static inline int isoq_next_state(int state, int32_t index) { return ISOQ_NEXT[state][index & 1]; }

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
