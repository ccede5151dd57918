/* Between the two halves of the transform: latents.c decodes latents, synthesis.c makes samples of
   them. */
#ifndef ISOQ_TRANSFORM_H
#define ISOQ_TRANSFORM_H

#include "tile.h"

/* Return a / b rounded down. b: positive. */
static inline int64_t isoq_floor_quotient(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* The places of the latents of a tile (6.7). */
typedef struct {
    int rows, cols;
    int channels;   /* that are decoded: all of them, or those of a reduced image */
    int32_t *level; /* (rows, cols) */
} isoq_places;

/* Set the levels of all places, given those of the blocks. */
void isoq_spread_levels(const isoq_tile *tile, const int32_t *block_level, isoq_places *places);

/* Return the rows and columns of a component per place of latents. */
int isoq_cell(const isoq_tile *tile);

/* Find the octave and the shift of each place (isoq_fixed_latents). finest: of quality, from which
   levels count; fraction: bits behind the point. */
int isoq_find_steps(const isoq_tile *tile, const isoq_places *places, int32_t finest, int fraction,
                    const int32_t **octave, const int32_t **shift);

/* Set a component (rows, cols of the places times isoq_cell) from its latents in steps (channels,
   rows, cols). */
int isoq_synthesize_component(isoq_tile *tile, const isoq_group *group, const isoq_places *places,
                              const float *steps, int32_t *component);

/* Set the samples of a group from all of its components. */
int isoq_combine_components(isoq_tile *tile, const isoq_group *group, const isoq_places *places,
                            const int32_t *components);

#endif
