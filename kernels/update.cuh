// From gradient slots to new parameters: the building blocks of update.cu (kernels of their own) and of persistent.cuh
// (a phase of a kernel that runs many steps). Products and sums that could become one multiply-add are written out, so
// that both give the same bits whatever the compiler makes of them.
//
// Four parameters a thread, UPDATE_THREADS threads a block; every sum has a fixed order, so results depend on nothing
// but the numbers. Block 0 of the last launch keeps the model's position and sums in train_state.
//
// Steps that are not finite: a loss that is not finite (each block sums the tails of the slots itself, all alike) or,
// with clipping, a gradient norm that is not finite leaves everything as it was. Without clipping an element of the
// gradient that is not finite leaves that element as it was. Both note the step in bad_step; later steps change
// nothing. "Later" is bad_step < running, never `halted`, which other blocks of the same launch may be writing.
//
// Whoever includes this has the enumerators of engine/options.h for optimizers and rate schedules.
#pragma once

#include "arguments.h"

enum { UPDATE_THREADS = 128, UPDATE_PER_THREAD = 4, UPDATE_WARPS = UPDATE_THREADS / 32 };

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
  float vae = 0.0f, kl_z0 = 0.0f;
  if (a.coder_terms) vae = total(SLOT_VAE), kl_z0 = total(SLOT_KL_Z0);
  if (threadIdx.x != 0) return;
  train_state *state = a.state;
  const unsigned step = state->running;
  if (s.active) {
    const unsigned done = step % a.steps_per_epoch * a.batch, left = a.rows_in_epoch - done;
    state->sums[SLOT_LOSS] += loss;
    state->sums[SLOT_FLOW] += flow;
    state->sums[SLOT_RECON] += recon;
    state->sums[SLOT_REG] += reg;
    state->sums[SLOT_VAE] += vae;
    state->sums[SLOT_KL_Z0] += kl_z0;
    state->steps_summed += 1;
    state->rows_summed += left < a.batch ? left : a.batch;
    state->gradient_norm = s.norm;
    state->learning_rate = s.learning_rate;
  } else if (state->bad_step >= step) {
    state->bad_term = !isfinite(flow)    ? SLOT_FLOW
                      : !isfinite(recon) ? SLOT_RECON
                      : !isfinite(reg)   ? SLOT_REG
                      : !isfinite(vae)   ? SLOT_VAE
                      : !isfinite(kl_z0) ? SLOT_KL_Z0
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
  float g = __fmul_rn(gradient, s.scale);
  if (a.optimizer != OPTIMIZER_ADAMW) g = fmaf(weight_decay, parameter, g);
  if (a.optimizer == OPTIMIZER_SGD) {
    if (a.momentum != 0.0f) {
      moment1 = fmaf(a.momentum, moment1, g);
      g = a.nesterov ? fmaf(a.momentum, moment1, g) : moment1;
    }
    parameter = fmaf(-s.learning_rate, g, parameter);
  } else if (a.optimizer == OPTIMIZER_ADAGRAD) {
    moment2 = fmaf(g, g, moment2);
    parameter = fmaf(-s.learning_rate, g / (sqrtf(moment2) + a.epsilon), parameter);
  } else {
    moment1 = fmaf(a.beta1, moment1, __fmul_rn(1.0f - a.beta1, g));
    moment2 = fmaf(a.beta2, moment2, __fmul_rn(1.0f - a.beta2, __fmul_rn(g, g)));
    float change = __fmul_rn(moment1, s.correction1) / (sqrtf(__fmul_rn(moment2, s.correction2)) + a.epsilon);
    if (a.optimizer == OPTIMIZER_ADAMW) change = fmaf(weight_decay, parameter, change);
    parameter = fmaf(-s.learning_rate, change, parameter);
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
  const float high = round_tf32(value);
  if (form == OPERANDS_TF32X3) {  // two parts, 128 numbers' of each side by side (kernels/warp_operands.cuh)
    at += at & ~127;
    fragments[at + 128] = __float_as_uint(round_tf32(value - high));
  }
  fragments[at] = __float_as_uint(high);
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
    average.x = fmaf(a.ema, average.x, __fmul_rn(1.0f - a.ema, parameter.x));
    average.y = fmaf(a.ema, average.y, __fmul_rn(1.0f - a.ema, parameter.y));
    average.z = fmaf(a.ema, average.z, __fmul_rn(1.0f - a.ema, parameter.z));
    average.w = fmaf(a.ema, average.w, __fmul_rn(1.0f - a.ema, parameter.w));
    *reinterpret_cast<float4 *>(a.average + first) = average;
  }
  return finite;
}

