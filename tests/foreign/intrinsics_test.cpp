/* CUDA's integer and SIMD intrinsics, and its arithmetic and conversions in all four roundings, against plain C: the
 * host's own arithmetic under the rounding in question. */
#include <algorithm>
#include <cfenv>
#include <cmath>
#include <limits>

#include "tests/foreign/kernels/intrinsics_list.h"
#include "tests/foreign/support.h"

namespace {

constexpr size_t kCount = 20000;

class IntrinsicsTest : public foreign::Test {
 protected:
  void SetUp() override {
    NEEDS_MODULE("intrinsics");
    Test::SetUp();
    module = std::make_unique<foreign::Module>("intrinsics");
  }
  void TearDown() override {
    std::fesetround(FE_TONEAREST);
    module.reset();
    Test::TearDown();
  }

  /* Random bits, often few, or like the ones before. */
  template <typename Word>
  std::vector<Word> random() {
    std::vector<Word> words(kCount);
    for (size_t i = 0; i < kCount; ++i) {
      words[i] = static_cast<Word>(generator());
      if (i % 3 == 1) words[i] = static_cast<Word>(words[i] >> generator() % (8 * sizeof(Word)));
      if (i % 5 == 2)
        words[i] = static_cast<Word>(generator() % 2 == 0 ? ~Word{0} << generator() % (8 * sizeof(Word))
                                                          : words[i] & 0x80807fff);
    }
    return words;
  }
  /* Random bits, and numbers of like size, whose halves and whose sums' roundings come close. */
  template <typename Number>
  std::vector<Number> numbers() {
    std::vector<Number> result;
    while (result.size() < kCount) {
      const uint64_t bits = generator();
      Number number;
      std::memcpy(&number, &bits, sizeof number);
      result.push_back(number);
      result.push_back(static_cast<Number>(
          std::ldexp(static_cast<double>(static_cast<int64_t>(bits)), -static_cast<int>(generator() % 70))));
      result.push_back(static_cast<Number>(static_cast<int64_t>(bits) >> 40) / 2);
    }
    return result;
  }
  template <typename Result, typename Operand>
  std::vector<Result> run(const std::string &name, const std::vector<Operand> &x, const std::vector<Operand> &y,
                          const std::vector<Operand> &z) {
    const foreign::Array<Operand> a(x), b(y), c(z);
    const foreign::Array<Result> result(x.size());
    module->launch(name + "_kernel", static_cast<unsigned>((x.size() + 127) / 128), 128, a, b, c, result,
                   static_cast<int>(x.size()));
    return result.values();
  }
  std::mt19937_64 generator{37};
  std::unique_ptr<foreign::Module> module;
};

/* ---- words ---- */

int signed_clamp(int x, int bits) { return std::clamp(x, -(1 << (bits - 1)), (1 << (bits - 1)) - 1); }
int unsigned_clamp(int x, int bits) { return std::clamp(x, 0, (1 << bits) - 1); }

TEST_F(IntrinsicsTest, SimdWithinAWord) {
  const std::vector<unsigned> x = random<unsigned>();
  std::vector<unsigned> y = random<unsigned>();
  for (size_t i = 0; i < kCount; i += 4)
    y[i] = x[i] ^ static_cast<unsigned>(1u << generator() % 32); /* most lanes equal */
  const auto check = [&](const std::string &name, int (*meaning)(int, int, int, int, int), bool sum) {
    for (int bits : {16, 8}) {
      std::vector<unsigned> expected(kCount);
      const unsigned mask = (1u << bits) - 1;
      const auto extended = [bits](unsigned lane) { return static_cast<int>(lane << (32 - bits)) >> (32 - bits); };
      for (size_t i = 0; i < kCount; ++i) {
        for (int at = 0; at < 32; at += bits) {
          const unsigned a = x[i] >> at & mask, b = y[i] >> at & mask;
          const auto lane =
              static_cast<unsigned>(meaning(extended(a), extended(b), static_cast<int>(a), static_cast<int>(b), bits));
          expected[i] += sum ? lane : (lane & mask) << at;
        }
      }
      const std::string full = name + std::to_string(32 / bits);
      EXPECT_EQ(run<unsigned>(full, x, y, y), expected) << full;
    }
  };
#define MEANING(expression)                             \
  [](int sa, int sb, int ua, int ub, int bits) -> int { \
    (void)sa, (void)sb, (void)ua, (void)ub, (void)bits; \
    return expression;                                  \
  }
#define CHECK_SIMD(name, expression) check(#name, MEANING(expression), false);
#define CHECK_SUM(name, expression) check(#name, MEANING(expression), true);
  SIMD_INTRINSICS(CHECK_SIMD)
  SIMD_UNARY_INTRINSICS(CHECK_SIMD)
  SIMD_SUM_INTRINSICS(CHECK_SUM)
}

uint64_t reversed(uint64_t x, int bits) {
  uint64_t result = 0;
  for (int i = 0; i < bits; ++i) result |= (x >> i & 1) << (bits - 1 - i);
  return result;
}
int leading_zeros(uint64_t x, int bits) {
  int zeros = 0;
  while (zeros < bits && (x >> (bits - 1 - zeros) & 1) == 0) ++zeros;
  return zeros;
}
int first_set(uint64_t x) {
  for (int i = 0; i < 64; ++i) {
    if ((x >> i & 1) != 0) return i + 1;
  }
  return 0;
}
int bits_set(uint64_t x) {
  int bits = 0;
  for (int i = 0; i < 64; ++i) bits += static_cast<int>(x >> i & 1);
  return bits;
}
uint64_t permuted(uint64_t a, uint64_t b, unsigned selectors) {
  uint64_t result = 0;
  for (int i = 0; i < 4; ++i) result |= ((b << 32 | a) >> (8 * (selectors >> (4 * i) & 7)) & 0xff) << (8 * i);
  return result;
}
int64_t wide(unsigned x) { return static_cast<int>(x); }
int64_t wide_unsigned(unsigned x) { return x; }
uint64_t uwide(unsigned x) { return x; }
int64_t largest(int64_t a, int64_t b) { return std::max(a, b); }
int64_t dot(unsigned a, unsigned b, bool is_signed) {
  int64_t sum = 0;
  for (int at = 0; at < 32; at += 8) {
    const auto x = static_cast<unsigned char>(a >> at), y = static_cast<unsigned char>(b >> at);
    sum += is_signed ? static_cast<signed char>(x) * static_cast<signed char>(y) : x * y;
  }
  return sum;
}
__extension__ using Wide = __int128;
__extension__ using UnsignedWide = unsigned __int128;
uint64_t high_product(uint64_t a, uint64_t b, bool is_signed) {
  if (is_signed)
    return static_cast<uint64_t>(static_cast<Wide>(static_cast<int64_t>(a)) * static_cast<int64_t>(b) >> 64);
  return static_cast<uint64_t>(static_cast<UnsignedWide>(a) * b >> 64);
}

TEST_F(IntrinsicsTest, Words) {
  const std::vector<unsigned> x = random<unsigned>(), y = random<unsigned>(), z = random<unsigned>();
  std::vector<unsigned> expected(kCount);
#define CHECK_WORD(name, call, meaning)           \
  for (size_t i = 0; i < kCount; ++i) {           \
    const unsigned a = x[i], b = y[i], c = z[i];  \
    (void)b, (void)c;                             \
    expected[i] = static_cast<unsigned>(meaning); \
  }                                               \
  EXPECT_EQ(run<unsigned>(#name, x, y, z), expected) << #name;
  WORD_INTRINSICS(CHECK_WORD)
}

TEST_F(IntrinsicsTest, Doublewords) {
  using Doubleword = unsigned long long;
  const std::vector<Doubleword> x = random<Doubleword>(), y = random<Doubleword>();
  std::vector<Doubleword> expected(kCount);
#define CHECK_DOUBLEWORD(name, call, meaning)       \
  for (size_t i = 0; i < kCount; ++i) {             \
    const Doubleword a = x[i], b = y[i];            \
    (void)b;                                        \
    expected[i] = static_cast<Doubleword>(meaning); \
  }                                                 \
  EXPECT_EQ(run<Doubleword>(#name, x, y, y), expected) << #name;
  DOUBLEWORD_INTRINSICS(CHECK_DOUBLEWORD)
}

/* ---- roundings ---- */

const std::pair<const char *, int> kModes[] = {
    {"rn", FE_TONEAREST}, {"rz", FE_TOWARDZERO}, {"rd", FE_DOWNWARD}, {"ru", FE_UPWARD}};

/* Operands are read anew for each operation, so that none is moved out of its rounding. */
template <typename Result, typename Operand>
using Operation = Result (*)(const volatile Operand &, const volatile Operand &, const volatile Operand &);

template <typename Result, typename Operand>
void expect(const std::string &name, const std::vector<Result> &results, const std::vector<Operand> &x,
            const std::vector<Operand> &y, const std::vector<Operand> &z, int mode,
            Operation<Result, Operand> operation) {
  std::vector<Result> expected(x.size());
  std::fesetround(mode);
  for (size_t i = 0; i < x.size(); ++i) expected[i] = operation(x[i], y[i], z[i]);
  std::fesetround(FE_TONEAREST);
  for (size_t i = 0; i < x.size(); ++i) {
    /* All NaN are one. */
    if (expected[i] != expected[i] && results[i] != results[i]) continue;
    ASSERT_EQ(std::memcmp(&results[i], &expected[i], sizeof(Result)), 0)
        << name << "(" << x[i] << ", " << y[i] << ", " << z[i] << ") = " << results[i] << ", not " << expected[i];
  }
}

TEST_F(IntrinsicsTest, ArithmeticInAllRoundings) {
  const auto check = [&](const std::string &prefix, auto zero) {
    using Number = decltype(zero);
    const std::vector<Number> x = numbers<Number>(), y = numbers<Number>(), z = numbers<Number>();
    const auto one_operation = [&](const std::string &name, Operation<Number, Number> operation) {
      for (const auto &[mode, rounding] : kModes) {
        const std::string full = name + "_" + mode;
        expect(full, run<Number>(full, x, y, z), x, y, z, rounding, operation);
      }
    };
#define CHECK_ROUNDED(name, operands, expression)                                                                 \
  one_operation(prefix + #name, [](const volatile Number &p, const volatile Number &q, const volatile Number &) { \
    const Number a = p, b = q, one = 1;                                                                           \
    (void)b, (void)one;                                                                                           \
    const volatile Number result = expression;                                                                    \
    return static_cast<Number>(result);                                                                           \
  });
    ROUNDED_INTRINSICS(CHECK_ROUNDED)
    one_operation(sizeof(Number) == 4 ? "fma" : "dfma",
                  [](const volatile Number &p, const volatile Number &q, const volatile Number &r) {
                    const volatile Number result = std::fma(Number{p}, Number{q}, Number{r});
                    return Number{result};
                  });
  };
  check("f", 0.f);
  check("d", 0.);
}

/* As PTX says: NaN becomes zero, but the uppermost bit if there are 64 bits on either side. */
template <typename Integer, typename Number>
long long integer(const volatile Number &operand) {
  using Limits = std::numeric_limits<Integer>;
  const double x = operand;
  if (std::isnan(x)) {
    if (sizeof(Integer) == 8) return std::numeric_limits<long long>::min();
    return sizeof(Number) == 8 ? static_cast<long long>(static_cast<Integer>(0x80000000u)) : 0;
  }
  /* The compiler's own code for these functions assumes rounding to nearest. */
  const int mode = std::fegetround();
  std::fesetround(FE_TONEAREST);
  const volatile double rounded = mode == FE_TONEAREST    ? std::nearbyint(x)
                                  : mode == FE_TOWARDZERO ? std::trunc(x)
                                  : mode == FE_DOWNWARD   ? std::floor(x)
                                                          : std::ceil(x);
  std::fesetround(mode);
  if (rounded >= std::ldexp(1, Limits::digits)) return static_cast<long long>(Limits::max());
  if (rounded <= static_cast<double>(Limits::min())) return static_cast<long long>(Limits::min());
  return static_cast<long long>(rounded);
}

TEST_F(IntrinsicsTest, ConversionsInAllRoundings) {
  const std::vector<float> floats = numbers<float>();
  std::vector<double> doubles = numbers<double>();
  std::vector<long long> integers;
  for (unsigned long long word : random<unsigned long long>()) integers.push_back(static_cast<long long>(word));
  for (size_t i = 0; i < doubles.size(); i += 2)
    doubles[i] = std::ldexp(doubles[i], -static_cast<int>(std::ilogb(doubles[i]) / 2 * (i % 4)));
#define CHECK_CONVERSION(name, Result, operands, expression)                                                     \
  {                                                                                                              \
    using Operand = decltype(operands)::value_type;                                                              \
    const std::string full = std::string(#name "_") + mode;                                                      \
    expect<Result, Operand>(full, run<Result>(full, operands, operands, operands), operands, operands, operands, \
                            rounding,                                                                            \
                            [](const volatile Operand &a, const volatile Operand &, const volatile Operand &) {  \
                              const volatile Result result = expression;                                         \
                              return static_cast<Result>(result);                                                \
                            });                                                                                  \
  }
  for (const auto &[mode, rounding] : kModes) {
    CHECK_CONVERSION(float_of_double, float, doubles, static_cast<float>(a))
    CHECK_CONVERSION(float_of_ll, float, integers, static_cast<float>(a))
    CHECK_CONVERSION(double_of_ll, double, integers, static_cast<double>(a))
    CHECK_CONVERSION(float_of_int, float, integers, static_cast<float>(static_cast<int>(a)))
    CHECK_CONVERSION(int_of_float, long long, floats, integer<int>(a))
    CHECK_CONVERSION(uint_of_float, long long, floats, integer<unsigned>(a))
    CHECK_CONVERSION(ll_of_float, long long, floats, integer<long long>(a))
    CHECK_CONVERSION(int_of_double, long long, doubles, integer<int>(a))
    CHECK_CONVERSION(uint_of_double, long long, doubles, integer<unsigned>(a))
    CHECK_CONVERSION(ll_of_double, long long, doubles, integer<long long>(a))
  }
}

}  // namespace
