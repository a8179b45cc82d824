/* Building graphs of fields, and their derivatives by the rules for each kind of node. */
#include "engine/field_graph.h"

#include <stdlib.h>
#include <string.h>

#include "engine/options.h"

/* ---- building ---- */

struct field_graph *field_create(void) {
  struct field_graph *graph = calloc(1, sizeof *graph);
  if (!graph) return NULL;
  for (int i = 0; i < FIELD_INPUTS; ++i) graph->inputs[i] = -1;
  graph->output = -1;
  return graph;
}

struct field_graph *field_copy(const struct field_graph *graph) {
  struct field_graph *copy = malloc(sizeof *copy);
  if (copy) memcpy(copy, graph, sizeof *copy);
  return copy;
}

static int add(struct field_graph *graph, struct field_node node) {
  if (graph->count == FIELD_NODES) {
    graph->full = true;
    return 0;
  }
  graph->nodes[graph->count] = node;
  return graph->count++;
}

static struct field_node node_of(int kind, int width) {
  return (struct field_node){
      .kind = kind, .width = width, .a = -1, .b = -1, .parameter = -1, .dropout = -1, .scale = 1.0};
}

int field_input(struct field_graph *graph, int input, int width) {
  if (graph->inputs[input] >= 0) return graph->inputs[input];
  struct field_node node = node_of(NODE_INPUT, width);
  node.form = input;
  return graph->inputs[input] = add(graph, node);
}

int field_constant(struct field_graph *graph, double value, int width) {
  struct field_node node = node_of(NODE_CONSTANT, width);
  node.scale = value;
  return add(graph, node);
}

int field_sum(struct field_graph *graph, int width, const struct field_item *items, int count, int bias) {
  struct field_node node = node_of(NODE_SUM, width);
  node.first_item = graph->item_count;
  node.parameter = bias;
  for (int i = 0; i < count; ++i) {
    if (graph->item_count == FIELD_ITEMS) {
      graph->full = true;
      break;
    }
    graph->items[graph->item_count++] = items[i];
    ++node.item_count;
  }
  return add(graph, node);
}

int field_scaled(struct field_graph *graph, int a, double scale) {
  const struct field_item item = {.node = a, .weight = -1, .scale = scale};
  return field_sum(graph, graph->nodes[a].width, &item, 1, -1);
}

int field_product(struct field_graph *graph, int a, int b) {
  struct field_node node = node_of(NODE_PRODUCT, graph->nodes[a].width);
  node.a = a;
  node.b = b;
  return add(graph, node);
}

bool field_flat(int form, int order) {
  return order >= 2 && (form == ACTIVATION_LINEAR || form == ACTIVATION_RELU || form == ACTIVATION_LEAKY_RELU);
}

int field_jet(struct field_graph *graph, int form, int order, int a, int dropout) {
  if (field_flat(form, order)) return -1;
  for (int i = a + 1; i < graph->count; ++i) {
    const struct field_node *n = &graph->nodes[i];
    if (n->kind == NODE_JET && n->a == a && n->form == form && n->order == order && n->dropout == dropout) return i;
  }
  struct field_node node = node_of(NODE_JET, graph->nodes[a].width);
  node.form = form;
  node.order = order;
  node.a = a;
  node.dropout = dropout;
  return add(graph, node);
}

int field_map(struct field_graph *graph, int map, int order, double scale, int a, int width) {
  struct field_node node = node_of(NODE_MAP, width);
  node.form = map;
  node.order = order;
  node.scale = scale;
  node.a = a;
  return add(graph, node);
}

int field_diagonal(struct field_graph *graph, int a, int parameter) {
  struct field_node node = node_of(NODE_DIAGONAL, graph->nodes[a].width);
  node.a = a;
  node.parameter = parameter;
  return add(graph, node);
}

int field_matvec(struct field_graph *graph, int matrix, bool transposed, int vector, double scale) {
  struct field_node node = node_of(NODE_MATVEC, graph->nodes[vector].width);
  node.a = matrix;
  node.b = vector;
  node.order = transposed;
  node.scale = scale;
  return add(graph, node);
}

int field_outer(struct field_graph *graph, int a, int b, double scale) {
  struct field_node node = node_of(NODE_OUTER, graph->nodes[a].width * graph->nodes[a].width);
  node.a = a;
  node.b = b;
  node.scale = scale;
  return add(graph, node);
}

