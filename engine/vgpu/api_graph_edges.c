/* Driver API: graphs as a whole: making, copying, asking for nodes and edges, the program's objects that they keep. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api_graph.h"
#include "engine/vgpu/ir.h"

/* ---- graphs ---- */

CUresult vgpu_cuGraphCreate(CUgraph *graph, unsigned flags) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS) return result;
  if (graph == NULL) return vgpu_null();
  if (flags != 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "cuGraphCreate takes no flags");
  *graph = graph_make(false);
  return *graph != NULL ? CUDA_SUCCESS : vgpu_no_memory();
}

CUresult vgpu_cuGraphDestroy(CUgraph graph) {
  CUresult result = check_graph(graph);
  if (result != CUDA_SUCCESS) return result;
  if (graph->holder != NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the graph belongs to a node of another");
  graph_free(graph);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphClone(CUgraph *clone, CUgraph graph) {
  CUresult result = check_graph(graph);
  if (result != CUDA_SUCCESS) return result;
  if (clone == NULL) return vgpu_null();
  *clone = graph_clone(graph, false);
  return *clone != NULL ? CUDA_SUCCESS : vgpu_no_memory();
}

CUresult vgpu_cuGraphNodeFindInClone(CUgraphNode *found, CUgraphNode node, CUgraph clone) {
  CUresult result = check_node(node);
  if (result == CUDA_SUCCESS) result = check_graph(clone);
  if (result != CUDA_SUCCESS) return result;
  if (found == NULL) return vgpu_null();
  *found = graph_find(clone, node->id);
  return *found != NULL ? CUDA_SUCCESS : vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the graph has no copy of the node");
}

CUresult vgpu_cuGraphDestroyNode(CUgraphNode node) {
  CUresult result = check_node(node);
  if (result == CUDA_SUCCESS) graph_remove(node);
  return result;
}

/* ---- lists that the program asks for: how many, or as many as there is room for ---- */

struct list {
  CUgraphNode *first, *second; /* second: of edges */
  CUgraphEdgeData *data;
  size_t room, count;
};

static void put(struct list *list, CUgraphNode first, CUgraphNode second) {
  if (list->count < list->room) {
    if (list->first != NULL) list->first[list->count] = first;
    if (list->second != NULL) list->second[list->count] = second;
    if (list->data != NULL) list->data[list->count] = (CUgraphEdgeData){.type = CU_GRAPH_DEPENDENCY_TYPE_DEFAULT};
  }
  ++list->count;
}

/* As documented: what is left of the room becomes NULL, and *count says how many there are, or were stored. */
static CUresult finish(struct list *list, size_t *count) {
  for (size_t i = list->count; i < list->room; ++i) {
    if (list->first != NULL) list->first[i] = NULL;
    if (list->second != NULL) list->second[i] = NULL;
  }
  *count = list->room > 0 && list->count > list->room ? list->room : list->count;
  return CUDA_SUCCESS;
}

static struct list begin(CUgraphNode *first, CUgraphNode *second, CUgraphEdgeData *data, const size_t *count) {
  return (struct list){
      .first = first, .second = second, .data = data, .room = first != NULL || second != NULL ? *count : 0};
}

CUresult vgpu_cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count) {
  CUresult result = check_graph(graph);
  if (result != CUDA_SUCCESS) return result;
  if (count == NULL) return vgpu_null();
  struct list list = begin(nodes, NULL, NULL, count);
  for (size_t i = 0; i < graph->count; ++i) put(&list, graph->nodes[i], NULL);
  return finish(&list, count);
}

CUresult vgpu_cuGraphGetRootNodes(CUgraph graph, CUgraphNode *nodes, size_t *count) {
  CUresult result = check_graph(graph);
  if (result != CUDA_SUCCESS) return result;
  if (count == NULL) return vgpu_null();
  struct list list = begin(nodes, NULL, NULL, count);
  for (size_t i = 0; i < graph->count; ++i) {
    if (graph->nodes[i]->after_count == 0) put(&list, graph->nodes[i], NULL);
  }
  return finish(&list, count);
}

CUresult vgpu_cuGraphGetEdges_v2(CUgraph graph, CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *data,
                                 size_t *count) {
  CUresult result = check_graph(graph);
  if (result != CUDA_SUCCESS) return result;
  if (count == NULL || (from == NULL) != (to == NULL)) return vgpu_null();
  struct list list = begin(from, to, data, count);
  for (size_t i = 0; i < graph->count; ++i) {
    CUgraphNode node = graph->nodes[i];
    for (size_t k = 0; k < node->after_count; ++k) put(&list, node->after[k], node);
  }
  return finish(&list, count);
}

CUresult vgpu_cuGraphNodeGetDependencies_v2(CUgraphNode node, CUgraphNode *before, CUgraphEdgeData *data,
                                            size_t *count) {
  CUresult result = check_node(node);
  if (result != CUDA_SUCCESS) return result;
  if (count == NULL) return vgpu_null();
  struct list list = begin(before, NULL, data, count);
  for (size_t k = 0; k < node->after_count; ++k) put(&list, node->after[k], NULL);
  return finish(&list, count);
}

CUresult vgpu_cuGraphNodeGetDependentNodes_v2(CUgraphNode node, CUgraphNode *after, CUgraphEdgeData *data,
                                              size_t *count) {
  CUresult result = check_node(node);
  if (result != CUDA_SUCCESS) return result;
  if (count == NULL) return vgpu_null();
  struct list list = begin(after, NULL, data, count);
  for (size_t i = 0; i < node->graph->count; ++i) {
    if (graph_is_connected(node, node->graph->nodes[i])) put(&list, node->graph->nodes[i], NULL);
  }
  return finish(&list, count);
}

CUresult vgpu_cuGraphGetEdges(CUgraph graph, CUgraphNode *from, CUgraphNode *to, size_t *count) {
  return vgpu_cuGraphGetEdges_v2(graph, from, to, NULL, count);
}
CUresult vgpu_cuGraphNodeGetDependencies(CUgraphNode node, CUgraphNode *before, size_t *count) {
  return vgpu_cuGraphNodeGetDependencies_v2(node, before, NULL, count);
}
CUresult vgpu_cuGraphNodeGetDependentNodes(CUgraphNode node, CUgraphNode *after, size_t *count) {
  return vgpu_cuGraphNodeGetDependentNodes_v2(node, after, NULL, count);
}

/* ---- edges ---- */

static CUresult check_edges(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t count, bool present) {
  CUresult result = check_graph(graph);
  if (result != CUDA_SUCCESS) return result;
  if (count > 0 && (from == NULL || to == NULL)) return vgpu_null();
  for (size_t i = 0; i < count; ++i) {
    if (!handle_is(from[i], HANDLE_NODE) || !handle_is(to[i], HANDLE_NODE) || from[i]->graph != graph ||
        to[i]->graph != graph || from[i] == to[i]) {
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "edge %zu is not between two nodes of the graph", i);
    }
    if (graph_is_connected(from[i], to[i]) != present) {
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE, present ? "there is no edge %zu" : "edge %zu is there already", i);
    }
  }
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphAddDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                        const CUgraphEdgeData *data, size_t count) {
  (void)data; /* ports matter to programmatic launches, which are ordinary ones here */
  CUresult result = check_edges(graph, from, to, count, false);
  for (size_t i = 0; i < count && result == CUDA_SUCCESS; ++i) {
    if (!graph_connect(from[i], to[i])) result = vgpu_no_memory();
  }
  return result;
}

