/* Points in the plane, each class in its colour, and data.png. */
#include <math.h>
#include <stdio.h>

#include "host/array.h"
#include "host/report_parts.h"

enum { KEYS_MOST = 12 /* classes named in a key */ };

noprop_status report_write_points(const struct report *report, const char *name, const noprop_array *a, long a_column,
                                  const noprop_array *b, long b_column, const noprop_array *labels) {
  struct text text = {0};
  text_add(&text, "a,b,class\n");
  for (long row = 0; row < report_at_most(a->rows, POINTS_MOST); row++)
    text_add(&text, "%.6g,%.6g,%ld\n", array_value(a, row, a_column), array_value(b, row, b_column),
             labels ? (long)array_value(labels, row, 0) : 0);
  return text_write(&text, report->folder, name);
}

void report_add_class_keys(struct text *script, long classes) {
  if (classes < 2 || classes > KEYS_MOST) return;
  for (long i = 0; i < classes; i++)
    text_add(script, ", \\\n     NaN with points pointtype 7 pointsize 1.1 linecolor rgb '#%06X' title 'class %ld'",
             REPORT_COLOURS[i % REPORT_COLOUR_COUNT], i);
}

void report_add_class_points(struct text *script, const char *file, long classes, double size) {
  for (long i = 0; i < classes; i++)
    text_add(script,
             "%s'%s' skip 1 using ($3==%ld?$1:NaN):2 with points pointtype 7 pointsize %g linecolor rgb '#%06X'",
             i ? ", \\\n     " : "", file, i, size, REPORT_COLOURS[i % REPORT_COLOUR_COUNT]);
}

int report_plane_height(int width, const noprop_array *a, long a_column, const noprop_array *b, long b_column) {
  enum { BESIDE = 110, ABOVE_AND_BELOW = 130, LEAST = 360, MOST = 1000 };
  double low[2] = {HUGE_VAL, HUGE_VAL}, high[2] = {-HUGE_VAL, -HUGE_VAL};
  for (long row = 0; row < report_at_most(a->rows, POINTS_MOST); row++) {
    double point[2] = {array_value(a, row, a_column), array_value(b, row, b_column)};
    for (int i = 0; i < 2; i++) {
      low[i] = fmin(low[i], point[i]);
      high[i] = fmax(high[i], point[i]);
    }
  }
  double ratio = high[0] > low[0] ? (high[1] - low[1]) / (high[0] - low[0]) : 1;
  return (int)fmin(fmax(ABOVE_AND_BELOW + ratio * (width - BESIDE), LEAST), MOST);
}

double report_point_size(long rows) { return rows > 1200 ? 0.45 : rows > 300 ? 0.6 : 0.9; }

noprop_status report_data(const struct report *report) {
  const noprop_array *condition = &report->train_condition, *target = &report->train_target;
  bool classify = report->shape.target_is_label;
  const noprop_array *shown = classify ? condition : target;
  if (classify && !report->has_condition) return NOPROP_OK;
  struct image_shape image = report_image_of(shown);
  if (image.height > 0)
    return report_example_images(report, shown, image, classify ? "Training images" : "Training images to generate");

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
  noprop_status status = report_write_points(report, "data.csv", a, 0, b, b_column, labels);
  if (status != NOPROP_OK) return status;
  struct text script = {0};
  report_script_begin(&script, "data", 820, same_units ? report_plane_height(820, a, 0, b, b_column) : 620);
  text_add(&script, "set title '%s' font ',14'\nset xlabel '%s' noenhanced\nset ylabel '%s' noenhanced\n", title,
           x_label, y_label);
  if (same_units) text_add(&script, "set size ratio -1\n");
  text_add(&script, "set offsets graph 0.03, graph 0.03, graph 0.03, graph 0.03\n");
  text_add(&script, "plot ");
  report_add_class_points(&script, "data.csv", report_at_most(classes, CLASSES_DRAWN),
                          report_point_size(report_at_most(a->rows, POINTS_MOST)));
  report_add_class_keys(&script, classes);
  text_add(&script, "\n");
  return text_write(&script, report->folder, "data.gp");
}
