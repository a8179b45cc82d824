#include "tests/reference/token_field.h"

#include "tests/reference/token_layers.h"

namespace reference {

namespace {

/* ---- arrays ---- */

Array add(Network &network, const std::string &name, long rows, long columns, bool weight) {
  Array array{name + (weight ? ".weight" : ".bias"), rows, columns, true, network.parameters};
  network.parameters += array.size();
  network.arrays.push_back(array);
  return array;
}

void add_dense(Network &network, const std::string &name, long inputs, long outputs, Array &weight, Array &bias) {
  weight = add(network, name, inputs, outputs, true);
  bias = add(network, name, 1, outputs, false);
}

TokenLayer add_layer(Network &network, const TokenField &f, const std::string &name, bool cross) {
  TokenLayer l;
  add_dense(network, name + ".qkv", f.width, 3 * f.width, l.qkv, l.qkv_bias);
  add_dense(network, name + ".out", f.width, f.width, l.out, l.out_bias);
  if (cross) {
    add_dense(network, name + ".cross.query", f.width, f.width, l.query, l.query_bias);
    add_dense(network, name + ".cross.keys", f.width, 2 * f.width, l.keys, l.keys_bias);
    add_dense(network, name + ".cross.out", f.width, f.width, l.mix, l.mix_bias);
  }
  add_dense(network, name + ".feed.0", f.width, f.feed, l.feed0, l.feed0_bias);
  add_dense(network, name + ".feed.1", f.feed, f.width, l.feed1, l.feed1_bias);
  return l;
}

/* ---- parts of a layer ---- */

template <typename Real>
Tokens<Real> normalised(const Tokens<Real> &x) {
  Tokens<Real> n;
  for (const auto &token : x) n.push_back(normalise(token));
  return n;
}

/* bar += the loss by x from that by its normalised tokens. */
template <typename Real>
void through_norm(const Tokens<Real> &x, const Tokens<Real> &n_bar, Tokens<Real> &bar) {
  Tokens<Real> more;
  for (size_t i = 0; i < x.size(); ++i) more.push_back(normalise_back(x[i], n_bar[i]));
  add_to(bar, more);
}

/* Attention of normalised tokens to themselves or to others: what it met, and what its output was made of. */
template <typename Real>
struct Attention {
  Tokens<Real> stream, norm, q, k, v, met;
  std::vector<Tokens<Real>> probability;
};

/* One row on its way. */
template <typename Real>
struct Pass {
  const TokenField &f;
  const Vector<Real> &p;
  long head() const { return f.width / f.heads; }

  Attention<Real> to_itself(const TokenLayer &l, Tokens<Real> &stream, const std::vector<long> &places) const {
    Attention<Real> a{stream, normalised(stream), {}, {}, {}, {}, {}};
    const Tokens<Real> qkv = dense(a.norm, p, l.qkv, l.qkv_bias);
    a.q = part_of(qkv, 0, f.width), a.k = part_of(qkv, f.width, f.width), a.v = part_of(qkv, 2 * f.width, f.width);
    if (f.rotary) turn(head(), a.q, places, 1);
    if (f.rotary) turn(head(), a.k, places, 1);
    a.met = attend(head(), a.q, a.k, a.v, a.probability);
    add_to(stream, dense(a.met, p, l.out, l.out_bias));
    return a;
  }
  void to_itself_back(const TokenLayer &l, const Attention<Real> &a, const std::vector<long> &places, Tokens<Real> &bar,
                      Vector<Real> &gradient) const {
    Tokens<Real> q, k, v;
    attend_back(head(), a.q, a.k, a.v, a.probability, dense_back(a.met, bar, p, l.out, l.out_bias, gradient), q, k, v);
    if (f.rotary) turn(head(), q, places, -1);
    if (f.rotary) turn(head(), k, places, -1);
    for (size_t i = 0; i < q.size(); ++i) {
      q[i].insert(q[i].end(), k[i].begin(), k[i].end());
      q[i].insert(q[i].end(), v[i].begin(), v[i].end());
    }
    through_norm(a.stream, dense_back(a.norm, q, p, l.qkv, l.qkv_bias, gradient), bar);
  }

