/* The context coder: what is sequential per latent and therefore compiled. Integer arithmetic decides every table; see context.py. */
#ifndef ISOQ_CODER_H
#define ISOQ_CODER_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    PRECISION = 15,          /* bits of probability: frequencies of a table add up to 1 << 15 */
    REACH = 15,              /* symbols -15 ... 15, then the escape */
    SYMBOLS = 2 * REACH + 2,
    ESCAPE = SYMBOLS - 1,
    STEPS_PER_OCTAVE = 8,
    LEVELS = 19 * STEPS_PER_OCTAVE,
    BUCKETS = 3,             /* of the fractional part of the predicted value */
    QUANTIZERS = 2,
    STATES = 8,              /* of the trellis that chooses between them */
    REST = 2,                /* magnitude of a zero, in 1/16 step */
    OWN = 6,
    OWN_VALUE = 4,
    MAX_MAGNITUDE = 1 << 20, /* in 1/16 step: neighbours beyond count as this */
    MAX_VALUE = 1 << 26,
    MAX_LATENT = 1 << 23     /* in steps */
};

/* ---- rANS: 64-bit state, 32-bit words (Duda 2013). The encoder runs backwards over a list of (start, frequency). ---- */

typedef struct {
    uint16_t start, freq;
} Slot;

typedef struct {
    Slot *slots;
    size_t count, capacity;
    int failed;
} SlotList;

static void push(SlotList *list, uint32_t start, uint32_t freq) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 1 << 16;
        Slot *grown = (Slot *)realloc(list->slots, capacity * sizeof(Slot));
        if (!grown) {
            list->failed = 1;
            return;
        }
        list->slots = grown;
        list->capacity = capacity;
    }
    list->slots[list->count].start = (uint16_t)start;
    list->slots[list->count++].freq = (uint16_t)freq;
}

static void push_bits(SlotList *list, uint32_t value, int bits) {
    while (bits > 0) {
        int n = bits < 12 ? bits : 12;
        push(list, (value & ((1u << n) - 1)) << (PRECISION - n), 1u << (PRECISION - n));
        value >>= n;
        bits -= n;
    }
}

/* Of a frequency: 2^(63 + n) / frequency rounded up, n the bits of frequency - 1. Made when first asked for; who asks at the same time gets the
   same. */
static uint64_t reciprocal_of(uint32_t freq, int n) {
    static uint64_t known[(1 << PRECISION) + 1];
    uint64_t r = __atomic_load_n(known + freq, __ATOMIC_RELAXED);
    if (!r) {
        r = (uint64_t)((((unsigned __int128)1 << (63 + n)) + freq - 1) / freq);
        __atomic_store_n(known + freq, r, __ATOMIC_RELAXED);
    }
    return r;
}

/* Writes words from the end of `out` towards its front; returns how many, at most count / 2 + 2. What each step waits for is the state that
   the one before left: hence no division, and no branch that cannot be foreseen. The quotient is exact below 2^63 (Granlund and Montgomery
   1994). */
static size_t flush(const SlotList *list, uint32_t *out, size_t room) {
    uint64_t x = 1ull << 31;
    size_t at = room;
    for (size_t k = list->count; k-- > 0;) {
        uint32_t start = list->slots[k].start, freq = list->slots[k].freq;
        int n = freq > 1 ? 32 - __builtin_clz(freq - 1) : 0, full = x >= (uint64_t)freq << (63 - PRECISION);
        out[at - 1] = (uint32_t)x; /* counts if the state is full */
        at -= (size_t)full;
        x = full ? x >> 32 : x;
        uint64_t quotient = (uint64_t)((unsigned __int128)(2 * x) * reciprocal_of(freq, n) >> 64) >> n;
        x += quotient * ((1u << PRECISION) - freq) + start;
    }
    out[--at] = (uint32_t)x;
    out[--at] = (uint32_t)(x >> 32);
    return room - at;
}

typedef struct {
    uint64_t x;
    const uint8_t *at, *end;
    int failed;
} Reader;

