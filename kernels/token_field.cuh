// A field that is a transformer over the tokens of the state: a target [length][channels] is a sequence, and so may the
// condition be. A block has a row at a time, whole: tiles are of one row (TILE_ROWS is 1), what a tile has [features]
// is a vector, and all tokens stand in memory of the block, [token][channel].
//
// The condition's tokens are encoded once per row, or row and solve, by pre-norm layers of their own,
//   c = numbers W_x + b   c += attention(norm(c))   c += act(norm(c) W_0 + b) W_1 + b      e = norm(c)
// and the field of z at t is
//   h = z W_z + b + e(t) W_t
//   h += attention(norm(h))   h += attention(queries norm(h), keys and values e)   h += act(norm(h) W_0 + b) W_1 + b
//   output = norm(h) W_y + b
// (Vaswani et al., "Attention is all you need", 2017; pre-norm: Xiong et al., 2020.) norm has no scale and shift of its
// own: the layer behind it has both. Places of the condition's tokens are their numbers, and those of the state's go on
// behind the last position that is there. Queries and keys are turned by their places (rotary), or sines and cosines of
// places are added to tokens. Attention to nothing is zero: so it is without a condition that was dropped, and where no
// position of a row is there.
//
// S: shapes and places of parameters, written by engine/program_tokens.c. S::condition_layer and S::field_layer: the
// parameters of the first layer of either, and STEP to those of the next.
#pragma once

#include "activation.cuh"
#include "attention.cuh"
#include "rows.cuh"
#include "token_layers.cuh"

enum { TOKEN_WARPS = TILE_THREADS / 32 };

__host__ __device__ constexpr int token_round4(int n) { return (n + 3) & ~3; }

// Tokens that a thread takes: all up to 12, else from 6 on the number that leaves the fewest places empty.
__host__ __device__ constexpr int token_chunk(int tokens) {
  if (tokens <= 12) return tokens;
  int best = 12;
  for (int chunk = 11; chunk >= 6; --chunk)
    if ((tokens + chunk - 1) / chunk * chunk < (tokens + best - 1) / best * best) best = chunk;
  return best;
}

template <class S>
struct token_shape {
  static constexpr int WIDTH = S::WIDTH, FEED = S::FEED, HEADS = S::HEADS, HEAD = WIDTH / HEADS, TRIPLE = 3 * WIDTH;
  static constexpr int PITCH = token_round4(S::INPUTS);  // of a position's numbers
};

// Where the numbers of a layer stand, in floats. CROSS: it has attention to the condition too.
template <class S, int TOKENS, bool CROSS>
struct token_kept {
  using Q = token_shape<S>;
  static constexpr int SUMS_FLOATS = token_round4(TOKENS * Q::HEADS), SCALES = token_round4(TOKENS);
  static constexpr int NORM0 = 0, SCALE0 = NORM0 + TOKENS * Q::WIDTH, QKV = SCALE0 + SCALES;
  static constexpr int OUT = QKV + TOKENS * Q::TRIPLE, SUMS = OUT + TOKENS * Q::WIDTH;
  static constexpr int NORM1 = SUMS + SUMS_FLOATS, SCALE1 = NORM1 + (CROSS ? TOKENS * Q::WIDTH : 0);
  static constexpr int QUERY = SCALE1 + (CROSS ? SCALES : 0), MET = QUERY + (CROSS ? TOKENS * Q::WIDTH : 0);
  static constexpr int MET_SUMS = MET + (CROSS ? TOKENS * Q::WIDTH : 0);
  static constexpr int NORM2 = MET_SUMS + (CROSS ? SUMS_FLOATS : 0), SCALE2 = NORM2 + TOKENS * Q::WIDTH;
  static constexpr int BEFORE = SCALE2 + SCALES, AFTER = BEFORE + TOKENS * Q::FEED, FLOATS = AFTER + TOKENS * Q::FEED;
};

