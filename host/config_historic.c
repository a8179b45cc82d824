/* Which combinations of earlier systems' forms make sense, and which presets there are for what. */
#include <stdio.h>

#include "host/config.h"

/* Presets of one variant or task. */
static const char *preset_refusal(const struct settings *s, const char **key, char *buffer, size_t size) {
  const bool script = s->preset == PRESET_YHGON_MNIST || s->preset == PRESET_YHGON_SIMPLE;
  const bool labels = s->preset == PRESET_NOTEBOOK || script;
  const char *const variant = VARIANT_NAMES[s->variant].name;
  buffer[0] = '\0';
  *key = "preset";
  if (s->preset == PRESET_JAX_2025_10 && s->variant == VARIANT_DF)
    (void)snprintf(buffer, size,
                   "describes df in three ways that contradict one another (D-03), and integrates a field of another "
                   "model (D-02); allowed: variant fm or ct, or preset jax-head");
  else if (s->preset == PRESET_NOTEBOOK && s->variant != VARIANT_CT && s->variant != VARIANT_FM &&
           s->variant != VARIANT_DT)
    (void)snprintf(buffer, size, "has no variant %s; allowed: variant dt, ct or fm", variant);
  else if ((s->preset == PRESET_ALIGNMENT_NOTE || script) && s->variant != VARIANT_CT)
    (void)snprintf(buffer, size, "has no variant %s; allowed: variant ct", variant);
  else if (labels && s->task != TASK_CLASSIFY)
    (void)snprintf(buffer, size, "is of a classifier, and this is task %s; allowed: task classify",
                   TASK_NAMES[s->task].name);
  return buffer[0] ? buffer : NULL;
}

/* Forms of the loss that go with some predictions, tasks and times alone. */
static const char *loss_refusal(const struct settings *s, const char **key, char *buffer, size_t size) {
  const bool logits = s->loss.error != LOSS_ERROR_SQUARED, path = s->loss.path != PATH_AUTO;
  const bool quantiles = s->loss.t_sampling == T_SAMPLING_GAMMA || s->loss.t_sampling == T_SAMPLING_IMPORTANCE;
  const bool target = s->prediction == PREDICTION_TARGET;
  buffer[0] = '\0';
  *key = "prediction";
  if (s->prediction == PREDICTION_STATE &&
      (s->variant != VARIANT_CT || logits || s->loss.recon.weight > 0 || s->encoder.type != CODER_IDENTITY))
    (void)snprintf(buffer, size,
                   "is what the network is given (D-12), and nothing else can be made of it; allowed with it: variant "
                   "ct, loss.error squared, loss.recon.weight 0, encoder.type identity");
  if (buffer[0]) return buffer;
  *key = "loss.path";
  if (path && (s->variant != VARIANT_CT || (!target && s->prediction != PREDICTION_STATE)))
    (void)snprintf(buffer, size, "is of variant ct with prediction target or state; allowed: auto");
  else if (path && (s->schedule.learnable || quantiles))
    (void)snprintf(buffer, size,
                   "goes with schedule.learnable false and times uniform in t (loss.t_sampling uniform, "
                   "low_discrepancy); allowed: auto");
  else if (path && s->loss.kl_z0 > 0 && s->loss.kl_form == KL_EXACT)
    (void)snprintf(buffer, size, "has another z(0) than loss.kl_z0 is exact for; allowed: auto, or loss.kl_form norm");
  else if (path && s->loss.reg > 0 && s->loss.reg_drift != DRIFT_OUTPUT)
    (void)snprintf(buffer, size, "has no field of its own to regularise; allowed: auto, or loss.reg_drift output");
  else if (path && s->sample.drift != DRIFT_RELAX && s->sample.drift != DRIFT_RELAX_NOISE)
    (void)snprintf(buffer, size,
                   "has no field of its own to integrate; allowed: auto, or sample.drift relax or relax_noise");
  else if (s->loss.path == PATH_ROOT_NOISE && s->loss.weight != WEIGHT_UNIFORM && s->loss.weight != WEIGHT_T &&
           s->loss.weight != WEIGHT_INVERSE_SNR)
    (void)snprintf(buffer, size,
                   "has no schedule, which loss.weight %s is of; allowed: auto, or loss.weight uniform, t, inverse_snr",
                   WEIGHT_NAMES[s->loss.weight].name);
  if (buffer[0]) return buffer;
  *key = "loss.weight";
  if (s->loss.weight == WEIGHT_NOTEBOOK && (!target || s->variant == VARIANT_FM || s->schedule.learnable))
    (void)snprintf(buffer, size,
                   "is of the target on the VP path, with a schedule that is not trained; allowed: another weight, or "
                   "prediction target and schedule.learnable false");
  if (buffer[0]) return buffer;
  *key = "loss.normalize";
  if (s->loss.normalize == NORMALIZE_PRODUCT && (quantiles || s->schedule.learnable))
    (void)snprintf(buffer, size,
                   "gives every row the mean weight of times uniform in t; allowed: none, batch, or loss.t_sampling "
                   "uniform, low_discrepancy and schedule.learnable false");
  if (buffer[0]) return buffer;
  *key = "loss.recon.type";
  if (s->loss.recon.type == RECON_END_LOGITS && s->loss.recon.weight > 0 && (!logits || s->variant != VARIANT_CT))
    (void)snprintf(buffer, size,
                   "reads labels from the network's output, which is logits in variant ct with loss.error "
                   "softmax_squared or cross_entropy; allowed: cross_entropy, which has a decoder for it");
  else if (s->loss.recon.type == RECON_END_LOGITS && s->loss.recon.weighting != TERM_WEIGHT_NONE)
    (void)snprintf(buffer, size, "has one time, t = 1, and no weight over times; allowed: loss.recon.weighting none");
  if (buffer[0]) return buffer;
  *key = "loss.kl_form";
  if (s->loss.kl_form == KL_NORM && (s->encoder.type == CODER_MLP_NORMAL || s->encoder.type == CODER_RESNET_NORMAL))
    (void)snprintf(buffer, size,
                   "is of latents without noise of their own, and encoder.type %s has one; allowed: exact",
                   ENCODER_NAMES[s->encoder.type].name);
  return buffer[0] ? buffer : NULL;
}

