/* What host and kernels of a condition's convolutional branch agree on (kernels/conv.cuh). Plain C. */
#ifndef KERNELS_BRANCH_ARGUMENTS_H
#define KERNELS_BRANCH_ARGUMENTS_H

#include "arguments.h"

enum { BRANCH_LAYERS = 8 /* at most */, CONV_THREADS = 256, CONV_TURN_BLOCKS = 8 };
/* Transformers (kernels/transformer.cuh). */
enum { SEQUENCE_THREADS = 256, ATTENTION_THREADS = 128, SEQUENCE_TURN_BLOCKS = 16 };
enum { BRANCH_CONVOLUTIONS = 48 /* of type resnet, at most */ };

/* Parts (variant dt: networks of the launch; else one) times `capacity` images, or rows: type transformer has all its
 * numbers of a row in inputs[0], gradients[0] and turned[0]. A plane is an image with a border of
 * zeros, [pixels][channels] (conv_layer); images that a batch does not have are neither read nor written. */
typedef struct {
  train_arguments rows;                /* whose rows the images are, and its parameters, slots and features */
  float *inputs[BRANCH_LAYERS];        /* planes of each layer's input */
  float *gradients[BRANCH_LAYERS];     /* planes of the loss by each layer's sums; NULL: forward only */
  unsigned char *codes[BRANCH_LAYERS]; /* [output pixel][channel]: which sum of a pool's window passed, or none; NULL */
  float *turned[BRANCH_LAYERS];        /* per part: weights for the way back, [3][3][outputs][inputs]; NULL */
  float *features, *feature_gradients; /* [parts][feature_rows][width] */
  unsigned capacity, parts;
  unsigned first; /* row of the batch or request that image 0 is */
  unsigned feature_rows;
  unsigned slot_images;           /* that a slot of gradients takes */
  unsigned first_part;            /* in the parameters */
  unsigned long long part_floats; /* of parameters and of a slot */
  float *packed[BRANCH_LAYERS];   /* on tensor cores, per part: weights as mma takes them, and so is `turned` */
  unsigned layer;                 /* type transformer: of the launch */
  /* Type resnet (kernels/branch_residual.cuh) has all planes behind inputs[0], layer by layer and each [images]; so in
   * gradients[0] the planes of sums, where the loss by them follows, and in turned[0] all weights. On tensor cores the
   * blocked planes of factors are behind inputs[1] and gradients[1], and in packed[0] all weights. */
  float *statistics;                  /* per layer [images][2][channels]: mean, inverse deviation of groups; or NULL */
  float *affine_gradients;            /* likewise: the loss by scale and by shift */
  float *passing;                     /* [images][2][most outputs]: the loss on its way back */
  unsigned long long passing_outputs; /* most outputs */
} branch_arguments;

#endif
