/* Decode an .isoq file to raw samples, and print their type and shape:

     isoq-decode [-m FOLDER]... [-s SCALE] [-p] [-l MEGABYTES] FILE.isoq OUT.raw

   -m  folder of a model (model.json, decoder.npz); any number of them
   -s  1 ... 4 for 1/2 ... 1/16 of the rows and columns
   -p  interleave by pixel instead of by band
   -l  memory that the decoder may take, 2048 by default */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isoq.h"

enum { MOST_MODELS = 16 };

typedef struct {
    const char *models[MOST_MODELS], *in, *out;
    int count, scale, by_pixel;
    size_t memory;
} options;

static const char *const TYPES[] = {"uint8", "uint16", "int16", "int32", "float32"};
static const size_t SIZES[] = {1, 2, 2, 4, 4};

static int read_options(int argc, char **argv, options *set) {
    int k = 1;
    for (; k < argc && argv[k][0] == '-' && argv[k][1]; k++) {
        char option = argv[k][1];
        if (option == 'p') {
            set->by_pixel = 1;
            continue;
        }
        if (++k >= argc) return 0;
        if (option == 'm' && set->count < MOST_MODELS)
            set->models[set->count++] = argv[k];
        else if (option == 's')
            set->scale = atoi(argv[k]);
        else if (option == 'l')
            set->memory = (size_t)strtoul(argv[k], NULL, 10) << 20;
        else
            return 0;
    }
    if (argc - k != 2) return 0;
    set->in = argv[k];
    set->out = argv[k + 1];
    return 1;
}

/* Return all bytes of a file, null if it cannot be read. */
static void *contents(const char *path, size_t *size) {
    FILE *stream = fopen(path, "rb");
    char *data = NULL;
    long length = -1;
    if (stream && !fseek(stream, 0, SEEK_END)) length = ftell(stream);
    if (length >= 0 && !fseek(stream, 0, SEEK_SET)) data = (char *)malloc((size_t)length + 1);
    *size = data ? fread(data, 1, (size_t)length, stream) : 0;
    if (!data || *size != (size_t)length) {
        fprintf(stderr, "%s: cannot be read; check the name\n", path);
        free(data);
        data = NULL;
    }
    if (stream) fclose(stream);
    return data;
}

static isoq_model *open_model(const char *folder, size_t memory, isoq_error *error) {
    char path[2][4096];
    size_t size[2] = {0};
    isoq_model *model = NULL;
    snprintf(path[0], sizeof path[0], "%s/model.json", folder);
    snprintf(path[1], sizeof path[1], "%s/decoder.npz", folder);
    void *json = contents(path[0], size), *arrays = json ? contents(path[1], size + 1) : NULL;
    if (arrays) {
        model = isoq_open_model(json, size[0], arrays, size[1], memory, error);
        if (!model) fprintf(stderr, "%s: %s\n", folder, error->message);
    }
    free(json);
    free(arrays);
    return model;
}

/* Decode into memory, and write that to a file. Return whether it worked. */
static int decode(isoq_file *file, const options *set, isoq_error *error) {
    const isoq_image *image = isoq_describe(file);
    size_t step = (size_t)1 << set->scale, size = SIZES[image->type], bands = image->bands;
    size_t rows = (image->rows + step - 1) >> set->scale,
           cols = (image->cols + step - 1) >> set->scale;
    if (rows > (SIZE_MAX / 2) / cols / bands / size) return 0;
    isoq_buffer buffer = {calloc(rows * cols, bands * size), 0, 0, 0};
    buffer.band = (ptrdiff_t)(set->by_pixel ? size : rows * cols * size);
    buffer.col = (ptrdiff_t)(set->by_pixel ? bands * size : size);
    buffer.row = (ptrdiff_t)cols * buffer.col;
    if (!buffer.samples) {
        snprintf(error->message, sizeof error->message, "there is not enough memory; free some");
        return 0;
    }
    int is_done = isoq_decode(file, NULL, set->scale, &buffer, error) == ISOQ_SUCCESS;
    FILE *out = is_done ? fopen(set->out, "wb") : NULL;
    if (is_done &&
        !(out && fwrite(buffer.samples, bands * size, rows * cols, out) == rows * cols)) {
        snprintf(error->message, sizeof error->message, "the output cannot be written");
        is_done = 0;
    }
    if (out && fclose(out)) is_done = 0;
    free(buffer.samples);
    if (is_done)
        printf("%s %zu %zu %zu %s\n", TYPES[image->type], bands, rows, cols,
               set->by_pixel ? "pixel" : "band");
    return is_done;
}

int main(int argc, char **argv) {
    options set = {.memory = (size_t)2048 << 20};
    isoq_error error = {ISOQ_SUCCESS, ""};
    isoq_model *models[MOST_MODELS] = {NULL};
    size_t size;
    int is_done = 0;
    if (!read_options(argc, argv, &set) || set.scale < 0 || set.scale > 4) {
        fprintf(stderr,
                "usage: isoq-decode [-m FOLDER]... [-s SCALE] [-p] [-l MEGABYTES] "
                "FILE.isoq OUT.raw\n");
        return 2;
    }
    void *data = contents(set.in, &size);
    if (!data) return 1;
    isoq_file *file = isoq_open(data, size, set.memory, &error);
    for (int k = 0; file && k < set.count; k++) {
        models[k] = open_model(set.models[k], set.memory, &error);
        if (models[k]) isoq_use_model(file, models[k], &error);
    }
    if (file) is_done = decode(file, &set, &error);
    if (!is_done) fprintf(stderr, "%s: %s\n", set.in, error.message);
    isoq_close(file);
    for (int k = 0; k < set.count; k++) isoq_close_model(models[k]);
    free(data);
    return !is_done;
}
