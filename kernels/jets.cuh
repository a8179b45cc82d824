// What networks that are graphs have beside dense layers (engine/field_graph.h): tiles of derivatives of activations,
// products, fixed maps of features, products with a matrix of each row, non-negative weights.
//
// A thread has N neighbouring features of its row in registers, as in dense.cuh; results go to tiles whose features
// from WIDTH on, padding, are zero.
#pragma once

#include "activation_jet.cuh"
#include "dense.cuh"

// ---- features of a tile ----

template <int WIDTH, int N>
__device__ __forceinline__ void store_features(float *tile, int first, const float (&acc)[N]) {
#pragma unroll
  for (int j = 0; j < N; ++j)
    tile[(first + j) * TILE_ROWS + tile_lane()] = WIDTH % 8 == 0 || first + j < WIDTH ? acc[j] : 0.0f;
}

// The same as rows, [TILE_ROWS][PITCH], for a weight gradient.
template <int WIDTH, int PITCH, int N>
__device__ __forceinline__ void store_rows(float *rows, int first, const float (&acc)[N]) {
#pragma unroll
  for (int j = 0; j < N; ++j)
    rows[tile_lane() * PITCH + first + j] = WIDTH % 8 == 0 || first + j < WIDTH ? acc[j] : 0.0f;
}

// Of a tile whose padding was not written: what the kernel's inputs are.
template <int WIDTH, int N>
__device__ __forceinline__ void add_features(float (&acc)[N], const float *tile, int first) {
#pragma unroll
  for (int j = 0; j < N; ++j)
    if (WIDTH % 8 == 0 || first + j < WIDTH) acc[j] += tile[(first + j) * TILE_ROWS + tile_lane()];
}

// Of a vector that all rows share.
template <int WIDTH, int N>
__device__ __forceinline__ void add_uniform_features(float (&acc)[N], const float *values, int first) {
#pragma unroll
  for (int j = 0; j < N; ++j)
    if (WIDTH % 8 == 0 || first + j < WIDTH) acc[j] += values[first + j];
}

template <int N>
__device__ __forceinline__ void add_constant(float (&acc)[N], float value) {
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] += value;
}

template <int N>
__device__ __forceinline__ void add_scaled(float (&acc)[N], const float (&part)[N], float scale) {
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] = fmaf(scale, part[j], acc[j]);
}

template <int N>
__device__ __forceinline__ void add_values(float (&acc)[N], const float (&part)[N]) {
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] += part[j];
}

template <int N>
__device__ __forceinline__ void multiply_values(float (&acc)[N], const float (&by)[N]) {
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] *= by[j];
}

template <int WIDTH, int N>
__device__ __forceinline__ void multiply_features(float (&acc)[N], const float *tile, int first) {
#pragma unroll
  for (int j = 0; j < N; ++j)
    acc[j] *= WIDTH % 8 == 0 || first + j < WIDTH ? tile[(first + j) * TILE_ROWS + tile_lane()] : 0.0f;
}

template <int N>
__device__ __forceinline__ void multiply_parameters(float (&acc)[N], const float *parameters) {
  float w[N];
  load_weights(w, parameters);
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] *= w[j];
}

// ---- activations ----

// The derivatives of an activation at `acc` whose tiles are given, each times the factor of dropout.
template <int FORM, int WIDTH, bool DROPOUT, int N>
__device__ __forceinline__ void jet_finish(const float (&acc)[N], int first, float *value, float *slope, float *second,
                                           float *third, const dropout_draw &draw) {
  float *const tiles[4] = {value, slope, second, third};
  philox_words words;
  if (DROPOUT) words = philox(draw.seed, first / 8, draw.row, draw.stream, draw.step);
  if constexpr (DROPOUT && N < 8) {
    if (first & 4) words.word[0] = words.word[2], words.word[1] = words.word[3];
    if (N == 2 && (first & 2)) words.word[0] = words.word[1];
  }
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const jet a = jet_of<FORM>(acc[j]);
    float keep = WIDTH % 8 == 0 || first + j < WIDTH ? 1.0f : 0.0f;
    if (DROPOUT && ((words.word[j / 2] >> (16 * (j % 2))) & 0xffffu) < draw.threshold) keep = 0.0f;
    if (DROPOUT) keep *= draw.scale;
#pragma unroll
    for (int k = 0; k < 4; ++k)
      if (tiles[k])
        tiles[k][(first + j) * TILE_ROWS + tile_lane()] = DROPOUT                               ? keep * a.order[k]
                                                          : WIDTH % 8 == 0 || first + j < WIDTH ? a.order[k]
                                                                                                : 0.0f;
  }
}

// ---- fixed maps of features: enum field_map ----

