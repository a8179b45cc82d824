/* Every way of drawing times estimates the integral that it is meant to, and importance does so with less variance.
 *
 * A network of zeros predicts 0, so that the loss of a row is w(t) times a known function of t and noise. The mean over
 * many batches is compared with quadrature: batches are independent, so their mean is normal with the error that their
 * own spread shows. Ten comparisons at 5.5 standard errors (1.9e-8 each, two-sided) fail by chance less than once in
 * five million runs. */
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/harness.h"

namespace {

using namespace kernels_test;

constexpr double kErrors = 5.5;
constexpr int kBatches = 100, kRows = 256;

struct Sampling {
  const char *times, *weight, *variant;
};

struct Estimate {
  double flow, recon, flow_error, recon_error; /* means and their standard errors */
};

/* Mean of `value` over t uniform in [t_eps, 1 - t_eps] or uniform in gamma: midpoints in the logit of t. */
template <typename Function>
double quadrature(const Settings &settings, bool by_gamma, const Function &value) {
  const double low = settings.loss.t_eps, edge = std::log((1 - low) / low);
  const int n = 40000;
  double sum = 0, mass = 0;
  for (int i = 0; i < n; ++i) {
    const double t = 1 / (1 + std::exp(edge - 2 * edge * (i + 0.5) / n));
    const auto path = reference::path_at(settings, t);
    const double density = t * (1 - t) * (by_gamma ? 2 * path.r : 1);
    sum += density * value(path);
    mass += density;
  }
  return sum / mass;
}

class TimeSampling : public testing::TestWithParam<Sampling> {
 protected:
  static Keys keys() {
    const Sampling &s = GetParam();
    return {{"variant", s.variant},        {"prediction", "v"},
            {"task", "regress"},           {"loss.weight", s.weight},
            {"network.hidden", "[8]"},     {"loss.t_sampling", s.times},
            {"loss.recon.weight", "0.25"}, {"seed", "5"}};
  }
};
INSTANTIATE_TEST_SUITE_P(Ways, TimeSampling,
                         testing::Values(Sampling{"uniform", "elbo", "ct"}, Sampling{"low_discrepancy", "elbo", "ct"},
                                         Sampling{"gamma", "min_snr", "ct"}, Sampling{"importance", "elbo", "ct"},
                                         Sampling{"importance", "elbo", "fm"}));

Estimate estimate(noprop_model *model, const std::vector<float> &x, const std::vector<float> &y) {
  double sums[4] = {};
  for (int batch = 0; batch < kBatches; ++batch) {
    noprop_loss_request request = {};
    request.rows = kRows;
    request.condition = x.data();
    request.target = y.data();
    request.step = static_cast<uint64_t>(batch);
    noprop_loss_terms terms;
    if (!ok(noprop_model_loss(model, &request, &terms), "noprop_model_loss")) return {};
    sums[0] += terms.flow, sums[1] += terms.flow * terms.flow;
    sums[2] += terms.recon, sums[3] += terms.recon * terms.recon;
  }
  const auto error = [](double sum, double squares) {
    const double mean = sum / kBatches;
    return std::sqrt((squares / kBatches - mean * mean) / (kBatches - 1));
  };
  return {sums[0] / kBatches, sums[2] / kBatches, error(sums[0], sums[1]), error(sums[2], sums[3])};
}

TEST_P(TimeSampling, IsUnbiased) {
  const Settings settings = reference::settings_from(keys());
  noprop_model_shape shape = {};
  shape.condition_width = 1;
  shape.target_width = 2;
  const Model model = create_model(keys(), shape);
  ASSERT_TRUE(model);
  const std::vector<float> zeros(static_cast<size_t>(noprop_model_parameter_values(model.get())), 0.0f);
  ASSERT_TRUE(ok(noprop_model_set_parameters(model.get(), zeros.data()), "noprop_model_set_parameters"));
  const std::vector<float> x(kRows, 0.0f), y(2 * kRows, 0.75f);
  const Estimate got = estimate(model.get(), x, y);

  /* v = (a e - b z1)/s; the target that v = 0 says is a z/s^2, off by (a b e - b^2 z1)/s^2. */
  const bool by_gamma = settings.loss.t_sampling == "gamma";
  const double z1 = 0.75;
  const double flow = quadrature(settings, by_gamma, [&](const reference::Path<double> &p) {
    const double a = p.a * p.a, b = p.b * p.b;
    return weight_at(settings, p) * (a + b * z1 * z1) / (a + b);
  });
  const double recon = quadrature(settings, by_gamma, [&](const reference::Path<double> &p) {
    const double a = p.a * p.a, b = p.b * p.b;
    return (a * b + b * b * z1 * z1) / ((a + b) * (a + b));
  });
  std::printf("flow %.6g, quadrature %.6g: %.2f standard errors of %.2g; recon %.6g, %.6g: %.2f of %.2g\n", got.flow,
              flow, (got.flow - flow) / got.flow_error, got.flow_error, got.recon, recon,
              (got.recon - recon) / got.recon_error, got.recon_error);
  /* Single precision of the sums beside the statistical error. */
  EXPECT_NEAR(got.flow, flow, kErrors * got.flow_error + 2e-6 * flow);
  EXPECT_NEAR(got.recon, recon, kErrors * got.recon_error + 2e-6 * recon);
  EXPECT_LT(got.flow_error, 0.03 * flow) << "the test could not tell";
  EXPECT_LT(got.recon_error, 0.03 * recon) << "the test could not tell";
}

/* The reason to draw by importance: the main term's spread. */
TEST(TimeSamplingVariance, ImportanceSpreadsLessThanUniformTimes) {
  double errors[2];
  const char *ways[] = {"uniform", "importance"};
  for (size_t way = 0; way < 2; ++way) {
    const Keys keys = {{"variant", "ct"},
                       {"prediction", "v"},
                       {"task", "regress"},
                       {"loss.weight", "elbo"},
                       {"network.hidden", "[8]"},
                       {"loss.t_sampling", ways[way]},
                       {"loss.recon.weight", "0.25"},
                       {"seed", "5"}};
    noprop_model_shape shape = {};
    shape.condition_width = 1;
    shape.target_width = 2;
    const Model model = create_model(keys, shape);
    ASSERT_TRUE(model);
    const std::vector<float> zeros(static_cast<size_t>(noprop_model_parameter_values(model.get())), 0.0f);
    ASSERT_TRUE(ok(noprop_model_set_parameters(model.get(), zeros.data()), "noprop_model_set_parameters"));
    errors[way] =
        estimate(model.get(), std::vector<float>(kRows, 0.0f), std::vector<float>(2 * kRows, 0.75f)).flow_error;
  }
  EXPECT_LT(errors[1], 0.5 * errors[0]);
}

}  // namespace
