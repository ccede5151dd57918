#include "model.h"

#include <string.h>

/* The arrays of a context model (section 10), and what has to be true of them: then no sum of
   neighbours.h exceeds 2^51, and no index of the coder is out of bounds. isoq/entropy/context.py
   checks the same. */

enum { MOST_MAGNITUDE = 1 << 20, MOST_VALUE = 1 << 17 };

static int bad(isoq_model *model) {
    return isoq_bad_model(&model->work, "its context model is impossible");
}

/* Return the elements of an array, null unless it has this type and shape. cols: 0 for one
   dimension; rows: -1 for any number. */
static const void *find(const isoq_model *model, const char *name, const char *type, int64_t rows,
                        uint64_t cols) {
    const isoq_array *array = isoq_find_array(&model->arrays, name, type, cols ? 2 : 1);
    if (!array || (rows >= 0 && array->shape[0] != (uint64_t)rows) ||
        (cols && array->shape[1] != cols))
        return NULL;
    return array->data;
}

/* Find sparse weights, and check that their indices are in bounds. */
static int find_sparse(const isoq_model *model, const char *const names[4],
                       isoq_sparse_weights *weights) {
    const isoq_array *channel = isoq_find_array(&model->arrays, names[1], "<i4", 1);
    if (!channel) return 0;
    int64_t entries = (int64_t)channel->count;
    weights->start = (const int32_t *)find(model, names[0], "<i4", model->channels + 1, 0);
    weights->channel = (const int32_t *)find(model, names[1], "<i4", entries, 0);
    weights->place = (const int32_t *)find(model, names[2], "<i4", entries, 0);
    weights->weight = (const int32_t *)find(model, names[3], "<i4", entries, 0);
    if (!weights->start || !weights->place || !weights->weight || weights->start[0] != 0 ||
        weights->start[model->channels] != entries)
        return 0;
    for (int c = 0; c < model->channels; c++) {
        int32_t first = weights->start[c], end = weights->start[c + 1];
        if (first < 0 || end < first || end > entries) return 0;
        for (int32_t k = first; k < end; k++)
            if (weights->channel[k] < 0 || weights->channel[k] >= c || weights->place[k] < 0 ||
                weights->place[k] > 8)
                return 0;
    }
    return 1;
}

/* Return the sum of n magnitudes; -1 if one is negative and must not be. */
static int64_t load_of(const int32_t *weight, int64_t n, int may_be_negative) {
    int64_t sum = 0;
    for (int64_t k = 0; k < n; k++) {
        if (weight[k] < 0 && !may_be_negative) return -1;
        sum += weight[k] < 0 ? -(int64_t)weight[k] : weight[k];
    }
    return sum;
}

/* Check the sums of weights of a channel. */
static int check_channel(const isoq_context_model *context, int c) {
    const isoq_sparse_weights *around = &context->around, *value = &context->value;
    int32_t first = around->start[c], start = value->start[c];
    int64_t others = load_of(around->weight + first, around->start[c + 1] - first, 0);
    int64_t own = load_of(context->own + (ptrdiff_t)c * ISOQ_OWN, ISOQ_OWN, 0);
    int64_t values = load_of(value->weight + start, value->start[c + 1] - start, 1) +
                     load_of(context->own_value + (ptrdiff_t)c * ISOQ_OWN_VALUE, ISOQ_OWN_VALUE, 1);
    return context->bias[c] >= 0 && others >= 0 && own >= 0 && others + own <= MOST_MAGNITUDE &&
           values <= MOST_VALUE;
}

static int check_table(const uint16_t *cdf) {
    for (int k = 0; k < ISOQ_SYMBOLS; k++)
        if (cdf[k + 1] <= cdf[k]) return 0;
    return cdf[0] == 0 && cdf[ISOQ_SYMBOLS] == ISOQ_TOTAL;
}

/* Find the tables of `rows` rows, and turn offsets into steps. */
static int find_tables(isoq_model *model, int64_t rows) {
    isoq_context_model *context = &model->context;
    const int8_t *offset = (const int8_t *)find(model, "context_offset", "|i1", rows, ISOQ_SYMBOLS);
    context->cdf = (const uint16_t *)find(model, "context_cdf", "<u2", rows, ISOQ_SYMBOLS + 1);
    if (!offset || !context->cdf) return bad(model);
    for (int64_t k = 0; k < rows; k++)
        if (!check_table(context->cdf + k * (ISOQ_SYMBOLS + 1))) return bad(model);
    size_t count = (size_t)rows * ISOQ_SYMBOLS;
    float *steps = (float *)isoq_allocate(&model->work, count, sizeof *steps);
    if (!steps) return 0;
    for (size_t k = 0; k < count; k++) steps[k] = (float)offset[k] / 128;
    context->offset = steps;
    return 1;
}

int isoq_has_trellis(const isoq_model *model) {
    for (int k = 0; k < model->arrays.count; k++)
        if (!strcmp(model->arrays.array[k].name, "context_trellis")) return 1;
    return 0;
}

static int find_trellis(isoq_model *model) {
    if (!isoq_has_trellis(model)) return 1;
    const int32_t *of = (const int32_t *)find(model, "context_trellis", "<i4", 3, 0);
    model->context.trellis = &model->trellis;
    return of && isoq_make_trellis(&model->trellis, of[0], of[1], of[2]);
}

int isoq_make_context(isoq_model *model) {
    static const char *const around[] = {"context_around_start", "context_around_channel",
                                         "context_around_place", "context_around_weight"};
    static const char *const value[] = {"context_value_start", "context_value_channel",
                                        "context_value_place", "context_value_weight"};
    isoq_context_model *context = &model->context;
    int64_t channels = model->channels, groups = 0;
    context->own = (const int32_t *)find(model, "context_own", "<i4", channels, ISOQ_OWN);
    context->own_value =
        (const int32_t *)find(model, "context_own_value", "<i4", channels, ISOQ_OWN_VALUE);
    context->bias = (const int32_t *)find(model, "context_bias", "<i4", channels, 0);
    context->group = (const uint8_t *)find(model, "context_group", "|u1", channels, 0);
    if (!context->own || !context->own_value || !context->bias || !context->group ||
        !find_sparse(model, around, &context->around) ||
        !find_sparse(model, value, &context->value) || !find_trellis(model))
        return bad(model);
    for (int c = 0; c < channels; c++) {
        if (!check_channel(context, c)) return bad(model);
        if (context->group[c] >= groups) groups = context->group[c] + 1;
    }
    return find_tables(model, groups * ISOQ_QUANTIZERS * ISOQ_LEVELS * ISOQ_BUCKETS);
}
