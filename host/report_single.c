/* Pictures that belong to no run: a schedule, the losses of several runs, quality against calls. Their scripts and data
 * are made in a temporary folder. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/status.h"
#include "host/report.h"
#include "noprop/schedule.h"

/* A folder of its own for a picture that belongs to no run; removed with everything in it. */
static noprop_status scratch_create(char *folder, size_t size) {
  const char *base = getenv("TMPDIR");
  if (snprintf(folder, size, "%s/noprop-XXXXXX", base && base[0] ? base : "/tmp") >= (int)size || !mkdtemp(folder))
    return status_set(NOPROP_FILE_ERROR, "no temporary folder could be made: %s", strerror(errno));
  return NOPROP_OK;
}

static void scratch_remove(const char *folder, const char *const *names, int count) {
  char path[RUN_PATH];
  for (int i = 0; i < count; i++)
    if (run_path(path, folder, names[i]) == NOPROP_OK) unlink(path);
  rmdir(folder);
}

/* Draws folder/name.gp and moves the picture to `to`. */
static noprop_status draw_to(const char *folder, const char *name, const char *to) {
  char picture[64], from[RUN_PATH], *bytes = NULL;
  bool missing;
  noprop_status status = report_run_script(folder, name, &missing);
  if (status == NOPROP_OK && missing)
    status = status_set(NOPROP_UNSUPPORTED, "gnuplot is not installed (Debian: gnuplot-nox), so %s was not drawn", to);
  snprintf(picture, sizeof picture, "%s.png", name);
  if (status == NOPROP_OK) status = run_path(from, folder, picture);
  if (status != NOPROP_OK) return status;
  /* Copied, not renamed: the temporary folder may lie on another disk. */
  FILE *file = fopen(from, "rbe");
  long size = -1;
  if (file && fseek(file, 0, SEEK_END) == 0) size = ftell(file);
  if (size >= 0) bytes = malloc((size_t)size + 1);
  if (!bytes || fseek(file, 0, SEEK_SET) != 0 || fread(bytes, 1, (size_t)size, file) != (size_t)size)
    status = status_set(NOPROP_FILE_ERROR, "the picture for %s could not be read back", to);
  if (file) fclose(file);
  if (status == NOPROP_OK) status = run_file_write(to, bytes, (size_t)size);
  free(bytes);
  return status;
}

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
  if (status == NOPROP_OK) status = scratch_create(folder, sizeof folder);
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
  if (status == NOPROP_OK) status = draw_to(folder, "schedule", path);
  free(text.data);
  free(script.data);
  scratch_remove(folder, names, 3);
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
           "set logscale y 2\nset format y '%%.3g'\nset key outside bottom center vertical maxrows 4\nplot ",
           count);
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
  if (status == NOPROP_OK) status = scratch_create(folder, sizeof folder);
  if (status != NOPROP_OK) {
    free(script.data);
    return status;
  }
  status = text_write(&script, folder, names[0]);
  if (status == NOPROP_OK) status = draw_to(folder, "compare", path);
  scratch_remove(folder, names, 2);
  return status;
}

/* ---- quality against calls --------------------------------------------------------------------------------------- */

/* More curves than TOGETHER_MOST get a pair of panels for each run. */
enum { CURVES_MOST = 120, TOGETHER_MOST = 10, NAME_MOST = 160 };

/* The curves of a sweep: consecutive rows of one run and method. */
struct curves {
  char run[CURVES_MOST][NAME_MOST], method[CURVES_MOST][32];
  int count, run_count;
  int run_of[CURVES_MOST]; /* number among the different runs, in order of appearance */
  double floor, least, most;
  char metric[32];
};

static noprop_status sweep_damaged(const char *csv, int line) {
  return status_set(NOPROP_FILE_ERROR, "%s:%d: not a row run,method,calls,quality,milliseconds,metric", csv, line);
}

