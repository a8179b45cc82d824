// Variant dt: T networks, block k of which takes the state from noise level k - 1 to level k (design page
// "mathematics", section 5; survey 1.1). Levels and the bridge between them are constants of the generated kernel.
#pragma once

#include "dense.cuh"
#include "objective.cuh"
#include "solver.cuh"

struct block_level {
  float a, b;        // of the state that the block sees: sqrt(ab_(k-1)), sqrt(1 - ab_(k-1))
  float weight;      // d eta/2 (SNR_k - SNR_(k-1)): of the squared error divided by d
  float keep, gain;  // mean of the bridge: keep z + gain target
  float deviation;   // of its noise
};

__device__ __forceinline__ path_point level_point(const block_level &level) {
  path_point point;
  point.t = point.gamma_prime = 0.0f;  // no term of the objective uses them
  point.a = level.a;
  point.b = level.b;
  point.signal = level.a * level.a;
  point.noise = level.b * level.b;
  point.factor = 1.0f;
  return point;
}

// Noise e and state a z1 + b e of the lane's row; every block draws noise of its own (layer = block).
template <int D>
__device__ __forceinline__ void make_block_state(float *z, float *noise, const float *z1, const block_level &level,
                                                 const train_arguments &args, const batch_rows &batch,
                                                 const tile_row &row, unsigned block, unsigned draw) {
  if (!args.given_noise)
    tile_normals<D>(noise, args.seed, row.number, philox_stream(STREAM_NOISE, block, draw), batch.step);
  for (int group = 4 * tile_warp(); group < D; group += 4 * TILE_WARPS) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int i = group + j, at = i * TILE_ROWS + tile_lane();
      if (i >= D) continue;
      if (args.given_noise) noise[at] = args.given_noise[(unsigned long long)row.local * D + i];
      z[at] = fmaf(level.a, z1[at], level.b * noise[at]);
    }
  }
}

// KL(N(a z1, b^2 I) | N(0, I)) in nats, this warp's features (survey 1.4): of the first block's level, whose states are
// where a solve starts.
template <int D>
__device__ __forceinline__ float kl_of_level(const block_level &level, const float *z1) {
  const float signal = level.a * level.a, rest = -signal - log1pf(-signal);
  float sum = 0.0f;
  for (int i = tile_warp(); i < D; i += TILE_WARPS)
    sum += 0.5f * fmaf(signal * z1[i * TILE_ROWS + tile_lane()], z1[i * TILE_ROWS + tile_lane()], rest);
  return sum;
}

// target_gradient += `share` times its derivative.
template <int D>
__device__ __forceinline__ void add_kl_gradient(float *target_gradient, const block_level &level, const float *z1,
                                                float share) {
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    target_gradient[at] = fmaf(share * level.a * level.a, z1[at], target_gradient[at]);
  }
}

// After finish_block_slot: the divergence of the tail's rows, which row_terms carry as `recon`, a term that blocks do
// not have; in the loss with `weight`.
__device__ __forceinline__ void finish_block_kl(float *tail, unsigned embedding, const row_terms &sums, float weight) {
  if (warp_of_block() != 0) return;
  const float kl = warp_sum(sums.recon);
  __syncwarp();
  if (lane_of_warp() != 0) return;
  tail[embedding + SLOT_LOSS] += weight * kl;
  tail[embedding + SLOT_KL_Z0] = kl;
}

// What finish_slot does, for a part's slot and tail; `term` is the one that makes its loss. Without rows everything is
// zero.
__device__ __forceinline__ void finish_block_slot(float *slot, float *tail, unsigned embedding, const row_terms &sums,
                                                  int term, unsigned gradients, bool empty) {
  if (empty) {
    for (unsigned i = threadIdx.x; i < gradients; i += TILE_THREADS) slot[i] = 0.0f;
    for (unsigned i = threadIdx.x; gradients && i < embedding; i += TILE_THREADS) tail[i] = 0.0f;
  }
  if (warp_of_block() != 0) return;
  const float loss = warp_sum(sums.flow);
  const int i = lane_of_warp();
  if (i < SLOT_TERMS) tail[embedding + i] = i == SLOT_LOSS || i == term ? loss : 0.0f;
}

template <int KIND>
__device__ __forceinline__ unsigned row_label(const void *labels, unsigned row) {
  return KIND == ROW_LABEL_UINT8 ? __ldg((const unsigned char *)labels + row)
                                 : (unsigned)__ldg((const int *)labels + row);
}

// A label's vector, of a table [classes][LD], as the clean latent of the lane's row.
template <int KIND, int D, int LD>
__device__ __forceinline__ void load_embedding(float *tile, const void *labels, unsigned row, const float *table) {
  const float *from = table + row_label<KIND>(labels, row) * LD;
  for (int i = 4 * tile_warp(); i < D; i += 4 * TILE_WARPS)
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (i + j < D) tile[(i + j) * TILE_ROWS + tile_lane()] = __ldg(from + i + j);
}

