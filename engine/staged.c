/* The frame around fields that are sequences of launches: choice, memory, order of launches. */
#include "engine/staged.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/layered.h"
#include "engine/model.h"
#include "engine/status.h"
#include "kernels/staged_arguments.h"

/* Slots at most, and tiles of a slot at least: 128 rows. */
enum { SLOTS_MOST = 32, SLOT_TILES = 4 };

static unsigned round32(unsigned n) { return (n + 31) / 32 * 32; }
static size_t pitch(int width) { return ((size_t)width + 7) & ~(size_t)7; }

/* ---- choice ---- */

noprop_status staged_choose(const noprop_model *model, const struct staged_field **field, char *reason, size_t size) {
  const char *forced = getenv("NOPROP_TIER");
  const bool is_forced = forced && forced[0], layered = is_forced && strcmp(forced, "layered") == 0;
  *field = NULL;
  reason[0] = '\0';
  if (is_forced && !layered && strcmp(forced, "tiles") != 0)
    return status_set(NOPROP_INVALID_ARGUMENT, "NOPROP_TIER must be tiles or layered, not '%.40s'", forced);
  const char *refusal = layered_refusal(model->network, &model->settings);
  if (is_forced) {
    if (layered && refusal)
      return status_set(NOPROP_INVALID_ARGUMENT, "NOPROP_TIER is layered, but the layered tier %s", refusal);
    if (layered) *field = &layered_field, model->network->layered = true;
    snprintf(reason, size, "as NOPROP_TIER says");
    return NOPROP_OK;
  }
  if (!layered_pays(model, reason, size)) return NOPROP_OK;
  if (refusal)
    snprintf(reason, size, "the layered tier %s", refusal);
  else
    *field = &layered_field, model->network->layered = true;
  return NOPROP_OK;
}

int staged_stages(int method) {
  return method == METHOD_RK4 ? 4 : method == METHOD_MIDPOINT || method == METHOD_HEUN ? 2 : 1;
}

const char *staged_solve_refusal(const struct solve_form *form) {
  if (solve_is_adaptive(form->method)) return "adaptive methods";
  return form->density ? "log densities" : NULL;
}

/* ---- memory ---- */

void staged_slots(unsigned rows, unsigned *slot_count, unsigned *tiles_per_slot) {
  const unsigned tiles = (rows + 31) / 32;
  *tiles_per_slot = (tiles + SLOTS_MOST - 1) / SLOTS_MOST;
  if (*tiles_per_slot < SLOT_TILES) *tiles_per_slot = SLOT_TILES;
  *slot_count = (tiles + *tiles_per_slot - 1) / *tiles_per_slot;
}

struct array {
  float **pointer;
  size_t floats;
  const char *what;
};

static noprop_status allocate(noprop_model *model, const struct array *arrays, size_t count) {
  noprop_status status = NOPROP_OK;
  for (size_t i = 0; i < count && status == NOPROP_OK; ++i) {
    CUdeviceptr memory = 0;
    if (arrays[i].floats == 0) continue;
    status = pool_alloc(model->pool, arrays[i].floats * sizeof(float), arrays[i].what, &memory);
    *arrays[i].pointer = DEVICE_POINTER(float, memory);
  }
  return status;
}

static noprop_status allocate_workspace(noprop_model *model, const struct model_kernel *kernel, size_t blocks,
                                        float **workspace) {
  const struct array array = {workspace, blocks * kernel->workspace_floats, "states"};
  *workspace = NULL;
  return allocate(model, &array, 1);
}

noprop_status staged_allocate(noprop_model *model, const struct model_kernel *kernel, bool backward,
                              train_arguments *train, struct staged_run *run) {
  const struct network *network = model->network;
  memset(run, 0, sizeof *run);
  if (!kernel->staged) return NOPROP_OK;
  const unsigned draws = (unsigned)model->settings.loss.draws;
  *run = (struct staged_run){.rows = round32(train->batch), .draws = draws, .backward = backward};
  const size_t rows = run->rows, all = rows * draws, states = all * pitch(network->latent);
  noprop_status status = model->field->compile(model);
  const struct array arrays[] = {
      {&run->z, states, "states"},
      {&run->time, all * pitch(network->time_width), "time embeddings"},
      {&run->condition, rows * pitch(network->x_width), "conditions"},
      {&run->output, states, "predictions"},
      {&run->output_gradient, backward ? states : 0, "gradients of predictions"},
      {&run->memory, model->field->floats(model, run), "layers' results"},
      {&run->workspace, backward && model->field->workspace ? model->field->workspace(model) : 0,
       "workspace of products"}};
  if (status == NOPROP_OK) status = allocate(model, arrays, sizeof arrays / sizeof arrays[0]);
  if (status == NOPROP_OK && backward && model->field->choose) status = model->field->choose(model, run);
  const size_t blocks = all / 32 > train->slot_count ? all / 32 : train->slot_count;
  train->workspace_stride = kernel->workspace_floats;
  return status == NOPROP_OK ? allocate_workspace(model, kernel, blocks, &train->workspace) : status;
}

