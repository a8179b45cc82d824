/* Code generation for a monotone network that is trained as a schedule: kernels/schedule_network.cuh in the kernels of
 * training and of losses. Solves read it as a table that the host makes of it (solve.c). */
#include <stdio.h>
#include <string.h>

#include "engine/program_plan.h"

bool plan_trains_network(const struct plan *plan) {
  return plan_path_of(plan->settings) == 1 && plan->settings->schedule.learnable &&
         plan->settings->schedule.type == SCHEDULE_NETWORK;
}

bool plan_trains_ends(const struct plan *plan) {
  return plan_path_of(plan->settings) == 1 && plan->settings->schedule.learnable &&
         plan->settings->schedule.learn_endpoints;
}

static int layers_of(const struct plan *plan) { return plan->settings->schedule.hidden_count + 1; }

/* Inputs of layer `layer`; of layers_of, what the last one gives. */
static int width_before(const struct plan *plan, int layer) {
  const struct settings *settings = plan->settings;
  return layer == 0 || layer > settings->schedule.hidden_count ? 1 : settings->schedule.hidden[layer - 1];
}

/* Where an array stands among the parameters: "schedule.NAME". */
long plan_schedule_place(const struct plan *plan, const char *name) {
  for (int i = 0; i < plan->network->parameter_count; ++i)
    if (strncmp(plan->network->parameters[i].name, "schedule.", 9) == 0 &&
        strcmp(plan->network->parameters[i].name + 9, name) == 0)
      return plan->network->parameters[i].padded_offset;
  return -1;
}

static long array_of(const struct plan *plan, int layer, const char *what) {
  char name[24];
  snprintf(name, sizeof name, "%d.%s", layer, what);
  return plan_schedule_place(plan, name);
}

long plan_schedule_mix(const struct plan *plan) { return plan_schedule_place(plan, "mix"); }

int plan_schedule_widest(const struct plan *plan) {
  int widest = 0;
  if (plan->solve || !plan_trains_network(plan)) return 0;
  for (int k = 0; k <= layers_of(plan); ++k)
    if (plan_round_up8(width_before(plan, k)) > widest) widest = plan_round_up8(width_before(plan, k));
  return widest;
}

void plan_place_schedule(struct plan *plan) {
  struct schedule_plan *places = &plan->schedule;
  if (plan->solve || !plan_trains_network(plan)) return;
  places->value[0] = plan_allocate(plan, 2L * plan->tile.rows);
  places->slope[0] = places->value[0];
  places->slope[0].offset += plan->tile.rows;
  for (int k = 0; k < layers_of(plan); ++k) {
    places->weights[k] = plan_allocate(plan, (long)width_before(plan, k) * plan_round_up8(width_before(plan, k + 1)));
    places->value[k + 1] = plan_allocate_tile(plan, width_before(plan, k + 1));
    places->slope[k + 1] = plan_allocate_tile(plan, width_before(plan, k + 1));
  }
}

void plan_emit_schedule_begin(struct plan *plan) {
  if (!plan_trains_network(plan)) return;
  for (int k = 0; k < layers_of(plan); ++k)
    plan_emit(plan, "  make_positive<%d, %d>(%s, P + %ld);\n", width_before(plan, k), width_before(plan, k + 1),
              plan_place_text(plan->schedule.weights[k], 0).s, array_of(plan, k, "weight"));
  if (plan->backward) plan_emit(plan, "  float mix_sum = 0.0f;\n");
}

void plan_emit_schedule_point(struct plan *plan) {
  const struct schedule_plan *places = &plan->schedule;
  const int last = layers_of(plan);
  plan_emit(plan, "  start_network(%s, t);\n", plan_place_text(places->value[0], 0).s);
  for (int k = 0; k < last; ++k) {
    plan_emit(plan, "  network_layer<%d, %d, %s>(%s, ", width_before(plan, k), width_before(plan, k + 1),
              k == last - 1 ? "true" : "false", plan_place_text(places->value[k + 1], 0).s);
    plan_emit(plan, "%s, %s, ", plan_place_text(places->slope[k + 1], 0).s, plan_place_text(places->value[k], 0).s);
    plan_emit(plan, "%s, %s, P + %ld);\n", plan_place_text(places->slope[k], 0).s,
              plan_place_text(places->weights[k], 0).s, array_of(plan, k, "bias"));
  }
  plan_emit(plan, "  const float inner = (%s)[tile_lane()], ", plan_place_text(places->value[last], 0).s);
  plan_emit(plan, "inner_slope = (%s)[tile_lane()];\n", plan_place_text(places->slope[last], 0).s);
  plan_emit(plan, "  path_point point = path_of_network(schedule, t, inner, inner_slope);\n");
}

void plan_emit_network_gradient(struct plan *plan) {
  const struct schedule_plan *places = &plan->schedule;
  plan_emit(
      plan,
      "    const network_slopes by = network_slopes_at(schedule, t, inner, inner_slope, slope.gamma, slope.prime);\n"
      "    mix_sum += by.mix;\n    start_network_gradient(delta, delta_rows);\n");
  for (int k = layers_of(plan) - 1; k >= 0; --k) {
    plan_emit(plan, "    network_layer_gradient<%d, %d, %s>(slot + %ld, slot + %ld, by, ", width_before(plan, k),
              width_before(plan, k + 1), k == 0 ? "true" : "false", array_of(plan, k, "weight"),
              array_of(plan, k, "bias"));
    plan_emit(plan, "%s, %s, ", plan_place_text(places->value[k], 0).s, plan_place_text(places->slope[k], 0).s);
    plan_emit(plan, "%s, delta, delta_rows, other, other_rows, %s, again || draw);\n",
              plan_place_text(places->weights[k], 0).s, plan_place_text(plan->scratch, 0).s);
    if (k > 0) plan_emit(plan, "    exchange(delta, other), exchange(delta_rows, other_rows);\n");
  }
}

void plan_emit_schedule_end(struct plan *plan) {
  if (!plan_trains_network(plan) || !plan->backward) return;
  plan_emit(plan, "  if (first_tile < last_tile) {\n    __syncthreads();\n");
  for (int k = 0; k < layers_of(plan); ++k)
    plan_emit(plan, "    finish_network_weights<%d, %d>(slot + %ld, P + %ld);\n", width_before(plan, k),
              width_before(plan, k + 1), array_of(plan, k, "weight"), array_of(plan, k, "weight"));
  plan_emit(plan, "  }\n  write_schedule_gradient(slot + %ld, mix_sum, schedule.mix * (1.0f - schedule.mix));\n",
            plan_schedule_mix(plan));
}
