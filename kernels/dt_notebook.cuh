// Variant dt as the PyTorch notebook has it (dt.form notebook; survey 2.8): the classifier reads the last block's
// prediction, so that its cross-entropy is part of what that block is trained with, and half the latent's square stands
// for the divergence at the start (D-10).
#pragma once

#include "coders.cuh"
#include "dt.cuh"

// target_gradient += `share` times its derivative.
template <int D>
__device__ __forceinline__ void add_half_square_gradient(float *target_gradient, const float *z1, float share) {
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    target_gradient[at] = fmaf(share, z1[at], target_gradient[at]);
  }
}

// delta [LD][32] and delta_rows [32][LD + 1] of the prediction += what reaches it through the scores, whose delta is
// `scores`. A barrier before and after.
template <int D, int LD, int CLASSES>
__device__ __forceinline__ void add_scores_gradient(float *delta, float *delta_rows, const float *scores,
                                                    const float *weight) {
  constexpr int LD_SCORES = (CLASSES + 7) & ~7;
  __syncthreads();
  for (int n = TILE_OUTPUTS * tile_warp(); n < LD; n += TILE_OUTPUTS * TILE_WARPS) {
    float acc[TILE_OUTPUTS] = {};
    dense_accumulate_transposed<LD_SCORES>(acc, scores, weight, n, D);
    add_tile8(acc, delta, n);
    store_delta8<LD + 1>(delta, delta_rows, n, D, acc);
  }
  __syncthreads();
}

// The classifier says nothing of its own about the labels' vectors.
template <int D>
__device__ __forceinline__ void clear_target_gradient(float *target_gradient) {
  for (int i = tile_warp(); i < D; i += TILE_WARPS) target_gradient[i * TILE_ROWS + tile_lane()] = 0.0f;
}
