/* Variant dt: memory of the blocks' gradients, launches of a step, what each block did. */
#include <stdlib.h>

#include "engine/dt.h"
#include "engine/status.h"

enum { UPDATE_THREADS = 128 /* of kernels/update.cu */ };

/* How many blocks NOPROP_DT_BLOCKS lets one launch take, or all of them. */
static unsigned blocks_allowed(unsigned blocks) {
  const char *value = getenv("NOPROP_DT_BLOCKS");
  const long count = value ? strtol(value, NULL, 10) : 0;
  return count > 0 && count < (long)blocks ? (unsigned)count : blocks;
}

noprop_status dt_allocate(noprop_model *model, const struct model_kernel *kernel, bool gradients,
                          train_arguments *train) {
  const unsigned blocks = (unsigned)model->network->blocks;
  const size_t block_floats = gradients ? (size_t)model->network->block_floats : 0;
  CUdeviceptr tails, slots = 0, workspace = 0;
  tiles_slots(train->batch, kernel->block_rows, &train->slot_count, &train->tiles_per_slot);
  train->workspace_stride = kernel->workspace_floats;
  noprop_status status =
      pool_alloc(model->pool, (size_t)blocks * train->slot_count * SLOT_TERMS * sizeof(float), "loss terms", &tails);
  if (status != NOPROP_OK) return status;
  const size_t mark = pool_mark(model->pool);
  for (unsigned count = blocks_allowed(blocks);; count = (count + 1) / 2) {
    const size_t parts = (size_t)count * train->slot_count;
    train->block_count = count;
    train->slot_stride = count * block_floats;
    if (block_floats > 0)
      status = pool_alloc(model->pool, parts * block_floats * sizeof(float), "gradient slots", &slots);
    if (status == NOPROP_OK && train->workspace_stride > 0)
      status = pool_alloc(model->pool, parts * train->workspace_stride * sizeof(float), "activations", &workspace);
    if (status != NOPROP_OUT_OF_MEMORY || count == 1) break;
    pool_release(model->pool, mark);
  }
  train->tails = DEVICE_POINTER(float, tails);
  train->slots = DEVICE_POINTER(float, slots);
  train->workspace = DEVICE_POINTER(float, workspace);
  return status;
}

static noprop_status launch_train(noprop_model *model, const struct model_kernel *kernel, const train_arguments *train,
                                  unsigned first, unsigned count) {
  train_arguments arguments = *train;
  arguments.first_block = first;
  return device_launch(model->device, &kernel->kernel, count * train->slot_count, TILE_THREADS, kernel->shared_bytes,
                       &arguments, sizeof arguments);
}

static noprop_status launch_update(noprop_model *model, const struct kernel *kernel, const update_arguments *update,
                                   unsigned first, unsigned count) {
  const unsigned parts = model_update_blocks(model) / (unsigned)model->network->blocks;
  update_arguments arguments = *update;
  arguments.first_block = first;
  arguments.finish = first + count == (unsigned)model->network->blocks;
  return device_launch(model->device, kernel, count * parts, UPDATE_THREADS, 0, &arguments, sizeof arguments);
}

noprop_status dt_launch(noprop_model *model, const struct model_kernel *kernel, const train_arguments *train,
                        const update_arguments *update) {
  const unsigned blocks = (unsigned)model->network->blocks;
  noprop_status status = NOPROP_OK;
  for (unsigned first = 0, count; first < blocks && status == NOPROP_OK; first += count) {
    count = blocks - first < train->block_count ? blocks - first : train->block_count;
    status = launch_train(model, kernel, train, first, count);
    if (status == NOPROP_OK && update) status = launch_update(model, &model->reduce_gradient, update, first, count);
  }
  return status;
}

noprop_status dt_launch_step(noprop_model *model, const train_arguments *train, const update_arguments *update) {
  const unsigned blocks = (unsigned)model->network->blocks;
  const bool clipped = update->clip > 0.0f;
  noprop_status status = NOPROP_OK;
  for (unsigned first = 0, count; first < blocks && status == NOPROP_OK; first += count) {
    count = blocks - first < train->block_count ? blocks - first : train->block_count;
    status = launch_train(model, &model->train, train, first, count);
    if (status == NOPROP_OK)
      status = launch_update(model, clipped ? &model->reduce_gradient : &model->reduce_update, update, first, count);
    if (status == NOPROP_OK && clipped) status = launch_update(model, &model->clip_update, update, first, count);
  }
  return status;
}

/* ---- what each block did ---- */

int noprop_model_blocks(const noprop_model *model) { return model ? model->network->blocks : 0; }

noprop_status noprop_model_block_metrics(noprop_model *model, double *loss, double *gradient_norm) {
  if (!model || !loss)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_block_metrics: model and loss must not be NULL");
  const size_t blocks = (size_t)model->network->blocks;
  if (blocks == 0)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_block_metrics: this model has no blocks; variant dt has");
  train_state state;
  float norms[DT_MAX_BLOCKS] = {0};
  noprop_status status = device_download(model->device, &state, model->state, sizeof state);
  if (status == NOPROP_OK) status = device_download(model->device, loss, model->block_sums, blocks * sizeof *loss);
  if (status == NOPROP_OK && model->block_norms)
    status = device_download(model->device, norms, model->block_norms, blocks * sizeof *norms);
  if (status != NOPROP_OK) return status;
  for (size_t k = 0; k < blocks; ++k) {
    loss[k] /= state.steps_summed ? state.steps_summed : 1.0;
    if (gradient_norm) gradient_norm[k] = (double)norms[k];
  }
  return NOPROP_OK;
}
