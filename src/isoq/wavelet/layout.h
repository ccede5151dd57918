/* Where the samples of sub-bands are among the latents.

   Level 1 is the finest. Sub-bands are 0 low-pass (of the coarsest level alone), 1 horizontal, 2
   vertical and 3 diagonal detail. All channels of latents have the size of the coarsest sub-bands;
   a finer one is cut into its phases: sample (side i + y, side j + x) is latent (i, j) of the
   channel of phase (y, x), where side = 2^(ISOQ_WAVELET_LEVELS - level). */
#ifndef ISOQ_LAYOUT_H
#define ISOQ_LAYOUT_H

#include "compiler.h"

enum { ISOQ_WAVELET_LEVELS = 4, ISOQ_WAVELET_CHANNELS = 256 };

typedef struct {
    int rows, cols;         /* of a channel */
    const int32_t *channel; /* (ISOQ_WAVELET_CHANNELS,): by level from 1, sub-band, y, x; the low-pass
                               band last */
} isoq_layout;

ISOQ_API int isoq_side_of(int level) { return 1 << (ISOQ_WAVELET_LEVELS - level); }

/* Return the channels of row `y` of the phases of a sub-band, one for each x. */
ISOQ_API const int32_t *isoq_channels_of(const isoq_layout *layout, int level, int band, int y) {
    int side = isoq_side_of(level), first = 0;
    if (band == 0) return layout->channel + ISOQ_WAVELET_CHANNELS - 1;
    for (int finer = 1; finer < level; finer++)
        first += 3 * isoq_side_of(finer) * isoq_side_of(finer);
    return layout->channel + first + ((band - 1) * side + y) * side;
}

#endif
