/* Sums over the decoded neighbours of latents, from which context.h makes contexts.

   Memory: isoq_planes keeps what contexts see of each decoded latent, its magnitude and value
   (isoq_as_neighbour), a plane per channel. Magnitude planes have a frame one wide, filled by
   replication when a channel is complete (isoq_complete_channel), so that later channels look
   around a latent without testing for the border. Sums are kept for one channel at a time, laid out
   like the planes, so that a term for all of the channel is one loop:

     isoq_sum_channel   terms of earlier channels, all rows at once
     isoq_sum_row       terms of the rows above in the same channel, before a row
     isoq_sum_left      terms of the row itself, before a latent

   The last two are for channels with isoq_looks_at_itself, one in sixteen in the built-in models.

   Sums are doubles, which are exact here, as all are below 2^51, and faster than integers of 64
   bits. They start at 1.5 * 2^52, so that the lowest bits of the double are the sum as an integer,
   and integers can be added to them as well. Most channels are so small that products of 16 bits
   and sums of 32 are enough, which is several times as fast (neighbour_sums.inc). */
#ifndef ISOQ_NEIGHBOURS_H
#define ISOQ_NEIGHBOURS_H

#include "context.h"
#include "pairs.h"

enum {
    ISOQ_NEIGHBOURS = 32, /* terms that are added at a time */
    ISOQ_FEWEST_SUMS = 64 /* that neighbour_sums.inc is made for, whatever the set */
};

typedef isoq_double_bits isoq_sum;

static const isoq_sum ISOQ_SUM_START = {.number = 6755399441055744.0}; /* 1.5 * 2^52 */

ISOQ_INLINE int64_t isoq_integer_of(isoq_sum sum) { return sum.bits - ISOQ_SUM_START.bits; }

typedef struct {
    int32_t *magnitude;       /* (channels, rows + 2, cols + 2) */
    int32_t *value;           /* (channels, rows, cols) */
    isoq_sum *magnitude_sums; /* (rows, cols + 2): the first cols of each row count */
    isoq_sum *value_sums;     /* (rows, cols) */
    int32_t *largest;         /* (channels, 2): no magnitude is larger, and no value in magnitude */
    int rows, cols;
} isoq_planes;

/* Return row `row` (-1 ... rows) of a channel's magnitudes, of which columns -1 ... cols exist. */
static inline int32_t *isoq_magnitude_row(const isoq_planes *planes, int channel, int row) {
    size_t above = (size_t)channel * (planes->rows + 2) + row + 1;
    return planes->magnitude + above * (planes->cols + 2) + 1;
}

/* Return row `row` (0 ... rows - 1) of a channel's values. */
static inline int32_t *isoq_value_row(const isoq_planes *planes, int channel, int row) {
    return planes->value + ((size_t)channel * planes->rows + row) * planes->cols;
}

static inline isoq_sum *isoq_magnitude_sums(const isoq_planes *planes, int row) {
    return planes->magnitude_sums + (size_t)row * (planes->cols + 2);
}

static inline isoq_sum *isoq_value_sums(const isoq_planes *planes, int row) {
    return planes->value_sums + (size_t)row * planes->cols;
}

/* Release what isoq_allocate_planes allocated. */
ISOQ_API void isoq_release_planes(isoq_planes *planes) {
    ISOQ_FREE(planes->magnitude);
    ISOQ_FREE(planes->value);
    ISOQ_FREE(planes->magnitude_sums);
    ISOQ_FREE(planes->value_sums);
    ISOQ_FREE(planes->largest);
}

/* Allocate planes for a grid. Release them in any case. */
ISOQ_API isoq_status isoq_allocate_planes(isoq_planes *planes, const isoq_grid *grid) {
    assert(grid->channels > 0 && grid->rows > 0 && grid->cols > 0);
    size_t channels = (size_t)grid->channels;
    size_t rows = (size_t)grid->rows;
    size_t cols = (size_t)grid->cols;
    planes->rows = grid->rows;
    planes->cols = grid->cols;
    planes->magnitude =
        (int32_t *)ISOQ_MALLOC(channels * (rows + 2) * (cols + 2) * sizeof(int32_t));
    planes->value = (int32_t *)ISOQ_MALLOC(channels * rows * cols * sizeof(int32_t));
    planes->magnitude_sums = (isoq_sum *)ISOQ_MALLOC(rows * (cols + 2) * sizeof(isoq_sum));
    planes->value_sums = (isoq_sum *)ISOQ_MALLOC(rows * cols * sizeof(isoq_sum));
    planes->largest = (int32_t *)ISOQ_MALLOC(channels * 2 * sizeof(int32_t));
    int complete = planes->magnitude && planes->value && planes->magnitude_sums &&
                   planes->value_sums && planes->largest;
    return complete ? ISOQ_OK : ISOQ_NO_MEMORY;
}

