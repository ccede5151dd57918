#include "inflate.h"

#include <limits.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>

/* Section 2.1: the first dictionary, then what compact headers have besides. */
enum { FIRST = 996, BOTH = 2176 };
#define DICTIONARY(model)                                                                 \
    "\"lossless\":[\"per_band\":true,\"max_error\"\"bitrate\"\"quality\"\"snr\"\"psnr\"," \
    "\"peak\":\"rmse\",\"physical\":true,\"varied\":true"                                 \
    "\"software\":\"isoq "                                                                \
    "\"source\":{\"name\":\".tif\",\"sha256\":\"predictive\","                            \
    "\"embedded_model\":\"scales\":[0.0001,\"offsets\":[0.0,\"units\":[\"gcps\""          \
    "\"descriptions\":[\"B02\",\"B03\",\"B04\",\"B08\"],\"colorinterp\":[\"red\","        \
    "\"green\",\"blue\",\"alpha\"],[\"gray\",\"undefined\",\"undefined\"],\"mask\":true"  \
    "{\"container\":\"GTiff\",\"crs\":\"EPSG:32631\",\"transform\":[10.0,0.0,600000.0,"   \
    "0.0,-10.0,4900020.0],\"tags\":{\"\":{\"TIFFTAG_SOFTWARE\":\"\"}}"                    \
    "\"int16\"int32\"uint8\"float32\","                                                   \
    "\"nodata\":\"nan\"-9999.0-32768.0\"loop\":\"single\""                                \
    "{\"image\":{\"bands\":1,\"rows\":256,\"cols\":256,\"dtype\":\"uint16\","             \
    "\"nodata\":0.0},\"tile\":1024,\"depth\":1,\"block\":64,\"model\":[\"eo16-1\",\""     \
    "\"],\"target\":{\"kind\":\"mse\",\"value\":25.0},\"loop\":\"closed\","               \
    "\"software\":\"isoq 0.1.0\"}"                                                        \
    "{\"mse\":[24.9],\"variance\":[10000.0],\"pixels\":[65536],\"blocks\":16,"            \
    "\"block_error\":{\"p5\":0.97,\"median\":0.99,\"p95\":0.99,\"max\":0.999},"           \
    "\"target_mse\":[25.0],\"above\":0,\"ceiling_limited\":0,\"floor_limited\":0,"        \
    "\"patched\":0,\"patch_bytes\":0}"                                                    \
    "\"per_band\":true,\"target_mse\":[25],\"above\":0,\"ceiling_limited\":0,"            \
    "\"dtype\":\"uint16\",\"nodata\":0},\"uint8\"},\"int16\"},\"float32\"}"               \
    "\"uint16\"},\"target\":{\"kind\":\"lossless\",\"value\":true},\"tile\":1024,"        \
    "\"depth\":1,\"block\":64,\"model\":" model                                           \
    ",\"loop\":\"closed\",\"lossless\":[1],\"software\":\"isoq 0.1.0\","                  \
    "\"stat\":{\"mse\":[0],\"variance\":[0],\"blocks\":0,\"modes\":{\"predictive\":1},"   \
    "\"max_error\":[0]}}"                                                                 \
    "},\"modes\":{\"predictive\":1},\"max_error\":[2]}}},\"floor_limited\":1}},"          \
    "\"patched\":1,\"patch_bytes\":1"                                                     \
    "\"uint16\"},\"target\":{\"kind\":\"rmse\",\"value\":\"uint16\"},"                    \
    "\"target\":{\"kind\":\"max_error\",\"value\":"                                       \
    "\"uint16\"},\"target\":{\"kind\":\"quality\",\"value\":0.0\"uint16\"},"              \
    "\"target\":{\"kind\":\"bitrate\",\"value\":0.0"                                      \
    "},\"tile\":1024,\"depth\":1,\"block\":64,\"model\":" model                           \
    ",\"loop\":\"single\",\"software\":\"isoq 0.1.0\","                                   \
    "\"stat\":{\"mse\":[1"                                                                \
    "\"uint16\"},\"target\":{\"kind\":\"snr\",\"value\":\"uint16\"},"                     \
    "\"target\":{\"kind\":\"psnr\",\"value\":"                                            \
    "{\"image\":{\"bands\":1,\"rows\":512,\"cols\":512,\"dtype\":\"uint16\"},"            \
    "\"target\":{\"kind\":\"mse\",\"value\":25},\"tile\":1024,\"depth\":1,\"block\":64,"  \
    "\"model\":" model                                                                    \
    ",\"loop\":\"closed\",\"software\":\"isoq 0.1.0\","                                   \
    "\"stat\":{\"mse\":[24.9],\"variance\":[1000],\"block_error\":{\"p5\":0.9,"           \
    "\"median\":0.9,\"p95\":0.9,\"max\":0.99}}}"
/* That of layouts 1 and 2, and that of layout 3: models and what compact headers say of them. */
static const char DICTIONARIES[2][BOTH + 1] = {
    DICTIONARY("[\"eo16-4\",\"43d55943101c1eb3\"]"),
    DICTIONARY("[\"eo16-5\",\"7dd44eed3ceb0b29\"]"),
};

