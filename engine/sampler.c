/* Sampling: options resolved, time grid made on the host in double precision, one launch for the whole solve. */
#include "engine/sampler.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/program.h"
#include "engine/schedule.h"
#include "engine/status.h"

enum { SAMPLER_MAX_STEPS = 1000000 };
/* Device memory that one launch may use for its rows; more rows are done in several launches. */
static const size_t SOLVE_BYTES = (size_t)2 << 30;

/* ---- options ---- */

noprop_sampler_options noprop_sampler_options_default(const noprop_model *model) {
  noprop_sampler_options options = {.steps = 20, .final_denoise = -1, .ema = true};
  struct settings none = {.sample = {.method = METHOD_AUTO, .grid = GRID_AUTO, .init = INIT_AUTO, .drift = DRIFT_ODE}};
  const struct settings *s = model ? &model->settings : &none;
  snprintf(options.method, sizeof options.method, "%s", METHOD_NAMES[s->sample.method].name);
  snprintf(options.grid, sizeof options.grid, "%s", GRID_NAMES[s->sample.grid].name);
  snprintf(options.init, sizeof options.init, "%s", INIT_NAMES[s->sample.init].name);
  snprintf(options.drift, sizeof options.drift, "%s", DRIFT_NAMES[s->sample.drift].name);
  if (model) {
    options.steps = s->sample.steps;
    options.final_denoise = s->sample.final_denoise;
    options.seed = s->seed;
  }
  return options;
}

/* The number of a named choice; `text` is a member of the options of `size` bytes. */
static noprop_status find(const char *option, const option_name *list, int count, const char *text, size_t size,
                          int *found) {
  char allowed[256] = "";
  *found = memchr(text, '\0', size) ? option_find(list, text) : -1;
  if (*found >= 0) return NOPROP_OK;
  for (int i = 0; i < count; ++i) {
    const size_t length = strlen(allowed);
    snprintf(allowed + length, sizeof allowed - length, "%s%s", i ? ", " : "", list[i].name);
  }
  return status_set(NOPROP_INVALID_ARGUMENT, "sampler option %s is \"%.*s\"; allowed are %s", option, (int)size, text,
                    allowed);
}

static int calls_per_step(int method) {
  switch (method) {
    case METHOD_MIDPOINT:
    case METHOD_HEUN:
      return 2;
    case METHOD_RK4:
      return 4;
    default:
      return 1;
  }
}

static int auto_method(const noprop_model *model, const noprop_sampler_options *options, int drift) {
  if (!schedule_path_is_linear(&model->settings)) return drift == DRIFT_ODE ? METHOD_DPM2M : METHOD_MIDPOINT;
  const long budget = options->calls > 0 ? options->calls : 2L * options->steps;
  return budget < 10 ? METHOD_EULER : METHOD_MIDPOINT;
}

static noprop_status check_times(const noprop_sampler_options *options) {
  if (!options->times)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option grid is \"user\", but times is NULL; steps + 1 times are needed");
  if (options->calls > 0)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option calls is %d with grid \"user\"; the times already give the steps",
                      options->calls);
  for (int i = 0; i <= options->steps; ++i) {
    const double t = options->times[i];
    if (!(i == 0 ? t == 0.0 : t > options->times[i - 1]) || (i == options->steps && t != 1.0))
      return status_set(NOPROP_INVALID_ARGUMENT,
                        "sampler option times: entry %d is %g; times must start at 0, increase and end at 1", i, t);
  }
  return NOPROP_OK;
}

/* Steps from the calls that are allowed, or calls from the steps. */
static noprop_status set_steps(const noprop_sampler_options *options, struct sampler_plan *plan) {
  const int each = calls_per_step(plan->method), extra = plan->final_denoise;
  plan->steps = options->steps;
  if (options->calls > 0) {
    plan->steps = (options->calls - extra) / each;
    if (plan->steps < 1)
      return status_set(NOPROP_INVALID_ARGUMENT,
                        "sampler option calls is %d; method %s needs at least %d (%d a step%s)", options->calls,
                        METHOD_NAMES[plan->method].name, each + extra, each, extra ? ", 1 for final_denoise" : "");
  }
  if (plan->steps > SAMPLER_MAX_STEPS)
    return status_set(NOPROP_INVALID_ARGUMENT, "sampler options ask for %d steps; at most %d are allowed", plan->steps,
                      SAMPLER_MAX_STEPS);
  plan->calls = plan->steps * each + extra;
  return NOPROP_OK;
}

