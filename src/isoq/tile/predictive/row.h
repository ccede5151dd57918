/* One row of samples: predictions, residuals, and the values kept for later rows.

   isoq_code_row goes from sample to sample:
     mu = sums of isoq_predict_row + terms of the two samples to the west
     a sample that is not valid is filled from its neighbours
     a flag says, in planes with `repeats`, that a sample repeats the one to the west or north
     else the residual is coded, in steps, through the table of the magnitude expected
   isoq_encode_plain_row does the same for a row without any of these cases, with vectors.

   `decoding` is a constant wherever it is a parameter: the compiler makes an encoder and a decoder
   of the same lines. */
#ifndef ISOQ_ROW_H
#define ISOQ_ROW_H

#include "prediction.h"
#include "residual.h"

/* The constants of a row. Pointers are to column 0, and have pads (planes_coder.h). */
typedef struct {
    int row;
    int32_t *value, *distance;
    const int32_t *north, *second_north; /* values above */
    const int32_t *north_distance;
    const int32_t *reference; /* the first one, or null */
    ptrdiff_t stride;
    const uint8_t *valid;
    const int32_t *wanted; /* samples to be coded, without pads: only the encoder reads them */
    ptrdiff_t wanted_stride;
    int64_t west, second_west;                   /* weights of samples */
    int64_t west_activity, second_west_activity; /* weights of distances */
    int64_t least, most, avoided;                /* range of valid samples */
    int repeats;
} isoq_row;

/* Return row `row` of a plane. wanted: its samples (cols,), within the plane. */
ISOQ_INLINE isoq_row isoq_row_of(const isoq_planes_coder *coder, const isoq_extent *extent,
                                 const isoq_plan *plan, int plane, int row, const int32_t *wanted) {
    const int32_t *weight = plan->weight + (size_t)plane * ISOQ_TAPS;
    const int32_t *activity = plan->activity + (size_t)plane * ISOQ_ACTIVITIES;
    int reference = plan->reference[(size_t)plane * ISOQ_REFERENCES];
    isoq_row r;
    r.row = row;
    r.stride = (ptrdiff_t)coder->stride;
    r.value = isoq_padded_row(coder, coder->value, plane, row);
    r.distance = isoq_padded_row(coder, coder->distance, plane, row);
    r.north = r.value - r.stride;
    r.second_north = r.north - r.stride;
    r.north_distance = r.distance - r.stride;
    r.reference = reference >= 0 ? isoq_padded_row(coder, coder->value, reference, row) : NULL;
    r.valid = extent->valid + ((size_t)plane * extent->rows + row) * extent->cols;
    r.wanted = wanted;
    r.wanted_stride = extent->cols;
    r.west = weight[0];
    r.second_west = weight[1];
    r.west_activity = activity[0];
    r.second_west_activity = activity[1];
    if (!row) { /* nothing above: as if all of it were the sample to the west */
        r.west = (1 << ISOQ_WEIGHT_BITS) - r.second_west;
        r.west_activity += activity[2] + activity[3] + activity[4] + activity[5];
    }
    r.least = plan->range[2 * (size_t)plane];
    r.most = plan->range[2 * (size_t)plane + 1];
    r.avoided = plan->avoided[plane];
    r.repeats = plan->repeats[plane] && row;
    return r;
}

/* Return the sample of a residual (steps), in the range and not `avoided`. */
ISOQ_INLINE int64_t isoq_sample_of(const isoq_row *row, int64_t rounded, int64_t residual,
                                   int64_t step) {
    int64_t sample = isoq_limited(rounded + residual * step, row->least, row->most);
    if (sample != row->avoided) return sample;
    return sample < row->most ? sample + 1 : sample - 1;
}

/* ---- Plain rows ---- */

/* Return whether all samples of a row are coded, as they are and without flags. One that is
   `avoided`, to which floats may have been rounded, is not. */
ISOQ_API int isoq_is_plain(const isoq_planes_coder *coder, const isoq_extent *extent,
                           const isoq_plan *plan, int plane, const isoq_row *row) {
    assert(extent->cols > 0);
    if (plan->repeats[plane] || row->least == row->most) return 0;
    for (int64_t k = 0; k < extent->cols; k += extent->block)
        if (coder->step[k] != 1) return 0;
    if (row->least < row->avoided && row->avoided < row->most)
        for (int j = 0; j < extent->cols; j++)
            if (row->wanted[j] == row->avoided) return 0;
    return !memchr(row->valid, 0, (size_t)extent->cols);
}

