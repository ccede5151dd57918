#include "limited.h"

#include "../src/isoq/tile/predictive/predictive.h"
#include "mapping.h"

/* Bands that are predicted from each other (6.9): the fields in front of the stream. */

enum { WHOLE = 1, LOSSY = 2, VARIED = 4, MOST_STEP = INT32_MAX - ISOQ_STEP_PARTS + 1 };

/* What is known of a group before its samples. Arrays of `plan` are these ones. */
typedef struct {
    int bands, flags;
    isoq_mapping *mapping;                  /* (bands,) */
    int32_t *reference, *weight, *activity; /* see isoq_plan */
    int32_t *range, *step;
    int64_t *avoided, *base; /* base: step of each band, in 1/8 */
    uint8_t *repeats, *valid;
    size_t blocks;
} plan;

static int damaged(isoq_tile *tile) {
    return isoq_damaged(tile->work, "predicted bands do not decode");
}

static int allocate_plan(isoq_tile *tile, plan *made) {
    isoq_work *work = tile->work;
    size_t bands = (size_t)made->bands, pixels = (size_t)tile->rows * (size_t)tile->cols;
    made->blocks = (size_t)tile->grid_rows * (size_t)tile->grid_cols;
    made->mapping = (isoq_mapping *)isoq_allocate(work, bands, sizeof *made->mapping);
    made->reference = (int32_t *)isoq_allocate(work, bands, ISOQ_REFERENCES * sizeof(int32_t));
    made->weight = (int32_t *)isoq_allocate(work, bands, ISOQ_TAPS * sizeof(int32_t));
    made->activity = (int32_t *)isoq_allocate(work, bands, ISOQ_ACTIVITIES * sizeof(int32_t));
    made->range = (int32_t *)isoq_allocate(work, bands, 2 * sizeof(int32_t));
    made->step = (int32_t *)isoq_allocate(work, bands * made->blocks, sizeof(int32_t));
    made->avoided = (int64_t *)isoq_allocate(work, bands, sizeof(int64_t));
    made->base = (int64_t *)isoq_allocate(work, bands, sizeof(int64_t));
    made->repeats = (uint8_t *)isoq_allocate(work, bands, 1);
    made->valid = (uint8_t *)isoq_allocate_raw(work, bands, pixels);
    return made->mapping && made->reference && made->weight && made->activity && made->range &&
           made->step && made->avoided && made->base && made->repeats && made->valid;
}

/* Read the fields of band `k`. */
static int read_band(isoq_tile *tile, isoq_bytes *part, plan *made, int k) {
    if (!isoq_read_mapping(tile, part, made->mapping + k)) return 0;
    made->range[2 * k] = (int32_t)made->mapping[k].least;
    made->range[2 * k + 1] = (int32_t)made->mapping[k].most;
    made->repeats[k] = (uint8_t)isoq_take_u8(part);
    uint64_t step = isoq_take_varint(part), references = isoq_take_varint(part);
    made->base[k] = step > MOST_STEP ? (int64_t)MOST_STEP + 1 : (int64_t)step;
    if (made->repeats[k] > 1 || references > ISOQ_REFERENCES) return damaged(tile);
    for (int r = 0; r < ISOQ_REFERENCES; r++) {
        uint64_t distance = r < (int)references ? isoq_take_varint(part) : 0;
        if (r < (int)references && (distance < 1 || distance > (uint64_t)k)) return damaged(tile);
        made->reference[k * ISOQ_REFERENCES + r] = distance ? k - (int32_t)distance : -1;
    }
    return part->is_damaged ? damaged(tile) : 1;
}

/* ---- Numbers ---- */

static int count_references(const plan *made, int k) {
    int count = 0;
    while (count < ISOQ_REFERENCES && made->reference[k * ISOQ_REFERENCES + count] >= 0) count++;
    return count;
}

/* Set the sizes of the five sequences. */
static void measure(const plan *made, size_t size[5]) {
    for (int k = 0; k < made->bands; k++) {
        int references = count_references(made, k);
        size[0] += ISOQ_OWN_TAPS - 1;
        for (int r = 0; r < references; r++) size[1] += (size_t)isoq_taps_of(r) - 1;
        size[2] += references ? ISOQ_ACTIVITIES : ISOQ_OWN_ACTIVITIES;
        size[3] += (size_t)made->mapping[k].missing;
        size[4] += made->flags & VARIED ? made->blocks : 0;
    }
}

/* Set the weights of one source of a band, `taps` of them, of which all but the first are stored;
   the sum is known. Return what follows the stored ones, null if a weight is impossible. */
static const int32_t *take_weights(const int32_t *stored, int taps, int64_t sum, int32_t *weight) {
    for (int k = 1; k < taps; k++) {
        if (stored[k - 1] <= -ISOQ_MAX_WEIGHT || stored[k - 1] >= ISOQ_MAX_WEIGHT) return NULL;
        weight[k] = stored[k - 1];
        sum -= weight[k];
    }
    weight[0] = (int32_t)sum;
    return sum > -ISOQ_MAX_WEIGHT && sum < ISOQ_MAX_WEIGHT ? stored + taps - 1 : NULL;
}

