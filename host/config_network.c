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

const char *config_network_refusal(const struct settings *s, const char **key, char *buffer, size_t size) {
  const int type = s->network.type, wrapper = s->network.wrapper;
  const bool factor = wrapper == WRAPPER_NATURAL || wrapper == WRAPPER_GEOMETRIC;
  const bool gate = activation_is_gate(s->network.activation), icnn = type == NETWORK_ICNN;
  buffer[0] = '\0';
  *key = "network.wrapper";
  if (wrapper != WRAPPER_NONE && s->variant == VARIANT_SUPERVISED)
    (void)snprintf(buffer, size,
                   "makes a field of a network of the state, and variant supervised has no state; allowed: none");
  else if (wrapper == WRAPPER_GEOMETRIC && type != NETWORK_BILINEAR && is_flat(s->network.activation))
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
  *key = "latent.embedding";
  if (network_is_field(s) && settings_mixes_classes(s))
    (void)snprintf(
        buffer, size,
        "has no kernels for network.type %s with network.wrapper %s; allowed: one_hot, or mlp and resnet with "
        "wrapper none",
        NETWORK_NAMES[type].name, WRAPPER_NAMES[wrapper].name);
  if (buffer[0]) return buffer;
  *key = "network.type";
  if ((icnn || type == NETWORK_CONVEX) && s->variant == VARIANT_DT)
    (void)snprintf(buffer, size, "has no kernels for variant dt; allowed: mlp, resnet, bilinear");
  if (buffer[0]) return buffer;
  *key = "network.layer_norm";
  if (s->network.layer_norm && (type != NETWORK_RESNET || s->variant == VARIANT_SUPERVISED))
    (void)snprintf(buffer, size,
                   "belongs to the stream of network.type resnet; allowed: false, or network.type resnet");
  if (buffer[0]) return buffer;
  const bool encoder = activation_is_gate(s->encoder.activation);
  *key = encoder ? "encoder.activation" : "decoder.activation";
  if (encoder || activation_is_gate(s->decoder.activation))
    (void)snprintf(buffer, size, "is for network.activation; allowed: activations of single features");
  return buffer[0] ? buffer : NULL;
}
