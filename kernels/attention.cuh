// Attention of one head, forward and backward, without a matrix of queries by keys: softmax(q k / sqrt(HEAD)) v is
// summed in one pass over the keys while the largest score so far is known (Milakov & Gimelshein, "Online normalizer
// calculation for softmax", 2018; Dao et al., "FlashAttention", 2022); the way back computes the probabilities again
// from the logarithm of their sum. fp32 on CUDA cores.
//
// A lane has a query, or on the way back of keys and values a key: its vectors stay in registers, and what it meets is
// read one token after the other, the same for all lanes of a head. Every sum has a fixed order and no lane adds to
// another's. Tokens with a negative place are not there: no query sees them.
#pragma once

enum { ATTENTION_KEYS = 4 /* whose scores are found at once */ };

// 2^p, zero below 2^-126.
__device__ __forceinline__ float attention_power(float p) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(p));
  return power;
}

template <int HEAD>
__device__ __forceinline__ void attention_load(float (&to)[HEAD], const float *from) {
#pragma unroll
  for (int i = 0; i < HEAD; i += 4) {
    const float4 four = *(const float4 *)(from + i);
    to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
  }
}

template <int HEAD>
__device__ __forceinline__ void attention_store(float *to, const float (&from)[HEAD], float scale) {
#pragma unroll
  for (int i = 0; i < HEAD; i += 4)
    *(float4 *)(to + i) = make_float4(from[i] * scale, from[i + 1] * scale, from[i + 2] * scale, from[i + 3] * scale);
}

// Two partial sums, so that a multiply-add need not wait for the one before it.
template <int HEAD>
__device__ __forceinline__ float attention_dot(const float (&a)[HEAD], const float *b) {
  float even = 0.0f, odd = 0.0f;
#pragma unroll
  for (int i = 0; i < HEAD; i += 4) {
    const float4 four = *(const float4 *)(b + i);
    even = fmaf(a[i], four.x, even);
    odd = fmaf(a[i + 1], four.y, odd);
    even = fmaf(a[i + 2], four.z, even);
    odd = fmaf(a[i + 3], four.w, odd);
  }
  return even + odd;
}

template <int HEAD>
__device__ __forceinline__ void attention_add(float (&to)[HEAD], float factor, const float *from) {
#pragma unroll
  for (int i = 0; i < HEAD; i += 4) {
    const float4 four = *(const float4 *)(from + i);
    to[i] = fmaf(factor, four.x, to[i]);
    to[i + 1] = fmaf(factor, four.y, to[i + 1]);
    to[i + 2] = fmaf(factor, four.z, to[i + 2]);
    to[i + 3] = fmaf(factor, four.w, to[i + 3]);
  }
}

// 1/sqrt(HEAD), and that times log2(e): scores are in powers of two.
template <int HEAD>
__device__ __forceinline__ float attention_scale() {
  return 1.0f / sqrtf((float)HEAD);
}
template <int HEAD>
__device__ __forceinline__ float attention_scale2() {
  return 1.4426950408889634f / sqrtf((float)HEAD);
}

