/* Networks as graphs: their layers with the parameters in the order in which a model has them, and what a wrapper makes
 * of the output. Names of parameters are those of the chains where a network has both forms. */
#include "engine/network_field.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/network_builder.h"
#include "engine/status.h"

/* A matrix of each row is a tile. */
enum { NATURAL_MOST = 32 };

bool activation_is_gate(int activation) { return activation >= ACTIVATION_SOFTMAX; }
bool activation_halves(int activation) { return activation == ACTIVATION_SWITANH || activation == ACTIVATION_SWIGLU; }

bool network_is_field(const struct settings *settings) {
  if (settings->variant == VARIANT_SUPERVISED) return false;
  return settings->network.layer_norm || settings->network.batch_norm != BATCH_NORM_NONE ||
         activation_is_gate(settings->network.activation) || settings->network.wrapper != WRAPPER_NONE ||
         (settings->network.type != NETWORK_MLP && settings->network.type != NETWORK_RESNET);
}

/* ---- layers ---- */

int builder_width(const struct builder *b, int node) { return b->graph->nodes[node].width; }

int builder_parameter(struct builder *b, const char *prefix, const char *suffix, int rows, int columns,
                      int initialiser) {
  char name[64];
  snprintf(name, sizeof name, "%s.%s", prefix, suffix);
  return network_add_parameter(b->network, name, rows, columns, initialiser);
}

struct field_item builder_through(int node, int weight) {
  return (struct field_item){.node = node, .weight = weight, .scale = 1.0};
}
struct field_item builder_item(int node) {
  return (struct field_item){.node = node, .weight = -1, .scale = 1.0};
}

/* PREFIX.weight, PREFIX.bias on one node. */
int builder_dense(struct builder *b, const char *prefix, int from, int width) {
  const struct field_item item =
      builder_through(from, builder_parameter(b, prefix, "weight", builder_width(b, from), width, INITIALISE_XAVIER));
  const int bias = builder_parameter(b, prefix, "bias", 1, width, INITIALISE_ZERO);
  ++b->layer;
  return field_sum(b->graph, width, &item, 1, bias);
}

/* A layer that condition and time enter. What the condition gives stands alone, since a solve computes it once. */
static int joined(struct builder *b, const char *prefix, const char *main_suffix, int from, int width,
                  const char *bias_suffix, int initialiser) {
  struct field_item items[3];
  int count = 0, weight;
  items[count++] =
      builder_through(from, builder_parameter(b, prefix, main_suffix, builder_width(b, from), width, initialiser));
  struct field_item condition = {.node = -1};
  if (b->condition >= 0) {
    weight = builder_parameter(b, prefix, "x.weight", builder_width(b, b->condition), width, INITIALISE_LECUN);
    condition = builder_through(b->condition, weight);
  }
  const int time = b->network->time_width;
  if (time > 0) {
    weight = builder_parameter(b, prefix, "t.weight", time, width, INITIALISE_LECUN);
    items[count++] = builder_through(field_input(b->graph, FIELD_TIME, time), weight);
  }
  const int bias = bias_suffix ? builder_parameter(b, prefix, bias_suffix, 1, width, INITIALISE_ZERO) : -1;
  ++b->layer;
  if (condition.node < 0) return field_sum(b->graph, width, items, count, bias);
  items[count++] = builder_item(field_sum(b->graph, width, &condition, 1, bias));
  return field_sum(b->graph, width, items, count, -1);
}

static struct field_item times(double scale, int node) {
  return (struct field_item){.node = node, .weight = -1, .scale = scale};
}

/* Sum over features of `node`, times `scale`, as each feature of the result. */
static int total(struct builder *b, int node, double scale) {
  return field_map(b->graph, MAP_TOTAL, 0, scale, node, builder_width(b, node));
}

