/* Pictures of the learned field: arrows over the plane at several times, and its size and the solve's error along t. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sampler.h"
#include "engine/status.h"
#include "host/array.h"
#include "host/report.h"

enum { CELLS = 17, PANELS = 6, ROWS_MOST = 256 };

static const double PANEL_TIMES[PANELS] = {0.02, 0.2, 0.4, 0.6, 0.8, 0.98};
/* Standardised data and standard normal noise lie within this range. */
static const double RANGE = 2.5;

static noprop_status no_memory(void) {
  return status_set(NOPROP_OUT_OF_MEMORY, "no memory for a picture of the field");
}

/* ---- arrows in the plane ----------------------------------------------------------------------------------------- */

static noprop_status write_arrows(noprop_model *model, const noprop_array *condition, const char *folder) {
  enum { POINTS = CELLS * CELLS };
  float z[2 * POINTS], velocity[2 * POINTS];
  noprop_sampler_options options = noprop_sampler_options_default(model);
  const long first[POINTS] = {0};
  noprop_array repeated;
  void *memory = NULL;
  struct text text = {0};
  noprop_status status = condition ? report_take_rows(condition, first, POINTS, &repeated, &memory) : NOPROP_OK;
  for (int i = 0; i < POINTS; i++) {
    const int column = i % CELLS, row = i / CELLS;
    z[2 * i] = (float)(RANGE * (2.0 * column / (CELLS - 1) - 1.0));
    z[2 * i + 1] = (float)(RANGE * (2.0 * row / (CELLS - 1) - 1.0));
  }
  text_add(&text, "t,z_0,z_1,dz_0,dz_1\n");
  for (int panel = 0; panel < PANELS && status == NOPROP_OK; panel++) {
    status = noprop_velocity(model, &options, condition ? &repeated : NULL, POINTS, PANEL_TIMES[panel], z, velocity);
    for (int i = 0; i < POINTS && status == NOPROP_OK; i++)
      text_add(&text, "%g,%.4g,%.4g,%.5g,%.5g\n", PANEL_TIMES[panel], z[2 * i], z[2 * i + 1], velocity[2 * i],
               velocity[2 * i + 1]);
  }
  free(memory);
  if (status == NOPROP_OK) return text_write(&text, folder, "field.csv");
  free(text.data);
  return status;
}

static noprop_status write_arrow_script(bool conditional, const char *folder) {
  struct text script = {0};
  report_script_begin(&script, "field", 1080, 780);
  text_add(
      &script,
      "set multiplot layout 2,3 title 'Learned field dz/dt%s' font ',14'\n"
      "set size ratio -1\nset xlabel 'z_0'\nset ylabel 'z_1'\nset xrange [%g:%g]\nset yrange [%g:%g]\n"
      "set xtics 1\nset ytics 1\nset palette defined (0 '#7ad151', 1 '#22a884', 2 '#2a788e', 3 '#414487', 4 "
      "'#440154')\nset colorbox\nset cblabel '|dz/dt|'\nunset key\n"
      "# Arrows have one length; their colour is the field's size, to one scale in all panels.\n"
      "stats 'field.csv' skip 1 using (sqrt($4**2+$5**2)) name 'size' nooutput\nset cbrange [0:size_up_quartile*2]\n",
      conditional ? ", given the first held-out row" : "", -RANGE - 0.2, RANGE + 0.2, -RANGE - 0.2, RANGE + 0.2);
  for (int panel = 0; panel < PANELS; panel++)
    text_add(&script,
             "set title 't = %g'\nplot 'field.csv' skip 1 using ($1==%g?$2:NaN):3:"
             "(0.25*$4/(1e-9+sqrt($4**2+$5**2))):(0.25*$5/(1e-9+sqrt($4**2+$5**2))):(sqrt($4**2+$5**2)) "
             "with vectors head size 0.1,20 filled linewidth 1.2 linecolor palette\n",
             PANEL_TIMES[panel], PANEL_TIMES[panel]);
  text_add(&script, "unset multiplot\n");
  return text_write(&script, folder, "field.gp");
}

/* ---- along t ------------------------------------------------------------------------------------------------------
 */

struct way {
  int points;
  long rows;
  double *times;
  float *latent, *output, *velocity; /* [points][rows][d], [points][rows][Y], [rows][d] */
  double *sizes;                     /* [rows] */
};

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static noprop_status solve_way(noprop_model *model, const noprop_array *condition, struct way *way) {
  noprop_sampler_options options = noprop_sampler_options_default(model);
  options.trajectory = true;
  options.final_denoise = 0; /* the predicted target is no state on the way */
  noprop_status status = noprop_trajectory_times(model, &options, NULL, &way->points);
  if (status != NOPROP_OK) return status;
  const size_t states = (size_t)way->points * (size_t)way->rows, d = (size_t)model->latent,
               width = (size_t)noprop_model_get_shape(model)->target_width;
  way->times = calloc((size_t)way->points, sizeof *way->times);
  way->latent = calloc(states * d, sizeof *way->latent);
  way->output = calloc(states * width, sizeof *way->output);
  way->velocity = calloc((size_t)way->rows * d, sizeof *way->velocity);
  way->sizes = calloc((size_t)way->rows, sizeof *way->sizes);
  if (!way->times || !way->latent || !way->output || !way->velocity || !way->sizes) return no_memory();
  status = noprop_trajectory_times(model, &options, way->times, &way->points);
  return status == NOPROP_OK ? noprop_sample(model, &options, condition, way->rows, way->latent, way->output) : status;
}

