/* Code generation around a field that is a sequence of launches (staged.h): what comes before and behind it in a
 * training step (`staged_draw`, `staged_loss`) and in a solve (`staged_start`, `staged_stage`). The mathematics is that
 * of tile programs, by the same device functions; a row's noise is drawn anew where the loss needs it. */
#include "engine/program_plan.h"
#include "engine/staged.h"
#include "engine/status.h"

/* What all of these kernels begin with. */
static void emit_head(struct plan *plan, const char *entry, const char *arguments, const char *part) {
  plan_emit(plan,
            "extern \"C\" __global__ void __launch_bounds__(TILE_THREADS, 1) %s(const %s a) {\n"
            "  const auto &args = a.%s;\n"
            "  extern __shared__ float4 tile_memory[];\n  float *const shared = (float *)tile_memory;\n",
            entry, arguments, part);
  if (plan->workspace_floats)
    plan_emit(plan, "  float *const workspace = args.workspace + blockIdx.x * args.workspace_stride;\n");
}

static bool begin(struct plan *plan, char **text, size_t *size) {
  const struct network *network = plan->network;
  plan->d = network->latent;
  plan->d8 = plan_round_up8(plan->d);
  plan->x_last = -1;
  plan->out = open_memstream(text, size);
  if (!plan->out) return false;
  plan->scratch = plan_allocate(plan, SCRATCH_FLOATS);
  plan->x =
      network->x_width ? plan_allocate_tile(plan, network->x_width < X_CHUNK ? network->x_width : X_CHUNK) : NOWHERE;
  plan->z = plan_allocate_tile(plan, plan->d);
  return true;
}

static void emit_includes(struct plan *plan) {
  plan_emit_step_forms(plan);
  plan_emit(plan, "#include \"tile_program.cuh\"\n#include \"staged.cuh\"\n%s\n",
            plan->network->branch_count > 0 ? "#include \"features.cuh\"\n" : "");
}

/* The rows' conditions, `at` of the field's array. */
static void emit_condition(struct plan *plan, const char *at) {
  const int width = plan->network->x_width;
  if (width == 0) return;
  plan_emit(plan,
            "#pragma unroll 1\n  for (int k = 0; k < %d; k += %d) {\n    const int features = min(%d, %d - k);\n"
            "    __syncthreads();\n",
            width, X_CHUNK, X_CHUNK, width);
  plan_emit_load_x(plan, "args.condition", "k", "features", "    ");
  plan_emit(plan, "    staged_write<%d>(a.condition, %s, %s, k, features);\n  }\n", plan_round_up8(width),
            plan_place_text(plan->x, 0).s, at);
}

static noprop_status finish(struct plan *plan, char **text, noprop_status status, const char *first, const char *entry,
                            struct program *program) {
  status = plan_finish(plan, text, status, entry, program);
  if (status != NOPROP_OK) return status;
  program->staged = true;
  program->fragments = plan->network->operand_form >= 0;
  program->first_entry = first;
  return status;
}

/* ---- training ---- */

/* z_t of the tile's rows from their target; `point` and `drawn` are there. */
static void emit_state(struct plan *plan) {
  plan_emit(plan,
            "  const time_draw drawn = draw_time(objective, schedule, args, batch, row, draw);\n"
            "  const float t = drawn.t;\n  path_point point = path_at(objective, schedule, t);\n"
            "  point.factor = drawn.factor;\n");
  plan_emit(plan, "  make_state<%d>(%s, ", plan->d, plan_place_text(plan->z, 0).s);
  plan_emit(plan, "%s, %s, point, args, batch, %s, draw);\n", plan_place_text(plan->noise, 0).s,
            plan_place_text(plan->z1, 0).s, plan_noise_row(plan->settings, false).s);
}

static noprop_status emit_draw(struct plan *plan) {
  const struct network *network = plan->network;
  emit_head(plan, "staged_draw", "staged_arguments", "train");
  const noprop_status status = plan_emit_descriptions(plan);
  if (status != NOPROP_OK) return status;
  plan_emit(plan,
            "  const batch_rows batch = batch_begin(args);\n"
            "  const unsigned tiles = a.rows / TILE_ROWS, tile = blockIdx.x %% tiles, draw = blockIdx.x / tiles;\n"
            "  const tile_row row = tile_row_of(args, batch, tile);\n"
            "  const unsigned in_draw = tile * TILE_ROWS + tile_lane();\n"
            "  const unsigned long long at = (unsigned long long)draw * a.rows + in_draw;\n");
  if (network->x_width) {
    plan_emit(plan, "  if (draw == 0) {\n");
    emit_condition(plan, "in_draw");
    plan_emit(plan, "  }\n");
  }
  plan_emit_load_target(plan, plan->z1);
  emit_state(plan);
  if (network->time_width)
    plan_emit(plan, "  staged_time<%d, %d, %d>(a.time, args.frequencies, t, at);\n", network->time_kind,
              network->time_width, plan_round_up8(network->time_width));
  plan_emit(plan, "  __syncthreads();\n  staged_write<%d>(a.z, %s, at, 0, %d);\n}\n\n", plan->d8,
            plan_place_text(plan->z, 0).s, plan->d);
  return NOPROP_OK;
}

