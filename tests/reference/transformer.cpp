#include "tests/reference/transformer.h"

namespace reference {

namespace {

Array add(Transformer &t, const std::string &name, long rows, long columns, bool weight) {
  const Array array{"branch." + name + (weight ? ".weight" : ".bias"), rows, columns, false, t.parameters};
  t.parameters += array.size();
  t.arrays.push_back(array);
  return array;
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
  const long head = t.width / t.heads;
  if (!t.rotary) add_places(stream, trace.places);
  for (const TransformerLayer &l : t.layers) {
    trace.layers.emplace_back();
    auto &layer = trace.layers.back();
    layer.stream = stream;
    for (const auto &token : stream) layer.norm0.push_back(normalise(token));
    const Tokens<Real> qkv = dense(layer.norm0, p, l.qkv, l.qkv_bias);
    layer.q = part_of(qkv, 0, t.width);
    layer.k = part_of(qkv, t.width, t.width);
    layer.v = part_of(qkv, 2 * t.width, t.width);
    if (t.rotary) turn(head, layer.q, trace.places, 1);
    if (t.rotary) turn(head, layer.k, trace.places, 1);
    layer.attention = attend(head, layer.q, layer.k, layer.v, layer.probability);
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
  const long head = t.width / t.heads;
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
    Tokens<Real> qkv, k, v;
    attend_back(head, layer.q, layer.k, layer.v, layer.probability, attention, qkv, k, v);
    if (t.rotary) turn(head, qkv, trace.places, -1);
    if (t.rotary) turn(head, k, trace.places, -1);
    for (size_t token = 0; token < qkv.size(); ++token) {
      qkv[token].insert(qkv[token].end(), k[token].begin(), k[token].end());
      qkv[token].insert(qkv[token].end(), v[token].begin(), v[token].end());
    }
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
