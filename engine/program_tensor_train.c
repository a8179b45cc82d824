/* Code generation for training on tensor cores: a warp carries its rows forward and backward in registers
 * (kernels/warp_train.cuh), or the warps of a block share its rows (kernels/warp_split.cuh). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/program_plan.h"
#include "engine/status.h"

enum { TRAIN_BLOCKS = 1, WIDEST_CONDITION = 64 };

/* Warps that have rows of their own, and the rows of a block. */
static int row_warps(const struct plan *plan) { return plan->split ? 1 : TILE_WARPS; }
static int tile_rows(const struct plan *plan) { return 16 * TRAIN_BLOCKS * row_warps(plan); }

/* Floats of an array of factors of a warp's rows kept by rows, of a warp's slopes, and of such arrays of the block. */
static long warp_floats(const struct plan *plan, int width) {
  const int groups = plan_groups(width), steps = plan->form == OPERANDS_BF16 ? (groups + 1) / 2 : groups;
  return (long)steps * TRAIN_BLOCKS * 32 * 4;
}

static long warp_slopes(const struct plan *plan, int index) {
  return (long)plan_share(plan, index) * TRAIN_BLOCKS * 32 * (plan->form == OPERANDS_TF32X3 ? 4 : 2);
}

static long block_floats(const struct plan *plan, int width) { return row_warps(plan) * warp_floats(plan, width); }

static long kept_floats(const struct plan *plan, int field, int index) {
  return field == SLOPE ? TILE_WARPS * warp_slopes(plan, index) : block_floats(plan, plan->network->ops[index].width);
}

