/* A model of wavelets: its context model, and the wavelet of each level. */
#ifndef ISOQ_MODEL_H
#define ISOQ_MODEL_H

#include "arrays.h"
#include "limited.h"

#include "../src/isoq/entropy/trellis.h"
#include "../src/isoq/wavelet/layout.h"
#include "../src/isoq/wavelet/steps.h"

enum { ISOQ_LOWEST_LEVEL = -640, ISOQ_HIGHEST_LEVEL = 1280 }; /* of quality */
enum { ISOQ_SPAN = ISOQ_HIGHEST_LEVEL - ISOQ_LOWEST_LEVEL };

typedef enum { ISOQ_WAVELET_9_7, ISOQ_WAVELET_17_11 } isoq_wavelet;

struct isoq_model {
    isoq_work work;
    char name[64], identity[17];
    int levels;                                   /* of the transform */
    isoq_wavelet wavelet[ISOQ_WAVELET_LEVELS];    /* of each level, the finest first */
    const isoq_steps *steps[ISOQ_WAVELET_LEVELS]; /* of these wavelets */
    int channels;                                 /* of latents */
    int32_t channel[ISOQ_WAVELET_CHANNELS];       /* see layout.h */
    const int32_t *unit;                          /* (channels,): step at level 0 */
    isoq_arrays arrays;
    isoq_context_model context;
    isoq_trellis trellis; /* to which the context model points if it has one of its own */
    /* By how many levels a place is below the finest one: 2^16 g and 2^6 / g of isoq_grid. */
    int32_t up[ISOQ_SPAN + 1], down[ISOQ_SPAN + 1];
    int32_t octave[128]; /* 2^24 2^(-k / 128): of isoq_fixed_latents */
};

/* Make a model of a checked description (`info`, the keys of model.json) and of its arrays. */
int isoq_make_model(isoq_model *model, isoq_json info);

/* Return whether there is an array of a trellis. */
int isoq_has_trellis(const isoq_model *model);

/* Make the context model of the arrays with the prefix context_, and check it. */
int isoq_make_context(isoq_model *model);

/* Make the predictor of the arrays with the prefix predictor_, if there are any, and check it. */
int isoq_make_predictor(isoq_model *model);

/* Open the model in the chunk `modl` of a file. */
isoq_model *isoq_open_embedded(isoq_work *work, isoq_bytes chunk);

/* Segments of the latents of `positions` places (section 6.10): how many there are, and the
   channels up to the end of one. */
int isoq_count_segments(const isoq_model *model, int64_t positions);
int isoq_segment_end(const isoq_model *model, int64_t positions, int segment);

#endif
