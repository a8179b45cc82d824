/* What building and executing graphs share: parameters of nodes, checked and turned into operations. */
#ifndef VGPU_API_GRAPH_H
#define VGPU_API_GRAPH_H

#include "engine/vgpu/graph.h"

CUresult check_graph(CUgraph graph);
CUresult check_node(CUgraphNode node);

/* `bytes`: room for VGPU_MOST_PARAMETERS bytes, aligned to 16, in which the operation's parameters lie. */
CUresult kernel_operation(struct operation *operation, unsigned char *bytes, const CUDA_KERNEL_NODE_PARAMS_v2 *given);
CUDA_KERNEL_NODE_PARAMS_v2 newer_kernel(const CUDA_KERNEL_NODE_PARAMS_v1 *given);
CUresult copy_operation(struct operation *operation, const CUDA_MEMCPY3D *given);
CUresult set_operation(struct operation *operation, const CUDA_MEMSET_NODE_PARAMS *given);
CUresult host_operation(struct operation *operation, const CUDA_HOST_NODE_PARAMS *given);
CUresult event_operation(struct operation *operation, CUevent event);
/* Of whatever kind the node is. */
CUresult any_operation(CUgraphNode node, const CUgraphNodeParams *given, struct operation *operation,
                       unsigned char *bytes);

#endif
