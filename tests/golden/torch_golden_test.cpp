/* The PyTorch systems against the reference: states, weights, errors, fields and steps are the reference's, by the keys
 * that presets notebook and yhgon-mnist set; networks are those of torch_models.h. Both compute in double. Stored
 * gradients of whole losses are compared with central differences of ours. */
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <regex>

#include "tests/golden/golden_cases.h"
#include "tests/golden/golden_expect.h"
#include "tests/golden/torch_models.h"
#include "tests/reference/compare.h"
#include "tests/reference/sampler.h"

namespace {

using golden::File;
using golden::Row;
using golden::Rows;
using golden::Script;
using golden::Weights;
using reference::Settings;
using reference::square;
using reference::Vector;

using golden::expect_equal;

Vector<double> flat(const Rows &rows) {
  Vector<double> all;
  for (const Row &row : rows) all.insert(all.end(), row.begin(), row.end());
  return all;
}

/* Some eight elements of every array of `folder`: stored slopes against central differences of `value`, whose arrays
 * are `weights`. A step of 1e-6 leaves rounding of 1e-10 times the value; units whose sign changes within it would
 * show. */
void expect_slopes(const File &file, const std::string &folder, Weights *weights,
                   const std::function<double()> &value) {
  double largest = std::fabs(value());
  for (const std::string &name : file.data_sets(folder)) {
    const auto stored = file.read(folder + "/" + name).values;
    double most = 0;
    for (const double v : stored) most = std::max(most, std::fabs(v));
    auto &values = weights->arrays.at(name).values;
    ASSERT_EQ(values.size(), stored.size());
    for (size_t i = 0; i < values.size(); i += 1 + values.size() / 8) {
      const double keep = values[i], step = 1e-6;
      values[i] = keep + step;
      const double up = value();
      values[i] = keep - step;
      const double down = value();
      values[i] = keep;
      EXPECT_NEAR((up - down) / (2 * step), stored[i], 1e-5 * most + 2e-9 * largest)
          << folder << " " << name << " " << i;
    }
  }
}

double dot(const Rows &a, const Rows &b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < a[i].size(); ++j) sum += a[i][j] * b[i][j];
  return sum;
}

/* ---- the notebook ---- */

Settings notebook(const char *variant) {
  return reference::settings_from({{"variant", variant},
                                   {"schedule.type", "cosine"},
                                   {"schedule.s", "0"},
                                   {"schedule.alpha_bar", "[1e-12, 0.999999999999]"},
                                   {"loss.weight", "notebook"},
                                   {"loss.t_eps", "0"}});
}

struct Book {
  File file{"torch_notebook.h5"};
  std::string path;
  Weights weights;
  Rows images;
  std::vector<long> labels;
  explicit Book(const std::string &at) : path(at), weights(file, at + "/params") {
    for (const auto &row : file.read(path + "/x").matrix()) images.push_back(row);
    for (const double label : file.read(path + "/y").values) labels.push_back(static_cast<long>(label));
  }
  Row embedded(size_t row) const { return weights.arrays.at("W_embed").row(static_cast<size_t>(labels[row])); }
  Rows predicted(const std::string &block, const Rows &z) const {
    Rows rows;
    for (size_t i = 0; i < z.size(); ++i) rows.push_back(golden::denoise_block(weights, block, images[i], z[i]));
    return rows;
  }
  double cross_entropy(const Rows &latents) const {
    double sum = 0;
    for (size_t i = 0; i < latents.size(); ++i)
      sum -= std::log(golden::softmax(weights.linear("classifier", latents[i]))[static_cast<size_t>(labels[i])]) /
             static_cast<double>(latents.size());
    return sum;
  }
  double mean_square(const Rows &a, const Rows &b) const {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i)
      for (size_t j = 0; j < a[i].size(); ++j)
        sum += square(a[i][j] - b[i][j]) / static_cast<double>(a.size() * a[i].size());
    return sum;
  }
};

TEST(TorchGolden, NotebookBlocks) {
  const File file("torch_notebook.h5");
  for (const char *name : {"denoise_block", "denoise_block_full"}) {
    const std::string path = std::string("/S2/") + name;
    Weights weights(file, path + "/params");
    const Rows images = file.read(path + "/x").matrix(), z = file.read(path + "/z").matrix();
    const auto output = [&] {
      Rows rows;
      for (size_t i = 0; i < z.size(); ++i) rows.push_back(golden::denoise_block(weights, "", images[i], z[i]));
      return rows;
    };
    expect_equal(flat(output()), file.read(path + "/output").values, name);
    if (std::string(name) == "denoise_block_full") continue; /* differences would take minutes */
    Rows features;
    for (const Row &image : images) features.push_back(golden::denoise_backbone(weights, "", image));
    expect_equal(flat(features), file.read(path + "/backbone_output").values, "backbone");
    const Rows cotangent = file.read(path + "/cotangent").matrix();
    expect_slopes(file, path + "/grad_params", &weights, [&] { return dot(output(), cotangent); });
  }
}

