/* The picture of `noprop compare --calls`: quality against network calls, time of a solve and parameters. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/status.h"
#include "host/report.h"

/* More curves than TOGETHER_MOST get panels for each run. */
enum { CURVES_MOST = 120, TOGETHER_MOST = 10, NAME_MOST = 160, KEY_ROWS = 6, KEY_HEIGHT = 22 };

/* What quality is drawn over; `column` of the file, from 1. */
enum { CALLS, MILLISECONDS, PARAMETERS, AXES };
static const struct {
  int column;
  const char *title, *label;
} AXIS[AXES] = {{3, "Quality against network calls", "network calls per row"},
                {5, "Quality against time", "milliseconds of a solve of all rows"},
                {7, "Quality against parameters", "parameters"}};

struct range {
  double least, most;
};

/* The curves of a sweep: consecutive rows of one run and method. */
struct curves {
  char run[CURVES_MOST][NAME_MOST], method[CURVES_MOST][32];
  int count, run_count;
  int run_of[CURVES_MOST]; /* number among the different runs, in order of appearance */
  double parameters[CURVES_MOST], floor;
  struct range quality, axes[AXES];
  char metric[32];
};

static void extend(struct range *range, double value) {
  range->least = fmin(range->least, value);
  range->most = fmax(range->most, value);
}

/* ---- data ---- */

static noprop_status read_row(struct curves *curves, const char *csv, int line, char *row) {
  enum { CELLS = 7 };
  char *cells[CELLS] = {row};
  int count = 1;
  for (char *c = row; *c; c++)
    if (*c == ',' && count < CELLS) {
      *c = 0;
      cells[count++] = c + 1;
    }
  if (count < CELLS)
    return status_set(NOPROP_FILE_ERROR, "%s:%d: not a row run,method,calls,quality,milliseconds,metric,parameters",
                      csv, line);
  const double quality = strtod(cells[3], NULL);
  if (strcmp(cells[0], "floor") == 0) {
    curves->floor = quality;
    return NOPROP_OK;
  }
  if (strchr(cells[0], '\'') || strlen(cells[0]) >= NAME_MOST || strlen(cells[1]) >= sizeof curves->method[0])
    return status_set(NOPROP_FILE_ERROR, "%s:%d: a run's name with a quotation mark, or too long, cannot be drawn", csv,
                      line);
  snprintf(curves->metric, sizeof curves->metric, "%s", cells[5]);
  if (quality > 0) extend(&curves->quality, quality);
  for (int i = 0; i < AXES; i++) {
    const double value = strtod(cells[AXIS[i].column - 1], NULL);
    if (value > 0) extend(&curves->axes[i], value);
  }
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
  curves->parameters[curves->count] = strtod(cells[6], NULL);
  snprintf(curves->run[curves->count], NAME_MOST, "%s", cells[0]);
  snprintf(curves->method[curves->count++], sizeof curves->method[0], "%s", cells[1]);
  return NOPROP_OK;
}

static noprop_status read_curves(const char *csv, struct curves *curves) {
  const struct range nothing = {HUGE_VAL, -HUGE_VAL};
  char *text = NULL;
  noprop_status status = run_file_read(csv, &text);
  if (status != NOPROP_OK) return status;
  *curves = (struct curves){.floor = NAN, .quality = nothing, .axes = {nothing, nothing, nothing}};
  int line = 1;
  char *at = strchr(text, '\n');
  while (at && at[1] && status == NOPROP_OK) {
    char *row = at + 1;
    at = strchr(row, '\n');
    if (at) *at = 0;
    status = read_row(curves, csv, ++line, row);
  }
  free(text);
  if (status == NOPROP_OK && curves->count == 0)
    status = status_set(NOPROP_FILE_ERROR, "%s holds no rows to draw", csv);
  return status;
}

/* ---- script ---- */

static void add_axis(struct text *script, const struct curves *curves, int axis) {
  const struct range *range = &curves->axes[axis];
  if (range->least > range->most) return;
  const double wider = pow(range->most / range->least, 0.04) * 1.02; /* points stay clear of the borders */
  text_add(script, "set xrange [%.6g:%.6g]\n", range->least / wider, range->most * wider);
  report_script_log_tics(script, "x", range->least, range->most);
}

static void add_quality_axis(struct text *script, const struct curves *curves) {
  text_add(script, "set logscale x\nset ylabel '%s' noenhanced\n", curves->metric);
  struct range range = curves->quality;
  if (!isnan(curves->floor)) extend(&range, curves->floor);
  if (range.least > range.most) return;
  if (strcmp(curves->metric, "accuracy") == 0) {
    const double margin = range.most > range.least ? 0.06 * (range.most - range.least) : 0.01;
    text_add(script, "set yrange [%.6g:%.6g]\n", range.least - margin, range.most + margin);
    return;
  }
  text_add(script, "set logscale y\nset yrange [%.4g:%.4g]\n", 0.85 * range.least, 1.2 * range.most);
  report_script_log_tics(script, "y", range.least, range.most);
}