static noprop_status emit_loss(struct plan *plan, struct place output, struct place delta) {
  const struct settings *settings = plan->settings;
  const int d = plan->d, d8 = plan->d8;
  emit_head(plan, "staged_loss", "staged_arguments", "train");
  const noprop_status status = plan_emit_descriptions(plan);
  if (status != NOPROP_OK) return status;
  plan_emit(plan, "  const batch_rows batch = batch_begin(args);\n  float weight_scale = objective.weight_scale;\n");
  plan_emit(
      plan,
      "  if (objective.batch_normalised) weight_scale = batch_weight_scale(objective, schedule, args, batch, %s);\n",
      plan_place_text(plan->scratch, 0).s);
  if (settings->loss.normalize == NORMALIZE_PRODUCT) plan_emit(plan, "  weight_scale = 1.0f / weight_scale - 1e-8f;\n");
  plan_emit(plan,
            "  row_terms sums = {0.0f, 0.0f, 0.0f};\n"
            "  const unsigned first_tile = blockIdx.x * args.tiles_per_slot;\n"
            "  const unsigned last_tile = min(first_tile + args.tiles_per_slot, a.rows / TILE_ROWS);\n"
            "#pragma unroll 1\n  for (unsigned tile = first_tile; tile < last_tile; ++tile) {\n"
            "  const tile_row row = tile_row_of(args, batch, tile);\n"
            "  const float share = row.live ? 1.0f / ((float)batch.total * objective.draws) : 0.0f;\n");
  plan_emit_load_target(plan, plan->z1);
  plan_emit(plan,
            "#pragma unroll 1\n  for (unsigned draw = 0; draw < objective.draws; ++draw) {\n"
            "  const unsigned long long first = (unsigned long long)draw * a.rows + tile * TILE_ROWS;\n");
  emit_state(plan);
  plan_emit(plan, "  staged_read<%d, %d>(%s, a.output, first + tile_lane());\n  __syncthreads();\n", d, d8,
            plan_place_text(output, 0).s);
  plan_emit(plan, "  const row_terms terms = objective_terms<%d, %d, %d, %s>(\n      objective, point, ", d, d8, d8,
            plan->backward ? "true" : "false");
  plan_emit(plan, "%s, share, %s, ", plan_weight_text(plan).s, plan_place_text(output, 0).s);
  plan_emit(plan, "%s, %s, ", plan_place_text(plan->z, 0).s, plan_place_text(plan->z1, 0).s);
  plan_emit(plan, "%s, ", plan_place_text(plan->noise, 0).s);
  if (plan->backward)
    plan_emit(plan, "%s, a.output_gradient + first * %d);\n", plan_place_text(delta, 0).s, d8);
  else
    plan_emit(plan, "nullptr, nullptr);\n");
  plan_emit(plan, "  collect_terms(sums, terms, objective, row, share, draw, %s, args.out_row_loss);\n",
            plan_place_text(plan->scratch, 0).s);
  plan_emit(plan, "  if (draw == 0) {\n    write_rows<%d>(args.out_prediction, %s, row.local, row.live);\n", d,
            plan_place_text(output, 0).s);
  plan_emit(plan, "    write_rows<%d>(args.out_z, %s, row.local, row.live);\n  }\n  __syncthreads();\n  }\n  }\n", d,
            plan_place_text(plan->z, 0).s);
  plan_emit(plan, "  finish_slot(args, objective, sums, 0u, false);\n}\n");
  return NOPROP_OK;
}

noprop_status program_staged_objective(const struct network *network, const struct settings *settings,
                                       const noprop_model_shape *shape, size_t shared_limit, bool backward,
                                       struct program *program) {
  struct plan plan = {.network = network,
                      .tile = TILE_FORM_WIDE,
                      .settings = settings,
                      .shape = shape,
                      .shared_limit = shared_limit,
                      .backward = backward,
                      .features = "args.features"};
  char *text = NULL;
  size_t size = 0;
  if (!begin(&plan, &text, &size)) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  plan.z1 = plan_allocate_tile(&plan, plan.d);
  plan.noise = plan_allocate_tile(&plan, plan.d);
  const struct place output = plan_allocate_tile(&plan, plan.d);
  const struct place delta = backward ? plan_allocate_tile(&plan, plan.d) : NOWHERE;
  emit_includes(&plan);
  noprop_status status = emit_draw(&plan);
  if (status == NOPROP_OK) status = emit_loss(&plan, output, delta);
  return finish(&plan, &text, status, "staged_draw", "staged_loss", program);
}

