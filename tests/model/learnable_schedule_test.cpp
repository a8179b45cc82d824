/* Schedules that are trained: gradients of their numbers against differences of the double reference, and that
 * training, solving and the caller all see the learned numbers. */
#include <cmath>
#include <cstdio>
#include <optional>
#include <random>

#include "tests/model/support.h"
#include "tests/reference/objective.h"
#include "tests/reference/random.h"
#include "tests/tile_form.h"

extern "C" {
#include "engine/schedule.h"
}

using namespace model_test;
using reference::Settings;

namespace {

const Keys kBase = {{"task", "regress"},
                    {"network.hidden", "[8, 8]"},
                    {"network.time_embedding.size", "6"},
                    {"schedule.learnable", "true"},
                    {"schedule.alpha_bar", "[0.01, 0.995]"},
                    {"precision", "fp32"},
                    {"data.standardise", "false"}};

Keys with(Keys keys, const Keys &more) {
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

Settings reference_settings(const Keys &keys) {
  Settings settings;
  for (const auto &[key, value] : keys)
    if (key.rfind("data.", 0) != 0) settings.set(key, value);
  return settings;
}

/* The reference with the raw numbers of arrays "schedule.NAME". */
void set_number(Settings &settings, const std::string &name, double raw) {
  auto &s = settings.schedule;
  if (name == "schedule.s") s.s = reference::softplus(raw);
  if (name == "schedule.k") s.k = reference::softplus(raw);
  if (name == "schedule.t_mid") s.t_mid = raw;
  if (name == "schedule.beta") s.beta = reference::softplus(raw);
  if (name == "schedule.loc") s.loc = raw;
  if (name == "schedule.scale") s.scale = reference::softplus(raw);
  if (name == "schedule.power") s.power = 1 + reference::softplus(raw);
  if (name == "schedule.gamma_first") s.low = reference::sigmoid(raw);
  if (name == "schedule.gamma_span") /* after gamma_first */
    s.high = reference::sigmoid(std::log(s.low / (1 - s.low)) + reference::softplus(raw));
}

struct GradientCase {
  const char *name;
  Keys keys;
  int numbers;
};

const GradientCase kCases[] = {
    {"cosine, target", {{"variant", "ct"}, {"schedule.type", "cosine"}, {"schedule.s", "0.05"}}, 1},
    {"cauchy, noise, all terms",
     {{"variant", "df"},
      {"schedule.type", "cauchy"},
      {"schedule.scale", "0.3"},
      {"loss.weight", "elbo"},
      {"loss.recon.weight", "0.3"},
      {"loss.recon.weighting", "snr_prime"},
      {"loss.reg", "0.05"},
      {"loss.reg_weighting", "same"}},
     2},
    {"sigmoid, velocity, all terms",
     {{"variant", "ct"},
      {"prediction", "velocity"},
      {"schedule.type", "sigmoid"},
      {"schedule.k", "6"},
      {"schedule.t_mid", "0.4"},
      {"loss.recon.weight", "0.3"},
      {"loss.recon.weighting", "same"},
      {"loss.reg", "0.05"},
      {"loss.reg_drift", "ou_mean"}},
     2},
    {"laplace, target, all terms",
     {{"variant", "ct"},
      {"schedule.type", "laplace"},
      {"schedule.loc", "0.45"}, /* no row stands at its kink, where differences mean nothing */
      {"schedule.scale", "0.25"},
      {"loss.weight", "elbo"},
      {"loss.recon.weight", "0.2"},
      {"loss.reg", "0.02"},
      {"loss.reg_weighting", "snr_prime"},
      {"loss.reg_drift", "ou_mean"}},
     2},
    {"exponential, noise",
     {{"variant", "df"},
      {"schedule.type", "exponential"},
      {"loss.weight", "drift"},
      {"loss.reg", "0.05"},
      {"loss.reg_drift", "ou_mean"}},
     1},
    {"polynomial, velocity",
     {{"variant", "df"},
      {"prediction", "velocity"},
      {"schedule.type", "polynomial"},
      {"schedule.power", "1.7"},
      {"loss.weight", "vp_velocity"},
      {"loss.reg", "0.05"}},
     1},
    {"cosine, v, min_snr, all terms",
     {{"variant", "ct"},
      {"prediction", "v"},
      {"schedule.type", "cosine"},
      {"schedule.s", "0.05"},
      {"loss.weight", "min_snr"},
      {"loss.recon.weight", "0.3"},
      {"loss.recon.weighting", "same"},
      {"loss.reg", "0.05"}},
     1},
    {"sigmoid, v, snr_prime",
     {{"variant", "df"},
      {"prediction", "v"},
      {"schedule.type", "sigmoid"},
      {"schedule.k", "6"},
      {"schedule.t_mid", "0.45"},
      {"loss.weight", "snr_prime"},
      {"loss.reg", "0.05"},
      {"loss.reg_drift", "ou_mean"}},
     2},
    {"exponential, noise, snr_prime",
     {{"variant", "df"}, {"schedule.type", "exponential"}, {"loss.weight", "snr_prime"}},
     1},
    {"polynomial, target, min_snr",
     {{"variant", "ct"}, {"schedule.type", "polynomial"}, {"schedule.power", "1.7"}, {"loss.weight", "min_snr"}},
     1},
    {"cauchy, noise, inverse_snr",
     {{"variant", "df"}, {"schedule.type", "cauchy"}, {"schedule.scale", "0.3"}, {"loss.weight", "inverse_snr"}},
     2},
    {"sigmoid, target, ends",
     {{"variant", "ct"},
      {"schedule.type", "sigmoid"},
      {"schedule.k", "6"},
      {"schedule.t_mid", "0.45"},
      {"schedule.learn_endpoints", "true"},
      {"schedule.alpha_bar", "[0.05, 0.9]"},
      {"loss.weight", "elbo"},
      {"loss.reg", "0.02"},
      {"loss.vae", "0.8"},
      {"loss.kl_z0", "0.3"}},
     4},
    {"exponential, noise, ends, decoder",
     {{"variant", "df"},
      {"schedule.type", "exponential"},
      {"schedule.learn_endpoints", "true"},
      {"schedule.alpha_bar", "[0.1, 0.8]"},
      {"decoder.type", "linear"},
      {"loss.weight", "elbo"},
      {"loss.vae", "2"},
      {"loss.kl_z0", "0.5"}},
     3},
    {"cauchy, target, ends, encoder",
     {{"variant", "ct"},
      {"schedule.type", "cauchy"},
      {"schedule.scale", "0.3"},
      {"schedule.learn_endpoints", "true"},
      {"schedule.alpha_bar", "[0.1, 0.9]"},
      {"encoder.type", "mlp_normal"},
      {"encoder.hidden", "[8]"},
      {"loss.weight", "elbo"},
      {"loss.vae", "1"},
      {"loss.kl_z0", "0.4"}},
     4},
    {"cosine, logits",
     {{"variant", "ct"},
      {"task", "classify"},
      {"schedule.type", "cosine"},
      {"schedule.s", "0.05"},
      {"loss.error", "cross_entropy"},
      {"loss.weight", "elbo"}},
     1},
};

std::vector<float> normals(size_t count, unsigned seed) {
  std::vector<float> values;
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < count; ++i) values.push_back(normal(generator));
  return values;
}

}  // namespace

