/* Inside a model: the struct, and what training, evaluation, sampling and checkpoints share.
 *
 * model.c           creation, parameters, statistics, description
 * model_state.c     training state as named arrays
 * model_data.c      callers' arrays: checks, conversion, upload
 * model_train.c     binding rows, optimizer steps, training metrics
 * model_stream.c    rows that do not fit device memory
 * model_loss.c      loss requests, validation
 * bound.c           the bound of the likelihood, by such requests
 * model_dt.c        variant dt: launches block by block (dt.h)
 * sampler.c, metrics.c */
#ifndef ENGINE_MODEL_H
#define ENGINE_MODEL_H

#include "engine/branch.h"
#include "engine/device.h"
#include "engine/image_coder.h"
#include "engine/layered.h"
#include "engine/network.h"
#include "engine/program.h"
#include "engine/settings.h"
#include "engine/staged.h"
#include "engine/tiles.h"
#include "kernels/arguments.h"
#include "noprop/model.h"

/* ---- training state as named arrays ----
 *
 * Everything that a checkpoint has to hold beside the configuration's text and the shape. A model created from the same
 * configuration and shape has the same arrays in the same order; after all of them have been set from another model's
 * it predicts and, once the same rows are bound, trains on with the same bits. parameters/NAME  float32   the
 * parameter, [in][out] or [n] average/NAME     float32   only with optimizer.ema > 0 moment1/NAME     float32   adam,
 * adamw: first moment; sgd with momentum: its buffer moment2/NAME     float32   adam, adamw: second moment; adagrad:
 * sum of squares statistics/condition_mean, condition_std [C], target_mean, target_std [Y]   float32; not for labels
 *   training/progress float64  position (optimizer steps done) and the sums since the last noprop_model_train_metrics
 *   statistics/prototypes float32  variant dt: labels as rows, [classes][d]; only with latent.embedding prototype
 *   training/blocks   float64  variant dt: the same sums of each block's loss
 */
struct model_state {
  char name[80];
  noprop_type type; /* FLOAT32 or FLOAT64 */
  int rank;         /* 1 or 2 */
  long shape[2];
  long values; /* product of the shape */
};

int model_state_count(const noprop_model *model);
/* `index` from 0 to model_state_count - 1. */
struct model_state model_state_at(const noprop_model *model, int index);
/* Copies one array out (waits for the device) or in. `values` has model_state_at(index).values elements of its type. */
noprop_status model_state_get(noprop_model *model, int index, void *values);
noprop_status model_state_set(noprop_model *model, int index, const void *values);

/* ---- the struct ---- */

/* A tile program compiled for the model's device. */
struct model_kernel {
  bool ready;
  struct kernel kernel;
  unsigned shared_bytes;
  size_t workspace_floats; /* per block */
  unsigned block_rows;     /* rows that a block carries */
  struct tile_form tile;   /* of train kernels in fp32 */
  bool fragments;          /* reads the weights in fragment order */
  bool cooperative;        /* its blocks wait for each other */
  bool staged;             /* one of the kernels around a field of launches (staged.h): the one behind it, */
  struct kernel first;     /* and the one before it */
  char tier[16];
};

/* Vectors of standardisation on the host; NULL where the side is a label or absent. */
struct model_statistics {
  float *condition_mean, *condition_std, *target_mean, *target_std;
};

/* The kernel of one form of solve, for one form of tiles. */
struct model_solve {
  struct solve_form form;
  struct tile_form tile;
  struct model_kernel kernel;
  struct model_solve *next;
};

struct stream;

/* coupling ot: which row's noise the rows of coming steps take, a ring in device memory. */
struct pairing {
  CUdeviceptr pairs, costs;
  unsigned steps;  /* that one launch solves */
  unsigned groups; /* of a batch */
  uint64_t solved; /* the ring holds the steps up to this one, without it */
};

