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
#include "host/report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/sampler.h"
#include "engine/schedule.h"
#include "engine/settings.h"
#include "engine/status.h"
#include "host/array.h"
#include "host/dataset.h"
#include "noprop/forecast.h"

enum {
  POINTS_MOST = 2000, /* in a scatter plot: more only hides itself */
  ROWS_MOST = 10000,  /* predicted for confusion matrix and errors */
  PATHS_LABEL = 60,   /* trajectories of class scores and values */
  PATHS_PLANE = 150,  /* trajectories in the plane */
  PATHS_IMAGE = 6,
  FRAMES_IMAGE = 11,
  REGION_CELLS = 120, /* decision regions: cells per side */
  GRID_IMAGES = 10,   /* images per side */
  KEYS_MOST = 12,     /* classes named in a key */
  CLASSES_DRAWN = 30  /* a confusion matrix of more classes has no readable numbers */
};

struct image_shape {
  long channels, height, width; /* height 0: no image */
};

struct report {
  noprop_model *model;
  noprop_dataset *dataset;
  const char *folder;
  noprop_log_function log;
  void *user;
  struct settings settings;
  noprop_data_roles roles;
  noprop_model_shape shape;
  const char *split; /* held-out rows */
  bool has_condition;
  noprop_array train_condition, train_target, condition, target;
};

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

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

static long at_most(long value, long limit) { return value < limit ? value : limit; }

/* [rows][h][w], [rows][c][h][w], or flat bytes that make a square of at least 8 x 8. */
static struct image_shape image_of(const noprop_array *array) {
  struct image_shape none = {0};
  if (array->rank == 3 && array->shape[1] >= 4 && array->shape[2] >= 4)
    return (struct image_shape){1, array->shape[1], array->shape[2]};
  if (array->rank == 4 && array->shape[1] <= 4)
    return (struct image_shape){array->shape[1], array->shape[2], array->shape[3]};
  long side = lround(sqrt((double)array->width));
  if (array->type == NOPROP_TYPE_UINT8 && side >= 8 && side * side == array->width)
    return (struct image_shape){1, side, side};
  return none;
}

static noprop_status no_memory(void) { return status_set(NOPROP_OUT_OF_MEMORY, "no memory for a picture's data"); }

static noprop_sampler_options solve_options(const struct report *report, bool trajectory) {
  noprop_sampler_options options = noprop_sampler_options_default(report->model);
  options.trajectory = trajectory;
  return options;
}

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

/* ---- images in a grid -------------------------------------------------------------------------------------------- */

/* A sheet of images with one cell of space between them, as a matrix of grey values; empty cells are NaN. */
struct sheet {
  struct image_shape image;
  long across, down, columns, rows; /* images; cells */
  double *cells;
};

static noprop_status sheet_create(struct sheet *sheet, struct image_shape image, long across, long down) {
  sheet->image = image;
  sheet->across = across;
  sheet->down = down;
  sheet->columns = across * (image.width + 1) - 1;
  sheet->rows = down * (image.height + 1) - 1;
  size_t count = (size_t)(sheet->columns * sheet->rows);
  sheet->cells = calloc(count + 1, sizeof *sheet->cells);
  if (!sheet->cells) return no_memory();
  for (size_t i = 0; i < count; i++) sheet->cells[i] = NAN;
  return NOPROP_OK;
}

/* Channels are averaged. */
static void sheet_put(struct sheet *sheet, long column, long row, const noprop_array *array, long array_row) {
  const struct image_shape *image = &sheet->image;
  for (long y = 0; y < image->height; y++)
    for (long x = 0; x < image->width; x++) {
      double sum = 0;
      for (long c = 0; c < image->channels; c++)
        sum += array_value(array, array_row, (c * image->height + y) * image->width + x);
      sheet->cells[(row * (image->height + 1) + y) * sheet->columns + column * (image->width + 1) + x] =
          sum / (double)image->channels;
    }
}

