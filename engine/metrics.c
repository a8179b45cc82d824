/* Metrics of a model's predictions or samples, accumulated on the device and read back once.
 *
 *   classify, regress  accuracy, mse, mae, r2 = 1 - sum (prediction - target)^2 / sum (target - column mean)^2
 *   generate           sliced_w2: square root of the mean over 128 fixed random directions of the squared 2-Wasserstein
 *                      distance of the projections (quantile form, so sample sizes may differ);
 *                      energy: 2 E|X-Y| - E|X-X'| - E|Y-Y'|, all pairs of the rows used
 * Distances use at most 16,384 rows (sorting is done in shared memory), the energy distance at most 4,096 and fewer for
 * wide rows (its work grows with the square); more rows are thinned to an evenly spaced subset. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sampler.h"
#include "engine/status.h"
#include "kernels/metrics_arguments.h"
#include "kernels/philox.h"

enum { PROJECTIONS = 128, ERROR_BLOCKS = 64, ENERGY_ROWS = 4096 };
/* Pairs times width that the energy distance may cost: about a second on one CPU core of the virtual GPU. */
static const double ENERGY_WORK = 0x1p31;
static const uint64_t DIRECTION_SEED = 0x736c69636564u;

static noprop_status launch(noprop_model *model, const char *entry, unsigned grid, unsigned shared_bytes,
                            const void *arguments, size_t size) {
  struct kernel kernel;
  noprop_status status = device_builtin(model->device, "metrics", entry, &kernel);
  return status == NOPROP_OK
             ? device_launch(model->device, &kernel, grid, METRICS_THREADS, shared_bytes, arguments, size)
             : status;
}

static unsigned blocks_for(unsigned threads) { return (threads + METRICS_THREADS - 1) / METRICS_THREADS; }

static int element_type(noprop_type type) {
  return type == NOPROP_TYPE_UINT8 ? METRICS_UINT8 : type == NOPROP_TYPE_INT32 ? METRICS_INT32 : METRICS_FLOAT32;
}

/* ---- errors ---- */

static noprop_status read_errors(noprop_model *model, CUdeviceptr totals, CUdeviceptr correct, unsigned width,
                                 long rows, noprop_metrics *metrics) {
  const size_t bytes = (size_t)width * ERROR_SUMS * sizeof(double);
  unsigned right = 0;
  double *sums = malloc(bytes);
  if (!sums) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the errors of %u columns", width);
  noprop_status status = device_download(model->device, sums, totals, bytes);
  if (status == NOPROP_OK) status = device_download(model->device, &right, correct, sizeof right);
  double squared = 0.0, absolute = 0.0, spread = 0.0;
  for (unsigned column = 0; status == NOPROP_OK && column < width; ++column) {
    const double *sum = sums + (size_t)column * ERROR_SUMS;
    squared += sum[ERROR_SQUARED];
    absolute += sum[ERROR_ABSOLUTE];
    spread += sum[ERROR_TARGET_SQUARED] - sum[ERROR_TARGET] * sum[ERROR_TARGET] / (double)rows;
  }
  free(sums);
  if (status != NOPROP_OK) return status;
  const double values = (double)rows * width;
  metrics->has_errors = true;
  metrics->mse = squared / values;
  metrics->mae = absolute / values;
  metrics->r2 = 1.0 - squared / spread; /* minus infinity or NaN where all targets are equal */
  metrics->has_accuracy = model->shape.target_is_label;
  metrics->accuracy = metrics->has_accuracy ? right / (double)rows : 0.0;
  return NOPROP_OK;
}

