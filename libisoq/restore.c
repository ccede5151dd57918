#include <float.h>
#include <math.h>
#include <string.h>

#include "tile.h"

/* ---- Ranges (6.2.1) ---- */

static int impossible(isoq_tile *tile) {
    return isoq_damaged(tile->work, "a tile has an impossible range of values");
}

/* Read the low ends (side 0) or the high ones (side 1) of the bands that have one. */
static int read_ends(isoq_tile *tile, const uint8_t *sides, int side, isoq_bytes *part,
                     double *ends) {
    double held;
    int64_t last = 0;
    for (int b = 0; b < tile->bands; b++) {
        if (!(sides[b / 4] >> (7 - (2 * b + side) % 8) & 1)) continue;
        if (tile->type == ISOQ_SAMPLE_FLOAT32)
            ends[b] = (double)isoq_take_f32(part);
        else {
            int64_t change = isoq_take_signed(part);
            if (change > INT64_C(1) << 40 || change < -(INT64_C(1) << 40)) return impossible(tile);
            last += change;
            ends[b] = (double)last;
        }
        if (part->is_damaged || !isfinite(ends[b]) || !isoq_holds(tile->type, ends[b], &held))
            return impossible(tile);
    }
    return 1;
}

int isoq_read_ranges(isoq_tile *tile, isoq_bytes part) {
    size_t bands = (size_t)tile->bands;
    double least, most;
    const uint8_t *sides = isoq_take_bytes(&part, (bands + 3) / 4);
    if (!sides) return impossible(tile);
    for (size_t k = 2 * bands; k % 8; k++)
        if (sides[k / 8] >> (7 - k % 8) & 1) return impossible(tile);
    tile->low = (double *)isoq_allocate(tile->work, bands, sizeof *tile->low);
    tile->high = (double *)isoq_allocate(tile->work, bands, sizeof *tile->high);
    if (!tile->low || !tile->high) return 0;
    isoq_type_limits(tile->type, &least, &most);
    for (size_t b = 0; b < bands; b++) {
        tile->low[b] = least;
        tile->high[b] = most;
    }
    if (!read_ends(tile, sides, 0, &part, tile->low) ||
        !read_ends(tile, sides, 1, &part, tile->high) || part.left)
        return impossible(tile);
    for (size_t b = 0; b < bands; b++)
        if (tile->low[b] > tile->high[b]) return impossible(tile);
    return 1;
}

/* ---- Special values ---- */

/* What samples of a band become. */
typedef struct {
    double low, high, nodata, beside, masked;
    int is_limited, has_nodata;
} rules;

/* Return the value next to one of a type: the one above, if there is one. */
static double beside(isoq_sample_type type, double value) {
    double least, most;
    isoq_type_limits(type, &least, &most);
    if (type != ISOQ_SAMPLE_FLOAT32) return value < most ? value + 1 : value - 1;
    float up = nextafterf((float)value, INFINITY);
    return (double)(isfinite(up) ? up : nextafterf((float)value, -INFINITY));
}

static rules rules_of(const isoq_tile *tile, int band) {
    rules rule = {0};
    double least, most;
    isoq_type_limits(tile->type, &least, &most);
    rule.low = tile->low ? tile->low[band] : least;
    rule.high = tile->high ? tile->high[band] : most;
    rule.is_limited = rule.low > least || rule.high < most;
    rule.has_nodata =
        tile->has_nodata[band] && isoq_holds(tile->type, tile->nodata[band], &rule.nodata);
    if (rule.has_nodata) {
        rule.beside = beside(tile->type, rule.nodata);
        rule.masked = rule.nodata;
    }
    return rule;
}

/* Return what a sample of a class becomes. */
static double restored(const rules *rule, isoq_sample_type type, isoq_class class_of, double x) {
    if (rule->is_limited) x = x < rule->low ? rule->low : x > rule->high ? rule->high : x;
    if (class_of == ISOQ_CLASS_VALID)
        return rule->has_nodata && x == rule->nodata ? rule->beside : x;
    if (class_of == ISOQ_CLASS_NODATA) return rule->has_nodata ? rule->nodata : x;
    if (class_of == ISOQ_CLASS_MASKED) return rule->masked;
    if (type != ISOQ_SAMPLE_FLOAT32) return x;
    return class_of == ISOQ_CLASS_NAN             ? (double)NAN
           : class_of == ISOQ_CLASS_PLUS_INFINITY ? (double)INFINITY
                                                  : -(double)INFINITY;
}

#define RESTORE_VALID(type)                                        \
    do {                                                           \
        type *plane = (type *)samples;                             \
        const type low = (type)rule->low, high = (type)rule->high; \
        const type from = (type)nodata, to = (type)beside_nodata;  \
        for (size_t k = 0; k < count; k++) {                       \
            type x = plane[k];                                     \
            x = x < low ? low : x;                                 \
            x = x > high ? high : x;                               \
            plane[k] = x == from ? to : x;                         \
        }                                                          \
    } while (0)

/* Restore samples that are all valid: what `restored` does, in loops that become vectors. */
static void restore_valid(const rules *rule, isoq_sample_type type, void *samples, size_t count) {
    double nodata = rule->has_nodata ? rule->nodata : rule->low;
    double beside_nodata = rule->has_nodata ? rule->beside : rule->low;
    switch (type) {
        case ISOQ_SAMPLE_UINT8:
            RESTORE_VALID(uint8_t);
            break;
        case ISOQ_SAMPLE_UINT16:
            RESTORE_VALID(uint16_t);
            break;
        case ISOQ_SAMPLE_INT16:
            RESTORE_VALID(int16_t);
            break;
        case ISOQ_SAMPLE_INT32:
            RESTORE_VALID(int32_t);
            break;
        case ISOQ_SAMPLE_FLOAT32:
            RESTORE_VALID(float);
            break;
    }
}

static void restore_band(isoq_tile *tile, int band) {
    rules rule = rules_of(tile, band);
    size_t count = (size_t)tile->out_rows * (size_t)tile->out_cols;
    const uint8_t *classes = tile->out_classes ? tile->out_classes + (size_t)band * count : NULL;
    void *samples = isoq_plane(tile, band);
    if (!classes) {
        if (rule.is_limited || rule.has_nodata) restore_valid(&rule, tile->type, samples, count);
        return;
    }
    for (size_t k = 0; k < count; k++) {
        /* A NaN that stays keeps its bits. */
        double before = isoq_get_sample(samples, tile->type, k);
        double after = restored(&rule, tile->type, (isoq_class)classes[k], before);
        if (memcmp(&after, &before, sizeof after)) isoq_set_sample(samples, tile->type, k, after);
    }
}

void isoq_restore(isoq_tile *tile) {
    for (int b = 0; b < tile->bands; b++)
        if (!tile->is_exact[b]) restore_band(tile, b);
}
