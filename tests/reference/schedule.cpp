/* Schedules, paths, conversions and weights. */
#include "tests/reference/schedule.h"

#include <algorithm>
#include <stdexcept>

namespace reference {

using std::atan, std::cos, std::exp, std::expm1, std::log, std::pow, std::sin, std::sqrt;

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
  if (s.type == "exponential") {
    const Real left = exp(-s.beta * t);
    return {-expm1(-s.beta * t), left - std::exp(-s.beta), s.beta * left};
  }
  if (s.type == "cauchy") {
    const Real n = (t - s.loc) / s.scale;
    const Real f = 0.5 + atan(n) / M_PI;
    return {f, (std::atan((1 - s.loc) / s.scale) - atan(n)) / M_PI, 1.0 / (M_PI * s.scale * (1.0 + n * n))};
  }
  if (s.type == "laplace") {
    const auto distribution = [](const Real &n) {
      return value_of(n) < 0 ? Real(0.5 * exp(n)) : Real(1.0 - 0.5 * exp(-n));
    };
    const Real n = (t - s.loc) / s.scale, f = distribution(n);
    const Real tail = exp(value_of(n) < 0 ? n : -n);
    return {f, distribution(Real((1 - s.loc) / s.scale)) - f, tail / (2 * s.scale)};
  }
  if (s.type == "quadratic") return {t * t, 1.0 - t * t, 2.0 * t};
  if (s.type == "polynomial") return {pow(t, s.power), 1.0 - pow(t, s.power), s.power * pow(t, s.power - 1)};
  if (s.type == "sine") return {sin(t * (M_PI / 2)), 1.0 - sin(t * (M_PI / 2)), M_PI / 2 * cos(t * (M_PI / 2))};
  throw std::invalid_argument("the reference does not know the schedule " + s.type);
}

/* gamma and gamma' of the types that are given by gamma. */
template <typename Real>
static std::pair<Real, Real> table_at(const Settings &settings, Real t) {
  const auto &table = settings.schedule.table;
  const size_t last = table.size() - 1;
  const auto width = [&](size_t i) { return table[i + 1].first - table[i].first; };
  const auto secant = [&](size_t i) { return (table[i + 1].second - table[i].second) / width(i); };
  /* Brodlie's weighted harmonic mean (Fritsch & Butland, SIAM J. Sci. Stat. Comput. 5, 1984), parabolas at the ends. */
  const auto slope = [&](size_t i) {
    if (last == 1) return secant(0);
    if (i == 0 || i == last) {
      const size_t near = i == 0 ? 0 : last - 1, far = i == 0 ? 1 : last - 2;
      const double parabola = secant(near) + (secant(near) - secant(far)) * width(near) / (width(near) + width(far));
      return std::min(std::max(parabola, 0.0), 3 * secant(near));
    }
    const double part = (width(i - 1) + 2 * width(i)) / (3 * (width(i - 1) + width(i)));
    return secant(i - 1) * secant(i) / (part * secant(i) + (1 - part) * secant(i - 1));
  };
  size_t i = 0;
  while (i + 1 < last && value_of(t) >= table[i + 1].first) ++i;
  const double h = width(i), y0 = table[i].second, y1 = table[i + 1].second, m0 = h * slope(i), m1 = h * slope(i + 1);
  const Real x = (t - table[i].first) / h;
  const Real gamma = y0 + x * (m0 + x * ((3 * (y1 - y0) - 2 * m0 - m1) + x * (2 * (y0 - y1) + m0 + m1)));
  const Real prime = (m0 + x * (2 * (3 * (y1 - y0) - 2 * m0 - m1) + 3.0 * x * (2 * (y0 - y1) + m0 + m1))) / h;
  return {gamma, prime};
}

