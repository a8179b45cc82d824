/* Arithmetic and conversions of f16, bf16 and their pairs against a statement of its own: the exact result as a number
 * of 113 bits, rounded by a search among all 65,536 numbers of the format. */
#include <cmath>
#include <random>

#include "tests/vgpu/narrow_format.h"
#include "tests/vgpu/ptx_support.h"

using narrow::brain;
using narrow::Format;
using narrow::half;
using narrow::Mode;
using narrow::wide;
using ptx::evaluate;
using ptx::Executor;
using ptx::Input;

namespace {

using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;

u64 join(u64 low, u64 high) { return (low & 0xffff) | (high & 0xffff) << 16; }

/* Runs a text on every executor and compares. */
void compare_all(const std::string &body, int width, const std::vector<int> &widths, const std::vector<Input> &inputs,
                 const std::function<u64(const Input &)> &reference, const std::function<bool(u64, u64)> &same) {
  for (const Executor &executor : ptx::executors()) {
    std::vector<u64> results = evaluate(executor, body, width, widths, inputs);
    ASSERT_EQ(results.size(), inputs.size()) << body << " on " << executor.name;
    int shown = 0;
    for (size_t i = 0; i < inputs.size() && shown < 3; i++) {
      const u64 expected = reference(inputs[i]);
      if (same(results[i], expected)) continue;
      shown++;
      ADD_FAILURE() << body << " on " << executor.name << std::hex << ": a=0x" << inputs[i].a << " b=0x" << inputs[i].b
                    << " c=0x" << inputs[i].c << " gives 0x" << results[i] << ", expected 0x" << expected;
    }
  }
}

bool equal_halves(const Format &format, u64 x, u64 y) {
  return x == y || (x <= 0xffff && y <= 0xffff && format.nan(x) && format.nan(y));
}
bool equal_pairs(const Format &format, u64 x, u64 y) {
  return equal_halves(format, x & 0xffff, y & 0xffff) && equal_halves(format, x >> 16, y >> 16);
}

std::vector<Input> all_inputs() {
  std::vector<Input> list;
  for (u64 a = 0; a < 65536; a++) list.push_back({a, 65535 - a, a * 40503 & 0xffff, 0});
  return list;
}

/* Operands of which many are special, of like size, or of opposite sums. */
std::vector<Input> operands(const Format &format) {
  std::mt19937_64 random(7);
  const std::vector<u64> special = {0,      1,      2,      0x3ff,  0x400,  0x401,  0x7f,   0x80,
                                    0x81,   0x3c00, 0x3c01, 0x3bff, 0x3f80, 0x3f81, 0x4000, 0x7bff,
                                    0x7bfe, 0x7c00, 0x7c01, 0x7f7f, 0x7f80, 0x7fff};
  std::vector<Input> list;
  for (u64 a : special)
    for (u64 b : special)
      for (u64 signs = 0; signs < 4; signs++)
        list.push_back({a | (signs & 1) << 15, b | (signs & 2) << 14, special[random() % special.size()], 0});
  for (int i = 0; i < 20000; i++) {
    Input x = {random() & 0xffff, random() & 0xffff, random() & 0xffff, 0};
    if (i % 4 == 1) x.b = (x.a & 0x7f80) | (x.b & 0x807f);
    /* sums that cancel or lie near a tie: c near the product's size */
    if (i % 4 >= 2) {
      const double product = format.number(x.a) * format.number(x.b);
      if (std::isfinite(product) && product != 0) {
        const u16 near = format.round(product, Mode::nearest);
        const u64 apart =
            i % 4 == 2 ? random() % 3 : (format.exponent == 5 ? 10 : 7) * (random() % 4) << format.fraction / 2;
        x.c = (near ^ 0x8000 * (random() & 1)) + apart;
        x.c &= 0xffff;
      }
    }
    list.push_back(x);
  }
  return list;
}

/* The value of an operation on finite operands, exact but where the terms of a sum are further apart than 113 bits:
 * then the lesser one decides only the direction, and moves the greater one by 2^-90 of its size. */
wide exact(char operation, wide a, wide b, wide c) {
  if (operation == '*') return a * b;
  const wide x = operation == 'f' ? a * b : a, y = operation == 'f' ? c : operation == '-' ? -b : b;
  const wide sum = x + y, part = sum - x, lost = (x - (sum - part)) + (y - part);
  if (lost == 0 || (sum != x && sum != y)) return sum;
  const wide little = sum * static_cast<wide>(0x1p-90);
  return (lost > 0) == (sum > 0) ? sum + little : sum - little;
}

u64 operate(const Format &format, char operation, u64 a, u64 b, u64 c) {
  const double x = format.number(a), y = format.number(b), z = format.number(c);
  const double approximate = operation == '+'   ? x + y
                             : operation == '-' ? x - y
                             : operation == '*' ? x * y
                                                : std::fma(x, y, z);
  if (std::isnan(approximate)) return 0x7fff;
  if (!std::isfinite(x) || !std::isfinite(y) || (operation == 'f' && !std::isfinite(z)))
    return (std::signbit(approximate) ? 0x8000 : 0) | format.infinity;
  const wide value = exact(operation, x, y, z);
  if (value == 0) return std::signbit(approximate) ? 0x8000 : 0;
  return format.round(value, Mode::nearest);
}

struct Operation {
  const char *name;
  char sign;
} const operations[] = {{"add", '+'}, {"sub", '-'}, {"mul", '*'}, {"fma", 'f'}};

std::string text(const Operation &operation, const std::string &modifiers, const char *type) {
  return std::string(operation.name) + (operation.sign == 'f' ? ".rn" : "") + modifiers + "." + type +
         (operation.sign == 'f' ? " %d, %a, %b, %c;" : " %d, %a, %b;");
}

TEST(PtxHalf, SumsProductsAndFusedOperationsRoundOnce) {
  for (const Format *format : {&half(), &brain()}) {
    const std::vector<Input> list = operands(*format);
    for (const Operation &operation : operations)
      for (const char *rounding : {"", ".rn"}) {
        if (operation.sign == 'f' && rounding[0]) continue;
        compare_all(
            text(operation, rounding, format->name), 16, {16, 16, 16}, list,
            [&](const Input &x) { return operate(*format, operation.sign, x.a, x.b, x.c); },
            [&](u64 x, u64 y) { return equal_halves(*format, x, y); });
      }
  }
}

TEST(PtxHalf, PairsAreTwoOperations) {
  for (const Format *format : {&half(), &brain()}) {
    std::vector<Input> list = operands(*format), pairs;
    for (size_t i = 0; i < 4000; i++) {
      const Input &x = list[i], &y = list[list.size() - 1 - i];
      pairs.push_back({join(x.a, y.a), join(x.b, y.b), join(x.c, y.c), 0});
    }
    for (const Operation &operation : operations)
      compare_all(
          text(operation, "", format->pair), 32, {32, 32, 32}, pairs,
          [&](const Input &x) {
            return join(operate(*format, operation.sign, x.a & 0xffff, x.b & 0xffff, x.c & 0xffff),
                        operate(*format, operation.sign, x.a >> 16, x.b >> 16, x.c >> 16));
          },
          [&](u64 x, u64 y) { return equal_pairs(*format, x, y); });
  }
}

u64 flush(u64 x) { return x & 0x7c00 ? x : x & 0x8000; }
u64 saturate(u64 x, const Format &format, u64 one) {
  if (format.nan(x) || (x & 0x8000)) return 0;
  return x > one ? one : x;
}

TEST(PtxHalf, FlushingSaturationAndRelu) {
  const std::vector<Input> list = operands(half());
  auto same = [](u64 x, u64 y) { return equal_halves(half(), x, y); };
  for (const Operation &operation : operations) {
    auto plain = [&](const Input &x) { return operate(half(), operation.sign, x.a, x.b, x.c); };
    compare_all(
        text(operation, ".sat", "f16"), 16, {16, 16, 16}, list,
        [&](const Input &x) { return saturate(plain(x), half(), 0x3c00); }, same);
    auto flushed = [&](const Input &x) {
      return flush(operate(half(), operation.sign, flush(x.a), flush(x.b), flush(x.c)));
    };
    compare_all(text(operation, ".ftz", "f16"), 16, {16, 16, 16}, list, flushed, same);
    compare_all(
        text(operation, ".ftz.sat", "f16"), 16, {16, 16, 16}, list,
        [&](const Input &x) { return saturate(flushed(x), half(), 0x3c00); }, same);
    if (operation.sign != 'f') continue;
    for (const Format *format : {&half(), &brain()}) {
      const std::vector<Input> own = operands(*format);
      compare_all(
          text(operation, ".relu", format->name), 16, {16, 16, 16}, own,
          [&](const Input &x) {
            u64 r = operate(*format, 'f', x.a, x.b, x.c);
            return format->nan(r) ? 0x7fff : r & 0x8000 ? 0 : r;
          },
          [&](u64 x, u64 y) { return x == y; });
    }
  }
}

TEST(PtxHalf, SignsMinimaAndMaxima) {
  for (const Format *format : {&half(), &brain()}) {
    const std::string type = format->name;
    const std::vector<Input> all = all_inputs(), list = operands(*format);
    auto same = [&](u64 x, u64 y) { return equal_halves(*format, x, y); };
    compare_all(
        "abs." + type + " %d, %a;", 16, {16}, all, [](const Input &x) { return x.a & 0x7fff; }, same);
    compare_all(
        "neg." + type + " %d, %a;", 16, {16}, all, [](const Input &x) { return x.a ^ 0x8000; }, same);
    compare_all(
        "abs." + type + "x2 %d, %a;", 32, {32}, {{0x80017c00, 0, 0, 0}, {0x3c00bc00, 0, 0, 0}},
        [](const Input &x) { return x.a & 0x7fff7fff; }, [](u64 x, u64 y) { return x == y; });
    compare_all(
        "neg." + type + "x2 %d, %a;", 32, {32}, {{0x80017c00, 0, 0, 0}, {0x3c00bc00, 0, 0, 0}},
        [](const Input &x) { return x.a ^ 0x80008000; }, [](u64 x, u64 y) { return x == y; });
    if (format == &half()) {
      compare_all(
          "abs.ftz.f16 %d, %a;", 16, {16}, all, [](const Input &x) { return flush(x.a & 0x7fff); }, same);
      compare_all(
          "neg.ftz.f16 %d, %a;", 16, {16}, all, [](const Input &x) { return flush(x.a ^ 0x8000); }, same);
    }
    for (bool least : {true, false})
      for (bool keep_nan : {false, true})
        for (bool xor_sign : {false, true}) {
          auto reference = [=](u64 a, u64 b) -> u64 {
            const u64 sign = xor_sign ? (a ^ b) & 0x8000 : 0;
            if (xor_sign) a &= 0x7fff, b &= 0x7fff;
            if (format->nan(a) && format->nan(b)) return 0x7fff;
            if (format->nan(a) || format->nan(b)) {
              if (keep_nan) return 0x7fff;
              return (format->nan(a) ? b : a) | sign;
            }
            const double x = format->number(a), y = format->number(b);
            const bool first = x == y ? ((a & 0x8000) != 0) == least : (x < y) == least;
            return (first ? a : b) | sign;
          };
          const std::string name =
              std::string(least ? "min" : "max") + (keep_nan ? ".NaN" : "") + (xor_sign ? ".xorsign.abs." : ".");
          compare_all(
              name + type + " %d, %a, %b;", 16, {16, 16}, list, [&](const Input &x) { return reference(x.a, x.b); },
              same);
          std::vector<Input> pairs;
          for (size_t i = 0; i + 1 < 3000; i += 2)
            pairs.push_back({join(list[i].a, list[i + 1].a), join(list[i].b, list[i + 1].b), 0, 0});
          compare_all(
              name + format->pair + " %d, %a, %b;", 32, {32, 32}, pairs,
              [&](const Input &x) {
                return join(reference(x.a & 0xffff, x.b & 0xffff), reference(x.a >> 16, x.b >> 16));
              },
              [&](u64 x, u64 y) { return equal_pairs(*format, x, y); });
        }
  }
}

struct Comparison {
  const char *name;
  bool (*holds)(double, double);
} const comparisons[] = {{"eq", [](double a, double b) { return a == b; }},
                         {"ne", [](double a, double b) { return a < b || a > b; }},
                         {"lt", [](double a, double b) { return a < b; }},
                         {"le", [](double a, double b) { return a <= b; }},
                         {"gt", [](double a, double b) { return a > b; }},
                         {"ge", [](double a, double b) { return a >= b; }},
                         {"equ", [](double a, double b) { return !(a < b) && !(a > b); }},
                         {"neu", [](double a, double b) { return a != b; }},
                         {"ltu", [](double a, double b) { return !(a >= b); }},
                         {"leu", [](double a, double b) { return !(a > b); }},
                         {"gtu", [](double a, double b) { return !(a <= b); }},
                         {"geu", [](double a, double b) { return !(a < b); }},
                         {"num", [](double a, double b) { return !std::isnan(a) && !std::isnan(b); }},
                         {"nan", [](double a, double b) { return std::isnan(a) || std::isnan(b); }}};

TEST(PtxHalf, ComparisonsSetBitsAndNumbers) {
  auto same = [](u64 x, u64 y) { return x == y; };
  for (const Format *format : {&half(), &brain()}) {
    std::vector<Input> list = operands(*format), pairs;
    list.resize(3000);
    for (size_t i = 0; i + 1 < list.size(); i += 2)
      pairs.push_back({join(list[i].a, list[i + 1].a), join(list[i].b, list[i + 1].b), 0, 0});
    const std::string type = format->name, pair = format->pair;
    const u64 one = format == &half() ? 0x3c00 : 0x3f80;
    for (const Comparison &comparison : comparisons) {
      const std::string name = comparison.name;
      auto holds = [&](u64 a, u64 b) { return comparison.holds(format->number(a), format->number(b)); };
      compare_all(
          "setp." + name + "." + type + " %p, %a, %b; selp.b32 %d, 7, 3, %p;", 32, {16, 16}, list,
          [&](const Input &x) { return u64(holds(x.a, x.b) ? 7 : 3); }, same);
      compare_all(
          "setp." + name + "." + pair +
              " %p|%q, %a, %b; selp.b32 %r0, 1, 0, %p; selp.b32 %r1, 2, 0, %q; "
              "or.b32 %d, %r0, %r1;",
          32, {32, 32}, pairs,
          [&](const Input &x) {
            return u64(holds(x.a & 0xffff, x.b & 0xffff)) | u64(holds(x.a >> 16, x.b >> 16)) << 1;
          },
          same);
      compare_all(
          "set." + name + "." + type + "." + type + " %d, %a, %b;", 16, {16, 16}, list,
          [&](const Input &x) { return holds(x.a, x.b) ? one : 0; }, same);
      compare_all(
          "set." + name + ".u32." + type + " %d, %a, %b;", 32, {16, 16}, list,
          [&](const Input &x) { return u64(holds(x.a, x.b) ? 0xffffffff : 0); }, same);
      compare_all(
          "set." + name + "." + pair + "." + pair + " %d, %a, %b;", 32, {32, 32}, pairs,
          [&](const Input &x) {
            return join(holds(x.a & 0xffff, x.b & 0xffff) ? one : 0, holds(x.a >> 16, x.b >> 16) ? one : 0);
          },
          same);
      compare_all(
          "set." + name + ".u32." + pair + " %d, %a, %b;", 32, {32, 32}, pairs,
          [&](const Input &x) {
            return join(holds(x.a & 0xffff, x.b & 0xffff) ? 0xffff : 0, holds(x.a >> 16, x.b >> 16) ? 0xffff : 0);
          },
          same);
    }
  }
  compare_all(
      "set.lt.ftz.f16.f16 %d, %a, %b;", 16, {16, 16}, {{1, 2, 0, 0}, {0x8001, 1, 0, 0}, {0x8401, 1, 0, 0}},
      [](const Input &x) { return u64(half().number(flush(x.a)) < half().number(flush(x.b)) ? 0x3c00 : 0); }, same);
  compare_all(
      "setp.lt.s32 %q, %c, 5; set.gt.and.f16x2.f16x2 %d, %a, %b, %q;", 32, {32, 32, 32},
      {{0x3c003c00, 0x38004000, 4, 0}, {0x3c003c00, 0x38004000, 6, 0}},
      [](const Input &x) { return u64(x.c == 4 ? 0x3c000000 : 0); }, same);
  compare_all(
      "set.ge.f16.s32 %d, %a, %b;", 16, {32, 32}, {{5, 4, 0, 0}, {0xffffffff, 0, 0, 0}},
      [](const Input &x) { return u64(int32_t(x.a) >= int32_t(x.b) ? 0x3c00 : 0); }, same);
}

/* NVIDIA's bounds for f16: ex2 2^-9.9, tanh 2^-10.987 (relative); for bf16: 2^-7 and 2^-8. */
TEST(PtxHalf, ApproximationsOfAllInputsKeepTheDocumentedErrors) {
  struct Case {
    const char *name;
    const Format *format;
    double bound;
  } const cases[] = {{"ex2.approx.f16", &half(), std::exp2(-9.9)},
                     {"ex2.approx.ftz.bf16", &brain(), std::exp2(-7)},
                     {"tanh.approx.f16", &half(), std::exp2(-10.987)},
                     {"tanh.approx.bf16", &brain(), std::exp2(-8)}};
  for (const Case &one : cases) {
    const Format &format = *one.format;
    const bool exponential = one.name[0] == 'e';
    double worst = 0;
    for (const Executor &executor : ptx::executors()) {
      const std::vector<Input> list = all_inputs();
      const std::vector<u64> results = evaluate(executor, std::string(one.name) + " %d, %a;", 16, {16}, list);
      ASSERT_EQ(results.size(), list.size()) << one.name << " on " << executor.name;
      for (size_t i = 0; i < list.size(); i++) {
        const double x = format.number(list[i].a), y = exponential ? std::exp2(x) : std::tanh(x);
        const double got = format.number(results[i]);
        if (std::isnan(x)) {
          EXPECT_EQ(results[i], 0x7fffu) << one.name;
          continue;
        }
        const u64 rounded = y == 0 || std::isinf(y) ? 0 : format.round(y, Mode::nearest);
        if (y == 0 || std::isinf(y) || !(rounded & format.infinity) || format.infinite(rounded)) {
          const u64 expected = y == 0 ? (std::signbit(y) ? 0x8000 : 0) : std::isinf(y) ? format.infinity : rounded;
          const double apart = std::fabs(got - y); /* below the normal numbers: to the nearest one */
          const double unit = static_cast<double>(format.value(1));
          const bool flushed = std::string(one.name).find("ftz") != std::string::npos && (results[i] & 0x7fff) == 0;
          EXPECT_TRUE(results[i] == expected || apart <= unit || flushed)
              << one.name << " of " << x << " gives " << got;
          continue;
        }
        worst = std::max(worst, std::fabs(got - y) / y * (y < 0 ? -1 : 1));
      }
    }
    EXPECT_LE(worst, one.bound) << one.name;
    EXPECT_GT(worst, one.bound / 20) << one.name << ": rounding to the format alone is more";
  }
}

}  // namespace
