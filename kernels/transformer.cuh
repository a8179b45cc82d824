// A transformer over the condition of a row, as a branch: tokens are the positions of a sequence and, behind them, one
// that reads out. Per layer, pre-norm,
//   n = norm(x)   (q, k, v) = n W_qkv + b   x += attention(q, k, v) W_out + b
//   n = norm(x)   x += act(n W_0 + b) W_1 + b
// and the features are norm(x) of the token that reads out. norm has no scale and shift of its own: the layer behind it
// has both. A token's input is its channels, standardised, and a 0, or for the token that reads out zeros and a 1:
// weights of that input are its vector. Places are the positions' numbers; that of the token that reads out is one past
// the last position that is there; tokens that are not there have place -1.
//
// Launches go through the tokens of all rows in tiles of TILE (a block each), but for attention, whose blocks have
// heads of rows (attention.cuh). What is alike for all tokens of a tile runs in shared memory, [token][channel]: a lane
// has an output and a thread eight tokens (token_layers.cuh). The last layer's token that reads out is the only one
// whose output is used: there tiles hold that token of TILE rows.
//
// S: shape constants and places of parameters, written by engine/branch_transformer.c.
#pragma once

#include "activation.cuh"
#include "attention.cuh"
#include "branch_arguments.h"
#include "rows.cuh"
#include "token_layers.cuh"

enum { SEQUENCE_WARPS = SEQUENCE_THREADS / 32, SEQUENCE_CHUNK = 8 };

__device__ constexpr int sequence_round4(int n) { return (n + 3) & ~3; }

// Where the numbers of a row stand, in floats: `kept` on the way forward (a.inputs[0]), the loss by them
// (a.gradients[0]).
template <class S>
struct sequence {
  static constexpr int TOKENS = S::LENGTH + 1, LAST = S::LENGTH, WIDTH = S::WIDTH, FEED = S::FEED, HEADS = S::HEADS;
  static constexpr int HEAD = WIDTH / HEADS, TRIPLE = 3 * WIDTH, LAYERS = S::LAYERS, TILE = S::TILE;
  static constexpr int INPUTS = S::CHANNELS + 1, PITCH = sequence_round4(INPUTS);
  static constexpr int NUMBERS = S::CHANNELS + S::MASKED;  // of a position in the data
  // kept: of all layers
  static constexpr int PLACES = 0, STREAM = PLACES + sequence_round4(TOKENS), INPUT = STREAM + TOKENS * WIDTH;
  static constexpr int FINAL = INPUT + TOKENS * PITCH, FINAL_SCALE = FINAL + WIDTH, OF_LAYERS = FINAL_SCALE + 4;
  // kept: of a layer; forward only, all layers have the same memory
  static constexpr int QKV = 0, OUTPUT = QKV + TOKENS * TRIPLE, SUMS = OUTPUT + TOKENS * WIDTH;
  static constexpr int NORM0 = SUMS + sequence_round4(TOKENS * HEADS), SCALE0 = NORM0 + TOKENS * WIDTH;
  static constexpr int NORM1 = SCALE0 + sequence_round4(TOKENS), SCALE1 = NORM1 + TOKENS * WIDTH;
  static constexpr int BEFORE = SCALE1 + sequence_round4(TOKENS), AFTER = BEFORE + TOKENS * FEED;
  static constexpr int LAYER = AFTER + TOKENS * FEED;
  // gradients: of all layers, of a layer
  static constexpr int D_STREAM = 0, D_OUTPUT = D_STREAM + TOKENS * WIDTH, MEANS = D_OUTPUT + TOKENS * WIDTH;
  static constexpr int OF_D_LAYERS = MEANS + sequence_round4(TOKENS * HEADS);
  static constexpr int D_QKV = 0, D_OUT = D_QKV + TOKENS * TRIPLE, D_FEED0 = D_OUT + TOKENS * WIDTH;
  static constexpr int D_FEED1 = D_FEED0 + TOKENS * FEED, D_LAYER = D_FEED1 + TOKENS * WIDTH;
  static constexpr int D_ROW = OF_D_LAYERS + LAYERS * D_LAYER;
  // turned weights of a layer
  static constexpr int T_QKV = 0, T_OUT = T_QKV + WIDTH * TRIPLE, T_FEED0 = T_OUT + WIDTH * WIDTH;
  static constexpr int T_FEED1 = T_FEED0 + WIDTH * FEED, T_LAYER = T_FEED1 + WIDTH * FEED;
  // shared memory of a tile: stream, a second array of that size, a wide one, angles
  static constexpr int WIDE = FEED > TRIPLE ? FEED : TRIPLE;
  static constexpr int AT_OTHER = TILE * WIDTH, AT_WIDE = 2 * TILE * WIDTH, AT_ANGLES = AT_WIDE + TILE * WIDE;
};

