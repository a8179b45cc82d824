/* Code generation: writes the small kernel that carries a tile of 32 rows through a whole network and its objective.
 *
 * The kernel's text only calls the building blocks of kernels/ with shapes as constants. Equal layers that follow one
 * another become a loop, so that the text (and the time to compile it) grows with the number of different layers.
 * Every array of the tile has a place: in shared memory while there is room, else in the block's workspace. */
#include "engine/program.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/field_graph.h"
#include "engine/objective.h"
#include "engine/program_plan.h"
#include "engine/schedule.h"
#include "engine/status.h"
#include "kernels/arguments.h"

int plan_round_up8(int n) { return (n + 7) & ~7; }

struct place plan_allocate(struct plan *plan, long floats) {
  floats = (floats + 3) & ~3L;
  struct place place = {.workspace = (size_t)(plan->shared_floats + floats) * sizeof(float) > plan->shared_limit};
  long *used = place.workspace ? &plan->workspace_floats : &plan->shared_floats;
  place.offset = *used;
  *used += floats;
  return place;
}

struct place plan_allocate_tile(struct plan *plan, int features) {
  return plan_allocate(plan, (long)plan_round_up8(features) * plan->tile.rows);
}

bool plan_has_slope(const struct dense_op *op) { return op->activation != ACTIVATION_LINEAR || op->dropout; }

/* What the backward pass needs of all ops of one branch: kept in one memory, so that equal layers stay a loop. */
void plan_allocate_kept(struct plan *plan, int field, int first, int last) {
  const struct network *network = plan->network;
  long floats = 0;
  for (int i = first; i <= last; ++i)
    if (field == POST || plan_has_slope(&network->ops[i]))
      floats += (long)plan_round_up8(network->ops[i].width) * plan->tile.rows;
  struct place place = plan_allocate(plan, floats);
  for (int i = first; i <= last; ++i) {
    if (field == SLOPE && !plan_has_slope(&network->ops[i])) continue;
    plan->ops[i].at[field] = place;
    place.offset += (long)plan_round_up8(network->ops[i].width) * plan->tile.rows;
  }
}

static int parameter_offset(const struct plan *plan, int index) {
  return (int)plan->network->parameters[index].padded_offset;
}

/* The op whose pre-activation carries the residual stream onwards. */
bool plan_carries_stream(const struct plan *plan, int index) {
  for (int i = 0; i < network_total_ops(plan->network); ++i)
    if (plan->network->ops[i].residual == index) return true;
  return plan->network->ops[index].residual >= 0;
}

bool plan_feeds_residual(const struct plan *plan, int index) {
  for (int i = 0; i < network_total_ops(plan->network); ++i)
    if (plan->network->ops[i].residual == index) return true;
  return false;
}

static bool reads_condition(const struct plan *plan, int index) {
  const struct dense_op *op = &plan->network->ops[index];
  for (int i = 0; i < op->input_count; ++i)
    if (op->inputs[i].kind == INPUT_OP && op->inputs[i].op == plan->x_last && !op->x_branch) return true;
  return false;
}

bool plan_reads_time(const struct dense_op *op) {
  for (int i = 0; i < op->input_count; ++i)
    if (op->inputs[i].kind == INPUT_TIME) return true;
  return false;
}

/* Where the op's parameters and inputs stand. */
void plan_place_inputs(struct plan *plan, int index) {
  const struct dense_op *op = &plan->network->ops[index];
  struct op_places *places = &plan->ops[index];
  if (op->bias >= 0) places->at[BIAS] = (struct place){false, parameter_offset(plan, op->bias)};
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    places->at[WEIGHT + k] = (struct place){false, parameter_offset(plan, input->weight)};
    places->at[INPUT + k] = input->kind == INPUT_OP        ? plan->ops[input->op].at[POST]
                            : input->kind == INPUT_Z       ? (plan->solve ? plan->input : plan->z)
                            : input->kind == INPUT_TIME    ? plan->time
                            : input->kind == INPUT_Y       ? plan->coders.y
                            : input->kind == INPUT_DECODED ? plan->coders.decoded
                                                           : plan->x;
  }
}

/* Gives every array its place, hottest first. */
bool plan_place_arrays(struct plan *plan) {
  const struct network *network = plan->network;
  bool stream = false;
  plan->d = network->latent;
  plan->d8 = plan_round_up8(plan->d);
  plan->x_last = -1;
  for (int i = 0; i < network->op_count; ++i) {
    if (network->ops[i].x_branch) plan->x_last = i;
    if (network->ops[i].residual >= 0) stream = true;
    if (plan_round_up8(network->ops[i].width) > plan->widest) plan->widest = plan_round_up8(network->ops[i].width);
  }
  plan_coders(plan);
  plan->scratch = plan_allocate(plan, plan_has_coder_terms(plan) ? 2 * SCRATCH_FLOATS : SCRATCH_FLOATS);
  plan->z = plan_allocate_tile(plan, plan->solve ? plan->components : plan->d);
  plan->x = network->x_width && !plan_has_tokens(plan)
                ? plan_allocate_tile(plan, network->x_width < X_CHUNK ? network->x_width : X_CHUNK)
                : NOWHERE;
  int stream_width = stream ? network->ops[network->op_count - 2].width : 0;
  /* Encoder, network and decoder take turns with the residual stream. */
  for (int i = network->op_count; i < network_total_ops(network); ++i)
    if (network->ops[i].residual >= 0 && network->ops[i].width > stream_width) stream_width = network->ops[i].width;
  plan->stream = stream_width ? plan_allocate_tile(plan, stream_width) : NOWHERE;
  if (plan->solve) {
    plan->input = plan->stages ? plan_allocate_tile(plan, plan->components) : plan->z;
    plan->sum = plan_allocate_tile(plan, plan->d);
    plan->previous = plan_allocate_tile(plan, plan->d);
    plan->time = plan->row_times && network->time_width ? plan_allocate_tile(plan, network->time_width)
                                                        : plan_allocate(plan, network->time_width);
    if (plan->slopes)
      plan->stage_slopes = plan_allocate(plan, (long)plan->slopes * plan_round_up8(plan->components) * plan->tile.rows);
    if (plan->guided) plan->unguided = plan_allocate_tile(plan, plan->d);
    if (plan->tangents) plan->tangent = plan_allocate_tile(plan, plan->d);
  } else {
    plan->z1 = plan_allocate_tile(plan, plan->d);
    plan->noise = plan_allocate_tile(plan, plan->d);
    plan->time = network->time_width ? plan_allocate_tile(plan, network->time_width) : NOWHERE;
  }
  if (plan->backward) {
    for (int i = 0; i < 2; ++i) {
      long widest = plan->coders.widest > plan->widest ? plan->coders.widest : plan->widest;
      if (plan_schedule_widest(plan) > widest) widest = plan_schedule_widest(plan);
      plan->delta[i] = plan_allocate(plan, widest * plan->tile.rows);
      plan->delta_rows[i] = plan_allocate(plan, (widest + 1) * plan->tile.rows);
    }
    plan->x_gradient = plan->x_last >= 0 ? plan_allocate_tile(plan, network->ops[plan->x_last].width) : NOWHERE;
    plan->stream_gradient = stream_width ? plan_allocate_tile(plan, stream_width) : NOWHERE;
  }
  plan->state_gradient = plan->state ? plan_allocate_tile(plan, plan->d) : NOWHERE;
  plan->target_gradient = plan->state ? plan_allocate_tile(plan, plan->d) : NOWHERE;
  /* Without a backward pass two tiles take turns as input and output. */
  struct place turns[2] = {NOWHERE, NOWHERE};
  if (!plan->backward)
    for (int i = 0; i < 2; ++i) turns[i] = plan_allocate(plan, (long)plan->widest * plan->tile.rows);
  struct place tangent_turns[2] = {NOWHERE, NOWHERE};
  for (int i = 0; plan->tangents && i < 2; ++i)
    tangent_turns[i] = plan_allocate(plan, (long)plan->widest * plan->tile.rows);
  /* The evaluation of the loss needs the x-branch's result at every draw. */
  const bool keep_x = !plan->backward && !plan->solve && plan->x_last >= 0;
  long time_parts = 0;
  for (int i = 0; i < network_total_ops(network); ++i)
    for (int field = 0; field < FIELDS; ++field) plan->ops[i].at[field] = NOWHERE;
  if (plan->backward) {
    plan_allocate_kept(plan, POST, plan->x_last + 1, network->op_count - 1);
    plan_allocate_kept(plan, SLOPE, plan->x_last + 1, network->op_count - 1);
    plan_allocate_kept(plan, POST, 0, plan->x_last);
    plan_allocate_kept(plan, SLOPE, 0, plan->x_last);
  }
  if (plan->tangents) plan_allocate_kept(plan, SLOPE, plan->x_last + 1, network->op_count - 1);
  for (int i = 0; i < network->op_count; ++i) {
    const struct dense_op *op = &network->ops[i];
    struct op_places *places = &plan->ops[i];
    if (plan->tangents && !op->x_branch) places->at[TANGENT] = tangent_turns[i % 2];
    if (!plan->backward)
      places->at[POST] = keep_x && i == plan->x_last ? plan_allocate_tile(plan, op->width) : turns[i % 2];
    if (plan->solve && reads_condition(plan, i)) places->at[CONDITION] = plan_allocate_tile(plan, op->width);
    if (plan->solve && !plan->row_times && plan_reads_time(op)) {
      places->at[TIME_PART] = (struct place){false, time_parts};
      time_parts += plan_round_up8(op->width);
    }
    plan_place_inputs(plan, i);
  }
  plan->time_parts = plan->solve ? plan_allocate(plan, time_parts) : NOWHERE;
  plan_place_coders(plan);
  plan_place_schedule(plan);
  plan_place_norms(plan);
  plan_place_tokens(plan);
  return plan_place_field(plan);
}

