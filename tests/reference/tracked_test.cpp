/* The error estimate against real float32 arithmetic: it covers the errors, and does not exaggerate them wildly. */
#include "tests/reference/tracked.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <vector>

namespace {

using namespace reference;

/* Runs one computation in float32 and Tracked on random inputs; |difference| / deviation must stay below 6 in each of
 * 2,000 trials (a normal exceeds that once in 5e8) and have a root mean square of at least 1/30 (an estimate hundreds
 * of times too large would hide errors). */
template <typename Computation>
void check(const char *name, const Computation &compute) {
  std::mt19937 generator(3);
  std::normal_distribution<float> normal;
  double worst = 0, sum = 0;
  const int trials = 2000;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<float> in(64);
    for (float &v : in) v = normal(generator);
    const std::vector<Tracked> exact(in.begin(), in.end());
    const Tracked estimate = compute(exact);
    const double share = std::fabs(static_cast<double>(compute(in)) - estimate.value) / estimate.deviation();
    worst = std::max(worst, share);
    sum += share * share;
  }
  EXPECT_LT(worst, 6) << name;
  EXPECT_GT(std::sqrt(sum / trials), 1 / 30.0) << name;
}

struct Dot {
  template <typename T>
  T operator()(const std::vector<T> &v) const {
    T sum = 0;
    for (size_t i = 0; i < 32; ++i) sum += v[i] * v[i + 32];
    return sum;
  }
};
struct SumOfSquares {
  template <typename T>
  T operator()(const std::vector<T> &v) const {
    T sum = 0;
    for (const T &x : v) sum += x * x;
    return sum;
  }
};
struct Layers { /* eight layers of a 8-wide network with tanh-like units, weights from the inputs */
  template <typename T>
  T operator()(const std::vector<T> &v) const {
    using std::exp;
    std::vector<T> h(v.begin(), v.begin() + 8);
    for (int layer = 0; layer < 8; ++layer) {
      std::vector<T> next;
      for (size_t j = 0; j < 8; ++j) {
        T sum = 0;
        for (size_t i = 0; i < 8; ++i) sum += h[i] * (v[(8 * j + i + static_cast<size_t>(layer)) % 64] * T(0.5));
        next.push_back(sum / (T(1) + exp(-sum)) / T(2));
      }
      h = next;
    }
    return h[0];
  }
};
struct Ratio {
  template <typename T>
  T operator()(const std::vector<T> &v) const {
    using std::sqrt;
    return v[0] / (sqrt(v[1] * v[1]) + T(0.5)) - v[2];
  }
};

TEST(Tracked, EstimateCoversTheErrorsOfFloat32) {
  check("dot product", Dot{});
  check("sum of squares", SumOfSquares{});
  check("layers", Layers{});
  check("ratio", Ratio{});
}

/* What a float32 kernel does where a number's error decides: a sign, the neighbour it rounds to. Sums of products lie
 * so close to where they turn that many do; none is off by more than kReach deviations. */
TEST(Tracked, JumpsAreWithinTheEstimate) {
  std::mt19937 generator(5);
  std::normal_distribution<double> normal;
  int signs = 0, roundings = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    float sum = 1;
    Tracked exact = 1;
    for (int i = 0; i < 64; ++i) {
      const auto a = static_cast<float>(normal(generator)), b = static_cast<float>(normal(generator));
      sum += a * b, exact += Tracked(a) * Tracked(b);
    }
    /* Near a sign's turning point, and near a tie between 1 and 1 + 2^-7. */
    const auto apart = static_cast<float>(exact.value + 3 * normal(generator) * kEpsilon);
    const double tie = 1 + std::ldexp(1.0, -8);
    const Tracked slope = by_sign(exact - Tracked(apart), 0.25, 3);
    const Tracked rounded = rounded_near_ties(exact - Tracked(apart) + Tracked(tie), 7, true);
    const double got_slope = by_sign(static_cast<double>(sum) - apart, 0.25, 3);
    const double got_rounded = rounded_to(static_cast<double>(sum) - apart + tie, 7, true);
    signs += got_slope != slope.value, roundings += got_rounded != rounded.value;
    ASSERT_LE(std::fabs(got_slope - slope.value), kReach * slope.deviation()) << trial;
    ASSERT_LE(std::fabs(got_rounded - rounded.value), kReach * rounded.deviation()) << trial;
  }
  EXPECT_GT(signs, 100);
  EXPECT_GT(roundings, 100);
  const Tracked certain(1.0, square(1e-5)); /* ties are hundreds of deviations away */
  EXPECT_EQ(by_sign(certain, 0, 1).variance, 0);
  EXPECT_EQ(rounded_near_ties(certain, 7, true).variance, certain.variance);
}

}  // namespace
