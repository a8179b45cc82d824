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
    plan_emit(plan,
              "  for (int n = TILE_OUTPUTS * tile_warp(); n < %d; n += TILE_OUTPUTS * TILE_WARPS) {\n    float "
              "acc[TILE_OUTPUTS] = {};\n",
              ld);
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
  if (plan->field) plan_emit_field_time_parts(plan);
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

/* ---- tangents: the derivative of the output along a direction of z, behind the values ---- */

static void emit_tangent_op(struct plan *plan, int index, const struct run *run, const long *step) {
  const struct dense_op *op = &plan->network->ops[index];
  const struct op_places *places = &plan->ops[index];
  const int ld = plan_round_up8(op->width);
  plan_emit(plan,
            "  for (int n = TILE_OUTPUTS * tile_warp(); n < %d; n += TILE_OUTPUTS * TILE_WARPS) {\n    float "
            "acc[TILE_OUTPUTS] = {};\n",
            ld);
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    const bool state = input->kind == INPUT_Z;
    if (!state && (input->kind != INPUT_OP || plan->network->ops[input->op].x_branch)) continue;
    struct text from = plan_place_text(plan->tangent, 0);
    if (!state) {
      const struct place here = plan->ops[input->op].at[TANGENT];
      const int again = run->count > 1 ? plan->network->ops[index + run->period].inputs[k].op : input->op;
      from = plan_place_text(here, plan->ops[again].at[TANGENT].offset - here.offset);
    }
    plan_emit(plan, "    dense_accumulate<%d>(acc, %s, %d, P + %s + n);\n", ld, from.s, input->width,
              plan_offset_text(plan, index, WEIGHT + k, step).s);
  }
  if (op->residual >= 0) plan_emit(plan, "    add_tile8(acc, %s, n);\n", plan_place_text(plan->stream, 0).s);
  if (plan_carries_stream(plan, index))
    plan_emit(plan, "    store_tile8(%s, n, acc);\n", plan_place_text(plan->stream, 0).s);
  plan_emit(plan, "    tangent_finish(acc, n, %s, ", plan_place_text(places->at[TANGENT], step[TANGENT]).s);
  plan_emit(plan, "%s);\n  }\n  __syncthreads();\n",
            places->at[SLOPE].offset >= 0 ? plan_place_text(places->at[SLOPE], step[SLOPE]).s : "nullptr");
}

/* One trace of the Jacobian of the output with respect to z, into `trace`. */
static void emit_trace(struct plan *plan, int density) {
  const int first = plan->x_last + 1, last = plan->network->op_count - 1;
  const char *probes = density == DENSITY_PROBES ? "true" : "false";
  plan_emit(plan, "  float trace = 0.0f;\n#pragma unroll 1\n  for (unsigned probe = 0; probe < %s; ++probe) {\n",
            density == DENSITY_PROBES ? "args.probes" : "DIMENSION");
  plan_emit(plan, "  tangent_start<DIMENSION, %s>(%s, args, row, probe);\n  __syncthreads();\n", probes,
            plan_place_text(plan->tangent, 0).s);
  if (plan->field) plan_emit_field(plan, FIELD_TRACE);
  for (int i = first; !plan->field && i <= last;) {
    const struct run run = plan_longest_run(plan, i, last);
    if (run.count > 1) plan_emit(plan, "#pragma unroll 1\n  for (int l = 0; l < %d; ++l) {\n", run.count);
    for (int q = 0; q < run.period; ++q) emit_tangent_op(plan, i + q, &run, run.step[q]);
    if (run.count > 1) plan_emit(plan, "  }\n");
    i += run.period * run.count;
  }
  plan_emit(plan, "  trace += tangent_part<DIMENSION, %s>(%s, args, row, probe);\n  }\n", probes,
            plan_place_text(plan->ops[last].at[TANGENT], 0).s);
}

/* ---- one evaluation of the network ---- */

/* From plan->input to the output's array; with a density also `trace`. Guided: p = p0 + s (p1 - p0), p0 without and p1
 * with the condition (Ho and Salimans, "Classifier-free diffusion guidance", 2022). */
