/* Convolutional encoders and decoders (type conv): of targets that are images, by launches of their own around the tile
 * program of the flow, whose clean latents they make (kernels/image_coder.cuh has the mathematics).
 *
 * A training step: encode, decode with the error's derivative, the tile program, backward, gradients of weights, then
 * the update. A solve: the tile program, then one launch that decodes its latents. What follows does nothing, and
 * succeeds, for models without. */
#ifndef ENGINE_IMAGE_CODER_H
#define ENGINE_IMAGE_CODER_H

#include "engine/device.h"
#include "engine/network.h"
#include "kernels/image_coder_arguments.h"

struct model_kernel;

/* Kernels of one module, compiled when first needed. */
struct image_coder_kernels {
  bool ready;
  struct kernel encode, decode, show, backward, gradients;
};

/* The layers that settings and the target's shape ask for; image_coder_add: their parameters. */
noprop_status image_coder_plan(const struct settings *settings, const noprop_model_shape *shape,
                               struct network *network);
void image_coder_add(struct network *network);
bool image_coder_is(const struct network *network);
/* Multiply-adds of one row, encoded and decoded. */
double image_coder_products(const struct network *network);
/* Launches of a training step beside the tile program and the update; of a solve beside its own. */
int image_coder_launches(const struct network *network);
/* Part `index` in words; false: there are no more. */
bool image_coder_describe(const struct network *network, int index, char *line, size_t size);

/* Compiles what is needed, and memory for the rows of `train` (train->batch); sets the pointers of *train and fills
 * *coder. `kernel`: the tile program between; `backward`: slots receive gradients. */
noprop_status image_coder_allocate(noprop_model *model, const struct model_kernel *kernel, bool backward,
                                   train_arguments *train, image_coder_arguments *coder);
/* Before the tile program: latents and errors of the rows of `train`. */
noprop_status image_coder_forward(noprop_model *model, const image_coder_arguments *coder,
                                  const train_arguments *train);
/* Behind it: gradients into the slots. */
noprop_status image_coder_backward(noprop_model *model, const image_coder_arguments *coder,
                                   const train_arguments *train);

/* Memory for solves with `parameters`, and the launches that decode latents [count][d] to output [count][target]. */
noprop_status image_coder_allocate_show(noprop_model *model, CUdeviceptr parameters, size_t rows,
                                        image_coder_arguments *coder);
noprop_status image_coder_show(noprop_model *model, const image_coder_arguments *coder, CUdeviceptr latents,
                               CUdeviceptr output, size_t count);

#endif
