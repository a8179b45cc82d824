/* Integrate kernels against the reference: every method, grid, drift and start, end points and trajectories. */
#include <gtest/gtest.h>

#include "tests/kernels/harness.h"
#include "tests/reference/random.h"
#include "tests/reference/sampler.h"
#include "tests/tile_form.h"

namespace {

using namespace kernels_test;
using reference::Network;

struct SolveCase {
  const char *variant, *prediction, *task;
  const char *method, *grid, *drift;
  bool denoise;
  int steps;
  const char *type, *hidden;
  ConditionKind condition;
  int condition_width, target_width;
  long rows;
};

const SolveCase kCases[] = {
    {"fm", "velocity", "regress", "euler", "t", "ode", false, 11, "mlp", "[17, 9]", kFloatCondition, 3, 5, 33},
    {"fm", "velocity", "regress", "midpoint", "t", "ode", false, 6, "resnet", "[12, 12, 12]", kLabelCondition, 4, 2,
     40},
    {"fm", "target", "regress", "heun", "t", "ode", false, 6, "mlp", "[10]", kByteCondition, 70, 3, 7},
    {"fm", "velocity", "generate", "rk4", "t", "ode", true, 4, "mlp", "[8, 24, 5]", kNoCondition, 0, 1, 1},
    {"fm", "noise", "regress", "exponential", "gamma", "ode", true, 5, "resnet", "[9, 4]", kFloatCondition, 2, 2, 31},
    {"fm", "velocity", "regress", "dpm2m", "gamma", "ode", false, 7, "mlp", "[16, 16, 16]", kFloatCondition, 65, 4, 64},
    {"ct", "target", "regress", "dpm2m", "gamma", "ode", true, 8, "resnet", "[13, 7]", kFloatCondition, 2, 9, 33},
    {"ct", "target", "classify", "exponential", "gamma", "ode", true, 6, "mlp", "[15, 15]", kFloatCondition, 2, 3, 32},
    {"df", "noise", "generate", "dpm2m", "gamma", "ode", true, 6, "mlp", "[12, 6]", kLabelCondition, 10, 2, 70},
    {"df", "noise", "regress", "euler", "t", "ou_mean", false, 9, "mlp", "[14]", kFloatCondition, 2, 2, 20},
    {"ct", "target", "regress", "midpoint_time", "t", "ou_mean", false, 7, "resnet", "[11]", kFloatCondition, 5, 64,
     33},
    {"ct", "velocity", "regress", "heun", "user", "ode", true, 5, "mlp", "[10, 20]", kFloatCondition, 2, 2, 31},
    {"df", "velocity", "regress", "rk4", "gamma", "ode", false, 4, "resnet", "[8, 8, 8]", kByteCondition, 9, 3, 5},
    {"ct", "target", "classify", "midpoint", "t", "ou_mean", true, 5, "mlp", "[12, 12]", kFloatCondition, 2, 4, 33},
    {"ct", "v", "generate", "dpm2m", "gamma", "ode", true, 6, "mlp", "[12, 6]", kLabelCondition, 10, 2, 70},
    {"ct", "v", "regress", "euler", "t", "ou_mean", false, 9, "mlp", "[14]", kFloatCondition, 2, 2, 20},
    {"fm", "v", "regress", "heun", "t", "ode", false, 6, "mlp", "[10]", kByteCondition, 70, 3, 7},
    {"ct", "velocity", "regress", "euler", "t", "ou_mean", false, 9, "mlp", "[14]", kFloatCondition, 2, 2, 20},
    {"fm", "velocity", "regress", "heun", "t", "ode", false, 2, "resnet", "[136, 256]", kFloatCondition, 3, 5, 5},
};

class Solves : public testing::TestWithParam<std::tuple<std::string, size_t>> {};
INSTANTIATE_TEST_SUITE_P(Cases, Solves,
                         testing::Combine(testing::Values(std::string("fp32"), std::string("tf32")),
                                          testing::Range(size_t{0}, std::size(kCases))));

INSTANTIATE_TEST_SUITE_P(Bf16, Solves,
                         testing::Combine(testing::Values(std::string("bf16")),
                                          testing::Values(size_t{1}, size_t{2}, size_t{7}, size_t{10})));

INSTANTIATE_TEST_SUITE_P(Tf32x3, Solves,
                         testing::Combine(testing::Values(std::string("tf32x3")),
                                          testing::Values(size_t{1}, size_t{2}, size_t{5}, size_t{7}, size_t{10})));

void compare_solve(const std::string &precision, size_t number) {
  const SolveCase &c = kCases[number];
  const bool classify = std::string(c.task) == "classify";
  Keys keys = {{"variant", c.variant},
               {"precision", precision},
               {"prediction", c.prediction},
               {"task", c.task},
               {"loss.error", classify ? "cross_entropy" : "squared"},
               {"latent.off_value", classify ? "-1" : "0"},
               {"schedule.type", number % 3 == 0   ? "linear"
                                 : number % 3 == 1 ? "cosine"
                                                   : "sigmoid"},
               {"loss.t_eps", number % 2 ? "0.001" : "0.02"},
               {"network.type", c.type},
               {"network.hidden", c.hidden},
               {"network.activation", number % 2 ? "swish" : "tanh"},
               {"network.dropout", "0.3"}, /* must not matter */
               {"network.time_embedding.size", "6"}};
  const Settings settings = reference::settings_from(keys);
  const auto data = make_data(settings, c.condition, c.condition_width, c.target_width, c.rows, 11);
  const Network network = reference::make_network(settings, data->shape.condition_width, c.target_width);
  const std::vector<float> parameters = random_parameters(network, 12, 1.0);
  if (std::string(c.task) == "generate")
    keys.insert(keys.end(), {{"data.target", "x"}, {"data.condition", c.condition == kNoCondition ? "null" : "y"}});
  const Model model = create_model(keys, data->shape);
  ASSERT_TRUE(model);
  ASSERT_TRUE(set_parameters(model.get(), network, parameters));
  ASSERT_TRUE(set_statistics(model.get(), *data));

  reference::Solve solve;
  solve.method = c.method, solve.steps = c.steps, solve.grid = c.grid, solve.drift = c.drift,
  solve.final_denoise = c.denoise;
  solve.times = {0, 0.1, 0.15, 0.5, 0.8, 1};
  noprop_sampler_options options = noprop_sampler_options_default(model.get());
  snprintf(options.method, sizeof options.method, "%s", c.method);
  snprintf(options.grid, sizeof options.grid, "%s", c.grid);
  snprintf(options.drift, sizeof options.drift, "%s", c.drift);
  options.steps = c.steps;
  options.final_denoise = c.denoise;
  options.times = solve.times.data();
  options.seed = 0x123456789abcdefULL;

  const size_t rows = static_cast<size_t>(c.rows), d = static_cast<size_t>(c.target_width);
  std::vector<float> start;
  std::mt19937 generator(13);
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < rows * d; ++i) start.push_back(normal(generator));
  /* All states of all rows, [steps + 1][rows * d]. */
  const auto solve_from = [&](const std::vector<Vector<Tracked>> &from) {
    std::vector<Vector<Tracked>> states;
    for (size_t row = 0; row < rows; ++row) {
      const auto one = reference::integrate(settings, network, tracked(parameters), solve, from[row],
                                            data->has_condition() ? data->reference.x[row] : Vector<Tracked>{});
      states.resize(one.size());
      for (size_t s = 0; s < one.size(); ++s) states[s].insert(states[s].end(), one[s].begin(), one[s].end());
    }
    return states;
  };
  const noprop_array *condition = data->has_condition() ? &data->condition : nullptr;
  const std::string what = std::string(precision) + " " + c.variant + " " + c.method + " " + c.grid + " " + c.drift;

