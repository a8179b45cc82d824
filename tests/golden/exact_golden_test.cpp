/* Densities in closed form (group exact): the reference's paths, conversions, solvers, traces and log densities. */
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/golden/golden_cases.h"
#include "tests/golden/golden_expect.h"
#include "tests/reference/compare.h"
#include "tests/reference/sampler.h"

namespace {

using namespace reference;
using golden::File;
using golden::Tensor;

using golden::expect_equal;

Settings exact_settings(const std::string &name) {
  Settings settings = settings_from({{"variant", name == "linear" ? "fm" : "ct"}, {"prediction", "target"}});
  auto &s = settings.schedule;
  s.low = 0.01, s.high = 0.99;
  if (name == "vp_linear") s.type = "linear";
  if (name == "vp_cosine_bounds") s.s = 0;
  if (name == "vp_sigmoid10") s.type = "sigmoid", s.renormalise = false;
  if (name == "vp_cosine_s008") { /* not clipped: the renormalised form with the curve's own end points */
    s.low = square(std::sin(0.008 / 1.008 * M_PI / 2));
    s.high = 1;
  }
  return settings;
}

TEST(ReferenceGolden, ExactPathsAndConversions) {
  const File file("torch_notebook.h5");
  long compared = 0;
  for (const std::string density : {"gaussian", "mixture"})
    for (const std::string &name : file.groups("/exact/" + density)) {
      const std::string path = "/exact/" + density + "/" + name;
      SCOPED_TRACE(path);
      const Settings settings = exact_settings(name);
      Vector<double> a, b, a_dot, b_dot, gamma, gamma_dot;
      Vector<double> want[6];
      const char *sets[] = {"/a", "/b", "/a_dot", "/b_dot", "/gamma", "/gamma_dot"};
      for (size_t k = 0; k < 6; ++k)
        if (file.has(path + sets[k])) want[k] = file.read(path + sets[k]).values;
      Vector<double> kept[6];
      const auto times = file.read(path + "/t").values;
      for (size_t i = 0; i < times.size(); ++i) {
        const auto p = path_at(settings, times[i]);
        const double values[] = {p.a, p.b, p.la * p.a, p.lb * p.b, p.schedule.gamma, p.schedule.gamma_prime};
        for (size_t k = 0; k < 6; ++k) {
          /* Quotients 0/0 and infinite ends of the path say nothing. */
          if (want[k].empty() || !std::isfinite(values[k]) || !std::isfinite(want[k][i])) continue;
          if (std::fabs(want[k][i]) > 1e10) continue;
          kept[k].push_back(want[k][i]);
          (k == 0 ? a : k == 1 ? b : k == 2 ? a_dot : k == 3 ? b_dot : k == 4 ? gamma : gamma_dot).push_back(values[k]);
        }
      }
      expect_equal(a, kept[0], "a");
      expect_equal(b, kept[1], "b");
      expect_equal(a_dot, kept[2], "a'");
      expect_equal(b_dot, kept[3], "b'");
      if (!want[4].empty()) expect_equal(gamma, kept[4], "gamma");
      if (!want[5].empty()) expect_equal(gamma_dot, kept[5], "gamma'");

      const auto t = file.read(path + "/points/t").values;
      const auto z = file.read(path + "/points/z").matrix();
      const char *kinds[] = {"velocity", "noise", "target"};
      for (const char *from : kinds)
        for (const char *to : kinds) {
          const auto source = file.read(path + "/points/" + from).matrix(),
                     wanted = file.read(path + "/points/" + to).matrix();
          for (size_t i = 0; i < t.size(); ++i) {
            const auto p = path_at(settings, t[i]);
            const auto c = convert(p, from, to);
            for (size_t j = 0; j < 2; ++j) {
              const double got = c.state * z[i][j] + c.prediction * source[i][j];
              const double scale = std::fabs(c.state * z[i][j]) + std::fabs(c.prediction * source[i][j]);
              ASSERT_NEAR(got, wanted[i][j], 1e-10 * (scale + 1)) << from << " to " << to << " at t = " << t[i];
              ++compared;
            }
          }
        }
    }
  EXPECT_GT(compared, 0);
}

/* E[z1 | z_t] of a mixture of normals with covariances given as full 2 x 2 matrices. */
struct Component {
  double weight, mean[2], cov[3]; /* xx, xy, yy */
};
Vector<double> exact_target(const std::vector<Component> &mixture, double a, double b, const Vector<double> &z) {
  double total = 0, best = -1e300;
  std::vector<double> log_p;
  std::vector<Vector<double>> means;
  for (const Component &c : mixture) {
    const double xx = a * a * c.cov[0] + b * b, xy = a * a * c.cov[1], yy = a * a * c.cov[2] + b * b;
    const double det = xx * yy - xy * xy, dx = z[0] - a * c.mean[0], dy = z[1] - a * c.mean[1];
    const double sx = (yy * dx - xy * dy) / det, sy = (xx * dy - xy * dx) / det;
    log_p.push_back(std::log(c.weight) - 0.5 * std::log(det) - 0.5 * (sx * dx + sy * dy));
    means.push_back({c.mean[0] + a * (c.cov[0] * sx + c.cov[1] * sy), c.mean[1] + a * (c.cov[1] * sx + c.cov[2] * sy)});
    best = std::max(best, log_p.back());
  }
  Vector<double> result(2, 0.0);
  for (size_t k = 0; k < mixture.size(); ++k) {
    const double p = std::exp(log_p[k] - best);
    total += p;
    for (size_t j = 0; j < 2; ++j) result[j] += p * means[k][j];
  }
  for (double &v : result) v /= total;
  return result;
}

std::vector<Component> exact_mixture(const File &file, const std::string &density) {
  std::vector<Component> mixture;
  const std::string root = "/exact/" + density;
  if (density == "gaussian") {
    const auto mean = file.read(root + "/mean").values, cov = file.read(root + "/cov").values;
    mixture.push_back({1, {mean[0], mean[1]}, {cov[0], cov[1], cov[3]}});
  } else {
    const auto weights = file.read(root + "/weights").values, std = file.read(root + "/std").values;
    const auto means = file.read(root + "/means").matrix();
    for (size_t k = 0; k < weights.size(); ++k)
      mixture.push_back({weights[k], {means[k][0], means[k][1]}, {square(std[k]), 0, square(std[k])}});
  }
  return mixture;
}

/* With the exact target, rk4 and dpm2m must find the stored solutions of the probability-flow ODE, and rk4 those of the
 * mean drift; 1,600 steps leave errors far below 1e-5 where the field is smooth (checked against each other). */
TEST(ReferenceGolden, ExactFlowsAreIntegrated) {
  const File file("torch_notebook.h5");
  long compared = 0;
  for (const std::string density : {"gaussian", "mixture"}) {
    const std::string root = "/exact/" + density;
    const std::vector<Component> mixture = exact_mixture(file, density);
    for (const std::string &name : file.groups(root)) {
      const std::string path = root + "/" + name;
      Settings settings = exact_settings(name);
      const Field<double> target = [&](const Vector<double> &z, double t) {
        const auto p = path_at(settings, t);
        return exact_target(mixture, p.a, p.b, z);
      };
      const auto t = file.read(path + "/t").values;
      /* Stored states to stored states, away from the ends where linear and cosine paths are singular. */
      for (const char *set : {"/z", "/z_ou_mean"}) {
        if (!file.has(path + set)) continue;
        const Tensor z = file.read(path + set);
        Solve solve;
        solve.drift = std::string(set) == "/z" ? "ode" : "ou_mean";
        solve.grid = "user";
        for (const char *method : {"rk4", "dpm2m"}) {
          if (solve.drift == "ou_mean" && std::string(method) == "dpm2m") continue;
          solve.method = method;
          solve.times.clear();
          const int parts = 1600;
          for (int i = 0; i <= parts; ++i) solve.times.push_back(t[1] + (t[5] - t[1]) * i / parts);
          solve.steps = parts;
          settings.loss.t_eps = 1e-9;
          Vector<double> got, want;
          for (size_t row = 0; row < 6; ++row) {
            const auto from = z.slice(1).row(row), to = z.slice(5).row(row);
            const auto end = integrate_field(settings, target, solve, from).back();
            got.insert(got.end(), end.begin(), end.end());
            want.insert(want.end(), to.begin(), to.end());
          }
          expect_equal(got, want, path + set + " by " + method, std::string(method) == "rk4" ? 1e-8 : 2e-5);
          ++compared;
        }
      }
    }
  }
  EXPECT_GT(compared, 0);
}

/* The other methods of fixed steps: four times as many steps leave an error that is smaller by 4^order or nearly so,
 * and that is small. */
TEST(ReferenceGolden, ExactFlowsAreIntegratedByEveryMethodWithItsOrder) {
  const File file("torch_notebook.h5");
  const struct {
    const char *method;
    double order, error;
  } rows[] = {{"euler", 1, 2e-3},
              {"midpoint_time", 1, 2e-3},
              {"exponential", 1, 2e-3},
              {"midpoint", 2, 1e-6},
              {"heun", 2, 1e-6}};
  for (const std::string density : {"gaussian", "mixture"}) {
    const std::string root = "/exact/" + density;
    const std::vector<Component> mixture = exact_mixture(file, density);
    for (const std::string &name : file.groups(root)) {
      Settings settings = exact_settings(name);
      settings.loss.t_eps = 1e-9;
      const Field<double> target = [&](const Vector<double> &z, double t) {
        const auto p = path_at(settings, t);
        return exact_target(mixture, p.a, p.b, z);
      };
      const auto t = file.read(root + "/" + name + "/t").values;
      const Tensor z = file.read(root + "/" + name + "/z");
      for (const auto &row : rows) {
        double errors[2];
        for (const int fine : {0, 1}) {
          Solve solve;
          solve.method = row.method, solve.grid = "user", solve.steps = fine ? 1600 : 400;
          for (int i = 0; i <= solve.steps; ++i) solve.times.push_back(t[1] + (t[5] - t[1]) * i / solve.steps);
          errors[fine] = 0;
          for (size_t at = 0; at < 6; ++at) {
            const auto end = integrate_field(settings, target, solve, z.slice(1).row(at)).back();
            for (size_t j = 0; j < 2; ++j)
              errors[fine] = std::max(errors[fine], std::fabs(end[j] - z.slice(5).row(at)[j]));
          }
        }
        const double order = std::log(errors[0] / errors[1]) / std::log(4);
        std::printf("[  order   ] %s/%s %s: %.2f, error %.1e\n", density.c_str(), name.c_str(), row.method, order,
                    errors[1]);
        EXPECT_GT(order, row.order - 0.2) << row.method;
        EXPECT_LT(errors[1], row.error) << row.method;
      }
    }
  }
}

/* The change of log p along the stored solutions is minus the integral of the stored traces; our own flow with its own
 * trace (central differences of the exact target) finds both, and the adaptive pairs find the states. */
TEST(ReferenceGolden, ExactFlowsHaveTheStoredTracesAndLogDensities) {
  const File file("torch_notebook.h5");
  long compared = 0;
  for (const std::string density : {"gaussian", "mixture"}) {
    const std::vector<Component> mixture = exact_mixture(file, density);
    for (const std::string &name : file.groups("/exact/" + density)) {
      const std::string path = "/exact/" + density + "/" + name;
      SCOPED_TRACE(path);
      Settings settings = exact_settings(name);
      settings.loss.t_eps = 1e-9;
      const Field<double> target = [&](const Vector<double> &z, double t) {
        const auto p = path_at(settings, t);
        return exact_target(mixture, p.a, p.b, z);
      };
      const reference::Trace1<double> trace = [&](const Vector<double> &z, double t) {
        double sum = 0;
        for (size_t i = 0; i < 2; ++i) {
          Vector<double> up = z, down = z;
          up[i] += 1e-5, down[i] -= 1e-5;
          sum += (target(up, t)[i] - target(down, t)[i]) / 2e-5;
        }
        return sum;
      };
      const auto t = file.read(path + "/t").values;
      const Tensor z = file.read(path + "/z"), traces = file.read(path + "/trace_velocity"),
                   integral = file.read(path + "/div_integral"), log_p = file.read(path + "/logp_flow_normal");
      Solve solve;
      solve.method = "rk4", solve.grid = "user", solve.steps = 800;
      for (int i = 0; i <= 800; ++i) solve.times.push_back(t[1] + (t[5] - t[1]) * i / 800);
      Vector<double> got_traces, want_traces, changes, wanted, ends, states;
      for (size_t row = 0; row < 6; ++row) {
        const auto from = z.slice(1).row(row), to = z.slice(5).row(row);
        const auto velocity = convert(path_at(settings, t[1]), "target", "velocity");
        got_traces.push_back(velocity.prediction * trace(from, t[1]) + 2 * velocity.state);
        want_traces.push_back(traces.slice(1).values[row]);
        const auto flow = reference::integrate_flow(settings, target, trace, solve, from, false);
        changes.push_back(flow.integral);
        wanted.push_back(log_p.slice(5).values[row] - log_p.slice(1).values[row]);
        EXPECT_NEAR(wanted.back(), integral.slice(1).values[row] - integral.slice(5).values[row], 1e-9);
        /* Back again. */
        std::reverse(solve.times.begin(), solve.times.end());
        const auto back = reference::integrate_flow(settings, target, trace, solve, to, false);
        EXPECT_NEAR(back.integral, -flow.integral, 1e-6);
        std::reverse(solve.times.begin(), solve.times.end());
        for (const char *pair : {"bosh3", "dopri5"}) {
          const Field<double> field = [&](const Vector<double> &state, double s) {
            const double time = t[1] + s * (t[5] - t[1]);
            const auto c = convert(path_at(settings, time), "target", "velocity");
            const auto x = target(state, time);
            return Vector<double>{(t[5] - t[1]) * (c.state * state[0] + c.prediction * x[0]),
                                  (t[5] - t[1]) * (c.state * state[1] + c.prediction * x[1])};
          };
          const auto end = reference::integrate_adaptive(field, {pair, 1e-8, 1e-9, 1000000}, from);
          EXPECT_EQ(end.reached, 1);
          ends.insert(ends.end(), end.end.begin(), end.end.end());
          states.insert(states.end(), to.begin(), to.end());
        }
      }
      expect_equal(got_traces, want_traces, path + " traces", 1e-8);
      expect_equal(changes, wanted, path + " log densities", 1e-6);
      expect_equal(ends, states, path + " by adaptive pairs", 1e-6);
      ++compared;
    }
  }
  EXPECT_GT(compared, 0);
}

}  // namespace
