/* Sums of products of 16-bit integers, two products at a time: the convolutions of small networks.

   A pair is two integers of 16 bits in one of 32, the first one in the low half. For each set of
   instructions there is a type of some sums of 32 bits, and three functions:

     isoq_fill_...       all sums = number
     isoq_add_pairs_...  sums += first of each pair * first of `weight` + second * second
     isoq_keep_...       write the sums to memory

   All sets find the same sums; nothing overflows where the caller sees to it that sums fit.
   ISOQ_BEST_SET calls what was compiled for each of them. */
#ifndef ISOQ_PAIRS_H
#define ISOQ_PAIRS_H

#include "compiler.h"

ISOQ_INLINE int32_t isoq_pair_of(int32_t first, int32_t second) {
    return (int32_t)(((uint32_t)first & 0xffff) | (uint32_t)second << 16);
}

ISOQ_INLINE int32_t isoq_first_of(int32_t pair) { return (int16_t)(pair & 0xffff); }

ISOQ_INLINE int32_t isoq_second_of(int32_t pair) { return pair >> 16; }

/* ---- For every processor. */

enum { ISOQ_PLAIN_SUMS = 4 };

#if ISOQ_GNU
typedef int32_t isoq_sums_plain __attribute__((vector_size(4 * ISOQ_PLAIN_SUMS)));
typedef int16_t isoq_halves_plain __attribute__((vector_size(4 * ISOQ_PLAIN_SUMS)));
typedef isoq_sums_plain isoq_sums_plain_in_memory
    __attribute__((aligned(sizeof(int32_t)), may_alias));
#else
typedef struct {
    int32_t lane[ISOQ_PLAIN_SUMS];
} isoq_sums_plain;
#endif

ISOQ_INLINE void isoq_fill_plain(isoq_sums_plain *sums, int32_t number) {
#if ISOQ_GNU
    *sums = number - (isoq_sums_plain){0};
#else
    for (int k = 0; k < ISOQ_PLAIN_SUMS; k++) sums->lane[k] = number;
#endif
}

ISOQ_INLINE void isoq_add_pairs_plain(isoq_sums_plain *sums, const int32_t *pairs, int32_t weight) {
#if ISOQ_GNU && defined(__SSE2__)
    isoq_halves_plain near = (isoq_halves_plain) * (const isoq_sums_plain_in_memory *)pairs;
    isoq_halves_plain factor = (isoq_halves_plain)(weight - (isoq_sums_plain){0});
    *sums += (isoq_sums_plain)__builtin_ia32_pmaddwd128(near, factor);
#elif ISOQ_GNU
    isoq_sums_plain near = *(const isoq_sums_plain_in_memory *)pairs;
    *sums += (isoq_sums_plain)((isoq_sums_plain)((near << 16) >> 16) * isoq_first_of(weight)) +
             (near >> 16) * isoq_second_of(weight);
#else
    for (int k = 0; k < ISOQ_PLAIN_SUMS; k++)
        sums->lane[k] += isoq_first_of(pairs[k]) * isoq_first_of(weight) +
                         isoq_second_of(pairs[k]) * isoq_second_of(weight);
#endif
}

ISOQ_INLINE void isoq_keep_plain(int32_t *to, const isoq_sums_plain *sums) {
    memcpy(to, sums, sizeof *sums);
}

/* ---- For x86-64 with AVX2. */

#if ISOQ_GNU && defined(__x86_64__) && !defined(_MSC_VER)
#define ISOQ_ALL_SETS 1
#define ISOQ_WITH_AVX2 __attribute__((target("avx2")))

enum { ISOQ_AVX2_SUMS = 8 };

typedef int32_t isoq_sums_avx2 __attribute__((vector_size(4 * ISOQ_AVX2_SUMS)));
typedef int16_t isoq_halves_avx2 __attribute__((vector_size(4 * ISOQ_AVX2_SUMS)));
typedef isoq_sums_avx2 isoq_sums_avx2_in_memory
    __attribute__((aligned(sizeof(int32_t)), may_alias));

ISOQ_WITH_AVX2 ISOQ_INLINE void isoq_fill_avx2(isoq_sums_avx2 *sums, int32_t number) {
    *sums = number - (isoq_sums_avx2){0};
}

ISOQ_WITH_AVX2 ISOQ_INLINE void isoq_add_pairs_avx2(isoq_sums_avx2 *sums, const int32_t *pairs,
                                                    int32_t weight) {
    isoq_halves_avx2 near = (isoq_halves_avx2) * (const isoq_sums_avx2_in_memory *)pairs;
    isoq_halves_avx2 factor = (isoq_halves_avx2)(weight - (isoq_sums_avx2){0});
    *sums += (isoq_sums_avx2)__builtin_ia32_pmaddwd256(near, factor);
    /* Without this, gcc adds products to each other first, and has no registers for them. */
    __asm__("" : "+x"(*sums));
}

ISOQ_WITH_AVX2 ISOQ_INLINE void isoq_keep_avx2(int32_t *to, const isoq_sums_avx2 *sums) {
    *(isoq_sums_avx2_in_memory *)to = *sums;
}

ISOQ_INLINE int isoq_has_avx2(void) { return __builtin_cpu_supports("avx2"); }

/* ---- For x86-64 with AVX-512 and its instruction for sums of products (VNNI). */

#define ISOQ_WITH_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

enum { ISOQ_AVX512_SUMS = 16 };

typedef int32_t isoq_sums_avx512 __attribute__((vector_size(4 * ISOQ_AVX512_SUMS)));
typedef isoq_sums_avx512 isoq_sums_avx512_in_memory
    __attribute__((aligned(sizeof(int32_t)), may_alias));

ISOQ_WITH_AVX512 ISOQ_INLINE void isoq_fill_avx512(isoq_sums_avx512 *sums, int32_t number) {
    *sums = number - (isoq_sums_avx512){0};
}

ISOQ_WITH_AVX512 ISOQ_INLINE void isoq_add_pairs_avx512(isoq_sums_avx512 *sums,
                                                        const int32_t *pairs, int32_t weight) {
    isoq_sums_avx512 near = *(const isoq_sums_avx512_in_memory *)pairs;
    isoq_sums_avx512 factor = weight - (isoq_sums_avx512){0};
    __asm__("vpdpwssd %2, %1, %0" : "+v"(*sums) : "v"(near), "v"(factor));
}

ISOQ_WITH_AVX512 ISOQ_INLINE void isoq_keep_avx512(int32_t *to, const isoq_sums_avx512 *sums) {
    *(isoq_sums_avx512_in_memory *)to = *sums;
}

ISOQ_INLINE int isoq_has_avx512(void) {
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}
#else
#define ISOQ_ALL_SETS 0
#endif

/* ---- Choice at run time. */

/* Call a function of the best set that the processor has; name: without the set's. */
#if ISOQ_ALL_SETS
#define ISOQ_BEST_SET(name, ...)                    \
    (isoq_has_avx512() ? name##_avx512(__VA_ARGS__) \
     : isoq_has_avx2() ? name##_avx2(__VA_ARGS__)   \
                       : name##_plain(__VA_ARGS__))
#else
#define ISOQ_BEST_SET(name, ...) name##_plain(__VA_ARGS__)
#endif

#endif