/* What the backward pass needs of all ops of one branch: in one memory, so that equal layers stay a loop. */
static void allocate_kept(struct plan *plan, int field, bool x_branch) {
  const struct network *network = plan->network;
  long floats = 0;
  for (int i = 0; i < network->op_count - 1; ++i)
    if (network->ops[i].x_branch == x_branch && (field == POST || plan_has_slope(&network->ops[i])))
      floats += kept_floats(plan, field, i);
  struct place place = plan_allocate(plan, floats);
  for (int i = 0; i < network->op_count - 1; ++i) {
    if (network->ops[i].x_branch != x_branch || (field == SLOPE && !plan_has_slope(&network->ops[i]))) continue;
    plan->ops[i].at[field] = place;
    place.offset += kept_floats(plan, field, i);
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
  plan->stream = plan_allocate(plan, tile_rows(plan)); /* data rows of the block */
  for (int i = 0; i < 2; ++i) plan->delta[i] = plan_allocate(plan, block_floats(plan, plan->widest));
  /* What the warps of a block hand on, and what they read of that: in the branch of the condition, and after it. */
  for (int i = 0; plan->split && i < 2; ++i) {
    plan->delta_rows[i] = plan_allocate(plan, block_floats(plan, plan->widest));
    plan->x_turns[i] = plan->x_last >= 0 ? plan_allocate(plan, block_floats(plan, plan->widest)) : NOWHERE;
  }
  plan->z = plan_allocate(plan, block_floats(plan, plan->d));
  plan->time = network->time_width ? plan_allocate(plan, block_floats(plan, network->time_width)) : NOWHERE;
  plan->x = network->x_width && network->x_width <= WIDEST_CONDITION
                ? plan_allocate(plan, block_floats(plan, network->x_width))
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

/* Factors of `groups` groups, the registers `from`, kept by rows; `delta`: where the pointer of that name says. */
static void emit_keep_rows(struct plan *plan, const struct place *place, long step, int groups, const char *from) {
  const struct text to = place ? plan_place_text(*place, step) : (struct text){"delta"};
  if (plan->split)
    plan_emit(plan, "  split_keep_rows<%d>(%s, %s);\n", groups, to.s, from);
  else
    plan_emit(plan, "  warp_keep_rows(%s%s%s + tile_warp() * %ld, %s);\n", place ? "(" : "", to.s, place ? ")" : "",
              warp_floats(plan, 8 * groups), from);
}

/* Hands the registers `from` to the block's warps, who read them at `handed` or, of the condition, at `x_features`. */
static void emit_hand_on(struct plan *plan, bool x_branch, int groups, const char *from) {
  const char *turn = x_branch ? "x_turn" : "turn", *handed = x_branch ? "x_features" : "handed";
  plan_emit(plan, "  split_put<%d>(%s, %s);\n  __syncthreads();\n  exchange(%s, %s);\n", groups, turn, from, turn,
            handed);
}

static bool is_register(const struct op_input *input) { return input->kind != INPUT_OP; }

static void emit_train_op(struct plan *plan, int index, const struct run *run, const long *step, const char *chain) {
  const struct network *network = plan->network;
  const struct dense_op *op = &network->ops[index];
  const int groups = plan_groups(op->width), share = plan_share(plan, index);
  const struct op_places *places = &plan->ops[index];
  char acc[16], post[16], bias[sizeof(struct text) + 8];
  snprintf(acc, sizeof acc, "a%d", index);
  snprintf(post, sizeof post, "h%d", index);
  plan_emit(plan, "  // %s\n", network->parameters[op->inputs[0].weight].name);
  if (op->dropout) {
    plan_emit(plan, "  const auto kept%d = warp_draw_kept<%d, %d>(rows, drop_threshold, args.seed, ", index, share,
              TRAIN_BLOCKS);
    plan_emit(plan, "philox_stream(STREAM_DROPOUT, %d%s, %s), batch.step", index,
              run->count > 1 ? (run->period == 2 ? " + 2 * l" : " + l") : "", op->x_branch ? "0" : "draw");
    if (plan->split) plan_emit(plan, ", share_first<%d, %d>()", share, groups);
    plan_emit(plan, ");\n");
  }
  plan_emit(plan, "  float a%d[%d][%d][4];\n  warp_zero(a%d);\n", index, share, TRAIN_BLOCKS, index);
  snprintf(bias, sizeof bias, "P + %s", plan_offset_text(plan, index, BIAS, step).s);
  if (op->bias >= 0) plan_emit_features(plan, acc, groups, bias);
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    const struct text fragments = plan_offset_text(plan, index, FRAGMENT + k, step);
    if (input->kind == INPUT_X && network->x_width > WIDEST_CONDITION)
      plan_emit_dense_condition(plan, acc, groups, "rows.data", fragments.s);
    else
      plan_emit_dense(plan, acc, groups, input_name(plan, op, input, chain),
                      is_register(input) ? 0 : plan_groups(input->width), fragments.s);
  }
  if (op->residual >= 0) plan_emit(plan, "  warp_add(a%d, stream);\n", index);
  if (plan_carries_stream(plan, index)) plan_emit(plan, "  warp_copy(stream, a%d);\n", index);
  if (index == network->op_count - 1) return;
  plan_emit(plan, "  operands<%d> h%d;\n", share, index);
  if (plan_has_slope(op)) {
    char kept[32] = "{}, 1.0f";
    if (op->dropout) snprintf(kept, sizeof kept, "kept%d, drop_scale", index);
    plan_emit(plan, "  warp_finish<%d, %s>(h%d, %s, a%d, %s);\n", op->activation, op->dropout ? "true" : "false", index,
              warp_part(places->at[SLOPE], step[SLOPE], warp_slopes(plan, index)).s, index, kept);
  } else {
    plan_emit(plan, "  warp_pack(h%d, a%d);\n", index, index);
  }
  emit_keep_rows(plan, &places->at[POST], step[POST], groups, post);
  if (plan->split) emit_hand_on(plan, op->x_branch, groups, post);
}

static void emit_train_forward(struct plan *plan, int first, int last) {
  char chain[24] = "";
  for (int i = first; i <= last;) {
    const struct run run = plan_longest_run(plan, i, last);
    if (run.count > 1 && !plan->split) {
      plan_emit(plan, "  operands<%d> r%d = %s;\n", plan_groups(plan->network->ops[i + run.period - 1].width), i,
                chain);
      snprintf(chain, sizeof chain, "r%d", i);
    }
    if (run.count > 1) plan_emit(plan, "#pragma unroll 1\n  for (int l = 0; l < %d; ++l) {\n", run.count);
    char inner[24];
    snprintf(inner, sizeof inner, "%s",
             plan->split ? (plan->network->ops[i].x_branch ? "x_features" : "handed") : chain);
    for (int q = 0; q < run.period; ++q) {
      emit_train_op(plan, i + q, &run, run.step[q], inner);
      if (!plan->split) snprintf(inner, sizeof inner, "h%d", i + q);
    }
    if (run.count > 1 && plan->split)
      plan_emit(plan, "  }\n");
    else if (run.count > 1)
      plan_emit(plan, "  %s = %s;\n  }\n", chain, inner);
    else
      snprintf(chain, sizeof chain, "%s", inner);
    i += run.period * run.count;
  }
  if (last == plan->x_last && !plan->split) plan_emit(plan, "  auto &x_features = %s;\n", chain);
}

/* One layer backward: array `from` is the gradient of its sum; `to` (written here) that of the layer before it. */
static void emit_train_backward_op(struct plan *plan, int index, const long *step, const char *from, char *to,
                                   size_t to_size) {
  const struct network *network = plan->network;
  const struct dense_op *op = &network->ops[index];
  const int groups = plan_groups(op->width), output = network->op_count - 1;
  const char *again = op->x_branch ? "again" : "again || draw", *warps = plan->split ? ", 1" : "";
  plan_emit(plan, "  // %s, backward\n", network->parameters[op->inputs[0].weight].name);
  emit_keep_rows(plan, NULL, 0, groups, from);
  /* The output's error every warp has. */
  if (plan->split && index != output)
    emit_hand_on(plan, false, groups, from);
  else
    plan_emit(plan, "  __syncthreads();\n");
  if (op->bias >= 0)
    plan_emit(plan, "  block_bias_gradient<FORM, %d, BLOCKS%s>(slot + %s, delta, %s);\n", groups, warps,
              plan_offset_text(plan, index, BIAS, step).s, again);
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    const struct text weight = plan_offset_text(plan, index, WEIGHT + k, step);
    if (input->kind == INPUT_X && network->x_width > WIDEST_CONDITION)
      plan_emit(plan,
                "  block_condition_gradient<FORM, %d, %d, %d, BLOCKS%s>(slot + %s, args.condition, numbers, "
                "args.condition_scale, args.condition_shift, delta, %s);\n",
                plan_row_kind(plan->shape->condition_type, plan->shape->condition_is_label), network->x_width, groups,
                warps, weight.s, again);
    else
      plan_emit(plan, "  block_weight_gradient<FORM, %d, %d, BLOCKS%s>(slot + %s, %d, %s, delta, %s);\n",
                plan_groups(input->width), groups, warps, weight.s, input->width,
                plan_place_text(plan->ops[index].at[INPUT + k], step[INPUT + k]).s, again);
  }
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    if (input->kind != INPUT_OP) continue;
    const int inputs = plan_groups(input->width), share = plan_share(plan, input->op);
    const bool whole = !plan->split || index == output;
    const struct dense_op *before = &network->ops[input->op];
    const struct text transpose = plan_offset_text(plan, index, TRANSPOSE + k, step);
    if (input->op == plan->x_last && !op->x_branch) {
      plan_emit_dense(plan, "x_gradient", inputs, whole ? from : "handed", whole ? 0 : groups, transpose.s);
      continue;
    }
    snprintf(to, to_size, "d%d", index);
    plan_emit(plan, "  operands<%d> d%d;\n  {\n  float s[%d][BLOCKS][4];\n  warp_zero(s);\n", share, index, share);
    plan_emit_dense(plan, "s", inputs, whole ? from : "handed", whole ? 0 : groups, transpose.s);
    if (plan_has_slope(before))
      plan_emit(plan, "  warp_multiply_slopes<FORM>(s, %s);\n",
                warp_part(plan->ops[input->op].at[SLOPE], step[INPUT + k], warp_slopes(plan, input->op)).s);
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
      plan_emit(plan, "  operands<%d> %s = %s;\n", plan_share(plan, run->first + run->period - 1), carried, from);
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

/* Whether ptxas would spill some registers of a warp's program: with dropout in layers of 64 features, and in wider
 * layers. Then the batch's seventeen numbers are in shared memory, and a thread's number is read where it is needed
 * (TILE_THREAD_AGAIN), which is enough for 96 features in bf16; tf32 spills one register at 80 (compute capability 9.0)
 * and six at 96 (12.0), layers of 128 a dozen. */
static bool is_short_of_registers(const struct plan *plan) {
  return !plan->split && network_widest(plan->network) > (plan->settings->network.dropout > 0 ? 32 : 80);
}

static noprop_status emit_train(struct plan *plan) {
  const struct network *network = plan->network;
  const struct settings *settings = plan->settings;
  const int output = network->op_count - 1, x_last = plan->x_last, latent = plan_groups(plan->d), m = TRAIN_BLOCKS;
  const unsigned threshold = (unsigned)lround(settings->network.dropout * 65536.0);
  bool stream = false;
  for (int i = 0; i < network->op_count; ++i) stream = stream || network->ops[i].residual >= 0;
  const noprop_status status = plan_emit_descriptions(plan);
  if (status != NOPROP_OK) return status;
  if (is_short_of_registers(plan))
    plan_emit(
        plan,
        "  __shared__ batch_rows batch;\n  if (threadIdx.x == 0) batch = batch_begin(args);\n  __syncthreads();\n");
  else
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
            tile_rows(plan), tile_rows(plan));
  plan_emit(plan, "  float *delta = %s, *other = ", plan_place_text(plan->delta[0], 0).s);
  plan_emit(plan, "%s;\n", plan_place_text(plan->delta[1], 0).s);
  if (plan->split) {
    plan_emit(plan, "  float *turn = %s, *handed = ", plan_place_text(plan->delta_rows[0], 0).s);
    plan_emit(plan, "%s;\n", plan_place_text(plan->delta_rows[1], 0).s);
    if (x_last >= 0) {
      plan_emit(plan, "  float *x_turn = %s, *x_features = ", plan_place_text(plan->x_turns[0], 0).s);
      plan_emit(plan, "%s;\n", plan_place_text(plan->x_turns[1], 0).s);
    }
  }
  plan_emit(plan, "  unsigned *const numbers = (unsigned *)(%s);\n", plan_place_text(plan->stream, 0).s);
  plan_emit(plan, "#pragma unroll 1\n  for (unsigned tile = first_tile; tile < last_tile; ++tile) {\n");
  plan_emit(plan, "  const bool again = tile != first_tile;\n");
  plan_emit(plan,
            "  const warp_batch_rows<%d> rows = warp_batch_rows_at<%d>(args, batch, %s * "
            "%d);\n",
            m, m, plan->split ? "tile" : "(tile * TILE_WARPS + tile_warp())", 16 * m);
  plan_emit(
      plan,
      "  float share[%d][2];\n#pragma unroll\n  for (int i = 0; i < %d; ++i) {\n"
      "    share[i / 2][i %% 2] = rows.row[i / 2][i %% 2].live ? 1.0f / ((float)batch.total * objective.draws) : "
      "0.0f;\n"
      "    if (quad() == 0%s) numbers[%d * tile_warp() + 8 * i + quad_row()] = rows.row[i / 2][i %% 2].data;\n  }\n",
      m, 2 * m, plan->split ? " && tile_warp() == 0" : "", 16 * m);
  plan_emit(plan, "  float z1[%d][%d][4];\n", latent, m);
  plan_emit(plan, "  warp_load<%d, %d>(z1, args.target, rows.data, args.target_scale, args.target_shift, %s);\n",
            plan_row_kind(plan->shape->target_type, plan->shape->target_is_label), plan->d,
            plan_float_text(settings->latent.off_value).s);
  if (network->x_width) {
    if (network->x_width <= WIDEST_CONDITION) {
      plan_emit(plan, "  operands<%d> x;\n  {\n  float raw[%d][BLOCKS][4];\n", plan_groups(network->x_width),
                plan_groups(network->x_width));
      plan_emit(
          plan,
          "  warp_load<%d, %d>(raw, args.condition, rows.data, args.condition_scale, args.condition_shift, 0.0f);\n",
          plan_row_kind(plan->shape->condition_type, plan->shape->condition_is_label), network->x_width);
      plan_emit(plan, "  warp_pack(x, raw);\n  }\n");
      emit_keep_rows(plan, &plan->x, 0, plan_groups(network->x_width), "x");
    }
    emit_train_forward(plan, 0, x_last);
    plan_emit(plan, "  float x_gradient[%d][%d][4];\n  warp_zero(x_gradient);\n", plan_share(plan, x_last), m);
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
  emit_keep_rows(plan, &plan->z, 0, latent, "state");
  if (network->time_width) {
    const int groups = plan_groups(network->time_width);
    plan_emit(plan,
              "  operands<%d> time;\n  {\n  float raw[%d][BLOCKS][4];\n  warp_time<%d, %d>(raw, args.frequencies, t);\n"
              "  warp_pack(time, raw);\n  }\n",
              groups, groups, network->time_kind, network->time_width);
    emit_keep_rows(plan, &plan->time, 0, groups, "time");
  }
  if (stream) plan_emit(plan, "  float stream[%d][%d][4];\n", plan_share(plan, output - 1), m);
  emit_train_forward(plan, x_last + 1, output);
  plan_emit(plan,
            "  operands<%d> error;\n  {\n  float raw[%d][BLOCKS][4];\n"
            "  warp_objective<%d>(raw, sums, objective, schedule, point, weight_scale, share, a%d, z, z1, noise, rows, "
            "draw, %s);\n  warp_pack(error, raw);\n  }\n",
            latent, latent, plan->d, output,
            plan->split ? "tile_warp() == 0 ? args.out_row_loss : nullptr" : "args.out_row_loss");
  if (plan->split) plan_emit(plan, "  if (tile_warp() != 0) sums = {0.0f, 0.0f, 0.0f};\n");
  plan_emit(plan,
            "  if (draw == 0%s) {\n    warp_write_rows<%d>(args.out_prediction, a%d, rows);\n"
            "    warp_write_rows<%d>(args.out_z, z, rows);\n  }\n",
            plan->split ? " && tile_warp() == 0" : "", plan->d, output, plan->d);
  emit_train_backward(plan, x_last + 1, output, "error");
  plan_emit(plan, "  __syncthreads();\n  }\n"); /* draws */
  if (x_last >= 0) {
    const struct dense_op *op = &network->ops[x_last];
    if (plan_has_slope(op))
      plan_emit(plan, "  warp_multiply_slopes<FORM>(x_gradient, %s);\n",
                warp_part(plan->ops[x_last].at[SLOPE], 0, warp_slopes(plan, x_last)).s);
    plan_emit(plan, "  operands<%d> x_error;\n  warp_pack(x_error, x_gradient);\n", plan_share(plan, x_last));
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
                                   const struct tile_form *tile, struct program *program) {
  struct plan plan = {.network = network,
                      .settings = settings,
                      .shape = shape,
                      .shared_limit = shared_limit,
                      .form = network->operand_form,
                      .split = plan_is_split(network, tile),
                      .steps = steps,
                      .backward = true};
  char *text = NULL;
  size_t size = 0;
  plan.out = open_memstream(&text, &size);
  if (!plan.out) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  place_training(&plan);
  plan_emit_step_forms(&plan);
  if (is_short_of_registers(&plan)) plan_emit(&plan, "#define TILE_THREAD_AGAIN\n");
  plan_emit(&plan, "#include \"tile_program.cuh\"\n#include \"%s.cuh\"\n\n",
            plan.split ? "warp_split_train" : "warp_train");
  plan_emit_operand_forms(&plan, TRAIN_BLOCKS);
  plan_emit(&plan, "%s", PLAN_EXCHANGE);
  plan_emit_step_head(&plan);
  plan_emit(&plan,
            "  extern __shared__ float4 tile_memory[];\n  float *const shared = (float *)tile_memory;\n"
            "  float *const workspace = args.workspace + blockIdx.x * args.workspace_stride;\n"
            "  float *const slot = args.slots + blockIdx.x * args.slot_stride;\n"
            "  const float *const P = args.parameters;\n  const unsigned *const F = args.fragments;\n");
  const noprop_status status = plan_finish(&plan, &text, emit_train(&plan), steps ? "train_steps" : "train", program);
  if (status != NOPROP_OK) return status;
  program->block_rows = (unsigned)tile_rows(&plan);
  program->fragments = true;
  return NOPROP_OK;
}
