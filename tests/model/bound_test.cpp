/* The bound of the likelihood in nats: networks that are linear maps of the state, whose bound is an integral of known
 * functions, against that integral within the stated Monte-Carlo error. */
#include <cmath>
#include <cstdio>
#include <cstring>

#include "tests/model/support.h"
#include "tests/reference/dt.h"
#include "tests/reference/schedule.h"

using namespace model_test;
using reference::Settings;

namespace {

const Keys kBase = {{"task", "regress"},
                    {"network.hidden", "[8, 8]"},
                    {"network.activation", "linear"},
                    {"network.time_embedding.size", "6"},
                    {"precision", "fp32"},
                    {"data.standardise", "false"}};

Keys with(Keys keys, const Keys &more) {
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

Settings settings_of(const Keys &keys) {
  Settings settings;
  for (const auto &[key, value] : keys)
    if (key.rfind("data.", 0) != 0) settings.set(key, value);
  return settings;
}

/* The network that says p = w z: its first `width` hidden units carry z, all else is 0. */
void make_linear(noprop_model *model, long width, float w) {
  std::vector<float> values(static_cast<size_t>(noprop_model_parameter_values(model)), 0.0f);
  for (int i = 0; i < noprop_model_parameter_count(model); ++i) {
    const noprop_parameter p = noprop_model_parameter(model, i);
    const bool first = std::strstr(p.name, "squash.z.weight"), last = std::strstr(p.name, "output.weight");
    if (!first && !last && !std::strstr(p.name, "hidden.1.weight")) continue;
    const long columns = last ? width : 8;
    for (long k = 0; k < width; ++k) values[static_cast<size_t>(p.offset + k * columns + k)] = last ? w : 1.0f;
  }
  ASSERT_OK(noprop_model_set_parameters(model, values.data()));
}

double mean_square(const Data &data) {
  double sum = 0;
  for (const float v : data.values) sum += static_cast<double>(v) * v;
  return sum / static_cast<double>(data.rows);
}

/* 1/2 integral of SNR' E|c z - z1|^2 over the times of training, by Simpson's rule. */
double diffusion(const Settings &settings, double w, double squares, double d) {
  const double low = settings.loss.t_eps, high = 1 - low;
  const int panels = 100000;
  const auto at = [&](double t) {
    const auto path = reference::path_at<double>(settings, t);
    const auto target = reference::convert<double>(path, settings.predicted(), "target");
    const double c = target.state + target.prediction * w, miss = c * path.a - 1;
    return 0.5 * reference::snr_prime_at<double>(settings, path) *
           (miss * miss * squares + c * c * path.b * path.b * d);
  };
  double sum = 0;
  for (int i = 0; i < panels; ++i) {
    const double from = low + (high - low) * i / panels, to = low + (high - low) * (i + 1) / panels;
    sum += (to - from) / 6 * (at(from) + 4 * at((from + to) / 2) + at(to));
  }
  return sum;
}

noprop_bound_terms bound_of(noprop_model *model, const Data &data) {
  noprop_bound_terms terms = {};
  const noprop_array condition = data.condition_array(), target = data.target_array();
  EXPECT_EQ(noprop_bound_refusal(model), nullptr);
  EXPECT_OK(noprop_bound(model, data.condition_pointer(condition), &target, &terms));
  EXPECT_EQ(terms.rows, data.rows);
  EXPECT_EQ(terms.nelbo_nats, terms.divergence + terms.diffusion + terms.reconstruction);
  return terms;
}

}  // namespace

TEST(Bound, OfALinearGaussianProblemIsItsClosedFormWithinTheStatedError) {
  const struct {
    const char *name;
    Keys keys;
    float w;
  } cases[] = {
      {"v", {{"variant", "ct"}, {"prediction", "v"}}, 0.3f},
      {"noise", {{"variant", "df"}, {"schedule.type", "sigmoid"}, {"schedule.alpha_bar", "[0.02, 0.99]"}}, 0.6f},
      {"target", {{"variant", "ct"}, {"schedule.type", "linear"}, {"loss.draws", "3"}}, 0.8f},
      {"velocity, vp", {{"variant", "df"}, {"prediction", "velocity"}, {"loss.weight", "elbo"}}, 0.2f},
      {"velocity, linear", {{"variant", "fm"}}, -0.4f},
  };
  const long d = 2;
  for (const auto &c : cases) {
    SCOPED_TRACE(c.name);
    const Keys keys = with(kBase, c.keys);
    const Settings settings = settings_of(keys);
    const Data data = make_data(700, 1, d, false);
    const Model model = make_model(keys, data);
    ASSERT_TRUE(model);
    make_linear(model.get(), d, c.w);
    const noprop_bound_terms got = bound_of(model.get(), data);
    const double squares = mean_square(data), low = settings.loss.t_eps;
    const auto first = reference::path_at<double>(settings, low), last = reference::path_at<double>(settings, 1 - low);
    const double variance = first.b * first.b;
    const double kl = 0.5 * (first.a * first.a * squares + d * (variance - 1 - std::log(variance)));
    const double end = 0.5 * d * (1 + std::log(2 * M_PI) + 2 * std::log(last.b / last.a));
    const double want = diffusion(settings, static_cast<double>(c.w), squares, d);
    std::printf("[  share   ] %-16s diffusion %.6g, off by %.2f of its stated error %.2g\n", c.name, got.diffusion,
                (got.diffusion - want) / got.standard_error, got.standard_error);
    EXPECT_NEAR(got.divergence, kl, 1e-5 * kl + 1e-9);
    EXPECT_NEAR(got.reconstruction, end, 1e-6 * std::fabs(end));
    /* Eight estimates: Student's t with 7 degrees of freedom is beyond 5.4 once in a thousand. */
    EXPECT_NEAR(got.diffusion, want, 5.4 * got.standard_error);
    EXPECT_GT(got.standard_error, 0);
    EXPECT_LT(got.standard_error, 0.02 * want);
  }
}

/* v = 0 is the exact posterior of data from N(0, I): the bound is then minus their log density, but for what the ends
 * lose. */
TEST(Bound, OfTheExactPosteriorIsTheLogDensity) {
  const Keys keys = with(kBase, {{"variant", "ct"}, {"prediction", "v"}});
  Data data = make_data(4000, 1, 3, false);
  const Model model = make_model(keys, data);
  ASSERT_TRUE(model);
  make_linear(model.get(), 3, 0.0f);
  const noprop_bound_terms got = bound_of(model.get(), data);
  const double minus_log_density = 0.5 * (mean_square(data) + 3 * std::log(2 * M_PI));
  EXPECT_GT(got.nelbo_nats, minus_log_density - 4 * got.standard_error);
  EXPECT_NEAR(got.nelbo_nats, minus_log_density, 4 * got.standard_error + 0.003);
  EXPECT_LT(got.standard_error, 0.1);
  /* In the data's units: twice as wide, ln 2 more in each dimension. */
  for (float &v : data.values) v = 1 + 2 * v;
  const std::vector<float> mean(3, 1), deviation(3, 2);
  ASSERT_OK(noprop_model_set_statistics(model.get(), nullptr, nullptr, mean.data(), deviation.data()));
  const noprop_bound_terms wide = bound_of(model.get(), data);
  EXPECT_NEAR(wide.nelbo_nats, got.nelbo_nats + 3 * std::log(2), 1e-4);
}

/* A network that says 0: the error is |z1|^2 = 1 everywhere, so that the bound of a label is half the range of SNR. */
TEST(Bound, OfLabelsCountsTheirProbabilityAtTheEnd) {
  const Keys keys = with(
      kBase, {{"task", "classify"}, {"variant", "ct"}, {"schedule.alpha_bar", "[0.01, 0.5]"}, {"loss.t_eps", "0"}});
  const Data data = make_data(2000, 1, 3, true);
  const Model model = make_model(keys, data);
  ASSERT_TRUE(model);
  make_linear(model.get(), 3, 0.0f);
  const noprop_bound_terms got = bound_of(model.get(), data);
  EXPECT_NEAR(got.diffusion, 0.5 * (1 - 0.01 / 0.99), 1e-4);
  EXPECT_NEAR(got.divergence, 0.5 * (0.01 - 3 * (0.01 + std::log(0.99))), 1e-6);
  /* E -ln softmax(z/a) with z/a ~ N(e, I) and three classes, by the trapezoidal rule over both differences of the
   * scores, s_k - s_own = -1 + n_k - n_own: normal with means -1, variances 2 and covariance 1. */
  double want = 0;
  for (double x = -8; x < 8; x += 0.05)
    for (double y = -8; y < 8; y += 0.05)
      want += 0.05 * 0.05 / (2 * M_PI * std::sqrt(3)) * std::exp(-(x * x - x * y + y * y) / 3) *
              std::log(1 + std::exp(x - 1) + std::exp(y - 1));
  EXPECT_GT(want, 0.3);
  EXPECT_NEAR(got.reconstruction, want, 5.4 * got.standard_error);
  EXPECT_LT(got.standard_error, 0.02);
}

TEST(Bound, OfBlocksIsTheSumOverTheirLevels) {
  for (const bool labels : {false, true}) {
    const Keys keys = with(kBase, {{"task", labels ? "classify" : "regress"},
                                   {"variant", "dt"},
                                   {"dt.blocks", "3"},
                                   {"dt.eta", "0.2"},
                                   {"schedule.alpha_bar", "[0.02, 0.9]"}});
    const Data data = make_data(300, 1, 2, labels);
    const Model model = make_model(keys, data);
    ASSERT_TRUE(model);
    make_linear(model.get(), 2, 0.0f);
    const noprop_bound_terms got = bound_of(model.get(), data);
    const double squares = labels ? 1 : mean_square(data), range = 9 - 0.02 / 0.98;
    EXPECT_NEAR(got.diffusion, 0.5 * range * squares, 1e-5 * got.diffusion);
    EXPECT_NEAR(got.divergence, 0.5 * (0.02 * squares - 2 * (0.02 + std::log(0.98))), 1e-6);
    const double end = labels ? std::log(2) : 1 + std::log(2 * M_PI) - std::log(9);
    EXPECT_NEAR(got.reconstruction, end, 1e-5);
  }
}

/* A linear encoder and decoder around the linear map: z1 = W y (+ s n), D(z) = V z. */
TEST(Bound, WithEncoderAndDecoderIsItsClosedFormWithinTheStatedError) {
  const long d = 2;
  const double w = 0.3, turn[2][2] = {{0.8, -0.5}, {0.3, 0.9}}, back[2][2] = {{0.7, 0.4}, {-0.2, 0.6}}, spread = 0.6;
  for (const bool normal : {false, true}) {
    SCOPED_TRACE(normal);
    const Keys keys = with(kBase, {{"variant", normal ? "fm" : "ct"},
                                   {"prediction", "v"},
                                   {"encoder.type", normal ? "mlp_normal" : "linear"},
                                   {"encoder.hidden", "[2]"},
                                   {"encoder.activation", "linear"},
                                   {"decoder.type", "linear"},
                                   {"loss.vae", "1"}});
    const Settings settings = settings_of(keys);
    const Data data = make_data(700, 1, d, false);
    const Model model = make_model(keys, data);
    ASSERT_TRUE(model);
    std::vector<float> values(static_cast<size_t>(noprop_model_parameter_values(model.get())), 0.0f);
    for (int i = 0; i < noprop_model_parameter_count(model.get()); ++i) {
      const noprop_parameter p = noprop_model_parameter(model.get(), i);
      const std::string name = p.name;
      float *to = &values[static_cast<size_t>(p.offset)];
      const long columns = p.rank == 2 ? p.shape[1] : 0;
      for (long r = 0; r < d; ++r)
        for (long c = 0; c < d; ++c) {
          if (name == (normal ? "encoder.hidden.0.weight" : "encoder.output.weight"))
            to[r * columns + c] = static_cast<float>(turn[r][c]);
          if (normal && name == "encoder.output.weight") to[r * columns + c] = r == c;
          if (normal && name == "encoder.output.bias") to[d + c] = static_cast<float>(2 * std::log(spread));
          if (name == "decoder.output.weight") to[r * columns + c] = static_cast<float>(back[r][c]);
          if (name == "squash.z.weight" || name == "hidden.1.weight") to[r * columns + c] = r == c;
          if (name == "output.weight") to[r * columns + c] = r == c ? static_cast<float>(w) : 0;
        }
    }
    ASSERT_OK(noprop_model_set_parameters(model.get(), values.data()));
    const noprop_bound_terms got = bound_of(model.get(), data);

    const double low = settings.loss.t_eps, s2 = normal ? spread * spread : 0;
    const auto first = reference::path_at<double>(settings, low), last = reference::path_at<double>(settings, 1 - low);
    double means = 0, missed = 0, factors = 0;
    for (long row = 0; row < data.rows; ++row) {
      double z1[2];
      for (long c = 0; c < d; ++c) {
        z1[c] = static_cast<double>(data.values[static_cast<size_t>(2 * row)]) * turn[0][c] +
                static_cast<double>(data.values[static_cast<size_t>(2 * row + 1)]) * turn[1][c];
        means += z1[c] * z1[c] / static_cast<double>(data.rows);
      }
      for (long c = 0; c < d; ++c) {
        const double made = last.a * (z1[0] * back[0][c] + z1[1] * back[1][c]);
        const double miss = static_cast<double>(data.values[static_cast<size_t>(2 * row + c)]) - made;
        missed += miss * miss / static_cast<double>(data.rows);
      }
    }
    for (const auto &row : back)
      for (const double v : row) factors += v * v;
    missed += factors * (last.a * last.a * s2 + last.b * last.b);
    const double v = first.a * first.a * s2 + first.b * first.b;
    const double kl = 0.5 * (first.a * first.a * means + d * (v - 1 - std::log(v)));
    const double end = 0.5 * d * (1 + std::log(2 * M_PI * missed / d));
    const double flow = diffusion(settings, w, means + d * s2, d);
    std::printf("[  share   ] %-8s bound %.6g, off by %.2f of its stated error %.2g\n", normal ? "Gaussian" : "linear",
                got.nelbo_nats, (got.nelbo_nats - kl - flow - end) / got.standard_error, got.standard_error);
    EXPECT_NEAR(got.divergence, kl, 1e-5 * kl + 1e-7);
    EXPECT_NEAR(got.diffusion, flow, 5.4 * got.standard_error);
    EXPECT_NEAR(got.nelbo_nats, kl + flow + end, 5.4 * got.standard_error);
    /* 8 x 700 draws of what the noise adds to the squares. */
    EXPECT_NEAR(got.reconstruction, end, normal ? 0.05 : 1e-3);
    EXPECT_LT(got.standard_error, 0.05 * flow);
  }
}

/* A latent of one number: the probability is 1/(1 + exp(-difference of scores)), whose mean over the end's noise is an
 * integral. */
TEST(Bound, OfLabelsWithADecoderHasItsSoftmax) {
  const Keys keys = with(kBase, {{"task", "classify"},
                                 {"variant", "ct"},
                                 {"latent.size", "1"},
                                 {"schedule.alpha_bar", "[0.01, 0.5]"},
                                 {"loss.t_eps", "0"},
                                 {"encoder.type", "linear"},
                                 {"decoder.type", "linear"},
                                 {"loss.recon.type", "cross_entropy"},
                                 {"loss.vae", "1"}});
  const Data data = make_data(2000, 1, 2, true);
  const Model model = make_model(keys, data);
  ASSERT_TRUE(model);
  std::vector<float> values(static_cast<size_t>(noprop_model_parameter_values(model.get())), 0.0f);
  for (int i = 0; i < noprop_model_parameter_count(model.get()); ++i) {
    const noprop_parameter p = noprop_model_parameter(model.get(), i);
    const size_t at = static_cast<size_t>(p.offset);
    if (std::string(p.name) == "encoder.output.weight") values[at] = 1.5f, values[at + 1] = -1.0f;
    if (std::string(p.name) == "decoder.output.weight") values[at] = 1.0f, values[at + 1] = -0.5f;
    if (std::string(p.name) == "decoder.output.bias") values[at] = 0.2f;
  }
  ASSERT_OK(noprop_model_set_parameters(model.get(), values.data()));
  const noprop_bound_terms got = bound_of(model.get(), data);
  double want = 0, squares = 0, share[2] = {0, 0};
  for (const int32_t label : data.labels) share[label] += 1.0 / static_cast<double>(data.rows);
  for (int label = 0; label < 2; ++label) {
    const double z1 = label ? -1.0 : 1.5, sign = label ? -1 : 1;
    squares += share[label] * z1 * z1;
    for (double n = -8; n < 8; n += 0.01)
      want += share[label] * 0.01 * std::exp(-0.5 * n * n) / std::sqrt(2 * M_PI) *
              std::log1p(std::exp(-sign * (1.5 * std::sqrt(0.5) * (z1 + n) + 0.2)));
  }
  EXPECT_NEAR(got.diffusion, 0.5 * (1 - 0.01 / 0.99) * squares, 5.4 * got.standard_error);
  EXPECT_NEAR(got.reconstruction, want, 5.4 * got.standard_error);
  EXPECT_GT(want, 0.2);
  EXPECT_LT(got.standard_error, 0.02);
}

TEST(Bound, IsRefusedWhereItHoldsForNothing) {
  const Data data = make_data(20, 1, 2, false);
  const struct {
    Keys keys;
    const char *reason;
  } cases[] = {{{{"variant", "supervised"}}, "no path from noise"},
               {{{"variant", "fm"}, {"coupling", "ot"}}, "coupling is ot"},
               {{{"variant", "fm"}, {"loss.t_eps", "0"}}, "no noise at its end"},
               {{{"variant", "ct"}, {"preset", "alignment-note"}}, "earlier system's path"},
               {{{"variant", "ct"}, {"loss.recon.type", "log"}, {"decoder.output", "softmax"}}, "is of a density"}};
  for (const auto &c : cases) {
    const Model model = make_model(with(kBase, c.keys), data);
    ASSERT_TRUE(model);
    const char *refusal = noprop_bound_refusal(model.get());
    ASSERT_NE(refusal, nullptr);
    EXPECT_NE(std::string(refusal).find(c.reason), std::string::npos) << refusal;
    noprop_bound_terms terms;
    const noprop_array condition = data.condition_array(), target = data.target_array();
    EXPECT_EQ(noprop_bound(model.get(), &condition, &target, &terms), NOPROP_INVALID_ARGUMENT);
  }
}