static noprop_status sheet_write(struct sheet *sheet, const struct report *report, const char *name) {
  struct text text = {0};
  for (long y = 0; y < sheet->rows; y++)
    for (long x = 0; x < sheet->columns; x++) {
      double value = sheet->cells[y * sheet->columns + x];
      if (isnan(value))
        text_add(&text, "nan%c", x + 1 < sheet->columns ? ',' : '\n');
      else
        text_add(&text, "%.4g%c", value, x + 1 < sheet->columns ? ',' : '\n');
    }
  free(sheet->cells);
  sheet->cells = NULL;
  return text_write(&text, report->folder, name);
}

/* A script that shows a sheet. `labels` is added before the plot command. */
static noprop_status sheet_script(const struct report *report, const struct sheet *sheet, const char *name,
                                  const char *data, const char *title, const char *labels) {
  struct text script = {0};
  /* What is generated may leave the range of bytes, and would take contrast from the rest. */
  const bool of_bytes =
      (report->shape.target_is_label ? report->shape.condition_type : report->shape.target_type) == NOPROP_TYPE_UINT8;
  int width = (int)(sheet->columns * 3 < 760 ? 760 : sheet->columns * 3 > 1100 ? 1100 : sheet->columns * 3);
  int height = (int)((double)(width - 60) * (double)sheet->rows / (double)sheet->columns) + 100;
  report_script_begin(&script, name, width, height);
  text_add(
      &script,
      "set title '%s' font ',14'\nunset border\nunset tics\nunset grid\nunset colorbox\nset palette gray negative\n"
      "set size ratio -1\nset yrange [] reverse\n%s%splot '%s' matrix with image\n",
      title, of_bytes ? "set cbrange [0:255]\n" : "", labels, data);
  char file[64];
  snprintf(file, sizeof file, "%s.gp", name);
  return text_write(&script, report->folder, file);
}

/* ---- data -------------------------------------------------------------------------------------------------------- */

static noprop_status draw_example_images(const struct report *report, const noprop_array *images,
                                         struct image_shape image, const char *title) {
  struct sheet sheet = {0};
  char words[160];
  bool by_class = report->shape.target_is_label && report->shape.target_width <= 2 * GRID_IMAGES;
  long across = by_class ? report->shape.target_width : GRID_IMAGES;
  noprop_status status = sheet_create(&sheet, image, across, GRID_IMAGES);
  if (status != NOPROP_OK) return status;
  if (by_class) {
    long filled[2 * GRID_IMAGES] = {0};
    for (long row = 0; row < images->rows; row++) {
      long label = (long)array_value(&report->train_target, row, 0);
      if (label >= 0 && label < across && filled[label] < GRID_IMAGES)
        sheet_put(&sheet, label, filled[label]++, images, row);
    }
    snprintf(words, sizeof words, "%s, a column for each class", title);
  } else {
    for (long row = 0; row < images->rows && row < GRID_IMAGES * GRID_IMAGES; row++)
      sheet_put(&sheet, row % GRID_IMAGES, row / GRID_IMAGES, images, row);
    snprintf(words, sizeof words, "%s", title);
  }
  struct text labels = {0};
  for (long i = 0; by_class && i < across; i++)
    text_add(&labels, "set label '%ld' at %g,%g center offset 0,-0.6\n", i,
             (double)(i * (image.width + 1)) + (double)(image.width - 1) / 2, (double)sheet.rows);
  text_add(&labels, "%s", "");
  status = labels.failed ? no_memory() : sheet_script(report, &sheet, "data", "data.csv", words, labels.data);
  free(labels.data);
  if (status == NOPROP_OK) return sheet_write(&sheet, report, "data.csv");
  free(sheet.cells);
  return status;
}

/* Writes columns a and b of the rows and a third with the class (0 without classes). */
static noprop_status write_points(const struct report *report, const char *name, const noprop_array *a, long a_column,
                                  const noprop_array *b, long b_column, const noprop_array *labels) {
  struct text text = {0};
  text_add(&text, "a,b,class\n");
  for (long row = 0; row < at_most(a->rows, POINTS_MOST); row++)
    text_add(&text, "%.6g,%.6g,%ld\n", array_value(a, row, a_column), array_value(b, row, b_column),
             labels ? (long)array_value(labels, row, 0) : 0);
  return text_write(&text, report->folder, name);
}

