/* Matrix products by nvcuda::wmma are those of plain loops. */
#include "tests/foreign/programs/tensor_cores.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace {

using tensor_cores::Product;
using Doubles = std::vector<double>;

class TensorCoresTest : public ::testing::Test {
 protected:
  /* Calls with the product's way, its sizes, and the sums and sums of magnitudes of plain loops. */
  template <typename Random, typename Compare>
  void for_all(Random random, Compare compare) {
    for (const Product &product : tensor_cores::products()) {
      const int m = 2 * product.tile_m, n = 3 * product.tile_n, k = 3 * product.tile_k;
      Doubles a(static_cast<size_t>(m) * k), b(static_cast<size_t>(k) * n), sums(static_cast<size_t>(m) * n);
      Doubles magnitudes(sums.size());
      for (double &x : a) x = random(product);
      for (double &x : b) x = random(product);
      const auto rounded = [&](double x) { return product.digits == 0 ? x : nearest(x, product.digits); };
      for (int i = 0; i < m * n; ++i) {
        for (int inner = 0; inner < k; ++inner) {
          const double term = rounded(a[i / n * k + inner]) * rounded(b[inner * n + i % n]);
          sums[i] += term;
          magnitudes[i] += std::fabs(term);
        }
      }
      SCOPED_TRACE(product.name);
      compare(product, k, product.run(a, b, m, n, k), sums, magnitudes);
    }
  }
  /* The nearest number of so many binary digits, of two the one farther from zero: as tf32 is rounded. */
  static double nearest(double x, int digits) {
    int exponent = 0;
    const double fraction = std::frexp(x, &exponent);
    return std::ldexp(std::round(std::ldexp(fraction, digits)), exponent - digits);
  }
  std::mt19937_64 generator{17};
};

TEST_F(TensorCoresTest, ProductsOfSmallIntegersAreExact) {
  /* Sums stay below 96 x 16 < 2^11, so that every type holds them. */
  for_all(
      [this](const Product &product) {
        return static_cast<double>(generator() % 5) - (product.name[0] == 'u' ? 0 : 2);
      },
      [](const Product &, int, const Doubles &actual, const Doubles &sums, const Doubles &) {
        EXPECT_EQ(actual, sums);
      });
}

TEST_F(TensorCoresTest, ProductsOfRandomNumbersAreWithinTheBoundOfASum) {
  for_all(
      [this](const Product &product) {
        if (product.digits == 0) return static_cast<double>(generator() % 128);
        /* A number that the type holds; a float for tf32, to which the kernel rounds it. */
        const int bits = product.name[0] == 't' ? 24 : product.digits;
        const double sign = generator() % 2 == 0 ? 1 : -1;
        return sign * std::ldexp(static_cast<double>(generator() >> (64 - bits)), -bits);
      },
      [](const Product &product, int k, const Doubles &actual, const Doubles &sums, const Doubles &magnitudes) {
        for (size_t i = 0; i < sums.size(); ++i) {
          /* Of k additions, hardware may truncate each: an ulp of at most the sum of magnitudes so far. */
          const double bound = product.digits == 0 ? 0 : k * std::ldexp(magnitudes[i], 1 - product.sum_digits);
          ASSERT_NEAR(actual[i], sums[i], bound) << i;
        }
      });
}

}  // namespace