/* Its alpha_bar falls where ours rises: times are 1 - t. */
TEST(TorchGolden, NotebookSchedule) {
  const File file("torch_notebook.h5");
  const Settings settings = notebook("ct");
  Vector<double> signals, weights, slopes;
  for (const double t : file.read("/S2/ct/schedule/t").values) {
    const auto p = reference::path_at(settings, 1 - t);
    signals.push_back(p.schedule.alpha_bar);
    weights.push_back(2 * reference::weight_at(settings, p)); /* ours has its half */
    slopes.push_back(p.schedule.snr_prime);
  }
  /* Our ends are 1e-12 from 0 and 1. */
  expect_equal(signals, file.read("/S2/ct/schedule/alpha_bar").values, "alpha_bar", 1e-11);
  expect_equal(weights, file.read("/S2/ct/schedule/weight").values, "weight", 1e-4);
  expect_equal(slopes, file.read("/S2/ct/schedule/true_abs_snr_prime").values, "SNR'", 1e-4);
}

TEST(TorchGolden, NotebookContinuousTime) {
  Book book("/S2/ct/train");
  const File &file = book.file;
  const Settings settings = notebook("ct");
  const auto t = file.read(book.path + "/t").values;
  const Rows noise = file.read(book.path + "/noise").matrix();
  const size_t rows = t.size();
  double ce = 0, kl = 0, mse = 0;
  Rows z, predicted;
  Vector<double> weights;
  const auto total = [&] {
    Rows latent;
    z.clear(), weights.clear();
    double mean = 0;
    kl = 0;
    for (size_t i = 0; i < rows; ++i) {
      const auto p = reference::path_at(settings, 1 - t[i]);
      latent.push_back(book.embedded(i));
      z.emplace_back();
      for (size_t j = 0; j < latent[i].size(); ++j) {
        z[i].push_back(p.a * latent[i][j] + p.b * noise[i][j]);
        kl += 0.5 * square(latent[i][j]) / static_cast<double>(rows);
      }
      weights.push_back(2 * reference::weight_at(settings, p));
      mean += weights.back() / 2 / static_cast<double>(rows);
    }
    predicted = book.predicted("block.", z);
    mse = book.mean_square(predicted, latent);
    ce = book.cross_entropy(predicted);
    return mean * mse + ce + kl;
  };
  expect_equal({total()}, file.read(book.path + "/total").values, "total", 1e-9);
  expect_equal(flat(z), file.read(book.path + "/z_t").values, "states");
  expect_equal(flat(predicted), file.read(book.path + "/prediction").values, "predictions");
  expect_equal(weights, file.read(book.path + "/weight").values, "weights", 1e-9);
  expect_equal({mse}, file.read(book.path + "/mse").values, "error");
  expect_equal({ce}, file.read(book.path + "/ce").values, "cross-entropy");
  expect_equal({kl}, file.read(book.path + "/kl").values, "half the mean square norm (D-10)");
  expect_slopes(file, book.path + "/grad_params", &book.weights, total);
}

TEST(TorchGolden, NotebookFlowMatching) {
  Book book("/S2/fm/train");
  const File &file = book.file;
  const Settings settings = reference::settings_from({{"variant", "fm"}, {"loss.t_eps", "0"}});
  const auto t = file.read(book.path + "/t").values;
  const Rows start = file.read(book.path + "/z0").matrix();
  Rows z, velocity, ends;
  double mse = 0, ce = 0;
  const auto total = [&] {
    Rows truth;
    z.clear(), ends.clear();
    for (size_t i = 0; i < t.size(); ++i) {
      const auto p = reference::path_at(settings, t[i]);
      const Row latent = book.embedded(i);
      z.emplace_back(), truth.emplace_back();
      for (size_t j = 0; j < latent.size(); ++j) {
        z[i].push_back(p.a * latent[j] + p.b * start[i][j]);
        truth[i].push_back(latent[j] - start[i][j]);
      }
    }
    velocity = book.predicted("vector_field.", z);
    for (size_t i = 0; i < t.size(); ++i)
      ends.push_back(reference::predicted_target(settings, reference::path_at(settings, t[i]), z[i], velocity[i]));
    mse = book.mean_square(velocity, truth);
    ce = book.cross_entropy(ends);
    return mse + ce;
  };
  expect_equal({total()}, file.read(book.path + "/total").values, "total");
  expect_equal(flat(z), file.read(book.path + "/z_t").values, "states");
  expect_equal(flat(velocity), file.read(book.path + "/velocity").values, "velocities");
  expect_equal(flat(ends), file.read(book.path + "/extrapolated").values, "targets");
  expect_equal({mse}, file.read(book.path + "/mse").values, "error");
  expect_equal({ce}, file.read(book.path + "/ce").values, "cross-entropy");
  expect_slopes(file, book.path + "/grad_params", &book.weights, total);
}