static noprop_status measure_errors(noprop_model *model, struct solve *solve, const struct model_rows *target,
                                    noprop_metrics *metrics) {
  const unsigned width = (unsigned)model->shape.target_width;
  const size_t table = (size_t)width * ERROR_SUMS * sizeof(double);
  const bool label = model->shape.target_is_label;
  CUdeviceptr memory = 0, partials = 0, totals = 0, correct = 0, shift = 0;
  noprop_status status = pool_alloc(model->pool, (size_t)solve->chunk * model_row_bytes(target), "targets", &memory);
  if (status == NOPROP_OK) status = pool_alloc(model->pool, ERROR_BLOCKS * table, "sums of errors", &partials);
  if (status == NOPROP_OK) status = pool_alloc(model->pool, table, "sums of errors", &totals);
  if (status == NOPROP_OK) status = pool_alloc(model->pool, sizeof(unsigned), "a count", &correct);
  if (!label) shift = model->output_shift; /* the mean of the training rows */
  errors_arguments arguments = {
      .prediction = DEVICE_POINTER(const float, solve->output),
      .target = DEVICE_POINTER(const void, memory),
      .shift = DEVICE_POINTER(const float, shift),
      .partials = DEVICE_POINTER(double, partials),
      .totals = DEVICE_POINTER(double, totals),
      .correct = DEVICE_POINTER(unsigned, correct),
      .off_value = model->network->classes ? 0.0f : (float)model->settings.latent.off_value, /* of probabilities: 0 */
      .width = width,
      .blocks = ERROR_BLOCKS,
      .type = element_type(target->to),
      .is_label = label,
  };
  for (long first = 0; first < solve->rows && status == NOPROP_OK; first += solve->chunk) {
    const long count = solve->rows - first < solve->chunk ? solve->rows - first : solve->chunk;
    arguments.rows = (unsigned)count;
    status = model_rows_upload(model, target, first, count, memory);
    if (status == NOPROP_OK) status = solve_run(model, solve, first, count);
    if (status == NOPROP_OK) status = launch(model, "row_errors", ERROR_BLOCKS, 0, &arguments, sizeof arguments);
    if (status == NOPROP_OK) status = launch(model, "column_errors", 1, 0, &arguments, sizeof arguments);
  }
  return status == NOPROP_OK ? read_errors(model, totals, correct, width, solve->rows, metrics) : status;
}

/* ---- distances between samples ---- */

/* A set of rows in device memory. */
struct sample {
  CUdeviceptr rows;
  unsigned count, width;
  int type;
};

/* `count` evenly spaced rows as float columns. */
static noprop_status columns_of(noprop_model *model, const struct sample *sample, unsigned count,
                                CUdeviceptr *columns) {
  noprop_status status =
      pool_alloc(model->pool, (size_t)count * sample->width * sizeof(float), "columns of a sample", columns);
  if (status != NOPROP_OK) return status;
  const subset_arguments arguments = {.rows_in = DEVICE_POINTER(const void, sample->rows),
                                      .columns = DEVICE_POINTER(float, *columns),
                                      .rows = sample->count,
                                      .width = sample->width,
                                      .count = count,
                                      .type = sample->type};
  return launch(model, "subset_columns", blocks_for(count), 0, &arguments, sizeof arguments);
}

/* Unit vectors, uniform on the sphere: the same for every model and call. */
static noprop_status upload_directions(noprop_model *model, unsigned width, CUdeviceptr *memory) {
  const size_t bytes = (size_t)PROJECTIONS * width * sizeof(float);
  noprop_status status = pool_alloc(model->pool, bytes, "directions", memory);
  if (status != NOPROP_OK) return status;
  float *directions = malloc(bytes);
  if (!directions) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for %d directions", PROJECTIONS);
  for (unsigned p = 0; p < PROJECTIONS; ++p) {
    float *direction = directions + (size_t)p * width;
    double squares = 0.0;
    for (unsigned i = 0; i < width; ++i) {
      const philox_words words = philox(DIRECTION_SEED, i, p, philox_stream(STREAM_PROBE, 0, 0), 0);
      const double radius = sqrt(-2.0 * log((double)philox_uniform(words.word[0])));
      const double normal = radius * cos(6.283185307179586 * (double)philox_uniform(words.word[1]));
      direction[i] = (float)normal;
      squares += normal * normal;
    }
    for (unsigned i = 0; i < width; ++i) direction[i] = (float)(direction[i] / sqrt(squares));
  }
  status = device_upload(model->device, *memory, directions, bytes);
  if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
  free(directions);
  return status;
}

