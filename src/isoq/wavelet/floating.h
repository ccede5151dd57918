/* The transforms in floats, for the encoder: analysis, dual analysis and synthesis.

   They are those of fixed.h but for rounding. Latents are in the units of an orthonormal transform;
   `scale` leads from there to the unscaled bands of the lifting steps. */
#ifndef ISOQ_FLOATING_H
#define ISOQ_FLOATING_H

#include "layout.h"
#include "steps.h"

#define ISOQ_SAMPLE float
#define ISOQ_FACTOR float
#define ISOQ_FACTOR_OF(factor) ((float)(factor) / (1 << ISOQ_FACTOR_BITS))
#define ISOQ_SUM(a, b) ((a) + (b))
#define ISOQ_TERM(f, a, g, b) ((f) * (a) + (g) * (b))
#define ISOQ_TYPED(name) name##_float
#include "lifting.inc"
#include "transform.inc"
#undef ISOQ_SAMPLE
#undef ISOQ_FACTOR
#undef ISOQ_FACTOR_OF
#undef ISOQ_SUM
#undef ISOQ_TERM
#undef ISOQ_TYPED

typedef struct {
    isoq_layout layout;
    float *latent;      /* (channels, rows, cols) */
    const float *scale; /* (channels,) */
} isoq_float_latents;

/* isoq_take_float of isoq_float_latents. */
ISOQ_MULTIVERSION void isoq_take_scaled(const void *from, int level, int band, int i, float *row) {
    const isoq_float_latents *latents = (const isoq_float_latents *)from;
    int side = isoq_side_of(level), cols = latents->layout.cols;
    size_t at = (size_t)(i / side) * (size_t)cols;
    size_t plane = (size_t)latents->layout.rows * (size_t)cols;
    const int32_t *channels = isoq_channels_of(&latents->layout, level, band, i % side);
    for (int x = 0; x < side; x++) {
        const float *latent = latents->latent + (size_t)channels[x] * plane + at;
        float scale = latents->scale[channels[x]];
        for (int j = 0; j < cols; j++) row[side * j + x] = scale * latent[j];
    }
}

/* Store row `i` of a sub-band. */
ISOQ_MULTIVERSION void isoq_put_scaled(const isoq_float_latents *latents, int level, int band,
                                       int i, const float *row) {
    int side = isoq_side_of(level), cols = latents->layout.cols;
    size_t at = (size_t)(i / side) * (size_t)cols;
    size_t plane = (size_t)latents->layout.rows * (size_t)cols;
    const int32_t *channels = isoq_channels_of(&latents->layout, level, band, i % side);
    for (int x = 0; x < side; x++) {
        float *latent = latents->latent + (size_t)channels[x] * plane + at;
        float scale = latents->scale[channels[x]];
        for (int j = 0; j < cols; j++) latent[j] = scale * row[side * j + x];
    }
}

enum { ISOQ_RING = 8 }; /* pairs of rows that are in work at a time */

/* Cut a line into its halves. */
ISOQ_MULTIVERSION void isoq_deinterleave(const float *line, float *low, float *high, int n) {
    ISOQ_INDEPENDENT
    for (int j = 0; j < n; j++) {
        low[j] = line[2 * j];
        high[j] = line[2 * j + 1];
    }
}

/* Cut a plane (2 n, 2 m) into its low-pass band (n, m) and details, which become latents.
   memory: 2 ISOQ_RING rows of the plane and two halves with their pads. */
ISOQ_API void isoq_analyse_level(const isoq_steps *analysis, isoq_direction direction,
                                 const float *in, const isoq_float_latents *latents, int level,
                                 int n, int m, float *memory, float *low_pass) {
    isoq_steps steps = isoq_steps_of(analysis, direction);
    int delay[ISOQ_MOST_STEPS];
    int last = isoq_schedule(&steps, delay);
    size_t width = 2 * (size_t)m, bytes = width * sizeof(float);
    float *low = memory + 2 * ISOQ_RING * width + ISOQ_ROOM, *high = low + m + 2 * ISOQ_ROOM;
    isoq_rows_float rows = {memory, memory + width, 2 * width, ISOQ_RING, n, 2 * m};
    assert(last + 2 < ISOQ_RING);
    for (int t = 0; t < n + last; t++) {
        if (t < n) {
            memcpy(isoq_row_float(&rows, 1, t), in + 2 * (size_t)t * width, bytes);
            memcpy(isoq_row_float(&rows, 0, t), in + (2 * (size_t)t + 1) * width, bytes);
        }
        isoq_lift_rows_float(&rows, &steps, delay, t);
        for (int odd = 0; t >= last && odd < 2; odd++) {
            int i = t - last;
            isoq_deinterleave(isoq_row_float(&rows, !odd, i), low, high, m);
            isoq_lift_line_float(&steps, low, high, m);
            if (odd)
                isoq_put_scaled(latents, level, 2, i, low);
            else
                memcpy(low_pass + (size_t)i * (size_t)m, low, (size_t)m * sizeof(float));
            isoq_put_scaled(latents, level, odd ? 3 : 1, i, high);
        }
    }
}

/* Set latents to the analysis, or the dual one, of a plane `in`, (rows, cols) of
   the layout times 16. wavelets: of each level, the finest first. Returns ISOQ_OK or
   ISOQ_NO_MEMORY. */
ISOQ_API isoq_status isoq_analyse(const isoq_steps *const *wavelets, isoq_direction direction,
                                  const float *in, const isoq_float_latents *latents) {
    int n = latents->layout.rows << ISOQ_WAVELET_LEVELS;
    int m = latents->layout.cols << ISOQ_WAVELET_LEVELS;
    size_t quarter = (size_t)n * (size_t)m / 4, lines = (2 * ISOQ_RING + 1) * (size_t)m;
    float *memory = (float *)ISOQ_MALLOC((2 * quarter + lines + 4 * ISOQ_ROOM) * sizeof *memory);
    if (!memory) return ISOQ_NO_MEMORY;
    const float *plane = in;
    for (int level = 1; level <= ISOQ_WAVELET_LEVELS; level++) {
        float *low_pass = memory + (level % 2 ? 0 : quarter);
        n /= 2;
        m /= 2;
        isoq_analyse_level(wavelets[level - 1], direction, plane, latents, level, n, m,
                           memory + 2 * quarter, low_pass);
        plane = low_pass;
    }
    for (int i = 0; i < n; i++)
        isoq_put_scaled(latents, ISOQ_WAVELET_LEVELS, 0, i, plane + (size_t)i * (size_t)m);
    ISOQ_FREE(memory);
    return ISOQ_OK;
}

#endif
