/* What the branches of images (types cnn and resnet) have in common. */
#ifndef ENGINE_BRANCH_IMAGES_H
#define ENGINE_BRANCH_IMAGES_H

#include <stdio.h>

#include "engine/network.h"

/* Whether the kernels take the condition and the channels; sets what the network knows of augmentation. */
noprop_status branch_images_plan(const struct settings *settings, const noprop_model_shape *shape,
                                 struct network *network);
/* Multiply-adds of all convolutions for one image. */
double branch_images_products(const struct network *network);
/* Writes what the text of the kernels includes for it, and the text that gathers a condition into `plane`, that of
 * layer0. */
void branch_images_include(FILE *out, const struct network *network);
void branch_images_gather(FILE *out, const struct network *network, const noprop_model_shape *shape, const char *plane);

/* Sizes as kernels/conv.cuh has them: pixels of a plane, and blocks of threads that make the gradients of a layer's
 * weights in one slot, without those of a bias. */
size_t branch_plane_pixels(int height, int width);
unsigned branch_weight_items(const struct branch_layer *layer);

/* On tensor cores, as kernels/conv_tensor.cuh has them: floats of a blocked plane, of the packed weights for `rows`
 * channels of results from `columns` others, and blocks of threads as above. `form`: enum operand_form. */
size_t branch_blocked_floats(int height, int width, int channels, int form);
size_t branch_packed_floats(int rows, int columns, int form);
unsigned branch_tensor_weight_items(const struct branch_layer *layer);

#endif
