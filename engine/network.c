/* Network descriptions: mlp and resnet as chains of dense operations, their parameters and initial values. */
#include "engine/network.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/branch.h"
#include "engine/dt_embedding.h"
#include "engine/image_coder.h"
#include "engine/network_field.h"
#include "engine/network_tokens.h"
#include "engine/schedule.h"
#include "engine/status.h"
#include "kernels/arguments.h"
#include "kernels/philox.h"

static const double PI = 3.14159265358979323846;

/* ---- building ---- */

static int round_up8(int n) { return (n + 7) & ~7; }

/* Appends a parameter array; the caller has made room. */
int network_add_parameter(struct network *network, const char *name, int rows, int columns, int initialiser) {
  const int index = network->parameter_count++;
  struct parameter_entry *entry = &network->parameters[index];
  snprintf(entry->name, sizeof entry->name, "%s", name);
  entry->rows = rows;
  entry->columns = columns;
  entry->stride = round_up8(columns);
  entry->padded_offset = network->padded_floats;
  entry->offset = network->values;
  entry->initialiser = initialiser;
  entry->fragment_offset = -1;
  network->padded_floats += (long)rows * entry->stride;
  network->values += (long)rows * columns;
  return index;
}

static int add_weight(struct network *network, const char *prefix, const char *suffix, int rows, int columns,
                      int initialiser) {
  char name[64];
  snprintf(name, sizeof name, "%s.%s", prefix, suffix);
  return network_add_parameter(network, name, rows, columns, initialiser);
}

static void add_input(struct dense_op *op, int kind, int from, int width, int weight) {
  op->inputs[op->input_count++] = (struct op_input){.kind = kind, .op = from, .width = width, .weight = weight};
}

/* A plain layer on one input: PREFIX.weight, PREFIX.bias. */
static int add_dense(struct network *network, const char *prefix, int kind, int from, int in_width, int width,
                     int activation, bool dropout, bool x_branch) {
  struct dense_op *op = &network->ops[network->op_count];
  *op = (struct dense_op){
      .width = width, .residual = -1, .activation = activation, .dropout = dropout, .x_branch = x_branch};
  add_input(op, kind, from, in_width, add_weight(network, prefix, "weight", in_width, width, INITIALISE_XAVIER));
  op->bias = add_weight(network, prefix, "bias", 1, width, INITIALISE_ZERO);
  return network->op_count++;
}

/* A layer that condition and time enter: z or a previous op, then the x-branch, then the time embedding. The names'
 * parts for z, x and t are given; `x_op` < 0: no condition. */
static int add_conditioned(struct network *network, const char *prefix, const char *main_suffix, int kind, int from,
                           int in_width, int x_op, int width, int activation, bool dropout, const char *bias_suffix,
                           int main_initialiser) {
  struct dense_op *op = &network->ops[network->op_count];
  *op = (struct dense_op){.width = width, .bias = -1, .residual = -1, .activation = activation, .dropout = dropout};
  add_input(op, kind, from, in_width, add_weight(network, prefix, main_suffix, in_width, width, main_initialiser));
  if (x_op >= 0) {
    const int x_width = network->ops[x_op].width;
    add_input(op, INPUT_OP, x_op, x_width, add_weight(network, prefix, "x.weight", x_width, width, INITIALISE_LECUN));
  }
  if (network->time_width > 0)
    add_input(op, INPUT_TIME, -1, network->time_width,
              add_weight(network, prefix, "t.weight", network->time_width, width, INITIALISE_LECUN));
  if (bias_suffix) op->bias = add_weight(network, prefix, bias_suffix, 1, width, INITIALISE_ZERO);
  return network->op_count++;
}

