/* Arguments of the coupling kernel (coupling.cu). Plain C, shared by host and kernels. */
#ifndef KERNELS_COUPLING_ARGUMENTS_H
#define KERNELS_COUPLING_ARGUMENTS_H

#include "arguments.h"

/* Rows that are paired among themselves: an assignment of 256 x 256. Larger batches are split into runs of this many
 * positions. */
enum { COUPLING_ROWS = 256, COUPLING_THREADS = 32 };

/* One block per (step, draw, group): block = (step * draws + draw) * groups + group. */
typedef struct {
  train_arguments train; /* rows, their standardisation and order, seed; a request, or training */
  unsigned *pairs;       /* [ring][draws][train.batch]: the row number whose noise a position of the batch takes */
  int *costs;            /* [blocks][COUPLING_ROWS][COUPLING_ROWS], scratch */
  unsigned first_step;   /* training: of the first block */
  unsigned draws, groups;
  unsigned ring;   /* step s writes slice s mod ring; 1 for a request */
  int target_kind; /* enum row_kind of rows.cuh */
  int width;       /* of the target, = d */
  float off_value; /* one-hot entries of the other classes */
} couple_arguments;

#endif
