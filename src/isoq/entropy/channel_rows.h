/* Quantization of a channel whose contexts look at the channel itself.

   A latent's context depends on the latents to the left, and these on the way through the trellis:
   so each of the eight ways carries what it leaves to the next context. Rows are settled one after
   the other (isoq_choose_row, then isoq_follow_row), and the next row starts in the state in which
   the cheapest way ended. */
#ifndef ISOQ_CHANNEL_ROWS_H
#define ISOQ_CHANNEL_ROWS_H

#include "channel_job.h"
#include "trellis_search.h"

/* By state, the two states that lead there. */
static const uint8_t ISOQ_BEFORE[ISOQ_STATES][2] = {{0, 4}, {2, 6}, {0, 4}, {2, 6},
                                                    {3, 7}, {1, 5}, {3, 7}, {1, 5}};

/* ---- Ways through the trellis of eight states ---- */

/* Costs of the cheapest ways that end in states 0 ... 3 and 4 ... 7. */
typedef struct {
    isoq_float4 low, high;
} isoq_ways;

/* Costs of a step into states 0 ... 3 and 4 ... 7, from the first and from the second of the states
   that lead there (ISOQ_BEFORE). */
typedef struct {
    isoq_float4 low_first, low_second, high_first, high_second;
} isoq_step_costs;

/* Return the ways of no latents, which all end in `state`. */
ISOQ_API isoq_ways isoq_ways_from(int state) {
    assert(state >= 0 && state < ISOQ_STATES);
    float cost[ISOQ_STATES];
    for (int k = 0; k < ISOQ_STATES; k++) cost[k] = state == k ? 0 : INFINITY;
    return (isoq_ways){isoq_float4_load(cost), isoq_float4_load(cost + 4)};
}

/* Return the cheapest way into each state that is one latent longer. The lowest bit of second[s]
   (ISOQ_STATES) says whether it comes from the second of the states before s. */
ISOQ_INLINE isoq_ways isoq_advance_ways(isoq_ways ways, isoq_step_costs step, int32_t *second) {
    isoq_float4 from_0_2 = ISOQ_FLOAT4_PICK(ways.low, 0, 2, 0, 2);
    isoq_float4 from_4_6 = ISOQ_FLOAT4_PICK(ways.high, 0, 2, 0, 2);
    isoq_float4 from_3_1 = ISOQ_FLOAT4_PICK(ways.low, 3, 1, 3, 1);
    isoq_float4 from_7_5 = ISOQ_FLOAT4_PICK(ways.high, 3, 1, 3, 1);
    isoq_ways longer;
    longer.low = isoq_float4_least(isoq_float4_add(from_0_2, step.low_first),
                                   isoq_float4_add(from_4_6, step.low_second), second);
    longer.high = isoq_float4_least(isoq_float4_add(from_3_1, step.high_first),
                                    isoq_float4_add(from_7_5, step.high_second), second + 4);
    return longer;
}

/* Return the state in which the cheapest way ends; the first of equal ones. */
ISOQ_API int isoq_cheapest(isoq_ways ways) {
    int state = 0;
    float cost[ISOQ_STATES];
    isoq_float4_store(cost, ways.low);
    isoq_float4_store(cost + 4, ways.high);
    for (int s = 1; s < ISOQ_STATES; s++)
        if (cost[s] < cost[state]) state = s;
    return state;
}

/* ---- Contexts by state ---- */

/* By state: what the way that ends there leaves to the next context, see isoq_as_neighbour. */
typedef struct {
    int32_t left[ISOQ_STATES], second_left[ISOQ_STATES]; /* magnitudes of the last two latents */
    int32_t value[ISOQ_STATES];                          /* value of the last one */
} isoq_survivors;

/* By state: the context of a latent there, and the cheapest index of each parity. */
typedef struct {
    int32_t table[ISOQ_STATES], shift[ISOQ_STATES], flip[ISOQ_STATES], rounded[ISOQ_STATES];
    int32_t mu[ISOQ_STATES];
    int32_t index[2][ISOQ_STATES];
    float cost[2][ISOQ_STATES];
} isoq_state_choices;

/* isoq_quantizer_of as a list, which loops over states need to become vectors. */
static const int32_t ISOQ_QUANTIZER[ISOQ_STATES] = {0, 1, 0, 1, 0, 1, 0, 1};

/* Find the choices of latent `at` in each state, given sums over all neighbours but those to the
   left. */
ISOQ_INLINE void isoq_choose_by_state(const isoq_context_model *model, const isoq_channel_job *job,
                                      int64_t magnitudes, int64_t values, size_t at,
                                      const isoq_survivors *ways, isoq_tried *tried,
                                      isoq_state_choices *choices) {
    const int32_t *own = model->own + job->channel * ISOQ_OWN;
    int32_t west = own[0], second_west = own[4];
    int32_t west_value = model->own_value[job->channel * ISOQ_OWN_VALUE];
    int channel = job->channel;
    int32_t up = job->grid->up[at];
    isoq_move move = isoq_move_at(job, at);
    float targets[ISOQ_STATES];
    for (int s = 0; s < ISOQ_STATES; s++) {
        int64_t magnitude = magnitudes + (int64_t)west * ways->left[s] +
                            (int64_t)second_west * ways->second_left[s];
        int64_t value = values + (int64_t)west_value * ways->value[s];
        isoq_context context = isoq_context_at(model, channel, magnitude, value, up, move);
        context = isoq_with_quantizer(context, ISOQ_QUANTIZER[s]);
        choices->table[s] = context.table;
        choices->shift[s] = context.shift;
        choices->flip[s] = context.flip;
        choices->rounded[s] = context.rounded;
        choices->mu[s] = context.mu;
        targets[s] = job->y[at];
    }
    isoq_priced_latents latents = {choices->table,   choices->shift, choices->flip,
                                   choices->rounded, ISOQ_QUANTIZER, targets};
    isoq_prices prices = {choices->index[0], choices->index[1], choices->cost[0],
                          choices->cost[1]};
    isoq_price(model->symbols, &latents, ISOQ_STATES, job->trade, tried, &prices);
}

