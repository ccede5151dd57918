/* The wavelet transforms: floats and back, integers against floats, extreme latents, and samples.
 */
#include "bands.h"
#include "check.h"
#include "fixed.h"
#include "floating.h"

enum { CHANNELS = ISOQ_WAVELET_CHANNELS, LEVELS = ISOQ_WAVELET_LEVELS, FRACTION = 8 };

typedef const isoq_steps *wavelets[LEVELS];

static const wavelets WAVELETS[] = {
    {&ISOQ_CDF_9_7, &ISOQ_CDF_9_7, &ISOQ_CDF_9_7, &ISOQ_CDF_9_7},
    {&ISOQ_CDF_17_11, &ISOQ_CDF_17_11, &ISOQ_CDF_17_11, &ISOQ_CDF_17_11},
    {&ISOQ_CDF_17_11, &ISOQ_CDF_17_11, &ISOQ_CDF_9_7, &ISOQ_CDF_9_7},
};
static const int SHAPES[][2] = {{4, 4}, {4, 7}, {9, 4}, {5, 6}, {11, 13}};

enum { MIXES = sizeof WAVELETS / sizeof *WAVELETS, SIZES = sizeof SHAPES / sizeof *SHAPES };

static int32_t channel[CHANNELS]; /* in any order */

static void shuffle_channels(void) {
    for (int32_t c = 0; c < CHANNELS; c++) {
        int other = (int)random_in(0, c);
        channel[c] = channel[other];
        channel[other] = c;
    }
}

/* Return memory of exactly this size, so that sanitizers see what is read beyond it. */
static void *room(size_t count, size_t size) {
    void *memory = malloc(count * size);
    CHECK(memory);
    return memory;
}

static size_t latents_of(const isoq_layout *layout) {
    return (size_t)CHANNELS * (size_t)layout->rows * (size_t)layout->cols;
}

static float *random_floats(size_t count, int most) {
    float *values = (float *)room(count, sizeof(float));
    for (size_t k = 0; k < count; k++) values[k] = (float)random_in(-128 * most, 128 * most) / 128;
    return values;
}

static void planes_come_back(const wavelets names, isoq_layout layout) {
    size_t count = latents_of(&layout);
    float *plane = random_floats(count, 1000), *again = (float *)room(count, sizeof(float));
    float forward[CHANNELS], back[CHANNELS];
    for (int c = 0; c < CHANNELS; c++) {
        forward[c] = (float)random_in(1, 100) / 10;
        back[c] = 1 / forward[c];
    }
    isoq_float_latents latents = {layout, (float *)room(count, sizeof(float)), forward};
    CHECK(!isoq_analyse(names, ISOQ_ANALYSIS, plane, &latents));
    latents.scale = back;
    CHECK(!isoq_synthesize_float(names, &layout, isoq_take_scaled, &latents, 0, again));
    for (size_t k = 0; k < count; k++) CHECK(fabsf(plane[k] - again[k]) < 0.002f);
    free(plane);
    free(again);
    free(latents.latent);
}

/* The dual analysis has the scalar products of a plane with what the synthesis makes of each
   latent. Latents of fine levels amid the plane do not reach its borders. */
static void dual_analysis_has_scalar_products(const wavelets names) {
    enum { SIDE = 9, MIDDLE = SIDE * (SIDE / 2) + SIDE / 2, COARSE = CHANNELS / 16 };
    isoq_layout layout = {SIDE, SIDE, channel};
    size_t count = latents_of(&layout);
    float *plane = random_floats(count, 1), *basis = (float *)room(count, sizeof(float));
    float *products = (float *)room(count, sizeof(float)), *single = random_floats(count, 0);
    float scale[CHANNELS];
    for (int c = 0; c < CHANNELS; c++) scale[c] = (float)random_in(1, 100) / 10;
    isoq_float_latents dual = {layout, products, scale}, one = {layout, single, scale};
    CHECK(!isoq_analyse(names, ISOQ_DUAL, plane, &dual));
    for (int k = 0; k < CHANNELS - COARSE; k += 17) {
        size_t at = (size_t)channel[k] * SIDE * SIDE + MIDDLE;
        double product = 0;
        single[at] = 1;
        CHECK(!isoq_synthesize_float(names, &layout, isoq_take_scaled, &one, 0, basis));
        single[at] = 0;
        for (size_t p = 0; p < count; p++) product += (double)basis[p] * plane[p];
        CHECK(fabs(product - products[at]) < 1e-4);
    }
    free(plane);
    free(basis);
    free(products);
    free(single);
}

