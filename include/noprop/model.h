/* A model: a network with its parameters, optimizer state and random-number position on one device.
 *
 * Shapes: rows B, condition width C, target width Y, latent size d (classes for classify, Y otherwise). */
#ifndef NOPROP_MODEL_H
#define NOPROP_MODEL_H

#include <noprop/config.h>
#include <noprop/dataset.h>
#include <noprop/device.h>
#include <noprop/status.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct noprop_model noprop_model;

/* What the data look like; fixed at creation. */
typedef struct {
  noprop_type condition_type; /* FLOAT32, UINT8 or INT32 (a label per row, entered one-hot) */
  int condition_width;        /* C; 0: no condition. For labels: number of classes */
  bool condition_is_label;
  noprop_type target_type;
  int target_width; /* Y; for labels: number of classes */
  bool target_is_label;
  int condition_shape[3]; /* an image's channels, height, width (their product is C); 0, 0, 0: no image */
  int target_shape[3];    /* likewise of the target (their product is Y) */
} noprop_model_shape;

/* Derives the shape (and class counts) from a data set's training split and the configuration's roles. */
NOPROP_API noprop_status noprop_model_shape_from_data(const noprop_config *config, noprop_dataset *dataset,
                                                      noprop_model_shape *shape);

/* Creates a model with freshly initialised parameters (seed from the configuration). Everything that can fail for
 * lack of memory, shapes or unsupported options fails here. The device must outlive the model. */
NOPROP_API noprop_status noprop_model_create(noprop_device *device, const noprop_config *config,
                                             const noprop_model_shape *shape, noprop_model **model);
NOPROP_API void noprop_model_destroy(noprop_model *model);

/* One file is enough to predict, sample or go on training with the same bits. Written beside and renamed. */
NOPROP_API noprop_status noprop_model_save(noprop_model *model, const char *path);
NOPROP_API noprop_status noprop_model_load(noprop_device *device, const char *path, noprop_model **model);

/* Standardisation used on the way in and out: value' = (value - mean[i]) / std[i]. NULL leaves mean 0, std 1.
 * condition [C], target [Y]; ignored for labels. */
NOPROP_API noprop_status noprop_model_set_statistics(noprop_model *model, const float *condition_mean,
                                                     const float *condition_std, const float *target_mean,
                                                     const float *target_std);

/* ---- parameters -------------------------------------------------------------------------------------------------- */

typedef struct {
  const char *name; /* "x.0.weight" */
  int rank;         /* 1 or 2 */
  long shape[2];    /* weights are [in][out] */
  long offset;      /* position of the first value in the flat arrays below, in floats, no padding */
} noprop_parameter;

NOPROP_API int noprop_model_parameter_count(const noprop_model *model);   /* number of arrays */
NOPROP_API long noprop_model_parameter_values(const noprop_model *model); /* number of floats in all of them */
NOPROP_API noprop_parameter noprop_model_parameter(const noprop_model *model, int index);
/* Flat copies of all parameters, [noprop_model_parameter_values]. `ema` true: the averaged ones. */
NOPROP_API noprop_status noprop_model_get_parameters(noprop_model *model, bool ema, float *values);
NOPROP_API noprop_status noprop_model_set_parameters(noprop_model *model, const float *values);

/* ---- training ---------------------------------------------------------------------------------------------------- */

/* Binds the rows to train on; they are uploaded once (or streamed through two pinned buffers if they do not fit, or if
 * NOPROP_STREAM=1). condition may be NULL. The arrays must stay valid while bound. */
NOPROP_API noprop_status noprop_model_bind(noprop_model *model, const noprop_array *condition,
                                           const noprop_array *target, int batch);

/* Runs `steps` optimizer steps on the bound rows, continuing the model's position. Steps are counted over epochs of
 * ceil(rows / batch); the order of rows is a fresh permutation every epoch. Asynchronous; no copy to the host. */
NOPROP_API noprop_status noprop_model_train_step(noprop_model *model, long steps);

/* Sums over the steps since the last call, averaged: waits for the device. */
typedef struct {
  double loss, flow, recon, reg; /* loss is the weighted total that was minimised */
  double gradient_norm;          /* of the last step, before clipping; 0 without clipping */
  double learning_rate;          /* of the last step */
  long steps, rows;              /* that were averaged */
  uint64_t step;                 /* position after them */
  int64_t bad_step;              /* first step with a loss that is not finite, or -1; parameters are those before it */
  char bad_term[16]; /* its first term that is not finite: "flow", "recon", "reg", "vae", "kl_z0", "gradient" */
  double vae, kl_z0; /* further terms of the loss: decode(encode(y)) against y; KL divergence of z(0) in nats */
} noprop_train_metrics;
NOPROP_API noprop_status noprop_model_train_metrics(noprop_model *model, noprop_train_metrics *metrics);

