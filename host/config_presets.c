/* Presets: the values by which earlier systems differ from the defaults, and what is known to be wrong in them.
 *
 * One table of rows (preset, variants, tasks, key, value); a row holds unless its key was given. Sources: survey 2.1 to
 * 2.5, 2.7 to 2.11, 4.5, 5.1, 5.8, 9.1, 10.1, 10.2. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/status.h"
#include "host/config.h"

/* Sets of enumerators. */
enum {
  HEAD = 1u << PRESET_JAX_HEAD,
  LATE = 1u << PRESET_JAX_2025_11,
  EARLY = 1u << PRESET_JAX_2025_10,
  BOOK = 1u << PRESET_NOTEBOOK,
  NOTE = 1u << PRESET_ALIGNMENT_NOTE,
  MNIST = 1u << PRESET_YHGON_MNIST,
  SIMPLE = 1u << PRESET_YHGON_SIMPLE,
  FM = 1u << VARIANT_FM,
  DF = 1u << VARIANT_DF,
  CT = 1u << VARIANT_CT,
  DT = 1u << VARIANT_DT,
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
    {EARLY, CT, ANY_TASK, "loss.reg_drift", "output"},
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

    /* Shared by the PyTorch systems. */
    {BOOK | NOTE | MNIST | SIMPLE, ANY_VARIANT | DT, ANY_TASK, "precision", "fp32"},
    {BOOK | NOTE | MNIST | SIMPLE, ANY_VARIANT, ANY_TASK, "loss.t_sampling", "uniform"},
    {BOOK | MNIST | SIMPLE, ANY_VARIANT, ANY_TASK, "loss.t_eps", "0.0"},
    {BOOK | NOTE | MNIST | SIMPLE, ANY_VARIANT | DT, ANY_TASK, "sample.init", "normal"},
    {BOOK | NOTE | MNIST | SIMPLE, ANY_VARIANT, ANY_TASK, "sample.grid", "t"},
    {BOOK | NOTE | MNIST | SIMPLE, ANY_VARIANT, ANY_TASK, "sample.final_denoise", "false"},
    {BOOK | MNIST | SIMPLE, ANY_VARIANT | DT, ANY_TASK, "optimizer.weight_decay", "0.001"},

    /* Its alpha_bar = cos^2(pi t/2) falls with its time; ours rises, with the ends that float32 holds. */
    {BOOK, CT, ANY_TASK, "schedule.type", "cosine"},
    {BOOK, CT, ANY_TASK, "schedule.s", "0.0"},
    {BOOK, CT, ANY_TASK, "schedule.alpha_bar", "[1.0e-12, 0.999999999999]"},
    {BOOK, ANY_VARIANT | DT, ANY_TASK, "latent.size", "64"},
    {BOOK, ANY_VARIANT, ANY_TASK, "encoder.type", "linear"},
    {BOOK, ANY_VARIANT, ANY_TASK, "decoder.type", "linear"},
    {BOOK, ANY_VARIANT, ANY_TASK, "loss.recon.type", "cross_entropy"},
    {BOOK, ANY_VARIANT, ANY_TASK, "loss.recon.weight", "1.0"},
    {BOOK, CT, ANY_TASK, "loss.weight", "notebook"},
    {BOOK, CT, ANY_TASK, "loss.normalize", "product"},
    {BOOK, CT, ANY_TASK, "loss.kl_z0", "1.0"},
    {BOOK, CT, ANY_TASK, "loss.kl_form", "norm"},
    {BOOK, ANY_VARIANT | DT, ANY_TASK, "network.hidden", "[256, 128]"},
    {BOOK, ANY_VARIANT | DT, ANY_TASK, "network.activation", "relu"},
    {BOOK, ANY_VARIANT | DT, ANY_TASK, "network.dropout", "0.2"},
    {BOOK, ANY_VARIANT, ANY_TASK, "network.time_embedding.type", "constant"},
    {BOOK, ANY_VARIANT, ANY_TASK, "network.time_embedding.size", "1"},
    {BOOK, ANY_VARIANT | DT, ANY_TASK, "optimizer.clip", "1.0"},
    {BOOK, ANY_VARIANT | DT, ANY_TASK, "train.batch", "128"},
    {BOOK, ANY_VARIANT | DT, ANY_TASK, "train.epochs", "5"},
    {BOOK, ANY_VARIANT, ANY_TASK, "sample.method", "euler"},
    {BOOK, ANY_VARIANT, ANY_TASK, "sample.steps", "50"},
    {BOOK, CT, ANY_TASK, "sample.drift", "relax"},
    {BOOK, DT, ANY_TASK, "dt.form", "notebook"},
    {BOOK, DT, ANY_TASK, "dt.blocks", "10"},
    {BOOK, DT, ANY_TASK, "dt.eta", "0.1"},
    {BOOK, DT, ANY_TASK, "latent.embedding", "learned"},
    {BOOK, DT, ANY_TASK, "loss.kl_z0", "1.0"},
    {BOOK, DT, ANY_TASK, "loss.kl_form", "norm"},

