/* Training from data to run folder.
 *
 * One loop over optimizer steps in chunks of about a tenth of a second, so that a stop is heard soon and progress
 * moves. Chunks never change results: the device sums the loss terms of an epoch, and they are read once at its end. A
 * checkpoint in the middle of an epoch (after a stop) holds those sums, so that the epoch's row of the history comes
 * out the same as if nothing had happened. A checkpoint holds the history up to the last whole epoch; best epoch and
 * patience are always worked out from the history and so need no memory of their own. */
#include "noprop/trainer.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/settings.h"
#include "engine/status.h"
#include "host/block_record.h"
#include "host/checkpoint.h"
#include "host/config.h"
#include "host/history.h"
#include "host/progress.h"
#include "host/run_files.h"
#include "host/schedule_record.h"
#include "host/statistics.h"
#include "noprop/report.h"

/* Seconds of training between two looks at the stop flag. */
static const double CHUNK_SECONDS = 0.1;
static const double PROGRESS_SECONDS = 0.25;

struct rows {
  bool has_condition;
  noprop_array condition, target;
};

struct noprop_trainer {
  noprop_device *device;
  noprop_config *config;
  struct settings settings;
  noprop_dataset *dataset;
  noprop_data_roles roles;
  noprop_trainer_options options;
  char *folder; /* owned copy of options.run_folder, or NULL */
  noprop_model *model;
  struct rows train, validation, evaluation;
  bool has_validation;
  uint64_t steps_per_epoch, total_steps, start_step;
  long epochs;
  struct history history;
  struct progress progress;
  FILE *log_file, *history_file;
  double last_progress;
  unsigned long long launches; /* of training steps */
  noprop_training_result result;
};

/* ---- words ------------------------------------------------------------------------------------------------------- */

static void trainer_log(noprop_trainer *trainer, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void trainer_log(noprop_trainer *trainer, const char *format, ...) {
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (trainer->options.log) trainer->options.log(line, trainer->options.user);
  if (trainer->log_file) {
    time_t now = time(NULL);
    struct tm local;
    char stamp[40] = "";
    if (localtime_r(&now, &local)) strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &local);
    fprintf(trainer->log_file, "%s  %s\n", stamp, line);
    fflush(trainer->log_file);
  }
}

/* Each line of the text, after `heading`. */
static void log_text(noprop_trainer *trainer, const char *heading, const char *text) {
  while (*text) {
    size_t length = strcspn(text, "\n");
    if (length > 0) trainer_log(trainer, "%s%.*s", heading, (int)length, text);
    text += length + (text[length] == '\n');
  }
}

static void report_log(const char *line, void *user) { trainer_log(user, "%s", line); }

/* ---- data -------------------------------------------------------------------------------------------------------- */

noprop_status noprop_config_data_roles(const noprop_config *config, noprop_data_roles *roles) {
  struct settings settings;
  noprop_status status = settings_resolve(config, &settings);
  if (status != NOPROP_OK) return status;
  bool generate = settings.task == TASK_GENERATE;
  const char *condition = settings.data.condition, *target = settings.data.target;
  if (condition[0] == 0 || strcmp(condition, "auto") == 0) condition = generate ? "" : "x";
  if (strcmp(condition, "null") == 0) condition = "";
  if (target[0] == 0 || strcmp(target, "auto") == 0) target = generate ? "x" : "y";
  snprintf(roles->condition, sizeof roles->condition, "%s", condition);
  snprintf(roles->target, sizeof roles->target, "%s", target);
  return NOPROP_OK;
}

static noprop_status split_rows(noprop_trainer *trainer, const char *split, struct rows *rows) {
  noprop_status status = noprop_dataset_get(trainer->dataset, split, trainer->roles.target, &rows->target);
  rows->has_condition = trainer->roles.condition[0] != 0;
  if (status == NOPROP_OK && rows->has_condition)
    status = noprop_dataset_get(trainer->dataset, split, trainer->roles.condition, &rows->condition);
  if (status != NOPROP_OK) return status_prefix(status, "split %s", split);
  if (rows->has_condition && rows->condition.rows != rows->target.rows)
    return status_set(NOPROP_FILE_ERROR, "split %s has %ld rows of %s and %ld of %s; they must be as many", split,
                      rows->condition.rows, rows->condition.name, rows->target.rows, rows->target.name);
  if (rows->target.rows < 1) return status_set(NOPROP_FILE_ERROR, "split %s has no rows", split);
  return NOPROP_OK;
}

static const noprop_array *condition_of(const struct rows *rows) {
  return rows->has_condition ? &rows->condition : NULL;
}

