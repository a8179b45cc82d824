/* The learned field at given states and times: a step of Euler's method with width 1, less where it started. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "engine/sampler.h"
#include "engine/status.h"

noprop_status noprop_velocity(noprop_model *model, const noprop_sampler_options *options, const noprop_array *condition,
                              long rows, double t, const float *z, float *velocity) {
  if (!model || !options || !z || !velocity)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_velocity: model, options, z and velocity must not be NULL");
  if (rows < 1 || rows > INT_MAX)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_velocity: rows is %ld; 1 to %d are allowed", rows, INT_MAX);
  if (!(t >= 0.0 && t <= 1.0))
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_velocity: t is %g; 0 to 1 is allowed", t);
  if (model->settings.variant == VARIANT_SUPERVISED)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_velocity: a model of variant supervised has no field");
  if (model->settings.variant == VARIANT_DT)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_velocity: a model of variant dt goes from level to level and has no field");
  noprop_sampler_options euler = *options;
  snprintf(euler.method, sizeof euler.method, "euler");
  snprintf(euler.grid, sizeof euler.grid, "t");
  snprintf(euler.init, sizeof euler.init, "given");
  /* Noise is no field: its process has the marginals of the ODE. */
  if (strcmp(euler.drift, DRIFT_NAMES[DRIFT_SDE].name) == 0) {
    snprintf(euler.drift, sizeof euler.drift, "%s", DRIFT_NAMES[DRIFT_ODE].name);
    euler.churn = 1;
  }
  euler.steps = 1;
  euler.calls = 0;
  euler.final_denoise = 0;
  euler.trajectory = false;
  struct sampler_plan plan;
  struct model_rows condition_rows;
  noprop_status status = sampler_resolve(model, &euler, &plan);
  if (status == NOPROP_OK) status = model_rows_check(model, MODEL_CONDITION, condition, rows, &condition_rows);
  if (status != NOPROP_OK) return status;
  /* The field is evaluated at the step's start alone, so that the step may reach past t = 1. */
  const double times[2] = {t, t + 1.0};
  plan.grid = GRID_USER;
  euler.times = times;
  struct solve solve;
  model_call_begin(model);
  status = solve_prepare(model, &plan, &euler, &condition_rows, z, rows, true, false, &solve);
  for (long first = 0; first < rows && status == NOPROP_OK; first += solve.chunk) {
    const long count = rows - first < solve.chunk ? rows - first : solve.chunk, values = count * model->latent;
    float *to = velocity + first * model->latent;
    status = solve_run(model, &solve, first, count);
    if (status == NOPROP_OK) status = device_download(model->device, to, solve.latent, (size_t)values * sizeof(float));
    for (long i = 0; status == NOPROP_OK && i < values; ++i) to[i] -= z[first * model->latent + i];
  }
  model_call_end(model);
  return status;
}
