/* Code generation for networks that are transformers over the state's positions (kernels/token_field.cuh): constants,
 * the block's memory, and the calls in the places where other networks have their layers. Tiles are of one row. */
#include <math.h>

#include "engine/program_plan.h"
#include "kernels/arguments.h"

enum { WARPS = TILE_THREADS / 32, STAGE_FLOATS = 32 * 33 /* TOKEN_STAGE */ };

static int round4(int n) { return (n + 3) & ~3; }
static int larger(int a, int b) { return a > b ? a : b; }

bool plan_has_tokens(const struct plan *plan) { return plan->network->tokens.tokens > 0; }

/* struct token_kept */
static long kept_floats(const struct token_field *t, int tokens, bool cross) {
  const long width = (long)tokens * t->width, feed = (long)tokens * t->feed;
  const long sums = round4(tokens * t->heads), scales = round4(tokens);
  return 7 * width + 2 * feed + 2 * scales + sums + (cross ? 3 * width + scales + sums : 0);
}

/* struct token_memory, hottest first. */
enum {
  STREAM,
  ANGLES,
  CONDITION_ANGLES,
  MOMENT,
  PLACES,
  STAGE,
  OTHER,
  MEANS,
  LAST,
  LAST_SCALES,
  INPUTS_OF_CONDITION,
  ENCODED,
  ENCODED_SCALES,
  ENCODED_GRADIENT,
  KEY_GRADIENTS,
  WIDE,
  LAYERS_KEPT,
  KEYS_OF_LAYERS,
  CONDITION_LAYERS_KEPT,
  TOKEN_ARRAYS
};
_Static_assert(TOKEN_ARRAYS == (int)TOKEN_PLACES, "a place for each array");
static const char *const MEMBERS[TOKEN_ARRAYS] = {
    "stream",        "angles", "condition_angles", "moment", "places",          "stage",          "other",
    "means",         "last",   "last_scales",      "input",  "encoded",         "encoded_scales", "encoded_gradient",
    "key_gradients", "wide",   "layers",           "keys",   "condition_layers"};

void plan_place_tokens(struct plan *plan) {
  const struct token_field *t = &plan->network->tokens;
  if (t->tokens == 0) return;
  const int most = larger(t->tokens, t->positions), head = t->width / t->heads;
  const long width = t->width, of_condition = (long)t->positions * width;
  const int layers = plan->backward ? t->layers : 1, condition_layers = plan->backward ? t->condition_layers : 1;
  const bool cross = t->positions > 0;
  long floats[TOKEN_ARRAYS] = {
      [STREAM] = most * width,
      [ANGLES] = (long)t->tokens * head,
      [CONDITION_ANGLES] = (long)t->positions * head,
      [MOMENT] = width,
      [PLACES] = 2L * t->positions + 1,
      [LAST] = t->tokens * width,
      [LAST_SCALES] = t->tokens,
      [INPUTS_OF_CONDITION] = (long)t->positions * round4(t->inputs),
      [ENCODED] = of_condition,
      [ENCODED_SCALES] = t->positions,
      [LAYERS_KEPT] = layers * kept_floats(t, t->tokens, cross),
      [KEYS_OF_LAYERS] = t->layers * 2 * of_condition,
      [CONDITION_LAYERS_KEPT] = cross ? condition_layers * kept_floats(t, t->positions, false) : 0,
  };
  if (plan->backward) {
    floats[STAGE] = (long)WARPS * STAGE_FLOATS;
    floats[OTHER] = most * width;
    floats[MEANS] = (long)most * t->heads;
    floats[ENCODED_GRADIENT] = of_condition;
    floats[KEY_GRADIENTS] = 2 * of_condition;
    floats[WIDE] = (long)most * larger(t->feed, 3 * t->width);
  }
  for (int i = 0; i < TOKEN_ARRAYS; ++i) plan->tokens[i] = floats[i] ? plan_allocate(plan, floats[i]) : NOWHERE;
}

/* The parameters of a layer as constants of a struct. */
static void emit_layer(struct plan *plan, const char *name, int first, int layers, bool cross) {
  const struct parameter_entry *parameters = plan->network->parameters + first;
  static const struct {
    const char *name;
    bool of_cross;
  } parts[] = {{"QKV", false}, {"OUT", false},   {"QUERY", true}, {"KEYS", true},
               {"MIX", true},  {"FEED0", false}, {"FEED1", false}};
  int number = 0;
  plan_emit(plan, "  struct %s {\n", name);
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; ++i) {
    if (parts[i].of_cross && !cross) continue;
    plan_emit(plan, "    static constexpr int %s = %ld, %s_BIAS = %ld;\n", parts[i].name,
              parameters[number].padded_offset, parts[i].name, parameters[number + 1].padded_offset);
    number += 2;
  }
  const long step = layers > 1 ? parameters[number].padded_offset - parameters[0].padded_offset : 0;
  plan_emit(plan, "    static constexpr int STEP = %ld;  // between layers\n  };\n", step);
}

