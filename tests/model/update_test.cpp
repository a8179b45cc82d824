/* The update kernels against the reference's optimizers in double precision, step by step.
 *
 * A training step's gradient is asked for as a loss request of the same rows in the same order at the same step, which
 * runs the same kernel; the update is then redone in double precision from the parameters before the step. */
#include <algorithm>
#include <cmath>

#include "tests/model/support.h"
#include "tests/reference/training.h"

extern "C" {
#include "kernels/row_order.h"
}

using namespace model_test;

namespace {

constexpr double kEps = 0x1p-24; /* unit round-off of float32 */
constexpr long kRows = 40;
constexpr int kBatch = 16;

const Keys kBase = {
    {"variant", "ct"},     {"task", "regress"},   {"network.hidden", "[8, 8]"},        {"optimizer.clip", "0"},
    {"train.batch", "16"}, {"train.epochs", "4"}, {"optimizer.learning_rate", "1e-2"}, {"precision", "fp32"}};

Keys with(Keys keys, const Keys &more) {
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

/* The gradient that training step `step` will use. */
std::vector<float> step_gradient(noprop_model *model, const Data &data, uint64_t step) {
  const unsigned per_epoch = (kRows + kBatch - 1) / kBatch, epoch = static_cast<unsigned>(step / per_epoch);
  const unsigned first = static_cast<unsigned>(step % per_epoch) * kBatch;
  const unsigned count = std::min<unsigned>(kBatch, kRows - first);
  const row_order order = row_order_make(0, epoch, kRows);
  std::vector<float> condition, target, gradient(static_cast<size_t>(noprop_model_parameter_values(model)));
  for (unsigned i = 0; i < count; ++i) {
    const long row = row_order_row(&order, first + i);
    const auto begin = data.condition.begin() + row * data.condition_width;
    condition.insert(condition.end(), begin, begin + data.condition_width);
    const auto values = data.values.begin() + row * data.target_width;
    target.insert(target.end(), values, values + data.target_width);
  }
  noprop_loss_request request = {};
  request.rows = count;
  request.condition = condition.data();
  request.target = target.data();
  request.step = step;
  request.gradient = gradient.data();
  noprop_loss_terms terms;
  EXPECT_OK(noprop_model_loss(model, &request, &terms));
  return gradient;
}

template <typename From>
std::vector<double> to_double(const From &values) {
  return std::vector<double>(values.begin(), values.end());
}

/* Runs `steps` steps on the device and in double precision side by side. */
void check_trajectory(const Keys &more, int steps) {
  const Keys keys = with(kBase, more);
  reference::Settings settings;
  for (const auto &[key, value] : keys)
    if (key != "precision" && key.rfind("train.", 0) != 0) settings.set(key, value);
  const Data data = make_data(kRows, 3, 2, false);
  const Model model = make_model(keys, data);
  ASSERT_TRUE(model);
  bind(model.get(), data, kBatch);
  const std::vector<float> start = parameters(model.get());
  reference::Optimizer<double> optimizer;
  if (settings.optimizer.ema > 0) optimizer.average = to_double(start);
  const int64_t total = 4 * ((kRows + kBatch - 1) / kBatch);
  double most_change = 0.0;
  for (int step = 0; step < steps; ++step) {
    const std::vector<float> before = parameters(model.get());
    std::vector<double> gradient = to_double(step_gradient(model.get(), data, static_cast<uint64_t>(step)));
    std::vector<double> want = to_double(before);
    const double rate = reference::rate_at(settings, step, total);
    const double norm = settings.optimizer.clip > 0 ? reference::clip_gradient(settings.optimizer.clip, gradient) : 0.0;
    reference::update(settings, rate, gradient, optimizer, want);

    ASSERT_OK(noprop_model_train_step(model.get(), 1));
    noprop_train_metrics metrics;
    ASSERT_OK(noprop_model_train_metrics(model.get(), &metrics));
    const std::vector<float> got = parameters(model.get());
    EXPECT_EQ(metrics.step, static_cast<uint64_t>(step + 1));
    EXPECT_EQ(metrics.bad_step, -1);
    EXPECT_NEAR(metrics.learning_rate, rate, 8 * kEps * settings.optimizer.learning_rate);
    /* Sums of squares in a tree: each of some 12 levels rounds once. */
    EXPECT_NEAR(metrics.gradient_norm, norm, 16 * kEps * norm);
    for (size_t i = 0; i < got.size(); ++i) {
      /* The new parameter rounds once. The change comes out of some 20 roundings, of moments that carry the errors of
       * all steps before; none of these exceeds the learning rate (Adam) or the largest change (the others). */
      const double change = std::max(std::fabs(want[i] - before[i]), rate);
      ASSERT_NEAR(got[i], want[i], kEps * (std::fabs(want[i]) + 32.0 * (step + 1) * change))
          << "parameter " << i << ", step " << step;
      most_change = std::max(most_change, std::fabs(want[i] - before[i]));
    }
    if (settings.optimizer.ema > 0) {
      const std::vector<float> average = parameters(model.get(), true);
      for (size_t i = 0; i < average.size(); ++i)
        ASSERT_NEAR(average[i], optimizer.average[i], kEps * 4 * (step + 1) * (1.0 + std::fabs(average[i])))
            << "average " << i;
    }
  }
  /* Standing still would pass otherwise. */
  EXPECT_GT(most_change, 1e3 * kEps);
}

}  // namespace

TEST(Update, AdamFollowsTheReference) {
  check_trajectory({{"optimizer.type", "adam"}, {"optimizer.weight_decay", "1e-2"}}, 7);
}
TEST(Update, AdamWFollowsTheReference) {
  check_trajectory({{"optimizer.type", "adamw"}, {"optimizer.weight_decay", "1e-1"}}, 7);
}
TEST(Update, SgdFollowsTheReference) {
  check_trajectory({{"optimizer.type", "sgd"}, {"optimizer.weight_decay", "1e-2"}}, 4);
}
TEST(Update, MomentumFollowsTheReference) {
  check_trajectory({{"optimizer.type", "sgd"}, {"optimizer.momentum", "0.9"}}, 7);
}
TEST(Update, NesterovFollowsTheReference) {
  check_trajectory({{"optimizer.type", "sgd"}, {"optimizer.momentum", "0.9"}, {"optimizer.nesterov", "true"}}, 7);
}
TEST(Update, AdagradFollowsTheReference) {
  check_trajectory({{"optimizer.type", "adagrad"}, {"optimizer.epsilon", "1e-10"}}, 7);
}
TEST(Update, ClippingFollowsTheReference) {
  /* The gradient's norm is about 1: it is cut to a twentieth. */
  check_trajectory({{"optimizer.type", "sgd"}, {"optimizer.clip", "0.05"}}, 4);
}
TEST(Update, AWideClipChangesNothing) {
  check_trajectory({{"optimizer.type", "adamw"}, {"optimizer.clip", "1000"}}, 4);
}
TEST(Update, AveragedParametersFollowTheReference) { check_trajectory({{"optimizer.ema", "0.7"}}, 7); }
TEST(Update, CosineDecayAfterWarmUpFollowsTheReference) {
  check_trajectory({{"optimizer.schedule", "cosine"}, {"optimizer.warmup_steps", "3"}}, 12);
}
TEST(Update, LinearDecayAfterWarmUpFollowsTheReference) {
  check_trajectory({{"optimizer.schedule", "linear"}, {"optimizer.warmup_steps", "2"}}, 12);
}

TEST(Update, BiasCorrectionKeepsItsDigitsAfterManySteps) {
  /* With a gradient that does not change, Adam moves by the learning rate at every step, whatever the step. */
  const Data data = make_data(8, 2, 1, false);
  const Model model = make_model(with(kBase, {{"optimizer.type", "adam"},
                                              {"optimizer.weight_decay", "0"},
                                              {"optimizer.learning_rate", "1e-4"},
                                              {"network.hidden", "[4]"}}),
                                 data);
  ASSERT_TRUE(model);
  bind(model.get(), data, 8);
  const std::vector<float> before = parameters(model.get());
  ASSERT_OK(noprop_model_train_step(model.get(), 1));
  const std::vector<float> after = parameters(model.get());
  double most = 0.0;
  for (size_t i = 0; i < before.size(); ++i)
    most = std::max(most, static_cast<double>(std::fabs(after[i] - before[i])));
  /* m/(1-b1) / sqrt(v/(1-b2)) = 1 but for rounding of the parameter (of size 1 at most) and epsilon. */
  EXPECT_NEAR(most, 1e-4, 1e-4 * 1e-5 + kEps);
}