// Rows that the launch has, of `capacity`, and the block's part.
struct sequence_block {
  unsigned part, tile, rows;
  bool keeps;  // what the way back needs
};

template <class S>
__device__ __forceinline__ sequence_block sequence_block_of(const branch_arguments &a, unsigned block,
                                                            unsigned blocks) {
  const batch_rows batch = batch_of_step(a.rows, a.rows.request ? 0 : a.rows.state->completed);
  sequence_block result;
  result.part = block / blocks;
  result.tile = block % blocks;
  result.rows = min(batch.count - min(batch.count, a.first), a.capacity);
  result.keeps = a.gradients[0] != nullptr;
  return result;
}

template <class S>
__device__ __forceinline__ float *sequence_kept(const branch_arguments &a, const sequence_block &block, unsigned row) {
  using Q = sequence<S>;
  const unsigned long long floats = Q::OF_LAYERS + (unsigned long long)(block.keeps ? Q::LAYERS : 1) * Q::LAYER;
  return a.inputs[0] + ((unsigned long long)block.part * a.capacity + row) * floats;
}
template <class S>
__device__ __forceinline__ float *sequence_layer(float *kept, const sequence_block &block, unsigned layer) {
  return kept + sequence<S>::OF_LAYERS + (block.keeps ? layer : 0) * sequence<S>::LAYER;
}
template <class S>
__device__ __forceinline__ float *sequence_gradients(const branch_arguments &a, const sequence_block &block,
                                                     unsigned row) {
  return a.gradients[0] + ((unsigned long long)block.part * a.capacity + row) * sequence<S>::D_ROW;
}
__device__ __forceinline__ const float *sequence_parameters(const branch_arguments &a, const sequence_block &block) {
  return a.rows.parameters + (a.first_part + block.part) * a.part_floats;
}

// A token of a tile; READS: of tiles that hold the token that reads out, of TILE rows.
struct sequence_token {
  unsigned row;
  int token;
  bool live;  // the launch has its row
};
template <class S, bool READS>
__device__ __forceinline__ sequence_token sequence_token_of(const sequence_block &block, int n) {
  const unsigned at = block.tile * S::TILE + n;
  sequence_token result;
  result.row = READS ? at : at / sequence<S>::TOKENS;
  result.token = READS ? sequence<S>::LAST : (int)(at % sequence<S>::TOKENS);
  result.live = result.row < block.rows;
  return result;
}
template <class S, bool READS>
__device__ __forceinline__ unsigned sequence_tiles(const branch_arguments &a) {
  return (a.capacity * (READS ? 1 : sequence<S>::TOKENS) + S::TILE - 1) / S::TILE;
}

// ---- pieces ----

// token_layers.cuh's on a tile; TILE is a multiple of SEQUENCE_CHUNK.
template <int TILE, int IN, int OUT, class FINISH>
__device__ __forceinline__ void sequence_dense(const float *tile, const float *weights, const float *bias,
                                               FINISH finish) {
  token_dense<SEQUENCE_WARPS, TILE, SEQUENCE_CHUNK, IN, OUT>(tile, weights, bias, finish);
}
template <int TILE, int WIDTH, class FINISH>
__device__ __forceinline__ void sequence_normalise(float *to, const float *from, FINISH finish) {
  token_normalise<SEQUENCE_WARPS, TILE, WIDTH>(to, from, finish);
}
template <int WIDTH>
__device__ __forceinline__ void sequence_normalise_back(float *stream, const float *by, const sequence_token &t, int n,
                                                        const float *norm, float scale) {
  token_normalise_back<WIDTH>(stream + n * WIDTH, by + n * WIDTH, norm, scale, t.live);
}

