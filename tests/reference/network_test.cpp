/* Activations, embeddings and networks: derivatives by central differences, forms by hand. */
#include "tests/reference/network.h"

#include <gtest/gtest.h>

#include "tests/reference/layer_lists.h"
#include "tests/reference/random_vector.h"

namespace {

using namespace reference;

class EveryActivation : public testing::TestWithParam<const char *> {};
INSTANTIATE_TEST_SUITE_P(Names, EveryActivation,
                         testing::Values("linear", "relu", "leaky_relu", "gelu", "swish", "sigmoid", "tanh", "softplus",
                                         "elu", "selu"));

/* Central differences, h = 1e-6: error about h^2 + 1e-16/h. No point sits on a kink. */
TEST_P(EveryActivation, DerivativeMatchesDifferences) {
  for (double p = -6.03; p < 6; p += 0.37) {
    const double h = 1e-6;
    const double slope = (activate(GetParam(), p + h) - activate(GetParam(), p - h)) / (2 * h);
    EXPECT_NEAR(activate_prime(GetParam(), p), slope, 1e-8);
  }
}

TEST(Activation, HasItsKnownValues) {
  EXPECT_NEAR(activate("swish", 1.0), 0.731058578630005, 1e-14);
  EXPECT_NEAR(activate("gelu", 1.0), 0.841191990608306, 1e-13); /* tanh form; the erf form is 0.8413 */
  EXPECT_NEAR(activate("softplus", 0.0), std::log(2), 1e-15);
  EXPECT_NEAR(activate("selu", -1.0), -1.1113307378125625, 1e-13);
  EXPECT_NEAR(activate("elu", -1.0), std::exp(-1) - 1, 1e-15);
  EXPECT_DOUBLE_EQ(activate("leaky_relu", -2.0), -0.02);
}

Settings embedding(const std::string &type, long size, bool as_written = false) {
  Settings settings;
  settings.network.time_type = type;
  settings.network.time_size = size;
  settings.network.as_written = as_written;
  return settings;
}

/* Survey 6.1, seven digits. */
TEST(TimeEmbedding, MeetsTheSurveysNumbers) {
  const double sinusoidal[] = {.7071068, .0364469, .0016921, .0000785, .7071068, .9993356, .9999986, 1};
  const double fourier[] = {.1873813, .7674915, -.7952508, 0, .9822873, .6410591, -.6062807, 1};
  const auto a = embed_time(embedding("sinusoidal", 8), 0.5), b = embed_time(embedding("fourier", 8), 0.3);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_NEAR(a[i], sinusoidal[i], 6e-8);
    EXPECT_NEAR(b[i], fourier[i], 6e-8);
  }
}

TEST(TimeEmbedding, HarmonicIsSinesThenCosinesOfPiKT) {
  const auto e = embed_time(embedding("harmonic", 6), 0.3);
  for (int k = 1; k <= 3; ++k) {
    EXPECT_NEAR(e[static_cast<size_t>(k - 1)], std::sin(M_PI * k * 0.3), 1e-14);
    EXPECT_NEAR(e[static_cast<size_t>(k + 2)], std::cos(M_PI * k * 0.3), 1e-14);
  }
}

TEST(TimeEmbedding, RightFormsArePeriodicAndRectified) {
  const auto zero = embed_time(embedding("cyclical_fourier", 8), 0.0),
             one = embed_time(embedding("cyclical_fourier", 8), 1.0);
  for (size_t i = 0; i < zero.size(); ++i) EXPECT_NEAR(zero[i], one[i], 1e-14);
  const auto ramp = embed_time(embedding("linear", 4), 0.6);
  const double expected[] = {.6, .35, .1, 0};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(ramp[i], expected[i], 1e-15);
  EXPECT_EQ(embed_time(embedding("constant", 3), 0.6), Vector<double>(3, 1.0));
  EXPECT_EQ(time_width(embedding("linear", 3, true)), 9);
  EXPECT_EQ(time_width(embedding("harmonic", 0)), 0);
}

