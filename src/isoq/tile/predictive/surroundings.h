/* The surroundings of the samples that the fit tries.

   isoq_field has the planes and, for each plane, a list of places that are tried. isoq_look gathers
   the surroundings of the places of one plane in another plane: a row per neighbour, so that sums
   over places become vectors. Rows are kept for the last 13 planes, which is as far as references
   reach. */
#ifndef ISOQ_SURROUNDINGS_H
#define ISOQ_SURROUNDINGS_H

#include "plan.h"

enum {
    ISOQ_AROUND = 14, /* places around a sample that weights may be of, but the one to the west */
    ISOQ_CANDIDATES = 12 /* nearest earlier planes that references are chosen from */
};

/* ISOQ_OWN_PLACES but the first, in that order, then the rest of ISOQ_REFERENCE_PLACES. */
static const int8_t ISOQ_AROUND_PLACES[ISOQ_AROUND][2] = {
    {0, -2},  {-1, 0},  {-1, -1}, {-1, 1}, {-2, 0}, {-2, 1}, {-1, 2},
    {-1, -2}, {-2, -1}, {0, 0},   {0, 1},  {1, 0},  {1, -1}, {1, 1}};
enum { ISOQ_NORTH = 1, ISOQ_CORNER = 2, ISOQ_HERE = 9, ISOQ_EAST = 10, ISOQ_SOUTH = 11 };

/* ISOQ_REFERENCE_PLACES but the first, as places among those around. */
static const int8_t ISOQ_REFERENCE_ROWS[ISOQ_FIRST_TAPS - 1] = {
    ISOQ_HERE, ISOQ_NORTH, ISOQ_EAST, ISOQ_SOUTH, ISOQ_CORNER, 3, 12, 13};

typedef struct {
    const int32_t *planes;  /* (planes, rows, cols) */
    const int64_t *places;  /* index in a plane, all lists one after the other; at least 2 from the
                               upper, left and right border, 1 from the lower */
    const int64_t *first;   /* (planes,): where the list of a plane begins. Its first 16th and first
                               quarter are even choices of it */
    const int64_t *count;   /* (planes,): length of the list; 0: the plane is not fitted */
    int number, rows, cols; /* of planes */
} isoq_field;

/* Rows hold 0 beyond the last place, up to whole lanes. */
typedef struct {
    int64_t places;          /* where in isoq_field.places the list begins; -1: nothing is known */
    float *row[ISOQ_AROUND]; /* neighbour minus the sample to the west */
    float *detail;           /* sample minus the mean of its neighbours, of the first quarter */
    float *error;            /* of the plane's own prediction at its own places */
    float mean;              /* magnitude of that */
} isoq_surroundings;

typedef struct {
    const isoq_field *field;
    isoq_surroundings known[ISOQ_CANDIDATES + 1]; /* plane k at k modulo their number */
    int64_t longest;                              /* list of places, in whole lanes */
    float *activity; /* (longest,): what is active around the places of a plane */
    float *scale;    /* (longest,): weights of places in a sum */
    float *memory;   /* of all of them */
} isoq_fitter;

/* Return n rounded up to whole lanes. */
static inline int64_t isoq_whole_lanes(int64_t n) {
    return (n + ISOQ_LANES - 1) / ISOQ_LANES * ISOQ_LANES;
}

/* Return how many of n places first steps try: a quarter, in whole lanes. */
static inline int64_t isoq_few_of(int64_t n) { return isoq_whole_lanes((n + 3) / 4); }

static inline isoq_surroundings *isoq_known_of(isoq_fitter *fitter, int plane) {
    return fitter->known + plane % (ISOQ_CANDIDATES + 1);
}

/* Release what isoq_allocate_fitter allocated. */
ISOQ_API void isoq_release_fitter(isoq_fitter *fitter) { ISOQ_FREE(fitter->memory); }

ISOQ_API float *isoq_take_row(isoq_fitter *fitter, float **memory) {
    float *taken = *memory;
    *memory += fitter->longest;
    return taken;
}

/* Allocate rows for the longest list of a field, aligned to whole vectors. Release them in any
 * case. */
