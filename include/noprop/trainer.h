/* Training from data to run folder: epochs, validation, checkpoints, early stop, history, pictures.
 *
 * A run folder holds config.yaml (complete, as used), model.h5 (the last checkpoint; one file is enough to go on with
 * the same bits), best.h5 (lowest validation loss), history.csv (one row per epoch), metrics.json (at the end),
 * log.txt, and pictures with their data and gnuplot scripts. All but log.txt are the same bytes for the same inputs. */
#ifndef NOPROP_TRAINER_H
#define NOPROP_TRAINER_H

#include <noprop/config.h>
#include <noprop/dataset.h>
#include <noprop/device.h>
#include <noprop/model.h>
#include <noprop/sampler.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct noprop_trainer noprop_trainer;

typedef struct {
  long epoch, epochs; /* finished, in all */
  uint64_t step;
  double loss, validation_loss; /* of the last epoch; NaN if not measured yet */
  double steps_per_second, seconds_left;
} noprop_progress;

/* Called after every epoch and about four times a second; a result other than 0 stops training after a checkpoint. */
typedef int (*noprop_progress_function)(const noprop_progress *progress, void *user);
/* Called with each line of the log (no newline). */
typedef void (*noprop_log_function)(const char *line, void *user);

typedef struct {
  const char *run_folder; /* NULL: nothing is written, the model stays in memory */
  bool resume;            /* go on from the folder's last checkpoint; from the start if there is none */
  noprop_progress_function progress;
  noprop_log_function log;
  void *user;
} noprop_trainer_options;

/* Names of the arrays that play the two roles, by task and configuration; condition "" if there is none. */
typedef struct {
  char condition[64], target[64];
} noprop_data_roles;
NOPROP_API noprop_status noprop_config_data_roles(const noprop_config *config, noprop_data_roles *roles);

/* Prepares everything that can fail early: data, shapes, statistics of the training rows, the model with its memory,
 * the run folder. Resuming, the configuration must be the run's own but for train.epochs and train.steps; a folder that
 * holds a run already is refused without `resume`. The device and the data set must outlive the trainer. */
NOPROP_API noprop_status noprop_trainer_create(noprop_device *device, const noprop_config *config,
                                               noprop_dataset *dataset, const noprop_trainer_options *options,
                                               noprop_trainer **trainer);
/* Trains to the end, evaluates and draws. NOPROP_STOPPED if the progress function asked for it (a checkpoint is
 * written), NOPROP_NOT_FINITE if a loss was not finite (the last checkpoint is kept). */
NOPROP_API noprop_status noprop_trainer_run(noprop_trainer *trainer);
/* The trained model; owned by the trainer. */
NOPROP_API noprop_model *noprop_trainer_model(noprop_trainer *trainer);

/* What training came to; complete after noprop_trainer_run has returned NOPROP_OK. */
typedef struct {
  long epochs; /* finished, the last one perhaps in part */
  uint64_t steps;
  double loss, validation_loss; /* of the last epoch and of the last validation; NaN: not measured */
  double best_validation_loss;  /* NaN without validation */
  long best_epoch;              /* its epoch; 0 without validation */
  bool stopped_early;           /* by train.early_stop */
  bool has_metrics;
  char split[16]; /* that was evaluated: "test", "validation" or "train", the first there is */
  noprop_metrics metrics;
  long parameters;          /* numbers in the model */
  double seconds;           /* spent in optimizer steps and validations by this call */
  double steps_per_second;  /* over the steps of this call */
  double launches_per_step; /* kernel launches of training steps */
  bool has_bound;           /* noprop_bound of the evaluated rows, where the model has one: */
  double nelbo_nats, nelbo_error;
  char precision[8]; /* arithmetic of the kernels: "fp32", "tf32x3", "tf32" or "bf16" */
} noprop_training_result;
NOPROP_API noprop_status noprop_trainer_get_result(const noprop_trainer *trainer, noprop_training_result *result);
NOPROP_API void noprop_trainer_destroy(noprop_trainer *trainer);

#ifdef __cplusplus
}
#endif
#endif