/* mathematics.md section 8. */
TEST(Network, HasThePublishedParameterCounts) {
  Settings settings;
  settings.network.squash_activation = false;
  settings.network.hidden.assign(6, 32);
  settings.network.time_size = 32;
  EXPECT_EQ(make_network(settings, 2, 2).parameters, 12834);
  EXPECT_EQ(make_network(settings, 0, 2).parameters, 6434);
  settings.network.time_size = 64;
  EXPECT_EQ(make_network(settings, 2, 2).parameters, 13858);
}

struct Case {
  std::string type, activation;
  std::vector<long> hidden;
  long x, latent, time;
  bool squash;
  std::string wrapper = "none";
  bool norm = false;
  std::string layers = "";
  std::string batch_norm = "none";
};

Settings settings_of(const Case &c) {
  Settings settings;
  settings.network.type = c.type;
  settings.network.activation = c.activation;
  settings.network.hidden = c.hidden;
  settings.network.time_size = c.time;
  settings.network.squash_activation = c.squash;
  settings.network.wrapper = c.wrapper;
  settings.network.layer_norm = c.norm;
  settings.network.layers = c.layers;
  settings.network.batch_norm = c.batch_norm;
  return settings;
}

std::vector<Case> cases() {
  std::vector<Case> result;
  /* Wrapped ones: the reference's derivatives of derivatives. */
  for (const char *wrapper : {"potential", "natural", "geometric", "hamiltonian"})
    for (const char *type : {"mlp", "resnet", "bilinear"})
      result.push_back({type, "swish", {5, 4}, 2, 2, 4, true, wrapper});
  for (const char *gate : {"softmax", "log_softmax", "switanh", "swiglu", "softplusglu"})
    for (const char *type : {"mlp", "resnet", "bilinear"})
      result.push_back({type, gate, {6, 4, 8}, 3, 2, 4, true, "none", type[0] == 'r'});
  for (const char *type : {"mlp", "bilinear"})
    for (const char *activation : {"swish", "softmax"})
      for (const char *wrapper : {"none", "potential"})
        result.push_back({type, activation, {5, 4}, 3, 2, 4, true, wrapper, false, "", "stored"});
  for (const std::vector<long> &hidden : {std::vector<long>{4}, {5, 7}, {3, 2}})
    for (const char *type : {"convex", "icnn"})
      for (const char *wrapper : {"none", "potential"})
        result.push_back({type, "softplus", hidden, 2, 3, 4, true, wrapper});
  for (const char *type : {"mlp", "resnet", "bilinear"}) {
    for (const char *activation : {"swish", "gelu", "tanh", "softplus", "elu", "sigmoid", "selu", "linear"})
      result.push_back({type, activation, {5, 4}, 3, 2, 4, true});
    for (const std::vector<long> &hidden : {std::vector<long>{3}, {3, 5, 4}, {6, 2, 3, 4}})
      for (long x : {0L, 2L})
        for (long time : {0L, 4L}) result.push_back({type, "swish", hidden, x, 3, time, true});
    result.push_back({type, "swish", {5, 4, 3}, 3, 2, 4, false});
  }
  result.push_back({"custom",
                    "swish",
                    {},
                    2,
                    2,
                    4,
                    true,
                    "none",
                    false,
                    "[{type: source, from: [z, x], width: 3, function: radial, parameters: 15},"
                    " {type: dense, from: [source.0, t], width: 2}]"});
  for (const char *layers :
       {"[{name: a, type: dense, from: [z, t], width: 4, activation: tanh}, {type: dropout, rate: 0.2},"
        " {type: dense, from: [dropout.1, x], width: 6, bias: false}, {type: activation, activation: swiglu},"
        " {type: layer_norm}, {type: concatenate, from: [layer_norm.4, z, x]}, {name: b, type: dense, width: 4},"
        " {type: multiply, from: a}]",
        "[{type: add, from: [z, x]}, {type: dense, from: [x, add.0, t], width: 2, activation: softplus},"
        " {type: multiply, from: [dense.1, x]}, {type: dropout, rate: 0.5}]"})
    for (const char *wrapper : {"none", "potential", "geometric"})
      result.push_back({"custom", "swish", {}, 2, 2, 4, true, wrapper, false, layers});
  return result;
}

