// The way back through a transformer branch (transformer.cuh), in its launches' order reversed, and the gradients of
// its weights: sums over the tokens of a slot's rows, by blocks of their own, in a fixed order.
#pragma once

#include "transformer.cuh"

// Back through a layer behind its attention: `stream` has the loss by what leaves the layer.
template <class S, bool READS>
__device__ __forceinline__ void sequence_unmix(const branch_arguments &a, const sequence_block &block, unsigned layer,
                                               float *stream, float *other, float *wide) {
  using Q = sequence<S>;
  const float *const turned =
      a.turned[0] + ((unsigned long long)block.part * Q::LAYERS + layer) * (unsigned long long)Q::T_LAYER;
  const auto token = [&](int n) { return sequence_token_of<S, READS>(block, n); };
  const auto kept_of = [&](const sequence_token &t) {
    return sequence_layer<S>(sequence_kept<S>(a, block, t.row), block, layer);
  };
  const auto gradient_of = [&](const sequence_token &t) {
    return sequence_gradients<S>(a, block, t.row) + Q::OF_D_LAYERS + layer * Q::D_LAYER;
  };
  const auto stream_to = [&](int place) {
    sequence_store<S::TILE, Q::WIDTH>(stream, [&](int n) -> float * {
      const sequence_token t = token(n);
      return t.live ? gradient_of(t) + place + t.token * Q::WIDTH : nullptr;
    });
  };
  stream_to(Q::D_FEED1);
  sequence_dense<S::TILE, Q::WIDTH, Q::FEED>(
      stream, turned + Q::T_FEED1, nullptr, [&](int n, int channel, float value) {
        const sequence_token t = token(n);
        const float before = t.live ? kept_of(t)[Q::BEFORE + t.token * Q::FEED + channel] : 0.0f;
        const float gradient = value * activate<S::ACTIVATION>(before).slope;
        wide[n * Q::FEED + channel] = gradient;
        if (t.live) gradient_of(t)[Q::D_FEED0 + t.token * Q::FEED + channel] = gradient;
      });
  __syncthreads();
  sequence_dense<S::TILE, Q::FEED, Q::WIDTH>(wide, turned + Q::T_FEED0, nullptr, [&](int n, int channel, float value) {
    other[n * Q::WIDTH + channel] = value;
  });
  __syncthreads();
  for (int n = threadIdx.x / 32; n < S::TILE; n += SEQUENCE_WARPS) {
    const sequence_token t = token(n);
    const float *const kept = kept_of(t);
    sequence_normalise_back<Q::WIDTH>(stream, other, t, n, kept + Q::NORM1 + t.token * Q::WIDTH,
                                      t.live ? kept[Q::SCALE1 + t.token] : 0.0f);
  }
  __syncthreads();
  stream_to(Q::D_OUT);
  sequence_store<S::TILE, Q::WIDTH>(stream, [&](int n) -> float * {
    const sequence_token t = token(n);
    return t.live ? sequence_gradients<S>(a, block, t.row) + Q::D_STREAM + t.token * Q::WIDTH : nullptr;
  });
  sequence_dense<S::TILE, Q::WIDTH, Q::WIDTH>(stream, turned + Q::T_OUT, nullptr, [&](int n, int channel, float value) {
    const sequence_token t = token(n);
    other[n * Q::WIDTH + channel] = value;
    if (t.live) sequence_gradients<S>(a, block, t.row)[Q::D_OUTPUT + t.token * Q::WIDTH + channel] = value;
  });
  __syncthreads();
  for (int i = threadIdx.x; i < S::TILE * Q::HEADS; i += SEQUENCE_THREADS) {
    const int n = i / Q::HEADS, head = i % Q::HEADS;
    const sequence_token t = token(n);
    if (!t.live) continue;
    const float *const output = kept_of(t) + Q::OUTPUT + t.token * Q::WIDTH + head * Q::HEAD;
    float sum = 0.0f;
    for (int k = 0; k < Q::HEAD; ++k) sum = fmaf(other[n * Q::WIDTH + head * Q::HEAD + k], output[k], sum);
    sequence_gradients<S>(a, block, t.row)[Q::MEANS + t.token * Q::HEADS + head] = sum;
  }
}

