/* Conditions that are images: the convolutional branch inside losses, gradients, training steps and solves against the
 * reference, with images of odd sizes and channels that fill a warp or do not. */
#include "tests/reference/branch.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "tests/kernels/branch_frame.h"

namespace {

using namespace kernels_test;
using reference::Batch;
using reference::Branch;
using reference::BranchTrace;
using reference::Loss;
using Prepared = BranchModel<Branch>;

/* 9 and 5 are odd: pools leave a row or a column out; rows divide into parts of 5, 4 and 3 pixels. */
constexpr int kChannels = 3, kHeight = 9, kWidth = 10, kTarget = 4;
constexpr long kRows = 45;

/* Seed 33 of `stride` in bf16: factors that round to the other neighbour turn a sum's sign before a ReLU. */
struct ImageCase {
  const char *variant, *task, *draws, *precision;
  unsigned seed = 31;
  const char *branch = "cnn";
  bool augmented = false;
  bool strided() const { return std::string(branch) == "stride"; } /* resnet with network.branch.downsample stride */
  bool residual() const { return std::string(branch) == "resnet" || strided(); }
};

/* Up to two pixels in each direction: an image of 9 x 10 keeps most of itself. */
constexpr int kShift = 2;

Keys keys_of(const ImageCase &c) { return branch_keys(c.variant, c.task, c.draws, c.precision); }

Prepared prepare(const ImageCase &c) {
  Prepared p;
  Keys keys = keys_of(c);
  p.settings = reference::settings_from(keys);
  const bool bytes = std::string(c.variant) == "ct" || c.residual();
  p.data = make_data(p.settings, bytes ? kByteCondition : kFloatCondition, kChannels * kHeight * kWidth, kTarget, kRows,
                     c.seed);
  p.data->shape.condition_shape[0] = kChannels;
  p.data->shape.condition_shape[1] = kHeight;
  p.data->shape.condition_shape[2] = kWidth;
  using List = std::vector<long>; /* strided images are 9 x 10, 5 x 5 and 3 x 3 */
  if (c.residual())
    p.branch = reference::make_residual_branch(kChannels, kHeight, kWidth, c.strided() ? List{24, 8, 40} : List{40, 24},
                                               c.strided() ? List{0, 2, 1} : List{1, 2}, 4, c.strided());
  else
    p.branch = reference::make_branch(kChannels, kHeight, kWidth, {32, 40, 24});
  p.head = reference::make_network(p.settings, p.branch.features(), kTarget);
  std::swap(p.branch.operand_bits, p.head.operand_bits); /* what follows the branch is fp32 */
  const char *const list = c.strided() ? "[24, 8, 40]" : c.residual() ? "[40, 24]" : "[32, 40, 24]";
  keys.insert(keys.end(),
              {{"network.branch.type", c.residual() ? "resnet" : c.branch}, {"network.branch.channels", list}});
  if (c.strided()) keys.emplace_back("network.branch.downsample", "stride");
  if (c.residual())
    keys.insert(keys.end(),
                {{"network.branch.blocks", c.strided() ? "[0, 2, 1]" : "[1, 2]"}, {"network.branch.groups", "4"}});
  if (c.augmented)
    keys.insert(keys.end(), {{"data.augment.shift", std::to_string(kShift)}, {"data.augment.flip", "true"}});
  create_branch_model(p, keys, 1.6);
  return p;
}

/* What the configuration's augmentation makes of row `row` where `number` is its number among the step's rows:
 * mirrored, then moved down and to the right, zeros before standardisation in the place it leaves. */
Vector<Tracked> augmented(const Prepared &p, size_t row, uint32_t number, uint32_t step) {
  const auto words = reference::draw(p.settings.seed, reference::kAugmentation, 0, number, step);
  const auto moves = [](uint32_t word) {
    return static_cast<long>((uint64_t{word} * (2 * kShift + 1)) >> 32) - kShift;
  };
  const long down = moves(words[0]), right = moves(words[1]), size = kHeight * kWidth;
  const bool mirrored = words[2] >= 1U << 31;
  Vector<Tracked> image;
  for (long i = 0; i < kChannels * size; ++i) {
    const long y = i % size / kWidth - down, moved = i % kWidth - right, x = mirrored ? kWidth - 1 - moved : moved;
    const auto at = static_cast<size_t>(i), from = static_cast<size_t>(i / size * size + y * kWidth + x);
    const Tracked scale = Tracked(1) / Tracked(static_cast<double>(p.data->x_std[at]));
    double raw = 0;
    if (y >= 0 && y < kHeight && moved >= 0 && moved < kWidth)
      raw = p.data->x_bytes.empty() ? static_cast<double>(p.data->x_float[row * kChannels * size + from])
                                    : p.data->x_bytes[row * kChannels * size + from];
    image.push_back(Tracked(raw) * scale + Tracked(-static_cast<double>(p.data->x_mean[at])) * scale);
  }
  return image;
}

/* The batch's images through the branch: `batch` has features in their place. */
std::vector<BranchTrace<Tracked>> make_features(const Prepared &p, const Vector<Tracked> &block,
                                                Batch<Tracked> &batch) {
  std::vector<BranchTrace<Tracked>> traces;
  for (auto &x : batch.x) {
    traces.push_back(branch_forward(p.branch, block, x));
    x = traces.back().features;
  }
  return traces;
}

/* The gradient of branch and head. */
Vector<Tracked> whole_gradient(const Prepared &p, const Vector<Tracked> &block,
                               const std::vector<BranchTrace<Tracked>> &traces, const Loss<Tracked> &loss) {
  return branch_gradient(p, block, traces, loss, [](auto &&...all) { branch_backward(all...); });
}

/* Against the exact gradient of `branch` the error is at most twice that of the plain computation in this precision, in
 * which factors of products are rounded and nothing else is. */
void expect_twice_at_most(const Prepared &p, const std::vector<float> &got, const Vector<Tracked> &plain) {
  Prepared exact;
  exact.settings = p.settings, exact.branch = p.branch, exact.head = p.head;
  exact.branch.operand_bits = 0;
  Batch<Tracked> batch = whole_batch(p);
  exact.block = p.block, exact.parameters = p.parameters;
  const auto traces = make_features(exact, block_of(exact, 0), batch);
  draw_batch(exact.settings, exact.head, 3, false, batch);
  const auto truth = whole_gradient(exact, block_of(exact, 0), traces,
                                    batch_loss(exact.settings, exact.head, head_of(exact, block_of(exact, 0)), batch));
  double ours = 0, theirs = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    ours += std::pow(got[i] - truth[i].value, 2);
    theirs += std::pow(plain[i].value - truth[i].value, 2);
  }
  EXPECT_GT(theirs, 0);
  EXPECT_LE(std::sqrt(ours), 2 * std::sqrt(theirs));
  std::printf("[  error   ] %.2f times that of rounded factors\n", std::sqrt(ours / theirs));
}

