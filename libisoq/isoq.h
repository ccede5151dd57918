/* libisoq: a decoder of .isoq files (docs/format.md) in C11, with no other dependencies than zlib
   and liblzma.

   A file is decoded from memory. The library takes no more memory than the caller allows, reads no
   other files, starts no threads and has no state besides its handles. Damaged and hostile files
   give an error. Samples are the same on every machine, and the same as those of the Python
   package, for models of wavelets. Models with learned transforms are refused: they need a runtime
   for neural networks.

     isoq_error error;
     isoq_file *file = isoq_open(data, size, (size_t)1 << 30, &error);
     if (!file) { puts(error.message); return 1; }
     const isoq_image *image = isoq_describe(file);
     ...
     isoq_use_model(file, model, &error);
     isoq_decode(file, NULL, 0, &buffer, &error);
     isoq_close(file);

   One thread uses a handle of a file at a time. Several handles may be open on the same bytes, and
   share a model. */
#ifndef ISOQ_H
#define ISOQ_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ISOQ_PUBLIC __attribute__((visibility("default")))
#else
#define ISOQ_PUBLIC
#endif

typedef enum {
    ISOQ_SUCCESS = 0,
    ISOQ_ERROR_DAMAGED,     /* the file is not what an encoder writes */
    ISOQ_ERROR_UNSUPPORTED, /* a newer version, or something else that this library cannot do */
    ISOQ_ERROR_MODEL,       /* the model is missing, is another one, or cannot be used */
    ISOQ_ERROR_MEMORY,      /* it takes more memory than the limit, or than there is */
    ISOQ_ERROR_ARGUMENT     /* the caller asked for something that does not exist */
} isoq_code;

/* Why a function failed: one line, without the name of the file. */
typedef struct {
    isoq_code code;
    char message[160];
} isoq_error;

typedef enum {
    ISOQ_SAMPLE_UINT8,
    ISOQ_SAMPLE_UINT16,
    ISOQ_SAMPLE_INT16,
    ISOQ_SAMPLE_INT32,
    ISOQ_SAMPLE_FLOAT32
} isoq_sample_type;

typedef struct {
    uint32_t bands, rows, cols;
    isoq_sample_type type;
    uint32_t tiles;
    char model[64], identity[17]; /* name and identity of the model that the file was made with */
    int has_model;                /* the file brings that model along */
    int has_mask;                 /* the image has a mask beside its bands: isoq_decode_mask */
} isoq_image;

/* A part of an image. Bands, rows and columns count from 0. */
typedef struct {
    uint32_t band, row, col, bands, rows, cols;
} isoq_window;

/* Where decoded samples go: the first one, and how many bytes apart neighbouring bands, rows and
   columns are. */
typedef struct {
    void *samples;
    ptrdiff_t band, row, col;
} isoq_buffer;

typedef struct isoq_model isoq_model;
typedef struct isoq_file isoq_file;

/* In all functions, `error` may be null. */

/* Open the model of a folder, given its files model.json and decoder.npz, which need not outlive
   the call. memory: bytes that the model may take. Return null on failure. */
ISOQ_PUBLIC isoq_model *isoq_open_model(const void *json, size_t json_size, const void *arrays,
                                        size_t arrays_size, size_t memory, isoq_error *error);
ISOQ_PUBLIC void isoq_close_model(isoq_model *model);

/* Open a file of `size` bytes, which have to outlive the handle. memory: bytes that the handle may
   take, also while it decodes: 42 per sample of a tile (the sides at least 64 and multiples of 16),
   8 per tile of the file, 8 MiB for tables and rows of the network, and as much as the metadata and
   an embedded model. Return null on failure. */
ISOQ_PUBLIC isoq_file *isoq_open(const void *data, size_t size, size_t memory, isoq_error *error);
ISOQ_PUBLIC void isoq_close(isoq_file *file);

/* Return what the image is like. It lives as long as the handle. */
ISOQ_PUBLIC const isoq_image *isoq_describe(const isoq_file *file);

/* Return 1 and set `value` to the nodata value of a band; return 0 if there is none. */
ISOQ_PUBLIC int isoq_nodata(const isoq_file *file, uint32_t band, double *value);

/* Return the metadata (section 4 of the format), JSON that ends with a 0; "{}" without any. It
   lives as long as the handle. */
ISOQ_PUBLIC const char *isoq_metadata(const isoq_file *file);

/* Decode with a model, which has to outlive the handle, instead of one that the file brings along.
   Tiles that no transform codes (lossless and predicted ones) need no model. Fail with
   ISOQ_ERROR_MODEL if the file was made with another one. */
ISOQ_PUBLIC isoq_code isoq_use_model(isoq_file *file, const isoq_model *model, isoq_error *error);

/* Set `window` to the place of a tile in the image of a scale; see isoq_decode. */
ISOQ_PUBLIC isoq_code isoq_place_of_tile(const isoq_file *file, uint32_t tile, int scale,
                                         isoq_window *window, isoq_error *error);

/* Decode a window of an image into a buffer; without a window (null), all of it.

   scale: 0 for the image itself; 1 ... 4 for 1/2, 1/4, 1/8 and 1/16 of its rows and columns,
   rounded up. Only what that needs is decoded where transforms code the bands. The window is one of
   the reduced image. Tiles are decoded one at a time: ask for whole tiles where that is possible.
 */
ISOQ_PUBLIC isoq_code isoq_decode(isoq_file *file, const isoq_window *window, int scale,
                                  const isoq_buffer *buffer, isoq_error *error);

/* Decode the mask of a window: a byte per pixel, 1 where the image has a value, 0 where it is
   masked. band: of the window, has to be 0, and bands 1. The samples of the buffer are uint8_t. */
ISOQ_PUBLIC isoq_code isoq_decode_mask(isoq_file *file, const isoq_window *window, int scale,
                                       const isoq_buffer *buffer, isoq_error *error);

#ifdef __cplusplus
}
#endif

#endif
