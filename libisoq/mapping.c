#include "mapping.h"

#include <math.h>
#include <string.h>

static int impossible(isoq_tile *tile) {
    return isoq_damaged(tile->work, "samples are mapped in an impossible way");
}

/* Return whether the fields of a mapping are possible. */
static int is_possible(const isoq_tile *tile, const isoq_mapping *mapping) {
    int is_float = tile->type == ISOQ_SAMPLE_FLOAT32;
    const int64_t far = INT64_C(1) << 32;
    int64_t pixels = (int64_t)tile->rows * tile->cols;
    int is_near = mapping->offset < far && mapping->offset > -far;
    if (mapping->least < INT32_MIN || mapping->least > mapping->most || mapping->most > INT32_MAX)
        return 0;
    switch (mapping->kind) {
        case ISOQ_SPACED:
            return !is_float && is_near && mapping->unit >= 1 && mapping->unit < (double)far;
        case ISOQ_LISTED:
            return is_near && mapping->missing >= 0 && mapping->missing < 1 << 16 &&
                   mapping->missing < pixels && mapping->least == 0 &&
                   mapping->most == mapping->missing;
        case ISOQ_FLOATS:
            return is_float;
        case ISOQ_ROUNDED:
            break;
    }
    double least = fabs((double)mapping->least), most = fabs((double)mapping->most);
    return is_float && mapping->unit > 1e-45 && mapping->unit < 1e30 &&
           (least > most ? least : most) * mapping->unit < 3e38;
}

int isoq_read_mapping(isoq_tile *tile, isoq_bytes *part, isoq_mapping *mapping) {
    const uint64_t most = UINT64_C(1) << 33; /* larger numbers are impossible, and stay so */
    uint64_t unit = 1, number = 1, range;
    uint32_t kind = isoq_take_u8(part);
    memset(mapping, 0, sizeof *mapping);
    if (kind > ISOQ_ROUNDED)
        return isoq_fail(tile->work, ISOQ_ERROR_UNSUPPORTED,
                         "samples are mapped in an unknown way; use a newer library");
    mapping->kind = (isoq_mapping_kind)kind;
    if (kind == ISOQ_SPACED) {
        mapping->offset = isoq_take_signed(part);
        unit = isoq_take_varint(part);
    } else if (kind == ISOQ_LISTED) {
        number = isoq_take_varint(part);
        mapping->offset = isoq_take_signed(part);
    }
    mapping->unit =
        kind == ISOQ_ROUNDED ? isoq_take_f64(part) : (double)(unit < most ? unit : most);
    mapping->missing = number < 1 << 20 ? (int32_t)number - 1 : -1;
    mapping->least = isoq_take_signed(part);
    range = isoq_take_varint(part);
    if (part->is_damaged || mapping->least < INT32_MIN || mapping->least > INT32_MAX)
        return impossible(tile);
    mapping->most = mapping->least + (int64_t)(range < most ? range : most);
    return is_possible(tile, mapping) || impossible(tile);
}

/* Return the sample of an integer of a spaced mapping that is settled. */
static int64_t spaced(const isoq_mapping *mapping, int64_t integer) {
    return mapping->offset + (int64_t)mapping->unit * integer;
}

int isoq_settle_mapping(isoq_tile *tile, isoq_mapping *mapping, const int32_t *gaps) {
    double least, most;
    double low = (double)mapping->offset + mapping->unit * (double)mapping->least;
    double high = (double)mapping->offset + mapping->unit * (double)mapping->most;
    isoq_type_limits(tile->type, &least, &most);
    if (tile->type == ISOQ_SAMPLE_FLOAT32) { /* listed floats are bits */
        least = INT32_MIN;
        most = INT32_MAX;
    }
    if (mapping->kind == ISOQ_FLOATS || mapping->kind == ISOQ_ROUNDED) return 1;
    if (mapping->kind == ISOQ_LISTED) {
        size_t count = (size_t)mapping->missing + 1;
        mapping->listed = (int64_t *)isoq_allocate(tile->work, count, sizeof *mapping->listed);
        if (!mapping->listed) return 0;
        mapping->listed[0] = mapping->offset;
        for (size_t k = 1; k < count; k++) {
            if (gaps[k - 1] < 0) return impossible(tile);
            mapping->listed[k] = mapping->listed[k - 1] + gaps[k - 1] + 1;
        }
        low = (double)mapping->listed[0];
        high = (double)mapping->listed[count - 1];
    }
    return (low >= least && high <= most) || impossible(tile);
}

int64_t isoq_avoided_integer(const isoq_tile *tile, const isoq_mapping *mapping, int band) {
    const int64_t nothing = INT64_C(1) << 40;
    double nodata = tile->nodata[band], held;
    if (!tile->has_nodata[band] || !isfinite(nodata) || !isoq_holds(tile->type, nodata, &held) ||
        (mapping->kind != ISOQ_SPACED && mapping->kind != ISOQ_ROUNDED))
        return nothing;
    double place = rint((nodata - (double)mapping->offset) / mapping->unit);
    if (!(place > (double)mapping->least && place < (double)mapping->most)) return nothing;
    int64_t integer = (int64_t)place;
    double sample = mapping->kind == ISOQ_SPACED ? (double)spaced(mapping, integer)
                                                 : (double)(float)((double)integer * mapping->unit);
    return sample == held ? integer : nothing;
}

/* Return the sample that ordered bits are. */
static float float_of(int32_t ordered) {
    int32_t bits = ordered < 0 ? ordered ^ INT32_MAX : ordered;
    float sample;
    memcpy(&sample, &bits, sizeof sample);
    return sample;
}

void isoq_map_samples(const isoq_tile *tile, const isoq_mapping *mapping, const int32_t *integers,
                      void *samples, size_t count) {
    float *floats = (float *)samples;
    if (mapping->kind == ISOQ_FLOATS)
        for (size_t k = 0; k < count; k++) floats[k] = float_of(integers[k]);
    else if (mapping->kind == ISOQ_ROUNDED)
        for (size_t k = 0; k < count; k++) floats[k] = (float)(integers[k] * mapping->unit);
    else if (mapping->listed && tile->type == ISOQ_SAMPLE_FLOAT32)
        for (size_t k = 0; k < count; k++)
            floats[k] = float_of((int32_t)mapping->listed[integers[k]]);
    else
        for (size_t k = 0; k < count; k++)
            isoq_set_sample(samples, tile->type, k,
                            (double)(mapping->listed ? mapping->listed[integers[k]]
                                                     : spaced(mapping, integers[k])));
}
