/* Which products of the layered tier cuBLASLt computes: those of training steps for which it is faster than our own
 * kernel, by the time both take when a step's memory is allocated, never within a step.
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
#include "kernels/gemm_arguments.h"
#include "noprop/model.h"

/* Products of one shape. */
struct layered_choice {
  struct cublaslt_product product;
  unsigned blocks, repeat;    /* so many of them fill the rows; so many are summed */
  struct cublaslt_plan *plan; /* NULL: our kernel */
};

enum { LAYERED_CHOICES = 64 /* shapes at most; what comes later is ours */ };

struct layered_products {
  bool choosing; /* launches are not made, but their products measured */
  const struct cublaslt_functions *library;
  void *handle;
  char reason[200]; /* why there is no library */
  int count, taken;
  struct layered_choice choices[LAYERED_CHOICES];
};

/* Opens the library for a model, if there is one and the model's precision is one that it has. */
noprop_status layered_products_open(noprop_model *model);
void layered_products_close(noprop_model *model);

/* Where products are made: `sums` has [rows][stride] floats of a layer, `workspace` is cuBLASLt's. */
struct layered_places {
  float *sums, *workspace;
};
/* Measures the products of a launch of `kernel` that have no choice yet. */
noprop_status layered_products_choose(noprop_model *model, const struct kernel *kernel, unsigned grid,
                                      const gemm_arguments *arguments, bool turned, struct layered_places at);
/* Computes those of its products that cuBLASLt has, and leaves the others and the sum in *arguments. */
noprop_status layered_products_apply(noprop_model *model, gemm_arguments *arguments, bool turned,
                                     struct layered_places at);
/* A line about it. */
void layered_products_describe(const noprop_model *model, char *text, size_t size);

#endif
