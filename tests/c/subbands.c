/* Prediction of sub-bands: the network against plain integers, moves of ordinary latents and of
   extreme ones. */
#include "check.h"
#include "subband_predictor.h"

enum { CHANNELS = ISOQ_WAVELET_CHANNELS, INPUTS = ISOQ_NETWORK_INPUTS };

static const isoq_steps *const WAVELETS[] = {&ISOQ_CDF_17_11, &ISOQ_CDF_9_7, &ISOQ_CDF_9_7,
                                             &ISOQ_CDF_9_7};
static int32_t channel[CHANNELS], unit[CHANNELS];

/* Return memory of exactly this size, so that sanitizers see what is read beyond it. */
static void *room(size_t count, size_t size) {
    void *memory = calloc(count, size);
    CHECK(memory);
    return memory;
}

/* Number the channels level by level, the coarsest first. */
static void number_channels(void) {
    isoq_layout layout = {4, 4, channel};
    int32_t number = 1;
    for (int level = ISOQ_WAVELET_LEVELS; level > 0; level--)
        for (int band = 1; band <= 3; band++)
            for (int y = 0; y < isoq_side_of(level); y++) {
                const int32_t *row = isoq_channels_of(&layout, level, band, y);
                for (int x = 0; x < isoq_side_of(level); x++) channel[row + x - channel] = number++;
            }
    channel[CHANNELS - 1] = 0;
    for (int c = 0; c < CHANNELS; c++) unit[c] = (int32_t)random_in(1 << 22, 1 << 25);
}

/* Weights of a network, and the memory that has them. */
typedef struct {
    isoq_network_weights weights;
    int8_t *head, *body, *tail;
    int32_t *bias;
} random_weights;

static int8_t *random_bytes(size_t count, int most) {
    int8_t *bytes = (int8_t *)room(count, 1);
    for (size_t k = 0; k < count; k++) bytes[k] = (int8_t)random_in(-most, most);
    return bytes;
}

static random_weights weights_up_to(int width, int depth, int most) {
    size_t w = (size_t)width, d = (size_t)depth;
    random_weights made = {{width, depth, NULL, NULL, NULL, NULL},
                           random_bytes(w * INPUTS * 9, most),
                           random_bytes(d * w * w * 9, most),
                           random_bytes(ISOQ_NETWORK_OUTPUTS * w, most),
                           (int32_t *)room(w * (1 + d) + ISOQ_NETWORK_OUTPUTS, sizeof(int32_t))};
    for (size_t k = 0; k < w * (1 + d) + ISOQ_NETWORK_OUTPUTS; k++)
        made.bias[k] = (int32_t)random_in(-most * 1024, most * 1024);
    made.weights.head = made.head;
    made.weights.body = made.body;
    made.weights.tail = made.tail;
    made.weights.bias = made.bias;
    return made;
}

static void release_weights(random_weights *made) {
    free(made->head);
    free(made->body);
    free(made->tail);
    free(made->bias);
}

static int clamped(int at, int most) { return at < 0 ? 0 : at > most ? most : at; }

/* Return a sum of a 3 x 3 convolution in plain integers. from: (inputs, rows, cols). */
static int64_t plain_sum(const int8_t *weight, int64_t bias, const int64_t *from, int inputs,
                         int rows, int cols, int y, int x) {
    for (int c = 0; c < inputs; c++)
        for (int k = 0; k < 9; k++) {
            int i = clamped(y + k / 3 - 1, rows - 1), j = clamped(x + k % 3 - 1, cols - 1);
            bias += weight[9 * c + k] * from[(c * rows + i) * cols + j];
        }
    return bias;
}

/* Compute a hidden layer of a network in plain integers; start: null, or what is added. */
static int64_t *plain_layer(const int8_t *weight, const int32_t *bias, const int64_t *from,
                            const int64_t *start, int inputs, int width, int rows, int cols) {
    int64_t *to = (int64_t *)room((size_t)width * (size_t)rows * (size_t)cols, sizeof *to);
    for (int o = 0; o < width; o++)
        for (int at = 0; at < rows * cols; at++) {
            int64_t sum = plain_sum(weight + o * inputs * 9, bias[o], from, inputs, rows, cols,
                                    at / cols, at % cols);
            int64_t hidden = clamped((int)(sum >> 7), 255);
            if (start) hidden += start[o * rows * cols + at];
            to[o * rows * cols + at] = hidden > 255 ? 255 : hidden;
        }
    return to;
}

