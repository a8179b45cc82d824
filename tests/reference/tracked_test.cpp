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

}  // namespace
