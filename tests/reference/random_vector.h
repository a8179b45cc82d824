/* Vectors of normal numbers for tests: the same for the same seed. */
#ifndef TESTS_REFERENCE_RANDOM_VECTOR_H
#define TESTS_REFERENCE_RANDOM_VECTOR_H

#include <random>
#include <vector>

inline std::vector<double> random_vector(size_t n, unsigned seed, double deviation = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, deviation);
  std::vector<double> result(n);
  for (double &v : result) v = normal(generator);
  return result;
}

#endif
