/* Conditions that are sequences: the transformer inside losses, gradients, training steps and solves against the
 * reference, which leaves out what is padding: here padding is full of numbers that are none. */
#include "tests/reference/transformer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/branch_frame.h"

namespace {

using namespace kernels_test;
using reference::Batch;
using reference::Loss;
using reference::Transformer;
using reference::TransformerTrace;

constexpr int kTarget = 4;
constexpr long kRows = 23;

struct SequenceCase {
  const char *variant, *draws, *positions, *activation;
  int length, channels, width, heads, feed, layers;
  bool masked;
};

/* 8 tokens fill no warp of attention and no tile; 34 take two warps for a head's queries. */
const SequenceCase kRotary = {"ct", "2", "rotary", "gelu", 7, 3, 32, 4, 64, 2, true};
const SequenceCase kLong = {"fm", "1", "sinusoidal", "swish", 33, 3, 32, 2, 32, 3, false};
const SequenceCase kSingle = {"supervised", "1", "rotary", "gelu", 1, 2, 32, 1, 32, 1, true};

Keys keys_of(const SequenceCase &c) { return branch_keys(c.variant, "regress", c.draws, "fp32"); }

struct Prepared : BranchModel<Transformer> {
  std::vector<std::vector<bool>> there; /* [row][position] */
};

/* Which positions of a row are there: beginnings of any length, none among them, and one with a gap. */
bool is_there(const SequenceCase &c, long row, int position) {
  if (!c.masked) return true;
  if (row % 5 == 4) return position != 1;
  return position < static_cast<int>(row) % (c.length + 1);
}

Prepared prepare(const SequenceCase &c) {
  Prepared p;
  Keys keys = keys_of(c);
  p.settings = reference::settings_from(keys);
  const int numbers = c.channels + c.masked;
  p.data = make_data(p.settings, kFloatCondition, c.length * numbers, kTarget, kRows, 31);
  p.data->shape.condition_shape[0] = 1;
  p.data->shape.condition_shape[1] = c.length;
  p.data->shape.condition_shape[2] = numbers;
  for (long row = 0; row < kRows; ++row) {
    p.there.emplace_back();
    for (int i = 0; i < c.length; ++i) {
      p.there.back().push_back(is_there(c, row, i));
      float *values = &p.data->x_float[static_cast<size_t>((row * c.length + i) * numbers)];
      if (c.masked) values[c.channels] = is_there(c, row, i) ? 1.0f : 0.0f;
      for (int k = 0; k < c.channels && !is_there(c, row, i); ++k) values[k] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  p.branch = reference::make_transformer(c.channels, c.width, c.heads, c.feed, c.layers,
                                         std::string(c.positions) == "rotary", c.activation);
  p.head = reference::make_network(p.settings, c.width, kTarget);
  keys.insert(keys.end(), {{"network.branch.type", "transformer"},
                           {"network.branch.width", std::to_string(c.width)},
                           {"network.branch.heads", std::to_string(c.heads)},
                           {"network.branch.layers", std::to_string(c.layers)},
                           {"network.branch.feed_forward", std::to_string(c.feed)},
                           {"network.branch.positions", c.positions},
                           {"network.branch.activation", c.activation},
                           {"network.branch.masked", c.masked ? "true" : "false"}});
  create_branch_model(p, keys, 1.2);
  return p;
}

/* Rows of the batch are told apart by their first numbers: which of the data's rows it is. */
size_t row_of(const Prepared &p, const Vector<Tracked> &x) {
  for (size_t i = 0; i < p.data->reference.x.size(); ++i)
    if (x.back().value == p.data->reference.x[i].back().value && x[0].value == p.data->reference.x[i][0].value)
      return i;
  ADD_FAILURE() << "a row of the batch is none of the data's";
  return 0;
}

/* The batch's sequences through the branch: `batch` has features in their place. `rows`: which of the data's. */
std::vector<TransformerTrace<Tracked>> make_features(const Prepared &p, const Vector<Tracked> &block,
                                                     Batch<Tracked> &batch, const std::vector<size_t> &rows) {
  std::vector<TransformerTrace<Tracked>> traces;
  const size_t length = p.there[0].size(), numbers = p.data->reference.x[0].size() / length;
  for (size_t i = 0; i < batch.x.size(); ++i) {
    reference::Tokens<Tracked> positions;
    for (size_t k = 0; k < length; ++k)
      positions.emplace_back(batch.x[i].begin() + static_cast<long>(k * numbers),
                             batch.x[i].begin() + static_cast<long>(k * numbers) + p.branch.channels);
    traces.push_back(transformer_forward(p.branch, block, positions, p.there[rows[i]]));
    batch.x[i] = traces.back().features;
  }
  return traces;
}

Vector<Tracked> whole_gradient(const Prepared &p, const Vector<Tracked> &block,
                               const std::vector<TransformerTrace<Tracked>> &traces, const Loss<Tracked> &loss) {
  return branch_gradient(p, block, traces, loss, [](auto &&...all) { transformer_backward(all...); });
}

std::vector<size_t> all_rows() {
  std::vector<size_t> rows;
  for (size_t i = 0; i < kRows; ++i) rows.push_back(i);
  return rows;
}

class SequenceCondition : public testing::TestWithParam<SequenceCase> {};
INSTANTIATE_TEST_SUITE_P(Shapes, SequenceCondition, testing::Values(kRotary, kLong, kSingle));

TEST_P(SequenceCondition, LossAndGradientOfAllLayersMeetTheReference) {
  const Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  Batch<Tracked> batch = whole_batch(p);
  const auto traces = make_features(p, block_of(p, 0), batch, all_rows());
  draw_batch(p.settings, p.head, 3, false, batch);
  const auto want = batch_loss(p.settings, p.head, head_of(p, block_of(p, 0)), batch);
  expect_loss(p, engine_loss(p), want, whole_gradient(p, block_of(p, 0), traces, want));
}

/* Rows in the epoch's order, sums over slots, the update: from the seed; and the same bits once more. */
TEST(SequenceConditionTraining, StepsMeetTheReferenceAndRepeatTheirBits) {
  const Prepared p = prepare(kRotary), again = prepare(kRotary);
  ASSERT_TRUE(p.model && again.model);
  const int batch_rows = 13; /* the epoch's second batch has 10 */
  ASSERT_TRUE(ok(noprop_model_bind(p.model.get(), &p.data->condition, &p.data->target, batch_rows), "bind"));
  ASSERT_TRUE(
      ok(noprop_model_bind(again.model.get(), &again.data->condition, &again.data->target, batch_rows), "bind"));
  ASSERT_TRUE(ok(noprop_model_train_step(again.model.get(), 2), "train"));
  for (int64_t step = 0; step < 2; ++step) {
    const std::vector<float> start = parameters_of(p.model.get());
    Vector<Tracked> block = tracked(start);
    noprop_device_counters before, after;
    noprop_device_get_counters(device(), &before);
    ASSERT_TRUE(ok(noprop_model_train_step(p.model.get(), 1), "train"));
    noprop_device_get_counters(device(), &after);
    EXPECT_EQ(after.launches - before.launches, 4 * 2 + 3 + 2U) << "4 for each layer and 5";
    Batch<Tracked> batch = training_batch(p.settings, p.head, p.data->reference, batch_rows, step);
    std::vector<size_t> rows;
    for (const auto &x : batch.x) rows.push_back(row_of(p, x));
    const auto traces = make_features(p, block, batch, rows);
    const auto loss = batch_loss(p.settings, p.head, head_of(p, block), batch);
    const Vector<Tracked> gradient = whole_gradient(p, block, traces, loss);
    for (size_t i = 0; i < block.size(); ++i) block[i] -= gradient[i];
    expect_within(kParameters, parameters_of(p.model.get()), block, "parameters", &start);
  }
  EXPECT_EQ(parameters_of(p.model.get()), parameters_of(again.model.get()));
}

/* Each block of dt has a branch of its own. */
TEST(SequenceConditionOfBlocks, GradientsMeetTheReference) {
  SequenceCase c = kRotary;
  c.variant = "dt";
  const Prepared p = prepare(c);
  ASSERT_TRUE(p.model);
  expect_gradients_of_blocks(
      p, 2, [&](const auto &block, auto &batch) { return make_features(p, block, batch, all_rows()); },
      [&](const auto &...all) { return whole_gradient(p, all...); });
}

/* What padding holds changes no bit, and neither does how much of it there is behind a sequence; launches do not grow
 * with the steps. */
TEST(SequenceConditionSolve, PaddingChangesNoBitAndTheBranchRunsOnce) {
  const Prepared p = prepare(kRotary);
  ASSERT_TRUE(p.model);
  noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
  std::vector<float> got[2], values = p.data->x_float;
  for (float &v : values)
    if (std::isnan(v)) v = 1e30f;
  for (int other = 0; other < 2; ++other) {
    noprop_array x = p.data->condition;
    if (other) x.values = values.data();
    options.steps = 4;
    got[other].resize(static_cast<size_t>(kRows * kTarget));
    noprop_device_counters before, after;
    noprop_device_get_counters(device(), &before);
    ASSERT_TRUE(ok(noprop_sample(p.model.get(), &options, &x, kRows, got[other].data(), nullptr), "sample"));
    noprop_device_get_counters(device(), &after);
    EXPECT_EQ(after.launches - before.launches, 2 * 2 + 1 + 1U);
  }
  EXPECT_EQ(got[0], got[1]);
  double spread = 0;
  for (size_t i = kTarget; i < got[0].size(); ++i) {
    ASSERT_TRUE(std::isfinite(got[0][i]));
    spread = std::fmax(spread, std::fabs(got[0][i] - got[0][i % kTarget]));
  }
  EXPECT_GT(spread, 0.05) << "rows must differ, or features do not matter";
}

TEST(SequenceConditionRefusals, SayWhatIsAllowed) {
  const auto refused = [](const Keys &keys, int sides, int length, int channels) {
    noprop_config *config = nullptr;
    EXPECT_TRUE(ok(noprop_config_create(&config), "config"));
    Keys all = keys_of(kRotary);
    all.push_back({"network.branch.type", "transformer"});
    all.insert(all.end(), keys.begin(), keys.end());
    for (const auto &[key, value] : all) EXPECT_EQ(noprop_config_set(config, key.c_str(), value.c_str()), NOPROP_OK);
    noprop_model_shape shape = {};
    shape.condition_width = sides > 0 ? sides * length * channels : 6;
    shape.target_width = 4;
    shape.condition_shape[0] = sides, shape.condition_shape[1] = length, shape.condition_shape[2] = channels;
    noprop_model *model = nullptr;
    EXPECT_NE(noprop_model_create(device(), config, &shape, &model), NOPROP_OK);
    noprop_model_destroy(model);
    noprop_config_destroy(config);
    return std::string(noprop_last_error());
  };
  const auto has = [](const std::string &sentence, const char *part) {
    EXPECT_NE(sentence.find(part), std::string::npos) << sentence;
  };
  has(refused({}, 0, 0, 0), "needs sequences as condition");
  has(refused({}, 3, 4, 4), "this condition is [rows][3][4][4]");
  has(refused({}, 1, 2000, 1), "up to 1024 positions");
  has(refused({{"network.branch.masked", "true"}}, 1, 5, 1), "need a number beside");
  has(refused(
          {{"network.branch.width", "512"}, {"network.branch.heads", "16"}, {"network.branch.feed_forward", "2048"}}, 1,
          5, 2),
      "do not fit the shared memory");
  has(refused({{"precision", "tf32"}}, 1, 5, 2), "network.branch.type transformer");
}

}  // namespace