/* The sample's projections, each sorted: [PROJECTIONS][padded]. */
static noprop_status project_sorted(noprop_model *model, const struct sample *sample, CUdeviceptr directions,
                                    CUdeviceptr *values, unsigned *padded) {
  CUdeviceptr columns = 0;
  *padded = 1;
  while (*padded < sample->count) *padded *= 2;
  noprop_status status = columns_of(model, sample, sample->count, &columns);
  if (status == NOPROP_OK)
    status = pool_alloc(model->pool, (size_t)PROJECTIONS * *padded * sizeof(float), "projections", values);
  if (status != NOPROP_OK) return status;
  const project_arguments arguments = {.columns = DEVICE_POINTER(const float, columns),
                                       .directions = DEVICE_POINTER(const float, directions),
                                       .values = DEVICE_POINTER(float, *values),
                                       .width = sample->width,
                                       .count = sample->count,
                                       .padded = *padded};
  status = launch(model, "project", PROJECTIONS * blocks_for(*padded), 0, &arguments, sizeof arguments);
  if (status == NOPROP_OK)
    status = launch(model, "sort", PROJECTIONS, *padded * (unsigned)sizeof(float), &arguments, sizeof arguments);
  return status;
}

static noprop_status measure_sliced(noprop_model *model, const struct sample *first, const struct sample *second,
                                    double *sliced) {
  CUdeviceptr directions = 0, sorted[2] = {0, 0}, distances = 0;
  wasserstein_arguments arguments = {.first_count = first->count, .second_count = second->count};
  noprop_status status = upload_directions(model, first->width, &directions);
  if (status == NOPROP_OK) status = project_sorted(model, first, directions, &sorted[0], &arguments.first_padded);
  if (status == NOPROP_OK) status = project_sorted(model, second, directions, &sorted[1], &arguments.second_padded);
  if (status == NOPROP_OK) status = pool_alloc(model->pool, PROJECTIONS * sizeof(double), "distances", &distances);
  if (status != NOPROP_OK) return status;
  arguments.first = DEVICE_POINTER(const float, sorted[0]);
  arguments.second = DEVICE_POINTER(const float, sorted[1]);
  arguments.distances = DEVICE_POINTER(double, distances);
  status = launch(model, "wasserstein", PROJECTIONS, 0, &arguments, sizeof arguments);
  double values[PROJECTIONS], sum = 0.0;
  if (status == NOPROP_OK) status = device_download(model->device, values, distances, sizeof values);
  for (int i = 0; status == NOPROP_OK && i < PROJECTIONS; ++i) sum += values[i];
  *sliced = sqrt(sum / PROJECTIONS);
  return status;
}

/* The mean distance between the rows of two sets of columns. */
static noprop_status mean_distance(noprop_model *model, CUdeviceptr first, unsigned first_count, CUdeviceptr second,
                                   unsigned second_count, unsigned width, double *mean) {
  enum { MOST_BLOCKS = ENERGY_ROWS / METRICS_THREADS };
  const unsigned blocks = blocks_for(first_count);
  CUdeviceptr partials;
  double values[MOST_BLOCKS], sum = 0.0;
  noprop_status status = pool_alloc(model->pool, sizeof values, "sums of distances", &partials);
  if (status != NOPROP_OK) return status;
  const pairs_arguments arguments = {.first = DEVICE_POINTER(const float, first),
                                     .second = DEVICE_POINTER(const float, second),
                                     .partials = DEVICE_POINTER(double, partials),
                                     .width = width,
                                     .first_count = first_count,
                                     .second_count = second_count};
  status = launch(model, "pair_distances", blocks, 0, &arguments, sizeof arguments);
  if (status == NOPROP_OK) status = device_download(model->device, values, partials, blocks * sizeof values[0]);
  for (unsigned i = 0; status == NOPROP_OK && i < blocks; ++i) sum += values[i];
  *mean = sum / ((double)first_count * second_count);
  return status;
}