/* Variant dt: number T of its blocks; other variants: 0. Block k has the parameters "block.k.NAME". */
NOPROP_API int noprop_model_blocks(const noprop_model *model);
/* Variant dt: what each block did in the steps since the last noprop_model_train_metrics (so: before that is called
 * again). loss [T]: mean of its weighted loss, without what belongs to no block (recon, kl_z0); gradient_norm [T] or
 * NULL: of the last step, before the block's own clipping; 0 without clipping. Waits for the device. */
NOPROP_API noprop_status noprop_model_block_metrics(noprop_model *model, double *loss, double *gradient_norm);

/* Loss terms for given rows, times and noise, and gradients; nothing is updated. Host memory, all row-major.
 *   condition [rows][C] or labels, target [rows][Y] or labels (types as the model's shape)
 *   t [rows] or NULL, noise [rows][d] or NULL: drawn as training step `step` would, without dropout
 *   gradient: flat as noprop_model_get_parameters, or NULL. Layers of type batch_norm take the statistics of these
 *     rows with it, as in training (running statistics stay as they are), and running statistics without it
 *   prediction [rows][d], z [rows][d]: network output and z_t, or NULL
 *   row_loss [rows]: weighted total of each row, or NULL
 *   latent [rows][d]: the clean latent z1 that the encoder made (only models with an encoder), or NULL
 *   state_gradient, target_gradient [rows][d]: derivatives of the mean loss by the state z_t (of the first draw) and by
 * the clean latent z1 (through z_t = a z1 + b e and through what the network should have said), or NULL. With these a
 *     caller can train what lies before the latent. Only with `gradient`, and only with precision fp32.
 *   block: variant dt: whose prediction, z and part of row_loss are returned, 1 to T; 0: the last. loss and gradient
 * are those of all blocks, `noise` is given to each */
typedef struct {
  long rows;
  const void *condition, *target;
  const float *t, *noise;
  uint64_t step;
  bool dropout;
  float *gradient, *prediction, *z, *row_loss;
  float *state_gradient, *target_gradient;
  float *latent;
  int block;
} noprop_loss_request;
typedef struct {
  double loss, flow, recon, reg, vae, kl_z0; /* terms without weight in the configuration are 0 */
} noprop_loss_terms;
NOPROP_API noprop_status noprop_model_loss(noprop_model *model, const noprop_loss_request *request,
                                           noprop_loss_terms *terms);

/* Position in training. */
NOPROP_API uint64_t noprop_model_step(const noprop_model *model);

/* Latent size d: the target's width, or what latent.size says where there is an encoder or labels have an embedding. */
NOPROP_API int noprop_model_latent_size(const noprop_model *model);

/* ---- evaluation -------------------------------------------------------------------------------------------------- */

/* Mean loss terms over rows with noise and times fixed by the seed (the same at every call), averaged weights if there
 * are any, no dropout. Accumulated on the device. */
NOPROP_API noprop_status noprop_model_validate(noprop_model *model, const noprop_array *condition,
                                               const noprop_array *target, noprop_loss_terms *terms);

/* The arithmetic that the model's kernels use: "fp32", "tf32x3", "tf32" or "bf16", never "auto". *reason (may be NULL)
 * receives why, in words: asked for, or what precision auto or fp32 (which stands for tf32x3 on some GPUs) went by.
 * Both texts live as long as the model. */
NOPROP_API const char *noprop_model_precision(const noprop_model *model, const char **reason);

/* The configuration that the model was made with; owned by the model. */
NOPROP_API const noprop_config *noprop_model_config(const noprop_model *model);
NOPROP_API const noprop_model_shape *noprop_model_get_shape(const noprop_model *model);

/* Description in words: layers, parameters, tile, tier, shared memory, launches per step. Free with noprop_free. */
NOPROP_API noprop_status noprop_model_describe(noprop_model *model, char **text);

/* Compares the vector-Jacobian products of layers of type source (network.layers) with central differences of their
 * functions, at 32 random rows and near the model's parameters. `layers` gets their number, `worst` the largest error
 * as a part of a layer's largest derivative; either may be NULL. NOPROP_INVALID_CONFIG with a sentence that names the
 * function if they differ in more than a few rows by more than 2 %; NOPROP_COMPILE_ERROR with file and line if a file
 * does not compile. Models without such layers pass at once. */
NOPROP_API noprop_status noprop_model_check_layers(noprop_model *model, int *layers, double *worst);

#ifdef __cplusplus
}
#endif
#endif
