/* The layered tier: networks of dense layers as launches of products over all rows, one a layer (kernels/gemm.cuh), in
 * the frame of staged.h. For layers so wide that a tile's numbers do not fit a block's shared memory. */
#ifndef ENGINE_LAYERED_H
#define ENGINE_LAYERED_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/device.h"
#include "engine/layered_products.h"
#include "engine/network.h"
#include "engine/options.h"
#include "engine/settings.h"

struct staged_field;

/* Kernels by the activation of a layer, and whether it has dropout. */
struct layered_kernels {
  bool ready;
  struct kernel forward[ACTIVATION_COUNT][2], backward, gradient;
  struct layered_products products;
};

extern const struct staged_field layered_field;

/* Why the layered tier cannot compute a model: the rest of a sentence, or NULL. The text is the calling thread's, good
 * until its next call. */
const char *layered_refusal(const struct network *network, const struct settings *settings);
/* Whether it is what a model should have; `reason` receives why. */
bool layered_pays(const noprop_model *model, char *reason, size_t size);

#endif
