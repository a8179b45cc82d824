/* Driver API: executable graphs: copies of graphs, with an order of execution. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api_graph.h"
#include "engine/vgpu/event.h"
#include "engine/vgpu/operation.h"
#include "engine/vgpu/vgpu.h"

/* ---- lifetime ---- */

void graph_exec_keep(CUgraphExec exec) {
  vgpu_lock();
  ++exec->references;
  vgpu_unlock();
}

void graph_exec_release(CUgraphExec exec) {
  vgpu_lock();
  const bool last = --exec->references == 0;
  vgpu_unlock();
  if (!last) return;
  moment_release(&exec->last);
  graph_free(exec->graph);
  free(exec);
}

static CUresult check_exec(CUgraphExec exec) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS || handle_is(exec, HANDLE_EXEC)) return result;
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%p is no executable graph; it may have been destroyed", (void *)exec);
}

CUresult vgpu_cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *given) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result == CUDA_SUCCESS) result = check_graph(graph);
  if (result != CUDA_SUCCESS) return result;
  if (exec == NULL || given == NULL) return vgpu_null();
  given->hErrNode_out = NULL;
  given->result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
  const unsigned long long known = CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH |
                                   CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD | CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY;
  if ((given->flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) != 0) {
    given->result_out = CUDA_GRAPH_INSTANTIATE_NODE_OPERATION_NOT_SUPPORTED;
    return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "kernels cannot launch graphs");
  }
  if ((given->flags & ~known) != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "flags 0x%llx are not known", (unsigned long long)given->flags);
  }
  CUgraphExec made = calloc(1, sizeof *made);
  if (made != NULL) made->graph = graph_clone(graph, true);
  if (made == NULL || made->graph == NULL) {
    free(made);
    return vgpu_no_memory();
  }
  made->references = 1;
  made->context = context;
  made->flags = given->flags & ~(unsigned long long)CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD;
  if (!graph_order(made->graph)) {
    given->result_out = CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE;
    result = vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the graph's edges form a cycle");
  } else if (!handle_add(made, HANDLE_EXEC)) {
    result = vgpu_no_memory();
  }
  if (result != CUDA_SUCCESS) {
    graph_exec_release(made);
    return result;
  }
  given->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
  *exec = made;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags) {
  CUDA_GRAPH_INSTANTIATE_PARAMS given = {.flags = flags};
  return vgpu_cuGraphInstantiateWithParams(exec, graph, &given);
}

CUresult vgpu_cuGraphInstantiate_v2(CUgraphExec *exec, CUgraph graph, CUgraphNode *error, char *log, size_t size) {
  CUresult result = vgpu_cuGraphInstantiateWithFlags(exec, graph, 0);
  if (error != NULL) *error = NULL;
  if (log != NULL && size > 0) snprintf(log, size, "%s", result != CUDA_SUCCESS ? vgpu_last_message() : "");
  return result;
}

CUresult vgpu_cuGraphInstantiate(CUgraphExec *exec, CUgraph graph, CUgraphNode *error, char *log, size_t size) {
  return vgpu_cuGraphInstantiate_v2(exec, graph, error, log, size);
}

CUresult vgpu_cuGraphExecDestroy(CUgraphExec exec) {
  CUresult result = check_exec(exec);
  if (result != CUDA_SUCCESS) return result;
  handle_remove(exec);
  graph_exec_release(exec);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphExecGetFlags(CUgraphExec exec, cuuint64_t *flags) {
  CUresult result = check_exec(exec);
  if (result != CUDA_SUCCESS) return result;
  if (flags == NULL) return vgpu_null();
  *flags = exec->flags;
  return CUDA_SUCCESS;
}

/* ---- launching ---- */

static CUresult run(CUcontext context, CUgraph graph) {
  CUresult result = CUDA_SUCCESS;
  for (size_t i = 0; i < graph->count && result == CUDA_SUCCESS; ++i) {
    CUgraphNode node = graph->order[i];
    if (!node->enabled || node->type == CU_GRAPH_NODE_TYPE_WAIT_EVENT) continue; /* the launch waited */
    result = node->child != NULL ? run(context, node->child) : operation_execute(context, &node->operation);
  }
  return result;
}

CUresult graph_exec_run(CUcontext context, CUgraphExec exec) { return run(context, exec->graph); }

/* What the program may have destroyed since. */
static CUresult check_handles(CUgraph graph) {
  CUresult result = CUDA_SUCCESS;
  for (size_t i = 0; i < graph->count && result == CUDA_SUCCESS; ++i) {
    const struct CUgraphNode_st *node = graph->nodes[i];
    if (node->child != NULL) result = check_handles(node->child);
    if (node->operation.kind == OPERATION_KERNEL && !handle_is(node->operation.kernel.function, HANDLE_FUNCTION)) {
      result = vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "node %zu of the graph: its kernel's module was unloaded", i);
    }
  }
  return result;
}

