/* Train and update kernels against the reference over the sweep: loss terms, states, predictions, gradients, and whole
 * training steps that the reference reproduces from the seed alone. */
#include <gtest/gtest.h>

#include <set>

#include "tests/cublaslt_fake.h"
#include "tests/kernels/sweep.h"
#include "tests/tile_form.h"

namespace {

using namespace kernels_test;
using reference::Batch;
using reference::Loss;
using reference::Network;

struct Prepared {
  SweepCase c;
  Settings settings;
  std::unique_ptr<Data> data;
  Network network;
  std::vector<float> parameters;
  Model model;
};

constexpr int64_t kTotalSteps = 12;

/* With layers of other widths if `hidden` says so. */
Prepared prepare(int index, const char *hidden = nullptr) {
  Prepared p;
  if (index >= kSweepCases) interpret_kernels(); /* on tensor cores */
  p.c = sweep_case(index);
  for (auto &[key, value] : p.c.keys)
    if (hidden && key == "network.hidden") value = hidden;
  p.settings = reference::settings_from(p.c.keys);
  p.data = make_data(p.settings, p.c.condition, p.c.condition_width, p.c.target_width, p.c.rows,
                     77 + static_cast<unsigned>(index));
  p.network = reference::make_network(p.settings, p.data->shape.condition_width, p.c.target_width);
  p.parameters = random_parameters(p.network, 99 + static_cast<unsigned>(index));
  p.model = create_model(engine_keys(p.c, kTotalSteps), p.data->shape);
  if (p.model && (!set_parameters(p.model.get(), p.network, p.parameters) || !set_statistics(p.model.get(), *p.data)))
    p.model.reset();
  return p;
}

Batch<Tracked> whole_batch(const Data &data) {
  Batch<Tracked> batch;
  batch.z1 = data.reference.z1;
  batch.label = data.reference.label;
  batch.x = data.reference.x;
  return batch;
}

/* Runs a request and compares all it returns. */
void compare_request(const Prepared &p, noprop_loss_request request, const Batch<Tracked> &batch, bool gradient,
                     const std::string &what) {
  const size_t rows = static_cast<size_t>(p.data->rows), d = static_cast<size_t>(p.c.target_width);
  std::vector<float> g(static_cast<size_t>(p.network.parameters)), prediction(rows * d), z(rows * d), row_loss(rows);
  request.rows = p.data->rows;
  request.condition = p.data->condition.values;
  request.target = p.data->target.values;
  request.gradient = gradient ? g.data() : nullptr;
  request.prediction = prediction.data();
  request.z = z.data();
  request.row_loss = row_loss.data();
  noprop_loss_terms terms;
  ASSERT_TRUE(ok(noprop_model_loss(p.model.get(), &request, &terms), "noprop_model_loss"));

  const Loss<Tracked> want = batch_loss(p.settings, p.network, tracked(p.parameters), batch);
  if (p.settings.loss.draws == 1) { /* else the last draw's */
    expect_within(kState, z, flat(want.z), what + " z");
    expect_within(kPrediction, prediction, flat(want.prediction), what + " prediction");
  }
  expect_within(kRowLoss, row_loss, want.row_total, what + " rows");
  expect_within(kTerm, terms.loss, want.total, what + " loss");
  expect_within(kTerm, terms.flow, want.flow, what + " flow");
  /* Terms without weight are not computed. */
  if (p.settings.loss.recon_weight > 0) expect_within(kTerm, terms.recon, want.recon, what + " recon");
  if (p.settings.loss.reg > 0) expect_within(kTerm, terms.reg, want.reg, what + " reg");
  if (!gradient) return;
  for (const reference::Array &array : p.network.arrays) {
    const auto first = static_cast<long>(array.offset), last = first + array.size();
    expect_within(kGradient, {g.begin() + first, g.begin() + last},
                  {want.gradient.begin() + first, want.gradient.begin() + last}, what + " " + array.name);
  }
}

/* Gradients of states and clean latents, a kernel of its own: cases of both paths, networks, and with several draws. */
class StateSweep : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Cases, StateSweep, testing::Values(0, 1, 5, 7, 8));

