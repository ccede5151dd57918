#include "model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sha256.h"

enum { SMALL = 64 }; /* latents of a channel up to which all levels are in one segment */

/* ---- Levels and channels ---- */

/* Return 2^(power / 128) rounded down. power: 0 ... 3072. */
static int32_t floor_power(int power) {
    /* A square root is correctly rounded on every machine. No power of the range but the whole ones
       is nearer to an integer than 2^-16; the product is off by less than 2^-25. */
    double product = 1, root = 2;
    int octave = power / 128, rest = power % 128;
    for (int bit = 64; bit; bit /= 2) {
        root = sqrt(root);
        if (rest & bit) product *= root;
    }
    return (int32_t)ldexp(product, octave);
}

static void find_scales(isoq_model *model) {
    for (int k = 0; k <= ISOQ_SPAN; k++) {
        model->up[k] = floor_power(16 * 128 - k);
        model->down[k] = floor_power(6 * 128 + k);
    }
    for (int k = 0; k < 128; k++) model->octave[k] = floor_power(24 * 128 - k);
}

int isoq_count_segments(const isoq_model *model, int64_t positions) {
    return positions > SMALL ? model->levels : 1;
}

int isoq_segment_end(const isoq_model *model, int64_t positions, int segment) {
    return positions > SMALL ? 1 << 2 * (segment + 1) : model->channels;
}

/* Return the rank of a phase of `side` x `side`: coarse grids first (section 6.10). */
static int rank_of(int y, int x, int side) {
    static const int order[4] = {0, 3, 2, 1};
    int rank = 0;
    for (; side > 1; side /= 2, y /= 2, x /= 2) rank = 4 * rank + order[2 * (y % 2) + x % 2];
    return rank;
}

/* Set the channels of all phases, in the order of layout.h. */
static void find_channels(isoq_model *model) {
    int32_t *channel = model->channel;
    for (int level = 1; level <= model->levels; level++) {
        int side = isoq_side_of(level);
        for (int band = 0; band < 3; band++)
            for (int y = 0; y < side; y++)
                for (int x = 0; x < side; x++)
                    *channel++ = side * side * (1 + band) + rank_of(y, x, side);
    }
    *channel = 0; /* low-pass */
}

/* ---- Identity (section 11) ---- */

static void add_text(isoq_sha256 *sha, const char *text) {
    isoq_add_sha256(sha, text, strlen(text));
}

/* Add a number as Python prints it. */
static void add_number(isoq_sha256 *sha, isoq_json value, double number) {
    char text[24];
    if (number == floor(number) && number < 1e15) {
        snprintf(text, sizeof text, "%" PRId64 ".0", (int64_t)number);
        add_text(sha, text);
    } else
        isoq_add_sha256(sha, value.at, (size_t)(value.end - value.at));
}

static void add_array(isoq_sha256 *sha, const isoq_array *array) {
    char text[32];
    add_text(sha, array->name);
    add_text(sha, " ");
    add_text(sha, array->type);
    add_text(sha, " (");
    for (int k = 0; k < array->dimensions; k++) {
        snprintf(text, sizeof text, "%s%" PRIu64, k ? ", " : "", array->shape[k]);
        add_text(sha, text);
    }
    add_text(sha, array->dimensions == 1 ? ",)" : ")");
    isoq_add_sha256(sha, array->data, array->count * isoq_element_size(array));
}

/* By isoq_wavelet. */
static const char *const NAMES[] = {"9/7", "17/11"};
static const isoq_steps *const STEPS[] = {&ISOQ_CDF_9_7, &ISOQ_CDF_17_11};

/* Return the format that a model with such arrays has. */
static int format_of(const isoq_model *model) { return isoq_has_trellis(model) ? 2 : 1; }

/* Set the identity of a model. low, high: lambda_min and lambda_max. */
static void identify(isoq_model *model, isoq_json low, isoq_json high) {
    static const char hidden[] = "hyper_analysis_";
    isoq_sha256 sha;
    uint8_t digest[32];
    char text[64];
    double number = 0;
    isoq_start_sha256(&sha);
    snprintf(text, sizeof text, "[%d, 1, %d, \"context\", [", format_of(model), model->channels);
    add_text(&sha, text);
    for (int k = 0; k < model->levels; k++) {
        snprintf(text, sizeof text, "%s\"%s\"", k ? ", " : "", NAMES[model->wavelet[k]]);
        add_text(&sha, text);
    }
    add_text(&sha, "], ");
    isoq_json_number(low, &number);
    add_number(&sha, low, number);
    add_text(&sha, ", ");
    isoq_json_number(high, &number);
    add_number(&sha, high, number);
    add_text(&sha, "]");
    for (int k = 0; k < model->arrays.count; k++)
        if (strncmp(model->arrays.array[k].name, hidden, sizeof hidden - 1))
            add_array(&sha, model->arrays.array + k);
    isoq_finish_sha256(&sha, digest);
    for (int k = 0; k < 8; k++) snprintf(model->identity + 2 * k, 3, "%02x", (unsigned)digest[k]);
}