/* The rows that training runs on, and the plan made for them. */
struct model_binding {
  bool bound;
  unsigned rows, batch, steps_per_epoch;
  train_arguments train;
  branch_arguments branch;
  image_coder_arguments images;
  struct staged_run staged;
  update_arguments update;
  struct graph *one, *many; /* of 1 and MODEL_GRAPH_STEPS steps; NULL when streamed or persistent */
  bool persistent;          /* blocks of steps are one launch each (persistent.h) */
  persistent_arguments steps;
  struct stream *stream; /* NULL when resident */
  struct pairing coupling;
};

enum { MODEL_GRAPH_STEPS = 32, MODEL_UPDATE_BLOCK = 512 /* parameters per block of the update kernels */ };

struct noprop_model {
  noprop_device *device;
  noprop_config *config;
  struct settings settings;
  noprop_model_shape shape;
  int latent;
  struct network *network;
  char precision_reason[200];       /* why the precision in `settings` was taken */
  const struct staged_field *field; /* computed by launches over all rows (staged.h); NULL: by tile programs */
  char tier_reason[200];

  /* Memory, from the bottom: what lives as long as the model, then what a binding needs, then what one call needs. */
  struct pool *pool;
  size_t binding_mark, call_mark;
  CUdeviceptr parameters, average, moment1, moment2, gradient, norm_partials, state; /* 0 where not used */
  bool has_prototypes;                 /* variant dt: `embedding` holds them */
  CUdeviceptr embedding;               /* variant dt: fixed vectors of labels, [classes][d rounded up to 8] */
  CUdeviceptr block_sums, block_norms; /* variant dt: of update_arguments */
  CUdeviceptr condition_scale, condition_shift, target_scale, target_shift, output_scale, output_shift, frequencies;
  struct model_statistics statistics;
  /* Tensor cores: weights in fragment order, and the parameters that they were made of; 0: stale. */
  CUdeviceptr fragments, fragment_sources, fragment_places, fragments_of;

  struct kernel reduce_update, reduce_gradient, clip_update, sum_terms, make_fragments, couple;
  struct model_kernel train, train_steps;         /* of the binding: one step, and many */
  struct model_kernel request, train_state, loss; /* of requests: with gradients of parameters, of states too, none */
  struct branch_kernels branch;
  struct image_coder_kernels images;
  struct layered_kernels layered;
  struct model_solve *solves; /* kernels of solves, as they were asked for */

  struct model_binding binding;
  uint64_t submitted; /* the device's train_state.completed once all launched work is done */
  int64_t bad_step;   /* first step that was not finite, as far as the host knows; -1: none */
};

#define DEVICE_POINTER(type, pointer) ((type *)(uintptr_t)(pointer))

/* ---- shared by the parts ---- */

/* Compiles the program and destroys it. */
noprop_status model_compile(noprop_model *model, struct program *program, struct model_kernel *kernel);
/* Cuts the batch into slots, no more than are resident at once where blocks wait for each other; and memory for their
 * workspace. */
void model_set_slots(const noprop_model *model, const struct model_kernel *kernel, train_arguments *train);
noprop_status model_allocate_workspace(noprop_model *model, const struct model_kernel *kernel, train_arguments *train);
/* The launch of a train or loss kernel of tiles. */
noprop_status model_launch_slots(noprop_model *model, const struct model_kernel *kernel, const train_arguments *train);
/* Compiled on first use. Training steps of batches of `batch` rows, in the form that tiles.h chooses for them; */
noprop_status model_need_train(noprop_model *model, unsigned batch);
/* requests with gradients; */
noprop_status model_need_request(noprop_model *model);
/* these with gradients of state and clean latent; fp32 only. */
noprop_status model_need_train_state(noprop_model *model);
noprop_status model_need_loss(noprop_model *model);
noprop_status model_need_integrate(noprop_model *model, const struct solve_form *form, unsigned rows,
                                   struct model_kernel **kernel);

/* Makes the weights' fragments of `parameters` (the model's own or averaged ones) unless they are up to date. */
noprop_status model_need_fragments(noprop_model *model, CUdeviceptr parameters);

/* Memory of one call: everything allocated between begin and end is given back by end. */
void model_call_begin(noprop_model *model);
void model_call_end(noprop_model *model);

