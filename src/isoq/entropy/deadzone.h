/* The error of scalar quantization with a dead zone, which the encoder assumes while it looks for a
   quality. Independent of the coder. */
#ifndef ISOQ_DEADZONE_H
#define ISOQ_DEADZONE_H

#include "context.h"

/* Set out[k] to the squared error that quantization to floor(|y| finer gain + threshold) leaves in
   y[k], for n latents. Values beyond ISOQ_MAX_LATENT steps count as exact. y, gain and out do not
   overlap; gains are positive. */
ISOQ_MULTIVERSION void isoq_deadzone_squares(const float *ISOQ_RESTRICT y,
                                             const float *ISOQ_RESTRICT gain, float finer,
                                             float threshold, float *ISOQ_RESTRICT out, size_t n) {
    for (size_t k = 0; k < n; k++) {
        float steps = finer * gain[k], scaled = fabsf(y[k]) * steps;
        scaled = scaled < (float)ISOQ_MAX_LATENT ? scaled : 0;
        float off = (scaled - (float)(int32_t)(scaled + threshold)) / steps;
        out[k] = off * off;
    }
}

/* Return how many of n numbers are beyond `least` in magnitude. */
ISOQ_MULTIVERSION size_t isoq_count_beyond(const float *y, float least, size_t n) {
    size_t count = 0;
    for (size_t k = 0; k < n; k++) count += fabsf(y[k]) > least;
    return count;
}

#endif
