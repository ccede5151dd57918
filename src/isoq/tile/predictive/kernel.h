/* Predictive coding of integer planes: linear prediction with weights that stand in the stream, residuals quantized inside the loop, tables of
   counts chosen by the residuals around. What is sequential per sample and therefore compiled. Integer arithmetic only; docs/format.md,
   section 6.9, says the same in words. */
#ifndef ISOQ_PREDICTIVE_H
#define ISOQ_PREDICTIVE_H

#include "../../entropy/coder.h" /* rANS */

enum {
    PAD = 2,                 /* samples that planes continue to the left and right, and upwards; one downwards */
    REFERENCES = 3,          /* earlier planes that a plane may look at */
    TAPS = 29,               /* 10 in the plane itself, 9 in the first reference, 5 in each other */
    OWN_TAPS = 10,
    ACTIVITIES = 11,         /* 6 in the plane itself, 5 in the first reference */
    WEIGHT_BITS = 10,        /* a weight of 1 */
    ACTIVITY_BITS = 7,
    MAX_WEIGHT = 1 << 14,
    MAX_ACTIVITY = 1 << 8,
    FRACTION = 16,           /* units of predictions and magnitudes per unit of samples */
    MAX_DISTANCE = (1 << 30) - 1, /* magnitudes beyond count as this */
    DEGREES = 144,           /* of expected magnitude, 4 per octave */
    STEP_PARTS = 8,
    GAIN = 32,               /* what an occurrence counts */
    EXPECTED = 24,           /* occurrences that the first table counts as */
    OLDEST = 4096,           /* occurrences after which the past counts half */
    LONGEST = 34,            /* bits of an escaped value */
    REPEAT_WEST = 64,        /* contexts of repeated samples */
    REPEAT_NORTH = 32,
    REPEAT_RATE = 7
};

/* Where the weights belong: row, column. The first two are of the row itself and of an earlier sample. */
static const int8_t OWN_PLACES[OWN_TAPS][2] = {{0, -1}, {0, -2}, {-1, 0}, {-1, -1}, {-1, 1}, {-2, 0}, {-2, 1}, {-1, 2}, {-1, -2}, {-2, -1}};
static const int8_t REFERENCE_PLACES[9][2] = {{0, -1}, {0, 0}, {-1, 0}, {0, 1}, {1, 0}, {-1, -1}, {-1, 1}, {1, -1}, {1, 1}};
static const int32_t TURNS[STEP_PARTS] = {0, 4, 2, 6, 1, 5, 3, 7}; /* rows whose step is rounded up, one after the other */
static const int8_t OWN_ACTIVITIES[6][2] = {{0, -1}, {0, -2}, {-1, 0}, {-1, -1}, {-1, 1}, {-2, 0}};
static const int8_t REFERENCE_ACTIVITIES[5][2] = {{0, 0}, {0, 1}, {1, 0}, {0, -1}, {-1, 0}};

typedef struct { /* of each plane */
    const int32_t *reference; /* (planes, REFERENCES): earlier planes, -1 for none, none behind one that is none */
    const int32_t *weight;    /* (planes, TAPS), below MAX_WEIGHT in magnitude */
    const int32_t *activity;  /* (planes, ACTIVITIES), 0 ... MAX_ACTIVITY */
    const int32_t *range;     /* (planes, 2): least and largest valid sample */
    const int64_t *avoided;   /* (planes,): no valid sample is decoded to this; out of reach for none */
    const uint8_t *repeats;   /* (planes,): whether repeated samples are flagged */
    const int32_t *step;      /* (planes, grid rows, grid cols): of quantization, in 1/8: 8 for none, 12 for 1 and 2 in turn */
} Plan;

typedef struct {
    int planes, rows, cols, block, grid_cols;
    const uint8_t *valid; /* (planes, rows, cols) */
} Extent;

typedef struct { /* how often each symbol was seen, and the cumulative frequencies that were made of it */
    uint32_t count[SYMBOLS], total, seen, next;
    uint16_t cdf[SYMBOLS + 1];
} Histogram;

typedef struct {
    Histogram degree[DEGREES];
    uint16_t west[REPEAT_WEST], north[REPEAT_NORTH]; /* probability of a repetition, 1/2^16 */
    int32_t *value, *distance;                       /* planes with their pads */
    int64_t *prediction, *activity, *step;           /* of a row */
    size_t stride, size;
    Reader reader;
    SlotList *list;
} Coder;

