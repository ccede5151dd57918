#include <string.h>

#include "inflate.h"
#include "tile.h"

static const char WHAT[] = "a lossless band does not decode";

/* Set samples to values of a palette, given their indices. */
static int look_up(isoq_tile *tile, const uint8_t *values, size_t number, const uint8_t *index,
                   size_t count, uint8_t *samples) {
    size_t size = isoq_sample_size(tile->type);
    for (size_t k = 0; k < count; k++) {
        if (index[k] >= number) return isoq_damaged(tile->work, WHAT);
        isoq_copy_samples(samples + k * size, tile->type, values + index[k] * size, 1);
    }
    return 1;
}

/* Set samples from the byte planes of their differences. */
static void add_up(const isoq_tile *tile, const uint8_t *planes, size_t count, uint8_t *samples) {
    size_t size = isoq_sample_size(tile->type);
    uint32_t last = 0;
    for (size_t k = 0; k < count; k++) {
        uint32_t change = 0;
        for (size_t b = 0; b < size; b++) change |= (uint32_t)planes[b * count + k] << 8 * b;
        last += change;
        uint8_t little[4] = {(uint8_t)last, (uint8_t)(last >> 8), (uint8_t)(last >> 16),
                             (uint8_t)(last >> 24)};
        isoq_copy_samples(samples + k * size, tile->type, little, 1);
    }
}

int isoq_decode_lossless(isoq_tile *tile, const isoq_group *group, void *samples) {
    enum { PALETTE, PLANES };
    isoq_bytes part = group->part;
    size_t size = isoq_sample_size(tile->type);
    size_t count = (size_t)tile->rows * (size_t)tile->cols;
    uint32_t kind = isoq_take_u8(&part);
    uint64_t number = kind == PALETTE ? isoq_take_varint(&part) : 0;
    const uint8_t *values = isoq_take_bytes(&part, (number > 256 ? 257 : number) * size);
    size_t plain_size = kind == PALETTE ? count : count * size;
    if (kind > PLANES)
        return isoq_fail(tile->work, ISOQ_ERROR_UNSUPPORTED,
                         "a lossless band is of an unknown kind; use a newer library");
    if (!values || number > 256) return isoq_damaged(tile->work, WHAT);
    uint8_t *plain = (uint8_t *)isoq_allocate(tile->work, plain_size, 1);
    if (!plain || !isoq_unpack_lzma(tile->work, part, plain, plain_size, WHAT)) return 0;
    if (kind == PALETTE)
        return look_up(tile, values, (size_t)number, plain, count, (uint8_t *)samples);
    add_up(tile, plain, count, (uint8_t *)samples);
    return 1;
}
