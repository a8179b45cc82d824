/* Kernels on tensor cores lose no more than their operands' rounding must cost: against the exact result their error is
 * at most twice that of the plain computation, in which factors of products are rounded and nothing else is (the
 * reference with operand_bits, in double precision). Errors are root mean squares over all rows and features, or over
 * all parameters. */
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/sweep.h"

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

void expect_twice_at_most(const std::vector<float> &got, const Vector<Tracked> &plain, const Vector<Tracked> &exact,
                          const std::string &what) {
  const std::vector<double> truth = values_of(exact);
  const double error = distance(got, truth), unavoidable = distance(values_of(plain), truth);
  EXPECT_GT(unavoidable, 0) << what;
  EXPECT_LE(error, 2 * unavoidable) << what;
  printf("%s: %.3g, %.2f x the plain computation's\n", what.c_str(), error, error / unavoidable);
}

/* Both networks, odd and even numbers of groups of eight, of the sweep: the kernels are those that it compiles. */
class Rounding : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Tf32, Rounding, testing::Values(kSweepCases + 5, kSweepCases + 7));
INSTANTIATE_TEST_SUITE_P(Bf16, Rounding,
                         testing::Values(2 * kSweepCases + 5, 2 * kSweepCases + 7, 2 * kSweepCases + 14));

TEST_P(Rounding, CostsAtMostTwiceThePlainComputation) {
  interpret_kernels();
  const SweepCase c = sweep_case(GetParam());
  const Settings settings = reference::settings_from(c.keys);
  const auto data = make_data(settings, c.condition, c.condition_width, c.target_width, c.rows, 5);
  const Network plain = reference::make_network(settings, data->shape.condition_width, c.target_width);
  ASSERT_GT(plain.operand_bits, 0);
  Network exact = plain;
  exact.operand_bits = 0;
  const std::vector<float> parameters = random_parameters(plain, 6);
  const Model model = create_model(engine_keys(c, 12), data->shape);
  ASSERT_TRUE(model && set_parameters(model.get(), plain, parameters) && set_statistics(model.get(), *data));

  const size_t rows = static_cast<size_t>(data->rows), d = static_cast<size_t>(c.target_width);
  std::vector<float> gradient(static_cast<size_t>(plain.parameters)), prediction(rows * d);
  noprop_loss_request request = {};
  request.rows = data->rows;
  request.condition = data->condition.values;
  request.target = data->target.values;
  request.step = 3;
  request.gradient = gradient.data();
  request.prediction = prediction.data();
  noprop_loss_terms terms;
  ASSERT_TRUE(ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss"));

  Batch<Tracked> batch;
  batch.z1 = data->reference.z1;
  batch.label = data->reference.label;
  batch.x = data->reference.x;
  draw_batch(settings, plain, 3, false, batch);
  const Loss<Tracked> rounded = batch_loss(settings, plain, tracked(parameters), batch);
  const Loss<Tracked> truth = batch_loss(settings, exact, tracked(parameters), batch);
  if (settings.loss.draws == 1)
    expect_twice_at_most(prediction, flat(rounded.prediction), flat(truth.prediction), c.name() + " prediction");
  expect_twice_at_most(gradient, rounded.gradient, truth.gradient, c.name() + " gradient");
}

}  // namespace