template <int IN, int GROUP, int N>
__device__ __forceinline__ void add_group_sum(float (&acc)[N], const float *tile, int first, float scale) {
#pragma unroll
  for (int j = 0; j < N; ++j) {
    float sum = 0.0f;
#pragma unroll 1
    for (int i = (first + j) * GROUP; i < (first + j + 1) * GROUP && i < IN; ++i)
      sum += tile[i * TILE_ROWS + tile_lane()];
    acc[j] = fmaf(scale, sum, acc[j]);
  }
}

template <int IN, int GROUP, int N>
__device__ __forceinline__ void add_spread(float (&acc)[N], const float *tile, int first, float scale) {
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const int i = (first + j) / GROUP;
    if (i < IN) acc[j] = fmaf(scale, tile[i * TILE_ROWS + tile_lane()], acc[j]);
  }
}

template <int IN, int N>
__device__ __forceinline__ void add_total(float (&acc)[N], const float *tile, float scale) {
  float sum = 0.0f;
#pragma unroll 1
  for (int i = 0; i < IN; ++i) sum += tile[i * TILE_ROWS + tile_lane()];
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] = fmaf(scale, sum, acc[j]);
}

template <int WIDTH, int N>
__device__ __forceinline__ void add_swapped(float (&acc)[N], const float *tile, int first, float upper, float lower) {
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const int i = first + j;
    if (i < WIDTH)
      acc[j] = fmaf(i < WIDTH / 2 ? upper : lower,
                    tile[(i < WIDTH / 2 ? i + WIDTH / 2 : i - WIDTH / 2) * TILE_ROWS + tile_lane()], acc[j]);
  }
}

// Features shifted by OFFSET; 0 outside of the IN that there are.
template <int IN, int OFFSET, int N>
__device__ __forceinline__ void add_shifted(float (&acc)[N], const float *tile, int first, float scale) {
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const int i = first + j + OFFSET;
    if (i >= 0 && i < IN) acc[j] = fmaf(scale, tile[i * TILE_ROWS + tile_lane()], acc[j]);
  }
}

template <int IN, int N>
__device__ __forceinline__ void add_below_most(float (&acc)[N], const float *tile, int first) {
  float most = tile[tile_lane()];
#pragma unroll 1
  for (int i = 1; i < IN; ++i) most = fmaxf(most, tile[i * TILE_ROWS + tile_lane()]);
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] += first + j < IN ? tile[(first + j) * TILE_ROWS + tile_lane()] - most : -1.0f;
}

// ---- a matrix of each row, [D][D] ----

template <int D, bool TRANSPOSED, int N>
__device__ __forceinline__ void add_matvec(float (&acc)[N], const float *matrix, const float *vector, int first,
                                           float scale) {
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const int i = min(first + j, D - 1);
    float sum = 0.0f;
#pragma unroll 1
    for (int k = 0; k < D; ++k)
      sum = fmaf(matrix[(TRANSPOSED ? k * D + i : i * D + k) * TILE_ROWS + tile_lane()],
                 vector[k * TILE_ROWS + tile_lane()], sum);
    acc[j] = fmaf(scale, sum, acc[j]);
  }
}

template <int D, int N>
__device__ __forceinline__ void add_outer(float (&acc)[N], const float *a, const float *b, int first, float scale) {
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const int i = min(first + j, D * D - 1);
    acc[j] = fmaf(scale * a[i / D * TILE_ROWS + tile_lane()], b[i % D * TILE_ROWS + tile_lane()], acc[j]);
  }
}

// ---- non-negative weights: softplus(raw + 1/2) / inputs ----

template <int INPUTS, int OUTPUTS, int LD>
__device__ __forceinline__ void positive_weights(float *weights, const float *raw) {
  for (int i = threadIdx.x; i < INPUTS * LD; i += TILE_THREADS)
    weights[i] = i % LD < OUTPUTS ? activate<ACT_SOFTPLUS>(raw[i] + 0.5f).value * (1.0f / INPUTS) : 0.0f;
}

// The gradient with respect to the weights becomes that of the raw numbers.
template <int INPUTS, int OUTPUTS, int LD>
__device__ __forceinline__ void positive_gradient(float *gradient, const float *raw) {
  for (int i = threadIdx.x; i < INPUTS * LD; i += TILE_THREADS)
    if (i % LD < OUTPUTS) gradient[i] *= sigmoid(raw[i] + 0.5f) * (1.0f / INPUTS);
}

// Gradients that nothing reaches.
__device__ __forceinline__ void clear_gradient(float *gradient, int floats, bool begun) {
  if (begun) return;
  for (int i = threadIdx.x; i < floats; i += TILE_THREADS) gradient[i] = 0.0f;
}
