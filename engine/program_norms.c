/* Code generation for batch norm by the statistics of the batch (kernels/batch_norm.cuh).
 *
 * A norm needs the mean and variance of its input over the batch before any row can go on, and on the way back two more
 * means. The train kernel goes over its rows once for each of these: in the pass of a norm a tile is computed up to it,
 * adds what it has to sums, and the next tile begins; then all blocks wait for each other and add up their sums. The
 * last pass does what other train kernels do, with all statistics known. Nothing but sums is kept from pass to pass,
 * and a training step stays one launch of it. Statistics are those of all rows and draws; of the pass at t = 1
 * (loss.recon.type end_logits) of its own. Other kernels take running statistics. */
#include "engine/program_plan.h"
#include "engine/status.h"

bool plan_has_norm_passes(const struct plan *plan) { return plan->backward && plan->network->norm_count > 0; }

/* Batches of rows that are normalised apart. */
static int groups(const struct plan *plan) { return plan_has_end_pass(plan->settings) ? 2 : 1; }

static int width8(const struct plan *plan, int number) { return plan_round_up8(plan->network->norms[number].width); }

static long take(struct plan *plan, long floats) {
  const long place = plan->workspace_floats;
  plan->workspace_floats += (floats + 3) & ~3L;
  plan->norm_floats += (floats + 3) & ~3L;
  return place;
}

void plan_place_norms(struct plan *plan) {
  if (!plan_has_norm_passes(plan)) return;
  plan->norm_barrier = take(plan, (long)(sizeof(grid_barrier_state) / sizeof(float)));
  for (int i = 0; i < plan->network->norm_count; ++i) {
    const long floats = 2L * width8(plan, i) * groups(plan);
    plan->norms[i] = (struct norm_plan){.backward_stop = -1};
    plan->norms[i].moments = take(plan, floats);
    plan->norms[i].feedback = take(plan, floats);
    plan->norms[i].whole = take(plan, 2 * floats);
  }
}

const char *plan_in_last_pass(const struct plan *plan) {
  return plan_has_norm_passes(plan) ? "  if (norm_last)\n  " : "";
}

static int passes(const struct plan *plan) { return plan->network->norm_count + plan->norm_stops; }

void plan_emit_norms_begin(struct plan *plan) {
  if (!plan_has_norm_passes(plan)) return;
  plan_emit(plan, "  const unsigned norm_slot_rows = args.tiles_per_slot * TILE_ROWS;\n");
  plan_emit(plan,
            "#pragma unroll 1\n  for (unsigned norm_pass = 0; norm_pass <= %d; ++norm_pass) {\n"
            "  const bool norm_last = norm_pass == %d;\n",
            passes(plan), passes(plan));
}

void plan_emit_norms_draw(struct plan *plan) {
  if (!plan_has_norm_passes(plan)) return;
  const bool two = groups(plan) == 2;
  plan_emit(plan, "  const unsigned norm_group = %s;\n", two ? "draw == objective.draws" : "0");
  plan_emit(plan,
            "  const unsigned norm_before = (tile - first_tile) * TILE_ROWS * (%sobjective.draws) + "
            "(%sdraw) * min((unsigned)TILE_ROWS, batch.count - tile * TILE_ROWS);\n",
            two ? "norm_group ? 1u : " : "", two ? "norm_group ? 0u : " : "");
  for (int i = 0; i < plan->network->norm_count; ++i)
    plan_emit(plan, "  const float *const norm_%d = workspace + %ld + norm_group * %d;\n", i, plan->norms[i].whole,
              4 * width8(plan, i));
}

void plan_emit_norms_row_end(struct plan *plan) {
  if (plan_has_norm_passes(plan)) plan_emit(plan, "  if (!norm_last) continue;\n");
}