static noprop_status measure_energy(noprop_model *model, const struct sample *first, const struct sample *second,
                                    double *energy) {
  const double most = fmin(ENERGY_ROWS, sqrt(ENERGY_WORK / first->width));
  const unsigned n = first->count < most ? first->count : (unsigned)most;
  const unsigned m = second->count < most ? second->count : (unsigned)most;
  CUdeviceptr a = 0, b = 0;
  double between = 0.0, within_first = 0.0, within_second = 0.0;
  noprop_status status = columns_of(model, first, n, &a);
  if (status == NOPROP_OK) status = columns_of(model, second, m, &b);
  if (status == NOPROP_OK) status = mean_distance(model, a, n, b, m, first->width, &between);
  if (status == NOPROP_OK) status = mean_distance(model, a, n, a, n, first->width, &within_first);
  if (status == NOPROP_OK) status = mean_distance(model, b, m, b, m, first->width, &within_second);
  *energy = 2.0 * between - within_first - within_second;
  return status;
}

static noprop_status measure_distances(noprop_model *model, struct solve *solve, const struct model_rows *target,
                                       noprop_metrics *metrics) {
  CUdeviceptr memory;
  noprop_status status = pool_alloc(model->pool, (size_t)target->rows * model_row_bytes(target), "targets", &memory);
  if (status == NOPROP_OK) status = model_rows_upload(model, target, 0, target->rows, memory);
  if (status == NOPROP_OK) status = solve_run(model, solve, 0, solve->rows);
  const struct sample made = {solve->output, (unsigned)solve->rows, (unsigned)model->shape.target_width,
                              METRICS_FLOAT32};
  const struct sample given = {memory, (unsigned)target->rows, (unsigned)model->shape.target_width,
                               element_type(target->to)};
  if (status == NOPROP_OK) status = measure_sliced(model, &made, &given, &metrics->sliced_w2);
  if (status == NOPROP_OK) status = measure_energy(model, &made, &given, &metrics->energy);
  metrics->has_distances = status == NOPROP_OK;
  return status;
}

/* ---- evaluation ---- */

/* `count` evenly spaced rows, converted, in fresh memory that the caller frees. */
static noprop_status thin(const struct model_rows *rows, long count, struct model_rows *thinned, void **memory) {
  *thinned = *rows;
  *memory = NULL;
  if (!rows->values) return NOPROP_OK;
  const size_t row_bytes = model_row_bytes(rows);
  *memory = malloc((size_t)count * row_bytes);
  if (!*memory) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for %ld rows", count);
  for (long i = 0; i < count; ++i)
    model_rows_convert(rows, (long)((long long)i * rows->rows / count), 1, (char *)*memory + (size_t)i * row_bytes);
  *thinned = (struct model_rows){*memory, rows->to, rows->to, count, rows->width};
  return NOPROP_OK;
}

static noprop_status evaluate(noprop_model *model, const struct sampler_plan *plan,
                              const noprop_sampler_options *options, const struct model_rows *condition,
                              const struct model_rows *target, noprop_metrics *metrics) {
  struct solve solve;
  model_call_begin(model);
  noprop_status status =
      solve_prepare(model, plan, options, condition, plan->init == INIT_GIVEN ? options->start : NULL, target->rows,
                    false, true, &solve);
  if (status == NOPROP_OK)
    status = model->settings.task == TASK_GENERATE ? measure_distances(model, &solve, target, metrics)
                                                   : measure_errors(model, &solve, target, metrics);
  model_call_end(model);
  return status;
}

