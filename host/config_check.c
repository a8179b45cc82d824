/* From a configuration to settings that the engine can use: preset applied, autos resolved, combinations checked. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/objective.h"
#include "engine/status.h"
#include "host/config.h"

/* ---- combinations ------------------------------------------------------------------------------------------------ */

/* "FILE:LINE: KEY: VALUE " and the sentence. */
__attribute__((format(printf, 4, 5))) static noprop_status refuse(const noprop_config *config,
                                                                  const struct settings *settings, const char *key,
                                                                  const char *format, ...) {
  char sentence[400], value[256];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(sentence, sizeof sentence, format, arguments);
  va_end(arguments);
  const int index = config_key_find(key);
  config_format(settings, index, value, sizeof value);
  status_set(NOPROP_INVALID_CONFIG, "%s: %s %s", key, value, sentence);
  const char *origin = config->origin[index];
  if (origin == NULL || origin[0] == '\0') return NOPROP_INVALID_CONFIG;
  return status_prefix(NOPROP_INVALID_CONFIG, "%s", origin);
}

static noprop_status check_schedule(const noprop_config *config, const struct settings *s) {
  const bool linear_path = s->variant == VARIANT_FM;
  if (s->schedule.type == SCHEDULE_TABULATED) {
    const double(*table)[2] = (const double(*)[2])s->schedule.table;
    const int last = s->schedule.table_count - 1;
    if (last < 1 || table[0][0] != 0 || table[last][0] != 1)
      return refuse(config, s, "schedule.table",
                    "does not reach from t = 0 to t = 1, and schedule.type tabulated needs that; allowed: 2 to 64 "
                    "pairs [t, gamma], the first t 0, the last 1");
    for (int i = 0; i < last; i++)
      if (!(table[i + 1][0] > table[i][0] && table[i + 1][1] > table[i][1]))
        return refuse(config, s, "schedule.table",
                      "does not increase from pair %d [%g, %g] to [%g, %g]; allowed: t and gamma that both increase",
                      i + 1, table[i][0], table[i][1], table[i + 1][0], table[i + 1][1]);
  } else if (s->schedule.table_count > 0) {
    return refuse(config, s, "schedule.table", "is for schedule.type tabulated; this is %s, where [] is allowed",
                  SCHEDULE_NAMES[s->schedule.type].name);
  }
  if (s->schedule.type == SCHEDULE_NETWORK && s->schedule.hidden_count > 4)
    return refuse(config, s, "schedule.hidden", "has %d layers; allowed: 1 to 4 widths from 1 to 128",
                  s->schedule.hidden_count);
  if (s->schedule.learn_endpoints && !s->schedule.learnable)
    return refuse(
        config, s, "schedule.learn_endpoints",
        "trains end points beside a schedule's other numbers, and schedule.learnable is false; allowed: false, "
        "or learnable true");
  if (s->schedule.learn_endpoints &&
      (s->loss.weight != WEIGHT_ELBO || s->loss.vae == 0 || s->loss.kl_z0 == 0 || s->loss.kl_form != KL_EXACT))
    return refuse(
        config, s, "schedule.learn_endpoints",
        "needs what holds end points where they belong: the exact KL divergence of z(0), the reconstruction at t = 1 "
        "and the bound's weight between them, without which the loss falls by moving them instead of learning (P-18); "
        "allowed: false, or loss.kl_z0 and loss.vae above 0, loss.kl_form exact and loss.weight elbo");
  if (s->schedule.learnable) {
    const char *type = SCHEDULE_NAMES[s->schedule.type].name;
    if (linear_path || s->variant == VARIANT_SUPERVISED)
      return refuse(config, s, "schedule.learnable",
                    "needs the VP path, and variant %s has no schedule; allowed: variant df or ct, or false",
                    VARIANT_NAMES[s->variant].name);
    switch (s->schedule.type) {
      case SCHEDULE_LINEAR:
      case SCHEDULE_QUADRATIC:
      case SCHEDULE_SINE:
      case SCHEDULE_TABULATED:
        return refuse(config, s, "schedule.learnable",
                      "needs a schedule with numbers that shape it, and %s has none; allowed: cosine, sigmoid, "
                      "exponential, cauchy, laplace, polynomial, network",
                      type);
      default:
        break;
    }
    if (!s->schedule.renormalise)
      return refuse(
          config, s, "schedule.learnable",
          "needs end points that stay where they are, and schedule.renormalise is false; allowed: true there");
    if ((s->schedule.type == SCHEDULE_COSINE && s->schedule.s == 0) ||
        (s->schedule.type == SCHEDULE_POLYNOMIAL && s->schedule.power == 1))
      return refuse(config, s, "schedule.learnable",
                    "cannot start from schedule.%s, the end of its range; allowed: a larger value of it",
                    s->schedule.type == SCHEDULE_COSINE ? "s 0" : "power 1");
    if (s->loss.normalize != NORMALIZE_NONE)
      return refuse(config, s, "schedule.learnable",
                    "goes with loss.normalize none only: the mean weight would change with the schedule, and this is "
                    "%s; allowed: false, or normalize none",
                    NORMALIZE_NAMES[s->loss.normalize].name);
    if (s->prediction == PREDICTION_STATE || s->loss.error == LOSS_ERROR_SOFTMAX_SQUARED)
      return refuse(config, s, "schedule.learnable",
                    "has no gradients of earlier systems' forms (prediction %s, loss.error %s); allowed: false, or "
                    "prediction target, noise, velocity or v, and loss.error squared or cross_entropy",
                    PREDICTION_NAMES[s->prediction].name, LOSS_ERROR_NAMES[s->loss.error].name);
    if (precision_is_tensor(s->precision))
      return refuse(config, s, "schedule.learnable",
                    "has kernels in precision fp32 only, and this is %s; allowed: false, or precision fp32 or auto",
                    PRECISION_NAMES[s->precision].name);
  }
  /* A distribution function that does not rise between 0 and 1 cannot be scaled to do so. */
  const double start = (0 - s->schedule.loc) / s->schedule.scale, end = (1 - s->schedule.loc) / s->schedule.scale;
  const bool flat = (s->schedule.type == SCHEDULE_LAPLACE && (start > 60 || end < -60)) ||
                    (s->schedule.type == SCHEDULE_CAUCHY && (fabs(start) > 1e12 || fabs(end) > 1e12)) ||
                    (s->schedule.type == SCHEDULE_SIGMOID &&
                     (-s->schedule.k * s->schedule.t_mid > 60 || s->schedule.k * (1 - s->schedule.t_mid) < -60));
  if (s->schedule.renormalise && flat)
    return refuse(config, s, s->schedule.type == SCHEDULE_SIGMOID ? "schedule.t_mid" : "schedule.loc",
                  "leaves nothing of the %s schedule between t = 0 and t = 1; allowed: a middle nearer to them, or "
                  "%s",
                  SCHEDULE_NAMES[s->schedule.type].name,
                  s->schedule.type == SCHEDULE_SIGMOID ? "a smaller schedule.k" : "a larger schedule.scale");
  return NOPROP_OK;
}