// tile[TILE][COLUMNS] from what `from(token)` says, zeros where that is NULL, and back.
template <int TILE, int COLUMNS, class FROM>
__device__ __forceinline__ void sequence_load(float *tile, FROM from) {
  for (int i = threadIdx.x; i < TILE * (COLUMNS / 4); i += SEQUENCE_THREADS) {
    const int n = i / (COLUMNS / 4), four = i % (COLUMNS / 4) * 4;
    const float *at = from(n);
    *(float4 *)(tile + n * COLUMNS + four) = at ? *(const float4 *)(at + four) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  }
}
template <int TILE, int COLUMNS, class TO>
__device__ __forceinline__ void sequence_store(const float *tile, TO to) {
  for (int i = threadIdx.x; i < TILE * (COLUMNS / 4); i += SEQUENCE_THREADS) {
    const int n = i / (COLUMNS / 4), four = i % (COLUMNS / 4) * 4;
    float *at = to(n);
    if (at) *(float4 *)(at + four) = *(const float4 *)(tile + n * COLUMNS + four);
  }
}

// Cosine and sine of place times frequency, for every token of a tile and pair of a head's channels.
template <class S, class PLACE>
__device__ __forceinline__ void sequence_angles(float *angles, PLACE place) {
  constexpr int PAIRS = sequence<S>::HEAD / 2;
  if (!S::ROTARY) return;
  for (int i = threadIdx.x; i < S::TILE * PAIRS; i += SEQUENCE_THREADS) {
    float sine, cosine;
    sincosf((float)place(i / PAIRS) * S::frequency(i % PAIRS), &sine, &cosine);
    angles[2 * i] = cosine;
    angles[2 * i + 1] = sine;
  }
}

template <class S>
__device__ __forceinline__ float sequence_turn(float value, int n, int channel, const float *angles, float direction) {
  return token_turn<sequence<S>::HEAD>(value, n, channel, angles, direction);
}

// norm(stream) into `other` and the three factors of attention.
template <class S>
__device__ __forceinline__ void sequence_factors(const branch_arguments &a, const sequence_block &block, unsigned layer,
                                                 const float *P, float *stream, float *other, const float *angles) {
  using Q = sequence<S>;
  sequence_normalise<S::TILE, Q::WIDTH>(other, stream, [&](int n, int channel, float value, float scale) {
    const sequence_token t = sequence_token_of<S, false>(block, n);
    if (!block.keeps || !t.live) return;
    float *to = sequence_layer<S>(sequence_kept<S>(a, block, t.row), block, layer);
    to[Q::NORM0 + t.token * Q::WIDTH + channel] = value;
    if (channel == 0) to[Q::SCALE0 + t.token] = scale;
  });
  __syncthreads();
  sequence_dense<S::TILE, Q::WIDTH, Q::TRIPLE>(
      other, P + S::QKV + layer * S::STEP, P + S::QKV_BIAS + layer * S::STEP, [&](int n, int channel, float value) {
        if (S::ROTARY && channel < 2 * Q::WIDTH) value = sequence_turn<S>(value, n, channel, angles, 1.0f);
        const sequence_token t = sequence_token_of<S, false>(block, n);
        if (t.live)
          sequence_layer<S>(sequence_kept<S>(a, block, t.row), block, layer)[Q::QKV + t.token * Q::TRIPLE + channel] =
              value;
      });
}

// ---- forward ----