// Memory of a block (engine/program_tokens.c has the sizes). Layers: all of them where the way back needs them, else
// one after the other in the same place.
struct token_memory {
  float *stream;            // [most tokens of either][WIDTH]
  float *angles;            // [TOKENS][HEAD/2][2]
  float *condition_angles;  // [POSITIONS][HEAD/2][2]
  float *input;             // [POSITIONS][PITCH]
  float *encoded, *encoded_scales;
  float *condition_layers, *layers, *keys;  // keys and values of every layer, [LAYERS][POSITIONS][2 WIDTH]
  float *last, *last_scales;                // norm(h) behind all layers
  float *moment;                            // [WIDTH]: what the time adds to a token
  int *places;                              // [POSITIONS], then as many that are not there, then where the state begins
  // The way back
  float *other, *wide, *means, *key_gradients, *encoded_gradient, *stage;
};

// Cosines and sines of places first, first + 1, ...
template <class S, int TOKENS>
__device__ __forceinline__ void token_angles(float *angles, int first) {
  constexpr int PAIRS = token_shape<S>::HEAD / 2;
  if (!S::ROTARY) return;
  for (int i = threadIdx.x; i < TOKENS * PAIRS; i += TILE_THREADS) {
    float sine, cosine;
    sincosf((float)(first + i / PAIRS) * S::frequency(i % PAIRS), &sine, &cosine);
    angles[2 * i] = cosine;
    angles[2 * i + 1] = sine;
  }
}

// What a place adds to a token's channel.
template <class S>
__device__ __forceinline__ float token_place(int place, int channel) {
  if (S::ROTARY) return 0.0f;
  float sine, cosine;
  sincosf((float)place * S::frequency(channel / 2), &sine, &cosine);
  return channel & 1 ? cosine : sine;
}

// ---- halves of a layer, forward; each begins and ends with all that it reads and writes settled ----

// use(head, token) for every head and token, by lanes; a warp has tokens of one head.
template <class S, int TOKENS, class USE>
__device__ __forceinline__ void for_heads(USE use) {
  constexpr int EACH = (TOKENS + 31) / 32;
#pragma unroll 1
  for (int item = threadIdx.x / 32; item < S::HEADS * EACH; item += TOKEN_WARPS) {
    const int token = item % EACH * 32 + (threadIdx.x & 31);
    if (token < TOKENS) use(item / EACH, token);
  }
}

template <class S, class P, int TOKENS, bool CROSS, bool MASKED>
__device__ __forceinline__ void token_attend(const float *p, const token_memory &m, float *kept, const float *angles) {
  using Q = token_shape<S>;
  using K = token_kept<S, TOKENS, CROSS>;
  constexpr int CHUNK = token_chunk(TOKENS);
  token_normalise<TOKEN_WARPS, TOKENS, Q::WIDTH>(kept + K::NORM0, m.stream,
                                                 [&](int n, int channel, float, float scale) {
                                                   if (channel == 0) kept[K::SCALE0 + n] = scale;
                                                 });
  __syncthreads();
  token_dense<TOKEN_WARPS, TOKENS, CHUNK, Q::WIDTH, Q::TRIPLE>(
      kept + K::NORM0, p + P::QKV, p + P::QKV_BIAS, [&](int n, int channel, float value) {
        if (S::ROTARY && channel < 2 * Q::WIDTH) value = token_turn<Q::HEAD>(value, n, channel, angles, 1.0f);
        kept[K::QKV + n * Q::TRIPLE + channel] = value;
      });
  __syncthreads();
  for_heads<S, TOKENS>([&](int head, int token) {
    const float *const factors = kept + K::QKV + head * Q::HEAD;
    float output[Q::HEAD], sum;
    attention_forward<TOKENS, Q::HEAD, Q::TRIPLE, MASKED, MASKED>(output, &sum, factors + token * Q::TRIPLE,
                                                                  factors + Q::WIDTH, factors + 2 * Q::WIDTH, m.places);
    attention_store(kept + K::OUT + token * Q::WIDTH + head * Q::HEAD, output, 1.0f);
    kept[K::SUMS + token * Q::HEADS + head] = sum;
  });
  __syncthreads();
  token_dense<TOKEN_WARPS, TOKENS, CHUNK, Q::WIDTH, Q::WIDTH>(
      kept + K::OUT, p + P::OUT, p + P::OUT_BIAS,
      [&](int n, int channel, float value) { m.stream[n * Q::WIDTH + channel] += value; });
  __syncthreads();
}

