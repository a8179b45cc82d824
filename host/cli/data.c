/* noprop data: makes data files, by generators and converters. */
#include <stdlib.h>
#include <string.h>

#include "host/cli/cli.h"

enum { ROWS_DEFAULT = 8000 };

static const char *const GENERATORS[] = {"two-moons", "gaussians", "checkerboard", "lorenz"};
static const char *const CONVERTERS[] = {"fashion-mnist", "idx", "csv", "npz", "cifar"};
enum { GENERATOR_COUNT = 4, CONVERTER_COUNT = 5 };

static bool is_one_of(const char *kind, const char *const *names, int count) {
  for (int i = 0; i < count; i++)
    if (strcmp(kind, names[i]) == 0) return true;
  return false;
}

static int unknown_kind(struct cli *cli, const char *kind) {
  const char *all[GENERATOR_COUNT + CONVERTER_COUNT];
  for (int i = 0; i < GENERATOR_COUNT; i++) all[i] = GENERATORS[i];
  for (int i = 0; i < CONVERTER_COUNT; i++) all[GENERATOR_COUNT + i] = CONVERTERS[i];
  const char *near = nearest_name(kind, all, GENERATOR_COUNT + CONVERTER_COUNT);
  if (near) return fail(cli, EXIT_USAGE, "there is no data \"%s\"; did you mean \"%s\"?", kind, near);
  return fail(cli, EXIT_USAGE,
              "there is no data \"%s\"; there are two-moons, gaussians, checkerboard, lorenz, fashion-mnist, idx, csv, "
              "npz and cifar",
              kind);
}

/* Options of the other kind of source are a mistake, not to be passed over. */
static int refuse_options(struct cli *cli, const char *kind, const char *const *names) {
  for (; *names; names++)
    if (argument_given(cli, *names))
      return fail(cli, EXIT_USAGE, "%s does not take %s; see noprop help data", kind, *names);
  return EXIT_DONE;
}

static void print_result(struct cli *cli, const noprop_dataset *dataset, const char *path) {
  struct json json = {0};
  if (cli->json)
    json_text(&json, "file", path);
  else
    printf("%s written:", path);
  const char *split;
  for (int s = 0; (split = noprop_dataset_split_at(dataset, s)) != NULL; s++) {
    const char *name = noprop_dataset_array_at(dataset, split, 0);
    noprop_array array = {0};
    char key[80];
    if (!name || noprop_dataset_peek(dataset, split, name, &array) != NOPROP_OK) continue;
    snprintf(key, sizeof key, "rows_%.60s", split);
    if (cli->json)
      json_integer(&json, key, array.rows);
    else
      printf("%s %ld %s rows", s ? "," : "", array.rows, split);
  }
  if (cli->json)
    json_end(&json);
  else
    printf("\n");
}

static int run(struct cli *cli) {
  static const char *const of_converters[] = {"--from", "--labels", "--target", "--validation", "--test", NULL};
  static const char *const of_generators[] = {"--rows", "--noise", "--prefix", "--horizon", NULL};
  static const char *const of_lorenz[] = {"--prefix", "--horizon", NULL};
  static const char *const of_tables[] = {"--labels", "--target", NULL};
  static const char *const of_test_rows[] = {"--test", NULL};
  static const char *const of_files[] = {"--labels", "--target", "--validation", "--test", NULL};
  const char *kind = argument_text(cli, "KIND", 0), *path = argument_text(cli, "OUT.h5", 0);
  const char *seed = argument_text(cli, "--seed", 0);
  noprop_dataset *dataset = NULL;
  noprop_status status;
  int code;
  if (is_one_of(kind, GENERATORS, GENERATOR_COUNT)) {
    code = refuse_options(cli, kind, of_converters);
    if (code != EXIT_DONE) return code;
    const bool lorenz = strcmp(kind, "lorenz") == 0;
    if (!lorenz) code = refuse_options(cli, kind, of_lorenz);
    if (code != EXIT_DONE) return code;
    const long rows = argument_integer(cli, "--rows", ROWS_DEFAULT);
    const double noise = argument_number(cli, "--noise", -1);
    const uint64_t number = seed ? strtoull(seed, NULL, 10) : 0;
    status = lorenz
                 ? noprop_dataset_generate_lorenz(rows, (int)argument_integer(cli, "--prefix", 6),
                                                  (int)argument_integer(cli, "--horizon", 6), noise, number, &dataset)
                 : noprop_dataset_generate(kind, rows, noise, number, &dataset);
  } else if (is_one_of(kind, CONVERTERS, CONVERTER_COUNT)) {
    noprop_convert_options options = {.input = argument_text(cli, "--from", 0),
                                      .labels = argument_text(cli, "--labels", 0),
                                      .target = argument_text(cli, "--target", 0),
                                      .validation = argument_number(cli, "--validation", -1),
                                      .test = argument_number(cli, "--test", -1),
                                      .seed = seed ? strtoull(seed, NULL, 10) : 0};
    code = refuse_options(cli, kind, of_generators);
    if (code == EXIT_DONE && strcmp(kind, "fashion-mnist") == 0) code = refuse_options(cli, kind, of_files);
    if (code == EXIT_DONE && (strcmp(kind, "npz") == 0 || strcmp(kind, "cifar") == 0))
      code = refuse_options(cli, kind, of_tables);
    if (code == EXIT_DONE && strcmp(kind, "cifar") == 0) code = refuse_options(cli, kind, of_test_rows);
    if (code == EXIT_DONE && !options.input && strcmp(kind, "fashion-mnist") != 0)
      code = fail(cli, EXIT_USAGE, "data %s needs --from: what to convert", kind);
    if (code != EXIT_DONE) return code;
    status = noprop_dataset_convert(kind, &options, &dataset);
  } else {
    return unknown_kind(cli, kind);
  }
  if (status == NOPROP_OK) status = noprop_dataset_save(dataset, path, NULL, NULL);
  if (status == NOPROP_OK)
    print_result(cli, dataset, path);
  else
    fail_status(cli, status);
  noprop_dataset_destroy(dataset);
  return status == NOPROP_OK ? EXIT_DONE : EXIT_FAILED;
}

