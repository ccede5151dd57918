/* Two-dimensional transforms, level by level, for the type of sample that lifting.h is included for.

   One pass over memory per level: rows are lifted along themselves as they come, and across as soon
   as the rows that a step needs are there (isoq_schedule). */

/* ---- Synthesis ---- */

/* Where a synthesis finds its sub-bands: `take` sets row `i` of a sub-band, `cols` samples. */
typedef void (*ISOQ_TYPED(isoq_take))(const void *from, int level, int band, int i,
                                      ISOQ_SAMPLE *row);

/* Interleave the halves of a line. */
ISOQ_MULTIVERSION void ISOQ_TYPED(isoq_interleave)(const ISOQ_SAMPLE *low, const ISOQ_SAMPLE *high,
                                                   ISOQ_SAMPLE *line, int n) {
    ISOQ_INDEPENDENT
    for (int j = 0; j < n; j++) {
        line[2 * j] = low[j];
        line[2 * j + 1] = high[j];
    }
}

/* Set `out` (2 n, 2 m) to a level's plane, given its low-pass band (n, m) and the details.
   line: room for two halves with their pads. */
ISOQ_API void ISOQ_TYPED(isoq_synthesize_level)(const isoq_steps *analysis,
                                                const ISOQ_SAMPLE *low_pass,
                                                ISOQ_TYPED(isoq_take) take, const void *from,
                                                int level, int n, int m, ISOQ_SAMPLE *line,
                                                ISOQ_SAMPLE *out) {
    isoq_steps steps = isoq_steps_of(analysis, ISOQ_SYNTHESIS);
    int delay[ISOQ_MOST_STEPS];
    int last = isoq_schedule(&steps, delay);
    size_t width = 2 * (size_t)m;
    ISOQ_SAMPLE *low = line + ISOQ_PAD, *high = low + m + 2 * ISOQ_PAD;
    ISOQ_TYPED(isoq_rows) rows = {out, out + width, 2 * width, n, n, 2 * m};
    for (int t = 0; t < n + last; t++) {
        for (int odd = 0; t < n && odd < 2; odd++) {
            if (odd)
                take(from, level, 2, t, low);
            else
                memcpy(low, low_pass + (size_t)t * (size_t)m, (size_t)m * sizeof *low);
            take(from, level, odd ? 3 : 1, t, high);
            ISOQ_TYPED(isoq_lift_line)(&steps, low, high, m);
            ISOQ_TYPED(isoq_interleave)(low, high, ISOQ_TYPED(isoq_row)(&rows, !odd, t), m);
        }
        ISOQ_TYPED(isoq_lift_rows)(&rows, &steps, delay, t);
    }
}

/* Synthesize down to the plane of samples that level `finest` + 1 was made of: the image itself for
   0. wavelets: of each level, the finest first; out: (rows, cols) of the layout times
   2^(ISOQ_WAVELET_LEVELS - finest). Returns ISOQ_OK or ISOQ_NO_MEMORY. */
ISOQ_API isoq_status ISOQ_TYPED(isoq_synthesize)(const isoq_steps *const *wavelets,
                                                 const isoq_layout *layout,
                                                 ISOQ_TYPED(isoq_take) take, const void *from,
                                                 int finest, ISOQ_SAMPLE *out) {
    int n = layout->rows, m = layout->cols;
    size_t largest = (size_t)n * (size_t)m << 2 * (ISOQ_WAVELET_LEVELS - finest);
    size_t half = (size_t)m << (ISOQ_WAVELET_LEVELS - finest);
    /* Planes take turns: the one before the last is a quarter, the one before that a sixteenth. */
    size_t room = largest / 4 + largest / 16 + half + 4 * ISOQ_PAD;
    ISOQ_SAMPLE *memory = (ISOQ_SAMPLE *)malloc(room * sizeof *memory);
    if (!memory) return ISOQ_NO_MEMORY;
    ISOQ_SAMPLE *quarter = memory, *sixteenth = quarter + largest / 4;
    ISOQ_SAMPLE *line = sixteenth + largest / 16;
    int levels = ISOQ_WAVELET_LEVELS - finest;
    ISOQ_SAMPLE *plane = levels == 0 ? out : levels % 2 ? quarter : sixteenth;
    for (int i = 0; i < n; i++) take(from, ISOQ_WAVELET_LEVELS, 0, i, plane + (size_t)i * (size_t)m);
    for (int level = ISOQ_WAVELET_LEVELS; level > finest; level--, n *= 2, m *= 2) {
        int left = level - finest - 1;
        ISOQ_SAMPLE *next = left == 0 ? out : left % 2 ? quarter : sixteenth;
        ISOQ_TYPED(isoq_synthesize_level)(wavelets[level - 1], plane, take, from, level, n, m, line,
                                          next);
        plane = next;
    }
    free(memory);
    return ISOQ_OK;
}
