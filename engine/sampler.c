/* Options of a solve: defaults, resolution, refusals, description. */
#include "engine/sampler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/schedule.h"
#include "engine/status.h"

enum { SAMPLER_MAX_STEPS = 1000000 };

/* ---- options ---- */

noprop_sampler_options noprop_sampler_options_default(const noprop_model *model) {
  noprop_sampler_options options = {.steps = 20,
                                    .final_denoise = -1,
                                    .ema = true,
                                    .churn = 1,
                                    .guidance = 1,
                                    .rtol = 1e-4,
                                    .atol = 1e-5,
                                    .max_steps = 1000};
  struct settings none = {.sample = {.method = METHOD_AUTO, .grid = GRID_AUTO, .init = INIT_AUTO, .drift = DRIFT_ODE}};
  const struct settings *s = model ? &model->settings : &none;
  snprintf(options.method, sizeof options.method, "%s", METHOD_NAMES[s->sample.method].name);
  snprintf(options.grid, sizeof options.grid, "%s", GRID_NAMES[s->sample.grid].name);
  snprintf(options.init, sizeof options.init, "%s", INIT_NAMES[s->sample.init].name);
  snprintf(options.drift, sizeof options.drift, "%s", DRIFT_NAMES[s->sample.drift].name);
  if (model) {
    options.steps = s->sample.steps;
    options.final_denoise = s->sample.final_denoise;
    options.seed = s->seed;
    options.churn = s->sample.churn;
    options.guidance = s->sample.guidance;
    options.rtol = s->sample.rtol;
    options.atol = s->sample.atol;
    options.max_steps = s->sample.max_steps;
    options.probes = s->sample.probes;
    if (s->sample.grid == GRID_USER) {
      options.times = s->sample.times;
      options.steps = s->sample.time_count - 1;
    }
  }
  return options;
}

/* The number of a named choice; `text` is a member of the options of `size` bytes. */
static noprop_status find(const char *option, const option_name *list, int count, const char *text, size_t size,
                          int *found) {
  char allowed[256] = "";
  *found = memchr(text, '\0', size) ? option_find(list, text) : -1;
  if (*found >= 0) return NOPROP_OK;
  for (int i = 0; i < count; ++i) {
    const size_t length = strlen(allowed);
    snprintf(allowed + length, sizeof allowed - length, "%s%s", i ? ", " : "", list[i].name);
  }
  return status_set(NOPROP_INVALID_ARGUMENT, "sampler option %s is \"%.*s\"; allowed are %s", option, (int)size, text,
                    allowed);
}

static int calls_per_step(int method) {
  switch (method) {
    case METHOD_MIDPOINT:
    case METHOD_HEUN:
      return 2;
    case METHOD_RK4:
      return 4;
    case METHOD_BOSH3:
      return 3;
    case METHOD_ADAPTIVE_COMPAT:
      return 5;
    case METHOD_DOPRI5:
      return 6;
    default:
      return 1;
  }
}

/* Calls before the first step: a derivative and a trial step to find its size. */
static int calls_before(int method) { return method == METHOD_BOSH3 || method == METHOD_DOPRI5 ? 2 : 0; }

static int auto_method(const noprop_model *model, const noprop_sampler_options *options, int drift) {
  if (drift == DRIFT_SDE) return METHOD_DPM2M;
  if (!schedule_path_is_linear(&model->settings)) return drift == DRIFT_ODE ? METHOD_DPM2M : METHOD_MIDPOINT;
  const long budget = options->calls > 0 ? options->calls : 2L * options->steps;
  return budget < 10 ? METHOD_EULER : METHOD_MIDPOINT;
}

static noprop_status check_times(const noprop_sampler_options *options) {
  if (!options->times)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option grid is \"user\", but times is NULL; steps + 1 times are needed");
  if (options->calls > 0)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option calls is %d with grid \"user\"; the times already give the steps",
                      options->calls);
  for (int i = 0; i <= options->steps; ++i) {
    const double t = options->times[i];
    if (!(i == 0 ? t == 0.0 : t > options->times[i - 1]) || (i == options->steps && t != 1.0))
      return status_set(NOPROP_INVALID_ARGUMENT,
                        "sampler option times: entry %d is %g; times must start at 0, increase and end at 1", i, t);
  }
  return NOPROP_OK;
}