// Notes an element of the gradient that is not finite.
__device__ __forceinline__ void note_bad_gradient(const update_arguments &a) {
  a.state->bad_term = SLOT_TERMS;
  a.state->bad_step = a.state->running;
  a.state->halted = 1;
}

// Everything in one pass, without clipping. `block`: which UPDATE_THREADS * UPDATE_PER_THREAD parameters; with MORE
// also those of block + stride, block + 2 stride and so on.
template <bool EXEMPT, bool MORE>
__device__ __forceinline__ void reduce_and_update(const update_arguments &a, unsigned block, unsigned stride) {
  __shared__ step_scalars shared;
  if (threadIdx.x < 32) {
    const auto total = [&](int term) { return slot_term_total(a, term); };
    const step_scalars s = make_scalars(a, 0.0f, 1.0f, [&] { return total(SLOT_LOSS); });
    if (threadIdx.x == 0) shared = s;
    if (block == 0) finish_step(a, s, total);
  }
  const unsigned first = (block * UPDATE_THREADS + threadIdx.x) * UPDATE_PER_THREAD;
  float4 gradient = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (first < a.count) gradient = sum_slots(a, first);
  __syncthreads();
  const step_scalars s = shared;
  if (first < a.count && s.active && !update_four<EXEMPT>(a, s, gradient, first)) note_bad_gradient(a);
  if constexpr (MORE) {
    const unsigned step = stride * UPDATE_THREADS * UPDATE_PER_THREAD;
    for (unsigned next = first + step; next < a.count && s.active; next += step)
      if (!update_four<EXEMPT>(a, s, sum_slots(a, next), next)) note_bad_gradient(a);
  }
}

// The block's part of the gradient, and of its squared norm where that is wanted.
__device__ __forceinline__ void sum_gradient(const update_arguments &a, unsigned block) {
  __shared__ float partial[UPDATE_WARPS];
  const unsigned first = (block * UPDATE_THREADS + threadIdx.x) * UPDATE_PER_THREAD;
  float4 gradient = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (first < a.count) {
    gradient = sum_slots(a, first);
    *reinterpret_cast<float4 *>(a.gradient + first) = gradient;
  }
  if (!a.norm_partials) return;
  const float squares = warp_total(fmaf(gradient.x, gradient.x, __fmul_rn(gradient.y, gradient.y)) +
                                   fmaf(gradient.z, gradient.z, __fmul_rn(gradient.w, gradient.w)));
  if ((threadIdx.x & 31) == 0) partial[threadIdx.x >> 5] = squares;
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0.0f;
    for (int warp = 0; warp < UPDATE_WARPS; ++warp) sum += partial[warp];
    a.norm_partials[block] = sum;
  }
}

// After sum_gradient of all `blocks` blocks. MORE as above.
template <bool EXEMPT, bool MORE>
__device__ __forceinline__ void clip_and_update(const update_arguments &a, unsigned block, unsigned blocks,
                                                unsigned stride) {
  __shared__ step_scalars shared;
  if (threadIdx.x < 32) {
    float squares = 0.0f;
    for (unsigned from = threadIdx.x; from < blocks; from += 32) squares += a.norm_partials[from];
    const float norm = sqrtf(warp_total(squares));
    const auto total = [&](int term) { return slot_term_total(a, term); };
    const step_scalars s =
        make_scalars(a, norm, fminf(1.0f, a.clip / (norm + 1e-6f)), [&] { return total(SLOT_LOSS); });
    if (threadIdx.x == 0) shared = s;
    if (block == 0) finish_step(a, s, total);
  }
  const unsigned first = (block * UPDATE_THREADS + threadIdx.x) * UPDATE_PER_THREAD;
  __syncthreads();
  const step_scalars s = shared;
  if (first < a.count && s.active)
    update_four<EXEMPT>(a, s, *reinterpret_cast<const float4 *>(a.gradient + first), first);
  if constexpr (MORE) {
    const unsigned step = stride * UPDATE_THREADS * UPDATE_PER_THREAD;
    for (unsigned next = first + step; next < a.count && s.active; next += step)
      update_four<EXEMPT>(a, s, *reinterpret_cast<const float4 *>(a.gradient + next), next);
  }
}