// Attention to the condition, whose keys and values of this layer are `keys`.
template <class S, class P>
__device__ __forceinline__ void token_meet(const float *p, const token_memory &m, float *kept, const float *keys,
                                           const int *places) {
  using Q = token_shape<S>;
  using K = token_kept<S, S::TOKENS, true>;
  constexpr int CHUNK = token_chunk(S::TOKENS);
  token_normalise<TOKEN_WARPS, S::TOKENS, Q::WIDTH>(kept + K::NORM1, m.stream,
                                                    [&](int n, int channel, float, float scale) {
                                                      if (channel == 0) kept[K::SCALE1 + n] = scale;
                                                    });
  __syncthreads();
  token_dense<TOKEN_WARPS, S::TOKENS, CHUNK, Q::WIDTH, Q::WIDTH>(
      kept + K::NORM1, p + P::QUERY, p + P::QUERY_BIAS, [&](int n, int channel, float value) {
        if (S::ROTARY) value = token_turn<Q::HEAD>(value, n, channel, m.angles, 1.0f);
        kept[K::QUERY + n * Q::WIDTH + channel] = value;
      });
  __syncthreads();
  for_heads<S, S::TOKENS>([&](int head, int token) {
    const int at = token * Q::WIDTH + head * Q::HEAD;
    float output[Q::HEAD], sum;
    attention_forward<S::POSITIONS, Q::HEAD, 2 * Q::WIDTH, S::SPARSE, S::SPARSE>(
        output, &sum, kept + K::QUERY + at, keys + head * Q::HEAD, keys + Q::WIDTH + head * Q::HEAD, places);
    attention_store(kept + K::MET + at, output, 1.0f);
    kept[K::MET_SUMS + token * Q::HEADS + head] = sum;
  });
  __syncthreads();
  token_dense<TOKEN_WARPS, S::TOKENS, CHUNK, Q::WIDTH, Q::WIDTH>(
      kept + K::MET, p + P::MIX, p + P::MIX_BIAS,
      [&](int n, int channel, float value) { m.stream[n * Q::WIDTH + channel] += value; });
  __syncthreads();
}

template <class S, class P, int TOKENS, bool CROSS>
__device__ __forceinline__ void token_feed(const float *p, const token_memory &m, float *kept) {
  using Q = token_shape<S>;
  using K = token_kept<S, TOKENS, CROSS>;
  constexpr int CHUNK = token_chunk(TOKENS);
  token_normalise<TOKEN_WARPS, TOKENS, Q::WIDTH>(kept + K::NORM2, m.stream,
                                                 [&](int n, int channel, float, float scale) {
                                                   if (channel == 0) kept[K::SCALE2 + n] = scale;
                                                 });
  __syncthreads();
  token_dense<TOKEN_WARPS, TOKENS, CHUNK, Q::WIDTH, Q::FEED>(
      kept + K::NORM2, p + P::FEED0, p + P::FEED0_BIAS, [&](int n, int channel, float value) {
        kept[K::BEFORE + n * Q::FEED + channel] = value;
        kept[K::AFTER + n * Q::FEED + channel] = activate<S::ACTIVATION>(value).value;
      });
  __syncthreads();
  token_dense<TOKEN_WARPS, TOKENS, CHUNK, Q::FEED, Q::WIDTH>(
      kept + K::AFTER, p + P::FEED1, p + P::FEED1_BIAS,
      [&](int n, int channel, float value) { m.stream[n * Q::WIDTH + channel] += value; });
  __syncthreads();
}

// ---- the condition ----