static void free_way(struct way *way) {
  free(way->times);
  free(way->latent);
  free(way->output);
  free(way->velocity);
  free(way->sizes);
}

/* Root mean square distance, over rows and columns, of the decoded states at a point from the true targets. */
static double error_at(const struct way *way, int point, const noprop_array *target, const noprop_model_shape *shape,
                       double off_value) {
  double sum = 0;
  for (long row = 0; row < way->rows; row++)
    for (long i = 0; i < shape->target_width; i++) {
      const float made = way->output[((long)point * way->rows + row) * shape->target_width + i];
      const double truth = !shape->target_is_label                  ? array_value(target, row, i)
                           : (long)array_value(target, row, 0) == i ? 1.0
                                                                    : off_value;
      sum += (made - truth) * (made - truth);
    }
  return sqrt(sum / ((double)way->rows * shape->target_width));
}

static noprop_status write_way(noprop_model *model, const noprop_array *condition, const noprop_array *target,
                               struct way *way, const char *folder) {
  const noprop_sampler_options options = noprop_sampler_options_default(model);
  const long d = model->latent;
  struct text text = {0};
  noprop_status status = NOPROP_OK;
  text_add(&text, "t,size_10,size_50,size_90,error\n");
  for (int point = 0; point < way->points && status == NOPROP_OK; point++) {
    status = noprop_velocity(model, &options, condition, way->rows, way->times[point],
                             way->latent + (long)point * way->rows * d, way->velocity);
    for (long row = 0; row < way->rows; row++) {
      double squares = 0;
      for (long i = 0; i < d; i++) squares += (double)way->velocity[row * d + i] * way->velocity[row * d + i];
      way->sizes[row] = sqrt(squares);
    }
    qsort(way->sizes, (size_t)way->rows, sizeof *way->sizes, ascending);
    text_add(&text, "%.6g,%.6g,%.6g,%.6g,", way->times[point], way->sizes[way->rows / 10], way->sizes[way->rows / 2],
             way->sizes[way->rows * 9 / 10]);
    if (target)
      text_add(&text, "%.6g",
               error_at(way, point, target, noprop_model_get_shape(model), model->settings.latent.off_value));
    text_add(&text, "\n");
  }
  if (status == NOPROP_OK) return text_write(&text, folder, "along.csv");
  free(text.data);
  return status;
}

static noprop_status write_way_script(bool error, const char *folder) {
  struct text script = {0};
  report_script_begin(&script, "along", error ? 1080 : 640, 480);
  text_add(
      &script,
      "%sset xlabel 't'\nset xrange [0:1]\nset yrange [0:*]\n"
      "set title 'Size of the field along the solve'\nset ylabel '|dz/dt|'\n"
      "plot 'along.csv' skip 1 using 1:2:4 with filledcurves linecolor rgb '#C7DDEE' title '10 to 90 %% of rows', \\\n"
      "     '' skip 1 using 1:3 with lines linewidth 2 linecolor rgb '#0072B2' title 'median'\n",
      error ? "set multiplot layout 1,2\n" : "");
  if (error)
    text_add(&script,
             "set title 'Error of the state'\nset ylabel 'root mean square distance to the target'\n"
             "plot 'along.csv' skip 1 using 1:5 with linespoints linewidth 2 pointtype 7 pointsize 0.6 linecolor rgb "
             "'#D55E00'\nunset multiplot\n");
  return text_write(&script, folder, "along.gp");
}

/* ---- both ---------------------------------------------------------------------------------------------------------
 */

noprop_status report_field(noprop_model *model, const noprop_array *condition, const noprop_array *target,
                           const char *folder) {
  noprop_status status = NOPROP_OK;
  const bool generate = model->settings.task == TASK_GENERATE;
  if (model->latent == 2) {
    status = write_arrows(model, condition, folder);
    if (status == NOPROP_OK) status = write_arrow_script(condition != NULL, folder);
  }
  if (status != NOPROP_OK) return status;
  struct way way = {.rows = target->rows < ROWS_MOST ? target->rows : ROWS_MOST};
  const noprop_array first = condition ? report_first_rows(condition, way.rows) : (noprop_array){0};
  status = solve_way(model, condition ? &first : NULL, &way);
  if (status == NOPROP_OK) status = write_way(model, condition ? &first : NULL, generate ? NULL : target, &way, folder);
  if (status == NOPROP_OK) status = write_way_script(!generate, folder);
  free_way(&way);
  return status;
}
