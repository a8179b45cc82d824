/* samples.png: real beside generated points, or images (report_images.c). */
#include <stdlib.h>

#include "host/report_parts.h"

static noprop_status draw_sample_points(const struct report *report, const noprop_array *samples,
                                        const noprop_array *labels) {
  struct text script = {0};
  long b_column = samples->width > 1 ? 1 : 0,
       classes = labels ? report_at_most(report->shape.condition_width, CLASSES_DRAWN) : 1;
  noprop_array real = report_first_rows(&report->target, samples->rows);
  noprop_status status = report_write_points(report, "samples_real.csv", &real, 0, &real, b_column, labels);
  if (status == NOPROP_OK) status = report_write_points(report, "samples.csv", samples, 0, samples, b_column, labels);
  if (status != NOPROP_OK) return status;
  report_script_begin(&script, "samples", 1180,
                      samples->width == 2 ? report_plane_height(600, &real, 0, &real, b_column) : 600);
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
  report_add_class_points(&script, "samples_real.csv", classes, report_point_size(samples->rows));
  text_add(&script, "\nset title 'Generated: %ld samples' font ',14'\nplot ", samples->rows);
  report_add_class_points(&script, "samples.csv", classes, report_point_size(samples->rows));
  text_add(&script, "\nunset multiplot\n");
  return text_write(&script, report->folder, "samples.gp");
}

noprop_status report_samples(const struct report *report) {
  struct image_shape image = report_image_of(&report->target);
  if (image.height > 0 && report->has_condition && report->shape.condition_is_label &&
      report->shape.condition_width <= 2 * GRID_IMAGES)
    return report_images_by_class(report, image);
  long rows = image.height > 0 ? GRID_IMAGES * GRID_IMAGES : POINTS_MOST;
  rows = report_at_most(rows, report->target.rows);
  noprop_array condition = report_first_rows(&report->condition, rows);
  float *output = NULL;
  noprop_status status = report_predict(report, report->has_condition ? &condition : NULL, rows, &output);
  noprop_array samples = {.name = report->roles.target,
                          .type = NOPROP_TYPE_FLOAT32,
                          .rows = rows,
                          .width = report->shape.target_width,
                          .rank = 2,
                          .shape = {rows, report->shape.target_width},
                          .values = output};
  if (status == NOPROP_OK)
    status = image.height > 0
                 ? report_sample_images(report, &samples, image)
                 : draw_sample_points(report, &samples,
                                      report->has_condition && report->shape.condition_is_label ? &condition : NULL);
  free(output);
  return status;
}
