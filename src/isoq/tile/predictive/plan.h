/* The plan of each plane in a predictive stream, and the constants of the format. docs/format.md
   has the same in words. */
#ifndef ISOQ_PLAN_H
#define ISOQ_PLAN_H

#include "table_integers.h"

enum {
    ISOQ_REFERENCES = 3, /* earlier planes that a plane may look at */
    ISOQ_OWN_TAPS = 10,  /* weights of samples of the plane itself */
    ISOQ_FIRST_TAPS = 9, /* of the first reference */
    ISOQ_OTHER_TAPS = 5, /* of each other reference */
    ISOQ_TAPS = 29,      /* of all of them */
    ISOQ_OWN_ACTIVITIES = 6,
    ISOQ_FIRST_ACTIVITIES = 5,
    ISOQ_ACTIVITIES = 11,
    ISOQ_WEIGHT_BITS = 10, /* a weight of 1 is 2^10 */
    ISOQ_ACTIVITY_BITS = 7,
    ISOQ_MAX_WEIGHT = 1 << 14,
    ISOQ_MAX_ACTIVITY = 1 << 8,
    ISOQ_FRACTION = 16,                /* units of predictions and distances per unit of samples */
    ISOQ_MAX_DISTANCE = (1 << 30) - 1, /* larger distances count as this */
    ISOQ_STEP_PARTS = 8
};

/* Places that weights are of: row, column, relative to the sample. The first two of the plane
   itself are in the same row, all others in rows above. */
static const int8_t ISOQ_OWN_PLACES[ISOQ_OWN_TAPS][2] = {
    {0, -1}, {0, -2}, {-1, 0}, {-1, -1}, {-1, 1}, {-2, 0}, {-2, 1}, {-1, 2}, {-1, -2}, {-2, -1}};
static const int8_t ISOQ_REFERENCE_PLACES[ISOQ_FIRST_TAPS][2] = {
    {0, -1}, {0, 0}, {-1, 0}, {0, 1}, {1, 0}, {-1, -1}, {-1, 1}, {1, -1}, {1, 1}};
static const int8_t ISOQ_OWN_ACTIVITY_PLACES[ISOQ_OWN_ACTIVITIES][2] = {{0, -1},  {0, -2}, {-1, 0},
                                                                        {-1, -1}, {-1, 1}, {-2, 0}};
static const int8_t ISOQ_REFERENCE_ACTIVITY_PLACES[ISOQ_FIRST_ACTIVITIES][2] = {
    {0, 0}, {0, 1}, {1, 0}, {0, -1}, {-1, 0}};

/* Added to the step of a row, in 1/8, before it is rounded down, so that the rows whose step is
   rounded up alternate. */
static const int32_t ISOQ_TURNS[ISOQ_STEP_PARTS] = {0, 4, 2, 6, 1, 5, 3, 7};

/* Arrays by plane, checked in _kernel.pyx. */
typedef struct {
    const int32_t
        *reference;        /* (planes, ISOQ_REFERENCES): earlier planes; -1 for none, at the end */
    const int32_t *weight; /* (planes, ISOQ_TAPS): below ISOQ_MAX_WEIGHT in magnitude */
    const int32_t *activity; /* (planes, ISOQ_ACTIVITIES): 0 ... ISOQ_MAX_ACTIVITY */
    const int32_t *range;    /* (planes, 2): least and largest valid sample */
    const int64_t
        *avoided; /* (planes,): no valid sample is decoded to this; beyond int32 for none */
    const uint8_t *repeats; /* (planes,): whether repeated samples are flagged */
    const int32_t *step;    /* (planes, grid rows, grid cols): of quantization, in 1/8, 8 or more: 8
                               for none, 12 for 1 and 2 in turn */
} isoq_plan;

/* Shapes; the grid of steps has a place for each block x block samples. */
typedef struct {
    int planes, rows, cols, block, grid_cols; /* at least 1 each */
    const uint8_t *valid;                     /* (planes, rows, cols): the samples that are coded */
} isoq_extent;

/* Return the number of weights of reference `r`. */
static inline int isoq_taps_of(int r) { return r ? ISOQ_OTHER_TAPS : ISOQ_FIRST_TAPS; }

static inline int64_t isoq_limited(int64_t value, int64_t least, int64_t most) {
    return value < least ? least : value > most ? most : value;
}

/* Return the number of steps nearest to `distance`; step: 1 or more. */
static inline int64_t isoq_steps_to(int64_t distance, int64_t step) {
    if (step == 1) return distance;
    return distance >= 0 ? (distance + step / 2) / step : -((-distance + step / 2) / step);
}

#endif
