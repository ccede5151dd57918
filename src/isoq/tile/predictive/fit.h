/* What the encoder chooses for each plane: the earlier planes that it is predicted from, weights, activities, whether repeated samples are
   flagged; all fitted to samples of the plane. Floating point: no decoder does this, and no two machines need to agree. */
#ifndef ISOQ_FIT_H
#define ISOQ_FIT_H

#include "kernel.h"

enum {
    AROUND = 14,     /* places around a sample that weights may belong to, but the one to the west */
    TRIED_ACTIVITY = 5, /* the first of these: what is active around */
    CANDIDATES = 12, /* nearest earlier planes that references are chosen from */
    ROWS = 28,       /* of a system of equations: 25 weights and the sample itself, in fours */
    LANES = 16,
    CHUNK = 16       /* lanes at a time: 32 KiB of them for all rows */
};
static const double WORTH = 0.985;      /* of the error, below which one more reference is taken */
static const double REPEAT_GAIN = 0.02; /* bits per sample, above which repeated samples are flagged */
static const double UNIT = 1 << WEIGHT_BITS;

static const int8_t AROUND_PLACES[AROUND][2] = {{0, -2}, {-1, 0}, {-1, -1}, {-1, 1}, {-2, 0}, {-2, 1}, {-1, 2},
                                                {-1, -2}, {-2, -1}, {0, 0}, {0, 1}, {1, 0}, {1, -1}, {1, 1}};
enum { NORTH = 1, CORNER = 2, HERE = 9, EAST = 10, SOUTH = 11 };           /* among them; OWN_PLACES but the first stand in front */
static const int8_t REFERENCE_ROWS[8] = {HERE, NORTH, EAST, SOUTH, CORNER, 3, 12, 13}; /* of REFERENCE_PLACES but the first */
/* In the order of the places, with a sum of about 1 << ACTIVITY_BITS: means of what fits the images of data/train. */
static const int32_t OWN_SHARES[6] = {31, 22, 29, 14, 22, 17}, REFERENCE_SHARES[5] = {55, 20, 28, 15, 17};

typedef float Lanes __attribute__((vector_size(4 * LANES), may_alias));

typedef struct { /* planes, and the samples of each that are tried */
    const int32_t *planes; /* (planes, rows, cols) */
    const int64_t *places; /* in a plane, all lists one after the other; at least 2 from the upper, left and right border, 1 from the lower */
    const int64_t *first, *count; /* (planes,): where the list of a plane begins, and how long it is; an even choice of it stands in front */
    int number, rows, cols;
} Field;

typedef struct { /* what is known of a plane around some places; samples beyond the last place up to whole lanes are 0 */
    int64_t places;     /* begin here in Field.places; -1: nothing is known */
    float *row[AROUND]; /* what samples have over the one to the west */
    float *detail;      /* what some of the samples have over the mean of their neighbours */
    float *error;       /* of the plane's own prediction at its own places */
    float mean;         /* magnitude of that */
} Around;

typedef struct {
    const Field *field;
    Around known[CANDIDATES + 1]; /* plane k at k modulo their number */
    int64_t longest;              /* list of places, in samples of whole lanes */
    float *memory, *activity, *scale;
} Fitter;

static int64_t whole_lanes(int64_t n) { return (n + LANES - 1) / LANES * LANES; }
static int64_t few_of(int64_t n) { return whole_lanes((n + 3) / 4); }   /* for first steps */
static int64_t fewer_of(int64_t n) { return (n + 15) / 16; }            /* for the share of errors elsewhere */
static Around *known_of(Fitter *f, int plane) { return f->known + plane % (CANDIDATES + 1); }

CLONED static void subtract(const int32_t *restrict a, const int32_t *restrict b, float *restrict to, int n) {
    for (int k = 0; k < n; k++) to[k] = (float)((double)a[k] - b[k]);
}

