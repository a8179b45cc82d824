/* The kernels of presets notebook, yhgon-mnist and yhgon-simple, through the public interface, against the PyTorch
 * systems' numbers.
 *
 * Their networks are convolutional or have batch norm. What they predict is handed to the engine by a network that says
 * just that: its condition is the number of the row, one-hot, its layers are the identity, and its last weights are the
 * predictions. Everything that follows from predictions is then the kernels' own: states, weights, errors, label's and
 * norm's terms, the classifier's gradient, steps. */
#include <gtest/gtest.h>

#include <cmath>

#include "tests/golden/golden_cases.h"
#include "tests/golden/golden_expect.h"
#include "tests/golden/torch_models.h"
#include "tests/kernels/harness.h"
#include "tests/reference/compare.h"
#include "tests/reference/dt.h"
#include "tests/reference/sampler.h"

namespace {

using namespace kernels_test;
using golden::File;
using golden::Row;
using Matrix = std::vector<Vector<double>>;
using reference::Array;
using reference::Batch;
using reference::Network;

using golden::expect_golden;
using golden::joined;
using golden::rounded;
using golden::single;

/* A model of `rows` rows whose network says what it is told. */
struct Teller {
  Settings settings;
  Network network;
  Vector<double> parameters;
  Model model;
  size_t rows;
  std::vector<float> x;

