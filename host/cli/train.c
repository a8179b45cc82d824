/* noprop train: trains one model, or one for each of several variants, and shows what came of it. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/cli/cli.h"

enum { PATH_SIZE = 4096, VARIANTS_MOST = 8 };

struct training {
  struct cli *cli;
  const char *variant;
  long epoch;
};

struct outcome {
  char variant[24], folder[PATH_SIZE];
  noprop_training_result result;
};

/* ---- what is heard while training -------------------------------------------------------------------------------- */

static int on_progress(const noprop_progress *progress, void *user) {
  struct training *training = user;
  struct cli *cli = training->cli;
  if (cli->json && progress->epoch > training->epoch) {
    struct json json = {0};
    json_text(&json, "event", "epoch");
    json_text(&json, "variant", training->variant);
    json_integer(&json, "epoch", progress->epoch);
    json_integer(&json, "step", (long long)progress->step);
    json_number(&json, "loss", progress->loss);
    json_number(&json, "validation_loss", progress->validation_loss);
    json_number(&json, "steps_per_second", progress->steps_per_second);
    json_end(&json);
  }
  training->epoch = progress->epoch;
  char left[32], loss[32] = "-", validation[40] = "";
  format_seconds(left, sizeof left, progress->seconds_left);
  if (isfinite(progress->loss)) snprintf(loss, sizeof loss, "%.4g", progress->loss);
  if (isfinite(progress->validation_loss))
    snprintf(validation, sizeof validation, "  validation %.4g", progress->validation_loss);
  progress_line(cli, "%s  epoch %ld/%ld  loss %s%s  %.0f steps/s  %s left", training->variant, progress->epoch,
                progress->epochs, loss, validation, progress->steps_per_second, left);
  return stop_requested;
}

static void on_line(const char *line, void *user) { say(((struct training *)user)->cli, "%s", line); }

/* ---- run folders ------------------------------------------------------------------------------------------------- */

/* "data/two_moons.yaml" -> "two_moons" */
static void stem_of(const char *path, char *stem, size_t size) {
  const char *slash = strrchr(path, '/');
  snprintf(stem, size, "%s", slash ? slash + 1 : path);
  char *dot = strrchr(stem, '.');
  if (dot && dot != stem) *dot = 0;
}

/* Makes runs/NAME-VARIANT-NNN with the first number that is free; mkdir decides between programs that start at once. */
static int number_folder(struct cli *cli, const char *name, const char *variant, char *folder) {
  if (mkdir("runs", 0777) != 0 && errno != EEXIST)
    return fail(cli, EXIT_FAILED, "the folder runs could not be made: %s", strerror(errno));
  for (int number = 1; number < 1000000; number++) {
    int length = snprintf(folder, PATH_SIZE, "runs/%s-%s-%03d", name, variant, number);
    if (length >= PATH_SIZE) break;
    if (mkdir(folder, 0777) == 0) return EXIT_DONE;
    if (errno != EEXIST) return fail(cli, EXIT_FAILED, "the folder %s could not be made: %s", folder, strerror(errno));
  }
  return fail(cli, EXIT_FAILED, "no free name for a run of %s was found in runs", name);
}

/* ---- one training ------------------------------------------------------------------------------------------------ */

