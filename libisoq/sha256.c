#include "sha256.h"

#include <string.h>

/* Fractions of the cube roots of the first 64 primes. */
static const uint32_t ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

void isoq_start_sha256(isoq_sha256 *sha) {
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(sha->state, start, sizeof start);
    sha->size = 0;
}

static uint32_t turned(uint32_t word, int bits) { return word >> bits | word << (32 - bits); }

static void add_block(isoq_sha256 *sha) {
    uint32_t w[64], s[8];
    for (int k = 0; k < 16; k++) {
        const uint8_t *from = sha->block + 4 * k;
        w[k] = (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
    }
    for (int k = 16; k < 64; k++) {
        uint32_t a = w[k - 15], b = w[k - 2];
        w[k] = w[k - 16] + (turned(a, 7) ^ turned(a, 18) ^ a >> 3) + w[k - 7] +
               (turned(b, 17) ^ turned(b, 19) ^ b >> 10);
    }
    memcpy(s, sha->state, sizeof s);
    for (int k = 0; k < 64; k++) {
        uint32_t e = turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25);
        uint32_t chosen = (s[4] & s[5]) ^ (~s[4] & s[6]);
        uint32_t first = s[7] + e + chosen + ROUND[k] + w[k];
        uint32_t a = turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22);
        uint32_t most = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += first;
        s[0] = first + a + most;
    }
    for (int k = 0; k < 8; k++) sha->state[k] += s[k];
}

void isoq_add_sha256(isoq_sha256 *sha, const void *data, size_t size) {
    const uint8_t *from = (const uint8_t *)data;
    for (size_t k = 0; k < size; k++) {
        sha->block[sha->size++ % 64] = from[k];
        if (sha->size % 64 == 0) add_block(sha);
    }
}

void isoq_finish_sha256(isoq_sha256 *sha, uint8_t digest[32]) {
    static const uint8_t one = 0x80, zero = 0;
    uint64_t bits = 8 * sha->size;
    uint8_t size[8];
    for (int k = 0; k < 8; k++) size[k] = (uint8_t)(bits >> (56 - 8 * k));
    isoq_add_sha256(sha, &one, 1);
    while (sha->size % 64 != 56) isoq_add_sha256(sha, &zero, 1);
    isoq_add_sha256(sha, size, 8);
    for (int k = 0; k < 32; k++) digest[k] = (uint8_t)(sha->state[k / 4] >> (24 - 8 * (k % 4)));
}
