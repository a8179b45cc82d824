/* Models: creation and the plan of their memory, parameters, statistics, kernels compiled on first use, description. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/dt.h"
#include "engine/field_graph.h"
#include "engine/network_tokens.h"
#include "engine/persistent.h"
#include "engine/precision.h"
#include "engine/program.h"
#include "engine/status.h"

/* ---- checks ---- */

static noprop_status check_side(const char *name, noprop_type type, int width, bool is_label) {
  if (type != NOPROP_TYPE_FLOAT32 && type != NOPROP_TYPE_UINT8 && type != NOPROP_TYPE_INT32)
    return status_set(
        NOPROP_INVALID_ARGUMENT,
        "the %s's type is %d; float32 (0), uint8 (1) and, for labels, int32 (2) are allowed on the device", name,
        (int)type);
  if (is_label && type == NOPROP_TYPE_FLOAT32)
    return status_set(NOPROP_INVALID_ARGUMENT, "the %s is a label but its type is float32; uint8 and int32 are allowed",
                      name);
  if (!is_label && type == NOPROP_TYPE_INT32)
    return status_set(NOPROP_INVALID_ARGUMENT, "the %s is int32 but no label; float32 and uint8 are allowed", name);
  if (is_label && type == NOPROP_TYPE_UINT8 && width > 256)
    return status_set(NOPROP_INVALID_ARGUMENT, "the %s has %d classes in uint8 labels; at most 256 fit", name, width);
  return NOPROP_OK;
}

static noprop_status check_shape(const struct settings *settings, const noprop_model_shape *shape) {
  if (shape->condition_width < 0 || shape->condition_width > 1 << 24)
    return status_set(NOPROP_INVALID_ARGUMENT, "the condition's width is %d; 0 (none) to %d are allowed",
                      shape->condition_width, 1 << 24);
  if (shape->target_width < 1)
    return status_set(NOPROP_INVALID_ARGUMENT, "the target's width is %d; at least 1 is needed", shape->target_width);
  noprop_status status = NOPROP_OK;
  if (shape->condition_width > 0)
    status = check_side("condition", shape->condition_type, shape->condition_width, shape->condition_is_label);
  if (status == NOPROP_OK)
    status = check_side("target", shape->target_type, shape->target_width, shape->target_is_label);
  if (status != NOPROP_OK) return status;
  if (settings->task == TASK_CLASSIFY && !shape->target_is_label)
    return status_set(NOPROP_INVALID_CONFIG,
                      "task classify needs integer labels as target; these are values (%d a row): use "
                      "task regress",
                      shape->target_width);
  if (settings->task != TASK_CLASSIFY && shape->target_is_label)
    return status_set(NOPROP_INVALID_CONFIG, "task %s needs values as target; these are labels: use task classify",
                      TASK_NAMES[settings->task].name);
  if (settings->task != TASK_GENERATE && shape->condition_width == 0)
    return status_set(NOPROP_INVALID_CONFIG, "task %s needs a condition; only task generate can do without",
                      TASK_NAMES[settings->task].name);
  return NOPROP_OK;
}

/* ---- creation ---- */

static bool needs_moment1(const struct settings *s) {
  if (s->optimizer.type == OPTIMIZER_SGD) return s->optimizer.momentum != 0.0;
  return s->optimizer.type != OPTIMIZER_ADAGRAD;
}

static bool needs_moment2(const struct settings *s) { return s->optimizer.type != OPTIMIZER_SGD; }

bool model_has_average(const noprop_model *model) { return model->average != 0; }

unsigned model_update_blocks(const noprop_model *model) {
  if (model->network->blocks) return dt_update_blocks(model->network);
  return (unsigned)((model->network->padded_floats + MODEL_UPDATE_BLOCK - 1) / MODEL_UPDATE_BLOCK);
}

static float *new_vector(int width, float value) {
  float *vector = malloc((size_t)(width > 0 ? width : 1) * sizeof *vector);
  for (int i = 0; vector && i < width; ++i) vector[i] = value;
  return vector;
}

static noprop_status create_statistics(noprop_model *model) {
  struct model_statistics *s = &model->statistics;
  bool enough = true;
  if (model->shape.condition_width > 0 && !model->shape.condition_is_label) {
    s->condition_mean = new_vector(model->shape.condition_width, 0.0f);
    s->condition_std = new_vector(model->shape.condition_width, 1.0f);
    enough = s->condition_mean && s->condition_std;
  }
  if (!model->shape.target_is_label) {
    s->target_mean = new_vector(model->shape.target_width, 0.0f);
    s->target_std = new_vector(model->shape.target_width, 1.0f);
    enough = enough && s->target_mean && s->target_std;
  }
  return enough ? NOPROP_OK : status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the statistics of the data");
}

