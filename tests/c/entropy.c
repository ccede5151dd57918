/* Round trips of the entropy coder, from rANS up to latents. */
#include "adaptive_integers.h"
#include "check.h"
#include "deadzone.h"
#include "latents.h"

enum { CHANNELS = 6, ROWS = 9, COLS = 11, PLACES = ROWS * COLS, LATENTS = CHANNELS * PLACES };
enum { TABLES = 2 * ISOQ_QUANTIZERS * ISOQ_LEVELS * ISOQ_BUCKETS };

static void quotients_are_exact(void) {
    for (uint32_t freq = 1; freq <= ISOQ_TOTAL; freq++) {
        uint64_t most = (1ull << 63) - 1;
        uint64_t state[4] = {0, most, most / freq * freq - 1, random_bits() >> 1};
        for (int k = 0; k < 4; k++) CHECK(isoq_quotient(state[k], freq) == state[k] / freq);
    }
}

static void slots_and_bits_come_back(void) {
    enum { COUNT = 3000 };
    static uint32_t start[COUNT], freq[COUNT];
    static uint64_t bits[COUNT];
    isoq_slot_list list = isoq_empty_list();
    for (int k = 0; k < COUNT; k++) {
        start[k] = (uint32_t)random_in(0, ISOQ_TOTAL - 1);
        freq[k] = k == 7 ? ISOQ_TOTAL : (uint32_t)random_in(1, ISOQ_TOTAL - start[k]);
        if (k == 7) start[k] = 0; /* certain */
        bits[k] = random_bits() >> (64 - 1 - k % 64);
        isoq_push_slot(&list, start[k], freq[k]);
        isoq_push_bits(&list, bits[k], 1 + k % 64);
    }
    stream made = stream_of(&list);
    isoq_reader reader;
    isoq_start_reader(&reader, made.data, made.size);
    for (int k = 0; k < COUNT; k++) {
        uint32_t place = isoq_peek(&reader);
        CHECK(start[k] <= place && place < start[k] + freq[k]);
        isoq_advance(&reader, start[k], freq[k]);
        CHECK(isoq_read_bits(&reader, 1 + k % 64) == bits[k]);
    }
    CHECK(isoq_finish_reader(&reader) == ISOQ_OK);
    free(made.data);
}

static void short_streams_are_damaged(void) {
    const uint8_t data[7] = {0};
    isoq_reader reader;
    for (size_t size = 0; size <= sizeof data; size++) {
        isoq_start_reader(&reader, size ? data : NULL, size);
        CHECK(reader.status == ISOQ_DAMAGED && isoq_finish_reader(&reader) == ISOQ_DAMAGED);
        isoq_read_bits(&reader, 64);
    }
}

static void adaptive_integers_come_back(void) {
    enum { COUNT = 2000 };
    static int32_t value[COUNT];
    isoq_slot_list list = isoq_empty_list();
    isoq_integer_model encoder = {0}, decoder = {0};
    for (int k = 0; k < COUNT; k++) {
        int32_t most = (1 << k % (ISOQ_INTEGER_BITS + 1)) - 1;
        value[k] = (int32_t)random_in(-most, most);
        if (k % 100 == 0) value[k] = k % 200 ? most : -most;
        isoq_put_integer(&list, &encoder, value[k]);
    }
    stream made = stream_of(&list);
    isoq_reader reader;
    isoq_start_reader(&reader, made.data, made.size);
    for (int k = 0; k < COUNT; k++) CHECK(isoq_take_integer(&reader, &decoder) == value[k]);
    CHECK(isoq_finish_reader(&reader) == ISOQ_OK);
    free(made.data);
}

static void table_integers_come_back(void) {
    enum { COUNT = 2000 };
    static int32_t value[COUNT];
    uint16_t cdf[ISOQ_SYMBOLS + 1];
    isoq_slot_list list = isoq_empty_list();
    random_table(cdf, ISOQ_SYMBOLS);
    for (int k = 0; k < COUNT; k++) {
        int64_t most = k % 3 ? 20 : 1 << 24;
        value[k] = (int32_t)random_in(-most, most);
        isoq_put_table_integer(&list, cdf, k % 10, value[k]);
    }
    stream made = stream_of(&list);
    isoq_reader reader;
    isoq_start_reader(&reader, made.data, made.size);
    for (int k = 0; k < COUNT; k++)
        CHECK(isoq_take_table_integer(&reader, cdf, k % 10) == value[k]);
    CHECK(isoq_finish_reader(&reader) == ISOQ_OK);
    free(made.data);
}