unsigned model_update_blocks(const noprop_model *model);
/* What the train and loss kernels are told, but for rows, slots and the request's own fields. */
train_arguments model_train_arguments(const noprop_model *model);
update_arguments model_update_arguments(const noprop_model *model);
/* Whether averaged parameters exist. */
bool model_has_average(const noprop_model *model);
/* Copies scales and shifts of the statistics to the device. */
noprop_status model_upload_statistics(noprop_model *model);

/* Ends a binding and frees what it held. */
void model_unbind(noprop_model *model);

/* ---- callers' arrays (model_data.c) ---- */

/* One side of the data: how the caller's rows become the device's. */
struct model_rows {
  const void *values; /* NULL: there is none */
  noprop_type from, to;
  long rows, width; /* elements in a row; 1 for labels */
};

enum model_side { MODEL_CONDITION, MODEL_TARGET };

/* Checks an array against the model's shape (type, width, label range); `array` may be NULL where the model has no such
 * side. `rows` < 0: any number of rows from 1, else exactly so many. */
noprop_status model_rows_check(const noprop_model *model, enum model_side side, const noprop_array *array, long rows,
                               struct model_rows *checked);
size_t model_row_bytes(const struct model_rows *rows);
/* Rows first .. first + count - 1 in the device's type. */
void model_rows_convert(const struct model_rows *rows, long first, long count, void *to);
/* The same, to device memory. */
noprop_status model_rows_upload(noprop_model *model, const struct model_rows *rows, long first, long count,
                                CUdeviceptr to);

/* ---- losses (model_loss.c) ---- */

/* noprop_model_loss without checks; `average`: with averaged parameters if there are any, for requests without
 * gradients. Times may be given whatever loss.draws is: all draws have them. */
noprop_status model_request(noprop_model *model, const noprop_loss_request *request, bool average,
                            noprop_loss_terms *terms);

/* ---- streaming (model_stream.c) ---- */

noprop_status stream_create(noprop_model *model, const struct model_rows *condition, const struct model_rows *target,
                            struct stream **stream);
void stream_destroy(noprop_model *model, struct stream *stream);
/* Makes the rows of optimizer step `step` present and sets the pointers and first_position of the arguments; *steps
 * receives how many steps from there on have their rows present too. */
noprop_status stream_prepare(noprop_model *model, struct stream *stream, uint64_t step, train_arguments *arguments,
                             long *steps);
/* Notes that the steps launched so far are the last to read the present rows; starts loading the next ones. */
noprop_status stream_finish(noprop_model *model, struct stream *stream, uint64_t next_step);

/* ---- the schedule as learned (model_schedule.c) ---- */

/* The numbers of schedule_arrays, one array after the other; NULL if the schedule has none. Waits for the device; free
 * them with free. */
noprop_status model_schedule_numbers(const noprop_model *model, bool average, double **numbers);
/* schedule_grid with them. */
noprop_status model_schedule_grid(const noprop_model *model, bool average, int grid, int steps, double *times);
/* ---- coupling ot (coupling.c): nothing is done, and NOPROP_OK, where the coupling is independent ---- */

/* Memory for the pairs of the binding's coming steps; sets the pointers of its train arguments. */
noprop_status coupling_bind(noprop_model *model);
/* Solves ahead until the steps up to model->submitted + steps have their pairs; `train` says where their rows stand,
 * and `present` how many steps from model->submitted on have them. */
noprop_status coupling_ahead(noprop_model *model, const train_arguments *train, long steps, long present);
/* Pairs for the rows of a request: allocates, launches and sets train->pairs; train->batch rows at most. */
noprop_status coupling_request_memory(noprop_model *model, train_arguments *train, struct pairing *coupling);
noprop_status coupling_request(noprop_model *model, const train_arguments *train, const struct pairing *coupling);

/* ---- training (model_train.c) ---- */

/* Launches forward, backward and update of one step. */
noprop_status model_launch_step(noprop_model *model, const train_arguments *train, const update_arguments *update);

#endif
