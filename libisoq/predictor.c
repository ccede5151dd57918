#include "model.h"

#include "../src/isoq/entropy/subband_predictor.h"

/* The arrays of a predictor (section 10.1), and what has to be true of them: then no sum of
   subband_network.h exceeds 2^24. isoq/entropy/subbands.py checks the same. */

/* A predictor, and what it points into. */
typedef struct {
    isoq_subband_predictor predictor;
    isoq_network networks[ISOQ_PREDICTED_LEVELS];
} predictor;

static int bad(isoq_model *model) {
    return isoq_bad_model(&model->work, "its predictor is impossible");
}

/* Return an array of weights of a shape, null unless it is one. */
static const int8_t *find_weights(const isoq_model *model, const char *name, int dimensions,
                                  const uint64_t *shape) {
    const isoq_array *array = isoq_find_array(&model->arrays, name, "|i1", dimensions);
    if (!array) return NULL;
    const int8_t *weights = (const int8_t *)array->data;
    for (int k = 0; k < dimensions; k++)
        if (array->shape[k] != shape[k]) return NULL;
    for (size_t k = 0; k < array->count; k++)
        if (weights[k] < -127) return NULL;
    return weights;
}

static const int32_t *find_bias(const isoq_model *model, uint64_t each) {
    const isoq_array *array = isoq_find_array(&model->arrays, "predictor_bias", "<i4", 2);
    if (!array || array->shape[0] != ISOQ_PREDICTED_LEVELS || array->shape[1] != each) return NULL;
    const int32_t *bias = (const int32_t *)(const void *)array->data;
    for (size_t k = 0; k < array->count; k++)
        if (bias[k] < -ISOQ_NETWORK_MOST_BIAS || bias[k] > ISOQ_NETWORK_MOST_BIAS) return NULL;
    return bias;
}

/* Find the weights of all levels, of which those of the first are set. */
static int find_networks(const isoq_model *model, isoq_network_weights *weights) {
    const isoq_array *head = isoq_find_array(&model->arrays, "predictor_head", "|i1", 5);
    const isoq_array *body = isoq_find_array(&model->arrays, "predictor_body", "|i1", 6);
    if (!head || !body) return 0;
    uint64_t width = head->shape[1], depth = body->shape[1], levels = ISOQ_PREDICTED_LEVELS;
    uint64_t of_head[] = {levels, width, ISOQ_NETWORK_INPUTS, 3, 3};
    uint64_t of_body[] = {levels, depth, width, width, 3, 3};
    uint64_t of_tail[] = {levels, ISOQ_NETWORK_OUTPUTS, width};
    if (!width || width > ISOQ_NETWORK_MOST_WIDTH || width % ISOQ_NETWORK_BLOCK || !depth ||
        depth > ISOQ_NETWORK_MOST_DEPTH)
        return 0;
    weights->width = (int)width;
    weights->depth = (int)depth;
    weights->head = find_weights(model, "predictor_head", 5, of_head);
    weights->body = find_weights(model, "predictor_body", 6, of_body);
    weights->tail = find_weights(model, "predictor_tail", 3, of_tail);
    weights->bias = find_bias(model, width * (1 + depth) + ISOQ_NETWORK_OUTPUTS);
    return weights->head && weights->body && weights->tail && weights->bias;
}

/* Arrange the networks of all levels, given the weights of the first. */
static int arrange(isoq_network *networks, isoq_network_weights weights) {
    size_t width = (size_t)weights.width, depth = (size_t)weights.depth;
    for (int level = 0; level < ISOQ_PREDICTED_LEVELS; level++) {
        if (isoq_arrange_network(networks + level, &weights)) return 0;
        weights.head += width * ISOQ_NETWORK_INPUTS * 9;
        weights.body += depth * width * width * 9;
        weights.tail += ISOQ_NETWORK_OUTPUTS * width;
        weights.bias += width * (1 + depth) + ISOQ_NETWORK_OUTPUTS;
    }
    return 1;
}

static int has_predictor(const isoq_model *model) {
    for (int k = 0; k < model->arrays.count; k++)
        if (!strncmp(model->arrays.array[k].name, "predictor_", 10)) return 1;
    return 0;
}

int isoq_make_predictor(isoq_model *model) {
    isoq_network_weights weights;
    if (!has_predictor(model)) return 1;
    if (!find_networks(model, &weights)) return bad(model);
    predictor *made = (predictor *)isoq_allocate(&model->work, 1, sizeof *made);
    if (!made) return 0;
    isoq_work *before = isoq_enter(&model->work);
    int is_arranged = arrange(made->networks, weights);
    isoq_enter(before);
    made->predictor = (isoq_subband_predictor){model->steps, model->channel, model->unit,
                                               made->networks};
    model->context.predictor = &made->predictor;
    return is_arranged;
}