TEST(LearnableSchedule, GradientsOfItsNumbersAreThoseOfTheReference) {
  for (const GradientCase &c : kCases) {
    SCOPED_TRACE(c.name);
    /* The rows' parts are gathered over lanes: one case with tiles of fewer rows than lanes. */
    std::optional<TileForm> forced;
    if (c.keys == kCases[0].keys) forced.emplace("8x2");
    const Keys keys = with(kBase, c.keys);
    const Settings settings = reference_settings(keys);
    const bool labels = settings.task == "classify";
    const long rows = 45, width = 3;
    const Data data = make_data(rows, 2, width, labels);
    const Model model = make_model(keys, data);
    ASSERT_TRUE(model);
    const reference::Network network = reference::make_network(settings, 2, width);
    ASSERT_EQ(noprop_model_parameter_values(model.get()), network.parameters + c.numbers);
    std::vector<float> values = parameters(model.get());
    const auto drawn = normals(static_cast<size_t>(network.parameters), 3);
    for (size_t i = 0; i < drawn.size(); ++i) values[i] = 0.4f * drawn[i];
    ASSERT_OK(noprop_model_set_parameters(model.get(), values.data()));

    std::vector<float> t, noise = normals(static_cast<size_t>(rows * width), 4), gradient(values.size());
    for (long i = 0; i < rows; ++i) t.push_back(0.03f + 0.94f * static_cast<float>(i) / static_cast<float>(rows - 1));
    noprop_loss_request request = {};
    request.rows = rows;
    request.condition = data.condition.data();
    request.target = labels ? static_cast<const void *>(data.labels.data()) : data.values.data();
    request.t = t.data();
    request.noise = noise.data();
    request.gradient = gradient.data();
    noprop_loss_terms terms;
    ASSERT_OK(noprop_model_loss(model.get(), &request, &terms));

    reference::Batch<double> batch;
    batch.t.emplace_back(t.begin(), t.end());
    batch.noise.emplace_back();
    for (size_t i = 0; i < static_cast<size_t>(rows); ++i) {
      batch.x.emplace_back(data.condition.begin() + 2 * static_cast<long>(i),
                           data.condition.begin() + 2 * static_cast<long>(i) + 2);
      const long first = width * static_cast<long>(i);
      batch.noise[0].emplace_back(noise.begin() + first, noise.begin() + first + width);
      if (labels) {
        batch.label.push_back(data.labels[i]);
        batch.z1.push_back(reference::one_hot<double>(data.labels[i], width, 0));
      } else {
        batch.z1.emplace_back(data.values.begin() + first, data.values.begin() + first + width);
      }
    }
    if (settings.loss.vae > 0) {
      batch.end_noise.emplace_back();
      for (long i = 0; i < rows; ++i)
        batch.end_noise[0].push_back(
            reference::normals<double>(settings.seed, reference::kEndNoise, static_cast<uint32_t>(i), 0, width));
    }
    for (long i = 0; settings.encoder.normal() && i < rows; ++i)
      batch.encoder_noise.push_back(
          reference::normals<double>(settings.seed, reference::kEncoderNoise, static_cast<uint32_t>(i), 0, width));
    const reference::Vector<double> weights(values.begin(), values.begin() + network.parameters);
    const auto loss = [&](const std::string &name, double raw) {
      Settings moved = settings;
      for (int i = 0; i < c.numbers; ++i) {
        const noprop_parameter p = noprop_model_parameter(model.get(), static_cast<int>(network.arrays.size()) + i);
        set_number(moved, p.name, p.name == name ? raw : static_cast<double>(values[static_cast<size_t>(p.offset)]));
      }
      return reference::batch_loss<double>(moved, network, weights, batch);
    };
    for (int i = 0; i < c.numbers; ++i) {
      const noprop_parameter p = noprop_model_parameter(model.get(), static_cast<int>(network.arrays.size()) + i);
      const double raw = static_cast<double>(values[static_cast<size_t>(p.offset)]), h = 1e-4;
      EXPECT_NEAR(terms.loss, loss(p.name, raw).total, 2e-5 * std::fabs(terms.loss));
      /* Richardson's extrapolation of central differences: h^4 times a fifth derivative, and 1e-16/h times the loss. */
      const auto up = loss(p.name, raw + h), down = loss(p.name, raw - h);
      const auto up2 = loss(p.name, raw + 2 * h), down2 = loss(p.name, raw - 2 * h);
      double want = 0, size = 0;
      for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
        const double near = (up.row_total[row] - down.row_total[row]) / (2 * h);
        const double far = (up2.row_total[row] - down2.row_total[row]) / (4 * h);
        const double slope = (4 * near - far) / 3;
        want += slope / static_cast<double>(rows);
        size += std::fabs(slope) / static_cast<double>(rows);
      }
      const double got = static_cast<double>(gradient[static_cast<size_t>(p.offset)]);
      std::printf("[  share   ] %-28s %-14s %.6g, error %.1e of the rows' sizes\n", c.name, p.name, got,
                  std::fabs(got - want) / size);
      /* Some hundred roundings of 6e-8 on the way to a row's part, in which terms of opposite sign meet. */
      EXPECT_NEAR(got, want, 5e-6 * size) << p.name;
      EXPECT_GT(std::fabs(want), 1e-3 * size) << "a case in which zero would nearly pass";
    }
  }
}

