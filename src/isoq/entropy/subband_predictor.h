/* Prediction of the details of a level from the coarser levels.

   When all channels down to a level's low-pass band are known, isoq_predict_level synthesizes this
   band, and the level's network tells for every detail how far its expected value moves and by how
   many table levels its expected magnitude (isoq_moves). Both are added to what the contexts find.

   Everything is exact, so encoder and decoder find the same on every processor. */
#ifndef ISOQ_SUBBAND_PREDICTOR_H
#define ISOQ_SUBBAND_PREDICTOR_H

#include "fixed.h"
#include "neighbours.h"
#include "subband_features.h"

enum {
    ISOQ_PREDICTED_LEVELS =
        ISOQ_WAVELET_LEVELS - 1,  /* 1, 2, 3; the coarsest has no low-pass band */
    ISOQ_FIRST_PREDICTED = 4,     /* channel: those before it belong to the coarsest level */
    ISOQ_MOST_MOVE = 32,          /* of the expected magnitude, in table levels */
    ISOQ_MOST_CONTRASTS = 8 << 11 /* of the expected value, in 1/2^11 contrast */
};

/* wavelets: of each level; channel: see isoq_layout; unit: see isoq_fixed_latents; network: of
   levels 1, 2, 3. */
typedef struct isoq_subband_predictor {
    const isoq_steps *const *wavelets;
    const int32_t *channel, *unit;
    const isoq_network *network;
} isoq_subband_predictor;

ISOQ_API void isoq_release_moves(isoq_moves *moves) {
    ISOQ_FREE(moves->value);
    ISOQ_FREE(moves->magnitude);
}

/* Allocate moves for the channels of the finest level that a grid has. Those of channels that no
   network predicts are 0. Release them in any case. */
ISOQ_API isoq_status isoq_allocate_moves(isoq_moves *moves, const isoq_grid *grid,
                                         int has_predictor) {
    size_t places = (size_t)grid->rows * (size_t)grid->cols;
    size_t channels = has_predictor ? (size_t)grid->channels : 1;
    size_t first = channels < ISOQ_FIRST_PREDICTED ? channels : ISOQ_FIRST_PREDICTED;
    moves->first = 0;
    moves->value = (int32_t *)ISOQ_MALLOC(channels * places * sizeof(int32_t));
    moves->magnitude = (int8_t *)ISOQ_MALLOC(channels * places * sizeof(int8_t));
    if (!moves->value || !moves->magnitude) return ISOQ_NO_MEMORY;
    memset(moves->value, 0, first * places * sizeof(int32_t));
    memset(moves->magnitude, 0, first * places * sizeof(int8_t));
    return ISOQ_OK;
}

/* Return the level whose details begin with a channel and can be predicted, or 0. */
ISOQ_API int isoq_level_beginning(int channel) {
    return channel == ISOQ_FIRST_PREDICTED ? 3 : channel == 16 ? 2 : channel == 64 ? 1 : 0;
}

/* The work of predicting one level. */
typedef struct {
    const isoq_subband_predictor *predictor;
    const isoq_grid *grid;
    const isoq_planes *planes;
    int level;
    isoq_layout layout;
    isoq_cells cells;
    int32_t *low_pass, *line, *feature; /* line: (2 cols + 2,); feature: (INPUTS, cols) of a row */
    isoq_rows_kept kept[ISOQ_NETWORK_MOST_DEPTH + 2]; /* inputs of head, body and tail */
    int32_t *output;   /* (OUTPUTS, QUAD, stride) of a row, see isoq_output_row */
    int32_t *contrast; /* (QUAD, stride) of a row, in the same order */
    int32_t *memory;   /* of all of these */
} isoq_prediction_job;