/* ---- solves ---- */

static void emit_solve_rows(struct plan *plan) {
  plan_emit(plan,
            "  const unsigned at = blockIdx.x * TILE_ROWS + tile_lane();\n"
            "  const bool live = at < args.rows;\n  const unsigned row = live ? at : args.rows - 1;\n");
}

/* The time embedding of `stage` of `step`, by the first block. */
static void emit_time(struct plan *plan, int solver, const char *step, const char *stage) {
  const struct network *network = plan->network;
  if (network->time_width == 0) return;
  plan_emit(plan,
            "  if (blockIdx.x == 0) time_vector<%d, %d>(a.time, args.frequencies, staged_time_of<%d>(objective, args, "
            "%s, %s));\n",
            network->time_kind, network->time_width, solver, step, stage);
}

static noprop_status emit_start(struct plan *plan, const struct solve_form *form, int solver) {
  const char *z = "z";
  emit_head(plan, "staged_start", "staged_solve_arguments", "solve");
  const noprop_status status = plan_emit_descriptions(plan);
  if (status != NOPROP_OK) return status;
  emit_solve_rows(plan);
  emit_condition(plan, "at");
  plan_emit(plan, "  float *const z = %s;\n  start_state<%d>(z, z, args, row);\n", plan_place_text(plan->z, 0).s,
            plan->d);
  plan_emit(plan, "  staged_keep<%d, %d>(a.state, %s, at);\n", plan->d, plan->d8, z);
  plan_emit(plan, "  if (a.input != a.state) staged_keep<%d, %d>(a.input, z, at);\n", plan->d, plan->d8);
  plan_emit(plan, "  write_state<%d>(args, z, row, live, 0);\n", plan->d);
  plan_emit(plan, "  if (args.steps%s > 0) {\n", form->final_denoise ? " + 1" : "");
  emit_time(plan, solver, "0", "0");
  plan_emit(plan, "  }\n}\n\n");
  return NOPROP_OK;
}

