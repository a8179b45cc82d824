// Condition dropout: rows that are trained without their condition, so that a solve can be guided (Ho and Salimans,
// "Classifier-free diffusion guidance", 2022). Without its condition a network has zeros behind the condition's branch.
#pragma once

#include "rows.cuh"

// Whether the lane's row keeps its condition in this step; threshold = round(p 2^32). Requests have dropout or not.
__device__ __forceinline__ bool keeps_condition(const train_arguments &args, const batch_rows &batch,
                                                const tile_row &row, unsigned threshold) {
  if (args.request && args.dropout_epochs == 0) return true;
  return philox(args.seed, 0, row.number, philox_stream(STREAM_CONDITION_DROPOUT, 0, 0), batch.step).word[0] >=
         threshold;
}

// Zeros what stands behind the branch where the condition is left out; the caller synchronises.
template <int WIDTH>
__device__ __forceinline__ void drop_condition(float *features, bool keep) {
  for (int i = tile_warp(); i < WIDTH; i += TILE_WARPS)
    if (!keep) features[i * TILE_ROWS + tile_lane()] = 0.0f;
}
