/* Programs as CUDA's documentation teaches to write them compute what plain loops do. */
#include "tests/foreign/programs/samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace {

using samples::Floats;

const float kUnit = 0x1p-24f; /* of rounding */

class SamplesTest : public ::testing::Test {
 protected:
  Floats floats(size_t count, float low, float high) {
    Floats values(count);
    for (float &value : values) value = std::uniform_real_distribution<float>(low, high)(generator);
    return values;
  }
  std::vector<int> ints(size_t count) {
    std::vector<int> values(count);
    for (int &value : values) value = std::uniform_int_distribution<int>(-1000000, 1000000)(generator);
    return values;
  }
  std::mt19937_64 generator{3};
};

TEST_F(SamplesTest, VectorsAreAdded) {
  const Floats a = floats(50000, -1, 1), b = floats(50000, -1, 1);
  Floats c(a.size());
  for (size_t i = 0; i < a.size(); ++i) c[i] = a[i] + b[i];
  EXPECT_EQ(samples::vector_add(a, b), c);
}

TEST_F(SamplesTest, MatricesAreMultiplied) {
  constexpr int m = 61, n = 83, k = 50;
  const Floats a = floats(m * k, -1, 1), b = floats(k * n, -1, 1), c = samples::matrix_multiply(a, b, m, n, k);
  Floats expected(c.size());
  /* nvcc contracts the sum's products into fused multiply-adds. */
  for (int i = 0; i < m * n; ++i) {
    for (int inner = 0; inner < k; ++inner)
      expected[i] = std::fma(a[i / n * k + inner], b[inner * n + i % n], expected[i]);
  }
  EXPECT_EQ(c, expected);
}

TEST_F(SamplesTest, MatricesAreTransposed) {
  constexpr int rows = 70, columns = 101;
  const Floats x = floats(rows * columns, -1, 1);
  Floats expected(x.size());
  for (int i = 0; i < rows * columns; ++i) expected[i % columns * rows + i / columns] = x[i];
  EXPECT_EQ(samples::transpose(x, rows, columns), expected);
}

TEST_F(SamplesTest, SumsAreAccumulate) {
  const std::vector<int> x = ints(100003);
  const long long expected = std::accumulate(x.begin(), x.end(), 0ll);
  EXPECT_EQ(samples::sum(x), expected);
  EXPECT_EQ(samples::sum_cooperative(x), expected);
}

TEST_F(SamplesTest, BytesAreCounted) {
  std::vector<unsigned char> x(60000);
  std::vector<unsigned> counts(256);
  for (unsigned char &value : x) ++counts[value = static_cast<unsigned char>(generator() & generator())];
  EXPECT_EQ(samples::histogram(x), counts);
}

TEST_F(SamplesTest, SignalsAreFilteredFromConstantMemory) {
  const Floats x = floats(5000, -1, 1);
  for (int taps : {1, 8, 17, 64}) {
    const Floats filter = floats(taps, -1, 1);
    Floats y(x.size());
    for (int i = 0; i < static_cast<int>(x.size()); ++i) {
      for (int tap = 0; tap < taps; ++tap) {
        const int at = i + tap - taps / 2;
        if (at >= 0 && at < static_cast<int>(x.size())) y[i] = std::fma(filter[tap], x[at], y[i]);
      }
    }
    EXPECT_EQ(samples::convolve(x, filter), y) << taps;
  }
}

TEST_F(SamplesTest, BitonicSortInLargeSharedMemory) {
  std::vector<int> x = ints(1 << 14); /* 64 KiB */
  const std::vector<int> sorted = samples::bitonic_sorted(x);
  std::sort(x.begin(), x.end());
  EXPECT_EQ(sorted, x);
}

TEST_F(SamplesTest, StreamsWaitForEvents) {
  const Floats x = floats(10007, -1, 1);
  Floats scaled = x;
  for (float &value : scaled) value *= 2.7f;
  for (int turn = 0; turn < 5; ++turn) EXPECT_EQ(samples::scaled_in_streams(x, 2.7f, 4), scaled);
}

TEST_F(SamplesTest, CapturedGraphsRepeat) {
  Floats x = floats(1000, -1, 1), y(x.size());
  const Floats diffused = samples::diffused_by_graph(x, 3, 7);
  for (int step = 0; step < 21; ++step) {
    for (size_t i = 0; i < x.size(); ++i) {
      /* A quarter and a half round nothing, so that contraction changes nothing. */
      y[i] = .25f * x[i == 0 ? 0 : i - 1] + .5f * x[i] + .25f * x[std::min(i + 1, x.size() - 1)];
    }
    x = y;
  }
  EXPECT_EQ(diffused, x);
}

TEST_F(SamplesTest, ManagedMemoryIsReadOnBothSides) {
  const std::vector<int> x = ints(1000);
  EXPECT_EQ(samples::sum_of_list(x), std::accumulate(x.begin(), x.end(), 0ll));
}

TEST_F(SamplesTest, OptionsArePricedAsBlackAndScholesDo) {
  constexpr size_t count = 20000;
  const Floats price = floats(count, 5, 30), strike = floats(count, 1, 100), years = floats(count, .25f, 10);
  const float rate = .02f, volatility = .3f;
  const Floats calls = samples::black_scholes_calls(price, strike, years, rate, volatility);
  const auto normal = [](double x) { return std::erfc(-x * std::sqrt(.5)) / 2; };
  for (size_t i = 0; i < count; ++i) {
    const double s = price[i], x = strike[i], t = years[i], v = volatility, deviation = v * std::sqrt(t);
    const double d1 = (std::log(s / x) + (rate + v * v / 2) * t) / deviation;
    const double expected = s * normal(d1) - x * std::exp(-rate * t) * normal(d1 - deviation);
    /* In units of rounding, of at most s + x in all: the ratio's rounding, over the least deviation .15 and times the
     * distribution's slope, 2.7; ten roundings of d1, times slope and |d1|, 2.4; erfc's 4 ulps, 8; the exponential's 2
     * ulps, 4; products and the difference, 4. */
    ASSERT_NEAR(calls[i], expected, (s + x) * 22 * kUnit) << s << " " << x << " " << t;
  }
}

TEST_F(SamplesTest, BodiesAttractOneAnother) {
  constexpr size_t count = 200;
  std::vector<double> bodies(4 * count);
  for (double &value : bodies) value = std::uniform_real_distribution<double>(.1, 1)(generator);
  const std::vector<double> accelerations = samples::accelerations(bodies, 1e-3);
  for (size_t i = 0; i < count; ++i) {
    long double sums[3] = {}, magnitude = 0;
    for (size_t j = 0; j < count; ++j) {
      long double difference[3], square = 1e-3;
      for (int axis = 0; axis < 3; ++axis) {
        difference[axis] = static_cast<long double>(bodies[4 * j + axis]) - bodies[4 * i + axis];
        square += difference[axis] * difference[axis];
      }
      const long double weight = bodies[4 * j + 3] / (square * std::sqrt(square));
      for (int axis = 0; axis < 3; ++axis) sums[axis] += weight * difference[axis];
      magnitude += weight * std::sqrt(square);
    }
    /* A term has some 20 roundings, and the sum one for each term. */
    for (int axis = 0; axis < 3; ++axis)
      ASSERT_NEAR(accelerations[3 * i + axis], static_cast<double>(sums[axis]),
                  static_cast<double>(magnitude) * (20 + count) * 0x1p-53);
  }
}

}  // namespace
