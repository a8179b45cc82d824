/* Losses without an update: one request with terms, gradients and per-row results, and validation over many rows. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/dt.h"
#include "engine/program.h"
#include "engine/status.h"
#include "kernels/metrics_arguments.h"

enum {
  UPDATE_THREADS = 128,
  TERMS_THREADS = 32,
  VALIDATION_ROWS = 1 << 16,
  VALIDATION_BYTES = 256 << 20 /* of staged fields */
};

/* What the launches of images' layers and of staged fields are told. */
struct image_arguments {
  branch_arguments branch;
  image_coder_arguments coder;
  struct staged_run staged; /* of a staged field */
};

/* Slots (and workspace) of `kernel` for the arguments' batch; `gradients` floats stand at the front of each slot. */
static noprop_status allocate_slots(noprop_model *model, const struct model_kernel *kernel, size_t gradients,
                                    train_arguments *train, struct image_arguments *images) {
  CUdeviceptr slots;
  if (model->network->blocks) return dt_allocate(model, kernel, gradients > 0, train, &images->branch);
  model_set_slots(model, kernel, train);
  train->slot_stride = gradients + SLOT_TERMS;
  noprop_status status =
      pool_alloc(model->pool, train->slot_count * train->slot_stride * sizeof(float), "loss slots", &slots);
  if (status == NOPROP_OK)
    status = kernel->staged ? staged_allocate(model, kernel, gradients > 0, train, &images->staged)
                            : model_allocate_workspace(model, kernel, train);
  if (status != NOPROP_OK) return status;
  train->slots = DEVICE_POINTER(float, slots);
  status = branch_allocate(model, kernel, 1, gradients > 0, train, &images->branch);
  return status == NOPROP_OK ? image_coder_allocate(model, kernel, gradients > 0, train, &images->coder) : status;
}

/* What sums the gradients of a request's slots into `gradient`. */
static update_arguments request_update(const noprop_model *model, const train_arguments *train, CUdeviceptr gradient) {
  update_arguments update = model_update_arguments(model);
  update.gradient = DEVICE_POINTER(float, gradient);
  update.norm_partials = NULL;
  update.slots = train->slots;
  update.tails = train->tails;
  update.slot_stride = train->slot_stride;
  update.slot_count = train->slot_count;
  return update;
}

/* All blocks of variant dt: their terms, and with `gradient` their gradients there. */
static noprop_status launch_blocks(noprop_model *model, const struct model_kernel *kernel, const train_arguments *train,
                                   const branch_arguments *branch, CUdeviceptr gradient, CUdeviceptr sums) {
  const update_arguments update = request_update(model, train, gradient);
  const unsigned stride = dt_tail_stride(model->network);
  const sum_terms_arguments terms = {.tails = train->tails + (stride - SLOT_TERMS),
                                     .sums = DEVICE_POINTER(double, sums),
                                     .slot_stride = stride,
                                     .slot_count = dt_parts(model->network) * train->slot_count};
  const noprop_status status = dt_launch(model, kernel, train, branch, gradient ? &update : NULL);
  if (status != NOPROP_OK) return status;
  return device_launch(model->device, &model->sum_terms, 1, TERMS_THREADS, 0, &terms, sizeof terms);
}

/* Runs the kernel on the rows that `train` describes and adds the terms to sums [SLOT_TERMS] (device). `gradient`:
 * where the sums of the slots go, 0: nowhere. */
static noprop_status launch(noprop_model *model, const struct model_kernel *kernel, const train_arguments *train,
                            const struct image_arguments *images, const struct pairing *coupling, CUdeviceptr gradient,
                            CUdeviceptr sums) {
  if (model->network->blocks) return launch_blocks(model, kernel, train, &images->branch, gradient, sums);
  noprop_status status =
      kernel->fragments ? model_need_fragments(model, (CUdeviceptr)(uintptr_t)train->parameters) : NOPROP_OK;
  if (status == NOPROP_OK) status = coupling_request(model, train, coupling);
  if (status == NOPROP_OK) status = branch_forward(model, &images->branch, train, 0, 1);
  if (status == NOPROP_OK) status = image_coder_forward(model, &images->coder, train);
  if (status == NOPROP_OK)
    status = kernel->staged ? staged_objective(model, kernel, &images->staged, train)
                            : model_launch_slots(model, kernel, train);
  const update_arguments update = request_update(model, train, gradient);
  if (status == NOPROP_OK && gradient) status = branch_backward(model, &images->branch, train, 0, 1);
  if (status == NOPROP_OK && gradient) status = image_coder_backward(model, &images->coder, train);
  if (status == NOPROP_OK && gradient)
    status = device_launch(model->device, &model->reduce_gradient, model_update_blocks(model), UPDATE_THREADS, 0,
                           &update, sizeof update);
  if (status != NOPROP_OK) return status;
  const sum_terms_arguments terms = {.tails = train->slots + (train->slot_stride - SLOT_TERMS),
                                     .sums = DEVICE_POINTER(double, sums),
                                     .slot_stride = train->slot_stride,
                                     .slot_count = train->slot_count};
  return device_launch(model->device, &model->sum_terms, 1, TERMS_THREADS, 0, &terms, sizeof terms);
}