/* Return a number that none of n numbers exceeds in magnitude: 2^k - 1 with the least such k. */
ISOQ_MULTIVERSION int32_t isoq_bound_of(const int32_t *numbers, size_t n) {
    int32_t bits = 0;
    for (size_t j = 0; j < n; j++) bits |= numbers[j] < 0 ? -numbers[j] : numbers[j];
    return (int32_t)(((uint32_t)1 << isoq_bit_length((uint64_t)bits)) - 1);
}

/* Complete a channel of which all magnitudes and values are set: fill the frame of the magnitudes
   with the nearest of them, and note how large they are. */
ISOQ_API void isoq_complete_channel(const isoq_planes *planes, int channel) {
    int rows = planes->rows;
    int cols = planes->cols;
    size_t bytes = ((size_t)cols + 2) * sizeof(int32_t);
    for (int i = 0; i < rows; i++) {
        int32_t *row = isoq_magnitude_row(planes, channel, i);
        row[-1] = row[0];
        row[cols] = row[cols - 1];
    }
    memcpy(isoq_magnitude_row(planes, channel, -1) - 1, isoq_magnitude_row(planes, channel, 0) - 1,
           bytes);
    memcpy(isoq_magnitude_row(planes, channel, rows) - 1,
           isoq_magnitude_row(planes, channel, rows - 1) - 1, bytes);
    planes->largest[2 * channel] = isoq_bound_of(isoq_magnitude_row(planes, channel, -1) - 1,
                                                 ((size_t)rows + 2) * ((size_t)cols + 2));
    planes->largest[2 * channel + 1] =
        isoq_bound_of(isoq_value_row(planes, channel, 0), (size_t)rows * (size_t)cols);
}

/* Return whether contexts of a channel look at the channel itself. */
ISOQ_API int isoq_looks_at_itself(const isoq_context_model *model, int channel) {
    for (int k = 0; k < ISOQ_OWN; k++)
        if (model->own[channel * ISOQ_OWN + k]) return 1;
    for (int k = 0; k < ISOQ_OWN_VALUE; k++)
        if (model->own_value[channel * ISOQ_OWN_VALUE + k]) return 1;
    return 0;
}

ISOQ_INLINE void isoq_start_sums(isoq_sum *sums, int n) {
    for (int j = 0; j < n; j++) sums[j] = ISOQ_SUM_START;
}

/* Some terms of sums: sum j has from[t][j] * weight[t]. most: what all of them can be together in
   magnitude; largest: the largest number or weight there is. */
typedef struct {
    const int32_t *from[ISOQ_NEIGHBOURS];
    int32_t weight[ISOQ_NEIGHBOURS];
    int count;
    int64_t most, largest;
} isoq_neighbour_terms;

ISOQ_INLINE void isoq_add_neighbour(isoq_neighbour_terms *terms, const int32_t *from,
                                    int32_t weight, int32_t largest) {
    int64_t magnitude = weight < 0 ? -(int64_t)weight : weight;
    terms->from[terms->count] = from;
    terms->weight[terms->count++] = weight;
    terms->most += magnitude * largest;
    terms->largest = magnitude > terms->largest ? magnitude : terms->largest;
    terms->largest = largest > terms->largest ? largest : terms->largest;
}

#define ISOQ_SET(name) name##_plain
#define ISOQ_SUMS ISOQ_PLAIN_SUMS
#define ISOQ_TARGET
#include "neighbour_sums.inc"

#if ISOQ_ALL_SETS
#define ISOQ_SET(name) name##_avx2
#define ISOQ_SUMS ISOQ_AVX2_SUMS
#define ISOQ_TARGET ISOQ_WITH_AVX2
#include "neighbour_sums.inc"

#define ISOQ_SET(name) name##_avx512
#define ISOQ_SUMS ISOQ_AVX512_SUMS
#define ISOQ_TARGET ISOQ_WITH_AVX512
#include "neighbour_sums.inc"
#endif

/* Add terms of any size to n sums, four at once: loading and storing a sum takes longer than adding
   a term. */
ISOQ_MULTIVERSION void isoq_add_large_terms(isoq_sum *sums, const isoq_neighbour_terms *terms,
                                            int n) {
    for (int k = 0; k < terms->count; k += 4) {
        const int32_t *from[4];
        double weight[4];
        for (int t = 0; t < 4; t++) {
            from[t] = terms->from[k + t < terms->count ? k + t : k];
            weight[t] = k + t < terms->count ? terms->weight[k + t] : 0;
        }
        ISOQ_INDEPENDENT
        for (int j = 0; j < n; j++)
            sums[j].number += (weight[0] * from[0][j] + weight[1] * from[1][j]) +
                              (weight[2] * from[2][j] + weight[3] * from[3][j]);
    }
}

