/* Fresh parameters: the distributions that the survey states for each array (section 5), and their dependence on the
 * seed. */
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/harness.h"

namespace {

using namespace kernels_test;

noprop_model_shape vectors(int x, int y) {
  noprop_model_shape shape = {};
  shape.condition_width = x;
  shape.target_width = y;
  return shape;
}

/* Truncated normals: mean 0, the stated variance, nothing beyond 2 sigma / .8796 (the deviation before truncation is
 * larger than that after it). A mean of n values has the standard error s/sqrt(n), a variance at most s^2 sqrt(2/n). */
TEST(InitialParameters, HaveTheStatedDistributions) {
  for (const char *type : {"mlp", "resnet"}) {
    const Keys keys = {{"task", "regress"},
                       {"network.type", type},
                       {"network.hidden", "[150, 120, 90]"},
                       {"network.time_embedding.size", "40"}};
    const Settings settings = reference::settings_from(keys);
    const reference::Network network = reference::make_network(settings, 60, 20);
    const Model model = create_model(keys, vectors(60, 20));
    ASSERT_TRUE(model);
    const auto values = parameters_of(model.get());
    ASSERT_EQ(static_cast<long>(values.size()), network.parameters);
    for (const reference::Array &array : network.arrays) {
      SCOPED_TRACE(array.name);
      const bool bias = array.name.find(".bias") != std::string::npos;
      const double n = static_cast<double>(array.size());
      double mean = 0, square = 0, largest = 0;
      for (long i = 0; i < array.size(); ++i) {
        const double v = static_cast<double>(values[static_cast<size_t>(array.offset + i)]);
        mean += v / n, square += v * v / n, largest = std::max(largest, std::fabs(v));
      }
      if (bias) {
        EXPECT_EQ(largest, 0);
        continue;
      }
      const double variance =
          array.lecun ? 1.0 / static_cast<double>(array.rows) : 2.0 / static_cast<double>(array.rows + array.columns);
      EXPECT_NEAR(mean, 0, 5 * std::sqrt(variance / n));
      EXPECT_NEAR(square / variance, 1, 5 * std::sqrt(2 / n));
      EXPECT_LE(largest, 2 * std::sqrt(variance) / .87962566 * (1 + 1e-6));
      EXPECT_GT(largest, 1.7 * std::sqrt(variance) / .87962566) << "nothing near the truncation";
    }
  }
}

TEST(InitialParameters, DependOnTheSeedOnly) {
  const auto fresh = [](const char *seed) {
    const Model model = create_model({{"task", "regress"}, {"network.hidden", "[8]"}, {"seed", seed}}, vectors(3, 2));
    return model ? parameters_of(model.get()) : std::vector<float>{};
  };
  EXPECT_EQ(fresh("1"), fresh("1"));
  EXPECT_NE(fresh("1"), fresh("2"));
  EXPECT_NE(fresh("1"), fresh("4294967297")) << "the seed has 64 bits";
}

}  // namespace
