/* Code generation for solves: the kernel that integrates the learned field for a tile of rows, in one launch.
 *
 * What does not change during a solve is computed once: the branch of the condition per row, that of time per step. */
#include <stdlib.h>
#include <string.h>

#include "engine/program_plan.h"
#include "engine/status.h"

/* The parts of layers that do not change during a solve: bias plus condition, once per row. */
static void emit_hoisted_conditions(struct plan *plan) {
  const struct network *network = plan->network;
  for (int i = plan->x_last + 1; i < network->op_count; ++i) {
    const struct dense_op *op = &network->ops[i];
    const int ld = plan_round_up8(op->width);
    if (plan->ops[i].at[CONDITION].offset < 0) continue;
    plan_emit(plan, "  for (int n = 8 * tile_warp(); n < %d; n += 8 * TILE_WARPS) {\n    float acc[8] = {};\n", ld);
    if (op->bias >= 0) plan_emit(plan, "    add_parameters8(acc, P + %ld + n);\n", plan->ops[i].at[BIAS].offset);
    for (int k = 0; k < op->input_count; ++k)
      if (op->inputs[k].kind == INPUT_OP && op->inputs[k].op == plan->x_last)
        plan_emit(plan, "    dense_accumulate<%d>(acc, %s, %d, P + %ld + n);\n", ld,
                  plan_place_text(plan->ops[i].at[INPUT + k], 0).s, op->inputs[k].width,
                  plan->ops[i].at[WEIGHT + k].offset);
    plan_emit(plan, "    store_tile8(%s, n, acc);\n  }\n", plan_place_text(plan->ops[i].at[CONDITION], 0).s);
  }
}

/* The time branch of all layers for the time `t`: every thread takes outputs. */
void plan_emit_time_parts(struct plan *plan) {
  const struct network *network = plan->network;
  if (network->time_width == 0) return;
  plan_emit(plan, "  time_vector<%d, %d>(%s, args.frequencies, t);\n  __syncthreads();\n", network->time_kind,
            network->time_width, plan_place_text(plan->time, 0).s);
  for (int i = 0; i < network->op_count;) {
    /* Equal neighbours that time enters (every second op of a resnet) share one loop. */
    const struct dense_op *op = &network->ops[i];
    if (!plan_reads_time(op)) {
      ++i;
      continue;
    }
    const struct run run = plan_longest_run(plan, i, network->op_count - 1);
    int k = 0;
    while (op->inputs[k].kind != INPUT_TIME) ++k;
    const int ld = plan_round_up8(op->width);
    if (run.count > 1) plan_emit(plan, "  for (int l = 0; l < %d; ++l)\n", run.count);
    plan_emit(plan, "  for (int n = threadIdx.x; n < %d; n += TILE_THREADS)\n", ld);
    plan_emit(plan, "    (%s)[%s + n] = ", plan_place_text(plan->time_parts, 0).s,
              plan_offset_text(plan, i, TIME_PART, run.step[0]).s);
    plan_emit(plan, "time_part<%d, %d>(%s, P + %s + n);\n", network->time_width, ld, plan_place_text(plan->time, 0).s,
              plan_offset_text(plan, i, WEIGHT + k, run.step[0]).s);
    i += run.period * run.count;
  }
}