noprop_status sampler_resolve(const noprop_model *model, const noprop_sampler_options *options,
                              struct sampler_plan *plan) {
  memset(plan, 0, sizeof *plan);
  noprop_status status =
      find("method", METHOD_NAMES, METHOD_COUNT, options->method, sizeof options->method, &plan->method);
  if (status == NOPROP_OK)
    status = find("grid", GRID_NAMES, GRID_COUNT, options->grid, sizeof options->grid, &plan->grid);
  if (status == NOPROP_OK)
    status = find("init", INIT_NAMES, INIT_COUNT, options->init, sizeof options->init, &plan->init);
  if (status == NOPROP_OK)
    status = find("drift", DRIFT_NAMES, DRIFT_COUNT, options->drift, sizeof options->drift, &plan->drift);
  if (status != NOPROP_OK) return status;
  if (options->calls < 0)
    return status_set(NOPROP_INVALID_ARGUMENT, "sampler option calls is %d; 0 (not limited) or more is allowed",
                      options->calls);
  if (options->calls == 0 && options->steps < 1)
    return status_set(NOPROP_INVALID_ARGUMENT, "sampler option steps is %d; at least 1 is needed", options->steps);
  if (options->final_denoise < -1 || options->final_denoise > 1)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option final_denoise is %d; -1 (the variant's default), 0 and 1 are allowed",
                      options->final_denoise);
  const bool linear = schedule_path_is_linear(&model->settings);
  if (linear && plan->drift == DRIFT_OU_MEAN)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option drift is \"ou_mean\", which exists on the VP path only (df, ct); "
                      "variant fm takes \"ode\"");
  if (plan->method == METHOD_AUTO) plan->method = auto_method(model, options, plan->drift);
  const bool exponential = plan->method == METHOD_EXPONENTIAL || plan->method == METHOD_DPM2M;
  if (exponential && plan->drift != DRIFT_ODE)
    return status_set(
        NOPROP_INVALID_ARGUMENT,
        "sampler option method is \"%s\", which solves drift \"ode\"; drift \"ou_mean\" takes euler, midpoint, heun, "
        "rk4 and midpoint_time",
        METHOD_NAMES[plan->method].name);
  if (linear && plan->method == METHOD_DPM2M && model->settings.loss.t_eps <= 0.0)
    return status_set(
        NOPROP_INVALID_ARGUMENT,
        "sampler option method is \"dpm2m\", which on the linear path needs loss.t_eps above 0; this model has 0");
  plan->final_denoise = options->final_denoise < 0 ? !linear : options->final_denoise;
  status = set_steps(options, plan);
  if (status != NOPROP_OK) return status;
  if (plan->grid == GRID_AUTO) plan->grid = exponential ? GRID_GAMMA : GRID_T;
  /* On the linear path gamma is infinite at the ends unless t_eps keeps away from them. */
  if (linear && plan->grid == GRID_GAMMA && model->settings.loss.t_eps <= 0.0 && strcmp(options->grid, "auto") == 0)
    plan->grid = GRID_T;
  if (plan->grid == GRID_USER) status = check_times(options);
  if (plan->init == INIT_AUTO) plan->init = model->settings.task == TASK_GENERATE ? INIT_NORMAL : INIT_ZERO;
  plan->average = options->ema && model_has_average(model);
  plan->trajectory = options->trajectory;
  plan->seed = options->seed;
  return status;
}

/* ---- solving ---- */

static noprop_status upload_times(noprop_model *model, const struct sampler_plan *plan,
                                  const noprop_sampler_options *options, CUdeviceptr to) {
  const size_t count = (size_t)plan->steps + 1;
  double *times = malloc(count * sizeof *times);
  float *rounded = malloc(count * sizeof *rounded);
  noprop_status status = NOPROP_OK;
  if (!times || !rounded) {
    free(rounded);
    free(times);
    return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for %d steps", plan->steps);
  }
  if (plan->grid == GRID_USER)
    memcpy(times, options->times, count * sizeof *times);
  else
    status = schedule_grid(&model->settings, plan->grid, plan->steps, times);
  for (size_t i = 0; status == NOPROP_OK && i < count; ++i) rounded[i] = (float)times[i];
  if (status == NOPROP_OK) status = device_upload(model->device, to, rounded, count * sizeof *rounded);
  if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
  free(rounded);
  free(times);
  return status;
}

