/* The schedule that a model has learned: its numbers from the device, evaluated on the host. */
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "engine/schedule.h"
#include "engine/status.h"

noprop_status model_schedule_numbers(const noprop_model *model, bool average, double **result) {
  const struct network *network = model->network;
  const long count = schedule_parameter_count(&model->settings);
  *result = NULL;
  if (count == 0) return NOPROP_OK;
  const size_t bytes = (size_t)(network->padded_floats - network->decayed_floats) * sizeof(float);
  float *padded = malloc(bytes);
  double *numbers = malloc((size_t)count * sizeof *numbers), *to = numbers;
  if (!padded || !numbers) {
    free(numbers);
    free(padded);
    return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the %ld numbers of a schedule", count);
  }
  const CUdeviceptr from = average ? model->average : model->parameters;
  const noprop_status status =
      device_download(model->device, padded, from + (size_t)network->decayed_floats * sizeof(float), bytes);
  for (int i = 0; i < network->parameter_count; ++i) {
    const struct parameter_entry *entry = &network->parameters[i];
    if (entry->initialiser != INITIALISE_SCHEDULE) continue;
    for (int row = 0; row < entry->rows; ++row)
      for (int column = 0; column < entry->columns; ++column)
        *to++ = padded[entry->padded_offset - network->decayed_floats + (long)row * entry->stride + column];
  }
  free(padded);
  if (status != NOPROP_OK)
    free(numbers);
  else
    *result = numbers;
  return status;
}

noprop_status model_schedule_grid(const noprop_model *model, bool average, int grid, int steps, double *times) {
  double *numbers;
  noprop_status status = model_schedule_numbers(model, average, &numbers);
  if (status == NOPROP_OK) status = schedule_grid(&model->settings, numbers, grid, steps, times);
  free(numbers);
  return status;
}

noprop_status noprop_model_schedule(noprop_model *model, bool ema, const double *t, long count,
                                    noprop_schedule_values *values) {
  if (!model || !t || !values || count < 0)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_model_schedule: model, t and values must not be NULL and count not negative");
  if (ema && !model->average)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "this model has no averaged parameters: it was made with optimizer.ema 0");
  struct schedule *schedule = malloc(sizeof *schedule);
  if (!schedule) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a schedule");
  double *numbers;
  noprop_status status = model_schedule_numbers(model, ema, &numbers);
  if (status == NOPROP_OK) status = schedule_describe(&model->settings, numbers, schedule);
  for (long i = 0; status == NOPROP_OK && i < count; ++i) {
    if (!(t[i] >= 0.0 && t[i] <= 1.0))
      status =
          status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_schedule: t[%ld] is %g; times are from 0 to 1", i, t[i]);
    else
      values[i] = schedule_at(schedule, t[i]);
  }
  free(numbers);
  free(schedule);
  return status;
}
