#include "tests/reference/transformer.h"

#include <cmath>

namespace reference {

namespace {

using std::cos;
using std::exp;
using std::sin;
using std::sqrt;

Array add(Transformer &t, const std::string &name, long rows, long columns, bool weight) {
  const Array array{"branch." + name + (weight ? ".weight" : ".bias"), rows, columns, false, t.parameters};
  t.parameters += array.size();
  t.arrays.push_back(array);
  return array;
}

template <typename Real>
Tokens<Real> dense(const Tokens<Real> &x, const Vector<Real> &p, const Array &weight, const Array &bias) {
  const long inputs = weight.rows, outputs = weight.columns;
  Tokens<Real> y;
  for (const auto &token : x) {
    y.emplace_back();
    for (long o = 0; o < outputs; ++o) {
      Real sum = p[static_cast<size_t>(bias.offset + o)];
      for (long i = 0; i < inputs; ++i)
        sum += token[static_cast<size_t>(i)] * p[static_cast<size_t>(weight.offset + i * outputs + o)];
      y.back().push_back(sum);
    }
  }
  return y;
}

/* Gradients of a dense layer from the loss by its outputs; returns the loss by its inputs. */
template <typename Real>
Tokens<Real> dense_back(const Tokens<Real> &x, const Tokens<Real> &y_bar, const Vector<Real> &p, const Array &weight,
                        const Array &bias, Vector<Real> &gradient) {
  const long inputs = weight.rows, outputs = weight.columns;
  Tokens<Real> x_bar;
  for (size_t t = 0; t < x.size(); ++t) {
    x_bar.emplace_back(static_cast<size_t>(inputs), 0.0);
    for (long o = 0; o < outputs; ++o) {
      const Real bar = y_bar[t][static_cast<size_t>(o)];
      gradient[static_cast<size_t>(bias.offset + o)] += bar;
      for (long i = 0; i < inputs; ++i) {
        const size_t at = static_cast<size_t>(weight.offset + i * outputs + o);
        gradient[at] += bar * x[t][static_cast<size_t>(i)];
        x_bar[t][static_cast<size_t>(i)] += bar * p[at];
      }
    }
  }
  return x_bar;
}

template <typename Real>
Real mean_of(const Vector<Real> &x) {
  Real sum = 0.0;
  for (const Real &v : x) sum += v;
  return sum / static_cast<double>(x.size());
}

template <typename Real>
Real deviation_with(const Vector<Real> &x) {
  const Real mean = mean_of(x);
  Vector<Real> squares;
  for (const Real &v : x) squares.push_back((v - mean) * (v - mean));
  return sqrt(mean_of(squares) + Real(1e-5));
}

template <typename Real>
Vector<Real> normalise(const Vector<Real> &x) {
  const Real mean = mean_of(x), deviation = deviation_with(x);
  Vector<Real> y;
  for (const Real &v : x) y.push_back((v - mean) / deviation);
  return y;
}

/* The loss by x from that by n = normalise(x): (n_bar - mean(n_bar) - n mean(n n_bar)) / deviation. */
template <typename Real>
Vector<Real> normalise_back(const Vector<Real> &x, const Vector<Real> &n_bar) {
  const Vector<Real> n = normalise(x);
  Vector<Real> products;
  for (size_t i = 0; i < n.size(); ++i) products.push_back(n[i] * n_bar[i]);
  const Real mean = mean_of(n_bar), share = mean_of(products), deviation = deviation_with(x);
  Vector<Real> x_bar;
  for (size_t i = 0; i < n.size(); ++i) x_bar.push_back((n_bar[i] - mean - n[i] * share) / deviation);
  return x_bar;
}

/* Pairs of a head's channels turned by place * 10000^(-2 pair / size). */
template <typename Real>
void turn(const Transformer &t, Tokens<Real> &x, const std::vector<long> &places, double direction) {
  const long size = t.width / t.heads;
  if (!t.rotary) return;
  for (size_t token = 0; token < x.size(); ++token)
    for (long c = 0; c < t.width; c += 2) {
      const double angle = static_cast<double>(places[token]) *
                           std::pow(10000.0, -static_cast<double>(c % size) / static_cast<double>(size));
      const Real cosine = cos(Real(angle)), sine = direction * sin(Real(angle));
      Real &a = x[token][static_cast<size_t>(c)], &b = x[token][static_cast<size_t>(c + 1)];
      const Real before = a;
      a = before * cosine - b * sine;
      b = before * sine + b * cosine;
    }
}

template <typename Real>
Tokens<Real> part_of(const Tokens<Real> &x, long first, long count) {
  Tokens<Real> y;
  for (const auto &token : x) y.emplace_back(token.begin() + first, token.begin() + first + count);
  return y;
}

template <typename Real>
void add_to(Tokens<Real> &x, const Tokens<Real> &y) {
  for (size_t t = 0; t < x.size(); ++t)
    for (size_t i = 0; i < x[t].size(); ++i) x[t][i] += y[t][i];
}

template <typename Real>
Real dot(const Vector<Real> &a, const Vector<Real> &b, long first, long count) {
  Real sum = 0.0;
  for (long i = first; i < first + count; ++i) sum += a[static_cast<size_t>(i)] * b[static_cast<size_t>(i)];
  return sum;
}

template <typename Real>
void attend(const Transformer &t, typename TransformerTrace<Real>::Layer &layer) {
  const size_t tokens = layer.q.size();
  const long size = t.width / t.heads;
  layer.attention.assign(tokens, Vector<Real>(static_cast<size_t>(t.width), 0.0));
  for (long h = 0; h < t.heads; ++h) {
    layer.probability.emplace_back();
    for (size_t i = 0; i < tokens; ++i) {
      Vector<Real> score, power;
      Real largest = -1e300, sum = 0.0;
      for (size_t j = 0; j < tokens; ++j) {
        score.push_back(dot(layer.q[i], layer.k[j], h * size, size) / std::sqrt(static_cast<double>(size)));
        if (score.back() > largest) largest = score.back();
      }
      for (const Real &s : score) power.push_back(exp(s - largest));
      for (const Real &p : power) sum += p;
      for (Real &p : power) p = p / sum;
      for (size_t j = 0; j < tokens; ++j)
        for (long c = h * size; c < (h + 1) * size; ++c)
          layer.attention[i][static_cast<size_t>(c)] += power[j] * layer.v[j][static_cast<size_t>(c)];
      layer.probability.back().push_back(power);
    }
  }
}

/* The loss by q, k and v, beside each other, from that by what attention gives. */
template <typename Real>
Tokens<Real> attend_back(const Transformer &t, const typename TransformerTrace<Real>::Layer &layer,
                         const std::vector<long> &places, const Tokens<Real> &bar) {
  const size_t tokens = bar.size(), width = static_cast<size_t>(t.width);
  const long size = t.width / t.heads;
  Tokens<Real> q(tokens, Vector<Real>(width, 0.0)), k = q, v = q;
  for (long h = 0; h < t.heads; ++h)
    for (size_t i = 0; i < tokens; ++i) {
      const Vector<Real> &p = layer.probability[static_cast<size_t>(h)][i];
      Vector<Real> p_bar;
      Real mean = 0.0;
      for (size_t j = 0; j < tokens; ++j) {
        p_bar.push_back(dot(bar[i], layer.v[j], h * size, size));
        mean += p[j] * p_bar[j];
      }
      for (size_t j = 0; j < tokens; ++j) {
        const Real score_bar = p[j] * (p_bar[j] - mean) / std::sqrt(static_cast<double>(size));
        for (size_t c = static_cast<size_t>(h * size); c < static_cast<size_t>((h + 1) * size); ++c) {
          q[i][c] += score_bar * layer.k[j][c];
          k[j][c] += score_bar * layer.q[i][c];
          v[j][c] += p[j] * bar[i][c];
        }
      }
    }
  turn(t, q, places, -1);
  turn(t, k, places, -1);
  for (size_t i = 0; i < tokens; ++i) {
    q[i].insert(q[i].end(), k[i].begin(), k[i].end());
    q[i].insert(q[i].end(), v[i].begin(), v[i].end());
  }
  return q;
}

}  // namespace

Transformer make_transformer(long channels, long width, long heads, long feed, long layers, bool rotary,
                             const std::string &activation) {
  Transformer t{channels, width, heads, feed, rotary, activation, {}, {}, {}, {}, 0};
  t.embed = add(t, "embed", channels + 1, width, true);
  t.embed_bias = add(t, "embed", 1, width, false);
  for (long i = 0; i < layers; ++i) {
    const std::string name = std::to_string(i) + ".";
    TransformerLayer layer;
    layer.qkv = add(t, name + "qkv", width, 3 * width, true);
    layer.qkv_bias = add(t, name + "qkv", 1, 3 * width, false);
    layer.out = add(t, name + "out", width, width, true);
    layer.out_bias = add(t, name + "out", 1, width, false);
    layer.feed0 = add(t, name + "feed.0", width, feed, true);
    layer.feed0_bias = add(t, name + "feed.0", 1, feed, false);
    layer.feed1 = add(t, name + "feed.1", feed, width, true);
    layer.feed1_bias = add(t, name + "feed.1", 1, width, false);
    t.layers.push_back(layer);
  }
  return t;
}

template <typename Real>
TransformerTrace<Real> transformer_forward(const Transformer &t, const Vector<Real> &p, const Tokens<Real> &positions,
                                           const std::vector<bool> &there) {
  TransformerTrace<Real> trace;
  long end = 0;
  for (size_t i = 0; i < positions.size(); ++i) {
    if (!there.empty() && !there[i]) continue;
    trace.input.push_back(positions[i]);
    trace.input.back().push_back(0.0);
    trace.places.push_back(static_cast<long>(i));
    end = static_cast<long>(i) + 1;
  }
  trace.input.emplace_back(static_cast<size_t>(t.channels), 0.0);
  trace.input.back().push_back(1.0);
  trace.places.push_back(end);
  Tokens<Real> stream = dense(trace.input, p, t.embed, t.embed_bias);
  for (size_t token = 0; token < stream.size() && !t.rotary; ++token)
    for (long c = 0; c < t.width; ++c) {
      const double angle = static_cast<double>(trace.places[token]) *
                           std::pow(10000.0, -static_cast<double>(c - c % 2) / static_cast<double>(t.width));
      stream[token][static_cast<size_t>(c)] += c % 2 ? cos(Real(angle)) : sin(Real(angle));
    }
  for (const TransformerLayer &l : t.layers) {
    trace.layers.emplace_back();
    auto &layer = trace.layers.back();
    layer.stream = stream;
    for (const auto &token : stream) layer.norm0.push_back(normalise(token));
    const Tokens<Real> qkv = dense(layer.norm0, p, l.qkv, l.qkv_bias);
    layer.q = part_of(qkv, 0, t.width);
    layer.k = part_of(qkv, t.width, t.width);
    layer.v = part_of(qkv, 2 * t.width, t.width);
    turn(t, layer.q, trace.places, 1);
    turn(t, layer.k, trace.places, 1);
    attend<Real>(t, layer);
    add_to(stream, dense(layer.attention, p, l.out, l.out_bias));
    layer.middle = stream;
    for (const auto &token : stream) layer.norm1.push_back(normalise(token));
    layer.before = dense(layer.norm1, p, l.feed0, l.feed0_bias);
    for (const auto &token : layer.before) {
      layer.after.emplace_back();
      for (const Real &v : token) layer.after.back().push_back(activate(t.activation, v));
    }
    add_to(stream, dense(layer.after, p, l.feed1, l.feed1_bias));
  }
  trace.last = stream.back();
  trace.features = normalise(trace.last);
  return trace;
}

template <typename Real>
void transformer_backward(const Transformer &t, const Vector<Real> &p, const TransformerTrace<Real> &trace,
                          const Vector<Real> &cotangent, Vector<Real> &gradient) {
  Tokens<Real> bar(trace.places.size(), Vector<Real>(static_cast<size_t>(t.width), 0.0));
  bar.back() = normalise_back(trace.last, cotangent);
  const auto through_norm = [&](const Tokens<Real> &x, const Tokens<Real> &n_bar) {
    for (size_t i = 0; i < x.size(); ++i) {
      const Vector<Real> more = normalise_back(x[i], n_bar[i]);
      for (size_t c = 0; c < more.size(); ++c) bar[i][c] += more[c];
    }
  };
  for (size_t i = t.layers.size(); i-- > 0;) {
    const TransformerLayer &l = t.layers[i];
    const auto &layer = trace.layers[i];
    Tokens<Real> hidden = dense_back(layer.after, bar, p, l.feed1, l.feed1_bias, gradient);
    for (size_t k = 0; k < hidden.size(); ++k)
      for (size_t c = 0; c < hidden[k].size(); ++c) hidden[k][c] *= activate_prime(t.activation, layer.before[k][c]);
    through_norm(layer.middle, dense_back(layer.norm1, hidden, p, l.feed0, l.feed0_bias, gradient));
    const Tokens<Real> attention = dense_back(layer.attention, bar, p, l.out, l.out_bias, gradient);
    const Tokens<Real> qkv = attend_back<Real>(t, layer, trace.places, attention);
    through_norm(layer.stream, dense_back(layer.norm0, qkv, p, l.qkv, l.qkv_bias, gradient));
  }
  dense_back(trace.input, bar, p, t.embed, t.embed_bias, gradient);
}

#define INSTANTIATE(Real)                                                                                              \
  template TransformerTrace<Real> transformer_forward(const Transformer &, const Vector<Real> &, const Tokens<Real> &, \
                                                      const std::vector<bool> &);                                      \
  template void transformer_backward(const Transformer &, const Vector<Real> &, const TransformerTrace<Real> &,        \
                                     const Vector<Real> &, Vector<Real> &);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE

}  // namespace reference