    {NOTE, CT, ANY_TASK, "prediction", "state"},
    {NOTE, CT, ANY_TASK, "loss.path", "root_noise"},
    {NOTE, CT, ANY_TASK, "loss.weight", "inverse_snr"},
    {NOTE, CT, ANY_TASK, "loss.normalize", "batch"},
    {NOTE, CT, ANY_TASK, "loss.t_eps", "0.001"},
    {NOTE, CT, ANY_TASK, "loss.reg", "1.0"},
    {NOTE, CT, ANY_TASK, "loss.reg_drift", "output"},
    {NOTE, CT, ANY_TASK, "sample.method", "euler"},
    {NOTE, CT, ANY_TASK, "sample.steps", "1000"},
    {NOTE, CT, ANY_TASK, "sample.drift", "relax"},

    /* gamma from -5 to 5, linear. */
    {MNIST | SIMPLE, CT, ANY_TASK, "schedule.type", "sigmoid"},
    {MNIST, CT, ANY_TASK, "schedule.k", "10.0"},
    /* The other script takes half of a gamma from -7 to 7. */
    {SIMPLE, CT, ANY_TASK, "schedule.k", "7.0"},
    {MNIST | SIMPLE, CT, ANY_TASK, "schedule.t_mid", "0.5"},
    {MNIST | SIMPLE, CT, ANY_TASK, "schedule.renormalise", "false"},
    {MNIST | SIMPLE, CT, ANY_TASK, "loss.path", "signal_mean"},
    {MNIST | SIMPLE, CT, ANY_TASK, "loss.weight", "elbo"},
    {MNIST | SIMPLE, CT, ANY_TASK, "loss.scale", "bound"},
    {MNIST | SIMPLE, CT, ANY_TASK, "loss.error", "softmax_squared"},
    {MNIST | SIMPLE, CT, ANY_TASK, "loss.recon.type", "end_logits"},
    {MNIST | SIMPLE, CT, ANY_TASK, "loss.recon.weight", "1.0"},
    {MNIST, CT, ANY_TASK, "network.hidden", "[256, 128]"},
    {SIMPLE, CT, ANY_TASK, "network.hidden", "[256, 256]"},
    {MNIST | SIMPLE, CT, ANY_TASK, "network.activation", "relu"},
    {MNIST | SIMPLE, CT, ANY_TASK, "network.time_embedding.type", "sinusoidal_unit"},
    {MNIST | SIMPLE, CT, ANY_TASK, "network.time_embedding.size", "64"},
    {MNIST | SIMPLE, CT, ANY_TASK, "optimizer.clip", "0.0"},
    {MNIST | SIMPLE, CT, ANY_TASK, "train.batch", "2048"},
    {MNIST | SIMPLE, CT, ANY_TASK, "train.epochs", "200"},
    {MNIST | SIMPLE, CT, ANY_TASK, "sample.method", "heun"},
    {MNIST | SIMPLE, CT, ANY_TASK, "sample.steps", "40"},
    {MNIST | SIMPLE, CT, ANY_TASK, "sample.drift", "relax_noise"},
    {SIMPLE, CT, ANY_TASK, "latent.embedding", "learned"},
    {SIMPLE, CT, ANY_TASK, "latent.size", "64"},
    {SIMPLE, CT, ANY_TASK, "loss.kl_z0", "1.0"},
    {SIMPLE, CT, ANY_TASK, "loss.kl_form", "norm"},
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
    {EARLY, ANY_VARIANT, ANY_TASK, "D-20: its regularisation is of the network's output, not of dz/dt"},
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

