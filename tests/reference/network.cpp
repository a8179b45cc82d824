/* Activations, time embeddings, dense layers and the two networks. */
#include "tests/reference/network.h"

#include <stdexcept>

#include "tests/reference/batch.h"
#include "tests/reference/dual.h"
#include "tests/reference/token_field.h"

namespace reference {

using std::cos, std::exp, std::expm1, std::log1p, std::sin, std::tanh;

/* ---- activations ---------------------------------------------------------------------------------------------------
 */

static constexpr double kSeluScale = 1.0507009873554804934193349852946;
static constexpr double kSeluAlpha = 1.6732632423543772848170429916717;
static const double kGelu = std::sqrt(2 / M_PI);

template <typename Real>
Real activate(const std::string &name, Real p) {
  const bool positive = value_of(p) > 0;
  if (name == "linear") return p;
  if (name == "relu") return positive ? p : Real(0.0);
  if (name == "leaky_relu") return positive ? p : 0.01 * p;
  if (name == "gelu") return 0.5 * p * (1.0 + tanh(kGelu * (p + 0.044715 * p * p * p)));
  if (name == "swish") return p * sigmoid(p);
  if (name == "sigmoid") return sigmoid(p);
  if (name == "tanh") return tanh(p);
  if (name == "softplus") return positive ? p + log1p(exp(-p)) : log1p(exp(p));
  if (name == "elu") return positive ? p : Real(expm1(p));
  if (name == "selu") return positive ? kSeluScale * p : kSeluScale * kSeluAlpha * expm1(p);
  throw std::invalid_argument("the reference does not know the activation " + name);
}

/* Tensor-core kernels make these of the approximate tanh. */
template <typename Real>
static Real activate_approximately(const std::string &name, Real p) {
  if (name == "gelu") return p * approximate_sigmoid(2 * kGelu * (p + 0.044715 * p * p * p));
  if (name == "swish") return p * approximate_sigmoid(p);
  if (name == "sigmoid") return approximate_sigmoid(p);
  if (name == "tanh") return approximate_tanh(p);
  return activate(name, p);
}

/* `low` below zero, `high` above. So close to zero that the sign is not certain the slope may be either. */
static double slope_at_kink(double p, double low, double high) { return p > 0 ? high : low; }
static Tracked slope_at_kink(Tracked p, Tracked low, Tracked high) {
  Tracked slope = p.value > 0 ? high : low;
  if (std::fabs(p.value) < 4 * p.deviation()) slope.variance += square(high.value - low.value);
  return slope;
}

template <typename Real>
static Dual<Real> slope_at_kink(Dual<Real> p, Dual<Real> low, Dual<Real> high) {
  return value_of(p) > 0 ? high : low;
}

template <typename Real>
Real activate_prime(const std::string &name, Real p) {
  if (name == "linear") return 1.0;
  if (name == "relu") return slope_at_kink(p, Real(0.0), Real(1.0));
  if (name == "leaky_relu") return slope_at_kink(p, Real(0.01), Real(1.0));
  if (name == "gelu") {
    const Real th = tanh(kGelu * (p + 0.044715 * p * p * p));
    return 0.5 * (1.0 + th) + 0.5 * p * (1.0 - th * th) * (kGelu * (1.0 + 3 * 0.044715 * p * p));
  }
  if (name == "swish") return sigmoid(p) * (1.0 + p * sigmoid(-p));
  if (name == "sigmoid") return sigmoid(p) * sigmoid(-p);
  if (name == "tanh") return 1.0 - tanh(p) * tanh(p);
  if (name == "softplus") return sigmoid(p);
  if (name == "elu") return value_of(p) > 0 ? Real(1.0) : Real(exp(p)); /* no kink */
  if (name == "selu") return slope_at_kink(p, Real(kSeluScale * kSeluAlpha * exp(p)), Real(kSeluScale));
  throw std::invalid_argument("the reference does not know the activation " + name);
}

template <typename Real>
static Real activate_prime_approximately(const std::string &name, Real p) {
  if (name == "gelu") {
    const Real s = approximate_sigmoid(2 * kGelu * (p + 0.044715 * p * p * p));
    return s + p * (s * (1.0 - s)) * (2 * kGelu * (1.0 + 3 * 0.044715 * p * p));
  }
  if (name == "swish") {
    const Real s = approximate_sigmoid(p);
    return s + p * (s * (1.0 - s));
  }
  if (name == "sigmoid") {
    const Real s = approximate_sigmoid(p);
    return s * (1.0 - s);
  }
  if (name == "tanh") {
    const Real t = approximate_tanh(p);
    return 1.0 - t * t;
  }
  return activate_prime(name, p);
}

/* ---- time embedding ------------------------------------------------------------------------------------------------
 */

/* `count` numbers equally spaced from low to high; one number: low. */
static double spaced(double low, double high, long k, long count) {
  return count == 1 ? low : low + (high - low) * static_cast<double>(k) / static_cast<double>(count - 1);
}

/* Sine and cosine of 2 pi x: whole turns are taken off first, so that the error is that of x's fraction. */
template <typename Real>
static void turn(Real x, Real *sine, Real *cosine) {
  const Real rest = x - std::floor(value_of(x));
  *sine = sin(2 * M_PI * rest);
  *cosine = cos(2 * M_PI * rest);
}

template <typename Real>
Vector<Real> embed_time(const Settings &settings, Real t) {
  const std::string &type = settings.network.time_type;
  const long n = settings.network.time_size, half = n / 2;
  Vector<Real> e;
  if (n == 0) return e;
  if (type == "constant") return Vector<Real>(static_cast<size_t>(n), 1.0);
  if (type == "linear" || type == "simple") {
    for (long j = 0; j < n; ++j) {
      const Real ramp = t - static_cast<double>(j) / static_cast<double>(n);
      if (settings.network.as_written)
        e.insert(e.end(), static_cast<size_t>(n), ramp); /* unrectified, repeated: n * n wide */
      else
        e.push_back(value_of(ramp) > 0 ? ramp : Real(0.0));
    }
    return e;
  }
  Vector<Real> cosines;
  for (long k = 0; k < half; ++k) {
    const double i = static_cast<double>(k);
    double turns; /* the angle is 2 pi turns t */
    if (type == "harmonic")
      turns = (i + 1) / 2;
    else if (type == "sinusoidal")
      turns = 0.25 * std::pow(10000, spaced(0, -1, k, half));
    else if (type == "sinusoidal_unit")
      turns = std::pow(10000, spaced(0, -1, k, half)) / (2 * M_PI);
    else if (type == "fourier" || type == "log_freq")
      turns = std::pow(10, spaced(-1, 1, k, half));
    else if (type == "cyclical_fourier")
      turns = settings.network.as_written ? spaced(0, 2 * M_PI * static_cast<double>(half), k, half) : i;
    else
      throw std::invalid_argument("the reference does not know the time embedding " + type);
    Real sine, cosine;
    turn(t * turns, &sine, &cosine);
    e.push_back(sine);
    cosines.push_back(cosine);
  }
  e.insert(e.end(), cosines.begin(), cosines.end());
  return e;
}

long time_width(const Settings &settings) { return static_cast<long>(embed_time(settings, 0.5).size()); }

/* ---- activations of all features of a layer, and layer normalisation
 * ---------------------------------------------------
 */

static bool is_gate(const std::string &name) {
  return name == "softmax" || name == "log_softmax" || name == "switanh" || name == "swiglu" || name == "softplusglu";
}
static bool gate_halves(const std::string &name) { return name == "switanh" || name == "swiglu"; }

template <typename Real>
static Real log_sum(const Vector<Real> &p) {
  using std::exp, std::log;
  double top = value_of(p[0]);
  for (const Real &v : p) top = std::max(top, value_of(v));
  Real sum = 0.0;
  for (const Real &v : p) sum += exp(v - top);
  return log(sum) + top;
}

template <typename Real>
static Vector<Real> gate(const std::string &name, const Vector<Real> &p) {
  using std::exp;
  const size_t half = p.size() / 2;
  Vector<Real> result;
  if (name == "softmax" || name == "log_softmax") {
    const Real sum = log_sum(p);
    for (const Real &v : p) result.push_back(name == "softmax" ? Real(exp(v - sum)) : v - sum);
    return result;
  }
  for (size_t i = 0; i < (gate_halves(name) ? half : p.size()); ++i) {
    const Real other = p[i < half ? i + half : i - half];
    result.push_back(name == "softplusglu" ? activate("softplus", p[i]) * sigmoid(other)
                     : name == "swiglu"    ? activate("swish", p[i]) * sigmoid(other)
                                           : activate("swish", p[i]) * activate("tanh", other));
  }
  return result;
}

/* From the adjoint of the result to that of p. */
template <typename Real>
static Vector<Real> gate_bar(const std::string &name, const Vector<Real> &p, const Vector<Real> &bar) {
  using std::exp;
  const size_t half = p.size() / 2;
  Vector<Real> result(p.size(), 0.0);
  if (name == "softmax" || name == "log_softmax") {
    const Real sum = log_sum(p);
    Real dot = 0.0;
    for (size_t i = 0; i < p.size(); ++i) dot += name == "softmax" ? exp(p[i] - sum) * bar[i] : bar[i];
    for (size_t i = 0; i < p.size(); ++i)
      result[i] = name == "softmax" ? exp(p[i] - sum) * (bar[i] - dot) : bar[i] - exp(p[i] - sum) * dot;
    return result;
  }
  const std::string left = name == "softplusglu" ? "softplus" : "swish", right = name == "switanh" ? "tanh" : "sigmoid";
  for (size_t i = 0; i < bar.size(); ++i) {
    const size_t other = i < half ? i + half : i - half;
    result[i] += bar[i] * activate_prime(left, p[i]) * activate(right, p[other]);
    result[other] += bar[i] * activate(left, p[i]) * activate_prime(right, p[other]);
  }
  return result;
}

template <typename Real>
static Vector<Real> normalised(const Vector<Real> &v, Real *deviation) {
  using std::sqrt;
  const double n = static_cast<double>(v.size());
  Real mean = 0.0, variance = 0.0;
  for (const Real &x : v) mean += x / n;
  for (const Real &x : v) variance += (x - mean) * (x - mean) / n;
  *deviation = sqrt(variance + kNormEpsilon);
  Vector<Real> result;
  for (const Real &x : v) result.push_back((x - mean) / *deviation);
  return result;
}

/* A weight as it is used. */
template <typename Real>
static Real in_use(const Source &source, const Array &array, Real number) {
  return source.positive ? activate("softplus", number + 0.5) / static_cast<double>(array.rows) : number;
}
template <typename Real>
static Real use_slope(const Source &source, const Array &array, Real number) {
  return source.positive ? activate_prime("softplus", number + 0.5) / static_cast<double>(array.rows) : Real(1.0);
}

/* Feature j of `out` takes so much of feature i of `in` (survey 5.4); of one of several inputs only its own. */
static double resized(const Source &source, size_t in, size_t out, size_t i, size_t j) {
  if (source.at >= 0) return i + static_cast<size_t>(source.at) == j;
  if (in == out) return i == j;
  const size_t group = in < out ? out / in : in % out ? in / out + 1 : in / out;
  return in < out ? j / group == i : i / group == j ? 1 / static_cast<double>(group) : 0;
}

/* ---- networks ------------------------------------------------------------------------------------------------------
 */

const Array &Network::array(const std::string &name) const {
  for (const Array &a : arrays)
    if (a.name == name) return a;
  throw std::invalid_argument("no parameter array " + name);
}

static size_t add_array(Network &network, const std::string &name, long rows, long columns, bool lecun) {
  network.arrays.push_back({name, rows, columns, lecun, network.parameters});
  network.parameters += rows * columns;
  return network.arrays.size() - 1;
}

/* An op with one weight per source, named prefix + the source's name + ".weight", then an optional bias. */
struct NamedSource {
  Source::Kind kind;
  long op, width;
  std::string name;
};
static long add_op(Network &network, const std::vector<NamedSource> &sources, const std::string &bias, long width,
                   Op op) {
  op.width = width;
  for (const NamedSource &s : sources) {
    /* Where z, condition and time meet, each has the variance of its own fan-in. */
    const std::string end = s.name.substr(s.name.size() - 2);
    const bool meets = end == ".z" || end == ".x" || end == ".t";
    op.sources.push_back({s.kind, s.op, s.width, add_array(network, s.name + ".weight", s.width, width, meets)});
  }
  if (!bias.empty()) op.bias = static_cast<long>(add_array(network, bias + ".bias", 1, width, false));
  network.ops.push_back(op);
  return static_cast<long>(network.ops.size()) - 1;
}

/* An encoder or decoder, from kZ: hidden layers or residual blocks, then a layer without activation. */
static std::vector<Op> make_coder(Network &n, const std::string &name, const Settings::Coder &coder, long inputs,
                                  long outputs) {
  std::vector<Op> keep;
  keep.swap(n.ops);
  Op plain, last;
  last.activation = false;
  long h = -1, width = inputs;
  const bool residual = coder.type.rfind("resnet", 0) == 0;
  const auto in = [&](const std::string &at) {
    return NamedSource{h < 0 ? Source::kZ : Source::kOp, h, width, name + at};
  };
  for (size_t k = 0; coder.type != "identity" && coder.type != "linear" && k < coder.hidden.size(); ++k) {
    const std::string number = std::to_string(k);
    if (residual && k > 0) {
      const long v =
          add_op(n, {in(".block." + number + ".in")}, name + ".block." + number + ".in", coder.hidden[k], plain);
      Op sum;
      sum.residual = h;
      h = add_op(n, {{Source::kOp, v, coder.hidden[k], name + ".block." + number + ".out"}},
                 name + ".block." + number + ".out", width, sum);
    } else {
      const std::string at = residual ? ".stem" : ".hidden." + number;
      h = add_op(n, {in(at)}, name + at, coder.hidden[k], plain);
      width = coder.hidden[k];
    }
  }
  if (coder.type != "identity") {
    h = add_op(n, {in(".output")}, name + ".output", outputs, last);
    width = outputs;
  }
  if (coder.output == "linear") add_op(n, {in(".linear")}, name + ".linear", outputs, last);
  keep.swap(n.ops);
  return keep;
}

static Network view_of(const Network &network, const std::vector<Op> &ops, const std::string &activation) {
  Network view = network;
  view.wrapper = "none";
  view.ops = ops;
  view.activation = activation;
  return view;
}
Network encoder_of(const Network &network) { return view_of(network, network.encoder, network.encoder_activation); }
Network decoder_of(const Network &network) { return view_of(network, network.decoder, network.decoder_activation); }

Network make_network(const Settings &settings, long x_width, long latent, long output) {
  Network n;
  n.target = output < 0 ? -output : latent;
  if (output < 0) output = latent;
  n.mixture = settings.variant == "ct" && settings.embedding == "learned";
  if (n.mixture) output = n.target;
  const std::vector<long> &hidden = settings.network.hidden;
  const long layers = static_cast<long>(hidden.size());
  const long time = settings.variant == "supervised" || settings.variant == "dt" ? 0 : time_width(settings);
  const auto width = [&](long k) { return hidden[static_cast<size_t>(k)]; };
  /* Features behind the activation of a layer. */
  const auto after = [&](long w) { return gate_halves(settings.network.activation) ? w / 2 : w; };
  n.activation = settings.network.activation;
  n.dropout = settings.network.dropout;
  n.x = x_width, n.latent = latent, n.time = time;
  if (settings.precision == "tf32") n.operand_bits = 10;
  if (settings.precision == "bf16") n.operand_bits = 7;
  n.operand_pairs = settings.precision == "tf32x3";

  Op plain, dropped, x_op;
  dropped.dropout = true;
  x_op.dropout = true, x_op.x_branch = true;

  /* What an earlier system calls batch norm (survey 5.6, P-22). */
  const auto stored_norm = [&](long op, const std::string &name, long size) {
    if (settings.network.batch_norm == "none") return;
    Op &of = n.ops[static_cast<size_t>(op)];
    of.batch = static_cast<long>(add_array(n, name + ".norm.scale", 1, size, false));
    add_array(n, name + ".norm.bias", 1, size, false);
    of.statistics = static_cast<long>(add_array(n, name + ".norm.mean", 1, size, false));
    add_array(n, name + ".norm.variance", 1, size, false);
    of.trained = true;
  };
  long xp = -1, xp_width = 0; /* the x-branch's last op */
  for (long k = 0; x_width > 0 && settings.network.type != "custom" && k < layers; ++k) {
    const std::string name = "x." + std::to_string(k);
    const NamedSource in =
        k == 0 ? NamedSource{Source::kX, -1, x_width, name} : NamedSource{Source::kOp, xp, xp_width, name};
    xp = add_op(n, {in}, name, width(k), x_op);
    stored_norm(xp, name, width(k));
    xp_width = after(width(k));
  }
  /* Sources z, x-branch and time under one prefix; z from the input or from an op. */
  const auto joined = [&](const NamedSource &first, const std::string &prefix) {
    std::vector<NamedSource> sources = {first};
    if (x_width > 0) sources.push_back({Source::kOp, xp, xp_width, prefix + ".x"});
    if (time > 0) sources.push_back({Source::kTime, -1, time, prefix + ".t"});
    return sources;
  };
  Op last;
  last.activation = false;
  const auto normalise = [&](long op, const std::string &name, long size) {
    if (!settings.network.layer_norm) return;
    n.ops[static_cast<size_t>(op)].norm = static_cast<long>(add_array(n, name + ".norm.scale", 1, size, false));
    add_array(n, name + ".norm.bias", 1, size, false);
  };
  if (settings.variant != "supervised") n.wrapper = settings.network.wrapper;
  if (n.wrapper == "natural") output = latent * latent;

  if (settings.variant == "supervised") {
    add_op(n, {{Source::kOp, xp, xp_width, "output"}}, "output", output, last);
  } else if (settings.network.type == "mlp") {
    Op squash;
    squash.activation = settings.network.squash_activation;
    long h = add_op(n, joined({Source::kZ, -1, latent, "squash.z"}, "squash"),
                    settings.network.squash_activation ? "squash" : "", width(0), squash);
    for (long k = 1; k < layers; ++k) {
      const std::string name = "hidden." + std::to_string(k);
      const bool plain_squash = k == 1 && !squash.activation;
      h = add_op(n, {{Source::kOp, h, plain_squash ? width(0) : after(width(k - 1)), name}}, name, width(k), dropped);
      stored_norm(h, name, width(k));
    }
    const bool plain_squash = layers == 1 && !squash.activation;
    add_op(n, {{Source::kOp, h, plain_squash ? width(0) : after(width(layers - 1)), "output"}}, "output", output, last);
  } else if (settings.network.type == "resnet") {
    long h = add_op(n, joined({Source::kZ, -1, latent, "stem.z"}, "stem"), "stem", width(0), plain);
    for (long k = 1; k < layers; ++k) {
      const std::string block = "block." + std::to_string(k);
      normalise(h, block, width(0));
      const long v =
          add_op(n, joined({Source::kOp, h, after(width(0)), block + ".in"}, block), block + ".in", width(k), dropped);
      Op sum; /* h + v W2 + b2, activated for the next reader */
      sum.residual = h;
      h = add_op(n, {{Source::kOp, v, after(width(k)), block + ".out"}}, block + ".out", width(0), sum);
    }
    normalise(h, "output", width(0));
    add_op(n, {{Source::kOp, h, after(width(0)), "output"}}, "output", output, last);
  } else if (settings.network.type == "bilinear") {
    const long h = width(layers - 1);
    Op squash, right;
    squash.activation = settings.network.squash_activation;
    const long c = add_op(n, joined({Source::kZ, -1, latent, "squash.z"}, "squash"),
                          settings.network.squash_activation ? "squash" : "", h, squash);
    right.times = add_op(n, {{Source::kZ, -1, latent, "bilinear.z"}}, "bilinear.z", h, last);
    /* "bilinear.z" ends as squash.z does, but stands alone. */
    n.arrays[n.ops.back().sources[0].weight].lecun = false;
    long u = add_op(n, {{Source::kOp, c, squash.activation ? after(h) : h, "bilinear.c"}}, "bilinear.c", h, right);
    if (settings.network.batch_norm != "none") { /* behind the activation */
      Op normal = last;
      normal.width = after(h);
      normal.sources = {{Source::kOp, u, after(h), kNoWeight}};
      n.ops.push_back(normal);
      stored_norm(++u, "bilinear", after(h));
    }
    add_op(n, {{Source::kOp, u, after(h), "output"}}, "output", output, last);
  } else if (settings.network.type == "convex") {
    Op squash, layer;
    squash.activation = settings.network.squash_activation;
    layer.form = n.activation == "relu" || n.activation == "linear" ? n.activation : "softplus";
    const long c = add_op(n, joined({Source::kZ, -1, latent, "squash.z"}, "squash"), squash.activation ? "squash" : "",
                          width(0), squash);
    long state = -1; /* the op that holds it, or z itself */
    const auto from_state = [&](const std::string &name) {
      return NamedSource{state < 0 ? Source::kZ : Source::kOp, state, latent, name};
    };
    for (int block = 0; block < 3; ++block) {
      long a = -1;
      for (long k = 0; k < layers; ++k) {
        const std::string name = "icnn." + std::to_string(block) + "." + std::to_string(k);
        std::vector<NamedSource> sources;
        if (a >= 0) sources.push_back({Source::kOp, a, width(k - 1), name + ".p"});
        sources.push_back(from_state(name + ".z"));
        a = add_op(n, sources, name, width(k), layer);
        n.ops.back().sources[0].positive = sources.size() == 2;
      }
      const std::string name = "block." + std::to_string(block);
      const long next =
          add_op(n, {{Source::kOp, c, squash.activation ? after(width(0)) : width(0), name}}, name, latent, last);
      n.ops.back().sources.push_back({Source::kOp, a, width(layers - 1), kNoWeight});
      n.ops.back().sources.push_back({state < 0 ? Source::kZ : Source::kOp, state, latent, kNoWeight});
      state = next;
    }
    add_op(n, {from_state("output")}, "output", output, last);
  } else if (settings.network.type == "icnn") {
    long a = -1;
    for (long k = 0; k <= layers; ++k) {
      const std::string name = k < layers ? "icnn." + std::to_string(k) : "output";
      std::vector<NamedSource> sources;
      if (a >= 0) sources.push_back({Source::kOp, a, width(k - 1), name + ".p"});
      for (const NamedSource &source : joined({Source::kZ, -1, latent, name + ".z"}, name)) sources.push_back(source);
      const bool positive = a >= 0;
      a = add_op(n, sources, name, k < layers ? width(k) : output, k < layers ? plain : last);
      n.ops.back().sources[0].positive = positive;
    }
  } else if (settings.network.type == "custom") {
    add_custom_layers(n, settings.network.layers, output);
  } else {
    throw std::invalid_argument("the reference does not know the network " + settings.network.type);
  }
  if (n.mixture) { /* one array, read by two ops */
    Op mix, encode;
    mix.activation = encode.activation = false;
    mix.of_classes = true;
    add_op(n, {{Source::kOp, static_cast<long>(n.ops.size()) - 1, n.target, "embedding"}}, "", latent, mix);
    encode.width = latent;
    encode.sources = {{Source::kZ, -1, n.target, n.ops.back().sources[0].weight}};
    n.encoder = {encode};
    if (!n.normal.empty()) add_running_statistics(n);
    return n;
  }
  n.encoder = make_coder(n, "encoder", settings.encoder, n.target, settings.encoder.normal() ? 2 * latent : latent);
  n.decoder = make_coder(n, "decoder", settings.decoder, latent, n.target);
  n.encoder_activation = settings.encoder.activation;
  n.decoder_activation = settings.decoder.activation;
  if (!n.normal.empty()) add_running_statistics(n);
  return n;
}

/* ---- forward and backward ------------------------------------------------------------------------------------------
 */

template <typename Real>
static const Vector<Real> &input(const Trace<Real> &trace, const Source &source) {
  switch (source.kind) {
    case Source::kX:
      return trace.x;
    case Source::kZ:
      return trace.z;
    case Source::kTime:
      return trace.e;
    default:
      return trace.post[static_cast<size_t>(source.op)];
  }
}

template <typename Real>
static Vector<Real> softmax_of(const Vector<Real> &logits) {
  double top = value_of(logits[0]);
  for (const Real &l : logits) top = std::max(top, value_of(l));
  Vector<Real> p;
  Real sum = 0.0;
  for (const Real &l : logits) {
    p.push_back(exp(l - top));
    sum += p.back();
  }
  for (Real &v : p) v /= sum;
  return p;
}

/* With pairs of tf32 numbers a product errs by 2^-23 |a b| for either factor's rest and 2^-22 |a b| for the product of
 * the second parts, which is left out: 2, 2 and 4 units of 2^-24, half of whose squares' sum either factor bears. */
static double with_pair_error(double number) { return number; }
static Tracked with_pair_error(Tracked number) {
  return {number.value, number.variance + 12 * square(kEpsilon * number.value)};
}

/* A number as it enters products. */
template <typename Real>
static Real factor_of(const Network &network, Real number) {
  if (network.operand_pairs) return with_pair_error(number);
  return network.operand_bits ? rounded_to(number, network.operand_bits, network.operand_bits == 7) : number;
}

/* A slope as it is kept for the backward pass: float16 has ten bits of fraction down to 2^-14. */
template <typename Real>
static Real kept_slope(const Network &network, Real slope) {
  return network.operand_bits ? rounded_to(slope, 10, true, -14) : slope;
}

/* data/radial_layer.cuh: exp(-(s_j |in - c_j|)^2), s_j and then c_j being parameters of output j. */
template <typename Real>
static Vector<Real> radial(const Vector<Real> &in, const Real *p, size_t outputs) {
  Vector<Real> result;
  for (size_t j = 0; j < outputs; ++j) {
    const Real *of_output = p + j * (in.size() + 1);
    Real sum = 0.0;
    for (size_t i = 0; i < in.size(); ++i) sum += (in[i] - of_output[1 + i]) * (in[i] - of_output[1 + i]);
    result.push_back(exp(of_output[0] * of_output[0] * sum * -1.0));
  }
  return result;
}

/* By u_j = s_j (in - c_j), of which out_j = exp(-|u_j|^2). */
template <typename Real>
static Vector<Real> radial_bar(const Vector<Real> &in, const Real *p, const Vector<Real> &out, const Vector<Real> &bar,
                               Real *p_bar) {
  Vector<Real> result(in.size(), 0.0);
  for (size_t j = 0; j < out.size(); ++j) {
    const size_t place = j * (in.size() + 1);
    for (size_t i = 0; i < in.size(); ++i) {
      const Real difference = in[i] - p[place + 1 + i];
      const Real u_bar = bar[j] * out[j] * (p[place] * difference) * -2.0;
      p_bar[place] += u_bar * difference;
      p_bar[place + 1 + i] += u_bar * p[place] * -1.0;
      result[i] += u_bar * p[place];
    }
  }
  return result;
}

/* Batch norm of an op by given statistics, or by those among the parameters. */
template <typename Real>
struct Normal {
  const Real *scale, *mean, *variance; /* behind the scales the biases */
  Real unit(size_t j, const Real &v) const {
    using std::sqrt;
    return (v - mean[j]) / sqrt(variance[j] + kNormEpsilon);
  }
};
template <typename Real>
static Normal<Real> normal_of(const Network &network, const Vector<Real> &parameters, const Op &op,
                              const Statistics<Real> *given) {
  const auto at = [&](long array) {
    return &parameters[static_cast<size_t>(network.arrays[static_cast<size_t>(array)].offset)];
  };
  if (given) return {at(op.batch), given->mean.data(), given->variance.data()};
  return {at(op.batch), at(op.statistics), at(op.statistics + 1)};
}

template <typename Real>
void forward_op(const Network &network, const Vector<Real> &parameters, size_t o, const Dropout &dropout,
                Trace<Real> &trace) {
  const Op &op = network.ops[o];
  Vector<Real> pre(static_cast<size_t>(op.width)), post(pre.size()), sums(pre.size());
  for (size_t j = 0; j < pre.size(); ++j) {
    Real sum = 0.0;
    for (const Source &source : op.sources) {
      const Vector<Real> in = op.of_classes ? softmax_of(input(trace, source)) : input(trace, source);
      if (source.weight == kNoWeight) {
        for (size_t i = 0; i < in.size(); ++i)
          if (resized(source, in.size(), pre.size(), i, j) != 0)
            sum += resized(source, in.size(), pre.size(), i, j) * in[i];
        continue;
      }
      const Array &weight = network.arrays[source.weight];
      for (size_t i = 0; i < in.size(); ++i)
        sum += factor_of(network, in[i]) *
               factor_of(network,
                         in_use(source, weight, parameters[static_cast<size_t>(weight.offset) + i * pre.size() + j]));
    }
    if (op.bias >= 0) sum += parameters[static_cast<size_t>(network.arrays[static_cast<size_t>(op.bias)].offset) + j];
    if (op.residual >= 0) sum += trace.pre[static_cast<size_t>(op.residual)][j];
    sums[j] = sum;
    if (op.times >= 0) sum = sum * trace.post[static_cast<size_t>(op.times)][j];
    pre[j] = sum;
  }
  if (op.radial >= 0) {
    const Array &array = network.arrays[static_cast<size_t>(op.radial)];
    post = radial(pre, &parameters[static_cast<size_t>(array.offset)],
                  static_cast<size_t>(array.columns) / (pre.size() + 1));
    trace.sums.push_back(sums);
    trace.pre.push_back(pre);
    trace.post.push_back(post);
    return;
  }
  Vector<Real> entering = pre;
  if (op.norm >= 0) {
    Real deviation;
    entering = normalised(pre, &deviation);
    const Real *scale = &parameters[static_cast<size_t>(network.arrays[static_cast<size_t>(op.norm)].offset)];
    for (size_t j = 0; j < pre.size(); ++j) entering[j] = entering[j] * scale[j] + scale[pre.size() + j];
  }
  if (op.batch >= 0) {
    const Normal<Real> normal =
        normal_of(network, parameters, op, trace.statistics ? &(*trace.statistics)[o] : nullptr);
    for (size_t j = 0; j < pre.size(); ++j)
      entering[j] = normal.unit(j, pre[j]) * normal.scale[j] + normal.scale[pre.size() + j];
  }
  const std::string &form = op.form.empty() ? network.activation : op.form;
  if (op.activation && is_gate(form))
    post = gate(form, entering);
  else
    for (size_t j = 0; j < pre.size(); ++j)
      post[j] = !op.activation         ? entering[j]
                : network.operand_bits ? activate_approximately(form, entering[j])
                                       : activate(form, entering[j]);
  for (size_t j = 0; j < post.size(); ++j) {
    if (op.dropout && dropout) post[j] = dropout(static_cast<long>(o), static_cast<long>(j)) * post[j];
    if (trace.without_condition && op.x_branch) post[j] = 0.0;
  }
  trace.sums.push_back(sums);
  trace.pre.push_back(pre);
  trace.post.push_back(post);
}

template <typename Real>
static Trace<Real> forward_output(const Network &network, const Vector<Real> &parameters, const Vector<Real> &z,
                                  const Vector<Real> &x, const Vector<Real> &e, const Dropout &dropout,
                                  bool without_condition) {
  Trace<Real> trace{x, z, e, {}, {}, without_condition};
  for (size_t o = 0; o < network.ops.size(); ++o) forward_op(network, parameters, o, dropout, trace);
  return trace;
}

/* The adjoint of an op's sum from that of its post; adds to the gradients of its normalisation. */
template <typename Real>
static Vector<Real> through_activation(const Network &network, const Vector<Real> &parameters, const Op &op,
                                       long number, const std::string &form, const Vector<Real> &pre, Vector<Real> bar,
                                       Vector<Real> &gradient, const Dropout &dropout, const Statistics<Real> *given,
                                       const Feedback<Real> *feedback) {
  const bool drops = op.dropout && dropout;
  if (op.norm < 0 && op.batch < 0 && !(op.activation && is_gate(form))) {
    for (size_t j = 0; j < bar.size(); ++j) {
      Real slope = !op.activation         ? Real(1.0)
                   : network.operand_bits ? activate_prime_approximately(form, pre[j])
                                          : activate_prime(form, pre[j]);
      if (drops) slope = dropout(number, static_cast<long>(j)) * slope;
      if (op.activation || drops) bar[j] = bar[j] * kept_slope(network, slope);
    }
    return bar;
  }
  for (size_t j = 0; j < bar.size() && drops; ++j) bar[j] = dropout(number, static_cast<long>(j)) * bar[j];
  Vector<Real> unit = pre, entering = pre;
  Real deviation;
  const size_t n = pre.size(),
               place = op.norm < 0 ? 0 : static_cast<size_t>(network.arrays[static_cast<size_t>(op.norm)].offset);
  if (op.norm >= 0) {
    unit = normalised(pre, &deviation);
    for (size_t j = 0; j < n; ++j) entering[j] = unit[j] * parameters[place + j] + parameters[place + n + j];
  }
  Normal<Real> normal = {};
  if (op.batch >= 0) {
    normal = normal_of(network, parameters, op, given);
    for (size_t j = 0; j < n; ++j) {
      unit[j] = normal.unit(j, pre[j]);
      entering[j] = unit[j] * normal.scale[j] + normal.scale[n + j];
    }
  }
  if (op.activation && is_gate(form))
    bar = gate_bar(form, entering, bar);
  else
    for (size_t j = 0; j < n && op.activation; ++j) bar[j] = bar[j] * activate_prime(form, entering[j]);
  if (op.batch >= 0) {
    const size_t at = static_cast<size_t>(network.arrays[static_cast<size_t>(op.batch)].offset);
    for (size_t j = 0; j < n; ++j) {
      using std::sqrt;
      const Real root = sqrt(normal.variance[j] + kNormEpsilon);
      gradient[at + j] += bar[j] * unit[j];
      gradient[at + n + j] += bar[j];
      const Real unit_bar = bar[j] * normal.scale[j];
      if (op.trained) {
        const size_t mean = static_cast<size_t>(network.arrays[static_cast<size_t>(op.statistics)].offset);
        gradient[mean + j] += unit_bar * -1.0 / root;
        gradient[mean + n + j] += unit_bar * unit[j] * -0.5 / (normal.variance[j] + kNormEpsilon);
      }
      bar[j] = (feedback ? unit_bar - feedback->mean[j] - unit[j] * feedback->product[j] : unit_bar) / root;
    }
    return bar;
  }
  if (op.norm < 0) return bar;
  Real sum = 0.0, dot = 0.0;
  for (size_t j = 0; j < n; ++j) {
    gradient[place + j] += bar[j] * unit[j];
    gradient[place + n + j] += bar[j];
    bar[j] = bar[j] * parameters[place + j];
    sum += bar[j] / static_cast<double>(n);
    dot += bar[j] * unit[j] / static_cast<double>(n);
  }
  for (size_t j = 0; j < n; ++j) bar[j] = (bar[j] - sum - unit[j] * dot) / deviation;
  return bar;
}

template <typename Real>
Adjoints<Real> begin_adjoints(const Network &network, const Trace<Real> &trace, const Vector<Real> &cotangent,
                              Vector<Real> *z_bar, Vector<Real> *x_bar) {
  Adjoints<Real> adjoints;
  for (size_t o = 0; o < network.ops.size(); ++o) {
    adjoints.post.emplace_back(trace.post[o].size(), 0.0);
    adjoints.pre.emplace_back(static_cast<size_t>(network.ops[o].width), 0.0);
  }
  adjoints.post.back() = cotangent;
  if (z_bar) z_bar->assign(trace.z.size(), 0.0);
  if (x_bar) x_bar->assign(trace.x.size(), 0.0);
  return adjoints;
}

template <typename Real>
void backward_op(const Network &network, const Vector<Real> &parameters, const Trace<Real> &trace, size_t o,
                 Adjoints<Real> &adjoints, Vector<Real> &gradient, Vector<Real> *z_bar, Vector<Real> *x_bar,
                 const Dropout &dropout, const Feedback<Real> *feedback) {
  const Op &op = network.ops[o];
  Vector<Real> &bar = adjoints.pre[o];
  const std::string &form = op.form.empty() ? network.activation : op.form;
  const Vector<Real> reached =
      op.radial >= 0
          ? radial_bar(trace.pre[o],
                       &parameters[static_cast<size_t>(network.arrays[static_cast<size_t>(op.radial)].offset)],
                       trace.post[o], adjoints.post[o],
                       &gradient[static_cast<size_t>(network.arrays[static_cast<size_t>(op.radial)].offset)])
          : through_activation(
                network, parameters, op, static_cast<long>(o), form, trace.pre[o],
                trace.without_condition && op.x_branch ? Vector<Real>(adjoints.post[o].size(), 0.0) : adjoints.post[o],
                gradient, dropout, trace.statistics ? &(*trace.statistics)[o] : nullptr, feedback);
  for (size_t j = 0; j < bar.size(); ++j) {
    bar[j] += reached[j];
    if (op.times >= 0) {
      const size_t other = static_cast<size_t>(op.times);
      adjoints.post[other][j] += bar[j] * trace.sums[o][j];
      bar[j] = bar[j] * trace.post[other][j];
    }
  }
  Vector<Real> factor = bar; /* as it enters products */
  for (Real &f : factor) f = factor_of(network, f);
  for (const Source &source : op.sources) {
    const Vector<Real> in = op.of_classes ? softmax_of(input(trace, source)) : input(trace, source);
    Vector<Real> *in_bar = source.kind == Source::kOp  ? &adjoints.post[static_cast<size_t>(source.op)]
                           : source.kind == Source::kZ ? z_bar
                           : source.kind == Source::kX ? x_bar
                                                       : nullptr;
    if (source.weight == kNoWeight) {
      for (size_t i = 0; in_bar && i < in.size(); ++i)
        for (size_t j = 0; j < bar.size(); ++j)
          if (resized(source, in.size(), bar.size(), i, j) != 0)
            (*in_bar)[i] += resized(source, in.size(), bar.size(), i, j) * factor[j];
      continue;
    }
    const Array &array = network.arrays[source.weight];
    const size_t offset = static_cast<size_t>(array.offset);
    for (size_t i = 0; i < in.size(); ++i)
      for (size_t j = 0; j < bar.size(); ++j) {
        const Real number = parameters[offset + i * bar.size() + j];
        const Real part = factor_of(network, in[i]) * factor[j];
        gradient[offset + i * bar.size() + j] += source.positive ? part * use_slope(source, array, number) : part;
        if (in_bar) (*in_bar)[i] += factor[j] * factor_of(network, in_use(source, array, number));
      }
    if (op.of_classes) { /* nothing else reads these logits */
      Real dot = 0.0;
      for (size_t i = 0; i < in.size(); ++i) dot += in[i] * (*in_bar)[i];
      for (size_t i = 0; i < in.size(); ++i) (*in_bar)[i] = in[i] * ((*in_bar)[i] - dot);
    }
  }
  for (size_t j = 0; j < bar.size(); ++j) {
    if (op.bias >= 0)
      gradient[static_cast<size_t>(network.arrays[static_cast<size_t>(op.bias)].offset) + j] += factor[j];
    if (op.residual >= 0) adjoints.pre[static_cast<size_t>(op.residual)][j] += bar[j];
  }
}

template <typename Real>
static void backward_output(const Network &network, const Vector<Real> &parameters, const Trace<Real> &trace,
                            const Vector<Real> &cotangent, Vector<Real> &gradient, Vector<Real> *z_bar,
                            Vector<Real> *x_bar, const Dropout &dropout) {
  Adjoints<Real> adjoints = begin_adjoints(network, trace, cotangent, z_bar, x_bar);
  const Feedback<Real> *const none = nullptr;
  for (size_t o = network.ops.size(); o-- > 0;)
    backward_op(network, parameters, trace, o, adjoints, gradient, z_bar, x_bar, dropout, none);
}

/* ---- wrappers ------------------------------------------------------------------------------------------------------
 */

template <typename Real>
static Vector<Dual<Real>> lifted(const Vector<Real> &values, const Vector<Real> &direction = {}) {
  Vector<Dual<Real>> result;
  for (size_t i = 0; i < values.size(); ++i)
    result.push_back({values[i], direction.empty() ? Real(0.0) : direction[i]});
  return result;
}

/* Gradients of V, the sum of the outputs, with respect to everything. */
template <typename Real>
struct PotentialGradient {
  Vector<Real> parameters, z, x;
};
template <typename Real>
static PotentialGradient<Real> gradient_of_potential(const Network &network, const Vector<Real> &parameters,
                                                     const Vector<Real> &z, const Vector<Real> &x,
                                                     const Vector<Real> &e, const Dropout &dropout, bool without) {
  PotentialGradient<Real> gradient;
  gradient.parameters.assign(parameters.size(), 0.0);
  const Trace<Real> trace = forward_output(network, parameters, z, x, e, dropout, without);
  backward_output(network, parameters, trace, Vector<Real>(trace.post.back().size(), 1.0), gradient.parameters,
                  &gradient.z, &gradient.x, dropout);
  return gradient;
}
/* The same along a direction of z: in `along` of every number. */
template <typename Real>
static PotentialGradient<Dual<Real>> gradient_along(const Network &network, const Vector<Real> &parameters,
                                                    const Vector<Real> &z, const Vector<Real> &direction,
                                                    const Vector<Real> &x, const Vector<Real> &e,
                                                    const Dropout &dropout, bool without) {
  return gradient_of_potential(network, lifted(parameters), lifted(z, direction), lifted(x), lifted(e), dropout,
                               without);
}

/* matrix [n][n] times vector, or its transpose times it */
template <typename Real>
static Vector<Real> times(const Vector<Real> &matrix, bool transposed, const Vector<Real> &vector) {
  const size_t n = vector.size();
  Vector<Real> result(n, 0.0);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) result[i] += matrix[transposed ? j * n + i : i * n + j] * vector[j];
  return result;
}

