/* Solves beyond fixed steps of an ODE, against the reference: noise, adaptive steps, log densities, guidance. */
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/kernels/harness.h"
#include "tests/reference/random.h"
#include "tests/reference/sampler.h"

namespace {

using namespace kernels_test;
using reference::Network;

/* A small model with random parameters, for the engine and for the reference. */
struct Subject {
  Settings settings;
  Network network;
  std::unique_ptr<Data> data;
  std::vector<float> parameters, start;
  Model model;
  noprop_sampler_options options;

  Subject(Keys keys, ConditionKind condition, int condition_width, int d, long rows) {
    settings = reference::settings_from(keys);
    data = make_data(settings, condition, condition_width, d, rows, 21);
    network = reference::make_network(settings, data->shape.condition_width, d);
    parameters = random_parameters(network, 22, 1.0);
    if (settings.task == "generate")
      keys.insert(keys.end(), {{"data.target", "x"}, {"data.condition", condition == kNoCondition ? "null" : "y"}});
    model = create_model(keys, data->shape);
    if (!model || !set_parameters(model.get(), network, parameters) || !set_statistics(model.get(), *data)) {
      model.reset();
      return;
    }
    std::mt19937 generator(23);
    std::normal_distribution<float> normal;
    for (long i = 0; i < rows * d; ++i) start.push_back(normal(generator));
    options = noprop_sampler_options_default(model.get());
    options.final_denoise = 0;
    options.start = start.data();
    options.seed = 0x123456789abcdefULL;
    snprintf(options.init, sizeof options.init, "given");
  }
  size_t d() const { return static_cast<size_t>(network.latent); }
  size_t rows() const { return static_cast<size_t>(data->rows); }
  const noprop_array *condition() const { return data->has_condition() ? &data->condition : nullptr; }
  Vector<Tracked> start_of(size_t row) const {
    return tracked({start.begin() + static_cast<long>(row * d()), start.begin() + static_cast<long>((row + 1) * d())});
  }
  Vector<Tracked> x_of(size_t row) const { return data->has_condition() ? data->reference.x[row] : Vector<Tracked>{}; }
  void set(const char *method, const char *grid, const char *drift, int steps) {
    snprintf(options.method, sizeof options.method, "%s", method);
    snprintf(options.grid, sizeof options.grid, "%s", grid);
    snprintf(options.drift, sizeof options.drift, "%s", drift);
    options.steps = steps;
  }
};

Vector<double> values_of(const Vector<Tracked> &v) {
  Vector<double> result;
  for (const Tracked &t : v) result.push_back(t.value);
  return result;
}

/* ---- noise ---- */

TEST(StochasticSolves, MeetTheReference) {
  struct Row {
    const char *variant, *prediction, *method, *grid;
    double churn;
    bool denoise;
  };
  for (const Row &c : {Row{"ct", "target", "euler_maruyama", "gamma", 0.7, true},
                       Row{"df", "noise", "exponential", "gamma", 0.5, false},
                       Row{"fm", "velocity", "dpm2m", "gamma", 1, false}, Row{"ct", "target", "dpm2m", "t", 1, true}}) {
    Subject s({{"variant", c.variant},
               {"prediction", c.prediction},
               {"task", "regress"},
               {"network.hidden", "[12, 6]"},
               {"network.time_embedding.size", "6"},
               {"schedule.alpha_bar", "[0.02, 0.97]"},
               {"loss.t_eps", "0.02"}},
              kFloatCondition, 2, 6, 35);
    ASSERT_TRUE(s.model);
    s.set(c.method, c.grid, "sde", 7);
    s.options.churn = c.churn;
    s.options.final_denoise = c.denoise;
    s.options.trajectory = true;
    reference::Solve solve;
    solve.method = c.method, solve.grid = c.grid, solve.steps = 7, solve.drift = "sde", solve.churn = c.churn;
    solve.final_denoise = c.denoise;
    solve.seed = s.options.seed;
    std::vector<Vector<Tracked>> want(8);
    for (size_t row = 0; row < s.rows(); ++row) {
      solve.row = static_cast<uint32_t>(row);
      const auto states =
          reference::integrate(s.settings, s.network, tracked(s.parameters), solve, s.start_of(row), s.x_of(row));
      for (size_t i = 0; i < states.size(); ++i) want[i].insert(want[i].end(), states[i].begin(), states[i].end());
    }
    std::vector<float> latent(8 * s.start.size());
    ASSERT_TRUE(ok(noprop_sample(s.model.get(), &s.options, s.condition(), s.data->rows, latent.data(), nullptr),
                   "noprop_sample"));
    expect_within(kSolve, latent, flat(want), std::string(c.variant) + " " + c.method);
  }
}

/* ---- log densities ---- */

/* Standardised and mean-free constants that every row shares. */
double constant_of(const Subject &s) {
  double sum = reference::log_normal(Vector<double>(s.d(), 0.0));
  for (const float std : s.data->y_std) sum -= std::log(static_cast<double>(std));
  return sum;
}

TEST(LogDensities, MeetTheReferenceBothWays) {
  struct Row {
    const char *variant, *prediction, *type, *hidden, *method;
    ConditionKind condition;
    int width, d, probes;
  };
  for (const Row &c : {Row{"fm", "velocity", "resnet", "[9, 9, 9, 9]", "rk4", kLabelCondition, 4, 3, 0},
                       Row{"ct", "target", "mlp", "[12, 12, 12, 12]", "heun", kFloatCondition, 2, 5, 3},
                       Row{"df", "noise", "mlp", "[10, 7]", "midpoint", kNoCondition, 0, 8, 0}}) {
    Subject s({{"variant", c.variant},
               {"prediction", c.prediction},
               {"task", "generate"},
               {"network.type", c.type},
               {"network.hidden", c.hidden},
               {"network.time_embedding.size", "6"},
               {"schedule.alpha_bar", "[0.02, 0.97]"},
               {"loss.t_eps", "0.02"}},
              c.condition, c.width, c.d, 35);
    ASSERT_TRUE(s.model);
    s.set(c.method, "t", "ode", 6);
    s.options.probes = c.probes;
    reference::Solve solve;
    solve.method = c.method, solve.steps = 6;
    for (const bool reverse : {false, true}) {
      Vector<Tracked> ends, densities;
      for (size_t row = 0; row < s.rows(); ++row) {
        std::vector<Vector<double>> probes;
        for (int k = 0; k < c.probes; ++k)
          probes.push_back(
              reference::probe_signs(s.options.seed, static_cast<uint32_t>(row), static_cast<uint32_t>(k), c.d));
        const Vector<Tracked> from = reverse ? s.data->reference.z1[row] : s.start_of(row);
        const auto flow = reference::integrate_flow(s.settings, s.network, tracked(s.parameters), solve, from,
                                                    s.x_of(row), reverse, probes);
        Tracked density = constant_of(s);
        for (const Tracked &z : reverse ? flow.end : from) density -= 0.5 * (z * z);
        densities.push_back(reverse ? density - flow.integral : density + flow.integral);
        ends.insert(ends.end(), flow.end.begin(), flow.end.end());
      }
      std::vector<float> latent(s.start.size()), got;
      std::vector<double> log_density(s.rows());
      std::vector<noprop_solve_row> rows(s.rows());
      const noprop_solve_results results = {latent.data(), nullptr, log_density.data(), rows.data()};
      const noprop_status status = reverse
                                       ? noprop_log_density(s.model.get(), &s.options, s.condition(), &s.data->target,
                                                            log_density.data(), latent.data(), rows.data())
                                       : noprop_solve(s.model.get(), &s.options, s.condition(), s.data->rows, &results);
      ASSERT_TRUE(ok(status, "a log density"));
      for (const double v : log_density) got.push_back(static_cast<float>(v));
      const std::string what = std::string(c.variant) + " " + c.method + (reverse ? " of data" : " of samples");
      expect_within(kSolve, latent, ends, what + ", states");
      for (Tracked &v : densities) v = reference::rounded(v.value, v.variance);
      expect_within(kSolve, got, densities, what);
      for (const auto &row : rows) EXPECT_EQ(row.outcome, NOPROP_SOLVE_DONE);
    }
  }
}

/* ---- adaptive steps ---- */

/* How much larger an error of component j at some time is in component i at the end, at most: [i][j], by differences of
 * solves from four times on. */
std::vector<Vector<double>> growth_of(const reference::Field<double> &field, const Vector<double> &start) {
  const size_t n = start.size();
  std::vector<Vector<double>> growth(n, Vector<double>(n, 0.0));
  for (size_t i = 0; i < n; ++i) growth[i][i] = 1; /* of an error at the end */
  Vector<double> at = start;
  const reference::AdaptiveSolve close = {"dopri5", 1e-6, 1e-7, 100000};
  for (int quarter = 0; quarter < 4; ++quarter) {
    const double from = 0.25 * quarter;
    const auto part = [&](double length) {
      return [&field, from, length](const Vector<double> &z, double s) {
        Vector<double> slope = field(z, from + length * s);
        for (double &v : slope) v *= length;
        return slope;
      };
    };
    const Vector<double> end = reference::integrate_adaptive(part(1 - from), close, at).end;
    for (size_t j = 0; j < n; ++j) {
      Vector<double> moved = at;
      moved[j] += 1e-3;
      const Vector<double> other = reference::integrate_adaptive(part(1 - from), close, moved).end;
      for (size_t i = 0; i < n; ++i) growth[i][j] = std::max(growth[i][j], std::fabs(other[i] - end[i]) / 1e-3);
    }
    at = reference::integrate_adaptive(part(0.25), close, at).end;
  }
  return growth;
}

/* What tolerances promise of the end. An accepted step's estimated error has a root mean square of at most 1 in units
 * of the components' tolerances t_j, so that it adds at most sum_j G_ij e_j <= sqrt(n sum_j (G_ij t_j)^2) to component
 * i (Cauchy and Schwarz), and there are `steps` of them. (The estimate is of the formula of lower order; the one that
 * is kept errs less.) Float32 adds the errors of the field, 12 deviations over unit time, which grow alike. */
Vector<double> promised_errors(const std::vector<Vector<double>> &growth, const Vector<double> &size, double rtol,
                               int steps, double field_deviation) {
  const size_t n = size.size();
  Vector<double> errors;
  for (size_t i = 0; i < n; ++i) {
    double squares = 0, rounding = 0;
    for (size_t j = 0; j < n; ++j) {
      const double part = growth[i][j] * rtol * (0.1 + size[j]);
      squares += part * part;
      rounding += growth[i][j] * 12 * field_deviation;
    }
    errors.push_back(steps * std::sqrt(static_cast<double>(n) * squares) + rounding);
  }
  return errors;
}

TEST(AdaptiveSolves, TakeTheReferencesStepsAndMeetTheTolerance) {
  struct Row {
    const char *variant, *prediction, *method, *drift;
    double rtol;
    bool density;
  };
  for (const Row &c :
       {Row{"fm", "velocity", "dopri5", "ode", 1e-5, false}, Row{"ct", "target", "bosh3", "ode", 1e-4, false},
        Row{"df", "noise", "dopri5", "ou_mean", 1e-4, false}, Row{"fm", "velocity", "dopri5", "ode", 1e-5, true}}) {
    Subject s({{"variant", c.variant},
               {"prediction", c.prediction},
               {"task", "regress"},
               {"network.hidden", "[12, 6]"},
               {"network.time_embedding.size", "6"},
               {"schedule.alpha_bar", "[0.02, 0.97]"},
               {"loss.t_eps", "0.001"}},
              kFloatCondition, 2, 3, 40);
    ASSERT_TRUE(s.model);
    s.set(c.method, "auto", c.drift, 5);
    s.options.rtol = c.rtol;
    s.options.atol = 0.1 * c.rtol;
    std::vector<float> latent(s.start.size());
    std::vector<double> log_density(s.rows());
    std::vector<noprop_solve_row> rows(s.rows());
    const noprop_solve_results results = {latent.data(), nullptr, c.density ? log_density.data() : nullptr,
                                          rows.data()};
    ASSERT_TRUE(ok(noprop_solve(s.model.get(), &s.options, s.condition(), s.data->rows, &results), "noprop_solve"));
    Vector<double> parameters(s.parameters.begin(), s.parameters.end());
    double worst = 0, in_tolerances = 0, worst_density = 0, most_steps = 0, fewest = 1e9;
    for (size_t row = 0; row < s.rows(); ++row) {
      const Vector<double> x = values_of(s.x_of(row)), from = values_of(s.start_of(row));
      const double low = s.settings.loss.t_eps;
      const auto output = [&](const Vector<double> &z, double t) {
        return reference::forward(s.network, parameters, z, x, reference::embed_time(s.settings, t)).output();
      };
      const reference::Field<double> field = [&](const Vector<double> &state, double t) {
        t = std::min(std::max(t, low), 1 - low);
        const Vector<double> z(state.begin(), state.begin() + 3);
        const auto form = reference::convert(reference::path_at(s.settings, t), s.settings.predicted(),
                                             std::string(c.drift) == "ode" ? "velocity" : "ou_mean");
        Vector<double> p = output(z, t);
        for (size_t i = 0; i < 3; ++i) p[i] = form.state * z[i] + form.prediction * p[i];
        if (!c.density) return p;
        /* The trace by central differences. */
        double trace = 0;
        for (size_t i = 0; i < 3; ++i) {
          Vector<double> up = z, down = z;
          up[i] += 1e-5, down[i] -= 1e-5;
          trace += (output(up, t)[i] - output(down, t)[i]) / 2e-5;
        }
        p.push_back(-(form.prediction * trace + 3 * form.state));
        return p;
      };
      Vector<double> state = from;
      if (c.density) state.push_back(0);
      const auto same = reference::integrate_adaptive(field, {c.method, c.rtol, 0.1 * c.rtol, 1000}, state);
      EXPECT_EQ(rows[row].outcome, NOPROP_SOLVE_DONE);
      EXPECT_EQ(rows[row].reached, 1);
      /* Float32 errors move step sizes a little, and with them now and then a step. */
      EXPECT_NEAR(rows[row].steps, same.steps, 1) << row;
      EXPECT_NEAR(rows[row].rejections, same.rejections, 1) << row;
      EXPECT_EQ(rows[row].calls,
                2 + (std::string(c.method) == "bosh3" ? 3 : 6) * (rows[row].steps + rows[row].rejections));
      most_steps = std::max(most_steps, static_cast<double>(rows[row].steps));
      fewest = std::min(fewest, static_cast<double>(rows[row].steps));
      if (row % 8 != 0) continue; /* what is promised takes some hundred solves a row */
      const auto exact = reference::integrate_adaptive(field, {"dopri5", 1e-10, 1e-11, 100000}, state);
      Vector<double> size = state;
      for (size_t i = 0; i < size.size(); ++i) size[i] = std::max(std::fabs(state[i]), std::fabs(exact.end[i]));
      double deviation = 0; /* of the field in float32 */
      for (const double t : {low, 0.3, 0.6, 1 - low}) {
        const Tracked time = reference::rounded(t, 0);
        const auto path = reference::path_at<Tracked>(s.settings, time);
        const auto trace = reference::forward<Tracked>(s.network, tracked(s.parameters), s.start_of(row), s.x_of(row),
                                                       reference::embed_time<Tracked>(s.settings, time));
        for (const Tracked &v :
             reference::predicted_drift<Tracked>(s.settings, path, c.drift, s.start_of(row), trace.output()))
          deviation = std::max(deviation, v.deviation());
      }
      const Vector<double> allowed = promised_errors(growth_of(field, state), size, c.rtol, rows[row].steps, deviation);
      for (size_t i = 0; i < 3; ++i) {
        const double error = std::fabs(static_cast<double>(latent[3 * row + i]) - exact.end[i]);
        worst = std::max(worst, error / allowed[i]);
        in_tolerances = std::max(in_tolerances, error / (c.rtol * (0.1 + std::fabs(exact.end[i]))));
      }
      if (c.density)
        worst_density =
            std::max(worst_density, std::fabs(log_density[row] - (constant_of(s) - reference::log_normal({0, 0, 0}) +
                                                                  reference::log_normal(from) + exact.end[3])) /
                                        allowed[3]);
    }
    std::printf("[  share   ] %s %s: error %.2g, density %.2g of what is promised; %.2f tolerances, steps %g to %g\n",
                c.variant, c.method, worst, worst_density, in_tolerances, fewest, most_steps);
    EXPECT_LT(worst, 1);
    EXPECT_LT(worst_density, 1);
    EXPECT_GT(in_tolerances, 0.01) << "so small an error that the tolerance was not what decided";
    EXPECT_LT(fewest, most_steps) << "rows have steps of their own";
  }
}

/* Every tile of 32 rows takes steps of its own, as the earlier systems do with a batch; the last state may be denoised.
 * Steps of width 0 at the end change nothing more. */
TEST(AdaptiveCompat, TakesTheEarlierSystemsStepsForEveryTile) {
  Subject s({{"variant", "fm"},
             {"task", "regress"},
             {"network.hidden", "[12, 6]"},
             {"network.time_embedding.size", "6"},
             {"loss.t_eps", "0.02"}},
            kFloatCondition, 2, 3, 41);
  ASSERT_TRUE(s.model);
  const int steps = 7;
  s.set("adaptive_compat", "auto", "ode", steps);
  s.options.trajectory = true;
  s.options.final_denoise = 1;
  const auto clamped = [&](Tracked t) { return std::min(std::max(t.value, 0.02), 0.98); };
  const auto output = [&](size_t row, const Vector<Tracked> &z, double t) {
    return reference::forward(s.network, tracked(s.parameters), z, s.x_of(row), embed_time(s.settings, Tracked(t)))
        .output();
  };
  std::vector<Vector<Tracked>> want(steps + 1);
  Vector<double> reached;
  for (size_t first = 0; first < s.rows(); first += 32) {
    std::vector<reference::Field<Tracked>> fields;
    std::vector<Vector<Tracked>> start;
    for (size_t row = first; row < std::min(first + 32, s.rows()); ++row) {
      start.push_back(s.start_of(row));
      fields.push_back([&, row](const Vector<Tracked> &z, Tracked t) { return output(row, z, clamped(t)); });
    }
    auto tile = reference::integrate_adaptive_compat<Tracked>(fields, 0, 1, steps, start);
    reached.push_back(tile.reached);
    tile.states.back().clear(); /* the target that is predicted where the steps ended */
    const double t = tile.reached;
    for (size_t i = 0; i < start.size(); ++i)
      for (size_t j = 0; j < 3; ++j)
        tile.states.back().push_back(tile.end[i][j] + (1 - t) * output(first + i, tile.end[i], t)[j]);
    for (size_t k = 0; k < want.size(); ++k)
      want[k].insert(want[k].end(), tile.states[k].begin(), tile.states[k].end());
  }
  std::vector<float> latent(want.size() * s.start.size());
  std::vector<noprop_solve_row> rows(s.rows());
  const noprop_solve_results results = {latent.data(), nullptr, nullptr, rows.data()};
  noprop_device_counters before, after;
  ASSERT_TRUE(ok(noprop_device_get_counters(device(), &before), "counters"));
  ASSERT_TRUE(ok(noprop_solve(s.model.get(), &s.options, s.condition(), s.data->rows, &results), "noprop_solve"));
  ASSERT_TRUE(ok(noprop_device_get_counters(device(), &after), "counters"));
  EXPECT_EQ(after.launches - before.launches, 1u);
  expect_within(kSolve, latent, flat(want), "adaptive_compat");
  for (size_t row = 0; row < s.rows(); ++row) {
    EXPECT_NEAR(rows[row].reached, reached[row / 32], 1e-6);
    EXPECT_EQ(rows[row].outcome, NOPROP_SOLVE_STEP_CAP);
    EXPECT_EQ(rows[row].calls, 5 * steps + 1);
  }
  /* Nothing moves: steps grow by half and meet the end before all are taken. */
  s.parameters.assign(s.parameters.size(), 0.0F);
  ASSERT_TRUE(set_parameters(s.model.get(), s.network, s.parameters));
  ASSERT_TRUE(ok(noprop_solve(s.model.get(), &s.options, s.condition(), s.data->rows, &results), "noprop_solve"));
  for (const noprop_solve_row &row : rows) {
    EXPECT_EQ(row.outcome, NOPROP_SOLVE_DONE);
    EXPECT_EQ(row.reached, 1);
    EXPECT_EQ(row.steps, 4); /* 1/7 (1 + 3/2 + 9/4 + 27/8) > 1 */
  }
  for (size_t k = 0; k < want.size(); ++k)
    EXPECT_EQ(std::vector<float>(latent.begin() + static_cast<long>(k * s.start.size()),
                                 latent.begin() + static_cast<long>((k + 1) * s.start.size())),
              s.start);
}

/* Survey 8.2: dz/dt = -5z by a network that says so; 20 steps end at t = .144, 200 at .834. */
TEST(AdaptiveCompat, StopsBeforeTheEndAsSurveyed) {
  Subject s({{"variant", "fm"},
             {"task", "regress"},
             {"network.hidden", "[12]"},
             {"network.activation", "linear"},
             {"network.time_embedding.size", "6"},
             {"loss.t_eps", "0"}},
            kFloatCondition, 2, 3, 5);
  ASSERT_TRUE(s.model);
  s.parameters.assign(s.parameters.size(), 0.0F);
  for (const char *name : {"squash.z.weight", "output.weight"}) {
    const auto &array = s.network.array(name);
    for (long i = 0; i < 3; ++i)
      s.parameters[static_cast<size_t>(array.offset + i * array.columns + i)] = name[0] == 'o' ? -5.0F : 1.0F;
  }
  ASSERT_TRUE(set_parameters(s.model.get(), s.network, s.parameters));
  s.start.assign(s.start.size(), 1.0F);
  s.options.start = s.start.data();
  const std::vector<reference::Field<double>> decay = {
      [](const Vector<double> &z, double) { return Vector<double>{-5 * z[0]}; }};
  for (const auto &[steps, reached] : {std::pair{20, 0.144}, {200, 0.834}}) {
    s.set("adaptive_compat", "auto", "ode", steps);
    std::vector<float> latent(s.start.size());
    std::vector<noprop_solve_row> rows(s.rows());
    const noprop_solve_results results = {latent.data(), nullptr, nullptr, rows.data()};
    ASSERT_TRUE(ok(noprop_solve(s.model.get(), &s.options, s.condition(), s.data->rows, &results), "noprop_solve"));
    EXPECT_NEAR(rows[0].reached, reached, 5e-4);
    EXPECT_EQ(rows[0].outcome, NOPROP_SOLVE_STEP_CAP);
    /* The steps' own error is part of it: .488 in the survey, exp(-5 .144) = .487. */
    const double end = reference::integrate_adaptive_compat<double>(decay, 0, 1, steps, {{1}}).end[0][0];
    if (steps == 20) {
      EXPECT_NEAR(end, 0.488, 5e-4);
    }
    for (const float z : latent) EXPECT_NEAR(z, end, 1e-5);
  }
}

/* ---- guidance ---- */

/* Rows lose their condition in training as the seed says, and gradients do not reach its branch through them. */
TEST(Guidance, TrainingLeavesConditionsOutAsTheReferenceDoes) {
  for (const char *type : {"mlp", "resnet"}) {
    Subject s({{"variant", "ct"},
               {"task", "regress"},
               {"network.type", type},
               {"network.hidden", "[12, 6]"},
               {"network.time_embedding.size", "6"},
               {"loss.condition_dropout", "0.4"},
               {"optimizer.type", "sgd"},
               {"optimizer.learning_rate", "0.1"},
               {"seed", "77"}},
              kFloatCondition, 2, 3, 45);
    ASSERT_TRUE(s.model);
    const auto want = reference::train(s.settings, s.network, tracked(s.parameters), s.data->reference, 20, 4, 100);
    const auto batch = reference::training_batch(s.settings, s.network, s.data->reference, 20, 0);
    const long without = std::count(batch.without_condition.begin(), batch.without_condition.end(), true);
    EXPECT_GT(without, 0);
    EXPECT_LT(without, 20);
    ASSERT_TRUE(ok(noprop_model_bind(s.model.get(), s.condition(), &s.data->target, 20), "noprop_model_bind"));
    ASSERT_TRUE(ok(noprop_model_train_step(s.model.get(), 4), "noprop_model_train_step"));
    expect_within(kParameters, parameters_of(s.model.get()), want.parameters, type, &s.parameters);
  }
}

/* p0 + s (p1 - p0), in fixed, adaptive and density-carrying solves; scale 0 does not depend on the condition. */
TEST(Guidance, SolvesMeetTheReference) {
  Subject s({{"variant", "fm"},
             {"task", "generate"},
             {"network.hidden", "[12, 6]"},
             {"network.time_embedding.size", "6"},
             {"loss.condition_dropout", "0.2"},
             {"loss.t_eps", "0.02"}},
            kLabelCondition, 4, 3, 37);
  ASSERT_TRUE(s.model);
  reference::Solve solve;
  solve.method = "heun", solve.steps = 5, solve.guidance = 2.5;
  s.set("heun", "t", "ode", 5);
  s.options.guidance = 2.5;
  Vector<Tracked> want;
  for (size_t row = 0; row < s.rows(); ++row) {
    const auto states =
        reference::integrate(s.settings, s.network, tracked(s.parameters), solve, s.start_of(row), s.x_of(row));
    want.insert(want.end(), states.back().begin(), states.back().end());
  }
  std::vector<float> latent(s.start.size()), again(latent);
  std::vector<noprop_solve_row> rows(s.rows());
  ASSERT_TRUE(ok(noprop_sample(s.model.get(), &s.options, s.condition(), s.data->rows, latent.data(), nullptr),
                 "noprop_sample"));
  expect_within(kSolve, latent, want, "guided heun");

  /* With a density, the state is the same, to the bit; and the density integrates the guided field's divergence, which
   * central differences of the flow map's logarithmic volume confirm. */
  std::vector<double> density(s.rows());
  const noprop_solve_results results = {again.data(), nullptr, density.data(), rows.data()};
  ASSERT_TRUE(ok(noprop_solve(s.model.get(), &s.options, s.condition(), s.data->rows, &results), "noprop_solve"));
  EXPECT_EQ(again, latent);
  EXPECT_EQ(rows[0].calls, 2 * 2 * 5);
  s.options.steps = solve.steps = 60; /* the divergence's quadrature is of second order */
  ASSERT_TRUE(ok(noprop_solve(s.model.get(), &s.options, s.condition(), s.data->rows, &results), "noprop_solve"));
  const Vector<double> parameters(s.parameters.begin(), s.parameters.end());
  for (size_t row = 0; row < 5; ++row) {
    const Vector<double> from = values_of(s.start_of(row)), x = values_of(s.x_of(row));
    double jacobian[3][3];
    for (size_t j = 0; j < 3; ++j) {
      Vector<double> up = from, down = from;
      up[j] += 1e-4, down[j] -= 1e-4;
      const auto a = reference::integrate(s.settings, s.network, parameters, solve, up, x).back(),
                 b = reference::integrate(s.settings, s.network, parameters, solve, down, x).back();
      for (size_t i = 0; i < 3; ++i) jacobian[i][j] = (a[i] - b[i]) / 2e-4;
    }
    const auto &m = jacobian;
    const double volume = m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) -
                          m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
                          m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
    const double want_density =
        reference::log_normal(from) - std::log(std::fabs(volume)) + constant_of(s) - reference::log_normal({0, 0, 0});
    EXPECT_NEAR(density[row], want_density, 0.02) << row;
  }

  /* Adaptive steps come to the same end. */
  ASSERT_TRUE(ok(noprop_sample(s.model.get(), &s.options, s.condition(), s.data->rows, latent.data(), nullptr),
                 "noprop_sample"));
  s.set("dopri5", "auto", "ode", 5);
  ASSERT_TRUE(ok(noprop_sample(s.model.get(), &s.options, s.condition(), s.data->rows, again.data(), nullptr),
                 "noprop_sample"));
  for (size_t i = 0; i < latent.size(); ++i) EXPECT_NEAR(latent[i], again[i], 0.02 * (1 + std::fabs(latent[i])));
}

}  // namespace
