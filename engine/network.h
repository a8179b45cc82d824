/* A network description turned into a chain of dense operations and a parameter table.
 *
 * Every network of this engine is a list of dense operations on feature-major tiles [features][32 rows]:
 *   pre  = sum_i input_i W_i + bias (+ residual)        post = dropout(activation(pre))
 * mlp (survey 5.1): x-branch ops, squash (inputs z, x-branch, time), hidden ops, output.
 * Encoders and decoders are chains of the same kind: hidden layers or residual blocks and an output without activation.
 * Other networks, and all of which a derivative is the field, are graphs (engine/field_graph.h) behind the x-branch.
 * resnet: x-branch, stem, then per block u = act(h), u = drop(act(u W1 + xp Wx + e Wt + b1)), h += u W2 + b2, output.
 */
#ifndef ENGINE_NETWORK_H
#define ENGINE_NETWORK_H

#include <stdbool.h>

#include "engine/settings.h"
#include "kernels/branch_arguments.h"
#include "noprop/model.h"

enum {
  NETWORK_MAX_INPUTS = 3,
  NETWORK_MAX_OPS = 160,
  BRANCH_PARAMETERS = 144,
  TOKEN_PARAMETERS = 192,
  BATCH_NORMS_MOST = 16
};

enum initialiser {
  INITIALISE_ZERO,
  INITIALISE_LECUN,
  INITIALISE_XAVIER,
  INITIALISE_SCHEDULE,
  INITIALISE_EMBEDDING,
  INITIALISE_HE,
  INITIALISE_UNIFORM,
  INITIALISE_ONE
};

/* One parameter array. In device memory rows of a weight are `stride` floats apart (columns rounded up to 8, padding
 * 0). */
struct parameter_entry {
  char name[64];             /* "x.0.weight", "squash.z.weight", "hidden.1.bias", "output.weight" */
  int rows, columns, stride; /* bias: rows 1 */
  long padded_offset;        /* in the device layout, multiple of 8 */
  long offset;               /* in the flat layout of noprop_model_get_parameters */
  long fragment_offset;      /* weights: words before it in the fragment layout, multiple of 128; bias: -1 */
  long transpose_offset;     /* likewise, behind all weights */
  int initialiser;
  bool positive; /* in use is softplus(number + 1/2)/rows */
};

enum input_kind {
  INPUT_X,
  INPUT_Z,
  INPUT_TIME,
  INPUT_OP,
  INPUT_Y,      /* encoder: the target */
  INPUT_DECODED /* decoder: the latent that is decoded */
};

struct op_input {
  int kind; /* enum input_kind */
  int op;   /* INPUT_OP: number of the op whose post is read */
  int width;
  int weight; /* parameter index */
};

struct dense_op {
  struct op_input inputs[NETWORK_MAX_INPUTS];
  int input_count;
  int width;    /* outputs */
  int bias;     /* parameter index, or -1 */
  int residual; /* number of the op whose pre is added, or -1 */
  int activation;
  bool dropout;
  bool x_branch;   /* depends on x alone */
  bool of_classes; /* its input is the softmax of what it reads: kernels/class_mixture.cuh */
};

/* A convolution, 3 x 3 but for projections, of the condition's branch (branch.h). */
struct branch_layer {
  int height, width, inputs, outputs;
  bool pool;        /* 2 x 2 max-pool behind it; else, of type cnn the last one, the mean over all pixels */
  int weight, bias; /* parameter indices: [9 inputs][outputs], rows in the order [y][x][input] */
  int scale, shift; /* type resnet: of GroupNorm, in place of the bias */
  /* Type resnet. */
  bool ends;       /* the second layer of a residual block, to which the skip is added */
  bool strided;    /* of stride 2: sums at every second pixel of every second row, the first one among them */
  bool projection; /* a 1 x 1 convolution of stride 2 of what the layer before it is given, which the next one's skip
                      adds, without a ReLU */
};

/* Convolutional encoder and decoder of targets that are images (image_coder.h): convolutions, the encoder's first; and
 * parameter indices of the dense layers, to the latent and from it. */
struct image_coder {
  int encoder_count, decoder_count; /* 0: none */
  struct branch_layer layers[2 * BRANCH_LAYERS];
  int to_weight, to_bias, from_weight, from_bias;
};

/* A transformer over the positions of a condition (branch.h): shapes, and the parameters of its first layer, behind
 * which those of the others follow in the same order. */
struct sequence_branch {
  int length, channels, width, heads, feed, tile; /* tile: tokens that a block takes at once */
  int embed, qkv;                                 /* parameter indices: the embedding's weight, the first layer's */
};

/* A field that is a transformer over the positions of the state (kernels/token_field.cuh): shapes, and parameter
 * indices of weights, each with its bias behind it, but for that of the time. */
struct token_field {
  int tokens, channels;  /* of the state; tokens 0: the network is another */
  int positions, inputs; /* of the condition, a vector being one position; positions 0: there is none */
  bool masked;           /* one more number of a position in the data says whether it is there */
  int width, heads, feed, layers, condition_layers;
  int condition_embed, condition_layer; /* of the first layer */
  int embed, time, layer, output;
};

