// The gradients of a schedule's end points gamma(0) and gamma(1), for models that train them: through alpha_bar = low +
// range rise (or a network's gamma) at every time, through the divergence of the state at t = 0, and through the noise
// left at t = 1.
#pragma once

#include "coders.cuh"
#include "schedule_gradient.cuh"

// Sums over rows of the derivatives by gamma(0) and gamma(1).
struct end_slopes {
  float first, last;
};

// Derivatives of low and of 1 - one_minus_high by their gammas.
__device__ __forceinline__ float low_slope(const schedule_description &schedule) {
  return schedule.low * (schedule.one_minus_high + schedule.range);
}
__device__ __forceinline__ float high_slope(const schedule_description &schedule) {
  return schedule.one_minus_high * (schedule.low + schedule.range);
}

// Adds a row's part, from its derivatives by gamma and gamma' at its time.
__device__ __forceinline__ void add_end_gradient(end_slopes &sums, const schedule_description &schedule,
                                                 const path_point &point, const gamma_slope &slope) {
  const float both = point.signal * point.noise, turn = point.noise - point.signal;
  const float fall = (point.noise - schedule.one_minus_high) / schedule.range;
  const float rise = (point.signal - schedule.low) / schedule.range;
  const float first = low_slope(schedule), last = high_slope(schedule);
  // gamma' = range F'/(alpha_bar (1 - alpha_bar)): by the range, and by alpha_bar.
  const float by_first = fall * first / both, by_last = rise * last / both;
  sums.first += slope.gamma * by_first - slope.prime * point.gamma_prime * (first / schedule.range + turn * by_first);
  sums.last += slope.gamma * by_last + slope.prime * point.gamma_prime * (last / schedule.range - turn * by_last);
}

// The same for a monotone network of the schedule, gamma = gamma(0) + (gamma(1) - gamma(0)) f: f and 1 - f as sums and
// products of numbers between 0 and 1. `inner` is its inner function's value.
__device__ __forceinline__ void add_network_end_gradient(end_slopes &sums, const schedule_description &schedule,
                                                         const path_point &point, float inner,
                                                         const gamma_slope &slope) {
  const float t = point.t, rest = 1.0f - t, on = schedule.mix * schedule_sigmoid(inner);
  const float prime = slope.prime * point.gamma_prime / schedule.span;
  sums.first += slope.gamma * (rest * (1.0f - t * on)) - prime;
  sums.last += slope.gamma * (t * (1.0f + rest * on)) + prime;
}

// This warp's features of the derivative of kl_of_start by gamma(0).
template <int D, bool NORMAL>
__device__ __forceinline__ float kl_end_slope(const schedule_description &schedule, const float *encoded) {
  float sum = 0.0f;
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    const float variance = NORMAL ? expf(clamped_log_variance(encoded[D * TILE_ROWS + at])) : 0.0f;
    const float w = schedule.low * (variance - 1.0f);
    sum += 0.5f * fmaf(encoded[at], encoded[at], (variance - 1.0f) * w / (1.0f + w));
  }
  return low_slope(schedule) * sum;
}

// This warp's features of the derivative of the vae term by gamma(1), from that by what the decoder was given,
// a(1) z1 + b(1) n with the noise of latent_at_end.
template <int D>
__device__ __forceinline__ float vae_end_slope(const float *decoded_gradient, const float *z1, const path_point &end,
                                               const train_arguments &args, const batch_rows &batch,
                                               const tile_row &row, unsigned draw) {
  const float by_a = 0.5f * end.a * end.noise, by_b = -0.5f * end.b * end.signal;
  float sum = 0.0f;
  for_latent_normals<D>(args, batch, row, 1, draw, [&](int i, float normal) {
    const int at = i * TILE_ROWS + tile_lane();
    sum = fmaf(decoded_gradient[at], fmaf(by_a, z1[at], by_b * normal), sum);
  });
  return sum;
}