class ImageCondition : public testing::TestWithParam<ImageCase> {};
INSTANTIATE_TEST_SUITE_P(Variants, ImageCondition,
                         testing::Values(ImageCase{"ct", "classify", "2", "fp32"},
                                         ImageCase{"supervised", "regress", "1", "fp32", 31, "cnn", true},
                                         ImageCase{"supervised", "regress", "1", "tf32"},
                                         ImageCase{"ct", "classify", "2", "bf16"},
                                         ImageCase{"ct", "classify", "2", "fp32", 31, "resnet", true},
                                         ImageCase{"ct", "classify", "2", "tf32", 31, "resnet"},
                                         ImageCase{"ct", "classify", "2", "fp32", 31, "stride"},
                                         ImageCase{"ct", "classify", "2", "tf32", 31, "stride"}));
INSTANTIATE_TEST_SUITE_P(Unchecked, ImageCondition, /* in mode `check`: the accesses are those of tf32 */
                         testing::Values(ImageCase{"ct", "classify", "2", "bf16", 31, "resnet"},
                                         ImageCase{"ct", "classify", "2", "bf16", 33, "stride"}));

TEST_P(ImageCondition, LossAndGradientOfAllLayersMeetTheReference) {
  const Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  Batch<Tracked> batch = whole_batch(p);
  const auto traces = make_features(p, block_of(p, 0), batch);
  draw_batch(p.settings, p.head, 3, false, batch);
  const auto want = batch_loss(p.settings, p.head, head_of(p, block_of(p, 0)), batch);
  const Vector<Tracked> all = whole_gradient(p, block_of(p, 0), traces, want);
  const EngineLoss got = engine_loss(p);
  expect_loss(p, got, want, all);
  if (p.branch.operand_bits) expect_twice_at_most(p, got.gradient, all);
}

