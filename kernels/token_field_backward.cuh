// The way back through a field over tokens (token_field.cuh): halves of a layer in reverse, gradients of weights into
// the block's slot as soon as both of their factors are there. `again`: the slot holds something already.
#pragma once

#include "token_field.cuh"

// gradient . output of every head and token, as attention's way back wants it; `other` has the loss by its output.
template <class S, int TOKENS>
__device__ __forceinline__ void token_means(const token_memory &m, const float *output) {
  using Q = token_shape<S>;
  for (int i = threadIdx.x; i < TOKENS * Q::HEADS; i += TILE_THREADS) {
    const int at = i / Q::HEADS * Q::WIDTH + i % Q::HEADS * Q::HEAD;
    float sum = 0.0f;
#pragma unroll 4
    for (int k = 0; k < Q::HEAD; ++k) sum = fmaf(m.other[at + k], output[at + k], sum);
    m.means[i] = sum;
  }
}

template <class S, int TOKENS>
__device__ __forceinline__ void token_stream_back(const token_memory &m, const float *norm, const float *scales) {
  using Q = token_shape<S>;
  for (int n = threadIdx.x / 32; n < TOKENS; n += TOKEN_WARPS)
    token_normalise_back<Q::WIDTH>(m.stream + n * Q::WIDTH, m.other + n * Q::WIDTH, norm + n * Q::WIDTH, scales[n],
                                   true);
  __syncthreads();
}

// Turns the first TURNED channels of gradients [TOKENS][PITCH] back.
template <class S, int TOKENS, int TURNED, int PITCH>
__device__ __forceinline__ void token_turn_back(float *gradients, const float *angles) {
  if (!S::ROTARY) return;
  for (int i = threadIdx.x; i < TOKENS * TURNED; i += TILE_THREADS) {  // TURNED is a multiple of 32
    float *const at = gradients + i / TURNED * PITCH + i % TURNED;
    const float value = token_turn<token_shape<S>::HEAD>(*at, i / TURNED, i % TURNED, angles, -1.0f);
    *at = value;
  }
}

template <class S, class P, int TOKENS, bool CROSS>
__device__ __forceinline__ void token_feed_back(const float *p, float *slot, const token_memory &m, const float *kept,
                                                bool again) {
  using Q = token_shape<S>;
  using K = token_kept<S, TOKENS, CROSS>;
  constexpr int CHUNK = token_chunk(TOKENS);
  token_weight_gradient<TOKEN_WARPS, TOKENS, Q::FEED, Q::WIDTH, Q::FEED>(slot + P::FEED1, slot + P::FEED1_BIAS,
                                                                         kept + K::AFTER, m.stream, again);
  token_dense_back<TOKEN_WARPS, TOKENS, CHUNK, Q::FEED, Q::WIDTH>(
      m.stream, p + P::FEED1, m.stage, [&](int n, int channel, float value) {
        m.wide[n * Q::FEED + channel] = value * activate<S::ACTIVATION>(kept[K::BEFORE + n * Q::FEED + channel]).slope;
      });
  __syncthreads();
  token_weight_gradient<TOKEN_WARPS, TOKENS, Q::WIDTH, Q::FEED, Q::WIDTH>(slot + P::FEED0, slot + P::FEED0_BIAS,
                                                                          kept + K::NORM2, m.wide, again);
  token_dense_back<TOKEN_WARPS, TOKENS, CHUNK, Q::WIDTH, Q::FEED>(
      m.wide, p + P::FEED0, m.stage, [&](int n, int channel, float value) { m.other[n * Q::WIDTH + channel] = value; });
  __syncthreads();
  token_stream_back<S, TOKENS>(m, kept + K::NORM2, kept + K::SCALE2);
}

