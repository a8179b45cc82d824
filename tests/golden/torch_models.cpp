/* Layers one by one. */
#include "tests/golden/torch_models.h"

#include <algorithm>
#include <cmath>

namespace golden {

Weights::Weights(const File &file, const std::string &path) {
  for (const std::string &name : file.data_sets(path)) arrays[name] = file.read(path + "/" + name);
}

Row Weights::linear(const std::string &name, const Row &in) const {
  const Row &weight = at(name + ".weight");
  Row out = at(name + ".bias");
  for (size_t i = 0; i < out.size(); ++i)
    for (size_t j = 0; j < in.size(); ++j) out[i] += weight[i * in.size() + j] * in[j];
  return out;
}

Row relu(Row row) {
  for (double &v : row) v = std::max(v, 0.0);
  return row;
}

Row softmax(Row logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (double &v : logits) sum += v = std::exp(v - top);
  for (double &v : logits) v /= sum;
  return logits;
}

Row concatenated(std::initializer_list<Row> parts) {
  Row all;
  for (const Row &part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

/* ---- the notebook ---- */

/* 3 x 3, one row of zeros around; planes [channels][side][side]. */
static Row convolved(const Weights &weights, const std::string &name, const Row &planes, long side) {
  const Row &kernel = weights.at(name + ".weight"), &bias = weights.at(name + ".bias");
  const long outs = static_cast<long>(bias.size()), ins = static_cast<long>(planes.size()) / (side * side);
  Row result(static_cast<size_t>(outs * side * side));
  for (long o = 0; o < outs; ++o)
    for (long y = 0; y < side; ++y)
      for (long x = 0; x < side; ++x) {
        double sum = bias[static_cast<size_t>(o)];
        for (long i = 0; i < ins; ++i)
          for (long dy = -1; dy <= 1; ++dy)
            for (long dx = -1; dx <= 1; ++dx) {
              if (y + dy < 0 || y + dy >= side || x + dx < 0 || x + dx >= side) continue;
              sum += kernel[static_cast<size_t>(((o * ins + i) * 3 + dy + 1) * 3 + dx + 1)] *
                     planes[static_cast<size_t>((i * side + y + dy) * side + x + dx)];
            }
        result[static_cast<size_t>((o * side + y) * side + x)] = sum;
      }
  return result;
}

/* Largest of every 2 x 2. */
static Row pooled(const Row &planes, long side) {
  const long half = side / 2, channels = static_cast<long>(planes.size()) / (side * side);
  Row result;
  for (long c = 0; c < channels; ++c)
    for (long y = 0; y < half; ++y)
      for (long x = 0; x < half; ++x) {
        const size_t at = static_cast<size_t>((c * side + 2 * y) * side + 2 * x),
                     below = at + static_cast<size_t>(side);
        result.push_back(std::max({planes[at], planes[at + 1], planes[below], planes[below + 1]}));
      }
  return result;
}

Row denoise_backbone(const Weights &weights, const std::string &block, const Row &image) {
  const std::string name = block + "backbone.";
  long side = std::lround(std::sqrt(static_cast<double>(image.size())));
  Row planes = pooled(relu(convolved(weights, name + "0", image, side)), side);
  side /= 2;
  planes = pooled(relu(convolved(weights, name + "3", planes, side)), side);
  side /= 2;
  planes = relu(convolved(weights, name + "6", planes, side));
  const size_t area = static_cast<size_t>(side * side);
  Row means(planes.size() / area, 0.0);
  for (size_t i = 0; i < planes.size(); ++i) means[i / area] += planes[i] / static_cast<double>(area);
  return relu(weights.linear(name + "10", means));
}

Row denoise_block(const Weights &weights, const std::string &block, const Row &image, const Row &z) {
  const Row features =
      concatenated({denoise_backbone(weights, block, image), relu(weights.linear(block + "z_processor.0", z))});
  return weights.linear(block + "fusion.5",
                        relu(weights.linear(block + "fusion.3", relu(weights.linear(block + "fusion.0", features)))));
}

/* ---- the scripts ---- */

/* Batch norm `name` of all rows. */
static void normalise(const Weights &weights, const std::string &name, const Weights *running, Rows *rows) {
  const double count = static_cast<double>(rows->size());
  for (size_t j = 0; j < (*rows)[0].size(); ++j) {
    double mean = 0, variance = 0;
    for (const Row &row : *rows) mean += row[j] / count;
    for (const Row &row : *rows) variance += (row[j] - mean) * (row[j] - mean) / count;
    if (running) mean = running->at(name + ".running_mean")[j], variance = running->at(name + ".running_var")[j];
    for (Row &row : *rows)
      row[j] = (row[j] - mean) / std::sqrt(variance + 1e-5) * weights.at(name + ".weight")[j] +
               weights.at(name + ".bias")[j];
  }
}

Rows fuse(const Weights &weights, const std::string &name, const Rows &features, const Weights *running) {
  Rows rows;
  for (const Row &row : features) rows.push_back(weights.linear(name + "net.0", row));
  normalise(weights, name + "net.1", running, &rows);
  for (Row &row : rows) row = weights.linear(name + "net.3", relu(row));
  normalise(weights, name + "net.4", running, &rows);
  for (Row &row : rows) row = weights.linear(name + "net.6", relu(row));
  return rows;
}

Row time_features(double t, long n) {
  Row row(static_cast<size_t>(n));
  for (long k = 0; k < n / 2; ++k) {
    const double angle = std::pow(10000, -static_cast<double>(k) / static_cast<double>(n / 2 - 1)) * t;
    row[static_cast<size_t>(k)] = std::sin(angle);
    row[static_cast<size_t>(k + n / 2)] = std::cos(angle);
  }
  return row;
}

TorchSchedule torch_schedule(const Weights &weights, const std::string &prefix, bool simple, double t) {
  const auto softplus = [](double v) { return std::log1p(std::exp(-std::fabs(v))) + std::max(v, 0.0); };
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  const Row &w1 = weights.at(prefix + "gamma_tilde.0.weight"), &b1 = weights.at(prefix + "gamma_tilde.0.bias"),
            &w2 = weights.at(prefix + "gamma_tilde.2.weight"), &b2 = weights.at(prefix + "gamma_tilde.2.bias");
  double slope = 0; /* of the last value asked for */
  const auto raw = [&](double at) {
    double sum = b2[0];
    slope = 0;
    for (size_t i = 0; i < w1.size(); ++i) {
      const double pre = w1[i] * at + b1[i];
      sum += w2[i] * softplus(pre);
      slope += w2[i] * sigmoid(pre) * w1[i];
    }
    slope *= sigmoid(sum);
    return softplus(sum);
  };
  const double first = raw(0), range = raw(1) - first + 1e-8, part = (raw(t) - first) / range;
  const double gamma0 = weights.at(prefix + "gamma0")[0], gamma1 = weights.at(prefix + "gamma1")[0];
  const double gamma = gamma0 + (gamma1 - gamma0) * (1 - std::min(std::max(part, 0.0), 1.0));
  const double scale = simple ? 0.5 : 1, low = simple ? 0.01 : 1e-5;
  const double open = sigmoid(-scale * gamma), signal = std::min(std::max(open, low), 1 - low);
  /* Clamped, nothing changes with t. */
  const bool moves = part > 0 && part < 1 && open > low && open < 1 - low;
  const double gamma_prime = moves ? scale * (gamma1 - gamma0) * slope / range : 0;
  return {signal, gamma_prime * signal / (1 - signal)};
}

TorchSchedule Script::schedule(double t) const {
  return torch_schedule(weights, part("noise.", "noise_schedule."), simple, t);
}

Rows Script::logits(const Rows &z, const Row &times, const Weights *running) const {
  Rows features;
  for (size_t i = 0; i < z.size(); ++i) {
    Row state = simple ? weights.linear("label_enc.fc2", relu(weights.linear("label_enc.fc1", z[i])))
                       : relu(weights.linear("z_enc.net.0", z[i]));
    for (size_t j = 0; simple && j < state.size(); ++j) state[j] += z[i][j];
    const std::string time = part("t_enc.net.0", "time_enc.fc.0");
    const long n = weights.arrays.at(time + ".weight").shape[1];
    features.push_back(concatenated(
        {weights.linear("backbone.1", images[i]), state, relu(weights.linear(time, time_features(times[i], n)))}));
  }
  return fuse(weights, "fuse.", features, running);
}

Row Script::predicted(const Row &logits) const {
  const Row p = softmax(logits);
  if (!simple) return p;
  const Tensor &vectors = weights.arrays.at("W_embed");
  Row mixed(vectors.width(), 0.0);
  for (size_t c = 0; c < p.size(); ++c)
    for (size_t j = 0; j < mixed.size(); ++j) mixed[j] += p[c] * vectors.values[c * mixed.size() + j];
  return mixed;
}

Row Script::latent(long label) const {
  if (simple) return weights.arrays.at("W_embed").row(static_cast<size_t>(label));
  Row one_hot(weights.at("fuse.net.6.bias").size(), 0.0);
  one_hot[static_cast<size_t>(label)] = 1;
  return one_hot;
}

}  // namespace golden