// From the loss by the features to that by the last layer's attention.
template <class S>
__device__ __forceinline__ void sequence_leave_back(const branch_arguments &a) {
  using Q = sequence<S>;
  extern __shared__ __align__(16) float shared[];
  float *const stream = shared, *const other = shared + Q::AT_OTHER, *const wide = shared + Q::AT_WIDE;
  const sequence_block block = sequence_block_of<S>(a, blockIdx.x, sequence_tiles<S, true>(a));
  if (!sequence_token_of<S, true>(block, 0).live) return;
  sequence_load<S::TILE, Q::WIDTH>(other, [&](int n) -> const float * {
    const sequence_token t = sequence_token_of<S, true>(block, n);
    const unsigned long long row = (unsigned long long)block.part * a.feature_rows + a.first + t.row;
    return t.live ? a.feature_gradients + row * Q::WIDTH : nullptr;
  });
  for (int i = threadIdx.x; i < S::TILE * Q::WIDTH; i += SEQUENCE_THREADS) stream[i] = 0.0f;
  __syncthreads();
  for (int n = threadIdx.x / 32; n < S::TILE; n += SEQUENCE_WARPS) {
    const sequence_token t = sequence_token_of<S, true>(block, n);
    const float *const kept = sequence_kept<S>(a, block, t.row);
    sequence_normalise_back<Q::WIDTH>(stream, other, t, n, kept + Q::FINAL, t.live ? kept[Q::FINAL_SCALE] : 0.0f);
  }
  __syncthreads();
  sequence_unmix<S, true>(a, block, Q::LAYERS - 1, stream, other, wide);
}

// Back through the attention of layer a.layer: first blocks whose lanes have queries, then those that have keys.
template <class S, bool READS>
__device__ __forceinline__ void sequence_attend_back(const branch_arguments &a) {
  using Q = sequence<S>;
  using of_query = sequence_lane<S, READS ? 1 : Q::TOKENS>;
  using of_key = sequence_lane<S, Q::TOKENS>;
  const unsigned query_blocks = of_query::blocks(a) * a.parts;
  const bool keys = blockIdx.x >= query_blocks;
  const sequence_block block = keys ? sequence_block_of<S>(a, blockIdx.x - query_blocks, of_key::blocks(a))
                                    : sequence_block_of<S>(a, blockIdx.x, of_query::blocks(a));
  if (block.rows == 0) return;
  const auto at_row = [&](unsigned row, int head, const float *&kept, const float *&factors, float *&gradients) {
    kept = sequence_kept<S>(a, block, row);
    factors = sequence_layer<S>((float *)kept, block, a.layer) + Q::QKV + head * Q::HEAD;
    gradients = sequence_gradients<S>(a, block, row);
  };
  const float *kept, *factors;
  float *gradients;
  if (!keys) {
    const of_query l(block);
    const int query = READS ? Q::LAST : l.at;
    at_row(l.row, l.head, kept, factors, gradients);
    const float *const sums = sequence_layer<S>((float *)kept, block, a.layer) + Q::SUMS;
    float *const to = gradients + Q::OF_D_LAYERS + a.layer * Q::D_LAYER + Q::D_QKV + l.head * Q::HEAD;
    if (!l.live) return;
    attention_backward_query<Q::TOKENS, Q::HEAD, Q::TRIPLE>(
        to + query * Q::TRIPLE, factors + query * Q::TRIPLE,
        gradients + Q::D_OUTPUT + query * Q::WIDTH + l.head * Q::HEAD, sums[query * Q::HEADS + l.head],
        gradients[Q::MEANS + query * Q::HEADS + l.head], factors + Q::WIDTH, factors + 2 * Q::WIDTH,
        (const int *)kept + Q::PLACES);
  } else {
    const of_key l(block);
    at_row(l.row, l.head, kept, factors, gradients);
    const float *const sums = sequence_layer<S>((float *)kept, block, a.layer) + Q::SUMS;
    float *const to = gradients + Q::OF_D_LAYERS + a.layer * Q::D_LAYER + Q::D_QKV + l.head * Q::HEAD;
    if (!l.live) return;
    attention_backward_key<READS ? Q::LAST : 0, Q::TOKENS, Q::HEAD, Q::TRIPLE, Q::WIDTH, Q::HEADS>(
        to + Q::WIDTH + l.at * Q::TRIPLE, to + 2 * Q::WIDTH + l.at * Q::TRIPLE, factors + Q::WIDTH + l.at * Q::TRIPLE,
        factors + 2 * Q::WIDTH + l.at * Q::TRIPLE, ((const int *)kept)[Q::PLACES + l.at] >= 0, factors,
        gradients + Q::D_OUTPUT + l.head * Q::HEAD, sums + l.head, gradients + Q::MEANS + l.head);
  }
}

