/* Presets: the values by which earlier systems differ from the defaults, and what is known to be wrong in them.
 *
 * One table of rows (preset, variants, tasks, key, value); a row holds unless its key was given. Sources: survey 2.1 to
 * 2.5, 2.7, 2.11, 4.5, 5.1, 9.1, 10.1, 10.2. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/status.h"
#include "host/config.h"

/* Sets of enumerators. */
enum {
  HEAD = 1u << PRESET_JAX_HEAD,
  LATE = 1u << PRESET_JAX_2025_11,
  EARLY = 1u << PRESET_JAX_2025_10,
  FM = 1u << VARIANT_FM,
  DF = 1u << VARIANT_DF,
  CT = 1u << VARIANT_CT,
  ANY_VARIANT = FM | DF | CT,
  CLASSIFY = 1u << TASK_CLASSIFY,
  REGRESS = 1u << TASK_REGRESS,
  GENERATE = 1u << TASK_GENERATE,
  ANY_TASK = CLASSIFY | REGRESS | GENERATE
};

static const struct {
  unsigned presets, variants, tasks;
  const char *key, *value;
} PRESET_VALUES[] = {
    {HEAD | LATE | EARLY, ANY_VARIANT, ANY_TASK, "precision", "fp32"},
    {HEAD | LATE, ANY_VARIANT, ANY_TASK, "data.standardise", "false"},
    {HEAD | LATE | EARLY, ANY_VARIANT, ANY_TASK, "schedule.type", "linear"},
    {HEAD | EARLY, ANY_VARIANT, ANY_TASK, "schedule.alpha_bar", "[0.01, 0.99]"},
    {LATE, ANY_VARIANT, ANY_TASK, "schedule.alpha_bar", "[0.05, 0.95]"},
    {HEAD | LATE | EARLY, ANY_VARIANT, ANY_TASK, "schedule.renormalise", "false"},
    /* What the library starts from when .008 is meant: softplus(.008), D-42. */
    {HEAD | LATE, ANY_VARIANT, ANY_TASK, "schedule.s", "0.6971551805386121"},
    {HEAD | LATE | EARLY, ANY_VARIANT, CLASSIFY, "latent.off_value", "-1.0"},

    {HEAD, FM, ANY_TASK, "loss.weight", "t"},
    {HEAD, DF, ANY_TASK, "loss.weight", "drift"},
    {HEAD, CT, ANY_TASK, "loss.weight", "elbo"},
    {LATE, FM, ANY_TASK, "loss.weight", "vp_velocity"},
    {LATE, DF | CT, ANY_TASK, "loss.weight", "elbo"},
    {LATE, ANY_VARIANT, ANY_TASK, "loss.normalize", "batch"},
    {EARLY, CT, ANY_TASK, "loss.weight", "elbo"},
    {EARLY, CT, ANY_TASK, "loss.normalize", "batch"},
    {EARLY, CT, ANY_TASK, "loss.recon.weighting", "same"},
    {EARLY, CT, ANY_TASK, "loss.reg_drift", "ou_mean"},
    {HEAD | LATE | EARLY, ANY_VARIANT, ANY_TASK, "loss.t_sampling", "uniform"},
    {HEAD | LATE | EARLY, ANY_VARIANT, ANY_TASK, "loss.t_eps", "0.0"},
    {HEAD, ANY_VARIANT, ANY_TASK, "loss.recon.weight", "1.0"},
    {HEAD, ANY_VARIANT, ANY_TASK, "loss.recon.weighting", "same"},
    {LATE, ANY_VARIANT, ANY_TASK, "loss.recon.weighting", "snr_prime"},
    {HEAD, ANY_VARIANT, ANY_TASK, "loss.reg_weighting", "same"},
    {HEAD | LATE, DF | CT, ANY_TASK, "loss.reg_drift", "ou_mean"},

    {HEAD | LATE, ANY_VARIANT, ANY_TASK, "network.hidden", "[32, 32, 32, 32, 32, 32]"},
    {HEAD | LATE | EARLY, ANY_VARIANT, ANY_TASK, "network.dropout", "0.1"},
    {HEAD | LATE | EARLY, ANY_VARIANT, ANY_TASK, "network.squash_activation", "false"},
    {HEAD | LATE | EARLY, ANY_VARIANT, ANY_TASK, "network.time_embedding.type", "sinusoidal"},
    {HEAD, ANY_VARIANT, CLASSIFY | REGRESS, "network.time_embedding.size", "32"},
    {HEAD, ANY_VARIANT, GENERATE, "network.time_embedding.size", "64"},
    {LATE, ANY_VARIANT, ANY_TASK, "network.time_embedding.size", "32"},
    {HEAD | LATE | EARLY, ANY_VARIANT, ANY_TASK, "network.time_embedding.as_written", "true"},

    {HEAD | LATE, ANY_VARIANT, ANY_TASK, "optimizer.type", "adam"},
    {HEAD | LATE, ANY_VARIANT, ANY_TASK, "optimizer.weight_decay", "0.0"},
    {HEAD | LATE | EARLY, ANY_VARIANT, ANY_TASK, "optimizer.clip", "0.0"},

    {EARLY, ANY_VARIANT, ANY_TASK, "network.time_embedding.size", "64"},
    {EARLY, ANY_VARIANT, ANY_TASK, "train.epochs", "400"},
    {EARLY, ANY_VARIANT, ANY_TASK, "sample.method", "euler"},
    {EARLY, CT, ANY_TASK, "sample.drift", "ou_mean"},
    {HEAD | LATE, ANY_VARIANT, ANY_TASK, "train.epochs", "50"},
    {HEAD, ANY_VARIANT, GENERATE, "train.dropout_epochs", "0"},

    {HEAD | LATE, FM, ANY_TASK, "sample.method", "euler"},
    {HEAD | LATE, DF | CT, ANY_TASK, "sample.method", "midpoint_time"},
    {HEAD | LATE | EARLY, ANY_VARIANT, ANY_TASK, "sample.grid", "t"},
    {HEAD | LATE, DF | CT, ANY_TASK, "sample.drift", "ou_mean"},
    {HEAD | LATE | EARLY, ANY_VARIANT, ANY_TASK, "sample.final_denoise", "false"},
};