/* Everything whose size does not depend on the rows that will be bound. */
static noprop_status allocate(noprop_model *model) {
  const struct settings *settings = &model->settings;
  const size_t bytes = (size_t)model->network->padded_floats * sizeof(float);
  const size_t condition = (size_t)model->shape.condition_width * sizeof(float);
  const size_t target = (size_t)model->shape.target_width * sizeof(float);
  const bool clipped = settings->optimizer.clip > 0.0, tensor = model->network->operand_form >= 0;
  const size_t fragments = (size_t)network_fragment_numbers(model->network), blocks = (size_t)model->network->blocks;
  const bool fixed =
      settings->latent.embedding == EMBEDDING_ORTHONORMAL || settings->latent.embedding == EMBEDDING_PROTOTYPE;
  const struct {
    CUdeviceptr *pointer;
    size_t bytes;
    const char *what;
  } wanted[] = {
      {&model->parameters, bytes, "parameters"},
      {&model->average, settings->optimizer.ema > 0.0 ? bytes : 0, "averaged parameters"},
      {&model->moment1, needs_moment1(settings) ? bytes : 0, "optimizer state"},
      {&model->moment2, needs_moment2(settings) ? bytes : 0, "optimizer state"},
      {&model->gradient, clipped ? bytes : 0, "gradient"},
      {&model->fragments, (size_t)model->network->fragment_words * sizeof(unsigned), "weights' fragments"},
      {&model->fragment_sources, fragments * sizeof(int), "the order of weights' fragments"},
      {&model->fragment_places, tensor ? 2 * (size_t)model->network->padded_floats * sizeof(int) : 0,
       "the places of weights' fragments"},
      {&model->norm_partials, clipped ? model_update_blocks(model) * sizeof(float) : 0, "gradient norms"},
      {&model->state, sizeof(train_state), "training state"},
      {&model->block_sums, blocks * sizeof(double), "losses of blocks"},
      {&model->embedding,
       fixed ? (size_t)model->network->classes * (size_t)((model->latent + 7) & ~7) * sizeof(float) : 0,
       "embeddings of labels"},
      {&model->block_norms, clipped ? blocks * sizeof(float) : 0, "gradient norms of blocks"},
      {&model->condition_scale, condition, "condition scales"},
      {&model->condition_shift, condition, "condition shifts"},
      {&model->target_scale, target, "target scales"},
      {&model->target_shift, target, "target shifts"},
      {&model->output_scale, target, "output scales"},
      {&model->output_shift, target, "output shifts"},
      {&model->frequencies, (size_t)network_frequencies(model->network, settings, NULL) * sizeof(float),
       "time embedding frequencies"},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; ++i) {
    if (wanted[i].bytes == 0) continue;
    noprop_status status = pool_alloc(model->pool, wanted[i].bytes, wanted[i].what, wanted[i].pointer);
    if (status != NOPROP_OK) return status;
  }
  model->binding_mark = model->call_mark = pool_mark(model->pool);
  return NOPROP_OK;
}

static noprop_status upload_initial(noprop_model *model) {
  const struct network *network = model->network;
  const size_t bytes = (size_t)network->padded_floats * sizeof(float);
  const int frequencies = network_frequencies(network, &model->settings, NULL);
  float *values = malloc(bytes + (size_t)frequencies * sizeof(float));
  if (!values) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for %ld parameters", network->values);
  train_state state = {.bad_step = ~0u};
  network_initialise(network, &model->settings, values);
  network_frequencies(network, &model->settings, values + network->padded_floats);
  noprop_status status = device_upload(model->device, model->parameters, values, bytes);
  if (status == NOPROP_OK && model->average) status = device_upload(model->device, model->average, values, bytes);
  if (status == NOPROP_OK && frequencies > 0)
    status = device_upload(model->device, model->frequencies, values + network->padded_floats,
                           (size_t)frequencies * sizeof(float));
  if (status == NOPROP_OK) status = device_upload(model->device, model->state, &state, sizeof state);
  if (status == NOPROP_OK && model->block_sums)
    status = device_clear(model->device, model->block_sums, (size_t)network->blocks * sizeof(double));
  if (status == NOPROP_OK && model->block_norms)
    status = device_clear(model->device, model->block_norms, (size_t)network->blocks * sizeof(float));
  if (status == NOPROP_OK) status = model_upload_statistics(model);
  if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
  free(values);
  return status;
}

/* Where each number of the fragments comes from, and where each parameter's two copies go. */
static noprop_status upload_fragment_tables(noprop_model *model) {
  const struct network *network = model->network;
  const size_t count = (size_t)network_fragment_numbers(network), parameters = (size_t)network->padded_floats;
  if (!model->fragment_sources) return NOPROP_OK;
  int *sources = malloc(count * sizeof *sources), *places = malloc(2 * parameters * sizeof *places);
  noprop_status status = NOPROP_OK;
  if (!sources || !places) {
    status = status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the order of weights' fragments");
  } else {
    network_fragment_sources(network, sources);
    for (size_t i = 0; i < 2 * parameters; ++i) places[i] = -1;
    for (size_t i = 0; i < count; ++i) {
      if (sources[i] < 0) continue;
      int *place = &places[2 * sources[i]];
      place[*place >= 0] = (int)i; /* the weights stand before the transposes */
    }
    status = device_upload(model->device, model->fragment_sources, sources, count * sizeof *sources);
    if (status == NOPROP_OK)
      status = device_upload(model->device, model->fragment_places, places, 2 * parameters * sizeof *places);
    if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
  }
  free(places);
  free(sources);
  return status;
}

static noprop_status find_builtins(noprop_model *model) {
  /* The numbers of a schedule are not drawn to zero: kernels that leave them out of weight decay. */
  const bool exempt = model->network->decayed_floats < model->network->padded_floats;
  const bool blocks = model->network->blocks > 0;
  const char *module = blocks ? "update_blocks" : "update", *kind = blocks ? "_blocks" : exempt ? "_exempt" : "";
  char names[3][32];
  snprintf(names[0], sizeof names[0], "reduce_update%s", kind);
  snprintf(names[1], sizeof names[1], "reduce_gradient%s", blocks ? kind : "");
  snprintf(names[2], sizeof names[2], "clip_update%s", kind);
  noprop_status status = device_builtin(model->device, module, names[0], &model->reduce_update);
  if (status == NOPROP_OK) status = device_builtin(model->device, module, names[1], &model->reduce_gradient);
  if (status == NOPROP_OK) status = device_builtin(model->device, module, names[2], &model->clip_update);
  if (status == NOPROP_OK && model->network->operand_form >= 0)
    status = device_builtin(model->device, "update", "make_fragments", &model->make_fragments);
  if (status == NOPROP_OK && model->settings.coupling == COUPLING_OT)
    status = device_builtin(model->device, "coupling", "couple", &model->couple);
  if (status == NOPROP_OK) status = device_builtin(model->device, "metrics", "sum_terms", &model->sum_terms);
  return status;
}