/* x.0 ... x.(L-1): the branch that depends on the condition alone; -1 without a condition. */
int network_add_x_branch(struct network *network, const struct settings *settings, bool first_alone) {
  int last = -1;
  if (network->x_width == 0) return -1;
  for (int k = 0; k < (first_alone ? 1 : settings->network.hidden_count); ++k) {
    char prefix[32];
    snprintf(prefix, sizeof prefix, "x.%d", k);
    last = add_dense(network, prefix, k == 0 ? INPUT_X : INPUT_OP, last,
                     k == 0 ? network->x_width : settings->network.hidden[k - 1], settings->network.hidden[k],
                     first_alone ? ACTIVATION_LINEAR : settings->network.activation,
                     settings->network.dropout > 0 && !first_alone, true);
  }
  return last;
}

/* What the layer "output" makes: the prediction, or logits of the classes whose vectors are mixed. */
static int output_width(const struct network *network) {
  return network->mixture ? network->target_width : network->latent;
}

static void build_mlp(struct network *network, const struct settings *settings) {
  const int *hidden = settings->network.hidden, layers = settings->network.hidden_count;
  const bool dropout = settings->network.dropout > 0, squash = settings->network.squash_activation;
  const int x_op = network_add_x_branch(network, settings, false);
  int last = add_conditioned(network, "squash", "z.weight", INPUT_Z, -1, network->latent, x_op, hidden[0],
                             squash ? settings->network.activation : ACTIVATION_LINEAR, false, squash ? "bias" : NULL,
                             INITIALISE_LECUN);
  for (int k = 1; k < layers; ++k) {
    char prefix[32];
    snprintf(prefix, sizeof prefix, "hidden.%d", k);
    last = add_dense(network, prefix, INPUT_OP, last, hidden[k - 1], hidden[k], settings->network.activation, dropout,
                     false);
  }
  add_dense(network, "output", INPUT_OP, last, hidden[layers - 1], output_width(network), ACTIVATION_LINEAR, false,
            false);
}

/* The ordinary twin: the same branch of the condition with the output on top, without state and time. */
static void build_supervised(struct network *network, const struct settings *settings) {
  const int x_op = network_add_x_branch(network, settings, false);
  add_dense(network, "output", INPUT_OP, x_op, network->ops[x_op].width, network->latent, ACTIVATION_LINEAR, false,
            false);
}

static void build_resnet(struct network *network, const struct settings *settings) {
  const int *hidden = settings->network.hidden, layers = settings->network.hidden_count;
  const bool dropout = settings->network.dropout > 0;
  const int activation = settings->network.activation, x_op = network_add_x_branch(network, settings, false);
  int stream = add_conditioned(network, "stem", "z.weight", INPUT_Z, -1, network->latent, x_op, hidden[0], activation,
                               false, "bias", INITIALISE_LECUN);
  for (int k = 1; k < layers; ++k) {
    char prefix[32];
    snprintf(prefix, sizeof prefix, "block.%d", k);
    const int inner = add_conditioned(network, prefix, "in.weight", INPUT_OP, stream, hidden[0], x_op, hidden[k],
                                      activation, dropout, "in.bias", INITIALISE_XAVIER);
    snprintf(prefix, sizeof prefix, "block.%d.out", k);
    const int outer = add_dense(network, prefix, INPUT_OP, inner, hidden[k], hidden[0], activation, false, false);
    network->ops[outer].residual = stream;
    stream = outer;
  }
  add_dense(network, "output", INPUT_OP, stream, hidden[0], output_width(network), ACTIVATION_LINEAR, false, false);
}

/* The classes' vectors: mixed by the softmax of the output, and as the encoder of labels. */
static void add_mixture(struct network *network) {
  const int vectors =
      network_add_parameter(network, "embedding.weight", network->target_width, network->latent, INITIALISE_EMBEDDING);
  for (int encoder = 0; encoder < 2; ++encoder) {
    struct dense_op *op = &network->ops[network->op_count];
    *op = (struct dense_op){.width = network->latent, .bias = -1, .residual = -1, .of_classes = !encoder};
    add_input(op, encoder ? INPUT_Y : INPUT_OP, encoder ? -1 : network->op_count - 1, network->target_width, vectors);
    ++network->op_count;
  }
  network->encoder_first = --network->op_count;
  network->encoder_count = 1;
}

