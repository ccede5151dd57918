/* An open file: what its chunks before the tiles say (sections 2 to 5), and where the tiles are. */
#ifndef ISOQ_FILE_H
#define ISOQ_FILE_H

#include "bytes.h"
#include "model.h"

/* How an image is cut into tiles. pieces: along rows, columns and bands. */
typedef struct {
    uint64_t tile, block, depth;
    uint32_t row_pieces, col_pieces, band_pieces;
} isoq_tiling;

struct isoq_file {
    isoq_work work;
    isoq_image image;
    isoq_tiling tiling;
    isoq_bytes data;     /* the file */
    int is_compact;      /* it has no index, and one tile */
    size_t *start;       /* (tiles + 1,): of the chunks of the tiles, and the end of the last one */
    char *metadata;      /* of the chunk meta, "{}" without one */
    isoq_bytes embedded; /* chunk modl */
    double *nodata;      /* (bands,) */
    uint8_t *has_nodata; /* (bands,) */
    uint8_t *is_sampled; /* (bands,): reduced images have single samples, not means */
    const isoq_model *model;
    isoq_model *own_model;  /* the one that the file brings along, once it was opened */
    isoq_error model_error; /* why that one cannot be used */
};

/* Read what is before the tiles. */
int isoq_read_chunks(isoq_file *file);

/* Read the JSON of HEAD, a value that was checked; then mark the bands in `colormaps` of meta. */
int isoq_read_header(isoq_file *file, isoq_bytes text);
int isoq_read_classes(isoq_file *file);

/* Set `payload` to that of a tile, whose checksum is right. */
int isoq_find_tile(isoq_file *file, uint32_t tile, isoq_bytes *payload);

/* Return the place of a tile in the image. */
isoq_window isoq_tile_window(const isoq_file *file, uint32_t tile);

#endif