static const struct argument ARGUMENTS[] = {
    {ARGUMENT_OPERAND, "KIND", 0, NULL,
     "two-moons, gaussians, checkerboard, lorenz; fashion-mnist, idx, csv, npz, cifar", 1, 1},
    {ARGUMENT_OPERAND, "OUT.h5", 0, NULL, "data file to write", 1, 1},
    {ARGUMENT_INTEGER, "--rows", 0, "N",
     "generators: training rows (default 8000); half as many to validate and to test", 2, 1e9},
    {ARGUMENT_NUMBER, "--noise", 0, "S", "generators: standard deviation of the noise (default: the kind's own)", 0,
     1e6},
    {ARGUMENT_INTEGER, "--prefix", 0, "N", "lorenz: points of the condition x (default 6)", 1, 256},
    {ARGUMENT_INTEGER, "--horizon", 0, "N", "lorenz: points of the target y (default 6)", 1, 256},
    {ARGUMENT_INTEGER, "--seed", 0, "K", "seed of generators, and of the shuffle before a split (default 0)", 0, 9e15},
    {ARGUMENT_TEXT, "--from", 0, "PATH",
     "converters: folder of idx or CIFAR files, idx file of images, csv or npz file", 0, 0},
    {ARGUMENT_TEXT, "--labels", 0, "F", "idx: the file of labels that goes with a file of images", 0, 0},
    {ARGUMENT_TEXT, "--target", 0, "COLUMN", "csv: name or number (from 0) of the target's column (default: the last)",
     0, 0},
    {ARGUMENT_NUMBER, "--validation", 0, "SHARE",
     "idx file, csv, npz, cifar: share of the rows to validate (default 0.1)", 0, 0.9},
    {ARGUMENT_NUMBER, "--test", 0, "SHARE", "idx file, csv, npz: share of the rows to test (default 0.1)", 0, 0.9},
    {0}};

const struct command COMMAND_DATA = {
    "data",
    "makes a data file: two-moons, gaussians, checkerboard, lorenz, fashion-mnist, idx, csv, npz, cifar",
    ARGUMENTS,
    "two-moons: two half circles, noise 0.1. gaussians: 8 on a circle of radius 5, std 0.56. checkerboard: 4 x 4 on "
    "[-4,4]^2.\n"
    "Each has points x [rows][2] and labels y. lorenz: the first points x [rows][6][3] of a window of the Lorenz "
    "system, "
    "and\nthose that follow, y [rows][6][3]. fashion-mnist is read from Debian's package dataset-fashion-mnist, or "
    "--from a\n"
    "folder of idx files; cifar from a folder of its binary version. npz: arrays x and y, or x_train, y_train, x_test, "
    "y_test.\nA data file has groups train, validation and test, each with arrays that have rows first.",
    "noprop data two-moons moons.h5 --noise 0.2 --rows 500 --seed 1\nnoprop data fashion-mnist fashion.h5\n"
    "noprop data csv wine.h5 --from wine.csv --target quality",
    run,
    false};
