/* libdevice's mathematics on the virtual GPU is as accurate as CUDA documents it to be on hardware. The reference is
 * glibc's long double functions: eleven bits more than a double, so that a bound of whole ulps needs no allowance but a
 * hundredth of an ulp. */
#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/foreign/kernels/libdevice_functions.h"
#include "tests/foreign/support.h"

namespace {

using Real = long double;

const Real kPi = 3.14159265358979323846264338327950288L;

namespace real {

#define STANDARD(name) \
  Real name(Real x) { return std::name(x); }
STANDARD(exp)
STANDARD(exp2)
STANDARD(expm1)
STANDARD(log)
STANDARD(log2)
STANDARD(log10)
STANDARD(log1p)
STANDARD(sqrt)
STANDARD(cbrt)
STANDARD(sin)
STANDARD(cos)
STANDARD(tan)
STANDARD(asin)
STANDARD(acos)
STANDARD(atan)
STANDARD(sinh)
STANDARD(cosh)
STANDARD(tanh)
STANDARD(asinh)
STANDARD(acosh)
STANDARD(atanh)
STANDARD(erf)
STANDARD(erfc)
STANDARD(lgamma)
STANDARD(rint)
STANDARD(round)
STANDARD(trunc)
STANDARD(floor)
STANDARD(ceil)
Real exp10(Real x) { return std::pow(Real{10}, x); }
Real rsqrt(Real x) { return 1 / std::sqrt(x); }
Real rcbrt(Real x) { return 1 / std::cbrt(x); }
/* C leaves the poles of the gamma function to the implementation; CUDA says NaN, and infinity of the zero's sign. */
Real tgamma(Real x) { return x < 0 && x == std::floor(x) ? NAN : std::tgamma(x); }
/* With the argument brought to [-1/4, 1/4] exactly, so that the zeros are exact. */
Real sinpi(Real x) {
  if (!std::isfinite(x)) return NAN;
  const Real r = std::remainder(x, Real{2}), a = std::fabs(r);
  if (r == 0 || a == 1) return std::copysign(Real{0}, x);
  const Real value = a <= .25L ? std::sin(kPi * a) : a < .75L ? std::cos(kPi * (.5L - a)) : std::sin(kPi * (1 - a));
  return std::copysign(value, r);
}
Real cospi(Real x) {
  if (!std::isfinite(x)) return NAN;
  const Real a = std::fabs(std::remainder(x, Real{2}));
  return a <= .25L ? std::cos(kPi * a) : a < .75L ? std::sin(kPi * (.5L - a)) : -std::cos(kPi * (1 - a));
}
Real normcdf(Real x) { return std::erfc(-x / std::sqrt(Real{2})) / 2; }
/* exp(x^2) erfc(x); beyond 100 by the asymptotic series, whose third term is then below 2^-53 of the first. */
Real erfcx(Real x) {
  if (x > 100) return (1 - 1 / (2 * x * x) + 3 / (4 * x * x * x * x)) / (x * std::sqrt(kPi));
  return std::exp(x * x) * std::erfc(x);
}

#define STANDARD_BINARY(name) \
  Real name(Real x, Real y) { return std::name(x, y); }
STANDARD_BINARY(pow)
STANDARD_BINARY(atan2)
STANDARD_BINARY(hypot)
STANDARD_BINARY(fmod)
STANDARD_BINARY(remainder)
STANDARD_BINARY(fdim)

}  // namespace real

template <typename Number>
struct Function {
  const char *name;
  Real (*unary)(Real);
  Real (*binary)(Real, Real);
  double ulps;
};

#define UNARY(name, function, ulps) {#name, real::function, nullptr, ulps},
#define BINARY(name, function, ulps) {#name, nullptr, real::function, ulps},
const std::vector<Function<float>> kFloat = {FLOAT_UNARY(UNARY) FLOAT_BINARY(BINARY)};
const std::vector<Function<double>> kDouble = {DOUBLE_UNARY(UNARY) DOUBLE_BINARY(BINARY)};

template <typename Number>
Number random_bits(std::mt19937_64 &random) {
  const uint64_t bits = random();
  Number number;
  std::memcpy(&number, &bits, sizeof number);
  return number;
}

/* Special values and numbers of all magnitudes, of which most are where the functions are not trivial. */
template <typename Number>
std::vector<Number> inputs(size_t count, unsigned seed) {
  using Limits = std::numeric_limits<Number>;
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<Number> unit(-1, 1);
  std::vector<Number> values;
  for (Number x : {Number{0},         Limits::denorm_min(), Limits::min(),   Limits::max(), Limits::infinity(),
                   Limits::epsilon(), Limits::quiet_NaN(),  Number(.25),     Number(.5),    Number(.75),
                   Number(1),         Number(1.5),          Number(2),       Number(2.5),   Number(3),
                   Number(10),        Number(88.7),         Number(104),     Number(128),   Number(kPi),
                   Number(kPi / 2),   Number(8388607.5),    Number(16777216)}) {
    for (Number sign : {Number(1), Number(-1)}) {
      values.push_back(sign * x);
      values.push_back(sign * std::nextafter(x, Limits::infinity()));
      values.push_back(sign * std::nextafter(x, Number(0)));
    }
  }
  while (values.size() < count) {
    values.push_back(random_bits<Number>(random));
    values.push_back(unit(random));
    values.push_back(10 * unit(random));
    values.push_back(100 * unit(random));
    values.push_back(std::ldexp(unit(random), static_cast<int>(random() % 80) - 40));
    values.push_back(1 + std::ldexp(unit(random), -static_cast<int>(random() % 24)));
    values.push_back(Number(static_cast<int>(random() % 64)) / 4 - 8);
  }
  values.resize(count);
  return values;
}

/* The distance in units in the last place of Number at the exact value. */
template <typename Number>
double ulps(Number actual, Real exact) {
  using Limits = std::numeric_limits<Number>;
  if (std::isnan(exact) || std::isnan(actual)) return std::isnan(exact) && std::isnan(actual) ? 0 : INFINITY;
  const Number rounded = static_cast<Number>(exact);
  if (std::isinf(rounded) && actual == rounded) return 0;
  if (std::isinf(exact)) return INFINITY;
  /* An infinity stands for the first number that is too large. */
  const Real value = std::isinf(actual) ? std::copysign(std::ldexp(Real{1}, Limits::max_exponent), Real{actual})
                                        : static_cast<Real>(actual);
  const int exponent = exact == 0 ? Limits::min_exponent : std::max(std::ilogb(exact) + 1, Limits::min_exponent);
  return static_cast<double>(std::fabs(value - exact) / std::ldexp(Real{1}, exponent - Limits::digits));
}

class LibdeviceTest : public foreign::Test {
 protected:
  template <typename Number>
  void check(const char *name, const std::vector<Function<Number>> &functions, size_t count) {
    NEEDS_MODULE(name);
    foreign::Module module(name);
    const std::vector<Number> x = inputs<Number>(count, 1);
    std::vector<Number> y = inputs<Number>(count, 2);
    std::shuffle(y.begin(), y.end(), std::mt19937_64(3));
    foreign::Array<Number> device_x(x), device_y(y), device_result(count);
    const unsigned block = 128, grid = static_cast<unsigned>((count + block - 1) / block);
    for (const Function<Number> &function : functions) {
      module.launch(std::string(function.name) + "_kernel", grid, block, device_x, device_y, device_result,
                    static_cast<int>(count));
      const std::vector<Number> result = device_result.values();
      double largest = 0;
      size_t at = 0;
      for (size_t i = 0; i < count; ++i) {
        const double error = ulps(result[i], exact(function, x[i], y[i]));
        if (!outside(function, x[i]) && error > largest) largest = error, at = i;
      }
      /* The documented bound is on the distance from the correctly rounded result, half an ulp from the exact one. */
      EXPECT_LE(largest, function.ulps + .51) << function.name << "(" << x[at] << ", " << y[at] << ") = " << result[at]
                                              << ", not " << exact(function, x[at], y[at]);
    }
  }

 private:
  template <typename Number>
  static Real exact(const Function<Number> &function, Number x, Number y) {
    return function.unary != nullptr ? function.unary(x) : function.binary(x, y);
  }
  /* Near the zeros of log gamma left of -2 the documentation promises nothing. */
  template <typename Number>
  static bool outside(const Function<Number> &function, Number x) {
    return function.unary == real::lgamma && x < -2.25 && x > -23.1;
  }
};

TEST_F(LibdeviceTest, FloatFunctionsKeepTheDocumentedErrors) { check<float>("libdevice_float", kFloat, 20000); }
TEST_F(LibdeviceTest, DoubleFunctionsKeepTheDocumentedErrors) { check<double>("libdevice_double", kDouble, 6000); }

}  // namespace