void plan_emit_norm_stop(struct plan *plan, int number, const char *tile, const char *unit) {
  if (!plan_has_norm_passes(plan)) return;
  const struct norm_plan *norm = &plan->norms[number];
  const int pass = unit ? plan->network->norm_count + norm->backward_stop : number;
  plan_emit(plan, "  if (norm_pass == %d) {\n    collect_%s<%d>(workspace + %ld + norm_group * %d, %s, ", pass,
            unit ? "feedback" : "moments", plan->network->norms[number].width, unit ? norm->feedback : norm->moments,
            2 * width8(plan, number), tile);
  if (unit) plan_emit(plan, "%s, ", unit);
  plan_emit(plan, "row.live, norm_before);\n    __syncthreads();\n    continue;\n  }\n");
}

/* Where mean and variance stand. */
static struct text mean_of(const struct plan *plan, int number, bool variance) {
  const struct norm_layer *norm = &plan->network->norms[number];
  struct text text;
  if (plan_has_norm_passes(plan))
    snprintf(text.s, sizeof text.s, "norm_%d + %d + n", number, variance ? width8(plan, number) : 0);
  else
    snprintf(text.s, sizeof text.s, "P + %ld + n",
             plan->network->parameters[variance ? norm->variance : norm->mean].padded_offset);
  return text;
}

void plan_emit_norm_value(struct plan *plan, int number, const char *acc) {
  plan_emit(plan, "    norm_value(%s, %s, ", acc, mean_of(plan, number, false).s);
  plan_emit(plan, "%s);\n", mean_of(plan, number, true).s);
}

void plan_emit_norm_tangent(struct plan *plan, int number, const char *acc) {
  plan_emit(plan, "    norm_tangent(%s, %s);\n", acc, mean_of(plan, number, true).s);
}

void plan_emit_norm_adjoint(struct plan *plan, int number, const char *acc, const char *unit) {
  plan_emit(plan, "    norm_adjoint<%d>(%s, %s, norm_%d + n, row.live);\n", width8(plan, number), acc, unit, number);
}

/* The end of a norm's pass: all blocks' sums, in the order of blocks, in every block. */
static void emit_merge(struct plan *plan, int number, bool back) {
  const struct norm_plan *norm = &plan->norms[number];
  const struct norm_layer *of = &plan->network->norms[number];
  const int padded = width8(plan, number);
  plan_emit(plan, "  if (norm_pass == %d)\n    for (unsigned group = 0; group < %d; ++group) {\n",
            back ? plan->network->norm_count + norm->backward_stop : number, groups(plan));
  plan_emit(plan, "      const unsigned draws = %s;\n",
            groups(plan) == 2 ? "group ? 1u : objective.draws" : "objective.draws");
  plan_emit(plan, "      merge_%s<%d>(workspace + %ld + group * %d, args.workspace + %ld + group * %d, ",
            back ? "feedback" : "moments", of->width, norm->whole, 4 * padded, back ? norm->feedback : norm->moments,
            2 * padded);
  plan_emit(plan, "args.workspace_stride, norm_slot_rows, batch.count, draws);\n");
  if (!back) {
    plan_emit(plan, "      if (blockIdx.x == 0 && !args.request)\n        update_running<%d>((float *)P + %ld, ",
              of->width, plan->network->parameters[of->mean].padded_offset);
    plan_emit(plan, "(float *)P + %ld, workspace + %ld + group * %d, %s, batch.count * draws);\n",
              plan->network->parameters[of->variance].padded_offset, norm->whole, 4 * padded,
              plan_float_text(of->momentum).s);
  }
  plan_emit(plan, "    }\n");
}

void plan_emit_norms_end(struct plan *plan) {
  if (!plan_has_norm_passes(plan)) return;
  plan_emit(plan, "  if (norm_last) break;\n  grid_barrier((grid_barrier_state *)(args.workspace + %ld));\n",
            plan->norm_barrier);
  for (int i = 0; i < plan->network->norm_count; ++i) emit_merge(plan, i, false);
  for (int i = 0; i < plan->network->norm_count; ++i)
    if (plan->norms[i].backward_stop >= 0) emit_merge(plan, i, true);
  plan_emit(plan, "  __syncthreads();\n  }\n");
}
