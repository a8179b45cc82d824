/* What host and kernels of products of matrices agree on (kernels/gemm.cuh). Plain C. */
#ifndef KERNELS_GEMM_ARGUMENTS_H
#define KERNELS_GEMM_ARGUMENTS_H

#include "arguments.h"

enum {
  GEMM_THREADS = 256,
  GEMM_ROWS = 64,  /* that a block has of the result; of the gradient of weights: inputs */
  GEMM_DEPTH = 32, /* of the sum, that is in shared memory at once */
  GEMM_INPUTS = 6, /* that are summed over one after the other */
  GEMM_ITEMS = 16  /* weights whose gradients one launch makes, at most */
};

/* One factor: [rows][stride], of which row r of the result takes row r mod rows, plus row_step for each repetition. */
typedef struct {
  const float *values;
  const float *weights;      /* [features][outputs' stride]; backward: [outputs][stride] of the same array */
  const unsigned *fragments; /* tensor cores: the same in the order of network_place_fragments */
  unsigned stride, features; /* features: that are summed over */
  unsigned rows;
  unsigned repeat, row_step; /* so many sums with the same weights, of rows row_step further on */
} gemm_input;

/* Of gemm_forward and gemm_backward: result [rows][stride], columns behind `width` are zeros. */
typedef struct {
  train_arguments train; /* for dropout: seed, step */
  gemm_input inputs[GEMM_INPUTS];
  unsigned input_count;
  const float *bias;   /* [stride], or NULL */
  const float *addend; /* [addend_rows][stride] by row mod addend_rows, or NULL */
  float *sum;          /* forward: what is before the activation, or NULL; backward: added before the slope, or NULL */
  float *result;
  float *slope; /* forward: the activation's derivative, or NULL; backward: what the sum is multiplied by, or NULL */
  unsigned addend_rows;
  unsigned rows, width, stride;
  unsigned threshold; /* dropout, as in dense.cuh */
  float scale;
  unsigned layer;     /* number of the op, for dropout */
  unsigned draw_rows; /* rows of a draw */
  unsigned keep;      /* not 0: rows are zero whose condition is dropped, as in condition_dropout.cuh */
} gemm_arguments;

/* Gradients of a weight [features][stride], sums over rows of in[row] delta[row]; with a bias at `bias` of the slot
 * those of delta alone. */
typedef struct {
  const float *in, *delta;
  unsigned in_stride, in_rows, features; /* row r of delta goes with row r mod in_rows */
  unsigned stride;                       /* of delta and of the gradient */
  unsigned rows;                         /* of delta */
  unsigned slot_rows;                    /* slot s takes rows s * slot_rows to (s + 1) * slot_rows */
  unsigned first_block;                  /* of those of a slot */
  long long weight, bias;                /* places in a slot; bias -1: none */
} gemm_item;

typedef struct {
  float *slots;
  unsigned long long slot_stride;
  unsigned item_count, blocks; /* of a slot, over all items */
  gemm_item items[GEMM_ITEMS];
} gemm_gradient_arguments;

#endif
