/* Lifting of lines and of whole rows, for the type of sample of whoever includes this file:

     ISOQ_SAMPLE             float or int32_t
     ISOQ_FACTOR             type of a factor
     ISOQ_FACTOR_OF(factor)  a factor in 1/2^16 as that type
     ISOQ_SUM(a, b)          a + b, in range or not
     ISOQ_TERM(f, a, g, b)   f a + g b as a sample
     ISOQ_TYPED(name)        the name of a function for this type

   Included by floating.h and fixed.h. */

/* target[j] += near (a[j] + b[j]). `a` and `b` may overlap each other, not `target`. */
ISOQ_MULTIVERSION void ISOQ_TYPED(isoq_lift_near)(ISOQ_SAMPLE *target, const ISOQ_SAMPLE *a,
                                                  const ISOQ_SAMPLE *b, ISOQ_FACTOR near, int n) {
    ISOQ_INDEPENDENT
    for (int j = 0; j < n; j++)
        target[j] = ISOQ_SUM(target[j], ISOQ_TERM(near, ISOQ_SUM(a[j], b[j]), 0, 0));
}

/* target[j] += near (a[j] + b[j]) + far (c[j] + d[j]) */
ISOQ_MULTIVERSION void ISOQ_TYPED(isoq_lift_far)(ISOQ_SAMPLE *target, const ISOQ_SAMPLE *a,
                                                 const ISOQ_SAMPLE *b, ISOQ_FACTOR near,
                                                 const ISOQ_SAMPLE *c, const ISOQ_SAMPLE *d,
                                                 ISOQ_FACTOR far, int n) {
    ISOQ_INDEPENDENT
    for (int j = 0; j < n; j++)
        target[j] = ISOQ_SUM(
            target[j], ISOQ_TERM(near, ISOQ_SUM(a[j], b[j]), far, ISOQ_SUM(c[j], d[j])));
}

/* Lift n samples of `target` by those of four places. */
ISOQ_API void ISOQ_TYPED(isoq_lift)(ISOQ_SAMPLE *target, const ISOQ_SAMPLE *a,
                                    const ISOQ_SAMPLE *b, const ISOQ_SAMPLE *c,
                                    const ISOQ_SAMPLE *d, isoq_step step, int n) {
    ISOQ_FACTOR near = ISOQ_FACTOR_OF(step.near), far = ISOQ_FACTOR_OF(step.far);
    if (step.far)
        ISOQ_TYPED(isoq_lift_far)(target, a, b, near, c, d, far, n);
    else
        ISOQ_TYPED(isoq_lift_near)(target, a, b, near, n);
}

/* ---- One line: its two halves of n samples each, with ISOQ_PAD samples of room on either side ---- */

/* Fill the room beside a half with what a mirrored line continues with. */
ISOQ_API void ISOQ_TYPED(isoq_fill_pad)(ISOQ_SAMPLE *half, int is_low, int n) {
    for (int k = 1; k <= ISOQ_PAD; k++) {
        half[-k] = half[is_low ? isoq_mirrored_low(-k, n) : isoq_mirrored_high(-k, n)];
        int after = n - 1 + k;
        half[after] = half[is_low ? isoq_mirrored_low(after, n) : isoq_mirrored_high(after, n)];
    }
}

/* Lift both halves of a line. */
ISOQ_API void ISOQ_TYPED(isoq_lift_line)(const isoq_steps *steps, ISOQ_SAMPLE *low,
                                         ISOQ_SAMPLE *high, int n) {
    for (int k = 0; k < steps->count; k++) {
        isoq_step step = steps->step[k];
        ISOQ_SAMPLE *target = step.to_low ? low : high, *other = step.to_low ? high : low;
        const ISOQ_SAMPLE *here = step.to_low ? other - 1 : other;
        ISOQ_TYPED(isoq_fill_pad)(other, !step.to_low, n);
        ISOQ_TYPED(isoq_lift)(target, here, here + 1, here - 1, here + 2, step, n);
    }
}

/* ---- Rows: every sample of a row is lifted by those of other rows ---- */

/* Rows of the two halves of a plane: row i of a half begins at (i % ring) * stride. */
typedef struct {
    ISOQ_SAMPLE *low, *high;
    size_t stride;
    int ring, n, width; /* n: rows of a half */
} ISOQ_TYPED(isoq_rows);

/* Return row `i` of a half, which may lie a little beyond the ends. */
ISOQ_API ISOQ_SAMPLE *ISOQ_TYPED(isoq_row)(const ISOQ_TYPED(isoq_rows) * rows, int is_low, int i) {
    int inside = is_low ? isoq_mirrored_low(i, rows->n) : isoq_mirrored_high(i, rows->n);
    return (is_low ? rows->low : rows->high) + (size_t)(inside % rows->ring) * rows->stride;
}

/* Take a step for row `i` of its half. */
ISOQ_API void ISOQ_TYPED(isoq_lift_row)(const ISOQ_TYPED(isoq_rows) * rows, isoq_step step, int i) {
    int other = !step.to_low, here = step.to_low ? i - 1 : i;
    int farther = step.far != 0; /* without far ones the rows may not be there */
    ISOQ_TYPED(isoq_lift)
    (ISOQ_TYPED(isoq_row)(rows, step.to_low, i), ISOQ_TYPED(isoq_row)(rows, other, here),
     ISOQ_TYPED(isoq_row)(rows, other, here + 1), ISOQ_TYPED(isoq_row)(rows, other, here - farther),
     ISOQ_TYPED(isoq_row)(rows, other, here + 1 + farther), step, rows->width);
}

/* Take all steps that the arrival of pair `t` of rows allows; t runs to n - 1 + the last delay. */
ISOQ_API void ISOQ_TYPED(isoq_lift_rows)(const ISOQ_TYPED(isoq_rows) * rows,
                                         const isoq_steps *steps, const int *delay, int t) {
    for (int k = 0; k < steps->count; k++) {
        int i = t - delay[k];
        if (i >= 0 && i < rows->n) ISOQ_TYPED(isoq_lift_row)(rows, steps->step[k], i);
    }
}