/* Steps from the calls that are allowed, or calls from the steps. */
static noprop_status set_steps(const noprop_model *model, const noprop_sampler_options *options,
                               struct sampler_plan *plan) {
  const bool scored = model->network->mixture; /* the last state goes through the network for its classes */
  const bool adaptive = solve_is_adaptive(plan->method) && plan->method != METHOD_ADAPTIVE_COMPAT;
  const int passes = plan->form.guided ? 2 : 1, each = calls_per_step(plan->method) * passes;
  const int before = calls_before(plan->method) * passes, last = plan->final_denoise || scored ? passes : 0,
            extra = before + last;
  plan->steps = options->steps;
  plan->max_steps = adaptive ? options->max_steps : 0;
  if (options->calls > 0) {
    const int steps = (options->calls - extra) / each;
    if (steps < 1) {
      char parts[64] = "";
      if (before) snprintf(parts, sizeof parts, ", %d before the first", before);
      if (last)
        snprintf(parts + strlen(parts), sizeof parts - strlen(parts), ", %d for %s", last,
                 scored ? "the classes" : "final_denoise");
      return status_set(NOPROP_INVALID_ARGUMENT,
                        "sampler option calls is %d; method %s needs at least %d (%d a step%s)", options->calls,
                        METHOD_NAMES[plan->method].name, each + extra, each, parts);
    }
    if (!adaptive)
      plan->steps = steps;
    else if (steps < plan->max_steps)
      plan->max_steps = steps;
  }
  if (plan->steps > SAMPLER_MAX_STEPS)
    return status_set(NOPROP_INVALID_ARGUMENT, "sampler options ask for %d steps; at most %d are allowed", plan->steps,
                      SAMPLER_MAX_STEPS);
  plan->calls = (adaptive ? plan->max_steps : plan->steps) * each + extra;
  return NOPROP_OK;
}

static noprop_status check_numbers(const noprop_sampler_options *options) {
  const struct {
    const char *name;
    double value, least, most;
    const char *allowed;
  } numbers[] = {{"churn", options->churn, 0, 1, "0 to 1"},
                 {"guidance", options->guidance, 0, 1000, "0 to 1000"},
                 {"rtol", options->rtol, 1e-7, 1, "1e-7 to 1"},
                 {"atol", options->atol, 1e-8, 1, "1e-8 to 1"},
                 {"max_steps", options->max_steps, 1, SAMPLER_MAX_STEPS, "1 to 1000000"},
                 {"probes", options->probes, 0, 65535, "0 (exact traces) to 65535"}};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; ++i)
    if (!(numbers[i].value >= numbers[i].least && numbers[i].value <= numbers[i].most))
      return status_set(NOPROP_INVALID_ARGUMENT, "sampler option %s is %g; allowed is %s", numbers[i].name,
                        numbers[i].value, numbers[i].allowed);
  return NOPROP_OK;
}

/* Which methods solve which drift. */
static noprop_status check_drift(const struct sampler_plan *plan, double churn) {
  const int method = plan->method;
  const bool exponential = method == METHOD_EXPONENTIAL || method == METHOD_DPM2M;
  if (plan->drift == DRIFT_SDE && !exponential && method != METHOD_EULER_MARUYAMA)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option method is \"%s\", which has no noise; drift \"sde\" takes euler_maruyama, "
                      "exponential and dpm2m",
                      METHOD_NAMES[method].name);
  if (plan->drift != DRIFT_SDE && method == METHOD_EULER_MARUYAMA)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option method is \"euler_maruyama\", which solves drift \"sde\"; drift \"%s\" takes "
                      "euler",
                      DRIFT_NAMES[plan->drift].name);
  if (exponential && plan->drift != DRIFT_ODE && plan->drift != DRIFT_SDE)
    return status_set(
        NOPROP_INVALID_ARGUMENT,
        "sampler option method is \"%s\", which solves drift \"ode\"; drift \"%s\" takes euler, midpoint, heun, "
        "rk4, bosh3, dopri5, midpoint_time and adaptive_compat",
        METHOD_NAMES[method].name, DRIFT_NAMES[plan->drift].name);
  if (plan->drift != DRIFT_SDE && churn != 1)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option churn is %g, but drift \"%s\" has no noise: use drift "
                      "\"sde\", or churn 1",
                      churn, DRIFT_NAMES[plan->drift].name);
  return NOPROP_OK;
}

