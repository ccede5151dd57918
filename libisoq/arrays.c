#include "arrays.h"

#include <stdlib.h>
#include <string.h>

#include "inflate.h"

enum { LARGEST_MODEL = 1 << 26 };

int isoq_bad_model(isoq_work *work, const char *why) {
    return isoq_fail(work, ISOQ_ERROR_MODEL, "not a model that can be used (%s); get another copy",
                     why);
}

size_t isoq_element_size(const isoq_array *array) { return (size_t)(array->type[2] - '0'); }

isoq_array *isoq_add_array(isoq_work *work, isoq_arrays *arrays, const isoq_array *described) {
    static const char *const types[] = {"|u1", "|i1", "<u2", "<i4", "<i8", "<f4"};
    isoq_array *found = arrays->array + arrays->count;
    int is_known = 0;
    for (size_t k = 0; k < sizeof types / sizeof *types; k++)
        is_known |= !strcmp(described->type, types[k]);
    if (!is_known || arrays->count == ISOQ_MOST_ARRAYS) {
        isoq_bad_model(work, "an array is of an unknown type");
        return NULL;
    }
    *found = *described;
    found->count = 1;
    for (int k = 0; k < found->dimensions; k++) {
        if (found->shape[k] && found->count > LARGEST_MODEL / found->shape[k]) {
            isoq_bad_model(work, "an array is too large");
            return NULL;
        }
        found->count *= (size_t)found->shape[k];
    }
    found->data = (uint8_t *)isoq_allocate(work, found->count, isoq_element_size(found));
    if (!found->data) return NULL;
    arrays->count++;
    return found;
}

const isoq_array *isoq_find_array(const isoq_arrays *arrays, const char *name, const char *type,
                                  int dimensions) {
    for (int k = 0; k < arrays->count; k++) {
        const isoq_array *array = arrays->array + k;
        if (!strcmp(array->name, name))
            return !strcmp(array->type, type) && array->dimensions == dimensions ? array : NULL;
    }
    return NULL;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const isoq_array *)a)->name, ((const isoq_array *)b)->name);
}

void isoq_sort_arrays(isoq_arrays *arrays) {
    qsort(arrays->array, (size_t)arrays->count, sizeof *arrays->array, by_name);
}

static int is_little_endian(void) {
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 1;
}

void isoq_make_native(isoq_arrays *arrays) {
    for (int k = 0; k < arrays->count && !is_little_endian(); k++) {
        size_t size = isoq_element_size(arrays->array + k);
        for (size_t j = 0; j < arrays->array[k].count; j++) {
            uint8_t *element = arrays->array[k].data + j * size;
            for (size_t b = 0; b < size / 2; b++) {
                uint8_t byte = element[b];
                element[b] = element[size - 1 - b];
                element[size - 1 - b] = byte;
            }
        }
    }
}

/* ---- The chunk modl ---- */

/* Read [name, type, shape]. */
static int read_description(isoq_json value, isoq_array *described) {
    isoq_json rest = value, name, type, shape, side;
    memset(described, 0, sizeof *described);
    if (isoq_json_length(value) != 3 || !isoq_json_next(&rest, &name) ||
        !isoq_json_next(&rest, &type) || !isoq_json_next(&rest, &shape) ||
        !isoq_json_text(name, described->name, sizeof described->name) ||
        !isoq_json_text(type, described->type, sizeof described->type))
        return 0;
    described->dimensions = isoq_json_length(shape);
    if (described->dimensions < 0 || described->dimensions > ISOQ_MOST_DIMENSIONS) return 0;
    rest = shape;
    for (int k = 0; isoq_json_next(&rest, &side); k++)
        if (!isoq_json_whole(side, described->shape + k)) return 0;
    return 1;
}

/* Set the elements of an array from byte planes, the lowest first. */
static int read_planes(isoq_bytes *bytes, isoq_array *array) {
    size_t size = isoq_element_size(array);
    const uint8_t *planes = isoq_take_bytes(bytes, array->count * size);
    for (size_t b = 0; planes && b < size; b++)
        for (size_t k = 0; k < array->count; k++)
            array->data[k * size + b] = planes[b * array->count + k];
    return planes != NULL;
}

int isoq_read_embedded(isoq_work *work, isoq_bytes chunk, isoq_json *info, isoq_arrays *arrays) {
    isoq_bytes bytes;
    isoq_json all, rest, list, one;
    isoq_array described;
    if (!isoq_inflate_all(work, chunk, ISOQ_ZLIB, LARGEST_MODEL, &bytes,
                          "the embedded model does not decode") ||
        !isoq_check_json(work, isoq_take_part(&bytes), &all, "the embedded model is damaged"))
        return 0;
    rest = all;
    if (isoq_json_length(all) != 2 || !isoq_json_next(&rest, info) ||
        !isoq_json_next(&rest, &list) || isoq_json_length(list) < 0)
        return isoq_bad_model(work, "its description is damaged");
    rest = list;
    while (isoq_json_next(&rest, &one)) {
        if (!read_description(one, &described))
            return isoq_bad_model(work, "its description is damaged");
        isoq_array *array = isoq_add_array(work, arrays, &described);
        if (!array) return 0;
        if (!read_planes(&bytes, array)) return isoq_bad_model(work, "it ends too early");
    }
    isoq_sort_arrays(arrays);
    return 1;
}