/* P-18: weight decay must not pull a schedule's raw numbers to zero; all else of the step is the same. */
TEST(LearnableSchedule, WeightDecayLeavesItsNumbersAlone) {
  const Data data = make_data(64, 2, 3, false);
  for (const char *clip : {"0", "0.5"}) {
    std::vector<float> after[2];
    for (int decayed = 0; decayed < 2; ++decayed) {
      const Model model = make_model(with(kBase, {{"variant", "ct"},
                                                  {"schedule.type", "cosine"},
                                                  {"schedule.s", "0.05"},
                                                  {"optimizer.clip", clip},
                                                  {"optimizer.learning_rate", "0.01"},
                                                  {"optimizer.weight_decay", decayed ? "0.9" : "0"}}),
                                     data);
      ASSERT_TRUE(model);
      bind(model.get(), data, 64);
      const std::vector<float> before = parameters(model.get());
      const noprop_device_counters launches = counters();
      ASSERT_OK(noprop_model_train_step(model.get(), 1));
      EXPECT_LE(counters().launches - launches.launches, clip[0] == '0' && clip[1] == 0 ? 2u : 3u);
      after[decayed] = parameters(model.get());
      EXPECT_NE(after[decayed].back(), before.back()) << "it is trained";
    }
    EXPECT_EQ(after[0].back(), after[1].back());
    EXPECT_NE(after[0].front(), after[1].front()) << "weights are decayed";
  }
}