/* An encoder's or decoder's layers from `inputs` features to `outputs`, survey 7; resnet has true residual blocks.
 * Returns their number. */
static int build_coder(struct network *network, const char *name, const struct coder_settings *coder, int kind,
                       int inputs, int outputs) {
  const bool residual = coder->type == CODER_RESNET || coder->type == CODER_RESNET_NORMAL;
  const int layers = coder->type == CODER_LINEAR ? 0 : coder->hidden_count, first = network->op_count;
  int last = -1, width = inputs;
  char prefix[32];
  for (int k = 0; k < layers; ++k) {
    if (residual && k > 0) {
      const int stream = last;
      snprintf(prefix, sizeof prefix, "%s.block.%d.in", name, k);
      last = add_dense(network, prefix, INPUT_OP, stream, width, coder->hidden[k], coder->activation, false, false);
      snprintf(prefix, sizeof prefix, "%s.block.%d.out", name, k);
      last = add_dense(network, prefix, INPUT_OP, last, coder->hidden[k], width, coder->activation, false, false);
      network->ops[last].residual = stream;
      continue;
    }
    snprintf(prefix, sizeof prefix, residual ? "%s.stem" : "%s.hidden.%d", name, k);
    last = add_dense(network, prefix, k == 0 ? kind : INPUT_OP, last, width, coder->hidden[k], coder->activation, false,
                     false);
    width = coder->hidden[k];
  }
  snprintf(prefix, sizeof prefix, "%s.output", name);
  add_dense(network, prefix, layers == 0 ? kind : INPUT_OP, last, width, outputs, ACTIVATION_LINEAR, false, false);
  return network->op_count - first;
}

static void build_coders(struct network *network, const struct settings *settings) {
  if (network->mixture) {
    add_mixture(network);
    network->decoder_first = network->encoder_first + network->encoder_count;
    return;
  }
  const int main_ops = network->op_count;
  network->encoder_first = network->op_count;
  network->encoder_normal = settings->encoder.type == CODER_MLP_NORMAL || settings->encoder.type == CODER_RESNET_NORMAL;
  const bool images = image_coder_is(network); /* layers that are launches of their own */
  if (settings->encoder.type != CODER_IDENTITY && !images)
    network->encoder_count = build_coder(network, "encoder", &settings->encoder, INPUT_Y, network->target_width,
                                         network->encoder_normal ? 2 * network->latent : network->latent);
  network->decoder_first = network->op_count;
  if (settings->decoder.type != CODER_IDENTITY && !images)
    network->decoder_count =
        build_coder(network, "decoder", &settings->decoder, INPUT_DECODED, network->latent, network->target_width);
  if (settings->decoder.output == DECODER_OUTPUT_LINEAR) {
    const int inputs = network->decoder_count > 0 ? network->target_width : network->latent;
    add_dense(network, "decoder.linear", network->decoder_count > 0 ? INPUT_OP : INPUT_DECODED, network->op_count - 1,
              inputs, network->target_width, ACTIVATION_LINEAR, false, false);
    ++network->decoder_count;
  }
  network->op_count = main_ops;
}

int network_said_op(const struct network *network) { return network->op_count - (network->mixture ? 2 : 1); }

int network_total_ops(const struct network *network) { return network->decoder_first + network->decoder_count; }

/* Running statistics: they have no gradients, and weight decay leaves them out. */
static void add_statistics(struct network *network) {
  for (int i = 0; i < network->norm_count; ++i) {
    struct norm_layer *norm = &network->norms[i];
    norm->mean = add_weight(network, norm->name, "mean", 1, norm->width, INITIALISE_ZERO);
    norm->variance = add_weight(network, norm->name, "variance", 1, norm->width, INITIALISE_ONE);
  }
}

