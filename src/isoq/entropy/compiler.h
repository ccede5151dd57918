/* The basis of all C code of isoq: its conventions, and the few constructs that differ between
   compilers.

   Names. Types and functions begin with `isoq_`, constants and macros with `ISOQ_`.

   Linkage. All code is static and lives in headers. An extension module is one translation unit,
   so the compiler can inline across all of it.

   Errors. A function that can fail returns an `isoq_status`. Readers and slot lists are used once
   per symbol, so they keep a `status` of their own instead. The first failure sets it, nothing
   clears it, and the caller looks at it once, at the end.

   Preconditions. `assert` states them. The Cython wrappers check them for every argument that comes
   from Python. Release builds (NDEBUG) leave the asserts out.

   Memory. Each function that allocates has a partner that releases. It is safe to release twice, or
   after an allocation failed.

   Arithmetic. Integers are in two's complement, and `>>` of a negative integer keeps its sign.
   `float` and `double` follow IEEE 754. Extensions are compiled without fast-math options and
   without fused multiply-add (-ffp-contract=off), so the encoder makes the same choices on every
   processor.

   ISOQ_PORTABLE, defined at build time, selects the fallbacks, which are standard C11. All builds
   write the same streams and decode the same samples. */
#ifndef ISOQ_COMPILER_H
#define ISOQ_COMPILER_H

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef enum {
    ISOQ_OK = 0,
    ISOQ_DAMAGED = 1, /* the stream is not one that the encoder writes */
    ISOQ_NO_MEMORY = 2
} isoq_status;

#if (defined(__GNUC__) || defined(__clang__)) && !defined(ISOQ_PORTABLE)
#define ISOQ_GNU 1 /* gcc or clang, clang-cl too */
#else
#define ISOQ_GNU 0
#endif

/* A function of a header, which a program may leave unused. */
#if ISOQ_GNU
#define ISOQ_API __attribute__((unused)) static
#else
#define ISOQ_API static inline
#endif

/* A function that is worth inlining wherever it is called, whatever its size. */
#if ISOQ_GNU
#define ISOQ_INLINE static inline __attribute__((always_inline))
#elif defined(_MSC_VER)
#define ISOQ_INLINE static __forceinline
#else
#define ISOQ_INLINE static inline
#endif

/* A function with loops that compilers vectorize, compiled for three generations of x86-64; the
   program takes the best at start-up. Levels and features are asked of any vendor's processor,
   where "arch=haswell" would be of one vendor's. The choice needs the C library: glibc makes it,
   musl does not. Sanitizers do not survive this start-up, and clang has no clones of static
   functions. */
#if ISOQ_GNU && !defined(__clang__) && __GNUC__ >= 12 && defined(__x86_64__) && \
    defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define ISOQ_MULTIVERSION \
    ISOQ_API __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define ISOQ_MULTIVERSION ISOQ_API
#endif

/* Before a loop: no iteration depends on another. */
#if ISOQ_GNU && !defined(__clang__)
#define ISOQ_INDEPENDENT _Pragma("GCC ivdep")
#define ISOQ_UNROLL_4 _Pragma("GCC unroll 4")
#else
#define ISOQ_INDEPENDENT
#define ISOQ_UNROLL_4
#endif

/* A pointer through which alone the function reaches what it points to. */
#if defined(_MSC_VER)
#define ISOQ_RESTRICT __restrict
#else
#define ISOQ_RESTRICT restrict
#endif

/* A variable that every thread has for itself. */
#if defined(_MSC_VER)
#define ISOQ_THREAD_LOCAL __declspec(thread)
#else
#define ISOQ_THREAD_LOCAL _Thread_local
#endif

/* Integers of 128 bits, which turn a division into a multiplication (rans.h). */
#if ISOQ_GNU && defined(__SIZEOF_INT128__)
#define ISOQ_INT128 1
__extension__ typedef unsigned __int128 isoq_uint128;
#else
#define ISOQ_INT128 0
#endif

/* Memory. A program that limits it defines all four before it includes any header. */
#ifndef ISOQ_MALLOC
#define ISOQ_MALLOC(bytes) malloc(bytes)
#define ISOQ_CALLOC(count, bytes) calloc(count, bytes)
#define ISOQ_REALLOC(memory, bytes) realloc(memory, bytes)
#define ISOQ_FREE(memory) free(memory)
#endif

/* Return the number of bits of `value` without leading zeros: 0 for 0, 64 at most. */
ISOQ_INLINE int isoq_bit_length(uint64_t value) {
#if ISOQ_GNU
    return value ? 64 - __builtin_clzll(value) : 0;
#else
    int bits = 0;
    for (; value; value >>= 1) bits++;
    return bits;
#endif
}

/* Return the first address at or after `memory` that is a multiple of `alignment`, a power of two.
   Allocate `alignment` bytes more than needed, and free the original pointer. */