int field_source(struct field_graph *graph, int layer, int a, int width, int parameter, int columns) {
  struct field_node node = node_of(NODE_SOURCE, width);
  node.form = layer;
  node.a = a;
  node.parameter = parameter;
  node.columns = columns;
  return add(graph, node);
}

int field_batch_norm(struct field_graph *graph, int number, int a) {
  struct field_node node = node_of(NODE_BATCH_NORM, graph->nodes[a].width);
  node.form = number;
  node.a = a;
  return add(graph, node);
}

/* What order 1 or 2 of it makes of an adjoint or a tangent. */
static int batch_norm_along(struct field_graph *graph, int norm, int order, int a) {
  struct field_node node = graph->nodes[norm];
  node.order = order;
  node.a = a;
  node.b = order == 1 ? norm : -1;
  return add(graph, node);
}

/* The product of the adjoint `bar` with a source's Jacobian; `width`: of the result. */
static int source_product(struct field_graph *graph, const struct field_node *source, int order, int bar, int width) {
  struct field_node node = node_of(NODE_SOURCE, width);
  node.form = source->form;
  node.order = order;
  node.a = source->a;
  node.b = bar;
  node.parameter = source->parameter;
  return add(graph, node);
}

/* The transpose of a map, applied to `a`; `width`: of what the map reads. */
static int transpose_map(struct field_graph *graph, const struct field_node *map, int a, int width) {
  switch (map->form) {
    case MAP_GROUP_SUM:
      return field_map(graph, MAP_SPREAD, map->order, map->scale, a, width);
    case MAP_SPREAD:
      return field_map(graph, MAP_GROUP_SUM, map->order, map->scale, a, width);
    case MAP_TOTAL:
      return field_map(graph, MAP_TOTAL, 0, map->scale, a, width);
    case MAP_SWAP: /* the other half has the sign */
      return field_map(graph, MAP_SWAP, map->order, map->scale * map->order, a, width);
    case MAP_SLICE:
      return field_map(graph, MAP_EMBED, map->order, map->scale, a, width);
    case MAP_EMBED:
      return field_map(graph, MAP_SLICE, map->order, map->scale, a, width);
    default:
      return a;
  }
}

/* ---- backwards ---- */

/* What a reverse pass has collected: for each node a list of items whose sum is its adjoint. */
struct reverse {
  struct field_graph *graph;
  int heads[FIELD_NODES];
  int next[FIELD_ITEMS];
  struct field_item items[FIELD_ITEMS];
  int count;
  bool needed[FIELD_NODES];
  struct field_sink *sinks;
  int sink_count;
};

static void contribute(struct reverse *r, int to, struct field_item item) {
  if (!r->needed[to] || item.node < 0) return;
  if (r->count == FIELD_ITEMS) {
    r->graph->full = true;
    return;
  }
  r->items[r->count] = item;
  r->next[r->count] = r->heads[to];
  r->heads[to] = r->count++;
}

static struct field_item plain(int node) { return (struct field_item){.node = node, .weight = -1, .scale = 1.0}; }

static void sink(struct reverse *r, int parameter, int in, int rows) {
  if (!r->sinks || parameter < 0) return;
  if (r->sink_count == FIELD_SINKS) {
    r->graph->full = true;
    return;
  }
  r->sinks[r->sink_count++] = (struct field_sink){.parameter = parameter, .in = in, .rows = rows};
}

/* The adjoint of node `n` as one node, -1: nothing reaches it. Items stand in the order in which they came. */
static int gather(struct reverse *r, int n) {
  struct field_item items[FIELD_ITEMS / 64];
  int count = 0;
  for (int i = r->heads[n]; i >= 0; i = r->next[i]) {
    if (count == FIELD_ITEMS / 64) {
      r->graph->full = true;
      break;
    }
    items[count++] = r->items[i];
  }
  if (count == 0) return -1;
  if (count == 1 && items[0].weight < 0 && items[0].scale == 1.0) return items[0].node;
  for (int i = 0; i < count / 2; ++i) {
    const struct field_item swap = items[i];
    items[i] = items[count - 1 - i];
    items[count - 1 - i] = swap;
  }
  return field_sum(r->graph, r->graph->nodes[n].width, items, count, -1);
}