template <class S, class P>
__device__ __forceinline__ void token_meet_back(const float *p, float *slot, const token_memory &m, const float *kept,
                                                const float *keys, bool again) {
  using Q = token_shape<S>;
  using K = token_kept<S, S::TOKENS, true>;
  constexpr int CHUNK = token_chunk(S::TOKENS), DOUBLE = 2 * Q::WIDTH;
  token_weight_gradient<TOKEN_WARPS, S::TOKENS, Q::WIDTH, Q::WIDTH, Q::WIDTH>(slot + P::MIX, slot + P::MIX_BIAS,
                                                                              kept + K::MET, m.stream, again);
  token_dense_back<TOKEN_WARPS, S::TOKENS, CHUNK, Q::WIDTH, Q::WIDTH>(
      m.stream, p + P::MIX, m.stage, [&](int n, int channel, float value) { m.other[n * Q::WIDTH + channel] = value; });
  __syncthreads();
  token_means<S, S::TOKENS>(m, kept + K::MET);
  __syncthreads();
  for_heads<S, S::TOKENS>([&](int head, int token) {
    const int at = token * Q::WIDTH + head * Q::HEAD, of_head = token * Q::HEADS + head;
    attention_backward_query<S::POSITIONS, Q::HEAD, DOUBLE, S::SPARSE>(
        m.wide + at, kept + K::QUERY + at, m.other + at, kept[K::MET_SUMS + of_head], m.means[of_head],
        keys + head * Q::HEAD, keys + Q::WIDTH + head * Q::HEAD, m.places);
  });
  for_heads<S, S::POSITIONS>([&](int head, int position) {
    const int at = position * DOUBLE + head * Q::HEAD;
    attention_backward_key<0, S::TOKENS, Q::HEAD, Q::WIDTH, Q::WIDTH, Q::HEADS>(
        m.key_gradients + at, m.key_gradients + at + Q::WIDTH, keys + at, keys + at + Q::WIDTH,
        !S::SPARSE || m.places[position] >= 0, kept + K::QUERY + head * Q::HEAD, m.other + head * Q::HEAD,
        kept + K::MET_SUMS + head, m.means + head);
  });
  __syncthreads();
  token_turn_back<S, S::TOKENS, Q::WIDTH, Q::WIDTH>(m.wide, m.angles);
  token_turn_back<S, S::POSITIONS, Q::WIDTH, DOUBLE>(m.key_gradients, m.condition_angles);
  __syncthreads();
  token_weight_gradient<TOKEN_WARPS, S::TOKENS, Q::WIDTH, Q::WIDTH, Q::WIDTH>(slot + P::QUERY, slot + P::QUERY_BIAS,
                                                                              kept + K::NORM1, m.wide, again);
  token_weight_gradient<TOKEN_WARPS, S::POSITIONS, Q::WIDTH, DOUBLE, Q::WIDTH>(slot + P::KEYS, slot + P::KEYS_BIAS,
                                                                               m.encoded, m.key_gradients, again);
  token_dense_back<TOKEN_WARPS, S::TOKENS, CHUNK, Q::WIDTH, Q::WIDTH>(
      m.wide, p + P::QUERY, m.stage, [&](int n, int channel, float value) { m.other[n * Q::WIDTH + channel] = value; });
  token_dense_back<TOKEN_WARPS, S::POSITIONS, token_chunk(S::POSITIONS), Q::WIDTH, DOUBLE>(
      m.key_gradients, p + P::KEYS, m.stage,
      [&](int n, int channel, float value) { m.encoded_gradient[n * Q::WIDTH + channel] += value; });
  __syncthreads();
  token_stream_back<S, S::TOKENS>(m, kept + K::NORM1, kept + K::SCALE1);
}

