/* Noise schedules and paths: alpha_bar(t), gamma and everything derived; z_t = a(t) z1 + b(t) e and the conversions
 * between predictions (survey 1.2, 4.1, 4.2). Real is double or Tracked. */
#ifndef TESTS_REFERENCE_SCHEDULE_H
#define TESTS_REFERENCE_SCHEDULE_H

#include "tests/reference/settings.h"
#include "tests/reference/tracked.h"

namespace reference {

/* At one time; primes are d/dt. alpha_bar = sigmoid(gamma), snr = exp(gamma). */
template <typename Real>
struct ScheduleValues {
  Real gamma, gamma_prime, alpha_bar, one_minus_alpha_bar, alpha_bar_prime, snr, snr_prime;
};
template <typename Real>
ScheduleValues<Real> schedule_at(const Settings &settings, Real t);

/* z_t = a z1 + b e; la = a'/a, lb = b'/b, r = la - lb. On the VP path the schedule's values come along. */
template <typename Real>
struct Path {
  Real t, a, b, la, lb, r;
  bool b_is_rest = false;        /* linear path: a + b = 1 */
  ScheduleValues<Real> schedule; /* also on the linear path: some weights refer to it */
};
template <typename Real>
Path<Real> path_at(const Settings &settings, Real t);

/* A quantity that is linear in state and prediction: state * z + prediction * p. */
template <typename Real>
struct Combination {
  Real state, prediction;
};
/* What the network's output p of kind `from` ("velocity", "noise", "target", or "v": (a noise - b target)/s with
 * s^2 = a^2 + b^2, on the linear path the v of the VP path with the same SNR, which z/s follows) says about quantity
 * `to` (these, or "ou_mean": the drift gamma' (sqrt(ab) z1hat - (1+ab)/2 z)). */
template <typename Real>
Combination<Real> convert(const Path<Real> &path, const std::string &from, const std::string &to);

/* Weight of a squared error of the predicted quantity (survey 1.3 and 2.10). */
template <typename Real>
Real weight_at(const Settings &settings, const Path<Real> &path);
/* (d z1hat/d p)^2: a weight of the target's error times this is the weight of the prediction's. */
template <typename Real>
Real error_square(const Path<Real> &path, const std::string &predicted);
/* SNR' of the path (linear: 2t/(1-t)^3). */
template <typename Real>
Real snr_prime_at(const Settings &settings, const Path<Real> &path);
/* The exact mean of the weight over t uniform in [t_eps, 1 - t_eps]; throws std::invalid_argument where no closed form
 * is known. */
double weight_mean(const Settings &settings);

/* gamma of the path (linear: 2 ln(t/(1-t))). */
template <typename Real>
Real gamma_at(const Settings &settings, Real t);

}  // namespace reference

#endif
