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

/* Functions with loops that compilers make vectors of: without branches, and better with newer instructions than the baseline of x86-64.
   No product is fused with a sum in them (-ffp-contract=off): what the encoder chooses must not depend on the processor. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
#define VECTORS __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define VECTORS
#endif
#if defined(__GNUC__) && !defined(__clang__)
#define INDEPENDENT _Pragma("GCC ivdep") /* no round of the loop that follows needs another */
#else
#define INDEPENDENT
#endif
#define INLINE static inline __attribute__((always_inline))

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
    const float *offset;             /* (same, SYMBOLS): reconstruction minus integer, in steps */
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

typedef union {
    double number;
    int64_t bits;
} Bits;

INLINE int64_t clamp64(int64_t v, int64_t limit) { return v > limit ? limit : v < -limit ? -limit : v; }

INLINE Context context_at(const Model *m, int c, int64_t magnitude, int64_t value, int32_t up) {
    Context k;
    int64_t e = ((magnitude * up) >> 16) + m->bias[c]; /* expected magnitude, 1/2^17 step, below 2^41 */
    Bits exact = {.bits = e | 0x433ll << 52}; /* 2^52 + e as a double */
    exact.number -= 4503599627370496.0;
    int level = (int)(exact.bits >> 49) - STEPS_PER_OCTAVE * (1023 + 10); /* the exponent and three bits of the mantissa */
    level = level < 0 ? 0 : level > LEVELS - 1 ? LEVELS - 1 : level;
    int shift = level / STEPS_PER_OCTAVE - 8; /* the octave, in steps, less one */
    k.shift = shift > 0 ? shift : 0;
    k.mu = (int32_t)clamp64((clamp64(value, (int64_t)1 << 44) * up) >> 28, 16 * (int64_t)MAX_LATENT);
    k.rounded = (k.mu + 8) >> 4;
    int fraction = k.mu - 16 * k.rounded; /* -8 ... 7 */
    k.flip = fraction < 0;
    fraction = k.flip ? -fraction : fraction;
    int bucket = (fraction > 2) + (fraction > 5);
    k.table = (m->group[c] * QUANTIZERS * LEVELS + level) * BUCKETS + (k.shift ? 0 : bucket); /* of quantizer 0 */
    return k;
}

/* Terms are added up as doubles, which is exact below 2^51 and faster than with integers of 64 bits. Sums start at 1.5 * 2^52, so that the
   last bits of the double are the sum as an integer. */
typedef Bits Sum;

static const Sum START = {.number = 6755399441055744.0};

INLINE int64_t integer_of(Sum sum) { return sum.bits - START.bits; }

/* Decoded latents as contexts see them. Magnitudes have a frame one wide, filled by replication when a channel is complete. */
typedef struct {
    int32_t *magnitude, *value;
    Sum *magnitude_sums, *value_sums; /* of one channel, as far apart as magnitudes and values are */
    int rows, cols;
} Planes;

static inline int32_t *magnitude_row(const Planes *p, int c, int i) {
    return p->magnitude + ((size_t)c * (p->rows + 2) + i + 1) * (p->cols + 2) + 1;
}

static inline int32_t *value_row(const Planes *p, int c, int i) { return p->value + ((size_t)c * p->rows + i) * p->cols; }

static inline Sum *magnitude_sums(const Planes *p, int i) { return p->magnitude_sums + (size_t)i * (p->cols + 2); }

static inline Sum *value_sums(const Planes *p, int i) { return p->value_sums + (size_t)i * p->cols; }

static int allocate(Planes *p, const Grid *g) {
    size_t channels = g->channels, rows = g->rows, cols = g->cols;
    p->rows = g->rows, p->cols = g->cols;
    p->magnitude = (int32_t *)malloc(channels * (rows + 2) * (cols + 2) * 4);
    p->value = (int32_t *)malloc(channels * rows * cols * 4);
    p->magnitude_sums = (Sum *)malloc(rows * (cols + 2) * sizeof(Sum));
    p->value_sums = (Sum *)malloc(rows * cols * sizeof(Sum));
    return p->magnitude && p->value && p->magnitude_sums && p->value_sums;
}