noprop_status solve_prepare(noprop_model *model, const struct sampler_plan *plan, const noprop_sampler_options *options,
                            const struct model_rows *condition, const float *start, long rows, bool latent, bool output,
                            struct solve *solve) {
  memset(solve, 0, sizeof *solve);
  solve->plan = *plan;
  solve->condition = *condition;
  solve->start = start;
  solve->rows = rows;
  noprop_status status = model_need_integrate(model, plan->method, plan->drift, plan->final_denoise, &solve->kernel);
  if (status != NOPROP_OK) return status;
  const size_t states = plan->trajectory ? (size_t)plan->steps + 1 : 1;
  const size_t state_bytes = (size_t)model->latent * sizeof(float);
  const size_t block_rows = solve->kernel->block_rows;
  const size_t tile_bytes = solve->kernel->workspace_floats * sizeof(float);
  const size_t row_bytes = model_row_bytes(condition) + (start ? state_bytes : 0) +
                           ((size_t)latent + (size_t)output) * states * state_bytes + tile_bytes / block_rows;
  size_t limit = model->device->properties.memory_bytes / 4;
  if (limit > SOLVE_BYTES) limit = SOLVE_BYTES;
  size_t chunk = limit / row_bytes / block_rows * block_rows;
  if (chunk < block_rows) chunk = block_rows;
  solve->chunk = chunk < (size_t)rows ? (long)chunk : rows;
  const size_t count = (size_t)solve->chunk, tiles = (count + block_rows - 1) / block_rows;
  const struct {
    CUdeviceptr *pointer;
    size_t bytes;
    const char *what;
  } wanted[] = {
      {&solve->times, ((size_t)plan->steps + 1) * sizeof(float), "the times of a solve"},
      {&solve->condition_memory, count * model_row_bytes(condition), "conditions"},
      {&solve->start_memory, start ? count * state_bytes : 0, "starting states"},
      {&solve->latent, latent ? count * states * state_bytes : 0, "states"},
      {&solve->output, output ? count * states * state_bytes : 0, "predictions"},
      {&solve->workspace, tiles * tile_bytes, "activations"},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0] && status == NOPROP_OK; ++i)
    if (wanted[i].bytes > 0) status = pool_alloc(model->pool, wanted[i].bytes, wanted[i].what, wanted[i].pointer);
  return status == NOPROP_OK ? upload_times(model, plan, options, solve->times) : status;
}

noprop_status solve_run(noprop_model *model, const struct solve *solve, long first, long count) {
  const size_t state_bytes = (size_t)model->latent * sizeof(float);
  noprop_status status = model_rows_upload(model, &solve->condition, first, count, solve->condition_memory);
  if (status == NOPROP_OK && solve->start)
    status = device_upload(model->device, solve->start_memory, solve->start + (size_t)first * (size_t)model->latent,
                           (size_t)count * state_bytes);
  if (status != NOPROP_OK) return status;
  const CUdeviceptr parameters = solve->plan.average ? model->average : model->parameters;
  if (solve->kernel->fragments) status = model_need_fragments(model, parameters);
  if (status != NOPROP_OK) return status;
  const integrate_arguments arguments = {
      .parameters = DEVICE_POINTER(const float, parameters),
      .fragments = DEVICE_POINTER(const float, model->fragments),
      .condition = DEVICE_POINTER(const void, solve->condition_memory),
      .condition_scale = DEVICE_POINTER(const float, model->condition_scale),
      .condition_shift = DEVICE_POINTER(const float, model->condition_shift),
      .output_scale = DEVICE_POINTER(const float, model->output_scale),
      .output_shift = DEVICE_POINTER(const float, model->output_shift),
      .frequencies = DEVICE_POINTER(const float, model->frequencies),
      .times = DEVICE_POINTER(const float, solve->times),
      .start = DEVICE_POINTER(const float, solve->start_memory),
      .latent = DEVICE_POINTER(float, solve->latent),
      .output = DEVICE_POINTER(float, solve->output),
      .workspace = DEVICE_POINTER(float, solve->workspace),
      .seed = solve->plan.seed,
      .workspace_stride = solve->kernel->workspace_floats,
      .rows = (unsigned)count,
      .steps = (unsigned)solve->plan.steps,
      .row_base = (unsigned)first,
      .normal_start = solve->plan.init == INIT_NORMAL,
      .trajectory = solve->plan.trajectory,
  };
  const unsigned block_rows = solve->kernel->block_rows;
  return device_launch(model->device, &solve->kernel->kernel, ((unsigned)count + block_rows - 1) / block_rows,
                       TILE_THREADS, solve->kernel->shared_bytes, &arguments, sizeof arguments);
}

