/* The branch of a condition: a feature extractor in front of the tile programs, by launches of its own.
 *
 * Its features are the condition of the network that follows: tile programs read them by position, [rows][x_width],
 * where they otherwise gather rows of data.
 *
 * A training step has the branch's launches forward, the tile program (which leaves the loss by the features), its
 * launches backward, which add its parameters' gradients to the slots, and the update of all parameters. A solve runs
 * the branch once per row, whatever the number of its steps. */
#ifndef ENGINE_BRANCH_H
#define ENGINE_BRANCH_H

#include "engine/device.h"
#include "engine/network.h"
#include "kernels/branch_arguments.h"

struct model_kernel;

/* Bytes: without a backward pass rows go through a branch, and images through an encoder or decoder, in groups that
 * take so much memory at most. */
enum { FORWARD_BYTES = 64 << 20 };

/* Kernels of one module, compiled when first needed. */
struct branch_kernels {
  bool ready;
  struct kernel forward[BRANCH_LAYERS], backward[BRANCH_LAYERS], gradients;
};

/* What a type of branch does: a file branch_TYPE.c each. */
struct branch_kind {
  /* Sets the network's layers, without parameters, from settings and the condition's shape, and branch_count. */
  noprop_status (*plan)(const struct settings *settings, const noprop_model_shape *shape, struct network *network);
  /* Adds the parameters, at most BRANCH_PARAMETERS, and sets x_width: the number of features. */
  void (*add)(struct network *network);
  double (*products)(const struct network *network); /* multiply-adds of one row, forward */
  int (*launches)(const struct network *network);    /* of a training step */
  /* Layer `layer` in words. */
  void (*describe)(const struct network *network, int layer, char *line, size_t size);
  /* Compiles all kernels into model->branch. */
  noprop_status (*compile)(noprop_model *model);
  /* Floats of a row that the forward pass alone writes. */
  size_t (*forward_floats)(const struct network *network);
  /* Memory for `rows` rows (of all parts together) beside features and their gradients. */
  noprop_status (*allocate)(noprop_model *model, size_t rows, unsigned parts, bool backward, branch_arguments *branch);
  /* Launches for a group of rows (arguments->capacity from arguments->first on) and arguments->parts networks. */
  noprop_status (*forward)(noprop_model *model, branch_arguments *arguments);
  noprop_status (*backward)(noprop_model *model, branch_arguments *arguments);
};
extern const struct branch_kind branch_cnn, branch_transformer, branch_resnet;

/* An array of floats that a branch needs; none where `floats` is 0. */
struct branch_array {
  float **pointer;
  size_t floats;
  const char *what;
};
noprop_status branch_allocate_arrays(noprop_model *model, const struct branch_array *arrays, size_t count);

/* What follows does nothing, and succeeds, for models without a branch. */

/* The branch that settings and the condition's shape ask for; branch_add: its parameters. */
noprop_status branch_plan(const struct settings *settings, const noprop_model_shape *shape, struct network *network);
void branch_add(struct network *network);
/* Multiply-adds of one row, forward. */
double branch_products(const struct network *network);
/* Launches of a training step beside the tile program and the update. */
int branch_launches(const struct network *network);
/* Bytes of a row's features, of all blocks of variant dt. */
size_t branch_row_bytes(const struct network *network);
/* Layer `layer` of branch_count in words. */
void branch_describe(const struct network *network, int layer, char *line, size_t size);

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