template <class S, class P, int TOKENS, bool CROSS, bool MASKED>
__device__ __forceinline__ void token_attend_back(const float *p, float *slot, const token_memory &m, const float *kept,
                                                  const float *angles, bool again) {
  using Q = token_shape<S>;
  using K = token_kept<S, TOKENS, CROSS>;
  constexpr int CHUNK = token_chunk(TOKENS);
  token_weight_gradient<TOKEN_WARPS, TOKENS, Q::WIDTH, Q::WIDTH, Q::WIDTH>(slot + P::OUT, slot + P::OUT_BIAS,
                                                                           kept + K::OUT, m.stream, again);
  token_dense_back<TOKEN_WARPS, TOKENS, CHUNK, Q::WIDTH, Q::WIDTH>(
      m.stream, p + P::OUT, m.stage, [&](int n, int channel, float value) { m.other[n * Q::WIDTH + channel] = value; });
  __syncthreads();
  token_means<S, TOKENS>(m, kept + K::OUT);
  __syncthreads();
  for_heads<S, TOKENS>([&](int head, int token) {
    const float *const factors = kept + K::QKV + head * Q::HEAD;
    const int of_head = token * Q::HEADS + head;
    attention_backward_query<TOKENS, Q::HEAD, Q::TRIPLE, MASKED>(
        m.wide + token * Q::TRIPLE + head * Q::HEAD, factors + token * Q::TRIPLE,
        m.other + token * Q::WIDTH + head * Q::HEAD, kept[K::SUMS + of_head], m.means[of_head], factors + Q::WIDTH,
        factors + 2 * Q::WIDTH, m.places);
  });
  for_heads<S, TOKENS>([&](int head, int token) {
    const float *const factors = kept + K::QKV + head * Q::HEAD, *const key = factors + Q::WIDTH + token * Q::TRIPLE;
    float *const to = m.wide + token * Q::TRIPLE + head * Q::HEAD + Q::WIDTH;
    attention_backward_key<0, TOKENS, Q::HEAD, Q::TRIPLE, Q::WIDTH, Q::HEADS>(
        to, to + Q::WIDTH, key, key + Q::WIDTH, !MASKED || m.places[token] >= 0, factors, m.other + head * Q::HEAD,
        kept + K::SUMS + head, m.means + head);
  });
  __syncthreads();
  token_turn_back<S, TOKENS, 2 * Q::WIDTH, Q::TRIPLE>(m.wide, angles);
  __syncthreads();
  token_weight_gradient<TOKEN_WARPS, TOKENS, Q::WIDTH, Q::TRIPLE, Q::WIDTH>(slot + P::QKV, slot + P::QKV_BIAS,
                                                                            kept + K::NORM0, m.wide, again);
  token_dense_back<TOKEN_WARPS, TOKENS, CHUNK, Q::WIDTH, Q::TRIPLE>(
      m.wide, p + P::QKV, m.stage, [&](int n, int channel, float value) { m.other[n * Q::WIDTH + channel] = value; });
  __syncthreads();
  token_stream_back<S, TOKENS>(m, kept + K::NORM0, kept + K::SCALE0);
}

