/* Convolutional encoders and decoders of images: latents, errors, gradients of all layers, training steps and decoded
 * solves against the reference; colours, sides that are not equal, a pool that leaves a row out. */
#include "tests/reference/image_coder.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/harness.h"
#include "tests/reference/random.h"

namespace {

using namespace kernels_test;
using reference::Batch;
using reference::ImageCoder;
using reference::ImageTrace;
using reference::Loss;
using reference::Network;

constexpr int kChannels = 3, kHeight = 12, kWidth = 8, kLatent = 16, kClasses = 4;
constexpr long kRows = 45;
constexpr double kVae = 0.5, kLatentNoise = 0.3;

const Keys kFlow = {{"variant", "fm"},
                    {"task", "generate"},
                    {"loss.draws", "2"},
                    {"loss.condition_dropout", "0.25"},
                    {"network.hidden", "[24, 24]"},
                    {"network.activation", "tanh"},
                    {"optimizer.type", "sgd"},
                    {"optimizer.learning_rate", "1"},
                    {"optimizer.weight_decay", "0"},
                    {"optimizer.clip", "0"},
                    {"seed", "3"}};
const Keys kCoder = {{"data.condition", "y"},       {"latent.size", "16"},    {"latent.noise", "0.3"},
                     {"encoder.type", "conv"},      {"decoder.type", "conv"}, {"encoder.hidden", "[8, 16, 40]"},
                     {"decoder.hidden", "[16, 8]"}, {"loss.vae", "0.5"}};

class ImageCoders : public testing::Test {
 protected:
  void SetUp() override {
    settings = reference::settings_from(kFlow);
    data = make_data(settings, kLabelCondition, kClasses, kChannels * kHeight * kWidth, kRows, 41);
    data->shape.target_shape[0] = kChannels;
    data->shape.target_shape[1] = kHeight;
    data->shape.target_shape[2] = kWidth;
    coder = reference::make_image_coder(kChannels, kHeight, kWidth, kLatent, {8, 16, 40}, {16, 8});
    flow = reference::make_network(settings, kClasses, kLatent);
    Network layers;
    layers.arrays = coder.arrays;
    parameters = random_parameters(flow, 5);
    const auto of_coder = random_parameters(layers, 6, 1.6);
    parameters.insert(parameters.end(), of_coder.begin(), of_coder.end());
    Keys keys = kFlow;
    keys.insert(keys.end(), kCoder.begin(), kCoder.end());
    model = create_model(keys, data->shape);
    ASSERT_TRUE(model);
    ASSERT_EQ(noprop_model_parameter_values(model.get()), static_cast<long>(parameters.size()));
    for (size_t i = 0; i < coder.arrays.size(); ++i) {
      const noprop_parameter got = noprop_model_parameter(model.get(), static_cast<int>(flow.arrays.size() + i));
      EXPECT_EQ(got.name, coder.arrays[i].name);
      EXPECT_EQ(got.offset, flow.parameters + coder.arrays[i].offset) << coder.arrays[i].name;
      EXPECT_EQ(got.shape[got.rank - 1], coder.arrays[i].columns) << coder.arrays[i].name;
    }
    ASSERT_TRUE(ok(noprop_model_set_parameters(model.get(), parameters.data()), "noprop_model_set_parameters"));
    ASSERT_TRUE(set_statistics(model.get(), *data));
  }

  Vector<Tracked> of_flow(const std::vector<float> &all) const {
    return tracked({all.begin(), all.begin() + flow.parameters});
  }
  Vector<Tracked> of_coder(const std::vector<float> &all) const {
    return tracked({all.begin() + flow.parameters, all.end()});
  }

  /* Row `row` of the data as number `number` of a step. */
  ImageTrace<Tracked> trace_of(const Vector<Tracked> &of, size_t row, uint32_t number, uint32_t step) const {
    auto noise = reference::normals<Tracked>(settings.seed, reference::kEncoderNoise, number, step, kLatent);
    for (Tracked &n : noise) n = n * Tracked(static_cast<double>(static_cast<float>(kLatentNoise)));
    return image_error(coder, of, data->reference.z1[row], noise);
  }