static noprop_status check_guidance(const noprop_model *model, double guidance) {
  if (guidance == 1) return NOPROP_OK;
  if (model->network->x_width == 0)
    return status_set(NOPROP_INVALID_ARGUMENT, "sampler option guidance is %g, but this model has no condition",
                      guidance);
  if (model->settings.loss.error != LOSS_ERROR_SQUARED)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option guidance is %g, but this model was trained with loss.error %s, whose "
                      "outputs are probabilities; guidance needs loss.error squared",
                      guidance, LOSS_ERROR_NAMES[model->settings.loss.error].name);
  if (model->settings.loss.condition_dropout == 0)
    return status_set(
        NOPROP_INVALID_ARGUMENT,
        "sampler option guidance is %g, but this model was trained with loss.condition_dropout 0 and does "
        "not know what to do without its condition",
        guidance);
  return NOPROP_OK;
}

/* Log densities: what the flow and the method must be. */
static noprop_status check_density(const noprop_model *model, const struct sampler_plan *plan) {
  const struct settings *s = &model->settings;
  const int method = plan->method;
  if (model->network->tokens.tokens > 0)
    return status_set(NOPROP_UNSUPPORTED,
                      "log densities need derivatives of the network along directions, which network.type transformer "
                      "has no kernels for; allowed: other networks");
  if (plan->drift != DRIFT_ODE)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "log densities follow drift \"ode\" alone: with \"%s\" they would not be the model's",
                      DRIFT_NAMES[plan->drift].name);
  if (model->shape.target_is_label)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "log densities are of values; the target of this model is a label, which has probabilities");
  if (s->encoder.type != CODER_IDENTITY || s->decoder.type != CODER_IDENTITY)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "log densities need encoder.type and decoder.type identity; this model has %s and %s, which give "
                      "no density of the target",
                      ENCODER_NAMES[s->encoder.type].name, DECODER_NAMES[s->decoder.type].name);
  if (method != METHOD_EULER && method != METHOD_MIDPOINT && method != METHOD_HEUN && method != METHOD_RK4 &&
      method != METHOD_BOSH3 && method != METHOD_DOPRI5)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option method is \"%s\"; log densities take euler, midpoint, heun, rk4, bosh3, dopri5 "
                      "and auto",
                      METHOD_NAMES[method].name);
  return NOPROP_OK;
}

/* No path: the network is asked once, which is what a solve without steps does at its end. */
static void resolve_supervised(const noprop_model *model, const noprop_sampler_options *options,
                               struct sampler_plan *plan) {
  plan->method = METHOD_EULER;
  plan->grid = GRID_T;
  plan->init = INIT_ZERO;
  plan->drift = DRIFT_ODE;
  plan->final_denoise = true;
  plan->steps = 0;
  plan->calls = 1;
  plan->guidance = 1.0;
  plan->form = (struct solve_form){.method = METHOD_EULER, .drift = DRIFT_ODE, .final_denoise = true};
  plan->average = options->ema && model_has_average(model);
  plan->trajectory = options->trajectory;
}

