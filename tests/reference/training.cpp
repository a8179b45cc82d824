/* Updates and the training loop. */
#include "tests/reference/training.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <type_traits>

#include "kernels/row_order.h"
#include "tests/reference/batch.h"
#include "tests/reference/coupling.h"
#include "tests/reference/random.h"

namespace reference {

using std::sqrt;

double rate_at(const Settings &settings, int64_t step, int64_t total) {
  const auto &o = settings.optimizer;
  if (step < o.warmup_steps)
    return o.learning_rate * static_cast<double>(step + 1) / static_cast<double>(o.warmup_steps);
  if (o.schedule == "constant") return o.learning_rate;
  const double progress = static_cast<double>(step - o.warmup_steps) / static_cast<double>(total - o.warmup_steps);
  if (o.schedule == "cosine") return o.learning_rate * 0.5 * (1 + std::cos(M_PI * progress));
  if (o.schedule == "linear") return o.learning_rate * (1 - progress);
  throw std::invalid_argument("the reference does not know the rate schedule " + o.schedule);
}

template <typename Real>
Real clip_gradient(double clip, Vector<Real> &gradient) {
  Real sum = 0.0;
  for (const Real &g : gradient) sum += g * g;
  const Real norm = sqrt(sum), factor = clip / (norm + 1e-6);
  if (clip > 0 && value_of(factor) < 1)
    for (Real &g : gradient) g = g * factor;
  return norm;
}

template <typename Real>
void update(const Settings &settings, double learning_rate, const Vector<Real> &gradient, Optimizer<Real> &optimizer,
            Vector<Real> &parameters, long decayed) {
  const auto &o = settings.optimizer;
  if (optimizer.step == 0) {
    optimizer.moment1.assign(parameters.size(), 0.0);
    optimizer.moment2.assign(parameters.size(), 0.0);
    optimizer.average = parameters;
  }
  const double n = static_cast<double>(++optimizer.step);
  const double correction1 = 1 - std::pow(o.beta1, n), correction2 = 1 - std::pow(o.beta2, n);
  for (size_t i = 0; i < parameters.size(); ++i) {
    Real &p = parameters[i], &m = optimizer.moment1[i], &v = optimizer.moment2[i];
    Real g = gradient[i];
    const double weight_decay = decayed < 0 || static_cast<long>(i) < decayed ? o.weight_decay : 0;
    if (o.type != "adamw" && weight_decay > 0) g += weight_decay * p;
    if (o.type == "adam" || o.type == "adamw") {
      m = o.beta1 * m + (1 - o.beta1) * g;
      v = o.beta2 * v + (1 - o.beta2) * (g * g);
      Real change = (m / correction1) / (sqrt(v / correction2) + o.epsilon);
      if (o.type == "adamw" && weight_decay > 0) change += weight_decay * p;
      p -= learning_rate * change;
    } else if (o.type == "sgd") {
      Real change = g;
      if (o.momentum > 0) {
        m = o.momentum * m + g;
        change = o.nesterov ? g + o.momentum * m : m;
      }
      p -= learning_rate * change;
    } else if (o.type == "adagrad") {
      v = v + g * g;
      p -= learning_rate * g / (sqrt(v) + o.epsilon);
    } else {
      throw std::invalid_argument("the reference does not know the optimizer " + o.type);
    }
    optimizer.average[i] = o.ema * optimizer.average[i] + (1 - o.ema) * p;
  }
}

/* The noise that each row takes under optimal transport. */
template <typename Real>
static std::vector<Vector<Real>> transported(const std::vector<Vector<Real>> &z1,
                                             const std::vector<Vector<Real>> &noise) {
  std::vector<std::vector<double>> to, from;
  for (const auto &row : z1) {
    to.emplace_back();
    for (const Real &value : row) to.back().push_back(value_of(value));
  }
  for (const auto &row : noise) {
    from.emplace_back();
    for (const Real &value : row) from.back().push_back(value_of(value));
  }
  std::vector<Vector<Real>> partners;
  for (const long partner : optimal_partners(to, from)) partners.push_back(noise[static_cast<size_t>(partner)]);
  return partners;
}

template <typename Real>
Vector<Real> time_knots(const Settings &settings) {
  /* Simpson's rule over panels that are even in the logit of t; linear between their ends. */
  const double low = settings.loss.t_eps, high = 1 - low;
  const auto density = [&](double t) {
    const Path<double> path = path_at(settings, t);
    return settings.loss.t_sampling == "gamma" ? 2 * path.r : weight_at(settings, path);
  };
  const int panels = 1 << 16;
  const double edge = 17, first = 1 / (1 + std::exp(edge)), range = 1 - 2 * first, step = 2 * edge / panels;
  const auto time = [&](double x) { return low + (high - low) * (1 / (1 + std::exp(-x)) - first) / range; };
  const auto mass_per_x = [&](double x) {
    const double t = std::min(std::max(time(x), low + 1e-9 * (high - low)), high - 1e-9 * (high - low));
    return density(t) * (high - low) / range / (1 + std::exp(-x)) / (1 + std::exp(x));
  };
  std::vector<double> sums = {0};
  double left = mass_per_x(-edge); /* panels meet exactly: a step is 17 / 2^15 */
  for (int i = 0; i < panels; ++i) {
    const double x = -edge + step * i, right = mass_per_x(x + step);
    sums.push_back(sums.back() + step / 6 * (left + 4 * mass_per_x(x + step / 2) + right));
    left = right;
  }
  /* Two sums that differ by 1e-8 may round to neighbouring floats. */
  const auto knot = [](double t) {
    const double value = static_cast<double>(static_cast<float>(t));
    if constexpr (std::is_same_v<Real, Tracked>) return rounded(value, 0, 2);
    return Real(value);
  };
  Vector<Real> knots = {Real(static_cast<double>(static_cast<float>(low)))};
  for (int k = 1; k < kTimeCells; ++k) {
    const double wanted = sums.back() * k / kTimeCells;
    const size_t i = static_cast<size_t>(std::upper_bound(sums.begin(), sums.end(), wanted) - sums.begin()) - 1;
    const double part = (wanted - sums[i]) / (sums[i + 1] - sums[i]);
    knots.push_back(knot(time(-edge + step * (static_cast<double>(i) + part))));
  }
  knots.push_back(Real(static_cast<double>(static_cast<float>(high))));
  return knots;
}

/* The knots where times are drawn by them, else none. */
template <typename Real>
static Vector<Real> knots_of(const Settings &settings) {
  const std::string &times = settings.loss.t_sampling;
  return times == "gamma" || times == "importance" ? time_knots<Real>(settings) : Vector<Real>{};
}

/* Rows of the step that are without their condition. */
template <typename Real>
static void drop_conditions(const Settings &settings, int64_t step, Batch<Real> &batch) {
  const double threshold = std::round(settings.loss.condition_dropout * 0x1p32);
  batch.without_condition.clear();
  for (size_t i = 0; i < batch.z1.size() && threshold > 0; ++i)
    batch.without_condition.push_back(draw(settings.seed, kConditionDropout, 0, static_cast<uint32_t>(i),
                                           static_cast<uint32_t>(step))[0] < threshold);
}

template <typename Real>
static void draw_batch_with(const Vector<Real> &knots, const Settings &settings, const Network &network, int64_t step,
                            bool dropout, Batch<Real> &batch) {
  const long rows = static_cast<long>(batch.z1.size()), d = network.latent;
  const uint32_t at = static_cast<uint32_t>(step);
  for (int k = 0; k < settings.loss.draws; ++k) {
    const uint32_t number = static_cast<uint32_t>(k);
    const double t_eps = settings.loss.t_eps;
    const std::string &times = settings.loss.t_sampling;
    const bool quantiles = !knots.empty();
    Vector<Real> t, factor;
    for (const Real &u : uniforms<Real>(settings.seed, at, rows, times != "uniform", number)) {
      if (!quantiles) {
        t.push_back(t_eps + (1 - 2 * t_eps) * u);
        continue;
      }
      /* Uniform within a cell of mass 1/cells: density 1/(cells width). */
      const double place = value_of(u) * kTimeCells;
      const size_t cell = std::min(static_cast<size_t>(place), static_cast<size_t>(kTimeCells - 1));
      const Real width = knots[cell + 1] - knots[cell];
      t.push_back(knots[cell] + (u * kTimeCells - static_cast<double>(cell)) * width);
      const Real asked = times == "importance" ? Real(1 / (1 - 2 * t_eps))
                                               : 2.0 * path_at(settings, t.back()).r /
                                                     (gamma_at(settings, 1 - t_eps) - gamma_at(settings, t_eps));
      factor.push_back(asked * (width * static_cast<double>(kTimeCells)));
    }
    batch.t.push_back(t);
    if (quantiles) batch.factor.push_back(factor);
    std::vector<Vector<Real>> noise;
    for (long i = 0; i < rows; ++i)
      noise.push_back(normals<Real>(settings.seed, kNoise, static_cast<uint32_t>(i), at, d, number));
    batch.noise.push_back(settings.coupling == "ot" ? transported(batch.z1, noise) : noise);
    if (settings.loss.vae > 0) {
      batch.end_noise.emplace_back();
      for (long i = 0; i < rows; ++i)
        batch.end_noise.back().push_back(
            normals<Real>(settings.seed, kEndNoise, static_cast<uint32_t>(i), at, d, number));
    }
  }
  if (settings.loss.recon_type == "end_logits") {
    batch.noise.emplace_back();
    for (long i = 0; i < rows; ++i)
      batch.noise.back().push_back(normals<Real>(settings.seed, kNoise, static_cast<uint32_t>(i), at, d,
                                                 static_cast<uint32_t>(settings.loss.draws)));
  }
  for (long i = 0; settings.encoder.normal() && i < rows; ++i)
    batch.encoder_noise.push_back(normals<Real>(settings.seed, kEncoderNoise, static_cast<uint32_t>(i), at, d, 0));
  if (dropout) drop_conditions(settings, step, batch);
  if (!dropout || std::none_of(network.ops.begin(), network.ops.end(), [&](const Op &op) {
        return op.dropout && (op.rate < 0 ? network.dropout : op.rate) > 0;
      }))
    return;
  /* Masks of every op that drops, drawn once; ops of the x-branch are shared by all draws. */
  batch.dropout = [&settings, &network, at](long row, long number) -> Dropout {
    std::vector<std::vector<bool>> masks;
    std::vector<double> scales;
    for (size_t o = 0; o < network.ops.size(); ++o) {
      const Op &op = network.ops[o];
      const double rate = op.rate < 0 ? network.dropout : op.rate;
      masks.push_back(op.dropout ? keep_mask(settings.seed, static_cast<uint32_t>(row), at,
                                             static_cast<uint32_t>(op.layer < 0 ? static_cast<long>(o) : op.layer),
                                             static_cast<uint32_t>(op.x_branch ? 0 : number), op.width, rate)
                                 : std::vector<bool>{});
      scales.push_back(keep_scale(rate));
    }
    return [masks, scales](long op, long feature) {
      return masks[static_cast<size_t>(op)][static_cast<size_t>(feature)] ? scales[static_cast<size_t>(op)] : 0.0;
    };
  };
}

template <typename Real>
void draw_batch(const Settings &settings, const Network &network, int64_t step, bool dropout, Batch<Real> &batch) {
  draw_batch_with(knots_of<Real>(settings), settings, network, step, dropout, batch);
}

long row_at(uint64_t seed, long rows, int64_t epoch, long position) {
  const row_order order = row_order_make(seed, static_cast<unsigned>(epoch), static_cast<unsigned>(rows));
  return static_cast<long>(row_order_row(&order, static_cast<unsigned>(position)));
}

template <typename Real>
static Batch<Real> training_batch_with(const Vector<Real> &knots, const Settings &settings, const Network &network,
                                       const Rows<Real> &rows, long batch, int64_t step, int64_t dropout_epochs) {
  const long count = static_cast<long>(rows.z1.size()), per_epoch = (count + batch - 1) / batch;
  const int64_t epoch = step / per_epoch;
  const long first = static_cast<long>(step % per_epoch) * batch;
  Batch<Real> b;
  for (long position = first; position < std::min(first + batch, count); ++position) {
    const size_t row = static_cast<size_t>(row_at(settings.seed, count, epoch, position));
    b.z1.push_back(rows.z1[row]);
    if (!rows.label.empty()) b.label.push_back(rows.label[row]);
    if (!rows.x.empty()) b.x.push_back(rows.x[row]);
  }
  draw_batch_with(knots, settings, network, step, dropout_epochs < 0 || epoch < dropout_epochs, b);
  drop_conditions(settings, step, b); /* in all epochs */
  return b;
}

template <typename Real>
Batch<Real> training_batch(const Settings &settings, const Network &network, const Rows<Real> &rows, long batch,
                           int64_t step, int64_t dropout_epochs) {
  return training_batch_with(knots_of<Real>(settings), settings, network, rows, batch, step, dropout_epochs);
}

template <typename Real>
Training<Real> train(const Settings &settings, const Network &network, Vector<Real> parameters, const Rows<Real> &rows,
                     long batch, int64_t steps, int64_t total_steps, int64_t dropout_epochs) {
  Training<Real> training;
  training.parameters = std::move(parameters);
  const Vector<Real> knots = knots_of<Real>(settings); /* the schedule stays as it is */
  for (int64_t step = 0; step < steps; ++step) {
    const Batch<Real> b = training_batch_with(knots, settings, network, rows, batch, step, dropout_epochs);
    Loss<Real> loss = batch_loss(settings, network, training.parameters, b);
    training.gradient_norm.push_back(clip_gradient(settings.optimizer.clip, loss.gradient));
    for (const auto &statistics : loss.statistics) update_running(network, statistics, training.parameters);
    update(settings, rate_at(settings, step, total_steps), loss.gradient, training.optimizer, training.parameters,
           network.decayed);
    loss.gradient.clear();
    training.losses.push_back(loss);
  }
  return training;
}

#define INSTANTIATE(Real)                                                                                             \
  template Real clip_gradient(double, Vector<Real> &);                                                                \
  template void update(const Settings &, double, const Vector<Real> &, Optimizer<Real> &, Vector<Real> &, long);      \
  template Batch<Real> training_batch(const Settings &, const Network &, const Rows<Real> &, long, int64_t, int64_t); \
  template Vector<Real> time_knots(const Settings &);                                                                 \
  template void draw_batch(const Settings &, const Network &, int64_t, bool, Batch<Real> &);                          \
  template Training<Real> train(const Settings &, const Network &, Vector<Real>, const Rows<Real> &, long, int64_t,   \
                                int64_t, int64_t);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE

}  // namespace reference
