/* Code generation for networks that are graphs (engine/field_graph.h): forward, backward and along tangents.
 *
 * A node is computed where all that it reads is there, by one loop over its features; nodes that are read once, feature
 * by feature, are computed inside the loop that reads them. Derivatives of an activation are stored by the loop of what
 * it is applied to. Tiles are used again when nothing reads them any more. What does not change during a solve is
 * computed before it, and what does not depend on the direction of a trace before the trace. */
#include <stdlib.h>
#include <string.h>

#include "engine/field_graph.h"
#include "engine/program_plan.h"
#include "engine/program_source.h"

enum { BUFFERS = FIELD_NODES, FOREVER = 1 << 30, ROWS_BUFFERS = 2 };

/* A tile's memory, and what happened to it since the last barrier. */
struct buffer {
  struct place place;
  long floats;
  int last; /* position of the last loop that reads what is in it */
  bool written, read;
};

struct field_plan {
  struct field_graph *graph;
  int tangent_output, adjoints[FIELD_INPUTS];
  int first_backward; /* nodes from here on come from the loss's gradient */
  struct field_sink sinks[FIELD_SINKS];
  int sink_count, sink_keys[FIELD_SINKS]; /* the loop after which a sink has what it needs, -1: at once */
  bool used[FIELD_NODES], stored[FIELD_NODES], has_jets[FIELD_NODES];
  int segments[FIELD_NODES], hosts[FIELD_NODES], positions[FIELD_NODES], last[FIELD_NODES];
  int tile_of[FIELD_NODES]; /* buffer, -1: none */
  struct buffer buffers[BUFFERS];
  int buffer_count;
  struct place rows[ROWS_BUFFERS], zeros;
  bool rows_written[ROWS_BUFFERS], rows_read[ROWS_BUFFERS];
  int rows_next;
  struct place time_parts; /* of item i at time_offsets[i] */
  int time_offsets[FIELD_ITEMS];
  struct place *weights; /* per parameter: where a non-negative one's weights stand */
  bool *begun;           /* per parameter: a sink of this text has written it */
};

static const struct field_node *node_at(const struct plan *plan, int n) { return &plan->field->graph->nodes[n]; }
static const struct field_item *items_of(const struct plan *plan, const struct field_node *node) {
  return &plan->field->graph->items[node->first_item];
}
static bool is_tile(const struct plan *plan, int n) {
  return node_at(plan, n)->kind == NODE_INPUT || plan->field->stored[n];
}
static bool positive(const struct plan *plan, int parameter) { return plan->network->parameters[parameter].positive; }

/* ---- who reads what ---- */

/* Whether a node reads other features of `a` and `b` than those of the thread. */
static bool reads_across(const struct field_node *node) {
  return node->kind == NODE_MAP || node->kind == NODE_MATVEC || node->kind == NODE_OUTER || node->kind == NODE_SOURCE ||
         node->kind == NODE_BATCH_NORM;
}

typedef void (*reader)(struct plan *plan, int node, int child, bool across);

/* Calls `read` for each node that `n` reads; `across`: other features than those of the thread. */
static void each_child(struct plan *plan, int n, reader read) {
  const struct field_node *node = node_at(plan, n);
  const bool map = reads_across(node);
  if (node->a >= 0) read(plan, n, node->a, map);
  if (node->b >= 0) read(plan, n, node->b, map);
  for (int i = 0; i < node->item_count; ++i)
    read(plan, n, items_of(plan, node)[i].node, items_of(plan, node)[i].weight >= 0);
}

static void mark_used(struct plan *plan, int node, int child, bool across) {
  (void)node, (void)across;
  plan->field->used[child] = true;
}

static void find_segment(struct plan *plan, int node, int child, bool across) {
  (void)across;
  struct field_plan *field = plan->field;
  if (field->segments[child] > field->segments[node]) field->segments[node] = field->segments[child];
}

/* A node needs a tile if it is read across, twice, or by another part of the kernel. */
static void decide_stored(struct plan *plan, int node, int child, bool across) {
  struct field_plan *field = plan->field;
  if (node_at(plan, node)->kind == NODE_JET) {
    field->has_jets[child] = true;
    return;
  }
  if (across || field->hosts[child] >= 0 || field->segments[child] != field->segments[node])
    field->stored[child] = true;
  field->hosts[child] = node;
}

static int loop_of(const struct plan *plan, int n) {
  while (!plan->field->stored[n] && !plan->field->has_jets[n]) n = plan->field->hosts[n];
  return n;
}

static void extend(struct plan *plan, int n, int position, int segment) {
  struct field_plan *field = plan->field;
  if (field->segments[n] != segment && !(segment == FIELD_BACKWARD && field->segments[n] == FIELD_FORWARD))
    position = FOREVER;
  if (position > field->last[n]) field->last[n] = position;
}

static void find_last(struct plan *plan, int node, int child, bool across) {
  (void)across;
  struct field_plan *field = plan->field;
  if (!is_tile(plan, child) || node_at(plan, node)->kind == NODE_JET) return;
  const int host = loop_of(plan, node);
  extend(plan, child, field->positions[host], field->segments[host]);
}

/* ---- planning ---- */

