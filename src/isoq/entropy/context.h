/* The context of a latent: which table codes it, and around which value.

   Two sums over latents that are already decoded predict a latent: its expected magnitude, and its
   value. isoq_context_at turns them into a context. The octave and eighth of an octave of the
   magnitude choose the table; the value is rounded, and the table codes the difference. Its
   fractional part, folded at the middle (`flip`), chooses between three variants of the table.
   Where latents are large, the table codes the difference without its lowest bits (`shift`).

   Everything is integer arithmetic, or exact in doubles: encoder and decoder find the same context
   on every processor. docs/format.md says the same in words.

   Units: a step is the quantization step at the latent's place. Latents count half steps. */
#ifndef ISOQ_CONTEXT_H
#define ISOQ_CONTEXT_H

#include "table_integers.h"

enum {
    ISOQ_STEPS_PER_OCTAVE = 8,
    ISOQ_LEVELS = 19 * ISOQ_STEPS_PER_OCTAVE, /* of expected magnitude */
    ISOQ_BUCKETS = 3,                         /* of the fractional part of the predicted value */
    ISOQ_QUANTIZERS = 2,                      /* see trellis.h */
    ISOQ_TABLES_PER_QUANTIZER = ISOQ_LEVELS * ISOQ_BUCKETS,
    ISOQ_REST = 2,                            /* magnitude of a zero, in 1/16 step */
    ISOQ_OWN = 6,                             /* neighbours in the channel: magnitudes */
    ISOQ_OWN_VALUE = 4,                       /* and values */
    ISOQ_MAX_MAGNITUDE = 1 << 20,             /* in 1/16 step: larger neighbours count as this */
    ISOQ_MAX_VALUE = 1 << 26,
    ISOQ_MAX_LATENT = 1 << 23 /* in steps */
};

/* Weights of earlier channels: those of channel c are entries start[c] ... start[c + 1] - 1. Each
   is of a channel before c and of a place around the latent, 3 (row + 1) + column + 1. */
typedef struct {
    const int32_t *start, *channel, *place, *weight;
} isoq_sparse_weights;

/* A symbol of a table, for the encoder. */
typedef struct {
    float offset; /* reconstruction minus point, in steps */
    float bits;   /* code length */
} isoq_symbol;

/* isoq/entropy/context.py checks the arrays: weights of magnitudes are not negative and add up to
   2^20 at most per channel, those of values to 2^17 in magnitude; each row of `cdf` is a table. */
typedef struct {
    isoq_sparse_weights around; /* of magnitudes, 1/2^13 */
    isoq_sparse_weights value;  /* of values, 1/2^12; always place 4, the same one */
    const int32_t *own;         /* (channels, ISOQ_OWN): west, north, north-west, north-east,
                                   second west, second north */
    const int32_t *own_value;   /* (channels, ISOQ_OWN_VALUE): the first four */
    const int32_t *bias;        /* (channels,): of the magnitude, 1/2^17 step, not negative */
    const uint8_t *group;       /* (channels,): group of tables */
    const uint16_t *cdf;        /* (groups, ISOQ_QUANTIZERS, ISOQ_LEVELS, ISOQ_BUCKETS,
                                   ISOQ_SYMBOLS + 1) */
    const float *offset;        /* (same, ISOQ_SYMBOLS): reconstruction minus point, in steps */
    const isoq_symbol *symbols; /* (same, ISOQ_SYMBOLS); the encoder's alone */
    const struct isoq_subband_predictor *predictor; /* null: there is none */
    const struct isoq_trellis *trellis;             /* null: that of eight states */
} isoq_context_model;

/* The latents of a tile, and the step at each place: g = finest step in the tile / step, 0 < g
   <= 1. Neighbours are kept in units of the finest step. Latent j of a channel belongs to strand j
   mod strands: see rans.h and trellis.h. */
typedef struct {
    int channels, rows, cols; /* at least 1 each */
    int strands;              /* 1 or ISOQ_STRANDS */
    const int32_t *up;        /* (rows, cols): 2^16 g */
    const int32_t *down;      /* (rows, cols): 2^6 / g */
    const int32_t *below, *octave, *shift; /* (rows, cols), for predictors: levels of quality below
                                              the finest; see isoq_fixed_latents */
} isoq_grid;

/* What a predictor (subband_predictor.h) adds to the context of a latent. */
typedef struct {
    int32_t value;     /* in 1/16 step, at most 2^28 in magnitude */
    int32_t magnitude; /* in levels */
} isoq_move;

