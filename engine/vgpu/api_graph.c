/* Driver API: building graphs: nodes of each kind, their parameters, edges, copies. */
#define _GNU_SOURCE 1
#include "engine/vgpu/api_graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/ir.h"
#include "engine/vgpu/operation.h"

/* ---- checks ---- */

CUresult check_graph(CUgraph graph) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS || handle_is(graph, HANDLE_GRAPH)) return result;
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%p is no graph; it may have been destroyed", (void *)graph);
}

CUresult check_node(CUgraphNode node) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS || handle_is(node, HANDLE_NODE)) return result;
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%p is no node of a graph; it may have been destroyed", (void *)node);
}

static CUresult check_kind(CUgraphNode node, CUgraphNodeType type) {
  CUresult result = check_node(node);
  if (result != CUDA_SUCCESS || node->type == type) return result;
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the node is of kind %d, not %d", (int)node->type, (int)type);
}

static CUresult check_place(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count) {
  CUresult result = check_graph(graph);
  if (result != CUDA_SUCCESS) return result;
  if (node == NULL || (after == NULL && count > 0)) return vgpu_null();
  for (size_t i = 0; i < count; ++i) {
    if (!handle_is(after[i], HANDLE_NODE) || after[i]->graph != graph) {
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "dependency %zu is no node of the graph", i);
    }
    for (size_t k = 0; k < i; ++k) {
      if (after[k] == after[i]) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "dependency %zu is there twice", i);
    }
  }
  return CUDA_SUCCESS;
}

static CUresult check_event(CUevent event) {
  if (handle_is(event, HANDLE_EVENT)) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "%p is no event; it may have been destroyed", (void *)event);
}

/* ---- parameters of each kind become an operation ---- */

CUresult kernel_operation(struct operation *operation, unsigned char *bytes, const CUDA_KERNEL_NODE_PARAMS_v2 *given) {
  if (given == NULL) return vgpu_null();
  CUfunction function = given->func != NULL ? given->func : (CUfunction)(void *)given->kern;
  return vgpu_launch_operation(operation, bytes, function,
                               (const unsigned[]){given->gridDimX, given->gridDimY, given->gridDimZ},
                               (const unsigned[]){given->blockDimX, given->blockDimY, given->blockDimZ},
                               given->sharedMemBytes, false, given->kernelParams, given->extra);
}

CUDA_KERNEL_NODE_PARAMS_v2 newer_kernel(const CUDA_KERNEL_NODE_PARAMS_v1 *given) {
  CUDA_KERNEL_NODE_PARAMS_v2 newer = {.func = given->func};
  memcpy(&newer, given, sizeof *given); /* the new members came at the end */
  return newer;
}

CUresult copy_operation(struct operation *operation, const CUDA_MEMCPY3D *given) {
  if (given == NULL) return vgpu_null();
  return vgpu_copy_operation(operation, given);
}

CUresult set_operation(struct operation *operation, const CUDA_MEMSET_NODE_PARAMS *given) {
  if (given == NULL) return vgpu_null();
  return vgpu_set_operation(operation, given->dst, given->pitch, given->value, given->elementSize, given->width,
                            given->height);
}

CUresult host_operation(struct operation *operation, const CUDA_HOST_NODE_PARAMS *given) {
  if (given == NULL || given->fn == NULL) return vgpu_null();
  *operation = (struct operation){.kind = OPERATION_HOST, .host = {.function = given->fn, .argument = given->userData}};
  return CUDA_SUCCESS;
}

CUresult event_operation(struct operation *operation, CUevent event) {
  *operation = (struct operation){.kind = OPERATION_RECORD, .record = {.event = event}};
  return check_event(event);
}

/* ---- adding ---- */

static CUresult add(CUgraphNode *node, CUgraph graph, CUgraphNodeType type, const struct operation *operation,
                    const CUgraphNode *after, size_t count) {
  *node = graph_add(graph, type, operation, after, count);
  return *node != NULL ? CUDA_SUCCESS : vgpu_no_memory();
}