/* Turn the n predictions of a plain row into residuals, and activities into expected magnitudes.
   value, distance: of the row, the former filled in. weight: of the samples and the distances to
   the west and second west. */
ISOQ_MULTIVERSION void isoq_find_plain_residuals(int64_t *ISOQ_RESTRICT prediction,
                                                 int64_t *ISOQ_RESTRICT activity,
                                                 const int32_t *value, int32_t *distance,
                                                 const int32_t *weight, int64_t least, int64_t most,
                                                 int n) {
    for (int j = 0; j < n; j++) {
        int64_t mu = (prediction[j] + (int64_t)weight[0] * value[j - 1] +
                      (int64_t)weight[1] * value[j - 2]) >>
                     (ISOQ_WEIGHT_BITS - 4);
        mu = isoq_limited(mu, ISOQ_FRACTION * least, ISOQ_FRACTION * most);
        int64_t rounded = (mu + ISOQ_FRACTION / 2) >> 4;
        int64_t residual = value[j] - rounded;
        int64_t off = ISOQ_FRACTION * (int64_t)value[j] - mu;
        prediction[j] = mu < ISOQ_FRACTION * rounded ? -residual : residual;
        distance[j] = (int32_t)isoq_limited(off < 0 ? -off : off, 0, ISOQ_MAX_DISTANCE);
    }
    for (int j = 0; j < n; j++)
        activity[j] = (activity[j] + (int64_t)weight[2] * distance[j - 1] +
                       (int64_t)weight[3] * distance[j - 2]) >>
                      ISOQ_ACTIVITY_BITS;
}

/* Encode a plain row. */
ISOQ_INLINE void isoq_encode_plain_row(isoq_planes_coder *coder, const isoq_row *row, int cols) {
    const int32_t weight[4] = {(int32_t)row->west, (int32_t)row->second_west,
                               (int32_t)row->west_activity, (int32_t)row->second_west_activity};
    memcpy(row->value, row->wanted, (size_t)cols * sizeof(int32_t));
    isoq_find_plain_residuals(coder->prediction, coder->activity, row->value, row->distance, weight,
                              row->least, row->most, cols);
    for (int j = 0; j < cols; j++)
        isoq_put_residual(coder, isoq_degree_of((uint64_t)coder->activity[j]),
                          coder->prediction[j]);
}

/* ---- All rows ---- */

/* Return the context of the flag that sample `j` repeats the one to the west. */
ISOQ_INLINE int isoq_west_context(const isoq_row *row, int j) {
    const int32_t *value = row->value + j, *north = row->north + j;
    const int32_t *second_north = row->second_north + j, *reference = row->reference;
    return (north[0] == north[-1]) | (north[1] == north[0]) << 1 | (north[-1] == north[-2]) << 2 |
           (value[-1] == value[-2]) << 3 | (second_north[0] == second_north[-1]) << 4 |
           (reference && reference[j] == reference[j - 1]) << 5;
}

/* Return the context of the flag that sample `j` repeats the one to the north. */
ISOQ_INLINE int isoq_north_context(const isoq_row *row, int j) {
    const int32_t *value = row->value + j, *north = row->north + j;
    const int32_t *second_north = row->second_north + j, *reference = row->reference;
    return (value[-1] == north[-1]) | (value[-2] == north[-2]) << 1 |
           (north[0] == second_north[0]) << 2 | (north[1] == second_north[1]) << 3 |
           (reference && reference[j] == reference[j - row->stride]) << 4;
}

/* Code whether sample `j` repeats a neighbour, and set it if so. Return whether it does. The
   encoder repeats only where the neighbour was wanted to be the same, and is within half a step. */
ISOQ_INLINE int isoq_code_repeat(isoq_planes_coder *coder, const isoq_row *row, int j, int64_t step,
                                 const int decoding) {
    const int32_t *wanted = row->wanted + j;
    int32_t neighbour = row->value[j - 1];
    int same = !decoding && j && wanted[0] == wanted[-1] &&
               llabs((int64_t)wanted[0] - neighbour) <= step / 2;
    same = isoq_code_flag(coder, &coder->west[isoq_west_context(row, j)], same, decoding);
    if (!same && row->north[j] != neighbour) {
        neighbour = row->north[j];
        same = !decoding && wanted[0] == wanted[-row->wanted_stride] &&
               llabs((int64_t)wanted[0] - neighbour) <= step / 2;
        same = isoq_code_flag(coder, &coder->north[isoq_north_context(row, j)], same, decoding);
    }
    if (!same) return 0;
    row->value[j] = neighbour;
    row->distance[j] = (row->distance[j - 1] + row->north_distance[j]) / 2;
    return 1;
}

