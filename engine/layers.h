/* The list of layers that network.type custom is made of, as a configuration holds it: names resolved, defaults filled
 * in. What a list cannot say without the data, such as widths that must agree, network_custom.c checks. */
#ifndef ENGINE_LAYERS_H
#define ENGINE_LAYERS_H

#include <stdbool.h>

enum { LAYERS_MOST = 64, LAYER_NAME = 21 /* with its end */, LAYER_INPUTS = 8 };

#define LAYER_LIST(X)                                                                                          \
  X(LAYER_DENSE, "dense", "sum over inputs of input times weights, and a bias; then an activation")            \
  X(LAYER_ACTIVATION, "activation", "an activation")                                                           \
  X(LAYER_NORM, "layer_norm", "each row to mean 0, variance 1 over features, times a scale, plus a bias")      \
  X(LAYER_DROPOUT, "dropout", "in training each feature is 0 with probability rate, else over 1 minus that")   \
  X(LAYER_ADD, "add", "sum of inputs of one width; of one given input and the layer before")                   \
  X(LAYER_MULTIPLY, "multiply", "product of two inputs of one width; of one given input and the layer before") \
  X(LAYER_CONCATENATE, "concatenate", "features of all inputs, one behind the other")

#define LAYER_ENUMERATOR(enumerator, name, meaning) enumerator,
enum layer_type { LAYER_LIST(LAYER_ENUMERATOR) LAYER_COUNT };
#undef LAYER_ENUMERATOR

/* What a layer reads: the number of an earlier layer, or one of these. */
enum layer_input { LAYER_FROM_Z = -1, LAYER_FROM_X = -2, LAYER_FROM_T = -3 };

struct layer_settings {
  char name[LAYER_NAME]; /* "TYPE.NUMBER" where none was given */
  int type;
  int inputs[LAYER_INPUTS], input_count;
  int width;      /* dense; 0: the network's output */
  int activation; /* dense, activation */
  bool bias;      /* dense */
  double rate;    /* dropout */
};

struct layer_list {
  struct layer_settings items[LAYERS_MOST];
  int count; /* 0: none were given */
};

/* Number of layers that read the condition; `reader`: the last one of them, -1. */
int layers_reading_condition(const struct layer_list *layers, int *reader);

#endif