TEST_P(StateSweep, GradientsOfStateAndCleanLatent) {
  const Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  const size_t values = static_cast<size_t>(p.data->rows * p.c.target_width);
  Batch<Tracked> batch = whole_batch(*p.data);
  draw_batch(p.settings, p.network, 4, true, batch);
  std::vector<float> gradient(static_cast<size_t>(p.network.parameters)), state(values), target(values);
  noprop_loss_request request = {};
  request.rows = p.data->rows;
  request.condition = p.data->condition.values;
  request.target = p.data->target.values;
  request.step = 4;
  request.dropout = true;
  request.gradient = gradient.data();
  request.state_gradient = state.data();
  request.target_gradient = target.data();
  noprop_loss_terms terms;
  ASSERT_TRUE(ok(noprop_model_loss(p.model.get(), &request, &terms), "noprop_model_loss"));
  const Loss<Tracked> want = batch_loss(p.settings, p.network, tracked(p.parameters), batch);
  expect_within(kGradient, state, flat(want.z_bar), p.c.name() + " state");
  expect_within(kGradient, target, flat(want.z1_bar), p.c.name() + " clean latent");
  expect_within(kGradient, gradient, want.gradient, p.c.name() + " parameters");
  request.gradient = nullptr;
  EXPECT_EQ(noprop_model_loss(p.model.get(), &request, &terms), NOPROP_INVALID_ARGUMENT);
}

class Sweep : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Cases, Sweep, testing::Range(0, 2 * kSweepCases));
/* Of bf16 those that its pairs of groups could go wrong with: odd and even numbers of groups, both networks, all kinds
 * of conditions. What does not depend on the factors was swept above. */
const int kBf16[] = {2 * kSweepCases + 2, 2 * kSweepCases + 5, 2 * kSweepCases + 7, 2 * kSweepCases + 14};
INSTANTIATE_TEST_SUITE_P(Bf16, Sweep, testing::ValuesIn(kBf16));
/* Of tf32x3 the same, and one whose slopes are dropout's alone. */
const int kThree[] = {3 * kSweepCases + 2, 3 * kSweepCases + 5, 3 * kSweepCases + 7, 3 * kSweepCases + 9,
                      3 * kSweepCases + 14};
INSTANTIATE_TEST_SUITE_P(Tf32x3, Sweep, testing::ValuesIn(kThree));

/* Times can be given only for a single draw. */
std::vector<int> single_draws() {
  std::vector<int> cases;
  for (int i = 0; i < 2 * kSweepCases; ++i)
    if (reference::settings_from(sweep_case(i).keys).loss.draws == 1) cases.push_back(i);
  return cases;
}
class GivenSweep : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Cases, GivenSweep, testing::ValuesIn(single_draws()));

TEST_P(GivenSweep, LossAndGradientOfGivenTimesAndNoise) {
  const Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  std::mt19937 generator(5);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform(0.02f, 0.98f);
  std::vector<float> t, noise;
  Batch<Tracked> batch = whole_batch(*p.data);
  batch.t.resize(1), batch.noise.resize(1);
  for (long i = 0; i < p.data->rows; ++i) {
    t.push_back(uniform(generator));
    batch.t[0].push_back(static_cast<double>(t.back()));
    Vector<Tracked> row;
    for (int j = 0; j < p.c.target_width; ++j) {
      noise.push_back(normal(generator));
      row.push_back(static_cast<double>(noise.back()));
    }
    batch.noise[0].push_back(row);
  }
  noprop_loss_request request = {};
  request.t = t.data();
  request.noise = noise.data();
  compare_request(p, request, batch, true, p.c.name());
}

