/* Staged fields: fields whose evaluation is a sequence of launches over all rows, where tile programs carry a few rows
 * through everything in one launch. This is the frame around such a field.
 *
 * A training step (or a request with or without gradients):
 *   staged_draw     per row and draw t, noise, z_t and the time embedding; per row the standardised condition
 *   the field       begin(), forward()
 *   staged_loss     terms into the slots' tails, loss by the field's output
 *   the field       backward(): gradients of its parameters into the slots
 *   the update      as ever
 * A solve in fixed steps:
 *   staged_start    z(0), conditions, first time embedding
 *   the field       begin(): what depends on the condition alone
 *   per stage       forward() (guided: twice), staged_stage: next state or input, next time embedding
 *
 * Random numbers are those of the tile programs, counter by counter, so that both ways of computing a model agree up to
 * rounding. Nothing is allocated and no host waits between the launches of a step or solve. The text of the frame's
 * kernels: program_staged.c, on kernels/staged.cuh.
 *
 * A field implements struct staged_field (example: layered.c) and is found by staged_choose. */
#ifndef ENGINE_STAGED_H
#define ENGINE_STAGED_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/device.h"
#include "engine/network.h"
#include "engine/program.h"
#include "kernels/arguments.h"

struct model_kernel;

/* What frame and field share in one binding, request or solve; float arrays in device memory. The field reads z, time
 * and condition, and writes every row of `output`. Widths are rounded up to 8; padding is zero.
 * `rows` is a multiple of 32: behind the rows of a batch or request the last one is repeated, and output_gradient is
 * zero, so that a field computes all rows alike. */
struct staged_run {
  unsigned rows, draws; /* draws: 1 in a solve */
  bool backward, solve;
  float *z;               /* [draws][rows][latent] */
  float *time;            /* [draws][rows][time embedding]; in a solve [time embedding], the same for all rows */
  float *condition;       /* [rows][condition] */
  float *output;          /* [draws][rows][latent] */
  float *output_gradient; /* like output: loss by it; backward only */
  float *memory;          /* the field's own, `floats` of struct staged_field */
  float *workspace;       /* the same, `workspace` floats; backward only */
  /* Of the frame in a solve: [rows][latent] */
  float *state, *sum, *previous, *unguided;
};

/* A kind of field. Launches go to model->device; `train` has what they need beside the run: parameters, fragments,
 * slots, seed, step or request (in a solve parameters and fragments alone, as a request without dropout). */
struct staged_field {
  const char *tier; /* as `noprop inspect` names it */
  /* Compiles what is needed, once per model (and again whenever asked: device_compile keeps modules). */
  noprop_status (*compile)(noprop_model *model);
  /* Floats of run->memory for run->rows, draws, backward and solve. */
  size_t (*floats)(const noprop_model *model, const struct staged_run *run);
  /* Floats of run->workspace, however many rows there are; NULL: none. */
  size_t (*workspace)(const noprop_model *model);
  /* Chooses between ways of computing the field, by measuring them; when memory for a training step or a request with
   * gradients has been allocated, never within one. NULL: there is one way. */
  noprop_status (*choose)(noprop_model *model, struct staged_run *run);
  /* A line about what was or would be chosen for a batch; *launches: those of a training step that it adds to
   * train_launches. NULL: there is no choice. */
  noprop_status (*describe)(noprop_model *model, unsigned batch, char *text, size_t size, int *launches);
  /* What depends on the condition and the parameters alone: once per step or solve, before forward. */
  noprop_status (*begin)(noprop_model *model, const struct staged_run *run, const train_arguments *train);
  /* From z and time to `output` (run->output, or in the first pass of a guided solve run->unguided; then `conditioned`
   * is false, and the field is what it is without its condition). */
  noprop_status (*forward)(noprop_model *model, const struct staged_run *run, const train_arguments *train,
                           bool conditioned, float *output);
  /* From run->output_gradient to the gradients of all parameters: every float of parameters in every slot of train is
   * written (slot s: a fixed share of the rows, so that sums have one order). */
  noprop_status (*backward)(noprop_model *model, const struct staged_run *run, const train_arguments *train);
  /* Launches of begin, forward and backward in a training step, and of forward in a stage of a solve. */
  int (*train_launches)(const noprop_model *model);
  int (*solve_launches)(const noprop_model *model);
};

/* The field of a model that is to be computed in stages, else NULL; `reason` receives why, or why not. The environment
 * variable NOPROP_TIER ("tiles" or "layered") decides instead, for tests and measurements; NOPROP_INVALID_ARGUMENT if
 * it asks for what cannot be. */
noprop_status staged_choose(const noprop_model *model, const struct staged_field **field, char *reason, size_t size);

/* ---- the frame ---- */

/* Evaluations in a step of a method of fixed steps. */
int staged_stages(int method);
/* Why a solve of this form is not done in stages, or NULL. */
const char *staged_solve_refusal(const struct solve_form *form);

/* Text of the kernels around a field: `entry` and `first_entry` of the program. */
noprop_status program_staged_objective(const struct network *network, const struct settings *settings,
                                       const noprop_model_shape *shape, size_t shared_limit, bool backward,
                                       struct program *program);
noprop_status program_staged_solve(const struct network *network, const struct settings *settings,
                                   const noprop_model_shape *shape, size_t shared_limit, const struct solve_form *form,
                                   struct program *program);

/* Slots of a batch: few, as the gradients of each are written by launches that share out columns as well. */
void staged_slots(unsigned rows, unsigned *slot_count, unsigned *tiles_per_slot);

/* Memory for the rows of `train` (its batch and slots are set), from the model's pool; sets the workspace of *train. */
noprop_status staged_allocate(noprop_model *model, const struct model_kernel *kernel, bool backward,
                              train_arguments *train, struct staged_run *run);
/* Bytes of memory per row, for those who choose how many rows to take at once. */
size_t staged_row_bytes(const noprop_model *model, bool backward, bool solve);
/* All launches of a step up to the update. */
noprop_status staged_objective(noprop_model *model, const struct model_kernel *kernel, const struct staged_run *run,
                               const train_arguments *train);

/* The same for solves: memory for `rows` rows, and all launches. */
noprop_status staged_allocate_solve(noprop_model *model, const struct model_kernel *kernel,
                                    const struct solve_form *form, unsigned rows, struct staged_run *run);
noprop_status staged_solve(noprop_model *model, const struct model_kernel *kernel, const struct solve_form *form,
                           const struct staged_run *run, const integrate_arguments *arguments);

/* Launches of a training step up to the update, and of an evaluation of the field in a solve. */
int staged_train_launches(const noprop_model *model);
int staged_evaluation_launches(const noprop_model *model);

#endif
