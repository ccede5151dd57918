/* Integers of unknown distribution, such as quality levels and recorded errors: bit length (unary),
   sign and the bit below the leading one with adaptive probabilities, the bits below as they are.

     isoq_put_integer / isoq_take_integer     one integer, with the probabilities of its sequence
     isoq_put_bit / isoq_take_bit             one bit, with the counts of its place

   Encoder and decoder begin a sequence with all counts 0 and update them after each bit in the same
   way, so the probabilities need no place in the stream. */
#ifndef ISOQ_ADAPTIVE_INTEGERS_H
#define ISOQ_ADAPTIVE_INTEGERS_H

#include "rans.h"

enum {
    ISOQ_INTEGER_BITS = 26, /* magnitudes are below 2^26 */
    ISOQ_HALVED_AT = 60     /* bits after which the past counts half */
};

typedef struct {
    uint32_t zeros, ones;
} isoq_bit_counts;

/* The probabilities of a sequence, by bit length where that matters. {0} is the start. */
typedef struct {
    isoq_bit_counts length[ISOQ_INTEGER_BITS + 1]; /* is the integer longer than this? */
    isoq_bit_counts sign;
    isoq_bit_counts second[ISOQ_INTEGER_BITS + 1]; /* bit below the leading one */
} isoq_integer_model;

/* Return the probability of a one, in 1/2^15: (ones + 1/2) / (all + 1) (Krichevsky and Trofimov
   1981), at least 1/2^7 away from 0 and 1. Counts add up to ISOQ_HALVED_AT at most, so nothing
   overflows. */
ISOQ_API uint32_t isoq_chance_of_one(const isoq_bit_counts *counts) {
    uint32_t all = counts->zeros + counts->ones;
    uint32_t chance = ((2 * counts->ones + 1) << ISOQ_PRECISION) / (2 * all + 2);
    uint32_t least = 1u << (ISOQ_PRECISION - 7);
    if (chance < least) return least;
    return chance > ISOQ_TOTAL - least ? ISOQ_TOTAL - least : chance;
}

ISOQ_API void isoq_count_bit(isoq_bit_counts *counts, int one) {
    if (one)
        counts->ones++;
    else
        counts->zeros++;
    if (counts->zeros + counts->ones > ISOQ_HALVED_AT) {
        counts->zeros /= 2;
        counts->ones /= 2;
    }
}

/* Append a bit whose chance of being 1 is `chance` / 2^15: a one occupies [0, chance). */
ISOQ_INLINE void isoq_push_binary(isoq_slot_list *list, uint32_t chance, int one) {
    isoq_push_slot(list, one ? 0 : chance, one ? chance : ISOQ_TOTAL - chance);
}

/* Return the next bit, given the chance that the encoder used. */
ISOQ_INLINE int isoq_read_binary(isoq_reader *reader, uint32_t chance) {
    int one = isoq_peek(reader) < chance;
    isoq_advance(reader, one ? 0 : chance, one ? chance : ISOQ_TOTAL - chance);
    return one;
}

ISOQ_API void isoq_put_bit(isoq_slot_list *list, isoq_bit_counts *counts, int one) {
    isoq_push_binary(list, isoq_chance_of_one(counts), one);
    isoq_count_bit(counts, one);
}

ISOQ_API int isoq_take_bit(isoq_reader *reader, isoq_bit_counts *counts) {
    int one = isoq_read_binary(reader, isoq_chance_of_one(counts));
    isoq_count_bit(counts, one);
    return one;
}

/* Append an integer, |value| < 2^26. */
ISOQ_API void isoq_put_integer(isoq_slot_list *list, isoq_integer_model *model, int32_t value) {
    assert(value > -(1 << ISOQ_INTEGER_BITS) && value < 1 << ISOQ_INTEGER_BITS);
    uint32_t magnitude = (uint32_t)(value < 0 ? -value : value);
    int length = isoq_bit_length(magnitude);
    for (int k = 0; k < length; k++) isoq_put_bit(list, &model->length[k], 1);
    isoq_put_bit(list, &model->length[length], 0);
    if (length) isoq_put_bit(list, &model->sign, value < 0);
    if (length > 1) isoq_put_bit(list, &model->second[length], magnitude >> (length - 2) & 1);
    if (length > 2) isoq_push_bits(list, magnitude & ((1u << (length - 2)) - 1), length - 2);
}

/* Return the next integer, below 2^26 in magnitude; 0 if the reader is damaged. A length above 26
   damages it. */
ISOQ_API int32_t isoq_take_integer(isoq_reader *reader, isoq_integer_model *model) {
    int length = 0;
    while (length < ISOQ_INTEGER_BITS && isoq_take_bit(reader, &model->length[length])) length++;
    if (length == ISOQ_INTEGER_BITS && isoq_take_bit(reader, &model->length[length]))
        reader->status = ISOQ_DAMAGED;
    if (!length || reader->status) return 0;
    int negative = isoq_take_bit(reader, &model->sign);
    uint32_t magnitude = 1;
    if (length > 1) magnitude = 2u | (uint32_t)isoq_take_bit(reader, &model->second[length]);
    if (length > 2)
        magnitude = magnitude << (length - 2) | (uint32_t)isoq_read_bits(reader, length - 2);
    return negative ? -(int32_t)magnitude : (int32_t)magnitude;
}

#endif