static void print_outcome(struct cli *cli, const struct outcome *outcome) {
  const noprop_training_result *r = &outcome->result;
  if (cli->json) {
    struct json json = {0};
    json_text(&json, "event", "done");
    json_text(&json, "variant", outcome->variant);
    json_text(&json, "run", outcome->folder);
    json_integer(&json, "epochs", r->epochs);
    json_integer(&json, "steps", (long long)r->steps);
    json_number(&json, "loss", r->loss);
    json_number(&json, "validation_loss", r->validation_loss);
    json_number(&json, "best_validation_loss", r->best_validation_loss);
    json_integer(&json, "best_epoch", r->best_epoch);
    json_bool(&json, "stopped_early", r->stopped_early);
    json_text(&json, "split", r->split);
    metrics_json(&json, &r->metrics);
    json_integer(&json, "parameters", r->parameters);
    json_text(&json, "precision", r->precision);
    json_number(&json, "seconds", r->seconds);
    json_number(&json, "steps_per_second", r->steps_per_second);
    json_number(&json, "launches_per_step", r->launches_per_step);
    json_end(&json);
    return;
  }
  struct table *table = table_create(2);
  table_cell(table, "run");
  table_cell(table, "%s", outcome->folder);
  table_cell(table, "split");
  table_cell(table, "%s", r->split);
  metrics_table(table, &r->metrics);
  table_cell(table, "loss");
  table_cell(table, "%.5g", r->loss);
  if (isfinite(r->validation_loss)) {
    table_cell(table, "validation loss");
    table_cell(table, "%.5g (best %.5g in epoch %ld)", r->validation_loss, r->best_validation_loss, r->best_epoch);
  }
  table_cell(table, "training");
  table_cell(table, "%llu steps in %.1f s, %.0f steps/s", (unsigned long long)r->steps, r->seconds,
             r->steps_per_second);
  table_print(table);
}

static void print_comparison(const struct outcome *outcomes, int count) {
  const noprop_metrics *metrics = &outcomes[0].result.metrics;
  const char *quality = metrics->has_accuracy ? "accuracy" : metrics->has_distances ? "sliced_w2" : "mse";
  const char *headings[] = {"variant", quality, "loss", "validation", "seconds", "steps/s", "parameters", "run"};
  struct table *table = table_create(8);
  for (int i = 0; i < 8; i++) table_cell(table, "%s", headings[i]);
  for (int i = 0; i < count; i++) {
    const noprop_training_result *r = &outcomes[i].result;
    table_cell(table, "%s", outcomes[i].variant);
    table_cell(table, "%.4g",
               r->metrics.has_accuracy    ? r->metrics.accuracy
               : r->metrics.has_distances ? r->metrics.sliced_w2
                                          : r->metrics.mse);
    table_cell(table, "%.5g", r->loss);
    if (isfinite(r->validation_loss))
      table_cell(table, "%.5g", r->validation_loss);
    else
      table_cell(table, "-");
    table_cell(table, "%.1f", r->seconds);
    table_cell(table, "%.0f", r->steps_per_second);
    table_cell(table, "%ld", r->parameters);
    table_cell(table, "%s", outcomes[i].folder);
  }
  table_print(table);
}

static int explain_failure(struct cli *cli, noprop_status status, const struct outcome *outcome) {
  fail_status(cli, status);
  if (status == NOPROP_STOPPED) {
    say(cli, "go on with: noprop train --resume --run %s", outcome->folder);
    return EXIT_FAILED;
  }
  if (stop_requested > 1) { /* the second signal ended a kernel: what it was working on is of no use */
    char path[PATH_SIZE + 16];
    snprintf(path, sizeof path, "%s/model.h5", outcome->folder);
    if (access(path, F_OK) == 0)
      say(cli, "no checkpoint of the interrupted step; go on from the last one with: noprop train --resume --run %s",
          outcome->folder);
    else
      say(cli, "no checkpoint: none had been written yet");
  }
  return status == NOPROP_INVALID_CONFIG || status == NOPROP_INVALID_ARGUMENT ? EXIT_USAGE : EXIT_FAILED;
}

