#include <math.h>
#include <string.h>

#include "file.h"
#include "json.h"

enum { MOST_BANDS = 65535, LARGEST_SIDE = 1 << 13, LARGEST_TILE = 1 << 26, LEAST_SIDE = 64 };

static int impossible(isoq_file *file) {
    return isoq_damaged(&file->work, "the header is not what it should be");
}

static int read_whole(isoq_json object, const char *key, uint64_t least, uint64_t most,
                      uint64_t *value) {
    return isoq_json_whole(isoq_json_member(object, key), value) && *value >= least &&
           *value <= most;
}

static int read_type(isoq_json value, isoq_sample_type *type) {
    static const char *const names[] = {"uint8", "uint16", "int16", "int32", "float32"};
    for (int k = 0; k < 5; k++)
        if (isoq_json_equals(value, names[k])) {
            *type = (isoq_sample_type)k;
            return 1;
        }
    return 0;
}

/* ---- nodata ---- */

/* Read a value, or nothing. */
static int read_nodata_of(isoq_json value, double *nodata, uint8_t *has_nodata) {
    *has_nodata = !isoq_json_is(value, "null");
    if (!*has_nodata || isoq_json_number(value, nodata)) return 1;
    if (isoq_json_equals(value, "nan"))
        *nodata = NAN;
    else if (isoq_json_equals(value, "inf"))
        *nodata = INFINITY;
    else if (isoq_json_equals(value, "-inf"))
        *nodata = -INFINITY;
    else
        return 0;
    return 1;
}

static int read_nodata(isoq_file *file, isoq_json value) {
    uint32_t bands = file->image.bands;
    isoq_json rest = value, item = value;
    file->nodata = (double *)isoq_allocate(&file->work, bands, sizeof *file->nodata);
    file->has_nodata = (uint8_t *)isoq_allocate(&file->work, bands, 1);
    file->is_sampled = (uint8_t *)isoq_allocate(&file->work, bands, 1);
    if (!file->nodata || !file->has_nodata || !file->is_sampled) return 0;
    if (!value.at) return 1;
    int length = isoq_json_length(value);
    if (length >= 0 && (uint32_t)length != bands) return impossible(file);
    for (uint32_t b = 0; b < bands; b++) {
        if (length >= 0) isoq_json_next(&rest, &item);
        if (!read_nodata_of(item, file->nodata + b, file->has_nodata + b)) return impossible(file);
    }
    return 1;
}

/* ---- Tiling (section 5) ---- */

static uint64_t up(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }

