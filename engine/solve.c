/* Solving: time grid made on the host in double precision, one launch for the whole solve. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/program.h"
#include "engine/sampler.h"
#include "engine/schedule.h"
#include "engine/status.h"

/* Device memory that one launch may use for its rows; more rows are done in several launches. */
static const size_t SOLVE_BYTES = (size_t)2 << 30;

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
    status = model_schedule_grid(model, plan->average, plan->grid, plan->steps, times);
  for (size_t i = 0; status == NOPROP_OK && i < count; ++i)
    rounded[i] = (float)times[plan->reverse ? count - 1 - i : i];
  if (status == NOPROP_OK) status = device_upload(model->device, to, rounded, count * sizeof *rounded);
  if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
  free(rounded);
  free(times);
  return status;
}

/* The table of a monotone network as it has been trained. */
static noprop_status upload_schedule(noprop_model *model, bool average, struct solve *solve) {
  const struct settings *settings = &model->settings;
  if (schedule_parameter_count(settings) == 0 || settings->schedule.type != SCHEDULE_NETWORK) return NOPROP_OK;
  struct schedule *schedule = malloc(sizeof *schedule);
  float *rows = malloc(sizeof schedule->rows / sizeof(double) * sizeof *rows);
  double *numbers = NULL;
  noprop_status status = NOPROP_OK;
  if (!schedule || !rows) {
    status = status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a schedule");
    goto done;
  }
  status = model_schedule_numbers(model, average, &numbers);
  if (status == NOPROP_OK) status = schedule_describe(settings, numbers, schedule);
  if (status != NOPROP_OK) goto done;
  const int knots = schedule->description.knots;
  const size_t bytes = 3 * (size_t)knots * sizeof *rows;
  for (int i = 0; i < 3 * knots; ++i) rows[i] = (float)schedule->rows[i / 3][i % 3];
  solve->schedule_knots = knots;
  solve->schedule_mix = schedule->description.mix;
  status = pool_alloc(model->pool, bytes, "the table of a schedule", &solve->schedule_rows);
  if (status == NOPROP_OK) status = device_upload(model->device, solve->schedule_rows, rows, bytes);
  if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
done:
  free(numbers);
  free(rows);
  free(schedule);
  return status;
}

/* The branch's memory for a chunk. */
static noprop_status prepare_branch(noprop_model *model, struct solve *solve) {
  const unsigned parts = model->network->blocks ? (unsigned)model->network->blocks : 1;
  const CUdeviceptr parameters = solve->plan.average ? model->average : model->parameters;
  solve->images = model_train_arguments(model);
  solve->images.request = 1;
  solve->images.steps_per_epoch = 1;
  solve->images.batch = (unsigned)solve->chunk;
  solve->images.parameters = DEVICE_POINTER(const float, parameters);
  solve->images.condition = DEVICE_POINTER(const void, solve->condition_memory);
  return branch_allocate(model, solve->kernel, parts, false, &solve->images, &solve->branch);
}

/* Features of `count` rows: [parts][count][width], as the kernel of the solve reads them. */
static noprop_status run_branch(noprop_model *model, const struct solve *solve, long count) {
  const unsigned parts = model->network->blocks ? (unsigned)model->network->blocks : 1;
  train_arguments images = solve->images;
  branch_arguments branch = solve->branch;
  images.rows = images.row_total = branch.feature_rows = (unsigned)count;
  return branch_forward(model, &branch, &images, 0, parts);
}

