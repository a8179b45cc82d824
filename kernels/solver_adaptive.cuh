// Adaptive solves inside one launch: embedded Runge-Kutta pairs with a step size of its own for every row.
//
// A lane's row has its own time and step; the tile evaluates the network for all of them together until the last row is
// done, and rows that are done wait. All four warps keep the same control values in registers, computed alike from the
// same sums. Pairs: Bogacki and Shampine 3(2) (Appl. Math. Lett. 2, 1989), Dormand and Prince 5(4) (J. Comp. Appl.
// Math. 6, 1980); both hand their last stage on as the next step's first. Controller: PI with the constants of Hairer,
// Norsett and Wanner, "Solving Ordinary Differential Equations I", section II.4 and their code DOPRI5. Time runs as
// `elapsed` from 0 to 1 in either direction; a step is rounded so that times add up without error.
#pragma once

#include "solver.cuh"

enum adaptive_stage_number { ADAPTIVE_FIRST = 0, ADAPTIVE_TRIAL = -1, ADAPTIVE_DENOISE = -2, ADAPTIVE_DONE = -3 };

__device__ constexpr int pair_stages(int method) { return method == SOLVE_BOSH3 ? 4 : 7; }
// The local error that is estimated is of this order in the step.
__device__ constexpr int pair_order(int method) { return method == SOLVE_BOSH3 ? 3 : 5; }

__device__ constexpr float pair_node(int method, int stage) {
  const float bosh3[] = {0.0f, 0.5f, 0.75f, 1.0f};
  const float dopri5[] = {0.0f, 0.2f, 0.3f, 0.8f, 8.0f / 9.0f, 1.0f, 1.0f};
  return method == SOLVE_BOSH3 ? bosh3[stage] : dopri5[stage];
}

__device__ constexpr float pair_weight(int method, int stage, int j) {
  const float bosh3[4][3] = {{}, {0.5f}, {0.0f, 0.75f}, {2.0f / 9.0f, 1.0f / 3.0f, 4.0f / 9.0f}};
  const float dopri5[7][6] = {
      {},
      {0.2f},
      {3.0f / 40.0f, 9.0f / 40.0f},
      {44.0f / 45.0f, -56.0f / 15.0f, 32.0f / 9.0f},
      {19372.0f / 6561.0f, -25360.0f / 2187.0f, 64448.0f / 6561.0f, -212.0f / 729.0f},
      {9017.0f / 3168.0f, -355.0f / 33.0f, 46732.0f / 5247.0f, 49.0f / 176.0f, -5103.0f / 18656.0f},
      {35.0f / 384.0f, 0.0f, 500.0f / 1113.0f, 125.0f / 192.0f, -2187.0f / 6784.0f, 11.0f / 84.0f}};
  return method == SOLVE_BOSH3 ? bosh3[stage][j] : dopri5[stage][j];
}

// Solution minus the embedded one, per unit of step.
__device__ constexpr float pair_error(int method, int j) {
  const float bosh3[] = {-5.0f / 72.0f, 1.0f / 12.0f, 1.0f / 9.0f, -1.0f / 8.0f};
  const float dopri5[] = {71.0f / 57600.0f,      0.0f,           -71.0f / 16695.0f, 71.0f / 1920.0f,
                          -17253.0f / 339200.0f, 22.0f / 525.0f, -1.0f / 40.0f};
  return method == SOLVE_BOSH3 ? bosh3[j] : dopri5[j];
}

// A row's control, the same in all warps.
struct adaptive_row {
  float elapsed, width;  // time so far; the step that is tried
  float last_error;      // of the last accepted step; while the first step is sought: size of the derivative
  unsigned outcome, steps, rejections;
  unsigned slice;            // next point of the trajectory
  bool active, last, again;  // last: the step ends at 1; again: the step before was rejected
};

__device__ __forceinline__ adaptive_row adaptive_begin() {
  return {0.0f, 0.0f, 1e-4f, SOLVE_STEP_CAP, 0, 0, 1, true, false, false};
}

// Time of a stage, elapsed.
template <int METHOD>
__device__ __forceinline__ float adaptive_time(const adaptive_row &row, int stage) {
  if (stage == ADAPTIVE_TRIAL) return row.width;
  if (stage <= 0) return row.elapsed;
  float node = 0.0f;
#pragma unroll
  for (int s = 1; s < pair_stages(METHOD); ++s) node = s == stage ? pair_node(METHOD, s) : node;
  return node == 1.0f && row.last ? 1.0f : fmaf(node, row.width, row.elapsed);
}

// Sum of `value` over the tile's warps, for each lane; `scratch`: [TILE_WARPS][TILE_ROWS] of its own until two barriers
// later.
__device__ __forceinline__ float sum_over_warps(float value, float *scratch) {
  scratch[tile_warp() * TILE_ROWS + tile_lane()] = value;
  __syncthreads();
  if (TILE_WARPS != 4) {  // tiles of one row
    float sum = 0.0f;
    for (int warp = 0; warp < TILE_WARPS; ++warp) sum += scratch[warp * TILE_ROWS + tile_lane()];
    return sum;
  }
  return (scratch[tile_lane()] + scratch[TILE_ROWS + tile_lane()]) +
         (scratch[2 * TILE_ROWS + tile_lane()] + scratch[3 * TILE_ROWS + tile_lane()]);
}