/* Latents in fixed point with steps of their own at every place. */
typedef struct {
    isoq_fixed_latents latents;
    float *latent;
    int32_t *unit, *octave, *shift;
} fixed;

/* most: of latents in steps; unit: the largest; shift: the range of shifts. */
static fixed random_fixed(isoq_layout layout, int most, int32_t unit, int least_shift,
                          int most_shift) {
    size_t places = (size_t)layout.rows * (size_t)layout.cols;
    fixed made = {{layout, NULL, NULL, NULL, NULL},
                  random_floats(latents_of(&layout), most),
                  (int32_t *)room(CHANNELS, sizeof(int32_t)),
                  (int32_t *)room(places, sizeof(int32_t)),
                  (int32_t *)room(places, sizeof(int32_t))};
    for (int c = 0; c < CHANNELS; c++) made.unit[c] = (int32_t)random_in(1, unit);
    for (size_t k = 0; k < places; k++) {
        made.octave[k] = (int32_t)random_in(1 << 23, 1 << 24);
        made.shift[k] = (int32_t)random_in(least_shift, most_shift);
    }
    made.latents = (isoq_fixed_latents){layout, made.latent, made.unit, made.octave, made.shift};
    return made;
}

static void release_fixed(fixed *made) {
    free(made->latent);
    free(made->unit);
    free(made->octave);
    free(made->shift);
}

/* Return the plane of latents, and add it to the hash. */
static int32_t *fixed_plane(const wavelets names, const fixed *made, int finest, size_t count) {
    int32_t *plane = (int32_t *)room(count, sizeof(int32_t));
    CHECK(!isoq_synthesize_fixed(names, &made->latents.layout, isoq_take_latents, &made->latents,
                                 finest, plane));
    add_to_hash(plane, count * sizeof *plane);
    return plane;
}

static void integers_are_close_to_floats(const wavelets names, isoq_layout layout) {
    fixed made = random_fixed(layout, 200, 1 << 24, 31 - FRACTION, 34 - FRACTION);
    size_t places = (size_t)layout.rows * (size_t)layout.cols, count = latents_of(&layout);
    float scale[CHANNELS];
    isoq_float_latents latents = {layout, (float *)room(count, sizeof(float)), scale};
    for (int c = 0; c < CHANNELS; c++) scale[c] = 1;
    for (size_t k = 0; k < count; k++) {
        double step = ldexp((double)made.unit[k / places] * made.octave[k % places], -24 + 7);
        latents.latent[k] = (float)ldexp(made.latent[k] * step, -made.shift[k % places]);
    }
    for (int finest = 0; finest <= LEVELS; finest++) {
        size_t samples = count >> 2 * finest;
        int32_t *plane = fixed_plane(names, &made, finest, samples);
        float *expected = (float *)room(samples, sizeof(float));
        CHECK(!isoq_synthesize_float(names, &layout, isoq_take_scaled, &latents, finest, expected));
        for (size_t k = 0; k < samples; k++)
            CHECK(fabs((double)plane[k] - (double)expected[k]) < 8);
        free(plane);
        free(expected);
    }
    free(latents.latent);
    release_fixed(&made);
}

/* Nothing that a damaged file may hold has undefined results: sums wrap around. */
static void extremes_wrap_around(const wavelets names, isoq_layout layout) {
    fixed made = random_fixed(layout, 1 << 23, INT32_MAX, 1, 62);
    for (size_t k = 0; k < latents_of(&layout); k += 3)
        made.latent[k] = random_in(0, 1) ? 1 << 23 : -(1 << 23);
    for (int c = 0; c < CHANNELS; c += 2) made.unit[c] = INT32_MAX;
    for (int finest = 0; finest <= LEVELS; finest++)
        free(fixed_plane(names, &made, finest, latents_of(&layout) >> 2 * finest));
    release_fixed(&made);
}

