/* noprop compare --calls: the quality of models against network calls and against time, for one or all methods. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/cli/compare.h"

enum { CALLS_MOST = 32, METHODS_MOST = 32, ROWS_DEFAULT = 10000, TIMINGS = 3 };

struct sweep {
  struct cli *cli;
  noprop_device *device;
  int calls[CALLS_MOST], call_count;
  const char *methods[METHODS_MOST];
  int method_count;
  FILE *csv; /* NULL: no picture is wanted */
  struct table *table;
  double floor; /* of generation: fresh data against fresh data; NaN: there is none */
};

static double now_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* "1,2,5" into sweep->calls. */
static int read_calls(struct sweep *sweep, const char *list) {
  const char *at = list;
  while (*at) {
    char *end;
    errno = 0;
    const long calls = strtol(at, &end, 10);
    if (end == at || errno || calls < 1 || calls > 1000000 || (*end && *end != ','))
      return fail(sweep->cli, EXIT_USAGE, "--calls: \"%s\" is not a list of whole numbers from 1 to 1000000: 1,2,5,10",
                  list);
    if (sweep->call_count == CALLS_MOST)
      return fail(sweep->cli, EXIT_USAGE, "--calls takes at most %d numbers", (int)CALLS_MOST);
    sweep->calls[sweep->call_count++] = (int)calls;
    at = *end ? end + 1 : end;
  }
  return sweep->call_count > 0 ? EXIT_DONE : fail(sweep->cli, EXIT_USAGE, "--calls: the list is empty");
}

/* The methods named, "all", or the one that each model takes by itself. */
static int read_methods(struct sweep *sweep) {
  const char *text = argument_text(sweep->cli, "--method", 0), *name;
  if (!text) text = "auto";
  const bool all = strcmp(text, "all") == 0;
  for (int i = 0; (name = noprop_sampler_method_at(i)) != NULL && sweep->method_count < METHODS_MOST; i++)
    if (all ? strcmp(name, "auto") != 0 : strcmp(name, text) == 0) sweep->methods[sweep->method_count++] = name;
  if (sweep->method_count > 0) return EXIT_DONE;
  fail(sweep->cli, EXIT_USAGE,
       "--method has no choice \"%s\"; allowed are all and what noprop help config lists for "
       "sample.method",
       text);
  return EXIT_USAGE;
}

static noprop_array first_rows(const noprop_array *array, long rows) {
  noprop_array cut = *array;
  if (rows < cut.rows) cut.rows = cut.shape[0] = rows;
  return cut;
}

/* Milliseconds of a solve of all rows with results in host memory: the fastest of three, once nothing is compiled or
 * interpreted for the time being any more. */
static noprop_status time_solve(const struct sweep *sweep, noprop_model *model, const noprop_sampler_options *options,
                                const noprop_array *condition, long rows, float *output, double *milliseconds) {
  noprop_device_counters before, after;
  int timed = 0;
  *milliseconds = INFINITY;
  while (timed < TIMINGS) {
    noprop_device_get_counters(sweep->device, &before);
    const double start = now_seconds();
    const noprop_status status = noprop_sample(model, options, condition, rows, NULL, output);
    const double spent = 1e3 * (now_seconds() - start);
    if (status != NOPROP_OK || stop_requested) return status;
    noprop_device_get_counters(sweep->device, &after);
    if (after.interim_launches != before.interim_launches || (timed == 0 && isinf(*milliseconds))) {
      *milliseconds = 1e300;
      if (after.interim_launches != before.interim_launches) continue;
    }
    *milliseconds = fmin(*milliseconds, spent);
    timed++;
  }
  return NOPROP_OK;
}

/* Rows that a solve of so many calls leaves before its end: of methods that find their own steps. */
static noprop_status count_unfinished(noprop_model *model, const noprop_sampler_options *options,
                                      const noprop_array *condition, long count, float *output, long *unfinished) {
  *unfinished = 0;
  if (!noprop_sampler_is_adaptive(model, options, false)) return NOPROP_OK;
  noprop_solve_row *rows = malloc((size_t)count * sizeof *rows);
  if (!rows) return NOPROP_OUT_OF_MEMORY;
  const noprop_solve_results results = {.output = output, .rows = rows};
  const noprop_status status = noprop_solve(model, options, condition, count, &results);
  for (long row = 0; status == NOPROP_OK && row < count; row++) *unfinished += rows[row].outcome != NOPROP_SOLVE_DONE;
  free(rows);
  return status;
}

