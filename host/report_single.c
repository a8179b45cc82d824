/* Pictures that belong to no run: schedules, and the losses of several runs. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/status.h"
#include "host/report.h"
#include "noprop/schedule.h"

enum { SCHEDULE_POINTS = 401 };

/* One block of the data file, with a heading that names the schedule and two empty lines after it. */
static noprop_status add_schedule(struct text *text, const noprop_config *config) {
  char type[64];
  noprop_status status = noprop_config_get(config, "schedule.type", type, sizeof type);
  if (status == NOPROP_OK) text_add(text, "# %s: t,alpha_bar,gamma,log_gamma_prime,log_snr_prime\n", type);
  for (int i = 0; i < SCHEDULE_POINTS && status == NOPROP_OK; i++) {
    double t = (double)i / (SCHEDULE_POINTS - 1);
    noprop_schedule_values v;
    status = noprop_schedule_evaluate(config, &t, 1, &v);
    if (status == NOPROP_OK)
      text_add(text, "%.6g,%.9g,%.9g,%.9g,%.9g\n", t, v.alpha_bar, v.gamma, log10(v.gamma_prime), log10(v.snr_prime));
  }
  text_add(text, "\n\n");
  return status;
}

/* Column `column` of all blocks, but for `margin` points at each end. */
static void add_schedule_panel(struct text *script, const noprop_config *const *configs, int count, const char *title,
                               int column, int margin) {
  text_add(script, "set title \"%s\"\nplot ", title);
  for (int i = 0; i < count; i++) {
    char type[64] = "";
    (void)noprop_config_get(configs[i], "schedule.type", type, sizeof type); /* got before */
    text_add(
        script,
        "%s'schedule.csv' index %d every ::%d::%d using 1:%d with lines linewidth 2 linetype %d dashtype %d title '%s' "
        "noenhanced",
        i ? ", \\\n     " : "", i, margin, SCHEDULE_POINTS - 1 - margin, column, i % REPORT_COLOUR_COUNT + 1,
        i / REPORT_COLOUR_COUNT + 1, type);
  }
  text_add(script, "\n");
}

noprop_status noprop_report_schedules(const noprop_config *const *configs, int count, const char *path) {
  static const char *const names[] = {"schedule.csv", "schedule.gp", "schedule.png"};
  char folder[RUN_PATH];
  struct text text = {0}, script = {0};
  if (!configs || count < 1 || count > NOPROP_SCHEDULES_MOST || !path)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_report_schedules needs a file to draw to and 1 to %d configurations, not %d",
                      NOPROP_SCHEDULES_MOST, count);
  noprop_status status = NOPROP_OK;
  for (int i = 0; i < count && status == NOPROP_OK; i++) status = add_schedule(&text, configs[i]);
  if (status == NOPROP_OK) status = report_scratch_create(folder, sizeof folder);
  if (status != NOPROP_OK) {
    free(text.data);
    return status;
  }
  char type[64] = ""; /* of the first, which has been got before */
  (void)noprop_config_get(configs[0], "schedule.type", type, sizeof type);
  report_script_begin(&script, "schedule", 1000, 680 + (count > 1 ? 20 * ((count + 5) / 6) : 0));
  report_script_colours(&script);
  text_add(&script,
           "set multiplot layout 2,2 title 'Noise schedule%s%s' font ',14' margins 0.07,0.98,%.2f,0.90 spacing "
           "0.08,0.14\nset xrange [0:1]\nset xlabel 't'\nset yrange [0:1]\nunset key\n",
           count > 1 ? "s" : ": ", count > 1 ? "" : type, count > 1 ? 0.16 : 0.10);
  add_schedule_panel(&script, configs, count, "alpha\\\\_bar: share of data", 2, 0);
  text_add(&script, "set autoscale y\n");
  add_schedule_panel(&script, configs, count, "gamma = log SNR", 3, 0);
  /* A legend for all four; below one row of it for every six schedules. */
  if (count > 1) text_add(&script, "set key at screen 0.5,0.01 center bottom vertical maxrows %d\n", (count + 5) / 6);
  /* At the ends the slope of a cosine is 0, which has no logarithm. */
  add_schedule_panel(&script, configs, count, "log_{10} gamma'", 4, 1);
  text_add(&script, "unset key\n");
  add_schedule_panel(&script, configs, count, "log_{10} SNR'", 5, 1);
  text_add(&script, "unset multiplot\n");
  status = text_write(&text, folder, names[0]);
  if (status == NOPROP_OK) status = text_write(&script, folder, names[1]);
  if (status == NOPROP_OK) status = report_draw_to(folder, "schedule", path);
  free(text.data);
  free(script.data);
  report_scratch_remove(folder, names, 3);
  return status;
}

noprop_status noprop_report_compare(const char *const *run_folders, int count, const char *path) {
  static const char *const names[] = {"compare.gp", "compare.png"};
  char folder[RUN_PATH], history[RUN_PATH], resolved[RUN_PATH];
  struct text script = {0};
  if (!run_folders || count < 1 || !path)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_report_compare needs runs and a file to draw to");
  report_script_begin(&script, "compare", 1000, 600);
  report_script_colours(&script);
  text_add(&script,
           "set title 'Loss of %d runs: training (lines), validation (dots)' font ',14'\nset xlabel 'epoch'\nset "
           "ylabel 'loss'\n"
           "set logscale y\nset format y '%%.3g'\nset key outside bottom center vertical maxrows 4\nset ytics (1",
           count);
  enum { DECADES = 9 };
  for (int decade = -DECADES; decade <= DECADES; decade++) text_add(&script, ", 1e%d, 3e%d", decade, decade);
  text_add(&script, ")\nplot ");
  noprop_status status = NOPROP_OK;
  for (int i = 0; i < count && status == NOPROP_OK; i++) {
    status = run_path(history, run_folders[i], "history.csv");
    if (status == NOPROP_OK && !realpath(history, resolved))
      status = status_set(NOPROP_FILE_ERROR, "%s could not be read: %s", history, strerror(errno));
    if (status == NOPROP_OK && (strchr(resolved, '\'') || strchr(run_folders[i], '\'')))
      status = status_set(NOPROP_FILE_ERROR, "a path with a quotation mark cannot be drawn: %s", resolved);
    if (status == NOPROP_OK)
      text_add(&script,
               "%s'%s' skip 1 using 1:3 with lines linewidth 2 linetype %d title '%s' noenhanced, \\\n"
               "     '' skip 1 using 1:7 with points pointtype 7 pointsize 0.7 linetype %d",
               i ? ", \\\n     " : "", resolved, i % REPORT_COLOUR_COUNT + 1, run_folders[i],
               i % REPORT_COLOUR_COUNT + 1);
  }
  text_add(&script, "\n");
  if (status == NOPROP_OK) status = report_scratch_create(folder, sizeof folder);
  if (status != NOPROP_OK) {
    free(script.data);
    return status;
  }
  status = text_write(&script, folder, names[0]);
  if (status == NOPROP_OK) status = report_draw_to(folder, "compare", path);
  report_scratch_remove(folder, names, 2);
  return status;
}
