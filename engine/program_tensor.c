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
  WIDEST_OF_WARP = 128,
  SPLIT_OUTPUTS = 2, /* of a form of tiles: split */
  WIDEST_OF_TWO = 64,
  WIDEST_PAIRS_OF_TWO = 32,
  WIDEST_STATE_OF_TWO = 16,
  KEPT_IN_SHARED = 10 * 1024 /* floats a block */
};

int plan_groups(int width) { return plan_round_up8(width) / 8; }

bool plan_is_split(const struct network *network, const struct tile_form *tile) {
  return network_widest(network) > WIDEST_OF_WARP || tile->outputs == SPLIT_OUTPUTS;
}

int plan_share(const struct plan *plan, int index) {
  const int groups = plan_groups(plan->network->ops[index].width);
  if (!plan->split || index == plan->network->op_count - 1 || groups <= 2) return groups;
  return ((groups + 1) / 2 + TILE_WARPS - 1) / TILE_WARPS * 2; /* split_groups() */
}

void plan_emit_operand_forms(struct plan *plan, int blocks) {
  plan_emit(plan,
            "enum { FORM = %d, BLOCKS = %d };\ntemplate <int N>\nusing operands = warp_operands<FORM, N, BLOCKS>;\n\n",
            plan->form, blocks);
}

void plan_emit_dense(struct plan *plan, const char *acc, int outputs, const char *source, int groups,
                     const char *fragments) {
  if (!plan->split)
    plan_emit(plan, "  warp_dense(%s, %s, F + %s);\n", acc, source, fragments);
  else if (groups)
    plan_emit(plan, "  split_dense<FORM, %d, %d>(%s, %s, F + %s);\n", groups, outputs, acc, source, fragments);
  else
    plan_emit(plan, "  split_dense<%d>(%s, %s, F + %s);\n", outputs, acc, source, fragments);
}

void plan_emit_features(struct plan *plan, const char *acc, int outputs, const char *values) {
  if (plan->split)
    plan_emit(plan, "  split_add_features<%d>(%s, %s);\n", outputs, acc, values);
  else
    plan_emit(plan, "  warp_add_features(%s, %s);\n", acc, values);
}

void plan_emit_dense_condition(struct plan *plan, const char *acc, int outputs, const char *rows,
                               const char *fragments) {
  plan_emit(plan, "  %s_dense_condition<FORM, %d, %d", plan->split ? "split" : "warp",
            plan_row_kind(plan->shape->condition_type, plan->shape->condition_is_label), plan->network->x_width);
  if (plan->split) plan_emit(plan, ", %d", outputs);
  plan_emit(plan, ">(%s, args.condition, %s, args.condition_scale, args.condition_shift, F + %s);\n", acc, rows,
            fragments);
}

/* "a3" */
static struct text sum_name(int index) {
  struct text text;
  snprintf(text.s, sizeof text.s, "a%d", index);
  return text;
}

/* "P + 1056 + l * 1056" */
static struct text parameter_text(const struct plan *plan, int index, int field, const long *step) {
  struct text text;
  snprintf(text.s, sizeof text.s, "P + %.50s", plan_offset_text(plan, index, field, step).s);
  return text;
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
      kept += (long)plan_share(plan, i) * blocks * 128;
    }
  }
  plan->time_parts = plan_allocate(plan, time_parts);
  /* What the warps of a block hand on, and what they read of that. */
  for (int i = 0; plan->split && i < 2; ++i) {
    plan->delta[i] = plan_allocate(plan, (long)plan_groups(network_widest(network)) * blocks * 128);
    plan_emit(plan, "  float *%s = %s;\n", i ? "handed" : "turn", plan_place_text(plan->delta[i], 0).s);
  }
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
  const int groups = plan_groups(op->width);
  const struct text acc = sum_name(index);
  plan_emit(plan, "  // %s\n  float %s[%d][%d][4];\n", network->parameters[op->inputs[0].weight].name, acc.s,
            plan_share(plan, index), blocks);
  if (plan->ops[index].at[CONDITION].offset >= 0) {
    plan_emit(plan, "  warp_recall(%s, kept + %s);\n", acc.s, plan_offset_text(plan, index, CONDITION, step).s);
  } else {
    plan_emit(plan, "  warp_zero(%s);\n", acc.s);
    if (op->bias >= 0) plan_emit_features(plan, acc.s, groups, parameter_text(plan, index, BIAS, step).s);
  }
  if (plan->ops[index].at[TIME_PART].offset >= 0) {
    char values[sizeof(struct text) + 32];
    snprintf(values, sizeof values, "%s + %s", plan_place_text(plan->time_parts, 0).s,
             plan_offset_text(plan, index, TIME_PART, step).s);
    plan_emit_features(plan, acc.s, groups, values);
  }
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    const struct text fragments = plan_offset_text(plan, index, WEIGHT + k, step);
    if (is_hoisted(plan, op, input)) continue;
    if (input->kind == INPUT_X)
      plan_emit_dense_condition(plan, acc.s, groups, "rows", fragments.s);
    else
      plan_emit_dense(plan, acc.s, groups, input->kind == INPUT_Z ? "state" : chain,
                      input->kind == INPUT_Z ? 0 : plan_groups(input->width), fragments.s);
  }
}