// Back from the factors of layer a.layer, and unless it is the first one through the layer before it. Of the last
// layer's stream and queries only those of the token that reads out have a gradient.
template <class S, bool FIRST>
__device__ __forceinline__ void sequence_mix_back(const branch_arguments &a) {
  using Q = sequence<S>;
  extern __shared__ __align__(16) float shared[];
  float *const stream = shared, *const other = shared + Q::AT_OTHER, *const wide = shared + Q::AT_WIDE;
  float *const angles = shared + Q::AT_ANGLES;
  const sequence_block block = sequence_block_of<S>(a, blockIdx.x, sequence_tiles<S, false>(a));
  if (!sequence_token_of<S, false>(block, 0).live) return;
  const bool last = a.layer == Q::LAYERS - 1;
  const auto token = [&](int n) { return sequence_token_of<S, false>(block, n); };
  const auto gradient_of = [&](const sequence_token &t) {
    return sequence_gradients<S>(a, block, t.row) + Q::OF_D_LAYERS + a.layer * Q::D_LAYER + Q::D_QKV +
           t.token * Q::TRIPLE;
  };
  const auto stream_of = [&](int n) -> float * {
    const sequence_token t = token(n);
    return t.live && (!last || t.token == Q::LAST)
               ? sequence_gradients<S>(a, block, t.row) + Q::D_STREAM + t.token * Q::WIDTH
               : nullptr;
  };
  sequence_load<S::TILE, Q::WIDTH>(stream, stream_of);
  sequence_angles<S>(angles, [&](int n) {
    const sequence_token t = token(n);
    return t.live ? max(((const int *)sequence_kept<S>(a, block, t.row))[Q::PLACES + t.token], 0) : 0;
  });
  __syncthreads();
  for (int i = threadIdx.x; i < S::TILE * Q::TRIPLE; i += SEQUENCE_THREADS) {
    const int n = i / Q::TRIPLE, channel = i % Q::TRIPLE;
    const sequence_token t = token(n);
    const bool read = t.live && (!last || t.token == Q::LAST || channel >= Q::WIDTH);
    float value = read ? gradient_of(t)[channel] : 0.0f;
    if (S::ROTARY && channel < 2 * Q::WIDTH) value = sequence_turn<S>(value, n, channel, angles, -1.0f);
    wide[i] = value;
    if (t.live) gradient_of(t)[channel] = value;
  }
  __syncthreads();
  sequence_dense<S::TILE, Q::TRIPLE, Q::WIDTH>(
      wide,
      a.turned[0] + ((unsigned long long)block.part * Q::LAYERS + a.layer) * (unsigned long long)Q::T_LAYER + Q::T_QKV,
      nullptr, [&](int n, int channel, float value) { other[n * Q::WIDTH + channel] = value; });
  __syncthreads();
  for (int n = threadIdx.x / 32; n < S::TILE; n += SEQUENCE_WARPS) {
    const sequence_token t = token(n);
    const float *const kept = sequence_layer<S>(sequence_kept<S>(a, block, t.row), block, a.layer);
    sequence_normalise_back<Q::WIDTH>(stream, other, t, n, kept + Q::NORM0 + t.token * Q::WIDTH,
                                      t.live ? kept[Q::SCALE0 + t.token] : 0.0f);
  }
  __syncthreads();
  if (FIRST)
    sequence_store<S::TILE, Q::WIDTH>(stream, [&](int n) -> float * {
      const sequence_token t = token(n);
      return t.live ? sequence_gradients<S>(a, block, t.row) + Q::D_STREAM + t.token * Q::WIDTH : nullptr;
    });
  else
    sequence_unmix<S, false>(a, block, a.layer - 1, stream, other, wide);
}