static void emit_evaluation(struct plan *plan, const struct solve_form *form) {
  const int output = plan->network->op_count - 1;
  const struct text out = plan_place_text(plan->ops[output].at[POST], 0);
  if (!form->guided) {
    plan_emit_forward(plan, plan->x_last + 1, output);
    if (form->density) emit_trace(plan, form->density);
    return;
  }
  if (form->density) plan_emit(plan, "  float guided_trace = 0.0f;\n");
  plan_emit(plan, "#pragma unroll 1\n  for (int pass = 0; pass < 2; ++pass) {\n");
  plan_emit_field_pass(plan);
  plan_emit_forward(plan, plan->x_last + 1, output);
  if (form->density) {
    emit_trace(plan, form->density);
    plan_emit(plan, "  guided_trace = pass ? fmaf(args.guidance, trace - guided_trace, guided_trace) : trace;\n");
  }
  plan_emit(plan, "  guide_output<DIMENSION>(%s, ", out.s);
  /* The next pass overwrites the output, by other warps than those that have just read it. */
  plan_emit(plan, "%s, args.guidance, pass);\n  if (!pass) __syncthreads();\n  }\n",
            plan_place_text(plan->unguided, 0).s);
  if (form->density) plan_emit(plan, "  const float trace = guided_trace;\n");
}

/* ---- the kernels ---- */

/* The device function that gives a drift, and its number there. */
static const char *form_function(int drift) {
  return drift == DRIFT_RELAX || drift == DRIFT_RELAX_NOISE ? "drift_form_at" : "form_at";
}
static int form_number(int drift) { return drift == DRIFT_SDE ? DRIFT_ODE : drift; }

static bool is_exponential(int method) { return method == METHOD_EXPONENTIAL || method == METHOD_DPM2M; }

bool solve_is_adaptive(int method) {
  return method == METHOD_BOSH3 || method == METHOD_DOPRI5 || method == METHOD_ADAPTIVE_COMPAT;
}

/* "CONDITION write ...": state and output, decoded where there is a decoder. */
static void emit_write(struct plan *plan, const char *condition, const char *slice) {
  if (plan->coders.decoder)
    plan_emit(plan, "  %s write(%s);\n", condition, slice);
  else
    plan_emit(plan, "  %s write_state<%d>(args, z, row, live, %s);\n", condition, plan->d, slice);
}

/* Up to the state at the start and its parts that stay the same. */
static noprop_status emit_begin(struct plan *plan, const struct solve_form *form) {
  const struct network *network = plan->network;
  plan_emit_step_forms(plan);
  plan_emit(plan, "#include \"tile_program.cuh\"\n");
  plan_emit_field_includes(plan);
  if (network->branch_count > 0) plan_emit(plan, "#include \"features.cuh\"\n");
  if (form->drift == DRIFT_SDE) plan_emit(plan, "#include \"solver_stochastic.cuh\"\n");
  if (plan->slopes)
    plan_emit(plan, "#include \"%s.cuh\"\n",
              form->method == METHOD_ADAPTIVE_COMPAT ? "solver_compat" : "solver_adaptive");
  if (plan->coders.decoder) plan_emit(plan, "#include \"decode.cuh\"\n");
  if (network->mixture) plan_emit(plan, "#include \"class_mixture.cuh\"\n");
  if (form->density) plan_emit(plan, "#include \"density.cuh\"\n");
  if (form->density || form->guided || plan->slopes) plan_emit(plan, "enum { DIMENSION = %d };\n", plan->d);
  plan_emit_tokens_includes(plan);
  plan_emit(plan,
            "\nextern \"C\" __global__ void __launch_bounds__(TILE_THREADS, 1) integrate(const integrate_arguments "
            "args) {\n");
  plan_emit(plan, "  extern __shared__ float4 tile_memory[];\n  float *const shared = (float *)tile_memory;\n");
  if (plan->workspace_floats)
    plan_emit(plan, "  float *const workspace = args.workspace + blockIdx.x * args.workspace_stride;\n");
  plan_emit(plan, "  const float *const P = args.parameters;\n");
  const noprop_status status = plan_emit_descriptions(plan);
  if (status != NOPROP_OK) return status;
  plan_emit(plan, "  const unsigned at = blockIdx.x * TILE_ROWS + tile_lane();\n");
  plan_emit(plan, "  const bool live = at < args.rows;\n  const unsigned row = live ? at : args.rows - 1;\n");
  plan_emit_tokens_begin(plan);
  plan_emit_tokens_condition(plan, "row", "true");
  if (network->x_width && !plan_has_tokens(plan)) {
    if (network->x_width <= X_CHUNK) {
      char width[16];
      snprintf(width, sizeof width, "%d", network->x_width);
      plan_emit_load_x(plan, "args.condition", "0", width, "  ");
      plan_emit(plan, "  __syncthreads();\n");
    }
    plan_emit_forward(plan, 0, plan->x_last);
    emit_hoisted_conditions(plan);
  }
  plan_emit_field_begin(plan);
  if (plan->field) plan_emit_field(plan, FIELD_ONCE);
  plan_emit(plan, "  float *const z = %s;\n", plan_place_text(plan->z, 0).s);
  plan_emit(plan, "  float *const input = %s;\n", plan_place_text(plan->input, 0).s);
  plan_emit(plan, "  start_state<%d>(z, input, args, row);\n", plan->d);
  if (plan->coders.decoder) plan_emit_decoding_writer(plan);
  emit_write(plan, "if (args.trajectory)", "0");
  plan_emit(plan, "  const float least = objective.time_margin, most = 1.0f - objective.time_margin;\n");
  if (form->density)
    plan_emit(plan,
              "  __syncthreads();\n  float exponent = normal_exponent<DIMENSION>(z);\n"
              "  float integral = 0.0f; // of minus the divergence\n");
  return NOPROP_OK;
}

