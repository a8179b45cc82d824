/* Code generation for variant dt: T networks of one shape, trained side by side and run one after the other.
 *
 * A launch that trains has slot_count blocks of threads for each of its networks: nothing is shared between networks
 * but the rows that they read. A solve carries a tile of rows through all of them by the bridge between their levels.
 */
#include <math.h>
#include <stdlib.h>

#include "engine/dt.h"
#include "engine/program_plan.h"
#include "engine/schedule.h"
#include "engine/status.h"

/* ---- levels ---- */

/* alpha_bar_t = prod of cos^2(pi s/2T) over s = 1..t, which falls with t; block t sees its own level. */
static void notebook_levels(const struct settings *settings, struct dt_level *levels) {
  const int blocks = settings->dt.blocks;
  double signal = 1, last = 0;
  for (int t = 1; t <= blocks; ++t) {
    const double cosine = cos(3.14159265358979323846 * t / (2.0 * blocks));
    signal *= cosine * cosine;
    const double snr = signal / (1 - signal + 1e-8);
    levels[t - 1] = (struct dt_level){
        .a = sqrt(signal), .b = sqrt(1 - signal), .weight = settings->dt.eta / 2 * (snr - last), .gain = 1};
    last = snr;
  }
  levels[blocks] = levels[blocks - 1];
}

noprop_status dt_levels(const struct settings *settings, int latent, struct dt_level *levels) {
  struct schedule schedule;
  const int blocks = settings->dt.blocks;
  if (settings->dt.form == DT_FORM_NOTEBOOK) {
    notebook_levels(settings, levels);
    return NOPROP_OK;
  }
  const noprop_status status = schedule_describe(settings, NULL, &schedule);
  if (status != NOPROP_OK) return status;
  noprop_schedule_values from = schedule_at(&schedule, 0.0);
  for (int k = 0; k < blocks; ++k) {
    const noprop_schedule_values to = schedule_at(&schedule, (double)(k + 1) / blocks);
    const double r = from.alpha_bar / to.alpha_bar, rest = (to.alpha_bar - from.alpha_bar) / to.alpha_bar;
    levels[k] = (struct dt_level){
        .a = sqrt(from.alpha_bar),
        .b = sqrt(from.one_minus_alpha_bar),
        .weight = latent * settings->dt.eta / 2 * (to.snr - from.snr),
        .keep = sqrt(r) * to.one_minus_alpha_bar / from.one_minus_alpha_bar,
        .gain = sqrt(to.alpha_bar) * rest / from.one_minus_alpha_bar,
        .deviation = sqrt(rest * to.one_minus_alpha_bar / from.one_minus_alpha_bar),
    };
    from = to;
  }
  levels[blocks] = (struct dt_level){.a = sqrt(from.alpha_bar), .b = sqrt(from.one_minus_alpha_bar)};
  return NOPROP_OK;
}

static noprop_status emit_levels(struct plan *plan) {
  struct dt_level levels[DT_MAX_BLOCKS + 1] = {{0}};
  const noprop_status status = dt_levels(plan->settings, plan->d, levels);
  if (status != NOPROP_OK) return status;
  plan_emit(plan,
            "enum { BLOCKS = %d, BLOCK_FLOATS = %ld };\nstatic __device__ const block_level levels[BLOCKS + 1] = {\n",
            plan->network->blocks, plan->network->block_floats);
  for (int k = 0; k <= plan->network->blocks; ++k) {
    plan_emit(plan, "    {%s, %s, ", plan_float_text(levels[k].a).s, plan_float_text(levels[k].b).s);
    plan_emit(plan, "%s, %s, ", plan_float_text(levels[k].weight).s, plan_float_text(levels[k].keep).s);
    plan_emit(plan, "%s, %s},\n", plan_float_text(levels[k].gain).s, plan_float_text(levels[k].deviation).s);
  }
  plan_emit(plan, "};\n");
  return NOPROP_OK;
}

/* What a kernel with a classifier needs beside the plan. */
struct scores {
  struct place logits, labels; /* tiles of so many features as there are classes */
};

/* Whether the last block is trained with the classifier. */
static bool scores_prediction(const struct plan *plan) { return plan->settings->dt.form == DT_FORM_NOTEBOOK; }

