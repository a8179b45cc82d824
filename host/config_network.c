/* Which networks, wrappers and activations go together. */
#include <stdio.h>

#include "host/config.h"

/* Whether an activation's second derivative is zero everywhere, so that a chain of layers has no second derivative. */
static bool is_flat(int activation) {
  return activation == ACTIVATION_LINEAR || activation == ACTIVATION_RELU || activation == ACTIVATION_LEAKY_RELU;
}

const char *config_network_refusal(const struct settings *s, const char **key, char *buffer, size_t size) {
  const int type = s->network.type, wrapper = s->network.wrapper;
  const bool factor = wrapper == WRAPPER_NATURAL || wrapper == WRAPPER_GEOMETRIC;
  const bool chain = type == NETWORK_MLP || type == NETWORK_RESNET;
  buffer[0] = '\0';
  *key = "network.wrapper";
  if (wrapper != WRAPPER_NONE && s->variant == VARIANT_SUPERVISED)
    (void)snprintf(buffer, size,
                   "makes a field of a network of the state, and variant supervised has no state; allowed: none");
  else if (wrapper == WRAPPER_GEOMETRIC && chain && is_flat(s->network.activation))
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
  return buffer[0] ? buffer : NULL;
}
