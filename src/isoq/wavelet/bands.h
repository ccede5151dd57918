/* From components in fixed point to samples: the rotation, which is exact, and the way to digital
   numbers, whose operations IEEE 754 rounds in the same way everywhere. */
#ifndef ISOQ_BANDS_H
#define ISOQ_BANDS_H

#include "compiler.h"

typedef enum { ISOQ_UINT8, ISOQ_UINT16, ISOQ_INT16, ISOQ_INT32, ISOQ_FLOAT32 } isoq_type;

/* How a band comes from components. */
typedef struct {
    const int32_t *factor;      /* (components,), below 2^30; null for the only component itself */
    double unit, scale, offset; /* sample = sum * unit * scale + offset */
} isoq_band;

ISOQ_MULTIVERSION void isoq_widen(const int32_t *component, int64_t *sum, int n) {
    for (int j = 0; j < n; j++) sum[j] = component[j];
}

/* Add four multiples to n sums, which wrap around: those of a damaged file may be too large. Four
   at once, since loading and storing a sum takes longer than a product. */
ISOQ_MULTIVERSION void isoq_add_multiples(const int32_t *const *component, const int32_t *factor,
                                          int64_t *sum, int n) {
    const int32_t *first = component[0], *second = component[1];
    const int32_t *third = component[2], *fourth = component[3];
    int64_t of_first = factor[0], of_second = factor[1];
    int64_t of_third = factor[2], of_fourth = factor[3];
    ISOQ_INDEPENDENT
    for (int j = 0; j < n; j++)
        sum[j] =
            (int64_t)((uint64_t)sum[j] + (uint64_t)(of_first * first[j] + of_second * second[j]) +
                      (uint64_t)(of_third * third[j] + of_fourth * fourth[j]));
}

/* Set n sums to those of the components, `plane` samples apart, with the factors of a band. */
ISOQ_API void isoq_sum_components(const isoq_band *band, const int32_t *component, size_t plane,
                                  int components, int64_t *sum, int n) {
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int c = 0; c < components; c += 4) {
        const int32_t *from[4];
        int32_t factor[4];
        for (int k = 0; k < 4; k++) {
            int is_one = c + k < components;
            from[k] = component + (size_t)(is_one ? c + k : c) * plane;
            factor[k] = is_one ? band->factor[c + k] : 0;
        }
        isoq_add_multiples(from, factor, sum, n);
    }
}

/* Set digital numbers, limited to what a type can hold. The limits are integers or those of
   float32. */
ISOQ_MULTIVERSION void isoq_digital_numbers(const isoq_band *band, const int64_t *sum, double least,
                                            double most, double *number, int n) {
    double unit = band->unit, scale = band->scale, offset = band->offset;
    for (int j = 0; j < n; j++) {
        double exact = (double)sum[j] * unit * scale + offset;
        exact = exact < least ? least : exact;
        number[j] = exact > most ? most : exact;
    }
}

/* Round to integers, halves to even: at 2^52 a double has no fraction. |number| is below 2^51. */
ISOQ_MULTIVERSION void isoq_round_all(double *number, int n) {
    const double whole = 6755399441055744.0; /* 1.5 * 2^52 */
    for (int j = 0; j < n; j++) number[j] = (number[j] + whole) - whole;
}

/* Store numbers, rounded unless they are float32, as samples of a type. */
ISOQ_MULTIVERSION void isoq_store_samples(const double *number, isoq_type type, void *out, int n) {
    switch (type) {
        case ISOQ_UINT8:
            for (int j = 0; j < n; j++) ((uint8_t *)out)[j] = (uint8_t)(int32_t)number[j];
            break;
        case ISOQ_UINT16:
            for (int j = 0; j < n; j++) ((uint16_t *)out)[j] = (uint16_t)(int32_t)number[j];
            break;
        case ISOQ_INT16:
            for (int j = 0; j < n; j++) ((int16_t *)out)[j] = (int16_t)(int32_t)number[j];
            break;
        case ISOQ_INT32:
            for (int j = 0; j < n; j++) ((int32_t *)out)[j] = (int32_t)number[j];
            break;
        case ISOQ_FLOAT32:
            for (int j = 0; j < n; j++) ((float *)out)[j] = (float)number[j];
            break;
    }
}

ISOQ_API double isoq_least_of(isoq_type type) {
    static const double least[] = {0, 0, -32768, -2147483648.0, -(double)FLT_MAX};
    return least[type];
}

ISOQ_API double isoq_most_of(isoq_type type) {
    static const double most[] = {255, 65535, 32767, 2147483647.0, (double)FLT_MAX};
    return most[type];
}

/* Set `out`, cols samples of a type, to part of a row of a band. component: the first of them,
   which are `plane` samples apart; room: cols sums, cols numbers. */
ISOQ_API void isoq_samples_of_row(const isoq_band *band, const int32_t *component, size_t plane,
                                  int components, isoq_type type, int64_t *sum, double *number,
                                  void *out, int cols) {
    if (!band->factor)
        isoq_widen(component, sum, cols);
    else
        isoq_sum_components(band, component, plane, components, sum, cols);
    isoq_digital_numbers(band, sum, isoq_least_of(type), isoq_most_of(type), number, cols);
    if (type != ISOQ_FLOAT32) isoq_round_all(number, cols);
    isoq_store_samples(number, type, out, cols);
}

#endif