static noprop_status check_roles(const noprop_config *config, const struct settings *s) {
  const bool no_condition = strcmp(s->data.condition, "null") == 0;
  if (no_condition && s->task != TASK_GENERATE)
    return refuse(config, s, "data.condition", "is not allowed with task %s; allowed: the name of an array",
                  TASK_NAMES[s->task].name);
  if (!no_condition && strcmp(s->data.condition, s->data.target) == 0)
    return refuse(config, s, "data.condition", "is the target as well; allowed: another array, or null for none");
  return NOPROP_OK;
}

/* Presets, and forms of earlier systems. */
static noprop_status check_historic(const noprop_config *config, const struct settings *s) {
  const char *key;
  char sentence[400];
  if (config_historic_refusal(s, &key, sentence, sizeof sentence) == NULL) return NOPROP_OK;
  return refuse(config, s, key, "%s", sentence);
}

static noprop_status check_loss(const noprop_config *config, const struct settings *s) {
  const bool linear_path = s->variant == VARIANT_FM;
  if (s->loss.error != LOSS_ERROR_SQUARED && s->task != TASK_CLASSIFY)
    return refuse(config, s, "loss.error", "is not allowed with task %s; allowed: squared, or task classify",
                  TASK_NAMES[s->task].name);
  if (s->loss.error != LOSS_ERROR_SQUARED && s->prediction != PREDICTION_TARGET)
    return refuse(config, s, "loss.error",
                  "is not allowed where the network predicts %s; allowed: squared, or prediction target (variant ct)",
                  PREDICTION_NAMES[s->prediction].name);
  const bool logits = s->loss.error != LOSS_ERROR_SQUARED && !settings_mixes_classes(s);
  if (logits && ((s->loss.recon.weight > 0 && s->loss.recon.type == RECON_MSE) || s->loss.reg > 0))
    return refuse(config, s, s->loss.reg > 0 ? "loss.reg" : "loss.recon.weight",
                  "is of a predicted target, and with loss.error %s the network gives logits; allowed: 0.0, or "
                  "loss.error squared",
                  LOSS_ERROR_NAMES[s->loss.error].name);
  const char *key;
  char sentence[400];
  if (objective_refusal(s, &key, sentence, sizeof sentence) != NULL) return refuse(config, s, key, "%s", sentence);
  if (s->loss.condition_dropout > 0 && strcmp(s->data.condition, "null") == 0)
    return refuse(config, s, "loss.condition_dropout",
                  "leaves out the condition of rows, and this model has none; allowed: 0.0, or data.condition the name "
                  "of an array");
  if (s->loss.condition_dropout > 0 && precision_is_tensor(s->precision))
    return refuse(config, s, "loss.condition_dropout",
                  "has no kernel for precision %s; allowed: 0.0, or precision fp32 or auto",
                  PRECISION_NAMES[s->precision].name);
  if (s->loss.reg_drift == DRIFT_SDE)
    return refuse(config, s, "loss.reg_drift", "has noise, which is not regularised; allowed: ode, ou_mean, output");
  if (s->loss.reg_drift == DRIFT_OU_MEAN && linear_path)
    return refuse(config, s, "loss.reg_drift",
                  "is a drift of the VP path, and fm takes the linear one; allowed: ode, "
                  "or variant df or ct");
  return NOPROP_OK;
}

/* Survey P-17: a trainable encoder whose latent has no noise of its own, and nothing that asks the latent to hold the
 * target, maps everything to one point; the main term is then 0 and nothing has been learned. */