static void trellis_is_consistent(void) {
    for (int state = 0; state < ISOQ_STATES; state++)
        for (int parity = 0; parity < 2; parity++) {
            const uint8_t *before = ISOQ_BEFORE[isoq_next_state(ISOQ_NEXT, state, parity)];
            CHECK((before[0] == state) != (before[1] == state));
        }
    isoq_ways ways = isoq_ways_from(5);
    CHECK(isoq_cheapest(ways) == 5);
    isoq_trellis eight;
    CHECK(isoq_make_trellis(&eight, ISOQ_STATES, 5, 2));
    CHECK(!memcmp(eight.next, ISOQ_NEXT, sizeof ISOQ_NEXT));
    CHECK(!isoq_make_trellis(&eight, 24, 13, 2) && !isoq_make_trellis(&eight, 256, 128, 1));
    CHECK(!isoq_make_trellis(&eight, 4, 2, 1) && !isoq_make_trellis(&eight, -64, -33, -1));
    CHECK(!isoq_make_trellis(&eight, 64, 31, 1) && !isoq_make_trellis(&eight, 64, 64, 1));
    CHECK(!isoq_make_trellis(&eight, 64, 33, 0) && !isoq_make_trellis(&eight, 64, 33, 32));
}

/* Return a trellis of 2^bits states, of any kind. */
static isoq_trellis random_trellis(int bits) {
    isoq_trellis trellis;
    int states = 1 << bits;
    int32_t feedback = (int32_t)random_in(states / 2, states - 1);
    int32_t parity = (int32_t)random_in(1, states / 2 - 1);
    CHECK(isoq_make_trellis(&trellis, states, feedback, parity));
    return trellis;
}

/* Return the least cost of a way of a strand through latents, by the plain algorithm. */
static int64_t least_cost(const isoq_search *search, int strands, int strand) {
    int64_t cost[ISOQ_MOST_STATES], longer[ISOQ_MOST_STATES], least = INT64_MAX;
    int states = search->trellis->states;
    for (int s = 0; s < states; s++) cost[s] = s ? 1 << 30 : 0;
    for (int g = 0; g < search->groups; g++) {
        for (int s = 0; s < states; s++) longer[s] = 1 << 30;
        for (int s = 0; s < states; s++)
            for (int odd = 0; odd < 2; odd++) {
                int at = (4 * g + 2 * (s & 1) + odd) * strands + strand;
                int64_t *to = longer + search->trellis->next[s][odd];
                if (cost[s] + search->cost[at] < *to) *to = cost[s] + search->cost[at];
            }
        memcpy(cost, longer, sizeof cost);
    }
    for (int s = 0; s < states; s++) least = cost[s] < least ? cost[s] : least;
    return least;
}

/* The ways found lead through the states of the decoder, and none is cheaper. */
static void ways_are_cheapest(void) {
    enum { GROUPS = 200 };
    static int16_t cost[GROUPS * 4 * ISOQ_STRANDS];
    static int16_t ways[(GROUPS + 1) * ISOQ_MOST_STATES * ISOQ_STRANDS];
    static int32_t choice[GROUPS * ISOQ_STRANDS];
    for (int round = 0; round < 60; round++) {
        isoq_trellis trellis = random_trellis(3 + round % 5);
        int strands = round % 2 ? ISOQ_STRANDS : 1;
        isoq_search search = {&trellis, (int)random_in(1, GROUPS), cost, ways, choice};
        for (int k = 0; k < GROUPS * 4 * ISOQ_STRANDS; k++)
            cost[k] = (int16_t)(random_in(0, 3) ? random_in(0, round < 30 ? 1 : ISOQ_MOST_COST)
                                                : random_in(0, 1) * ISOQ_MOST_COST);
        if (strands == 1)
            isoq_search_ways(&search, 1);
        else
            isoq_search_ways(&search, ISOQ_STRANDS);
        for (int k = 0; k < strands; k++) {
            int64_t total = 0;
            int state = 0;
            for (int g = 0; g < search.groups; g++) {
                int chosen = choice[g * strands + k];
                CHECK(chosen >> 1 == isoq_quantizer_of(state));
                total += cost[(4 * g + chosen) * strands + k];
                state = isoq_next_state((const uint8_t(*)[2])trellis.next, state, chosen);
            }
            CHECK(total == least_cost(&search, strands, k));
        }
    }
}

/* Arrays of a random model: channels 1 and 4 look at themselves. */
static struct {
    int32_t start[CHANNELS + 1], channel[2 * CHANNELS], place[2 * CHANNELS], weight[2 * CHANNELS];
    int32_t own[CHANNELS * ISOQ_OWN], own_value[CHANNELS * ISOQ_OWN_VALUE], bias[CHANNELS];
    int32_t same[2 * CHANNELS];
    uint8_t group[CHANNELS];
    uint16_t cdf[TABLES * (ISOQ_SYMBOLS + 1)];
    float offset[TABLES * ISOQ_SYMBOLS];
    isoq_symbol symbols[TABLES * ISOQ_SYMBOLS];
    int32_t up[PLACES], down[PLACES];
} arrays;

