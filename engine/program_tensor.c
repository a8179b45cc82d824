/* Code generation for tensor cores: a warp carries its rows through the network in registers (kernels/warp_tile.cuh),
 * in one of the precisions of kernels/warp_operands.cuh.
 *
 * Arrays of the kernel's text are the network's: h3 is what op 3 hands on, `stream` the residual stream. What stays the
 * same during a solve (bias and condition of a layer) is kept in shared memory, or in the block's workspace where that
 * would leave room for one block only. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/program_plan.h"
#include "engine/status.h"

/* Widest with two row blocks a warp; of tf32x3, whose factors take twice the registers while they are used. */
enum {
  WIDEST_OF_TWO = 64,
  WIDEST_PAIRS_OF_TWO = 32,
  WIDEST_STATE_OF_TWO = 16,
  KEPT_IN_SHARED = 10 * 1024 /* floats a block */
};

static int groups_of(int width) { return plan_round_up8(width) / 8; }

/* What the kernel's text begins with: its precision and row blocks, named once. */
static void emit_forms(struct plan *plan, int blocks) {
  plan_emit(plan,
            "enum { FORM = %d, BLOCKS = %d };\ntemplate <int N>\nusing operands = warp_operands<FORM, N, BLOCKS>;\n\n",
            plan->form, blocks);
}

static bool is_hoisted(const struct plan *plan, const struct dense_op *op, const struct op_input *input) {
  return input->kind == INPUT_TIME || (input->kind == INPUT_OP && input->op == plan->x_last && !op->x_branch);
}

static bool reads_condition(const struct plan *plan, const struct dense_op *op) {
  for (int k = 0; k < op->input_count; ++k)
    if (op->inputs[k].kind == INPUT_OP && op->inputs[k].op == plan->x_last && !op->x_branch) return true;
  return false;
}

static int row_blocks(const struct network *network, unsigned warp_rows) {
  const int widest = network->operand_form == OPERANDS_TF32X3 ? WIDEST_PAIRS_OF_TWO : WIDEST_OF_TWO;
  return warp_rows == 32 && network_widest(network) <= widest && network->latent <= WIDEST_STATE_OF_TWO ? 2 : 1;
}

static void place_arrays(struct plan *plan, int blocks) {
  const struct network *network = plan->network;
  long time_parts = 0, kept = 0;
  plan->d = network->latent;
  plan->d8 = plan_round_up8(plan->d);
  plan->x_last = -1;
  for (int i = 0; i < network->op_count; ++i)
    if (network->ops[i].x_branch) plan->x_last = i;
  plan->time = plan_allocate(plan, network->time_width);
  for (int i = 0; i < network->op_count; ++i) {
    const struct dense_op *op = &network->ops[i];
    struct op_places *places = &plan->ops[i];
    for (int field = 0; field < FIELDS; ++field) places->at[field] = NOWHERE;
    if (op->bias >= 0) places->at[BIAS] = (struct place){false, network->parameters[op->bias].padded_offset};
    for (int k = 0; k < op->input_count; ++k) {
      const struct parameter_entry *weight = &network->parameters[op->inputs[k].weight];
      places->at[WEIGHT + k] =
          (struct place){false, op->inputs[k].kind == INPUT_TIME ? weight->padded_offset : weight->fragment_offset};
    }
    if (plan_reads_time(op)) {
      places->at[TIME_PART] = (struct place){false, time_parts};
      time_parts += plan_round_up8(op->width);
    }
    if (reads_condition(plan, op)) {
      places->at[CONDITION] = (struct place){false, kept};
      kept += (long)groups_of(op->width) * blocks * 128;
    }
  }
  plan->time_parts = plan_allocate(plan, time_parts);
  /* plan->x: where the warps' kept parts begin; each has `kept` floats. */
  plan->shared_limit = kept * TILE_WARPS <= KEPT_IN_SHARED ? (size_t)-1 : 0;
  plan->x = kept > 0 ? plan_allocate(plan, kept * TILE_WARPS) : NOWHERE;
  if (kept > 0) plan_emit(plan, "  float *const kept = %s + tile_warp() * %ld;\n", plan_place_text(plan->x, 0).s, kept);
}

/* The layer's sum, from what is known (`known`: the array with the kept part of the condition) to all its inputs.
 * `chain`: the array of the op before. */
