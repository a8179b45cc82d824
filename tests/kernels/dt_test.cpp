/* Variant dt: every block's states, loss and gradient, training step by step with each block clipped by itself, and the
 * bridge, against the reference; blocks share nothing, and one launch or many give the same bits. */
#include "tests/reference/dt.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/kernels/harness.h"
#include "tests/reference/random.h"

namespace {

using namespace kernels_test;
using reference::Batch;
using reference::Level;
using reference::Loss;
using reference::Network;

struct BlocksCase {
  Keys keys;
  ConditionKind condition;
  int width, target;
  long rows;
};
const BlocksCase kCases[] = {
    {{{"variant", "dt"},
      {"task", "classify"},
      {"dt.blocks", "3"},
      {"network.hidden", "[24, 24, 24]"},
      {"network.activation", "tanh"},
      {"optimizer.clip", "0.5"},
      {"seed", "5"}},
     kFloatCondition,
     11,
     5,
     70},
    {{{"variant", "dt"},
      {"task", "generate"},
      {"dt.blocks", "4"},
      {"dt.eta", "0.3"},
      {"schedule.type", "linear"},
      {"network.type", "resnet"},
      {"network.hidden", "[12, 12, 12]"},
      {"network.dropout", "0.2"},
      {"loss.draws", "3"},
      {"optimizer.clip", "0"},
      {"optimizer.weight_decay", "0.01"},
      {"seed", "6"}},
     kLabelCondition,
     4,
     2,
     45},
};

struct Prepared {
  Settings settings;
  std::unique_ptr<Data> data;
  Network network; /* of one block */
  std::vector<Level> levels;
  std::vector<std::vector<float>> blocks; /* parameters of each */
  std::vector<float> parameters;          /* of all */
  Model model;
};

Keys engine_keys(const BlocksCase &c) {
  Keys keys = c.keys;
  for (const auto &[key, value] : c.keys)
    if (key == "task" && value == "generate") keys.insert(keys.end(), {{"data.target", "x"}, {"data.condition", "y"}});
  return keys;
}

Prepared prepare(size_t number) {
  const BlocksCase &c = kCases[number];
  Prepared p;
  p.settings = reference::settings_from(c.keys);
  p.data = make_data(p.settings, c.condition, c.width, c.target, c.rows, 31);
  p.network = reference::make_network(p.settings, c.width, c.target);
  p.levels = levels_of(p.settings, c.target);
  for (int k = 0; k < p.settings.dt.blocks; ++k) {
    p.blocks.push_back(random_parameters(p.network, 40 + static_cast<unsigned>(k)));
    p.parameters.insert(p.parameters.end(), p.blocks.back().begin(), p.blocks.back().end());
  }
  p.model = create_model(engine_keys(c), p.data->shape);
  if (!p.model) return p;
  const int arrays = static_cast<int>(p.network.arrays.size());
  EXPECT_EQ(noprop_model_blocks(p.model.get()), p.settings.dt.blocks);
  EXPECT_EQ(noprop_model_parameter_count(p.model.get()), p.settings.dt.blocks * arrays);
  for (int i = 0; i < noprop_model_parameter_count(p.model.get()); ++i) {
    const noprop_parameter parameter = noprop_model_parameter(p.model.get(), i);
    const reference::Array &array = p.network.arrays[static_cast<size_t>(i % arrays)];
    EXPECT_EQ("block." + std::to_string(i / arrays + 1) + "." + array.name, parameter.name);
    EXPECT_EQ(parameter.offset, i / arrays * p.network.parameters + array.offset);
  }
  if (!ok(noprop_model_set_parameters(p.model.get(), p.parameters.data()), "noprop_model_set_parameters") ||
      !set_statistics(p.model.get(), *p.data))
    p.model.reset();
  return p;
}

/* The noise of block `block` (from 0): a stream of its own. */
void draw_noise(const Settings &settings, int64_t step, int block, Batch<Tracked> &batch) {
  batch.noise.clear();
  for (int k = 0; k < settings.loss.draws; ++k) {
    std::vector<Vector<Tracked>> noise;
    for (size_t i = 0; i < batch.z1.size(); ++i)
      noise.push_back(reference::normals<Tracked>(settings.seed, reference::kNoise, static_cast<uint32_t>(i),
                                                  static_cast<uint32_t>(step), static_cast<long>(batch.z1[i].size()),
                                                  static_cast<uint32_t>(k), static_cast<uint32_t>(block)));
    batch.noise.push_back(noise);
  }
}

noprop_loss_request request_of(const Data &data, int64_t step) {
  noprop_loss_request request = {};
  request.rows = data.rows;
  request.condition = data.condition.values;
  request.target = data.target.values;
  request.step = static_cast<uint64_t>(step);
  return request;
}

class Blocks : public testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(Cases, Blocks, testing::Range(size_t{0}, std::size(kCases)));

TEST_P(Blocks, StatesLossesAndGradientsMeetTheReference) {
  const Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  const size_t values = p.data->reference.z1.size() * p.data->reference.z1[0].size();
  Batch<Tracked> batch;
  batch.z1 = p.data->reference.z1;
  batch.x = p.data->reference.x;
  batch.label = p.data->reference.label;
  draw_batch(p.settings, p.network, 3, true, batch); /* for its dropout */
  std::vector<float> gradient(p.parameters.size());
  Tracked total = 0.0;
  for (int k = 0; k < p.settings.dt.blocks; ++k) {
    const std::string what = "block " + std::to_string(k + 1);
    draw_noise(p.settings, 3, k, batch);
    const Loss<Tracked> want =
        block_loss(p.network, tracked(p.blocks[static_cast<size_t>(k)]), p.levels[static_cast<size_t>(k)], batch);
    std::vector<float> prediction(values), z(values), row_loss(static_cast<size_t>(p.data->rows));
    noprop_loss_request request = request_of(*p.data, 3);
    request.dropout = true;
    request.gradient = gradient.data();
    request.prediction = prediction.data();
    request.z = z.data();
    request.row_loss = row_loss.data();
    request.block = k + 1;
    noprop_loss_terms terms;
    ASSERT_TRUE(ok(noprop_model_loss(p.model.get(), &request, &terms), "noprop_model_loss"));
    expect_within(kState, z, flat(want.z), what);
    expect_within(kPrediction, prediction, flat(want.prediction), what);
    expect_within(kRowLoss, row_loss, want.row_total, what);
    const auto first = gradient.begin() + k * p.network.parameters;
    expect_within(kGradient, {first, first + p.network.parameters}, want.gradient, what);
    total += want.total;
    if (k + 1 == p.settings.dt.blocks) expect_within(kTerm, terms.loss, total, "loss of all blocks");
    /* Without its gradient, by the kernel that has none (and no dropout). */
    if (p.settings.network.dropout > 0) continue;
    request.gradient = nullptr;
    std::vector<float> again(values);
    request.prediction = again.data();
    ASSERT_TRUE(ok(noprop_model_loss(p.model.get(), &request, &terms), "noprop_model_loss"));
    EXPECT_EQ(again, prediction);
  }
}

TEST_P(Blocks, TrainByThemselvesEachWithItsOwnClip) {
  const Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  constexpr int kSteps = 5, kBatch = 33;
  const bool clipped = p.settings.optimizer.clip > 0;
  ASSERT_TRUE(ok(noprop_model_bind(p.model.get(), &p.data->condition, &p.data->target, kBatch), "noprop_model_bind"));
  noprop_device_counters before, after;
  noprop_device_get_counters(device(), &before);
  ASSERT_TRUE(ok(noprop_model_train_step(p.model.get(), kSteps), "noprop_model_train_step"));
  noprop_device_get_counters(device(), &after);
  EXPECT_EQ(after.launches - before.launches, (clipped ? 3U : 2U) * kSteps);
  const size_t count = p.blocks.size();
  std::vector<double> losses(count), norms(count);
  ASSERT_TRUE(ok(noprop_model_block_metrics(p.model.get(), losses.data(), norms.data()), "block metrics"));
  noprop_train_metrics metrics;
  ASSERT_TRUE(ok(noprop_model_train_metrics(p.model.get(), &metrics), "noprop_model_train_metrics"));

  Vector<Tracked> parameters;
  Tracked total = 0.0, squares = 0.0;
  bool differ = false;
  for (size_t k = 0; k < count; ++k) {
    Vector<Tracked> own = tracked(p.blocks[k]);
    reference::Optimizer<Tracked> optimizer;
    Tracked sum = 0.0, norm = 0.0;
    for (int step = 0; step < kSteps; ++step) {
      Batch<Tracked> batch = training_batch(p.settings, p.network, p.data->reference, kBatch, step);
      draw_noise(p.settings, step, static_cast<int>(k), batch);
      Loss<Tracked> loss = block_loss(p.network, own, p.levels[k], batch);
      norm = clip_gradient(p.settings.optimizer.clip, loss.gradient);
      update(p.settings, reference::rate_at(p.settings, step, 1000), loss.gradient, optimizer, own);
      sum += loss.total;
    }
    const std::string what = "block " + std::to_string(k + 1);
    expect_within(kTerm, losses[k], sum / Tracked(kSteps), what);
    if (clipped) expect_within(kTerm, norms[k], norm, what + ", norm of its gradient");
    differ |= k > 0 && std::fabs(norms[k] - norms[0]) > 0.01 * norms[0];
    squares += norm * norm;
    total += sum / Tracked(kSteps);
    parameters.insert(parameters.end(), own.begin(), own.end());
  }
  expect_within(kTerm, metrics.loss, total, "loss of all blocks");
  if (clipped) {
    EXPECT_TRUE(differ) << "the norms are alike: one clip for all would pass";
    expect_within(kTerm, metrics.gradient_norm, sqrt(squares), "norm of all gradients");
  }
  expect_within(kParameters, parameters_of(p.model.get()), parameters, "parameters", &p.parameters);
}

TEST_P(Blocks, BridgeMeetsTheReferenceWithAndWithoutNoise) {
  const Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  const size_t rows = static_cast<size_t>(p.data->rows), d = p.data->reference.z1[0].size();
  std::vector<Vector<Tracked>> blocks;
  for (const auto &block : p.blocks) blocks.push_back(tracked(block));
  for (const bool noisy : {false, true}) {
    noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
    snprintf(options.drift, sizeof options.drift, noisy ? "sde" : "ode");
    snprintf(options.init, sizeof options.init, "normal");
    options.final_denoise = !noisy;
    options.seed = 77;
    options.trajectory = true;
    ASSERT_EQ(options.steps, p.settings.dt.blocks);
    const size_t states = static_cast<size_t>(options.steps) + 1;
    std::vector<float> latent(states * rows * d), last(rows * d);
    noprop_device_counters before, after;
    noprop_device_get_counters(device(), &before);
    ASSERT_TRUE(ok(noprop_sample(p.model.get(), &options, &p.data->condition, p.data->rows, latent.data(), nullptr),
                   "noprop_sample"));
    noprop_device_get_counters(device(), &after);
    EXPECT_EQ(after.launches - before.launches, 1U);
    Vector<Tracked> want(latent.size());
    for (size_t row = 0; row < rows; ++row) {
      const auto start =
          reference::normals<Tracked>(77, reference::kStart, static_cast<uint32_t>(row), 0, static_cast<long>(d));
      const auto noise = [&](int step) {
        return reference::normals<Tracked>(77, reference::kSde, static_cast<uint32_t>(row), static_cast<uint32_t>(step),
                                           static_cast<long>(d));
      };
      const auto path = reference::bridge_solve<Tracked>(p.network, blocks, p.levels, start, p.data->reference.x[row],
                                                         noisy ? noise : std::function<Vector<Tracked>(int)>(), !noisy);
      for (size_t s = 0; s < states; ++s)
        for (size_t j = 0; j < d; ++j) want[(s * rows + row) * d + j] = path[s][j];
    }
    expect_within(kSolve, latent, want, noisy ? "with noise" : "mean");
    options.trajectory = false;
    ASSERT_TRUE(ok(noprop_sample(p.model.get(), &options, &p.data->condition, p.data->rows, last.data(), nullptr),
                   "noprop_sample"));
    EXPECT_EQ(last, std::vector<float>(latent.end() - static_cast<long>(rows * d), latent.end()));
  }
}

TEST(BlocksOfDt, ShareNoGradient) {
  const Prepared p = prepare(0);
  ASSERT_TRUE(p.model);
  std::vector<float> before(p.parameters.size()), after(p.parameters.size()), moved = p.parameters;
  noprop_loss_request request = request_of(*p.data, 9);
  noprop_loss_terms terms;
  request.gradient = before.data();
  ASSERT_TRUE(ok(noprop_model_loss(p.model.get(), &request, &terms), "noprop_model_loss"));
  const size_t size = p.blocks[0].size();
  for (size_t i = size; i < 2 * size; ++i) moved[i] *= -1.5f; /* block 2 */
  ASSERT_TRUE(ok(noprop_model_set_parameters(p.model.get(), moved.data()), "noprop_model_set_parameters"));
  request.gradient = after.data();
  ASSERT_TRUE(ok(noprop_model_loss(p.model.get(), &request, &terms), "noprop_model_loss"));
  for (size_t i = 0; i < before.size(); ++i) ASSERT_TRUE(i / size == 1 || before[i] == after[i]) << i;
  EXPECT_NE(std::vector<float>(before.begin() + static_cast<long>(size), before.begin() + static_cast<long>(2 * size)),
            std::vector<float>(after.begin() + static_cast<long>(size), after.begin() + static_cast<long>(2 * size)));
}

/* Training, a gradient and a validation; every float of them. */
std::vector<double> run(const char *blocks, unsigned *launches) {
  if (blocks)
    setenv("NOPROP_DT_BLOCKS", blocks, 1);
  else
    unsetenv("NOPROP_DT_BLOCKS");
  const Prepared p = prepare(0);
  EXPECT_TRUE(p.model);
  std::vector<double> all;
  if (!p.model) return all;
  EXPECT_TRUE(ok(noprop_model_bind(p.model.get(), &p.data->condition, &p.data->target, 33), "noprop_model_bind"));
  noprop_device_counters before, after;
  noprop_device_get_counters(device(), &before);
  EXPECT_TRUE(ok(noprop_model_train_step(p.model.get(), 4), "noprop_model_train_step"));
  noprop_device_get_counters(device(), &after);
  *launches = static_cast<unsigned>(after.launches - before.launches);
  std::vector<double> losses(3), norms(3);
  EXPECT_TRUE(ok(noprop_model_block_metrics(p.model.get(), losses.data(), norms.data()), "block metrics"));
  noprop_train_metrics metrics;
  EXPECT_TRUE(ok(noprop_model_train_metrics(p.model.get(), &metrics), "noprop_model_train_metrics"));
  noprop_loss_terms validation, terms;
  EXPECT_TRUE(ok(noprop_model_validate(p.model.get(), &p.data->condition, &p.data->target, &validation), "validate"));
  std::vector<float> gradient(p.parameters.size());
  noprop_loss_request request = request_of(*p.data, 2);
  request.gradient = gradient.data();
  EXPECT_TRUE(ok(noprop_model_loss(p.model.get(), &request, &terms), "noprop_model_loss"));
  for (const float v : parameters_of(p.model.get())) all.push_back(static_cast<double>(v));
  for (const float v : gradient) all.push_back(static_cast<double>(v));
  all.insert(all.end(), losses.begin(), losses.end());
  all.insert(all.end(), norms.begin(), norms.end());
  all.insert(all.end(), {metrics.loss, metrics.gradient_norm, validation.loss, terms.loss});
  unsetenv("NOPROP_DT_BLOCKS");
  return all;
}

TEST(BlocksOfDt, OneLaunchOrOneForEachBlockGiveTheSameBits) {
  unsigned together, apart, pairs;
  const std::vector<double> all = run(nullptr, &together), single = run("1", &apart), two = run("2", &pairs);
  EXPECT_EQ(together, 4U * 3);
  EXPECT_EQ(pairs, 4U * 6);
  EXPECT_EQ(apart, 4U * 9);
  EXPECT_TRUE(all == single) << "one block at a time";
  EXPECT_TRUE(all == two) << "two and one";
}

TEST(BlocksOfDt, RefuseWhatBelongsToContinuousTime) {
  const Prepared p = prepare(0);
  ASSERT_TRUE(p.model);
  std::vector<float> latent(70 * 5);
  const auto refusal = [&](auto change) {
    noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
    change(options);
    EXPECT_EQ(noprop_sample(p.model.get(), &options, &p.data->condition, 70, latent.data(), nullptr),
              NOPROP_INVALID_ARGUMENT);
    return std::string(noprop_last_error());
  };
  const auto has = [](const std::string &sentence, const char *part) {
    EXPECT_NE(sentence.find(part), std::string::npos) << sentence;
  };
  has(refusal([](auto &o) { snprintf(o.method, sizeof o.method, "euler"); }), "its bridge");
  has(refusal([](auto &o) { snprintf(o.drift, sizeof o.drift, "ou_mean"); }), "continuous time");
  has(refusal([](auto &o) { o.steps = 20; }), "steps is 20; this model of variant dt has 3 blocks");
  has(refusal([](auto &o) { o.calls = 4; }), "calls is 4; this model of variant dt has 3 blocks");
  has(refusal([](auto &o) { o.churn = 0.5; }), "churn is 0.5");
  noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
  EXPECT_EQ(noprop_velocity(p.model.get(), &options, &p.data->condition, 70, 0.5, latent.data(), latent.data()),
            NOPROP_INVALID_ARGUMENT);
  noprop_loss_request request = request_of(*p.data, 1);
  noprop_loss_terms terms;
  request.t = latent.data();
  EXPECT_EQ(noprop_model_loss(p.model.get(), &request, &terms), NOPROP_INVALID_ARGUMENT);
  has(noprop_last_error(), "levels of their own");
  request.t = nullptr;
  request.block = 4;
  EXPECT_EQ(noprop_model_loss(p.model.get(), &request, &terms), NOPROP_INVALID_ARGUMENT);
  has(noprop_last_error(), "block is 4; this model has 3");
}

}  // namespace