/* Key entries of the classes, with points large enough to tell their colours. Continues a plot command. */
static void add_class_keys(struct text *script, long classes) {
  if (classes < 2 || classes > KEYS_MOST) return;
  for (long i = 0; i < classes; i++)
    text_add(script, ", \\\n     NaN with points pointtype 7 pointsize 1.1 linecolor rgb '#%06X' title 'class %ld'",
             REPORT_COLOURS[i % REPORT_COLOUR_COUNT], i);
}

/* Points of a file with columns a, b, class, each class in its colour. Continues a plot command. */
static void add_class_points(struct text *script, const char *file, long classes, double size) {
  for (long i = 0; i < classes; i++)
    text_add(script,
             "%s'%s' skip 1 using ($3==%ld?$1:NaN):2 with points pointtype 7 pointsize %g linecolor rgb '#%06X'",
             i ? ", \\\n     " : "", file, i, size, REPORT_COLOURS[i % REPORT_COLOUR_COUNT]);
}

/* Height of a picture whose plot has equal units on both axes, so that no empty bands are left. */
static int plane_height(int width, const noprop_array *a, long a_column, const noprop_array *b, long b_column) {
  enum { BESIDE = 110, ABOVE_AND_BELOW = 130, LEAST = 360, MOST = 1000 };
  double low[2] = {HUGE_VAL, HUGE_VAL}, high[2] = {-HUGE_VAL, -HUGE_VAL};
  for (long row = 0; row < at_most(a->rows, POINTS_MOST); row++) {
    double point[2] = {array_value(a, row, a_column), array_value(b, row, b_column)};
    for (int i = 0; i < 2; i++) {
      low[i] = fmin(low[i], point[i]);
      high[i] = fmax(high[i], point[i]);
    }
  }
  double ratio = high[0] > low[0] ? (high[1] - low[1]) / (high[0] - low[0]) : 1;
  return (int)fmin(fmax(ABOVE_AND_BELOW + ratio * (width - BESIDE), LEAST), MOST);
}

static double point_size(long rows) { return rows > 1200 ? 0.45 : rows > 300 ? 0.6 : 0.9; }

static noprop_status draw_data(const struct report *report) {
  const noprop_array *condition = &report->train_condition, *target = &report->train_target;
  bool classify = report->shape.target_is_label;
  const noprop_array *shown = classify ? condition : target;
  if (classify && !report->has_condition) return NOPROP_OK;
  struct image_shape image = image_of(shown);
  if (image.height > 0)
    return draw_example_images(report, shown, image, classify ? "Training images" : "Training images to generate");

  const noprop_array *a = shown, *b = shown, *labels = classify ? target : NULL;
  long b_column = shown->width > 1 ? 1 : 0;
  char x_label[80], y_label[80], title[160];
  snprintf(x_label, sizeof x_label, shown->width > 1 ? "%s_0" : "%s", shown->name);
  snprintf(y_label, sizeof y_label, shown->width > 1 ? "%s_1" : "%s", shown->name);
  bool same_units = shown->width == 2;
  if (!classify && report->settings.task == TASK_REGRESS && report->has_condition &&
      !report->shape.condition_is_label) {
    a = condition;
    b = target;
    b_column = 0;
    same_units = false;
    snprintf(x_label, sizeof x_label, condition->width > 1 ? "%s_0" : "%s", condition->name);
    snprintf(y_label, sizeof y_label, target->width > 1 ? "%s_0" : "%s", target->name);
  } else if (!classify && report->shape.condition_is_label && report->has_condition) {
    labels = condition;
  }
  long classes = classify ? report->shape.target_width : labels ? report->shape.condition_width : 1;
  snprintf(title, sizeof title, "Training data%s", !same_units && a->width > 2 ? ", its first columns" : "");
  noprop_status status = write_points(report, "data.csv", a, 0, b, b_column, labels);
  if (status != NOPROP_OK) return status;
  struct text script = {0};
  report_script_begin(&script, "data", 820, same_units ? plane_height(820, a, 0, b, b_column) : 620);
  text_add(&script, "set title '%s' font ',14'\nset xlabel '%s' noenhanced\nset ylabel '%s' noenhanced\n", title,
           x_label, y_label);
  if (same_units) text_add(&script, "set size ratio -1\n");
  text_add(&script, "set offsets graph 0.03, graph 0.03, graph 0.03, graph 0.03\n");
  text_add(&script, "plot ");
  add_class_points(&script, "data.csv", at_most(classes, CLASSES_DRAWN), point_size(at_most(a->rows, POINTS_MOST)));
  add_class_keys(&script, classes);
  text_add(&script, "\n");
  return text_write(&script, report->folder, "data.gp");
}