/* Rows in the epoch's order, a last batch of 13 rows, sums over slots, the update: two steps from the seed. */
TEST_P(ImageCondition, TrainingStepsMeetTheReference) {
  Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  ASSERT_TRUE(ok(noprop_model_bind(p.model.get(), &p.data->condition, &p.data->target, 32), "bind"));
  for (int64_t step = 0; step < 2; ++step) { /* each from the numbers that the one before left */
    const std::vector<float> start = parameters_of(p.model.get());
    Vector<Tracked> block = tracked(start);
    noprop_device_counters before, after;
    noprop_device_get_counters(device(), &before);
    ASSERT_TRUE(ok(noprop_model_train_step(p.model.get(), 1), "train"));
    noprop_device_get_counters(device(), &after);
    const unsigned packing = std::string(GetParam().precision) == "fp32" ? 0 : 1;
    EXPECT_EQ(after.launches - before.launches,
              GetParam().residual() ? packing + 1 + 1 + 1 + 1 + 1U : 3 + 1 + 2 + 1 + 1U)
        << "cnn: 2 per convolution and 2; resnet: 5, and one that packs weights for tensor cores";
    reference::Rows<Tracked> rows = p.data->reference;
    const long position = step * 32;
    for (long i = 0; GetParam().augmented && i < 32 && position + i < kRows; ++i) {
      const auto row = static_cast<size_t>(reference::row_at(p.settings.seed, kRows, 0, position + i));
      rows.x[row] = augmented(p, row, static_cast<uint32_t>(i), static_cast<uint32_t>(step));
    }
    Batch<Tracked> batch = training_batch(p.settings, p.head, rows, 32, step);
    const auto traces = make_features(p, block, batch);
    const auto loss = batch_loss(p.settings, p.head, head_of(p, block), batch);
    const Vector<Tracked> gradient = whole_gradient(p, block, traces, loss);
    for (size_t i = 0; i < block.size(); ++i) block[i] -= gradient[i];
    expect_within(kParameters, parameters_of(p.model.get()), block, "parameters", &start);
  }
}

/* Each block has a branch of its own. */
class ImageConditionOfBlocks : public testing::TestWithParam<ImageCase> {};
INSTANTIATE_TEST_SUITE_P(Branches, ImageConditionOfBlocks,
                         testing::Values(ImageCase{"dt", "regress", "2", "fp32"},
                                         ImageCase{"dt", "regress", "2", "fp32", 31, "resnet", true}));
TEST_P(ImageConditionOfBlocks, GradientsMeetTheReference) {
  const Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  expect_gradients_of_blocks(
      p, 2, [&](const auto &block, auto &batch) { return make_features(p, block, batch); },
      [&](const auto &...all) { return whole_gradient(p, all...); });
}

/* The same head, given the reference's features as a vector, says what a solve from images must come to; the branch's
 * launches do not grow with the steps. */
class ImageConditionSolve : public testing::TestWithParam<ImageCase> {};
INSTANTIATE_TEST_SUITE_P(Branches, ImageConditionSolve,
                         testing::Values(ImageCase{"ct", "classify", "2", "fp32"},
                                         ImageCase{"ct", "classify", "2", "fp32", 31, "resnet", true}));
TEST_P(ImageConditionSolve, IsThatOfTheHeadOnFeaturesAndRunsTheBranchOnce) {
  const ImageCase c = GetParam();
  const Prepared p = prepare(c);
  ASSERT_TRUE(p.model);
  std::vector<float> features;
  for (const auto &x : p.data->reference.x)
    for (const Tracked &f : branch_forward(p.branch, block_of(p, 0), x).features)
      features.push_back(static_cast<float>(f.value));
  noprop_model_shape shape = p.data->shape;
  shape.condition_type = NOPROP_TYPE_FLOAT32;
  shape.condition_width = static_cast<int>(p.branch.features());
  shape.condition_shape[0] = shape.condition_shape[1] = shape.condition_shape[2] = 0;
  const Model plain = create_model(keys_of(c), shape);
  ASSERT_TRUE(plain);
  ASSERT_TRUE(set_parameters(plain.get(), p.head, {p.parameters.begin() + p.branch.parameters, p.parameters.end()}));
  noprop_array x = {};
  x.name = "x", x.type = NOPROP_TYPE_FLOAT32, x.rows = x.shape[0] = kRows, x.rank = 2;
  x.width = x.shape[1] = p.branch.features(), x.values = features.data();
  noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
  unsigned long launches[2];
  for (int long_one = 0; long_one < 2; ++long_one) {
    options.steps = long_one ? 20 : 2;
    std::vector<float> got(static_cast<size_t>(kRows * kTarget)), want(got.size());
    noprop_device_counters before, after;
    noprop_device_get_counters(device(), &before);
    ASSERT_TRUE(ok(noprop_sample(p.model.get(), &options, &p.data->condition, kRows, got.data(), nullptr), "sample"));
    noprop_device_get_counters(device(), &after);
    launches[long_one] = static_cast<unsigned long>(after.launches - before.launches);
    ASSERT_TRUE(ok(noprop_sample(plain.get(), &options, &x, kRows, want.data(), nullptr), "sample"));
    double spread = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], want[i], 2e-5 * (1 + std::fabs(want[i]))) << i;
      spread = std::fmax(spread, std::fabs(want[i] - want[i % kTarget]));
    }
    EXPECT_GT(spread, 0.05) << "rows must differ, or features do not matter";
  }
  EXPECT_EQ(launches[0], (c.residual() ? 1U : 3U) + 1U);
  EXPECT_EQ(launches[1], launches[0]);
}

