/* Noise schedules in double precision: gamma(t) and what derives from it, its inverse, time grids.
 *
 * Plain formulas, written apart from the kernels' single-precision form (kernels/schedule.h) so that each checks the
 * other. */
#include "engine/schedule.h"

#include <math.h>
#include <stdlib.h>

#include "engine/status.h"

static const double PI = 3.14159265358979323846;

/* The distribution-like function F of a schedule: F(t) - F(0), F(1) - F(t), F(1) - F(0) and F'(t). */
struct shape {
  double below, above, range, slope;
};

static double logistic(double x) { return 1.0 / (1.0 + exp(-x)); }

static struct shape shape_at(const struct settings *settings, double t) {
  struct shape f = {0};
  switch (settings->schedule.type) {
    case SCHEDULE_COSINE: {
      double s = settings->schedule.s, rate = 0.5 * PI / (1.0 + s);
      double angle = (t + s) * rate, start = s * rate;
      f.below = sin(angle - start) * sin(angle + start); /* sin^2 x - sin^2 y without cancellation */
      f.above = cos(angle) * cos(angle);
      f.range = cos(start) * cos(start);
      f.slope = rate * sin(2.0 * angle);
      break;
    }
    case SCHEDULE_SIGMOID:
    case SCHEDULE_LOGISTIC: {
      double k = settings->schedule.k, middle = settings->schedule.t_mid;
      double here = logistic(k * (t - middle)), there = logistic(-k * (t - middle));
      f.below = here - logistic(-k * middle);
      f.above = there - logistic(-k * (1.0 - middle));
      f.range = logistic(k * (1.0 - middle)) - logistic(-k * middle);
      f.slope = k * here * there;
      break;
    }
    default: /* SCHEDULE_LINEAR */
      f.below = t;
      f.above = 1.0 - t;
      f.range = 1.0;
      f.slope = 1.0;
      break;
  }
  return f;
}

bool schedule_path_is_linear(const struct settings *settings) { return settings->variant == VARIANT_FM; }

noprop_schedule_values schedule_values(const struct settings *settings, double t) {
  double low = settings->schedule.alpha_bar[0], high = settings->schedule.alpha_bar[1];
  int type = settings->schedule.type;
  noprop_schedule_values v;
  double slope;
  if (settings->schedule.renormalise || type == SCHEDULE_LINEAR) {
    struct shape f = shape_at(settings, t);
    v.alpha_bar = low + (high - low) * f.below / f.range;
    v.one_minus_alpha_bar = (1.0 - high) + (high - low) * f.above / f.range;
    slope = (high - low) * f.slope / f.range;
  } else if (type == SCHEDULE_COSINE) {
    /* The earlier form: clipped to [.001, .999], the slope not (survey 4.1). */
    double angle = 0.5 * PI * (t + settings->schedule.s) / (1.0 + settings->schedule.s);
    v.alpha_bar = fmin(fmax(sin(angle) * sin(angle), 0.001), 0.999);
    v.one_minus_alpha_bar = fmin(fmax(cos(angle) * cos(angle), 0.001), 0.999);
    slope = 0.5 * PI / (1.0 + settings->schedule.s) * sin(2.0 * angle);
  } else {
    double x = settings->schedule.k * (t - settings->schedule.t_mid);
    v.alpha_bar = logistic(x);
    v.one_minus_alpha_bar = logistic(-x);
    slope = settings->schedule.k * v.alpha_bar * v.one_minus_alpha_bar;
  }
  v.gamma = log(v.alpha_bar) - log(v.one_minus_alpha_bar);
  v.gamma_prime = slope / (v.alpha_bar * v.one_minus_alpha_bar);
  v.snr = v.alpha_bar / v.one_minus_alpha_bar;
  v.snr_prime = v.gamma_prime * v.snr;
  return v;
}

double schedule_time_of_gamma(const struct settings *settings, double gamma) {
  double low = 0.0, high = 1.0;
  /* gamma increases with t; 60 halvings leave an interval below the spacing of doubles near 1. */
  for (int i = 0; i < 60; ++i) {
    double middle = 0.5 * (low + high);
    if (schedule_values(settings, middle).gamma < gamma)
      low = middle;
    else
      high = middle;
  }
  return 0.5 * (low + high);
}

noprop_status schedule_grid(const struct settings *settings, int grid, int steps, double *times) {
  bool linear = schedule_path_is_linear(settings);
  double low = 0.0, high = 0.0;
  if (grid == GRID_GAMMA) {
    double eps = settings->loss.t_eps;
    low = linear ? 2.0 * (log(eps) - log1p(-eps)) : schedule_values(settings, 0.0).gamma;
    high = linear ? -low : schedule_values(settings, 1.0).gamma;
    if (!isfinite(low) || !isfinite(high) || !(high > low))
      return status_set(
          NOPROP_UNSUPPORTED,
          "sample.grid gamma needs a finite gamma at both ends; with loss.t_eps %g and schedule.alpha_bar "
          "[%g, %g] it is not: use sample.grid t",
          eps, settings->schedule.alpha_bar[0], settings->schedule.alpha_bar[1]);
  }
  for (int i = 0; i <= steps; ++i) {
    double part = steps > 0 ? (double)i / steps : 1.0, gamma = low + (high - low) * part;
    if (grid != GRID_GAMMA)
      times[i] = part;
    else
      times[i] = linear ? logistic(0.5 * gamma) : schedule_time_of_gamma(settings, gamma);
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
  if (!settings) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the settings");
  noprop_status status = settings_resolve(config, settings);
  for (long i = 0; status == NOPROP_OK && i < count; ++i) {
    if (!(t[i] >= 0.0 && t[i] <= 1.0))
      status =
          status_set(NOPROP_INVALID_ARGUMENT, "noprop_schedule_evaluate: t[%ld] is %g; times are from 0 to 1", i, t[i]);
    else
      values[i] = schedule_values(settings, t[i]);
  }
  free(settings);
  return status;
}
