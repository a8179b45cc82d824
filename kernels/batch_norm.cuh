// Batch norm: (v - mean)/sqrt(variance + epsilon), feature by feature, by the statistics of a batch or by running ones
// (Ioffe and Szegedy, "Batch normalization", 2015). engine/program_norms.c says how a kernel goes over its rows.
//
// A batch's statistics begin as those of each tile, whose variance is around the tile's own mean; they are merged by
// the formula for two groups of numbers (Chan, Golub and LeVeque, 1983) in the order of tiles and then of blocks. So
// nothing cancels, and the bits do not depend on when a block runs.
#pragma once

#include "dense.cuh"
#include "grid_barrier.cuh"

__device__ constexpr float NORM_EPSILON = 1e-5f;  // beside the variance

__device__ __forceinline__ float norm_slope(float variance) { return 1.0f / sqrtf(variance + NORM_EPSILON); }

// ---- numbers of a thread ----

template <int N>
__device__ __forceinline__ void norm_value(float (&acc)[N], const float *mean, const float *variance) {
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] = (acc[j] - load_parameter(mean + j)) * norm_slope(load_parameter(variance + j));
}

template <int N>
__device__ __forceinline__ void norm_tangent(float (&acc)[N], const float *variance) {
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] *= norm_slope(load_parameter(variance + j));
}

// The batch's mean and variance move with every row: `whole` is [mean][variance][mean adjoint][mean adjoint times
// unit], WIDTH8 each. A row past the batch's end is in no mean, and has no adjoint.
template <int WIDTH8, int N>
__device__ __forceinline__ void norm_adjoint(float (&acc)[N], const float (&unit)[N], const float *whole, bool live) {
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const float rest = acc[j] - whole[2 * WIDTH8 + j] - unit[j] * whole[3 * WIDTH8 + j];
    acc[j] = live ? rest * norm_slope(whole[WIDTH8 + j]) : 0.0f;
  }
}

// ---- a tile into its block's sums, [2][WIDTH rounded up to 8]; `before`: rows that they have already ----

// Sum over the rows of a tile; each of its lanes receives it.
__device__ __forceinline__ float tile_sum(float value) {
#pragma unroll
  for (int distance = TILE_ROWS / 2; distance > 0; distance >>= 1)
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

// Mean, and sum of squares around it.
template <int WIDTH>
__device__ __forceinline__ void collect_moments(float *sums, const float *tile, bool live, unsigned before) {
  const float count = tile_sum(live ? 1.0f : 0.0f);
#pragma unroll 1
  for (int i = 0; i < (WIDTH + TILE_WARPS - 1) / TILE_WARPS; ++i) {
    const int n = i * TILE_WARPS + tile_warp();
    const bool there = n < WIDTH && live;
    const float value = there ? tile[n * TILE_ROWS + tile_lane()] : 0.0f;
    float mean = tile_sum(value) / count;
    const float rest = there ? value - mean : 0.0f;
    float squares = tile_sum(rest * rest);
    if (n >= WIDTH || tile_lane() != 0) continue;
    if (before) {
      const float had = (float)before, step = mean - sums[n], part = count / (had + count);
      squares += sums[round_up8(WIDTH) + n] + step * step * had * part;
      mean = sums[n] + step * part;
    }
    sums[n] = mean;
    sums[round_up8(WIDTH) + n] = squares;
  }
}

// Sums of the adjoint and of the adjoint times the unit.
template <int WIDTH>
__device__ __forceinline__ void collect_feedback(float *sums, const float *adjoint, const float *unit, bool live,
                                                 unsigned before) {
#pragma unroll 1
  for (int i = 0; i < (WIDTH + TILE_WARPS - 1) / TILE_WARPS; ++i) {
    const int n = i * TILE_WARPS + tile_warp(), at = n * TILE_ROWS + tile_lane();
    const bool there = n < WIDTH && live;
    const float value = there ? adjoint[at] : 0.0f;
    const float sum = tile_sum(value), product = tile_sum(there ? value * unit[at] : 0.0f);
    if (n >= WIDTH || tile_lane() != 0) continue;
    sums[n] = before ? sums[n] + sum : sum;
    sums[round_up8(WIDTH) + n] = before ? sums[round_up8(WIDTH) + n] + product : product;
  }
}

// ---- the sums of all blocks; those of block b stand b * stride further on than the first's ----

template <int WIDTH>
__device__ __forceinline__ void merge_moments(float *whole, const float *sums, unsigned long long stride,
                                              unsigned slot_rows, unsigned rows, unsigned draws) {
  for (int n = threadIdx.x; n < WIDTH; n += TILE_THREADS) {
    float mean = sums[n], squares = sums[round_up8(WIDTH) + n], had = (float)(min(slot_rows, rows) * draws);
#pragma unroll 1
    for (unsigned block = 1; block * slot_rows < rows; ++block) {
      const float *const other = sums + block * stride;
      const float count = (float)(min(slot_rows, rows - block * slot_rows) * draws);
      const float step = other[n] - mean, part = count / (had + count);
      squares += other[round_up8(WIDTH) + n] + step * step * had * part;
      mean += step * part;
      had += count;
    }
    whole[n] = mean;
    whole[round_up8(WIDTH) + n] = squares / had;
  }
}

template <int WIDTH>
__device__ __forceinline__ void merge_feedback(float *whole, const float *sums, unsigned long long stride,
                                               unsigned slot_rows, unsigned rows, unsigned draws) {
  for (int n = threadIdx.x; n < WIDTH; n += TILE_THREADS) {
    float sum = 0.0f, product = 0.0f;
#pragma unroll 1
    for (unsigned block = 0; block * slot_rows < rows; ++block) {
      sum += sums[block * stride + n];
      product += sums[block * stride + round_up8(WIDTH) + n];
    }
    const float count = (float)(rows * draws);
    whole[2 * round_up8(WIDTH) + n] = sum / count;
    whole[3 * round_up8(WIDTH) + n] = product / count;
  }
}

// Running statistics take part in the batch's, the variance's as an unbiased estimate; none of a batch whose numbers
// are not finite (its step changes nothing else either), and no variance of one number.
template <int WIDTH>
__device__ __forceinline__ void update_running(float *mean, float *variance, const float *whole, float momentum,
                                               unsigned count) {
  for (int n = threadIdx.x; n < WIDTH; n += TILE_THREADS) {
    const float of_mean = whole[n], of_variance = whole[round_up8(WIDTH) + n] * ((float)count / (float)(count - 1));
    if (!isfinite(of_mean) || !isfinite(of_variance)) continue;
    mean[n] += momentum * (of_mean - mean[n]);
    variance[n] += momentum * (of_variance - variance[n]);
  }
}