static void make_backward(struct plan *plan) {
  struct field_plan *field = plan->field;
  struct field_graph *graph = field->graph;
  const bool wanted[FIELD_INPUTS] = {[FIELD_Z] = plan->state, [FIELD_CONDITION] = plan->x_last >= 0};
  field->first_backward = graph->count;
  field_reverse(graph, graph->output, field_input(graph, FIELD_ADJOINT, graph->nodes[graph->output].width), wanted,
                field->adjoints, field->sinks, &field->sink_count);
}

static void make_trace(struct plan *plan) {
  struct field_graph *graph = plan->field->graph;
  const int direction = field_input(graph, FIELD_TANGENT, plan->d);
  const int tangent = field_tangents(graph, graph->output, FIELD_Z, direction);
  plan->field->tangent_output = tangent < 0 ? field_constant(graph, 0.0, plan->d) : field_scaled(graph, tangent, 1.0);
}

static void mark_roots(struct plan *plan) {
  struct field_plan *field = plan->field;
  const int roots[] = {field->graph->output, field->tangent_output, field->adjoints[FIELD_Z],
                       field->adjoints[FIELD_CONDITION]};
  for (size_t i = 0; i < sizeof roots / sizeof *roots; ++i)
    if (roots[i] >= 0) field->used[roots[i]] = field->stored[roots[i]] = true;
  for (int i = 0; i < field->sink_count; ++i) {
    field->used[field->sinks[i].rows] = field->stored[field->sinks[i].rows] = true;
    if (field->sinks[i].in >= 0) field->used[field->sinks[i].in] = field->stored[field->sinks[i].in] = true;
  }
}

static int own_segment(const struct plan *plan, int n) {
  const struct field_node *node = node_at(plan, n);
  const bool moves = node->kind == NODE_INPUT && (node->form == FIELD_Z || node->form == FIELD_TIME);
  if (node->kind == NODE_INPUT && node->form == FIELD_TANGENT) return FIELD_TRACE;
  if (!plan->solve && n >= plan->field->first_backward && node->kind != NODE_JET) return FIELD_BACKWARD;
  return moves || !plan->solve || plan->guided ? FIELD_FORWARD : FIELD_ONCE;
}

/* The loop after which a node's tile is there; -1: it always is. */
static int ready_at(const struct plan *plan, int n) {
  const struct field_node *node = node_at(plan, n);
  return node->kind == NODE_INPUT ? -1 : node->kind == NODE_JET ? node->a : n;
}

static void place_sinks(struct plan *plan) {
  struct field_plan *field = plan->field;
  for (int i = 0; i < field->sink_count; ++i) {
    const struct field_sink *sink = &field->sinks[i];
    int key = -1, position = 0;
    const int ends[] = {sink->rows, sink->in < 0 ? sink->rows : sink->in};
    for (int k = 0; k < 2; ++k) {
      const int loop = ready_at(plan, ends[k]);
      if (loop >= 0 && field->segments[loop] == FIELD_BACKWARD && (key < 0 || loop > key)) key = loop;
    }
    if (key >= 0) position = field->positions[key];
    field->sink_keys[i] = key;
    extend(plan, sink->rows, position, FIELD_BACKWARD);
    if (sink->in >= 0) extend(plan, sink->in, position, FIELD_BACKWARD);
  }
}

/* A tile for node `n`, computed at `position`. */
static void take_buffer(struct plan *plan, int n, int position) {
  struct field_plan *field = plan->field;
  const long floats = (long)plan_round_up8(node_at(plan, n)->width) * plan->tile.rows;
  int best = -1;
  for (int i = 0; i < field->buffer_count; ++i) {
    const struct buffer *buffer = &field->buffers[i];
    if (buffer->last < position && buffer->floats >= floats &&
        (best < 0 || buffer->floats < field->buffers[best].floats))
      best = i;
  }
  if (best < 0) {
    best = field->buffer_count++;
    field->buffers[best] = (struct buffer){.place = plan_allocate(plan, floats), .floats = floats};
  }
  field->buffers[best].last = field->last[n] > position ? field->last[n] : position;
  field->tile_of[n] = best;
}

/* A tile that the rest of the kernel has. */
static void give_buffer(struct plan *plan, int n, struct place place) {
  struct field_plan *field = plan->field;
  field->buffers[field->buffer_count] = (struct buffer){.place = place, .last = FOREVER};
  field->tile_of[n] = field->buffer_count++;
}

static bool is_loop(const struct plan *plan, int n) {
  const struct field_plan *field = plan->field;
  const int kind = node_at(plan, n)->kind;
  return field->used[n] && kind != NODE_INPUT && kind != NODE_JET && (field->stored[n] || field->has_jets[n]);
}

static void place_tiles(struct plan *plan) {
  struct field_plan *field = plan->field;
  const struct op_places *output = &plan->ops[network_said_op(plan->network)];
  give_buffer(plan, field->graph->output, output->at[POST]);
  if (field->tangent_output >= 0) give_buffer(plan, field->tangent_output, output->at[TANGENT]);
  for (int segment = FIELD_ONCE; segment <= FIELD_BACKWARD; ++segment)
    for (int n = 0; n < field->graph->count; ++n) {
      if (!is_loop(plan, n) || field->segments[n] != segment) continue;
      const int position = field->positions[n];
      if (field->stored[n] && field->tile_of[n] < 0) take_buffer(plan, n, position);
      for (int j = n + 1; field->has_jets[n] && j < field->graph->count; ++j)
        if (field->used[j] && node_at(plan, j)->kind == NODE_JET && node_at(plan, j)->a == n)
          take_buffer(plan, j, position);
    }
}