  /* Given start, the bare integrator. */
  std::vector<Vector<Tracked>> from;
  for (size_t row = 0; row < rows; ++row)
    from.push_back(
        tracked({start.begin() + static_cast<long>(row * d), start.begin() + static_cast<long>((row + 1) * d)}));
  const auto want = solve_from(from);
  std::vector<float> end(rows * d);
  ASSERT_TRUE(
      ok(noprop_integrate(model.get(), &options, condition, c.rows, start.data(), end.data()), "noprop_integrate"));
  expect_within(kSolve, end, want.back(), what + " end point");

  /* The same as a trajectory, decoded as well. */
  snprintf(options.init, sizeof options.init, "given");
  options.start = start.data();
  options.trajectory = true;
  const size_t values = (static_cast<size_t>(c.steps) + 1) * rows * d;
  std::vector<float> latent(values), output(values);
  ASSERT_TRUE(
      ok(noprop_sample(model.get(), &options, condition, c.rows, latent.data(), output.data()), "noprop_sample"));
  expect_within(kSolve, latent, flat(want), what + " trajectory");
  EXPECT_TRUE(std::equal(end.begin(), end.end(), latent.end() - static_cast<long>(end.size())))
      << "end point and trajectory are not the same bits";
  Vector<Tracked> decoded = flat(want);
  if (!classify)
    for (size_t i = 0; i < decoded.size(); ++i)
      decoded[i] = decoded[i] * static_cast<double>(data->y_std[i % d]) + static_cast<double>(data->y_mean[i % d]);
  expect_within(kSolve, output, decoded, what + " decoded");

