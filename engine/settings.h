/* Every option of the engine as typed values: what a configuration holds once its text has been read.
 *
 * host/config maps dotted keys to these members; the engine reads them. Defaults stand in host/config's key table and
 * nowhere else. Presets are applied to a copy (settings_resolve) before anything uses the values. */
#ifndef ENGINE_SETTINGS_H
#define ENGINE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/layers.h"
#include "engine/options.h"
#include "kernels/branch_arguments.h"
#include "noprop/config.h"
#include "noprop/status.h"

enum { SETTINGS_MAX_HIDDEN = 64, SETTINGS_MAX_TIMES = 33, SETTINGS_MAX_KNOTS = 64, SETTINGS_TEXT = 512 };

/* An encoder or a decoder. */
struct coder_settings {
  int type, activation;
  int hidden[SETTINGS_MAX_HIDDEN], hidden_count; /* of mlp and resnet */
  int output;                                    /* decoder: enum decoder_output */
};

struct settings {
  int variant, task, preset, prediction, precision, coupling; /* enums of options.h */
  uint64_t seed;
  struct {
    char file[SETTINGS_TEXT], condition[64], target[64]; /* condition "" : by task; "null": none */
    bool standardise;
    struct {     /* of conditions that are images, in training */
      int shift; /* pixels, at most */
      bool flip;
    } augment;
  } data;
  struct {
    int type;
    double alpha_bar[2];                 /* at t = 0 and t = 1 */
    double s, k, t_mid;                  /* cosine offset; sigmoid steepness and middle */
    double beta, loc, scale, power;      /* exponential rate; cauchy, laplace median and width; polynomial exponent */
    double table[SETTINGS_MAX_KNOTS][2]; /* tabulated: t, gamma */
    int table_count;
    int hidden[SETTINGS_MAX_HIDDEN], hidden_count; /* widths of the monotone network */
    bool learnable, learn_endpoints;
    bool renormalise; /* true: end points met exactly; false: the earlier systems' form, clipped to [.001, .999] */
  } schedule;
  struct {
    int size; /* 0: auto */
    int embedding;
    double off_value; /* one-hot entries of the other classes: 0, or -1 in presets */
    double noise;     /* that a decoder of type conv is trained with */
  } latent;
  struct {
    int blocks;
    double eta; /* weight of the bound's terms */
    int form;   /* enum dt_form */
  } dt;
  struct {
    int weight, normalize, t_sampling, draws, error;
    int path, scale, kl_form; /* earlier systems' forms: enum loss_path, loss_scale, kl_form */
    struct {
      int type, weighting; /* enum recon, enum term_weight */
      double weight;
    } recon;
    double reg;
    int reg_weighting; /* enum term_weight */
    int reg_drift;     /* enum drift: whose dz/dt is regularised */
    double vae, kl_z0;
    double condition_dropout; /* probability that a row is trained without its condition */
    double t_eps;             /* t stays in [t_eps, 1 - t_eps] */
    double cap;               /* of SNR in weight min_snr, of SNR' in snr_prime */
  } loss;
  struct {
    int type, activation, wrapper;
    int hidden[SETTINGS_MAX_HIDDEN], hidden_count;
    double dropout;
    bool layer_norm;        /* resnet: before every activation of the stream */
    int batch_norm;         /* mlp, bilinear: enum batch_norm */
    bool squash_activation; /* bias and activation after the squash */
    struct {
      int type, size;
      bool as_written; /* the JAX library's forms of linear and cyclical_fourier */
    } time_embedding;
    struct { /* of a condition that is an image or a sequence (branch.h) */
      int type;
      int channels[BRANCH_LAYERS], channel_count;
      /* Type transformer. masked: the last number of a position says whether it is there. */
      int width, heads, layers, feed_forward, positions, activation;
      bool masked;
      int blocks[BRANCH_LAYERS], block_count; /* type resnet: of each entry of channels; one number: of all */
      int groups;                             /* type resnet: of GroupNorm */
      int downsample;                         /* type resnet: what halves images */
    } branch;
    struct layer_list layers; /* of type custom */
    struct {                  /* of type transformer; masked: as of the branch */
      int width, heads, layers, condition_layers, feed_forward, positions;
      bool masked;
    } transformer;
  } network;
  struct coder_settings encoder, decoder;
  struct {
    int type, schedule;
    double learning_rate, weight_decay, clip, ema; /* clip 0: none; ema 0: none */
    double beta1, beta2, epsilon, momentum;
    bool nesterov;
    int64_t warmup_steps;
  } optimizer;
  struct {
    int64_t epochs, steps; /* steps 0: by epochs */
    int batch;
    int64_t rows;           /* 0: all */
    int64_t dropout_epochs; /* -1: all */
    int64_t validate_every, checkpoint_every;
    int64_t early_stop; /* 0: never; else validations without improvement */
  } train;
  struct {
    int method, steps, grid, init, drift;
    int final_denoise; /* 1, 0 */
    double guidance, rtol, atol;
    double churn;                     /* of drift sde */
    int max_steps;                    /* of adaptive methods */
    int probes;                       /* of densities; 0: exact traces */
    double times[SETTINGS_MAX_TIMES]; /* of grid user; none: the caller's */
    int time_count;
  } sample;
};

/* The settings inside a configuration, preset applied and every `auto` of the mathematics resolved (prediction, latent
 * size stays 0 until the data are known). Fails with the sentence of noprop_config_check. */
noprop_status settings_resolve(const noprop_config *config, struct settings *settings);

/* Name of an enumerator and back; -1 for an unknown name. `list` is one of the arrays that options.c builds. */
typedef struct {
  const char *name, *meaning;
} option_name;
extern const option_name VARIANT_NAMES[], TASK_NAMES[], PRESET_NAMES[], PREDICTION_NAMES[], PRECISION_NAMES[],
    SCHEDULE_NAMES[], WEIGHT_NAMES[], TERM_WEIGHT_NAMES[], NORMALIZE_NAMES[], T_SAMPLING_NAMES[], LOSS_ERROR_NAMES[],
    LOSS_SCALE_NAMES[], PATH_NAMES[], KL_FORM_NAMES[], DT_FORM_NAMES[], RECON_NAMES[], EMBEDDING_NAMES[],
    COUPLING_NAMES[], NETWORK_NAMES[], WRAPPER_NAMES[], ACTIVATION_NAMES[], TIME_EMBEDDING_NAMES[], ENCODER_NAMES[],
    DECODER_NAMES[], DECODER_OUTPUT_NAMES[], OPTIMIZER_NAMES[], RATE_SCHEDULE_NAMES[], METHOD_NAMES[], GRID_NAMES[],
    INIT_NAMES[], DRIFT_NAMES[], BRANCH_NAMES[], LAYER_NAMES[], POSITIONS_NAMES[], DOWNSAMPLE_NAMES[],
    LAYER_INITIAL_NAMES[], BATCH_NORM_NAMES[];
int option_find(const option_name *list, const char *name);

/* Whether `precision` names kernels on tensor cores, which not every model has. */
bool precision_is_tensor(int precision);

/* Whether the network says how likely each class is, and what it predicts is that mixture of their learned vectors
 * (variant ct with latent.embedding learned). */
bool settings_mixes_classes(const struct settings *settings);

#endif
