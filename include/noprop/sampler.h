/* Integration of the learned field from noise (t = 0) to answer (t = 1): predictions and samples, one launch a solve.
 */
#ifndef NOPROP_SAMPLER_H
#define NOPROP_SAMPLER_H

#include <noprop/model.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How to integrate; variant supervised has no path, uses `ema` alone and takes one network call. Start from
 * noprop_sampler_options_default(model), which takes the configuration's `sample` section.
 */
typedef struct {
  char method[24];     /* "auto", "euler", "midpoint", "heun", "rk4", "exponential", "dpm2m", "midpoint_time";
                        * drift "sde": "euler_maruyama", "exponential", "dpm2m"; adaptive: "bosh3", "dopri5"; and
                        * "adaptive_compat", earlier systems' `steps` steps of a size that every 32 rows (0 to 31, 32 to
                        * 63 ...) share, which may end before t = 1: outcome step_cap */
  int steps;           /* 1 or more; bosh3 and dopri5: points of a trajectory alone */
  int calls;           /* 0, or the most network calls per row: sets the steps that the method can do with them */
  char grid[16];       /* "auto", "t", "gamma", "user" */
  const double *times; /* [steps + 1], increasing from 0 to 1, for grid "user" */
  char init[16];       /* "auto", "zero", "normal", "given" */
  const float *start;  /* [rows][d] for init "given" (host memory) */
  char drift[16];      /* "ode", "ou_mean", "sde" */
  int final_denoise;   /* 1: output the predicted target at the end; 0: the state; -1: the variant's default */
  uint64_t seed;       /* of the normal start, the noise of drift "sde" and the probes of densities */
  bool ema;            /* use averaged parameters if the model has them (default true) */
  bool trajectory;     /* write all states, not only the last; bosh3 and dopri5 interpolate them (cubic Hermite) */
  double churn;        /* drift "sde": its noise and what balances it, from 0 (the ODE) to 1 (the reverse process):
                        * dz = (u + churn^2 delta s / 2) dt + churn sqrt(delta) dW, u the ODE's velocity, s the score,
                        * delta = gamma' (1 - alpha_bar); the same marginals for every churn. 1 with other drifts */
  double guidance;     /* classifier-free guidance p0 + guidance (p1 - p0) with p0 predicted without and p1 with the
                        * condition: 1: none, two network calls in place of one otherwise */
  double rtol, atol;   /* bosh3 and dopri5: a step is accepted if the root mean square over the row's features of
                        * error / (atol + rtol |z|) is at most 1; in the latent's units */
  int max_steps;       /* bosh3 and dopri5: attempts of a row, after which it ends where it is */
  int probes;          /* densities: 0: exact traces (d tangents a call); k: Hutchinson's estimate by k probes */
} noprop_sampler_options;

/* How a row's solve ended. */
typedef enum {
  NOPROP_SOLVE_DONE,
  NOPROP_SOLVE_STEP_CAP,       /* max_steps attempts were made before the end: the state is that of the time reached */
  NOPROP_SOLVE_STEP_TOO_SMALL, /* the tolerances ask for steps below the resolution of time */
  NOPROP_SOLVE_NOT_FINITE      /* the state or the field is not finite */
} noprop_solve_outcome;

typedef struct {
  noprop_solve_outcome outcome;
  int calls, steps, rejections; /* network calls, accepted and rejected steps */
  double reached;               /* part of the way that was gone: 1 if done */
} noprop_solve_row;

/* "done", "step_cap", "step_too_small", "not_finite" */
NOPROP_API const char *noprop_solve_outcome_name(noprop_solve_outcome outcome);

/* Where results go; NULL: not wanted. */
typedef struct {
  float *latent, *output; /* as noprop_sample's */
  double *log_density;    /* [rows], nats: of the output in the data's units (standardisation counted) */
  noprop_solve_row *rows; /* [rows] */
} noprop_solve_results;

NOPROP_API noprop_sampler_options noprop_sampler_options_default(const noprop_model *model);

/* Integrates `rows` rows. condition: host array as the model's shape says, NULL if the model has none.
 *   latent [rows][d], or with trajectory [steps + 1][rows][d] (start first): states, not decoded; or NULL
 *   output [rows][Y] (classify: [rows][d] class scores; standardisation undone), same leading axis; or NULL
 * Launches one kernel. */
NOPROP_API noprop_status noprop_sample(noprop_model *model, const noprop_sampler_options *options,
                                       const noprop_array *condition, long rows, float *latent, float *output);

/* Whether steps of a solve find their own size, so that rows differ in calls and steps; `density`: with log densities.
 * False for options that are refused. */
NOPROP_API bool noprop_sampler_is_adaptive(const noprop_model *model, const noprop_sampler_options *options,
                                           bool density);

/* The same with all that a solve can say. With log_density (drift "ode"; methods euler, midpoint, heun, rk4, bosh3,
 * dopri5; "auto" is dopri5): log p of the state at t = 1 under the flow from N(0, I), d log p / dt = -tr(df/dz). The
 * outputs then are these states: no final denoising, whatever the options say. Launches one kernel. */
