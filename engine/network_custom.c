/* network.type custom: a list of layers (engine/layers.h) as a graph. Parameters are called LAYER.weight, LAYER.bias,
 * and with several inputs LAYER.INPUT.weight.
 *
 * Where one dense layer alone reads the condition, its product with the condition is an operation in front of the
 * graph, as the branch of other networks is: conditions of any width are streamed through it, and may be left out
 * (guidance). Otherwise the condition enters the graph itself. */
#include <stdio.h>
#include <string.h>

#include "engine/network_builder.h"
#include "engine/status.h"

int layers_reading_condition(const struct layer_list *layers, int *reader) {
  int count = 0;
  *reader = -1;
  for (int i = 0; i < layers->count; ++i)
    for (int k = 0; k < layers->items[i].input_count; ++k)
      if (layers->items[i].inputs[k] == LAYER_FROM_X && *reader != i) {
        *reader = i;
        ++count;
      }
  return count;
}

struct custom {
  struct builder *b;
  const struct layer_list *list;
  int state;              /* node of z */
  int reader;             /* the layer whose product with the condition stands in front, -1: none */
  int nodes[LAYERS_MOST]; /* what each layer makes */
  bool still[LAYERS_MOST] /* it depends on the condition alone */;
};

static const char *input_name(const struct custom *c, int input) {
  return input == LAYER_FROM_Z   ? "z"
         : input == LAYER_FROM_X ? "x"
         : input == LAYER_FROM_T ? "t"
                                 : c->list->items[input].name;
}

static int input_width(const struct custom *c, int input) {
  return input == LAYER_FROM_Z   ? c->b->network->latent
         : input == LAYER_FROM_X ? c->b->network->x_width
         : input == LAYER_FROM_T ? c->b->network->time_width
                                 : builder_width(c->b, c->nodes[input]);
}

static bool is_still(const struct custom *c, int input) {
  return input == LAYER_FROM_X || (input >= 0 && c->still[input]);
}

static int input_node(const struct custom *c, int input) {
  return input == LAYER_FROM_Z   ? c->state
         : input == LAYER_FROM_X ? field_input(c->b->graph, FIELD_X, c->b->network->x_width)
         : input == LAYER_FROM_T ? field_input(c->b->graph, FIELD_TIME, c->b->network->time_width)
                                 : c->nodes[input];
}

/* The same as a tile of every feature and row, which the kernel's inputs need not be. */
static int value_node(const struct custom *c, int input) {
  const int node = input_node(c, input);
  return c->b->graph->nodes[node].kind == NODE_INPUT ? field_scaled(c->b->graph, node, 1.0) : node;
}

/* The same as a sum or product, which functions can be applied to. */
static int argument_node(const struct custom *c, int input) {
  const int node = value_node(c, input);
  return c->b->graph->nodes[node].kind == NODE_JET ? field_scaled(c->b->graph, node, 1.0) : node;
}

/* ---- layers ---- */

/* The operation in front of the graph; the node of its result. */
static int condition_product(struct custom *c, int weight, int width) {
  struct network *network = c->b->network;
  struct dense_op *op = &network->ops[network->op_count++];
  *op = (struct dense_op){
      .width = width, .bias = -1, .residual = -1, .activation = ACTIVATION_LINEAR, .x_branch = true, .input_count = 1};
  op->inputs[0] = (struct op_input){.kind = INPUT_X, .op = -1, .width = network->x_width, .weight = weight};
  return field_input(c->b->graph, FIELD_CONDITION, width);
}

/* What the condition alone gives is a sum of its own, since a solve computes it once. */
static int dense(struct custom *c, int layer, int width) {
  struct builder *b = c->b;
  const struct layer_settings *item = &c->list->items[layer];
  struct field_item moving[LAYER_INPUTS + 1], still[LAYER_INPUTS];
  int moving_count = 0, still_count = 0;
  const int initialiser = item->input_count > 1 ? INITIALISE_LECUN : INITIALISE_XAVIER;
  for (int k = 0; k < item->input_count; ++k) {
    const int input = item->inputs[k];
    char suffix[LAYER_NAME + 8];
    snprintf(suffix, sizeof suffix, item->input_count > 1 ? "%s.weight" : "weight", input_name(c, input));
    const int weight = builder_parameter(b, item->name, suffix, input_width(c, input), width, initialiser);
    const bool front = input == LAYER_FROM_X && layer == c->reader;
    const struct field_item entry =
        front ? builder_item(condition_product(c, weight, width)) : builder_through(input_node(c, input), weight);
    if (is_still(c, input))
      still[still_count++] = entry;
    else
      moving[moving_count++] = entry;
  }
  const int bias = item->bias ? builder_parameter(b, item->name, "bias", 1, width, INITIALISE_ZERO) : -1;
  c->still[layer] = moving_count == 0;
  int sum;
  if (still_count == 0) {
    sum = field_sum(b->graph, width, moving, moving_count, bias);
  } else {
    sum = field_sum(b->graph, width, still, still_count, bias);
    moving[moving_count] = builder_item(sum);
    if (moving_count > 0) sum = field_sum(b->graph, width, moving, moving_count + 1, -1);
  }
  return item->activation == ACTIVATION_LINEAR ? sum : builder_activated(b, item->activation, sum, -1);
}

