/* Training: rows bound once, then optimizer steps as graphs of launches; metrics read when asked for.
 *
 * A step is two launches (train, reduce_update; branch.h, image_coder.h, staged.h: more) or with clipping three
 * (train, reduce_gradient, clip_update), or many steps are one launch (persistent.h). All that changes from step to
 * step lives in train_state on the device, so one recorded graph serves every step. */
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/dt.h"
#include "engine/persistent.h"
#include "engine/program.h"
#include "engine/status.h"

enum { UPDATE_THREADS = 128 }; /* of kernels/update.cu */

/* ---- one step ---- */

noprop_status model_launch_step(noprop_model *model, const train_arguments *train, const update_arguments *update) {
  noprop_device *device = model->device;
  const unsigned blocks = model_update_blocks(model);
  if (model->network->blocks) return dt_launch_step(model, train, update);
  noprop_status status = branch_forward(model, &model->binding.branch, train, 0, 1);
  if (status == NOPROP_OK) status = image_coder_forward(model, &model->binding.images, train);
  if (status == NOPROP_OK)
    status = model->train.staged ? staged_objective(model, &model->train, &model->binding.staged, train)
                                 : model_launch_slots(model, &model->train, train);
  if (status == NOPROP_OK) status = branch_backward(model, &model->binding.branch, train, 0, 1);
  if (status == NOPROP_OK) status = image_coder_backward(model, &model->binding.images, train);
  if (status != NOPROP_OK) return status;
  if (update->clip <= 0.0f)
    return device_launch(device, &model->reduce_update, blocks, UPDATE_THREADS, 0, update, sizeof *update);
  status = device_launch(device, &model->reduce_gradient, blocks, UPDATE_THREADS, 0, update, sizeof *update);
  if (status != NOPROP_OK) return status;
  return device_launch(device, &model->clip_update, blocks, UPDATE_THREADS, 0, update, sizeof *update);
}

static noprop_status record(noprop_model *model, int steps, struct graph **graph) {
  noprop_status status = graph_begin(model->device);
  if (status != NOPROP_OK) return status;
  for (int i = 0; i < steps && status == NOPROP_OK; ++i)
    status = model_launch_step(model, &model->binding.train, &model->binding.update);
  noprop_status ended = graph_end(model->device, graph);
  return status != NOPROP_OK ? status : ended;
}

/* ---- binding ---- */

void model_unbind(noprop_model *model) {
  struct model_binding *binding = &model->binding;
  if (binding->one || binding->many || binding->stream) noprop_device_synchronize(model->device);
  if (binding->one) graph_destroy(model->device, binding->one);
  if (binding->many) graph_destroy(model->device, binding->many);
  stream_destroy(model, binding->stream);
  memset(binding, 0, sizeof *binding);
  if (model->pool) pool_release(model->pool, model->binding_mark);
}

/* Steps of the whole training, for learning rates that decay. */
static uint64_t total_steps(const struct settings *settings, unsigned steps_per_epoch) {
  if (settings->train.steps > 0) return (uint64_t)settings->train.steps;
  return (uint64_t)settings->train.epochs * steps_per_epoch;
}

static noprop_status allocate_slots(noprop_model *model) {
  train_arguments *train = &model->binding.train;
  update_arguments *update = &model->binding.update;
  CUdeviceptr slots;
  noprop_status status = NOPROP_OK;
  if (model->network->blocks) {
    status = dt_allocate(model, &model->train, true, train, &model->binding.branch);
  } else {
    model_set_slots(model, &model->train, train);
    train->slot_stride = (unsigned long long)model->network->padded_floats + SLOT_TERMS;
    status = pool_alloc(model->pool, train->slot_count * train->slot_stride * sizeof(float), "gradient slots", &slots);
    if (status == NOPROP_OK)
      status = model->train.staged ? staged_allocate(model, &model->train, true, train, &model->binding.staged)
                                   : model_allocate_workspace(model, &model->train, train);
    if (status != NOPROP_OK) return status;
    train->slots = DEVICE_POINTER(float, slots);
    status = branch_allocate(model, &model->train, 1, true, train, &model->binding.branch);
    if (status == NOPROP_OK) status = image_coder_allocate(model, &model->train, true, train, &model->binding.images);
  }
  update->slots = train->slots;
  update->tails = train->tails;
  update->slot_stride = train->slot_stride;
  update->slot_count = train->slot_count;
  return status;
}