static void coefficients_are_limited(void) {
    isoq_layout layout = {4, 4, channel};
    fixed made = random_fixed(layout, 1, INT32_MAX, 1, 1);
    int32_t row[4];
    size_t at = (size_t)channel[CHANNELS - 1] * 16;
    made.unit[channel[CHANNELS - 1]] = 1 << 24;
    made.latent[at] = 1 << 23;
    made.latent[at + 1] = -(1 << 23);
    made.latent[at + 2] = 0;
    made.latent[at + 3] = 1.0f / 128;
    made.octave[3] = 1 << 24;
    made.shift[3] = 25;
    isoq_take_latents(&made.latents, LEVELS, 0, 0, row);
    CHECK(row[0] == 1 << 30 && row[1] == -(1 << 30) && row[2] == 0 && row[3] == 1);
    release_fixed(&made);
}

/* Return a digital number as a type holds it. */
static double number_of(isoq_type type, const void *samples, int j) {
    switch (type) {
        case ISOQ_UINT8:
            return ((const uint8_t *)samples)[j];
        case ISOQ_UINT16:
            return ((const uint16_t *)samples)[j];
        case ISOQ_INT16:
            return ((const int16_t *)samples)[j];
        case ISOQ_INT32:
            return ((const int32_t *)samples)[j];
        default:
            return (double)((const float *)samples)[j];
    }
}

/* Bands of 1 to 6 components, the last ones with sums that wrap around. */
static void samples_are_those_of_the_formula(isoq_type type) {
    enum { COLS = 37, PLANE = 41, MOST_COMPONENTS = 6 };
    int32_t component[MOST_COMPONENTS * PLANE], factor[MOST_COMPONENTS];
    int64_t sum[COLS];
    double numbers[COLS];
    uint32_t out[COLS];
    for (int components = 0; components <= MOST_COMPONENTS; components++) {
        int is_wild = components > 4;
        int64_t most = is_wild ? INT32_MAX : 1 << 20;
        double unit = ldexp(1, is_wild ? -31 : -10), least, largest;
        isoq_band band = {components ? factor : NULL, unit, (double)random_in(1, 1000) / 7,
                          (double)random_in(-1000, 1000) / 3};
        for (int k = 0; k < MOST_COMPONENTS * PLANE; k++)
            component[k] = (int32_t)random_in(-most, most);
        for (int k = 0; k < MOST_COMPONENTS; k++) factor[k] = (int32_t)random_in(-most, most);
        memset(out, 0, sizeof out);
        isoq_samples_of_row(&band, component, PLANE, components, type, sum, numbers, out, COLS);
        least = isoq_least_of(type);
        largest = isoq_most_of(type);
        for (int j = 0; j < COLS; j++) {
            uint64_t total = components ? 0 : (uint64_t)(int64_t)component[j];
            for (int c = 0; c < components; c++)
                total += (uint64_t)((int64_t)factor[c] * component[c * PLANE + j]);
            double x = (double)(int64_t)total * unit;
            double number = fmin(fmax(x * band.scale + band.offset, least), largest);
            if (type == ISOQ_FLOAT32)
                number = (double)(float)number;
            else
                number = nearbyint(number);
            CHECK(number_of(type, out, j) == number);
        }
        add_to_hash(out, sizeof out);
    }
}

int main(void) {
    shuffle_channels();
    coefficients_are_limited();
    for (int type = ISOQ_UINT8; type <= ISOQ_FLOAT32; type++)
        samples_are_those_of_the_formula((isoq_type)type);
    for (int mix = 0; mix < MIXES; mix++) {
        dual_analysis_has_scalar_products(WAVELETS[mix]);
        for (int size = 0; size < SIZES; size++) {
            isoq_layout layout = {SHAPES[size][0], SHAPES[size][1], channel};
            planes_come_back(WAVELETS[mix], layout);
            integers_are_close_to_floats(WAVELETS[mix], layout);
            extremes_wrap_around(WAVELETS[mix], layout);
        }
    }
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}