static noprop_status check_coders(const noprop_config *config, const struct settings *s) {
  const bool encodes = s->encoder.type != CODER_IDENTITY;
  const bool decodes =
      s->decoder.type != CODER_IDENTITY || (s->decoder.output != DECODER_OUTPUT_NONE && !settings_mixes_classes(s));
  const bool trained = s->decoder.type != CODER_IDENTITY || s->decoder.output == DECODER_OUTPUT_LINEAR;
  const bool asked = s->loss.recon.weight > 0 || s->loss.vae > 0;
  const char *const decoder = s->decoder.type != CODER_IDENTITY ? "decoder.type" : "decoder.output";
  if (s->variant == VARIANT_SUPERVISED && (encodes || decodes))
    return refuse(
        config, s, encodes ? "encoder.type" : decoder,
        "stands around a latent, and variant supervised has none; allowed: identity, with decoder.output none");
  if (s->variant == VARIANT_SUPERVISED && (s->loss.vae > 0 || s->loss.kl_z0 > 0))
    return refuse(config, s, s->loss.vae > 0 ? "loss.vae" : "loss.kl_z0",
                  "is a term of a latent, and variant supervised has none; allowed: 0.0");
  if (encodes && !asked)
    return refuse(config, s, "encoder.type",
                  "is trained to make its own latent easy to predict, and without a term that asks the latent to hold "
                  "the target it collapses to a constant: the loss would reach 0 with nothing learned (P-17); allowed: "
                  "loss.vae or loss.recon.weight above 0, or encoder.type identity");
  if (trained && !asked)
    return refuse(config, s, decoder,
                  "would never be trained with loss.recon.weight 0 and loss.vae 0; allowed: one of them above 0, or "
                  "decoder.type identity with decoder.output none or softmax");
  if (s->loss.error != LOSS_ERROR_SQUARED && (encodes || decodes))
    return refuse(config, s, "loss.error",
                  "takes the network's output as logits of a one-hot latent, and there is %s; allowed: squared, with "
                  "loss.recon.type cross_entropy from the decoder's logits",
                  encodes ? "an encoder" : "a decoder");
  if (s->loss.recon.type == RECON_CROSS_ENTROPY && s->task != TASK_CLASSIFY)
    return refuse(config, s, "loss.recon.type",
                  "needs labels, and task %s has none; allowed: mse, none, or task classify", TASK_NAMES[s->task].name);
  if (s->loss.recon.type == RECON_LOG && s->decoder.output != DECODER_OUTPUT_SOFTMAX)
    return refuse(
        config, s, "loss.recon.type",
        "takes the logarithm of what the decoder makes, which is not positive (P-11); allowed: cross_entropy, "
        "mse, or decoder.output softmax");
  if (s->decoder.output == DECODER_OUTPUT_SOFTMAX && s->task != TASK_CLASSIFY && s->loss.recon.type != RECON_LOG)
    return refuse(config, s, "decoder.output",
                  "makes probabilities of classes, and task %s has none; allowed: none, linear",
                  TASK_NAMES[s->task].name);
  if (s->loss.kl_z0 > 0 && s->variant == VARIANT_FM)
    return refuse(config, s, "loss.kl_z0",
                  "is always 0 on the linear path, whose z(0) is pure noise; allowed: 0.0, or variant df or ct");
  /* Where the decoder is given the predicted target, whose form depends on the schedule at t. */
  if (s->schedule.learnable && s->loss.recon.weight > 0 && (encodes || decodes || s->loss.recon.type != RECON_MSE))
    return refuse(config, s, "schedule.learnable",
                  "has no gradients through a decoded reconstruction (loss.recon.type %s, decoder.type %s); allowed: "
                  "false, loss.recon.weight 0 with loss.vae instead, or encoder and decoder identity with type mse",
                  RECON_NAMES[s->loss.recon.type].name, DECODER_NAMES[s->decoder.type].name);
  const bool other = encodes || decodes || s->loss.vae > 0 || s->loss.kl_z0 > 0 ||
                     (s->loss.recon.weight > 0 && s->loss.recon.type != RECON_MSE);
  if (other && s->precision != PRECISION_FP32 && s->precision != PRECISION_AUTO)
    return refuse(
        config, s, "precision",
        "has no kernels for encoders, decoders, loss.vae, loss.kl_z0 or loss.recon.type %s; allowed: auto, fp32",
        RECON_NAMES[s->loss.recon.type].name);
  return NOPROP_OK;
}

/* Encoders and decoders of images: both or none, and the terms that have kernels there. */
static noprop_status check_image_coders(const noprop_config *config, const struct settings *s) {
  const bool encodes = s->encoder.type == CODER_CONV, decodes = s->decoder.type == CODER_CONV;
  if (s->latent.noise > 0 && !decodes)
    return refuse(config, s, "latent.noise", "is of decoder.type conv, and decoder.type is %s; allowed: 0.0",
                  DECODER_NAMES[s->decoder.type].name);
  if (encodes != decodes)
    return refuse(config, s, encodes ? "encoder.type" : "decoder.type",
                  "makes latents on a sphere together with its counterpart, and %s is %s; allowed: conv for both",
                  encodes ? "decoder.type" : "encoder.type",
                  encodes ? DECODER_NAMES[s->decoder.type].name : ENCODER_NAMES[s->encoder.type].name);
  if (!encodes) return NOPROP_OK;
  if (s->task == TASK_CLASSIFY)
    return refuse(config, s, "encoder.type", "is of images, and task classify has labels; allowed: generate, regress");
  if (s->latent.size == 0)
    return refuse(config, s, "latent.size",
                  "would be the image's width, and encoder.type conv needs a smaller latent; allowed: a multiple of 8");
  if (s->decoder.output != DECODER_OUTPUT_NONE)
    return refuse(config, s, "decoder.output", "has no kernel behind decoder.type conv; allowed: auto, none");
  if (!(s->loss.vae > 0))
    return refuse(config, s, "loss.vae",
                  "weighs the squared error of decoded images, and encoder.type conv is trained by it alone; allowed: "
                  "above 0");
  if (s->loss.recon.weight > 0)
    return refuse(config, s, "loss.recon.weight",
                  "has no gradients through decoder.type conv; allowed: 0.0, with loss.vae instead");
  if (s->loss.kl_z0 > 0)
    return refuse(config, s, "loss.kl_z0",
                  "keeps latents small, and those of encoder.type conv lie on a sphere; "
                  "allowed: 0.0");
  if (s->network.branch.type != BRANCH_NONE)
    return refuse(config, s, "network.branch.type", "has no kernels together with encoder.type conv; allowed: none");
  if (s->schedule.learnable)
    return refuse(config, s, "schedule.learnable", "has no kernels with encoder.type conv; allowed: false");
  return NOPROP_OK;
}

