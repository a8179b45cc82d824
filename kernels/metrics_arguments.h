/* Arguments of the metric kernels (metrics.cu). Plain C, shared by host and kernels. */
#ifndef KERNELS_METRICS_ARGUMENTS_H
#define KERNELS_METRICS_ARGUMENTS_H

enum { METRICS_THREADS = 128, METRICS_SORT_MAX = 16384 };

/* Element types of rows in device memory; the numbers are noprop_type's. */
enum metrics_type { METRICS_FLOAT32 = 0, METRICS_UINT8 = 1, METRICS_INT32 = 2 };

/* sum_terms: adds the loss terms at the end of every slot to running sums. One block. */
typedef struct {
  const float *tails; /* the first slot's terms */
  double *sums;       /* [SLOT_TERMS] */
  unsigned long long slot_stride;
  unsigned slot_count;
} sum_terms_arguments;

/* What is kept of the errors in one column; two such sums can be added. */
enum error_sum { ERROR_SQUARED, ERROR_ABSOLUTE, ERROR_TARGET, ERROR_TARGET_SQUARED, ERROR_SUMS };

/* row_errors: grid of `blocks`, each with its own run of rows; column_errors: one block. */
typedef struct {
  const float *prediction; /* [rows][width] */
  const void *target;      /* [rows][width], or [rows] labels */
  const float *shift; /* [width]: subtracted from targets before they are summed, so that r2 loses no digits; or NULL */
  double *partials;   /* [blocks][width][ERROR_SUMS] */
  double *totals;     /* [width][ERROR_SUMS], added to */
  unsigned *correct;  /* rows whose largest value stands at the label; added to */
  float off_value;    /* one-hot entry of the other classes */
  unsigned rows, width, blocks;
  int type; /* enum metrics_type of target */
  unsigned char is_label;
} errors_arguments;

/* subset_columns: `count` evenly spaced rows as float columns [width][count]. Grid over count. */
typedef struct {
  const void *rows_in; /* [rows][width] */
  float *columns;
  unsigned rows, width, count;
  int type; /* enum metrics_type */
} subset_arguments;

/* project: inner products with `projections` directions. Grid: projections * ceil(padded / METRICS_THREADS).
 * sort: ascending, in place, one block per projection, dynamic shared memory 4 * padded bytes. */
typedef struct {
  const float *columns;          /* [width][count] */
  const float *directions;       /* [projections][width] */
  float *values;                 /* [projections][padded]; infinity from count on */
  unsigned width, count, padded; /* padded: a power of two, at most METRICS_SORT_MAX */
} project_arguments;

/* wasserstein: squared 2-Wasserstein distance of two sorted samples. One block per projection. */
typedef struct {
  const float *first, *second; /* [projections][padded] */
  double *distances;           /* [projections] */
  unsigned first_count, first_padded, second_count, second_padded;
} wasserstein_arguments;

/* pair_distances: sums of Euclidean distances from each block's rows of `first` to all rows of `second`. */
typedef struct {
  const float *first, *second; /* [width][count] */
  double *partials;            /* [ceil(first_count / METRICS_THREADS)] */
  unsigned width, first_count, second_count;
} pairs_arguments;

#endif
