/* Variant dt: every block's states, loss and gradient, training step by step with each block clipped by itself, and the
 * bridge, against the reference; blocks share nothing, and one launch or many give the same bits. */
#include "tests/reference/dt.h"

#include <gtest/gtest.h>

#include <algorithm>
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
  int width, target, latent;
  long rows;
};
/* Labels as one-hot vectors; values, without a classifier; labels with learned vectors of another size. The last two
 * with kl_z0. */
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
      {"loss.kl_z0", "0.3"},
      {"optimizer.clip", "0"},
      {"optimizer.weight_decay", "0.01"},
      {"seed", "6"}},
     kLabelCondition,
     4,
     2,
     2,
     45},
    {{{"variant", "dt"},
      {"task", "classify"},
      {"dt.blocks", "2"},
      {"dt.eta", "0.1"},
      {"network.hidden", "[24, 24]"},
      {"network.activation", "tanh"},
      {"loss.draws", "2"},
      {"loss.kl_z0", "0.7"},
      {"optimizer.clip", "0.05"},
      {"seed", "7"}},
     kFloatCondition,
     3,
     6,
     3,
     45},
};
constexpr size_t kLearned = 2;

struct Prepared {
  Settings settings;
  std::unique_ptr<Data> data;
  Network network; /* of one block */
  std::vector<Level> levels;
  std::vector<std::vector<float>> blocks;   /* parameters of each */
  std::vector<float> classifier, embedding; /* empty where there is none */
  std::vector<float> parameters;            /* all of them, in this order */
  long classes = 0, latent = 0;
  Model model;
};

Keys engine_keys(size_t number) {
  Keys keys = kCases[number].keys;
  for (const auto &[key, value] : kCases[number].keys)
    if (key == "task" && value == "generate") keys.insert(keys.end(), {{"data.target", "x"}, {"data.condition", "y"}});
  if (number == kLearned) keys.insert(keys.end(), {{"latent.embedding", "learned"}, {"latent.size", "3"}});
  return keys;
}

std::vector<float> normals_times(double scale, size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<float> values(count);
  for (float &v : values) v = static_cast<float>(scale * normal(generator));
  return values;
}

Prepared prepare(size_t number) {
  const BlocksCase &c = kCases[number];
  Prepared p;
  p.settings = reference::settings_from(c.keys);
  p.data = make_data(p.settings, c.condition, c.width, c.target, c.rows, 31);
  p.network = reference::make_network(p.settings, c.width, c.latent);
  p.levels = levels_of(p.settings, c.latent);
  p.latent = c.latent;
  for (int k = 0; k < p.settings.dt.blocks; ++k) {
    p.blocks.push_back(random_parameters(p.network, 40 + static_cast<unsigned>(k)));
    p.parameters.insert(p.parameters.end(), p.blocks.back().begin(), p.blocks.back().end());
  }
  if (p.settings.task == "classify") {
    p.classes = c.target;
    p.classifier = normals_times(0.7, static_cast<size_t>(c.latent + 1) * static_cast<size_t>(c.target), 50);
    if (number == kLearned)
      p.embedding = normals_times(1.0, static_cast<size_t>(c.latent) * static_cast<size_t>(c.target), 51);
    p.parameters.insert(p.parameters.end(), p.classifier.begin(), p.classifier.end());
    p.parameters.insert(p.parameters.end(), p.embedding.begin(), p.embedding.end());
  }
  p.model = create_model(engine_keys(number), p.data->shape);
  if (!p.model) return p;
  const int arrays = static_cast<int>(p.network.arrays.size()), of_blocks = p.settings.dt.blocks * arrays;
  EXPECT_EQ(noprop_model_blocks(p.model.get()), p.settings.dt.blocks);
  EXPECT_EQ(noprop_model_parameter_values(p.model.get()), static_cast<long>(p.parameters.size()));
  EXPECT_EQ(noprop_model_latent_size(p.model.get()), c.latent);
  for (int i = 0; i < of_blocks; ++i) {
    const noprop_parameter parameter = noprop_model_parameter(p.model.get(), i);
    const reference::Array &array = p.network.arrays[static_cast<size_t>(i % arrays)];
    EXPECT_EQ("block." + std::to_string(i / arrays + 1) + "." + array.name, parameter.name);
    EXPECT_EQ(parameter.offset, i / arrays * p.network.parameters + array.offset);
  }
  const char *const behind[] = {"classifier.weight", "classifier.bias", "embedding.weight"};
  const int others = noprop_model_parameter_count(p.model.get()) - of_blocks;
  EXPECT_EQ(others, p.classes == 0 ? 0 : number == kLearned ? 3 : 2);
  for (int i = 0; i < others; ++i) EXPECT_STREQ(noprop_model_parameter(p.model.get(), of_blocks + i).name, behind[i]);
  if (!ok(noprop_model_set_parameters(p.model.get(), p.parameters.data()), "noprop_model_set_parameters") ||
      !set_statistics(p.model.get(), *p.data))
    p.model.reset();
  return p;
}

