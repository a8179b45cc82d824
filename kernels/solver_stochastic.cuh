// Stochastic solves: the reverse SDE and the family of equal marginals between it and the probability-flow ODE (survey
// 1.1). With churn c, la = a'/a and r = (ln a/b)':
//   dz = (la z + (1 + c^2) r (a x^ - z)) dt + c b sqrt(2 r) dW        c = 0: the ODE, c = 1: the reverse process
#pragma once

#include "solver.cuh"

// The drift above as a linear form of output and state.
__device__ __forceinline__ prediction_form stochastic_form(const objective_description &objective,
                                                           const path_point &point, float churn) {
  const float square = churn * churn;
  const float la = objective.path == PATH_LINEAR ? 1.0f / point.a : 0.5f * point.gamma_prime * point.noise;
  prediction_form form = form_at(objective, point, DRIVE_ODE);
  form.vp *= 1.0f + square;
  form.vz = fmaf(1.0f + square, form.vz, -square * la);
  return form;
}

// Standard deviation of the noise of an Euler-Maruyama step (2 r = gamma').
__device__ __forceinline__ float stochastic_deviation(const path_point &point, float churn, float width) {
  return churn * sqrtf(point.gamma_prime * point.noise * width);
}

// The step of the SDE that is exact for a constant target: deviations from a x^ shrink by b'/b exp(-c^2 h), h = half
// the rise of gamma, and noise of variance b'^2 (1 - exp(-2 c^2 h)) is added; c = 1: SDE-DPM-Solver++ (Lu et al.,
// "DPM-Solver++", 2022, section 6 and appendix). Deviation of the noise: *deviation.
__device__ __forceinline__ exponential_step stochastic_step_at(const objective_description &objective,
                                                               const schedule_description &schedule, float t0, float t1,
                                                               unsigned step, float &last_width, float churn,
                                                               float *deviation) {
  exponential_step result = exponential_step_at(objective, schedule, t0, t1, step, last_width);
  const float rate = churn * churn * last_width;  // last_width is this step's by now
  const path_point from = path_at(objective, schedule, t0), to = path_at(objective, schedule, t1);
  result.keep *= expf(-rate);
  result.gain = to.a - from.a * result.keep;
  *deviation = to.b * sqrtf(-expm1f(-2.0f * rate));
  return result;
}

// z += deviation * noise; a thread takes the elements that it owns (solver.cuh).
template <int D>
__device__ __forceinline__ void solver_add_noise(float *z, const float *noise, float deviation) {
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    z[at] = fmaf(deviation, noise[at], z[at]);
  }
}