/* Extend the ways by a latent, and note how in `step`. */
ISOQ_INLINE isoq_ways isoq_step_by_state(isoq_ways ways, const isoq_state_choices *choices,
                                         isoq_trellis_step *step) {
    const float *even = choices->cost[0], *odd = choices->cost[1];
    int32_t second[ISOQ_STATES];
    isoq_step_costs costs = {isoq_float4_of(even[0], even[2], odd[0], odd[2]),
                             isoq_float4_of(odd[4], odd[6], even[4], even[6]),
                             isoq_float4_of(even[3], even[1], odd[3], odd[1]),
                             isoq_float4_of(odd[7], odd[5], even[7], even[5])};
    ways = isoq_advance_ways(ways, costs, second);
    for (int s = 0; s < ISOQ_STATES; s++) {
        int from = ISOQ_BEFORE[s][second[s] & 1];
        step->from[s] = from;
        step->index[s] = choices->index[ISOQ_NEXT[from][1] == s][from];
    }
    return ways;
}

/* Return what the extended ways leave to the next context. down: at the latent. */
ISOQ_INLINE isoq_survivors isoq_survive(const isoq_survivors *before,
                                        const isoq_state_choices *choices,
                                        const isoq_trellis_step *step, int32_t down) {
    isoq_survivors after;
    for (int s = 0; s < ISOQ_STATES; s++) {
        int from = step->from[s];
        isoq_context context = {0, 0, choices->flip[from], choices->rounded[from],
                                choices->mu[from]};
        int32_t latent =
            isoq_latent_in_range(&context, step->index[s], isoq_quantizer_of(from));
        isoq_as_neighbour(latent, &context, down, after.left + s, after.value + s);
        after.second_left[s] = before->left[from];
    }
    return after;
}

/* Choose the indices of row `row`, which starts in `state`, given the sums of earlier channels and
   of the rows above. */
ISOQ_MULTIVERSION void isoq_choose_row(const isoq_channel_job *job, int row, int state) {
    isoq_context_model model = *job->model;
    int cols = job->grid->cols;
    size_t first = (size_t)row * (size_t)cols;
    const int32_t *down = job->grid->down + first;
    const isoq_sum *magnitudes = isoq_magnitude_sums(job->planes, row);
    const isoq_sum *values = isoq_value_sums(job->planes, row);
    int32_t *index = job->scratch->index + first;
    isoq_trellis_step *steps = job->scratch->steps;
    isoq_survivors survivors;
    isoq_state_choices choices;
    isoq_tried tried;
    isoq_ways ways = isoq_ways_from(state);
    memset(&survivors, 0, sizeof survivors);
    for (int j = 0; j < cols; j++) {
        isoq_choose_by_state(&model, job, isoq_integer_of(magnitudes[j]),
                             isoq_integer_of(values[j]), first + (size_t)j, &survivors, &tried, &choices);
        ways = isoq_step_by_state(ways, &choices, steps + j);
        survivors = isoq_survive(&survivors, &choices, steps + j, down[j]);
    }
    int end = isoq_cheapest(ways);
    for (int j = cols; j-- > 0; end = steps[j].from[end]) index[j] = steps[j].index[end];
}

/* Set the latents of row `row`, given its indices; it starts in `state`. Return the state after. */
ISOQ_API int isoq_follow_row(const isoq_channel_job *job, int row, int state) {
    const isoq_context_model *model = job->model;
    const isoq_scratch *scratch = job->scratch;
    int channel = job->channel;
    size_t first = (size_t)row * (size_t)job->grid->cols;
    int32_t *magnitude = isoq_magnitude_row(job->planes, channel, row);
    int32_t *value = isoq_value_row(job->planes, channel, row);
    isoq_sum *magnitudes = isoq_magnitude_sums(job->planes, row);
    isoq_sum *values = isoq_value_sums(job->planes, row);
    for (int j = 0; j < job->grid->cols; j++) {
        size_t at = first + (size_t)j;
        int quantizer = isoq_quantizer_of(state);
        int32_t index = scratch->index[at];
        isoq_sum_left(model, channel, j, magnitude, value, magnitudes, values);
        isoq_context context = isoq_context_at(model, channel, isoq_integer_of(magnitudes[j]),
                                               isoq_integer_of(values[j]), job->grid->up[at],
                                               isoq_move_at(job, at));
        context = isoq_with_quantizer(context, quantizer);
        int32_t latent = isoq_latent_in_range(&context, index, quantizer);
        scratch->table[at] = context.table;
        scratch->shift[at] = context.shift;
        scratch->flip[at] = context.flip;
        scratch->mu[at] = context.mu;
        job->latent[at] = latent;
        float offset = model->offset[isoq_symbol_place(&context, index)];
        job->reconstruction[at] = isoq_reconstruct(&context, latent, index, offset);
        isoq_as_neighbour(latent, &context, job->grid->down[at], magnitude + j, value + j);
        state = isoq_next_state(ISOQ_NEXT, state, index);
    }
    return state;
}

/* Quantize a channel, given the sums of earlier channels. */
ISOQ_API void isoq_quantize_by_rows(const isoq_channel_job *job) {
    int state = 0;
    for (int row = 0; row < job->grid->rows; row++) {
        isoq_sum_row(job->model, job->planes, job->channel, row);
        isoq_choose_row(job, row, state);
        state = isoq_follow_row(job, row, state);
    }
}

#endif
