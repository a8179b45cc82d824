/* Op by op over all rows. */
#include "tests/reference/batch.h"

#include <algorithm>

namespace reference {

static bool of_batch(const Op &op) { return op.batch >= 0 && !op.trained; }

bool has_batch_norm(const Network &network) { return std::any_of(network.ops.begin(), network.ops.end(), of_batch); }

/* What the op reads: batch norm of batches is an op of its own, with one input. */
template <typename Real>
static const Vector<Real> &entering(const Op &op, const Trace<Real> &trace) {
  const Source &source = op.sources[0];
  return source.kind == Source::kX      ? trace.x
         : source.kind == Source::kZ    ? trace.z
         : source.kind == Source::kTime ? trace.e
                                        : trace.post[static_cast<size_t>(source.op)];
}

template <typename Real>
static Statistics<Real> statistics_of(const Op &op, const std::vector<BatchRow<Real>> &rows) {
  const double count = static_cast<double>(rows.size());
  Statistics<Real> s{Vector<Real>(static_cast<size_t>(op.width), 0.0), Vector<Real>(static_cast<size_t>(op.width), 0.0),
                     count};
  for (size_t j = 0; j < s.mean.size(); ++j) {
    for (const auto &row : rows) s.mean[j] += entering(op, row.trace)[j] / count;
    for (const auto &row : rows) {
      const Real rest = entering(op, row.trace)[j] - s.mean[j];
      s.variance[j] += rest * rest / count;
    }
  }
  return s;
}

template <typename Real>
std::vector<Statistics<Real>> forward_batch(const Network &network, const Vector<Real> &parameters,
                                            std::vector<BatchRow<Real>> &rows) {
  std::vector<Statistics<Real>> statistics;
  if (!has_batch_norm(network)) {
    for (auto &row : rows)
      row.trace = forward(network, parameters, row.z, row.x, row.e, row.dropout, row.without_condition);
    return statistics;
  }
  statistics.resize(network.ops.size());
  for (auto &row : rows) {
    row.trace = {row.x, row.z, row.e, {}, {}, row.without_condition};
    row.trace.statistics = &statistics;
  }
  for (size_t o = 0; o < network.ops.size(); ++o) {
    if (of_batch(network.ops[o])) statistics[o] = statistics_of(network.ops[o], rows);
    for (auto &row : rows) forward_op(network, parameters, o, row.dropout, row.trace);
  }
  for (auto &row : rows) row.trace.statistics = nullptr; /* the vector moves */
  return statistics;
}

template <typename Real>
static Feedback<Real> feedback_of(const Network &network, const Vector<Real> &parameters, size_t o,
                                  const std::vector<BatchRow<Real>> &rows, const std::vector<Adjoints<Real>> &adjoints,
                                  const Statistics<Real> &statistics) {
  using std::sqrt;
  const Op &op = network.ops[o];
  const size_t scale = static_cast<size_t>(network.arrays[static_cast<size_t>(op.batch)].offset);
  Feedback<Real> feedback{Vector<Real>(statistics.mean.size(), 0.0), Vector<Real>(statistics.mean.size(), 0.0)};
  for (size_t j = 0; j < feedback.mean.size(); ++j)
    for (size_t i = 0; i < rows.size(); ++i) {
      const Real unit = (rows[i].trace.pre[o][j] - statistics.mean[j]) / sqrt(statistics.variance[j] + kNormEpsilon);
      const Real bar = adjoints[i].post[o][j] * parameters[scale + j] / statistics.count;
      feedback.mean[j] += bar;
      feedback.product[j] += bar * unit;
    }
  return feedback;
}

template <typename Real>
void backward_batch(const Network &network, const Vector<Real> &parameters, std::vector<BatchRow<Real>> &rows,
                    const std::vector<Statistics<Real>> &statistics, Vector<Real> &gradient) {
  if (statistics.empty()) {
    for (auto &row : rows)
      backward(network, parameters, row.trace, row.cotangent, gradient, &row.z_bar, &row.x_bar, row.dropout);
    return;
  }
  std::vector<Adjoints<Real>> adjoints;
  for (auto &row : rows) {
    row.trace.statistics = &statistics;
    adjoints.push_back(begin_adjoints(network, row.trace, row.cotangent, &row.z_bar, &row.x_bar));
  }
  for (size_t o = network.ops.size(); o-- > 0;) {
    Feedback<Real> feedback;
    const bool batch = of_batch(network.ops[o]);
    if (batch) feedback = feedback_of(network, parameters, o, rows, adjoints, statistics[o]);
    for (size_t i = 0; i < rows.size(); ++i)
      backward_op(network, parameters, rows[i].trace, o, adjoints[i], gradient, &rows[i].z_bar, &rows[i].x_bar,
                  rows[i].dropout, batch ? &feedback : nullptr);
  }
  for (auto &row : rows) row.trace.statistics = nullptr;
}

template <typename Real>
void update_running(const Network &network, const std::vector<Statistics<Real>> &statistics, Vector<Real> &parameters) {
  for (size_t o = 0; o < statistics.size(); ++o) {
    const Op &op = network.ops[o];
    if (!of_batch(op)) continue;
    const double n = statistics[o].count;
    const size_t mean = static_cast<size_t>(network.arrays[static_cast<size_t>(op.statistics)].offset),
                 variance = static_cast<size_t>(network.arrays[static_cast<size_t>(op.statistics) + 1].offset);
    for (size_t j = 0; j < statistics[o].mean.size(); ++j) {
      Real &m = parameters[mean + j], &v = parameters[variance + j];
      m = (1 - op.momentum) * m + op.momentum * statistics[o].mean[j];
      v = (1 - op.momentum) * v + op.momentum * (statistics[o].variance[j] * (n / (n - 1)));
    }
  }
}

#define INSTANTIATE(Real)                                                                            \
  template std::vector<Statistics<Real>> forward_batch(const Network &, const Vector<Real> &,        \
                                                       std::vector<BatchRow<Real>> &);               \
  template void backward_batch(const Network &, const Vector<Real> &, std::vector<BatchRow<Real>> &, \
                               const std::vector<Statistics<Real>> &, Vector<Real> &);               \
  template void update_running(const Network &, const std::vector<Statistics<Real>> &, Vector<Real> &);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE

}  // namespace reference