/* d(cotangent . output)/d(parameters, z, x) by central differences in double, h = 1e-5: truncation h^2 times third
 * derivatives (about 1e-9 here), rounding 1e-16/h = 1e-11. With and without dropout. */
TEST(Network, GradientsMatchDifferences) {
  unsigned seed = 0;
  for (const Case &c : cases())
    for (bool drop : {false, true}) {
      const Settings settings = settings_of(c);
      const Network network = make_network(settings, c.x, c.latent);
      Vector<double> parameters = random_vector(static_cast<size_t>(network.parameters), ++seed, 0.5);
      for (const Array &array : network.arrays)
        if (array.name.find(".variance") != std::string::npos)
          for (long i = 0; i < array.size(); ++i) {
            double &v = parameters[static_cast<size_t>(array.offset + i)];
            v = 0.5 + std::fabs(v);
          }
      Vector<double> z = random_vector(static_cast<size_t>(c.latent), ++seed),
                     x = random_vector(static_cast<size_t>(c.x), ++seed);
      const Vector<double> cotangent = random_vector(z.size(), ++seed), e = embed_time(settings, 0.37);
      Dropout dropout;
      if (drop) dropout = [](long op, long feature) { return (op * 7 + feature * 3) % 4 == 0 ? 0.0 : 4.0 / 3; };

      const auto value = [&] {
        const auto out = forward(network, parameters, z, x, e, dropout).output();
        double sum = 0;
        for (size_t i = 0; i < out.size(); ++i) sum += out[i] * cotangent[i];
        return sum;
      };
      Vector<double> gradient(parameters.size(), 0.0), z_bar, x_bar;
      backward<double>(network, parameters, forward(network, parameters, z, x, e, dropout), cotangent, gradient, &z_bar,
                       &x_bar, dropout);
      const auto check = [&](Vector<double> &at, const Vector<double> &derivative, const char *what) {
        for (size_t i = 0; i < at.size(); ++i) {
          const double h = 1e-5, keep = at[i];
          at[i] = keep + h;
          const double up = value();
          at[i] = keep - h;
          const double down = value();
          at[i] = keep;
          ASSERT_NEAR(derivative[i], (up - down) / (2 * h), 2e-8 * (1 + std::fabs(derivative[i])))
              << c.type << ' ' << c.activation << ' ' << what << ' ' << i;
        }
      };
      check(parameters, gradient, "parameter");
      check(z, z_bar, "z");
      check(x, x_bar, "x");
    }
}

/* Each wrapper's field against differences of the network without it: gradients by central ones of V, second
 * derivatives by differences of gradients. */
TEST(Network, WrappersAreDerivativesOfTheSumOfOutputs) {
  for (const char *type : {"mlp", "resnet", "bilinear"}) {
    Case c{type, "tanh", {5, 4}, 4, 4, 4, true};
    const Network plain = make_network(settings_of(c), 4, 4);
    const Vector<double> p = random_vector(static_cast<size_t>(plain.parameters), 41, 0.6), z = random_vector(4, 42),
                         x = random_vector(4, 43), e = embed_time(settings_of(c), 0.6);
    const auto potential = [&](const Vector<double> &at) {
      double sum = 0;
      const auto out = forward(plain, p, at, x, e).output();
      for (const double v : out) sum += v;
      return sum;
    };
    const auto moved = [](Vector<double> at, const Vector<double> &direction, double by) {
      for (size_t i = 0; i < at.size(); ++i) at[i] += by * direction[i];
      return at;
    };
    const auto slope = [&](const Vector<double> &at, size_t i) {
      Vector<double> unit(4, 0.0);
      unit[i] = 1;
      return (potential(moved(at, unit, 1e-4)) - potential(moved(at, unit, -1e-4))) / 2e-4;
    };
    const auto field = [&](const char *wrapper) {
      c.wrapper = wrapper;
      const Network network = make_network(settings_of(c), 4, 4);
      return forward(network, p, z, x, e).output();
    };
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_NEAR(field("potential")[i], -slope(z, i), 1e-7);
      EXPECT_NEAR(field("hamiltonian")[i], i < 2 ? slope(z, i + 2) : -slope(z, i - 2), 1e-7);
      EXPECT_NEAR(field("geometric")[i], (slope(moved(z, x, 1e-3), i) - slope(moved(z, x, -1e-3), i)) / 2e-3, 1e-5);
    }
  }
}

