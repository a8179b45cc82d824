/* Forecasts of sequences beside two baselines: the last value repeated, and linear autoregression. */
#include "noprop/forecast.h"

#include <math.h>
#include <stdlib.h>

#include "engine/status.h"
#include "host/array.h"
#include "host/report.h"

/* More training rows change a fit of some hundred numbers no more. */
enum { FIT_ROWS_MOST = 20000 };
/* Of the mean variance: keeps features that depend on one another from dividing by zero. */
static const double RIDGE = 1e-9;

static noprop_status no_memory(void) { return status_set(NOPROP_OUT_OF_MEMORY, "no memory to measure a forecast"); }

bool noprop_is_forecast(const noprop_array *condition, const noprop_array *target) {
  return condition != NULL && target != NULL && condition->rank == 3 && target->rank == 3 &&
         condition->shape[2] == target->shape[2] && condition->type != NOPROP_TYPE_UINT8 &&
         target->type != NOPROP_TYPE_UINT8;
}

/* ---- variance explained ------------------------------------------------------------------------------------------ */

/* Predictions by row and column: of the model, or of a baseline. */
typedef double (*prediction)(const void *from, long row, long column);

static void explain(const noprop_array *target, prediction predict, const void *from, double *percent) {
  const long horizon = target->shape[1], features = target->shape[2];
  for (long h = 0; h < horizon; h++) {
    double error = 0, variance = 0;
    for (long i = 0; i < features; i++) {
      const long column = h * features + i;
      double mean = 0;
      for (long row = 0; row < target->rows; row++) mean += array_value(target, row, column) / (double)target->rows;
      for (long row = 0; row < target->rows; row++) {
        const double y = array_value(target, row, column), e = y - predict(from, row, column);
        error += e * e;
        variance += (y - mean) * (y - mean);
      }
    }
    percent[h] = 100.0 * (1.0 - error / variance);
  }
}

struct model_rows {
  const float *values;
  long width;
};

static double model_value(const void *from, long row, long column) {
  const struct model_rows *rows = from;
  return (double)rows->values[row * rows->width + column];
}

static double last_value(const void *from, long row, long column) {
  const noprop_array *condition = from;
  const long features = condition->shape[2];
  return array_value(condition, row, condition->width - features + column % features);
}

/* ---- linear autoregression --------------------------------------------------------------------------------------- */

struct linear {
  const noprop_array *condition;
  long inputs, outputs;
  double *x_mean, *y_mean; /* [inputs], [outputs] */
  double *moments;         /* [inputs][inputs], then its Cholesky factor below the diagonal and on it */
  double *weights;         /* [inputs][outputs] */
};

static double linear_value(const void *from, long row, long column) {
  const struct linear *fit = from;
  double value = fit->y_mean[column];
  for (long i = 0; i < fit->inputs; i++)
    value += (array_value(fit->condition, row, i) - fit->x_mean[i]) * fit->weights[i * fit->outputs + column];
  return value;
}

static void means(const noprop_array *array, long rows, double *mean) {
  for (long i = 0; i < array->width; i++)
    for (long row = 0; row < rows; row++) mean[i] += array_value(array, row, i) / (double)rows;
}

/* Normal equations: moments = X'X, weights = X'Y of the centred rows. */
static void add_products(struct linear *fit, const noprop_array *x, const noprop_array *y, long rows, double *row_x) {
  for (long row = 0; row < rows; row++) {
    for (long i = 0; i < fit->inputs; i++) row_x[i] = array_value(x, row, i) - fit->x_mean[i];
    for (long j = 0; j < fit->outputs; j++) {
      const double target = array_value(y, row, j) - fit->y_mean[j];
      for (long i = 0; i < fit->inputs; i++) fit->weights[i * fit->outputs + j] += row_x[i] * target;
    }
    for (long i = 0; i < fit->inputs; i++)
      for (long j = 0; j <= i; j++) fit->moments[i * fit->inputs + j] += row_x[i] * row_x[j];
  }
}