/* All rows into device memory. */
static noprop_status make_resident(noprop_model *model, const struct model_rows *condition,
                                   const struct model_rows *target) {
  CUdeviceptr memory[2] = {0, 0};
  const struct model_rows *sides[2] = {condition, target};
  noprop_status status = NOPROP_OK;
  for (int i = 0; i < 2 && status == NOPROP_OK; ++i)
    if (sides[i]->values)
      status = pool_alloc(model->pool, (size_t)sides[i]->rows * model_row_bytes(sides[i]),
                          i ? "the training rows' targets" : "the training rows' conditions", &memory[i]);
  for (int i = 0; i < 2 && status == NOPROP_OK; ++i)
    if (sides[i]->values) status = model_rows_upload(model, sides[i], 0, sides[i]->rows, memory[i]);
  model->binding.train.condition = DEVICE_POINTER(const void, memory[0]);
  model->binding.train.target = DEVICE_POINTER(const void, memory[1]);
  return status;
}

static bool streaming_wanted(void) {
  const char *value = getenv("NOPROP_STREAM");
  return value && strcmp(value, "1") == 0;
}

/* Resident rows and graphs, or a stream where they do not fit or where it is asked for. */
static noprop_status place_rows(noprop_model *model, const struct model_rows *condition,
                                const struct model_rows *target) {
  struct model_binding *binding = &model->binding;
  if (!streaming_wanted()) {
    const size_t mark = pool_mark(model->pool);
    noprop_status status = make_resident(model, condition, target);
    if (status == NOPROP_OK) status = persistent_bind(model);
    if (status == NOPROP_OK && !binding->persistent) status = record(model, 1, &binding->one);
    if (status == NOPROP_OK && !binding->persistent) status = record(model, MODEL_GRAPH_STEPS, &binding->many);
    if (status != NOPROP_OUT_OF_MEMORY) return status;
    pool_release(model->pool, mark);
  }
  const noprop_status status = persistent_streamed();
  if (status != NOPROP_OK) return status;
  binding->train.streamed = 1;
  return stream_create(model, condition, target, &binding->stream);
}

noprop_status noprop_model_bind(noprop_model *model, const noprop_array *condition, const noprop_array *target,
                                int batch) {
  if (!model || !target)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_bind: model and target must not be NULL");
  if (batch < 1)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_bind: batch is %d; at least 1 is needed", batch);
  struct model_rows condition_rows, target_rows;
  noprop_status status = model_rows_check(model, MODEL_TARGET, target, -1, &target_rows);
  if (status == NOPROP_OK) status = model_rows_check(model, MODEL_CONDITION, condition, target->rows, &condition_rows);
  if (status == NOPROP_OK) status = model_need_train(model, (unsigned)(batch < target->rows ? batch : target->rows));
  if (status != NOPROP_OK) return status;

  model_unbind(model);
  struct model_binding *binding = &model->binding;
  const struct settings *settings = &model->settings;
  binding->rows = (unsigned)target_rows.rows;
  binding->batch = (unsigned)batch < binding->rows ? (unsigned)batch : binding->rows;
  binding->steps_per_epoch = (binding->rows + binding->batch - 1) / binding->batch;
  binding->train = model_train_arguments(model);
  binding->train.rows = binding->rows;
  binding->train.batch = binding->batch;
  binding->train.steps_per_epoch = binding->steps_per_epoch;
  binding->train.dropout_epochs = settings->train.dropout_epochs < 0 ? ~0u : (unsigned)settings->train.dropout_epochs;
  binding->update = model_update_arguments(model);
  binding->update.rows_in_epoch = binding->rows;
  binding->update.batch = binding->batch;
  binding->update.steps_per_epoch = binding->steps_per_epoch;
  const uint64_t steps = total_steps(settings, binding->steps_per_epoch);
  binding->update.total_steps = steps < ~0u ? (unsigned)steps : ~0u;
  status = dt_set_prototypes(model, &condition_rows, &target_rows);
  if (status == NOPROP_OK) status = allocate_slots(model);
  if (status == NOPROP_OK) status = coupling_bind(model);
  if (status == NOPROP_OK) status = place_rows(model, &condition_rows, &target_rows);
  if (status != NOPROP_OK) {
    model_unbind(model);
    return status;
  }
  binding->bound = true;
  return NOPROP_OK;
}

/* ---- steps ---- */

/* Blocks of steps; with coupling no longer than the pairs that are made ahead. */
static noprop_status step_persistent(noprop_model *model, long steps) {
  const long most = model->settings.coupling == COUPLING_OT ? MODEL_GRAPH_STEPS : PERSISTENT_STEPS;
  while (steps > 0) {
    const long now = steps < most ? steps : most;
    noprop_status status = coupling_ahead(model, &model->binding.train, now, LONG_MAX);
    if (status == NOPROP_OK) status = persistent_launch(model, (unsigned)now);
    if (status != NOPROP_OK) return status;
    model->submitted += (uint64_t)now;
    steps -= now;
  }
  return NOPROP_OK;
}