// Numbers and places of a row's positions, from row `row` of the data. Without `keep` none is there.
template <class S>
__device__ __forceinline__ void token_load_condition(const token_memory &m, const void *data, const float *scale,
                                                     const float *shift, unsigned row, bool keep) {
  using Q = token_shape<S>;
  constexpr int NUMBERS = S::INPUTS + S::MASKED;
  const unsigned long long base = (unsigned long long)row * (S::POSITIONS * NUMBERS);
  const auto there = [&](int position) {
    if (!S::MASKED) return true;
    const unsigned long long at = base + position * NUMBERS + S::INPUTS;
    return S::KIND == ROW_UINT8 ? __ldg((const unsigned char *)data + at) > 0 : __ldg((const float *)data + at) > 0.5f;
  };
  for (int n = threadIdx.x; n < S::POSITIONS; n += TILE_THREADS) {
    m.places[n] = keep && there(n) ? n : -1;
    m.places[S::POSITIONS + n] = -1;
  }
  if (threadIdx.x == 0) {
    int end = S::POSITIONS;
    while (S::MASKED && end > 0 && !there(end - 1)) --end;
    m.places[2 * S::POSITIONS] = end;
  }
  for (int i = threadIdx.x; i < S::POSITIONS * Q::PITCH; i += TILE_THREADS) {
    const int n = i / Q::PITCH, channel = i % Q::PITCH, at = n * NUMBERS + channel;
    float value = 0.0f;
    if (channel < S::INPUTS && there(n)) {
      if (S::KIND == ROW_LABEL_INT32)
        value = __ldg((const int *)data + row) == channel ? 1.0f : 0.0f;
      else if (S::KIND == ROW_LABEL_UINT8)
        value = __ldg((const unsigned char *)data + row) == channel ? 1.0f : 0.0f;
      else
        value = fmaf(S::KIND == ROW_FLOAT ? __ldg((const float *)data + base + at)
                                          : (float)__ldg((const unsigned char *)data + base + at),
                     __ldg(scale + at), __ldg(shift + at));
    }
    m.input[i] = value;
  }
  __syncthreads();
}

// The row's tokens, encoded, and what attention reads of them in every layer. KEEPS: the way back follows.
template <class S, bool KEEPS>
__device__ __forceinline__ void token_encode(const float *P, const token_memory &m, const void *data,
                                             const float *scale, const float *shift, unsigned row, bool keep) {
  using Q = token_shape<S>;
  if constexpr (S::POSITIONS > 0) {
    using C = typename S::condition_layer;
    using K = token_kept<S, S::POSITIONS, false>;
    using F = typename S::field_layer;
    constexpr int CHUNK = token_chunk(S::POSITIONS);
    token_load_condition<S>(m, data, scale, shift, row, keep);
    token_angles<S, S::POSITIONS>(m.condition_angles, 0);
    token_angles<S, S::TOKENS>(m.angles, m.places[2 * S::POSITIONS]);
    for (int i = threadIdx.x; i < S::POSITIONS * Q::WIDTH; i += TILE_THREADS) {
      const int n = i / Q::WIDTH, channel = i % Q::WIDTH;
      float sum = load_parameter(P + S::CONDITION_EMBED_BIAS + channel);
#pragma unroll 4
      for (int k = 0; k < S::INPUTS; ++k)
        sum = fmaf(m.input[n * Q::PITCH + k], load_parameter(P + S::CONDITION_EMBED + k * Q::WIDTH + channel), sum);
      m.stream[i] = sum + token_place<S>(n, channel);
      if (KEEPS) m.encoded_gradient[i] = 0.0f;
    }
    __syncthreads();
#pragma unroll 1
    for (int l = 0; l < S::CONDITION_LAYERS; ++l) {
      float *const kept = m.condition_layers + (KEEPS ? l : 0) * K::FLOATS;
      token_attend<S, C, S::POSITIONS, false, S::SPARSE>(P + l * C::STEP, m, kept, m.condition_angles);
      token_feed<S, C, S::POSITIONS, false>(P + l * C::STEP, m, kept);
    }
    token_normalise<TOKEN_WARPS, S::POSITIONS, Q::WIDTH>(m.encoded, m.stream,
                                                         [&](int n, int channel, float, float scale_of_token) {
                                                           if (channel == 0) m.encoded_scales[n] = scale_of_token;
                                                         });
    __syncthreads();
#pragma unroll 1
    for (int l = 0; l < S::LAYERS; ++l) {
      float *const keys = m.keys + l * (S::POSITIONS * 2 * Q::WIDTH);
      token_dense<TOKEN_WARPS, S::POSITIONS, CHUNK, Q::WIDTH, 2 * Q::WIDTH>(
          m.encoded, P + F::KEYS + l * F::STEP, P + F::KEYS_BIAS + l * F::STEP, [&](int n, int channel, float value) {
            if (S::ROTARY && channel < Q::WIDTH)
              value = token_turn<Q::HEAD>(value, n, channel, m.condition_angles, 1.0f);
            keys[n * (2 * Q::WIDTH) + channel] = value;
          });
    }
  } else {
    if (threadIdx.x == 0) m.places[0] = 0;
    token_angles<S, S::TOKENS>(m.angles, 0);
  }
  __syncthreads();
}

