// Layers that are alike for every token of a sequence, on arrays [token][channel] in memory that the block shares:
// dense layers forward and back, normalisation, rotary places, gradients of weights. fp32 on CUDA cores.
//
// A lane has an output and a thread CHUNK tokens, so that a weight is read once for CHUNK multiply-adds, and the
// tokens' values are the same for all lanes of a warp. Every number is summed by one thread in a fixed order.
#pragma once

#include "tile.cuh"

// finish(token, output, sum) for every sum over IN inputs of tokens[TOKENS][IN] times weights[IN][OUT], from the bias
// on where there is one. All lanes of a warp are in `finish` together.
template <int WARPS, int TOKENS, int CHUNK, int IN, int OUT, class FINISH>
__device__ __forceinline__ void token_dense(const float *tokens, const float *weights, const float *bias,
                                            FINISH finish) {
  constexpr int CHUNKS = (TOKENS + CHUNK - 1) / CHUNK;
  constexpr bool WHOLE = TOKENS % CHUNK == 0;
  const int lane = threadIdx.x & 31;
  static_assert(OUT % 32 == 0 && IN % 4 == 0, "lanes have outputs, inputs come in fours");
#pragma unroll 1
  for (int item = threadIdx.x / 32; item < OUT / 32 * CHUNKS; item += WARPS) {
    const int group = item / CHUNKS, chunk = item % CHUNKS;
    const int last = WHOLE ? CHUNK - 1 : min(CHUNK, TOKENS - chunk * CHUNK) - 1;  // stands for those behind it
    const float *from = tokens + chunk * (CHUNK * IN), *column = weights + group * 32;
    column += lane;
    float acc[CHUNK];
    const float start = bias ? load_parameter(bias + group * 32 + lane) : 0.0f;
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) acc[i] = start;
#pragma unroll 1
    for (int left = IN / 4; left > 0; --left) {
      float weight[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) weight[k] = load_parameter(column + k * OUT);
#pragma unroll
      for (int i = 0; i < CHUNK; ++i) {
        const float4 value = *(const float4 *)(from + (WHOLE ? i : min(i, last)) * IN);
        acc[i] = fmaf(value.x, weight[0], acc[i]);
        acc[i] = fmaf(value.y, weight[1], acc[i]);
        acc[i] = fmaf(value.z, weight[2], acc[i]);
        acc[i] = fmaf(value.w, weight[3], acc[i]);
      }
      column += 4 * OUT;
      from += 4;
    }
#pragma unroll
    for (int i = 0; i < CHUNK; ++i)
      if (WHOLE || i <= last) finish(chunk * CHUNK + i, group * 32 + lane, acc[i]);
  }
}

enum { TOKEN_STAGE = 32 * 33 /* floats of a warp */ };

// The way back of the same: finish(token, input, sum) for every sum over OUT of delta[TOKENS][OUT] times
// weights[IN][OUT] turned. Lanes have inputs; 32 x 32 weights at a time are turned in `stage`, [WARPS][TOKEN_STAGE].
template <int WARPS, int TOKENS, int CHUNK, int IN, int OUT, class FINISH>
__device__ __forceinline__ void token_dense_back(const float *delta, const float *weights, float *stage,
                                                 FINISH finish) {
  constexpr int CHUNKS = (TOKENS + CHUNK - 1) / CHUNK;
  constexpr bool WHOLE = TOKENS % CHUNK == 0;
  const int lane = threadIdx.x & 31;
  float *const turned = stage + threadIdx.x / 32 * TOKEN_STAGE;
  static_assert(OUT % 32 == 0 && IN % 32 == 0, "lanes have inputs, outputs come in groups of 32");
#pragma unroll 1
  for (int item = threadIdx.x / 32; item < IN / 32 * CHUNKS; item += WARPS) {
    const int group = item / CHUNKS, chunk = item % CHUNKS;
    const int last = WHOLE ? CHUNK - 1 : min(CHUNK, TOKENS - chunk * CHUNK) - 1;
    const float *from = delta + chunk * (CHUNK * OUT), *row = weights + group * (32 * OUT);
    row += lane;
    float acc[CHUNK] = {};
#pragma unroll 1
    for (int left = OUT / 32; left > 0; --left) {
      __syncwarp();
#pragma unroll 8
      for (int r = 0; r < 32; ++r) turned[r * 33 + lane] = load_parameter(row + r * OUT);
      __syncwarp();
#pragma unroll 2
      for (int k = 0; k < 32; k += 4) {
        const float *const weight = turned + lane * 33 + k;
#pragma unroll
        for (int i = 0; i < CHUNK; ++i) {
          const float4 value = *(const float4 *)(from + (WHOLE ? i : min(i, last)) * OUT + k);
          acc[i] = fmaf(value.x, weight[0], acc[i]);
          acc[i] = fmaf(value.y, weight[1], acc[i]);
          acc[i] = fmaf(value.z, weight[2], acc[i]);
          acc[i] = fmaf(value.w, weight[3], acc[i]);
        }
      }
      row += 32;
      from += 32;
    }
#pragma unroll
    for (int i = 0; i < CHUNK; ++i)
      if (WHOLE || i <= last) finish(chunk * CHUNK + i, group * 32 + lane, acc[i]);
  }
}