// All weights of layers turned, for the way back.
template <class S>
__device__ __forceinline__ void sequence_turn_weights(const branch_arguments &a, unsigned part, unsigned block) {
  using Q = sequence<S>;
  const float *const P = a.rows.parameters + (a.first_part + part) * a.part_floats;
  float *const to = a.turned[0] + (unsigned long long)part * (Q::LAYERS * Q::T_LAYER);
  for (int i = block * SEQUENCE_THREADS + threadIdx.x; i < Q::LAYERS * Q::T_LAYER;
       i += SEQUENCE_TURN_BLOCKS * SEQUENCE_THREADS) {
    const float *from = P + i / Q::T_LAYER * S::STEP;
    const int at = i % Q::T_LAYER;
    if (at < Q::T_OUT)
      from += S::QKV + at % Q::WIDTH * Q::TRIPLE + at / Q::WIDTH;
    else if (at < Q::T_FEED0)
      from += S::OUT + (at - Q::T_OUT) % Q::WIDTH * Q::WIDTH + (at - Q::T_OUT) / Q::WIDTH;
    else if (at < Q::T_FEED1)
      from += S::FEED0 + (at - Q::T_FEED0) % Q::WIDTH * Q::FEED + (at - Q::T_FEED0) / Q::WIDTH;
    else
      from += S::FEED1 + (at - Q::T_FEED1) % Q::FEED * Q::WIDTH + (at - Q::T_FEED1) / Q::FEED;
    to[i] = load_parameter(from);
  }
}

// From the data to the first layer's factors of attention.
template <class S>
__device__ __forceinline__ void sequence_enter(const branch_arguments &a) {
  using Q = sequence<S>;
  extern __shared__ __align__(16) float shared[];
  float *const stream = shared, *const other = shared + Q::AT_OTHER, *const input = shared + Q::AT_WIDE;
  float *const angles = shared + Q::AT_ANGLES;
  __shared__ int places[S::TILE];
  __shared__ unsigned rows[S::TILE];
  const unsigned tiles = sequence_tiles<S, false>(a);
  if (blockIdx.x >= tiles * a.parts) {
    const unsigned block = blockIdx.x - tiles * a.parts;
    sequence_turn_weights<S>(a, block / SEQUENCE_TURN_BLOCKS, block % SEQUENCE_TURN_BLOCKS);
    return;
  }
  const sequence_block block = sequence_block_of<S>(a, blockIdx.x, tiles);
  if (!sequence_token_of<S, false>(block, 0).live) return;
  const float *const P = sequence_parameters(a, block);
  if (threadIdx.x < S::TILE) {
    const sequence_token t = sequence_token_of<S, false>(block, threadIdx.x);
    int place = t.token;
    if (t.live) {
      const batch_rows batch = batch_of_step(a.rows, a.rows.request ? 0 : a.rows.state->completed);
      rows[threadIdx.x] = row_at(a.rows, batch, a.first + t.row).data;
      if (S::MASKED) {
        const unsigned long long base = (unsigned long long)rows[threadIdx.x] * (S::LENGTH * Q::NUMBERS);
        const auto there = [&](int position) {
          const unsigned long long at = base + position * Q::NUMBERS + S::CHANNELS;
          return S::BYTES ? __ldg((const unsigned char *)a.rows.condition + at) > 0
                          : __ldg((const float *)a.rows.condition + at) > 0.5f;
        };
        if (place == Q::LAST)
          while (place > 0 && !there(place - 1)) --place;
        else if (!there(place))
          place = -1;
      }
      float *const kept = sequence_kept<S>(a, block, t.row);
      ((int *)kept)[Q::PLACES + t.token] = place;
    }
    places[threadIdx.x] = place;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < S::TILE * Q::PITCH; i += SEQUENCE_THREADS) {
    const int n = i / Q::PITCH, channel = i % Q::PITCH;
    const sequence_token t = sequence_token_of<S, false>(block, n);
    float value = t.token == Q::LAST && channel == S::CHANNELS ? 1.0f : 0.0f;
    if (t.live && t.token != Q::LAST && channel < S::CHANNELS && places[n] >= 0) {
      const int at = t.token * Q::NUMBERS + channel;
      const unsigned long long from = (unsigned long long)rows[n] * (S::LENGTH * Q::NUMBERS) + at;
      const float raw = S::BYTES ? (float)__ldg((const unsigned char *)a.rows.condition + from)
                                 : __ldg((const float *)a.rows.condition + from);
      value = fmaf(raw, __ldg(a.rows.condition_scale + at), __ldg(a.rows.condition_shift + at));
    }
    input[i] = value;
    if (block.keeps && t.live) sequence_kept<S>(a, block, t.row)[Q::INPUT + t.token * Q::PITCH + channel] = value;
  }
  sequence_angles<S>(angles, [&](int n) { return max(places[n], 0); });
  __syncthreads();
  for (int i = threadIdx.x; i < S::TILE * Q::WIDTH; i += SEQUENCE_THREADS) {
    const int n = i / Q::WIDTH, channel = i % Q::WIDTH;
    float sum = load_parameter(P + S::EMBED_BIAS + channel);
#pragma unroll
    for (int k = 0; k < Q::INPUTS; ++k)
      sum = fmaf(input[n * Q::PITCH + k], load_parameter(P + S::EMBED + k * Q::WIDTH + channel), sum);
    if (S::SINUSOIDAL) {
      float sine, cosine;
      sincosf((float)max(places[n], 0) * S::frequency(channel / 2), &sine, &cosine);
      sum += channel & 1 ? cosine : sine;
    }
    stream[i] = sum;
  }
  __syncthreads();
  sequence_store<S::TILE, Q::WIDTH>(stream, [&](int n) -> float * {
    const sequence_token t = sequence_token_of<S, false>(block, n);
    return t.live ? sequence_kept<S>(a, block, t.row) + Q::STREAM + t.token * Q::WIDTH : nullptr;
  });
  sequence_factors<S>(a, block, 0, P, stream, other, angles);
}