size_t staged_row_bytes(const noprop_model *model, bool backward, bool solve) {
  const struct network *network = model->network;
  const size_t draws = solve ? 1 : (size_t)model->settings.loss.draws;
  const struct staged_run run = {.rows = 32, .draws = (unsigned)draws, .backward = backward, .solve = solve};
  const size_t of_frame = draws * ((solve      ? 6
                                    : backward ? 3
                                               : 2) *
                                       pitch(network->latent) +
                                   pitch(network->time_width)) +
                          pitch(network->x_width);
  return (of_frame + model->field->floats(model, &run) / 32) * sizeof(float);
}

/* ---- a step ---- */

noprop_status staged_objective(noprop_model *model, const struct model_kernel *kernel, const struct staged_run *run,
                               const train_arguments *train) {
  const struct staged_field *field = model->field;
  const staged_arguments arguments = {.train = *train,
                                      .z = run->z,
                                      .time = run->time,
                                      .condition = run->condition,
                                      .output = run->output,
                                      .output_gradient = run->output_gradient,
                                      .rows = run->rows};
  noprop_status status = device_launch(model->device, &kernel->first, run->draws * (run->rows / 32), TILE_THREADS,
                                       kernel->shared_bytes, &arguments, sizeof arguments);
  if (status == NOPROP_OK) status = field->begin(model, run, train);
  if (status == NOPROP_OK) status = field->forward(model, run, train, true, run->output);
  if (status == NOPROP_OK)
    status = device_launch(model->device, &kernel->kernel, train->slot_count, TILE_THREADS, kernel->shared_bytes,
                           &arguments, sizeof arguments);
  return status == NOPROP_OK && run->backward ? field->backward(model, run, train) : status;
}

int staged_train_launches(const noprop_model *model) { return 2 + model->field->train_launches(model); }
int staged_evaluation_launches(const noprop_model *model) { return 1 + model->field->solve_launches(model); }

/* ---- a solve ---- */

noprop_status staged_allocate_solve(noprop_model *model, const struct model_kernel *kernel,
                                    const struct solve_form *form, unsigned rows, struct staged_run *run) {
  const struct network *network = model->network;
  memset(run, 0, sizeof *run);
  if (!kernel->staged) return NOPROP_OK;
  *run = (struct staged_run){.rows = round32(rows), .draws = 1, .solve = true};
  const size_t states = run->rows * pitch(network->latent);
  const bool stages = staged_stages(form->method) > 1;
  const struct array arrays[] = {
      {&run->state, states, "states"},
      {&run->z, stages ? states : 0, "states"},
      {&run->sum, form->method == METHOD_HEUN || form->method == METHOD_RK4 ? states : 0, "states"},
      {&run->previous, form->method == METHOD_DPM2M ? states : 0, "states"},
      {&run->unguided, form->guided ? states : 0, "predictions"},
      {&run->output, states, "predictions"},
      {&run->time, pitch(network->time_width), "time embeddings"},
      {&run->condition, run->rows * pitch(network->x_width), "conditions"},
      {&run->memory, model->field->floats(model, run), "layers' results"}};
  noprop_status status = model->field->compile(model);
  if (status == NOPROP_OK) status = allocate(model, arrays, sizeof arrays / sizeof arrays[0]);
  if (!stages) run->z = run->state;
  return status;
}

noprop_status staged_solve(noprop_model *model, const struct model_kernel *kernel, const struct solve_form *form,
                           const struct staged_run *run, const integrate_arguments *arguments) {
  const struct staged_field *field = model->field;
  const unsigned tiles = run->rows / 32, evaluated = arguments->steps + form->final_denoise;
  const train_arguments train = {.parameters = arguments->parameters,
                                 .fragments = arguments->fragments,
                                 .frequencies = arguments->frequencies,
                                 .request = 1,
                                 .rows = arguments->rows,
                                 .batch = arguments->rows};
  staged_solve_arguments stage = {.solve = *arguments,
                                  .state = run->state,
                                  .input = run->z,
                                  .sum = run->sum,
                                  .previous = run->previous,
                                  .time = run->time,
                                  .condition = run->condition,
                                  .output = run->output,
                                  .unguided = run->unguided,
                                  .rows = run->rows};
  noprop_status status =
      device_launch(model->device, &kernel->first, tiles, TILE_THREADS, kernel->shared_bytes, &stage, sizeof stage);
  if (status == NOPROP_OK && evaluated > 0) status = field->begin(model, run, &train);
  for (unsigned step = 0; step < evaluated; ++step) {
    const int stages = step == arguments->steps ? 1 : staged_stages(form->method);
    for (stage.step = step, stage.stage = 0; stage.stage < stages; ++stage.stage) {
      if (status == NOPROP_OK && form->guided) status = field->forward(model, run, &train, false, run->unguided);
      if (status == NOPROP_OK) status = field->forward(model, run, &train, true, run->output);
      if (status == NOPROP_OK)
        status = device_launch(model->device, &kernel->kernel, tiles, TILE_THREADS, kernel->shared_bytes, &stage,
                               sizeof stage);
      if (status != NOPROP_OK) return status;
    }
  }
  return status;
}
