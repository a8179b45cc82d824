// Around a field that is a sequence of launches over all rows (engine/staged.h): between its arrays in device memory,
// [rows][PITCH], and the feature-major tiles of objective.cuh and solver.cuh.
#pragma once

#include "solver.cuh"
#include "staged_arguments.h"

// Features [0, count) of a tile to a row's features from `first` on.
template <int PITCH>
__device__ __forceinline__ void staged_write(float *to, const float *tile, unsigned long long row, int first,
                                             int count) {
  to += row * PITCH + first;
  for (int i = 4 * tile_warp(); i < count; i += 4 * TILE_WARPS)
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (i + j < count) to[i + j] = tile[(i + j) * TILE_ROWS + tile_lane()];
}

// A row's D features into a tile; the features that a thread owns in solver.cuh and objective.cuh.
template <int D, int PITCH>
__device__ __forceinline__ void staged_read(float *tile, const float *from, unsigned long long row) {
  from += row * PITCH;
  for (int i = tile_warp(); i < D; i += TILE_WARPS) tile[i * TILE_ROWS + tile_lane()] = from[i];
}

// And back.
template <int D, int PITCH>
__device__ __forceinline__ void staged_keep(float *to, const float *tile, unsigned long long row) {
  to += row * PITCH;
  for (int i = tile_warp(); i < D; i += TILE_WARPS) to[i] = tile[i * TILE_ROWS + tile_lane()];
}

// The embedding of the lane's time.
template <int FORM, int SIZE, int PITCH>
__device__ __forceinline__ void staged_time(float *to, const float *frequencies, float t, unsigned long long row) {
  for (int j = tile_warp(); j < SIZE; j += TILE_WARPS)
    to[row * PITCH + j] = time_feature<FORM, SIZE>(frequencies, j, t);
}

// The time at which `stage` of `step` evaluates the field.
template <int METHOD>
__device__ __forceinline__ float staged_time_of(const objective_description &objective, const integrate_arguments &args,
                                                unsigned step, int stage) {
  const float t0 = args.times[step], t1 = step == args.steps ? t0 : args.times[step + 1];
  return fminf(fmaxf(solver_stage_time<METHOD>(t0, t1, stage), objective.time_margin), 1.0f - objective.time_margin);
}
