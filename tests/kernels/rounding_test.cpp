/* Kernels on tensor cores lose no more than their operands' rounding must cost: against the exact result their error is
 * at most twice that of the plain computation, in which factors of products are rounded and nothing else is (the
 * reference with operand_bits, in double precision). With factors that are sums of two tf32 numbers it is at most twice
 * that of the fp32 kernels, which it stands for. Errors are root mean squares over all rows and features, or over all
 * parameters. */
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/sweep.h"
#include "tests/tile_form.h"

namespace {

using namespace kernels_test;
using reference::Batch;
using reference::Loss;
using reference::Network;

std::vector<double> values_of(const Vector<Tracked> &numbers) {
  std::vector<double> values;
  for (const Tracked &number : numbers) values.push_back(number.value);
  return values;
}

template <typename Numbers>
double distance(const Numbers &from, const std::vector<double> &to) {
  double squares = 0;
  EXPECT_EQ(from.size(), to.size());
  for (size_t i = 0; i < to.size(); ++i) squares += std::pow(static_cast<double>(from[i]) - to[i], 2);
  return std::sqrt(squares / static_cast<double>(to.size()));
}

template <typename Numbers>
void expect_twice_at_most(const std::vector<float> &got, const Numbers &plain, const Vector<Tracked> &exact,
                          const std::string &what) {
  const std::vector<double> truth = values_of(exact);
  const double error = distance(got, truth), unavoidable = distance(plain, truth);
  EXPECT_GT(unavoidable, 0) << what;
  EXPECT_LE(error, 2 * unavoidable) << what;
  printf("%s: %.3g, %.2f x the plain computation's\n", what.c_str(), error, error / unavoidable);
}

/* What a model of this case computes. */
struct Computed {
  std::vector<float> gradient, prediction;
};

Computed compute(const SweepCase &c, const Network &network, const Data &data, const std::vector<float> &parameters) {
  Computed computed;
  const Model model = create_model(engine_keys(c, 12), data.shape);
  if (!model || !set_parameters(model.get(), network, parameters) || !set_statistics(model.get(), data))
    return computed;
  computed.gradient.resize(static_cast<size_t>(network.parameters));
  computed.prediction.resize(static_cast<size_t>(data.rows * c.target_width));
  noprop_loss_request request = {};
  request.rows = data.rows;
  request.condition = data.condition.values;
  request.target = data.target.values;
  request.step = 3;
  request.gradient = computed.gradient.data();
  request.prediction = computed.prediction.data();
  noprop_loss_terms terms;
  ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss");
  return computed;
}

Batch<Tracked> batch_of(const Settings &settings, const Network &network, const Data &data) {
  Batch<Tracked> batch;
  batch.z1 = data.reference.z1;
  batch.label = data.reference.label;
  batch.x = data.reference.x;
  draw_batch(settings, network, 3, false, batch);
  return batch;
}

/* Both networks, odd and even numbers of groups of eight, of the sweep: the kernels are those that it compiles. */
class Rounding : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Tf32, Rounding, testing::Values(kSweepCases + 5, kSweepCases + 7));
INSTANTIATE_TEST_SUITE_P(Bf16, Rounding,
                         testing::Values(2 * kSweepCases + 5, 2 * kSweepCases + 7, 2 * kSweepCases + 14));

void expect_rounding_alone(const SweepCase &c) {
  const Settings settings = reference::settings_from(c.keys);
  const auto data = make_data(settings, c.condition, c.condition_width, c.target_width, c.rows, 5);
  const Network plain = reference::make_network(settings, data->shape.condition_width, c.target_width);
  ASSERT_GT(plain.operand_bits, 0);
  Network exact = plain;
  exact.operand_bits = 0;
  const std::vector<float> parameters = random_parameters(plain, 6);
  const Computed got = compute(c, plain, *data, parameters);
  const Batch<Tracked> batch = batch_of(settings, plain, *data);
  const Loss<Tracked> rounded = batch_loss(settings, plain, tracked(parameters), batch);
  const Loss<Tracked> truth = batch_loss(settings, exact, tracked(parameters), batch);
  if (settings.loss.draws == 1)
    expect_twice_at_most(got.prediction, values_of(flat(rounded.prediction)), flat(truth.prediction),
                         c.name() + " prediction");
  expect_twice_at_most(got.gradient, values_of(rounded.gradient), truth.gradient, c.name() + " gradient");
}

TEST_P(Rounding, CostsAtMostTwiceThePlainComputation) {
  interpret_kernels();
  expect_rounding_alone(sweep_case(GetParam()));
}

/* Kernels whose registers are short, without dropout, too. */
class WideLayers : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Rounding, WideLayers, testing::Values(kSweepCases + 7, 2 * kSweepCases + 7));

TEST_P(WideLayers, CostAtMostTwiceThePlainComputation) {
  interpret_kernels();
  const TileForm rows_of_its_own("32x8");
  SweepCase c = sweep_case(GetParam());
  for (auto &[key, value] : c.keys) {
    if (key == "network.hidden") value = "[72, 96]";
    if (key == "network.dropout") value = "0";
  }
  expect_rounding_alone(c);
}

class Pairs : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Tf32x3, Pairs,
                         testing::Values(3 * kSweepCases + 5, 3 * kSweepCases + 7, 3 * kSweepCases + 14));

TEST_P(Pairs, CostAtMostTwiceTheErrorOfFloat32) {
  interpret_kernels();
  const SweepCase c = sweep_case(GetParam()), single = sweep_case(GetParam() % kSweepCases);
  const Settings settings = reference::settings_from(single.keys);
  const auto data = make_data(settings, c.condition, c.condition_width, c.target_width, c.rows, 5);
  const Network exact = reference::make_network(settings, data->shape.condition_width, c.target_width);
  const std::vector<float> parameters = random_parameters(exact, 6);
  const Computed got = compute(c, exact, *data, parameters), fp32 = compute(single, exact, *data, parameters);
  const Loss<Tracked> truth = batch_loss(settings, exact, tracked(parameters), batch_of(settings, exact, *data));
  EXPECT_NE(got.gradient, fp32.gradient) << "the same kernels";
  if (settings.loss.draws == 1)
    expect_twice_at_most(got.prediction, fp32.prediction, flat(truth.prediction), c.name() + " prediction");
  expect_twice_at_most(got.gradient, fp32.gradient, truth.gradient, c.name() + " gradient");
}

}  // namespace
