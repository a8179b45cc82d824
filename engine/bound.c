/* The bound of the negative log likelihood in nats (design page "mathematics", section 2; survey 1.3 and 1.4).
 *
 * With T the times that training uses, from t_0 = t_eps to t_1 = 1 - t_eps, and SNR = exp(gamma),
 *   -ln p(y) <= KL(q(z_t0 | y) | N(0, I)) + 1/2 integral of SNR'(t) E|x^ - z1|^2 over T + E -ln p(y | z_t1).
 * The integral is taken as one over gamma, whose integrand SNR E|x^ - z1|^2 is the error of the noise and the flattest
 * that there is: times are uniform in gamma, one in each of as many cells as there are rows. Variant dt has the sum
 * over its levels instead, 1/2 (SNR_k - SNR_(k-1)) E|x^_k - z1|^2, and its classifier. p(y | z_t1) of a vector is the
 * density that makes z_t1 = a y + b e likely, N(z_t1/a, b^2/a^2), and of a label the probability of its one-hot vector
 * by the same rule. With an encoder z1 is drawn from q(z1 | y), and the first term is the divergence of q(z_t0 | y)
 * with that marginalised, which bounds it still (the divergence is convex in both). With a decoder D, p(y | z_t1) of a
 * label is softmax(D) and of a vector N(D, s^2 I) in standardised units, s^2 the mean square that these rows leave: the
 * deviation that makes their bound lowest (Rybkin et al. 2021, "Simple and effective VAE training with calibrated
 * decoders"); s is one number, not the model's, so that of few rows the bound is a little too good.
 *
 * Network outputs and states come from the kernel of losses; everything else is done here in double precision. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/dt.h"
#include "engine/schedule.h"
#include "engine/status.h"
#include "kernels/philox.h"
#include "noprop/sampler.h"

/* Independent estimates, whose spread gives the error; rows of one request; knots of the inverse of gamma. */
enum { BOUND_ESTIMATES = 8, BOUND_ROWS = 1 << 14, GAMMA_KNOTS = 1025 };

static const double LN_2_PI = 1.8378770664093454836;

/* ---- which models have one ---- */

static bool is_coded(const struct settings *s) {
  return s->encoder.type != CODER_IDENTITY || s->decoder.type != CODER_IDENTITY ||
         s->decoder.output != DECODER_OUTPUT_NONE;
}

const char *noprop_bound_refusal(const noprop_model *model) {
  if (!model) return "there is no model";
  const struct settings *s = &model->settings;
  if (s->encoder.type == CODER_CONV)
    return "the bound is of targets whose decoder gives their density, and decoder.type conv is trained with noise of "
           "its own on the sphere of latents";
  if (s->variant == VARIANT_SUPERVISED) return "variant supervised has no path from noise, which the bound is along";
  if (s->variant == VARIANT_DT && s->dt.form != DT_FORM_BRIDGE)
    return "the bound is along levels from noise to data, and dt.form notebook has them the other way round";
  if (s->loss.path != PATH_AUTO || s->prediction == PREDICTION_STATE)
    return "the bound is of the paths whose noise and signal it is made of, and this is an earlier system's path or "
           "prediction";
  if (s->coupling != COUPLING_INDEPENDENT)
    return "the bound holds for noise that is independent of the data, and coupling is ot";
  if (model->network->mixture)
    return "the bound is of the squared error of a prediction and a label's probability apart, and latent.embedding "
           "learned makes both of the same logits";
  const bool softmax = s->decoder.output == DECODER_OUTPUT_SOFTMAX;
  if (is_coded(s) && model->shape.target_is_label && !softmax)
    return "the bound of a label is of its probability, which decoder.output softmax gives, or loss.recon.type "
           "cross_entropy";
  if (softmax && !model->shape.target_is_label)
    return "the bound of a vector is of a density, and decoder.output softmax gives probabilities of classes";
  if (s->variant == VARIANT_FM && s->loss.t_eps == 0)
    return "with loss.t_eps 0 the linear path has no noise at its end, where the bound then is infinite";
  return NULL;
}

/* ---- the path on the host ---- */

