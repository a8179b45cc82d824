/* Models as objects: parameters, statistics, descriptions, and the sentence of every refusal. */
#include <cmath>
#include <numeric>

#include "tests/model/support.h"

using namespace model_test;

namespace {

const Keys kClassify = {{"variant", "ct"}, {"task", "classify"}, {"network.hidden", "[8, 12]"}};

void expect_refusal(noprop_status got, noprop_status want, const char *sentence) {
  EXPECT_EQ(got, want) << sentence;
  EXPECT_NE(std::string(noprop_last_error()).find(sentence), std::string::npos)
      << "wanted: " << sentence << "\ngot: " << noprop_last_error();
}

}  // namespace

TEST(Model, GivesBackTheParametersItWasGiven) {
  const Data data = make_data(8, 3, 5, true);
  const Model model = make_model(kClassify, data);
  ASSERT_TRUE(model);
  std::vector<float> values(static_cast<size_t>(noprop_model_parameter_values(model.get())));
  std::iota(values.begin(), values.end(), 1.0f);
  ASSERT_OK(noprop_model_set_parameters(model.get(), values.data()));
  EXPECT_EQ(parameters(model.get()), values);
  long total = 0;
  for (int i = 0; i < noprop_model_parameter_count(model.get()); ++i) {
    const noprop_parameter parameter = noprop_model_parameter(model.get(), i);
    EXPECT_EQ(parameter.offset, total) << parameter.name;
    total += parameter.shape[0] * parameter.shape[1];
  }
  EXPECT_EQ(total, noprop_model_parameter_values(model.get()));
}

TEST(Model, ParametersComeFromTheSeedAlone) {
  const Data data = make_data(8, 3, 5, true);
  Keys other = kClassify;
  other.emplace_back("seed", "1");
  const Model first = make_model(kClassify, data), second = make_model(kClassify, data),
              third = make_model(other, data);
  ASSERT_TRUE(first && second && third);
  EXPECT_EQ(parameters(first.get()), parameters(second.get()));
  EXPECT_NE(parameters(first.get()), parameters(third.get()));
}

TEST(Model, StatisticsStandardiseOnTheWayIn) {
  Data data = make_data(64, 3, 2, false);
  const Keys keys = {{"variant", "ct"}, {"task", "regress"}, {"network.hidden", "[8]"}};
  const Model plain = make_model(keys, data), scaled = make_model(keys, data);
  ASSERT_TRUE(plain && scaled);
  Data moved = data;
  for (float &value : moved.condition) value = value * 4.0f + 8.0f;
  for (float &value : moved.values) value = value * 2.0f - 16.0f;
  const std::vector<float> condition_mean(3, 8.0f), condition_std(3, 4.0f), target_mean(2, -16.0f), target_std(2, 2.0f);
  ASSERT_OK(noprop_model_set_statistics(scaled.get(), condition_mean.data(), condition_std.data(), target_mean.data(),
                                        target_std.data()));
  const noprop_array x = data.condition_array(), y = data.target_array();
  const noprop_array moved_x = moved.condition_array(), moved_y = moved.target_array();
  noprop_loss_terms want, got;
  ASSERT_OK(noprop_model_validate(plain.get(), &x, &y, &want));
  ASSERT_OK(noprop_model_validate(scaled.get(), &moved_x, &moved_y, &got));
  /* Moving and scaling by powers of two rounds each value at the moved one's precision, about 2^-20. */
  EXPECT_NEAR(got.loss, want.loss, 1e-5 * want.loss);
}

TEST(Model, DescribesItself) {
  const Data data = make_data(8, 3, 5, true);
  const Model model = make_model(kClassify, data);
  ASSERT_TRUE(model);
  char *text = nullptr;
  ASSERT_OK(noprop_model_describe(model.get(), &text));
  const std::string description = text;
  noprop_free(text);
  for (const char *part : {"ct on task classify", "parameters in", "resident", "3 launches per step", "virtual GPU",
                           "no more than a barrier"})
    EXPECT_NE(description.find(part), std::string::npos) << part << " in\n" << description;
}

TEST(Model, RefusesShapesThatDoNotFitItsTask) {
  const Config config = make_config(kClassify);
  const Data data = make_data(8, 3, 5, true);
  noprop_model *model = nullptr;
  noprop_model_shape shape = data.shape();
  shape.target_is_label = false;
  shape.target_type = NOPROP_TYPE_FLOAT32;
  expect_refusal(noprop_model_create(device(), config.get(), &shape, &model), NOPROP_INVALID_CONFIG,
                 "task classify needs integer labels");
  shape = data.shape();
  shape.condition_width = 0;
  expect_refusal(noprop_model_create(device(), config.get(), &shape, &model), NOPROP_INVALID_CONFIG,
                 "task classify needs a condition");
  shape = data.shape();
  shape.target_width = 0;
  expect_refusal(noprop_model_create(device(), config.get(), &shape, &model), NOPROP_INVALID_ARGUMENT,
                 "the target's width is 0");
  shape = data.shape();
  shape.condition_type = NOPROP_TYPE_FLOAT64;
  expect_refusal(noprop_model_create(device(), config.get(), &shape, &model), NOPROP_INVALID_ARGUMENT,
                 "the condition's type is 3");
  EXPECT_EQ(model, nullptr);
}