/* Whether an item is the time embedding times a weight. */
static bool is_time_product(const struct field_plan *field, int item) {
  return field->graph->items[item].node == field->graph->inputs[FIELD_TIME] && field->graph->items[item].weight >= 0;
}

static void place_time_parts(struct plan *plan) {
  struct field_plan *field = plan->field;
  long floats = 0;
  if (!plan->solve || plan->row_times) return;
  for (int n = 0; n < field->graph->count; ++n)
    for (int i = 0; field->used[n] && i < node_at(plan, n)->item_count; ++i) {
      const int item = node_at(plan, n)->first_item + i;
      if (!is_time_product(field, item)) continue;
      field->time_offsets[item] = (int)floats;
      floats += plan_round_up8(node_at(plan, n)->width);
    }
  if (floats) field->time_parts = plan_allocate(plan, floats);
}

static void place_weights(struct plan *plan) {
  const struct network *network = plan->network;
  for (int i = 0; i < network->parameter_count; ++i)
    if (positive(plan, i))
      plan->field->weights[i] = plan_allocate(plan, (long)network->parameters[i].rows * network->parameters[i].stride);
}

bool plan_place_field(struct plan *plan) {
  const struct network *network = plan->network;
  if (!network->field) return true;
  struct field_plan *field = calloc(1, sizeof *field);
  if (!field) return false;
  plan->field = field;
  field->graph = field_copy(network->field);
  field->weights = calloc((size_t)network->parameter_count + 1, sizeof *field->weights);
  field->begun = calloc((size_t)network->parameter_count + 1, sizeof *field->begun);
  if (!field->graph || !field->weights || !field->begun) return false;
  const int total = field->graph->count;
  field->tangent_output = field->first_backward = -1;
  for (int i = 0; i < FIELD_INPUTS; ++i) field->adjoints[i] = -1;
  for (int i = 0; i < ROWS_BUFFERS; ++i) field->rows[i] = NOWHERE;
  field->first_backward = total;
  if (plan->backward) make_backward(plan);
  if (plan->tangents) make_trace(plan);
  plan->no_derivative = field->graph->no_derivative;
  if (field->graph->full || plan->no_derivative) return false;
  const int count = field->graph->count;
  for (int n = 0; n < count; ++n) field->hosts[n] = field->tile_of[n] = field->last[n] = -1;
  mark_roots(plan);
  for (int n = count - 1; n >= 0; --n)
    if (field->used[n]) each_child(plan, n, mark_used);
  for (int n = 0; n < count; ++n) {
    field->segments[n] = own_segment(plan, n);
    each_child(plan, n, find_segment);
  }
  for (int n = count - 1; n >= 0; --n) {
    if (node_at(plan, n)->kind == NODE_JET || node_at(plan, n)->kind == NODE_BATCH_NORM) field->stored[n] = true;
    if (field->used[n]) each_child(plan, n, decide_stored);
  }
  /* What both an activation and something else reads is stored. */
  for (int n = 0; n < count; ++n)
    if (field->has_jets[n] && field->hosts[n] >= 0) field->stored[n] = true;
  int position = 0;
  for (int segment = FIELD_ONCE; segment <= FIELD_BACKWARD; ++segment)
    for (int n = 0; n < count; ++n)
      if (is_loop(plan, n) && field->segments[n] == segment) field->positions[n] = ++position;
  for (int n = 0; n < count; ++n)
    if (field->used[n]) each_child(plan, n, find_last);
  const int roots[] = {field->graph->output, field->tangent_output, field->adjoints[FIELD_Z],
                       field->adjoints[FIELD_CONDITION]};
  for (size_t i = 0; i < sizeof roots / sizeof *roots; ++i)
    if (roots[i] >= 0) field->last[roots[i]] = FOREVER;
  plan->norm_stops = 0;
  for (int n = 0; plan->backward && n < count; ++n) /* in the order in which loops are written */
    if (field->used[n] && node_at(plan, n)->kind == NODE_BATCH_NORM && node_at(plan, n)->order == 1)
      plan->norms[node_at(plan, n)->form].backward_stop = plan->norm_stops++;
  place_sinks(plan);
  place_tiles(plan);
  place_time_parts(plan);
  place_weights(plan);
  if (plan->backward) {
    int widest = 0;
    for (int i = 0; i < field->sink_count; ++i) {
      const int width = plan_round_up8(node_at(plan, field->sinks[i].rows)->width);
      if (width > widest) widest = width;
    }
    for (int i = 0; i < ROWS_BUFFERS; ++i) field->rows[i] = plan_allocate(plan, (long)(widest + 1) * plan->tile.rows);
  }
  field->zeros =
      plan->guided && plan->x_last >= 0 ? plan_allocate_tile(plan, network->ops[plan->x_last].width) : NOWHERE;
  return true;
}

void plan_free_field(struct plan *plan) {
  if (!plan->field) return;
  free(plan->field->graph);
  free(plan->field->weights);
  free(plan->field->begun);
  free(plan->field);
  plan->field = NULL;
}

/* ---- text ---- */

