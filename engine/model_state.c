/* Training state as named arrays: what a checkpoint reads and writes. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/dt.h"
#include "engine/status.h"

/* The groups in the order of their arrays. */
enum state_group {
  GROUP_PARAMETERS,
  GROUP_AVERAGE,
  GROUP_MOMENT1,
  GROUP_MOMENT2,
  GROUP_STATISTICS,
  GROUP_PROGRESS,
  GROUP_BLOCKS,
  GROUP_PROTOTYPES
};

/* training/progress: completed, steps_summed, rows_summed, gradient_norm, learning_rate, then the sums. All are exact
 * in double precision. */
enum { PROGRESS_VALUES = 5 + SLOT_TERMS, STATISTICS_ARRAYS = 4 };

static CUdeviceptr group_memory(const noprop_model *model, int group) {
  switch (group) {
    case GROUP_PARAMETERS:
      return model->parameters;
    case GROUP_AVERAGE:
      return model->average;
    case GROUP_MOMENT1:
      return model->moment1;
    default:
      return model->moment2;
  }
}

static const char *const group_names[] = {"parameters", "average", "moment1", "moment2"};

static const struct {
  const char *name;
  size_t member;
} statistics_arrays[STATISTICS_ARRAYS] = {
    {"condition_mean", offsetof(struct model_statistics, condition_mean)},
    {"condition_std", offsetof(struct model_statistics, condition_std)},
    {"target_mean", offsetof(struct model_statistics, target_mean)},
    {"target_std", offsetof(struct model_statistics, target_std)},
};

static float *statistics_array(const noprop_model *model, int which) {
  return *(float *const *)((const char *)&model->statistics + statistics_arrays[which].member);
}

/* Where array `index` stands: its group, and its number in it. */
struct place {
  int group, number;
};

static struct place place_of(const noprop_model *model, int index) {
  for (int group = GROUP_PARAMETERS; group <= GROUP_MOMENT2; ++group) {
    if (!group_memory(model, group)) continue;
    if (index < model->network->parameter_count) return (struct place){group, index};
    index -= model->network->parameter_count;
  }
  for (int i = 0; i < STATISTICS_ARRAYS; ++i) {
    if (!statistics_array(model, i)) continue;
    if (index == 0) return (struct place){GROUP_STATISTICS, i};
    --index;
  }
  return (struct place){index == 0 ? GROUP_PROGRESS : index == 1 ? GROUP_BLOCKS : GROUP_PROTOTYPES, 0};
}

int model_state_count(const noprop_model *model) {
  int count = model->network->blocks ? 2 : 1;
  if (model->settings.latent.embedding == EMBEDDING_PROTOTYPE) ++count;
  for (int group = GROUP_PARAMETERS; group <= GROUP_MOMENT2; ++group)
    if (group_memory(model, group)) count += model->network->parameter_count;
  for (int i = 0; i < STATISTICS_ARRAYS; ++i) count += statistics_array(model, i) != NULL;
  return count;
}

struct model_state model_state_at(const noprop_model *model, int index) {
  const struct place place = place_of(model, index);
  struct model_state state = {.type = NOPROP_TYPE_FLOAT32, .rank = 1, .shape = {1, 1}};
  if (place.group == GROUP_PROGRESS) {
    snprintf(state.name, sizeof state.name, "training/progress");
    state.type = NOPROP_TYPE_FLOAT64;
    state.shape[0] = PROGRESS_VALUES;
  } else if (place.group == GROUP_PROTOTYPES) {
    snprintf(state.name, sizeof state.name, "statistics/prototypes");
    state.rank = 2;
    state.shape[0] = model->network->classes;
    state.shape[1] = model->latent;
  } else if (place.group == GROUP_BLOCKS) {
    snprintf(state.name, sizeof state.name, "training/blocks");
    state.type = NOPROP_TYPE_FLOAT64;
    state.shape[0] = model->network->blocks;
  } else if (place.group == GROUP_STATISTICS) {
    snprintf(state.name, sizeof state.name, "statistics/%s", statistics_arrays[place.number].name);
    state.shape[0] = place.number < 2 ? model->shape.condition_width : model->shape.target_width;
  } else {
    const noprop_parameter parameter = noprop_model_parameter(model, place.number);
    snprintf(state.name, sizeof state.name, "%s/%s", group_names[place.group], parameter.name);
    state.rank = parameter.rank;
    memcpy(state.shape, parameter.shape, sizeof state.shape);
  }
  state.values = state.shape[0] * state.shape[1];
  return state;
}

static noprop_status check(const noprop_model *model, int index, const void *values) {
  if (!model || !values)
    return status_set(NOPROP_INVALID_ARGUMENT, "training state: model and values must not be NULL");
  if (index < 0 || index >= model_state_count(model))
    return status_set(NOPROP_INVALID_ARGUMENT, "training state: there is no array %d; 0 to %d are allowed", index,
                      model_state_count(model) - 1);
  return NOPROP_OK;
}

