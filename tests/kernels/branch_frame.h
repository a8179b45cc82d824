/* What tests of branches of the condition do alike, whatever the branch is: a model of a branch and a network behind it
 * (of dt: in every block), its loss and gradient by the engine, and the reference's gradient put together. */
#ifndef TESTS_KERNELS_BRANCH_FRAME_H
#define TESTS_KERNELS_BRANCH_FRAME_H

#include <gtest/gtest.h>

#include "tests/kernels/harness.h"
#include "tests/reference/dt.h"
#include "tests/reference/random.h"

namespace kernels_test {

/* B: reference::Branch or reference::Transformer. */
template <typename B>
struct BranchModel {
  Settings settings;
  std::unique_ptr<Data> data;
  B branch;
  reference::Network head; /* behind the features */
  long block = 0;          /* parameters of one block of dt, or of all */
  int blocks = 1;
  std::vector<float> parameters;
  Model model;
};

/* Two hidden layers and plain descent by the gradient. */
inline Keys branch_keys(const char *variant, const char *task, const char *draws, const char *precision) {
  return {{"variant", variant},
          {"task", task},
          {"loss.draws", draws},
          {"network.hidden", "[24, 24]"},
          {"network.activation", "tanh"},
          {"precision", precision},
          {"dt.blocks", "2"},
          {"optimizer.type", "sgd"},
          {"optimizer.learning_rate", "1"},
          {"optimizer.weight_decay", "0"},
          {"optimizer.clip", "0"},
          {"seed", "3"}};
}

/* Creates the model with random parameters, the branch's with `gain`; settings, data, branch and head are there. Checks
 * names, places and shapes of the branch's parameters. Without a model: a failure has been noted. */
template <typename B>
void create_branch_model(BranchModel<B> &p, const Keys &keys, double gain) {
  p.blocks = p.settings.variant == "dt" ? p.settings.dt.blocks : 1;
  p.block = p.branch.parameters + p.head.parameters;
  reference::Network of_branch;
  of_branch.arrays = p.branch.arrays;
  for (int k = 0; k < p.blocks; ++k)
    for (const auto &values : {random_parameters(of_branch, 60 + static_cast<unsigned>(k), gain),
                               random_parameters(p.head, 70 + static_cast<unsigned>(k))})
      p.parameters.insert(p.parameters.end(), values.begin(), values.end());
  p.model = create_model(keys, p.data->shape);
  if (!p.model) return;
  EXPECT_EQ(noprop_model_parameter_values(p.model.get()), static_cast<long>(p.parameters.size()));
  for (size_t i = 0; i < p.branch.arrays.size(); ++i) {
    const reference::Array &array = p.branch.arrays[i];
    const noprop_parameter got = noprop_model_parameter(p.model.get(), static_cast<int>(i));
    EXPECT_EQ(got.name, (p.blocks > 1 ? "block.1." : "") + array.name);
    EXPECT_EQ(got.offset, array.offset) << array.name;
    EXPECT_EQ(got.rank == 1 ? 1 : got.shape[0], array.rows) << array.name;
    EXPECT_EQ(got.shape[got.rank - 1], array.columns) << array.name;
  }
  if (!ok(noprop_model_set_parameters(p.model.get(), p.parameters.data()), "noprop_model_set_parameters") ||
      !set_statistics(p.model.get(), *p.data))
    p.model.reset();
}

/* Block k's parameters: the branch's, then the head's. */
template <typename B>
Vector<Tracked> block_of(const BranchModel<B> &p, int k) {
  const auto first = p.parameters.begin() + k * p.block;
  return tracked({first, first + p.block});
}
template <typename B>
Vector<Tracked> head_of(const BranchModel<B> &p, const Vector<Tracked> &block) {
  return {block.begin() + p.branch.parameters, block.end()};
}

/* The data as a batch; z, times and noise are still to be drawn. */
template <typename B>
reference::Batch<Tracked> whole_batch(const BranchModel<B> &p) {
  reference::Batch<Tracked> batch;
  batch.z1 = p.data->reference.z1;
  batch.x = p.data->reference.x;
  batch.label = p.data->reference.label;
  return batch;
}

/* The gradient of branch and head; back(branch, parameters, trace, loss by features, gradient) is the branch's. */
template <typename B, typename Trace, typename Back>
Vector<Tracked> branch_gradient(const BranchModel<B> &p, const Vector<Tracked> &block, const std::vector<Trace> &traces,
                                const reference::Loss<Tracked> &loss, Back back) {
  Vector<Tracked> gradient(static_cast<size_t>(p.branch.parameters), 0.0);
  for (size_t i = 0; i < traces.size(); ++i) back(p.branch, block, traces[i], loss.x_bar[i], gradient);
  gradient.insert(gradient.end(), loss.gradient.begin(), loss.gradient.end());
  return gradient;
}

/* Loss, gradient and prediction of the whole data by the engine, drawn as in step 3. */
struct EngineLoss {
  bool made;
  noprop_loss_terms terms;
  std::vector<float> gradient, prediction;
};
template <typename B>
EngineLoss engine_loss(const BranchModel<B> &p) {
  EngineLoss loss = {false, {}, std::vector<float>(p.parameters.size()), {}};
  noprop_loss_request request = {};
  request.rows = p.data->rows;
  request.condition = p.data->condition.values;
  request.target = p.data->target.values;
  request.step = 3;
  request.gradient = loss.gradient.data();
  if (p.blocks == 1) {
    loss.prediction.resize(static_cast<size_t>(request.rows * p.data->shape.target_width));
    request.prediction = loss.prediction.data();
  }
  loss.made = ok(noprop_model_loss(p.model.get(), &request, &loss.terms), "noprop_model_loss");
  return loss;
}

/* Holds loss, prediction and gradient, layer by layer and whole, against the reference's. */
template <typename B>
void expect_loss(const BranchModel<B> &p, const EngineLoss &got, const reference::Loss<Tracked> &want,
                 const Vector<Tracked> &gradient) {
  ASSERT_TRUE(got.made);
  expect_within(kTerm, got.terms.loss, want.total, "loss");
  expect_within(kPrediction, got.prediction, flat(want.prediction), "prediction");
  for (const reference::Array &array : p.branch.arrays) {
    const auto of = [&](const auto &values) {
      return std::vector(values.begin() + array.offset, values.begin() + array.offset + array.size());
    };
    expect_within(kGradient, of(got.gradient), of(gradient), array.name);
  }
  expect_within(kGradient, got.gradient, gradient, "gradient");
}

/* Holds each block's gradient against the reference's. features(block, batch) puts features in the place of conditions
 * and returns traces; gradient(block, traces, loss) is the block's. */
template <typename B, typename Features, typename Gradient>
void expect_gradients_of_blocks(const BranchModel<B> &p, uint32_t draws, Features features, Gradient gradient) {
  const int target = p.data->shape.target_width;
  const auto levels = reference::levels_of(p.settings, target);
  const EngineLoss got = engine_loss(p);
  ASSERT_TRUE(got.made);
  for (int k = 0; k < p.blocks; ++k) {
    reference::Batch<Tracked> batch = whole_batch(p);
    const auto traces = features(block_of(p, k), batch);
    for (uint32_t draw = 0; draw < draws; ++draw) {
      batch.noise.emplace_back();
      for (uint32_t i = 0; i < p.data->rows; ++i)
        batch.noise.back().push_back(reference::normals<Tracked>(p.settings.seed, reference::kNoise, i, 3, target, draw,
                                                                 static_cast<uint32_t>(k)));
    }
    const auto want = block_loss(p.head, head_of(p, block_of(p, k)), levels[static_cast<size_t>(k)], batch);
    const auto first = got.gradient.begin() + k * p.block;
    expect_within(kGradient, {first, first + p.block}, gradient(block_of(p, k), traces, want),
                  "block " + std::to_string(k + 1));
  }
}

}  // namespace kernels_test

#endif