static noprop_status step_resident(noprop_model *model, long steps) {
  struct model_binding *binding = &model->binding;
  while (steps > 0) {
    const bool many = steps >= MODEL_GRAPH_STEPS;
    noprop_status status = coupling_ahead(model, &binding->train, many ? MODEL_GRAPH_STEPS : 1, LONG_MAX);
    if (status == NOPROP_OK) status = graph_launch(model->device, many ? binding->many : binding->one);
    if (status != NOPROP_OK) return status;
    model->submitted += many ? MODEL_GRAPH_STEPS : 1;
    steps -= many ? MODEL_GRAPH_STEPS : 1;
  }
  return NOPROP_OK;
}

static noprop_status step_streamed(noprop_model *model, long steps) {
  struct model_binding *binding = &model->binding;
  while (steps > 0) {
    train_arguments train = binding->train;
    long present;
    noprop_status status = stream_prepare(model, binding->stream, model->submitted, &train, &present);
    for (long i = 0; status == NOPROP_OK && i < present && steps > 0; ++i, --steps) {
      status = coupling_ahead(model, &train, 1, present - i);
      if (status == NOPROP_OK) status = model_launch_step(model, &train, &binding->update);
      if (status == NOPROP_OK) ++model->submitted;
    }
    if (status == NOPROP_OK) status = stream_finish(model, binding->stream, model->submitted);
    if (status != NOPROP_OK) return status;
  }
  return NOPROP_OK;
}

noprop_status noprop_model_train_step(noprop_model *model, long steps) {
  if (!model) return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_train_step: model must not be NULL");
  if (steps < 0)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_train_step: steps is %ld; it must not be negative", steps);
  if (!model->binding.bound)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_model_train_step: no rows are bound; call noprop_model_bind first");
  if (model->submitted + (uint64_t)steps >= VALIDATION_STEP)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_model_train_step: step %llu would be reached; a model takes at most %u",
                      (unsigned long long)model->submitted + (unsigned long long)steps, VALIDATION_STEP - 1u);
  /* The update kernel keeps them up to date from then on. */
  const noprop_status status = model->train.fragments ? model_need_fragments(model, model->parameters) : NOPROP_OK;
  if (status != NOPROP_OK) return status;
  if (model->binding.persistent) return step_persistent(model, steps);
  return model->binding.stream ? step_streamed(model, steps) : step_resident(model, steps);
}

/* ---- metrics ---- */

static const char *term_name(unsigned term) {
  switch (term) {
    case SLOT_FLOW:
      return "flow";
    case SLOT_RECON:
      return "recon";
    case SLOT_REG:
      return "reg";
    case SLOT_VAE:
      return "vae";
    case SLOT_KL_Z0:
      return "kl_z0";
    case SLOT_TERMS:
      return "gradient";
    default:
      return "loss";
  }
}

noprop_status noprop_model_train_metrics(noprop_model *model, noprop_train_metrics *metrics) {
  if (!model || !metrics)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_train_metrics: model and metrics must not be NULL");
  train_state state;
  noprop_status status = device_download(model->device, &state, model->state, sizeof state);
  if (status == NOPROP_OK)
    status = device_clear(model->device, model->state + offsetof(train_state, steps_summed),
                          offsetof(train_state, gradient_norm) - offsetof(train_state, steps_summed));
  if (status == NOPROP_OK && model->block_sums)
    status = device_clear(model->device, model->block_sums, (size_t)model->network->blocks * sizeof(double));
  if (status != NOPROP_OK) return status;
  const double steps = state.steps_summed ? state.steps_summed : 1.0;
  const bool bad = state.bad_step < state.completed;
  memset(metrics, 0, sizeof *metrics);
  metrics->loss = state.sums[SLOT_LOSS] / steps;
  metrics->flow = state.sums[SLOT_FLOW] / steps;
  metrics->recon = state.sums[SLOT_RECON] / steps;
  metrics->reg = state.sums[SLOT_REG] / steps;
  metrics->vae = state.sums[SLOT_VAE] / steps;
  metrics->kl_z0 = state.sums[SLOT_KL_Z0] / steps;
  metrics->gradient_norm = state.gradient_norm;
  metrics->learning_rate = state.learning_rate;
  metrics->steps = (long)state.steps_summed;
  metrics->rows = (long)state.rows_summed;
  metrics->bad_step = bad ? (int64_t)state.bad_step : -1;
  if (bad) snprintf(metrics->bad_term, sizeof metrics->bad_term, "%s", term_name(state.bad_term));
  model->bad_step = metrics->bad_step;
  metrics->step = noprop_model_step(model);
  return NOPROP_OK;
}
