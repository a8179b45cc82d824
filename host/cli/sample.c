/* noprop sample: draws from a generating model. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/cli.h"

enum { SAMPLES_DEFAULT = 1000 };

static size_t type_size(noprop_type type) {
  return type == NOPROP_TYPE_UINT8 ? 1 : type == NOPROP_TYPE_FLOAT64 ? sizeof(double) : sizeof(float);
}

static bool is_whole_number(const char *text) {
  if (*text == '-') text++;
  for (const char *c = text; *c; c++)
    if (!isdigit((unsigned char)*c)) return false;
  return *text != 0;
}

/* Conditions for `rows` samples: one label for all, or the rows of a file taken again and again. *values is to be
 * freed. */
static int make_condition(struct cli *cli, noprop_model *model, const char *name, long rows, noprop_array *condition,
                          void **values) {
  const noprop_model_shape *shape = noprop_model_get_shape(model);
  const char *text = argument_text(cli, "--condition", 0);
  if (shape->condition_width == 0)
    return text ? fail(cli, EXIT_USAGE, "this model takes no condition; leave out --condition") : EXIT_DONE;
  if (!text)
    return fail(cli, EXIT_USAGE, "this model samples given %s: add --condition FILE.h5%s", name,
                shape->condition_is_label ? " or a label" : "");
  if (is_whole_number(text)) {
    long label = strtol(text, NULL, 10);
    if (!shape->condition_is_label)
      return fail(cli, EXIT_USAGE, "the condition of this model is no label: give --condition FILE.h5");
    if (label < 0 || label >= shape->condition_width)
      return fail(cli, EXIT_USAGE, "--condition must be a label from 0 to %d, not %s", shape->condition_width - 1,
                  text);
    int32_t *labels = *values = malloc((size_t)rows * sizeof *labels);
    if (!labels) return fail(cli, EXIT_FAILED, "no memory for %ld conditions", rows);
    for (long row = 0; row < rows; row++) labels[row] = (int32_t)label;
    *condition = (noprop_array){.name = name,
                                .type = NOPROP_TYPE_INT32,
                                .rows = rows,
                                .width = 1,
                                .rank = 1,
                                .shape = {rows},
                                .values = labels};
    return EXIT_DONE;
  }
  noprop_dataset *dataset = NULL;
  const char *split = argument_text(cli, "--split", 0);
  noprop_status status = noprop_dataset_open(text, &dataset);
  if (status == NOPROP_OK) status = noprop_dataset_get(dataset, split ? split : "test", name, condition);
  if (status != NOPROP_OK || condition->rows < 1) {
    if (status == NOPROP_OK)
      fail(cli, EXIT_FAILED, "%s has no rows of %s", text, name);
    else
      fail_status(cli, status);
    noprop_dataset_destroy(dataset);
    return EXIT_FAILED;
  }
  size_t size = type_size(condition->type) * (size_t)condition->width;
  char *copy = *values = malloc((size_t)rows * size);
  for (long row = 0; copy && row < rows; row++)
    memcpy(copy + (size_t)row * size, (const char *)condition->values + (size_t)(row % condition->rows) * size, size);
  condition->name = name;
  condition->values = copy;
  condition->rows = condition->shape[0] = rows;
  noprop_dataset_destroy(dataset);
  return copy ? EXIT_DONE : fail(cli, EXIT_FAILED, "no memory for %ld conditions", rows);
}

/* Values rounded to whole numbers from 0 to 255. */
static void round_to_bytes(const float *values, size_t count, unsigned char *bytes) {
  for (size_t i = 0; i < count; i++)
    bytes[i] = (unsigned char)lroundf(values[i] > 0 ? fminf(values[i], 255) : 0); /* not a number: 0 */
}

