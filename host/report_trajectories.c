/* trajectories.png: the way of some rows from t = 0 to 1, in the plane, as class scores, as values, or as images. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sampler.h"
#include "engine/schedule.h"
#include "engine/status.h"
#include "host/array.h"
#include "host/report_parts.h"

enum {
  PATHS_LABEL = 60, /* of class scores and values */
  PATHS_PLANE = 150,
  PATHS_IMAGE = 6,
  FRAMES_IMAGE = 11
};

noprop_status noprop_trajectory_times(const noprop_model *model, const noprop_sampler_options *options, double *times,
                                      int *points) {
  if (!model || !options || !points)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_trajectory_times needs a model, options and a place for the count");
  struct sampler_plan plan;
  const noprop_status status = sampler_resolve(model, options, &plan);
  if (status != NOPROP_OK) return status;
  *points = plan.steps + 1;
  if (!times) return NOPROP_OK;
  if (plan.grid == GRID_USER) {
    memcpy(times, options->times, (size_t)*points * sizeof *times);
    return NOPROP_OK;
  }
  return model_schedule_grid(model, plan.average, plan.grid, plan.steps, times);
}

/* Decoded states [points][rows][width] of the first `rows` held-out conditions (or of so many samples). */
struct paths {
  int points;
  long rows, width;
  double *times;
  float *values;
};

static noprop_status solve_paths(const struct report *report, long rows, struct paths *paths) {
  noprop_sampler_options options = report_solve_options(report, true);
  noprop_array condition = report_first_rows(&report->condition, rows);
  noprop_status status = noprop_trajectory_times(report->model, &options, NULL, &paths->points);
  if (status != NOPROP_OK) return status;
  paths->rows = report->has_condition ? condition.rows : rows;
  paths->width = report->shape.target_width;
  paths->times = calloc((size_t)paths->points + 1, sizeof *paths->times);
  paths->values = calloc((size_t)paths->points * (size_t)paths->rows * (size_t)paths->width + 1, sizeof *paths->values);
  if (!paths->times || !paths->values) return report_no_memory();
  status = noprop_trajectory_times(report->model, &options, paths->times, &paths->points);
  if (status != NOPROP_OK) return status;
  return noprop_sample(report->model, &options, report->has_condition ? &condition : NULL, paths->rows, NULL,
                       paths->values);
}

static float path_value(const struct paths *paths, int point, long row, long column) {
  return paths->values[((long)point * paths->rows + row) * paths->width + column];
}

/* Class scores over t: the right class's in the colour of how it ended, the strongest other one's in grey. */
static noprop_status draw_score_paths(const struct report *report, const struct paths *paths) {
  struct text text = {0}, script = {0};
  long missed = 0;
  text_add(&text, "row,t,right,other,correct\n");
  for (long row = 0; row < paths->rows; row++) {
    long label = (long)array_value(&report->target, row, 0);
    for (int point = 0; point < paths->points; point++) {
      double other = -HUGE_VAL, end = -HUGE_VAL;
      for (long i = 0; i < paths->width; i++) {
        if (i == label) continue;
        other = fmax(other, path_value(paths, point, row, i));
        end = fmax(end, path_value(paths, paths->points - 1, row, i));
      }
      text_add(&text, "%ld,%.6g,%.6g,%.6g,%d\n", row, paths->times[point], path_value(paths, point, row, label), other,
               path_value(paths, paths->points - 1, row, label) > end);
      if (point == paths->points - 1) missed += path_value(paths, point, row, label) <= end;
    }
    text_add(&text, "\n"); /* a blank line: the next curve does not join on */
  }
  noprop_status status = text_write(&text, report->folder, "trajectories.csv");
  if (status != NOPROP_OK) return status;
  report_script_begin(&script, "trajectories", 900, 540);
  text_add(
      &script,
      "set title 'From noise to answer: class scores of %ld held-out rows along the solve' font ',14'\n"
      "set xlabel 't'\nset ylabel 'score'\nset xrange [0:1]\n"
      "plot 'trajectories.csv' skip 1 using 2:4 with lines linewidth 1 linecolor rgb '#70909090', \\\n"
      "     '' skip 1 using 2:($5==1?$3:NaN) with lines linewidth 1.3 linecolor rgb '#600072B2', \\\n"
      "     '' skip 1 using 2:($5==0?$3:NaN) with lines linewidth 2 linecolor rgb '#D55E00', \\\n"
      "     NaN with lines linewidth 2 linecolor rgb '#0072B2' title 'right class, predicted', \\\n%s"
      "     NaN with lines linewidth 2 linecolor rgb '#B8B8B8' title 'strongest other class'\n",
      paths->rows,
      missed > 0 ? "     NaN with lines linewidth 2 linecolor rgb '#D55E00' title 'right class, missed', \\\n" : "");
  return text_write(&script, report->folder, "trajectories.gp");
}