static noprop_status check_network(const noprop_config *config, const struct settings *s) {
  const int size = s->network.time_embedding.size;
  const char *key;
  char sentence[400];
  if (config_network_refusal(s, &key, sentence, sizeof sentence) != NULL) return refuse(config, s, key, "%s", sentence);
  switch (s->network.time_embedding.type) {
    case TIME_EMBEDDING_HARMONIC:
    case TIME_EMBEDDING_SINUSOIDAL:
    case TIME_EMBEDDING_FOURIER:
    case TIME_EMBEDDING_CYCLICAL_FOURIER:
      if (size % 2 != 0)
        return refuse(config, s, "network.time_embedding.size",
                      "is odd, and %s makes pairs of sine and cosine; allowed: "
                      "even numbers from 2 to 1024",
                      TIME_EMBEDDING_NAMES[s->network.time_embedding.type].name);
      break;
    case TIME_EMBEDDING_LINEAR:
      if (s->network.time_embedding.as_written && size > 64)
        return refuse(config, s, "network.time_embedding.size",
                      "is too much: as written, linear makes size x size "
                      "features; allowed: 1 to 64");
      break;
    default:
      break;
  }
  return NOPROP_OK;
}

/* Keys that belong to a path from noise to target, of which the ordinary twin has none. */
static const char *const PATH_KEYS[] = {"prediction",     "schedule.type",   "schedule.alpha_bar",  "loss.weight",
                                        "loss.normalize", "loss.t_sampling", "loss.draws",          "loss.recon.weight",
                                        "loss.reg",       "sample.method",   "sample.grid",         "sample.init",
                                        "sample.drift",   "sample.steps",    "sample.final_denoise"};

static noprop_status check_supervised(const noprop_config *config, const struct settings *s) {
  if (s->variant != VARIANT_SUPERVISED) return NOPROP_OK;
  if (s->task == TASK_GENERATE)
    return refuse(config, s, "variant",
                  "maps a condition to its target and cannot generate; allowed with task generate: fm, df, ct");
  if (s->preset != PRESET_NONE)
    return refuse(config, s, "preset", "is an earlier system's path, and variant supervised has none; allowed: none");
  return NOPROP_OK;
}

/* The prediction of the target, once, with weight 1. */
static void resolve_supervised(struct settings *s) {
  s->prediction = PREDICTION_TARGET;
  s->loss.weight = WEIGHT_UNIFORM;
  s->loss.normalize = NORMALIZE_NONE;
  s->loss.t_sampling = T_SAMPLING_UNIFORM;
  s->loss.draws = 1;
  s->loss.recon.weight = s->loss.reg = 0;
  s->sample.method = METHOD_AUTO;
  s->sample.grid = GRID_AUTO;
  s->sample.init = INIT_ZERO;
  s->sample.drift = DRIFT_ODE;
  s->sample.final_denoise = 1;
}

/* Keys that variant dt has no use for: its blocks have one time each, and its solve has one form. */
static const char *const CONTINUOUS_KEYS[] = {"loss.normalize",
                                              "loss.t_sampling",
                                              "loss.t_eps",
                                              "sample.grid",
                                              "network.time_embedding.type",
                                              "network.time_embedding.size"};

static noprop_status check_embedding(const noprop_config *config, const struct settings *s) {
  if (s->latent.embedding == EMBEDDING_ONE_HOT) return NOPROP_OK;
  if (s->task != TASK_CLASSIFY)
    return refuse(config, s, "latent.embedding",
                  "is of labels, and task %s has none; allowed: one_hot, which is not used", TASK_NAMES[s->task].name);
  if (s->variant != VARIANT_DT && !settings_mixes_classes(s))
    return refuse(config, s, "latent.embedding",
                  "needs a classifier behind the last state, which variant dt has, or a network of classes, which "
                  "learned makes of variant ct; allowed: one_hot, or variant dt");
  if (s->latent.off_value != 0)
    return refuse(config, s, "latent.off_value", "is of one-hot vectors, and latent.embedding is %s; allowed: 0.0",
                  EMBEDDING_NAMES[s->latent.embedding].name);
  return NOPROP_OK;
}