static uint32_t next_word(Reader *r) {
    uint32_t w;
    if (r->end - r->at < 4) {
        r->failed = 1;
        return 0;
    }
    w = (uint32_t)r->at[0] | (uint32_t)r->at[1] << 8 | (uint32_t)r->at[2] << 16 | (uint32_t)r->at[3] << 24;
    r->at += 4;
    return w;
}

static void start_reader(Reader *r, const uint8_t *data, size_t size) {
    r->at = data;
    r->end = data + size;
    r->failed = 0;
    r->x = (uint64_t)next_word(r) << 32;
    r->x |= next_word(r);
}

static inline uint32_t peek(const Reader *r) { return (uint32_t)(r->x & ((1u << PRECISION) - 1)); }

static inline void advance(Reader *r, uint32_t start, uint32_t freq) {
    r->x = (r->x >> PRECISION) * freq + peek(r) - start;
    if (r->x < (1ull << 31)) r->x = r->x << 32 | next_word(r);
}

static uint32_t read_bits(Reader *r, int bits) {
    uint32_t value = 0;
    for (int shift = 0; bits > 0;) {
        int n = bits < 12 ? bits : 12;
        uint32_t v = peek(r) >> (PRECISION - n);
        advance(r, v << (PRECISION - n), 1u << (PRECISION - n));
        value |= v << shift;
        shift += n;
        bits -= n;
    }
    return value;
}

/* All of the stream was used, and the state is back where the encoder began: no other stream decodes to the same latents. */
static int finished(const Reader *r) { return !r->failed && r->at == r->end && r->x == 1ull << 31; }

static inline int bit_length(uint32_t v) {
    int n = 0;
    while (v) {
        n++;
        v >>= 1;
    }
    return n;
}

/* Magnitudes beyond the table: 5 bits of length, the bits below the leading one, the sign. */
static void push_escape(SlotList *list, int32_t v) {
    uint32_t beyond = (uint32_t)(v < 0 ? -v : v) - REACH;
    int n = bit_length(beyond);
    push_bits(list, (uint32_t)n, 5);
    push_bits(list, beyond & ((1u << (n - 1)) - 1), n - 1);
    push_bits(list, v < 0, 1);
}

static int32_t read_escape(Reader *r) {
    int n = (int)read_bits(r, 5);
    if (n == 0 || n > 26) {
        r->failed = 1;
        return 0;
    }
    int32_t v = (int32_t)((1u << (n - 1)) | read_bits(r, n - 1)) + REACH;
    return read_bits(r, 1) ? -v : v;
}

/* How many symbols begin at or before `slot`, less one. Counting all takes fewer cycles than a search: compilers make vectors of it. */
static inline uint32_t find_symbol(const uint16_t *cdf, uint32_t slot) {
    int16_t count = 0;
    for (int k = 1; k < SYMBOLS; k++) count += (int16_t)cdf[k] <= (int16_t)slot;
    return (uint32_t)count;
}

/* An integer through a table: the table codes value >> shift, the low bits follow as they are. */
static void put_value(SlotList *list, const uint16_t *cdf, int shift, int32_t value) {
    int32_t v = value >> shift;
    int escaped = v < -REACH || v > REACH, s = escaped ? ESCAPE : v + REACH;
    push(list, cdf[s], cdf[s + 1] - cdf[s]);
    if (escaped) push_escape(list, v);
    push_bits(list, (uint32_t)value & ((1u << shift) - 1), shift);
}

static inline int64_t take_value(Reader *r, const uint16_t *cdf, int shift) {
    uint32_t s = find_symbol(cdf, peek(r));
    advance(r, cdf[s], cdf[s + 1] - cdf[s]);
    int64_t v = s == ESCAPE ? read_escape(r) : (int64_t)s - REACH;
    return v * (1ll << shift) + read_bits(r, shift);
}

/* ---- Integers of unknown distribution: bit length, sign and leading bits with adaptive probabilities, the rest as it is. ---- */

