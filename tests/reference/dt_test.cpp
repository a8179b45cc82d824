/* The bridge against Gaussian conditioning and the marginals it must carry, its divergences against the bound's
 * weights, the divergence of the start against the survey's numbers. */
#include "tests/reference/dt.h"

#include <gtest/gtest.h>

#include <cmath>

namespace {

using namespace reference;

/* q(z_k | z_{k-1}, z1) by conditioning: the chain runs from data to noise, so z_{k-1} = sqrt(r) z_k + sqrt(1-r) e with
 * the prior z_k ~ N(sqrt(ab_k) z1, 1 - ab_k). Precisions add. */
TEST(Bridge, IsTheConditionalOfTheNoisingProcess) {
  const std::vector<double> grid = gamma_grid(0.002, 0.998, 10);
  for (size_t k = 1; k < grid.size(); ++k) {
    const double r = grid[k - 1] / grid[k], precision = 1 / (1 - grid[k]) + r / (1 - r);
    const Bridge b = bridge_step(grid[k - 1], grid[k]);
    EXPECT_NEAR(b.variance, 1 / precision, 1e-12);
    EXPECT_NEAR(b.state, std::sqrt(r) / (1 - r) / precision, 1e-12);
    EXPECT_NEAR(b.target, std::sqrt(grid[k]) / (1 - grid[k]) / precision, 1e-12);
  }
}

TEST(Bridge, CarriesOneMarginalIntoTheNext) {
  const std::vector<double> grid = gamma_grid(0.01, 0.99, 7);
  for (size_t k = 1; k < grid.size(); ++k) {
    const Bridge b = bridge_step(grid[k - 1], grid[k]);
    EXPECT_NEAR(b.state * std::sqrt(grid[k - 1]) + b.target, std::sqrt(grid[k]), 1e-12);
    EXPECT_NEAR(b.state * b.state * (1 - grid[k - 1]) + b.variance, 1 - grid[k], 1e-12);
  }
}

/* KL of two Gaussians with one variance: |difference of means|^2 / (2 variance). */
TEST(BlockWeights, AreTheDivergencesOfTheBridgeSteps) {
  const std::vector<double> grid = gamma_grid(0.001, 0.999, 12), weights = block_weights(grid, 1.0);
  double sum = 0;
  for (size_t k = 1; k < grid.size(); ++k) {
    const Bridge b = bridge_step(grid[k - 1], grid[k]);
    EXPECT_NEAR(weights[k - 1], b.target * b.target / (2 * b.variance), 1e-10 * weights[k - 1]);
    EXPECT_GT(weights[k - 1], 0);
    sum += weights[k - 1];
  }
  EXPECT_NEAR(sum, (0.999 / 0.001 - 0.001 / 0.999) / 2, 1e-9);
}

TEST(StartDivergence, MeetsTheSurveysNumbers) {
  EXPECT_NEAR(kl_start({1, 1}, 0.01), 0.010050, 5e-7);
  EXPECT_NEAR(kl_start({1, 1}, 0.05), 0.051293, 5e-7);
}

}  // namespace