/* Of kernels for requests. */
static noprop_status choose_request_tile(const struct network *network, struct tile_form *tile) {
  const noprop_status status = tiles_of_requests(tile);
  if (network->tokens.tokens > 0) *tile = TILE_FORM_ROW;
  return status;
}

/* Writes the kernels' sources without compiling them: unsupported options are found at creation. */
static noprop_status try_program(const noprop_model *model) {
  struct program program;
  const size_t shared = model->device->properties.shared_bytes;
  struct tile_form tile;
  noprop_status status = choose_request_tile(model->network, &tile);
  if (status == NOPROP_OK && model->field)
    status = program_staged_objective(model->network, &model->settings, &model->shape, shared, true, &program);
  else if (status == NOPROP_OK)
    status = program_train(model->network, &model->settings, &model->shape, shared, OBJECTIVE_TRAIN, &tile, &program);
  if (status == NOPROP_OK) program_destroy(&program);
  if (status != NOPROP_OK || model->network->operand_form < 0 || model->field) return status;
  status = program_integrate_tensor(model->network, &model->settings, &model->shape, METHOD_EULER, DRIFT_ODE, false,
                                    &TILE_FORM_WIDE, &program);
  if (status == NOPROP_OK) program_destroy(&program);
  return status;
}

noprop_status noprop_model_create(noprop_device *device, const noprop_config *config, const noprop_model_shape *shape,
                                  noprop_model **result) {
  if (!device || !config || !shape || !result)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_create: device, config, shape and model must not be NULL");
  *result = NULL;
  noprop_model *model = calloc(1, sizeof *model);
  if (!model) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a model");
  model->device = device;
  model->shape = *shape;
  model->bad_step = -1;
  noprop_status status = noprop_config_copy(config, &model->config);
  if (status == NOPROP_OK) status = settings_resolve(model->config, &model->settings);
  if (status == NOPROP_OK) status = check_shape(&model->settings, shape);
  if (status == NOPROP_OK) status = network_create(&model->settings, shape, &model->network);
  if (status != NOPROP_OK) goto failed;
  model->latent = model->network->latent;
  status = staged_choose(model, &model->field, model->tier_reason, sizeof model->tier_reason);
  if (status == NOPROP_OK)
    status = precision_resolve(device, model->network, &model->settings, model->precision_reason,
                               sizeof model->precision_reason);
  if (status == NOPROP_OK) status = try_program(model);
  if (status == NOPROP_OK) status = create_statistics(model);
  if (status == NOPROP_OK) status = find_builtins(model);
  if (status == NOPROP_OK) status = pool_create(device, 0, &model->pool);
  if (status == NOPROP_OK) status = allocate(model);
  if (status == NOPROP_OK) status = upload_initial(model);
  if (status == NOPROP_OK) status = upload_fragment_tables(model);
  if (status == NOPROP_OK) status = dt_upload_embedding(model);
  if (status != NOPROP_OK) goto failed;
  *result = model;
  return NOPROP_OK;
failed:
  noprop_model_destroy(model);
  return status;
}

void noprop_model_destroy(noprop_model *model) {
  if (!model) return;
  model_unbind(model);
  layered_products_close(model);
  pool_destroy(model->pool);
  network_destroy(model->network);
  noprop_config_destroy(model->config);
  while (model->solves) {
    struct model_solve *next = model->solves->next;
    free(model->solves);
    model->solves = next;
  }
  free(model->statistics.condition_mean);
  free(model->statistics.condition_std);
  free(model->statistics.target_mean);
  free(model->statistics.target_std);
  free(model);
}

void model_call_begin(noprop_model *model) { model->call_mark = pool_mark(model->pool); }

void model_call_end(noprop_model *model) { pool_release(model->pool, model->call_mark); }

/* ---- kernels ---- */

noprop_status model_compile(noprop_model *model, struct program *program, struct model_kernel *kernel) {
  noprop_status status = device_compile(model->device, program->source, program->entry, &kernel->kernel);
  if (status == NOPROP_OK && program->first_entry)
    status = device_compile(model->device, program->source, program->first_entry, &kernel->first);
  if (status == NOPROP_OK) {
    kernel->shared_bytes = program->shared_bytes;
    kernel->workspace_floats = program->workspace_floats;
    kernel->block_rows = program->block_rows;
    kernel->fragments = program->fragments;
    kernel->cooperative = program->cooperative;
    kernel->staged = program->staged;
    snprintf(kernel->tier, sizeof kernel->tier, "%s", program->tier);
    kernel->ready = true;
  }
  program_destroy(program);
  return status;
}

/* Blocks that wait for each other: on a virtual GPU so few that one processor has room for all, whatever the number of
 * its threads, and with as much shared memory as that leaves each; on others one for a processor. */
enum { COOPERATIVE_BLOCKS = 8, RESERVED_SHARED = 1024 };

static size_t shared_limit(const noprop_model *model) {
  const size_t bytes = model->device->properties.shared_bytes;
  const bool few = model->network->norm_count > 0 && model->device->properties.is_virtual;
  return few ? (bytes / COOPERATIVE_BLOCKS - RESERVED_SHARED) & ~(size_t)127 : bytes;
}

void model_set_slots(const noprop_model *model, const struct model_kernel *kernel, train_arguments *train) {
  if (kernel->staged) {
    staged_slots(train->batch, &train->slot_count, &train->tiles_per_slot);
    return;
  }
  tiles_slots(train->batch, kernel->block_rows, &train->slot_count, &train->tiles_per_slot);
  const unsigned most =
      model->device->properties.is_virtual ? COOPERATIVE_BLOCKS : (unsigned)model->device->properties.multiprocessors;
  if (!kernel->cooperative || train->slot_count <= most) return;
  const unsigned tiles = (train->batch + kernel->block_rows - 1) / kernel->block_rows;
  train->tiles_per_slot = (tiles + most - 1) / most;
  train->slot_count = (tiles + train->tiles_per_slot - 1) / train->tiles_per_slot;
}