static void emit_sum(struct plan *plan, int index, const long *step, int blocks, const char *chain) {
  const struct network *network = plan->network;
  const struct dense_op *op = &network->ops[index];
  const int groups = groups_of(op->width);
  plan_emit(plan, "  // %s\n  float a%d[%d][%d][4];\n", network->parameters[op->inputs[0].weight].name, index, groups,
            blocks);
  if (plan->ops[index].at[CONDITION].offset >= 0) {
    plan_emit(plan, "  warp_recall(a%d, kept + %s);\n", index, plan_offset_text(plan, index, CONDITION, step).s);
  } else {
    plan_emit(plan, "  warp_zero(a%d);\n", index);
    if (op->bias >= 0)
      plan_emit(plan, "  warp_add_features(a%d, P + %s);\n", index, plan_offset_text(plan, index, BIAS, step).s);
  }
  if (plan->ops[index].at[TIME_PART].offset >= 0)
    plan_emit(plan, "  warp_add_features(a%d, %s + %s);\n", index, plan_place_text(plan->time_parts, 0).s,
              plan_offset_text(plan, index, TIME_PART, step).s);
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    if (is_hoisted(plan, op, input)) continue;
    if (input->kind == INPUT_X)
      plan_emit(plan,
                "  warp_dense_condition<FORM, %d, %d>(a%d, args.condition, rows, args.condition_scale, "
                "args.condition_shift, F + %s);\n",
                plan_row_kind(plan->shape->condition_type, plan->shape->condition_is_label), network->x_width, index,
                plan_offset_text(plan, index, WEIGHT + k, step).s);
    else
      plan_emit(plan, "  warp_dense(a%d, %s, F + %s);\n", index, input->kind == INPUT_Z ? "state" : chain,
                plan_offset_text(plan, index, WEIGHT + k, step).s);
  }
}

static void emit_op(struct plan *plan, int index, const long *step, int blocks, const char *chain) {
  const struct dense_op *op = &plan->network->ops[index];
  emit_sum(plan, index, step, blocks, chain);
  if (op->residual >= 0) plan_emit(plan, "  warp_add(a%d, stream);\n", index);
  if (plan_carries_stream(plan, index)) plan_emit(plan, "  warp_copy(stream, a%d);\n", index);
  if (index == plan->network->op_count - 1) return; /* the output: linear, not an operand */
  plan_emit(plan, "  operands<%d> h%d;\n  warp_activate<%d>(h%d, a%d);\n", groups_of(op->width), index, op->activation,
            index, index);
}

static void emit_forward(struct plan *plan, int first, int last, int blocks) {
  char chain[24] = "";
  for (int i = first; i <= last;) {
    const struct run run = plan_longest_run(plan, i, last);
    const int next = i + run.period * run.count;
    if (run.count > 1) {
      const int end = i + run.period - 1, groups = groups_of(plan->network->ops[end].width);
      plan_emit(plan, "  operands<%d> r%d = %s;\n", groups, i, chain);
      snprintf(chain, sizeof chain, "r%d", i);
      plan_emit(plan, "#pragma unroll 1\n  for (int l = 0; l < %d; ++l) {\n", run.count);
    }
    char inner[24];
    snprintf(inner, sizeof inner, "%s", chain);
    for (int q = 0; q < run.period; ++q) {
      emit_op(plan, i + q, run.step[q], blocks, inner);
      snprintf(inner, sizeof inner, "h%d", i + q);
    }
    if (run.count > 1)
      plan_emit(plan, "  %s = %s;\n  }\n", chain, inner);
    else
      snprintf(chain, sizeof chain, "%s", inner);
    i = next;
  }
  /* The branch of the condition ends in one name. */
  if (last == plan->x_last) plan_emit(plan, "  auto &x_features = %s;\n", chain);
}

/* The parts of layers that do not change during a solve: bias plus condition, once per row. */
static void emit_conditions(struct plan *plan, int blocks) {
  const struct network *network = plan->network;
  for (int i = plan->x_last + 1; i < network->op_count; ++i) {
    const struct dense_op *op = &network->ops[i];
    if (plan->ops[i].at[CONDITION].offset < 0) continue;
    plan_emit(plan, "  {\n  float a[%d][%d][4];\n  warp_zero(a);\n", groups_of(op->width), blocks);
    if (op->bias >= 0) plan_emit(plan, "  warp_add_features(a, P + %ld);\n", plan->ops[i].at[BIAS].offset);
    for (int k = 0; k < op->input_count; ++k)
      if (op->inputs[k].kind == INPUT_OP && op->inputs[k].op == plan->x_last)
        plan_emit(plan, "  warp_dense(a, x_features, F + %ld);\n", plan->ops[i].at[WEIGHT + k].offset);
    plan_emit(plan, "  warp_keep(kept + %ld, a);\n  }\n", plan->ops[i].at[CONDITION].offset);
  }
}

