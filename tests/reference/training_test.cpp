/* Optimizers against hand calculation, and the bookkeeping of a training run. */
#include "tests/reference/training.h"

#include <gtest/gtest.h>

#include <set>

namespace {

using namespace reference;

struct Steps {
  Settings settings;
  Optimizer<double> optimizer;
  Vector<double> p = {1.0, -2.0};
  void step(const Vector<double> &g, double rate = 0.1) { update(settings, rate, g, optimizer, p); }
};

Steps with(const Keys &keys) {
  Steps s;
  s.settings.optimizer.weight_decay = 0;
  for (const auto &[key, value] : keys) s.settings.set(key, value);
  return s;
}

/* The first Adam step is the rate times g/(|g| + eps). */
TEST(Optimizer, AdamTakesAStepOfTheRateFirst) {
  Steps s = with({{"optimizer.type", "adam"}});
  s.step({3.0, -0.5});
  EXPECT_NEAR(s.p[0], 1 - 0.1 * 3 / (3 + 1e-8), 1e-14);
  EXPECT_NEAR(s.p[1], -2 + 0.1 * 0.5 / (0.5 + 1e-8), 1e-14);
  s.step({1.0, -0.5});
  const double m = (0.9 * 0.1 * 3 + 0.1 * 1) / (1 - 0.81), v = (0.999 * 0.001 * 9 + 0.001 * 1) / (1 - square(0.999));
  EXPECT_NEAR(s.p[0], 1 - 0.1 * 3 / (3 + 1e-8) - 0.1 * m / (std::sqrt(v) + 1e-8), 1e-12);
}

TEST(Optimizer, AdamwDecaysTheParameterAndAdamTheGradient) {
  Steps w = with({{"optimizer.type", "adamw"}, {"optimizer.weight_decay", "0.5"}});
  w.step({3.0, -0.5});
  EXPECT_NEAR(w.p[0], 1 - 0.1 * (3 / (3 + 1e-8) + 0.5 * 1), 1e-14);
  Steps a = with({{"optimizer.type", "adam"}, {"optimizer.weight_decay", "0.5"}});
  a.step({3.0, 1.0});
  EXPECT_NEAR(a.p[0], 1 - 0.1 * 3.5 / (3.5 + 1e-8), 1e-14);
  EXPECT_NEAR(a.p[1], -2, 1e-6) << "1 + 0.5 (-2) is no gradient at all";
}

TEST(Optimizer, SgdKeepsMomentumAsTorchDoes) {
  Steps s = with({{"optimizer.type", "sgd"}, {"optimizer.momentum", "0.9"}});
  s.step({1.0, 0.0});
  s.step({2.0, 0.0});
  EXPECT_NEAR(s.p[0], 1 - 0.1 * 1 - 0.1 * (0.9 * 1 + 2), 1e-14);
  Steps n = with({{"optimizer.type", "sgd"}, {"optimizer.momentum", "0.9"}, {"optimizer.nesterov", "true"}});
  n.step({1.0, 0.0});
  n.step({2.0, 0.0});
  EXPECT_NEAR(n.p[0], 1 - 0.1 * (1 + 0.9 * 1) - 0.1 * (2 + 0.9 * 2.9), 1e-14);
}

TEST(Optimizer, AdagradSumsSquares) {
  Steps s = with({{"optimizer.type", "adagrad"}, {"optimizer.epsilon", "1e-10"}});
  s.step({3.0, 0.0});
  s.step({4.0, 0.0});
  EXPECT_NEAR(s.p[0], 1 - 0.1 - 0.1 * 4 / 5, 1e-10);
}

TEST(Optimizer, ClipScalesTheWholeGradient) {
  Vector<double> g = {3, 4};
  EXPECT_DOUBLE_EQ(clip_gradient(1.0, g), 5);
  EXPECT_NEAR(std::hypot(g[0], g[1]), 1, 1e-6);
  EXPECT_NEAR(g[0] / g[1], 0.75, 1e-14);
  Vector<double> small = {0.3, 0.4};
  clip_gradient(1.0, small);
  EXPECT_EQ(small, (Vector<double>{0.3, 0.4}));
  Vector<double> free = {3, 4};
  clip_gradient(0.0, free);
  EXPECT_EQ(free, (Vector<double>{3, 4})) << "0 means no clipping";
}

TEST(Optimizer, AverageStartsAtTheInitialParameters) {
  Steps s = with({{"optimizer.type", "sgd"}, {"optimizer.ema", "0.75"}});
  s.step({1.0, 0.0});
  EXPECT_NEAR(s.optimizer.average[0], 0.75 * 1 + 0.25 * 0.9, 1e-14);
}

TEST(Rate, WarmsUpAndDecaysToZero) {
  Settings settings = settings_from({{"optimizer.learning_rate", "2"}, {"optimizer.warmup_steps", "4"}});
  EXPECT_DOUBLE_EQ(rate_at(settings, 0, 20), 0.5);
  EXPECT_DOUBLE_EQ(rate_at(settings, 3, 20), 2);
  EXPECT_DOUBLE_EQ(rate_at(settings, 19, 20), 2);
  settings.optimizer.schedule = "cosine";
  EXPECT_DOUBLE_EQ(rate_at(settings, 4, 20), 2);
  EXPECT_NEAR(rate_at(settings, 12, 20), 1, 1e-15);
  EXPECT_NEAR(rate_at(settings, 20, 20), 0, 1e-15);
  settings.optimizer.schedule = "linear";
  EXPECT_DOUBLE_EQ(rate_at(settings, 8, 20), 1.5);
}

Rows<double> numbered_rows(long count) {
  Rows<double> rows;
  for (long i = 0; i < count; ++i) rows.z1.push_back({static_cast<double>(i)}), rows.label.push_back(i);
  return rows;
}

TEST(Training, EveryEpochSeesEveryRowOnce) {
  const Settings settings = settings_from({{"task", "regress"}, {"seed", "3"}});
  const Network network = make_network(settings, 0, 1);
  const Rows<double> rows = numbered_rows(23);
  std::vector<long> orders[2];
  for (int64_t step = 0; step < 6; ++step) { /* 3 batches of 10, 10 and 3 rows an epoch */
    const auto b = training_batch(settings, network, rows, 10, step);
    EXPECT_EQ(b.z1.size(), step % 3 == 2 ? 3u : 10u);
    EXPECT_EQ(b.t[0].size(), b.z1.size());
    orders[step / 3].insert(orders[step / 3].end(), b.label.begin(), b.label.end());
  }
  for (const auto &order : orders) EXPECT_EQ(std::set<long>(order.begin(), order.end()).size(), 23u);
  EXPECT_NE(orders[0], orders[1]);
}

TEST(Training, DropoutEndsAfterItsEpochs) {
  const Settings settings = settings_from({{"task", "regress"}, {"network.dropout", "0.5"}});
  const Network network = make_network(settings, 0, 1);
  const Rows<double> rows = numbered_rows(8);
  EXPECT_TRUE(training_batch(settings, network, rows, 4, 1, 1).dropout);
  EXPECT_FALSE(training_batch(settings, network, rows, 4, 2, 1).dropout);
}

TEST(Training, TimesStayInsideTheirMargin) {
  const Settings settings = settings_from({{"task", "regress"}, {"loss.t_eps", "0.1"}});
  const Network network = make_network(settings, 0, 1);
  const auto b = training_batch(settings, network, numbered_rows(200), 200, 0);
  for (double t : b.t[0]) {
    EXPECT_GE(t, 0.1);
    EXPECT_LE(t, 0.9);
  }
}

/* Fits one constant: with enough steps the network's prediction of a single target is that target. */
TEST(Training, LearnsAConstantTarget) {
  const Settings settings = settings_from({{"task", "regress"},
                                           {"network.hidden", "[4]"},
                                           {"network.time_embedding.size", "2"},
                                           {"optimizer.learning_rate", "0.03"},
                                           {"optimizer.weight_decay", "0"}});
  const Network network = make_network(settings, 0, 1);
  Rows<double> rows;
  for (int i = 0; i < 16; ++i) rows.z1.push_back({0.7});
  Vector<double> start(static_cast<size_t>(network.parameters), 0.1);
  const auto run = train(settings, network, start, rows, 16, 300, 300);
  EXPECT_LT(run.losses.back().flow, 0.01 * run.losses.front().flow);
}

}  // namespace
