/* Programs as CUDA's documentation and samples teach to write them, on arrays of the host. */
#ifndef TESTS_FOREIGN_PROGRAMS_SAMPLES_H
#define TESTS_FOREIGN_PROGRAMS_SAMPLES_H

#include <cstddef>
#include <vector>

namespace samples {

using Floats = std::vector<float>;

Floats vector_add(const Floats &a, const Floats &b);
/* c[m][n] = a[m][k] b[k][n], by tiles of 16 x 16 in shared memory. */
Floats matrix_multiply(const Floats &a, const Floats &b, int m, int n, int k);
Floats transpose(const Floats &x, int rows, int columns);
/* Warp shuffles, then shared memory, then one atomic addition a block. */
long long sum(const std::vector<int> &x);
/* The same in one cooperative launch, whose blocks wait for each other. */
long long sum_cooperative(const std::vector<int> &x);
std::vector<unsigned> histogram(const std::vector<unsigned char> &x);
/* Filter in constant memory; zeros outside the signal. */
Floats convolve(const Floats &x, const Floats &filter);
/* In dynamic shared memory of more than 48 KiB, which a kernel must ask for. */
std::vector<int> bitonic_sorted(const std::vector<int> &x);
/* Pieces on several streams, each copied, computed and copied back, with events between the streams. */
Floats scaled_in_streams(const Floats &x, float scale, int streams);
/* A captured graph of `steps` launches, launched `times` times. */
Floats diffused_by_graph(const Floats &x, int steps, int times);
/* Managed memory: a list of nodes that point to one another. */
long long sum_of_list(const std::vector<int> &x);
/* Blocks as many as the occupancy calculation says, each in a grid-stride loop. */
Floats black_scholes_calls(const Floats &price, const Floats &strike, const Floats &years, float rate,
                           float volatility);
/* Accelerations of bodies of mass w at x, y, z, softened. */
std::vector<double> accelerations(const std::vector<double> &bodies, double softening);

}  // namespace samples

#endif