/* What the adjoint `bar` of a sum is for its items. */
static void reverse_sum(struct reverse *r, const struct field_node *node, int bar) {
  for (int i = 0; i < node->item_count; ++i) {
    const struct field_item item = r->graph->items[node->first_item + i];
    contribute(
        r, item.node,
        (struct field_item){.node = bar, .weight = item.weight, .transposed = !item.transposed, .scale = item.scale});
    if (item.transposed)
      sink(r, item.weight, bar, item.node);
    else
      sink(r, item.weight, item.node, bar);
  }
  sink(r, node->parameter, -1, bar);
}

static void reverse_node(struct reverse *r, int n, int bar) {
  struct field_graph *graph = r->graph;
  const struct field_node node = graph->nodes[n]; /* a copy: appending does not move nodes, but stay clear of that */
  switch (node.kind) {
    case NODE_SUM:
      reverse_sum(r, &node, bar);
      return;
    case NODE_PRODUCT:
      if (r->needed[node.a]) contribute(r, node.a, plain(field_product(graph, bar, node.b)));
      if (r->needed[node.b]) contribute(r, node.b, plain(field_product(graph, bar, node.a)));
      return;
    case NODE_JET: {
      if (!r->needed[node.a]) return;
      const int slope = field_jet(graph, node.form, node.order + 1, node.a, node.dropout);
      if (slope >= 0) contribute(r, node.a, plain(field_product(graph, bar, slope)));
      return;
    }
    case NODE_MAP:
      if (r->needed[node.a]) contribute(r, node.a, plain(transpose_map(graph, &node, bar, graph->nodes[node.a].width)));
      return;
    case NODE_DIAGONAL:
      if (r->needed[node.a]) contribute(r, node.a, plain(field_diagonal(graph, bar, node.parameter)));
      if (r->sinks) sink(r, node.parameter, -1, field_product(graph, bar, node.a));
      return;
    case NODE_MATVEC:
      if (r->needed[node.a])
        contribute(r, node.a,
                   plain(node.order ? field_outer(graph, node.b, bar, node.scale)
                                    : field_outer(graph, bar, node.b, node.scale)));
      if (r->needed[node.b]) contribute(r, node.b, plain(field_matvec(graph, node.a, !node.order, bar, node.scale)));
      return;
    case NODE_OUTER:
      if (r->needed[node.a]) contribute(r, node.a, plain(field_matvec(graph, bar, false, node.b, node.scale)));
      if (r->needed[node.b]) contribute(r, node.b, plain(field_matvec(graph, bar, true, node.a, node.scale)));
      return;
    case NODE_BATCH_NORM:
      if (node.order > 0)
        graph->no_derivative = true;
      else if (r->needed[node.a])
        contribute(r, node.a, plain(batch_norm_along(graph, n, 1, bar)));
      return;
    case NODE_SOURCE:
      if (node.order > 0) {
        graph->no_derivative = true;
        return;
      }
      if (r->needed[node.a])
        contribute(r, node.a, plain(source_product(graph, &node, 1, bar, graph->nodes[node.a].width)));
      if (r->sinks && node.parameter >= 0)
        sink(r, node.parameter, -1, source_product(graph, &node, 2, bar, node.columns));
      return;
    default:
      return;
  }
}

/* Whether an adjoint has to go to a node: towards an input that is wanted or, with sinks, a parameter. */
static void mark_needed(struct reverse *r, int output, const bool *wanted) {
  const struct field_graph *graph = r->graph;
  for (int n = 0; n <= output; ++n) {
    const struct field_node *node = &graph->nodes[n];
    bool needed = node->kind == NODE_INPUT && wanted[node->form];
    if (node->a >= 0) needed = needed || r->needed[node->a];
    if (node->b >= 0) needed = needed || r->needed[node->b];
    if (r->sinks && node->parameter >= 0) needed = true;
    for (int i = 0; i < node->item_count; ++i) {
      const struct field_item *item = &graph->items[node->first_item + i];
      needed = needed || r->needed[item->node] || (r->sinks && item->weight >= 0);
    }
    r->needed[n] = needed;
  }
}

