/* How samples of a predicted band are made of integers (6.9). */
#ifndef ISOQ_MAPPING_H
#define ISOQ_MAPPING_H

#include "tile.h"

typedef enum { ISOQ_SPACED, ISOQ_LISTED, ISOQ_FLOATS, ISOQ_ROUNDED } isoq_mapping_kind;

typedef struct {
    isoq_mapping_kind kind;
    int64_t offset, least, most; /* least and most: of the integers, int32 */
    double unit;
    int64_t *listed; /* (missing + 1,): samples, or their bits; null unless listed */
    int32_t missing; /* gaps of the list */
} isoq_mapping;

/* Read the fields of a band up to the limits. */
int isoq_read_mapping(isoq_tile *tile, isoq_bytes *part, isoq_mapping *mapping);

/* Set the list of a mapping, given its gaps; check that all samples fit their type. */
int isoq_settle_mapping(isoq_tile *tile, isoq_mapping *mapping, const int32_t *gaps);

/* Return the integer that no valid sample may have since it stands for nodata; beyond int32 for
   none. */
int64_t isoq_avoided_integer(const isoq_tile *tile, const isoq_mapping *mapping, int band);

/* Set `count` samples of integers. */
void isoq_map_samples(const isoq_tile *tile, const isoq_mapping *mapping, const int32_t *integers,
                      void *samples, size_t count);

#endif
