/* Steps that several commands share: opening devices, models and data, options of a solve, metrics. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/cli/cli.h"

volatile sig_atomic_t stop_requested;

static void on_stop(int signal_number) {
  if (stop_requested++ == 0) return;
  noprop_device_cancel();
  signal(signal_number, SIG_DFL);
}

void catch_stop(void) {
  struct sigaction action = {0};
  action.sa_handler = on_stop;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGINT);
  sigaddset(&action.sa_mask, SIGTERM);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

int open_device(struct cli *cli, noprop_device **device) {
  noprop_status status = noprop_device_open(cli->device, device);
  if (status != NOPROP_OK) return fail_status(cli, status) == EXIT_DONE ? EXIT_DONE : EXIT_FAILED;
  return EXIT_DONE;
}

int open_model(struct cli *cli, noprop_device *device, const char *path, noprop_model **model) {
  char inside[4096];
  struct stat info;
  if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
    snprintf(inside, sizeof inside, "%s/model.h5", path);
    path = inside;
  }
  noprop_status status = noprop_model_load(device, path, model);
  if (status == NOPROP_OK) return EXIT_DONE;
  fail_status(cli, status);
  return EXIT_FAILED;
}

int open_data(struct cli *cli, const noprop_config *config, noprop_dataset **dataset) {
  char named[1024];
  const char *path = argument_text(cli, "--data", 0);
  if (!path) {
    noprop_status status = noprop_config_get(config, "data.file", named, sizeof named);
    if (status != NOPROP_OK) return fail_status(cli, status);
    path = named;
  }
  if (path[0] == 0 || strcmp(path, "null") == 0)
    return fail(cli, EXIT_USAGE, "no data: give --data FILE.h5 (or data.file in the configuration)");
  noprop_status status = noprop_dataset_open(path, dataset);
  if (status == NOPROP_OK) return EXIT_DONE;
  fail_status(cli, status);
  struct stat info;
  if (stat(path, &info) != 0) say(cli, "noprop data makes data files, for example: noprop data two-moons %s", path);
  return EXIT_FAILED;
}

int open_split(struct cli *cli, const noprop_config *config, noprop_dataset *dataset, const char *otherwise,
               bool need_target, struct split_rows *rows) {
  noprop_data_roles roles;
  memset(rows, 0, sizeof *rows);
  rows->split = argument_text(cli, "--split", 0);
  if (!rows->split) rows->split = otherwise;
  noprop_status status = noprop_config_data_roles(config, &roles);
  if (status == NOPROP_OK && roles.condition[0]) {
    status = noprop_dataset_get(dataset, rows->split, roles.condition, &rows->condition);
    rows->has_condition = status == NOPROP_OK;
  }
  if (status == NOPROP_OK && need_target) {
    status = noprop_dataset_get(dataset, rows->split, roles.target, &rows->target);
    rows->has_target = status == NOPROP_OK;
  }
  if (status == NOPROP_OK) return EXIT_DONE;
  fail_status(cli, status);
  return EXIT_FAILED;
}

int with_model_and_rows(struct cli *cli, bool need_target, const char *(*refusal)(const noprop_model_shape *shape),
                        int (*work)(struct cli *cli, noprop_model *model, const struct split_rows *rows)) {
  noprop_device *device = NULL;
  noprop_model *model = NULL;
  noprop_dataset *dataset = NULL;
  struct split_rows rows;
  int code = open_device(cli, &device);
  if (code == EXIT_DONE) code = open_model(cli, device, argument_text(cli, "MODEL", 0), &model);
  const char *reason = code == EXIT_DONE && refusal ? refusal(noprop_model_get_shape(model)) : NULL;
  if (reason) code = fail(cli, EXIT_USAGE, "%s", reason);
  if (code == EXIT_DONE) code = open_data(cli, noprop_model_config(model), &dataset);
  if (code == EXIT_DONE) code = open_split(cli, noprop_model_config(model), dataset, "test", need_target, &rows);
  if (code == EXIT_DONE) code = work(cli, model, &rows);
  noprop_model_destroy(model);
  noprop_dataset_destroy(dataset);
  noprop_device_close(device);
  return code;
}

static int copy_name(struct cli *cli, const char *name, char *to, size_t size) {
  const char *text = argument_text(cli, name, 0);
  if (!text) return EXIT_DONE;
  if (strlen(text) >= size) return fail(cli, EXIT_USAGE, "%s has no choice \"%s\"", name, text);
  memcpy(to, text, strlen(text) + 1);
  return EXIT_DONE;
}

/* "0,0.2,1" as the times of the steps; they live as long as the program. */
static int read_times(struct cli *cli, noprop_sampler_options *options) {
  enum { MOST = 100001 };
  static double *times;
  const char *text = argument_text(cli, "--times", 0);
  int count = 0;
  if (!text) return EXIT_DONE;
  if (argument_given(cli, "--steps") || argument_given(cli, "--calls") || argument_given(cli, "--grid"))
    return fail(cli, EXIT_USAGE, "--times gives the steps; --steps, --calls and --grid cannot be given beside it");
  free(times);
  times = malloc((strlen(text) + 2) * sizeof *times);
  if (!times) return fail(cli, EXIT_FAILED, "no memory for the times");
  for (const char *at = text;; at++) {
    char *end;
    times[count] = strtod(at, &end);
    if (end == at || (*end && *end != ',') || count >= MOST)
      return fail(cli, EXIT_USAGE, "--times must be a list of numbers from 0 to 1, as 0,0.2,1, not \"%s\"", text);
    count++;
    at = end;
    if (!*end) break;
  }
  if (count < 2) return fail(cli, EXIT_USAGE, "--times needs at least 0 and 1");
  options->times = times;
  options->steps = count - 1;
  memcpy(options->grid, "user", sizeof "user");
  return EXIT_DONE;
}