/* ---- runs of equal ops ---- */

static bool same_op(const struct plan *plan, int a, int b) {
  const struct dense_op *p = &plan->network->ops[a], *q = &plan->network->ops[b];
  if (p->width != q->width || p->input_count != q->input_count || p->activation != q->activation ||
      p->dropout != q->dropout || p->of_classes != q->of_classes || p->x_branch != q->x_branch ||
      (p->bias < 0) != (q->bias < 0) || (p->residual < 0) != (q->residual < 0) ||
      plan_feeds_residual(plan, a) != plan_feeds_residual(plan, b) ||
      reads_condition(plan, a) != reads_condition(plan, b))
    return false;
  for (int k = 0; k < p->input_count; ++k) {
    const struct op_input *i = &p->inputs[k], *j = &q->inputs[k];
    if (i->kind == INPUT_X || i->kind != j->kind || i->width != j->width) return false;
    if (i->kind == INPUT_OP && (i->op == plan->x_last) != (j->op == plan->x_last)) return false;
    /* What the backward pass does to the input: multiply by its slope, add or keep the residual stream's gradient. */
    if (i->kind == INPUT_OP &&
        (plan_has_slope(&plan->network->ops[i->op]) != plan_has_slope(&plan->network->ops[j->op]) ||
         (plan->network->ops[i->op].residual < 0) != (plan->network->ops[j->op].residual < 0) ||
         plan_feeds_residual(plan, i->op) != plan_feeds_residual(plan, j->op) ||
         plan_carries_stream(plan, i->op) != plan_carries_stream(plan, j->op) ||
         plan->network->ops[i->op].width != plan->network->ops[j->op].width ||
         plan->network->ops[i->op].x_branch != plan->network->ops[j->op].x_branch))
      return false;
  }
  return true;
}

/* The chain input's slope place moves with the input op; it is looked up through the op, so its step must agree. */
static bool step_of(const struct plan *plan, int a, int b, long *step) {
  for (int f = 0; f < FIELDS; ++f) {
    const struct place p = plan->ops[a].at[f], q = plan->ops[b].at[f];
    if (p.workspace != q.workspace || (p.offset < 0) != (q.offset < 0)) return false;
    step[f] = q.offset - p.offset;
  }
  return true;
}

static bool same_slope_step(const struct plan *plan, int a, int b, const long *step) {
  const struct dense_op *p = &plan->network->ops[a], *q = &plan->network->ops[b];
  for (int k = 0; k < p->input_count; ++k) {
    if (p->inputs[k].kind != INPUT_OP || p->inputs[k].op == plan->x_last) continue;
    const struct place s = plan->ops[p->inputs[k].op].at[SLOPE], t = plan->ops[q->inputs[k].op].at[SLOPE];
    if (s.workspace != t.workspace || (s.offset >= 0 && t.offset - s.offset != step[INPUT + k])) return false;
  }
  return true;
}

static struct run run_from(const struct plan *plan, int first, int period, int last) {
  struct run run = {.first = first, .period = period, .count = 1};
  while (first + period * (run.count + 1) - 1 <= last) {
    for (int q = 0; q < period; ++q) {
      long step[FIELDS];
      const int a = first + period * (run.count - 1) + q, b = a + period;
      if (!same_op(plan, a, b) || !step_of(plan, a, b, step)) return run;
      if (plan->backward && !same_slope_step(plan, a, b, step)) return run;
      if (run.count > 1 && memcmp(step, run.step[q], sizeof step) != 0) return run;
      memcpy(run.step[q], step, sizeof step);
    }
    ++run.count;
  }
  return run;
}

/* The longest run that starts at op `first`, within ops up to `last`. */
struct run plan_longest_run(const struct plan *plan, int first, int last) {
  struct run best = {.first = first, .period = 1, .count = 1};
  for (int period = 1; period <= 2 && first + period - 1 <= last; ++period) {
    const struct run run = run_from(plan, first, period, last);
    if (run.count > 1 && run.count * run.period > best.count * best.period) best = run;
  }
  if (best.count == 1) memset(best.step, 0, sizeof best.step);
  return best;
}

/* ---- writing ---- */

void plan_emit(struct plan *plan, const char *format, ...) {
  va_list list;
  va_start(list, format);
  vfprintf(plan->out, format, list);
  va_end(list);
}

/* "shared + 96 + l * 2048" */
struct text plan_place_text(struct place place, long step) {
  struct text text;
  const char *space = place.workspace ? "workspace" : "shared";
  if (step)
    snprintf(text.s, sizeof text.s, "%s + %ld + l * %ld", space, place.offset, step);
  else
    snprintf(text.s, sizeof text.s, "%s + %ld", space, place.offset);
  return text;
}

static struct text at(const struct plan *plan, int op, int field, const long *step) {
  return plan_place_text(plan->ops[op].at[field], step[field]);
}

/* Offset text of a parameter: "1056 + l * 1056". */
struct text plan_offset_text(const struct plan *plan, int op, int field, const long *step) {
  struct text text;
  if (step[field])
    snprintf(text.s, sizeof text.s, "%ld + l * %ld", plan->ops[op].at[field].offset, step[field]);
  else
    snprintf(text.s, sizeof text.s, "%ld", plan->ops[op].at[field].offset);
  return text;
}

int plan_row_kind(noprop_type type, bool is_label) {
  if (is_label) return type == NOPROP_TYPE_UINT8 ? 3 : 2; /* enum row_kind of rows.cuh */
  return type == NOPROP_TYPE_UINT8 ? 1 : 0;
}