/* A network of classes, whose prediction is the mixture of their vectors. */
static noprop_status check_mixture(const noprop_config *config, const struct settings *s) {
  if (!settings_mixes_classes(s)) return NOPROP_OK;
  if (s->loss.error != LOSS_ERROR_SOFTMAX_SQUARED)
    return refuse(
        config, s, "latent.embedding",
        "makes the network's output logits of the classes, whose softmax mixes the vectors, and loss.error is "
        "%s; allowed: loss.error softmax_squared, one_hot, or encoder.type linear with one_hot",
        LOSS_ERROR_NAMES[s->loss.error].name);
  if (s->loss.recon.type != RECON_END_LOGITS || s->loss.recon.weight == 0)
    return refuse(config, s, "latent.embedding",
                  "trains vectors that would shrink to one point without a term that tells them apart (P-17); allowed: "
                  "loss.recon.type end_logits with loss.recon.weight above 0, or one_hot");
  if (s->encoder.type != CODER_IDENTITY || s->decoder.type != CODER_IDENTITY)
    return refuse(
        config, s, s->encoder.type != CODER_IDENTITY ? "encoder.type" : "decoder.type",
        "stands around a latent of its own, and latent.embedding learned gives labels their vectors; allowed: "
        "identity");
  if (s->decoder.output != DECODER_OUTPUT_SOFTMAX)
    return refuse(config, s, "decoder.output",
                  "is not what latent.embedding learned gives, the probabilities of classes; allowed: auto, softmax");
  if (s->loss.vae > 0 || s->loss.reg > 0)
    return refuse(config, s, s->loss.vae > 0 ? "loss.vae" : "loss.reg",
                  "is not offered with a mixture of classes (latent.embedding learned in variant ct); allowed: 0.0");
  if (s->sample.guidance != 1)
    return refuse(config, s, "sample.guidance",
                  "moves outputs, and with latent.embedding learned they are probabilities; allowed: 1.0");
  if (s->sample.final_denoise)
    return refuse(
        config, s, "sample.final_denoise",
        "gives a mixture of vectors, and with latent.embedding learned the last state goes through the network "
        "once more for the probabilities of classes; allowed: auto, false");
  return NOPROP_OK;
}

/* Blocks as the notebook has them. */
static noprop_status check_notebook_blocks(const noprop_config *config, const struct settings *s) {
  if (s->task != TASK_CLASSIFY)
    return refuse(config, s, "dt.form",
                  "trains its last block with a classifier, and task %s has none; allowed: bridge",
                  TASK_NAMES[s->task].name);
  if (s->loss.kl_z0 > 0 && s->loss.kl_form != KL_NORM)
    return refuse(config, s, "loss.kl_form",
                  "is of the level that a solve starts from, and dt.form notebook starts at its cleanest level (D-26); "
                  "allowed: norm, or loss.kl_z0 0");
  if (s->sample.drift == DRIFT_SDE)
    return refuse(config, s, "sample.drift",
                  "is the noise of a bridge, and dt.form notebook goes from prediction to prediction; allowed: ode");
  return NOPROP_OK;
}

static noprop_status check_dt(const noprop_config *config, const struct settings *s) {
  const noprop_status status = check_embedding(config, s);
  if (status == NOPROP_OK && s->variant != VARIANT_DT && s->dt.form != DT_FORM_BRIDGE)
    return refuse(config, s, "dt.form", "is of variant dt, and this is %s; allowed: bridge, which is not used",
                  VARIANT_NAMES[s->variant].name);
  if (status != NOPROP_OK || s->variant != VARIANT_DT) return status;
  if (s->preset != PRESET_NONE && s->preset != PRESET_NOTEBOOK)
    return refuse(config, s, "preset",
                  "is of a system without blocks, and this is variant dt; allowed: none, notebook");
  if (s->dt.form == DT_FORM_NOTEBOOK) {
    const noprop_status form = check_notebook_blocks(config, s);
    if (form != NOPROP_OK) return form;
  }
  if (s->prediction != PREDICTION_TARGET)
    return refuse(config, s, "prediction", "is not what the bridge of variant dt is made of; allowed: auto, target");
  if (config->settings.loss.weight != WEIGHT_UNIFORM && config->settings.loss.weight != WEIGHT_ELBO)
    return refuse(
        config, &config->settings, "loss.weight",
        "is a weight over t, and blocks of variant dt have dt.eta/2 (SNR_k - SNR_(k-1)); allowed: elbo, which "
        "says so, and uniform, the default");
  if (s->loss.error != LOSS_ERROR_SQUARED)
    return refuse(config, s, "loss.error",
                  "is not allowed with variant dt, whose bridge takes targets, not logits; "
                  "allowed: squared");
  if (s->loss.recon.weight > 0)
    return refuse(config, s, "loss.recon.weight",
                  "is not offered with variant dt, where it would repeat the main term; allowed: 0.0");
  if (s->loss.reg > 0)
    return refuse(config, s, "loss.reg", "regularises dz/dt, and variant dt has no continuous time; allowed: 0.0");
  if (s->encoder.type != CODER_IDENTITY)
    return refuse(config, s, "encoder.type",
                  "is not offered with variant dt, whose labels have latent.embedding; allowed: identity");
  if (s->decoder.type != CODER_IDENTITY)
    return refuse(config, s, "decoder.type",
                  "is not offered with variant dt, whose last state feeds a classifier; allowed: identity");
  if (s->decoder.output != DECODER_OUTPUT_NONE)
    return refuse(config, s, "decoder.output",
                  "is not offered with variant dt, whose last state feeds a classifier; allowed: none");
  if (s->loss.vae > 0)
    return refuse(config, s, "loss.vae", "is a term of encoders and decoders, and variant dt has none; allowed: 0.0");
  if (s->loss.condition_dropout > 0)
    return refuse(config, s, "loss.condition_dropout", "is not offered with variant dt; allowed: 0.0");
  if (s->schedule.learnable)
    return refuse(config, s, "schedule.learnable",
                  "is not offered with variant dt, whose levels stay where they are; allowed: false");
  if (s->coupling != COUPLING_INDEPENDENT)
    return refuse(config, s, "coupling",
                  "is not offered with variant dt, whose blocks see noise that is independent of the data; allowed: "
                  "independent");
  if (s->sample.method != METHOD_AUTO)
    return refuse(config, s, "sample.method",
                  "integrates over continuous time, and variant dt goes from level to level by its bridge; allowed: "
                  "auto");
  if (s->sample.drift == DRIFT_OU_MEAN)
    return refuse(config, s, "sample.drift",
                  "is a field over continuous time; allowed with variant dt: ode (the bridge's mean), sde (with its "
                  "noise)");
  if (s->sample.final_denoise == 1 && s->task == TASK_CLASSIFY)
    return refuse(config, s, "sample.final_denoise",
                  "gives a target, and the classifier of variant dt reads the last state; allowed: auto, false");
  if (s->sample.churn != 1)
    return refuse(config, s, "sample.churn", "would change the bridge of variant dt; allowed: 1.0");
  if (s->sample.grid == GRID_USER)
    return refuse(config, s, "sample.times",
                  "are not allowed with variant dt, whose levels are those of its blocks; "
                  "allowed: null");
  return NOPROP_OK;
}

