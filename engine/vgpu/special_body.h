/* special.h's functions for one instruction set; included by interpreter_body.h. Plain loops over the 32 lanes that the
 * compiler turns into vector code; only additions, multiplications and fused operations, so that every instruction set
 * gives the same bits. Polynomials are minimax fits of the relative error, in the float or double arithmetic shown. */

static inline u32 bits_of(float x) {
  u32 bits;
  memcpy(&bits, &x, 4);
  return bits;
}
static inline float float_of(u32 bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
static inline u64 bits_of_double(double x) {
  u64 bits;
  memcpy(&bits, &x, 8);
  return bits;
}
static inline double double_of(u64 bits) {
  double x;
  memcpy(&x, &bits, 8);
  return x;
}
/* Subnormals become zero of the same sign. */
static inline float flushed(float x) {
  u32 bits = bits_of(x);
  return float_of(bits & 0x7f800000u ? bits : bits & 0x80000000u);
}
#define CANONICAL_NAN 0x7fffffffu

/* 2^x = 2^n 2^f, n = round(x), |f| <= 1/2; the polynomial's error is 0.03 units of 2^-24. */
static void SET(ex2)(float *result, const float *x, bool flush) {
  LANE_LOOP {
    float a = x[l];
    float bounded = a < -160.0f ? -160.0f : a;
    bounded = bounded > 128.0f ? 128.0f : bounded; /* infinity: 1.0 with the exponent 128 */
    float shifted = bounded + 12582912.0f;         /* 1.5 * 2^23: rounds to an integer in the low bits */
    float n = shifted - 12582912.0f, f = bounded - n;
    float p = 0x1.41d332d661e40p-13f;
    p = __builtin_fmaf(p, f, 0x1.5f456a8929f00p-10f);
    p = __builtin_fmaf(p, f, 0x1.3b2dbbc1da348p-7f);
    p = __builtin_fmaf(p, f, 0x1.c6aed4b954c10p-5f);
    p = __builtin_fmaf(p, f, 0x1.ebfbdadcaf752p-3f);
    p = __builtin_fmaf(p, f, 0x1.62e430c7e9204p-1f);
    p = __builtin_fmaf(p, f, 1.0f);
    /* n into the exponent; by way of 2^(n + 64) where the result may be subnormal. */
    bool low = a < -125.0f;
    p = float_of(bits_of(p) + (bits_of(shifted) << 23) + (low ? 64u << 23 : 0u)) * (low ? 0x1p-64f : 1.0f);
    if (flush) p = flushed(p);
    result[l] = a != a ? float_of(CANONICAL_NAN) : p;
  }
}

/* log2 x = e + log2 m, m in [sqrt(1/2), sqrt(2)); log2(1 + f) = f P(f), error of P 0.07 units of 2^-24. */
static void SET(lg2)(float *result, const float *x, bool flush) {
  LANE_LOOP {
    float a = x[l];
    if (flush) a = flushed(a);
    bool small = a < 0x1p-126f;
    float scaled = small ? a * 0x1p24f : a;
    u32 bits = bits_of(scaled) - 0x3f3504f3u; /* sqrt(1/2) */
    s32 exponent = (s32)bits >> 23;
    float f = float_of((bits & 0x7fffffu) + 0x3f3504f3u) - 1.0f;
    float e = (float)(exponent - (small ? 24 : 0));
    float p = -0.10994941486704785f;
    p = __builtin_fmaf(p, f, 0.18617488723708128f);
    p = __builtin_fmaf(p, f, -0.19106277504939942f);
    p = __builtin_fmaf(p, f, 0.2046006334125591f);
    p = __builtin_fmaf(p, f, -0.23961740267926387f);
    p = __builtin_fmaf(p, f, 0.2885674075790594f);
    p = __builtin_fmaf(p, f, -0.36069664942051866f);
    p = __builtin_fmaf(p, f, 0.4808982410730594f);
    p = __builtin_fmaf(p, f, -0.7213473515005752f);
    p = p * f; /* the leading coefficient log2(e) in two parts keeps the product's error below one unit */
    float r = __builtin_fmaf(f, 1.925963033500011e-08f, p * f);
    r = e + __builtin_fmaf(f, 1.4426950216293335f, r);
    r = a == __builtin_inff() ? a : r;
    r = a == 0.0f ? -__builtin_inff() : r;
    result[l] = a < 0.0f || a != a ? float_of(CANONICAL_NAN) : r;
  }
}

/* sin and cos in double: x = q pi/2 + r; Taylor terms to r^11 and r^12. */
static inline void sine_cosine(float *result, const float *x, bool flush, u32 quarter) {
  double buffer[LANES];
  bool far = false;
  for (int l = 0; l < LANES; l++) far |= __builtin_fabsf(x[l]) > 0x1p30f;
  LANE_LOOP {
    double a = (double)(flush ? flushed(x[l]) : x[l]);
    double shifted = a * 0x1.45f306dc9c883p-1 + 0x1.8p52;
    double q = shifted - 0x1.8p52;
    double r = __builtin_fma(q, -0x1.921fb54442d18p+0, a);
    r = __builtin_fma(q, -0x1.1a62633145c07p-54, r);
    u64 quadrant = bits_of_double(shifted) + quarter;
    double s = r * r;
    double sine = -1.0 / 39916800;
    sine = __builtin_fma(sine, s, 1.0 / 362880);
    sine = __builtin_fma(sine, s, -1.0 / 5040);
    sine = __builtin_fma(sine, s, 1.0 / 120);
    sine = __builtin_fma(sine, s, -1.0 / 6);
    sine = __builtin_fma(sine * s, r, r);
    sine = a == 0 ? a : sine; /* its sign */
    double cosine = 1.0 / 479001600;
    cosine = __builtin_fma(cosine, s, -1.0 / 3628800);
    cosine = __builtin_fma(cosine, s, 1.0 / 40320);
    cosine = __builtin_fma(cosine, s, -1.0 / 720);
    cosine = __builtin_fma(cosine, s, 1.0 / 24);
    cosine = __builtin_fma(cosine, s, -0.5);
    cosine = __builtin_fma(cosine, s, 1.0);
    double value = quadrant & 1 ? cosine : sine;
    buffer[l] = double_of(bits_of_double(value) ^ (quadrant & 2) << 62);
  }
  for (int l = 0; far && l < LANES; l++)
    if (__builtin_fabsf(x[l]) > 0x1p30f) buffer[l] = quarter ? cos((double)x[l]) : sin((double)x[l]);
  LANE_LOOP {
    float r = (float)buffer[l];
    if (flush) r = flushed(r);
    result[l] = r != r ? float_of(CANONICAL_NAN) : r;
  }
}

static void SET(sin)(float *result, const float *x, bool flush) { sine_cosine(result, x, flush, 0); }
static void SET(cos)(float *result, const float *x, bool flush) { sine_cosine(result, x, flush, 1); }

/* tanh |x| = 1 - 2 / (2^y + 1), y = 2 |x| log2 e, where the quotient's error is small beside 1; below 1.1 an odd
 * polynomial, whose error is 0.19 units of 2^-24. From 9.1 on the nearest float is 1. */
static void SET(tanh)(float *result, const float *x) {
  LANE_LOOP {
    float a = x[l], m = float_of(bits_of(a) & 0x7fffffffu);
    float bounded = m > 9.5f ? 9.5f : m;
    float shifted = bounded * 0x1.715476p+1f + 12582912.0f;
    float f = __builtin_fmaf(bounded, 0x1.715476p+1f, -(shifted - 12582912.0f));
    float p = 0x1.41d332d661e40p-13f;
    p = __builtin_fmaf(p, f, 0x1.5f456a8929f00p-10f);
    p = __builtin_fmaf(p, f, 0x1.3b2dbbc1da348p-7f);
    p = __builtin_fmaf(p, f, 0x1.c6aed4b954c10p-5f);
    p = __builtin_fmaf(p, f, 0x1.ebfbdadcaf752p-3f);
    p = __builtin_fmaf(p, f, 0x1.62e430c7e9204p-1f);
    p = __builtin_fmaf(p, f, 1.0f);
    float e = float_of(bits_of(p) + (bits_of(shifted) << 23));
    float large = 1.0f - 2.0f / (e + 1.0f);
    float s = m * m, q = -0x1.3087fep-15f;
    q = __builtin_fmaf(q, s, 0x1.2d3256p-12f);
    q = __builtin_fmaf(q, s, -0x1.2f5ae6p-10f);
    q = __builtin_fmaf(q, s, 0x1.be2a22p-9f);
    q = __builtin_fmaf(q, s, -0x1.20096ap-7f);
    q = __builtin_fmaf(q, s, 0x1.660a9p-6f);
    q = __builtin_fmaf(q, s, -0x1.ba17b2p-5f);
    q = __builtin_fmaf(q, s, 0x1.111106p-3f);
    q = __builtin_fmaf(q, s, -0x1.555556p-2f);
    float r = m < 1.1f ? __builtin_fmaf(m * s, q, m) : large;
    r = float_of(bits_of(r) | (bits_of(a) & 0x80000000u));
    result[l] = a != a ? float_of(CANONICAL_NAN) : r;
  }
}

static void SET(rcp)(float *result, const float *x, bool flush) {
  LANE_LOOP {
    float r = 1.0f / (flush ? flushed(x[l]) : x[l]);
    if (flush) r = flushed(r);
    result[l] = r != r ? float_of(CANONICAL_NAN) : r;
  }
}

static void SET(sqrt)(float *result, const float *x, bool flush) {
  LANE_LOOP {
    float r = __builtin_sqrtf(flush ? flushed(x[l]) : x[l]);
    result[l] = r != r ? float_of(CANONICAL_NAN) : r;
  }
}

static void SET(rsqrt)(float *result, const float *x, bool flush) {
  LANE_LOOP {
    float r = (float)(1.0 / __builtin_sqrt((double)(flush ? flushed(x[l]) : x[l])));
    result[l] = r != r ? float_of(CANONICAL_NAN) : r;
  }
}

static void SET(div)(float *result, const float *a, const float *b, bool flush) {
  LANE_LOOP {
    float r = (flush ? flushed(a[l]) : a[l]) / (flush ? flushed(b[l]) : b[l]);
    if (flush) r = flushed(r);
    result[l] = r != r ? float_of(CANONICAL_NAN) : r;
  }
}

static inline double high_half(double x) {
  u64 bits = bits_of_double(x);
  u64 flushed_bits = bits & 0x7ff0000000000000u ? bits : bits & 0x8000000000000000u;
  return double_of(x != x ? 0x7fffffff00000000u : flushed_bits & 0xffffffff00000000u);
}

static inline double flushed_double(double x) {
  u64 bits = bits_of_double(x);
  return double_of(bits & 0x7ff0000000000000u ? bits : bits & 0x8000000000000000u);
}

static void SET(rcp64)(double *result, const double *x) { LANE_LOOP result[l] = high_half(1.0 / flushed_double(x[l])); }

static void SET(rsqrt64)(double *result, const double *x) {
  LANE_LOOP result[l] = high_half(1.0 / __builtin_sqrt(flushed_double(x[l])));
}

const struct special_set SET(special) = {SET(ex2),  SET(lg2),   SET(sin), SET(cos),   SET(tanh),   SET(rcp),
                                         SET(sqrt), SET(rsqrt), SET(div), SET(rcp64), SET(rsqrt64)};