/* Values over t (first column), with the true values as points behind t = 1. */
static noprop_status draw_value_paths(const struct report *report, const struct paths *paths) {
  struct text text = {0}, script = {0};
  bool regress = report->settings.task == TASK_REGRESS;
  text_add(&text, "row,t,value,true\n");
  for (long row = 0; row < paths->rows; row++) {
    for (int point = 0; point < paths->points; point++) {
      text_add(&text, "%ld,%.6g,%.6g,", row, paths->times[point], path_value(paths, point, row, 0));
      if (regress) text_add(&text, "%.6g", array_value(&report->target, row, 0));
      text_add(&text, "\n");
    }
    text_add(&text, "\n");
  }
  noprop_status status = text_write(&text, report->folder, "trajectories.csv");
  if (status != NOPROP_OK) return status;
  report_script_begin(&script, "trajectories", 900, 540);
  text_add(&script,
           "set title 'From noise to answer: %s of %ld rows along the solve' font ',14'\nset xlabel 't'\n"
           "set ylabel '%s%s' noenhanced\nset xrange [0:%s]\n"
           "plot 'trajectories.csv' skip 1 using 2:3 with lines linewidth 1.3 linecolor rgb '#600072B2', \\\n"
           "     NaN with lines linewidth 2 linecolor rgb '#0072B2' title 'state'",
           regress ? "predictions" : "samples", paths->rows, report->roles.target, paths->width > 1 ? "_0" : "",
           regress ? "1.03" : "1");
  if (regress)
    text_add(&script,
             ", \\\n     '' skip 1 using ($2==1?1.015:NaN):4 with points pointtype 7 pointsize 0.6 linecolor rgb "
             "'#D55E00' title 'true value'");
  text_add(&script, "\n");
  return text_write(&script, report->folder, "trajectories.gp");
}

/* Paths in the plane of the first two columns. */
static noprop_status draw_plane_paths(const struct report *report, const struct paths *paths) {
  struct text text = {0}, script = {0};
  text_add(&text, "row,t,a,b\n");
  for (long row = 0; row < paths->rows; row++) {
    for (int point = 0; point < paths->points; point++)
      text_add(&text, "%ld,%.6g,%.6g,%.6g\n", row, paths->times[point], path_value(paths, point, row, 0),
               path_value(paths, point, row, 1));
    text_add(&text, "\n");
  }
  noprop_status status = text_write(&text, report->folder, "trajectories.csv");
  if (status != NOPROP_OK) return status;
  report_script_begin(&script, "trajectories", 820,
                      paths->width == 2 ? report_plane_height(820, &report->target, 0, &report->target, 1) : 700);
  text_add(&script,
           "set title 'From noise to data: %ld trajectories' font ',14'\n"
           "set xlabel '%s_0' noenhanced\nset ylabel '%s_1' noenhanced\n%s"
           "set offsets graph 0.03, graph 0.03, graph 0.03, graph 0.03\n"
           "plot 'trajectories.csv' skip 1 using 3:4 with lines linewidth 0.8 linecolor rgb '#90808080', \\\n"
           "     '' skip 1 using ($2==0?$3:NaN):4 with points pointtype 7 pointsize 0.6 linecolor rgb '#56B4E9' title "
           "'noise, t = 0', \\\n"
           "     '' skip 1 using ($2==1?$3:NaN):4 with points pointtype 7 pointsize 0.7 linecolor rgb '#D55E00' title "
           "'sample, t = 1'\n",
           paths->rows, report->roles.target, report->roles.target, paths->width == 2 ? "set size ratio -1\n" : "");
  return text_write(&script, report->folder, "trajectories.gp");
}

static noprop_status draw_image_paths(const struct report *report, const struct paths *paths,
                                      struct image_shape image) {
  struct sheet sheet = {0};
  struct text labels = {0};
  int frames = paths->points < FRAMES_IMAGE ? paths->points : FRAMES_IMAGE;
  noprop_status status = sheet_create(&sheet, image, frames, paths->rows);
  if (status != NOPROP_OK) return status;
  for (int frame = 0; frame < frames; frame++) {
    int point = frames > 1 ? frame * (paths->points - 1) / (frames - 1) : 0;
    noprop_array states = {.type = NOPROP_TYPE_FLOAT32,
                           .rows = paths->rows,
                           .width = paths->width,
                           .values = paths->values + (long)point * paths->rows * paths->width};
    for (long row = 0; row < paths->rows; row++) sheet_put(&sheet, frame, row, &states, row);
    text_add(&labels, "set label 't = %.2g' at %g,%g center offset 0,-0.6\n", paths->times[point],
             (double)(frame * (image.width + 1)) + (double)(image.width - 1) / 2, (double)sheet.rows);
  }
  status = labels.failed
               ? report_no_memory()
               : sheet_script(report, &sheet, "trajectories", "trajectories.csv", "From noise to images", labels.data);
  free(labels.data);
  if (status == NOPROP_OK) return sheet_write(&sheet, report, "trajectories.csv");
  free(sheet.cells);
  return status;
}

noprop_status report_trajectories(const struct report *report) {
  struct paths paths = {0};
  struct image_shape image = report_image_of(&report->target);
  bool generate = report->settings.task == TASK_GENERATE;
  long rows = !generate                        ? PATHS_LABEL
              : image.height > 0               ? PATHS_IMAGE
              : report->shape.target_width > 1 ? PATHS_PLANE
                                               : PATHS_LABEL;
  noprop_status status = solve_paths(report, rows, &paths);
  if (status == NOPROP_OK) {
    if (report->shape.target_is_label)
      status = draw_score_paths(report, &paths);
    else if (generate && image.height > 0)
      status = draw_image_paths(report, &paths, image);
    else if (generate && paths.width > 1)
      status = draw_plane_paths(report, &paths);
    else
      status = draw_value_paths(report, &paths);
  }
  free(paths.times);
  free(paths.values);
  return status;
}