/* On random segments no output of icnn lies above its chord, with every activation that it may have; the same segments
 * find that the earlier system's convex network, survey 5.4, is not convex as a whole. */
TEST(Network, IcnnIsConvexInItsState) {
  for (const char *activation : {"softplus", "relu", "leaky_relu", "elu", "linear"})
    for (const char *type : {"icnn", "convex"}) {
      const Case c{type, activation, {9, 6, 7}, 2, 4, 4, true};
      const Network network = make_network(settings_of(c), 2, 4);
      double highest = 0;
      for (unsigned seed = 1; seed <= 40; ++seed) {
        const Vector<double> p = random_vector(static_cast<size_t>(network.parameters), seed, 1),
                             from = random_vector(4, 100 + seed, 3), to = random_vector(4, 200 + seed, 3),
                             x = random_vector(2, 300 + seed), e = embed_time(settings_of(c), 0.3);
        const auto at = [&](double share) {
          Vector<double> z(4);
          for (size_t i = 0; i < 4; ++i) z[i] = (1 - share) * from[i] + share * to[i];
          return forward(network, p, z, x, e).output();
        };
        const Vector<double> first = at(0), last = at(1);
        for (const double share : {0.1, 0.25, 0.5, 0.7, 0.9}) {
          const Vector<double> between = at(share);
          for (size_t i = 0; i < 4; ++i) {
            const double chord = (1 - share) * first[i] + share * last[i];
            highest = std::max(highest, (between[i] - chord) / (1 + std::fabs(first[i]) + std::fabs(last[i])));
          }
        }
      }
      if (type[0] == 'i') {
        EXPECT_LT(highest, 1e-13) << activation;
      } else if (std::string(activation) != "linear") {
        EXPECT_GT(highest, 1e-3) << activation;
      }
    }
}

/* S S^T x / d, written out. */
TEST(Network, NaturalIsASquareOfItsOutputTimesTheCondition) {
  const Case c{"mlp", "swish", {5, 4}, 3, 3, 4, true, "natural"};
  Network network = make_network(settings_of(c), 3, 3);
  EXPECT_EQ(network.array("output.weight").columns, 9);
  const Vector<double> p = random_vector(static_cast<size_t>(network.parameters), 51, 0.6), z = random_vector(3, 52),
                       x = random_vector(3, 53), e = embed_time(settings_of(c), 0.6),
                       got = forward(network, p, z, x, e).output();
  network.wrapper = "none";
  const Vector<double> s = forward(network, p, z, x, e).output();
  for (size_t i = 0; i < 3; ++i) {
    double want = 0;
    for (size_t j = 0; j < 3; ++j)
      for (size_t k = 0; k < 3; ++k) want += s[3 * i + j] * s[3 * k + j] * x[k] / 3;
    EXPECT_NEAR(got[i], want, 1e-14);
  }
}