noprop_status model_allocate_workspace(noprop_model *model, const struct model_kernel *kernel, train_arguments *train) {
  CUdeviceptr workspace = 0;
  train->workspace_stride = kernel->workspace_floats;
  const size_t bytes = train->slot_count * train->workspace_stride * sizeof(float);
  if (bytes == 0) return NOPROP_OK;
  noprop_status status = pool_alloc(model->pool, bytes, "activations", &workspace);
  if (status == NOPROP_OK && kernel->cooperative) status = device_clear(model->device, workspace, bytes);
  train->workspace = DEVICE_POINTER(float, workspace);
  return status;
}

noprop_status model_launch_slots(noprop_model *model, const struct model_kernel *kernel, const train_arguments *train) {
  return kernel->cooperative ? device_launch_cooperative(model->device, &kernel->kernel, train->slot_count,
                                                         TILE_THREADS, kernel->shared_bytes, train)
                             : device_launch(model->device, &kernel->kernel, train->slot_count, TILE_THREADS,
                                             kernel->shared_bytes, train, sizeof *train);
}

static bool same_tile(const struct tile_form *a, const struct tile_form *b) {
  return a->rows == b->rows && a->outputs == b->outputs;
}

static noprop_status need_objective(noprop_model *model, enum objective_program kind, const struct tile_form *tile,
                                    struct model_kernel *kernel) {
  if (kernel->ready && same_tile(&kernel->tile, tile)) return NOPROP_OK;
  struct program program;
  const size_t shared = shared_limit(model);
  const bool staged = model->field && (kind == OBJECTIVE_TRAIN || kind == OBJECTIVE_LOSS);
  const noprop_status status =
      staged ? program_staged_objective(model->network, &model->settings, &model->shape, shared,
                                        kind == OBJECTIVE_TRAIN, &program)
      : kind == OBJECTIVE_TRAIN && model->network->operand_form >= 0
          ? program_train_tensor(model->network, &model->settings, &model->shape, shared, false, tile, &program)
          : program_train(model->network, &model->settings, &model->shape, shared, kind, tile, &program);
  if (status != NOPROP_OK) return status;
  struct model_kernel made = {.tile = *tile};
  const noprop_status compiled = model_compile(model, &program, &made);
  if (compiled == NOPROP_OK) *kernel = made;
  return compiled;
}

static noprop_status need_request(noprop_model *model, enum objective_program kind, struct model_kernel *kernel) {
  struct tile_form tile;
  const noprop_status status = choose_request_tile(model->network, &tile);
  return status == NOPROP_OK ? need_objective(model, kind, &tile, kernel) : status;
}

/* Of the train kernel; all blocks of variant dt are in one launch. */
static noprop_status choose_tile(const noprop_model *model, unsigned batch, struct tile_form *tile) {
  if (model->field) {
    *tile = TILE_FORM_WIDE;
    return NOPROP_OK;
  }
  const unsigned rows = model->network->blocks ? batch * (unsigned)model->network->blocks : batch;
  const int operands = model->network->operand_form, widest = network_widest(model->network);
  if (model->network->tokens.tokens > 0) return choose_request_tile(model->network, tile);
  return operands >= 0 ? tiles_of_tensor_train(model->device, rows, operands, widest, tile)
                       : tiles_choose(model->device, rows, widest, tile);
}

noprop_status model_need_train(noprop_model *model, unsigned batch) {
  struct tile_form tile;
  const noprop_status status = choose_tile(model, batch, &tile);
  return status == NOPROP_OK ? need_objective(model, OBJECTIVE_TRAIN, &tile, &model->train) : status;
}

noprop_status model_need_request(noprop_model *model) { return need_request(model, OBJECTIVE_TRAIN, &model->request); }

noprop_status model_need_train_state(noprop_model *model) {
  if (model->network->blocks)
    return status_set(
        NOPROP_UNSUPPORTED,
        "gradients of state and clean latent are not computed for variant dt, whose blocks have one each");
  char asked[16];
  const noprop_status status = noprop_config_get(model->config, "precision", asked, sizeof asked);
  if (status != NOPROP_OK) return status;
  /* Where fp32 stands for tf32x3, multiply-adds are as exact. */
  if (model->network->operand_form >= 0 && strcmp(asked, "fp32") != 0)
    return status_set(NOPROP_UNSUPPORTED,
                      "gradients of state and clean latent are computed in precision fp32 only; this model has %s",
                      PRECISION_NAMES[model->settings.precision].name);
  if (model->settings.loss.error == LOSS_ERROR_SOFTMAX_SQUARED)
    return status_set(NOPROP_UNSUPPORTED,
                      "gradients of state and clean latent have no kernel for loss.error softmax_squared; squared and "
                      "cross_entropy are allowed");
  return need_request(model, OBJECTIVE_TRAIN_STATE, &model->train_state);
}

noprop_status model_need_loss(noprop_model *model) { return need_request(model, OBJECTIVE_LOSS, &model->loss); }

/* Why the tensor cores' kernels cannot do a solve, or NULL. */
static const char *beyond_tensor_cores(const struct solve_form *form) {
  if (solve_is_adaptive(form->method)) return "adaptive methods";
  if (form->drift == DRIFT_SDE) return "drift sde";
  if (form->drift == DRIFT_RELAX || form->drift == DRIFT_RELAX_NOISE) return "drifts of earlier systems";
  if (form->guided) return "guidance";
  return form->density ? "log densities" : NULL;
}

