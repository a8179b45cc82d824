/* The comparison refuses what it should. */
#include "tests/reference/compare.h"

#include <gtest/gtest.h>

#include <limits>

namespace {

using namespace reference;

TEST(Compare, AcceptsWhatIsWithinTheTolerance) {
  const Comparison c = compare({1.05, 2}, {1, 2}, {0.1, 0.1});
  EXPECT_TRUE(c.passed) << c.message;
  EXPECT_NEAR(c.share, 0.5, 1e-12);
}

TEST(Compare, RefusesWhatIsOutside) { EXPECT_FALSE(compare({1.2, 2}, {1, 2}, {0.1, 0.1}).passed); }

TEST(Compare, RefusesATolerancePassedByZeros) {
  EXPECT_FALSE(compare({1.0, 2.0}, {1, 2}, {3, 3}).passed);
  EXPECT_FALSE(compare({0, 0}, {1e-9, 0}, {1e-6, 1e-6}).passed);
}

TEST(Compare, RefusesWhatIsNotFinite) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(compare({nan}, {1}, std::vector<double>{0.1}).passed);
  EXPECT_FALSE(compare({std::numeric_limits<double>::infinity()}, {1}, std::vector<double>{0.1}).passed);
}

TEST(Compare, RefusesOtherSizes) { EXPECT_FALSE(compare({1}, {1, 2}, {0.1, 0.1}).passed); }

TEST(Compare, ZerosMustBeZeros) {
  EXPECT_TRUE(compare({0, 0}, {0, 0}, {0, 0}).passed);
  EXPECT_FALSE(compare({0, 1e-30}, {0, 0}, {0, 0}).passed);
}

}  // namespace