template <typename Real>
Trace<Real> forward(const Network &network, const Vector<Real> &parameters, const Vector<Real> &z,
                    const Vector<Real> &x, const Vector<Real> &e, const Dropout &dropout, bool without_condition) {
  if (network.tokens)
    return {x, z, e, {}, {token_forward(*network.tokens, parameters, z, x, e, without_condition)}, without_condition};
  Trace<Real> trace = forward_output(network, parameters, z, x, e, dropout, without_condition);
  const size_t d = z.size(), half = d / 2;
  if (network.wrapper == "none") return trace;
  if (network.wrapper == "natural") {
    trace.field = times(trace.post.back(), false, times(trace.post.back(), true, x));
    for (Real &v : trace.field) v = v * (1.0 / static_cast<double>(d));
    return trace;
  }
  if (network.wrapper == "geometric") {
    for (const auto &v : gradient_along(network, parameters, z, x, x, e, dropout, without_condition).z)
      trace.field.push_back(v.along);
    return trace;
  }
  const Vector<Real> g = gradient_of_potential(network, parameters, z, x, e, dropout, without_condition).z;
  for (size_t i = 0; i < d; ++i)
    trace.field.push_back(network.wrapper == "potential" ? -g[i] : i < half ? g[i + half] : -g[i - half]);
  return trace;
}

