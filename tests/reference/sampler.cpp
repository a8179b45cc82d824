/* Time grids and steps. */
#include "tests/reference/sampler.h"

#include <algorithm>
#include <stdexcept>
#include <type_traits>

#include "tests/reference/random.h"

namespace reference {

using std::exp;
using std::expm1;
using std::log;
using std::sqrt;

/* z + h k */
template <typename Real>
static Vector<Real> moved(Vector<Real> z, Real h, const Vector<Real> &k) {
  for (size_t i = 0; i < z.size(); ++i) z[i] += h * k[i];
  return z;
}

template <typename Real>
Vector<Real> runge_kutta_step(const std::string &method, const Field<Real> &field, const Vector<Real> &z, Real t,
                              Real h) {
  const Vector<Real> &z0 = z;
  if (method == "euler") return moved(z, h, field(z, t));
  if (method == "midpoint_time") return moved(z, h, field(z, t + 0.5 * h));
  if (method == "midpoint") return moved(z0, h, field(moved(z, 0.5 * h, field(z, t)), t + 0.5 * h));
  if (method == "heun") {
    const Vector<Real> k1 = field(z, t), k2 = field(moved(z, h, k1), t + h);
    return moved(moved(z0, 0.5 * h, k1), 0.5 * h, k2);
  }
  if (method == "rk4") {
    const Vector<Real> k1 = field(z, t), k2 = field(moved(z, 0.5 * h, k1), t + 0.5 * h),
                       k3 = field(moved(z, 0.5 * h, k2), t + 0.5 * h), k4 = field(moved(z, h, k3), t + h);
    Vector<Real> sum;
    for (size_t i = 0; i < z.size(); ++i) sum.push_back(k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]);
    return moved(z0, h / 6.0, sum);
  }
  throw std::invalid_argument("the reference does not know the method " + method);
}

/* t kept inside [t_eps, 1 - t_eps]. */
template <typename Real>
static Real clamped(const Settings &settings, Real t) {
  const double low = settings.loss.t_eps;
  if (value_of(t) < low) return low;
  if (value_of(t) > 1 - low) return 1 - low;
  return t;
}

template <typename Real>
Vector<Real> time_grid(const Settings &settings, const Solve &solve) {
  const int n = solve.steps;
  Vector<Real> times;
  for (int i = 0; i <= n; ++i) {
    if (solve.grid == "user") {
      times.push_back(solve.times[static_cast<size_t>(i)]);
    } else if (solve.grid == "t" || i == 0 || i == n) {
      times.push_back(static_cast<double>(i) / n);
    } else { /* gamma equally spaced; gamma increases in t, so bisection finds the time */
      const double first = settings.linear_path() ? settings.loss.t_eps : 0;
      const double from = gamma_at(settings, first), to = gamma_at(settings, 1 - first);
      const double wanted = from + (to - from) * i / n;
      double low = first, high = 1 - first;
      for (int k = 0; k < 200; ++k) {
        const double middle = 0.5 * (low + high);
        (gamma_at(settings, middle) < wanted ? low : high) = middle;
      }
      times.push_back(0.5 * (low + high));
    }
  }
  if (std::is_same_v<Real, Tracked>) /* times reach the kernel as float32 */
    for (Real &t : times) t = static_cast<double>(static_cast<float>(value_of(t)));
  return times;
}

/* lambda = ln(a/b), at clamped times where the path is singular. */
template <typename Real>
static Real half_log_snr(const Settings &settings, Real t) {
  return 0.5 * gamma_at(settings, settings.linear_path() ? clamped(settings, t) : t);
}

