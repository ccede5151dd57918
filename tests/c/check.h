/* What the test programs share: checks that stop the program, random numbers, a hash of what they
   make.

   A program ends with 0 if all checks hold, and prints the hash: all builds have to print the same.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

#include "rans.h"

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                        \
        }                                                                   \
    } while (0)

static uint64_t random_state = 88172645463325252ull;

/* Return 64 random bits (xorshift, Marsaglia 2003). */
static inline uint64_t random_bits(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Return a random number in least ... most. */
static inline int64_t random_in(int64_t least, int64_t most) {
    return least + (int64_t)(random_bits() % (uint64_t)(most - least + 1));
}

static uint64_t hash = 14695981039346656037ull;

/* Add bytes to the hash (FNV-1a). */
static inline void add_to_hash(const void *data, size_t size) {
    for (size_t k = 0; k < size; k++) hash = (hash ^ ((const uint8_t *)data)[k]) * 1099511628211ull;
}

/* A stream in memory of exactly its size, so that sanitizers see what is read beyond it. */
typedef struct {
    uint8_t *data;
    size_t size;
} stream;

/* Return the stream of a list of some strands, add it to the hash, and release the list. */
static inline stream strands_of(isoq_slot_list *list, int strands) {
    size_t room = isoq_stream_room(list);
    uint8_t *out = (uint8_t *)malloc(room);
    size_t sizes;
    stream made;
    CHECK(out && list->status == ISOQ_OK);
    made.size = isoq_write_segments(list, strands, &list->count, 1, &sizes, out, room);
    made.data = (uint8_t *)malloc(made.size);
    CHECK(made.data && made.size >= 8 && made.size <= room);
    memcpy(made.data, out + room - made.size, made.size);
    add_to_hash(made.data, made.size);
    free(out);
    isoq_release_list(list);
    return made;
}

static inline stream stream_of(isoq_slot_list *list) { return strands_of(list, 1); }

/* Change one byte of a stream. */
static inline void damage(stream made) {
    made.data[random_in(0, (int64_t)made.size - 1)] ^= (uint8_t)random_in(1, 255);
}

/* Fill a table of cumulative frequencies with random symbols, each at least 1 of 2^15. */
static inline void random_table(uint16_t *cdf, int symbols) {
    uint32_t weight[64], total = 0, sum = 0;
    CHECK(symbols <= 64);
    for (int s = 0; s < symbols; s++) total += weight[s] = (uint32_t)random_in(0, 1000) + 1;
    for (int s = 0; s < symbols; s++) {
        cdf[s] = (uint16_t)((uint32_t)s + sum * (uint32_t)(ISOQ_TOTAL - symbols) / total);
        sum += weight[s];
    }
    cdf[symbols] = ISOQ_TOTAL;
}

#endif
