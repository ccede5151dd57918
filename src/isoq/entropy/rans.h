/* rANS, the entropy coder below everything else (Duda 2013, arXiv:1311.2540): a state of 64 bits,
   words of 32 bits, probabilities of 15 bits.

   A symbol occupies a slot [start, start + frequency) of [0, 2^15); its code length is
   15 - log2(frequency) bits. A decoder gets symbols in the order in which they were listed, and
   rANS is last in, first out: the encoder therefore lists all slots first (isoq_push_slot) and then
   codes the list from its end (isoq_write_stream), from the end of a buffer to its front.

     encoder   isoq_push_slot, isoq_push_bits, ...  ->  isoq_write_stream, isoq_write_segments
     decoder   isoq_start_reader  ->  isoq_peek, isoq_advance, isoq_read_bits, ...
               ->  isoq_finish_reader

   Each step waits for the state that the step before left, and processors wait with it. So a stream
   may have several states that take turns: those of different *strands*. They share the words.

   The stream is the final state of each strand (high word, low word), then words in the order in
   which the decoder takes them, all little-endian. */
#ifndef ISOQ_RANS_H
#define ISOQ_RANS_H

#include "compiler.h"

enum {
    ISOQ_PRECISION = 15, /* bits of a probability */
    ISOQ_TOTAL = 1 << ISOQ_PRECISION,
    ISOQ_CHUNK_BITS = 12, /* raw bits that one slot carries at most */
    ISOQ_STRANDS = 4      /* at most */
};

#define ISOQ_RANS_LEAST (1ull << 31) /* least state, at which the encoder starts */

/* ---- Encoder ---- */

/* last: start + frequency - 1. */
typedef struct {
    unsigned start : 15, last : 15, strand : 2;
} isoq_slot;

/* Slots in the order of decoding. {0} is an empty list; isoq_release_list releases it. strand: 0 ...
   ISOQ_STRANDS - 1, that of the slots to come. `status` becomes ISOQ_NO_MEMORY when the list cannot
   grow; slots pushed then are dropped. */
typedef struct {
    isoq_slot *slots;
    size_t count, capacity;
    unsigned strand;
    isoq_status status;
} isoq_slot_list;

ISOQ_API isoq_slot_list isoq_empty_list(void) {
    isoq_slot_list list = {0};
    return list;
}

/* Release the memory of a list, and empty it. */
ISOQ_API void isoq_release_list(isoq_slot_list *list) {
    ISOQ_FREE(list->slots);
    *list = isoq_empty_list();
}

/* Return the slot of a symbol of the list's strand. */
ISOQ_INLINE isoq_slot isoq_slot_of(const isoq_slot_list *list, uint32_t start, uint32_t freq) {
    isoq_slot slot = {start & (ISOQ_TOTAL - 1), (start + freq - 1) & (ISOQ_TOTAL - 1),
                      list->strand & (ISOQ_STRANDS - 1)};
    return slot;
}

/* Append the slot of a symbol. freq: 1 ... 2^15; start + freq <= 2^15. */
ISOQ_API void isoq_push_slot(isoq_slot_list *list, uint32_t start, uint32_t freq) {
    assert(freq >= 1 && start < ISOQ_TOTAL && start + freq <= ISOQ_TOTAL);
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 1 << 16;
        isoq_slot *grown = (isoq_slot *)ISOQ_REALLOC(list->slots, capacity * sizeof(isoq_slot));
        if (!grown) {
            list->status = ISOQ_NO_MEMORY;
            return;
        }
        list->slots = grown;
        list->capacity = capacity;
    }
    list->slots[list->count++] = isoq_slot_of(list, start, freq);
}

/* Append the lowest `bits` (0 ... 64) bits of `value` as they are, the lowest first. */
ISOQ_API void isoq_push_bits(isoq_slot_list *list, uint64_t value, int bits) {
    assert(bits >= 0 && bits <= 64);
    while (bits > 0) {
        int n = bits < ISOQ_CHUNK_BITS ? bits : ISOQ_CHUNK_BITS;
        uint32_t chunk = (uint32_t)value & ((1u << n) - 1);
        isoq_push_slot(list, chunk << (ISOQ_PRECISION - n), 1u << (ISOQ_PRECISION - n));
        value >>= n;
        bits -= n;
    }
}