    {BOOK, CT, ANY_TASK,
     "D-29: its weight 2 alpha_bar/(1-alpha_bar)^2 is not |SNR'| and has an infinite mean, and the batch's mean weight "
     "multiplies the mean error, so that rows are not weighted at all"},
    {BOOK, CT, ANY_TASK,
     "D-31: the state relaxes towards the prediction for unit time and reaches 63 % of it, and its time runs the other "
     "way than in training (D-22)"},
    {BOOK, CT, ANY_TASK, "D-10: its KL term is half the embedding's square, which draws embeddings to 0"},
    {BOOK, DT, ANY_TASK,
     "D-25: the weights of all blocks but the first are negative, so that their errors are made larger and the loss "
     "falls "
     "to minus infinity, within the first epoch as a rule"},
    {BOOK, DT, ANY_TASK,
     "D-26: the block that has learned to denoise the cleanest states is the first to see pure noise at inference"},
    {BOOK, DT, ANY_TASK,
     "D-27: the last block sees noise alone and is a classifier of its condition; one clip over all blocks starves it, "
     "here every block has its own"},
    {BOOK, DT, ANY_TASK, "D-28: its test loop calls inference with an argument that it does not take"},
    {BOOK, DT, ANY_TASK, "D-10: its KL term is half the embedding's square, which draws embeddings to 0"},
    {BOOK, DT, ANY_TASK,
     "section 5.8: images go through convolutions in front of its network, here with network.branch.type cnn (as the "
     "notebook has it: channels [32, 64, 128]); its embeddings have 512 numbers that start from 0.1 N(0, 1), here 64 "
     "numbers that start from orthonormal unit vectors"},
    {BOOK, ANY_VARIANT, ANY_TASK, "D-30: its network is given t and does not use it"},
    {BOOK, ANY_VARIANT | DT, ANY_TASK, "D-32: gradients do pass through all layers of the network, whatever it says"},
    {BOOK, ANY_VARIANT, ANY_TASK,
     "section 5.8: images go through convolutions in front of its network, here with network.branch.type cnn (as the "
     "notebook has it: channels [32, 64, 128]); its embeddings have 512 numbers that start from 0.1 N(0, 1), here they "
     "are an encoder's, with a bias and 64 numbers"},
    {NOTE, CT, ANY_TASK,
     "D-12: the network learns to return the state that it is given, so that dz/dt is 0: nothing is generated or "
     "predicted"},
    {NOTE, CT, ANY_TASK, "D-13: its path t, sqrt(1-t) does not preserve variance"},
    {NOTE, CT, ANY_TASK,
     "D-14: 1/SNR is bounded by the limit of t alone, so that one row can own the batch; here t stays in [0.001, "
     "0.999], "
     "there it is drawn from [0, 1) and clipped"},
    {NOTE, CT, ANY_TASK, "D-11: what it says of the PyTorch code is not in that code"},
    {NOTE, CT, ANY_TASK, "D-20: its regularisation is of the network's output, not of dz/dt"},
    {MNIST | SIMPLE, CT, ANY_TASK, "D-23: the state's mean is alpha_bar u where its weight takes sqrt(alpha_bar) u"},
    {MNIST, CT, ANY_TASK,
     "D-24: its field (target - z)/(1-alpha_bar) lacks alpha_bar' and the root; it is stiff, 149 at the end, so that "
     "Heun needs 30 steps or more"},
    {SIMPLE, CT, ANY_TASK,
     "D-24: its field (target - z)/(1-alpha_bar) lacks alpha_bar' and the root; it is stiff, 34 at the end"},
    {SIMPLE, CT, ANY_TASK,
     "D-10: its KL term is half the vectors' square, which draws them to 0 whatever the noise at t = 0 hides anyway"},
    {SIMPLE, CT, ANY_TASK,
     "D-33: its schedule is a network that need not rise, of which half and what lies between 0.01 and 0.99 counts; "
     "here "
     "gamma is the line from -3.5 to 3.5 that it starts near, and is not trained"},
    {SIMPLE, CT, ANY_TASK,
     "section 2.9: its vectors have 256 numbers and start from an untrained network's features of chosen rows, here 64 "
     "from orthonormal unit vectors; it drops the last partial batch of an epoch, here it is trained on; images go "
     "through a residual network with batch norm in front of this one, here through network.branch if that is given"},
    {MNIST, CT, ANY_TASK, "D-10: its KL term is half the label's square, the constant 1/2, and is left out"},
    {MNIST, CT, ANY_TASK,
     "D-33: its schedule is a network that need not rise; here gamma is the line from -5 to 5 that it starts near, and "
     "is not trained"},
    {MNIST, CT, ANY_TASK,
     "section 2.9: it drops the last partial batch of an epoch; here it is trained on. Images go through a residual "
     "network with batch norm in front of this one, here through network.branch if that is given"},
    {MNIST | SIMPLE, CT, ANY_TASK,
     "P-22: batch norm mixes rows of all times in training, and takes running statistics of these at a solve, where "
     "all rows have one time; layer_norm depends on neither"},
};