enum { LENGTHS = 26, HALVED_AT = 60 };

typedef struct { /* how often a bit was 0 and 1 */
    uint32_t zeros, ones;
} Bit;

typedef struct {
    Bit length[LENGTHS + 1], sign, second[LENGTHS + 1];
} Integers;

static uint32_t chance_of_one(const Bit *b) { /* (ones + 1/2) / (all + 1), Krichevsky and Trofimov 1981; never near 0 or 1 */
    uint32_t p = ((2 * b->ones + 1) << PRECISION) / (2 * (b->zeros + b->ones) + 2), least = 1u << (PRECISION - 7);
    return p < least ? least : p > (1u << PRECISION) - least ? (1u << PRECISION) - least : p;
}

static void learn(Bit *b, int one) {
    if (one) b->ones++;
    else b->zeros++;
    if (b->zeros + b->ones > HALVED_AT) b->zeros /= 2, b->ones /= 2;
}

static void put_bit(SlotList *list, Bit *b, int one) {
    uint32_t p = chance_of_one(b);
    push(list, one ? 0 : p, one ? p : (1u << PRECISION) - p);
    learn(b, one);
}

static int take_bit(Reader *r, Bit *b) {
    uint32_t p = chance_of_one(b);
    int one = peek(r) < p;
    advance(r, one ? 0 : p, one ? p : (1u << PRECISION) - p);
    learn(b, one);
    return one;
}

/* |v| < 2^26. */
static void put_integer(SlotList *list, Integers *m, int32_t v) {
    uint32_t magnitude = (uint32_t)(v < 0 ? -v : v);
    int n = bit_length(magnitude);
    for (int k = 0; k < n; k++) put_bit(list, &m->length[k], 1);
    put_bit(list, &m->length[n], 0);
    if (n) put_bit(list, &m->sign, v < 0);
    if (n > 1) put_bit(list, &m->second[n], magnitude >> (n - 2) & 1);
    if (n > 2) push_bits(list, magnitude & ((1u << (n - 2)) - 1), n - 2);
}

static int32_t take_integer(Reader *r, Integers *m) {
    int n = 0;
    while (n < LENGTHS && take_bit(r, &m->length[n])) n++;
    if (n == LENGTHS && take_bit(r, &m->length[n])) r->failed = 1;
    if (!n || r->failed) return 0;
    int negative = take_bit(r, &m->sign);
    uint32_t magnitude = n > 1 ? 2u | (uint32_t)take_bit(r, &m->second[n]) : 1;
    if (n > 2) magnitude = magnitude << (n - 2) | read_bits(r, n - 2);
    return negative ? -(int32_t)magnitude : (int32_t)magnitude;
}

/* ---- The model ---- */

typedef struct { /* earlier channels that a channel looks at: entries start[c] ... start[c + 1] - 1; place 0 ... 8 = 3 (di + 1) + dj + 1 */
    const int32_t *start, *channel, *place, *weight;
} Sparse;

typedef struct {
    Sparse around, value;            /* weights of magnitudes: 1/2^13; of values (always place 4): 1/2^12 */
    const int32_t *own, *own_value;  /* (channels, OWN), (channels, OWN_VALUE) */
    const int32_t *bias;             /* (channels,): added to the expected magnitude, 1/2^17 step, not negative */
    const uint8_t *group;            /* (channels,): group of tables */
    const uint16_t *cdf;             /* (groups * QUANTIZERS * LEVELS * BUCKETS, SYMBOLS + 1) */
    const int8_t *offset;            /* (same, SYMBOLS): reconstruction minus integer, 1/128 step, or null */
    const float *bits;               /* (same, SYMBOLS): code length, encoder only */
} Model;

typedef struct {
    int channels, rows, cols;
    const int32_t *up, *down; /* (rows * cols,): 2^16 g and 2^6 / g, g = step scale relative to the finest in the tile, 0 < g <= 1 */
} Grid;

typedef struct {
    int table, shift, flip;
    int32_t rounded, mu;
} Context;

