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

noprop_status branch_plan(const struct settings *settings, const noprop_model_shape *shape, struct network *network) {
  const int type = settings->network.branch.type;
  network->branch_count = 0;
  network->branch_type = type;
  if (!KINDS[type]) return NOPROP_OK;
  if (network_is_field(settings))
    return status_set(NOPROP_UNSUPPORTED,
                      "network.branch.type: %s has no kernels with network.type %s and network.wrapper %s; allowed: "
                      "mlp or resnet, and none",
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

noprop_status branch_allocate(noprop_model *model, const struct model_kernel *kernel, unsigned parts, bool backward,
                              train_arguments *train, branch_arguments *branch) {
  const struct branch_kind *kind = kind_of(model->network);
  memset(branch, 0, sizeof *branch);
  return kind ? kind->allocate(model, kernel, parts, backward, train, branch) : NOPROP_OK;
}

noprop_status branch_forward(noprop_model *model, const branch_arguments *branch, const train_arguments *train,
                             unsigned first_part, unsigned parts) {
  const struct branch_kind *kind = kind_of(model->network);
  return kind && parts > 0 ? kind->forward(model, branch, train, first_part, parts) : NOPROP_OK;
}

noprop_status branch_backward(noprop_model *model, const branch_arguments *branch, const train_arguments *train,
                              unsigned first_part, unsigned parts) {
  const struct branch_kind *kind = kind_of(model->network);
  return kind && parts > 0 ? kind->backward(model, branch, train, first_part, parts) : NOPROP_OK;
}