// ---- gradients of weights ----

// A block takes TAKES inputs for 32 outputs; its warps share the slot's rows. Items behind those are the bias's.
template <int IN, int OUT, int PITCH>
struct sequence_items {
  static constexpr int TAKES = PITCH % 16 == 0 ? 16 : PITCH % 8 == 0 ? 8 : 4;
  static constexpr int STEPS = PITCH / TAKES, COUNT = (STEPS + 1) * (OUT / 32);
};

template <int TAKES>
__device__ __forceinline__ void sequence_write_sums(float *to, int ld, int count, const float (&acc)[TAKES],
                                                    float *scratch) {
  const int lane = threadIdx.x & 31;
#pragma unroll
  for (int j = 0; j < TAKES; ++j) scratch[(threadIdx.x / 32 * TAKES + j) * 32 + lane] = acc[j];
  __syncthreads();
  for (int j = threadIdx.x / 32; j < min(TAKES, count); j += SEQUENCE_WARPS) {
    float sum = 0.0f;
#pragma unroll
    for (int warp = 0; warp < SEQUENCE_WARPS; ++warp) sum += scratch[(warp * TAKES + j) * 32 + lane];
    to[j * ld + lane] = sum;
  }
}

// inputs, gradients: of row 0, token 0, those of the next rows and tokens KEPT, D_ROW, PITCH and OUT further on; rows
// first .. last - 1, tokens from `token` on.
template <class S, int IN, int OUT, int PITCH>
__device__ __forceinline__ void sequence_weight_gradient(const float *inputs, const float *gradients, int item,
                                                         unsigned first, unsigned last, int token, float *weights,
                                                         float *bias, float *scratch) {
  using Q = sequence<S>;
  using items = sequence_items<IN, OUT, PITCH>;
  constexpr unsigned long long KEPT = Q::OF_LAYERS + (unsigned long long)Q::LAYERS * Q::LAYER;
  const int step = item % (items::STEPS + 1), group = item / (items::STEPS + 1);
  const float *delta = gradients + token * OUT + group * 32;
  delta += threadIdx.x & 31;
  if (step == items::STEPS) {
    float acc[1] = {};
    for (unsigned row = first + threadIdx.x / 32; row < last; row += SEQUENCE_WARPS) {
      const float *d = delta + row * (unsigned long long)Q::D_ROW;
#pragma unroll 1
      for (int left = Q::TOKENS - token; left > 0; --left, d += OUT) acc[0] += *d;
    }
    sequence_write_sums(bias + group * 32, 0, 1, acc, scratch);
    return;
  }
  float acc[items::TAKES] = {};
  for (unsigned row = first + threadIdx.x / 32; row < last; row += SEQUENCE_WARPS) {
    const float *d = delta + row * (unsigned long long)Q::D_ROW;
    const float *value = inputs + row * KEPT + token * PITCH + step * items::TAKES;
#pragma unroll 1
    for (int left = Q::TOKENS - token; left > 0; --left) {
      const float gradient = *d;
#pragma unroll
      for (int j = 0; j < items::TAKES; j += 4) {
        const float4 four = *(const float4 *)(value + j);
        acc[j] = fmaf(four.x, gradient, acc[j]);
        acc[j + 1] = fmaf(four.y, gradient, acc[j + 1]);
        acc[j + 2] = fmaf(four.z, gradient, acc[j + 2]);
        acc[j + 3] = fmaf(four.w, gradient, acc[j + 3]);
      }
      d += OUT;
      value += PITCH;
    }
  }
  sequence_write_sums(weights + (long long)step * items::TAKES * OUT + group * 32, OUT, IN - step * items::TAKES, acc,
                      scratch);
}

