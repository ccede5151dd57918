/* Included before any header that the library shares with the Python package: memory that those
   allocate is the limited memory of the work that this thread is busy with (isoq_enter). */
#ifndef ISOQ_LIMITED_H
#define ISOQ_LIMITED_H

#include <stddef.h>

void *isoq_limited_allocate(size_t bytes);
void *isoq_limited_allocate_zeros(size_t count, size_t size);
void isoq_limited_free(void *memory);

#define ISOQ_MALLOC(bytes) isoq_limited_allocate(bytes)
#define ISOQ_CALLOC(count, bytes) isoq_limited_allocate_zeros(count, bytes)
#define ISOQ_REALLOC(memory, bytes) NULL /* only encoders let memory grow */
#define ISOQ_FREE(memory) isoq_limited_free(memory)

#endif
