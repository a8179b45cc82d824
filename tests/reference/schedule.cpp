/* Schedules, paths, conversions and weights. */
#include "tests/reference/schedule.h"

#include <algorithm>
#include <stdexcept>

namespace reference {

using std::cos, std::exp, std::log, std::sin, std::sqrt;

/* The increasing shape F with F(1) - F(t) and F'(t). */
template <typename Real>
struct Shape {
  Real f, rest, prime;
};

template <typename Real>
static Shape<Real> shape_at(const Settings &settings, Real t) {
  const auto &s = settings.schedule;
  if (s.type == "linear") return {t, 1.0 - t, 1.0};
  if (s.type == "cosine") {
    const Real angle = (t + s.s) * (M_PI / 2 / (1 + s.s));
    const Real sine = sin(angle), cosine = cos(angle);
    return {sine * sine, cosine * cosine, sine * cosine * (M_PI / (1 + s.s))};
  }
  if (s.type == "sigmoid" || s.type == "logistic") {
    const Real f = sigmoid(s.k * (t - s.t_mid));
    return {f, sigmoid(Real(s.k * (1 - s.t_mid))) - f, s.k * f * sigmoid(-s.k * (t - s.t_mid))};
  }
  throw std::invalid_argument("the reference does not know the schedule " + s.type);
}

template <typename Real>
ScheduleValues<Real> schedule_at(const Settings &settings, Real t) {
  const auto &s = settings.schedule;
  const Shape<Real> shape = shape_at(settings, t);
  ScheduleValues<Real> v;
  const bool logistic = s.type == "sigmoid" || s.type == "logistic";
  if (s.renormalise) {
    const double low = shape_at(settings, 0.0).f, span = shape_at(settings, 1.0).f - low;
    v.alpha_bar = s.low + (s.high - s.low) * ((shape.f - low) / span);
    v.one_minus_alpha_bar = (1 - s.high) + (s.high - s.low) * (shape.rest / span);
    v.alpha_bar_prime = (s.high - s.low) / span * shape.prime;
  } else if (s.type == "linear") {
    v.alpha_bar = s.low + (s.high - s.low) * t;
    v.one_minus_alpha_bar = (1 - s.high) + (s.high - s.low) * (1.0 - t);
    v.alpha_bar_prime = s.high - s.low;
  } else if (logistic) {
    v.alpha_bar = shape.f;
    v.one_minus_alpha_bar = sigmoid(-s.k * (t - s.t_mid));
    v.alpha_bar_prime = shape.prime;
  } else { /* cosine: alpha_bar is clipped, its derivative is not (survey 4.1) */
    v.alpha_bar = shape.f;
    v.one_minus_alpha_bar = shape.rest;
    if (value_of(shape.f) < 0.001) v.alpha_bar = 0.001, v.one_minus_alpha_bar = 0.999;
    if (value_of(shape.f) > 0.999) v.alpha_bar = 0.999, v.one_minus_alpha_bar = 0.001;
    v.alpha_bar_prime = shape.prime;
  }
  v.snr = v.alpha_bar / v.one_minus_alpha_bar;
  v.gamma = log(v.snr);
  v.gamma_prime = v.alpha_bar_prime / (v.alpha_bar * v.one_minus_alpha_bar);
  v.snr_prime = v.gamma_prime * v.snr;
  return v;
}

template <typename Real>
Path<Real> path_at(const Settings &settings, Real t) {
  Path<Real> p;
  p.t = t;
  p.schedule = schedule_at(settings, t);
  if (settings.linear_path()) {
    p.a = t;
    p.b = 1.0 - t;
    p.la = 1.0 / t;
    p.lb = -1.0 / (1.0 - t);
    p.r = 1.0 / (t * (1.0 - t));
  } else {
    p.a = sqrt(p.schedule.alpha_bar);
    p.b = sqrt(p.schedule.one_minus_alpha_bar);
    p.la = 0.5 * p.schedule.gamma_prime * p.schedule.one_minus_alpha_bar;
    p.lb = -0.5 * p.schedule.gamma_prime * p.schedule.alpha_bar;
    p.r = 0.5 * p.schedule.gamma_prime;
  }
  return p;
}

template <typename Real>
Combination<Real> convert(const Path<Real> &p, const std::string &from, const std::string &to) {
  if (from == to) return {0.0, 1.0};
  if (to == "velocity") {
    if (from == "target") return {p.lb, p.r * p.a};
    return {p.la, -(p.r * p.b)};
  }
  if (to == "target") {
    if (from == "velocity") return {-p.lb / (p.r * p.a), 1.0 / (p.r * p.a)};
    return {1.0 / p.a, -(p.b / p.a)};
  }
  if (to == "noise") {
    if (from == "velocity") return {p.la / (p.r * p.b), -1.0 / (p.r * p.b)};
    return {1.0 / p.b, -(p.a / p.b)};
  }
  if (to == "ou_mean") {
    const Combination<Real> target = convert(p, from, "target");
    const Real root = sqrt(p.schedule.alpha_bar), half = 0.5 * (1.0 + p.schedule.alpha_bar);
    return {p.schedule.gamma_prime * (root * target.state - half), p.schedule.gamma_prime * (root * target.prediction)};
  }
  throw std::invalid_argument("the reference does not know the quantity " + to);
}

template <typename Real>
Real snr_prime_at(const Settings &settings, const Path<Real> &p) {
  if (!settings.linear_path()) return p.schedule.snr_prime;
  const Real rest = 1.0 - p.t;
  return 2.0 * p.t / (rest * rest * rest);
}

template <typename Real>
Real weight_at(const Settings &settings, const Path<Real> &p) {
  const std::string &weight = settings.loss.weight, predicted = settings.predicted();
  const auto &s = p.schedule;
  if (weight == "uniform") return 1.0;
  if (weight == "t") return p.t;
  if (weight == "drift") return 1.0 / (s.one_minus_alpha_bar * s.gamma_prime);
  if (weight == "vp_velocity") return 1.0 / (s.one_minus_alpha_bar * s.alpha_bar * s.gamma_prime);
  if (weight != "elbo") throw std::invalid_argument("the reference does not know the weight " + weight);
  if (predicted == "target") return snr_prime_at(settings, p);
  if (settings.linear_path())
    return predicted == "velocity" ? 2.0 * p.t / (1.0 - p.t) : Real(2.0) / (p.t * (1.0 - p.t));
  return predicted == "noise" ? s.gamma_prime : Real(4.0) / (s.gamma_prime * s.one_minus_alpha_bar);
}

template <typename Real>
Real gamma_at(const Settings &settings, Real t) {
  return settings.linear_path() ? 2.0 * log(t / (1.0 - t)) : schedule_at(settings, t).gamma;
}

double weight_mean(const Settings &settings) {
  const std::string &weight = settings.loss.weight, predicted = settings.predicted();
  const double low = settings.loss.t_eps, high = 1 - low, span = high - low;
  if (weight == "uniform") return 1;
  if (weight == "t") return 0.5;
  if (weight == "elbo") {
    if (predicted == "target") {
      const auto snr = [&](double t) {
        return settings.linear_path() ? square(t / (1 - t)) : schedule_at(settings, t).snr;
      };
      return (snr(high) - snr(low)) / span;
    }
    if (predicted == "noise") return (gamma_at(settings, high) - gamma_at(settings, low)) / span;
    if (settings.linear_path()) {
      const auto integral = [](double t) { return -2 * t - 2 * std::log1p(-t); };
      return (integral(high) - integral(low)) / span;
    }
  }
  throw std::invalid_argument("no closed form for the mean of this weight");
}

#define INSTANTIATE(Real)                                                                           \
  template ScheduleValues<Real> schedule_at(const Settings &, Real);                                \
  template Path<Real> path_at(const Settings &, Real);                                              \
  template Combination<Real> convert(const Path<Real> &, const std::string &, const std::string &); \
  template Real weight_at(const Settings &, const Path<Real> &);                                    \
  template Real snr_prime_at(const Settings &, const Path<Real> &);                                 \
  template Real gamma_at(const Settings &, Real);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE

}  // namespace reference
