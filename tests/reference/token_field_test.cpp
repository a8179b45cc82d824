/* The reference's field over tokens: derivatives against differences, and what the order of tokens means. */
#include "tests/reference/token_field.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace {

using namespace reference;

Vector<double> random_vector(size_t n, unsigned seed, double deviation = 0.4) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, deviation);
  Vector<double> result(n);
  for (double &v : result) v = normal(generator);
  return result;
}

Network small_network(bool rotary) {
  return make_token_network({3, 2, 4, 2, true, 8, 2, 12, rotary, "gelu", {}, {}, {}, {}, {}, {}, {}, {}, {}}, 2, 1, 3);
}

/* Of the condition's four positions the third is not there. */
Vector<double> condition() {
  Vector<double> x = random_vector(12, 5, 1);
  for (size_t i = 0; i < 4; ++i) x[3 * i + 2] = i == 2 ? 0 : 1;
  return x;
}

double value(const Network &network, const Vector<double> &parameters, const Vector<double> &z, const Vector<double> &x,
             const Vector<double> &e, const Vector<double> &cotangent, bool without) {
  const auto output = forward<double>(network, parameters, z, x, e, {}, without).output();
  double sum = 0;
  for (size_t i = 0; i < output.size(); ++i) sum += output[i] * cotangent[i];
  return sum;
}

/* Central differences in double, h = 1e-5: their error is h^2 times third derivatives, which are of the order of 10. */
TEST(TokenField, GradientsMatchDifferences) {
  for (const bool rotary : {true, false})
    for (const bool without : {false, true}) {
      const Network network = small_network(rotary);
      Vector<double> parameters = random_vector(static_cast<size_t>(network.parameters), 1), z = random_vector(6, 2, 1);
      const Vector<double> x = condition(), e = random_vector(3, 3, 1), cotangent = random_vector(6, 4, 1);
      Vector<double> gradient(parameters.size(), 0.0), z_bar;
      backward(network, parameters, forward<double>(network, parameters, z, x, e, {}, without), cotangent, gradient,
               &z_bar);
      const auto check = [&](double &at, double want) {
        const double h = 1e-5, keep = at;
        at = keep + h;
        const double up = value(network, parameters, z, x, e, cotangent, without);
        at = keep - h;
        const double down = value(network, parameters, z, x, e, cotangent, without);
        at = keep;
        ASSERT_NEAR(want, (up - down) / (2 * h), 1e-7);
      };
      double largest = 0;
      for (size_t i = 0; i < parameters.size(); ++i) {
        check(parameters[i], gradient[i]);
        largest = std::fmax(largest, std::fabs(gradient[i]));
      }
      for (size_t i = 0; i < z.size(); ++i) check(z[i], z_bar[i]);
      EXPECT_GT(largest, 0.1);
    }
}

/* Rotary places enter as differences: beginning the condition one position later, with the state behind it, changes
 * nothing. Exchanged positions of the condition do. */
TEST(TokenField, PlacesMatterAsTheirKindSays) {
  for (const bool rotary : {true, false}) {
    const Network network = small_network(rotary);
    const Vector<double> parameters = random_vector(static_cast<size_t>(network.parameters), 1);
    const Vector<double> z = random_vector(6, 2, 1), e = random_vector(3, 3, 1), cotangent = random_vector(6, 4, 1);
    Vector<double> x = random_vector(12, 5, 1), later = x, exchanged;
    for (size_t i = 0; i < 4; ++i) x[3 * i + 2] = i<3, later[3 * i + 2] = i> 0;
    for (size_t i = 0; i < 9; ++i)
      if (i % 3 != 2) later[i + 3] = x[i];
    exchanged = x;
    for (size_t i = 0; i < 2; ++i) std::swap(exchanged[i], exchanged[i + 3]);
    const double first = value(network, parameters, z, x, e, cotangent, false);
    const double moved = value(network, parameters, z, later, e, cotangent, false);
    if (rotary)
      EXPECT_NEAR(first, moved, 1e-12);
    else
      EXPECT_GT(std::fabs(first - moved), 1e-4);
    EXPECT_GT(std::fabs(value(network, parameters, z, exchanged, e, cotangent, false) - first), 1e-4);
  }
}

}  // namespace
