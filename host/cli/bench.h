/* What the two faces of `noprop bench` share: bench.c measures time, bench_counts.c counts. */
#ifndef HOST_CLI_BENCH_H
#define HOST_CLI_BENCH_H

#include "host/cli/cli.h"

struct bench_case {
  const char *bench, *network;
  int batch;
  double dropout;
  long rows;
  int steps;
  const char *method;
  const char *precision; /* NULL: fp32 */
  const char *hidden;    /* "64,64,64"; NULL: 6 x 32 */
};

struct subject {
  struct bench_case what;
  noprop_model *model;
  noprop_dataset *dataset;
  noprop_array condition, target;
  noprop_sampler_options options;
  float *output;
  long work;     /* steps or solves of one timing */
  double *times; /* milliseconds per step or solve */
  int count;
  double flops;    /* of one step or solve */
  double launches; /* of one step or solve */
  long interim;    /* launches in the timings that were interpreted while machine code was on its way */
  long parameters;
};

/* Does the work of one timing and waits for it. */
noprop_status bench_work(noprop_device *device, struct subject *subject);

/* ---- bench_counts.c ---- */

/* Makes the virtual GPU count from its opening on, for the GPU that --gpu names; before the device is opened. */
int counts_begin(struct cli *cli);
/* Counts one step or solve of a subject that is prepared, and prints it. */
noprop_status counts_print(struct cli *cli, noprop_device *device, struct subject *subject);

#endif
