/* Variant dt: memory of the blocks' gradients, launches of a step, what each block did. */
#include <stdlib.h>

#include "engine/dt.h"
#include "engine/dt_embedding.h"
#include "engine/status.h"

enum { UPDATE_THREADS = 128 /* of kernels/update.cu */ };

unsigned dt_parts(const struct network *network) { return (unsigned)network->blocks + (network->classes > 0 ? 1 : 0); }

unsigned dt_tail_stride(const struct network *network) { return (unsigned)network->embedding_floats + SLOT_TERMS; }

/* Blocks of threads that update so many parameters. */
static unsigned shares_of(long floats) { return (unsigned)((floats + MODEL_UPDATE_BLOCK - 1) / MODEL_UPDATE_BLOCK); }

unsigned dt_update_blocks(const struct network *network) {
  return (unsigned)network->blocks * shares_of(network->block_floats) + shares_of(network->classifier_floats) +
         shares_of(network->embedding_floats);
}

/* Parts that stay together: with dt.form notebook the last block and the classifier read each other's parameters, which
 * no launch may have updated in between. */
static unsigned parts_together(const noprop_model *model) {
  return model->settings.dt.form == DT_FORM_NOTEBOOK && model->network->classes > 0 ? 2 : 1;
}

/* How many parts NOPROP_DT_BLOCKS lets one launch take, or all of them. */
static unsigned parts_allowed(const noprop_model *model) {
  const char *value = getenv("NOPROP_DT_BLOCKS");
  const unsigned parts = dt_parts(model->network), least = parts_together(model);
  const long count = value ? strtol(value, NULL, 10) : 0;
  return count <= 0 || count >= (long)parts ? parts : count > (long)least ? (unsigned)count : least;
}

/* Parts of the launch that begins with part `first`. */
static unsigned parts_from(const noprop_model *model, const train_arguments *train, unsigned first) {
  const unsigned rest = dt_parts(model->network) - first;
  if (rest <= train->block_count) return rest;
  return rest - train->block_count < parts_together(model) ? train->block_count - 1 : train->block_count;
}

noprop_status dt_allocate(noprop_model *model, const struct model_kernel *kernel, bool gradients,
                          train_arguments *train, branch_arguments *branch) {
  const struct network *network = model->network;
  const unsigned parts = dt_parts(network);
  const long widest =
      network->classifier_floats > network->block_floats ? network->classifier_floats : network->block_floats;
  CUdeviceptr tails, slots = 0, workspace = 0;
  tiles_slots(train->batch, kernel->block_rows, &train->slot_count, &train->tiles_per_slot);
  train->workspace_stride = kernel->workspace_floats;
  noprop_status status = pool_alloc(
      model->pool, (size_t)parts * train->slot_count * dt_tail_stride(network) * sizeof(float), "loss terms", &tails);
  if (status != NOPROP_OK) return status;
  const size_t mark = pool_mark(model->pool);
  const unsigned least = parts_together(model);
  for (unsigned count = parts_allowed(model);; count = count > 2 * least ? (count + 1) / 2 : least) {
    train->block_count = count;
    /* The last part of a launch may be the classifier. */
    train->slot_stride = gradients ? (unsigned long long)((count - 1) * network->block_floats + widest) : 0;
    if (gradients)
      status =
          pool_alloc(model->pool, train->slot_count * train->slot_stride * sizeof(float), "gradient slots", &slots);
    if (status == NOPROP_OK && train->workspace_stride > 0)
      status = pool_alloc(model->pool, (size_t)count * train->slot_count * train->workspace_stride * sizeof(float),
                          "activations", &workspace);
    if (status == NOPROP_OK)
      status = branch_allocate(model, kernel, count < (unsigned)network->blocks ? count : (unsigned)network->blocks,
                               gradients, train, branch);
    if (status != NOPROP_OUT_OF_MEMORY || count == least) break;
    pool_release(model->pool, mark);
  }
  train->tails = DEVICE_POINTER(float, tails);
  train->slots = DEVICE_POINTER(float, slots);
  train->workspace = DEVICE_POINTER(float, workspace);
  return status;
}

/* With the branches before it, and `backward` also on their way back. */
static noprop_status launch_train(noprop_model *model, const struct model_kernel *kernel, const train_arguments *train,
                                  const branch_arguments *branch, bool backward, unsigned first, unsigned count) {
  const unsigned blocks = (unsigned)model->network->blocks, here = first + count > blocks ? blocks - first : count;
  train_arguments arguments = *train;
  arguments.first_block = first;
  noprop_status status = branch_forward(model, branch, &arguments, first, here);
  if (status == NOPROP_OK)
    status = device_launch(model->device, &kernel->kernel, count * train->slot_count, TILE_THREADS,
                           kernel->shared_bytes, &arguments, sizeof arguments);
  if (status == NOPROP_OK && backward) status = branch_backward(model, branch, &arguments, first, here);
  return status;
}

static noprop_status launch_update(noprop_model *model, const struct kernel *kernel, const update_arguments *update,
                                   unsigned first, unsigned count) {
  const struct network *network = model->network;
  const unsigned blocks = (unsigned)network->blocks, here = first + count > blocks ? blocks - first : count;
  update_arguments arguments = *update;
  arguments.first_block = first;
  arguments.block_count = count;
  arguments.finish = first + count == dt_parts(network);
  unsigned grid = here * shares_of(network->block_floats);
  if (first + count > blocks) grid += shares_of(network->classifier_floats);
  if (arguments.finish) grid += shares_of(network->embedding_floats);
  return device_launch(model->device, kernel, grid, UPDATE_THREADS, 0, &arguments, sizeof arguments);
}

noprop_status dt_launch(noprop_model *model, const struct model_kernel *kernel, const train_arguments *train,
                        const branch_arguments *branch, const update_arguments *update) {
  const unsigned parts = dt_parts(model->network);
  noprop_status status = NOPROP_OK;
  for (unsigned first = 0, count; first < parts && status == NOPROP_OK; first += count) {
    count = parts_from(model, train, first);
    status = launch_train(model, kernel, train, branch, update != NULL, first, count);
    if (status == NOPROP_OK && update) status = launch_update(model, &model->reduce_gradient, update, first, count);
  }
  return status;
}

noprop_status dt_launch_step(noprop_model *model, const train_arguments *train, const update_arguments *update) {
  const unsigned parts = dt_parts(model->network);
  const bool clipped = update->clip > 0.0f;
  noprop_status status = NOPROP_OK;
  for (unsigned first = 0, count; first < parts && status == NOPROP_OK; first += count) {
    count = parts_from(model, train, first);
    status = launch_train(model, &model->train, train, &model->binding.branch, true, first, count);
    if (status == NOPROP_OK)
      status = launch_update(model, clipped ? &model->reduce_gradient : &model->reduce_update, update, first, count);
    if (status == NOPROP_OK && clipped) status = launch_update(model, &model->clip_update, update, first, count);
  }
  return status;
}

/* ---- embeddings ---- */

noprop_status dt_upload_embedding(noprop_model *model) {
  const struct network *network = model->network;
  const int stride = (network->latent + 7) & ~7;
  if (model->settings.latent.embedding != EMBEDDING_ORTHONORMAL) return NOPROP_OK;
  const size_t bytes = (size_t)network->classes * (size_t)stride * sizeof(float);
  float *vectors = malloc(bytes);
  if (!vectors) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the embeddings of labels");
  dt_embedding(model->settings.seed, network->classes, network->latent, stride, vectors);
  noprop_status status = device_upload(model->device, model->embedding, vectors, bytes);
  if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
  free(vectors);
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