// Which query or key of which row and head a lane has: HEADS * EACH of a row, in warps of their own from 32 on.
template <class S, int EACH>
struct sequence_lane {
  static constexpr int ROUND = EACH < 32 ? EACH : (EACH + 31) & ~31;
  unsigned row;
  int head, at;
  bool live;
  __device__ __forceinline__ sequence_lane(const sequence_block &block) {
    const unsigned number = block.tile * ATTENTION_THREADS + threadIdx.x;
    const unsigned of_heads = EACH < 32 ? number / ROUND : number / 32 / (ROUND / 32);
    at = EACH < 32 ? (int)(number % ROUND) : (int)(number / 32 % (ROUND / 32) * 32 + (threadIdx.x & 31));
    row = of_heads / S::HEADS;
    head = (int)(of_heads % S::HEADS);
    live = row < block.rows && at < EACH;
    if (!live) row = min(row, block.rows - 1), at = min(at, EACH - 1);
  }
  static __device__ __forceinline__ unsigned blocks(const branch_arguments &a) {
    return (a.capacity * (S::HEADS * ROUND) + ATTENTION_THREADS - 1) / ATTENTION_THREADS;
  }
};

template <class S, bool READS>
__device__ __forceinline__ void sequence_attend(const branch_arguments &a) {
  using Q = sequence<S>;
  constexpr int QUERIES = READS ? 1 : Q::TOKENS;
  using lane = sequence_lane<S, QUERIES>;
  const sequence_block block = sequence_block_of<S>(a, blockIdx.x, lane::blocks(a));
  if (block.rows == 0) return;
  const lane l(block);
  const int query = READS ? Q::LAST : l.at;
  const float *const kept = sequence_kept<S>(a, block, l.row);
  float *const layer = sequence_layer<S>((float *)kept, block, a.layer);
  const float *const factors = layer + Q::QKV + l.head * Q::HEAD;
  float output[Q::HEAD], sum;
  attention_forward<Q::TOKENS, Q::HEAD, Q::TRIPLE>(output, &sum, factors + query * Q::TRIPLE, factors + Q::WIDTH,
                                                   factors + 2 * Q::WIDTH, (const int *)kept + Q::PLACES);
  if (!l.live) return;
  attention_store(layer + Q::OUTPUT + query * Q::WIDTH + l.head * Q::HEAD, output, 1.0f);
  if (block.keeps) layer[Q::SUMS + query * Q::HEADS + l.head] = sum;
}