/* Events that the graph waits for become dependencies of the whole launch, and events that it records happen, for those
 * who wait for them, at its end: later than need be, which is allowed. */
static bool collect_waits(CUgraph graph, struct moment **waits, size_t *count) {
  bool good = true;
  for (size_t i = 0; i < graph->count && good; ++i) {
    const struct CUgraphNode_st *node = graph->nodes[i];
    if (node->child != NULL) good = collect_waits(node->child, waits, count);
    if (node->type != CU_GRAPH_NODE_TYPE_WAIT_EVENT) continue;
    struct moment *larger = realloc(*waits, (*count + 1) * sizeof *larger);
    good = larger != NULL;
    if (!good) break;
    *waits = larger;
    larger[(*count)++] = vgpu_event_end(node->operation.record.event);
  }
  return good;
}

static void promise_records(CUgraph graph, const struct moment *end) {
  for (size_t i = 0; i < graph->count; ++i) {
    CUgraphNode node = graph->nodes[i];
    if (node->child != NULL) promise_records(node->child, end);
    if (node->type != CU_GRAPH_NODE_TYPE_EVENT_RECORD) continue;
    node->operation.record.generation = vgpu_event_of_graph(node->operation.record.event, end);
  }
}

CUresult vgpu_cuGraphLaunch(CUgraphExec exec, CUstream handle) {
  CUstream stream;
  CUresult result = vgpu_stream(handle, &stream);
  if (result == CUDA_SUCCESS) result = check_exec(exec);
  if (result == CUDA_SUCCESS) result = check_handles(exec->graph);
  if (result != CUDA_SUCCESS) return result;
  const struct operation operation = {.kind = OPERATION_GRAPH, .graph = {.exec = exec}};
  if (stream->capture != NULL) return vgpu_capture_add(stream, CU_GRAPH_NODE_TYPE_GRAPH, &operation, NULL);
  result = vgpu_default_stream_allows(stream);
  if (result != CUDA_SUCCESS) return result;
  size_t count = 1;
  struct moment *waits = malloc(sizeof *waits), end = {0};
  if (waits == NULL) return vgpu_no_memory();
  waits[0] = exec->last;
  exec->last = (struct moment){0};
  if (!collect_waits(exec->graph, &waits, &count)) {
    result = vgpu_no_memory();
  } else {
    result = queue_submit(stream->queue, &operation, waits, count, false, &end);
  }
  for (size_t i = 0; i < count; ++i) moment_release(&waits[i]);
  free(waits);
  if (result != CUDA_SUCCESS) return result;
  promise_records(exec->graph, &end);
  exec->last = end;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphUpload(CUgraphExec exec, CUstream handle) {
  CUstream stream;
  CUresult result = vgpu_stream(handle, &stream);
  return result == CUDA_SUCCESS ? check_exec(exec) : result; /* there is nowhere to upload to */
}

/* ---- changing ---- */

/* The executable graph's copy of the node, once no launch uses it any more. */
static CUresult find(CUgraphExec exec, CUgraphNode node, CUgraphNodeType type, CUgraphNode *copy) {
  CUresult result = check_exec(exec);
  if (result == CUDA_SUCCESS) result = check_node(node);
  if (result != CUDA_SUCCESS) return result;
  *copy = graph_find(exec->graph, node->id);
  if (*copy == NULL || (*copy)->type != type) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, *copy == NULL ? "the executable graph was not made from the node's graph"
                                                             : "the node is of another kind");
  }
  moment_wait(&exec->last);
  return CUDA_SUCCESS;
}

static CUresult replace(CUgraphNode copy, const struct operation *operation) {
  return graph_set_operation(copy, operation) ? CUDA_SUCCESS : vgpu_no_memory();
}

