/* Optimizers, and whole training runs reproduced from the seed: order of rows, times, noise, dropout, updates. */
#ifndef TESTS_REFERENCE_TRAINING_H
#define TESTS_REFERENCE_TRAINING_H

#include "tests/reference/objective.h"

namespace reference {

/* Adam, AdamW, SGD and Adagrad as optax and PyTorch define them, after an optional clip by global norm, with an
 * optional running average. */
template <typename Real>
struct Optimizer {
  Vector<Real> moment1, moment2, average;
  int64_t step = 0; /* updates done */
};

/* Learning rate of step `step` (0-based) of `total`. */
double rate_at(const Settings &settings, int64_t step, int64_t total);

/* g *= min(1, clip / (norm + 1e-6)); returns the norm before. */
template <typename Real>
Real clip_gradient(double clip, Vector<Real> &gradient);

/* One update of `parameters` with `gradient` at `learning_rate`; advances the optimizer. Weight decay ends before
 * number `decayed`; below 0: it is everybody's. */
template <typename Real>
void update(const Settings &settings, double learning_rate, const Vector<Real> &gradient, Optimizer<Real> &optimizer,
            Vector<Real> &parameters, long decayed = -1);

/* Row of the data set that stands at `position` of epoch `epoch`: the permutation of kernels/row_order.h. */
long row_at(uint64_t seed, long rows, int64_t epoch, long position);

/* Rows to train on, already standardised. */
template <typename Real>
struct Rows {
  std::vector<Vector<Real>> z1, x; /* x may be empty */
  std::vector<long> label;         /* of classification */
};

/* The batch that training step `step` sees: rows by row_at, everything else drawn from the seed. */
template <typename Real>
Batch<Real> training_batch(const Settings &settings, const Network &network, const Rows<Real> &rows, long batch,
                           int64_t step, int64_t dropout_epochs = -1);
/* The random numbers of that step for `rows` rows in order (noprop_model_loss without given t and noise). */
template <typename Real>
void draw_batch(const Settings &settings, const Network &network, int64_t step, bool dropout, Batch<Real> &batch);

/* Times of t_sampling "gamma" and "importance": [kTimeCells + 1] knots between which lie equal masses of gamma' or of
 * the weight, as the engine places them (float32). */
constexpr int kTimeCells = 256;
template <typename Real>
Vector<Real> time_knots(const Settings &settings);

template <typename Real>
struct Training {
  Vector<Real> parameters;
  Optimizer<Real> optimizer;
  std::vector<Loss<Real>> losses; /* of each step, without gradients */
  Vector<Real> gradient_norm;
};
template <typename Real>
Training<Real> train(const Settings &settings, const Network &network, Vector<Real> parameters, const Rows<Real> &rows,
                     long batch, int64_t steps, int64_t total_steps, int64_t dropout_epochs = -1);

}  // namespace reference

#endif