static void release(Planes *p) { free(p->magnitude), free(p->value), free(p->magnitude_sums), free(p->value_sums); }

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

INLINE void begin(Sum *sums, int n) {
    for (int j = 0; j < n; j++) sums[j] = START;
}

/* Four terms at once, for sums take longer to load and store than terms to add up. */
INLINE void add_products(Sum *to, const int32_t *const *from, const double *weight, int n) {
    const int32_t *a = from[0], *b = from[1], *c = from[2], *d = from[3];
    double of_a = weight[0], of_b = weight[1], of_c = weight[2], of_d = weight[3];
    INDEPENDENT
    for (int j = 0; j < n; j++) to[j].number += (of_a * a[j] + of_b * b[j]) + (of_c * c[j] + of_d * d[j]);
}

/* Whether contexts of a channel look at the channel itself. */
static int looks_at_itself(const Model *m, int c) {
    for (int k = 0; k < OWN; k++)
        if (m->own[c * OWN + k]) return 1;
    for (int k = 0; k < OWN_VALUE; k++)
        if (m->own_value[c * OWN_VALUE + k]) return 1;
    return 0;
}

/* The terms of a channel that do not depend on the channel itself, all rows at once: what lies between them comes with it. */
VECTORS static void channel_terms(const Model *m, const Planes *p, int c) {
    const int32_t *from[4];
    double weight[4];
    int n = p->rows * (p->cols + 2) - 2;
    begin(p->magnitude_sums, n);
    for (int k = m->around.start[c], end = m->around.start[c + 1]; k < end; k += 4) {
        for (int t = 0; t < 4; t++) {
            int at = k + t < end ? k + t : k, place = m->around.place[at];
            from[t] = magnitude_row(p, m->around.channel[at], place / 3 - 1) + place % 3 - 1;
            weight[t] = k + t < end ? m->around.weight[at] : 0;
        }
        add_products(p->magnitude_sums, from, weight, n);
    }
    n = p->rows * p->cols;
    begin(p->value_sums, n);
    for (int k = m->value.start[c], end = m->value.start[c + 1]; k < end; k += 4) {
        for (int t = 0; t < 4; t++) {
            int at = k + t < end ? k + t : k;
            from[t] = value_row(p, m->value.channel[at], 0);
            weight[t] = k + t < end ? m->value.weight[at] : 0;
        }
        add_products(p->value_sums, from, weight, n);
    }
}

/* And those of row i that depend on the rows above. */
static void row_terms(const Model *m, const Planes *p, int c, int i) {
    int w = p->cols;
    Sum *magnitude = magnitude_sums(p, i), *value = value_sums(p, i);
    const int32_t *own = m->own + c * OWN, *own_value = m->own_value + c * OWN_VALUE;
    for (int j = 0; i > 0 && j < w; j++) {
        const int32_t *a = magnitude_row(p, c, i - 1) + j, *v = value_row(p, c, i - 1) + j;
        magnitude[j].bits += (int64_t)own[1] * a[0] + (j > 0 ? (int64_t)own[2] * a[-1] : 0) + (j < w - 1 ? (int64_t)own[3] * a[1] : 0);
        value[j].bits += (int64_t)own_value[1] * v[0] + (j > 0 ? (int64_t)own_value[2] * v[-1] : 0);
        value[j].bits += j < w - 1 ? (int64_t)own_value[3] * v[1] : 0;
        if (i > 1) magnitude[j].bits += (int64_t)own[5] * magnitude_row(p, c, i - 2)[j];
    }
}

