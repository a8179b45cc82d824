// Time embeddings e(t) (survey 6.1): sines and cosines of pi f_j t, ramps, or ones; the table f_j comes from the host.
#pragma once

#include "tile.cuh"

enum time_form { TIME_FORM_TRIG, TIME_FORM_RAMP, TIME_FORM_RAMP_AS_WRITTEN, TIME_FORM_CONSTANT };

// Feature j of SIZE.
template <int FORM, int SIZE>
__device__ __forceinline__ float time_feature(const float *frequencies, int j, float t) {
  if (FORM == TIME_FORM_TRIG) {
    constexpr int half = SIZE / 2;
    const float angle = __ldg(frequencies + (j < half ? j : j - half)) * t;
    return j < half ? sinpif(angle) : cospif(angle);
  }
  if (FORM == TIME_FORM_RAMP) return fmaxf(t - __ldg(frequencies + j), 0.0f);
  if (FORM == TIME_FORM_RAMP_AS_WRITTEN) return t - __ldg(frequencies + j);
  return 1.0f;
}

// All features of the lane's own time: tile[SIZE][32]; warps share the features.
template <int FORM, int SIZE>
__device__ __forceinline__ void time_tile(float *tile, const float *frequencies, float t) {
  for (int j = tile_warp(); j < SIZE; j += TILE_WARPS)
    tile[j * TILE_ROWS + tile_lane()] = time_feature<FORM, SIZE>(frequencies, j, t);
}

// All features of one time for the whole block: vector[SIZE].
template <int FORM, int SIZE>
__device__ __forceinline__ void time_vector(float *vector, const float *frequencies, float t) {
  for (int j = threadIdx.x; j < SIZE; j += TILE_THREADS) vector[j] = time_feature<FORM, SIZE>(frequencies, j, t);
}

// One output of a time branch: sum over features of vector[j] * weights[j][0].
template <int SIZE, int LD>
__device__ __forceinline__ float time_part(const float *vector, const float *weights) {
  float sum = 0.0f;
#pragma unroll 8
  for (int j = 0; j < SIZE; ++j) sum = fmaf(vector[j], __ldg(weights + j * LD), sum);
  return sum;
}