// Sets the coming attempt: the end is met exactly, other steps are rounded to what time can hold.
__device__ __forceinline__ void adaptive_aim(adaptive_row &row) {
  row.last = row.active && fmaf(1.01f, row.width, row.elapsed) >= 1.0f;
  if (!row.active)
    row.width = 0.0f;
  else
    row.width = row.last ? 1.0f - row.elapsed : (row.elapsed + row.width) - row.elapsed;
}

// What the controller makes of the error of an attempt (1: the tolerance). Returns whether the step is accepted.
template <int METHOD>
__device__ __forceinline__ bool adaptive_decide(adaptive_row &row, float error, unsigned max_steps) {
  constexpr float order = pair_order(METHOD), momentum = 0.2f / order;
  const float least = 16.0f * 0x1p-24f;
  if (!row.active) return false;
  const bool accepted = error <= 1.0f;
  if (accepted) {
    ++row.steps;
    float factor = 0.9f * powf(fmaxf(error, 1e-10f), 0.75f * momentum - 1.0f / order) * powf(row.last_error, momentum);
    factor = fminf(fmaxf(factor, 0.2f), row.again ? 1.0f : 10.0f);
    row.elapsed = row.last ? 1.0f : row.elapsed + row.width;
    row.last_error = fmaxf(error, 1e-4f);
    row.again = false;
    row.width *= factor;
    if (row.last) {
      row.outcome = SOLVE_DONE;
      row.active = false;
    }
  } else {
    const bool finite = error <= 3.0e38f;  // not so for infinity and NaN
    ++row.rejections;
    row.again = true;
    row.width *= finite ? fmaxf(0.2f, 0.9f * powf(error, -1.0f / order)) : 0.2f;
    if (row.width < least) {
      row.outcome = finite ? SOLVE_STEP_TOO_SMALL : SOLVE_NOT_FINITE;
      row.active = false;
    }
  }
  if (row.steps + row.rejections >= max_steps) row.active = false;  // outcome: the step cap, unless it is done
  return accepted;
}

// input = z + width * sum of weights[j] k[j] for one stage. N: components of the state.
template <int METHOD, int STAGE, int N>
__device__ __forceinline__ void adaptive_input(float *input, const float *z, const float *k, float width) {
  constexpr int stride = (N + 7) / 8 * 8 * TILE_ROWS;
  for (int i = tile_warp(); i < N; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < STAGE; ++j) {
      constexpr int stage = STAGE;
      if (pair_weight(METHOD, stage, j) != 0.0f) sum = fmaf(pair_weight(METHOD, stage, j), k[j * stride + at], sum);
    }
    input[at] = fmaf(width, sum, z[at]);
  }
}

template <int METHOD, int N>
__device__ __forceinline__ void adaptive_input_of(int stage, float *input, const float *z, const float *k,
                                                  float width) {
  switch (stage) {
    case 1:
      adaptive_input<METHOD, 1, N>(input, z, k, width);
      break;
    case 2:
      adaptive_input<METHOD, 2, N>(input, z, k, width);
      break;
    case 3:
      adaptive_input<METHOD, 3, N>(input, z, k, width);
      break;
    default:
      break;
  }
  if (pair_stages(METHOD) <= 4) return;
  switch (stage) {
    case 4:
      adaptive_input<SOLVE_DOPRI5, 4, N>(input, z, k, width);
      break;
    case 5:
      adaptive_input<SOLVE_DOPRI5, 5, N>(input, z, k, width);
      break;
    case 6:
      adaptive_input<SOLVE_DOPRI5, 6, N>(input, z, k, width);
      break;
    default:
      break;
  }
}

// Points of the trajectory inside an accepted step, by cubic Hermite interpolation.
template <int D, int N>
__device__ __forceinline__ void adaptive_slices(const integrate_arguments &args, adaptive_row &row, float from,
                                                float width, const float *z, const float *end, const float *slope0,
                                                const float *slope1, unsigned number, bool live) {
  while (row.slice < args.steps && args.times[row.slice] <= row.elapsed) {
    const float part = (args.times[row.slice] - from) / width, rest = 1.0f - part;
    for (int i = tile_warp(); live && i < D; i += TILE_WARPS) {
      const int at = i * TILE_ROWS + tile_lane();
      const float bend = rest * slope0[at] - part * slope1[at], chord = end[at] - z[at];
      const float value = rest * z[at] + part * end[at] + part * rest * (width * bend + (part - rest) * chord);
      const unsigned long long to = ((unsigned long long)row.slice * args.rows + number) * D + i;
      if (args.latent) args.latent[to] = value;
      if (args.output) args.output[to] = fmaf(value, __ldg(args.output_scale + i), __ldg(args.output_shift + i));
    }
    ++row.slice;
  }
}

