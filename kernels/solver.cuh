// The integrator inside the kernel: how a step of each method uses the field (design page "mathematics", section 4).
//
// The network is evaluated on `input`, the solver then updates the state `z`, element by element; a thread always owns
// the same elements (features i = warp, warp + 4, ... of its row), so no barrier is needed between its updates.
#pragma once

#include "objective.cuh"

enum solver_method {
  SOLVE_EULER,
  SOLVE_MIDPOINT,
  SOLVE_HEUN,
  SOLVE_RK4,
  SOLVE_EXPONENTIAL,
  SOLVE_DPM2M,
  SOLVE_MIDPOINT_TIME,
  SOLVE_EULER_MARUYAMA,
  SOLVE_BOSH3,
  SOLVE_DOPRI5,
  SOLVE_ADAPTIVE_COMPAT
};

__host__ __device__ constexpr int solver_stages(int method) {
  return method == SOLVE_RK4 ? 4 : method == SOLVE_MIDPOINT || method == SOLVE_HEUN ? 2 : 1;
}

// The time at which a stage of the step t0 -> t1 evaluates the field.
template <int METHOD>
__device__ __forceinline__ float solver_stage_time(float t0, float t1, int stage) {
  if (METHOD == SOLVE_MIDPOINT_TIME) return 0.5f * (t0 + t1);
  if (METHOD == SOLVE_MIDPOINT) return stage ? 0.5f * (t0 + t1) : t0;
  if (METHOD == SOLVE_HEUN) return stage ? t1 : t0;
  if (METHOD == SOLVE_RK4) return stage == 0 ? t0 : stage == 3 ? t1 : 0.5f * (t0 + t1);
  return t0;
}

// How far the exponential step moves: z' = keep z + gain x^, exact for a constant target x^.
struct exponential_step {
  float keep, gain;
  float correction;  // dpm2m: h / (2 h of the step before), 0 where there is none
};

__device__ __forceinline__ exponential_step exponential_step_at(const objective_description &objective,
                                                                const schedule_description &schedule, float t0,
                                                                float t1, unsigned step, float &last_width) {
  const path_point from = path_at(objective, schedule, t0), to = path_at(objective, schedule, t1);
  // ln(a/b) is infinite at the ends of the linear path; there it is taken at the time where the field was evaluated.
  const bool singular = objective.path == PATH_LINEAR;
  const float least = singular ? objective.time_margin : 0.0f, most = 1.0f - least;
  const path_point inner0 = path_at(objective, schedule, fminf(fmaxf(t0, least), most));
  const path_point inner1 = path_at(objective, schedule, fminf(fmaxf(t1, least), most));
  const float width = logf(inner1.a * inner0.b / (inner1.b * inner0.a));
  exponential_step result;
  result.keep = to.b / from.b;
  result.gain = to.a - from.a * result.keep;
  result.correction = step && last_width > 0.0f ? width / (2.0f * last_width) : 0.0f;
  last_width = width;
  return result;
}

// One element of a stage: from the network's prediction `p` on `input` to the next input, or to the next state after
// the last stage. `sum` is used by rk4 and heun, `previous` by dpm2m. `denoise`: the state becomes the target estimate.
// Methods of one stage read their input from the state: `input` is `z` then.
template <int METHOD>
__device__ __forceinline__ void solver_element(const prediction_form &form, const exponential_step &exponential,
                                               float width, int stage, bool denoise, float p, float &z, float &input,
                                               float &sum, float &previous) {
  const float state = solver_stages(METHOD) > 1 ? input : z;
  const float target = fmaf(form.xp, p, form.xz * state), field = fmaf(form.vp, p, form.vz * state);
  if (denoise) {
    z = target;
  } else if (METHOD == SOLVE_EXPONENTIAL) {
    z = fmaf(exponential.keep, z, exponential.gain * target);
  } else if (METHOD == SOLVE_DPM2M) {
    const float last = exponential.correction != 0.0f ? previous : target;
    const float extrapolated = fmaf(exponential.correction, target - last, target);
    previous = target;
    z = fmaf(exponential.keep, z, exponential.gain * extrapolated);
  } else if (METHOD == SOLVE_MIDPOINT) {
    if (stage == 0)
      input = fmaf(0.5f * width, field, z);
    else
      input = z = fmaf(width, field, z);
  } else if (METHOD == SOLVE_HEUN) {
    if (stage == 0) {
      sum = field;
      input = fmaf(width, field, z);
    } else {
      input = z = fmaf(0.5f * width, sum + field, z);
    }
  } else if (METHOD == SOLVE_RK4) {
    if (stage == 3) {
      input = z = fmaf(width / 6.0f, sum + field, z);
    } else {
      sum = stage == 0 ? field : fmaf(2.0f, field, sum);
      input = fmaf(stage == 2 ? width : 0.5f * width, field, z);
    }
  } else {
    z = fmaf(width, field, z);
  }
}

// Classifier-free guidance: keeps the output of the pass without the condition, then moves from it towards, or past,
// the one with the condition. A thread takes the elements that it owns.
template <int D>
__device__ __forceinline__ void guide_output(float *out, float *unguided, float scale, int pass) {
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    if (pass)
      out[at] = fmaf(scale, out[at] - unguided[at], unguided[at]);
    else
      unguided[at] = out[at];
  }
}

// Logits become the predicted one-hot target, in place; ends with each thread owning its elements.
template <int D>
__device__ __forceinline__ void settle_output(const objective_description &objective, float *out) {
  const float2 softmax = softmax_of<D>(out);
  __syncthreads();
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    out[at] = fmaf(1.0f - objective.off_value, expf(out[at] - softmax.x) * softmax.y, objective.off_value);
  }
}

// One stage for the tiles of a block; `out` is the network's output.
template <int METHOD, int D>
__device__ __forceinline__ void solver_update(const objective_description &objective, const prediction_form &form,
                                              const exponential_step &exponential, float width, int stage, bool denoise,
                                              const float *out, float *z, float *input, float *sum, float *previous) {
  float2 softmax;
  if (objective.cross_entropy) softmax = softmax_of<D>(out);
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    float p = out[at];
    if (objective.cross_entropy)
      p = fmaf(1.0f - objective.off_value, expf(p - softmax.x) * softmax.y, objective.off_value);
    solver_element<METHOD>(form, exponential, width, stage, denoise, p, z[at], input[at], sum[at], previous[at]);
  }
}

// z(0) of the lane's row: given, standard normal or zero. `input` is z itself or the solver's own copy.
template <int D>
__device__ __forceinline__ void start_state(float *z, float *input, const integrate_arguments &args, unsigned row) {
  if (!args.start && args.normal_start) {
    tile_normals<D>(z, args.seed, args.row_base + row, philox_stream(STREAM_START, 0, 0), 0);
    __syncthreads();
  }
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    if (args.start)
      z[at] = args.start[(unsigned long long)row * D + i];
    else if (!args.normal_start)
      z[at] = 0.0f;
    input[at] = z[at];
  }
}

// The state of all rows as slice `slice` of latent and output, [slices][rows][D] row-major.
template <int D>
__device__ __forceinline__ void write_state(const integrate_arguments &args, const float *z, unsigned row, bool live,
                                            unsigned slice) {
  if (!live) return;
  const unsigned long long base = ((unsigned long long)slice * args.rows + row) * D;
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const float value = z[i * TILE_ROWS + tile_lane()];
    if (args.latent) args.latent[base + i] = value;
    if (args.output) args.output[base + i] = fmaf(value, __ldg(args.output_scale + i), __ldg(args.output_shift + i));
  }
}
