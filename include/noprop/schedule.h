/* Noise schedules: alpha_bar(t) and everything derived from it, t in [0, 1], noise at 0, data at 1. */
#ifndef NOPROP_SCHEDULE_H
#define NOPROP_SCHEDULE_H

#include <noprop/config.h>
#include <noprop/model.h>
#include <noprop/status.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* At one time: alpha_bar = sigmoid(gamma), snr = exp(gamma), primes are derivatives with respect to t. */
typedef struct {
  double gamma, gamma_prime, alpha_bar, one_minus_alpha_bar, snr, snr_prime;
} noprop_schedule_values;

/* Evaluates the configuration's schedule at `count` times (double precision, host). Values: [count]. A network is
 * evaluated as it starts (seed of the configuration). Forms: kernels/schedule.h; survey of the field arXiv:2502.04669.
 */
NOPROP_API noprop_status noprop_schedule_evaluate(const noprop_config *config, const double *t, long count,
                                                  noprop_schedule_values *values);

/* The same of the schedule that a model has: of one that is trained (schedule.learnable) with the numbers learned so
 * far, with `ema` their average (optimizer.ema above 0). Waits for the steps submitted. */
NOPROP_API noprop_status noprop_model_schedule(noprop_model *model, bool ema, const double *t, long count,
                                               noprop_schedule_values *values);

#ifdef __cplusplus
}
#endif
#endif
