/* How gamma(t) and gamma'(t) change with the numbers of a schedule: forward derivatives, for schedules that are
 * trained.
 *
 * Of schedules whose end points are met exactly (renormalise 1). With F the increasing function of schedule.h and q one
 * of its numbers, alpha_bar = low + range rise, rise = (F(t) - F(0))/(F(1) - F(0)), so that
 *   d rise/dq = [fall (F_q(t) - F_q(0)) + rise (F_q(t) - F_q(1))]/(F(1) - F(0)), fall = 1 - rise,
 *   d gamma/dq = alpha_bar_q/(alpha_bar (1 - alpha_bar)),
 *   d gamma'/dq = (alpha_bar'_q - gamma' alpha_bar_q (1 - 2 alpha_bar))/(alpha_bar (1 - alpha_bar)). */
#ifndef KERNELS_SCHEDULE_TANGENT_H
#define KERNELS_SCHEDULE_TANGENT_H

#include "schedule.h"

typedef struct {
  SCHEDULE_REAL gamma, gamma_prime; /* derivatives by one number */
} schedule_tangent;

/* F and F' at one time by one number. */
typedef struct {
  SCHEDULE_REAL f, prime;
} schedule_shape_tangent;

/* `number`: cosine s; sigmoid k, middle; exponential beta; cauchy and laplace loc, scale; polynomial power. */
SCHEDULE_FUNCTION schedule_shape_tangent schedule_shape_by(const schedule_description *schedule, int number,
                                                           SCHEDULE_REAL t) {
  const SCHEDULE_REAL one = 1, half = (SCHEDULE_REAL)0.5, pi = (SCHEDULE_REAL)3.14159265358979323846;
  schedule_shape_tangent by;
  by.f = by.prime = 0;
  if (schedule->form == SCHEDULE_FORM_COSINE) {
    /* F = sin^2(x), x = pi (t + s) rate, rate = 1/(2 (1 + s)): x_s = 2 pi (1 - t) rate^2. */
    const SCHEDULE_REAL rate = half / (one + schedule->s), turn = 2 * pi * (one - t) * rate * rate;
    const SCHEDULE_REAL sine = SCHEDULE_SINPI(2 * (t + schedule->s) * rate);
    const SCHEDULE_REAL cosine = SCHEDULE_SINPI(half - 2 * (t + schedule->s) * rate);
    by.f = sine * turn;
    by.prime = 2 * pi * rate * (cosine * turn - rate * sine);
  } else if (schedule->form == SCHEDULE_FORM_SIGMOID) {
    const SCHEDULE_REAL k = schedule->k, from = t - schedule->middle;
    const SCHEDULE_REAL on = schedule_sigmoid(k * from), off = schedule_sigmoid(-k * from), bell = on * off;
    by.f = number == 0 ? bell * from : -k * bell;
    by.prime = number == 0 ? bell * (one + k * from * (off - on)) : -k * k * bell * (off - on);
  } else if (schedule->form == SCHEDULE_FORM_EXPONENTIAL) {
    const SCHEDULE_REAL left = SCHEDULE_EXP(-schedule->beta * t);
    by.f = t * left;
    by.prime = (one - schedule->beta * t) * left;
  } else if (schedule->form == SCHEDULE_FORM_CAUCHY) {
    const SCHEDULE_REAL inverse = one / schedule->scale, n = (t - schedule->loc) * inverse;
    const SCHEDULE_REAL bell = inverse / (pi * (one + n * n)), fade = bell * inverse / (one + n * n);
    by.f = number == 0 ? -bell : -n * bell;
    by.prime = number == 0 ? 2 * n * fade : (n * n - one) * fade;
  } else if (schedule->form == SCHEDULE_FORM_LAPLACE) {
    const SCHEDULE_REAL inverse = one / schedule->scale, n = (t - schedule->loc) * inverse;
    const SCHEDULE_REAL bell = half * inverse * SCHEDULE_EXP(-SCHEDULE_ABS(n));
    by.f = number == 0 ? -bell : -n * bell;
    by.prime = inverse * bell * (number == 0 ? (n < 0 ? -one : one) : SCHEDULE_ABS(n) - one);
  } else if (schedule->form == SCHEDULE_FORM_POLYNOMIAL && t > 0) {
    const SCHEDULE_REAL ln = SCHEDULE_LOG(t), below = SCHEDULE_POW(t, schedule->power - one);
    by.f = t * below * ln;
    by.prime = below * (one + schedule->power * ln);
  }
  return by;
}

/* F(1) - F(0). */
SCHEDULE_FUNCTION SCHEDULE_REAL schedule_shape_range(const schedule_description *schedule) {
  const SCHEDULE_REAL one = 1, pi = (SCHEDULE_REAL)3.14159265358979323846;
  if (schedule->form == SCHEDULE_FORM_COSINE) {
    const SCHEDULE_REAL cosine = SCHEDULE_SINPI((SCHEDULE_REAL)0.5 / (one + schedule->s));
    return cosine * cosine;
  }
  if (schedule->form == SCHEDULE_FORM_SIGMOID)
    return schedule_sigmoid(schedule->k * (one - schedule->middle)) * schedule_sigmoid(schedule->k * schedule->middle) *
           -SCHEDULE_EXPM1(-schedule->k);
  if (schedule->form == SCHEDULE_FORM_EXPONENTIAL) return -SCHEDULE_EXPM1(-schedule->beta);
  if (schedule->form == SCHEDULE_FORM_CAUCHY || schedule->form == SCHEDULE_FORM_LAPLACE) {
    const SCHEDULE_REAL inverse = one / schedule->scale;
    const SCHEDULE_REAL first = -schedule->loc * inverse, last = (one - schedule->loc) * inverse;
    if (schedule->form == SCHEDULE_FORM_LAPLACE) return schedule_laplace(first, last, inverse);
    return SCHEDULE_ATAN2(inverse, one + first * last) / pi;
  }
  return one;
}

/* Derivatives of gamma and gamma' at `point`, the schedule's values at t, by number `number` of its form. */
SCHEDULE_FUNCTION schedule_tangent schedule_tangent_by(const schedule_description *schedule, schedule_point point,
                                                       int number, SCHEDULE_REAL t) {
  const SCHEDULE_REAL both = point.alpha_bar * point.one_minus_alpha_bar;
  const SCHEDULE_REAL rise = (point.alpha_bar - schedule->low) / schedule->range;
  const SCHEDULE_REAL fall = (point.one_minus_alpha_bar - schedule->one_minus_high) / schedule->range;
  const SCHEDULE_REAL total = schedule_shape_range(schedule);
  const schedule_shape_tangent here = schedule_shape_by(schedule, number, t);
  const schedule_shape_tangent first = schedule_shape_by(schedule, number, 0);
  const schedule_shape_tangent last = schedule_shape_by(schedule, number, 1);
  const SCHEDULE_REAL alpha_bar = schedule->range * (fall * (here.f - first.f) + rise * (here.f - last.f)) / total;
  const SCHEDULE_REAL slope =
      schedule->range * here.prime / total - point.gamma_prime * both * (last.f - first.f) / total;
  schedule_tangent tangent;
  tangent.gamma = alpha_bar / both;
  tangent.gamma_prime = (slope - point.gamma_prime * alpha_bar * (point.one_minus_alpha_bar - point.alpha_bar)) / both;
  return tangent;
}

#endif