/* Set the weights of band `k`, and move the sequences that they come from. */
static int settle_weights(const plan *made, int k, const int32_t **own, const int32_t **other) {
    int32_t *weight = made->weight + (size_t)k * ISOQ_TAPS;
    *own = take_weights(*own, ISOQ_OWN_TAPS, 1 << ISOQ_WEIGHT_BITS, weight);
    weight += ISOQ_OWN_TAPS;
    for (int r = 0; *own && *other && r < count_references(made, k); r++) {
        *other = take_weights(*other, isoq_taps_of(r), 0, weight);
        weight += isoq_taps_of(r);
    }
    return *own && *other;
}

static int settle_activities(const plan *made, int k, const int32_t **active) {
    int number = count_references(made, k) ? ISOQ_ACTIVITIES : ISOQ_OWN_ACTIVITIES;
    for (int a = 0; a < number; a++) {
        int32_t activity = *(*active)++;
        if (activity < 0 || activity > ISOQ_MAX_ACTIVITY) return 0;
        made->activity[(size_t)k * ISOQ_ACTIVITIES + (size_t)a] = activity;
    }
    return 1;
}

/* Set the steps of band `k`. change: (blocks,), null if they do not change. */
static int settle_steps(const plan *made, int k, const int32_t *change) {
    for (size_t j = 0; j < made->blocks; j++) {
        int64_t step = made->base[k] + (change ? change[j] : 0);
        if (step < ISOQ_STEP_PARTS || step > MOST_STEP) return 0;
        made->step[(size_t)k * made->blocks + j] = (int32_t)step;
    }
    return 1;
}

/* Read the numbers, and complete the plan. */
static int read_numbers(isoq_tile *tile, isoq_bytes *part, plan *made) {
    size_t size[5] = {0};
    measure(made, size);
    size_t all = size[0] + size[1] + size[2] + size[3] + size[4];
    int32_t *values = (int32_t *)isoq_allocate(tile->work, all, sizeof *values);
    if (!values || !isoq_take_sequences(tile->work, part, size, 5, values,
                                        "the weights of a prediction do not decode"))
        return 0;
    const int32_t *own = values, *other = own + size[0], *active = other + size[1];
    const int32_t *gaps = active + size[2], *change = gaps + size[3];
    for (int k = 0; k < made->bands; k++) {
        if (!settle_weights(made, k, &own, &other) || !settle_activities(made, k, &active) ||
            !settle_steps(made, k, size[4] ? change : NULL))
            return damaged(tile);
        if (!isoq_settle_mapping(tile, made->mapping + k, gaps)) return 0;
        gaps += made->mapping[k].missing;
        if (size[4]) change += made->blocks;
    }
    return 1;
}

/* ---- Samples ---- */

/* Mark the samples that are coded, and the integers that none of them has. */
static void find_valid(const isoq_tile *tile, int first, plan *made) {
    size_t pixels = (size_t)tile->rows * (size_t)tile->cols, count = (size_t)made->bands * pixels;
    const uint8_t *classes = tile->classes ? tile->classes + (size_t)first * pixels : NULL;
    int is_whole = made->flags & WHOLE;
    for (size_t k = 0; k < count; k++)
        made->valid[k] = is_whole || !classes || classes[k] == ISOQ_CLASS_VALID;
    for (int k = 0; k < made->bands; k++)
        made->avoided[k] =
            is_whole ? INT64_C(1) << 40 : isoq_avoided_integer(tile, made->mapping + k, first + k);
}

/* Decode the stream, and turn its integers into samples. */
static int decode_stream(isoq_tile *tile, isoq_bytes stream, const plan *made, void *samples) {
    size_t pixels = (size_t)tile->rows * (size_t)tile->cols;
    size_t size = isoq_sample_size(tile->type);
    int32_t *planes =
        (int32_t *)isoq_allocate_raw(tile->work, (size_t)made->bands * pixels, sizeof *planes);
    const isoq_extent extent = {made->bands, tile->rows,      tile->cols,
                                tile->block, tile->grid_cols, made->valid};
    const isoq_plan told = {made->reference, made->weight,  made->activity, made->range,
                            made->avoided,   made->repeats, made->step};
    if (!planes) return 0;
    if (isoq_decode_planes(&extent, &told, stream.at, stream.left, planes)) return damaged(tile);
    for (int k = 0; k < made->bands; k++)
        isoq_map_samples(tile, made->mapping + k, planes + (size_t)k * pixels,
                         (uint8_t *)samples + (size_t)k * pixels * size, pixels);
    return 1;
}

int isoq_decode_predicted(isoq_tile *tile, const isoq_group *group, void *samples) {
    isoq_bytes part = group->part;
    plan made = {.bands = group->bands, .flags = (int)isoq_take_u8(&part)};
    if (made.flags > (WHOLE | LOSSY | VARIED))
        return isoq_fail(tile->work, ISOQ_ERROR_UNSUPPORTED,
                         "predicted bands are of an unknown kind; use a newer library");
    if (!allocate_plan(tile, &made)) return 0;
    for (int k = 0; k < made.bands; k++)
        if (!read_band(tile, &part, &made, k)) return 0;
    if (!read_numbers(tile, &part, &made)) return 0;
    find_valid(tile, group->first, &made);
    return decode_stream(tile, part, &made, samples);
}
