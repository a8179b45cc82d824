/* The monotone network as a schedule that is trained: gradients of its numbers against differences of the double
 * reference, and that solves, callers and training see what it has become. */
#include <cmath>
#include <cstdio>
#include <cstring>
#include <optional>
#include <random>

#include "tests/model/support.h"
#include "tests/reference/objective.h"
#include "tests/reference/random.h"
#include "tests/tile_form.h"

using namespace model_test;
using reference::Settings;
using reference::Vector;

namespace {

const Keys kBase = {{"task", "regress"},
                    {"network.hidden", "[8, 8]"},
                    {"network.time_embedding.size", "6"},
                    {"schedule.type", "network"},
                    {"schedule.hidden", "[9, 5]"},
                    {"schedule.learnable", "true"},
                    {"schedule.alpha_bar", "[0.01, 0.995]"},
                    {"precision", "fp32"},
                    {"data.standardise", "false"}};
constexpr long kNumbers = 1 + 2 * 9 + 10 * 5 + 6;

Keys with(Keys keys, const Keys &more) {
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

struct Prepared {
  Settings settings;
  reference::Network network;
  Data data;
  Model model;
  std::vector<float> values; /* the network's, then the schedule's numbers, then the ends' where they are trained */
  Vector<double> weights;
  /* The settings with `change` added to the schedule's number `number`. */
  Settings moved(size_t number, double change) const {
    Settings result = settings;
    if (number < static_cast<size_t>(kNumbers)) result.schedule.numbers[number] += change;
    if (!settings.schedule.learn_endpoints) return result;
    double ends[2];
    for (size_t i = 0; i < 2; ++i)
      ends[i] = static_cast<double>(values[values.size() - 2 + i]) +
                (number == static_cast<size_t>(kNumbers) + i ? change : 0);
    result.schedule.low = 1 / (1 + std::exp(-ends[0]));
    result.schedule.high = 1 / (1 + std::exp(-ends[0] - std::log1p(std::exp(ends[1]))));
    return result;
  }
};

/* Numbers that leave most units alive somewhere between 0 and 1. */
Prepared prepare(const Keys &more) {
  Prepared p;
  const Keys keys = with(kBase, more);
  for (const auto &[key, value] : keys)
    if (key.rfind("data.", 0) != 0) p.settings.set(key, value);
  p.network = reference::make_network(p.settings, 2, 3);
  p.data = make_data(45, 2, 3, false);
  p.model = make_model(keys, p.data);
  if (!p.model) return p;
  p.values = parameters(p.model.get());
  const long ends = p.settings.schedule.learn_endpoints ? 2 : 0;
  const std::vector<float> start = p.values;
  EXPECT_EQ(static_cast<long>(p.values.size()), p.network.parameters + kNumbers + ends);
  std::mt19937 generator(3);
  std::normal_distribution<float> normal;
  for (float &v : p.values) v = 0.4f * normal(generator);
  for (int i = 0; i < noprop_model_parameter_count(p.model.get()); ++i) {
    const noprop_parameter array = noprop_model_parameter(p.model.get(), i);
    if (std::strncmp(array.name, "schedule.", 9) != 0 || !std::strstr(array.name, "weight")) continue;
    for (long k = 0; k < array.shape[0] * array.shape[1]; ++k) p.values[static_cast<size_t>(array.offset + k)] += 0.8f;
  }
  std::copy(start.end() - ends, start.end(), p.values.end() - ends);
  EXPECT_OK(noprop_model_set_parameters(p.model.get(), p.values.data()));
  p.weights.assign(p.values.begin(), p.values.begin() + p.network.parameters);
  p.settings.schedule.numbers.assign(p.values.begin() + p.network.parameters, p.values.end() - ends);
  return p;
}

const struct {
  const char *name;
  Keys keys;
} kCases[] = {
    {"target, elbo", {{"variant", "ct"}, {"loss.weight", "elbo"}}},
    {"v, all terms",
     {{"variant", "df"},
      {"prediction", "v"},
      {"loss.weight", "min_snr"},
      {"loss.recon.weight", "0.3"},
      {"loss.recon.weighting", "snr_prime"},
      {"loss.reg", "0.05"},
      {"loss.kl_z0", "0.2"}}},
    {"target, ends",
     {{"variant", "ct"},
      {"schedule.learn_endpoints", "true"},
      {"loss.weight", "elbo"},
      {"loss.vae", "0.8"},
      {"loss.kl_z0", "0.3"}}},
    {"velocity, vp_velocity", {{"variant", "ct"}, {"prediction", "velocity"}, {"loss.weight", "vp_velocity"}}},
};

}  // namespace

TEST(LearnableNetwork, GradientsOfItsNumbersAreThoseOfTheReference) {
  for (const auto &c : kCases) {
    SCOPED_TRACE(c.name);
    std::optional<TileForm> forced; /* one case with tiles of fewer rows than lanes */
    if (c.keys == kCases[0].keys) forced.emplace("8x2");
    const Prepared p = prepare(c.keys);
    ASSERT_TRUE(p.model);
    const size_t rows = static_cast<size_t>(p.data.rows);
    std::vector<float> t, noise(rows * 3), gradient(p.values.size());
    std::mt19937 generator(4);
    std::normal_distribution<float> normal;
    for (float &v : noise) v = normal(generator);
    for (size_t i = 0; i < rows; ++i) t.push_back(0.03f + 0.94f * static_cast<float>(i) / static_cast<float>(rows - 1));
    noprop_loss_request request = {};
    request.rows = p.data.rows;
    request.condition = p.data.condition.data();
    request.target = p.data.values.data();
    request.t = t.data();
    request.noise = noise.data();
    noprop_loss_terms terms, plain;
    ASSERT_OK(noprop_model_loss(p.model.get(), &request, &plain));
    request.gradient = gradient.data();
    ASSERT_OK(noprop_model_loss(p.model.get(), &request, &terms));

    reference::Batch<double> batch;
    batch.t.emplace_back(t.begin(), t.end());
    batch.noise.emplace_back();
    for (long i = 0; i < p.data.rows; ++i) {
      batch.x.emplace_back(p.data.condition.begin() + 2 * i, p.data.condition.begin() + 2 * i + 2);
      batch.noise[0].emplace_back(noise.begin() + 3 * i, noise.begin() + 3 * i + 3);
      batch.z1.emplace_back(p.data.values.begin() + 3 * i, p.data.values.begin() + 3 * i + 3);
    }
    if (p.settings.loss.vae > 0) {
      batch.end_noise.emplace_back();
      for (uint32_t i = 0; i < rows; ++i)
        batch.end_noise[0].push_back(
            reference::normals<double>(p.settings.seed, reference::kEndNoise, i, 0, p.network.latent));
    }
    const auto loss = [&](size_t number, double change) {
      return reference::batch_loss<double>(p.moved(number, change), p.network, p.weights, batch);
    };
    const auto want_loss = loss(0, 0);
    EXPECT_NEAR(terms.loss, want_loss.total, 2e-5 * std::fabs(want_loss.total));
    EXPECT_NEAR(plain.loss, want_loss.total, 2e-5 * std::fabs(want_loss.total));
    const auto first = gradient.begin();
    for (long i = 0; i < p.network.parameters; ++i)
      ASSERT_NEAR(static_cast<double>(first[i]), want_loss.gradient[static_cast<size_t>(i)],
                  1e-4 * std::fabs(want_loss.total));
    double worst = 0;
    int alive = 0;
    const long numbers = static_cast<long>(p.values.size()) - p.network.parameters;
    for (long i = 0; i < numbers; ++i) {
      /* Richardson's extrapolation of central differences; no row is so near a kink that 2e-4 carries it over. */
      const double h = 1e-4;
      const size_t number = static_cast<size_t>(i);
      const auto up = loss(number, h), down = loss(number, -h), up2 = loss(number, 2 * h), down2 = loss(number, -2 * h);
      double want = 0, size = 0;
      for (size_t row = 0; row < rows; ++row) {
        const double near = (up.row_total[row] - down.row_total[row]) / (2 * h);
        const double far = (up2.row_total[row] - down2.row_total[row]) / (4 * h);
        want += (4 * near - far) / 3 / static_cast<double>(rows);
        size += std::fabs((4 * near - far) / 3) / static_cast<double>(rows);
      }
      const double got = static_cast<double>(gradient[static_cast<size_t>(p.network.parameters + i)]);
      alive += std::fabs(want) > 1e-3 * size && size > 1e-6 * std::fabs(want_loss.total);
      worst = std::fmax(worst, std::fabs(got - want) / (size + 1e-6 * std::fabs(want_loss.total)));
      EXPECT_NEAR(got, want, 1e-5 * size + 1e-9 * std::fabs(want_loss.total)) << "number " << i;
      if (i >= kNumbers) {
        EXPECT_GT(std::fabs(want), 1e-2 * size) << "an end that zero would pass";
      }
    }
    std::printf("[  share   ] %-24s error %.1e of the rows' sizes, %d of %ld numbers alive\n", c.name, worst, alive,
                numbers);
    EXPECT_GT(alive, numbers / 2);
  }
}

/* The table that a solve reads: the field at a state, with numbers that are not those of the start. */
TEST(LearnableNetwork, SolvesAndCallersUseTheLearnedNumbers) {
  const Prepared p = prepare({{"variant", "ct"}});
  ASSERT_TRUE(p.model);
  const noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
  const noprop_array condition = p.data.condition_array();
  const size_t rows = static_cast<size_t>(p.data.rows);
  double size = 0;
  for (const double t : {0.2, 0.55, 0.9}) {
    std::vector<float> velocity(rows * 3);
    ASSERT_OK(
        noprop_velocity(p.model.get(), &options, &condition, p.data.rows, t, p.data.values.data(), velocity.data()));
    noprop_schedule_values values;
    ASSERT_OK(noprop_model_schedule(p.model.get(), false, &t, 1, &values));
    const auto path = reference::path_at<double>(p.settings, t);
    EXPECT_NEAR(values.gamma, path.schedule.gamma, 1e-9);
    EXPECT_NEAR(values.gamma_prime, path.schedule.gamma_prime, 1e-8);
    const double step = 1e-6, around[] = {t - step, t + step};
    noprop_schedule_values near[2];
    ASSERT_OK(noprop_model_schedule(p.model.get(), false, around, 2, near));
    EXPECT_NEAR(values.gamma_prime, (near[1].gamma - near[0].gamma) / (2 * step), 1e-6 * values.gamma_prime);
    for (size_t row = 0; row < rows; ++row) {
      const Vector<double> z(&p.data.values[3 * row], &p.data.values[3 * row] + 3);
      const Vector<double> x(&p.data.condition[2 * row], &p.data.condition[2 * row] + 2);
      const auto trace =
          reference::forward<double>(p.network, p.weights, z, x, reference::embed_time<double>(p.settings, t));
      const Vector<double> want = reference::predicted_drift<double>(p.settings, path, "velocity", z, trace.output());
      for (size_t j = 0; j < 3; ++j) {
        EXPECT_NEAR(static_cast<double>(velocity[3 * row + j]), want[j], 5e-5 * (1 + std::fabs(want[j])));
        size += std::fabs(want[j]);
      }
    }
  }
  EXPECT_GT(size, 1);
}

/* Its end points stay, or are trained and followed by solves as well. */
TEST(LearnableNetwork, IsTrainedByTheSameStepAndKeepsItsEnds) {
  Keys keys = with(kBase, {{"variant", "df"},
                           {"loss.weight", "elbo"},
                           {"optimizer.clip", "0"},
                           {"optimizer.learning_rate", "0.02"},
                           {"optimizer.weight_decay", "0.5"}});
  const Data data = make_data(64, 2, 3, false);
  const Model model = make_model(keys, data);
  ASSERT_TRUE(model);
  const double t[] = {0, 0.5, 1};
  noprop_schedule_values before[3], after[3];
  ASSERT_OK(noprop_model_schedule(model.get(), false, t, 3, before));
  bind(model.get(), data, 32);
  const noprop_device_counters launches = counters();
  ASSERT_OK(noprop_model_train_step(model.get(), 20));
  EXPECT_LE(counters().launches - launches.launches, 2u * 20);
  ASSERT_OK(noprop_model_schedule(model.get(), false, t, 3, after));
  EXPECT_EQ(after[0].alpha_bar, before[0].alpha_bar);
  EXPECT_EQ(after[2].alpha_bar, before[2].alpha_bar);
  EXPECT_GT(std::fabs(after[1].gamma - before[1].gamma), 1e-3) << "it has moved";
  noprop_train_metrics metrics;
  ASSERT_OK(noprop_model_train_metrics(model.get(), &metrics));
  EXPECT_EQ(metrics.bad_step, -1);

  const Prepared p = prepare({{"variant", "ct"},
                              {"schedule.learn_endpoints", "true"},
                              {"loss.weight", "elbo"},
                              {"loss.vae", "0.8"},
                              {"loss.kl_z0", "0.3"},
                              {"optimizer.learning_rate", "0.02"}});
  ASSERT_TRUE(p.model);
  bind(p.model.get(), p.data, 32);
  ASSERT_OK(noprop_model_train_step(p.model.get(), 5));
  ASSERT_OK(noprop_model_schedule(p.model.get(), false, t, 3, after));
  const std::vector<float> values = parameters(p.model.get());
  const double first = static_cast<double>(values[values.size() - 2]);
  EXPECT_NEAR(after[0].gamma, first, 1e-12 * std::fabs(first));
  EXPECT_NEAR(after[2].gamma, first + std::log1p(std::exp(static_cast<double>(values.back()))), 1e-9);
  EXPECT_GT(std::fabs(after[0].gamma - before[0].gamma), 1e-3) << "it has moved";
  EXPECT_GT(std::fabs(after[2].gamma - before[2].gamma), 1e-3) << "it has moved";
  /* The field that a solve sees near the trained end. */
  noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
  const noprop_array condition = p.data.condition_array();
  std::vector<float> velocity(static_cast<size_t>(p.data.rows) * 3);
  ASSERT_OK(
      noprop_velocity(p.model.get(), &options, &condition, p.data.rows, 0.999, p.data.values.data(), velocity.data()));
  Settings settings = p.settings;
  settings.schedule.numbers.assign(values.begin() + p.network.parameters, values.end() - 2);
  settings.schedule.low = after[0].alpha_bar;
  settings.schedule.high = after[2].alpha_bar;
  const Vector<double> weights(values.begin(), values.begin() + p.network.parameters);
  const auto path = reference::path_at<double>(settings, 0.999);
  for (size_t row = 0; row < 45; ++row) {
    const Vector<double> z(&p.data.values[3 * row], &p.data.values[3 * row] + 3);
    const Vector<double> x(&p.data.condition[2 * row], &p.data.condition[2 * row] + 2);
    const auto trace =
        reference::forward<double>(p.network, weights, z, x, reference::embed_time<double>(settings, 0.999));
    const Vector<double> want = reference::predicted_drift<double>(settings, path, "velocity", z, trace.output());
    for (size_t j = 0; j < 3; ++j)
      EXPECT_NEAR(static_cast<double>(velocity[3 * row + j]), want[j], 5e-5 * (1 + std::fabs(want[j])));
  }
}
