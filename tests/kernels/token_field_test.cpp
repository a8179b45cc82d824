/* Fields that are transformers over the state's positions, against the reference: losses, gradients of parameters and
 * state, training steps, solves. */
#include "tests/reference/token_field.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/harness.h"
#include "tests/reference/random.h"
#include "tests/reference/sampler.h"

namespace {

using namespace kernels_test;
using reference::Batch;
using reference::Network;

constexpr long kRows = 11;

struct TokenCase {
  const char *variant, *task, *draws, *positions, *activation, *dropout;
  int tokens, channels, length, inputs; /* length 0: the condition is a vector, and inputs 0: there is none */
  int width, heads, feed, layers, condition_layers;
  bool masked;
};

/* 7 tokens are one chunk of a thread's; 33 are three, and take two warps for a head's queries. */
const TokenCase kMasked = {"ct", "regress", "2", "rotary", "gelu", "0.3", 7, 3, 5, 2, 32, 4, 64, 2, 2, true};
const TokenCase kLong = {"fm", "regress", "1", "sinusoidal", "swish", "0", 33, 2, 0, 3, 32, 2, 32, 2, 1, false};
const TokenCase kAlone = {"df", "generate", "1", "rotary", "tanh", "0", 1, 3, 0, 0, 32, 1, 32, 1, 1, false};

Keys keys_of(const TokenCase &c) {
  return {{"variant", c.variant},
          {"task", c.task},
          {"loss.draws", c.draws},
          {"loss.condition_dropout", c.dropout},
          {"network.activation", c.activation},
          {"network.time_embedding.size", "6"},
          {"optimizer.type", "sgd"},
          {"optimizer.learning_rate", "1"},
          {"optimizer.weight_decay", "0"},
          {"optimizer.clip", "0"},
          {"seed", "3"}};
}

Keys engine_keys(const TokenCase &c) {
  Keys keys = keys_of(c);
  keys.insert(keys.end(), {{"network.type", "transformer"},
                           {"network.transformer.width", std::to_string(c.width)},
                           {"network.transformer.heads", std::to_string(c.heads)},
                           {"network.transformer.layers", std::to_string(c.layers)},
                           {"network.transformer.condition_layers", std::to_string(c.condition_layers)},
                           {"network.transformer.feed_forward", std::to_string(c.feed)},
                           {"network.transformer.positions", c.positions},
                           {"network.transformer.masked", c.masked ? "true" : "false"}});
  return keys;
}

struct Prepared {
  Settings settings;
  std::unique_ptr<Data> data;
  Network network;
  std::vector<float> parameters;
  Model model;
};

/* Which positions of a row are there: beginnings of any length, none among them, and one with a gap. */
bool is_there(const TokenCase &c, long row, int position) {
  if (row % 5 == 4) return position != 1;
  return position < static_cast<int>(row) % (c.length + 1);
}

/* A mask instead of each position's last number, and nothing that could be a number where nothing is there. */
void mask(const TokenCase &c, Data &data) {
  const int numbers = c.inputs + 1;
  for (long row = 0; row < kRows; ++row)
    for (int i = 0; i < c.length; ++i) {
      const bool there = is_there(c, row, i);
      float *values = &data.x_float[static_cast<size_t>((row * c.length + i) * numbers)];
      values[c.inputs] = there ? 1.0f : 0.0f;
      data.reference.x[static_cast<size_t>(row)][static_cast<size_t>(i * numbers + c.inputs)] = there ? 1.0 : 0.0;
      for (int k = 0; k < c.inputs && !there; ++k) values[k] = std::numeric_limits<float>::quiet_NaN();
    }
}

Prepared prepare(const TokenCase &c) {
  Prepared p;
  p.settings = reference::settings_from(keys_of(c));
  const int numbers = c.inputs + c.masked, condition = c.length > 0 ? c.length * numbers : c.inputs;
  p.data =
      make_data(p.settings, condition ? kFloatCondition : kNoCondition, condition, c.tokens * c.channels, kRows, 31);
  const int target_shape[] = {1, c.tokens, c.channels}, condition_shape[] = {1, c.length, numbers};
  for (int i = 0; i < 3; ++i) p.data->shape.target_shape[i] = target_shape[i];
  for (int i = 0; i < 3 && c.length > 0; ++i) p.data->shape.condition_shape[i] = condition_shape[i];
  if (c.masked) mask(c, *p.data);
  p.network = reference::make_token_network({c.tokens,
                                             c.channels,
                                             c.length > 0 ? c.length : c.inputs > 0,
                                             c.inputs,
                                             c.masked,
                                             c.width,
                                             c.heads,
                                             c.feed,
                                             std::string(c.positions) == "rotary",
                                             c.activation,
                                             {},
                                             {},
                                             {},
                                             {},
                                             {},
                                             {},
                                             {},
                                             {},
                                             {}},
                                            c.layers, c.condition_layers, reference::time_width(p.settings));
  p.parameters = random_parameters(p.network, 60);
  p.model = create_model(engine_keys(c), p.data->shape);
  if (p.model && (!set_parameters(p.model.get(), p.network, p.parameters) || !set_statistics(p.model.get(), *p.data)))
    p.model.reset();
  return p;
}

class TokenField : public testing::TestWithParam<TokenCase> {};
INSTANTIATE_TEST_SUITE_P(Shapes, TokenField, testing::Values(kMasked, kLong, kAlone));

TEST_P(TokenField, LossAndGradientMeetTheReference) {
  const TokenCase &c = GetParam();
  const Prepared p = prepare(c);
  ASSERT_TRUE(p.model);
  Batch<Tracked> batch;
  batch.z1 = p.data->reference.z1;
  batch.x = p.data->reference.x;
  draw_batch(p.settings, p.network, 3, true, batch);
  const auto want = batch_loss(p.settings, p.network, tracked(p.parameters), batch);
  std::vector<float> gradient(p.parameters.size()), prediction(flat(want.prediction).size()), by_z(prediction.size());
  noprop_loss_request request = {};
  request.rows = kRows;
  request.condition = p.data->has_condition() ? p.data->condition.values : nullptr;
  request.target = p.data->target.values;
  request.step = 3;
  request.dropout = true;
  request.gradient = gradient.data();
  request.prediction = prediction.data();
  const bool state = c.tokens == 1; /* a kernel of its own: for the smallest */
  if (state) request.state_gradient = by_z.data();
  noprop_loss_terms terms;
  ASSERT_TRUE(ok(noprop_model_loss(p.model.get(), &request, &terms), "noprop_model_loss"));
  expect_within(kTerm, terms.loss, want.total, "loss");
  expect_within(kPrediction, prediction, flat(want.prediction), "prediction");
  if (state) expect_within(kGradient, by_z, flat(want.z_bar), "gradient by the state");
  for (const reference::Array &array : p.network.arrays) {
    const auto of = [&](const auto &values) {
      return std::vector(values.begin() + array.offset, values.begin() + array.offset + array.size());
    };
    expect_within(kGradient, of(gradient), of(want.gradient), array.name);
  }
}

/* Rows in the epoch's order, sums over slots, the update: from the seed, in two launches; and the same bits again. */
TEST(TokenFieldTraining, StepsMeetTheReferenceInTwoLaunchesAndRepeatTheirBits) {
  const Prepared p = prepare(kMasked), again = prepare(kMasked);
  ASSERT_TRUE(p.model && again.model);
  const int batch_rows = 7; /* the epoch's second batch has 4 */
  ASSERT_TRUE(ok(noprop_model_bind(p.model.get(), &p.data->condition, &p.data->target, batch_rows), "bind"));
  ASSERT_TRUE(
      ok(noprop_model_bind(again.model.get(), &again.data->condition, &again.data->target, batch_rows), "bind"));
  ASSERT_TRUE(ok(noprop_model_train_step(again.model.get(), 2), "train"));
  for (int64_t step = 0; step < 2; ++step) {
    const std::vector<float> start = parameters_of(p.model.get());
    Vector<Tracked> parameters = tracked(start);
    noprop_device_counters before, after;
    noprop_device_get_counters(device(), &before);
    ASSERT_TRUE(ok(noprop_model_train_step(p.model.get(), 1), "train"));
    noprop_device_get_counters(device(), &after);
    EXPECT_EQ(after.launches - before.launches, 2U);
    const Batch<Tracked> batch = training_batch(p.settings, p.network, p.data->reference, batch_rows, step);
    const auto loss = batch_loss(p.settings, p.network, parameters, batch);
    for (size_t i = 0; i < parameters.size(); ++i) parameters[i] -= loss.gradient[i];
    expect_within(kParameters, parameters_of(p.model.get()), parameters, "parameters", &start);
  }
  EXPECT_EQ(parameters_of(p.model.get()), parameters_of(again.model.get()));
}

/* In one launch, the condition encoded once, with and without guidance; what padding holds changes no bit. */
TEST(TokenFieldSolve, MeetsTheReferenceInOneLaunch) {
  for (const double guidance : {1.0, 2.0}) {
    const Prepared p = prepare(kMasked);
    ASSERT_TRUE(p.model);
    noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
    const size_t d = static_cast<size_t>(p.network.latent);
    std::vector<float> got[2], values = p.data->x_float;
    for (float &v : values)
      if (std::isnan(v)) v = 1e30f;
    options.steps = 3;
    options.guidance = guidance;
    snprintf(options.method, sizeof options.method, "dpm2m");
    for (int other = 0; other < 2; ++other) {
      noprop_array x = p.data->condition;
      if (other) x.values = values.data();
      got[other].resize(kRows * d);
      noprop_device_counters before, after;
      noprop_device_get_counters(device(), &before);
      ASSERT_TRUE(ok(noprop_sample(p.model.get(), &options, &x, kRows, got[other].data(), nullptr), "sample"));
      noprop_device_get_counters(device(), &after);
      EXPECT_EQ(after.launches - before.launches, 1U);
    }
    EXPECT_EQ(got[0], got[1]);
    reference::Solve solve;
    solve.method = "dpm2m", solve.grid = "gamma", solve.steps = 3, solve.final_denoise = true;
    solve.guidance = guidance;
    Vector<Tracked> want;
    for (const auto &x : p.data->reference.x) {
      const auto states = reference::integrate<Tracked>(p.settings, p.network, tracked(p.parameters), solve,
                                                        Vector<Tracked>(d, 0.0), x);
      want.insert(want.end(), states.back().begin(), states.back().end());
    }
    expect_within(kSolve, got[0], want, guidance == 1 ? "dpm2m" : "dpm2m, guided");
  }
}

/* Without a condition, from noise, by steps that find their own size: as near to many small steps as they say, 1e-4 a
 * step. */
TEST(TokenFieldSolve, AdaptiveStepsWithoutAConditionMeetTheirTolerance) {
  TokenCase c = kAlone;
  c.variant = "fm";
  const Prepared p = prepare(c);
  ASSERT_TRUE(p.model);
  noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
  snprintf(options.method, sizeof options.method, "dopri5");
  options.rtol = 1e-4, options.atol = 1e-5;
  options.final_denoise = 0;
  std::vector<float> got(static_cast<size_t>(kRows * 3));
  std::vector<noprop_solve_row> rows(kRows);
  noprop_solve_results results = {};
  results.latent = got.data();
  results.rows = rows.data();
  ASSERT_TRUE(ok(noprop_solve(p.model.get(), &options, nullptr, kRows, &results), "solve"));
  reference::Solve solve;
  solve.method = "rk4", solve.steps = 200;
  const Vector<double> parameters(p.parameters.begin(), p.parameters.end());
  double moved = 0;
  for (long row = 0; row < kRows; ++row) {
    EXPECT_EQ(rows[static_cast<size_t>(row)].outcome, NOPROP_SOLVE_DONE);
    EXPECT_GT(rows[static_cast<size_t>(row)].calls, 8);
    const auto start = reference::normals<double>(options.seed, reference::kStart, static_cast<uint32_t>(row), 0, 3);
    const auto end = reference::integrate<double>(p.settings, p.network, parameters, solve, start, {}).back();
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(static_cast<double>(got[static_cast<size_t>(row) * 3 + i]), end[i], 1e-3) << row;
      moved = std::fmax(moved, std::fabs(end[i] - start[i]));
    }
  }
  EXPECT_GT(moved, 0.2);
}

