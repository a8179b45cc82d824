/* noprop inspect: what a data file, a model file or a run folder holds; with --kernels also how the device trains it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/cli.h"

struct lines {
  struct cli *cli;
  struct table *table;
  struct json json;
};

static void on_entry(const char *key, const char *value, void *user) {
  struct lines *lines = user;
  if (!lines->cli->json) {
    /* Values of several lines (a configuration) go under their name. */
    const char *line = value;
    do {
      int length = (int)strcspn(line, "\n");
      table_cell(lines->table, "%s", line == value ? key : "");
      table_cell(lines->table, "%.*s", length, line);
      line += length + (line[length] == '\n');
    } while (*line);
    return;
  }
  char *end;
  double number = strtod(value, &end);
  if (end != value && *end == 0)
    json_number(&lines->json, key, number);
  else
    json_text(&lines->json, key, value);
}

/* The model's layers and the kernels that the device would train it with. */
static int add_kernels(struct cli *cli, struct lines *lines) {
  noprop_device *device = NULL;
  noprop_model *model = NULL;
  char *text = NULL;
  int code = open_device(cli, &device);
  if (code == EXIT_DONE) code = open_model(cli, device, argument_text(cli, "FILE", 0), &model);
  if (code == EXIT_DONE) {
    const noprop_status status = noprop_model_describe(model, &text);
    if (status == NOPROP_OK) {
      text[strlen(text) - 1] = 0; /* the last line's end */
      on_entry("kernels", text, lines);
    } else {
      fail_status(cli, status);
      code = EXIT_FAILED;
    }
  }
  noprop_free(text);
  noprop_model_destroy(model);
  noprop_device_close(device);
  return code;
}

/* Derivatives of the user's own layers. */
static int check_gradients(struct cli *cli, struct lines *lines) {
  noprop_device *device = NULL;
  noprop_model *model = NULL;
  int layers = 0;
  double worst = 0;
  int code = open_device(cli, &device);
  if (code == EXIT_DONE) code = open_model(cli, device, argument_text(cli, "FILE", 0), &model);
  if (code == EXIT_DONE) code = fail_status(cli, noprop_model_check_layers(model, &layers, &worst));
  if (code == EXIT_DONE) {
    char text[32];
    snprintf(text, sizeof text, "%d", layers);
    on_entry("layers_checked", text, lines);
    snprintf(text, sizeof text, "%.2g", worst);
    if (layers > 0) on_entry("largest_gradient_error", text, lines);
  }
  noprop_model_destroy(model);
  noprop_device_close(device);
  return code;
}

static int run(struct cli *cli) {
  struct lines lines = {.cli = cli};
  int code = EXIT_DONE;
  if (!cli->json) lines.table = table_create(2);
  noprop_status status = noprop_inspect(argument_text(cli, "FILE", 0), on_entry, &lines);
  if (status == NOPROP_OK && argument_given(cli, "--kernels")) code = add_kernels(cli, &lines);
  if (status == NOPROP_OK && code == EXIT_DONE && argument_given(cli, "--check-gradients"))
    code = check_gradients(cli, &lines);
  if (cli->json && lines.json.count > 0) json_end(&lines.json);
  table_print(lines.table);
  if (status == NOPROP_OK) return code;
  fail_status(cli, status);
  return EXIT_FAILED;
}

static const struct argument ARGUMENTS[] = {
    {ARGUMENT_OPERAND, "FILE", 0, NULL, "a data file, a model file or a run folder", 1, 1},
    {ARGUMENT_FLAG, "--kernels", 0, NULL,
     "of a model or run: also its layers and how the device (--device) would train it: tiles, memory, launches", 0, 0},
    {ARGUMENT_FLAG, "--check-gradients", 0, NULL,
     "of a model or run: compare derivatives of its own layers (network.layers, type source) with differences", 0, 0},
    {0}};

const struct command COMMAND_INSPECT = {
    "inspect",
    "says what a data file, a model file or a run folder holds",
    ARGUMENTS,
    NULL,
    "noprop inspect moons.h5\nnoprop inspect runs/two_moons-ct-001\nnoprop inspect model.h5 --json\n"
    "noprop inspect model.h5 --kernels",
    run,
    true};
