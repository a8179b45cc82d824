// Activations: value and derivative at once (survey 5.6; gelu in its tanh form). The numbers are those of
// enum activation in engine/options.h, passed as template arguments by the generated kernel.
#pragma once

struct activated {
  float value, slope;
};

enum activation_form {
  ACT_LINEAR,
  ACT_RELU,
  ACT_LEAKY_RELU,
  ACT_GELU,
  ACT_SWISH,
  ACT_SIGMOID,
  ACT_TANH,
  ACT_SOFTPLUS,
  ACT_ELU,
  ACT_SELU
};

// exp(-p) as a power of two, in one special-function operation; below 2^-126 it is zero, which spares what scales
// subnormal results.
__device__ __forceinline__ float exp_negated(float p) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(p * -1.4426950408889634f));
  return power;
}

// Two special-function operations and no slow path. exp(-p) = 2^(-p log2 e) has the relative error (|p| + 4) eps,
// eps = 2^-24, which reaches the result times 1 - sigmoid(p) only; the quotient adds 3 eps. Beside 1 a subnormal
// power is nothing.
__device__ __forceinline__ float sigmoid(float p) { return __fdividef(1.0f, 1.0f + exp_negated(p)); }

// tanh in one special-function operation: relative error 2^-11 ("PTX ISA", tanh.approx.f32), of compute capability 7.5.
__device__ __forceinline__ float tanh_approximate(float p) {
  float value;
  asm("tanh.approx.f32 %0, %1;" : "=f"(value) : "f"(p));
  return value;
}

template <int FORM>
__device__ __forceinline__ activated activate(float p) {
  if (FORM == ACT_RELU) return {fmaxf(p, 0.0f), p > 0.0f ? 1.0f : 0.0f};
  if (FORM == ACT_LEAKY_RELU) return {p > 0.0f ? p : 0.01f * p, p > 0.0f ? 1.0f : 0.01f};
  if (FORM == ACT_GELU) {
    // tanh(u) = 2 sigmoid(2u) - 1, so that gelu = p sigmoid(2u), u = sqrt(2/pi) (p + 0.044715 p^3).
    const float square = p * p, s = sigmoid(1.5957691216f * p * (1.0f + 0.044715f * square));
    return {p * s, s + p * s * (1.0f - s) * 1.5957691216f * (1.0f + 0.134145f * square)};
  }
  if (FORM == ACT_SWISH) {
    const float s = sigmoid(p), value = p * s;
    return {value, s + value * (1.0f - s)};
  }
  if (FORM == ACT_SIGMOID) {
    const float s = sigmoid(p);
    return {s, s * (1.0f - s)};
  }
  if (FORM == ACT_TANH) {
    const float value = tanhf(p);
    return {value, 1.0f - value * value};
  }
  if (FORM == ACT_SOFTPLUS) return {fmaxf(p, 0.0f) + log1pf(expf(-fabsf(p))), sigmoid(p)};
  if (FORM == ACT_ELU || FORM == ACT_SELU) {
    const float scale = FORM == ACT_SELU ? 1.0507009873554805f : 1.0f;
    const float alpha = FORM == ACT_SELU ? 1.6732632423543772f : 1.0f;
    return {p > 0.0f ? scale * p : scale * alpha * expm1f(p), p > 0.0f ? scale : scale * alpha * expf(p)};
  }
  return {p, 1.0f};
}

// The same functions with one special-function operation instead of two or more, for kernels whose factors are rounded
// to ten bits or fewer. With |error of tanh| <= 2^-11 |tanh|: sigmoid(p) = (1 + tanh(p/2))/2 errs by at most 2^-12,
// swish = p sigmoid(p) and gelu by 2^-12 |p|, absolutely, tanh by 2^-11 of its value; slopes of sigmoid by 2^-12, of
// tanh by 2^-10, of swish and gelu by 2^-12 times the slope's own derivative with respect to sigmoid, 1 + |p|. Rounding
// a factor to tf32 errs by 2^-11 of it, to bf16 by 2^-8. Names of kernels' calls say which form they take.
__device__ __forceinline__ float sigmoid_approximate(float p) { return fmaf(0.5f, tanh_approximate(0.5f * p), 0.5f); }

template <int FORM>
__device__ __forceinline__ activated activate_approximate(float p) {
  if (FORM == ACT_GELU) {
    const float square = p * p, s = sigmoid_approximate(1.5957691216f * p * (1.0f + 0.044715f * square));
    return {p * s, s + p * s * (1.0f - s) * 1.5957691216f * (1.0f + 0.134145f * square)};
  }
  if (FORM == ACT_SWISH) {
    const float s = sigmoid_approximate(p), value = p * s;
    return {value, s + value * (1.0f - s)};
  }
  if (FORM == ACT_SIGMOID) {
    const float s = sigmoid_approximate(p);
    return {s, s * (1.0f - s)};
  }
  if (FORM == ACT_TANH) {
    const float value = tanh_approximate(p);
    return {value, 1.0f - value * value};
  }
  return activate<FORM>(p);
}
