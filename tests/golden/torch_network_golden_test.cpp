/* The networks of presets notebook, yhgon-mnist and yhgon-simple as the engine has them, lists of layers behind a
 * convolutional branch or none, against the PyTorch systems' layers: outputs and gradients for a stored cotangent.
 *
 * A model of ct that predicts targets says what its network makes of a state: a clean latent z1 = output - cotangent d
 * B/2 makes the derivative of the mean squared error the cotangent, and the noise (z - a z1)/b the state the stored
 * one.
 */
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "tests/golden/golden_expect.h"
#include "tests/golden/torch_models.h"
#include "tests/kernels/harness.h"
#include "tests/reference/branch.h"

namespace {

using namespace kernels_test;
using golden::File;
using golden::Rows;
using golden::Weights;
using reference::Array;
using reference::Batch;
using reference::Network;

using golden::expect_golden;
using golden::joined;
using golden::rounded;
using golden::single;

/* The stored number that stands at [row][column] of one of our arrays, or null: there is none, and ours is 0. */
using Stored = std::function<const double *(const Weights &, const std::string &array, long row, long column)>;

struct Comparison {
  Keys keys;                         /* beside those below */
  std::vector<long> channels, image; /* of a branch; [channels][height][width] */
  Rows x, z, output, cotangent;
  Stored stored;
};

const double *number(const Weights &weights, const std::string &name, long out, long in) {
  const golden::Tensor &tensor = weights.arrays.at(name);
  const long ins = static_cast<long>(tensor.width());
  if (out >= static_cast<long>(tensor.rows()) || in >= ins) return nullptr;
  return &tensor.values[static_cast<size_t>(out * ins + in)];
}

Vector<double> values_of(const std::vector<const Array *> &arrays, const Weights &weights, const Stored &stored) {
  Vector<double> values;
  for (const Array *array : arrays)
    for (long row = 0; row < array->rows; ++row)
      for (long column = 0; column < array->columns; ++column) {
        const double *const value = stored(weights, array->name, row, column);
        values.push_back(value ? *value : 0.0);
      }
  return values;
}

void compare(const File &file, const std::string &path, const Comparison &c) {
  SCOPED_TRACE(path);
  const size_t rows = c.z.size(), d = c.z[0].size();
  Keys keys = {{"variant", "ct"},           {"task", "regress"},
               {"schedule.type", "linear"}, {"schedule.alpha_bar", "[0.1, 0.9]"},
               {"loss.weight", "uniform"},  {"loss.normalize", "none"},
               {"loss.t_eps", "0"}};
  keys.insert(keys.end(), c.keys.begin(), c.keys.end());
  const Settings settings = reference::settings_from(keys);
  const Weights weights(file, path + "/params"), gradients(file, path + "/grad_params");
  reference::Branch branch;
  if (!c.channels.empty()) branch = reference::make_branch(c.image[0], c.image[1], c.image[2], c.channels);
  const long features = c.channels.empty() ? static_cast<long>(c.x.empty() ? 0 : c.x[0].size()) : branch.features();
  const Network network = reference::make_network(settings, features, static_cast<long>(d));
  std::vector<const Array *> arrays;
  for (const Array &array : branch.arrays) arrays.push_back(&array);
  for (const Array &array : network.arrays) arrays.push_back(&array);
  const Vector<double> parameters = values_of(arrays, weights, c.stored);
  const Vector<Tracked> all = rounded(parameters), head(all.begin() + branch.parameters, all.end());

  const Vector<double> t(rows, 0.5);
  const auto path_point = reference::path_at(settings, 0.5);
  Rows z1 = c.output, noise = c.output;
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < d; ++j) {
      z1[i][j] -= c.cotangent[i][j] * static_cast<double>(d * rows) / 2;
      noise[i][j] = (c.z[i][j] - path_point.a * z1[i][j]) / path_point.b;
    }
  Batch<Tracked> batch;
  batch.z1 = rounded(z1);
  batch.t = {rounded(t)};
  batch.noise = {rounded(noise)};
  std::vector<reference::BranchTrace<Tracked>> traces;
  batch.x = rounded(c.x);
  for (auto &x : batch.x) {
    if (c.channels.empty()) break;
    traces.push_back(reference::branch_forward(branch, all, x));
    x = traces.back().features;
  }
  const auto estimate = batch_loss(settings, network, head, batch);
  Vector<Tracked> gradient(static_cast<size_t>(branch.parameters), 0.0);
  for (size_t i = 0; i < traces.size(); ++i)
    reference::branch_backward(branch, all, traces[i], estimate.x_bar[i], gradient);
  gradient.insert(gradient.end(), estimate.gradient.begin(), estimate.gradient.end());
  if (file.has(path + "/grad_z")) {
    Vector<double> z_bar;
    for (const Tracked &v : flat(estimate.z_bar)) z_bar.push_back(v.value);
    golden::expect_equal(z_bar, file.read(path + "/grad_z").values, "gradient of z", 1e-6 /* parameters are float32 */);
  }

