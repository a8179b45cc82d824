/* noprop compare: runs side by side. */
#include "host/cli/compare.h"

#include <stdlib.h>
#include <string.h>

enum { RUNS_MOST = 64 };

struct run_facts {
  char variant[24], split[24];
  double loss, validation, accuracy, mse, sliced_w2, parameters, steps, seconds, launches;
  bool has_loss, has_validation, has_accuracy, has_mse, has_sliced_w2, has_parameters, has_steps, has_seconds;
};

static void on_entry(const char *key, const char *value, void *user) {
  struct run_facts *facts = user;
  const struct {
    const char *key;
    double *value;
    bool *has;
  } numbers[] = {{"loss", &facts->loss, &facts->has_loss},
                 {"best_validation_loss", &facts->validation, &facts->has_validation},
                 {"accuracy", &facts->accuracy, &facts->has_accuracy},
                 {"mse", &facts->mse, &facts->has_mse},
                 {"sliced_w2", &facts->sliced_w2, &facts->has_sliced_w2},
                 {"parameters", &facts->parameters, &facts->has_parameters},
                 {"steps", &facts->steps, &facts->has_steps}};
  if (strcmp(key, "variant") == 0) snprintf(facts->variant, sizeof facts->variant, "%s", value);
  if (strcmp(key, "split") == 0) snprintf(facts->split, sizeof facts->split, "%s", value);
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    if (strcmp(key, numbers[i].key) != 0) continue;
    *numbers[i].value = strtod(value, NULL);
    *numbers[i].has = true;
  }
}

/* Times stand in the log alone: a run that was resumed has several, which add up. */
static void read_times(const char *folder, struct run_facts *facts) {
  char path[4096], line[1024];
  if (snprintf(path, sizeof path, "%s/log.txt", folder) >= (int)sizeof path) return;
  FILE *file = fopen(path, "re");
  while (file && fgets(line, sizeof line, file)) {
    double seconds, launches;
    const char *words = strstr(line, "trained ");
    if (!words || sscanf(words, "trained %*u steps in %lf s, %*f steps/s, %lf launches", &seconds, &launches) != 2)
      continue;
    facts->seconds += seconds;
    if (launches > 0) facts->launches = launches;
    facts->has_seconds = true;
  }
  if (file) fclose(file);
}

static void number_cell(struct table *table, bool has, const char *format, double value) {
  char text[64] = "-";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  if (has) snprintf(text, sizeof text, format, value);
#pragma GCC diagnostic pop
  table_cell(table, "%s", text);
}

