// A network that says how likely each class is: its prediction is softmax(logits) times the classes' vectors. The layer
// that multiplies by the vectors is dense like others; here is what lies between it and the logits.
#pragma once

#include "objective.cuh"

// Logits [C][32] become their softmax, in place. Barriers before and after.
template <int C>
__device__ __forceinline__ void softmax_tile(float *logits) {
  const float2 softmax = softmax_of<C>(logits);
  __syncthreads();
  for (int i = tile_warp(); i < C; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    logits[at] = expf(logits[at] - softmax.x) * softmax.y;
  }
  __syncthreads();
}

// delta [C][32] and delta_rows [32][PITCH]: from derivatives by the probabilities to those by the logits.
template <int C, int PITCH>
__device__ __forceinline__ void softmax_delta(float *delta, float *delta_rows, const float *probabilities) {
  float dot = 0.0f;
  __syncthreads();
  for (int i = 0; i < C; ++i)
    dot = fmaf(probabilities[i * TILE_ROWS + tile_lane()], delta[i * TILE_ROWS + tile_lane()], dot);
  __syncthreads();
  for (int i = tile_warp(); i < C; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    const float value = probabilities[at] * (delta[at] - dot);
    delta[at] = value;
    delta_rows[tile_lane() * PITCH + i] = value;
  }
}

// The pass at t = 1 has no direct part of dL/dz_t.
template <int LD>
__device__ __forceinline__ void clear_state_gradient(float *state_gradient) {
  for (int i = tile_warp(); i < LD; i += TILE_WARPS) state_gradient[i * TILE_ROWS + tile_lane()] = 0.0f;
}