/* The numbers of a schedule that is trained: last, so that weight decay can leave them out. */
static void add_schedule(struct network *network, const struct settings *settings) {
  struct schedule_array arrays[SCHEDULE_MAX_ARRAYS];
  const int count = schedule_arrays(settings, arrays);
  for (int i = 0; i < count; ++i)
    network_add_parameter(network, arrays[i].name, arrays[i].rows, arrays[i].columns, INITIALISE_SCHEDULE);
}

/* Variant dt: arrays of the network become "block.1.NAME", and those of the other blocks follow them. */
static void repeat_blocks(struct network *network, int blocks) {
  const int count = network->parameter_count;
  const long values = network->values;
  network->blocks = blocks;
  network->block_floats = network->padded_floats;
  network->block_values = values;
  for (int block = blocks; block >= 1; --block)
    for (int i = 0; i < count; ++i) {
      const struct parameter_entry *from = &network->parameters[i];
      struct parameter_entry *to = &network->parameters[(block - 1) * count + i];
      char name[sizeof from->name];
      memcpy(name, from->name, sizeof name);
      *to = *from;
      snprintf(to->name, sizeof to->name, "block.%d.%.50s", block, name);
      to->padded_offset += (block - 1) * network->block_floats;
      to->offset += (block - 1) * values;
    }
  network->parameter_count *= blocks;
  network->padded_floats *= blocks;
  network->values *= blocks;
}

/* Variant dt on labels: what turns the last state into scores, and the labels' vectors where they are trained. */
static void add_classifier(struct network *network, const struct settings *settings, int classes) {
  const long before = network->padded_floats;
  network->classes = classes;
  network_add_parameter(network, "classifier.weight", network->latent, classes, INITIALISE_XAVIER);
  network_add_parameter(network, "classifier.bias", 1, classes, INITIALISE_ZERO);
  network->classifier_floats = network->padded_floats - before;
  if (settings->latent.embedding != EMBEDDING_LEARNED) return;
  network_add_parameter(network, "embedding.weight", classes, network->latent, INITIALISE_EMBEDDING);
  network->embedding_floats = network->padded_floats - before - network->classifier_floats;
}

int network_latent_size(const struct settings *settings, const noprop_model_shape *shape) {
  if (settings->latent.size > 0) return settings->latent.size;
  return settings->latent.embedding == EMBEDDING_PROTOTYPE ? shape->condition_width : shape->target_width;
}

/* Form and width of the time embedding. */
static noprop_status set_time(struct network *network, const struct settings *settings) {
  const int type = settings->network.time_embedding.type, size = settings->network.time_embedding.size;
  const bool as_written = settings->network.time_embedding.as_written;
  network->time_width = size;
  network->time_kind = TIME_TRIG;
  if (size == 0) return NOPROP_OK;
  switch (type) {
    case TIME_EMBEDDING_LINEAR:
    case TIME_EMBEDDING_SIMPLE:
      network->time_kind = as_written ? TIME_RAMP_AS_WRITTEN : TIME_RAMP;
      if (as_written) network->time_width = size * size;
      break;
    case TIME_EMBEDDING_CONSTANT:
      network->time_kind = TIME_CONSTANT;
      break;
    case TIME_EMBEDDING_SINUSOIDAL:
      network->time_width = size / 2 * 2;
      break; /* an odd size gives one feature less */
    default:
      if (size % 2)
        return status_set(
            NOPROP_INVALID_CONFIG,
            "network.time_embedding.size: %d is odd, but %s has pairs of sine and cosine; an even number is allowed",
            size, TIME_EMBEDDING_NAMES[type].name);
  }
  return NOPROP_OK;
}