/* The moves of all latents of some channels, from number `first` on. */
typedef struct {
    int first;
    int32_t *value;    /* (channels, rows, cols) */
    int8_t *magnitude; /* same */
} isoq_moves;

typedef struct {
    int table;       /* row of cdf; of quantizer 0 until isoq_with_quantizer */
    int shift;       /* low bits that are coded as they are */
    int flip;        /* whether differences change sign */
    int32_t rounded; /* predicted value, in whole steps */
    int32_t mu;      /* the same before any move, in 1/16 step: later contexts measure from here */
} isoq_context;

/* A double, and its bits as an integer. */
typedef union {
    double number;
    int64_t bits;
} isoq_double_bits;

ISOQ_INLINE int64_t isoq_clamp(int64_t value, int64_t limit) {
    return value > limit ? limit : value < -limit ? -limit : value;
}

/* Return the level of a magnitude, 0 ... ISOQ_LEVELS - 1. expected: 0 ... 2^52 - 1, 1/2^17 step. As
   a double its exponent is the octave, and the leading three bits of its fraction are the eighth.
 */
ISOQ_INLINE int isoq_level_of(int64_t expected) {
    isoq_double_bits exact = {.bits = expected | 0x433ll << 52}; /* 2^52 + expected */
    exact.number -= 4503599627370496.0;
    int level = (int)(exact.bits >> 49) - ISOQ_STEPS_PER_OCTAVE * (1023 + 10);
    return level < 0 ? 0 : level > ISOQ_LEVELS - 1 ? ISOQ_LEVELS - 1 : level;
}

/* Return the context of a latent of channel `c`, for quantizer 0. magnitude, value: sums over its
   neighbours, in 1/2^17 and 1/2^16 step of the finest; up: of the grid. With the bounds of the
   weights, the expected magnitude is below 2^41. */
ISOQ_INLINE isoq_context isoq_context_at(const isoq_context_model *model, int c, int64_t magnitude,
                                         int64_t value, int32_t up, isoq_move move) {
    isoq_context context;
    int level = isoq_level_of(((magnitude * up) >> 16) + model->bias[c]) + move.magnitude;
    level = level < 0 ? 0 : level > ISOQ_LEVELS - 1 ? ISOQ_LEVELS - 1 : level;
    int shift = level / ISOQ_STEPS_PER_OCTAVE - 8; /* the octave, in steps, less one */
    int64_t scaled = (isoq_clamp(value, (int64_t)1 << 44) * up) >> 28;
    context.shift = shift > 0 ? shift : 0;
    context.mu = (int32_t)isoq_clamp(scaled, 16 * (int64_t)ISOQ_MAX_LATENT);
    int32_t moved = (int32_t)isoq_clamp((int64_t)context.mu + move.value,
                                        16 * (int64_t)ISOQ_MAX_LATENT);
    context.rounded = (moved + 8) >> 4;
    int fraction = moved - 16 * context.rounded; /* -8 ... 7 */
    context.flip = fraction < 0;
    fraction = context.flip ? -fraction : fraction;
    int bucket = (fraction > 2) + (fraction > 5);
    int row = model->group[c] * ISOQ_QUANTIZERS * ISOQ_LEVELS + level;
    context.table = row * ISOQ_BUCKETS + (context.shift ? 0 : bucket);
    return context;
}

/* Return the same context for a quantizer (0 or 1). */
ISOQ_INLINE isoq_context isoq_with_quantizer(isoq_context context, int quantizer) {
    context.table += quantizer * ISOQ_TABLES_PER_QUANTIZER;
    return context;
}

/* Find what contexts of later latents see of a latent (half steps, at most 2^24 in magnitude): how
   far it is from its prediction (0 ... ISOQ_MAX_MAGNITUDE), and its value, both in 1/16 of the
   finest step; down: of the grid. */
ISOQ_INLINE void isoq_as_neighbour(int32_t latent, const isoq_context *context, int32_t down,
                                   int32_t *magnitude, int32_t *value) {
    int32_t distance = 8 * latent - context->mu;
    int32_t least = (distance < 0 ? -distance : distance) + ISOQ_REST;
    int64_t scaled = ((int64_t)least * down) >> 6;
    *magnitude = (int32_t)(scaled > ISOQ_MAX_MAGNITUDE ? ISOQ_MAX_MAGNITUDE : scaled);
    *value = (int32_t)isoq_clamp(((int64_t)(8 * latent) * down) >> 6, ISOQ_MAX_VALUE);
}

#endif
