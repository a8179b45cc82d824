/* The objective on the host, in double precision: weights of t, their means, quantiles of times, and which combinations
 * of options make sense (design page "mathematics", section 2; docs/objectives.md). */
#ifndef ENGINE_OBJECTIVE_H
#define ENGINE_OBJECTIVE_H

#include <stddef.h>

#include "engine/settings.h"

/* Cells of times by quantiles (t_sampling gamma and importance). A cell's density is exact however wide it is; 256 keep
 * weight times density within a few per cent of constant where the weight is smooth. */
enum { OBJECTIVE_CELLS = 256 };

/* w(t) of the predicted quantity, before normalisation (survey 1.3 and 2.10). Autos resolved. */
double objective_weight(const struct settings *settings, double t);

/* True if the mean of w over t uniform in [t_eps, 1 - t_eps] is known in closed form. */
bool objective_has_mean(const struct settings *settings);
/* That mean. INVALID_CONFIG, with a sentence, where there is none or it is not finite. */
noprop_status objective_mean_weight(const struct settings *settings, double *mean);

/* Knots of times by quantiles: knots [OBJECTIVE_CELLS + 1] from t_eps to 1 - t_eps, cells of equal mass of w
 * (importance) or of gamma' (gamma). INVALID_CONFIG where that mass is not finite. */
noprop_status objective_time_knots(const struct settings *settings, float *knots);
/* gamma(1 - t_eps) - gamma(t_eps) of the path. */
double objective_gamma_range(const struct settings *settings);

/* Why this combination of path, prediction, weight, normalisation and times is refused: the sentence that follows "KEY:
 * VALUE ", and the key; NULL if it makes sense. The sentence is written to `buffer`. */
const char *objective_refusal(const struct settings *settings, const char **key, char *buffer, size_t size);

#endif
