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
#define SCHEDULE_LOG1P(x) log1pf(x)
#define SCHEDULE_POW(x, y) powf(x, y)
#define SCHEDULE_ATAN2(y, x) atan2f(y, x)
#define SCHEDULE_ABS(x) fabsf(x)
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
#define SCHEDULE_LOG1P(x) log1p(x)
#define SCHEDULE_POW(x, y) pow(x, y)
#define SCHEDULE_ATAN2(y, x) atan2(y, x)
#define SCHEDULE_ABS(x) fabs(x)
#endif

enum schedule_form {
  SCHEDULE_FORM_LINEAR,
  SCHEDULE_FORM_COSINE,
  SCHEDULE_FORM_SIGMOID,
  SCHEDULE_FORM_EXPONENTIAL,
  SCHEDULE_FORM_CAUCHY,
  SCHEDULE_FORM_LAPLACE,
  SCHEDULE_FORM_QUADRATIC,
  SCHEDULE_FORM_POLYNOMIAL,
  SCHEDULE_FORM_SINE,
  SCHEDULE_FORM_TABLE,
  SCHEDULE_FORM_NETWORK
};

typedef struct {
  int form;                     /* enum schedule_form */
  int renormalise;              /* 1: alpha_bar(0) = low and alpha_bar(1) = 1 - one_minus_high exactly; 0: as written */
  SCHEDULE_REAL low, range;     /* alpha_bar(0), alpha_bar(1) - alpha_bar(0) */
  SCHEDULE_REAL one_minus_high; /* 1 - alpha_bar(1) */
  SCHEDULE_REAL s;              /* cosine offset */
  SCHEDULE_REAL k, middle;      /* sigmoid steepness and middle */
  SCHEDULE_REAL beta;           /* exponential rate */
  SCHEDULE_REAL loc, scale;     /* cauchy, laplace: median and width */
  SCHEDULE_REAL power;          /* polynomial exponent, at least 1 */
  SCHEDULE_REAL first, span;    /* network: gamma(0), gamma(1) - gamma(0) */
  SCHEDULE_REAL mix;            /* network: sigmoid(c), how much of the inner network enters */
  int knots;                    /* table, network: rows of `table`, at least 2 */
  /* [knots][3], the first t 0, the last 1. table: t, gamma, gamma'. network: its inner function is piecewise linear in
   * t, and a row is t, its value there and its slope from there on (engine/schedule_network.c). */
  const SCHEDULE_REAL *table;
} schedule_description;

typedef struct {
  SCHEDULE_REAL gamma_prime, alpha_bar, one_minus_alpha_bar;
} schedule_point;

SCHEDULE_FUNCTION SCHEDULE_REAL schedule_sigmoid(SCHEDULE_REAL x) { return 1 / (1 + SCHEDULE_EXP(-x)); }

/* ln(1 + exp(raw)): a positive number of a trained schedule. */
SCHEDULE_FUNCTION SCHEDULE_REAL schedule_softplus(SCHEDULE_REAL raw) {
  return raw > 0 ? raw + SCHEDULE_LOG1P(SCHEDULE_EXP(-raw)) : SCHEDULE_LOG1P(SCHEDULE_EXP(raw));
}

/* End points by gamma(0) and the raw number whose softplus is gamma(1) - gamma(0). */
SCHEDULE_FUNCTION void schedule_set_ends(schedule_description *schedule, SCHEDULE_REAL first, SCHEDULE_REAL raw_span) {
  const SCHEDULE_REAL span = schedule_softplus(raw_span), last = first + span;
  schedule->first = first;
  schedule->span = span;
  schedule->low = schedule_sigmoid(first);
  schedule->one_minus_high = schedule_sigmoid(-last);
  schedule->range = schedule_sigmoid(last) * schedule_sigmoid(-first) * -SCHEDULE_EXPM1(-span);
}

