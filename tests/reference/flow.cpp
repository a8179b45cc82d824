/* Log densities along a flow, and adaptive methods. */
#include <algorithm>
#include <stdexcept>

#include "tests/reference/random.h"
#include "tests/reference/sampler.h"

namespace reference {

using std::exp;

/* ---- log densities ---- */

template <typename Real>
Flow<Real> integrate_flow(const Settings &settings, const Field<Real> &output, const Trace1<Real> &trace,
                          const Solve &solve, const Vector<Real> &start, bool reverse) {
  const double low = settings.loss.t_eps;
  const size_t d = start.size();
  /* One more component: the integral. */
  const Field<Real> field = [&](const Vector<Real> &state, Real t) {
    const double inside = std::min(std::max(value_of(t), low), 1 - low);
    const Real c = inside == value_of(t) ? t : Real(inside);
    const Vector<Real> z(state.begin(), state.begin() + static_cast<long>(d));
    const Path<Real> path = path_at(settings, c);
    const Combination<Real> velocity = convert(path, settings.predicted(), "velocity");
    const Vector<Real> p = output(z, c);
    Vector<Real> result;
    for (size_t i = 0; i < d; ++i) result.push_back(velocity.state * z[i] + velocity.prediction * p[i]);
    result.push_back(-(velocity.prediction * trace(z, c) + static_cast<double>(d) * velocity.state));
    return result;
  };
  Vector<Real> times = time_grid<Real>(settings, solve), state = start;
  if (reverse) std::reverse(times.begin(), times.end());
  state.push_back(0.0);
  for (size_t i = 0; i + 1 < times.size(); ++i)
    state = runge_kutta_step(solve.method, field, state, times[i], times[i + 1] - times[i]);
  return {{state.begin(), state.end() - 1}, state.back()};
}

template <typename Real>
Flow<Real> integrate_flow(const Settings &settings, const Network &network, const Vector<Real> &parameters,
                          const Solve &solve, const Vector<Real> &start, const Vector<Real> &x, bool reverse,
                          const std::vector<Vector<double>> &probes) {
  const Field<Real> output = [&](const Vector<Real> &z, Real t) {
    return forward(network, parameters, z, x, embed_time(settings, t)).output();
  };
  const Trace1<Real> trace = [&](const Vector<Real> &z, Real t) {
    const Trace<Real> values = forward(network, parameters, z, x, embed_time(settings, t));
    Vector<Real> unused(parameters.size(), 0.0);
    Real sum = 0.0;
    const size_t count = probes.empty() ? z.size() : probes.size();
    for (size_t k = 0; k < count; ++k) {
      Vector<Real> direction(z.size(), 0.0), row;
      if (probes.empty())
        direction[k] = 1.0;
      else
        for (size_t i = 0; i < z.size(); ++i) direction[i] = probes[k][i];
      backward(network, parameters, values, direction, unused, &row); /* direction^T J */
      for (size_t i = 0; i < z.size(); ++i) sum += row[i] * direction[i];
    }
    return probes.empty() ? sum : sum / static_cast<double>(count);
  };
  return integrate_flow(settings, output, trace, solve, start, reverse);
}

Vector<double> probe_signs(uint64_t seed, uint32_t row, uint32_t probe, long count) {
  Vector<double> signs;
  for (long i = 0; i < count; ++i) {
    const Words words = draw(seed, kProbe, static_cast<uint32_t>(i / 128), row, 0, 0, probe);
    signs.push_back(words[static_cast<size_t>(i % 128 / 32)] >> (i % 32) & 1u ? 1 : -1);
  }
  return signs;
}

double log_normal(const Vector<double> &z) {
  double sum = -0.5 * static_cast<double>(z.size()) * std::log(2 * M_PI);
  for (const double v : z) sum -= 0.5 * v * v;
  return sum;
}

/* ---- adaptive methods ---- */

struct Tableau {
  std::vector<double> nodes;
  std::vector<std::vector<double>> rows; /* the last one is the solution */
  std::vector<double> embedded;
  double order; /* of the estimated local error */
};

/* Bogacki and Shampine 1989; Dormand and Prince 1980 (Hairer, Norsett, Wanner, table II.5.2). */
static Tableau tableau(const std::string &method) {
  if (method == "bosh3")
    return {{0, .5, .75, 1}, {{}, {.5}, {0, .75}, {2. / 9, 1. / 3, 4. / 9}}, {7. / 24, 1. / 4, 1. / 3, 1. / 8}, 3};
  return {{0, .2, .3, .8, 8. / 9, 1, 1},
          {{},
           {1. / 5},
           {3. / 40, 9. / 40},
           {44. / 45, -56. / 15, 32. / 9},
           {19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
           {9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656},
           {35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84}},
          {5179. / 57600, 0, 7571. / 16695, 393. / 640, -92097. / 339200, 187. / 2100, 1. / 40},
          5};
}

static double mean_square(const Vector<double> &values) {
  double sum = 0;
  for (const double v : values) sum += v * v;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

AdaptiveResult integrate_adaptive(const Field<double> &field, const AdaptiveSolve &solve, const Vector<double> &start) {
  const Tableau table = tableau(solve.method);
  const size_t n = start.size(), stages = table.nodes.size();
  AdaptiveResult result = {start, 0, 0, 0, 2, {0}};
  Vector<double> &z = result.end;
  const auto scaled = [&](const Vector<double> &error, const Vector<double> &a, const Vector<double> &b) {
    Vector<double> q;
    for (size_t i = 0; i < n; ++i)
      q.push_back(error[i] / (solve.atol + solve.rtol * std::max(std::fabs(a[i]), std::fabs(b[i]))));
    return mean_square(q);
  };
  /* First step: by the size of the derivative and of its change over a small Euler step. */
  Vector<double> first = field(z, 0), curve, moved = z;
  double h = std::min(std::max(0.01 * std::max(mean_square(z), 1.0) / mean_square(first), 1e-4), 0.05);
  for (size_t i = 0; i < n; ++i) moved[i] += h * first[i];
  const Vector<double> second = field(moved, h);
  for (size_t i = 0; i < n; ++i) curve.push_back((second[i] - first[i]) / h);
  const double largest = std::max(std::max(scaled(first, z, z), scaled(curve, z, z)), 1e-10);
  h = std::min({100 * h, std::pow(0.01 / largest, 1 / table.order), 1.0});
  double last_error = 1e-4;
  bool again = false;
  const double momentum = 0.2 / table.order;
  while (result.reached < 1 && result.steps + result.rejections < solve.max_steps) {
    const bool last = result.reached + 1.01 * h >= 1;
    if (last) h = 1 - result.reached;
    std::vector<Vector<double>> k = {first};
    Vector<double> state;
    for (size_t s = 1; s < stages; ++s) {
      state = z;
      for (size_t j = 0; j < s; ++j)
        for (size_t i = 0; i < n; ++i) state[i] += h * table.rows[s][j] * k[j][i];
      k.push_back(field(state, last && table.nodes[s] == 1 ? 1 : result.reached + table.nodes[s] * h));
    }
    result.calls += static_cast<int>(stages) - 1;
    Vector<double> error(n, 0.0);
    for (size_t j = 0; j < stages; ++j)
      for (size_t i = 0; i < n; ++i)
        error[i] += h * ((j < table.rows.back().size() ? table.rows.back()[j] : 0) - table.embedded[j]) * k[j][i];
    const double size = scaled(error, z, state);
    if (size <= 1) {
      ++result.steps;
      result.reached = last ? 1 : result.reached + h;
      result.times.push_back(result.reached);
      z = state;
      first = k.back();
      double factor =
          0.9 * std::pow(std::max(size, 1e-10), 0.75 * momentum - 1 / table.order) * std::pow(last_error, momentum);
      factor = std::min(std::max(factor, 0.2), again ? 1.0 : 10.0);
      last_error = std::max(size, 1e-4);
      again = false;
      h *= factor;
    } else {
      ++result.rejections;
      again = true;
      h *= std::max(0.2, 0.9 * std::pow(size, -1 / table.order));
    }
  }
  return result;
}

template <typename Real>
CompatResult<Real> integrate_adaptive_compat(const std::vector<Field<Real>> &fields, double from, double to, int steps,
                                             const std::vector<Vector<Real>> &start) {
  CompatResult<Real> result = {start, from, {}, {}};
  const auto keep = [&] {
    result.states.emplace_back();
    for (const Vector<Real> &z : result.end)
      result.states.back().insert(result.states.back().end(), z.begin(), z.end());
  };
  double width = (to - from) / steps;
  keep();
  for (int n = 0; n < steps; ++n) {
    const double s = std::min(width, to - result.reached), t = result.reached;
    double error = 0;
    size_t count = 0;
    for (size_t row = 0; row < start.size(); ++row) {
      Vector<Real> &z = result.end[row];
      const Vector<Real> whole = runge_kutta_step<Real>("heun", fields[row], z, t, s);
      const Vector<Real> half = runge_kutta_step<Real>("heun", fields[row], z, t, s / 2);
      z = runge_kutta_step<Real>("heun", fields[row], half, t + s / 2, s / 2);
      for (size_t i = 0; i < z.size(); ++i) error += std::fabs(value_of(whole[i]) - value_of(z[i]));
      count += z.size();
    }
    error /= static_cast<double>(count);
    result.errors.push_back(error);
    width = error > 1e-6 ? s / 2 : error < 1e-7 ? 1.5 * s : s;
    result.reached = t + s;
    keep();
  }
  return result;
}

#define INSTANTIATE(Real)                                                                                        \
  template Flow<Real> integrate_flow(const Settings &, const Field<Real> &, const Trace1<Real> &, const Solve &, \
                                     const Vector<Real> &, bool);                                                \
  template Flow<Real> integrate_flow(const Settings &, const Network &, const Vector<Real> &, const Solve &,     \
                                     const Vector<Real> &, const Vector<Real> &, bool,                           \
                                     const std::vector<Vector<double>> &);                                       \
  template CompatResult<Real> integrate_adaptive_compat(const std::vector<Field<Real>> &, double, double, int,   \
                                                        const std::vector<Vector<Real>> &);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE

}  // namespace reference
