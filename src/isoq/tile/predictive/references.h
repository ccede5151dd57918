/* The choice of the earlier planes that a plane is predicted from. */
#ifndef ISOQ_CHOOSE_REFERENCES_H
#define ISOQ_CHOOSE_REFERENCES_H

#include "least_squares.h"
#include "surroundings.h"

/* Share of the squared detail that a reference has to leave at most: otherwise it is not worth it.
 */
static const double ISOQ_WORTH = 0.985;

/* Return which of candidates 1 ... `candidates` tells most of row 0, or 0 if none is worth it.
   gram: products of what is left of all rows; taken[c]: 1 for those chosen already. */
ISOQ_API int isoq_best_candidate(double gram[ISOQ_ROWS][ISOQ_ROWS], int candidates,
                                 const uint8_t *taken, double ridge) {
    int best = 0;
    double most = (1 - ISOQ_WORTH) * gram[0][0];
    for (int c = 1; c <= candidates; c++) {
        double told = gram[0][c] * gram[0][c] / (gram[c][c] + ridge + 1e-30);
        if (!taken[c] && told > most) {
            most = told;
            best = c;
        }
    }
    return best;
}

/* Take from the products what row `best` tells of all rows. */
ISOQ_API void isoq_project_out(double gram[ISOQ_ROWS][ISOQ_ROWS], int candidates, int best,
                               double ridge) {
    double own[ISOQ_CANDIDATES + 1], size = gram[best][best] + ridge;
    for (int c = 0; c <= candidates; c++) own[c] = gram[best][c];
    for (int a = 0; a <= candidates; a++)
        for (int b = 0; b <= candidates; b++) gram[a][b] -= own[a] * own[b] / size;
}

/* Find the earlier planes whose details tell most of those of plane `plane`, one after the other
   (orthogonal matching pursuit). Sets `reference` (ISOQ_REFERENCES) from the front, and returns how
   many. */
ISOQ_API int isoq_choose_references(isoq_fitter *fitter, int plane, int32_t *reference) {
    const float *row[ISOQ_CANDIDATES + 1];
    double gram[ISOQ_ROWS][ISOQ_ROWS];
    uint8_t taken[ISOQ_CANDIDATES + 1] = {0};
    int candidates = plane < ISOQ_CANDIDATES ? plane : ISOQ_CANDIDATES;
    int chosen = 0;
    int64_t few = isoq_few_of(fitter->field->count[plane]);
    if (!candidates) return 0;
    for (int c = 0; c <= candidates; c++) row[c] = isoq_look(fitter, plane - c, plane)->detail;
    float floor = (float)(isoq_mean_magnitude(row[0], few) + 1e-6);
    for (int64_t j = 0; j < few; j++) fitter->scale[j] = 1 / (fabsf(row[0][j]) + floor);
    isoq_find_gram(row, candidates + 1, fitter->scale, few, gram);
    double ridge = 1e-6 * gram[0][0];
    while (chosen < ISOQ_REFERENCES && chosen < candidates) {
        int best = isoq_best_candidate(gram, candidates, taken, ridge);
        if (!best) break;
        taken[best] = 1;
        reference[chosen] = plane - best;
        chosen++;
        isoq_project_out(gram, candidates, best, ridge);
    }
    return chosen;
}

#endif
