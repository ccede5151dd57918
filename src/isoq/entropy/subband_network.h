/* The network that predicts detail from the low-pass band: a few small convolutions.

   A cell is 2 x 2 samples of the low-pass band. From INPUTS features of every cell the network makes
   OUTPUTS numbers for it:

     head    3 x 3 convolution, INPUTS to `width` channels
     body    `depth` times: 3 x 3 convolution of all channels, added to what it starts from
     tail    1 x 1 convolution to OUTPUTS

   Weights, features and what passes between layers are integers: weights in 1/2^7, all else in
   1/2^4; a hidden number is 0 ... 255. The sums are floats, which are exact here, as all are below
   2^24: every processor finds the same ones, in whatever order it adds. Cells beyond the border are
   those at the border.

   Rows pass through all layers one after the other. A layer keeps the last three rows that it was
   given, so the memory stays small. */
#ifndef ISOQ_SUBBAND_NETWORK_H
#define ISOQ_SUBBAND_NETWORK_H

#include "compiler.h"

enum {
    ISOQ_NETWORK_INPUTS = 8,
    ISOQ_NETWORK_OUTPUTS = 24,
    ISOQ_NETWORK_BLOCK = 4, /* output channels that are computed together; a divisor of the width */
    ISOQ_NETWORK_MOST_WIDTH = 32,
    ISOQ_NETWORK_MOST_DEPTH = 4,
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

/* A convolution: weights (outputs / BLOCK, inputs, taps, BLOCK), bias (outputs,). */
typedef struct {
    int inputs, outputs, side; /* side: 3 or 1 */
    float *weight, *bias;
} isoq_convolution;

typedef struct {
    int width, depth;
    isoq_convolution head, body[ISOQ_NETWORK_MOST_DEPTH], tail;
    float *memory;
} isoq_network;

/* Rows of a layer's input, (3, channels, stride), of which row i is kept at i mod 3. Cells are at
   1 ... cells of a channel's row; those before and behind are copies of the first and the last. */
typedef struct {
    int channels, cells, rows;
    size_t stride;
    float *memory;
} isoq_rows_kept;

ISOQ_API void isoq_release_network(isoq_network *network) { ISOQ_FREE(network->memory); }

/* Arrange weights (outputs, inputs, side, side) from *memory on. Return what is behind them. */
ISOQ_API float *isoq_arrange(isoq_convolution *layer, int inputs, int outputs, int side,
                             const int8_t *weight, const int32_t *bias, float *memory) {
    int taps = side * side;
    layer->inputs = inputs, layer->outputs = outputs, layer->side = side;
    layer->weight = memory, layer->bias = memory + (size_t)outputs * inputs * taps;
    for (int o = 0; o < outputs; o++) {
        int block = o / ISOQ_NETWORK_BLOCK, lane = o % ISOQ_NETWORK_BLOCK;
        for (int k = 0; k < inputs * taps; k++)
            layer->weight[(block * inputs * taps + k) * ISOQ_NETWORK_BLOCK + lane] =
                weight[o * inputs * taps + k];
        layer->bias[o] = (float)bias[o];
    }
    return layer->bias + outputs;
}

/* Arrange the weights of a network. Release it in any case. */
ISOQ_API isoq_status isoq_arrange_network(isoq_network *network, const isoq_network_weights *from) {
    int width = from->width, depth = from->depth;
    size_t square = (size_t)width * (size_t)width * 9;
    size_t weights = (size_t)width * (9 * ISOQ_NETWORK_INPUTS + ISOQ_NETWORK_OUTPUTS) +
                     (size_t)depth * square;
    size_t room = weights + (size_t)width * (1 + (size_t)depth) + ISOQ_NETWORK_OUTPUTS;
    float *memory = (float *)ISOQ_MALLOC(room * sizeof *memory);
    network->width = width, network->depth = depth, network->memory = memory;
    if (!memory) return ISOQ_NO_MEMORY;
    memory = isoq_arrange(&network->head, ISOQ_NETWORK_INPUTS, width, 3, from->head, from->bias,
                          memory);
    for (int k = 0; k < depth; k++)
        memory = isoq_arrange(&network->body[k], width, width, 3, from->body + (size_t)k * square,
                              from->bias + (k + 1) * width, memory);
    isoq_arrange(&network->tail, width, ISOQ_NETWORK_OUTPUTS, 1, from->tail,
                 from->bias + (depth + 1) * width, memory);
    return ISOQ_OK;
}

/* Return channel `channel` of a row that is kept, or of the one at the border nearest to it. */
ISOQ_INLINE float *isoq_kept_row(const isoq_rows_kept *kept, int row, int channel) {
    int last = kept->rows - 1;
    row = row < 0 ? 0 : row > last ? last : row;
    return kept->memory + ((size_t)(row % 3) * (size_t)kept->channels + (size_t)channel) *
                              kept->stride;
}

/* Set the cells beside the border of a row. */
ISOQ_API void isoq_close_row(const isoq_rows_kept *kept, int row) {
    for (int channel = 0; channel < kept->channels; channel++) {
        float *cells = isoq_kept_row(kept, row, channel);
        cells[0] = cells[1];
        cells[kept->cells + 1] = cells[kept->cells];
    }
}

/* Set `sum` (BLOCK) to a block of a layer's outputs at LANES cells from `at` of a row on. */
ISOQ_FUSED ISOQ_INLINE void isoq_convolve(const isoq_convolution *layer, const isoq_rows_kept *from, int row,
                               int block, int at, isoq_lanes *sum, const int side) {
    int around = side / 2, taps = side * side;
    const float *weight = layer->weight + (size_t)block * layer->inputs * taps * ISOQ_NETWORK_BLOCK;
    for (int o = 0; o < ISOQ_NETWORK_BLOCK; o++)
        isoq_lanes_fill(sum + o, layer->bias[block * ISOQ_NETWORK_BLOCK + o]);
    for (int channel = 0; channel < layer->inputs; channel++)
        for (int i = -around; i <= around; i++) {
            const float *cells = isoq_kept_row(from, row + i, channel) + 1 + at;
            for (int j = -around; j <= around; j++, weight += ISOQ_NETWORK_BLOCK) {
                isoq_lanes near;
                isoq_lanes_load(&near, cells + j);
                for (int o = 0; o < ISOQ_NETWORK_BLOCK; o++)
                    isoq_lanes_add_scaled(sum + o, weight[o], &near);
            }
        }
}

/* Return a hidden number: a sum in 1/2^11, rounded down to 1/2^4 and limited. */
ISOQ_INLINE float isoq_hidden_of(float sum) {
    float most = ISOQ_NETWORK_HIDDEN;
    float limited = sum < 0 ? 0 : sum > 128 * most ? 128 * most : sum;
    return (float)((int32_t)limited >> 7);
}

/* Compute row `row` of a hidden layer. is_added: to the same row of what it starts from. */
ISOQ_EXACT_MULTIVERSION void isoq_hidden_row(const isoq_convolution *layer, const isoq_rows_kept *from,
                                       const isoq_rows_kept *to, int row, int is_added) {
    for (int block = 0; block < layer->outputs / ISOQ_NETWORK_BLOCK; block++)
        for (int at = 0; at < from->cells; at += ISOQ_LANES) {
            isoq_lanes sum[ISOQ_NETWORK_BLOCK];
            float sums[ISOQ_LANES];
            isoq_convolve(layer, from, row, block, at, sum, 3);
            for (int o = 0; o < ISOQ_NETWORK_BLOCK; o++) {
                int channel = block * ISOQ_NETWORK_BLOCK + o;
                float *out = isoq_kept_row(to, row, channel) + 1 + at;
                const float *start = isoq_kept_row(from, row, is_added ? channel : 0) + 1 + at;
                isoq_lanes_store(sums, sum + o);
                ISOQ_INDEPENDENT
                for (int j = 0; j < ISOQ_LANES; j++) {
                    float hidden = isoq_hidden_of(sums[j]) + (is_added ? start[j] : 0);
                    out[j] = hidden > ISOQ_NETWORK_HIDDEN ? ISOQ_NETWORK_HIDDEN : hidden;
                }
            }
        }
}

/* Compute row `row` of the outputs, (OUTPUTS, stride). */
ISOQ_EXACT_MULTIVERSION void isoq_output_row(const isoq_convolution *layer, const isoq_rows_kept *from,
                                       int row, float *out) {
    for (int block = 0; block < ISOQ_NETWORK_OUTPUTS / ISOQ_NETWORK_BLOCK; block++)
        for (int at = 0; at < from->cells; at += ISOQ_LANES) {
            isoq_lanes sum[ISOQ_NETWORK_BLOCK];
            isoq_convolve(layer, from, row, block, at, sum, 1);
            for (int o = 0; o < ISOQ_NETWORK_BLOCK; o++)
                isoq_lanes_store(
                    out + (size_t)(block * ISOQ_NETWORK_BLOCK + o) * from->stride + at, sum + o);
        }
}

#endif