/* Columns that never change are divided by 1. */
static void replace_zeros(float *std, int width) {
  for (int i = 0; std && i < width; i++)
    if (std[i] <= 0) std[i] = 1;
}

static noprop_status set_statistics(noprop_trainer *trainer) {
  const noprop_model_shape *shape = noprop_model_get_shape(trainer->model);
  float *condition_mean = NULL, *condition_std = NULL, *target_mean = NULL, *target_std = NULL;
  noprop_status status = NOPROP_OK;
  const bool tokens = trainer->settings.network.type == NETWORK_TRANSFORMER && shape->condition_shape[0] == 1;
  const bool sequences = trainer->settings.network.branch.type == BRANCH_TRANSFORMER || tokens;
  if (trainer->train.has_condition && sequences)
    status = statistics_of_sequences(
        &trainer->train.condition, shape->condition_shape[2],
        tokens ? trainer->settings.network.transformer.masked : trainer->settings.network.branch.masked,
        &condition_mean, &condition_std);
  else if (trainer->train.has_condition && !shape->condition_is_label)
    status = statistics_of_columns(&trainer->train.condition, &condition_mean, &condition_std);
  if (status == NOPROP_OK && condition_std && !sequences && trainer->settings.network.branch.type != BRANCH_NONE)
    statistics_pool_channels(shape->condition_shape, condition_mean, condition_std);
  replace_zeros(condition_std, shape->condition_width);
  if (status == NOPROP_OK && !shape->target_is_label)
    status = statistics_of_columns(&trainer->train.target, &target_mean, &target_std);
  if (status == NOPROP_OK && target_std && trainer->settings.encoder.type == CODER_CONV)
    statistics_pool_channels(shape->target_shape, target_mean, target_std);
  replace_zeros(target_std, shape->target_width);
  if (status == NOPROP_OK)
    status = noprop_model_set_statistics(trainer->model, condition_mean, condition_std, target_mean, target_std);
  free(condition_mean);
  free(condition_std);
  free(target_mean);
  free(target_std);
  return status;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

/* What a checkpoint says about the run: how many rows it is trained on, and its history. */
static const char NOTE_FORMAT[] = "rows %ld\n";

static noprop_status save(noprop_trainer *trainer, const char *name) {
  char path[RUN_PATH];
  struct text note = {0};
  text_add(&note, NOTE_FORMAT, trainer->train.target.rows);
  history_text(&note, &trainer->history);
  noprop_status status = note.failed ? status_set(NOPROP_OUT_OF_MEMORY, "no memory for the history") : NOPROP_OK;
  if (status == NOPROP_OK) status = run_path(path, trainer->folder, name);
  if (status == NOPROP_OK) status = checkpoint_save(trainer->model, note.data, path);
  free(note.data);
  return status;
}

static noprop_status restore(noprop_trainer *trainer, const char *path) {
  char *note = NULL;
  noprop_status status = checkpoint_load(trainer->device, path, trainer->config, &trainer->model, &note);
  if (status != NOPROP_OK) return status;
  long rows = 0;
  const char *history = note ? strchr(note, '\n') : NULL;
  if (!history || sscanf(note, NOTE_FORMAT, &rows) != 1)
    status = status_set(NOPROP_FILE_ERROR, "%s holds a model, but not the state of a training to go on with", path);
  else if (rows != trainer->train.target.rows)
    status =
        status_set(NOPROP_FILE_ERROR, "%s was trained on %ld rows, and there are %ld now; go on with the same data",
                   path, rows, trainer->train.target.rows);
  else
    status = history_parse(&trainer->history, history + 1, path);
  free(note);
  return status;
}

/* Refuses a configuration that differs from the run's own in more than the length of the training. */
static noprop_status check_same_config(noprop_trainer *trainer) {
  char path[RUN_PATH];
  noprop_config *before = NULL;
  noprop_status status = run_path(path, trainer->folder, "config.yaml");
  if (status != NOPROP_OK || !run_file_exists(path)) return status;
  char *const then = malloc((size_t)2 * CONFIG_VALUE_MOST);
  if (!then) return status_set(NOPROP_OUT_OF_MEMORY, "no memory is left to compare two configurations");
  char *const now = then + CONFIG_VALUE_MOST;
  status = noprop_config_create(&before);
  if (status == NOPROP_OK) status = noprop_config_load(before, path);
  for (int i = 0; status == NOPROP_OK; i++) {
    const char *key = noprop_config_key_at(i).path;
    if (!key) break;
    if (strcmp(key, "train.epochs") == 0 || strcmp(key, "train.steps") == 0) continue;
    status = noprop_config_get(before, key, then, CONFIG_VALUE_MOST);
    if (status == NOPROP_OK) status = noprop_config_get(trainer->config, key, now, CONFIG_VALUE_MOST);
    if (status == NOPROP_OK && strcmp(then, now) != 0)
      status = status_set(
          NOPROP_INVALID_CONFIG,
          "%s is %s in the run %s and cannot become %s when it is resumed (only train.epochs and train.steps "
          "can change); leave it out, or start a new run",
          key, then, trainer->folder, now);
  }
  noprop_config_destroy(before);
  free(then);
  return status;
}

static noprop_status open_file(noprop_trainer *trainer, const char *name, const char *mode, FILE **file) {
  char path[RUN_PATH];
  noprop_status status = run_path(path, trainer->folder, name);
  if (status != NOPROP_OK) return status;
  *file = fopen(path, mode);
  return *file ? NOPROP_OK : status_set(NOPROP_FILE_ERROR, "%s could not be opened: %s", path, strerror(errno));
}

static noprop_status prepare_folder(noprop_trainer *trainer, bool *has_checkpoint) {
  char checkpoint[RUN_PATH], history[RUN_PATH], *text = NULL;
  noprop_status status = run_folder_make(trainer->folder);
  if (status == NOPROP_OK) status = run_path(checkpoint, trainer->folder, "model.h5");
  if (status == NOPROP_OK) status = run_path(history, trainer->folder, "history.csv");
  if (status != NOPROP_OK) return status;
  *has_checkpoint = run_file_exists(checkpoint);
  if (!trainer->options.resume && (*has_checkpoint || run_file_exists(history)))
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "%s holds a run already; resume it (--resume), or choose another folder for a new one",
                      trainer->folder);
  if (trainer->options.resume) status = check_same_config(trainer);
  if (status == NOPROP_OK) status = noprop_config_text(trainer->config, &text);
  struct text file = {0};
  if (status == NOPROP_OK) text_add(&file, "%s", text);
  if (status == NOPROP_OK) status = text_write(&file, trainer->folder, "config.yaml");
  noprop_free(text);
  if (status == NOPROP_OK) status = open_file(trainer, "log.txt", "ae", &trainer->log_file);
  return status;
}

