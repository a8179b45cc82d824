/* The one table of configuration keys, and the search for the key that somebody meant. */
#include "host/config_keys.h"

#include <stdio.h>
#include <string.h>

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* "a | b | c" from a list of options.h. */
#define BAR_NAME(enumerator, name, meaning) " | " name
#define ALLOWED(list) &(list(BAR_NAME))[3]

#define ENUM(path_, member_, list_, names_, default_, meaning_)                                             \
  {                                                                                                         \
    .path = path_, .type = KEY_ENUM, .names = names_, .allowed = ALLOWED(list_), .default_value = default_, \
    .meaning = meaning_, KEY_PLACE(member_)                                                                 \
  }
#define KEY_PLACE(member_) .offset = offsetof(struct settings, member_), .size = sizeof(((struct settings *)0)->member_)
#define BOOL(path_, member_, default_, meaning_)                                                                \
  {                                                                                                             \
    .path = path_, .type = KEY_BOOL, .allowed = "true | false", .default_value = default_, .meaning = meaning_, \
    KEY_PLACE(member_)                                                                                          \
  }
#define INTEGER(path_, member_, low_, high_, default_, meaning_)                                      \
  {                                                                                                   \
    .path = path_, .type = KEY_INTEGER, .minimum = low_, .maximum = high_, .default_value = default_, \
    .allowed = "integer from " #low_ " to " #high_, .meaning = meaning_, KEY_PLACE(member_)           \
  }
#define INTEGER_OR(word_, value_, path_, member_, low_, high_, default_, meaning_)                                   \
  {                                                                                                                  \
    .path = path_, .type = KEY_INTEGER, .minimum = low_, .maximum = high_, .default_value = default_, .word = word_, \
    .word_value = value_, .allowed = word_ " or integer from " #low_ " to " #high_, .meaning = meaning_,             \
    KEY_PLACE(member_)                                                                                               \
  }
#define REAL(path_, member_, low_, high_, default_, meaning_)                                      \
  {                                                                                                \
    .path = path_, .type = KEY_REAL, .minimum = low_, .maximum = high_, .default_value = default_, \
    .allowed = "number from " #low_ " to " #high_, .meaning = meaning_, KEY_PLACE(member_)         \
  }
#define REAL_ABOVE(path_, member_, low_, high_, default_, meaning_)                                               \
  {                                                                                                               \
    .path = path_, .type = KEY_REAL, .minimum = low_, .maximum = high_, .above = true, .default_value = default_, \
    .allowed = "number above " #low_ ", at most " #high_, .meaning = meaning_, KEY_PLACE(member_)                 \
  }
#define REAL_BELOW(path_, member_, low_, high_, default_, meaning_)                                               \
  {                                                                                                               \
    .path = path_, .type = KEY_REAL, .minimum = low_, .maximum = high_, .below = true, .default_value = default_, \
    .allowed = "number from " #low_ ", below " #high_, .meaning = meaning_, KEY_PLACE(member_)                    \
  }
#define HIDDEN(path_, member_, default_, meaning_)                                                       \
  {                                                                                                      \
    .path = path_, .type = KEY_INTEGER_LIST, .minimum = 1, .maximum = 512, .default_value = default_,    \
    .allowed = "list of 1 to 64 integers from 1 to 512", .meaning = meaning_, KEY_PLACE(member_.hidden), \
    .count_offset = offsetof(struct settings, member_.hidden_count)                                      \
  }
/* Keys whose other values belong to a later version. */
#define ONLY(default_) .fixed = true, .default_value = default_, .allowed = default_ " (nothing else in this version)"
#define ONLY_REAL(path_, member_, default_, meaning_)                                                          \
  {                                                                                                            \
    .path = path_, .type = KEY_REAL, .minimum = -1e300, .maximum = 1e300, ONLY(default_), .meaning = meaning_, \
    KEY_PLACE(member_)                                                                                         \
  }