void plan_emit_load_x(struct plan *plan, const char *data, const char *first, const char *count, const char *indent) {
  if (plan->network->branch_count > 0) {
    plan_emit(plan, "%sload_branch_features<%d>(%s, %s, %s, ", indent, plan->network->x_width,
              plan_place_text(plan->x, 0).s, plan->features, plan->solve ? "row" : "row.local");
    plan_emit(plan, "%s, %s);\n", first, count);
    return;
  }
  plan_emit(plan, "%sload_features<%d, %d>(%s, %s, %s, args.condition_scale, args.condition_shift, %s, %s, 0.0f);\n",
            indent, plan_row_kind(plan->shape->condition_type, plan->shape->condition_is_label), plan->network->x_width,
            plan_place_text(plan->x, 0).s, data, plan->solve ? "row" : "row.data", first, count);
}

/* The end of a layer: residual stream, activation, dropout. `op + l * period` is the layer number of the dropout. */
static void emit_finish(struct plan *plan, int index, const struct run *run, const long *step, const char *indent) {
  const struct dense_op *op = &plan->network->ops[index];
  const bool dropout = op->dropout && plan->backward;
  if (op->residual >= 0) plan_emit(plan, "%sadd_tile8(acc, %s, n);\n", indent, plan_place_text(plan->stream, 0).s);
  if (plan_carries_stream(plan, index))
    plan_emit(plan, "%sstore_tile8(%s, n, acc);\n", indent, plan_place_text(plan->stream, 0).s);
  const bool slope = plan->ops[index].at[SLOPE].offset >= 0;
  plan_emit(plan, "%sdense_finish<%d, %s, %s>(acc, n, %s, ", indent, op->activation, slope ? "true" : "false",
            dropout ? "true" : "false", at(plan, index, POST, step).s);
  plan_emit(plan, "%s, ", slope ? at(plan, index, SLOPE, step).s : "nullptr");
  if (dropout)
    plan_emit(
        plan,
        "dropout_draw{drop_threshold, drop_scale, args.seed, row.number, philox_stream(STREAM_DROPOUT, %d%s, %s), "
        "batch.step}",
        index, run->count > 1 ? (run->period == 2 ? " + 2 * l" : " + l") : "", op->x_branch ? "0" : "draw");
  else
    plan_emit(plan, "dropout_draw()");
  plan_emit(plan, ");\n");
}

/* One layer forward. In a solve the condition and time parts were computed before. */
static void emit_forward_op(struct plan *plan, int index, const struct run *run, const long *step) {
  const struct dense_op *op = &plan->network->ops[index];
  const int ld = plan_round_up8(op->width);
  const bool streamed = op->inputs[0].kind == INPUT_X && plan->network->x_width > X_CHUNK;
  plan_emit(plan, "  // %s\n", plan->network->parameters[op->inputs[0].weight].name);
  if (op->of_classes) plan_emit(plan, "  softmax_tile<%d>(%s);\n", op->inputs[0].width, at(plan, index, INPUT, step).s);
  if (streamed) {
    plan_emit(plan, "  for (int k = 0; k < %d; k += %d) {\n", plan->network->x_width, X_CHUNK);
    plan_emit(plan, "    const int features = min(%d, %d - k);\n", X_CHUNK, plan->network->x_width);
    plan_emit_load_x(plan, "args.condition", "k", "features", "    ");
    plan_emit(plan, "    __syncthreads();\n");
    plan_emit(plan,
              "    for (int n = TILE_OUTPUTS * tile_warp(); n < %d; n += TILE_OUTPUTS * TILE_WARPS) {\n      float "
              "acc[TILE_OUTPUTS] = {};\n",
              ld);
    plan_emit(plan, "      if (k) add_tile8(acc, %s, n);\n", at(plan, index, POST, step).s);
    plan_emit(plan, "      dense_accumulate<%d>(acc, %s, features, P + %s + k * %d + n);\n", ld,
              at(plan, index, INPUT, step).s, plan_offset_text(plan, index, WEIGHT, step).s, ld);
    plan_emit(plan, "      store_tile8(%s, n, acc);\n    }\n    __syncthreads();\n  }\n",
              at(plan, index, POST, step).s);
  }
  plan_emit(plan,
            "  for (int n = TILE_OUTPUTS * tile_warp(); n < %d; n += TILE_OUTPUTS * TILE_WARPS) {\n    float "
            "acc[TILE_OUTPUTS] = {};\n",
            ld);
  if (streamed) plan_emit(plan, "    add_tile8(acc, %s, n);\n", at(plan, index, POST, step).s);
  if (plan->ops[index].at[CONDITION].offset >= 0)
    plan_emit(plan, "    %sadd_tile8(acc, %s, n);\n", plan->guided ? "if (pass) " : "",
              at(plan, index, CONDITION, step).s);
  /* Condition parts hold the bias; without its condition the network has that alone. */
  if (op->bias >= 0 && (plan->guided || plan->ops[index].at[CONDITION].offset < 0))
    plan_emit(plan, "    %sadd_parameters8(acc, P + %s + n);\n",
              plan->ops[index].at[CONDITION].offset >= 0 ? "if (!pass) " : "",
              plan_offset_text(plan, index, BIAS, step).s);
  if (plan->ops[index].at[TIME_PART].offset >= 0)
    plan_emit(plan, "    add_uniform8(acc, %s + %s + n);\n", plan_place_text(plan->time_parts, 0).s,
              plan_offset_text(plan, index, TIME_PART, step).s);
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    if (input->kind == INPUT_X && streamed) continue;
    if (plan->solve && ((input->kind == INPUT_TIME && !plan->row_times) ||
                        (input->kind == INPUT_OP && input->op == plan->x_last && !op->x_branch)))
      continue;
    plan_emit(plan, "    dense_accumulate<%d>(acc, %s, %d, P + %s + n);\n", ld, at(plan, index, INPUT + k, step).s,
              input->width, plan_offset_text(plan, index, WEIGHT + k, step).s);
  }
  emit_finish(plan, index, run, step, "    ");
  plan_emit(plan, "  }\n  __syncthreads();\n");
}

/* Whether the op that stands for a graph is one of these; all before it are then computed elsewhere. */
static bool is_graph(const struct plan *plan, int first, int last) {
  const int graph = network_said_op(plan->network);
  return plan->field && first <= graph && graph <= last && first > plan->x_last;
}

/* The same of a transformer, whose only op it is. */
static bool is_tokens(const struct plan *plan, int first, int last) {
  return plan_has_tokens(plan) && first <= 0 && 0 <= last;
}

void plan_emit_forward(struct plan *plan, int first, int last) {
  if (is_tokens(plan, first, last)) {
    plan_emit_tokens_forward(plan);
    return;
  }
  if (is_graph(plan, first, last)) {
    plan_emit_field(plan, FIELD_FORWARD);
    first = network_said_op(plan->network) + 1;
  }
  for (int i = first; i <= last;) {
    const struct run run = plan_longest_run(plan, i, last);
    if (run.count > 1) plan_emit(plan, "#pragma unroll 1\n  for (int l = 0; l < %d; ++l) {\n", run.count);
    for (int q = 0; q < run.period; ++q) emit_forward_op(plan, i + q, &run, run.step[q]);
    if (run.count > 1) plan_emit(plan, "  }\n");
    i += run.period * run.count;
  }
}

/* What reaches the state z_t, or the latent that is decoded, through the layer that reads it; added where the tile
 * holds the objective's direct part. */
static void emit_input_gradient(struct plan *plan, int index, int k, const long *step, struct place to, bool add) {
  const struct dense_op *op = &plan->network->ops[index];
  const struct text gradient = plan_place_text(to, 0);
  plan_emit(plan,
            "  for (int n = TILE_OUTPUTS * tile_warp(); n < %d; n += TILE_OUTPUTS * TILE_WARPS) {\n    float "
            "acc[TILE_OUTPUTS] = {};\n",
            plan->d8);
  plan_emit(plan, "    dense_accumulate_transposed<%d>(acc, delta, P + %s, n, %d);\n", plan_round_up8(op->width),
            plan_offset_text(plan, index, WEIGHT + k, step).s, plan->d);
  if (add) plan_emit(plan, "    add_tile8(acc, %s, n);\n", gradient.s);
  plan_emit(plan, "    store_tile8(%s, n, acc);\n  }\n", gradient.s);
}