static void begin_plot(struct text *script, const struct curves *curves) {
  text_add(script, "plot ");
  if (!isnan(curves->floor))
    text_add(script, "%.6g with lines linewidth 1.5 dashtype 2 linecolor rgb '#404040' title 'fresh data', \\\n     ",
             curves->floor);
}

/* Rows of curve `curve` over column `column`; continues a plot command. */
static void add_curve(struct text *script, const struct curves *curves, const char *csv, int curve, int column,
                      int shape, int colour) {
  static const int shapes[] = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12, 1, 2, 3, 14};
  text_add(script,
           "'%s' skip 1 using (strcol(1) eq '%s' && strcol(2) eq '%s' ? $%d : NaN):4 with linespoints linewidth 1.5 "
           "pointtype %d pointsize 0.9 linetype %d",
           csv, curves->run[curve], curves->method[curve], column,
           shapes[shape % (int)(sizeof shapes / sizeof *shapes)], colour % REPORT_COLOUR_COUNT + 1);
}

/* All curves in one panel. Runs differ by colour (methods, where there is one run only), the methods of a run by the
 * shape of the points. */
static void add_panel(struct text *script, const struct curves *curves, const char *csv, int axis) {
  int shape = 0;
  text_add(script, "set title '%s' font ',14'\nset xlabel '%s'\n", AXIS[axis].title, AXIS[axis].label);
  add_axis(script, curves, axis);
  begin_plot(script, curves);
  for (int i = 0; i < curves->count; i++) {
    shape = i > 0 && curves->run_of[i] == curves->run_of[i - 1] ? shape + 1 : 0;
    add_curve(script, curves, csv, i, AXIS[axis].column, shape, curves->run_count > 1 ? curves->run_of[i] : i);
    text_add(script, " title '%s, %s' noenhanced%s", curves->run[i], curves->method[i],
             i + 1 < curves->count ? ", \\\n     " : "\nunset key\n");
  }
}

/* Panels side by side with one key below all; parameters where there is a choice of them. */
static void add_panels(struct text *script, const struct curves *curves, const char *csv, int width, int height,
                       int key_rows) {
  enum { LEFT = 115, RIGHT = 20, ABOVE = 55, BELOW = 75, BETWEEN = 75 };
  const int panels = curves->run_count > 1 ? AXES : PARAMETERS;
  text_add(script,
           "set multiplot layout 1,%d margins %.4g,%.4g,%.4g,%.4g spacing %.4g,0\n"
           "set key at screen 0.5,0 center bottom vertical maxrows %d\n",
           panels, (double)LEFT / width, 1 - (double)RIGHT / width, (double)(BELOW + KEY_HEIGHT * key_rows) / height,
           1 - (double)ABOVE / height, (double)BETWEEN / width, (int)KEY_ROWS);
  for (int axis = 0; axis < panels; axis++) {
    add_panel(script, curves, csv, axis);
    text_add(script, "unset ylabel\n");
  }
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
static void add_run_panel(struct text *script, const struct curves *curves, const char *csv, int run, int axis) {
  const char *separator = "";
  add_axis(script, curves, axis);
  begin_plot(script, curves);
  for (int i = 0; i < curves->count; i++) {
    if (curves->run_of[i] != run) continue;
    const int method = method_of(curves, i);
    text_add(script, "%s", separator);
    add_curve(script, curves, csv, i, AXIS[axis].column, method, method);
    text_add(script, " title '%s' noenhanced", curves->method[i]);
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
    text_add(script, "set title '%s, %.0f parameters' noenhanced\n", curves->run[first], curves->parameters[first]);
    for (int axis = CALLS; axis < PARAMETERS; axis++) {
      text_add(script, "set xlabel '%s'\n", last ? AXIS[axis].label : "");
      add_run_panel(script, curves, csv, run, axis);
    }
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
    const bool apart = curves->run_count > 1 && curves->count > TOGETHER_MOST;
    const int keys = curves->count + !isnan(curves->floor), key_rows = keys < KEY_ROWS ? keys : KEY_ROWS;
    const int width = !apart && curves->run_count > 1 ? 1280 : 1000;
    const int height = apart ? 180 + 300 * curves->run_count : 520 + KEY_HEIGHT * key_rows;
    report_script_begin(&script, "sweep", width, height);
    report_script_colours(&script);
    add_quality_axis(&script, curves);
    if (apart)
      add_run_panels(&script, curves, resolved, height);
    else
      add_panels(&script, curves, resolved, width, height, key_rows);
    text_add(&script, "unset multiplot\n");
    status = report_scratch_create(folder, sizeof folder);
  }
  free(curves);
  if (status != NOPROP_OK) {
    free(script.data);
    return status;
  }
  status = text_write(&script, folder, names[0]);
  if (status == NOPROP_OK) status = report_draw_to(folder, "sweep", path);
  report_scratch_remove(folder, names, 2);
  return status;
}
