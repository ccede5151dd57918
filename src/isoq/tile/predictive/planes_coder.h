/* The state of the predictive coder: adaptive tables, planes that are coded so far, and sums of a
   row.

   Memory: `value` and `distance` are planes with pads, ISOQ_PAD samples to the left and right and
   rows above, and one row below; isoq_continue_row fills the pads when a row is complete. So a
   prediction never tests for the border. `distance` says how far each sample was from its
   prediction. The sums are of one row. */
#ifndef ISOQ_PLANES_CODER_H
#define ISOQ_PLANES_CODER_H

#include "histogram.h"

enum {
    ISOQ_PAD = 2,
    ISOQ_REPEAT_WEST = 64, /* contexts of samples that repeat the one to the west */
    ISOQ_REPEAT_NORTH = 32 /* or to the north */
};

typedef struct {
    isoq_histogram degree[ISOQ_DEGREES];
    uint16_t west[ISOQ_REPEAT_WEST], north[ISOQ_REPEAT_NORTH]; /* chance of a repetition, 1/2^16 */
    int32_t *value, *distance; /* (planes, size): samples; 1/16 of their unit */
    int64_t *prediction;       /* (cols,): sum of weighted samples, 1/2^10 of their unit */
    int64_t *activity;         /* (cols,): sum of weighted distances, 1/2^11 */
    int64_t *step;             /* (cols,): of quantization, whole */
    size_t stride, size;       /* of a row and of a plane with pads */
    isoq_reader reader;        /* decoder */
    isoq_slot_list *list;      /* encoder */
} isoq_planes_coder;

/* Return row `row` (-ISOQ_PAD ... rows) of a plane, of which columns -ISOQ_PAD ... cols - 1 +
   ISOQ_PAD exist. planes: `value` or `distance`. */
static inline int32_t *isoq_padded_row(const isoq_planes_coder *coder, int32_t *planes, int plane,
                                       int row) {
    size_t start = (size_t)plane * coder->size;
    return planes + start + (size_t)(row + ISOQ_PAD) * coder->stride + ISOQ_PAD;
}

/* Release a coder and all that it has. Null is ignored. */
ISOQ_API void isoq_release_planes_coder(isoq_planes_coder *coder) {
    if (!coder) return;
    ISOQ_FREE(coder->value);
    ISOQ_FREE(coder->distance);
    ISOQ_FREE(coder->prediction);
    ISOQ_FREE(coder->activity);
    ISOQ_FREE(coder->step);
    ISOQ_FREE(coder);
}

/* Return a coder that has seen nothing, or null without memory. */
ISOQ_API isoq_planes_coder *isoq_new_planes_coder(const isoq_extent *extent) {
    isoq_planes_coder *coder = (isoq_planes_coder *)ISOQ_CALLOC(1, sizeof *coder);
    if (!coder) return NULL;
    size_t cols = (size_t)extent->cols;
    coder->stride = cols + 2 * ISOQ_PAD;
    coder->size = ((size_t)extent->rows + ISOQ_PAD + 1) * coder->stride;
    size_t samples = coder->size * (size_t)extent->planes;
    coder->value = (int32_t *)ISOQ_MALLOC(samples * sizeof(int32_t));
    coder->distance = (int32_t *)ISOQ_MALLOC(samples * sizeof(int32_t));
    coder->prediction = (int64_t *)ISOQ_MALLOC(cols * sizeof(int64_t));
    coder->activity = (int64_t *)ISOQ_MALLOC(cols * sizeof(int64_t));
    coder->step = (int64_t *)ISOQ_MALLOC(cols * sizeof(int64_t));
    if (!coder->value || !coder->distance || !coder->prediction || !coder->activity ||
        !coder->step) {
        isoq_release_planes_coder(coder);
        return NULL;
    }
    for (int k = 0; k < ISOQ_DEGREES; k++) isoq_expect(&coder->degree[k], k);
    for (int k = 0; k < ISOQ_REPEAT_WEST; k++) coder->west[k] = 1 << 12;
    for (int k = 0; k < ISOQ_REPEAT_NORTH; k++) coder->north[k] = 1 << 12;
    return coder;
}

/* Set what is to the west of the first sample of a plane: the middle of its range. */
ISOQ_API void isoq_begin_plane(const isoq_planes_coder *coder, const isoq_plan *plan, int plane) {
    const int32_t *range = plan->range + 2 * (size_t)plane;
    int32_t middle = (int32_t)(((int64_t)range[0] + range[1]) >> 1);
    for (int k = 1; k <= ISOQ_PAD; k++) {
        isoq_padded_row(coder, coder->value, plane, 0)[-k] = middle;
        isoq_padded_row(coder, coder->distance, plane, 0)[-k] = 0;
    }
}

/* Fill the pads around a row that is complete: to its right, to the left of the next row, above the
   first row, below the last. */
ISOQ_API void isoq_continue_row(const isoq_planes_coder *coder, int32_t *planes, int plane, int row,
                                const isoq_extent *extent) {
    int32_t *samples = isoq_padded_row(coder, planes, plane, row);
    const ptrdiff_t stride = (ptrdiff_t)coder->stride;
    size_t bytes = coder->stride * sizeof(int32_t);
    for (int k = 0; k < ISOQ_PAD; k++) samples[extent->cols + k] = samples[extent->cols - 1];
    if (!row)
        for (int k = 1; k <= ISOQ_PAD; k++)
            memcpy(samples - ISOQ_PAD - k * stride, samples - ISOQ_PAD, bytes);
    if (row == extent->rows - 1)
        memcpy(samples - ISOQ_PAD + stride, samples - ISOQ_PAD, bytes);
    else
        for (int k = 1; k <= ISOQ_PAD; k++) samples[stride - k] = samples[0];
}

#endif