/* Precisions `auto` and `fp32` that came to tensor cores take multiply-adds for solves that they have no kernel for. */
static noprop_status choose_precision(const noprop_model *model, const struct solve_form *form, bool *tensor) {
  char asked[16];
  const char *beyond = model->field ? staged_solve_refusal(form) : beyond_tensor_cores(form);
  *tensor = model->network->operand_form >= 0 && !beyond;
  if (model->network->operand_form < 0 || !beyond) return NOPROP_OK;
  const noprop_status status = noprop_config_get(model->config, "precision", asked, sizeof asked);
  if (status != NOPROP_OK || strcmp(asked, "auto") == 0 || strcmp(asked, "fp32") == 0) return status;
  return status_set(NOPROP_UNSUPPORTED, "precision: %s has no kernel for %s; auto and fp32 have", asked, beyond);
}

static bool same_form(const struct solve_form *a, const struct solve_form *b) {
  return a->method == b->method && a->drift == b->drift && a->final_denoise == b->final_denoise &&
         a->guided == b->guided && a->density == b->density;
}

/* Tiles of a solve of `rows` rows; others than the wide form have kernels of fixed steps without densities only. */
static noprop_status choose_solve_tile(const noprop_model *model, const struct solve_form *form, unsigned rows,
                                       bool tensor, struct tile_form *tile) {
  const noprop_status status = tiles_of_solve(model->device, rows, network_widest(model->network), tensor, tile);
  const bool wide = solve_is_adaptive(form->method) || form->density || model->network->blocks || model->field;
  if (wide) *tile = TILE_FORM_WIDE;
  if (model->network->tokens.tokens > 0) *tile = TILE_FORM_ROW;
  return status;
}

noprop_status model_need_integrate(noprop_model *model, const struct solve_form *form, unsigned rows,
                                   struct model_kernel **kernel) {
  bool tensor;
  struct tile_form tile;
  noprop_status status = choose_precision(model, form, &tensor);
  if (status == NOPROP_OK) status = choose_solve_tile(model, form, rows, tensor, &tile);
  if (status != NOPROP_OK) return status;
  struct model_solve *solve = model->solves;
  while (solve && !(same_form(&solve->form, form) && same_tile(&solve->tile, &tile))) solve = solve->next;
  if (!solve) {
    solve = calloc(1, sizeof *solve);
    if (!solve) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a kernel");
    solve->form = *form;
    solve->tile = tile;
    solve->next = model->solves;
    model->solves = solve;
  }
  *kernel = &solve->kernel;
  if (solve->kernel.ready) return NOPROP_OK;
  struct program program;
  const bool staged = model->field && !staged_solve_refusal(form);
  status = staged   ? program_staged_solve(model->network, &model->settings, &model->shape,
                                           model->device->properties.shared_bytes, form, &program)
           : tensor ? program_integrate_tensor(model->network, &model->settings, &model->shape, form->method,
                                               form->drift, form->final_denoise, &tile, &program)
                    : program_integrate(model->network, &model->settings, &model->shape,
                                        model->device->properties.shared_bytes, form, &tile, &program);
  return status == NOPROP_OK ? model_compile(model, &program, &solve->kernel) : status;
}

noprop_status model_need_fragments(noprop_model *model, CUdeviceptr parameters) {
  enum { THREADS = 128 };
  const unsigned count = (unsigned)network_fragment_numbers(model->network);
  if (model->fragments_of == parameters) return NOPROP_OK;
  const fragments_arguments arguments = {.parameters = DEVICE_POINTER(const float, parameters),
                                         .sources = DEVICE_POINTER(const int, model->fragment_sources),
                                         .to = DEVICE_POINTER(unsigned, model->fragments),
                                         .count = count,
                                         .form = model->network->operand_form};
  const noprop_status status = device_launch(model->device, &model->make_fragments, (count + THREADS - 1) / THREADS,
                                             THREADS, 0, &arguments, sizeof arguments);
  model->fragments_of = status == NOPROP_OK ? parameters : 0;
  return status;
}

train_arguments model_train_arguments(const noprop_model *model) {
  return (train_arguments){
      .parameters = DEVICE_POINTER(const float, model->parameters),
      .fragments = DEVICE_POINTER(const unsigned, model->fragments),
      .condition_scale = DEVICE_POINTER(const float, model->condition_scale),
      .condition_shift = DEVICE_POINTER(const float, model->condition_shift),
      .target_scale = DEVICE_POINTER(const float, model->target_scale),
      .target_shift = DEVICE_POINTER(const float, model->target_shift),
      .frequencies = DEVICE_POINTER(const float, model->frequencies),
      .state = DEVICE_POINTER(train_state, model->state),
      .embedding = DEVICE_POINTER(const float, model->embedding),
      .seed = model->settings.seed,
  };
}

update_arguments model_update_arguments(const noprop_model *model) {
  const struct settings *s = &model->settings;
  return (update_arguments){
      .parameters = DEVICE_POINTER(float, model->parameters),
      .gradient = DEVICE_POINTER(float, model->gradient),
      .moment1 = DEVICE_POINTER(float, model->moment1),
      .moment2 = DEVICE_POINTER(float, model->moment2),
      .average = DEVICE_POINTER(float, model->average),
      .norm_partials = DEVICE_POINTER(float, model->norm_partials),
      .fragments = DEVICE_POINTER(unsigned, model->fragments),
      .fragment_places = DEVICE_POINTER(const int, model->fragment_places),
      .state = DEVICE_POINTER(train_state, model->state),
      .count = (unsigned)model->network->padded_floats,
      .optimizer = s->optimizer.type,
      .rate_schedule = s->optimizer.schedule,
      .learning_rate = (float)s->optimizer.learning_rate,
      .weight_decay = (float)s->optimizer.weight_decay,
      .clip = (float)s->optimizer.clip,
      .ema = (float)s->optimizer.ema,
      .beta1 = (float)s->optimizer.beta1,
      .beta2 = (float)s->optimizer.beta2,
      .epsilon = (float)s->optimizer.epsilon,
      .momentum = (float)s->optimizer.momentum,
      .warmup_steps = (unsigned)s->optimizer.warmup_steps,
      .fragment_form = model->network->operand_form,
      .nesterov = s->optimizer.nesterov,
      .coder_terms = s->loss.vae > 0 || s->loss.kl_z0 > 0,
      .decayed = (unsigned)model->network->decayed_floats,
      .block_sums = DEVICE_POINTER(double, model->block_sums),
      .block_norms = DEVICE_POINTER(float, model->block_norms),
      .blocks = (unsigned)model->network->blocks,
      .block_floats = (unsigned)model->network->block_floats,
      .classifier_floats = (unsigned)model->network->classifier_floats,
      .embedding_floats = (unsigned)model->network->embedding_floats,
      .tail_stride = dt_tail_stride(model->network),
  };
}

