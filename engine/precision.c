/* The choice of a model's arithmetic. */
#include "engine/precision.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/network_field.h"
#include "engine/status.h"
#include "kernels/arguments.h"

enum { WIDEST = 256, /* whose rows fit the registers of four warps */ STATE_MOST = 64 /* which each warp has whole */ };

static const char *needs_tensor_cores(const int compute_capability[2]) {
  static _Thread_local char text[96];
  if (compute_capability[0] >= 8) return NULL;
  snprintf(text, sizeof text, "needs compute capability 8.0 or later, and this device has %d.%d", compute_capability[0],
           compute_capability[1]);
  return text;
}

/* Of a branch's convolutions, which are all that tensor cores do where there is one. */
static const char *branch_refusal(const struct network *network, const int compute_capability[2], int precision) {
  static _Thread_local char text[96];
  if (network->branch_type == BRANCH_TRANSFORMER || precision == PRECISION_TF32X3) {
    snprintf(text, sizeof text, "has no kernels for network.branch.type %s", BRANCH_NAMES[network->branch_type].name);
    return text;
  }
  if (network->branch_count < 2)
    return "has nothing to do in a network.branch of one layer: the first convolution is always fp32";
  return needs_tensor_cores(compute_capability);
}

const char *precision_refusal(const struct network *network, const struct settings *settings,
                              const int compute_capability[2], int precision) {
  static _Thread_local char text[160];
  if (network->branch_count > 0) return branch_refusal(network, compute_capability, precision);
  if (settings->variant == VARIANT_DT) return "has no kernels for variant dt";
  if (settings->network.batch_norm != BATCH_NORM_NONE) return "has no kernels for network.batch_norm";
  if (network->tokens.tokens > 0) return "has no kernels for network.type transformer";
  if (network->field) {
    snprintf(text, sizeof text, "has no kernels for network.type %s with network.wrapper %s",
             NETWORK_NAMES[settings->network.type].name, WRAPPER_NAMES[settings->network.wrapper].name);
    return text;
  }
  if (settings->schedule.learnable) return "has no gradients of a learnable schedule";
  if (network->encoder_count + network->decoder_count + network->images.encoder_count > 0 ||
      settings->decoder.output != DECODER_OUTPUT_NONE)
    return "has no kernels for encoders and decoders";
  if (settings->loss.vae > 0 || settings->loss.kl_z0 > 0) return "has no kernels for loss.vae and loss.kl_z0";
  if (settings->loss.recon.weight > 0 && settings->loss.recon.type > RECON_NONE)
    return "has no kernels for this loss.recon.type";
  if (settings->loss.path != PATH_AUTO || settings->loss.scale != LOSS_SCALE_MEAN ||
      settings->loss.weight == WEIGHT_NOTEBOOK || settings->loss.normalize == NORMALIZE_PRODUCT ||
      settings->loss.error == LOSS_ERROR_SOFTMAX_SQUARED || settings->prediction == PREDICTION_STATE ||
      settings->loss.reg_drift == DRIFT_OUTPUT)
    return "has no kernels for forms of earlier systems (loss.path, loss.scale, loss.weight notebook, loss.normalize "
           "product, loss.error softmax_squared, prediction state, loss.reg_drift output)";
  if (settings->loss.condition_dropout > 0) return "has no kernels for loss.condition_dropout";
  const char *refusal = needs_tensor_cores(compute_capability);
  if (refusal || network->layered) return refusal;
  if (network->latent > STATE_MOST) {
    snprintf(text, sizeof text, "keeps the state in registers and takes latents up to %d numbers, and this one has %d",
             (int)STATE_MOST, network->latent);
    return text;
  }
  for (int i = 0; i < network->op_count; ++i) {
    if (network->ops[i].width <= WIDEST) continue;
    snprintf(text, sizeof text,
             "keeps rows in registers and takes layers up to %d wide, and this network has one of %d", (int)WIDEST,
             network->ops[i].width);
    return text;
  }
  return NULL;
}

/* How many times as fast as multiply-adds three tf32 products are, as counted for a solve in docs/three_tf32.md; GPUs
 * of other compute capabilities have tensor cores that are hardly faster in tf32 than their fp32 units, or none. */