static noprop_status read_terms(noprop_model *model, CUdeviceptr memory, noprop_loss_terms *terms) {
  double sums[SLOT_TERMS];
  noprop_status status = device_download(model->device, sums, memory, sizeof sums);
  if (status == NOPROP_OK)
    *terms = (noprop_loss_terms){sums[SLOT_LOSS], sums[SLOT_FLOW], sums[SLOT_RECON],
                                 sums[SLOT_REG],  sums[SLOT_VAE],  sums[SLOT_KL_Z0]};
  return status;
}

/* ---- requests ---- */

/* Device memory of one request beside its slots; 0 where not wanted. */
struct request_memory {
  CUdeviceptr condition, target, t, noise, gradient, prediction, z, row_loss, state_gradient, target_gradient, latent,
      sums;
};

static noprop_status allocate_request(noprop_model *model, const noprop_loss_request *request,
                                      const struct model_rows *condition, const struct model_rows *target,
                                      struct request_memory *memory) {
  const size_t rows = (size_t)request->rows, state = rows * (size_t)model->latent * sizeof(float);
  const struct {
    CUdeviceptr *pointer;
    size_t bytes;
    const char *what;
  } wanted[] = {
      {&memory->condition, rows * model_row_bytes(condition), "the request's conditions"},
      {&memory->target, rows * model_row_bytes(target), "the request's targets"},
      {&memory->t, request->t ? rows * sizeof(float) : 0, "the request's times"},
      {&memory->noise, request->noise ? state : 0, "the request's noise"},
      {&memory->gradient, request->gradient ? (size_t)model->network->padded_floats * sizeof(float) : 0,
       "the gradient"},
      {&memory->prediction, request->prediction ? state : 0, "predictions"},
      {&memory->z, request->z ? state : 0, "states"},
      {&memory->row_loss, request->row_loss ? rows * sizeof(float) : 0, "losses of rows"},
      {&memory->state_gradient, request->state_gradient ? state : 0, "gradients of states"},
      {&memory->target_gradient, request->target_gradient ? state : 0, "gradients of clean latents"},
      {&memory->latent, request->latent ? state : 0, "clean latents"},
      {&memory->sums, SLOT_TERMS * sizeof(double), "loss terms"},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; ++i) {
    if (wanted[i].bytes == 0) continue;
    noprop_status status = pool_alloc(model->pool, wanted[i].bytes, wanted[i].what, wanted[i].pointer);
    if (status != NOPROP_OK) return status;
  }
  return NOPROP_OK;
}

static noprop_status read_gradient(noprop_model *model, CUdeviceptr memory, float *gradient) {
  const size_t bytes = (size_t)model->network->padded_floats * sizeof(float);
  float *padded = malloc(bytes);
  if (!padded)
    return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a gradient of %ld values", model->network->values);
  const noprop_status status = device_download(model->device, padded, memory, bytes);
  if (status == NOPROP_OK) network_unpack(model->network, padded, gradient);
  free(padded);
  return status;
}

