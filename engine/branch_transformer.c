/* type transformer: tokens are the positions of a sequence [length][channels] and one that reads out; kernels and their
 * mathematics: kernels/transformer.cuh.
 *
 * A training step has two launches per layer and one before them forward, as many backward, and one for the gradients
 * of all weights. A solve has those forward, for groups of rows (branch.c). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/branch.h"
#include "engine/model.h"
#include "engine/network_field.h"
#include "engine/status.h"

enum {
  /* Shared memory of a block: four blocks on a multiprocessor of 228 KiB; tiles of eight tokens may take more. */
  TILE_BYTES = 56 << 10,
  TILE_BYTES_MOST = 96 << 10,
  LENGTH_MOST = 1024
};

/* Parameters of a layer, in their order from sequence.qkv on. */
enum { QKV, QKV_BIAS, OUT, OUT_BIAS, FEED0, FEED0_BIAS, FEED1, FEED1_BIAS, LAYER_PARAMETERS };

/* Kernels of struct branch_kernels. */
enum { ENTER, ATTEND, ATTEND_LAST, MIX, MIX_LAST };
enum { LEAVE_BACK, ATTEND_BACK_LAST, ATTEND_BACK, MIX_BACK, MIX_BACK_FIRST };

/* ---- layers ---- */

static int round4(int n) { return (n + 3) & ~3; }
static int widest(const struct sequence_branch *s) { return s->feed > 3 * s->width ? s->feed : 3 * s->width; }
/* Bytes of shared memory: the stream, an array of its size, a wide one, angles (struct sequence of the kernels). */
static unsigned tile_bytes(const struct sequence_branch *s) {
  return (unsigned)(s->tile * (2 * s->width + widest(s) + s->width / s->heads) * (int)sizeof(float));
}

static noprop_status plan(const struct settings *settings, const noprop_model_shape *shape, struct network *network) {
  struct sequence_branch *s = &network->sequence;
  const bool masked = settings->network.branch.masked;
  const int *sides = shape->condition_shape;
  if (sides[0] == 0)
    return status_set(NOPROP_INVALID_CONFIG,
                      "network.branch.type: transformer needs sequences as condition, [rows][length][channels]; this "
                      "condition is %s of width %d",
                      shape->condition_is_label ? "a label" : "a vector", shape->condition_width);
  if (sides[0] != 1)
    return status_set(NOPROP_INVALID_CONFIG,
                      "network.branch.type: transformer needs sequences as condition, [rows][length][channels]; this "
                      "condition is [rows][%d][%d][%d]",
                      sides[0], sides[1], sides[2]);
  if (sides[1] > LENGTH_MOST)
    return status_set(NOPROP_UNSUPPORTED,
                      "network.branch.type: transformer takes sequences up to %d positions; these have %d",
                      (int)LENGTH_MOST, sides[1]);
  if (masked && sides[2] < 2)
    return status_set(NOPROP_INVALID_CONFIG,
                      "network.branch.masked: positions need a number beside the one that says whether they are there; "
                      "this condition is [rows][%d][%d]",
                      sides[1], sides[2]);
  *s = (struct sequence_branch){.length = sides[1],
                                .channels = sides[2] - masked,
                                .width = settings->network.branch.width,
                                .heads = settings->network.branch.heads,
                                .feed = settings->network.branch.feed_forward,
                                .tile = 32};
  while (s->tile > 8 && tile_bytes(s) > TILE_BYTES) s->tile /= 2;
  if (tile_bytes(s) > TILE_BYTES_MOST)
    return status_set(NOPROP_UNSUPPORTED,
                      "network.branch.width: tokens of %d channels with %d in the feed-forward network do not fit the "
                      "shared memory of a block; 2 * width and the larger of 3 * width and feed_forward may be %d "
                      "together",
                      s->width, s->feed, (int)TILE_BYTES_MOST / 8 / (int)sizeof(float) - s->width / s->heads);
  network->branch_count = settings->network.branch.layers;
  return NOPROP_OK;
}

/* A layer's weight and bias. */
static int add_dense(struct network *network, const char *name, int inputs, int outputs) {
  char full[48];
  snprintf(full, sizeof full, "branch.%s.weight", name);
  const int weight = network_add_parameter(network, full, inputs, outputs, INITIALISE_LECUN);
  snprintf(full, sizeof full, "branch.%s.bias", name);
  network_add_parameter(network, full, 1, outputs, INITIALISE_ZERO);
  return weight;
}

