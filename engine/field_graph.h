/* A network as a graph of operations on tiles of rows, and its derivatives as further nodes of the same graph.
 *
 * Networks that are no chain of dense layers (engine/network.h) are described so. A gradient with respect to an input
 * is made by going through the graph backwards (field_reverse), a derivative along a direction by going through it
 * forwards (field_tangents); both append nodes of the same kinds, so that they can be applied to each other: a
 * potential's field is one pass backwards, its training a second one through both, a Hessian times a vector the
 * tangents of a gradient. Costs do not depend on the number of features that are differentiated by.
 *
 * Nodes are numbered so that what a node reads has smaller numbers. */
#ifndef ENGINE_FIELD_GRAPH_H
#define ENGINE_FIELD_GRAPH_H

#include <stdbool.h>

enum node_kind {
  NODE_INPUT,      /* a tile that the kernel has: enum field_input in `form` */
  NODE_CONSTANT,   /* `scale` in every feature */
  NODE_SUM,        /* bias + sum of its items */
  NODE_PRODUCT,    /* a b, feature by feature */
  NODE_JET,        /* derivative number `order` of the function `form` at a, times the factor of dropout */
  NODE_MAP,        /* `scale` times a fixed linear map of a's features: enum field_map in `form` */
  NODE_DIAGONAL,   /* a times a parameter, feature by feature */
  NODE_MATVEC,     /* scale times the matrix a [n][n] (transposed: `order` 1), of each row, times b [n] */
  NODE_OUTER,      /* scale times a b^T, [n][n] */
  NODE_BATCH_NORM, /* a less its mean over a root of its variance, of batch norm `form`; `order` 1: its adjoint a, where
                      b is that node, on to what it was of, by way of the batch's statistics too; 2: its tangent a, by
                      running statistics */
  NODE_SOURCE /* function of layer `form` of a's features and a parameter (or -1); `order` 1, 2: its vector-Jacobian
                 product for b, with respect to the features, to the parameter */
};

enum field_input {
  FIELD_Z,
  FIELD_CONDITION, /* what the x-branch gives */
  FIELD_X,         /* the condition itself */
  FIELD_TIME,
  FIELD_ADJOINT, /* the loss's gradient with respect to the output */
  FIELD_TANGENT, /* a direction of z */
  FIELD_INPUTS
};

/* Functions beside the activations of engine/options.h, whose numbers are below; forms of kernels/jets.cuh. */
enum field_function { FUNCTION_EXP = 64, FUNCTION_LOG, FUNCTION_RECIPROCAL, FUNCTION_RSQRT /* of p + FIELD_EPSILON */ };

enum field_map {
  MAP_GROUP_SUM, /* y_j = x_(jg) + ... + x_(jg + g - 1), as far as there are such; g in `order` */
  MAP_SPREAD,    /* its transpose: y_i = x_(i / g) where there is such, else 0 */
  MAP_TOTAL,     /* y_j = sum of all x */
  MAP_SWAP,      /* the halves changed; the second half of the result times `order` (1 or -1) */
  MAP_SLICE,     /* y_i = x_(i + order) */
  MAP_EMBED,     /* its transpose: y_i = x_(i - order) where there is such, else 0 */
  MAP_BELOW_MOST /* x minus its largest feature. Differentiated as the identity: only for what does not change when
                    all features are shifted alike */
};

/* An item of a sum: scale times a node, or the node times a weight or its transpose. */
struct field_item {
  int node;
  int weight; /* parameter, or -1 */
  bool transposed;
  double scale; /* 1 with a weight */
};

struct field_node {
  int kind, form, order, width;
  int a, b;
  int first_item, item_count;
  int parameter; /* SUM: bias, or -1; DIAGONAL */
  int dropout;   /* JET: number of the layer that dropout belongs to, -1: none */
  int columns;   /* SOURCE: numbers of the parameter */
  double scale;
};

/* One part of a parameter's gradient: the sum over rows of in^T rows; `in` -1: of rows (bias, diagonal). */
struct field_sink {
  int parameter, in, rows;
};

enum { FIELD_NODES = 3072, FIELD_ITEMS = 8192, FIELD_SINKS = 2048 };

struct field_graph {
  struct field_node nodes[FIELD_NODES];
  struct field_item items[FIELD_ITEMS];
  int count, item_count, output;
  int inputs[FIELD_INPUTS]; /* their nodes, or -1 */
  bool full;                /* a node or item did not fit: the graph is of no use */
  bool no_derivative;       /* a derivative was asked for that a NODE_SOURCE or NODE_BATCH_NORM lacks: likewise */
};

/* An empty graph, or NULL without memory; free() ends it. A copy likewise. */
struct field_graph *field_create(void);
struct field_graph *field_copy(const struct field_graph *graph);

/* Node of an input, made at its first use. */
int field_input(struct field_graph *graph, int input, int width);
int field_constant(struct field_graph *graph, double value, int width);
/* A sum of `count` items; bias -1: none. */
int field_sum(struct field_graph *graph, int width, const struct field_item *items, int count, int bias);
int field_product(struct field_graph *graph, int a, int b);
/* Derivative `order` of a function; equal ones are one node. -1: it is zero everywhere. */
int field_jet(struct field_graph *graph, int form, int order, int a, int dropout);
int field_map(struct field_graph *graph, int map, int order, double scale, int a, int width);
int field_diagonal(struct field_graph *graph, int a, int parameter);
int field_matvec(struct field_graph *graph, int matrix, bool transposed, int vector, double scale);
int field_outer(struct field_graph *graph, int a, int b, double scale);

int field_batch_norm(struct field_graph *graph, int number, int a);

int field_source(struct field_graph *graph, int layer, int a, int width, int parameter, int columns);

/* Sum of `scale` times one node. */
int field_scaled(struct field_graph *graph, int a, double scale);

/* Adjoints of the inputs marked in `wanted` for the adjoint `seed` of node `output`, -1 where nothing reaches them.
 * With `sinks` also the gradients of all parameters; `sink_count` sinks. */
void field_reverse(struct field_graph *graph, int output, int seed, const bool *wanted, int *adjoints,
                   struct field_sink *sinks, int *sink_count);
/* The derivative of node `output` along the direction `direction` of input `input`, -1: it does not depend on it. */
int field_tangents(struct field_graph *graph, int output, int input, int direction);

/* Whether the derivative `order` of an activation is zero everywhere. */
bool field_flat(int form, int order);

#endif
