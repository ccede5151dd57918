/* A tile while it is decoded (section 6). What calls what:

     tile.c          isoq_decode_tile: the fields and the order of decoding
     groups.c        the groups of bands
     quality.c       quality maps, levels of latents, and the recorded errors that follow them
     latents.c       streams, their segments, and latents
     synthesis.c     from latents to samples
     predicted.c     bands that are predicted from each other; mapping.c: their integers as samples
     lossless.c      bands of codes or noise
     mask.c          classes of samples
     restore.c       ranges, nodata and other special values
     patches.c       corrections of blocks
     reduce.c        means, for reduced images */
#ifndef ISOQ_TILE_H
#define ISOQ_TILE_H

#include "file.h"
#include "samples.h"

typedef enum {
    ISOQ_EMPTY,
    ISOQ_CONSTANT,
    ISOQ_TRANSFORM,
    ISOQ_LOSSLESS,
    ISOQ_SPECTRAL,
    ISOQ_PREDICTIVE
} isoq_mode;

typedef enum {
    ISOQ_CLASS_VALID,
    ISOQ_CLASS_NODATA,
    ISOQ_CLASS_NAN,
    ISOQ_CLASS_PLUS_INFINITY,
    ISOQ_CLASS_MINUS_INFINITY,
    ISOQ_CLASS_MASKED
} isoq_class;

/* Bands that are coded together. The model codes transform and spectral groups. */
typedef struct {
    isoq_mode mode;
    int first, bands;
    isoq_bytes part;        /* constant: values; lossless, predictive: their part */
    int is_whole, is_lossy; /* predictive: see section 6.9 */
    double *scale, *offset; /* transform: (bands,) */
    int components;
    int fraction, precision; /* transform: bits behind the point of components, and of `factor` */
    int32_t *factor;         /* spectral: (bands, components) */
    int32_t *level;          /* transform: (grid_rows, grid_cols) */
} isoq_group;

typedef struct {
    isoq_work *work;
    const isoq_file *file;
    const isoq_model *model; /* null if there is none */
    isoq_bytes payload;      /* all bytes of the tile */
    isoq_sample_type type;
    int bands, rows, cols, block, grid_rows, grid_cols;
    int scale, out_rows, out_cols;          /* of the reduced image */
    const double *nodata;                   /* (bands,) */
    const uint8_t *has_nodata, *is_sampled; /* (bands,) */
    uint8_t *classes;                       /* (bands, rows, cols); null if all are valid */
    uint8_t *out_classes;                   /* the same of the reduced image */
    double *low, *high;                     /* (bands,): ranges; null if there are none */
    isoq_group *group;
    int groups;
    uint8_t *is_exact; /* (bands,): kept as they are, also under masks and patches */
    uint8_t *samples;  /* (bands, out_rows, out_cols) */
} isoq_tile;

/* Start to read a tile of a file: the fields up to the ranges. `rest` is what follows them. */
int isoq_open_tile(isoq_file *file, uint32_t number, int scale, isoq_tile *tile, isoq_bytes *rest);

/* Decode a tile into tile->samples. */
int isoq_decode_tile(isoq_file *file, uint32_t number, int scale, isoq_tile *tile);

/* Return the samples of a band. */
void *isoq_plane(const isoq_tile *tile, int band);

/* Return whether a transform codes a group. */
int isoq_is_transformed(const isoq_group *group);

/* Return the number of valid samples of a block of a band. */
int isoq_count_valid(const isoq_tile *tile, int band, int block_row, int block_col);

/* ---- The parts, in the order of the stream ---- */

int isoq_read_mask(isoq_tile *tile, isoq_bytes part);
int isoq_read_ranges(isoq_tile *tile, isoq_bytes part);
int isoq_read_groups(isoq_tile *tile, isoq_bytes *payload);
int isoq_read_quality(isoq_tile *tile, isoq_bytes *payload);

/* Read the streams of all components, and decode them into the samples of their groups. Sets
   `check` to the CRC-32 of the latents. */
int isoq_decode_transformed(isoq_tile *tile, isoq_bytes *rest, uint32_t *check);

/* Set samples of a group (bands, rows, cols). */
int isoq_decode_lossless(isoq_tile *tile, const isoq_group *group, void *samples);
int isoq_decode_predicted(isoq_tile *tile, const isoq_group *group, void *samples);

/* Limit samples to their ranges, and put special values back (6.2); exact bands stay as they are.
 */
void isoq_restore(isoq_tile *tile);

int isoq_apply_patches(isoq_tile *tile, isoq_bytes part);

/* Set the samples of a group at a reduced scale from all of its samples (bands, rows, cols). */
void isoq_reduce(isoq_tile *tile, const isoq_group *group, const void *samples);

#endif
