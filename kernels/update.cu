// From gradient slots to new parameters: sum the slots, clip, apply the optimizer, average the parameters.
//
//   reduce_update     everything in one pass (no clipping)
//   reduce_gradient   sums the slots into `gradient`, with partial squared norms per block
//   clip_update       the rest, once the norm can be known
//   ..._exempt        the same where some parameters are left out of weight decay
//   make_fragments    weights in fragment order, for kernels on tensor cores
#include "engine/options.h"
#include "update.cuh"

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) reduce_update(const update_arguments a) {
  reduce_and_update<false, false>(a, blockIdx.x, gridDim.x);
}

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) reduce_update_exempt(const update_arguments a) {
  reduce_and_update<true, false>(a, blockIdx.x, gridDim.x);
}

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) make_fragments(const fragments_arguments a) {
  const unsigned at = blockIdx.x * UPDATE_THREADS + threadIdx.x;
  if (at >= a.count) return;
  const int source = a.sources[at];
  write_fragment(a.to, a.form, at, source >= 0 ? a.parameters[source] : 0.0f);
}

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) reduce_gradient(const update_arguments a) {
  sum_gradient(a, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) clip_update(const update_arguments a) {
  clip_and_update<false, false>(a, blockIdx.x, gridDim.x, gridDim.x);
}

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) clip_update_exempt(const update_arguments a) {
  clip_and_update<true, false>(a, blockIdx.x, gridDim.x, gridDim.x);
}
