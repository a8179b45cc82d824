/* The notebook's discrete-time model (S2): its tables of noise levels in the right order, from the reference and from
 * the engine, and what follows from its blocks' predictions - states, errors, classifier and its gradient, total. (The
 * preset's own kernels: torch_kernel_golden_test.cpp.) */
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

extern "C" {
#include "engine/dt.h"
}
#include "tests/golden/golden_cases.h"
#include "tests/golden/golden_expect.h"
#include "tests/reference/compare.h"
#include "tests/reference/dt.h"

namespace {

using namespace reference;
using golden::File;

using golden::expect_equal;

/* alpha_bar_t = prod cos^2(pi s/2T), s = 1..t, decreases with t: block T of the notebook is the first one here. Weights
 * in this order are SNR_k - SNR_(k-1) with SNR 0 before the first level; with eta 2 they are block_weights. */
TEST(DiscreteTimeGolden, LevelsAndTheirWeights) {
  const File file("torch_notebook.h5");
  const auto tables = file.groups("/S2/dt/schedule");
  ASSERT_EQ(tables.size(), 4U);
  for (const std::string &name : tables) {
    const std::string path = "/S2/dt/schedule/" + name;
    SCOPED_TRACE(path);
    Vector<double> grid = file.read(path + "/alpha_bar_float64").values;
    const Vector<double> snr = file.read(path + "/snr_float64").values,
                         corrected = file.read(path + "/snr_delta_corrected").values;
    const size_t blocks = grid.size();
    Vector<double> own, ratios;
    double product = 1;
    for (size_t t = 1; t <= blocks; ++t) {
      const double cosine = std::cos(M_PI * static_cast<double>(t) / (2 * static_cast<double>(blocks)));
      own.push_back(product *= cosine * cosine);
      ratios.push_back(grid[t - 1] / (1 - grid[t - 1]));
    }
    expect_equal({own.begin(), own.end() - 1}, {grid.begin(), grid.end() - 1}, "alpha_bar");
    expect_equal(ratios, snr, "snr");
    std::reverse(grid.begin(), grid.end());
    grid.insert(grid.begin(), 0.0);
    expect_equal(block_weights(grid, 2.0), corrected, "weights");

    /* The engine, told the same levels by a table of gamma. */
    noprop_config *config = nullptr;
    ASSERT_EQ(noprop_config_create(&config), NOPROP_OK);
    std::string table = "[";
    for (size_t k = 1; k <= blocks; ++k) {
      char pair[80];
      snprintf(pair, sizeof pair, "%s[%.17g, %.17g]", k > 1 ? ", " : "",
               static_cast<double>(k - 1) / static_cast<double>(blocks - 1), std::log(grid[k] / (1 - grid[k])));
      table += pair;
    }
    for (const auto &[key, value] : {std::pair<const char *, std::string>{"variant", "dt"},
                                     {"dt.blocks", std::to_string(blocks - 1)},
                                     {"dt.eta", "2"},
                                     {"schedule.type", "tabulated"},
                                     {"schedule.table", table + "]"}})
      ASSERT_EQ(noprop_config_set(config, key, value.c_str()), NOPROP_OK) << noprop_last_error();
    struct settings settings;
    ASSERT_EQ(settings_resolve(config, &settings), NOPROP_OK) << noprop_last_error();
    noprop_config_destroy(config);
    std::vector<struct dt_level> levels(blocks);
    ASSERT_EQ(dt_levels(&settings, 1, levels.data()), NOPROP_OK);
    Vector<double> weights, signals;
    for (size_t k = 0; k < blocks; ++k) {
      signals.push_back(levels[k].a * levels[k].a);
      if (k + 1 < blocks) weights.push_back(levels[k].weight);
    }
    expect_equal(signals, {grid.begin() + 1, grid.end()}, "alpha_bar of the engine's levels");
    expect_equal(weights, {corrected.begin() + 1, corrected.end()}, "weights of the engine's levels");
  }
}

TEST(DiscreteTimeGolden, WhatFollowsFromTheBlocksPredictions) {
  const File file("torch_notebook.h5");
  const std::string path = "/S2/dt/train";
  const Vector<double> alpha_bar = file.read(path + "/alpha_bar").values, delta = file.read(path + "/snr_delta").values,
                       mse = file.read(path + "/mse").values, y = file.read(path + "/y").values;
  const auto vectors = file.read(path + "/params/W_embed").matrix(),
             weight = file.read(path + "/params/classifier.weight").matrix();
  const size_t rows = y.size(), d = vectors[0].size(), classes = weight.size();
  Batch<double> batch;
  for (const double label : y) {
    batch.label.push_back(static_cast<long>(label));
    batch.z1.push_back(vectors[static_cast<size_t>(label)]);
  }
  double total = 0, squares = 0;
  for (size_t t = 0; t < alpha_bar.size(); ++t) {
    const auto noise = file.read(path + "/noise").slice(t).matrix(), z = file.read(path + "/z_t").slice(t).matrix(),
               prediction = file.read(path + "/prediction").slice(t).matrix();
    Vector<double> states, wanted;
    double error = 0;
    for (size_t i = 0; i < rows; ++i)
      for (size_t j = 0; j < d; ++j) {
        states.push_back(std::sqrt(alpha_bar[t]) * batch.z1[i][j] + std::sqrt(1 - alpha_bar[t]) * noise[i][j]);
        wanted.push_back(z[i][j]);
        const double miss = prediction[i][j] - batch.z1[i][j];
        error += miss * miss / static_cast<double>(rows * d);
      }
    expect_equal(states, wanted, "states of block " + std::to_string(t), 1e-6); /* its tables are float32 */
    expect_equal({error}, {mse[t]}, "error of block " + std::to_string(t));
    total += 0.5 * 0.1 * delta[t] * mse[t];
  }
  /* The classifier reads the last block's prediction as it is: a state without noise. */
  Batch<double> last = batch;
  last.z1 = file.read(path + "/prediction").slice(alpha_bar.size() - 1).matrix();
  last.noise = {std::vector<Vector<double>>(rows, Vector<double>(d, 0.0))};
  Vector<double> parameters(d * classes), want(d * classes);
  const auto weight_bar = file.read(path + "/grad_params/classifier.weight").matrix();
  for (size_t c = 0; c < classes; ++c)
    for (size_t j = 0; j < d; ++j) {
      parameters[j * classes + c] = weight[c][j];
      want[j * classes + c] = weight_bar[c][j];
    }
  for (const double b : file.read(path + "/params/classifier.bias").values) parameters.push_back(b);
  for (const double b : file.read(path + "/grad_params/classifier.bias").values) want.push_back(b);
  const Loss<double> scores = classifier_loss(parameters, static_cast<long>(classes), 1.0, last);
  expect_equal({scores.total}, file.read(path + "/ce").values, "cross-entropy");
  expect_equal(scores.gradient, want, "gradient of the classifier");
  for (const auto &row : batch.z1)
    for (const double u : row) squares += u * u / static_cast<double>(rows);
  const double kl = file.read(path + "/kl").values[0];
  expect_equal({0.5 * squares}, {kl}, "half the mean square norm, which the notebook calls kl (D-10)");
  expect_equal({total + scores.total + kl}, file.read(path + "/total").values, "total", 1e-6);
}

}  // namespace