struct bound {
  noprop_model *model;
  const struct model_rows *condition, *target;
  struct schedule schedule; /* as learned */
  bool linear;
  double first, last;        /* gamma at both ends */
  double knots[GAMMA_KNOTS]; /* times at even steps of gamma */
  double a0, b0, a1, b1;     /* of the states at both ends */
  double divergence;         /* sums over rows, and of each estimate: */
  double diffusion[BOUND_ESTIMATES], reconstruction[BOUND_ESTIMATES];
  /* Of one request. */
  void *condition_rows, *target_rows;
  float *t, *z1, *z, *prediction;
  /* With encoder or decoder: states at the end and what is made of them [2][rows][target]; of a Gaussian encoder's
   * draws the sums of n, n^2, z1 and n z1 over estimates, [rows][d][4]; squares of what the decoder misses. */
  bool coded, normal;
  float *ends, *decoded;
  double *draws;
  double missed[BOUND_ESTIMATES];
};

struct place {
  double a, b, gamma, gamma_prime;
};

static struct place place_at(const struct bound *bound, double t) {
  if (bound->linear) return (struct place){t, 1 - t, 2 * (log(t) - log1p(-t)), 2 / (t * (1 - t))};
  const noprop_schedule_values v = schedule_at(&bound->schedule, t);
  return (struct place){sqrt(v.alpha_bar), sqrt(v.one_minus_alpha_bar), v.gamma, v.gamma_prime};
}

static double time_between(const struct bound *bound, double gamma, double low, double high) {
  for (int i = 0; i < 60 && high - low > 1e-12; ++i) {
    const double middle = 0.5 * (low + high);
    if (place_at(bound, middle).gamma < gamma)
      low = middle;
    else
      high = middle;
  }
  return 0.5 * (low + high);
}

/* The time at which a part `part` of the range of gamma is gone. */
static double time_at(const struct bound *bound, double part) {
  const double place = part * (GAMMA_KNOTS - 1);
  const int cell = place < GAMMA_KNOTS - 2 ? (int)place : GAMMA_KNOTS - 2;
  return time_between(bound, bound->first + (bound->last - bound->first) * part, bound->knots[cell],
                      bound->knots[cell + 1]);
}

static noprop_status set_ends(struct bound *bound) {
  const struct settings *s = &bound->model->settings;
  const double low = s->loss.t_eps, high = 1 - low;
  const struct place first = place_at(bound, low), last = place_at(bound, high);
  bound->first = first.gamma;
  bound->last = last.gamma;
  bound->a0 = first.a;
  bound->b0 = first.b;
  bound->a1 = last.a;
  bound->b1 = last.b;
  if (!isfinite(bound->first) || !isfinite(bound->last))
    return status_set(NOPROP_UNSUPPORTED,
                      "noprop_bound: gamma goes from %g to %g over the times of training, and the bound needs both "
                      "finite; schedule.renormalise true or a larger loss.t_eps makes them so",
                      bound->first, bound->last);
  bound->knots[0] = low;
  for (int i = 1; i < GAMMA_KNOTS; ++i)
    bound->knots[i] = i == GAMMA_KNOTS - 1
                          ? high
                          : time_between(bound, bound->first + (bound->last - bound->first) * i / (GAMMA_KNOTS - 1),
                                         bound->knots[i - 1], high);
  return NOPROP_OK;
}

static noprop_status set_levels(struct bound *bound) {
  struct dt_level levels[DT_MAX_BLOCKS + 1];
  const noprop_status status = dt_levels(&bound->model->settings, bound->model->latent, levels);
  const int blocks = bound->model->settings.dt.blocks;
  if (status != NOPROP_OK) return status;
  bound->a0 = levels[0].a;
  bound->b0 = levels[0].b;
  bound->a1 = levels[blocks].a;
  bound->b1 = levels[blocks].b;
  bound->last = 2 * (log(bound->a1) - log(bound->b1));
  return NOPROP_OK;
}

/* ---- terms of a row ---- */

