/* The network that predicts detail from the low-pass band: a few small convolutions.

   A cell is 2 x 2 samples of the low-pass band. From INPUTS features of every cell the network
   makes OUTPUTS numbers for it:

     head    3 x 3 convolution, INPUTS to `width` channels
     body    `depth` times: 3 x 3 convolution of all channels, added to what it starts from
     tail    1 x 1 convolution to OUTPUTS

   Weights, features and what passes between layers are integers: weights in 1/2^7, all else in
   1/2^4; a hidden number is 0 ... 255. All sums are below 2^24, so every processor finds the same
   ones, in whatever order it adds. Channels are kept in pairs (pairs.h). Cells beyond the border
   are those at the border.

   Rows pass through all layers one after the other. A layer keeps the last three rows that it was
   given, so the memory stays small. */
#ifndef ISOQ_SUBBAND_NETWORK_H
#define ISOQ_SUBBAND_NETWORK_H

#include "pairs.h"

enum {
    ISOQ_NETWORK_INPUTS = 8,
    ISOQ_NETWORK_OUTPUTS = 24,
    ISOQ_NETWORK_BLOCK = 4, /* output channels that are computed together; a divisor of the width */
    ISOQ_NETWORK_MOST_WIDTH = 32,
    ISOQ_NETWORK_MOST_DEPTH = 4,
    ISOQ_NETWORK_STEP = 16, /* a row has room for a multiple of so many cells */
    ISOQ_NETWORK_MOST_BIAS = 1 << 22,
    ISOQ_NETWORK_HIDDEN = 255
};

/* The network of one level, as it is stored. */
typedef struct {
    int width, depth;
    const int8_t *head;  /* (width, INPUTS, 3, 3) */
    const int8_t *body;  /* (depth, width, width, 3, 3) */
    const int8_t *tail;  /* (OUTPUTS, width) */
    const int32_t *bias; /* (width + depth width + OUTPUTS,), in 1/2^11 */
} isoq_network_weights;

/* A convolution: weights (outputs / BLOCK, pairs of inputs, taps, BLOCK), bias (outputs,). */
typedef struct {
    int pairs, outputs;
    int32_t *weight, *bias;
} isoq_convolution;

typedef struct {
    int width, depth;
    isoq_convolution head, body[ISOQ_NETWORK_MOST_DEPTH], tail;
    int32_t *memory;
} isoq_network;

/* Rows of a layer's input, (3, pairs, stride), of which row i is kept at i mod 3. Cells are at
   1 ... cells of the row of a pair of channels; those before and behind are copies of the first and
   the last. */
typedef struct {
    int pairs, cells, rows;
    size_t stride;
    int32_t *memory;
} isoq_rows_kept;

ISOQ_API void isoq_release_network(isoq_network *network) { ISOQ_FREE(network->memory); }

/* Arrange weights (outputs, inputs, taps) from *memory on. Return what is behind them. */
ISOQ_API int32_t *isoq_arrange(isoq_convolution *layer, int inputs, int outputs, int taps,
                               const int8_t *weight, const int32_t *bias, int32_t *memory) {
    int pairs = inputs / 2, size = pairs * taps * ISOQ_NETWORK_BLOCK;
    layer->pairs = pairs, layer->outputs = outputs;
    layer->weight = memory, layer->bias = memory + outputs / ISOQ_NETWORK_BLOCK * size;
    for (int o = 0; o < outputs; o++) {
        int32_t *to = layer->weight + o / ISOQ_NETWORK_BLOCK * size + o % ISOQ_NETWORK_BLOCK;
        for (int pair = 0; pair < pairs; pair++, weight += 2 * taps)
            for (int k = 0; k < taps; k++, to += ISOQ_NETWORK_BLOCK)
                *to = isoq_pair_of(weight[k], weight[k + taps]);
        layer->bias[o] = bias[o];
    }
    return layer->bias + outputs;
}

