/* noprop schedule: a noise schedule as a table over t, or several in a picture. */
#include <math.h>
#include <string.h>

#include "host/cli/cli.h"

/* Each that needs no numbers of the user's. */
#define EVERY_TYPE "linear,cosine,sigmoid,exponential,cauchy,laplace,quadratic,polynomial,sine,network"

enum { POINTS_DEFAULT = 11, POINTS_MOST = 100001 };

static int print(struct cli *cli, const noprop_config *config) {
  const char *headings[] = {"t", "alpha_bar", "1 - alpha_bar", "gamma", "gamma'", "SNR", "SNR'"};
  long points = argument_integer(cli, "--points", POINTS_DEFAULT);
  struct table *table = cli->json ? NULL : table_create(7);
  for (int i = 0; table && i < 7; i++) table_cell(table, "%s", headings[i]);
  for (long i = 0; i < points; i++) {
    double t = (double)i / (double)(points - 1);
    noprop_schedule_values v;
    noprop_status status = noprop_schedule_evaluate(config, &t, 1, &v);
    if (status != NOPROP_OK) {
      table_print(table);
      return fail_status(cli, status);
    }
    if (cli->json) {
      struct json json = {0};
      json_number(&json, "t", t);
      json_number(&json, "alpha_bar", v.alpha_bar);
      json_number(&json, "one_minus_alpha_bar", v.one_minus_alpha_bar);
      json_number(&json, "gamma", v.gamma);
      json_number(&json, "gamma_prime", v.gamma_prime);
      json_number(&json, "snr", v.snr);
      json_number(&json, "snr_prime", v.snr_prime);
      json_end(&json);
      continue;
    }
    table_cell(table, "%.4g", t);
    table_cell(table, "%.6f", v.alpha_bar);
    table_cell(table, "%.6f", v.one_minus_alpha_bar);
    table_cell(table, "%.5f", v.gamma);
    table_cell(table, "%.5f", v.gamma_prime);
    table_cell(table, "%.5g", v.snr);
    table_cell(table, "%.5g", v.snr_prime);
  }
  table_print(table);
  return EXIT_DONE;
}

/* One configuration per type of a list with commas; *count is how many there are, even after a failure. */
static int read_types(struct cli *cli, const char *list, noprop_config **configs, int *count) {
  int code = EXIT_DONE;
  for (const char *at = list; code == EXIT_DONE && at; (*count)++) {
    const size_t length = strcspn(at, ",");
    char type[64];
    if (*count == NOPROP_SCHEDULES_MOST || length >= sizeof type)
      return fail(cli, EXIT_USAGE, "TYPE: at most %d schedules, with commas between them", NOPROP_SCHEDULES_MOST);
    snprintf(type, sizeof type, "%.*s", (int)length, at);
    at = at[length] ? at + length + 1 : NULL;
    noprop_status status = noprop_config_create(&configs[*count]);
    if (status == NOPROP_OK) status = noprop_config_set(configs[*count], "schedule.type", type);
    if (status == NOPROP_OK) status = noprop_config_set(configs[*count], "variant", "ct");
    code = fail_status(cli, status);
    if (code == EXIT_DONE) code = apply_settings(cli, configs[*count], "schedule.");
  }
  return code;
}

static int draw(struct cli *cli, noprop_config *const *configs, int count, const char *path) {
  noprop_status status = noprop_report_schedules((const noprop_config *const *)configs, count, path);
  if (status != NOPROP_OK) {
    fail_status(cli, status);
    return status == NOPROP_INVALID_CONFIG ? EXIT_USAGE : EXIT_FAILED;
  }
  if (cli->json) {
    struct json json = {0};
    json_text(&json, "file", path);
    json_end(&json);
  } else {
    printf("%s\n", path);
  }
  return EXIT_DONE;
}

static int run(struct cli *cli) {
  noprop_config *configs[NOPROP_SCHEDULES_MOST] = {NULL};
  int count = 0;
  const char *path = argument_text(cli, "--output", 0), *list = argument_text(cli, "TYPE", 0);
  if (strcmp(list, "all") == 0) list = EVERY_TYPE;
  int code = read_types(cli, list, configs, &count);
  if (code == EXIT_DONE && path)
    code = draw(cli, configs, count, path);
  else if (code == EXIT_DONE && count > 1)
    code = fail(cli, EXIT_USAGE, "a table shows one schedule; several are drawn with -o FILE.png");
  else if (code == EXIT_DONE)
    code = print(cli, configs[0]);
  for (int i = 0; i < NOPROP_SCHEDULES_MOST; i++) noprop_config_destroy(configs[i]);
  return code;
}

static const struct argument ARGUMENTS[] = {
    {ARGUMENT_OPERAND, "TYPE", 0, NULL,
     "linear, cosine, sigmoid (= logistic), exponential, cauchy, laplace, quadratic, polynomial, sine, tabulated, "
     "network (= monotonic_nn, learnable; as it starts); with -o several with commas between them, or all",
     1, 1},
    {ARGUMENT_SETTING, "KEY=VALUE", 0, NULL,
     "alpha_bar=[lo,hi], s=, k=, t_mid=, beta=, loc=, scale=, power=, table=[[0,-7],[1,7]], hidden=, renormalise=: "
     "keys "
     "of the schedule section",
     0, 0},
    {ARGUMENT_INTEGER, "--points", 0, "N", "rows of the table, t from 0 to 1 (default 11)", 2, POINTS_MOST},
    {ARGUMENT_TEXT, "--output", 'o', "FILE.png", "draw a picture instead", 0, 0},
    {0}};

const struct command COMMAND_SCHEDULE = {
    "schedule",
    "shows a noise schedule: gamma, gamma', alpha_bar, SNR over t",
    ARGUMENTS,
    "alpha_bar(t) = sigmoid(gamma(t)) is the share of data in z_t, SNR = exp(gamma). Noise is at t = 0, data at t = 1.",
    "noprop schedule cosine\nnoprop schedule sigmoid k=6 alpha_bar=[0.01,0.99] --points 21\nnoprop schedule linear -o "
    "linear.png\nnoprop schedule cosine,sigmoid,laplace -o three.png",
    run,
    false};