CUresult vgpu_cuGraphRemoveDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                           const CUgraphEdgeData *data, size_t count) {
  (void)data;
  CUresult result = check_edges(graph, from, to, count, true);
  for (size_t i = 0; i < count && result == CUDA_SUCCESS; ++i) graph_disconnect(from[i], to[i]);
  return result;
}

CUresult vgpu_cuGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t count) {
  return vgpu_cuGraphAddDependencies_v2(graph, from, to, NULL, count);
}
CUresult vgpu_cuGraphRemoveDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t count) {
  return vgpu_cuGraphRemoveDependencies_v2(graph, from, to, NULL, count);
}

/* ---- a picture for Graphviz ---- */

static void print_node(FILE *file, const struct CUgraphNode_st *node) {
  static const char *const kinds[] = {"kernel", "memcpy", "memset", "host",   "graph", "empty",
                                      "wait",   "record", "signal", "signal", "alloc", "free"};
  const unsigned type = node->type;
  fprintf(file, "  n%llu [label=\"%s%s%s\"];\n", (unsigned long long)node->id,
          type < sizeof kinds / sizeof *kinds ? kinds[type] : "values",
          node->operation.kind == OPERATION_KERNEL ? " " : "",
          node->operation.kind == OPERATION_KERNEL ? node->operation.kernel.function->ptx->name : "");
  for (size_t i = 0; i < node->after_count; ++i) {
    fprintf(file, "  n%llu -> n%llu;\n", (unsigned long long)node->after[i]->id, (unsigned long long)node->id);
  }
}