static inline int64_t clamp64(int64_t v, int64_t limit) { return v > limit ? limit : v < -limit ? -limit : v; }

static inline void context_at(const Model *m, int c, int64_t magnitude, int64_t value, int32_t up, Context *k) {
    int64_t e = ((magnitude * up) >> 16) + m->bias[c]; /* expected magnitude, 1/2^17 step */
    int octave = 63 - __builtin_clzll((uint64_t)e | 1);
    int level = 0;
    if (octave >= 10) level = STEPS_PER_OCTAVE * (octave - 10) + (int)((e >> (octave - 3)) & 7);
    if (level > LEVELS - 1) level = LEVELS - 1;
    octave = 10 + level / STEPS_PER_OCTAVE - 17; /* of the clamped level, in steps */
    k->shift = octave >= 2 ? octave - 1 : 0;
    k->mu = (int32_t)clamp64((clamp64(value, (int64_t)1 << 44) * up) >> 28, 16 * (int64_t)MAX_LATENT);
    k->rounded = (k->mu + 8) >> 4;
    int fraction = k->mu - 16 * k->rounded; /* -8 ... 7 */
    k->flip = fraction < 0;
    if (k->flip) fraction = -fraction;
    int bucket = k->shift ? 0 : fraction < 3 ? 0 : fraction < 6 ? 1 : 2;
    k->table = (m->group[c] * QUANTIZERS * LEVELS + level) * BUCKETS + bucket; /* of quantizer 0 */
}

/* Decoded latents as contexts see them. Magnitudes have a frame one wide, filled by replication when a channel is complete. */
typedef struct {
    int32_t *magnitude, *value;
    int64_t *row_magnitude, *row_value;
    int rows, cols;
} Planes;

static inline int32_t *magnitude_row(const Planes *p, int c, int i) {
    return p->magnitude + ((size_t)c * (p->rows + 2) + i + 1) * (p->cols + 2) + 1;
}

static inline int32_t *value_row(const Planes *p, int c, int i) { return p->value + ((size_t)c * p->rows + i) * p->cols; }

static int allocate(Planes *p, const Grid *g) {
    size_t channels = g->channels, rows = g->rows, cols = g->cols;
    p->rows = g->rows, p->cols = g->cols;
    p->magnitude = (int32_t *)malloc(channels * (rows + 2) * (cols + 2) * 4);
    p->value = (int32_t *)malloc(channels * rows * cols * 4);
    p->row_magnitude = (int64_t *)malloc(cols * 8);
    p->row_value = (int64_t *)malloc(cols * 8);
    return p->magnitude && p->value && p->row_magnitude && p->row_value;
}

static void release(Planes *p) { free(p->magnitude), free(p->value), free(p->row_magnitude), free(p->row_value); }

static void frame(const Planes *p, int c) {
    for (int i = 0; i < p->rows; i++) {
        int32_t *a = magnitude_row(p, c, i);
        a[-1] = a[0];
        a[p->cols] = a[p->cols - 1];
    }
    size_t bytes = (size_t)(p->cols + 2) * 4;
    memcpy(magnitude_row(p, c, -1) - 1, magnitude_row(p, c, 0) - 1, bytes);
    memcpy(magnitude_row(p, c, p->rows) - 1, magnitude_row(p, c, p->rows - 1) - 1, bytes);
}