static int added(const struct custom *c, const struct layer_settings *item) {
  struct field_item items[LAYER_INPUTS];
  for (int k = 0; k < item->input_count; ++k) items[k] = builder_item(input_node(c, item->inputs[k]));
  return field_sum(c->b->graph, input_width(c, item->inputs[0]), items, item->input_count, -1);
}

static int concatenated(const struct custom *c, const struct layer_settings *item) {
  struct field_item items[LAYER_INPUTS];
  int width = 0, place = 0;
  for (int k = 0; k < item->input_count; ++k) width += input_width(c, item->inputs[k]);
  for (int k = 0; k < item->input_count; ++k) {
    const int node = value_node(c, item->inputs[k]);
    items[k] = builder_item(field_map(c->b->graph, MAP_EMBED, place, 1.0, node, width));
    place += input_width(c, item->inputs[k]);
  }
  return field_sum(c->b->graph, width, items, item->input_count, -1);
}

static int batch_normalised(struct custom *c, int layer) {
  struct builder *b = c->b;
  const struct layer_settings *item = &c->list->items[layer];
  const int from = value_node(c, item->inputs[0]), width = builder_width(b, from), number = b->network->norm_count;
  if (number == BATCH_NORMS_MOST) {
    b->status =
        status_set(NOPROP_UNSUPPORTED,
                   "network.layers[%d]: is one of more than %d layers of type batch_norm, each of which takes two "
                   "passes over the batch; fewer are allowed",
                   layer, (int)BATCH_NORMS_MOST);
    return from;
  }
  struct norm_layer *norm = &b->network->norms[b->network->norm_count++];
  *norm = (struct norm_layer){.width = width, .momentum = item->momentum};
  snprintf(norm->name, sizeof norm->name, "%s", item->name);
  const int scale = builder_parameter(b, item->name, "scale", 1, width, INITIALISE_ONE);
  const struct field_item scaled =
      builder_item(field_diagonal(b->graph, field_batch_norm(b->graph, number, from), scale));
  return field_sum(b->graph, width, &scaled, 1, builder_parameter(b, item->name, "bias", 1, width, INITIALISE_ZERO));
}

/* The factor of dropout is the slope of a linear activation that has it. */
static int dropped(const struct custom *c, int layer) {
  const int value = argument_node(c, c->list->items[layer].inputs[0]);
  if (c->list->items[layer].rate == 0) return value;
  return field_product(c->b->graph, value, field_jet(c->b->graph, ACTIVATION_LINEAR, 1, value, layer));
}

/* A function of all inputs' features, one behind the other. */
static int source(struct custom *c, int layer, int outputs) {
  static const int initialisers[LAYER_INITIAL_COUNT] = {INITIALISE_LECUN /* of one input: variance 1 */,
                                                        INITIALISE_UNIFORM, INITIALISE_ZERO, INITIALISE_ONE};
  const struct layer_settings *item = &c->list->items[layer];
  const int count = item->parameters;
  const int input = item->input_count == 1 ? value_node(c, item->inputs[0]) : concatenated(c, item);
  const int parameter =
      count > 0 ? builder_parameter(c->b, item->name, "parameters", 1, count, initialisers[item->initial]) : -1;
  return field_source(c->b->graph, layer, input, outputs, parameter, count);
}

/* ---- checks ---- */