template <typename Real>
void backward(const Network &network, const Vector<Real> &parameters, const Trace<Real> &trace,
              const Vector<Real> &cotangent, Vector<Real> &gradient, Vector<Real> *z_bar, Vector<Real> *x_bar,
              const Dropout &dropout) {
  if (network.tokens) {
    token_backward(*network.tokens, parameters, trace.z, trace.x, trace.e, trace.without_condition, cotangent, gradient,
                   z_bar);
    if (x_bar) x_bar->assign(trace.x.size(), 0.0); /* nobody asks for it */
    return;
  }
  if (network.wrapper == "none") {
    backward_output(network, parameters, trace, cotangent, gradient, z_bar, x_bar, dropout);
    return;
  }
  const size_t d = trace.z.size(), half = d / 2;
  const bool without = trace.without_condition;
  if (network.wrapper == "natural") {
    const Vector<Real> &s = trace.post.back(), u = times(s, true, trace.x), w = times(s, true, cotangent);
    Vector<Real> s_bar(d * d);
    const double scale = 1.0 / static_cast<double>(d);
    for (size_t i = 0; i < d; ++i)
      for (size_t j = 0; j < d; ++j) s_bar[i * d + j] = scale * (cotangent[i] * u[j] + trace.x[i] * w[j]);
    backward_output(network, parameters, trace, s_bar, gradient, z_bar, x_bar, dropout);
    const Vector<Real> direct = times(s, false, w);
    for (size_t i = 0; x_bar && i < d; ++i) (*x_bar)[i] += scale * direct[i];
    return;
  }
  /* cotangent . field is the derivative of V along this direction, or for geometric that of V along x along it. */
  Vector<Real> direction = cotangent;
  for (size_t i = 0; i < d; ++i)
    direction[i] = network.wrapper == "potential"   ? -cotangent[i]
                   : network.wrapper == "geometric" ? cotangent[i]
                   : i < half                       ? -cotangent[i + half]
                                                    : cotangent[i - half];
  if (network.wrapper != "geometric") {
    const auto all = gradient_along(network, parameters, trace.z, direction, trace.x, trace.e, dropout, without);
    for (size_t i = 0; i < gradient.size(); ++i) gradient[i] += all.parameters[i].along;
    if (z_bar) z_bar->clear();
    if (x_bar) x_bar->clear();
    for (const auto &v : all.z)
      if (z_bar) z_bar->push_back(v.along);
    for (const auto &v : all.x)
      if (x_bar) x_bar->push_back(v.along);
    return;
  }
  const auto all = gradient_along(network, lifted(parameters), lifted(trace.z, trace.x), lifted(direction),
                                  lifted(trace.x), lifted(trace.e), dropout, without);
  for (size_t i = 0; i < gradient.size(); ++i) gradient[i] += all.parameters[i].along.along;
  if (z_bar) z_bar->clear();
  if (x_bar) x_bar->clear();
  for (const auto &v : all.z)
    if (z_bar) z_bar->push_back(v.along.along);
  for (size_t i = 0; x_bar && i < d; ++i) x_bar->push_back(all.x[i].along.along + all.z[i].along.value);
}

