/* What the network of a level sees: the low-pass band and the coarser details, relative to the
   local contrast, and this contrast.

   The contrast of a cell is the mean distance of the 6 x 6 samples around it from the means around
   their own cells. Its logarithm has steps of an eighth of an octave, so dividing by the contrast
   is a shift and a multiplication. Everything is integer arithmetic.

   Units: low-pass samples are in 1/2^6 of the finest step; differences of 36 of them are taken
   without a division, in 1/72. */
#ifndef ISOQ_SUBBAND_FEATURES_H
#define ISOQ_SUBBAND_FEATURES_H

#include "subband_network.h"

enum {
    ISOQ_LOW_PASS_BITS = 6,
    ISOQ_MOST_LOW_PASS = 1 << 24,
    ISOQ_WINDOW = 36,          /* samples of a cell and the cells around it */
    ISOQ_LEAST_CONTRAST = 777, /* 0.3 steps in 1 / (72 * 36) */
    ISOQ_PARENT_UNIT = 162,    /* a parent is in 1/16 step */
    ISOQ_MOST_PARENT = 1 << 23,
    ISOQ_MOST_RATIO = 127,
    ISOQ_MIDDLE_CONTRAST = 120, /* eighths of an octave */
    ISOQ_MOST_CONTRAST = 255
};

/* Planes of (rows, cols) cells. */
typedef struct {
    int rows, cols;
    int32_t *sum;      /* of the low-pass samples of a cell */
    int32_t *distance; /* (4, rows, cols): of each sample from the mean around its cell */
    int32_t *total;    /* of the magnitudes of the four */
    int32_t *contrast; /* logarithm, of the finest steps */
} isoq_cells;

/* Set the sums of cells. low_pass: (2 rows, 2 cols). Limits the samples. */
ISOQ_MULTIVERSION void isoq_sum_cells(const isoq_cells *cells, int32_t *low_pass) {
    size_t cols = (size_t)cells->cols, samples = 4 * (size_t)cells->rows * cols;
    ISOQ_INDEPENDENT
    for (size_t k = 0; k < samples; k++) {
        int32_t sample = low_pass[k];
        sample = sample > ISOQ_MOST_LOW_PASS ? ISOQ_MOST_LOW_PASS : sample;
        low_pass[k] = sample < -ISOQ_MOST_LOW_PASS ? -ISOQ_MOST_LOW_PASS : sample;
    }
    for (int y = 0; y < cells->rows; y++) {
        const int32_t *upper = low_pass + 4 * (size_t)y * cols, *lower = upper + 2 * cols;
        int32_t *sum = cells->sum + (size_t)y * cols;
        ISOQ_INDEPENDENT
        for (size_t x = 0; x < cols; x++)
            sum[x] = (upper[2 * x] + upper[2 * x + 1]) + (lower[2 * x] + lower[2 * x + 1]);
    }
}

/* Set `around` (cols,) to the sums of a plane over a cell of row `y` and the eight around it.
   column: room for cols + 2. */
ISOQ_MULTIVERSION void isoq_sum_around(const int32_t *plane, int rows, int cols, int y,
                                       int32_t *column, int32_t *around) {
    const int32_t *here = plane + (size_t)y * (size_t)cols;
    const int32_t *above = y > 0 ? here - cols : here;
    const int32_t *below = y + 1 < rows ? here + cols : here;
    ISOQ_INDEPENDENT
    for (int x = 0; x < cols; x++) column[x + 1] = above[x] + here[x] + below[x];
    column[0] = column[1];
    column[cols + 1] = column[cols];
    ISOQ_INDEPENDENT
    for (int x = 0; x < cols; x++) around[x] = column[x] + column[x + 1] + column[x + 2];
}

/* Set the distances of row `y`, and their totals. around: sums of nine cells. */
ISOQ_MULTIVERSION void isoq_find_distances(const isoq_cells *cells, const int32_t *low_pass, int y,
                                           const int32_t *around) {
    size_t cols = (size_t)cells->cols, plane = (size_t)cells->rows * cols, first = (size_t)y * cols;
    const int32_t *upper = low_pass + 4 * (size_t)y * cols;
    int32_t *distance = cells->distance + first, *total = cells->total + first;
    ISOQ_INDEPENDENT
    for (size_t x = 0; x < cols; x++) total[x] = 0;
    for (size_t k = 0; k < 4; k++) {
        const int32_t *sample = upper + (k >> 1) * 2 * cols + (k & 1);
        int32_t *from = distance + k * plane;
        ISOQ_INDEPENDENT
        for (size_t x = 0; x < cols; x++) {
            from[x] = (ISOQ_WINDOW * sample[2 * x] - around[x]) >> 5;
            total[x] += from[x] < 0 ? -from[x] : from[x];
        }
    }
}

