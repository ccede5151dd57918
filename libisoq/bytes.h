/* Bytes that are read from the front, and the integers in them (sections 6.1 and 8.3). A reader
   never leaves its bytes: what is beyond the end is 0, and sets `is_damaged`, which nothing
   clears. The caller looks at it before it uses what was read. */
#ifndef ISOQ_BYTES_H
#define ISOQ_BYTES_H

#include "work.h"

typedef struct {
    const uint8_t *at;
    size_t left;
    int is_damaged;
} isoq_bytes;

isoq_bytes isoq_bytes_of(const void *data, size_t size);

/* Return the next `size` bytes, or null if there are not so many. */
const uint8_t *isoq_take_bytes(isoq_bytes *bytes, uint64_t size);

uint32_t isoq_take_u8(isoq_bytes *bytes);
uint32_t isoq_take_u32(isoq_bytes *bytes);
float isoq_take_f32(isoq_bytes *bytes);
double isoq_take_f64(isoq_bytes *bytes);

/* Return a varint. One of more than 64 bits is damaged. */
uint64_t isoq_take_varint(isoq_bytes *bytes);

/* Return a signed integer. */
int64_t isoq_take_signed(isoq_bytes *bytes);

/* Return a part: as many bytes as the varint before them says. */
isoq_bytes isoq_take_part(isoq_bytes *bytes);

/* Decode a part of integers into `count` sequences, one after the other in `values`. size: of each
   sequence. Fail with `what` as the subject if the part is damaged. */
int isoq_take_sequences(isoq_work *work, isoq_bytes *bytes, const size_t *size, int count,
                        int32_t *values, const char *what);

/* Return the CRC-32 of bytes, continued from `start`. */
uint32_t isoq_crc(uint32_t start, const uint8_t *data, size_t size);

/* Return whether a checksum is right. Fuzzers cannot guess any: builds for them take all. */
int isoq_is_checksum(uint32_t found, uint32_t expected);

#endif