TEST_P(Sweep, LossAndGradientOfDrawnTimesNoiseAndDropout) {
  const Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  Batch<Tracked> batch = whole_batch(*p.data);
  const int64_t step = 3 + GetParam();
  draw_batch(p.settings, p.network, step, true, batch);
  noprop_loss_request request = {};
  request.step = static_cast<uint64_t>(step);
  request.dropout = true;
  compare_request(p, request, batch, true, p.c.name());
}

bool bind(const Prepared &p) {
  return ok(noprop_model_bind(p.model.get(), p.data->has_condition() ? &p.data->condition : nullptr, &p.data->target,
                              static_cast<int>(p.c.batch)),
            "noprop_model_bind");
}

/* Parameters, averages and metrics after five steps over partial batches and the start of a second epoch. */
void compare_training(const Prepared &p) {
  const int64_t steps = 5;
  ASSERT_TRUE(bind(p));
  ASSERT_TRUE(ok(noprop_model_train_step(p.model.get(), steps), "noprop_model_train_step"));
  noprop_train_metrics metrics;
  ASSERT_TRUE(ok(noprop_model_train_metrics(p.model.get(), &metrics), "noprop_model_train_metrics"));
  const auto want = reference::train(p.settings, p.network, tracked(p.parameters), p.data->reference, p.c.batch, steps,
                                     kTotalSteps, p.c.dropout_epochs);
  EXPECT_EQ(metrics.bad_step, -1);
  EXPECT_EQ(metrics.steps, steps);
  EXPECT_EQ(metrics.step, static_cast<uint64_t>(steps));
  expect_within(kParameters, parameters_of(p.model.get()), want.parameters, p.c.name(), &p.parameters);
  if (p.settings.optimizer.ema > 0)
    expect_within(kParameters, parameters_of(p.model.get(), true), want.optimizer.average, p.c.name() + " average",
                  &p.parameters);
  Tracked loss = 0.0;
  for (const auto &l : want.losses) loss += l.total / static_cast<double>(steps);
  expect_within(kParameters, metrics.loss, loss, p.c.name() + " mean loss");
  if (p.settings.optimizer.clip > 0)
    expect_within(kParameters, metrics.gradient_norm, want.gradient_norm.back(), p.c.name() + " gradient norm");
  EXPECT_NEAR(metrics.learning_rate, reference::rate_at(p.settings, steps - 1, kTotalSteps),
              1e-6 * metrics.learning_rate);
}

TEST_P(Sweep, TrainingSteps) {
  const Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  compare_training(p);
}

/* Every form of tiles that the table can choose (engine/tiles.h): kinds of conditions, dropout, both networks. */
class FormSweep : public testing::TestWithParam<std::pair<int, const char *>> {};
INSTANTIATE_TEST_SUITE_P(Cases, FormSweep,
                         testing::Values(std::pair{1, "8x2"}, std::pair{5, "8x4"}, std::pair{7, "8x8"},
                                         std::pair{0, "16x4"}, std::pair{3, "16x8"}));

/* On tensor cores 16 rows that the warps of a block share, in every precision: both networks, narrow and wide
 * conditions, runs of equal layers. */
INSTANTIATE_TEST_SUITE_P(Split, FormSweep,
                         testing::Values(std::pair{kSweepCases + 3, "16x2"}, std::pair{kSweepCases + 7, "16x2"},
                                         std::pair{2 * kSweepCases + 14, "16x2"},
                                         std::pair{3 * kSweepCases + 5, "16x2"}));

void compare_drawn_request(const Prepared &p) {
  Batch<Tracked> batch = whole_batch(*p.data);
  draw_batch(p.settings, p.network, 3, true, batch);
  noprop_loss_request request = {};
  request.step = 3;
  request.dropout = true;
  compare_request(p, request, batch, true, p.c.name());
}

void compare_request_and_training(const Prepared &p) {
  compare_drawn_request(p);
  compare_training(p);
}

TEST_P(FormSweep, LossGradientAndTrainingStepsMeetTheReference) {
  interpret_kernels();
  const TileForm forced(GetParam().second);
  const Prepared p = prepare(GetParam().first);
  ASSERT_TRUE(p.model);
  compare_request_and_training(p);
}