/* The inner loop of all contexts; 32 x 32 -> 64 bit products need newer instructions than the baseline of x86-64 to go several at a time. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static void accumulate(int64_t *restrict to, const int32_t *restrict from, int32_t weight, int n) {
    for (int j = 0; j < n; j++) to[j] += (int64_t)weight * from[j];
}

/* The terms of row i that do not depend on the row itself. */
static void row_terms(const Model *m, const Planes *p, int c, int i) {
    int w = p->cols;
    int64_t *magnitude = p->row_magnitude, *value = p->row_value;
    memset(magnitude, 0, w * sizeof(int64_t));
    memset(value, 0, w * sizeof(int64_t));
    for (int k = m->around.start[c]; k < m->around.start[c + 1]; k++) {
        int place = m->around.place[k];
        accumulate(magnitude, magnitude_row(p, m->around.channel[k], i + place / 3 - 1) + place % 3 - 1, m->around.weight[k], w);
    }
    for (int k = m->value.start[c]; k < m->value.start[c + 1]; k++) accumulate(value, value_row(p, m->value.channel[k], i), m->value.weight[k], w);
    const int32_t *own = m->own + c * OWN, *own_value = m->own_value + c * OWN_VALUE;
    if (i > 0) {
        const int32_t *a = magnitude_row(p, c, i - 1), *v = value_row(p, c, i - 1);
        accumulate(magnitude, a, own[1], w);
        accumulate(magnitude + 1, a, own[2], w - 1);
        accumulate(magnitude, a + 1, own[3], w - 1);
        accumulate(value, v, own_value[1], w);
        accumulate(value + 1, v, own_value[2], w - 1);
        accumulate(value, v + 1, own_value[3], w - 1);
    }
    if (i > 1) accumulate(magnitude, magnitude_row(p, c, i - 2), own[5], w);
}

static inline void left_terms(const Model *m, int c, int j, const int32_t *a, const int32_t *v, int64_t *magnitude, int64_t *value) {
    const int32_t *own = m->own + c * OWN;
    if (j > 0) {
        *magnitude += (int64_t)own[0] * a[j - 1];
        *value += (int64_t)m->own_value[c * OWN_VALUE] * v[j - 1];
    }
    if (j > 1) *magnitude += (int64_t)own[4] * a[j - 2];
}

/* ---- Trellis-coded quantization (Marcellin and Fischer 1990). Two quantizers of step 1 take turns: their points lie at a whole number of
   steps from the rounded prediction (0), or at half a step less, and at 0 (1). A latent is coded as the index of a point; the parities of
   the indices of a channel lead through the states of a trellis, and the state tells the quantizer, as in H.266. In effect all half steps
   can be reached, at the rate of whole ones. Decoded latents count half steps. ---- */

/* Found by trying all linear trellises of this form: 1.08 dB less error than a uniform quantizer at the same high rate. */
static const uint8_t NEXT[STATES][2] = {{0, 2}, {5, 7}, {1, 3}, {4, 6}, {2, 0}, {7, 5}, {3, 1}, {6, 4}};
static const uint8_t BEFORE[STATES][2] = {{0, 4}, {2, 6}, {0, 4}, {2, 6}, {3, 7}, {1, 5}, {3, 7}, {1, 5}}; /* the states that lead there */

static inline int quantizer_of(int state) { return state & 1; }

static inline int next_state(int state, int32_t index) { return NEXT[state][index & 1]; }

static inline Context of_quantizer(const Context *k, int quantizer) {
    Context own = *k;
    own.table += quantizer * LEVELS * BUCKETS;
    return own;
}

static inline int64_t half_steps(const Context *k, int64_t index, int quantizer) {
    int64_t distance = 2 * index - quantizer * ((index > 0) - (index < 0));
    return 2 * (int64_t)k->rounded + (k->flip ? -distance : distance);
}

static inline void remember(int32_t q, const Context *k, int32_t down, int32_t *a, int32_t *v) {
    int64_t distance = 8 * (int64_t)q - k->mu;
    int64_t magnitude = (((distance < 0 ? -distance : distance) + REST) * down) >> 6;
    *a = (int32_t)(magnitude > MAX_MAGNITUDE ? MAX_MAGNITUDE : magnitude);
    *v = (int32_t)clamp64((8 * (int64_t)q * down) >> 6, MAX_VALUE);
}

/* How far the reconstruction lies beyond the point with this index, in steps, on the flipped axis. */
static inline float offset_of(const Model *m, const Context *k, int32_t index) {
    if (k->shift || index < -REACH || index > REACH) return 0;
    return m->offset[(size_t)k->table * SYMBOLS + index + REACH] * (1.0f / 128);
}

