// Variant dt: T networks, block k of which takes the state from noise level k - 1 to level k (design page
// "mathematics", section 5; survey 1.1). Levels and the bridge between them are constants of the generated kernel.
#pragma once

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

// What finish_slot does, for a block's part of a slot. Without rows everything is zero.
__device__ __forceinline__ void finish_block_slot(float *slot, float *tail, const row_terms &sums, unsigned gradients,
                                                  bool empty) {
  if (empty)
    for (unsigned i = threadIdx.x; i < gradients; i += TILE_THREADS) slot[i] = 0.0f;
  if (warp_of_block() != 0) return;
  const float flow = warp_sum(sums.flow);
  const int i = lane_of_warp();
  if (i < SLOT_TERMS) tail[i] = i == SLOT_LOSS || i == SLOT_FLOW ? flow : 0.0f;
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