static noprop_status get_progress(noprop_model *model, double *values) {
  train_state state;
  noprop_status status = device_download(model->device, &state, model->state, sizeof state);
  if (status != NOPROP_OK) return status;
  /* After a step that was not finite the parameters are those of that step's beginning. */
  values[0] = state.bad_step < state.completed ? state.bad_step : state.completed;
  values[1] = state.steps_summed;
  values[2] = (double)state.rows_summed;
  values[3] = state.gradient_norm;
  values[4] = state.learning_rate;
  memcpy(values + 5, state.sums, sizeof state.sums);
  return NOPROP_OK;
}

static noprop_status set_progress(noprop_model *model, const double *values) {
  if (!(values[0] >= 0.0 && values[0] < 4294967295.0 && values[1] >= 0.0 && values[1] < 4294967295.0 &&
        values[2] >= 0.0 && values[2] < 0x1p63))
    return status_set(NOPROP_FILE_ERROR, "training/progress: the position %g is not a number of steps", values[0]);
  train_state state = {.completed = (unsigned)values[0],
                       .running = (unsigned)values[0],
                       .bad_step = ~0u,
                       .steps_summed = (unsigned)values[1],
                       .rows_summed = (unsigned long long)values[2],
                       .gradient_norm = (float)values[3],
                       .learning_rate = (float)values[4]};
  memcpy(state.sums, values + 5, sizeof state.sums);
  noprop_status status = device_upload(model->device, model->state, &state, sizeof state);
  if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
  if (status == NOPROP_OK) {
    model->submitted = state.completed;
    model->binding.coupling.solved = 0;
    model->bad_step = -1;
  }
  return status;
}

/* One parameter array of a group, between its padded rows in device memory and plain rows. */
static noprop_status move_array(noprop_model *model, struct place place, float *to_host, const float *from_host) {
  const struct parameter_entry *entry = &model->network->parameters[place.number];
  const CUdeviceptr memory = group_memory(model, place.group) + (CUdeviceptr)entry->padded_offset * sizeof(float);
  const size_t bytes = (size_t)entry->rows * (size_t)entry->stride * sizeof(float);
  const size_t row_bytes = (size_t)entry->columns * sizeof(float);
  float *padded = calloc(1, bytes);
  if (!padded) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for %s", entry->name);
  noprop_status status = NOPROP_OK;
  if (to_host) {
    status = device_download(model->device, padded, memory, bytes);
    for (long row = 0; status == NOPROP_OK && row < entry->rows; ++row)
      memcpy(to_host + row * entry->columns, padded + row * entry->stride, row_bytes);
  } else {
    for (long row = 0; row < entry->rows; ++row)
      memcpy(padded + row * entry->stride, from_host + row * entry->columns, row_bytes);
    model->fragments_of = 0;
    status = device_upload(model->device, memory, padded, bytes);
    if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
  }
  free(padded);
  return status;
}

static noprop_status set_statistics(noprop_model *model, int which, const float *values, long count) {
  const bool deviation = which % 2 == 1;
  for (long i = 0; i < count; ++i)
    if (!isfinite(values[i]) || (deviation && values[i] <= 0.0f))
      return status_set(NOPROP_FILE_ERROR, "statistics/%s: value %ld is %g; %s", statistics_arrays[which].name, i,
                        (double)values[i], deviation ? "it must be finite and above 0" : "it must be finite");
  memcpy(statistics_array(model, which), values, (size_t)count * sizeof *values);
  return model_upload_statistics(model);
}

noprop_status model_state_get(noprop_model *model, int index, void *values) {
  noprop_status status = check(model, index, values);
  if (status != NOPROP_OK) return status;
  const struct place place = place_of(model, index);
  if (place.group == GROUP_PROGRESS) return get_progress(model, values);
  if (place.group == GROUP_PROTOTYPES) return dt_move_prototypes(model, values, NULL);
  if (place.group == GROUP_BLOCKS)
    return device_download(model->device, values, model->block_sums, (size_t)model->network->blocks * sizeof(double));
  if (place.group != GROUP_STATISTICS) return move_array(model, place, values, NULL);
  memcpy(values, statistics_array(model, place.number), (size_t)model_state_at(model, index).values * sizeof(float));
  return NOPROP_OK;
}

noprop_status model_state_set(noprop_model *model, int index, const void *values) {
  noprop_status status = check(model, index, values);
  if (status != NOPROP_OK) return status;
  const struct place place = place_of(model, index);
  if (place.group == GROUP_PROGRESS) return set_progress(model, values);
  if (place.group == GROUP_PROTOTYPES) return dt_move_prototypes(model, NULL, values);
  if (place.group == GROUP_BLOCKS) {
    status = device_upload(model->device, model->block_sums, values, (size_t)model->network->blocks * sizeof(double));
    return status == NOPROP_OK ? noprop_device_synchronize(model->device) : status;
  }
  if (place.group != GROUP_STATISTICS) return move_array(model, place, NULL, values);
  return set_statistics(model, place.number, values, model_state_at(model, index).values);
}
