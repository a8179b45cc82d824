/* Training from data to run folder: epochs, validation, checkpoints, early stop, history, pictures. */
#ifndef NOPROP_TRAINER_H
#define NOPROP_TRAINER_H

#include <stdbool.h>

#include <noprop/config.h>
#include <noprop/dataset.h>
#include <noprop/device.h>
#include <noprop/model.h>
#include <noprop/sampler.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct noprop_trainer noprop_trainer;

typedef struct {
  long epoch, epochs;              /* finished, in all */
  uint64_t step;
  double loss, validation_loss;    /* of the last epoch; NaN if not measured yet */
  double steps_per_second, seconds_left;
} noprop_progress;

/* Called after every epoch and about four times a second; a result other than 0 stops training after a checkpoint. */
typedef int (*noprop_progress_function)(const noprop_progress *progress, void *user);
/* Called with each line of the log (no newline). */
typedef void (*noprop_log_function)(const char *line, void *user);

typedef struct {
  const char *run_folder;          /* NULL: nothing is written, the model stays in memory */
  bool resume;                     /* go on from the folder's last checkpoint; from the start if there is none */
  noprop_progress_function progress;
  noprop_log_function log;
  void *user;
} noprop_trainer_options;

NOPROP_API noprop_status noprop_trainer_create(noprop_device *device, const noprop_config *config, noprop_dataset *dataset,
                                               const noprop_trainer_options *options, noprop_trainer **trainer);
NOPROP_API noprop_status noprop_trainer_run(noprop_trainer *trainer);
/* The trained model; owned by the trainer. */
NOPROP_API noprop_model *noprop_trainer_model(noprop_trainer *trainer);
NOPROP_API void noprop_trainer_destroy(noprop_trainer *trainer);

#ifdef __cplusplus
}
#endif
#endif