static struct scores place_scores(struct plan *plan) {
  const long floats = (long)plan_round_up8(plan->network->classes) * plan->tile.rows;
  struct scores scores = {NOWHERE, NOWHERE};
  if (floats == 0) return scores;
  scores.logits = plan_allocate(plan, floats);
  if (!plan->solve) scores.labels = plan_allocate(plan, floats);
  return scores;
}

/* Where classifier and learned embeddings stand among the parameters, and the form of a tail. */
static void emit_places(struct plan *plan) {
  const struct network *network = plan->network;
  const long classifier = network->blocks * network->block_floats;
  if (network->classes)
    plan_emit(plan, "enum { CLASSES = %d, CLASSIFIER = %ld, CLASSIFIER_BIAS = %ld };\n", network->classes, classifier,
              classifier + (long)network->latent * plan_round_up8(network->classes));
  plan_emit(plan, "enum { EMBEDDING_FLOATS = %ld, TAIL_FLOATS = EMBEDDING_FLOATS + SLOT_TERMS };\n",
            network->embedding_floats);
  if (network->embedding_floats)
    plan_emit(plan, "enum { EMBEDDING = %ld };\n", classifier + network->classifier_floats);
}

/* What plan->features need. */
static void emit_condition_width(struct plan *plan) {
  if (plan->network->branch_count > 0)
    plan_emit(plan, "constexpr unsigned long long CONDITION = %d;\n", plan->network->x_width);
}

/* The clean latent of the tile's rows. */
static void emit_load_latent(struct plan *plan) {
  const struct settings *settings = plan->settings;
  const int kind = plan_row_kind(plan->shape->target_type, plan->shape->target_is_label);
  const struct text z1 = plan_place_text(plan->z1, 0);
  if (settings->latent.embedding == EMBEDDING_ONE_HOT)
    plan_emit(plan,
              "  load_features<%d, %d>(%s, args.target, row.data, args.target_scale, args.target_shift, 0, %d, %s);\n",
              kind, plan->d, z1.s, plan->d, plan_float_text(settings->latent.off_value).s);
  else
    plan_emit(plan, "  load_embedding<%d, %d, %d>(%s, args.target, row.data, %s);\n", kind, plan->d, plan->d8, z1.s,
              plan->network->embedding_floats ? "args.parameters + EMBEDDING" : "args.embedding");
}

/* ---- training ---- */

/* Adds the tile's gradients of clean latents to those of the labels' embeddings. */
static void emit_embedding_gradient(struct plan *plan) {
  if (!plan->state) return;
  plan_emit(plan, "  add_embedding_gradient<%d, %d, %d, CLASSES>(tail, %s, args.target, row, again, ",
            plan_row_kind(plan->shape->target_type, true), plan->d, plan->d8,
            plan_place_text(plan->target_gradient, 0).s);
  plan_emit(plan, "%s);\n", plan_place_text(plan->scratch, 0).s);
}

/* The head of the loop over tiles. */
static void emit_tiles(struct plan *plan) {
  plan_emit(plan, "#pragma unroll 1\n  for (unsigned tile = first_tile; tile < last_tile; ++tile) {\n");
  if (plan->backward) plan_emit(plan, "  const bool again = tile != first_tile;\n");
  plan_emit(plan,
            "  const tile_row row = tile_row_of(args, batch, tile);\n"
            "  const float share = row.live ? 1.0f / ((float)batch.total * objective.draws) : 0.0f;\n");
  emit_load_latent(plan);
}

static void emit_load_labels(struct plan *plan, const struct scores *scores) {
  plan_emit(plan, "  load_features<%d, CLASSES>(%s, args.target, row.data, nullptr, nullptr, 0, CLASSES, 0.0f);\n",
            plan_row_kind(plan->shape->target_type, true), plan_place_text(scores->labels, 0).s);
}

/* The last block's gradient by its prediction, with what the classifier says of it; the classifier's own blocks of
 * threads report the term. */
static void emit_scored_gradient(struct plan *plan, const struct scores *scores, const char *out) {
  const int ld = plan_round_up8(plan->network->classes);
  const struct text logits = plan_place_text(scores->logits, 0);
  plan_emit(plan,
            "  if (block == BLOCKS - 1) {\n  objective_description cross_entropy = objective;\n"
            "  cross_entropy.cross_entropy = 1;\n"
            "  classify<%d, CLASSES>(%s, %s, args.parameters + CLASSIFIER, args.parameters + CLASSIFIER_BIAS);\n"
            "  __syncthreads();\n",
            plan->d, logits.s, out);
  plan_emit(plan, "  (void)objective_terms<CLASSES, %d, %d, true>(cross_entropy, point, 1.0f, share, %s, %s, ", ld,
            ld + 1, logits.s, logits.s);
  plan_emit(plan, "%s, %s, other, other_rows);\n", plan_place_text(scores->labels, 0).s, logits.s);
  plan_emit(plan,
            "  add_scores_gradient<%d, %d, CLASSES>(delta, delta_rows, other, args.parameters + CLASSIFIER);\n  }\n",
            plan->d, plan->d8);
}