static void emit_op(struct plan *plan, int index, const long *step, int blocks, const char *chain) {
  const struct dense_op *op = &plan->network->ops[index];
  emit_sum(plan, index, step, blocks, chain);
  if (op->residual >= 0) plan_emit(plan, "  warp_add(a%d, stream);\n", index);
  if (plan_carries_stream(plan, index)) plan_emit(plan, "  warp_copy(stream, a%d);\n", index);
  if (index == plan->network->op_count - 1) return; /* the output: linear, not an operand */
  plan_emit(plan, "  operands<%d> h%d;\n  warp_activate<%d>(h%d, a%d);\n", plan_share(plan, index), index,
            op->activation, index, index);
  if (plan->split)
    plan_emit(plan, "  split_put<%d>(turn, h%d);\n  __syncthreads();\n  exchange(turn, handed);\n",
              plan_groups(op->width), index);
}

static void emit_forward(struct plan *plan, int first, int last, int blocks) {
  char chain[24] = "";
  for (int i = first; i <= last;) {
    const struct run run = plan_longest_run(plan, i, last);
    const int next = i + run.period * run.count;
    if (run.count > 1) {
      const int end = i + run.period - 1, groups = plan_groups(plan->network->ops[end].width);
      if (!plan->split) plan_emit(plan, "  operands<%d> r%d = %s;\n", groups, i, chain);
      snprintf(chain, sizeof chain, "r%d", i);
      plan_emit(plan, "#pragma unroll 1\n  for (int l = 0; l < %d; ++l) {\n", run.count);
    }
    char inner[24];
    snprintf(inner, sizeof inner, "%s", plan->split ? "handed" : chain);
    for (int q = 0; q < run.period; ++q) {
      emit_op(plan, i + q, run.step[q], blocks, inner);
      if (!plan->split) snprintf(inner, sizeof inner, "h%d", i + q);
    }
    if (run.count > 1 && plan->split)
      plan_emit(plan, "  }\n");
    else if (run.count > 1)
      plan_emit(plan, "  %s = %s;\n  }\n", chain, inner);
    else
      snprintf(chain, sizeof chain, "%s", inner);
    i = next;
  }
  /* The branch of the condition ends in one name. */
  if (last == plan->x_last && !plan->split) plan_emit(plan, "  auto &x_features = %s;\n", chain);
}

/* The parts of layers that do not change during a solve: bias plus condition, once per row. */
static void emit_conditions(struct plan *plan, int blocks) {
  const struct network *network = plan->network;
  for (int i = plan->x_last + 1; i < network->op_count; ++i) {
    const struct dense_op *op = &network->ops[i];
    if (plan->ops[i].at[CONDITION].offset < 0) continue;
    const long none[FIELDS] = {0};
    const int groups = plan_groups(op->width);
    plan_emit(plan, "  {\n  float a[%d][%d][4];\n  warp_zero(a);\n", plan_share(plan, i), blocks);
    if (op->bias >= 0) plan_emit_features(plan, "a", groups, parameter_text(plan, i, BIAS, none).s);
    for (int k = 0; k < op->input_count; ++k)
      if (op->inputs[k].kind == INPUT_OP && op->inputs[k].op == plan->x_last)
        plan_emit_dense(plan, "a", groups, plan->split ? "handed" : "x_features", plan_groups(op->inputs[k].width),
                        plan_offset_text(plan, i, WEIGHT + k, none).s);
    plan_emit(plan, "  warp_keep(kept + %ld, a);\n  }\n", plan->ops[i].at[CONDITION].offset);
  }
}