static void print_point(struct sweep *sweep, const char *run, const char *method, int calls,
                        const noprop_metrics *metrics, double milliseconds, long parameters) {
  const char *quality = metrics->has_distances ? "sliced_w2" : metrics->has_accuracy ? "accuracy" : "mse";
  const double value = metrics->has_distances  ? metrics->sliced_w2
                       : metrics->has_accuracy ? metrics->accuracy
                                               : metrics->mse;
  if (sweep->csv)
    fprintf(sweep->csv, "%s,%s,%d,%.6g,%.6g,%s,%ld\n", run, method, calls, value, milliseconds, quality, parameters);
  if (sweep->cli->json) {
    struct json json = {0};
    json_text(&json, "run", run);
    json_text(&json, "method", method);
    json_integer(&json, "calls", calls);
    json_number(&json, quality, value);
    json_number(&json, "milliseconds", milliseconds);
    json_integer(&json, "parameters", parameters);
    json_integer(&json, "rows", metrics->rows);
    if (metrics->has_distances) json_number(&json, "floor", sweep->floor);
    json_end(&json);
    return;
  }
  if (!sweep->table) {
    const char *headings[] = {"run", "method", "calls", quality, "ms"};
    sweep->table = table_create(5);
    for (int i = 0; i < 5; i++) table_cell(sweep->table, "%s", headings[i]);
  }
  table_cell(sweep->table, "%s", run);
  table_cell(sweep->table, "%s", method);
  table_cell(sweep->table, "%d", calls);
  table_cell(sweep->table, "%.4g", value);
  table_cell(sweep->table, "%.2f", milliseconds);
}

/* All methods and calls of one model. What a method cannot do (fewer calls than a step needs, a drift or path it is not
 * for) is said once and left out, and so are calls that do not bring every row to its end. */
static int sweep_model(struct sweep *sweep, const char *run, noprop_model *model, const struct split_rows *rows,
                       float *output) {
  const noprop_array *condition = rows->has_condition ? &rows->condition : NULL;
  for (int m = 0; m < sweep->method_count; m++) {
    bool said = false;
    for (int c = 0; c < sweep->call_count; c++) {
      noprop_sampler_options options = noprop_sampler_options_default(model);
      noprop_metrics metrics;
      char *words = NULL;
      double milliseconds;
      if (snprintf(options.method, sizeof options.method, "%s", sweep->methods[m]) >= (int)sizeof options.method ||
          stop_requested)
        return stop_requested ? fail(sweep->cli, EXIT_FAILED, "stopped") : EXIT_DONE;
      options.calls = sweep->calls[c];
      if (noprop_sampler_describe(model, &options, &words) != NOPROP_OK) {
        /* One call leaves no room for a final denoise: the step alone is what one call can do. */
        options.final_denoise = 0;
        if (noprop_sampler_describe(model, &options, &words) != NOPROP_OK) {
          if (!said) say(sweep->cli, "%s, %d calls: left out, %s", run, options.calls, noprop_last_error());
          said = true;
          continue;
        }
      }
      noprop_free(words);
      progress_line(sweep->cli, "%s  %s  %d calls", run, sweep->methods[m], options.calls);
      const long count = rows->target.rows;
      long unfinished;
      noprop_status status = count_unfinished(model, &options, condition, count, output, &unfinished);
      if (status == NOPROP_OK && unfinished > 0) {
        progress_clear(sweep->cli);
        say(sweep->cli, "%s, %d calls: left out, %ld of %ld rows do not come to the end by %s", run, options.calls,
            unfinished, count, options.method);
        continue;
      }
      if (status == NOPROP_OK) status = noprop_evaluate(model, &options, condition, &rows->target, &metrics);
      if (status == NOPROP_OK) status = time_solve(sweep, model, &options, condition, count, output, &milliseconds);
      progress_clear(sweep->cli);
      if (status != NOPROP_OK) return fail_status(sweep->cli, status);
      print_point(sweep, run, sweep->methods[m], options.calls, &metrics, milliseconds,
                  noprop_model_parameter_values(model));
    }
  }
  return EXIT_DONE;
}

/* A network that is back-propagated has nothing to integrate: one point, whatever calls and methods there are. */
static int sweep_supervised(struct sweep *sweep, const char *run, noprop_model *model, const struct split_rows *rows,
                            float *output) {
  const noprop_array *condition = rows->has_condition ? &rows->condition : NULL;
  const noprop_sampler_options options = noprop_sampler_options_default(model);
  noprop_metrics metrics;
  double milliseconds;
  progress_line(sweep->cli, "%s", run);
  noprop_status status = noprop_evaluate(model, &options, condition, &rows->target, &metrics);
  if (status == NOPROP_OK)
    status = time_solve(sweep, model, &options, condition, rows->target.rows, output, &milliseconds);
  progress_clear(sweep->cli);
  if (status != NOPROP_OK) return fail_status(sweep->cli, status);
  print_point(sweep, run, "one pass", 1, &metrics, milliseconds, noprop_model_parameter_values(model));
  return EXIT_DONE;
}

