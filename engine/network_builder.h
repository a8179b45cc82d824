/* What networks that are graphs are built with (network_field.c, network_custom.c). */
#ifndef ENGINE_NETWORK_BUILDER_H
#define ENGINE_NETWORK_BUILDER_H

#include "engine/network_field.h"

struct builder {
  struct network *network;
  const struct settings *settings;
  struct field_graph *graph;
  int condition;        /* node of the x-branch's result, -1: none */
  int layer;            /* of the next dense layer, as dropout numbers them */
  noprop_status status; /* the first failure; nodes are of no use then */
};

/* A condition that enters a graph itself is loaded whole (X_CHUNK of program_plan.h). */
enum { FACTOR_MOST = 64 };

int builder_width(const struct builder *b, int node);
/* The parameter "PREFIX.SUFFIX". */
int builder_parameter(struct builder *b, const char *prefix, const char *suffix, int rows, int columns,
                      int initialiser);
/* Items of a sum: a node times a weight; a node. */
struct field_item builder_through(int node, int weight);
struct field_item builder_item(int node);
/* PREFIX.weight, PREFIX.bias on one node. */
int builder_dense(struct builder *b, const char *prefix, int from, int width);
/* An activation; `dropout`: number of the layer whose result is dropped, -1: none. */
int builder_activated(struct builder *b, int form, int from, int dropout);
/* (v - mean)/sqrt(variance + epsilon) times PREFIX.scale plus PREFIX.bias. */
int builder_normalised(struct builder *b, const char *prefix, int from);

/* The layers of network.type custom, up to `outputs` features. */
int network_custom(struct builder *b, int state, int outputs);

#endif
