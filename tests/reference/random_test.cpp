/* Random numbers and the order of rows: known answers, and that draws are what they claim to be. */
#include "tests/reference/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/reference/training.h"

namespace {

using namespace reference;

/* Random123 tests/kat_vectors. */
TEST(Philox, MeetsRandom123KnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox({ones, ones, ones, ones}, {ones, ones}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}, 7), (Words{0x5f6fb709, 0x0d893f64, 0x4f121f81, 0x4f730a48}));
}

TEST(Uniform, StaysInsideTheUnitInterval) {
  EXPECT_GT(uniform01(0), 0);
  EXPECT_LE(uniform01(0xffffffff), 1);
  EXPECT_NEAR(uniform01(0x80000000), 0.5, 1e-7);
}

/* Mean and variance of n uniforms have standard errors 1/sqrt(12 n) and 1/sqrt(180 n). */
TEST(Uniform, HasTheMomentsOfAUniform) {
  const long n = 200000;
  const auto u = uniforms<double>(42, 7, n, false);
  const double mean = std::accumulate(u.begin(), u.end(), 0.0) / n;
  double variance = 0;
  for (double v : u) variance += square(v - mean) / n;
  EXPECT_NEAR(mean, 0.5, 5 / std::sqrt(12.0 * n));
  EXPECT_NEAR(variance, 1 / 12.0, 5 / std::sqrt(180.0 * n));
}

TEST(Uniform, LowDiscrepancyPutsOneTimeInEveryCell) {
  const long n = 37;
  auto u = uniforms<double>(5, 3, n, true);
  std::sort(u.begin(), u.end());
  for (long i = 1; i < n; ++i) EXPECT_NEAR(u[static_cast<size_t>(i)] - u[static_cast<size_t>(i - 1)], 1.0 / n, 1e-12);
}

/* Standard errors: mean 1/sqrt(n), variance sqrt(2/n), fourth moment sqrt(96/n). */
TEST(Normals, HaveTheMomentsOfANormal) {
  const long rows = 50000, d = 5;
  const double n = static_cast<double>(rows * d);
  double m1 = 0, m2 = 0, m4 = 0, cross = 0;
  for (long row = 0; row < rows; ++row) {
    const auto e = normals<double>(1, kNoise, static_cast<uint32_t>(row), 0, d);
    for (double v : e) m1 += v / n, m2 += v * v / n, m4 += v * v * v * v / n;
    cross += e[0] * e[1] / static_cast<double>(rows);
  }
  EXPECT_NEAR(m1, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(m2, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(m4, 3, 5 * std::sqrt(96 / n));
  EXPECT_NEAR(cross, 0, 5 / std::sqrt(static_cast<double>(rows)));
}

TEST(Normals, DependOnSeedStreamRowStepAndDraw) {
  const auto base = normals<double>(1, kNoise, 2, 3, 4);
  EXPECT_EQ(base, normals<double>(1, kNoise, 2, 3, 4));
  EXPECT_NE(base, normals<double>(uint64_t{1} << 32 | 1, kNoise, 2, 3, 4));
  EXPECT_NE(base, normals<double>(1, kStart, 2, 3, 4));
  EXPECT_NE(base, normals<double>(1, kNoise, 3, 3, 4));
  EXPECT_NE(base, normals<double>(1, kNoise, 2, 4, 4));
  EXPECT_NE(base, normals<double>(1, kNoise, 2, 3, 4, 1));
}

TEST(Dropout, KeepsTheRightFractionAndScalesItBack) {
  const double p = 0.25;
  long kept = 0, n = 0;
  for (uint32_t row = 0; row < 2000; ++row)
    for (bool keep : keep_mask(3, row, 1, 2, 0, 50, p)) kept += keep, ++n;
  const double fraction = static_cast<double>(kept) / static_cast<double>(n);
  EXPECT_NEAR(fraction, 1 - p, 5 * std::sqrt(p * (1 - p) / static_cast<double>(n)));
  EXPECT_DOUBLE_EQ(keep_scale(p), 1 / (1 - p));
  EXPECT_NE(keep_mask(3, 0, 1, 2, 0, 50, p), keep_mask(3, 0, 1, 3, 0, 50, p)) << "layers must not share a mask";
  const auto none = keep_mask(3, 0, 1, 2, 0, 50, 0);
  EXPECT_TRUE(std::all_of(none.begin(), none.end(), [](bool keep) { return keep; }));
}

std::vector<long> order(uint64_t seed, long rows, int64_t epoch) {
  std::vector<long> result;
  for (long i = 0; i < rows; ++i) result.push_back(row_at(seed, rows, epoch, i));
  return result;
}

TEST(RowOrder, IsABijectionForEverySize) {
  std::vector<long> sizes(300);
  std::iota(sizes.begin(), sizes.end(), 1);
  sizes.insert(sizes.end(), {511, 512, 513, 1000, 4095, 4096, 4097, 60000, 65536, 65537, 100003});
  for (long rows : sizes) {
    std::vector<bool> seen(static_cast<size_t>(rows), false);
    for (long row : order(9, rows, 2)) {
      ASSERT_GE(row, 0);
      ASSERT_LT(row, rows);
      ASSERT_FALSE(seen[static_cast<size_t>(row)]) << "row " << row << " twice among " << rows;
      seen[static_cast<size_t>(row)] = true;
    }
  }
}

TEST(RowOrder, DiffersBetweenEpochsAndSeeds) {
  const auto first = order(1, 100, 0);
  EXPECT_NE(first, order(1, 100, 1));
  EXPECT_NE(first, order(2, 100, 0));
  EXPECT_EQ(first, order(1, 100, 0));
}

/* Against a random permutation: rank correlation with the position, correlation of neighbours, fixed points, and where
 * one row lands over many epochs. Each has a known standard error. */
TEST(RowOrder, IsStatisticallyUnstructured) {
  for (long rows : {1000L, 1024L, 5000L}) {
    const double n = static_cast<double>(rows), mean = (n - 1) / 2, variance = (n * n - 1) / 12;
    for (int64_t epoch = 0; epoch < 4; ++epoch) {
      const auto p = order(17, rows, epoch);
      double with_position = 0, with_next = 0;
      long fixed = 0;
      for (size_t i = 0; i < p.size(); ++i) {
        const double here = static_cast<double>(p[i]) - mean;
        with_position += here * (static_cast<double>(i) - mean) / (n * variance);
        with_next += here * (static_cast<double>(p[(i + 1) % p.size()]) - mean) / (n * variance);
        fixed += p[i] == static_cast<long>(i);
      }
      EXPECT_NEAR(with_position, 0, 4.5 / std::sqrt(n));
      EXPECT_NEAR(with_next, 0, 4.5 / std::sqrt(n));
      EXPECT_LE(fixed, 8) << "a random permutation has Poisson(1) fixed points";
    }
  }
  /* Chi-square of the position of row 0 in 16 cells over 1,600 epochs: 15 degrees of freedom, 99.99 % below 44.3. */
  const long rows = 96, epochs = 1600;
  std::vector<double> cells(16, 0);
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    const auto p = order(23, rows, epoch);
    cells[static_cast<size_t>((std::find(p.begin(), p.end(), 0) - p.begin()) / 6)] += 1;
  }
  double chi = 0;
  for (double c : cells) chi += square(c - epochs / 16.0) / (epochs / 16.0);
  EXPECT_LT(chi, 44.3);
}

}  // namespace