/* Compiled for several kinds of processors, of which the program takes its own. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define CLONED __attribute__((target_clones("avx512f", "arch=haswell", "default")))
#else
#define CLONED
#endif

static int low_bits_of(int degree) { return degree / 4 > 4 ? degree / 4 - 4 : 0; }

static void rebuild(Histogram *h) {
    uint64_t sum = 0;
    for (int s = 0; s < SYMBOLS; s++) {
        h->cdf[s] = (uint16_t)(s + sum * ((1u << PRECISION) - SYMBOLS) / h->total);
        sum += h->count[s];
    }
    h->cdf[SYMBOLS] = 1u << PRECISION;
}

static void observe(Histogram *h, int symbol) {
    h->count[symbol] += GAIN;
    h->total += GAIN;
    if (++h->seen < h->next) return;
    if (h->seen >= OLDEST) {
        h->total = 0;
        for (int s = 0; s < SYMBOLS; s++) {
            h->count[s] = (h->count[s] + 1) / 2;
            h->total += h->count[s];
        }
        h->seen /= 2;
    }
    h->next = h->seen + (h->seen < 8 ? 8 : h->seen < 256 ? h->seen : 256);
    rebuild(h);
}

/* Before anything is seen: two-sided geometric, with the mean magnitude that the degree stands for. */
static void expect(Histogram *h, int degree) {
    uint32_t octave = (uint32_t)degree / 4, p = 1u << 10, sum = 0, weight[SYMBOLS]; /* m in 1/32 of what a symbol stands for */
    uint32_t m = octave ? (2 * (4 + (uint32_t)degree % 4) + 1) << (octave < 4 ? octave - 1 : 3) : 2 * (uint32_t)degree + 1;
    for (int k = 0; k <= REACH; k++, p = p * m / (m + 32)) weight[REACH + k] = weight[REACH - k] = p + 1;
    weight[ESCAPE] = 1;
    for (int s = 0; s < SYMBOLS; s++) sum += weight[s];
    h->total = 0, h->seen = 0, h->next = 8;
    for (int s = 0; s < SYMBOLS; s++) {
        h->count[s] = weight[s] * EXPECTED * GAIN / sum + 1;
        h->total += h->count[s];
    }
    rebuild(h);
}

static inline int degree_of(uint64_t magnitude) { /* 1/16 step */
    if (magnitude < 4) return (int)magnitude;
    int octave = 63 - __builtin_clzll(magnitude), degree = 4 * (octave - 1) + (int)(magnitude >> (octave - 2) & 3);
    return degree < DEGREES ? degree : DEGREES - 1;
}

static void push_long(SlotList *list, uint64_t value, int bits) {
    if (bits > 24) push_bits(list, (uint32_t)value & 0xffffff, 24), value >>= 24, bits -= 24;
    push_bits(list, (uint32_t)value, bits);
}

static uint64_t read_long(Reader *r, int bits) {
    if (bits <= 24) return read_bits(r, bits);
    uint64_t low = read_bits(r, 24);
    return low | (uint64_t)read_bits(r, bits - 24) << 24;
}

static inline void put_residual(Coder *c, int degree, int64_t q) {
    Histogram *h = &c->degree[degree];
    int low = low_bits_of(degree);
    int64_t v = q >> low;
    int escaped = v < -REACH || v > REACH, s = escaped ? ESCAPE : (int)v + REACH;
    push(c->list, h->cdf[s], h->cdf[s + 1] - h->cdf[s]);
    if (escaped) {
        uint64_t beyond = (uint64_t)(v < 0 ? -v : v) - REACH;
        int n = 64 - __builtin_clzll(beyond);
        push_bits(c->list, (uint32_t)n, 6);
        push_long(c->list, beyond & ((1ull << (n - 1)) - 1), n - 1);
        push_bits(c->list, v < 0, 1);
    }
    if (low <= 12 && c->list->count < c->list->capacity) { /* whether there are any is hard to foresee: no branch on it */
        Slot *next = c->list->slots + c->list->count;
        next->start = (uint16_t)(((uint64_t)q & ((1ull << low) - 1)) << (PRECISION - low));
        next->freq = (uint16_t)(1u << (PRECISION - low));
        c->list->count += low > 0;
    } else {
        push_long(c->list, (uint64_t)q & ((1ull << low) - 1), low);
    }
    observe(h, s);
}

