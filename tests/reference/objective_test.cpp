/* The loss of a batch: gradients by central differences for every network and objective, and what must not matter. */
#include "tests/reference/objective.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/reference/random.h"

namespace {

using namespace reference;

struct Model {
  Settings settings;
  Network network;
  Vector<double> parameters;
  Batch<double> batch;
};

/* One more noise per row, of the pass at t = 1. */
void add_end_noise(Model *m) {
  std::mt19937 generator(8);
  std::normal_distribution<double> normal;
  m->batch.noise.emplace_back(m->batch.z1.size(), Vector<double>(3));
  for (auto &row : m->batch.noise.back())
    for (double &v : row) v = normal(generator);
}

/* Five rows of three classes (or three real targets), times spread over (0.05, 0.95), two draws where asked. */
Model make_model(const Keys &keys, unsigned seed = 1) {
  Model m;
  m.settings = settings_from(keys);
  m.network = make_network(m.settings, 2, 3);
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  for (long i = 0; i < m.network.parameters; ++i) m.parameters.push_back(0.5 * normal(generator));
  const size_t rows = 5, draws = static_cast<size_t>(m.settings.loss.draws);
  for (size_t i = 0; i < rows; ++i) {
    m.batch.label.push_back(static_cast<long>(i % 3));
    if (m.settings.task == "classify")
      m.batch.z1.push_back(one_hot<double>(m.batch.label.back(), 3, m.settings.off_value));
    else
      m.batch.z1.push_back({normal(generator), normal(generator), normal(generator)});
    m.batch.x.push_back({normal(generator), normal(generator)});
  }
  for (size_t k = 0; k < draws; ++k) {
    m.batch.t.emplace_back();
    m.batch.noise.emplace_back();
    for (size_t i = 0; i < rows; ++i) {
      m.batch.t[k].push_back(0.05 + 0.9 * (static_cast<double>(i) + 0.4 * static_cast<double>(k)) / rows);
      m.batch.noise[k].push_back({});
      for (long j = 0; j < m.network.latent; ++j) m.batch.noise[k].back().push_back(normal(generator));
    }
    m.batch.end_noise.emplace_back(rows, Vector<double>(static_cast<size_t>(m.network.latent)));
    for (auto &row : m.batch.end_noise.back())
      for (double &v : row) v = normal(generator);
  }
  m.batch.encoder_noise.assign(rows, Vector<double>(static_cast<size_t>(m.network.latent)));
  for (auto &row : m.batch.encoder_noise)
    for (double &v : row) v = normal(generator);
  return m;
}

Loss<double> loss_of(const Model &m) { return batch_loss(m.settings, m.network, m.parameters, m.batch); }

/* Central differences of the total with h = 1e-5; the loss is of order scale, so rounding is scale 1e-16/h. With
 * respect to parameters, clean latents and the noise: the latter two reach the loss through z_t and directly. */
void check_gradient(Model m, const std::string &what) {
  const Loss<double> loss = loss_of(m);
  const auto check = [&](Vector<double> &at, const Vector<double> &derivative, const std::string &name) {
    for (size_t i = 0; i < at.size(); ++i) {
      const double h = 1e-5, keep = at[i];
      at[i] = keep + h;
      const double up = loss_of(m).total;
      at[i] = keep - h;
      const double down = loss_of(m).total;
      at[i] = keep;
      const double scale = std::fabs(derivative[i]) + std::fabs(loss.total) + 1;
      ASSERT_NEAR(derivative[i], (up - down) / (2 * h), 3e-8 * scale) << what << ", " << name << ' ' << i;
    }
  };
  check(m.parameters, loss.gradient, "parameter");
  for (size_t row = 0; row < m.batch.z1.size(); row += 2) {
    /* Of a decoder's terms the target is more than the latent. */
    if (m.network.encoder.empty() && m.network.decoder.empty())
      check(m.batch.z1[row], loss.z1_bar[row], "clean latent");
    check(m.batch.noise[0][row], loss.noise_bar[row], "noise");
  }
}

TEST(Objective, GradientsMatchDifferencesForEveryCombination) {
  for (const char *type : {"mlp", "resnet"})
    for (const char *variant : {"fm", "df", "ct"})
      for (const char *prediction : {"velocity", "noise", "target", "v"})
        for (const char *weight : {"uniform", "elbo", "t", "drift", "vp_velocity", "min_snr"})
          for (const char *drift : {"ode", "ou_mean"}) {
            if (std::string(variant) == "fm" && std::string(drift) == "ou_mean") continue; /* a VP drift */
            const bool other = (weight[0] + prediction[0]) % 2 != 0; /* the term weightings take turns */
            const Keys keys = {{"variant", variant},         {"prediction", prediction},
                               {"task", "regress"},          {"network.type", type},
                               {"network.hidden", "[4, 3]"}, {"network.time_embedding.size", "4"},
                               {"loss.weight", weight},      {"loss.normalize", other ? "batch" : "none"},
                               {"loss.recon.weight", "0.3"}, {"loss.recon.weighting", other ? "same" : "snr_prime"},
                               {"loss.reg", "0.07"},         {"loss.reg_weighting", other ? "none" : "same"},
                               {"loss.reg_drift", drift}};
            check_gradient(make_model(keys), std::string(type) + ' ' + variant + ' ' + prediction + ' ' + weight);
          }
}

TEST(Objective, GradientsMatchDifferencesWithCrossEntropy) {
  for (const char *off : {"0", "-1"})
    for (const char *drift : {"ode", "ou_mean"}) {
      const Keys keys = {{"loss.error", "cross_entropy"},
                         {"latent.off_value", off},
                         {"network.hidden", "[4, 3]"},
                         {"network.time_embedding.size", "4"},
                         {"loss.weight", "elbo"},
                         {"loss.recon.weight", "0.3"},
                         {"loss.reg", "0.07"},
                         {"loss.reg_drift", drift},
                         {"loss.draws", "2"}};
      check_gradient(make_model(keys), std::string("off ") + off);
    }
}

TEST(Objective, GradientsMatchDifferencesWithDropoutAndDraws) {
  Model m = make_model({{"network.hidden", "[8, 8]"},
                        {"network.dropout", "0.25"},
                        {"network.time_embedding.size", "4"},
                        {"loss.draws", "3"},
                        {"loss.normalize", "batch"},
                        {"loss.weight", "elbo"}});
  const Network network = m.network;
  m.batch.dropout = [network](long row, long number) -> Dropout {
    return [network, row, number](long op, long feature) {
      const Op &layer = network.ops[static_cast<size_t>(op)];
      const auto mask = keep_mask(3, static_cast<uint32_t>(row), 0, static_cast<uint32_t>(op),
                                  layer.x_branch ? 0 : static_cast<uint32_t>(number), layer.width, 0.25);
      return mask[static_cast<size_t>(feature)] ? keep_scale(0.25) : 0.0;
    };
  };
  check_gradient(m, "dropout");
}

/* What presets notebook, alignment-note and yhgon-mnist have of their own. */
TEST(Objective, GradientsMatchDifferencesInEarlierSystemsForms) {
  const Keys small = {{"network.hidden", "[4, 3]"}, {"network.time_embedding.size", "4"}, {"loss.draws", "2"}};
  const auto with = [&](Keys keys) {
    keys.insert(keys.end(), small.begin(), small.end());
    return keys;
  };
  check_gradient(make_model(with({{"task", "regress"},
                                  {"prediction", "state"},
                                  {"loss.path", "root_noise"},
                                  {"loss.weight", "inverse_snr"},
                                  {"loss.normalize", "batch"},
                                  {"loss.reg", "1"},
                                  {"loss.reg_drift", "output"}})),
                 "alignment-note");
  check_gradient(make_model(with({{"task", "classify"},
                                  {"latent.size", "2"},
                                  {"encoder.type", "linear"},
                                  {"decoder.type", "linear"},
                                  {"schedule.s", "0"},
                                  {"loss.weight", "notebook"},
                                  {"loss.normalize", "product"},
                                  {"loss.recon.type", "cross_entropy"},
                                  {"loss.recon.weight", "1"},
                                  {"loss.kl_z0", "1"},
                                  {"loss.kl_form", "norm"}})),
                 "notebook");
  for (const char *off : {"0", "-1"}) {
    Model m = make_model(with({{"task", "classify"},
                               {"latent.off_value", off},
                               {"loss.path", "signal_mean"},
                               {"loss.weight", "elbo"},
                               {"loss.scale", "bound"},
                               {"loss.error", "softmax_squared"},
                               {"loss.recon.type", "end_logits"},
                               {"loss.recon.weight", "0.7"}}));
    add_end_noise(&m);
    check_gradient(m, std::string("yhgon-mnist, off ") + off);
  }
}

/* Rows of a batch, and of the pass at t = 1, depend on each other through their statistics. */
TEST(Objective, GradientsMatchDifferencesWithBatchNorm) {
  const Keys list = {{"network.type", "custom"},
                     {"network.time_embedding.size", "4"},
                     {"network.layers",
                      "[{name: a, type: dense, from: [z, t], width: 4, activation: tanh}, {name: n, type: batch_norm},"
                      " {type: dense, from: [n, x], width: 3}, {type: batch_norm},"
                      " {type: activation, activation: swish}, {type: dense}]"}};
  const auto with = [&](Keys keys) {
    keys.insert(keys.end(), list.begin(), list.end());
    Model m = make_model(keys);
    for (const Array &array : m.network.arrays) /* which losses of batches do not read */
      if (array.name.find(".variance") != std::string::npos) m.parameters[static_cast<size_t>(array.offset)] = 1;
    return m;
  };
  check_gradient(with({{"task", "regress"}, {"loss.draws", "2"}, {"loss.reg", "0.1"}}), "batch norm");
  Model m = with({{"task", "classify"},
                  {"loss.path", "signal_mean"},
                  {"loss.error", "softmax_squared"},
                  {"loss.recon.type", "end_logits"},
                  {"loss.recon.weight", "0.7"}});
  add_end_noise(&m);
  check_gradient(m, "batch norm at t = 1");
}

/* A row and a column of these forms, written out: survey 2.8, 2.9, and S3 in 2.7. */
TEST(Objective, EarlierSystemsFormsAreTheirDefinitions) {
  const Model note = make_model({{"task", "regress"},
                                 {"prediction", "state"},
                                 {"loss.path", "root_noise"},
                                 {"loss.weight", "inverse_snr"},
                                 {"loss.normalize", "batch"},
                                 {"loss.reg", "1"},
                                 {"loss.reg_drift", "output"},
                                 {"network.hidden", "[4]"},
                                 {"network.time_embedding.size", "4"}});
  const Loss<double> loss = loss_of(note);
  double flow = 0, reg = 0, mean = 0;
  for (size_t i = 0; i < 5; ++i) {
    const double back = 1 - note.batch.t[0][i]; /* its time runs from data to noise: weight t/(1-t)^2 */
    mean += back / ((1 - back) * (1 - back)) / 5;
  }
  for (size_t i = 0; i < 5; ++i) {
    const double t = note.batch.t[0][i], back = 1 - t;
    double error = 0;
    for (size_t j = 0; j < 3; ++j) {
      const double z = (1 - back) * note.batch.z1[i][j] + std::sqrt(back) * note.batch.noise[0][i][j];
      EXPECT_NEAR(loss.z[i][j], z, 1e-14);
      error += (loss.prediction[i][j] - z) * (loss.prediction[i][j] - z) / 3;
      reg += loss.prediction[i][j] * loss.prediction[i][j] / 15;
    }
    flow += back / ((1 - back) * (1 - back)) / (mean + 1e-8) * error / 5;
  }
  EXPECT_NEAR(loss.flow, flow, 1e-12 * flow);
  EXPECT_NEAR(loss.reg, reg, 1e-12 * reg);
  EXPECT_NEAR(loss.total, flow + reg, 1e-12 * flow);

  Model script = make_model({{"task", "classify"},
                             {"schedule.type", "sigmoid"},
                             {"schedule.renormalise", "false"},
                             {"schedule.k", "10"},
                             {"loss.path", "signal_mean"},
                             {"loss.weight", "elbo"},
                             {"loss.scale", "bound"},
                             {"loss.error", "softmax_squared"},
                             {"loss.recon.type", "end_logits"},
                             {"loss.recon.weight", "1"},
                             {"loss.t_eps", "0"},
                             {"network.hidden", "[4]"},
                             {"network.time_embedding.size", "4"}});
  add_end_noise(&script);
  const Loss<double> own = loss_of(script);
  const auto probabilities = [](Vector<double> logits) {
    double sum = 0;
    for (double &v : logits) sum += v = std::exp(v);
    for (double &v : logits) v /= sum;
    return logits;
  };
  double sdm = 0, ce = 0;
  for (size_t i = 0; i < 5; ++i) {
    const double gamma = 10 * script.batch.t[0][i] - 5, signal = 1 / (1 + std::exp(-gamma));
    const auto p = probabilities(own.prediction[i]);
    for (size_t j = 0; j < 3; ++j) {
      EXPECT_NEAR(own.z[i][j], signal * script.batch.z1[i][j] + std::sqrt(1 - signal) * script.batch.noise[0][i][j],
                  1e-14);
      sdm += 0.5 * 10 * std::exp(gamma) * square(p[j] - script.batch.z1[i][j]) / 5;
    }
    const double last = 1 / (1 + std::exp(-5.0));
    Vector<double> z;
    for (size_t j = 0; j < 3; ++j)
      z.push_back(last * script.batch.z1[i][j] + std::sqrt(1 - last) * script.batch.noise[1][i][j]);
    const auto q = probabilities(
        forward(script.network, script.parameters, z, script.batch.x[i], embed_time(script.settings, 1.0)).output());
    ce -= std::log(q[static_cast<size_t>(script.batch.label[i])]) / 5;
  }
  EXPECT_NEAR(own.flow, sdm, 1e-12 * sdm);
  EXPECT_NEAR(own.recon, ce, 1e-12 * ce);
  EXPECT_NEAR(own.total, sdm + ce, 1e-12 * sdm);

  const Model book = make_model({{"task", "classify"},
                                 {"latent.size", "2"},
                                 {"encoder.type", "linear"},
                                 {"decoder.type", "linear"},
                                 {"schedule.s", "0"},
                                 {"schedule.alpha_bar", "[1e-12, 0.999999999999]"},
                                 {"loss.weight", "notebook"},
                                 {"loss.normalize", "product"},
                                 {"loss.recon.type", "cross_entropy"},
                                 {"loss.recon.weight", "1"},
                                 {"loss.kl_z0", "1"},
                                 {"loss.kl_form", "norm"},
                                 {"network.hidden", "[4]"},
                                 {"network.time_embedding.size", "4"}});
  const Loss<double> third = loss_of(book);
  double weight = 0, mse = 0, kl = 0;
  for (size_t i = 0; i < 5; ++i) {
    const double signal = square(std::cos(M_PI / 2 * (1 - book.batch.t[0][i])));
    weight += 2 * signal / square(1 - signal + 1e-8) / 5;
    for (size_t j = 0; j < 2; ++j) {
      mse += square(third.prediction[i][j] - third.latent[i][j]) / 10;
      kl += 0.5 * square(third.latent[i][j]) / 5;
    }
  }
  EXPECT_NEAR(third.flow, 0.5 * weight * mse, 1e-9 * third.flow);
  EXPECT_NEAR(third.kl_z0, kl, 1e-12 * kl);
  EXPECT_NEAR(third.total, third.flow + third.recon + third.kl_z0, 1e-12 * third.total);
}

/* Survey 2.10: SNR'/mean, t/mean t, and the product of means. */
TEST(Objective, WeightsOfBatchesAreThoseOfTheCatalogue) {
  const struct {
    const char *variant, *weight, *normalize;
  } rows[] = {{"ct", "elbo", "batch"}, {"df", "t", "batch"}, {"ct", "notebook", "product"}};
  for (const auto &row : rows) {
    const Model m = make_model({{"variant", row.variant},
                                {"task", "regress"},
                                {"schedule.type", "linear"},
                                {"schedule.alpha_bar", "[0.01, 0.99]"},
                                {"loss.weight", row.weight},
                                {"loss.normalize", row.normalize},
                                {"network.hidden", "[4]"},
                                {"network.time_embedding.size", "4"}});
    Vector<double> plain;
    double mean = 0;
    for (const double t : m.batch.t[0]) {
      const double ab = 0.01 + 0.98 * t;
      plain.push_back(row.weight[0] == 'e'   ? 0.98 / square(1 - ab)
                      : row.weight[0] == 't' ? t
                                             : ab / square(1 - ab + 1e-8));
      mean += plain.back() / 5;
    }
    const Loss<double> loss = loss_of(m);
    for (size_t i = 0; i < plain.size(); ++i)
      EXPECT_NEAR(loss.weight[i], row.normalize[0] == 'p' ? mean : plain[i] / (mean + 1e-8), 1e-11 * (1 + mean))
          << row.weight;
  }
}

/* Through encoder, noise of a Gaussian latent, decoder, kl_z0, vae and reconstruction, with latents narrower and wider
 * than the target. */
TEST(Objective, GradientsMatchDifferencesThroughEncodersAndDecoders) {
  const struct {
    const char *encoder, *decoder, *output, *recon, *latent, *task;
  } cases[] = {
      {"linear", "linear", "none", "mse", "2", "regress"},
      {"mlp", "mlp", "linear", "mse", "4", "regress"},
      {"resnet", "resnet", "none", "cross_entropy", "2", "classify"},
      {"mlp_normal", "mlp", "softmax", "mse", "2", "classify"},
      {"resnet_normal", "linear", "softmax", "log", "5", "classify"},
      {"mlp_normal", "identity", "none", "mse", "3", "regress"},
      {"identity", "linear", "softmax", "cross_entropy", "3", "classify"},
      {"identity", "identity", "linear", "mse", "3", "regress"},
  };
  for (const auto &c : cases)
    for (const char *variant : {"fm", "df", "ct"}) {
      Keys keys = {{"variant", variant},
                   {"task", c.task},
                   {"latent.size", c.latent},
                   {"encoder.type", c.encoder},
                   {"decoder.type", c.decoder},
                   {"decoder.output", c.output},
                   {"encoder.hidden", "[4, 3]"},
                   {"decoder.hidden", "[3, 5]"},
                   {"loss.recon.type", c.recon},
                   {"loss.recon.weight", "0.3"},
                   {"loss.recon.weighting", "same"},
                   {"loss.vae", "0.7"},
                   {"loss.reg", "0.05"},
                   {"network.hidden", "[4]"},
                   {"network.time_embedding.size", "4"},
                   {"loss.draws", "2"}};
      if (std::string(variant) != "fm") keys.push_back({"loss.kl_z0", "0.4"});
      if (std::string(variant) == "df") keys.push_back({"schedule.alpha_bar", "[0.2, 0.9]"});
      check_gradient(make_model(keys), std::string(variant) + ' ' + c.encoder + ' ' + c.decoder + ' ' + c.recon);
    }
}

/* Survey 1.4: d = 2, |z1|^2 = 2; and a Gaussian latent of variance 1 around 0, which noising leaves what it is. */
TEST(Objective, KlOfTheStartHasTheSurveysNumbers) {
  const Vector<double> mean = {1, 1}, none = {0, 0}, unit = {1, 1};
  EXPECT_NEAR(kl_of_start(0.01, mean, none), 0.010050, 5e-7);
  EXPECT_NEAR(kl_of_start(0.05, mean, none), 0.051293, 5e-7);
  EXPECT_NEAR(kl_of_start(0.05, none, unit), 0, 1e-16);
}

/* Numbers worked out by hand: no hidden structure, the network returns its output bias. */
TEST(Objective, TermsAreTheirDefinitions) {
  Model m = make_model({{"variant", "ct"},
                        {"task", "regress"},
                        {"loss.weight", "elbo"},
                        {"loss.recon.weight", "0.5"},
                        {"loss.recon.weighting", "snr_prime"},
                        {"loss.reg", "0.25"},
                        {"schedule.type", "linear"}});
  std::fill(m.parameters.begin(), m.parameters.end(), 0.0);
  const Array &bias = m.network.array("output.bias");
  const double out[] = {0.5, -1, 2};
  for (size_t j = 0; j < 3; ++j) m.parameters[static_cast<size_t>(bias.offset) + j] = out[j];
  double flow = 0, reg = 0;
  for (size_t i = 0; i < 5; ++i) {
    const double t = m.batch.t[0][i], ab = 0.001 + 0.998 * t, g = 0.998 / (ab * (1 - ab)), w = g * ab / (1 - ab);
    for (size_t j = 0; j < 3; ++j) {
      const double z1 = m.batch.z1[i][j], z = std::sqrt(ab) * z1 + std::sqrt(1 - ab) * m.batch.noise[0][i][j];
      const double field = 0.5 * g * (std::sqrt(ab) * out[j] - ab * z);
      flow += w * (out[j] - z1) * (out[j] - z1) / 15;
      reg += field * field / 15;
    }
  }
  const auto loss = loss_of(m);
  EXPECT_NEAR(loss.flow, flow, 1e-12 * flow);
  EXPECT_NEAR(loss.recon, flow, 1e-12 * flow) << "ct predicts the target: the same error with the same weight";
  EXPECT_NEAR(loss.reg, reg, 1e-12 * reg);
  EXPECT_NEAR(loss.total, flow + 0.5 * flow + 0.25 * reg, 1e-12 * loss.total);
}

TEST(Objective, CrossEntropyIsMinusLogProbabilityOfTheLabel) {
  Model m = make_model({{"loss.error", "cross_entropy"}});
  std::fill(m.parameters.begin(), m.parameters.end(), 0.0);
  const auto loss = loss_of(m);
  EXPECT_NEAR(loss.flow, std::log(3), 1e-14);
  for (double v : loss.target[0]) EXPECT_NEAR(v, 1 / 3.0, 1e-14);
}

/* A network that knows the answer has no error, whatever it predicts: the linear layers are set by hand so that the
 * output is the exact prediction for a batch whose clean latent and noise coincide (z1 = e gives z = (a + b) z1). */
TEST(Objective, ExactPredictionHasNoLoss) {
  for (const char *variant : {"fm", "ct"})
    for (const char *prediction : {"velocity", "noise", "target", "v"}) {
      Model m = make_model({{"variant", variant},
                            {"prediction", prediction},
                            {"task", "regress"},
                            {"network.activation", "linear"},
                            {"network.hidden", "[3]"},
                            {"network.time_embedding.size", "0"},
                            {"network.squash_activation", "false"},
                            {"loss.recon.weight", "1"}});
      for (double &t : m.batch.t[0]) t = 0.3; /* one time, so that a fixed linear map is exact */
      for (size_t i = 0; i < 5; ++i) m.batch.noise[0][i] = m.batch.z1[i];
      const auto p = path_at(m.settings, 0.3);
      const double velocity = p.la * p.a + p.lb * p.b;
      const double v = (p.a - p.b) / std::hypot(p.a, p.b);
      const std::string kind = prediction;
      const double factor = (kind == "velocity" ? velocity : kind == "v" ? v : 1) / (p.a + p.b);
      std::fill(m.parameters.begin(), m.parameters.end(), 0.0);
      for (long j = 0; j < 3; ++j) {
        m.parameters[static_cast<size_t>(m.network.array("squash.z.weight").offset + 4 * j)] = factor;
        m.parameters[static_cast<size_t>(m.network.array("output.weight").offset + 4 * j)] = 1;
      }
      const auto loss = loss_of(m);
      EXPECT_NEAR(loss.flow, 0, 1e-26) << variant << prediction;
      EXPECT_NEAR(loss.recon, 0, 1e-26) << variant << prediction;
      for (size_t i = 0; i < 5; ++i)
        for (size_t j = 0; j < 3; ++j) {
          EXPECT_NEAR(loss.target[i][j], m.batch.z1[i][j], 1e-12);
          EXPECT_NEAR(loss.velocity[i][j], velocity * m.batch.z1[i][j], 1e-12);
        }
    }
}

TEST(Objective, BatchNormalisedWeightsHaveMeanOne) {
  Model m = make_model({{"loss.weight", "elbo"}, {"loss.normalize", "batch"}});
  const auto loss = loss_of(m);
  double mean = 0;
  for (double w : loss.weight) mean += w / 5;
  EXPECT_NEAR(mean, 1, 1e-7);
}

TEST(Objective, BatchLossIsTheMeanOfItsRows) {
  Model m = make_model({{"loss.draws", "2"}, {"loss.recon.weight", "0.2"}});
  const auto loss = loss_of(m);
  double mean = 0;
  for (double v : loss.row_total) mean += v / 5;
  EXPECT_NEAR(mean, loss.total, 1e-14 * loss.total);
}

}  // namespace