static int train_one(struct cli *cli, noprop_device *device, const noprop_config *config, noprop_dataset *dataset,
                     struct outcome *outcome) {
  struct training training = {.cli = cli, .variant = outcome->variant};
  noprop_trainer_options options = {.run_folder = outcome->folder,
                                    .resume = argument_given(cli, "--resume"),
                                    .progress = on_progress,
                                    .log = on_line,
                                    .user = &training};
  noprop_trainer *trainer = NULL;
  say(cli, "run folder: %s", outcome->folder);
  noprop_status status = noprop_trainer_create(device, config, dataset, &options, &trainer);
  if (status == NOPROP_OK) status = noprop_trainer_run(trainer);
  if (status == NOPROP_OK) status = noprop_trainer_get_result(trainer, &outcome->result);
  progress_clear(cli);
  int code = status == NOPROP_OK ? EXIT_DONE : explain_failure(cli, status, outcome);
  /* A numbered folder in which nothing was begun is taken back. */
  if (!trainer && !argument_given(cli, "--run")) {
    char path[PATH_SIZE + 16];
    const char *names[] = {"config.yaml", "log.txt"};
    for (int i = 0; i < 2; i++) {
      snprintf(path, sizeof path, "%s/%s", outcome->folder, names[i]);
      remove(path);
    }
    remove(outcome->folder);
  }
  noprop_trainer_destroy(trainer);
  return code;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* The file, --data and the overrides. Takes `variant=a,b` out of the overrides: *list holds "a,b". */
static int read_config(struct cli *cli, noprop_config *config, const char *path, char *list, size_t size) {
  const char *data = argument_text(cli, "--data", 0);
  noprop_status status = NOPROP_OK;
  if (path) status = noprop_config_load(config, path);
  if (status != NOPROP_OK) return fail_status(cli, status);
  int kept = 0;
  for (int i = 0; i < cli->given_count; i++) {
    const struct given *given = &cli->given[i];
    if (given->argument->kind == ARGUMENT_SETTING && strncmp(given->text, "variant=", 8) == 0 &&
        strchr(given->text, ','))
      snprintf(list, size, "%s", given->text + 8);
    else
      cli->given[kept++] = *given;
  }
  cli->given_count = kept;
  int code = apply_settings(cli, config, NULL);
  if (code == EXIT_DONE && data) code = fail_status(cli, noprop_config_set(config, "data.file", data));
  return code;
}

static int find_folder(struct cli *cli, const char *stem, bool several, struct outcome *outcome) {
  const char *given = argument_text(cli, "--run", 0);
  if (!given) return number_folder(cli, stem, outcome->variant, outcome->folder);
  int length = several ? snprintf(outcome->folder, PATH_SIZE, "%s/%s", given, outcome->variant)
                       : snprintf(outcome->folder, PATH_SIZE, "%s", given);
  return length < PATH_SIZE ? EXIT_DONE : fail(cli, EXIT_USAGE, "the path %.60s... is too long", given);
}

/* "[fm, df]" or "fm,df" into names. */
static int split_list(struct cli *cli, char *list, char *names[VARIANTS_MOST]) {
  int count = 0;
  for (char *name = strtok(list, "[], \""); name; name = strtok(NULL, "[], \"")) {
    if (count == VARIANTS_MOST) return -fail(cli, EXIT_USAGE, "variant= takes at most %d variants", (int)VARIANTS_MOST);
    names[count++] = name;
  }
  return count;
}

static int run(struct cli *cli) {
  noprop_config *config = NULL;
  noprop_device *device = NULL;
  noprop_dataset *dataset = NULL;
  struct outcome *outcomes = calloc(VARIANTS_MOST, sizeof *outcomes);
  char list[512] = "", stem[256] = "run", inside[PATH_SIZE], variant[24];
  char *names[VARIANTS_MOST];
  const char *path = argument_text(cli, "CONFIG.yaml", 0), *folder = argument_text(cli, "--run", 0);
  bool resume = argument_given(cli, "--resume");
  int count = 0, code = EXIT_DONE;
  if (!outcomes) return fail(cli, EXIT_FAILED, "no memory");
  if (resume && !folder) code = fail(cli, EXIT_USAGE, "--resume needs --run DIR: which run to go on with");
  if (code == EXIT_DONE && !path && !resume) {
    code = fail(cli, EXIT_USAGE, "train needs CONFIG.yaml");
    usage_print(stderr, cli->command);
  }
  if (code == EXIT_DONE && path) stem_of(path, stem, sizeof stem);
  if (code == EXIT_DONE && !path) {
    /* The run's own configuration is the one to go on with. */
    snprintf(inside, sizeof inside, "%s/config.yaml", folder);
    path = inside;
  }
  if (code == EXIT_DONE) code = fail_status(cli, noprop_config_create(&config));
  if (code == EXIT_DONE) code = read_config(cli, config, path, list, sizeof list);
  if (code == EXIT_DONE && list[0]) {
    count = split_list(cli, list, names);
    if (count < 0) code = -count;
    for (int i = 0; i < count && code == EXIT_DONE; i++) {
      code = fail_status(cli, noprop_config_set(config, "variant", names[i]));
      if (code == EXIT_DONE) code = fail_status(cli, noprop_config_check(config));
    }
  } else if (code == EXIT_DONE) {
    code = fail_status(cli, noprop_config_check(config));
    if (code == EXIT_DONE) code = fail_status(cli, noprop_config_get(config, "variant", variant, sizeof variant));
    names[count++] = variant;
  }
  catch_stop();
  if (code == EXIT_DONE) code = open_data(cli, config, &dataset);
  if (code == EXIT_DONE) code = open_device(cli, &device);
  if (code == EXIT_DONE && !cli->device) say(cli, "%s", noprop_device_reason(device));
  for (int i = 0; i < count && code == EXIT_DONE; i++) {
    snprintf(outcomes[i].variant, sizeof outcomes[i].variant, "%s", names[i]);
    code = fail_status(cli, noprop_config_set(config, "variant", names[i]));
    if (code == EXIT_DONE) code = find_folder(cli, stem, count > 1, &outcomes[i]);
    if (code == EXIT_DONE) code = train_one(cli, device, config, dataset, &outcomes[i]);
    if (code == EXIT_DONE && (cli->json || count == 1)) print_outcome(cli, &outcomes[i]);
  }
  if (code == EXIT_DONE && count > 1 && !cli->json) print_comparison(outcomes, count);
  noprop_dataset_destroy(dataset);
  noprop_device_close(device);
  noprop_config_destroy(config);
  free(outcomes);
  return code;
}

static const struct argument ARGUMENTS[] = {
    {ARGUMENT_OPERAND, "CONFIG.yaml", 0, NULL, "the configuration (noprop help config lists its keys)", 0, 1},
    {ARGUMENT_SETTING, "KEY=VALUE", 0, NULL,
     "any key by its dotted path: network.hidden=[64,64]; variant=fm,df,ct trains each", 0, 0},
    {ARGUMENT_TEXT, "--data", 0, "F", "data file, instead of data.file", 0, 0},
    {ARGUMENT_TEXT, "--run", 0, "DIR", "run folder (default: runs/NAME-VARIANT-NNN, the first number free)", 0, 0},
    {ARGUMENT_FLAG, "--resume", 0, NULL, "go on from the last checkpoint in --run DIR, with the same bits", 0, 0},
    {0}};

const struct command COMMAND_TRAIN = {
    "train",
    "trains a model and writes a run folder",
    ARGUMENTS,
    "The run folder holds config.yaml, model.h5, best.h5, history.csv, metrics.json, log.txt and pictures. Ctrl-C "
    "writes a\n"
    "checkpoint and says how to go on; a second one does not wait for the running step (virtual GPU). Resuming needs "
    "no CONFIG.yaml; only train.epochs and train.steps may then "
    "change.",
    "noprop train data/two_moons.yaml --data moons.h5\n"
    "noprop train data/two_moons.yaml --data moons.h5 variant=fm,df,ct\n"
    "noprop train data/two_moons.yaml network.hidden=[32,32] train.epochs=20 --run quick\n"
    "noprop train --resume --run quick train.epochs=40",
    run,
    true};