static struct text tile_text(const struct plan *plan, int n) {
  static const struct text guided = {"condition"}, gradient = {"delta"};
  const struct field_node *node = node_at(plan, n);
  if (node->kind != NODE_INPUT) return plan_place_text(plan->field->buffers[plan->field->tile_of[n]].place, 0);
  switch (node->form) {
    case FIELD_Z:
      return plan_place_text(plan->solve ? plan->input : plan->z, 0);
    case FIELD_CONDITION:
      return plan->guided ? guided : plan_place_text(plan->ops[plan->x_last].at[POST], 0);
    case FIELD_X:
      return plan_place_text(plan->x, 0);
    case FIELD_TIME:
      return plan_place_text(plan->time, 0);
    case FIELD_TANGENT:
      return plan_place_text(plan->tangent, 0);
    default:
      return gradient;
  }
}

static struct text weight_text(const struct plan *plan, int parameter) {
  struct text text;
  if (positive(plan, parameter)) return plan_place_text(plan->field->weights[parameter], 0);
  snprintf(text.s, sizeof text.s, "P + %ld", plan->network->parameters[parameter].padded_offset);
  return text;
}

static void emit_barrier(struct plan *plan) {
  struct field_plan *field = plan->field;
  plan_emit(plan, "  __syncthreads();\n");
  for (int i = 0; i < field->buffer_count; ++i) field->buffers[i].written = field->buffers[i].read = false;
  for (int i = 0; i < ROWS_BUFFERS; ++i) field->rows_written[i] = field->rows_read[i] = false;
}

/* Whether the loop of `n` reads other threads' work of since the last barrier, through what is computed inside it. */
static bool reads_fresh(struct plan *plan, int n) {
  const struct field_node *node = node_at(plan, n);
  const struct field_plan *field = plan->field;
  const bool map = reads_across(node);
  for (int i = -2; i < node->item_count; ++i) {
    const int child = i == -2 ? node->a : i == -1 ? node->b : items_of(plan, node)[i].node;
    const bool across = i < 0 ? map : items_of(plan, node)[i].weight >= 0;
    if (child < 0) continue;
    if (is_tile(plan, child) ? across && field->tile_of[child] >= 0 && field->buffers[field->tile_of[child]].written
                             : reads_fresh(plan, child))
      return true;
  }
  return false;
}

static void mark_reads(struct plan *plan, int n) {
  const struct field_node *node = node_at(plan, n);
  struct field_plan *field = plan->field;
  for (int i = -2; i < node->item_count; ++i) {
    const int child = i == -2 ? node->a : i == -1 ? node->b : items_of(plan, node)[i].node;
    if (child < 0) continue;
    if (!is_tile(plan, child))
      mark_reads(plan, child);
    else if (field->tile_of[child] >= 0)
      field->buffers[field->tile_of[child]].read = true;
  }
}

static void emit_value(struct plan *plan, int n, const char *acc, int depth, bool fresh);

static void emit_map(struct plan *plan, const struct field_node *node, const char *acc) {
  const int in = node_at(plan, node->a)->width;
  const struct text tile = tile_text(plan, node->a), scale = plan_float_text(node->scale);
  switch (node->form) {
    case MAP_GROUP_SUM:
      plan_emit(plan, "    add_group_sum<%d, %d>(%s, %s, n, ", in, node->order, acc, tile.s);
      plan_emit(plan, "%s);\n", scale.s);
      return;
    case MAP_SPREAD:
      plan_emit(plan, "    add_spread<%d, %d>(%s, %s, n, ", in, node->order, acc, tile.s);
      plan_emit(plan, "%s);\n", scale.s);
      return;
    case MAP_TOTAL:
      plan_emit(plan, "    add_total<%d>(%s, %s, ", in, acc, tile.s);
      plan_emit(plan, "%s);\n", scale.s);
      return;
    case MAP_SWAP:
      plan_emit(plan, "    add_swapped<%d>(%s, %s, n, ", in, acc, tile.s);
      plan_emit(plan, "%s, %s);\n", scale.s, plan_float_text(node->scale * node->order).s);
      return;
    case MAP_SLICE:
    case MAP_EMBED:
      plan_emit(plan, "    add_shifted<%d, %d>(%s, %s, n, ", in, node->form == MAP_SLICE ? node->order : -node->order,
                acc, tile.s);
      plan_emit(plan, "%s);\n", scale.s);
      return;
    default:
      plan_emit(plan, "    add_below_most<%d>(%s, %s, n);\n", in, acc, tile.s);
  }
}

static void emit_item(struct plan *plan, int index, const char *acc, int depth, bool fresh) {
  const struct field_item *item = &plan->field->graph->items[index];
  if (item->weight >= 0) {
    const struct parameter_entry *entry = &plan->network->parameters[item->weight];
    if (plan->solve && !plan->row_times && item->node == plan->field->graph->inputs[FIELD_TIME])
      plan_emit(plan, "    add_uniform8(%s, %s + %d + n);\n", acc, plan_place_text(plan->field->time_parts, 0).s,
                plan->field->time_offsets[index]);
    else if (item->transposed)
      plan_emit(plan, "    dense_accumulate_transposed<%d>(%s, %s, %s, n, %d);\n", entry->stride, acc,
                tile_text(plan, item->node).s, weight_text(plan, item->weight).s, entry->rows);
    else
      plan_emit(plan, "    dense_accumulate<%d>(%s, %s, %d, %s + n);\n", entry->stride, acc,
                tile_text(plan, item->node).s, entry->rows, weight_text(plan, item->weight).s);
    return;
  }
  if (item->scale == 1.0) {
    emit_value(plan, item->node, acc, depth, fresh);
    return;
  }
  plan_emit(plan, "    {\n    float part%d[TILE_OUTPUTS] = {};\n", depth);
  char part[16];
  snprintf(part, sizeof part, "part%d", depth);
  emit_value(plan, item->node, part, depth + 1, true);
  plan_emit(plan, "    add_scaled(%s, %s, %s);\n    }\n", acc, part, plan_float_text(item->scale).s);
}

