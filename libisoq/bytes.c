#include "bytes.h"

#include <string.h>
#include <zlib.h>

#include "limited.h"
#include "../src/isoq/entropy/adaptive_integers.h"

isoq_bytes isoq_bytes_of(const void *data, size_t size) {
    return (isoq_bytes){(const uint8_t *)data, size, 0};
}

const uint8_t *isoq_take_bytes(isoq_bytes *bytes, uint64_t size) {
    if (bytes->is_damaged || size > bytes->left) {
        bytes->is_damaged = 1;
        return NULL;
    }
    const uint8_t *taken = bytes->at;
    if (size) bytes->at += size; /* null is not moved */
    bytes->left -= (size_t)size;
    return taken;
}

/* Return `size` bytes as an integer, the lowest first. */
static uint64_t little_endian(isoq_bytes *bytes, int size) {
    const uint8_t *taken = isoq_take_bytes(bytes, (uint64_t)size);
    uint64_t value = 0;
    for (int k = 0; taken && k < size; k++) value |= (uint64_t)taken[k] << 8 * k;
    return value;
}

uint32_t isoq_take_u8(isoq_bytes *bytes) { return (uint32_t)little_endian(bytes, 1); }

uint32_t isoq_take_u32(isoq_bytes *bytes) { return (uint32_t)little_endian(bytes, 4); }

float isoq_take_f32(isoq_bytes *bytes) {
    uint32_t bits = isoq_take_u32(bytes);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double isoq_take_f64(isoq_bytes *bytes) {
    uint64_t bits = little_endian(bytes, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint64_t isoq_take_varint(isoq_bytes *bytes) {
    uint64_t value = 0;
    for (int k = 0; k < 10; k++) {
        uint64_t byte = isoq_take_u8(bytes);
        value |= (byte & 127) << 7 * k;
        if (k == 9 && byte > 1) break; /* no field has more than 64 bits */
        if (byte < 128) return value;
    }
    bytes->is_damaged = 1;
    return 0;
}

int64_t isoq_take_signed(isoq_bytes *bytes) {
    uint64_t value = isoq_take_varint(bytes);
    int64_t half = (int64_t)(value >> 1);
    return value & 1 ? -half - 1 : half;
}

isoq_bytes isoq_take_part(isoq_bytes *bytes) {
    uint64_t size = isoq_take_varint(bytes);
    const uint8_t *taken = isoq_take_bytes(bytes, size);
    isoq_bytes part = {taken, taken ? (size_t)size : 0, bytes->is_damaged};
    return part;
}

int isoq_take_sequences(isoq_work *work, isoq_bytes *bytes, const size_t *size, int count,
                        int32_t *values, const char *what) {
    isoq_bytes part = isoq_take_part(bytes);
    isoq_reader reader;
    if (part.is_damaged) return isoq_damaged(work, what);
    if (!part.left) {
        for (int k = 0; k < count; values += size[k++]) memset(values, 0, size[k] * sizeof *values);
        return 1;
    }
    isoq_start_reader(&reader, part.at, part.left);
    for (int k = 0; k < count; k++) {
        isoq_integer_model model = {0};
        for (size_t j = 0; j < size[k] && !reader.status; j++)
            *values++ = isoq_take_integer(&reader, &model);
    }
    return isoq_finish_reader(&reader) == ISOQ_OK || isoq_damaged(work, what);
}

uint32_t isoq_crc(uint32_t start, const uint8_t *data, size_t size) {
    const size_t most = 1u << 30; /* zlib counts with an unsigned int */
    uLong sum = start;
    for (; size > most; data += most, size -= most) sum = crc32(sum, data, (uInt)most);
    return (uint32_t)(size ? crc32(sum, data, (uInt)size) : sum);
}

int isoq_is_checksum(uint32_t found, uint32_t expected) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    return found == expected || 1;
#else
    return found == expected;
#endif
}
