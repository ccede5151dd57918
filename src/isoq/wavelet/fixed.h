/* The synthesis in integers: what the decoder does. Every processor and compiler finds the same
   samples.

   A plane has samples in fixed point, with `fraction` bits behind the point. Sums wrap around at 32
   bits. The encoder chooses the fraction so that they do not. */
#ifndef ISOQ_FIXED_H
#define ISOQ_FIXED_H

#include "layout.h"
#include "steps.h"

/* factor * sample in fixed point, rounded. The shift is that of an unsigned number: the lowest 32
   bits are the same, and more processors have it for vectors. */
ISOQ_INLINE int32_t isoq_fixed_term(int64_t near, int32_t a, int64_t far, int32_t b) {
    uint64_t sum = (uint64_t)(near * a + far * b + (1 << (ISOQ_FACTOR_BITS - 1)));
    return (int32_t)(uint32_t)(sum >> ISOQ_FACTOR_BITS);
}

#define ISOQ_SAMPLE int32_t
#define ISOQ_FACTOR int32_t
#define ISOQ_FACTOR_OF(factor) (factor)
#define ISOQ_SUM(a, b) ((int32_t)((uint32_t)(a) + (uint32_t)(b)))
#define ISOQ_TERM(f, a, g, b) isoq_fixed_term(f, a, g, b)
#define ISOQ_TYPED(name) name##_fixed
#include "lifting.inc"
#include "transform.inc"
#undef ISOQ_SAMPLE
#undef ISOQ_FACTOR
#undef ISOQ_FACTOR_OF
#undef ISOQ_SUM
#undef ISOQ_TERM
#undef ISOQ_TYPED

enum {
    ISOQ_UNIT_BITS = 24,    /* of the step of a channel */
    ISOQ_OCTAVE_BITS = 24,  /* of 2^-(k / ISOQ_STEPS_AN_OCTAVE) */
    ISOQ_STEPS_AN_OCTAVE = 128, /* levels in which the step halves */
    ISOQ_RECONSTRUCTION_BITS = 7,
    ISOQ_MOST_FRACTION = 20,
    ISOQ_MOST_COEFFICIENT = 1 << 30
};

/* Dequantized latents. */
typedef struct {
    isoq_layout layout;
    const float *latent;   /* (channels, rows, cols): in steps, multiples of 1/2^7, below 2^23 */
    const int32_t *unit;   /* (channels,): the step at level 0, in 1/2^24 normalized unit */
    const int32_t *octave; /* (rows, cols): 2^24 2^-((level % 128) / 128) */
    const int32_t *shift;  /* (rows, cols): level / 128 + 7 + 24 - fraction, 1 ... 62 */
} isoq_fixed_latents;

/* isoq_take_fixed of isoq_fixed_latents. */
ISOQ_MULTIVERSION void isoq_take_latents(const void *from, int level, int band, int i,
                                         int32_t *row) {
    const isoq_fixed_latents *latents = (const isoq_fixed_latents *)from;
    int side = isoq_side_of(level), cols = latents->layout.cols;
    size_t at = (size_t)(i / side) * (size_t)cols;
    size_t plane = (size_t)latents->layout.rows * (size_t)cols;
    const int32_t *channels = isoq_channels_of(&latents->layout, level, band, i % side);
    const int32_t *octave = latents->octave + at, *shift = latents->shift + at;
    for (int x = 0; x < side; x++) {
        const float *latent = latents->latent + (size_t)channels[x] * plane + at;
        int64_t unit = latents->unit[channels[x]];
        for (int j = 0; j < cols; j++) {
            int64_t step = (unit * octave[j] + (1 << (ISOQ_OCTAVE_BITS - 1))) >> ISOQ_OCTAVE_BITS;
            int32_t parts = (int32_t)(latent[j] * (1 << ISOQ_RECONSTRUCTION_BITS));
            int64_t exact = (parts * step + ((int64_t)1 << (shift[j] - 1))) >> shift[j];
            int64_t most = ISOQ_MOST_COEFFICIENT;
            row[side * j + x] = (int32_t)(exact > most ? most : exact < -most ? -most : exact);
        }
    }
}

#endif