static void emit_product(struct plan *plan, const struct field_node *node, const char *acc, int depth, bool fresh) {
  char part[16], other[16];
  snprintf(part, sizeof part, "part%d", depth);
  snprintf(other, sizeof other, "other%d", depth);
  const bool swap = is_tile(plan, node->a) && !is_tile(plan, node->b);
  const int first = swap ? node->b : node->a, second = swap ? node->a : node->b;
  const char *const to = fresh ? acc : part;
  if (!fresh) plan_emit(plan, "    {\n    float %s[TILE_OUTPUTS] = {};\n", part);
  emit_value(plan, first, to, depth + 1, true);
  if (is_tile(plan, second)) {
    if (node_at(plan, second)->kind == NODE_INPUT && node->width % 8)
      plan_emit(plan, "    multiply_features<%d>(%s, %s, n);\n", node->width, to, tile_text(plan, second).s);
    else
      plan_emit(plan, "    multiply_tile8(%s, %s, n);\n", to, tile_text(plan, second).s);
  } else {
    plan_emit(plan, "    {\n    float %s[TILE_OUTPUTS] = {};\n", other);
    emit_value(plan, second, other, depth + 1, true);
    plan_emit(plan, "    multiply_values(%s, %s);\n    }\n", to, other);
  }
  if (!fresh) plan_emit(plan, "    add_values(%s, %s);\n    }\n", acc, part);
}

/* A call for each of the thread's features. */
static void emit_source(struct plan *plan, const struct field_node *node, const char *acc) {
  const struct layer_settings *layer = &plan->settings->network.layers.items[node->form];
  char input[160], adjoint[160] = "", parameters[64] = "nullptr";
  snprintf(input, sizeof input, "layer_input{%s + tile_lane(), %d}", tile_text(plan, node->a).s,
           node_at(plan, node->a)->width);
  if (node->b >= 0)
    snprintf(adjoint, sizeof adjoint, "layer_input{%s + tile_lane(), %d}", tile_text(plan, node->b).s,
             node_at(plan, node->b)->width);
  if (node->parameter >= 0)
    snprintf(parameters, sizeof parameters, "P + %ld", plan->network->parameters[node->parameter].padded_offset);
  plan_emit(plan, "    add_source<%d>(%s, n, [&](int j) { return ", node->width, acc);
  source_emit_call(plan->out, layer, node->order, "j", input, parameters, adjoint);
  plan_emit(plan, "; });\n");
}

/* Such a node is a loop of its own: acc is zero. */
static void emit_norm(struct plan *plan, const struct field_node *node, const char *acc) {
  emit_value(plan, node->a, acc, 1, true);
  if (node->order == 0) plan_emit_norm_value(plan, node->form, acc);
  if (node->order == 2) plan_emit_norm_tangent(plan, node->form, acc);
  if (node->order != 1) return;
  plan_emit(plan, "    float unit[TILE_OUTPUTS] = {};\n");
  emit_value(plan, node->b, "unit", 1, true);
  plan_emit_norm_adjoint(plan, node->form, acc, "unit");
}

/* acc += the expression of node n; `fresh`: acc is still zero. */
static void emit_expression(struct plan *plan, int n, const char *acc, int depth, bool fresh) {
  const struct field_node *node = node_at(plan, n);
  char part[16];
  snprintf(part, sizeof part, "part%d", depth);
  switch (node->kind) {
    case NODE_CONSTANT:
      plan_emit(plan, "    add_constant(%s, %s);\n", acc, plan_float_text(node->scale).s);
      return;
    case NODE_SUM:
      for (int i = 0; i < node->item_count; ++i) /* products first: they may take the accumulator itself */
        if (items_of(plan, node)[i].weight < 0) {
          emit_item(plan, node->first_item + i, acc, depth, fresh);
          fresh = false;
        }
      if (node->parameter >= 0)
        plan_emit(plan, "    add_parameters8(%s, P + %ld + n);\n", acc,
                  plan->network->parameters[node->parameter].padded_offset);
      for (int i = 0; i < node->item_count; ++i)
        if (items_of(plan, node)[i].weight >= 0) emit_item(plan, node->first_item + i, acc, depth, false);
      return;
    case NODE_PRODUCT:
      emit_product(plan, node, acc, depth, fresh);
      return;
    case NODE_DIAGONAL:
      if (!fresh) plan_emit(plan, "    {\n    float %s[TILE_OUTPUTS] = {};\n", part);
      emit_value(plan, node->a, fresh ? acc : part, depth + 1, true);
      plan_emit(plan, "    multiply_parameters(%s, P + %ld + n);\n", fresh ? acc : part,
                plan->network->parameters[node->parameter].padded_offset);
      if (!fresh) plan_emit(plan, "    add_values(%s, %s);\n    }\n", acc, part);
      return;
    case NODE_MAP:
      emit_map(plan, node, acc);
      return;
    case NODE_MATVEC:
      plan_emit(plan, "    add_matvec<%d, %s>(%s, ", node->width, node->order ? "true" : "false", acc);
      plan_emit(plan, "%s, %s, n, ", tile_text(plan, node->a).s, tile_text(plan, node->b).s);
      plan_emit(plan, "%s);\n", plan_float_text(node->scale).s);
      return;
    case NODE_SOURCE:
      emit_source(plan, node, acc);
      return;
    case NODE_BATCH_NORM:
      emit_norm(plan, node, acc);
      return;
    default: /* NODE_OUTER */
      plan_emit(plan, "    add_outer<%d>(%s, ", node_at(plan, node->a)->width, acc);
      plan_emit(plan, "%s, %s, n, ", tile_text(plan, node->a).s, tile_text(plan, node->b).s);
      plan_emit(plan, "%s);\n", plan_float_text(node->scale).s);
  }
}

