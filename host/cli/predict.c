/* noprop predict: from conditions to targets, into a data file of the same layout. */
#include <stdlib.h>
#include <string.h>

#include "host/cli/cli.h"

/* Class scores are the predicted one-hot target, which nothing forces to be a distribution: clipped at 0 and scaled. */
static void scores_to_labels(const float *scores, long rows, long classes, int32_t *labels, float *probabilities) {
  for (long row = 0; row < rows; row++) {
    const float *score = scores + row * classes;
    float *probability = probabilities + row * classes;
    long best = 0;
    double sum = 0;
    for (long i = 0; i < classes; i++) {
      if (score[i] > score[best]) best = i;
      sum += score[i] > 0 ? score[i] : 0;
    }
    for (long i = 0; i < classes; i++)
      probability[i] = sum > 0 ? (float)((score[i] > 0 ? score[i] : 0) / sum) : i == best ? 1 : 0;
    labels[row] = (int32_t)best;
  }
}

/* [points][rows][width] to [rows][points][width]: files have rows first. */
static void rows_first(const float *from, long points, long rows, long width, float *to) {
  for (long point = 0; point < points; point++)
    for (long row = 0; row < rows; row++)
      memcpy(to + (row * points + point) * width, from + (point * rows + row) * width, (size_t)width * sizeof *to);
}

struct solved {
  float *output, *latent, *output_path, *latent_path, *probabilities;
  int32_t *labels;
  noprop_solve_row *rows;
};

static noprop_status add(noprop_dataset *file, const char *split, const char *name, noprop_type type, long rows,
                         long points, long width, const void *values) {
  noprop_array array = {.name = name, .type = type, .rows = rows, .values = values};
  array.shape[array.rank++] = rows;
  if (points > 0) array.shape[array.rank++] = points;
  if (width > 0) array.shape[array.rank++] = width;
  array.width = (points > 0 ? points : 1) * (width > 0 ? width : 1);
  return noprop_dataset_add(file, split, &array);
}

static int solve(struct cli *cli, noprop_model *model, const struct split_rows *rows, const noprop_data_roles *roles,
                 struct solved *solved) {
  noprop_sampler_options options;
  int code = solve_options(cli, model, &options);
  if (code != EXIT_DONE) return code;
  options.trajectory = argument_given(cli, "--trajectory");
  const noprop_model_shape *shape = noprop_model_get_shape(model);
  const long count = rows->condition.rows, width = shape->target_width, latent = noprop_model_latent_size(model);
  char *words = NULL;
  noprop_status status = noprop_sampler_describe(model, &options, &words);
  if (status != NOPROP_OK) return fail_status(cli, status);
  say(cli, "sampler: %s", words);
  noprop_free(words);
  int points = 1;
  if (options.trajectory) {
    status = noprop_trajectory_times(model, &options, NULL, &points);
    if (status != NOPROP_OK) return fail_status(cli, status);
  }
  const size_t states = (size_t)points * (size_t)count, values = states * (size_t)width;
  const size_t latents = states * (size_t)latent;
  solved->output = malloc(values * sizeof *solved->output);
  solved->latent = malloc(latents * sizeof *solved->latent);
  solved->labels = malloc((size_t)count * sizeof *solved->labels);
  solved->rows = malloc((size_t)count * sizeof *solved->rows);
  solved->probabilities = malloc((size_t)count * (size_t)width * sizeof *solved->probabilities);
  if (options.trajectory) {
    solved->output_path = malloc(values * sizeof *solved->output_path);
    solved->latent_path = malloc(latents * sizeof *solved->latent_path);
  }
  if (!solved->output || !solved->latent || !solved->labels || !solved->probabilities || !solved->rows ||
      (options.trajectory && (!solved->output_path || !solved->latent_path)))
    return fail(cli, EXIT_FAILED, "no memory for %ld rows", count);
  const noprop_solve_results results = {.latent = solved->latent, .output = solved->output, .rows = solved->rows};
  long unfinished = 0;
  status = noprop_solve(model, &options, &rows->condition, count, &results);
  if (status != NOPROP_OK) return fail_status(cli, status);

  const char *path = argument_text(cli, "--output", 0);
  const size_t last = (size_t)(points - 1) * (size_t)count * (size_t)width;
  noprop_dataset *file = NULL;
  status = noprop_dataset_create(&file);
  if (shape->target_is_label) {
    scores_to_labels(solved->output + last, count, width, solved->labels, solved->probabilities);
    if (status == NOPROP_OK)
      status = add(file, rows->split, roles->target, NOPROP_TYPE_INT32, count, 0, 0, solved->labels);
    if (status == NOPROP_OK)
      status = add(file, rows->split, "probabilities", NOPROP_TYPE_FLOAT32, count, 0, width, solved->probabilities);
  } else if (status == NOPROP_OK) {
    status = add(file, rows->split, roles->target, NOPROP_TYPE_FLOAT32, count, 0, width, solved->output + last);
  }
  if (status == NOPROP_OK)
    status = add(file, rows->split, "latent", NOPROP_TYPE_FLOAT32, count, 0, latent,
                 solved->latent + (latents - (size_t)count * (size_t)latent));
  if (status == NOPROP_OK && options.trajectory) {
    rows_first(solved->output, points, count, width, solved->output_path);
    rows_first(solved->latent, points, count, latent, solved->latent_path);
    status = add(file, rows->split, "trajectory", NOPROP_TYPE_FLOAT32, count, points, width, solved->output_path);
    if (status == NOPROP_OK)
      status =
          add(file, rows->split, "latent_trajectory", NOPROP_TYPE_FLOAT32, count, points, latent, solved->latent_path);
  }
  if (status == NOPROP_OK)
    status = add_solve_rows(cli, file, rows->split, solved->rows, count,
                            noprop_sampler_is_adaptive(model, &options, false), &unfinished);
  if (status == NOPROP_OK) status = noprop_dataset_save(file, path, "predictions", NULL);
  noprop_dataset_destroy(file);
  if (status != NOPROP_OK) {
    fail_status(cli, status);
    return EXIT_FAILED;
  }
  if (cli->json) {
    struct json json = {0};
    json_text(&json, "file", path);
    json_text(&json, "split", rows->split);
    json_text(&json, "target", roles->target);
    json_integer(&json, "rows", count);
    json_integer(&json, "width", width);
    json_integer(&json, "unfinished", unfinished);
    json_end(&json);
  } else {
    printf("%ld rows of %s/%s written to %s\n", count, rows->split, roles->target, path);
  }
  return EXIT_DONE;
}