static noprop_status emit_solve(struct plan *plan, int method, int drift, bool final_denoise, int blocks) {
  const struct network *network = plan->network;
  const int solver = method - METHOD_EULER, output = network->op_count - 1, groups = groups_of(network->latent);
  const bool exponential = method == METHOD_EXPONENTIAL || method == METHOD_DPM2M;
  bool stream = false;
  for (int i = 0; i < network->op_count; ++i) stream = stream || network->ops[i].residual >= 0;
  const noprop_status status = plan_emit_descriptions(plan);
  if (status != NOPROP_OK) return status;
  plan_emit(plan,
            "  const warp_row_numbers<%d> rows = warp_rows_at<%d>((blockIdx.x * TILE_WARPS + tile_warp()) * %d, "
            "args.rows);\n",
            blocks, blocks, 16 * blocks);
  if (network->x_width) {
    plan_emit(plan, "  {\n");
    emit_forward(plan, 0, plan->x_last, blocks);
    emit_conditions(plan, blocks);
    plan_emit(plan, "  }\n");
  }
  plan_emit(plan, "  float z[%d][%d][4], input[%d][%d][4], sum[%d][%d][4], previous[%d][%d][4];\n", groups, blocks,
            groups, blocks, groups, blocks, groups, blocks);
  if (stream)
    plan_emit(plan, "  float stream[%d][%d][4];\n", groups_of(network->ops[network->op_count - 2].width), blocks);
  plan_emit(plan,
            "  warp_start<%d>(z, args, rows);\n  warp_copy(input, z);\n  warp_zero(sum);\n  warp_zero(previous);\n",
            plan->d);
  plan_emit(plan, "  if (args.trajectory) warp_write<%d>(args, z, rows, 0);\n", plan->d);
  plan_emit(plan, "  const float least = objective.time_margin, most = 1.0f - objective.time_margin;\n");
  plan_emit(plan, "  exponential_step jump = {};\n");
  if (exponential) plan_emit(plan, "  float last_width = 1.0f;\n");
  plan_emit(plan, "#pragma unroll 1\n  for (unsigned step = 0; step < args.steps%s; ++step) {\n",
            final_denoise ? " + 1" : "");
  plan_emit(plan, "  const bool denoise = step == args.steps;\n");
  plan_emit(plan, "  const float t0 = args.times[step], t1 = denoise ? t0 : args.times[step + 1];\n");
  if (exponential)
    plan_emit(plan, "  if (!denoise) jump = exponential_step_at(objective, schedule, t0, t1, step, last_width);\n");
  plan_emit(plan, "#pragma unroll 1\n  for (int stage = 0; stage < (denoise ? 1 : solver_stages(%d)); ++stage) {\n",
            solver);
  plan_emit(plan, "  const float t = fminf(fmaxf(solver_stage_time<%d>(t0, t1, stage), least), most);\n", solver);
  plan_emit(plan, "  const prediction_form form = form_at(objective, path_at(objective, schedule, t), %d);\n",
            drift == DRIFT_OU_MEAN ? 1 : 0);
  plan_emit(plan, "  __syncthreads();\n");
  plan_emit_time_parts(plan);
  plan_emit(plan, "  __syncthreads();\n");
  plan_emit(plan, "  operands<%d> state;\n  warp_pack(state, %s);\n", groups, plan->stages ? "input" : "z");
  emit_forward(plan, plan->x_last + 1, output, blocks);
  plan_emit(plan,
            "  warp_solver_update<%d, %d>(objective, form, jump, t1 - t0, stage, denoise, a%d, z, input, sum, "
            "previous);\n  }\n",
            solver, plan->d, output);
  plan_emit(plan, "  if (args.trajectory) warp_write<%d>(args, z, rows, denoise ? args.steps : step + 1);\n  }\n",
            plan->d);
  plan_emit(plan, "  if (!args.trajectory) warp_write<%d>(args, z, rows, 0);\n}\n", plan->d);
  return NOPROP_OK;
}

/* ---- training ---- */

enum { TRAIN_BLOCKS = 1, TRAIN_ROWS = 16 * TRAIN_BLOCKS * TILE_WARPS, WIDEST_CONDITION = 64 };

/* Floats of an array of factors of a warp's rows kept by rows, of slopes, and of such arrays of the block. */
static long warp_floats(const struct plan *plan, int width) {
  const int groups = groups_of(width), steps = plan->form == OPERANDS_BF16 ? (groups + 1) / 2 : groups;
  return (long)steps * TRAIN_BLOCKS * 32 * 4;
}

static long warp_slopes(const struct plan *plan, int width) {
  return (long)groups_of(width) * TRAIN_BLOCKS * 32 * (plan->form == OPERANDS_TF32X3 ? 4 : 2);
}

static long kept_floats(const struct plan *plan, int field, int width) {
  return TILE_WARPS * (field == SLOPE ? warp_slopes(plan, width) : warp_floats(plan, width));
}

