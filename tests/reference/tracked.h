/* Arithmetic that carries its own rounding-error estimate, so that tolerances for float kernels are derived, not
 * guessed.
 *
 * A Tracked number is a double together with the variance that float32 arithmetic would have added to it so far.
 * Every operation adds eps^2 * result^2 (eps = 2^-24, half the spacing of float32: the largest relative error of one
 * rounding) and propagates what it was given to first order, rounding errors taken as independent. This is the
 * probabilistic rounding-error analysis of Higham & Mary (SIAM J. Sci. Comput. 41, 2019): errors of n operations grow
 * like sqrt(n), not n. The reference runs on either double or Tracked; tests accept a few standard deviations. */
#ifndef TESTS_REFERENCE_TRACKED_H
#define TESTS_REFERENCE_TRACKED_H

#include <algorithm>
#include <cmath>

namespace reference {

/* Unit roundoff of float32. */
constexpr double kEpsilon = 1.0 / 16777216.0;
/* Largest error of CUDA's elementary functions in units of kEpsilon (2 ulp = 4 half-ulps: "CUDA C++ Programming Guide",
 * mathematical functions; the fast forms of exp and log stay within it for the arguments that occur here). */
constexpr double kFunctionError = 4;

struct Tracked {
  double value = 0, variance = 0;
  Tracked() = default;
  Tracked(double v) : value(v) {} /* exact; implicit, so that formulas read the same for double and Tracked */
  Tracked(double v, double var) : value(v), variance(var) {}
  double deviation() const { return std::sqrt(variance); }
};

inline double square(double x) { return x * x; }
inline Tracked rounded(double value, double variance, double units = 1) {
  return {value, variance + square(units * kEpsilon * value)};
}

inline Tracked operator+(Tracked a, Tracked b) {
  if (a.value == 0 && a.variance == 0) return b;
  if (b.value == 0 && b.variance == 0) return a;
  return rounded(a.value + b.value, a.variance + b.variance);
}
inline Tracked operator-(Tracked a) { return {-a.value, a.variance}; }
inline Tracked operator-(Tracked a, Tracked b) { return a + -b; }
inline Tracked operator*(Tracked a, Tracked b) {
  return rounded(a.value * b.value, square(a.value) * b.variance + square(b.value) * a.variance);
}
inline Tracked operator/(Tracked a, Tracked b) {
  const double q = a.value / b.value;
  return rounded(q, a.variance / square(b.value) + square(q / b.value) * b.variance, 2);
}
inline Tracked &operator+=(Tracked &a, Tracked b) { return a = a + b; }
inline Tracked &operator-=(Tracked &a, Tracked b) { return a = a - b; }
inline Tracked &operator*=(Tracked &a, Tracked b) { return a = a * b; }
inline Tracked &operator/=(Tracked &a, Tracked b) { return a = a / b; }
inline bool operator<(Tracked a, Tracked b) { return a.value < b.value; }
inline bool operator>(Tracked a, Tracked b) { return a.value > b.value; }
inline bool operator<=(Tracked a, Tracked b) { return a.value <= b.value; }
inline bool operator>=(Tracked a, Tracked b) { return a.value >= b.value; }

/* f(x) with derivative f'(x). */
inline Tracked function(double value, double derivative, Tracked x) {
  return rounded(value, square(derivative) * x.variance, kFunctionError);
}
inline Tracked exp(Tracked x) { return function(std::exp(x.value), std::exp(x.value), x); }
inline Tracked log(Tracked x) { return function(std::log(x.value), 1 / x.value, x); }
inline Tracked log1p(Tracked x) { return function(std::log1p(x.value), 1 / (1 + x.value), x); }
inline Tracked expm1(Tracked x) { return function(std::expm1(x.value), std::exp(x.value), x); }
inline Tracked tanh(Tracked x) { return function(std::tanh(x.value), 1 - square(std::tanh(x.value)), x); }
inline Tracked atan(Tracked x) { return function(std::atan(x.value), 1 / (1 + square(x.value)), x); }
inline Tracked sqrt(Tracked x) {
  const double root = std::sqrt(x.value);
  return function(root, root > 0 ? .5 / root : 0, x);
}
/* Sine and cosine are accurate to kFunctionError of 1, not of their value, near their zeros. */
inline Tracked sin(Tracked x) {
  return {std::sin(x.value), square(std::cos(x.value)) * x.variance + square(kFunctionError * kEpsilon)};
}
inline Tracked cos(Tracked x) {
  return {std::cos(x.value), square(std::sin(x.value)) * x.variance + square(kFunctionError * kEpsilon)};
}
inline Tracked pow(Tracked base, double exponent) {
  const double p = std::pow(base.value, exponent);
  return function(p, exponent * p / base.value, base);
}

/* 1/(1 + exp(-x)) by the hardware's exp2 and reciprocal: the argument's rounding is multiplied by its size, and the
 * error of the exponential enters the sum with weight 1 - sigmoid ("CUDA C++ Programming Guide": __expf errs by 2
 * + 1.16 |x| ulp, __fdividef by 2 ulp). */
inline Tracked sigmoid(Tracked x) {
  const double s = 1 / (1 + std::exp(-x.value));
  return rounded(s, square(s * (1 - s)) * x.variance, (1 - s) * (std::fabs(x.value) + 4) + 3);
}
inline double softplus(double x) { return std::log1p(std::exp(-std::fabs(x))) + std::fmax(x, 0); }
inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/* The hardware's approximate tanh errs by 2^-11 of its value ("PTX ISA", tanh.approx.f32), and sigmoid made of it,
 * (1 + tanh(x/2))/2, by half of that. */
constexpr double kApproximateTanh = 1.0 / 2048;
inline double approximate_tanh(double x) { return std::tanh(x); }
inline Tracked approximate_tanh(Tracked x) {
  const double t = std::tanh(x.value);
  return rounded(t, square(1 - t * t) * x.variance, kApproximateTanh / kEpsilon);
}
template <typename Real>
Real approximate_sigmoid(Real x) {
  return 0.5 * approximate_tanh(0.5 * x) + 0.5;
}

/* The variance of what jumps by `jump` where a number's error exceeds `distance` in its direction (a sign that turns, a
 * number that rounds to the neighbour): jump^2 times the probability, the error being normal. Tests accept errors of
 * kReach deviations, so a jump that takes no more must be within as many deviations of its own. */
constexpr double kReach = 8;
inline double jump_variance(double jump, double distance, double variance) {
  if (square(distance) > square(kReach) * variance || variance == 0) return 0;
  return square(jump) * std::fmax(0.5 * std::erfc(std::fabs(distance) / std::sqrt(2 * variance)), 1 / square(kReach));
}
/* `high` where x > 0, else `low`; either where the sign is not certain. */
inline double by_sign(double x, double low, double high) { return x > 0 ? high : low; }
inline Tracked by_sign(Tracked x, Tracked low, Tracked high) {
  const Tracked taken = x.value > 0 ? high : low;
  return {taken.value, taken.variance + jump_variance(high.value - low.value, x.value, x.variance)};
}

/* Rounding to `bits` of fraction as kernels round the factors of products, ties away from zero (tf32) or to even
 * (bf16). An uncertain number may round to the neighbour. Numbers below 2^least are rounded as 2^least is. */
inline double rounded_to(double x, int bits, bool even = false, int least = -1000) {
  if (x == 0) return x;
  const double spacing = std::ldexp(1.0, std::max(std::ilogb(x), least) - bits), units = std::fabs(x) / spacing;
  return std::copysign((even ? std::nearbyint(units) : std::floor(units + 0.5)) * spacing, x);
}
inline Tracked rounded_to(Tracked x, int bits, bool even = false, int least = -1000) {
  if (x.value == 0) return x;
  const double spacing = std::ldexp(1.0, std::max(std::ilogb(x.value), least) - bits);
  return {rounded_to(x.value, bits, even, least),
          x.variance + square(spacing) * std::fmin(1.0, 4 * x.deviation() / spacing)};
}

/* The same where many roundings follow one another: rounded_to() takes the tie to be anywhere, and behind ten of them
 * the deviations would be several times too large; this one knows how far the nearest tie is. */
inline double rounded_near_ties(double x, int bits, bool even) { return rounded_to(x, bits, even); }
inline Tracked rounded_near_ties(Tracked x, int bits, bool even) {
  if (x.value == 0) return x;
  const double spacing = std::ldexp(1.0, std::ilogb(x.value) - bits), units = std::fabs(x.value) / spacing;
  const double distance = std::fabs(units - std::floor(units) - 0.5) * spacing;
  return {rounded_to(x.value, bits, even), x.variance + jump_variance(spacing, distance, x.variance)};
}

/* The number without its error estimate, for decisions and for comparing. */
inline double value_of(double x) { return x; }
inline double value_of(Tracked x) { return x.value; }
inline double deviation_of(double) { return 0; }
inline double deviation_of(Tracked x) { return x.deviation(); }

}  // namespace reference

#endif
