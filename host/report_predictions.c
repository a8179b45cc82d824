/* predictions.png: decision regions in the plane, a confusion matrix, or predicted over true values. */
#include <math.h>
#include <stdlib.h>

#include "host/array.h"
#include "host/report_parts.h"

enum {
  ROWS_MOST = 10000, /* predicted for confusion matrix and errors */
  REGION_CELLS = 120 /* decision regions: cells per side */
};

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
  if (!places) return report_no_memory();
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
  noprop_status status = report_predict(report, &grid, cells, &scores);
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
  long shown = report_at_most(rows, POINTS_MOST), wrong = 0;
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
  report_script_begin(&script, "predictions", 820,
                      report_plane_height(820, &report->condition, 0, &report->condition, 1));
  text_add(&script,
           "set title 'Predicted regions and %ld rows of the %s split, %ld of them wrong' font ',14'\n"
           "set xlabel '%s_0' noenhanced\nset ylabel '%s_1' noenhanced\nset size ratio -1\nunset grid\n"
           "set autoscale fix\n"
           "plot 'predictions_regions.csv' skip 1 using 1:2:3:4:5 with rgbimage",
           shown, report->split, wrong, report->roles.condition, report->roles.condition);
  text_add(&script, ", \\\n     ");
  report_add_class_points(&script, "predictions.csv", report_at_most(classes, CLASSES_DRAWN), report_point_size(shown));
  text_add(&script,
           ", \\\n     'predictions.csv' skip 1 using ($3!=$4?$1:NaN):2 with points pointtype 6 pointsize 1.4 "
           "linewidth 1.5 linecolor rgb '#000000'");
  report_add_class_keys(&script, classes);
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
  if (!counts) return report_no_memory();
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
  const long width = report->shape.target_width, columns = report_at_most(width, 6),
             shown = report_at_most(rows, POINTS_MOST);
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
             i, report_point_size(shown), REPORT_COLOURS[i]);
    text_add(&script, width > 1 ? " title '%s_%ld' noenhanced, \\\n     " : ", \\\n     ", report->roles.target, i);
  }
  text_add(&script, "x with lines linewidth 1.5 dashtype 2 linecolor rgb '#404040' title 'predicted = true'\n");
  return text_write(&script, report->folder, "predictions.gp");
}

noprop_status report_predictions(const struct report *report) {
  if (!report->has_condition) return NOPROP_OK;
  noprop_array condition = report_first_rows(&report->condition, ROWS_MOST);
  float *output = NULL;
  noprop_status status = report_predict(report, &condition, condition.rows, &output);
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