template <class S>
struct sequence_all_items {
  using Q = sequence<S>;
  static constexpr int QKV = sequence_items<Q::WIDTH, Q::TRIPLE, Q::WIDTH>::COUNT;
  static constexpr int OUT = QKV + sequence_items<Q::WIDTH, Q::WIDTH, Q::WIDTH>::COUNT;
  static constexpr int FEED0 = OUT + sequence_items<Q::WIDTH, Q::FEED, Q::WIDTH>::COUNT;
  static constexpr int LAYER = FEED0 + sequence_items<Q::FEED, Q::WIDTH, Q::FEED>::COUNT;
  static constexpr int COUNT = Q::LAYERS * LAYER + sequence_items<Q::INPUTS, Q::WIDTH, Q::PITCH>::COUNT;
};

template <class S>
__device__ __forceinline__ void sequence_gradients_of_weights(const branch_arguments &a) {
  using Q = sequence<S>;
  using all = sequence_all_items<S>;
  __shared__ float scratch[SEQUENCE_WARPS * 16 * 32];
  const sequence_block block = sequence_block_of<S>(a, blockIdx.x, all::COUNT * a.rows.slot_count);
  const unsigned slot = block.tile / all::COUNT;
  int item = (int)(block.tile % all::COUNT);
  const unsigned first = min(slot * a.slot_images, block.rows), last = min(first + a.slot_images, block.rows);
  const int layer = item / all::LAYER;
  float *const to = a.rows.slots + slot * a.rows.slot_stride + block.part * a.part_floats + layer * S::STEP;
  const float *const kept = sequence_kept<S>(a, block, 0), *const gradients = sequence_gradients<S>(a, block, 0);
  if (layer == Q::LAYERS) {
    float *const slots = to - layer * S::STEP;
    sequence_weight_gradient<S, Q::INPUTS, Q::WIDTH, Q::PITCH>(kept + Q::INPUT, gradients + Q::D_STREAM,
                                                               item - layer * all::LAYER, first, last, 0,
                                                               slots + S::EMBED, slots + S::EMBED_BIAS, scratch);
    return;
  }
  item -= layer * all::LAYER;
  const float *const x = kept + Q::OF_LAYERS + layer * Q::LAYER, *const d =
                                                                     gradients + Q::OF_D_LAYERS + layer * Q::D_LAYER;
  const int token = layer == Q::LAYERS - 1 ? Q::LAST : 0;
  if (item < all::QKV)
    sequence_weight_gradient<S, Q::WIDTH, Q::TRIPLE, Q::WIDTH>(x + Q::NORM0, d + Q::D_QKV, item, first, last, 0,
                                                               to + S::QKV, to + S::QKV_BIAS, scratch);
  else if (item < all::OUT)
    sequence_weight_gradient<S, Q::WIDTH, Q::WIDTH, Q::WIDTH>(x + Q::OUTPUT, d + Q::D_OUT, item - all::QKV, first, last,
                                                              token, to + S::OUT, to + S::OUT_BIAS, scratch);
  else if (item < all::FEED0)
    sequence_weight_gradient<S, Q::WIDTH, Q::FEED, Q::WIDTH>(x + Q::NORM1, d + Q::D_FEED0, item - all::OUT, first, last,
                                                             token, to + S::FEED0, to + S::FEED0_BIAS, scratch);
  else
    sequence_weight_gradient<S, Q::FEED, Q::WIDTH, Q::FEED>(x + Q::AFTER, d + Q::D_FEED1, item - all::FEED0, first,
                                                            last, token, to + S::FEED1, to + S::FEED1_BIAS, scratch);
}
