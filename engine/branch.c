/* Hands on to the type of branch that a network has. */
#include "engine/branch.h"

#include <string.h>

#include "engine/model.h"
#include "engine/network_field.h"
#include "engine/status.h"

static const struct branch_kind *const KINDS[BRANCH_COUNT] = {
    [BRANCH_CNN] = &branch_cnn, [BRANCH_TRANSFORMER] = &branch_transformer, [BRANCH_RESNET] = &branch_resnet};

static const struct branch_kind *kind_of(const struct network *network) {
  return network->branch_count > 0 ? KINDS[network->branch_type] : NULL;
}

/* The branch's features go through operations in front of the network; a list of layers has one where one dense layer
 * alone reads the condition, and wrappers have the condition as a factor. */
static bool takes_features(const struct settings *settings) {
  const struct layer_list *layers = &settings->network.layers;
  int reader;
  if (settings->network.wrapper != WRAPPER_NONE) return false;
  return settings->network.type == NETWORK_CUSTOM
             ? layers_reading_condition(layers, &reader) == 1 && layers->items[reader].type == LAYER_DENSE
             : !network_is_field(settings);
}

noprop_status branch_plan(const struct settings *settings, const noprop_model_shape *shape, struct network *network) {
  const int type = settings->network.branch.type;
  network->branch_count = 0;
  network->branch_type = type;
  if (!KINDS[type]) return NOPROP_OK;
  if (!takes_features(settings))
    return status_set(NOPROP_UNSUPPORTED,
                      "network.branch.type: %s has no kernels with network.type %s and network.wrapper %s; allowed: "
                      "mlp, resnet, or custom with one dense layer that reads x, and none",
                      BRANCH_NAMES[type].name, NETWORK_NAMES[settings->network.type].name,
                      WRAPPER_NAMES[settings->network.wrapper].name);
  return KINDS[type]->plan(settings, shape, network);
}

void branch_add(struct network *network) {
  const struct branch_kind *kind = kind_of(network);
  if (kind) kind->add(network);
}

double branch_products(const struct network *network) {
  const struct branch_kind *kind = kind_of(network);
  return kind ? kind->products(network) : 0;
}

int branch_launches(const struct network *network) {
  const struct branch_kind *kind = kind_of(network);
  return kind ? kind->launches(network) : 0;
}

size_t branch_row_bytes(const struct network *network) {
  const size_t parts = network->blocks ? (size_t)network->blocks : 1;
  return network->branch_count == 0 ? 0 : parts * (size_t)network->x_width * sizeof(float);
}

void branch_describe(const struct network *network, int layer, char *line, size_t size) {
  const struct branch_kind *kind = kind_of(network);
  line[0] = '\0';
  if (kind) kind->describe(network, layer, line, size);
}

noprop_status branch_allocate_arrays(noprop_model *model, const struct branch_array *arrays, size_t count) {
  noprop_status status = NOPROP_OK;
  for (size_t i = 0; i < count && status == NOPROP_OK; ++i) {
    CUdeviceptr memory = 0;
    if (arrays[i].floats == 0) continue;
    status = pool_alloc(model->pool, arrays[i].floats * sizeof(float), arrays[i].what, &memory);
    *arrays[i].pointer = DEVICE_POINTER(float, memory);
  }
  return status;
}

noprop_status branch_allocate(noprop_model *model, const struct model_kernel *kernel, unsigned parts, bool backward,
                              train_arguments *train, branch_arguments *branch) {
  const struct network *network = model->network;
  const struct branch_kind *kind = kind_of(network);
  memset(branch, 0, sizeof *branch);
  if (!kind) return NOPROP_OK;
  noprop_status status = model->branch.ready ? NOPROP_OK : kind->compile(model);
  if (status != NOPROP_OK) return status;
  model->branch.ready = true;
  size_t capacity = train->batch;
  while (!backward && capacity > 1 && capacity * parts * kind->forward_floats(network) * sizeof(float) > FORWARD_BYTES)
    capacity = (capacity + 1) / 2;
  if (capacity < 1) capacity = 1;
  branch->capacity = (unsigned)capacity;
  branch->feature_rows = train->batch;
  branch->slot_images = train->tiles_per_slot * kernel->block_rows;
  branch->part_floats = (unsigned long long)network->block_floats;
  const size_t features = (size_t)parts * train->batch * (size_t)network->x_width;
  const struct branch_array arrays[] = {{&branch->features, features, "features"},
                                        {&branch->feature_gradients, backward ? features : 0, "gradients of features"}};
  status = branch_allocate_arrays(model, arrays, 2);
  if (status == NOPROP_OK) status = kind->allocate(model, capacity * parts, parts, backward, branch);
  train->features = branch->features;
  train->feature_gradients = branch->feature_gradients;
  return status;
}

static branch_arguments arguments_of(const branch_arguments *branch, const train_arguments *train, unsigned first_part,
                                     unsigned parts) {
  branch_arguments arguments = *branch;
  arguments.rows = *train;
  arguments.first_part = first_part;
  arguments.parts = parts;
  return arguments;
}

noprop_status branch_forward(noprop_model *model, const branch_arguments *branch, const train_arguments *train,
                             unsigned first_part, unsigned parts) {
  const struct branch_kind *kind = kind_of(model->network);
  if (!kind || parts == 0) return NOPROP_OK;
  branch_arguments arguments = arguments_of(branch, train, first_part, parts);
  const unsigned rows = train->request ? train->rows : train->batch;
  noprop_status status = NOPROP_OK;
  for (unsigned first = 0; first < rows && status == NOPROP_OK; first += branch->capacity) {
    arguments.first = first;
    status = kind->forward(model, &arguments);
  }
  return status;
}

noprop_status branch_backward(noprop_model *model, const branch_arguments *branch, const train_arguments *train,
                              unsigned first_part, unsigned parts) {
  const struct branch_kind *kind = kind_of(model->network);
  if (!kind || parts == 0) return NOPROP_OK;
  branch_arguments arguments = arguments_of(branch, train, first_part, parts);
  return kind->backward(model, &arguments);
}