/* The bridge: a step per block, with its noise (drift sde) or its mean alone (ode). */
static noprop_status resolve_blocks(const noprop_model *model, const noprop_sampler_options *options, bool density,
                                    struct sampler_plan *plan) {
  const int blocks = model->network->blocks;
  if (plan->method != METHOD_AUTO)
    return status_set(
        NOPROP_INVALID_ARGUMENT,
        "sampler option method is \"%s\"; a model of variant dt goes from level to level by its bridge and "
        "takes \"auto\"",
        options->method);
  if (density) return status_set(NOPROP_INVALID_ARGUMENT, "a model of variant dt has no flow and so no densities");
  const bool continuous = plan->drift != DRIFT_ODE && plan->drift != DRIFT_SDE;
  if (continuous || plan->grid == GRID_USER)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option %s is \"%s\", which needs continuous time; variant dt takes drift \"ode\" or "
                      "\"sde\" and the levels of its blocks",
                      continuous ? "drift" : "grid", continuous ? options->drift : options->grid);
  if (options->calls > 0 ? options->calls != blocks : options->steps != blocks)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option %s is %d; this model of variant dt has %d blocks and takes so many steps of one "
                      "call",
                      options->calls > 0 ? "calls" : "steps", options->calls > 0 ? options->calls : options->steps,
                      blocks);
  if (options->churn != 1 || options->guidance != 1)
    return status_set(NOPROP_INVALID_ARGUMENT, "sampler option %s is %g; variant dt takes 1",
                      options->churn != 1 ? "churn" : "guidance",
                      options->churn != 1 ? options->churn : options->guidance);
  if (model->network->classes && options->final_denoise == 1)
    return status_set(
        NOPROP_INVALID_ARGUMENT,
        "sampler option final_denoise is 1, but the classifier of variant dt reads the last state; -1 and 0 "
        "are allowed");
  plan->grid = GRID_T;
  plan->steps = plan->calls = blocks;
  plan->final_denoise = !model->network->classes && options->final_denoise != 0;
  plan->churn = plan->guidance = 1.0;
  plan->seed = options->seed;
  plan->form = (struct solve_form){.drift = plan->drift, .final_denoise = plan->final_denoise};
  if (plan->init == INIT_AUTO) plan->init = model->settings.task == TASK_GENERATE ? INIT_NORMAL : INIT_ZERO;
  plan->average = options->ema && model_has_average(model);
  plan->trajectory = options->trajectory;
  return NOPROP_OK;
}

noprop_status sampler_resolve(const noprop_model *model, const noprop_sampler_options *options,
                              struct sampler_plan *plan) {
  return sampler_resolve_density(model, options, false, plan);
}