// gradient [CLASSES][LD] (+)= the rows' gradients of their clean latents, one row after the other. `scratch` holds
// TILE_ROWS numbers.
template <int KIND, int D, int LD, int CLASSES>
__device__ __forceinline__ void add_embedding_gradient(float *gradient, const float *target_gradient,
                                                       const void *labels, const tile_row &row, bool again,
                                                       float *scratch) {
  unsigned *const label = (unsigned *)scratch;
  __syncthreads();
  if (threadIdx.x < TILE_ROWS) label[threadIdx.x] = row_label<KIND>(labels, row.data);
  for (int i = threadIdx.x; !again && i < CLASSES * LD; i += TILE_THREADS) gradient[i] = 0.0f;
  __syncthreads();
  for (int i = threadIdx.x; i < D; i += TILE_THREADS)
    for (int at = 0; at < TILE_ROWS; ++at) gradient[label[at] * LD + i] += target_gradient[i * TILE_ROWS + at];
  __syncthreads();
}

// Scores of CLASSES classes from a state: weight [D][round_up8(CLASSES)], then the bias.
template <int D, int CLASSES>
__device__ __forceinline__ void classify(float *logits, const float *z, const float *weight, const float *bias) {
  constexpr int LD = (CLASSES + 7) & ~7;
  for (int n = TILE_OUTPUTS * tile_warp(); n < LD; n += TILE_OUTPUTS * TILE_WARPS) {
    float acc[TILE_OUTPUTS] = {};
    add_parameters8(acc, bias + n);
    dense_accumulate<LD>(acc, z, D, weight + n);
    store_tile8(logits, n, acc);
  }
}

// The gradients of a classifier's parameters from that of its scores (delta and delta_rows).
template <int D, int CLASSES>
__device__ __forceinline__ void classifier_gradient(float *weight, float *bias, const float *z, const float *delta_rows,
                                                    bool accumulate) {
  constexpr int LD = (CLASSES + 7) & ~7;
  dense_bias_gradient<LD, LD + 1>(bias, delta_rows, accumulate);
  dense_weight_gradient<LD, LD + 1>(weight, z, D, delta_rows, accumulate);
}

// target_gradient (+)= a times what reaches the state through the scores.
template <int D, int CLASSES>
__device__ __forceinline__ void classifier_target_gradient(float *target_gradient, const float *delta,
                                                           const float *weight, float a, bool accumulate) {
  constexpr int LD = (CLASSES + 7) & ~7;
  for (int n = TILE_OUTPUTS * tile_warp(); n < D; n += TILE_OUTPUTS * TILE_WARPS) {
    float acc[TILE_OUTPUTS] = {};
    dense_accumulate_transposed<LD>(acc, delta, weight, n, D);
#pragma unroll
    for (int j = 0; j < TILE_OUTPUTS; ++j) acc[j] *= a;
    if (accumulate) add_tile8(acc, target_gradient, n);
    store_tile8(target_gradient, n, acc);
  }
}

// What write_state does, with the probabilities that the classifier gives a state as its output,
// [slices][rows][CLASSES].
template <int D, int CLASSES>
__device__ __forceinline__ void write_scores(const integrate_arguments &args, const float *z, float *logits,
                                             const float *weight, const float *bias, unsigned row, bool live,
                                             unsigned slice) {
  __syncthreads();
  if (args.output) classify<D, CLASSES>(logits, z, weight, bias);
  __syncthreads();
  if (!live) return;
  const unsigned long long base = (unsigned long long)slice * args.rows + row;
  for (int i = tile_warp(); args.latent && i < D; i += TILE_WARPS)
    args.latent[base * D + i] = z[i * TILE_ROWS + tile_lane()];
  if (!args.output) return;
  const float2 softmax = softmax_of<CLASSES>(logits);
  for (int i = tile_warp(); i < CLASSES; i += TILE_WARPS)
    args.output[base * CLASSES + i] = expf(logits[i * TILE_ROWS + tile_lane()] - softmax.x) * softmax.y;
}

// z becomes the block's output.
template <int D>
__device__ __forceinline__ void take_target(float *z, const float *target) {
  for (int i = tile_warp(); i < D; i += TILE_WARPS)
    z[i * TILE_ROWS + tile_lane()] = target[i * TILE_ROWS + tile_lane()];
}

// z becomes the state of the next level, target the block's output; NOISE: `noise` holds standard normals. A thread
// takes the elements that it owns.
template <int D, bool NOISE>
__device__ __forceinline__ void bridge_step(float *z, const float *target, const float *noise,
                                            const block_level &level) {
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    float next = fmaf(level.gain, target[at], level.keep * z[at]);
    if (NOISE) next = fmaf(level.deviation, noise[at], next);
    z[at] = next;
  }
}