/* What the density needs at the end. */
static void emit_density_end(struct plan *plan) {
  plan_emit(plan,
            "  __syncthreads();\n  if (args.reverse) exponent = normal_exponent<DIMENSION>(z);\n"
            "  if (live && tile_warp() == 0) args.density[row] = args.reverse ? exponent - integral : exponent + "
            "integral;\n");
}

static noprop_status emit_fixed(struct plan *plan, const struct solve_form *form) {
  const struct network *network = plan->network;
  const int method = form->method, solver = method - METHOD_EULER; /* enum solver_method follows enum method */
  const int output = network->op_count - 1;
  const bool exponential = is_exponential(method), stochastic = form->drift == DRIFT_SDE;
  const noprop_status status = emit_begin(plan, form);
  if (status != NOPROP_OK) return status;
  plan_emit(plan, "  exponential_step jump = {};\n");
  if (stochastic) plan_emit(plan, "  float deviation = 0.0f;\n");
  if (exponential) plan_emit(plan, "  float last_width = 1.0f;\n");
  plan_emit(plan, "#pragma unroll 1\n  for (unsigned step = 0; step < args.steps%s; ++step) {\n",
            form->final_denoise ? " + 1" : "");
  plan_emit(plan, "  const bool denoise = step == args.steps;\n");
  plan_emit(plan, "  const float t0 = args.times[step], t1 = denoise ? t0 : args.times[step + 1];\n");
  if (exponential && stochastic)
    plan_emit(plan,
              "  if (!denoise) jump = stochastic_step_at(objective, schedule, t0, t1, step, last_width, "
              "args.churn, &deviation);\n");
  else if (exponential)
    plan_emit(plan, "  if (!denoise) jump = exponential_step_at(objective, schedule, t0, t1, step, last_width);\n");
  plan_emit(plan, "#pragma unroll 1\n  for (int stage = 0; stage < (denoise ? 1 : %s); ++stage) {\n",
            method == METHOD_RK4 ? "4"
            : plan->stages       ? "2"
                                 : "1");
  plan_emit(plan, "  const float t = fminf(fmaxf(solver_stage_time<%d>(t0, t1, stage), least), most);\n", solver);
  if (stochastic && !exponential)
    plan_emit(plan,
              "  const path_point point = path_at(objective, schedule, t);\n"
              "  const prediction_form form = stochastic_form(objective, point, args.churn);\n"
              "  deviation = stochastic_deviation(point, args.churn, t1 - t0);\n");
  else
    plan_emit(plan, "  const prediction_form form = %s(objective, path_at(objective, schedule, t), %d);\n",
              form_function(form->drift), form_number(form->drift));
  plan_emit(plan, "  __syncthreads();\n");
  if (stochastic)
    plan_emit(plan,
              "  if (!denoise) tile_normals<%d>(%s, args.seed, args.row_base + row, philox_stream(STREAM_SDE, 0, 0), "
              "step);\n",
              plan->d, plan_place_text(plan->sum, 0).s);
  plan_emit_time_parts(plan);
  plan_emit(plan, "  __syncthreads();\n");
  emit_evaluation(plan, form);
  if (form->density)
    plan_emit(plan,
              "  integral = fmaf(solver_share<%d>(stage) * (t1 - t0), -fmaf(form.vp, trace, DIMENSION * form.vz), "
              "integral);\n",
              solver);
  plan_emit(plan, "  solver_update<%d, %d>(objective, form, jump, t1 - t0, stage, denoise, %s, z, input, ", solver,
            plan->d, plan_place_text(plan->ops[output].at[POST], 0).s);
  plan_emit(plan, "%s, %s);\n", plan_place_text(plan->sum, 0).s, plan_place_text(plan->previous, 0).s);
  if (stochastic)
    plan_emit(plan, "  if (!denoise) solver_add_noise<%d>(z, %s, deviation);\n", plan->d,
              plan_place_text(plan->sum, 0).s);
  plan_emit(plan, "  }\n");
  emit_write(plan, "if (args.trajectory)", "denoise ? args.steps : step + 1");
  plan_emit(plan, "  }\n");
  emit_write(plan, "if (!args.trajectory)", "0");
  if (form->density) emit_density_end(plan);
  plan_emit(plan, "}\n");
  return NOPROP_OK;
}

