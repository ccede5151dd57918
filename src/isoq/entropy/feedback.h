/* What feedback does with every latent. isoq/tile/feedback.py says why. */
#ifndef ISOQ_FEEDBACK_H
#define ISOQ_FEEDBACK_H

#include "compiler.h"

/* Latents of a channel: y before and `steps` after an earlier quantization, of `input` at other
   gains than those that are next. */
typedef struct {
    const float *y, *input, *steps, *gain;
} isoq_earlier_latents;

/* Set `dequantized` to what n latents are taken for before they are quantized again, and `start` to
   where they start from. Those of less than most[j] steps keep their integer; the error of others
   is not known, and none is assumed. */
ISOQ_MULTIVERSION void isoq_start_feedback(const isoq_earlier_latents *latents, const float *most,
                                           float *ISOQ_RESTRICT dequantized,
                                           float *ISOQ_RESTRICT start, size_t n) {
    const float *y = latents->y, *input = latents->input;
    const float *steps = latents->steps, *gain = latents->gain;
    for (size_t j = 0; j < n; j++) {
        int keeps = fabsf(steps[j]) < most[j];
        dequantized[j] = keeps ? steps[j] / gain[j] : y[j];
        start[j] = keeps ? input[j] : y[j];
    }
}

/* Move n latents from `start` a share of the way to their best values. product: the scalar product
   of the error of the pixels with the basis function of each latent, which has a certain energy. */
ISOQ_MULTIVERSION void isoq_finish_feedback(const float *dequantized, const float *product,
                                            float energy, float share, float *ISOQ_RESTRICT start,
                                            size_t n) {
    for (size_t j = 0; j < n; j++) {
        float best = dequantized[j] + product[j] / energy;
        start[j] += share * (best - start[j]);
    }
}

#endif