CUresult vgpu_cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                                const CUDA_KERNEL_NODE_PARAMS_v2 *given) {
  CUgraphNode copy;
  struct operation operation;
  _Alignas(16) unsigned char bytes[VGPU_MOST_PARAMETERS];
  CUresult result = find(exec, node, CU_GRAPH_NODE_TYPE_KERNEL, &copy);
  if (result == CUDA_SUCCESS) result = kernel_operation(&operation, bytes, given);
  if (result != CUDA_SUCCESS) return result;
  operation.kernel.cooperative = copy->operation.kernel.cooperative;
  return replace(copy, &operation);
}

CUresult vgpu_cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                             const CUDA_KERNEL_NODE_PARAMS_v1 *given) {
  if (given == NULL) return vgpu_null();
  const CUDA_KERNEL_NODE_PARAMS_v2 newer = newer_kernel(given);
  return vgpu_cuGraphExecKernelNodeSetParams_v2(exec, node, &newer);
}

CUresult vgpu_cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_MEMCPY3D *given,
                                             CUcontext context) {
  (void)context; /* there is one device */
  CUgraphNode copy;
  struct operation operation;
  CUresult result = find(exec, node, CU_GRAPH_NODE_TYPE_MEMCPY, &copy);
  if (result == CUDA_SUCCESS) result = copy_operation(&operation, given);
  return result == CUDA_SUCCESS ? replace(copy, &operation) : result;
}

CUresult vgpu_cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS *given,
                                             CUcontext context) {
  (void)context;
  CUgraphNode copy;
  struct operation operation;
  CUresult result = find(exec, node, CU_GRAPH_NODE_TYPE_MEMSET, &copy);
  if (result == CUDA_SUCCESS) result = set_operation(&operation, given);
  return result == CUDA_SUCCESS ? replace(copy, &operation) : result;
}

CUresult vgpu_cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_HOST_NODE_PARAMS *given) {
  CUgraphNode copy;
  struct operation operation;
  CUresult result = find(exec, node, CU_GRAPH_NODE_TYPE_HOST, &copy);
  if (result == CUDA_SUCCESS) result = host_operation(&operation, given);
  return result == CUDA_SUCCESS ? replace(copy, &operation) : result;
}

static CUresult set_event(CUgraphExec exec, CUgraphNode node, CUevent event, CUgraphNodeType type) {
  CUgraphNode copy;
  struct operation operation;
  CUresult result = find(exec, node, type, &copy);
  if (result == CUDA_SUCCESS) result = event_operation(&operation, event);
  return result == CUDA_SUCCESS ? replace(copy, &operation) : result;
}

CUresult vgpu_cuGraphExecEventRecordNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event) {
  return set_event(exec, node, event, CU_GRAPH_NODE_TYPE_EVENT_RECORD);
}

CUresult vgpu_cuGraphExecEventWaitNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event) {
  return set_event(exec, node, event, CU_GRAPH_NODE_TYPE_WAIT_EVENT);
}

CUresult vgpu_cuGraphExecNodeSetParams(CUgraphExec exec, CUgraphNode node, CUgraphNodeParams *given) {
  CUgraphNode copy;
  struct operation operation;
  _Alignas(16) unsigned char bytes[VGPU_MOST_PARAMETERS];
  if (given == NULL) return vgpu_null();
  CUresult result = find(exec, node, given->type, &copy);
  if (result == CUDA_SUCCESS && given->type == CU_GRAPH_NODE_TYPE_GRAPH) {
    return vgpu_cuGraphExecChildGraphNodeSetParams(exec, node, given->graph.graph);
  }
  if (result == CUDA_SUCCESS) result = any_operation(copy, given, &operation, bytes);
  return result == CUDA_SUCCESS ? replace(copy, &operation) : result;
}

CUresult vgpu_cuGraphNodeGetEnabled(CUgraphExec exec, CUgraphNode node, unsigned *enabled) {
  CUresult result = check_exec(exec);
  if (result == CUDA_SUCCESS) result = check_node(node);
  if (result != CUDA_SUCCESS) return result;
  if (enabled == NULL) return vgpu_null();
  const struct CUgraphNode_st *copy = graph_find(exec->graph, node->id);
  if (copy == NULL)
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the executable graph was not made from the node's graph");
  *enabled = copy->enabled;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphNodeSetEnabled(CUgraphExec exec, CUgraphNode node, unsigned enabled) {
  CUresult result = check_node(node);
  if (result != CUDA_SUCCESS) return result;
  if (node->type != CU_GRAPH_NODE_TYPE_KERNEL && node->type != CU_GRAPH_NODE_TYPE_MEMCPY &&
      node->type != CU_GRAPH_NODE_TYPE_MEMSET) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "only kernels, copies and fills can be disabled");
  }
  CUgraphNode copy;
  result = find(exec, node, node->type, &copy);
  if (result == CUDA_SUCCESS) copy->enabled = enabled != 0;
  return result;
}

