#include "limited.h"

#include "../src/isoq/entropy/latents.h"
#include "transform.h"

#include <string.h>

/* The segments of all components: piece (component, segment), as far as they are needed. */
typedef struct {
    int components, needed, all; /* segments */
    isoq_bytes *piece;
} segments;

/* ---- Segments (6.10) ---- */

static int count_components(const isoq_tile *tile) {
    int count = 0;
    for (int k = 0; k < tile->groups; k++)
        if (isoq_is_transformed(tile->group + k)) count += tile->group[k].components;
    return count;
}

/* Return how many of `all` segments are needed at the scale of a tile. */
static int needed_of(const isoq_tile *tile, int all) {
    int needed = tile->model->levels - tile->scale;
    return needed < 1 ? 1 : needed < all ? needed : all;
}

/* Read the segments: the first one of each component, then all second ones. A checksum of all
   bytes before it follows each but the last. */
static int read_segments(isoq_tile *tile, isoq_bytes *rest, segments *read) {
    size_t count = (size_t)read->components * (size_t)read->all;
    read->piece = (isoq_bytes *)isoq_allocate(tile->work, count, sizeof *read->piece);
    if (!read->piece) return 0;
    for (int segment = 0; segment < read->needed; segment++) {
        for (int c = 0; c < read->components; c++)
            read->piece[c * read->all + segment] = isoq_take_part(rest);
        if (rest->is_damaged) return isoq_damaged(tile->work, "a tile ends too early");
        if (segment == read->all - 1) break;
        uint32_t found = isoq_crc(0, tile->payload.at, tile->payload.left - rest->left);
        if (!isoq_is_checksum(isoq_take_u32(rest), found) || rest->is_damaged)
            return isoq_damaged(tile->work, "a checksum within a tile is wrong");
    }
    return 1;
}

/* Return the stream of a component: its segments in a row. */
static isoq_bytes joined(isoq_work *work, const segments *read, int component) {
    const isoq_bytes *piece = read->piece + component * read->all;
    size_t size = 0;
    for (int k = 0; k < read->needed; k++) size += piece[k].left;
    uint8_t *data = (uint8_t *)isoq_allocate_raw(work, size, 1), *to = data;
    for (int k = 0; data && k < read->needed; to += piece[k++].left)
        if (piece[k].left) memcpy(to, piece[k].at, piece[k].left);
    return isoq_bytes_of(data, data ? size : 0);
}

/* ---- Latents ---- */

/* Return the CRC-32 of integers, little-endian, continued from `start`. */
static uint32_t crc_of(uint32_t start, const int32_t *values, size_t count) {
    uint8_t bytes[1 << 12];
    for (size_t k = 0; k < count;) {
        size_t part = count - k < sizeof bytes / 4 ? count - k : sizeof bytes / 4;
        for (size_t j = 0; j < part; j++) isoq_store_word(bytes + 4 * j, (uint32_t)values[k + j]);
        start = isoq_crc(start, bytes, 4 * part);
        k += part;
    }
    return start;
}

/* Set the grid of the entropy decoder: how the step of each place compares to the finest one. */
static int find_grid(const isoq_tile *tile, const isoq_places *places, isoq_grid *grid) {
    size_t count = (size_t)places->rows * (size_t)places->cols;
    int32_t *up = (int32_t *)isoq_allocate(tile->work, count, sizeof *up);
    int32_t *down = (int32_t *)isoq_allocate(tile->work, count, sizeof *down);
    int32_t *below = (int32_t *)isoq_allocate(tile->work, count, sizeof *below);
    const int32_t *octave, *shift;
    int32_t finest = ISOQ_LOWEST_LEVEL;
    if (!up || !down || !below) return 0;
    for (size_t k = 0; k < count; k++)
        finest = places->level[k] > finest ? places->level[k] : finest;
    for (size_t k = 0; k < count; k++) {
        below[k] = finest - places->level[k];
        up[k] = tile->model->up[below[k]];
        down[k] = tile->model->down[below[k]];
    }
    if (!isoq_find_steps(tile, places, finest, ISOQ_LOW_PASS_BITS, &octave, &shift)) return 0;
    *grid = (isoq_grid){places->channels, places->rows, places->cols, 1, up, down, below, octave,
                        shift};
    return 1;
}

