#include "tests/reference/dt.h"

#include <cmath>

namespace reference {

Bridge bridge_step(double before, double after) {
  const double r = before / after, noise = 1 - before;
  return {std::sqrt(r) * (1 - after) / noise, std::sqrt(after) * (1 - r) / noise, (1 - r) * (1 - after) / noise};
}

std::vector<double> gamma_grid(double low, double high, int blocks) {
  const double first = std::log(low / (1 - low)), last = std::log(high / (1 - high));
  std::vector<double> grid;
  for (int k = 0; k <= blocks; ++k) grid.push_back(1 / (1 + std::exp(-(first + (last - first) * k / blocks))));
  return grid;
}

std::vector<double> block_weights(const std::vector<double> &alpha_bar, double eta) {
  std::vector<double> weights;
  for (size_t k = 1; k < alpha_bar.size(); ++k)
    weights.push_back(eta / 2 * (alpha_bar[k] / (1 - alpha_bar[k]) - alpha_bar[k - 1] / (1 - alpha_bar[k - 1])));
  return weights;
}

std::vector<Level> levels_of(const Settings &settings, long d) {
  std::vector<double> grid;
  for (int k = 0; k <= settings.dt.blocks; ++k)
    grid.push_back(schedule_at(settings, static_cast<double>(k) / settings.dt.blocks).alpha_bar);
  const std::vector<double> weights = block_weights(grid, settings.dt.eta);
  std::vector<Level> levels;
  for (size_t k = 0; k < weights.size(); ++k)
    levels.push_back({grid[k], static_cast<double>(d) * weights[k], bridge_step(grid[k], grid[k + 1])});
  return levels;
}

std::vector<Level> notebook_levels(const Settings &settings) {
  std::vector<Level> levels;
  double product = 1, before = 0;
  for (int t = 1; t <= settings.dt.blocks; ++t) {
    product *= std::pow(std::cos(M_PI / 2 * t / settings.dt.blocks), 2);
    const double snr = product / (1 - product + 1e-8);
    levels.push_back({product, settings.dt.eta / 2 * (snr - before), {0, 1, 0}});
    before = snr;
  }
  return levels;
}

/* A constant of a kernel: rounded once. */
static double constant(double value, double) { return value; }
static Tracked constant(double value, Tracked) { return rounded(value, 0); }

template <typename Real>
Loss<Real> block_loss(const Network &network, const Vector<Real> &parameters, const Level &level,
                      const Batch<Real> &batch, PredictionScores<Real> *scores) {
  const size_t rows = batch.z1.size(), d = batch.z1[0].size(), draws = batch.noise.size();
  const Real a = constant(std::sqrt(level.alpha_bar), Real()), b = constant(std::sqrt(1 - level.alpha_bar), Real());
  if (scores) scores->gradient.assign(scores->parameters.size(), 0.0);
  const Real weight = constant(level.weight, Real()), share = Real(1.0) / Real(static_cast<double>(rows * draws));
  Loss<Real> loss;
  loss.gradient.assign(static_cast<size_t>(network.parameters), 0.0);
  loss.row_total.assign(rows, 0.0);
  for (size_t k = 0; k < draws; ++k)
    for (size_t i = 0; i < rows; ++i) {
      Vector<Real> z(d), bar(d), z_bar, x_bar;
      for (size_t j = 0; j < d; ++j) z[j] = a * batch.z1[i][j] + b * batch.noise[k][i][j];
      const Dropout dropout = batch.dropout ? batch.dropout(static_cast<long>(i), static_cast<long>(k)) : Dropout();
      const Trace<Real> trace =
          forward<Real>(network, parameters, z, batch.x.empty() ? Vector<Real>() : batch.x[i], {}, dropout);
      Real flow = 0.0;
      for (size_t j = 0; j < d; ++j) {
        const Real error = trace.output()[j] - batch.z1[i][j];
        flow += weight / static_cast<double>(d) * error * error;
        bar[j] = share * (2.0 * weight / static_cast<double>(d) * error);
      }
      Vector<Real> of_target = bar; /* what the error says of z1 */
      if (scores) {
        Batch<Real> one; /* this prediction, as a state without noise */
        one.z1 = {trace.output()};
        one.label = {batch.label[i]};
        one.noise = {{Vector<Real>(d, 0.0)}};
        const Loss<Real> said = classifier_loss(scores->parameters, scores->classes, 1.0, one);
        scores->value += share * said.total;
        for (size_t j = 0; j < said.gradient.size(); ++j) scores->gradient[j] += share * said.gradient[j];
        for (size_t j = 0; j < d; ++j) bar[j] += share * said.z1_bar[0][j];
      }
      backward<Real>(network, parameters, trace, bar, loss.gradient, &z_bar, &x_bar, dropout);
      if (k == 0) loss.x_bar.emplace_back(x_bar.size(), 0.0);
      for (size_t j = 0; j < x_bar.size(); ++j) loss.x_bar[i][j] += x_bar[j];
      if (k == 0) loss.z1_bar.emplace_back(d, 0.0);
      for (size_t j = 0; j < d; ++j) loss.z1_bar[i][j] += a * z_bar[j] - of_target[j];
      loss.flow += share * flow;
      loss.row_total[i] += flow / static_cast<double>(draws);
      if (k > 0) continue;
      loss.prediction.push_back(trace.output());
      loss.z.push_back(z);
    }
  loss.total = loss.flow;
  return loss;
}

double last_level(const Settings &settings) { return schedule_at(settings, 1.0).alpha_bar; }

template <typename Real>
static Vector<Real> scores_of(const Vector<Real> &parameters, long classes, const Vector<Real> &z) {
  const size_t count = static_cast<size_t>(classes);
  Vector<Real> scores;
  for (size_t c = 0; c < count; ++c) {
    Real sum = parameters[z.size() * count + c];
    for (size_t j = 0; j < z.size(); ++j) sum += z[j] * parameters[j * count + c];
    scores.push_back(sum);
  }
  return scores;
}

template <typename Real>
Vector<Real> probabilities_of(const Vector<Real> &parameters, long classes, const Vector<Real> &z) {
  using std::exp;
  Vector<Real> p = scores_of(parameters, classes, z);
  double most = value_of(p[0]);
  for (const Real &v : p) most = std::fmax(most, value_of(v));
  Real sum = 0.0;
  for (Real &v : p) sum += v = exp(v - most);
  for (Real &v : p) v = v / sum;
  return p;
}

template <typename Real>
Loss<Real> classifier_loss(const Vector<Real> &parameters, long classes, double alpha_bar, const Batch<Real> &batch) {
  using std::exp, std::log;
  const size_t rows = batch.z1.size(), d = batch.z1[0].size(), draws = batch.noise.size();
  const size_t count = static_cast<size_t>(classes);
  const Real a = constant(std::sqrt(alpha_bar), Real()), b = constant(std::sqrt(1 - alpha_bar), Real());
  const Real share = Real(1.0) / Real(static_cast<double>(rows * draws));
  Loss<Real> loss;
  loss.gradient.assign(parameters.size(), 0.0);
  loss.z1_bar.assign(rows, Vector<Real>(d, 0.0));
  for (size_t k = 0; k < draws; ++k)
    for (size_t i = 0; i < rows; ++i) {
      const size_t label = static_cast<size_t>(batch.label[i]);
      Vector<Real> z(d);
      for (size_t j = 0; j < d; ++j) z[j] = a * batch.z1[i][j] + b * batch.noise[k][i][j];
      const Vector<Real> scores = scores_of(parameters, classes, z);
      double most = value_of(scores[0]);
      for (const Real &v : scores) most = std::fmax(most, value_of(v));
      Real sum = 0.0;
      for (const Real &v : scores) sum += exp(v - most);
      loss.total += share * (log(sum) + most - scores[label]);
      for (size_t c = 0; c < count; ++c) {
        Real bar = exp(scores[c] - most) / sum;
        if (c == label) bar = bar - 1.0;
        bar = share * bar;
        loss.gradient[d * count + c] += bar;
        for (size_t j = 0; j < d; ++j) {
          loss.gradient[j * count + c] += z[j] * bar;
          loss.z1_bar[i][j] += a * (bar * parameters[j * count + c]);
        }
      }
    }
  return loss;
}

template <typename Real>
std::vector<Vector<Real>> bridge_solve(const Network &network, const std::vector<Vector<Real>> &parameters,
                                       const std::vector<Level> &levels, Vector<Real> z, const Vector<Real> &x,
                                       const std::function<Vector<Real>(int)> &noise, bool denoise) {
  std::vector<Vector<Real>> states = {z};
  for (size_t k = 0; k < levels.size(); ++k) {
    const Vector<Real> target = forward<Real>(network, parameters[k], z, x, {}).output();
    const Bridge &bridge = levels[k].bridge;
    const Vector<Real> e = noise ? noise(static_cast<int>(k)) : Vector<Real>();
    for (size_t j = 0; j < z.size(); ++j) {
      z[j] = constant(bridge.state, Real()) * z[j] + constant(bridge.target, Real()) * target[j];
      if (noise) z[j] += constant(std::sqrt(bridge.variance), Real()) * e[j];
    }
    if (denoise && k + 1 == levels.size()) z = target;
    states.push_back(z);
  }
  return states;
}

#define INSTANTIATE(Real)                                                                                         \
  template Loss<Real> block_loss(const Network &, const Vector<Real> &, const Level &, const Batch<Real> &,       \
                                 PredictionScores<Real> *);                                                       \
  template Loss<Real> classifier_loss(const Vector<Real> &, long, double, const Batch<Real> &);                   \
  template Vector<Real> probabilities_of(const Vector<Real> &, long, const Vector<Real> &);                       \
  template std::vector<Vector<Real>> bridge_solve(const Network &, const std::vector<Vector<Real>> &,             \
                                                  const std::vector<Level> &, Vector<Real>, const Vector<Real> &, \
                                                  const std::function<Vector<Real>(int)> &, bool);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE

double kl_start(const std::vector<double> &z1, double alpha_bar) {
  double squares = 0;
  for (const double z : z1) squares += z * z;
  const double d = static_cast<double>(z1.size());
  return (alpha_bar * squares - d * alpha_bar - d * std::log1p(-alpha_bar)) / 2;
}

}  // namespace reference