static void emit_value(struct plan *plan, int n, const char *acc, int depth, bool fresh) {
  if (!is_tile(plan, n)) {
    emit_expression(plan, n, acc, depth, fresh);
    return;
  }
  const struct field_node *node = node_at(plan, n);
  if (node->kind == NODE_INPUT && node->form == FIELD_TIME && plan->solve && !plan->row_times)
    plan_emit(plan, "    add_uniform_features<%d>(%s, %s, n);\n", node->width, acc, tile_text(plan, n).s);
  else if (node->kind == NODE_INPUT && node->width % 8)
    plan_emit(plan, "    add_features<%d>(%s, %s, n);\n", node->width, acc, tile_text(plan, n).s);
  else
    plan_emit(plan, "    add_tile8(%s, %s, n);\n", acc, tile_text(plan, n).s);
}

/* Threshold and scale of a layer's dropout; layers of a list have rates of their own. */
static struct text dropout_text(const struct plan *plan, int layer) {
  const struct layer_list *list = &plan->settings->network.layers;
  struct text text = {"drop_threshold, drop_scale"};
  if (plan->settings->network.type != NETWORK_CUSTOM) return text;
  const unsigned threshold = plan_dropout_threshold(list->items[layer].rate);
  snprintf(text.s, sizeof text.s, "drop ? %uu : 0u, drop ? %s : 1.0f", threshold,
           plan_float_text(1.0 / (1.0 - threshold / 65536.0)).s);
  return text;
}

/* Stores the derivatives of all functions that are applied to node `n`. */
static void emit_jets(struct plan *plan, int n) {
  const struct field_plan *field = plan->field;
  const struct field_node *node = node_at(plan, n);
  bool done[FIELD_NODES] = {false};
  for (int first = n + 1; first < field->graph->count; ++first) {
    const struct field_node *jet = node_at(plan, first);
    if (done[first] || !field->used[first] || jet->kind != NODE_JET || jet->a != n) continue;
    struct text tiles[4] = {{"nullptr"}, {"nullptr"}, {"nullptr"}, {"nullptr"}};
    for (int i = first; i < field->graph->count; ++i) {
      const struct field_node *other = node_at(plan, i);
      if (!field->used[i] || other->kind != NODE_JET || other->a != n || other->form != jet->form ||
          other->dropout != jet->dropout)
        continue;
      done[i] = true;
      tiles[other->order] = tile_text(plan, i);
    }
    const bool dropout = jet->dropout >= 0 && plan->backward;
    plan_emit(plan, "    jet_finish<%d, %d, %s>(acc, n, ", jet->form, node->width, dropout ? "true" : "false");
    for (int k = 0; k < 4; ++k) plan_emit(plan, "%s, ", tiles[k].s);
    if (dropout)
      plan_emit(plan,
                "dropout_draw{%s, args.seed, row.number, philox_stream(STREAM_DROPOUT, %d, "
                "%s), batch.step});\n",
                dropout_text(plan, jet->dropout).s, jet->dropout % NETWORK_MAX_OPS,
                jet->dropout >= NETWORK_MAX_OPS ? "0" : "draw");
    else
      plan_emit(plan, "dropout_draw());\n");
  }
}

static void loop_head(struct plan *plan, int width) {
  plan_emit(plan,
            "  for (int n = TILE_OUTPUTS * tile_warp(); n < %d; n += TILE_OUTPUTS * TILE_WARPS) {\n    float "
            "acc[TILE_OUTPUTS] = {};\n",
            plan_round_up8(width));
}

/* ---- gradients of parameters ---- */

/* A pair of rows to write to; a barrier first where threads may still read it. */
static int next_rows(struct plan *plan) {
  struct field_plan *field = plan->field;
  const int k = field->rows_next;
  field->rows_next = (k + 1) % ROWS_BUFFERS;
  if (field->rows_read[k] || field->rows_written[k]) emit_barrier(plan);
  return k;
}

