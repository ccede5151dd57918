/* The choices of the encoder for each plane, fitted to samples of the plane: the earlier planes
   that it is predicted from, weights of samples and of distances, and flags of repeated samples.

   Each header calls those below it:
     fit.h            isoq_fit_planes: plane by plane
     repeats.h        flags of repeated samples, if they pay
     activity.h       weights of distances
     references.h     earlier planes to predict from
     least_squares.h  sums of products, Cholesky
     surroundings.h   samples around the places that are tried

   Floating point: no decoder does this. Without fused products all processors choose the same,
   unless their libraries round log2 differently; the stream has the choices in any case. */
#ifndef ISOQ_FIT_H
#define ISOQ_FIT_H

#include "activity.h"
#include "references.h"
#include "repeats.h"

ISOQ_MULTIVERSION void isoq_find_scales(const float *ISOQ_RESTRICT activity,
                                        const float *ISOQ_RESTRICT error, int64_t n,
                                        float *ISOQ_RESTRICT scale) {
    for (int64_t k = 0; k < n; k++)
        scale[k] = 1 / sqrtf(activity[k] + (error ? fabsf(error[k]) : 0));
}

/* Find the weights (rows - 1) of the first rows that predict the last one with the least absolute
   error, relative to what is active around, at n places: weighted least squares, then once more
   with weights from the errors; at first of a quarter. Sets `error` (whole lanes of n). */
ISOQ_API void isoq_fit_weights(isoq_fitter *fitter, const float *const *row, int rows, int64_t n,
                               double *weight, float *error) {
    double gram[ISOQ_ROWS][ISOQ_ROWS];
    for (int round = 0; round < 2; round++) {
        int64_t part = round ? isoq_whole_lanes(n) : isoq_few_of(n);
        isoq_find_scales(fitter->activity, round ? error : NULL, part, fitter->scale);
        isoq_find_gram(row, rows, fitter->scale, part, gram);
        double trace = 0;
        for (int r = 0; r < rows - 1; r++) trace += gram[r][r];
        isoq_solve(gram, rows - 1, 1e-6 * trace / (rows - 1) + 1e-9, weight);
        isoq_find_errors(row, weight, rows, isoq_whole_lanes(n), error);
    }
}

/* Set the weights of a plane (ISOQ_TAPS) from those fitted: whole, with a sum of 1 for the plane
   itself and of 0 for each reference. Weights that no decoder takes become those of the sample to
   the west alone. */
ISOQ_API void isoq_round_weights(const double *fitted, int references, int32_t *weight) {
    const double unit = 1 << ISOQ_WEIGHT_BITS;
    int out_of_range = 0;
    memset(weight, 0, ISOQ_TAPS * sizeof(int32_t));
    int32_t *first = weight;
    for (int source = 0; source <= references; source++) {
        int taps = source ? isoq_taps_of(source - 1) : ISOQ_OWN_TAPS;
        first[0] = source ? 0 : 1 << ISOQ_WEIGHT_BITS;
        for (int t = 1; t < taps; t++) {
            double limited = *fitted > 2 ? 2 : *fitted > -2 ? *fitted : -2;
            first[t] = (int32_t)rint(unit * limited);
            first[0] -= first[t];
            fitted++;
        }
        first += taps;
    }
    for (int t = 0; t < ISOQ_TAPS; t++) out_of_range |= abs(weight[t]) >= ISOQ_MAX_WEIGHT;
    if (out_of_range) {
        memset(weight, 0, ISOQ_TAPS * sizeof(int32_t));
        weight[0] = 1 << ISOQ_WEIGHT_BITS;
    }
}

/* Fit plane `plane`, given those before. Sets `reference` (ISOQ_REFERENCES, all -1 before),
   `weight` (ISOQ_TAPS) and, if a reference was fitted at the same places, `activity`
   (ISOQ_ACTIVITIES). Returns whether repeated samples are flagged. step: usual one of quantization.
 */
ISOQ_API int isoq_fit_plane(isoq_fitter *fitter, int plane, double step, int32_t *reference,
                            int32_t *weight, int32_t *activity) {
    const isoq_field *field = fitter->field;
    const float *row[ISOQ_TAPS];
    double fitted[ISOQ_TAPS];
    int64_t n = field->count[plane];
    int references = isoq_choose_references(fitter, plane, reference);
    int rows = 0;
    isoq_surroundings *own = isoq_look(fitter, plane, plane);
    for (int t = 0; t < ISOQ_OWN_TAPS - 1; t++) row[rows++] = own->row[t];
    for (int r = 0; r < references; r++) {
        const isoq_surroundings *other = isoq_known_of(fitter, reference[r]);
        for (int t = 0; t < isoq_taps_of(r) - 1; t++)
            row[rows++] = other->row[ISOQ_REFERENCE_ROWS[t]];
    }
    row[rows++] = own->row[ISOQ_HERE];
    isoq_find_activity(own, n, fitter->activity);
    isoq_fit_weights(fitter, row, rows, n, fitted, own->error);
    own->mean = (float)isoq_mean_magnitude(own->error, n);
    isoq_round_weights(fitted, references, weight);
    int other = references ? reference[0] : plane;
    if (references && field->first[other] == field->first[plane] && field->count[other])
        isoq_share_activity(fitter, plane, reference, weight, activity);
    return isoq_repeats_pay(own, n, step);
}

/* Fit all planes of a field that have places. The others are left as they are. step (planes,):
   usual one of quantization. Sets the arrays of a plan: reference (planes, ISOQ_REFERENCES), all -1
   before; weight (planes, ISOQ_TAPS); activity (planes, ISOQ_ACTIVITIES), with a default before;
   repeats (planes,). Returns ISOQ_OK or ISOQ_NO_MEMORY. */
ISOQ_API isoq_status isoq_fit_planes(const isoq_field *field, const double *step,
                                     int32_t *reference, int32_t *weight, int32_t *activity,
                                     uint8_t *repeats) {
    isoq_fitter fitter;
    isoq_status status = isoq_allocate_fitter(&fitter, field);
    for (int k = 0; !status && k < field->number; k++) {
        isoq_known_of(&fitter, k)->places = -1; /* so far of a plane that is not asked for again */
        if (!field->count[k]) continue;
        repeats[k] = (uint8_t)isoq_fit_plane(
            &fitter, k, step[k], reference + (size_t)k * ISOQ_REFERENCES,
            weight + (size_t)k * ISOQ_TAPS, activity + (size_t)k * ISOQ_ACTIVITIES);
    }
    isoq_release_fitter(&fitter);
    return status;
}

#endif
