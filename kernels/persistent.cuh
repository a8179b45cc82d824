// Many training steps in one cooperative launch: what a step's kernels do, with barriers of the whole grid between.
//
// The grid has a block for every gradient slot, all of them resident (the launch is cooperative, so the driver sees to
// that). A block fills its slot; then the blocks share the update, block b of it what blocks b, b + grid, b + 2 grid
// ... of the update kernels do. All sums have the order that they have there, so the parameters have the same bits.
//
// Weights change during the launch: they are read by plain loads (load_parameter(), load_fragments()), not through the
// read-only cache. The barrier's fences order the writes of one phase before the reads of the next in all blocks, and
// empty the L1.
#pragma once

#include "grid_barrier.cuh"
#include "update.cuh"

// The update phase of a step: with clipping the gradient and its norm first.
template <bool CLIP, bool EXEMPT>
__device__ __forceinline__ void update_phase(const persistent_arguments &a) {
  if constexpr (CLIP) {
    for (unsigned block = blockIdx.x; block < a.update_blocks; block += gridDim.x) {
      sum_gradient(a.update, block);
      __syncthreads();
    }
    grid_barrier(a.barrier);
    clip_and_update<EXEMPT, true>(a.update, blockIdx.x, a.update_blocks, gridDim.x);
  } else {
    reduce_and_update<EXEMPT, true>(a.update, blockIdx.x, gridDim.x);
  }
}