const struct config_key CONFIG_KEYS[] = {
    ENUM("variant", variant, VARIANT_LIST, VARIANT_NAMES, "ct", "what the network predicts, and on which path"),
    ENUM("task", task, TASK_LIST, TASK_NAMES, "classify", "what is asked of the model"),
    ENUM("preset", preset, PRESET_LIST, PRESET_NAMES, "none", "an earlier system's mathematics by name"),
    ENUM("prediction", prediction, PREDICTION_LIST, PREDICTION_NAMES, "auto",
         "the predicted quantity; auto: by variant"),
    {.path = "seed",
     .type = KEY_SEED,
     .allowed = "integer from 0 to 18446744073709551615",
     .default_value = "0",
     .meaning = "of every random number",
     KEY_PLACE(seed)},
    ENUM("precision", precision, PRECISION_LIST, PRECISION_NAMES, "auto", "arithmetic of the kernels"),

    {.path = "data.file",
     .type = KEY_STRING,
     .word = "null",
     .allowed = "null or a file name of at most 511 bytes",
     .default_value = "null",
     .meaning = "HDF5 file with the splits",
     KEY_PLACE(data.file)},
    {.path = "data.condition",
     .type = KEY_STRING,
     .nullable = true,
     .word = "auto",
     .allowed = "auto, null or the name of an array of at most 63 bytes",
     .default_value = "auto",
     .meaning = "array that the model is given; auto: x, for generate null; null: none",
     KEY_PLACE(data.condition)},
    {.path = "data.target",
     .type = KEY_STRING,
     .word = "auto",
     .allowed = "auto or the name of an array of at most 63 bytes",
     .default_value = "auto",
     .meaning = "array that the model makes; auto: y, for generate x",
     KEY_PLACE(data.target)},
    BOOL("data.standardise", data.standardise, "true", "condition and vector targets to mean 0, standard deviation 1"),
    INTEGER("data.augment.shift", data.augment.shift, 0, 64, "0",
            "training images move by up to so many pixels, into 0"),
    BOOL("data.augment.flip", data.augment.flip, "false", "training images are mirrored with probability 1/2"),

    ENUM("schedule.type", schedule.type, SCHEDULE_LIST, SCHEDULE_NAMES, "cosine", "noise schedule of the VP path"),
    {.path = "schedule.alpha_bar",
     .type = KEY_REAL_PAIR,
     .minimum = 0,
     .maximum = 1,
     .above = true,
     .below = true,
     .allowed = "two increasing numbers above 0, below 1",
     .default_value = "[0.001, 0.999]",
     .meaning = "alpha_bar at t = 0 and t = 1",
     KEY_PLACE(schedule.alpha_bar)},
    REAL("schedule.s", schedule.s, 0, 10, "0.008", "offset of the cosine schedule"),
    REAL_ABOVE("schedule.k", schedule.k, 0, 100, "10.0", "steepness of the sigmoid schedule"),
    REAL("schedule.t_mid", schedule.t_mid, -10, 10, "0.5", "middle of the sigmoid schedule"),
    REAL_ABOVE("schedule.beta", schedule.beta, 0, 100, "2.0", "rate of the exponential schedule"),
    REAL("schedule.loc", schedule.loc, -10, 10, "0.5", "median of the cauchy and laplace schedules"),
    REAL_ABOVE("schedule.scale", schedule.scale, 0, 100, "0.1", "width of the cauchy and laplace schedules"),
    REAL("schedule.power", schedule.power, 1, 100, "2.0", "exponent of the polynomial schedule"),
    {.path = "schedule.table",
     .type = KEY_REAL_PAIRS,
     .minimum = -100,
     .maximum = 100,
     .allowed = "list of 2 to 64 pairs [t, gamma], both increasing, t from 0 to 1, gamma from -100 to 100",
     .default_value = "[]",
     .meaning = "of the tabulated schedule; it sets the end points, and schedule.alpha_bar does not count",
     KEY_PLACE(schedule.table),
     .count_offset = offsetof(struct settings, schedule.table_count)},
    {.path = "schedule.hidden",
     .type = KEY_INTEGER_LIST,
     .minimum = 1,
     .maximum = 128,
     .allowed = "list of 1 to 4 integers from 1 to 128",
     .default_value = "[64, 64]",
     .meaning = "widths of the network schedule's hidden layers",
     KEY_PLACE(schedule.hidden),
     .count_offset = offsetof(struct settings, schedule.hidden_count)},
    BOOL(
        "schedule.renormalise", schedule.renormalise, "true",
        "end points met exactly; false: the earlier systems' forms, which miss them, cosine clipped to [0.001, 0.999]"),
    BOOL("schedule.learnable", schedule.learnable, "false",
         "train the schedule's numbers (s; k and t_mid; beta; loc and scale; power; all of a network's) with the "
         "network"),
    BOOL("schedule.learn_endpoints", schedule.learn_endpoints, "false", "train alpha_bar at t = 0 and t = 1 as well"),

    INTEGER_OR("auto", 0, "latent.size", latent.size, 1, 512, "auto", "d; auto: classes, or width of the target"),
    ENUM("latent.embedding", latent.embedding, EMBEDDING_LIST, EMBEDDING_NAMES, "one_hot", "how labels become vectors"),
    REAL_BELOW("latent.off_value", latent.off_value, -10, 1, "0.0", "one-hot entries of the other classes"),
    REAL("latent.noise", latent.noise, 0, 10, "0.0",
         "decoder.type conv: standard deviation of noise in the latents that it is trained with"),

    INTEGER("dt.blocks", dt.blocks, 1, 200, "10", "variant dt: networks, one for each step from noise to data"),
    REAL_ABOVE("dt.eta", dt.eta, 0, 1e6, "1.0",
               "variant dt: weight eta of eta/2 (SNR_k - SNR_(k-1)) of block k's error"),
    ENUM("dt.form", dt.form, DT_FORM_LIST, DT_FORM_NAMES, "bridge", "variant dt: levels, and steps between them"),

    ENUM("coupling", coupling, COUPLING_LIST, COUPLING_NAMES, "independent",
         "how noise and data are paired in training"),

    ENUM("loss.weight", loss.weight, WEIGHT_LIST, WEIGHT_NAMES, "uniform", "w(t) of the main term"),
    ENUM("loss.normalize", loss.normalize, NORMALIZE_LIST, NORMALIZE_NAMES, "none", "what w(t) is divided by"),
    ENUM("loss.t_sampling", loss.t_sampling, T_SAMPLING_LIST, T_SAMPLING_NAMES, "low_discrepancy",
         "how times are drawn"),
    INTEGER("loss.draws", loss.draws, 1, 256, "1", "independent draws of time and noise per row"),
    ENUM("loss.error", loss.error, LOSS_ERROR_LIST, LOSS_ERROR_NAMES, "squared", "error of the main term"),
    ENUM("loss.scale", loss.scale, LOSS_SCALE_LIST, LOSS_SCALE_NAMES, "mean", "of the main term"),
    ENUM("loss.path", loss.path, PATH_LIST, PATH_NAMES, "auto", "how state, data and noise belong together"),
    REAL("loss.t_eps", loss.t_eps, 0, 0.1, "0.001", "t stays in [t_eps, 1 - t_eps]"),
    REAL_ABOVE("loss.cap", loss.cap, 0, 1e6, "5.0", "weight min_snr: largest SNR; snr_prime: largest SNR'"),
    ENUM("loss.recon.type", loss.recon.type, RECON_LIST, RECON_NAMES, "mse", "reconstruction of the target"),
    REAL("loss.recon.weight", loss.recon.weight, 0, 1e6, "0.0", "weight of the reconstruction term"),
    ENUM("loss.recon.weighting", loss.recon.weighting, TERM_WEIGHT_LIST, TERM_WEIGHT_NAMES, "none",
         "how the reconstruction term depends on t"),
    REAL("loss.reg", loss.reg, 0, 1e6, "0.0", "weight of the mean square of dz/dt"),
    ENUM("loss.reg_weighting", loss.reg_weighting, TERM_WEIGHT_LIST, TERM_WEIGHT_NAMES, "none",
         "how the regularisation term depends on t"),
    ENUM("loss.reg_drift", loss.reg_drift, DRIFT_LIST, DRIFT_NAMES, "ode", "whose dz/dt is regularised"),
    REAL("loss.vae", loss.vae, 0, 1e6, "0.0",
         "weight of decode(encode(y)), with the noise left at t = 1, against y; its error as loss.recon.type says"),
    REAL("loss.kl_z0", loss.kl_z0, 0, 1e6, "0.0",
         "weight of the KL divergence of z(0) from N(0, I), in nats (VP path)"),
    ENUM("loss.kl_form", loss.kl_form, KL_FORM_LIST, KL_FORM_NAMES, "exact", "what loss.kl_z0 weighs"),
    REAL("loss.condition_dropout", loss.condition_dropout, 0, 0.95, "0.0",
         "probability that a row is trained without its condition, for sample.guidance"),

    ENUM("network.type", network.type, NETWORK_LIST, NETWORK_NAMES, "mlp", "architecture"),
    {.path = "network.hidden",
     .type = KEY_INTEGER_LIST,
     .minimum = 1,
     .maximum = 4096,
     .allowed = "list of 1 to 64 integers from 1 to 4096",
     .default_value = "[64, 64, 64]",
     .meaning = "widths of the hidden layers",
     KEY_PLACE(network.hidden),
     .count_offset = offsetof(struct settings, network.hidden_count)},
    ENUM("network.activation", network.activation, ACTIVATION_LIST, ACTIVATION_NAMES, "swish", "between layers"),
    ENUM("network.wrapper", network.wrapper, WRAPPER_LIST, WRAPPER_NAMES, "none",
         "the field as derivatives of the network's output"),
    REAL("network.dropout", network.dropout, 0, 0.95, "0.0", "probability that a hidden value is dropped in training"),
    BOOL("network.layer_norm", network.layer_norm, "false",
         "resnet: layer normalisation of the stream before activations"),
    ENUM("network.batch_norm", network.batch_norm, BATCH_NORM_LIST, BATCH_NORM_NAMES, "none",
         "mlp, bilinear: normalisation of hidden layers in an earlier system's form; network.layers have a right one"),
    BOOL("network.squash_activation", network.squash_activation, "true",
         "mlp, bilinear, convex: bias and activation where z, x and t meet; false: neither, as in the earlier systems"),
    ENUM("network.time_embedding.type", network.time_embedding.type, TIME_EMBEDDING_LIST, TIME_EMBEDDING_NAMES,
         "harmonic", "how t enters the network"),
    INTEGER("network.time_embedding.size", network.time_embedding.size, 1, 1024, "16", "features of t"),
    BOOL("network.time_embedding.as_written", network.time_embedding.as_written, "false",
         "the earlier system's forms of linear and cyclical_fourier"),
    ENUM("network.branch.type", network.branch.type, BRANCH_LIST, BRANCH_NAMES, "none",
         "what makes features of a condition that is an image or a sequence"),
    {.path = "network.branch.channels",
     .type = KEY_INTEGER_LIST,
     .minimum = 8,
     .maximum = 512,
     .allowed = "list of 1 to 8 integers from 8 to 512, multiples of 8",
     .default_value = "[32, 64, 128]",
     .meaning = "outputs of the branch's convolutions",
     KEY_PLACE(network.branch.channels),
     .count_offset = offsetof(struct settings, network.branch.channel_count)},
    INTEGER("network.branch.width", network.branch.width, 32, 512, "64", "transformer: channels of a token"),
    INTEGER("network.branch.heads", network.branch.heads, 1, 64, "4", "transformer: heads of attention"),
    INTEGER("network.branch.layers", network.branch.layers, 1, 8, "2", "transformer: layers"),
    INTEGER("network.branch.feed_forward", network.branch.feed_forward, 32, 2048, "256",
            "transformer: hidden width of a layer's feed-forward network"),
    ENUM("network.branch.positions", network.branch.positions, POSITIONS_LIST, POSITIONS_NAMES, "rotary",
         "transformer: how places enter"),
    ENUM("network.branch.activation", network.branch.activation, ACTIVATION_LIST, ACTIVATION_NAMES, "gelu",
         "transformer: of the feed-forward networks"),
    BOOL("network.branch.masked", network.branch.masked, "false",
         "transformer: the last number of a position is 1 where it is there, 0 where it is padding"),
    {.path = "network.branch.blocks",
     .type = KEY_INTEGER_LIST,
     .minimum = 0,
     .maximum = 16,
     .allowed = "list of 1 to 8 integers from 0 to 16",
     .default_value = "[1]",
     .meaning = "resnet: residual blocks behind each entry of channels; one number: behind all",
     KEY_PLACE(network.branch.blocks),
     .count_offset = offsetof(struct settings, network.branch.block_count)},
    INTEGER("network.branch.groups", network.branch.groups, 1, 512, "8",
            "resnet: groups of channels that GroupNorm takes together"),
    ENUM("network.branch.downsample", network.branch.downsample, DOWNSAMPLE_LIST, DOWNSAMPLE_NAMES, "pool",
         "resnet: what halves images"),
    {.path = "network.layers",
     .type = KEY_LAYERS,
     .allowed = "list of at most 64 layers, as [{type: dense, from: [z, x, t], width: 64, activation: swish}, ...]",
     .default_value = "[]",
     .meaning = "of network.type custom, in the order in which they are computed (docs/networks.md)",
     KEY_PLACE(network.layers)},
    INTEGER("network.transformer.width", network.transformer.width, 32, 512, "64",
            "channels of a token, of the state and of the condition"),
    INTEGER("network.transformer.heads", network.transformer.heads, 1, 64, "4", "heads of attention"),
    INTEGER("network.transformer.layers", network.transformer.layers, 1, 8, "2",
            "layers over the state: attention among its positions and to the condition's, feed-forward"),
    INTEGER("network.transformer.condition_layers", network.transformer.condition_layers, 1, 8, "2",
            "layers over the condition, once per row and solve"),
    INTEGER("network.transformer.feed_forward", network.transformer.feed_forward, 32, 2048, "256",
            "hidden width of a layer's feed-forward network"),
    ENUM("network.transformer.positions", network.transformer.positions, POSITIONS_LIST, POSITIONS_NAMES, "rotary",
         "how places enter"),
    BOOL("network.transformer.masked", network.transformer.masked, "false",
         "the last number of a position of the condition is 1 where it is there, 0 where it is padding"),

    ENUM("encoder.type", encoder.type, ENCODER_LIST, ENCODER_NAMES, "identity", "target to latent"),
    HIDDEN("encoder.hidden", encoder, "[32, 32]",
           "widths of the encoder's hidden layers (mlp, resnet); conv: channels, pixels halved behind each"),
    ENUM("encoder.activation", encoder.activation, ACTIVATION_LIST, ACTIVATION_NAMES, "swish",
         "between the encoder's layers (conv: ReLU)"),
    ENUM("decoder.type", decoder.type, DECODER_LIST, DECODER_NAMES, "identity", "latent to target"),
    HIDDEN("decoder.hidden", decoder, "[32, 32]",
           "widths of the decoder's hidden layers (mlp, resnet); conv: channels, pixels doubled behind each"),
    ENUM("decoder.activation", decoder.activation, ACTIVATION_LIST, ACTIVATION_NAMES, "swish",
         "between the decoder's layers (conv: ReLU)"),
    ENUM("decoder.output", decoder.output, DECODER_OUTPUT_LIST, DECODER_OUTPUT_NAMES, "auto",
         "what follows the decoder's layers"),

    ENUM("optimizer.type", optimizer.type, OPTIMIZER_LIST, OPTIMIZER_NAMES, "adamw", "update rule"),
    REAL_ABOVE("optimizer.learning_rate", optimizer.learning_rate, 0, 10, "1.0e-3", "after warm-up"),
    REAL("optimizer.weight_decay", optimizer.weight_decay, 0, 10, "1.0e-4", "decoupled for adamw, else an L2 gradient"),
    REAL("optimizer.clip", optimizer.clip, 0, 1e6, "1.0", "largest global gradient norm; 0: no clipping"),
    REAL_BELOW("optimizer.ema", optimizer.ema, 0, 1, "0.0", "decay of the averaged parameters; 0: none are kept"),
    ENUM("optimizer.schedule", optimizer.schedule, RATE_SCHEDULE_LIST, RATE_SCHEDULE_NAMES, "constant",
         "decay of the learning rate over train.epochs or train.steps"),
    INTEGER("optimizer.warmup_steps", optimizer.warmup_steps, 0, 1000000000, "0", "steps of linear warm-up"),
    REAL_BELOW("optimizer.beta1", optimizer.beta1, 0, 1, "0.9", "adam, adamw: decay of the first moment"),
    REAL_BELOW("optimizer.beta2", optimizer.beta2, 0, 1, "0.999", "adam, adamw: decay of the second moment"),
    REAL_ABOVE("optimizer.epsilon", optimizer.epsilon, 0, 1, "1.0e-8",
               "adam, adamw, adagrad: added to the denominator"),
    REAL_BELOW("optimizer.momentum", optimizer.momentum, 0, 1, "0.0", "sgd: decay of the velocity"),
    BOOL("optimizer.nesterov", optimizer.nesterov, "false", "sgd: look ahead along the velocity"),

    INTEGER("train.epochs", train.epochs, 1, 1000000000, "100", "passes over the training rows"),
    INTEGER_OR("null", 0, "train.steps", train.steps, 1, 4000000000, "null", "optimizer steps, instead of epochs"),
    INTEGER("train.batch", train.batch, 1, 1048576, "256", "rows of one step"),
    INTEGER_OR("null", 0, "train.rows", train.rows, 1, 4000000000, "null",
               "train on the first so many rows; null: all"),
    INTEGER_OR("null", -1, "train.dropout_epochs", train.dropout_epochs, 0, 1000000000, "null",
               "dropout during the first so many epochs; null: always"),
    INTEGER("train.validate_every", train.validate_every, 1, 1000000000, "10", "epochs between validations"),
    INTEGER_OR("null", 0, "train.early_stop", train.early_stop, 1, 1000000000, "null",
               "stop after so many validations without improvement; null: never"),
    INTEGER("train.checkpoint_every", train.checkpoint_every, 1, 1000000000, "10", "epochs between checkpoints"),

    ENUM("sample.method", sample.method, METHOD_LIST, METHOD_NAMES, "auto", "integrator"),
    INTEGER("sample.steps", sample.steps, 1, 100000, "20", "steps from noise to data"),
    ENUM("sample.grid", sample.grid, GRID_LIST, GRID_NAMES, "auto", "where the steps lie"),
    {.path = "sample.times",
     .type = KEY_REAL_LIST,
     .minimum = 0,
     .maximum = 1,
     .word = "null",
     .allowed = "null or list of 2 to 33 numbers that increase from 0 to 1",
     .default_value = "null",
     .meaning = "times of the steps, for grid user; null: none",
     KEY_PLACE(sample.times),
     .count_offset = offsetof(struct settings, sample.time_count)},
    ENUM("sample.init", sample.init, INIT_LIST, INIT_NAMES, "auto", "state at t = 0"),
    ENUM("sample.drift", sample.drift, DRIFT_LIST, DRIFT_NAMES, "ode", "the field that is integrated"),
    {.path = "sample.final_denoise",
     .type = KEY_BOOL,
     .word = "auto",
     .word_value = -1,
     .allowed = "auto | true | false",
     .default_value = "auto",
     .meaning = "give the predicted target at the end, not the state; auto: on the VP path",
     KEY_PLACE(sample.final_denoise)},
    REAL("sample.guidance", sample.guidance, 0, 1000, "1.0",
         "scale of classifier-free guidance; 1: none; else loss.condition_dropout must be above 0"),
    REAL("sample.rtol", sample.rtol, 1e-7, 1, "1.0e-4", "relative tolerance of adaptive methods"),
    REAL("sample.atol", sample.atol, 1e-8, 1, "1.0e-5", "absolute tolerance of adaptive methods"),
    INTEGER("sample.max_steps", sample.max_steps, 1, 1000000, "1000", "adaptive methods: steps that a row may try"),
    REAL("sample.churn", sample.churn, 0, 1, "1.0",
         "drift sde: share of its noise; 0: the ODE, 1: the reverse process"),
    INTEGER("sample.probes", sample.probes, 0, 65535, "0",
            "log densities: 0: exact traces; k: Hutchinson's estimate by k probes"),
};