/* ---- statistics ---- */

noprop_status model_upload_statistics(noprop_model *model) {
  const int widths[2] = {model->shape.condition_width, model->shape.target_width};
  const int width = widths[0] > widths[1] ? widths[0] : widths[1];
  const struct model_statistics *s = &model->statistics;
  float *values = malloc((size_t)width * 2 * sizeof *values);
  if (!values) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the statistics of the data");
  const struct {
    const float *mean, *std;
    int width;
    bool inverse; /* from the model's units back to the data's */
    CUdeviceptr scale, shift;
  } tables[] = {
      {s->condition_mean, s->condition_std, widths[0], false, model->condition_scale, model->condition_shift},
      {s->target_mean, s->target_std, widths[1], false, model->target_scale, model->target_shift},
      {s->target_mean, s->target_std, widths[1], true, model->output_scale, model->output_shift},
  };
  noprop_status status = NOPROP_OK;
  for (int table = 0; table < 3 && status == NOPROP_OK; ++table) {
    const int n = tables[table].width;
    if (n == 0) continue;
    for (int i = 0; i < n; ++i) {
      double mean = tables[table].mean ? tables[table].mean[i] : 0.0,
             std = tables[table].std ? tables[table].std[i] : 1.0;
      values[i] = (float)(tables[table].inverse ? std : 1.0 / std);
      values[n + i] = (float)(tables[table].inverse ? mean : -mean / std);
    }
    status = device_upload(model->device, tables[table].scale, values, (size_t)n * sizeof *values);
    if (status == NOPROP_OK)
      status = device_upload(model->device, tables[table].shift, values + n, (size_t)n * sizeof *values);
    if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
  }
  free(values);
  return status;
}

static noprop_status check_statistics(const char *side, const float *mean, const float *std, int width) {
  for (int i = 0; i < width; ++i) {
    if (mean && !isfinite(mean[i]))
      return status_set(NOPROP_INVALID_ARGUMENT, "the %s's mean %d is %g; it must be finite", side, i, (double)mean[i]);
    if (std && !(isfinite(std[i]) && std[i] > 0.0f))
      return status_set(NOPROP_INVALID_ARGUMENT, "the %s's standard deviation %d is %g; it must be finite and above 0",
                        side, i, (double)std[i]);
  }
  return NOPROP_OK;
}

static void copy_statistics(float *to, const float *from, int width, float otherwise) {
  for (int i = 0; to && i < width; ++i) to[i] = from ? from[i] : otherwise;
}

noprop_status noprop_model_set_statistics(noprop_model *model, const float *condition_mean, const float *condition_std,
                                          const float *target_mean, const float *target_std) {
  if (!model) return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_set_statistics: model must not be NULL");
  struct model_statistics *s = &model->statistics;
  const int condition = s->condition_mean ? model->shape.condition_width : 0;
  const int target = s->target_mean ? model->shape.target_width : 0;
  noprop_status status = check_statistics("condition", condition_mean, condition_std, condition);
  if (status == NOPROP_OK) status = check_statistics("target", target_mean, target_std, target);
  if (status != NOPROP_OK) return status;
  copy_statistics(s->condition_mean, condition_mean, condition, 0.0f);
  copy_statistics(s->condition_std, condition_std, condition, 1.0f);
  copy_statistics(s->target_mean, target_mean, target, 0.0f);
  copy_statistics(s->target_std, target_std, target, 1.0f);
  model->binding.coupling.solved = 0; /* the costs change */
  return model_upload_statistics(model);
}

/* ---- parameters ---- */

int noprop_model_parameter_count(const noprop_model *model) { return model ? model->network->parameter_count : 0; }

long noprop_model_parameter_values(const noprop_model *model) { return model ? model->network->values : 0; }

noprop_parameter noprop_model_parameter(const noprop_model *model, int index) {
  noprop_parameter parameter = {0};
  if (!model || index < 0 || index >= model->network->parameter_count) return parameter;
  const struct parameter_entry *entry = &model->network->parameters[index];
  parameter.name = entry->name;
  parameter.offset = entry->offset;
  /* A bias is a vector: its name's last part says so. */
  const size_t length = strlen(entry->name);
  const bool bias = length >= 4 && strcmp(entry->name + length - 4, "bias") == 0;
  parameter.rank = bias ? 1 : 2;
  parameter.shape[0] = bias ? entry->columns : entry->rows;
  parameter.shape[1] = bias ? 1 : entry->columns;
  return parameter;
}

noprop_status noprop_model_get_parameters(noprop_model *model, bool ema, float *values) {
  if (!model || !values)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_get_parameters: model and values must not be NULL");
  if (ema && !model->average)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "this model has no averaged parameters: it was made with optimizer.ema 0");
  const size_t bytes = (size_t)model->network->padded_floats * sizeof(float);
  float *padded = malloc(bytes);
  if (!padded) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for %ld parameters", model->network->values);
  noprop_status status = device_download(model->device, padded, ema ? model->average : model->parameters, bytes);
  if (status == NOPROP_OK) network_unpack(model->network, padded, values);
  free(padded);
  return status;
}

