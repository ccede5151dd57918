/* What libisoq does with damaged files and models: an error, and no more memory than it may take.

     hostile ROUNDS FOLDER FILE...

   FOLDER is that of a model, with arrays that are not compressed. Every round changes one file,
   decodes it at some scale and with some limit of memory; every eighth changes the model. Built
   for fuzzing, checksums are not compared. Linked with --wrap=malloc,
   calloc and free, so that memory is counted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "isoq.h"

enum { MOST_FILES = 64, HEADER = 16, HANDLES = 1 << 16 };

/* ---- Memory that the library takes ---- */

static size_t live, peak;

void *__real_malloc(size_t size);
void __real_free(void *memory);

void *__wrap_malloc(size_t size) {
    uint8_t *memory = (uint8_t *)__real_malloc(size + HEADER);
    CHECK(memory);
    *(size_t *)(void *)memory = size;
    live += size;
    peak = live > peak ? live : peak;
    return memory + HEADER;
}

void *__wrap_calloc(size_t count, size_t size) {
    void *memory = __wrap_malloc(count * size);
    return memset(memory, 0, count * size);
}

void __wrap_free(void *memory) {
    if (!memory) return;
    live -= *(size_t *)(void *)((uint8_t *)memory - HEADER);
    __real_free((uint8_t *)memory - HEADER);
}

/* ---- Files ---- */

static stream contents(const char *folder, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s%s%s", folder, *folder ? "/" : "", name);
    FILE *file = fopen(path, "rb");
    CHECK(file && !fseek(file, 0, SEEK_END));
    stream read = {NULL, (size_t)ftell(file)};
    read.data = (uint8_t *)__real_malloc(read.size);
    rewind(file);
    CHECK(read.data && fread(read.data, 1, read.size, file) == read.size);
    fclose(file);
    return read;
}

/* Return a changed copy, of exactly its size: bytes changed, cut off, or moved. */
static stream changed(stream from) {
    stream to = {(uint8_t *)__real_malloc(from.size), from.size};
    CHECK(to.data);
    memcpy(to.data, from.data, from.size);
    int64_t kind = random_in(0, 9), last = (int64_t)from.size - 1;
    if (kind == 0) {
        to.size = (size_t)random_in(0, last);
        uint8_t *cut = (uint8_t *)__real_malloc(to.size);
        CHECK(cut || !to.size);
        if (to.size) memcpy(cut, to.data, to.size);
        __real_free(to.data);
        to.data = cut;
    } else if (kind == 1) {
        int64_t at = random_in(0, last), size = random_in(1, 40);
        for (int64_t k = at; k <= last - size; k++) to.data[k] = to.data[k + size];
    } else
        for (int64_t k = random_in(1, kind < 6 ? 1 : 4); k; k--)
            to.data[random_in(0, last)] ^= (uint8_t)(1u << random_in(0, 7));
    return to;
}

/* Decode a file, as far as it is not larger than its limit of memory. Return what happened. */
static isoq_code decode(stream data, const isoq_model *model, size_t limit) {
    static const size_t sizes[] = {1, 2, 2, 4, 4};
    isoq_error error = {ISOQ_SUCCESS, ""};
    isoq_buffer buffer = {NULL, 0, 0, 0};
    int scale = (int)random_in(0, 4);
    isoq_file *file = isoq_open(data.data, data.size, limit, &error);
    if (file) {
        const isoq_image *image = isoq_describe(file);
        if (model) isoq_use_model(file, model, NULL);
        size_t pixels = (size_t)image->rows * image->cols;
        buffer.col = (ptrdiff_t)sizes[image->type];
        buffer.row = buffer.col * (ptrdiff_t)image->cols;
        buffer.band = buffer.row * (ptrdiff_t)image->rows;
        if (pixels < 1 << 20 && pixels * image->bands < 1 << 20) {
            buffer.samples = __real_malloc((size_t)buffer.band * image->bands);
            CHECK(buffer.samples);
            isoq_decode(file, NULL, scale, &buffer, &error);
            if (image->has_mask) isoq_decode_mask(file, NULL, scale, &buffer, NULL);
            __real_free(buffer.samples);
        }
    }
    isoq_close(file);
    CHECK(!strchr(error.message, '\n') && (error.code == ISOQ_SUCCESS) == !*error.message);
    return error.code;
}

/* Decode a changed file, or a file with a changed model. Return what happened. */
static isoq_code run(stream file, stream json, stream arrays, const isoq_model *model, int round) {
    size_t limit = round % 3 ? (size_t)1 << 26 : (size_t)1 << random_in(8, 24), before = live;
    stream other = changed(round % 8 ? file : round % 16 ? json : arrays);
    isoq_error error;
    isoq_code code;
    peak = live;
    if (round % 8)
        code = decode(other, model, limit);
    else {
        isoq_model *own =
            round % 16
                ? isoq_open_model(other.data, other.size, arrays.data, arrays.size, limit, &error)
                : isoq_open_model(json.data, json.size, other.data, other.size, limit, &error);
        code = own ? decode(file, own, (size_t)1 << 26) : error.code;
        limit += (size_t)1 << 26;
        isoq_close_model(own);
    }
    CHECK(live == before && peak - before <= limit + HANDLES);
    __real_free(other.data);
    return code;
}

int main(int argc, char **argv) {
    stream files[MOST_FILES];
    int count = argc - 3, codes[ISOQ_ERROR_ARGUMENT + 1] = {0};
    CHECK(count > 0 && count <= MOST_FILES);
    stream json = contents(argv[2], "model.json"), arrays = contents(argv[2], "decoder.npz");
    isoq_model *model =
        isoq_open_model(json.data, json.size, arrays.data, arrays.size, (size_t)1 << 26, NULL);
    CHECK(model);
    for (int k = 0; k < count; k++) files[k] = contents("", argv[k + 3]);
    for (int round = 0; round < atoi(argv[1]); round++)
        codes[run(files[random_in(0, count - 1)], json, arrays, model, round)]++;
    isoq_close_model(model);
    for (int k = 0; k < count; k++) __real_free(files[k].data);
    __real_free(json.data);
    __real_free(arrays.data);
    for (int k = 0; k <= ISOQ_ERROR_ARGUMENT; k++) printf("%d ", codes[k]);
    return 0;
}