/* ---- taking over the parameters of another graph of the same shape ---- */

static bool same_edges(const struct CUgraphNode_st *one, const struct CUgraphNode_st *other) {
  if (one->after_count != other->after_count) return false;
  for (size_t k = 0; k < one->after_count; ++k) {
    size_t at = 0;
    while (one->graph->nodes[at] != one->after[k]) ++at;
    if (!graph_is_connected(other->graph->nodes[at], other)) return false;
  }
  return true;
}

static CUgraphExecUpdateResult compare(CUgraph copy, CUgraph graph, CUgraphNode *differs) {
  *differs = NULL;
  if (copy->count != graph->count) return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
  for (size_t i = 0; i < graph->count; ++i) {
    const struct CUgraphNode_st *before = copy->nodes[i];
    CUgraphNode node = graph->nodes[i];
    *differs = node;
    if (before->type != node->type) return CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
    if (!same_edges(before, node)) return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    if (node->type == CU_GRAPH_NODE_TYPE_KERNEL &&
        before->operation.kernel.cooperative != node->operation.kernel.cooperative) {
      return CU_GRAPH_EXEC_UPDATE_ERROR_ATTRIBUTES_CHANGED;
    }
    if (before->memory.dptr != node->memory.dptr) return CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
    if (node->child == NULL) continue;
    CUgraphNode deeper;
    const CUgraphExecUpdateResult result = compare(before->child, node->child, &deeper);
    if (result != CU_GRAPH_EXEC_UPDATE_SUCCESS) return result;
  }
  *differs = NULL;
  return CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

static bool take_over(CUgraph copy, CUgraph graph) {
  bool good = true;
  for (size_t i = 0; i < graph->count && good; ++i) {
    good = graph->nodes[i]->child != NULL ? take_over(copy->nodes[i]->child, graph->nodes[i]->child)
                                          : graph_set_operation(copy->nodes[i], &graph->nodes[i]->operation);
  }
  return good;
}

CUresult vgpu_cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo *info) {
  CUresult result = check_exec(exec);
  if (result == CUDA_SUCCESS) result = check_graph(graph);
  if (result != CUDA_SUCCESS) return result;
  if (info == NULL) return vgpu_null();
  moment_wait(&exec->last);
  CUgraphNode differs;
  *info = (CUgraphExecUpdateResultInfo){.result = compare(exec->graph, graph, &differs)};
  info->errorNode = differs;
  if (info->result != CU_GRAPH_EXEC_UPDATE_SUCCESS) {
    return vgpu_fail(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, "the graph differs in more than parameters (result %d)",
                     (int)info->result);
  }
  return take_over(exec->graph, graph) ? CUDA_SUCCESS : vgpu_no_memory();
}

CUresult vgpu_cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode *error,
                                CUgraphExecUpdateResult *update_result) {
  CUgraphExecUpdateResultInfo info = {.result = CU_GRAPH_EXEC_UPDATE_ERROR};
  CUresult result = vgpu_cuGraphExecUpdate_v2(exec, graph, &info);
  if (error != NULL) *error = info.errorNode;
  if (update_result != NULL) *update_result = info.result;
  return result;
}

CUresult vgpu_cuGraphExecChildGraphNodeSetParams(CUgraphExec exec, CUgraphNode node, CUgraph child) {
  CUgraphNode copy, differs;
  CUresult result = check_graph(child);
  if (result == CUDA_SUCCESS) result = find(exec, node, CU_GRAPH_NODE_TYPE_GRAPH, &copy);
  if (result != CUDA_SUCCESS) return result;
  if (compare(copy->child, child, &differs) != CU_GRAPH_EXEC_UPDATE_SUCCESS) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the child graph differs in more than parameters");
  }
  return take_over(copy->child, child) ? CUDA_SUCCESS : vgpu_no_memory();
}
