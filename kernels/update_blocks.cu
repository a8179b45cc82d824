// The update of variant dt: every block of the model by itself, with a loss and a clip of its own, and behind them the
// classifier and the embeddings. A module of its own, since other models need not load it.
//
//   reduce_update_blocks, reduce_gradient_blocks, clip_update_blocks     as those of update.cu
#include "engine/options.h"
#include "update.cuh"

namespace {

enum { UPDATE_BLOCK = UPDATE_THREADS * UPDATE_PER_THREAD };

// Blocks of threads that `floats` parameters take.
__device__ __forceinline__ unsigned shares_of(unsigned floats) { return (floats + UPDATE_BLOCK - 1) / UPDATE_BLOCK; }

__device__ __forceinline__ unsigned parts_of(const update_arguments &a) {
  return a.blocks + (a.classifier_floats ? 1 : 0);
}

// What this block of threads works on: part `part` (a block of the model, behind them the classifier, behind it the
// embeddings), and which of its parameters this thread has.
struct block_share {
  unsigned part;
  unsigned first;              // parameter
  unsigned gradient;           // in a slot, or in a tail
  unsigned partial, partials;  // first of the part's partial squares, and their number
  unsigned index;              // of this block of threads among them
  bool embedding, live;
};

__device__ __forceinline__ block_share share_of(const update_arguments &a) {
  const unsigned shares = shares_of(a.block_floats), behind = a.blocks * a.block_floats;
  const unsigned here = min(a.block_count, a.blocks - min(a.first_block, a.blocks));
  const unsigned classifier = a.first_block + a.block_count > a.blocks ? shares_of(a.classifier_floats) : 0;
  block_share share = {};
  unsigned size;
  if (blockIdx.x < here * shares) {
    share.part = a.first_block + blockIdx.x / shares;
    share.index = blockIdx.x % shares;
    share.first = share.part * a.block_floats;
    share.gradient = blockIdx.x / shares * a.block_floats;
    share.partial = share.part * shares;
    size = a.block_floats;
  } else if (blockIdx.x < here * shares + classifier) {
    share.part = a.blocks;
    share.index = blockIdx.x - here * shares;
    share.first = behind;
    share.gradient = here * a.block_floats;
    share.partial = a.blocks * shares;
    size = a.classifier_floats;
  } else {
    share.embedding = true;
    share.part = a.blocks + 1;
    share.index = blockIdx.x - here * shares - classifier;
    share.first = behind + a.classifier_floats;
    share.partial = a.blocks * shares + shares_of(a.classifier_floats);
    size = a.embedding_floats;
  }
  const unsigned within = (share.index * UPDATE_THREADS + threadIdx.x) * UPDATE_PER_THREAD;
  share.partials = shares_of(size);
  share.first += within;
  share.gradient += within;
  share.live = within < size;
  return share;
}

// Four parameters' gradient: of embeddings the sum over the tails of all parts.
__device__ __forceinline__ float4 sum_share(const update_arguments &a, const block_share &share) {
  const unsigned count = share.embedding ? parts_of(a) * a.slot_count : a.slot_count;
  // Both are read before one is chosen: an argument at an address that is not constant is slow on a GPU and is not
  // translated by the virtual one.
  const float *tails = a.tails, *slots = a.slots;
  asm("" : "+l"(tails), "+l"(slots));
  return sum_of_slots(share.embedding ? tails : slots, share.embedding ? a.tail_stride : a.slot_stride,
                      share.live ? count : 0, share.gradient);
}

// Sum of a term over tails first .. first + count - 1; by a whole warp, all lanes receive it.
__device__ __forceinline__ float tail_total(const update_arguments &a, unsigned first, unsigned count, int term) {
  const float *terms = a.tails + a.tail_stride - SLOT_TERMS + term;
  float sum = 0.0f;
#pragma unroll 1
  for (unsigned tail = threadIdx.x & 31; tail < count; tail += 32) sum += terms[(first + tail) * a.tail_stride];
  return warp_total(sum);
}

__device__ __forceinline__ float batch_total(const update_arguments &a, int term) {
  return tail_total(a, 0, parts_of(a) * a.slot_count, term);
}

// The loss that a part's parameters depend on; all of them for embeddings.
__device__ __forceinline__ float part_loss(const update_arguments &a, unsigned part) {
  return part < parts_of(a) ? tail_total(a, part * a.slot_count, a.slot_count, SLOT_LOSS) : batch_total(a, SLOT_LOSS);
}

// The norm of a gradient from its partial squares.
__device__ __forceinline__ float partial_norm(const update_arguments &a, unsigned first, unsigned count) {
  float squares = 0.0f;
  for (unsigned i = threadIdx.x & 31; i < count; i += 32) squares += a.norm_partials[first + i];
  return sqrtf(warp_total(squares));
}

// By the first warp of block 0 of a step's last launch: sums over all parts, and each block's own. Parts whose loss or
// gradient is not finite have been left as they were; the step counts as not finite.
template <bool CLIP>
__device__ __forceinline__ void finish_blocks(const update_arguments &a) {
  const unsigned shares = shares_of(a.block_floats);
  float squares = 0.0f;
  if (CLIP) {
#pragma unroll 1
    for (unsigned block = 0; block < a.blocks; ++block) {
      const float norm = partial_norm(a, block * shares, shares);
      squares += norm * norm;
      if (threadIdx.x == 0) a.block_norms[block] = norm;
    }
    const float rest =
        partial_norm(a, a.blocks * shares, shares_of(a.classifier_floats) + shares_of(a.embedding_floats));
    squares += rest * rest;
  }
  const auto total = [&](int term) { return batch_total(a, term); };
  const step_scalars s = make_scalars(a, sqrtf(squares), 1.0f, [&] { return total(SLOT_LOSS); });
  finish_step(a, s, total);
  if (!s.active) return;
#pragma unroll 1
  for (unsigned block = 0; block < a.blocks; ++block) {
    const float loss = tail_total(a, block * a.slot_count, a.slot_count, SLOT_FLOW);
    if (threadIdx.x == 0) a.block_sums[block] += loss;
  }
}

template <bool CLIP>
__device__ __forceinline__ void update_blocks(const update_arguments &a) {
  __shared__ step_scalars shared;
  const block_share share = share_of(a);
  if (threadIdx.x < 32) {
    const float norm = CLIP ? partial_norm(a, share.partial, share.partials) : 0.0f;
    const float scale = CLIP ? fminf(1.0f, a.clip / (norm + 1e-6f)) : 1.0f;
    const step_scalars s = make_scalars(a, norm, scale, [&] { return part_loss(a, share.part); });
    if (threadIdx.x == 0) shared = s;
    if (a.finish && blockIdx.x == 0) finish_blocks<CLIP>(a);
  }
  float4 gradient = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (!CLIP)
    gradient = sum_share(a, share);
  else if (share.live)
    gradient = *reinterpret_cast<const float4 *>(a.gradient + share.first);
  __syncthreads();
  const step_scalars s = shared;
  if (share.live && s.active && !update_four<false>(a, s, gradient, share.first) && !CLIP) note_bad_gradient(a);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) reduce_update_blocks(const update_arguments a) {
  update_blocks<false>(a);
}

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) clip_update_blocks(const update_arguments a) {
  update_blocks<true>(a);
}

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) reduce_gradient_blocks(const update_arguments a) {
  __shared__ float partial[UPDATE_WARPS];
  const block_share share = share_of(a);
  const float4 gradient = sum_share(a, share);
  if (share.live) *reinterpret_cast<float4 *>(a.gradient + share.first) = gradient;
  if (!a.norm_partials) return;
  const float squares = warp_total((gradient.x * gradient.x + gradient.y * gradient.y) +
                                   (gradient.z * gradient.z + gradient.w * gradient.w));
  if ((threadIdx.x & 31) == 0) partial[threadIdx.x >> 5] = squares;
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0.0f;
    for (int warp = 0; warp < UPDATE_WARPS; ++warp) sum += partial[warp];
    a.norm_partials[share.partial + share.index] = sum;
  }
}