/* ---- The model ---- */

static int read_wavelets(isoq_model *model, isoq_json list) {
    isoq_json rest = list, name;
    model->levels = isoq_json_length(list);
    if (model->levels != ISOQ_WAVELET_LEVELS) return 0;
    for (int k = 0; isoq_json_next(&rest, &name); k++) {
        int kind = 0;
        while (kind < 2 && !isoq_json_equals(name, NAMES[kind])) kind++;
        if (kind == 2) return 0;
        model->wavelet[k] = (isoq_wavelet)kind;
        model->steps[k] = STEPS[kind];
    }
    return 1;
}

static int is_whole(isoq_json info, const char *key, uint64_t expected) {
    uint64_t value;
    return isoq_json_whole(isoq_json_member(info, key), &value) && value == expected;
}

static int find_units(isoq_model *model) {
    const isoq_array *unit = isoq_find_array(&model->arrays, "wavelet_unit", "<i4", 1);
    if (!unit || unit->count != (size_t)model->channels) return 0;
    model->unit = (const int32_t *)(const void *)unit->data;
    for (int k = 0; k < model->channels; k++)
        if (model->unit[k] < 1) return 0;
    return 1;
}

int isoq_make_model(isoq_model *model, isoq_json info) {
    isoq_work *work = &model->work;
    isoq_json wavelets = isoq_json_member(info, "wavelets");
    isoq_json low = isoq_json_member(info, "lambda_min"),
              high = isoq_json_member(info, "lambda_max");
    double least, most;
    if (!isoq_json_text(isoq_json_member(info, "name"), model->name, sizeof model->name))
        return isoq_bad_model(work, "it has no name");
    if (!is_whole(info, "format", 1) && !is_whole(info, "format", 2))
        return isoq_fail(work, ISOQ_ERROR_MODEL,
                         "the format of model %s is not known; use a newer library", model->name);
    if (!wavelets.at)
        return isoq_fail(work, ISOQ_ERROR_MODEL,
                         "model %s has learned transforms, which this library cannot run; use the "
                         "Python package",
                         model->name);
    model->channels = ISOQ_WAVELET_CHANNELS;
    if (!is_whole(info, "format", (uint64_t)format_of(model)) ||
        !read_wavelets(model, wavelets) || !is_whole(info, "bands", 1) ||
        !is_whole(info, "latents", ISOQ_WAVELET_CHANNELS) ||
        !isoq_json_equals(isoq_json_member(info, "entropy"), "context") ||
        !isoq_json_number(low, &least) || !isoq_json_number(high, &most) || !(least > 0) ||
        !(most > least))
        return isoq_bad_model(work, "its description is impossible");
    identify(model, low, high);
    isoq_make_native(&model->arrays);
    find_channels(model);
    find_scales(model);
    return (find_units(model) ||
            isoq_bad_model(work, "the steps of its channels are impossible")) &&
           isoq_make_context(model) && isoq_make_predictor(model);
}

/* Return a new model that may take so much memory, null if there is none. */
static isoq_model *new_model(size_t memory, isoq_work *failing) {
    isoq_model *model = (isoq_model *)calloc(1, sizeof *model);
    if (!model) {
        isoq_fail(failing, ISOQ_ERROR_MEMORY, "there is not enough memory; free some");
        return NULL;
    }
    model->work.limit = memory;
    return model;
}

/* Return a model that was made, or null after all. */
static isoq_model *settled(isoq_model *model, int is_made, isoq_work *failing) {
    if (is_made) return model;
    isoq_fail(failing, model->work.error.code, "%s", model->work.error.message);
    isoq_close_model(model);
    return NULL;
}

isoq_model *isoq_open_embedded(isoq_work *work, isoq_bytes chunk) {
    isoq_json info;
    isoq_model *model = new_model(work->limit - work->used, work);
    if (!model) return NULL;
    int is_made = isoq_read_embedded(&model->work, chunk, &info, &model->arrays) &&
                  isoq_make_model(model, info);
    return settled(model, is_made, work);
}

isoq_model *isoq_open_model(const void *json, size_t json_size, const void *arrays,
                            size_t arrays_size, size_t memory, isoq_error *error) {
    isoq_work failing = {0, 0, NULL, {ISOQ_SUCCESS, ""}};
    isoq_json info;
    isoq_model *model = new_model(memory, &failing);
    if (model) {
        isoq_work *work = &model->work;
        int is_made =
            isoq_check_json(work, isoq_bytes_of(json, json_size), &info, "model.json is no JSON") &&
            isoq_read_npz(work, isoq_bytes_of(arrays, arrays_size), &model->arrays) &&
            isoq_make_model(model, info);
        model = settled(model, is_made, &failing);
    }
    if (error) *error = failing.error;
    return model;
}

void isoq_close_model(isoq_model *model) {
    if (!model) return;
    isoq_release_to(&model->work, NULL);
    free(model);
}
