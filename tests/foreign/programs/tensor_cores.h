/* Matrix products by nvcuda::wmma, on row-major arrays of the host. */
#ifndef TESTS_FOREIGN_PROGRAMS_TENSOR_CORES_H
#define TESTS_FOREIGN_PROGRAMS_TENSOR_CORES_H

#include <vector>

namespace tensor_cores {

/* c[m][n] = a[m][k] b[k][n]: one way to multiply by fragments. */
struct Product {
  const char *name;
  /* m, n and k must be multiples of these. */
  int tile_m, tile_n, tile_k;
  /* a and b are rounded to the fragments' type first. */
  std::vector<double> (*run)(const std::vector<double> &a, const std::vector<double> &b, int m, int n, int k);
  /* Binary digits of the fragments' and of the sums' significands; 0 for integers. */
  int digits, sum_digits;
};

const std::vector<Product> &products();

}  // namespace tensor_cores

#endif