/* Arrange the weights of a network. Release it in any case. */
ISOQ_API isoq_status isoq_arrange_network(isoq_network *network, const isoq_network_weights *from) {
    int width = from->width, depth = from->depth;
    size_t square = (size_t)width * (size_t)width * 9;
    size_t weights =
        (size_t)width * (9 * ISOQ_NETWORK_INPUTS + ISOQ_NETWORK_OUTPUTS) + (size_t)depth * square;
    size_t room = weights / 2 + (size_t)width * (1 + (size_t)depth) + ISOQ_NETWORK_OUTPUTS;
    int32_t *memory = (int32_t *)ISOQ_MALLOC(room * sizeof *memory);
    network->width = width, network->depth = depth, network->memory = memory;
    if (!memory) return ISOQ_NO_MEMORY;
    memory =
        isoq_arrange(&network->head, ISOQ_NETWORK_INPUTS, width, 9, from->head, from->bias, memory);
    for (int k = 0; k < depth; k++)
        memory = isoq_arrange(&network->body[k], width, width, 9, from->body + (size_t)k * square,
                              from->bias + (k + 1) * width, memory);
    isoq_arrange(&network->tail, width, ISOQ_NETWORK_OUTPUTS, 1, from->tail,
                 from->bias + (depth + 1) * width, memory);
    return ISOQ_OK;
}

/* Return a pair of channels of a row that is kept, or of the one at the border nearest to it. */
ISOQ_INLINE int32_t *isoq_kept_row(const isoq_rows_kept *kept, int row, int pair) {
    int last = kept->rows - 1;
    row = row < 0 ? 0 : row > last ? last : row;
    return kept->memory + ((size_t)(row % 3) * (size_t)kept->pairs + (size_t)pair) * kept->stride;
}

/* Set the cells beside the border of a row. */
ISOQ_API void isoq_close_row(const isoq_rows_kept *kept, int row) {
    for (int pair = 0; pair < kept->pairs; pair++) {
        int32_t *cells = isoq_kept_row(kept, row, pair);
        cells[0] = cells[1];
        cells[kept->cells + 1] = cells[kept->cells];
    }
}

/* Return a hidden number: a sum in 1/2^11, rounded down to 1/2^4 and limited, added to `start`. */
ISOQ_INLINE int32_t isoq_hidden_of(int32_t sum, int32_t start) {
    int32_t most = ISOQ_NETWORK_HIDDEN, hidden = (sum < 0 ? 0 : sum >> 7) + start;
    return hidden > most ? most : hidden;
}

#define ISOQ_SET(name) name##_plain
#define ISOQ_SUMS ISOQ_PLAIN_SUMS
#define ISOQ_TARGET
#include "subband_rows.inc"

#ifdef ISOQ_WITH_AVX2
#define ISOQ_SET(name) name##_avx2
#define ISOQ_SUMS ISOQ_AVX2_SUMS
#define ISOQ_TARGET ISOQ_WITH_AVX2
#include "subband_rows.inc"
#endif

/* Compute row `row` of a hidden layer. is_added: to the same row of what it starts from. */
ISOQ_API void isoq_hidden_row(const isoq_convolution *layer, const isoq_rows_kept *from,
                              const isoq_rows_kept *to, int row, int is_added) {
#ifdef ISOQ_WITH_AVX2
    if (isoq_has_avx2()) {
        isoq_hidden_row_avx2(layer, from, to, row, is_added);
        return;
    }
#endif
    isoq_hidden_row_plain(layer, from, to, row, is_added);
}

/* Compute row `row` of the outputs, (OUTPUTS, stride). */
ISOQ_API void isoq_output_row(const isoq_convolution *layer, const isoq_rows_kept *from, int row,
                              int32_t *out) {
#ifdef ISOQ_WITH_AVX2
    if (isoq_has_avx2()) {
        isoq_output_row_avx2(layer, from, row, out);
        return;
    }
#endif
    isoq_output_row_plain(layer, from, row, out);
}

#endif
