/* The reference's transformer: derivatives against differences, and what attention and places must do. */
#include "tests/reference/transformer.h"

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

Tokens<double> random_tokens(size_t length, size_t channels, unsigned seed) {
  Tokens<double> tokens;
  for (size_t i = 0; i < length; ++i) tokens.push_back(random_vector(channels, seed + static_cast<unsigned>(i), 1));
  return tokens;
}

double value(const Transformer &t, const Vector<double> &parameters, const Tokens<double> &positions,
             const std::vector<bool> &there, const Vector<double> &cotangent) {
  const auto features = transformer_forward(t, parameters, positions, there).features;
  double sum = 0;
  for (size_t i = 0; i < features.size(); ++i) sum += features[i] * cotangent[i];
  return sum;
}

/* Central differences in double, h = 1e-5: their error is h^2 times third derivatives, which are of the order of 10. */
TEST(Transformer, GradientsMatchDifferences) {
  for (const bool rotary : {true, false}) {
    const Transformer t = make_transformer(2, 8, 2, 12, 2, rotary, "gelu");
    Vector<double> parameters = random_vector(static_cast<size_t>(t.parameters), 1);
    const Tokens<double> positions = random_tokens(4, 2, 10);
    const std::vector<bool> there = {true, false, true, true};
    const Vector<double> cotangent = random_vector(8, 3);
    Vector<double> gradient(parameters.size(), 0.0);
    transformer_backward(t, parameters, transformer_forward(t, parameters, positions, there), cotangent, gradient);
    double largest = 0;
    for (size_t i = 0; i < parameters.size(); ++i) {
      const double h = 1e-5, keep = parameters[i];
      parameters[i] = keep + h;
      const double up = value(t, parameters, positions, there, cotangent);
      parameters[i] = keep - h;
      const double down = value(t, parameters, positions, there, cotangent);
      parameters[i] = keep;
      ASSERT_NEAR(gradient[i], (up - down) / (2 * h), 1e-7) << i;
      largest = std::fmax(largest, std::fabs(gradient[i]));
    }
    EXPECT_GT(largest, 0.1);
  }
}

/* Rotary places enter as differences: shifting all tokens changes nothing. Sinusoidal ones are absolute. Without
 * either, order would not matter; with them it does. */
TEST(Transformer, PlacesMatterAsTheirKindSays) {
  for (const bool rotary : {true, false}) {
    const Transformer t = make_transformer(2, 8, 2, 12, 1, rotary, "swish");
    const Vector<double> parameters = random_vector(static_cast<size_t>(t.parameters), 1);
    const Vector<double> cotangent = random_vector(8, 3);
    Tokens<double> positions = random_tokens(5, 2, 10);
    Tokens<double> shifted = positions;
    shifted.insert(shifted.begin(), Vector<double>{7, 7});
    const double first = value(t, parameters, positions, {}, cotangent);
    const double moved = value(t, parameters, shifted, {false, true, true, true, true, true}, cotangent);
    if (rotary)
      EXPECT_NEAR(first, moved, 1e-12);
    else
      EXPECT_GT(std::fabs(first - moved), 1e-4);
    std::swap(positions[1], positions[3]);
    EXPECT_GT(std::fabs(value(t, parameters, positions, {}, cotangent) - first), 1e-4);
  }
}

}  // namespace