static int run(struct cli *cli) {
  const char *folders[RUNS_MOST], *path = argument_text(cli, "--output", 0);
  int count = argument_count(cli, "RUN");
  if (count > RUNS_MOST) return fail(cli, EXIT_USAGE, "compare takes at most %d runs", (int)RUNS_MOST);
  if (argument_given(cli, "--calls")) {
    for (int i = 0; i < count; i++) folders[i] = argument_text(cli, "RUN", i);
    return compare_sweep(cli, folders, count, path);
  }
  for (int i = 0; i < 4; i++) {
    static const char *const of_sweeps[] = {"--method", "--rows", "--data", "--split"};
    if (argument_given(cli, of_sweeps[i]))
      return fail(cli, EXIT_USAGE, "%s needs --calls: without it compare reads the runs' records", of_sweeps[i]);
  }
  const char *headings[] = {"run",     "variant", "accuracy",      "mse",       "sliced_w2", "loss", "best validation",
                            "seconds", "steps",   "launches/step", "parameters"};
  struct table *table = cli->json ? NULL : table_create(11);
  for (int i = 0; table && i < 11; i++) table_cell(table, "%s", headings[i]);
  for (int i = 0; i < count; i++) {
    struct run_facts facts = {0};
    folders[i] = argument_text(cli, "RUN", i);
    noprop_status status = noprop_inspect(folders[i], on_entry, &facts);
    if (status != NOPROP_OK) {
      fail_status(cli, status);
      return EXIT_FAILED;
    }
    read_times(folders[i], &facts);
    if (cli->json) {
      struct json json = {0};
      json_text(&json, "run", folders[i]);
      if (facts.variant[0]) json_text(&json, "variant", facts.variant);
      if (facts.has_accuracy) json_number(&json, "accuracy", facts.accuracy);
      if (facts.has_mse) json_number(&json, "mse", facts.mse);
      if (facts.has_sliced_w2) json_number(&json, "sliced_w2", facts.sliced_w2);
      if (facts.has_loss) json_number(&json, "loss", facts.loss);
      if (facts.has_validation) json_number(&json, "best_validation_loss", facts.validation);
      if (facts.has_seconds) json_number(&json, "seconds", facts.seconds);
      if (facts.has_seconds) json_number(&json, "launches_per_step", facts.launches);
      if (facts.has_steps) json_number(&json, "steps", facts.steps);
      if (facts.has_parameters) json_number(&json, "parameters", facts.parameters);
      json_end(&json);
      continue;
    }
    table_cell(table, "%s", folders[i]);
    table_cell(table, "%s", facts.variant[0] ? facts.variant : "-");
    number_cell(table, facts.has_accuracy, "%.4f", facts.accuracy);
    number_cell(table, facts.has_mse, "%.4g", facts.mse);
    number_cell(table, facts.has_sliced_w2, "%.4g", facts.sliced_w2);
    number_cell(table, facts.has_loss, "%.4g", facts.loss);
    number_cell(table, facts.has_validation, "%.4g", facts.validation);
    number_cell(table, facts.has_seconds, "%.1f", facts.seconds);
    number_cell(table, facts.has_steps, "%.0f", facts.steps);
    number_cell(table, facts.has_seconds, "%.2f", facts.launches);
    number_cell(table, facts.has_parameters, "%.0f", facts.parameters);
  }
  table_print(table);
  if (!path) return EXIT_DONE;
  noprop_status status = noprop_report_compare(folders, count, path);
  if (status != NOPROP_OK) {
    fail_status(cli, status);
    return EXIT_FAILED;
  }
  say(cli, "drawn: %s", path);
  return EXIT_DONE;
}

static const struct argument ARGUMENTS[] = {
    {ARGUMENT_OPERAND, "RUN", 0, NULL, "run folders", 1, 0},
    {ARGUMENT_TEXT, "--output", 'o', "FILE.png",
     "also draw: losses, or with --calls quality against calls, time and parameters", 0, 0},
    {ARGUMENT_TEXT, "--calls", 0, "LIST", "solve again with so many network calls per row: 1,2,5,10,20,50,100", 0, 0},
    {ARGUMENT_TEXT, "--method", 0, "M", "with --calls: one method, or all (default: what each model takes)", 0, 0},
    {ARGUMENT_INTEGER, "--rows", 0, "N", "with --calls: held-out rows to use (default 10000)", 2, 16384},
    {ARGUMENT_TEXT, "--data", 0, "F", "with --calls: data file (default: the one each model was trained on)", 0, 0},
    {ARGUMENT_TEXT, "--split", 0, "S", "with --calls: train, validation or test (default)", 0, 0},
    {0}};

const struct command COMMAND_COMPARE = {
    "compare",
    "shows runs side by side: quality, loss, seconds, parameters",
    ARGUMENTS,
    "Quality is that of the run's last model on held-out rows; seconds are summed over the sessions of a resumed run. "
    "With\n"
    "--calls every model is evaluated anew at each number of network calls: quality, and milliseconds of one solve of "
    "all\n"
    "rows. For generation the floor is the distance of held-out rows from other held-out rows.",
    "noprop compare runs/two_moons-*\nnoprop compare runs/a runs/b -o losses.png\n"
    "noprop compare runs/gen-fm-001 runs/gen-ct-001 --calls 1,2,5,10,20,50,100 --method all -o quality.png",
    run,
    false};