noprop_status sampler_resolve_density(const noprop_model *model, const noprop_sampler_options *options, bool density,
                                      struct sampler_plan *plan) {
  memset(plan, 0, sizeof *plan);
  noprop_status status =
      find("method", METHOD_NAMES, METHOD_COUNT, options->method, sizeof options->method, &plan->method);
  if (status == NOPROP_OK)
    status = find("grid", GRID_NAMES, GRID_COUNT, options->grid, sizeof options->grid, &plan->grid);
  if (status == NOPROP_OK)
    status = find("init", INIT_NAMES, INIT_COUNT, options->init, sizeof options->init, &plan->init);
  if (status == NOPROP_OK)
    status = find("drift", DRIFT_NAMES, DRIFT_COUNT, options->drift, sizeof options->drift, &plan->drift);
  if (status != NOPROP_OK) return status;
  if (options->calls < 0)
    return status_set(NOPROP_INVALID_ARGUMENT, "sampler option calls is %d; 0 (not limited) or more is allowed",
                      options->calls);
  if (options->calls == 0 && options->steps < 1)
    return status_set(NOPROP_INVALID_ARGUMENT, "sampler option steps is %d; at least 1 is needed", options->steps);
  if (options->final_denoise < -1 || options->final_denoise > 1)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option final_denoise is %d; -1 (the variant's default), 0 and 1 are allowed",
                      options->final_denoise);
  status = check_numbers(options);
  if (status != NOPROP_OK) return status;
  if (plan->drift == DRIFT_SDE && model->settings.coupling != COUPLING_INDEPENDENT)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option drift is \"sde\", which needs the score; a model of coupling %s was trained with "
                      "noise that depends on the data and knows the velocity only: \"ode\" is allowed",
                      COUPLING_NAMES[model->settings.coupling].name);
  if (model->settings.variant == VARIANT_SUPERVISED) {
    if (plan->method != METHOD_AUTO)
      return status_set(NOPROP_INVALID_ARGUMENT,
                        "sampler option method is \"%s\"; a model of variant supervised has no path to integrate and "
                        "takes \"auto\"",
                        options->method);
    if (density)
      return status_set(NOPROP_INVALID_ARGUMENT, "a model of variant supervised has no flow and so no densities");
    resolve_supervised(model, options, plan);
    return NOPROP_OK;
  }
  if (model->settings.variant == VARIANT_DT) return resolve_blocks(model, options, density, plan);
  const bool linear = schedule_path_is_linear(&model->settings);
  if (linear && plan->drift != DRIFT_ODE && plan->drift != DRIFT_SDE)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option drift is \"%s\", which exists on the VP path only (df, ct); "
                      "variant fm takes \"ode\"",
                      DRIFT_NAMES[plan->drift].name);
  const bool relaxes = plan->drift == DRIFT_RELAX || plan->drift == DRIFT_RELAX_NOISE;
  if (plan->drift == DRIFT_OUTPUT)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option drift is \"output\", which is regularised (loss.reg_drift) and not integrated; "
                      "\"ode\", \"ou_mean\", \"sde\", \"relax\" and \"relax_noise\" are allowed");
  if (model->settings.loss.path != PATH_AUTO && !relaxes)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option drift is \"%s\", which belongs to another path than loss.path %s of this model; "
                      "\"relax\" and \"relax_noise\" are allowed",
                      DRIFT_NAMES[plan->drift].name, PATH_NAMES[model->settings.loss.path].name);
  if (plan->method == METHOD_AUTO) plan->method = density ? METHOD_DOPRI5 : auto_method(model, options, plan->drift);
  const bool exponential = plan->method == METHOD_EXPONENTIAL || plan->method == METHOD_DPM2M;
  status = check_drift(plan, options->churn);
  if (status == NOPROP_OK) status = check_guidance(model, options->guidance);
  if (status == NOPROP_OK && density) status = check_density(model, plan);
  if (status != NOPROP_OK) return status;
  if (linear && (plan->method == METHOD_DPM2M || plan->drift == DRIFT_SDE) && model->settings.loss.t_eps <= 0.0)
    return status_set(
        NOPROP_INVALID_ARGUMENT,
        "sampler option %s is \"%s\", which on the linear path needs loss.t_eps above 0; this model has 0",
        plan->drift == DRIFT_SDE ? "drift" : "method",
        plan->drift == DRIFT_SDE ? "sde" : METHOD_NAMES[plan->method].name);
  const bool scored = model->network->mixture;
  if (scored && options->final_denoise == 1)
    return status_set(
        NOPROP_INVALID_ARGUMENT,
        "sampler option final_denoise is 1, but this model predicts mixtures of classes' vectors "
        "(latent.embedding learned) and gives the classes' probabilities at the end; -1 and 0 are allowed");
  /* The denoised state has another density than the flow's end. */
  plan->final_denoise = !density && !scored && (options->final_denoise < 0 ? !linear : options->final_denoise);
  plan->form = (struct solve_form){
      .method = plan->method,
      .drift = plan->drift,
      .final_denoise = plan->final_denoise,
      .guided = options->guidance != 1,
      .density = !density              ? DENSITY_NONE
                 : options->probes > 0 ? DENSITY_PROBES
                                       : DENSITY_EXACT,
  };
  status = set_steps(model, options, plan);
  if (status != NOPROP_OK) return status;
  if (plan->grid == GRID_AUTO) plan->grid = exponential ? GRID_GAMMA : GRID_T;
  /* On the linear path gamma is infinite at the ends unless t_eps keeps away from them. */
  if (linear && plan->grid == GRID_GAMMA && model->settings.loss.t_eps <= 0.0 && strcmp(options->grid, "auto") == 0)
    plan->grid = GRID_T;
  if (plan->method == METHOD_ADAPTIVE_COMPAT && plan->grid != GRID_T)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "sampler option grid is \"%s\", and the steps of method \"adaptive_compat\" find their own size "
                      "from 1/steps in t; \"auto\" and \"t\" are allowed",
                      options->grid);
  if (plan->grid == GRID_GAMMA && model->settings.loss.path == PATH_ROOT_NOISE)
    return status_set(
        NOPROP_INVALID_ARGUMENT,
        "sampler option grid is \"gamma\", which is of a schedule, and loss.path root_noise has none; \"t\" "
        "is allowed");
  if (plan->grid == GRID_USER) status = check_times(options);
  if (plan->init == INIT_AUTO) plan->init = model->settings.task == TASK_GENERATE ? INIT_NORMAL : INIT_ZERO;
  plan->average = options->ema && model_has_average(model);
  plan->trajectory = options->trajectory;
  plan->seed = options->seed;
  plan->churn = options->churn;
  plan->guidance = options->guidance;
  plan->rtol = options->rtol;
  plan->atol = options->atol;
  plan->probes = options->probes;
  return status;
}