/* A model whose learned k is 5 solves as one that is made with k = 5. */
TEST(LearnableSchedule, SolvesAndCallersUseTheLearnedNumbers) {
  const Data data = make_data(33, 2, 3, false);
  const Keys keys = with(kBase, {{"variant", "ct"}, {"schedule.type", "sigmoid"}, {"sample.steps", "7"}});
  const Model learned = make_model(with(keys, {{"schedule.k", "11"}}), data);
  const Model made = make_model(with(keys, {{"schedule.k", "5"}, {"schedule.learnable", "false"}}), data);
  ASSERT_TRUE(learned && made);
  std::vector<float> values = parameters(learned.get());
  const std::vector<float> weights(values.begin(), values.end() - 2);
  values[values.size() - 2] = static_cast<float>(schedule_inverse_softplus(5)); /* k; t_mid stays */
  ASSERT_OK(noprop_model_set_parameters(learned.get(), values.data()));
  ASSERT_OK(noprop_model_set_parameters(made.get(), weights.data()));
  const double t[] = {0.2, 0.6};
  noprop_schedule_values of_learned[2], of_made[2];
  ASSERT_OK(noprop_model_schedule(learned.get(), false, t, 2, of_learned));
  ASSERT_OK(noprop_model_schedule(made.get(), false, t, 2, of_made));
  for (int i = 0; i < 2; ++i) EXPECT_NEAR(of_learned[i].gamma, of_made[i].gamma, 1e-6);
  std::vector<float> latent[2];
  int number = 0;
  for (noprop_model *model : {learned.get(), made.get()}) {
    const noprop_sampler_options options = noprop_sampler_options_default(model);
    const noprop_array condition = data.condition_array();
    latent[number].resize(33 * 3);
    ASSERT_OK(noprop_sample(model, &options, &condition, 33, latent[number].data(), nullptr));
    int points = 0;
    ASSERT_OK(noprop_trajectory_times(model, &options, nullptr, &points));
    std::vector<double> times(static_cast<size_t>(points));
    ASSERT_OK(noprop_trajectory_times(model, &options, times.data(), &points));
    /* Uniform in the gamma of k = 5. */
    const double middle = times[static_cast<size_t>(points) / 2];
    noprop_schedule_values v[3];
    const double at[] = {0, middle, 1};
    ASSERT_OK(noprop_model_schedule(made.get(), false, at, 3, v));
    EXPECT_NEAR(v[1].gamma, v[0].gamma + (v[2].gamma - v[0].gamma) * (points / 2) / (points - 1), 1e-5);
    ++number;
  }
  double size = 0;
  for (size_t i = 0; i < latent[0].size(); ++i) {
    EXPECT_NEAR(latent[0][i], latent[1][i], 2e-5f * (1 + std::fabs(latent[1][i])));
    size += static_cast<double>(std::fabs(latent[1][i]));
  }
  EXPECT_GT(size, 1);
}