#define INSTANTIATE(Real)                                                                                            \
  template Real activate(const std::string &, Real);                                                                 \
  template Real activate_prime(const std::string &, Real);                                                           \
  template Vector<Real> embed_time(const Settings &, Real);                                                          \
  template Trace<Real> forward(const Network &, const Vector<Real> &, const Vector<Real> &, const Vector<Real> &,    \
                               const Vector<Real> &, const Dropout &, bool);                                         \
  template void backward(const Network &, const Vector<Real> &, const Trace<Real> &, const Vector<Real> &,           \
                         Vector<Real> &, Vector<Real> *, Vector<Real> *, const Dropout &);                           \
  template void forward_op(const Network &, const Vector<Real> &, size_t, const Dropout &, Trace<Real> &);           \
  template Adjoints<Real> begin_adjoints(const Network &, const Trace<Real> &, const Vector<Real> &, Vector<Real> *, \
                                         Vector<Real> *);                                                            \
  template void backward_op(const Network &, const Vector<Real> &, const Trace<Real> &, size_t, Adjoints<Real> &,    \
                            Vector<Real> &, Vector<Real> *, Vector<Real> *, const Dropout &, const Feedback<Real> *);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE
/* For the test of the kernels' derivatives. */
template Dual<Dual<Dual<double>>> activate(const std::string &, Dual<Dual<Dual<double>>>);

}  // namespace reference