static void emit_sink(struct plan *plan, const struct field_sink *sink, const char *rows) {
  struct field_plan *field = plan->field;
  const struct parameter_entry *entry = &plan->network->parameters[sink->parameter];
  const char *const again = field->begun[sink->parameter] ? "true" : plan->again;
  const int pitch = entry->stride + 1;
  plan_emit(plan, "%s", plan_in_last_pass(plan));
  if (sink->in < 0)
    plan_emit(plan, "  dense_bias_gradient<%d, %d>(slot + %ld, %s, %s);\n", entry->stride, pitch, entry->padded_offset,
              rows, again);
  else
    plan_emit(plan, "  dense_weight_gradient<%d, %d>(slot + %ld, %s, %d, %s, %s);\n", entry->stride, pitch,
              entry->padded_offset, tile_text(plan, sink->in).s, entry->rows, rows, again);
  if (sink->in >= 0 && field->tile_of[sink->in] >= 0) field->buffers[field->tile_of[sink->in]].read = true;
  field->begun[sink->parameter] = true;
}

/* All sinks that have what they need after loop `key`; `own`: the rows of that loop's node, -1: none were stored. */
static void emit_sinks(struct plan *plan, int key, int own) {
  struct field_plan *field = plan->field;
  bool done[FIELD_SINKS] = {false};
  for (int i = 0; i < field->sink_count; ++i) {
    if (done[i] || field->sink_keys[i] != key) continue;
    const int rows = field->sinks[i].rows;
    struct text text;
    int k = -1;
    if (rows == field->graph->inputs[FIELD_ADJOINT]) {
      snprintf(text.s, sizeof text.s, "delta_rows");
    } else if (rows == key) {
      k = own;
    } else {
      k = next_rows(plan);
      const int width = node_at(plan, rows)->width;
      loop_head(plan, width);
      emit_value(plan, rows, "acc", 0, true);
      plan_emit(plan, "    store_rows<%d, %d>(%s, n, acc);\n  }\n", width, plan_round_up8(width) + 1,
                plan_place_text(field->rows[k], 0).s);
      field->rows_written[k] = true;
    }
    bool fresh = k >= 0 && field->rows_written[k];
    for (int j = i; j < field->sink_count && !fresh; ++j) {
      const int in = field->sinks[j].in;
      fresh = field->sink_keys[j] == key && field->sinks[j].rows == rows && in >= 0 && field->tile_of[in] >= 0 &&
              field->buffers[field->tile_of[in]].written;
    }
    if (fresh) emit_barrier(plan);
    if (k >= 0) snprintf(text.s, sizeof text.s, "%s", plan_place_text(field->rows[k], 0).s);
    for (int j = i; j < field->sink_count; ++j) {
      if (field->sink_keys[j] != key || field->sinks[j].rows != rows) continue;
      done[j] = true;
      emit_sink(plan, &field->sinks[j], text.s);
    }
    if (k >= 0) field->rows_read[k] = true;
  }
}

static void emit_loop(struct plan *plan, int n) {
  struct field_plan *field = plan->field;
  const struct field_node *node = node_at(plan, n);
  bool rows = false;
  for (int i = 0; i < field->sink_count; ++i) rows = rows || (field->sink_keys[i] == n && field->sinks[i].rows == n);
  bool barrier = reads_fresh(plan, n);
  const int own = field->tile_of[n];
  barrier = barrier || (own >= 0 && (field->buffers[own].read || field->buffers[own].written));
  for (int j = n + 1; field->has_jets[n] && j < field->graph->count; ++j)
    if (field->used[j] && node_at(plan, j)->kind == NODE_JET && node_at(plan, j)->a == n)
      barrier = barrier || field->buffers[field->tile_of[j]].read || field->buffers[field->tile_of[j]].written;
  if (barrier) emit_barrier(plan);
  const int k = rows ? next_rows(plan) : -1;
  if (node->kind == NODE_BATCH_NORM && node->order < 2)
    plan_emit_norm_stop(plan, node->form, tile_text(plan, node->a).s,
                        node->order == 1 ? tile_text(plan, node->b).s : NULL);
  loop_head(plan, node->width);
  emit_expression(plan, n, "acc", 0, true);
  if (field->stored[n]) {
    plan_emit(plan, "    store_features<%d>(%s, n, acc);\n", node->width, tile_text(plan, n).s);
    field->buffers[own].written = true;
  }
  if (field->has_jets[n]) emit_jets(plan, n);
  for (int j = n + 1; field->has_jets[n] && j < field->graph->count; ++j)
    if (field->used[j] && node_at(plan, j)->kind == NODE_JET && node_at(plan, j)->a == n)
      field->buffers[field->tile_of[j]].written = true;
  if (rows) {
    plan_emit(plan, "    store_rows<%d, %d>(%s, n, acc);\n", node->width, plan_round_up8(node->width) + 1,
              plan_place_text(field->rows[k], 0).s);
    field->rows_written[k] = true;
  }
  plan_emit(plan, "  }\n");
  mark_reads(plan, n);
  emit_sinks(plan, n, k);
}

/* Adds the adjoint of an input to a tile of the kernel's. */
static void emit_adjoint(struct plan *plan, int input, struct place to, const char *add) {
  const int n = plan->field->adjoints[input];
  const int width = input == FIELD_Z ? plan->d : plan->network->ops[plan->x_last].width;
  loop_head(plan, width);
  if (n >= 0) emit_value(plan, n, "acc", 0, true);
  plan_emit(plan, "    %sadd_tile8(acc, %s, n);\n    ", add, plan_place_text(to, 0).s);
  plan_emit(plan, "store_features<%d>(%s, n, acc);\n  }\n", width, plan_place_text(to, 0).s);
}