/* ---- creation ---------------------------------------------------------------------------------------------------- */

static void limit_rows(noprop_array *array, long rows) {
  if (array->rows > rows) array->rows = array->shape[0] = rows;
}

static void find_position(noprop_trainer *trainer) {
  const struct settings *settings = &trainer->settings;
  uint64_t rows = (uint64_t)trainer->train.target.rows, batch = (uint64_t)settings->train.batch;
  trainer->steps_per_epoch = (rows + batch - 1) / batch;
  trainer->total_steps = settings->train.steps > 0 ? (uint64_t)settings->train.steps
                                                   : (uint64_t)settings->train.epochs * trainer->steps_per_epoch;
  trainer->epochs = (long)((trainer->total_steps + trainer->steps_per_epoch - 1) / trainer->steps_per_epoch);
}

static void describe(noprop_trainer *trainer) {
  char *text = NULL;
  if (noprop_model_describe(trainer->model, &text) == NOPROP_OK) log_text(trainer, "", text);
  noprop_free(text);
  text = NULL;
  if (config_preset_notes(&trainer->settings, &text) == NOPROP_OK) log_text(trainer, "known of the preset: ", text);
  noprop_free(text);
  text = NULL;
  if (config_warnings(trainer->config, &text) == NOPROP_OK) log_text(trainer, "warning: ", text);
  noprop_free(text);
  text = NULL;
  noprop_sampler_options options = noprop_sampler_options_default(trainer->model);
  if (noprop_sampler_describe(trainer->model, &options, &text) == NOPROP_OK) trainer_log(trainer, "sampler: %s", text);
  noprop_free(text);
  trainer_log(trainer, "training: %ld rows, %" PRIu64 " steps per epoch, %ld epochs, %" PRIu64 " steps in all",
              trainer->train.target.rows, trainer->steps_per_epoch, trainer->epochs, trainer->total_steps);
}