static void add(struct network *network) {
  struct sequence_branch *s = &network->sequence;
  s->embed = add_dense(network, "embed", s->channels + 1, s->width);
  for (int i = 0; i < network->branch_count; ++i) {
    char name[32];
    snprintf(name, sizeof name, "%d.qkv", i);
    const int qkv = add_dense(network, name, s->width, 3 * s->width);
    if (i == 0) s->qkv = qkv;
    snprintf(name, sizeof name, "%d.out", i);
    add_dense(network, name, s->width, s->width);
    snprintf(name, sizeof name, "%d.feed.0", i);
    add_dense(network, name, s->width, s->feed);
    snprintf(name, sizeof name, "%d.feed.1", i);
    add_dense(network, name, s->feed, s->width);
  }
  network->x_width = s->width;
}

static double products(const struct network *network) {
  const struct sequence_branch *s = &network->sequence;
  const double tokens = s->length + 1, width = s->width, layers = network->branch_count;
  const double factors = 3 * width * width, attention = 2 * tokens * width, rest = width * width + 2 * width * s->feed;
  /* Of the last layer all tokens' keys and values are needed, and else the token that reads out. */
  return tokens * (s->channels + 1) * width + layers * tokens * factors +
         ((layers - 1) * tokens + 1) * (attention + rest);
}

static int launches(const struct network *network) { return 2 * (2 * network->branch_count + 1) + 1; }

static void describe(const struct network *network, int i, char *line, size_t size) {
  const struct sequence_branch *s = &network->sequence;
  if (i == 0)
    snprintf(line, size,
             "%d tokens of %d channels and one that reads out -> %d; attention with %d heads, %d -> %d -> %d",
             s->length, s->channels, s->width, s->heads, s->width, s->feed, s->width);
  else
    snprintf(line, size, "attention with %d heads, %d -> %d -> %d%s", s->heads, s->width, s->feed, s->width,
             i == network->branch_count - 1 ? ", of the token that reads out" : "");
}

/* ---- text ---- */

/* Radians that a pair of channels turns from one place to the next. */
static void write_frequencies(FILE *out, int pairs) {
  fprintf(out, "static __constant__ float FREQUENCIES[%d] = {", pairs);
  for (int i = 0; i < pairs; ++i) fprintf(out, "%s%.9ef", i ? ", " : "", pow(10000.0, -(double)i / pairs));
  fprintf(out, "};\n\n");
}

static char *source_of(const struct network *network, const struct settings *settings,
                       const noprop_model_shape *shape) {
  const struct sequence_branch *s = &network->sequence;
  const struct parameter_entry *parameters = network->parameters, *layer = &parameters[s->qkv];
  const bool rotary = settings->network.branch.positions == POSITIONS_ROTARY;
  static const char *const places[LAYER_PARAMETERS] = {"QKV",   "QKV_BIAS",   "OUT",   "OUT_BIAS",
                                                       "FEED0", "FEED0_BIAS", "FEED1", "FEED1_BIAS"};
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out) return NULL;
  fprintf(out, "#include \"transformer_backward.cuh\"\n\n");
  write_frequencies(out, rotary ? s->width / s->heads / 2 : s->width / 2);
  fprintf(
      out,
      "struct shape {\n  static constexpr int LENGTH = %d, CHANNELS = %d, WIDTH = %d, HEADS = %d, FEED = %d, LAYERS "
      "= %d, TILE = %d;\n  static constexpr bool MASKED = %s, BYTES = %s, ROTARY = %s, SINUSOIDAL = %s;\n  static "
      "constexpr int ACTIVATION = %d;\n  static constexpr int EMBED = %ld, EMBED_BIAS = %ld;\n",
      s->length, s->channels, s->width, s->heads, s->feed, network->branch_count, s->tile,
      settings->network.branch.masked ? "true" : "false", shape->condition_type == NOPROP_TYPE_UINT8 ? "true" : "false",
      rotary ? "true" : "false", rotary ? "false" : "true", settings->network.branch.activation,
      parameters[s->embed].padded_offset, parameters[s->embed + 1].padded_offset);
  for (int i = 0; i < LAYER_PARAMETERS; ++i)
    fprintf(out, "  static constexpr int %s = %ld;\n", places[i], layer[i].padded_offset);
  const long step = layer[FEED1_BIAS].padded_offset + layer[FEED1_BIAS].stride - layer[QKV].padded_offset;
  fprintf(out,
          "  static constexpr int STEP = %ld;  // between layers\n  static __device__ __forceinline__ float "
          "frequency(int pair) { return FREQUENCIES[pair]; }\n};\n",
          step);
  const struct {
    const char *entry, *function, *threads;
    bool of_several; /* layers */
  } kernels[] = {
      {"enter", "sequence_enter<shape>", "SEQUENCE_THREADS", false},
      {"attend", "sequence_attend<shape, false>", "ATTENTION_THREADS", true},
      {"attend_last", "sequence_attend<shape, true>", "ATTENTION_THREADS", false},
      {"mix", "sequence_mix<shape, false>", "SEQUENCE_THREADS", true},
      {"mix_last", "sequence_mix<shape, true>", "SEQUENCE_THREADS", false},
      {"leave_back", "sequence_leave_back<shape>", "SEQUENCE_THREADS", false},
      {"attend_back_last", "sequence_attend_back<shape, true>", "ATTENTION_THREADS", false},
      {"attend_back", "sequence_attend_back<shape, false>", "ATTENTION_THREADS", true},
      {"mix_back", "sequence_mix_back<shape, false>", "SEQUENCE_THREADS", true},
      {"mix_back_first", "sequence_mix_back<shape, true>", "SEQUENCE_THREADS", false},
      {"gradients", "sequence_gradients_of_weights<shape>", "SEQUENCE_THREADS", false},
  };
  for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; ++i)
    if (!kernels[i].of_several || network->branch_count > 1)
      fprintf(out,
              "\nextern \"C\" __global__ void __launch_bounds__(%s, 1) branch_%s(const branch_arguments a) {\n  "
              "%s(a);\n}\n",
              kernels[i].threads, kernels[i].entry, kernels[i].function);
  if (fclose(out) == 0) return text;
  free(text);
  return NULL;
}