#if ISOQ_INT128
/* Return 2^(63 + bits) / freq rounded up, where bits = isoq_bit_length(freq - 1). It is computed
   when first asked for; threads that ask at the same time store the same value.

   With 2^63 = q freq + r, it is q 2^bits + ceil(r 2^bits / freq). As freq > 2^(bits - 1), this is
   at most 2^64 - 1 except for freq = 2^bits, where it is 2^63. */
ISOQ_API uint64_t isoq_reciprocal(uint32_t freq, int bits) {
    static uint64_t known[ISOQ_TOTAL + 1];
    uint64_t reciprocal = __atomic_load_n(known + freq, __ATOMIC_RELAXED);
    if (!reciprocal) {
        uint64_t quotient = (1ull << 63) / freq;
        uint64_t rest = (1ull << 63) % freq;
        reciprocal = (quotient << bits) + ((rest << bits) + freq - 1) / freq;
        __atomic_store_n(known + freq, reciprocal, __ATOMIC_RELAXED);
    }
    return reciprocal;
}
#endif

/* Return state / freq. state: below 2^63; freq: 1 ... 2^15. The product with the reciprocal is
   exact there (Granlund and Montgomery 1994), and faster than a division. */
ISOQ_INLINE uint64_t isoq_quotient(uint64_t state, uint32_t freq) {
#if ISOQ_INT128
    int bits = isoq_bit_length(freq - 1);
    return (uint64_t)((isoq_uint128)(2 * state) * isoq_reciprocal(freq, bits) >> 64) >> bits;
#else
    return state / freq;
#endif
}

ISOQ_INLINE void isoq_store_word(uint8_t *to, uint32_t word) {
    to[0] = (uint8_t)word;
    to[1] = (uint8_t)(word >> 8);
    to[2] = (uint8_t)(word >> 16);
    to[3] = (uint8_t)(word >> 24);
}

/* Return the bytes that isoq_write_stream needs for a list at most: a word per two slots, since a
   slot adds at most 15 bits and one word takes 32 from the state; the states; and two words. */
ISOQ_API size_t isoq_stream_room(const isoq_slot_list *list) {
    return 4 * (list->count / 2 + 2 + 2 * ISOQ_STRANDS);
}

/* Return the state before a symbol, given the one after. If the state is full, a word of it goes
   to the front of *at, which then moves. There is no division, and no branch that a processor
   cannot predict. */
ISOQ_INLINE uint64_t isoq_before(uint64_t state, isoq_slot slot, uint8_t **at) {
    uint32_t start = slot.start, freq = slot.last + 1u - slot.start;
    int full = state >= (uint64_t)freq << (63 - ISOQ_PRECISION);
    isoq_store_word(*at - 4, (uint32_t)state); /* kept if the state is full */
    *at -= 4 * (ptrdiff_t)full;
    state = full ? state >> 32 : state;
    return state + isoq_quotient(state, freq) * (ISOQ_TOTAL - freq) + start;
}

/* Write the stream of a list to the end of `out` (room bytes, at least isoq_stream_room) and return
   its size in bytes: it begins at out + room - size.

   strands: 1 ... ISOQ_STRANDS, more than any in the list. ends: numbers of slots, ascending, the
   last one that of the list; count: how many, at least 1. Set size[k] to the bytes of the stream
   that a decoder takes for the slots from ends[k - 1] on up to ends[k]: a prefix of the stream is
   enough for the first slots. */
ISOQ_API size_t isoq_write_segments(const isoq_slot_list *list, int strands, const size_t *ends,
                                    size_t count, size_t *size, uint8_t *out, size_t room) {
    assert(list->status == ISOQ_OK && room >= isoq_stream_room(list));
    assert(count && ends[count - 1] == list->count && strands <= ISOQ_STRANDS);
    uint64_t state[ISOQ_STRANDS];
    uint8_t *at = out + room;
    for (int k = 0; k < ISOQ_STRANDS; k++) state[k] = ISOQ_RANS_LEAST;
    for (size_t segment = count; segment-- > 0;) {
        const uint8_t *end = at;
        const isoq_slot *first = list->slots + (segment ? ends[segment - 1] : 0);
        const isoq_slot *slot = list->slots + ends[segment];
        if (strands == 1) {
            uint64_t only = state[0];
            while (slot-- > first) only = isoq_before(only, *slot, &at);
            state[0] = only;
        } else
            while (slot-- > first)
                state[slot->strand] = isoq_before(state[slot->strand], *slot, &at);
        size[segment] = (size_t)(end - at);
    }
    for (int k = strands; k-- > 0; at -= 8) {
        isoq_store_word(at - 4, (uint32_t)state[k]);
        isoq_store_word(at - 8, (uint32_t)(state[k] >> 32));
    }
    size[0] += 8 * (size_t)strands;
    return (size_t)(out + room - at);
}

