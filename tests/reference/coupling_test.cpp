/* The assignment against every permutation of small problems, and against sorting, which is optimal in one dimension.
 */
#include "tests/reference/coupling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace {

double cost_of(const std::vector<std::vector<double>> &cost, const std::vector<long> &columns) {
  double sum = 0;
  for (size_t i = 0; i < cost.size(); ++i) sum += cost[i][static_cast<size_t>(columns[i])];
  return sum;
}

TEST(Assignment, NoPermutationOfSmallProblemsIsCheaper) {
  std::mt19937 generator(3);
  std::normal_distribution<double> normal;
  for (size_t n = 1; n <= 7; ++n)
    for (int repeat = 0; repeat < 5; ++repeat) {
      std::vector<std::vector<double>> cost(n, std::vector<double>(n));
      for (auto &row : cost)
        for (double &c : row) c = normal(generator);
      const std::vector<long> found = reference::optimal_assignment(cost);
      std::vector<long> columns(n);
      std::iota(columns.begin(), columns.end(), 0);
      ASSERT_TRUE(std::is_permutation(found.begin(), found.end(), columns.begin()));
      double best = cost_of(cost, columns);
      while (std::next_permutation(columns.begin(), columns.end())) best = std::min(best, cost_of(cost, columns));
      EXPECT_NEAR(cost_of(cost, found), best, 1e-12);
    }
}

TEST(Assignment, InOneDimensionEveryGroupIsSorted) {
  std::mt19937 generator(4);
  std::normal_distribution<double> normal;
  std::vector<std::vector<double>> z1, noise;
  for (int i = 0; i < 70; ++i) z1.push_back({normal(generator)}), noise.push_back({normal(generator)});
  const std::vector<long> partners = reference::optimal_partners(z1, noise, 32);
  for (size_t i = 0; i < 70; ++i)
    for (size_t j = 0; j < 70; ++j) {
      if (i / 32 != j / 32 || !(z1[i][0] < z1[j][0])) continue;
      EXPECT_LE(noise[static_cast<size_t>(partners[i])][0], noise[static_cast<size_t>(partners[j])][0]);
    }
}

}  // namespace
