#include "samples.h"

#include <float.h>
#include <math.h>
#include <string.h>

size_t isoq_sample_size(isoq_sample_type type) {
    static const size_t sizes[] = {1, 2, 2, 4, 4};
    return sizes[type];
}

double isoq_get_sample(const void *samples, isoq_sample_type type, size_t k) {
    switch (type) {
        case ISOQ_SAMPLE_UINT8:
            return ((const uint8_t *)samples)[k];
        case ISOQ_SAMPLE_UINT16:
            return ((const uint16_t *)samples)[k];
        case ISOQ_SAMPLE_INT16:
            return ((const int16_t *)samples)[k];
        case ISOQ_SAMPLE_INT32:
            return ((const int32_t *)samples)[k];
        default:
            return (double)((const float *)samples)[k];
    }
}

void isoq_set_sample(void *samples, isoq_sample_type type, size_t k, double value) {
    switch (type) {
        case ISOQ_SAMPLE_UINT8:
            ((uint8_t *)samples)[k] = (uint8_t)value;
            break;
        case ISOQ_SAMPLE_UINT16:
            ((uint16_t *)samples)[k] = (uint16_t)value;
            break;
        case ISOQ_SAMPLE_INT16:
            ((int16_t *)samples)[k] = (int16_t)value;
            break;
        case ISOQ_SAMPLE_INT32:
            ((int32_t *)samples)[k] = (int32_t)value;
            break;
        case ISOQ_SAMPLE_FLOAT32:
            ((float *)samples)[k] = (float)value;
            break;
    }
}

void isoq_type_limits(isoq_sample_type type, double *least, double *most) {
    static const double lowest[] = {0, 0, INT16_MIN, INT32_MIN, -(double)FLT_MAX};
    static const double highest[] = {UINT8_MAX, UINT16_MAX, INT16_MAX, INT32_MAX, (double)FLT_MAX};
    *least = lowest[type];
    *most = highest[type];
}

int isoq_holds(isoq_sample_type type, double value, double *held) {
    double least, most;
    isoq_type_limits(type, &least, &most);
    if (type == ISOQ_SAMPLE_FLOAT32) {
        const double beyond = (double)FLT_MAX * (1 + 0x1p-25); /* what rounds to infinity */
        if (fabs(value) >= beyond && !isinf(value)) return 0;
        *held = (double)(float)value;
        return 1;
    }
    *held = value;
    return value >= least && value <= most && value == floor(value);
}

double isoq_rounded(isoq_sample_type type, double number) {
    double least, most;
    isoq_type_limits(type, &least, &most);
    if (type != ISOQ_SAMPLE_FLOAT32) number = rint(number);
    return number < least ? least : number > most ? most : number;
}

void isoq_copy_samples(void *to, isoq_sample_type type, const uint8_t *from, size_t count) {
    size_t size = isoq_sample_size(type);
    for (size_t k = 0; k < count; k++, from += size) {
        uint32_t bits = 0;
        for (size_t b = 0; b < size; b++) bits |= (uint32_t)from[b] << 8 * b;
        if (size == 1)
            ((uint8_t *)to)[k] = (uint8_t)bits;
        else if (size == 2)
            ((uint16_t *)to)[k] = (uint16_t)bits;
        else
            memcpy((uint8_t *)to + 4 * k, &bits, 4);
    }
}