TEST(Model, RefusesRowsThatDoNotFitItsShape) {
  const Data data = make_data(8, 3, 5, true);
  const Model model = make_model(kClassify, data);
  ASSERT_TRUE(model);
  noprop_array x = data.condition_array(), y = data.target_array();
  const auto bind_rows = [&] { return noprop_model_bind(model.get(), &x, &y, 4); };
  expect_refusal(noprop_model_train_step(model.get(), 1), NOPROP_INVALID_ARGUMENT, "no rows are bound");
  expect_refusal(noprop_model_bind(model.get(), nullptr, &y, 4), NOPROP_INVALID_ARGUMENT, "the condition is missing");
  expect_refusal(noprop_model_bind(model.get(), &x, &y, 0), NOPROP_INVALID_ARGUMENT, "batch is 0");
  x.width = 4;
  expect_refusal(bind_rows(), NOPROP_INVALID_ARGUMENT, "the condition has 4 values a row; this model needs 3");
  x = data.condition_array();
  x.rows = 7;
  expect_refusal(bind_rows(), NOPROP_INVALID_ARGUMENT, "the condition has 7 rows; 8 are needed");
  x = data.condition_array();
  y.type = NOPROP_TYPE_FLOAT32;
  expect_refusal(bind_rows(), NOPROP_INVALID_ARGUMENT,
                 "the target's type is float32, which cannot become this model's int32 labels");
  std::vector<int32_t> labels = data.labels;
  labels[6] = 5;
  y = data.target_array();
  y.values = labels.data();
  expect_refusal(bind_rows(), NOPROP_INVALID_ARGUMENT,
                 "the target's label in row 6 is 5; this model has the classes 0 to 4");
  labels[6] = -1;
  expect_refusal(bind_rows(), NOPROP_INVALID_ARGUMENT, "the target's label in row 6 is -1");
  y.values = data.labels.data();
  EXPECT_OK(bind_rows());
  expect_refusal(noprop_model_train_step(model.get(), -1), NOPROP_INVALID_ARGUMENT, "steps is -1");
}

TEST(Model, RefusesStatisticsThatWouldDivideByZero) {
  const Data data = make_data(8, 3, 5, true);
  const Model model = make_model(kClassify, data);
  ASSERT_TRUE(model);
  const float std[] = {1.0f, 0.0f, 1.0f}, mean[] = {0.0f, 0.0f, NAN};
  expect_refusal(noprop_model_set_statistics(model.get(), nullptr, std, nullptr, nullptr), NOPROP_INVALID_ARGUMENT,
                 "the condition's standard deviation 1 is 0");
  expect_refusal(noprop_model_set_statistics(model.get(), mean, nullptr, nullptr, nullptr), NOPROP_INVALID_ARGUMENT,
                 "the condition's mean 2 is");
}

TEST(Model, RefusesLossRequestsOutOfRange) {
  const Data data = make_data(8, 3, 5, true);
  const Model model = make_model(kClassify, data);
  ASSERT_TRUE(model);
  noprop_loss_request request = {};
  noprop_loss_terms terms;
  request.condition = data.condition.data();
  request.target = data.labels.data();
  expect_refusal(noprop_model_loss(model.get(), &request, &terms), NOPROP_INVALID_ARGUMENT, "rows is 0");
  request.rows = 8;
  std::vector<float> t(8, 0.5f);
  t[3] = 1.5f;
  request.t = t.data();
  expect_refusal(noprop_model_loss(model.get(), &request, &terms), NOPROP_INVALID_ARGUMENT, "t[3] is 1.5");
  request.t = nullptr;
  request.target = nullptr;
  expect_refusal(noprop_model_loss(model.get(), &request, &terms), NOPROP_INVALID_ARGUMENT, "the target is missing");
}

TEST(Model, SurvivesNullPointers) {
  noprop_loss_request request = {};
  noprop_loss_terms terms;
  noprop_metrics metrics;
  noprop_train_metrics train_metrics;
  noprop_sampler_options options = noprop_sampler_options_default(nullptr);
  noprop_model *model = nullptr;
  char *text = nullptr;
  float value = 0.0f;
  EXPECT_EQ(noprop_model_create(nullptr, nullptr, nullptr, &model), NOPROP_INVALID_ARGUMENT);
  noprop_model_destroy(nullptr);
  EXPECT_EQ(noprop_model_set_statistics(nullptr, nullptr, nullptr, nullptr, nullptr), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_model_parameter_count(nullptr), 0);
  EXPECT_EQ(noprop_model_parameter_values(nullptr), 0);
  EXPECT_EQ(noprop_model_parameter(nullptr, 0).name, nullptr);
  EXPECT_EQ(noprop_model_get_parameters(nullptr, false, &value), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_model_set_parameters(nullptr, &value), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_model_bind(nullptr, nullptr, nullptr, 1), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_model_train_step(nullptr, 1), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_model_train_metrics(nullptr, &train_metrics), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_model_loss(nullptr, &request, &terms), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_model_step(nullptr), 0u);
  EXPECT_EQ(noprop_model_validate(nullptr, nullptr, nullptr, &terms), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_model_config(nullptr), nullptr);
  EXPECT_EQ(noprop_model_get_shape(nullptr), nullptr);
  EXPECT_EQ(noprop_model_describe(nullptr, &text), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_sample(nullptr, &options, nullptr, 1, &value, nullptr), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_integrate(nullptr, &options, nullptr, 1, &value, &value), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_sampler_describe(nullptr, &options, &text), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_evaluate(nullptr, &options, nullptr, nullptr, &metrics), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_schedule_evaluate(nullptr, nullptr, 0, nullptr), NOPROP_INVALID_ARGUMENT);
}
