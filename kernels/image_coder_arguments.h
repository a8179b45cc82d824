/* What host and kernels of convolutional encoders and decoders agree on (kernels/image_coder.cuh). Plain C. */
#ifndef KERNELS_IMAGE_CODER_ARGUMENTS_H
#define KERNELS_IMAGE_CODER_ARGUMENTS_H

#include "branch_arguments.h"

/* Arrays of `capacity` images of the launch, or of all rows of the batch or request. Planes are as in branch_arguments.
 * Of each layer in the order encoder's convolutions, decoder's convolutions: [CODER_LAYERS]. */
enum { CODER_LAYERS = 2 * BRANCH_LAYERS };
typedef struct {
  train_arguments rows;               /* whose targets the images are, and its parameters and slots */
  float *inputs[CODER_LAYERS];        /* planes of each layer's input; the decoder's first one: what its layer before
                                         the convolutions makes */
  float *gradients[CODER_LAYERS];     /* planes of the loss by each layer's sums; NULL: forward only */
  unsigned char *codes[CODER_LAYERS]; /* encoder: which sum of a pool's window passed, or none; NULL: forward only */
  float *turned[CODER_LAYERS];        /* weights for the way back, [3][3][outputs][inputs] */
  float *bottom;                      /* planes of what the encoder's last convolution gives */
  float *start_gradients;             /* planes of the loss by the sums that make the decoder's first input */
  float *to_latent, *from_latent;     /* the two other layers' weights, transposed */
  float *shown;                       /* [capacity][d]: the noisy latent that the decoder is given, on the sphere */
  float *code_gradients;              /* [capacity][d]: the loss by the encoder's last sums */
  float *scales;                      /* [capacity][2]: by which lengths were brought to sqrt(d), encoded and shown */
  float *latents;                     /* [rows][d]: of this request or batch, or of a solve, whose latents they are */
  float *losses;                      /* [rows]: the mean of the squared errors of decoded images */
  float *output;                      /* [rows][target]: decoded images of a solve, in the data's units */
  const float *output_scale, *output_shift; /* [target] */
  float noise;                              /* standard deviation of the noise in `shown` */
  float weight;                             /* of the decoder's error in the loss */
  unsigned capacity;
  unsigned first;       /* row of the batch or request that image 0 is */
  unsigned count;       /* of a solve: rows in all */
  unsigned slot_images; /* that a slot of gradients takes */
} image_coder_arguments;

#endif