/* What is known of a plane at the places of plane `at`. */
CLONED static Around *look(Fitter *f, int plane, int at) {
    enum { PIECE = 256 };
    const Field *g = f->field;
    Around *a = known_of(f, plane);
    if (a->places == g->first[at]) return a;
    a->places = g->first[at];
    const int64_t *places = g->places + g->first[at], n = g->count[at], whole = whole_lanes(n), few = few_of(n);
    const int32_t *samples = g->planes + (size_t)plane * g->rows * g->cols;
    for (int64_t k = 0; k < n; k += PIECE) {
        int32_t west[PIECE], found[PIECE];
        int size = (int)(n - k < PIECE ? n - k : PIECE);
        for (int j = 0; j < size; j++) west[j] = samples[places[k + j] - 1];
        for (int r = 0; r < AROUND; r++) {
            const int32_t *from = samples + AROUND_PLACES[r][0] * g->cols + AROUND_PLACES[r][1];
            for (int j = 0; j < size; j++) found[j] = from[places[k + j]];
            subtract(found, west, a->row[r] + k, size);
        }
    }
    for (int r = 0; r < AROUND; r++) memset(a->row[r] + n, 0, (size_t)(whole - n) * sizeof(float));
    for (int64_t k = 0; k < few; k++) a->detail[k] = a->row[HERE][k] - 0.25f * (a->row[NORTH][k] + a->row[EAST][k] + a->row[SOUTH][k]);
    return a;
}

/* Products of all pairs of rows, summed over n samples (whole lanes) that are scaled. In lanes: no compiler may reorder a sum of floats. */
CLONED static void gram_of(const float *const *row, int rows, const float *scale, int64_t n, double gram[ROWS][ROWS]) {
    Lanes sum[ROWS][ROWS], part[ROWS][CHUNK];
    memset(sum, 0, sizeof(sum)), memset(part, 0, sizeof(part));
    for (int64_t at = 0; at < n; at += CHUNK * LANES) {
        int steps = (int)(n - at < CHUNK * LANES ? n - at : CHUNK * LANES) / LANES;
        for (int r = 0; r < rows; r++)
            for (int s = 0; s < steps; s++) part[r][s] = ((const Lanes *)(row[r] + at))[s] * ((const Lanes *)(scale + at))[s];
        for (int i = 0; i < rows; i += 2)
            for (int j = 0; j <= i + 1; j += 4) {
                Lanes t[2][4];
                memset(t, 0, sizeof(t));
                for (int s = 0; s < steps; s++)
#pragma GCC unroll 4
                    for (int b = 0; b < 4; b++) t[0][b] += part[i][s] * part[j + b][s], t[1][b] += part[i + 1][s] * part[j + b][s];
                for (int b = 0; b < 4; b++) sum[i][j + b] += t[0][b], sum[i + 1][j + b] += t[1][b];
            }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j <= i; j++) {
            double total = 0;
            for (int l = 0; l < LANES; l++) total += sum[i][j][l];
            gram[i][j] = gram[j][i] = total;
        }
}

/* The weights (n) of the first n rows that give the last one, by the products of all (Cholesky); changes `gram`. */
static void solve(double gram[ROWS][ROWS], int n, double ridge, double *weight) {
    for (int i = 0; i < n; i++) gram[i][i] += ridge;
    for (int i = 0; i <= n; i++) /* the last row becomes what is still to be divided */
        for (int j = 0; j <= i && j < n; j++) {
            double v = gram[i][j];
            for (int k = 0; k < j; k++) v -= gram[i][k] * gram[j][k];
            gram[i][j] = i > j ? v * gram[j][j] : v > 0 ? 1 / sqrt(v) : 0; /* of the diagonal the inverse; a row that the others tell: 0 */
        }
    for (int i = n; i-- > 0;) {
        double v = gram[n][i];
        for (int k = i + 1; k < n; k++) v -= gram[k][i] * weight[k];
        weight[i] = v * gram[i][i];
    }
}

