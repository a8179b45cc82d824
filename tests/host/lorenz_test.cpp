// Windows of the Lorenz system against its own equation, integrated anew.
#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <vector>

#include "converting.h"

namespace {

using State = std::array<long double, 3>;

State slope(const State &s) { return {10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8.0L / 3 * s[2]}; }

// By 2,000 steps of Heun's method and of half as many, extrapolated: error far below that of what is tested.
State integrate(const State &start, long double time) {
  const auto heun = [&](int steps) {
    State s = start;
    const long double h = time / steps;
    for (int i = 0; i < steps; i++) {
      const State a = slope(s);
      State next;
      for (size_t k = 0; k < 3; k++) next[k] = s[k] + h * a[k];
      const State b = slope(next);
      for (size_t k = 0; k < 3; k++) s[k] += h / 2 * (a[k] + b[k]);
    }
    return s;
  };
  const State fine = heun(2000), coarse = heun(1000);
  State result;
  for (size_t k = 0; k < 3; k++) result[k] = fine[k] + (fine[k] - coarse[k]) / 3;
  return result;
}

struct Windows {
  Dataset dataset;
  noprop_array x, y;
};

Windows windows(long rows, int prefix, int horizon, double noise, uint64_t seed, const char *split = "train") {
  noprop_dataset *made = nullptr;
  EXPECT_EQ(noprop_dataset_generate_lorenz(rows, prefix, horizon, noise, seed, &made), NOPROP_OK);
  Windows w{Dataset(made), {}, {}};
  w.x = get(w.dataset, split, "x");
  w.y = get(w.dataset, split, "y");
  return w;
}

const float *row(const noprop_array &array, long i) {
  return static_cast<const float *>(array.values) + i * array.width;
}

TEST(Lorenz, PointsFollowTheEquationAndWindowsOneAnother) {
  const Windows w = windows(1100, 6, 4, -1, 3);
  ASSERT_EQ(w.x.rows, 1100);
  ASSERT_EQ(w.x.rank, 3);
  EXPECT_EQ(w.x.shape[1], 6);
  EXPECT_EQ(w.y.shape[1], 4);
  EXPECT_EQ(w.y.shape[2], 3);
  for (const long i : {0L, 400L, 1014L, 1015L, 1099L}) {
    std::vector<float> points(row(w.x, i), row(w.x, i) + 18);
    points.insert(points.end(), row(w.y, i), row(w.y, i) + 12);
    for (size_t t = 0; t + 1 < 10; t++) {
      const State got = integrate({points[3 * t], points[3 * t + 1], points[3 * t + 2]}, 100.0L / 1023);
      // Four steps of 0.0244 of a fourth-order method on a system with rates up to 30 or so: 1e-3 of values up to 40;
      // the start is rounded to float32.
      for (size_t k = 0; k < 3; k++) EXPECT_NEAR(static_cast<double>(got[k]), points[3 * t + 3 + k], 0.02) << i;
    }
  }
  for (const long i : {0L, 1013L}) EXPECT_TRUE(std::equal(row(w.x, i) + 3, row(w.x, i) + 18, row(w.x, i + 1)));
  // 1024 - 10 + 1 windows to a trajectory.
  EXPECT_FALSE(std::equal(row(w.x, 1014) + 3, row(w.x, 1014) + 18, row(w.x, 1015)));
  const float *start = row(w.x, 1015);
  EXPECT_LE(std::fabs(start[0]), 20);
  EXPECT_LE(std::fabs(start[1]), 20);
  EXPECT_TRUE(start[2] >= 0 && start[2] <= 50);
}

TEST(Lorenz, NoPointIsInTwoSplits) {
  std::set<float> seen;
  size_t points = 0;
  for (const char *split : {"train", "validation", "test"}) {
    const Windows w = windows(1200, 6, 6, -1, 0, split);
    std::set<float> own;
    for (long i = 0; i < w.x.rows; i++) own.insert(row(w.x, i)[0]);
    points += own.size();
    seen.insert(own.begin(), own.end());
  }
  // A few of 2,400 numbers are alike by chance; an overlap would be hundreds.
  EXPECT_LE(points - seen.size(), 5u);
}

TEST(Lorenz, NoiseIsAddedToWhatIsObservedAndTheSeedDecides) {
  const Windows clean = windows(1000, 6, 6, 0, 5), noisy = windows(1000, 6, 6, 0.5, 5),
                other = windows(1000, 6, 6, 0, 6);
  double sum = 0, squares = 0;
  const long values = clean.x.rows * clean.x.width;
  std::vector<double> first;
  for (long i = 0; i < 1000; i++) {
    const double e = static_cast<double>(row(noisy.x, i)[1]) - static_cast<double>(row(clean.x, i)[1]);
    sum += e / 1000;
    squares += e * e / 1000;
  }
  EXPECT_NEAR(sum, 0, 5 * 0.5 / std::sqrt(1000.0));
  EXPECT_NEAR(squares, 0.25, 5 * 0.25 * std::sqrt(2.0 / 1000));
  EXPECT_TRUE(std::equal(row(noisy.x, 0) + 3, row(noisy.x, 0) + 18, row(noisy.x, 1))) << "a point has one observation";
  EXPECT_FALSE(std::equal(row(clean.x, 0), row(clean.x, 0) + values, row(other.x, 0)));
}

TEST(Lorenz, WrongLengthsAreRefused) {
  noprop_dataset *dataset = nullptr;
  for (const int length : {0, 257}) {
    EXPECT_EQ(noprop_dataset_generate_lorenz(100, length, 6, 0, 0, &dataset), NOPROP_INVALID_ARGUMENT);
    EXPECT_EQ(noprop_dataset_generate_lorenz(100, 6, length, 0, 0, &dataset), NOPROP_INVALID_ARGUMENT);
  }
  EXPECT_TRUE(contains(noprop_last_error(), "1 to 256 points"));
  EXPECT_EQ(noprop_dataset_generate_lorenz(1, 6, 6, 0, 0, &dataset), NOPROP_INVALID_ARGUMENT);
}

}  // namespace