ISOQ_API float *isoq_aligned(float *memory, size_t alignment) {
    assert(alignment && !(alignment & (alignment - 1)));
    size_t beyond = (uintptr_t)memory & (alignment - 1);
    return beyond ? memory + (alignment - beyond) / sizeof(float) : memory;
}

/* ---- Eight integers of 16 bits, and four floats: every x86-64 and ARM64 has them. */

#if ISOQ_GNU
typedef int16_t isoq_short8 __attribute__((vector_size(16)));
#else
typedef struct {
    int16_t lane[8];
} isoq_short8;
#endif

ISOQ_INLINE isoq_short8 isoq_short8_of(int16_t a, int16_t b, int16_t c, int16_t d, int16_t e,
                                       int16_t f, int16_t g, int16_t h) {
#if ISOQ_GNU
    return (isoq_short8){a, b, c, d, e, f, g, h};
#else
    return (isoq_short8){{a, b, c, d, e, f, g, h}};
#endif
}

/* Return eight of the lanes of a, 0 ... 7, and b, 8 ... 15; the places are constants. */
#if ISOQ_GNU
#define ISOQ_SHORT8_LANE(a, b, k) ((k) < 8 ? (a)[(k)&7] : (b)[(k)&7])
#else
#define ISOQ_SHORT8_LANE(a, b, k) ((k) < 8 ? (a).lane[(k)&7] : (b).lane[(k)&7])
#endif
#define ISOQ_SHORT8_PICK(a, b, i, j, k, l, m, n, o, p) \
    isoq_short8_of(ISOQ_SHORT8_LANE(a, b, i), ISOQ_SHORT8_LANE(a, b, j), \
                   ISOQ_SHORT8_LANE(a, b, k), ISOQ_SHORT8_LANE(a, b, l), \
                   ISOQ_SHORT8_LANE(a, b, m), ISOQ_SHORT8_LANE(a, b, n), \
                   ISOQ_SHORT8_LANE(a, b, o), ISOQ_SHORT8_LANE(a, b, p))

ISOQ_INLINE isoq_short8 isoq_short8_load(const int16_t *from) {
    isoq_short8 vector;
    memcpy(&vector, from, sizeof vector);
    return vector;
}

ISOQ_INLINE void isoq_short8_store(int16_t *to, isoq_short8 vector) {
    memcpy(to, &vector, sizeof vector);
}

ISOQ_INLINE isoq_short8 isoq_short8_add(isoq_short8 a, isoq_short8 b) {
#if ISOQ_GNU
    return a + b;
#else
    for (int k = 0; k < 8; k++) a.lane[k] = (int16_t)(a.lane[k] + b.lane[k]);
    return a;
#endif
}

ISOQ_INLINE isoq_short8 isoq_short8_subtract(isoq_short8 a, isoq_short8 b) {
#if ISOQ_GNU
    return a - b;
#else
    for (int k = 0; k < 8; k++) a.lane[k] = (int16_t)(a.lane[k] - b.lane[k]);
    return a;
#endif
}

/* Return b where `is_second` is -1, and a where it is 0. */
ISOQ_INLINE isoq_short8 isoq_short8_choose(isoq_short8 is_second, isoq_short8 a, isoq_short8 b) {
#if ISOQ_GNU
    return a ^ ((a ^ b) & is_second);
#else
    for (int k = 0; k < 8; k++)
        if (is_second.lane[k]) a.lane[k] = b.lane[k];
    return a;
#endif
}

/* Return the smaller of each pair. gcc does not know x86's instruction for it by any expression. */
ISOQ_INLINE isoq_short8 isoq_short8_least(isoq_short8 a, isoq_short8 b) {
#if ISOQ_GNU && defined(__SSE2__)
    return (isoq_short8)_mm_min_epi16((__m128i)a, (__m128i)b);
#elif ISOQ_GNU
    return isoq_short8_choose(b < a, a, b);
#else
    for (int k = 0; k < 8; k++)
        if (b.lane[k] < a.lane[k]) a.lane[k] = b.lane[k];
    return a;
#endif
}

#if ISOQ_GNU
typedef float isoq_float4 __attribute__((vector_size(16)));
typedef int32_t isoq_int4 __attribute__((vector_size(16)));
typedef isoq_int4 isoq_int4_in_memory __attribute__((aligned(sizeof(int32_t)), may_alias));
#else
typedef struct {
    float lane[4];
} isoq_float4;
#endif

ISOQ_INLINE isoq_float4 isoq_float4_of(float a, float b, float c, float d) {
#if ISOQ_GNU
    return (isoq_float4){a, b, c, d};
#else
    return (isoq_float4){{a, b, c, d}};
#endif
}

ISOQ_INLINE isoq_float4 isoq_float4_load(const float *from) {
    isoq_float4 vector;
    memcpy(&vector, from, sizeof vector);
    return vector;
}

ISOQ_INLINE void isoq_float4_store(float *to, isoq_float4 vector) {
    memcpy(to, &vector, sizeof vector);
}