static inline float reconstruct(const Model *m, const Context *k, int32_t q, int32_t index) {
    float d = offset_of(m, k, index);
    return 0.5f * (float)q + (k->flip ? -d : d);
}

static inline float within(float y) { /* what is beyond the range, or no number, to its end; float rounds whole steps there */
    float most = MAX_LATENT - 8;
    return y > most ? most : y > -most ? y : -most;
}

/* The cheapest index of each parity, by error^2 + trade * bits. */
typedef struct {
    int32_t index[2];
    float cost[2];
} Choice;

static inline void consider(const Model *m, const Context *k, float target, float point, int32_t index, float trade, Choice *choice) {
    float error = target - point - offset_of(m, k, index);
    int32_t v = index >> k->shift, parity = index & 1;
    const float *table = m->bits + (size_t)k->table * SYMBOLS;
    float bits = v >= -REACH && v <= REACH ? table[v + REACH] : table[ESCAPE] + 5 + bit_length((uint32_t)(v < 0 ? -v : v) - REACH);
    float cost = error * error + trade * (bits + k->shift);
    if (cost < choice->cost[parity]) choice->cost[parity] = cost, choice->index[parity] = index;
}

/* The points on either side of y, and 0 where it is not far. */
static inline void choose(const Model *m, const Context *k, int quantizer, float y, float trade, Choice *choice) {
    float target = k->flip ? (float)k->rounded - y : y - (float)k->rounded, half = quantizer ? 0.5f : 0;
    int32_t cell = (int32_t)(target + half);
    cell -= (float)cell > target + half; /* rounded down; points at cell - half and cell + 1 - half */
    int32_t below = quantizer && cell < 1 ? cell - 1 : cell, above = quantizer && cell < 0 ? cell : cell + 1;
    choice->cost[0] = choice->cost[1] = INFINITY;
    choice->index[0] = choice->index[1] = 0;
    consider(m, k, target, (float)cell - half, below, trade, choice);
    consider(m, k, target, (float)(cell + 1) - half, above, trade, choice);
    if (below && above && below > -3 && above < 3) consider(m, k, target, 0, 0, trade, choice);
}

/* A way through the trellis that ends in a state: its cost, and what it leaves to the next latent's context. */
typedef struct {
    float cost;
    int32_t left[2], value;
} Survivor;

typedef struct { /* per latent and state: the index that leads there, and the state before */
    int32_t index[STATES];
    uint8_t from[STATES];
} Step;

static void start_survivors(Survivor *s, int state) {
    memset(s, 0, STATES * sizeof(Survivor));
    for (int k = 0; k < STATES; k++) s[k].cost = k == state ? 0 : INFINITY;
}

/* The better of the two ways into each state. choice: of each state before, by quantizer if they are the same for all states. */
static inline void advance_survivors(const Survivor *old, const Choice *choice, int by_state, Survivor *now, Step *step) {
#ifdef __GNUC__
#pragma GCC unroll 8
#endif
    for (int s = 0; s < STATES; s++) {
        int a = BEFORE[s][0], b = BEFORE[s][1];
        int a_parity = NEXT[a][1] == s, b_parity = NEXT[b][1] == s;
        const Choice *first = choice + (by_state ? a : quantizer_of(a)), *second = choice + (by_state ? b : quantizer_of(b));
        float a_cost = old[a].cost + first->cost[a_parity], b_cost = old[b].cost + second->cost[b_parity];
        int other = b_cost < a_cost;
        now[s].cost = other ? b_cost : a_cost;
        step->index[s] = other ? second->index[b_parity] : first->index[a_parity];
        step->from[s] = (uint8_t)(other ? b : a);
    }
}

/* Leaves the indices of the cheapest way in index[0] of each step. */
static void trace_back(const Survivor *ends, Step *steps, int n) {
    int state = 0;
    for (int s = 1; s < STATES; s++)
        if (ends[s].cost < ends[state].cost) state = s;
    while (n-- > 0) {
        steps[n].index[0] = steps[n].index[state];
        state = steps[n].from[state];
    }
}

