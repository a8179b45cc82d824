/* Variance explained and its baselines on sequences whose answers are known. */
#include <gtest/gtest.h>
#include <noprop/noprop.h>

#include <cmath>
#include <random>
#include <vector>

#include "tests/model/support.h"

namespace {

using namespace model_test;

/* Rows of prefix 3 and horizon 2 with 2 features; y is an affine function of x, or the last point again. */
struct Sequences {
  std::vector<float> x, y;
  noprop_array condition = {}, target = {};
};

void fill(Sequences &s, long rows, bool constant, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  for (long row = 0; row < rows; row++) {
    double x[6];
    for (double &v : x)
      s.x.push_back(static_cast<float>(v = static_cast<double>(static_cast<float>(normal(generator)))));
    for (int h = 0; h < 2; h++)
      for (int i = 0; i < 2; i++)
        s.y.push_back(static_cast<float>(constant ? x[4 + i] : 3 + x[i] - 2 * x[2 + i] + (h + 1) * x[5 - i]));
  }
  const auto describe = [rows](noprop_array &a, const char *name, long points, const std::vector<float> &values) {
    a.name = name;
    a.type = NOPROP_TYPE_FLOAT32;
    a.rows = a.shape[0] = rows;
    a.rank = 3;
    a.shape[1] = points;
    a.shape[2] = 2;
    a.width = 2 * points;
    a.values = values.data();
  };
  describe(s.condition, "x", 3, s.x);
  describe(s.target, "y", 2, s.y);
}

TEST(Forecast, BaselinesAreExactWhereTheyCanBeAndTheModelIsMeasuredByItsPredictions) {
  const Config config = make_config({{"variant", "fm"}, {"task", "regress"}, {"network.hidden", "[8, 8]"}});
  noprop_model_shape shape = {};
  shape.condition_width = 6;
  shape.target_width = 4;
  noprop_model *made = nullptr;
  ASSERT_OK(noprop_model_create(device(), config.get(), &shape, &made));
  const Model model(made);
  const noprop_sampler_options options = noprop_sampler_options_default(model.get());
  for (const bool constant : {false, true}) {
    Sequences train, test;
    fill(train, 500, constant, 1);
    fill(test, 200, constant, 2);
    std::vector<float> predicted(800);
    noprop_forecast f;
    ASSERT_EQ(noprop_forecast_measure(model.get(), &options, &train.condition, &train.target, &test.condition,
                                      &test.target, predicted.data(), &f),
              NOPROP_OK)
        << noprop_last_error();
    ASSERT_EQ(f.horizon, 2);
    for (int h = 0; h < 2; h++) {
      EXPECT_NEAR(f.linear[h], 100, 1e-4) << "an affine function is found";
      if (constant)
        EXPECT_EQ(f.repeat[h], 100);
      else
        EXPECT_LT(f.repeat[h], 50);
      double error = 0, sum[2] = {}, squares = 0;
      for (size_t row = 0; row < 200; row++)
        for (size_t i = 0; i < 2; i++) {
          const size_t at = 4 * row + 2 * static_cast<size_t>(h) + i;
          const double y = static_cast<double>(test.y[at]);
          error += std::pow(y - static_cast<double>(predicted[at]), 2);
          sum[i] += y;
          squares += y * y;
        }
      const double variance = squares - (sum[0] * sum[0] + sum[1] * sum[1]) / 200;
      EXPECT_NEAR(f.model[h], 100 * (1 - error / variance), 1e-6);
    }
    noprop_forecast_free(&f);
    EXPECT_EQ(f.model, nullptr);
  }
  Sequences flat;
  fill(flat, 10, true, 3);
  flat.condition.rank = 2;
  noprop_forecast f;
  EXPECT_EQ(
      noprop_forecast_measure(model.get(), &options, nullptr, nullptr, &flat.condition, &flat.target, nullptr, &f),
      NOPROP_INVALID_ARGUMENT);
}

}  // namespace