static noprop_status check_inputs(const struct custom *c, int layer) {
  const struct layer_settings *item = &c->list->items[layer];
  const struct network *network = c->b->network;
  const int type = item->type;
  for (int k = 0; k < item->input_count; ++k) {
    const int input = item->inputs[k];
    if (input == LAYER_FROM_X && network->x_width == 0)
      return status_set(
          NOPROP_INVALID_CONFIG,
          "network.layers[%d].from: x is the condition, and this model has none; allowed: z, t and layers", layer);
    if (input == LAYER_FROM_T && network->time_width == 0)
      return status_set(
          NOPROP_INVALID_CONFIG,
          "network.layers[%d].from: t is the time, and each block of variant dt has its own one; allowed: "
          "z, x and layers",
          layer);
    if (input == LAYER_FROM_X && layer != c->reader && network->x_width > FACTOR_MOST)
      return status_set(
          NOPROP_INVALID_CONFIG,
          "network.layers[%d].from: x has %d numbers here, and more than %d can only be read by one layer, "
          "a dense one; allowed: that layer's name",
          layer, network->x_width, (int)FACTOR_MOST);
    if ((type == LAYER_ADD || type == LAYER_MULTIPLY) && input_width(c, input) != input_width(c, item->inputs[0]))
      return status_set(NOPROP_INVALID_CONFIG,
                        "network.layers[%d].from: %s takes inputs of one width, and '%s' has %d where '%s' has %d",
                        layer, LAYER_NAMES[type].name, input_name(c, input), input_width(c, input),
                        input_name(c, item->inputs[0]), input_width(c, item->inputs[0]));
  }
  return NOPROP_OK;
}

static noprop_status check_gate(const struct custom *c, int layer, int width) {
  const int form = c->list->items[layer].activation;
  if (width % 2 == 0 || (!activation_halves(form) && form != ACTIVATION_SOFTPLUSGLU)) return NOPROP_OK;
  return status_set(NOPROP_INVALID_CONFIG,
                    "network.layers[%d].activation: %s pairs features, and there are %d; an even width is allowed",
                    layer, ACTIVATION_NAMES[form].name, width);
}

/* ---- the list ---- */

static noprop_status add_layer(struct custom *c, int layer, int outputs) {
  struct builder *b = c->b;
  const struct layer_settings *item = &c->list->items[layer];
  const int given = item->width ? item->width : activation_halves(item->activation) ? 2 * outputs : outputs;
  noprop_status status = check_inputs(c, layer);
  if (status == NOPROP_OK && (item->type == LAYER_DENSE || item->type == LAYER_ACTIVATION))
    status = check_gate(c, layer, item->type == LAYER_DENSE ? given : input_width(c, item->inputs[0]));
  if (status != NOPROP_OK) return status;
  c->still[layer] = true;
  for (int k = 0; k < item->input_count; ++k) c->still[layer] = c->still[layer] && is_still(c, item->inputs[k]);
  int *node = &c->nodes[layer];
  switch (item->type) {
    case LAYER_DENSE:
      *node = dense(c, layer, given);
      break;
    case LAYER_ACTIVATION:
      *node = builder_activated(b, item->activation, argument_node(c, item->inputs[0]), -1);
      break;
    case LAYER_NORM:
      *node = builder_normalised(b, item->name, value_node(c, item->inputs[0]));
      break;
    case LAYER_BATCH_NORM:
      *node = batch_normalised(c, layer);
      break;
    case LAYER_DROPOUT:
      *node = dropped(c, layer);
      break;
    case LAYER_ADD:
      *node = added(c, item);
      break;
    case LAYER_MULTIPLY:
      *node = field_product(b->graph, value_node(c, item->inputs[0]), value_node(c, item->inputs[1]));
      break;
    case LAYER_SOURCE:
      *node = source(c, layer, item->width ? item->width : outputs);
      break;
    default: /* LAYER_CONCATENATE */
      *node = concatenated(c, item);
  }
  return b->status;
}

int network_custom(struct builder *b, int state, int outputs) {
  struct custom c = {.b = b, .list = &b->settings->network.layers, .state = state};
  const int last = c.list->count - 1;
  if (layers_reading_condition(c.list, &c.reader) != 1 || c.list->items[c.reader].type != LAYER_DENSE) c.reader = -1;
  for (int i = 0; i <= last; ++i) {
    b->status = add_layer(&c, i, outputs);
    if (b->status != NOPROP_OK) return state;
  }
  if (builder_width(b, c.nodes[last]) == outputs) {
    /* What the kernel takes as the output is a sum. */
    return b->graph->nodes[c.nodes[last]].kind == NODE_SUM ? c.nodes[last] : field_scaled(b->graph, c.nodes[last], 1.0);
  }
  for (int i = 0; i <= last; ++i) {
    if (strcmp(c.list->items[i].name, "output") != 0) continue;
    b->status =
        status_set(NOPROP_INVALID_CONFIG,
                   "network.layers[%d].name: output is the name of the layer that is put behind the list, whose "
                   "last layer makes %d features where %d are needed; allowed: another name, or that width",
                   i, builder_width(b, c.nodes[last]), outputs);
    return state;
  }
  return builder_dense(b, "output", value_node(&c, last), outputs);
}
