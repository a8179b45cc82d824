/* The loss of a batch and its gradient with respect to the network's parameters (mathematics.md section 2). */
#ifndef TESTS_REFERENCE_OBJECTIVE_H
#define TESTS_REFERENCE_OBJECTIVE_H

#include "tests/reference/network.h"
#include "tests/reference/schedule.h"

namespace reference {

/* Which dropout factors row `row` of draw `number` has; empty: no dropout. */
using BatchDropout = std::function<Dropout(long row, long number)>;

/* A batch: everything given, nothing drawn. t and noise hold one entry per draw, then per row. */
template <typename Real>
struct Batch {
  std::vector<Vector<Real>> z1;                 /* [rows][d]; with an encoder: targets [rows][Y] */
  std::vector<long> label;                      /* [rows], for cross_entropy */
  std::vector<Vector<Real>> x;                  /* [rows][C], or empty */
  std::vector<Vector<Real>> t;                  /* [draws][rows] */
  std::vector<Vector<Real>> factor;             /* [draws][rows], or empty: ones; every term of the row times this */
  std::vector<std::vector<Vector<Real>>> noise; /* [draws][rows][d] */
  BatchDropout dropout;
  std::vector<Vector<Real>> encoder_noise;          /* [rows][d], of Gaussian encoders */
  std::vector<std::vector<Vector<Real>>> end_noise; /* [draws][rows][d], of the vae term */
  std::vector<bool> without_condition;              /* [rows], or empty: none */
};

template <typename Real>
struct Loss {
  Real total = 0.0, flow = 0.0, recon = 0.0, reg = 0.0, vae = 0.0, kl_z0 = 0.0; /* means over rows and draws */
  Vector<Real> row_total;                                                       /* [rows], mean over draws */
  std::vector<Vector<Real>> prediction, z;                                      /* [rows][d], of draw 0 */
  std::vector<Vector<Real>> velocity, target; /* [rows][d], of draw 0: the regularised drift and z1hat */
  std::vector<Vector<Real>> latent;           /* [rows][d]: z1 */
  Vector<Real> weight;                        /* [rows], of draw 0: w after normalisation */
  Vector<Real> gradient;                      /* [parameters] */
  std::vector<Vector<Real>> z_bar, z1_bar,
      noise_bar; /* [rows][d]: d total/d z_t, of draw 0; d z1; d noise, of draw 0 */
  /* Batch norm: by ops, of the batch and of the pass at t = 1 if there is one. Empty: there is none. */
  std::vector<std::vector<Statistics<Real>>> statistics;
  std::vector<Vector<Real>> x_bar; /* [rows][C]: d total/d x */
};

template <typename Real>
Loss<Real> batch_loss(const Settings &settings, const Network &network, const Vector<Real> &parameters,
                      const Batch<Real> &batch);

/* Error r(y, y^) of what the decoder made, "mse", "cross_entropy" (from logits) or "log"; `softmax`: the decoder's
 * result goes through it. `bar` receives dr/dmade. */
template <typename Real>
Real decoded_error(const std::string &type, bool softmax, const Vector<Real> &made, const Vector<Real> &y,
                   Vector<Real> *bar);

/* KL(N(a mean, a^2 variance + b^2) | N(0, 1)) summed over dimensions, a^2 = signal, b^2 = 1 - signal (survey 1.4). */
template <typename Real>
Real kl_of_start(const Real &signal, const Vector<Real> &mean, const Vector<Real> &variance);

/* A label as a clean latent: 1 at the label, off_value elsewhere. */
template <typename Real>
Vector<Real> one_hot(long label, long classes, double off_value);

/* The drift that "ode" and "ou_mean" name, and the predicted target, from a network's output. With cross_entropy the
 * output holds logits. */
template <typename Real>
Vector<Real> predicted_target(const Settings &settings, const Path<Real> &path, const Vector<Real> &z,
                              const Vector<Real> &output);
template <typename Real>
Vector<Real> predicted_drift(const Settings &settings, const Path<Real> &path, const std::string &drift,
                             const Vector<Real> &z, const Vector<Real> &output);

}  // namespace reference

#endif