/* Activations that work on all features (survey 5.6). */
static int gated(struct builder *b, int form, int from) {
  struct field_graph *g = b->graph;
  const int half = builder_width(b, from) / 2;
  /* Functions are applied to what a loop of the graph computes, which the branch's result is not. */
  if (g->nodes[from].kind == NODE_INPUT && form == ACTIVATION_SOFTPLUSGLU) from = field_scaled(g, from, 1.0);
  if (form == ACTIVATION_SOFTPLUSGLU) /* [sp(a) sigmoid(b), sp(b) sigmoid(a)] */
    return field_product(g, field_jet(g, ACTIVATION_SOFTPLUS, 0, from, -1),
                         field_map(g, MAP_SWAP, 1, 1.0, field_jet(g, ACTIVATION_SIGMOID, 0, from, -1), 2 * half));
  if (activation_halves(form)) {
    const int left = field_map(g, MAP_SLICE, 0, 1.0, from, half),
              right = field_map(g, MAP_SLICE, half, 1.0, from, half);
    return field_product(g, field_jet(g, ACTIVATION_SWISH, 0, left, -1),
                         field_jet(g, form == ACTIVATION_SWITANH ? ACTIVATION_TANH : ACTIVATION_SIGMOID, 0, right, -1));
  }
  const int below = field_map(g, MAP_BELOW_MOST, 0, 1.0, from, builder_width(b, from));
  const int powers = field_jet(g, FUNCTION_EXP, 0, below, -1), sum = total(b, powers, 1.0);
  if (form == ACTIVATION_SOFTMAX) return field_product(g, powers, field_jet(g, FUNCTION_RECIPROCAL, 0, sum, -1));
  const struct field_item items[] = {builder_item(below), times(-1.0, field_jet(g, FUNCTION_LOG, 0, sum, -1))};
  return field_sum(g, builder_width(b, from), items, 2, -1);
}

/* An activation of layer `layer`'s sum; `dropout`: of its result, -1: none. */
int builder_activated(struct builder *b, int form, int from, int dropout) {
  if (!activation_is_gate(form)) return field_jet(b->graph, form, 0, from, dropout);
  const int result = gated(b, form, from);
  if (dropout < 0) return result;
  /* The factor of dropout is the slope of a linear activation that has it. */
  return field_product(b->graph, result, field_jet(b->graph, ACTIVATION_LINEAR, 1, result, dropout));
}

/* The activation of the layer that was made last. */
static int activated(struct builder *b, int from, bool dropout) {
  return builder_activated(b, b->settings->network.activation, from, dropout ? b->layer - 1 : -1);
}

int builder_normalised(struct builder *b, const char *prefix, int from) {
  struct field_graph *g = b->graph;
  const int width = builder_width(b, from);
  const struct field_item rest[] = {builder_item(from), builder_item(total(b, from, -1.0 / width))};
  const int centred = field_sum(g, width, rest, 2, -1);
  const int variance = total(b, field_product(g, centred, centred), 1.0 / width);
  const int unit = field_product(g, centred, field_jet(g, FUNCTION_RSQRT, 0, variance, -1));
  const int scale = builder_parameter(b, prefix, "scale", 1, width, INITIALISE_ONE);
  const struct field_item scaled = builder_item(field_diagonal(g, unit, scale));
  return field_sum(g, width, &scaled, 1, builder_parameter(b, prefix, "bias", 1, width, INITIALISE_ZERO));
}

/* (v - mean)/sqrt(variance + epsilon) times a scale plus a bias, mean and variance being parameters like others: what
 * an earlier system's batch norm is (survey 5.6, P-22). Nothing keeps the variance from falling below 0. */
static int stored_norm(struct builder *b, const char *prefix, int from) {
  if (b->settings->network.batch_norm == BATCH_NORM_NONE) return from;
  struct field_graph *g = b->graph;
  const int width = builder_width(b, from), ones = field_constant(g, 1.0, width);
  char name[40];
  snprintf(name, sizeof name, "%s.norm", prefix);
  const int scale = builder_parameter(b, name, "scale", 1, width, INITIALISE_ONE),
            bias = builder_parameter(b, name, "bias", 1, width, INITIALISE_ZERO),
            mean = builder_parameter(b, name, "mean", 1, width, INITIALISE_ZERO),
            variance = builder_parameter(b, name, "variance", 1, width, INITIALISE_ONE);
  const struct field_item rest[] = {builder_item(from), times(-1.0, field_diagonal(g, ones, mean))};
  const int inverse = field_jet(g, FUNCTION_RSQRT, 0, field_diagonal(g, ones, variance), -1);
  const int unit = field_product(g, field_sum(g, width, rest, 2, -1), inverse);
  const struct field_item scaled = builder_item(field_diagonal(g, unit, scale));
  return field_sum(g, width, &scaled, 1, bias);
}

/* Where state, condition and time meet first; by default with bias and activation. */
static int squash(struct builder *b, int state, int width) {
  const bool active = b->settings->network.squash_activation;
  const int sum = joined(b, "squash", "z.weight", state, width, active ? "bias" : NULL, INITIALISE_LECUN);
  return active ? activated(b, sum, false) : sum;
}

