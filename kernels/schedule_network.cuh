// The monotone network of a schedule (engine/schedule_network.c) in the tile programs, for models that train it: value
// g and slope g' of its inner function at the rows' times, and the gradients of its numbers. Only kernels of such
// models include this; solves read the finished network as a table.
//
// A layer is relu(h softplus(K - 1/2)/sqrt(inputs) + b), the last one without relu. The slope passes the same layers
// with the same masks. So what a row's loss says of both, l g + m g', has with u = dg/d(a layer's sums) the derivatives
// u (l h + m h') by the layer's weights and l u by its biases, and one backward pass serves both.
#pragma once

#include "dense.cuh"
#include "objective.cuh"

// The weights in use, [INPUTS][LD], padding zero. Every thread takes some.
template <int INPUTS, int OUTPUTS>
__device__ __forceinline__ void make_positive(float *to, const float *raw) {
  constexpr int LD = (OUTPUTS + 7) & ~7;
  const float scale = rsqrtf((float)INPUTS);
  for (int i = threadIdx.x; i < INPUTS * LD; i += TILE_THREADS)
    to[i] = i % LD < OUTPUTS ? scale * schedule_softplus(raw[i] - 0.5f) : 0.0f;
}

// What the first layer reads, [2][32]: t and its slope.
__device__ __forceinline__ void start_network(float *first, float t) {
  if (tile_warp() == 0) {
    first[tile_lane()] = t;
    first[TILE_ROWS + tile_lane()] = 1.0f;
  }
  __syncthreads();
}

// Values and slopes [LD][32] behind a layer.
template <int INPUTS, int OUTPUTS, bool LAST>
__device__ __forceinline__ void network_layer(float *value, float *slope, const float *value_in, const float *slope_in,
                                              const float *weights, const float *bias) {
  constexpr int LD = (OUTPUTS + 7) & ~7;
  for (int n = TILE_OUTPUTS * tile_warp(); n < LD; n += TILE_OUTPUTS * TILE_WARPS) {
    float v[TILE_OUTPUTS] = {}, s[TILE_OUTPUTS] = {};
    add_parameters8(v, bias + n);
    dense_accumulate<LD>(v, value_in, INPUTS, weights + n);
    dense_accumulate<LD>(s, slope_in, INPUTS, weights + n);
#pragma unroll
    for (int j = 0; j < TILE_OUTPUTS; ++j)
      if (!LAST && !(v[j] > 0.0f)) v[j] = s[j] = 0.0f;
    store_tile8(value, n, v);
    store_tile8(slope, n, s);
  }
  __syncthreads();
}

// What path_at gives, from g and g'.
__device__ __forceinline__ path_point path_of_network(const schedule_description &schedule, float t, float g,
                                                      float slope) {
  const schedule_point at = schedule_of_network(&schedule, t, g, slope);
  path_point point;
  point.t = t;
  point.factor = 1.0f;
  point.signal = at.alpha_bar;
  point.noise = at.one_minus_alpha_bar;
  point.a = sqrtf(at.alpha_bar);
  point.b = sqrtf(at.one_minus_alpha_bar);
  point.gamma_prime = at.gamma_prime;
  return point;
}

// Derivatives of a row's loss by g, g' and the mix.
struct network_slopes {
  float g, slope, mix;
};

// From those by gamma and gamma': gamma = first + span (t + t (1 - t) mix sigmoid(g)).
__device__ __forceinline__ network_slopes network_slopes_at(const schedule_description &schedule, float t, float g,
                                                            float slope, float by_gamma, float by_prime) {
  const float on = schedule_sigmoid(g), off = schedule_sigmoid(-g), rest = 1.0f - t;
  const float hill = t * rest, turn = rest - t, bell = on * off, size = schedule.span * schedule.mix;
  network_slopes by;
  by.g = size * bell * fmaf(by_gamma, hill, by_prime * fmaf(hill * (off - on), slope, turn));
  by.slope = size * by_prime * hill * bell;
  by.mix = schedule.span * fmaf(by_gamma, hill * on, by_prime * fmaf(hill * bell, slope, turn * on));
  return by;
}

// u of the last layer, whose only output is g: delta [8][32], delta_rows [32][9].
__device__ __forceinline__ void start_network_gradient(float *delta, float *delta_rows) {
  for (int i = tile_warp(); i < 8; i += TILE_WARPS) {
    const float value = i == 0 ? 1.0f : 0.0f;
    delta[i * TILE_ROWS + tile_lane()] = value;
    delta_rows[tile_lane() * 9 + i] = value;
  }
}

// One layer backward: its gradients by the weights in use and by its biases, and u of the layer before it (not FIRST)
// in `other`. `slope_in` is overwritten; `scratch` holds TILE_ROWS numbers.
template <int INPUTS, int OUTPUTS, bool FIRST>
__device__ __forceinline__ void network_layer_gradient(float *weight_gradient, float *bias_gradient,
                                                       const network_slopes &by, const float *value_in, float *slope_in,
                                                       const float *weights, const float *delta,
                                                       const float *delta_rows, float *other, float *other_rows,
                                                       float *scratch, bool accumulate) {
  constexpr int LD = (OUTPUTS + 7) & ~7, LD_IN = (INPUTS + 7) & ~7;
  for (int i = tile_warp(); i < INPUTS; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    slope_in[at] = fmaf(by.g, value_in[at], by.slope * slope_in[at]);
  }
  if (tile_warp() == 0) scratch[tile_lane()] = by.g;
  __syncthreads();
  dense_weight_gradient<LD, LD + 1>(weight_gradient, slope_in, INPUTS, delta_rows, accumulate);
  for (int column = threadIdx.x; column < LD; column += TILE_THREADS) {
    float sum = 0.0f;
    for (int row = 0; row < TILE_ROWS; ++row) sum = fmaf(scratch[row], delta_rows[row * (LD + 1) + column], sum);
    bias_gradient[column] = accumulate ? bias_gradient[column] + sum : sum;
  }
  if (!FIRST)
    for (int n = TILE_OUTPUTS * tile_warp(); n < LD_IN; n += TILE_OUTPUTS * TILE_WARPS) {
      float acc[TILE_OUTPUTS] = {};
      dense_accumulate_transposed<LD>(acc, delta, weights, n, INPUTS);
#pragma unroll
      for (int j = 0; j < TILE_OUTPUTS; ++j)
        if (!(value_in[(n + j) * TILE_ROWS + tile_lane()] > 0.0f)) acc[j] = 0.0f;
      store_delta8<LD_IN + 1>(other, other_rows, n, INPUTS, acc);
    }
  __syncthreads();
}

// At the end, from gradients by the weights in use to those by K.
template <int INPUTS, int OUTPUTS>
__device__ __forceinline__ void finish_network_weights(float *gradient, const float *raw) {
  constexpr int LD = (OUTPUTS + 7) & ~7;
  const float scale = rsqrtf((float)INPUTS);
  for (int i = threadIdx.x; i < INPUTS * LD; i += TILE_THREADS) gradient[i] *= scale * schedule_sigmoid(raw[i] - 0.5f);
}