TEST(TokenFieldRefusals, SayWhatIsAllowed) {
  const auto refused = [](const Keys &keys, std::initializer_list<int> target, std::initializer_list<int> condition) {
    noprop_config *config = nullptr;
    EXPECT_TRUE(ok(noprop_config_create(&config), "config"));
    Keys all = engine_keys(kMasked);
    all.push_back({"network.transformer.masked", "false"});
    all.insert(all.end(), keys.begin(), keys.end());
    for (const auto &[key, value] : all) EXPECT_EQ(noprop_config_set(config, key.c_str(), value.c_str()), NOPROP_OK);
    noprop_model_shape shape = {};
    shape.condition_width = shape.target_width = 12;
    int i = 0;
    for (const int side : target) shape.target_shape[i++] = side;
    i = 0;
    for (const int side : condition) shape.condition_shape[i++] = side;
    if (i) shape.condition_width = shape.condition_shape[0] * shape.condition_shape[1] * shape.condition_shape[2];
    noprop_model *model = nullptr;
    EXPECT_NE(noprop_model_create(device(), config, &shape, &model), NOPROP_OK);
    noprop_model_destroy(model);
    noprop_config_destroy(config);
    return std::string(noprop_last_error());
  };
  const auto has = [](const std::string &sentence, const char *part) {
    EXPECT_NE(sentence.find(part), std::string::npos) << sentence;
  };
  has(refused({}, {}, {1, 5, 2}), "this target is a vector of width 12");
  has(refused({}, {3, 2, 2}, {1, 5, 2}), "this target is an image");
  has(refused({}, {1, 4, 3}, {3, 4, 4}), "this condition is [rows][3][4][4]");
  has(refused({}, {1, 4, 3}, {1, 2000, 1}), "up to 1024 positions");
  has(refused({{"network.transformer.masked", "true"}}, {1, 4, 3}, {}), "this condition has 12 numbers in 1 positions");
  has(refused({{"precision", "tf32"}, {"loss.condition_dropout", "0"}}, {1, 4, 3}, {1, 5, 2}),
      "tf32 has no kernels for network.type transformer");
  const Prepared p = prepare(kAlone);
  ASSERT_TRUE(p.model);
  noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
  std::vector<float> got(static_cast<size_t>(kRows * 3));
  snprintf(options.method, sizeof options.method, "adaptive_compat");
  EXPECT_NE(noprop_sample(p.model.get(), &options, nullptr, kRows, got.data(), nullptr), NOPROP_OK);
  has(noprop_last_error(), "bosh3 and dopri5 are allowed");
  std::vector<double> density(kRows);
  snprintf(options.method, sizeof options.method, "euler");
  EXPECT_NE(noprop_log_density(p.model.get(), &options, nullptr, &p.data->target, density.data(), nullptr, nullptr),
            NOPROP_OK);
  has(noprop_last_error(), "log densities need derivatives");
}

}  // namespace
