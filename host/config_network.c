/* Which networks, wrappers and activations go together. */
#include <stdio.h>

#include "engine/network_field.h"
#include "host/config.h"

/* Whether an activation's second derivative is zero everywhere, so that a chain of layers has no second derivative. */
static bool is_flat(int activation) {
  return activation == ACTIVATION_LINEAR || activation == ACTIVATION_RELU || activation == ACTIVATION_LEAKY_RELU;
}

/* Convex and not decreasing: selu's slope falls where it bends, swish and gelu dip below zero. */
static bool is_convex(int activation) {
  return is_flat(activation) || activation == ACTIVATION_SOFTPLUS || activation == ACTIVATION_ELU;
}

/* What has a list of layers, and what a list goes with. */
static const char *custom_refusal(const struct settings *s, const char **key, char *buffer, size_t size) {
  const bool custom = s->network.type == NETWORK_CUSTOM;
  const struct layer_list *layers = &s->network.layers;
  int reader;
  const int readers = layers_reading_condition(layers, &reader);
  *key = "network.layers";
  if (custom && layers->count == 0)
    (void)snprintf(buffer, size, "has no layers, and network.type custom is made of them; allowed: at least one");
  else if (!custom && layers->count > 0)
    (void)snprintf(buffer, size,
                   "are those of network.type custom, and this is %s; allowed: [], or network.type custom",
                   NETWORK_NAMES[s->network.type].name);
  else if (custom && (s->loss.condition_dropout > 0 || s->sample.guidance != 1) &&
           (readers != 1 || layers->items[reader].type != LAYER_DENSE))
    (void)snprintf(
        buffer, size,
        "read the condition in %d layers, and leaving it out (loss.condition_dropout, sample.guidance) needs one dense "
        "layer that reads it; allowed: others that read that one",
        readers);
  bool own = false;
  for (int i = 0; i < layers->count; ++i) own = own || layers->items[i].type == LAYER_SOURCE;
  if (!buffer[0] && own && s->network.wrapper != WRAPPER_NONE && s->network.wrapper != WRAPPER_NATURAL)
    (void)snprintf(buffer, size,
                   "have one of type source, which has a vector-Jacobian product and no second derivatives, and "
                   "network.wrapper %s needs them; allowed: wrapper none or natural, or layers of other types",
                   WRAPPER_NAMES[s->network.wrapper].name);
  bool batch_norm = false;
  for (int i = 0; i < layers->count; ++i) batch_norm = batch_norm || layers->items[i].type == LAYER_BATCH_NORM;
  if (!buffer[0] && batch_norm && s->network.wrapper != WRAPPER_NONE)
    (void)snprintf(buffer, size,
                   "have one of type batch_norm, by which rows of a batch depend on each other, and network.wrapper %s "
                   "is a derivative by one row's state; allowed: wrapper none, or layers of other types",
                   WRAPPER_NAMES[s->network.wrapper].name);
  else if (!buffer[0] && batch_norm && s->variant == VARIANT_DT)
    (void)snprintf(buffer, size,
                   "have one of type batch_norm, which has no kernels for variant dt; allowed: layers of other types, "
                   "such as layer_norm");
  if (buffer[0]) return buffer;
  *key = "network.type";
  if (custom && s->variant == VARIANT_SUPERVISED)
    (void)snprintf(buffer, size,
                   "has layers of its own, and variant supervised is the branch of the condition of the others with an "
                   "output; allowed: mlp, resnet, bilinear, convex, icnn");
  if (buffer[0]) return buffer;
  *key = "network.dropout";
  if (custom && s->network.dropout > 0)
    (void)snprintf(buffer, size,
                   "is for networks by name, and network.type custom drops where its list says so; allowed: 0.0, and "
                   "layers {type: dropout, rate: ...}");
  return buffer[0] ? buffer : NULL;
}

