#include "tile.h"

#include <string.h>

/* Reduced images of bands that no wavelet codes (6.10): means of the valid samples around a valid
   pixel. Bands of classes and pixels that are not valid have the sample in the middle. */

/* Return the weighted mean around (row, col) of a plane, a pixel that is valid. classes: of the
   plane, null if all are valid. */
static double mean_around(const isoq_tile *tile, const void *plane, const uint8_t *classes, int row,
                          int col) {
    int reach = 1 << tile->scale >> 1;
    double total = 0, weight = 0;
    for (int i = row - reach; i <= row + reach; i++) {
        if (i < 0 || i >= tile->rows) continue;
        double own = i == row - reach || i == row + reach ? 0.5 : 1;
        for (int j = col - reach; j <= col + reach; j++) {
            size_t k = (size_t)i * (size_t)tile->cols + (size_t)j;
            if (j < 0 || j >= tile->cols || (classes && classes[k] != ISOQ_CLASS_VALID)) continue;
            double both = j == col - reach || j == col + reach ? 0.5 * own : own;
            total += both * isoq_get_sample(plane, tile->type, k);
            weight += both;
        }
    }
    return total / weight;
}

static void reduce_band(isoq_tile *tile, int band, int is_sampled, const uint8_t *plane) {
    size_t full = (size_t)tile->rows * (size_t)tile->cols, size = isoq_sample_size(tile->type);
    const uint8_t *classes = tile->classes ? tile->classes + (size_t)band * full : NULL;
    uint8_t *to = (uint8_t *)isoq_plane(tile, band);
    for (int i = 0; i < tile->out_rows; i++)
        for (int j = 0; j < tile->out_cols; j++, to += size) {
            int row = i << tile->scale, col = j << tile->scale;
            size_t middle = (size_t)row * (size_t)tile->cols + (size_t)col;
            if (is_sampled || (classes && classes[middle] != ISOQ_CLASS_VALID)) {
                memcpy(to, plane + middle * size, size);
                continue;
            }
            double mean = mean_around(tile, plane, classes, row, col);
            isoq_set_sample(to, tile->type, 0, isoq_rounded(tile->type, mean));
        }
}

void isoq_reduce(isoq_tile *tile, const isoq_group *group, const void *samples) {
    size_t plane = (size_t)tile->rows * (size_t)tile->cols * isoq_sample_size(tile->type);
    for (int b = 0; b < group->bands; b++) {
        int band = group->first + b;
        reduce_band(tile, band, tile->is_sampled[band],
                    (const uint8_t *)samples + (size_t)b * plane);
    }
}