const char *noprop_sampler_method_at(int index) {
  return index >= 0 && index < METHOD_COUNT ? METHOD_NAMES[index].name : NULL;
}

bool noprop_sampler_is_adaptive(const noprop_model *model, const noprop_sampler_options *options, bool density) {
  struct sampler_plan plan;
  return model && options && sampler_resolve_density(model, options, density, &plan) == NOPROP_OK &&
         solve_is_adaptive(plan.method);
}

noprop_status noprop_sampler_describe(const noprop_model *model, const noprop_sampler_options *options, char **text) {
  if (!model || !options || !text)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_sampler_describe: model, options and text must not be NULL");
  *text = NULL;
  struct sampler_plan plan;
  noprop_status status = sampler_resolve(model, options, &plan);
  if (status != NOPROP_OK) return status;
  const size_t size = 256;
  char *line = malloc(size);
  if (!line) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a line of text");
  char noise[48] = "", guided[48] = "";
  if (plan.drift == DRIFT_SDE) snprintf(noise, sizeof noise, " with churn %g", plan.churn);
  if (plan.form.guided) snprintf(guided, sizeof guided, ", guidance %g", plan.guidance);
  if (model->settings.variant == VARIANT_SUPERVISED)
    snprintf(line, size, "one network call per row, without a path%s", plan.average ? ", averaged parameters" : "");
  else if (model->settings.variant == VARIANT_DT)
    snprintf(line, size, "bridge through %d blocks, one network call per row each, %s%s, z(0) %s%s", plan.steps,
             plan.drift == DRIFT_SDE ? "with its noise" : "its mean alone",
             plan.final_denoise        ? ", the last block's target at the end"
             : model->network->classes ? ", then the classifier"
                                       : "",
             INIT_NAMES[plan.init].name, plan.average ? ", averaged parameters" : "");
  else if (plan.method == METHOD_ADAPTIVE_COMPAT)
    snprintf(line, size,
             "adaptive_compat, %d steps for every 32 rows together, at most %d network calls per row%s, drift %s, z(0) "
             "%s%s%s",
             plan.steps, plan.calls, plan.final_denoise ? " with final denoise" : "", DRIFT_NAMES[plan.drift].name,
             INIT_NAMES[plan.init].name, guided, plan.average ? ", averaged parameters" : "");
  else if (solve_is_adaptive(plan.method))
    snprintf(line, size,
             "%s with rtol %g and atol %g, at most %d steps and %d network calls per row%s, drift %s, z(0) %s%s%s",
             METHOD_NAMES[plan.method].name, plan.rtol, plan.atol, plan.max_steps, plan.calls,
             plan.final_denoise ? " with final denoise" : "", DRIFT_NAMES[plan.drift].name, INIT_NAMES[plan.init].name,
             guided, plan.average ? ", averaged parameters" : "");
  else
    snprintf(line, size, "%s on a %s grid, %d step%s, %d network call%s per row%s, drift %s%s, z(0) %s%s%s",
             METHOD_NAMES[plan.method].name, GRID_NAMES[plan.grid].name, plan.steps, plan.steps == 1 ? "" : "s",
             plan.calls, plan.calls == 1 ? "" : "s", plan.final_denoise ? " with final denoise" : "",
             DRIFT_NAMES[plan.drift].name, noise, INIT_NAMES[plan.init].name, guided,
             plan.average ? ", averaged parameters" : "");
  *text = line;
  return NOPROP_OK;
}
