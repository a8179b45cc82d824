/* Preset notebook in variant dt against its formulas as the survey states them (2.8): levels, the last block trained
 * with the classifier that reads its prediction, half the square of the vectors, steps from prediction to prediction;
 * and that one launch or several give the same bits, though the last block and the classifier read each other. */
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/kernels/harness.h"
#include "tests/reference/dt.h"
#include "tests/reference/random.h"

namespace {

using namespace kernels_test;

constexpr int kBlocks = 3, kClasses = 6;
constexpr long kLatent = 5, kRows = 45;

struct Book {
  Settings settings = reference::settings_from({{"variant", "dt"},
                                                {"task", "classify"},
                                                {"dt.blocks", "3"},
                                                {"dt.eta", "0.1"},
                                                {"network.hidden", "[24, 24]"},
                                                {"network.activation", "relu"},
                                                {"network.dropout", "0.2"},
                                                {"loss.draws", "2"}});
  std::unique_ptr<Data> data = make_data(settings, kFloatCondition, 3, kClasses, kRows, 31);
  reference::Network network = reference::make_network(settings, 3, kLatent);
  std::vector<std::vector<float>> blocks;
  std::vector<float> classifier, vectors, parameters;
  Model model = create_model({{"preset", "notebook"},
                              {"variant", "dt"},
                              {"dt.blocks", "3"},
                              {"network.hidden", "[24, 24]"},
                              {"latent.size", "5"},
                              {"loss.draws", "2"}},
                             data->shape);
  Book() {
    for (unsigned k = 0; k < kBlocks; ++k) blocks.push_back(random_parameters(network, 40 + k));
    std::mt19937 generator(50);
    std::normal_distribution<float> normal;
    for (long i = 0; i < (kLatent + 1) * kClasses; ++i) classifier.push_back(0.7f * normal(generator));
    for (long i = 0; i < kLatent * kClasses; ++i) vectors.push_back(normal(generator));
    for (const auto &part : {blocks[0], blocks[1], blocks[2], classifier, vectors})
      parameters.insert(parameters.end(), part.begin(), part.end());
    if (model && (noprop_model_parameter_values(model.get()) != static_cast<long>(parameters.size()) ||
                  !ok(noprop_model_set_parameters(model.get(), parameters.data()), "noprop_model_set_parameters") ||
                  !set_statistics(model.get(), *data)))
      model.reset();
  }
};

TEST(NotebookBlocks, LossAndGradientsAreThoseOfTheSurvey) {
  const Book p;
  ASSERT_TRUE(p.model);
  reference::Batch<Tracked> batch;
  batch.x = p.data->reference.x;
  batch.label = p.data->reference.label;
  for (const long label : batch.label)
    batch.z1.emplace_back(p.vectors.begin() + label * kLatent, p.vectors.begin() + (label + 1) * kLatent);
  draw_batch(p.settings, p.network, 3, true, batch); /* for its dropout */
  Vector<Tracked> of_vectors(p.vectors.size(), 0.0);
  Tracked flow = 0.0, half = 0.0;
  const auto levels = notebook_levels(p.settings);
  reference::PredictionScores<Tracked> scores{tracked(p.classifier), kClasses, {}};
  std::vector<float> gradient(p.parameters.size());
  noprop_loss_terms terms;
  for (size_t k = 0; k < kBlocks; ++k) {
    const std::string what = "block " + std::to_string(k + 1);
    batch.noise.clear();
    for (uint32_t draw = 0; draw < 2; ++draw) {
      batch.noise.emplace_back();
      for (uint32_t i = 0; i < kRows; ++i)
        batch.noise.back().push_back(reference::normals<Tracked>(p.settings.seed, reference::kNoise, i, 3, kLatent,
                                                                 draw, static_cast<uint32_t>(k)));
    }
    const auto want =
        block_loss(p.network, tracked(p.blocks[k]), levels[k], batch, k + 1 == kBlocks ? &scores : nullptr);
    std::vector<float> z(static_cast<size_t>(kRows * kLatent));
    noprop_loss_request request = {};
    request.rows = kRows;
    request.condition = p.data->condition.values;
    request.target = p.data->target.values;
    request.step = 3;
    request.dropout = true;
    request.gradient = gradient.data();
    request.z = z.data();
    request.block = static_cast<int>(k) + 1;
    ASSERT_TRUE(ok(noprop_model_loss(p.model.get(), &request, &terms), "noprop_model_loss"));
    expect_within(kState, z, flat(want.z), what);
    const auto first = gradient.begin() + static_cast<long>(k) * p.network.parameters;
    expect_within(kGradient, {first, first + p.network.parameters}, want.gradient, what);
    flow += want.total;
    for (size_t i = 0; i < kRows; ++i)
      for (size_t j = 0; j < kLatent; ++j)
        of_vectors[static_cast<size_t>(batch.label[i]) * kLatent + j] += want.z1_bar[i][j];
  }
  for (size_t i = 0; i < kRows; ++i)
    for (size_t j = 0; j < kLatent; ++j) {
      const Tracked u = batch.z1[i][j], share = Tracked(1.0) / Tracked(static_cast<double>(kRows));
      half += 0.5 * share * u * u;
      of_vectors[static_cast<size_t>(batch.label[i]) * kLatent + j] += share * u;
    }
  const auto behind = gradient.begin() + kBlocks * p.network.parameters;
  const long size = static_cast<long>(p.classifier.size());
  expect_within(kTerm, terms.flow, flow, "blocks");
  expect_within(kTerm, terms.recon, scores.value, "cross-entropy");
  expect_within(kTerm, terms.kl_z0, half, "half the square");
  expect_within(kTerm, terms.loss, flow + scores.value + half, "loss");
  expect_within(kGradient, {behind, behind + size}, scores.gradient, "classifier");
  expect_within(kGradient, {behind + size, gradient.end()}, of_vectors, "vectors");
}

TEST(NotebookBlocks, ASolveGoesFromPredictionToPrediction) {
  const Book p;
  ASSERT_TRUE(p.model);
  noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
  EXPECT_EQ(options.steps, kBlocks);
  EXPECT_STREQ(options.init, "normal");
  options.seed = 77;
  std::vector<float> latent(static_cast<size_t>(kRows * kLatent)), output(static_cast<size_t>(kRows * kClasses));
  ASSERT_TRUE(ok(noprop_sample(p.model.get(), &options, &p.data->condition, kRows, latent.data(), output.data()),
                 "noprop_sample"));
  Vector<Tracked> states, probabilities;
  for (uint32_t row = 0; row < kRows; ++row) {
    Vector<Tracked> z = reference::normals<Tracked>(77, reference::kStart, row, 0, kLatent);
    for (const auto &block : p.blocks)
      z = reference::forward<Tracked>(p.network, tracked(block), z, p.data->reference.x[row], {}).output();
    states.insert(states.end(), z.begin(), z.end());
    const auto said = reference::probabilities_of(tracked(p.classifier), kClasses, z);
    probabilities.insert(probabilities.end(), said.begin(), said.end());
  }
  expect_within(kSolve, latent, states, "states");
  expect_within(kSolve, output, probabilities, "probabilities");
}

TEST(NotebookBlocks, OneLaunchOrSeveralGiveTheSameBits) {
  std::vector<std::vector<float>> trained;
  for (const auto &[at_most, launches] : {std::pair<const char *, unsigned>{"4", 1}, {"1", 2}, {"3", 2}}) {
    setenv("NOPROP_DT_BLOCKS", at_most, 1);
    const Book p;
    ASSERT_TRUE(p.model);
    ASSERT_TRUE(ok(noprop_model_bind(p.model.get(), &p.data->condition, &p.data->target, 33), "noprop_model_bind"));
    noprop_device_counters before, after;
    noprop_device_get_counters(device(), &before);
    ASSERT_TRUE(ok(noprop_model_train_step(p.model.get(), 3), "noprop_model_train_step"));
    noprop_device_get_counters(device(), &after);
    EXPECT_EQ(after.launches - before.launches, 3U * 3 * launches) << "training, norms and update, clipped";
    trained.push_back(parameters_of(p.model.get()));
    unsetenv("NOPROP_DT_BLOCKS");
  }
  EXPECT_NE(trained[0], std::vector<float>(trained[0].size()));
  EXPECT_TRUE(trained[0] == trained[1]);
  EXPECT_TRUE(trained[0] == trained[2]);
}

}  // namespace