/* Indices for n latents with known contexts. */
static void quantize_all(const Model *m, const Context *k, const float *y, float trade, int n, Step *steps) {
    Survivor ways[2][STATES];
    start_survivors(ways[0], 0);
    for (int j = 0; j < n; j++) {
        Choice choice[QUANTIZERS];
        for (int z = 0; z < QUANTIZERS; z++) {
            Context own = of_quantizer(k + j, z);
            choose(m, &own, z, within(y[j]), trade, choice + z);
        }
        advance_survivors(ways[j & 1], choice, 0, ways[~j & 1], steps + j);
    }
    trace_back(ways[n & 1], steps, n);
}

/* Indices for row i of a channel whose contexts look to the left: each survivor has its own. */
static void quantize_row(const Model *m, const Planes *p, const Grid *g, int c, int i, int state, const float *y, float trade, Step *steps) {
    const int32_t *own = m->own + c * OWN, left_value = m->own_value[c * OWN_VALUE], *up = g->up + i * g->cols, *down = g->down + i * g->cols;
    Survivor old[STATES], now[STATES];
    start_survivors(old, state);
    for (int j = 0; j < g->cols; j++) {
        Context k[STATES];
        Choice choice[STATES];
        for (int s = 0; s < STATES; s++) {
            int64_t magnitude = p->row_magnitude[j] + (int64_t)own[0] * old[s].left[0] + (int64_t)own[4] * old[s].left[1];
            context_at(m, c, magnitude, p->row_value[j] + (int64_t)left_value * old[s].value, up[j], k + s);
            k[s] = of_quantizer(k + s, quantizer_of(s));
            choose(m, k + s, quantizer_of(s), within(y[j]), trade, choice + s);
        }
        advance_survivors(old, choice, 1, now, steps + j);
        for (int s = 0; s < STATES; s++) {
            int from = steps[j].from[s];
            remember((int32_t)half_steps(k + from, steps[j].index[s], quantizer_of(from)), k + from, down[j], now[s].left, &now[s].value);
            now[s].left[1] = old[from].left[0];
        }
        memcpy(old, now, sizeof(old));
    }
    trace_back(old, steps, g->cols);
}

/* What the coder did, for counting: each may be null. */
typedef struct {
    int32_t *table;  /* (channels, rows, cols) */
    int16_t *symbol; /* same: -REACH ... REACH, or REACH + 1 for an escape; shifted index */
    int8_t *flip;
} Trace;

/* Whether contexts of a channel look at the channel itself. */
static int looks_at_itself(const Model *m, int c) {
    for (int k = 0; k < OWN; k++)
        if (m->own[c * OWN + k]) return 1;
    for (int k = 0; k < OWN_VALUE; k++)
        if (m->own_value[c * OWN_VALUE + k]) return 1;
    return 0;
}