static noprop_status run_request(noprop_model *model, const noprop_loss_request *request, bool average,
                                 const struct model_rows *condition, const struct model_rows *target,
                                 noprop_loss_terms *terms) {
  const bool backward = request->gradient != NULL;
  const bool state_gradients = request->state_gradient || request->target_gradient;
  const struct model_kernel *kernel = state_gradients ? &model->train_state : backward ? &model->request : &model->loss;
  const size_t rows = (size_t)request->rows, state = rows * (size_t)model->latent * sizeof(float);
  struct request_memory memory = {0};
  train_arguments train = model_train_arguments(model);
  if (average && model_has_average(model)) train.parameters = DEVICE_POINTER(const float, model->average);
  train.rows = train.batch = train.row_total = (unsigned)request->rows;
  train.steps_per_epoch = 1;
  train.fixed_step = (unsigned)request->step;
  train.dropout_epochs = request->dropout ? ~0u : 0;
  train.request = 1;
  if (model->network->blocks)
    train.out_block = (unsigned)(request->block > 0 ? request->block : model->network->blocks) - 1;
  struct image_arguments images;
  noprop_status status = allocate_request(model, request, condition, target, &memory);
  if (status == NOPROP_OK)
    status = allocate_slots(model, kernel, backward ? (size_t)model->network->padded_floats : 0, &train, &images);
  if (status == NOPROP_OK) status = model_rows_upload(model, condition, 0, request->rows, memory.condition);
  if (status == NOPROP_OK) status = model_rows_upload(model, target, 0, request->rows, memory.target);
  if (status == NOPROP_OK && request->t)
    status = device_upload(model->device, memory.t, request->t, rows * sizeof(float));
  if (status == NOPROP_OK && request->noise) status = device_upload(model->device, memory.noise, request->noise, state);
  if (status != NOPROP_OK) return status;
  train.condition = DEVICE_POINTER(const void, memory.condition);
  train.target = DEVICE_POINTER(const void, memory.target);
  train.given_time = DEVICE_POINTER(const float, memory.t);
  train.given_noise = DEVICE_POINTER(const float, memory.noise);
  train.out_prediction = DEVICE_POINTER(float, memory.prediction);
  train.out_z = DEVICE_POINTER(float, memory.z);
  train.out_row_loss = DEVICE_POINTER(float, memory.row_loss);
  train.out_latent = DEVICE_POINTER(float, memory.latent);
  train.out_state_gradient = DEVICE_POINTER(float, memory.state_gradient);
  train.out_target_gradient = DEVICE_POINTER(float, memory.target_gradient);
  struct pairing coupling;
  status = coupling_request_memory(model, &train, &coupling);
  if (status == NOPROP_OK) status = launch(model, kernel, &train, &images, &coupling, memory.gradient, memory.sums);
  if (status == NOPROP_OK) status = read_terms(model, memory.sums, terms);
  if (status == NOPROP_OK && backward) status = read_gradient(model, memory.gradient, request->gradient);
  if (status == NOPROP_OK && memory.prediction)
    status = device_download(model->device, request->prediction, memory.prediction, state);
  if (status == NOPROP_OK && memory.z) status = device_download(model->device, request->z, memory.z, state);
  if (status == NOPROP_OK && memory.latent)
    status = device_download(model->device, request->latent, memory.latent, state);
  if (status == NOPROP_OK && memory.state_gradient)
    status = device_download(model->device, request->state_gradient, memory.state_gradient, state);
  if (status == NOPROP_OK && memory.target_gradient)
    status = device_download(model->device, request->target_gradient, memory.target_gradient, state);
  if (status == NOPROP_OK && memory.row_loss)
    status = device_download(model->device, request->row_loss, memory.row_loss, rows * sizeof(float));
  return status;
}

static noprop_status check_request(const noprop_model *model, const noprop_loss_request *request) {
  if (request->rows < 1 || request->rows > INT_MAX)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_loss: rows is %ld; 1 to %d are allowed", request->rows,
                      INT_MAX);
  if (request->step > VALIDATION_STEP)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_loss: step is %llu; 0 to %u are allowed",
                      (unsigned long long)request->step, VALIDATION_STEP);
  for (long i = 0; request->t && i < request->rows; ++i)
    if (!(request->t[i] >= 0.0f && request->t[i] <= 1.0f))
      return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_loss: t[%ld] is %g; times are from 0 to 1", i,
                        (double)request->t[i]);
  if ((request->state_gradient || request->target_gradient) && !request->gradient)
    return status_set(
        NOPROP_INVALID_ARGUMENT,
        "noprop_model_loss: state_gradient and target_gradient are computed together with gradient, which "
        "is NULL");
  if (request->block < 0 || request->block > model->network->blocks)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_loss: block is %d; this model has %d", request->block,
                      model->network->blocks);
  if (request->t && model->network->blocks)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_model_loss: t is given, but the blocks of variant dt have levels of their own; NULL is "
                      "allowed");
  if ((request->t || request->noise) && model->settings.loss.draws > 1)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_model_loss: t and noise can be given only with loss.draws 1; this model has %d draws",
                      model->settings.loss.draws);
  return NOPROP_OK;
}

noprop_status noprop_model_loss(noprop_model *model, const noprop_loss_request *request, noprop_loss_terms *terms) {
  if (!model || !request || !terms)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_loss: model, request and terms must not be NULL");
  const noprop_status status = check_request(model, request);
  return status == NOPROP_OK ? model_request(model, request, false, terms) : status;
}

