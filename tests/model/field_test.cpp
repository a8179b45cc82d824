/* Promises of the parts that pictures and comparisons are made of: the bare field, and distances between data sets. */
#include <cmath>

#include "tests/model/support.h"

using namespace model_test;

namespace {

const Keys kRegress = {{"task", "regress"}, {"network.hidden", "[8, 8]"}, {"precision", "fp32"}};

Keys of_variant(const char *variant) {
  Keys keys = kRegress;
  keys.push_back({"variant", variant});
  return keys;
}

struct FieldCase {
  std::vector<float> z, prediction, velocity;
};

/* The network's output and the field at the same states, a request of losses being the way to the former. */
void evaluate(noprop_model *model, const Data &data, double t, FieldCase &field) {
  const size_t values = (size_t)(data.rows * data.target_width);
  const std::vector<float> times((size_t)data.rows, (float)t);
  std::vector<float> noise(values);
  for (size_t i = 0; i < values; ++i) noise[i] = std::sin(1.0f + 2.3f * (float)i);
  field.z.resize(values), field.prediction.resize(values), field.velocity.resize(values);
  noprop_loss_request request = {};
  request.rows = data.rows;
  request.condition = data.condition.data();
  request.target = data.values.data();
  request.t = times.data();
  request.noise = noise.data();
  request.prediction = field.prediction.data();
  request.z = field.z.data();
  noprop_loss_terms terms;
  ASSERT_OK(noprop_model_loss(model, &request, &terms));
  noprop_sampler_options options = noprop_sampler_options_default(model);
  options.ema = false;
  const noprop_array condition = data.condition_array();
  ASSERT_OK(noprop_velocity(model, &options, &condition, data.rows, t, field.z.data(), field.velocity.data()));
}

}  // namespace

TEST(Field, IsTheNetworksOutputWhereThatIsAVelocity) {
  const Data data = make_data(70, 3, 2, false);
  const Model model = make_model(of_variant("fm"), data);
  ASSERT_TRUE(model);
  for (const double t : {0.1, 0.5, 0.9}) {
    FieldCase field;
    ASSERT_NO_FATAL_FAILURE(evaluate(model.get(), data, t, field));
    for (size_t i = 0; i < field.z.size(); ++i)
      EXPECT_NEAR(field.velocity[i], field.prediction[i], 1e-6 * (1 + std::fabs(field.z[i])) * 4) << "t " << t;
  }
}

TEST(Field, FollowsFromAPredictedTargetByTheScheduleAlone) {
  const Data data = make_data(70, 3, 2, false);
  Keys keys = of_variant("ct");
  keys.push_back({"sample.drift", "sde"}); /* its noise is no field: that of the ODE is given */
  const Model model = make_model(keys, data);
  ASSERT_TRUE(model);
  for (const double t : {0.1, 0.5, 0.9}) {
    FieldCase field;
    ASSERT_NO_FATAL_FAILURE(evaluate(model.get(), data, t, field));
    noprop_schedule_values at;
    ASSERT_OK(noprop_schedule_evaluate(noprop_model_config(model.get()), &t, 1, &at));
    for (size_t i = 0; i < field.z.size(); ++i) {
      const double want =
          0.5 * at.gamma_prime * (std::sqrt(at.alpha_bar) * field.prediction[i] - at.alpha_bar * field.z[i]);
      EXPECT_NEAR(field.velocity[i], want, 1e-5 * (1 + std::fabs(want))) << "t " << t;
    }
  }
}

TEST(Field, RefusesTimesOutsideTheUnitInterval) {
  const Data data = make_data(4, 3, 2, false);
  const Model model = make_model(of_variant("fm"), data);
  ASSERT_TRUE(model);
  const noprop_sampler_options options = noprop_sampler_options_default(model.get());
  const noprop_array condition = data.condition_array();
  std::vector<float> z(8), velocity(8);
  EXPECT_EQ(noprop_velocity(model.get(), &options, &condition, 4, 1.5, z.data(), velocity.data()),
            NOPROP_INVALID_ARGUMENT);
  EXPECT_NE(std::string(noprop_last_error()).find("t is 1.5; 0 to 1 is allowed"), std::string::npos);
  EXPECT_EQ(noprop_velocity(model.get(), &options, &condition, 0, 0.5, z.data(), velocity.data()),
            NOPROP_INVALID_ARGUMENT);
}

TEST(Distances, OfTwoSetsAreThoseOfTheirShift) {
  const Data data = make_data(300, 3, 1, false);
  Data shifted = data;
  for (float &value : shifted.values) value += 2.5f;
  const Model model = make_model(of_variant("fm"), data);
  ASSERT_TRUE(model);
  const noprop_array first = data.target_array(), second = shifted.target_array();
  noprop_metrics metrics;
  ASSERT_OK(noprop_distances(model.get(), &first, &first, &metrics));
  EXPECT_EQ(metrics.sliced_w2, 0.0);
  EXPECT_NEAR(metrics.energy, 0.0, 1e-6);
  ASSERT_OK(noprop_distances(model.get(), &first, &second, &metrics));
  EXPECT_NEAR(metrics.sliced_w2, 2.5, 1e-5) << "in one dimension the distance of a shifted copy is the shift";
  EXPECT_TRUE(metrics.has_distances);
  EXPECT_FALSE(metrics.has_errors);
  EXPECT_EQ(metrics.rows, 300);
}

TEST(Distances, AreNotThoseOfLabels) {
  const Data data = make_data(20, 3, 2, true);
  const Model model = make_model({{"variant", "ct"}, {"task", "classify"}, {"network.hidden", "[8, 8]"}}, data);
  ASSERT_TRUE(model);
  const noprop_array labels = data.target_array();
  noprop_metrics metrics;
  EXPECT_EQ(noprop_distances(model.get(), &labels, &labels, &metrics), NOPROP_INVALID_ARGUMENT);
  EXPECT_NE(std::string(noprop_last_error()).find("labels"), std::string::npos);
}