/* Solves moments * weights = weights by Cholesky's factor. */
static void solve(struct linear *fit) {
  const long n = fit->inputs, m = fit->outputs;
  double *a = fit->moments, trace = 0;
  for (long i = 0; i < n; i++) trace += a[i * n + i];
  for (long i = 0; i < n; i++) a[i * n + i] += RIDGE * trace / (double)n;
  for (long j = 0; j < n; j++)
    for (long i = j; i < n; i++) {
      double sum = a[i * n + j];
      for (long k = 0; k < j; k++) sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
    }
  for (long c = 0; c < m; c++) {
    double *b = fit->weights + c;
    for (long i = 0; i < n; i++) {
      for (long k = 0; k < i; k++) b[i * m] -= a[i * n + k] * b[k * m];
      b[i * m] /= a[i * n + i];
    }
    for (long i = n - 1; i >= 0; i--) {
      for (long k = i + 1; k < n; k++) b[i * m] -= a[k * n + i] * b[k * m];
      b[i * m] /= a[i * n + i];
    }
  }
}

static noprop_status measure_linear(const noprop_array *train_x, const noprop_array *train_y,
                                    const noprop_array *condition, const noprop_array *target, double *percent) {
  struct linear fit = {.condition = condition, .inputs = train_x->width, .outputs = train_y->width};
  const long rows = train_x->rows < FIT_ROWS_MOST ? train_x->rows : FIT_ROWS_MOST;
  const size_t n = (size_t)fit.inputs, m = (size_t)fit.outputs;
  double *memory = calloc(2 * n + m + n * n + n * m, sizeof *memory);
  if (memory == NULL) return no_memory();
  fit.x_mean = memory;
  double *row_x = fit.x_mean + n;
  fit.y_mean = row_x + n;
  fit.moments = fit.y_mean + m;
  fit.weights = fit.moments + n * n;
  means(train_x, rows, fit.x_mean);
  means(train_y, rows, fit.y_mean);
  add_products(&fit, train_x, train_y, rows, row_x);
  solve(&fit);
  explain(target, linear_value, &fit, percent);
  free(memory);
  return NOPROP_OK;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

void noprop_forecast_free(noprop_forecast *forecast) {
  if (forecast == NULL) return;
  free(forecast->model);
  free(forecast->repeat);
  free(forecast->linear);
  *forecast = (noprop_forecast){.horizon = 0};
}

noprop_status noprop_forecast_measure(noprop_model *model, const noprop_sampler_options *options,
                                      const noprop_array *train_condition, const noprop_array *train_target,
                                      const noprop_array *condition, const noprop_array *target, float *predicted,
                                      noprop_forecast *forecast) {
  if (forecast == NULL || options == NULL || !noprop_is_forecast(condition, target) || condition->rows != target->rows)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_forecast_measure needs options, a place for the result, and condition and target of "
                      "[rows][points][features] with the same rows and features");
  if ((train_condition == NULL) != (train_target == NULL) ||
      (train_condition != NULL && (train_condition->width != condition->width || train_target->width != target->width)))
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_forecast_measure needs training rows of the same shape, or none");
  const size_t horizon = (size_t)target->shape[1], numbers = (size_t)target->rows * (size_t)target->width;
  *forecast = (noprop_forecast){.horizon = (int)horizon, .features = (int)target->shape[2], .rows = target->rows};
  forecast->model = malloc(horizon * sizeof(double));
  forecast->repeat = malloc(horizon * sizeof(double));
  if (train_condition != NULL) forecast->linear = malloc(horizon * sizeof(double));
  float *own = predicted == NULL ? malloc(numbers * sizeof *own) : NULL;
  noprop_status status = NOPROP_OK;
  if (forecast->model == NULL || forecast->repeat == NULL || (train_condition != NULL && forecast->linear == NULL) ||
      (predicted == NULL && own == NULL))
    status = no_memory();
  if (predicted == NULL) predicted = own;
  if (status == NOPROP_OK) status = noprop_sample(model, options, condition, target->rows, NULL, predicted);
  if (status == NOPROP_OK) {
    const struct model_rows rows = {predicted, target->width};
    explain(target, model_value, &rows, forecast->model);
    explain(target, last_value, condition, forecast->repeat);
  }
  if (status == NOPROP_OK && train_condition != NULL)
    status = measure_linear(train_condition, train_target, condition, target, forecast->linear);
  free(own);
  if (status != NOPROP_OK) noprop_forecast_free(forecast);
  return status;
}
