/* Weighted least squares over rows of floats. Sums of products are floats in lanes, equations are
   in doubles. */
#ifndef ISOQ_LEAST_SQUARES_H
#define ISOQ_LEAST_SQUARES_H

#include "compiler.h"

enum {
    ISOQ_ROWS = 28, /* of a system of equations: 25 weights and the sample itself, in fours */
    ISOQ_CHUNK = 16 /* lanes at a time: 32 KiB for all rows */
};

/* Load n / ISOQ_LANES lanes of all rows, scaled. */
ISOQ_INLINE void isoq_load_scaled(const float *const *row, int rows, const float *scale, int64_t at,
                                  int steps, isoq_lanes part[ISOQ_ROWS][ISOQ_CHUNK]) {
    for (int r = 0; r < rows; r++)
        for (int s = 0; s < steps; s++) {
            isoq_lanes value, factor;
            isoq_lanes_load(&value, row[r] + at + s * ISOQ_LANES);
            isoq_lanes_load(&factor, scale + at + s * ISOQ_LANES);
            isoq_lanes_multiply(&part[r][s], &value, &factor);
        }
}

/* Add to sum[i ... i + 1][j ... j + 3] the products of these rows. */
ISOQ_INLINE void isoq_add_tile(const isoq_lanes part[ISOQ_ROWS][ISOQ_CHUNK], int steps, int i,
                               int j, isoq_lanes sum[ISOQ_ROWS][ISOQ_ROWS]) {
    isoq_lanes tile[2][4];
    memset(tile, 0, sizeof tile);
    for (int s = 0; s < steps; s++) {
        ISOQ_UNROLL_4
        for (int b = 0; b < 4; b++) {
            isoq_lanes_add_product(&tile[0][b], &part[i][s], &part[j + b][s]);
            isoq_lanes_add_product(&tile[1][b], &part[i + 1][s], &part[j + b][s]);
        }
    }
    for (int b = 0; b < 4; b++) {
        isoq_lanes_add(&sum[i][j + b], &tile[0][b]);
        isoq_lanes_add(&sum[i + 1][j + b], &tile[1][b]);
    }
}

/* Set gram[i][j], for i, j < rows, to the sum of row[i] row[j] scale^2 over n places. rows: at most
   ISOQ_ROWS - 2; n: whole lanes; rows and scale are of that length. */
ISOQ_MULTIVERSION void isoq_find_gram(const float *const *row, int rows, const float *scale,
                                      int64_t n, double gram[ISOQ_ROWS][ISOQ_ROWS]) {
    assert(rows > 0 && rows <= ISOQ_ROWS - 2 && n % ISOQ_LANES == 0);
    isoq_lanes sum[ISOQ_ROWS][ISOQ_ROWS], part[ISOQ_ROWS][ISOQ_CHUNK];
    memset(sum, 0, sizeof sum);
    memset(part, 0, sizeof part);
    for (int64_t at = 0; at < n; at += ISOQ_CHUNK * ISOQ_LANES) {
        int64_t left = n - at;
        int steps = (int)(left < ISOQ_CHUNK * ISOQ_LANES ? left : ISOQ_CHUNK * ISOQ_LANES);
        steps /= ISOQ_LANES;
        isoq_load_scaled(row, rows, scale, at, steps, part);
        for (int i = 0; i < rows; i += 2)
            for (int j = 0; j <= i + 1; j += 4)
                isoq_add_tile((const isoq_lanes(*)[ISOQ_CHUNK])part, steps, i, j, sum);
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j <= i; j++) {
            gram[i][j] = isoq_lanes_total(&sum[i][j]);
            gram[j][i] = gram[i][j];
        }
}

/* Find the weights (n) of the first n rows whose sum is nearest to row n, given the products of all
   n + 1 (Cholesky). Changes `gram`. ridge: added to the diagonal, not negative. A row that the
   others tell exactly gets 0. */
ISOQ_API void isoq_solve(double gram[ISOQ_ROWS][ISOQ_ROWS], int n, double ridge, double *weight) {
    assert(n > 0 && n < ISOQ_ROWS);
    for (int i = 0; i < n; i++) gram[i][i] += ridge;
    for (int i = 0; i <= n; i++) /* the last row becomes what is still to be divided */
        for (int j = 0; j <= i && j < n; j++) {
            double v = gram[i][j];
            for (int k = 0; k < j; k++) v -= gram[i][k] * gram[j][k];
            if (i > j)
                gram[i][j] = v * gram[j][j];
            else
                gram[i][i] = v > 0 ? 1 / sqrt(v) : 0; /* the inverse of the diagonal */
        }
    for (int i = n; i-- > 0;) {
        double v = gram[n][i];
        for (int k = i + 1; k < n; k++) v -= gram[k][i] * weight[k];
        weight[i] = v * gram[i][i];
    }
}

/* Set `error` (n) to the last row minus the weighted others. n: whole lanes. */
ISOQ_MULTIVERSION void isoq_find_errors(const float *const *row, const double *weight, int rows,
                                        int64_t n, float *error) {
    for (int64_t k = 0; k < n; k += ISOQ_LANES) {
        isoq_lanes left, other;
        isoq_lanes_load(&left, row[rows - 1] + k);
        for (int r = 0; r < rows - 1; r++) {
            isoq_lanes_load(&other, row[r] + k);
            isoq_lanes_subtract_scaled(&left, (float)weight[r], &other);
        }
        isoq_lanes_store(error + k, &left);
    }
}

/* Return the mean of |error| over n places, 1 or more. */
ISOQ_API double isoq_mean_magnitude(const float *error, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += fabsf(error[k]);
    return sum / (double)n;
}

#endif