static noprop_status emit_stage(struct plan *plan, const struct solve_form *form, int solver, int stages,
                                const struct place *places) {
  const int d = plan->d, d8 = plan->d8;
  const bool stochastic = form->drift == DRIFT_SDE, two = form->method == METHOD_HEUN || form->method == METHOD_RK4;
  const bool exponential = form->method == METHOD_EXPONENTIAL || form->method == METHOD_DPM2M;
  const bool previous = form->method == METHOD_DPM2M;
  emit_head(plan, "staged_stage", "staged_solve_arguments", "solve");
  const noprop_status status = plan_emit_descriptions(plan);
  if (status != NOPROP_OK) return status;
  emit_solve_rows(plan);
  plan_emit(plan, "  float *const z = %s, *const input = %s;\n", plan_place_text(plan->z, 0).s,
            plan_place_text(stages > 1 ? plan->input : plan->z, 0).s);
  plan_emit(plan, "  float *const output = %s, *const sum = %s;\n", plan_place_text(places[0], 0).s,
            plan_place_text(places[1], 0).s);
  plan_emit(plan, "  float *const before = %s;\n", plan_place_text(places[2], 0).s);
  plan_emit(plan,
            "  const unsigned step = a.step;\n  const int stage = a.stage;\n"
            "  const bool denoise = step == args.steps;\n"
            "  const float t0 = args.times[step], t1 = denoise ? t0 : args.times[step + 1];\n"
            "  const float t = staged_time_of<%d>(objective, args, step, stage);\n"
            "  exponential_step jump = {};\n",
            solver);
  if (stochastic) plan_emit(plan, "  float deviation = 0.0f;\n");
  if (exponential) {
    const char *call = stochastic ? "stochastic" : "exponential", *more = stochastic ? ", args.churn, &deviation" : "";
    plan_emit(plan,
              "  float last_width = 1.0f;\n"
              "  if (!denoise && step) jump = %s_step_at(objective, schedule, args.times[step - 1], t0, 0, "
              "last_width%s);\n"
              "  if (!denoise) jump = %s_step_at(objective, schedule, t0, t1, step, last_width%s);\n",
              call, more, call, more);
  }
  if (stochastic && !exponential)
    plan_emit(plan,
              "  const path_point point = path_at(objective, schedule, t);\n"
              "  const prediction_form form = stochastic_form(objective, point, args.churn);\n"
              "  deviation = stochastic_deviation(point, args.churn, t1 - t0);\n");
  else
    plan_emit(plan, "  const prediction_form form = drift_form_at(objective, path_at(objective, schedule, t), %d);\n",
              stochastic ? DRIFT_ODE : form->drift);
  plan_emit(plan, "  staged_read<%d, %d>(output, a.output, at);\n  staged_read<%d, %d>(z, a.state, at);\n", d, d8, d,
            d8);
  if (form->guided)
    plan_emit(plan,
              "  staged_read<%d, %d>(sum, a.unguided, at);\n"
              "  for (int i = tile_warp(); i < %d; i += TILE_WARPS) {\n"
              "    const int e = i * TILE_ROWS + tile_lane();\n"
              "    output[e] = fmaf(args.guidance, output[e] - sum[e], sum[e]);\n  }\n",
              d, d8, d);
  if (stages > 1) plan_emit(plan, "  staged_read<%d, %d>(input, a.input, at);\n", d, d8);
  if (two) plan_emit(plan, "  if (stage) staged_read<%d, %d>(sum, a.sum, at);\n", d, d8);
  if (previous) plan_emit(plan, "  if (step) staged_read<%d, %d>(before, a.previous, at);\n", d, d8);
  plan_emit(plan, "  __syncthreads();\n");
  plan_emit(plan,
            "  solver_update<%d, %d>(objective, form, jump, t1 - t0, stage, denoise, output, z, input, sum, before);\n",
            solver, d);
  if (stochastic)
    plan_emit(plan,
              "  __syncthreads();\n"
              "  if (!denoise) tile_normals<%d>(sum, args.seed, args.row_base + row, philox_stream(STREAM_SDE, 0, 0), "
              "step);\n  __syncthreads();\n  if (!denoise) solver_add_noise<%d>(z, sum, deviation);\n",
              d, d);
  plan_emit(plan, "  staged_keep<%d, %d>(a.state, z, at);\n", d, d8);
  if (stages > 1) plan_emit(plan, "  staged_keep<%d, %d>(a.input, input, at);\n", d, d8);
  if (two) plan_emit(plan, "  if (!denoise) staged_keep<%d, %d>(a.sum, sum, at);\n", d, d8);
  if (previous) plan_emit(plan, "  if (!denoise) staged_keep<%d, %d>(a.previous, before, at);\n", d, d8);
  plan_emit(plan, "  if (!denoise && stage < %d) {\n", stages - 1);
  emit_time(plan, solver, "step", "stage + 1");
  plan_emit(plan,
            "    return;\n  }\n  if (args.trajectory)\n"
            "    write_state<%d>(args, z, row, live, denoise ? args.steps : step + 1);\n"
            "  else if (step + 1 == args.steps%s)\n    write_state<%d>(args, z, row, live, 0);\n"
            "  if (step + 1 < args.steps%s) {\n",
            d, form->final_denoise ? " + 1" : "", d, form->final_denoise ? " + 1" : "");
  emit_time(plan, solver, "step + 1", "0");
  plan_emit(plan, "  }\n}\n");
  return NOPROP_OK;
}

noprop_status program_staged_solve(const struct network *network, const struct settings *settings,
                                   const noprop_model_shape *shape, size_t shared_limit, const struct solve_form *form,
                                   struct program *program) {
  struct plan plan = {.network = network,
                      .settings = settings,
                      .shape = shape,
                      .tile = TILE_FORM_WIDE,
                      .shared_limit = shared_limit,
                      .features = "(const float *)args.condition",
                      .solve = true};
  const int solver = form->method - METHOD_EULER, stages = staged_stages(form->method);
  char *text = NULL;
  size_t size = 0;
  if (form->drift == DRIFT_OU_MEAN && plan_path_of(settings) == 0)
    return status_set(NOPROP_INVALID_CONFIG,
                      "sample.drift: ou_mean exists on the VP path only; ode is allowed with variant fm");
  if (!begin(&plan, &text, &size)) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  const struct place places[3] = {plan_allocate_tile(&plan, plan.d), plan_allocate_tile(&plan, plan.d),
                                  plan_allocate_tile(&plan, plan.d)};
  if (stages > 1) plan.input = plan_allocate_tile(&plan, plan.d);
  emit_includes(&plan);
  if (form->drift == DRIFT_SDE) plan_emit(&plan, "#include \"solver_stochastic.cuh\"\n");
  noprop_status status = emit_start(&plan, form, solver);
  if (status == NOPROP_OK) status = emit_stage(&plan, form, solver, stages, places);
  return finish(&plan, &text, status, "staged_start", "staged_stage", program);
}