/* Write the stream of a list of one strand as one segment. */
ISOQ_API size_t isoq_write_stream(const isoq_slot_list *list, uint8_t *out, size_t room) {
    size_t size;
    return isoq_write_segments(list, 1, &list->count, 1, &size, out, room);
}

/* ---- Decoder ---- */

/* state: of the strand that is read. `status` becomes ISOQ_DAMAGED when the stream ends too early or
   holds an impossible value. What is read from then on has no meaning, but is safe to compute
   with. */
typedef struct {
    uint64_t state;
    const uint8_t *next, *end;
    isoq_status status;
} isoq_reader;

/* Return the next word of the stream; at its end, 0. */
ISOQ_INLINE uint32_t isoq_next_word(isoq_reader *reader) {
    const uint8_t *from = reader->next;
    if (reader->end - from < 4) {
        reader->status = ISOQ_DAMAGED;
        return 0;
    }
    reader->next += 4;
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

/* Return the next two words of the stream as a state. */
ISOQ_API uint64_t isoq_next_state_of(isoq_reader *reader) {
    uint64_t high = (uint64_t)isoq_next_word(reader) << 32;
    return high | isoq_next_word(reader);
}

/* Start to decode a stream of `size` bytes, which has to outlive the reader. data may be null if
   size is 0. */
ISOQ_API void isoq_start_reader(isoq_reader *reader, const uint8_t *data, size_t size) {
    reader->next = data;
    reader->end = size ? data + size : data;
    reader->status = ISOQ_OK;
    reader->state = isoq_next_state_of(reader);
}

/* Return the place (0 ... 2^15 - 1) that the slot of the next symbol contains. */
ISOQ_INLINE uint32_t isoq_peek(const isoq_reader *reader) {
    return (uint32_t)(reader->state & (ISOQ_TOTAL - 1));
}

/* Step over a symbol, given its slot: start <= isoq_peek(reader) < start + freq. */
ISOQ_INLINE void isoq_advance(isoq_reader *reader, uint32_t start, uint32_t freq) {
    assert(start <= isoq_peek(reader) && isoq_peek(reader) < start + freq);
    reader->state = (reader->state >> ISOQ_PRECISION) * freq + isoq_peek(reader) - start;
    if (reader->state < ISOQ_RANS_LEAST)
        reader->state = reader->state << 32 | isoq_next_word(reader);
}

/* Return `bits` (0 ... ISOQ_CHUNK_BITS) raw bits. */
ISOQ_INLINE uint32_t isoq_read_chunk(isoq_reader *reader, int bits) {
    uint32_t chunk = isoq_peek(reader) >> (ISOQ_PRECISION - bits);
    isoq_advance(reader, chunk << (ISOQ_PRECISION - bits), 1u << (ISOQ_PRECISION - bits));
    return chunk;
}

/* Return `bits` (0 ... 64) raw bits, as isoq_push_bits listed them. */
ISOQ_API uint64_t isoq_read_bits(isoq_reader *reader, int bits) {
    assert(bits >= 0 && bits <= 64);
    uint64_t value = 0;
    for (int shift = 0; bits > 0;) {
        int n = bits < ISOQ_CHUNK_BITS ? bits : ISOQ_CHUNK_BITS;
        value |= (uint64_t)isoq_read_chunk(reader, n) << shift;
        shift += n;
        bits -= n;
    }
    return value;
}

/* Return ISOQ_OK if all of the stream was used and the state is back where the encoder began: then
   no other stream decodes to the same symbols. ISOQ_DAMAGED otherwise; never in a fuzzer, whose
   streams would hardly ever get further. */
ISOQ_API isoq_status isoq_finish_reader(const isoq_reader *reader) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    return (void)reader, ISOQ_OK;
#endif
    int complete = reader->next == reader->end && reader->state == ISOQ_RANS_LEAST;
    return reader->status == ISOQ_OK && complete ? ISOQ_OK : ISOQ_DAMAGED;
}

#endif
