/* Minibatch optimal transport on the device, against the reference's solution of the assignment problem. */
#include "tests/reference/coupling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "tests/kernels/harness.h"
#include "tests/reference/random.h"

namespace {

using namespace kernels_test;

Keys keys_of(const std::string &variant, const std::string &task, const Keys &more = {}) {
  Keys keys = {{"variant", variant},      {"task", task},
               {"coupling", "ot"},        {"seed", "7"},
               {"optimizer.clip", "0.5"}, {"network.hidden", "[24, 24, 24]"}};
  if (task == "generate") keys.insert(keys.end(), {{"data.target", "x"}, {"data.condition", "null"}});
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

Settings settings_of(const Keys &keys) {
  Keys known;
  for (const auto &[key, value] : keys)
    if (key.compare(0, 5, "data.") != 0) known.push_back({key, value});
  return reference::settings_from(known);
}

std::vector<std::vector<double>> values_of(const std::vector<Vector<Tracked>> &rows) {
  std::vector<std::vector<double>> values;
  for (const auto &row : rows) {
    values.emplace_back();
    for (const Tracked &value : row) values.back().push_back(value.value);
  }
  return values;
}

double distance(const std::vector<double> &a, const std::vector<double> &b) {
  double sum = 0;
  for (size_t k = 0; k < a.size(); ++k) sum += (a[k] - b[k]) * (a[k] - b[k]);
  return sum;
}

struct Case {
  const char *name, *variant, *task, *precision;
  int width;
  long rows;
  bool gradient; /* the kernel that trains, else the one that validates */
};

const Case kCases[] = {
    {"PlaneInTwoGroups", "fm", "generate", "fp32", 2, 300, true}, {"Labels", "fm", "classify", "fp32", 5, 256, true},
    {"ManyFeatures", "fm", "regress", "fp32", 19, 70, false},     {"OneRow", "fm", "generate", "fp32", 2, 1, false},
    {"TensorCores", "fm", "generate", "tf32", 2, 300, true},
};

class Coupling : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Shapes, Coupling, testing::ValuesIn(kCases),
                         [](const auto &info) { return std::string(info.param.name); });

/* At t = 0 the linear path's state is the noise itself, so that it says whose noise a row was given. */
TEST_P(Coupling, GivesEveryRowAnotherRowsNoiseAtTheLeastTotalCost) {
  const Case &c = GetParam();
  const Keys keys = keys_of(c.variant, c.task, {{"precision", c.precision}});
  const Settings settings = settings_of(keys);
  const auto data =
      make_data(settings, std::string(c.task) == "generate" ? kNoCondition : kFloatCondition, 3, c.width, c.rows, 21);
  const Model model = create_model(keys, data->shape);
  ASSERT_TRUE(model);
  ASSERT_TRUE(set_statistics(model.get(), *data));
  const size_t rows = static_cast<size_t>(c.rows), d = static_cast<size_t>(c.width);
  const uint32_t step = 5;
  std::vector<float> t(rows, 0.0f), z(rows * d),
      gradient(static_cast<size_t>(noprop_model_parameter_values(model.get())));
  noprop_loss_request request = {};
  request.rows = c.rows;
  request.condition = data->condition.values;
  request.target = data->target.values;
  request.step = step;
  request.t = t.data();
  request.z = z.data();
  request.gradient = c.gradient ? gradient.data() : nullptr;
  noprop_loss_terms terms;
  ASSERT_TRUE(ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss"));

  const auto z1 = values_of(data->reference.z1);
  std::vector<std::vector<double>> noise;
  for (uint32_t i = 0; i < rows; ++i)
    noise.push_back(reference::normals<double>(settings.seed, reference::kNoise, i, step, c.width));
  const std::vector<long> best = reference::optimal_partners(z1, noise);
  std::vector<long> partners;
  double cost = 0, least = 0, largest = 0;
  for (size_t i = 0; i < rows; ++i) {
    const std::vector<double> state(z.begin() + static_cast<long>(i * d), z.begin() + static_cast<long>((i + 1) * d));
    const size_t first = i / 256 * 256, last = std::min(rows, first + 256);
    size_t partner = first;
    for (size_t j = first; j < last; ++j) {
      if (distance(state, noise[j]) < distance(state, noise[partner])) partner = j;
      largest = std::max(largest, distance(z1[i], noise[j]));
    }
    EXPECT_LT(distance(state, noise[partner]), 1e-10) << "row " << i << " has the noise of no row of its group";
    partners.push_back(static_cast<long>(partner));
    cost += distance(z1[i], noise[partner]);
    least += distance(z1[i], noise[static_cast<size_t>(best[i])]);
  }
  std::vector<long> sorted = partners;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < rows; ++i) EXPECT_EQ(sorted[i], static_cast<long>(i)) << "the partners are no permutation";
  /* Costs are whole multiples of the largest / 2^20: a row's share of the assignment is exact to that. */
  EXPECT_LE(cost - least, static_cast<double>(rows) * largest * 0x1p-20);
  EXPECT_GE(cost - least, -1e-9 * least);
}

/* The whole of training, windows of solved steps, partial batches and the next epoch included. */
TEST(CouplingTraining, FollowsTheReference) {
  for (const char *variant : {"fm", "ct"}) {
    const bool given = std::string(variant) == "ct"; /* labels would not do: equal ones may change partners */
    const Keys keys = keys_of(variant, given ? "regress" : "generate", {{"loss.draws", given ? "2" : "1"}});
    const Settings settings = settings_of(keys);
    const auto data = make_data(settings, given ? kFloatCondition : kNoCondition, 3, given ? 5 : 2, 150, 22);
    const auto network = reference::make_network(settings, data->shape.condition_width, given ? 5 : 2);
    const auto parameters = random_parameters(network, 5);
    Keys engine = keys;
    engine.insert(engine.end(), {{"train.steps", "12"}, {"train.batch", "64"}});
    const Model model = create_model(engine, data->shape);
    ASSERT_TRUE(model);
    ASSERT_TRUE(set_parameters(model.get(), network, parameters) && set_statistics(model.get(), *data));
    ASSERT_TRUE(ok(noprop_model_bind(model.get(), given ? &data->condition : nullptr, &data->target, 64), "bind"));
    ASSERT_TRUE(ok(noprop_model_train_step(model.get(), 5), "noprop_model_train_step"));
    const auto want =
        reference::train(settings, network, tracked(parameters), data->reference, 64, int64_t{5}, int64_t{12});
    expect_within(kParameters, parameters_of(model.get()), want.parameters, variant, &parameters);
  }
}

std::vector<float> trained(const std::vector<long> &portions, bool streamed, noprop_device_counters *counters) {
  const Keys keys = keys_of("fm", "generate");
  const auto data = make_data(settings_of(keys), kNoCondition, 0, 2, 1000, 23);
  const Model model = create_model(keys, data->shape);
  if (!model) return {};
  setenv("NOPROP_STREAM", streamed ? "1" : "0", 1);
  setenv("NOPROP_STREAM_BYTES", "4096", 1); /* less than an epoch */
  EXPECT_TRUE(ok(noprop_model_bind(model.get(), nullptr, &data->target, 64), "noprop_model_bind"));
  unsetenv("NOPROP_STREAM"), unsetenv("NOPROP_STREAM_BYTES");
  noprop_device_counters before;
  noprop_device_get_counters(device(), &before);
  for (const long steps : portions) EXPECT_TRUE(ok(noprop_model_train_step(model.get(), steps), "train_step"));
  noprop_device_get_counters(device(), counters);
  counters->launches -= before.launches;
  return parameters_of(model.get());
}

TEST(CouplingTraining, TheSameBitsWhicheverWindowsAreSolvedAndHoweverRowsAreHeld) {
  noprop_device_counters counters;
  const std::vector<float> whole = trained({140}, false, &counters);
  ASSERT_FALSE(whole.empty());
  EXPECT_EQ(trained({1, 70, 3, 66}, false, &counters), whole);
  EXPECT_EQ(trained({100, 40}, true, &counters), whole);
}

/* Three launches a step with clipping, and one for the pairs of 64 steps. */
TEST(CouplingTraining, OneLaunchSolvesSixtyFourSteps) {
  noprop_device_counters counters;
  ASSERT_FALSE(trained({128}, false, &counters).empty());
  EXPECT_EQ(counters.launches, 3u * 128u + 2u);
}

/* Samples need the velocity alone; a stochastic solve would need a score that this training does not give. */
TEST(CouplingSampling, StochasticSolvesAreRefused) {
  const Keys keys = keys_of("ct", "generate");
  const auto data = make_data(settings_of(keys), kNoCondition, 0, 2, 8, 25);
  const Model model = create_model(keys, data->shape);
  ASSERT_TRUE(model);
  noprop_sampler_options options = noprop_sampler_options_default(model.get());
  snprintf(options.drift, sizeof options.drift, "sde");
  float latent[4];
  EXPECT_EQ(noprop_sample(model.get(), &options, nullptr, 2, latent, nullptr), NOPROP_INVALID_ARGUMENT);
  EXPECT_NE(std::string(noprop_last_error()).find("coupling ot"), std::string::npos) << noprop_last_error();
}

/* Statistics or a position that change while rows are bound make what was solved ahead useless. */
TEST(CouplingTraining, PairsFollowStatisticsSetAfterTheBinding) {
  const Keys keys = keys_of("fm", "generate");
  const auto data = make_data(settings_of(keys), kNoCondition, 0, 2, 200, 24);
  std::vector<float> results[2];
  for (int again = 0; again < 2; ++again) {
    const Model model = create_model(keys, data->shape);
    ASSERT_TRUE(model);
    ASSERT_TRUE(ok(noprop_model_bind(model.get(), nullptr, &data->target, 64), "noprop_model_bind"));
    ASSERT_TRUE(ok(noprop_model_train_step(model.get(), 1), "noprop_model_train_step"));
    ASSERT_TRUE(set_statistics(model.get(), *data));
    if (again) {
      ASSERT_TRUE(ok(noprop_model_bind(model.get(), nullptr, &data->target, 64), "noprop_model_bind"));
    }
    ASSERT_TRUE(ok(noprop_model_train_step(model.get(), 3), "noprop_model_train_step"));
    results[again] = parameters_of(model.get());
  }
  EXPECT_EQ(results[0], results[1]);
}

}  // namespace
