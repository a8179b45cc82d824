/* Training steps in blocks of one cooperative launch: the choice, the kernel, the launch. */
#include "engine/persistent.h"

#include <stdlib.h>
#include <string.h>

#include "engine/program.h"
#include "engine/status.h"

enum { ISSUE_SLOTS_MOST = 45000, UPDATE_TURNS_MOST = 4 };

static const char NOT_RESIDENT[] = "not all blocks are resident at once";
static const char NO_BLOCKS[] = "the blocks of variant dt are updated each by itself";
static const char NO_BRANCH[] = "layers of images or sequences are launches of their own";

static const char NO_STAGES[] = "layers are launches of their own";
static const char NO_PASSES[] = "batch norm makes each step a launch whose blocks wait for each other";

const char *persistent_refusal(const struct persistent_case *of) {
  const double slots = 9.0 / 128.0 * (double)of->weights * of->rows_per_slot;
  if (of->blocks) return NO_BLOCKS;
  if (of->branch) return NO_BRANCH;
  if (of->passes) return NO_PASSES;
  if (of->staged) return NO_STAGES;
  if (of->is_virtual) return "a launch costs the virtual GPU no more than a barrier";
  if (of->resident_blocks > 0 && of->slots > of->resident_blocks) return NOT_RESIDENT;
  if (slots > ISSUE_SLOTS_MOST) return "a step takes far longer than its launches";
  if (of->update_blocks > UPDATE_TURNS_MOST * of->slots) return "the update has more blocks than gradients have slots";
  return NULL;
}

/* 1, 0, or -1: no override. */
static noprop_status forced(int *value) {
  const char *text = getenv("NOPROP_PERSISTENT");
  *value = -1;
  if (!text || !text[0]) return NOPROP_OK;
  if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
    return status_set(NOPROP_INVALID_ARGUMENT, "NOPROP_PERSISTENT must be 0 or 1, not '%.40s'", text);
  *value = text[0] - '0';
  return NOPROP_OK;
}

static noprop_status compile(noprop_model *model, unsigned *resident) {
  struct model_kernel *kernel = &model->train_steps;
  struct program program;
  *kernel = (struct model_kernel){.tile = model->train.tile};
  noprop_status status = program_train_steps(model->network, &model->settings, &model->shape,
                                             model->device->properties.shared_bytes, &model->train.tile, &program);
  if (status != NOPROP_OK) return status;
  status = model_compile(model, &program, kernel);
  if (status != NOPROP_OK) return status;
  return device_resident_blocks(model->device, &kernel->kernel, TILE_THREADS, kernel->shared_bytes, resident);
}

static noprop_status prepare(noprop_model *model) {
  struct model_binding *binding = &model->binding;
  CUdeviceptr memory, workspace = 0;
  noprop_status status =
      pool_alloc(model->pool, sizeof(grid_barrier_state), "the barrier of a launch's blocks", &memory);
  if (status == NOPROP_OK) status = device_clear(model->device, memory, sizeof(grid_barrier_state));
  binding->steps = (persistent_arguments){.train = binding->train,
                                          .update = binding->update,
                                          .barrier = DEVICE_POINTER(grid_barrier_state, memory),
                                          .update_blocks = model_update_blocks(model)};
  /* Its arrays may have another place. */
  const size_t floats = model->train_steps.workspace_floats;
  if (status == NOPROP_OK && floats > 0)
    status = pool_alloc(model->pool, binding->train.slot_count * floats * sizeof(float), "activations", &workspace);
  binding->steps.train.workspace = DEVICE_POINTER(float, workspace);
  binding->steps.train.workspace_stride = floats;
  return status;
}

noprop_status persistent_bind(noprop_model *model) {
  struct model_binding *binding = &model->binding;
  struct persistent_case of = {.is_virtual = model->device->properties.is_virtual,
                               .blocks = model->network->blocks > 0,
                               .slots = binding->train.slot_count,
                               .rows_per_slot = binding->train.tiles_per_slot * model->train.block_rows,
                               .weights = model->network->values,
                               .update_blocks = model_update_blocks(model),
                               .branch = model->network->branch_count > 0,
                               .passes = model->network->norm_count > 0,
                               .staged = model->field != NULL};
  int wanted;
  noprop_status status = forced(&wanted);
  binding->persistent = false;
  if (status != NOPROP_OK || wanted == 0 || (wanted < 0 && persistent_refusal(&of))) return status;
  if (of.blocks || of.branch || of.passes || of.staged)
    return status_set(NOPROP_UNSUPPORTED, "NOPROP_PERSISTENT=1: %s",
                      of.blocks   ? NO_BLOCKS
                      : of.branch ? NO_BRANCH
                      : of.passes ? NO_PASSES
                                  : NO_STAGES);
  status = compile(model, &of.resident_blocks);
  if (status != NOPROP_OK) return status;
  if (of.slots > of.resident_blocks) {
    if (wanted < 0) return NOPROP_OK;
    return status_set(NOPROP_UNSUPPORTED,
                      "NOPROP_PERSISTENT=1: %s: batch %u has %u gradient slots, and the device holds %u blocks",
                      NOT_RESIDENT, binding->batch, of.slots, of.resident_blocks);
  }
  status = prepare(model);
  binding->persistent = status == NOPROP_OK;
  return status;
}

noprop_status persistent_streamed(void) {
  int wanted;
  const noprop_status status = forced(&wanted);
  if (status != NOPROP_OK || wanted != 1) return status;
  return status_set(
      NOPROP_UNSUPPORTED,
      "NOPROP_PERSISTENT=1: the rows are streamed, and a launch of many steps needs all of them in device "
      "memory");
}

noprop_status persistent_launch(noprop_model *model, unsigned steps) {
  persistent_arguments arguments = model->binding.steps;
  arguments.steps = steps;
  return device_launch_cooperative(model->device, &model->train_steps.kernel, arguments.train.slot_count, TILE_THREADS,
                                   model->train_steps.shared_bytes, &arguments);
}