// ---- the field ----

// output [TOKENS][CHANNELS] of z likewise and the time features e [TIME]. `places`: which positions are there.
template <class S, bool KEEPS>
__device__ __forceinline__ void token_forward(const float *P, const token_memory &m, const float *z, const float *e,
                                              float *output, const int *places) {
  using Q = token_shape<S>;
  using F = typename S::field_layer;
  constexpr bool CROSS = S::POSITIONS > 0;
  using K = token_kept<S, S::TOKENS, CROSS>;
  for (int channel = threadIdx.x; channel < Q::WIDTH; channel += TILE_THREADS) {
    float sum = 0.0f;
#pragma unroll 4
    for (int k = 0; k < S::TIME; ++k)
      sum = fmaf(e[k], load_parameter(P + S::TIME_WEIGHT + k * Q::WIDTH + channel), sum);
    m.moment[channel] = sum;
  }
  __syncthreads();
  const int first = m.places[2 * S::POSITIONS];
  for (int i = threadIdx.x; i < S::TOKENS * Q::WIDTH; i += TILE_THREADS) {
    const int n = i / Q::WIDTH, channel = i % Q::WIDTH;
    float sum = load_parameter(P + S::EMBED_BIAS + channel) + m.moment[channel];
#pragma unroll 4
    for (int k = 0; k < S::CHANNELS; ++k)
      sum = fmaf(z[n * S::CHANNELS + k], load_parameter(P + S::EMBED + k * Q::WIDTH + channel), sum);
    m.stream[i] = sum + token_place<S>(first + n, channel);
  }
  __syncthreads();
#pragma unroll 1
  for (int l = 0; l < S::LAYERS; ++l) {
    const float *const p = P + l * F::STEP;
    float *const kept = m.layers + (KEEPS ? l : 0) * K::FLOATS;
    token_attend<S, F, S::TOKENS, CROSS, false>(p, m, kept, m.angles);
    if constexpr (CROSS) token_meet<S, F>(p, m, kept, m.keys + l * (S::POSITIONS * 2 * Q::WIDTH), places);
    token_feed<S, F, S::TOKENS, CROSS>(p, m, kept);
  }
  token_normalise<TOKEN_WARPS, S::TOKENS, Q::WIDTH>(m.last, m.stream, [&](int n, int channel, float, float scale) {
    if (channel == 0) m.last_scales[n] = scale;
  });
  __syncthreads();
  for (int i = threadIdx.x; i < S::TOKENS * S::CHANNELS; i += TILE_THREADS) {
    const int n = i / S::CHANNELS, channel = i % S::CHANNELS;
    float sum = load_parameter(P + S::OUTPUT_BIAS + channel);
#pragma unroll 4
    for (int k = 0; k < Q::WIDTH; ++k)
      sum = fmaf(m.last[n * Q::WIDTH + k], load_parameter(P + S::OUTPUT + k * S::OUTPUT_STRIDE + channel), sum);
    output[i] = sum;
  }
  __syncthreads();
}