/* Layers that no warp has room for: the warps of a block share its rows. */
class WideSweep : public testing::TestWithParam<std::pair<int, const char *>> {};
INSTANTIATE_TEST_SUITE_P(Cases, WideSweep,
                         testing::Values(std::pair{kSweepCases + 3, "[136, 200]"},
                                         std::pair{3 * kSweepCases + 3, "[136, 40]"}));

TEST_P(WideSweep, LossGradientAndTrainingStepsMeetTheReference) {
  const Prepared p = prepare(GetParam().first, GetParam().second);
  ASSERT_TRUE(p.model);
  compare_request_and_training(p);
}

/* Launches of products over all rows instead of tiles, in all precisions: both networks, layers of one block of columns
 * and of several, odd widths, batches that are no multiple of a block's rows. */
class LayeredSweep : public testing::TestWithParam<std::pair<int, const char *>> {};
INSTANTIATE_TEST_SUITE_P(Cases, LayeredSweep,
                         testing::Values(std::pair{2, "[136, 24]"}, std::pair{5, nullptr},
                                         std::pair{kSweepCases + 2, "[136, 24]"},
                                         std::pair{2 * kSweepCases + 5, nullptr},
                                         std::pair{3 * kSweepCases + 7, nullptr}));

TEST_P(LayeredSweep, LossGradientAndTrainingStepsMeetTheReference) {
  const Tier forced("layered");
  const Prepared p = prepare(GetParam().first, GetParam().second);
  ASSERT_TRUE(p.model);
  if (GetParam().first == 5) /* the update is that of tiles, and steps take long on tensor cores */
    compare_request_and_training(p);
  else
    compare_drawn_request(p);
}

std::string description(const Model &model) {
  char *text = nullptr;
  if (!ok(noprop_model_describe(model.get(), &text), "noprop_model_describe")) return "";
  const std::string said = text;
  noprop_free(text);
  return said;
}

/* Makes the kernels of a case. */
void compile(int index) {
  const Prepared p = prepare(index, "[136, 24]");
  ASSERT_TRUE(p.model);
  std::vector<float> gradient(static_cast<size_t>(p.network.parameters));
  noprop_loss_request request = {};
  request.rows = p.data->rows;
  request.condition = p.data->condition.values;
  request.target = p.data->target.values;
  request.gradient = gradient.data();
  noprop_loss_terms terms;
  ASSERT_TRUE(ok(noprop_model_loss(p.model.get(), &request, &terms), "noprop_model_loss"));
  ASSERT_TRUE(bind(p));
}

/* Draws that share their conditions, residuals, dropout: what a library adds up meets the reference. Where it is slower
 * (here: backward) or fails, the launches go on as they were. */
void compare_library(int index, float turned_ms, uint64_t failing_depth, int by_library) {
  const Tier forced("layered");
  const cublaslt_fake::Folder folder([&] { compile(index); });
  const cublaslt_fake::Library library;
  const cublaslt_fake::Clock clock(1.0f, turned_ms);
  cublaslt_fake::state.failing_depth = failing_depth;
  {
    const Prepared p = prepare(index, "[136, 24]");
    ASSERT_TRUE(p.model);
    compare_drawn_request(p);
    EXPECT_GT(cublaslt_fake::state.products, 0);
    if (index < kSweepCases) /* steps take long on tensor cores */
      compare_training(p);
    else
      ASSERT_TRUE(bind(p));
    const std::string said = "cuBLASLt 13.1.0 for " + std::to_string(by_library) + " of the 16 of a training step";
    EXPECT_NE(description(p.model).find(said), std::string::npos) << description(p.model);
  }
  EXPECT_EQ(cublaslt_fake::state.live, 0);
}

TEST(LayeredProducts, OfALibraryMeetTheReference) { compare_library(2, 1.0f, 0, 12); }

