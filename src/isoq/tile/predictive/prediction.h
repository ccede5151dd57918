/* Sums over the samples and distances around a row: the part of the prediction that does not depend
   on the row itself. The terms of the row itself are added sample by sample, in row.h. */
#ifndef ISOQ_PREDICTION_H
#define ISOQ_PREDICTION_H

#include "planes_coder.h"

/* Terms of a sum over a row: weight[k] * from[k][j]; room for a multiple of four. */
typedef struct {
    const int32_t *from[ISOQ_TAPS + 3];
    int32_t weight[ISOQ_TAPS + 3];
    int count;
} isoq_terms;

/* Add a term, unless its weight is 0. planes: `value` or `distance` of the coder. */
ISOQ_API void isoq_add_term(isoq_terms *terms, const isoq_planes_coder *coder, int32_t *planes,
                            int plane, int row, const int8_t *place, int32_t weight) {
    if (!weight) return;
    assert(terms->count < ISOQ_TAPS);
    terms->from[terms->count] = isoq_padded_row(coder, planes, plane, row + place[0]) + place[1];
    terms->weight[terms->count] = weight;
    terms->count++;
}

/* Add four terms to n sums. Four at once, since loading and storing the sums takes as long as the
   products. Samples have 32 bits, weights 15: 29 terms are far below 2^63. */
ISOQ_MULTIVERSION void isoq_add_four(int64_t *ISOQ_RESTRICT sums, const int32_t *const *from,
                                     const int32_t *weight, int n) {
    const int32_t *ISOQ_RESTRICT first = from[0], *ISOQ_RESTRICT second = from[1];
    const int32_t *ISOQ_RESTRICT third = from[2], *ISOQ_RESTRICT fourth = from[3];
    const int32_t of_first = weight[0], of_second = weight[1];
    const int32_t of_third = weight[2], of_fourth = weight[3];
    for (int j = 0; j < n; j++)
        sums[j] += (int64_t)of_first * first[j] + (int64_t)of_second * second[j] +
                   (int64_t)of_third * third[j] + (int64_t)of_fourth * fourth[j];
}

/* Set n sums to the terms. Fills the terms up to a multiple of four. */
ISOQ_API void isoq_sum_terms(int64_t *sums, isoq_terms *terms, int n) {
    memset(sums, 0, (size_t)n * sizeof(int64_t));
    for (; terms->count % 4; terms->count++) {
        terms->from[terms->count] = terms->from[0];
        terms->weight[terms->count] = 0;
    }
    for (int k = 0; k < terms->count; k += 4)
        isoq_add_four(sums, terms->from + k, terms->weight + k, n);
}

/* Set the sums `prediction` and `activity` of a row to their terms from rows above and from
   references. */
ISOQ_API void isoq_predict_row(const isoq_planes_coder *coder, const isoq_plan *plan, int plane,
                               int row, int cols) {
    const int32_t *weight = plan->weight + (size_t)plane * ISOQ_TAPS;
    const int32_t *activity = plan->activity + (size_t)plane * ISOQ_ACTIVITIES;
    const int32_t *reference = plan->reference + (size_t)plane * ISOQ_REFERENCES;
    isoq_terms value = {.count = 0}, distance = {.count = 0};
    if (row > 0) {
        for (int k = 2; k < ISOQ_OWN_TAPS; k++)
            isoq_add_term(&value, coder, coder->value, plane, row, ISOQ_OWN_PLACES[k], weight[k]);
        for (int k = 2; k < ISOQ_OWN_ACTIVITIES; k++)
            isoq_add_term(&distance, coder, coder->distance, plane, row,
                          ISOQ_OWN_ACTIVITY_PLACES[k], activity[k]);
    }
    weight += ISOQ_OWN_TAPS;
    for (int r = 0; r < ISOQ_REFERENCES && reference[r] >= 0; r++) {
        for (int k = 0; k < isoq_taps_of(r); k++)
            isoq_add_term(&value, coder, coder->value, reference[r], row, ISOQ_REFERENCE_PLACES[k],
                          weight[k]);
        weight += isoq_taps_of(r);
    }
    for (int k = 0; reference[0] >= 0 && k < ISOQ_FIRST_ACTIVITIES; k++)
        isoq_add_term(&distance, coder, coder->distance, reference[0], row,
                      ISOQ_REFERENCE_ACTIVITY_PLACES[k], activity[ISOQ_OWN_ACTIVITIES + k]);
    isoq_sum_terms(coder->prediction, &value, cols);
    isoq_sum_terms(coder->activity, &distance, cols);
}

/* Set the steps of a row: whole ones, of which as many are rounded up as the fraction says. */
ISOQ_API void isoq_find_steps(const isoq_planes_coder *coder, const isoq_extent *extent,
                              const isoq_plan *plan, int plane, int row) {
    size_t grid_rows = ((size_t)extent->rows + extent->block - 1) / extent->block;
    size_t grid_row = (size_t)plane * grid_rows + (size_t)(row / extent->block);
    const int32_t *step = plan->step + grid_row * extent->grid_cols;
    for (int j = 0; j < extent->grid_cols; j++) {
        int64_t parts = (int64_t)step[j] + ISOQ_TURNS[row % ISOQ_STEP_PARTS];
        int64_t end = (int64_t)(j + 1) * extent->block;
        if (end > extent->cols) end = extent->cols;
        for (int64_t k = (int64_t)j * extent->block; k < end; k++)
            coder->step[k] = parts / ISOQ_STEP_PARTS;
    }
}

#endif
