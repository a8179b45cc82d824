// The current dense layer (kernels/dense.cuh) alone: a block takes 32 rows in, carries them through one layer, and
// writes them. Compiled behind simple.h by the ladder. In the product nothing is read or written between layers.
#include "dense.cuh"

extern "C" __global__ void __launch_bounds__(TILE_THREADS) tile_dense(const simple_dense_arguments a) {
  extern __shared__ float in[];  // [WIDTH][TILE_ROWS]
  const unsigned first = blockIdx.x * TILE_ROWS;
  for (unsigned i = threadIdx.x; i < WIDTH * TILE_ROWS; i += TILE_THREADS) {
    const unsigned row = i / WIDTH, k = i % WIDTH;
    in[k * TILE_ROWS + row] = first + row < a.rows ? a.in[(first + row) * WIDTH + k] : 0.0f;
  }
  __syncthreads();
  const unsigned row = first + tile_lane();
  for (int n = 8 * tile_warp(); n < WIDTH; n += 8 * TILE_WARPS) {
    float acc[8] = {};
    add_parameters8(acc, a.bias + n);
    dense_accumulate<WIDTH>(acc, in, WIDTH, a.weights + n);
    if (row < a.rows)
      for (int j = 0; j < 8; ++j) a.out[row * WIDTH + n + j] = acc[j];
  }
}
