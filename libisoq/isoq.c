#include <stdlib.h>
#include <string.h>

#include "isoq.h"
#include "tile.h"

enum { MOST_SCALE = 4 };

/* ---- Opening ---- */

/* Return the code of the error of a work, and tell the caller. */
static isoq_code told(const isoq_work *work, isoq_error *error) {
    if (error) *error = work->error;
    return work->error.code;
}

static isoq_code refuse(isoq_error *error, const char *message) {
    isoq_work work = {0, 0, NULL, {ISOQ_SUCCESS, ""}};
    isoq_fail(&work, ISOQ_ERROR_ARGUMENT, "%s", message);
    return told(&work, error);
}

isoq_file *isoq_open(const void *data, size_t size, size_t memory, isoq_error *error) {
    static char nothing[] = "{}";
    isoq_work failing = {0, 0, NULL, {ISOQ_SUCCESS, ""}};
    isoq_file *file = (isoq_file *)calloc(1, sizeof *file);
    if (!file) {
        isoq_fail(&failing, ISOQ_ERROR_MEMORY, "there is not enough memory; free some");
        told(&failing, error);
        return NULL;
    }
    file->work.limit = memory;
    file->data = isoq_bytes_of(data, size);
    file->metadata = nothing;
    isoq_read_chunks(file);
    if (told(&file->work, error) == ISOQ_SUCCESS) return file;
    isoq_close(file);
    return NULL;
}

void isoq_close(isoq_file *file) {
    if (!file) return;
    isoq_close_model(file->own_model);
    isoq_release_to(&file->work, NULL);
    free(file);
}

const isoq_image *isoq_describe(const isoq_file *file) { return &file->image; }

int isoq_nodata(const isoq_file *file, uint32_t band, double *value) {
    if (band >= file->image.bands || !file->has_nodata[band]) return 0;
    *value = file->nodata[band];
    return 1;
}

const char *isoq_metadata(const isoq_file *file) { return file->metadata; }

/* ---- Models ---- */

static int fits(const isoq_file *file, const isoq_model *model) {
    int is_same = !strcmp(file->image.identity, model->identity);
    return !strcmp(file->image.model, model->name) && isoq_is_checksum((uint32_t)is_same, 1);
}

isoq_code isoq_use_model(isoq_file *file, const isoq_model *model, isoq_error *error) {
    isoq_work work = {0, 0, NULL, {ISOQ_SUCCESS, ""}};
    if (fits(file, model))
        file->model = model;
    else
        isoq_fail(&work, ISOQ_ERROR_MODEL,
                  "made with model %s (%s), not with %s (%s); open that one", file->image.model,
                  file->image.identity, model->name, model->identity);
    return told(&work, error);
}

/* Open the model that a file brings along, unless there is a model already. If it cannot be used,
   that is an error of the tiles that need it. */
static void open_own_model(isoq_file *file) {
    if (file->model || file->own_model || !file->embedded.left) return;
    file->own_model = isoq_open_embedded(&file->work, file->embedded);
    if (file->own_model && !fits(file, file->own_model))
        isoq_fail(&file->work, ISOQ_ERROR_MODEL, "the embedded model is not that of the file");
    if (file->own_model) file->work.limit -= file->own_model->work.used;
    if (file->work.error.code == ISOQ_SUCCESS) file->model = file->own_model;
    file->model_error = file->work.error;
    memset(&file->work.error, 0, sizeof file->work.error);
}

/* ---- Places ---- */

/* Return the part of a place of the image at a scale. */
static isoq_window reduced(isoq_window place, int scale) {
    uint32_t last = (1u << scale) - 1;
    place.row >>= scale;
    place.col >>= scale;
    place.rows = place.rows / (last + 1) + (place.rows % (last + 1) != 0);
    place.cols = place.cols / (last + 1) + (place.cols % (last + 1) != 0);
    return place;
}

static isoq_window whole(const isoq_file *file, int scale) {
    isoq_window all = {0, 0, 0, file->image.bands, file->image.rows, file->image.cols};
    return reduced(all, scale);
}

isoq_code isoq_place_of_tile(const isoq_file *file, uint32_t tile, int scale, isoq_window *window,
                             isoq_error *error) {
    if (tile >= file->image.tiles) return refuse(error, "there is no such tile");
    if (scale < 0 || scale > MOST_SCALE) return refuse(error, "scale: 0 to 4");
    *window = reduced(isoq_tile_window(file, tile), scale);
    if (error) error->code = ISOQ_SUCCESS;
    return ISOQ_SUCCESS;
}

static int is_inside(uint32_t start, uint32_t size, uint32_t all) {
    return size >= 1 && start < all && size <= all - start;
}

/* Set the part [*start, *start + *size) of [a, a + n) that is in [b, b + m); return whether there
   is any. */