TEST(TorchGolden, NotebookSolves) {
  const File file("torch_notebook.h5");
  for (const std::string variant : {"ct", "fm"}) {
    const Book book("/S2/" + variant + "/train");
    const Settings settings = notebook(variant.c_str());
    const std::string block = variant == "ct" ? "block." : "vector_field.";
    for (const std::string &path : golden::compared_with_reference(file, "/S2/" + variant + "/inference_")) {
      const Rows start = file.read(path + "/z0").matrix();
      const size_t steps = file.read(path + "/trajectory").rows() - 1;
      std::vector<Row> slices(steps + 1);
      Vector<double> logits;
      for (size_t row = 0; row < start.size(); ++row) {
        reference::Solve solve;
        solve.method = "euler", solve.steps = static_cast<int>(steps);
        solve.drift = variant == "ct" ? "relax" : "ode";
        const auto states = reference::integrate_field<double>(
            settings,
            [&](const Vector<double> &z, double) {
              return golden::denoise_block(book.weights, block, book.images[row], z);
            },
            solve, start[row]);
        for (size_t k = 0; k <= steps; ++k) slices[k].insert(slices[k].end(), states[k].begin(), states[k].end());
        const Row scores = book.weights.linear("classifier", states.back());
        logits.insert(logits.end(), scores.begin(), scores.end());
      }
      expect_equal(flat(slices), file.read(path + "/trajectory").values, path);
      expect_equal(logits, file.read(path + "/logits").values, path + " logits");
    }
  }
  /* Discrete time: the state becomes each block's prediction, in this order (D-26). */
  const Book book("/S2/dt/train");
  for (const std::string &path : golden::compared_with_reference(file, "/S2/dt/inference_")) {
    Rows z = file.read(path + "/z0").matrix();
    Vector<double> slices = flat(z), logits;
    for (const char *block : {"blocks.0.", "blocks.1.", "blocks.2.", "blocks.3."}) {
      z = book.predicted(block, z);
      const auto slice = flat(z);
      slices.insert(slices.end(), slice.begin(), slice.end());
    }
    for (const Row &row : z) {
      const Row scores = book.weights.linear("classifier", row);
      logits.insert(logits.end(), scores.begin(), scores.end());
    }
    expect_equal(slices, file.read(path + "/trajectory").values, path);
    expect_equal(logits, file.read(path + "/logits").values, path + " logits");
  }
}

/* ---- the scripts ---- */

Script script_of(const File &file, const std::string &name) {
  const std::string path = "/Y/" + name + "/train";
  return {name == "noprop_simple", Weights(file, path + "/params"), file.read(path + "/x").matrix()};
}

/* Where our line of gamma has this alpha_bar: everything that the path says follows from it. */
reference::Path<double> path_of(double alpha_bar) {
  const Settings settings = reference::settings_from({{"schedule.type", "sigmoid"},
                                                      {"schedule.k", "10"},
                                                      {"schedule.t_mid", "0.5"},
                                                      {"schedule.renormalise", "false"},
                                                      {"loss.path", "signal_mean"}});
  return reference::path_at(settings, (std::log(alpha_bar / (1 - alpha_bar)) + 5) / 10);
}

TEST(TorchGolden, ScriptsTimeFeatures) {
  const File file("torch_notebook.h5");
  for (const long n : {8L, 64L}) {
    Settings settings;
    settings.network.time_type = "sinusoidal_unit";
    settings.network.time_size = n;
    Rows rows, own;
    for (const double t : file.read("/Y/time_features/t").values) {
      rows.push_back(reference::embed_time(settings, t));
      own.push_back(golden::time_features(t, n));
    }
    const auto want = file.read("/Y/time_features/n" + std::to_string(n)).values;
    expect_equal(flat(rows), want, "embedding sinusoidal_unit");
    expect_equal(flat(own), want, "features");
  }
}