/* What the backward pass needs of all ops of one branch: in one memory, so that equal layers stay a loop. */
static void allocate_kept(struct plan *plan, int field, bool x_branch) {
  const struct network *network = plan->network;
  long floats = 0;
  for (int i = 0; i < network->op_count - 1; ++i)
    if (network->ops[i].x_branch == x_branch && (field == POST || plan_has_slope(&network->ops[i])))
      floats += kept_floats(plan, field, network->ops[i].width);
  struct place place = plan_allocate(plan, floats);
  for (int i = 0; i < network->op_count - 1; ++i) {
    if (network->ops[i].x_branch != x_branch || (field == SLOPE && !plan_has_slope(&network->ops[i]))) continue;
    plan->ops[i].at[field] = place;
    place.offset += kept_floats(plan, field, network->ops[i].width);
  }
}

static void place_training(struct plan *plan) {
  const struct network *network = plan->network;
  plan->d = network->latent;
  plan->d8 = plan_round_up8(plan->d);
  plan->x_last = -1;
  for (int i = 0; i < network->op_count; ++i) {
    if (network->ops[i].x_branch) plan->x_last = i;
    if (plan_round_up8(network->ops[i].width) > plan->widest) plan->widest = plan_round_up8(network->ops[i].width);
    for (int field = 0; field < FIELDS; ++field) plan->ops[i].at[field] = NOWHERE;
  }
  plan->scratch = plan_allocate(plan, TILE_THREADS);
  plan->stream = plan_allocate(plan, TRAIN_ROWS); /* data rows of the block */
  for (int i = 0; i < 2; ++i) plan->delta[i] = plan_allocate(plan, kept_floats(plan, POST, plan->widest));
  plan->z = plan_allocate(plan, kept_floats(plan, POST, plan->d));
  plan->time = network->time_width ? plan_allocate(plan, kept_floats(plan, POST, network->time_width)) : NOWHERE;
  plan->x = network->x_width && network->x_width <= WIDEST_CONDITION
                ? plan_allocate(plan, kept_floats(plan, POST, network->x_width))
                : NOWHERE;
  allocate_kept(plan, POST, false);
  allocate_kept(plan, SLOPE, false);
  allocate_kept(plan, POST, true);
  allocate_kept(plan, SLOPE, true);
  for (int i = 0; i < network->op_count; ++i) {
    const struct dense_op *op = &network->ops[i];
    struct op_places *places = &plan->ops[i];
    if (op->bias >= 0) places->at[BIAS] = (struct place){false, network->parameters[op->bias].padded_offset};
    for (int k = 0; k < op->input_count; ++k) {
      const struct op_input *input = &op->inputs[k];
      places->at[WEIGHT + k] = (struct place){false, network->parameters[input->weight].padded_offset};
      places->at[FRAGMENT + k] = (struct place){false, network->parameters[input->weight].fragment_offset};
      places->at[TRANSPOSE + k] = (struct place){false, network->parameters[input->weight].transpose_offset};
      places->at[INPUT + k] = input->kind == INPUT_OP     ? plan->ops[input->op].at[POST]
                              : input->kind == INPUT_Z    ? plan->z
                              : input->kind == INPUT_TIME ? plan->time
                                                          : plan->x;
    }
  }
}

/* "(shared + 96 + l * 4096) + tile_warp() * 512": the warp's part of an array of the block. */
static struct text warp_part(struct place place, long step, long floats) {
  struct text text;
  snprintf(text.s, sizeof text.s, "(%s) + tile_warp() * %ld", plan_place_text(place, step).s, floats);
  return text;
}

/* Name of the array that an op's input is in the forward pass. */
static const char *input_name(const struct plan *plan, const struct dense_op *op, const struct op_input *input,
                              const char *chain) {
  if (input->kind == INPUT_Z) return "state";
  if (input->kind == INPUT_TIME) return "time";
  if (input->kind == INPUT_X) return "x";
  return input->op == plan->x_last && !op->x_branch ? "x_features" : chain;
}