/* What follows the value of *key: shapes of a transformer, whose keys begin with `prefix`. */
static void transformer_refusal(const char *prefix, int width, int heads, int feed_forward, const char **key,
                                char *buffer, size_t size) {
  static _Thread_local char name[64];
  const int head = width / heads;
  const char *part = NULL;
  if (width % 32 != 0) {
    part = "width";
    (void)snprintf(buffer, size, "channels are no multiple of 32, the lanes that share them; allowed: multiples of 32");
  } else if (width % heads != 0 || head % 4 != 0 || head > 32) {
    part = "heads";
    (void)snprintf(buffer, size,
                   "heads of a width of %d have %.6g channels each, which one thread has in registers; allowed: "
                   "multiples of 4, at most 32 for each head",
                   width, (double)width / heads);
  } else if (feed_forward % 32 != 0) {
    part = "feed_forward";
    (void)snprintf(buffer, size, "is no multiple of 32; allowed: multiples of 32");
  }
  if (!part) return;
  (void)snprintf(name, sizeof name, "%s.%s", prefix, part);
  *key = name;
}

static void branch_transformer_refusal(const struct settings *s, const char **key, char *buffer, size_t size) {
  transformer_refusal("network.branch", s->network.branch.width, s->network.branch.heads,
                      s->network.branch.feed_forward, key, buffer, size);
  if (buffer[0]) return;
  if (activation_is_gate(s->network.branch.activation) || s->network.branch.activation == ACTIVATION_SOFTMAX) {
    *key = "network.branch.activation";
    (void)snprintf(buffer, size, "is not of single features; allowed: gelu, swish and others that are");
  }
}

/* Of a field that is a transformer over the state. */
static void tokens_refusal(const struct settings *s, const char **key, char *buffer, size_t size) {
  const bool identity = s->encoder.type == CODER_IDENTITY && s->decoder.type == CODER_IDENTITY;
  static const int standard[] = {64, 64, 64}; /* what the key's table says */
  bool hidden = s->network.hidden_count != 3;
  for (int i = 0; i < 3 && !hidden; ++i) hidden = s->network.hidden[i] != standard[i];
  *key = "network.type";
  if (s->variant == VARIANT_DT || s->variant == VARIANT_SUPERVISED)
    (void)snprintf(buffer, size, "has no kernels for variant %s; allowed: mlp, resnet, or variants fm, df and ct",
                   VARIANT_NAMES[s->variant].name);
  else if (s->network.wrapper != WRAPPER_NONE)
    (void)snprintf(buffer, size,
                   "has no second derivatives, which network.wrapper %s is made of; allowed: wrapper none, or another "
                   "network",
                   WRAPPER_NAMES[s->network.wrapper].name);
  else if (s->schedule.learnable)
    (void)snprintf(buffer, size,
                   "has no kernels that train the schedule too; allowed: schedule.learnable false, or another network");
  else if (s->network.branch.type != BRANCH_NONE)
    (void)snprintf(
        buffer, size,
        "reads the condition's positions itself, and network.branch.type %s makes features of them; allowed: "
        "branch none, or another network",
        BRANCH_NAMES[s->network.branch.type].name);
  else if (!identity || s->decoder.output == DECODER_OUTPUT_LINEAR)
    (void)snprintf(buffer, size,
                   "is over the positions of the target itself and has no kernels beside encoders and decoders; "
                   "allowed: encoder.type and decoder.type identity, or another network");
  if (buffer[0]) return;
  *key = "network.hidden";
  if (hidden)
    (void)snprintf(buffer, size,
                   "is of networks of dense layers, and network.type transformer has network.transformer.width, layers "
                   "and feed_forward; allowed: [64, 64, 64], the default");
  if (buffer[0]) return;
  *key = "network.dropout";
  if (s->network.dropout > 0) (void)snprintf(buffer, size, "has no kernels for network.type transformer; allowed: 0.0");
  if (buffer[0]) return;
  *key = "network.activation";
  if (activation_is_gate(s->network.activation))
    (void)snprintf(buffer, size,
                   "has no kernels for network.type transformer; allowed: activations of single features");
  if (buffer[0]) return;
  transformer_refusal("network.transformer", s->network.transformer.width, s->network.transformer.heads,
                      s->network.transformer.feed_forward, key, buffer, size);
}