/* ---- trajectories ------------------------------------------------------------------------------------------------ */

/* Decoded states [points][rows][width] of the first `rows` held-out conditions (or of so many samples). */
struct paths {
  int points;
  long rows, width;
  double *times;
  float *values;
};

static noprop_status solve_paths(const struct report *report, long rows, struct paths *paths) {
  noprop_sampler_options options = solve_options(report, true);
  noprop_array condition = report_first_rows(&report->condition, rows);
  noprop_status status = noprop_trajectory_times(report->model, &options, NULL, &paths->points);
  if (status != NOPROP_OK) return status;
  paths->rows = report->has_condition ? condition.rows : rows;
  paths->width = report->shape.target_width;
  paths->times = calloc((size_t)paths->points + 1, sizeof *paths->times);
  paths->values = calloc((size_t)paths->points * (size_t)paths->rows * (size_t)paths->width + 1, sizeof *paths->values);
  if (!paths->times || !paths->values) return no_memory();
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
                      paths->width == 2 ? plane_height(820, &report->target, 0, &report->target, 1) : 700);
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
               ? no_memory()
               : sheet_script(report, &sheet, "trajectories", "trajectories.csv", "From noise to images", labels.data);
  free(labels.data);
  if (status == NOPROP_OK) return sheet_write(&sheet, report, "trajectories.csv");
  free(sheet.cells);
  return status;
}

