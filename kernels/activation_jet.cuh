// Activations, and the functions that normalisations are made of, with their first three derivatives: what fields that
// are derivatives of a network need (engine/field_graph.h). Forms below 64 are those of activation.cuh.
#pragma once

#include "activation.cuh"

enum { JET_EXP = 64, JET_LOG, JET_RECIPROCAL, JET_RSQRT };  // enum field_function
#define JET_EPSILON 1.0e-5f

// Value and three derivatives of a function.
struct jet {
  float order[4];
};

// Of sigmoid: with c = 1 - s, s' = s c, s'' = s' (c - s), s''' = s'' (c - s) - 2 s'^2. Both s and c come from
// e = exp(-|p|), without cancellation: gelu multiplies them by powers of p.
__device__ __forceinline__ jet sigmoid_jet(float p) {
  const float e = __expf(-fabsf(p)), large = __fdividef(1.0f, 1.0f + e), small = e * large;
  const float s = p > 0.0f ? large : small, c = p > 0.0f ? small : large;
  const float s1 = s * c, s2 = s1 * (c - s);
  return {s, s1, s2, fmaf(s2, c - s, -2.0f * s1 * s1)};
}

template <int FORM>
__device__ __forceinline__ jet jet_of(float p) {
  if (FORM == ACT_SWISH) {
    const jet s = sigmoid_jet(p);
    return {p * s.order[0], fmaf(p, s.order[1], s.order[0]), fmaf(p, s.order[2], 2.0f * s.order[1]),
            fmaf(p, s.order[3], 3.0f * s.order[2])};
  }
  if (FORM == ACT_GELU) {
    // p sigmoid(w(p)), w = k (p + a p^3).
    const float k = 1.5957691216f, a = 0.044715f, square = p * p;
    const jet s = sigmoid_jet(k * p * fmaf(a, square, 1.0f));
    const float w1 = k * fmaf(3.0f * a, square, 1.0f), w2 = 6.0f * k * a * p, w3 = 6.0f * k * a;
    const float g1 = s.order[1] * w1, g2 = fmaf(s.order[2], w1 * w1, s.order[1] * w2);
    const float g3 = fmaf(s.order[3], w1 * w1 * w1, fmaf(3.0f * s.order[2], w1 * w2, s.order[1] * w3));
    return {p * s.order[0], fmaf(p, g1, s.order[0]), fmaf(p, g2, 2.0f * g1), fmaf(p, g3, 3.0f * g2)};
  }
  if (FORM == ACT_SIGMOID) return sigmoid_jet(p);
  if (FORM == ACT_TANH) {
    const float t = tanhf(p), t1 = 1.0f - t * t;
    return {t, t1, -2.0f * t * t1, t1 * fmaf(6.0f * t, t, -2.0f)};
  }
  if (FORM == ACT_SOFTPLUS) {
    const jet s = sigmoid_jet(p);
    return {activate<ACT_SOFTPLUS>(p).value, s.order[0], s.order[1], s.order[2]};
  }
  if (FORM == ACT_ELU || FORM == ACT_SELU) {
    const activated a = activate<FORM>(p);
    const float bend = p > 0.0f ? 0.0f : a.slope;
    return {a.value, a.slope, bend, bend};
  }
  if (FORM == JET_EXP) {
    const float e = expf(p);
    return {e, e, e, e};
  }
  if (FORM == JET_LOG) {
    const float r = 1.0f / p;
    return {logf(p), r, -r * r, 2.0f * r * r * r};
  }
  if (FORM == JET_RECIPROCAL) {
    const float r = 1.0f / p;
    return {r, -r * r, 2.0f * r * r * r, -6.0f * r * r * r * r};
  }
  if (FORM == JET_RSQRT) {
    const float v = p + JET_EPSILON, r = 1.0f / sqrtf(v), r2 = r * r;
    return {r, -0.5f * r * r2, 0.75f * r * r2 * r2, -1.875f * r * r2 * r2 * r2};
  }
  const activated a = activate<FORM>(p);  // linear, relu, leaky_relu: no derivatives beyond the first
  return {a.value, a.slope, 0.0f, 0.0f};
}
