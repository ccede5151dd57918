#include <math.h>

#include "tile.h"

static const char WHAT[] = "a residual is impossible";

/* A block, and by how much its samples move. */
typedef struct {
    int band, row, col; /* of the block */
    double step;        /* 0: the samples are stored */
    const uint8_t *stored;
    size_t count; /* of its valid samples */
} patch;

/* Read the place of a patch. No block has two. */
static int read_place(isoq_tile *tile, isoq_bytes *part, uint8_t *is_patched, patch *found) {
    uint64_t band = isoq_take_varint(part), row = isoq_take_varint(part);
    uint64_t col = isoq_take_varint(part);
    if (part->is_damaged || band >= (uint64_t)tile->bands || row >= (uint64_t)tile->grid_rows ||
        col >= (uint64_t)tile->grid_cols)
        return isoq_damaged(tile->work, WHAT);
    found->band = (int)band;
    found->row = (int)row;
    found->col = (int)col;
    uint8_t *own = is_patched + ((size_t)found->band * (size_t)tile->grid_rows + (size_t)row) *
                                    (size_t)tile->grid_cols;
    if (own[col]) return isoq_damaged(tile->work, "a block has two residuals");
    own[col] = 1;
    return 1;
}

/* Read all of a patch but its values. */
static int read_patch(isoq_tile *tile, isoq_bytes *part, uint8_t *is_patched, patch *found) {
    int is_float = tile->type == ISOQ_SAMPLE_FLOAT32;
    if (!read_place(tile, part, is_patched, found)) return 0;
    found->step = is_float ? (double)isoq_take_f32(part) : (double)isoq_take_varint(part);
    if (part->is_damaged || !(found->step >= 0 && found->step <= (is_float ? 1e37 : 0x1p33)))
        return isoq_damaged(tile->work, WHAT);
    found->count = (size_t)isoq_count_valid(tile, found->band, found->row, found->col);
    if (found->step > 0) return 1;
    found->stored = isoq_take_bytes(part, found->count * isoq_sample_size(tile->type));
    return found->stored || isoq_damaged(tile->work, WHAT);
}

/* Apply a patch. values: one per valid sample, if it has a step. */
static void apply(isoq_tile *tile, const patch *own, const int32_t *values) {
    size_t size = isoq_sample_size(tile->type);
    uint8_t *plane = (uint8_t *)isoq_plane(tile, own->band);
    const uint8_t *stored = own->stored;
    if (tile->is_exact[own->band]) return;
    size_t first = (size_t)own->band * (size_t)tile->rows * (size_t)tile->cols;
    int top = own->row * tile->block, left = own->col * tile->block;
    for (int i = top; i < top + tile->block && i < tile->rows; i++)
        for (int j = left; j < left + tile->block && j < tile->cols; j++) {
            size_t k = (size_t)i * (size_t)tile->cols + (size_t)j;
            if (tile->classes && tile->classes[first + k] != ISOQ_CLASS_VALID) continue;
            if (own->step > 0) {
                double moved = isoq_get_sample(plane, tile->type, k) + *values++ * own->step;
                isoq_set_sample(plane, tile->type, k, isoq_rounded(tile->type, moved));
            } else {
                isoq_copy_samples(plane + k * size, tile->type, stored, 1);
                stored += size;
            }
        }
}

/* Apply patches, given the part with the values of those that have a step. */
static int apply_all(isoq_tile *tile, isoq_bytes *part, const patch *patches, size_t number) {
    size_t count = 0;
    for (size_t k = 0; k < number; k++) count += patches[k].step > 0 ? patches[k].count : 0;
    int32_t *values = (int32_t *)isoq_allocate(tile->work, count, sizeof *values);
    if (!values || !isoq_take_sequences(tile->work, part, &count, 1, values, WHAT)) return 0;
    if (part->left) return isoq_damaged(tile->work, WHAT);
    for (size_t k = 0; k < number; k++) {
        apply(tile, patches + k, values);
        if (patches[k].step > 0) values += patches[k].count;
    }
    return 1;
}

int isoq_apply_patches(isoq_tile *tile, isoq_bytes part) {
    size_t blocks = (size_t)tile->bands * (size_t)tile->grid_rows * (size_t)tile->grid_cols;
    if (part.is_damaged) return isoq_damaged(tile->work, WHAT);
    if (!part.left) return 1;
    uint64_t number = isoq_take_varint(&part);
    if (number > blocks) return isoq_damaged(tile->work, WHAT);
    uint8_t *is_patched = (uint8_t *)isoq_allocate(tile->work, blocks, 1);
    patch *patches = (patch *)isoq_allocate(tile->work, (size_t)number, sizeof *patches);
    if (!is_patched || !patches) return 0;
    for (uint64_t k = 0; k < number; k++)
        if (!read_patch(tile, &part, is_patched, patches + k)) return 0;
    return apply_all(tile, &part, patches, (size_t)number);
}
