// Log densities along a flow: d log p / dt = -tr(df/dz) (survey 1.6). The trace comes from tangents that run through
// the network behind the values: a unit vector for each feature (exact), or random signs v with v . Jv in their place
// (Hutchinson's estimate, unbiased).
#pragma once

#include "solver.cuh"

// Feature i of the lane's probe: +1 or -1.
__device__ __forceinline__ float probe_sign(const integrate_arguments &args, unsigned row, unsigned probe, int i) {
  const philox_words words = philox(args.seed, i / 128, args.row_base + row, philox_stream(STREAM_PROBE, 0, probe), 0);
  return (words.word[i / 32 % 4] >> (i % 32) & 1u) ? 1.0f : -1.0f;
}

// The tangent of z that trace number `probe` starts from, [D][32].
template <int D, bool PROBES>
__device__ __forceinline__ void tangent_start(float *tangent, const integrate_arguments &args, unsigned row,
                                              unsigned probe) {
  for (int i = tile_warp(); i < D; i += TILE_WARPS)
    tangent[i * TILE_ROWS + tile_lane()] = PROBES                 ? probe_sign(args, row, probe, i)
                                           : (unsigned)i == probe ? 1.0f
                                                                  : 0.0f;
}

// What it adds to the trace; every warp computes it alike.
template <int D, bool PROBES>
__device__ __forceinline__ float tangent_part(const float *out, const integrate_arguments &args, unsigned row,
                                              unsigned probe) {
  if (!PROBES) return out[probe * TILE_ROWS + tile_lane()];
  float sum = 0.0f;
  for (int i = 0; i < D; ++i) sum = fmaf(probe_sign(args, row, probe, i), out[i * TILE_ROWS + tile_lane()], sum);
  return sum / (float)args.probes;
}

// tangent = acc * slope of the layer; eight features from `first`.
__device__ __forceinline__ void tangent_finish(float (&acc)[8], int first, float *tangent, const float *slope) {
  if (slope) multiply_tile8(acc, slope, first);
  store_tile8(tangent, first, acc);
}

// The share of a stage in a step's integral: the same quadrature that the state gets.
template <int METHOD>
__device__ __forceinline__ float solver_share(int stage) {
  if (METHOD == SOLVE_MIDPOINT) return stage ? 1.0f : 0.0f;
  if (METHOD == SOLVE_HEUN) return 0.5f;
  if (METHOD == SOLVE_RK4) return stage == 0 || stage == 3 ? 1.0f / 6.0f : 1.0f / 3.0f;
  return 1.0f;
}

// -|z|^2 / 2 of the lane's row; the caller has passed a barrier since z was written.
template <int D>
__device__ __forceinline__ float normal_exponent(const float *z) {
  float sum = 0.0f;
  for (int i = 0; i < D; ++i) sum = fmaf(z[i * TILE_ROWS + tile_lane()], z[i * TILE_ROWS + tile_lane()], sum);
  return -0.5f * sum;
}