static inline int64_t take_residual(Coder *c, int degree) {
    Histogram *h = &c->degree[degree];
    int low = low_bits_of(degree), s = (int)find_symbol(h->cdf, peek(&c->reader));
    int64_t v = s - REACH;
    advance(&c->reader, h->cdf[s], h->cdf[s + 1] - h->cdf[s]);
    if (s == ESCAPE) {
        int n = (int)read_bits(&c->reader, 6);
        if (n < 1 || n > LONGEST) c->reader.failed = 1, n = 1;
        v = (int64_t)(1ull << (n - 1) | read_long(&c->reader, n - 1)) + REACH;
        if (read_bits(&c->reader, 1)) v = -v;
    }
    observe(h, s);
    if (v > (1ll << LONGEST) >> low || v < -((1ll << LONGEST) >> low)) {
        c->reader.failed = 1;
        return 0;
    }
    return v * (1ll << low) + (int64_t)read_long(&c->reader, low);
}

static inline int code_flag(Coder *c, uint16_t *chance, int flag, const int decoding) {
    uint32_t p = *chance >> (16 - PRECISION), least = 1u << (PRECISION - 9);
    p = p < least ? least : p > (1u << PRECISION) - least ? (1u << PRECISION) - least : p;
    if (decoding) {
        flag = peek(&c->reader) < p;
        advance(&c->reader, flag ? 0 : p, flag ? p : (1u << PRECISION) - p);
    } else {
        push(c->list, flag ? 0 : p, flag ? p : (1u << PRECISION) - p);
    }
    *chance = (uint16_t)(flag ? *chance + ((0xffff - *chance) >> REPEAT_RATE) : *chance - (*chance >> REPEAT_RATE));
    return flag;
}

static inline int32_t *at_row(const Coder *c, int32_t *planes, int plane, int row) {
    return planes + (size_t)plane * c->size + (size_t)(row + PAD) * c->stride + PAD;
}

typedef struct { /* of sums over rows */
    const int32_t *from[TAPS + 3];
    int32_t weight[TAPS + 3];
    int count;
} Terms;

static void add_term(Terms *t, const Coder *c, int32_t *planes, int plane, int row, const int8_t *place, int32_t weight) {
    if (!weight) return;
    t->from[t->count] = at_row(c, planes, plane, row + place[0]) + place[1];
    t->weight[t->count++] = weight;
}

/* Four at a time: loading and storing the sum takes as long as the products. */
CLONED static void add_four(int64_t *restrict to, const int32_t *const *from, const int32_t *weight, int n) {
    const int32_t *restrict a = from[0], *restrict b = from[1], *restrict c = from[2], *restrict d = from[3];
    const int32_t wa = weight[0], wb = weight[1], wc = weight[2], wd = weight[3];
    for (int j = 0; j < n; j++) to[j] += (int64_t)wa * a[j] + (int64_t)wb * b[j] + (int64_t)wc * c[j] + (int64_t)wd * d[j];
}

static void sum_terms(int64_t *to, Terms *t, int cols) {
    memset(to, 0, cols * sizeof(int64_t));
    for (; t->count % 4; t->count++) t->from[t->count] = t->from[0], t->weight[t->count] = 0;
    for (int k = 0; k < t->count; k += 4) add_four(to, t->from + k, t->weight + k, cols);
}