TEST(TorchGolden, ScriptsSchedules) {
  const File file("torch_notebook.h5");
  for (const std::string name : {"nopropct_mnist", "noprop_simple"}) {
    const std::string path = "/Y/" + name + "/schedule";
    Weights weights(file, path + "/params");
    const auto t = file.read(path + "/t").values, cotangent = file.read(path + "/cotangent_snr_prime").values;
    Vector<double> signal, snr, slope;
    for (const double at : t) {
      const auto v = golden::torch_schedule(weights, "", name == "noprop_simple", at);
      signal.push_back(v.alpha_bar);
      snr.push_back(v.alpha_bar / (1 - v.alpha_bar));
      slope.push_back(v.snr_prime);
    }
    expect_equal(signal, file.read(path + "/alpha_bar").values, path + " alpha_bar");
    expect_equal(snr, file.read(path + "/snr").values, path + " SNR");
    expect_equal(slope, file.read(path + "/snr_prime").values, path + " SNR'");
    expect_slopes(file, path + "/grad_params", &weights, [&] {
      double sum = 0;
      for (size_t i = 0; i < t.size(); ++i)
        sum += cotangent[i] * golden::torch_schedule(weights, "", name == "noprop_simple", t[i]).snr_prime;
      return sum;
    });
  }
}

TEST(TorchGolden, ScriptsLayers) {
  const File file("torch_notebook.h5");
  for (const std::string name : {"nopropct_mnist", "noprop_simple"}) {
    const bool simple = name == "noprop_simple";
    const std::string root = "/Y/" + name + "/";
    for (const char *mode : {"eval", "train"}) {
      const std::string path = root + "fuse_head_" + mode;
      Weights weights(file, path + "/params"), running(file, path + "/buffers");
      const Rows fx = file.read(path + "/fx").matrix(), fz = file.read(path + "/fz").matrix(),
                 ft = file.read(path + "/ft").matrix(), cotangent = file.read(path + "/cotangent").matrix();
      Rows features;
      for (size_t i = 0; i < fx.size(); ++i) features.push_back(golden::concatenated({fx[i], fz[i], ft[i]}));
      const auto output = [&] {
        return golden::fuse(weights, "", features, std::string(mode) == "eval" ? &running : nullptr);
      };
      expect_equal(flat(output()), file.read(path + "/output").values, path);
      expect_slopes(file, path + "/grad_params", &weights, [&] { return dot(output(), cotangent); });
    }
    for (const std::string layer : {"label_encoder", "time_encoder"}) {
      const std::string path = root + layer;
      Weights weights(file, path + "/params");
      const Rows input = file.read(path + "/input").matrix(), cotangent = file.read(path + "/cotangent").matrix();
      const auto output = [&] {
        Rows rows;
        for (const Row &row : input) {
          if (layer == "time_encoder") {
            rows.push_back(golden::relu(weights.linear(simple ? "fc.0" : "net.0", golden::time_features(row[0], 8))));
          } else if (simple) {
            rows.push_back(weights.linear("fc2", golden::relu(weights.linear("fc1", row))));
            for (size_t j = 0; j < row.size(); ++j) rows.back()[j] += row[j];
          } else {
            rows.push_back(golden::relu(weights.linear("net.0", row)));
          }
        }
        return rows;
      };
      expect_equal(flat(output()), file.read(path + "/output").values, path);
      expect_slopes(file, path + "/grad_params", &weights, [&] { return dot(output(), cotangent); });
    }
  }
}

