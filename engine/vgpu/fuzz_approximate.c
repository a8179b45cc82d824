/* fuzz.h: approximate instructions inside their documented bounds.
 *
 * The bounds are those of the PTX ISA manual (version 8 and later), "Floating Point Instructions":
 *   ex2   2 ulp from the correctly rounded result     rcp     1 ulp
 *   lg2   2^-22, absolute in (0.5, 2), else relative  sqrt    2^-23 relative
 *   sin, cos  absolute 2^-20.5 in [-2 pi, 2 pi], 2^-14.7 in [-100 pi, 100 pi]
 *   tanh  2^-11 relative                              rsqrt   2^-22.9 relative
 *   div   2 ulp (.approx: for a divisor in [2^-126, 2^126]; above, it may give 0)
 * and "Half Precision Floating Point Instructions":
 *   ex2   2^-9.9 relative for f16, 2^-7 for bf16      tanh    2^-10.987 absolute for f16, 2^-8 for bf16
 * The exact value comes from the host's double functions, whose own error of about 2^-52 is taken off the bound. */
#include <math.h>
#include <string.h>

#include "engine/vgpu/fuzz.h"
#include "engine/vgpu/half.h"

uint64_t fuzz_mix(uint64_t a, uint64_t b) {
  uint64_t x = a + 0x9e3779b97f4a7c15u * (b + 1);
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

static double value_of(uint32_t bits, bool flush) {
  if (flush && !(bits & 0x7f800000u)) bits &= 0x80000000u;
  float x;
  memcpy(&x, &bits, sizeof x);
  return (double)x;
}

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* Numbers of one instruction, of one kind of it, on the GPU of a seed. */
static uint64_t random_of(const struct ptx_instruction *instruction, uint64_t seed, bool other_kind,
                          uint64_t operands) {
  const uint64_t kind = (uint64_t)instruction->op * 2 + (other_kind ? 1 : 0);
  return fuzz_mix(fuzz_mix(seed, kind), operands);
}

/* The distance of neighbouring floats at x, at a power of two that of the smaller ones; below the normal range that of
 * the subnormals. */
static double ulp_at(double x) {
  int exponent;
  frexp(x * (1 - 0x1p-40), &exponent);
  return ldexp(1.0, exponent - 24 > -149 ? exponent - 24 : -149);
}

static bool is_half(unsigned type) {
  return type == PTX_F16 || type == PTX_F16X2 || type == PTX_BF16 || type == PTX_BF16X2;
}

bool fuzz_is_approximate(const struct ptx_instruction *instruction) {
  if (is_half(instruction->type)) return instruction->op == PTX_EX2 || instruction->op == PTX_TANH;
  if (instruction->type != PTX_F32) return false;
  switch (instruction->op) {
    case PTX_EX2:
    case PTX_LG2:
    case PTX_SIN:
    case PTX_COS:
    case PTX_TANH:
    case PTX_RSQRT:
      return true;
    case PTX_RCP:
    case PTX_SQRT:
      return instruction->rounding == PTX_APPROX;
    case PTX_DIV:
      return instruction->rounding == PTX_APPROX || instruction->rounding == PTX_FULL;
    default:
      return false;
  }
}

/* The exact value, and how far the result may be from it; 0: not at all. */
static double exact_value(const struct ptx_instruction *instruction, double a, double b, double *bound) {
  static const double pi = 3.14159265358979323846;
  double exact = 0;
  *bound = 0;
  switch (instruction->op) {
    case PTX_EX2:
      exact = (double)(float)exp2(a); /* the bound counts from the rounded value: floats up to two steps away */
      *bound = 2.49 * ulp_at(exact);
      break;
    case PTX_LG2:
      exact = log2(a);
      *bound = a > 0.5 && a < 2 ? 0x1p-22 : 0x1p-22 * fabs(exact);
      break;
    case PTX_SIN:
    case PTX_COS:
      exact = instruction->op == PTX_SIN ? sin(a) : cos(a);
      *bound = fabs(a) <= 2 * pi ? exp2(-20.5) : fabs(a) <= 100 * pi ? exp2(-14.7) : 0;
      break;
    case PTX_TANH:
      exact = tanh(a);
      *bound = 0x1p-11 * fabs(exact);
      break;
    case PTX_RCP:
      exact = 1 / a;
      *bound = ulp_at(exact);
      break;
    case PTX_SQRT:
      exact = sqrt(a);
      *bound = 0x1p-23 * exact;
      break;
    case PTX_RSQRT:
      exact = 1 / sqrt(a);
      *bound = exp2(-22.9) * exact;
      break;
    default:
      exact = a / b;
      *bound = 2 * ulp_at(exact);
      break;
  }
  return exact;
}

/* ex2 and tanh of one element of 16 bits. */
static uint32_t approximate_half(const struct ptx_instruction *instruction, uint64_t seed, uint32_t a,
                                 uint32_t result) {
  const bool brain = instruction->type == PTX_BF16 || instruction->type == PTX_BF16X2;
  const struct narrow_format format = brain ? format_bf16 : format_f16;
  const double x = (double)(brain ? float_of_bfloat(a) : float_of_half(a));
  const double given = (double)(brain ? float_of_bfloat(result) : float_of_half(result));
  if (!isfinite(x) || !isfinite(given) || x == 0 || given == 0) return result;
  const bool exponential = instruction->op == PTX_EX2;
  const double exact = exponential ? exp2(x) : tanh(x);
  const double bound = exponential ? exact * (brain ? 0x1p-7 : exp2(-9.9)) : brain ? 0x1p-8 : exp2(-10.987);
  const uint64_t random = random_of(instruction, seed, brain, a);
  const double unit = (double)(random >> 11) * 0x1p-53, wanted = exact + (2 * unit - 1) * bound;
  uint32_t moved = 0;
  double value = INFINITY;
  for (int attempt = 0; attempt < 2 && fabs(value - exact) > bound; attempt++) { /* second: toward the exact value */
    const int rounding = attempt == 0 ? PTX_RN : wanted > exact ? PTX_RM : PTX_RP;
    moved = narrow_of_double(wanted, format, rounding);
    value = (double)(brain ? float_of_bfloat(moved) : float_of_half(moved));
  }
  if (fabs(value - exact) > bound || (!exponential && fabs(value) > 1)) return result;
  return moved;
}

uint32_t fuzz_approximate(const struct ptx_instruction *instruction, uint64_t seed, uint32_t a, uint32_t b,
                          uint32_t result) {
  if (is_half(instruction->type)) {
    const bool pair = instruction->type == PTX_F16X2 || instruction->type == PTX_BF16X2;
    const uint32_t low = approximate_half(instruction, seed, a & 0xffff, result & 0xffff);
    return pair ? approximate_half(instruction, seed, a >> 16, result >> 16) << 16 | low : low;
  }
  const bool flush = instruction->flags & PTX_FTZ, two = instruction->op == PTX_DIV;
  const double x = value_of(a, flush), y = two ? value_of(b, flush) : 1, given = value_of(result, false);
  if (!isfinite(x) || !isfinite(y) || !isfinite(given) || given == 0 || x == 0) return result;
  const uint64_t random = random_of(instruction, seed, flush, (uint64_t)a << 32 | (two ? b : 0));
  if (two && instruction->rounding == PTX_APPROX && fabs(y) > 0x1p126)
    return random & 1 ? result : bits_of((float)copysign(0.0, x / y));
  double bound;
  const double exact = exact_value(instruction, x, y, &bound);
  bound -= fabs(exact) * 0x1p-50;
  if (!(bound > 0)) return result;
  /* A point of the interval; its nearest float is taken if it is inside, else the one on the other side. */
  const double unit = (double)(random >> 11) * 0x1p-53, wanted = exact + (2 * unit - 1) * bound;
  float moved = (float)wanted;
  if (fabs((double)moved - exact) > bound) moved = nextafterf(moved, (double)moved > exact ? -INFINITY : INFINITY);
  if (fabs((double)moved - exact) > bound || !isfinite(moved)) return result;
  if (instruction->op == PTX_SIN || instruction->op == PTX_COS || instruction->op == PTX_TANH)
    moved = moved > 1 ? 1 : moved < -1 ? -1 : moved; /* the range of the functions stays */
  if (flush && fabsf(moved) < 0x1p-126f) return result;
  return bits_of(moved);
}
