/* Inside reports: scripts for gnuplot and how they are run. */
#ifndef HOST_REPORT_H
#define HOST_REPORT_H

#include <stdbool.h>

#include "host/run_files.h"
#include "noprop/report.h"

/* Colours that people with colour-blindness tell apart (Okabe and Ito 2008), continued by two greys for ten classes. */
extern const unsigned REPORT_COLOURS[];
enum { REPORT_COLOUR_COUNT = 10 };

/* Begins a script that draws `name`.png in `width` x `height` pixels: terminal, fonts, borders, grid, comma-separated
 * data. The script can be run by hand in its folder, or with the variable `picture` set to another file. */
void report_script_begin(struct text *script, const char *name, int width, int height);
/* Line style per class: `set linetype 1 ...` for all colours. */
void report_script_colours(struct text *script);

/* Runs folder/name.gp; the picture appears under its name when it is whole. *missing: there is no gnuplot. */
noprop_status report_run_script(const char *folder, const char *name, bool *missing);

/* Tics of a logarithmic axis ("x" or "y"), at 1, 2 and 5 of every decade or, over many decades, at 1. */
void report_script_log_tics(struct text *script, const char *axis, double least, double most);

/* A temporary folder for the files of one picture; removed with the files of these names. */
noprop_status report_scratch_create(char *folder, size_t size);
void report_scratch_remove(const char *folder, const char *const *names, int count);
/* Draws folder/name.gp and copies the picture to `to`. */
noprop_status report_draw_to(const char *folder, const char *name, const char *to);

/* The pictures of a run, in the order in which they are drawn. */
extern const char *const REPORT_PICTURES[];

/* The first rows of an array, at most so many; the memory stays the array's. */
noprop_array report_first_rows(const noprop_array *array, long rows);
/* The rows of these numbers, [count], one after another; *memory is the caller's to free, also on failure. */
noprop_status report_take_rows(const noprop_array *array, const long *rows, long count, noprop_array *taken,
                               void **memory);

/* Writes data and scripts of field.png (latents of two dimensions) and along.png. `condition`: NULL if the model has
 * none; `target`: the held-out rows that go with it. */
noprop_status report_field(noprop_model *model, const noprop_array *condition, const noprop_array *target,
                           const char *folder);

/* Writes data and script of forecast.png; `line` receives what the forecast explains, for the log ("" if there are too
 * few rows). `has_path`: samples can be drawn. */
noprop_status report_forecast(noprop_model *model, bool has_path, const noprop_array *train_condition,
                              const noprop_array *train_target, const noprop_array *condition,
                              const noprop_array *target, const char *folder, char *line, size_t size);

/* Writes data and script of latents.png: where latents of two numbers or more go in a solve, by the class of `labels`,
 * the held-out rows of the target or of the condition (NULL if the model has none). */
noprop_status report_latents(noprop_model *model, const noprop_array *condition, const noprop_array *labels,
                             long classes, const char *folder);

/* Writes loss.gp for a folder that holds history.csv. */
noprop_status report_loss_script(const char *folder);

#endif
