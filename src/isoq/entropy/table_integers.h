/* Integers coded through a table of cumulative frequencies, as latents and residuals are.

   A table has a symbol for each of -15 ... 15 and one more, the escape: `cdf` (ISOQ_SYMBOLS + 1)
   rises from 0 to 2^15, and symbol s occupies [cdf[s], cdf[s + 1]). No symbol is impossible. A
   table may stand for coarser integers: it then codes value >> shift, and the low bits follow as
   they are. An escape is followed by the bit length of |v| - 15, the bits below the leading one,
   the sign. */
#ifndef ISOQ_TABLE_INTEGERS_H
#define ISOQ_TABLE_INTEGERS_H

#include "rans.h"

enum {
    ISOQ_REACH = 15, /* largest magnitude with a symbol of its own */
    ISOQ_SYMBOLS = 2 * ISOQ_REACH + 2,
    ISOQ_ESCAPE = ISOQ_SYMBOLS - 1,
    ISOQ_LATENT_LENGTH_BITS = 5, /* bits of the length of an escaped latent */
    ISOQ_LATENT_LONGEST = 26     /* its greatest length */
};

ISOQ_INLINE int isoq_is_escaped(int64_t value) { return value < -ISOQ_REACH || value > ISOQ_REACH; }

/* Return the symbol of an integer: 0 ... ISOQ_SYMBOLS - 1. In 32 bits, which vectors are made of.
 */
ISOQ_INLINE int32_t isoq_symbol_of(int32_t value) {
    return value < -ISOQ_REACH || value > ISOQ_REACH ? ISOQ_ESCAPE : value + ISOQ_REACH;
}

/* Append what follows an escape: the magnitude of `value`, with `length_bits` bits for its length,
   and its sign. The length of |value| - 15 has to fit. */
ISOQ_API void isoq_push_escape(isoq_slot_list *list, int64_t value, int length_bits) {
    assert(isoq_is_escaped(value));
    uint64_t beyond = (uint64_t)(value < 0 ? -value : value) - ISOQ_REACH;
    int length = isoq_bit_length(beyond);
    assert(length < 1 << length_bits);
    isoq_push_bits(list, (uint64_t)length, length_bits);
    isoq_push_bits(list, beyond & ((1ull << (length - 1)) - 1), length - 1);
    isoq_push_bits(list, value < 0, 1);
}

/* Return the integer behind an escape. A length of 0 or above `longest` (at most 62) damages the
   reader, and the integer is 0. */
ISOQ_API int64_t isoq_read_escape(isoq_reader *reader, int length_bits, int longest) {
    int length = (int)isoq_read_bits(reader, length_bits);
    if (length < 1 || length > longest) {
        reader->status = ISOQ_DAMAGED;
        return 0;
    }
    uint64_t beyond = 1ull << (length - 1) | isoq_read_bits(reader, length - 1);
    int64_t magnitude = (int64_t)beyond + ISOQ_REACH;
    return isoq_read_bits(reader, 1) ? -magnitude : magnitude;
}

#if ISOQ_GNU && defined(__SSE2__)
typedef uint16_t isoq_slots8 __attribute__((vector_size(16)));
typedef isoq_slots8 isoq_slots8_in_memory __attribute__((aligned(sizeof(uint16_t)), may_alias));

/* Return which of 16 slots end behind `place`, a bit for each: there the difference is negative,
   even if the end is 2^15. place: in all lanes. */
ISOQ_INLINE unsigned isoq_ends_behind(const uint16_t *end, isoq_slots8 place) {
    typedef int16_t signed_slots8 __attribute__((vector_size(16)));
    const isoq_slots8_in_memory *ends = (const isoq_slots8_in_memory *)end;
    isoq_slots8 before = place - ends[0], behind = place - ends[1];
    return (unsigned)__builtin_ia32_pmovmskb128(
        __builtin_ia32_packsswb128((signed_slots8)before, (signed_slots8)behind));
}
#endif

/* Return the symbol whose slot contains `place` (0 ... 2^15 - 1): the first that ends behind it.
   With vectors, to look at all ends takes fewer cycles than a search. */
ISOQ_INLINE size_t isoq_find_symbol(const uint16_t *cdf, uint32_t place) {
#if ISOQ_GNU && defined(__SSE2__)
    isoq_slots8 all = (uint16_t)place - (isoq_slots8){0};
    unsigned lower = isoq_ends_behind(cdf + 1, all), upper = isoq_ends_behind(cdf + 17, all);
    return (size_t)__builtin_ctz(lower | upper << 16);
#else
    int16_t count = 0;
    for (int k = 1; k < ISOQ_SYMBOLS; k++) count += (int16_t)cdf[k] <= (int16_t)place;
    return (size_t)count;
#endif
}

/* Append the slot of a symbol of a table. */
ISOQ_INLINE void isoq_push_symbol(isoq_slot_list *list, const uint16_t *cdf, int symbol) {
    isoq_push_slot(list, cdf[symbol], (uint32_t)cdf[symbol + 1] - cdf[symbol]);
}

/* Return the next symbol of a table, and step over it. */
ISOQ_INLINE int isoq_take_symbol(isoq_reader *reader, const uint16_t *cdf) {
    size_t symbol = isoq_find_symbol(cdf, isoq_peek(reader));
    isoq_advance(reader, cdf[symbol], (uint32_t)cdf[symbol + 1] - cdf[symbol]);
    return (int)symbol;
}

/* Append an integer. shift: 0 ... 31; |value >> shift| < 2^26. */
ISOQ_API void isoq_put_table_integer(isoq_slot_list *list, const uint16_t *cdf, int shift,
                                     int32_t value) {
    assert(shift >= 0 && shift < 32);
    int32_t coarse = value >> shift;
    isoq_push_symbol(list, cdf, isoq_symbol_of(coarse));
    if (isoq_is_escaped(coarse)) isoq_push_escape(list, coarse, ISOQ_LATENT_LENGTH_BITS);
    isoq_push_bits(list, (uint32_t)value & ((1u << shift) - 1), shift);
}

/* Return the integer of a symbol, and read what follows it. */
ISOQ_API int64_t isoq_read_integer(isoq_reader *reader, int symbol, int shift) {
    int64_t coarse = symbol == ISOQ_ESCAPE
                         ? isoq_read_escape(reader, ISOQ_LATENT_LENGTH_BITS, ISOQ_LATENT_LONGEST)
                         : (int64_t)symbol - ISOQ_REACH;
    return coarse * (1ll << shift) + (int64_t)isoq_read_bits(reader, shift);
}

/* Return the next integer: below 2^(27 + shift) in magnitude, whatever the stream. shift: 0 ... 31.
   Rare cases work on a copy of the reader, so that compilers can keep the reader in registers. */
ISOQ_INLINE int64_t isoq_take_table_integer(isoq_reader *reader, const uint16_t *cdf, int shift) {
    assert(shift >= 0 && shift < 32);
    int symbol = isoq_take_symbol(reader, cdf);
    if (symbol == ISOQ_ESCAPE || shift > ISOQ_CHUNK_BITS) {
        isoq_reader copy = *reader;
        int64_t integer = isoq_read_integer(&copy, symbol, shift);
        *reader = copy;
        return integer;
    }
    int64_t coarse = symbol - ISOQ_REACH;
    return shift ? coarse * (1ll << shift) + isoq_read_chunk(reader, shift) : coarse;
}

#endif
