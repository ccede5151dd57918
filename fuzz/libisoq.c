/* libFuzzer's entry to libisoq: any bytes are decoded or refused, without reading out of bounds,
   undefined behaviour, more memory than allowed or endless work. Checksums are taken as right.

     make -C libisoq fuzz
     ISOQ_MODELS=src/isoq/models/eo16-3:src/isoq/models/eo16-4:src/isoq/models/eo16-5 \
         build/libisoq-fuzz/fuzz -max_len=6000 CORPUS fuzz/corpus tests/golden/eo16-[45]

   Four of five mutations change the payload of a tile and mend the lengths around it, so that the
   change reaches the decoder. At the end, a line tells how far the inputs came. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isoq.h"

enum { MOST_MODELS = 8, MOST_SAMPLES = 1 << 20, SIDE = 256 };

static const size_t MEMORY = (size_t)1 << 26, MODEL_MEMORY = (size_t)1 << 28;
static isoq_model *models[MOST_MODELS];
static int count;
static unsigned long long executions, opened, decoded;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);

static void *contents(const char *folder, const char *name, size_t *size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *stream = fopen(path, "rb");
    size_t room = (size_t)1 << 26;
    void *data = stream ? malloc(room) : NULL;
    if (!data) {
        fprintf(stderr, "%s: cannot be read; set ISOQ_MODELS to folders of models\n", path);
        exit(2);
    }
    *size = fread(data, 1, room, stream);
    fclose(stream);
    return data;
}

static void report(void) {
    fprintf(stderr, "%llu executions: %llu opened, %llu decoded whole\n", executions, opened,
            decoded);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    atexit(report);
    const char *folders = getenv("ISOQ_MODELS");
    char *list = strcpy((char *)malloc(strlen(folders ? folders : "") + 1), folders ? folders : "");
    for (char *folder = strtok(list, ":"); folder && count < MOST_MODELS;
         folder = strtok(NULL, ":")) {
        size_t size[2];
        isoq_error error;
        void *json = contents(folder, "model.json", size);
        void *arrays = contents(folder, "decoder.npz", size + 1);
        models[count] = isoq_open_model(json, size[0], arrays, size[1], MODEL_MEMORY, &error);
        if (!models[count++]) {
            fprintf(stderr, "%s: %s\n", folder, error.message);
            exit(2);
        }
        free(json);
        free(arrays);
    }
    free(list);
    return 0;
}

/* Decode the corner of an image at a scale, or its mask. Return 1 if nothing was damaged. */
static int decode(isoq_file *file, int scale, int is_mask) {
    const isoq_image *image = isoq_describe(file);
    static const size_t sizes[] = {1, 2, 2, 4, 4};
    uint32_t rows = ((image->rows - 1) >> scale) + 1, cols = ((image->cols - 1) >> scale) + 1;
    isoq_window window = {
        0, 0, 0, image->bands, rows < SIDE ? rows : SIDE, cols < SIDE ? cols : SIDE};
    if (is_mask) window.bands = 1;
    if (window.bands > MOST_SAMPLES / (window.rows * window.cols))
        window.bands = MOST_SAMPLES / (window.rows * window.cols);
    ptrdiff_t step = is_mask ? 1 : (ptrdiff_t)sizes[image->type],
              row = step * (ptrdiff_t)window.cols;
    ptrdiff_t band = row * (ptrdiff_t)window.rows;
    void *samples = malloc((size_t)band * window.bands);
    isoq_buffer buffer = {samples, band, row, step};
    int status = ISOQ_ERROR_MEMORY;
    if (samples)
        status = (is_mask ? isoq_decode_mask : isoq_decode)(file, &window, scale, &buffer, NULL);
    free(samples);
    return status == ISOQ_SUCCESS;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    isoq_error error;
    isoq_file *file = isoq_open(data, size, MEMORY, &error);
    executions++;
    if (!file) return 0;
    opened++;
    const isoq_image *image = isoq_describe(file);
    for (int k = 0; k < count && !image->has_model; k++)
        if (isoq_use_model(file, models[k], NULL) == ISOQ_SUCCESS) break;
    double value;
    for (uint32_t band = 0; band < image->bands && band < 4; band++)
        isoq_nodata(file, band, &value);
    isoq_window place;
    isoq_place_of_tile(file, image->tiles - 1, 1, &place, NULL);
    decoded += (unsigned long long)decode(file, 0, 0);
    decode(file, 1 + (int)(size & 3), 0);
    decode(file, 0, 1);
    isoq_close(file);
    return 0;
}

static size_t u32(const uint8_t *at) {
    return at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
}

static void set_u32(uint8_t *at, size_t value) {
    for (int k = 0; k < 4; k++) at[k] = (uint8_t)(value >> 8 * k);
}

/* Change the payload of one tile from a random place on, its length, and its entry in the index. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    enum { SIGNATURE = 8, BEFORE = 8, AFTER = 4 };
    if (room < size) room = size; /* libFuzzer asks for less than there is at times */
    size_t tiles = 0, number = 0, chosen = 0, indexed = 0, length = 0;
    for (size_t at = SIGNATURE; at + BEFORE + AFTER <= size; at += BEFORE + length + AFTER) {
        length = u32(data + at + 4);
        if (length > size - at - BEFORE - AFTER) break;
        if (!memcmp(data + at, "INDX", 4)) indexed = at;
        if (memcmp(data + at, "TILE", 4)) continue;
        /* Each tile is the chosen one as often as any other. */
        seed = seed * 1664525 + 1013904223;
        if ((seed >> 8) % ++tiles == 0) chosen = at, number = tiles - 1;
    }
    seed = seed * 1664525 + 1013904223;
    if (!chosen || (seed >> 8) % 5 == 0) return LLVMFuzzerMutate(data, size, room);
    length = u32(data + chosen + 4);
    size_t same = length ? (seed >> 4) % length : 0, before = length - same;
    uint8_t *from = data + chosen + BEFORE + same;
    size_t behind = size - (size_t)(from - data) - before, most = before + room - size;
    uint8_t *changed = (uint8_t *)malloc(most + 1);
    memcpy(changed, from, before);
    size_t after = LLVMFuzzerMutate(changed, before, most);
    memmove(from + after, from + before, behind);
    memcpy(from, changed, after);
    free(changed);
    size_t now = same + after;
    set_u32(data + chosen + 4, now);
    if (indexed && 4 * number + 4 <= u32(data + indexed + 4))
        set_u32(data + indexed + BEFORE + 4 * number, now);
    return size - length + now;
}