static noprop_status create(noprop_trainer *trainer) {
  noprop_model_shape shape;
  char checkpoint[RUN_PATH];
  bool has_checkpoint = false;
  noprop_status status = settings_resolve(trainer->config, &trainer->settings);
  if (status == NOPROP_OK) status = noprop_config_data_roles(trainer->config, &trainer->roles);
  if (status == NOPROP_OK) status = noprop_model_shape_from_data(trainer->config, trainer->dataset, &shape);
  if (status == NOPROP_OK) status = split_rows(trainer, "train", &trainer->train);
  if (status != NOPROP_OK) return status;
  if (trainer->settings.train.rows > 0) {
    limit_rows(&trainer->train.condition, trainer->settings.train.rows);
    limit_rows(&trainer->train.target, trainer->settings.train.rows);
  }
  trainer->has_validation = noprop_dataset_has_split(trainer->dataset, "validation") != 0;
  if (trainer->has_validation) status = split_rows(trainer, "validation", &trainer->validation);
  const char *split = noprop_dataset_has_split(trainer->dataset, "test") ? "test"
                      : trainer->has_validation                          ? "validation"
                                                                         : "train";
  snprintf(trainer->result.split, sizeof trainer->result.split, "%s", split);
  if (status == NOPROP_OK) status = split_rows(trainer, split, &trainer->evaluation);
  if (status == NOPROP_OK && trainer->folder) status = prepare_folder(trainer, &has_checkpoint);
  if (status != NOPROP_OK) return status;

  find_position(trainer);
  if (has_checkpoint) {
    status = run_path(checkpoint, trainer->folder, "model.h5");
    if (status == NOPROP_OK) status = restore(trainer, checkpoint);
  } else {
    status = noprop_model_create(trainer->device, trainer->config, &shape, &trainer->model);
    if (status == NOPROP_OK && trainer->settings.data.standardise) status = set_statistics(trainer);
    int layers = 0;
    double worst = 0;
    if (status == NOPROP_OK) status = noprop_model_check_layers(trainer->model, &layers, &worst);
    if (status == NOPROP_OK && layers > 0)
      trainer_log(trainer, "%d layers of type source: derivatives meet differences, to %.1g of the largest one", layers,
                  worst);
  }
  if (status == NOPROP_OK)
    status = noprop_model_bind(trainer->model, condition_of(&trainer->train), &trainer->train.target,
                               trainer->settings.train.batch);
  if (status != NOPROP_OK) return status;
  trainer->start_step = noprop_model_step(trainer->model);
  describe(trainer);
  if (has_checkpoint)
    trainer_log(trainer, "resumed at step %" PRIu64 " of %" PRIu64 " (epoch %" PRIu64 ")", trainer->start_step,
                trainer->total_steps, trainer->start_step / trainer->steps_per_epoch);
  else if (trainer->options.resume)
    trainer_log(trainer, "no checkpoint in %s yet: starting from the beginning",
                trainer->folder ? trainer->folder : "memory");
  return NOPROP_OK;
}

noprop_status noprop_trainer_create(noprop_device *device, const noprop_config *config, noprop_dataset *dataset,
                                    const noprop_trainer_options *options, noprop_trainer **trainer_out) {
  if (!trainer_out)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_trainer_create needs somewhere to put the trainer");
  *trainer_out = NULL;
  if (!device || !config || !dataset)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_trainer_create needs a device, a configuration and a data set");
  noprop_trainer *trainer = calloc(1, sizeof *trainer);
  if (!trainer) return status_set(NOPROP_OUT_OF_MEMORY, "no memory for a trainer");
  trainer->device = device;
  trainer->dataset = dataset;
  if (options) trainer->options = *options;
  trainer->options.run_folder = NULL;
  trainer->result.loss = trainer->result.validation_loss = trainer->result.best_validation_loss = NAN;
  noprop_status status = noprop_config_copy(config, &trainer->config);
  if (status == NOPROP_OK && options && options->run_folder) {
    trainer->folder = strdup(options->run_folder);
    if (!trainer->folder) status = status_set(NOPROP_OUT_OF_MEMORY, "no memory for a trainer");
  }
  if (status == NOPROP_OK) status = create(trainer);
  if (status != NOPROP_OK) {
    noprop_trainer_destroy(trainer);
    return status;
  }
  *trainer_out = trainer;
  return NOPROP_OK;
}

void noprop_trainer_destroy(noprop_trainer *trainer) {
  if (!trainer) return;
  if (trainer->log_file) fclose(trainer->log_file);
  if (trainer->history_file) fclose(trainer->history_file);
  history_clear(&trainer->history);
  noprop_model_destroy(trainer->model);
  noprop_config_destroy(trainer->config);
  free(trainer->folder);
  free(trainer);
}

noprop_model *noprop_trainer_model(noprop_trainer *trainer) { return trainer ? trainer->model : NULL; }

