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
   given, so the memory stays small.

   A 3 x 3 convolution takes 4.5 products for each cell and pair of channels instead of 9 (Winograd
   1980; for networks: Lavin and Gray 2016). Four neighbouring cells of a row, a quad, depend on six
   cells. Six sums of these, the terms, are multiplied by six sums of the three weights, and sums of
   the products are the four outputs:

     terms     B x, x the cells from one before the quad to one behind it
     weights   24 G w
     outputs   A (products), which is 24 times the convolution: the division is exact

   Terms and weights fit into 16 bits, and all sums of products are below 2^31. */
#ifndef ISOQ_SUBBAND_NETWORK_H
#define ISOQ_SUBBAND_NETWORK_H

#include "pairs.h"

enum {
    ISOQ_NETWORK_INPUTS = 8,
    ISOQ_NETWORK_OUTPUTS = 24,
    ISOQ_NETWORK_BLOCK = 4, /* output channels that are computed together; a divisor of the width */
    ISOQ_NETWORK_MOST_WIDTH = 32,
    ISOQ_NETWORK_MOST_DEPTH = 4,
    ISOQ_QUAD = 4,      /* cells that are computed together */
    ISOQ_TERMS = 6,     /* of a quad */
    ISOQ_TOGETHER = 32, /* quads whose sums are kept at a time */
    ISOQ_ROW_STEP = 16, /* quads: a row has room for a multiple; one of the sums of any set */
    ISOQ_SUMS_OF_OUTPUT = ISOQ_TERMS * ISOQ_TOGETHER,
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

/* A convolution: weights (outputs / BLOCK, terms, pairs of inputs, rows, BLOCK), bias (outputs,).
   3 x 3 convolutions have TERMS and 3 rows, others one of each. */
typedef struct {
    int pairs, outputs;
    int32_t *weight, *bias;
} isoq_convolution;

typedef struct {
    int width, depth;
    isoq_convolution head, body[ISOQ_NETWORK_MOST_DEPTH], tail;
    int32_t *memory;
} isoq_network;

/* Rows of a layer's input, (3, pairs, QUAD + TERMS, stride), of which row i is kept at i mod 3.
   Cell x of a pair of channels is in line x mod QUAD at 1 + x / QUAD. The cells before the first
   and behind the last are copies of these. The terms of quad j are in the lines behind, at j. */
typedef struct {
    int pairs, cells, rows;
    size_t stride;
    int32_t *memory;
} isoq_rows_kept;

/* Return how many quads have a cell among some cells. */
ISOQ_INLINE int isoq_quads_of(int cells) { return (cells + ISOQ_QUAD - 1) / ISOQ_QUAD; }

/* Return the stride of rows of some cells. */
ISOQ_API size_t isoq_kept_stride(int cells) {
    size_t step = ISOQ_ROW_STEP, steps = ((size_t)isoq_quads_of(cells) + step - 1) / step;
    return (steps + 1) * step;
}

/* Return how many numbers are kept of rows of some pairs of channels. */
ISOQ_API size_t isoq_kept_room(int pairs, int cells) {
    return 3 * (size_t)pairs * (ISOQ_QUAD + ISOQ_TERMS) * isoq_kept_stride(cells);
}

ISOQ_API void isoq_release_network(isoq_network *network) { ISOQ_FREE(network->memory); }

/* Return what a term is multiplied by, given a row of three weights. */
ISOQ_API int32_t isoq_factor_of(int term, const int8_t *w) {
    switch (term) {
        case 0:
            return 6 * w[0];
        case 1:
            return -4 * (w[0] + w[1] + w[2]);
        case 2:
            return -4 * (w[0] - w[1] + w[2]);
        case 3:
            return w[0] + 2 * w[1] + 4 * w[2];
        case 4:
            return w[0] - 2 * w[1] + 4 * w[2];
        default:
            return 24 * w[2];
    }
}

/* Arrange weights (outputs, inputs, side, side) from *memory on. Return what is behind them. */
ISOQ_API int32_t *isoq_arrange(isoq_convolution *layer, int inputs, int outputs, int side,
                               const int8_t *weight, const int32_t *bias, int32_t *memory) {
    int pairs = inputs / 2, terms = side == 1 ? 1 : ISOQ_TERMS, taps = side * side;
    layer->pairs = pairs, layer->outputs = outputs, layer->weight = memory;
    for (int first = 0; first < outputs; first += ISOQ_NETWORK_BLOCK)
        for (int term = 0; term < terms; term++)
            for (int k = 0; k < pairs * side; k++)
                for (int o = 0; o < ISOQ_NETWORK_BLOCK; o++) {
                    const int8_t *one = weight + ((first + o) * inputs + k / side * 2) * taps;
                    const int8_t *row = one + k % side * side, *other = row + taps;
                    *memory++ = side == 1 ? isoq_pair_of(*row, *other)
                                          : isoq_pair_of(isoq_factor_of(term, row),
                                                         isoq_factor_of(term, other));
                }
    layer->bias = memory;
    for (int o = 0; o < outputs; o++) layer->bias[o] = bias[o];
    return layer->bias + outputs;
}

/* Arrange the weights of a network. Release it in any case. */
ISOQ_API isoq_status isoq_arrange_network(isoq_network *network, const isoq_network_weights *from) {
    int width = from->width, depth = from->depth;
    size_t square = (size_t)width * (size_t)width * 9;
    size_t inputs = ISOQ_NETWORK_INPUTS + (size_t)depth * (size_t)width; /* of 3 x 3 convolutions */
    size_t weights = (size_t)width * (3 * ISOQ_TERMS * inputs + ISOQ_NETWORK_OUTPUTS);
    size_t room = weights / 2 + (size_t)width * (1 + (size_t)depth) + ISOQ_NETWORK_OUTPUTS;
    int32_t *memory = (int32_t *)ISOQ_MALLOC(room * sizeof *memory);
    network->width = width, network->depth = depth, network->memory = memory;
    if (!memory) return ISOQ_NO_MEMORY;
    memory =
        isoq_arrange(&network->head, ISOQ_NETWORK_INPUTS, width, 3, from->head, from->bias, memory);
    for (int k = 0; k < depth; k++)
        memory = isoq_arrange(&network->body[k], width, width, 3, from->body + (size_t)k * square,
                              from->bias + (k + 1) * width, memory);
    isoq_arrange(&network->tail, width, ISOQ_NETWORK_OUTPUTS, 1, from->tail,
                 from->bias + (depth + 1) * width, memory);
    return ISOQ_OK;
}

/* Return the lines of a pair of channels in a row that is kept, or in the one at the border nearest
   to it. */
ISOQ_INLINE int32_t *isoq_kept_lines(const isoq_rows_kept *kept, int row, int pair) {
    int last = kept->rows - 1;
    row = row < 0 ? 0 : row > last ? last : row;
    size_t lines = ISOQ_QUAD + ISOQ_TERMS, before = (size_t)(row % 3) * (size_t)kept->pairs;
    return kept->memory + (before + (size_t)pair) * lines * kept->stride;
}

/* Return the first term of the first pair of channels in a row. */
ISOQ_INLINE const int32_t *isoq_kept_terms(const isoq_rows_kept *kept, int row) {
    return isoq_kept_lines(kept, row, 0) + ISOQ_QUAD * kept->stride;
}

/* Return where a cell of a row is kept; cell: -1 ... cells. */
ISOQ_INLINE int32_t *isoq_kept_cell(const isoq_rows_kept *kept, int row, int pair, int cell) {
    size_t place = (size_t)(cell + ISOQ_QUAD);
    return isoq_kept_lines(kept, row, pair) + place % ISOQ_QUAD * kept->stride + place / ISOQ_QUAD;
}

/* Return a pair as one number, the first plus 2^16 times the second, modulo 2^32: sums of such
   numbers are those of the firsts and of the seconds. isoq_parted is the way back. */
ISOQ_INLINE uint32_t isoq_joined(int32_t pair) {
    return (uint32_t)pair - (((uint32_t)pair & 0x8000) << 1);
}

ISOQ_INLINE int32_t isoq_parted(uint32_t joined) {
    return (int32_t)(joined + ((joined & 0x8000) << 1));
}

/* Set the terms of the quads of a pair of channels. */
ISOQ_MULTIVERSION void isoq_find_terms(int32_t *lines, size_t stride, int quads) {
    const int32_t *first = lines + 1, *second = first + stride, *third = second + stride;
    const int32_t *fourth = third + stride;
    int32_t *term = lines + ISOQ_QUAD * stride;
    ISOQ_INDEPENDENT
    for (int j = 0; j < quads; j++) {
        uint32_t before = isoq_joined(fourth[j - 1]), behind = isoq_joined(first[j + 1]);
        uint32_t a = isoq_joined(first[j]), b = isoq_joined(second[j]);
        uint32_t c = isoq_joined(third[j]), d = isoq_joined(fourth[j]);
        uint32_t even = d - 4 * b, odd = c - 4 * a, inner = d - b, outer = 2 * (c - a);
        term[j] = isoq_parted(4 * before - 5 * b + d);
        term[stride + (size_t)j] = isoq_parted(even + odd);
        term[2 * stride + (size_t)j] = isoq_parted(even - odd);
        term[3 * stride + (size_t)j] = isoq_parted(inner + outer);
        term[4 * stride + (size_t)j] = isoq_parted(inner - outer);
        term[5 * stride + (size_t)j] = isoq_parted(4 * a - 5 * c + behind);
    }
}

/* Complete a row of which the cells are set: those beside the border, and the terms. */
ISOQ_API void isoq_close_row(const isoq_rows_kept *kept, int row) {
    for (int pair = 0; pair < kept->pairs; pair++) {
        *isoq_kept_cell(kept, row, pair, -1) = *isoq_kept_cell(kept, row, pair, 0);
        *isoq_kept_cell(kept, row, pair, kept->cells) =
            *isoq_kept_cell(kept, row, pair, kept->cells - 1);
        isoq_find_terms(isoq_kept_lines(kept, row, pair), kept->stride, isoq_quads_of(kept->cells));
    }
}

/* Return a sum of the convolution at one of four cells, given sums of products, which are TOGETHER
   apart by term. */
ISOQ_INLINE int32_t isoq_sum_at(int cell, const int32_t *sums) {
    int32_t a = sums[0], b = sums[ISOQ_TOGETHER], c = sums[2 * ISOQ_TOGETHER];
    int32_t d = sums[3 * ISOQ_TOGETHER], e = sums[4 * ISOQ_TOGETHER], f = sums[5 * ISOQ_TOGETHER];
    int32_t sum = cell == 0   ? a + (b + c) + (d + e)
                  : cell == 1 ? (b - c) + 2 * (d - e)
                  : cell == 2 ? (b + c) + 4 * (d + e)
                              : (b - c) + 8 * (d - e) + f;
    return (int32_t)((uint32_t)(sum >> 3) * 0xaaaaaaabu); /* 1/3 modulo 2^32 */
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

#if ISOQ_ALL_SETS
#define ISOQ_SET(name) name##_avx2
#define ISOQ_SUMS ISOQ_AVX2_SUMS
#define ISOQ_TARGET ISOQ_WITH_AVX2
#include "subband_rows.inc"

#define ISOQ_SET(name) name##_avx512
#define ISOQ_SUMS ISOQ_AVX512_SUMS
#define ISOQ_TARGET ISOQ_WITH_AVX512
#include "subband_rows.inc"
#endif

/* Compute row `row` of a hidden layer. is_added: to the same row of what it starts from. */
ISOQ_API void isoq_hidden_row(const isoq_convolution *layer, const isoq_rows_kept *from,
                              const isoq_rows_kept *to, int row, int is_added) {
    ISOQ_BEST_SET(isoq_hidden_row, layer, from, to, row, is_added);
}

/* Compute row `row` of the outputs, (OUTPUTS, QUAD, stride): those of quad j are at j of four
   lines. */
ISOQ_API void isoq_output_row(const isoq_convolution *layer, const isoq_rows_kept *from, int row,
                              int32_t *out) {
    ISOQ_BEST_SET(isoq_output_row, layer, from, row, out);
}

#endif