static noprop_status emit_solve(struct plan *plan, int method, int drift, bool final_denoise, int blocks) {
  const struct network *network = plan->network;
  const int solver = method - METHOD_EULER, output = network->op_count - 1, groups = plan_groups(network->latent);
  const bool exponential = method == METHOD_EXPONENTIAL || method == METHOD_DPM2M;
  bool stream = false;
  for (int i = 0; i < network->op_count; ++i) stream = stream || network->ops[i].residual >= 0;
  const noprop_status status = plan_emit_descriptions(plan);
  if (status != NOPROP_OK) return status;
  plan_emit(plan, "  const warp_row_numbers<%d> rows = warp_rows_at<%d>(%s * %d, args.rows);\n", blocks, blocks,
            plan->split ? "blockIdx.x" : "(blockIdx.x * TILE_WARPS + tile_warp())", 16 * blocks);
  if (network->x_width) {
    plan_emit(plan, "  {\n");
    emit_forward(plan, 0, plan->x_last, blocks);
    emit_conditions(plan, blocks);
    plan_emit(plan, "  }\n");
  }
  plan_emit(plan, "  float z[%d][%d][4], input[%d][%d][4], sum[%d][%d][4], previous[%d][%d][4];\n", groups, blocks,
            groups, blocks, groups, blocks, groups, blocks);
  if (stream) plan_emit(plan, "  float stream[%d][%d][4];\n", plan_share(plan, output - 1), blocks);
  plan_emit(plan,
            "  warp_start<%d>(z, args, rows);\n  warp_copy(input, z);\n  warp_zero(sum);\n  warp_zero(previous);\n",
            plan->d);
  const char *writer = plan->split ? "tile_warp() == 0 && " : "";
  plan_emit(plan, "  if (%sargs.trajectory) warp_write<%d>(args, z, rows, 0);\n", writer, plan->d);
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
  plan_emit(plan, "  if (%sargs.trajectory) warp_write<%d>(args, z, rows, denoise ? args.steps : step + 1);\n  }\n",
            writer, plan->d);
  plan_emit(plan, "  if (%s!args.trajectory) warp_write<%d>(args, z, rows, 0);\n}\n", writer, plan->d);
  return NOPROP_OK;
}

/* ---- solves ---- */

noprop_status program_integrate_tensor(const struct network *network, const struct settings *settings,
                                       const noprop_model_shape *shape, int method, int drift, bool final_denoise,
                                       const struct tile_form *tile, struct program *program) {
  struct plan plan = {.network = network,
                      .settings = settings,
                      .shape = shape,
                      .shared_limit = (size_t)-1,
                      .form = network->operand_form,
                      .split = plan_is_split(network, tile),
                      .solve = true};
  const int blocks = plan.split ? 1 : row_blocks(network, tile->rows);
  plan.stages = method == METHOD_MIDPOINT || method == METHOD_HEUN || method == METHOD_RK4;
  char *text = NULL;
  size_t size = 0;
  plan.out = open_memstream(&text, &size);
  if (!plan.out) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  plan_emit(&plan, "#include \"tile_program.cuh\"\n#include \"%s.cuh\"\n\n", plan.split ? "warp_split" : "warp_rows");
  plan_emit_operand_forms(&plan, blocks);
  if (plan.split) plan_emit(&plan, "%s", PLAN_EXCHANGE);
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
  program->block_rows = (unsigned)(16 * blocks * (plan.split ? 1 : TILE_WARPS));
  program->fragments = true;
  return NOPROP_OK;
}
