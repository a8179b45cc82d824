/* noprop evaluate: the metrics of the model's task on one split. */
#include "host/cli/cli.h"

/* Forecasts of sequences: percent of the variance explained, mean over the horizon and at its last step. */
struct explained {
  bool has;
  double mean, last;
};

static noprop_status explain(noprop_model *model, const noprop_sampler_options *options, const noprop_array *condition,
                             const noprop_array *target, struct explained *explained) {
  noprop_forecast forecast;
  explained->has = noprop_is_forecast(condition, target);
  if (!explained->has) return NOPROP_OK;
  const noprop_status status = noprop_forecast_measure(model, options, NULL, NULL, condition, target, NULL, &forecast);
  if (status != NOPROP_OK) return status;
  explained->mean = 0;
  for (int h = 0; h < forecast.horizon; h++) explained->mean += forecast.model[h] / forecast.horizon;
  explained->last = forecast.model[forecast.horizon - 1];
  noprop_forecast_free(&forecast);
  return NOPROP_OK;
}

static int report(struct cli *cli, noprop_model *model, const struct split_rows *rows) {
  noprop_sampler_options options;
  noprop_metrics metrics;
  noprop_loss_terms terms;
  noprop_bound_terms bound;
  struct explained explained = {false, 0, 0};
  char *solve = NULL;
  int code = solve_options(cli, model, &options);
  if (code != EXIT_DONE) return code;
  const noprop_array *condition = rows->has_condition ? &rows->condition : NULL;
  noprop_status status = noprop_sampler_describe(model, &options, &solve);
  if (status == NOPROP_OK) say(cli, "sampler: %s", solve);
  noprop_free(solve);
  if (status == NOPROP_OK) status = noprop_evaluate(model, &options, condition, &rows->target, &metrics);
  if (status == NOPROP_OK) status = noprop_model_validate(model, condition, &rows->target, &terms);
  if (status == NOPROP_OK) status = explain(model, &options, condition, &rows->target, &explained);
  const char *refusal = noprop_bound_refusal(model);
  if (status == NOPROP_OK && !refusal) status = noprop_bound(model, condition, &rows->target, &bound);
  if (status == NOPROP_OK && refusal) say(cli, "no nelbo_nats: %s", refusal);
  if (status != NOPROP_OK) return fail_status(cli, status);
  if (cli->json) {
    struct json json = {0};
    json_text(&json, "split", rows->split);
    metrics_json(&json, &metrics);
    if (explained.has) {
      json_number(&json, "variance_explained", explained.mean);
      json_number(&json, "variance_explained_last", explained.last);
    }
    json_number(&json, "loss", terms.loss);
    json_number(&json, "flow", terms.flow);
    json_number(&json, "recon", terms.recon);
    json_number(&json, "reg", terms.reg);
    json_number(&json, "vae", terms.vae);
    json_number(&json, "kl_z0", terms.kl_z0);
    if (!refusal) {
      json_number(&json, "nelbo_nats", bound.nelbo_nats);
      json_number(&json, "nelbo_error", bound.standard_error);
      json_number(&json, "nelbo_divergence", bound.divergence);
      json_number(&json, "nelbo_diffusion", bound.diffusion);
      json_number(&json, "nelbo_reconstruction", bound.reconstruction);
    }
    json_end(&json);
    return EXIT_DONE;
  }
  struct table *table = table_create(2);
  table_cell(table, "split");
  table_cell(table, "%s", rows->split);
  metrics_table(table, &metrics);
  if (explained.has) {
    table_cell(table, "explained");
    table_cell(table, "%.2f %% of the variance, mean over the horizon; %.2f %% at its last step", explained.mean,
               explained.last);
  }
  table_cell(table, "loss");
  table_cell(table, "%.6g", terms.loss);
  if (!refusal) {
    table_cell(table, "nelbo_nats");
    table_cell(table, "%.6g +- %.2g", bound.nelbo_nats, bound.standard_error);
  }
  table_print(table);
  return EXIT_DONE;
}

static int run(struct cli *cli) { return with_model_and_rows(cli, true, NULL, report); }

static const struct argument ARGUMENTS[] = {
    {ARGUMENT_OPERAND, "MODEL", 0, NULL, "a model file or a run folder", 1, 1},
    {ARGUMENT_TEXT, "--data", 0, "F", "data file (default: the one the model was trained on)", 0, 0},
    {ARGUMENT_TEXT, "--split", 0, "S", "train, validation or test (default)", 0, 0},
    SOLVE_ARGUMENTS,
    {ARGUMENT_INTEGER, "--seed", 0, "K", "seed of the normal start, where there is one", 0, 9e15},
    {0}};

const struct command COMMAND_EVALUATE = {
    "evaluate",
    "metrics of a model on data: accuracy, errors, distances",
    ARGUMENTS,
    "classify: accuracy, and mse of the one-hot target. regress: mse, mae and r2 in the units of the data; of "
    "forecasts of "
    "sequences\n"
    "also the percent of the variance that is explained. generate: sliced Wasserstein-2 and energy distance between "
    "samples and data. loss: the training loss on fixed noise. nelbo_nats: "
    "the\n"
    "bound of minus the log likelihood (labels: log probability; vectors: log density in the data's units) with its\n"
    "Monte-Carlo error, where the model has one.",
    "noprop evaluate runs/two_moons-ct-001\nnoprop evaluate model.h5 --data new.h5 --split validation --calls 5 --json",
    run,
    true};
