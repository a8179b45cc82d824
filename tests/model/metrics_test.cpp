/* Metrics against the same metrics computed plainly on the host from downloaded predictions; validation and requests.
 */
#include <algorithm>
#include <cmath>

#include "tests/model/support.h"
#include "tests/reference/random.h"

using namespace model_test;

namespace {

const Keys kBase = {{"network.hidden", "[8, 8]"}, {"sample.steps", "4"}};

Keys with(Keys keys, const Keys &more) {
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

struct Evaluated {
  noprop_metrics metrics = {};
  std::vector<float> output;
};

Evaluated evaluate(noprop_model *model, const Data &data) {
  Evaluated result;
  const noprop_array condition = data.condition_array(), target = data.target_array();
  const noprop_sampler_options options = noprop_sampler_options_default(model);
  result.output.resize(static_cast<size_t>(data.rows * data.target_width));
  EXPECT_OK(
      noprop_sample(model, &options, data.condition_pointer(condition), data.rows, nullptr, result.output.data()));
  EXPECT_OK(noprop_evaluate(model, &options, data.condition_pointer(condition), &target, &result.metrics));
  return result;
}

/* Relative error of sums in double precision over some thousand terms that come from float32 exactly. */
constexpr double kSum = 1e-12;

/* Squared 2-Wasserstein distance of two samples on the line, by stepping through both quantile functions. */
double wasserstein(std::vector<double> a, std::vector<double> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  double sum = 0.0, at = 0.0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const double end_a = static_cast<double>(i + 1) / static_cast<double>(a.size());
    const double end_b = static_cast<double>(j + 1) / static_cast<double>(b.size());
    const double end = std::min(end_a, end_b);
    sum += (end - at) * (a[i] - b[j]) * (a[i] - b[j]);
    at = end;
    if (end_a <= end_b + 1e-15) ++i;
    if (end_b <= end_a + 1e-15) ++j;
  }
  return sum;
}

double sliced_w2(const std::vector<float> &a, const std::vector<float> &b, long width) {
  double sum = 0.0;
  for (uint32_t p = 0; p < 128; ++p) {
    std::vector<double> direction;
    double squares = 0.0;
    for (uint32_t i = 0; i < static_cast<uint32_t>(width); ++i) {
      /* The stream of probes, seed "slice" d. */
      const reference::Words words = reference::philox({i, p, 6, 0}, {0x69636564u, 0x736cu});
      const double normal = std::sqrt(-2.0 * std::log(reference::uniform01(words[0]))) *
                            std::cos(2.0 * M_PI * reference::uniform01(words[1]));
      direction.push_back(normal);
      squares += normal * normal;
    }
    std::vector<double> projections[2];
    const std::vector<float> *samples[2] = {&a, &b};
    for (int s = 0; s < 2; ++s) {
      for (size_t row = 0; row < samples[s]->size() / static_cast<size_t>(width); ++row) {
        double value = 0.0;
        for (long i = 0; i < width; ++i)
          value += direction[static_cast<size_t>(i)] *
                   (*samples[s])[row * static_cast<size_t>(width) + static_cast<size_t>(i)];
        projections[s].push_back(value / std::sqrt(squares));
      }
    }
    sum += wasserstein(projections[0], projections[1]);
  }
  return std::sqrt(sum / 128);
}

double mean_distance(const std::vector<float> &a, const std::vector<float> &b, long width) {
  const size_t w = static_cast<size_t>(width), n = a.size() / w, m = b.size() / w;
  double sum = 0.0;
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < m; ++j) {
      double squares = 0.0;
      for (size_t k = 0; k < w; ++k) squares += std::pow(static_cast<double>(a[i * w + k]) - b[j * w + k], 2);
      sum += std::sqrt(squares);
    }
  }
  return sum / static_cast<double>(n * m);
}

}  // namespace

TEST(Metrics, AccuracyCountsRowsWhoseLargestScoreIsTheLabel) {
  const Data data = make_data(333, 3, 5, true);
  const Model model = make_model(with(kBase, {{"variant", "ct"}, {"task", "classify"}}), data);
  ASSERT_TRUE(model);
  const Evaluated got = evaluate(model.get(), data);
  long right = 0;
  double squared = 0.0, absolute = 0.0;
  for (long row = 0; row < data.rows; ++row) {
    const float *scores = got.output.data() + row * 5;
    right += std::max_element(scores, scores + 5) - scores == data.labels[static_cast<size_t>(row)];
    for (int i = 0; i < 5; ++i) {
      const double error = static_cast<double>(scores[i]) - (i == data.labels[static_cast<size_t>(row)]);
      squared += error * error;
      absolute += std::fabs(error);
    }
  }
  ASSERT_TRUE(got.metrics.has_accuracy);
  EXPECT_FALSE(got.metrics.has_distances);
  EXPECT_EQ(got.metrics.rows, 333);
  EXPECT_EQ(got.metrics.accuracy, static_cast<double>(right) / 333);
  EXPECT_GT(right, 0);
  EXPECT_NEAR(got.metrics.mse, squared / (333 * 5), kSum * got.metrics.mse);
  EXPECT_NEAR(got.metrics.mae, absolute / (333 * 5), kSum * got.metrics.mae);
}

