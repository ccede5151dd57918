/* The arrays of a model: from decoder.npz, a ZIP file of NumPy arrays (section 11), or from the
   chunk that a file brings along (section 11.1). */
#ifndef ISOQ_ARRAYS_H
#define ISOQ_ARRAYS_H

#include "json.h"

enum { ISOQ_MOST_DIMENSIONS = 6, ISOQ_MOST_ARRAYS = 64 };

typedef struct {
    char name[40], type[4]; /* type: NumPy's, "<i4" */
    int dimensions;
    uint64_t shape[ISOQ_MOST_DIMENSIONS];
    size_t count; /* of elements */
    uint8_t *data;
} isoq_array;

typedef struct {
    int count;
    isoq_array array[ISOQ_MOST_ARRAYS]; /* by name */
} isoq_arrays;

/* Read the arrays of decoder.npz. */
int isoq_read_npz(isoq_work *work, isoq_bytes npz, isoq_arrays *arrays);

/* Read the chunk modl: the description of a model, and its arrays. The model may have a graph
   besides, which is left out. */
int isoq_read_embedded(isoq_work *work, isoq_bytes chunk, isoq_json *info, isoq_arrays *arrays);

/* Return the array of a name, type and number of dimensions; null if there is none. */
const isoq_array *isoq_find_array(const isoq_arrays *arrays, const char *name, const char *type,
                                  int dimensions);

/* ---- For those who read arrays ---- */

/* Append an array with a name, a type and a shape, and memory for its elements. Fail if it is
   impossible. */
isoq_array *isoq_add_array(isoq_work *work, isoq_arrays *arrays, const isoq_array *described);

/* Fail because a model is not what it should be. */
int isoq_bad_model(isoq_work *work, const char *why);

/* Return the bytes of an element. */
size_t isoq_element_size(const isoq_array *array);

/* Sort arrays by name. */
void isoq_sort_arrays(isoq_arrays *arrays);

/* Turn the elements of all arrays, which are little-endian, into this machine's. */
void isoq_make_native(isoq_arrays *arrays);

#endif
