/* The choice of a model's arithmetic. */
#include "engine/precision.h"

#include <stdio.h>

#include "engine/status.h"
#include "kernels/arguments.h"

enum { WIDEST = 128 /* whose rows fit the registers */ };

const char *precision_refusal(const struct network *network, const struct settings *settings,
                              const int compute_capability[2], int precision) {
  static _Thread_local char text[160];
  (void)precision;
  if (settings->variant == VARIANT_DT) return "has no kernels for variant dt";
  if (settings->schedule.learnable) return "has no gradients of a learnable schedule";
  if (network->encoder_count + network->decoder_count > 0 || settings->decoder.output != DECODER_OUTPUT_NONE)
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
  if (compute_capability[0] < 8) {
    snprintf(text, sizeof text, "needs compute capability 8.0 or later, and this device has %d.%d",
             compute_capability[0], compute_capability[1]);
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

noprop_status precision_resolve(const noprop_device *device, struct network *network, struct settings *settings,
                                char *reason, size_t reason_size) {
  const int asked = settings->precision, *capability = device->properties.compute_capability;
  const int wanted = asked == PRECISION_AUTO ? PRECISION_TF32 : asked;
  const char *refusal = wanted == PRECISION_FP32 ? NULL : precision_refusal(network, settings, capability, wanted);
  if (asked != PRECISION_AUTO) {
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
  network_place_fragments(network, settings->precision == PRECISION_TF32   ? OPERANDS_TF32
                                   : settings->precision == PRECISION_BF16 ? OPERANDS_BF16
                                                                           : -1);
  return NOPROP_OK;
}
