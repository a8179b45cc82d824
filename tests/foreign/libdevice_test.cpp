/* libdevice's mathematics on the virtual GPU is as accurate as CUDA documents it to be on hardware: all functions of
 * its tables. The reference is computed with 113 bits (glibc's functions of _Float128) and rounded correctly to float
 * and double, and errors are counted in ulps of the exact value. */
#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/foreign/kernels/libdevice_functions.h"
#include "tests/foreign/support.h"

#if defined(__HAVE_FLOAT128) && __HAVE_FLOAT128

namespace {

using Quad = _Float128;

const Quad kPi = 4 * ::atanf128(1);
const Quad kInfinity = HUGE_VAL, kNan = NAN;

/* ---- the functions of real numbers ---- */

template <typename Number>
struct Function {
  const char *name;
  Quad (*exact)(const Number *);
  double ulps;
};

namespace real {

#define STANDARD(name) \
  Quad name(Quad x) { return ::name##f128(x); }
STANDARD(cbrt)
STANDARD(exp)
STANDARD(exp2)
STANDARD(exp10)
STANDARD(expm1)
STANDARD(log)
STANDARD(log2)
STANDARD(log10)
STANDARD(log1p)
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
STANDARD(logb)
STANDARD(j0)
STANDARD(j1)
STANDARD(y0)
STANDARD(y1)
STANDARD(trunc)
STANDARD(round)
STANDARD(rint)
STANDARD(nearbyint)
STANDARD(ceil)
STANDARD(floor)

Quad rsqrt(Quad x) { return 1 / ::sqrtf128(x); }
Quad rcbrt(Quad x) { return 1 / ::cbrtf128(x); }
Quad sincos_sin(Quad x) { return sin(x); }
Quad sincos_cos(Quad x) { return cos(x); }
/* C leaves the poles of the gamma function to the implementation; CUDA says NaN, and infinity of the zero's sign. */
Quad tgamma(Quad x) { return x < 0 && x == floor(x) ? kNan : ::tgammaf128(x); }

/* With the argument brought to [-1/4, 1/4] exactly, so that the zeros are exact. */
Quad sinpi(Quad x) {
  if (!(::fabsf128(x) < kInfinity)) return kNan;
  const Quad r = ::remainderf128(x, 2), a = ::fabsf128(r);
  if (r == 0 || a == 1) return ::copysignf128(0, x);
  return ::copysignf128(a <= .25 ? sin(kPi * a) : a < .75 ? cos(kPi * (Quad(.5) - a)) : sin(kPi * (1 - a)), r);
}
Quad cospi(Quad x) {
  if (!(::fabsf128(x) < kInfinity)) return kNan;
  const Quad a = ::fabsf128(::remainderf128(x, 2));
  return a <= .25 ? cos(kPi * a) : a < .75 ? sin(kPi * (Quad(.5) - a)) : -cos(kPi * (1 - a));
}
Quad sincospi_sin(Quad x) { return sinpi(x); }
Quad sincospi_cos(Quad x) { return cospi(x); }

/* exp(x^2) erfc(x); for large x by the asymptotic series, whose terms are used while each is below 1/100 of the one
 * before. */
Quad erfcx(Quad x) {
  if (x < 60) return exp(x * x) * erfc(x);
  Quad term = 1 / (x * ::sqrtf128(kPi)), sum = 0;
  for (int k = 1; k < 30; ++k) sum += term, term *= -(2 * k - 1) / (2 * x * x);
  return sum;
}
Quad normcdf(Quad x) { return erfc(-x / ::sqrtf128(2)) / 2; }

/* Newton's steps, from a start that is right to some three digits. */
Quad erfinv(Quad x);
Quad erfcinv(Quad y) {
  if (!(y >= 0 && y <= 2)) return kNan;
  if (y == 0 || y == 2) return y == 0 ? kInfinity : -kInfinity;
  if (y > 1) return -erfcinv(2 - y);
  if (y > .5) return erfinv(1 - y);
  const Quad a = .147, t = log(y * (2 - y)), u = 2 / (kPi * a) + t / 2;
  Quad x = ::sqrtf128(::sqrtf128(u * u - t / a) - u);
  for (int step = 0; step < 5; ++step) {
    const Quad value = erfc(x);
    x += log(value / y) * value * ::sqrtf128(kPi) / 2 * exp(x * x);
  }
  return x;
}
Quad erfinv(Quad x) {
  if (x < 0) return -erfinv(-x);
  if (!(x < .5)) return erfcinv(1 - x);
  Quad result = x * ::sqrtf128(kPi) / 2;
  for (int step = 0; step < 6; ++step) result -= (erf(result) - x) * ::sqrtf128(kPi) / 2 * exp(result * result);
  return result;
}
Quad normcdfinv(Quad p) { return -::sqrtf128(2) * erfcinv(2 * p); }

Quad jn_128(Quad x) { return ::jnf128(128, x); }
Quad yn_3(Quad x) { return ::ynf128(3, x); }

/* The power series, of positive terms. Beyond 750 a double is too small for them. */
Quad bessel_i(int order, Quad x) {
  if (!(::fabsf128(x) < 750)) return x < 0 && order == 1 ? x * kInfinity : ::fabsf128(x * kInfinity);
  const Quad square = x * x / 4;
  Quad term = order == 0 ? Quad(1) : x / 2, sum = 0;
  for (int k = 1; sum + term != sum; ++k) sum += term, term *= square / (Quad(k) * (k + order));
  return sum + term;
}
Quad cyl_bessel_i0(Quad x) { return bessel_i(0, x); }
Quad cyl_bessel_i1(Quad x) { return bessel_i(1, x); }

Quad frexp_fraction(Quad x) {
  int exponent = 0;
  return ::frexpf128(x, &exponent);
}
Quad frexp_exponent(Quad x) {
  int exponent = 0;
  ::frexpf128(x, &exponent);
  return ::fabsf128(x) < kInfinity ? exponent : 0;
}
Quad modf_fraction(Quad x) {
  Quad whole = 0;
  return ::modff128(x, &whole);
}
Quad modf_whole(Quad x) {
  Quad whole = 0;
  ::modff128(x, &whole);
  return whole;
}
Quad ilogb_number(Quad x) { return ::ilogbf128(x); }

Quad pow(Quad x, Quad y) { return ::powf128(x, y); }
Quad atan2(Quad y, Quad x) { return ::atan2f128(y, x); }
Quad hypot(Quad x, Quad y) { return ::hypotf128(x, y); }
Quad rhypot(Quad x, Quad y) { return 1 / hypot(x, y); }
Quad fmod(Quad x, Quad y) { return ::fmodf128(x, y); }
Quad remainder(Quad x, Quad y) { return ::remainderf128(x, y); }
Quad remquo_remainder(Quad x, Quad y) { return ::remainderf128(x, y); }
Quad remquo_quotient(Quad x, Quad y) {
  int quotient = 0;
  const Quad remainder = ::remquof128(x, y, &quotient);
  return remainder != remainder ? 0 : quotient < 0 ? -(-quotient & 7) : quotient & 7;
}
Quad norm4d(Quad x, Quad y, Quad z, Quad t) {
  for (Quad a : {x, y, z, t}) {
    if (::fabsf128(a) == kInfinity) return kInfinity;
  }
  return ::sqrtf128(x * x + y * y + z * z + t * t); /* a quad's exponents reach further than the squares */
}
Quad rnorm4d(Quad x, Quad y, Quad z, Quad t) { return 1 / norm4d(x, y, z, t); }
Quad norm3d(Quad x, Quad y, Quad z) { return norm4d(x, y, z, 0); }
Quad rnorm3d(Quad x, Quad y, Quad z) { return 1 / norm3d(x, y, z); }

/* What a quad would round twice, IEEE arithmetic of the host rounds once. */
template <typename Number>
struct Host {
  static Number add(Number x, Number y) { return x + y; }
  static Number multiply(Number x, Number y) { return x * y; }
  static Number divide(Number x, Number y) { return x / y; }
  static Number reciprocal(Number x) { return 1 / x; }
  static Number sqrt(Number x) { return std::sqrt(x); }
  static Number fma(Number x, Number y, Number z) { return std::fma(x, y, z); }
  static Number fdim(Number x, Number y) { return std::fdim(x, y); }
  static Number ldexp_by(Number x, Number y) { return std::ldexp(x, exponent(y)); }
  static Number scalbn_by(Number x, Number y) { return std::scalbn(x, exponent(y)); }
  static Number scalbln_by(Number x, Number y) { return std::scalbln(x, exponent(y)); }
  static Number lrint_number(Number x) { return whole(x, std::rint(x)); }
  static Number lround_number(Number x) { return whole(x, std::round(x)); }
  static Number llrint_number(Number x) { return whole(x, std::rint(x)); }
  static Number llround_number(Number x) { return whole(x, std::round(x)); }

 private:
  static int exponent(Number x) {
    using std::fmod;
    using std::isfinite;
    return LIBDEVICE_EXPONENT(x);
  }
  /* An integer has no zero below zero. */
  static Number whole(Number x, Number rounded) { return std::fabs(x) < Number(9e18) ? rounded + 0 : x; }
};

/* ---- the list: every function with its reference ---- */

#define ARGUMENTS_1 a[0]
#define ARGUMENTS_2 a[0], a[1]
#define ARGUMENTS_3 a[0], a[1], a[2]
#define ARGUMENTS_4 a[0], a[1], a[2], a[3]

/* Inside these, a name means the host's arithmetic where there is such, and a function above elsewhere. */
struct Float : Host<float> {
#define FLOAT_ROW(name, arguments, float_ulps, double_ulps) \
  {#name, [](const float *a) { return static_cast<Quad>(name(ARGUMENTS_##arguments)); }, float_ulps},
  static std::vector<Function<float>> functions() { return {LIBDEVICE_FUNCTIONS(FLOAT_ROW)}; }
};
struct Double : Host<double> {
#define DOUBLE_ROW(name, arguments, float_ulps, double_ulps) \
  {#name, [](const double *a) { return static_cast<Quad>(name(ARGUMENTS_##arguments)); }, double_ulps},
  static std::vector<Function<double>> functions() { return {LIBDEVICE_FUNCTIONS(DOUBLE_ROW)}; }
};

}  // namespace real

/* ---- what is promised ---- */

/* An error may be within one of these; where nothing is promised, both are infinite. */
struct Bound {
  double ulps, absolute;
};

template <typename Number>
Bound bound(const Function<Number> &function, Number argument) {
  const bool is_float = sizeof(Number) == sizeof(float);
  const std::string name = function.name;
  const double x = argument, magnitude = std::fabs(x), absolute = is_float ? 2.2e-6 : 5e-12;
  if (function.ulps >= 0) return {function.ulps, 0};
  if (name == "lgamma" && is_float) return {x > -10.001 && x < -2.264 ? INFINITY : 6, 0};
  if (name == "lgamma") return {x > -23.0001 && x < -2.2637 ? INFINITY : 4, 0};
  /* For smaller arguments the recurrence in libdevice's own code overflows, on any device. */
  if (name == "jn_128") return magnitude < 1e-12 ? Bound{INFINITY, INFINITY} : Bound{0, absolute};
  if (name == "yn_3" && is_float) return magnitude < 3 ? Bound{std::ceil(2 + 2.5 * 3), 0} : Bound{0, absolute};
  if (name == "yn_3") return magnitude > 1.5 * 3 ? Bound{0, absolute} : Bound{INFINITY, INFINITY};
  return magnitude < 8 ? Bound{is_float ? 9. : 7., 0} : Bound{0, absolute}; /* j0, j1, y0, y1 */
}

/* ---- arguments ---- */

template <typename Number>
Number random_bits(std::mt19937_64 &random) {
  const uint64_t bits = random();
  Number number;
  std::memcpy(&number, &bits, sizeof number);
  return number;
}

/* Numbers at which functions are hard: ends of ranges, zeros, poles, changes of method, ties of roundings; each with
 * what is near to it on both sides. Then numbers of all magnitudes, of which most are where functions are not trivial.
 */
template <typename Number>
std::vector<Number> inputs(size_t count, unsigned seed) {
  using Limits = std::numeric_limits<Number>;
  std::mt19937_64 random(seed);
  std::vector<Number> spots = {0,
                               Limits::denorm_min(),
                               Limits::min(),
                               Limits::max(),
                               Limits::infinity(),
                               Limits::epsilon(),
                               Limits::quiet_NaN()};
  for (double spot : {.25,
                      .5,
                      .75,
                      1.,
                      1.4142135,
                      1.5,
                      2.,
                      2.2637,
                      2.5,
                      3.,
                      8.,
                      10.,
                      10.05,
                      14.2,
                      26.55,
                      27.2,
                      35.04,
                      38.6,
                      45.15,
                      60.,
                      87.3365,
                      88.7228,
                      91.9,
                      103.972,
                      127.,
                      128.,
                      149.,
                      170.62,
                      171.62,
                      708.396,
                      709.78,
                      713.98,
                      745.13,
                      1022.,
                      1024.,
                      1074.,
                      105615.,
                      8388607.5,
                      16777216.,
                      2147483647.5,
                      4503599627370495.5,
                      9007199254740992.,
                      1e22,
                      3e38})
    spots.push_back(static_cast<Number>(spot));
  for (int k = 1; k <= 12; ++k) spots.push_back(static_cast<Number>(kPi * k / 2));
  for (double zero : {2.404825557695773, 3.8317059702075125, 5.520078110286311, 7.015586669815619, /* of j0, j1 */
                      .8935769662791675, 2.197141326031017, 3.957678419314858, 5.429681040794135}) /* of y0, y1 */
    spots.push_back(static_cast<Number>(zero));
  std::vector<Number> values;
  for (Number spot : spots) {
    Number above = spot, below = spot;
    values.push_back(spot);
    for (int step = 0; step < 4; ++step) {
      values.push_back(above = std::nextafter(above, Limits::infinity()));
      values.push_back(below = std::nextafter(below, -Limits::infinity()));
    }
    for (int k = 3; k < 12; ++k) values.push_back(spot * (1 + std::ldexp(Number(k % 2 == 0 ? 1 : -1), -2 * k)));
  }
  const size_t positive = values.size();
  for (size_t i = 0; i < positive; ++i) values.push_back(-values[i]);
  std::uniform_real_distribution<Number> unit(-1, 1);
  while (values.size() < count) {
    values.push_back(random_bits<Number>(random));
    values.push_back(unit(random));
    values.push_back(10 * unit(random));
    values.push_back(100 * unit(random));
    values.push_back(std::ldexp(unit(random), static_cast<int>(random() % 80) - 40));
    values.push_back(1 + std::ldexp(unit(random), -static_cast<int>(random() % 24)));
    values.push_back(Number(static_cast<int>(random() % 64)) / 4 - 8);
  }
  std::shuffle(values.begin(), values.end(), random);
  values.resize(count);
  return values;
}

/* ---- the comparison ---- */

struct Error {
  double ulps, absolute;
};

template <typename Number>
Error error(Number actual, Quad exact) {
  using Limits = std::numeric_limits<Number>;
  const Number rounded = static_cast<Number>(exact);
  if (std::isnan(rounded) && std::isnan(actual)) return {0, 0};
  if (std::isnan(rounded) || std::isnan(actual)) return {INFINITY, INFINITY};
  if (actual == rounded) return {0, 0};
  /* An infinity stands for the first number that is too large; but an exact infinity, of a pole, must be met. */
  if (exact == kInfinity || exact == -kInfinity) return {INFINITY, INFINITY};
  const auto finite = [](Number x) {
    return std::isinf(x) ? ::copysignf128(::ldexpf128(1, Limits::max_exponent), x) : static_cast<Quad>(x);
  };
  const Quad distance = ::fabsf128(finite(actual) - finite(rounded));
  const int exponent = exact == 0 ? Limits::min_exponent : std::max(::ilogbf128(exact) + 1, Limits::min_exponent);
  return {static_cast<double>(::ldexpf128(distance, Limits::digits - exponent)), static_cast<double>(distance)};
}

class LibdeviceTest : public foreign::Test {
 protected:
  template <typename Number>
  void check(const char *name, const std::vector<Function<Number>> &functions, size_t count) {
    NEEDS_MODULE(name);
    foreign::Module module(name);
    std::vector<Number> arguments[4];
    for (unsigned i = 0; i < 4; ++i) arguments[i] = inputs<Number>(count, i + 1);
    const foreign::Array<Number> x(arguments[0]), y(arguments[1]), z(arguments[2]), t(arguments[3]), result(count);
    const unsigned block = 128, grid = static_cast<unsigned>((count + block - 1) / block);
    std::printf("Shares used of the documented errors: ");
    for (const Function<Number> &function : functions) {
      module.launch(std::string(function.name) + "_kernel", grid, block, x, y, z, t, result, static_cast<int>(count));
      const std::vector<Number> results = result.values();
      size_t wrong = 0;
      double most = 0;
      for (size_t i = 0; i < count; ++i) {
        const Number a[] = {arguments[0][i], arguments[1][i], arguments[2][i], arguments[3][i]};
        const Quad exact = function.exact(a);
        const Error off = error(results[i], exact);
        const Bound allowed = bound(function, a[0]);
        const bool signs_differ = function.ulps == 0 && results[i] == 0 &&
                                  std::signbit(results[i]) != std::signbit(static_cast<Number>(exact));
        if (allowed.ulps < INFINITY)
          most = std::max(most, std::min(off.ulps / allowed.ulps, off.absolute / allowed.absolute));
        if ((off.ulps <= allowed.ulps || off.absolute <= allowed.absolute) && !signs_differ) continue;
        if (++wrong > 3) continue; /* counted only */
        ADD_FAILURE() << function.name << "(" << a[0] << ", " << a[1] << ", " << a[2] << ", " << a[3]
                      << ") = " << results[i] << ", not " << static_cast<Number>(exact) << ": " << off.ulps << " ulps, "
                      << off.absolute << "; allowed are " << allowed.ulps << ", " << allowed.absolute;
      }
      EXPECT_EQ(wrong, 0u) << function.name;
      if (most > 0) std::printf("%s %.0f%%  ", function.name, 100 * most);
    }
    std::printf("\n");
  }
};

TEST_F(LibdeviceTest, FloatFunctionsKeepTheDocumentedErrors) {
  check<float>("libdevice_float", real::Float::functions(), 12000);
}
TEST_F(LibdeviceTest, DoubleFunctionsKeepTheDocumentedErrors) {
  check<double>("libdevice_double", real::Double::functions(), 8000);
}

}  // namespace

#else
TEST(LibdeviceTest, FunctionsKeepTheDocumentedErrors) { GTEST_SKIP() << "this compiler has no _Float128"; }
#endif