static void emit_train_op(struct plan *plan, int index, const struct run *run, const long *step, const char *chain) {
  const struct network *network = plan->network;
  const struct dense_op *op = &network->ops[index];
  const int groups = groups_of(op->width);
  const struct op_places *places = &plan->ops[index];
  plan_emit(plan, "  // %s\n  float a%d[%d][%d][4];\n  warp_zero(a%d);\n",
            network->parameters[op->inputs[0].weight].name, index, groups, TRAIN_BLOCKS, index);
  if (op->bias >= 0)
    plan_emit(plan, "  warp_add_features(a%d, P + %s);\n", index, plan_offset_text(plan, index, BIAS, step).s);
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    const struct text fragments = plan_offset_text(plan, index, FRAGMENT + k, step);
    if (input->kind == INPUT_X && network->x_width > WIDEST_CONDITION)
      plan_emit(plan,
                "  warp_dense_condition<FORM, %d, %d>(a%d, args.condition, rows.data, args.condition_scale, "
                "args.condition_shift, F + %s);\n",
                plan_row_kind(plan->shape->condition_type, plan->shape->condition_is_label), network->x_width, index,
                fragments.s);
    else
      plan_emit(plan, "  warp_dense(a%d, %s, F + %s);\n", index, input_name(plan, op, input, chain), fragments.s);
  }
  if (op->residual >= 0) plan_emit(plan, "  warp_add(a%d, stream);\n", index);
  if (plan_carries_stream(plan, index)) plan_emit(plan, "  warp_copy(stream, a%d);\n", index);
  if (index == network->op_count - 1) return;
  plan_emit(plan, "  operands<%d> h%d;\n", groups, index);
  if (plan_has_slope(op)) {
    plan_emit(plan, "  {\n  warp_slopes<FORM, %d, BLOCKS> slope;\n  warp_finish<%d, %s>(h%d, slope, a%d, rows, ",
              groups, op->activation, op->dropout ? "true" : "false", index, index);
    if (op->dropout)
      plan_emit(plan, "drop_threshold, drop_scale, args.seed, philox_stream(STREAM_DROPOUT, %d%s, %s), batch.step);\n",
                index, run->count > 1 ? (run->period == 2 ? " + 2 * l" : " + l") : "", op->x_branch ? "0" : "draw");
    else
      plan_emit(plan, "0u, 1.0f, 0ull, 0u, 0u);\n");
    plan_emit(plan, "  warp_keep_slopes(%s, slope);\n  }\n",
              warp_part(places->at[SLOPE], step[SLOPE], warp_slopes(plan, op->width)).s);
  } else {
    plan_emit(plan, "  warp_pack(h%d, a%d);\n", index, index);
  }
  plan_emit(plan, "  warp_keep_rows(%s, h%d);\n",
            warp_part(places->at[POST], step[POST], warp_floats(plan, op->width)).s, index);
}

static void emit_train_forward(struct plan *plan, int first, int last) {
  char chain[24] = "";
  for (int i = first; i <= last;) {
    const struct run run = plan_longest_run(plan, i, last);
    if (run.count > 1) {
      plan_emit(plan, "  operands<%d> r%d = %s;\n", groups_of(plan->network->ops[i + run.period - 1].width), i, chain);
      snprintf(chain, sizeof chain, "r%d", i);
      plan_emit(plan, "#pragma unroll 1\n  for (int l = 0; l < %d; ++l) {\n", run.count);
    }
    char inner[24];
    snprintf(inner, sizeof inner, "%s", chain);
    for (int q = 0; q < run.period; ++q) {
      emit_train_op(plan, i + q, &run, run.step[q], inner);
      snprintf(inner, sizeof inner, "h%d", i + q);
    }
    if (run.count > 1)
      plan_emit(plan, "  %s = %s;\n  }\n", chain, inner);
    else
      snprintf(chain, sizeof chain, "%s", inner);
    i += run.period * run.count;
  }
  if (last == plan->x_last) plan_emit(plan, "  auto &x_features = %s;\n", chain);
}

/* One layer backward: array `from` is the gradient of its sum; `to` (written here) that of the layer before it. */
static void emit_train_backward_op(struct plan *plan, int index, const long *step, const char *from, char *to,
                                   size_t to_size) {
  const struct network *network = plan->network;
  const struct dense_op *op = &network->ops[index];
  const int groups = groups_of(op->width);
  const char *again = op->x_branch ? "again" : "again || draw";
  plan_emit(plan, "  // %s, backward\n  warp_keep_rows(delta + tile_warp() * %ld, %s);\n  __syncthreads();\n",
            network->parameters[op->inputs[0].weight].name, warp_floats(plan, op->width), from);
  if (op->bias >= 0)
    plan_emit(plan, "  block_bias_gradient<FORM, %d, BLOCKS>(slot + %s, delta, %s);\n", groups,
              plan_offset_text(plan, index, BIAS, step).s, again);
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    const struct text weight = plan_offset_text(plan, index, WEIGHT + k, step);
    if (input->kind == INPUT_X && network->x_width > WIDEST_CONDITION)
      plan_emit(plan,
                "  block_condition_gradient<FORM, %d, %d, %d, BLOCKS>(slot + %s, args.condition, numbers, "
                "args.condition_scale, args.condition_shift, delta, %s);\n",
                plan_row_kind(plan->shape->condition_type, plan->shape->condition_is_label), network->x_width, groups,
                weight.s, again);
    else
      plan_emit(plan, "  block_weight_gradient<FORM, %d, %d, BLOCKS>(slot + %s, %d, %s, delta, %s);\n",
                groups_of(input->width), groups, weight.s, input->width,
                plan_place_text(plan->ops[index].at[INPUT + k], step[INPUT + k]).s, again);
  }
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    if (input->kind != INPUT_OP) continue;
    const int inputs = groups_of(input->width);
    const struct dense_op *before = &network->ops[input->op];
    const struct text transpose = plan_offset_text(plan, index, TRANSPOSE + k, step);
    if (input->op == plan->x_last && !op->x_branch) {
      plan_emit(plan, "  warp_dense(x_gradient, %s, F + %s);\n", from, transpose.s);
      continue;
    }
    snprintf(to, to_size, "d%d", index);
    plan_emit(plan,
              "  operands<%d> d%d;\n  {\n  float s[%d][BLOCKS][4];\n  warp_zero(s);\n  warp_dense(s, %s, F + %s);\n",
              inputs, index, inputs, from, transpose.s);
    if (plan_has_slope(before))
      plan_emit(plan, "  warp_multiply_slopes<FORM>(s, %s);\n",
                warp_part(plan->ops[input->op].at[SLOPE], step[INPUT + k], warp_slopes(plan, input->width)).s);
    if (plan_feeds_residual(plan, input->op)) plan_emit(plan, "  warp_add(s, stream);\n");
    if (before->residual >= 0) plan_emit(plan, "  warp_copy(stream, s);\n");
    plan_emit(plan, "  warp_pack(d%d, s);\n  }\n", index);
  }
  plan_emit(plan, "  exchange(delta, other);\n");
}

