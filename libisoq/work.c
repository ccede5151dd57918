#include "work.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limited.h"

#include "compiler.h"

/* What precedes allocated memory: all allocations of a work are a list. */
struct isoq_allocation {
    alignas(16) isoq_allocation *before, *after; /* as malloc aligns for any type */
    size_t size;
};

static ISOQ_THREAD_LOCAL isoq_work *current;

int isoq_fail(isoq_work *work, isoq_code code, const char *message, ...) {
    if (work->error.code == ISOQ_SUCCESS) {
        va_list arguments;
        va_start(arguments, message);
        vsnprintf(work->error.message, sizeof work->error.message, message, arguments);
        va_end(arguments);
        work->error.code = code;
    }
    return 0;
}

int isoq_damaged(isoq_work *work, const char *what) {
    return isoq_fail(work, ISOQ_ERROR_DAMAGED, "%s: the file is damaged; get another copy of it",
                     what);
}

/* Return memory, cleared or not. */
static void *allocate(isoq_work *work, size_t count, size_t size, int is_cleared) {
    const size_t own = sizeof(isoq_allocation);
    size_t left = work->limit - work->used;
    if (left < own || (size && count > (left - own) / size)) {
        isoq_fail(work, ISOQ_ERROR_MEMORY, "this takes more than %zu bytes of memory; allow more",
                  work->limit);
        return NULL;
    }
    size_t bytes = own + count * size;
    isoq_allocation *found = (isoq_allocation *)(is_cleared ? calloc(1, bytes) : malloc(bytes));
    if (!found) {
        isoq_fail(work, ISOQ_ERROR_MEMORY, "there is not enough memory; free some");
        return NULL;
    }
    *found = (isoq_allocation){work->last, NULL, bytes};
    if (work->last) work->last->after = found;
    work->last = found;
    work->used += bytes;
    return found + 1;
}

void *isoq_allocate(isoq_work *work, size_t count, size_t size) {
    return allocate(work, count, size, 1);
}

void *isoq_allocate_raw(isoq_work *work, size_t count, size_t size) {
    return allocate(work, count, size, 0);
}

void isoq_free(isoq_work *work, void *memory) {
    if (!memory) return;
    isoq_allocation *own = (isoq_allocation *)memory - 1;
    if (own->before) own->before->after = own->after;
    if (own->after)
        own->after->before = own->before;
    else
        work->last = own->before;
    work->used -= own->size;
    free(own);
}

isoq_allocation *isoq_mark(const isoq_work *work) { return work->last; }

void isoq_release_to(isoq_work *work, isoq_allocation *mark) {
    while (work->last != mark) isoq_free(work, work->last + 1);
}

isoq_work *isoq_enter(isoq_work *work) {
    isoq_work *before = current;
    current = work;
    return before;
}

void *isoq_limited_allocate(size_t bytes) { return isoq_allocate_raw(current, 1, bytes); }

void *isoq_limited_allocate_zeros(size_t count, size_t size) {
    return isoq_allocate(current, count, size);
}

void isoq_limited_free(void *memory) { isoq_free(current, memory); }