/* The predicted target from the network's output. */
static void predicted_target(const struct bound *bound, const struct place *at, const float *p, const float *z,
                             double *target) {
  const struct settings *s = &bound->model->settings;
  const int d = bound->model->latent;
  const double a = at->a, b = at->b, size = a * a + b * b;
  if (s->loss.error != LOSS_ERROR_SQUARED) { /* logits */
    double most = (double)p[0], sum = 0;
    for (int i = 1; i < d; ++i) most = fmax(most, (double)p[i]);
    for (int i = 0; i < d; ++i) sum += target[i] = exp((double)p[i] - most);
    for (int i = 0; i < d; ++i) target[i] = s->latent.off_value + (1 - s->latent.off_value) * target[i] / sum;
    return;
  }
  for (int i = 0; i < d; ++i) switch (s->prediction) {
      case PREDICTION_NOISE:
        target[i] = ((double)z[i] - b * (double)p[i]) / a;
        break;
      case PREDICTION_V:
        target[i] = a * (double)z[i] / size - b * (double)p[i] / sqrt(size);
        break;
      case PREDICTION_VELOCITY:
        target[i] = bound->linear ? (double)z[i] + b * (double)p[i]
                                  : a * (double)z[i] + 2 * (double)p[i] / (at->gamma_prime * a);
        break;
      default:
        target[i] = (double)p[i];
    }
}

/* -ln of the probability of the label that z1 stands for, at a state at the end with the noise of (row, estimate). */
static double label_surprise(const struct bound *bound, const float *z1, unsigned row, unsigned estimate) {
  const int d = bound->model->latent;
  const double off = bound->model->settings.latent.off_value;
  const double sharpness = bound->a1 * (1 - off) / (bound->b1 * bound->b1);
  double most = -INFINITY, sum = 0, own = 0;
  double scores[LATENT_MOST];
  for (int i = 0; i < d; ++i) {
    const philox_words words = philox(bound->model->settings.seed, (unsigned)i, row,
                                      philox_stream(STREAM_ENCODER_NOISE, 1, 0), VALIDATION_STEP - 1u - estimate);
    const double noise = sqrt(-2 * log((double)philox_uniform(words.word[0]))) *
                         cos(6.283185307179586 * (double)philox_uniform(words.word[1]));
    scores[i] = sharpness * (bound->a1 * (double)z1[i] + bound->b1 * noise);
    most = fmax(most, scores[i]);
    if (z1[i] > 0.5f * (float)(1 + off)) own = scores[i];
  }
  for (int i = 0; i < d; ++i) sum += exp(scores[i] - most);
  return log(fmax(sum, 1)) + most - own; /* the largest alone makes 1 */
}

/* ---- requests ---- */

static noprop_status request(struct bound *bound, long count, uint64_t step, const float *t, const float *noise,
                             noprop_loss_terms *terms) {
  const noprop_loss_request request = {.rows = count,
                                       .condition = bound->condition->values ? bound->condition_rows : NULL,
                                       .target = bound->target_rows,
                                       .t = t,
                                       .noise = noise,
                                       .step = step,
                                       .prediction = bound->prediction,
                                       .z = bound->z,
                                       .latent = bound->normal ? bound->z1 : NULL};
  return model_request(bound->model, &request, true, terms);
}

/* The clean latents of the rows at hand: their states without noise, at the end or (dt) before the last block. */
static noprop_status find_latents(struct bound *bound, long count) {
  const size_t values = (size_t)count * (size_t)bound->model->latent;
  const bool blocks = bound->model->network->blocks > 0;
  const double high = 1 - bound->model->settings.loss.t_eps;
  noprop_loss_terms terms;
  double a = bound->a1;
  memset(bound->z1, 0, values * sizeof(float)); /* the noise */
  for (long i = 0; i < count; ++i) bound->t[i] = (float)high;
  const noprop_status status = request(bound, count, 0, blocks ? NULL : bound->t, bound->z1, &terms);
  if (status != NOPROP_OK) return status;
  if (blocks) {
    struct dt_level levels[DT_MAX_BLOCKS + 1];
    const noprop_status found = dt_levels(&bound->model->settings, bound->model->latent, levels);
    if (found != NOPROP_OK) return found;
    a = levels[bound->model->network->blocks - 1].a;
  }
  if (bound->normal) { /* of each draw: estimate */
    memset(bound->draws, 0, 4 * values * sizeof *bound->draws);
    return NOPROP_OK;
  }
  for (size_t i = 0; i < values; ++i) bound->z1[i] = (float)((double)bound->z[i] / a);
  const int d = bound->model->latent;
  for (long row = 0; row < count; ++row) {
    double squares = 0;
    for (int i = 0; i < d; ++i) squares += (double)bound->z1[row * d + i] * (double)bound->z1[row * d + i];
    const double variance = bound->b0 * bound->b0;
    bound->divergence += 0.5 * (bound->a0 * bound->a0 * squares + d * (variance - 1 - log(variance)));
  }
  return NOPROP_OK;
}

/* ---- encoders and decoders ---- */

