/* Updates and the training loop. */
#include "tests/reference/training.h"

#include <stdexcept>

#include "kernels/row_order.h"
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
            Vector<Real> &parameters) {
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
    if (o.type != "adamw" && o.weight_decay > 0) g += o.weight_decay * p;
    if (o.type == "adam" || o.type == "adamw") {
      m = o.beta1 * m + (1 - o.beta1) * g;
      v = o.beta2 * v + (1 - o.beta2) * (g * g);
      Real change = (m / correction1) / (sqrt(v / correction2) + o.epsilon);
      if (o.type == "adamw") change += o.weight_decay * p;
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
void draw_batch(const Settings &settings, const Network &network, int64_t step, bool dropout, Batch<Real> &batch) {
  const long rows = static_cast<long>(batch.z1.size()), d = static_cast<long>(batch.z1[0].size());
  const uint32_t at = static_cast<uint32_t>(step);
  for (int k = 0; k < settings.loss.draws; ++k) {
    const uint32_t number = static_cast<uint32_t>(k);
    const double t_eps = settings.loss.t_eps;
    Vector<Real> t;
    for (const Real &u : uniforms<Real>(settings.seed, at, rows, settings.loss.t_sampling == "low_discrepancy", number))
      t.push_back(t_eps + (1 - 2 * t_eps) * u);
    batch.t.push_back(t);
    std::vector<Vector<Real>> noise;
    for (long i = 0; i < rows; ++i)
      noise.push_back(normals<Real>(settings.seed, kNoise, static_cast<uint32_t>(i), at, d, number));
    batch.noise.push_back(settings.coupling == "ot" ? transported(batch.z1, noise) : noise);
  }
  if (!dropout || settings.network.dropout == 0) return;
  /* Masks of every op that drops, drawn once; ops of the x-branch are shared by all draws. */
  batch.dropout = [&settings, &network, at](long row, long number) -> Dropout {
    std::vector<std::vector<bool>> masks;
    for (size_t o = 0; o < network.ops.size(); ++o) {
      const Op &op = network.ops[o];
      masks.push_back(op.dropout ? keep_mask(settings.seed, static_cast<uint32_t>(row), at, static_cast<uint32_t>(o),
                                             static_cast<uint32_t>(op.x_branch ? 0 : number), op.width, network.dropout)
                                 : std::vector<bool>{});
    }
    const double scale = keep_scale(network.dropout);
    return [masks, scale](long op, long feature) {
      return masks[static_cast<size_t>(op)][static_cast<size_t>(feature)] ? scale : 0.0;
    };
  };
}

long row_at(uint64_t seed, long rows, int64_t epoch, long position) {
  const row_order order = row_order_make(seed, static_cast<unsigned>(epoch), static_cast<unsigned>(rows));
  return static_cast<long>(row_order_row(&order, static_cast<unsigned>(position)));
}

template <typename Real>
Batch<Real> training_batch(const Settings &settings, const Network &network, const Rows<Real> &rows, long batch,
                           int64_t step, int64_t dropout_epochs) {
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
  draw_batch(settings, network, step, dropout_epochs < 0 || epoch < dropout_epochs, b);
  return b;
}

template <typename Real>
Training<Real> train(const Settings &settings, const Network &network, Vector<Real> parameters, const Rows<Real> &rows,
                     long batch, int64_t steps, int64_t total_steps, int64_t dropout_epochs) {
  Training<Real> training;
  training.parameters = std::move(parameters);
  for (int64_t step = 0; step < steps; ++step) {
    const Batch<Real> b = training_batch(settings, network, rows, batch, step, dropout_epochs);
    Loss<Real> loss = batch_loss(settings, network, training.parameters, b);
    training.gradient_norm.push_back(clip_gradient(settings.optimizer.clip, loss.gradient));
    update(settings, rate_at(settings, step, total_steps), loss.gradient, training.optimizer, training.parameters);
    loss.gradient.clear();
    training.losses.push_back(loss);
  }
  return training;
}

#define INSTANTIATE(Real)                                                                                             \
  template Real clip_gradient(double, Vector<Real> &);                                                                \
  template void update(const Settings &, double, const Vector<Real> &, Optimizer<Real> &, Vector<Real> &);            \
  template Batch<Real> training_batch(const Settings &, const Network &, const Rows<Real> &, long, int64_t, int64_t); \
  template void draw_batch(const Settings &, const Network &, int64_t, bool, Batch<Real> &);                          \
  template Training<Real> train(const Settings &, const Network &, Vector<Real>, const Rows<Real> &, long, int64_t,   \
                                int64_t, int64_t);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE

}  // namespace reference