// Takes the network's output `out` at `input` for one stage and prepares the next, whose number is returned. The state
// has N components: D of z, and with N > D minus the integral of the divergence, which enters the error unless it is
// estimated by probes (ESTIMATED: the steps must not depend on them). `way`: 1 forward, -1 from data to noise.
template <int METHOD, int D, int N, bool ESTIMATED, bool DENOISE>
__device__ __forceinline__ int adaptive_stage(const integrate_arguments &args, const prediction_form &form,
                                              float divergence, float way, int stage, adaptive_row &row,
                                              const float *out, float *z, float *input, float *k, float *scratch,
                                              unsigned number, bool live) {
  constexpr int stages = pair_stages(METHOD), stride = (N + 7) / 8 * 8 * TILE_ROWS, judged = ESTIMATED ? D : N;
  constexpr float order = pair_order(METHOD);
  float *const here = k + (stage == ADAPTIVE_TRIAL ? 1 : stage) * stride;
  for (int i = tile_warp(); i < N; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    here[at] = way * (i < D ? fmaf(form.vp, out[at], form.vz * input[at]) : -divergence);
  }
  if (stage > 0 && stage < stages - 1) {
    adaptive_input_of<METHOD, N>(stage + 1, input, z, k, row.width);
    return stage + 1;
  }
  float sum = 0.0f, size = 0.0f, slope = 0.0f;
  for (int i = tile_warp(); i < judged; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    const float scale = fmaf(args.rtol, stage > 0 ? fmaxf(fabsf(z[at]), fabsf(input[at])) : fabsf(z[at]), args.atol);
    float error = stage == ADAPTIVE_TRIAL ? (k[stride + at] - k[at]) / row.width : k[at];
    if (stage > 0) {
      error = 0.0f;
#pragma unroll
      for (int j = 0; j < stages; ++j)
        if (pair_error(METHOD, j) != 0.0f) error = fmaf(pair_error(METHOD, j), k[j * stride + at], error);
      error *= row.width;
    }
    sum = fmaf(error / scale, error / scale, sum);
    size = fmaf(z[at], z[at], size);
    slope = fmaf(k[at], k[at], slope);
  }
  const float norm = sqrtf(sum_over_warps(sum, scratch) / judged);
  if (stage == ADAPTIVE_FIRST) {
    // A first step of a hundredth of the state's size (at least 1: latents are standardised) by Euler.
    const float z_norm = sqrtf(sum_over_warps(size, scratch + TILE_WARPS * TILE_ROWS) / judged);
    const float k_norm = sqrtf(sum_over_warps(slope, scratch + 2 * TILE_WARPS * TILE_ROWS) / judged);
    row.width = fminf(fmaxf(0.01f * fmaxf(z_norm, 1.0f) / k_norm, 1e-4f), 0.05f);
    row.last_error = norm;
    adaptive_input_of<METHOD, N>(1, input, z, k, row.width / pair_weight(METHOD, 1, 0));
    return ADAPTIVE_TRIAL;
  }
  if (stage == ADAPTIVE_TRIAL) {
    // The step at which a term of the next order would be a hundredth of the tolerance.
    const float curve = fmaxf(fmaxf(norm, row.last_error), 1e-10f);
    row.width = fminf(fminf(100.0f * row.width, powf(0.01f / curve, 1.0f / order)), 1.0f);
    row.last_error = 1e-4f;
  } else {
    const float from = row.elapsed, width = row.width;
    const bool accepted = adaptive_decide<METHOD>(row, norm, args.max_steps);
    if (accepted && args.trajectory)
      adaptive_slices<D, N>(args, row, from, width, z, input, k, k + (stages - 1) * stride, number, live);
    for (int i = tile_warp(); i < N; i += TILE_WARPS) {
      const int at = i * TILE_ROWS + tile_lane();
      if (!accepted) continue;
      z[at] = input[at];
      k[at] = k[(stages - 1) * stride + at];
    }
  }
  adaptive_aim(row);
  if (__any_sync(0xffffffffu, row.active)) {
    adaptive_input_of<METHOD, N>(1, input, z, k, row.width);
    return 1;
  }
  for (int i = tile_warp(); i < N; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    input[at] = z[at];
  }
  return DENOISE ? ADAPTIVE_DENOISE : ADAPTIVE_DONE;
}

// The state becomes the predicted target.
template <int D>
__device__ __forceinline__ void adaptive_denoise(const prediction_form &form, const float *out, float *z) {
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    z[at] = fmaf(form.xp, out[at], form.xz * z[at]);
  }
}

// Results of a row, and the points of its trajectory that it did not reach.
template <int METHOD, int D>
__device__ __forceinline__ void adaptive_end(const integrate_arguments &args, const adaptive_row &row, const float *z,
                                             unsigned number, bool live, bool denoised) {
  if (args.trajectory)
    for (unsigned slice = row.slice; slice <= args.steps; ++slice) write_state<D>(args, z, number, live, slice);
  else
    write_state<D>(args, z, number, live, 0);
  if (!args.records || !live || tile_warp() != 0) return;
  const unsigned calls = 2 + (row.steps + row.rejections) * (pair_stages(METHOD) - 1) + (denoised ? 1 : 0);
  args.records[number] = {row.outcome, calls, row.steps, row.rejections, row.elapsed};
}