TEST(Metrics, ErrorsAreInTheUnitsOfTheData) {
  Data data = make_data(500, 3, 3, false);
  for (size_t i = 0; i < data.values.size(); ++i) data.values[i] = data.values[i] * 2.0f + 1000.0f;
  const Model model = make_model(with(kBase, {{"variant", "fm"}, {"task", "regress"}}), data);
  ASSERT_TRUE(model);
  const std::vector<float> mean(3, 1000.0f), std(3, 2.0f);
  ASSERT_OK(noprop_model_set_statistics(model.get(), nullptr, nullptr, mean.data(), std.data()));
  const Evaluated got = evaluate(model.get(), data);
  double squared = 0.0, absolute = 0.0, spread = 0.0, means[3] = {};
  for (size_t i = 0; i < data.values.size(); ++i) means[i % 3] += data.values[i] / 500.0;
  for (size_t i = 0; i < data.values.size(); ++i) {
    const double error = static_cast<double>(got.output[i]) - data.values[i];
    squared += error * error;
    absolute += std::fabs(error);
    spread += std::pow(data.values[i] - means[i % 3], 2);
  }
  ASSERT_TRUE(got.metrics.has_errors);
  EXPECT_FALSE(got.metrics.has_accuracy);
  EXPECT_NEAR(got.metrics.mse, squared / 1500, kSum * got.metrics.mse);
  EXPECT_NEAR(got.metrics.mae, absolute / 1500, kSum * got.metrics.mae);
  EXPECT_NEAR(got.metrics.r2, 1.0 - squared / spread, 1e-10);
}

TEST(Metrics, DistancesAreThoseOfTheSamples) {
  for (const long width : {1L, 2L, 13L}) {
    const Data data = make_data(301, 0, width, false);
    const Model model = make_model(with(kBase, {{"variant", "fm"}, {"task", "generate"}}), data);
    ASSERT_TRUE(model);
    const Evaluated got = evaluate(model.get(), data);
    ASSERT_TRUE(got.metrics.has_distances);
    EXPECT_FALSE(got.metrics.has_errors);
    const double sliced = sliced_w2(got.output, data.values, width);
    const double between = mean_distance(got.output, data.values, width);
    const double energy =
        2 * between - mean_distance(got.output, got.output, width) - mean_distance(data.values, data.values, width);
    /* Projections and distances are float32: errors of some roundings of their size, which is that of `between`. */
    EXPECT_NEAR(got.metrics.sliced_w2, sliced, 0x1p-24 * static_cast<double>(width + 2) * between) << "width " << width;
    EXPECT_NEAR(got.metrics.energy, energy, 0x1p-24 * static_cast<double>(width + 4) * 4 * between)
        << "width " << width;
    EXPECT_GT(sliced, 1e-3);
    EXPECT_GT(energy, 1e-4);
  }
}

TEST(Metrics, MoreRowsThanCanBeSortedAreThinned) {
  const Data data = make_data(16390, 0, 1, false);
  const Model model =
      make_model({{"variant", "fm"}, {"task", "generate"}, {"network.hidden", "[4]"}, {"sample.steps", "1"}}, data);
  ASSERT_TRUE(model);
  const noprop_array target = data.target_array();
  const noprop_sampler_options options = noprop_sampler_options_default(model.get());
  noprop_metrics metrics;
  ASSERT_OK(noprop_evaluate(model.get(), &options, nullptr, &target, &metrics));
  EXPECT_EQ(metrics.rows, 16384);
  EXPECT_TRUE(std::isfinite(metrics.sliced_w2));
  EXPECT_GE(metrics.energy, 0.0);
}

TEST(Validation, IsTheMeanLossWithFixedNoise) {
  const Data data = make_data(300, 3, 2, false);
  const Model model =
      make_model(with(kBase, {{"variant", "df"}, {"task", "regress"}, {"network.dropout", "0.5"}}), data);
  ASSERT_TRUE(model);
  const noprop_array condition = data.condition_array(), target = data.target_array();
  noprop_loss_terms first, second, asked;
  ASSERT_OK(noprop_model_validate(model.get(), &condition, &target, &first));
  ASSERT_OK(noprop_model_validate(model.get(), &condition, &target, &second));
  EXPECT_EQ(first.loss, second.loss);
  noprop_loss_request request = {};
  request.rows = 300;
  request.condition = data.condition.data();
  request.target = data.values.data();
  request.step = 0xffffffffu;
  std::vector<float> row_loss(300);
  request.row_loss = row_loss.data();
  ASSERT_OK(noprop_model_loss(model.get(), &request, &asked));
  EXPECT_EQ(first.loss, asked.loss);
  double mean = 0.0;
  for (const float loss : row_loss) mean += loss / 300.0;
  EXPECT_NEAR(mean, asked.loss, 0x1p-24 * 32 * mean);
  EXPECT_GT(mean, 0.1);
}

TEST(Loss, GivesTheSameTermsWithAndWithoutAGradient) {
  const Data data = make_data(77, 3, 2, false);
  const Model model = make_model(
      with(kBase, {{"variant", "fm"}, {"task", "regress"}, {"loss.recon.weight", "0.5"}, {"loss.reg", "0.1"}}), data);
  ASSERT_TRUE(model);
  std::vector<float> gradient(static_cast<size_t>(noprop_model_parameter_values(model.get())));
  noprop_loss_request request = {};
  request.rows = 77;
  request.condition = data.condition.data();
  request.target = data.values.data();
  request.step = 3;
  noprop_loss_terms without, with_gradient;
  ASSERT_OK(noprop_model_loss(model.get(), &request, &without));
  request.gradient = gradient.data();
  ASSERT_OK(noprop_model_loss(model.get(), &request, &with_gradient));
  EXPECT_NEAR(without.loss, with_gradient.loss, 0x1p-24 * 32 * without.loss);
  EXPECT_NEAR(without.loss, without.flow + 0.5 * without.recon + 0.1 * without.reg, 0x1p-24 * 32 * without.loss);
  EXPECT_GT(without.recon, 0.0);
  EXPECT_GT(without.reg, 0.0);
}
