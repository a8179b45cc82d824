/* Flow, reconstruction and regularisation terms of a batch. */
#include "tests/reference/objective.h"

#include <array>
#include <stdexcept>

#include "tests/reference/batch.h"

namespace reference {

using std::exp, std::log, std::log1p, std::sqrt;

template <typename Real>
Vector<Real> one_hot(long label, long classes, double off_value) {
  Vector<Real> z(static_cast<size_t>(classes), off_value);
  z[static_cast<size_t>(label)] = 1.0;
  return z;
}

/* softmax and -log softmax, shifted by the largest logit. */
template <typename Real>
static Vector<Real> softmax(const Vector<Real> &logits, Vector<Real> *minus_log) {
  double top = value_of(logits[0]);
  for (const Real &l : logits) top = std::max(top, value_of(l));
  Vector<Real> p;
  Real sum = 0.0;
  for (const Real &l : logits) {
    p.push_back(exp(l - top));
    sum += p.back();
  }
  if (minus_log) minus_log->clear();
  for (size_t i = 0; i < p.size(); ++i) {
    p[i] /= sum;
    if (minus_log) minus_log->push_back(log(sum) - (logits[i] - top));
  }
  return p;
}

static bool by_logits(const Settings &settings) {
  return settings.loss.error != "squared" && settings.embedding != "learned"; /* mixtures are vectors */
}

/* With cross_entropy the network's output is turned into the target first; `kind` receives what the result is. */
template <typename Real>
static Vector<Real> decoded(const Settings &settings, const Vector<Real> &output, std::string *kind) {
  *kind = by_logits(settings) ? "target" : settings.predicted();
  if (!by_logits(settings)) return output;
  Vector<Real> p = softmax<Real>(output, nullptr);
  for (Real &v : p) v = settings.off_value + (1 - settings.off_value) * v;
  return p;
}

template <typename Real>
static Vector<Real> combine(const Combination<Real> &c, const Vector<Real> &z, const Vector<Real> &p) {
  Vector<Real> out;
  for (size_t i = 0; i < z.size(); ++i) out.push_back(c.state * z[i] + c.prediction * p[i]);
  return out;
}

template <typename Real>
Vector<Real> predicted_target(const Settings &settings, const Path<Real> &path, const Vector<Real> &z,
                              const Vector<Real> &output) {
  std::string kind;
  const Vector<Real> p = decoded(settings, output, &kind);
  return combine(convert(path, kind, "target"), z, p);
}

template <typename Real>
Vector<Real> predicted_drift(const Settings &settings, const Path<Real> &path, const std::string &drift,
                             const Vector<Real> &z, const Vector<Real> &output) {
  std::string kind;
  const Vector<Real> p = decoded(settings, output, &kind);
  return combine(convert(path, kind, drift == "ode" ? "velocity" : drift), z, p);
}

/* Weights of all draws and rows, normalised over all of them. */
template <typename Real>
static std::vector<Vector<Real>> weights(const Settings &settings, const std::vector<std::vector<Path<Real>>> &paths) {
  std::vector<Vector<Real>> w;
  Real sum = 0.0;
  double count = 0;
  for (const auto &draw : paths) {
    w.emplace_back();
    for (const Path<Real> &path : draw) {
      w.back().push_back(weight_at(settings, path));
      sum += w.back().back();
      ++count;
    }
  }
  for (auto &draw : w)
    for (Real &v : draw) {
      if (settings.loss.normalize == "batch") v /= sum / count + 1e-8;
      if (settings.loss.normalize == "analytic") v /= weight_mean(settings);
      if (settings.loss.normalize == "product") v = sum / count;
    }
  return w;
}

template <typename Real>
static Real term_weight(const Settings &settings, const std::string &name, const Path<Real> &path, const Real &weight) {
  if (name == "none") return 1.0;
  if (name == "same") return weight;
  if (name == "snr_prime") return snr_prime_at(settings, path);
  throw std::invalid_argument("the reference does not know the term weighting " + name);
}

template <typename Real>
Real decoded_error(const std::string &type, bool through_softmax, const Vector<Real> &made, const Vector<Real> &y,
                   Vector<Real> *bar) {
  const double width = static_cast<double>(y.size());
  Vector<Real> minus_log, value = made;
  bar->assign(made.size(), 0.0);
  Real error = 0.0;
  if (type == "cross_entropy") {
    value = softmax(made, &minus_log);
    for (size_t j = 0; j < y.size(); ++j) {
      const bool label = value_of(y[j]) == 1;
      if (label) error += minus_log[j];
      (*bar)[j] = label ? value[j] - 1.0 : value[j];
    }
    return error;
  }
  if (through_softmax) value = softmax<Real>(made, nullptr);
  Real dot = 0.0;
  for (size_t j = 0; j < y.size(); ++j) {
    if (type == "log") {
      error -= y[j] * log(value[j] + 1e-8) / width;
      (*bar)[j] = -(y[j] / (value[j] + 1e-8)) / width;
    } else {
      error += (value[j] - y[j]) * (value[j] - y[j]) / width;
      (*bar)[j] = 2.0 * (value[j] - y[j]) / width;
    }
    dot += (*bar)[j] * value[j];
  }
  if (through_softmax)
    for (size_t j = 0; j < y.size(); ++j) (*bar)[j] = value[j] * ((*bar)[j] - dot);
  return error;
}

template <typename Real>
Real kl_of_start(const Real &signal, const Vector<Real> &mean, const Vector<Real> &variance) {
  Real sum = 0.0;
  for (size_t j = 0; j < mean.size(); ++j) {
    const Real w = signal * (variance[j] - 1.0); /* the variance, less 1 */
    sum += 0.5 * (signal * mean[j] * mean[j] + w - log1p(w));
  }
  return sum;
}

/* What lies around the network of one row: its latent, and where the gradients of encoder and decoder go. */
template <typename Real>
struct Coded {
  Trace<Real> encoded;
  Vector<Real> z1, mean, log_variance, spread; /* log_variance empty: not Gaussian */
};

template <typename Real>
static Coded<Real> encode(const Network &network, const Vector<Real> &parameters, const Batch<Real> &batch,
                          size_t row) {
  Coded<Real> coded;
  coded.z1 = coded.mean = batch.z1[row];
  if (network.encoder.empty()) return coded;
  coded.encoded = forward<Real>(encoder_of(network), parameters, batch.z1[row], {}, {});
  const Vector<Real> &out = coded.encoded.output();
  const size_t d = static_cast<size_t>(network.latent);
  coded.z1 = coded.mean = Vector<Real>(out.begin(), out.begin() + network.latent);
  for (size_t j = 0; out.size() > d && j < d; ++j) {
    coded.log_variance.push_back(out[d + j]);
    coded.spread.push_back(exp(0.5 * out[d + j]) * batch.encoder_noise[row][j]);
    coded.z1[j] = coded.mean[j] + coded.spread[j];
  }
  return coded;
}

/* Decodes `latent`, adds the gradients with `factor`, returns the error; latent_bar receives factor d error/d latent.
 */
template <typename Real>
static Real decode_error(const Settings &settings, const Network &network, const Vector<Real> &parameters,
                         const Vector<Real> &latent, const Vector<Real> &y, const Real &factor, Vector<Real> *gradient,
                         Vector<Real> *latent_bar) {
  const std::string type = settings.loss.recon_type == "none" ? "mse" : settings.loss.recon_type;
  const Network decoder = decoder_of(network);
  Trace<Real> trace;
  if (!decoder.ops.empty()) trace = forward<Real>(decoder, parameters, latent, {}, {});
  Vector<Real> bar;
  const Real error =
      decoded_error(type, settings.decoder.output == "softmax", decoder.ops.empty() ? latent : trace.output(), y, &bar);
  for (Real &b : bar) b = b * factor;
  *latent_bar = bar;
  if (!decoder.ops.empty()) backward<Real>(decoder, parameters, trace, bar, *gradient, latent_bar);
  return error;
}

template <typename Real>
Loss<Real> batch_loss(const Settings &settings, const Network &network, const Vector<Real> &parameters,
                      const Batch<Real> &batch) {
  const size_t rows = batch.z1.size(), draws = batch.t.size(), d = static_cast<size_t>(network.latent);
  const double share = 1.0 / static_cast<double>(rows * draws);
  Loss<Real> loss;
  loss.gradient.assign(static_cast<size_t>(network.parameters), 0.0);
  loss.row_total.assign(rows, 0.0);

  std::vector<std::vector<Path<Real>>> paths(draws);
  for (size_t k = 0; k < draws; ++k)
    for (size_t i = 0; i < rows; ++i) paths[k].push_back(path_at(settings, batch.t[k][i]));
  std::vector<Vector<Real>> all_weights = weights(settings, paths);
  if (settings.loss.scale == "bound") /* half the sum over dimensions in place of their mean */
    for (auto &draw : all_weights)
      for (Real &w : draw) w = w * (0.5 * static_cast<double>(d));
  loss.weight = all_weights[0];

  const Path<Real> path_start = path_at(settings, Real(0.0)), path_end = path_at(settings, Real(1.0));
  const bool plain = network.encoder.empty() && network.decoder.empty() && settings.decoder.output != "softmax" &&
                     settings.loss.recon_type == "mse"; /* the reconstruction is that of the latent */
  std::vector<Coded<Real>> coded;
  for (size_t i = 0; i < rows; ++i) {
    coded.push_back(encode(network, parameters, batch, i));
    loss.latent.push_back(coded.back().z1);
  }

  /* All rows and draws go through the network together: batch norm takes their mean and variance. */
  std::vector<BatchRow<Real>> passed(rows * draws);
  for (size_t k = 0; k < draws; ++k)
    for (size_t i = 0; i < rows; ++i) {
      BatchRow<Real> &row = passed[k * rows + i];
      for (size_t j = 0; j < d; ++j)
        row.z.push_back(paths[k][i].a * coded[i].z1[j] + paths[k][i].b * batch.noise[k][i][j]);
      if (batch.dropout) row.dropout = batch.dropout(static_cast<long>(i), static_cast<long>(k));
      if (!batch.x.empty()) row.x = batch.x[i];
      row.e = embed_time(settings, batch.t[k][i]);
      row.without_condition = !batch.without_condition.empty() && batch.without_condition[i];
    }
  const auto statistics = forward_batch(network, parameters, passed);
  if (!statistics.empty()) loss.statistics.push_back(statistics);
  std::vector<std::array<Vector<Real>, 3>> direct(rows * draws); /* by z, z1 and noise past the network */

  for (size_t k = 0; k < draws; ++k) {
    Vector<Real> w = all_weights[k];
    for (size_t i = 0; i < rows; ++i) {
      const Path<Real> &path = paths[k][i];
      const Vector<Real> &z1 = coded[i].z1, &noise = batch.noise[k][i];
      BatchRow<Real> &row = passed[k * rows + i];
      const Vector<Real> &z = row.z, &output = row.trace.output();
      const Real factor = batch.factor.empty() ? Real(1.0) : batch.factor[k][i];
      const Real weight = w[i];
      w[i] = weight * factor;

      std::string kind;
      const Vector<Real> p = decoded(settings, output, &kind); /* predicted quantity `kind` */
      Real flow = 0.0, recon = 0.0, reg = 0.0;
      Vector<Real> p_bar(d, 0.0), output_bar(d, 0.0), z_bar(d, 0.0), z1_bar(d, 0.0), noise_bar(d, 0.0);
      const double dims = static_cast<double>(d);

      if (settings.loss.error == "cross_entropy") {
        Vector<Real> minus_log;
        const Vector<Real> q = softmax(output, &minus_log);
        const size_t label = static_cast<size_t>(batch.label[i]);
        flow = w[i] * minus_log[label];
        for (size_t j = 0; j < d; ++j) output_bar[j] = w[i] * (j == label ? q[j] - 1.0 : q[j]);
      } else {
        for (size_t j = 0; j < d; ++j) {
          Real by_z1 = 0.0, by_noise = 0.0; /* the truth is linear in both */
          if (kind == "target") {
            by_z1 = 1.0;
          } else if (kind == "noise") {
            by_noise = 1.0;
          } else if (kind == "state") { /* D-12 */
            by_z1 = path.a;
            by_noise = path.b;
          } else if (kind == "v") {
            const Real s = sqrt(path.a * path.a + path.b * path.b);
            by_z1 = -(path.b / s);
            by_noise = path.a / s;
          } else if (settings.linear_path()) {
            by_z1 = 1.0;
            by_noise = -1.0;
          } else {
            by_z1 = path.la * path.a;
            by_noise = path.lb * path.b;
          }
          const Real truth = by_z1 * z1[j] + by_noise * noise[j];
          const Real error = p[j] - truth;
          flow += w[i] * error * error / dims;
          p_bar[j] += 2.0 * w[i] * error / dims;
          z1_bar[j] -= 2.0 * w[i] * error / dims * by_z1;
          noise_bar[j] -= 2.0 * w[i] * error / dims * by_noise;
        }
      }

      const Combination<Real> target = convert(path, kind, "target");
      const Vector<Real> z1_hat = combine(target, z, p);
      Real vae = 0.0, kl_z0 = 0.0;
      if (settings.loss.vae > 0) {
        Vector<Real> end, bar;
        for (size_t j = 0; j < d; ++j) end.push_back(path_end.a * z1[j] + path_end.b * batch.end_noise[k][i][j]);
        vae = decode_error(settings, network, parameters, end, batch.z1[i], Real(settings.loss.vae * share),
                           &loss.gradient, &bar);
        for (size_t j = 0; j < d; ++j) z1_bar[j] += path_end.a * bar[j] / share;
      }
      if (settings.loss.kl_z0 > 0) {
        Vector<Real> variance(d, 0.0);
        for (size_t j = 0; j < coded[i].log_variance.size(); ++j) variance[j] = exp(coded[i].log_variance[j]);
        kl_z0 = kl_of_start(path_start.a * path_start.a, coded[i].mean, variance);
        if (settings.loss.kl_form == "norm") { /* D-10 */
          kl_z0 = 0.0;
          for (const Real &u : coded[i].mean) kl_z0 += 0.5 * u * u;
        }
      }
      if (settings.loss.recon_type == "end_logits") {
        /* once a row, after its draws */
      } else if (settings.loss.recon_weight > 0 && settings.loss.recon_type != "none" && !plain) {
        const Real wr = factor * term_weight(settings, settings.loss.recon_weighting, path, weight);
        Vector<Real> bar;
        recon = wr * decode_error(settings, network, parameters, z1_hat, batch.z1[i],
                                  settings.loss.recon_weight * share * wr, &loss.gradient, &bar);
        for (size_t j = 0; j < d; ++j) {
          p_bar[j] += bar[j] / share * target.prediction;
          z_bar[j] += bar[j] / share * target.state;
        }
      } else if (settings.loss.recon_type == "mse" && plain) {
        const Real wr = factor * term_weight(settings, settings.loss.recon_weighting, path, weight);
        for (size_t j = 0; j < d; ++j) {
          const Real error = z1_hat[j] - z1[j];
          recon += wr * error * error / dims;
          const Real bar = settings.loss.recon_weight * wr * 2.0 * error / dims;
          p_bar[j] += bar * target.prediction;
          z_bar[j] += bar * target.state;
          z1_bar[j] -= bar;
        }
      }

      const Combination<Real> drift =
          convert(path, kind, settings.loss.reg_drift == "ode" ? "velocity" : settings.loss.reg_drift);
      const Vector<Real> velocity = combine(drift, z, p);
      const Real wg = factor * term_weight(settings, settings.loss.reg_weighting, path, weight);
      for (size_t j = 0; j < d; ++j) {
        reg += wg * velocity[j] * velocity[j] / dims;
        const Real bar = settings.loss.reg * wg * 2.0 * velocity[j] / dims;
        p_bar[j] += bar * drift.prediction;
        z_bar[j] += bar * drift.state;
      }

      if (by_logits(settings)) { /* through target = off + (1 - off) softmax(logits) */
        const Vector<Real> q = softmax<Real>(output, nullptr);
        Real dot = 0.0;
        for (size_t j = 0; j < d; ++j) dot += p_bar[j] * q[j];
        for (size_t j = 0; j < d; ++j) output_bar[j] += (1 - settings.off_value) * q[j] * (p_bar[j] - dot);
      } else {
        output_bar = p_bar;
      }

      const Real total = flow + settings.loss.recon_weight * recon + settings.loss.reg * reg + settings.loss.vae * vae +
                         settings.loss.kl_z0 * kl_z0;
      loss.vae += share * vae;
      loss.kl_z0 += share * kl_z0;
      loss.flow += share * flow;
      loss.recon += share * recon;
      loss.reg += share * reg;
      loss.total += share * total;
      loss.row_total[i] += total / static_cast<double>(draws);
      for (Real &v : output_bar) v = v * share;
      row.cotangent = output_bar;
      direct[k * rows + i] = {z_bar, z1_bar, noise_bar};
      if (k > 0) continue;
      loss.prediction.push_back(output);
      loss.z.push_back(z);
      loss.velocity.push_back(velocity);
      loss.target.push_back(z1_hat);
    }
  }
  backward_batch(network, parameters, passed, statistics, loss.gradient);
  for (size_t k = 0; k < draws; ++k)
    for (size_t i = 0; i < rows; ++i) {
      const BatchRow<Real> &row = passed[k * rows + i];
      auto &[z_bar, z1_bar, noise_bar] = direct[k * rows + i];
      if (k == 0) loss.x_bar.emplace_back(row.x_bar.size(), 0.0), loss.z1_bar.emplace_back(d, 0.0);
      for (size_t j = 0; j < row.x_bar.size(); ++j) loss.x_bar[i][j] += row.x_bar[j];
      for (size_t j = 0; j < d; ++j) {
        z_bar[j] = z_bar[j] * share + row.z_bar[j]; /* what reaches z_t through the network */
        loss.z1_bar[i][j] += z1_bar[j] * share + paths[k][i].a * z_bar[j];
        noise_bar[j] = noise_bar[j] * share + paths[k][i].b * z_bar[j];
      }
      if (k > 0) continue;
      loss.z_bar.push_back(z_bar);
      loss.noise_bar.push_back(noise_bar);
    }
  /* The label from the logits at t = 1, at a state with noise of its own: batch.noise[draws]. */
  const bool end_pass = settings.loss.recon_type == "end_logits" && settings.loss.recon_weight > 0;
  if (end_pass) {
    const Real t = 1.0 - settings.loss.t_eps;
    const Path<Real> path = path_at(settings, t);
    std::vector<BatchRow<Real>> ends(rows);
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < d; ++j) ends[i].z.push_back(path.a * coded[i].z1[j] + path.b * batch.noise[draws][i][j]);
      if (batch.dropout) ends[i].dropout = batch.dropout(static_cast<long>(i), static_cast<long>(draws));
      if (!batch.x.empty()) ends[i].x = batch.x[i];
      ends[i].e = embed_time(settings, t);
      ends[i].without_condition = !batch.without_condition.empty() && batch.without_condition[i];
    }
    const auto of_end = forward_batch(network, parameters, ends);
    if (!of_end.empty()) loss.statistics.push_back(of_end);
    for (size_t i = 0; i < rows; ++i) {
      Vector<Real> minus_log;
      const size_t last = ends[i].trace.post.size() - 1;
      const Vector<Real> q = softmax(ends[i].trace.post[network.mixture ? last - 1 : last], &minus_log);
      const size_t label = static_cast<size_t>(batch.label[i]);
      const double weight = settings.loss.recon_weight, one = 1.0 / static_cast<double>(rows);
      loss.recon += one * minus_log[label];
      loss.total += one * weight * minus_log[label];
      loss.row_total[i] += weight * minus_log[label];
      for (size_t j = 0; j < q.size(); ++j)
        ends[i].cotangent.push_back(one * weight * (j == label ? q[j] - 1.0 : q[j]));
    }
    Network logits = network; /* without the mixture behind them */
    if (network.mixture) logits.ops.pop_back();
    backward_batch(logits, parameters, ends, of_end, loss.gradient);
    for (size_t i = 0; i < rows; ++i)
      for (size_t j = 0; j < d; ++j) loss.z1_bar[i][j] += path.a * ends[i].z_bar[j];
  }
  /* On through the encoder; kl_z0 reaches mean and log variance past the latent. */
  for (size_t i = 0; !network.encoder.empty() && i < rows; ++i) {
    const double kl = settings.loss.kl_z0 / static_cast<double>(rows);
    const Real signal = settings.loss.kl_form == "norm" ? Real(1.0) : path_start.a * path_start.a;
    Vector<Real> bar(coded[i].encoded.output().size(), 0.0);
    for (size_t j = 0; j < d; ++j) {
      bar[j] = loss.z1_bar[i][j] + kl * (signal * coded[i].mean[j]);
      if (coded[i].log_variance.empty()) continue;
      const Real variance = exp(coded[i].log_variance[j]), w = signal * (variance - 1.0);
      bar[d + j] = 0.5 * loss.z1_bar[i][j] * coded[i].spread[j] + kl * 0.5 * signal * variance * (w / (1.0 + w));
    }
    backward<Real>(encoder_of(network), parameters, coded[i].encoded, bar, loss.gradient);
  }
  return loss;
}

#define INSTANTIATE(Real)                                                                                             \
  template Real decoded_error(const std::string &, bool, const Vector<Real> &, const Vector<Real> &, Vector<Real> *); \
  template Real kl_of_start(const Real &, const Vector<Real> &, const Vector<Real> &);                                \
  template Vector<Real> one_hot(long, long, double);                                                                  \
  template Loss<Real> batch_loss(const Settings &, const Network &, const Vector<Real> &, const Batch<Real> &);       \
  template Vector<Real> predicted_target(const Settings &, const Path<Real> &, const Vector<Real> &,                  \
                                         const Vector<Real> &);                                                       \
  template Vector<Real> predicted_drift(const Settings &, const Path<Real> &, const std::string &,                    \
                                        const Vector<Real> &, const Vector<Real> &);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE

}  // namespace reference