static void emit_train_backward(struct plan *plan, int first, int last, const char *start) {
  struct run runs[NETWORK_MAX_OPS];
  char from[24];
  int count = 0;
  snprintf(from, sizeof from, "%s", start);
  for (int i = first; i <= last; i += runs[count - 1].period * runs[count - 1].count)
    runs[count++] = plan_longest_run(plan, i, last);
  while (count-- > 0) {
    const struct run *run = &runs[count];
    char inner[24], carried[24];
    snprintf(inner, sizeof inner, "%s", from);
    if (run->count > 1) {
      snprintf(carried, sizeof carried, "b%d", run->first);
      snprintf(inner, sizeof inner, "%s", carried);
      plan_emit(plan, "  operands<%d> %s = %s;\n", groups_of(plan->network->ops[run->first + run->period - 1].width),
                carried, from);
      plan_emit(plan, "#pragma unroll 1\n  for (int l = %d; l >= 0; --l) {\n", run->count - 1);
    }
    for (int q = run->period - 1; q >= 0; --q) {
      char to[24] = "";
      emit_train_backward_op(plan, run->first + q, run->step[q], inner, to, sizeof to);
      snprintf(inner, sizeof inner, "%s", to);
    }
    if (run->count > 1) {
      plan_emit(plan, "  %s = %s;\n  }\n", carried, inner);
      snprintf(from, sizeof from, "%s", carried);
    } else {
      snprintf(from, sizeof from, "%s", inner);
    }
  }
}