/* What the weights leave of the last row. */
CLONED static void errors_of(const float *const *row, const double *weight, int rows, int64_t n, float *error) {
    for (int64_t k = 0; k < n; k += LANES) {
        Lanes e = *(const Lanes *)(row[rows - 1] + k);
        for (int r = 0; r < rows - 1; r++) e -= (float)weight[r] * *(const Lanes *)(row[r] + k);
        *(Lanes *)(error + k) = e;
    }
}

static double mean_magnitude(const float *error, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += fabsf(error[k]);
    return sum / (double)n;
}

/* What is active around the places. */
CLONED static void activity_of(const Around *a, int64_t n, float *activity) {
    int64_t whole = whole_lanes(n);
    for (int64_t k = 0; k < whole; k++) {
        float sum = 0;
        for (int r = 0; r < TRIED_ACTIVITY; r++) sum += fabsf(a->row[r][k]);
        activity[k] = sum / TRIED_ACTIVITY;
    }
    float floor = (float)(0.1 * mean_magnitude(activity, n) + 1e-6);
    for (int64_t k = 0; k < whole; k++) activity[k] += floor;
}

CLONED static void scales_of(const float *restrict activity, const float *restrict error, int64_t n, float *restrict scale) {
    for (int64_t k = 0; k < n; k++) scale[k] = 1 / sqrtf(activity[k] + (error ? fabsf(error[k]) : 0));
}

/* Weights and errors of the last row predicted from the others: least absolute error relative to what is active around, by iterated
   reweighting, first of a part. */
static void least_absolute(Fitter *f, const float *const *row, int rows, int64_t n, double *weight, float *error) {
    double gram[ROWS][ROWS];
    for (int round = 0; round < 2; round++) {
        int64_t part = round ? whole_lanes(n) : few_of(n);
        scales_of(f->activity, round ? error : 0, part, f->scale);
        gram_of(row, rows, f->scale, part, gram);
        double trace = 0;
        for (int r = 0; r < rows - 1; r++) trace += gram[r][r];
        solve(gram, rows - 1, 1e-6 * trace / (rows - 1) + 1e-9, weight);
        errors_of(row, weight, rows, whole_lanes(n), error);
    }
}

/* Earlier planes whose details tell most of those of plane `k`, one after the other (orthogonal matching pursuit); returns how many. */
static int references_of(Fitter *f, int k, int32_t *reference) {
    const float *row[CANDIDATES + 1];
    double gram[ROWS][ROWS];
    int candidates = k < CANDIDATES ? k : CANDIDATES, chosen = 0;
    int64_t few = few_of(f->field->count[k]);
    if (!candidates) return 0;
    for (int c = 0; c <= candidates; c++) row[c] = look(f, k - c, k)->detail;
    float floor = (float)(mean_magnitude(row[0], few) + 1e-6);
    for (int64_t j = 0; j < few; j++) f->scale[j] = 1 / (fabsf(row[0][j]) + floor);
    gram_of(row, candidates + 1, f->scale, few, gram);
    double all = gram[0][0], ridge = 1e-6 * all;
    while (chosen < REFERENCES && chosen < candidates) {
        int best = 0;
        double most = (1 - WORTH) * gram[0][0];
        for (int c = 1; c <= candidates; c++) {
            double told = gram[0][c] * gram[0][c] / (gram[c][c] + ridge + 1e-30);
            int taken = 0;
            for (int r = 0; r < chosen; r++) taken |= reference[r] == k - c;
            if (!taken && told > most) most = told, best = c;
        }
        if (!best) break;
        reference[chosen++] = k - best;
        double own[CANDIDATES + 1], size = gram[best][best] + ridge;
        for (int c = 0; c <= candidates; c++) own[c] = gram[best][c];
        for (int a = 0; a <= candidates; a++)
            for (int b = 0; b <= candidates; b++) gram[a][b] -= own[a] * own[b] / size; /* what the chosen do not tell is left */
    }
    return chosen;
}