void plan_emit_tokens_includes(struct plan *plan) {
  const struct network *network = plan->network;
  const struct token_field *t = &network->tokens;
  if (t->tokens == 0) return;
  const struct parameter_entry *parameters = network->parameters;
  const bool rotary = plan->settings->network.transformer.positions == POSITIONS_ROTARY;
  const int pairs = (rotary ? t->width / t->heads : t->width) / 2;
  /* Whether positions of the condition may not be there. */
  const bool sparse = t->masked || plan->guided || (!plan->solve && plan->settings->loss.condition_dropout > 0);
  plan_emit(plan, "#include \"token_field%s.cuh\"\n\nstatic __constant__ float FREQUENCIES[%d] = {",
            plan->backward ? "_backward" : "", pairs);
  for (int i = 0; i < pairs; ++i)
    plan_emit(plan, "%s%s", i ? ", " : "", plan_float_text(pow(10000.0, -(double)i / pairs)).s);
  plan_emit(
      plan,
      "};\n\nstruct token_constants {\n  static constexpr int TOKENS = %d, CHANNELS = %d, POSITIONS = %d, INPUTS = "
      "%d, WIDTH = %d, HEADS = %d, FEED = %d, LAYERS = %d, CONDITION_LAYERS = %d, TIME = %d;\n",
      t->tokens, t->channels, t->positions, t->inputs, t->width, t->heads, t->feed, t->layers, t->condition_layers,
      network->time_width);
  plan_emit(plan,
            "  static constexpr bool MASKED = %s, SPARSE = %s, ROTARY = %s;\n  static constexpr int KIND = %d, "
            "ACTIVATION = %d;\n",
            t->masked ? "true" : "false", sparse ? "true" : "false", rotary ? "true" : "false",
            plan_row_kind(plan->shape->condition_type, plan->shape->condition_is_label),
            plan->settings->network.activation);
  plan_emit(plan,
            "  static constexpr int EMBED = %ld, EMBED_BIAS = %ld, TIME_WEIGHT = %ld, OUTPUT = %ld, OUTPUT_BIAS = %ld, "
            "OUTPUT_STRIDE = %d;\n",
            parameters[t->embed].padded_offset, parameters[t->embed + 1].padded_offset,
            parameters[t->time].padded_offset, parameters[t->output].padded_offset,
            parameters[t->output + 1].padded_offset, parameters[t->output].stride);
  if (t->positions > 0) {
    plan_emit(plan, "  static constexpr int CONDITION_EMBED = %ld, CONDITION_EMBED_BIAS = %ld;\n",
              parameters[t->condition_embed].padded_offset, parameters[t->condition_embed + 1].padded_offset);
    emit_layer(plan, "condition_layer", t->condition_layer, t->condition_layers, false);
  }
  emit_layer(plan, "field_layer", t->layer, t->layers, t->positions > 0);
  plan_emit(plan, "  static __device__ __forceinline__ float frequency(int pair) { return FREQUENCIES[pair]; }\n};\n");
}

void plan_emit_tokens_begin(struct plan *plan) {
  if (!plan_has_tokens(plan)) return;
  plan_emit(plan, "  token_memory tokens;\n");
  for (int i = 0; i < TOKEN_ARRAYS; ++i)
    if (plan->tokens[i].offset >= 0)
      plan_emit(plan, "  tokens.%s = %s(%s);\n", MEMBERS[i], i == PLACES ? "(int *)" : "",
                plan_place_text(plan->tokens[i], 0).s);
}

void plan_emit_tokens_condition(struct plan *plan, const char *row, const char *keep) {
  if (!plan_has_tokens(plan)) return;
  plan_emit(
      plan,
      "  token_encode<token_constants, %s>(P, tokens, args.condition, args.condition_scale, args.condition_shift, "
      "%s, %s);\n",
      plan->backward ? "true" : "false", row, keep);
}

void plan_emit_tokens_forward(struct plan *plan) {
  const int output = network_said_op(plan->network);
  plan_emit(plan, "  token_forward<token_constants, %s>(P, tokens, %s, ", plan->backward ? "true" : "false",
            plan_place_text(plan->solve ? plan->input : plan->z, 0).s);
  plan_emit(plan, "%s, ", plan_place_text(plan->time, 0).s);
  plan_emit(plan, "%s, tokens.places%s);\n", plan_place_text(plan->ops[output].at[POST], 0).s,
            plan->guided ? " + (pass ? 0 : token_constants::POSITIONS)" : "");
}

void plan_emit_tokens_backward(struct plan *plan) {
  plan_emit(plan, "  token_backward<token_constants, %s>(P, slot, tokens, %s, ", plan->state ? "true" : "false",
            plan_place_text(plan->z, 0).s);
  plan_emit(plan, "%s, delta, ", plan_place_text(plan->time, 0).s);
  plan_emit(plan, "%s, %s);\n", plan->state ? plan_place_text(plan->state_gradient, 0).s : "nullptr", plan->again);
}

void plan_emit_tokens_condition_backward(struct plan *plan) {
  if (!plan_has_tokens(plan)) return;
  plan_emit(plan, "  token_encode_backward<token_constants>(P, slot, tokens, again);\n");
}