  Keys engine = keys;
  if (!c.channels.empty()) {
    std::string text;
    for (const long n : c.channels) text += (text.empty() ? "[" : ", ") + std::to_string(n);
    engine.insert(engine.end(), {{"network.branch.type", "cnn"}, {"network.branch.channels", text + "]"}});
  }
  noprop_model_shape shape = {};
  shape.condition_width = static_cast<int>(c.x.empty() ? 0 : c.x[0].size());
  for (size_t i = 0; i < c.image.size(); ++i) shape.condition_shape[i] = static_cast<int>(c.image[i]);
  shape.target_width = static_cast<int>(d);
  if (c.x.empty()) engine.insert(engine.end(), {{"task", "generate"}, {"data.condition", "null"}});
  const Model model = create_model(engine, shape);
  ASSERT_TRUE(model);
  ASSERT_EQ(noprop_model_parameter_values(model.get()), static_cast<long>(parameters.size()));
  ASSERT_TRUE(ok(noprop_model_set_parameters(model.get(), single(parameters).data()), "noprop_model_set_parameters"));
  std::vector<float> got(parameters.size()), prediction(rows * d);
  const std::vector<float> x = single(joined(c.x)), y = single(joined(z1)), times = single(t),
                           noises = single(joined(noise));
  noprop_loss_request request = {};
  request.rows = static_cast<long>(rows);
  request.condition = x.empty() ? nullptr : x.data();
  request.target = y.data();
  request.t = times.data();
  request.noise = noises.data();
  request.gradient = got.data();
  request.prediction = prediction.data();
  noprop_loss_terms terms;
  ASSERT_TRUE(ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss"));
  expect_golden(kPrediction, prediction, joined(c.output), flat(estimate.prediction), path);
  size_t place = 0, compared = 0;
  for (const Array *array : arrays) {
    std::vector<float> part;
    Vector<double> want;
    Vector<Tracked> of_estimate;
    for (long row = 0; row < array->rows; ++row)
      for (long column = 0; column < array->columns; ++column, ++place) {
        const double *const value = c.stored(gradients, array->name, row, column);
        if (!value) continue;
        part.push_back(got[place]);
        want.push_back(*value);
        of_estimate.push_back(gradient[place]);
      }
    compared += part.size();
    if (part.empty()) continue;
    /* Stored gradients of the block at its own size are rounded to float32. */
    expect_golden(kGradient, part, want, of_estimate, path + " " + array->name, 2e-7);
  }
  size_t numbers = 0;
  for (const auto &[name, tensor] : gradients.arrays) numbers += tensor.values.size();
  EXPECT_EQ(compared, numbers) << "not every stored gradient was compared";
}

/* S2's block: the branch, and the list that preset notebook has, with layers as wide as these. */
TEST(TorchNetworkGolden, NotebookBlocks) {
  const File file("torch_notebook.h5");
  for (const std::string name : {"denoise_block", "denoise_block_full"}) {
    const std::string path = "/S2/" + name;
    Comparison c;
    const golden::Tensor images = file.read(path + "/x");
    c.x = images.matrix();
    c.image = {images.shape[1], images.shape[2], images.shape[3]};
    c.z = file.read(path + "/z").matrix();
    c.output = file.read(path + "/output").matrix();
    c.cotangent = file.read(path + "/cotangent").matrix();
    const auto outputs = [&](const char *layer) {
      return file.read(path + "/params/" + layer + ".bias").values.size();
    };
    const std::string wide = std::to_string(outputs("fusion.0")), narrow = std::to_string(outputs("fusion.3"));
    /* Channels are multiples of 8: the others are fed by zeros and read with zeros. */
    for (const char *layer : {"backbone.0", "backbone.3", "backbone.6"})
      c.channels.push_back(static_cast<long>((outputs(layer) + 7) / 8 * 8));
    c.keys = {{"network.type", "custom"},
              {"network.layers",
               "[{name: features, type: dense, from: x, width: " + wide +
                   ", activation: relu}, {name: features_kept, type: dropout, rate: 0.2}, {name: state, type: dense, "
                   "from: z, width: " +
                   wide +
                   ", activation: relu}, {name: state_kept, type: dropout, rate: 0.2}, {name: fusion, type: dense, "
                   "from: [features_kept, state_kept], width: " +
                   wide +
                   ", activation: relu}, {name: fusion_kept, type: dropout, rate: 0.2}, {name: narrow, type: dense, "
                   "width: " +
                   narrow + ", activation: relu}, {name: last, type: dense}]"}};
    const long half = std::stol(wide);
    c.stored = [half](const Weights &weights, const std::string &array, long row, long column) -> const double * {
      const bool bias = array.find(".bias") != std::string::npos;
      if (array.rfind("branch.", 0) == 0) {
        const std::string layer = std::string("backbone.") + (array[7] == '0' ? "0" : array[7] == '1' ? "3" : "6");
        if (bias) return number(weights, layer + ".bias", column, 0);
        const auto &shape = weights.arrays.at(layer + ".weight").shape; /* [out][in][3][3] */
        const long inputs = array[7] == '0' ? shape[1] : (shape[1] + 7) / 8 * 8, input = row % inputs;
        if (input >= shape[1]) return nullptr;
        return number(weights, layer + ".weight", column, input * 9 + row / inputs);
      }
      const std::string from = array.substr(0, array.find('.'));
      const std::string layer = from == "features" ? "backbone.10"
                                : from == "state"  ? "z_processor.0"
                                : from == "fusion" ? "fusion.0"
                                : from == "narrow" ? "fusion.3"
                                                   : "fusion.5";
      if (bias) return number(weights, layer + ".bias", column, 0);
      return number(weights, layer + ".weight", column, row + (array == "fusion.state_kept.weight" ? half : 0));
    };
    compare(file, path, c);
  }
}

}  // namespace
