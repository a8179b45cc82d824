/* Accuracy of the approximate instructions, measured against double precision, and the special cases of the manual's
 * tables. The bounds are those that special.h states, inside NVIDIA's documented ones. */
#include <algorithm>
#include <cmath>
#include <random>

#include "tests/vgpu/ptx_support.h"

extern "C" {
#include "engine/vgpu/special.h"
#include "engine/vgpu/special_set.h"
}

using ptx::bits;
using ptx::f32;

namespace {

using u32 = uint32_t;
using u64 = uint64_t;

/* Distance from the exact value in units of the last place of the float nearest to it. */
double ulps(float result, double exact) {
  if (std::isnan(exact)) return std::isnan(result) ? 0 : INFINITY;
  if (std::isinf(exact) || std::fabs(exact) > 0x1.ffffffp127)
    return std::isinf(result) && (result > 0) == (exact > 0) ? 0 : 1e30;
  int exponent;
  std::frexp(exact, &exponent);
  double unit = std::ldexp(1.0, std::max(exponent - 24, -149));
  return std::fabs(static_cast<double>(result) - exact) / unit;
}

std::vector<const special_set *> sets() {
  std::vector<const special_set *> list = {&special_baseline};
#if defined(__x86_64__)
  std::string name = vgpu_interpreter_instruction_set();
  if (name != "baseline") list.push_back(&special_avx2);
  if (name == "AVX-512") list.push_back(&special_avx512);
#endif
  return list;
}

/* Runs f over every `step`-th float of [low, high] and returns the largest error; all instruction sets must agree. */
template <typename F>
double worst(F run, double (*exact)(double), u32 low, u32 high, u32 step) {
  alignas(64) float x[32], y[32], other[32];
  double most = 0;
  u64 at = low;
  while (at <= high) {
    for (float &each : x) {
      each = f32(std::min<u64>(at, high));
      at += step;
    }
    auto all = sets();
    run(all.back(), y, x);
    for (int l = 0; l < 32; l++) {
      double error = ulps(y[l], exact(static_cast<double>(x[l])));
      if (error > most) most = error;
    }
    if ((at / step) % 64 < 32) {
      for (const special_set *set : all) {
        run(set, other, x);
        for (int l = 0; l < 32; l++) EXPECT_EQ(bits(other[l]), bits(y[l])) << "instruction sets differ at " << x[l];
      }
    }
  }
  return most;
}

constexpr u32 one = 0x3f800000, sign = 0x80000000;

TEST(PtxSpecial, ExponentialWithinOneUlp) {
  auto run = [](const special_set *set, float *y, const float *x) { set->ex2(y, x, false); };
  double up = worst(
      run, [](double v) { return std::exp2(v); }, 0x00000001, 0x43100000, 997);
  double down = worst(
      run, [](double v) { return std::exp2(v); }, 0x80000001, 0xc3180000, 997);
  RecordProperty("largest_error_ulp", std::to_string(std::max(up, down)));
  EXPECT_LT(up, 1.0);
  EXPECT_LT(down, 1.0);
}

TEST(PtxSpecial, LogarithmWithinOneAndAHalfUlp) {
  auto run = [](const special_set *set, float *y, const float *x) { set->lg2(y, x, false); };
  double most = worst(
      run, [](double v) { return std::log2(v); }, 0x00000001, 0x7f7fffff, 1999);
  double near_one = worst(
      run, [](double v) { return std::log2(v); }, 0x3f000000, 0x40000000, 13);
  EXPECT_LT(most, 1.5);
  EXPECT_LT(near_one, 1.5);
}

TEST(PtxSpecial, SineAndCosineWithinOneUlp) {
  auto sine = [](const special_set *set, float *y, const float *x) { set->sin(y, x, false); };
  auto cosine = [](const special_set *set, float *y, const float *x) { set->cos(y, x, false); };
  for (u32 s : {0u, sign}) {
    EXPECT_LT(worst(
                  sine, [](double v) { return std::sin(v); }, s | 1, s | 0x49800000, 997),
              0.51);
    EXPECT_LT(worst(
                  cosine, [](double v) { return std::cos(v); }, s | 1, s | 0x49800000, 997),
              0.51);
    EXPECT_LT(worst(
                  sine, [](double v) { return std::sin(v); }, s | 0x49800000, s | 0x7f7fffff, 99991),
              1.0);
  }
}

TEST(PtxSpecial, HyperbolicTangentReciprocalsAndRoots) {
  auto tangent = [](const special_set *set, float *y, const float *x) { set->tanh(y, x); };
  for (u32 s : {0u, sign})
    EXPECT_LT(worst(
                  tangent, [](double v) { return std::tanh(v); }, s | 1, s | 0x7f7fffff, 1999),
              1.0);
  auto rcp = [](const special_set *set, float *y, const float *x) { set->rcp(y, x, false); };
  auto root = [](const special_set *set, float *y, const float *x) { set->sqrt(y, x, false); };
  auto inverse = [](const special_set *set, float *y, const float *x) { set->rsqrt(y, x, false); };
  EXPECT_LE(worst(
                rcp, [](double v) { return 1 / v; }, 1, 0x7f7fffff, 1999),
            0.5);
  EXPECT_LE(worst(
                root, [](double v) { return std::sqrt(v); }, 1, 0x7f7fffff, 1999),
            0.5);
  EXPECT_LE(worst(
                inverse, [](double v) { return 1 / std::sqrt(v); }, 1, 0x7f7fffff, 1999),
            0.501);
}

TEST(PtxSpecial, SpecialValuesAreThoseOfTheManual) {
  const float inf = INFINITY, nan = NAN, tiny = f32(0x00400000);
  struct Case {
    const char *instruction;
    float x;
    u32 expected;
  } cases[] = {{"ex2.approx.f32", -inf, 0},
               {"ex2.approx.f32", inf, 0x7f800000},
               {"ex2.approx.f32", 0.0f, one},
               {"ex2.approx.f32", -0.0f, one},
               {"ex2.approx.f32", nan, 0x7fffffff},
               {"ex2.approx.f32", 128, 0x7f800000},
               {"ex2.approx.f32", -149, 1},
               {"ex2.approx.ftz.f32", -149, 0},
               {"ex2.approx.f32", 10, static_cast<u32>(bits(1024.0f))},
               {"lg2.approx.f32", -inf, 0x7fffffff},
               {"lg2.approx.f32", inf, 0x7f800000},
               {"lg2.approx.f32", 0.0f, 0xff800000},
               {"lg2.approx.f32", -0.0f, 0xff800000},
               {"lg2.approx.f32", nan, 0x7fffffff},
               {"lg2.approx.f32", -1, 0x7fffffff},
               {"lg2.approx.f32", 1, 0},
               {"lg2.approx.f32", 8, static_cast<u32>(bits(3.0f))},
               {"lg2.approx.f32", tiny, static_cast<u32>(bits(-127.0f))},
               {"lg2.approx.ftz.f32", tiny, 0xff800000},
               {"lg2.approx.ftz.f32", -tiny, 0xff800000},
               {"sin.approx.f32", inf, 0x7fffffff},
               {"sin.approx.f32", -0.0f, sign},
               {"sin.approx.f32", nan, 0x7fffffff},
               {"sin.approx.ftz.f32", -tiny, sign},
               {"cos.approx.f32", -inf, 0x7fffffff},
               {"cos.approx.f32", 0, one},
               {"tanh.approx.f32", inf, one},
               {"tanh.approx.f32", -inf, one | sign},
               {"tanh.approx.f32", nan, 0x7fffffff},
               {"tanh.approx.f32", -0.0f, sign},
               {"tanh.approx.f32", tiny, 0x00400000},
               {"rcp.approx.f32", -0.0f, 0xff800000},
               {"rcp.approx.f32", -inf, sign},
               {"rcp.approx.ftz.f32", tiny, 0x7f800000},
               {"rcp.approx.ftz.f32", f32(0x7f000000), 0},
               {"rcp.approx.f32", 4, static_cast<u32>(bits(0.25f))},
               {"sqrt.approx.f32", -1, 0x7fffffff},
               {"sqrt.approx.f32", -0.0f, sign},
               {"sqrt.approx.f32", 9, static_cast<u32>(bits(3.0f))},
               {"sqrt.approx.ftz.f32", -tiny, sign},
               {"rsqrt.approx.f32", 0.0f, 0x7f800000},
               {"rsqrt.approx.f32", -0.0f, 0xff800000},
               {"rsqrt.approx.f32", inf, 0},
               {"rsqrt.approx.f32", -4, 0x7fffffff},
               {"rsqrt.approx.ftz.f32", tiny, 0x7f800000},
               {"rsqrt.approx.f32", 4, static_cast<u32>(bits(0.5f))}};
  for (const Case &one_case : cases)
    for (const ptx::Executor &executor : ptx::executors()) {
      std::vector<ptx::Input> list(40, ptx::Input{bits(one_case.x), 0, 0, 0});
      for (u64 result : ptx::evaluate(executor, std::string(one_case.instruction) + " %d, %a;", 32, {32}, list))
        ASSERT_EQ(result, one_case.expected) << executor.name << " " << one_case.instruction << " of " << one_case.x;
    }
}

TEST(PtxSpecial, QuotientsAndDoublePrecisionSeeds) {
  ptx::check(
      "div.full.f32 %d, %a, %b;", 32, {32, 32}, ptx::Values::f32,
      [](const ptx::Input &x) { return bits(f32(x.a) / f32(x.b)); }, ptx::Same::f32);
  ptx::check(
      "div.approx.f32 %d, %a, %b;", 32, {32, 32}, ptx::Values::f32,
      [](const ptx::Input &x) { return bits(f32(x.a) / f32(x.b)); }, ptx::Same::f32);
  auto seed = [](double v) {
    u64 word = bits(v);
    if (std::fpclassify(v) == FP_SUBNORMAL) return word >> 63 << 63;
    return word >> 32 << 32;
  };
  auto flushed = [](double v) { return std::fpclassify(v) == FP_SUBNORMAL ? std::copysign(0.0, v) : v; };
  ptx::check(
      "rcp.approx.ftz.f64 %d, %a;", 64, {64}, ptx::Values::f64,
      [=](const ptx::Input &x) { return seed(1 / flushed(ptx::f64(x.a))); }, ptx::Same::f64);
  ptx::check(
      "rsqrt.approx.ftz.f64 %d, %a;", 64, {64}, ptx::Values::f64,
      [=](const ptx::Input &x) { return seed(1 / std::sqrt(flushed(ptx::f64(x.a)))); }, ptx::Same::f64);
  ptx::check(
      "rsqrt.approx.f64 %d, %a;", 64, {64}, ptx::Values::f64,
      [](const ptx::Input &x) { return bits(1 / std::sqrt(ptx::f64(x.a))); }, ptx::Same::f64);
}

TEST(PtxSpecial, EveryExecutorGivesTheSameBits) {
  /* The translator has its own code for these. */
  std::vector<ptx::Input> list;
  for (u64 pattern = 0; pattern < UINT64_C(1) << 32; pattern += 65521)
    list.push_back({pattern, (pattern * 2654435761u) & 0xffffffff, 0, 0});
  for (const char *body :
       {"ex2.approx.f32 %d, %a;", "ex2.approx.ftz.f32 %d, %a;", "lg2.approx.f32 %d, %a;", "lg2.approx.ftz.f32 %d, %a;",
        "sin.approx.f32 %d, %a;", "sin.approx.ftz.f32 %d, %a;", "cos.approx.f32 %d, %a;", "tanh.approx.f32 %d, %a;",
        "rcp.approx.f32 %d, %a;", "rcp.approx.ftz.f32 %d, %a;", "sqrt.approx.f32 %d, %a;", "rsqrt.approx.f32 %d, %a;",
        "rsqrt.approx.ftz.f32 %d, %a;", "div.approx.f32 %d, %a, %b;", "div.full.ftz.f32 %d, %a, %b;"}) {
    std::vector<u64> first;
    for (const ptx::Executor &executor : ptx::executors()) {
      std::vector<u64> results = ptx::evaluate(executor, body, 32, {32, 32}, list);
      if (results.empty()) continue;
      if (first.empty()) first = results;
      for (size_t i = 0; i < list.size(); i++)
        ASSERT_EQ(results[i], first[i]) << executor.name << " " << body << " of " << f32(list[i].a);
    }
  }
}

TEST(PtxSpecial, TheOrdinaryFunctionsAreThoseOfTheBestInstructionSet) {
  alignas(64) float x[32], y[32], z[32];
  std::mt19937 random(5);
  for (float &each : x) each = static_cast<float>(random() % 10000) / 321.0f;
  const special_set *best = sets().back();
  vgpu_ex2_f32(y, x, false);
  best->ex2(z, x, false);
  for (int l = 0; l < 32; l++) EXPECT_EQ(bits(y[l]), bits(z[l]));
  vgpu_rsqrt_f32(y, x, true);
  best->rsqrt(z, x, true);
  for (int l = 0; l < 32; l++) EXPECT_EQ(bits(y[l]), bits(z[l]));
}

}  // namespace
