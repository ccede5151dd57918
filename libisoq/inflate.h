/* Compressed bytes: zlib streams, raw deflate (in ZIP files) and raw LZMA2 (lossless bands). */
#ifndef ISOQ_INFLATE_H
#define ISOQ_INFLATE_H

#include "bytes.h"

/* ISOQ_LAYOUT_2, 3: raw deflate with the preset dictionary of the compact headers of that layout
   (section 2.1). */
typedef enum { ISOQ_ZLIB, ISOQ_RAW_DEFLATE, ISOQ_LAYOUT_2, ISOQ_LAYOUT_3 } isoq_wrapping;

/* Set `to` to the `size` bytes that a stream holds: no more and no less. */
int isoq_inflate(isoq_work *work, isoq_bytes from, isoq_wrapping wrapping, uint8_t *to, size_t size,
                 const char *what);

/* Set `to` to all that a stream holds, at most `most` bytes, and a 0 behind. A zlib stream may have
   the first preset dictionary of section 2.1. */
int isoq_inflate_all(isoq_work *work, isoq_bytes from, isoq_wrapping wrapping, size_t most,
                     isoq_bytes *to, const char *what);

/* Set `to` to the `size` bytes that a raw LZMA2 stream with a dictionary of 4 MiB holds. */
int isoq_unpack_lzma(isoq_work *work, isoq_bytes from, uint8_t *to, size_t size, const char *what);

#endif