static voidpf allocate_for_zlib(voidpf work, uInt count, uInt size) {
    return isoq_allocate((isoq_work *)work, count, size);
}

static void free_for_zlib(voidpf work, voidpf memory) { isoq_free((isoq_work *)work, memory); }

static int start(isoq_work *work, isoq_bytes from, isoq_wrapping wrapping, z_stream *stream) {
    memset(stream, 0, sizeof *stream);
    stream->zalloc = allocate_for_zlib;
    stream->zfree = free_for_zlib;
    stream->opaque = work;
    stream->next_in = (z_const Bytef *)(uintptr_t)from.at;
    stream->avail_in = (uInt)from.left;
    return from.left <= UINT_MAX &&
           inflateInit2(stream, wrapping == ISOQ_ZLIB ? MAX_WBITS : -MAX_WBITS) == Z_OK &&
           (wrapping < ISOQ_LAYOUT_2 ||
            inflateSetDictionary(stream, (const Bytef *)DICTIONARIES[wrapping - ISOQ_LAYOUT_2],
                                 BOTH) == Z_OK);
}

/* Inflate up to `size` bytes, of which `to` has room for all. Set `state` to what zlib says in the
   end. Return how many bytes there were. */
static size_t inflated(z_stream *stream, uint8_t *to, size_t size, int *state) {
    *state = Z_OK;
    stream->next_out = to;
    stream->avail_out = (uInt)size;
    while (*state == Z_OK && stream->avail_out) {
        *state = inflate(stream, Z_NO_FLUSH);
        if (*state == Z_NEED_DICT)
            *state = inflateSetDictionary(stream, (const Bytef *)DICTIONARIES[0], FIRST);
    }
    return size - stream->avail_out;
}

int isoq_inflate(isoq_work *work, isoq_bytes from, isoq_wrapping wrapping, uint8_t *to, size_t size,
                 const char *what) {
    z_stream stream;
    int state;
    uint8_t beyond;
    if (size > UINT_MAX || !start(work, from, wrapping, &stream)) return isoq_damaged(work, what);
    size_t found = inflated(&stream, to, size, &state);
    if (found == size && state == Z_OK) found += inflated(&stream, &beyond, 1, &state);
    inflateEnd(&stream);
    int is_well = state == Z_OK || state == Z_STREAM_END || state == Z_BUF_ERROR;
    return (is_well && found == size) || isoq_damaged(work, what);
}

/* Set `size` to how many bytes a stream holds, at most `most`. */
static int count(isoq_work *work, isoq_bytes from, isoq_wrapping wrapping, size_t most,
                 size_t *size, const char *what) {
    uint8_t room[1 << 12];
    z_stream stream;
    int state = Z_OK;
    *size = 0;
    if (!start(work, from, wrapping, &stream)) return isoq_damaged(work, what);
    while (state == Z_OK && *size <= most) *size += inflated(&stream, room, sizeof room, &state);
    inflateEnd(&stream);
    return (state == Z_STREAM_END && *size <= most && !stream.avail_in) || isoq_damaged(work, what);
}

int isoq_inflate_all(isoq_work *work, isoq_bytes from, isoq_wrapping wrapping, size_t most,
                     isoq_bytes *to, const char *what) {
    size_t size;
    if (!count(work, from, wrapping, most, &size, what)) return 0;
    uint8_t *room = (uint8_t *)isoq_allocate(work, size + 1, 1);
    if (!room || !isoq_inflate(work, from, wrapping, room, size, what)) return 0;
    *to = isoq_bytes_of(room, size);
    return 1;
}

static void *allocate_for_lzma(void *work, size_t count_of, size_t size) {
    return isoq_allocate((isoq_work *)work, count_of, size);
}

static void free_for_lzma(void *work, void *memory) { isoq_free((isoq_work *)work, memory); }

int isoq_unpack_lzma(isoq_work *work, isoq_bytes from, uint8_t *to, size_t size, const char *what) {
    const lzma_allocator allocator = {allocate_for_lzma, free_for_lzma, work};
    lzma_options_lzma options;
    lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, NULL}};
    lzma_stream stream = LZMA_STREAM_INIT;
    uint8_t beyond;
    memset(&options, 0, sizeof options);
    options.dict_size = 1u << 22;
    stream.allocator = &allocator;
    if (lzma_raw_decoder(&stream, filters) != LZMA_OK) return isoq_damaged(work, what);
    stream.next_in = from.at;
    stream.avail_in = from.left;
    stream.next_out = to;
    stream.avail_out = size;
    lzma_ret state = size ? lzma_code(&stream, LZMA_RUN) : LZMA_OK;
    if (state == LZMA_OK && !stream.avail_out) {
        stream.next_out = &beyond;
        stream.avail_out = 1;
        state = lzma_code(&stream, LZMA_RUN);
    }
    size_t found = (size_t)stream.total_out;
    lzma_end(&stream);
    return ((state == LZMA_OK || state == LZMA_STREAM_END || state == LZMA_BUF_ERROR) &&
            found == size) ||
           isoq_damaged(work, what);
}
