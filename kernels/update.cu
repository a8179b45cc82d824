// From gradient slots to new parameters: sum the slots, clip, apply the optimizer, average the parameters.
//
//   reduce_update     everything in one pass (no clipping)
//   reduce_gradient   sums the slots into `gradient`, with partial squared norms per block
//   clip_update       the rest, once the norm can be known
//   ..._exempt        the same where some parameters are left out of weight decay
//   ..._blocks        the same for variant dt: every block by itself, with a loss and a clip of its own
//
// Four parameters a thread, UPDATE_THREADS threads a block; every sum has a fixed order, so results depend on nothing
// but the numbers. Block 0 of the last launch keeps the model's position and sums in train_state.
//
// Steps that are not finite: a loss that is not finite (each block sums the tails of the slots itself, all alike) or,
// with clipping, a gradient norm that is not finite leaves everything as it was. Without clipping an element of the
// gradient that is not finite leaves that element as it was. Both note the step in bad_step; later steps change
// nothing. "Later" is bad_step < running, never `halted`, which other blocks of the same launch may be writing.
#include "arguments.h"
#include "engine/options.h"

enum { UPDATE_THREADS = 128, UPDATE_PER_THREAD = 4, UPDATE_WARPS = UPDATE_THREADS / 32 };

namespace {

// What one step needs beside the gradient; the same in every block.
struct step_scalars {
  float learning_rate;
  float scale;                     // of the gradient, by clipping
  float norm;                      // before clipping
  float correction1, correction2;  // 1 / (1 - beta^n)
  int active;                      // 0: this step changes nothing
};

__device__ __forceinline__ float warp_total(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

// The sum over all slots of one of the terms at their ends; by a whole warp, all lanes receive it.
__device__ __forceinline__ float slot_term_total(const update_arguments &a, int term) {
  const float *tail = a.slots + a.slot_stride - SLOT_TERMS + term;
  float sum = 0.0f;
  for (unsigned slot = threadIdx.x & 31; slot < a.slot_count; slot += 32) sum += tail[slot * a.slot_stride];
  return warp_total(sum);
}

__device__ __forceinline__ float4 add(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

// Four parameters' gradient: slots in order, in four interleaved partial sums so that four loads are in flight.
__device__ __forceinline__ float4 sum_of_slots(const float *slots, unsigned long long stride, unsigned count,
                                               unsigned first) {
  const float *from = slots + first;
  float4 sum0 = make_float4(0.0f, 0.0f, 0.0f, 0.0f), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  unsigned slot = 0;
  for (; slot + 4 <= count; slot += 4, from += 4 * stride) {
    const float4 value0 = *reinterpret_cast<const float4 *>(from);
    const float4 value1 = *reinterpret_cast<const float4 *>(from + stride);
    const float4 value2 = *reinterpret_cast<const float4 *>(from + 2 * stride);
    const float4 value3 = *reinterpret_cast<const float4 *>(from + 3 * stride);
    sum0 = add(sum0, value0);
    sum1 = add(sum1, value1);
    sum2 = add(sum2, value2);
    sum3 = add(sum3, value3);
  }
  for (; slot < count; ++slot, from += stride) sum0 = add(sum0, *reinterpret_cast<const float4 *>(from));
  return add(add(sum0, sum1), add(sum2, sum3));
}

__device__ __forceinline__ float4 sum_slots(const update_arguments &a, unsigned first) {
  return sum_of_slots(a.slots, a.slot_stride, a.slot_count, first);
}

// The learning rate of step `step` (from 0).
__device__ __forceinline__ float rate_at(const update_arguments &a, unsigned step) {
  if (step < a.warmup_steps) return a.learning_rate * ((float)(step + 1) / (float)a.warmup_steps);
  if (a.rate_schedule == RATE_CONSTANT) return a.learning_rate;
  const unsigned decay = a.total_steps > a.warmup_steps ? a.total_steps - a.warmup_steps : 1;
  const float progress = fminf((float)(step - a.warmup_steps) / (float)decay, 1.0f);
  const float factor = a.rate_schedule == RATE_COSINE ? 0.5f * (1.0f + cospif(progress)) : 1.0f - progress;
  return a.learning_rate * factor;
}

// 1 / (1 - beta^n) without cancellation for beta near 1.
__device__ __forceinline__ float bias_correction(float beta, float n) {
  return -1.0f / expm1f(n * log1pf(beta - 1.0f));
}

// By the first warp of every block. `loss` gives the loss that must be finite.
template <typename LOSS>
__device__ __forceinline__ step_scalars make_scalars(const update_arguments &a, float norm, float scale, LOSS loss) {
  step_scalars s;
  const unsigned step = a.state->running;
  s.learning_rate = rate_at(a, step);
  s.norm = norm;
  s.scale = scale;
  s.correction1 = s.correction2 = 1.0f;
  if (a.optimizer == OPTIMIZER_ADAM || a.optimizer == OPTIMIZER_ADAMW) {
    s.correction1 = bias_correction(a.beta1, (float)step + 1.0f);
    s.correction2 = bias_correction(a.beta2, (float)step + 1.0f);
  }
  s.active = a.state->bad_step >= step && isfinite(loss()) && isfinite(norm);
  return s;
}

// By the first warp of block 0, in the last launch of a step. `total` gives the batch's sum of a term.
template <typename TOTAL>
__device__ __forceinline__ void finish_step(const update_arguments &a, const step_scalars &s, TOTAL total) {
  const float loss = total(SLOT_LOSS), flow = total(SLOT_FLOW);
  const float recon = total(SLOT_RECON), reg = total(SLOT_REG);
  if (threadIdx.x != 0) return;
  train_state *state = a.state;
  const unsigned step = state->running;
  if (s.active) {
    const unsigned done = step % a.steps_per_epoch * a.batch, left = a.rows_in_epoch - done;
    state->sums[SLOT_LOSS] += loss;
    state->sums[SLOT_FLOW] += flow;
    state->sums[SLOT_RECON] += recon;
    state->sums[SLOT_REG] += reg;
    state->steps_summed += 1;
    state->rows_summed += left < a.batch ? left : a.batch;
    state->gradient_norm = s.norm;
    state->learning_rate = s.learning_rate;
  } else if (state->bad_step >= step) {
    state->bad_term = !isfinite(flow)    ? SLOT_FLOW
                      : !isfinite(recon) ? SLOT_RECON
                      : !isfinite(reg)   ? SLOT_REG
                      : !isfinite(loss)  ? SLOT_LOSS
                                         : SLOT_TERMS;
    state->bad_step = step;
    state->halted = 1;
  }
  state->completed = step + 1;
}

// One parameter. Returns false, with nothing changed, if the gradient is not finite.
__device__ __forceinline__ bool update_one(const update_arguments &a, const step_scalars &s, float weight_decay,
                                           float gradient, float &parameter, float &moment1, float &moment2) {
  if (!isfinite(gradient)) return false;
  float g = gradient * s.scale;
  if (a.optimizer != OPTIMIZER_ADAMW) g += weight_decay * parameter;
  if (a.optimizer == OPTIMIZER_SGD) {
    if (a.momentum != 0.0f) {
      moment1 = a.momentum * moment1 + g;
      g = a.nesterov ? g + a.momentum * moment1 : moment1;
    }
    parameter -= s.learning_rate * g;
  } else if (a.optimizer == OPTIMIZER_ADAGRAD) {
    moment2 += g * g;
    parameter -= s.learning_rate * (g / (sqrtf(moment2) + a.epsilon));
  } else {
    moment1 = a.beta1 * moment1 + (1.0f - a.beta1) * g;
    moment2 = a.beta2 * moment2 + (1.0f - a.beta2) * (g * g);
    float change = (moment1 * s.correction1) / (sqrtf(moment2 * s.correction2) + a.epsilon);
    if (a.optimizer == OPTIMIZER_ADAMW) change += weight_decay * parameter;
    parameter -= s.learning_rate * change;
  }
  return true;
}

// tf32: ten bits of fraction, nearest, ties away from zero. Kernels for devices without it have no use for it.
__device__ __forceinline__ float round_tf32(float value) {
#if __CUDA_ARCH__ >= 800
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(reinterpret_cast<unsigned &>(value)) : "f"(value));
#endif
  return value;
}

// bf16: the upper half of a float, nearest, ties to even; NaN stays one.
__device__ __forceinline__ unsigned short round_bf16(float value) {
  const unsigned bits = __float_as_uint(value);
  if (isnan(value)) return 0x7fffu;
  return static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Number `at` of weights in fragment order.
__device__ __forceinline__ void write_fragment(unsigned *fragments, int form, int at, float value) {
  if (form == OPERANDS_BF16) {
    reinterpret_cast<unsigned short *>(fragments)[at] = round_bf16(value);
    return;
  }
  fragments[at] = __float_as_uint(round_tf32(value));
}

// The copies of a weight that the tensor-core kernels read.
__device__ __forceinline__ void write_fragments(const update_arguments &a, unsigned at, float parameter) {
  const int2 places = reinterpret_cast<const int2 *>(a.fragment_places)[at];
  if (places.x >= 0) write_fragment(a.fragments, a.fragment_form, places.x, parameter);
  if (places.y >= 0) write_fragment(a.fragments, a.fragment_form, places.y, parameter);
}

// Four parameters from their gradient; false if one of its elements is not finite. EXEMPT: weight decay ends at
// a.decayed, a multiple of 8.
template <bool EXEMPT>
__device__ __forceinline__ bool update_four(const update_arguments &a, const step_scalars &s, float4 gradient,
                                            unsigned first) {
  const float4 zero = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  float4 parameter = *reinterpret_cast<float4 *>(a.parameters + first);
  float4 moment1 = a.moment1 ? *reinterpret_cast<float4 *>(a.moment1 + first) : zero;
  float4 moment2 = a.moment2 ? *reinterpret_cast<float4 *>(a.moment2 + first) : zero;
  const float decay = EXEMPT && first >= a.decayed ? 0.0f : a.weight_decay;
  bool finite = update_one(a, s, decay, gradient.x, parameter.x, moment1.x, moment2.x);
  finite &= update_one(a, s, decay, gradient.y, parameter.y, moment1.y, moment2.y);
  finite &= update_one(a, s, decay, gradient.z, parameter.z, moment1.z, moment2.z);
  finite &= update_one(a, s, decay, gradient.w, parameter.w, moment1.w, moment2.w);
  *reinterpret_cast<float4 *>(a.parameters + first) = parameter;
  if (a.fragments) {
    write_fragments(a, first, parameter.x);
    write_fragments(a, first + 1, parameter.y);
    write_fragments(a, first + 2, parameter.z);
    write_fragments(a, first + 3, parameter.w);
  }
  if (a.moment1) *reinterpret_cast<float4 *>(a.moment1 + first) = moment1;
  if (a.moment2) *reinterpret_cast<float4 *>(a.moment2 + first) = moment2;
  if (a.average) {
    float4 average = *reinterpret_cast<float4 *>(a.average + first);
    average.x = a.ema * average.x + (1.0f - a.ema) * parameter.x;
    average.y = a.ema * average.y + (1.0f - a.ema) * parameter.y;
    average.z = a.ema * average.z + (1.0f - a.ema) * parameter.z;
    average.w = a.ema * average.w + (1.0f - a.ema) * parameter.w;
    *reinterpret_cast<float4 *>(a.average + first) = average;
  }
  return finite;
}

template <bool EXEMPT>
__device__ __forceinline__ void reduce_and_update(const update_arguments &a) {
  __shared__ step_scalars shared;
  if (threadIdx.x < 32) {
    const auto total = [&](int term) { return slot_term_total(a, term); };
    const step_scalars s = make_scalars(a, 0.0f, 1.0f, [&] { return total(SLOT_LOSS); });
    if (threadIdx.x == 0) shared = s;
    if (blockIdx.x == 0) finish_step(a, s, total);
  }
  const unsigned first = (blockIdx.x * UPDATE_THREADS + threadIdx.x) * UPDATE_PER_THREAD;
  float4 gradient = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (first < a.count) gradient = sum_slots(a, first);
  __syncthreads();
  const step_scalars s = shared;
  if (first < a.count && s.active && !update_four<EXEMPT>(a, s, gradient, first)) {
    a.state->bad_term = SLOT_TERMS;
    a.state->bad_step = a.state->running;
    a.state->halted = 1;
  }
}

template <bool EXEMPT>
__device__ __forceinline__ void clip_and_update(const update_arguments &a) {
  __shared__ step_scalars shared;
  if (threadIdx.x < 32) {
    float squares = 0.0f;
    for (unsigned block = threadIdx.x; block < gridDim.x; block += 32) squares += a.norm_partials[block];
    const float norm = sqrtf(warp_total(squares));
    const auto total = [&](int term) { return slot_term_total(a, term); };
    const step_scalars s =
        make_scalars(a, norm, fminf(1.0f, a.clip / (norm + 1e-6f)), [&] { return total(SLOT_LOSS); });
    if (threadIdx.x == 0) shared = s;
    if (blockIdx.x == 0) finish_step(a, s, total);
  }
  const unsigned first = (blockIdx.x * UPDATE_THREADS + threadIdx.x) * UPDATE_PER_THREAD;
  __syncthreads();
  const step_scalars s = shared;
  if (first < a.count && s.active)
    update_four<EXEMPT>(a, s, *reinterpret_cast<const float4 *>(a.gradient + first), first);
}

// ---- variant dt ----

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
  return sum_of_slots(share.embedding ? a.tails : a.slots, share.embedding ? a.tail_stride : a.slot_stride,
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
    const float loss = part_loss(a, block);
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
  if (share.live && s.active && !update_four<false>(a, s, gradient, share.first) && !CLIP) {
    a.state->bad_term = SLOT_TERMS;
    a.state->bad_step = a.state->running;
    a.state->halted = 1;
  }
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

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) reduce_update(const update_arguments a) {
  reduce_and_update<false>(a);
}

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) reduce_update_exempt(const update_arguments a) {
  reduce_and_update<true>(a);
}

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) make_fragments(const fragments_arguments a) {
  const unsigned at = blockIdx.x * UPDATE_THREADS + threadIdx.x;
  if (at >= a.count) return;
  const int source = a.sources[at];
  write_fragment(a.to, a.form, at, source >= 0 ? a.parameters[source] : 0.0f);
}

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) reduce_gradient(const update_arguments a) {
  __shared__ float partial[UPDATE_WARPS];
  const unsigned first = (blockIdx.x * UPDATE_THREADS + threadIdx.x) * UPDATE_PER_THREAD;
  float4 gradient = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (first < a.count) {
    gradient = sum_slots(a, first);
    *reinterpret_cast<float4 *>(a.gradient + first) = gradient;
  }
  if (!a.norm_partials) return;
  const float squares = warp_total((gradient.x * gradient.x + gradient.y * gradient.y) +
                                   (gradient.z * gradient.z + gradient.w * gradient.w));
  if ((threadIdx.x & 31) == 0) partial[threadIdx.x >> 5] = squares;
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0.0f;
    for (int warp = 0; warp < UPDATE_WARPS; ++warp) sum += partial[warp];
    a.norm_partials[blockIdx.x] = sum;
  }
}

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) clip_update(const update_arguments a) {
  clip_and_update<false>(a);
}

extern "C" __global__ void __launch_bounds__(UPDATE_THREADS) clip_update_exempt(const update_arguments a) {
  clip_and_update<true>(a);
}