/* One layer backward: `delta` and `delta_rows` hold the gradient of its pre-activation; they end up holding that of the
 * layer before it in the chain. */
static void emit_backward_op(struct plan *plan, int index, const long *step) {
  const struct dense_op *op = &plan->network->ops[index];
  const int ld = plan_round_up8(op->width), pitch = ld + 1;
  const char *again = plan->again;
  plan_emit(plan, "  // %s, backward\n", plan->network->parameters[op->inputs[0].weight].name);
  if (op->bias >= 0)
    plan_emit(plan, "  dense_bias_gradient<%d, %d>(slot + %s, delta_rows, %s);\n", ld, pitch,
              plan_offset_text(plan, index, BIAS, step).s, again);
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    if (input->kind == INPUT_X && input->width > X_CHUNK) {
      plan_emit(plan, "  for (int k = 0; k < %d; k += %d) {\n", input->width, X_CHUNK);
      plan_emit(plan, "    const int features = min(%d, %d - k);\n    __syncthreads();\n", X_CHUNK, input->width);
      plan_emit_load_x(plan, "args.condition", "k", "features", "    ");
      plan_emit(plan, "    __syncthreads();\n");
      plan_emit(plan, "    dense_weight_gradient<%d, %d>(slot + %s + k * %d, %s, features, delta_rows, %s);\n  }\n", ld,
                pitch, plan_offset_text(plan, index, WEIGHT + k, step).s, ld, at(plan, index, INPUT + k, step).s,
                again);
    } else {
      plan_emit(plan, "  dense_weight_gradient<%d, %d>(slot + %s, %s, %d, delta_rows, %s);\n", ld, pitch,
                plan_offset_text(plan, index, WEIGHT + k, step).s, at(plan, index, INPUT + k, step).s, input->width,
                again);
    }
  }
  bool moved = false;
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    if (input->kind == INPUT_X && plan->network->branch_count > 0) {
      plan_emit(plan,
                "  for (int n = TILE_OUTPUTS * tile_warp(); n < %d; n += TILE_OUTPUTS * TILE_WARPS) {\n    float "
                "acc[TILE_OUTPUTS] = {};\n",
                input->width);
      plan_emit(plan, "    dense_accumulate_transposed<%d>(acc, delta, P + %s, n, %d);\n", ld,
                plan_offset_text(plan, index, WEIGHT + k, step).s, input->width);
      plan_emit(plan, "    store_feature_gradient<%d>(%s, row, n, acc);\n  }\n", input->width, plan->feature_gradients);
    }
    if (input->kind == INPUT_Z && plan->state) emit_input_gradient(plan, index, k, step, plan->state_gradient, true);
    if (input->kind == INPUT_DECODED) emit_input_gradient(plan, index, k, step, plan->coders.decoded_gradient, false);
    if (input->kind != INPUT_OP) continue;
    const bool condition = input->op == plan->x_last && !op->x_branch;
    plan_emit(plan,
              "  for (int n = TILE_OUTPUTS * tile_warp(); n < %d; n += TILE_OUTPUTS * TILE_WARPS) {\n    float "
              "acc[TILE_OUTPUTS] = {};\n",
              plan_round_up8(input->width));
    plan_emit(plan, "    dense_accumulate_transposed<%d>(acc, delta, P + %s, n, %d);\n", ld,
              plan_offset_text(plan, index, WEIGHT + k, step).s, input->width);
    if (condition) {
      plan_emit(plan, "    if (x_gradient_begun) add_tile8(acc, %s, n);\n", plan_place_text(plan->x_gradient, 0).s);
      plan_emit(plan, "    store_tile8(%s, n, acc);\n  }\n  x_gradient_begun = true;\n",
                plan_place_text(plan->x_gradient, 0).s);
      continue;
    }
    if (plan_has_slope(&plan->network->ops[input->op]))
      plan_emit(plan, "    multiply_tile8(acc, %s, n);\n",
                plan_place_text(plan->ops[input->op].at[SLOPE], step[INPUT + k]).s);
    if (plan_feeds_residual(plan, input->op))
      plan_emit(plan, "    add_tile8(acc, %s, n);\n", plan_place_text(plan->stream_gradient, 0).s);
    if (plan->network->ops[input->op].residual >= 0)
      plan_emit(plan, "    store_tile8(%s, n, acc);\n", plan_place_text(plan->stream_gradient, 0).s);
    plan_emit(plan, "    store_delta8<%d>(other, other_rows, n, %d, acc);\n  }\n", plan_round_up8(input->width) + 1,
              input->width);
    if (op->of_classes)
      plan_emit(plan, "  softmax_delta<%d, %d>(other, other_rows, %s);\n", input->width,
                plan_round_up8(input->width) + 1, at(plan, index, INPUT + k, step).s);
    moved = true;
  }
  plan_emit(plan, "  __syncthreads();\n");
  if (moved) plan_emit(plan, "  exchange(delta, other), exchange(delta_rows, other_rows);\n");
}

void plan_emit_backward(struct plan *plan, int first, int last) {
  if (is_tokens(plan, first, last)) {
    plan_emit_tokens_backward(plan);
    return;
  }
  if (is_graph(plan, first, last)) {
    const int graph = network_said_op(plan->network);
    if (graph < last) plan_emit_backward(plan, graph + 1, last);
    plan_emit_field(plan, FIELD_BACKWARD);
    return;
  }
  /* The same runs as forward, from the back. */
  struct run runs[NETWORK_MAX_OPS];
  int count = 0;
  for (int i = first; i <= last; i += runs[count - 1].period * runs[count - 1].count)
    runs[count++] = plan_longest_run(plan, i, last);
  while (count-- > 0) {
    const struct run *run = &runs[count];
    if (run->count > 1) plan_emit(plan, "#pragma unroll 1\n  for (int l = %d; l >= 0; --l) {\n", run->count - 1);
    for (int q = run->period - 1; q >= 0; --q) emit_backward_op(plan, run->first + q, run->step[q]);
    if (run->count > 1) plan_emit(plan, "  }\n");
  }
}

/* ---- the objective as constants ---- */

int plan_path_of(const struct settings *settings) {
  return settings->variant == VARIANT_FM ? 0 : 1 + settings->loss.path; /* enum loss_path follows PATH_VP */
}

static int prediction_of(const struct settings *settings) {
  return settings->prediction == PREDICTION_VELOCITY                                             ? 0
         : settings->prediction == PREDICTION_NOISE                                              ? 1
         : settings->prediction == PREDICTION_TARGET || settings->prediction == PREDICTION_STATE ? 2
                                                                                                 : 3;
}

/* A literal that keeps its float value, with a point so that the suffix is legal. */
struct text plan_float_text(double value) {
  struct text text;
  snprintf(text.s, sizeof text.s, "%.9e", (double)(float)value);
  strcat(text.s, "f");
  return text;
}

struct text plan_noise_row(const struct settings *settings, bool warp) {
  struct text text;
  if (settings->coupling == COUPLING_OT)
    snprintf(text.s, sizeof text.s, "%s<%du>(args, batch, %s, draw)", warp ? "warp_paired_rows" : "paired_row",
             settings->loss.draws, warp ? "rows" : "row");
  else
    snprintf(text.s, sizeof text.s, "%s", warp ? "rows" : "row");
  return text;
}

bool plan_has_end_pass(const struct settings *settings) {
  return settings->loss.recon.type == RECON_END_LOGITS && settings->loss.recon.weight > 0;
}

