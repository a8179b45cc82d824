/* Forecasts of sequences: what a model explains of each step of the horizon, beside two baselines. */
#ifndef NOPROP_FORECAST_H
#define NOPROP_FORECAST_H

#include <noprop/sampler.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Percent of the variance explained at each step h of the horizon, over rows and features:
 *   100 (1 - sum (y_h - prediction_h)^2 / sum (y_h - mean y_h)^2), the mean that of each feature over the rows.
 * 100: exact; 0: as good as the mean; below 0: worse; not finite where the rows do not vary. */
typedef struct {
  int horizon, features;
  long rows;
  double *model;  /* [horizon] */
  double *repeat; /* [horizon]: the last point of the condition, repeated */
  double *linear; /* [horizon]: linear autoregression, for every step the affine function of all points of the condition
                   * with the least squared error over the training rows (at least as good there as one step after
                   * another); NULL without training rows */
} noprop_forecast;

/* True if condition and target are sequences of the same features: floats of [rows][points][features]. */
NOPROP_API bool noprop_is_forecast(const noprop_array *condition, const noprop_array *target);

/* Predicts the rows and compares. train_condition, train_target: what the linear baseline is fitted to, or both NULL.
 * predicted: [rows][horizon * features] in the data's units, or NULL. Free the result with noprop_forecast_free. */
NOPROP_API noprop_status noprop_forecast_measure(noprop_model *model, const noprop_sampler_options *options,
                                                 const noprop_array *train_condition, const noprop_array *train_target,
                                                 const noprop_array *condition, const noprop_array *target,
                                                 float *predicted, noprop_forecast *forecast);
NOPROP_API void noprop_forecast_free(noprop_forecast *forecast);

#ifdef __cplusplus
}
#endif
#endif