/* One network call per block, at its own level. */
static void resolve_dt(struct settings *s) {
  s->loss.weight = WEIGHT_UNIFORM; /* of the blocks' own weights */
  s->loss.normalize = NORMALIZE_NONE;
  s->loss.t_sampling = T_SAMPLING_UNIFORM;
  s->sample.steps = s->dt.blocks;
}

static noprop_status check_optimizer(const noprop_config *config, const struct settings *s) {
  if (s->optimizer.momentum > 0 && s->optimizer.type != OPTIMIZER_SGD)
    return refuse(config, s, "optimizer.momentum",
                  "is not allowed with optimizer %s, which does not use it; allowed: "
                  "0.0, or optimizer.type sgd",
                  OPTIMIZER_NAMES[s->optimizer.type].name);
  if (s->optimizer.nesterov && (s->optimizer.type != OPTIMIZER_SGD || s->optimizer.momentum == 0))
    return refuse(config, s, "optimizer.nesterov",
                  "needs optimizer.type sgd with optimizer.momentum above 0; allowed "
                  "otherwise: false");
  if (s->train.steps > 0 && s->optimizer.warmup_steps >= s->train.steps)
    return refuse(config, s, "optimizer.warmup_steps", "leaves nothing of train.steps %lld; allowed: fewer than that",
                  (long long)s->train.steps);
  return NOPROP_OK;
}

static noprop_status check_coupling(const noprop_config *config, const struct settings *s) {
  if (s->coupling == COUPLING_INDEPENDENT) return NOPROP_OK;
  if (s->variant == VARIANT_SUPERVISED)
    return refuse(config, s, "coupling",
                  "pairs noise and data, and variant supervised has no noise; allowed: "
                  "independent");
  if (s->encoder.type != CODER_IDENTITY)
    return refuse(config, s, "coupling",
                  "needs clean latents that do not depend on weights, and encoder.type is %s; allowed: independent, or "
                  "encoder.type identity",
                  ENCODER_NAMES[s->encoder.type].name);
  if (s->sample.drift == DRIFT_SDE)
    return refuse(
        config, s, "sample.drift",
        "needs the score, which only noise that is independent of the data gives, and coupling is %s; allowed: "
        "ode, ou_mean, or coupling independent",
        COUPLING_NAMES[s->coupling].name);
  return NOPROP_OK;
}

