/* Residuals and flags of repeated samples: what of a sample is in the stream. */
#ifndef ISOQ_RESIDUAL_H
#define ISOQ_RESIDUAL_H

#include "adaptive_integers.h"
#include "planes_coder.h"

enum {
    ISOQ_RESIDUAL_LENGTH_BITS = 6,
    ISOQ_RESIDUAL_LONGEST = 34, /* bits of an escaped residual */
    ISOQ_REPEAT_RATE = 7        /* of adaptation of the chance of a repetition */
};

/* Append the `low` lowest bits of a residual. It is hard to predict whether there are any, so the
   usual case has no branch on it: it writes a slot and then counts it or not. */
ISOQ_INLINE void isoq_push_low_bits(isoq_slot_list *list, int64_t residual, int low) {
    uint64_t bits = (uint64_t)residual & ((1ull << low) - 1);
    if (low <= ISOQ_CHUNK_BITS && list->count < list->capacity) {
        uint32_t start = (uint32_t)bits << (ISOQ_PRECISION - low);
        list->slots[list->count] = isoq_slot_of(list, start, 1u << (ISOQ_PRECISION - low));
        list->count += low > 0;
    } else {
        isoq_push_bits(list, bits, low);
    }
}

/* Append a residual (steps) through the table of a degree, and count it. |residual| <= 2^34. */
ISOQ_INLINE void isoq_put_residual(isoq_planes_coder *coder, int degree, int64_t residual) {
    isoq_histogram *histogram = &coder->degree[degree];
    int low = isoq_low_bits_of(degree);
    int64_t coarse = residual >> low;
    int symbol = isoq_is_escaped(coarse) ? ISOQ_ESCAPE : isoq_symbol_of((int32_t)coarse);
    isoq_push_symbol(coder->list, histogram->cdf, symbol);
    if (symbol == ISOQ_ESCAPE) isoq_push_escape(coder->list, coarse, ISOQ_RESIDUAL_LENGTH_BITS);
    isoq_push_low_bits(coder->list, residual, low);
    isoq_observe(histogram, symbol);
}

/* Return the next residual, coded through the table of a degree, and count it. It is at most about
   2^34 in magnitude: anything beyond damages the reader, and is 0. */
ISOQ_INLINE int64_t isoq_take_residual(isoq_planes_coder *coder, int degree) {
    isoq_histogram *histogram = &coder->degree[degree];
    isoq_reader *reader = &coder->reader;
    int low = isoq_low_bits_of(degree);
    int symbol = isoq_take_symbol(reader, histogram->cdf);
    int64_t coarse = symbol - ISOQ_REACH;
    if (symbol == ISOQ_ESCAPE)
        coarse = isoq_read_escape(reader, ISOQ_RESIDUAL_LENGTH_BITS, ISOQ_RESIDUAL_LONGEST);
    isoq_observe(histogram, symbol);
    int64_t most = (1ll << ISOQ_RESIDUAL_LONGEST) >> low;
    if (coarse > most || coarse < -most) {
        reader->status = ISOQ_DAMAGED;
        return 0;
    }
    return coarse * (1ll << low) + (int64_t)isoq_read_bits(reader, low);
}

/* Code a flag with an adaptive chance (1/2^16, kept at least 1/2^9 away from 0 and 1), and return
   it. decoding: a constant; if it is 0, `flag` is appended, otherwise the next flag is read. */
ISOQ_INLINE int isoq_code_flag(isoq_planes_coder *coder, uint16_t *chance, int flag,
                               const int decoding) {
    uint32_t least = 1u << (ISOQ_PRECISION - 9);
    uint32_t limited = *chance >> (16 - ISOQ_PRECISION);
    if (limited < least) limited = least;
    if (limited > ISOQ_TOTAL - least) limited = ISOQ_TOTAL - least;
    if (decoding)
        flag = isoq_read_binary(&coder->reader, limited);
    else
        isoq_push_binary(coder->list, limited, flag);
    *chance = (uint16_t)(flag ? *chance + ((0xffff - *chance) >> ISOQ_REPEAT_RATE)
                              : *chance - (*chance >> ISOQ_REPEAT_RATE));
    return flag;
}

#endif
