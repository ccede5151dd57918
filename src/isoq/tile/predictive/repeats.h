/* Find out if flags of repeated samples pay. */
#ifndef ISOQ_REPEATS_H
#define ISOQ_REPEATS_H

#include "surroundings.h"

static const double ISOQ_REPEAT_GAIN = 0.02; /* bits per sample, from which flags are used */

/* Return n times the entropy (bits) of an event that happened `some` times in n. */
ISOQ_API double isoq_entropy(double some, double n) {
    if (!(some > 0 && some < n)) return 0;
    return -some * log2(some / n) - (n - some) * log2(1 - some / n);
}

/* Return whether so many of n samples equal a neighbour, as in images that were enlarged by
   repetition, that flags cost less than residuals. step: of quantization. */
ISOQ_API int isoq_repeats_pay(const isoq_surroundings *around, int64_t n, double step) {
    const float *here = around->row[ISOQ_HERE];
    const float *north = around->row[ISOQ_NORTH];
    const float *corner = around->row[ISOQ_CORNER];
    int64_t same[2] = {0, 0}, hinted[2] = {0, 0}, both[2] = {0, 0}; /* west, north */
    for (int64_t k = 0; k < n; k++) {
        int west = here[k] == 0, west_hint = north[k] == corner[k];
        int above = here[k] == north[k], above_hint = corner[k] == 0;
        same[0] += west;
        hinted[0] += west_hint;
        both[0] += west & west_hint;
        same[1] += above;
        hinted[1] += above_hint;
        both[1] += above & above_hint;
    }
    double size = 2 * exp(1) * around->mean / step; /* of a residual: about 2^bits */
    double gain = (double)(same[0] + same[1]) * log2(size > 1 ? size : 1);
    for (int k = 0; k < 2; k++) {
        gain -= isoq_entropy((double)both[k], (double)hinted[k]);
        gain -= isoq_entropy((double)(same[k] - both[k]), (double)(n - hinted[k]));
    }
    return gain > ISOQ_REPEAT_GAIN * (double)n;
}

#endif
