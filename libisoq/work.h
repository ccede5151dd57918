/* What every function of the library works with: limited memory, and the first error.

   A function that can fail returns 1, or 0 after isoq_fail: callers chain them with &&. Memory
   belongs to the work, not to the functions: isoq_release_to gives back all that was allocated
   since a mark, on success and on failure alike. */
#ifndef ISOQ_WORK_H
#define ISOQ_WORK_H

#include "isoq.h"

typedef struct isoq_allocation isoq_allocation;

typedef struct {
    size_t limit, used; /* bytes */
    isoq_allocation *last;
    isoq_error error;
} isoq_work;

/* Note why something fails, unless something failed before. Return 0. The message is a format for
   printf. */
#if defined(__GNUC__) && !defined(_WIN32) /* whose printf gcc takes for an old one */
__attribute__((format(printf, 3, 4)))
#endif
int isoq_fail(isoq_work *work, isoq_code code, const char *message, ...);

/* Fail because the file is damaged; `what` is the subject of the message. */
int isoq_damaged(isoq_work *work, const char *what);

/* Return memory for `count` things of `size` bytes, all 0, aligned for any type. Fail and return
   null if that is beyond the limit. Nothing may be asked for: the address is valid then, too. */
void *isoq_allocate(isoq_work *work, size_t count, size_t size);

/* The same, but for the content, which is undefined: for large arrays that are filled. */
void *isoq_allocate_raw(isoq_work *work, size_t count, size_t size);
void isoq_free(isoq_work *work, void *memory);

/* Return a mark of what is allocated now, and release all that was allocated since. */
isoq_allocation *isoq_mark(const isoq_work *work);
void isoq_release_to(isoq_work *work, isoq_allocation *mark);

/* Make a work the one whose memory the shared headers take (limited.h), in this thread. Return the
   one before. */
isoq_work *isoq_enter(isoq_work *work);

#endif