/* ---- networks ---- */

static int mlp(struct builder *b, int state) {
  const struct settings *settings = b->settings;
  int last = squash(b, state, settings->network.hidden[0]);
  for (int k = 1; k < settings->network.hidden_count; ++k) {
    char prefix[32];
    snprintf(prefix, sizeof prefix, "hidden.%d", k);
    last = stored_norm(b, prefix, builder_dense(b, prefix, last, settings->network.hidden[k]));
    last = activated(b, last, settings->network.dropout > 0);
  }
  return last;
}

static int resnet(struct builder *b, int state) {
  const struct settings *settings = b->settings;
  const int width = settings->network.hidden[0];
  int stream = joined(b, "stem", "z.weight", state, width, "bias", INITIALISE_LECUN);
  for (int k = 1; k < settings->network.hidden_count; ++k) {
    char prefix[32];
    snprintf(prefix, sizeof prefix, "block.%d", k);
    int entering = stream;
    if (settings->network.layer_norm) {
      char norm[40];
      snprintf(norm, sizeof norm, "%s.norm", prefix);
      entering = builder_normalised(b, norm, stream);
    }
    const int inner = joined(b, prefix, "in.weight", activated(b, entering, false), settings->network.hidden[k],
                             "in.bias", INITIALISE_XAVIER);
    const int value = activated(b, inner, settings->network.dropout > 0);
    snprintf(prefix, sizeof prefix, "block.%d.out", k);
    const struct field_item items[] = {builder_item(stream), builder_item(builder_dense(b, prefix, value, width))};
    stream = field_sum(b->graph, width, items, 2, -1);
  }
  return activated(b, settings->network.layer_norm ? builder_normalised(b, "output.norm", stream) : stream, false);
}

/* Survey 5.3. */
static int bilinear(struct builder *b, int state) {
  const struct settings *settings = b->settings;
  const int width = settings->network.hidden[settings->network.hidden_count - 1];
  const int context = squash(b, state, width);
  const int left = builder_dense(b, "bilinear.z", state, width), right = builder_dense(b, "bilinear.c", context, width);
  return stored_norm(b, "bilinear", activated(b, field_product(b->graph, left, right), false));
}

/* A weight that is non-negative in use. */
static int positive(struct builder *b, const char *prefix, int rows, int columns) {
  const int weight = builder_parameter(b, prefix, "p.weight", rows, columns, INITIALISE_UNIFORM);
  b->network->parameters[weight].positive = true;
  return weight;
}

/* `from` made as wide as the state: means of groups, the last ones filled up with zeros, or repeated and filled up. */
static int as_wide(struct builder *b, int from, int width) {
  const int have = builder_width(b, from);
  if (have == width) return from;
  if (have < width) return field_map(b->graph, MAP_SPREAD, width / have, 1.0, from, width);
  const int group = (have + width - 1) / width == have / width ? have / width : have / width + 1;
  return field_map(b->graph, MAP_GROUP_SUM, group, 1.0 / group, from, width);
}

/* Survey 5.4: z += ICNN_i(z) + D_i(c), three times. */
static int convex(struct builder *b, int state) {
  const struct settings *settings = b->settings;
  const int asked = settings->network.activation, d = builder_width(b, state);
  const int form = asked == ACTIVATION_RELU || asked == ACTIVATION_LINEAR ? asked : ACTIVATION_SOFTPLUS;
  const int context = squash(b, state, settings->network.hidden[0]);
  char prefix[32];
  for (int block = 0; block < 3; ++block) {
    int last = state;
    for (int k = 0; k < settings->network.hidden_count; ++k) {
      const int width = settings->network.hidden[k];
      struct field_item items[2];
      int count = 0;
      snprintf(prefix, sizeof prefix, "icnn.%d.%d", block, k);
      if (k > 0) items[count++] = builder_through(last, positive(b, prefix, builder_width(b, last), width));
      items[count++] = builder_through(state, builder_parameter(b, prefix, "z.weight", d, width, INITIALISE_LECUN));
      const int bias = builder_parameter(b, prefix, "bias", 1, width, INITIALISE_ZERO);
      last = field_jet(b->graph, form, 0, field_sum(b->graph, width, items, count, bias), -1);
    }
    snprintf(prefix, sizeof prefix, "block.%d", block);
    const struct field_item items[] = {builder_item(state), builder_item(as_wide(b, last, d)),
                                       builder_item(builder_dense(b, prefix, context, d))};
    state = field_sum(b->graph, d, items, 3, -1);
  }
  return state;
}