static int overlap(uint32_t a, uint32_t n, uint32_t b, uint32_t m, uint32_t *start,
                   uint32_t *size) {
    uint32_t end = a + n < b + m ? a + n : b + m;
    *start = a > b ? a : b;
    *size = end > *start ? end - *start : 0;
    return *size > 0;
}

static int common(const isoq_window *a, const isoq_window *b, isoq_window *both) {
    return overlap(a->band, a->bands, b->band, b->bands, &both->band, &both->bands) &&
           overlap(a->row, a->rows, b->row, b->rows, &both->row, &both->rows) &&
           overlap(a->col, a->cols, b->col, b->cols, &both->col, &both->cols);
}

/* ---- Decoding ---- */

/* What is decoded of each tile, and where it goes. */
typedef struct {
    isoq_window window;
    int scale, is_mask;
    const isoq_buffer *buffer;
} request;

/* Copy a part of a tile into the buffer. from: samples of `size` bytes of the place of the tile. */
static void copy_part(const request *wanted, const isoq_window *place, const isoq_window *part,
                      const uint8_t *from, size_t size) {
    const isoq_buffer *to = wanted->buffer;
    for (uint32_t b = part->band; b < part->band + part->bands; b++)
        for (uint32_t i = part->row; i < part->row + part->rows; i++) {
            size_t row = (size_t)(b - place->band) * place->rows + (i - place->row);
            const uint8_t *source = from + (row * place->cols + (part->col - place->col)) * size;
            uint8_t *target = (uint8_t *)to->samples +
                              (ptrdiff_t)(b - wanted->window.band) * to->band +
                              (ptrdiff_t)(i - wanted->window.row) * to->row +
                              (ptrdiff_t)(part->col - wanted->window.col) * to->col;
            if (to->col == (ptrdiff_t)size) {
                memcpy(target, source, part->cols * size);
                continue;
            }
            for (uint32_t j = 0; j < part->cols; j++, target += to->col, source += size)
                memcpy(target, source, size);
        }
}

/* Decode the mask of a tile: a byte per pixel of its first band. */
static uint8_t *decode_mask_of(isoq_file *file, uint32_t number, int scale) {
    isoq_tile tile;
    isoq_bytes rest;
    if (!isoq_open_tile(file, number, scale, &tile, &rest)) return NULL;
    size_t count = (size_t)tile.out_rows * (size_t)tile.out_cols;
    uint8_t *mask = (uint8_t *)isoq_allocate(&file->work, count, 1);
    for (size_t k = 0; mask && k < count; k++)
        mask[k] = !tile.out_classes || tile.out_classes[k] != ISOQ_CLASS_MASKED;
    return mask;
}

/* Decode what is wanted of a tile. */
static int decode_one(isoq_file *file, uint32_t number, const request *wanted) {
    isoq_window place = reduced(isoq_tile_window(file, number), wanted->scale), part;
    isoq_allocation *mark = isoq_mark(&file->work);
    isoq_tile tile;
    if (!common(&place, &wanted->window, &part)) return 1;
    if (wanted->is_mask) {
        const uint8_t *mask = decode_mask_of(file, number, wanted->scale);
        if (mask) copy_part(wanted, &place, &part, mask, 1);
    } else if (isoq_decode_tile(file, number, wanted->scale, &tile))
        copy_part(wanted, &place, &part, tile.samples, isoq_sample_size(tile.type));
    isoq_release_to(&file->work, mark);
    return file->work.error.code == ISOQ_SUCCESS;
}

static isoq_code decode(isoq_file *file, const isoq_window *window, int scale,
                        const isoq_buffer *buffer, int is_mask, isoq_error *error) {
    if (scale < 0 || scale > MOST_SCALE) return refuse(error, "scale: 0 to 4");
    isoq_window all = whole(file, scale);
    if (is_mask) all.bands = 1;
    request wanted = {window ? *window : all, scale, is_mask, buffer};
    const isoq_window *w = &wanted.window;
    if (!is_inside(w->band, w->bands, all.bands) || !is_inside(w->row, w->rows, all.rows) ||
        !is_inside(w->col, w->cols, all.cols))
        return refuse(error, "the window is not inside the image");
    isoq_work *before = isoq_enter(&file->work);
    memset(&file->work.error, 0, sizeof file->work.error);
    if (!is_mask) open_own_model(file);
    for (uint32_t k = 0; k < file->image.tiles; k++)
        if (!decode_one(file, k, &wanted)) break;
    isoq_enter(before);
    return told(&file->work, error);
}

isoq_code isoq_decode(isoq_file *file, const isoq_window *window, int scale,
                      const isoq_buffer *buffer, isoq_error *error) {
    return decode(file, window, scale, buffer, 0, error);
}

isoq_code isoq_decode_mask(isoq_file *file, const isoq_window *window, int scale,
                           const isoq_buffer *buffer, isoq_error *error) {
    return decode(file, window, scale, buffer, 1, error);
}
