/* Arithmetic of f16 and bf16, single and in pairs: every operation rounds once to its type, nearest even. Compiled with
 * the interpreter once per instruction set.
 *
 * Sums and products of two such numbers are computed in single precision and then rounded to the type: twice, but a
 * sum or product that single precision does not hold exactly has a rounded significand of 24 bits, which is more than
 * 2p + 2 for the type's p of 11 or 8, and then the second rounding cannot go wrong (Figueroa, "When is double rounding
 * innocuous?"). fma has no such luck: its sum is formed in double precision, rounded to odd. */

#include "engine/vgpu/half.h"

static inline bool half_is_brain(unsigned type) { return type == PTX_BF16 || type == PTX_BF16X2; }
static inline bool half_is_pair(unsigned type) { return type == PTX_F16X2 || type == PTX_BF16X2; }
static inline bool type_is_half(unsigned type) {
  return type == PTX_F16 || type == PTX_F16X2 || type == PTX_BF16 || type == PTX_BF16X2;
}

/* The numbers of one half of the registers. */
static void half_read(f32 *x, const u32 *lanes, unsigned type, unsigned shift, bool flush) {
  if (half_is_brain(type))
    LANE_LOOP x[l] = float_of(lanes[l] >> shift << 16);
  else
    LANE_LOOP {
      u32 bits = lanes[l] >> shift & 0xffff;
      bits = flush && !(bits & 0x7c00) ? bits & 0x8000 : bits;
      x[l] = float_of_half(bits);
    }
}

static inline u32 half_round(double x, unsigned type) {
  return half_is_brain(type) ? bfloat_of_double(x) : half_of_double(x);
}

/* a + b in double precision with the last bit set if the sum is not exact: rounding it to fewer bits is then as good as
 * rounding the exact sum. */
static inline double sum_to_odd(double a, double b) {
  const double sum = a + b, part = sum - a, error = (a - (sum - part)) + (b - part);
  u64 bits = bits_of_double(sum);
  if (error != 0 && sum - sum == 0 && !(bits & 1)) bits += (error > 0) == (sum > 0) ? 1 : (u64)-1;
  return double_of(bits);
}

static inline u32 half_extreme(u32 a, u32 b, bool least, bool keep_nan, bool xor_sign, u32 infinity) {
  const u32 sign = (a ^ b) & 0x8000;
  if (xor_sign) {
    a &= 0x7fff;
    b &= 0x7fff;
  }
  const bool a_nan = (a & 0x7fff) > infinity, b_nan = (b & 0x7fff) > infinity;
  const u32 a_key = a & 0x8000 ? 0xffff - a : a | 0x8000, b_key = b & 0x8000 ? 0xffff - b : b | 0x8000;
  u32 result = (a_key < b_key) == least ? a : b;
  if (a_nan || b_nan) result = keep_nan || (a_nan && b_nan) ? 0x7fff : a_nan ? b : a;
  return xor_sign && (result & 0x7fff) <= infinity ? (result & 0x7fff) | sign : result;
}

/* d of all lanes; operands that the operation has not may be NULL. Pairs: d is written half by half. */
static void half_operate(const struct ptx_instruction *source, u32 *d, const u32 *a, const u32 *b, const u32 *c) {
  const unsigned type = source->type, op = source->op;
  const bool flush = source->flags & PTX_FTZ, brain = half_is_brain(type), pair = half_is_pair(type);
  u32 out[LANES] __attribute__((aligned(64))) = {0};
  for (unsigned shift = 0; shift < (pair ? 32 : 16); shift += 16) {
    u32 result[LANES] __attribute__((aligned(64)));
    if (op == PTX_ABS || op == PTX_NEG || op == PTX_MIN || op == PTX_MAX) {
      const bool keep_nan = source->flags & PTX_NAN_RESULT, xor_sign = source->flags & PTX_XORSIGN;
      for (int l = 0; l < LANES; l++) {
        u32 x = a[l] >> shift & 0xffff, y = b ? b[l] >> shift & 0xffff : 0;
        if (flush && !(x & 0x7c00)) x &= 0x8000;
        if (flush && !(y & 0x7c00)) y &= 0x8000;
        result[l] = op == PTX_ABS   ? x & 0x7fff
                    : op == PTX_NEG ? x ^ 0x8000
                                    : half_extreme(x, y, op == PTX_MIN, keep_nan, xor_sign, brain ? 0x7f80 : 0x7c00);
      }
    } else {
      f32 x[LANES] __attribute__((aligned(64))), y[LANES] __attribute__((aligned(64))),
          z[LANES] __attribute__((aligned(64)));
      half_read(x, a, type, shift, flush);
      if (b) half_read(y, b, type, shift, flush);
      if (c) half_read(z, c, type, shift, flush);
      switch (op) {
        case PTX_ADD:
          LANE_LOOP x[l] += y[l];
          break;
        case PTX_SUB:
          LANE_LOOP x[l] -= y[l];
          break;
        case PTX_MUL:
          LANE_LOOP x[l] *= y[l];
          break;
        case PTX_EX2:
          SET(ex2)(x, x, false);
          break;
        case PTX_TANH:
          SET(tanh)(x, x);
          break;
        default: /* fma */
          LANE_LOOP result[l] = half_round(sum_to_odd((double)x[l] * (double)y[l], (double)z[l]), type);
          break;
      }
      if (op != PTX_FMA) LANE_LOOP result[l] = half_round((double)x[l], type);
      if (flush) LANE_LOOP result[l] = result[l] & (brain ? 0x7f80 : 0x7c00) ? result[l] : result[l] & 0x8000;
      const u32 one = brain ? 0x3f80 : 0x3c00, infinity = brain ? 0x7f80 : 0x7c00;
      if (source->flags & PTX_SAT)
        LANE_LOOP result[l] = (result[l] & 0x8000) || result[l] > infinity ? 0 : result[l] > one ? one : result[l];
      if (source->flags & PTX_RELU) LANE_LOOP result[l] = result[l] & 0x8000 ? 0 : result[l];
    }
    LANE_LOOP out[l] |= result[l] << shift;
  }
  LANE_LOOP d[l] = out[l];
}