static isoq_context_model random_model(void) {
    for (int c = 0; c < CHANNELS; c++) {
        int32_t entries = c < 2 ? c : 2;
        arrays.start[c + 1] = arrays.start[c] + entries;
        for (int32_t k = arrays.start[c]; k < arrays.start[c + 1]; k++) {
            arrays.channel[k] = (int32_t)random_in(0, c - 1);
            arrays.place[k] = (int32_t)random_in(0, 8);
            arrays.same[k] = 4;
            arrays.weight[k] = (int32_t)random_in(0, 1 << 12);
        }
        for (int k = 0; c % 3 == 1 && k < ISOQ_OWN; k++)
            arrays.own[c * ISOQ_OWN + k] = (int32_t)random_in(0, 1 << 11);
        for (int k = 0; c % 3 == 1 && k < ISOQ_OWN_VALUE; k++)
            arrays.own_value[c * ISOQ_OWN_VALUE + k] = (int32_t)random_in(-1024, 1024);
        arrays.bias[c] = (int32_t)random_in(0, 1 << 17);
        arrays.group[c] = (uint8_t)(c % 2);
    }
    for (int t = 0; t < TABLES; t++) {
        uint16_t *cdf = arrays.cdf + t * (ISOQ_SYMBOLS + 1);
        random_table(cdf, ISOQ_SYMBOLS);
        for (int s = 0; s < ISOQ_SYMBOLS; s++) {
            isoq_symbol *symbol = arrays.symbols + t * ISOQ_SYMBOLS + s;
            symbol->offset = (float)random_in(-20, 20) / 128;
            symbol->bits = 15 - log2f((float)(cdf[s + 1] - cdf[s]));
            arrays.offset[t * ISOQ_SYMBOLS + s] = symbol->offset;
        }
    }
    isoq_sparse_weights around = {arrays.start, arrays.channel, arrays.place, arrays.weight};
    isoq_sparse_weights value = {arrays.start, arrays.channel, arrays.same, arrays.weight};
    isoq_context_model model = {around,           value,         arrays.own,
                                arrays.own_value, arrays.bias,   arrays.group,
                                arrays.cdf,       arrays.offset, arrays.symbols,
                                NULL,             NULL};
    return model;
}

/* Return latents of a spread that depends on the channel; some are far out, or no numbers. */
static float random_latent(int channel, int round) {
    float spread = (float)(1 << (3 * channel)) / 16;
    float y = spread * (float)(random_in(-1000, 1000) + random_in(-1000, 1000)) / 500;
    if (round == 1 && random_in(0, 9) == 0) {
        const float wild[5] = {3e38f, -3e38f, INFINITY, -INFINITY, NAN};
        y = wild[random_in(0, 4)];
    }
    return y;
}

static void latents_come_back(void) {
    static float y[LATENTS], near[LATENTS], again[LATENTS];
    static int32_t latent[LATENTS], decoded[LATENTS];
    isoq_context_model model = random_model();
    isoq_grid grid = {CHANNELS, ROWS, COLS, 1, arrays.up, arrays.down, NULL, NULL, NULL};
    isoq_trace trace = {NULL, NULL, NULL, NULL};
    size_t after[CHANNELS];
    for (int round = 0; round < 12; round++) {
        isoq_trellis trellis = random_trellis(3 + round % 5);
        model.trellis = round < 6 ? NULL : &trellis;
        for (int k = 0; k < PLACES; k++) {
            int shift = round % 2 ? (int)random_in(0, 8) : 0;
            arrays.up[k] = (1 << 16) >> shift;
            arrays.down[k] = (1 << 6) << shift;
        }
        for (int k = 0; k < LATENTS; k++) y[k] = random_latent(k / PLACES, round);
        grid.strands = round % 6 < 3 ? 1 : ISOQ_STRANDS;
        isoq_slot_list list = isoq_empty_list();
        float trade = round % 3 ? 0.1f : 0;
        CHECK(!isoq_encode_latents(&model, &grid, y, trade, latent, near, &list, after, &trace));
        stream made = strands_of(&list, grid.strands);
        CHECK(!isoq_decode_latents(&model, &grid, made.data, made.size, 1, decoded, again));
        CHECK(!memcmp(latent, decoded, sizeof latent) && !memcmp(near, again, sizeof near));
        for (int k = 0; k < LATENTS; k++) {
            CHECK(abs(latent[k]) <= 2 * ISOQ_MAX_LATENT);
            CHECK(round == 1 || fabsf(y[k] - 0.5f * (float)latent[k]) <= 3);
        }
        CHECK(isoq_decode_latents(&model, &grid, made.data, made.size - 4, 1, decoded, again));
        for (int k = 0; k < 40; k++) {
            damage(made);
            isoq_decode_latents(&model, &grid, made.data, made.size, 1, decoded, again);
        }
        free(made.data);
    }
}

static void deadzone_squares_are_those_of_the_formula(void) {
    const float y[4] = {0.25f, -1.5f, 2, 3e38f}, gain[4] = {1, 2, 4, 1};
    const float expected[4] = {0.0625f, 0, 0, 0};
    float squares[4];
    isoq_deadzone_squares(y, gain, 1, 0.5f, squares, 4);
    CHECK(!memcmp(squares, expected, sizeof squares));
}

int main(void) {
    quotients_are_exact();
    slots_and_bits_come_back();
    short_streams_are_damaged();
    adaptive_integers_come_back();
    table_integers_come_back();
    trellis_is_consistent();
    ways_are_cheapest();
    latents_come_back();
    deadzone_squares_are_those_of_the_formula();
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}