noprop_status network_create(const struct settings *settings, const noprop_model_shape *shape,
                             struct network **result) {
  const int layers = settings->network.hidden_count;
  *result = NULL;
  if (layers < 1)
    return status_set(NOPROP_INVALID_CONFIG, "network.hidden: the list is empty; at least one width is needed");
  const int latent = network_latent_size(settings, shape);
  if (latent < 1 || latent > LATENT_MOST)
    return status_set(NOPROP_UNSUPPORTED, "the latent size is %d (from %s); 1 to %d are allowed", latent,
                      settings->latent.size > 0                           ? "latent.size"
                      : settings->latent.embedding == EMBEDDING_PROTOTYPE ? "the condition's width"
                                                                          : "the target's width",
                      (int)LATENT_MOST);
  if (settings->latent.embedding == EMBEDDING_PROTOTYPE &&
      (latent != shape->condition_width || shape->condition_is_label))
    return status_set(
        NOPROP_INVALID_CONFIG,
        "latent.embedding: prototype makes labels rows of the condition, which is %s of width %d, and the "
        "latent size is %d; allowed: values and latent.size auto, or another embedding",
        shape->condition_is_label ? "a label" : "values", shape->condition_width, latent);
  if (settings->latent.embedding == EMBEDDING_ORTHONORMAL && latent < shape->target_width)
    return status_set(
        NOPROP_INVALID_CONFIG,
        "latent.size: %d has no room for %d orthonormal vectors, one for each class; at least so many are "
        "allowed, or latent.embedding learned",
        latent, shape->target_width);
  if (latent != shape->target_width && settings->latent.embedding == EMBEDDING_ONE_HOT &&
      settings->encoder.type == CODER_IDENTITY)
    return status_set(NOPROP_INVALID_CONFIG,
                      "latent.size: %d differs from the target's width %d, and encoder.type identity needs them equal",
                      latent, shape->target_width);
  if (latent != shape->target_width && settings->latent.embedding == EMBEDDING_ONE_HOT &&
      settings->decoder.type == CODER_IDENTITY && settings->decoder.output != DECODER_OUTPUT_LINEAR)
    return status_set(
        NOPROP_INVALID_CONFIG,
        "decoder.type: identity needs latent and target of one width, and latent.size is %d, the target's "
        "width %d; allowed: linear, mlp, resnet",
        latent, shape->target_width);
  if (shape->target_width > 4096)
    return status_set(NOPROP_UNSUPPORTED, "the target's width is %d; at most 4096 can be encoded", shape->target_width);
  const int coder_ops = 2 * settings->encoder.hidden_count + 2 * settings->decoder.hidden_count + 3;
  const int most_ops = 3 * layers + 4 + coder_ops;
  if (most_ops > NETWORK_MAX_OPS)
    return status_set(
        NOPROP_INVALID_CONFIG,
        "network.hidden: %d layers, beside %d of encoder.hidden and %d of decoder.hidden; %d operations in "
        "all are allowed and these can be %d",
        layers, settings->encoder.hidden_count, settings->decoder.hidden_count, NETWORK_MAX_OPS, most_ops);
  struct network *network = calloc(1, sizeof *network);
  const size_t blocks = settings->variant == VARIANT_DT ? (size_t)settings->dt.blocks : 1;
  const size_t most_arrays = (size_t)most_ops * 4 + (size_t)BRANCH_PARAMETERS + TOKEN_PARAMETERS +
                             4 * (size_t)BRANCH_LAYERS + 4 +
                             ((size_t)settings->network.layers.count + 1) * (LAYER_INPUTS + 1);
  if (network)
    network->parameters =
        calloc(blocks * most_arrays + SCHEDULE_MAX_ARRAYS + 2 * BATCH_NORMS_MOST + 3, sizeof *network->parameters);
  if (!network || !network->parameters) {
    free(network);
    return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the network's description");
  }
  network->operand_form = network->branch_form = -1;
  network->x_width = shape->condition_width;
  network->latent = latent;
  network->target_width = shape->target_width;
  network->mixture = settings_mixes_classes(settings);
  const bool supervised = settings->variant == VARIANT_SUPERVISED, discrete = settings->variant == VARIANT_DT;
  /* A block of dt knows its one time. */
  noprop_status status = supervised || discrete ? NOPROP_OK : set_time(network, settings);
  if (status == NOPROP_OK) status = branch_plan(settings, shape, network);
  if (status == NOPROP_OK) status = image_coder_plan(settings, shape, network);
  if (status == NOPROP_OK) status = network_plan_tokens(settings, shape, network);
  if (status != NOPROP_OK) {
    network_destroy(network);
    return status;
  }
  noprop_status field_status = NOPROP_OK;
  branch_add(network);
  if (network->tokens.tokens > 0)
    network_add_tokens(network);
  else if (supervised)
    build_supervised(network, settings);
  else if (network_is_field(settings))
    field_status = network_build_field(network, settings);
  else if (settings->network.type == NETWORK_RESNET)
    build_resnet(network, settings);
  else
    build_mlp(network, settings);
  if (field_status != NOPROP_OK) {
    network_destroy(network);
    return field_status;
  }
  if (discrete) repeat_blocks(network, settings->dt.blocks);
  build_coders(network, settings); /* none with dt */
  image_coder_add(network);
  if (discrete && shape->target_is_label) add_classifier(network, settings, shape->target_width);
  if (network->norm_count > 0 && image_coder_is(network)) {
    network_destroy(network);
    return status_set(
        NOPROP_UNSUPPORTED,
        "network.layers: have one of type batch_norm, which has no kernels beside encoders and decoders of "
        "images; allowed: layers of other types, such as layer_norm");
  }
  network->decayed_floats = network->padded_floats;
  add_statistics(network);
  add_schedule(network, settings);
  *result = network;
  return NOPROP_OK;
}