/* The network at `input` and t, and the end of a solve whose last stage, `last`, wants the predicted target. */
static void emit_stage(struct plan *plan, const struct solve_form *form, const char *last) {
  const struct network *network = plan->network;
  const struct text out = plan_place_text(plan->ops[network->op_count - 1].at[POST], 0);
  if (network->time_width)
    plan_emit(plan, "  time_tile<%d, %d>(%s, args.frequencies, t);\n  __syncthreads();\n", network->time_kind,
              network->time_width, plan_place_text(plan->time, 0).s);
  emit_evaluation(plan, form);
  plan_emit(plan, "  if (objective.cross_entropy) settle_output<DIMENSION>(objective, %s);\n", out.s);
  if (form->final_denoise)
    plan_emit(plan, "  if (stage == %s) {\n    adaptive_denoise<DIMENSION>(form, %s, z);\n    break;\n  }\n", last,
              out.s);
}

static noprop_status emit_adaptive(struct plan *plan, const struct solve_form *form) {
  const struct network *network = plan->network;
  const int solver = form->method - METHOD_EULER, output = network->op_count - 1;
  const char *denoise = form->final_denoise ? "true" : "false";
  const struct text out = plan_place_text(plan->ops[output].at[POST], 0);
  const noprop_status status = emit_begin(plan, form);
  if (status != NOPROP_OK) return status;
  if (form->density)
    plan_emit(plan,
              "  if (tile_warp() == DIMENSION %% TILE_WARPS) z[DIMENSION * TILE_ROWS + tile_lane()] = "
              "input[DIMENSION * TILE_ROWS + tile_lane()] = 0.0f;\n");
  /* Rows reach the points of a trajectory at different times: with a decoder their states alone are written on the way,
   * and all are decoded at the end. */
  const char *arguments = plan->coders.decoder ? "states" : "args";
  if (plan->coders.decoder) plan_emit(plan, "  integrate_arguments states = args;\n  states.output = nullptr;\n");
  plan_emit(plan, "  adaptive_row control = adaptive_begin();\n");
  plan_emit(plan, "  const float way = args.reverse ? -1.0f : 1.0f;\n  int stage = ADAPTIVE_FIRST;\n");
  plan_emit(plan, "#pragma unroll 1\n  while (stage != ADAPTIVE_DONE) {\n");
  plan_emit(plan, "  const float elapsed = adaptive_time<%d>(control, stage);\n", solver);
  plan_emit(plan, "  const float t = fminf(fmaxf(args.reverse ? 1.0f - elapsed : elapsed, least), most);\n");
  plan_emit(plan, "  const prediction_form form = %s(objective, path_at(objective, schedule, t), %d);\n",
            form_function(form->drift), form_number(form->drift));
  plan_emit(plan, "  __syncthreads();\n");
  emit_stage(plan, form, "ADAPTIVE_DENOISE");
  plan_emit(plan, "  stage = adaptive_stage<%d, DIMENSION, %d, %s, %s>(%s, form, %s, way, stage, control, ", solver,
            plan->components, form->density == DENSITY_PROBES ? "true" : "false", denoise, arguments,
            form->density ? "fmaf(form.vp, trace, DIMENSION * form.vz)" : "0.0f");
  plan_emit(plan, "%s, z, input, ", out.s);
  plan_emit(plan, "%s, %s, row, live);\n  }\n", plan_place_text(plan->stage_slopes, 0).s,
            plan_place_text(plan->scratch, 0).s);
  plan_emit(plan, "  adaptive_end<%d, DIMENSION>(%s, control, z, row, live, %s);\n", solver, arguments, denoise);
  if (plan->coders.decoder)
    plan_emit(
        plan,
        "#pragma unroll 1\n  for (unsigned slice = args.trajectory ? 1 : 0; slice <= (args.trajectory ? args.steps : "
        "0); ++slice) {\n"
        "  if (args.trajectory) read_state<DIMENSION>(args, z, row, live, slice);\n  write(slice);\n  }\n");
  if (form->density) {
    plan_emit(plan, "  __syncthreads();\n  integral = z[DIMENSION * TILE_ROWS + tile_lane()];\n");
    emit_density_end(plan);
  }
  plan_emit(plan, "}\n");
  return NOPROP_OK;
}

