// Generators: the geometry and moments that their closed forms say, independence of splits, the same bits everywhere.
#include <gtest/gtest.h>
#include <noprop/noprop.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "scratch.h"

namespace {

const double PI = 3.14159265358979323846;

struct Destroy {
  void operator()(noprop_dataset *dataset) const { noprop_dataset_destroy(dataset); }
};
using Dataset = std::unique_ptr<noprop_dataset, Destroy>;

Dataset generate(const char *kind, long rows, double noise, uint64_t seed = 1) {
  noprop_dataset *dataset = nullptr;
  EXPECT_EQ(noprop_dataset_generate(kind, rows, noise, seed, &dataset), NOPROP_OK) << noprop_last_error();
  return Dataset(dataset);
}

struct Points {
  std::vector<double> x, y;
  std::vector<int> label;
};

Points points(const Dataset &dataset, const char *split = "train") {
  noprop_array x, y;
  Points result;
  EXPECT_EQ(noprop_dataset_get(dataset.get(), split, "x", &x), NOPROP_OK) << noprop_last_error();
  EXPECT_EQ(noprop_dataset_get(dataset.get(), split, "y", &y), NOPROP_OK) << noprop_last_error();
  EXPECT_EQ(x.rows, y.rows);
  for (long i = 0; i < x.rows; i++) {
    result.x.push_back(static_cast<const float *>(x.values)[2 * i]);
    result.y.push_back(static_cast<const float *>(x.values)[2 * i + 1]);
    result.label.push_back(static_cast<const int32_t *>(y.values)[i]);
  }
  return result;
}

struct Moments {
  double mean = 0, variance = 0;
  long count = 0;
};

Moments moments(const std::vector<double> &values) {
  Moments m;
  m.count = static_cast<long>(values.size());
  for (const double v : values) m.mean += v / static_cast<double>(m.count);
  for (const double v : values) m.variance += (v - m.mean) * (v - m.mean) / static_cast<double>(m.count);
  return m;
}

// Five standard errors: a right generator fails one test in a million.
void expect_mean(const Moments &m, double mean, double variance, const char *what) {
  EXPECT_NEAR(m.mean, mean, 5 * std::sqrt(variance / static_cast<double>(m.count))) << what;
}

TEST(Generate, SplitsHaveTheRowsAndTypesOfTheContract) {
  for (const char *kind : {"two-moons", "gaussians", "checkerboard"}) {
    const Dataset dataset = generate(kind, 101, -1);
    noprop_array array;
    const struct {
      const char *split;
      long rows;
    } splits[] = {{"train", 101}, {"validation", 50}, {"test", 50}};
    for (const auto &s : splits) {
      ASSERT_EQ(noprop_dataset_get(dataset.get(), s.split, "x", &array), NOPROP_OK);
      EXPECT_EQ(array.rows, s.rows);
      EXPECT_EQ(array.width, 2);
      EXPECT_EQ(array.type, NOPROP_TYPE_FLOAT32);
      ASSERT_EQ(noprop_dataset_get(dataset.get(), s.split, "y", &array), NOPROP_OK);
      EXPECT_EQ(array.rows, s.rows);
      EXPECT_EQ(array.type, NOPROP_TYPE_INT32);
      EXPECT_EQ(array.rank, 1);
    }
  }
}

TEST(Generate, TwoMoonsWithoutNoiseLieOnTheirHalfCircles) {
  const Points p = points(generate("two-moons", 20000, 0));
  long inner = 0;
  std::vector<double> angles;
  for (size_t i = 0; i < p.x.size(); i++) {
    // Outer (cos a, sin a), inner (1 - cos a, 1/2 - sin a), a in [0, pi].
    const double c = p.label[i] == 0 ? p.x[i] : 1 - p.x[i], s = p.label[i] == 0 ? p.y[i] : 0.5 - p.y[i];
    ASSERT_NEAR(c * c + s * s, 1.0, 1e-6);  // float32 of numbers up to 2: 4 * 6e-8
    ASSERT_GE(s, -1e-6);
    angles.push_back(std::atan2(s, c));
    inner += p.label[i];
  }
  EXPECT_NEAR(static_cast<double>(inner), 10000, 5 * std::sqrt(20000 * 0.25));
  const Moments m = moments(angles);
  expect_mean(m, PI / 2, PI * PI / 12, "the angle is uniform in [0, pi]");
  EXPECT_NEAR(m.variance, PI * PI / 12, 5 * PI * PI / 4 * std::sqrt(4.0 / 45.0 / 20000));  // var of (a-m)^2: h^4 4/45
  // Kolmogorov-Smirnov: the largest distance of the empirical distribution stays below 2 / sqrt(n) but once in 1500.
  std::sort(angles.begin(), angles.end());
  double worst = 0;
  for (size_t i = 0; i < angles.size(); i++)
    worst = std::max(worst, std::fabs(angles[i] / PI - (static_cast<double>(i) + 0.5) / 20000));
  EXPECT_LT(worst, 2 / std::sqrt(20000.0));
}

TEST(Generate, NoiseIsGaussianWithTheGivenDeviationAndTheDefaultsOfTheContract) {
  const struct {
    const char *kind;
    double given, expected;
  } cases[] = {{"two-moons", -1, 0.1}, {"two-moons", 0.2, 0.2}, {"gaussians", -1, 0.56}, {"checkerboard", 0.3, 0.3}};
  for (const auto &c : cases) {
    // The same seed with and without noise: places are the same, differences are the noise.
    const long rows = 20000;
    const Points clean = points(generate(c.kind, rows, 0)), noisy = points(generate(c.kind, rows, c.given));
    std::vector<double> noise, products, fourth;
    for (long i = 0; i < rows; i++) {
      const size_t k = static_cast<size_t>(i);
      ASSERT_EQ(clean.label[k], noisy.label[k]);
      const double a = (noisy.x[k] - clean.x[k]) / c.expected, b = (noisy.y[k] - clean.y[k]) / c.expected;
      noise.push_back(a);
      noise.push_back(b);
      products.push_back(a * b);
      fourth.push_back(a * a * a * a);
    }
    const Moments m = moments(noise);
    expect_mean(m, 0, 1, c.kind);
    EXPECT_NEAR(m.variance, 1, 5 * std::sqrt(2.0 / static_cast<double>(m.count))) << c.kind;
    expect_mean(moments(products), 0, 1, "the two coordinates are independent");
    expect_mean(moments(fourth), 3, 96, "the fourth moment of a normal is 3, its variance 105 - 9");
  }
}

TEST(Generate, CheckerboardHasNoNoiseByDefault) {
  EXPECT_EQ(points(generate("checkerboard", 500, -1)).x, points(generate("checkerboard", 500, 0)).x);
}

TEST(Generate, GaussiansStandOnACircleOfRadiusFive) {
  const Points p = points(generate("gaussians", 16000, 0));
  long count[8] = {0};
  for (size_t i = 0; i < p.x.size(); i++) {
    ASSERT_TRUE(p.label[i] >= 0 && p.label[i] < 8);
    EXPECT_NEAR(p.x[i], 5 * std::cos(PI / 4 * p.label[i]), 5e-7);  // half an ulp of float32 near 5
    EXPECT_NEAR(p.y[i], 5 * std::sin(PI / 4 * p.label[i]), 5e-7);
    count[p.label[i]]++;
  }
  for (const long n : count) EXPECT_NEAR(static_cast<double>(n), 2000, 5 * std::sqrt(16000.0 * 7 / 64));
}

TEST(Generate, CheckerboardFillsItsDarkFieldsEvenly) {
  const Points p = points(generate("checkerboard", 16000, 0));
  long count[4][4] = {{0}};
  std::vector<double> inside;
  for (size_t i = 0; i < p.x.size(); i++) {
    ASSERT_TRUE(p.x[i] >= -4 && p.x[i] <= 4 && p.y[i] >= -4 && p.y[i] <= 4);
    const int column = std::min(3, static_cast<int>((p.x[i] + 4) / 2)),
              row = std::min(3, static_cast<int>((p.y[i] + 4) / 2));
    EXPECT_EQ(p.label[i], row);
    count[row][column]++;
    inside.push_back((p.x[i] + 4) / 2 - column);
  }
  for (int row = 0; row < 4; row++)
    for (int column = 0; column < 4; column++) {
      if ((row + column) % 2 == 0)
        EXPECT_NEAR(static_cast<double>(count[row][column]), 2000, 5 * std::sqrt(16000.0 * 7 / 64));
      else
        EXPECT_EQ(count[row][column], 0);
    }
  expect_mean(moments(inside), 0.5, 1.0 / 12, "uniform within a field");
}

TEST(Generate, SplitsAreIndependentAndLongerRunsBeginTheSame) {
  const Points train = points(generate("two-moons", 2000, -1), "train");
  const Points validation = points(generate("two-moons", 2000, -1), "validation");
  const Points test = points(generate("two-moons", 2000, -1), "test");
  std::vector<double> products;
  for (size_t i = 0; i < 1000; i++) {
    EXPECT_NE(train.x[i], validation.x[i]);
    EXPECT_NE(validation.x[i], test.x[i]);
    products.push_back((train.x[i] - 0.5) * (test.x[i] - 0.5));
  }
  // x of two moons: mean 1/2, variance E[cos^2] + 1/4 + noise^2 = .76.
  expect_mean(moments(products), 0, 0.76 * 0.76, "training and test rows are not correlated");
  const Points shorter = points(generate("two-moons", 100, -1));
  for (size_t i = 0; i < 100; i++) EXPECT_EQ(shorter.x[i], train.x[i]);
}

TEST(Generate, SeedsDecideAndBitsAreFrozen) {
  const Scratch scratch;
  for (const char *name : {"a.h5", "b.h5"})
    ASSERT_EQ(noprop_dataset_save(generate("two-moons", 50, -1, 7).get(), scratch.path(name).c_str(), nullptr, nullptr),
              NOPROP_OK);
  ASSERT_EQ(noprop_dataset_save(generate("two-moons", 50, -1, 8).get(), scratch.path("c.h5").c_str(), nullptr, nullptr),
            NOPROP_OK);
  EXPECT_EQ(read_file(scratch.path("a.h5")), read_file(scratch.path("b.h5")));
  EXPECT_NE(read_file(scratch.path("a.h5")), read_file(scratch.path("c.h5")));
  // Data files made by an earlier build must come out again: the first point of seed 0.
  const Points p = points(generate("two-moons", 2, -1, 0));
  EXPECT_FLOAT_EQ(static_cast<float>(p.x[0]), 0.0924931988f);
  EXPECT_FLOAT_EQ(static_cast<float>(p.y[0]), 0.168140799f);
  EXPECT_EQ(p.label[0], 1);
}

TEST(Generate, WrongArgumentsAreRefusedSayingWhatIsAllowed) {
  noprop_dataset *dataset = nullptr;
  EXPECT_EQ(noprop_dataset_generate("three-moons", 10, -1, 0, &dataset), NOPROP_INVALID_ARGUMENT);
  EXPECT_NE(std::string(noprop_last_error()).find("two-moons, gaussians, checkerboard, lorenz"), std::string::npos);
  for (const long rows : {-1L, 0L, 1L, 2000000000L})
    EXPECT_EQ(noprop_dataset_generate("two-moons", rows, -1, 0, &dataset), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_dataset_generate("two-moons", 10, std::nan(""), 0, &dataset), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_dataset_generate("two-moons", 10, 1e9, 0, &dataset), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(dataset, nullptr);
}

}  // namespace