/* The classifier's blocks of threads: cross-entropy of the label at states of the last level, or (notebook) at the last
 * block's predictions. */
static void emit_classifier(struct plan *plan, const struct scores *scores) {
  const struct text z = plan_place_text(plan->z, 0), noise = plan_place_text(plan->noise, 0),
                    logits = plan_place_text(scores->logits, 0), labels = plan_place_text(scores->labels, 0);
  const int classes = plan->network->classes, ld = plan_round_up8(classes), output = plan->network->op_count - 1;
  const bool backward = plan->backward, predicted = scores_prediction(plan);
  const struct text read = predicted ? plan_place_text(plan->ops[output].at[POST], 0) : z; /* by the classifier */
  plan_emit(plan,
            "  if (block == BLOCKS) {\n  objective_description cross_entropy = objective;\n"
            "  cross_entropy.cross_entropy = 1;\n  const float *const classifier = P, *const bias = P + "
            "(CLASSIFIER_BIAS - CLASSIFIER);\n");
  if (predicted) /* with the last block's parameters, noise and dropout */
    plan_emit(plan,
              "  const unsigned block = BLOCKS - 1;\n"
              "  const float *const P = args.parameters + block * BLOCK_FLOATS;\n");
  emit_tiles(plan);
  emit_load_labels(plan, scores);
  if (predicted) plan_emit_condition(plan);
  if (backward)
    plan_emit(plan, "  float *const delta = %s, *const delta_rows = %s;\n", plan_place_text(plan->delta[0], 0).s,
              plan_place_text(plan->delta_rows[0], 0).s);
  plan_emit(plan, "#pragma unroll 1\n  for (unsigned draw = 0; draw < objective.draws; ++draw) {\n");
  plan_emit(plan, "  make_block_state<%d>(%s, %s, ", plan->d, z.s, noise.s);
  plan_emit(plan, "%s, level, args, batch, row, block, draw);\n  __syncthreads();\n", plan_place_text(plan->z1, 0).s);
  if (predicted) plan_emit_forward(plan, plan->x_last + 1, output);
  plan_emit(plan, "  classify<%d, CLASSES>(%s, %s, classifier, bias);\n  __syncthreads();\n", plan->d, logits.s,
            read.s);
  plan_emit(plan,
            "  const row_terms terms = objective_terms<%d, %d, %d, %s>(\n      cross_entropy, point, 1.0f, share, %s, ",
            classes, ld, ld + 1, backward ? "true" : "false", logits.s);
  plan_emit(plan, "%s, %s, %s, ", logits.s, labels.s, logits.s);
  plan_emit(plan, "%s);\n", backward ? "delta, delta_rows" : "nullptr, nullptr");
  plan_emit(plan, "  collect_terms(sums, terms, cross_entropy, row, share, draw, %s, nullptr);\n",
            plan_place_text(plan->scratch, 0).s);
  if (backward)
    plan_emit(
        plan,
        "  classifier_gradient<%d, CLASSES>(slot, slot + (CLASSIFIER_BIAS - CLASSIFIER), %s, delta_rows, again || "
        "draw);\n",
        plan->d, read.s);
  if (plan->state && predicted)
    plan_emit(plan, "  clear_target_gradient<%d>(%s);\n", plan->d, plan_place_text(plan->target_gradient, 0).s);
  else if (plan->state)
    plan_emit(plan, "  classifier_target_gradient<%d, CLASSES>(%s, delta, classifier, level.a, draw != 0);\n", plan->d,
              plan_place_text(plan->target_gradient, 0).s);
  plan_emit(plan, "  __syncthreads();\n  }\n"); /* draws */
  emit_embedding_gradient(plan);
  plan_emit(plan, "  }\n"); /* tiles */
  plan_emit(plan,
            "  finish_block_slot(slot, tail, EMBEDDING_FLOATS, sums, SLOT_RECON, %ldu, first_tile >= last_tile);\n"
            "  return;\n  }\n",
            backward ? plan->network->classifier_floats : 0L);
}

