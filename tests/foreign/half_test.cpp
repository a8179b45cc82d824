/* The functions of cuda_fp16.h and cuda_bf16.h on the virtual GPU, each as scalars and as pairs: over all 65,536
 * numbers, over all pairs of some 300 and random ones. The reference is exact arithmetic, rounded once: double holds
 * sums and products of such numbers with room for a rounding to odd. */
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "tests/foreign/kernels/half_functions.h"
#include "tests/foreign/small_float.h"
#include "tests/foreign/support.h"

namespace {

using foreign::Rounding;
using foreign::SmallFloat;
using Bits = std::vector<uint16_t>;

/* ---- functions of real numbers; their results are exact, or rounded to odd, or right to far more than 11 bits ---- */

namespace real {

double negated(double x) { return -x; }
double magnitude(double x) { return std::fabs(x); }
double rsqrt(double x) { return 1 / std::sqrt(x); }
double reciprocal(double x) { return 1 / x; }
double exp10(double x) { return std::pow(10, x); }
using std::ceil;
using std::cos;
using std::exp;
using std::exp2;
using std::floor;
using std::log;
using std::log10;
using std::log2;
using std::nearbyint;
using std::sin;
using std::sqrt;
using std::tanh;
using std::trunc;

/* CUDA's saturation makes zero of NaN; relu keeps it. Neither leaves a zero's sign. */
double saturated(double x) { return x > 0 ? std::min(x, 1.) : 0; }

double sum(double a, double b) { return foreign::odd_sum(a, b); }
double difference(double a, double b) { return foreign::odd_sum(a, -b); }
double product(double a, double b) { return a * b; }
double saturated_sum(double a, double b) { return saturated(sum(a, b)); }
double saturated_difference(double a, double b) { return saturated(difference(a, b)); }
double saturated_product(double a, double b) { return saturated(product(a, b)); }
/* Of numbers with p bits, a quotient that is not exact is farther than 2^-(2p+1) from where a rounding changes. */
double quotient(double a, double b) { return a / b; }
double smaller_or_nan(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return NAN;
  return a < b || (a == b && std::signbit(a)) ? a : b;
}
double larger_or_nan(double a, double b) { return -smaller_or_nan(-a, -b); }
double smaller(double a, double b) { return std::isnan(a) ? b : std::isnan(b) ? a : smaller_or_nan(a, b); }
double larger(double a, double b) { return -smaller(-a, -b); }
double fused(double a, double b, double c) { return foreign::odd_sum(a * b, c); }
double saturated_fused(double a, double b, double c) { return saturated(fused(a, b, c)); }
double positive_fused(double a, double b, double c) {
  const double x = fused(a, b, c);
  return std::isnan(x) ? x : x > 0 ? x : 0;
}

}  // namespace real

/* ---- the test ---- */

struct Type {
  const char *module;
  SmallFloat format;
  double approximate_tanh; /* its documented absolute error */
};
const Type kTypes[] = {{"half", foreign::kHalf, std::exp2(-10.987)},
                       {"half_90", foreign::kHalf, std::exp2(-10.987)},
                       {"bfloat16", foreign::kBfloat16, 0x1p-8},
                       {"bfloat16_90", foreign::kBfloat16, 0x1p-8}};

class HalfTest : public foreign::Test, public ::testing::WithParamInterface<Type> {
 protected:
  void SetUp() override {
    NEEDS_MODULE(GetParam().module);
    Test::SetUp();
    module = std::make_unique<foreign::Module>(GetParam().module);
  }
  void TearDown() override {
    module.reset();
    Test::TearDown();
  }

  template <typename Result, typename X, typename Y, typename Z>
  std::vector<Result> run(const std::string &kernel, size_t threads, size_t results, const foreign::Array<X> &x,
                          const foreign::Array<Y> &y, const foreign::Array<Z> &z) {
    const foreign::Array<Result> result(results);
    result.zero();
    module->launch(kernel + "_kernel", static_cast<unsigned>((threads + 127) / 128), 128, x, y, z, result,
                   static_cast<int>(threads));
    return result.values();
  }