CUresult vgpu_cuGraphAddKernelNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                      const CUDA_KERNEL_NODE_PARAMS_v2 *given) {
  struct operation operation;
  _Alignas(16) unsigned char bytes[VGPU_MOST_PARAMETERS];
  CUresult result = check_place(node, graph, after, count);
  if (result == CUDA_SUCCESS) result = kernel_operation(&operation, bytes, given);
  return result == CUDA_SUCCESS ? add(node, graph, CU_GRAPH_NODE_TYPE_KERNEL, &operation, after, count) : result;
}

CUresult vgpu_cuGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                   const CUDA_KERNEL_NODE_PARAMS_v1 *given) {
  if (given == NULL) return vgpu_null();
  const CUDA_KERNEL_NODE_PARAMS_v2 newer = newer_kernel(given);
  return vgpu_cuGraphAddKernelNode_v2(node, graph, after, count, &newer);
}

CUresult vgpu_cuGraphAddMemcpyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                   const CUDA_MEMCPY3D *given, CUcontext context) {
  (void)context; /* there is one device */
  struct operation operation;
  CUresult result = check_place(node, graph, after, count);
  if (result == CUDA_SUCCESS) result = copy_operation(&operation, given);
  if (result == CUDA_SUCCESS) result = add(node, graph, CU_GRAPH_NODE_TYPE_MEMCPY, &operation, after, count);
  if (result == CUDA_SUCCESS) (*node)->copy = *given;
  return result;
}

CUresult vgpu_cuGraphAddMemsetNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                   const CUDA_MEMSET_NODE_PARAMS *given, CUcontext context) {
  (void)context;
  struct operation operation;
  CUresult result = check_place(node, graph, after, count);
  if (result == CUDA_SUCCESS) result = set_operation(&operation, given);
  return result == CUDA_SUCCESS ? add(node, graph, CU_GRAPH_NODE_TYPE_MEMSET, &operation, after, count) : result;
}

CUresult vgpu_cuGraphAddHostNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                 const CUDA_HOST_NODE_PARAMS *given) {
  struct operation operation;
  CUresult result = check_place(node, graph, after, count);
  if (result == CUDA_SUCCESS) result = host_operation(&operation, given);
  return result == CUDA_SUCCESS ? add(node, graph, CU_GRAPH_NODE_TYPE_HOST, &operation, after, count) : result;
}

CUresult vgpu_cuGraphAddEmptyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count) {
  CUresult result = check_place(node, graph, after, count);
  return result == CUDA_SUCCESS ? add(node, graph, CU_GRAPH_NODE_TYPE_EMPTY, NULL, after, count) : result;
}

static CUresult add_child(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count, CUgraph child,
                          bool move) {
  CUresult result = check_place(node, graph, after, count);
  if (result == CUDA_SUCCESS) result = check_graph(child);
  if (result != CUDA_SUCCESS) return result;
  if (child == graph || (move && child->holder != NULL)) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a graph cannot be its own child, nor that of two nodes");
  }
  CUgraph owned = move ? child : graph_clone(child, false);
  if (owned == NULL) return vgpu_no_memory();
  result = add(node, graph, CU_GRAPH_NODE_TYPE_GRAPH, NULL, after, count);
  if (result == CUDA_SUCCESS) {
    (*node)->child = owned;
    owned->holder = *node;
  } else if (!move) {
    graph_free(owned);
  }
  return result;
}

CUresult vgpu_cuGraphAddChildGraphNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                       CUgraph child) {
  return add_child(node, graph, after, count, child, false);
}

static CUresult add_event(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count, CUevent event,
                          CUgraphNodeType type) {
  struct operation operation;
  CUresult result = check_place(node, graph, after, count);
  if (result == CUDA_SUCCESS) result = event_operation(&operation, event);
  return result == CUDA_SUCCESS ? add(node, graph, type, &operation, after, count) : result;
}