TEST(LayeredProducts, OfALibraryMeetTheReferenceOnTensorCores) { compare_library(kSweepCases + 2, 1.0f, 0, 12); }

TEST(LayeredProducts, AreOursWhereALibraryIsSlowerOrFails) { compare_library(2, 3.0f, 24, 4); }

/* Every fourth case: the forward-only kernel is a part of the one above. */
class ValidationSweep : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Cases, ValidationSweep, testing::Range(0, kSweepCases, 4));

/* Validation draws its times and noise by row of the data set at a step of its own, without dropout, with the averaged
 * parameters if there are any (here: the initial ones). */
TEST_P(ValidationSweep, MeetsTheReference) {
  const Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  Batch<Tracked> batch = whole_batch(*p.data);
  draw_batch(p.settings, p.network, 0xffffffff, false, batch);
  noprop_loss_terms terms;
  ASSERT_TRUE(ok(noprop_model_validate(p.model.get(), p.data->has_condition() ? &p.data->condition : nullptr,
                                       &p.data->target, &terms),
                 "noprop_model_validate"));
  const Loss<Tracked> want = batch_loss(p.settings, p.network, tracked(p.parameters), batch);
  expect_within(kTerm, terms.loss, want.total, p.c.name() + " validation");
  expect_within(kTerm, terms.flow, want.flow, p.c.name() + " validation flow");
}

/* The sweep is only worth its name if every choice occurs. */
TEST(SweepTable, HoldsEveryChoice) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> choices = {
      {"variant", {"fm", "df", "ct"}},
      {"task", {"classify", "regress", "generate"}},
      {"prediction", {"auto", "velocity", "noise", "target", "v"}},
      {"schedule.type",
       {"cosine", "linear", "sigmoid", "logistic", "exponential", "cauchy", "laplace", "quadratic", "polynomial",
        "sine", "tabulated"}},
      {"schedule.renormalise", {"true", "false"}},
      {"latent.off_value", {"0", "-1"}},
      {"loss.weight", {"uniform", "elbo", "t", "drift", "vp_velocity", "min_snr", "snr_prime", "inverse_snr"}},
      {"loss.normalize", {"none", "batch", "analytic"}},
      {"loss.t_sampling", {"uniform", "low_discrepancy", "gamma", "importance"}},
      {"loss.draws", {"1", "3"}},
      {"loss.error", {"squared", "cross_entropy"}},
      {"loss.recon.weighting", {"none", "same", "snr_prime"}},
      {"loss.reg_weighting", {"none", "same", "snr_prime"}},
      {"loss.reg_drift", {"ode", "ou_mean"}},
      {"network.type", {"mlp", "resnet"}},
      {"network.activation",
       {"swish", "relu", "gelu", "tanh", "softplus", "leaky_relu", "elu", "selu", "sigmoid", "linear"}},
      {"network.squash_activation", {"true", "false"}},
      {"network.dropout", {"0", "0.2"}},
      {"network.time_embedding.type",
       {"harmonic", "sinusoidal", "fourier", "cyclical_fourier", "linear", "constant", "log_freq", "simple"}},
      {"network.time_embedding.as_written", {"true", "false"}},
      {"optimizer.type", {"adamw", "sgd", "adam", "adagrad"}},
      {"optimizer.schedule", {"constant", "cosine", "linear"}},
      {"optimizer.nesterov", {"true", "false"}},
      {"optimizer.ema", {"0", "0.9"}},
      {"optimizer.clip", {"0", "0.5"}},
  };
  for (const auto &[key, values] : choices)
    for (const std::string &value : values) {
      bool found = false;
      for (int i = 0; i < kSweepCases; ++i)
        for (const auto &[k, v] : sweep_case(i).keys) found = found || (k == key && v == value);
      EXPECT_TRUE(found) << key << ": " << value << " is in no case";
    }
  std::set<int> conditions;
  for (int i = 0; i < kSweepCases; ++i) conditions.insert(sweep_case(i).condition);
  EXPECT_EQ(conditions.size(), 4u);
}

}  // namespace