template <typename Real>
static std::pair<Real, Real> network_at(const Settings &settings, Real t) {
  const auto &s = settings.schedule;
  const double *from = s.numbers.data();
  const double first = std::log(s.low / (1 - s.low)), last = std::log(s.high / (1 - s.high));
  const double mix = sigmoid(*from++);
  std::vector<Real> value = {t}, slope = {1.0};
  for (size_t layer = 0; layer <= s.hidden.size(); ++layer) {
    const size_t inputs = value.size(), outputs = layer < s.hidden.size() ? static_cast<size_t>(s.hidden[layer]) : 1;
    std::vector<Real> sums(outputs), slopes(outputs, 0.0);
    for (size_t j = 0; j < outputs; ++j) {
      sums[j] = from[inputs * outputs + j];
      for (size_t i = 0; i < inputs; ++i) {
        const double weight = softplus(from[i * outputs + j] - 0.5) / std::sqrt(static_cast<double>(inputs));
        sums[j] += weight * value[i];
        slopes[j] += weight * slope[i];
      }
      if (layer < s.hidden.size() && !(value_of(sums[j]) > 0)) sums[j] = 0.0, slopes[j] = 0.0;
    }
    from += (inputs + 1) * outputs;
    value = sums, slope = slopes;
  }
  if (from != s.numbers.data() + s.numbers.size()) throw std::invalid_argument("the network's numbers do not fit");
  const Real on = sigmoid(value[0]), off = sigmoid(-value[0]);
  const Real f = t + t * (1.0 - t) * mix * on;
  const Real prime = 1.0 + mix * ((1.0 - 2.0 * t) * on + t * (1.0 - t) * on * off * slope[0]);
  return {first + (last - first) * f, (last - first) * prime};
}

template <typename Real>
ScheduleValues<Real> schedule_at(const Settings &settings, Real t) {
  const auto &s = settings.schedule;
  ScheduleValues<Real> v;
  if (s.type == "tabulated" || s.type == "network" || s.type == "monotonic_nn" || s.type == "learnable") {
    const auto [gamma, prime] = s.type == "tabulated" ? table_at(settings, t) : network_at(settings, t);
    v.gamma = gamma;
    v.gamma_prime = prime;
    v.alpha_bar = sigmoid(gamma);
    v.one_minus_alpha_bar = sigmoid(-gamma);
    v.alpha_bar_prime = v.alpha_bar * v.one_minus_alpha_bar * prime;
    v.snr = exp(gamma);
    v.snr_prime = prime * v.snr;
    return v;
  }
  const Shape<Real> shape = shape_at(settings, t);
  const bool logistic = s.type == "sigmoid" || s.type == "logistic";
  if (s.renormalise) {
    const double low = shape_at(settings, 0.0).f, span = shape_at(settings, 1.0).f - low;
    v.alpha_bar = s.low + (s.high - s.low) * ((shape.f - low) / span);
    v.one_minus_alpha_bar = (1 - s.high) + (s.high - s.low) * (shape.rest / span);
    v.alpha_bar_prime = (s.high - s.low) / span * shape.prime;
  } else if (logistic) {
    v.alpha_bar = shape.f;
    v.one_minus_alpha_bar = sigmoid(-s.k * (t - s.t_mid));
    v.alpha_bar_prime = shape.prime;
  } else if (s.type == "cosine") { /* alpha_bar is clipped, its derivative is not (survey 4.1) */
    v.alpha_bar = shape.f;
    v.one_minus_alpha_bar = shape.rest;
    if (value_of(shape.f) < 0.001) v.alpha_bar = 0.001, v.one_minus_alpha_bar = 0.999;
    if (value_of(shape.f) > 0.999) v.alpha_bar = 0.999, v.one_minus_alpha_bar = 0.001;
    v.alpha_bar_prime = shape.prime;
  } else { /* F as it is: not all of it between 0 and 1 */
    v.alpha_bar = s.low + (s.high - s.low) * shape.f;
    v.one_minus_alpha_bar = (1 - s.high) + (s.high - s.low) * (1.0 - shape.f);
    v.alpha_bar_prime = (s.high - s.low) * shape.prime;
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
    p.b_is_rest = true;
    p.a = t;
    p.b = 1.0 - t;
    p.la = 1.0 / t;
    p.lb = -1.0 / (1.0 - t);
    p.r = 1.0 / (t * (1.0 - t));
  } else if (settings.loss.path == "root_noise") { /* z = t z1 + sqrt(1 - t) e */
    p.a = t;
    p.b = sqrt(1.0 - t);
    p.la = 1.0 / t;
    p.lb = -0.5 / (1.0 - t);
    p.r = p.la - p.lb;
  } else {
    p.a = sqrt(p.schedule.alpha_bar);
    p.b = sqrt(p.schedule.one_minus_alpha_bar);
    p.la = 0.5 * p.schedule.gamma_prime * p.schedule.one_minus_alpha_bar;
    p.lb = -0.5 * p.schedule.gamma_prime * p.schedule.alpha_bar;
    p.r = 0.5 * p.schedule.gamma_prime;
    if (settings.loss.path == "signal_mean") p.a = p.schedule.alpha_bar; /* D-23; the rest as if it were the root */
  }
  return p;
}

