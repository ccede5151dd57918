/* The wavelets as lifting steps.

   A line of samples is split into even samples, which become the low-pass band, and odd ones, which
   become the high-pass band. Each step adds to all samples of one half a symmetric sum over the
   other half (Daubechies and Sweldens 1998). The steps of the analysis are undone one by one, in
   reverse order, by the synthesis.

   A wavelet is defined by its factors in 1/2^16, so that integers and floats compute the same one.
   Bands come out unscaled: transform.py knows the factors to an orthonormal transform. */
#ifndef ISOQ_STEPS_H
#define ISOQ_STEPS_H

#include "compiler.h"

enum {
    ISOQ_MOST_STEPS = 6,
    ISOQ_FACTOR_BITS = 16,
    ISOQ_ROOM = 2 /* samples beyond its own index and the next that a step looks at */
};

/* One step. With low[i] and high[i] for samples 2 i and 2 i + 1 of the line:

     to_low       low[i] += near (high[i - 1] + high[i]) + far (high[i - 2] + high[i + 1])
     not to_low   high[i] += near (low[i] + low[i + 1]) + far (low[i - 1] + low[i + 2])   */
typedef struct {
    int to_low;
    int32_t near, far; /* in 1/2^16 */
} isoq_step;

typedef struct {
    int count;
    isoq_step step[ISOQ_MOST_STEPS]; /* in the order of the analysis */
} isoq_steps;

/* The filters of Cohen, Daubechies and Feauveau 1992 with 9 and 7 and with 17 and 11 taps. */
static const isoq_steps ISOQ_CDF_9_7 = {
    4, {{0, -103949, 0}, {1, -3472, 0}, {0, 57862, 0}, {1, 29066, 0}}};
static const isoq_steps ISOQ_CDF_17_11 = {6,
                                          {{0, -65349, 0},
                                           {1, 17925, 0},
                                           {0, -25393, 0},
                                           {1, -18776, 0},
                                           {0, 35953, 0},
                                           {1, 22532, -6542}}};

/* What a transform does with the steps. */
typedef enum {
    ISOQ_ANALYSIS, /* line to bands */
    ISOQ_SYNTHESIS, /* bands to line: the inverse of the analysis */
    ISOQ_DUAL /* line to bands: scalar products with the basis functions of the synthesis */
} isoq_direction;

/* Return the steps in the order and with the signs in which a direction takes them. */
ISOQ_API isoq_steps isoq_steps_of(const isoq_steps *analysis, isoq_direction direction) {
    isoq_steps steps = *analysis;
    for (int k = 0; k < steps.count; k++) {
        int from = direction == ISOQ_SYNTHESIS ? steps.count - 1 - k : k;
        int sign = direction == ISOQ_ANALYSIS ? 1 : -1;
        isoq_step step = analysis->step[from];
        steps.step[k].to_low = direction == ISOQ_DUAL ? !step.to_low : step.to_low;
        steps.step[k].near = sign * step.near;
        steps.step[k].far = sign * step.far;
    }
    return steps;
}

/* Return how many samples of the other half beyond its own index a step looks ahead and back. */
ISOQ_API int isoq_ahead(isoq_step step) { return (step.far != 0) + !step.to_low; }
ISOQ_API int isoq_back(isoq_step step) { return (step.far != 0) + (step.to_low != 0); }

/* Rows are lifted while they come in: when pair `t` of rows is there, step k lifts row t - delay[k].
   Set the delays so that every step finds the rows of the other half as the step before left them.
   Return the last delay: pair t is complete when pair t plus that many has come. */
ISOQ_API int isoq_schedule(const isoq_steps *steps, int *delay) {
    int last = 0, wait = 0;
    for (int k = 0; k < steps->count; k++) {
        int ahead = isoq_ahead(steps->step[k]);
        last += ahead > wait ? ahead : wait;
        wait = isoq_back(steps->step[k]);
        delay[k] = last;
    }
    return last;
}

/* Return the sample of a half that index `i` stands for. Lines, of n pairs, continue as if mirrored
   about their first and last samples, in all directions. i: -2 ... n + 1; n: at least 4. */
ISOQ_API int isoq_mirrored_low(int i, int n) { return i < 0 ? -i : i < n ? i : 2 * n - 1 - i; }
ISOQ_API int isoq_mirrored_high(int i, int n) {
    return i < 0 ? -1 - i : i < n ? i : 2 * n - 2 - i;
}

#endif