noprop_status noprop_model_set_parameters(noprop_model *model, const float *values) {
  if (!model || !values)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_set_parameters: model and values must not be NULL");
  const size_t bytes = (size_t)model->network->padded_floats * sizeof(float);
  float *padded = malloc(bytes);
  if (!padded) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for %ld parameters", model->network->values);
  network_pack(model->network, values, padded);
  model->fragments_of = 0;
  noprop_status status = device_upload(model->device, model->parameters, padded, bytes);
  /* The average starts where the parameters start. */
  if (status == NOPROP_OK && model->average) status = device_upload(model->device, model->average, padded, bytes);
  if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
  free(padded);
  return status;
}

/* ---- what a model says of itself ---- */

uint64_t noprop_model_step(const noprop_model *model) {
  if (!model) return 0;
  return model->bad_step >= 0 ? (uint64_t)model->bad_step : model->submitted;
}

const char *noprop_model_precision(const noprop_model *model, const char **reason) {
  if (reason) *reason = model ? model->precision_reason : "";
  return model ? PRECISION_NAMES[model->settings.precision].name : "";
}

const noprop_config *noprop_model_config(const noprop_model *model) { return model ? model->config : NULL; }

const noprop_model_shape *noprop_model_get_shape(const noprop_model *model) { return model ? &model->shape : NULL; }

int noprop_model_latent_size(const noprop_model *model) { return model ? model->latent : 0; }

/* Text that grows. */
struct text {
  char *data;
  size_t length, capacity;
  bool failed;
};

__attribute__((format(printf, 2, 3))) static void text_add(struct text *text, const char *format, ...) {
  char piece[512];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(piece, sizeof piece, format, arguments);
  va_end(arguments);
  if (length < 0 || text->failed) return;
  if ((size_t)length >= sizeof piece) length = (int)sizeof piece - 1;
  if (text->length + (size_t)length + 1 > text->capacity) {
    size_t capacity = 2 * text->capacity + (size_t)length + 512;
    char *data = realloc(text->data, capacity);
    if (!data) {
      text->failed = true;
      return;
    }
    text->data = data;
    text->capacity = capacity;
  }
  memcpy(text->data + text->length, piece, (size_t)length + 1);
  text->length += (size_t)length;
}

static void describe_input(struct text *text, const struct op_input *input) {
  switch (input->kind) {
    case INPUT_X:
      text_add(text, "condition [%d]", input->width);
      break;
    case INPUT_Z:
      text_add(text, "z [%d]", input->width);
      break;
    case INPUT_TIME:
      text_add(text, "time [%d]", input->width);
      break;
    case INPUT_Y:
      text_add(text, "target [%d]", input->width);
      break;
    case INPUT_DECODED:
      text_add(text, "latent [%d]", input->width);
      break;
    default:
      text_add(text, "layer %d [%d]", input->op, input->width);
      break;
  }
}

/* How the steps are launched, and why. `chosen`: launches of a step by what a staged field has chosen. */
static void describe_launches(struct text *text, const noprop_model *model, unsigned slots, unsigned rows_per_slot,
                              int chosen) {
  const int launches = (model->settings.optimizer.clip > 0.0 ? 3 : 2) + branch_launches(model->network) +
                       image_coder_launches(model->network) +
                       (model->field ? staged_train_launches(model) - 1 + chosen : 0);
  const struct persistent_case of = {.is_virtual = model->device->properties.is_virtual,
                                     .blocks = model->network->blocks > 0,
                                     .slots = slots,
                                     .rows_per_slot = rows_per_slot,
                                     .weights = model->network->values,
                                     .update_blocks = model_update_blocks(model),
                                     .branch = model->network->branch_count > 0 || image_coder_is(model->network),
                                     .passes = model->network->norm_count > 0,
                                     .staged = model->field != NULL};
  const char *refusal = persistent_refusal(&of);
  const bool bound = model->binding.bound;
  if (bound ? model->binding.persistent : !refusal)
    text_add(text, "  one launch for up to %d steps%s\n", (int)PERSISTENT_STEPS,
             bound ? "" : ", if all blocks are resident at once and the rows fit the device");
  else
    text_add(text, "  %d launches per step, in graphs of %d steps: %s\n", launches, (int)MODEL_GRAPH_STEPS,
             refusal ? refusal : "the blocks or the rows do not fit the device at once");
}

