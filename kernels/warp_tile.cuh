// The tensor-core tile: a warp carries 16 M rows through the network in registers (mma.sync m16n8k8, tf32).
//
// An array of W features is float[W / 8][M][4] in every lane, in the layout of mma's accumulators with the columns of
// a group of eight ordered so that an accumulator is at once the first operand of the next layer's mma: lane 4 g + t
// holds of group n and row block m the features 8 n + t ([0], [2]) and 8 n + t + 4 ([1], [3]) of the rows
// 16 m + g ([0], [1]) and 16 m + g + 8 ([2], [3]). Weights come in fragment order (network_fragments), 16 bytes a lane
// for two groups of outputs. Nothing of a row passes through memory between layers.
#pragma once

#include "activation.cuh"
#include "tile.cuh"

__device__ __forceinline__ int quad() { return tile_lane() & 3; }                        // t
__device__ __forceinline__ int quad_row() { return tile_lane() >> 2; }                   // g
__device__ __forceinline__ int element_row(int c) { return quad_row() + 8 * (c >> 1); }  // within a row block
__device__ __forceinline__ int element_feature(int c) { return quad() + 4 * (c & 1); }   // within a group of eight

// The nearest number with tf32's ten bits of fraction, ties away from zero.
__device__ __forceinline__ float round_tf32(float value) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return __uint_as_float(bits);
}

// acc += rows times eight columns, eight features deep.
__device__ __forceinline__ void mma_tf32(float (&acc)[4], const float (&rows)[4], float column0, float column1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(__float_as_uint(rows[0])), "r"(__float_as_uint(rows[2])), "r"(__float_as_uint(rows[1])),
        "r"(__float_as_uint(rows[3])), "r"(__float_as_uint(column0)), "r"(__float_as_uint(column1)));
}

template <int N, int M>
__device__ __forceinline__ void warp_zero(float (&to)[N][M][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c) to[n][m][c] = 0.0f;
}

template <int N, int M>
__device__ __forceinline__ void warp_copy(float (&to)[N][M][4], const float (&from)[N][M][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c) to[n][m][c] = from[n][m][c];
}

template <int N, int M>
__device__ __forceinline__ void warp_add(float (&to)[N][M][4], const float (&from)[N][M][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c) to[n][m][c] += from[n][m][c];
}

// Operands of the next layer.
template <int N, int M>
__device__ __forceinline__ void warp_round(float (&to)[N][M][4], const float (&from)[N][M][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c) to[n][m][c] = round_tf32(from[n][m][c]);
}

template <int FORM, int N, int M>
__device__ __forceinline__ void warp_activate(float (&to)[N][M][4], const float (&from)[N][M][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c) to[n][m][c] = round_tf32(activate<FORM>(from[n][m][c]).value);
}

// acc += one value per feature, the same for all rows: a bias, a time branch.
template <int N, int M>
__device__ __forceinline__ void warp_add_features(float (&acc)[N][M][4], const float *values) {
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const float low = values[8 * n + quad()], high = values[8 * n + quad() + 4];
#pragma unroll
    for (int m = 0; m < M; ++m) {
      acc[n][m][0] += low;
      acc[n][m][1] += high;
      acc[n][m][2] += low;
      acc[n][m][3] += high;
    }
  }
}

// acc += in W; `in` holds operands (rounded), `fragments` the weights of this layer and input. The barrier of the warp
// keeps ptxas from having all weights of a wide layer on their way at once: it would spill registers for that.
template <int K, int N, int M>
__device__ __forceinline__ void warp_dense(float (&acc)[N][M][4], const float (&in)[K][M][4], const float *fragments) {
  const float4 *from = (const float4 *)fragments + tile_lane();
#pragma unroll
  for (int k = 0; k < K; ++k) {
    if (k > 0 && k % 4 == 0) __syncwarp();
#pragma unroll
    for (int n = 0; n < N; n += 2, from += 32) {
      const float4 columns = __ldg(from);
#pragma unroll
      for (int m = 0; m < M; ++m) {
        mma_tf32(acc[n][m], in[k][m], columns.x, columns.y);
        if (n + 1 < N) mma_tf32(acc[n + 1][m], in[k][m], columns.z, columns.w);
      }
    }
  }
}

// What stays the same during a solve, kept outside the registers: 16 bytes a lane, side by side.
template <int N, int M>
__device__ __forceinline__ void warp_keep(float *memory, const float (&from)[N][M][4]) {
  float4 *to = (float4 *)memory + tile_lane();
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
      to[(n * M + m) * 32] = make_float4(from[n][m][0], from[n][m][1], from[n][m][2], from[n][m][3]);
}

template <int N, int M>
__device__ __forceinline__ void warp_recall(float (&to)[N][M][4], const float *memory) {
  const float4 *from = (const float4 *)memory + tile_lane();
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m) {
      const float4 four = from[(n * M + m) * 32];
      to[n][m][0] = four.x, to[n][m][1] = four.y, to[n][m][2] = four.z, to[n][m][3] = four.w;
    }
}