CUresult vgpu_cuGraphAddEventRecordNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                        CUevent event) {
  return add_event(node, graph, after, count, event, CU_GRAPH_NODE_TYPE_EVENT_RECORD);
}

CUresult vgpu_cuGraphAddEventWaitNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                      CUevent event) {
  return add_event(node, graph, after, count, event, CU_GRAPH_NODE_TYPE_WAIT_EVENT);
}

/* The memory is there from now on and as long as the node or a copy of it: it has one address for all launches. */
CUresult vgpu_cuGraphAddMemAllocNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                     CUDA_MEM_ALLOC_NODE_PARAMS *given) {
  CUresult result = check_place(node, graph, after, count);
  if (result != CUDA_SUCCESS) return result;
  if (given == NULL || given->bytesize == 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no size is given");
  const CUdeviceptr memory = vgpu_graph_memory_make(given->bytesize);
  if (memory == 0) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "%zu bytes for a node of a graph", given->bytesize);
  result = add(node, graph, CU_GRAPH_NODE_TYPE_MEM_ALLOC, NULL, after, count);
  if (result != CUDA_SUCCESS) {
    vgpu_graph_memory_release(memory);
    return result;
  }
  given->dptr = memory;
  (*node)->memory = *given;
  (*node)->memory.accessDescs = NULL; /* the program's */
  (*node)->memory.accessDescCount = 0;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphAddMemFreeNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                    CUdeviceptr pointer) {
  CUresult result = check_place(node, graph, after, count);
  if (result != CUDA_SUCCESS) return result;
  if (pointer == 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no memory to free");
  result = add(node, graph, CU_GRAPH_NODE_TYPE_MEM_FREE, NULL, after, count);
  if (result == CUDA_SUCCESS) (*node)->memory.dptr = pointer;
  return result;
}

CUresult vgpu_cuGraphAddNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *after,
                                const CUgraphEdgeData *edges, size_t count, CUgraphNodeParams *given) {
  (void)edges; /* ports matter to programmatic launches, which are ordinary ones here */
  if (given == NULL) return vgpu_null();
  switch ((int)given->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
      CUDA_KERNEL_NODE_PARAMS_v2 kernel;
      memcpy(&kernel, &given->kernel, sizeof kernel); /* the third version has the same members */
      return vgpu_cuGraphAddKernelNode_v2(node, graph, after, count, &kernel);
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return vgpu_cuGraphAddMemcpyNode(node, graph, after, count, &given->memcpy.copyParams, given->memcpy.copyCtx);
    case CU_GRAPH_NODE_TYPE_MEMSET: {
      CUDA_MEMSET_NODE_PARAMS fill;
      memcpy(&fill, &given->memset, sizeof fill); /* the second version has the context after it */
      return vgpu_cuGraphAddMemsetNode(node, graph, after, count, &fill, given->memset.ctx);
    }
    case CU_GRAPH_NODE_TYPE_HOST: {
      const CUDA_HOST_NODE_PARAMS host = {.fn = given->host.fn, .userData = given->host.userData};
      return vgpu_cuGraphAddHostNode(node, graph, after, count, &host);
    }
    case CU_GRAPH_NODE_TYPE_GRAPH:
      return add_child(node, graph, after, count, given->graph.graph,
                       given->graph.ownership == CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE);
    case CU_GRAPH_NODE_TYPE_EMPTY:
      return vgpu_cuGraphAddEmptyNode(node, graph, after, count);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
      return vgpu_cuGraphAddEventWaitNode(node, graph, after, count, given->eventWait.event);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
      return vgpu_cuGraphAddEventRecordNode(node, graph, after, count, given->eventRecord.event);
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC: {
      CUDA_MEM_ALLOC_NODE_PARAMS memory;
      memcpy(&memory, &given->alloc, sizeof memory);
      CUresult result = vgpu_cuGraphAddMemAllocNode(node, graph, after, count, &memory);
      if (result == CUDA_SUCCESS) given->alloc.dptr = memory.dptr;
      return result;
    }
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
      return vgpu_cuGraphAddMemFreeNode(node, graph, after, count, given->free.dptr);
    default:
      return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "graphs have no nodes of kind %d here", (int)given->type);
  }
}