/* Take the number of strands, with which streams in segments begin. */
static int take_strands(isoq_tile *tile, isoq_bytes *stream, int *strands) {
    if (!stream->left || (*stream->at != 1 && *stream->at != ISOQ_STRANDS))
        return isoq_damaged(tile->work, "a tile has an impossible number of strands");
    *strands = *stream->at++;
    stream->left--;
    return 1;
}

/* Decode a component, and continue the checksum of all latents. */
static int decode_component(isoq_tile *tile, const isoq_group *group, const isoq_places *places,
                            const isoq_grid *grid, isoq_bytes stream, int32_t *component,
                            uint32_t *check) {
    size_t count = (size_t)places->channels * (size_t)places->rows * (size_t)places->cols;
    int32_t *latent = (int32_t *)isoq_allocate_raw(tile->work, count, sizeof *latent);
    float *steps = (float *)isoq_allocate_raw(tile->work, count, sizeof *steps);
    if (!latent || !steps) return 0;
    isoq_status status =
        isoq_decode_latents(&tile->model->context, grid, stream.at, stream.left,
                            places->channels == tile->model->channels, latent, steps);
    if (status) return isoq_damaged(tile->work, "the latents of a tile do not decode");
    *check = crc_of(*check, latent, count);
    return isoq_synthesize_component(tile, group, places, steps, component);
}

/* Decode the components of a group from number `first` on, and make its samples. */
static int decode_group(isoq_tile *tile, const isoq_group *group, isoq_places *places,
                        const segments *read, int first, uint32_t *check) {
    size_t side = (size_t)isoq_cell(tile);
    size_t plane = (size_t)places->rows * (size_t)places->cols * side * side;
    int32_t *components = (int32_t *)isoq_allocate_raw(
        tile->work, (size_t)group->components * plane, sizeof *components);
    isoq_grid grid;
    if (!components) return 0;
    isoq_spread_levels(tile, group->level, places);
    if (!find_grid(tile, places, &grid)) return 0;
    for (int c = 0; c < group->components; c++) {
        isoq_allocation *mark = isoq_mark(tile->work);
        isoq_bytes stream = joined(tile->work, read, first + c);
        if (!stream.at || (read->all > 1 && !take_strands(tile, &stream, &grid.strands))) return 0;
        if (!decode_component(tile, group, places, &grid, stream, components + (size_t)c * plane,
                              check))
            return 0;
        isoq_release_to(tile->work, mark);
    }
    return isoq_combine_components(tile, group, places, components);
}

/* Return the rows or columns of latents of a side of the tile. */
static int places_along(int side) { return side <= 64 ? 4 : (side + 15) / 16; }

int isoq_decode_transformed(isoq_tile *tile, isoq_bytes *rest, uint32_t *check) {
    segments read = {count_components(tile), 0, 0, NULL};
    isoq_places places = {places_along(tile->rows), places_along(tile->cols), 0, NULL};
    int64_t positions = (int64_t)places.rows * places.cols;
    int first = 0;
    *check = 0;
    if (!read.components) return 1;
    read.all = isoq_count_segments(tile->model, positions);
    read.needed = needed_of(tile, read.all);
    places.channels = isoq_segment_end(tile->model, positions, read.needed - 1);
    places.level = (int32_t *)isoq_allocate(tile->work, (size_t)positions, sizeof *places.level);
    if (!places.level || !read_segments(tile, rest, &read)) return 0;
    for (int k = 0; k < tile->groups; k++) {
        const isoq_group *group = tile->group + k;
        if (!isoq_is_transformed(group)) continue;
        isoq_allocation *mark = isoq_mark(tile->work);
        if (!decode_group(tile, group, &places, &read, first, check)) return 0;
        isoq_release_to(tile->work, mark);
        first += group->components;
    }
    return 1;
}