/* Batch norm with the statistics of batches: of a list of layers. */
struct norm_layer {
  char name[24];
  int width;
  int mean, variance; /* parameters: running statistics, which training writes and no optimizer moves */
  double momentum;
};

struct network {
  struct dense_op ops[NETWORK_MAX_OPS];
  int op_count; /* the last one is the output, width d */
  /* Networks that are no chain: `ops` are those of the x-branch and an output without inputs, which stands for the
   * graph between (network_field.c). NULL: a chain. Its parameters are numbers field_first to field_end - 1. */
  struct field_graph *field;
  int field_first, field_end;
  struct token_field tokens; /* likewise an output without inputs; `ops` are nothing else */
  /* Behind them in `ops`: encoder and decoder, none where they are the identity (then latent and target are one). */
  int encoder_first, encoder_count; /* the last op has width d, or 2 d: mean and log variance */
  int decoder_first, decoder_count; /* the last op has the target's width */
  bool encoder_normal;
  /* The last op is softmax(logits) times the classes' vectors "embedding.weight" [classes][d], which are the latents of
   * labels as well; the op before it gives the logits. */
  bool mixture;
  struct norm_layer norms[BATCH_NORMS_MOST]; /* in the order in which they are computed */
  int norm_count;
  int target_width;
  int x_width, latent, time_width, time_kind; /* x_width 0: none; time_width 0: none */
  struct parameter_entry *parameters;
  int parameter_count;
  long padded_floats, values;
  long decayed_floats; /* of padded_floats: weight decay ends here, where the schedule's numbers begin (P-18) */
  int blocks;          /* variant dt: networks of their own, 0: not. Ops are those of the first one; block k has */
  long block_values;   /* parameters of one */
  long block_floats;   /* all its arrays this many padded floats times k - 1 further on */
  int classes;         /* dt: of the classifier behind the last block, which has "classifier.weight" [d][classes] and */
  long classifier_floats; /* "classifier.bias"; 0: none. Its padded floats follow the blocks */
  long embedding_floats;  /* dt: of learned embeddings "embedding.weight" [classes][d], behind them; 0: none */
  int branch_type;        /* enum branch_type */
  struct branch_layer branch[BRANCH_CONVOLUTIONS]; /* types cnn and resnet */
  struct sequence_branch sequence;                 /* type transformer */
  int branch_count; /* layers; 0: the condition is read as it is; else x_width is the number of the branch's features */
  int branch_form;  /* enum operand_form of the branch's tensor-core kernels, -1: it has none */
  int branch_groups;         /* type resnet: groups of GroupNorm */
  struct image_coder images; /* around the network, whose target is then the latent it makes */
  int augment_shift;         /* images in training: by how many pixels they move at most, */
  bool augment_flip;         /* and whether they may be mirrored */
  int operand_form;          /* enum operand_form of its tensor-core kernels, -1: it has none */
  bool layered;              /* computed by products over all rows (layered.h), whatever the widths of its layers */
  long fragment_words;
};

/* How the kernels form the time embedding e(t). */
enum time_kind {
  TIME_TRIG,            /* sin(pi f_j t), j < n/2, then cos(pi f_j t) */
  TIME_RAMP,            /* max(t - f_j, 0) */
  TIME_RAMP_AS_WRITTEN, /* t - f_j */
  TIME_CONSTANT         /* 1 */
};

struct field_graph;

noprop_status network_create(const struct settings *settings, const noprop_model_shape *shape,
                             struct network **network);
void network_destroy(struct network *network);

/* The op that stands for the graph, or the chain's last one before classes are mixed. */
int network_said_op(const struct network *network);
/* Ops of all three. */
int network_total_ops(const struct network *network);

/* Latent size d of a model. */
enum { LATENT_MOST = 512 }; /* numbers of a latent */
int network_latent_size(const struct settings *settings, const noprop_model_shape *shape);

/* Outputs of the widest op. */
int network_widest(const struct network *network);

/* The table f_j: number of floats; `frequencies` may be NULL to ask. */
int network_frequencies(const struct network *network, const struct settings *settings, float *frequencies);

/* Fresh parameters in the padded device layout, [padded_floats]. */
void network_initialise(const struct network *network, const struct settings *settings, float *parameters);

/* Weights as the second factors of mma, for kernels/warp_operands.cuh. Of a weight [K][N], in steps of eight k (bf16:
 * sixteen) and pairs of eight n (zeros past the end): [step][pair][lane 4 g + t][4 words], where word [2 j + b] belongs
 * to output 8 j + g of the pair and
 *   tf32    to input 2 t + b of the step
 *   bf16    to the inputs 8 b + 2 t (low half) and 8 b + 2 t + 1
 * The transposes, for the gradients of the inputs, follow in the same order. Decides the offsets of all weights. */
void network_place_fragments(struct network *network, int operand_form);
/* Words of one weight's fragments, and numbers in all. */
long network_fragment_size(int operand_form, int inputs, int outputs);
long network_fragment_numbers(const struct network *network);
/* For each number where it stands in the padded layout, or -1 where it is zero. */
void network_fragment_sources(const struct network *network, int *sources);

/* Between the flat layout (no padding) and the device layout. */
void network_pack(const struct network *network, const float *flat, float *padded);
void network_unpack(const struct network *network, const float *padded, float *flat);

#endif