static noprop_status read_curve_row(struct curves *curves, const char *csv, int line, char *row) {
  char *cells[6] = {row};
  int count = 1;
  for (char *c = row; *c; c++)
    if (*c == ',' && count < 6) {
      *c = 0;
      cells[count++] = c + 1;
    }
  if (count < 6) return sweep_damaged(csv, line);
  const double quality = strtod(cells[3], NULL);
  if (strcmp(cells[0], "floor") == 0) {
    curves->floor = quality;
    return NOPROP_OK;
  }
  if (strchr(cells[0], '\'') || strlen(cells[0]) >= NAME_MOST || strlen(cells[1]) >= sizeof curves->method[0])
    return status_set(NOPROP_FILE_ERROR, "%s:%d: a run's name with a quotation mark, or too long, cannot be drawn", csv,
                      line);
  snprintf(curves->metric, sizeof curves->metric, "%.*s", (int)strcspn(cells[5], "\r\n"), cells[5]);
  if (quality > 0) curves->least = fmin(curves->least, quality);
  curves->most = fmax(curves->most, quality);
  const int last = curves->count - 1;
  if (last >= 0 && strcmp(curves->run[last], cells[0]) == 0 && strcmp(curves->method[last], cells[1]) == 0)
    return NOPROP_OK;
  if (curves->count == CURVES_MOST)
    return status_set(NOPROP_UNSUPPORTED,
                      "%s: more than %d curves make no readable picture; compare fewer runs or methods", csv,
                      (int)CURVES_MOST);
  const bool new_run = last < 0 || strcmp(curves->run[last], cells[0]) != 0;
  if (new_run) curves->run_count++;
  curves->run_of[curves->count] = curves->run_count - 1;
  snprintf(curves->run[curves->count], NAME_MOST, "%s", cells[0]);
  snprintf(curves->method[curves->count++], sizeof curves->method[0], "%s", cells[1]);
  return NOPROP_OK;
}

static noprop_status read_curves(const char *csv, struct curves *curves) {
  char *text = NULL;
  noprop_status status = run_file_read(csv, &text);
  if (status != NOPROP_OK) return status;
  *curves = (struct curves){.floor = NAN, .least = HUGE_VAL, .most = -HUGE_VAL};
  int line = 1;
  char *at = strchr(text, '\n');
  while (at && at[1] && status == NOPROP_OK) {
    char *row = at + 1;
    at = strchr(row, '\n');
    if (at) *at = 0;
    status = read_curve_row(curves, csv, ++line, row);
  }
  free(text);
  if (status == NOPROP_OK && curves->count == 0)
    status = status_set(NOPROP_FILE_ERROR, "%s holds no rows to draw", csv);
  return status;
}

/* One panel: quality over column `column`. Runs differ by colour (methods, where there is one run
 * only), the methods of a run by the shape of the points. */
static void add_sweep_panel(struct text *script, const struct curves *curves, const char *csv, int column, bool key) {
  static const int shapes[] = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12, 1, 2, 3, 14};
  int shape = 0;
  text_add(script, key ? "set key outside bottom center vertical maxrows 6\nplot " : "unset key\nplot ");
  if (!isnan(curves->floor))
    text_add(script, "%.6g with lines linewidth 1.5 dashtype 2 linecolor rgb '#404040' title 'fresh data', \\\n     ",
             curves->floor);
  for (int i = 0; i < curves->count; i++) {
    const int colour = curves->run_count > 1 ? curves->run_of[i] : i;
    shape = i > 0 && curves->run_of[i] == curves->run_of[i - 1] ? shape + 1 : 0;
    text_add(
        script,
        "%s'%s' skip 1 using (strcol(1) eq '%s' && strcol(2) eq '%s' ? $%d : NaN):4 with linespoints linewidth 1.5 "
        "pointtype %d pointsize 0.9 linetype %d title '%s, %s' noenhanced",
        i ? ", \\\n     " : "", csv, curves->run[i], curves->method[i], column,
        shapes[shape % (int)(sizeof shapes / sizeof *shapes)], colour % REPORT_COLOUR_COUNT + 1, curves->run[i],
        curves->method[i]);
  }
  text_add(script, "\n");
}

/* Number of the curve's method among the different ones, in order of appearance. */
static int method_of(const struct curves *curves, int curve) {
  int number = 0;
  for (int i = 0; i <= curve; i++) {
    bool seen = false;
    for (int j = 0; j < i; j++) seen = seen || strcmp(curves->method[i], curves->method[j]) == 0;
    if (strcmp(curves->method[i], curves->method[curve]) == 0) return number;
    number += !seen;
  }
  return number;
}

