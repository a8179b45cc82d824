/* Floating-point instructions and conversions against the host's own arithmetic, rounded as the instruction says. */
#include <cfenv>
#include <cmath>

#include "tests/vgpu/ptx_support.h"

using ptx::bits;
using ptx::check;
using ptx::f32;
using ptx::f64;
using ptx::Input;
using ptx::Same;
using ptx::Values;

namespace {

using u32 = uint32_t;
using u64 = uint64_t;
using s64 = int64_t;

struct Rounding {
  const char *name;
  int mode;
} const roundings[] = {{"rn", FE_TONEAREST}, {"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}};

/* f() under a rounding mode; operands and result go through volatiles so that nothing is computed outside. */
template <typename T, typename F>
T rounded(int mode, T a, T b, T c, F f) {
  volatile T x = a, y = b, z = c;
  std::fesetround(mode);
  volatile T result = f(x, y, z);
  std::fesetround(FE_TONEAREST);
  return result;
}

float flush(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }
float saturate(float x) { return x > 0 ? std::fmin(x, 1.0f) : 0.0f; }

struct Operation {
  const char *name;
  int operands;
  float (*single)(float, float, float);
  double (*wide)(double, double, double);
} const operations[] = {
    {"add", 2, [](float a, float b, float) { return a + b; }, [](double a, double b, double) { return a + b; }},
    {"sub", 2, [](float a, float b, float) { return a - b; }, [](double a, double b, double) { return a - b; }},
    {"mul", 2, [](float a, float b, float) { return a * b; }, [](double a, double b, double) { return a * b; }},
    {"div", 2, [](float a, float b, float) { return a / b; }, [](double a, double b, double) { return a / b; }},
    {"fma", 3, [](float a, float b, float c) { return std::fma(a, b, c); },
     [](double a, double b, double c) { return std::fma(a, b, c); }},
    {"rcp", 1, [](float a, float, float) { return 1 / a; }, [](double a, double, double) { return 1 / a; }},
    {"sqrt", 1, [](float a, float, float) { return std::sqrt(a); },
     [](double a, double, double) { return std::sqrt(a); }}};

std::string operands(int count) { return count == 1 ? " %d, %a;" : count == 2 ? " %d, %a, %b;" : " %d, %a, %b, %c;"; }

TEST(PtxFloat, EveryRoundingModeOfSinglePrecision) {
  for (const Operation &operation : operations)
    for (const Rounding &rounding : roundings)
      check(
          std::string(operation.name) + "." + rounding.name + ".f32" + operands(operation.operands), 32, {32, 32, 32},
          Values::f32,
          [&](const Input &x) { return bits(rounded(rounding.mode, f32(x.a), f32(x.b), f32(x.c), operation.single)); },
          Same::f32);
}

TEST(PtxFloat, EveryRoundingModeOfDoublePrecision) {
  for (const Operation &operation : operations)
    for (const Rounding &rounding : roundings)
      check(
          std::string(operation.name) + "." + rounding.name + ".f64" + operands(operation.operands), 64, {64, 64, 64},
          Values::f64,
          [&](const Input &x) { return bits(rounded(rounding.mode, f64(x.a), f64(x.b), f64(x.c), operation.wide)); },
          Same::f64);
}

TEST(PtxFloat, FlushingAndSaturation) {
  for (const Operation &operation : operations) {
    if (operation.name[0] == 'd' || operation.operands == 1) continue;
    check(std::string(operation.name) + ".rn.ftz.sat.f32" + operands(operation.operands), 32, {32, 32, 32}, Values::f32,
          [&](const Input &x) {
            return bits(saturate(flush(operation.single(flush(f32(x.a)), flush(f32(x.b)), flush(f32(x.c))))));
          });
    check(
        std::string(operation.name) + ".rz.ftz.f32" + operands(operation.operands), 32, {32, 32, 32}, Values::f32,
        [&](const Input &x) {
          return bits(
              flush(rounded(FE_TOWARDZERO, flush(f32(x.a)), flush(f32(x.b)), flush(f32(x.c)), operation.single)));
        },
        Same::f32);
  }
  check(
      "div.rn.ftz.f32 %d, %a, %b;", 32, {32, 32}, Values::f32,
      [](const Input &x) { return bits(flush(flush(f32(x.a)) / flush(f32(x.b)))); }, Same::f32);
  check("cvt.sat.f32.f32 %d, %a;", 32, {32}, Values::f32, [](const Input &x) { return bits(saturate(f32(x.a))); });
}

TEST(PtxFloat, SignsMinimaMaxima) {
  check("abs.f32 %d, %a;", 32, {32}, Values::f32, [](const Input &x) { return x.a & 0x7fffffff; });
  check("neg.f32 %d, %a;", 32, {32}, Values::f32, [](const Input &x) { return x.a ^ 0x80000000; });
  check("abs.f64 %d, %a;", 64, {64}, Values::f64, [](const Input &x) { return x.a << 1 >> 1; });
  check("neg.f64 %d, %a;", 64, {64}, Values::f64, [](const Input &x) { return x.a ^ UINT64_C(1) << 63; });
  check("copysign.f32 %d, %a, %b;", 32, {32, 32}, Values::f32,
        [](const Input &x) { return (x.a & 0x80000000) | (x.b & 0x7fffffff); });
  check("copysign.f64 %d, %a, %b;", 64, {64, 64}, Values::f64,
        [](const Input &x) { return (x.a >> 63 << 63) | (x.b << 1 >> 1); });
  auto least = [](auto a, auto b) {
    if (std::isnan(a)) return b;
    if (std::isnan(b)) return a;
    if (a == b) return std::signbit(a) ? a : b;
    return a < b ? a : b;
  };
  auto most = [](auto a, auto b) {
    if (std::isnan(a)) return b;
    if (std::isnan(b)) return a;
    if (a == b) return std::signbit(a) ? b : a;
    return a > b ? a : b;
  };
  check(
      "min.f32 %d, %a, %b;", 32, {32, 32}, Values::f32, [=](const Input &x) { return bits(least(f32(x.a), f32(x.b))); },
      Same::f32);
  check(
      "max.f32 %d, %a, %b;", 32, {32, 32}, Values::f32, [=](const Input &x) { return bits(most(f32(x.a), f32(x.b))); },
      Same::f32);
  check(
      "max.ftz.f32 %d, %a, %b;", 32, {32, 32}, Values::f32,
      [=](const Input &x) { return bits(most(flush(f32(x.a)), flush(f32(x.b)))); }, Same::f32);
  check("min.NaN.f32 %d, %a, %b;", 32, {32, 32}, Values::f32, [=](const Input &x) {
    bool nan = std::isnan(f32(x.a)) || std::isnan(f32(x.b));
    return nan ? 0x7fffffffu : bits(least(f32(x.a), f32(x.b)));
  });
  check(
      "min.f64 %d, %a, %b;", 64, {64, 64}, Values::f64, [=](const Input &x) { return bits(least(f64(x.a), f64(x.b))); },
      Same::f64);
  check(
      "max.f64 %d, %a, %b;", 64, {64, 64}, Values::f64, [=](const Input &x) { return bits(most(f64(x.a), f64(x.b))); },
      Same::f64);
}

template <typename T>
bool holds(int mode, T a, T b) {
  bool nan = std::isnan(a) || std::isnan(b);
  switch (mode) {
    case 0:
      return !nan && a == b;
    case 1:
      return !nan && a != b;
    case 2:
      return !nan && a < b;
    case 3:
      return !nan && a <= b;
    case 4:
      return !nan && a > b;
    case 5:
      return !nan && a >= b;
    case 6:
      return nan || a == b;
    case 7:
      return nan || a != b;
    case 8:
      return nan || a < b;
    case 9:
      return nan || a <= b;
    case 10:
      return nan || a > b;
    case 11:
      return nan || a >= b;
    case 12:
      return !nan;
    default:
      return nan;
  }
}

TEST(PtxFloat, OrderedAndUnorderedComparisons) {
  const char *names[] = {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};
  for (int i = 0; i < 14; i++) {
    std::string name = names[i];
    check("setp." + name + ".f32 %p, %a, %b; selp.u32 %d, 1, 0, %p;", 32, {32, 32}, Values::f32,
          [i](const Input &x) { return holds(i, f32(x.a), f32(x.b)); });
    check("setp." + name + ".f64 %p, %a, %b; selp.u32 %d, 1, 0, %p;", 32, {64, 64}, Values::f64,
          [i](const Input &x) { return holds(i, f64(x.a), f64(x.b)); });
    check("setp." + name + ".ftz.f32 %p, %a, %b; selp.u32 %d, 1, 0, %p;", 32, {32, 32}, Values::f32,
          [i](const Input &x) { return holds(i, flush(f32(x.a)), flush(f32(x.b))); });
    check("set." + name + ".f32.f32 %d, %a, %b;", 32, {32, 32}, Values::f32,
          [i](const Input &x) { return holds(i, f32(x.a), f32(x.b)) ? bits(1.0f) : 0; });
  }
  check("slct.b32.f32 %d, %a, %b, %c;", 32, {32, 32, 32}, Values::f32,
        [](const Input &x) { return f32(x.c) >= 0 ? x.a : x.b; });
}

TEST(PtxFloat, ClassesOfNumbers) {
  auto classify = [](int test, auto v) {
    switch (test) {
      case 0:
        return std::isfinite(v);
      case 1:
        return std::isinf(v);
      case 2:
        return !std::isnan(v);
      case 3:
        return std::isnan(v);
      case 4:
        return std::isnormal(v);
      default:
        return std::fpclassify(v) == FP_SUBNORMAL;
    }
  };
  const char *names[] = {"finite", "infinite", "number", "notanumber", "normal", "subnormal"};
  for (int i = 0; i < 6; i++) {
    check(std::string("testp.") + names[i] + ".f32 %p, %a; selp.u32 %d, 1, 0, %p;", 32, {32}, Values::f32,
          [=](const Input &x) { return classify(i, f32(x.a)); });
    check(std::string("testp.") + names[i] + ".f64 %p, %a; selp.u32 %d, 1, 0, %p;", 32, {64}, Values::f64,
          [=](const Input &x) { return classify(i, f64(x.a)); });
  }
}

/* ---- conversions ---- */

struct Integer {
  const char *name;
  int width;
  bool is_signed;
} const integers[] = {{"u8", 8, false},   {"s8", 8, true},   {"u16", 16, false}, {"s16", 16, true},
                      {"u32", 32, false}, {"s32", 32, true}, {"u64", 64, false}, {"s64", 64, true}};

int register_width(int width) { return width == 8 ? 16 : width; }

__extension__ typedef __int128 s128;
s128 value_of(u64 word, const Integer &type) {
  unsigned spare = static_cast<unsigned>(64 - type.width);
  return type.is_signed ? static_cast<s128>(static_cast<s64>(word << spare) >> spare)
                        : static_cast<s128>(word << spare >> spare);
}
s128 least(const Integer &type) { return type.is_signed ? -(static_cast<s128>(1) << (type.width - 1)) : 0; }
s128 most(const Integer &type) { return (static_cast<s128>(1) << (type.is_signed ? type.width - 1 : type.width)) - 1; }

TEST(PtxConversion, BetweenIntegersWithAndWithoutSaturation) {
  for (const Integer &to : integers)
    for (const Integer &from : integers)
      for (bool saturate : {false, true})
        check(std::string(saturate ? "cvt.sat." : "cvt.") + to.name + "." + from.name + " %d, %a;",
              register_width(to.width), {register_width(from.width)}, Values::integers, [=](const Input &x) {
                s128 v = value_of(x.a, from);
                if (saturate) v = v < least(to) ? least(to) : v > most(to) ? most(to) : v;
                /* A register wider than the type gets the value extended by its sign. */
                return static_cast<u64>(value_of(static_cast<u64>(v), to));
              });
}

TEST(PtxConversion, IntoWiderRegisters) {
  check("cvt.u8.u32 %d, %a;", 32, {32}, Values::integers, [](const Input &x) { return x.a & 255; });
  check("cvt.s8.u32 %d, %a;", 64, {32}, Values::integers,
        [](const Input &x) { return static_cast<u64>(static_cast<s64>(static_cast<int8_t>(x.a))); });
  check("cvt.s16.s64 %d, %a;", 32, {64}, Values::integers,
        [](const Input &x) { return static_cast<u64>(static_cast<s64>(static_cast<int16_t>(x.a))); });
}

template <typename T>
u64 float_to_integer(T x, const Integer &to, char rounding, bool from_double) {
  if (std::isnan(x)) return from_double || to.width == 64 ? UINT64_C(1) << (to.width - 1) : 0;
  T v = rounding == 'n'   ? std::nearbyint(x)
        : rounding == 'z' ? std::trunc(x)
        : rounding == 'm' ? std::floor(x)
                          : std::ceil(x);
  if (v >= std::ldexp(T(1), to.is_signed ? to.width - 1 : to.width)) return static_cast<u64>(most(to));
  if (v <= static_cast<T>(least(to))) return static_cast<u64>(least(to));
  return static_cast<u64>(static_cast<s128>(v));
}

TEST(PtxConversion, FromFloatToIntegersClamps) {
  for (const Integer &to : integers)
    for (char rounding : {'n', 'z', 'm', 'p'}) {
      std::string name = std::string("cvt.r") + rounding + "i." + to.name;
      check(name + ".f32 %d, %a;", register_width(to.width), {32}, Values::f32,
            [=](const Input &x) { return value_of(float_to_integer(f32(x.a), to, rounding, false), to); });
      check(name + ".f64 %d, %a;", register_width(to.width), {64}, Values::f64,
            [=](const Input &x) { return value_of(float_to_integer(f64(x.a), to, rounding, true), to); });
    }
}

TEST(PtxConversion, FromIntegersToFloatInEveryRoundingMode) {
  for (const Integer &from : integers)
    for (const Rounding &rounding : roundings) {
      std::string name = std::string("cvt.") + rounding.name + ".";
      check(name + "f32." + from.name + " %d, %a;", 32, {register_width(from.width)}, Values::integers,
            [=](const Input &x) {
              volatile s128 v = value_of(x.a, from);
              std::fesetround(rounding.mode);
              volatile float r = static_cast<float>(v);
              std::fesetround(FE_TONEAREST);
              return bits(static_cast<float>(r));
            });
      check(name + "f64." + from.name + " %d, %a;", 64, {register_width(from.width)}, Values::integers,
            [=](const Input &x) {
              volatile s128 v = value_of(x.a, from);
              std::fesetround(rounding.mode);
              volatile double r = static_cast<double>(v);
              std::fesetround(FE_TONEAREST);
              return bits(static_cast<double>(r));
            });
    }
}

TEST(PtxConversion, BetweenFloatWidthsAndToIntegralValues) {
  check(
      "cvt.f64.f32 %d, %a;", 64, {32}, Values::f32, [](const Input &x) { return bits(static_cast<double>(f32(x.a))); },
      Same::f64);
  for (const Rounding &rounding : roundings) {
    check(
        std::string("cvt.") + rounding.name + ".f32.f64 %d, %a;", 32, {64}, Values::f64,
        [=](const Input &x) {
          volatile double v = f64(x.a);
          std::fesetround(rounding.mode);
          volatile float r = static_cast<float>(v);
          std::fesetround(FE_TONEAREST);
          return bits(static_cast<float>(r));
        },
        Same::f32);
    auto integral = [&](auto v) {
      std::fesetround(rounding.mode);
      auto r = std::nearbyint(v);
      std::fesetround(FE_TONEAREST);
      return r;
    };
    check(
        std::string("cvt.") + rounding.name + "i.f32.f32 %d, %a;", 32, {32}, Values::f32,
        [=](const Input &x) { return bits(integral(f32(x.a))); }, Same::f32);
    check(
        std::string("cvt.") + rounding.name + "i.f64.f64 %d, %a;", 64, {64}, Values::f64,
        [=](const Input &x) { return bits(integral(f64(x.a))); }, Same::f64);
  }
}

/* The nearest of all values of a 16-bit format, found by search over their bits: no arithmetic in common with the
 * interpreter. `value` gives the value of the positive pattern i; patterns above `last` are infinite. */
template <typename Value>
u64 search_narrow(double x, u64 last, Value value, bool toward_zero) {
  if (std::isnan(x)) return 0x7fff;
  u64 sign = std::signbit(x) ? 0x8000 : 0;
  double magnitude = std::fabs(x);
  u64 low = 0, high = last + 1; /* value(low) <= magnitude < value(high), where value(last + 1) is beyond the range */
  while (high - low > 1) {
    u64 middle = (low + high) / 2;
    (value(middle) <= magnitude ? low : high) = middle;
  }
  if (std::isinf(x)) return sign | (last + 1);
  if (toward_zero) return sign | low;
  double below = magnitude - value(low), above = value(low + 1) - magnitude;
  bool up = above < below || (above == below && (low & 1));
  return sign | (up ? low + 1 : low);
}

TEST(PtxConversion, HalfPrecisionIsCorrectlyRounded) {
  auto half = [](u64 i) {
    u64 e = i >> 10, m = i & 1023;
    return e ? std::ldexp(static_cast<double>(1024 + m), static_cast<int>(e) - 25)
             : std::ldexp(static_cast<double>(m), -24);
  };
  auto bfloat = [](u64 i) { return i == 0x7f80 ? 0x1p128 : static_cast<double>(f32(i << 16)); };
  for (bool zero : {false, true}) {
    std::string mode = zero ? "rz" : "rn";
    check("cvt." + mode + ".f16.f32 %d, %a;", 16, {32}, Values::f32,
          [=](const Input &x) { return search_narrow(f32(x.a), 0x7bff, half, zero); });
    check("cvt." + mode + ".bf16.f32 %d, %a;", 16, {32}, Values::f32,
          [=](const Input &x) { return search_narrow(f32(x.a), 0x7f7f, bfloat, zero); });
  }
  check("cvt.rn.f16x2.f32 %d, %a, %b;", 32, {32, 32}, Values::f32, [=](const Input &x) {
    return search_narrow(f32(x.a), 0x7bff, half, false) << 16 | search_narrow(f32(x.b), 0x7bff, half, false);
  });
  check("cvt.rn.bf16x2.f32 %d, %a, %b;", 32, {32, 32}, Values::f32, [=](const Input &x) {
    return search_narrow(f32(x.a), 0x7f7f, bfloat, false) << 16 | search_narrow(f32(x.b), 0x7f7f, bfloat, false);
  });
  check(
      "cvt.f32.f16 %d, %a;", 32, {16}, Values::integers,
      [=](const Input &x) {
        u64 magnitude = x.a & 0x7fff;
        if (magnitude > 0x7c00) return u64(0x7fffffff);
        float v = magnitude == 0x7c00 ? INFINITY : static_cast<float>(half(magnitude));
        return bits(x.a & 0x8000 ? -v : v);
      },
      Same::f32);
  check(
      "cvt.f32.bf16 %d, %a;", 32, {16}, Values::integers, [](const Input &x) { return x.a << 16; }, Same::f32);
}

}  // namespace