/* Return 8 log2 of a number of at least 8, rounded down as if 2^(k / 8) were linear between
   octaves: the float's exponent and the first three bits of its fraction. */
ISOQ_INLINE int32_t isoq_eighths_of(int32_t number) {
    union {
        double number;
        int64_t bits;
    } exact = {.number = number};
    return (int32_t)(exact.bits >> 49) - 8 * 1023;
}

/* Return a distance divided by the contrast, in 1/16, rounded and limited.

   With `c` for the logarithm of the contrast in eighths of an octave, the contrast is close to
   (8 + c mod 8) / 8 * 2^(c div 8). The division is therefore a multiplication by `reciprocal` and a
   shift to the right by 6 + c div 8.

   scaled: 16 times the distance, in the unit of the contrast; reciprocal: of isoq_reciprocal_of.
   If c div 8 exceeds 10, the caller shifts the distance to the right by the excess and makes
   `shift` smaller by as much. The product then fits into 32 bits. */
ISOQ_INLINE int32_t isoq_ratio(int32_t scaled, int32_t reciprocal, int32_t shift) {
    int32_t ratio = (scaled * reciprocal + (1 << (shift - 1))) >> shift;
    ratio = ratio > ISOQ_MOST_RATIO ? ISOQ_MOST_RATIO : ratio;
    return ratio < -ISOQ_MOST_RATIO ? -ISOQ_MOST_RATIO : ratio;
}

/* Return 2^9 / (8 + contrast mod 8), rounded. */
ISOQ_INLINE int32_t isoq_reciprocal_of(int32_t contrast) {
    int32_t divisor = 8 + (contrast & 7);
    return (1024 / divisor + 1) >> 1;
}

/* Set the contrasts of row `y`, and with them the first four features of its cells, (4, cols) from
   `out` on. around: totals of nine cells. */
ISOQ_MULTIVERSION void isoq_find_contrasts(const isoq_cells *cells, int y, const int32_t *around,
                                           int32_t *out) {
    size_t cols = (size_t)cells->cols, plane = (size_t)cells->rows * cols, first = (size_t)y * cols;
    int32_t *contrast = cells->contrast + first;
    for (size_t x = 0; x < cols; x++)
        contrast[x] = isoq_eighths_of(around[x] + ISOQ_LEAST_CONTRAST);
    for (size_t k = 0; k < 4; k++) {
        const int32_t *distance = cells->distance + k * plane + first;
        int32_t *ratio = out + k * cols;
        ISOQ_INDEPENDENT
        for (size_t x = 0; x < cols; x++) {
            int32_t octave = contrast[x] >> 3, beyond = octave > 10 ? octave - 10 : 0;
            int32_t scaled = (distance[x] >> beyond) * (16 * ISOQ_WINDOW);
            ratio[x] = isoq_ratio(scaled, isoq_reciprocal_of(contrast[x]), 6 + octave - beyond);
        }
    }
}

/* Set one feature of a row from the values of a coarser detail, in 1/16 of the finest step. */
ISOQ_MULTIVERSION void isoq_find_parents(const int32_t *contrast, const int32_t *value, int cols,
                                         int32_t *out) {
    ISOQ_INDEPENDENT
    for (int x = 0; x < cols; x++) {
        int32_t octave = contrast[x] >> 3, beyond = octave > 10 ? octave - 10 : 0, most = 1 << 14;
        int32_t parent = value[x] > ISOQ_MOST_PARENT ? ISOQ_MOST_PARENT : value[x];
        parent = parent < -ISOQ_MOST_PARENT ? -ISOQ_MOST_PARENT : parent;
        int32_t scaled = (parent * ISOQ_PARENT_UNIT) >> beyond;
        scaled = scaled > most ? most : scaled < -most ? -most : scaled;
        out[x] = isoq_ratio(scaled * 16, isoq_reciprocal_of(contrast[x]), 6 + octave - beyond);
    }
}

#endif
