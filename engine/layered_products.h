/* Which products of the layered tier cuBLASLt computes: those of training steps for which it was faster than our own
 * kernel, by the time both took when they were first measured on this machine. Times are measured when a step's memory
 * is allocated, never within a step, and only once: what they led to is remembered on disk (remember.h), so that every
 * later run makes the same choice, and gives the same bits.
 *
 * What cuBLASLt makes are sums; bias, activation, dropout and slope stay with our kernel, which then has fewer products
 * to add, or none. Solves and evaluations are all ours, so that a prediction's bits do not depend on how many others it
 * was made with. */
#ifndef ENGINE_LAYERED_PRODUCTS_H
#define ENGINE_LAYERED_PRODUCTS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/cublaslt.h"
#include "engine/device.h"
#include "engine/jit.h"
#include "kernels/gemm_arguments.h"
#include "noprop/model.h"

/* Products of one shape. */
struct layered_choice {
  struct cublaslt_product product;
  unsigned blocks, repeat;    /* so many of them fill the rows; so many are summed */
  struct cublaslt_plan *plan; /* NULL: our kernel */
};

struct layered_products {
  bool opened;
  const struct cublaslt_functions *library; /* NULL: there is none */
  void *handle;
  char reason[200];       /* why there is no library */
  char kernels[JIT_HASH]; /* of our kernels' text */
  char forgotten[200];    /* why choices could not be remembered, and are ours therefore; "" if all could */
  int count;
  struct layered_choice *choices;
};

/* Opens the library for a model, if there is one and the model's precision is one that it has. `source` is the text of
 * our kernels. Once per model. */
noprop_status layered_products_open(noprop_model *model, const char *source);
void layered_products_close(noprop_model *model);

/* One product of a training step: an input of a launch of `kernel`. */
struct layered_product {
  const gemm_arguments *launch;
  const gemm_input *input;
  bool turned; /* the kernel is of gradients of inputs */
  const struct kernel *kernel;
  unsigned grid;
};
/* Where products are made: `sums` has [rows][stride] floats of a layer, `workspace` is cuBLASLt's. */
struct layered_places {
  float *sums, *workspace;
};
/* Chooses for a product, if none of its shape had a choice yet: by what is remembered, or by measuring. */
noprop_status layered_products_choose(noprop_model *model, const struct layered_product *product,
                                      struct layered_places at);
/* Computes those of a launch's products that cuBLASLt has, and leaves the others and the sum in *arguments. */
noprop_status layered_products_apply(noprop_model *model, gemm_arguments *arguments, bool turned,
                                     struct layered_places at);

/* What a training step's products are, as far as they have been measured on this machine; begins as zeros. */
struct layered_outlook {
  int products, by_library, unknown;
  int launches; /* of the library */
};
void layered_products_look(const noprop_model *model, const struct layered_product *product,
                           struct layered_outlook *outlook);
/* A line about it. */
void layered_products_describe(const noprop_model *model, const struct layered_outlook *outlook, char *text,
                               size_t size);

#endif