void plan_emit_field(struct plan *plan, int segment) {
  struct field_plan *field = plan->field;
  if (segment == FIELD_BACKWARD) {
    const struct network *network = plan->network;
    memset(field->begun, 0, (size_t)network->parameter_count * sizeof *field->begun);
    emit_sinks(plan, -1, -1);
  }
  for (int n = 0; n < field->graph->count; ++n)
    if (is_loop(plan, n) && field->segments[n] == segment) emit_loop(plan, n);
  if (segment == FIELD_BACKWARD) {
    const struct network *network = plan->network;
    if (plan->state) emit_adjoint(plan, FIELD_Z, plan->state_gradient, "");
    if (plan->x_last >= 0) {
      emit_adjoint(plan, FIELD_CONDITION, plan->x_gradient, "if (x_gradient_begun) ");
      plan_emit(plan, "  x_gradient_begun = true;\n");
    }
    const int in_front = plan->x_last >= 0 ? network->ops[plan->x_last].inputs[0].weight : -1;
    for (int i = network->field_first; i < network->field_end; ++i)
      if (!field->begun[i] && i != in_front)
        plan_emit(plan, "  clear_gradient(slot + %ld, %d, %s);\n", network->parameters[i].padded_offset,
                  network->parameters[i].rows * network->parameters[i].stride, plan->again);
    for (int i = 0; i < network->norm_count; ++i)
      for (int k = 0; k < 2; ++k) {
        const struct parameter_entry *entry =
            &network->parameters[k ? network->norms[i].variance : network->norms[i].mean];
        plan_emit(plan, "  clear_gradient(slot + %ld, %d, %s);\n", entry->padded_offset, entry->stride, plan->again);
      }
  }
  emit_barrier(plan);
}

void plan_emit_field_includes(struct plan *plan) {
  if (!plan->field) return;
  plan_emit(plan, "#include \"jets.cuh\"\n");
  if (plan->network->norm_count > 0) plan_emit(plan, "#include \"batch_norm.cuh\"\n");
  source_emit_files(plan->out, &plan->settings->network.layers);
}

void plan_emit_field_begin(struct plan *plan) {
  if (!plan->field) return;
  bool any = false;
  for (int i = 0; i < plan->network->parameter_count; ++i) {
    const struct parameter_entry *entry = &plan->network->parameters[i];
    if (!entry->positive) continue;
    any = true;
    plan_emit(plan, "  positive_weights<%d, %d, %d>(%s, ", entry->rows, entry->columns, entry->stride,
              plan_place_text(plan->field->weights[i], 0).s);
    plan_emit(plan, "P + %ld);\n", entry->padded_offset);
  }
  if (plan->field->zeros.offset >= 0)
    plan_emit(plan, "  for (int i = threadIdx.x; i < %d; i += TILE_THREADS) (%s)[i] = 0.0f;\n",
              plan_round_up8(plan->network->ops[plan->x_last].width) * (int)plan->tile.rows,
              plan_place_text(plan->field->zeros, 0).s);
  if (any || plan->field->zeros.offset >= 0) plan_emit(plan, "  __syncthreads();\n");
}

void plan_emit_field_pass(struct plan *plan) {
  if (!plan->field || plan->field->zeros.offset < 0) return;
  plan_emit(plan,
            "  const float *const condition = pass ? %s : ", plan_place_text(plan->ops[plan->x_last].at[POST], 0).s);
  plan_emit(plan, "%s;\n", plan_place_text(plan->field->zeros, 0).s);
}

void plan_emit_field_end(struct plan *plan) {
  if (!plan->field || !plan->backward) return;
  bool any = false;
  for (int i = 0; i < plan->network->parameter_count; ++i) {
    const struct parameter_entry *entry = &plan->network->parameters[i];
    if (!entry->positive) continue;
    if (!any) plan_emit(plan, "  if (first_tile < last_tile) {\n  __syncthreads();\n");
    any = true;
    plan_emit(plan, "  positive_gradient<%d, %d, %d>(slot + %ld, P + %ld);\n", entry->rows, entry->columns,
              entry->stride, entry->padded_offset, entry->padded_offset);
  }
  if (any) plan_emit(plan, "  }\n");
}

void plan_emit_field_time_parts(struct plan *plan) {
  const struct field_plan *field = plan->field;
  for (int n = 0; n < field->graph->count; ++n) {
    const struct field_node *node = node_at(plan, n);
    for (int i = 0; field->used[n] && i < node->item_count; ++i) {
      const struct field_item *item = &items_of(plan, node)[i];
      if (!is_time_product(field, node->first_item + i)) continue;
      const struct parameter_entry *entry = &plan->network->parameters[item->weight];
      plan_emit(plan, "  for (int n = threadIdx.x; n < %d; n += TILE_THREADS)\n", entry->stride);
      plan_emit(plan, "    (%s)[%d + n] = ", plan_place_text(field->time_parts, 0).s,
                field->time_offsets[node->first_item + i]);
      plan_emit(plan, "time_part<%d, %d>(%s, P + %ld + n);\n", entry->rows, entry->stride,
                plan_place_text(plan->time, 0).s, entry->padded_offset);
    }
  }
}