/* Set the rows of the network's input to random features, and those of `features` to the same. */
static void random_features(const isoq_rows_kept *kept, int row, int64_t *features) {
    for (int pair = 0; pair < INPUTS / 2; pair++)
        for (int x = 0; x < kept->cells; x++) {
            int64_t *first = features + (2 * pair * kept->rows + row) * kept->cells + x;
            int64_t *second = first + kept->rows * kept->cells;
            *first = random_in(-127, 127), *second = random_in(-127, 127);
            *isoq_kept_cell(kept, row, pair, x) = isoq_pair_of((int32_t)*first, (int32_t)*second);
        }
    isoq_close_row(kept, row);
}

/* Rows of `channels` channels. */
static isoq_rows_kept rows_of(int channels, int cols, int rows) {
    size_t count = isoq_kept_room(channels / 2, cols);
    return (isoq_rows_kept){channels / 2, cols, rows, isoq_kept_stride(cols),
                            room(count, sizeof(int32_t))};
}

/* The functions of a set of instructions. */
typedef struct {
    void (*hidden_row)(const isoq_convolution *, const isoq_rows_kept *, const isoq_rows_kept *,
                       int, int);
    void (*output_row)(const isoq_convolution *, const isoq_rows_kept *, int, int32_t *);
} instruction_set;

/* List the sets that this processor has, the one that is chosen first. Return how many. */
static int sets_here(instruction_set *sets) {
    int count = 0;
    sets[count++] = (instruction_set){isoq_hidden_row, isoq_output_row};
    sets[count++] = (instruction_set){isoq_hidden_row_plain, isoq_output_row_plain};
#if ISOQ_ALL_SETS
    if (isoq_has_avx2())
        sets[count++] = (instruction_set){isoq_hidden_row_avx2, isoq_output_row_avx2};
#endif
    return count;
}

/* The second layer and the outputs of a set, given the rows of the first layer and what they have
   to be in plain integers: (width, rows, cols) and bias (OUTPUTS,). */
static void set_is_exact(const instruction_set *set, const isoq_network *network,
                         const isoq_rows_kept *hidden, const int64_t *expected, const int8_t *tail,
                         const int32_t *bias) {
    int width = network->width, rows = hidden->rows, cols = hidden->cells;
    size_t stride = hidden->stride;
    isoq_rows_kept last = rows_of(width, cols, rows);
    int32_t *outputs = (int32_t *)room(ISOQ_NETWORK_OUTPUTS * ISOQ_QUAD * stride, sizeof *outputs);
    for (int row = 0; row < rows; row++) {
        set->hidden_row(network->body, hidden, &last, row, 1);
        set->output_row(&network->tail, &last, row, outputs);
        for (int cell = 0; cell < cols; cell++) {
            const int64_t *here = expected + row * cols + cell;
            for (int channel = 0; channel < width; channel++) {
                int32_t pair = *isoq_kept_cell(&last, row, channel / 2, cell);
                int32_t found = channel % 2 ? isoq_second_of(pair) : isoq_first_of(pair);
                CHECK(found == here[channel * rows * cols]);
            }
            for (int output = 0; output < ISOQ_NETWORK_OUTPUTS; output++) {
                int64_t sum = bias[output];
                for (int channel = 0; channel < width; channel++)
                    sum += tail[output * width + channel] * here[channel * rows * cols];
                size_t line = (size_t)(ISOQ_QUAD * output + cell % ISOQ_QUAD);
                CHECK(outputs[line * stride + (size_t)(cell / ISOQ_QUAD)] == sum);
            }
        }
    }
    free(last.memory);
    free(outputs);
}

/* A network of one layer in its body, on three rows. */
static void network_is_exact(int width, int most, int cols) {
    enum { ROWS = 3 };
    random_weights made = weights_up_to(width, 1, most);
    isoq_network network;
    instruction_set sets[3];
    isoq_rows_kept input = rows_of(INPUTS, cols, ROWS), hidden = rows_of(width, cols, ROWS);
    int64_t *features = (int64_t *)room((size_t)(INPUTS * ROWS * cols), sizeof *features);
    CHECK(!isoq_arrange_network(&network, &made.weights));
    for (int row = 0; row < ROWS; row++) random_features(&input, row, features);
    int64_t *first = plain_layer(made.head, made.bias, features, NULL, INPUTS, width, ROWS, cols);
    int64_t *second =
        plain_layer(made.body, made.bias + width, first, first, width, width, ROWS, cols);
    for (int count = sets_here(sets), k = 0; k < count; k++) {
        for (int row = 0; row < ROWS; row++) {
            sets[k].hidden_row(&network.head, &input, &hidden, row, 0);
            isoq_close_row(&hidden, row);
        }
        set_is_exact(sets + k, &network, &hidden, second, made.tail, made.bias + 2 * width);
    }
    isoq_release_network(&network);
    release_weights(&made);
    free(input.memory);
    free(hidden.memory);
    free(features);
    free(first);
    free(second);
}