const int CONFIG_KEY_COUNT = (int)(sizeof CONFIG_KEYS / sizeof *CONFIG_KEYS);
_Static_assert(sizeof CONFIG_KEYS / sizeof *CONFIG_KEYS <= CONFIG_MAX_KEYS, "CONFIG_MAX_KEYS is too small");

/* ---- search ------------------------------------------------------------------------------------------------------ */

int config_key_find(const char *path) {
  for (int i = 0; i < CONFIG_KEY_COUNT; i++)
    if (strcmp(CONFIG_KEYS[i].path, path) == 0) return i;
  return -1;
}

bool config_section_exists(const char *path) {
  const size_t length = strlen(path);
  for (int i = 0; i < CONFIG_KEY_COUNT; i++)
    if (strncmp(CONFIG_KEYS[i].path, path, length) == 0 && CONFIG_KEYS[i].path[length] == '.') return true;
  return false;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal string alignment). */
static int edit_distance(const char *a, const char *b) {
  enum { LONGEST = 64 };
  const size_t n = strlen(a), m = strlen(b);
  if (n > LONGEST || m > LONGEST) return LONGEST;
  int rows[3][LONGEST + 1];
  for (size_t j = 0; j <= m; j++) rows[0][j] = (int)j;
  for (size_t i = 1; i <= n; i++) {
    int *now = rows[i % 3];
    const int *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
    now[0] = (int)i;
    for (size_t j = 1; j <= m; j++) {
      int best = last[j - 1] + (a[i - 1] != b[j - 1]);
      if (last[j] + 1 < best) best = last[j] + 1;
      if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
        best = before[j - 2] + 1;
      now[j] = best;
    }
  }
  return rows[n % 3][m];
}