static noprop_status emit_train(struct plan *plan) {
  const struct network *network = plan->network;
  const struct settings *settings = plan->settings;
  const int output = network->op_count - 1, x_last = plan->x_last, latent = groups_of(plan->d), m = TRAIN_BLOCKS;
  const unsigned threshold = (unsigned)lround(settings->network.dropout * 65536.0);
  bool stream = false;
  for (int i = 0; i < network->op_count; ++i) stream = stream || network->ops[i].residual >= 0;
  const noprop_status status = plan_emit_descriptions(plan);
  if (status != NOPROP_OK) return status;
  plan_emit(plan, "  const batch_rows batch = batch_begin(args);\n");
  if (threshold > 0)
    plan_emit(plan,
              "  const bool drop = batch.epoch < args.dropout_epochs;\n"
              "  const unsigned drop_threshold = drop ? %uu : 0u;\n  const float drop_scale = drop ? %s : 1.0f;\n",
              threshold, plan_float_text(1.0 / (1.0 - threshold / 65536.0)).s);
  plan_emit(
      plan,
      "  float weight_scale = objective.weight_scale;\n"
      "  if (objective.batch_normalised) weight_scale = batch_weight_scale(objective, schedule, args, batch, %s);\n",
      plan_place_text(plan->scratch, 0).s);
  plan_emit(
      plan,
      "  row_terms sums = {0.0f, 0.0f, 0.0f};\n  const unsigned first_tile = blockIdx.x * args.tiles_per_slot;\n");
  plan_emit(plan, "  const unsigned last_tile = min(first_tile + args.tiles_per_slot, (batch.count + %d - 1) / %d);\n",
            TRAIN_ROWS, TRAIN_ROWS);
  plan_emit(plan, "  float *delta = %s, *other = ", plan_place_text(plan->delta[0], 0).s);
  plan_emit(plan, "%s;\n", plan_place_text(plan->delta[1], 0).s);
  plan_emit(plan, "  unsigned *const numbers = (unsigned *)(%s);\n", plan_place_text(plan->stream, 0).s);
  plan_emit(plan, "#pragma unroll 1\n  for (unsigned tile = first_tile; tile < last_tile; ++tile) {\n");
  plan_emit(plan, "  const bool again = tile != first_tile;\n");
  plan_emit(
      plan,
      "  const warp_batch_rows<%d> rows = warp_batch_rows_at<%d>(args, batch, (tile * TILE_WARPS + tile_warp()) * "
      "%d);\n",
      m, m, 16 * m);
  plan_emit(
      plan,
      "  float share[%d][2];\n#pragma unroll\n  for (int i = 0; i < %d; ++i) {\n"
      "    share[i / 2][i %% 2] = rows.row[i / 2][i %% 2].live ? 1.0f / ((float)batch.total * objective.draws) : "
      "0.0f;\n"
      "    if (quad() == 0) numbers[%d * tile_warp() + 8 * i + quad_row()] = rows.row[i / 2][i %% 2].data;\n  }\n",
      m, 2 * m, 16 * m);
  plan_emit(plan, "  float z1[%d][%d][4];\n", latent, m);
  plan_emit(plan, "  warp_load<%d, %d>(z1, args.target, rows.data, args.target_scale, args.target_shift, %s);\n",
            plan_row_kind(plan->shape->target_type, plan->shape->target_is_label), plan->d,
            plan_float_text(settings->latent.off_value).s);
  if (network->x_width) {
    if (network->x_width <= WIDEST_CONDITION) {
      plan_emit(plan, "  operands<%d> x;\n  {\n  float raw[%d][BLOCKS][4];\n", groups_of(network->x_width),
                groups_of(network->x_width));
      plan_emit(
          plan,
          "  warp_load<%d, %d>(raw, args.condition, rows.data, args.condition_scale, args.condition_shift, 0.0f);\n",
          plan_row_kind(plan->shape->condition_type, plan->shape->condition_is_label), network->x_width);
      plan_emit(plan, "  warp_pack(x, raw);\n  }\n  warp_keep_rows(%s, x);\n",
                warp_part(plan->x, 0, warp_floats(plan, network->x_width)).s);
    }
    emit_train_forward(plan, 0, x_last);
    plan_emit(plan, "  float x_gradient[%d][%d][4];\n  warp_zero(x_gradient);\n", groups_of(network->ops[x_last].width),
              m);
  }
  plan_emit(plan, "#pragma unroll 1\n  for (unsigned draw = 0; draw < objective.draws; ++draw) {\n");
  plan_emit(plan,
            "  float t[%d][2];\n  path_point point[%d][2];\n#pragma unroll\n  for (int i = 0; i < %d; ++i) {\n"
            "    const time_draw drawn = draw_time(objective, schedule, args, batch, rows.row[i / 2][i %% 2], draw);\n"
            "    t[i / 2][i %% 2] = drawn.t;\n"
            "    point[i / 2][i %% 2] = path_at(objective, schedule, drawn.t);\n"
            "    point[i / 2][i %% 2].factor = drawn.factor;\n  }\n",
            m, m, 2 * m);
  plan_emit(plan,
            "  float z[%d][%d][4], noise[%d][%d][4];\n  operands<%d> state;\n"
            "  warp_make_state<%d>(z, noise, z1, point, args, batch, %s, draw);\n  warp_pack(state, z);\n",
            latent, m, latent, m, latent, plan->d, plan_noise_row(plan->settings, true).s);
  plan_emit(plan, "  warp_keep_rows(%s, state);\n", warp_part(plan->z, 0, warp_floats(plan, plan->d)).s);
  if (network->time_width) {
    const int groups = groups_of(network->time_width);
    plan_emit(plan,
              "  operands<%d> time;\n  {\n  float raw[%d][BLOCKS][4];\n  warp_time<%d, %d>(raw, args.frequencies, t);\n"
              "  warp_pack(time, raw);\n  }\n",
              groups, groups, network->time_kind, network->time_width);
    plan_emit(plan, "  warp_keep_rows(%s, time);\n",
              warp_part(plan->time, 0, warp_floats(plan, network->time_width)).s);
  }
  if (stream) plan_emit(plan, "  float stream[%d][%d][4];\n", groups_of(network->ops[network->op_count - 2].width), m);
  emit_train_forward(plan, x_last + 1, output);
  plan_emit(plan,
            "  operands<%d> error;\n  {\n  float raw[%d][BLOCKS][4];\n"
            "  warp_objective<%d>(raw, sums, objective, schedule, point, weight_scale, share, a%d, z, z1, noise, rows, "
            "draw, args.out_row_loss);\n  warp_pack(error, raw);\n  }\n",
            latent, latent, plan->d, output);
  plan_emit(plan,
            "  if (draw == 0) {\n    warp_write_rows<%d>(args.out_prediction, a%d, rows);\n"
            "    warp_write_rows<%d>(args.out_z, z, rows);\n  }\n",
            plan->d, output, plan->d);
  emit_train_backward(plan, x_last + 1, output, "error");
  plan_emit(plan, "  __syncthreads();\n  }\n"); /* draws */
  if (x_last >= 0) {
    const struct dense_op *op = &network->ops[x_last];
    if (plan_has_slope(op))
      plan_emit(plan, "  warp_multiply_slopes<FORM>(x_gradient, %s);\n",
                warp_part(plan->ops[x_last].at[SLOPE], 0, warp_slopes(plan, op->width)).s);
    plan_emit(plan, "  operands<%d> x_error;\n  warp_pack(x_error, x_gradient);\n", groups_of(op->width));
    emit_train_backward(plan, 0, x_last, "x_error");
  }
  plan_emit(plan, "  __syncthreads();\n  }\n"); /* tiles */
  plan_emit(plan, "  const row_terms all = gather_terms(sums, %s);\n", plan_place_text(plan->scratch, 0).s);
  plan_emit(plan, "  finish_slot(args, objective, all, %ldu, first_tile >= last_tile);\n}\n", network->padded_floats);
  plan_emit_step_end(plan);
  return NOPROP_OK;
}