/* Add terms to n sums, and empty the list. */
ISOQ_API void isoq_add_terms(isoq_sum *sums, isoq_neighbour_terms *terms, int n) {
    if (terms->largest <= INT16_MAX && terms->most <= INT32_MAX && n >= ISOQ_FEWEST_SUMS)
        ISOQ_BEST_SET(isoq_add_small_terms, sums, terms, n);
    else
        isoq_add_large_terms(sums, terms, n);
    terms->count = 0, terms->most = 0, terms->largest = 0;
}

/* Set the sums of a channel to the terms of earlier channels. All rows at once: sums of the frame
   between two rows come with it, and nobody looks at them. */
ISOQ_API void isoq_sum_channel(const isoq_context_model *model, const isoq_planes *planes,
                               int channel) {
    const isoq_sparse_weights *around = &model->around, *values = &model->value;
    isoq_neighbour_terms terms = {.count = 0, .most = 0, .largest = 0};
    int n = planes->rows * (planes->cols + 2) - 2;
    isoq_start_sums(planes->magnitude_sums, n);
    for (int k = around->start[channel]; k < around->start[channel + 1]; k++) {
        int from = around->channel[k], place = around->place[k];
        const int32_t *row = isoq_magnitude_row(planes, from, place / 3 - 1);
        if (terms.count == ISOQ_NEIGHBOURS) isoq_add_terms(planes->magnitude_sums, &terms, n);
        isoq_add_neighbour(&terms, row + place % 3 - 1, around->weight[k],
                           planes->largest[2 * from]);
    }
    isoq_add_terms(planes->magnitude_sums, &terms, n);
    n = planes->rows * planes->cols;
    isoq_start_sums(planes->value_sums, n);
    for (int k = values->start[channel]; k < values->start[channel + 1]; k++) {
        int from = values->channel[k];
        if (terms.count == ISOQ_NEIGHBOURS) isoq_add_terms(planes->value_sums, &terms, n);
        isoq_add_neighbour(&terms, isoq_value_row(planes, from, 0), values->weight[k],
                           planes->largest[2 * from + 1]);
    }
    isoq_add_terms(planes->value_sums, &terms, n);
}

/* Add to the sums of a row the terms of the rows above. */
ISOQ_API void isoq_sum_row(const isoq_context_model *model, const isoq_planes *planes, int channel,
                           int row) {
    if (!row) return;
    int last = planes->cols - 1;
    const int32_t *own = model->own + channel * ISOQ_OWN;
    const int32_t *own_value = model->own_value + channel * ISOQ_OWN_VALUE;
    isoq_sum *magnitude_sums = isoq_magnitude_sums(planes, row);
    isoq_sum *value_sums = isoq_value_sums(planes, row);
    for (int j = 0; j <= last; j++) {
        const int32_t *magnitude = isoq_magnitude_row(planes, channel, row - 1) + j;
        const int32_t *value = isoq_value_row(planes, channel, row - 1) + j;
        int64_t magnitudes = (int64_t)own[1] * magnitude[0];
        int64_t values = (int64_t)own_value[1] * value[0];
        if (j > 0) {
            magnitudes += (int64_t)own[2] * magnitude[-1];
            values += (int64_t)own_value[2] * value[-1];
        }
        if (j < last) {
            magnitudes += (int64_t)own[3] * magnitude[1];
            values += (int64_t)own_value[3] * value[1];
        }
        if (row > 1)
            magnitudes += (int64_t)own[5] * isoq_magnitude_row(planes, channel, row - 2)[j];
        magnitude_sums[j].bits += magnitudes;
        value_sums[j].bits += values;
    }
}

/* Add to the sums of latent `j` of a row the terms of the latents to the left. magnitude, value,
   magnitude_sums, value_sums: of the row. */
static inline void isoq_sum_left(const isoq_context_model *model, int channel, int j,
                                 const int32_t *magnitude, const int32_t *value,
                                 isoq_sum *magnitude_sums, isoq_sum *value_sums) {
    const int32_t *own = model->own + channel * ISOQ_OWN;
    if (j > 0) {
        magnitude_sums[j].bits += (int64_t)own[0] * magnitude[j - 1];
        value_sums[j].bits += (int64_t)model->own_value[channel * ISOQ_OWN_VALUE] * value[j - 1];
    }
    if (j > 1) magnitude_sums[j].bits += (int64_t)own[4] * magnitude[j - 2];
}

#endif