/* States of rows first .. first + count - 1 from a chunk's memory to the caller's [states][rows][d]. */
static noprop_status download_states(noprop_model *model, const struct solve *solve, CUdeviceptr from, float *to,
                                     long first, long count) {
  const size_t d = (size_t)model->latent, values = (size_t)count * d;
  const int states = solve->plan.trajectory ? solve->plan.steps + 1 : 1;
  if (count == solve->rows) return device_download(model->device, to, from, (size_t)states * values * sizeof(float));
  for (int state = 0; state < states; ++state) {
    noprop_status status =
        device_download(model->device, to + ((size_t)state * (size_t)solve->rows + (size_t)first) * d,
                        from + (CUdeviceptr)((size_t)state * values * sizeof(float)), values * sizeof(float));
    if (status != NOPROP_OK) return status;
  }
  return NOPROP_OK;
}

static noprop_status sample(noprop_model *model, const noprop_sampler_options *options, const noprop_array *condition,
                            long rows, const float *start, float *latent, float *output) {
  if (rows < 1 || rows > INT_MAX)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_sample: rows is %ld; 1 to %d are allowed", rows, INT_MAX);
  struct sampler_plan plan;
  struct model_rows condition_rows;
  noprop_status status = sampler_resolve(model, options, &plan);
  if (status != NOPROP_OK) return status;
  if (plan.init == INIT_GIVEN && !start)
    return status_set(NOPROP_INVALID_ARGUMENT, "sampler option init is \"given\", but start is NULL");
  status = model_rows_check(model, MODEL_CONDITION, condition, rows, &condition_rows);
  if (status != NOPROP_OK) return status;
  struct solve solve;
  model_call_begin(model);
  status = solve_prepare(model, &plan, options, &condition_rows, plan.init == INIT_GIVEN ? start : NULL, rows,
                         latent != NULL, output != NULL, &solve);
  for (long first = 0; first < rows && status == NOPROP_OK; first += solve.chunk) {
    const long count = rows - first < solve.chunk ? rows - first : solve.chunk;
    status = solve_run(model, &solve, first, count);
    if (status == NOPROP_OK && latent) status = download_states(model, &solve, solve.latent, latent, first, count);
    if (status == NOPROP_OK && output) status = download_states(model, &solve, solve.output, output, first, count);
  }
  model_call_end(model);
  return status;
}

noprop_status noprop_sample(noprop_model *model, const noprop_sampler_options *options, const noprop_array *condition,
                            long rows, float *latent, float *output) {
  if (!model || !options)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_sample: model and options must not be NULL");
  if (!latent && !output)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_sample: latent and output are both NULL; one of them is needed");
  return sample(model, options, condition, rows, options->start, latent, output);
}

noprop_status noprop_integrate(noprop_model *model, const noprop_sampler_options *options,
                               const noprop_array *condition, long rows, const float *start, float *end) {
  if (!model || !options || !start || !end)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_integrate: model, options, start and end must not be NULL");
  noprop_sampler_options given = *options;
  snprintf(given.init, sizeof given.init, "given");
  return sample(model, &given, condition, rows, start, end, NULL);
}

const char *noprop_sampler_method_at(int index) {
  return index >= 0 && index < METHOD_COUNT ? METHOD_NAMES[index].name : NULL;
}

noprop_status noprop_sampler_describe(const noprop_model *model, const noprop_sampler_options *options, char **text) {
  if (!model || !options || !text)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_sampler_describe: model, options and text must not be NULL");
  *text = NULL;
  struct sampler_plan plan;
  noprop_status status = sampler_resolve(model, options, &plan);
  if (status != NOPROP_OK) return status;
  const size_t size = 256;
  char *line = malloc(size);
  if (!line) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a line of text");
  snprintf(line, size, "%s on a %s grid, %d step%s, %d network call%s per row%s, drift %s, z(0) %s%s",
           METHOD_NAMES[plan.method].name, GRID_NAMES[plan.grid].name, plan.steps, plan.steps == 1 ? "" : "s",
           plan.calls, plan.calls == 1 ? "" : "s", plan.final_denoise ? " with final denoise" : "",
           DRIFT_NAMES[plan.drift].name, INIT_NAMES[plan.init].name, plan.average ? ", averaged parameters" : "");
  *text = line;
  return NOPROP_OK;
}
