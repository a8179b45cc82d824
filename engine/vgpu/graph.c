/* Graphs: nodes, each an operation, and what must be done before each. */
#define _GNU_SOURCE 1
#include "engine/vgpu/graph.h"

#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/ir.h"
#include "engine/vgpu/operation.h"

/* ---- nodes ---- */

static void free_node(CUgraphNode node) {
  handle_remove(node);
  operation_clear(&node->operation);
  if (node->child != NULL) graph_free(node->child);
  if (node->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC) vgpu_graph_memory_release(node->memory.dptr);
  free(node->arguments);
  free(node->after);
  free(node);
}

/* cuGraphKernelNodeGetParams shows the arguments in the form of a launch. */
static bool point_at_arguments(CUgraphNode node) {
  if (node->operation.kind != OPERATION_KERNEL) return true;
  const struct ptx_function *ptx = node->operation.kernel.function->ptx;
  void **pointers = realloc(node->arguments, (ptx->parameter_count + 1) * sizeof *pointers);
  if (pointers == NULL) return false;
  node->arguments = pointers;
  for (uint32_t i = 0; i < ptx->parameter_count; ++i) {
    pointers[i] = (char *)node->operation.kernel.parameters + ptx->parameters[i].offset;
  }
  return true;
}

bool graph_set_operation(CUgraphNode node, const struct operation *operation) {
  struct operation copy;
  if (!operation_copy(&copy, operation)) return false;
  operation_clear(&node->operation);
  node->operation = copy;
  return point_at_arguments(node);
}

static bool append(CUgraph graph, CUgraphNode node) {
  if (graph->count == graph->capacity) {
    const size_t capacity = graph->capacity == 0 ? 16 : 2 * graph->capacity;
    CUgraphNode *larger = realloc(graph->nodes, capacity * sizeof *larger);
    if (larger == NULL) return false;
    graph->nodes = larger;
    graph->capacity = capacity;
  }
  if (!graph->hidden && !handle_add(node, HANDLE_NODE)) return false;
  graph->nodes[graph->count++] = node;
  return true;
}

CUgraphNode graph_add(CUgraph graph, CUgraphNodeType type, const struct operation *operation, const CUgraphNode *after,
                      size_t count) {
  static atomic_ullong ids;
  CUgraphNode node = calloc(1, sizeof *node);
  if (node == NULL) return NULL;
  node->graph = graph;
  node->type = type;
  node->id = atomic_fetch_add(&ids, 1) + 1;
  node->enabled = true;
  bool good = operation == NULL || graph_set_operation(node, operation);
  for (size_t i = 0; i < count && good; ++i) good = graph_connect(after[i], node);
  if (good && append(graph, node)) return node;
  free_node(node);
  return NULL;
}

bool graph_is_connected(const struct CUgraphNode_st *before, const struct CUgraphNode_st *after) {
  for (size_t i = 0; i < after->after_count; ++i) {
    if (after->after[i] == before) return true;
  }
  return false;
}

bool graph_connect(CUgraphNode before, CUgraphNode after) {
  if (graph_is_connected(before, after)) return true;
  if (after->after_count == after->after_capacity) {
    const size_t capacity = after->after_capacity == 0 ? 2 : 2 * after->after_capacity;
    CUgraphNode *larger = realloc(after->after, capacity * sizeof *larger);
    if (larger == NULL) return false;
    after->after = larger;
    after->after_capacity = capacity;
  }
  after->after[after->after_count++] = before;
  return true;
}

void graph_disconnect(CUgraphNode before, CUgraphNode after) {
  for (size_t i = 0; i < after->after_count; ++i) {
    if (after->after[i] != before) continue;
    --after->after_count;
    memmove(after->after + i, after->after + i + 1, (after->after_count - i) * sizeof *after->after);
    return;
  }
}

void graph_remove(CUgraphNode node) {
  CUgraph graph = node->graph;
  size_t at = 0;
  for (size_t i = 0; i < graph->count; ++i) {
    if (graph->nodes[i] == node) at = i;
    graph_disconnect(node, graph->nodes[i]);
  }
  --graph->count;
  memmove(graph->nodes + at, graph->nodes + at + 1, (graph->count - at) * sizeof *graph->nodes);
  free_node(node);
}

/* ---- graphs ---- */

CUgraph graph_make(bool hidden) {
  CUgraph graph = calloc(1, sizeof *graph);
  if (graph == NULL) return NULL;
  graph->hidden = hidden;
  if (!hidden && !handle_add(graph, HANDLE_GRAPH)) {
    free(graph);
    return NULL;
  }
  return graph;
}

void graph_object_release(CUuserObject object, unsigned count) {
  vgpu_lock();
  object->references -= count;
  const bool last = object->references == 0;
  vgpu_unlock();
  if (!last) return;
  handle_remove(object);
  object->destroy(object->argument);
  free(object);
}

