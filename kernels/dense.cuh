// Dense layers on feature-major tiles: forward, input gradient and weight gradient, fp32 on CUDA cores.
//
// Lane = row. A thread holds N = eight neighbouring outputs of its row in registers; per input feature it reads one
// value of its row (conflict-free) and eight weights that are the same for the whole warp (two broadcast 16-byte
// loads). With tiles of fewer rows N may be four or two, so that more threads share a layer. Weight arrays have rows LD
// floats apart, LD = outputs rounded up to 8; the padding holds zeros and stays zero.
#pragma once

#include "activation.cuh"
#include "tile.cuh"

// N weights that stand side by side, on an address that is a multiple of their size.
template <int N>
__device__ __forceinline__ void load_weights(float (&w)[N], const float *from) {
  if constexpr (N == 2) {
    const float2 two = load_parameter((const float2 *)from);
    w[0] = two.x, w[1] = two.y;
  } else {
#pragma unroll
    for (int j = 0; j < N; j += 4) {
      const float4 four = load_parameter((const float4 *)(from + j));
      w[j] = four.x, w[j + 1] = four.y, w[j + 2] = four.z, w[j + 3] = four.w;
    }
  }
}

template <int N>
__device__ __forceinline__ void accumulate_input(float (&acc)[N], float value, const float *weights) {
  float w[N];
  load_weights(w, weights);
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] = fmaf(value, w[j], acc[j]);
}

// acc[j] += sum over k of in[k][lane] * weights[k][j]; weights points at the first of the N columns. Four inputs at a
// time stand at constant distances from two pointers that move: one addition for many loads.
template <int LD, int N>
__device__ __forceinline__ void dense_accumulate(float (&acc)[N], const float *in, int features, const float *weights) {
  in += tile_lane();
#pragma unroll 1
  for (int left = features / 4; left > 0; --left, in += 4 * TILE_ROWS, weights += 4 * LD) {
#pragma unroll
    for (int k = 0; k < 4; ++k) accumulate_input(acc, in[k * TILE_ROWS], weights + k * LD);
  }
#pragma unroll 3
  for (int k = 0; k < features % 4; ++k) accumulate_input(acc, in[k * TILE_ROWS], weights + k * LD);
}

// N parameters (a bias) that all lanes share.
template <int N>
__device__ __forceinline__ void add_parameters8(float (&acc)[N], const float *parameters) {
  float w[N];
  load_weights(w, parameters);
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] += w[j];
}

// N values of the tile's memory that all lanes share (a time branch).
template <int N>
__device__ __forceinline__ void add_uniform8(float (&acc)[N], const float *values) {
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] += values[j];
}

// acc *= tile: the chain rule through an activation.
template <int N>
__device__ __forceinline__ void multiply_tile8(float (&acc)[N], const float *tile, int first) {
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] *= tile[(first + j) * TILE_ROWS + tile_lane()];
}

// N features of the lane's row.
template <int N>
__device__ __forceinline__ void add_tile8(float (&acc)[N], const float *tile, int first) {
#pragma unroll
  for (int j = 0; j < N; ++j) acc[j] += tile[(first + j) * TILE_ROWS + tile_lane()];
}

template <int N>
__device__ __forceinline__ void store_tile8(float *tile, int first, const float (&acc)[N]) {
#pragma unroll
  for (int j = 0; j < N; ++j) tile[(first + j) * TILE_ROWS + tile_lane()] = acc[j];
}

// A feature-major tile as rows of device memory, [rows][D].
template <int D>
__device__ __forceinline__ void write_rows(float *to, const float *tile, unsigned row, bool live) {
  if (!to || !live) return;
  for (int i = tile_warp(); i < D; i += TILE_WARPS)
    to[(unsigned long long)row * D + i] = tile[i * TILE_ROWS + tile_lane()];
}

// Which values dropout zeroes: one Philox block makes eight 16-bit numbers, one per output of eight that stand
// together.
struct dropout_draw {
  unsigned threshold;  // round(p 65536)
  float scale;         // 1 / (1 - threshold / 65536)
  unsigned long long seed;
  unsigned row, stream, step;
};

// post = dropout(activation(acc)); slope (if wanted) = d post / d pre, dropout included. N features from `first`.
template <int FORM, bool SLOPE, bool DROPOUT, int N>
__device__ __forceinline__ void dense_finish(const float (&acc)[N], int first, float *post, float *slope,
                                             const dropout_draw &draw) {
  philox_words words;
  if (DROPOUT) words = philox(draw.seed, first / 8, draw.row, draw.stream, draw.step);
  if constexpr (DROPOUT && N < 8) {  // the words of these outputs to the front
    if (first & 4) words.word[0] = words.word[2], words.word[1] = words.word[3];
    if (N == 2 && (first & 2)) words.word[0] = words.word[1];
  }
#pragma unroll
  for (int j = 0; j < N; ++j) {
    activated a = activate<FORM>(acc[j]);
    if (DROPOUT) {
      const unsigned number = (words.word[j / 2] >> (16 * (j % 2))) & 0xffffu;
      const float keep = number >= draw.threshold ? draw.scale : 0.0f;
      a.value *= keep;
      a.slope *= keep;
    }
    const int at = (first + j) * TILE_ROWS + tile_lane();
    post[at] = a.value;
    if (SLOPE) slope[at] = a.slope;
  }
}

