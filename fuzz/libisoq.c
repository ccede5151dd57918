/* libFuzzer's entry to libisoq: any bytes are decoded or refused, without reading out of bounds,
   undefined behaviour, more memory than allowed or endless work. Checksums are taken as right.

     make -C libisoq fuzz
     ISOQ_MODELS=src/isoq/models/eo16-3:src/isoq/models/eo16-4:src/isoq/models/eo16-5 \
         build/libisoq-fuzz/fuzz -fork=1 CORPUS fuzz/corpus tests/golden/eo16-[45] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isoq.h"

enum { MOST_MODELS = 8, MOST_SAMPLES = 1 << 20, SIDE = 256 };

static const size_t MEMORY = (size_t)1 << 26, MODEL_MEMORY = (size_t)1 << 28;
static isoq_model *models[MOST_MODELS];
static int count;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
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

/* Decode the corner of an image at a scale, or its mask. */
static void decode(isoq_file *file, int scale, int is_mask) {
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
    if (samples) (is_mask ? isoq_decode_mask : isoq_decode)(file, &window, scale, &buffer, NULL);
    free(samples);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    isoq_error error;
    isoq_file *file = isoq_open(data, size, MEMORY, &error);
    if (!file) return 0;
    const isoq_image *image = isoq_describe(file);
    for (int k = 0; k < count && !image->has_model; k++)
        if (isoq_use_model(file, models[k], NULL) == ISOQ_SUCCESS) break;
    double value;
    for (uint32_t band = 0; band < image->bands && band < 4; band++)
        isoq_nodata(file, band, &value);
    isoq_window place;
    isoq_place_of_tile(file, image->tiles - 1, 1, &place, NULL);
    decode(file, 0, 0);
    decode(file, 1 + (int)(size & 3), 0);
    decode(file, 0, 1);
    isoq_close(file);
    return 0;
}