/* Set sample `j`, which is not valid, from its neighbours. */
ISOQ_INLINE void isoq_fill_sample(const isoq_row *row, int j) {
    int32_t *value = row->value + j, *distance = row->distance + j;
    if (row->row) {
        value[0] = (int32_t)(((int64_t)value[-1] + row->north[j] + 1) >> 1);
        distance[0] = (distance[-1] + row->north_distance[j]) / 2;
    } else {
        value[0] = value[-1];
        distance[0] = distance[-1];
    }
}

/* Return the residual (steps) of sample `j`: the one whose sample is within half a step of what is
   wanted, also where the nearest is `avoided`. */
ISOQ_INLINE int64_t isoq_residual_of(const isoq_row *row, int j, int64_t rounded, int64_t step) {
    int64_t wanted = row->wanted[j];
    int64_t residual = isoq_steps_to(wanted - rounded, step);
    int64_t sample = isoq_sample_of(row, rounded, residual, step);
    if (llabs(sample - wanted) > step / 2) residual += wanted < sample ? -1 : 1;
    return residual;
}

/* Code sample `j` as a residual from the prediction mu (1/16), and set it. */
ISOQ_INLINE void isoq_code_residual(isoq_planes_coder *coder, const isoq_row *row, int j,
                                    int64_t mu, int64_t step, const int decoding) {
    const int32_t *distance = row->distance + j;
    int64_t rounded = (mu + ISOQ_FRACTION / 2) >> 4;
    int flip = mu < ISOQ_FRACTION * rounded;
    int64_t expected = (coder->activity[j] + row->west_activity * distance[-1] +
                        row->second_west_activity * distance[-2]) >>
                       ISOQ_ACTIVITY_BITS;
    int degree = isoq_degree_of((uint64_t)(step == 1 ? expected : expected / step));
    int64_t residual;
    if (decoding) {
        residual = isoq_take_residual(coder, degree);
        if (flip) residual = -residual;
    } else {
        residual = isoq_residual_of(row, j, rounded, step);
        isoq_put_residual(coder, degree, flip ? -residual : residual);
    }
    int64_t sample = isoq_sample_of(row, rounded, residual, step);
    row->value[j] = (int32_t)sample;
    row->distance[j] =
        (int32_t)isoq_limited(llabs(ISOQ_FRACTION * sample - mu), 0, ISOQ_MAX_DISTANCE);
}

/* Code a row of a plane, given the sums and steps of the row, into the planes of the coder. wanted:
   its samples (cols,), which only the encoder reads; those of the row above precede them. */
ISOQ_INLINE void isoq_code_row(isoq_planes_coder *coder, const isoq_extent *extent,
                               const isoq_plan *plan, int plane, int at, const int32_t *wanted,
                               const int decoding) {
    const isoq_row row = isoq_row_of(coder, extent, plan, plane, at, wanted);
    if (!decoding && isoq_is_plain(coder, extent, plan, plane, &row)) {
        isoq_encode_plain_row(coder, &row, extent->cols);
        return;
    }
    for (int j = 0; j < extent->cols; j++) {
        const int64_t step = coder->step[j];
        int64_t mu = (coder->prediction[j] + row.west * row.value[j - 1] +
                      row.second_west * row.value[j - 2]) >>
                     (ISOQ_WEIGHT_BITS - 4);
        mu = isoq_limited(mu, ISOQ_FRACTION * row.least, ISOQ_FRACTION * row.most);
        if (row.least == row.most) {
            row.value[j] = (int32_t)row.least;
            row.distance[j] = 0;
        } else if (!row.valid[j]) {
            isoq_fill_sample(&row, j);
        } else if (!row.repeats || !isoq_code_repeat(coder, &row, j, step, decoding)) {
            isoq_code_residual(coder, &row, j, mu, step, decoding);
        }
    }
}

#endif