static noprop_status compile(noprop_model *model) {
  struct branch_kernels *kernels = &model->branch;
  char *source = source_of(model->network, &model->settings, &model->shape);
  if (!source) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  const struct {
    const char *entry;
    struct kernel *kernel;
    bool of_several; /* layers */
  } wanted[] = {
      {"branch_enter", &kernels->forward[ENTER], false},
      {"branch_attend", &kernels->forward[ATTEND], true},
      {"branch_attend_last", &kernels->forward[ATTEND_LAST], false},
      {"branch_mix", &kernels->forward[MIX], true},
      {"branch_mix_last", &kernels->forward[MIX_LAST], false},
      {"branch_leave_back", &kernels->backward[LEAVE_BACK], false},
      {"branch_attend_back_last", &kernels->backward[ATTEND_BACK_LAST], false},
      {"branch_attend_back", &kernels->backward[ATTEND_BACK], true},
      {"branch_mix_back", &kernels->backward[MIX_BACK], true},
      {"branch_mix_back_first", &kernels->backward[MIX_BACK_FIRST], false},
      {"branch_gradients", &kernels->gradients, false},
  };
  noprop_status status = NOPROP_OK;
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0] && status == NOPROP_OK; ++i)
    if (!wanted[i].of_several || model->network->branch_count > 1)
      status = device_compile(model->device, source, wanted[i].entry, wanted[i].kernel);
  free(source);
  return status;
}

/* ---- memory: struct sequence in kernels/transformer.cuh ---- */

static size_t kept_floats(const struct network *network, bool backward) {
  const struct sequence_branch *s = &network->sequence;
  const size_t tokens = (size_t)s->length + 1, width = (size_t)s->width, feed = (size_t)s->feed;
  const size_t of_tokens = (size_t)round4((int)tokens), heads = (size_t)round4((int)tokens * s->heads);
  const size_t all = of_tokens + tokens * width + tokens * (size_t)round4(s->channels + 1) + width + 4;
  const size_t layer = tokens * 6 * width + heads + 2 * of_tokens + 2 * tokens * feed;
  return all + (backward ? (size_t)network->branch_count : 1) * layer;
}

static size_t gradient_floats(const struct network *network) {
  const struct sequence_branch *s = &network->sequence;
  const size_t tokens = (size_t)s->length + 1, width = (size_t)s->width, feed = (size_t)s->feed;
  return 2 * tokens * width + (size_t)round4((int)tokens * s->heads) +
         (size_t)network->branch_count * tokens * (5 * width + feed);
}

static size_t turned_floats(const struct network *network) {
  const struct sequence_branch *s = &network->sequence;
  const size_t width = (size_t)s->width, feed = (size_t)s->feed;
  return (size_t)network->branch_count * (4 * width * width + 2 * width * feed);
}

static size_t forward_floats(const struct network *network) { return kept_floats(network, false); }

static noprop_status allocate(noprop_model *model, size_t rows, unsigned parts, bool backward,
                              branch_arguments *branch) {
  const struct network *network = model->network;
  const struct branch_array arrays[] = {
      {&branch->inputs[0], rows * kept_floats(network, backward), "tokens"},
      {&branch->gradients[0], backward ? rows * gradient_floats(network) : 0, "gradients of tokens"},
      {&branch->turned[0], backward ? parts * turned_floats(network) : 0, "turned weights"}};
  return branch_allocate_arrays(model, arrays, sizeof arrays / sizeof arrays[0]);
}

