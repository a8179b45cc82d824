/* Networks as graphs: their layers with the parameters in the order in which a model has them, and what a wrapper makes
 * of the output. Names of parameters are those of the chains where a network has both forms. */
#include "engine/network_field.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/status.h"

/* A condition that enters as a factor is loaded whole (X_CHUNK of program_plan.h); a matrix of each row is a tile. */
enum { FACTOR_MOST = 64, NATURAL_MOST = 32 };

struct builder {
  struct network *network;
  const struct settings *settings;
  struct field_graph *graph;
  int condition; /* node of the x-branch's result, -1: none */
  int layer;     /* of the next dense layer, as dropout numbers them */
};

bool network_is_field(const struct settings *settings) {
  if (settings->variant == VARIANT_SUPERVISED) return false;
  return settings->network.wrapper != WRAPPER_NONE ||
         (settings->network.type != NETWORK_MLP && settings->network.type != NETWORK_RESNET);
}

/* ---- layers ---- */

static int width_of(const struct builder *b, int node) { return b->graph->nodes[node].width; }

static int parameter(struct builder *b, const char *prefix, const char *suffix, int rows, int columns,
                     int initialiser) {
  char name[48];
  snprintf(name, sizeof name, "%s.%s", prefix, suffix);
  return network_add_parameter(b->network, name, rows, columns, initialiser);
}

static struct field_item through(int node, int weight) {
  return (struct field_item){.node = node, .weight = weight, .scale = 1.0};
}
static struct field_item as_it_is(int node) { return (struct field_item){.node = node, .weight = -1, .scale = 1.0}; }

/* PREFIX.weight, PREFIX.bias on one node. */
static int dense(struct builder *b, const char *prefix, int from, int width) {
  const struct field_item item =
      through(from, parameter(b, prefix, "weight", width_of(b, from), width, INITIALISE_XAVIER));
  const int bias = parameter(b, prefix, "bias", 1, width, INITIALISE_ZERO);
  ++b->layer;
  return field_sum(b->graph, width, &item, 1, bias);
}

/* A layer that condition and time enter. What the condition gives stands alone, since a solve computes it once. */
static int joined(struct builder *b, const char *prefix, const char *main_suffix, int from, int width,
                  const char *bias_suffix, int initialiser) {
  struct field_item items[3];
  int count = 0, weight;
  items[count++] = through(from, parameter(b, prefix, main_suffix, width_of(b, from), width, initialiser));
  struct field_item condition = {.node = -1};
  if (b->condition >= 0) {
    weight = parameter(b, prefix, "x.weight", width_of(b, b->condition), width, INITIALISE_LECUN);
    condition = through(b->condition, weight);
  }
  const int time = b->network->time_width;
  if (time > 0) {
    weight = parameter(b, prefix, "t.weight", time, width, INITIALISE_LECUN);
    items[count++] = through(field_input(b->graph, FIELD_TIME, time), weight);
  }
  const int bias = bias_suffix ? parameter(b, prefix, bias_suffix, 1, width, INITIALISE_ZERO) : -1;
  ++b->layer;
  if (condition.node < 0) return field_sum(b->graph, width, items, count, bias);
  items[count++] = as_it_is(field_sum(b->graph, width, &condition, 1, bias));
  return field_sum(b->graph, width, items, count, -1);
}

/* The activation of the layer that was made last. */
static int activated(struct builder *b, int from, bool dropout) {
  return field_jet(b->graph, b->settings->network.activation, 0, from, dropout ? b->layer - 1 : -1);
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
    last = activated(b, dense(b, prefix, last, settings->network.hidden[k]), settings->network.dropout > 0);
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
    const int inner = joined(b, prefix, "in.weight", activated(b, stream, false), settings->network.hidden[k],
                             "in.bias", INITIALISE_XAVIER);
    const int value = activated(b, inner, settings->network.dropout > 0);
    snprintf(prefix, sizeof prefix, "block.%d.out", k);
    const struct field_item items[] = {as_it_is(stream), as_it_is(dense(b, prefix, value, width))};
    stream = field_sum(b->graph, width, items, 2, -1);
  }
  return activated(b, stream, false);
}

/* Survey 5.3. */
static int bilinear(struct builder *b, int state) {
  const struct settings *settings = b->settings;
  const int width = settings->network.hidden[settings->network.hidden_count - 1];
  const int context = squash(b, state, width);
  const int left = dense(b, "bilinear.z", state, width), right = dense(b, "bilinear.c", context, width);
  return activated(b, field_product(b->graph, left, right), false);
}

/* ---- wrappers: survey 5.5 ---- */

static int gradient(struct builder *b, int output, double seed) {
  const bool wanted[FIELD_INPUTS] = {[FIELD_Z] = true};
  int adjoints[FIELD_INPUTS];
  const int ones = field_constant(b->graph, seed, width_of(b, output));
  field_reverse(b->graph, output, ones, wanted, adjoints, NULL, NULL);
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
      if (field < 0) field = field_constant(b->graph, 0.0, d);
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

noprop_status network_build_field(struct network *network, const struct settings *settings) {
  struct builder b = {.network = network, .settings = settings, .graph = field_create(), .condition = -1};
  if (!b.graph) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the network's description");
  network->field = b.graph;
  const noprop_status status = check_wrapper(network, settings);
  if (status != NOPROP_OK) return status;
  const int x_op = network_add_x_branch(network, settings);
  b.layer = network->op_count;
  network->field_first = network->parameter_count;
  const int state = field_input(b.graph, FIELD_Z, network->latent);
  if (x_op >= 0) b.condition = field_input(b.graph, FIELD_CONDITION, network->ops[x_op].width);
  const int last = settings->network.type == NETWORK_BILINEAR ? bilinear(&b, state)
                   : settings->network.type == NETWORK_RESNET ? resnet(&b, state)
                                                              : mlp(&b, state);
  const bool natural = settings->network.wrapper == WRAPPER_NATURAL;
  b.graph->output = wrap(&b, dense(&b, "output", last, natural ? network->latent * network->latent : network->latent));
  network->field_end = network->parameter_count;
  network->ops[network->op_count++] =
      (struct dense_op){.width = network->latent, .bias = -1, .residual = -1, .activation = ACTIVATION_LINEAR};
  if (b.graph->full)
    return status_set(
        NOPROP_UNSUPPORTED,
        "network.hidden: %d layers of network.type %s with network.wrapper %s are too many operations for "
        "one kernel; fewer layers are allowed",
        settings->network.hidden_count, NETWORK_NAMES[settings->network.type].name,
        WRAPPER_NAMES[settings->network.wrapper].name);
  return NOPROP_OK;
}
