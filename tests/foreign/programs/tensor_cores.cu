// Matrix products by nvcuda::wmma: a warp a tile, fragments loaded from global memory, or through shared memory.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

#include <type_traits>

#include "tests/foreign/programs/array.h"
#include "tests/foreign/programs/tensor_cores.h"

namespace tensor_cores {

namespace wmma = nvcuda::wmma;
using Row = wmma::row_major;
using Column = wmma::col_major;

template <typename Layout>
constexpr bool is_row = std::is_same_v<Layout, Row>;

// Whole matrices from global memory. Type is the fragments', Stored the arrays'.
template <typename Type, typename Stored, typename Sum, int M, int N, int K, typename LayoutA, typename LayoutB>
__global__ void multiply(const Stored *a, const Stored *b, Sum *c, int m, int n, int k) {
  const int row = blockIdx.y * M, column = blockIdx.x * N;
  wmma::fragment<wmma::matrix_a, M, N, K, Type, LayoutA> tile_a;
  wmma::fragment<wmma::matrix_b, M, N, K, Type, LayoutB> tile_b;
  wmma::fragment<wmma::accumulator, M, N, K, Sum> sum;
  wmma::fill_fragment(sum, Sum(0));
  for (int i = 0; i < k; i += K) {
    wmma::load_matrix_sync(tile_a, is_row<LayoutA> ? a + row * k + i : a + i * m + row, is_row<LayoutA> ? k : m);
    wmma::load_matrix_sync(tile_b, is_row<LayoutB> ? b + i * n + column : b + column * k + i, is_row<LayoutB> ? n : k);
    if constexpr (std::is_same_v<Type, wmma::precision::tf32>) {
      for (float &x : tile_a.x) x = wmma::__float_to_tf32(x);
      for (float &x : tile_b.x) x = wmma::__float_to_tf32(x);
    }
    wmma::mma_sync(sum, tile_a, tile_b, sum);
  }
  wmma::store_matrix_sync(c + row * n + column, sum, n, wmma::mem_row_major);
}

// A block of four warps on a tile of 32 x 32, by way of shared memory with padded rows; stored down the columns.
__global__ static void multiply_shared(const __half *a, const __half *b, float *c, int m, int n, int k) {
  constexpr int kWidth = 32 + 8;
  __shared__ alignas(32) __half tile_a[32 * kWidth], tile_b[32 * kWidth];
  const int warp = threadIdx.x / 32, row = blockIdx.y * 32, column = blockIdx.x * 32;
  wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, Row> part_a;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, Row> part_b;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum, doubled;
  wmma::fill_fragment(sum, 0.f);
  for (int begin = 0; begin < k; begin += 32) {
    for (int i = threadIdx.x; i < 32 * 32; i += blockDim.x) {
      tile_a[i / 32 * kWidth + i % 32] = a[(row + i / 32) * k + begin + i % 32];
      tile_b[i / 32 * kWidth + i % 32] = b[(begin + i / 32) * n + column + i % 32];
    }
    __syncthreads();
    for (int inner = 0; inner < 32; inner += 16) {
      wmma::load_matrix_sync(part_a, tile_a + warp / 2 * 16 * kWidth + inner, kWidth);
      wmma::load_matrix_sync(part_b, tile_b + inner * kWidth + warp % 2 * 16, kWidth);
      wmma::mma_sync(sum, part_a, part_b, sum);
    }
    __syncthreads();
  }
  // Elements of fragments of one type correspond: twice the product, by adding it to itself.
  for (int i = 0; i < sum.num_elements; ++i) doubled.x[i] = sum.x[i] + sum.x[i];
  wmma::store_matrix_sync(c + (column + warp % 2 * 16) * m + row + warp / 2 * 16, doubled, m, wmma::mem_col_major);
}

template <typename Stored>
std::vector<Stored> stored(const std::vector<double> &x, bool as_is, int rows, int columns) {
  std::vector<Stored> result;
  for (size_t i = 0; i < x.size(); ++i) {
    result.push_back(static_cast<Stored>(as_is ? x[i] : x[i % rows * columns + i / rows]));
  }
  return result;
}

template <typename Sum>
std::vector<double> doubles(const Array<Sum> &array) {
  std::vector<double> result;
  for (Sum value : array.values()) result.push_back(static_cast<double>(value));
  return result;
}

template <typename Type, typename Stored, typename Sum, int M, int N, int K, typename LayoutA, typename LayoutB>
std::vector<double> run(const std::vector<double> &a, const std::vector<double> &b, int m, int n, int k) {
  const Array<Stored> in_a(stored<Stored>(a, is_row<LayoutA>, m, k)), in_b(stored<Stored>(b, is_row<LayoutB>, k, n));
  const Array<Sum> out(static_cast<size_t>(m) * n);
  multiply<Type, Stored, Sum, M, N, K, LayoutA, LayoutB>
      <<<dim3(n / N, m / M), 32>>>(in_a.data(), in_b.data(), out.data(), m, n, k);
  CHECK_CUDA(cudaGetLastError());
  return doubles(out);
}

static std::vector<double> run_shared(const std::vector<double> &a, const std::vector<double> &b, int m, int n, int k) {
  const Array<__half> in_a(stored<__half>(a, true, m, k)), in_b(stored<__half>(b, true, k, n));
  const Array<float> out(static_cast<size_t>(m) * n);
  multiply_shared<<<dim3(n / 32, m / 32), 128>>>(in_a.data(), in_b.data(), out.data(), m, n, k);
  CHECK_CUDA(cudaGetLastError());
  const std::vector<double> columns = doubles(out);
  std::vector<double> rows;
  for (size_t i = 0; i < columns.size(); ++i) rows.push_back(columns[i % n * m + i / n] / 2);
  return rows;
}

const std::vector<Product> &products() {
  using Tf32 = wmma::precision::tf32;
  using Bf16 = __nv_bfloat16;
  static const std::vector<Product> all = {
      {"half 16x16x16", 16, 16, 16, run<__half, __half, float, 16, 16, 16, Row, Row>, 11, 24},
      {"half 32x8x16", 32, 8, 16, run<__half, __half, float, 32, 8, 16, Row, Column>, 11, 24},
      {"half 8x32x16", 8, 32, 16, run<__half, __half, float, 8, 32, 16, Column, Row>, 11, 24},
      {"half 16x16x16, sums of half", 16, 16, 16, run<__half, __half, __half, 16, 16, 16, Column, Column>, 11, 11},
      {"half by way of shared memory", 32, 32, 32, run_shared, 11, 24},
      {"bfloat16 16x16x16", 16, 16, 16, run<Bf16, Bf16, float, 16, 16, 16, Row, Column>, 8, 24},
      {"bfloat16 32x8x16", 32, 8, 16, run<Bf16, Bf16, float, 32, 8, 16, Column, Column>, 8, 24},
      {"bfloat16 8x32x16", 8, 32, 16, run<Bf16, Bf16, float, 8, 32, 16, Row, Row>, 8, 24},
      {"tf32 16x16x8", 16, 16, 8, run<Tf32, float, float, 16, 16, 8, Row, Column>, 11, 24},
      {"double 8x8x4", 8, 8, 4, run<double, double, double, 8, 8, 4, Row, Column>, 53, 53},
      {"signed char 16x16x16", 16, 16, 16, run<signed char, signed char, int, 16, 16, 16, Row, Column>, 0, 0},
      {"unsigned char 8x32x16", 8, 32, 16, run<unsigned char, unsigned char, int, 8, 32, 16, Row, Column>, 0, 0},
  };
  return all;
}

}  // namespace tensor_cores