/* A layer of a network that is convex in the state: non-negative weights from the layer before. */
static int convex_layer(struct builder *b, const char *prefix, int before, int state, int width) {
  const int weight = before >= 0 ? positive(b, prefix, builder_width(b, before), width) : -1;
  const int rest = joined(b, prefix, "z.weight", state, width, "bias", INITIALISE_LECUN);
  if (before < 0) return rest;
  const struct field_item items[] = {builder_through(before, weight), builder_item(rest)};
  return field_sum(b->graph, width, items, 2, -1);
}

/* Amos, Xu and Kolter, "Input convex neural networks", 2017; condition and time enter every layer. With convex
 * activations that do not decrease, every output is convex in the state. */
static int icnn(struct builder *b, int state, int outputs) {
  int last = -1;
  for (int k = 0; k < b->settings->network.hidden_count; ++k) {
    char prefix[32];
    snprintf(prefix, sizeof prefix, "icnn.%d", k);
    last = activated(b, convex_layer(b, prefix, last, state, b->settings->network.hidden[k]), false);
  }
  return convex_layer(b, "output", last, state, outputs);
}

/* All layers behind the x-branch. */
static int outputs_of(struct builder *b, int state, int outputs) {
  switch (b->settings->network.type) {
    case NETWORK_CUSTOM:
      return network_custom(b, state, outputs);
    case NETWORK_RESNET:
      return builder_dense(b, "output", resnet(b, state), outputs);
    case NETWORK_BILINEAR:
      return builder_dense(b, "output", bilinear(b, state), outputs);
    case NETWORK_CONVEX:
      return builder_dense(b, "output", convex(b, state), outputs);
    case NETWORK_ICNN:
      return icnn(b, state, outputs);
    default:
      return builder_dense(b, "output", mlp(b, state), outputs);
  }
}

/* ---- wrappers: survey 5.5 ---- */

/* Only a list of layers can be such. */
static void no_field(struct builder *b) {
  b->status =
      status_set(NOPROP_INVALID_CONFIG,
                 "network.wrapper: %s is zero everywhere, since it is a derivative with respect to z that the "
                 "network's output does not have; allowed: layers that depend on z by more than linear ones, or none",
                 WRAPPER_NAMES[b->settings->network.wrapper].name);
}

static int gradient(struct builder *b, int output, double seed) {
  const bool wanted[FIELD_INPUTS] = {[FIELD_Z] = true};
  int adjoints[FIELD_INPUTS];
  const int ones = field_constant(b->graph, seed, builder_width(b, output));
  field_reverse(b->graph, output, ones, wanted, adjoints, NULL, NULL);
  if (adjoints[FIELD_Z] < 0) no_field(b);
  return adjoints[FIELD_Z] >= 0 ? adjoints[FIELD_Z] : field_constant(b->graph, 0.0, b->network->latent);
}

/* The condition itself, as a vector as wide as the state. */
static int factor(struct builder *b) { return field_input(b->graph, FIELD_X, b->network->x_width); }

static int wrap(struct builder *b, int output) {
  const int d = b->network->latent;
  int field;
  switch (b->settings->network.wrapper) {
    case WRAPPER_NONE:
      return output;
    case WRAPPER_POTENTIAL:
      field = gradient(b, output, -1.0);
      break;
    case WRAPPER_HAMILTONIAN:
      field = field_map(b->graph, MAP_SWAP, -1, 1.0, gradient(b, output, 1.0), d);
      break;
    case WRAPPER_GEOMETRIC:
      field = field_tangents(b->graph, gradient(b, output, 1.0), FIELD_Z, factor(b));
      if (field < 0) {
        no_field(b);
        field = field_constant(b->graph, 0.0, d);
      }
      break;
    default: { /* natural */
      const int along = field_matvec(b->graph, output, true, factor(b), 1.0);
      field = field_matvec(b->graph, output, false, along, 1.0 / d);
    }
  }
  return field_scaled(b->graph, field, 1.0);
}

