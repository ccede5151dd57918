#include <string.h>

#include "inflate.h"
#include "tile.h"

/* Spread bits, eight to a byte and the highest first, to bytes of `only` or 0; from the end, so
   that the bits may be in the first bytes of the same memory. */
static void unpack_bits(uint8_t *classes, size_t count, uint8_t only) {
    for (size_t k = count; k-- > 0;) classes[k] = classes[k / 8] >> (7 - k % 8) & 1 ? only : 0;
}

/* Undo the differences between rows, then those between bands. */
static void undo_differences(const isoq_tile *tile, uint8_t *classes) {
    size_t cols = (size_t)tile->cols, plane = (size_t)tile->rows * cols;
    size_t count = (size_t)tile->bands * plane;
    for (size_t k = 0; k < count; k++)
        if (k % plane >= cols) classes[k] ^= classes[k - cols];
    for (size_t k = plane; k < count; k++) classes[k] ^= classes[k - plane];
}

/* Make the classes of the reduced image. */
static int reduce_classes(isoq_tile *tile) {
    size_t rows = (size_t)tile->out_rows, cols = (size_t)tile->out_cols;
    uint8_t *to = (uint8_t *)isoq_allocate(tile->work, (size_t)tile->bands * rows, cols);
    if (!to) return 0;
    tile->out_classes = to;
    for (size_t b = 0; b < (size_t)tile->bands; b++)
        for (size_t i = 0; i < rows; i++) {
            size_t row = b * (size_t)tile->rows + (i << tile->scale);
            const uint8_t *from = tile->classes + row * (size_t)tile->cols;
            for (size_t j = 0; j < cols; j++) *to++ = from[j << tile->scale];
        }
    return 1;
}

int isoq_read_mask(isoq_tile *tile, isoq_bytes part) {
    static const char what[] = "the mask of a tile does not decode";
    size_t count = (size_t)tile->bands * (size_t)tile->rows * (size_t)tile->cols;
    if (part.is_damaged) return isoq_damaged(tile->work, what);
    if (!part.left) return 1;
    uint8_t only = (uint8_t)isoq_take_u8(&part);
    uint8_t *classes = (uint8_t *)isoq_allocate(tile->work, count, 1);
    if (!classes ||
        !isoq_inflate(tile->work, part, ISOQ_ZLIB, classes, only ? (count + 7) / 8 : count, what))
        return 0;
    if (only) unpack_bits(classes, count, only);
    undo_differences(tile, classes);
    for (size_t k = 0; k < count; k++)
        if (classes[k] > ISOQ_CLASS_MASKED) return isoq_damaged(tile->work, what);
    tile->classes = tile->out_classes = classes;
    return tile->scale == 0 || reduce_classes(tile);
}

int isoq_count_valid(const isoq_tile *tile, int band, int block_row, int block_col) {
    int row = block_row * tile->block, col = block_col * tile->block, count = 0;
    int end = row + tile->block < tile->rows ? row + tile->block : tile->rows;
    int cols = tile->cols - col < tile->block ? tile->cols - col : tile->block;
    if (!tile->classes) return (end - row) * cols;
    for (; row < end; row++) {
        size_t first = ((size_t)band * (size_t)tile->rows + (size_t)row) * (size_t)tile->cols;
        const uint8_t *classes = tile->classes + first + col;
        for (int j = 0; j < cols; j++) count += classes[j] == ISOQ_CLASS_VALID;
    }
    return count;
}