/* The clean latents of a batch: rows of the embedding, or as the data have them. */
void embed(const Vector<Tracked> &embedding, long latent, Batch<Tracked> &batch) {
  if (embedding.empty()) return;
  for (size_t i = 0; i < batch.z1.size(); ++i)
    batch.z1[i].assign(embedding.begin() + batch.label[i] * latent, embedding.begin() + (batch.label[i] + 1) * latent);
}

/* Adds what a part's rows say about their embeddings. */
void add_embedding_gradient(const Loss<Tracked> &loss, const Batch<Tracked> &batch, long latent,
                            Vector<Tracked> &gradient) {
  for (size_t i = 0; i < batch.z1.size() && !gradient.empty(); ++i)
    for (long j = 0; j < latent; ++j)
      gradient[static_cast<size_t>(batch.label[i] * latent + j)] += loss.z1_bar[i][static_cast<size_t>(j)];
}

/* Mean divergence of the first level's states from N(0, I), and its derivatives by the clean latents; 0 where it has no
 * weight. */
Tracked start_divergence(const Prepared &p, const Batch<Tracked> &batch, Vector<Tracked> *of_embedding) {
  if (p.settings.loss.kl_z0 == 0) return 0.0;
  const Tracked a = reference::rounded(std::sqrt(p.levels[0].alpha_bar), 0), signal = a * a;
  const double rows = static_cast<double>(batch.z1.size());
  Tracked sum = 0.0;
  Loss<Tracked> loss;
  for (const Vector<Tracked> &z1 : batch.z1) {
    sum += reference::kl_of_start<Tracked>(signal, z1, Vector<Tracked>(z1.size(), 0.0)) / rows;
    loss.z1_bar.emplace_back();
    for (const Tracked &z : z1) loss.z1_bar.back().push_back(p.settings.loss.kl_z0 / rows * signal * z);
  }
  add_embedding_gradient(loss, batch, p.latent, *of_embedding);
  return sum;
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
  const size_t values = p.data->reference.z1.size() * static_cast<size_t>(p.latent);
  Batch<Tracked> batch;
  batch.z1 = p.data->reference.z1;
  batch.x = p.data->reference.x;
  batch.label = p.data->reference.label;
  embed(tracked(p.embedding), p.latent, batch);
  draw_batch(p.settings, p.network, 3, true, batch); /* for its dropout */
  Vector<Tracked> of_embedding(p.embedding.size(), 0.0);
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
    add_embedding_gradient(want, batch, p.latent, of_embedding);
    if (k + 1 == p.settings.dt.blocks) {
      expect_within(kTerm, terms.flow, total, "loss of all blocks");
      const auto behind = gradient.begin() + static_cast<long>(p.blocks.size()) * p.network.parameters;
      const long size = static_cast<long>(p.classifier.size());
      if (p.classes > 0) {
        draw_noise(p.settings, 3, k + 1, batch);
        const Loss<Tracked> scores =
            classifier_loss(tracked(p.classifier), p.classes, reference::last_level(p.settings), batch);
        expect_within(kGradient, {behind, behind + size}, scores.gradient, "classifier");
        expect_within(kTerm, terms.recon, scores.total, "cross-entropy");
        total += scores.total;
        add_embedding_gradient(scores, batch, p.latent, of_embedding);
      }
      const Tracked kl = start_divergence(p, batch, &of_embedding);
      if (p.settings.loss.kl_z0 > 0)
        expect_within(kTerm, terms.kl_z0, kl, "divergence of the first states");
      else
        EXPECT_EQ(terms.kl_z0, 0);
      total += p.settings.loss.kl_z0 * kl;
      if (!p.embedding.empty()) expect_within(kGradient, {behind + size, gradient.end()}, of_embedding, "embeddings");
      expect_within(kTerm, terms.loss, total, "loss of all");
    }
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

  std::vector<Vector<Tracked>> own;
  for (const auto &block : p.blocks) own.push_back(tracked(block));
  if (p.classes > 0) own.push_back(tracked(p.classifier));
  const size_t parts = own.size();
  if (!p.embedding.empty()) own.push_back(tracked(p.embedding));
  std::vector<reference::Optimizer<Tracked>> optimizers(own.size());
  Vector<Tracked> sums(parts, 0.0), last(own.size(), 0.0);
  Tracked divergence = 0.0;
  for (int step = 0; step < kSteps; ++step) {
    Batch<Tracked> batch = training_batch(p.settings, p.network, p.data->reference, kBatch, step);
    std::vector<Vector<Tracked>> gradients;
    Vector<Tracked> of_embedding(p.embedding.size(), 0.0);
    if (!p.embedding.empty()) embed(own.back(), p.latent, batch);
    for (size_t k = 0; k < parts; ++k) {
      draw_noise(p.settings, step, static_cast<int>(k), batch);
      const Loss<Tracked> loss = k < count
                                     ? block_loss(p.network, own[k], p.levels[k], batch)
                                     : classifier_loss(own[k], p.classes, reference::last_level(p.settings), batch);
      sums[k] += loss.total;
      gradients.push_back(loss.gradient);
      add_embedding_gradient(loss, batch, p.latent, of_embedding);
    }
    divergence += start_divergence(p, batch, &of_embedding);
    if (!p.embedding.empty()) gradients.push_back(of_embedding);
    for (size_t k = 0; k < own.size(); ++k) {
      last[k] = clip_gradient(p.settings.optimizer.clip, gradients[k]);
      update(p.settings, reference::rate_at(p.settings, step, 1000), gradients[k], optimizers[k], own[k]);
    }
  }
  Vector<Tracked> parameters;
  Tracked total = 0.0, squares = 0.0;
  bool differ = false;
  for (size_t k = 0; k < own.size(); ++k) {
    const std::string what = "block " + std::to_string(k + 1);
    if (k < count) expect_within(kTerm, losses[k], sums[k] / Tracked(kSteps), what);
    if (k < count && clipped) expect_within(kTerm, norms[k], last[k], what + ", norm of its gradient");
    differ |= k > 0 && k < count && std::fabs(norms[k] - norms[0]) > 0.01 * norms[0];
    squares += last[k] * last[k];
    if (k < parts) total += sums[k] / Tracked(kSteps);
    parameters.insert(parameters.end(), own[k].begin(), own[k].end());
  }
  total += p.settings.loss.kl_z0 * divergence / Tracked(kSteps);
  if (p.settings.loss.kl_z0 > 0)
    expect_within(kTerm, metrics.kl_z0, divergence / Tracked(kSteps), "divergence of the first states");
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
  const size_t rows = static_cast<size_t>(p.data->rows), d = static_cast<size_t>(p.latent);
  const size_t width = p.data->reference.z1[0].size();
  std::vector<Vector<Tracked>> blocks;
  for (const auto &block : p.blocks) blocks.push_back(tracked(block));
  for (const bool noisy : {false, true}) {
    noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
    snprintf(options.drift, sizeof options.drift, noisy ? "sde" : "ode");
    snprintf(options.init, sizeof options.init, "normal");
    const bool denoise = !noisy && p.classes == 0;
    options.final_denoise = denoise;
    options.seed = 77;
    options.trajectory = true;
    ASSERT_EQ(options.steps, p.settings.dt.blocks);
    const size_t states = static_cast<size_t>(options.steps) + 1;
    std::vector<float> latent(states * rows * d), output(states * rows * width), last(rows * d);
    noprop_device_counters before, after;
    noprop_device_get_counters(device(), &before);
    ASSERT_TRUE(
        ok(noprop_sample(p.model.get(), &options, &p.data->condition, p.data->rows, latent.data(), output.data()),
           "noprop_sample"));
    noprop_device_get_counters(device(), &after);
    EXPECT_EQ(after.launches - before.launches, 1U);
    Vector<Tracked> want(latent.size()), scores(p.classes > 0 ? output.size() : 0);
    for (size_t row = 0; row < rows; ++row) {
      const auto start =
          reference::normals<Tracked>(77, reference::kStart, static_cast<uint32_t>(row), 0, static_cast<long>(d));
      const auto noise = [&](int step) {
        return reference::normals<Tracked>(77, reference::kSde, static_cast<uint32_t>(row), static_cast<uint32_t>(step),
                                           static_cast<long>(d));
      };
      const auto path =
          reference::bridge_solve<Tracked>(p.network, blocks, p.levels, start, p.data->reference.x[row],
                                           noisy ? noise : std::function<Vector<Tracked>(int)>(), denoise);
      for (size_t s = 0; s < states; ++s)
        for (size_t j = 0; j < d; ++j) want[(s * rows + row) * d + j] = path[s][j];
      for (size_t s = 0; s < states && p.classes > 0; ++s) {
        const auto probabilities = reference::probabilities_of(tracked(p.classifier), p.classes, path[s]);
        for (size_t j = 0; j < width; ++j) scores[(s * rows + row) * width + j] = probabilities[j];
      }
    }
    expect_within(kSolve, latent, want, noisy ? "with noise" : "mean");
    if (p.classes > 0) expect_within(kSolve, output, scores, "probabilities");
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
std::vector<double> run(size_t number, const char *blocks, unsigned *launches) {
  if (blocks)
    setenv("NOPROP_DT_BLOCKS", blocks, 1);
  else
    unsetenv("NOPROP_DT_BLOCKS");
  const Prepared p = prepare(number);
  EXPECT_TRUE(p.model);
  std::vector<double> all;
  if (!p.model) return all;
  EXPECT_TRUE(ok(noprop_model_bind(p.model.get(), &p.data->condition, &p.data->target, 33), "noprop_model_bind"));
  noprop_device_counters before, after;
  noprop_device_get_counters(device(), &before);
  EXPECT_TRUE(ok(noprop_model_train_step(p.model.get(), 4), "noprop_model_train_step"));
  noprop_device_get_counters(device(), &after);
  *launches = static_cast<unsigned>(after.launches - before.launches);
  std::vector<double> losses(p.blocks.size()), norms(p.blocks.size());
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
  /* Three blocks and a classifier; two, a classifier and learned embeddings. */
  for (const auto &[number, parts] : {std::pair<size_t, unsigned>{0, 4}, {kLearned, 3}}) {
    unsigned together, apart, pairs;
    const std::vector<double> all = run(number, nullptr, &together), single = run(number, "1", &apart),
                              two = run(number, "2", &pairs);
    EXPECT_EQ(together, 4U * 3);
    EXPECT_EQ(pairs, 4U * 6);
    EXPECT_EQ(apart, 4U * 3 * parts);
    EXPECT_TRUE(all == single) << "one block at a time";
    EXPECT_TRUE(all == two) << "two at a time";
  }
}

/* Fixed vectors: orthonormal, the same for the same seed; and learned ones as they start. */
TEST(BlocksOfDt, EmbeddingsAreOrthonormal) {
  const Prepared p = prepare(0); /* for its data: 5 classes */
  ASSERT_TRUE(p.data);
  std::vector<std::vector<float>> drawn;
  for (const char *seed : {"5", "5", "6"}) {
    Keys keys = kCases[0].keys;
    keys.insert(keys.end(), {{"latent.embedding", "orthonormal"}, {"latent.size", "7"}, {"seed", seed}});
    const Model model = create_model(keys, p.data->shape);
    ASSERT_TRUE(model);
    ASSERT_TRUE(set_statistics(model.get(), *p.data));
    const size_t rows = 70, d = 7;
    std::vector<float> noise(rows * d), z(rows * d), vectors(5 * d);
    noprop_loss_request request = request_of(*p.data, 1);
    noprop_loss_terms terms;
    request.noise = noise.data();
    request.z = z.data();
    request.block = 3;
    ASSERT_TRUE(ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss"));
    const double a = std::sqrt(p.levels[2].alpha_bar);
    for (size_t i = 0; i < rows; ++i)
      for (size_t j = 0; j < d; ++j)
        vectors[static_cast<size_t>(p.data->y_labels[i]) * d + j] = static_cast<float>(z[i * d + j] / a);
    for (size_t u = 0; u < 5; ++u)
      for (size_t v = 0; v < 5; ++v) {
        double dot = 0;
        for (size_t j = 0; j < d; ++j) dot += static_cast<double>(vectors[u * d + j]) * vectors[v * d + j];
        EXPECT_NEAR(dot, u == v, 1e-6) << u << " " << v;
      }
    drawn.push_back(vectors);
  }
  EXPECT_EQ(drawn[0], drawn[1]);
  EXPECT_NE(drawn[0], drawn[2]);

  const Model learned = create_model(engine_keys(kLearned), prepare(kLearned).data->shape);
  ASSERT_TRUE(learned);
  const std::vector<float> start = parameters_of(learned.get());
  for (size_t u = 0; u < 6; ++u) {
    double squares = 0, dot = 0;
    for (size_t j = 0; j < 3; ++j) {
      const float *vector = &start[start.size() - 18];
      squares += static_cast<double>(vector[u * 3 + j]) * vector[u * 3 + j];
      dot += static_cast<double>(vector[j]) * vector[3 + j];
    }
    EXPECT_NEAR(squares, 1, 1e-6);
    EXPECT_NEAR(dot, 0, 1e-6);
  }
  Keys narrow = kCases[0].keys;
  narrow.insert(narrow.end(), {{"latent.embedding", "orthonormal"}, {"latent.size", "4"}});
  noprop_config *config = nullptr;
  ASSERT_TRUE(ok(noprop_config_create(&config), "noprop_config_create"));
  for (const auto &[key, value] : narrow) noprop_config_set(config, key.c_str(), value.c_str());
  noprop_model *none = nullptr;
  EXPECT_EQ(noprop_model_create(device(), config, &p.data->shape, &none), NOPROP_INVALID_CONFIG);
  EXPECT_NE(std::string(noprop_last_error()).find("has no room for 5 orthonormal vectors"), std::string::npos);
  noprop_config_destroy(config);
}

/* Of each class the row with the smallest median distance to the others, found here by hand; kept by model files. */
TEST(BlocksOfDt, PrototypesAreTheMiddleRowsOfTheirClasses) {
  const Prepared p = prepare(0);
  ASSERT_TRUE(p.data);
  Keys keys = kCases[0].keys;
  keys.emplace_back("latent.embedding", "prototype");
  const Model model = create_model(keys, p.data->shape);
  ASSERT_TRUE(model);
  ASSERT_TRUE(set_statistics(model.get(), *p.data));
  const size_t rows = 70, d = 11;
  EXPECT_EQ(noprop_model_latent_size(model.get()), 11);
  std::vector<float> noise(rows * d), z(rows * d);
  noprop_loss_request request = request_of(*p.data, 1);
  noprop_loss_terms terms;
  request.noise = noise.data();
  request.z = z.data();
  request.block = 3;
  EXPECT_EQ(noprop_model_loss(model.get(), &request, &terms), NOPROP_INVALID_ARGUMENT);
  EXPECT_NE(std::string(noprop_last_error()).find("call noprop_model_bind first"), std::string::npos);
  ASSERT_TRUE(ok(noprop_model_bind(model.get(), &p.data->condition, &p.data->target, 33), "noprop_model_bind"));
  ASSERT_TRUE(ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss"));
  for (int label = 0; label < 5; ++label) {
    std::vector<size_t> members;
    for (size_t i = 0; i < rows; ++i)
      if (p.data->y_labels[i] == label) members.push_back(i);
    ASSERT_GT(members.size(), 2U);
    double least = 1e300;
    size_t middle = 0;
    for (const size_t i : members) {
      std::vector<double> distances;
      for (const size_t j : members) {
        double sum = 0;
        for (size_t k = 0; k < d; ++k)
          sum += std::pow(p.data->reference.x[i][k].value - p.data->reference.x[j][k].value, 2);
        if (j != i) distances.push_back(std::sqrt(sum));
      }
      std::sort(distances.begin(), distances.end());
      const double median = distances[(distances.size() - 1) / 2];
      if (median < least) least = median, middle = i;
    }
    const double a = std::sqrt(p.levels[2].alpha_bar);
    for (const size_t i : members)
      for (size_t k = 0; k < d; ++k)
        ASSERT_NEAR(z[i * d + k] / a, p.data->reference.x[middle][k].value, 1e-5) << "class " << label;
  }
  const std::string file = testing::TempDir() + "/prototypes.h5";
  ASSERT_TRUE(ok(noprop_model_save(model.get(), file.c_str()), "noprop_model_save"));
  noprop_model *loaded = nullptr;
  ASSERT_TRUE(ok(noprop_model_load(device(), file.c_str(), &loaded), "noprop_model_load"));
  std::vector<float> again(rows * d);
  request.z = again.data();
  ASSERT_TRUE(ok(noprop_model_loss(loaded, &request, &terms), "noprop_model_loss"));
  EXPECT_EQ(again, z);
  noprop_model_destroy(loaded);
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
  has(refusal([](auto &o) { o.final_denoise = 1; }), "the classifier of variant dt reads the last state");
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
