// The end of a solve with a decoder: the state as it is, and what the decoder made of it.
#pragma once

#include "objective.cuh"
#include "solver.cuh"

// The state that a row's solve left at a point of its trajectory; a thread reads what it has written.
template <int D>
__device__ __forceinline__ void read_state(const integrate_arguments &args, float *z, unsigned row, bool live,
                                           unsigned slice) {
  if (!live) return;
  const unsigned long long base = (unsigned long long)slice * args.rows + row;
  for (int i = tile_warp(); i < D; i += TILE_WARPS) z[i * TILE_ROWS + tile_lane()] = args.latent[base * D + i];
}

// latent [slices][rows][D] and output [slices][rows][Y] = decoded * scale + shift; SOFTMAX: probabilities of Y classes.
template <int D, int Y, bool SOFTMAX>
__device__ __forceinline__ void write_decoded(const integrate_arguments &args, const float *z, const float *decoded,
                                              unsigned row, bool live, unsigned slice) {
  if (!live) return;
  const unsigned long long base = (unsigned long long)slice * args.rows + row;
  if (args.latent)
    for (int i = tile_warp(); i < D; i += TILE_WARPS) args.latent[base * D + i] = z[i * TILE_ROWS + tile_lane()];
  if (!args.output) return;
  float2 softmax = make_float2(0.0f, 0.0f);
  if (SOFTMAX) softmax = softmax_of<Y>(decoded);
  for (int i = tile_warp(); i < Y; i += TILE_WARPS) {
    float value = decoded[i * TILE_ROWS + tile_lane()];
    if (SOFTMAX) value = expf(value - softmax.x) * softmax.y;
    args.output[base * Y + i] = fmaf(value, __ldg(args.output_scale + i), __ldg(args.output_shift + i));
  }
}