static int predict(struct cli *cli, noprop_model *model, const struct split_rows *rows) {
  noprop_data_roles roles;
  struct solved solved = {0};
  int code = fail_status(cli, noprop_config_data_roles(noprop_model_config(model), &roles));
  if (code == EXIT_DONE) code = solve(cli, model, rows, &roles, &solved);
  free(solved.output);
  free(solved.latent);
  free(solved.output_path);
  free(solved.latent_path);
  free(solved.probabilities);
  free(solved.labels);
  free(solved.rows);
  return code;
}

static const char *no_condition(const noprop_model_shape *shape) {
  return shape->condition_width == 0 ? "this model has no condition to predict from; noprop sample draws from it"
                                     : NULL;
}

static int run(struct cli *cli) {
  if (!argument_given(cli, "--output")) return fail(cli, EXIT_USAGE, "predict needs -o OUT.h5");
  return with_model_and_rows(cli, false, no_condition, predict);
}

static const struct argument ARGUMENTS[] = {
    {ARGUMENT_OPERAND, "MODEL", 0, NULL, "a model file or a run folder", 1, 1},
    {ARGUMENT_TEXT, "--data", 0, "F", "data file with the conditions (default: the one the model was trained on)", 0,
     0},
    {ARGUMENT_TEXT, "--output", 'o', "OUT.h5", "file to write", 0, 0},
    {ARGUMENT_TEXT, "--split", 0, "S", "train, validation or test (default)", 0, 0},
    SOLVE_ARGUMENTS,
    {ARGUMENT_INTEGER, "--seed", 0, "K", "seed of the normal start, where there is one", 0, 9e15},
    {ARGUMENT_FLAG, "--trajectory", 0, NULL, "also write the way from t = 0 to 1: [rows][points][width]", 0, 0},
    {0}};

const struct command COMMAND_PREDICT = {
    "predict",
    "predicts targets from conditions",
    ARGUMENTS,
    "Writes group SPLIT with the target's name: integer labels [rows] and probabilities [rows][classes] for classify, "
    "numbers\n"
    "[rows][width] in the units of the data otherwise; and latent, the state at t = 1. --steps sets the steps of the "
    "solve;\n"
    "--calls bounds network calls per row, of which a step takes one (euler, exponential, dpm2m), two (midpoint, heun) "
    "or\n"
    "four (rk4), three or six (bosh3, dopri5: also outcome, calls, steps and rejections of every row). --trajectory "
    "adds trajectory and latent_trajectory.",
    "noprop predict runs/two_moons-ct-001 --data moons.h5 -o predictions.h5\n"
    "noprop predict model.h5 --data moons.h5 -o p.h5 --split validation --calls 5 --trajectory",
    run,
    true};
