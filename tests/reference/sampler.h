/* Integration from noise to data: Runge-Kutta methods, exponential steps, grids (mathematics.md section 4, survey 8.1).
 */
#ifndef TESTS_REFERENCE_SAMPLER_H
#define TESTS_REFERENCE_SAMPLER_H

#include "tests/reference/objective.h"

namespace reference {

/* dz/dt, or the predicted target, at a state and a time. */
template <typename Real>
using Field = std::function<Vector<Real>(const Vector<Real> &z, Real t)>;

/* One step of "euler", "midpoint", "heun", "rk4" or "midpoint_time" from t to t + h. */
template <typename Real>
Vector<Real> runge_kutta_step(const std::string &method, const Field<Real> &field, const Vector<Real> &z, Real t,
                              Real h);

struct Solve {
  std::string method = "euler"; /* the above, "exponential" or "dpm2m" */
  int steps = 20;
  std::string grid = "t";    /* "t", "gamma" or "user" */
  std::vector<double> times; /* of "user" */
  std::string drift = "ode";
  bool final_denoise = false;
};

/* [steps + 1] */
template <typename Real>
Vector<Real> time_grid(const Settings &settings, const Solve &solve);

/* All states of one row, start first; with final_denoise the last one is the predicted target at t = 1. `x` may be
 * empty. */
template <typename Real>
std::vector<Vector<Real>> integrate(const Settings &settings, const Network &network, const Vector<Real> &parameters,
                                    const Solve &solve, const Vector<Real> &start, const Vector<Real> &x);

/* The same with the network's output given as a function of state and (clamped) time. */
template <typename Real>
std::vector<Vector<Real>> integrate_field(const Settings &settings, const Field<Real> &output, const Solve &solve,
                                          const Vector<Real> &start);

}  // namespace reference

#endif