static int draw(struct cli *cli, noprop_model *model, const noprop_data_roles *roles, long rows) {
  noprop_sampler_options options;
  noprop_array condition = {0};
  void *condition_values = NULL;
  float *output = NULL, *latent = NULL;
  double *log_density = NULL;
  noprop_solve_row *reports = NULL;
  long unfinished = 0;
  const bool density = argument_given(cli, "--density");
  noprop_dataset *file = NULL;
  const char *path = argument_text(cli, "--output", 0), *split = argument_text(cli, "--split", 0);
  if (!split) split = "test";
  const noprop_model_shape *shape = noprop_model_get_shape(model);
  const long width = shape->target_width;
  const int *sides = shape->target_shape;
  unsigned char *bytes = NULL;
  char *words = NULL;
  noprop_status status = NOPROP_OK;
  int code = solve_options(cli, model, &options);
  if (code == EXIT_DONE) code = make_condition(cli, model, roles->condition, rows, &condition, &condition_values);
  if (code != EXIT_DONE) goto done;
  output = malloc((size_t)rows * (size_t)width * sizeof *output);
  latent = malloc((size_t)rows * (size_t)noprop_model_latent_size(model) * sizeof *latent);
  reports = malloc((size_t)rows * sizeof *reports);
  if (density) log_density = malloc((size_t)rows * sizeof *log_density);
  if (argument_given(cli, "--bytes")) bytes = malloc((size_t)rows * (size_t)width);
  if (!output || !latent || !reports || (density && !log_density) || (argument_given(cli, "--bytes") && !bytes)) {
    code = fail(cli, EXIT_FAILED, "no memory for %ld samples", rows);
    goto done;
  }
  /* With a density, auto is another method and nothing is denoised. */
  if (!density) status = noprop_sampler_describe(model, &options, &words);
  if (status == NOPROP_OK && words) say(cli, "sampler: %s", words);
  noprop_free(words);
  if (status == NOPROP_OK)
    status = noprop_solve(model, &options, condition_values ? &condition : NULL, rows,
                          &(noprop_solve_results){latent, output, log_density, reports});
  if (status == NOPROP_OK) status = noprop_dataset_create(&file);
  noprop_array array = {.name = roles->target,
                        .type = NOPROP_TYPE_FLOAT32,
                        .rows = rows,
                        .width = width,
                        .rank = 2,
                        .shape = {rows, width},
                        .values = output};
  if (sides[0] > 0) {
    array.rank = sides[0] > 1 ? 4 : 3;
    for (int i = 1; i < array.rank; i++) array.shape[i] = sides[3 + i - array.rank];
  }
  if (status == NOPROP_OK && bytes) {
    round_to_bytes(output, (size_t)rows * (size_t)width, bytes);
    array.type = NOPROP_TYPE_UINT8;
    array.values = bytes;
  }
  if (status == NOPROP_OK) status = noprop_dataset_add(file, split, &array);
  array.type = NOPROP_TYPE_FLOAT32;
  array.rank = 2;
  array.name = "latent";
  array.values = latent;
  array.width = array.shape[1] = noprop_model_latent_size(model);
  if (status == NOPROP_OK) status = noprop_dataset_add(file, split, &array);
  if (status == NOPROP_OK && density)
    status = noprop_dataset_add(file, split,
                                &(noprop_array){.name = "log_density",
                                                .type = NOPROP_TYPE_FLOAT64,
                                                .rows = rows,
                                                .width = 1,
                                                .rank = 1,
                                                .shape = {rows},
                                                .values = log_density});
  if (status == NOPROP_OK)
    status = add_solve_rows(cli, file, split, reports, rows, noprop_sampler_is_adaptive(model, &options, density),
                            &unfinished);
  if (status == NOPROP_OK && condition_values) status = noprop_dataset_add(file, split, &condition);
  if (status == NOPROP_OK) status = noprop_dataset_save(file, path, "samples", NULL);
  if (status != NOPROP_OK) {
    code = fail_status(cli, status);
    goto done;
  }
  if (cli->json) {
    struct json json = {0};
    json_text(&json, "file", path);
    json_text(&json, "split", split);
    json_text(&json, "target", roles->target);
    json_integer(&json, "rows", rows);
    json_integer(&json, "width", width);
    json_integer(&json, "unfinished", unfinished);
    json_end(&json);
  } else {
    printf("%ld samples of %s written to %s, group %s\n", rows, roles->target, path, split);
  }
done:
  noprop_dataset_destroy(file);
  free(condition_values);
  free(output);
  free(bytes);
  free(latent);
  free(log_density);
  free(reports);
  return code;
}

static int run(struct cli *cli) {
  noprop_device *device = NULL;
  noprop_model *model = NULL;
  noprop_data_roles roles;
  if (!argument_given(cli, "--output")) return fail(cli, EXIT_USAGE, "sample needs -o OUT.h5");
  int code = open_device(cli, &device);
  if (code == EXIT_DONE) code = open_model(cli, device, argument_text(cli, "MODEL", 0), &model);
  if (code == EXIT_DONE && noprop_model_get_shape(model)->target_is_label)
    code = fail(cli, EXIT_USAGE, "this model predicts labels; use noprop predict");
  if (code == EXIT_DONE) code = fail_status(cli, noprop_config_data_roles(noprop_model_config(model), &roles));
  if (code == EXIT_DONE) code = draw(cli, model, &roles, argument_integer(cli, "--number", SAMPLES_DEFAULT));
  noprop_model_destroy(model);
  noprop_device_close(device);
  return code;
}

static const struct argument ARGUMENTS[] = {
    {ARGUMENT_OPERAND, "MODEL", 0, NULL, "a model file or a run folder", 1, 1},
    {ARGUMENT_INTEGER, "--number", 'n', "N", "how many samples (default 1000)", 1, 1e9},
    {ARGUMENT_TEXT, "--condition", 0, "C", "a label for all samples, or a data file whose rows are taken in turn", 0,
     0},
    {ARGUMENT_TEXT, "--output", 'o', "OUT.h5", "file to write", 0, 0},
    {ARGUMENT_INTEGER, "--seed", 0, "K", "seed of the noise: same seed, same samples", 0, 9e15},
    {ARGUMENT_TEXT, "--split", 0, "S", "group to write, and to read conditions from (default test)", 0, 0},
    SOLVE_ARGUMENTS,
    {ARGUMENT_FLAG, "--bytes", 0, NULL, "write whole numbers from 0 to 255, as images of bytes have them", 0, 0},
    {ARGUMENT_FLAG, "--density", 0, NULL, "also write log_density [rows] in nats: drift ode, no final denoising", 0, 0},
    PROBES_ARGUMENT,
    {0}};

const struct command COMMAND_SAMPLE = {
    "sample",
    "draws new targets from a generating model",
    ARGUMENTS,
    "Writes group SPLIT with the target's name (x [rows][width], images in the shape "
    "of the data, in its units), latent, and the conditions used.",
    "noprop sample runs/gaussians-fm-001 -n 5000 -o samples.h5\nnoprop sample "
    "model.h5 -n 64 --condition 3 --seed 7 --calls 20 -o threes.h5",
    run,
    true};