static noprop_status check_wrapper(const struct network *network, const struct settings *settings) {
  const int wrapper = settings->network.wrapper, d = network->latent, x = network->x_width;
  const char *const name = WRAPPER_NAMES[wrapper].name;
  if (wrapper == WRAPPER_HAMILTONIAN && d % 2)
    return status_set(
        NOPROP_INVALID_CONFIG,
        "network.wrapper: %s halves the latent into places and momenta, and its size is %d; an even one is "
        "allowed",
        name, d);
  if (wrapper != WRAPPER_NATURAL && wrapper != WRAPPER_GEOMETRIC) return NOPROP_OK;
  if (x != d)
    return status_set(
        NOPROP_INVALID_CONFIG,
        "network.wrapper: %s applies a matrix to the condition, which has %d numbers where the latent has "
        "%d; both must be equal",
        name, x, d);
  const int most = wrapper == WRAPPER_NATURAL ? NATURAL_MOST : FACTOR_MOST;
  if (d > most)
    return status_set(NOPROP_UNSUPPORTED, "network.wrapper: %s takes latents up to %d numbers, and this one has %d",
                      name, most, d);
  return NOPROP_OK;
}

/* The x-branch behind its first layer's sum; its masks do not depend on the draw (see program_field.c). */
static int gated_branch(struct builder *b) {
  const struct settings *settings = b->settings;
  const int form = settings->network.activation;
  int last = b->condition;
  for (int k = 0; k < settings->network.hidden_count; ++k) {
    char prefix[32];
    snprintf(prefix, sizeof prefix, "x.%d", k);
    if (k > 0) last = builder_dense(b, prefix, last, settings->network.hidden[k]);
    last = stored_norm(b, prefix, last);
    last = builder_activated(b, form, last, settings->network.dropout > 0 ? k + NETWORK_MAX_OPS : -1);
  }
  return last;
}

/* Gates pair features. */
static noprop_status check_gates(const struct settings *settings) {
  const int form = settings->network.activation;
  if (settings->network.type == NETWORK_CUSTOM) return NOPROP_OK;
  if (!activation_halves(form) && form != ACTIVATION_SOFTPLUSGLU) return NOPROP_OK;
  for (int k = 0; k < settings->network.hidden_count; ++k)
    if (settings->network.hidden[k] % 2)
      return status_set(
          NOPROP_INVALID_CONFIG,
          "network.hidden: %d is odd, and network.activation %s pairs the features of a layer; even widths "
          "are allowed",
          settings->network.hidden[k], ACTIVATION_NAMES[form].name);
  return NOPROP_OK;
}

noprop_status network_build_field(struct network *network, const struct settings *settings) {
  struct builder b = {.network = network, .settings = settings, .graph = field_create(), .condition = -1};
  if (!b.graph) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the network's description");
  network->field = b.graph;
  noprop_status status = check_wrapper(network, settings);
  if (status == NOPROP_OK) status = check_gates(settings);
  if (status != NOPROP_OK) return status;
  const bool custom = settings->network.type == NETWORK_CUSTOM;
  const bool gates =
      !custom && (activation_is_gate(settings->network.activation) || settings->network.batch_norm != BATCH_NORM_NONE);
  const int x_op = custom ? -1 : network_add_x_branch(network, settings, gates);
  b.layer = network->op_count;
  network->field_first = network->parameter_count;
  const int state = field_input(b.graph, FIELD_Z, network->latent);
  if (x_op >= 0) b.condition = field_input(b.graph, FIELD_CONDITION, network->ops[x_op].width);
  if (gates && b.condition >= 0) b.condition = gated_branch(&b);
  const bool natural = settings->network.wrapper == WRAPPER_NATURAL;
  const int outputs = natural            ? network->latent * network->latent
                      : network->mixture ? network->target_width
                                         : network->latent;
  b.graph->output = wrap(&b, outputs_of(&b, state, outputs));
  if (b.status != NOPROP_OK) return b.status;
  network->field_end = network->parameter_count;
  network->ops[network->op_count++] = (struct dense_op){
      .width = natural ? network->latent : outputs, .bias = -1, .residual = -1, .activation = ACTIVATION_LINEAR};
  if (b.graph->full)
    return status_set(
        NOPROP_UNSUPPORTED,
        "network.hidden: %d layers of network.type %s with network.wrapper %s are too many operations for "
        "one kernel; fewer layers are allowed",
        settings->network.hidden_count, NETWORK_NAMES[settings->network.type].name,
        WRAPPER_NAMES[settings->network.wrapper].name);
  return NOPROP_OK;
}