ISOQ_API isoq_status isoq_allocate_prediction(isoq_prediction_job *job,
                                              const isoq_network *network) {
    size_t cols = (size_t)job->cells.cols, cells = (size_t)job->cells.rows * cols;
    size_t stride = isoq_kept_stride(job->cells.cols), lines = ISOQ_QUAD * stride;
    int pairs = (ISOQ_NETWORK_INPUTS + (network->depth + 1) * network->width) / 2;
    size_t room = 11 * cells + 2 * cols + 2 + ISOQ_NETWORK_INPUTS * cols +
                  (ISOQ_NETWORK_OUTPUTS + 1) * lines + isoq_kept_room(pairs, job->cells.cols);
    int32_t *memory = job->memory = (int32_t *)ISOQ_CALLOC(room, sizeof *memory);
    if (!memory) return ISOQ_NO_MEMORY;
    for (int k = 0; k < network->depth + 2; k++) {
        int inputs = (k ? network->width : ISOQ_NETWORK_INPUTS) / 2;
        job->kept[k] = (isoq_rows_kept){inputs, job->cells.cols, job->cells.rows, stride, memory};
        memory += isoq_kept_room(inputs, job->cells.cols);
    }
    job->output = memory, memory += ISOQ_NETWORK_OUTPUTS * lines;
    job->contrast = memory, memory += lines;
    job->feature = memory, memory += ISOQ_NETWORK_INPUTS * cols;
    job->line = memory, memory += 2 * cols + 2;
    job->low_pass = memory, memory += 4 * cells;
    job->cells.distance = memory, memory += 4 * cells;
    job->cells.sum = memory, memory += cells;
    job->cells.total = memory, memory += cells;
    job->cells.contrast = memory;
    return ISOQ_OK;
}

/* Set the low-pass band of the level, and the distances of its cells. reconstruction: of the grid's
   latents, in steps. */
ISOQ_API isoq_status isoq_find_low_pass(isoq_prediction_job *job, const float *reconstruction) {
    const isoq_grid *grid = job->grid;
    isoq_fixed_latents latents = {job->layout, reconstruction, job->predictor->unit, grid->octave,
                                  grid->shift};
    isoq_status status =
        isoq_synthesize_fixed(job->predictor->wavelets, &job->layout, isoq_take_latents, &latents,
                              job->level, job->low_pass);
    if (status) return status;
    isoq_sum_cells(&job->cells, job->low_pass);
    int32_t *around = job->line + job->cells.cols + 2;
    for (int y = 0; y < job->cells.rows; y++) {
        isoq_sum_around(job->cells.sum, job->cells.rows, job->cells.cols, y, job->line, around);
        isoq_find_distances(&job->cells, job->low_pass, y, around);
    }
    return ISOQ_OK;
}

/* Set row `y` of the network's inputs. */
ISOQ_API void isoq_feature_row(const isoq_prediction_job *job, int y) {
    const isoq_cells *cells = &job->cells;
    const isoq_rows_kept *kept = job->kept;
    const isoq_grid *grid = job->grid;
    int parent_level = job->level + 1, side = isoq_side_of(parent_level), cols = cells->cols;
    int32_t *around = job->line + cols + 2, *value = job->line, *out = job->feature;
    isoq_sum_around(cells->total, cells->rows, cols, y, job->line, around);
    isoq_find_contrasts(cells, y, around, out);
    int32_t *contrast = cells->contrast + (size_t)y * (size_t)cols;
    for (int band = 1; band <= 3; band++) {
        const int32_t *channels = isoq_channels_of(&job->layout, parent_level, band, y % side);
        for (int x = 0; x < side; x++) {
            const int32_t *row = isoq_value_row(job->planes, channels[x], y / side);
            for (int j = 0; j < grid->cols; j++) value[side * j + x] = row[j];
        }
        isoq_find_parents(contrast, value, cols, out + (size_t)(3 + band) * (size_t)cols);
    }
    /* From here on the contrast is that of the steps at the place. */
    const int32_t *below = grid->below + (size_t)(y / side) * (size_t)grid->cols;
    int32_t *logarithm = out + 7 * (size_t)cols;
    for (int x = 0; x < cols; x++) {
        int32_t local = contrast[x] - ((below[x / side] + 8) >> 4);
        local = local > ISOQ_MOST_CONTRAST ? ISOQ_MOST_CONTRAST : local < 0 ? 0 : local;
        contrast[x] = local;
        local -= ISOQ_MIDDLE_CONTRAST;
        logarithm[x] = local > ISOQ_MOST_RATIO ? ISOQ_MOST_RATIO : local;
    }
    for (int pair = 0; pair < kept->pairs; pair++) {
        const int32_t *first = out + 2 * (size_t)pair * (size_t)cols, *second = first + cols;
        for (int k = 0; k < ISOQ_QUAD; k++) {
            int32_t *to = isoq_kept_cell(kept, y, pair, k);
            for (int x = k, j = 0; x < cols; x += ISOQ_QUAD, j++)
                to[j] = isoq_pair_of(first[x], second[x]);
        }
    }
    isoq_close_row(kept, y);
}

