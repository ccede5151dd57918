#include <string.h>

#include "arrays.h"
#include "inflate.h"

/* A file in a ZIP file (APPNOTE 6.3, without ZIP64). */
typedef struct {
    const uint8_t *name;
    uint32_t name_size, method, packed, size, start; /* start: of the local header */
} member;

enum { END_SIZE = 22, DEFLATED = 8, STORED = 0, LARGEST_MEMBER = 1 << 27 };

static uint32_t u16(const uint8_t *at) { return at[0] | (uint32_t)at[1] << 8; }

static uint32_t u32(const uint8_t *at) { return u16(at) | u16(at + 2) << 16; }

/* Set `directory` to the list of members. */
static int find_directory(isoq_bytes zip, isoq_bytes *directory) {
    for (size_t back = END_SIZE; back <= zip.left && back < END_SIZE + (1u << 16); back++) {
        const uint8_t *end = zip.at + zip.left - back;
        if (memcmp(end, "PK\5\6", 4)) continue;
        size_t size = u32(end + 12), start = u32(end + 16);
        if (start > zip.left || size > zip.left - start) return 0;
        *directory = isoq_bytes_of(zip.at + start, size);
        return 1;
    }
    return 0;
}

/* Read the next entry of a directory. */
static int next_member(isoq_bytes *directory, member *found) {
    const uint8_t *entry = isoq_take_bytes(directory, 46);
    if (!entry || memcmp(entry, "PK\1\2", 4)) return 0;
    found->method = u16(entry + 10);
    found->packed = u32(entry + 20);
    found->size = u32(entry + 24);
    found->name_size = u16(entry + 28);
    found->start = u32(entry + 42);
    found->name = isoq_take_bytes(directory, found->name_size);
    return isoq_take_bytes(directory, u16(entry + 30) + u16(entry + 32)) != NULL;
}

/* Return the content of a member, null if it is damaged. */
static uint8_t *unpacked(isoq_work *work, isoq_bytes zip, const member *found) {
    isoq_bytes rest = zip;
    isoq_take_bytes(&rest, found->start);
    const uint8_t *header = isoq_take_bytes(&rest, 30);
    if (!header || found->size > LARGEST_MEMBER) return NULL;
    isoq_take_bytes(&rest, u16(header + 26) + u16(header + 28));
    const uint8_t *packed = isoq_take_bytes(&rest, found->packed);
    uint8_t *plain = packed ? (uint8_t *)isoq_allocate(work, found->size, 1) : NULL;
    if (!plain) return NULL;
    if (found->method == STORED && found->packed == found->size)
        memcpy(plain, packed, found->size);
    else if (found->method != DEFLATED ||
             !isoq_inflate(work, isoq_bytes_of(packed, found->packed), ISOQ_RAW_DEFLATE, plain,
                           found->size, "an array does not decode"))
        return NULL;
    return plain;
}

/* Return what follows a key in the header of an array, a Python literal; null if it lacks it. */
static const char *value_of(const char *header, const char *key) {
    const char *at = strstr(header, key);
    if (!at) return NULL;
    at += strlen(key);
    return at + strspn(at, " :");
}

/* Read the tuple of a shape. */
static int read_shape(const char *at, isoq_array *array) {
    if (!at || *at++ != '(') return 0;
    while (*at != ')') {
        uint64_t side = 0;
        if (*at < '0' || *at > '9' || array->dimensions == ISOQ_MOST_DIMENSIONS) return 0;
        for (; *at >= '0' && *at <= '9'; at++) {
            if (side >> 40) return 0;
            side = 10 * side + (uint64_t)(*at - '0');
        }
        array->shape[array->dimensions++] = side;
        at += strspn(at, ", ");
    }
    return 1;
}

/* Read the header of a .npy file: type, order and shape. */
static int read_npy(isoq_bytes *npy, isoq_array *array) {
    char header[512];
    const uint8_t *magic = isoq_take_bytes(npy, 8);
    if (!magic || memcmp(magic, "\x93NUMPY", 6) || magic[6] < 1 || magic[6] > 3) return 0;
    const uint8_t *size_of = isoq_take_bytes(npy, magic[6] == 1 ? 2 : 4);
    uint32_t size = !size_of ? 0 : magic[6] == 1 ? u16(size_of) : u32(size_of);
    const uint8_t *text = isoq_take_bytes(npy, size);
    if (!text || size >= sizeof header) return 0;
    memcpy(header, text, size);
    header[size] = 0;
    const char *type = value_of(header, "'descr'"), *order = value_of(header, "'fortran_order'");
    if (!type || !order || type[0] != '\'' || strncmp(order, "False", 5)) return 0;
    const char *end = strchr(type + 1, '\'');
    if (!end || end - type - 1 >= (ptrdiff_t)sizeof array->type) return 0;
    memcpy(array->type, type + 1, (size_t)(end - type - 1));
    return read_shape(value_of(header, "'shape'"), array);
}

/* Read one array. */
static int read_member(isoq_work *work, isoq_bytes zip, const member *found, isoq_arrays *arrays) {
    isoq_array described = {0};
    const uint32_t ending = 4; /* ".npy" */
    if (found->name_size < ending || found->name_size - ending >= sizeof described.name)
        return isoq_bad_model(work, "an array has an unknown name");
    memcpy(described.name, found->name, found->name_size - ending);
    uint8_t *plain = unpacked(work, zip, found);
    isoq_bytes npy = isoq_bytes_of(plain, found->size);
    if (!plain || !read_npy(&npy, &described)) return isoq_bad_model(work, "an array is damaged");
    isoq_array *array = isoq_add_array(work, arrays, &described);
    if (!array) return 0;
    size_t size = array->count * isoq_element_size(array);
    if (npy.left != size) return isoq_bad_model(work, "an array is of another size than it says");
    if (size) memcpy(array->data, npy.at, size);
    isoq_free(work, plain);
    return 1;
}

int isoq_read_npz(isoq_work *work, isoq_bytes npz, isoq_arrays *arrays) {
    isoq_bytes directory;
    member found;
    if (!find_directory(npz, &directory)) return isoq_bad_model(work, "decoder.npz is no ZIP file");
    while (directory.left) {
        if (!next_member(&directory, &found))
            return isoq_bad_model(work, "the directory of decoder.npz is damaged");
        if (!read_member(work, npz, &found, arrays)) return 0;
    }
    isoq_sort_arrays(arrays);
    return 1;
}