static noprop_status emit_train(struct plan *plan, const struct scores *scores) {
  const struct network *network = plan->network;
  const int output = network->op_count - 1;
  const bool backward = plan->backward, divergence = plan->settings->loss.kl_z0 > 0;
  const struct text weight = plan_float_text(plan->settings->loss.kl_z0);
  const struct text out = plan_place_text(plan->ops[output].at[POST], 0);
  plan_emit_step_forms(plan);
  plan_emit(plan, "#include \"tile_program.cuh\"\n");
  plan_emit_field_includes(plan);
  plan_emit(plan, "#include \"%s.cuh\"\n%s%s\n%s", scores_prediction(plan) ? "dt_notebook" : "dt",
            network->branch_count > 0 ? "#include \"features.cuh\"\n" : "",
            plan->state ? "#include \"state_gradient.cuh\"\n" : "", PLAN_EXCHANGE);
  noprop_status status = emit_levels(plan);
  if (status != NOPROP_OK) return status;
  emit_places(plan);
  emit_condition_width(plan);
  plan_emit(plan, "extern \"C\" __global__ void __launch_bounds__(TILE_THREADS, 1) %s(const train_arguments args) {\n",
            backward ? "train" : "loss");
  plan_emit(plan, "  extern __shared__ float4 tile_memory[];\n  float *const shared = (float *)tile_memory;\n");
  if (plan->workspace_floats)
    plan_emit(plan, "  float *const workspace = args.workspace + blockIdx.x * args.workspace_stride;\n");
  plan_emit(plan,
            "  const unsigned part = blockIdx.x / args.slot_count, number = blockIdx.x %% args.slot_count;\n"
            "  const unsigned block = args.first_block + part;\n  const block_level level = levels[block];\n"
            "  const path_point point = level_point(level);\n"
            "  const bool told = block == args.out_block;\n"
            "  float *const slot = args.slots + number * args.slot_stride + part * BLOCK_FLOATS;\n"
            "  float *const tail = args.tails + (block * args.slot_count + number) * TAIL_FLOATS;\n"
            "  const float *const P = args.parameters + block * BLOCK_FLOATS;\n");
  status = plan_emit_descriptions(plan);
  if (status != NOPROP_OK) return status;
  plan_emit(plan, "  const batch_rows batch = batch_begin(args);\n");
  plan_emit_dropout(plan);
  plan_emit(plan,
            "  row_terms sums = {0.0f, 0.0f, 0.0f};\n  const unsigned first_tile = number * args.tiles_per_slot;\n"
            "  const unsigned last_tile = min(first_tile + args.tiles_per_slot, (batch.count + TILE_ROWS - 1) / "
            "TILE_ROWS);\n");
  if (network->classes) emit_classifier(plan, scores);
  emit_tiles(plan);
  if (scores_prediction(plan) && backward) emit_load_labels(plan, scores);
  plan_emit_condition(plan);
  plan_emit_deltas(plan);
  plan_emit(plan, "#pragma unroll 1\n  for (unsigned draw = 0; draw < objective.draws; ++draw) {\n");
  plan_emit(plan, "  make_block_state<%d>(%s, ", plan->d, plan_place_text(plan->z, 0).s);
  plan_emit(plan, "%s, %s, level, args, batch, row, block, draw);\n  __syncthreads();\n",
            plan_place_text(plan->noise, 0).s, plan_place_text(plan->z1, 0).s);
  plan_emit_forward(plan, plan->x_last + 1, output);
  plan_emit(plan, "  %srow_terms terms = objective_terms<%d, %d, %d, %s>(\n      objective, point, ",
            divergence ? "" : "const ", plan->d, plan->d8, plan->d8 + 1, backward ? "true" : "false");
  plan_emit(plan, "level.weight, share, %s, %s, ", out.s, plan_place_text(plan->z, 0).s);
  plan_emit(plan, "%s, %s, %s);\n", plan_place_text(plan->z1, 0).s, plan_place_text(plan->noise, 0).s,
            backward ? "delta, delta_rows" : "nullptr, nullptr");
  if (scores_prediction(plan) && backward) emit_scored_gradient(plan, scores, out.s);
  if (divergence && plan->settings->loss.kl_form == KL_NORM)
    plan_emit(plan, "  if (block == 0) terms.recon = half_norm<%d>(%s);\n", plan->d, plan_place_text(plan->z1, 0).s);
  else if (divergence)
    plan_emit(plan, "  if (block == 0) terms.recon = kl_of_level<%d>(level, %s);\n", plan->d,
              plan_place_text(plan->z1, 0).s);
  plan_emit(plan,
            "  collect_terms(sums, terms, objective, row, share, draw, %s, told ? args.out_row_loss : nullptr);\n",
            plan_place_text(plan->scratch, 0).s);
  plan_emit(plan,
            "  if (told && draw == 0) {\n    write_rows<%d>(args.out_prediction, %s, row.local, row.live);\n"
            "    write_rows<%d>(args.out_z, ",
            plan->d, out.s, plan->d);
  plan_emit(plan, "%s, row.local, row.live);\n  }\n", plan_place_text(plan->z, 0).s);
  if (plan->state) {
    plan_emit(plan, "  begin_state_gradient<%d, %d>(objective, point, level.weight, share, %s, ", plan->d, plan->d8,
              out.s);
    plan_emit(plan, "%s, %s, ", plan_place_text(plan->z, 0).s, plan_place_text(plan->z1, 0).s);
    plan_emit(plan, "%s, %s, ", plan_place_text(plan->noise, 0).s, plan_place_text(plan->state_gradient, 0).s);
    plan_emit(plan, "%s, draw != 0);\n", plan_place_text(plan->target_gradient, 0).s);
  }
  plan->again = "again || draw";
  if (backward)
    plan_emit_backward(plan, plan->x_last + 1, output);
  else
    plan_emit(plan, "  __syncthreads();\n");
  if (plan->state) {
    plan_emit(plan, "  finish_state_gradient<%d>(point, args, row, draw, %s, ", plan->d,
              plan_place_text(plan->state_gradient, 0).s);
    plan_emit(plan, "%s);\n", plan_place_text(plan->target_gradient, 0).s);
  }
  plan_emit(plan, "  }\n"); /* draws */
  if (backward && plan->x_last >= 0) plan_emit_condition_backward(plan, NULL);
  if (divergence && plan->state) {
    const bool norm = plan->settings->loss.kl_form == KL_NORM;
    plan_emit(plan, "  if (block == 0) %s<%d>(%s, ", norm ? "add_half_square_gradient" : "add_kl_gradient", plan->d,
              plan_place_text(plan->target_gradient, 0).s);
    plan_emit(plan, "%s%s, share * objective.draws * %s);\n", norm ? "" : "level, ", plan_place_text(plan->z1, 0).s,
              weight.s);
  }
  emit_embedding_gradient(plan);
  plan_emit(plan, "  }\n"); /* tiles */
  plan_emit(plan, "  finish_block_slot(slot, tail, EMBEDDING_FLOATS, sums, SLOT_FLOW, %s, first_tile >= last_tile);\n",
            backward ? "BLOCK_FLOATS" : "0u");
  if (divergence) plan_emit(plan, "  finish_block_kl(tail, EMBEDDING_FLOATS, sums, %s);\n", weight.s);
  plan_emit(plan, "}\n");
  return NOPROP_OK;
}

