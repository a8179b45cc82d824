/* What host and kernels of staged fields agree on (engine/staged.h, kernels/staged.cuh). Plain C. */
#ifndef KERNELS_STAGED_ARGUMENTS_H
#define KERNELS_STAGED_ARGUMENTS_H

#include "arguments.h"

/* Rows of an array [draws][rows][width rounded up to 8] are those of the batch or request, by position; behind the last
 * one the last one is repeated, up to `rows`, a multiple of 32. */

/* Kernels `staged_draw` and `staged_loss`. */
typedef struct {
  train_arguments train;
  float *z, *time;        /* [draws][rows][latent], [draws][rows][time embedding]: what the field reads */
  float *condition;       /* [rows][condition]: standardised, or the branch's features */
  const float *output;    /* [draws][rows][latent]: what the field says */
  float *output_gradient; /* the same: loss by it, zeros where the batch has no row; NULL: not wanted */
  unsigned rows;
} staged_arguments;

/* Kernels `staged_start` and `staged_stage` of a solve. */
typedef struct {
  integrate_arguments solve;
  float *state, *input, *sum,
      *previous;                  /* [rows][latent]; input: what the field reads, in methods of one stage state */
  float *time;                    /* [time embedding], of the next evaluation */
  float *condition;               /* [rows][condition] */
  const float *output, *unguided; /* [rows][latent]; unguided: without the condition, or NULL */
  unsigned rows;
  unsigned step;
  int stage;
} staged_solve_arguments;

#endif
