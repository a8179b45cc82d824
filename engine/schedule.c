/* From a configuration to the description of its schedule; gamma(t) and what derives from it, the inverse, time grids.
 */
#include "engine/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/status.h"

/* ---- descriptions ---- */

static int form_of(int type) {
  switch (type) {
    case SCHEDULE_COSINE:
      return SCHEDULE_FORM_COSINE;
    case SCHEDULE_SIGMOID:
    case SCHEDULE_LOGISTIC:
      return SCHEDULE_FORM_SIGMOID;
    case SCHEDULE_EXPONENTIAL:
      return SCHEDULE_FORM_EXPONENTIAL;
    case SCHEDULE_CAUCHY:
      return SCHEDULE_FORM_CAUCHY;
    case SCHEDULE_LAPLACE:
      return SCHEDULE_FORM_LAPLACE;
    case SCHEDULE_QUADRATIC:
      return SCHEDULE_FORM_QUADRATIC;
    case SCHEDULE_POLYNOMIAL:
      return SCHEDULE_FORM_POLYNOMIAL;
    case SCHEDULE_SINE:
      return SCHEDULE_FORM_SINE;
    case SCHEDULE_TABULATED:
      return SCHEDULE_FORM_TABLE;
    case SCHEDULE_NETWORK:
    case SCHEDULE_MONOTONIC_NN:
    case SCHEDULE_LEARNABLE:
      return SCHEDULE_FORM_NETWORK;
    default:
      return SCHEDULE_FORM_LINEAR;
  }
}

static double logit(double alpha_bar) { return log(alpha_bar) - log1p(-alpha_bar); }

/* Slopes that keep the cubic increasing: inside the weighted harmonic mean of the neighbouring secants (Fritsch and
 * Butland 1984), at the ends the parabola's slope, at most three times the secant and not below 0. */
static double end_slope(double width, double next_width, double secant, double next_secant) {
  const double slope = ((2 * width + next_width) * secant - width * next_secant) / (width + next_width);
  return fmin(fmax(slope, 0), 3 * secant);
}

static void table_rows(const struct settings *settings, struct schedule *schedule) {
  const int count = settings->schedule.table_count;
  double(*const table)[2] = (double(*)[2])settings->schedule.table;
  double width[SETTINGS_MAX_KNOTS] = {0}, secant[SETTINGS_MAX_KNOTS] = {0};
  for (int i = 0; i + 1 < count; ++i) {
    width[i] = table[i + 1][0] - table[i][0];
    secant[i] = (table[i + 1][1] - table[i][1]) / width[i];
  }
  for (int i = 0; i < count; ++i) {
    double slope;
    if (count == 2) {
      slope = secant[0];
    } else if (i == 0) {
      slope = end_slope(width[0], width[1], secant[0], secant[1]);
    } else if (i == count - 1) {
      slope = end_slope(width[i - 1], width[i - 2], secant[i - 1], secant[i - 2]);
    } else {
      const double before = 2 * width[i] + width[i - 1], after = width[i] + 2 * width[i - 1];
      slope = (before + after) / (before / secant[i - 1] + after / secant[i]);
    }
    schedule->rows[i][0] = table[i][0];
    schedule->rows[i][1] = table[i][1];
    schedule->rows[i][2] = slope;
  }
  schedule->description.knots = count;
}

/* `numbers`: schedule_network_arrays, or NULL: as they start. */
static noprop_status describe_network(const struct settings *settings, const double *numbers,
                                      struct schedule *schedule) {
  struct schedule_array arrays[SCHEDULE_MAX_ARRAYS];
  const int count = schedule_network_arrays(settings, arrays);
  double *initial = NULL;
  if (!numbers) {
    double *to = initial = calloc((size_t)schedule_network_numbers(settings), sizeof *initial);
    if (!initial) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the network of a schedule");
    for (int i = 0; i < count; ++i)
      for (long k = 0; k < (long)arrays[i].rows * arrays[i].columns; ++k)
        *to++ = schedule_initial(&arrays[i], settings->seed, i, k);
    numbers = initial;
  }
  schedule->description.mix = schedule_sigmoid(numbers[0]);
  if (!initial && settings->schedule.learn_endpoints) {
    const double *ends = numbers + schedule_network_numbers(settings);
    schedule_set_ends(&schedule->description, ends[0], ends[1]);
  }
  const noprop_status status = schedule_network_rows(settings, numbers, schedule->rows, &schedule->description.knots);
  free(initial);
  return status;
}