struct text plan_weight_text(const struct plan *plan) {
  struct text text;
  const int normalize = plan->settings->loss.normalize;
  const char *const weight =
      normalize == NORMALIZE_PRODUCT ? "weight_scale" : "weight_scale * weight_at(objective, schedule, point)";
  if (plan->settings->loss.scale == LOSS_SCALE_BOUND)
    snprintf(text.s, sizeof text.s, "%s * %s", plan_float_text(0.5 * plan->d).s, weight);
  else
    snprintf(text.s, sizeof text.s, "%s", weight);
  return text;
}

/* Whether times come from a table of quantiles. */
static bool draws_by_quantiles(const struct plan *plan) {
  const int times = plan->settings->loss.t_sampling;
  return !plan->solve && (times == T_SAMPLING_GAMMA || times == T_SAMPLING_IMPORTANCE);
}

static noprop_status emit_time_knots(struct plan *plan) {
  float knots[OBJECTIVE_CELLS + 1];
  const noprop_status status = objective_time_knots(plan->settings, knots);
  if (status != NOPROP_OK) return status;
  plan_emit(plan, "  static const float time_knots[] = {");
  for (int i = 0; i <= OBJECTIVE_CELLS; ++i)
    plan_emit(plan, "%s%s", i ? i % 6 ? ", " : ",\n      " : "", plan_float_text((double)knots[i]).s);
  plan_emit(plan, "};\n");
  return NOPROP_OK;
}

/* The schedule's numbers that are trained: scalar parameters, each in the order of kernels/schedule_tangent.h. */
struct trained_number {
  char member[16]; /* of schedule_description */
  bool softplus;   /* of the raw number; else the raw number itself */
  bool plus_one;   /* added to it */
  long place;      /* in the padded parameters */
};

static int trained_numbers(const struct plan *plan, struct trained_number *numbers) {
  const struct network *network = plan->network;
  int count = 0;
  for (int i = 0; i < network->parameter_count; ++i) {
    const struct parameter_entry *entry = &network->parameters[i];
    if (entry->initialiser != INITIALISE_SCHEDULE || plan_trains_network(plan)) continue;
    const char *name = entry->name + strlen("schedule.");
    if (strncmp(name, "gamma_", strlen("gamma_")) == 0) continue; /* the ends: kernels/schedule_ends.cuh */
    struct trained_number *number = &numbers[count++];
    *number = (struct trained_number){.place = entry->padded_offset};
    number->softplus = strcmp(name, "loc") != 0 && strcmp(name, "t_mid") != 0;
    number->plus_one = strcmp(name, "power") == 0;
    snprintf(number->member, sizeof number->member, "%.15s", strcmp(name, "t_mid") == 0 ? "middle" : name);
  }
  return count;
}

/* What the terms at t = 0 and t = 1 say of the end points. */
static void emit_ends_gradient(struct plan *plan) {
  plan_emit(plan, "    const gamma_slope ends = gather_gamma_slope({");
  plan_emit_kl_end_slope(plan);
  plan_emit(plan, ", vae_slope}, %s);\n    end_sums.first += ends.gamma;\n    end_sums.last += ends.prime;\n",
            plan_place_text(plan->scratch, 0).s);
}

/* Adds the row's part to the gradients of the schedule's numbers. */
static void emit_schedule_gradient(struct plan *plan, int output) {
  plan_emit(plan, "  {\n    const gamma_slope part = row_gamma_slope<%d>(objective, point, ", plan->d);
  plan_emit(plan, "%s, share, %s, ", plan_weight_text(plan).s, plan_place_text(plan->ops[output].at[POST], 0).s);
  plan_emit(plan, "%s, %s, ", plan_place_text(plan->z, 0).s, plan_place_text(plan->z1, 0).s);
  plan_emit(plan, "%s, %s);\n", plan_place_text(plan->noise, 0).s, plan_place_text(plan->state_gradient, 0).s);
  if (plan_trains_network(plan)) {
    plan_emit(plan, "    const gamma_slope slope = gather_gamma_slope(part, %s);\n",
              plan_place_text(plan->scratch, 0).s);
    plan_emit_network_gradient(plan);
    if (plan_trains_ends(plan)) {
      plan_emit(plan, "    add_network_end_gradient(end_sums, schedule, point, inner, slope);\n");
      emit_ends_gradient(plan);
    }
    plan_emit(plan, "  }\n");
    return;
  }
  if (plan_trains_ends(plan)) {
    plan_emit(plan, "    const gamma_slope slope = gather_gamma_slope(part, %s);\n",
              plan_place_text(plan->scratch, 0).s);
    plan_emit(plan,
              "    add_schedule_gradient(schedule_sums, schedule, point, slope);\n"
              "    add_end_gradient(end_sums, schedule, point, slope);\n");
    emit_ends_gradient(plan);
    plan_emit(plan, "  }\n");
    return;
  }
  plan_emit(plan, "    add_schedule_gradient(schedule_sums, schedule, point, gather_gamma_slope(part, %s));\n  }\n",
            plan_place_text(plan->scratch, 0).s);
}

/* `schedule`: a constant, or with numbers that are trained. */
static noprop_status emit_schedule(struct plan *plan) {
  struct schedule described;
  const noprop_status status = schedule_describe(plan->settings, NULL, &described);
  if (status != NOPROP_OK) return status;
  const schedule_description schedule = described.description;
  const bool network = plan_trains_network(plan);
  if (schedule.knots > 0 && !network) {
    plan_emit(plan, "  static __device__ const float schedule_rows[] = {");
    for (int i = 0; i < schedule.knots; ++i) {
      plan_emit(plan, "%s%s, ", i ? ", " : "", plan_float_text(described.rows[i][0]).s);
      plan_emit(plan, "%s, %s", plan_float_text(described.rows[i][1]).s, plan_float_text(described.rows[i][2]).s);
    }
    plan_emit(plan, "};\n");
  }
  struct trained_number numbers[SCHEDULE_MAX_ARRAYS];
  const int trained = trained_numbers(plan, numbers);
  plan_emit(plan, "  %sschedule_description schedule = {%d, %d, %s, ",
            trained || plan_trains_ends(plan) ? "" : "const ", schedule.form, schedule.renormalise,
            plan_float_text(schedule.low).s);
  plan_emit(plan, "%s, %s, ", plan_float_text(schedule.range).s, plan_float_text(schedule.one_minus_high).s);
  plan_emit(plan, "%s, %s, %s", plan_float_text(schedule.s).s, plan_float_text(schedule.k).s,
            plan_float_text(schedule.middle).s);
  if (schedule.form > SCHEDULE_FORM_SIGMOID) {
    plan_emit(plan, ", %s, %s, ", plan_float_text(schedule.beta).s, plan_float_text(schedule.loc).s);
    plan_emit(plan, "%s, %s", plan_float_text(schedule.scale).s, plan_float_text(schedule.power).s);
  }
  if (schedule.knots > 0)
    plan_emit(plan, ", %s, %s, ", plan_float_text(schedule.first).s, plan_float_text(schedule.span).s);
  if (network && plan->solve) {
    plan_emit(plan, "args.schedule_mix, (int)args.schedule_knots, args.schedule_rows");
  } else if (network) {
    plan_emit(plan, "schedule_sigmoid(args.parameters[%ld]), 0, nullptr", plan_schedule_mix(plan));
  } else if (schedule.knots > 0) {
    plan_emit(plan, "%s, %d, schedule_rows", plan_float_text(schedule.mix).s, schedule.knots);
  }
  plan_emit(plan, "};\n");
  for (int i = 0; i < trained; ++i)
    plan_emit(plan, "  schedule.%s = %s%s(P[%ld]);\n", numbers[i].member, numbers[i].plus_one ? "1.0f + " : "",
              numbers[i].softplus ? "schedule_softplus" : "", numbers[i].place);
  if (plan_trains_ends(plan))
    plan_emit(plan, "  schedule_set_ends(&schedule, args.parameters[%ld], args.parameters[%ld]);\n",
              plan_schedule_place(plan, "gamma_first"), plan_schedule_place(plan, "gamma_span"));
  return NOPROP_OK;
}

