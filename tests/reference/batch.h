/* All rows of a batch through a network whose batch norm takes their mean and variance (Ioffe and Szegedy, "Batch
 * normalization", 2015), op by op; and the steps of one op that this and network.cpp share. */
#ifndef TESTS_REFERENCE_BATCH_H
#define TESTS_REFERENCE_BATCH_H

#include "tests/reference/network.h"

namespace reference {

/* Of each op d/dpost, and what residuals of later ops add to d/dpre. */
template <typename Real>
struct Adjoints {
  std::vector<Vector<Real>> post, pre;
};

/* What the dependence of a batch's statistics on its rows sends back: means over rows of the adjoint of the normalised
 * number, and of that times the number. */
template <typename Real>
struct Feedback {
  Vector<Real> mean, product;
};

template <typename Real>
void forward_op(const Network &network, const Vector<Real> &parameters, size_t o, const Dropout &dropout,
                Trace<Real> &trace);
template <typename Real>
Adjoints<Real> begin_adjoints(const Network &network, const Trace<Real> &trace, const Vector<Real> &cotangent,
                              Vector<Real> *z_bar, Vector<Real> *x_bar);
template <typename Real>
void backward_op(const Network &network, const Vector<Real> &parameters, const Trace<Real> &trace, size_t o,
                 Adjoints<Real> &adjoints, Vector<Real> &gradient, Vector<Real> *z_bar, Vector<Real> *x_bar,
                 const Dropout &dropout, const Feedback<Real> *feedback);

/* One row of a batch: what goes in, and what its passes make. */
template <typename Real>
struct BatchRow {
  Vector<Real> z, x, e;
  Dropout dropout;
  bool without_condition = false;
  Trace<Real> trace;
  Vector<Real> cotangent, z_bar, x_bar;
};

/* Whether some op has statistics of batches. */
bool has_batch_norm(const Network &network);

/* Fills the traces; batch norm by the statistics of these rows, which it returns by ops. Networks without it: row by
 * row, and no statistics. */
template <typename Real>
std::vector<Statistics<Real>> forward_batch(const Network &network, const Vector<Real> &parameters,
                                            std::vector<BatchRow<Real>> &rows);
/* From the rows' cotangents to z_bar and x_bar; adds to `gradient`. `network`: that of the forward pass, or the same
 * without its last op. */
template <typename Real>
void backward_batch(const Network &network, const Vector<Real> &parameters, std::vector<BatchRow<Real>> &rows,
                    const std::vector<Statistics<Real>> &statistics, Vector<Real> &gradient);

/* The running statistics among the parameters after a batch: (1 - momentum) old + momentum new, the variance's new
 * part times count/(count - 1). */
template <typename Real>
void update_running(const Network &network, const std::vector<Statistics<Real>> &statistics, Vector<Real> &parameters);

}  // namespace reference

#endif
