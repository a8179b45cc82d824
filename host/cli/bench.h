/* What the two faces of `noprop bench` share: bench.c measures time, bench_counts.c counts. */
#ifndef HOST_CLI_BENCH_H
#define HOST_CLI_BENCH_H

#include <stdbool.h>

#include "host/cli/cli.h"

/* What is measured: shape of the network and what it learns of two moons, or of images. */
struct bench_network {
  const char *name, *type, *hidden, *task;
  int time;             /* features of the time embedding */
  bool squash;          /* the layer that joins z and time has bias and activation */
  const char *branch;   /* network.branch.type; NULL: data are points, else images */
  const char *channels; /* of its convolutions; NULL: it is no convolutional one */
};

struct bench_case {
  const char *bench, *network; /* network: the name of a bench_network */
  int batch;
  double dropout;
  long rows;
  int steps;
  const char *method;
  const char *precision; /* NULL: fp32 */
  const char *hidden;    /* "64,64"; NULL: as the network has it */
  const char *variant;   /* NULL: fm */
};

struct subject {
  struct bench_case what;
  noprop_model *model;
  noprop_dataset *dataset;
  noprop_array condition_rows, target;
  const noprop_array *condition; /* NULL: there is none */
  void *images, *labels;         /* where data are not two moons; NULL */
  noprop_sampler_options options;
  float *output;
  long work;     /* steps or solves of one timing */
  double *times; /* milliseconds per step or solve */
  double *processor_times;
  int count;
  double flops;    /* of one step or solve */
  double launches; /* of one step or solve */
  long interim;    /* launches in the timings that were interpreted while machine code was on its way */
  long parameters;
};

/* Widths of the hidden layers: "64,64". */
const char *bench_hidden(const struct bench_case *what);

/* Does the work of one timing and waits for it. */
noprop_status bench_work(noprop_device *device, struct subject *subject);

/* ---- bench_counts.c ---- */

/* Makes the virtual GPU count from its opening on, for the GPU that --gpu names; before the device is opened. */
int counts_begin(struct cli *cli);
/* Counts one step or solve of a subject that is prepared, and prints it. */
noprop_status counts_print(struct cli *cli, noprop_device *device, struct subject *subject);

/* ---- bench_gpus.c ---- */

void gpus_print(const struct cli *cli);

#endif