noprop_status plan_emit_descriptions(struct plan *plan) {
  const struct settings *settings = plan->settings;
  const int error = settings->loss.error;
  const bool mixture = plan->network->mixture; /* its prediction is a vector like others */
  const bool cross_entropy = error != LOSS_ERROR_SQUARED && !mixture, end_pass = plan_has_end_pass(settings);
  const double recon = settings->loss.recon.type == RECON_NONE || plan->coders.recon ? 0 : settings->loss.recon.weight;
  const bool quantiles = draws_by_quantiles(plan);
  double mean = 1;
  if (cross_entropy && (settings->task != TASK_CLASSIFY || settings->prediction != PREDICTION_TARGET))
    return status_set(NOPROP_INVALID_CONFIG,
                      "loss.error: %s needs task classify and prediction target; this is task %s, prediction %s",
                      LOSS_ERROR_NAMES[error].name, TASK_NAMES[settings->task].name,
                      PREDICTION_NAMES[settings->prediction].name);
  if (cross_entropy && ((recon != 0 && !end_pass) || settings->loss.reg != 0))
    return status_set(NOPROP_INVALID_CONFIG,
                      "loss.error: %s cannot be combined with loss.recon.weight %g and loss.reg %g; both must be 0",
                      LOSS_ERROR_NAMES[error].name, recon, settings->loss.reg);
  if (plan_path_of(settings) == 0 && settings->loss.reg_drift != DRIFT_ODE && settings->loss.reg_drift != DRIFT_OUTPUT)
    return status_set(NOPROP_INVALID_CONFIG,
                      "loss.reg_drift: %s exists on the VP path only; ode is allowed with variant fm",
                      DRIFT_NAMES[settings->loss.reg_drift].name);
  if (settings->loss.normalize == NORMALIZE_ANALYTIC) {
    const noprop_status status = objective_mean_weight(settings, &mean);
    if (status != NOPROP_OK) return status;
  }
  if (quantiles) {
    const noprop_status status = emit_time_knots(plan);
    if (status != NOPROP_OK) return status;
  }
  const noprop_status status = emit_schedule(plan);
  if (status != NOPROP_OK) return status;
  plan_emit(plan, "  const objective_description objective = {%d, %d, %d, %d, %d, %d, %d, %d, %d, %du, ",
            plan_path_of(settings), prediction_of(settings), settings->loss.weight, settings->loss.recon.weighting,
            settings->loss.reg_weighting, settings->loss.reg_drift,
            error == LOSS_ERROR_SOFTMAX_SQUARED && !mixture ? 2 : cross_entropy, settings->loss.t_sampling,
            settings->loss.normalize == NORMALIZE_BATCH || settings->loss.normalize == NORMALIZE_PRODUCT,
            settings->loss.draws);
  plan_emit(plan, "%s, %s, ", plan_float_text(recon).s, plan_float_text(settings->loss.reg).s);
  plan_emit(plan, "%s, %s, %s, ", plan_float_text(settings->loss.t_eps).s, plan_float_text(1 / mean).s,
            plan_float_text(settings->latent.off_value).s);
  plan_emit(plan, "%s, %d, %s, ", plan_float_text(settings->loss.cap).s, quantiles ? OBJECTIVE_CELLS : 0,
            quantiles ? "time_knots" : "nullptr");
  plan_emit(plan, "%s",
            plan_float_text(settings->loss.t_sampling == T_SAMPLING_GAMMA ? 1 / objective_gamma_range(settings) : 0).s);
  if (settings->prediction == PREDICTION_STATE || end_pass)
    plan_emit(plan, ", %d, %d", settings->prediction == PREDICTION_STATE, end_pass);
  plan_emit(plan, "};\n");
  return NOPROP_OK;
}

const char PLAN_EXCHANGE[] =
    "__device__ __forceinline__ void exchange(float *&a, float *&b) {\n  float *const c = a;\n  a = b;\n  b = "
    "c;\n}\n\n";

/* ---- the kernels ---- */

void plan_emit_load_target(struct plan *plan, struct place to) {
  const int width = plan->network->target_width;
  if (plan->coders.images) {
    plan_emit(plan, "  load_branch_features<%d>(%s, args.image_latents, row.local, 0, %d);\n", plan->d,
              plan_place_text(to, 0).s, plan->d);
    return;
  }
  plan_emit(plan,
            "  load_features<%d, %d>(%s, args.target, row.data, args.target_scale, args.target_shift, 0, %d, %s);\n",
            plan_row_kind(plan->shape->target_type, plan->shape->target_is_label), width, plan_place_text(to, 0).s,
            width, plan_float_text(plan->settings->latent.off_value).s);
}

unsigned plan_dropout_threshold(double rate) { return (unsigned)lround(rate * 65536.0); }

void plan_emit_dropout(struct plan *plan) {
  const struct layer_list *layers = &plan->settings->network.layers;
  const unsigned threshold = plan_dropout_threshold(plan->settings->network.dropout);
  bool in_list = false;
  for (int i = 0; i < layers->count; ++i) in_list = in_list || layers->items[i].rate > 0;
  if (plan->backward && in_list) plan_emit(plan, "  const bool drop = batch.epoch < args.dropout_epochs;\n");
  if (!plan->backward || threshold == 0) return;
  plan_emit(plan,
            "  const bool drop = batch.epoch < args.dropout_epochs;\n"
            "  const unsigned drop_threshold = drop ? %uu : 0u;\n  const float drop_scale = drop ? %s : 1.0f;\n",
            threshold, plan_float_text(1.0 / (1.0 - threshold / 65536.0)).s);
}

void plan_emit_deltas(struct plan *plan) {
  if (!plan->backward) return;
  plan_emit(plan, "  float *delta = %s, *delta_rows = %s;\n", plan_place_text(plan->delta[0], 0).s,
            plan_place_text(plan->delta_rows[0], 0).s);
  plan_emit(plan, "  float *other = %s, *other_rows = %s;\n", plan_place_text(plan->delta[1], 0).s,
            plan_place_text(plan->delta_rows[1], 0).s);
  if (plan->x_last >= 0) plan_emit(plan, "  bool x_gradient_begun = false;\n");
}

void plan_emit_condition(struct plan *plan) {
  const struct network *network = plan->network;
  if (network->x_width == 0) return;
  if (network->x_width <= X_CHUNK) {
    char width[16];
    snprintf(width, sizeof width, "%d", network->x_width);
    plan_emit_load_x(plan, "args.condition", "0", width, "  ");
    plan_emit(plan, "  __syncthreads();\n");
  }
  plan_emit_forward(plan, 0, plan->x_last);
}

void plan_emit_condition_backward(struct plan *plan, const char *keep) {
  const struct dense_op *op = &plan->network->ops[plan->x_last];
  plan_emit(plan,
            "  for (int n = TILE_OUTPUTS * tile_warp(); n < %d; n += TILE_OUTPUTS * TILE_WARPS) {\n    float "
            "acc[TILE_OUTPUTS] = {};\n",
            plan_round_up8(op->width));
  plan_emit(plan, "    add_tile8(acc, %s, n);\n", plan_place_text(plan->x_gradient, 0).s);
  if (plan_has_slope(op))
    plan_emit(plan, "    multiply_tile8(acc, %s, n);\n", plan_place_text(plan->ops[plan->x_last].at[SLOPE], 0).s);
  if (keep)
    plan_emit(plan, "#pragma unroll\n    for (int j = 0; j < TILE_OUTPUTS; ++j) acc[j] = %s ? acc[j] : 0.0f;\n", keep);
  plan_emit(plan, "    store_delta8<%d>(delta, delta_rows, n, %d, acc);\n  }\n  __syncthreads();\n",
            plan_round_up8(op->width) + 1, op->width);
  plan->again = "again";
  plan_emit_backward(plan, 0, plan->x_last);
}

