#include "limited.h"

#include "../src/isoq/wavelet/bands.h"
#include "../src/isoq/wavelet/fixed.h"
#include "transform.h"

int isoq_cell(const isoq_tile *tile) { return 1 << (tile->model->levels - tile->scale); }

int isoq_find_steps(const isoq_tile *tile, const isoq_places *places, int32_t finest, int fraction,
                    const int32_t **octave, const int32_t **shift) {
    size_t count = (size_t)places->rows * (size_t)places->cols;
    int32_t *octaves = (int32_t *)isoq_allocate(tile->work, count, sizeof *octaves);
    int32_t *shifts = (int32_t *)isoq_allocate(tile->work, count, sizeof *shifts);
    if (!octaves || !shifts) return 0;
    for (size_t k = 0; k < count; k++) {
        int32_t level = places->level[k] - finest;
        int32_t down = (int32_t)isoq_floor_quotient(level, ISOQ_STEPS_AN_OCTAVE);
        octaves[k] = tile->model->octave[level - down * ISOQ_STEPS_AN_OCTAVE];
        shifts[k] = down + ISOQ_RECONSTRUCTION_BITS + ISOQ_UNIT_BITS - fraction;
    }
    *octave = octaves;
    *shift = shifts;
    return 1;
}

int isoq_synthesize_component(isoq_tile *tile, const isoq_group *group, const isoq_places *places,
                              const float *steps, int32_t *component) {
    const isoq_model *model = tile->model;
    isoq_fixed_latents latents = {
        {places->rows, places->cols, model->channel}, steps, model->unit, NULL, NULL};
    return isoq_find_steps(tile, places, 0, group->fraction, &latents.octave, &latents.shift) &&
           isoq_synthesize_fixed(model->steps, &latents.layout, isoq_take_latents, &latents,
                                 tile->scale, component) == ISOQ_OK;
}

/* Return the factor that gives the low-pass band at the scale of a tile the mean of the image. */
static double brightness(const isoq_tile *tile) {
    static const double low_gain[] = {1.149604398859, 1.151306154640};
    double product = 1;
    for (int k = 0; k < tile->scale; k++) {
        double gain = low_gain[tile->model->wavelet[k]];
        product *= gain * gain / 2;
    }
    return product;
}

int isoq_combine_components(isoq_tile *tile, const isoq_group *group, const isoq_places *places,
                            const int32_t *components) {
    size_t cols = (size_t)tile->out_cols, stride = (size_t)places->cols * (size_t)isoq_cell(tile);
    size_t plane = (size_t)places->rows * (size_t)isoq_cell(tile) * stride;
    double brighter = brightness(tile);
    int64_t *sum = (int64_t *)isoq_allocate(tile->work, cols, sizeof *sum);
    double *number = (double *)isoq_allocate(tile->work, cols, sizeof *number);
    if (!sum || !number) return 0;
    for (int b = 0; b < group->bands; b++) {
        isoq_band band = {NULL, ldexp(1.0, -group->fraction - group->precision),
                          brighter * group->scale[b], group->offset[b]};
        if (group->factor) band.factor = group->factor + (size_t)b * (size_t)group->components;
        uint8_t *out = (uint8_t *)isoq_plane(tile, group->first + b);
        for (size_t i = 0; i < (size_t)tile->out_rows; i++)
            isoq_samples_of_row(&band, components + i * stride, plane, group->components,
                                (isoq_type)tile->type, sum, number,
                                out + i * cols * isoq_sample_size(tile->type), (int)cols);
    }
    return 1;
}