static noprop_status emit_integrate(struct plan *plan, int method, int drift, bool final_denoise) {
  const struct network *network = plan->network;
  const int solver = method - METHOD_EULER; /* enum solver_method follows enum method */
  const int output = network->op_count - 1;
  const bool exponential = method == METHOD_EXPONENTIAL || method == METHOD_DPM2M;
  plan_emit(plan, "#include \"tile_program.cuh\"\n\n");
  plan_emit(
      plan,
      "extern \"C\" __global__ void __launch_bounds__(TILE_THREADS) integrate(const integrate_arguments args) {\n");
  plan_emit(plan, "  extern __shared__ float4 tile_memory[];\n  float *const shared = (float *)tile_memory;\n");
  if (plan->workspace_floats)
    plan_emit(plan, "  float *const workspace = args.workspace + blockIdx.x * args.workspace_stride;\n");
  plan_emit(plan, "  const float *const P = args.parameters;\n");
  const noprop_status status = plan_emit_descriptions(plan);
  if (status != NOPROP_OK) return status;
  plan_emit(plan, "  const unsigned at = blockIdx.x * TILE_ROWS + tile_lane();\n");
  plan_emit(plan, "  const bool live = at < args.rows;\n  const unsigned row = live ? at : args.rows - 1;\n");
  if (network->x_width) {
    if (network->x_width <= X_CHUNK) {
      char width[16];
      snprintf(width, sizeof width, "%d", network->x_width);
      plan_emit_load_x(plan, "args.condition", "0", width, "  ");
      plan_emit(plan, "  __syncthreads();\n");
    }
    plan_emit_forward(plan, 0, plan->x_last);
    emit_hoisted_conditions(plan);
  }
  plan_emit(plan, "  float *const z = %s;\n", plan_place_text(plan->z, 0).s);
  plan_emit(plan, "  float *const input = %s;\n", plan_place_text(plan->input, 0).s);
  plan_emit(plan, "  start_state<%d>(z, input, args, row);\n", plan->d);
  plan_emit(plan, "  if (args.trajectory) write_state<%d>(args, z, row, live, 0);\n", plan->d);
  plan_emit(plan, "  const float least = objective.time_margin, most = 1.0f - objective.time_margin;\n");
  plan_emit(plan, "  exponential_step jump = {};\n");
  if (exponential) plan_emit(plan, "  float last_width = 1.0f;\n");
  plan_emit(plan, "#pragma unroll 1\n  for (unsigned step = 0; step < args.steps%s; ++step) {\n",
            final_denoise ? " + 1" : "");
  plan_emit(plan, "  const bool denoise = step == args.steps;\n");
  plan_emit(plan, "  const float t0 = args.times[step], t1 = denoise ? t0 : args.times[step + 1];\n");
  if (exponential)
    plan_emit(plan, "  if (!denoise) jump = exponential_step_at(objective, schedule, t0, t1, step, last_width);\n");
  plan_emit(plan, "#pragma unroll 1\n  for (int stage = 0; stage < (denoise ? 1 : %s); ++stage) {\n",
            method == METHOD_RK4 ? "4"
            : plan->stages       ? "2"
                                 : "1");
  plan_emit(plan, "  const float t = fminf(fmaxf(solver_stage_time<%d>(t0, t1, stage), least), most);\n", solver);
  plan_emit(plan, "  const prediction_form form = form_at(objective, path_at(objective, schedule, t), %d);\n",
            drift == DRIFT_OU_MEAN ? 1 : 0);
  plan_emit(plan, "  __syncthreads();\n");
  plan_emit_time_parts(plan);
  plan_emit(plan, "  __syncthreads();\n");
  plan_emit_forward(plan, plan->x_last + 1, output);
  plan_emit(plan, "  solver_update<%d, %d>(objective, form, jump, t1 - t0, stage, denoise, %s, z, input, ", solver,
            plan->d, plan_place_text(plan->ops[output].at[POST], 0).s);
  plan_emit(plan, "%s, %s);\n  }\n", plan_place_text(plan->sum, 0).s, plan_place_text(plan->previous, 0).s);
  plan_emit(plan, "  if (args.trajectory) write_state<%d>(args, z, row, live, denoise ? args.steps : step + 1);\n  }\n",
            plan->d);
  plan_emit(plan, "  if (!args.trajectory) write_state<%d>(args, z, row, live, 0);\n}\n", plan->d);
  return NOPROP_OK;
}

/* ---- public ---- */

noprop_status program_integrate(const struct network *network, const struct settings *settings,
                                const noprop_model_shape *shape, size_t shared_limit, int method, int drift,
                                bool final_denoise, struct program *program) {
  struct plan plan = {
      .network = network, .settings = settings, .shape = shape, .shared_limit = shared_limit, .solve = true};
  plan.stages = method == METHOD_MIDPOINT || method == METHOD_HEUN || method == METHOD_RK4;
  char *text = NULL;
  size_t size = 0;
  if (drift == DRIFT_OU_MEAN && plan_path_of(settings) == 0)
    return status_set(NOPROP_INVALID_CONFIG,
                      "sample.drift: ou_mean exists on the VP path only; ode is allowed with variant fm");
  plan.out = open_memstream(&text, &size);
  if (!plan.out) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  plan_place_arrays(&plan);
  return plan_finish(&plan, &text, emit_integrate(&plan, method, drift, final_denoise), "integrate", program);
}
