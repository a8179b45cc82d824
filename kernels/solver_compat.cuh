// The earlier systems' adaptive solve (survey 8.2), as they do it: as many steps as are asked for, each of a size that
// all rows of a batch share and that the step before decided; none is rejected, and the end may not be reached (P-25).
//
// A batch is the rows of a tile. A step of size s goes from z by one step of Heun and by two of s/2; the mean over rows
// and features of the difference of both, e, halves the next step above 1e-6 and makes it half as large again below
// 1e-7. The difference is summed from the five slopes, s/4 (k0 + 2 k1 - k2 - k3 - k4), since the two results, rounded
// to float32, would hide one of 1e-7: k0 at z, k1 at the whole step's end, k2 at the first half's, k3 and k4 at its
// state.
#pragma once

#include "solver_adaptive.cuh"

enum compat_stage_number { COMPAT_LAST = 4, COMPAT_DENOISE = -2, COMPAT_DONE = -3 };

// The same in all lanes and warps.
struct compat_steps {
  float elapsed, width;
  unsigned steps;
};

__device__ __forceinline__ compat_steps compat_begin(unsigned steps) { return {0.0f, 1.0f / (float)steps, 0}; }

__device__ __forceinline__ float compat_time(const compat_steps &control, int stage) {
  const float part = stage <= 0 ? 0.0f : stage == 1 || stage == COMPAT_LAST ? 1.0f : 0.5f;
  return fmaf(part, control.width, control.elapsed);
}

// Takes the network's output `out` at `input` for one stage and prepares the next, whose number is returned; `slopes`
// holds four tiles of D. DENOISE: the predicted target is still wanted, of the
// time that was reached.
template <int D, bool DENOISE>
__device__ __forceinline__ int compat_stage(const prediction_form &form, unsigned most, int stage,
                                            compat_steps &control, const float *out, float *z, float *input,
                                            float *slopes, float *scratch, bool live) {
  constexpr int stride = (D + 7) / 8 * 8 * TILE_ROWS;
  const float s = control.width;
  float difference = 0.0f;
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    const float slope = fmaf(form.vp, out[at], form.vz * input[at]);
    if (stage == 0) {
      input[at] = fmaf(s, slope, z[at]);
    } else if (stage == 1) {
      input[at] = fmaf(0.5f * s, slopes[at], z[at]);
    } else if (stage == 2) {
      input[at] = fmaf(0.25f * s, slopes[at] + slope, z[at]);
    } else {
      const float half = fmaf(0.25f * s, slopes[at] + slopes[2 * stride + at], z[at]);
      if (stage == 3) {
        input[at] = fmaf(0.5f * s, slope, half);
      } else {
        const float bend = slopes[at] - slopes[2 * stride + at] + (slopes[stride + at] - slopes[3 * stride + at]);
        difference += fabsf(0.25f * s * (bend + (slopes[stride + at] - slope)));
        z[at] = input[at] = fmaf(0.25f * s, slopes[3 * stride + at] + slope, half);
      }
    }
    if (stage < COMPAT_LAST) slopes[stage * stride + at] = slope;
  }
  if (stage < COMPAT_LAST) return stage + 1;
  const float sum = sum_over_warps(difference, scratch);
  const unsigned rows = __popc(__ballot_sync(0xffffffffu, live));
  const float error = warp_sum(live ? sum : 0.0f) / (float)(rows * D);
  control.elapsed += s;
  ++control.steps;
  control.width = fminf(error > 1e-6f ? 0.5f * s : error < 1e-7f ? 1.5f * s : s, 1.0f - control.elapsed);
  // Steps of width 0 change nothing more.
  if (control.steps < most && control.width > 0.0f) return 0;
  return DENOISE ? COMPAT_DENOISE : COMPAT_DONE;
}

__device__ __forceinline__ void compat_record(const integrate_arguments &args, const compat_steps &control,
                                              unsigned number, bool live, bool denoised) {
  if (!args.records || !live || tile_warp() != 0) return;
  const unsigned outcome = control.elapsed >= 1.0f ? SOLVE_DONE : SOLVE_STEP_CAP;
  args.records[number] = {outcome, 5 * control.steps + (denoised ? 1 : 0), control.steps, 0, control.elapsed};
}
