#include "tile.h"

void *isoq_plane(const isoq_tile *tile, int band) {
    size_t samples = (size_t)tile->out_rows * (size_t)tile->out_cols;
    return tile->samples + (size_t)band * samples * isoq_sample_size(tile->type);
}

static int blocks_along(int side, int block) { return (side + block - 1) / block; }

/* Set what the file says of a tile. */
static void describe(isoq_file *file, uint32_t number, int scale, isoq_tile *tile) {
    isoq_window place = isoq_tile_window(file, number);
    int last = (1 << scale) - 1;
    *tile = (isoq_tile){.work = &file->work,
                        .file = file,
                        .model = file->model,
                        .type = file->image.type,
                        .bands = (int)place.bands,
                        .rows = (int)place.rows,
                        .cols = (int)place.cols,
                        .block = (int)file->tiling.block,
                        .scale = scale,
                        .nodata = file->nodata + place.band,
                        .has_nodata = file->has_nodata + place.band,
                        .is_sampled = file->is_sampled + place.band};
    tile->grid_rows = blocks_along(tile->rows, tile->block);
    tile->grid_cols = blocks_along(tile->cols, tile->block);
    tile->out_rows = (tile->rows + last) >> scale;
    tile->out_cols = (tile->cols + last) >> scale;
}

/* Read the fields that repeat what the file says. Return whether ranges follow the mask in
   `has_ranges`. */
static int read_shape(isoq_tile *tile, isoq_bytes *payload, int *has_ranges) {
    uint32_t type = isoq_take_u8(payload);
    uint64_t bands = isoq_take_varint(payload), rows = isoq_take_varint(payload);
    uint64_t cols = isoq_take_varint(payload), block = isoq_take_varint(payload);
    *has_ranges = type >= 128;
    return (!payload->is_damaged && type % 128 == (uint32_t)tile->type &&
            bands == (uint64_t)tile->bands && rows == (uint64_t)tile->rows &&
            cols == (uint64_t)tile->cols && block == (uint64_t)tile->block / 16 &&
            tile->block % 16 == 0) ||
           isoq_damaged(tile->work, "a tile does not fit its file");
}

int isoq_open_tile(isoq_file *file, uint32_t number, int scale, isoq_tile *tile, isoq_bytes *rest) {
    int has_ranges;
    describe(file, number, scale, tile);
    if (!isoq_find_tile(file, number, &tile->payload)) return 0;
    *rest = tile->payload;
    return read_shape(tile, rest, &has_ranges) && isoq_read_mask(tile, isoq_take_part(rest)) &&
           (!has_ranges || isoq_read_ranges(tile, isoq_take_part(rest)));
}

/* Set all samples of a group of constants. */
static void fill(isoq_tile *tile, const isoq_group *group) {
    size_t count = (size_t)tile->out_rows * (size_t)tile->out_cols;
    size_t size = isoq_sample_size(tile->type);
    for (int b = 0; b < group->bands; b++) {
        uint8_t *plane = (uint8_t *)isoq_plane(tile, group->first + b);
        for (size_t k = 0; k < count; k++)
            isoq_copy_samples(plane + k * size, tile->type, group->part.at + (size_t)b * size, 1);
    }
}

/* Decode a group that no transform codes. */
static int decode_group(isoq_tile *tile, const isoq_group *group) {
    if (group->mode == ISOQ_EMPTY || isoq_is_transformed(group)) return 1;
    if (group->mode == ISOQ_CONSTANT) {
        fill(tile, group);
        return 1;
    }
    isoq_allocation *mark = isoq_mark(tile->work);
    void *samples = isoq_plane(tile, group->first);
    size_t count = (size_t)group->bands * (size_t)tile->rows * (size_t)tile->cols;
    if (tile->scale) samples = isoq_allocate(tile->work, count, isoq_sample_size(tile->type));
    if (!samples || !(group->mode == ISOQ_LOSSLESS ? isoq_decode_lossless(tile, group, samples)
                                                   : isoq_decode_predicted(tile, group, samples)))
        return 0;
    if (tile->scale) isoq_reduce(tile, group, samples);
    isoq_release_to(tile->work, mark);
    return 1;
}

/* Read what follows the latents: their checksum, and the patches. */
static int finish(isoq_tile *tile, isoq_bytes *rest, uint32_t check) {
    if (!isoq_is_checksum(isoq_take_u32(rest), check))
        return isoq_damaged(tile->work, "the latents of a tile do not match their checksum");
    isoq_bytes patches = isoq_take_part(rest);
    if (!isoq_apply_patches(tile, patches)) return 0;
    if (rest->left) return isoq_damaged(tile->work, "a tile is too long");
    if (patches.left) isoq_restore(tile);
    return 1;
}

int isoq_decode_tile(isoq_file *file, uint32_t number, int scale, isoq_tile *tile) {
    isoq_bytes rest;
    uint32_t check;
    if (!isoq_open_tile(file, number, scale, tile, &rest)) return 0;
    isoq_take_part(&rest); /* targets, which nobody needs to decode */
    size_t samples = (size_t)tile->out_rows * (size_t)tile->out_cols * (size_t)tile->bands;
    tile->samples = (uint8_t *)isoq_allocate(tile->work, samples, isoq_sample_size(tile->type));
    if (!tile->samples || !isoq_read_groups(tile, &rest) || !isoq_read_quality(tile, &rest) ||
        !isoq_decode_transformed(tile, &rest, &check))
        return 0;
    for (int k = 0; k < tile->groups; k++)
        if (!decode_group(tile, tile->group + k)) return 0;
    isoq_restore(tile);
    return scale ? 1 : finish(tile, &rest, check);
}
