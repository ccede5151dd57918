/* Compressed bytes: zlib streams, raw deflate (in ZIP files) and raw LZMA2 (lossless bands). */
#ifndef ISOQ_INFLATE_H
#define ISOQ_INFLATE_H

#include "bytes.h"

typedef enum { ISOQ_ZLIB, ISOQ_RAW_DEFLATE } isoq_wrapping;

/* Set `to` to the `size` bytes that a stream holds: no more and no less. */
int isoq_inflate(isoq_work *work, isoq_bytes from, isoq_wrapping wrapping, uint8_t *to, size_t size,
                 const char *what);

/* Set `to` to all that a zlib stream holds, at most `most` bytes, and a 0 behind. It may have the
   preset dictionary of section 2.1. */
int isoq_inflate_all(isoq_work *work, isoq_bytes from, size_t most, isoq_bytes *to,
                     const char *what);

/* Set `to` to the `size` bytes that a raw LZMA2 stream with a dictionary of 4 MiB holds. */
int isoq_unpack_lzma(isoq_work *work, isoq_bytes from, uint8_t *to, size_t size, const char *what);

#endif
