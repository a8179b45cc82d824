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
#include <map>

#include "tests/golden/golden_expect.h"
#include "tests/golden/torch_models.h"
#include "tests/kernels/harness.h"
#include "tests/reference/batch.h"
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
  Vector<double> t;                   /* empty: 1/2 everywhere */
  bool by_running_statistics = false; /* the output alone, from a kernel that does not train */
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
  Weights weights(file, path + "/params");
  if (file.has(path + "/buffers"))
    for (const auto &[name, tensor] : Weights(file, path + "/buffers").arrays) weights.arrays[name] = tensor;
  const Weights gradients(file, path + "/grad_params");
  reference::Branch branch;
  if (!c.channels.empty()) branch = reference::make_branch(c.image[0], c.image[1], c.image[2], c.channels);
  const long features = c.channels.empty() ? static_cast<long>(c.x.empty() ? 0 : c.x[0].size()) : branch.features();
  const Network network = reference::make_network(settings, features, static_cast<long>(d));
  std::vector<const Array *> arrays;
  for (const Array &array : branch.arrays) arrays.push_back(&array);
  for (const Array &array : network.arrays) arrays.push_back(&array);
  const Vector<double> parameters = values_of(arrays, weights, c.stored);
  const Vector<Tracked> all = rounded(parameters), head(all.begin() + branch.parameters, all.end());

  const Vector<double> t = c.t.empty() ? Vector<double>(rows, 0.5) : c.t;
  Rows z1 = c.output, noise = c.output;
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < d; ++j) {
      const auto path_point = reference::path_at(settings, t[i]);
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
  auto estimate = batch_loss(settings, network, head, batch);
  for (size_t i = 0; i < rows && c.by_running_statistics; ++i)
    estimate.prediction[i] =
        reference::forward(network, head, estimate.z[i], batch.x.empty() ? Vector<Tracked>{} : batch.x[i],
                           reference::embed_time<Tracked>(settings, t[i]))
            .output();
  Vector<Tracked> gradient(static_cast<size_t>(branch.parameters), 0.0);
  for (size_t i = 0; i < traces.size(); ++i)
    reference::branch_backward(branch, all, traces[i], estimate.x_bar[i], gradient);
  gradient.insert(gradient.end(), estimate.gradient.begin(), estimate.gradient.end());
  if (file.has(path + "/grad_z") && !c.by_running_statistics) {
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
  if (!c.by_running_statistics) request.gradient = got.data();
  request.prediction = prediction.data();
  noprop_loss_terms terms;
  ASSERT_TRUE(ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss"));
  expect_golden(kPrediction, prediction, joined(c.output), flat(estimate.prediction), path);
  if (c.by_running_statistics) return;
  double largest = 0;
  for (const auto &[name, tensor] : gradients.arrays)
    for (const double v : tensor.values) largest = std::max(largest, std::fabs(v));
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
    double most = 0;
    for (const double v : want) most = std::max(most, std::fabs(v));
    if (most < 1e-12 * largest) { /* a bias that batch norm takes away again: what is stored is rounding, as is ours */
      for (size_t i = 0; i < part.size(); ++i) EXPECT_LE(std::fabs(part[i]), 8 * of_estimate[i].deviation());
      continue;
    }
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

/* Rows filled up with zeros. */
Rows padded(Rows rows, size_t width) {
  for (auto &row : rows) row.resize(width, 0.0);
  return rows;
}

/* The stored name of `array` for layers by name ("f1": "net.0"); of batch norm ("n1") too, running statistics included:
 * these have no gradients. */
Stored layers_of(const std::map<std::string, std::string> &names) {
  return [names](const Weights &weights, const std::string &array, long row, long column) -> const double * {
    const std::string part = array.substr(array.rfind('.') + 1), layer = names.at(array.substr(0, array.find('.')));
    const std::string name = layer + (part == "mean"       ? ".running_mean"
                                      : part == "variance" ? ".running_var"
                                      : part == "bias"     ? ".bias"
                                                           : ".weight");
    if (!weights.has(name)) return nullptr;
    return part == "weight" ? number(weights, name, column, row) : number(weights, name, column, 0);
  };
}

/* Y's fusion: batch norm by the rows (train), and by running statistics (eval). State, features and time are one state
 * here; outputs beyond the stored ones are 0. */
TEST(TorchNetworkGolden, ScriptsFusions) {
  const File file("torch_notebook.h5");
  for (const std::string name : {"nopropct_mnist", "noprop_simple"})
    for (const std::string mode : {"train", "eval"}) {
      const std::string path = "/Y/" + name + "/fuse_head_" + mode;
      Comparison c;
      const Rows fx = file.read(path + "/fx").matrix(), fz = file.read(path + "/fz").matrix(),
                 ft = file.read(path + "/ft").matrix();
      for (size_t i = 0; i < fx.size(); ++i) c.z.push_back(golden::concatenated({fx[i], fz[i], ft[i]}));
      c.output = padded(file.read(path + "/output").matrix(), c.z[0].size());
      c.cotangent = padded(file.read(path + "/cotangent").matrix(), c.z[0].size());
      c.by_running_statistics = mode == "eval";
      const auto width = [&](const char *layer) {
        return std::to_string(file.read(path + "/params/" + layer + ".bias").values.size());
      };
      c.keys = {{"network.type", "custom"},
                {"network.layers", "[{name: f1, type: dense, from: z, width: " + width("net.0") +
                                       "}, {name: n1, type: batch_norm}, {type: activation, activation: relu}, {name: "
                                       "f2, type: dense, width: " +
                                       width("net.3") +
                                       "}, {name: n2, type: batch_norm}, {type: activation, activation: relu}, {name: "
                                       "f3, type: dense}]"}};
      c.stored = layers_of({{"f1", "net.0"}, {"n1", "net.1"}, {"f2", "net.3"}, {"n2", "net.4"}, {"f3", "net.6"}});
      compare(file, path, c);
    }
}

/* Y's encoders of states and times. */
TEST(TorchNetworkGolden, ScriptsEncoders) {
  const File file("torch_notebook.h5");
  for (const std::string name : {"nopropct_mnist", "noprop_simple"}) {
    const bool simple = name == "noprop_simple";
    for (const std::string layer : {"label_encoder", "time_encoder"}) {
      const std::string path = "/Y/" + name + "/" + layer;
      Comparison c;
      c.output = file.read(path + "/output").matrix();
      c.cotangent = file.read(path + "/cotangent").matrix();
      const Rows input = file.read(path + "/input").matrix();
      const size_t d = c.output[0].size();
      c.keys = {{"network.type", "custom"}};
      if (layer == "time_encoder") {
        c.z = Rows(input.size(), Vector<double>(d, 0.25));
        for (const auto &row : input) c.t.push_back(row[0]);
        c.keys.insert(c.keys.end(), {{"network.time_embedding.type", "sinusoidal_unit"},
                                     {"network.time_embedding.size", "8"},
                                     {"network.layers", "[{name: fc, type: dense, from: t, activation: relu}]"}});
        c.stored = layers_of({{"fc", simple ? "fc.0" : "net.0"}});
      } else {
        c.z = padded(input, d);
        c.keys.push_back({"network.layers", simple ? "[{name: fc1, type: dense, from: z, width: " + std::to_string(d) +
                                                         ", activation: relu}, {name: fc2, type: dense, width: " +
                                                         std::to_string(d) + "}, {type: add, from: z}]"
                                                   : "[{name: fc, type: dense, from: z, activation: relu}]"});
        c.stored = layers_of({{"fc", "net.0"}, {"fc1", "fc1"}, {"fc2", "fc2"}});
      }
      compare(file, path, c);
    }
  }
}

/* Running statistics of Y's scripts after a step: that of the random times, then that at t = 1. By the reference; a
 * step of ours draws its own times. And the gradients of an evaluation, which no kernel computes. */
TEST(TorchNetworkGolden, ScriptsRunningStatistics) {
  const File file("torch_notebook.h5");
  for (const std::string name : {"nopropct_mnist", "noprop_simple"}) {
    const std::string path = "/Y/" + name + "/train";
    const bool simple = name == "noprop_simple";
    const golden::Script script = {simple, Weights(file, path + "/params"), file.read(path + "/x").matrix()};
    const std::string time = simple ? "time_enc.fc.0" : "t_enc.net.0", image = "backbone.1";
    const size_t d = file.read(path + "/noise").width();
    const auto width = [&](const std::string &layer) {
      return std::to_string(script.weights.at(layer + ".bias").size());
    };
    const std::string state =
        simple ? "{name: z1, type: dense, from: z, width: " + width("label_enc.fc1") +
                     ", activation: relu}, {name: z2, type: dense, width: " + width("label_enc.fc2") +
                     "}, {name: state, type: add, from: z}"
               : "{name: state, type: dense, from: z, width: " + width("z_enc.net.0") + ", activation: relu}";
    const Settings settings = reference::settings_from(
        {{"variant", "ct"},
         {"network.type", "custom"},
         {"network.time_embedding.type", "sinusoidal_unit"},
         {"network.time_embedding.size", std::to_string(script.weights.arrays.at(time + ".weight").shape[1])},
         {"network.layers", "[{name: features, type: dense, from: x, width: " + width(image) + "}, " + state +
                                ", {name: time, type: dense, from: t, width: " + width(time) +
                                ", activation: relu}, {name: f1, type: dense, from: [features, state, time], width: " +
                                width("fuse.net.0") +
                                "}, {name: n1, type: batch_norm}, {type: activation, activation: relu}, {name: f2, "
                                "type: dense, width: " +
                                width("fuse.net.3") +
                                "}, {name: n2, type: batch_norm}, {type: activation, activation: relu}, {name: f3, "
                                "type: dense, width: " +
                                width("fuse.net.6") + "}]"}});
    const Network network = reference::make_network(settings, static_cast<long>(script.images[0].size()),
                                                    static_cast<long>(d), std::stol(width("fuse.net.6")));
    Weights all = script.weights;
    for (const auto &[buffer, tensor] : Weights(file, path + "/buffers_before").arrays) all.arrays[buffer] = tensor;
    const long part = std::stol(width(image));
    const Stored stored = layers_of({{"features", image},
                                     {"state", "z_enc.net.0"},
                                     {"z1", "label_enc.fc1"},
                                     {"z2", "label_enc.fc2"},
                                     {"time", time},
                                     {"f1", "fuse.net.0"},
                                     {"n1", "fuse.net.1"},
                                     {"f2", "fuse.net.3"},
                                     {"n2", "fuse.net.4"},
                                     {"f3", "fuse.net.6"}});
    std::vector<const Array *> arrays;
    for (const Array &array : network.arrays) arrays.push_back(&array);
    const auto of_parts = [&](const Weights &weights, const std::string &array, long row, long column) {
      const long place = array == "f1.state.weight" ? part : array == "f1.time.weight" ? 2 * part : 0;
      return stored(weights, array, row + place, column);
    };
    Vector<double> parameters = values_of(arrays, all, of_parts);
    const auto times = file.read(path + "/t").values, labels = file.read(path + "/y").values;
    for (const bool end : {false, true}) {
      const Rows noise = file.read(path + (end ? "/noise_t1" : "/noise")).matrix();
      std::vector<reference::BatchRow<double>> rows(noise.size());
      for (size_t i = 0; i < rows.size(); ++i) {
        const double t = end ? 1.0 : times[i], signal = script.schedule(t).alpha_bar;
        const auto latent = script.latent(static_cast<long>(labels[i]));
        for (size_t j = 0; j < d; ++j) rows[i].z.push_back(signal * latent[j] + std::sqrt(1 - signal) * noise[i][j]);
        rows[i].x = script.images[i];
        rows[i].e = reference::embed_time(settings, t);
      }
      const auto statistics = reference::forward_batch(network, parameters, rows);
      reference::update_running(network, statistics, parameters);
      Vector<double> logits;
      for (const auto &row : rows)
        logits.insert(logits.end(), row.trace.post.back().begin(), row.trace.post.back().end());
      if (!end) golden::expect_equal(logits, file.read(path + "/logits").values, path + " logits");
    }
    for (const auto &[buffer, tensor] : Weights(file, path + "/buffers_after").arrays) all.arrays[buffer] = tensor;
    golden::expect_equal(parameters, values_of(arrays, all, of_parts), path + " statistics", 1e-11);

    const std::string head = "/Y/" + name + "/fuse_head_eval";
    Weights stored_head(file, head + "/params"), gradients(file, head + "/grad_params");
    for (const auto &[buffer, tensor] : Weights(file, head + "/buffers").arrays) stored_head.arrays[buffer] = tensor;
    const Rows fx = file.read(head + "/fx").matrix(), fz = file.read(head + "/fz").matrix(),
               ft = file.read(head + "/ft").matrix(), cotangent = file.read(head + "/cotangent").matrix();
    const auto outputs = [&](const char *layer) {
      return std::to_string(stored_head.at(std::string(layer) + ".bias").size());
    };
    const Settings of_head = reference::settings_from(
        {{"variant", "ct"},
         {"network.type", "custom"},
         {"network.layers", "[{name: f1, type: dense, from: z, width: " + outputs("net.0") +
                                "}, {name: n1, type: batch_norm}, {type: activation, activation: relu}, {name: f2, "
                                "type: dense, width: " +
                                outputs("net.3") +
                                "}, {name: n2, type: batch_norm}, {type: activation, activation: relu}, {name: f3, "
                                "type: dense, width: " +
                                outputs("net.6") + "}]"}});
    const long inputs = 3 * static_cast<long>(fx[0].size());
    const Network fusion = reference::make_network(of_head, 0, inputs, std::stol(outputs("net.6")));
    const Stored of_fusion =
        layers_of({{"f1", "net.0"}, {"n1", "net.1"}, {"f2", "net.3"}, {"n2", "net.4"}, {"f3", "net.6"}});
    std::vector<const Array *> parts;
    for (const Array &array : fusion.arrays) parts.push_back(&array);
    const Vector<double> numbers = values_of(parts, stored_head, of_fusion);
    Vector<double> gradient(numbers.size(), 0.0), z_bars;
    Rows of_inputs[3];
    for (size_t i = 0; i < fx.size(); ++i) {
      const auto trace =
          reference::forward<double>(fusion, numbers, golden::concatenated({fx[i], fz[i], ft[i]}), {}, {});
      Vector<double> z_bar;
      reference::backward<double>(fusion, numbers, trace, cotangent[i], gradient, &z_bar);
      for (size_t k = 0; k < 3; ++k)
        of_inputs[k].emplace_back(z_bar.begin() + static_cast<long>(k * fx[0].size()),
                                  z_bar.begin() + static_cast<long>((k + 1) * fx[0].size()));
    }
    golden::expect_equal(gradient, values_of(parts, gradients, of_fusion), head + " gradient");
    const char *const names[] = {"/grad_fx", "/grad_fz", "/grad_ft"};
    for (size_t k = 0; k < 3; ++k)
      golden::expect_equal(joined(of_inputs[k]), file.read(head + names[k]).values, head + names[k]);
  }
}

}  // namespace
