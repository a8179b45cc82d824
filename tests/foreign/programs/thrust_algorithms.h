/* Programs with Thrust, on arrays of the host. */
#ifndef TESTS_FOREIGN_PROGRAMS_THRUST_ALGORITHMS_H
#define TESTS_FOREIGN_PROGRAMS_THRUST_ALGORITHMS_H

#include <vector>

namespace thrust_algorithms {

int sum_of_squares(const std::vector<int> &x);
std::vector<float> saxpy(float a, const std::vector<float> &x, const std::vector<float> &y);
/* The words' numbers in order of their counts, most frequent first, of equals the smaller. */
std::vector<int> most_frequent(const std::vector<int> &words);
/* The primes below the bound, by a sieve. */
std::vector<int> primes(int bound);
std::vector<int> gathered(const std::vector<int> &x, const std::vector<int> &places);

}  // namespace thrust_algorithms

#endif