/* Return by how many table levels an output, in 1/2^11 octave, moves the expected magnitude. */
ISOQ_INLINE int8_t isoq_magnitude_move(int32_t output) {
    int32_t move = (output + 128) >> 8;
    return (int8_t)(move > ISOQ_MOST_MOVE    ? ISOQ_MOST_MOVE
                    : move < -ISOQ_MOST_MOVE ? -ISOQ_MOST_MOVE
                                             : move);
}

/* Return how far an output, `parts` of 1/2^11 contrast, moves the expected value, in 1/16 step. */
ISOQ_INLINE int32_t isoq_value_move(int32_t parts, int32_t contrast) {
    int32_t most = ISOQ_MOST_CONTRASTS;
    parts = parts > most ? most : parts < -most ? -most : parts;
    int32_t octave = contrast >> 3, product = parts * (8 + (contrast & 7));
    int32_t right = octave < 21 ? 21 - octave : 0, left = octave > 21 ? octave - 21 : 0;
    return ((product + ((1 << right) >> 1)) >> right) * (1 << left);
}

/* Turn the outputs of a row of cells for the values and magnitudes of a sample into moves. */
ISOQ_MULTIVERSION void isoq_find_moves(const int32_t *value, const int32_t *magnitude,
                                       const int32_t *contrast, int cols, int32_t *value_move,
                                       int8_t *magnitude_move) {
    ISOQ_INDEPENDENT
    for (int x = 0; x < cols; x++) value_move[x] = isoq_value_move(value[x], contrast[x]);
    ISOQ_INDEPENDENT
    for (int x = 0; x < cols; x++) magnitude_move[x] = isoq_magnitude_move(magnitude[x]);
}

/* Set the moves of some details, of which `place` is the first and each is `step` behind the one
   before, given the outputs for their values and magnitudes. */
ISOQ_API void isoq_set_moves(const isoq_prediction_job *job, const isoq_moves *moves, size_t place,
                             int step, int count, const int32_t *output, const int32_t *contrast) {
    const int32_t *others = output + ISOQ_NETWORK_OUTPUTS / 2 * ISOQ_QUAD * job->kept->stride;
    int32_t *to_value = moves->value + place, *value = step == 1 ? to_value : job->line;
    int8_t *to_magnitude = moves->magnitude + place;
    int8_t *magnitude = step == 1 ? to_magnitude : (int8_t *)(job->line + count);
    isoq_find_moves(output, others, contrast, count, value, magnitude);
    for (int j = 0; step > 1 && j < count; j++) {
        to_value[step * j] = value[j];
        to_magnitude[step * j] = magnitude[j];
    }
}

/* Set the moves of the details of row `y` of cells, given its outputs. Output 4 k + 2 a + b is that
   of detail k + 1 at sample (a, b) of a cell: its expected value, and from 12 on its magnitude. The
   outputs of a line are of one channel, at the places of a row, or at every other or fourth. */
ISOQ_API void isoq_spread_row(const isoq_prediction_job *job, int y, const isoq_moves *moves) {
    const isoq_grid *grid = job->grid;
    int side = isoq_side_of(job->level), half = side / 2, cells = job->cells.cols;
    size_t n = (size_t)grid->rows * (size_t)grid->cols, stride = job->kept->stride;
    size_t first = (size_t)(y / half) * (size_t)grid->cols;
    const int32_t *contrast = job->cells.contrast + (size_t)y * (size_t)cells;
    for (int line = 0; line < ISOQ_QUAD; line++)
        for (int x = line, j = 0; x < cells; x += ISOQ_QUAD, j++)
            job->contrast[(size_t)line * stride + (size_t)j] = contrast[x];
    for (int k = 0; k < ISOQ_NETWORK_OUTPUTS / 2 * ISOQ_QUAD; k++) {
        int output = k / ISOQ_QUAD, line = k % ISOQ_QUAD, row = 2 * y + (output >> 1 & 1);
        const int32_t *channels =
            isoq_channels_of(&job->layout, job->level, 1 + output / 4, row % side);
        int channel = channels[2 * (line % half) + (output & 1)] - moves->first;
        isoq_set_moves(job, moves, (size_t)channel * n + first + (size_t)(line / half),
                       ISOQ_QUAD / half, (cells - line + ISOQ_QUAD - 1) / ISOQ_QUAD,
                       job->output + (size_t)k * stride, job->contrast + (size_t)line * stride);
    }
}