/* ---- launches ---- */

/* `reads`: of the token that reads out alone. */
static noprop_status launch_tiles(noprop_model *model, const struct kernel *kernel, bool reads, unsigned more,
                                  const branch_arguments *arguments) {
  const struct sequence_branch *s = &model->network->sequence;
  const unsigned tokens = arguments->capacity * (reads ? 1u : (unsigned)s->length + 1), tile = (unsigned)s->tile;
  return device_launch(model->device, kernel, arguments->parts * ((tokens + tile - 1) / tile) + more, SEQUENCE_THREADS,
                       tile_bytes(s), arguments, sizeof *arguments);
}

/* Blocks whose lanes have `each` queries or keys of a head: struct sequence_lane. */
static unsigned attention_blocks(const struct network *network, const branch_arguments *arguments, unsigned each) {
  const unsigned lanes = each < 32 ? each : (each + 31) & ~31u;
  return arguments->parts * ((arguments->capacity * (unsigned)network->sequence.heads * lanes + ATTENTION_THREADS - 1) /
                             ATTENTION_THREADS);
}

static noprop_status forward(noprop_model *model, branch_arguments *arguments) {
  const struct network *network = model->network;
  const struct kernel *kernels = model->branch.forward;
  const unsigned tokens = (unsigned)network->sequence.length + 1;
  const unsigned turns = arguments->turned[0] ? arguments->parts * SEQUENCE_TURN_BLOCKS : 0;
  arguments->layer = 0;
  noprop_status status = launch_tiles(model, &kernels[ENTER], false, turns, arguments);
  for (int i = 0; i < network->branch_count && status == NOPROP_OK; ++i) {
    const bool last = i == network->branch_count - 1;
    arguments->layer = (unsigned)i;
    status = device_launch(model->device, &kernels[last ? ATTEND_LAST : ATTEND],
                           attention_blocks(network, arguments, last ? 1 : tokens), ATTENTION_THREADS, 0, arguments,
                           sizeof *arguments);
    if (status == NOPROP_OK) status = launch_tiles(model, &kernels[last ? MIX_LAST : MIX], last, 0, arguments);
  }
  return status;
}

/* Blocks of threads that make all weights' gradients in one slot: sequence_all_items in
 * kernels/transformer_backward.cuh. */
static unsigned gradient_items(const struct network *network) {
  const struct sequence_branch *s = &network->sequence;
  const int width = s->width / 32, feed = s->feed / 32, inputs = round4(s->channels + 1);
  const int takes = inputs % 16 == 0 ? 16 : inputs % 8 == 0 ? 8 : 4;
  const int of_width = s->width / 16 + 1, of_feed = s->feed / 16 + 1;
  const int layer = of_width * (3 * width + width + feed) + of_feed * width;
  return (unsigned)(network->branch_count * layer + (inputs / takes + 1) * width);
}

static noprop_status backward(noprop_model *model, branch_arguments *arguments) {
  const struct network *network = model->network;
  const struct kernel *kernels = model->branch.backward;
  const unsigned tokens = (unsigned)network->sequence.length + 1;
  noprop_status status = launch_tiles(model, &kernels[LEAVE_BACK], true, 0, arguments);
  for (int i = network->branch_count - 1; i >= 0 && status == NOPROP_OK; --i) {
    const bool last = i == network->branch_count - 1;
    arguments->layer = (unsigned)i;
    status = device_launch(
        model->device, &kernels[last ? ATTEND_BACK_LAST : ATTEND_BACK],
        attention_blocks(network, arguments, last ? 1 : tokens) + attention_blocks(network, arguments, tokens),
        ATTENTION_THREADS, 0, arguments, sizeof *arguments);
    if (status == NOPROP_OK) status = launch_tiles(model, &kernels[i ? MIX_BACK : MIX_BACK_FIRST], false, 0, arguments);
  }
  if (status != NOPROP_OK) return status;
  return device_launch(model->device, &model->branch.gradients,
                       arguments->parts * arguments->rows.slot_count * gradient_items(network), SEQUENCE_THREADS, 0,
                       arguments, sizeof *arguments);
}

const struct branch_kind branch_transformer = {.plan = plan,
                                               .add = add,
                                               .products = products,
                                               .launches = launches,
                                               .describe = describe,
                                               .compile = compile,
                                               .forward_floats = forward_floats,
                                               .allocate = allocate,
                                               .forward = forward,
                                               .backward = backward};
