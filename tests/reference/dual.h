/* Numbers with a derivative along one direction; nested, with a second one along another. The reference differentiates
 * its own reverse pass with them, a way that the kernels do not take. */
#ifndef TESTS_REFERENCE_DUAL_H
#define TESTS_REFERENCE_DUAL_H

#include "tests/reference/tracked.h"

namespace reference {

template <typename Real>
struct Dual {
  Real value = 0.0, along = 0.0;
  Dual() = default;
  Dual(double v) : value(v) {} /* a constant; implicit, as Tracked's */
  Dual(Real v, Real a) : value(v), along(a) {}
};

template <typename Real>
Dual<Real> operator+(Dual<Real> a, Dual<Real> b) {
  return {a.value + b.value, a.along + b.along};
}
template <typename Real>
Dual<Real> operator-(Dual<Real> a) {
  return {-a.value, -a.along};
}
template <typename Real>
Dual<Real> operator-(Dual<Real> a, Dual<Real> b) {
  return a + -b;
}
template <typename Real>
Dual<Real> operator*(Dual<Real> a, Dual<Real> b) {
  return {a.value * b.value, a.along * b.value + a.value * b.along};
}
template <typename Real>
Dual<Real> operator/(Dual<Real> a, Dual<Real> b) {
  const Real q = a.value / b.value;
  return {q, (a.along - q * b.along) / b.value};
}
#define MIXED(op)                                  \
  template <typename Real>                         \
  Dual<Real> operator op(double a, Dual<Real> b) { \
    return Dual<Real>(a) op b;                     \
  }                                                \
  template <typename Real>                         \
  Dual<Real> operator op(Dual<Real> a, double b) { \
    return a op Dual<Real>(b);                     \
  }
MIXED(+)
MIXED(-)
MIXED(*)
MIXED(/)
#undef MIXED
template <typename Real>
Dual<Real> &operator+=(Dual<Real> &a, Dual<Real> b) {
  return a = a + b;
}
template <typename Real>
Dual<Real> &operator/=(Dual<Real> &a, Dual<Real> b) {
  return a = a / b;
}

template <typename Real>
double value_of(Dual<Real> x) {
  return value_of(x.value);
}

/* f(x) by its value and derivative at x.value. */
template <typename Real>
Dual<Real> chain(Real value, Real slope, Dual<Real> x) {
  return {value, slope * x.along};
}
template <typename Real>
Dual<Real> exp(Dual<Real> x) {
  using std::exp;
  const Real e = exp(x.value);
  return chain(e, e, x);
}
template <typename Real>
Dual<Real> log(Dual<Real> x) {
  using std::log;
  return chain(Real(log(x.value)), 1.0 / x.value, x);
}
template <typename Real>
Dual<Real> log1p(Dual<Real> x) {
  using std::log1p;
  return chain(Real(log1p(x.value)), 1.0 / (1.0 + x.value), x);
}
template <typename Real>
Dual<Real> expm1(Dual<Real> x) {
  using std::exp;
  using std::expm1;
  return chain(Real(expm1(x.value)), Real(exp(x.value)), x);
}
template <typename Real>
Dual<Real> tanh(Dual<Real> x) {
  using std::tanh;
  const Real t = tanh(x.value);
  return chain(t, 1.0 - t * t, x);
}
template <typename Real>
Dual<Real> sqrt(Dual<Real> x) {
  using std::sqrt;
  const Real r = sqrt(x.value);
  return chain(r, 0.5 / r, x);
}
template <typename Real>
Dual<Real> sigmoid(Dual<Real> x) {
  const Real s = sigmoid(x.value);
  return chain(s, s * (1.0 - s), x);
}

/* Errors and roundings of tensor cores: their networks have no derivatives to be differentiated. */
template <typename Real>
Dual<Real> with_pair_error(Dual<Real> x) {
  return x;
}
template <typename Real>
Dual<Real> rounded_to(Dual<Real> x, int, bool = false, int = -1000) {
  return x;
}
template <typename Real>
Dual<Real> approximate_tanh(Dual<Real> x) {
  return tanh(x);
}

}  // namespace reference

#endif