/* How many slips still make the same word: none in two letters, one in three, then two, then one in three letters. */
static int distance_limit(const char *text) {
  const int length = (int)strlen(text);
  if (length < 4) return length < 3 ? 0 : 1;
  return length < 6 ? 2 : length > 12 ? 4 : length / 3;
}

static const char *last_part(const char *path) {
  const char *dot = strrchr(path, '.');
  return dot == NULL ? path : dot + 1;
}

const char *config_key_suggest(const char *path, char *buffer, size_t size) {
  int best = distance_limit(path) + 1;
  size_t length = 0; /* of the part of a key's path that is suggested: the key, or one of its sections */
  const char *nearest = NULL;
  for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
    const char *key = CONFIG_KEYS[i].path;
    char candidate[64];
    for (const char *end = strchr(key, '.');; end = strchr(end + 1, '.')) {
      const size_t part = end == NULL ? strlen(key) : (size_t)(end - key);
      (void)snprintf(candidate, sizeof candidate, "%.*s", (int)part, key);
      const int distance = edit_distance(path, candidate);
      if (distance < best) best = distance, nearest = key, length = part;
      if (end == NULL) break;
    }
  }
  /* The right name, or nearly, in the wrong section. */
  if (nearest == NULL) {
    best = distance_limit(last_part(path)) + 1;
    for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
      const int distance = edit_distance(last_part(path), last_part(CONFIG_KEYS[i].path));
      if (distance < best) best = distance, nearest = CONFIG_KEYS[i].path, length = strlen(nearest);
    }
  }
  if (nearest == NULL) return NULL;
  (void)snprintf(buffer, size, "%.*s", (int)length, nearest);
  return buffer;
}

const char *config_option_suggest(const option_name *list, const char *text) {
  int best = distance_limit(text) + 1;
  const char *nearest = NULL;
  for (int i = 0; list[i].name != NULL; i++) {
    const int distance = edit_distance(text, list[i].name);
    if (distance < best) best = distance, nearest = list[i].name;
  }
  return nearest;
}