static inline void left_terms(const Model *m, int c, int j, const int32_t *a, const int32_t *v, Sum *magnitude, Sum *value) {
    const int32_t *own = m->own + c * OWN;
    if (j > 0) {
        magnitude[j].bits += (int64_t)own[0] * a[j - 1];
        value[j].bits += (int64_t)m->own_value[c * OWN_VALUE] * v[j - 1];
    }
    if (j > 1) magnitude[j].bits += (int64_t)own[4] * a[j - 2];
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

INLINE Context of_quantizer(Context k, int quantizer) {
    k.table += quantizer * LEVELS * BUCKETS;
    return k;
}

INLINE int64_t half_steps(const Context *k, int64_t index, int quantizer) {
    int64_t distance = 2 * index - quantizer * ((index > 0) - (index < 0));
    return 2 * (int64_t)k->rounded + (k->flip ? -distance : distance);
}

INLINE void remember(int32_t q, const Context *k, int32_t down, int32_t *a, int32_t *v) {
    int32_t distance = 8 * q - k->mu;
    int64_t magnitude = ((int64_t)((distance < 0 ? -distance : distance) + REST) * down) >> 6;
    *a = (int32_t)(magnitude > MAX_MAGNITUDE ? MAX_MAGNITUDE : magnitude);
    *v = (int32_t)clamp64(((int64_t)(8 * q) * down) >> 6, MAX_VALUE);
}

/* Where the tables keep the symbol of an index. */
INLINE int32_t symbol_at(const Context *k, int32_t index) {
    int32_t v = index >> k->shift;
    return k->table * SYMBOLS + (v < -REACH || v > REACH ? ESCAPE : v + REACH);
}

/* How far the reconstruction lies beyond the point with this index, in steps, on the flipped axis. */
INLINE float offset_of(const Model *m, const Context *k, int32_t index) {
    float offset = m->offset[symbol_at(k, index)];
    return (k->shift != 0) | (index < -REACH) | (index > REACH) ? 0 : offset;
}

INLINE float reconstruct(const Model *m, const Context *k, int32_t q, int32_t index) {
    float d = offset_of(m, k, index);
    return 0.5f * (float)q + (k->flip ? -d : d);
}

INLINE float within(float y) { /* what is beyond the range, or no number, to its end; float rounds whole steps there */
    float most = MAX_LATENT - 8;
    return y > most ? most : y > -most ? y : -most;
}

/* Of a quantizer, on the flipped axis, beside the rounded prediction. */
INLINE float point_of(int32_t index, int quantizer) {
    float half = index == 0 ? 0 : 0.5f * (float)quantizer;
    return (float)((quantizer != 0) & (index < 0) ? index + 1 : index) - half;
}

/* error^2 + trade * bits */
INLINE float cost_of(const Model *m, const Context *k, float target, float point, int32_t index, float trade) {
    float error = target - point - offset_of(m, k, index);
    int32_t v = index >> k->shift, beyond = (v < 0 ? -v : v) - REACH;
    union {
        float number;
        int32_t bits;
    } exact = {(float)beyond}; /* at most 2^24, and its exponent is its length */
    float bits = m->bits[symbol_at(k, index)], escaped = bits + 5 + (float)((exact.bits >> 23) - 126);
    return error * error + trade * ((beyond > 0 ? escaped : bits) + (float)k->shift);
}

/* The cheapest index of each parity. */
typedef struct {
    float cost[2];
    int32_t index[2];
} Choice;

/* Of the points on either side of y, one has an even index and one an odd one; 0 is tried as well where it is not far. */
INLINE Choice choose(const Model *m, const Context *k, int quantizer, float y, float trade) {
    float ahead = y - (float)k->rounded, behind = (float)k->rounded - y, half = 0.5f * (float)quantizer;
    float target = k->flip ? behind : ahead;
    int32_t cell = (int32_t)(target + half);
    cell -= (float)cell > target + half; /* rounded down; points at cell - half and cell + 1 - half */
    int32_t below = (quantizer != 0) & (cell < 1) ? cell - 1 : cell, even = (below + 1) & ~1, odd = below | 1;
    int around = (quantizer != 0) & (below == -1), near = (below == -2) | (below == 1); /* around: -1 and 1 on either side of 0 */
    int32_t third = around ? 1 : 0;
    float even_cost = cost_of(m, k, target, point_of(even, quantizer), even, trade);
    float odd_cost = cost_of(m, k, target, point_of(odd, quantizer), odd, trade);
    float third_cost = cost_of(m, k, target, point_of(third, quantizer), third, trade);
    float zero = near ? third_cost : INFINITY, one = around ? third_cost : INFINITY;
    return (Choice){{zero < even_cost ? zero : even_cost, one < odd_cost ? one : odd_cost},
                    {zero < even_cost ? 0 : even, one < odd_cost ? 1 : odd}};
}

/* What is known of the latents of a channel while they are coded, member by member. */
typedef struct {
    int32_t *table, *shift, *flip, *rounded, *mu; /* contexts, of quantizer 0, at last of the quantizer that is used */
    float *cost;                                  /* (latents, 4): of the cheapest index of quantizer k / 2 and parity k % 2 */
    int32_t *candidate;                           /* (latents, 4): these indices */
    int32_t *second;                              /* (latents, STATES): whether the second way into a state is the better one */
    int32_t *choice;                              /* the k that the best way through the trellis takes */
    int32_t *index;                               /* and its index */
} Work;

enum { WORDS = 5 + 4 + 4 + STATES + 2 };

static int allocate_work(Work *w, size_t n) {
    int32_t *at = w->table = (int32_t *)malloc(n * WORDS * sizeof(int32_t));
    if (!at) return 0;
    w->shift = at += n, w->flip = at += n, w->rounded = at += n, w->mu = at += n, w->choice = at += n, w->index = at += n;
    w->cost = (float *)(at += n), w->candidate = at += 4 * n, w->second = at + 4 * n;
    return 1;
}

INLINE Context stored(const Work *w, size_t j) { return (Context){w->table[j], w->shift[j], w->flip[j], w->rounded[j], w->mu[j]}; }

/* Contexts of row i. */
VECTORS static void find_contexts(const Model *m, const Planes *p, const Grid *g, int c, int i, const Work *work) {
    size_t first = (size_t)i * g->cols;
    const int32_t *up = g->up + first;
    Work w = *work;
    int32_t *table = w.table + first, *shift = w.shift + first, *flip = w.flip + first;
    int32_t *rounded = w.rounded + first, *mu = w.mu + first;
    const Sum *magnitude = magnitude_sums(p, i), *value = value_sums(p, i);
    INDEPENDENT
    for (int j = 0, n = g->cols; j < n; j++) {
        Context k = context_at(m, c, integer_of(magnitude[j]), integer_of(value[j]), up[j]);
        table[j] = k.table, shift[j] = k.shift, flip[j] = k.flip, rounded[j] = k.rounded, mu[j] = k.mu;
    }
}

/* Costs and candidates of n latents with known contexts. */
VECTORS static void find_candidates(const Model *model, const float *y, float trade, int n, const Work *work) {
    Model m = *model;
    const int32_t *table = work->table, *shift = work->shift, *flip = work->flip, *rounded = work->rounded;
    float *cost = work->cost;
    int32_t *candidate = work->candidate;
    INDEPENDENT
    for (int j = 0; j < n; j++) {
        Context k = {table[j], shift[j], flip[j], rounded[j], 0}, other = of_quantizer(k, 1);
        Choice a = choose(&m, &k, 0, within(y[j]), trade), b = choose(&m, &other, 1, within(y[j]), trade);
        cost[4 * j] = a.cost[0], cost[4 * j + 1] = a.cost[1], cost[4 * j + 2] = b.cost[0], cost[4 * j + 3] = b.cost[1];
        candidate[4 * j] = a.index[0], candidate[4 * j + 1] = a.index[1];
        candidate[4 * j + 2] = b.index[0], candidate[4 * j + 3] = b.index[1];
    }
}

/* Costs of the ways through the trellis that end in states 0 ... 3 and 4 ... 7. */
typedef float Four __attribute__((vector_size(16)));
typedef int32_t FourInts __attribute__((vector_size(16)));

typedef struct {
    Four low, high;
} Ways;

static Ways ways_from(int state) {
    Ways w;
    for (int k = 0; k < 4; k++) w.low[k] = state == k ? 0 : INFINITY, w.high[k] = state == k + 4 ? 0 : INFINITY;
    return w;
}

INLINE Four least(Four first, Four second, int32_t *other) {
    FourInts better = second < first;
    memcpy(other, &better, sizeof(better));
    return (Four)(((FourInts)second & better) | ((FourInts)first & ~better));
}

/* The better of the two ways into each state, given the costs of the step from the first and the second of the states before. */
INLINE Ways advance_ways(Ways old, Four low_first, Four low_second, Four high_first, Four high_second, int32_t *second) {
    Four low = old.low, high = old.high;
    Four a = {low[0], low[2], low[0], low[2]}, b = {high[0], high[2], high[0], high[2]};
    Four c = {low[3], low[1], low[3], low[1]}, d = {high[3], high[1], high[3], high[1]};
    return (Ways){least(a + low_first, b + low_second, second), least(c + high_first, d + high_second, second + 4)};
}

static int cheapest(Ways ends) {
    int state = 0;
    float cost[STATES];
    memcpy(cost, &ends.low, sizeof(ends.low)), memcpy(cost + 4, &ends.high, sizeof(ends.high));
    for (int s = 1; s < STATES; s++)
        if (cost[s] < cost[state]) state = s;
    return state;
}

/* The cheapest way through n latents with known costs, from state 0. */
static void find_way(int n, const Work *w) {
    const float *cost = w->cost;
    int32_t *second = w->second, *choice = w->choice;
    Ways ways = ways_from(0);
    for (int j = 0; j < n; j++) {
        const float *k = cost + 4 * j;
        Four low_first = {k[0], k[0], k[1], k[1]}, low_second = {k[1], k[1], k[0], k[0]};
        Four high_first = {k[2], k[2], k[3], k[3]}, high_second = {k[3], k[3], k[2], k[2]};
        ways = advance_ways(ways, low_first, low_second, high_first, high_second, second + STATES * j);
    }
    int state = cheapest(ways);
    for (int j = n; j-- > 0;) {
        int from = BEFORE[state][second[STATES * j + state] & 1];
        choice[j] = 2 * quantizer_of(from) + (NEXT[from][1] == state);
        state = from;
    }
}

/* What a way through the trellis that ends in a state leaves to the next latent's context. */
typedef struct {
    int32_t left[STATES], before[STATES], value[STATES];
} Survivors;

typedef struct { /* per latent and state: the index that leads there, and the state before */
    int32_t index[STATES], from[STATES];
} Step;

static const int32_t QUANTIZER[STATES] = {0, 1, 0, 1, 0, 1, 0, 1}; /* quantizer_of: as a list that compilers make vectors of */

/* Indices for row i of a channel whose contexts look to the left: each way through the trellis has its own. */
VECTORS static void quantize_row(const Model *model, const Planes *p, const Grid *g, int c, int i, int state, const float *y, float trade,
                                 Step *steps, int32_t *index) {
    Model m = *model;
    const int32_t *own = m.own + c * OWN, left_value = m.own_value[c * OWN_VALUE], *up = g->up + i * g->cols, *down = g->down + i * g->cols;
    const Sum *magnitudes = magnitude_sums(p, i), *values = value_sums(p, i);
    Survivors old, now;
    Ways ways = ways_from(state);
    memset(&old, 0, sizeof(old));
    for (int j = 0; j < g->cols; j++) {
        int32_t mu[STATES], rounded[STATES], flip[STATES], chosen[2][STATES], second[STATES];
        float cost[2][STATES], target = within(y[j]);
        for (int s = 0; s < STATES; s++) {
            int64_t magnitude = integer_of(magnitudes[j]) + (int64_t)own[0] * old.left[s] + (int64_t)own[4] * old.before[s];
            int64_t value = integer_of(values[j]) + (int64_t)left_value * old.value[s];
            Context k = of_quantizer(context_at(&m, c, magnitude, value, up[j]), QUANTIZER[s]);
            Choice choice = choose(&m, &k, QUANTIZER[s], target, trade);
            mu[s] = k.mu, rounded[s] = k.rounded, flip[s] = k.flip;
            cost[0][s] = choice.cost[0], cost[1][s] = choice.cost[1], chosen[0][s] = choice.index[0], chosen[1][s] = choice.index[1];
        }
        const float *even = cost[0], *odd = cost[1];
        Four low_first = {even[0], even[2], odd[0], odd[2]}, low_second = {odd[4], odd[6], even[4], even[6]};
        Four high_first = {even[3], even[1], odd[3], odd[1]}, high_second = {odd[7], odd[5], even[7], even[5]};
        ways = advance_ways(ways, low_first, low_second, high_first, high_second, second);
        for (int s = 0; s < STATES; s++) {
            int from = BEFORE[s][second[s] & 1];
            steps[j].from[s] = from;
            steps[j].index[s] = chosen[NEXT[from][1] == s][from];
        }
        for (int s = 0; s < STATES; s++) {
            int from = steps[j].from[s];
            Context k = {0, 0, flip[from], rounded[from], mu[from]};
            remember((int32_t)half_steps(&k, steps[j].index[s], quantizer_of(from)), &k, down[j], now.left + s, now.value + s);
            now.before[s] = old.left[from];
        }
        old = now;
    }
    int at = cheapest(ways);
    for (int j = g->cols; j-- > 0; at = steps[j].from[at]) index[j] = steps[j].index[at];
}

/* Latents of row i with known contexts and choices. */
VECTORS static void settle_row(const Model *model, const Planes *p, const Grid *g, int c, int i, const Work *work, int32_t *q,
                               float *reconstruction) {
    Model m = *model;
    size_t first = (size_t)i * g->cols;
    const int32_t *down = g->down + first, *choice = work->choice + first, *candidate = work->candidate + 4 * first;
    const int32_t *shift = work->shift + first, *flip = work->flip + first, *rounded = work->rounded + first;
    const int32_t *mu = work->mu + first;
    int32_t *table = work->table + first, *indices = work->index + first;
    int32_t *a = magnitude_row(p, c, i), *v = value_row(p, c, i);
    INDEPENDENT
    for (int j = 0, n = g->cols; j < n; j++) {
        int quantizer = choice[j] >> 1;
        Context k = of_quantizer((Context){table[j], shift[j], flip[j], rounded[j], mu[j]}, quantizer);
        int32_t index = candidate[4 * j + choice[j]], latent = (int32_t)half_steps(&k, index, quantizer), magnitude, value;
        table[j] = k.table, indices[j] = index, q[j] = latent;
        reconstruction[j] = reconstruct(&m, &k, latent, index);
        remember(latent, &k, down[j], &magnitude, &value);
        a[j] = magnitude, v[j] = value;
    }
}

/* Latents of row i with known indices, whose contexts look to the left; returns the state after. */
static int follow_row(const Model *m, const Planes *p, const Grid *g, int c, int i, int state, const Work *w, int32_t *q,
                      float *reconstruction) {
    size_t first = (size_t)i * g->cols;
    int32_t *a = magnitude_row(p, c, i), *v = value_row(p, c, i);
    Sum *magnitude = magnitude_sums(p, i), *value = value_sums(p, i);
    for (int j = 0; j < g->cols; j++) {
        int32_t index = w->index[first + j];
        left_terms(m, c, j, a, v, magnitude, value);
        Context k = of_quantizer(context_at(m, c, integer_of(magnitude[j]), integer_of(value[j]), g->up[first + j]), quantizer_of(state));
        w->table[first + j] = k.table, w->shift[first + j] = k.shift, w->flip[first + j] = k.flip;
        q[j] = (int32_t)half_steps(&k, index, quantizer_of(state));
        reconstruction[j] = reconstruct(m, &k, q[j], index);
        remember(q[j], &k, g->down[first + j], a + j, v + j);
        state = next_state(state, index);
    }
    return state;
}

/* What the coder did, for counting: each may be null. */
typedef struct {
    int32_t *table;  /* (channels, rows, cols) */
    int16_t *symbol; /* same: -REACH ... REACH, or REACH + 1 for an escape; shifted index */
    int8_t *flip;
} Trace;

/* Chooses q for each y (error^2 + trade * bits) and lists the slots, unless list is null. */
static int encode_latents(const Model *m, const Grid *g, const float *y, float trade, int32_t *q, float *reconstruction, SlotList *list,
                          const Trace *trace) {
    Planes p;
    Work w;
    size_t size = (size_t)g->rows * g->cols;
    Step *steps = (Step *)malloc(g->cols * sizeof(Step));
    int ok = allocate(&p, g) & allocate_work(&w, size) && steps;
    for (int c = 0; ok && c < g->channels; c++, y += size, q += size, reconstruction += size) {
        int follows = looks_at_itself(m, c), state = 0;
        channel_terms(m, &p, c);
        for (int i = 0; i < g->rows; i++) {
            size_t row = (size_t)i * g->cols;
            if (follows) {
                row_terms(m, &p, c, i);
                quantize_row(m, &p, g, c, i, state, y + row, trade, steps, w.index + row);
                state = follow_row(m, &p, g, c, i, state, &w, q + row, reconstruction + row);
            } else find_contexts(m, &p, g, c, i, &w);
        }
        if (!follows) {
            find_candidates(m, y, trade, (int)size, &w);
            find_way((int)size, &w);
            for (int i = 0; i < g->rows; i++) settle_row(m, &p, g, c, i, &w, q + (size_t)i * g->cols, reconstruction + (size_t)i * g->cols);
        }
        frame(&p, c);
        for (size_t j = 0; list && j < size; j++) put_value(list, m->cdf + (size_t)w.table[j] * (SYMBOLS + 1), w.shift[j], w.index[j]);
        for (size_t j = 0; trace->table && j < size; j++) {
            int32_t shifted = w.index[j] >> w.shift[j];
            trace->table[c * size + j] = w.table[j];
            trace->symbol[c * size + j] = (int16_t)(shifted < -REACH || shifted > REACH ? REACH + 1 : shifted);
            trace->flip[c * size + j] = (int8_t)w.flip[j];
        }
    }
    release(&p), free(w.table), free(steps);
    return ok && !(list && list->failed);
}

/* Squared error that quantization with a dead zone leaves: q = floor(|y| gain + threshold), where values beyond 2^23 are exact. */
VECTORS static void deadzone_squares(const float *restrict y, const float *restrict gain, float threshold, float *restrict out, size_t n) {
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
    Work w;
    int result = allocate(&p, g) & allocate_work(&w, (size_t)g->rows * g->cols) ? 1 : -1;
    Reader reader;
    start_reader(&reader, data, size);
    for (int c = 0; result == 1 && c < g->channels; c++) {
        int follows = looks_at_itself(m, c), state = 0;
        channel_terms(m, &p, c);
        for (int i = 0; result == 1 && i < g->rows; i++) {
            if (follows) row_terms(m, &p, c, i);
            else find_contexts(m, &p, g, c, i, &w);
            Sum *magnitude = magnitude_sums(&p, i), *value = value_sums(&p, i);
            size_t row = ((size_t)c * g->rows + i) * g->cols;
            int32_t *a = magnitude_row(&p, c, i), *v = value_row(&p, c, i);
            for (int j = 0; j < g->cols; j++) {
                Context k;
                if (follows) {
                    left_terms(m, c, j, a, v, magnitude, value);
                    k = context_at(m, c, integer_of(magnitude[j]), integer_of(value[j]), g->up[i * g->cols + j]);
                } else k = stored(&w, i * g->cols + j);
                k = of_quantizer(k, quantizer_of(state));
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
    release(&p), free(w.table);
    return result;
}

#endif