/* The resnet written out once more, straight from its definition. */
TEST(Network, ResnetIsItsDefinition) {
  const Case c{"resnet", "tanh", {4, 3, 5}, 2, 2, 6, true};
  const Settings settings = settings_of(c);
  const Network network = make_network(settings, c.x, c.latent);
  const Vector<double> p = random_vector(static_cast<size_t>(network.parameters), 5, 0.6), z = random_vector(2, 6),
                       x = random_vector(2, 7), e = embed_time(settings, 0.8);
  const auto times = [&](const Vector<double> &in, const std::string &name) {
    const Array &w = network.array(name + ".weight");
    EXPECT_EQ(w.rows, static_cast<long>(in.size())) << name;
    Vector<double> out(static_cast<size_t>(w.columns), 0.0);
    for (size_t i = 0; i < in.size(); ++i)
      for (size_t j = 0; j < out.size(); ++j) out[j] += in[i] * p[static_cast<size_t>(w.offset) + i * out.size() + j];
    return out;
  };
  const auto bias = [&](const std::string &name) {
    const Array &b = network.array(name + ".bias");
    return Vector<double>(p.begin() + b.offset, p.begin() + b.offset + b.columns);
  };
  const auto sum = [](Vector<double> a, const Vector<double> &b) {
    EXPECT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
    return a;
  };
  const auto act = [](Vector<double> a) {
    for (double &v : a) v = std::tanh(v);
    return a;
  };
  Vector<double> xp = x;
  for (int k = 0; k < 3; ++k) {
    const std::string name = "x." + std::to_string(k);
    xp = act(sum(times(xp, name), bias(name)));
  }
  Vector<double> h = sum(sum(times(z, "stem.z"), times(xp, "stem.x")), sum(times(e, "stem.t"), bias("stem")));
  for (int k = 1; k < 3; ++k) {
    const std::string block = "block." + std::to_string(k);
    const Vector<double> u = act(h);
    const Vector<double> v = act(
        sum(sum(times(u, block + ".in"), times(xp, block + ".x")), sum(times(e, block + ".t"), bias(block + ".in"))));
    h = sum(h, sum(times(v, block + ".out"), bias(block + ".out")));
  }
  const Vector<double> expected = sum(times(act(h), "output"), bias("output"));
  const auto got = forward(network, p, z, x, e).output();
  for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(got[i], expected[i], 1e-13);
}

/* Same arrays in the same order, same outputs and gradients: the names alone differ. */
TEST(Network, ListsOfLayersThatSayWhatANetworkIsAreThatNetwork) {
  const Case cases[] = {{"mlp", "swish", {9, 7}, 3, 2, 4, true, "none", false, kMlpLayers},
                        {"resnet", "swish", {9, 7}, 3, 2, 4, true, "none", false, kResnetLayers},
                        {"bilinear", "swish", {9, 9}, 3, 2, 4, true, "none", false, kBilinearLayers}};
  for (const Case &c : cases) {
    Case list = c;
    list.type = "custom";
    const Network network = make_network(settings_of(c), c.x, c.latent),
                  custom = make_network(settings_of(list), c.x, c.latent);
    ASSERT_EQ(network.arrays.size(), custom.arrays.size()) << c.type;
    for (size_t i = 0; i < network.arrays.size(); ++i) {
      EXPECT_EQ(network.arrays[i].rows, custom.arrays[i].rows) << c.type << ' ' << custom.arrays[i].name;
      EXPECT_EQ(network.arrays[i].columns, custom.arrays[i].columns) << c.type << ' ' << custom.arrays[i].name;
    }
    const Vector<double> p = random_vector(static_cast<size_t>(network.parameters), 21), z = random_vector(2, 22),
                         x = random_vector(3, 23), e = embed_time(settings_of(c), 0.3), bar = random_vector(2, 24);
    const auto a = forward(network, p, z, x, e), b = forward(custom, p, z, x, e);
    Vector<double> a_gradient(p.size(), 0.0), b_gradient(p.size(), 0.0);
    backward(network, p, a, bar, a_gradient);
    backward(custom, p, b, bar, b_gradient);
    for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(a.output()[i], b.output()[i], 1e-14) << c.type;
    for (size_t i = 0; i < p.size(); ++i) EXPECT_NEAR(a_gradient[i], b_gradient[i], 1e-13) << c.type << ' ' << i;
  }
}

TEST(Network, DropoutMultipliesWhatFollowsTheActivation) {
  const Case c{"mlp", "swish", {4, 4}, 0, 2, 0, true};
  const Network network = make_network(settings_of(c), 0, 2);
  const Vector<double> p = random_vector(static_cast<size_t>(network.parameters), 8), z = random_vector(2, 9);
  const auto with = forward<double>(network, p, z, {}, {}, [](long, long) { return 0.0; });
  const Array &bias = network.array("output.bias");
  for (size_t i = 0; i < 2; ++i) EXPECT_DOUBLE_EQ(with.output()[i], p[static_cast<size_t>(bias.offset) + i]);
  EXPECT_FALSE(network.ops[0].dropout) << "the squash is not dropped";
}

}  // namespace
