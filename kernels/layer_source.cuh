// What a file of functions for network.layers of type source may use (docs/networks.md).
#pragma once

#include "tile.cuh"

// The features of one row: in[i], i from 0 to in.size - 1.
struct layer_input {
  const float *tile;  // of feature 0; the next one is TILE_ROWS further on
  int size;
  __device__ __forceinline__ float operator[](int i) const { return tile[i * TILE_ROWS]; }
};

// acc += value(feature) of features below WIDTH.
template <int WIDTH, int N, typename Function>
__device__ __forceinline__ void add_source(float (&acc)[N], int first, Function value) {
#pragma unroll
  for (int j = 0; j < N; ++j)
    if (WIDTH % 8 == 0 || first + j < WIDTH) acc[j] += value(first + j);
}