noprop_status program_train_blocks(const struct network *network, const struct settings *settings,
                                   const noprop_model_shape *shape, size_t shared_limit, bool backward,
                                   const struct tile_form *tile, struct program *program) {
  struct plan plan = {.network = network,
                      .tile = *tile,
                      .settings = settings,
                      .shape = shape,
                      .shared_limit = shared_limit,
                      .backward = backward,
                      .state = backward && network->embedding_floats > 0,
                      .features = "args.features + part * args.batch * CONDITION",
                      .feature_gradients = "args.feature_gradients + part * args.batch * CONDITION",
                      .widest = plan_round_up8(network->classes)};
  char *text = NULL;
  size_t size = 0;
  plan.out = open_memstream(&text, &size);
  if (!plan.out) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  const bool placed = plan_place_arrays(&plan);
  const struct scores scores = place_scores(&plan);
  return plan_finish(&plan, &text, placed ? emit_train(&plan, &scores) : plan_unplaced(&plan),
                     backward ? "train" : "loss", program);
}

/* ---- solves ---- */

/* "CONDITION write": the state and what is made of it, as slice `slice`. */
static void emit_write(struct plan *plan, const struct scores *scores, const char *condition, const char *slice) {
  const struct text z = plan_place_text(plan->z, 0);
  if (plan->network->classes)
    plan_emit(plan,
              "  %s write_scores<%d, CLASSES>(args, %s, %s, args.parameters + CLASSIFIER, args.parameters + "
              "CLASSIFIER_BIAS, row.local, row.live, %s);\n",
              condition, plan->d, z.s, plan_place_text(scores->logits, 0).s, slice);
  else
    plan_emit(plan, "  %s write_state<%d>(args, %s, row.local, row.live, %s);\n", condition, plan->d, z.s, slice);
}