/* alpha_bar = sigmoid(gamma). */
SCHEDULE_FUNCTION schedule_point schedule_of_gamma(SCHEDULE_REAL gamma, SCHEDULE_REAL gamma_prime) {
  schedule_point point;
  point.alpha_bar = schedule_sigmoid(gamma);
  point.one_minus_alpha_bar = schedule_sigmoid(-gamma);
  point.gamma_prime = gamma_prime;
  return point;
}

/* The row of a table that t lies behind; the last row counts to the one before. */
SCHEDULE_FUNCTION const SCHEDULE_REAL *schedule_row(const SCHEDULE_REAL *table, int knots, SCHEDULE_REAL t) {
  int low = 0, high = knots - 1;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (t < table[3 * middle])
      high = middle;
    else
      low = middle;
  }
  return table + 3 * low;
}

/* The cubic between two rows (t, gamma, gamma'). */
SCHEDULE_FUNCTION schedule_point schedule_cubic(const SCHEDULE_REAL *row, SCHEDULE_REAL t) {
  const SCHEDULE_REAL width = row[3] - row[0], rise = row[4] - row[1];
  const SCHEDULE_REAL x = (t - row[0]) / width, y = (row[3] - t) / width;
  /* Measured from the nearer end, so that the end points are met exactly. */
  const SCHEDULE_REAL slope = 6 * x * y * rise / width + y * (1 - 3 * x) * row[2] + x * (1 - 3 * y) * row[5];
  const SCHEDULE_REAL bend = x * y * width;
  const SCHEDULE_REAL gamma = x < y ? row[1] + (x * x * (3 - 2 * x) * rise + bend * (y * row[2] - x * row[5]))
                                    : row[4] - (y * y * (3 - 2 * y) * rise - bend * (y * row[2] - x * row[5]));
  return schedule_of_gamma(gamma, slope);
}

/* f = t + t (1 - t) mix sigmoid(g), gamma = gamma(0) + span f, for an increasing g with slope g' (survey 4.2). */
SCHEDULE_FUNCTION schedule_point schedule_of_network(const schedule_description *schedule, SCHEDULE_REAL t,
                                                     SCHEDULE_REAL g, SCHEDULE_REAL slope) {
  const SCHEDULE_REAL one = 1, on = schedule_sigmoid(g), off = schedule_sigmoid(-g), rest = one - t;
  const SCHEDULE_REAL gamma =
      t < rest ? schedule->first + schedule->span * (t * (one + rest * schedule->mix * on))
               : schedule->first + schedule->span - schedule->span * (rest * (one - t * schedule->mix * on));
  const SCHEDULE_REAL bend = (rest - t) * on + t * rest * on * off * slope;
  return schedule_of_gamma(gamma, schedule->span * (one + schedule->mix * bend));
}

/* Laplace's distribution function: F(high) - F(low), gap = high - low >= 0; differences of equal sign as products. */
SCHEDULE_FUNCTION SCHEDULE_REAL schedule_laplace(SCHEDULE_REAL low, SCHEDULE_REAL high, SCHEDULE_REAL gap) {
  const SCHEDULE_REAL half = (SCHEDULE_REAL)0.5;
  if (high <= 0) return half * SCHEDULE_EXP(high) * -SCHEDULE_EXPM1(-gap);
  if (low >= 0) return half * SCHEDULE_EXP(-low) * -SCHEDULE_EXPM1(-gap);
  return half * (-SCHEDULE_EXPM1(-high) - SCHEDULE_EXPM1(low));
}