/* Chooses q for each y (error^2 + trade * bits) and lists the slots, unless list is null. */
static int encode_latents(const Model *m, const Grid *g, const float *y, float trade, int32_t *q, float *reconstruction, SlotList *list,
                          const Trace *trace) {
    Planes p;
    size_t size = (size_t)g->rows * g->cols;
    Context *contexts = (Context *)malloc(size * sizeof(Context));
    Step *steps = (Step *)malloc(size * sizeof(Step));
    int ok = allocate(&p, g) && contexts && steps;
    for (int c = 0; ok && c < g->channels; c++) {
        int follows = looks_at_itself(m, c), state = 0;
        for (int i = 0; !follows && i < g->rows; i++) {
            row_terms(m, &p, c, i);
            for (int j = 0; j < g->cols; j++)
                context_at(m, c, p.row_magnitude[j], p.row_value[j], g->up[i * g->cols + j], contexts + i * g->cols + j);
        }
        if (!follows) quantize_all(m, contexts, y + c * size, trade, (int)size, steps);
        for (int i = 0; i < g->rows; i++) {
            size_t row = c * size + (size_t)i * g->cols;
            Step *step = steps + i * g->cols;
            int32_t *a = magnitude_row(&p, c, i), *v = value_row(&p, c, i);
            if (follows) {
                row_terms(m, &p, c, i);
                quantize_row(m, &p, g, c, i, state, y + row, trade, step);
            }
            for (int j = 0; j < g->cols; j++) {
                Context *k = contexts + i * g->cols + j;
                if (follows) {
                    left_terms(m, c, j, a, v, p.row_magnitude + j, p.row_value + j);
                    context_at(m, c, p.row_magnitude[j], p.row_value[j], g->up[i * g->cols + j], k);
                }
                *k = of_quantizer(k, quantizer_of(state));
                int32_t index = step[j].index[0], latent = (int32_t)half_steps(k, index, quantizer_of(state));
                if (list) put_value(list, m->cdf + (size_t)k->table * (SYMBOLS + 1), k->shift, index);
                q[row + j] = latent;
                reconstruction[row + j] = reconstruct(m, k, latent, index);
                remember(latent, k, g->down[i * g->cols + j], a + j, v + j);
                if (trace->table) {
                    int32_t shifted = index >> k->shift;
                    trace->table[row + j] = k->table;
                    trace->symbol[row + j] = (int16_t)(shifted < -REACH || shifted > REACH ? REACH + 1 : shifted);
                    trace->flip[row + j] = (int8_t)k->flip;
                }
                state = next_state(state, index);
            }
        }
        frame(&p, c);
    }
    release(&p), free(contexts), free(steps);
    return ok && !(list && list->failed);
}

/* Squared error that quantization with a dead zone leaves: q = floor(|y| gain + threshold), where values beyond 2^23 are exact. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static void deadzone_squares(const float *restrict y, const float *restrict gain, float threshold, float *restrict out, size_t n) {
    for (size_t k = 0; k < n; k++) {
        float scaled = fabsf(y[k]) * gain[k];
        scaled = scaled < (float)MAX_LATENT ? scaled : 0;
        float off = (scaled - (float)(int32_t)(scaled + threshold)) / gain[k];
        out[k] = off * off;
    }
}

/* 1: decoded; 0: the stream is damaged; -1: no memory. */
static int decode_latents(const Model *m, const Grid *g, const uint8_t *data, size_t size, int32_t *q, float *reconstruction) {
    Planes p;
    int result = allocate(&p, g) ? 1 : -1;
    Reader reader;
    start_reader(&reader, data, size);
    for (int c = 0; result == 1 && c < g->channels; c++) {
        int state = 0;
        for (int i = 0; result == 1 && i < g->rows; i++) {
            row_terms(m, &p, c, i);
            size_t row = ((size_t)c * g->rows + i) * g->cols;
            int32_t *a = magnitude_row(&p, c, i), *v = value_row(&p, c, i);
            for (int j = 0; j < g->cols; j++) {
                Context k;
                left_terms(m, c, j, a, v, p.row_magnitude + j, p.row_value + j);
                context_at(m, c, p.row_magnitude[j], p.row_value[j], g->up[i * g->cols + j], &k);
                k = of_quantizer(&k, quantizer_of(state));
                int64_t index = take_value(&reader, m->cdf + (size_t)k.table * (SYMBOLS + 1), k.shift);
                int64_t exact = half_steps(&k, index, quantizer_of(state));
                int32_t latent = (int32_t)clamp64(exact, 2 * MAX_LATENT);
                if (latent != exact) reader.failed = 1;
                q[row + j] = latent;
                reconstruction[row + j] = reconstruct(m, &k, latent, (int32_t)clamp64(index, 2 * MAX_LATENT));
                remember(latent, &k, g->down[i * g->cols + j], a + j, v + j);
                state = next_state(state, (int32_t)(index & 1));
            }
            if (reader.failed) result = 0;
        }
        frame(&p, c);
    }
    if (result == 1 && !finished(&reader)) result = 0;
    release(&p);
    return result;
}

#endif