static const struct {
  int major, minor;
  double gain;
} THREE_PRODUCTS[] = {{8, 0, 2.7}, {9, 0, 3.6}, {10, 0, 4.0}};

/* The gain of three products on this device, 0 where they do not pay. */
static double three_products_gain(const noprop_device *device) {
  const int *capability = device->properties.compute_capability;
  if (device->properties.is_virtual) return 0;
  for (size_t i = 0; i < sizeof THREE_PRODUCTS / sizeof *THREE_PRODUCTS; ++i)
    if (THREE_PRODUCTS[i].major == capability[0] && THREE_PRODUCTS[i].minor == capability[1])
      return THREE_PRODUCTS[i].gain;
  return 0;
}

/* Which kernels fp32 stands for. */
static noprop_status resolve_fp32(const noprop_device *device, const struct network *network, struct settings *settings,
                                  char *reason, size_t reason_size) {
  const char *forced = getenv("NOPROP_FP32");
  const bool is_forced = forced && forced[0], three = is_forced && strcmp(forced, "tf32x3") == 0;
  if (is_forced && !three && strcmp(forced, "fma") != 0)
    return status_set(NOPROP_INVALID_ARGUMENT, "NOPROP_FP32 must be fma or tf32x3, not '%.40s'", forced);
  const double gain = three_products_gain(device);
  snprintf(reason, reason_size, "as the configuration says");
  if (is_forced ? !three : gain == 0) return NOPROP_OK;
  const char *refusal = precision_refusal(network, settings, device->properties.compute_capability, PRECISION_TF32X3);
  if (refusal) {
    snprintf(reason, reason_size, "as the configuration says; tf32x3, which is as exact and here faster, %s", refusal);
    return NOPROP_OK;
  }
  settings->precision = PRECISION_TF32X3;
  if (is_forced)
    snprintf(reason, reason_size, "fp32, as NOPROP_FP32 says");
  else
    snprintf(reason, reason_size,
             "fp32, in kernels as exact and %.1f times as fast by count on compute capability %d.%d", gain,
             device->properties.compute_capability[0], device->properties.compute_capability[1]);
  return NOPROP_OK;
}

static int fragments_of(int precision) {
  switch (precision) {
    case PRECISION_TF32:
      return OPERANDS_TF32;
    case PRECISION_BF16:
      return OPERANDS_BF16;
    case PRECISION_TF32X3:
      return OPERANDS_TF32X3;
    default:
      return -1;
  }
}

noprop_status precision_resolve(const noprop_device *device, struct network *network, struct settings *settings,
                                char *reason, size_t reason_size) {
  const int asked = settings->precision, *capability = device->properties.compute_capability;
  const int wanted = asked == PRECISION_AUTO ? PRECISION_TF32 : asked;
  const char *refusal = wanted == PRECISION_FP32 ? NULL : precision_refusal(network, settings, capability, wanted);
  if (asked == PRECISION_FP32) {
    const noprop_status status = resolve_fp32(device, network, settings, reason, reason_size);
    if (status != NOPROP_OK) return status;
  } else if (asked != PRECISION_AUTO) {
    if (refusal)
      return status_set(NOPROP_UNSUPPORTED, "precision: %s %s; fp32 takes it", PRECISION_NAMES[asked].name, refusal);
    snprintf(reason, reason_size, "as the configuration says");
  } else if (refusal) {
    settings->precision = PRECISION_FP32;
    snprintf(reason, reason_size, "auto, since tf32 %s", refusal);
  } else if (device->properties.is_virtual) {
    settings->precision = PRECISION_FP32;
    snprintf(reason, reason_size, "auto, since the virtual GPU is as fast in it and nearer to the truth");
  } else {
    settings->precision = PRECISION_TF32;
    snprintf(reason, reason_size, "auto, since this device has tensor cores");
  }
  const int form = fragments_of(settings->precision);
  network_place_fragments(network, network->branch_count > 0 ? -1 : form);
  if (network->branch_count > 0 && form >= 0) {
    network->branch_form = form;
    const size_t used = strlen(reason);
    snprintf(reason + used, reason_size - used,
             "; convolutions behind the first are done in it, all else of this network in fp32");
  }
  return NOPROP_OK;
}
