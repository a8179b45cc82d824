/* The 16- and 8-bit floating-point formats and tf32: to and from the host's formats, each with one rounding. */
#ifndef VGPU_HALF_H
#define VGPU_HALF_H

#include <stdint.h>
#include <string.h>

#include "engine/vgpu/ir.h"

/* bits: how many the sign, exponent and fraction take; e4m3 has no infinity, and NaN only where all bits are set. */
struct narrow_format {
  int fraction, least; /* explicit bits of the fraction; exponent of the least normal number */
  uint32_t largest, infinity, nan;
};
static const struct narrow_format format_f16 = {10, -14, 0x7bff, 0x7c00, 0x7fff};
static const struct narrow_format format_bf16 = {7, -126, 0x7f7f, 0x7f80, 0x7fff};
static const struct narrow_format format_tf32 = {10, -126, 0x3fbff, 0x3fc00, 0x3ffff};
static const struct narrow_format format_e5m2 = {2, -14, 0x7b, 0x7c, 0x7f};
static const struct narrow_format format_e4m3 = {3, -6, 0x7e, 0x7f, 0x7f};

static inline uint64_t half_double_bits(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline double half_double(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline float half_float(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* The number rounded to the format, with its sign above the format's bits. Overflow: infinity, or the largest number
 * where the rounding points to zero. e4m3 has the NaN in the infinity's place. */
static inline uint32_t narrow_of_double(double x, struct narrow_format format, int rounding) {
  const uint64_t bits = half_double_bits(x), magnitude = bits & 0x7fffffffffffffff;
  const uint32_t sign = (uint32_t)(bits >> 63);
  const uint32_t top = format.fraction == 10 && format.least == -126 ? 18 : format.infinity < 256 ? 7 : 15;
  if (magnitude > 0x7ff0000000000000) return format.nan;
  const int exponent = (int)(magnitude >> 52) - 1023;
  const int below = exponent < format.least ? format.least - exponent : 0;
  const int wanted = 52 - format.fraction + below, drop = wanted > 60 ? 60 : wanted;
  const uint64_t significand = (magnitude & 0xfffffffffffff) | (uint64_t)(exponent > -1023) << 52;
  const uint64_t rest = significand & (((uint64_t)1 << drop) - 1), middle = (uint64_t)1 << (drop - 1);
  uint64_t quotient = significand >> drop;
  uint32_t up;
  switch (rounding) {
    case PTX_RZ:
      up = 0;
      break;
    case PTX_RM:
      up = sign && rest;
      break;
    case PTX_RP:
      up = !sign && rest;
      break;
    case PTX_RNA:
      up = rest >= middle;
      break;
    default:
      up = rest > middle || (rest == middle && (quotient & 1));
      break;
  }
  quotient += up;
  const int64_t scale = below ? 0 : exponent - format.least;
  const uint64_t result = ((uint64_t)scale << format.fraction) + quotient;
  const uint32_t toward_zero = rounding == PTX_RZ || (rounding == PTX_RM && !sign) || (rounding == PTX_RP && sign);
  const uint32_t beyond = toward_zero && magnitude != 0x7ff0000000000000 ? format.largest : format.infinity;
  return (result > format.largest ? beyond : (uint32_t)result) | sign << top;
}

static inline uint32_t half_of_double(double x) { return narrow_of_double(x, format_f16, PTX_RN); }
static inline uint32_t bfloat_of_double(double x) { return narrow_of_double(x, format_bf16, PTX_RN); }

/* Exact. A NaN stays one. */
static inline float float_of_half(uint32_t half) {
  const uint32_t magnitude = half & 0x7fff, sign = (half & 0x8000) << 16;
  uint32_t bits;
  float scaled = half_float(magnitude << 13) * 0x1p112f;
  memcpy(&bits, &scaled, sizeof bits);
  bits = magnitude >= 0x7c00 ? magnitude << 13 | 0x7f800000 : bits;
  return half_float(bits | sign);
}

static inline float float_of_bfloat(uint32_t bfloat) { return half_float(bfloat << 16); }

/* The hardware reads a tf32 operand as the number without its low 13 bits. */
static inline float float_of_tf32(uint32_t bits) { return half_float(bits & 0xffffe000); }

static inline float float_of_e5m2(uint32_t byte) { return float_of_half(byte << 8 & 0xffff); }

static inline float float_of_e4m3(uint32_t byte) {
  const uint32_t magnitude = byte & 0x7f, sign = (byte & 0x80) << 24;
  uint32_t bits;
  float scaled = half_float(magnitude << 20) * 0x1p120f;
  memcpy(&bits, &scaled, sizeof bits);
  bits = magnitude == 0x7f ? 0x7fffffff : bits;
  return half_float(bits | sign);
}

#endif
