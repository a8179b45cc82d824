/* latents.png: the paths of latents through a solve, by class, in the plane.
 *
 * A latent of two numbers is drawn as it is, one of more numbers by its projection on the two directions in which the
 * ends of the solves spread most. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/network.h"
#include "engine/status.h"
#include "host/array.h"
#include "host/report.h"
#include "noprop/sampler.h"

enum { PATHS_MOST = 200, CLASSES_NAMED = 10, ITERATIONS = 200 };

/* The direction of largest variance of rows [rows][d] less their mean, apart from `other` (unit length, or NULL). */
static void principal_direction(const float *states, long rows, int d, const double *mean, const double *other,
                                double *direction) {
  for (int i = 0; i < d; ++i)
    direction[i] = 1.0 + 0.37 * i; /* not perpendicular to what is looked for, but by chance */
  for (int iteration = 0; iteration < ITERATIONS; ++iteration) {
    double next[LATENT_MOST] = {0}, dot = 0, squares = 0;
    for (long row = 0; row < rows; ++row) {
      double part = 0;
      for (int i = 0; i < d; ++i) part += ((double)states[row * d + i] - mean[i]) * direction[i];
      for (int i = 0; i < d; ++i) next[i] += part * ((double)states[row * d + i] - mean[i]);
    }
    for (int i = 0; other && i < d; ++i) dot += next[i] * other[i];
    for (int i = 0; other && i < d; ++i) next[i] -= dot * other[i];
    for (int i = 0; i < d; ++i) squares += next[i] * next[i];
    if (!(squares > 0)) { /* no spread: any direction that is not the other */
      int least = 0;
      for (int i = 0; other && i < d; ++i)
        if (fabs(other[i]) < fabs(other[least])) least = i;
      for (int i = 0; i < d; ++i) direction[i] = i == least ? 1.0 : 0.0;
      return;
    }
    for (int i = 0; i < d; ++i) direction[i] = next[i] / sqrt(squares);
  }
}

static noprop_status write_paths(const char *folder, const float *latent, const double *times, int points, long rows,
                                 int d, const noprop_array *labels) {
  const float *ends = latent + (long)(points - 1) * rows * d;
  double mean[LATENT_MOST] = {0}, axes[2][LATENT_MOST] = {{1}, {0, 1}};
  for (long row = 0; row < rows; ++row)
    for (int i = 0; i < d; ++i) mean[i] += (double)ends[row * d + i] / (double)rows;
  if (d > 2) {
    principal_direction(ends, rows, d, mean, NULL, axes[0]);
    principal_direction(ends, rows, d, mean, axes[0], axes[1]);
  }
  struct text text = {0};
  text_add(&text, "row,t,class,a,b\n");
  for (long row = 0; row < rows; ++row) {
    for (int point = 0; point < points; ++point) {
      const float *z = latent + ((long)point * rows + row) * d;
      double place[2] = {0, 0};
      for (int axis = 0; axis < 2; ++axis)
        for (int i = 0; i < d; ++i) place[axis] += axes[axis][i] * ((double)z[i] - (d > 2 ? mean[i] : 0));
      text_add(&text, "%ld,%.6g,%.0f,%.6g,%.6g\n", row, times[point], array_value(labels, row, 0), place[0], place[1]);
    }
    text_add(&text, "\n");
  }
  return text_write(&text, folder, "latents.csv");
}

static noprop_status write_script(const char *folder, long rows, int d, long classes) {
  struct text script = {0};
  report_script_begin(&script, "latents", 820, 700);
  report_script_colours(&script);
  text_add(&script, "set title 'Latents from t = 0 to t = 1, %ld held-out rows by class' font ',14'\n", rows);
  if (d > 2)
    text_add(&script, "set xlabel 'first principal direction of the ends'\nset ylabel 'second principal direction'\n");
  else
    text_add(&script, "set xlabel 'z_0'\nset ylabel 'z_1'\n");
  text_add(
      &script,
      "set offsets graph 0.03, graph 0.03, graph 0.03, graph 0.03\nset key outside right top vertical\n"
      "plot 'latents.csv' skip 1 using 4:5:(int($3) %% %d + 1) with lines linewidth 0.7 linecolor variable "
      "notitle, \\\n     '' skip 1 using ($2==1?$4:NaN):5:(int($3) %% %d + 1) with points pointtype 7 pointsize 0.8 "
      "linecolor variable notitle",
      (int)REPORT_COLOUR_COUNT, (int)REPORT_COLOUR_COUNT);
  for (long c = 0; c < classes && c < CLASSES_NAMED; ++c)
    text_add(&script, ", \\\n     NaN with points pointtype 7 pointsize 1.2 linecolor %ld title 'class %ld'", c + 1, c);
  text_add(&script, "\n");
  return text_write(&script, folder, "latents.gp");
}

noprop_status report_latents(noprop_model *model, const noprop_array *condition, const noprop_array *labels,
                             long classes, const char *folder) {
  const int d = noprop_model_latent_size(model);
  if (d < 2) return NOPROP_OK;
  noprop_array rows_of_condition = condition ? *condition : (noprop_array){0};
  long rows = labels->rows < PATHS_MOST ? labels->rows : PATHS_MOST;
  if (condition) rows_of_condition.rows = rows_of_condition.shape[0] = rows;
  noprop_sampler_options options = noprop_sampler_options_default(model);
  options.trajectory = true;
  int points = 0;
  noprop_status status = noprop_trajectory_times(model, &options, NULL, &points);
  if (status != NOPROP_OK) return status;
  double *times = calloc((size_t)points + 1, sizeof *times);
  float *latent = calloc((size_t)points * (size_t)rows * (size_t)d + 1, sizeof *latent);
  if (!times || !latent) status = status_set(NOPROP_OUT_OF_MEMORY, "no memory for a picture's data");
  if (status == NOPROP_OK) status = noprop_trajectory_times(model, &options, times, &points);
  if (status == NOPROP_OK)
    status = noprop_sample(model, &options, condition ? &rows_of_condition : NULL, rows, latent, NULL);
  if (status == NOPROP_OK) status = write_paths(folder, latent, times, points, rows, d, labels);
  if (status == NOPROP_OK) status = write_script(folder, rows, d, classes);
  free(latent);
  free(times);
  return status;
}