CUresult vgpu_cuGraphAddNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                             CUgraphNodeParams *given) {
  return vgpu_cuGraphAddNode_v2(node, graph, after, NULL, count, given);
}

/* ---- reading and changing nodes ---- */

static CUresult replace(CUgraphNode node, const struct operation *operation) {
  return graph_set_operation(node, operation) ? CUDA_SUCCESS : vgpu_no_memory();
}

CUresult vgpu_cuGraphKernelNodeGetParams_v2(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS_v2 *found) {
  CUresult result = check_kind(node, CU_GRAPH_NODE_TYPE_KERNEL);
  if (result != CUDA_SUCCESS) return result;
  if (found == NULL) return vgpu_null();
  const struct operation *at = &node->operation;
  *found = (CUDA_KERNEL_NODE_PARAMS_v2){.func = at->kernel.function,
                                        .gridDimX = at->kernel.grid[0],
                                        .gridDimY = at->kernel.grid[1],
                                        .gridDimZ = at->kernel.grid[2],
                                        .blockDimX = at->kernel.block[0],
                                        .blockDimY = at->kernel.block[1],
                                        .blockDimZ = at->kernel.block[2],
                                        .sharedMemBytes = at->kernel.shared_bytes,
                                        .kernelParams = node->arguments,
                                        .ctx = at->kernel.function->module->context};
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphKernelNodeGetParams(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS_v1 *found) {
  CUDA_KERNEL_NODE_PARAMS_v2 newer;
  if (found == NULL) return vgpu_null();
  CUresult result = vgpu_cuGraphKernelNodeGetParams_v2(node, &newer);
  if (result == CUDA_SUCCESS) memcpy(found, &newer, sizeof *found);
  return result;
}

CUresult vgpu_cuGraphKernelNodeSetParams_v2(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v2 *given) {
  struct operation operation;
  _Alignas(16) unsigned char bytes[VGPU_MOST_PARAMETERS];
  CUresult result = check_kind(node, CU_GRAPH_NODE_TYPE_KERNEL);
  if (result == CUDA_SUCCESS) result = kernel_operation(&operation, bytes, given);
  if (result != CUDA_SUCCESS) return result;
  operation.kernel.cooperative = node->operation.kernel.cooperative; /* an attribute of the node */
  return replace(node, &operation);
}

CUresult vgpu_cuGraphKernelNodeSetParams(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1 *given) {
  if (given == NULL) return vgpu_null();
  const CUDA_KERNEL_NODE_PARAMS_v2 newer = newer_kernel(given);
  return vgpu_cuGraphKernelNodeSetParams_v2(node, &newer);
}

/* All but "cooperative" are hints. */
CUresult vgpu_cuGraphKernelNodeGetAttribute(CUgraphNode node, CUkernelNodeAttrID attribute,
                                            CUkernelNodeAttrValue *value) {
  CUresult result = check_kind(node, CU_GRAPH_NODE_TYPE_KERNEL);
  if (result != CUDA_SUCCESS) return result;
  if (value == NULL) return vgpu_null();
  *value = (CUkernelNodeAttrValue){.priority = 0};
  if (attribute == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) value->cooperative = node->operation.kernel.cooperative;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphKernelNodeSetAttribute(CUgraphNode node, CUkernelNodeAttrID attribute,
                                            const CUkernelNodeAttrValue *value) {
  CUresult result = check_kind(node, CU_GRAPH_NODE_TYPE_KERNEL);
  if (result != CUDA_SUCCESS) return result;
  if (value == NULL) return vgpu_null();
  if (attribute == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) node->operation.kernel.cooperative = value->cooperative != 0;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphKernelNodeCopyAttributes(CUgraphNode to, CUgraphNode from) {
  CUresult result = check_kind(to, CU_GRAPH_NODE_TYPE_KERNEL);
  if (result == CUDA_SUCCESS) result = check_kind(from, CU_GRAPH_NODE_TYPE_KERNEL);
  if (result == CUDA_SUCCESS) to->operation.kernel.cooperative = from->operation.kernel.cooperative;
  return result;
}

CUresult vgpu_cuGraphMemcpyNodeGetParams(CUgraphNode node, CUDA_MEMCPY3D *found) {
  CUresult result = check_kind(node, CU_GRAPH_NODE_TYPE_MEMCPY);
  if (result != CUDA_SUCCESS) return result;
  if (found == NULL) return vgpu_null();
  *found = node->copy;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphMemcpyNodeSetParams(CUgraphNode node, const CUDA_MEMCPY3D *given) {
  struct operation operation;
  CUresult result = check_kind(node, CU_GRAPH_NODE_TYPE_MEMCPY);
  if (result == CUDA_SUCCESS) result = copy_operation(&operation, given);
  if (result == CUDA_SUCCESS) result = replace(node, &operation);
  if (result == CUDA_SUCCESS) node->copy = *given;
  return result;
}

CUresult vgpu_cuGraphMemsetNodeGetParams(CUgraphNode node, CUDA_MEMSET_NODE_PARAMS *found) {
  CUresult result = check_kind(node, CU_GRAPH_NODE_TYPE_MEMSET);
  if (result != CUDA_SUCCESS) return result;
  if (found == NULL) return vgpu_null();
  const struct operation *at = &node->operation;
  *found = (CUDA_MEMSET_NODE_PARAMS){.dst = (CUdeviceptr)at->set.to,
                                     .pitch = at->set.pitch,
                                     .value = at->set.value,
                                     .elementSize = at->set.element,
                                     .width = at->set.width,
                                     .height = at->set.height};
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphMemsetNodeSetParams(CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS *given) {
  struct operation operation;
  CUresult result = check_kind(node, CU_GRAPH_NODE_TYPE_MEMSET);
  if (result == CUDA_SUCCESS) result = set_operation(&operation, given);
  return result == CUDA_SUCCESS ? replace(node, &operation) : result;
}

CUresult vgpu_cuGraphHostNodeGetParams(CUgraphNode node, CUDA_HOST_NODE_PARAMS *found) {
  CUresult result = check_kind(node, CU_GRAPH_NODE_TYPE_HOST);
  if (result != CUDA_SUCCESS) return result;
  if (found == NULL) return vgpu_null();
  *found = (CUDA_HOST_NODE_PARAMS){.fn = node->operation.host.function, .userData = node->operation.host.argument};
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphHostNodeSetParams(CUgraphNode node, const CUDA_HOST_NODE_PARAMS *given) {
  struct operation operation;
  CUresult result = check_kind(node, CU_GRAPH_NODE_TYPE_HOST);
  if (result == CUDA_SUCCESS) result = host_operation(&operation, given);
  return result == CUDA_SUCCESS ? replace(node, &operation) : result;
}

CUresult vgpu_cuGraphChildGraphNodeGetGraph(CUgraphNode node, CUgraph *child) {
  CUresult result = check_kind(node, CU_GRAPH_NODE_TYPE_GRAPH);
  if (result != CUDA_SUCCESS) return result;
  if (child == NULL) return vgpu_null();
  *child = node->child;
  return CUDA_SUCCESS;
}

static CUresult get_event(CUgraphNode node, CUevent *event, CUgraphNodeType type) {
  CUresult result = check_kind(node, type);
  if (result != CUDA_SUCCESS) return result;
  if (event == NULL) return vgpu_null();
  *event = node->operation.record.event;
  return CUDA_SUCCESS;
}

static CUresult set_event(CUgraphNode node, CUevent event, CUgraphNodeType type) {
  struct operation operation;
  CUresult result = check_kind(node, type);
  if (result == CUDA_SUCCESS) result = event_operation(&operation, event);
  return result == CUDA_SUCCESS ? replace(node, &operation) : result;
}

CUresult vgpu_cuGraphEventRecordNodeGetEvent(CUgraphNode node, CUevent *event) {
  return get_event(node, event, CU_GRAPH_NODE_TYPE_EVENT_RECORD);
}
CUresult vgpu_cuGraphEventRecordNodeSetEvent(CUgraphNode node, CUevent event) {
  return set_event(node, event, CU_GRAPH_NODE_TYPE_EVENT_RECORD);
}
CUresult vgpu_cuGraphEventWaitNodeGetEvent(CUgraphNode node, CUevent *event) {
  return get_event(node, event, CU_GRAPH_NODE_TYPE_WAIT_EVENT);
}
CUresult vgpu_cuGraphEventWaitNodeSetEvent(CUgraphNode node, CUevent event) {
  return set_event(node, event, CU_GRAPH_NODE_TYPE_WAIT_EVENT);
}

CUresult vgpu_cuGraphMemAllocNodeGetParams(CUgraphNode node, CUDA_MEM_ALLOC_NODE_PARAMS *found) {
  CUresult result = check_kind(node, CU_GRAPH_NODE_TYPE_MEM_ALLOC);
  if (result != CUDA_SUCCESS) return result;
  if (found == NULL) return vgpu_null();
  *found = node->memory;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphMemFreeNodeGetParams(CUgraphNode node, CUdeviceptr *pointer) {
  CUresult result = check_kind(node, CU_GRAPH_NODE_TYPE_MEM_FREE);
  if (result != CUDA_SUCCESS) return result;
  if (pointer == NULL) return vgpu_null();
  *pointer = node->memory.dptr;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphNodeSetParams(CUgraphNode node, CUgraphNodeParams *given) {
  struct operation operation;
  _Alignas(16) unsigned char bytes[VGPU_MOST_PARAMETERS];
  CUresult result = check_node(node);
  if (result == CUDA_SUCCESS) result = any_operation(node, given, &operation, bytes);
  if (result == CUDA_SUCCESS) result = replace(node, &operation);
  if (result == CUDA_SUCCESS && node->type == CU_GRAPH_NODE_TYPE_MEMCPY) node->copy = given->memcpy.copyParams;
  return result;
}

CUresult any_operation(CUgraphNode node, const CUgraphNodeParams *given, struct operation *operation,
                       unsigned char *bytes) {
  if (given == NULL) return vgpu_null();
  if (given->type != node->type) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the node is of kind %d, not %d", (int)node->type, (int)given->type);
  }
  switch ((int)given->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
      CUDA_KERNEL_NODE_PARAMS_v2 kernel;
      memcpy(&kernel, &given->kernel, sizeof kernel);
      CUresult result = kernel_operation(operation, bytes, &kernel);
      if (result == CUDA_SUCCESS) operation->kernel.cooperative = node->operation.kernel.cooperative;
      return result;
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return copy_operation(operation, &given->memcpy.copyParams);
    case CU_GRAPH_NODE_TYPE_MEMSET: {
      CUDA_MEMSET_NODE_PARAMS fill;
      memcpy(&fill, &given->memset, sizeof fill);
      return set_operation(operation, &fill);
    }
    case CU_GRAPH_NODE_TYPE_HOST: {
      const CUDA_HOST_NODE_PARAMS host = {.fn = given->host.fn, .userData = given->host.userData};
      return host_operation(operation, &host);
    }
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
      return event_operation(operation, given->eventWait.event);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
      return event_operation(operation, given->eventRecord.event);
    default:
      return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "parameters of nodes of kind %d cannot be changed", (int)given->type);
  }
}

CUresult vgpu_cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *type) {
  CUresult result = check_node(node);
  if (result != CUDA_SUCCESS) return result;
  if (type == NULL) return vgpu_null();
  *type = node->type;
  return CUDA_SUCCESS;
}
