/* Variant supervised, the ordinary twin: its loss, gradients and predictions against the reference, in fp32 and on
 * tensor cores; one call per row, whatever is asked of the solve. */
#include <gtest/gtest.h>

#include "tests/kernels/harness.h"

namespace {

using namespace kernels_test;

struct Twin {
  const char *task, *error, *precision;
};

class Supervised : public testing::TestWithParam<Twin> {};
INSTANTIATE_TEST_SUITE_P(Tasks, Supervised,
                         testing::Values(Twin{"classify", "cross_entropy", "fp32"}, Twin{"regress", "squared", "fp32"},
                                         Twin{"classify", "squared", "tf32"}));

TEST_P(Supervised, LossGradientAndPredictionAreThoseOfAnOrdinaryNetwork) {
  const Twin twin = GetParam();
  const Keys keys = {{"variant", "supervised"},      {"task", twin.task},
                     {"loss.error", twin.error},     {"network.hidden", "[24, 24, 24]"},
                     {"network.activation", "tanh"}, {"precision", twin.precision}};
  const Settings settings = reference::settings_from(keys);
  const auto data = make_data(settings, kFloatCondition, 11, 5, 70, 31);
  const reference::Network network = reference::make_network(settings, 11, 5);
  ASSERT_EQ(network.array("output.weight").rows, 24);
  EXPECT_EQ(network.parameters, 11 * 24 + 24 + 2 * (24 * 24 + 24) + 24 * 5 + 5) << "no weights of state or time";
  const std::vector<float> parameters = random_parameters(network, 32);
  const Model model = create_model(keys, data->shape);
  ASSERT_TRUE(model);
  ASSERT_TRUE(set_parameters(model.get(), network, parameters));
  ASSERT_TRUE(set_statistics(model.get(), *data));

  reference::Batch<Tracked> batch;
  batch.z1 = data->reference.z1;
  batch.x = data->reference.x;
  batch.label = data->reference.label;
  draw_batch(settings, network, 3, false, batch);
  const auto want = batch_loss(settings, network, tracked(parameters), batch);
  std::vector<float> gradient(parameters.size()), prediction((size_t)data->rows * 5);
  noprop_loss_request request = {};
  request.rows = data->rows;
  request.condition = data->condition.values;
  request.target = data->target.values;
  request.step = 3;
  request.gradient = gradient.data();
  request.prediction = prediction.data();
  noprop_loss_terms terms;
  ASSERT_TRUE(ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss"));
  expect_within(kTerm, terms.loss, want.total, "loss");
  expect_within(kGradient, gradient, want.gradient, "gradient");

  /* What a solve returns is this very output: logits through the softmax, vectors with their standardisation undone. */
  noprop_sampler_options options = noprop_sampler_options_default(model.get());
  std::vector<float> latent(prediction.size());
  noprop_device_counters before, after;
  noprop_device_get_counters(device(), &before);
  ASSERT_TRUE(ok(noprop_sample(model.get(), &options, &data->condition, data->rows, latent.data(), nullptr), "sample"));
  noprop_device_get_counters(device(), &after);
  EXPECT_EQ(after.launches - before.launches, 1U);
  for (long row = 0; row < data->rows; ++row) {
    double total = 0;
    const float *logits = prediction.data() + row * 5;
    for (int i = 0; i < 5; ++i) total += std::exp((double)logits[i]);
    for (int i = 0; i < 5; ++i) {
      const double expected =
          twin.error == std::string("cross_entropy") ? std::exp((double)logits[i]) / total : logits[i];
      EXPECT_NEAR(latent[(size_t)(row * 5 + i)], expected, 1e-5 * (1 + std::fabs(expected)));
    }
  }
}

TEST(SupervisedTwin, RefusesMethodsOfAPath) {
  const Keys keys = {{"variant", "supervised"},
                     {"task", "regress"},
                     {"network.hidden", "[24, 24, 24]"},
                     {"network.activation", "tanh"},
                     {"precision", "fp32"}};
  const Settings settings = reference::settings_from(keys);
  const auto data = make_data(settings, kFloatCondition, 11, 5, 8, 31);
  const Model model = create_model(keys, data->shape);
  ASSERT_TRUE(model);
  noprop_sampler_options options = noprop_sampler_options_default(model.get());
  std::vector<float> output(40);
  snprintf(options.method, sizeof options.method, "euler");
  EXPECT_EQ(noprop_sample(model.get(), &options, &data->condition, 8, nullptr, output.data()), NOPROP_INVALID_ARGUMENT);
  EXPECT_NE(std::string(noprop_last_error()).find("variant supervised has no path"), std::string::npos);
  std::vector<float> z(40), velocity(40);
  options = noprop_sampler_options_default(model.get());
  EXPECT_EQ(noprop_velocity(model.get(), &options, &data->condition, 8, 0.5, z.data(), velocity.data()),
            NOPROP_INVALID_ARGUMENT);
}

}  // namespace