  Attention<Real> to_others(const TokenLayer &l, Tokens<Real> &stream, const std::vector<long> &places,
                            const Tokens<Real> &others, const std::vector<long> &other_places) const {
    Attention<Real> a{stream, normalised(stream), {}, {}, {}, {}, {}};
    a.q = dense(a.norm, p, l.query, l.query_bias);
    const Tokens<Real> keys = dense(others, p, l.keys, l.keys_bias);
    a.k = part_of(keys, 0, f.width), a.v = part_of(keys, f.width, f.width);
    if (f.rotary) turn(head(), a.q, places, 1);
    if (f.rotary) turn(head(), a.k, other_places, 1);
    a.met = attend(head(), a.q, a.k, a.v, a.probability);
    add_to(stream, dense(a.met, p, l.mix, l.mix_bias));
    return a;
  }
  void to_others_back(const TokenLayer &l, const Attention<Real> &a, const std::vector<long> &places,
                      const Tokens<Real> &others, const std::vector<long> &other_places, Tokens<Real> &bar,
                      Tokens<Real> &others_bar, Vector<Real> &gradient) const {
    Tokens<Real> q, k, v;
    attend_back(head(), a.q, a.k, a.v, a.probability, dense_back(a.met, bar, p, l.mix, l.mix_bias, gradient), q, k, v);
    if (f.rotary) turn(head(), q, places, -1);
    if (f.rotary) turn(head(), k, other_places, -1);
    for (size_t i = 0; i < k.size(); ++i) k[i].insert(k[i].end(), v[i].begin(), v[i].end());
    add_to(others_bar, dense_back(others, k, p, l.keys, l.keys_bias, gradient));
    through_norm(a.stream, dense_back(a.norm, q, p, l.query, l.query_bias, gradient), bar);
  }