template <typename Real>
std::vector<Vector<Real>> integrate_field(const Settings &settings, const Field<Real> &output, const Solve &solve,
                                          const Vector<Real> &start) {
  const Field<Real> target = [&](const Vector<Real> &z, Real t) {
    const Real c = clamped(settings, t);
    return predicted_target(settings, path_at(settings, c), z, output(z, c));
  };
  const Field<Real> drift = [&](const Vector<Real> &z, Real t) {
    const Real c = clamped(settings, t);
    return predicted_drift(settings, path_at(settings, c), solve.drift, z, output(z, c));
  };
  const Vector<Real> times = time_grid<Real>(settings, solve);
  std::vector<Vector<Real>> states = {start};
  Vector<Real> last_target;
  const Real churn2 = solve.churn * solve.churn;
  /* The SDE's drift is that of the ODE and churn^2 / 2 (noise rate) (score). */
  const Field<Real> stochastic = [&](const Vector<Real> &z, Real t) {
    const Real c = clamped(settings, t);
    const Path<Real> p = path_at(settings, c);
    const Vector<Real> x = predicted_target(settings, p, z, output(z, c));
    Vector<Real> result;
    for (size_t j = 0; j < z.size(); ++j) result.push_back(p.la * z[j] + (1.0 + churn2) * p.r * (p.a * x[j] - z[j]));
    return result;
  };
  const auto noise = [&](size_t step) {
    if (!solve.given_noise.empty()) return Vector<Real>(start.size(), solve.given_noise[step]);
    return normals<Real>(solve.seed, kSde, solve.row, static_cast<uint32_t>(step), static_cast<long>(start.size()));
  };
  for (size_t i = 0; i + 1 < times.size(); ++i) {
    const Real t = times[i], next = times[i + 1];
    const Vector<Real> z = states.back();
    if (solve.method == "euler_maruyama") {
      const Path<Real> p = path_at(settings, clamped(settings, t));
      const Real deviation = solve.churn * p.b * sqrt(2.0 * p.r * (next - t));
      states.push_back(moved(moved(z, next - t, stochastic(z, t)), deviation, noise(i)));
      continue;
    }
    if (solve.method != "exponential" && solve.method != "dpm2m") {
      states.push_back(runge_kutta_step(solve.method, drift, z, t, next - t));
      continue;
    }
    Vector<Real> data = target(z, t);
    const Vector<Real> this_target = data;
    const Real before = i > 0 ? half_log_snr(settings, t) - half_log_snr(settings, times[i - 1]) : Real(0.0);
    if (solve.method == "dpm2m" && value_of(before) > 0) {
      const Real h = half_log_snr(settings, next) - half_log_snr(settings, t);
      data = moved(data, h / (2.0 * before), this_target);
      data = moved(data, -(h / (2.0 * before)), last_target);
    }
    const Path<Real> here = path_at(settings, t), there = path_at(settings, next);
    Real ratio = there.b / here.b;
    const Real rise = half_log_snr(settings, next) - half_log_snr(settings, t);
    if (solve.drift == "sde") ratio *= exp(-churn2 * rise);
    const Real gain = there.a - here.a * ratio;
    Vector<Real> moved_state;
    for (size_t j = 0; j < z.size(); ++j) moved_state.push_back(ratio * z[j] + gain * data[j]);
    if (solve.drift == "sde") moved_state = moved(moved_state, there.b * sqrt(-expm1(-2.0 * churn2 * rise)), noise(i));
    states.push_back(moved_state);
    last_target = this_target;
  }
  if (solve.final_denoise) states.back() = target(states.back(), 1.0);
  return states;
}

template <typename Real>
std::vector<Vector<Real>> integrate(const Settings &settings, const Network &network, const Vector<Real> &parameters,
                                    const Solve &solve, const Vector<Real> &start, const Vector<Real> &x) {
  const Field<Real> output = [&](const Vector<Real> &z, Real t) {
    const Vector<Real> with = forward(network, parameters, z, x, embed_time(settings, t)).output();
    if (solve.guidance == 1) return with;
    Vector<Real> p = forward(network, parameters, z, x, embed_time(settings, t), {}, true).output();
    for (size_t i = 0; i < p.size(); ++i) p[i] += solve.guidance * (with[i] - p[i]);
    return p;
  };
  return integrate_field(settings, output, solve, start);
}

#define INSTANTIATE(Real)                                                                                              \
  template Vector<Real> runge_kutta_step(const std::string &, const Field<Real> &, const Vector<Real> &, Real, Real);  \
  template Vector<Real> time_grid(const Settings &, const Solve &);                                                    \
  template std::vector<Vector<Real>> integrate(const Settings &, const Network &, const Vector<Real> &, const Solve &, \
                                               const Vector<Real> &, const Vector<Real> &);                            \
  template std::vector<Vector<Real>> integrate_field(const Settings &, const Field<Real> &, const Solve &,             \
                                                     const Vector<Real> &);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE

}  // namespace reference
