/* SHA-256 (FIPS 180-4), for the identity of models. */
#ifndef ISOQ_SHA256_H
#define ISOQ_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t state[8];
    uint8_t block[64];
    uint64_t size; /* bytes so far */
} isoq_sha256;

void isoq_start_sha256(isoq_sha256 *sha);
void isoq_add_sha256(isoq_sha256 *sha, const void *data, size_t size);
void isoq_finish_sha256(isoq_sha256 *sha, uint8_t digest[32]);

#endif