  /* Numbers in the order of the reals, zeros side by side. */
  static int place(uint16_t bits) { return bits >> 15 != 0 ? -1 - (bits & 0x7fff) : bits; }

  /* Compares results with the exact values rounded, which may be off by some units in the last place in some cases. */
  void compare(const std::string &name, const Bits &results, const std::vector<double> &exact, int ulps = 0) {
    size_t wrong = 0, off = 0;
    for (size_t i = 0; i < results.size(); ++i) {
      const uint16_t expected = format().rounded(exact[i]);
      if (results[i] == expected || (format().is_nan(results[i]) && format().is_nan(expected))) continue;
      const bool comparable = !format().is_nan(results[i]) && !format().is_nan(expected);
      ++off;
      if (comparable && std::abs(place(results[i]) - place(expected)) <= ulps) continue;
      if (++wrong > 3) continue; /* counted only */
      ADD_FAILURE() << name << ", number " << i << ": " << format().value(results[i]) << ", not "
                    << format().value(expected) << " (exactly " << exact[i] << ")";
    }
    EXPECT_EQ(wrong, 0u) << name;
    /* The headers mend by hand those few results that NVIDIA's approximate instructions make wrong; with more accurate
     * ones just these may become wrong. */
    EXPECT_LE(off, 8u) << name;
    if (off > wrong) std::printf("%s: %zu of %zu off by one\n", name.c_str(), off - wrong, results.size());
  }