noprop_status noprop_model_describe(noprop_model *model, char **result) {
  if (!model || !result)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_describe: model and text must not be NULL");
  *result = NULL;
  const struct settings *s = &model->settings;
  const struct network *network = model->network;
  struct text text = {0};
  text_add(&text, "%s on task %s: %s on %s, network %s with %ld parameters in %d arrays\n",
           VARIANT_NAMES[s->variant].name, TASK_NAMES[s->task].name, PREDICTION_NAMES[s->prediction].name,
           s->variant == VARIANT_FM           ? "the linear path"
           : s->variant == VARIANT_SUPERVISED ? "no path"
           : s->variant == VARIANT_DT         ? "levels of the VP path"
                                              : "the VP path",
           NETWORK_NAMES[s->network.type].name, network->values, network->parameter_count);
  if (s->network.wrapper != WRAPPER_NONE)
    text_add(&text, "its output is wrapped: %s, %s\n", WRAPPER_NAMES[s->network.wrapper].name,
             WRAPPER_NAMES[s->network.wrapper].meaning);
  if (network->blocks)
    text_add(&text, "%d blocks of separate weights, %ld parameters each%s%s; block 1:\n", network->blocks,
             network->block_values, network->classes ? ", a classifier on the last state, embeddings " : "",
             network->classes ? EMBEDDING_NAMES[s->latent.embedding].name : "");
  for (int i = 0; i < network->branch_count; ++i) {
    char line[192];
    branch_describe(network, i, line, sizeof line);
    text_add(&text, "  branch layer %d: %s\n", i, line);
  }
  if (network->branch_count > 0)
    text_add(&text, "  the branch takes %.2f million multiply-adds a row, once per row and solve\n",
             branch_products(network) * 1e-6);
  char part[160];
  for (int i = 0; image_coder_describe(network, i, part, sizeof part); ++i) text_add(&text, "  %s\n", part);
  if (image_coder_is(network))
    text_add(&text, "  encoder and decoder take %.2f million multiply-adds a row, the decoder once per row and solve\n",
             image_coder_products(network) * 1e-6);
  for (int i = 0; i < network_total_ops(network); ++i) {
    const struct dense_op *op = &network->ops[i];
    char line[240];
    if (network->tokens.tokens > 0 && i == 0) {
      for (int k = 0; network_describe_tokens(network, k, line, sizeof line); ++k) text_add(&text, "  %s\n", line);
      continue;
    }
    if (network->field && i == network_said_op(network)) {
      text_add(&text, "  a graph of %d operations: z [%d]%s%s -> %d, with the arrays", network->field->count,
               network->latent, i > 0 ? " + layers above" : "", network->time_width ? " + time" : "", op->width);
      for (int p = network->field_first; p < network->field_end; ++p)
        text_add(&text, " %s [%d][%d]%s", network->parameters[p].name, network->parameters[p].rows,
                 network->parameters[p].columns, network->parameters[p].positive ? " (non-negative in use)" : "");
      text_add(&text, "\n");
      continue;
    }
    text_add(&text, "  %slayer %d: ",
             i < network->encoder_first   ? ""
             : i < network->decoder_first ? (network->encoder_normal ? "Gaussian encoder, " : "encoder, ")
                                          : "decoder, ",
             i);
    for (int input = 0; input < op->input_count; ++input) {
      if (input) text_add(&text, " + ");
      describe_input(&text, &op->inputs[input]);
    }
    text_add(&text, " -> %d, %s%s", op->width, ACTIVATION_NAMES[op->activation].name, op->dropout ? ", dropout" : "");
    if (op->residual >= 0) text_add(&text, ", added to layer %d", op->residual);
    text_add(&text, "%s\n", op->x_branch ? " (once per row)" : "");
  }
  struct program program;
  struct tile_form tile;
  const size_t shared = shared_limit(model);
  const unsigned batch = model->binding.bound ? model->binding.batch : (unsigned)s->train.batch;
  const unsigned processors = tiles_processors(model->device);
  char choice[600] = "";
  int chosen = 0;
  noprop_status status = choose_tile(model, batch, &tile);
  if (status == NOPROP_OK && model->field && model->field->describe)
    status = model->field->describe(model, batch, choice, sizeof choice, &chosen);
  if (status == NOPROP_OK)
    status = model->field ? program_staged_objective(network, s, &model->shape, shared, true, &program)
             : network->operand_form >= 0
                 ? program_train_tensor(network, s, &model->shape, shared, false, &tile, &program)
                 : program_train(network, s, &model->shape, shared, OBJECTIVE_TRAIN, &tile, &program);
  if (status != NOPROP_OK) {
    free(text.data);
    return status;
  }
  unsigned slots, tiles;
  if (model->field)
    staged_slots(batch, &slots, &tiles);
  else
    tiles_slots(batch, program.block_rows, &slots, &tiles);
  text_add(&text, "precision: %s: %s\n", PRECISION_NAMES[s->precision].name, model->precision_reason);
  if (model->field)
    text_add(&text,
             "training: launches over all rows, tier %s, %zu bytes of layers' results a row; %d launches for an "
             "evaluation in a solve\n",
             model->field->tier, staged_row_bytes(model, true, false), staged_evaluation_launches(model));
  else
    text_add(&text,
             "training: tiles of %u rows, tier %s, %u bytes of shared memory, %zu floats of workspace per block\n",
             program.block_rows, program.tier, program.shared_bytes, program.workspace_floats);
  if (model->tier_reason[0])
    text_add(&text, "  %s: %s\n", model->field ? model->field->tier : "tiles", model->tier_reason);
  if (choice[0]) text_add(&text, "  %s\n", choice);
  if (!model->field && strcmp(program.tier, "spilling") == 0)
    text_add(&text, "  spilling, as a tile's values take %zu bytes and a block has %zu of shared memory\n",
             program.shared_bytes + program.workspace_floats * sizeof(float), shared);
  if (network->operand_form >= 0 && !model->field)
    text_add(&text, "  %s\n",
             program.block_rows < 64 ? "the warps of a block share its rows, each makes a part of a layer"
                                     : "16 rows a warp");
  if (network->tokens.tokens > 0)
    text_add(&text, "  a block carries all tokens of its row\n");
  else if (network->operand_form < 0 && processors && !model->field)
    text_add(&text, "  %u outputs of a layer a thread, by batch %u and %u multiprocessors\n", tile.outputs, batch,
             processors);
  else if (network->operand_form < 0 && !processors && !model->field)
    text_add(&text, "  %u outputs of a layer a thread, as the virtual GPU has vectors of 32 rows\n", tile.outputs);
  const unsigned block_rows = program.block_rows;
  program_destroy(&program);
  text_add(&text, "  batch %u in %u gradient slots of %u tiles; %s%s%s\n", batch, slots, tiles,
           OPTIMIZER_NAMES[s->optimizer.type].name, s->optimizer.clip > 0.0 ? ", gradient clipped" : "",
           s->optimizer.ema > 0.0 ? ", parameters averaged" : "");
  describe_launches(&text, model, slots, tiles * block_rows, chosen);
  text_add(&text, "device: %s\n", model->device->properties.name);
  if (text.failed) {
    free(text.data);
    return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the model's description");
  }
  *result = text.data;
  return NOPROP_OK;
}