void network_destroy(struct network *network) {
  if (!network) return;
  free(network->field);
  free(network->parameters);
  free(network);
}

/* ---- time embedding: survey 6.1 ---- */

int network_widest(const struct network *network) {
  int widest = 0;
  for (int i = 0; i < network->op_count; ++i)
    if (network->ops[i].width > widest) widest = network->ops[i].width;
  for (int i = 0; network->field && i < network->field->count; ++i)
    if (network->field->nodes[i].width > widest) widest = network->field->nodes[i].width;
  return widest;
}

int network_frequencies(const struct network *network, const struct settings *settings, float *frequencies) {
  const int size = settings->network.time_embedding.size, type = settings->network.time_embedding.type;
  const int half = network->time_width / 2;
  if (network->time_width == 0 || network->time_kind == TIME_CONSTANT) return 0;
  if (network->time_kind != TIME_TRIG) {
    const int repeats = network->time_kind == TIME_RAMP_AS_WRITTEN ? size : 1;
    for (int j = 0; frequencies && j < network->time_width; ++j) {
      const int place = j / repeats; /* a whole number: the ramp has steps */
      frequencies[j] = (float)((double)place / size);
    }
    return network->time_width;
  }
  for (int k = 0; frequencies && k < half; ++k) {
    double f = 0; /* in units of pi: the features are sin(pi f t) and cos(pi f t) */
    const double position = half > 1 ? (double)k / (half - 1) : 0.0;
    switch (type) {
      case TIME_EMBEDDING_HARMONIC:
        f = k + 1;
        break;
      case TIME_EMBEDDING_SINUSOIDAL:
        f = 0.5 * pow(10000.0, -position);
        break;
      case TIME_EMBEDDING_SINUSOIDAL_UNIT:
        f = pow(10000.0, -position) / PI;
        break;
      case TIME_EMBEDDING_FOURIER:
      case TIME_EMBEDDING_LOG_FREQ:
        f = 2.0 * pow(10.0, -1.0 + 2.0 * position);
        break;
      default: /* cyclical_fourier; as written, 2 pi is applied twice */
        f = settings->network.time_embedding.as_written ? 2.0 * (2.0 * PI * half) * position : 2.0 * k;
    }
    frequencies[k] = (float)f;
  }
  return half;
}