/* Networks as lists of layers, unless a network is given (network.type, network.hidden or network.layers): then the
 * preset's rows of the table above count, which are for networks by name. */
static const struct {
  unsigned presets, variants;
  const char *layers;
} PRESET_LISTS[] = {
    {BOOK, ANY_VARIANT | DT,
     "[{name: features, type: dense, from: x, width: 256, activation: relu},"
     " {name: features_kept, type: dropout, rate: 0.2},"
     " {name: state, type: dense, from: z, width: 256, activation: relu},"
     " {name: state_kept, type: dropout, rate: 0.2},"
     " {name: fusion, type: dense, from: [features_kept, state_kept], width: 256, activation: relu},"
     " {name: fusion_kept, type: dropout, rate: 0.2}, {name: narrow, type: dense, width: 128, activation: relu},"
     " {name: last, type: dense}]"},
    {MNIST, CT,
     "[{name: features, type: dense, from: x, width: 256},"
     " {name: state, type: dense, from: z, width: 256, activation: relu},"
     " {name: time, type: dense, from: t, width: 256, activation: relu},"
     " {name: fusion, type: dense, from: [features, state, time], width: 256}, {name: fusion_norm, type: batch_norm},"
     " {type: activation, activation: relu}, {name: narrow, type: dense, width: 128},"
     " {name: narrow_norm, type: batch_norm}, {type: activation, activation: relu}, {name: last, type: dense}]"},
    {SIMPLE, CT, /* z1 and z2 are as wide as latent.size */
     "[{name: features, type: dense, from: x, width: 256},"
     " {name: z1, type: dense, from: z, width: 64, activation: relu}, {name: z2, type: dense, width: 64},"
     " {name: state, type: add, from: z}, {name: time, type: dense, from: t, width: 256, activation: relu},"
     " {name: fusion, type: dense, from: [features, state, time], width: 256}, {name: fusion_norm, type: batch_norm},"
     " {type: activation, activation: relu}, {name: second, type: dense, width: 256},"
     " {name: second_norm, type: batch_norm}, {type: activation, activation: relu}, {name: last, type: dense}]"},
};

/* What of the table is for networks by name. */
static bool is_of_named_networks(const char *key) {
  return strcmp(key, "network.hidden") == 0 || strcmp(key, "network.activation") == 0 ||
         strcmp(key, "network.dropout") == 0;
}

/* The preset's list; NULL: it has none, or a network is given. */
static const char *list_of(const noprop_config *config, const struct settings *settings) {
  if (settings->variant == VARIANT_SUPERVISED || config_is_given(config, "network.type") ||
      config_is_given(config, "network.hidden") || config_is_given(config, "network.layers"))
    return NULL;
  for (size_t i = 0; i < sizeof PRESET_LISTS / sizeof *PRESET_LISTS; i++)
    if ((PRESET_LISTS[i].presets >> settings->preset & 1u) && (PRESET_LISTS[i].variants >> settings->variant & 1u))
      return PRESET_LISTS[i].layers;
  return NULL;
}

static bool applies(unsigned presets, unsigned variants, unsigned tasks, const struct settings *settings) {
  return (presets >> settings->preset & 1u) && (variants >> settings->variant & 1u) && (tasks >> settings->task & 1u);
}

noprop_status config_apply_preset(const noprop_config *config, struct settings *settings) {
  const char *const layers = list_of(config, settings);
  for (size_t i = 0; i < sizeof PRESET_VALUES / sizeof *PRESET_VALUES; i++) {
    if (!applies(PRESET_VALUES[i].presets, PRESET_VALUES[i].variants, PRESET_VALUES[i].tasks, settings)) continue;
    if (config_is_given(config, PRESET_VALUES[i].key)) continue;
    if (layers && is_of_named_networks(PRESET_VALUES[i].key)) continue;
    const noprop_status status =
        config_assign_text(settings, config_key_find(PRESET_VALUES[i].key), PRESET_VALUES[i].value);
    if (status != NOPROP_OK) return status;
  }
  if (layers == NULL) return NOPROP_OK;
  const noprop_status status = config_assign_text(settings, config_key_find("network.type"), "custom");
  return status == NOPROP_OK ? config_assign_text(settings, config_key_find("network.layers"), layers) : status;
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