  /* Loss and gradient of flow and coder; `traces`: of the batch's rows, `rows`: which these are. */
  Vector<Tracked> whole_gradient(const Loss<Tracked> &loss, const Vector<Tracked> &of,
                                 const std::vector<ImageTrace<Tracked>> &traces,
                                 const std::vector<size_t> &rows) const {
    Vector<Tracked> gradient(static_cast<size_t>(coder.parameters), 0.0), all = loss.gradient;
    for (size_t i = 0; i < traces.size(); ++i)
      image_backward(coder, of, data->reference.z1[rows[i]], traces[i], kVae / static_cast<double>(traces.size()),
                     gradient);
    all.insert(all.end(), gradient.begin(), gradient.end());
    return all;
  }

  Settings settings;
  std::unique_ptr<Data> data;
  ImageCoder coder;
  Network flow;
  std::vector<float> parameters;
  Model model;
};

TEST_F(ImageCoders, LatentsTermsAndGradientsOfAllLayersMeetTheReference) {
  const Vector<Tracked> of = of_coder(parameters);
  std::vector<ImageTrace<Tracked>> traces;
  std::vector<size_t> rows;
  Batch<Tracked> batch;
  batch.x = data->reference.x;
  Tracked vae = 0.0;
  for (size_t i = 0; i < kRows; ++i) {
    traces.push_back(trace_of(of, i, static_cast<uint32_t>(i), 3));
    rows.push_back(i);
    batch.z1.push_back(traces.back().latent);
    vae += traces.back().error / static_cast<double>(kRows);
  }
  draw_batch(settings, flow, 3, false, batch);
  const auto want = batch_loss(settings, flow, of_flow(parameters), batch);
  Vector<Tracked> row_total = want.row_total;
  for (size_t i = 0; i < kRows; ++i) row_total[i] += traces[i].error * Tracked(kVae);
  for (const bool gradients : {true, false}) {
    std::vector<float> gradient(parameters.size()), latent(static_cast<size_t>(kRows * kLatent)), row_loss(kRows);
    noprop_loss_request request = {};
    request.rows = kRows;
    request.condition = data->condition.values;
    request.target = data->target.values;
    request.step = 3;
    request.gradient = gradients ? gradient.data() : nullptr;
    request.latent = latent.data();
    request.row_loss = row_loss.data();
    noprop_loss_terms terms;
    ASSERT_TRUE(ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss"));
    expect_within(kPrediction, latent, flat(batch.z1), "latent");
    expect_within(kTerm, terms.vae, vae, "vae");
    if (!gradients) continue; /* a row may then be trained with its condition: another flow */
    expect_within(kTerm, terms.flow, want.flow, "flow");
    expect_within(kTerm, terms.loss, want.total + vae * Tracked(kVae), "loss");
    expect_within(kRowLoss, row_loss, row_total, "row_loss");
    const Vector<Tracked> all = whole_gradient(want, of, traces, rows);
    for (const reference::Array &array : coder.arrays) {
      const auto first = flow.parameters + array.offset;
      expect_within(kGradient, {gradient.begin() + first, gradient.begin() + first + array.size()},
                    {all.begin() + first, all.begin() + first + array.size()}, array.name);
    }
    expect_within(kGradient, gradient, all, "gradient");
  }
}

/* Rows in the epoch's order, a last batch of 13 rows, sums over slots, the update: two steps from the seed. */
TEST_F(ImageCoders, TrainingStepsMeetTheReference) {
  ASSERT_TRUE(ok(noprop_model_bind(model.get(), &data->condition, &data->target, 32), "bind"));
  for (int64_t step = 0; step < 2; ++step) {
    const std::vector<float> start = parameters_of(model.get());
    noprop_device_counters before, after;
    noprop_device_get_counters(device(), &before);
    ASSERT_TRUE(ok(noprop_model_train_step(model.get(), 1), "train"));
    noprop_device_get_counters(device(), &after);
    EXPECT_EQ(after.launches - before.launches, 6u) << "encode, decode, flow, backward, gradients, update";
    const Vector<Tracked> of = of_coder(start);
    reference::Rows<Tracked> latents = data->reference;
    std::vector<ImageTrace<Tracked>> traces;
    std::vector<size_t> rows;
    for (auto &z1 : latents.z1) z1.assign(kLatent, 0.0);
    for (long i = 0; i < 32 && step * 32 + i < kRows; ++i) {
      rows.push_back(static_cast<size_t>(reference::row_at(settings.seed, kRows, 0, step * 32 + i)));
      traces.push_back(trace_of(of, rows.back(), static_cast<uint32_t>(i), static_cast<uint32_t>(step)));
      latents.z1[rows.back()] = traces.back().latent;
    }
    const auto batch = training_batch(settings, flow, latents, 32, step);
    const auto gradient = whole_gradient(batch_loss(settings, flow, of_flow(start), batch), of, traces, rows);
    Vector<Tracked> want = tracked(start);
    for (size_t i = 0; i < want.size(); ++i) want[i] -= gradient[i];
    expect_within(kParameters, parameters_of(model.get()), want, "parameters", &start);
  }
}

/* What a solve gives is what the decoder makes of its latents, in the data's units, by one launch more. */
TEST_F(ImageCoders, SolvesAreDecodedInOneLaunch) {
  noprop_sampler_options options = noprop_sampler_options_default(model.get());
  options.steps = 2;
  std::vector<float> latent(static_cast<size_t>(kRows * kLatent)),
      image(static_cast<size_t>(kRows) * kChannels * kHeight * kWidth);
  noprop_device_counters before, after;
  noprop_device_get_counters(device(), &before);
  ASSERT_TRUE(ok(noprop_sample(model.get(), &options, &data->condition, kRows, latent.data(), image.data()), "sample"));
  noprop_device_get_counters(device(), &after);
  EXPECT_EQ(after.launches - before.launches, 2u);
  const Vector<Tracked> of = of_coder(parameters);
  Vector<Tracked> want;
  for (size_t row = 0; row < kRows; ++row) {
    ImageTrace<Tracked> trace;
    for (size_t k = 0; k < kLatent; ++k) trace.latent.push_back(static_cast<double>(latent[row * kLatent + k]));
    decode_image(coder, of, Vector<Tracked>(), trace);
    for (size_t i = 0; i < trace.image.size(); ++i)
      want.push_back(trace.image[i] * Tracked(static_cast<double>(data->y_std[i])) +
                     Tracked(static_cast<double>(data->y_mean[i])));
  }
  expect_within(kSolve, image, want, "images");
}

TEST_F(ImageCoders, RefuseImagesThatLayersDoNotFit) {
  const auto refusal = [&](const Keys &keys, int channels, int height, int width) {
    Keys all = kFlow;
    all.insert(all.end(), kCoder.begin(), kCoder.end());
    all.insert(all.end(), keys.begin(), keys.end());
    noprop_config *config = nullptr;
    EXPECT_TRUE(ok(noprop_config_create(&config), "config"));
    for (const auto &[key, value] : all) EXPECT_EQ(noprop_config_set(config, key.c_str(), value.c_str()), NOPROP_OK);
    noprop_model_shape shape = data->shape;
    shape.target_width = channels > 0 ? channels * height * width : 64;
    shape.target_shape[0] = channels, shape.target_shape[1] = height, shape.target_shape[2] = width;
    noprop_model *made = nullptr;
    EXPECT_NE(noprop_model_create(device(), config, &shape, &made), NOPROP_OK);
    noprop_model_destroy(made);
    noprop_config_destroy(config);
    return std::string(noprop_last_error());
  };
  const auto says = [](const std::string &sentence, const char *part) {
    EXPECT_NE(sentence.find(part), std::string::npos) << sentence;
  };
  says(refusal({}, 0, 0, 0), "needs images as target");
  says(refusal({}, 5, 8, 8), "1, 2 or 3 channels or a multiple of four");
  says(refusal({}, 1, 10, 8), "are not multiples of 4");
  says(refusal({}, 1, 4, 8), "encoder.hidden: 3 layers halve");
  says(refusal({{"encoder.hidden", "[12]"}}, 1, 8, 8), "encoder.hidden: 12 is not a multiple of 8");
  says(refusal({{"latent.size", "12"}}, 1, 8, 8), "latent.size: 12 is not a multiple of 8");
}

}  // namespace
