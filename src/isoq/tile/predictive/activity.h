/* The activity around a sample, from which the error of its prediction is expected. */
#ifndef ISOQ_ACTIVITY_H
#define ISOQ_ACTIVITY_H

#include "least_squares.h"
#include "surroundings.h"

enum { ISOQ_TRIED_ACTIVITY = 5 }; /* the first neighbours, whose activity is tried */

/* Weights of distances in the order of the places, with a sum of about 1 << ISOQ_ACTIVITY_BITS:
   means of what fits training images. */
static const int32_t ISOQ_OWN_SHARES[ISOQ_OWN_ACTIVITIES] = {31, 22, 29, 14, 22, 17};
static const int32_t ISOQ_REFERENCE_SHARES[ISOQ_FIRST_ACTIVITIES] = {55, 20, 28, 15, 17};

/* Set `activity` to the mean magnitude of the first neighbours at n places (whole lanes of it),
   plus a tenth of the mean over all places. */
ISOQ_MULTIVERSION void isoq_find_activity(const isoq_surroundings *around, int64_t n,
                                          float *activity) {
    int64_t whole = isoq_whole_lanes(n);
    for (int64_t k = 0; k < whole; k++) {
        float sum = 0;
        for (int r = 0; r < ISOQ_TRIED_ACTIVITY; r++) sum += fabsf(around->row[r][k]);
        activity[k] = sum / ISOQ_TRIED_ACTIVITY;
    }
    float floor = (float)(0.1 * isoq_mean_magnitude(activity, n) + 1e-6);
    for (int64_t k = 0; k < whole; k++) activity[k] += floor;
}

/* Return the error of a prediction at `place`, near the upper left of a plane, where neighbours may
   be outside: those count as the first sample. */
ISOQ_API double isoq_error_at(const isoq_field *field, int plane, int64_t place,
                              const int32_t *reference, const int32_t *weight) {
    const size_t size = (size_t)field->rows * field->cols;
    const int32_t *own = field->planes + (size_t)plane * size;
    int64_t sum = 0;
    for (int k = 0; k < ISOQ_OWN_TAPS; k++) {
        const int8_t *away = ISOQ_OWN_PLACES[k];
        int64_t at = place + (int64_t)away[0] * field->cols + away[1];
        sum += (int64_t)weight[k] * own[at < 0 ? 0 : at];
    }
    weight += ISOQ_OWN_TAPS;
    for (int r = 0; r < ISOQ_REFERENCES && reference[r] >= 0; r++) {
        const int32_t *other = field->planes + (size_t)reference[r] * size + place;
        for (int k = 0; k < isoq_taps_of(r); k++) {
            const int8_t *away = ISOQ_REFERENCE_PLACES[k];
            sum += (int64_t)weight[k] * other[(ptrdiff_t)away[0] * field->cols + away[1]];
        }
        weight += isoq_taps_of(r);
    }
    return own[place] - (double)sum / (1 << ISOQ_WEIGHT_BITS);
}

/* Find the share (0 ... 0.6) of the reference in what is expected: fits the error of plane `plane`
   to the errors in the reference, scaled by `scale`, to the west and to the north. */
ISOQ_API double isoq_reference_share(isoq_fitter *fitter, int plane, const int32_t *reference,
                                     const int32_t *weight, double scale) {
    const isoq_field *field = fitter->field;
    const float *own = isoq_known_of(fitter, plane)->error;
    const float *other = isoq_known_of(fitter, reference[0])->error;
    const int64_t *places = field->places + field->first[plane];
    const int64_t few = (field->count[plane] + 15) / 16;
    double gram[ISOQ_ROWS][ISOQ_ROWS] = {{0}}, told[3], sum = 0;
    for (int64_t j = 0; j < few; j++) {
        double error[4] = {
            scale * fabsf(other[j]),
            fabs(isoq_error_at(field, plane, places[j] - 1, reference, weight)),
            fabs(isoq_error_at(field, plane, places[j] - field->cols, reference, weight)),
            fabsf(own[j])};
        double activity = (double)fitter->activity[j];
        for (int a = 0; a < 4; a++)
            for (int b = 0; b <= a; b++) gram[a][b] += error[a] * error[b] / (activity * activity);
    }
    isoq_solve(gram, 3, 1e-3 * (double)few, told);
    for (int a = 0; a < 3; a++) {
        told[a] = told[a] > 0 ? told[a] : 0;
        sum += told[a];
    }
    double share = told[0] / (sum > 1e-9 ? sum : 1e-9);
    return share < 0.6 ? share : 0.6;
}

/* Set the weights of distances (ISOQ_ACTIVITIES) of plane `plane`, whose first reference was fitted
   at the same places. */
ISOQ_API void isoq_share_activity(isoq_fitter *fitter, int plane, const int32_t *reference,
                                  const int32_t *weight, int32_t *activity) {
    float own = isoq_known_of(fitter, plane)->mean;
    float other = isoq_known_of(fitter, reference[0])->mean;
    double scale = own / (other > 1e-6 ? other : 1e-6);
    double share = isoq_reference_share(fitter, plane, reference, weight, scale);
    for (int a = 0; a < ISOQ_ACTIVITIES; a++) {
        double v = a < ISOQ_OWN_ACTIVITIES
                       ? (1 - share) * ISOQ_OWN_SHARES[a]
                       : share * scale * ISOQ_REFERENCE_SHARES[a - ISOQ_OWN_ACTIVITIES];
        v = rint(v);
        activity[a] = (int32_t)(v < ISOQ_MAX_ACTIVITY ? v : ISOQ_MAX_ACTIVITY);
    }
}

#endif