static void emit_keep_condition(struct plan *plan) {
  plan_emit(plan, "  const bool keep_condition = keeps_condition(args, batch, row, %uu);\n",
            (unsigned)fmin(rint(plan->settings->loss.condition_dropout * 0x1p32), 0xffffffffp0));
}

static noprop_status emit_train(struct plan *plan) {
  const struct network *network = plan->network;
  const struct settings *settings = plan->settings;
  const int output = network->op_count - 1, x_last = plan->x_last;
  const int said = network->mixture ? output - 1 : output; /* what the network itself says */
  const bool backward = plan->backward;
  struct trained_number numbers[SCHEDULE_MAX_ARRAYS];
  const int trained = backward ? trained_numbers(plan, numbers) : 0;
  const bool trains_network = plan_trains_network(plan);
  const bool has_tokens = plan_has_tokens(plan), reads_condition = has_tokens ? network->x_width > 0 : x_last >= 0;
  const bool drops_condition = backward && reads_condition && settings->loss.condition_dropout > 0;
  plan_emit_step_forms(plan);
  plan_emit(plan, "#include \"tile_program.cuh\"\n");
  plan_emit_field_includes(plan);
  plan_emit(plan, "%s%s%s%s\n%s", network->branch_count > 0 || plan->coders.images ? "#include \"features.cuh\"\n" : "",
            trained || (trains_network && backward) ? "#include \"schedule_gradient.cuh\"\n"
            : plan->state                           ? "#include \"state_gradient.cuh\"\n"
                                                    : "",
            drops_condition ? "#include \"condition_dropout.cuh\"\n" : "",
            plan->coders.encoder || plan_has_coder_terms(plan) ? "#include \"coders.cuh\"\n" : "", PLAN_EXCHANGE);
  if (network->mixture) plan_emit(plan, "#include \"class_mixture.cuh\"\n\n");
  if (trains_network) plan_emit(plan, "#include \"schedule_network.cuh\"\n\n");
  const bool trains_ends = backward && plan_trains_ends(plan);
  if (trains_ends) plan_emit(plan, "#include \"schedule_ends.cuh\"\n\n");
  plan_emit_tokens_includes(plan);
  plan_emit_step_head(plan);
  plan_emit(plan, "  extern __shared__ float4 tile_memory[];\n  float *const shared = (float *)tile_memory;\n");
  if (plan->workspace_floats)
    plan_emit(plan, "  float *const workspace = args.workspace + blockIdx.x * args.workspace_stride;\n");
  if (backward) plan_emit(plan, "  float *const slot = args.slots + blockIdx.x * args.slot_stride;\n");
  plan_emit(plan, "  const float *const P = args.parameters;\n");
  const noprop_status status = plan_emit_descriptions(plan);
  if (status != NOPROP_OK) return status;
  plan_emit(plan, "  const batch_rows batch = batch_begin(args);\n");
  plan_emit_dropout(plan);
  plan_emit(plan, "  float weight_scale = objective.weight_scale;\n");
  plan_emit(
      plan,
      "  if (objective.batch_normalised) weight_scale = batch_weight_scale(objective, schedule, args, batch, %s);\n",
      plan_place_text(plan->scratch, 0).s);
  if (settings->loss.normalize == NORMALIZE_PRODUCT) plan_emit(plan, "  weight_scale = 1.0f / weight_scale - 1e-8f;\n");
  plan_emit(plan, "  row_terms sums = {0.0f, 0.0f, 0.0f};\n");
  plan_emit_coders_begin(plan);
  plan_emit_schedule_begin(plan);
  plan_emit_field_begin(plan);
  plan_emit_tokens_begin(plan);
  if (trained) plan_emit(plan, "  float schedule_sums[%d] = {};\n", trained);
  if (trains_ends) plan_emit(plan, "  end_slopes end_sums = {0.0f, 0.0f};\n");
  plan_emit(plan, "  const unsigned first_tile = blockIdx.x * args.tiles_per_slot;\n");
  plan_emit(plan,
            "  const unsigned last_tile = min(first_tile + args.tiles_per_slot, (batch.count + TILE_ROWS - 1) / "
            "TILE_ROWS);\n");
  plan_emit_norms_begin(plan);
  plan_emit(plan, "#pragma unroll 1\n  for (unsigned tile = first_tile; tile < last_tile; ++tile) {\n");
  if (backward) plan_emit(plan, "  const bool again = tile != first_tile;\n");
  plan_emit(plan, "  const tile_row row = tile_row_of(args, batch, tile);\n");
  plan_emit(plan, "  const float share = row.live ? 1.0f / ((float)batch.total * objective.draws) : 0.0f;\n");
  plan_emit_load_target(plan, plan->coders.y);
  if (drops_condition && has_tokens) emit_keep_condition(plan);
  plan_emit_tokens_condition(plan, "row.data", drops_condition ? "keep_condition" : "true");
  if (network->x_width && !has_tokens) {
    plan_emit_condition(plan);
    if (drops_condition) {
      emit_keep_condition(plan);
      plan_emit(plan, "  drop_condition<%d>(%s, keep_condition);\n  __syncthreads();\n", network->ops[x_last].width,
                plan_place_text(plan->ops[x_last].at[POST], 0).s);
    }
  }
  plan_emit_encode(plan);
  plan_emit_deltas(plan);
  const bool end_pass = plan_has_end_pass(settings);
  plan_emit(plan, "#pragma unroll 1\n  for (unsigned draw = 0; draw < objective.draws%s; ++draw) {\n",
            end_pass ? " + 1" : "");
  plan_emit_norms_draw(plan);
  plan_emit(plan, "  const time_draw drawn = draw_time(objective, schedule, args, batch, row, draw);\n");
  if (end_pass)
    plan_emit(plan,
              "  const bool at_end = draw == objective.draws;\n"
              "  const float t = at_end ? 1.0f - objective.time_margin : drawn.t;\n"
              "  path_point point = path_at(objective, schedule, t);\n");
  else if (trains_network)
    plan_emit(plan, "  const float t = drawn.t;\n");
  else
    plan_emit(plan, "  const float t = drawn.t;\n  path_point point = path_at(objective, schedule, t);\n");
  if (trains_network) plan_emit_schedule_point(plan);
  plan_emit(plan, "  point.factor = drawn.factor;\n");
  plan_emit(plan, "  make_state<%d>(%s, ", plan->d, plan_place_text(plan->z, 0).s);
  plan_emit(plan, "%s, %s, point, args, batch, %s, draw);\n", plan_place_text(plan->noise, 0).s,
            plan_place_text(plan->z1, 0).s, plan_noise_row(settings, false).s);
  if (network->time_width)
    plan_emit(plan, "  time_tile<%d, %d>(%s, args.frequencies, t);\n", network->time_kind, network->time_width,
              plan_place_text(plan->time, 0).s);
  plan_emit(plan, "  __syncthreads();\n");
  plan_emit_forward(plan, x_last + 1, said);
  if (network->mixture) {
    if (end_pass) plan_emit(plan, "  if (!at_end) {\n");
    plan_emit_forward(plan, output, output);
    if (end_pass) plan_emit(plan, "  }\n");
  }
  if (plan->state) {
    if (end_pass && network->mixture)
      plan_emit(plan, "  if (at_end) clear_state_gradient<%d>(%s);\n  else\n", plan->d8,
                plan_place_text(plan->state_gradient, 0).s);
    plan_emit(plan, "  begin_state_gradient<%d, %d>(objective, point, ", plan->d, plan->d8);
    plan_emit(plan, "%s, share, %s, ", plan_weight_text(plan).s, plan_place_text(plan->ops[output].at[POST], 0).s);
    plan_emit(plan, "%s, %s, ", plan_place_text(plan->z, 0).s, plan_place_text(plan->z1, 0).s);
    plan_emit(plan, "%s, %s, ", plan_place_text(plan->noise, 0).s, plan_place_text(plan->state_gradient, 0).s);
    plan_emit(plan, "%s, draw != 0);\n", plan_place_text(plan->target_gradient, 0).s);
  }
  plan_emit_decode_terms(plan, output);
  if (end_pass) {
    const int classes = network->ops[said].width, classes8 = plan_round_up8(classes);
    plan_emit(plan, "  const row_terms terms = at_end ? end_terms<%d, %d, %d, %s>(objective, share, ", classes,
              classes8, classes8 + 1, backward ? "true" : "false");
    plan_emit(plan, "%s, %s, %s) : objective_terms<", plan_place_text(plan->ops[said].at[POST], 0).s,
              plan_place_text(plan->coders.y, 0).s, backward ? "delta, delta_rows" : "nullptr, nullptr");
  } else {
    plan_emit(plan, "  const row_terms terms = objective_terms<");
  }
  plan_emit(plan, "%d, %d, %d, %s>(\n      objective, point, ", plan->d, plan->d8, plan->d8 + 1,
            backward ? "true" : "false");
  plan_emit(plan, "%s, share, %s, ", plan_weight_text(plan).s, plan_place_text(plan->ops[output].at[POST], 0).s);
  plan_emit(plan, "%s, %s, ", plan_place_text(plan->z, 0).s, plan_place_text(plan->z1, 0).s);
  plan_emit(plan, "%s, %s);\n", plan_place_text(plan->noise, 0).s, backward ? "delta, delta_rows" : "nullptr, nullptr");
  plan_emit_coder_output_gradient(plan);
  plan_emit(plan, "%s", plan_in_last_pass(plan));
  plan_emit(plan, "  collect_terms(sums, terms, objective, row, share, draw, %s, args.out_row_loss);\n",
            plan_place_text(plan->scratch, 0).s);
  if (plan_has_coder_terms(plan)) plan_emit(plan, "%s", plan_in_last_pass(plan));
  plan_emit_collect_coders(plan);
  if (plan_has_norm_passes(plan)) plan_emit(plan, "  __syncthreads();\n"); /* collect_terms has one */
  plan_emit(plan, "  if (draw == 0) {\n    write_rows<%d>(args.out_prediction, %s, row.local, row.live);\n", plan->d,
            plan_place_text(plan->ops[output].at[POST], 0).s);
  plan_emit(plan, "    write_rows<%d>(args.out_z, %s, row.local, row.live);\n  }\n", plan->d,
            plan_place_text(plan->z, 0).s);
  plan->again = "again || draw";
  if (backward && network->mixture) {
    if (end_pass) plan_emit(plan, "  if (!at_end) {\n");
    plan_emit_backward(plan, output, output);
    if (end_pass) plan_emit(plan, "  }\n");
  }
  if (backward)
    plan_emit_backward(plan, x_last + 1, said);
  else
    plan_emit(plan, "  __syncthreads();\n");
  if (plan->state) {
    plan_emit(plan, "  finish_state_gradient<%d>(point, args, row, draw, %s, ", plan->d,
              plan_place_text(plan->state_gradient, 0).s);
    plan_emit(plan, "%s);\n", plan_place_text(plan->target_gradient, 0).s);
    if (trained || trains_network) emit_schedule_gradient(plan, output);
  }
  plan_emit(plan, "  }\n"); /* draws */
  plan_emit_norms_row_end(plan);
  if (backward && x_last >= 0) plan_emit_condition_backward(plan, drops_condition ? "keep_condition" : NULL);
  if (backward) plan_emit_tokens_condition_backward(plan);
  plan_emit_encoder_backward(plan);
  plan_emit(plan, "  }\n"); /* tiles */
  plan_emit_norms_end(plan);
  for (int i = 0; i < trained; ++i) {
    plan_emit(plan, "  write_schedule_gradient(slot + %ld, schedule_sums[%d], ", numbers[i].place, i);
    if (numbers[i].softplus)
      plan_emit(plan, "schedule_sigmoid(P[%ld]));\n", numbers[i].place);
    else
      plan_emit(plan, "1.0f);\n");
  }
  if (trains_ends) {
    const long first = plan_schedule_place(plan, "gamma_first"), span = plan_schedule_place(plan, "gamma_span");
    plan_emit(plan, "  write_schedule_gradient(slot + %ld, end_sums.first + end_sums.last, 1.0f);\n", first);
    plan_emit(plan, "  write_schedule_gradient(slot + %ld, end_sums.last, schedule_sigmoid(P[%ld]));\n", span, span);
  }
  plan_emit_schedule_end(plan);
  plan_emit_field_end(plan);
  plan_emit(plan, "  finish_slot(args, objective, sums, %ldu, first_tile >= last_tile);\n",
            backward ? network->padded_floats : 0L);
  plan_emit_coders_end(plan);
  plan_emit(plan, "}\n");
  plan_emit_step_end(plan);
  return NOPROP_OK;
}

