/* noprop logprob: log densities of given rows under a model's flow. */
#include <math.h>
#include <stdlib.h>

#include "host/cli/cli.h"

static const double LN2 = 0.69314718055994530942;

static noprop_status write_file(struct cli *cli, const struct split_rows *rows, const double *log_density,
                                const float *latent, const noprop_solve_row *reports, long width, bool adaptive,
                                long *unfinished) {
  const long count = rows->target.rows;
  noprop_dataset *file = NULL;
  noprop_array array = {.name = "log_density",
                        .type = NOPROP_TYPE_FLOAT64,
                        .rows = count,
                        .width = 1,
                        .rank = 1,
                        .shape = {count},
                        .values = log_density};
  noprop_status status = noprop_dataset_create(&file);
  if (status == NOPROP_OK) status = noprop_dataset_add(file, rows->split, &array);
  array = (noprop_array){.name = "latent",
                         .type = NOPROP_TYPE_FLOAT32,
                         .rows = count,
                         .width = width,
                         .rank = 2,
                         .shape = {count, width},
                         .values = latent};
  if (status == NOPROP_OK) status = noprop_dataset_add(file, rows->split, &array);
  if (status == NOPROP_OK) status = add_solve_rows(cli, file, rows->split, reports, count, adaptive, unfinished);
  if (status == NOPROP_OK)
    status = noprop_dataset_save(file, argument_text(cli, "--output", 0), "log densities in nats", NULL);
  noprop_dataset_destroy(file);
  return status;
}

static int compute(struct cli *cli, noprop_model *model, const struct split_rows *rows) {
  const long count = rows->target.rows, width = noprop_model_get_shape(model)->target_width;
  noprop_sampler_options options;
  int code = solve_options(cli, model, &options);
  if (code != EXIT_DONE) return code;
  double *log_density = malloc((size_t)count * sizeof *log_density);
  float *latent = malloc((size_t)count * (size_t)width * sizeof *latent);
  noprop_solve_row *reports = malloc((size_t)count * sizeof *reports);
  long unfinished = 0, used = 0;
  double sum = 0;
  if (!log_density || !latent || !reports) {
    code = fail(cli, EXIT_FAILED, "no memory for %ld rows", count);
    goto done;
  }
  noprop_status status = noprop_log_density(model, &options, rows->has_condition ? &rows->condition : NULL,
                                            &rows->target, log_density, latent, reports);
  if (status == NOPROP_OK)
    status = write_file(cli, rows, log_density, latent, reports, width,
                        noprop_sampler_is_adaptive(model, &options, true), &unfinished);
  if (status != NOPROP_OK) {
    code = fail_status(cli, status);
    goto done;
  }
  for (long row = 0; row < count; row++) {
    if (!isfinite(log_density[row])) continue;
    sum += log_density[row];
    used++;
  }
  const double mean = used > 0 ? sum / (double)used : NAN;
  if (cli->json) {
    struct json json = {0};
    json_text(&json, "file", argument_text(cli, "--output", 0));
    json_text(&json, "split", rows->split);
    json_integer(&json, "rows", count);
    json_number(&json, "log_density", mean);
    json_number(&json, "bits_per_dimension", -mean / (double)width / LN2);
    json_integer(&json, "unfinished", unfinished);
    json_end(&json);
  } else {
    printf("%ld rows of %s: mean log density %.6g nats (%.6g bits per dimension), written to %s\n", count, rows->split,
           mean, -mean / (double)width / LN2, argument_text(cli, "--output", 0));
  }
done:
  free(log_density);
  free(latent);
  free(reports);
  return code;
}

static const char *labels_refused(const noprop_model_shape *shape) {
  return shape->target_is_label
             ? "this model predicts labels, which have no density; noprop predict gives probabilities"
             : NULL;
}

static int run(struct cli *cli) {
  if (!argument_given(cli, "--output")) return fail(cli, EXIT_USAGE, "logprob needs -o OUT.h5");
  return with_model_and_rows(cli, true, labels_refused, compute);
}

static const struct argument ARGUMENTS[] = {
    {ARGUMENT_OPERAND, "MODEL", 0, NULL, "a model file or a run folder", 1, 1},
    {ARGUMENT_TEXT, "--data", 0, "F", "data file with the rows (default: the one the model was trained on)", 0, 0},
    {ARGUMENT_TEXT, "--output", 'o', "OUT.h5", "file to write", 0, 0},
    {ARGUMENT_TEXT, "--split", 0, "S", "train, validation or test (default)", 0, 0},
    SOLVE_ARGUMENTS,
    PROBES_ARGUMENT,
    {ARGUMENT_INTEGER, "--seed", 0, "K", "seed of the probes, where there are any", 0, 9e15},
    {0}};

const struct command COMMAND_LOGPROB = {
    "logprob",
    "gives log densities of data under a model",
    ARGUMENTS,
    "Writes group SPLIT with log_density [rows] in nats of the data's units, and latent [rows][width], the state at t "
    "= 0 "
    "that\n"
    "each row comes from. The rows are integrated from t = 1 to 0 by the probability-flow ODE and the trace of its "
    "Jacobian;\n"
    "methods euler, midpoint, heun, rk4, bosh3, dopri5 (auto: dopri5, which adds outcome, calls, steps and rejections "
    "[rows]).\n"
    "Traces are exact, by as many tangents as the target is wide, or estimated by --probes.",
    "noprop logprob runs/generate_2d-fm-001 --data moons.h5 -o densities.h5\n"
    "noprop logprob model.h5 --data images.h5 --probes 4 --rtol 1e-3 -o densities.h5",
    run,
    true};