/* One panel of one run: its methods by colour and shape, the same in all panels. */
static void add_run_panel(struct text *script, const struct curves *curves, const char *csv, int run, int column) {
  static const int shapes[] = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12, 3};
  const char *separator = "";
  text_add(script, "plot ");
  if (!isnan(curves->floor)) {
    text_add(script, "%.6g with lines linewidth 1.5 dashtype 2 linecolor rgb '#404040' title 'fresh data'",
             curves->floor);
    separator = ", \\\n     ";
  }
  for (int i = 0; i < curves->count; i++) {
    if (curves->run_of[i] != run) continue;
    const int method = method_of(curves, i);
    text_add(script,
             "%s'%s' skip 1 using (strcol(1) eq '%s' && strcol(2) eq '%s' ? $%d : NaN):4 with linespoints linewidth "
             "1.3 pointtype %d pointsize 0.8 linetype %d title '%s' noenhanced",
             separator, csv, curves->run[i], curves->method[i], column,
             shapes[method % (int)(sizeof shapes / sizeof *shapes)], method % REPORT_COLOUR_COUNT + 1,
             curves->method[i]);
    separator = ", \\\n     ";
  }
  text_add(script, "\nunset key\n");
}

/* A row of two panels for each run, with one key below all. */
static void add_run_panels(struct text *script, const struct curves *curves, const char *csv, int height) {
  text_add(
      script,
      "set multiplot layout %d,2 margins 0.1,0.96,%.4g,%.4g spacing 0.11,%.4g title 'Quality against network calls "
      "and against time' font ',14'\nset key at screen 0.5,0 center bottom vertical maxrows 4\n",
      curves->run_count, 150.0 / height, 1 - 70.0 / height, 85.0 / height);
  for (int run = 0; run < curves->run_count; run++) {
    int first = 0;
    while (curves->run_of[first] != run) first++;
    const bool last = run + 1 == curves->run_count;
    text_add(script, "set title '%s' noenhanced\nset xlabel '%s'\n", curves->run[first],
             last ? "network calls per row" : "");
    add_run_panel(script, curves, csv, run, 3);
    text_add(script, "set xlabel '%s'\n", last ? "milliseconds of a solve of all rows" : "");
    add_run_panel(script, curves, csv, run, 5);
  }
}

noprop_status noprop_report_sweep(const char *csv, const char *path) {
  static const char *const names[] = {"sweep.gp", "sweep.png"};
  char folder[RUN_PATH], resolved[RUN_PATH];
  struct text script = {0};
  if (!csv || !path) return status_set(NOPROP_INVALID_ARGUMENT, "noprop_report_sweep needs a file and a picture");
  struct curves *curves = malloc(sizeof *curves);
  if (!curves) return status_set(NOPROP_OUT_OF_MEMORY, "no memory for the curves of %s", csv);
  noprop_status status = read_curves(csv, curves);
  if (status == NOPROP_OK && (!realpath(csv, resolved) || strchr(resolved, '\'')))
    status = status_set(NOPROP_FILE_ERROR, "%s cannot be drawn: its path holds a quotation mark", csv);
  if (status == NOPROP_OK) {
    const bool falling = strcmp(curves->metric, "accuracy") != 0;
    const bool apart = curves->run_count > 1 && curves->count > TOGETHER_MOST;
    const int height = apart ? 180 + 300 * curves->run_count : 620 + 22 * (curves->count < 6 ? curves->count : 6);
    report_script_begin(&script, "sweep", apart ? 1000 : 1180, height);
    report_script_colours(&script);
    text_add(&script, "set logscale x\nset ylabel '%s' noenhanced\n", curves->metric);
    if (falling)
      text_add(&script, "set logscale y 2\nset format y '%%.3g'\nset yrange [%.4g:%.4g]\n",
               0.85 * (isnan(curves->floor) ? curves->least : fmin(curves->least, curves->floor)), 1.2 * curves->most);
    if (apart) {
      add_run_panels(&script, curves, resolved, height);
    } else {
      text_add(&script,
               "set multiplot layout 1,2\n"
               "set title 'Quality against network calls' font ',14'\nset xlabel 'network calls per row'\n");
      add_sweep_panel(&script, curves, resolved, 3, true);
      text_add(&script,
               "set title 'Quality against time' font ',14'\nset xlabel 'milliseconds of a solve of all rows'\n");
      add_sweep_panel(&script, curves, resolved, 5, true);
    }
    text_add(&script, "unset multiplot\n");
    status = scratch_create(folder, sizeof folder);
  }
  free(curves);
  if (status != NOPROP_OK) {
    free(script.data);
    return status;
  }
  status = text_write(&script, folder, names[0]);
  if (status == NOPROP_OK) status = draw_to(folder, "sweep", path);
  scratch_remove(folder, names, 2);
  return status;
}