noprop_status solve_prepare(noprop_model *model, const struct sampler_plan *plan, const noprop_sampler_options *options,
                            const struct model_rows *condition, const float *start, long rows, bool latent, bool output,
                            struct solve *solve) {
  memset(solve, 0, sizeof *solve);
  solve->plan = *plan;
  solve->condition = *condition;
  solve->start = start;
  solve->rows = rows;
  noprop_status status =
      model_need_integrate(model, &plan->form, rows < (1l << 30) ? (unsigned)rows : 1u << 30, &solve->kernel);
  if (status != NOPROP_OK) return status;
  const size_t states = plan->trajectory ? (size_t)plan->steps + 1 : 1;
  /* An adaptive solve decodes a trajectory from its states. */
  const bool decodes = model->network->decoder_count > 0 || model->settings.decoder.output == DECODER_OUTPUT_SOFTMAX;
  if (decodes && plan->trajectory && solve_is_adaptive(plan->method) && plan->method != METHOD_ADAPTIVE_COMPAT)
    latent = true;
  if (image_coder_is(model->network)) latent = true; /* decoded by a launch behind */
  const size_t state_bytes = (size_t)model->latent * sizeof(float);
  const size_t output_bytes = (size_t)model->shape.target_width * sizeof(float);
  const size_t block_rows = solve->kernel->block_rows;
  const size_t tile_bytes = solve->kernel->workspace_floats * sizeof(float);
  const size_t row_bytes = model_row_bytes(condition) + (start ? state_bytes : 0) +
                           ((size_t)latent * state_bytes + (size_t)output * output_bytes) * states +
                           tile_bytes / block_rows + sizeof(float) + sizeof(solve_record) +
                           branch_row_bytes(model->network) +
                           (solve->kernel->staged ? staged_row_bytes(model, false, true) : 0);
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
      {&solve->output, output ? count * states * output_bytes : 0, "predictions"},
      {&solve->workspace, tiles * tile_bytes, "activations"},
      {&solve->density, plan->form.density ? count * sizeof(float) : 0, "log densities"},
      {&solve->records, solve_is_adaptive(plan->method) ? count * sizeof(solve_record) : 0, "records of rows"},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0] && status == NOPROP_OK; ++i)
    if (wanted[i].bytes > 0) status = pool_alloc(model->pool, wanted[i].bytes, wanted[i].what, wanted[i].pointer);
  if (status == NOPROP_OK && model->network->branch_count > 0) status = prepare_branch(model, solve);
  if (status == NOPROP_OK)
    status = staged_allocate_solve(model, solve->kernel, &plan->form, (unsigned)count, &solve->staged);
  if (status == NOPROP_OK)
    status = image_coder_allocate_show(model, plan->average ? model->average : model->parameters, count * states,
                                       &solve->coder);
  if (status == NOPROP_OK) status = upload_times(model, plan, options, solve->times);
  return status == NOPROP_OK ? upload_schedule(model, plan->average, solve) : status;
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
  if (status == NOPROP_OK) status = run_branch(model, solve, count);
  if (status != NOPROP_OK) return status;
  const bool coded = image_coder_is(model->network);
  const integrate_arguments arguments = {
      .parameters = DEVICE_POINTER(const float, parameters),
      .fragments = DEVICE_POINTER(const unsigned, model->fragments),
      .condition =
          solve->branch.features ? solve->branch.features : DEVICE_POINTER(const void, solve->condition_memory),
      .condition_scale = DEVICE_POINTER(const float, model->condition_scale),
      .condition_shift = DEVICE_POINTER(const float, model->condition_shift),
      .output_scale = DEVICE_POINTER(const float, model->output_scale),
      .output_shift = DEVICE_POINTER(const float, model->output_shift),
      .frequencies = DEVICE_POINTER(const float, model->frequencies),
      .times = DEVICE_POINTER(const float, solve->times),
      .start = DEVICE_POINTER(const float, solve->start_memory),
      .latent = DEVICE_POINTER(float, solve->latent),
      .output = coded ? NULL : DEVICE_POINTER(float, solve->output), /* else not of the latents' width */
      .workspace = DEVICE_POINTER(float, solve->workspace),
      .seed = solve->plan.seed,
      .workspace_stride = solve->kernel->workspace_floats,
      .rows = (unsigned)count,
      .steps = (unsigned)solve->plan.steps,
      .row_base = (unsigned)first,
      .normal_start = solve->plan.init == INIT_NORMAL,
      .trajectory = solve->plan.trajectory,
      .reverse = solve->plan.reverse,
      .churn = (float)solve->plan.churn,
      .guidance = (float)solve->plan.guidance,
      .rtol = (float)solve->plan.rtol,
      .atol = (float)solve->plan.atol,
      .max_steps = (unsigned)solve->plan.max_steps,
      .probes = (unsigned)solve->plan.probes,
      .density = DEVICE_POINTER(float, solve->density),
      .records = DEVICE_POINTER(solve_record, solve->records),
      .schedule_rows = DEVICE_POINTER(const float, solve->schedule_rows),
      .schedule_knots = (unsigned)solve->schedule_knots,
      .schedule_mix = (float)solve->schedule_mix,
  };
  const unsigned block_rows = solve->kernel->block_rows;
  if (solve->kernel->staged)
    status = staged_solve(model, solve->kernel, &solve->plan.form, &solve->staged, &arguments);
  else
    status = device_launch(model->device, &solve->kernel->kernel, ((unsigned)count + block_rows - 1) / block_rows,
                           TILE_THREADS, solve->kernel->shared_bytes, &arguments, sizeof arguments);
  if (status != NOPROP_OK || !coded || !solve->output) return status;
  const size_t states = solve->plan.trajectory ? (size_t)solve->plan.steps + 1 : 1;
  return image_coder_show(model, &solve->coder, solve->latent, solve->output, (size_t)count * states);
}