const char *config_network_refusal(const struct settings *s, const char **key, char *buffer, size_t size) {
  const int type = s->network.type, wrapper = s->network.wrapper;
  const bool factor = wrapper == WRAPPER_NATURAL || wrapper == WRAPPER_GEOMETRIC;
  const bool gate = activation_is_gate(s->network.activation), icnn = type == NETWORK_ICNN;
  buffer[0] = '\0';
  *key = "network.wrapper";
  if (wrapper != WRAPPER_NONE && s->variant == VARIANT_SUPERVISED)
    (void)snprintf(buffer, size,
                   "makes a field of a network of the state, and variant supervised has no state; allowed: none");
  else if (wrapper == WRAPPER_GEOMETRIC && type != NETWORK_BILINEAR && type != NETWORK_CUSTOM &&
           is_flat(s->network.activation))
    (void)snprintf(
        buffer, size,
        "is zero everywhere with network.type %s and network.activation %s, whose second derivative is zero; "
        "allowed: another activation, or another wrapper",
        NETWORK_NAMES[type].name, ACTIVATION_NAMES[s->network.activation].name);
  else if (factor && (s->loss.condition_dropout > 0 || s->sample.guidance != 1))
    (void)snprintf(
        buffer, size,
        "multiplies by the condition, so that there is no field without one; allowed: loss.condition_dropout "
        "0 and sample.guidance 1, or another wrapper");
  else if (factor && s->network.branch.type != BRANCH_NONE)
    (void)snprintf(buffer, size,
                   "multiplies by the condition itself, and network.branch.type %s makes features of it; allowed: "
                   "branch none, or another wrapper",
                   BRANCH_NAMES[s->network.branch.type].name);
  if (buffer[0]) return buffer;
  if (type == NETWORK_TRANSFORMER) tokens_refusal(s, key, buffer, size);
  if (buffer[0]) return buffer;
  if (s->network.branch.type == BRANCH_TRANSFORMER) branch_transformer_refusal(s, key, buffer, size);
  if (buffer[0]) return buffer;
  *key = "network.activation";
  if (gate && s->variant == VARIANT_SUPERVISED)
    (void)snprintf(buffer, size, "has no kernels for variant supervised; allowed: activations of single features");
  else if (gate && (s->loss.condition_dropout > 0 || s->sample.guidance != 1))
    (void)snprintf(
        buffer, size,
        "has no kernels that leave a condition out; allowed: loss.condition_dropout 0 and sample.guidance 1, or "
        "activations of single features");
  else if (icnn && !is_convex(s->network.activation))
    (void)snprintf(buffer, size,
                   "is not both convex and increasing, as network.type icnn needs it; allowed: softplus, relu, "
                   "leaky_relu, elu, linear");
  if (buffer[0]) return buffer;
  const char *const list = custom_refusal(s, key, buffer, size);
  if (list) return list;
  *key = "latent.embedding";
  if (network_is_field(s) && settings_mixes_classes(s) && (type != NETWORK_CUSTOM || wrapper != WRAPPER_NONE))
    (void)snprintf(
        buffer, size,
        "has no kernels for network.type %s with network.wrapper %s; allowed: one_hot, or mlp, resnet and custom "
        "with wrapper none",
        NETWORK_NAMES[type].name, WRAPPER_NAMES[wrapper].name);
  if (buffer[0]) return buffer;
  *key = "network.type";
  if ((icnn || type == NETWORK_CONVEX) && s->variant == VARIANT_DT)
    (void)snprintf(buffer, size, "has no kernels for variant dt; allowed: mlp, resnet, bilinear");
  if (buffer[0]) return buffer;
  *key = "network.batch_norm";
  if (s->network.batch_norm != BATCH_NORM_NONE && type != NETWORK_MLP && type != NETWORK_BILINEAR)
    (void)snprintf(buffer, size, "is for network.type mlp and bilinear, and this is %s; allowed: none%s",
                   NETWORK_NAMES[type].name,
                   type == NETWORK_CUSTOM ? ", or layers {type: batch_norm} in network.layers" : "");
  else if (s->network.batch_norm != BATCH_NORM_NONE && (s->variant == VARIANT_SUPERVISED || s->variant == VARIANT_DT))
    (void)snprintf(buffer, size, "has no kernels for variant %s; allowed: none, or variants fm, df and ct",
                   VARIANT_NAMES[s->variant].name);
  else if (s->network.batch_norm != BATCH_NORM_NONE && (s->loss.condition_dropout > 0 || s->sample.guidance != 1))
    (void)snprintf(buffer, size,
                   "has no kernels that leave a condition out; allowed: none, or loss.condition_dropout 0 and "
                   "sample.guidance 1");
  if (buffer[0]) return buffer;
  *key = "network.layer_norm";
  if (s->network.layer_norm && (type != NETWORK_RESNET || s->variant == VARIANT_SUPERVISED))
    (void)snprintf(buffer, size,
                   "belongs to the stream of network.type resnet; allowed: false, or network.type resnet");
  if (buffer[0]) return buffer;
  const bool residual = s->network.branch.type == BRANCH_RESNET;
  *key = "network.branch.blocks";
  if (residual && s->network.branch.block_count != 1 &&
      s->network.branch.block_count != s->network.branch.channel_count)
    (void)snprintf(buffer, size,
                   "has %d entries and network.branch.channels %d; allowed: one entry for each, or one for all",
                   s->network.branch.block_count, s->network.branch.channel_count);
  else if (!residual && (s->network.branch.block_count != 1 || s->network.branch.blocks[0] != 1))
    (void)snprintf(buffer, size, "is for network.branch.type resnet; this is %s, where [1] is allowed",
                   BRANCH_NAMES[s->network.branch.type].name);
  if (buffer[0]) return buffer;
  *key = "network.branch.groups";
  if (!residual && s->network.branch.groups != 8)
    (void)snprintf(buffer, size, "is for network.branch.type resnet; this is %s, where 8 is allowed",
                   BRANCH_NAMES[s->network.branch.type].name);
  for (int i = 0; residual && i < s->network.branch.channel_count && !buffer[0]; ++i)
    if (s->network.branch.channels[i] % s->network.branch.groups != 0)
      (void)snprintf(buffer, size,
                     "does not divide %d of network.branch.channels into equal groups; allowed: a divisor of all",
                     s->network.branch.channels[i]);
  if (buffer[0]) return buffer;
  *key = "network.branch.downsample";
  if (!residual && s->network.branch.downsample != DOWNSAMPLE_POOL)
    (void)snprintf(buffer, size, "is for network.branch.type resnet; this is %s, where pool is allowed",
                   BRANCH_NAMES[s->network.branch.type].name);
  for (int i = 1; s->network.branch.downsample == DOWNSAMPLE_STRIDE && i < s->network.branch.channel_count; ++i)
    if (s->network.branch.blocks[s->network.branch.block_count == 1 ? 0 : i] == 0 && !buffer[0])
      (void)snprintf(buffer, size,
                     "halves images in the first block of an entry, and network.branch.blocks has none for entry %d of "
                     "network.branch.channels; allowed: pool, or at least one block for every entry but the first",
                     i + 1);
  if (buffer[0]) return buffer;
  *key = s->data.augment.shift > 0 ? "data.augment.shift" : "data.augment.flip";
  if ((s->data.augment.shift > 0 || s->data.augment.flip) && s->network.branch.type != BRANCH_CNN && !residual)
    (void)snprintf(buffer, size,
                   "is of images that go through a branch, and network.branch.type is %s; allowed: %s, or "
                   "network.branch.type cnn or resnet",
                   BRANCH_NAMES[s->network.branch.type].name, s->data.augment.shift > 0 ? "0" : "false");
  if (buffer[0]) return buffer;
  const bool encoder = activation_is_gate(s->encoder.activation);
  *key = encoder ? "encoder.activation" : "decoder.activation";
  if (encoder || activation_is_gate(s->decoder.activation))
    (void)snprintf(buffer, size, "is for network.activation; allowed: activations of single features");
  return buffer[0] ? buffer : NULL;
}