/* What the prediction and the expected magnitude of a row take from elsewhere than from the row itself. */
static void from_elsewhere(const Coder *c, const Plan *plan, int plane, int row, int cols) {
    const int32_t *w = plan->weight + (size_t)plane * TAPS, *a = plan->activity + (size_t)plane * ACTIVITIES;
    const int32_t *reference = plan->reference + (size_t)plane * REFERENCES;
    Terms value = {.count = 0}, distance = {.count = 0};
    if (row > 0) {
        for (int k = 2; k < OWN_TAPS; k++) add_term(&value, c, c->value, plane, row, OWN_PLACES[k], w[k]);
        for (int k = 2; k < 6; k++) add_term(&distance, c, c->distance, plane, row, OWN_ACTIVITIES[k], a[k]);
    }
    w += OWN_TAPS;
    for (int r = 0; r < REFERENCES && reference[r] >= 0; r++) {
        int taps = r ? 5 : 9;
        for (int k = 0; k < taps; k++) add_term(&value, c, c->value, reference[r], row, REFERENCE_PLACES[k], w[k]);
        w += taps;
    }
    if (reference[0] >= 0)
        for (int k = 0; k < 5; k++) add_term(&distance, c, c->distance, reference[0], row, REFERENCE_ACTIVITIES[k], a[6 + k]);
    sum_terms(c->prediction, &value, cols);
    sum_terms(c->activity, &distance, cols);
}

static void steps_of(const Coder *c, const Extent *e, const Plan *plan, int plane, int row) {
    const int32_t *step = plan->step + ((size_t)plane * ((e->rows + e->block - 1) / e->block) + row / e->block) * e->grid_cols;
    for (int j = 0; j < e->grid_cols; j++) {
        int64_t rounded = ((int64_t)step[j] + TURNS[row % STEP_PARTS]) / STEP_PARTS;
        int end = (j + 1) * e->block < e->cols ? (j + 1) * e->block : e->cols;
        for (int k = j * e->block; k < end; k++) c->step[k] = rounded;
    }
}

static inline int64_t limited(int64_t v, int64_t least, int64_t most) { return v < least ? least : v > most ? most : v; }

/* The number of steps nearest to `off`. */
static inline int64_t steps_to(int64_t off, int64_t step) {
    if (step == 1) return off;
    return off >= 0 ? (off + step / 2) / step : -((-off + step / 2) / step);
}

static inline int64_t placed(int64_t rounded, int64_t q, int64_t step, int64_t least, int64_t most, int64_t avoided) {
    int64_t x = limited(rounded + q * step, least, most);
    return x != avoided ? x : x < most ? x + 1 : x - 1;
}

/* Whether all samples of a row are coded, as they are and without flags. */
static int is_plain(const Coder *c, const Extent *e, const Plan *plan, int plane, int row) {
    if (plan->repeats[plane] || plan->range[2 * plane] == plan->range[2 * plane + 1]) return 0;
    for (int k = 0; k < e->cols; k += e->block)
        if (c->step[k] != 1) return 0;
    return !memchr(e->valid + ((size_t)plane * e->rows + row) * e->cols, 0, (unsigned)e->cols);
}

/* The same as `code_row` finds one by one, of such a row v: predictions become residuals, activities the expected magnitudes. */
CLONED static void plain_row(int64_t *restrict prediction, int64_t *restrict activity, const int32_t *v, int32_t *d, const int32_t *weight,
                             int64_t least, int64_t most, int n) {
    for (int j = 0; j < n; j++) {
        int64_t mu = (prediction[j] + (int64_t)weight[0] * v[j - 1] + (int64_t)weight[1] * v[j - 2]) >> (WEIGHT_BITS - 4);
        mu = limited(mu, FRACTION * least, FRACTION * most);
        int64_t rounded = (mu + FRACTION / 2) >> 4, q = v[j] - rounded, off = FRACTION * (int64_t)v[j] - mu;
        prediction[j] = mu < FRACTION * rounded ? -q : q;
        d[j] = (int32_t)limited(off < 0 ? -off : off, 0, MAX_DISTANCE);
    }
    for (int j = 0; j < n; j++)
        activity[j] = (activity[j] + (int64_t)weight[2] * d[j - 1] + (int64_t)weight[3] * d[j - 2]) >> ACTIVITY_BITS;
}