/* States of rows first .. first + count - 1 from a chunk's memory to the caller's [states][rows][d]. */
static noprop_status download_states(noprop_model *model, const struct solve *solve, int width, CUdeviceptr from,
                                     float *to, long first, long count) {
  const size_t d = (size_t)width, values = (size_t)count * d;
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

const char *noprop_solve_outcome_name(noprop_solve_outcome outcome) {
  static const char *const names[] = {"done", "step_cap", "step_too_small", "not_finite"};
  return (unsigned)outcome < sizeof names / sizeof names[0] ? names[outcome] : "unknown";
}

/* The part of log densities that all rows share: the normal's constant and the volume of standardisation. */
static double density_constant(const noprop_model *model) {
  double sum = -0.5 * model->latent * log(2.0 * 3.14159265358979323846);
  for (int i = 0; model->statistics.target_std && i < model->latent; ++i)
    sum -= log((double)model->statistics.target_std[i]);
  return sum;
}

static bool all_finite(const float *values, size_t count) {
  for (size_t i = 0; i < count; ++i)
    if (!isfinite(values[i])) return false;
  return true;
}

/* Reports of rows first .. first + count - 1, from the kernel or, for fixed steps, from the results at hand. */
static noprop_status report_rows(noprop_model *model, const struct solve *solve, const noprop_solve_results *results,
                                 long first, long count) {
  const struct sampler_plan *plan = &solve->plan;
  const size_t d = (size_t)(results->latent ? model->latent : model->shape.target_width);
  noprop_status status = NOPROP_OK;
  solve_record *records = NULL;
  if (!results->rows) return status;
  if (solve->records) {
    records = malloc((size_t)count * sizeof *records);
    status = records ? device_download(model->device, records, solve->records, (size_t)count * sizeof *records)
                     : status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the records of %ld rows", count);
  }
  const float *states = results->latent ? results->latent : results->output;
  if (states && plan->trajectory) states += (size_t)plan->steps * (size_t)solve->rows * d;
  for (long i = 0; i < count && status == NOPROP_OK; ++i) {
    noprop_solve_row *row = &results->rows[first + i];
    const bool finite = (!states || all_finite(states + (size_t)(first + i) * d, d)) &&
                        (!results->log_density || isfinite(results->log_density[first + i]));
    *row = (noprop_solve_row){NOPROP_SOLVE_DONE, plan->calls, plan->steps, 0, 1.0};
    if (records) {
      const int passes = plan->form.guided ? 2 : 1;
      *row = (noprop_solve_row){(noprop_solve_outcome)records[i].outcome, (int)records[i].calls * passes,
                                (int)records[i].steps, (int)records[i].rejections, (double)records[i].elapsed};
    }
    if (!finite) row->outcome = NOPROP_SOLVE_NOT_FINITE;
  }
  free(records);
  return status;
}

static noprop_status download_density(noprop_model *model, const struct solve *solve, double *to, long count) {
  float *values = malloc((size_t)count * sizeof *values);
  if (!values) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the log densities of %ld rows", count);
  const noprop_status status = device_download(model->device, values, solve->density, (size_t)count * sizeof *values);
  const double constant = density_constant(model);
  for (long i = 0; i < count && status == NOPROP_OK; ++i) to[i] = (double)values[i] + constant;
  free(values);
  return status;
}

/* All rows, chunk by chunk. */
static noprop_status solve_rows(noprop_model *model, const struct sampler_plan *plan,
                                const noprop_sampler_options *options, const struct model_rows *condition, long rows,
                                const float *start, const noprop_solve_results *results) {
  struct solve solve;
  model_call_begin(model);
  noprop_status status = solve_prepare(model, plan, options, condition, start, rows, results->latent != NULL,
                                       results->output != NULL, &solve);
  for (long first = 0; first < rows && status == NOPROP_OK; first += solve.chunk) {
    const long count = rows - first < solve.chunk ? rows - first : solve.chunk;
    status = solve_run(model, &solve, first, count);
    if (status == NOPROP_OK && results->latent)
      status = download_states(model, &solve, model->latent, solve.latent, results->latent, first, count);
    if (status == NOPROP_OK && results->output)
      status = download_states(model, &solve, model->shape.target_width, solve.output, results->output, first, count);
    if (status == NOPROP_OK && results->log_density)
      status = download_density(model, &solve, results->log_density + first, count);
    if (status == NOPROP_OK) status = report_rows(model, &solve, results, first, count);
  }
  model_call_end(model);
  return status;
}

static noprop_status sample(noprop_model *model, const noprop_sampler_options *options, const noprop_array *condition,
                            long rows, const noprop_solve_results *results) {
  if (rows < 1 || rows > INT_MAX)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_sample: rows is %ld; 1 to %d are allowed", rows, INT_MAX);
  struct sampler_plan plan;
  struct model_rows condition_rows;
  noprop_status status = sampler_resolve_density(model, options, results->log_density != NULL, &plan);
  if (status != NOPROP_OK) return status;
  if (plan.init == INIT_GIVEN && !options->start)
    return status_set(NOPROP_INVALID_ARGUMENT, "sampler option init is \"given\", but start is NULL");
  status = model_rows_check(model, MODEL_CONDITION, condition, rows, &condition_rows);
  if (status != NOPROP_OK) return status;
  return solve_rows(model, &plan, options, &condition_rows, rows, plan.init == INIT_GIVEN ? options->start : NULL,
                    results);
}

noprop_status noprop_sample(noprop_model *model, const noprop_sampler_options *options, const noprop_array *condition,
                            long rows, float *latent, float *output) {
  if (!model || !options)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_sample: model and options must not be NULL");
  if (!latent && !output)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_sample: latent and output are both NULL; one of them is needed");
  const noprop_solve_results results = {.latent = latent, .output = output};
  return sample(model, options, condition, rows, &results);
}

noprop_status noprop_solve(noprop_model *model, const noprop_sampler_options *options, const noprop_array *condition,
                           long rows, const noprop_solve_results *results) {
  if (!model || !options || !results)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_solve: model, options and results must not be NULL");
  if (!results->latent && !results->output && !results->log_density)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_solve: latent, output and log_density are all NULL; one of them is needed");
  return sample(model, options, condition, rows, results);
}

noprop_status noprop_integrate(noprop_model *model, const noprop_sampler_options *options,
                               const noprop_array *condition, long rows, const float *start, float *end) {
  if (!model || !options || !start || !end)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_integrate: model, options, start and end must not be NULL");
  noprop_sampler_options given = *options;
  snprintf(given.init, sizeof given.init, "given");
  given.start = start;
  const noprop_solve_results results = {.latent = end};
  return sample(model, &given, condition, rows, &results);
}

/* The rows as states at t = 1: standardised. */
static noprop_status standardise(const noprop_model *model, const struct model_rows *target, float **states) {
  const size_t d = (size_t)model->latent, count = (size_t)target->rows * d;
  /* Converted first to the type that the device reads, as in training. */
  void *raw = malloc((size_t)target->rows * model_row_bytes(target));
  *states = malloc(count * sizeof **states);
  if (!raw || !*states) {
    free(raw);
    free(*states);
    *states = NULL;
    return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for %ld rows", target->rows);
  }
  model_rows_convert(target, 0, target->rows, raw);
  for (size_t i = 0; i < count; ++i) {
    const double value = target->to == NOPROP_TYPE_UINT8 ? ((const uint8_t *)raw)[i] : (double)((const float *)raw)[i];
    const double mean = (double)model->statistics.target_mean[i % d], std = (double)model->statistics.target_std[i % d];
    (*states)[i] = (float)((value - mean) / std);
  }
  free(raw);
  return NOPROP_OK;
}

noprop_status noprop_log_density(noprop_model *model, const noprop_sampler_options *options,
                                 const noprop_array *condition, const noprop_array *target, double *log_density,
                                 float *latent, noprop_solve_row *rows) {
  if (!model || !options || !target || !log_density)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_log_density: model, options, target and log_density must not be NULL");
  if (options->trajectory)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_log_density: sampler option trajectory is not for densities");
  struct sampler_plan plan;
  struct model_rows target_rows, condition_rows;
  noprop_status status = sampler_resolve_density(model, options, true, &plan);
  if (status == NOPROP_OK) status = model_rows_check(model, MODEL_TARGET, target, -1, &target_rows);
  if (status == NOPROP_OK)
    status = model_rows_check(model, MODEL_CONDITION, condition, target_rows.rows, &condition_rows);
  if (status != NOPROP_OK) return status;
  plan.reverse = true;
  plan.init = INIT_GIVEN;
  float *states;
  status = standardise(model, &target_rows, &states);
  if (status != NOPROP_OK) return status;
  const noprop_solve_results results = {.latent = latent, .log_density = log_density, .rows = rows};
  status = solve_rows(model, &plan, options, &condition_rows, target_rows.rows, states, &results);
  free(states);
  return status;
}