  /* Start drawn from the seed, and zero. */
  options.trajectory = false;
  snprintf(options.init, sizeof options.init, "normal");
  for (size_t row = 0; row < rows; ++row)
    from[row] =
        reference::normals<Tracked>(options.seed, reference::kStart, static_cast<uint32_t>(row), 0, c.target_width);
  ASSERT_TRUE(ok(noprop_sample(model.get(), &options, condition, c.rows, end.data(), nullptr), "noprop_sample"));
  expect_within(kSolve, end, solve_from(from).back(), what + " from a normal start");
  snprintf(options.init, sizeof options.init, "zero");
  for (auto &row : from) row.assign(d, 0.0);
  ASSERT_TRUE(ok(noprop_sample(model.get(), &options, condition, c.rows, end.data(), nullptr), "noprop_sample"));
  expect_within(kSolve, end, solve_from(from).back(), what + " from zero");
}

TEST_P(Solves, EndPointAndTrajectoryMeetTheReference) {
  compare_solve(std::get<0>(GetParam()), std::get<1>(GetParam()));
}

/* Tiles of few rows (engine/tiles.h); on tensor cores 16 rows a warp where 32 would do, or 16 that a block's warps
 * share.
 */
struct FormCase {
  const char *precision;
  size_t number;
  const char *form;
};
class FormSolves : public testing::TestWithParam<FormCase> {};
INSTANTIATE_TEST_SUITE_P(Cases, FormSolves,
                         testing::Values(FormCase{"fp32", 1, "8x2"}, FormCase{"fp32", 6, "16x4"},
                                         FormCase{"fp32", 7, "8x8"}, FormCase{"tf32", 5, "16x8"},
                                         FormCase{"tf32", 1, "16x2"}, FormCase{"bf16", 2, "16x2"},
                                         FormCase{"tf32x3", 6, "16x2"}));

/* Launches of products over all rows instead of tiles: methods of one, two and four evaluations a step. */
class LayeredSolves : public testing::TestWithParam<std::pair<const char *, size_t>> {};
INSTANTIATE_TEST_SUITE_P(Cases, LayeredSolves,
                         testing::Values(std::pair{"fp32", 3}, std::pair{"tf32", 13}, std::pair{"bf16", 6}));

TEST_P(LayeredSolves, EndPointAndTrajectoryMeetTheReference) {
  const Tier forced("layered");
  compare_solve(GetParam().first, GetParam().second);
}

TEST_P(FormSolves, EndPointAndTrajectoryMeetTheReference) {
  const TileForm forced(GetParam().form);
  compare_solve(GetParam().precision, GetParam().number);
}

}  // namespace
