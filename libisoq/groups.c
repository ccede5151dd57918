#include <math.h>
#include <string.h>

#include "tile.h"

enum { MOST_SPECTRAL = 512, MOST_PRECISION = 20, MOST_EXPONENT = 1280, LOSSY = 2, WHOLE = 1 };

static int damaged(isoq_tile *tile) {
    return isoq_damaged(tile->work, "a group of bands is impossible");
}

int isoq_is_transformed(const isoq_group *group) {
    return group->mode == ISOQ_TRANSFORM || group->mode == ISOQ_SPECTRAL;
}

/* Return the float64 nearest to 2^(eighths / 8). */
static double power_of_two(int eighths) {
    static const double root[8] = {1.0,
                                   1.0905077326652577,
                                   1.189207115002721,
                                   1.2968395546510096,
                                   1.4142135623730951,
                                   1.5422108254079407,
                                   1.681792830507429,
                                   1.8340080864093424};
    int part = ((eighths % 8) + 8) % 8;
    return ldexp(root[part], (eighths - part) / 8);
}

/* Read the normalization of all bands. */
static int read_normalization(isoq_tile *tile, isoq_group *group, isoq_bytes *payload) {
    const int64_t most = INT64_C(1) << 60;
    group->scale = (double *)isoq_allocate(tile->work, (size_t)group->bands, sizeof(double));
    group->offset = (double *)isoq_allocate(tile->work, (size_t)group->bands, sizeof(double));
    if (!group->scale || !group->offset) return 0;
    for (int b = 0; b < group->bands; b++) {
        int64_t exponent = isoq_take_signed(payload), offset = isoq_take_signed(payload);
        if (payload->is_damaged || exponent > MOST_EXPONENT || exponent < -MOST_EXPONENT ||
            offset > most || offset < -most)
            return damaged(tile);
        group->scale[b] = power_of_two((int)exponent);
        group->offset[b] = (double)offset * group->scale[b] / 8;
    }
    return 1;
}

/* Read the rotation, and keep it band by band. */
static int read_rotation(isoq_tile *tile, isoq_group *group, isoq_bytes *payload) {
    uint64_t components = isoq_take_varint(payload), precision = isoq_take_varint(payload);
    size_t bands = (size_t)group->bands, size = (size_t)components * bands;
    if (payload->is_damaged || components < 1 || components > bands || precision > MOST_PRECISION)
        return damaged(tile);
    int32_t *stored = (int32_t *)isoq_allocate(tile->work, size, sizeof *stored);
    group->factor = (int32_t *)isoq_allocate(tile->work, size, sizeof *group->factor);
    if (!stored || !group->factor ||
        !isoq_take_sequences(tile->work, payload, &size, 1, stored, "a rotation does not decode"))
        return 0;
    for (size_t c = 0; c < components; c++)
        for (size_t b = 0; b < bands; b++)
            group->factor[b * components + c] = stored[c * bands + b];
    group->components = (int)components;
    group->precision = (int)precision;
    return 1;
}

static int read_transformed(isoq_tile *tile, isoq_group *group, isoq_bytes *payload) {
    group->components = 1;
    if (!read_normalization(tile, group, payload) ||
        (group->mode == ISOQ_SPECTRAL && !read_rotation(tile, group, payload)))
        return 0;
    uint64_t fraction = isoq_take_varint(payload);
    if (payload->is_damaged || fraction > MOST_PRECISION) return damaged(tile);
    group->fraction = (int)fraction;
    return 1;
}

/* Read the fields of a group behind its mode. */
static int read_fields(isoq_tile *tile, isoq_group *group, isoq_bytes *payload) {
    switch (group->mode) {
        case ISOQ_EMPTY:
            return 1;
        case ISOQ_CONSTANT:
            group->part.left = (size_t)group->bands * isoq_sample_size(tile->type);
            group->part.at = isoq_take_bytes(payload, group->part.left);
            return group->part.at || damaged(tile);
        case ISOQ_TRANSFORM:
        case ISOQ_SPECTRAL:
            return read_transformed(tile, group, payload);
        case ISOQ_LOSSLESS:
        case ISOQ_PREDICTIVE:
            break;
    }
    group->part = isoq_take_part(payload);
    if (payload->is_damaged || !group->part.left) return damaged(tile);
    if (group->mode == ISOQ_PREDICTIVE) {
        group->is_whole = group->part.at[0] & WHOLE;
        group->is_lossy = (group->part.at[0] & LOSSY) != 0;
    }
    return 1;
}

/* Return the number of bands that a group of a mode may have. */
static uint64_t most_bands(const isoq_tile *tile, uint64_t mode) {
    if (mode == ISOQ_TRANSFORM || mode == ISOQ_LOSSLESS) return 1;
    if (mode == ISOQ_SPECTRAL) return MOST_SPECTRAL;
    return mode == ISOQ_PREDICTIVE || !tile->model ? (uint64_t)tile->bands : 1;
}

/* Fail because a tile needs a model, and there is none. */
static int lack_model(isoq_tile *tile) {
    const isoq_error *why = &tile->file->model_error;
    const isoq_image *image = &tile->file->image;
    if (why->code != ISOQ_SUCCESS) return isoq_fail(tile->work, why->code, "%s", why->message);
    return isoq_fail(tile->work, ISOQ_ERROR_MODEL,
                     "made with model %s (%s); give the folder of that model", image->model,
                     image->identity);
}

int isoq_read_groups(isoq_tile *tile, isoq_bytes *payload) {
    int first = 0;
    tile->group = (isoq_group *)isoq_allocate(tile->work, (size_t)tile->bands, sizeof(isoq_group));
    tile->is_exact = (uint8_t *)isoq_allocate(tile->work, (size_t)tile->bands, 1);
    if (!tile->group || !tile->is_exact) return 0;
    while (first < tile->bands) {
        uint64_t number = isoq_take_varint(payload);
        uint64_t bands = number / 8, mode = number % 8, left = (uint64_t)(tile->bands - first);
        isoq_group *group = tile->group + tile->groups++;
        if (mode > ISOQ_PREDICTIVE)
            return isoq_fail(tile->work, ISOQ_ERROR_UNSUPPORTED,
                             "bands are coded in an unknown way; use a newer library");
        if ((mode == ISOQ_TRANSFORM || mode == ISOQ_SPECTRAL) && !tile->model)
            return lack_model(tile);
        if (payload->is_damaged || !bands || bands > left || bands > most_bands(tile, mode))
            return damaged(tile);
        group->mode = (isoq_mode)mode;
        group->first = first;
        group->bands = (int)bands;
        if (!read_fields(tile, group, payload)) return 0;
        for (int b = 0; b < group->bands; b++)
            tile->is_exact[first + b] = group->is_whole || group->mode == ISOQ_LOSSLESS;
        first += group->bands;
    }
    return 1;
}
