/* Integrators against the survey's tables, closed forms and their orders of accuracy. */
#include "tests/reference/sampler.h"

#include <gtest/gtest.h>

namespace {

using namespace reference;

Field<double> decay(double rate) {
  return [rate](const Vector<double> &z, double) { return Vector<double>{rate * z[0]}; };
}

double solve(const std::string &method, const Field<double> &field, int steps) {
  Vector<double> z = {1};
  for (int i = 0; i < steps; ++i) z = runge_kutta_step(method, field, z, static_cast<double>(i) / steps, 1.0 / steps);
  return z[0];
}

/* Survey 8.2, nine decimals. */
TEST(RungeKutta, MeetsTheSurveysTable) {
  const Field<double> by_time = [](const Vector<double> &z, double t) { return Vector<double>{-2 * t * z[0]}; };
  struct Row {
    Field<double> field;
    int steps;
    double euler, midpoint_time, midpoint, heun, rk4;
  };
  const Row rows[] = {
      {decay(-5), 10, .000976562, .000976562, .009094947, .009094947, .006764675},
      {decay(-5), 20, .003171212, .003171212, .007174648, .007174648, .006739299},
      {by_time, 10, .381706681, .341622268, .367152910, .369053394, .367881066},
      {by_time, 20, .374384019, .355196531, .367712974, .368180532, .367879544},
  };
  for (const Row &row : rows) {
    EXPECT_NEAR(solve("euler", row.field, row.steps), row.euler, 6e-10);
    EXPECT_NEAR(solve("midpoint_time", row.field, row.steps), row.midpoint_time, 6e-10);
    EXPECT_NEAR(solve("midpoint", row.field, row.steps), row.midpoint, 6e-10);
    EXPECT_NEAR(solve("heun", row.field, row.steps), row.heun, 6e-10);
    EXPECT_NEAR(solve("rk4", row.field, row.steps), row.rk4, 6e-10);
  }
}

Settings model(const std::string &variant, const std::string &schedule = "cosine") {
  return settings_from({{"variant", variant}, {"prediction", "target"}, {"schedule.type", schedule}});
}

/* Data N(mean, s^2 I): with v = a^2 s^2 + b^2 the exact target estimate is mean + a s^2/v (z - a mean), and the flow
 * keeps (z - a mean)/sqrt(v) constant. */
struct Gaussian {
  Settings settings;
  double s, mean;
  double variance(double t) const {
    const auto p = path_at(settings, t);
    return square(p.a * s) + square(p.b);
  }
  double target_at(double z, double t) const {
    const double a = path_at(settings, t).a;
    return mean + a * s * s / variance(t) * (z - a * mean);
  }
  Field<double> target() const {
    return [this](const Vector<double> &z, double t) { return Vector<double>{target_at(z[0], t)}; };
  }
  double exact_end(double start) const {
    const double a0 = path_at(settings, 0.0).a, a1 = path_at(settings, 1.0).a;
    return a1 * mean + (start - a0 * mean) * std::sqrt(variance(1) / variance(0));
  }
};

/* Error of the end state for n steps. */
double error_of(const Gaussian &g, Solve options, int steps) {
  options.steps = steps;
  return std::fabs(integrate_field(g.settings, g.target(), options, {1.3}).back()[0] - g.exact_end(1.3));
}

TEST(Solve, ConvergesOnALinearGaussianFlowWithItsOrder) {
  struct Row {
    const char *method, *grid;
    double order;
  };
  for (const Row &row : {Row{"euler", "t", 1},
                         {"midpoint", "t", 2},
                         {"heun", "t", 2},
                         {"rk4", "t", 4},
                         {"exponential", "gamma", 1},
                         {"dpm2m", "gamma", 2}}) {
    Gaussian g{model("ct", "cosine"), 0.6, 0.9};
    g.settings.schedule.low = 0.05, g.settings.schedule.high = 0.8; /* not symmetric: symmetry raises orders */
    g.settings.loss.t_eps = 1e-9;
    Solve options;
    options.method = row.method, options.grid = row.grid;
    /* rk4's order shows before the float32 rounding of the times (6e-8) does. */
    const int n = std::string(row.method) == "rk4" ? 8 : 64;
    const double coarse = error_of(g, options, n), fine = error_of(g, options, 2 * n);
    EXPECT_NEAR(std::log2(coarse / fine), row.order, 0.35) << row.method;
  }
}

TEST(Solve, DpmIsFarMoreAccurateThanTheFirstOrderStep) {
  const Gaussian g{model("ct"), 0.6, 0.9};
  Solve first, second;
  first.method = "exponential", second.method = "dpm2m";
  first.grid = second.grid = "gamma";
  EXPECT_LT(error_of(g, second, 20), 0.2 * error_of(g, first, 20));
}

/* mathematics.md section 4: exact for a constant target at any number of steps, on both paths. */
TEST(Solve, ExponentialStepsAreExactForAConstantTarget) {
  const Field<double> constant = [](const Vector<double> &, double) { return Vector<double>{0.8}; };
  for (const char *variant : {"fm", "ct"})
    for (const char *method : {"exponential", "dpm2m"})
      for (int steps : {1, 3}) {
        Solve options;
        options.method = method, options.steps = steps;
        const Settings settings = model(variant);
        const auto first = path_at(settings, 0.0), last = path_at(settings, 1.0);
        const double e = (1.3 - first.a * 0.8) / first.b; /* the noise that the start corresponds to */
        EXPECT_NEAR(integrate_field(settings, constant, options, {1.3}).back()[0], last.a * 0.8 + last.b * e, 1e-12);
      }
}

/* Survey 1.5: z = sqrt(alpha_bar) z1 solves the drift for a constant target; deviations shrink by
 * exp(-1/2 integral gamma' (1 + alpha_bar)), 1e-3 for alpha_bar .01 to .99. */
TEST(Solve, OuMeanContractsAsPredicted) {
  Settings settings = model("ct", "linear");
  settings.schedule.low = 0.01, settings.schedule.high = 0.99;
  const Field<double> constant = [](const Vector<double> &, double) { return Vector<double>{2.0}; };
  Solve options;
  options.method = "rk4", options.steps = 2000, options.drift = "ou_mean";
  settings.loss.t_eps = 0;
  const double on_course = 0.1 * 2, off = 0.5;
  const double end = integrate_field(settings, constant, options, {on_course + off}).back()[0];
  const double shrink = 0.01 / 0.99 * std::sqrt(0.01 / 0.99); /* exp(-1/2 (gamma change) - 1/2 ln(ab1/ab0)) */
  EXPECT_NEAR(end, std::sqrt(0.99) * 2 + off * shrink, 2e-5);
  EXPECT_NEAR(shrink, 1.0e-3, 2e-5);
}

TEST(Solve, GammaGridIsEquallySpacedInGamma) {
  for (const char *variant : {"fm", "ct"}) {
    const Settings settings = model(variant);
    Solve options;
    options.grid = "gamma", options.steps = 10;
    const auto times = time_grid<double>(settings, options);
    EXPECT_EQ(times.front(), 0);
    EXPECT_EQ(times.back(), 1);
    const double step = gamma_at(settings, times[5]) - gamma_at(settings, times[4]);
    for (size_t i = 1; i + 2 < times.size(); ++i)
      EXPECT_NEAR(gamma_at(settings, times[i + 1]) - gamma_at(settings, times[i]), step, 1e-3 * step);
  }
}

TEST(Solve, FinalDenoiseReturnsThePredictedTarget) {
  const Gaussian g{model("ct"), 0.6, 0.9};
  Solve plain, denoised;
  denoised.final_denoise = true;
  const double end = integrate_field(g.settings, g.target(), plain, {1.3}).back()[0];
  const auto states = integrate_field(g.settings, g.target(), denoised, {1.3});
  EXPECT_EQ(states.size(), 21u);
  EXPECT_DOUBLE_EQ(states.back()[0], g.target()({end}, 1 - 1e-3)[0]);
}

/* With the exact target the three predictions drive the same path. */
TEST(Solve, PredictionsAreEquivalentUnderAnExactTarget) {
  for (const char *variant : {"fm", "ct"})
    for (const char *method : {"euler", "heun", "exponential", "dpm2m"}) {
      const Gaussian g{model(variant), 0.6, 0.9};
      Vector<double> ends;
      for (const char *kind : {"velocity", "noise", "target"}) {
        Settings settings = g.settings;
        settings.prediction = kind;
        const Field<double> output = [&](const Vector<double> &z, double t) {
          const auto c = convert(path_at(settings, t), "target", kind);
          return Vector<double>{c.state * z[0] + c.prediction * g.target()(z, t)[0]};
        };
        Solve options;
        options.method = method;
        ends.push_back(integrate_field(settings, output, options, {1.3}).back()[0]);
      }
      EXPECT_NEAR(ends[0], ends[2], 1e-10) << variant << method;
      EXPECT_NEAR(ends[1], ends[2], 1e-10) << variant << method;
    }
}

}  // namespace
