/* What the generators of tile programs share: the plan of a kernel, runs of equal layers, text. */
#ifndef ENGINE_PROGRAM_PLAN_H
#define ENGINE_PROGRAM_PLAN_H

#include <stdio.h>

#include "engine/program.h"
#include "engine/schedule.h"
#include "engine/tiles.h"
#include "kernels/arguments.h"

/* Conditions wider than this are streamed through one chunk at a time. */
enum { X_CHUNK = 64, SCRATCH_FLOATS = 3 * TILE_WARPS * TILE_ROWS };

/* ---- places ---- */

struct place {
  bool workspace;
  long offset; /* floats; -1: none */
};

static const struct place NOWHERE = {false, -1};

enum { TOKEN_PLACES = 19 };

/* What of an op stands where: one row per op, so that equal ops can be recognised by constant differences. */
enum field {
  POST,
  SLOPE,
  CONDITION,
  TIME_PART,
  BIAS,
  WEIGHT,
  INPUT = WEIGHT + NETWORK_MAX_INPUTS,
  FRAGMENT = INPUT + NETWORK_MAX_INPUTS,
  TRANSPOSE = FRAGMENT + NETWORK_MAX_INPUTS,
  TANGENT = TRANSPOSE + NETWORK_MAX_INPUTS,
  FIELDS
};

struct op_places {
  struct place at[FIELDS]; /* BIAS, WEIGHT, FRAGMENT, TRANSPOSE: offsets into parameters and fragments */
};

/* What lies around the network in this kernel (engine/program_coders.c); nothing of it in most models. */
struct coder_plan {
  bool encoder, normal, decoder; /* there are ops; the encoder is Gaussian */
  bool recon, vae, kl;           /* terms of the loss that are computed here */
  bool images; /* latents and the error of what is decoded come from launches before (image_coder.h) */
  struct place y, spread, decoded, decoded_gradient, turns[2];
  int widest;
};

/* Where a trained monotone network's layers stand (engine/program_schedule.c): weights in use, and what is before and
 * behind each layer. */
struct schedule_plan {
  struct place weights[SCHEDULE_MAX_LAYERS + 1], value[SCHEDULE_MAX_LAYERS + 2], slope[SCHEDULE_MAX_LAYERS + 2];
};

/* Batch norm by the statistics of the batch (engine/program_norms.c): places in every block's workspace. Partial
 * results of its own rows, of both ways, [group][2][width]; and the whole batch's, [group][4][width]. */
struct norm_plan {
  long moments, feedback, whole;
  int backward_stop; /* number of its stop on the way back; -1: nothing goes back through it */
};

struct plan {
  const struct network *network;
  const struct settings *settings;
  const noprop_model_shape *shape;
  FILE *out;
  struct tile_form tile; /* of train and loss kernels; solves have TILE_FORM_WIDE */
  int form;              /* enum operand_form; tensor cores only */
  bool split;            /* tensor cores: the warps of a block share its rows (kernels/warp_split.cuh) */
  bool backward, solve;
  bool steps;  /* a training step is a function of a kernel that runs many */
  bool stages; /* the solver evaluates the field on a state of its own */
  /* The backward pass goes on to dL/dz_t and dL/dz1 (tiles state_gradient and target_gradient, of every draw). */
  bool state;
  bool row_times;      /* every row of a solve has a time of its own */
  bool guided;         /* a solve runs the network twice, the first time without its condition */
  bool no_derivative;  /* it cannot be placed, since a layer lacks a derivative */
  bool tangents;       /* a solve needs traces of the network's Jacobian */
  int components;      /* of the solver's state: d, and 1 where an adaptive solve integrates the density */
  int slopes;          /* stages whose derivatives an adaptive solve keeps; 0: not adaptive */
  size_t shared_limit; /* bytes */
  long shared_floats, workspace_floats;
  long norm_floats; /* of workspace_floats: statistics of batches */
  struct place scratch, z, z1, noise, time, x, stream, input, sum, previous;
  struct place unguided, tangent, stage_slopes;
  struct place delta[2], delta_rows[2], x_turns[2], x_gradient, stream_gradient, time_parts;
  struct place state_gradient, target_gradient; /* [d8][32]; see kernels/state_gradient.cuh */
  struct coder_plan coders;
  struct schedule_plan schedule;
  struct norm_plan norms[BATCH_NORMS_MOST];
  long norm_barrier;                 /* place in the workspace of the first block */
  int norm_stops;                    /* of the backward pass */
  struct field_plan *field;          /* of a network that is a graph; NULL: a chain */
  struct place tokens[TOKEN_PLACES]; /* of a transformer over the state (program_tokens.c) */
  /* Text of where the features of an image's branch stand, and of the loss by them; not used: the condition is data. */
  const char *features, *feature_gradients;
  const char *again; /* whether gradients are added to what the slot holds: text of a condition */
  struct op_places ops[NETWORK_MAX_OPS];
  int x_last;        /* last op of the x-branch, -1: none */
  int d, d8, widest; /* latent size, rounded up; widest op, rounded up */
};