TEST(TorchGolden, ScriptsLosses) {
  const File file("torch_notebook.h5");
  for (const std::string name : {"nopropct_mnist", "noprop_simple"}) {
    const std::string path = "/Y/" + name + "/train";
    SCOPED_TRACE(path);
    Script script = script_of(file, name);
    const auto t = file.read(path + "/t").values, labels = file.read(path + "/y").values;
    const Rows noise = file.read(path + "/noise").matrix(), last = file.read(path + "/noise_t1").matrix();
    const double rows = static_cast<double>(t.size());
    Rows z, predicted, logits;
    Vector<double> signals, slopes, errors;
    double sdm = 0, kl = 0, ce = 0;
    const auto states = [&](const Row &times, const Rows &with) {
      Rows result;
      for (size_t i = 0; i < times.size(); ++i) {
        const auto p = path_of(script.schedule(times[i]).alpha_bar);
        const Row latent = script.latent(static_cast<long>(labels[i]));
        result.emplace_back();
        for (size_t j = 0; j < latent.size(); ++j) result[i].push_back(p.a * latent[j] + p.b * with[i][j]);
      }
      return result;
    };
    const auto total = [&] {
      const Row ones(t.size(), 1.0);
      z = states(t, noise);
      logits = script.logits(z, t, nullptr);
      const Rows end_logits = script.logits(states(ones, last), ones, nullptr);
      predicted.clear(), signals.clear(), slopes.clear(), errors.clear();
      sdm = kl = ce = 0;
      for (size_t i = 0; i < t.size(); ++i) {
        const auto v = script.schedule(t[i]);
        const Row latent = script.latent(static_cast<long>(labels[i]));
        signals.push_back(v.alpha_bar);
        slopes.push_back(v.snr_prime);
        predicted.push_back(script.predicted(logits[i]));
        errors.push_back(0);
        for (size_t j = 0; j < latent.size(); ++j) {
          errors.back() += square(predicted[i][j] - latent[j]);
          kl += 0.5 * square(latent[j]) / rows;
        }
        sdm += 0.5 * slopes[i] * errors[i] / rows;
        ce -= std::log(golden::softmax(end_logits[i])[static_cast<size_t>(labels[i])]) / rows;
      }
      return sdm + kl + ce;
    };
    expect_equal({total()}, file.read(path + "/total").values, "total");
    expect_equal(flat(z), file.read(path + "/z_t").values, "states");
    expect_equal(signals, file.read(path + "/alpha_bar").values, "alpha_bar");
    expect_equal(slopes, file.read(path + "/snr_prime").values, "SNR'");
    expect_equal(flat(predicted), file.read(path + "/prediction").values, "predictions");
    expect_equal(errors, file.read(path + "/squared_error").values, "errors");
    expect_equal(flat(logits), file.read(path + "/logits").values, "logits");
    expect_equal({sdm}, file.read(path + "/sdm").values, "main term");
    expect_equal({kl}, file.read(path + "/kl").values, "half the mean square norm (D-10)");
    expect_equal({ce}, file.read(path + "/ce").values, "cross-entropy");
    expect_slopes(file, path + "/grad_params", &script.weights, total);
  }
}

/* States at every call of the network; batch norm with running statistics, so that rows do not meet. */
TEST(TorchGolden, ScriptsSolves) {
  const File file("torch_notebook.h5");
  for (const std::string name : {"nopropct_mnist", "noprop_simple"}) {
    Script script = script_of(file, name);
    const Weights running(file, "/Y/" + name + "/train/buffers_inference");
    const Rows images = script.images;
    const auto paths = golden::compared_with_reference(file, "/Y/" + name + "/inference_");
    EXPECT_EQ(paths.size(), 8U);
    for (const std::string &path : paths) {
      std::smatch match;
      ASSERT_TRUE(std::regex_search(path, match, std::regex("_(euler|heun)_([0-9]+)$")));
      const int steps = std::stoi(match[2]);
      const Rows start = file.read(path + "/z0").matrix();
      std::vector<Row> calls;
      Vector<double> classes;
      for (size_t row = 0; row < start.size(); ++row) {
        script.images = {images[row]};
        size_t call = 0;
        const auto keep = [&](const Row &z) {
          if (calls.size() <= call) calls.emplace_back();
          calls[call].insert(calls[call].end(), z.begin(), z.end());
          ++call;
        };
        const reference::Field<double> field = [&](const Vector<double> &z, double t) {
          keep(z);
          const auto c = reference::convert(path_of(script.schedule(t).alpha_bar), "target", "relax_noise");
          Row target = script.predicted(script.logits({z}, {t}, &running)[0]);
          for (size_t j = 0; j < z.size(); ++j) target[j] = c.state * z[j] + c.prediction * target[j];
          return target;
        };
        Vector<double> z = start[row];
        for (int s = 0; s < steps; ++s)
          z = reference::runge_kutta_step(match[1], field, z, static_cast<double>(s) / steps, 1.0 / steps);
        Row scores = z; /* of one-hot latents; the simple script asks once more */
        if (script.simple) {
          keep(z);
          scores = script.logits({z}, {1.0}, &running)[0];
        }
        classes.push_back(static_cast<double>(std::max_element(scores.begin(), scores.end()) - scores.begin()));
      }
      /* Errors grow by up to 150 dt a step before they shrink. */
      expect_equal(flat(calls), file.read(path + "/z_at_calls").values, path, 1e-9);
      EXPECT_EQ(classes, file.read(path + "/predicted_class").values) << path;
    }
  }
}

}  // namespace