CUresult vgpu_cuGraphDebugDotPrint(CUgraph graph, const char *path, unsigned flags) {
  (void)flags; /* how much to print: nodes, kernels' names and edges here */
  CUresult result = check_graph(graph);
  if (result != CUDA_SUCCESS) return result;
  if (path == NULL) return vgpu_null();
  FILE *file = fopen(path, "w");
  if (file == NULL) return vgpu_fail(CUDA_ERROR_OPERATING_SYSTEM, "%s cannot be written", path);
  fprintf(file, "digraph {\n");
  for (size_t i = 0; i < graph->count; ++i) print_node(file, graph->nodes[i]);
  fprintf(file, "}\n");
  const bool written = ferror(file) == 0;
  return fclose(file) == 0 && written ? CUDA_SUCCESS
                                      : vgpu_fail(CUDA_ERROR_OPERATING_SYSTEM, "%s cannot be written", path);
}

/* ---- the program's objects that a graph keeps alive ---- */

static CUresult check_object(CUuserObject object) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS || handle_is(object, HANDLE_USER_OBJECT)) return result;
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%p is no user object", (void *)object);
}

CUresult vgpu_cuUserObjectCreate(CUuserObject *object, void *argument, CUhostFn destroy, unsigned references,
                                 unsigned flags) {
  if (object == NULL || destroy == NULL) return vgpu_null();
  if (references == 0 || flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no reference, or not the one flag there is");
  }
  CUuserObject made = calloc(1, sizeof *made);
  if (made == NULL || !handle_add(made, HANDLE_USER_OBJECT)) {
    free(made);
    return vgpu_no_memory();
  }
  *made = (struct CUuserObject_st){.references = references, .destroy = destroy, .argument = argument};
  *object = made;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuUserObjectRetain(CUuserObject object, unsigned count) {
  CUresult result = check_object(object);
  if (result != CUDA_SUCCESS) return result;
  if (count == 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no reference");
  vgpu_lock();
  object->references += count;
  vgpu_unlock();
  return CUDA_SUCCESS;
}

CUresult vgpu_cuUserObjectRelease(CUuserObject object, unsigned count) {
  CUresult result = check_object(object);
  if (result != CUDA_SUCCESS) return result;
  if (count == 0 || count > object->references) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%u references of %u", count, object->references);
  }
  graph_object_release(object, count);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphRetainUserObject(CUgraph graph, CUuserObject object, unsigned count, unsigned flags) {
  CUresult result = check_graph(graph);
  if (result == CUDA_SUCCESS) result = check_object(object);
  if (result != CUDA_SUCCESS) return result;
  if (count == 0 || (flags & ~(unsigned)CU_GRAPH_USER_OBJECT_MOVE) != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no reference, or unknown flags");
  }
  struct graph_object *held = malloc(sizeof *held);
  if (held == NULL) return vgpu_no_memory();
  *held = (struct graph_object){.next = graph->objects, .object = object, .references = count};
  graph->objects = held;
  return flags == CU_GRAPH_USER_OBJECT_MOVE ? CUDA_SUCCESS : vgpu_cuUserObjectRetain(object, count);
}

CUresult vgpu_cuGraphReleaseUserObject(CUgraph graph, CUuserObject object, unsigned count) {
  CUresult result = check_graph(graph);
  if (result == CUDA_SUCCESS) result = check_object(object);
  if (result != CUDA_SUCCESS) return result;
  for (struct graph_object **at = &graph->objects; *at != NULL; at = &(*at)->next) {
    struct graph_object *held = *at;
    if (held->object != object || count == 0 || count > held->references) continue;
    held->references -= count;
    if (held->references == 0) {
      *at = held->next;
      free(held);
    }
    graph_object_release(object, count);
    return CUDA_SUCCESS;
  }
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the graph holds no %u references of the object", count);
}