TEST(ImageConditionRefusals, SayWhatIsAllowed) {
  const ImageCase c{"ct", "classify", "1", "fp32"};
  noprop_config *config = nullptr;
  ASSERT_TRUE(ok(noprop_config_create(&config), "config"));
  const auto refused = [&](const Keys &keys, int channels, int height, int width) {
    Keys all = keys_of(c);
    all.insert(all.end(), keys.begin(), keys.end());
    for (const auto &[key, value] : all) EXPECT_EQ(noprop_config_set(config, key.c_str(), value.c_str()), NOPROP_OK);
    noprop_model_shape shape = {};
    shape.condition_width = channels > 0 ? channels * height * width : 6;
    shape.target_type = NOPROP_TYPE_INT32, shape.target_width = 4, shape.target_is_label = true;
    shape.condition_shape[0] = channels, shape.condition_shape[1] = height, shape.condition_shape[2] = width;
    noprop_model *model = nullptr;
    EXPECT_NE(noprop_model_create(device(), config, &shape, &model), NOPROP_OK);
    noprop_model_destroy(model);
    return std::string(noprop_last_error());
  };
  EXPECT_NE(refused({{"network.branch.type", "cnn"}}, 0, 0, 0).find("needs images"), std::string::npos);
  EXPECT_NE(refused({}, 5, 4, 4).find("1, 2 or 3 channels or a multiple of four"), std::string::npos);
  EXPECT_NE(refused({{"network.branch.channels", "[8, 8, 8, 8]"}}, 1, 4, 5).find("at most 3"), std::string::npos);
  EXPECT_NE(refused({{"network.branch.channels", "[12]"}}, 1, 4, 4).find("multiple of 8"), std::string::npos);
  EXPECT_NE(refused({{"network.branch.channels", "[8]"}, {"precision", "tf32"}}, 1, 4, 4).find("one layer"),
            std::string::npos);
  EXPECT_NE(refused({{"network.branch.channels", "[8, 8]"}, {"precision", "tf32x3"}}, 1, 4, 4).find("branch"),
            std::string::npos);
  EXPECT_NE(
      refused({{"network.branch.type", "resnet"}, {"network.branch.channels", "[8, 8]"}}, 1, 3, 9).find("at most 1"),
      std::string::npos);
  EXPECT_NE(refused({{"network.branch.blocks", "[16, 16]"}}, 1, 8, 8).find("more than 48 convolutions"),
            std::string::npos);
  EXPECT_NE(refused({{"network.branch.groups", "16"}}, 1, 8, 8).find("does not divide 8"), std::string::npos);
  EXPECT_NE(refused({{"network.branch.groups", "8"}, {"network.branch.blocks", "[1, 1, 1]"}}, 1, 8, 8)
                .find("has 3 entries and network.branch.channels 2"),
            std::string::npos);
  EXPECT_NE(refused({{"network.branch.blocks", "[16, 8]"}, {"network.branch.downsample", "stride"}}, 1, 1, 1)
                .find("more than 48 convolutions"),
            std::string::npos)
      << "and of the image, which cannot be halved, nothing";
  EXPECT_NE(refused({{"network.branch.blocks", "[1]"}, {"precision", "tf32x3"}}, 1, 8, 8)
                .find("no kernels for network.branch.type resnet"),
            std::string::npos);
  noprop_config_destroy(config);
}

}  // namespace