/* One row; wanted: its samples (the encoder). */
static inline void code_row(Coder *c, const Extent *e, const Plan *plan, int plane, int row, const int32_t *wanted, const int decoding) {
    const int32_t *w = plan->weight + (size_t)plane * TAPS, *a = plan->activity + (size_t)plane * ACTIVITIES;
    const int64_t least = plan->range[2 * plane], most = plan->range[2 * plane + 1], avoided = plan->avoided[plane];
    const int first = plan->reference[(size_t)plane * REFERENCES], repeats = plan->repeats[plane];
    const uint8_t *valid = e->valid + ((size_t)plane * e->rows + row) * e->cols;
    int32_t *v = at_row(c, c->value, plane, row), *d = at_row(c, c->distance, plane, row);
    const int32_t *n = v - c->stride, *nn = n - c->stride, *dn = d - c->stride, *ref = first >= 0 ? at_row(c, c->value, first, row) : 0;
    int64_t west = w[0], far_west = w[1], near = a[0], far = a[1];
    if (!row) { /* nothing above: as if all of it were the sample to the west */
        west = (1 << WEIGHT_BITS) - far_west;
        near += a[2] + a[3] + a[4] + a[5];
    }
    if (!decoding && is_plain(c, e, plan, plane, row)) {
        const int32_t weight[4] = {(int32_t)west, (int32_t)far_west, (int32_t)near, (int32_t)far};
        memcpy(v, wanted, (size_t)e->cols * sizeof(int32_t));
        plain_row(c->prediction, c->activity, v, d, weight, least, most, e->cols);
        for (int j = 0; j < e->cols; j++) put_residual(c, degree_of((uint64_t)c->activity[j]), c->prediction[j]);
        return;
    }
    for (int j = 0; j < e->cols; j++) {
        const int64_t step = c->step[j];
        int64_t mu = (c->prediction[j] + west * v[j - 1] + far_west * v[j - 2]) >> (WEIGHT_BITS - 4);
        mu = limited(mu, FRACTION * least, FRACTION * most);
        if (least == most) {
            v[j] = (int32_t)least;
            d[j] = 0;
            continue;
        }
        if (!valid[j]) {
            v[j] = row ? (int32_t)(((int64_t)v[j - 1] + n[j] + 1) >> 1) : v[j - 1];
            d[j] = row ? (d[j - 1] + dn[j]) / 2 : d[j - 1];
            continue;
        }
        if (repeats && row) {
            int context = (n[j] == n[j - 1]) | (n[j + 1] == n[j]) << 1 | (n[j - 1] == n[j - 2]) << 2 | (v[j - 1] == v[j - 2]) << 3 |
                          (nn[j] == nn[j - 1]) << 4 | (ref && ref[j] == ref[j - 1]) << 5;
            int same = !decoding && j && wanted[j] == wanted[j - 1] && llabs((int64_t)wanted[j] - v[j - 1]) <= step / 2;
            int32_t from = v[j - 1];
            same = code_flag(c, &c->west[context], same, decoding);
            if (!same && n[j] != from) {
                context = (v[j - 1] == n[j - 1]) | (v[j - 2] == n[j - 2]) << 1 | (n[j] == nn[j]) << 2 | (n[j + 1] == nn[j + 1]) << 3 |
                          (ref && ref[j] == ref[j - (ptrdiff_t)c->stride]) << 4;
                from = n[j];
                same = !decoding && wanted[j] == wanted[j - e->cols] && llabs((int64_t)wanted[j] - from) <= step / 2;
                same = code_flag(c, &c->north[context], same, decoding);
            }
            if (same) {
                v[j] = from;
                d[j] = (d[j - 1] + dn[j]) / 2;
                continue;
            }
        }
        int64_t rounded = (mu + FRACTION / 2) >> 4, fraction = mu - FRACTION * rounded, q, x;
        int64_t expected = (c->activity[j] + near * d[j - 1] + far * d[j - 2]) >> ACTIVITY_BITS;
        int flip = fraction < 0, degree = degree_of((uint64_t)(step == 1 ? expected : expected / step));
        if (decoding) {
            q = take_residual(c, degree);
            if (flip) q = -q;
            x = placed(rounded, q, step, least, most, avoided);
        } else {
            q = steps_to(wanted[j] - rounded, step);
            x = placed(rounded, q, step, least, most, avoided);
            if (llabs(x - wanted[j]) > step / 2) { /* moved away from what is avoided */
                q += wanted[j] < x ? -1 : 1;
                x = placed(rounded, q, step, least, most, avoided);
            }
            put_residual(c, degree, flip ? -q : q);
        }
        v[j] = (int32_t)x;
        d[j] = (int32_t)limited(llabs(FRACTION * x - mu), 0, MAX_DISTANCE);
    }
}