/* ---- initial values ---- */

/* A normal truncated at two standard deviations, from the stream of one parameter array (rejection, counter-based). */
static double truncated_normal(uint64_t seed, unsigned parameter, unsigned element) {
  for (unsigned attempt = 0;; ++attempt) {
    const philox_words words = philox(seed, element, parameter, philox_stream(STREAM_INITIALISE, 0, 0), attempt);
    for (int pair = 0; pair < 4; pair += 2) {
      const double radius = sqrt(-2.0 * log((double)philox_uniform(words.word[pair])));
      const double angle = 2.0 * PI * (double)philox_uniform(words.word[pair + 1]);
      if (fabs(radius * cos(angle)) <= 2.0) return radius * cos(angle);
      if (fabs(radius * sin(angle)) <= 2.0) return radius * sin(angle);
    }
  }
}

void network_initialise(const struct network *network, const struct settings *settings, float *parameters) {
  const uint64_t seed = settings->seed;
  struct schedule_array arrays[SCHEDULE_MAX_ARRAYS];
  int schedule_count = 0;
  (void)schedule_arrays(settings, arrays);
  memset(parameters, 0, (size_t)network->padded_floats * sizeof *parameters);
  for (int index = 0; index < network->parameter_count; ++index) {
    const struct parameter_entry *entry = &network->parameters[index];
    if (entry->initialiser == INITIALISE_ZERO) continue;
    if (entry->initialiser == INITIALISE_UNIFORM || entry->initialiser == INITIALISE_ONE) {
      for (int row = 0; row < entry->rows; ++row)
        for (int column = 0; column < entry->columns; ++column) {
          const philox_words words = philox(seed, (unsigned)(row * entry->columns + column), (unsigned)index,
                                            philox_stream(STREAM_INITIALISE, 0, 0), 0);
          parameters[entry->padded_offset + (long)row * entry->stride + column] =
              entry->initialiser == INITIALISE_ONE ? 1.0F : philox_uniform(words.word[0]);
        }
      continue;
    }
    if (entry->initialiser == INITIALISE_EMBEDDING) {
      dt_embedding(seed, entry->rows, entry->columns, entry->stride, parameters + entry->padded_offset);
      continue;
    }
    if (entry->initialiser == INITIALISE_SCHEDULE) {
      for (int row = 0; row < entry->rows; ++row)
        for (int column = 0; column < entry->columns; ++column)
          parameters[entry->padded_offset + (long)row * entry->stride + column] = (float)schedule_initial(
              &arrays[schedule_count], seed, schedule_count, (long)row * entry->columns + column);
      ++schedule_count;
      continue;
    }
    /* .8796 is the standard deviation of a unit normal truncated at 2. */
    const double variance = entry->initialiser == INITIALISE_LECUN ? 1.0 / entry->rows
                            : entry->initialiser == INITIALISE_HE  ? 2.0 / entry->rows
                                                                   : 2.0 / (entry->rows + entry->columns);
    const double scale = sqrt(variance) / 0.87962566103423978;
    for (int row = 0; row < entry->rows; ++row)
      for (int column = 0; column < entry->columns; ++column)
        parameters[entry->padded_offset + (long)row * entry->stride + column] =
            (float)(scale * truncated_normal(seed, (unsigned)index, (unsigned)(row * entry->columns + column)));
  }
}

/* ---- layouts ---- */

void network_pack(const struct network *network, const float *flat, float *padded) {
  memset(padded, 0, (size_t)network->padded_floats * sizeof *padded);
  for (int index = 0; index < network->parameter_count; ++index) {
    const struct parameter_entry *entry = &network->parameters[index];
    for (int row = 0; row < entry->rows; ++row)
      memcpy(padded + entry->padded_offset + (long)row * entry->stride,
             flat + entry->offset + (long)row * entry->columns, (size_t)entry->columns * sizeof *flat);
  }
}

