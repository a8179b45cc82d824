/* Picture of forecasts: the variance explained at each step of the horizon, and held-out windows with their prefix, the
 * true path, the prediction and a spread of samples. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/status.h"
#include "host/array.h"
#include "host/report.h"
#include "noprop/forecast.h"

enum { WINDOWS = 3, SAMPLES = 20, ROWS_MOST = 4000 };

static noprop_status no_memory(void) {
  return status_set(NOPROP_OUT_OF_MEMORY, "no memory for a picture of forecasts");
}

/* ---- variance explained ------------------------------------------------------------------------------------------ */

static double mean(const double *values, int count) {
  double sum = 0;
  for (int i = 0; i < count; i++) sum += values[i] / count;
  return sum;
}

static noprop_status write_explained(const noprop_forecast *forecast, const char *folder, char *line, size_t size) {
  struct text text = {0};
  text_add(&text, "step,model,linear,repeat\n");
  for (int h = 0; h < forecast->horizon; h++)
    text_add(&text, "%d,%.6g,%.6g,%.6g\n", h + 1, forecast->model[h], forecast->linear[h], forecast->repeat[h]);
  const int last = forecast->horizon - 1;
  (void)snprintf(line, size,
                 "variance explained over %d steps, in percent, mean and last step: model %.2f %.2f, linear "
                 "autoregression %.2f %.2f, last value repeated %.2f %.2f",
                 forecast->horizon, mean(forecast->model, forecast->horizon), forecast->model[last],
                 mean(forecast->linear, forecast->horizon), forecast->linear[last],
                 mean(forecast->repeat, forecast->horizon), forecast->repeat[last]);
  return text_write(&text, folder, "forecast.csv");
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

/* The first feature: kind 0 prefix and truth, 1 prediction, 2 + s sample s; paths of a window are blocks of lines. */
static noprop_status write_windows(const noprop_array *condition, const noprop_array *target, const float *predicted,
                                   const float *samples, const char *folder) {
  const long prefix = condition->shape[1], horizon = target->shape[1], features = target->shape[2];
  struct text text = {0};
  text_add(&text, "window,kind,step,value\n");
  for (long w = 0; w < WINDOWS; w++) {
    const long row = w * condition->rows / WINDOWS;
    for (long t = 0; t < prefix; t++)
      text_add(&text, "%ld,0,%ld,%.6g\n", w, t - prefix + 1, array_value(condition, row, t * features));
    for (long h = 0; h < horizon; h++)
      text_add(&text, "%ld,0,%ld,%.6g\n", w, h + 1, array_value(target, row, h * features));
    const double last = array_value(condition, row, (prefix - 1) * features);
    for (long kind = 1; kind < (samples ? 2 + SAMPLES : 2); kind++) {
      const float *path =
          kind == 1 ? predicted + row * target->width : samples + (w * SAMPLES + kind - 2) * target->width;
      text_add(&text, "\n%ld,%ld,0,%.6g\n", w, kind, last);
      for (long h = 0; h < horizon; h++)
        text_add(&text, "%ld,%ld,%ld,%.6g\n", w, kind, h + 1, (double)path[h * features]);
    }
    text_add(&text, "\n");
  }
  return text_write(&text, folder, "forecast_windows.csv");
}

static noprop_status write_script(bool samples, long prefix, long horizon, const char *folder) {
  struct text script = {0};
  report_script_begin(&script, "forecast", 1080, 780);
  text_add(
      &script,
      "set multiplot layout 2,2\n"
      "set title 'Variance explained on held-out rows'\nset xlabel 'step of the horizon'\nset ylabel 'percent'\n"
      "set xrange [1:%ld]\nset yrange [*<0:100]\n"
      "plot 'forecast.csv' skip 1 using 1:2 with linespoints linewidth 2 pointtype 7 linecolor rgb '#0072B2' title "
      "'model', \\\n"
      "     '' skip 1 using 1:3 with linespoints linewidth 2 pointtype 5 linecolor rgb '#E69F00' title 'linear "
      "autoregression', \\\n"
      "     '' skip 1 using 1:4 with linespoints linewidth 2 pointtype 9 linecolor rgb '#8C8C8C' title 'last value "
      "repeated'\n"
      "set xrange [%ld:%ld]\nset yrange [*:*]\nset offsets 0, 0, graph 0.05, graph 0.05\n"
      "set xlabel 'step; 0 is the last point given'\nset ylabel 'first coordinate'\n",
      horizon, 1 - prefix, horizon);
  for (int w = 0; w < WINDOWS; w++) {
    text_add(&script, "set title 'Held-out window %d'\nplot ", w + 1);
    if (samples)
      text_add(&script,
               "'forecast_windows.csv' skip 1 using ($1==%d&&$2>1?$3:NaN):4 with lines linewidth 0.8 linecolor rgb "
               "'#A056B4E9' notitle, \\\n     NaN with lines linewidth 1 linecolor rgb '#56B4E9' title '%d samples', "
               "\\\n     ",
               w, SAMPLES);
    text_add(&script,
             "'forecast_windows.csv' skip 1 using ($1==%d&&$2==0?$3:NaN):4 with linespoints linewidth 1.5 pointtype 7 "
             "pointsize 0.5 linecolor rgb '#000000' title 'true', \\\n"
             "     '' skip 1 using ($1==%d&&$2==1?$3:NaN):4 with linespoints linewidth 1.8 pointtype 5 pointsize 0.5 "
             "linecolor rgb '#D55E00' title 'prediction'\n",
             w, w);
  }
  text_add(&script, "unset multiplot\n");
  return text_write(&script, folder, "forecast.gp");
}

noprop_status report_forecast(noprop_model *model, bool has_path, const noprop_array *train_condition,
                              const noprop_array *train_target, const noprop_array *condition,
                              const noprop_array *target, const char *folder, char *line, size_t size) {
  const noprop_array x = report_first_rows(condition, ROWS_MOST), y = report_first_rows(target, ROWS_MOST);
  noprop_sampler_options options = noprop_sampler_options_default(model);
  noprop_forecast forecast = {.horizon = 0};
  noprop_array repeated;
  void *memory = NULL;
  long windows[WINDOWS * SAMPLES]; /* each so many times, far apart */
  line[0] = 0;
  if (x.rows < WINDOWS) return NOPROP_OK;
  for (long i = 0; i < WINDOWS * SAMPLES; i++) windows[i] = i / SAMPLES * x.rows / WINDOWS;
  float *predicted = malloc((size_t)y.rows * (size_t)y.width * sizeof *predicted);
  float *samples = malloc((size_t)WINDOWS * SAMPLES * (size_t)y.width * sizeof *samples);
  if (predicted == NULL || samples == NULL) {
    free(predicted);
    free(samples);
    return no_memory();
  }
  noprop_status status =
      noprop_forecast_measure(model, &options, train_condition, train_target, &x, &y, predicted, &forecast);
  if (status == NOPROP_OK) status = write_explained(&forecast, folder, line, size);
  noprop_forecast_free(&forecast);
  if (status == NOPROP_OK && has_path) status = report_take_rows(&x, windows, WINDOWS * SAMPLES, &repeated, &memory);
  if (status == NOPROP_OK && has_path) {
    (void)snprintf(options.init, sizeof options.init, "normal");
    status = noprop_sample(model, &options, &repeated, WINDOWS * SAMPLES, NULL, samples);
  }
  if (status == NOPROP_OK) status = write_windows(&x, &y, predicted, has_path ? samples : NULL, folder);
  if (status == NOPROP_OK) status = write_script(has_path, x.shape[1], y.shape[1], folder);
  free(predicted);
  free(samples);
  free(memory);
  return status;
}
