/* The branch of a condition that is an image: convolutions in front of the tile programs, layer by layer.
 *
 * type cnn: per entry of network.branch.channels a 3 x 3 convolution with a border of zeros, bias and ReLU; 2 x 2
 * max-pool behind each but the last, whose outputs are averaged over all pixels. The means are the condition of the
 * network that follows: tile programs read them by position, [rows][channels], where they otherwise gather rows of
 * data.
 *
 * A training step has a launch per layer forward, the tile program (which leaves the loss by the means), a launch per
 * layer but the first backward, one for the gradients of all layers' weights, and the update of all parameters. A solve
 * runs the branch once per row, whatever the number of its steps. */
#ifndef ENGINE_BRANCH_H
#define ENGINE_BRANCH_H

#include "engine/device.h"
#include "engine/network.h"
#include "kernels/branch_arguments.h"

/* Kernels of one module, compiled when first needed. */
struct branch_kernels {
  bool ready;
  struct kernel forward[BRANCH_LAYERS], backward[BRANCH_LAYERS], gradients;
};

/* The layers that settings and the condition's shape ask for (parameters not set); *count 0: no branch. */
noprop_status branch_layers(const struct settings *settings, const noprop_model_shape *shape,
                            struct branch_layer *layers, int *count);
/* Multiply-adds of one image, forward. */
double branch_products(const struct network *network);
/* Launches of a training step beside the tile program and the update. */
int branch_launches(const struct network *network);
/* Bytes of a row's features, of all blocks of variant dt. */
size_t branch_row_bytes(const struct network *network);
/* Source of all kernels; free with free. NULL without memory. */
char *branch_source(const struct network *network, const noprop_model_shape *shape);

/* What follows does nothing, and succeeds, for models without a branch. */

struct model_kernel;
/* Compiles what is needed, and memory for the rows of `train` (train->batch) and `parts` networks of variant dt (else
 * 1); sets the features' pointers of *train and fills *branch. `kernel`: the tile program that follows; `backward`: it
 * leaves gradients. */
noprop_status branch_allocate(noprop_model *model, const struct model_kernel *kernel, unsigned parts, bool backward,
                              train_arguments *train, branch_arguments *branch);
/* Launches for the rows of `train` and networks first_part .. first_part + parts - 1. */
noprop_status branch_forward(noprop_model *model, const branch_arguments *branch, const train_arguments *train,
                             unsigned first_part, unsigned parts);
noprop_status branch_backward(noprop_model *model, const branch_arguments *branch, const train_arguments *train,
                              unsigned first_part, unsigned parts);

#endif