/* Ops first .. first + period * count - 1 do the same `count` times; field f of member q moves by step[q][f] each time.
 */
struct run {
  int first, period, count;
  long step[2][FIELDS];
};

struct text {
  char s[96];
};

/* Text of the device function exchange(a, b). */
extern const char PLAN_EXCHANGE[];

int plan_round_up8(int n);
/* The next `floats` floats of shared memory while they fit, else of the block's workspace. */
struct place plan_allocate(struct plan *plan, long floats);
/* The longest run that starts at op `first`, within ops up to `last`. */
struct run plan_longest_run(const struct plan *plan, int first, int last);
/* Whether the backward pass multiplies by the op's slope. */
bool plan_has_slope(const struct dense_op *op);
/* Whether another op adds this op's sum. */
bool plan_feeds_residual(const struct plan *plan, int index);
bool plan_carries_stream(const struct plan *plan, int index);
bool plan_reads_time(const struct dense_op *op);
/* A tile of so many features. */
struct place plan_allocate_tile(struct plan *plan, int features);
/* What the backward pass needs of ops first .. last (field POST or SLOPE): kept in one memory, so that equal layers
 * stay a loop. */
void plan_allocate_kept(struct plan *plan, int field, int first, int last);
void plan_place_inputs(struct plan *plan, int index);
int plan_row_kind(noprop_type type, bool is_label);

/* Gives every array its place, hottest first. False: there is no room for the plan, as plan_unplaced says. */
bool plan_place_arrays(struct plan *plan);
noprop_status plan_unplaced(const struct plan *plan);

