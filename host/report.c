/* Pictures of a run: which ones suit the task and the data, their data as CSV, and their scripts.
 *
 *   data          what was trained on: points by class, examples of images, or the first two columns
 *   trajectories  the way of some rows from t = 0 to 1: in the plane, as class scores, as values, or as images
 *   predictions   classify: decision regions (two-dimensional conditions) or the confusion matrix; regress: predicted
 *                 over true
 *   samples       generate: real beside generated; images by class, where the condition is one
 *   forecast      regress from a sequence to its continuation (report_forecast.c)
 *   field, along  what the network learned (report_field.c)
 *
 * Everything is seeded and limited in number, so that the same model and data give the same files quickly. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/status.h"
#include "host/report_parts.h"
#include "noprop/forecast.h"

static void report_log(const struct report *report, const char *line) {
  if (report->log) report->log(line, report->user);
}

noprop_array report_first_rows(const noprop_array *array, long rows) {
  noprop_array cut = *array;
  if (rows < cut.rows) cut.rows = cut.shape[0] = rows;
  return cut;
}

noprop_status report_take_rows(const noprop_array *array, const long *rows, long count, noprop_array *taken,
                               void **memory) {
  const size_t bytes = (size_t)array->width * dataset_type_size(array->type);
  *taken = *array;
  taken->rows = taken->shape[0] = count;
  *memory = malloc((size_t)count * bytes);
  if (!*memory) return status_set(NOPROP_OUT_OF_MEMORY, "no memory for a picture's data");
  for (long i = 0; i < count; i++)
    memcpy((char *)*memory + (size_t)i * bytes, (const char *)array->values + (size_t)rows[i] * bytes, bytes);
  taken->values = *memory;
  return NOPROP_OK;
}

noprop_status report_no_memory(void) { return status_set(NOPROP_OUT_OF_MEMORY, "no memory for a picture's data"); }

noprop_sampler_options report_solve_options(const struct report *report, bool trajectory) {
  noprop_sampler_options options = noprop_sampler_options_default(report->model);
  options.trajectory = trajectory;
  return options;
}

noprop_status report_predict(const struct report *report, const noprop_array *condition, long rows, float **output) {
  noprop_sampler_options options = report_solve_options(report, false);
  *output = malloc((size_t)rows * (size_t)report->shape.target_width * sizeof **output);
  if (!*output) return report_no_memory();
  return noprop_sample(report->model, &options, condition, rows, NULL, *output);
}

static noprop_status open_report(struct report *report) {
  noprop_status status = settings_resolve(noprop_model_config(report->model), &report->settings);
  if (status == NOPROP_OK) status = noprop_config_data_roles(noprop_model_config(report->model), &report->roles);
  if (status != NOPROP_OK) return status;
  report->shape = *noprop_model_get_shape(report->model);
  report->has_condition = report->roles.condition[0] != 0;
  report->split = noprop_dataset_has_split(report->dataset, "test")         ? "test"
                  : noprop_dataset_has_split(report->dataset, "validation") ? "validation"
                                                                            : "train";
  status = noprop_dataset_get(report->dataset, "train", report->roles.target, &report->train_target);
  if (status == NOPROP_OK)
    status = noprop_dataset_get(report->dataset, report->split, report->roles.target, &report->target);
  if (status == NOPROP_OK && report->has_condition)
    status = noprop_dataset_get(report->dataset, "train", report->roles.condition, &report->train_condition);
  if (status == NOPROP_OK && report->has_condition)
    status = noprop_dataset_get(report->dataset, report->split, report->roles.condition, &report->condition);
  return status;
}

noprop_status noprop_report_create(noprop_model *model, noprop_dataset *dataset, const char *run_folder,
                                   noprop_log_function log, void *user) {
  if (!model || !dataset || !run_folder)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_report_create needs a model, a data set and a run folder");
  struct report report = {.model = model, .dataset = dataset, .folder = run_folder, .log = log, .user = user};
  char path[RUN_PATH];
  noprop_status status = open_report(&report);
  if (status == NOPROP_OK) status = run_path(path, run_folder, "history.csv");
  if (status == NOPROP_OK && run_file_exists(path)) status = report_loss_script(run_folder);
  if (status == NOPROP_OK) status = report_data(&report);
  const bool has_path = report.settings.variant != VARIANT_SUPERVISED;
  const bool has_field = has_path && report.settings.variant != VARIANT_DT;
  if (status == NOPROP_OK && has_path) status = report_trajectories(&report);
  const bool by_target = report.shape.target_is_label;
  if (status == NOPROP_OK && has_path && (by_target || (report.has_condition && report.shape.condition_is_label)))
    status = report_latents(model, report.has_condition ? &report.condition : NULL,
                            by_target ? &report.target : &report.condition,
                            by_target ? report.shape.target_width : report.shape.condition_width, run_folder);
  if (status == NOPROP_OK)
    status = report.settings.task == TASK_GENERATE ? report_samples(&report) : report_predictions(&report);
  if (status == NOPROP_OK && has_field)
    status = report_field(model, report.has_condition ? &report.condition : NULL, &report.target, run_folder);
  if (status == NOPROP_OK && report.has_condition && report.settings.task == TASK_REGRESS &&
      noprop_is_forecast(&report.condition, &report.target)) {
    char line[300];
    status = report_forecast(model, has_path, &report.train_condition, &report.train_target, &report.condition,
                             &report.target, run_folder, line, sizeof line);
    if (line[0]) report_log(&report, line);
  }
  if (status != NOPROP_OK) return status_prefix(status, "pictures of the run");
  for (int i = 0; REPORT_PICTURES[i]; i++) {
    char script[64];
    bool missing = false;
    snprintf(script, sizeof script, "%s.gp", REPORT_PICTURES[i]);
    if (run_path(path, run_folder, script) != NOPROP_OK || !run_file_exists(path)) continue;
    /* A picture that cannot be drawn takes nothing away from the run: it is said and passed over. */
    if (report_run_script(run_folder, REPORT_PICTURES[i], &missing) != NOPROP_OK)
      report_log(&report, noprop_last_error());
    if (missing) {
      report_log(&report,
                 "gnuplot is not installed, so no pictures were drawn (Debian: gnuplot-nox; then: noprop plot RUN)");
      break;
    }
  }
  return NOPROP_OK;
}