noprop_status noprop_evaluate(noprop_model *model, const noprop_sampler_options *options, const noprop_array *condition,
                              const noprop_array *target, noprop_metrics *metrics) {
  if (!model || !options || !target || !metrics)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_evaluate: model, options, target and metrics must not be NULL");
  struct sampler_plan plan;
  struct model_rows condition_rows, target_rows;
  memset(metrics, 0, sizeof *metrics);
  noprop_status status = sampler_resolve(model, options, &plan);
  if (status == NOPROP_OK) status = model_rows_check(model, MODEL_TARGET, target, -1, &target_rows);
  if (status == NOPROP_OK) status = model_rows_check(model, MODEL_CONDITION, condition, target->rows, &condition_rows);
  if (status != NOPROP_OK) return status;
  if (plan.init == INIT_GIVEN && !options->start)
    return status_set(NOPROP_INVALID_ARGUMENT, "sampler option init is \"given\", but start is NULL");
  plan.trajectory = false;
  metrics->rows = target_rows.rows;
  if (model->settings.task != TASK_GENERATE || target_rows.rows <= METRICS_SORT_MAX)
    return evaluate(model, &plan, options, &condition_rows, &target_rows, metrics);
  if (plan.init == INIT_GIVEN)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_evaluate: init \"given\" with %ld rows; distances take at most %d rows with given states",
                      target_rows.rows, METRICS_SORT_MAX);
  struct model_rows thin_condition, thin_target;
  void *condition_memory = NULL, *target_memory = NULL;
  metrics->rows = METRICS_SORT_MAX;
  status = thin(&condition_rows, METRICS_SORT_MAX, &thin_condition, &condition_memory);
  if (status == NOPROP_OK) status = thin(&target_rows, METRICS_SORT_MAX, &thin_target, &target_memory);
  if (status == NOPROP_OK) status = evaluate(model, &plan, options, &thin_condition, &thin_target, metrics);
  free(condition_memory);
  free(target_memory);
  return status;
}

noprop_status noprop_distances(noprop_model *model, const noprop_array *first, const noprop_array *second,
                               noprop_metrics *metrics) {
  if (!model || !first || !second || !metrics)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_distances: no argument may be NULL");
  memset(metrics, 0, sizeof *metrics);
  if (model->shape.target_is_label)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_distances: the model's targets are labels; distances are between "
                      "vectors");
  const noprop_array *arrays[2] = {first, second};
  struct model_rows rows[2];
  struct sample samples[2];
  noprop_status status = NOPROP_OK;
  for (int i = 0; i < 2 && status == NOPROP_OK; ++i) {
    status = model_rows_check(model, MODEL_TARGET, arrays[i], -1, &rows[i]);
    if (status == NOPROP_OK && rows[i].rows > METRICS_SORT_MAX)
      status = status_set(NOPROP_INVALID_ARGUMENT, "noprop_distances: %ld rows; at most %d are allowed", rows[i].rows,
                          METRICS_SORT_MAX);
  }
  if (status != NOPROP_OK) return status;
  model_call_begin(model);
  for (int i = 0; i < 2 && status == NOPROP_OK; ++i) {
    CUdeviceptr memory;
    status = pool_alloc(model->pool, (size_t)rows[i].rows * model_row_bytes(&rows[i]), "rows to compare", &memory);
    if (status == NOPROP_OK) status = model_rows_upload(model, &rows[i], 0, rows[i].rows, memory);
    samples[i] = (struct sample){memory, (unsigned)rows[i].rows, (unsigned)rows[i].width, element_type(rows[i].to)};
  }
  if (status == NOPROP_OK) status = measure_sliced(model, &samples[0], &samples[1], &metrics->sliced_w2);
  if (status == NOPROP_OK) status = measure_energy(model, &samples[0], &samples[1], &metrics->energy);
  model_call_end(model);
  metrics->has_distances = status == NOPROP_OK;
  metrics->rows = rows[0].rows;
  return status;
}