static const char *drift_refusal(const struct settings *s, const char **key, char *buffer, size_t size) {
  const bool relaxes = s->sample.drift == DRIFT_RELAX || s->sample.drift == DRIFT_RELAX_NOISE;
  buffer[0] = '\0';
  *key = "loss.reg_drift";
  if (s->loss.reg_drift == DRIFT_RELAX || s->loss.reg_drift == DRIFT_RELAX_NOISE)
    (void)snprintf(buffer, size, "is integrated and not regularised; allowed: ode, ou_mean, output");
  else if (s->loss.reg_drift == DRIFT_OUTPUT && s->schedule.learnable)
    (void)snprintf(buffer, size, "has no gradients of a learnable schedule; allowed: ode, ou_mean");
  if (buffer[0]) return buffer;
  *key = "sample.drift";
  if (s->sample.drift == DRIFT_OUTPUT)
    (void)snprintf(buffer, size, "is regularised and not integrated; allowed: ode, ou_mean, sde, relax, relax_noise");
  else if (relaxes && s->variant != VARIANT_DF && s->variant != VARIANT_CT)
    (void)snprintf(buffer, size, "is a drift of variants df and ct, and this is %s; allowed: ode",
                   VARIANT_NAMES[s->variant].name);
  else if (relaxes && (s->sample.method == METHOD_EXPONENTIAL || s->sample.method == METHOD_DPM2M))
    (void)snprintf(buffer, size, "has no exponential steps, and sample.method is %s; allowed: ode, or another method",
                   METHOD_NAMES[s->sample.method].name);
  if (buffer[0]) return buffer;
  *key = "sample.grid";
  if (s->loss.path == PATH_ROOT_NOISE && s->sample.grid == GRID_GAMMA)
    (void)snprintf(buffer, size, "is of a schedule, and loss.path root_noise has none; allowed: auto, t, user");
  return buffer[0] ? buffer : NULL;
}

/* Variants that have no path. */
static const char *pathless_refusal(const struct settings *s, const char **key, char *buffer, size_t size) {
  const char *const variant = VARIANT_NAMES[s->variant].name;
  buffer[0] = '\0';
  if (s->variant != VARIANT_DT && s->variant != VARIANT_SUPERVISED) return NULL;
  const struct {
    const char *key;
    bool given;
    const char *allowed;
  } forms[] = {{"loss.path", s->loss.path != PATH_AUTO, "auto"},
               {"loss.scale", s->loss.scale != LOSS_SCALE_MEAN, "mean"},
               {"loss.kl_form", s->loss.kl_form != KL_EXACT && s->dt.form == DT_FORM_BRIDGE, "exact"},
               {"loss.weight", s->loss.weight == WEIGHT_NOTEBOOK, "uniform"},
               {"loss.normalize", s->loss.normalize == NORMALIZE_PRODUCT, "none"},
               {"loss.error", s->loss.error == LOSS_ERROR_SOFTMAX_SQUARED, "squared"},
               {"loss.reg_drift", s->loss.reg_drift == DRIFT_OUTPUT, "ode"},
               {"loss.recon.type", s->loss.recon.type == RECON_END_LOGITS, "mse"}};
  for (size_t i = 0; i < sizeof forms / sizeof *forms; ++i) {
    if (!forms[i].given) continue;
    *key = forms[i].key;
    (void)snprintf(buffer, size, "is a form of earlier systems that variant %s has no use for; allowed: %s", variant,
                   forms[i].allowed);
    return buffer;
  }
  return NULL;
}

const char *config_historic_refusal(const struct settings *s, const char **key, char *buffer, size_t size) {
  const char *sentence = preset_refusal(s, key, buffer, size);
  if (sentence == NULL) sentence = pathless_refusal(s, key, buffer, size);
  if (sentence == NULL) sentence = loss_refusal(s, key, buffer, size);
  return sentence != NULL ? sentence : drift_refusal(s, key, buffer, size);
}