  struct Fed {
    Tokens<Real> stream, norm, before, after;
  };
  Fed feed(const TokenLayer &l, Tokens<Real> &stream) const {
    Fed fed{stream, normalised(stream), {}, {}};
    fed.before = dense(fed.norm, p, l.feed0, l.feed0_bias);
    for (const auto &token : fed.before) {
      fed.after.emplace_back();
      for (const Real &v : token) fed.after.back().push_back(activate(f.activation, v));
    }
    add_to(stream, dense(fed.after, p, l.feed1, l.feed1_bias));
    return fed;
  }
  void feed_back(const TokenLayer &l, const Fed &fed, Tokens<Real> &bar, Vector<Real> &gradient) const {
    Tokens<Real> hidden = dense_back(fed.after, bar, p, l.feed1, l.feed1_bias, gradient);
    for (size_t i = 0; i < hidden.size(); ++i)
      for (size_t c = 0; c < hidden[i].size(); ++c) hidden[i][c] *= activate_prime(f.activation, fed.before[i][c]);
    through_norm(fed.stream, dense_back(fed.norm, hidden, p, l.feed0, l.feed0_bias, gradient), bar);
  }
};

/* The loss by the output, if there is one, back to all parameters; returns the output. */
template <typename Real>
Vector<Real> run(const TokenField &f, const Vector<Real> &p, const Vector<Real> &z, const Vector<Real> &x,
                 const Vector<Real> &e, bool without_condition, const Vector<Real> *cotangent, Vector<Real> *gradient,
                 Vector<Real> *z_bar) {
  using Fed = typename Pass<Real>::Fed;
  const Pass<Real> pass{f, p};
  /* Positions that are there; the state's begin behind the last of them, whether the condition is dropped or not. */
  Tokens<Real> input, condition, encoded;
  std::vector<long> condition_places, places;
  long end = f.masked ? 0 : f.positions;
  for (long i = 0; i < f.positions; ++i) {
    const auto at = x.begin() + i * (f.inputs + f.masked);
    if (f.masked && value_of(at[f.inputs]) <= 0.5) continue;
    end = f.masked ? i + 1 : end;
    if (without_condition) continue;
    input.emplace_back(at, at + f.inputs);
    condition_places.push_back(i);
  }
  for (long i = 0; i < f.tokens; ++i) places.push_back(end + i);
  std::vector<Attention<Real>> condition_attention, attention, cross;
  std::vector<Fed> condition_fed, fed;
  if (!input.empty()) condition = dense(input, p, f.condition_embed, f.condition_embed_bias);
  if (!f.rotary) add_places(condition, condition_places);
  for (const TokenLayer &l : f.condition_layers) {
    condition_attention.push_back(pass.to_itself(l, condition, condition_places));
    condition_fed.push_back(pass.feed(l, condition));
  }
  encoded = normalised(condition);

  Tokens<Real> state, stream;
  for (long i = 0; i < f.tokens; ++i) state.emplace_back(z.begin() + i * f.channels, z.begin() + (i + 1) * f.channels);
  stream = dense(state, p, f.embed, f.embed_bias);
  for (auto &token : stream)
    for (long c = 0; c < f.width; ++c)
      for (size_t j = 0; j < e.size(); ++j)
        token[static_cast<size_t>(c)] +=
            e[j] * p[static_cast<size_t>(f.time.offset + static_cast<long>(j) * f.width + c)];
  if (!f.rotary) add_places(stream, places);
  for (const TokenLayer &l : f.layers) {
    attention.push_back(pass.to_itself(l, stream, places));
    if (f.positions > 0) cross.push_back(pass.to_others(l, stream, places, encoded, condition_places));
    fed.push_back(pass.feed(l, stream));
  }
  const Tokens<Real> last = normalised(stream), made = dense(last, p, f.output, f.output_bias);
  Vector<Real> output;
  for (const auto &token : made) output.insert(output.end(), token.begin(), token.end());
  if (!cotangent) return output;

  Tokens<Real> made_bar, bar(stream.size(), Vector<Real>(static_cast<size_t>(f.width), 0.0)),
      encoded_bar(encoded.size(), Vector<Real>(static_cast<size_t>(f.width), 0.0)), condition_bar = encoded_bar;
  for (long i = 0; i < f.tokens; ++i)
    made_bar.emplace_back(cotangent->begin() + i * f.channels, cotangent->begin() + (i + 1) * f.channels);
  through_norm(stream, dense_back(last, made_bar, p, f.output, f.output_bias, *gradient), bar);
  for (size_t l = f.layers.size(); l-- > 0;) {
    pass.feed_back(f.layers[l], fed[l], bar, *gradient);
    if (f.positions > 0)
      pass.to_others_back(f.layers[l], cross[l], places, encoded, condition_places, bar, encoded_bar, *gradient);
    pass.to_itself_back(f.layers[l], attention[l], places, bar, *gradient);
  }
  for (const auto &token : bar)
    for (long c = 0; c < f.width; ++c)
      for (size_t j = 0; j < e.size(); ++j)
        (*gradient)[static_cast<size_t>(f.time.offset + static_cast<long>(j) * f.width + c)] +=
            e[j] * token[static_cast<size_t>(c)];
  const Tokens<Real> state_bar = dense_back(state, bar, p, f.embed, f.embed_bias, *gradient);
  if (z_bar) z_bar->clear();
  for (const auto &token : state_bar)
    if (z_bar) z_bar->insert(z_bar->end(), token.begin(), token.end());
  if (input.empty()) return output;
  through_norm(condition, encoded_bar, condition_bar);
  for (size_t l = f.condition_layers.size(); l-- > 0;) {
    pass.feed_back(f.condition_layers[l], condition_fed[l], condition_bar, *gradient);
    pass.to_itself_back(f.condition_layers[l], condition_attention[l], condition_places, condition_bar, *gradient);
  }
  dense_back(input, condition_bar, p, f.condition_embed, f.condition_embed_bias, *gradient);
  return output;
}

}  // namespace

Network make_token_network(TokenField f, long layers, long condition_layers, long time) {
  Network network;
  network.x = f.positions * (f.inputs + f.masked);
  network.latent = network.target = f.tokens * f.channels;
  network.time = time;
  if (f.positions > 0)
    add_dense(network, "condition.embed", f.inputs, f.width, f.condition_embed, f.condition_embed_bias);
  for (long i = 0; f.positions > 0 && i < condition_layers; ++i)
    f.condition_layers.push_back(add_layer(network, f, "condition." + std::to_string(i), false));
  add_dense(network, "embed", f.channels, f.width, f.embed, f.embed_bias);
  f.time = add(network, "time", time, f.width, true);
  for (long i = 0; i < layers; ++i)
    f.layers.push_back(add_layer(network, f, "layer." + std::to_string(i), f.positions > 0));
  add_dense(network, "output", f.width, f.channels, f.output, f.output_bias);
  network.tokens = std::make_shared<const TokenField>(std::move(f));
  return network;
}

template <typename Real>
Vector<Real> token_forward(const TokenField &field, const Vector<Real> &parameters, const Vector<Real> &z,
                           const Vector<Real> &x, const Vector<Real> &e, bool without_condition) {
  return run<Real>(field, parameters, z, x, e, without_condition, nullptr, nullptr, nullptr);
}

template <typename Real>
void token_backward(const TokenField &field, const Vector<Real> &parameters, const Vector<Real> &z,
                    const Vector<Real> &x, const Vector<Real> &e, bool without_condition, const Vector<Real> &cotangent,
                    Vector<Real> &gradient, Vector<Real> *z_bar) {
  run<Real>(field, parameters, z, x, e, without_condition, &cotangent, &gradient, z_bar);
}

#define INSTANTIATE(Real)                                                                                            \
  template Vector<Real> token_forward(const TokenField &, const Vector<Real> &, const Vector<Real> &,                \
                                      const Vector<Real> &, const Vector<Real> &, bool);                             \
  template void token_backward(const TokenField &, const Vector<Real> &, const Vector<Real> &, const Vector<Real> &, \
                               const Vector<Real> &, bool, const Vector<Real> &, Vector<Real> &, Vector<Real> *);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE

}  // namespace reference