/* End points of the numbers that they have become, met exactly by host and kernels, and in order. */
TEST(LearnableSchedule, TrainsItsEndPointsTogetherWithTheBound) {
  const Data data = make_data(64, 2, 3, false);
  const Model model = make_model(with(kBase, {{"variant", "ct"},
                                              {"schedule.type", "cosine"},
                                              {"schedule.s", "0.05"},
                                              {"schedule.learn_endpoints", "true"},
                                              {"loss.weight", "elbo"},
                                              {"loss.vae", "1"},
                                              {"loss.kl_z0", "1"},
                                              {"optimizer.clip", "0"},
                                              {"optimizer.weight_decay", "0.5"},
                                              {"optimizer.learning_rate", "0.05"}}),
                                 data);
  ASSERT_TRUE(model);
  const double t[] = {0, 1};
  noprop_schedule_values before[2], after[2];
  ASSERT_OK(noprop_model_schedule(model.get(), false, t, 2, before));
  EXPECT_NEAR(before[0].alpha_bar, 0.01, 1e-8);
  EXPECT_NEAR(before[1].alpha_bar, 0.995, 1e-8);
  bind(model.get(), data, 32);
  const noprop_device_counters launches = counters();
  ASSERT_OK(noprop_model_train_step(model.get(), 30));
  EXPECT_LE(counters().launches - launches.launches, 2u * 30);
  ASSERT_OK(noprop_model_schedule(model.get(), false, t, 2, after));
  const std::vector<float> values = parameters(model.get());
  const double first = values[values.size() - 2], last = first + schedule_softplus(values.back());
  EXPECT_NEAR(after[0].gamma, first, 1e-12 * std::fabs(first));
  EXPECT_NEAR(after[1].gamma, last, 1e-12 * std::fabs(last));
  EXPECT_GT(last, first);
  EXPECT_GT(std::fabs(after[0].gamma - before[0].gamma), 1e-3) << "it has moved";
  EXPECT_GT(std::fabs(after[1].gamma - before[1].gamma), 1e-3) << "it has moved";
  /* Solves have them, too: as a model that is made with them. */
  char ends[80], s[40];
  snprintf(ends, sizeof ends, "[%.12g, %.12g]", after[0].alpha_bar, after[1].alpha_bar);
  snprintf(s, sizeof s, "%.12g", schedule_softplus(static_cast<double>(values[values.size() - 3])));
  const Model made = make_model(with(kBase, {{"variant", "ct"},
                                             {"schedule.type", "cosine"},
                                             {"schedule.learnable", "false"},
                                             {"schedule.s", s},
                                             {"schedule.alpha_bar", ends}}),
                                data);
  ASSERT_TRUE(made);
  ASSERT_OK(noprop_model_set_parameters(made.get(), std::vector<float>(values.begin(), values.end() - 3).data()));
  std::vector<float> latent[2];
  int number = 0;
  for (noprop_model *each : {model.get(), made.get()}) {
    noprop_sampler_options options = noprop_sampler_options_default(each);
    options.steps = 7;
    const noprop_array condition = data.condition_array();
    latent[number].resize(64 * 3);
    ASSERT_OK(noprop_sample(each, &options, &condition, 64, latent[number++].data(), nullptr));
  }
  for (size_t i = 0; i < latent[0].size(); ++i)
    EXPECT_NEAR(latent[0][i], latent[1][i], 2e-5f * (1 + std::fabs(latent[1][i])));
}
