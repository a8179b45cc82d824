/* What the ladder's host hands to its simple kernels: a network as a list of dense layers, parameters as
 * noprop_model_get_parameters has them (no padding, weights [in][out]). */
#ifndef LADDER_SIMPLE_H
#define LADDER_SIMPLE_H

enum { SIMPLE_OPS = 24, SIMPLE_INPUTS = 3 };
enum simple_kind { SIMPLE_Z, SIMPLE_X, SIMPLE_TIME, SIMPLE_OP };

typedef struct {
  int width, swish, bias; /* bias: offset among the parameters, -1: none */
  int at;                 /* where the row's values of this layer begin */
  int inputs;
  struct {
    int kind, op, width, weight;
  } input[SIMPLE_INPUTS];
} simple_op;

typedef struct {
  simple_op ops[SIMPLE_OPS];
  int count, d, c, time; /* layers, latent size, width of the condition, size of the time embedding */
  int values;            /* of a row: all layers' widths together */
  int parameters;
} simple_network;

typedef struct {
  simple_network network;
  const float *weights;    /* [parameters] */
  const float *x, *target; /* [rows][c], [rows][d] */
  const float *t, *noise;  /* [rows], [rows][d]; a solve starts at `noise` */
  float *scratch;          /* [rows][3 values]: sums, activations, gradients of the sums */
  float *slabs;            /* [rows][parameters]: each row's own gradient */
  float *out;              /* [rows][d] */
  float margin;            /* times are kept inside [margin, 1 - margin] */
  unsigned rows, steps;
} simple_arguments;

typedef struct {
  const float *slabs; /* [count of slabs][stride] */
  float *parameters, *moment1, *moment2;
  unsigned count, slabs_count, stride;
  float learning_rate, beta1, beta2, epsilon;
  float step; /* from 1 */
} simple_update_arguments;

typedef struct {
  const float *in, *weights, *bias; /* [rows][inputs], [inputs][outputs], [outputs] */
  float *out;                       /* [rows][outputs] */
  unsigned rows;
} simple_dense_arguments;

#endif
