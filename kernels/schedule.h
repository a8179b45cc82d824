/* Noise schedules of the variance-preserving path: alpha_bar(t) and all that follows from it, without cancellation.
 *
 * One text for host and kernels: the includer defines SCHEDULE_REAL (float or double; the default is float in CUDA
 * code, double elsewhere). t in [0, 1], noise at 0. gamma = logit alpha_bar. Forms: design page "mathematics", section
 * 3; survey 4.1-4.3. Both alpha_bar and 1 - alpha_bar are sums of positive terms, so each is accurate at its small end.
 */
#ifndef KERNELS_SCHEDULE_H
#define KERNELS_SCHEDULE_H

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define SCHEDULE_FUNCTION static __device__ __forceinline__
#ifndef SCHEDULE_REAL
#define SCHEDULE_REAL float
#endif
#define SCHEDULE_SINPI(x) sinpif(x)
#define SCHEDULE_EXP(x) expf(x)
#define SCHEDULE_EXPM1(x) expm1f(x)
#define SCHEDULE_LOG(x) logf(x)
#else
#include <math.h>
#define SCHEDULE_FUNCTION static inline
#ifndef SCHEDULE_REAL
#define SCHEDULE_REAL double
#endif
#define SCHEDULE_SINPI(x) sin(3.14159265358979323846 * (x))
#define SCHEDULE_EXP(x) exp(x)
#define SCHEDULE_EXPM1(x) expm1(x)
#define SCHEDULE_LOG(x) log(x)
#endif

enum schedule_form { SCHEDULE_FORM_LINEAR, SCHEDULE_FORM_COSINE, SCHEDULE_FORM_SIGMOID };

typedef struct {
  int form;                     /* enum schedule_form */
  int renormalise;              /* 1: alpha_bar(0) = low and alpha_bar(1) = 1 - one_minus_high exactly; 0: as written */
  SCHEDULE_REAL low, range;     /* alpha_bar(0), alpha_bar(1) - alpha_bar(0) */
  SCHEDULE_REAL one_minus_high; /* 1 - alpha_bar(1) */
  SCHEDULE_REAL s;              /* cosine offset */
  SCHEDULE_REAL k, middle;      /* sigmoid steepness and middle */
} schedule_description;

typedef struct {
  SCHEDULE_REAL gamma_prime, alpha_bar, one_minus_alpha_bar;
} schedule_point;

SCHEDULE_FUNCTION SCHEDULE_REAL schedule_sigmoid(SCHEDULE_REAL x) { return 1 / (1 + SCHEDULE_EXP(-x)); }

SCHEDULE_FUNCTION schedule_point schedule_evaluate(const schedule_description *schedule, SCHEDULE_REAL t) {
  const SCHEDULE_REAL one = 1, half = (SCHEDULE_REAL)0.5, pi = (SCHEDULE_REAL)3.14159265358979323846;
  SCHEDULE_REAL rise = t, fall = one - t, slope = one; /* F(t) - F(0), F(1) - F(t), F'(t), over F(1) - F(0) */
  schedule_point point;
  if (schedule->form == SCHEDULE_FORM_COSINE) {
    /* F = sin^2(theta), theta = (t + s)/(1 + s) pi/2; differences of squares as products. */
    const SCHEDULE_REAL rate = half / (one + schedule->s);
    const SCHEDULE_REAL sine = SCHEDULE_SINPI((t + schedule->s) * rate), cosine = SCHEDULE_SINPI((one - t) * rate);
    if (!schedule->renormalise) {
      const SCHEDULE_REAL least = (SCHEDULE_REAL)0.001, most = (SCHEDULE_REAL)0.999;
      const SCHEDULE_REAL square = sine * sine, rest = cosine * cosine;
      point.alpha_bar = square < least ? least : rest < least ? most : square;
      point.one_minus_alpha_bar = square < least ? most : rest < least ? least : rest;
      /* The unclipped derivative over the clipped values: what the earlier system computes (P-08). */
      point.gamma_prime = 2 * pi * rate * sine * cosine / (point.alpha_bar * point.one_minus_alpha_bar);
      return point;
    }
    {
      const SCHEDULE_REAL cosine0 = SCHEDULE_SINPI(rate), scale = one / (cosine0 * cosine0);
      rise = SCHEDULE_SINPI(t * rate) * SCHEDULE_SINPI((t + 2 * schedule->s) * rate) * scale;
      fall = cosine * cosine * scale;
      slope = 2 * pi * rate * sine * cosine * scale;
    }
  } else if (schedule->form == SCHEDULE_FORM_SIGMOID) {
    /* sigmoid(u) - sigmoid(v) = sigmoid(u) sigmoid(-v) (1 - exp(v - u)). */
    const SCHEDULE_REAL k = schedule->k, u = k * (t - schedule->middle);
    const SCHEDULE_REAL plus = schedule_sigmoid(u), minus = schedule_sigmoid(-u);
    if (!schedule->renormalise) {
      point.alpha_bar = plus;
      point.one_minus_alpha_bar = minus;
      point.gamma_prime = k;
      return point;
    }
    {
      const SCHEDULE_REAL start = schedule_sigmoid(k * schedule->middle),
                          end = schedule_sigmoid(k * (one - schedule->middle));
      const SCHEDULE_REAL scale = one / (end * start * -SCHEDULE_EXPM1(-k));
      rise = plus * start * -SCHEDULE_EXPM1(-k * t) * scale;
      fall = end * minus * -SCHEDULE_EXPM1(-k * (one - t)) * scale;
      slope = k * plus * minus * scale;
    }
  }
  point.alpha_bar = schedule->low + schedule->range * rise;
  point.one_minus_alpha_bar = schedule->one_minus_high + schedule->range * fall;
  point.gamma_prime = schedule->range * slope / (point.alpha_bar * point.one_minus_alpha_bar);
  return point;
}

SCHEDULE_FUNCTION SCHEDULE_REAL schedule_gamma(schedule_point point) {
  return SCHEDULE_LOG(point.alpha_bar) - SCHEDULE_LOG(point.one_minus_alpha_bar);
}

#endif
