/* Graphs: nodes, each an operation, and what must be done before each. */
#ifndef VGPU_GRAPH_H
#define VGPU_GRAPH_H

#include "engine/vgpu/stream_queue.h"

struct CUgraphNode_st {
  CUgraph graph;
  CUgraphNodeType type;
  uint64_t id; /* shared with its copies in clones and executable graphs */
  bool enabled;
  struct operation operation;        /* owned; OPERATION_NOTHING for empty nodes, child graphs and memory */
  CUgraph child;                     /* CU_GRAPH_NODE_TYPE_GRAPH, owned */
  CUDA_MEMCPY3D copy;                /* CU_GRAPH_NODE_TYPE_MEMCPY, as the program described it */
  CUDA_MEM_ALLOC_NODE_PARAMS memory; /* CU_GRAPH_NODE_TYPE_MEM_ALLOC; of MEM_FREE the pointer */
  void **arguments;                  /* CU_GRAPH_NODE_TYPE_KERNEL: pointers into operation.kernel.parameters */
  CUgraphNode *after;
  size_t after_count, after_capacity;
};

struct CUgraph_st {
  CUgraphNode *nodes; /* in the order of their making */
  size_t count, capacity;
  CUgraphNode holder;           /* the node whose child this is, or NULL */
  bool hidden;                  /* belongs to an executable graph: its nodes are no handles */
  CUgraphNode *order;           /* of execution, if hidden */
  struct graph_object *objects; /* what cuGraphRetainUserObject gave it */
};

struct CUuserObject_st {
  unsigned references; /* under vgpu_lock() */
  CUhostFn destroy;
  void *argument;
};
struct graph_object {
  struct graph_object *next;
  CUuserObject object;
  unsigned references;
};

CUgraph graph_make(bool hidden);
void graph_free(CUgraph graph);
/* A deep copy; NULL if there is no memory. */
CUgraph graph_clone(CUgraph graph, bool hidden);

/* A new node that comes after `after`. The operation is copied; NULL: nothing. NULL is returned if there is no memory.
 */
CUgraphNode graph_add(CUgraph graph, CUgraphNodeType type, const struct operation *operation, const CUgraphNode *after,
                      size_t count);
void graph_remove(CUgraphNode node);
/* False if there is no memory; an edge that is there already is not added again. */
bool graph_connect(CUgraphNode before, CUgraphNode after);
bool graph_is_connected(const struct CUgraphNode_st *before, const struct CUgraphNode_st *after);
void graph_disconnect(CUgraphNode before, CUgraphNode after);
/* Gives the node another operation of its kind, of which a copy is made. */
bool graph_set_operation(CUgraphNode node, const struct operation *operation);

/* The node with that number, in child graphs, too. */
CUgraphNode graph_find(CUgraph graph, uint64_t id);

/* Finds an order that the edges allow, of child graphs, too. False: there is a cycle, or no memory. */
bool graph_order(CUgraph graph);

struct CUgraphExec_st {
  CUcontext context;
  unsigned references; /* under vgpu_lock() */
  unsigned long long flags;
  CUgraph graph;      /* a hidden copy */
  struct moment last; /* the end of its last launch: it does not run twice at once */
};

/* Drops references of the user object. */
void graph_object_release(CUuserObject object, unsigned count);

#endif