SCHEDULE_FUNCTION schedule_point schedule_evaluate(const schedule_description *schedule, SCHEDULE_REAL t) {
  const SCHEDULE_REAL one = 1, half = (SCHEDULE_REAL)0.5, pi = (SCHEDULE_REAL)3.14159265358979323846;
  if (schedule->form == SCHEDULE_FORM_TABLE)
    return schedule_cubic(schedule_row(schedule->table, schedule->knots, t), t);
  if (schedule->form == SCHEDULE_FORM_NETWORK) {
    const SCHEDULE_REAL *row = schedule_row(schedule->table, schedule->knots, t);
    return schedule_of_network(schedule, t, row[1] + row[2] * (t - row[0]), row[2]);
  }
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
  } else if (schedule->form == SCHEDULE_FORM_EXPONENTIAL) {
    /* F = 1 - exp(-beta t). */
    const SCHEDULE_REAL beta = schedule->beta, left = SCHEDULE_EXP(-beta * t);
    const SCHEDULE_REAL scale = schedule->renormalise ? -one / SCHEDULE_EXPM1(-beta) : one;
    rise = -SCHEDULE_EXPM1(-beta * t) * scale;
    fall = schedule->renormalise ? left * -SCHEDULE_EXPM1(-beta * (one - t)) * scale : left;
    slope = beta * left * scale;
  } else if (schedule->form == SCHEDULE_FORM_CAUCHY) {
    /* F = 1/2 + atan(n)/pi; atan(n) - atan(m) is the angle of (1 + n m, n - m). */
    const SCHEDULE_REAL inverse = one / schedule->scale, n = (t - schedule->loc) * inverse;
    const SCHEDULE_REAL n0 = -schedule->loc * inverse, n1 = (one - schedule->loc) * inverse;
    if (schedule->renormalise) {
      const SCHEDULE_REAL scale = one / SCHEDULE_ATAN2(inverse, one + n0 * n1);
      rise = SCHEDULE_ATAN2(t * inverse, one + n0 * n) * scale;
      fall = SCHEDULE_ATAN2((one - t) * inverse, one + n * n1) * scale;
      slope = inverse / (one + n * n) * scale;
    } else {
      rise = SCHEDULE_ATAN2(one, -n) / pi;
      fall = SCHEDULE_ATAN2(one, n) / pi;
      slope = inverse / (pi * (one + n * n));
    }
  } else if (schedule->form == SCHEDULE_FORM_LAPLACE) {
    /* F = 1/2 + sgn(n)/2 (1 - exp(-|n|)). */
    const SCHEDULE_REAL inverse = one / schedule->scale, n = (t - schedule->loc) * inverse;
    const SCHEDULE_REAL tail = half * SCHEDULE_EXP(-SCHEDULE_ABS(n));
    if (schedule->renormalise) {
      const SCHEDULE_REAL n0 = -schedule->loc * inverse, n1 = (one - schedule->loc) * inverse;
      const SCHEDULE_REAL scale = one / schedule_laplace(n0, n1, inverse);
      rise = schedule_laplace(n0, n, t * inverse) * scale;
      fall = schedule_laplace(n, n1, (one - t) * inverse) * scale;
      slope = tail * inverse * scale;
    } else {
      rise = n < 0 ? tail : one - tail;
      fall = n < 0 ? one - tail : tail;
      slope = tail * inverse;
    }
  } else if (schedule->form == SCHEDULE_FORM_QUADRATIC) {
    rise = t * t;
    fall = (one - t) * (one + t);
    slope = 2 * t;
  } else if (schedule->form == SCHEDULE_FORM_POLYNOMIAL) {
    rise = SCHEDULE_POW(t, schedule->power);
    fall = -SCHEDULE_EXPM1(schedule->power * SCHEDULE_LOG(t));
    slope = schedule->power * SCHEDULE_POW(t, schedule->power - one);
  } else if (schedule->form == SCHEDULE_FORM_SINE) {
    /* F = sin(pi t/2); 1 - F = 2 sin^2(pi (1 - t)/4). */
    const SCHEDULE_REAL quarter = SCHEDULE_SINPI((one - t) * (half * half));
    rise = SCHEDULE_SINPI(t * half);
    fall = 2 * quarter * quarter;
    slope = half * pi * SCHEDULE_SINPI((one - t) * half);
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
