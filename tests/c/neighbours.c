/* Sums over neighbours against plain integers: of small numbers and of the largest, on grids of
   every size around those that are added by vectors. */
#include "check.h"
#include "neighbours.h"

enum { CHANNELS = 9, MOST_TERMS = 70, MOST_SIDE = 20 };

/* Arrays of a random model. Channel c has more terms than are added at a time if c is even. */
static struct {
    int32_t start[CHANNELS + 1], channel[CHANNELS * MOST_TERMS], place[CHANNELS * MOST_TERMS];
    int32_t weight[CHANNELS * MOST_TERMS], signed_weight[CHANNELS * MOST_TERMS];
} arrays;

static isoq_context_model random_model(int32_t most) {
    int32_t count = 0;
    for (int c = 0; c < CHANNELS; c++) {
        int terms = c == 0 ? 0 : c % 2 ? 5 + c : MOST_TERMS;
        for (int k = 0; k < terms; k++, count++) {
            arrays.channel[count] = (int32_t)random_in(0, c - 1);
            arrays.place[count] = (int32_t)random_in(0, 8);
            arrays.weight[count] = (int32_t)random_in(0, most);
            arrays.signed_weight[count] = (int32_t)random_in(-most, most);
        }
        arrays.start[c + 1] = count;
    }
    isoq_context_model model = {
        .around = {arrays.start, arrays.channel, arrays.place, arrays.weight},
        .value = {arrays.start, arrays.channel, arrays.place, arrays.signed_weight}};
    return model;
}

static int nearest(int at, int count) { return at < 0 ? 0 : at < count ? at : count - 1; }

/* Check the sums of a channel at one latent. */
static void check_sums(const isoq_planes *planes, int channel, int row, int col) {
    int64_t magnitudes = 0, values = 0;
    for (int32_t k = arrays.start[channel]; k < arrays.start[channel + 1]; k++) {
        int from = arrays.channel[k], place = arrays.place[k];
        int y = nearest(row + place / 3 - 1, planes->rows);
        int x = nearest(col + place % 3 - 1, planes->cols);
        magnitudes += (int64_t)arrays.weight[k] * isoq_magnitude_row(planes, from, y)[x];
        values += (int64_t)arrays.signed_weight[k] * isoq_value_row(planes, from, row)[col];
    }
    CHECK(isoq_integer_of(isoq_magnitude_sums(planes, row)[col]) == magnitudes);
    CHECK(isoq_integer_of(isoq_value_sums(planes, row)[col]) == values);
}

/* most: of magnitudes and values; those of channel 3 are `beyond`. */
static void sums_are_exact(int rows, int cols, int32_t most, int32_t beyond, int32_t weight) {
    isoq_context_model model = random_model(weight);
    isoq_grid grid = {.channels = CHANNELS, .rows = rows, .cols = cols};
    isoq_planes planes;
    CHECK(!isoq_allocate_planes(&planes, &grid));
    for (int c = 0; c < CHANNELS; c++) {
        int32_t limit = c == 3 ? beyond : most;
        for (int row = 0; row < rows; row++)
            for (int col = 0; col < cols; col++) {
                isoq_magnitude_row(&planes, c, row)[col] = (int32_t)random_in(limit / 2, limit);
                isoq_value_row(&planes, c, row)[col] =
                    (int32_t)(random_in(0, 1) ? random_in(-limit, limit) : -limit);
            }
        isoq_complete_channel(&planes, c);
        isoq_sum_channel(&model, &planes, c);
        for (int row = 0; row < rows; row++)
            for (int col = 0; col < cols; col++) check_sums(&planes, c, row, col);
        add_to_hash(isoq_magnitude_sums(&planes, 0), (size_t)cols * sizeof(isoq_sum));
    }
    isoq_release_planes(&planes);
}

/* The same terms by every set of instructions that this processor has. */
static void sets_agree(int n, int terms) {
    static int32_t from[ISOQ_NEIGHBOURS + 200];
    isoq_neighbour_terms small = {.count = 0};
    isoq_sum plain[200], large[200];
    for (int k = 0; k < ISOQ_NEIGHBOURS + n; k++)
        from[k] = (int32_t)random_in(-INT16_MAX, INT16_MAX);
    for (int k = 0; k < terms; k++)
        isoq_add_neighbour(&small, from + k, (int32_t)random_in(-2000, 2000), INT16_MAX);
    isoq_start_sums(plain, n);
    isoq_start_sums(large, n);
    isoq_add_small_terms_plain(plain, &small, n);
    isoq_add_large_terms(large, &small, n);
    CHECK(!memcmp(plain, large, (size_t)n * sizeof *plain));
#if ISOQ_ALL_SETS
    if (isoq_has_avx2()) {
        isoq_start_sums(large, n);
        isoq_add_small_terms_avx2(large, &small, n);
        CHECK(!memcmp(plain, large, (size_t)n * sizeof *plain));
    }
    if (isoq_has_avx512()) {
        isoq_start_sums(large, n);
        isoq_add_small_terms_avx512(large, &small, n);
        CHECK(!memcmp(plain, large, (size_t)n * sizeof *plain));
    }
#endif
}

int main(void) {
    for (int n = ISOQ_FEWEST_SUMS; n < 200; n += 7) sets_agree(n, 1 + n % ISOQ_NEIGHBOURS);
    for (int side = 1; side <= MOST_SIDE; side += side < 6 ? 1 : 3) {
        sums_are_exact(side, MOST_SIDE - side + 1, 300, 300, 1000);
        sums_are_exact(side, 5, INT16_MAX, INT16_MAX, 2000);     /* sums just fit into 32 bits */
        sums_are_exact(side, 20, INT16_MAX, INT16_MAX, 1 << 13); /* and do not */
        sums_are_exact(side, 20, 300, ISOQ_MAX_MAGNITUDE, 1000); /* one channel is large */
        sums_are_exact(side, 20, ISOQ_MAX_VALUE, ISOQ_MAX_VALUE, 1 << 17); /* all is large */
    }
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}
