// What a convolutional branch makes of a condition, as the condition of a tile program: [rows][WIDTH] by position, and
// the loss by it on the way back.
#pragma once

#include "rows.cuh"

// Features [first, first + count) of a row into tile[count][rows of a tile].
template <int WIDTH>
__device__ __forceinline__ void load_branch_features(float *tile, const float *features, unsigned row, int first,
                                                     int count) {
  const float *from = features + (unsigned long long)row * WIDTH + first;
  for (int i = 4 * tile_warp(); i < count; i += 4 * TILE_WARPS) {
    const float4 four = *(const float4 *)(from + i);  // WIDTH is a multiple of 8
    tile[i * TILE_ROWS + tile_lane()] = four.x;
    tile[(i + 1) * TILE_ROWS + tile_lane()] = four.y;
    tile[(i + 2) * TILE_ROWS + tile_lane()] = four.z;
    tile[(i + 3) * TILE_ROWS + tile_lane()] = four.w;
  }
}

// N of them back; rows past the end have none.
template <int WIDTH, int N>
__device__ __forceinline__ void store_feature_gradient(float *gradients, const tile_row &row, int first,
                                                       const float (&acc)[N]) {
  float *to = gradients + (unsigned long long)row.local * WIDTH + first;
#pragma unroll
  for (int j = 0; j < N; ++j)
    if (row.live) to[j] = acc[j];
}