/* Normal `i` of a row: what kernels draw for an encoder (layer 0), or ours at the end (layer 1). */
static double latent_normal(const struct bound *bound, unsigned row, int i, unsigned layer, unsigned step) {
  const philox_words words =
      philox(bound->model->settings.seed, (unsigned)i / 4, row, philox_stream(STREAM_ENCODER_NOISE, layer, 0), step);
  const int pair = i % 4 / 2 * 2;
  const double angle = 6.283185307179586 * (double)philox_uniform(words.word[pair + 1]);
  return sqrt(-2 * log((double)philox_uniform(words.word[pair]))) * (i % 2 ? sin(angle) : cos(angle));
}

/* Takes the draws z1 = mu + s n of an estimate in. */
static void note_draws(struct bound *bound, long count, uint64_t step) {
  const int d = bound->model->latent;
  for (long row = 0; row < count; ++row)
    for (int i = 0; i < d; ++i) {
      const double n = latent_normal(bound, (unsigned)row, i, 0, (unsigned)step), z1 = (double)bound->z1[row * d + i];
      double *sums = bound->draws + 4 * (row * d + i);
      sums[0] += n, sums[1] += n * n, sums[2] += z1, sums[3] += n * z1;
    }
}

/* mu and s of every row are the line through its draws. */
static void add_normal_divergence(struct bound *bound, long count) {
  for (long at = 0; at < count * bound->model->latent; ++at) {
    const double *sums = bound->draws + 4 * at, k = BOUND_ESTIMATES;
    const double s = (k * sums[3] - sums[0] * sums[2]) / (k * sums[1] - sums[0] * sums[0]);
    const double mean = (sums[2] - s * sums[0]) / k, variance = bound->a0 * bound->a0 * s * s + bound->b0 * bound->b0;
    bound->divergence += 0.5 * (bound->a0 * bound->a0 * mean * mean + variance - 1 - log(variance));
  }
}

static double standardised(const struct bound *bound, long row, int i) {
  const struct model_statistics *statistics = &bound->model->statistics;
  const size_t at = (size_t)row * (size_t)bound->model->shape.target_width + (size_t)i;
  const double value = bound->target->to == NOPROP_TYPE_UINT8 ? (double)((const uint8_t *)bound->target_rows)[at]
                                                              : (double)((const float *)bound->target_rows)[at];
  const double missed = value - (double)bound->decoded[at];
  return statistics->target_std ? missed / (double)statistics->target_std[i] : missed;
}

/* What the decoder makes of states at the end, as the first point of a solve that starts there. */
static noprop_status decode_ends(struct bound *bound, int number, long first, long count) {
  noprop_model *model = bound->model;
  const noprop_model_shape *shape = &model->shape;
  const int d = model->latent, width = shape->target_width;
  for (long row = 0; row < count; ++row)
    for (int i = 0; i < d; ++i)
      bound->ends[row * d + i] = (float)(bound->a1 * (double)bound->z1[row * d + i] +
                                         bound->b1 * latent_normal(bound, (unsigned)(first + row), i, 1,
                                                                   VALIDATION_STEP - 1u - (unsigned)number));
  const noprop_array condition = {.name = "condition",
                                  .type = shape->condition_type,
                                  .rows = count,
                                  .width = shape->condition_is_label ? 1 : shape->condition_width,
                                  .rank = 2,
                                  .shape = {count, shape->condition_is_label ? 1 : shape->condition_width},
                                  .values = bound->condition_rows};
  noprop_sampler_options options = noprop_sampler_options_default(model);
  options.steps = 1;
  options.calls = 0;
  options.times = NULL;
  options.trajectory = true;
  options.guidance = 1;
  options.start = bound->ends;
  options.ema = model_has_average(model);
  (void)snprintf(options.grid, sizeof options.grid, "auto");
  (void)snprintf(options.init, sizeof options.init, "given");
  const noprop_status status =
      noprop_sample(model, &options, bound->condition->values ? &condition : NULL, count, NULL, bound->decoded);
  for (long row = 0; row < count && status == NOPROP_OK; ++row) {
    if (shape->target_is_label) {
      const long label = bound->target->to == NOPROP_TYPE_UINT8 ? ((const uint8_t *)bound->target_rows)[row]
                                                                : ((const int32_t *)bound->target_rows)[row];
      /* The least float that is not 0 where the probability is below it. */
      bound->reconstruction[number] -= log(fmax((double)bound->decoded[row * width + label], 1.4e-45));
      continue;
    }
    for (int i = 0; i < width; ++i) {
      const double missed = standardised(bound, row, i);
      bound->missed[number] += missed * missed;
    }
  }
  return status;
}