void graph_free(CUgraph graph) {
  handle_remove(graph);
  for (size_t i = 0; i < graph->count; ++i) free_node(graph->nodes[i]);
  for (struct graph_object *at = graph->objects, *next; at != NULL; at = next) {
    next = at->next;
    graph_object_release(at->object, at->references);
    free(at);
  }
  free(graph->order);
  free(graph->nodes);
  free(graph);
}

static bool clone_node(CUgraph to, const struct CUgraphNode_st *from) {
  CUgraphNode node = graph_add(to, from->type, &from->operation, NULL, 0);
  if (node == NULL) return false;
  node->id = from->id;
  node->enabled = from->enabled;
  node->copy = from->copy;
  node->memory = from->memory;
  if (from->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC) vgpu_graph_memory_keep(node->memory.dptr);
  if (from->child == NULL) return true;
  node->child = graph_clone(from->child, to->hidden);
  if (node->child != NULL) node->child->holder = node;
  return node->child != NULL;
}

/* Where the node stands in its graph. */
static size_t place_of(const struct CUgraphNode_st *node) {
  size_t at = 0;
  while (node->graph->nodes[at] != node) ++at;
  return at;
}

static bool clone_edges(CUgraph to, CUgraph from) {
  bool good = true;
  for (size_t i = 0; i < from->count && good; ++i) {
    const struct CUgraphNode_st *node = from->nodes[i];
    for (size_t k = 0; k < node->after_count && good; ++k) {
      /* Mostly the one before. */
      const size_t at = i > 0 && from->nodes[i - 1] == node->after[k] ? i - 1 : place_of(node->after[k]);
      good = graph_connect(to->nodes[at], to->nodes[i]);
    }
  }
  return good;
}

static bool clone_objects(CUgraph to, CUgraph from) {
  for (const struct graph_object *at = from->objects; at != NULL; at = at->next) {
    struct graph_object *held = malloc(sizeof *held);
    if (held == NULL) return false;
    *held = (struct graph_object){.next = to->objects, .object = at->object, .references = 1};
    vgpu_lock();
    ++at->object->references;
    vgpu_unlock();
    to->objects = held;
  }
  return true;
}

CUgraph graph_clone(CUgraph graph, bool hidden) {
  CUgraph copy = graph_make(hidden);
  bool good = copy != NULL;
  for (size_t i = 0; i < graph->count && good; ++i) good = clone_node(copy, graph->nodes[i]);
  if (good && clone_edges(copy, graph) && clone_objects(copy, graph)) return copy;
  if (copy != NULL) graph_free(copy);
  return NULL;
}

CUgraphNode graph_find(CUgraph graph, uint64_t id) {
  for (size_t i = 0; i < graph->count; ++i) {
    if (graph->nodes[i]->id == id) return graph->nodes[i];
  }
  for (size_t i = 0; i < graph->count; ++i) {
    CUgraphNode found = graph->nodes[i]->child != NULL ? graph_find(graph->nodes[i]->child, id) : NULL;
    if (found != NULL) return found;
  }
  return NULL;
}

/* ---- order ---- */

/* Depth first, in the order of making: the order in which the program made the nodes comes out, wherever it is one that
 * the edges allow. */
bool graph_order(CUgraph graph) {
  enum { UNSEEN, OPEN, PLACED };
  CUgraphNode *order = calloc(graph->count + 1, sizeof *order);
  unsigned char *state = calloc(graph->count + 1, 1);
  struct {
    size_t node, next; /* next: of its edges */
  } *stack = malloc((graph->count + 1) * sizeof *stack);
  bool good = order != NULL && state != NULL && stack != NULL;
  size_t placed = 0;
  for (size_t root = 0; root < graph->count && good; ++root) {
    size_t depth = 0;
    if (state[root] != UNSEEN) continue;
    stack[depth].node = root;
    stack[depth++].next = 0;
    state[root] = OPEN;
    while (depth > 0 && good) {
      const size_t at = stack[depth - 1].node;
      const struct CUgraphNode_st *node = graph->nodes[at];
      if (stack[depth - 1].next == node->after_count) {
        state[at] = PLACED;
        order[placed++] = graph->nodes[at];
        --depth;
        continue;
      }
      CUgraphNode before = node->after[stack[depth - 1].next++];
      const size_t index = at > 0 && graph->nodes[at - 1] == before ? at - 1 : place_of(before);
      good = state[index] != OPEN;
      if (state[index] != UNSEEN) continue;
      state[index] = OPEN;
      stack[depth].node = index;
      stack[depth++].next = 0;
    }
  }
  free(stack);
  free(state);
  for (size_t i = 0; i < graph->count && good; ++i) {
    if (graph->nodes[i]->child != NULL) good = graph_order(graph->nodes[i]->child);
  }
  free(graph->order);
  graph->order = order;
  return good;
}