/* The error of a prediction near the upper left of a plane, where places may be outside: those count as the first. */
static double error_at(const Field *g, int plane, int64_t place, const int32_t *reference, const int32_t *weight) {
    const size_t size = (size_t)g->rows * g->cols;
    int64_t sum = 0;
    for (int k = 0; k < OWN_TAPS; k++) {
        int64_t at = place + OWN_PLACES[k][0] * g->cols + OWN_PLACES[k][1];
        sum += (int64_t)weight[k] * g->planes[plane * size + (at < 0 ? 0 : at)];
    }
    weight += OWN_TAPS;
    for (int r = 0; r < REFERENCES && reference[r] >= 0; r++)
        for (int k = 0; k < (r ? 5 : 9); k++)
            sum += (int64_t)*weight++ * g->planes[reference[r] * size + place + REFERENCE_PLACES[k][0] * g->cols + REFERENCE_PLACES[k][1]];
    return g->planes[plane * size + place] - (double)sum / UNIT;
}

/* How much the errors of plane `k` and of its first reference count in what is expected at the next sample: the shares in which the errors
   to the west, to the north and in the reference tell of an error. */
static void share_activity(Fitter *f, int k, const int32_t *reference, const int32_t *weight, int32_t *activity) {
    const Field *g = f->field;
    const Around *own = known_of(f, k), *other = known_of(f, reference[0]);
    const int64_t *places = g->places + g->first[k], few = fewer_of(g->count[k]);
    double scale = own->mean / (other->mean > 1e-6 ? other->mean : 1e-6), gram[ROWS][ROWS] = {{0}}, told[3], sum = 0;
    for (int64_t j = 0; j < few; j++) {
        double x[4] = {scale * fabsf(other->error[j]), fabs(error_at(g, k, places[j] - 1, reference, weight)),
                       fabs(error_at(g, k, places[j] - g->cols, reference, weight)), fabsf(own->error[j])};
        for (int a = 0; a < 4; a++)
            for (int b = 0; b <= a; b++) gram[a][b] += x[a] * x[b] / ((double)f->activity[j] * f->activity[j]);
    }
    solve(gram, 3, 1e-3 * (double)few, told);
    for (int a = 0; a < 3; a++) sum += told[a] = told[a] > 0 ? told[a] : 0;
    double share = told[0] / (sum > 1e-9 ? sum : 1e-9);
    share = share < 0.6 ? share : 0.6;
    for (int a = 0; a < ACTIVITIES; a++) {
        double v = rint(a < 6 ? (1 - share) * OWN_SHARES[a] : share * scale * REFERENCE_SHARES[a - 6]);
        activity[a] = (int32_t)(v < MAX_ACTIVITY ? v : MAX_ACTIVITY);
    }
}

/* n times the entropy of `some` in n. */
static double entropy(double some, double n) { return some > 0 && some < n ? -some * log2(some / n) - (n - some) * log2(1 - some / n) : 0; }

/* Whether enough samples are equal to a neighbour, as in images enlarged by repetition, that flags cost less than coding them. */
static int repeats_pay(const Around *a, int64_t n, double step) {
    const float *here = a->row[HERE], *north = a->row[NORTH], *corner = a->row[CORNER];
    int64_t same[2] = {0, 0}, hinted[2] = {0, 0}, both[2] = {0, 0};
    for (int64_t k = 0; k < n; k++) {
        int west = here[k] == 0, above = here[k] == north[k], west_hint = north[k] == corner[k], above_hint = corner[k] == 0;
        same[0] += west, hinted[0] += west_hint, both[0] += west & west_hint;
        same[1] += above, hinted[1] += above_hint, both[1] += above & above_hint;
    }
    double size = 2 * exp(1) * a->mean / step, gain = (double)(same[0] + same[1]) * log2(size > 1 ? size : 1);
    for (int k = 0; k < 2; k++) {
        gain -= entropy((double)both[k], (double)hinted[k]);
        gain -= entropy((double)(same[k] - both[k]), (double)(n - hinted[k]));
    }
    return gain > REPEAT_GAIN * (double)n;
}

