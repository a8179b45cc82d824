/* Pictures and words about runs and files. Pictures are drawn by gnuplot, run as a program; each has its plain data and
 * its script beside it, so that it can be changed and drawn again. */
#ifndef NOPROP_REPORT_H
#define NOPROP_REPORT_H

#include <noprop/dataset.h>
#include <noprop/model.h>
#include <noprop/trainer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes data and scripts of all pictures of a run into its folder and draws them: loss.png (from history.csv),
 * data.png, trajectories.png, predictions.png or samples.png, along.png (size of the field and error along t) and, for
 * two-dimensional latents, field.png. Without gnuplot the data and scripts are still
 * written and one line of the log says so; that is no failure. log may be NULL. */
NOPROP_API noprop_status noprop_report_create(noprop_model *model, noprop_dataset *dataset, const char *run_folder,
                                              noprop_log_function log, void *user);

/* Draws a run's pictures again from the data and scripts in its folder. Fails if there is nothing to draw or no
 * gnuplot. */
NOPROP_API noprop_status noprop_report_draw(const char *run_folder, noprop_log_function log, void *user);

/* Draws the noise schedules of up to NOPROP_SCHEDULES_MOST configurations beside each other (alpha_bar, gamma, gamma'
 * and log SNR' over t) to a PNG file. */
#define NOPROP_SCHEDULES_MOST 16
NOPROP_API noprop_status noprop_report_schedules(const noprop_config *const *configs, int count, const char *path);

/* Draws the loss curves of several runs, one colour each, to a PNG file. */
NOPROP_API noprop_status noprop_report_compare(const char *const *run_folders, int count, const char *path);

/* Draws quality against network calls, against milliseconds and (of several runs) against parameters, a curve for each
 * run and method, to a PNG file. `csv`: rows run,method,calls,quality,milliseconds,metric,parameters under such a
 * heading (what `noprop compare --calls` writes); a row named "floor" is drawn as a line. */
NOPROP_API noprop_status noprop_report_sweep(const char *csv, const char *path);

/* Times of the states in a trajectory of a solve with these options, start first: *points is steps + 1 after method and
 * calls are resolved. `times` [*points], or NULL to ask only for the number. */
NOPROP_API noprop_status noprop_trajectory_times(const noprop_model *model, const noprop_sampler_options *options,
                                                 double *times, int *points);

/* Says what a data file, model file or run folder holds: calls `entry` for each fact, in order. Keys are flat words
 * ("kind", "rows_train", "parameters"). kind is "data", "model" or "run". Needs no device. */
typedef void (*noprop_entry_function)(const char *key, const char *value, void *user);
NOPROP_API noprop_status noprop_inspect(const char *path, noprop_entry_function entry, void *user);

#ifdef __cplusplus
}
#endif
#endif
