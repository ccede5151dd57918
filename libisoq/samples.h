/* Samples of any type, in this machine's order of bytes. All values of all types are exact in a
   double. */
#ifndef ISOQ_SAMPLES_H
#define ISOQ_SAMPLES_H

#include "work.h"

size_t isoq_sample_size(isoq_sample_type type);

/* Return or set sample `k` of an array. The value has to be one of the type. */
double isoq_get_sample(const void *samples, isoq_sample_type type, size_t k);
void isoq_set_sample(void *samples, isoq_sample_type type, size_t k, double value);

/* Set the least and the largest finite value of a type. */
void isoq_type_limits(isoq_sample_type type, double *least, double *most);

/* Return 1 and set `held` to the sample that a value is, for a float the nearest one; return 0 if
   the type cannot hold it. */
int isoq_holds(isoq_sample_type type, double value, double *held);

/* Return a number, not NaN, rounded and limited to a type. */
double isoq_rounded(isoq_sample_type type, double number);

/* Set `count` samples to little-endian ones. */
void isoq_copy_samples(void *to, isoq_sample_type type, const uint8_t *from, size_t count);

#endif