void field_reverse(struct field_graph *graph, int output, int seed, const bool *wanted, int *adjoints,
                   struct field_sink *sinks, int *sink_count) {
  struct reverse *r = calloc(1, sizeof *r);
  for (int i = 0; i < FIELD_INPUTS; ++i) adjoints[i] = -1;
  if (sink_count) *sink_count = 0;
  if (!r) {
    graph->full = true;
    return;
  }
  r->graph = graph;
  r->sinks = sinks;
  for (int n = 0; n <= output; ++n) r->heads[n] = -1;
  mark_needed(r, output, wanted);
  contribute(r, output, plain(seed));
  for (int n = output; n >= 0 && !graph->full; --n) {
    const int bar = gather(r, n);
    if (bar < 0) continue;
    if (graph->nodes[n].kind == NODE_INPUT) adjoints[graph->nodes[n].form] = bar;
    reverse_node(r, n, bar);
  }
  if (sink_count) *sink_count = r->sink_count;
  free(r);
}

/* ---- forwards ---- */

/* The tangent of node `n`, or -1; `tangents` holds those of all nodes before it. */
static int tangent_of(struct field_graph *graph, int n, const int *tangents) {
  const struct field_node node = graph->nodes[n];
  struct field_item items[FIELD_ITEMS / 64];
  int count = 0;
  switch (node.kind) {
    case NODE_SUM:
      for (int i = 0; i < node.item_count && count < FIELD_ITEMS / 64; ++i) {
        items[count] = graph->items[node.first_item + i];
        items[count].node = tangents[items[count].node];
        if (items[count].node >= 0) ++count;
      }
      return count ? field_sum(graph, node.width, items, count, -1) : -1;
    case NODE_PRODUCT:
      if (tangents[node.a] >= 0) items[count++] = plain(field_product(graph, tangents[node.a], node.b));
      if (tangents[node.b] >= 0) items[count++] = plain(field_product(graph, tangents[node.b], node.a));
      break;
    case NODE_JET: {
      const int slope = tangents[node.a] < 0 ? -1 : field_jet(graph, node.form, node.order + 1, node.a, node.dropout);
      return slope < 0 ? -1 : field_product(graph, tangents[node.a], slope);
    }
    case NODE_MAP:
      if (tangents[node.a] < 0) return -1;
      return node.form == MAP_BELOW_MOST
                 ? tangents[node.a]
                 : field_map(graph, node.form, node.order, node.scale, tangents[node.a], node.width);
    case NODE_DIAGONAL:
      return tangents[node.a] < 0 ? -1 : field_diagonal(graph, tangents[node.a], node.parameter);
    case NODE_MATVEC:
      if (tangents[node.a] >= 0)
        items[count++] = plain(field_matvec(graph, tangents[node.a], node.order, node.b, node.scale));
      if (tangents[node.b] >= 0)
        items[count++] = plain(field_matvec(graph, node.a, node.order, tangents[node.b], node.scale));
      break;
    case NODE_BATCH_NORM:
      if (node.order > 0) graph->no_derivative = true;
      return tangents[node.a] < 0 ? -1 : batch_norm_along(graph, n, 2, tangents[node.a]);
    case NODE_SOURCE:
      if (tangents[node.a] >= 0 || (node.b >= 0 && tangents[node.b] >= 0)) graph->no_derivative = true;
      return -1;
    case NODE_OUTER:
      if (tangents[node.a] >= 0) items[count++] = plain(field_outer(graph, tangents[node.a], node.b, node.scale));
      if (tangents[node.b] >= 0) items[count++] = plain(field_outer(graph, node.a, tangents[node.b], node.scale));
      break;
    default:
      return -1;
  }
  if (count == 0) return -1;
  return count == 1 ? items[0].node : field_sum(graph, node.width, items, count, -1);
}

int field_tangents(struct field_graph *graph, int output, int input, int direction) {
  int *tangents = malloc(FIELD_NODES * sizeof *tangents);
  if (!tangents) {
    graph->full = true;
    return -1;
  }
  for (int n = 0; n < FIELD_NODES; ++n) tangents[n] = -1;
  for (int n = 0; n <= output && !graph->full; ++n)
    tangents[n] = n == graph->inputs[input] ? direction : tangent_of(graph, n, tangents);
  const int result = graph->full ? -1 : tangents[output];
  free(tangents);
  return result;
}