static const struct {
  unsigned presets, variants, tasks;
  const char *text;
} PRESET_NOTES[] = {
    {HEAD, FM, ANY_TASK, "D-06: every term is multiplied by t; the unweighted form is the standard one"},
    {HEAD, DF, ANY_TASK,
     "D-05: the noise error has the weight of a drift error, alpha_bar/alpha_bar'; the bound's is gamma'"},
    {HEAD, CT, ANY_TASK, "D-08: SNR' is not divided by its mean; 9800 at t = 1, so that a few rows own the batch"},
    {LATE, FM, ANY_TASK, "D-07: the velocity error has the weight 1/((1-alpha_bar) alpha_bar gamma') of another path"},
    {LATE, ANY_VARIANT, ANY_TASK,
     "D-08: weights are divided by their mean over the batch, a biased estimate of the mean"},
    {LATE, ANY_VARIANT, ANY_TASK,
     "D-09: its KL term of z(0) has the wrong sign; it and the vae term are constants here and are left out"},
    {LATE, ANY_VARIANT, ANY_TASK,
     "section 2.5: its reconstruction term sums over the target's width where the main term averages; here both "
     "average"},
    {HEAD, ANY_VARIANT, ANY_TASK, "D-20: reconstruction and regularisation carry the weight of the main term"},
    {EARLY, CT, ANY_TASK, "D-08: SNR' is divided by its mean over the batch, a biased estimate of the mean"},
    {EARLY, ANY_VARIANT, ANY_TASK,
     "D-20: its regularisation is of the network's output; here it is of dz/dt, which differs in ct"},
    {EARLY, FM, ANY_TASK,
     "D-19: the code of that time draws the state's noise apart from the target's; the README's form is taken here"},
    {EARLY, ANY_VARIANT, ANY_TASK, "section 9.1: it drops the last partial batch of an epoch; here it is trained on"},
    {HEAD | LATE | EARLY, DF | CT, ANY_TASK,
     "D-01: the drift of the SDE is integrated without its noise; samples of N(0,1) data come out with std 0.10"},
    {HEAD | LATE, DF | CT, ANY_TASK, "D-44: its midpoint takes the time in the middle but not the state: first order"},
    {HEAD | LATE | EARLY, ANY_VARIANT, ANY_TASK, "D-44: the network called a residual one has no residual connections"},
    {HEAD | LATE, ANY_VARIANT, ANY_TASK, "D-42: a cosine schedule starts from s = 0.697 where 0.008 is meant"},
    {HEAD, ANY_VARIANT, CLASSIFY | REGRESS,
     "section 4.1: the schedule's numbers are trained there; here they are fixed"},
    {LATE, ANY_VARIANT, ANY_TASK, "section 4.1: the schedule's numbers are trained there; here they are fixed"},
};

static bool applies(unsigned presets, unsigned variants, unsigned tasks, const struct settings *settings) {
  return (presets >> settings->preset & 1u) && (variants >> settings->variant & 1u) && (tasks >> settings->task & 1u);
}

noprop_status config_apply_preset(const noprop_config *config, struct settings *settings) {
  for (size_t i = 0; i < sizeof PRESET_VALUES / sizeof *PRESET_VALUES; i++) {
    if (!applies(PRESET_VALUES[i].presets, PRESET_VALUES[i].variants, PRESET_VALUES[i].tasks, settings)) continue;
    if (config_is_given(config, PRESET_VALUES[i].key)) continue;
    const noprop_status status =
        config_assign_text(settings, config_key_find(PRESET_VALUES[i].key), PRESET_VALUES[i].value);
    if (status != NOPROP_OK) return status;
  }
  return NOPROP_OK;
}

noprop_status config_preset_notes(const struct settings *settings, char **text) {
  size_t length;
  FILE *out = open_memstream(text, &length);
  if (out == NULL) return status_set(NOPROP_OUT_OF_MEMORY, "no memory is left for the notes on a preset");
  for (size_t i = 0; i < sizeof PRESET_NOTES / sizeof *PRESET_NOTES; i++)
    if (applies(PRESET_NOTES[i].presets, PRESET_NOTES[i].variants, PRESET_NOTES[i].tasks, settings))
      (void)fprintf(out, "%s\n", PRESET_NOTES[i].text);
  if (fclose(out) != 0) {
    free(*text);
    *text = NULL;
    return status_set(NOPROP_OUT_OF_MEMORY, "no memory is left for the notes on a preset");
  }
  return NOPROP_OK;
}
