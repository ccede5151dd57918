/* Round trips of the predictive coder, with weights that are fitted. */
#include "check.h"
#include "fit.h"
#include "predictive.h"

enum { PLANES = 5, ROWS = 37, COLS = 29, BLOCK = 16, SAMPLES = PLANES * ROWS * COLS };
enum { GRID_ROWS = (ROWS + BLOCK - 1) / BLOCK, GRID_COLS = (COLS + BLOCK - 1) / BLOCK };
enum { PLACES = (ROWS - 3) * (COLS - 4) };

static struct {
    int32_t samples[SAMPLES], decoded[SAMPLES], again[SAMPLES];
    uint8_t valid[SAMPLES];
    int32_t reference[PLANES * ISOQ_REFERENCES], weight[PLANES * ISOQ_TAPS];
    int32_t activity[PLANES * ISOQ_ACTIVITIES], range[PLANES * 2];
    int64_t avoided[PLANES];
    uint8_t repeats[PLANES];
    int32_t step[PLANES * GRID_ROWS * GRID_COLS];
    int64_t places[PLACES], first[PLANES], count[PLANES];
} arrays;

/* Make planes that are alike: slopes, noise, and in the last one samples that repeat. */
static void make_samples(int64_t noise) {
    for (int k = 0; k < SAMPLES; k++) {
        int plane = k / (ROWS * COLS), row = k / COLS % ROWS, col = k % COLS;
        int32_t base = 300 + 20 * row + 7 * col * (row % 5);
        arrays.samples[k] = base * (plane + 1) / 2 + (int32_t)random_in(-noise, noise);
        if (plane == PLANES - 1 && col % 2) arrays.samples[k] = arrays.samples[k - 1];
    }
}

static void fit_plan(double step) {
    int count = 0;
    for (int row = 2; row <= ROWS - 2; row++)
        for (int col = 2; col <= COLS - 3; col++) arrays.places[count++] = row * COLS + col;
    CHECK(count == PLACES);
    double steps[PLANES];
    memset(arrays.reference, -1, sizeof arrays.reference);
    memset(arrays.activity, 0, sizeof arrays.activity);
    for (int k = 0; k < PLANES; k++) {
        steps[k] = step;
        arrays.first[k] = 0;
        arrays.count[k] = PLACES;
        for (int a = 0; a < ISOQ_OWN_ACTIVITIES; a++)
            arrays.activity[k * ISOQ_ACTIVITIES + a] = ISOQ_OWN_SHARES[a];
    }
    isoq_field field = {arrays.samples, arrays.places, arrays.first, arrays.count,
                        PLANES,         ROWS,          COLS};
    CHECK(!isoq_fit_planes(&field, steps, arrays.reference, arrays.weight, arrays.activity,
                           arrays.repeats));
    for (int k = 0; k < PLANES * ISOQ_TAPS; k++) CHECK(abs(arrays.weight[k]) < ISOQ_MAX_WEIGHT);
    for (int k = 0; k < PLANES * ISOQ_REFERENCES; k++)
        CHECK(arrays.reference[k] >= -1 && arrays.reference[k] < k / ISOQ_REFERENCES + !k);
}

static void set_limits(int32_t step, int gaps) {
    for (int k = 0; k < PLANES; k++) {
        arrays.range[2 * k] = INT32_MAX;
        arrays.range[2 * k + 1] = INT32_MIN;
        arrays.avoided[k] = INT64_MAX;
    }
    for (int k = 0; k < SAMPLES; k++) {
        int32_t *range = arrays.range + 2 * (k / (ROWS * COLS));
        arrays.valid[k] = !gaps || random_in(0, 3) > 0;
        if (arrays.samples[k] < range[0]) range[0] = arrays.samples[k];
        if (arrays.samples[k] > range[1]) range[1] = arrays.samples[k];
    }
    for (int k = 0; k < PLANES * GRID_ROWS * GRID_COLS; k++) arrays.step[k] = step;
}

/* Code the samples with a step in 1/8, and decode them, also from damaged streams. */
static void samples_come_back(int64_t noise, int32_t step, int gaps) {
    make_samples(noise);
    set_limits(step, gaps);
    fit_plan(step / 8.0);
    isoq_plan plan = {arrays.reference, arrays.weight,  arrays.activity, arrays.range,
                      arrays.avoided,   arrays.repeats, arrays.step};
    isoq_extent extent = {PLANES, ROWS, COLS, BLOCK, GRID_COLS, arrays.valid};
    isoq_slot_list list = isoq_empty_list();
    CHECK(!isoq_encode_planes(&extent, &plan, arrays.samples, arrays.decoded, &list));
    stream made = stream_of(&list);
    CHECK(!isoq_decode_planes(&extent, &plan, made.data, made.size, arrays.again));
    CHECK(!memcmp(arrays.decoded, arrays.again, sizeof arrays.again));
    int32_t most = (step + 7) / 8 / 2;
    for (int k = 0; k < SAMPLES; k++)
        CHECK(!arrays.valid[k] || abs(arrays.samples[k] - arrays.decoded[k]) <= most);
    CHECK(isoq_decode_planes(&extent, &plan, made.data, made.size - 4, arrays.again));
    for (int k = 0; k < 20; k++) {
        damage(made);
        isoq_decode_planes(&extent, &plan, made.data, made.size, arrays.again);
    }
    free(made.data);
}

static void degrees_and_tables_are_valid(void) {
    CHECK(isoq_degree_of(UINT64_MAX) == ISOQ_DEGREES - 1);
    for (int degree = 0; degree < ISOQ_DEGREES; degree++) {
        isoq_histogram histogram;
        isoq_expect(&histogram, degree);
        for (int k = 0; k < 10000; k++) isoq_observe(&histogram, k % 7 ? ISOQ_REACH : k % 32);
        for (int s = 0; s < ISOQ_SYMBOLS; s++) CHECK(histogram.cdf[s] < histogram.cdf[s + 1]);
    }
}

int main(void) {
    degrees_and_tables_are_valid();
    samples_come_back(5, 8, 0);
    samples_come_back(5, 8, 1);
    samples_come_back(200, 12, 0);
    samples_come_back(200, 40, 1);
    samples_come_back(1 << 28, 8, 0);
    samples_come_back(1 << 28, 8 << 20, 1);
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}
