#include <string.h>

#include "file.h"
#include "inflate.h"

static const uint8_t SIGNATURE[8] = {0x89, 'I', 'S', 'Q', '\r', '\n', 0x1a, '\n'};
static const isoq_wrapping LAYOUTS[] = {ISOQ_ZLIB, ISOQ_LAYOUT_2, ISOQ_LAYOUT_3}; /* from 1 */
enum { FRAME = 12, LARGEST_TEXT = 1 << 24, LARGEST_CHUNK = 1 << 28 };

typedef struct {
    char kind[5];
    isoq_bytes payload;
} chunk;

static int is_kind(const chunk *found, const char *kind) { return !strcmp(found->kind, kind); }

/* Read the next chunk. */
static int next_chunk(isoq_file *file, isoq_bytes *rest, chunk *found) {
    const uint8_t *start = rest->at;
    const uint8_t *kind = isoq_take_bytes(rest, 4);
    uint32_t size = isoq_take_u32(rest);
    const uint8_t *payload = isoq_take_bytes(rest, size);
    uint32_t check = isoq_take_u32(rest);
    if (rest->is_damaged || size > LARGEST_CHUNK)
        return isoq_damaged(&file->work, "the file ends too early");
    memcpy(found->kind, kind, 4);
    found->kind[4] = 0;
    found->payload = isoq_bytes_of(payload, size);
    if (!isoq_is_checksum(isoq_crc(isoq_crc(0, start, 4), payload, size), check))
        return isoq_damaged(&file->work, "a checksum is wrong");
    return 1;
}

static int read_head(isoq_file *file, isoq_bytes payload) {
    isoq_bytes text;
    uint32_t layout = isoq_take_u8(&payload);
    if (file->image.bands) return isoq_damaged(&file->work, "there are two headers");
    if (payload.is_damaged || !layout || layout > sizeof LAYOUTS / sizeof *LAYOUTS)
        return isoq_fail(&file->work, ISOQ_ERROR_UNSUPPORTED,
                         "layout %u is not known; use a newer library", layout);
    file->is_compact = layout > 1;
    return isoq_inflate_all(&file->work, payload, LAYOUTS[layout - 1], LARGEST_TEXT, &text,
                            "the header does not decode") &&
           isoq_read_header(file, text);
}

static int read_meta(isoq_file *file, isoq_bytes payload) {
    isoq_bytes text;
    if (!isoq_inflate_all(&file->work, payload, ISOQ_ZLIB, LARGEST_TEXT, &text,
                          "the metadata do not decode"))
        return 0;
    file->metadata = (char *)(uintptr_t)text.at;
    return memchr(text.at, 0, text.left) ? isoq_damaged(&file->work, "the metadata are no JSON")
                                         : 1;
}

static int allocate_starts(isoq_file *file) {
    size_t count = (size_t)file->image.tiles + 1;
    file->start = (size_t *)isoq_allocate(&file->work, count, sizeof *file->start);
    return file->start != NULL;
}

/* Find the tiles: `at` bytes into the file is what follows INDX. */
static int read_index(isoq_file *file, isoq_bytes payload, size_t at) {
    if (!file->image.bands) return isoq_damaged(&file->work, "the header is missing");
    if (payload.left != 4 * (size_t)file->image.tiles)
        return isoq_damaged(&file->work, "the index does not fit the image");
    if (!allocate_starts(file)) return 0;
    for (uint32_t k = 0; k < file->image.tiles; k++) {
        size_t size = (size_t)isoq_take_u32(&payload) + FRAME;
        file->start[k] = at;
        at = size > file->data.left - at ? file->data.left : at + size;
    }
    file->start[file->image.tiles] = at;
    return 1;
}

/* Find the tile of a compact file: its chunk ends `at` bytes into the file. */
static int find_only_tile(isoq_file *file, size_t size, size_t at) {
    if (file->image.tiles != 1)
        return isoq_damaged(&file->work, "the header does not fit the file");
    if (!allocate_starts(file)) return 0;
    file->start[0] = at - size - FRAME;
    file->start[1] = at;
    return 1;
}

/* Read a chunk before the tiles; set `is_last` at the index, or at the tile of a compact file. */
static int read_chunk(isoq_file *file, const chunk *found, size_t at, int *is_last) {
    if (is_kind(found, "HEAD")) return read_head(file, found->payload);
    if (is_kind(found, "meta")) return read_meta(file, found->payload);
    if (is_kind(found, "modl")) file->embedded = found->payload;
    *is_last = is_kind(found, file->is_compact ? "TILE" : "INDX");
    if (*is_last)
        return file->is_compact ? find_only_tile(file, found->payload.left, at)
                                : read_index(file, found->payload, at);
    if (is_kind(found, "TILE") || is_kind(found, "IEND") || is_kind(found, "INDX"))
        return isoq_damaged(&file->work, "the parts are in a wrong order");
    if (found->kind[0] < 'A' || found->kind[0] > 'Z') return 1;
    return isoq_fail(&file->work, ISOQ_ERROR_UNSUPPORTED,
                     "the file holds a part that is not known; use a newer library");
}

int isoq_read_chunks(isoq_file *file) {
    isoq_bytes rest = file->data;
    const uint8_t *signature = isoq_take_bytes(&rest, sizeof SIGNATURE);
    int is_last = 0;
    if (!signature || memcmp(signature, SIGNATURE, sizeof SIGNATURE))
        return isoq_fail(&file->work, ISOQ_ERROR_DAMAGED, "not an .isoq file; check the name");
    while (!is_last) {
        chunk found;
        if (!next_chunk(file, &rest, &found) ||
            !read_chunk(file, &found, file->data.left - rest.left, &is_last))
            return 0;
    }
    file->image.has_model = file->embedded.left > 0;
    return isoq_read_classes(file);
}

int isoq_find_tile(isoq_file *file, uint32_t tile, isoq_bytes *payload) {
    size_t size = file->start[tile + 1] - file->start[tile];
    isoq_bytes rest = file->data;
    chunk found;
    isoq_take_bytes(&rest, file->start[tile]);
    if (!next_chunk(file, &rest, &found)) return 0;
    *payload = found.payload;
    if (!is_kind(&found, "TILE") || payload->left + FRAME != size)
        return isoq_damaged(&file->work, "a tile is not where the index says");
    return 1;
}