noprop_status schedule_describe(const struct settings *settings, const double *parameters, struct schedule *schedule) {
  const double low = settings->schedule.alpha_bar[0], high = settings->schedule.alpha_bar[1];
  schedule_description *d = &schedule->description;
  *d = (schedule_description){.form = form_of(settings->schedule.type),
                              .renormalise = settings->schedule.renormalise,
                              .low = low,
                              .range = high - low,
                              .one_minus_high = 1 - high,
                              .s = settings->schedule.s,
                              .k = settings->schedule.k,
                              .middle = settings->schedule.t_mid,
                              .beta = settings->schedule.beta,
                              .loc = settings->schedule.loc,
                              .scale = settings->schedule.scale,
                              .power = settings->schedule.power,
                              .first = logit(low),
                              .span = logit(high) - logit(low),
                              .mix = 0.5,
                              /* cppcheck-suppress uninitvar ; an address alone */
                              .table = schedule->rows[0]};
  if (d->form == SCHEDULE_FORM_TABLE) table_rows(settings, schedule);
  if (d->form == SCHEDULE_FORM_NETWORK) return describe_network(settings, parameters, schedule);
  struct schedule_array arrays[SCHEDULE_MAX_ARRAYS];
  const int count = schedule_arrays(settings, arrays);
  for (int i = 0; parameters && i < count; ++i) {
    const char *name = arrays[i].name + strlen("schedule.");
    if (strcmp(name, "s") == 0) d->s = schedule_softplus(parameters[i]);
    if (strcmp(name, "k") == 0) d->k = schedule_softplus(parameters[i]);
    if (strcmp(name, "t_mid") == 0) d->middle = parameters[i];
    if (strcmp(name, "beta") == 0) d->beta = schedule_softplus(parameters[i]);
    if (strcmp(name, "loc") == 0) d->loc = parameters[i];
    if (strcmp(name, "scale") == 0) d->scale = schedule_softplus(parameters[i]);
    if (strcmp(name, "power") == 0) d->power = 1 + schedule_softplus(parameters[i]);
    /* The span follows it. */
    if (strcmp(name, "gamma_first") == 0) schedule_set_ends(d, parameters[i], parameters[i + 1]);
  }
  return NOPROP_OK;
}

/* ---- evaluation ---- */

bool schedule_path_is_linear(const struct settings *settings) { return settings->variant == VARIANT_FM; }

noprop_schedule_values schedule_at(const struct schedule *schedule, double t) {
  const schedule_point point = schedule_evaluate(&schedule->description, t);
  noprop_schedule_values v;
  v.alpha_bar = point.alpha_bar;
  v.one_minus_alpha_bar = point.one_minus_alpha_bar;
  v.gamma = schedule_gamma(point);
  v.gamma_prime = point.gamma_prime;
  v.snr = v.alpha_bar / v.one_minus_alpha_bar;
  v.snr_prime = v.gamma_prime * v.snr;
  return v;
}

double schedule_time_of_gamma(const struct schedule *schedule, double gamma) {
  double low = 0.0, high = 1.0;
  /* gamma increases with t; 60 halvings leave an interval below the spacing of doubles near 1. */
  for (int i = 0; i < 60; ++i) {
    const double middle = 0.5 * (low + high);
    if (schedule_gamma(schedule_evaluate(&schedule->description, middle)) < gamma)
      low = middle;
    else
      high = middle;
  }
  return 0.5 * (low + high);
}

noprop_status schedule_grid(const struct settings *settings, const double *parameters, int grid, int steps,
                            double *times) {
  const bool linear = schedule_path_is_linear(settings);
  struct schedule schedule;
  double low = 0.0, high = 0.0;
  if (grid == GRID_GAMMA) {
    const double eps = settings->loss.t_eps;
    if (!linear) {
      const noprop_status status = schedule_describe(settings, parameters, &schedule);
      if (status != NOPROP_OK) return status;
    }
    low = linear ? 2.0 * (log(eps) - log1p(-eps)) : schedule_at(&schedule, 0.0).gamma;
    high = linear ? -low : schedule_at(&schedule, 1.0).gamma;
    if (!isfinite(low) || !isfinite(high) || !(high > low))
      return status_set(
          NOPROP_UNSUPPORTED,
          "sample.grid gamma needs a finite gamma at both ends; with loss.t_eps %g and schedule.alpha_bar "
          "[%g, %g] it is not: use sample.grid t",
          eps, settings->schedule.alpha_bar[0], settings->schedule.alpha_bar[1]);
  }
  for (int i = 0; i <= steps; ++i) {
    const double part = steps > 0 ? (double)i / steps : 1.0, gamma = low + (high - low) * part;
    if (grid != GRID_GAMMA)
      times[i] = part;
    else
      times[i] = linear ? schedule_sigmoid(0.5 * gamma) : schedule_time_of_gamma(&schedule, gamma);
  }
  times[0] = 0.0;
  times[steps] = 1.0;
  return NOPROP_OK;
}

noprop_status noprop_schedule_evaluate(const noprop_config *config, const double *t, long count,
                                       noprop_schedule_values *values) {
  if (!config || !t || !values || count < 0)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_schedule_evaluate: config, t and values must not be NULL and count "
                      "not negative");
  struct settings *settings = malloc(sizeof *settings);
  struct schedule *schedule = malloc(sizeof *schedule);
  if (!settings || !schedule) {
    free(schedule);
    free(settings);
    return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a schedule");
  }
  noprop_status status = settings_resolve(config, settings);
  if (status == NOPROP_OK) status = schedule_describe(settings, NULL, schedule);
  for (long i = 0; status == NOPROP_OK && i < count; ++i) {
    if (!(t[i] >= 0.0 && t[i] <= 1.0))
      status =
          status_set(NOPROP_INVALID_ARGUMENT, "noprop_schedule_evaluate: t[%ld] is %g; times are from 0 to 1", i, t[i]);
    else
      values[i] = schedule_at(schedule, t[i]);
  }
  free(schedule);
  free(settings);
  return status;
}