noprop_status model_request(noprop_model *model, const noprop_loss_request *request, bool average,
                            noprop_loss_terms *terms) {
  noprop_status status = dt_check_prototypes(model, "noprop_model_loss");
  if (status != NOPROP_OK) return status;
  const noprop_model_shape *shape = &model->shape;
  const noprop_array condition = {.type = shape->condition_type,
                                  .rows = request->rows,
                                  .width = shape->condition_is_label ? 1 : shape->condition_width,
                                  .values = request->condition};
  const noprop_array target = {.type = shape->target_type,
                               .rows = request->rows,
                               .width = shape->target_is_label ? 1 : shape->target_width,
                               .values = request->target};
  struct model_rows condition_rows, target_rows;
  status =
      model_rows_check(model, MODEL_CONDITION, request->condition ? &condition : NULL, request->rows, &condition_rows);
  if (status == NOPROP_OK) status = model_rows_check(model, MODEL_TARGET, &target, request->rows, &target_rows);
  if (status == NOPROP_OK)
    status = request->state_gradient || request->target_gradient ? model_need_train_state(model)
             : request->gradient                                 ? model_need_request(model)
                                                                 : model_need_loss(model);
  if (status != NOPROP_OK) return status;
  model_call_begin(model);
  status = run_request(model, request, average, &condition_rows, &target_rows, terms);
  model_call_end(model);
  return status;
}

/* ---- validation ---- */

static noprop_status run_validation(noprop_model *model, const struct model_rows *condition,
                                    const struct model_rows *target, noprop_loss_terms *terms) {
  const long rows = target->rows;
  /* Weights divided by their mean over all rows need all rows in one launch. */
  const bool whole = model->settings.loss.normalize == NORMALIZE_BATCH && model->settings.loss.weight != WEIGHT_UNIFORM;
  const size_t fitting = model->field ? VALIDATION_BYTES / staged_row_bytes(model, false, false) + 1 : VALIDATION_ROWS;
  const long most = fitting < VALIDATION_ROWS ? (long)fitting : VALIDATION_ROWS;
  const long chunk = whole || rows < most ? rows : most;
  CUdeviceptr memory[2] = {0, 0}, sums;
  train_arguments train = model_train_arguments(model);
  if (model_has_average(model)) train.parameters = DEVICE_POINTER(const float, model->average);
  train.batch = (unsigned)chunk;
  train.row_total = (unsigned)rows;
  train.steps_per_epoch = 1;
  train.fixed_step = VALIDATION_STEP;
  train.request = 1;
  struct image_arguments images;
  noprop_status status = allocate_slots(model, &model->loss, 0, &train, &images);
  if (status == NOPROP_OK) status = pool_alloc(model->pool, SLOT_TERMS * sizeof(double), "loss terms", &sums);
  if (status == NOPROP_OK && condition->values)
    status = pool_alloc(model->pool, (size_t)chunk * model_row_bytes(condition), "validation conditions", &memory[0]);
  if (status == NOPROP_OK)
    status = pool_alloc(model->pool, (size_t)chunk * model_row_bytes(target), "validation targets", &memory[1]);
  struct pairing coupling;
  if (status == NOPROP_OK) status = coupling_request_memory(model, &train, &coupling);
  if (status != NOPROP_OK) return status;
  train.condition = DEVICE_POINTER(const void, memory[0]);
  train.target = DEVICE_POINTER(const void, memory[1]);
  for (long first = 0; first < rows && status == NOPROP_OK; first += chunk) {
    const long count = rows - first < chunk ? rows - first : chunk;
    train.rows = (unsigned)count;
    train.row_base = (unsigned)first;
    status = model_rows_upload(model, condition, first, count, memory[0]);
    if (status == NOPROP_OK) status = model_rows_upload(model, target, first, count, memory[1]);
    if (status == NOPROP_OK) status = launch(model, &model->loss, &train, &images, &coupling, 0, sums);
  }
  return status == NOPROP_OK ? read_terms(model, sums, terms) : status;
}

noprop_status noprop_model_validate(noprop_model *model, const noprop_array *condition, const noprop_array *target,
                                    noprop_loss_terms *terms) {
  if (!model || !target || !terms)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_validate: model, target and terms must not be NULL");
  struct model_rows condition_rows, target_rows;
  noprop_status status = dt_check_prototypes(model, "noprop_model_validate");
  if (status == NOPROP_OK) status = model_rows_check(model, MODEL_TARGET, target, -1, &target_rows);
  if (status == NOPROP_OK) status = model_rows_check(model, MODEL_CONDITION, condition, target->rows, &condition_rows);
  if (status == NOPROP_OK) status = model_need_loss(model);
  if (status != NOPROP_OK) return status;
  model_call_begin(model);
  status = run_validation(model, &condition_rows, &target_rows, terms);
  model_call_end(model);
  return status;
}