/* Vectors: from squares that decoders miss to -ln of the density with the deviation that fits all estimates. */
static void add_decoded_densities(struct bound *bound) {
  const double values = (double)bound->target->rows * bound->model->shape.target_width;
  double variance = 0;
  for (int k = 0; k < BOUND_ESTIMATES; ++k) variance += bound->missed[k] / values / BOUND_ESTIMATES;
  variance = fmax(variance, 1e-30);
  for (int k = 0; k < BOUND_ESTIMATES; ++k)
    bound->reconstruction[k] += 0.5 * values * (LN_2_PI + log(variance)) + 0.5 * bound->missed[k] / variance;
}

/* Estimate `number` for the rows from `first` on, which are at hand. */
static noprop_status estimate(struct bound *bound, int number, long first, long count) {
  const noprop_model *model = bound->model;
  const int d = model->latent;
  const long rows = bound->target->rows, requests = (rows + BOUND_ROWS - 1) / BOUND_ROWS;
  const uint64_t step = VALIDATION_STEP - 1u - (unsigned long)(number * requests + first / BOUND_ROWS);
  noprop_loss_terms terms;
  if (model->network->blocks) {
    const noprop_status status = request(bound, count, step, NULL, NULL, &terms);
    bound->diffusion[number] += (double)count * terms.flow / model->settings.dt.eta;
    bound->reconstruction[number] += (double)count * terms.recon;
    return status;
  }
  const philox_words words =
      philox(model->settings.seed, 0, 0, philox_stream(STREAM_TIME, 1, 0), VALIDATION_STEP - 1u - (unsigned)number);
  const double offset = (double)philox_uniform(words.word[0]);
  for (long i = 0; i < count; ++i) {
    double part = offset + (double)(first + i) / (double)rows;
    part -= floor(part);
    bound->t[i] = (float)time_at(bound, part);
  }
  noprop_status status = request(bound, count, step, bound->t, NULL, &terms);
  if (status == NOPROP_OK && bound->normal) note_draws(bound, count, step);
  if (status == NOPROP_OK && bound->coded) status = decode_ends(bound, number, first, count);
  if (status != NOPROP_OK) return status;
  double target[LATENT_MOST];
  for (long row = 0; row < count; ++row) {
    const struct place at = place_at(bound, (double)bound->t[row]);
    const float *z1 = bound->z1 + row * d;
    double squares = 0;
    predicted_target(bound, &at, bound->prediction + row * d, bound->z + row * d, target);
    for (int i = 0; i < d; ++i) squares += (target[i] - (double)z1[i]) * (target[i] - (double)z1[i]);
    bound->diffusion[number] += 0.5 * (bound->last - bound->first) * exp(at.gamma) * squares;
    if (model->shape.target_is_label && !bound->coded)
      bound->reconstruction[number] += label_surprise(bound, z1, (unsigned)(first + row), (unsigned)number);
  }
  return NOPROP_OK;
}

static noprop_status run(struct bound *bound) {
  const noprop_model *model = bound->model;
  const long rows = bound->target->rows;
  noprop_status status = NOPROP_OK;
  for (long first = 0; first < rows && status == NOPROP_OK; first += BOUND_ROWS) {
    const long count = rows - first < BOUND_ROWS ? rows - first : BOUND_ROWS;
    if (bound->condition->values) model_rows_convert(bound->condition, first, count, bound->condition_rows);
    model_rows_convert(bound->target, first, count, bound->target_rows);
    status = find_latents(bound, count);
    for (int k = 0; k < BOUND_ESTIMATES && status == NOPROP_OK; ++k) status = estimate(bound, k, first, count);
    if (status == NOPROP_OK && bound->normal) add_normal_divergence(bound, count);
  }
  if (bound->coded && !model->shape.target_is_label) add_decoded_densities(bound);
  /* Vectors: the density of the end's noise is the same for all rows; and the volume of standardisation. */
  double constant = 0;
  if (!model->shape.target_is_label) {
    if (!bound->coded) constant = 0.5 * model->latent * (1 + LN_2_PI - bound->last);
    for (int i = 0; model->statistics.target_std && i < model->shape.target_width; ++i)
      constant += log((double)model->statistics.target_std[i]);
  }
  for (int k = 0; k < BOUND_ESTIMATES; ++k) bound->reconstruction[k] += constant * (double)rows;
  return status;
}