/* z1 and e of the network's output: each row is a relation that the output obeys, solved with z = a z1 + b e. */
template <typename Real>
struct Parts {
  Combination<Real> target, noise;
};
template <typename Real>
static Parts<Real> parts_of(const Path<Real> &p, const std::string &from) {
  if (from == "target" || from == "state") return {{0.0, 1.0}, {1.0 / p.b, -(p.a / p.b)}};
  if (from == "noise") return {{1.0 / p.a, -(p.b / p.a)}, {0.0, 1.0}};
  if (from == "velocity") /* u = la a z1 + lb b e */
    return {{-p.lb / (p.r * p.a), 1.0 / (p.r * p.a)}, {p.la / (p.r * p.b), -1.0 / (p.r * p.b)}};
  if (from == "v") { /* s v = a e - b z1, s^2 = a^2 + b^2 */
    const Real square = p.a * p.a + p.b * p.b, s = sqrt(square);
    return {{p.a / square, -(p.b / s)}, {p.b / square, p.a / s}};
  }
  throw std::invalid_argument("the reference does not know the prediction " + from);
}

template <typename Real>
Combination<Real> convert(const Path<Real> &p, const std::string &from, const std::string &to) {
  if (from == to || to == "output") return {0.0, 1.0};
  if (to == "relax" || to == "relax_noise") { /* (z1hat - z), over 1 - alpha_bar = b^2: D-31, D-24 */
    const Combination<Real> target = convert(p, from, "target");
    const Real rate = to == "relax" ? Real(1.0) : 1.0 / (p.b * p.b);
    return {rate * (target.state - 1.0), rate * target.prediction};
  }
  const Parts<Real> parts = parts_of(p, from);
  if (to == "target") return parts.target;
  if (to == "noise") return parts.noise;
  if (to == "velocity") {
    if (from == "target") return {p.lb, p.r * p.a};
    if (from == "noise") return {p.la, -(p.r * p.b)};
    /* v: r a z1 + lb z = (r a^2/s^2 + lb) z - r a b/s v; r a^2 + lb s^2 = la a^2 + lb b^2 = s' s, 0 on the VP path. */
    const Real s = sqrt(p.a * p.a + p.b * p.b);
    const Real growth = p.b_is_rest ? (p.a - p.b) / (s * s) : Real(0.0);
    return {growth, -(p.r * p.a * p.b / s)};
  }
  if (to == "v") {
    const Real s = sqrt(p.a * p.a + p.b * p.b);
    return {(p.a * parts.noise.state - p.b * parts.target.state) / s,
            (p.a * parts.noise.prediction - p.b * parts.target.prediction) / s};
  }
  if (to == "ou_mean") {
    /* gamma' (a z1 - (1 + ab)/2 z); from noise, velocity and v with z1 = (z - b e)/a put in: the two terms of z would
     * cancel where 1 - ab is small. */
    const Real g = p.schedule.gamma_prime, rest = p.schedule.one_minus_alpha_bar;
    if (from == "noise") return {0.5 * g * rest, -(g * p.b)};
    if (from == "velocity") return {-0.5 * g * rest, 2.0};
    if (from == "v") return {-0.5 * g * rest, -(g * p.a * p.b)};
    return {-0.5 * g * (1.0 + p.schedule.alpha_bar), g * p.a};
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
Real error_square(const Path<Real> &p, const std::string &predicted) {
  const Real by = convert(p, predicted, "target").prediction;
  return by * by;
}

template <typename Real>
static Real smaller(const Real &x, const Real &y) {
  return value_of(x) < value_of(y) ? x : y;
}

template <typename Real>
Real weight_at(const Settings &settings, const Path<Real> &p) {
  const std::string &weight = settings.loss.weight, predicted = settings.predicted();
  const auto &s = p.schedule;
  const Real snr = p.a * p.a / (p.b * p.b);
  if (weight == "uniform") return 1.0;
  if (weight == "t") return p.t;
  if (weight == "drift") return 1.0 / (s.one_minus_alpha_bar * s.gamma_prime);
  if (weight == "vp_velocity") return 1.0 / (s.one_minus_alpha_bar * s.alpha_bar * s.gamma_prime);
  if (weight == "inverse_snr") return 1.0 / snr;
  if (weight == "notebook") { /* eta/2 of 2 ab/(1 - ab + 1e-8)^2 with eta 1 (D-29) */
    const Real rest = s.one_minus_alpha_bar + 1e-8;
    return s.alpha_bar / (rest * rest);
  }
  /* The others are weights of the target's error. */
  if (weight == "elbo") return snr_prime_at(settings, p) * error_square(p, predicted);
  if (weight == "min_snr") return smaller<Real>(snr, settings.loss.cap) * error_square(p, predicted);
  if (weight == "snr_prime")
    return smaller<Real>(snr_prime_at(settings, p), settings.loss.cap) * error_square(p, predicted);
  throw std::invalid_argument("the reference does not know the weight " + weight);
}

template <typename Real>
Real gamma_at(const Settings &settings, Real t) {
  return settings.linear_path() ? 2.0 * log(t / (1.0 - t)) : schedule_at(settings, t).gamma;
}

/* An integral of the weight over t, where one is known in closed form; NaN elsewhere. Linear path with min_snr: `high`
 * says on which side of SNR = cap. */
static double weight_integral(const Settings &settings, double t, bool high) {
  const std::string &weight = settings.loss.weight, predicted = settings.predicted();
  const bool linear = settings.linear_path();
  const double rest = 1 - t, square_sum = t * t + rest * rest, cap = settings.loss.cap;
  if (weight == "uniform") return t;
  if (weight == "t") return t * t / 2;
  if (weight == "elbo") {
    if (predicted == "target") return linear ? square(t / rest) : schedule_at(settings, t).snr;
    if (predicted == "noise") return gamma_at(settings, t);
    if (predicted == "v")
      return linear ? log(square_sum) - 2 * std::log1p(-t) : -log(schedule_at(settings, t).one_minus_alpha_bar);
    if (linear) return -2 * t - 2 * std::log1p(-t);
  }
  if (linear && (weight == "min_snr" || weight == "inverse_snr")) {
    const double falling = t - 2 * log(t) - 1 / t, rising = t + 2 * std::log1p(-t) + 1 / rest;
    if (weight == "inverse_snr") return falling;
    if (predicted == "target") return high ? cap * t : rising;
    if (predicted == "noise") return high ? cap * falling : t;
    if (predicted == "v") return high ? -cap * (rest / 2 + log(square_sum) / 4) : t / 2 + log(square_sum) / 4;
    return high ? -cap * rest * rest * rest / 3 : t * t * t / 3;
  }
  return NAN;
}

double weight_mean(const Settings &settings) {
  const double low = settings.loss.t_eps, high = 1 - low, span = high - low;
  double mean = NAN;
  if (settings.loss.weight == "min_snr") {
    const double root = sqrt(settings.loss.cap), turn = std::min(std::max(root / (1 + root), low), high);
    mean = (weight_integral(settings, turn, false) - weight_integral(settings, low, false) +
            weight_integral(settings, high, true) - weight_integral(settings, turn, true)) /
           span;
  } else {
    mean = (weight_integral(settings, high, false) - weight_integral(settings, low, false)) / span;
  }
  if (std::isnan(mean)) throw std::invalid_argument("no closed form for the mean of this weight");
  return mean;
}

#define INSTANTIATE(Real)                                                                           \
  template ScheduleValues<Real> schedule_at(const Settings &, Real);                                \
  template Path<Real> path_at(const Settings &, Real);                                              \
  template Combination<Real> convert(const Path<Real> &, const std::string &, const std::string &); \
  template Real weight_at(const Settings &, const Path<Real> &);                                    \
  template Real error_square(const Path<Real> &, const std::string &);                              \
  template Real snr_prime_at(const Settings &, const Path<Real> &);                                 \
  template Real gamma_at(const Settings &, Real);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE

}  // namespace reference