NOPROP_API noprop_status noprop_solve(noprop_model *model, const noprop_sampler_options *options,
                                      const noprop_array *condition, long rows, const noprop_solve_results *results);

/* Log densities of given rows under the model's flow, in nats of the target's units: the rows are standardised and
 * integrated from t = 1 to 0, and log p = log N(z(0); 0, I) - integral of the trace - sum of ln(standard deviations).
 * Not for labels; no `trajectory`. init, final_denoise and start have no part in it.
 *   log_density [rows], latent [rows][d]: z(0), or NULL; rows: [rows] or NULL */
NOPROP_API noprop_status noprop_log_density(noprop_model *model, const noprop_sampler_options *options,
                                            const noprop_array *condition, const noprop_array *target,
                                            double *log_density, float *latent, noprop_solve_row *rows);

/* The model's field from given states, the bare integrator: as noprop_sample with init "given". */
NOPROP_API noprop_status noprop_integrate(noprop_model *model, const noprop_sampler_options *options,
                                          const noprop_array *condition, long rows, const float *start, float *end);

/* The learned field dz/dt of the options' drift at time t (kept inside [t_eps, 1 - t_eps]) and states z [rows][d],
 * which is what every solve integrates (for ode the probability-flow velocity: design page "mathematics", 1): velocity
 * [rows][d]. Of the options drift (sde: as ode, whose marginals it has) and ema count. One launch; velocity must not be
 * z itself. */
NOPROP_API noprop_status noprop_velocity(noprop_model *model, const noprop_sampler_options *options,
                                         const noprop_array *condition, long rows, double t, const float *z,
                                         float *velocity);

/* The methods by number (0-based), "auto" first; NULL past the end. */
NOPROP_API const char *noprop_sampler_method_at(int index);

/* What was resolved: method, grid, steps, network calls per row, as one line; free with noprop_free. */
NOPROP_API noprop_status noprop_sampler_describe(const noprop_model *model, const noprop_sampler_options *options,
                                                 char **text);

/* Metrics of predictions against targets, accumulated on the device. */
typedef struct {
  double accuracy;          /* classify: fraction of rows whose largest score is the label */
  double mse, mae, r2;      /* in the units of the data (classify: of the one-hot target) */
  double sliced_w2, energy; /* generate: sliced Wasserstein-2 (128 fixed directions) and energy distance
                             * 2 E|X-Y| - E|X-X'| - E|Y-Y'| to the target rows */
  bool has_accuracy, has_errors, has_distances;
  long rows; /* used; distances use at most 16,384 evenly spaced ones (energy: 4,096, fewer if wide) */
} noprop_metrics;
NOPROP_API noprop_status noprop_evaluate(noprop_model *model, const noprop_sampler_options *options,
                                         const noprop_array *condition, const noprop_array *target,
                                         noprop_metrics *metrics);

/* The bound of the negative log likelihood of given targets (of conditions too: given these), in nats: for vectors
 * minus log densities in the data's units, comparable with noprop_log_density; for labels minus log probabilities,
 * comparable with a cross-entropy. Means over rows of nelbo_nats = divergence + diffusion + reconstruction:
 *
 * - divergence: KL(q(z0 | y) | N(0, I)) at the first time of training, with a Gaussian encoder's noise in q;
 * - diffusion: 1/2 integral of SNR' E|x^ - z1|^2; variant dt: its sum over blocks (dt.eta does not count);
 * - reconstruction: E -ln p(y | z1) at the last time of training: of a vector the Gaussian, of a label the posterior
 * that the path's noise makes; with a decoder of a label its softmax, of a vector the Gaussian around what it makes,
 * with the one standard deviation, in standardised units, that fits these rows best; variant dt on labels: the
 * classifier.
 *
 * Sources: Kingma et al., "Variational diffusion models", 2021; Li et al., "NoProp", 2025; the decoder's deviation:
 * Rybkin et al., "Simple and effective VAE training with calibrated decoders", 2021. Times and noise are drawn by the
 * seed, the same at every call, eight estimates: standard_error is that of their mean, and does not say how far other
 * rows would lead. Averaged weights if there are any. */
typedef struct {
  double nelbo_nats, standard_error;
  double divergence, diffusion, reconstruction;
  long rows;
} noprop_bound_terms;
NOPROP_API noprop_status noprop_bound(noprop_model *model, const noprop_array *condition, const noprop_array *target,
                                      noprop_bound_terms *terms);
/* Why a model has no such bound, as a sentence; NULL if it has. */
NOPROP_API const char *noprop_bound_refusal(const noprop_model *model);

/* Sliced Wasserstein-2 and energy distance between two sets of target rows (at most 16,384 each): with two fresh sets
 * of data the floor that samples of this size can reach. Only the distances and `rows` (of the first) are set. */
NOPROP_API noprop_status noprop_distances(noprop_model *model, const noprop_array *first, const noprop_array *second,
                                          noprop_metrics *metrics);

#ifdef __cplusplus
}
#endif
#endif
