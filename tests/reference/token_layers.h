/* Layers on tokens, [token][channel], and their reverse: what the transformers of a condition (transformer.h) and of
 * the state (token_field.h) share. */
#ifndef TESTS_REFERENCE_TOKEN_LAYERS_H
#define TESTS_REFERENCE_TOKEN_LAYERS_H

#include <cmath>

#include "tests/reference/network.h"

namespace reference {

template <typename Real>
using Tokens = std::vector<Vector<Real>>;

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
  using std::sqrt;
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
void turn(long size, Tokens<Real> &x, const std::vector<long> &places, double direction) {
  using std::cos, std::sin;
  for (size_t token = 0; token < x.size(); ++token)
    for (long c = 0; c < static_cast<long>(x[token].size()); c += 2) {
      const double angle = static_cast<double>(places[token]) *
                           std::pow(10000.0, -static_cast<double>(c % size) / static_cast<double>(size));
      const Real cosine = cos(Real(angle)), sine = direction * sin(Real(angle));
      Real &a = x[token][static_cast<size_t>(c)], &b = x[token][static_cast<size_t>(c + 1)];
      const Real before = a;
      a = before * cosine - b * sine;
      b = before * sine + b * cosine;
    }
}

/* Sines and cosines of places, added. */
template <typename Real>
void add_places(Tokens<Real> &x, const std::vector<long> &places) {
  using std::cos, std::sin;
  for (size_t token = 0; token < x.size(); ++token)
    for (long c = 0; c < static_cast<long>(x[token].size()); ++c) {
      const double angle = static_cast<double>(places[token]) *
                           std::pow(10000.0, -static_cast<double>(c - c % 2) / static_cast<double>(x[token].size()));
      x[token][static_cast<size_t>(c)] += c % 2 ? cos(Real(angle)) : sin(Real(angle));
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

/* softmax(q k / sqrt(size)) v in heads of `size` channels; probability [head][query][key]. Of no keys: zeros. */
template <typename Real>
Tokens<Real> attend(long size, const Tokens<Real> &q, const Tokens<Real> &k, const Tokens<Real> &v,
                    std::vector<Tokens<Real>> &probability) {
  using std::exp;
  const long width = q.empty() ? 0 : static_cast<long>(q[0].size());
  Tokens<Real> y(q.size(), Vector<Real>(static_cast<size_t>(width), 0.0));
  for (long first = 0; first < width; first += size) {
    probability.emplace_back();
    for (size_t i = 0; i < q.size(); ++i) {
      Vector<Real> score, power;
      Real largest = -1e300, sum = 0.0;
      for (size_t j = 0; j < k.size(); ++j) {
        score.push_back(dot(q[i], k[j], first, size) / std::sqrt(static_cast<double>(size)));
        if (score.back() > largest) largest = score.back();
      }
      for (const Real &s : score) power.push_back(exp(s - largest));
      for (const Real &p : power) sum += p;
      for (Real &p : power) p = p / sum;
      for (size_t j = 0; j < k.size(); ++j)
        for (long c = first; c < first + size; ++c)
          y[i][static_cast<size_t>(c)] += power[j] * v[j][static_cast<size_t>(c)];
      probability.back().push_back(power);
    }
  }
  return y;
}

/* The loss by q, k and v, which are overwritten, from that by what attention gives. */
template <typename Real>
void attend_back(long size, const Tokens<Real> &q, const Tokens<Real> &k, const Tokens<Real> &v,
                 const std::vector<Tokens<Real>> &probability, const Tokens<Real> &bar, Tokens<Real> &q_bar,
                 Tokens<Real> &k_bar, Tokens<Real> &v_bar) {
  const size_t width = bar[0].size();
  q_bar.assign(q.size(), Vector<Real>(width, 0.0));
  k_bar.assign(k.size(), Vector<Real>(width, 0.0));
  v_bar = k_bar;
  for (size_t h = 0; h < probability.size(); ++h)
    for (size_t i = 0; i < q.size(); ++i) {
      const Vector<Real> &p = probability[h][i];
      const long first = static_cast<long>(h) * size;
      Vector<Real> p_bar;
      Real mean = 0.0;
      for (size_t j = 0; j < k.size(); ++j) {
        p_bar.push_back(dot(bar[i], v[j], first, size));
        mean += p[j] * p_bar[j];
      }
      for (size_t j = 0; j < k.size(); ++j) {
        const Real score_bar = p[j] * (p_bar[j] - mean) / std::sqrt(static_cast<double>(size));
        for (size_t c = static_cast<size_t>(first); c < static_cast<size_t>(first + size); ++c) {
          q_bar[i][c] += score_bar * k[j][c];
          k_bar[j][c] += score_bar * q[i][c];
          v_bar[j][c] += p[j] * bar[i][c];
        }
      }
    }
}

}  // namespace reference

#endif