  Teller(const char *preset, const Keys &given, const Keys &formulas, size_t count, int classes) : rows(count) {
    Keys common = {{"task", "classify"},
                   {"network.hidden", "[8]"},
                   {"network.activation", "linear"},
                   {"network.dropout", "0"},
                   {"loss.t_eps", "0"}};
    common.insert(common.end(), given.begin(), given.end());
    Keys meant = formulas;
    meant.insert(meant.end(), common.begin(), common.end());
    settings = reference::settings_from(meant);
    network = reference::make_network(settings, static_cast<long>(rows), classes);
    parameters.assign(static_cast<size_t>(network.parameters), 0.0);
    for (size_t i = 0; i < rows; ++i)
      for (size_t j = 0; j < rows; ++j) x.push_back(i == j ? 1.0F : 0.0F);
    for (const char *name : {"x.0.weight", "squash.x.weight"}) {
      const Array &array = network.array(name);
      for (long i = 0; i < std::min(array.rows, array.columns); ++i) number(array, i, i) = 1;
    }
    noprop_model_shape shape = {};
    shape.condition_width = static_cast<int>(rows);
    shape.target_width = classes;
    shape.target_is_label = true;
    shape.target_type = NOPROP_TYPE_INT32;
    common.push_back({"preset", preset});
    model = create_model(common, shape);
  }
  double &number(const Array &array, long row, long column) {
    return parameters[static_cast<size_t>(array.offset + row * array.columns + column)];
  }
  bool tell(const Matrix &predictions) {
    const Array &output = network.array("output.weight");
    for (size_t i = 0; i < predictions.size(); ++i)
      for (size_t j = 0; j < predictions[i].size(); ++j)
        number(output, static_cast<long>(i), static_cast<long>(j)) = predictions[i][j];
    return set_parameters(model.get(), network, single(parameters));
  }
  Matrix conditions() const {
    Matrix result(rows, Vector<double>(rows, 0.0));
    for (size_t i = 0; i < rows; ++i) result[i][i] = 1;
    return result;
  }
};

const Keys kNotebook = {{"encoder.type", "linear"},
                        {"decoder.type", "linear"},
                        {"loss.recon.type", "cross_entropy"},
                        {"loss.recon.weight", "1"},
                        {"network.time_embedding.type", "constant"},
                        {"network.time_embedding.size", "1"}};
const Keys kNotebookCt = {{"schedule.type", "cosine"},   {"schedule.s", "0"},
                          {"loss.weight", "notebook"},   {"schedule.alpha_bar", "[1e-12, 0.999999999999]"},
                          {"loss.normalize", "product"}, {"loss.kl_z0", "1"},
                          {"loss.kl_form", "norm"}};

Teller notebook(const File &file, const std::string &variant, size_t rows) {
  const std::string path = "/S2/" + variant + "/train/params/";
  Keys formulas = kNotebook;
  if (variant == "ct") formulas.insert(formulas.end(), kNotebookCt.begin(), kNotebookCt.end());
  const auto vectors = file.read(path + "W_embed"), classifier = file.read(path + "classifier.weight");
  Teller teller("notebook", {{"variant", variant}, {"latent.size", std::to_string(vectors.width())}}, formulas, rows,
                static_cast<int>(vectors.rows()));
  const Array &encoder = teller.network.array("encoder.output.weight"),
              &decoder = teller.network.array("decoder.output.weight"),
              &bias = teller.network.array("decoder.output.bias");
  for (long c = 0; c < encoder.rows; ++c) {
    teller.number(bias, 0, c) = file.read(path + "classifier.bias").values[static_cast<size_t>(c)];
    for (long j = 0; j < encoder.columns; ++j) {
      teller.number(encoder, c, j) = vectors.row(static_cast<size_t>(c))[static_cast<size_t>(j)];
      teller.number(decoder, j, c) = classifier.row(static_cast<size_t>(c))[static_cast<size_t>(j)];
    }
  }
  return teller;
}

/* The engine's schedule of the preset; its alpha_bar falls where ours rises: times are 1 - t. */
TEST(TorchKernelGolden, NotebookSchedule) {
  const File file("torch_notebook.h5");
  noprop_config *config = nullptr;
  ASSERT_TRUE(ok(noprop_config_create(&config), "noprop_config_create"));
  ASSERT_TRUE(ok(noprop_config_set(config, "preset", "notebook"), "preset"));
  auto t = file.read("/S2/ct/schedule/t").values;
  for (double &v : t) v = 1 - v;
  std::vector<noprop_schedule_values> values(t.size());
  EXPECT_TRUE(ok(noprop_schedule_evaluate(config, t.data(), static_cast<long>(t.size()), values.data()),
                 "noprop_schedule_evaluate"));
  noprop_config_destroy(config);
  Vector<double> signals, slopes;
  for (const auto &v : values) signals.push_back(v.alpha_bar), slopes.push_back(v.snr_prime);
  const auto signal = reference::compare(signals, file.read("/S2/ct/schedule/alpha_bar").values, 1e-11),
             slope = reference::compare(slopes, file.read("/S2/ct/schedule/true_abs_snr_prime").values, 1e-4);
  EXPECT_TRUE(signal.passed) << signal.message;
  EXPECT_TRUE(slope.passed) << slope.message;
}

/* Its alpha_bar falls where ours rises: times are 1 - t. */
TEST(TorchKernelGolden, NotebookLosses) {
  const File file("torch_notebook.h5");
  for (const std::string variant : {"ct", "fm"}) {
    const std::string path = "/S2/" + variant + "/train";
    SCOPED_TRACE(path);
    auto t = file.read(path + "/t").values;
    if (variant == "ct")
      for (double &v : t) v = 1 - v;
    const Matrix noise = file.read(path + (variant == "ct" ? "/noise" : "/z0")).matrix();
    const size_t rows = t.size();
    Teller teller = notebook(file, variant, rows);
    ASSERT_TRUE(teller.model);
    ASSERT_TRUE(teller.tell(file.read(path + (variant == "ct" ? "/prediction" : "/velocity")).matrix()));
    Batch<Tracked> batch;
    std::vector<int32_t> labels;
    const long classes = teller.network.target;
    for (const double y : file.read(path + "/y").values) {
      labels.push_back(static_cast<int32_t>(y));
      batch.label.push_back(static_cast<long>(y));
      batch.z1.push_back(reference::one_hot<Tracked>(static_cast<long>(y), classes, 0));
    }
    batch.x = rounded(teller.conditions());
    batch.t = {rounded(t)};
    batch.noise = {rounded(noise)};
    const auto estimate = batch_loss(teller.settings, teller.network, rounded(teller.parameters), batch);
    std::vector<float> gradient(teller.parameters.size()), z(rows * noise[0].size());
    const std::vector<float> times = single(t), noises = single(joined(noise));
    noprop_loss_request request = {};
    request.rows = static_cast<long>(rows);
    request.condition = teller.x.data();
    request.target = labels.data();
    request.t = times.data();
    request.noise = noises.data();
    request.gradient = gradient.data();
    request.z = z.data();
    noprop_loss_terms terms;
    ASSERT_TRUE(ok(noprop_model_loss(teller.model.get(), &request, &terms), "noprop_model_loss"));
    const auto term = [&](const char *name, double got, double want, const Tracked &estimated) {
      expect_golden(kTerm, {static_cast<float>(got)}, {want}, {reference::rounded(estimated.value, estimated.variance)},
                    path + " " + name);
    };
    const auto scalar = [&](const char *name) { return file.read(path + "/" + name).values[0]; };
    expect_golden(kState, z, file.read(path + "/z_t").values, flat(estimate.z), path + " z");
    double flow = scalar("mse");
    if (variant == "ct") {
      double mean = 0;
      for (const double w : file.read(path + "/weight").values) mean += w / static_cast<double>(rows);
      flow *= 0.5 * mean;
      term("kl", terms.kl_z0, scalar("kl"), estimate.kl_z0);
    }
    term("main term", terms.flow, flow, estimate.flow);
    term("ce", terms.recon, scalar("ce"), estimate.recon);
    term("total", terms.loss, scalar("total"), estimate.total);
    /* The gradient of the classifier; those of embeddings and network go through the network. */
    const Array &weight = teller.network.array("decoder.output.weight"),
                &bias = teller.network.array("decoder.output.bias");
    const auto stored = file.read(path + "/grad_params/classifier.weight");
    Vector<double> wanted;
    for (long j = 0; j < weight.rows; ++j)
      for (long c = 0; c < weight.columns; ++c)
        wanted.push_back(stored.row(static_cast<size_t>(c))[static_cast<size_t>(j)]);
    const auto compare = [&](const Array &array, const Vector<double> &want, const char *name) {
      expect_golden(kGradient, {gradient.begin() + array.offset, gradient.begin() + array.offset + array.size()}, want,
                    {estimate.gradient.begin() + array.offset, estimate.gradient.begin() + array.offset + array.size()},
                    path + " " + name);
    };
    compare(weight, wanted, "classifier's weights");
    compare(bias, file.read(path + "/grad_params/classifier.bias").values, "classifier's bias");
  }
}

/* Every stored step by itself: from the state before it, with what the notebook's network says of that state, to the
 * state after it; and at the end what the classifier says. */
TEST(TorchKernelGolden, NotebookSolves) {
  const File file("torch_notebook.h5");
  for (const std::string variant : {"ct", "fm"}) {
    const golden::Weights weights(file, "/S2/" + variant + "/train/params");
    const Matrix images = file.read("/S2/" + variant + "/train/x").matrix();
    Teller teller = notebook(file, variant, images.size());
    ASSERT_TRUE(teller.model);
    noprop_array condition = {};
    condition.name = "x";
    condition.rank = 2;
    condition.rows = condition.shape[0] = static_cast<long>(images.size());
    condition.width = condition.shape[1] = static_cast<long>(images.size());
    condition.values = teller.x.data();
    for (const std::string &path : golden::compared_with_kernels(file, "/S2/" + variant + "/inference_")) {
      const auto trajectory = file.read(path + "/trajectory");
      const size_t steps = trajectory.rows() - 1, size = trajectory.width();
      const double times[] = {0, 1.0 / static_cast<double>(steps), 1};
      for (size_t k = 0; k < steps; ++k) {
        const Matrix from = trajectory.slice(k).matrix();
        Matrix predictions;
        for (size_t i = 0; i < from.size(); ++i)
          predictions.push_back(
              golden::denoise_block(weights, variant == "ct" ? "block." : "vector_field.", images[i], from[i]));
        ASSERT_TRUE(teller.tell(predictions));
        noprop_sampler_options options = noprop_sampler_options_default(teller.model.get());
        const std::vector<float> start = single(joined(from));
        options.steps = 2;
        options.times = times;
        snprintf(options.grid, sizeof options.grid, "user");
        snprintf(options.init, sizeof options.init, "given");
        options.start = start.data();
        options.trajectory = true;
        const size_t classes = static_cast<size_t>(teller.network.target);
        std::vector<float> latent(3 * size), output(3 * from.size() * classes);
        ASSERT_TRUE(
            ok(noprop_sample(teller.model.get(), &options, &condition, condition.rows, latent.data(), output.data()),
               "noprop_sample"));
        reference::Solve solve;
        solve.method = "euler", solve.drift = variant == "ct" ? "relax" : "ode", solve.grid = "user", solve.steps = 2;
        solve.times = {times, times + 3};
        Vector<Tracked> estimate, scores;
        Vector<double> want_scores;
        for (size_t i = 0; i < from.size(); ++i) {
          const Vector<Tracked> state = integrate(teller.settings, teller.network, rounded(teller.parameters), solve,
                                                  rounded(from[i]), rounded(teller.conditions()[i]))[1];
          estimate.insert(estimate.end(), state.begin(), state.end());
          Vector<Tracked> made =
              reference::forward<Tracked>(decoder_of(teller.network), rounded(teller.parameters), state, {}, {})
                  .output();
          Tracked sum = 0.0;
          for (Tracked &v : made) sum += v = reference::exp(v);
          for (Tracked &v : made) scores.push_back(v / sum);
          if (k + 1 < steps) continue;
          for (const double p : golden::softmax(file.read(path + "/logits").row(i))) want_scores.push_back(p);
        }
        expect_golden(kSolve, {latent.begin() + static_cast<long>(size), latent.begin() + static_cast<long>(2 * size)},
                      trajectory.slice(k + 1).values, estimate, path + " step " + std::to_string(k), 2e-6);
        if (k + 1 < steps) continue;
        const long part = static_cast<long>(output.size() / 3);
        expect_golden(kPrediction, {output.begin() + part, output.begin() + 2 * part}, want_scores, scores,
                      path + " probabilities", 2e-6);
      }
    }
  }
}

/* Discrete time: each block says the predictions that are stored for it. The order of levels, the weights' signs, the
 * classifier on the last prediction are the preset's (D-25 to D-27). */
TEST(TorchKernelGolden, NotebookBlocks) {
  const File file("torch_notebook.h5");
  const std::string path = "/S2/dt/train";
  const auto labels_read = file.read(path + "/y").values, alpha_bar = file.read(path + "/alpha_bar").values,
             mse = file.read(path + "/mse").values, delta = file.read(path + "/snr_delta").values;
  const Matrix vectors = file.read(path + "/params/W_embed").matrix(),
               scores = file.read(path + "/params/classifier.weight").matrix();
  const size_t rows = labels_read.size(), blocks = alpha_bar.size(), d = vectors[0].size(), classes = scores.size();
  noprop_model_shape shape = {};
  shape.condition_width = static_cast<int>(rows);
  shape.target_width = static_cast<int>(classes);
  shape.target_is_label = true;
  shape.target_type = NOPROP_TYPE_INT32;
  const Keys keys = {{"variant", "dt"},         {"dt.blocks", std::to_string(blocks)},
                     {"network.hidden", "[8]"}, {"network.activation", "linear"},
                     {"network.dropout", "0"},  {"latent.size", std::to_string(d)},
                     {"preset", "notebook"}};
  const Model model = create_model(keys, shape);
  ASSERT_TRUE(model);
  Settings settings = reference::settings_from({{"variant", "dt"},
                                                {"dt.blocks", std::to_string(blocks)},
                                                {"dt.eta", "0.1"},
                                                {"network.hidden", "[8]"},
                                                {"network.activation", "linear"}});
  const Network network = reference::make_network(settings, static_cast<long>(rows), static_cast<long>(d));
  /* Names of the engine's arrays; [rows][columns]. */
  std::vector<float> values(static_cast<size_t>(noprop_model_parameter_values(model.get())), 0.0F);
  std::vector<Vector<Tracked>> blocks_values(blocks, Vector<Tracked>(static_cast<size_t>(network.parameters), 0.0));
  const auto place = [&](const std::string &name) {
    for (int i = 0; i < noprop_model_parameter_count(model.get()); ++i)
      if (name == noprop_model_parameter(model.get(), i).name) return noprop_model_parameter(model.get(), i);
    ADD_FAILURE() << name;
    return noprop_parameter{};
  };
  for (size_t k = 0; k < blocks; ++k) {
    const Matrix told = file.read(path + "/prediction").slice(k).matrix();
    const std::string block = "block." + std::to_string(k + 1) + ".";
    const auto set = [&](const char *name, size_t row, size_t column, double value) {
      const Array &array = network.array(name);
      const size_t at = row * static_cast<size_t>(array.columns) + column;
      values[static_cast<size_t>(place(block + name).offset) + at] = static_cast<float>(value);
      blocks_values[k][static_cast<size_t>(array.offset) + at] = golden::rounded(value);
    };
    for (size_t i = 0; i < rows; ++i) {
      set("x.0.weight", i, i, 1);
      set("squash.x.weight", i, i, 1);
      for (size_t j = 0; j < d; ++j) set("output.weight", i, j, told[i][j]);
    }
  }
  Vector<Tracked> classifier((d + 1) * classes);
  const auto bias = file.read(path + "/params/classifier.bias").values;
  for (size_t c = 0; c < classes; ++c) {
    for (size_t j = 0; j < d; ++j) {
      values[static_cast<size_t>(place("classifier.weight").offset) + j * classes + c] =
          static_cast<float>(scores[c][j]);
      values[static_cast<size_t>(place("embedding.weight").offset) + c * d + j] = static_cast<float>(vectors[c][j]);
      classifier[j * classes + c] = golden::rounded(scores[c][j]);
    }
    values[static_cast<size_t>(place("classifier.bias").offset) + c] = static_cast<float>(bias[c]);
    classifier[d * classes + c] = golden::rounded(bias[c]);
  }
  ASSERT_TRUE(ok(noprop_model_set_parameters(model.get(), values.data()), "noprop_model_set_parameters"));
  Batch<Tracked> batch;
  std::vector<int32_t> labels;
  std::vector<float> x;
  Tracked half = 0.0, flow = 0.0;
  for (const double y : labels_read) {
    labels.push_back(static_cast<int32_t>(y));
    batch.label.push_back(static_cast<long>(y));
    batch.z1.push_back(rounded(vectors[static_cast<size_t>(y)]));
    batch.x.emplace_back(rows, 0.0);
    batch.x.back()[labels.size() - 1] = 1.0;
    for (size_t j = 0; j < rows; ++j) x.push_back(j + 1 == labels.size() ? 1.0F : 0.0F);
    for (const Tracked &u : batch.z1.back()) half += 0.5 * u * u / static_cast<double>(rows);
  }
  const auto levels = notebook_levels(settings);
  reference::PredictionScores<Tracked> said{classifier, static_cast<long>(classes), {}};
  std::vector<float> gradient(values.size());
  noprop_loss_terms terms = {};
  double wanted = 0;
  for (size_t k = 0; k < blocks; ++k) {
    const Matrix noise = file.read(path + "/noise").slice(k).matrix();
    batch.noise = {rounded(noise)};
    const auto want = block_loss(network, blocks_values[k], levels[k], batch, k + 1 == blocks ? &said : nullptr);
    flow += want.total;
    wanted += 0.5 * 0.1 * delta[k] * mse[k];
    const std::vector<float> noises = single(joined(noise));
    std::vector<float> z(rows * d), prediction(rows * d);
    noprop_loss_request request = {};
    request.rows = static_cast<long>(rows);
    request.condition = x.data();
    request.target = labels.data();
    request.noise = noises.data();
    request.gradient = gradient.data();
    request.z = z.data();
    request.prediction = prediction.data();
    request.block = static_cast<int>(k) + 1;
    ASSERT_TRUE(ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss"));
    const std::string what = path + " block " + std::to_string(k + 1);
    /* Its tables are float32. */
    expect_golden(kState, z, file.read(path + "/z_t").slice(k).values, flat(want.z), what + " z", 1e-6);
    expect_golden(kPrediction, prediction, file.read(path + "/prediction").slice(k).values, flat(want.prediction),
                  what);
  }
  const auto scalar = [&](const char *name) { return file.read(path + "/" + name).values[0]; };
  const auto term = [&](const char *name, double got, double want, const Tracked &estimated) {
    expect_golden(kTerm, {static_cast<float>(got)}, {want}, {reference::rounded(estimated.value, estimated.variance)},
                  path + " " + name, 1e-6);
  };
  term("blocks", terms.flow, wanted, flow);
  term("ce", terms.recon, scalar("ce"), said.value);
  term("kl", terms.kl_z0, scalar("kl"), half);
  term("total", terms.loss, scalar("total"), flow + said.value + half);
  const Matrix stored = file.read(path + "/grad_params/classifier.weight").matrix();
  Vector<double> of_weight;
  for (size_t j = 0; j < d; ++j)
    for (size_t c = 0; c < classes; ++c) of_weight.push_back(stored[c][j]);
  const auto begin = gradient.begin() + place("classifier.weight").offset;
  const long size = static_cast<long>(d * classes);
  expect_golden(kGradient, {begin, begin + size}, of_weight, {said.gradient.begin(), said.gradient.begin() + size},
                path + " classifier's weights", 1e-6);
}

/* The scripts' schedules are networks; the presets have lines of gamma, on which every alpha_bar of the groups has a
 * time. The weight there is gamma' SNR, gamma' the line's, in place of the scripts' SNR'. noprop_simple predicts
 * softmax of the logits times the classes' vectors, and adds half the vector's square. */
TEST(TorchKernelGolden, ScriptLosses) {
  const File file("torch_notebook.h5");
  for (const bool simple : {false, true}) {
    const std::string path = std::string("/Y/") + (simple ? "noprop_simple" : "nopropct_mnist") + "/train";
    SCOPED_TRACE(path);
    const double slope = simple ? 7 : 10;
    Keys formulas = {{"schedule.type", "sigmoid"},
                     {"schedule.k", simple ? "7" : "10"},
                     {"schedule.t_mid", "0.5"},
                     {"schedule.renormalise", "false"},
                     {"loss.path", "signal_mean"},
                     {"loss.weight", "elbo"},
                     {"loss.scale", "bound"},
                     {"loss.error", "softmax_squared"},
                     {"loss.recon.type", "end_logits"},
                     {"loss.recon.weight", "1"},
                     {"network.time_embedding.type", "sinusoidal_unit"},
                     {"network.time_embedding.size", "64"}};
    Keys given = {{"variant", "ct"}};
    const auto signal = file.read(path + "/alpha_bar").values, errors = file.read(path + "/squared_error").values;
    const Matrix noise = file.read(path + "/noise").matrix(), logits = file.read(path + "/logits").matrix();
    const size_t rows = signal.size();
    if (simple) {
      formulas.insert(formulas.end(), {{"latent.embedding", "learned"}, {"loss.kl_z0", "1"}, {"loss.kl_form", "norm"}});
      given.push_back({"latent.size", std::to_string(noise[0].size())});
    }
    Teller teller(simple ? "yhgon-simple" : "yhgon-mnist", given, formulas, rows, static_cast<int>(logits[0].size()));
    ASSERT_TRUE(teller.model);
    Matrix vectors;
    if (simple) {
      vectors = file.read(path + "/params/W_embed").matrix();
      const Array &table = teller.network.array("embedding.weight");
      for (long c = 0; c < table.rows; ++c)
        for (long j = 0; j < table.columns; ++j)
          teller.number(table, c, j) = vectors[static_cast<size_t>(c)][static_cast<size_t>(j)];
    }
    ASSERT_TRUE(teller.tell(logits));
    Batch<Tracked> batch;
    std::vector<int32_t> labels;
    Vector<double> t, wanted, predictions;
    for (const double y : file.read(path + "/y").values) {
      const size_t i = t.size(), label = static_cast<size_t>(y);
      const double snr = signal[i] / (1 - signal[i]);
      labels.push_back(static_cast<int32_t>(y));
      batch.label.push_back(static_cast<long>(y));
      batch.z1.push_back(reference::one_hot<Tracked>(static_cast<long>(y), static_cast<long>(logits[i].size()), 0));
      t.push_back(std::log(snr) / slope + 0.5);
      /* The same logits stand at t = 1, whatever the noise there. */
      wanted.push_back(0.5 * slope * snr * errors[i] - std::log(golden::softmax(logits[i])[label]));
      for (size_t j = 0; simple && j < vectors[label].size(); ++j)
        wanted.back() += 0.5 * vectors[label][j] * vectors[label][j];
    }
    batch.x = rounded(teller.conditions());
    batch.t = {rounded(t)};
    batch.noise = {rounded(noise), rounded(noise)};
    const auto estimate = batch_loss(teller.settings, teller.network, rounded(teller.parameters), batch);
    std::vector<float> z(rows * noise[0].size()), prediction(z.size()), row_loss(rows);
    const std::vector<float> times = single(t), noises = single(joined(noise));
    noprop_loss_request request = {};
    request.rows = static_cast<long>(rows);
    request.condition = teller.x.data();
    request.target = labels.data();
    request.t = times.data();
    request.noise = noises.data();
    request.z = z.data();
    request.prediction = prediction.data();
    request.row_loss = row_loss.data();
    noprop_loss_terms terms;
    ASSERT_TRUE(ok(noprop_model_loss(teller.model.get(), &request, &terms), "noprop_model_loss"));
    expect_golden(kState, z, file.read(path + "/z_t").values, flat(estimate.z), path + " z");
    expect_golden(kRowLoss, row_loss, wanted, estimate.row_total, path + " rows");
    if (simple)
      expect_golden(kPrediction, prediction, file.read(path + "/prediction").values, flat(estimate.prediction),
                    path + " predictions");
  }
}

}  // namespace
