/* Sums over the decoded neighbours of latents, from which context.h makes contexts.

   Memory: isoq_planes keeps what contexts see of each decoded latent, its magnitude and value
   (isoq_as_neighbour), a plane per channel. Magnitude planes have a frame one wide, filled by
   replication when a channel is complete (isoq_fill_frame), so that later channels look around a
   latent without testing for the border. Sums are kept for one channel at a time, laid out like the
   planes, so that a term for all of the channel is one loop:

     isoq_sum_channel   terms of earlier channels, all rows at once
     isoq_sum_row       terms of the rows above in the same channel, before a row
     isoq_sum_left      terms of the row itself, before a latent

   The last two are for channels with isoq_looks_at_itself, one in sixteen in the built-in models.

   Sums are doubles, which are exact here, as all are below 2^51, and faster than integers of 64
   bits. They start at 1.5 * 2^52, so that the lowest bits of the double are the sum as an integer,
   and integers can be added to them as well. */
#ifndef ISOQ_NEIGHBOURS_H
#define ISOQ_NEIGHBOURS_H

#include "context.h"

typedef isoq_double_bits isoq_sum;

static const isoq_sum ISOQ_SUM_START = {.number = 6755399441055744.0}; /* 1.5 * 2^52 */

ISOQ_INLINE int64_t isoq_integer_of(isoq_sum sum) { return sum.bits - ISOQ_SUM_START.bits; }

typedef struct {
    int32_t *magnitude;       /* (channels, rows + 2, cols + 2) */
    int32_t *value;           /* (channels, rows, cols) */
    isoq_sum *magnitude_sums; /* (rows, cols + 2): the first cols of each row count */
    isoq_sum *value_sums;     /* (rows, cols) */
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
    int complete =
        planes->magnitude && planes->value && planes->magnitude_sums && planes->value_sums;
    return complete ? ISOQ_OK : ISOQ_NO_MEMORY;
}

/* Fill the frame of a channel whose magnitudes are complete with the nearest of them. */
ISOQ_API void isoq_fill_frame(const isoq_planes *planes, int channel) {
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

/* Add four terms to n sums: weight[t] * from[t][j] to sum j. Four at once, since loading and
   storing a sum takes longer than adding a term. */
ISOQ_INLINE void isoq_add_products(isoq_sum *sums, const int32_t *const *from, const double *weight,
                                   int n) {
    const int32_t *first = from[0], *second = from[1], *third = from[2], *fourth = from[3];
    double of_first = weight[0], of_second = weight[1];
    double of_third = weight[2], of_fourth = weight[3];
    ISOQ_INDEPENDENT
    for (int j = 0; j < n; j++)
        sums[j].number += (of_first * first[j] + of_second * second[j]) +
                          (of_third * third[j] + of_fourth * fourth[j]);
}

/* Set the sums of a channel to the terms of earlier channels. All rows at once: sums of the frame
   between two rows come with it, and nobody looks at them. */
ISOQ_MULTIVERSION void isoq_sum_channel(const isoq_context_model *model, const isoq_planes *planes,
                                        int channel) {
    const isoq_sparse_weights *around = &model->around, *values = &model->value;
    const int32_t *from[4];
    double weight[4];
    int n = planes->rows * (planes->cols + 2) - 2;
    isoq_start_sums(planes->magnitude_sums, n);
    for (int k = around->start[channel], end = around->start[channel + 1]; k < end; k += 4) {
        for (int t = 0; t < 4; t++) {
            int at = k + t < end ? k + t : k;
            int place = around->place[at];
            from[t] =
                isoq_magnitude_row(planes, around->channel[at], place / 3 - 1) + place % 3 - 1;
            weight[t] = k + t < end ? around->weight[at] : 0;
        }
        isoq_add_products(planes->magnitude_sums, from, weight, n);
    }
    n = planes->rows * planes->cols;
    isoq_start_sums(planes->value_sums, n);
    for (int k = values->start[channel], end = values->start[channel + 1]; k < end; k += 4) {
        for (int t = 0; t < 4; t++) {
            int at = k + t < end ? k + t : k;
            from[t] = isoq_value_row(planes, values->channel[at], 0);
            weight[t] = k + t < end ? values->weight[at] : 0;
        }
        isoq_add_products(planes->value_sums, from, weight, n);
    }
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
