/* Learned schedules over training. One block of rows per recorded epoch, a blank line before the next, so that gnuplot
 * draws lines that do not join. */
#include "host/schedule_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "engine/status.h"
#include "host/report.h"
#include "noprop/schedule.h"

static const char NAME[] = "learned_schedules.csv", HEADER[] = "epoch,t,alpha_bar,gamma,gamma_prime\n";
enum { POINTS = 41, RECORDS = 40 };

static noprop_status add_block(noprop_model *model, long epoch, struct text *text) {
  double t[POINTS];
  noprop_schedule_values values[POINTS];
  for (int i = 0; i < POINTS; i++) t[i] = (double)i / (POINTS - 1);
  const noprop_status status = noprop_model_schedule(model, false, t, POINTS, values);
  if (status != NOPROP_OK) return status;
  for (int i = 0; i < POINTS; i++)
    text_add(text, "%ld,%.9g,%.9g,%.9g,%.9g\n", epoch, t[i], values[i].alpha_bar, values[i].gamma,
             values[i].gamma_prime);
  text_add(text, "\n");
  return NOPROP_OK;
}

static noprop_status write_script(const char *folder) {
  struct text script = {0};
  report_script_begin(&script, "learned_schedules", 1000, 460);
  text_add(&script,
           "set multiplot layout 1,2 title 'Schedule over training' font ',14'\nset xrange [0:1]\nset xlabel 't'\n"
           "set palette defined (0 '#56B4E9', 0.5 '#0072B2', 1 '#D55E00')\nset cblabel 'epoch'\n"
           "set title 'gamma = log SNR'\n"
           "plot 'learned_schedules.csv' skip 1 using 2:4:1 with lines linewidth 1.5 palette\n"
           "set title \"gamma'\"\n# A slope of 0 at an end has no logarithm.\n"
           "stats 'learned_schedules.csv' skip 1 using ($5 > 0 ? $5 : NaN) nooutput\n"
           "if (STATS_max > 20 * STATS_min) { set logscale y; set format y '%%.3g' } else { set yrange [0:*] }\n"
           "plot 'learned_schedules.csv' skip 1 using 2:($5 > 0 ? $5 : NaN):1 with lines linewidth 1.5 palette\n"
           "unset multiplot\n");
  return text_write(&script, folder, "learned_schedules.gp");
}

noprop_status schedule_record_open(noprop_model *model, const char *folder, long last_epoch) {
  if (!model->settings.schedule.learnable) return NOPROP_OK;
  char path[RUN_PATH], *before = NULL;
  struct text text = {0};
  noprop_status status = run_path(path, folder, NAME);
  if (status == NOPROP_OK && last_epoch > 0 && run_file_exists(path)) status = run_file_read(path, &before);
  if (status != NOPROP_OK) return status;
  text_add(&text, "%s", HEADER);
  if (before && strncmp(before, HEADER, strlen(HEADER)) == 0) {
    /* Whole blocks up to the last epoch. */
    const char *block = before + strlen(HEADER), *end;
    while ((end = strstr(block, "\n\n")) != NULL && strtol(block, NULL, 10) <= last_epoch) {
      text_add(&text, "%.*s", (int)(end + 2 - block), block);
      block = end + 2;
    }
  } else if (last_epoch == 0) {
    status = add_block(model, 0, &text);
  }
  free(before);
  if (status != NOPROP_OK) {
    free(text.data);
    return status;
  }
  status = text_write(&text, folder, NAME);
  return status == NOPROP_OK ? write_script(folder) : status;
}

noprop_status schedule_record_add(noprop_model *model, const char *folder, long epoch, long epochs) {
  if (!model->settings.schedule.learnable) return NOPROP_OK;
  const long every = (epochs + RECORDS - 1) / RECORDS;
  if (epoch % (every > 0 ? every : 1) != 0 && epoch != epochs) return NOPROP_OK;
  struct text text = {0};
  const noprop_status status = add_block(model, epoch, &text);
  if (status == NOPROP_OK) return text_append(&text, folder, NAME);
  free(text.data);
  return status;
}