/* weight (TAPS), activity (ACTIVITIES) and reference (REFERENCES, filled with -1) of plane `k`; returns whether repeated samples are flagged. */
static int fit_plane(Fitter *f, int k, double step, int32_t *reference, int32_t *weight, int32_t *activity) {
    const float *row[TAPS];
    double fitted[TAPS];
    int64_t n = f->field->count[k];
    int references = references_of(f, k, reference), rows = 0, out_of_range = 0;
    Around *own = look(f, k, k);
    for (int t = 0; t < OWN_TAPS - 1; t++) row[rows++] = own->row[t];
    for (int r = 0; r < references; r++)
        for (int t = 0; t < (r ? 4 : 8); t++) row[rows++] = known_of(f, reference[r])->row[REFERENCE_ROWS[t]];
    row[rows++] = own->row[HERE];
    activity_of(own, n, f->activity);
    least_absolute(f, row, rows, n, fitted, own->error);
    own->mean = (float)mean_magnitude(own->error, n);
    memset(weight, 0, TAPS * sizeof(int32_t));
    for (int source = 0, at = 0, start = 0; source <= references; source++) {
        int taps = source ? source > 1 ? 5 : 9 : OWN_TAPS;
        weight[start] = source ? 0 : 1 << WEIGHT_BITS;
        for (int t = 1; t < taps; t++, at++) {
            weight[start + t] = (int32_t)rint(UNIT * (fitted[at] > 2 ? 2 : fitted[at] > -2 ? fitted[at] : -2));
            weight[start] -= weight[start + t];
        }
        start += taps;
    }
    for (int t = 0; t < TAPS; t++) out_of_range |= abs(weight[t]) >= MAX_WEIGHT;
    if (out_of_range) { /* no decoder takes such */
        memset(weight, 0, TAPS * sizeof(int32_t));
        weight[0] = 1 << WEIGHT_BITS;
    }
    if (references && f->field->first[reference[0]] == f->field->first[k] && f->field->count[reference[0]]) share_activity(f, k, reference, weight, activity);
    return repeats_pay(own, n, step);
}

/* All planes with places to try; the others are left as they are. Returns 0 without memory. */
static int fit_planes(const Field *field, const double *step, int32_t *reference, int32_t *weight, int32_t *activity, uint8_t *repeats) {
    Fitter f = {.field = field};
    int slots = field->number < CANDIDATES + 1 ? field->number : CANDIDATES + 1;
    for (int k = 0; k < field->number; k++) f.longest = field->count[k] > f.longest ? field->count[k] : f.longest;
    f.longest = whole_lanes(f.longest);
    size_t rows = (size_t)slots * (AROUND + 2) + 2;
    f.memory = (float *)aligned_alloc(sizeof(Lanes), rows * (size_t)f.longest * sizeof(float) + sizeof(Lanes));
    if (!f.memory) return 0;
    float *at = f.memory;
    for (int s = 0; s < slots; s++) {
        f.known[s].places = -1;
        for (int r = 0; r < AROUND; r++, at += f.longest) f.known[s].row[r] = at;
        f.known[s].detail = at, at += f.longest;
        f.known[s].error = at, at += f.longest;
    }
    f.activity = at, f.scale = at + f.longest;
    for (int k = 0; k < field->number; k++) {
        known_of(&f, k)->places = -1; /* so far of a plane that is never asked for again */
        if (field->count[k])
            repeats[k] = (uint8_t)fit_plane(&f, k, step[k], reference + k * REFERENCES, weight + k * TAPS, activity + k * ACTIVITIES);
    }
    free(f.memory);
    return 1;
}

#endif