static noprop_status emit_bridge(struct plan *plan, const struct scores *scores, const struct solve_form *form) {
  const int output = plan->network->op_count - 1;
  const bool stochastic = form->drift == DRIFT_SDE;
  const struct text out = plan_place_text(plan->ops[output].at[POST], 0), z = plan_place_text(plan->z, 0),
                    noise = plan_place_text(plan->noise, 0);
  plan_emit(plan, "#include \"tile_program.cuh\"\n");
  plan_emit_field_includes(plan);
  plan_emit(plan, "#include \"dt.cuh\"\n%s\n", plan->network->branch_count > 0 ? "#include \"features.cuh\"\n" : "");
  const noprop_status status = emit_levels(plan);
  if (status != NOPROP_OK) return status;
  emit_places(plan);
  emit_condition_width(plan);
  plan_emit(plan,
            "extern \"C\" __global__ void __launch_bounds__(TILE_THREADS, 1) integrate(const integrate_arguments args) "
            "{\n  extern __shared__ float4 tile_memory[];\n  float *const shared = (float *)tile_memory;\n");
  if (plan->workspace_floats)
    plan_emit(plan, "  float *const workspace = args.workspace + blockIdx.x * args.workspace_stride;\n");
  plan_emit(plan,
            "  const unsigned at = blockIdx.x * TILE_ROWS + tile_lane();\n  tile_row row;\n"
            "  row.live = at < args.rows;\n  row.local = row.number = row.data = row.live ? at : args.rows - 1;\n");
  plan_emit(plan, "  start_state<%d>(%s, %s, args, row.local);\n", plan->d, z.s, z.s);
  emit_write(plan, scores, "if (args.trajectory)", "0");
  plan_emit(plan,
            "#pragma unroll 1\n  for (unsigned block = 0; block < BLOCKS; ++block) {\n"
            "  const float *const P = args.parameters + block * BLOCK_FLOATS;\n"
            "  const block_level level = levels[block];\n  __syncthreads();\n");
  plan_emit_condition(plan);
  if (stochastic)
    plan_emit(plan,
              "  tile_normals<%d>(%s, args.seed, args.row_base + row.local, philox_stream(STREAM_SDE, 0, 0), block);\n",
              plan->d, noise.s);
  plan_emit(plan, "  __syncthreads();\n");
  plan_emit_forward(plan, plan->x_last + 1, output);
  if (form->final_denoise)
    plan_emit(plan, "  if (block == BLOCKS - 1)\n    take_target<%d>(%s, %s);\n  else\n  ", plan->d, z.s, out.s);
  plan_emit(plan, "  bridge_step<%d, %s>(%s, ", plan->d, stochastic ? "true" : "false", z.s);
  plan_emit(plan, "%s, %s, level);\n", out.s, noise.s);
  emit_write(plan, scores, "if (args.trajectory)", "block + 1");
  plan_emit(plan, "  }\n");
  emit_write(plan, scores, "if (!args.trajectory)", "0");
  plan_emit(plan, "}\n");
  return NOPROP_OK;
}

noprop_status program_integrate_blocks(const struct network *network, const struct settings *settings,
                                       const noprop_model_shape *shape, size_t shared_limit,
                                       const struct solve_form *form, struct program *program) {
  /* Places as those of the loss: the condition's branch belongs to a block and is computed in each. */
  struct plan plan = {.network = network,
                      .settings = settings,
                      .shape = shape,
                      .tile = TILE_FORM_WIDE,
                      .shared_limit = shared_limit,
                      .features = "(const float *)args.condition + block * args.rows * CONDITION"};
  char *text = NULL;
  size_t size = 0;
  plan.out = open_memstream(&text, &size);
  if (!plan.out) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  const bool placed = plan_place_arrays(&plan);
  const struct scores scores = place_scores(&plan);
  return plan_finish(&plan, &text, placed ? emit_bridge(&plan, &scores, form) : plan_unplaced(&plan), "integrate",
                     program);
}