/* Run the network: layer k, of which the head is 0 and the tail the last, is k rows behind. */
ISOQ_API void isoq_run_network(const isoq_prediction_job *job, const isoq_network *network,
                               const isoq_moves *moves) {
    int rows = job->cells.rows, last = network->depth + 1;
    for (int t = 0; t < rows + last; t++) {
        if (t < rows) isoq_feature_row(job, t);
        for (int k = 0; k < last; k++) {
            int row = t - k - 1;
            const isoq_convolution *layer = k ? network->body + k - 1 : &network->head;
            if (row < 0 || row >= rows) continue;
            isoq_hidden_row(layer, job->kept + k, job->kept + k + 1, row, k > 0);
            if (k + 1 < last) isoq_close_row(job->kept + k + 1, row);
        }
        if (t < last) continue;
        isoq_output_row(&network->tail, job->kept + last, t - last, job->output);
        isoq_spread_row(job, t - last, moves);
    }
}

/* Start to predict the details of `level`. planes, reconstruction: of all channels before them.
   Release the job in any case. */
ISOQ_API isoq_status isoq_start_prediction(isoq_prediction_job *job,
                                           const isoq_subband_predictor *predictor,
                                           const isoq_grid *grid, const isoq_planes *planes,
                                           const float *reconstruction, int level) {
    int half = isoq_side_of(level) / 2;
    *job = (isoq_prediction_job){.predictor = predictor,
                                 .grid = grid,
                                 .planes = planes,
                                 .level = level,
                                 .layout = {grid->rows, grid->cols, predictor->channel},
                                 .cells = {.rows = grid->rows * half, .cols = grid->cols * half}};
    isoq_status status = isoq_allocate_prediction(job, predictor->network + level - 1);
    return status ? status : isoq_find_low_pass(job, reconstruction);
}

ISOQ_API void isoq_release_prediction(isoq_prediction_job *job) { ISOQ_FREE(job->memory); }

/* Set the moves of the details of `level`; see isoq_start_prediction. */
ISOQ_API isoq_status isoq_predict_level(const isoq_subband_predictor *predictor,
                                        const isoq_grid *grid, const isoq_planes *planes,
                                        const float *reconstruction, int level, isoq_moves *moves) {
    isoq_prediction_job job;
    isoq_status status =
        isoq_start_prediction(&job, predictor, grid, planes, reconstruction, level);
    moves->first = 1 << 2 * (ISOQ_WAVELET_LEVELS - level);
    if (!status) isoq_run_network(&job, predictor->network + level - 1, moves);
    isoq_release_prediction(&job);
    return status;
}

/* Set what the network of `level` sees, for training: features (INPUTS, rows, cols) and contrasts
   (rows, cols) of the cells; see isoq_start_prediction. */
ISOQ_API isoq_status isoq_find_features(const isoq_subband_predictor *predictor,
                                        const isoq_grid *grid, const isoq_planes *planes,
                                        const float *reconstruction, int level, float *features,
                                        int32_t *contrast) {
    isoq_prediction_job job;
    isoq_status status =
        isoq_start_prediction(&job, predictor, grid, planes, reconstruction, level);
    size_t cols = (size_t)job.cells.cols, cells = (size_t)job.cells.rows * cols;
    for (int y = 0; !status && y < job.cells.rows; y++) {
        isoq_feature_row(&job, y);
        for (size_t k = 0; k < ISOQ_NETWORK_INPUTS; k++)
            for (size_t x = 0; x < cols; x++)
                features[k * cells + (size_t)y * cols + x] = (float)job.feature[k * cols + x];
    }
    if (!status) memcpy(contrast, job.cells.contrast, cells * sizeof *contrast);
    isoq_release_prediction(&job);
    return status;
}

#endif