// weights[IN][OUT] (+)= sum over tokens of inputs[TOKENS][PITCH] times delta[TOKENS][OUT], and bias[OUT] (+)= sum of
// delta. A warp has up to 16 inputs for 32 outputs.
template <int WARPS, int TOKENS, int IN, int OUT, int PITCH>
__device__ __forceinline__ void token_weight_gradient(float *weights, float *bias, const float *inputs,
                                                      const float *delta, bool again) {
  constexpr int TAKES = PITCH % 16 == 0 ? 16 : PITCH % 8 == 0 ? 8 : 4;
  constexpr int STEPS = PITCH / TAKES;
  const int lane = threadIdx.x & 31;
  static_assert(OUT % 32 == 0 && PITCH % 4 == 0, "lanes have outputs, inputs come in fours");
#pragma unroll 1
  for (int item = threadIdx.x / 32; item < (STEPS + 1) * (OUT / 32); item += WARPS) {
    const int step = item % (STEPS + 1), group = item / (STEPS + 1);
    const float *d = delta + group * 32;
    d += lane;
    if (step == STEPS) {
      float sum = 0.0f;
#pragma unroll 1
      for (int left = TOKENS; left > 0; --left, d += OUT) sum += *d;
      float *const to = bias + group * 32 + lane;
      *to = again ? *to + sum : sum;
      continue;
    }
    float acc[TAKES] = {};
    const float *value = inputs + step * TAKES;
#pragma unroll 1
    for (int left = TOKENS; left > 0; --left) {
      const float gradient = *d;
#pragma unroll
      for (int j = 0; j < TAKES; j += 4) {
        const float4 four = *(const float4 *)(value + j);
        acc[j] = fmaf(four.x, gradient, acc[j]);
        acc[j + 1] = fmaf(four.y, gradient, acc[j + 1]);
        acc[j + 2] = fmaf(four.z, gradient, acc[j + 2]);
        acc[j + 3] = fmaf(four.w, gradient, acc[j + 3]);
      }
      d += OUT;
      value += PITCH;
    }
    float *const to = weights + step * (TAKES * OUT) + group * 32 + lane;
#pragma unroll
    for (int j = 0; j < TAKES; ++j)
      if (step * TAKES + j < IN) to[j * OUT] = again ? to[j * OUT] + acc[j] : acc[j];
  }
}

// to = (from - mean) / sqrt(variance + 1e-5) of every token; finish(token, lane's channel, value, scale).
template <int WARPS, int TOKENS, int WIDTH, class FINISH>
__device__ __forceinline__ void token_normalise(float *to, const float *from, FINISH finish) {
  constexpr int EACH = WIDTH / 32;
  const int lane = threadIdx.x & 31;
  for (int n = threadIdx.x / 32; n < TOKENS; n += WARPS) {
    float value[EACH], sum = 0.0f, squares = 0.0f;
#pragma unroll
    for (int i = 0; i < EACH; ++i) sum += value[i] = from[n * WIDTH + i * 32 + lane];
    const float mean = warp_sum(sum) * (1.0f / WIDTH);
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
      value[i] -= mean;
      squares = fmaf(value[i], value[i], squares);
    }
    const float scale = 1.0f / sqrtf(fmaf(warp_sum(squares), 1.0f / WIDTH, 1e-5f));
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
      to[n * WIDTH + i * 32 + lane] = value[i] * scale;
      finish(n, i * 32 + lane, value[i] * scale, scale);
    }
  }
}

// stream += what the loss by a token's normalised channels, `by`, means for those before: scale (by - mean(by) - n
// mean(by n)). All of one token, by a warp; of a token that is not `live` nothing is read.
template <int WIDTH>
__device__ __forceinline__ void token_normalise_back(float *stream, const float *by, const float *norm, float scale,
                                                     bool live) {
  constexpr int EACH = WIDTH / 32;
  const int lane = threadIdx.x & 31;
  float gradient[EACH], value[EACH], sum = 0.0f, product = 0.0f;
#pragma unroll
  for (int i = 0; i < EACH; ++i) {
    gradient[i] = by[i * 32 + lane];
    value[i] = live ? norm[i * 32 + lane] : 0.0f;
    sum += gradient[i];
    product = fmaf(gradient[i], value[i], product);
  }
  const float mean = warp_sum(sum) * (1.0f / WIDTH), share = warp_sum(product) * (1.0f / WIDTH);
#pragma unroll
  for (int i = 0; i < EACH; ++i)
    stream[i * 32 + lane] += (live ? scale : 0.0f) * (gradient[i] - mean - value[i] * share);
}

// A number of a query or key turned with its neighbour by the pair's angle, whose cosine and sine are angles[token]
// [pair][2]; direction -1: back. All lanes together.
template <int HEAD>
__device__ __forceinline__ float token_turn(float value, int token, int channel, const float *angles, float direction) {
  const float neighbour = __shfl_xor_sync(0xffffffffu, value, 1);
  const float *angle = angles + (token * (HEAD / 2) + channel % HEAD / 2) * 2;
  return fmaf(value, angle[0], (channel & 1 ? direction : -direction) * neighbour * angle[1]);
}