ISOQ_API isoq_status isoq_allocate_fitter(isoq_fitter *fitter, const isoq_field *field) {
    const size_t alignment = ISOQ_LANES * sizeof(float);
    int kept = field->number < ISOQ_CANDIDATES + 1 ? field->number : ISOQ_CANDIDATES + 1;
    memset(fitter, 0, sizeof *fitter);
    fitter->field = field;
    for (int k = 0; k < field->number; k++)
        if (field->count[k] > fitter->longest) fitter->longest = field->count[k];
    fitter->longest = isoq_whole_lanes(fitter->longest);
    size_t rows = (size_t)kept * (ISOQ_AROUND + 2) + 2;
    size_t bytes = rows * (size_t)fitter->longest * sizeof(float);
    fitter->memory = (float *)ISOQ_MALLOC(bytes + alignment);
    if (!fitter->memory) return ISOQ_NO_MEMORY;
    float *memory = isoq_aligned(fitter->memory, alignment);
    for (int k = 0; k < kept; k++) {
        isoq_surroundings *known = fitter->known + k;
        known->places = -1;
        for (int r = 0; r < ISOQ_AROUND; r++) known->row[r] = isoq_take_row(fitter, &memory);
        known->detail = isoq_take_row(fitter, &memory);
        known->error = isoq_take_row(fitter, &memory);
    }
    fitter->activity = isoq_take_row(fitter, &memory);
    fitter->scale = isoq_take_row(fitter, &memory);
    return ISOQ_OK;
}

/* Set to[k] = a[k] - b[k], exact before it is rounded to a float. */
ISOQ_MULTIVERSION void isoq_subtract(const int32_t *ISOQ_RESTRICT a, const int32_t *ISOQ_RESTRICT b,
                                     float *ISOQ_RESTRICT to, int n) {
    for (int k = 0; k < n; k++) to[k] = (float)((double)a[k] - b[k]);
}

/* Gather n neighbours of places in a plane, in pieces that stay in the cache. */
ISOQ_API void isoq_gather(const isoq_field *field, const int32_t *samples, const int64_t *places,
                          int64_t n, isoq_surroundings *to) {
    enum { PIECE = 256 };
    for (int64_t k = 0; k < n; k += PIECE) {
        int32_t west[PIECE], found[PIECE];
        int size = (int)(n - k < PIECE ? n - k : PIECE);
        for (int j = 0; j < size; j++) west[j] = samples[places[k + j] - 1];
        for (int r = 0; r < ISOQ_AROUND; r++) {
            ptrdiff_t away =
                (ptrdiff_t)ISOQ_AROUND_PLACES[r][0] * field->cols + ISOQ_AROUND_PLACES[r][1];
            for (int j = 0; j < size; j++) found[j] = samples[places[k + j] + away];
            isoq_subtract(found, west, to->row[r] + k, size);
        }
    }
}

/* Return what is known of plane `plane` at the places of plane `at`; gather it if nothing is. */
ISOQ_MULTIVERSION isoq_surroundings *isoq_look(isoq_fitter *fitter, int plane, int at) {
    const isoq_field *field = fitter->field;
    isoq_surroundings *known = isoq_known_of(fitter, plane);
    if (known->places == field->first[at]) return known;
    known->places = field->first[at];
    int64_t n = field->count[at], few = isoq_few_of(n);
    size_t beyond = (size_t)(isoq_whole_lanes(n) - n) * sizeof(float);
    const int32_t *samples = field->planes + (size_t)plane * field->rows * field->cols;
    isoq_gather(field, samples, field->places + field->first[at], n, known);
    for (int r = 0; r < ISOQ_AROUND; r++) memset(known->row[r] + n, 0, beyond);
    const float *here = known->row[ISOQ_HERE], *north = known->row[ISOQ_NORTH];
    const float *east = known->row[ISOQ_EAST], *south = known->row[ISOQ_SOUTH];
    for (int64_t k = 0; k < few; k++)
        known->detail[k] = here[k] - 0.25f * (north[k] + east[k] + south[k]);
    return known;
}

#endif