// From the loss by the output, delta [TOKENS][CHANNELS], to gradients of all but the condition's own layers; what is
// left of those stands in m.encoded_gradient. STATE: state_gradient += the loss by z.
template <class S, bool STATE>
__device__ __forceinline__ void token_backward(const float *P, float *slot, const token_memory &m, const float *z,
                                               const float *e, const float *delta, float *state_gradient, bool again) {
  using Q = token_shape<S>;
  using F = typename S::field_layer;
  constexpr bool CROSS = S::POSITIONS > 0;
  using K = token_kept<S, S::TOKENS, CROSS>;
  for (int i = threadIdx.x; i < (Q::WIDTH + 1) * S::OUTPUT_STRIDE; i += TILE_THREADS) {
    const int channel = i % S::OUTPUT_STRIDE, k = i / S::OUTPUT_STRIDE;  // k == WIDTH: the bias
    float sum = 0.0f;
    if (channel < S::CHANNELS)
      for (int n = 0; n < S::TOKENS; ++n)
        sum = fmaf(k < Q::WIDTH ? m.last[n * Q::WIDTH + k] : 1.0f, delta[n * S::CHANNELS + channel], sum);
    float *const to = slot + (k < Q::WIDTH ? S::OUTPUT + i : S::OUTPUT_BIAS + channel);
    *to = again ? *to + sum : sum;
  }
  for (int i = threadIdx.x; i < S::TOKENS * Q::WIDTH; i += TILE_THREADS) {
    const int n = i / Q::WIDTH, k = i % Q::WIDTH;
    float sum = 0.0f;
    for (int channel = 0; channel < S::CHANNELS; ++channel)
      sum = fmaf(delta[n * S::CHANNELS + channel], load_parameter(P + S::OUTPUT + k * S::OUTPUT_STRIDE + channel), sum);
    m.other[i] = sum;
    m.stream[i] = 0.0f;
  }
  __syncthreads();
  token_stream_back<S, S::TOKENS>(m, m.last, m.last_scales);
#pragma unroll 1
  for (int l = S::LAYERS - 1; l >= 0; --l) {
    const float *const p = P + l * F::STEP, *const kept = m.layers + l * K::FLOATS;
    float *const to = slot + l * F::STEP;
    token_feed_back<S, F, S::TOKENS, CROSS>(p, to, m, kept, again);
    if constexpr (CROSS) token_meet_back<S, F>(p, to, m, kept, m.keys + l * (S::POSITIONS * 2 * Q::WIDTH), again);
    token_attend_back<S, F, S::TOKENS, CROSS, false>(p, to, m, kept, m.angles, again);
  }
  for (int i = threadIdx.x; i < (S::CHANNELS + 1) * Q::WIDTH; i += TILE_THREADS) {
    const int channel = i % Q::WIDTH, k = i / Q::WIDTH;  // k == CHANNELS: the bias
    float sum = 0.0f;
    for (int n = 0; n < S::TOKENS; ++n)
      sum = fmaf(k < S::CHANNELS ? z[n * S::CHANNELS + k] : 1.0f, m.stream[n * Q::WIDTH + channel], sum);
    float *const to = slot + (k < S::CHANNELS ? S::EMBED + i : S::EMBED_BIAS + channel);
    *to = again ? *to + sum : sum;
    if (k == S::CHANNELS) m.moment[channel] = sum;
  }
  if (STATE)
    for (int i = threadIdx.x; i < S::TOKENS * S::CHANNELS; i += TILE_THREADS) {
      float sum = state_gradient[i];
      for (int channel = 0; channel < Q::WIDTH; ++channel)
        sum = fmaf(m.stream[i / S::CHANNELS * Q::WIDTH + channel],
                   load_parameter(P + S::EMBED + i % S::CHANNELS * Q::WIDTH + channel), sum);
      state_gradient[i] = sum;
    }
  __syncthreads();
  for (int i = threadIdx.x; i < S::TIME * Q::WIDTH; i += TILE_THREADS) {
    const float value = e[i / Q::WIDTH] * m.moment[i % Q::WIDTH];
    float *const to = slot + S::TIME_WEIGHT + i;
    *to = again ? *to + value : value;
  }
  __syncthreads();
}

// Gradients of the condition's layers from m.encoded_gradient.
template <class S>
__device__ __forceinline__ void token_encode_backward(const float *P, float *slot, const token_memory &m, bool again) {
  if constexpr (S::POSITIONS > 0) {
    using Q = token_shape<S>;
    using C = typename S::condition_layer;
    using K = token_kept<S, S::POSITIONS, false>;
    for (int i = threadIdx.x; i < S::POSITIONS * Q::WIDTH; i += TILE_THREADS) {
      m.other[i] = m.encoded_gradient[i];
      m.stream[i] = 0.0f;
    }
    __syncthreads();
    token_stream_back<S, S::POSITIONS>(m, m.encoded, m.encoded_scales);
#pragma unroll 1
    for (int l = S::CONDITION_LAYERS - 1; l >= 0; --l) {
      const float *const p = P + l * C::STEP, *const kept = m.condition_layers + l * K::FLOATS;
      float *const to = slot + l * C::STEP;
      token_feed_back<S, C, S::POSITIONS, false>(p, to, m, kept, again);
      token_attend_back<S, C, S::POSITIONS, false, S::SPARSE>(p, to, m, kept, m.condition_angles, again);
    }
    token_weight_gradient<TOKEN_WARPS, S::POSITIONS, S::INPUTS, Q::WIDTH, Q::PITCH>(
        slot + S::CONDITION_EMBED, slot + S::CONDITION_EMBED_BIAS, m.input, m.stream, again);
    __syncthreads();
  }
}
