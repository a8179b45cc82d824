// The gradient of a row's loss with respect to its state z_t and its clean latent z1, for whatever lies before them: an
// encoder, a learnable schedule, or a caller of noprop_model_loss. Only kernels that need it include this.
//
// z_t = a z1 + b e. The backward pass of the network gives what reaches z_t through the layer that reads it; to that
// come the objective's direct terms: target estimate xp p + xz z, field vp p + vz z, and the truth, which is linear in
// z1. begin (before the network's backward pass) writes the direct parts, finish (after it) completes z1 by a dL/dz_t.
// All numbers belong to the mean over the batch: they carry the row's share.
#pragma once

#include "objective.cuh"

// state_gradient [LD][32] is overwritten; target_gradient [LD][32] too, unless `again` (a further draw).
template <int D, int LD>
__device__ __forceinline__ void begin_state_gradient(const objective_description &objective, const path_point &point,
                                                     float weight, float share, const float *out, const float *z,
                                                     const float *z1, const float *noise, float *state_gradient,
                                                     float *target_gradient, bool again) {
  const row_objective row = row_objective_at(objective, point, weight);
  const float truth_slope = truth_of(objective, point, 1.0f, 0.0f);
  for (int i = tile_warp(); i < LD; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    float state = 0.0f, target = 0.0f;
    if (i < D && !objective.cross_entropy) {
      const float error = out[at] - truth_of(objective, point, z1[at], noise[at]);
      target = -2.0f * row.weight / D * error * truth_slope;
      if (objective.recon != 0.0f && !objective.recon_at_end) {
        const float miss = fmaf(row.form.xp, out[at], row.form.xz * z[at]) - z1[at];
        const float gradient = objective.recon * row.recon_weight * 2.0f / D * miss;
        state = gradient * row.form.xz;
        target -= gradient;
      }
      if (objective.reg != 0.0f) {
        const float field = fmaf(row.form.vp, out[at], row.form.vz * z[at]);
        state = fmaf(objective.reg * row.reg_weight * 2.0f / D * field, row.form.vz, state);
      }
    }
    // A lane without a row must not contribute, even where its weight is not finite.
    state_gradient[at] = share != 0.0f ? share * state : 0.0f;
    target = share != 0.0f ? share * target : 0.0f;
    target_gradient[at] = again ? target_gradient[at] + target : target;
  }
}

// target_gradient += a state_gradient; both are written out where a request asks for them (the state's of draw 0).
template <int D>
__device__ __forceinline__ void finish_state_gradient(const path_point &point, const train_arguments &args,
                                                      const tile_row &row, unsigned draw, const float *state_gradient,
                                                      float *target_gradient) {
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    const float target = fmaf(point.a, state_gradient[at], target_gradient[at]);
    const unsigned long long to = (unsigned long long)row.local * D + i;
    target_gradient[at] = target;
    if (row.live && args.out_state_gradient && draw == 0) args.out_state_gradient[to] = state_gradient[at];
    if (row.live && args.out_target_gradient) args.out_target_gradient[to] = target;
  }
}