static void gather(const struct bound *bound, noprop_bound_terms *terms) {
  const double rows = (double)bound->target->rows;
  double mean = 0, spread = 0, totals[BOUND_ESTIMATES];
  *terms = (noprop_bound_terms){.divergence = bound->divergence / rows, .rows = bound->target->rows};
  for (int k = 0; k < BOUND_ESTIMATES; ++k) {
    terms->diffusion += bound->diffusion[k] / rows / BOUND_ESTIMATES;
    terms->reconstruction += bound->reconstruction[k] / rows / BOUND_ESTIMATES;
    totals[k] = (bound->diffusion[k] + bound->reconstruction[k]) / rows;
    mean += totals[k] / BOUND_ESTIMATES;
  }
  for (int k = 0; k < BOUND_ESTIMATES; ++k) spread += (totals[k] - mean) * (totals[k] - mean);
  terms->nelbo_nats = terms->divergence + terms->diffusion + terms->reconstruction;
  terms->standard_error = sqrt(spread / (BOUND_ESTIMATES - 1) / BOUND_ESTIMATES);
}

noprop_status noprop_bound(noprop_model *model, const noprop_array *condition, const noprop_array *target,
                           noprop_bound_terms *terms) {
  if (!model || !target || !terms)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_bound: model, target and terms must not be NULL");
  const char *refusal = noprop_bound_refusal(model);
  if (refusal) return status_set(NOPROP_INVALID_ARGUMENT, "noprop_bound: %s", refusal);
  struct model_rows condition_rows, target_rows;
  noprop_status status = model_rows_check(model, MODEL_TARGET, target, -1, &target_rows);
  if (status == NOPROP_OK) status = model_rows_check(model, MODEL_CONDITION, condition, target->rows, &condition_rows);
  struct bound *bound = calloc(1, sizeof *bound);
  if (!bound) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a bound");
  if (status != NOPROP_OK) goto done;
  const size_t most = (size_t)(target_rows.rows < BOUND_ROWS ? target_rows.rows : BOUND_ROWS);
  const size_t state = most * (size_t)model->latent * sizeof(float);
  bound->model = model;
  bound->condition = &condition_rows;
  bound->target = &target_rows;
  bound->linear = schedule_path_is_linear(&model->settings);
  bound->condition_rows = malloc(most * model_row_bytes(&condition_rows) + 1);
  bound->target_rows = malloc(most * model_row_bytes(&target_rows));
  bound->t = malloc(most * sizeof(float));
  bound->z1 = malloc(state);
  bound->z = malloc(state);
  bound->prediction = malloc(state);
  bound->coded = is_coded(&model->settings) && !model->network->blocks;
  bound->normal = model->network->encoder_normal;
  if (bound->coded) bound->ends = malloc(state);
  if (bound->coded) bound->decoded = malloc(2 * most * (size_t)model->shape.target_width * sizeof(float));
  if (bound->normal) bound->draws = malloc(4 * most * (size_t)model->latent * sizeof(double));
  if (!bound->condition_rows || !bound->target_rows || !bound->t || !bound->z1 || !bound->z || !bound->prediction ||
      (bound->coded && (!bound->ends || !bound->decoded)) || (bound->normal && !bound->draws)) {
    status = status_set(NOPROP_OUT_OF_MEMORY, "no host memory for %zu rows of a bound", most);
    goto done;
  }
  double *numbers;
  status = model_schedule_numbers(model, model_has_average(model), &numbers);
  if (status == NOPROP_OK) {
    status = schedule_describe(&model->settings, numbers, &bound->schedule);
    free(numbers);
  }
  if (status == NOPROP_OK) status = model->network->blocks ? set_levels(bound) : set_ends(bound);
  if (status == NOPROP_OK) status = run(bound);
  if (status == NOPROP_OK) gather(bound, terms);
done:
  free(bound->condition_rows);
  free(bound->target_rows);
  free(bound->t);
  free(bound->z1);
  free(bound->z);
  free(bound->prediction);
  free(bound->ends);
  free(bound->decoded);
  free(bound->draws);
  free(bound);
  return status;
}
