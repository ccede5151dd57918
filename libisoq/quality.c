#include "transform.h"

/* Quality maps: a level per block, as the difference to what the blocks before predict (6.6). */

enum { FIRST = 640 }; /* prediction of the first level */

/* Return the prediction of the level of block (i, j): the mean of those to the west and north,
   which count twice, and northwest and northeast, as far as they exist. */
static int64_t predicted(const int32_t *level, int i, int j, int cols) {
    static const int near[4][3] = {{0, -1, 2}, {-1, 0, 2}, {-1, -1, 1}, {-1, 1, 1}};
    int64_t sum = 0, weight = 0;
    for (int k = 0; k < 4; k++) {
        int row = i + near[k][0], col = j + near[k][1];
        if (row < 0 || col < 0 || col >= cols) continue;
        sum += (int64_t)near[k][2] * level[row * cols + col];
        weight += near[k][2];
    }
    return weight ? isoq_floor_quotient(2 * sum + weight, 2 * weight) : FIRST;
}

/* Turn differences into levels, in place. */
static int undo_prediction(isoq_tile *tile, int32_t *level) {
    for (int i = 0; i < tile->grid_rows; i++)
        for (int j = 0; j < tile->grid_cols; j++) {
            int32_t *own = level + i * tile->grid_cols + j;
            int64_t found = *own + predicted(level, i, j, tile->grid_cols);
            if (found < ISOQ_LOWEST_LEVEL || found > ISOQ_HIGHEST_LEVEL)
                return isoq_damaged(tile->work, "a quality level is impossible");
            *own = (int32_t)found;
        }
    return 1;
}

/* Return the number of blocks with valid samples of the bands of a group. */
static size_t count_blocks(const isoq_tile *tile, const isoq_group *group) {
    size_t count = 0;
    for (int b = 0; b < group->bands; b++)
        for (int i = 0; i < tile->grid_rows; i++)
            for (int j = 0; j < tile->grid_cols; j++)
                count += isoq_count_valid(tile, group->first + b, i, j) > 0;
    return count;
}

int isoq_read_quality(isoq_tile *tile, isoq_bytes *payload) {
    size_t blocks = (size_t)tile->grid_rows * (size_t)tile->grid_cols;
    size_t size[3] = {
        0}; /* levels; worst errors of bands and errors of blocks, which nobody needs */
    for (int k = 0; k < tile->groups; k++) {
        const isoq_group *group = tile->group + k;
        int is_transformed = isoq_is_transformed(group);
        if (is_transformed) size[0] += blocks;
        if (!is_transformed && !group->is_lossy) continue;
        size[1] += (size_t)group->bands;
        size[2] += count_blocks(tile, group);
    }
    size_t all = size[0] + size[1] + size[2];
    int32_t *values = (int32_t *)isoq_allocate(tile->work, all, sizeof *values);
    if (!values ||
        !isoq_take_sequences(tile->work, payload, size, 3, values, "a quality map does not decode"))
        return 0;
    for (int k = 0; k < tile->groups; k++) {
        if (!isoq_is_transformed(tile->group + k)) continue;
        tile->group[k].level = values;
        if (!undo_prediction(tile, values)) return 0;
        values += blocks;
    }
    return 1;
}

/* Return the level of the block of place (i, j). side: of a block, in places. */
static int32_t own_level(const isoq_tile *tile, const int32_t *level, int side, int i, int j) {
    int row = i / side, col = j / side;
    row = row < tile->grid_rows ? row : tile->grid_rows - 1;
    col = col < tile->grid_cols ? col : tile->grid_cols - 1;
    return level[row * tile->grid_cols + col];
}

void isoq_spread_levels(const isoq_tile *tile, const int32_t *block_level, isoq_places *places) {
    enum { RAMP = 64, EDGE = 8 };
    int side = tile->block / 16;
    for (int i = 0; i < places->rows; i++)
        for (int j = 0; j < places->cols; j++) {
            int32_t found = own_level(tile, block_level, side, i, j);
            for (int y = i > 0 ? i - 1 : 0; y <= i + 1 && y < places->rows; y++)
                for (int x = j > 0 ? j - 1 : 0; x <= j + 1 && x < places->cols; x++) {
                    int32_t near = own_level(tile, block_level, side, y, x) - RAMP;
                    found = near > found ? near : found;
                }
            int is_edge = !i || !j || i == places->rows - 1 || j == places->cols - 1;
            found += is_edge ? EDGE : 0;
            places->level[i * places->cols + j] =
                found < ISOQ_HIGHEST_LEVEL ? found : ISOQ_HIGHEST_LEVEL;
        }
}