/* What samples of so many rows can reach: the distance of held-out rows from other held-out rows. */
static noprop_status find_floor(struct sweep *sweep, noprop_model *model, noprop_dataset *dataset,
                                const struct split_rows *rows) {
  noprop_data_roles roles;
  noprop_array fresh;
  noprop_metrics metrics;
  const char *other = strcmp(rows->split, "validation") == 0 ? "test" : "validation";
  if (!isnan(sweep->floor) || noprop_model_get_shape(model)->target_is_label ||
      !noprop_dataset_has_split(dataset, other))
    return NOPROP_OK;
  noprop_status status = noprop_config_data_roles(noprop_model_config(model), &roles);
  if (status == NOPROP_OK) status = noprop_dataset_get(dataset, other, roles.target, &fresh);
  if (status != NOPROP_OK) return status;
  fresh = first_rows(&fresh, rows->target.rows);
  status = noprop_distances(model, &fresh, &rows->target, &metrics);
  if (status == NOPROP_OK) sweep->floor = metrics.sliced_w2;
  return status;
}

static int sweep_run(struct sweep *sweep, const char *run) {
  struct cli *cli = sweep->cli;
  noprop_model *model = NULL;
  noprop_dataset *dataset = NULL;
  struct split_rows rows;
  char task[24] = "", variant[24] = "";
  float *output = NULL;
  int code = open_model(cli, sweep->device, run, &model);
  if (code == EXIT_DONE) code = open_data(cli, noprop_model_config(model), &dataset);
  if (code == EXIT_DONE) code = open_split(cli, noprop_model_config(model), dataset, "test", true, &rows);
  if (code == EXIT_DONE) {
    const long most = argument_integer(cli, "--rows", ROWS_DEFAULT);
    rows.target = first_rows(&rows.target, most);
    if (rows.has_condition) rows.condition = first_rows(&rows.condition, most);
    const long width = noprop_model_get_shape(model)->target_width;
    output = malloc((size_t)rows.target.rows * (size_t)width * sizeof *output);
    if (!output) code = fail(cli, EXIT_FAILED, "no memory for %ld predictions", rows.target.rows);
  }
  if (code == EXIT_DONE)
    code = fail_status(cli, noprop_config_get(noprop_model_config(model), "task", task, sizeof task));
  if (code == EXIT_DONE && strcmp(task, "generate") == 0)
    code = fail_status(cli, find_floor(sweep, model, dataset, &rows));
  if (code == EXIT_DONE)
    code = fail_status(cli, noprop_config_get(noprop_model_config(model), "variant", variant, sizeof variant));
  if (code == EXIT_DONE)
    code = strcmp(variant, "supervised") == 0 ? sweep_supervised(sweep, run, model, &rows, output)
                                              : sweep_model(sweep, run, model, &rows, output);
  free(output);
  noprop_model_destroy(model);
  noprop_dataset_destroy(dataset);
  return code;
}

/* "picture.png" -> "picture.csv", the data beside it. */
static int open_csv(struct sweep *sweep, const char *picture, char *path, size_t size) {
  const size_t length = strlen(picture);
  if (length < 5 || strcmp(picture + length - 4, ".png") != 0)
    return fail(sweep->cli, EXIT_USAGE, "--output: \"%s\" does not end in .png", picture);
  if (length + 1 > size) return fail(sweep->cli, EXIT_USAGE, "the path %.60s... is too long", picture);
  snprintf(path, size, "%.*s.csv", (int)(length - 4), picture);
  sweep->csv = fopen(path, "we");
  if (!sweep->csv) return fail(sweep->cli, EXIT_FAILED, "%s could not be written: %s", path, strerror(errno));
  fprintf(sweep->csv, "run,method,calls,quality,milliseconds,metric,parameters\n");
  return EXIT_DONE;
}

int compare_sweep(struct cli *cli, const char *const *runs, int count, const char *picture) {
  struct sweep sweep = {.cli = cli, .floor = NAN};
  char csv[4096] = "";
  int code = read_calls(&sweep, argument_text(cli, "--calls", 0));
  if (code == EXIT_DONE) code = read_methods(&sweep);
  if (code == EXIT_DONE && picture) code = open_csv(&sweep, picture, csv, sizeof csv);
  catch_stop();
  if (code == EXIT_DONE) code = open_device(cli, &sweep.device);
  for (int i = 0; i < count && code == EXIT_DONE; i++) code = sweep_run(&sweep, runs[i]);
  table_print(sweep.table);
  if (code == EXIT_DONE && !isnan(sweep.floor)) say(cli, "fresh data against fresh data: sliced_w2 %.4g", sweep.floor);
  if (sweep.csv) {
    if (!isnan(sweep.floor)) fprintf(sweep.csv, "floor,,,%.6g,,sliced_w2,\n", sweep.floor);
    const bool failed = ferror(sweep.csv) != 0;
    if ((fclose(sweep.csv) != 0 || failed) && code == EXIT_DONE)
      code = fail(cli, EXIT_FAILED, "%s could not be written: %s", csv, strerror(errno));
  }
  if (code == EXIT_DONE && picture) code = fail_status(cli, noprop_report_sweep(csv, picture));
  if (code == EXIT_DONE && picture) say(cli, "drawn: %s, from %s", picture, csv);
  noprop_device_close(sweep.device);
  return code;
}
