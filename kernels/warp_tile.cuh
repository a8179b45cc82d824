// The tensor-core tile: a warp carries 16 M rows through the network in registers.
//
// An array of W features is float[W / 8][M][4] in every lane while it is a sum (layout: warp_operands.cuh) and
// warp_operands once it is a factor of the next layer. Nothing of a row passes through memory between layers.
#pragma once

#include "activation.cuh"
#include "warp_operands.cuh"

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

// Where factors are float32, functions are as exact as those of the fp32 kernels.
template <int ACTIVATION, int FORM>
__device__ __forceinline__ activated activate_for(float p) {
  return FORM == OPERANDS_TF32X3 ? activate<ACTIVATION>(p) : activate_approximate<ACTIVATION>(p);
}

// Factors of the next layer.
template <int ACTIVATION, int FORM, int N, int M>
__device__ __forceinline__ void warp_activate(warp_operands<FORM, N, M> &to, const float (&from)[N][M][4]) {
  float value[N][M][4];
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c) value[n][m][c] = activate_for<ACTIVATION, FORM>(from[n][m][c]).value;
  warp_pack(to, value);
}

// acc += one value per feature, the same for all rows: a bias, a time branch.
template <int N, int M>
__device__ __forceinline__ void warp_add_features(float (&acc)[N][M][4], const float *values) {
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const float2 two = *(const float2 *)(values + 8 * n + 2 * quad());
#pragma unroll
    for (int m = 0; m < M; ++m) {
      acc[n][m][0] += two.x;
      acc[n][m][1] += two.y;
      acc[n][m][2] += two.x;
      acc[n][m][3] += two.y;
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
