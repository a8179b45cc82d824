/* Programs with Thrust compute what the standard library does. */
#include "tests/foreign/programs/thrust_algorithms.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>

namespace {

constexpr int kCounts[] = {1, 500, 30000};

class ThrustTest : public ::testing::Test {
 protected:
  std::vector<int> random(int low, int high) {
    std::vector<int> values(count);
    for (int &value : values) value = std::uniform_int_distribution<int>(low, high)(generator);
    return values;
  }
  int count = 0; /* of items */
  std::mt19937_64 generator{9};
};

TEST_F(ThrustTest, TransformReduceSumsSquares) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    const std::vector<int> x = random(-100, 100);
    EXPECT_EQ(thrust_algorithms::sum_of_squares(x), std::inner_product(x.begin(), x.end(), x.begin(), 0));
  }
}

TEST_F(ThrustTest, TransformIsSaxpy) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    const std::vector<int> a = random(-1000000, 1000000), b = random(-1000000, 1000000);
    std::vector<float> x(a.begin(), a.end()), y(b.begin(), b.end()), expected;
    for (size_t i = 0; i < x.size(); ++i) expected.push_back(std::fma(.37f, x[i], y[i]));
    EXPECT_EQ(thrust_algorithms::saxpy(.37f, x, y), expected);
  }
}

TEST_F(ThrustTest, SortAndReduceByKeyCountWords) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    const std::vector<int> words = random(0, 60);
    std::map<int, int> counts;
    for (int word : words) ++counts[word];
    std::vector<int> names;
    for (const auto &[word, count] : counts) names.push_back(word);
    std::stable_sort(names.begin(), names.end(), [&](int a, int b) { return counts[a] > counts[b]; });
    EXPECT_EQ(thrust_algorithms::most_frequent(words), names);
  }
}

TEST_F(ThrustTest, CopyIfFindsPrimes) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    std::vector<bool> composite(count);
    std::vector<int> primes;
    for (int i = 2; i < count; ++i) {
      if (composite[i]) continue;
      primes.push_back(i);
      for (int multiple = 2 * i; multiple < count; multiple += i) composite[multiple] = true;
    }
    EXPECT_EQ(thrust_algorithms::primes(count), primes);
  }
}

TEST_F(ThrustTest, GatherFollowsTheMap) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    const std::vector<int> x = random(-1000, 1000), places = random(0, count - 1);
    std::vector<int> expected;
    for (int place : places) expected.push_back(x[place]);
    EXPECT_EQ(thrust_algorithms::gathered(x, places), expected);
  }
}

}  // namespace