void network_unpack(const struct network *network, const float *padded, float *flat) {
  for (int index = 0; index < network->parameter_count; ++index) {
    const struct parameter_entry *entry = &network->parameters[index];
    for (int row = 0; row < entry->rows; ++row)
      memcpy(flat + entry->offset + (long)row * entry->columns,
             padded + entry->padded_offset + (long)row * entry->stride, (size_t)entry->columns * sizeof *flat);
  }
}

/* ---- fragments ---- */

long network_fragment_size(int operand_form, int inputs, int outputs) {
  const long groups = round_up8(inputs) / 8, pairs = (round_up8(outputs) / 8 + 1) / 2;
  const long steps = operand_form == OPERANDS_BF16 ? (groups + 1) / 2 : groups;
  return steps * pairs * (operand_form == OPERANDS_TF32X3 ? 256 : 128);
}

/* Numbers in so many words: pairs of 16 bits share one, pairs of parts are a number's. */
static long fragment_numbers(int form, long words) {
  return form == OPERANDS_BF16 ? 2 * words : form == OPERANDS_TF32X3 ? words / 2 : words;
}

long network_fragment_numbers(const struct network *network) {
  return fragment_numbers(network->operand_form, network->fragment_words);
}

void network_place_fragments(struct network *network, int operand_form) {
  network->operand_form = operand_form;
  network->fragment_words = 0;
  if (operand_form < 0) return;
  for (int o = 0; o < network->op_count; ++o)
    for (int i = 0; i < network->ops[o].input_count; ++i) {
      struct parameter_entry *entry = &network->parameters[network->ops[o].inputs[i].weight];
      entry->fragment_offset = network->fragment_words;
      network->fragment_words += network_fragment_size(operand_form, entry->rows, entry->columns);
    }
  for (int i = 0; i < network->parameter_count; ++i) {
    struct parameter_entry *entry = &network->parameters[i];
    if (entry->fragment_offset < 0) continue;
    entry->transpose_offset = network->fragment_words;
    network->fragment_words += network_fragment_size(operand_form, entry->columns, entry->rows);
  }
}

/* Where number `at` of a [inputs][outputs] matrix's fragments comes from. */
static void fragment_number(int form, long at, int outputs, long *input, long *output) {
  const bool halves = form == OPERANDS_BF16;
  const long pairs = (round_up8(outputs) / 8 + 1) / 2, word = halves ? at / 2 : at;
  const long block = word / 128;
  const int lane = (int)(word / 4 % 32), g = lane / 4, t = lane % 4, j = (int)(word / 2 % 2), b = (int)(word % 2);
  *input = block / pairs * (halves ? 16 : 8) + (halves ? 8 * b + 2 * t + at % 2 : 2 * t + b);
  *output = (block % pairs * 2 + j) * 8 + g;
}

void network_fragment_sources(const struct network *network, int *sources) {
  const int form = network->operand_form;
  for (int i = 0; i < network->parameter_count; ++i) {
    const struct parameter_entry *entry = &network->parameters[i];
    if (entry->fragment_offset < 0) continue;
    const int rows = entry->rows, columns = entry->columns;
    long k, n;
    for (long at = 0; at < fragment_numbers(form, network_fragment_size(form, rows, columns)); ++at) {
      fragment_number(form, at, columns, &k, &n);
      sources[fragment_numbers(form, entry->fragment_offset) + at] =
          k < rows && n < columns ? (int)(entry->padded_offset + k * entry->stride + n) : -1;
    }
    for (long at = 0; at < fragment_numbers(form, network_fragment_size(form, columns, rows)); ++at) {
      fragment_number(form, at, rows, &n, &k);
      sources[fragment_numbers(form, entry->transpose_offset) + at] =
          k < rows && n < columns ? (int)(entry->padded_offset + k * entry->stride + n) : -1;
    }
  }
}
