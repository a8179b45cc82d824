/* `fuzz` mode's approximations: inside the bounds of the PTX manual, using them up, and the same for the same operands.
 */
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>

extern "C" {
#include "engine/vgpu/fuzz.h"
#include "engine/vgpu/half.h"
}

namespace {

uint32_t bits(float x) {
  uint32_t word;
  std::memcpy(&word, &x, 4);
  return word;
}
float value(uint32_t word) {
  float x;
  std::memcpy(&x, &word, 4);
  return x;
}
/* Distance of floats around the number, a real one in long double here. */
long double ulp(long double x) { return std::ldexp(1.0L, std::max(std::ilogb(x) - 23, -149)); }

struct Function {
  ptx_op op;
  ptx_rounding rounding;
  std::function<long double(long double, long double)> exact;
  std::function<long double(long double, long double, long double)> bound; /* of a, b, exact */
  float low, high;                                                         /* operands */
};

const long double PI = 3.14159265358979323846264338327950288L;

const Function FUNCTIONS[] = {
    {PTX_EX2, PTX_APPROX, [](long double a, long double) { return std::exp2(a); },
     [](long double, long double, long double e) { return 2 * ulp(e) + std::fabs(e - static_cast<float>(e)); }, -120,
     120},
    {PTX_LG2, PTX_APPROX, [](long double a, long double) { return std::log2(a); },
     [](long double a, long double, long double e) {
       return a > 0.5L && a < 2.0L ? 0x1p-22L : 0x1p-22L * std::fabs(e);
     },
     0.01f, 100},
    {PTX_SIN, PTX_APPROX, [](long double a, long double) { return std::sin(a); },
     [](long double a, long double, long double) { return std::exp2(std::fabs(a) <= 2 * PI ? -20.5L : -14.7L); }, -300,
     300},
    {PTX_COS, PTX_APPROX, [](long double a, long double) { return std::cos(a); },
     [](long double a, long double, long double) { return std::exp2(std::fabs(a) <= 2 * PI ? -20.5L : -14.7L); }, -6,
     6},
    {PTX_TANH, PTX_APPROX, [](long double a, long double) { return std::tanh(a); },
     [](long double, long double, long double e) { return 0x1p-11L * std::fabs(e); }, -4, 4},
    {PTX_RCP, PTX_APPROX, [](long double a, long double) { return 1 / a; },
     [](long double, long double, long double e) { return ulp(e); }, -1000, 1000},
    {PTX_SQRT, PTX_APPROX, [](long double a, long double) { return std::sqrt(a); },
     [](long double, long double, long double e) { return 0x1p-23L * e; }, 1e-6f, 1e6},
    {PTX_RSQRT, PTX_APPROX, [](long double a, long double) { return 1 / std::sqrt(a); },
     [](long double, long double, long double e) { return std::exp2(-22.9L) * e; }, 1e-6f, 1e6},
    {PTX_DIV, PTX_APPROX, [](long double a, long double b) { return a / b; },
     [](long double, long double, long double e) { return 2 * ulp(e); }, -1000, 1000},
    {PTX_DIV, PTX_FULL, [](long double a, long double b) { return a / b; },
     [](long double, long double, long double e) { return 2 * ulp(e); }, -1000, 1000}};

ptx_instruction instruction_of(const Function &function, bool flush = false) {
  ptx_instruction instruction = {};
  instruction.op = static_cast<uint16_t>(function.op);
  instruction.type = PTX_F32;
  instruction.rounding = static_cast<uint8_t>(function.rounding);
  instruction.flags = flush ? PTX_FTZ : 0;
  return instruction;
}

TEST(FuzzApproximate, ResultsStayInsideTheDocumentedBoundsAndUseThem) {
  for (const Function &function : FUNCTIONS) {
    const ptx_instruction instruction = instruction_of(function);
    ASSERT_TRUE(fuzz_is_approximate(&instruction));
    std::mt19937_64 random(11);
    std::uniform_real_distribution<float> operand(function.low, function.high);
    long double least = 0, most = 0; /* shares of the bound */
    long double sum = 0;
    for (int i = 0; i < 20000; i++) {
      const float a = operand(random), b = operand(random);
      const long double exact = function.exact(a, b), bound = function.bound(a, b, exact);
      const float plain = static_cast<float>(exact);
      const float moved = value(fuzz_approximate(&instruction, random() % 20, bits(a), bits(b), bits(plain)));
      const long double share = (moved - exact) / bound;
      ASSERT_LE(std::fabs(share), 1.0L) << "op " << function.op << " of " << a << ", " << b;
      least = std::min(least, share);
      most = std::max(most, share);
      sum += share;
    }
    EXPECT_LT(least, -0.8L) << "op " << function.op;
    EXPECT_GT(most, 0.8L) << "op " << function.op;
    EXPECT_LT(std::fabs(sum / 20000), 0.05L) << "op " << function.op; /* neither side preferred */
  }
}

TEST(FuzzApproximate, OneSeedIsOneGpu) {
  const ptx_instruction instruction = instruction_of(FUNCTIONS[4]);
  int different = 0;
  for (uint64_t seed = 1; seed <= 100; seed++) {
    const uint32_t first = fuzz_approximate(&instruction, seed, bits(0.7f), 0, bits(std::tanh(0.7f)));
    EXPECT_EQ(first, fuzz_approximate(&instruction, seed, bits(0.7f), 0, bits(std::tanh(0.7f))));
    different += first != fuzz_approximate(&instruction, seed + 1, bits(0.7f), 0, bits(std::tanh(0.7f)));
  }
  EXPECT_GT(different, 95);
}

TEST(FuzzApproximate, WhatTheManualFixesStays) {
  const float infinity = INFINITY;
  for (const Function &function : FUNCTIONS) {
    for (bool flush : {false, true}) {
      const ptx_instruction instruction = instruction_of(function, flush);
      for (uint64_t seed = 0; seed < 20; seed++) {
        for (float special : {infinity, -infinity, 0.0f, -0.0f}) {
          const uint32_t result = bits(static_cast<float>(function.exact(special, 1)));
          EXPECT_EQ(fuzz_approximate(&instruction, seed, bits(special), bits(1), result), result);
        }
        EXPECT_EQ(fuzz_approximate(&instruction, seed, 0x7fffffff, bits(1), 0x7fffffff), 0x7fffffffu);
      }
    }
  }
  const ptx_instruction sine = instruction_of(FUNCTIONS[2]); /* no bound is stated that far out */
  EXPECT_EQ(fuzz_approximate(&sine, 3, bits(1e6f), 0, bits(std::sin(1e6f))), bits(std::sin(1e6f)));
}

TEST(FuzzApproximate, ADivisionByAHugeNumberMayGiveZero) {
  const ptx_instruction approximate = instruction_of(FUNCTIONS[8]), full = instruction_of(FUNCTIONS[9]);
  const float a = -0x1p127f, b = 0x1.8p126f;
  int zeros = 0;
  for (uint64_t seed = 0; seed < 100; seed++) {
    const float result = value(fuzz_approximate(&approximate, seed, bits(a), bits(b), bits(a / b)));
    EXPECT_TRUE(result == a / b || (result == 0 && std::signbit(result))) << result;
    zeros += result == 0;
    EXPECT_NE(value(fuzz_approximate(&full, seed, bits(a), bits(b), bits(a / b))), 0.0f);
  }
  EXPECT_GT(zeros, 20);
  EXPECT_LT(zeros, 80);
}

/* All 65,536 numbers of both formats, ex2 and tanh. */
TEST(FuzzApproximate, HalvesStayInsideTheirBounds) {
  for (bool brain : {false, true}) {
    for (ptx_op op : {PTX_EX2, PTX_TANH}) {
      ptx_instruction instruction = {}, pair = {};
      instruction.op = pair.op = static_cast<uint16_t>(op);
      instruction.type = brain ? PTX_BF16 : PTX_F16;
      pair.type = brain ? PTX_BF16X2 : PTX_F16X2;
      ASSERT_TRUE(fuzz_is_approximate(&instruction) && fuzz_is_approximate(&pair));
      const auto number = [brain](uint32_t word) {
        return static_cast<double>(brain ? float_of_bfloat(word) : float_of_half(word));
      };
      unsigned moved = 0;
      for (uint32_t a = 0; a < 0x10000; a++) {
        const double x = number(a), exact = op == PTX_EX2 ? std::exp2(x) : std::tanh(x);
        const uint32_t result = brain ? bfloat_of_double(exact) : half_of_double(exact);
        const uint32_t other = fuzz_approximate(&instruction, 5, a, 0, result);
        ASSERT_EQ(fuzz_approximate(&pair, 5, a << 16 | 0x3c00, 0, result << 16 | 0x7fff) >> 16, other);
        moved += other != result;
        if (other == result) continue;
        const double bound = op == PTX_EX2 ? exact * (brain ? 0x1p-7 : std::exp2(-9.9))
                             : brain       ? 0x1p-8
                                           : std::exp2(-10.987);
        ASSERT_LE(std::fabs(number(other) - exact), bound) << "op " << op << " of " << x;
      }
      EXPECT_GT(moved, 3000u) << "op " << op << (brain ? " bf16" : " f16");
    }
  }
}

TEST(FuzzApproximate, RoundedInstructionsAreLeftAlone) {
  ptx_instruction instruction = instruction_of(FUNCTIONS[5]);
  instruction.rounding = PTX_RN;
  EXPECT_FALSE(fuzz_is_approximate(&instruction));
  instruction.op = PTX_FMA;
  EXPECT_FALSE(fuzz_is_approximate(&instruction));
  instruction.op = PTX_RCP;
  instruction.rounding = PTX_APPROX;
  instruction.type = PTX_F64;
  EXPECT_FALSE(fuzz_is_approximate(&instruction));
}

}  // namespace