void plan_emit(struct plan *plan, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "shared + 96 + l * 2048" */
struct text plan_place_text(struct place place, long step);
/* Offset text of a parameter: "1056 + l * 1056". */
struct text plan_offset_text(const struct plan *plan, int op, int field, const long *step);
/* A literal that keeps its float value. */
struct text plan_float_text(double value);
/* enum objective_path of objective.cuh */
int plan_path_of(const struct settings *settings);
/* Whether every row has one more pass, at t = 1, whose logits its label is read from (loss.recon.type end_logits). */
bool plan_has_end_pass(const struct settings *settings);
/* The weight of a row's main term at its `point`. */
struct text plan_weight_text(const struct plan *plan);
/* Expression of the row (`warp`: of a warp's rows) whose number makes the noise: with coupling the partner's. */
struct text plan_noise_row(const struct settings *settings, bool warp);
/* Constants `schedule` and `objective` of a kernel. */
noprop_status plan_emit_descriptions(struct plan *plan);
/* Ops first .. last, forward. */
void plan_emit_forward(struct plan *plan, int first, int last);
/* Features first .. first + count - 1 of the condition, from `data`, into plan->x. */
void plan_emit_load_x(struct plan *plan, const char *data, const char *first, const char *count, const char *indent);
/* The time branch of all layers for the time `t`: every thread takes outputs. */
void plan_emit_time_parts(struct plan *plan);

/* Ops first .. last, backward: `delta` and `delta_rows` hold the gradient of the last one's sum. */
void plan_emit_backward(struct plan *plan, int first, int last);
void plan_emit_load_target(struct plan *plan, struct place to);

/* Parts that kernels of all variants have, in their order: whether dropout is on; per tile the condition's branch, the
 * gradients' two pairs of tiles, and at its end the branch's backward pass (`keep`: text of a row's condition for it,
 * or NULL). The first and the third only with a backward pass. */
void plan_emit_dropout(struct plan *plan);
/* A feature is dropped where 16 random bits are below this. */
unsigned plan_dropout_threshold(double rate);
void plan_emit_condition(struct plan *plan);
void plan_emit_deltas(struct plan *plan);
void plan_emit_condition_backward(struct plan *plan, const char *keep);

/* ---- encoders and decoders (program_coders.c) ---- */

/* Which parts this kernel has; before plan_place_arrays. */
void plan_coders(struct plan *plan);
/* Whether a part has a loop of its own over draws, or none: terms beside those of the objective. */
bool plan_has_coder_terms(const struct plan *plan);
/* Their tiles and their ops' places. */
void plan_place_coders(struct plan *plan);
/* Of the train and loss kernels: before the tiles; once per row, after its target is loaded; in each draw after the
 * network's forward pass, after the objective's gradient, and after its terms; once per row at the end; after the
 * tiles. */
void plan_emit_coders_begin(struct plan *plan);
void plan_emit_encode(struct plan *plan);
void plan_emit_decode_terms(struct plan *plan, int output);
void plan_emit_coder_output_gradient(struct plan *plan);
void plan_emit_collect_coders(struct plan *plan);
void plan_emit_encoder_backward(struct plan *plan);
void plan_emit_coders_end(struct plan *plan);
/* Expression of this warp's part of the derivative of kl_z0 by gamma(0), in the row's first draw. */
void plan_emit_kl_end_slope(struct plan *plan);
/* Of a solve: a function `write(slice)` that decodes the state and writes both. */
void plan_emit_decoding_writer(struct plan *plan);

/* Whether the end points of the schedule are trained (kernels/schedule_ends.cuh), and where "schedule.NAME" stands
 * among the parameters. */
bool plan_trains_ends(const struct plan *plan);
long plan_schedule_place(const struct plan *plan, const char *name);

/* ---- a monotone network that is trained as a schedule (program_schedule.c) ---- */

/* Whether the model has one; of the functions below the first and the last ask for themselves. */
bool plan_trains_network(const struct plan *plan);
/* Its widest layer, rounded up, that the gradients' tiles have to hold; 0: none. Its places. */
int plan_schedule_widest(const struct plan *plan);
void plan_place_schedule(struct plan *plan);
/* Where the raw number of its mix stands among the parameters. */
long plan_schedule_mix(const struct plan *plan);
/* Of the train and loss kernels: before the tiles; `path_point point` of `t`; from `slope` to the gradients of its
 * numbers; after the tiles. */
void plan_emit_schedule_begin(struct plan *plan);
void plan_emit_schedule_point(struct plan *plan);
void plan_emit_network_gradient(struct plan *plan);
void plan_emit_schedule_end(struct plan *plan);

/* ---- batch norm by the statistics of the batch (program_norms.c) ---- */

/* Whether a kernel goes over its rows several times. All functions below do nothing where it does not. */
bool plan_has_norm_passes(const struct plan *plan);
void plan_place_norms(struct plan *plan);
/* Of the train kernel: around the loop over tiles; at the beginning of each draw and, before what is done
 * once per row, behind the draws; "if (norm_last)" before a statement that only the last pass does. */
void plan_emit_norms_begin(struct plan *plan);
void plan_emit_norms_draw(struct plan *plan);
void plan_emit_norms_row_end(struct plan *plan);
void plan_emit_norms_end(struct plan *plan);
const char *plan_in_last_pass(const struct plan *plan);
/* Where a pass ends: norm `number` takes what it needs of `tile` (and on the way back of `unit`) in its pass. */
void plan_emit_norm_stop(struct plan *plan, int number, const char *tile, const char *unit);
/* From `acc` to the normalised number; from its adjoint and the number `unit` to the adjoint of what it was of; from a
 * tangent to its. */
void plan_emit_norm_value(struct plan *plan, int number, const char *acc);
void plan_emit_norm_adjoint(struct plan *plan, int number, const char *acc, const char *unit);
void plan_emit_norm_tangent(struct plan *plan, int number, const char *acc);

/* ---- networks that are graphs (program_field.c) ---- */

/* Parts of a kernel that computes one: once per row of a solve; at every state and time; for a direction of a trace;
 * the gradients of the loss. */
enum field_segment { FIELD_ONCE, FIELD_FORWARD, FIELD_TRACE, FIELD_BACKWARD };

/* Plans tiles and gradients behind all others; false without memory. plan_free_field() ends it. */
bool plan_place_field(struct plan *plan);
void plan_free_field(struct plan *plan);
/* One part; ends with a barrier. */
void plan_emit_field(struct plan *plan, int segment);
/* Before and after all tiles; at the beginning of a guided pass; the time branch of a solve's step. The first three do
 * nothing for chains. */
/* In front of the kernel: what its text needs for the network; nothing for chains. */
void plan_emit_field_includes(struct plan *plan);
void plan_emit_field_begin(struct plan *plan);
void plan_emit_field_end(struct plan *plan);
void plan_emit_field_pass(struct plan *plan);
void plan_emit_field_time_parts(struct plan *plan);

/* ---- transformers over the state (program_tokens.c); all but the two of an evaluation do nothing for others ---- */

bool plan_has_tokens(const struct plan *plan);
void plan_place_tokens(struct plan *plan);
/* In front of the kernel; its memory; the condition of row `row` of the data, or without `keep` none (texts); the
 * field, forward and back; the condition's way back. */
void plan_emit_tokens_includes(struct plan *plan);
void plan_emit_tokens_begin(struct plan *plan);
void plan_emit_tokens_condition(struct plan *plan, const char *row, const char *keep);
void plan_emit_tokens_forward(struct plan *plan);
void plan_emit_tokens_backward(struct plan *plan);
void plan_emit_tokens_condition_backward(struct plan *plan);

/* Variant dt (program_dt.c): what program_train and program_integrate give then. */
noprop_status program_train_blocks(const struct network *network, const struct settings *settings,
                                   const noprop_model_shape *shape, size_t shared_limit, bool backward,
                                   const struct tile_form *tile, struct program *program);
noprop_status program_integrate_blocks(const struct network *network, const struct settings *settings,
                                       const noprop_model_shape *shape, size_t shared_limit,
                                       const struct solve_form *form, struct program *program);

/* Tensor cores (program_tensor.c, program_tensor_train.c). Whether the warps of a block share its rows: where layers
 * are too wide for a warp, or the form of tiles says so. */
bool plan_is_split(const struct network *network, const struct tile_form *tile);
/* Groups of eight features; those that a warp has of a layer of `width` (the output every warp has whole). */
int plan_groups(int width);
int plan_share(const struct plan *plan, int index);
/* The kernel's precision and row blocks, named once. */
void plan_emit_operand_forms(struct plan *plan, int blocks);
/* acc += source W, for factors in the registers `source` or, with `groups` > 0, that many groups in the block's memory;
 * acc += bias; "warp_" or "split_" calls. `outputs`: groups of the layer. */
void plan_emit_dense(struct plan *plan, const char *acc, int outputs, const char *source, int groups,
                     const char *fragments);
void plan_emit_features(struct plan *plan, const char *acc, int outputs, const char *values);
/* acc += x W, from device memory, for the rows `rows`. */
void plan_emit_dense_condition(struct plan *plan, const char *acc, int outputs, const char *rows,
                               const char *fragments);

/* Begins the text of a train or loss kernel: what stands before the includes, */
void plan_emit_step_forms(struct plan *plan);
/* the kernel's head down to its brace, */
void plan_emit_step_head(struct plan *plan);
/* and what stands after its last brace: with plan->steps the kernel that calls it. */
void plan_emit_step_end(struct plan *plan);

/* Closes plan->out and makes *program of its text, or frees it on failure. */
noprop_status plan_finish(struct plan *plan, char **text, noprop_status status, const char *entry,
                          struct program *program);

#endif