/* ---- public ---- */

noprop_status plan_unplaced(const struct plan *plan) {
  if (plan->no_derivative)
    return status_set(
        NOPROP_UNSUPPORTED,
        "network.layers: layers of type source have vector-Jacobian products, and log densities need their "
        "derivatives along directions; allowed: networks without such layers");
  if (plan->field)
    return status_set(
        NOPROP_UNSUPPORTED,
        "network.hidden: %d layers of network.type %s with network.wrapper %s have too many derivatives for "
        "one kernel; fewer layers are allowed",
        plan->settings->network.hidden_count, NETWORK_NAMES[plan->settings->network.type].name,
        WRAPPER_NAMES[plan->settings->network.wrapper].name);
  return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the plan of a kernel");
}

noprop_status plan_finish(struct plan *plan, char **text, noprop_status status, const char *entry,
                          struct program *program) {
  plan_free_field(plan);
  if (fclose(plan->out) != 0 && status == NOPROP_OK)
    status = status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  if (status != NOPROP_OK) {
    free(*text);
    return status;
  }
  *program = (struct program){.source = *text,
                              .entry = entry,
                              .shared_bytes = (unsigned)(plan->shared_floats * (long)sizeof(float)),
                              .workspace_floats = (size_t)plan->workspace_floats,
                              .cooperative = plan_has_norm_passes(plan),
                              .tier = plan->workspace_floats > plan->norm_floats ? "spilling" : "resident",
                              .block_rows = plan->tile.rows};
  return NOPROP_OK;
}

noprop_status program_train(const struct network *network, const struct settings *settings,
                            const noprop_model_shape *shape, size_t shared_limit, enum objective_program kind,
                            const struct tile_form *tile, struct program *program) {
  const bool backward = kind != OBJECTIVE_LOSS;
  if (settings->variant == VARIANT_DT)
    return program_train_blocks(network, settings, shape, shared_limit, backward, tile, program);
  struct plan plan = {.network = network,
                      .tile = *tile,
                      .settings = settings,
                      .shape = shape,
                      .shared_limit = shared_limit,
                      .backward = backward,
                      .steps = kind == OBJECTIVE_TRAIN_STEPS,
                      .features = "args.features",
                      .feature_gradients = "args.feature_gradients",
                      .state = kind == OBJECTIVE_TRAIN_STATE ||
                               (backward && (settings->schedule.learnable || network->encoder_count > 0))};
  char *text = NULL;
  size_t size = 0;
  plan.out = open_memstream(&text, &size);
  if (!plan.out) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  const bool placed = plan_place_arrays(&plan);
  return plan_finish(&plan, &text, placed ? emit_train(&plan) : plan_unplaced(&plan),
                     plan.steps ? "train_steps"
                     : backward ? "train"
                                : "loss",
                     program);
}

void program_destroy(struct program *program) {
  free(program->source);
  memset(program, 0, sizeof *program);
}