// From a layer's attention to the next layer's factors, or with READS to the features.
template <class S, bool READS>
__device__ __forceinline__ void sequence_mix(const branch_arguments &a) {
  using Q = sequence<S>;
  extern __shared__ __align__(16) float shared[];
  float *const stream = shared, *const other = shared + Q::AT_OTHER, *const wide = shared + Q::AT_WIDE;
  float *const angles = shared + Q::AT_ANGLES;
  const sequence_block block = sequence_block_of<S>(a, blockIdx.x, sequence_tiles<S, READS>(a));
  if (!sequence_token_of<S, READS>(block, 0).live) return;
  const float *const P = sequence_parameters(a, block) + a.layer * S::STEP;
  const auto token = [&](int n) { return sequence_token_of<S, READS>(block, n); };
  const auto layer_of = [&](const sequence_token &t) {
    return sequence_layer<S>(sequence_kept<S>(a, block, t.row), block, a.layer);
  };
  const auto stream_of = [&](int n) -> float * {
    const sequence_token t = token(n);
    return t.live ? sequence_kept<S>(a, block, t.row) + Q::STREAM + t.token * Q::WIDTH : nullptr;
  };
  sequence_load<S::TILE, Q::WIDTH>(stream, stream_of);
  sequence_load<S::TILE, Q::WIDTH>(other, [&](int n) -> const float * {
    const sequence_token t = token(n);
    return t.live ? layer_of(t) + Q::OUTPUT + t.token * Q::WIDTH : nullptr;
  });
  if (!READS)
    sequence_angles<S>(angles, [&](int n) {
      const sequence_token t = token(n);
      return t.live ? max(((const int *)sequence_kept<S>(a, block, t.row))[Q::PLACES + t.token], 0) : 0;
    });
  __syncthreads();
  sequence_dense<S::TILE, Q::WIDTH, Q::WIDTH>(other, P + S::OUT, P + S::OUT_BIAS, [&](int n, int channel, float value) {
    stream[n * Q::WIDTH + channel] += value;
  });
  __syncthreads();
  sequence_normalise<S::TILE, Q::WIDTH>(other, stream, [&](int n, int channel, float value, float scale) {
    const sequence_token t = token(n);
    if (!block.keeps || !t.live) return;
    layer_of(t)[Q::NORM1 + t.token * Q::WIDTH + channel] = value;
    if (channel == 0) layer_of(t)[Q::SCALE1 + t.token] = scale;
  });
  __syncthreads();
  sequence_dense<S::TILE, Q::WIDTH, Q::FEED>(other, P + S::FEED0, P + S::FEED0_BIAS,
                                             [&](int n, int channel, float value) {
                                               const float after = activate<S::ACTIVATION>(value).value;
                                               const sequence_token t = token(n);
                                               wide[n * Q::FEED + channel] = after;
                                               if (!block.keeps || !t.live) return;
                                               layer_of(t)[Q::BEFORE + t.token * Q::FEED + channel] = value;
                                               layer_of(t)[Q::AFTER + t.token * Q::FEED + channel] = after;
                                             });
  __syncthreads();
  sequence_dense<S::TILE, Q::FEED, Q::WIDTH>(
      wide, P + S::FEED1, P + S::FEED1_BIAS,
      [&](int n, int channel, float value) { stream[n * Q::WIDTH + channel] += value; });
  __syncthreads();
  if (READS) {
    sequence_normalise<S::TILE, Q::WIDTH>(other, stream, [&](int n, int channel, float value, float scale) {
      const sequence_token t = token(n);
      if (!t.live) return;
      a.features[((unsigned long long)block.part * a.feature_rows + a.first + t.row) * Q::WIDTH + channel] = value;
      if (!block.keeps) return;
      float *const kept = sequence_kept<S>(a, block, t.row);
      kept[Q::FINAL + channel] = value;
      if (channel == 0) kept[Q::FINAL_SCALE] = scale;
    });
  } else {
    sequence_store<S::TILE, Q::WIDTH>(stream, stream_of);
    sequence_factors<S>(a, block, a.layer + 1, sequence_parameters(a, block), stream, other, angles);
  }
}
