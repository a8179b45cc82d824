// The gradient of a row's loss with respect to gamma and gamma' at its time, and from there with respect to the numbers
// of a schedule that is trained. Only kernels of learnable schedules include this.
//
// On the VP path everything that the objective takes from the schedule is a product of powers of a = sqrt(alpha_bar),
// b = sqrt(1 - alpha_bar) and gamma', with d ln a/d gamma = b^2/2, d ln b/d gamma = -a^2/2. The loss depends on them
// through the state z_t = a z1 + b e (whose gradient state_gradient.cuh makes), the weights, the target estimate, the
// field and, where the velocity is predicted, the truth.
#pragma once

#include "schedule_tangent.h"
#include "state_gradient.cuh"

// Derivatives by gamma and gamma'.
struct gamma_slope {
  float gamma, prime;
};

__device__ __forceinline__ gamma_slope operator*(float factor, gamma_slope slope) {
  return {factor * slope.gamma, factor * slope.prime};
}
__device__ __forceinline__ void add_to(gamma_slope &sum, float factor, gamma_slope slope) {
  sum.gamma = fmaf(factor, slope.gamma, sum.gamma);
  sum.prime = fmaf(factor, slope.prime, sum.prime);
}

// Of ln weight_at.
__device__ __forceinline__ gamma_slope weight_slope(const objective_description &objective, const path_point &point) {
  const float inverse = 1.0f / point.gamma_prime;
  const bool elbo = objective.weight == WEIGH_ELBO, min_snr = objective.weight == WEIGH_MIN_SNR;
  if (elbo || min_snr || objective.weight == WEIGH_SNR_PRIME) {
    // The target's weight: SNR', or where it is not at the cap SNR or SNR'.
    const float snr = point.signal / point.noise;
    gamma_slope slope = {1.0f, min_snr ? 0.0f : inverse};
    if (!elbo && (min_snr ? snr : point.gamma_prime * snr) >= objective.cap) slope = {0.0f, 0.0f};
    // (d target/d prediction)^2: 1/SNR, b^2, 4/(gamma'^2 a^2).
    if (objective.prediction == PREDICT_NOISE) slope.gamma -= 1.0f;
    if (objective.prediction == PREDICT_V) slope.gamma -= point.signal;
    if (objective.prediction == PREDICT_VELOCITY) {
      slope.gamma -= point.noise;
      slope.prime -= 2.0f * inverse;
    }
    return slope;
  }
  if (objective.weight == WEIGH_INVERSE_SNR) return {-1.0f, 0.0f};
  if (objective.weight == WEIGH_DRIFT) return {point.signal, -inverse};
  if (objective.weight == WEIGH_VP_VELOCITY) return {point.signal - point.noise, -inverse};
  return {0.0f, 0.0f};
}

// Of the coefficients of form_at.
struct form_slopes {
  gamma_slope xp, xz, vp, vz;
};

__device__ __forceinline__ form_slopes form_slopes_at(const objective_description &objective, const path_point &point,
                                                      const prediction_form &form, int drift) {
  const float inverse = 1.0f / point.gamma_prime, g = point.gamma_prime;
  const float by_a = 0.5f * point.noise, by_b = -0.5f * point.signal;  // d ln a, d ln b
  form_slopes slopes = {{0.0f, 0.0f}, {0.0f, 0.0f}, {0.0f, 0.0f}, {0.0f, 0.0f}};
  if (objective.prediction == PREDICT_NOISE) {  // -b/a, 1/a; g b and g b^2 in both drifts
    slopes.xp = {form.xp * (by_b - by_a), 0.0f};
    slopes.xz = {-form.xz * by_a, 0.0f};
    slopes.vp = form.vp * gamma_slope{by_b, inverse};
    slopes.vz = form.vz * gamma_slope{2.0f * by_b, inverse};
  } else if (objective.prediction == PREDICT_TARGET) {  // g a, and g a^2 or g (1 + a^2)/2
    slopes.vp = form.vp * gamma_slope{by_a, inverse};
    const float factor = drift == DRIVE_OU_MEAN ? point.signal / (1.0f + point.signal) : 1.0f;
    slopes.vz = form.vz * gamma_slope{2.0f * by_a * factor, inverse};
  } else if (objective.prediction == PREDICT_V) {  // -b, a; g a b, and g b^2 or 0
    slopes.xp = {form.xp * by_b, 0.0f};
    slopes.xz = {form.xz * by_a, 0.0f};
    slopes.vp = form.vp * gamma_slope{by_a + by_b, inverse};
    slopes.vz = form.vz * gamma_slope{2.0f * by_b, inverse};
  } else {  // 2/(g a), a; 1 and 0, or 2 and -g b^2/2
    slopes.xp = form.xp * gamma_slope{-by_a, -inverse};
    slopes.xz = {form.xz * by_a, 0.0f};
    if (drift == DRIVE_OU_MEAN) slopes.vz = {0.5f * g * point.noise * point.signal, -0.5f * point.noise};
  }
  return slopes;
}