int solve_options(struct cli *cli, noprop_model *model, noprop_sampler_options *options) {
  *options = noprop_sampler_options_default(model);
  if (argument_given(cli, "--steps") && argument_given(cli, "--calls"))
    return fail(cli, EXIT_USAGE, "--steps and --calls cannot both be given");
  options->steps = (int)argument_integer(cli, "--steps", options->steps);
  options->calls = (int)argument_integer(cli, "--calls", 0);
  const char *seed = argument_text(cli, "--seed", 0);
  if (seed) options->seed = strtoull(seed, NULL, 10);
  /* Steps from the command line take the place of times from the configuration. */
  if (strcmp(options->grid, "user") == 0 && (argument_given(cli, "--steps") || argument_given(cli, "--calls")))
    memcpy(options->grid, "auto", sizeof "auto");
  int code = copy_name(cli, "--method", options->method, sizeof options->method);
  if (code == EXIT_DONE) code = copy_name(cli, "--grid", options->grid, sizeof options->grid);
  if (code == EXIT_DONE) code = copy_name(cli, "--drift", options->drift, sizeof options->drift);
  options->churn = argument_number(cli, "--churn", options->churn);
  options->guidance = argument_number(cli, "--guidance", options->guidance);
  options->rtol = argument_number(cli, "--rtol", options->rtol);
  options->atol = argument_number(cli, "--atol", options->atol);
  options->max_steps = (int)argument_integer(cli, "--max-steps", options->max_steps);
  options->probes = (int)argument_integer(cli, "--probes", options->probes);
  return code == EXIT_DONE ? read_times(cli, options) : code;
}

void metrics_json(struct json *json, const noprop_metrics *metrics) {
  json_integer(json, "rows", metrics->rows);
  if (metrics->has_accuracy) json_number(json, "accuracy", metrics->accuracy);
  if (metrics->has_errors) {
    json_number(json, "mse", metrics->mse);
    json_number(json, "mae", metrics->mae);
    json_number(json, "r2", metrics->r2);
  }
  if (metrics->has_distances) {
    json_number(json, "sliced_w2", metrics->sliced_w2);
    json_number(json, "energy", metrics->energy);
  }
}

void metrics_table(struct table *table, const noprop_metrics *metrics) {
  table_cell(table, "rows");
  table_cell(table, "%ld", metrics->rows);
  const struct {
    bool has;
    const char *name;
    double value;
  } lines[] = {{metrics->has_accuracy, "accuracy", metrics->accuracy},
               {metrics->has_errors, "mse", metrics->mse},
               {metrics->has_errors, "mae", metrics->mae},
               {metrics->has_errors, "r2", metrics->r2},
               {metrics->has_distances, "sliced_w2", metrics->sliced_w2},
               {metrics->has_distances, "energy", metrics->energy}};
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    if (!lines[i].has) continue;
    table_cell(table, "%s", lines[i].name);
    table_cell(table, "%.6g", lines[i].value);
  }
}

int apply_settings(struct cli *cli, noprop_config *config, const char *section) {
  for (int i = 0; i < cli->given_count; i++) {
    if (cli->given[i].argument->kind != ARGUMENT_SETTING) continue;
    const char *text = cli->given[i].text, *sign = strchr(text, '=');
    char key[256];
    bool bare = section && !memchr(text, '.', (size_t)(sign - text));
    int length = snprintf(key, sizeof key, "%s%.*s", bare ? section : "", (int)(sign - text), text);
    if (length >= (int)sizeof key) return fail(cli, EXIT_USAGE, "the key of %.40s... is too long", text);
    noprop_status status = noprop_config_set(config, key, sign + 1);
    if (status != NOPROP_OK) {
      fail_status(cli, status);
      return EXIT_USAGE;
    }
  }
  return EXIT_DONE;
}