// Forward. query, key, value: [HEAD] of a token, those of the next token PITCH further on; key and value point to token
// 0, places [TOKENS] (not MASKED: all are there). At least one token is there, or, if it is MAYBE_EMPTY, zeros are
// given where none is. *sum: the logarithm (base 2) of the sum of all probabilities' 2^score.
template <int TOKENS, int HEAD, int PITCH, bool MASKED = true, bool MAYBE_EMPTY = false>
__device__ __forceinline__ void attention_forward(float (&output)[HEAD], float *sum, const float *query,
                                                  const float *key, const float *value, const int *places) {
  float q[HEAD], total = 0.0f, largest = -1e30f;
  attention_load(q, query);
#pragma unroll
  for (int i = 0; i < HEAD; ++i) {
    q[i] *= attention_scale2<HEAD>();
    output[i] = 0.0f;
  }
#pragma unroll 1
  for (int first = 0; first < TOKENS; first += ATTENTION_KEYS) {
    float score[ATTENTION_KEYS], most = largest;
#pragma unroll
    for (int j = 0; j < ATTENTION_KEYS; ++j) {
      const int token = min(first + j, TOKENS - 1);
      const float dot = attention_dot(q, key + token * PITCH);
      score[j] = first + j < TOKENS && (!MASKED || places[token] >= 0) ? dot : -3e38f;  // whose power is zero
      most = fmaxf(most, score[j]);
    }
    const float shrink = attention_power(largest - most);
    largest = most;
    total *= shrink;
#pragma unroll
    for (int i = 0; i < HEAD; ++i) output[i] *= shrink;
#pragma unroll
    for (int j = 0; j < ATTENTION_KEYS; ++j) {
      const float power = attention_power(score[j] - most);
      total += power;
      attention_add(output, power, value + min(first + j, TOKENS - 1) * PITCH);
    }
  }
  if (MAYBE_EMPTY && total == 0.0f) total = 1.0f;
  const float scale = 1.0f / total;
#pragma unroll
  for (int i = 0; i < HEAD; ++i) output[i] *= scale;
  *sum = largest + log2f(total);
}

// Backward, of a query. `gradient`: the loss by its output; `sum` as above; `mean`: gradient . output.
template <int TOKENS, int HEAD, int PITCH, bool MASKED = true>
__device__ __forceinline__ void attention_backward_query(float *query_gradient, const float *query,
                                                         const float *gradient, float sum, float mean, const float *key,
                                                         const float *value, const int *places) {
  float q[HEAD], g[HEAD], acc[HEAD];
  attention_load(q, query);
  attention_load(g, gradient);
#pragma unroll
  for (int i = 0; i < HEAD; ++i) acc[i] = 0.0f;
#pragma unroll 1
  for (int token = 0; token < TOKENS; ++token) {
    const float score = attention_dot(q, key + token * PITCH) * attention_scale2<HEAD>();
    const float probability = !MASKED || places[token] >= 0 ? attention_power(score - sum) : 0.0f;
    const float slope = probability * (attention_dot(g, value + token * PITCH) - mean);
    attention_add(acc, slope, key + token * PITCH);
  }
  attention_store(query_gradient, acc, attention_scale<HEAD>());
}

// Backward, of a key and its value, by queries FIRST .. TOKENS - 1. query, gradient, sum, mean point to token 0 of the
// head: those of the next token are PITCH, WIDTH, HEADS and HEADS further on. `there`: the key is.
template <int FIRST, int TOKENS, int HEAD, int PITCH, int WIDTH, int HEADS>
__device__ __forceinline__ void attention_backward_key(float *key_gradient, float *value_gradient, const float *key,
                                                       const float *value, bool there, const float *query,
                                                       const float *gradient, const float *sum, const float *mean) {
  float k[HEAD], v[HEAD], key_acc[HEAD], value_acc[HEAD];
  attention_load(k, key);
  attention_load(v, value);
#pragma unroll
  for (int i = 0; i < HEAD; ++i) key_acc[i] = value_acc[i] = 0.0f;
#pragma unroll 1
  for (int token = FIRST; token < TOKENS; ++token) {
    const float score = attention_dot(k, query + token * PITCH) * attention_scale2<HEAD>();
    const float probability = there ? attention_power(score - sum[token * HEADS]) : 0.0f;
    const float slope = probability * (attention_dot(v, gradient + token * WIDTH) - mean[token * HEADS]);
    attention_add(value_acc, probability, gradient + token * WIDTH);
    attention_add(key_acc, slope, query + token * PITCH);
  }
  attention_store(key_gradient, key_acc, attention_scale<HEAD>());
  attention_store(value_gradient, value_acc, 1.0f);
}