noprop_status noprop_trainer_get_result(const noprop_trainer *trainer, noprop_training_result *result) {
  if (!trainer || !result)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_trainer_get_result needs a trainer and a place for the result");
  *result = trainer->result;
  return NOPROP_OK;
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

/* Tells the caller where training stands; true if it asked to stop. `always`: also if it was told a moment ago. */
static bool tell_progress(noprop_trainer *trainer, uint64_t step, bool always) {
  double now = run_clock();
  progress_mark(&trainer->progress, now, step);
  if (!trainer->options.progress || (!always && now - trainer->last_progress < PROGRESS_SECONDS)) return false;
  trainer->last_progress = now;
  double rate = progress_rate(&trainer->progress);
  noprop_progress told = {.epoch = (long)(step / trainer->steps_per_epoch),
                          .epochs = trainer->epochs,
                          .step = step,
                          .loss = trainer->result.loss,
                          .validation_loss = trainer->result.validation_loss,
                          .steps_per_second = rate,
                          .seconds_left = rate > 0 ? (double)(trainer->total_steps - step) / rate : NAN};
  return trainer->options.progress(&told, trainer->options.user) != 0;
}

static noprop_status not_finite(noprop_trainer *trainer, const noprop_train_metrics *metrics) {
  char clip[32] = "", rate[32] = "", kept[RUN_PATH + 64] = "";
  noprop_config_get(trainer->config, "optimizer.clip", clip, sizeof clip);
  noprop_config_get(trainer->config, "optimizer.learning_rate", rate, sizeof rate);
  if (trainer->folder && trainer->history.count > 0)
    snprintf(kept, sizeof kept, "; the last checkpoint in %s is kept", trainer->folder);
  bool gradient = strcmp(metrics->bad_term, "gradient") == 0;
  return status_set(
      NOPROP_NOT_FINITE,
      "step %" PRId64 " (epoch %" PRId64
      "): the %s became infinite or not a number%s; try a smaller "
      "optimizer.learning_rate (it is %s), optimizer.clip 1.0 or less (it is %s), or loss.weight uniform, and "
      "look for extreme values in the data",
      metrics->bad_step, metrics->bad_step / (int64_t)trainer->steps_per_epoch + 1,
      gradient               ? "gradient"
      : metrics->bad_term[0] ? metrics->bad_term
                             : "loss",
      kept, rate, clip);
}

/* Reads the sums of the epoch that ends at `step` and adds its row to the history, with a validation if it is due. */
static noprop_status finish_epoch(noprop_trainer *trainer, uint64_t step, bool last) {
  noprop_train_metrics metrics;
  noprop_loss_terms terms;
  struct block_losses blocks;
  noprop_status status = block_record_read(trainer->model, &blocks);
  if (status == NOPROP_OK) status = noprop_model_train_metrics(trainer->model, &metrics);
  if (status != NOPROP_OK) return status;
  if (metrics.bad_step >= 0) return not_finite(trainer, &metrics);
  struct history_row row = {.epoch = (long)((step + trainer->steps_per_epoch - 1) / trainer->steps_per_epoch),
                            .step = step,
                            .loss = metrics.loss,
                            .flow = metrics.flow,
                            .recon = metrics.recon,
                            .reg = metrics.reg,
                            .vae = metrics.vae,
                            .kl_z0 = metrics.kl_z0,
                            .validation_vae = NAN,
                            .validation_kl_z0 = NAN,
                            .validation_loss = NAN,
                            .validation_flow = NAN,
                            .validation_recon = NAN,
                            .validation_reg = NAN,
                            .learning_rate = metrics.learning_rate,
                            .gradient_norm = metrics.gradient_norm};
  int64_t every = trainer->settings.train.validate_every;
  if (trainer->has_validation && (last || (every > 0 && row.epoch % every == 0))) {
    status =
        noprop_model_validate(trainer->model, condition_of(&trainer->validation), &trainer->validation.target, &terms);
    if (status != NOPROP_OK) return status_prefix(status, "validation after epoch %ld", row.epoch);
    row.validation_loss = terms.loss;
    row.validation_flow = terms.flow;
    row.validation_recon = terms.recon;
    row.validation_reg = terms.reg;
    row.validation_vae = terms.vae;
    row.validation_kl_z0 = terms.kl_z0;
  }
  status = history_add(&trainer->history, row);
  if (status == NOPROP_OK && trainer->folder)
    status = block_record_add(trainer->model, trainer->folder, row.epoch, &blocks);
  return status;
}

static noprop_status write_history_row(noprop_trainer *trainer, const struct history_row *row) {
  if (!trainer->history_file) return NOPROP_OK;
  struct text text = {0};
  history_text_row(&text, row);
  bool written = !text.failed && fputs(text.data, trainer->history_file) >= 0 && fflush(trainer->history_file) == 0;
  free(text.data);
  return written ? NOPROP_OK
                 : status_set(NOPROP_FILE_ERROR, "history.csv in %s could not be written: %s", trainer->folder,
                              strerror(errno));
}

/* Result, log line and files of a finished epoch. */
static noprop_status record_epoch(noprop_trainer *trainer) {
  const struct history_row *row = &trainer->history.rows[trainer->history.count - 1];
  noprop_training_result *result = &trainer->result;
  long since, best = history_best(&trainer->history, &since);
  result->epochs = row->epoch;
  result->steps = row->step;
  result->loss = row->loss;
  if (best >= 0) {
    result->best_validation_loss = trainer->history.rows[best].validation_loss;
    result->best_epoch = trainer->history.rows[best].epoch;
  }
  if (!isnan(row->validation_loss)) {
    result->validation_loss = row->validation_loss;
    char rate[40] = "";
    if (progress_rate(&trainer->progress) > 0)
      snprintf(rate, sizeof rate, "  %.0f steps/s", progress_rate(&trainer->progress));
    trainer_log(trainer, "epoch %*ld/%ld  loss %-10.5g  validation %-10.5g%s", trainer->epochs > 999 ? 5 : 3,
                row->epoch, trainer->epochs, row->loss, row->validation_loss, rate);
  }
  noprop_status status = write_history_row(trainer, row);
  if (status == NOPROP_OK && trainer->folder)
    status = schedule_record_add(trainer->model, trainer->folder, row->epoch, trainer->epochs);
  if (status == NOPROP_OK && trainer->folder && best >= 0 && best == trainer->history.count - 1)
    status = save(trainer, "best.h5");
  return status;
}

static bool patience_is_over(const noprop_trainer *trainer) {
  long since;
  return trainer->settings.train.early_stop > 0 && history_best(&trainer->history, &since) >= 0 &&
         since >= trainer->settings.train.early_stop;
}

/* Writes history.csv as the checkpoint knows it and leaves it open for the rows to come. */
static noprop_status open_history(noprop_trainer *trainer) {
  if (!trainer->folder) return NOPROP_OK;
  struct text text = {0};
  history_text(&text, &trainer->history);
  noprop_status status = text_write(&text, trainer->folder, "history.csv");
  if (status == NOPROP_OK) status = open_file(trainer, "history.csv", "ae", &trainer->history_file);
  const long epochs = trainer->history.count > 0 ? trainer->history.rows[trainer->history.count - 1].epoch : 0;
  if (status == NOPROP_OK) status = schedule_record_open(trainer->model, trainer->folder, epochs);
  if (status == NOPROP_OK) status = block_record_open(trainer->model, trainer->folder, epochs);
  return status;
}

/* Steps from `step` up to `end` in chunks; *stopped if the caller asked to stop on the way. */
static noprop_status run_steps(noprop_trainer *trainer, uint64_t end, long *chunk, bool *stopped) {
  uint64_t step = noprop_model_step(trainer->model);
  *stopped = false;
  while (step < end && !*stopped) {
    uint64_t steps = end - step < (uint64_t)*chunk ? end - step : (uint64_t)*chunk;
    noprop_device_counters before = {0}, after = {0};
    noprop_device_get_counters(trainer->device, &before);
    double start = run_clock();
    noprop_status status = noprop_model_train_step(trainer->model, (long)steps);
    if (status == NOPROP_OK) status = noprop_device_synchronize(trainer->device);
    if (status != NOPROP_OK) return status_prefix(status, "after step %" PRIu64, step);
    double seconds = run_clock() - start;
    noprop_device_get_counters(trainer->device, &after);
    trainer->launches += after.launches - before.launches;
    step += steps;
    /* Doubling at most: the first step also compiles, and one slow step says little. */
    if (seconds < CHUNK_SECONDS / 2 && steps == (uint64_t)*chunk)
      *chunk *= 2;
    else if (seconds > 2 * CHUNK_SECONDS && *chunk > 1)
      *chunk /= 2;
    if (step < end) *stopped = tell_progress(trainer, step, false);
  }
  return NOPROP_OK;
}

static noprop_status stop(noprop_trainer *trainer) {
  uint64_t step = noprop_model_step(trainer->model);
  noprop_status status = trainer->folder ? save(trainer, "model.h5") : NOPROP_OK;
  if (status != NOPROP_OK) return status_prefix(status, "stopped at step %" PRIu64 " without a checkpoint", step);
  trainer_log(trainer, "stopped at step %" PRIu64 " of %" PRIu64, step, trainer->total_steps);
  return trainer->folder
             ? status_set(NOPROP_STOPPED,
                          "training was stopped at step %" PRIu64 " of %" PRIu64 "; a checkpoint is in %s/model.h5",
                          step, trainer->total_steps, trainer->folder)
             : status_set(NOPROP_STOPPED, "training was stopped at step %" PRIu64 " of %" PRIu64, step,
                          trainer->total_steps);
}

static noprop_status train(noprop_trainer *trainer) {
  const int64_t checkpoint_every = trainer->settings.train.checkpoint_every;
  long chunk = 1;
  bool stopped = false;
  noprop_status status = open_history(trainer);
  if (status == NOPROP_OK && trainer->history.count > 0) {
    const struct history_row *row = &trainer->history.rows[trainer->history.count - 1];
    trainer->result.loss = row->loss;
    trainer->result.epochs = row->epoch;
    long since, best = history_best(&trainer->history, &since);
    for (long i = 0; i < trainer->history.count; i++)
      if (!isnan(trainer->history.rows[i].validation_loss))
        trainer->result.validation_loss = trainer->history.rows[i].validation_loss;
    if (best >= 0) {
      trainer->result.best_validation_loss = trainer->history.rows[best].validation_loss;
      trainer->result.best_epoch = trainer->history.rows[best].epoch;
    }
  }
  if (status == NOPROP_OK && tell_progress(trainer, trainer->start_step, true)) return stop(trainer);
  /* A checkpoint may stand at the very end of an epoch, or of the training in the middle of one: the row is still to be
   * written then. */
  uint64_t rows_end = trainer->history.count > 0 ? trainer->history.rows[trainer->history.count - 1].step : 0;
  trainer->result.stopped_early = patience_is_over(trainer);
  for (uint64_t step = trainer->start_step; status == NOPROP_OK && rows_end < trainer->total_steps;) {
    if (trainer->result.stopped_early) break;
    uint64_t end = (rows_end / trainer->steps_per_epoch + 1) * trainer->steps_per_epoch;
    if (end > trainer->total_steps) end = trainer->total_steps;
    if (end < step) break;
    status = run_steps(trainer, end, &chunk, &stopped);
    if (status != NOPROP_OK) break;
    if (stopped) return stop(trainer);
    step = end;
    bool last = end == trainer->total_steps, whole = end % trainer->steps_per_epoch == 0;
    /* Reading the sums ends the epoch for good; if it is not whole, the training may be made longer later, so the
     * checkpoint is taken before. */
    if (!whole && trainer->folder) status = save(trainer, "model.h5");
    if (status == NOPROP_OK) status = finish_epoch(trainer, end, last);
    if (status == NOPROP_OK) status = record_epoch(trainer);
    if (status != NOPROP_OK) break;
    rows_end = end;
    trainer->result.stopped_early = patience_is_over(trainer);
    long epoch = (long)(end / trainer->steps_per_epoch);
    bool due = last || trainer->result.stopped_early || (checkpoint_every > 0 && epoch % checkpoint_every == 0);
    if (whole && due && trainer->folder) status = save(trainer, "model.h5");
    if (status == NOPROP_OK && tell_progress(trainer, end, true) && !last) return stop(trainer);
  }
  return status;
}

/* ---- the end of a run -------------------------------------------------------------------------------------------- */

static void add_number(struct text *text, const char *key, double value) {
  if (isfinite(value))
    text_add(text, ",\n  \"%s\": %.9g", key, value);
  else
    text_add(text, ",\n  \"%s\": null", key);
}

static noprop_status write_metrics(noprop_trainer *trainer) {
  const noprop_training_result *result = &trainer->result;
  const noprop_metrics *metrics = &result->metrics;
  struct text text = {0};
  text_add(
      &text,
      "{\n  \"variant\": \"%s\",\n  \"task\": \"%s\",\n  \"precision\": \"%s\",\n  \"split\": \"%s\",\n  \"rows\": %ld",
      VARIANT_NAMES[trainer->settings.variant].name, TASK_NAMES[trainer->settings.task].name,
      noprop_model_precision(trainer->model, NULL), result->split, metrics->rows);
  if (metrics->has_accuracy) add_number(&text, "accuracy", metrics->accuracy);
  if (metrics->has_errors) {
    add_number(&text, "mse", metrics->mse);
    add_number(&text, "mae", metrics->mae);
    add_number(&text, "r2", metrics->r2);
  }
  if (metrics->has_distances) {
    add_number(&text, "sliced_w2", metrics->sliced_w2);
    add_number(&text, "energy", metrics->energy);
  }
  if (result->has_bound) {
    add_number(&text, "nelbo_nats", result->nelbo_nats);
    add_number(&text, "nelbo_error", result->nelbo_error);
  }
  add_number(&text, "loss", result->loss);
  if (trainer->has_validation) {
    add_number(&text, "validation_loss", result->validation_loss);
    add_number(&text, "best_validation_loss", result->best_validation_loss);
    text_add(&text, ",\n  \"best_epoch\": %ld", result->best_epoch);
  }
  text_add(&text, ",\n  \"epochs\": %ld,\n  \"steps\": %" PRIu64 ",\n  \"parameters\": %ld\n}\n", result->epochs,
           result->steps, result->parameters);
  return text_write(&text, trainer->folder, "metrics.json");
}

static void log_metrics(noprop_trainer *trainer) {
  const noprop_training_result *result = &trainer->result;
  const noprop_metrics *metrics = &result->metrics;
  struct text text = {0};
  text_add(&text, "%s split, %ld rows:", result->split, metrics->rows);
  if (metrics->has_accuracy) text_add(&text, " accuracy %.4f", metrics->accuracy);
  if (metrics->has_errors) text_add(&text, " mse %.5g mae %.5g r2 %.4f", metrics->mse, metrics->mae, metrics->r2);
  if (metrics->has_distances) text_add(&text, " sliced_w2 %.4g energy %.4g", metrics->sliced_w2, metrics->energy);
  if (result->has_bound) text_add(&text, " nelbo %.4g nats", result->nelbo_nats);
  if (!text.failed) trainer_log(trainer, "%s", text.data);
  free(text.data);
}

/* The bound of the likelihood on the rows of the evaluation, where the model has one. */
static noprop_status measure_bound(noprop_trainer *trainer) {
  noprop_bound_terms terms;
  if (noprop_bound_refusal(trainer->model)) return NOPROP_OK;
  const noprop_status status =
      noprop_bound(trainer->model, condition_of(&trainer->evaluation), &trainer->evaluation.target, &terms);
  if (status == NOPROP_UNSUPPORTED) return NOPROP_OK; /* this schedule's is infinite */
  trainer->result.has_bound = status == NOPROP_OK;
  if (status != NOPROP_OK) return status;
  trainer->result.nelbo_nats = terms.nelbo_nats;
  trainer->result.nelbo_error = terms.standard_error;
  return NOPROP_OK;
}

noprop_status noprop_trainer_run(noprop_trainer *trainer) {
  if (!trainer) return status_set(NOPROP_INVALID_ARGUMENT, "noprop_trainer_run needs a trainer");
  noprop_training_result *result = &trainer->result;
  double start = run_clock();
  noprop_status status = train(trainer);
  result->seconds = run_clock() - start;
  if (trainer->history_file && fclose(trainer->history_file) != 0 && status == NOPROP_OK)
    status =
        status_set(NOPROP_FILE_ERROR, "history.csv in %s could not be written: %s", trainer->folder, strerror(errno));
  trainer->history_file = NULL;
  result->steps = noprop_model_step(trainer->model);
  result->parameters = noprop_model_parameter_values(trainer->model);
  uint64_t steps = result->steps - trainer->start_step;
  result->steps_per_second = result->seconds > 0 ? (double)steps / result->seconds : 0;
  result->launches_per_step = steps > 0 ? (double)trainer->launches / (double)steps : 0;
  snprintf(result->precision, sizeof result->precision, "%s", noprop_model_precision(trainer->model, NULL));
  if (status != NOPROP_OK) {
    if (status != NOPROP_STOPPED) trainer_log(trainer, "error: %s", noprop_last_error());
    return status;
  }
  if (result->stopped_early)
    trainer_log(trainer, "stopped early: no better validation loss in %" PRId64 " validations since epoch %ld",
                trainer->settings.train.early_stop, result->best_epoch);
  trainer_log(trainer, "trained %" PRIu64 " steps in %.2f s, %.0f steps/s, %.2f launches per step", steps,
              result->seconds, result->steps_per_second, result->launches_per_step);

  noprop_sampler_options options = noprop_sampler_options_default(trainer->model);
  status = noprop_evaluate(trainer->model, &options, condition_of(&trainer->evaluation), &trainer->evaluation.target,
                           &result->metrics);
  if (status == NOPROP_OK) status = measure_bound(trainer);
  if (status != NOPROP_OK) return status_prefix(status, "evaluation of the %s split", result->split);
  result->has_metrics = true;
  log_metrics(trainer);
  if (!trainer->folder) return NOPROP_OK;
  status = write_metrics(trainer);
  if (status != NOPROP_OK) return status;
  return noprop_report_create(trainer->model, trainer->dataset, trainer->folder, report_log, trainer);
}