static noprop_status check_sampling(const noprop_config *config, const struct settings *s) {
  if (s->sample.drift == DRIFT_OU_MEAN && s->variant == VARIANT_FM)
    return refuse(config, s, "sample.drift",
                  "is a drift of the VP path, and fm takes the linear one; allowed: ode, or "
                  "variant df or ct");
  if (s->sample.drift == DRIFT_OU_MEAN && (s->sample.method == METHOD_EXPONENTIAL || s->sample.method == METHOD_DPM2M))
    return refuse(config, s, "sample.method",
                  "follows the ODE and cannot integrate drift ou_mean; allowed: euler, "
                  "midpoint, heun, rk4, bosh3, dopri5, midpoint_time, adaptive_compat, or drift ode");
  if (s->sample.method == METHOD_ADAPTIVE_COMPAT && s->sample.grid != GRID_AUTO && s->sample.grid != GRID_T)
    return refuse(
        config, s, "sample.grid",
        "gives times, and the steps of method adaptive_compat find their own size from 1/steps in t; allowed: "
        "auto, t, or another method");
  if (s->sample.drift == DRIFT_SDE && s->sample.method != METHOD_AUTO && s->sample.method != METHOD_EXPONENTIAL &&
      s->sample.method != METHOD_DPM2M && s->sample.method != METHOD_EULER_MARUYAMA)
    return refuse(config, s, "sample.method",
                  "has no noise and cannot integrate drift sde; allowed: auto, euler_maruyama, exponential, dpm2m, or "
                  "drift ode");
  if (s->sample.drift != DRIFT_SDE && s->sample.method == METHOD_EULER_MARUYAMA)
    return refuse(config, s, "sample.method", "needs drift sde; allowed with drift %s: auto, euler and others",
                  DRIFT_NAMES[s->sample.drift].name);
  if (s->sample.drift != DRIFT_SDE && s->sample.churn != 1)
    return refuse(config, s, "sample.churn", "is of the noise of drift sde, and drift %s has none; allowed: 1.0",
                  DRIFT_NAMES[s->sample.drift].name);
  if (s->sample.guidance != 1 && s->loss.condition_dropout == 0)
    return refuse(config, s, "sample.guidance",
                  "needs a model that was trained without its condition as well; allowed: 1.0, or "
                  "loss.condition_dropout above 0");
  if (s->sample.guidance != 1 && s->loss.error == LOSS_ERROR_CROSS_ENTROPY)
    return refuse(config, s, "sample.guidance",
                  "moves outputs, and with loss.error cross_entropy they are probabilities; allowed: 1.0, or "
                  "loss.error squared");
  if (s->sample.grid == GRID_USER && s->sample.time_count == 0)
    return refuse(config, s, "sample.grid", "needs sample.times; allowed without: auto, t, gamma");
  if (s->sample.grid != GRID_USER && s->sample.time_count > 0)
    return refuse(config, s, "sample.times", "are for sample.grid user (or auto); allowed with grid %s: null",
                  GRID_NAMES[s->sample.grid].name);
  if (s->sample.init == INIT_GIVEN)
    return refuse(config, s, "sample.init", "takes states from a calling program; allowed here: auto, zero, normal");
  if (s->variant == VARIANT_FM && s->loss.t_eps == 0 && s->sample.drift == DRIFT_SDE)
    return refuse(config, s, "loss.t_eps",
                  "is not allowed with sample.drift sde on the linear path, whose noise is infinite at t = 0; allowed: "
                  "above 0, at most 0.1");
  if (s->variant == VARIANT_FM && s->loss.t_eps == 0 &&
      (s->sample.grid == GRID_GAMMA || s->sample.method == METHOD_EXPONENTIAL || s->sample.method == METHOD_DPM2M))
    return refuse(config, s, "loss.t_eps",
                  "is not allowed with sample.method %s on grid %s on the linear path, where "
                  "gamma is infinite at both ends; allowed: above 0, at most 0.1",
                  METHOD_NAMES[s->sample.method].name, GRID_NAMES[s->sample.grid].name);
  return NOPROP_OK;
}

/* ---- resolution -------------------------------------------------------------------------------------------------- */

static void resolve_autos(struct settings *s) {
  if (s->variant == VARIANT_SUPERVISED) resolve_supervised(s);
  if (s->variant == VARIANT_DT) resolve_dt(s);
  if (s->prediction == PREDICTION_AUTO)
    s->prediction = s->variant == VARIANT_FM   ? PREDICTION_VELOCITY
                    : s->variant == VARIANT_DF ? PREDICTION_NOISE
                                               : PREDICTION_TARGET;
  /* Two names of one thing. */
  if (s->schedule.type == SCHEDULE_LOGISTIC) s->schedule.type = SCHEDULE_SIGMOID;
  if (s->schedule.type == SCHEDULE_MONOTONIC_NN || s->schedule.type == SCHEDULE_LEARNABLE)
    s->schedule.type = SCHEDULE_NETWORK;
  if (s->schedule.type == SCHEDULE_TABULATED && s->schedule.table_count > 1) {
    s->schedule.alpha_bar[0] = 1 / (1 + exp(-s->schedule.table[0][1]));
    s->schedule.alpha_bar[1] = 1 / (1 + exp(-s->schedule.table[s->schedule.table_count - 1][1]));
  }
  if (s->network.time_embedding.type == TIME_EMBEDDING_LOG_FREQ)
    s->network.time_embedding.type = TIME_EMBEDDING_FOURIER;
  if (s->network.time_embedding.type == TIME_EMBEDDING_SIMPLE) s->network.time_embedding.type = TIME_EMBEDDING_LINEAR;
  if (s->sample.grid == GRID_AUTO && s->sample.time_count > 0) s->sample.grid = GRID_USER;
  if (s->sample.init == INIT_AUTO) s->sample.init = s->task == TASK_GENERATE ? INIT_NORMAL : INIT_ZERO;
  /* The classifier of variant dt reads the last state. */
  const bool classifier = s->variant == VARIANT_DT && s->task == TASK_CLASSIFY;
  const bool mixes = settings_mixes_classes(s);
  if (s->sample.final_denoise < 0) s->sample.final_denoise = s->variant != VARIANT_FM && !classifier && !mixes;
  if (s->loss.recon.type == RECON_NONE) s->loss.recon.weight = 0;
  /* Where the decoder is trained to make logits, what it says of a row is their probabilities. */
  const bool coded = s->encoder.type != CODER_IDENTITY || s->decoder.type != CODER_IDENTITY;
  if (s->decoder.output == DECODER_OUTPUT_AUTO)
    s->decoder.output =
        mixes || (coded && s->loss.recon.type == RECON_CROSS_ENTROPY) ? DECODER_OUTPUT_SOFTMAX : DECODER_OUTPUT_NONE;
  const bool generate = s->task == TASK_GENERATE;
  if (s->data.condition[0] == '\0')
    (void)snprintf(s->data.condition, sizeof s->data.condition, "%s", generate ? "null" : "x");
  if (s->data.target[0] == '\0') (void)snprintf(s->data.target, sizeof s->data.target, "%s", generate ? "x" : "y");
}