  SmallFloat format() const { return GetParam().format; }
  static Bits all_numbers() {
    Bits all(65536);
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
    return all;
  }
  /* Special numbers and their neighbours, and some of every power of two. */
  Bits chosen_numbers() {
    Bits chosen;
    const int exponents = (format().infinity() >> format().stored()) + 1, last = (1 << format().stored()) - 1;
    for (int exponent = 0; exponent<exponents; exponent += exponents> 64 ? 8 : 1) {
      for (int fraction : {0, 1, last / 2 + 1, last})
        chosen.push_back(static_cast<uint16_t>(exponent << format().stored() | fraction));
    }
    for (double x : {1., 1.5, 2., 3., 10.}) chosen.push_back(format().rounded(x));
    chosen.push_back(format().infinity());
    chosen.push_back(static_cast<uint16_t>(format().infinity() + 1));
    chosen.push_back(static_cast<uint16_t>(format().infinity() - 1));
    chosen.push_back(0x7fff);
    const size_t positive = chosen.size();
    for (size_t i = 0; i < positive; ++i) chosen.push_back(chosen[i] | 0x8000);
    return chosen;
  }
  /* All pairs of the chosen numbers, then random ones, of which half are of like size; a third number for each: in turn
   * random, the negated product rounded (so that fused arithmetic cancels), and the negated product's neighbour. */
  void make_pairs(Bits *x, Bits *y, Bits *z) {
    const Bits chosen = chosen_numbers();
    for (uint16_t a : chosen) {
      for (uint16_t b : chosen) x->push_back(a), y->push_back(b);
    }
    for (int i = 0; i < 100000; ++i) {
      x->push_back(static_cast<uint16_t>(generator()));
      const auto change = static_cast<uint16_t>(generator() % (4u << format().stored()));
      y->push_back(i % 2 == 0 ? static_cast<uint16_t>(generator())
                              : static_cast<uint16_t>((x->back() + change) ^ (generator() & 0x8000)));
    }
    if (x->size() % 2 != 0) x->push_back(0), y->push_back(0);
    for (size_t i = 0; i < x->size(); ++i) {
      const uint16_t product = format().rounded(-format().value((*x)[i]) * format().value((*y)[i]));
      z->push_back(i % 3 == 0 ? static_cast<uint16_t>(generator()) : i % 3 == 1 ? product : product ^ 1);
    }
  }
  std::vector<double> values(const Bits &bits) const {
    std::vector<double> result;
    for (uint16_t number : bits) result.push_back(format().value(number));
    return result;
  }
  std::mt19937_64 generator{23};
  std::unique_ptr<foreign::Module> module;
};

TEST_P(HalfTest, FunctionsOfOneNumber) {
  const Bits all = all_numbers();
  const foreign::Array<uint16_t> x(all);
  const auto check = [&](const char *name, const char *pairs, double (*function)(double)) {
    std::vector<double> exact = values(all);
    for (double &value : exact) value = function(value);
    const Bits scalar = run<uint16_t>(name, all.size(), all.size(), x, x, x);
    const Bits paired = run<uint16_t>(pairs, all.size() / 2, all.size(), x, x, x);
    if (std::string(name) == "htanh_approx") {
      for (const Bits &results : {scalar, paired}) {
        for (size_t i = 0; i < all.size(); ++i) {
          if (std::isnan(exact[i])) {
            ASSERT_TRUE(format().is_nan(results[i])) << name;
          } else {
            ASSERT_NEAR(format().value(results[i]), exact[i], GetParam().approximate_tanh) << name;
          }
        }
      }
      return;
    }
    const bool exactly = name[0] == '_' || function == static_cast<double (*)(double)>(real::ceil);
    compare(name, scalar, exact, exactly ? 0 : 1);
    compare(pairs, paired, exact, exactly ? 0 : 1);
  };
#define CHECK_UNARY(name, pairs, function) check(#name, #pairs, [](double x) -> double { return real::function(x); });
  HALF_UNARY(CHECK_UNARY)
}

TEST_P(HalfTest, FunctionsOfTwoAndThreeNumbers) {
  Bits a, b, c;
  make_pairs(&a, &b, &c);
  const foreign::Array<uint16_t> x(a), y(b), z(c);
  const std::vector<double> first = values(a), second = values(b), third = values(c);
  std::vector<double> exact(a.size());
  const auto check = [&](const char *name, const char *pairs, int ulps) {
    compare(name, run<uint16_t>(name, a.size(), a.size(), x, y, z), exact, ulps);
    compare(pairs, run<uint16_t>(pairs, a.size() / 2, a.size(), x, y, z), exact, ulps);
  };
#define CHECK_BINARY(name, pairs, function)                                                 \
  for (size_t i = 0; i < exact.size(); ++i) exact[i] = real::function(first[i], second[i]); \
  check(#name, #pairs, 0);
  HALF_BINARY(CHECK_BINARY)
#define CHECK_TERNARY(name, pairs, function)                                                          \
  for (size_t i = 0; i < exact.size(); ++i) exact[i] = real::function(first[i], second[i], third[i]); \
  check(#name, #pairs, 0);
  HALF_TERNARY(CHECK_TERNARY)
}

TEST_P(HalfTest, Comparisons) {
  Bits a, b, c;
  make_pairs(&a, &b, &c);
  for (size_t i = 0; i < a.size(); i += 7) b[i] = a[i];
  const foreign::Array<uint16_t> x(a), y(b);
  const size_t count = a.size();
  const uint16_t one = format().rounded(1);
  const auto check = [&](const std::string &name, const Bits &holds) {
    Bits ones(count), masks(count);
    std::vector<unsigned> both(count / 2);
    for (size_t i = 0; i < count; ++i) {
      ones[i] = holds[i] != 0 ? one : 0;
      masks[i] = holds[i] != 0 ? 0xffff : 0;
      both[i / 2] = holds[i / 2 * 2] & holds[i / 2 * 2 + 1];
    }
    EXPECT_EQ(run<uint16_t>("__h" + name, count, count, x, y, y), holds) << name;
    EXPECT_EQ(run<uint16_t>("__h" + name + "2", count / 2, count, x, y, y), ones) << name;
    EXPECT_EQ(run<uint16_t>("__h" + name + "2_mask", count / 2, count, x, y, y), masks) << name;
    EXPECT_EQ(run<unsigned>("__hb" + name + "2", count / 2, count / 2, x, y, y), both) << name;
  };
  Bits holds(count);
#define CHECK_COMPARE(name, comparison, unordered)                                        \
  for (size_t i = 0; i < count; ++i) {                                                    \
    const double left = format().value(a[i]), right = format().value(b[i]);               \
    holds[i] = std::isnan(left) || std::isnan(right) ? unordered : left comparison right; \
  }                                                                                       \
  check(#name, holds);
  HALF_COMPARE(CHECK_COMPARE)

  const Bits all = all_numbers();
  const foreign::Array<uint16_t> numbers(all);
  Bits nan(all.size()), nan_ones(all.size()), infinite(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    nan[i] = format().is_nan(all[i]);
    nan_ones[i] = nan[i] != 0 ? one : 0;
    infinite[i] = all[i] == format().infinity() ? 1 : all[i] == (format().infinity() | 0x8000) ? 0xffff : 0;
  }
  EXPECT_EQ(run<uint16_t>("__hisnan", all.size(), all.size(), numbers, numbers, numbers), nan);
  EXPECT_EQ(run<uint16_t>("__hisnan2", all.size() / 2, all.size(), numbers, numbers, numbers), nan_ones);
  EXPECT_EQ(run<uint16_t>("__hisinf", all.size(), all.size(), numbers, numbers, numbers), infinite);
}

const std::pair<const char *, Rounding> kModes[] = {
    {"rn", Rounding::nearest}, {"rz", Rounding::zero}, {"rd", Rounding::down}, {"ru", Rounding::up}};

/* As PTX says: the nearest integer of the type; of NaN zero, or of 64 bits the uppermost bit. */
template <typename Integer>
long long integer(double x, Rounding mode) {
  using Limits = std::numeric_limits<Integer>;
  if (std::isnan(x)) return sizeof(Integer) == 8 ? std::numeric_limits<long long>::min() : 0;
  x = mode == Rounding::nearest ? std::nearbyint(x)
      : mode == Rounding::zero  ? std::trunc(x)
      : mode == Rounding::down  ? std::floor(x)
                                : std::ceil(x);
  /* Beyond the largest comes a power of two, which a double holds. */
  if (x >= std::ldexp(1, Limits::digits)) return static_cast<long long>(Limits::max());
  if (x <= static_cast<double>(Limits::min())) return static_cast<long long>(Limits::min());
  return static_cast<long long>(static_cast<Integer>(x));
}

TEST_P(HalfTest, IntegersOfAllNumbers) {
  const Bits all = all_numbers();
  const foreign::Array<uint16_t> x(all);
  const auto check = [&](const std::string &name, long long (*function)(double, Rounding), Rounding mode) {
    std::vector<long long> expected;
    for (uint16_t bits : all) expected.push_back(function(format().value(bits), mode));
    const std::vector<long long> results = run<long long>("to_" + name, all.size(), all.size(), x, x, x);
    for (size_t i = 0; i < all.size(); ++i)
      ASSERT_EQ(results[i], expected[i]) << name << " of " << format().value(all[i]);
  };
#define CHECK_TO_INTEGER(name, Integer, unused) check(std::string(#name "_") + mode, integer<Integer>, rounding);
  for (const auto &[mode, rounding] : kModes) {
    HALF_INTEGERS(CHECK_TO_INTEGER, )
  }
  check("char_rz", integer<signed char>, Rounding::zero);
  check("uchar_rz", integer<unsigned char>, Rounding::zero);
}

TEST_P(HalfTest, NumbersOfIntegers) {
  std::vector<long long> integers;
  for (int i = -70000; i <= 70000; ++i) integers.push_back(i);
  for (int bit = 0; bit < 64; ++bit) {
    for (int near = -2; near <= 2; ++near) {
      /* Powers of two, halves between two numbers, and their neighbours. */
      integers.push_back(static_cast<long long>((uint64_t{1} << bit) + static_cast<uint64_t>(near)));
      integers.push_back(static_cast<long long>((uint64_t{1} << bit) + ((uint64_t{1} << bit) >> format().digits) +
                                                static_cast<uint64_t>(near)));
      integers.push_back(static_cast<long long>(uint64_t{0} - (uint64_t{1} << bit) + static_cast<uint64_t>(near)));
    }
  }
  for (int i = 0; i < 20000; ++i) integers.push_back(static_cast<long long>(generator()) >> generator() % 64);
  const foreign::Array<long long> x(integers);
  const auto check = [&](const std::string &name, double (*real)(long long), Rounding mode) {
    const Bits results = run<uint16_t>("from_" + name, integers.size(), integers.size(), x, x, x);
    for (size_t i = 0; i < integers.size(); ++i) {
      ASSERT_EQ(format().value(results[i]), format().value(format().rounded(real(integers[i]), mode)))
          << name << " of " << integers[i];
    }
  };
#define CHECK_FROM_INTEGER(name, Integer, unused)                                                               \
  check(                                                                                                        \
      std::string(#name "_") + mode, [](long long i) { return foreign::odd_integer(static_cast<Integer>(i)); }, \
      rounding);
  for (const auto &[mode, rounding] : kModes) {
    HALF_INTEGERS(CHECK_FROM_INTEGER, )
  }
}

TEST_P(HalfTest, FloatsAndDoubles) {
  const Bits all = all_numbers();
  const foreign::Array<uint16_t> x(all);
  const std::vector<float> floats = run<float>("to_float", all.size(), all.size(), x, x, x);
  std::vector<float> inputs;
  for (size_t i = 0; i < all.size(); ++i) {
    const auto expected = static_cast<float>(format().value(all[i]));
    ASSERT_TRUE(std::memcmp(&floats[i], &expected, sizeof expected) == 0 ||
                (std::isnan(expected) && std::isnan(floats[i])))
        << format().value(all[i]);
    /* The number itself, the half between it and the next, and what is around that. */
    const auto half =
        static_cast<float>((format().value(all[i]) + format().value(static_cast<uint16_t>(all[i] + 1))) / 2);
    for (float near : {expected, half, std::nextafter(half, 0.f), std::nextafter(half, INFINITY)})
      inputs.push_back(near);
  }
  for (int i = 0; i < 100000; ++i) {
    const auto bits = static_cast<uint32_t>(generator());
    float number;
    std::memcpy(&number, &bits, sizeof number);
    inputs.push_back(number);
  }
  const foreign::Array<float> device_inputs(inputs);
  std::vector<double> exact(inputs.begin(), inputs.end());
  for (const auto &[mode, rounding] : kModes) {
    const Bits results =
        run<uint16_t>(std::string("from_float_") + mode, inputs.size(), inputs.size(), device_inputs, x, x);
    for (size_t i = 0; i < inputs.size(); ++i) {
      const uint16_t expected = format().rounded(exact[i], rounding);
      ASSERT_TRUE(results[i] == expected || (format().is_nan(results[i]) && format().is_nan(expected)))
          << mode << " of " << inputs[i] << ": " << format().value(results[i]) << ", not " << format().value(expected);
    }
  }
  compare("__floats2", run<uint16_t>("from_floats_rn", inputs.size() / 2, inputs.size(), device_inputs, x, x), exact);

  /* Doubles a little off the halves: a rounding by way of float would be wrong. */
  std::vector<double> doubles;
  for (float input : inputs) {
    doubles.push_back(input);
    doubles.push_back(std::nextafter(static_cast<double>(input), INFINITY));
    doubles.push_back(std::nextafter(static_cast<double>(input), -INFINITY));
  }
  const foreign::Array<double> device_doubles(doubles);
  compare("__double2", run<uint16_t>("from_double_rn", doubles.size(), doubles.size(), device_doubles, x, x), doubles);
}

INSTANTIATE_TEST_SUITE_P(Types, HalfTest, ::testing::ValuesIn(kTypes),
                         [](const auto &information) { return std::string(information.param.module); });

}  // namespace
