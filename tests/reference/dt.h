/* Variant dt: blocks on a grid of noise levels, the exact bridge, the bound's terms (survey 1.1 and 1.4).
 *
 * Block k = 1..T sees z_{k-1} ~ N(sqrt(ab_{k-1}) z1, (1 - ab_{k-1}) I) and predicts z1. */
#ifndef TESTS_REFERENCE_DT_H
#define TESTS_REFERENCE_DT_H

#include <functional>
#include <vector>

#include "tests/reference/objective.h"

namespace reference {

/* One step of the bridge from level k-1 to level k: mean = state z + target z1, and a variance. */
struct Bridge {
  double state, target, variance;
};
/* alpha_bar before and after the step, before < after < 1. */
Bridge bridge_step(double before, double after);

/* alpha_bar_0 .. alpha_bar_T, uniform in gamma from logit(low) to logit(high). */
std::vector<double> gamma_grid(double low, double high, int blocks);

/* Weight of block k's squared error summed over the latent dimensions: eta/2 (SNR_k - SNR_{k-1}), k = 1..T at [k-1]. */
std::vector<double> block_weights(const std::vector<double> &alpha_bar, double eta);

/* What block k of a model knows of its place, at [k - 1]; levels are the schedule's at t = 0, 1/T ... 1. `weight` is
 * that of the squared error divided by d. */
struct Level {
  double alpha_bar, weight;
  Bridge bridge;
};
std::vector<Level> levels_of(const Settings &settings, long d);

/* The PyTorch notebook's levels (survey 2.8): alpha_bar_t = prod of cos^2(pi s/2T), s = 1..t; block t sees its own one,
 * weight eta/2 (SNR_t - SNR_(t-1)) of the *mean* square; a step takes the prediction as the state. */
std::vector<Level> notebook_levels(const Settings &settings);

/* The classifier that reads a block's prediction: parameters as those of classifier_loss. Its mean cross-entropy is
 * part of the block's loss; `gradient` and `value` receive its own. */
template <typename Real>
struct PredictionScores {
  Vector<Real> parameters;
  long classes;
  Vector<Real> gradient;
  Real value = 0.0;
};

/* Loss of one block with parameters of its own, and its gradient: weight |prediction - z1|^2/d, averaged over rows and
 * draws, at states sqrt(ab) z1 + sqrt(1 - ab) e with e = batch.noise. Of Loss: total, flow, row_total, prediction, z,
 * gradient, z1_bar. */
template <typename Real>
Loss<Real> block_loss(const Network &network, const Vector<Real> &parameters, const Level &level,
                      const Batch<Real> &batch, PredictionScores<Real> *scores = nullptr);

/* The classifier behind the last block: mean cross-entropy of batch.label from scores z W + b, W [d][classes], at
 * states as above with alpha_bar of level T. `parameters`: W, then b. Of Loss: total, gradient, z1_bar; probabilities
 * of one state by `probabilities_of`. */
template <typename Real>
Loss<Real> classifier_loss(const Vector<Real> &parameters, long classes, double alpha_bar, const Batch<Real> &batch);
template <typename Real>
Vector<Real> probabilities_of(const Vector<Real> &parameters, long classes, const Vector<Real> &z);
/* alpha_bar of level T. */
double last_level(const Settings &settings);

/* States after 0 .. T steps of the bridge for one row; `denoise`: the last one is the last block's prediction. `noise`
 * gives the normals of step k (from 0); empty: the bridge's mean. */
template <typename Real>
std::vector<Vector<Real>> bridge_solve(const Network &network, const std::vector<Vector<Real>> &parameters,
                                       const std::vector<Level> &levels, Vector<Real> z, const Vector<Real> &x,
                                       const std::function<Vector<Real>(int)> &noise, bool denoise);

/* KL of N(sqrt(ab) z1, (1 - ab) I) from N(0, I). */
double kl_start(const std::vector<double> &z1, double alpha_bar);

}  // namespace reference

#endif