/* Continue a row that is complete, and where a plane begins or ends, its first and last. */
static void continue_row(const Coder *c, int32_t *planes, int plane, int row, const Extent *e) {
    int32_t *r = at_row(c, planes, plane, row);
    for (int k = 0; k < PAD; k++) r[e->cols + k] = r[e->cols - 1];
    size_t bytes = c->stride * sizeof(int32_t);
    if (!row)
        for (int k = 1; k <= PAD; k++) memcpy(r - PAD - k * c->stride, r - PAD, bytes);
    if (row == e->rows - 1) memcpy(r - PAD + c->stride, r - PAD, bytes);
    else
        for (int k = 1; k <= PAD; k++) r[(ptrdiff_t)c->stride - k] = r[0]; /* the beginning of the next */
}

static void release_coder(Coder *c) {
    if (c) free(c->value), free(c->distance), free(c->prediction), free(c->activity), free(c->step), free(c);
}

static Coder *new_coder(const Extent *e) {
    Coder *c = (Coder *)calloc(1, sizeof(Coder));
    if (!c) return 0;
    c->stride = (size_t)e->cols + 2 * PAD;
    c->size = ((size_t)e->rows + PAD + 1) * c->stride;
    c->value = (int32_t *)malloc(c->size * e->planes * 4);
    c->distance = (int32_t *)malloc(c->size * e->planes * 4);
    c->prediction = (int64_t *)malloc((size_t)e->cols * 8);
    c->activity = (int64_t *)malloc((size_t)e->cols * 8);
    c->step = (int64_t *)malloc((size_t)e->cols * 8);
    if (!c->value || !c->distance || !c->prediction || !c->activity || !c->step) {
        release_coder(c);
        return 0;
    }
    for (int k = 0; k < DEGREES; k++) expect(&c->degree[k], k);
    for (int k = 0; k < REPEAT_WEST; k++) c->west[k] = 1 << 12;
    for (int k = 0; k < REPEAT_NORTH; k++) c->north[k] = 1 << 12;
    return c;
}

static inline int code_planes(Coder *c, const Extent *e, const Plan *plan, int32_t *samples, const int decoding) {
    for (int plane = 0; plane < e->planes; plane++) {
        int32_t start = (int32_t)(((int64_t)plan->range[2 * plane] + plan->range[2 * plane + 1]) >> 1);
        for (int k = 1; k <= PAD; k++) at_row(c, c->value, plane, 0)[-k] = start, at_row(c, c->distance, plane, 0)[-k] = 0;
        for (int row = 0; row < e->rows; row++) {
            int32_t *own = samples + ((size_t)plane * e->rows + row) * e->cols;
            from_elsewhere(c, plan, plane, row, e->cols);
            steps_of(c, e, plan, plane, row);
            code_row(c, e, plan, plane, row, own, decoding);
            if (decoding) memcpy(own, at_row(c, c->value, plane, row), (size_t)e->cols * 4);
            continue_row(c, c->value, plane, row, e);
            continue_row(c, c->distance, plane, row, e);
            if (decoding ? c->reader.failed : c->list->failed) return 0;
        }
    }
    return 1;
}

/* Lists the slots of samples (planes, rows, cols), and puts what is decoded of them into `decoded`, unless it is null. Returns 0 without
   memory. */
static int encode_planes(const Extent *e, const Plan *plan, int32_t *samples, int32_t *decoded, SlotList *list) {
    Coder *c = new_coder(e);
    if (!c) return 0;
    c->list = list;
    int done = code_planes(c, e, plan, samples, 0);
    for (int plane = 0; done && decoded && plane < e->planes; plane++)
        for (int row = 0; row < e->rows; row++)
            memcpy(decoded + ((size_t)plane * e->rows + row) * e->cols, at_row(c, c->value, plane, row), (size_t)e->cols * 4);
    release_coder(c);
    return done;
}

/* 1: decoded; 0: the stream is damaged; -1: no memory. */
static int decode_planes(const Extent *e, const Plan *plan, const uint8_t *data, size_t size, int32_t *samples) {
    Coder *c = new_coder(e);
    if (!c) return -1;
    start_reader(&c->reader, data, size);
    int done = code_planes(c, e, plan, samples, 1) && finished(&c->reader);
    release_coder(c);
    return done;
}

#endif
