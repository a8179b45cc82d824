/* The list of layers that network.type custom is made of, as a configuration holds it: names resolved, defaults filled
 * in. What a list cannot say without the data, such as widths that must agree, network_custom.c checks. */
#ifndef ENGINE_LAYERS_H
#define ENGINE_LAYERS_H

#include <stdbool.h>

enum {
  LAYERS_MOST = 64,
  LAYER_NAME = 21, /* with its end, as the following texts */
  LAYER_INPUTS = 8,
  LAYER_FUNCTION = 33,
  LAYER_PARAMETERS_MOST = 1024,
  SOURCES_MOST = 4, /* files */
  SOURCE_FILE = 160,
  SOURCES_TEXT = 24576 /* characters of all */
};

/* Of a source layer's parameters. */
#define LAYER_INITIAL_LIST(X)                                    \
  X(LAYER_INITIAL_NORMAL, "normal", "normal, cut at 2")          \
  X(LAYER_INITIAL_UNIFORM, "uniform", "uniform between 0 and 1") \
  X(LAYER_INITIAL_ZERO, "zero", "0")                             \
  X(LAYER_INITIAL_ONE, "one", "1")

#define LAYER_LIST(X)                                                                                          \
  X(LAYER_DENSE, "dense", "sum over inputs of input times weights, and a bias; then an activation")            \
  X(LAYER_ACTIVATION, "activation", "an activation")                                                           \
  X(LAYER_NORM, "layer_norm", "each row to mean 0, variance 1 over features, times a scale, plus a bias")      \
  X(LAYER_DROPOUT, "dropout", "in training each feature is 0 with probability rate, else over 1 minus that")   \
  X(LAYER_ADD, "add", "sum of inputs of one width; of one given input and the layer before")                   \
  X(LAYER_MULTIPLY, "multiply", "product of two inputs of one width; of one given input and the layer before") \
  X(LAYER_CONCATENATE, "concatenate", "features of all inputs, one behind the other")                          \
  X(LAYER_SOURCE, "source", "a function of a row's features of one's own, with its vector-Jacobian product")   \
  X(LAYER_BATCH_NORM, "batch_norm",                                                                            \
    "each feature to mean 0, variance 1 over the batch, at solves by running statistics; times a scale, plus a bias")

#define LAYER_ENUMERATOR(enumerator, name, meaning) enumerator,
enum layer_type { LAYER_LIST(LAYER_ENUMERATOR) LAYER_COUNT };
enum layer_initial { LAYER_INITIAL_LIST(LAYER_ENUMERATOR) LAYER_INITIAL_COUNT };
#undef LAYER_ENUMERATOR

/* What a layer reads: the number of an earlier layer, or one of these. */
enum layer_input { LAYER_FROM_Z = -1, LAYER_FROM_X = -2, LAYER_FROM_T = -3 };

struct layer_settings {
  char name[LAYER_NAME]; /* "TYPE.NUMBER" where none was given */
  int type;
  int inputs[LAYER_INPUTS], input_count;
  int width;       /* dense, source; 0: the network's output */
  int activation;  /* dense, activation */
  bool bias;       /* dense */
  double rate;     /* dropout */
  double momentum; /* batch_norm: of running statistics */
  int source;      /* source: number of its file */
  char function[LAYER_FUNCTION];
  int parameters, initial; /* source: how many, and enum layer_initial */
};

/* A file of functions: its name for messages, its text. */
struct layer_source {
  char file[SOURCE_FILE];
  int place; /* of its first character in `text` */
};

struct layer_list {
  struct layer_settings items[LAYERS_MOST];
  int count; /* 0: none were given */
  struct layer_source sources[SOURCES_MOST];
  int source_count, text_length;
  char text[SOURCES_TEXT]; /* of all files, each with its end */
};

/* Number of layers that read the condition; `reader`: the last one of them, -1. */
int layers_reading_condition(const struct layer_list *layers, int *reader);

#endif