// acc[j] += sum over n of delta[n][lane] * weights[first + j][n]: the gradient that reaches N inputs. Where no group of
// N runs past the last input, all rows of weights stand at constant distances from one pointer.
template <int LD, int N>
__device__ __forceinline__ void dense_accumulate_transposed(float (&acc)[N], const float *delta, const float *weights,
                                                            int first, int inputs) {
  const bool whole = inputs % N == 0;
  const float *rows[N];
#pragma unroll
  for (int j = 0; j < N; ++j) rows[j] = weights + (whole ? first : min(first + j, inputs - 1)) * LD;
  delta += tile_lane();
#pragma unroll 1
  for (int n = 0; n < LD; n += 4, delta += 4 * TILE_ROWS) {
    const float d0 = delta[0], d1 = delta[TILE_ROWS];
    const float d2 = delta[2 * TILE_ROWS], d3 = delta[3 * TILE_ROWS];
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float4 w = load_parameter((const float4 *)(whole ? rows[0] + j * LD : rows[j]));
      acc[j] = fmaf(d0, w.x, acc[j]);
      acc[j] = fmaf(d1, w.y, acc[j]);
      acc[j] = fmaf(d2, w.z, acc[j]);
      acc[j] = fmaf(d3, w.w, acc[j]);
      if (!whole || j == N - 1) rows[whole ? 0 : j] += 4;
    }
  }
}

// The gradient of a layer's pre-activation, kept twice: feature-major for the next input gradient, row-major
// ([32][PITCH], PITCH odd: no bank conflicts) for the weight gradient. Features from `inputs` on are padding: zero.
template <int PITCH, int N>
__device__ __forceinline__ void store_delta8(float *delta, float *delta_rows, int first, int inputs,
                                             const float (&acc)[N]) {
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const float value = first + j < inputs ? acc[j] : 0.0f;
    delta[(first + j) * TILE_ROWS + tile_lane()] = value;
    delta_rows[tile_lane() * PITCH + first + j] = value;
  }
}

// gradient[k][n] (+)= sum over rows of in[k][row] * delta[row][n]. Lane of the warp = output column, a warp takes eight
// inputs; where no eight run past the last input, they stand at constant distances. `accumulate` false overwrites.
template <int LD, int PITCH>
__device__ __forceinline__ void dense_weight_gradient(float *gradient, const float *in, int inputs,
                                                      const float *delta_rows, bool accumulate) {
  const int columns = (LD + 31) / 32, groups = (inputs + 7) / 8;
  const bool whole = inputs % 8 == 0;
  for (int item = warp_of_block(); item < groups * columns; item += TILE_THREADS / 32) {
    const int first = item / columns * 8, column = item % columns * 32 + lane_of_warp();
    const float *delta = delta_rows + min(column, LD - 1);
    const float *features[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) features[j] = in + (whole ? first : min(first + j, inputs - 1)) * TILE_ROWS;
    float acc[8] = {};
#pragma unroll 1
    for (int row = 0; row < TILE_ROWS; row += 4, delta += 4 * PITCH) {
      const float d0 = delta[0], d1 = delta[PITCH], d2 = delta[2 * PITCH], d3 = delta[3 * PITCH];
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float4 value = *(const float4 *)(whole ? features[0] + j * TILE_ROWS : features[j]);
        acc[j] = fmaf(value.x, d0, acc[j]);
        acc[j] = fmaf(value.y, d1, acc[j]);
        acc[j] = fmaf(value.z, d2, acc[j]);
        acc[j] = fmaf(value.w, d3, acc[j]);
        if (!whole || j == 7) features[whole ? 0 : j] += 4;
      }
    }
    if (column < LD) {
      float *to = gradient + first * LD + column;
#pragma unroll
      for (int j = 0; j < 8; ++j)
        if (whole || first + j < inputs) to[j * LD] = accumulate ? to[j * LD] + acc[j] : acc[j];
    }
  }
}

// gradient[n] (+)= sum over rows of delta[row][n].
template <int LD, int PITCH>
__device__ __forceinline__ void dense_bias_gradient(float *gradient, const float *delta_rows, bool accumulate) {
  for (int column = threadIdx.x; column < LD; column += TILE_THREADS) {
    float sum = 0.0f;
#pragma unroll 8
    for (int row = 0; row < TILE_ROWS; ++row) sum += delta_rows[row * PITCH + column];
    gradient[column] = accumulate ? gradient[column] + sum : sum;
  }
}
