/* What batch norm promises beside its numbers, which the tests of fields, presets and golden files compare. */
#include <gtest/gtest.h>

#include "tests/kernels/sweep.h"

namespace {

using namespace kernels_test;

TEST(BatchNorm, AStepIsTwoLaunchesAndRowsMeetInTrainingAlone) {
  interpret_kernels();
  const Keys keys = {{"variant", "ct"},
                     {"task", "regress"},
                     {"optimizer.clip", "0"},
                     {"network.type", "custom"},
                     {"network.layers",
                      "[{type: dense, from: [z, x, t], width: 8}, {type: batch_norm}, {type: activation, activation: "
                      "swish}, {type: dense}]"}};
  const auto data = make_data(reference::settings_from(keys), kFloatCondition, 3, 3, 70, 5);
  const Model model = create_model(keys, data->shape);
  ASSERT_TRUE(model);
  const std::vector<float> fresh = parameters_of(model.get());
  const long statistics = noprop_model_parameter_values(model.get()) - 16;
  EXPECT_STREQ(noprop_model_parameter(model.get(), noprop_model_parameter_count(model.get()) - 1).name,
               "batch_norm.1.variance");
  std::vector<float> gradient(fresh.size()), first(210), second(210);
  const std::vector<float> t(70, 0.4F), noise(210, 0.3F);
  const auto predict = [&](long rows, bool trains, std::vector<float> &prediction) {
    noprop_loss_request request = {};
    request.rows = rows;
    request.condition = data->condition.values;
    request.target = data->target.values;
    request.t = t.data();
    request.noise = noise.data();
    request.gradient = trains ? gradient.data() : nullptr;
    request.prediction = prediction.data();
    noprop_loss_terms terms;
    return ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss");
  };
  for (const bool trains : {false, true}) {
    ASSERT_TRUE(predict(70, trains, first) && predict(70, trains, second));
    EXPECT_EQ(first, second);
    ASSERT_TRUE(predict(69, trains, second));
    EXPECT_EQ(std::equal(first.begin(), first.begin() + 207, second.begin()), !trains);
  }
  EXPECT_EQ(parameters_of(model.get()), fresh) << "a request changes no running statistics";
  ASSERT_TRUE(ok(noprop_model_bind(model.get(), &data->condition, &data->target, 70), "noprop_model_bind"));
  noprop_device_counters before, after;
  noprop_device_get_counters(device(), &before);
  ASSERT_TRUE(ok(noprop_model_train_step(model.get(), 1), "noprop_model_train_step"));
  noprop_device_get_counters(device(), &after);
  EXPECT_EQ(after.launches - before.launches, 2U);
  const std::vector<float> trained = parameters_of(model.get());
  for (size_t i = static_cast<size_t>(statistics); i < trained.size(); ++i) EXPECT_NE(trained[i], fresh[i]);
}

}  // namespace
