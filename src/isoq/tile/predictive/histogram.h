/* Adaptive tables of residuals: one for each degree of expected magnitude.

   A histogram counts the symbols that its table coded, and makes a new table of the counts now and
   then: isoq_expect sets the expectation before anything is seen, isoq_observe counts. */
#ifndef ISOQ_HISTOGRAM_H
#define ISOQ_HISTOGRAM_H

#include "plan.h"

enum {
    ISOQ_DEGREES = 144, /* of expected magnitude, 4 per octave */
    ISOQ_GAIN = 32,     /* weight of an occurrence */
    ISOQ_EXPECTED = 24, /* occurrences that the first table counts as */
    ISOQ_OLDEST = 4096  /* occurrences after which the past counts half */
};

typedef struct {
    uint32_t count[ISOQ_SYMBOLS];
    uint32_t total; /* sum of the counts */
    uint32_t seen;  /* occurrences, the past halved */
    uint32_t next;  /* of them, when the table is made anew */
    uint16_t cdf[ISOQ_SYMBOLS + 1];
} isoq_histogram;

/* Return the degree of an expected magnitude, in 1/16 step. */
ISOQ_INLINE int isoq_degree_of(uint64_t magnitude) {
    if (magnitude < 4) return (int)magnitude;
    int octave = isoq_bit_length(magnitude) - 1;
    int degree = 4 * (octave - 1) + (int)(magnitude >> (octave - 2) & 3);
    return degree < ISOQ_DEGREES ? degree : ISOQ_DEGREES - 1;
}

/* Return how many low bits of a residual of this degree are coded as they are: 0 ... 31. */
static inline int isoq_low_bits_of(int degree) { return degree / 4 > 4 ? degree / 4 - 4 : 0; }

/* Make the table of the counts. Each symbol keeps at least 1 of 2^15. */
ISOQ_API void isoq_make_table(isoq_histogram *histogram) {
    assert(histogram->total > 0);
    uint64_t sum = 0;
    for (int s = 0; s < ISOQ_SYMBOLS; s++) {
        uint64_t share = sum * (ISOQ_TOTAL - ISOQ_SYMBOLS) / histogram->total;
        histogram->cdf[s] = (uint16_t)((uint64_t)s + share);
        sum += histogram->count[s];
    }
    histogram->cdf[ISOQ_SYMBOLS] = ISOQ_TOTAL;
}

/* Count a symbol. */
ISOQ_API void isoq_observe(isoq_histogram *histogram, int symbol) {
    assert(symbol >= 0 && symbol < ISOQ_SYMBOLS);
    histogram->count[symbol] += ISOQ_GAIN;
    histogram->total += ISOQ_GAIN;
    if (++histogram->seen < histogram->next) return;
    if (histogram->seen >= ISOQ_OLDEST) {
        histogram->total = 0;
        for (int s = 0; s < ISOQ_SYMBOLS; s++) {
            histogram->count[s] = (histogram->count[s] + 1) / 2;
            histogram->total += histogram->count[s];
        }
        histogram->seen /= 2;
    }
    uint32_t seen = histogram->seen;
    histogram->next = seen + (seen < 8 ? 8 : seen < 256 ? seen : 256);
    isoq_make_table(histogram);
}

/* Set a histogram to the frequencies expected of a degree: two-sided geometric ones with the mean
   magnitude of the degree. `mean` is in 1/32 of the integers that a symbol covers. */
ISOQ_API void isoq_expect(isoq_histogram *histogram, int degree) {
    assert(degree >= 0 && degree < ISOQ_DEGREES);
    uint32_t octave = (uint32_t)degree / 4, quarter = (uint32_t)degree % 4;
    uint32_t mean = 2 * (uint32_t)degree + 1;
    if (octave) mean = (2 * (4 + quarter) + 1) << (octave < 4 ? octave - 1 : 3);
    uint32_t weight[ISOQ_SYMBOLS], power = 1u << 10, sum = 0;
    for (int k = 0; k <= ISOQ_REACH; k++, power = power * mean / (mean + 32)) {
        weight[ISOQ_REACH + k] = power + 1;
        weight[ISOQ_REACH - k] = power + 1;
    }
    weight[ISOQ_ESCAPE] = 1;
    for (int s = 0; s < ISOQ_SYMBOLS; s++) sum += weight[s];
    histogram->total = 0;
    histogram->seen = 0;
    histogram->next = 8;
    for (int s = 0; s < ISOQ_SYMBOLS; s++) {
        histogram->count[s] = weight[s] * ISOQ_EXPECTED * ISOQ_GAIN / sum + 1;
        histogram->total += histogram->count[s];
    }
    isoq_make_table(histogram);
}

#endif
