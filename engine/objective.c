/* Weights, means, quantiles and the table of combinations. The weights are written apart from the kernels' (by the rule
 * "weight of the target's error times the square of its derivative"), so that each checks the other. */
#include "engine/objective.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/schedule.h"
#include "engine/status.h"

/* The configured schedule at one time; not numbers if there is no memory for it, which the caller's checks refuse. */
static noprop_schedule_values schedule_values(const struct settings *s, double t) {
  struct schedule schedule;
  if (schedule_describe(s, NULL, &schedule) == NOPROP_OK) return schedule_at(&schedule, t);
  return (noprop_schedule_values){NAN, NAN, NAN, NAN, NAN, NAN};
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/* (d target / d prediction)^2. */
static double error_square(const struct settings *s, double t) {
  const bool linear = schedule_path_is_linear(s);
  const double rest = 1 - t;
  noprop_schedule_values v = {0};
  if (!linear) v = schedule_values(s, t);
  switch (s->prediction) {
    case PREDICTION_NOISE:
      return linear ? rest * rest / (t * t) : 1 / v.snr;
    case PREDICTION_V:
      return linear ? rest * rest / (t * t + rest * rest) : v.one_minus_alpha_bar;
    case PREDICTION_VELOCITY:
      return linear ? rest * rest : 4 / (v.gamma_prime * v.gamma_prime * v.alpha_bar);
    default:
      return 1;
  }
}

double objective_weight(const struct settings *s, double t) {
  const bool linear = schedule_path_is_linear(s);
  const double rest = 1 - t;
  noprop_schedule_values v = schedule_values(s, t);
  const double snr = linear ? t * t / (rest * rest) : v.snr;
  const double snr_prime = linear ? 2 * t / (rest * rest * rest) : v.snr_prime;
  switch (s->loss.weight) {
    case WEIGHT_ELBO:
      return snr_prime * error_square(s, t);
    case WEIGHT_MIN_SNR:
      return fmin(snr, s->loss.cap) * error_square(s, t);
    case WEIGHT_SNR_PRIME:
      return fmin(snr_prime, s->loss.cap) * error_square(s, t);
    case WEIGHT_INVERSE_SNR:
      return 1 / snr;
    case WEIGHT_NOTEBOOK:
      return v.alpha_bar / ((v.one_minus_alpha_bar + 1e-8) * (v.one_minus_alpha_bar + 1e-8));
    case WEIGHT_T:
      return t;
    case WEIGHT_DRIFT:
      return 1 / (v.one_minus_alpha_bar * v.gamma_prime);
    case WEIGHT_VP_VELOCITY:
      return 1 / (v.one_minus_alpha_bar * v.alpha_bar * v.gamma_prime);
    default:
      return 1;
  }
}

/* ---- means ------------------------------------------------------------------------------------------------------- */

static double gamma_at(const struct settings *s, double t) {
  return schedule_path_is_linear(s) ? 2 * (log(t) - log1p(-t)) : schedule_values(s, t).gamma;
}

double objective_gamma_range(const struct settings *s) {
  return gamma_at(s, 1 - s->loss.t_eps) - gamma_at(s, s->loss.t_eps);
}

/* gamma' is the derivative of gamma but where the earlier cosine is clipped. */
static bool gamma_is_consistent(const struct settings *s) {
  return schedule_path_is_linear(s) || s->schedule.renormalise || s->schedule.type != SCHEDULE_COSINE;
}

bool objective_has_mean(const struct settings *s) {
  const bool linear = schedule_path_is_linear(s);
  switch (s->loss.weight) {
    case WEIGHT_UNIFORM:
    case WEIGHT_T:
      return true;
    case WEIGHT_ELBO:
      return linear || (s->prediction != PREDICTION_VELOCITY && gamma_is_consistent(s));
    case WEIGHT_MIN_SNR:
    case WEIGHT_INVERSE_SNR:
      return linear;
    default:
      return false;
  }
}

/* An indefinite integral of w; of min_snr on the linear path the branch where SNR is above its cap, or below. */
static double integral(const struct settings *s, double t, bool capped) {
  const bool linear = schedule_path_is_linear(s);
  const double rest = 1 - t, squares = t * t + rest * rest, cap = s->loss.cap;
  switch (s->loss.weight) {
    case WEIGHT_ELBO:
      switch (s->prediction) {
        case PREDICTION_NOISE:
          return gamma_at(s, t);
        case PREDICTION_V: /* gamma' alpha_bar = alpha_bar'/(1 - alpha_bar) */
          return linear ? log(squares) - 2 * log1p(-t) : -log(schedule_values(s, t).one_minus_alpha_bar);
        case PREDICTION_VELOCITY:
          return -2 * t - 2 * log1p(-t);
        default:
          return linear ? t * t / (rest * rest) : schedule_values(s, t).snr;
      }
    case WEIGHT_INVERSE_SNR:
      return t - 2 * log(t) - 1 / t;
    case WEIGHT_MIN_SNR:
      switch (s->prediction) {
        case PREDICTION_NOISE:
          return capped ? cap * (t - 2 * log(t) - 1 / t) : t;
        case PREDICTION_V:
          return capped ? -cap * (rest / 2 + log(squares) / 4) : t / 2 + log(squares) / 4;
        case PREDICTION_VELOCITY:
          return capped ? -cap * rest * rest * rest / 3 : t * t * t / 3;
        default:
          return capped ? cap * t : t + 2 * log1p(-t) + 1 / rest;
      }
    case WEIGHT_T:
      return t * t / 2;
    default:
      return t;
  }
}

noprop_status objective_mean_weight(const struct settings *s, double *mean) {
  const double low = s->loss.t_eps, high = 1 - low;
  if (!objective_has_mean(s))
    return status_set(NOPROP_INVALID_CONFIG,
                      "loss.normalize: analytic needs a weight with a closed-form mean, and loss.weight %s for "
                      "prediction %s has none; none or batch are allowed",
                      WEIGHT_NAMES[s->loss.weight].name, PREDICTION_NAMES[s->prediction].name);
  if (s->loss.weight == WEIGHT_MIN_SNR) { /* SNR = cap at t = sqrt(cap)/(1 + sqrt(cap)) */
    const double root = sqrt(s->loss.cap), turn = fmin(fmax(root / (1 + root), low), high);
    *mean = integral(s, turn, false) - integral(s, low, false) + integral(s, high, true) - integral(s, turn, true);
  } else {
    *mean = integral(s, high, false) - integral(s, low, false);
  }
  *mean /= high - low;
  if (!isfinite(*mean) || *mean <= 0)
    return status_set(NOPROP_INVALID_CONFIG,
                      "loss.normalize: analytic needs a finite mean weight, and it is %g with loss.t_eps %g; a larger "
                      "loss.t_eps or normalize none is allowed",
                      *mean, s->loss.t_eps);
  return NOPROP_OK;
}

/* ---- quantiles of times ------------------------------------------------------------------------------------------ */

static double density(const struct settings *s, double t) {
  if (s->loss.t_sampling == T_SAMPLING_IMPORTANCE) return objective_weight(s, t);
  return schedule_path_is_linear(s) ? 2 / (t * (1 - t)) : schedule_values(s, t).gamma_prime;
}

noprop_status objective_time_knots(const struct settings *s, float *knots) {
  /* Masses are summed over points spaced evenly in the logit of t, since densities are steep at the ends. */
  enum { POINTS = 1 << 16 };
  const double low = s->loss.t_eps, span = 1 - 2 * low, edge = 16;
  const double first = 1 / (1 + exp(edge)), range = 1 - 2 * first, step = 2 * edge / POINTS;
  double *const mass = malloc((POINTS + 1) * sizeof *mass), *const at = malloc((POINTS + 1) * sizeof *at);
  noprop_status status = NOPROP_OK;
  if (!mass || !at) {
    status = status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the quantiles of times");
    goto done;
  }
  double last = 0;
  mass[0] = 0;
  for (int i = 0; i <= POINTS; ++i) {
    const double up = 1 / (1 + exp(edge - step * i)), down = 1 / (1 + exp(step * i - edge));
    /* Kept off the ends of the clipped range by the half of a cell that the sum would give them. */
    at[i] = low + span * (up - first) / range;
    const double inside = fmin(fmax(at[i], low + span * 1e-9), low + span * (1 - 1e-9));
    const double value = density(s, inside) * span * up * down / range;
    if (i > 0) mass[i] = mass[i - 1] + 0.5 * (last + value) * step;
    last = value;
  }
  if (!isfinite(mass[POINTS]) || mass[POINTS] <= 0) {
    status = status_set(NOPROP_INVALID_CONFIG,
                        "loss.t_sampling: %s needs a density with a finite integral over t, and that of loss.weight %s "
                        "is %g; uniform and low_discrepancy are allowed",
                        T_SAMPLING_NAMES[s->loss.t_sampling].name, WEIGHT_NAMES[s->loss.weight].name, mass[POINTS]);
    goto done;
  }
  for (int k = 0, i = 0; k <= OBJECTIVE_CELLS; ++k) {
    const double wanted = mass[POINTS] * k / OBJECTIVE_CELLS;
    while (i < POINTS - 1 && mass[i + 1] < wanted) ++i;
    const double part = mass[i + 1] > mass[i] ? (wanted - mass[i]) / (mass[i + 1] - mass[i]) : 0;
    knots[k] = (float)(at[i] + fmin(fmax(part, 0), 1) * (at[i + 1] - at[i]));
  }
  knots[0] = (float)low;
  knots[OBJECTIVE_CELLS] = (float)(1 - low);
done:
  free(mass);
  free(at);
  return status;
}

/* ---- combinations ------------------------------------------------------------------------------------------------ */

const char *objective_refusal(const struct settings *s, const char **key, char *buffer, size_t size) {
  const bool linear = schedule_path_is_linear(s), edge = s->loss.t_eps == 0;
  const int weight = s->loss.weight, times = s->loss.t_sampling, normalize = s->loss.normalize;
  const char *const prediction = PREDICTION_NAMES[s->prediction].name, *const name = WEIGHT_NAMES[weight].name;
  const bool quantiles = times == T_SAMPLING_GAMMA || times == T_SAMPLING_IMPORTANCE;
  buffer[0] = '\0';

  *key = "loss.weight";
  if (weight == WEIGHT_DRIFT && linear)
    (void)snprintf(buffer, size,
                   "is a weight of the VP path, and fm takes the linear one; allowed: uniform, elbo, min_snr, "
                   "snr_prime, t, inverse_snr, vp_velocity, or variant df or ct");
  else if ((weight == WEIGHT_MIN_SNR || weight == WEIGHT_SNR_PRIME) && !linear && s->prediction == PREDICTION_VELOCITY)
    (void)snprintf(buffer, size,
                   "of the velocity on the VP path is a bounded weight of the target divided by gamma'^2, which is "
                   "infinite where gamma' is 0; allowed: another weight, or prediction noise, target or v");
  if (buffer[0]) return buffer;

  *key = "loss.normalize";
  if (normalize == NORMALIZE_ANALYTIC && !objective_has_mean(s))
    (void)snprintf(buffer, size,
                   "is not allowed: weight %s of prediction %s has no mean in closed form here; allowed: none, batch",
                   name, prediction);
  else if (normalize == NORMALIZE_ANALYTIC && times == T_SAMPLING_GAMMA && weight != WEIGHT_UNIFORM)
    (void)snprintf(buffer, size,
                   "divides by the mean over t, and times are uniform in gamma; allowed: none, batch, or t_sampling "
                   "uniform, low_discrepancy, importance");
  else if (normalize == NORMALIZE_BATCH && times == T_SAMPLING_IMPORTANCE)
    (void)snprintf(buffer, size,
                   "divides by the mean weight of the batch, and times drawn by importance leave every row the same "
                   "weight; allowed: none, analytic, or another t_sampling");
  else if (normalize != NORMALIZE_NONE && normalize != NORMALIZE_BATCH && s->schedule.learnable && !linear)
    (void)snprintf(buffer, size,
                   "divides by the mean weight of one schedule, and schedule.learnable is true; allowed: none, batch");
  if (buffer[0]) return buffer;

  *key = "loss.t_sampling";
  if (times == T_SAMPLING_IMPORTANCE && weight == WEIGHT_UNIFORM)
    (void)snprintf(buffer, size,
                   "draws times with a density proportional to the weight, and weight uniform makes that "
                   "low_discrepancy; allowed: low_discrepancy, or another loss.weight");
  else if (times == T_SAMPLING_GAMMA && weight == WEIGHT_ELBO)
    (void)snprintf(buffer, size,
                   "is not allowed with weight elbo, which makes the bound with times uniform in t; allowed: uniform, "
                   "low_discrepancy, importance, or another loss.weight");
  else if (times == T_SAMPLING_GAMMA && !gamma_is_consistent(s))
    (void)snprintf(buffer, size,
                   "needs gamma to rise everywhere, and the earlier systems' cosine is clipped; allowed: uniform, "
                   "low_discrepancy, importance, or schedule.renormalise true");
  else if (quantiles && s->schedule.learnable && !linear)
    (void)snprintf(buffer, size,
                   "places times by one schedule, and schedule.learnable is true; allowed: uniform, low_discrepancy");
  if (buffer[0]) return buffer;

  *key = "loss.t_eps";
  if (!linear || !edge) return NULL;
  if (weight == WEIGHT_ELBO)
    (void)snprintf(buffer, size,
                   "is not allowed with weight elbo on the linear path, whose integral is infinite; allowed: above 0, "
                   "at most 0.1");
  else if (weight == WEIGHT_INVERSE_SNR)
    (void)snprintf(buffer, size,
                   "is not allowed with weight inverse_snr on the linear path, which is infinite at t = 0; allowed: "
                   "above 0, at most 0.1");
  else if (times == T_SAMPLING_GAMMA)
    (void)snprintf(buffer, size,
                   "is not allowed with times uniform in gamma on the linear path, where gamma is infinite at both "
                   "ends; allowed: above 0, at most 0.1");
  else if (s->prediction == PREDICTION_NOISE || s->prediction == PREDICTION_TARGET)
    (void)snprintf(buffer, size,
                   "is not allowed where %s is predicted on the linear path, since the velocity is infinite at its "
                   "ends; allowed: above 0, at most 0.1",
                   prediction);
  return buffer[0] ? buffer : NULL;
}
