/* Integration from noise to data: Runge-Kutta methods, exponential steps, embedded pairs, the reverse SDE, grids, log
 * densities (mathematics.md section 4, survey 1.1, 1.6, 8.1). */
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
  std::string method = "euler"; /* the above, "exponential" or "dpm2m"; with drift "sde" "euler_maruyama" */
  int steps = 20;
  std::string grid = "t";    /* "t", "gamma" or "user" */
  std::vector<double> times; /* of "user" */
  std::string drift = "ode";
  bool final_denoise = false;
  /* Drift "sde": dz = (la z + (1 + churn^2) r (a x^ - z)) dt + churn b sqrt(2 r) dW, normals of stream kSde by row and
   * step. */
  double churn = 1;
  uint64_t seed = 0;
  uint32_t row = 0;
  std::vector<double> given_noise; /* [steps]: in place of the seed's, the same for every feature */
  /* Classifier-free guidance: outputs p0 + guidance (p1 - p0), p0 with nothing of the condition but zeros behind its
   * branch. */
  double guidance = 1;
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

/* ---- log densities ---- */

/* State and the integral of -tr(df/dz) along the way, by a Runge-Kutta method; `trace`: of the output's Jacobian with
 * respect to the state. `reverse`: from t = 1 to 0. */
template <typename Real>
struct Flow {
  Vector<Real> end;
  Real integral;
};
template <typename Real>
using Trace1 = std::function<Real(const Vector<Real> &z, Real t)>;
template <typename Real>
Flow<Real> integrate_flow(const Settings &settings, const Field<Real> &output, const Trace1<Real> &trace,
                          const Solve &solve, const Vector<Real> &start, bool reverse);
/* Of a network: traces row by row of the Jacobian, in reverse mode; with `probes` the mean of v . J v over signs v. */
template <typename Real>
Flow<Real> integrate_flow(const Settings &settings, const Network &network, const Vector<Real> &parameters,
                          const Solve &solve, const Vector<Real> &start, const Vector<Real> &x, bool reverse,
                          const std::vector<Vector<double>> &probes = {});
/* Signs of a probe: stream kProbe. */
Vector<double> probe_signs(uint64_t seed, uint32_t row, uint32_t probe, long count);
/* ln N(z; 0, I) */
double log_normal(const Vector<double> &z);

/* ---- adaptive methods ---- */

struct AdaptiveSolve {
  std::string method = "dopri5"; /* or "bosh3" */
  double rtol = 1e-4, atol = 1e-5;
  int max_steps = 1000;
};
struct AdaptiveResult {
  Vector<double> end;
  double reached;
  int steps, rejections, calls;
  std::vector<double> times; /* of accepted states */
};
/* dz/ds for s from 0 to 1. */
AdaptiveResult integrate_adaptive(const Field<double> &field, const AdaptiveSolve &solve, const Vector<double> &start);

/* The earlier library's "adaptive" (survey 8.2) on a batch of rows, exactly `steps` iterations; `reached` is where it
 * ends. */
template <typename Real>
struct CompatResult {
  std::vector<Vector<Real>> end;
  double reached;
  std::vector<Vector<Real>> states; /* [steps + 1][rows * d] */
  std::vector<double> errors;       /* [steps]: what decided the next step */
};
template <typename Real>
CompatResult<Real> integrate_adaptive_compat(const std::vector<Field<Real>> &fields, double from, double to, int steps,
                                             const std::vector<Vector<Real>> &start);

}  // namespace reference

#endif