noprop_status program_train_tensor(const struct network *network, const struct settings *settings,
                                   const noprop_model_shape *shape, size_t shared_limit, bool steps,
                                   struct program *program) {
  struct plan plan = {.network = network,
                      .settings = settings,
                      .shape = shape,
                      .shared_limit = shared_limit,
                      .form = network->operand_form,
                      .steps = steps,
                      .backward = true};
  char *text = NULL;
  size_t size = 0;
  plan.out = open_memstream(&text, &size);
  if (!plan.out) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  place_training(&plan);
  plan_emit_step_forms(&plan);
  plan_emit(&plan, "#include \"tile_program.cuh\"\n#include \"warp_train.cuh\"\n\n");
  emit_forms(&plan, TRAIN_BLOCKS);
  plan_emit(&plan, "%s", PLAN_EXCHANGE);
  plan_emit_step_head(&plan);
  plan_emit(&plan,
            "  extern __shared__ float4 tile_memory[];\n  float *const shared = (float *)tile_memory;\n"
            "  float *const workspace = args.workspace + blockIdx.x * args.workspace_stride;\n"
            "  float *const slot = args.slots + blockIdx.x * args.slot_stride;\n"
            "  const float *const P = args.parameters;\n  const unsigned *const F = args.fragments;\n");
  const noprop_status status = plan_finish(&plan, &text, emit_train(&plan), steps ? "train_steps" : "train", program);
  if (status != NOPROP_OK) return status;
  program->block_rows = TRAIN_ROWS;
  program->fragments = true;
  return NOPROP_OK;
}

/* ---- solves ---- */

noprop_status program_integrate_tensor(const struct network *network, const struct settings *settings,
                                       const noprop_model_shape *shape, int method, int drift, bool final_denoise,
                                       unsigned warp_rows, struct program *program) {
  struct plan plan = {.network = network,
                      .settings = settings,
                      .shape = shape,
                      .shared_limit = (size_t)-1,
                      .form = network->operand_form,
                      .solve = true};
  const int blocks = row_blocks(network, warp_rows);
  plan.stages = method == METHOD_MIDPOINT || method == METHOD_HEUN || method == METHOD_RK4;
  char *text = NULL;
  size_t size = 0;
  plan.out = open_memstream(&text, &size);
  if (!plan.out) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  plan_emit(&plan, "#include \"tile_program.cuh\"\n#include \"warp_rows.cuh\"\n\n");
  emit_forms(&plan, blocks);
  /* Blocks a multiprocessor: as many as the registers of the widest two-row-block network leave room for without
   * spills; left to itself, ptxas aims at four and spills. */
  plan_emit(
      &plan,
      "extern \"C\" __global__ void __launch_bounds__(TILE_THREADS, %d) integrate(const integrate_arguments args) "
      "{\n",
      plan.form == OPERANDS_BF16 ? 3 : 2);
  plan_emit(&plan, "  extern __shared__ float4 tile_memory[];\n  float *const shared = (float *)tile_memory;\n");
  plan_emit(&plan, "  float *const workspace = args.workspace + blockIdx.x * args.workspace_stride;\n");
  plan_emit(&plan, "  const float *const P = args.parameters;\n  const unsigned *const F = args.fragments;\n");
  place_arrays(&plan, blocks);
  const noprop_status status =
      plan_finish(&plan, &text, emit_solve(&plan, method, drift, final_denoise, blocks), "integrate", program);
  if (status != NOPROP_OK) return status;
  program->tier = "registers";
  program->block_rows = (unsigned)(16 * blocks * TILE_WARPS);
  program->fragments = true;
  return NOPROP_OK;
}