noprop_status settings_resolve(const noprop_config *config, struct settings *settings) {
  if (config == NULL || settings == NULL) {
    status_set(NOPROP_INVALID_ARGUMENT, "a configuration is needed, and NULL was given");
    return NOPROP_INVALID_ARGUMENT;
  }
  struct settings resolved = config->settings;
  noprop_status status = config_apply_preset(config, &resolved);
  if (status != NOPROP_OK) return status;
  resolve_autos(&resolved);
  status = check_roles(config, &resolved);
  if (status == NOPROP_OK) status = check_historic(config, &resolved);
  if (status == NOPROP_OK) status = check_dt(config, &resolved);
  if (status == NOPROP_OK) status = check_schedule(config, &resolved);
  if (status == NOPROP_OK) status = check_loss(config, &resolved);
  if (status == NOPROP_OK) status = check_coders(config, &resolved);
  if (status == NOPROP_OK) status = check_image_coders(config, &resolved);
  if (status == NOPROP_OK) status = check_mixture(config, &resolved);
  if (status == NOPROP_OK) status = check_network(config, &resolved);
  if (status == NOPROP_OK) status = check_optimizer(config, &resolved);
  if (status == NOPROP_OK) status = check_coupling(config, &resolved);
  if (status == NOPROP_OK) status = check_sampling(config, &resolved);
  if (status == NOPROP_OK) status = check_supervised(config, &resolved);
  if (status != NOPROP_OK) return status;
  *settings = resolved;
  return NOPROP_OK;
}

noprop_status noprop_config_check(const noprop_config *config) {
  struct settings settings;
  return settings_resolve(config, &settings);
}

noprop_status config_warnings(const noprop_config *config, char **text) {
  *text = NULL;
  struct settings s;
  const noprop_status status = settings_resolve(config, &s);
  if (status != NOPROP_OK) return status;
  size_t length;
  FILE *out = open_memstream(text, &length);
  if (out == NULL) return status_set(NOPROP_OUT_OF_MEMORY, "no memory is left for a warning");
  if (s.preset == PRESET_NONE && s.loss.weight == WEIGHT_ELBO && s.task != TASK_GENERATE)
    (void)fprintf(out,
                  "loss.weight: elbo is for bounds and densities; for %s it trains times at which z shows the answer "
                  "already, and costs 5 to 22 points of accuracy or doubles the error: uniform is better\n",
                  TASK_NAMES[s.task].name);
  for (size_t i = 0; s.variant == VARIANT_SUPERVISED && i < sizeof PATH_KEYS / sizeof *PATH_KEYS; i++)
    if (config_is_given(config, PATH_KEYS[i]))
      (void)fprintf(out, "%s: not used, since variant supervised has no path from noise to target\n", PATH_KEYS[i]);
  for (size_t i = 0; s.variant == VARIANT_DT && i < sizeof CONTINUOUS_KEYS / sizeof *CONTINUOUS_KEYS; i++)
    if (config_is_given(config, CONTINUOUS_KEYS[i]))
      (void)fprintf(out, "%s: not used, since blocks of variant dt have one time each\n", CONTINUOUS_KEYS[i]);
  const char *const level_keys[] = {"schedule.type", "schedule.alpha_bar"};
  for (size_t i = 0; s.dt.form == DT_FORM_NOTEBOOK && i < sizeof level_keys / sizeof *level_keys; i++)
    if (config_is_given(config, level_keys[i]))
      (void)fprintf(out, "%s: not used, since dt.form notebook has levels of its own\n", level_keys[i]);
  if (s.variant == VARIANT_DT && config_is_given(config, "sample.steps") &&
      config->settings.sample.steps != s.sample.steps)
    (void)fprintf(out, "sample.steps: not used, since variant dt takes one step per block: %d\n", s.sample.steps);
  if (s.variant == VARIANT_DT && s.latent.embedding == EMBEDDING_LEARNED && s.dt.eta > 0.5)
    (void)fprintf(
        out,
        "dt.eta: %g with latent.embedding learned lets the labels' vectors shrink until the classifier cannot "
        "tell them apart, since that lowers the bound (two moons: accuracy 0.76, with 0.1 it is 0.9998): 0.1 is "
        "better\n",
        s.dt.eta);
  if (s.schedule.learnable && s.loss.weight == WEIGHT_UNIFORM)
    (void)fprintf(
        out,
        "schedule.learnable: with loss.weight uniform the loss falls when the schedule spends its times where the "
        "error is small anyway, and it runs there without learning more: loss.weight elbo, whose bound does "
        "not depend on the schedule between its ends, is better, or learnable false\n");
  if (s.variant == VARIANT_DT && s.sample.drift == DRIFT_ODE && s.task == TASK_GENERATE)
    (void)fprintf(out,
                  "sample.drift: ode leaves out the bridge's noise, and samples then have too little variance: sde is "
                  "right for generation with variant dt\n");
  if (s.sample.drift == DRIFT_OU_MEAN && s.task == TASK_GENERATE)
    (void)fprintf(out,
                  "sample.drift: ou_mean collapses the variance of samples (N(0,1) data come out with std 0.10): "
                  "ode is right for generation\n");
  if (fclose(out) != 0) {
    free(*text);
    *text = NULL;
    return status_set(NOPROP_OUT_OF_MEMORY, "no memory is left for a warning");
  }
  return NOPROP_OK;
}