/* Return vector[i], vector[j], vector[k], vector[l]; the places are constants. */
#if ISOQ_GNU
#define ISOQ_FLOAT4_PICK(vector, i, j, k, l) \
    isoq_float4_of((vector)[i], (vector)[j], (vector)[k], (vector)[l])
#else
#define ISOQ_FLOAT4_PICK(vector, i, j, k, l) \
    isoq_float4_of((vector).lane[i], (vector).lane[j], (vector).lane[k], (vector).lane[l])
#endif

ISOQ_INLINE isoq_float4 isoq_float4_add(isoq_float4 a, isoq_float4 b) {
#if ISOQ_GNU
    return a + b;
#else
    for (int k = 0; k < 4; k++) a.lane[k] += b.lane[k];
    return a;
#endif
}

/* Return the smaller of each pair, the first of equal ones. Set `is_second` (4) to 0 where it is
   the first, to a number with its lowest bit set where it is the second. */
ISOQ_INLINE isoq_float4 isoq_float4_least(isoq_float4 first, isoq_float4 second,
                                          int32_t *is_second) {
#if ISOQ_GNU
    isoq_int4 better = second < first;
    *(isoq_int4_in_memory *)is_second = better;
    return (isoq_float4)(((isoq_int4)second & better) | ((isoq_int4)first & ~better));
#else
    for (int k = 0; k < 4; k++) {
        is_second[k] = second.lane[k] < first.lane[k];
        if (is_second[k]) first.lane[k] = second.lane[k];
    }
    return first;
#endif
}

/* ---- Sixteen floats, added up lane by lane: no compiler may reorder a sum of floats by itself.
   Two vectors of eight, since compilers handle vectors badly that are wider than the registers. By
   pointer, as the way in which vectors are passed depends on the processor. */

enum { ISOQ_LANES = 16, ISOQ_HALF = ISOQ_LANES / 2 };

#if ISOQ_GNU
typedef float isoq_float8 __attribute__((vector_size(4 * ISOQ_HALF)));
typedef isoq_float8 isoq_float8_in_memory __attribute__((aligned(sizeof(float)), may_alias));
typedef struct {
    isoq_float8 low, high;
} isoq_lanes;
#else
typedef struct {
    float lane[ISOQ_LANES];
} isoq_lanes;
#endif

/* Not by memcpy, which would keep vectors of this size out of registers. */
ISOQ_INLINE void isoq_lanes_load(isoq_lanes *to, const float *from) {
#if ISOQ_GNU
    to->low = *(const isoq_float8_in_memory *)from;
    to->high = *(const isoq_float8_in_memory *)(from + ISOQ_HALF);
#else
    for (int k = 0; k < ISOQ_LANES; k++) to->lane[k] = from[k];
#endif
}

ISOQ_INLINE void isoq_lanes_store(float *to, const isoq_lanes *from) {
#if ISOQ_GNU
    *(isoq_float8_in_memory *)to = from->low;
    *(isoq_float8_in_memory *)(to + ISOQ_HALF) = from->high;
#else
    memcpy(to, from, sizeof *from);
#endif
}

/* sum += a */
ISOQ_INLINE void isoq_lanes_add(isoq_lanes *sum, const isoq_lanes *a) {
#if ISOQ_GNU
    sum->low += a->low;
    sum->high += a->high;
#else
    for (int k = 0; k < ISOQ_LANES; k++) sum->lane[k] += a->lane[k];
#endif
}

/* product = a * b */
ISOQ_INLINE void isoq_lanes_multiply(isoq_lanes *product, const isoq_lanes *a,
                                     const isoq_lanes *b) {
#if ISOQ_GNU
    product->low = a->low * b->low;
    product->high = a->high * b->high;
#else
    for (int k = 0; k < ISOQ_LANES; k++) product->lane[k] = a->lane[k] * b->lane[k];
#endif
}

/* sum += a * b */
ISOQ_INLINE void isoq_lanes_add_product(isoq_lanes *sum, const isoq_lanes *a, const isoq_lanes *b) {
#if ISOQ_GNU
    sum->low += a->low * b->low;
    sum->high += a->high * b->high;
#else
    for (int k = 0; k < ISOQ_LANES; k++) sum->lane[k] += a->lane[k] * b->lane[k];
#endif
}

/* sum -= factor * a */
ISOQ_INLINE void isoq_lanes_subtract_scaled(isoq_lanes *sum, float factor, const isoq_lanes *a) {
#if ISOQ_GNU
    sum->low -= factor * a->low;
    sum->high -= factor * a->high;
#else
    for (int k = 0; k < ISOQ_LANES; k++) sum->lane[k] -= factor * a->lane[k];
#endif
}

/* Return the sum of all lanes, from the first to the last. */
ISOQ_INLINE double isoq_lanes_total(const isoq_lanes *a) {
    float lane[ISOQ_LANES];
    double total = 0;
    isoq_lanes_store(lane, a);
    for (int k = 0; k < ISOQ_LANES; k++) total += lane[k];
    return total;
}

#endif