// What this warp's features add to the derivatives of the lane's row, times the row's share; state_gradient holds the
// whole dL/dz_t. Call finish_state_gradient before.
template <int D>
__device__ __forceinline__ gamma_slope row_gamma_slope(const objective_description &objective, const path_point &point,
                                                       float weight, float share, const float *out, const float *z,
                                                       const float *z1, const float *noise,
                                                       const float *state_gradient) {
  gamma_slope sum = {0.0f, 0.0f};
  if (share == 0.0f) return sum;
  row_objective row = row_objective_at(objective, point, weight);
  if (objective.cross_entropy) row.softmax = softmax_of<D>(out);
  const gamma_slope by_weight = weight_slope(objective, point), snr_prime = {1.0f, 1.0f / point.gamma_prime};
  const gamma_slope by_recon = objective.recon_weighting == TERM_SAME    ? by_weight
                               : objective.recon_weighting == TERM_PLAIN ? gamma_slope{0.0f, 0.0f}
                                                                         : snr_prime;
  const gamma_slope by_reg = objective.reg_weighting == TERM_SAME    ? by_weight
                             : objective.reg_weighting == TERM_PLAIN ? gamma_slope{0.0f, 0.0f}
                                                                     : snr_prime;
  const form_slopes by_form = form_slopes_at(objective, point, row.form, objective.reg_drift);
  const float a_slope = 0.5f * point.a * point.noise, b_slope = -0.5f * point.b * point.signal;
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    const float p = out[at];
    sum.gamma = fmaf(state_gradient[at], fmaf(a_slope, z1[at], b_slope * noise[at]), sum.gamma);
    if (objective.cross_entropy) {
      const float label = z1[at] == 1.0f ? share : 0.0f;
      add_to(sum, -label * row.weight * (p - row.softmax.x + logf(row.softmax.y)), by_weight);
      continue;
    }
    const float truth = truth_of(objective, point, z1[at], noise[at]), error = p - truth;
    add_to(sum, share * row.weight / D * error * error, by_weight);
    if (objective.prediction == PREDICT_VELOCITY) {
      // truth = g/2 (a b^2 z1 - a^2 b e).
      const float half = 0.5f * point.gamma_prime * point.a * point.b;
      const float by_gamma = half * (point.b * (0.5f * point.noise - point.signal) * z1[at] -
                                     point.a * (point.noise - 0.5f * point.signal) * noise[at]);
      add_to(sum, -2.0f * share * row.weight / D * error, {by_gamma, truth / point.gamma_prime});
    }
    if (objective.prediction == PREDICT_V)  // truth = a e - b z1
      sum.gamma = fmaf(-2.0f * share * row.weight / D * error, fmaf(a_slope, noise[at], -b_slope * z1[at]), sum.gamma);
    if (objective.recon != 0.0f) {
      const float miss = fmaf(row.form.xp, p, row.form.xz * z[at]) - z1[at];
      const float factor = objective.recon * share * row.recon_weight / D * miss;
      add_to(sum, factor * miss, by_recon);
      add_to(sum, 2.0f * factor * p, by_form.xp);
      add_to(sum, 2.0f * factor * z[at], by_form.xz);
    }
    if (objective.reg != 0.0f) {
      const float field = fmaf(row.form.vp, p, row.form.vz * z[at]);
      const float factor = objective.reg * share * row.reg_weight / D * field;
      add_to(sum, factor * field, by_reg);
      add_to(sum, 2.0f * factor * p, by_form.vp);
      add_to(sum, 2.0f * factor * z[at], by_form.vz);
    }
  }
  return sum;
}

// The warps' parts of a row together, in every warp. `scratch`: [2][128]; barriers inside.
__device__ __forceinline__ gamma_slope gather_gamma_slope(const gamma_slope &part, float *scratch) {
  const int at = tile_warp() * TILE_ROWS + tile_lane();
  __syncthreads();
  scratch[at] = part.gamma;
  scratch[TILE_WARPS * TILE_ROWS + at] = part.prime;
  __syncthreads();
  gamma_slope sum = {0.0f, 0.0f};
  for (int warp = 0; warp < TILE_WARPS; ++warp) {
    sum.gamma += scratch[warp * TILE_ROWS + tile_lane()];
    sum.prime += scratch[(TILE_WARPS + warp) * TILE_ROWS + tile_lane()];
  }
  __syncthreads();
  return sum;
}

// Adds a row's part of the gradients of the schedule's NUMBERS numbers.
template <int NUMBERS>
__device__ __forceinline__ void add_schedule_gradient(float (&sums)[NUMBERS], const schedule_description &schedule,
                                                      const path_point &point, const gamma_slope &slope) {
  const schedule_point at = {point.gamma_prime, point.signal, point.noise};
#pragma unroll
  for (int number = 0; number < NUMBERS; ++number) {
    const schedule_tangent tangent = schedule_tangent_by(&schedule, at, number, point.t);
    sums[number] = fmaf(slope.gamma, tangent.gamma, fmaf(slope.prime, tangent.gamma_prime, sums[number]));
  }
}

// The gradient of one number over the slot's rows, times d number/d raw: an array of one, padded to eight.
__device__ __forceinline__ void write_schedule_gradient(float *to, float sum, float factor) {
  if (warp_of_block() != 0) return;
  // Every group of lanes has the sums of all rows of its place.
  const float total = factor * warp_sum(TILE_ROWS == 32 || tile_warp() == 0 ? sum : 0.0f);
  if (lane_of_warp() < 8) to[lane_of_warp()] = lane_of_warp() == 0 ? total : 0.0f;
}
