/* network.type transformer: which sequences it takes, its parameters in their order, and what it costs. */
#include "engine/network_tokens.h"

#include <stdio.h>

#include "engine/network_field.h"
#include "engine/status.h"

enum { POSITIONS_MOST = 1024 /* of a condition */ };

noprop_status network_plan_tokens(const struct settings *settings, const noprop_model_shape *shape,
                                  struct network *network) {
  if (settings->network.type != NETWORK_TRANSFORMER) return NOPROP_OK;
  const int *target = shape->target_shape, *condition = shape->condition_shape;
  const bool masked = settings->network.transformer.masked, sequence = condition[0] == 1;
  if (shape->target_is_label || target[0] != 1)
    return status_set(NOPROP_INVALID_CONFIG,
                      "network.type: transformer needs sequences as target, [rows][length][channels]; this target is "
                      "%s of width %d",
                      shape->target_is_label ? "a label"
                      : target[0] == 0       ? "a vector"
                                             : "an image",
                      shape->target_width);
  if (condition[0] > 1)
    return status_set(NOPROP_INVALID_CONFIG,
                      "network.type: transformer takes sequences [rows][length][channels], vectors, labels or nothing "
                      "as condition; this condition is [rows][%d][%d][%d]",
                      condition[0], condition[1], condition[2]);
  if (masked && (!sequence || condition[2] < 2))
    return status_set(NOPROP_INVALID_CONFIG,
                      "network.transformer.masked: is of conditions that are sequences, whose positions have a number "
                      "beside the one that says whether they are there; this condition has %d numbers in %d positions",
                      shape->condition_width, sequence ? condition[1] : shape->condition_width > 0);
  if (sequence && condition[1] > POSITIONS_MOST)
    return status_set(NOPROP_UNSUPPORTED,
                      "network.type: transformer takes conditions up to %d positions; these have %d",
                      (int)POSITIONS_MOST, condition[1]);
  network->tokens = (struct token_field){
      .tokens = target[1],
      .channels = target[2],
      .positions = sequence ? condition[1] : shape->condition_width > 0,
      .inputs = sequence ? condition[2] - masked : shape->condition_width,
      .masked = masked,
      .width = settings->network.transformer.width,
      .heads = settings->network.transformer.heads,
      .feed = settings->network.transformer.feed_forward,
      .layers = settings->network.transformer.layers,
      .condition_layers = shape->condition_width > 0 ? settings->network.transformer.condition_layers : 0};
  return NOPROP_OK;
}

/* PREFIX.weight and PREFIX.bias; the weight's number. */
static int add_dense(struct network *network, const char *prefix, int inputs, int outputs) {
  char name[64];
  snprintf(name, sizeof name, "%s.weight", prefix);
  const int weight = network_add_parameter(network, name, inputs, outputs, INITIALISE_LECUN);
  snprintf(name, sizeof name, "%s.bias", prefix);
  network_add_parameter(network, name, 1, outputs, INITIALISE_ZERO);
  return weight;
}

/* A layer: the kernels have its parameters in this order. */
static int add_layer(struct network *network, const char *prefix, int number, bool cross) {
  const struct token_field *t = &network->tokens;
  const struct {
    const char *name;
    int inputs, outputs;
    bool of_cross;
  } parts[] = {{"qkv", t->width, 3 * t->width, false},    {"out", t->width, t->width, false},
               {"cross.query", t->width, t->width, true}, {"cross.keys", t->width, 2 * t->width, true},
               {"cross.out", t->width, t->width, true},   {"feed.0", t->width, t->feed, false},
               {"feed.1", t->feed, t->width, false}};
  int first = -1;
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; ++i) {
    char name[48];
    if (parts[i].of_cross && !cross) continue;
    snprintf(name, sizeof name, "%s.%d.%s", prefix, number, parts[i].name);
    const int weight = add_dense(network, name, parts[i].inputs, parts[i].outputs);
    if (first < 0) first = weight;
  }
  return first;
}

void network_add_tokens(struct network *network) {
  struct token_field *t = &network->tokens;
  if (t->positions > 0) t->condition_embed = add_dense(network, "condition.embed", t->inputs, t->width);
  for (int i = 0; i < t->condition_layers; ++i) {
    const int layer = add_layer(network, "condition", i, false);
    if (i == 0) t->condition_layer = layer;
  }
  t->embed = add_dense(network, "embed", t->channels, t->width);
  t->time = network_add_parameter(network, "time.weight", network->time_width, t->width, INITIALISE_LECUN);
  for (int i = 0; i < t->layers; ++i) {
    const int layer = add_layer(network, "layer", i, t->positions > 0);
    if (i == 0) t->layer = layer;
  }
  t->output = add_dense(network, "output", t->width, t->channels);
  network->ops[network->op_count++] =
      (struct dense_op){.width = network->latent, .bias = -1, .residual = -1, .activation = ACTIVATION_LINEAR};
}

/* Of a token in a layer, beside attention to keys and the condition's own keys. */
static double layer_products(const struct token_field *t, int tokens) {
  const double width = t->width;
  return 4 * width * width + 2 * width * t->feed + 2 * width * tokens;
}

double network_token_condition_products(const struct network *network) {
  const struct token_field *t = &network->tokens;
  const double width = t->width;
  return t->positions *
         (t->inputs * width + t->condition_layers * layer_products(t, t->positions) + t->layers * 2 * width * width);
}

double network_token_products(const struct network *network) {
  const struct token_field *t = &network->tokens;
  const double width = t->width, cross = t->positions > 0 ? 2 * width * width + 2 * width * t->positions : 0;
  return network->time_width * width +
         t->tokens * (2 * t->channels * width + t->layers * (layer_products(t, t->tokens) + cross));
}

bool network_describe_tokens(const struct network *network, int part, char *line, size_t size) {
  const struct token_field *t = &network->tokens;
  if (t->tokens == 0 || part > 1) return false;
  if (part == 0 && t->positions == 0)
    snprintf(line, size, "no condition");
  else if (part == 0)
    snprintf(line, size,
             "the condition's %d tokens of %d numbers -> %d, %d layers with %d heads and %d -> %d -> %d; %.2f million "
             "multiply-adds, once per row and solve",
             t->positions, t->inputs, t->width, t->condition_layers, t->heads, t->width, t->feed, t->width,
             network_token_condition_products(network) * 1e-6);
  else
    snprintf(line, size,
             "the state's %d tokens of %d numbers + time [%d] -> %d, %d layers with %d heads%s and %d -> %d -> %d, -> "
             "%d; %.2f million multiply-adds an evaluation",
             t->tokens, t->channels, network->time_width, t->width, t->layers, t->heads,
             t->positions > 0 ? ", attention to the condition" : "", t->width, t->feed, t->width, t->channels,
             network_token_products(network) * 1e-6);
  return true;
}