static noprop_status draw_trajectories(const struct report *report) {
  struct paths paths = {0};
  struct image_shape image = image_of(&report->target);
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

/* ---- predictions ------------------------------------------------------------------------------------------------- */

/* Decoded predictions [rows][width] of conditions; free with free(). */
static noprop_status predict(const struct report *report, const noprop_array *condition, long rows, float **output) {
  noprop_sampler_options options = solve_options(report, false);
  *output = malloc((size_t)rows * (size_t)report->shape.target_width * sizeof **output);
  if (!*output) return no_memory();
  return noprop_sample(report->model, &options, condition, rows, NULL, *output);
}

static long largest(const float *scores, long count) {
  long best = 0;
  for (long i = 1; i < count; i++)
    if (scores[i] > scores[best]) best = i;
  return best;
}

/* The classes' colours mixed by their scores and lightened: the regions that lie under the points. */
static void region_colour(const float *scores, long classes, int colour[3]) {
  double sum = 0, mixed[3] = {0};
  for (long i = 0; i < classes; i++) sum += fmin(fmax(scores[i], 0), 1);
  for (long i = 0; i < classes; i++) {
    double share = sum > 0 ? fmin(fmax(scores[i], 0), 1) / sum : 1.0 / (double)classes;
    unsigned full = REPORT_COLOURS[i % REPORT_COLOUR_COUNT];
    for (int c = 0; c < 3; c++) mixed[c] += share * (double)(full >> (16 - 8 * c) & 0xff);
  }
  for (int c = 0; c < 3; c++) colour[c] = (int)lround(255 - 0.35 * (255 - mixed[c]));
}

static noprop_status write_regions(const struct report *report, const noprop_array *points) {
  double low[2] = {HUGE_VAL, HUGE_VAL}, high[2] = {-HUGE_VAL, -HUGE_VAL};
  for (long row = 0; row < points->rows; row++)
    for (int i = 0; i < 2; i++) {
      low[i] = fmin(low[i], array_value(points, row, i));
      high[i] = fmax(high[i], array_value(points, row, i));
    }
  for (int i = 0; i < 2; i++) {
    double margin = high[i] > low[i] ? 0.08 * (high[i] - low[i]) : 1;
    low[i] -= margin;
    high[i] += margin;
  }
  const long cells = (long)REGION_CELLS * REGION_CELLS, classes = report->shape.target_width;
  float *places = malloc((size_t)cells * 2 * sizeof *places), *scores = NULL;
  struct text text = {0};
  if (!places) return no_memory();
  for (long i = 0; i < cells; i++) {
    const long column = i % REGION_CELLS, line = i / REGION_CELLS;
    places[2 * i] = (float)(low[0] + (high[0] - low[0]) * ((double)column + 0.5) / REGION_CELLS);
    places[2 * i + 1] = (float)(low[1] + (high[1] - low[1]) * ((double)line + 0.5) / REGION_CELLS);
  }
  noprop_array grid = {.name = points->name,
                       .type = NOPROP_TYPE_FLOAT32,
                       .rows = cells,
                       .width = 2,
                       .rank = 2,
                       .shape = {cells, 2},
                       .values = places};
  noprop_status status = predict(report, &grid, cells, &scores);
  text_add(&text, "a,b,red,green,blue,class\n");
  for (long i = 0; status == NOPROP_OK && i < cells; i++) {
    int colour[3];
    region_colour(scores + i * classes, classes, colour);
    text_add(&text, "%.5g,%.5g,%d,%d,%d,%ld\n", places[2 * i], places[2 * i + 1], colour[0], colour[1], colour[2],
             largest(scores + i * classes, classes));
  }
  free(places);
  free(scores);
  if (status != NOPROP_OK) {
    free(text.data);
    return status;
  }
  return text_write(&text, report->folder, "predictions_regions.csv");
}

static noprop_status draw_regions(const struct report *report, const float *scores, long rows) {
  const long classes = report->shape.target_width;
  struct text text = {0}, script = {0};
  long shown = at_most(rows, POINTS_MOST), wrong = 0;
  text_add(&text, "a,b,class,predicted\n");
  for (long row = 0; row < shown; row++) {
    long label = (long)array_value(&report->target, row, 0), predicted = largest(scores + row * classes, classes);
    wrong += label != predicted;
    text_add(&text, "%.6g,%.6g,%ld,%ld\n", array_value(&report->condition, row, 0),
             array_value(&report->condition, row, 1), label, predicted);
  }
  noprop_status status = text_write(&text, report->folder, "predictions.csv");
  if (status == NOPROP_OK) status = write_regions(report, &report->condition);
  if (status != NOPROP_OK) return status;
  report_script_begin(&script, "predictions", 820, plane_height(820, &report->condition, 0, &report->condition, 1));
  text_add(&script,
           "set title 'Predicted regions and %ld rows of the %s split, %ld of them wrong' font ',14'\n"
           "set xlabel '%s_0' noenhanced\nset ylabel '%s_1' noenhanced\nset size ratio -1\nunset grid\n"
           "set autoscale fix\n"
           "plot 'predictions_regions.csv' skip 1 using 1:2:3:4:5 with rgbimage",
           shown, report->split, wrong, report->roles.condition, report->roles.condition);
  text_add(&script, ", \\\n     ");
  add_class_points(&script, "predictions.csv", at_most(classes, CLASSES_DRAWN), point_size(shown));
  text_add(&script,
           ", \\\n     'predictions.csv' skip 1 using ($3!=$4?$1:NaN):2 with points pointtype 6 pointsize 1.4 "
           "linewidth 1.5 linecolor rgb '#000000'");
  add_class_keys(&script, classes);
  if (wrong > 0)
    text_add(
        &script,
        ", \\\n     NaN with points pointtype 6 pointsize 1.4 linewidth 1.5 linecolor rgb '#000000' title 'wrong'");
  text_add(&script, "\n");
  return text_write(&script, report->folder, "predictions.gp");
}

static noprop_status draw_confusion(const struct report *report, const float *scores, long rows) {
  const long classes = report->shape.target_width;
  long *counts = calloc((size_t)(classes * classes), sizeof *counts), right = 0;
  struct text text = {0}, script = {0};
  if (!counts) return no_memory();
  for (long row = 0; row < rows; row++) {
    long label = (long)array_value(&report->target, row, 0), predicted = largest(scores + row * classes, classes);
    if (label < 0 || label >= classes) continue;
    counts[label * classes + predicted]++;
    right += label == predicted;
  }
  text_add(&text, "true,predicted,rows,share\n");
  for (long label = 0; label < classes; label++) {
    long total = 0;
    for (long i = 0; i < classes; i++) total += counts[label * classes + i];
    for (long i = 0; i < classes; i++)
      text_add(&text, "%ld,%ld,%ld,%.4g\n", label, i, counts[label * classes + i],
               total > 0 ? (double)counts[label * classes + i] / (double)total : 0.0);
  }
  free(counts);
  noprop_status status = text_write(&text, report->folder, "predictions.csv");
  if (status != NOPROP_OK) return status;
  report_script_begin(&script, "predictions", 820, 700);
  text_add(&script,
           "set title 'Confusion matrix: %ld rows of the %s split, %.2f %% right' font ',14'\n"
           "set xlabel 'predicted class'\nset ylabel 'true class'\nset size ratio -1\nunset grid\nset border 0\n"
           "set xrange [-0.5:%g]\nset yrange [%g:-0.5]\nset xtics 0,%ld scale 0\nset ytics 0,%ld scale 0\n"
           "set cbrange [0:1]\nset cblabel 'share of the true class'\nset palette defined (0 '#FFFFFF', 0.15 "
           "'#BFDCEE', 1 '#0072B2')\n"
           "plot 'predictions.csv' skip 1 using 2:1:4 with image pixels",
           rows, report->split, rows > 0 ? 100.0 * (double)right / (double)rows : 0, (double)classes - 0.5,
           (double)classes - 0.5, classes > CLASSES_DRAWN ? classes / 10 : 1,
           classes > CLASSES_DRAWN ? classes / 10 : 1);
  if (classes <= CLASSES_DRAWN)
    text_add(&script,
             ", \\\n     '' skip 1 using 2:1:($3>0?sprintf('%%d',$3):''):($4>0.55?0xFFFFFF:0x303030) with labels "
             "textcolor rgb variable font ',%d'",
             classes <= 12 ? 10 : 7);
  text_add(&script, "\n");
  return text_write(&script, report->folder, "predictions.gp");
}

static noprop_status draw_errors(const struct report *report, const float *values, long rows) {
  const long width = report->shape.target_width, columns = at_most(width, 6), shown = at_most(rows, POINTS_MOST);
  struct text text = {0}, script = {0};
  text_add(&text, "true,predicted,column\n");
  for (long column = 0; column < columns; column++)
    for (long row = 0; row < shown; row++)
      text_add(&text, "%.6g,%.6g,%ld\n", array_value(&report->target, row, column), values[row * width + column],
               column);
  noprop_status status = text_write(&text, report->folder, "predictions.csv");
  if (status != NOPROP_OK) return status;
  report_script_begin(&script, "predictions", 760, 680);
  text_add(&script,
           "set title 'Predicted over true values, %ld rows of the %s split' font ',14'\n"
           "set xlabel 'true'\nset ylabel 'predicted'\nset size ratio -1\nset key inside left top vertical\n"
           "set offsets graph 0.03, graph 0.03, graph 0.03, graph 0.03\n"
           "plot ",
           shown, report->split);
  for (long i = 0; i < columns; i++) {
    text_add(&script,
             "'predictions.csv' skip 1 using ($3==%ld?$1:NaN):2 with points pointtype 7 pointsize %g linecolor rgb "
             "'#60%06X'",
             i, point_size(shown), REPORT_COLOURS[i]);
    text_add(&script, width > 1 ? " title '%s_%ld' noenhanced, \\\n     " : ", \\\n     ", report->roles.target, i);
  }
  text_add(&script, "x with lines linewidth 1.5 dashtype 2 linecolor rgb '#404040' title 'predicted = true'\n");
  return text_write(&script, report->folder, "predictions.gp");
}

static noprop_status draw_predictions(const struct report *report) {
  if (!report->has_condition) return NOPROP_OK;
  noprop_array condition = report_first_rows(&report->condition, ROWS_MOST);
  float *output = NULL;
  noprop_status status = predict(report, &condition, condition.rows, &output);
  if (status == NOPROP_OK) {
    bool plane = !report->shape.condition_is_label && report->shape.condition_width == 2;
    if (!report->shape.target_is_label)
      status = draw_errors(report, output, condition.rows);
    else if (plane)
      status = draw_regions(report, output, condition.rows);
    else
      status = draw_confusion(report, output, condition.rows);
  }
  free(output);
  return status;
}

/* ---- samples ----------------------------------------------------------------------------------------------------- */

static noprop_status draw_sample_points(const struct report *report, const noprop_array *samples,
                                        const noprop_array *labels) {
  struct text script = {0};
  long b_column = samples->width > 1 ? 1 : 0,
       classes = labels ? at_most(report->shape.condition_width, CLASSES_DRAWN) : 1;
  noprop_array real = report_first_rows(&report->target, samples->rows);
  noprop_status status = write_points(report, "samples_real.csv", &real, 0, &real, b_column, labels);
  if (status == NOPROP_OK) status = write_points(report, "samples.csv", samples, 0, samples, b_column, labels);
  if (status != NOPROP_OK) return status;
  report_script_begin(&script, "samples", 1180,
                      samples->width == 2 ? plane_height(600, &real, 0, &real, b_column) : 600);
  text_add(&script,
           "set multiplot layout 1,2 margins 0.06,0.98,0.11,0.92 spacing 0.07,0\n"
           "set xlabel '%s_0' noenhanced\nset ylabel '%s_%ld' noenhanced\n%sunset key\n"
           "# The ranges of the real points, for both panels.\n"
           "stats 'samples_real.csv' skip 1 using 1:2 name 'real' nooutput\n"
           "margin_x = 0.12 * (real_max_x - real_min_x)\nmargin_y = 0.12 * (real_max_y - real_min_y)\n"
           "set xrange [real_min_x - margin_x : real_max_x + margin_x]\nset yrange [real_min_y - margin_y : real_max_y "
           "+ margin_y]\n"
           "set title 'Real: %ld rows of the %s split' font ',14'\n",
           report->roles.target, report->roles.target, b_column, samples->width == 2 ? "set size ratio -1\n" : "",
           real.rows, report->split);
  text_add(&script, "plot ");
  add_class_points(&script, "samples_real.csv", classes, point_size(samples->rows));
  text_add(&script, "\nset title 'Generated: %ld samples' font ',14'\nplot ", samples->rows);
  add_class_points(&script, "samples.csv", classes, point_size(samples->rows));
  text_add(&script, "\nunset multiplot\n");
  return text_write(&script, report->folder, "samples.gp");
}

static noprop_status draw_sample_images(const struct report *report, const noprop_array *samples,
                                        struct image_shape image) {
  struct sheet sheet = {0};
  noprop_status status = sheet_create(&sheet, image, GRID_IMAGES, GRID_IMAGES);
  if (status != NOPROP_OK) return status;
  for (long row = 0; row < at_most(samples->rows, GRID_IMAGES * GRID_IMAGES); row++)
    sheet_put(&sheet, row % GRID_IMAGES, row / GRID_IMAGES, samples, row);
  status = sheet_script(report, &sheet, "samples", "samples.csv", "Generated images", "");
  if (status == NOPROP_OK) return sheet_write(&sheet, report, "samples.csv");
  free(sheet.cells);
  return status;
}

/* A column for each class: a held-out image of it above what was generated given the class. */
static noprop_status draw_images_by_class(const struct report *report, struct image_shape image) {
  const long classes = report->shape.condition_width, rows = classes * GRID_IMAGES;
  struct sheet sheet = {0};
  struct text labels = {0};
  char title[160];
  float *output = NULL;
  int32_t *given = malloc((size_t)rows * sizeof *given);
  if (!given) return no_memory();
  noprop_status status = sheet_create(&sheet, image, classes, GRID_IMAGES + 1);
  for (long i = 0; status == NOPROP_OK && i < rows; i++) given[i] = (int32_t)(i % classes);
  const noprop_array condition = {.name = report->roles.condition,
                                  .type = NOPROP_TYPE_INT32,
                                  .rows = rows,
                                  .width = 1,
                                  .rank = 1,
                                  .shape = {rows},
                                  .values = given};
  if (status == NOPROP_OK) status = predict(report, &condition, rows, &output);
  if (status != NOPROP_OK) goto done;
  const noprop_array samples = {
      .type = NOPROP_TYPE_FLOAT32, .rows = rows, .width = report->shape.target_width, .values = output};
  for (long row = 0; row < rows; row++) sheet_put(&sheet, row % classes, 1 + row / classes, &samples, row);
  for (long row = report->target.rows; row-- > 0;) { /* the first one of a class is put last */
    const long label = (long)array_value(&report->condition, row, 0);
    if (label >= 0 && label < classes) sheet_put(&sheet, label, 0, &report->target, row);
  }
  for (long i = 0; i < classes; i++)
    text_add(&labels, "set label '%ld' at %g,%g center offset 0,-0.6\n", i,
             (double)(i * (image.width + 1)) + (double)(image.width - 1) / 2, (double)sheet.rows);
  snprintf(title, sizeof title, "A real image of each class of %s, and below it images generated given the class",
           report->roles.condition);
  status = labels.failed ? no_memory() : sheet_script(report, &sheet, "samples", "samples.csv", title, labels.data);
  if (status == NOPROP_OK) status = sheet_write(&sheet, report, "samples.csv");
done:
  free(labels.data);
  free(sheet.cells);
  free(output);
  free(given);
  return status;
}

static noprop_status draw_samples(const struct report *report) {
  struct image_shape image = image_of(&report->target);
  if (image.height > 0 && report->has_condition && report->shape.condition_is_label &&
      report->shape.condition_width <= 2 * GRID_IMAGES)
    return draw_images_by_class(report, image);
  long rows = image.height > 0 ? GRID_IMAGES * GRID_IMAGES : POINTS_MOST;
  rows = at_most(rows, report->target.rows);
  noprop_array condition = report_first_rows(&report->condition, rows);
  float *output = NULL;
  noprop_status status = predict(report, report->has_condition ? &condition : NULL, rows, &output);
  noprop_array samples = {.name = report->roles.target,
                          .type = NOPROP_TYPE_FLOAT32,
                          .rows = rows,
                          .width = report->shape.target_width,
                          .rank = 2,
                          .shape = {rows, report->shape.target_width},
                          .values = output};
  if (status == NOPROP_OK)
    status = image.height > 0
                 ? draw_sample_images(report, &samples, image)
                 : draw_sample_points(report, &samples,
                                      report->has_condition && report->shape.condition_is_label ? &condition : NULL);
  free(output);
  return status;
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

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
  if (status == NOPROP_OK) status = draw_data(&report);
  const bool has_path = report.settings.variant != VARIANT_SUPERVISED;
  const bool has_field = has_path && report.settings.variant != VARIANT_DT;
  if (status == NOPROP_OK && has_path) status = draw_trajectories(&report);
  const bool by_target = report.shape.target_is_label;
  if (status == NOPROP_OK && has_path && (by_target || (report.has_condition && report.shape.condition_is_label)))
    status = report_latents(model, report.has_condition ? &report.condition : NULL,
                            by_target ? &report.target : &report.condition,
                            by_target ? report.shape.target_width : report.shape.condition_width, run_folder);
  if (status == NOPROP_OK)
    status = report.settings.task == TASK_GENERATE ? draw_samples(&report) : draw_predictions(&report);
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