/* Latents of a grid, as they are when all of them are known. */
typedef struct {
    isoq_grid grid;
    isoq_planes planes;
    float *reconstruction;
    int32_t *below, *octave, *shift;
} known_latents;

static known_latents latents_up_to(int rows, int cols, int most) {
    size_t n = (size_t)(rows * cols);
    known_latents made;
    memset(&made, 0, sizeof made);
    made.reconstruction = (float *)room(CHANNELS * n, sizeof(float));
    made.below = (int32_t *)room(n, sizeof(int32_t));
    made.octave = (int32_t *)room(n, sizeof(int32_t));
    made.shift = (int32_t *)room(n, sizeof(int32_t));
    made.grid = (isoq_grid){.channels = CHANNELS,
                            .rows = rows,
                            .cols = cols,
                            .strands = 1,
                            .below = made.below,
                            .octave = made.octave,
                            .shift = made.shift};
    CHECK(!isoq_allocate_planes(&made.planes, &made.grid));
    for (size_t k = 0; k < CHANNELS * n; k++) {
        made.reconstruction[k] = (float)random_in(-128 * most, 128 * most) / 128;
        made.planes.value[k] = (int32_t)random_in(-8 * most, 8 * most);
    }
    for (size_t k = 0; k < n; k++) {
        made.below[k] = (int32_t)random_in(0, 1920);
        made.octave[k] = (int32_t)random_in(1 << 23, 1 << 24);
        made.shift[k] = (int32_t)random_in(10, 25);
    }
    return made;
}

static void moves_are_the_same_everywhere(int width, int depth, int rows, int cols, int most) {
    random_weights made = weights_up_to(width, depth, 127);
    known_latents latents = latents_up_to(rows, cols, most);
    isoq_network networks[ISOQ_PREDICTED_LEVELS];
    isoq_subband_predictor predictor = {WAVELETS, channel, unit, networks};
    isoq_moves moves;
    size_t n = (size_t)(rows * cols);
    for (int level = 0; level < ISOQ_PREDICTED_LEVELS; level++)
        CHECK(!isoq_arrange_network(networks + level, &made.weights));
    CHECK(!isoq_allocate_moves(&moves, &latents.grid, 1));
    for (int level = ISOQ_PREDICTED_LEVELS; level > 0; level--) {
        CHECK(!isoq_predict_level(&predictor, &latents.grid, &latents.planes,
                                  latents.reconstruction, level, &moves));
        size_t count = n * 3 * ((size_t)1 << 2 * (ISOQ_WAVELET_LEVELS - level));
        add_to_hash(moves.value, count * sizeof *moves.value);
        add_to_hash(moves.magnitude, count);
        for (size_t k = 0; k < count; k++) {
            CHECK(abs(moves.value[k]) <= 1 << 28);
            CHECK(abs(moves.magnitude[k]) <= ISOQ_MOST_MOVE);
        }
    }
    for (int level = 0; level < ISOQ_PREDICTED_LEVELS; level++)
        isoq_release_network(networks + level);
    isoq_release_moves(&moves);
    isoq_release_planes(&latents.planes);
    release_weights(&made);
    free(latents.reconstruction);
    free(latents.below);
    free(latents.octave);
    free(latents.shift);
}

int main(void) {
    number_channels();
    for (int k = 0; k < 4; k++) {
        network_is_exact(4, 20, 1 + k);
        network_is_exact(20, 60, 13 + k);
        network_is_exact(ISOQ_NETWORK_MOST_WIDTH, 127, 31 + k);
        network_is_exact(4, 127, ISOQ_QUAD * ISOQ_TOGETHER / 2 + k);
        network_is_exact(8, 127, ISOQ_QUAD * ISOQ_TOGETHER + k);
    }
    for (int most = 1; most <= 1 << 23; most *= 1 << (most < 1 << 20 ? 5 : 3)) {
        moves_are_the_same_everywhere(20, 2, 4, 5, most);
        moves_are_the_same_everywhere(ISOQ_NETWORK_MOST_WIDTH, ISOQ_NETWORK_MOST_DEPTH, 5, 4, most);
        moves_are_the_same_everywhere(4, 1, 7, 9, most);
    }
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}