static uint64_t least_of(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t padded(uint64_t side) {
    uint64_t whole = 16 * up(side, 16);
    return whole < LEAST_SIDE ? LEAST_SIDE : whole;
}

static int read_tiling(isoq_file *file, isoq_json header) {
    isoq_tiling *t = &file->tiling;
    const isoq_image *image = &file->image;
    if (!read_whole(header, "tile", 1, LARGEST_SIDE, &t->tile) ||
        !read_whole(header, "block", 1, LARGEST_SIDE, &t->block) ||
        !read_whole(header, "depth", 1, UINT32_MAX, &t->depth) || t->tile % t->block)
        return impossible(file);
    uint64_t samples = padded(least_of(image->rows, t->tile)) *
                       padded(least_of(image->cols, t->tile)) * least_of(image->bands, t->depth);
    t->row_pieces = (uint32_t)up(image->rows, t->tile);
    t->col_pieces = (uint32_t)up(image->cols, t->tile);
    t->band_pieces = (uint32_t)up(image->bands, t->depth);
    /* A tile takes at least 12 bytes of the file. */
    uint64_t most = least_of(file->data.left / 12, UINT32_MAX) / t->band_pieces;
    if (samples > LARGEST_TILE || t->row_pieces > most || t->col_pieces > most / t->row_pieces)
        return impossible(file);
    file->image.tiles = t->row_pieces * t->col_pieces * t->band_pieces;
    return 1;
}

/* Set start and size of piece `k` of a side that is cut into `pieces`. */
static void cut(uint32_t side, uint64_t block, uint32_t pieces, uint32_t k, uint32_t *start,
                uint32_t *size) {
    uint64_t total = up(side, block);
    uint64_t first = least_of(side, block * up(total * k, pieces));
    uint64_t end = least_of(side, block * up(total * (k + 1), pieces));
    *start = (uint32_t)first;
    *size = (uint32_t)(end - first);
}

isoq_window isoq_tile_window(const isoq_file *file, uint32_t tile) {
    const isoq_tiling *t = &file->tiling;
    const isoq_image *image = &file->image;
    isoq_window place;
    uint32_t depth = (uint32_t)least_of(t->depth, image->bands);
    uint32_t col = tile / t->band_pieces % t->col_pieces;
    uint32_t row = tile / t->band_pieces / t->col_pieces;
    cut(image->rows, t->block, t->row_pieces, row, &place.row, &place.rows);
    cut(image->cols, t->block, t->col_pieces, col, &place.col, &place.cols);
    place.band = tile % t->band_pieces * depth;
    place.bands = (uint32_t)least_of(depth, image->bands - place.band);
    return place;
}

/* ---- All of it ---- */

static int read_model(isoq_file *file, isoq_json value) {
    isoq_json rest = value, name, identity;
    return isoq_json_length(value) == 2 && isoq_json_next(&rest, &name) &&
           isoq_json_next(&rest, &identity) &&
           isoq_json_text(name, file->image.model, sizeof file->image.model) &&
           isoq_json_text(identity, file->image.identity, sizeof file->image.identity);
}

int isoq_read_header(isoq_file *file, isoq_bytes text) {
    isoq_json header;
    uint64_t bands, rows, cols;
    if (!isoq_check_json(&file->work, text, &header, "the header is no JSON")) return 0;
    isoq_json needs = isoq_json_member(header, "needs");
    if (needs.at && isoq_json_length(needs) != 0)
        return isoq_fail(&file->work, ISOQ_ERROR_UNSUPPORTED,
                         "the file needs what is not known here; use a newer library");
    isoq_json image = isoq_json_member(header, "image");
    if (!read_whole(image, "bands", 1, MOST_BANDS, &bands) ||
        !read_whole(image, "rows", 1, INT32_MAX, &rows) ||
        !read_whole(image, "cols", 1, INT32_MAX, &cols) ||
        !read_model(file, isoq_json_member(header, "model")))
        return impossible(file);
    if (!read_type(isoq_json_member(image, "dtype"), &file->image.type))
        return isoq_fail(&file->work, ISOQ_ERROR_UNSUPPORTED,
                         "the type of the samples is not known; use a newer library");
    file->image.bands = (uint32_t)bands;
    file->image.rows = (uint32_t)rows;
    file->image.cols = (uint32_t)cols;
    if (!read_tiling(file, header) || !read_nodata(file, isoq_json_member(image, "nodata")))
        return 0;
    isoq_json kind = isoq_json_member(isoq_json_member(header, "target"), "kind");
    int is_lossless = isoq_json_equals(kind, "lossless"); /* then not all of them are classes */
    isoq_json listed = isoq_json_member(header, is_lossless ? "classes" : "lossless");
    isoq_json rest = listed, band;
    uint64_t number;
    while (isoq_json_length(listed) > 0 && isoq_json_next(&rest, &band))
        if (isoq_json_whole(band, &number) && number >= 1 && number <= bands)
            file->is_sampled[number - 1] = 1;
    return 1;
}

int isoq_read_classes(isoq_file *file) {
    isoq_json meta, rest, key, table;
    isoq_bytes text = isoq_bytes_of(file->metadata, strlen(file->metadata));
    if (!isoq_check_json(&file->work, text, &meta, "the metadata are no JSON")) return 0;
    file->image.has_mask = isoq_json_is(isoq_json_member(meta, "mask"), "true");
    rest = isoq_json_member(meta, "colormaps");
    if (!rest.at || *rest.at != '{') return 1;
    while (isoq_json_next_member(&rest, &key, &table)) {
        char digits[16];
        uint64_t band;
        isoq_json number = {digits, digits};
        if (!isoq_json_text(key, digits, sizeof digits)) continue;
        number.end += strlen(digits);
        if (isoq_json_whole(number, &band) && band >= 1 && band <= file->image.bands)
            file->is_sampled[band - 1] = 1;
    }
    return 1;
}