/* The earlier systems' steps: states are written one by one, since nothing between them is asked for. */
static noprop_status emit_compat(struct plan *plan, const struct solve_form *form) {
  const struct network *network = plan->network;
  const struct text out = plan_place_text(plan->ops[network->op_count - 1].at[POST], 0);
  const noprop_status status = emit_begin(plan, form);
  if (status != NOPROP_OK) return status;
  plan_emit(plan,
            "  compat_steps control = compat_begin(args.steps);\n  int stage = 0;\n"
            "#pragma unroll 1\n  while (stage != COMPAT_DONE) {\n"
            "  const float t = fminf(fmaxf(compat_time(control, stage), least), most);\n"
            "  const prediction_form form = %s(objective, path_at(objective, schedule, t), %d);\n"
            "  __syncthreads();\n",
            form_function(form->drift), form_number(form->drift));
  emit_stage(plan, form, "COMPAT_DENOISE");
  plan_emit(plan, "  stage = compat_stage<DIMENSION, %s>(form, args.steps, stage, control, ",
            form->final_denoise ? "true" : "false");
  plan_emit(plan, "%s, z, input, %s, ", out.s, plan_place_text(plan->stage_slopes, 0).s);
  plan_emit(plan, "%s, live);\n", plan_place_text(plan->scratch, 0).s);
  emit_write(plan, "if (args.trajectory && stage == 0)", "control.steps");
  plan_emit(plan,
            "  }\n#pragma unroll 1\n"
            "  for (unsigned slice = args.trajectory ? control.steps : 0; slice <= (args.trajectory ? args.steps : 0);"
            " ++slice)");
  emit_write(plan, "", "slice");
  plan_emit(plan, "  compat_record(args, control, row, live, %s);\n}\n", form->final_denoise ? "true" : "false");
  return NOPROP_OK;
}

/* ---- public ---- */

noprop_status program_integrate(const struct network *network, const struct settings *settings,
                                const noprop_model_shape *shape, size_t shared_limit, const struct solve_form *form,
                                const struct tile_form *tile, struct program *program) {
  if (settings->variant == VARIANT_DT)
    return program_integrate_blocks(network, settings, shape, shared_limit, form, program);
  struct plan plan = {.network = network,
                      .settings = settings,
                      .shape = shape,
                      .tile = *tile,
                      .shared_limit = shared_limit,
                      .features = "(const float *)args.condition",
                      .solve = true};
  const int method = form->method;
  const bool adaptive = solve_is_adaptive(method), compat = method == METHOD_ADAPTIVE_COMPAT;
  char *text = NULL;
  size_t size = 0;
  if (network->tokens.tokens > 0 && (form->density != DENSITY_NONE || compat))
    return status_set(NOPROP_UNSUPPORTED,
                      compat
                          ? "sample.method: adaptive_compat, whose steps are those of 32 rows together, has no kernels "
                            "for network.type transformer, where a block has one row; bosh3 and dopri5 are allowed"
                          : "log densities need derivatives of the network along directions, which network.type "
                            "transformer has no kernels for; allowed: other networks");
  if (form->drift == DRIFT_OU_MEAN && plan_path_of(settings) == 0)
    return status_set(NOPROP_INVALID_CONFIG,
                      "sample.drift: ou_mean exists on the VP path only; ode is allowed with variant fm");
  plan.stages = method == METHOD_MIDPOINT || method == METHOD_HEUN || method == METHOD_RK4 || adaptive;
  plan.slopes = method == METHOD_BOSH3 ? 4 : method == METHOD_DOPRI5 ? 7 : compat ? 4 : 0;
  plan.row_times = adaptive;
  plan.guided = form->guided;
  plan.tangents = form->density != DENSITY_NONE;
  plan.components = network->latent + (adaptive && plan.tangents);
  plan.out = open_memstream(&text, &size);
  if (!plan.out) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  const bool placed = plan_place_arrays(&plan);
  return plan_finish(&plan, &text,
                     !placed    ? plan_unplaced(&plan)
                     : compat   ? emit_compat(&plan, form)
                     : adaptive ? emit_adaptive(&plan, form)
                                : emit_fixed(&plan, form),
                     "integrate", program);
}
