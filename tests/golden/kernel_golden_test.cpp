/* The kernels, through the public interface, against the golden groups that they can reach: the earlier library's
 * models, given to the engine as preset jax-head with the group's widths and numbers.
 *
 * Golden numbers are in double precision, the kernels in float32, and so are the parameters and inputs that the kernels
 * are given. The tolerance is a number of deviations of the estimated rounding error (tests/kernels/harness.h), the
 * rounding of every input included; the reference on Tracked must find the golden value itself. */
#include <gtest/gtest.h>

#include <regex>

extern "C" {
#include "engine/schedule.h"
}
#include "tests/golden/golden_cases.h"
#include "tests/golden/golden_expect.h"
#include "tests/reference/compare.h"
#include "tests/reference/sampler.h"

namespace {

using namespace kernels_test;
using golden::File;
using golden::Tensor;
using reference::Batch;
using reference::Loss;
using reference::Network;

std::string digits(double v) {
  char text[40];
  snprintf(text, sizeof text, "%.17g", v);
  return text;
}

using golden::expect_golden;
using golden::joined;
using golden::rounded;
using golden::single;

/* Preset jax-head with a network of the file, for real vectors. */
Keys preset_keys(const Settings &settings, bool has_x) {
  std::string hidden;
  for (long width : settings.network.hidden) hidden += (hidden.empty() ? "[" : ", ") + std::to_string(width);
  std::string hidden_schedule;
  for (long width : settings.schedule.hidden)
    hidden_schedule += (hidden_schedule.empty() ? "[" : ", ") + std::to_string(width);
  Keys keys = {
      {"preset", "jax-head"},
      {"variant", settings.variant},
      {"task", has_x ? "regress" : "generate"},
      {"network.hidden", hidden + "]"},
      {"network.type", settings.network.type},
      {"network.wrapper", settings.network.wrapper},
      {"network.activation", settings.network.activation},
      {"network.dropout", "0"},
      {"network.batch_norm", settings.network.batch_norm},
      {"network.time_embedding.type", settings.network.time_type},
      {"network.time_embedding.size", std::to_string(settings.network.time_size)},
      {"network.time_embedding.as_written", "true"},
      {"schedule.type", settings.schedule.type},
      {"loss.recon.type", settings.loss.recon_type},
      {"loss.recon.weight", digits(settings.loss.recon_weight)},
      {"loss.reg", digits(settings.loss.reg)},
      {"schedule.s", digits(settings.schedule.s)},
      {"schedule.k", digits(settings.schedule.k)},
      {"schedule.t_mid", digits(settings.schedule.t_mid)},
      {"schedule.beta", digits(settings.schedule.beta)},
      {"schedule.loc", digits(settings.schedule.loc)},
      {"schedule.scale", digits(settings.schedule.scale)},
      {"schedule.power", digits(settings.schedule.power)},
      {"schedule.hidden", hidden_schedule + "]"},
      {"schedule.alpha_bar", "[" + digits(settings.schedule.low) + ", " + digits(settings.schedule.high) + "]"}};
  if (!has_x) keys.push_back({"data.condition", "null"});
  const auto list = [](const std::vector<long> &widths) {
    std::string text;
    for (long width : widths) text += (text.empty() ? "[" : ", ") + std::to_string(width);
    return text + "]";
  };
  const bool coded = settings.encoder.type != "identity" || settings.decoder.type != "identity";
  if (coded) {
    keys.insert(keys.end(), {{"encoder.type", settings.encoder.type},
                             {"encoder.hidden", list(settings.encoder.hidden)},
                             {"decoder.type", settings.decoder.type},
                             {"decoder.output", settings.decoder.output},
                             {"decoder.hidden", list(settings.decoder.hidden)}});
    if (settings.latent_size > 0) keys.push_back({"latent.size", std::to_string(settings.latent_size)});
  }
  return keys;
}

noprop_model_shape vectors(size_t x, size_t y) {
  noprop_model_shape shape = {};
  shape.condition_width = static_cast<int>(x);
  shape.target_width = static_cast<int>(y);
  return shape;
}

noprop_array array_of(const std::vector<float> &values, size_t rows) {
  noprop_array array = {};
  array.name = "x";
  array.rows = array.shape[0] = static_cast<long>(rows);
  array.width = array.shape[1] = static_cast<long>(values.size() / rows);
  array.rank = 2;
  array.values = values.data();
  return array;
}

/* Runs a loss request and returns everything. */
struct Answer {
  noprop_loss_terms terms;
  std::vector<float> gradient, prediction, z, latent;
};
bool ask(noprop_model *model, const Network &network, const std::vector<float> &x, const std::vector<float> &y,
         const std::vector<float> &t, const std::vector<float> &noise, Answer *answer) {
  answer->gradient.resize(static_cast<size_t>(network.parameters));
  answer->prediction.resize(noise.size());
  answer->z.resize(noise.size());
  noprop_loss_request request = {};
  request.rows = static_cast<long>(t.size());
  request.condition = x.empty() ? nullptr : x.data();
  request.target = y.data();
  request.t = t.data();
  request.noise = noise.data();
  request.gradient = answer->gradient.data();
  request.prediction = answer->prediction.data();
  request.z = answer->z.data();
  if (!network.encoder.empty()) {
    answer->latent.resize(noise.size());
    request.latent = answer->latent.data();
  }
  return ok(noprop_model_loss(model, &request, &answer->terms), "noprop_model_loss");
}

/* ---- networks ------------------------------------------------------------------------------------------------------
 */

/* Network outputs and their gradients for a stored cotangent, by the loss of a target-predicting model: a clean latent
 * z1 = output - cotangent d B/2 makes the derivative of the mean squared error the cotangent, and the noise
 * (z - a z1)/b makes the state the stored z. */
TEST(KernelGolden, NetworksAndTheirGradients) {
  const File file("jax_noprop.h5");
  const auto paths = golden::compared_with_kernels(file, "/crn/");
  ASSERT_FALSE(paths.empty());
  for (const std::string &path : paths) {
    SCOPED_TRACE(path);
    const bool has_x = file.has(path + "/x"), has_t = file.has(path + "/t");
    Settings settings = golden::head_settings("ct");
    if (path == "/crn/parameter_counts") continue;
    const auto attribute_of = [&](const char *name, const char *otherwise) {
      return file.has_attribute(path, name) ? file.text(path, name) : otherwise;
    };
    const std::string wrapper = attribute_of("config_model_type", "vanilla"),
                      inside = wrapper == "vanilla" ? "" : "crn_model.";
    settings.network = golden::network_settings(file, path + "/params/" + inside, wrapper,
                                                attribute_of("config_network_type", "mlp"), has_x, has_t)
                           .network;
    settings.network.activation = file.text(path, "config_activation_fn");
    settings.loss.weight = "uniform";
    settings.loss.recon_weight = 0;
    if (has_t) {
      settings.network.time_type = file.text(path, "config_time_embed_method");
      settings.network.time_size = static_cast<long>(file.number(path, "config_time_embed_dim"));
      /* An odd width gives one feature less there, and is refused here: the even width is the same embedding. */
      if (settings.network.time_type == "sinusoidal") settings.network.time_size &= ~1L;
    } else { /* no time: a constant feature with weights 0 */
      settings.network.time_type = "constant";
      settings.network.time_size = 1;
    }
    const auto z = file.read(path + "/z").matrix(), out = file.read(path + "/out").matrix(),
               cotangent = file.read(path + "/cotangent").matrix();
    const auto x = has_x ? file.read(path + "/x").matrix() : std::vector<Vector<double>>{};
    const size_t rows = z.size(), d = z[0].size();
    const Network network =
        reference::make_network(settings, has_x ? static_cast<long>(x[0].size()) : 0, static_cast<long>(d));
    /* Arrays by name; the time weights that the stored network does not have are 0. */
    const auto stored = [&](const std::string &folder, const reference::Array &array) {
      if (array.name == "squash.t.weight" && !has_t) return Vector<double>(static_cast<size_t>(array.size()), 0.0);
      return file.read(golden::stored_place(path + folder + inside, golden::stored_name(network, array.name))).values;
    };
    Vector<double> parameters;
    for (const auto &array : network.arrays) {
      const auto values = stored("/params/", array);
      parameters.insert(parameters.end(), values.begin(), values.end());
    }
    Batch<Tracked> batch;
    std::vector<Vector<double>> z1(rows, Vector<double>(d)), noise = z1;
    Vector<double> t;
    for (size_t i = 0; i < rows; ++i) {
      const Tensor times = has_t ? file.read(path + "/t") : Tensor{{}, {0.5}};
      t.push_back(times.values[times.shape.empty() ? 0 : i]);
      const auto p = reference::path_at(settings, t[i]);
      for (size_t j = 0; j < d; ++j) {
        z1[i][j] = out[i][j] - cotangent[i][j] * static_cast<double>(d * rows) / 2;
        noise[i][j] = (z[i][j] - p.a * z1[i][j]) / p.b;
      }
    }
    batch.z1 = rounded(z1);
    batch.x = rounded(x);
    batch.t = {rounded(t)};
    batch.noise = {rounded(noise)};
    const Loss<Tracked> estimate = batch_loss(settings, network, rounded(parameters), batch);

    Keys keys = preset_keys(settings, has_x);
    keys.push_back({"loss.weight", "uniform"});
    const Model model = create_model(keys, vectors(has_x ? x[0].size() : 0, d));
    ASSERT_TRUE(model);
    ASSERT_TRUE(set_parameters(model.get(), network, single(parameters)));
    Answer answer;
    ASSERT_TRUE(
        ask(model.get(), network, single(joined(x)), single(joined(z1)), single(t), single(joined(noise)), &answer));
    expect_golden(kState, answer.z, joined(z), flat(estimate.z), path + " z");
    expect_golden(kPrediction, answer.prediction, joined(out), flat(estimate.prediction), path);
    for (const auto &array : network.arrays) {
      if (array.name == "squash.t.weight" && !has_t) continue;
      const long first = array.offset, last = first + array.size();
      expect_golden(kGradient, {answer.gradient.begin() + first, answer.gradient.begin() + last},
                    stored("/grad_params/", array),
                    {estimate.gradient.begin() + first, estimate.gradient.begin() + last}, path + " " + array.name);
    }
  }
}

TEST(KernelGolden, ParameterCounts) {
  const File file("jax_noprop.h5");
  for (const char *time : {"32", "64"})
    for (bool with_x : {true, false}) {
      Settings settings = golden::head_settings("ct");
      settings.network.hidden.assign(6, 32);
      settings.network.time_size = std::stol(time);
      const Model model = create_model(preset_keys(settings, with_x), vectors(with_x ? 2 : 0, 2));
      ASSERT_TRUE(model);
      EXPECT_EQ(
          static_cast<double>(noprop_model_parameter_values(model.get())),
          file.number("/crn/parameter_counts", std::string("mlp_6x32_time") + time + (with_x ? "_with_x" : "_no_x")));
    }
}

/* ---- schedules -----------------------------------------------------------------------------------------------------
 */

/* noprop_schedule_evaluate computes in double. */
TEST(KernelGolden, Schedules) {
  const File file("jax_noprop.h5");
  const auto paths = golden::compared_with_kernels(file, "/schedules/");
  ASSERT_FALSE(paths.empty());
  for (const std::string &path : paths) {
    Settings settings = golden::head_settings("ct");
    golden::read_schedule(file, path + "/params/", golden::variant_of(path), -1, &settings);
    noprop_config *config = nullptr;
    ASSERT_TRUE(ok(noprop_config_create(&config), "noprop_config_create"));
    for (const auto &[key, value] : preset_keys(settings, true))
      ASSERT_TRUE(ok(noprop_config_set(config, key.c_str(), value.c_str()), key.c_str()));
    const auto t = file.read(path + "/t").values;
    std::vector<noprop_schedule_values> values(t.size());
    ASSERT_TRUE(ok(noprop_schedule_evaluate(config, t.data(), static_cast<long>(t.size()), values.data()),
                   "noprop_schedule_evaluate"));
    if (!settings.schedule.numbers.empty()) { /* a network with weights of its own */
      struct settings resolved = {};
      auto described = std::make_unique<struct schedule>();
      ASSERT_TRUE(ok(settings_resolve(config, &resolved), "settings_resolve"));
      ASSERT_TRUE(
          ok(schedule_describe(&resolved, settings.schedule.numbers.data(), described.get()), "schedule_describe"));
      for (size_t i = 0; i < t.size(); ++i) values[i] = schedule_at(described.get(), t[i]);
    }
    noprop_config_destroy(config);
    Vector<double> alpha_bar, gamma, gamma_prime;
    for (const auto &v : values) {
      alpha_bar.push_back(v.alpha_bar);
      gamma.push_back(v.gamma);
      gamma_prime.push_back(v.gamma_prime);
    }
    for (const auto &[got, name] :
         {std::pair{&alpha_bar, "alpha_bar"}, {&gamma, "gamma"}, {&gamma_prime, "gamma_prime"}}) {
      const auto c = reference::compare(*got, file.read(path + "/" + name).values, 1e-11);
      EXPECT_TRUE(c.passed) << path << " " << name << ": " << c.message;
    }
  }
}

/* ---- losses --------------------------------------------------------------------------------------------------------
 */

struct LossModel {
  Settings settings;
  Network network;
  Vector<double> parameters;
  Model model;
};

LossModel loss_model(const File &file, const std::string &path) {
  LossModel m;
  m.settings = golden::loss_settings(file, path);
  const bool has_x = file.has(path + "/x");
  const size_t x = has_x ? file.read(path + "/x").width() : 0, y = file.read(path + "/y").width();
  m.network = reference::make_network(m.settings, static_cast<long>(x), static_cast<long>(y));
  m.parameters = golden::loss_parameters(file, path, m.settings, m.network, "params");
  Keys keys = preset_keys(m.settings, has_x);
  /* The preset has the variant's weight; only its absence is a setting of the group. */
  if (m.settings.loss.weight == "uniform") keys.push_back({"loss.weight", "uniform"});
  m.model = create_model(keys, vectors(x, y));
  if (m.model && !set_parameters(m.model.get(), m.network, single(m.parameters))) m.model.reset();
  return m;
}

TEST(KernelGolden, LossesAndTheirGradients) {
  const File file("jax_noprop.h5");
  const auto paths = golden::compared_with_kernels(file, "/losses/");
  ASSERT_FALSE(paths.empty());
  for (const std::string &path : paths) {
    SCOPED_TRACE(path);
    const LossModel m = loss_model(file, path);
    ASSERT_TRUE(m.model);
    const auto y = file.read(path + "/y").matrix(), noise = file.read(path + "/noise").matrix();
    const auto x = file.has(path + "/x") ? file.read(path + "/x").matrix() : std::vector<Vector<double>>{};
    const auto t = file.read(path + "/t").values;
    Batch<Tracked> batch;
    batch.z1 = rounded(y);
    batch.x = rounded(x);
    batch.t = {rounded(t)};
    batch.noise = {rounded(noise)};
    const Loss<Tracked> estimate = batch_loss(m.settings, m.network, rounded(m.parameters), batch);
    Answer answer;
    ASSERT_TRUE(
        ask(m.model.get(), m.network, single(joined(x)), single(joined(y)), single(t), single(joined(noise)), &answer));
    expect_golden(kState, answer.z, file.read(path + "/z_t").values, flat(estimate.z), path + " z");
    expect_golden(kPrediction, answer.prediction, file.read(path + "/network_out").values, flat(estimate.prediction),
                  path);
    const auto term = [&](const char *name, double got, const Tracked &estimated) {
      expect_golden(kTerm, {static_cast<float>(got)}, {file.number(path, name)},
                    {reference::rounded(estimated.value, estimated.variance)}, path + " " + name);
    };
    term("flow_loss", answer.terms.flow, estimate.flow);
    term("total_loss", answer.terms.loss, estimate.total);
    if (file.has(path + "/z1"))
      expect_golden(kState, answer.latent, file.read(path + "/z1").values, flat(estimate.latent), path + " latent");
    if (m.settings.loss.recon_weight > 0) term("recon_loss", answer.terms.recon, estimate.recon);
    if (m.settings.loss.reg > 0) term("reg_loss", answer.terms.reg, estimate.reg);
    for (const auto &array : m.network.arrays) {
      const long first = array.offset, last = first + array.size();
      expect_golden(kGradient, {answer.gradient.begin() + first, answer.gradient.begin() + last},
                    file.read(golden::stored_place(path + "/grad_params/",
                                                   golden::loss_array(file, path, m.settings, m.network, array.name)))
                        .values,
                    {estimate.gradient.begin() + first, estimate.gradient.begin() + last}, path + " " + array.name);
    }
  }
}

/* ---- solves --------------------------------------------------------------------------------------------------------
 */

/* The earlier library's adaptive steps, whose sizes follow from differences of 1e-7: the same steps, and so the same
 * states and the same time at the end. */
void compare_adaptive(const File &file, const std::string &path, const LossModel &m,
                      const std::vector<Vector<double>> &x, const std::vector<Vector<double>> &start) {
  ASSERT_TRUE(m.model);
  const std::vector<float> x_values = single(joined(x)), start_values = single(joined(start));
  const noprop_array condition = array_of(x_values, x.size());
  const Vector<Tracked> parameters = rounded(m.parameters);
  const std::string drift = m.settings.variant == "fm" ? "ode" : "ou_mean";
  std::vector<reference::Field<Tracked>> fields;
  for (size_t i = 0; i < start.size(); ++i)
    fields.push_back([&, i](const Vector<Tracked> &z, Tracked t) {
      const auto p = reference::forward(m.network, parameters, z, rounded(x[i]), embed_time(m.settings, t)).output();
      return predicted_drift(m.settings, path_at(m.settings, t), drift, z, p);
    });
  for (const std::string &name : file.data_sets(path)) {
    if (name.rfind("trajectory_", 0) != 0) continue;
    const int steps = std::stoi(name.substr(11));
    noprop_sampler_options options = noprop_sampler_options_default(m.model.get());
    snprintf(options.method, sizeof options.method, "adaptive_compat");
    snprintf(options.init, sizeof options.init, "given");
    options.steps = steps;
    options.trajectory = true;
    options.start = start_values.data();
    std::vector<float> latent((static_cast<size_t>(steps) + 1) * start_values.size());
    std::vector<noprop_solve_row> rows(start.size());
    const noprop_solve_results results = {latent.data(), nullptr, nullptr, rows.data()};
    ASSERT_TRUE(ok(noprop_solve(m.model.get(), &options, &condition, static_cast<long>(start.size()), &results),
                   "noprop_solve"));
    const auto estimate = reference::integrate_adaptive_compat<Tracked>(fields, 0, 1, steps, rounded(start)).states;
    expect_golden(kSolve, latent, file.read(path + "/" + name).values, flat(estimate), path + "/" + name, 2e-6);
    const double reached = file.read(path + "/times_" + std::to_string(steps)).values.back();
    for (const noprop_solve_row &row : rows) {
      EXPECT_NEAR(row.reached, reached, 1e-6);
      EXPECT_EQ(row.outcome, reached < 1 ? NOPROP_SOLVE_STEP_CAP : NOPROP_SOLVE_DONE);
      EXPECT_EQ(row.steps, steps);
      EXPECT_EQ(row.calls, 5 * steps);
    }
  }
}

/* All data sets of `path` that are solves of `m` from `start`: "end_20", "trajectory_5", "heun_trajectory_5". */
void compare_solves(const File &file, const std::string &path, const std::string &group_method, const LossModel &m,
                    const std::vector<Vector<double>> &x, const std::vector<Vector<double>> &start) {
  ASSERT_TRUE(m.model);
  const std::vector<float> x_values = single(joined(x)), start_values = single(joined(start));
  const noprop_array condition = x.empty() ? noprop_array{} : array_of(x_values, x.size());
  long compared = 0;
  for (const std::string &name : file.data_sets(path)) {
    std::smatch match;
    if (!std::regex_match(name, match, std::regex("(?:(euler|midpoint|heun|rk4)_)?(trajectory_|end_)?([0-9]+)")))
      continue;
    std::string method = match[1].length() ? match[1].str() : group_method;
    if (method == "midpoint") method = "midpoint_time"; /* D-44 */
    reference::Solve solve;
    solve.method = method, solve.steps = std::stoi(match[3]);
    solve.drift = m.settings.variant == "fm" ? "ode" : "ou_mean";
    noprop_sampler_options options = noprop_sampler_options_default(m.model.get());
    snprintf(options.method, sizeof options.method, "%s", method.c_str());
    snprintf(options.init, sizeof options.init, "given");
    options.steps = solve.steps;
    options.trajectory = match[2] == "trajectory_";
    options.start = start_values.data();
    /* Grid, drift and the absence of a final denoising step are the preset's. */
    const size_t states = options.trajectory ? static_cast<size_t>(solve.steps) + 1 : 1;
    std::vector<float> latent(states * start_values.size());
    ASSERT_TRUE(ok(noprop_sample(m.model.get(), &options, x.empty() ? nullptr : &condition,
                                 static_cast<long>(start.size()), latent.data(), nullptr),
                   "noprop_sample"));
    std::vector<Vector<Tracked>> estimate(states);
    for (size_t row = 0; row < start.size(); ++row) {
      const auto one = reference::integrate(m.settings, m.network, rounded(m.parameters), solve, rounded(start[row]),
                                            x.empty() ? Vector<Tracked>{} : rounded(x[row]));
      for (size_t s = 0; s < states; ++s) {
        const auto &state = options.trajectory ? one[s] : one.back();
        estimate[s].insert(estimate[s].end(), state.begin(), state.end());
      }
    }
    expect_golden(kSolve, latent, file.read(path + "/" + name).values, flat(estimate), path + "/" + name, 2e-6);
    ++compared;
  }
  EXPECT_GT(compared, 0) << path;
}

TEST(KernelGolden, IntegratorsOnModels) {
  const File file("jax_noprop.h5");
  for (const std::string variant : {"fm", "df", "ct"}) {
    const LossModel m = loss_model(file, "/losses/" + variant + "/base");
    long groups = 0;
    for (const std::string &path : golden::compared_with_kernels(file, "/ode/")) {
      if (golden::last_part(path) != "model_" + variant) continue;
      SCOPED_TRACE(path);
      const auto x = file.read(path + "/x").matrix(), start = file.read(path + "/z0").matrix();
      if (golden::variant_of(path) == "adaptive")
        compare_adaptive(file, path, m, x, start);
      else
        compare_solves(file, path, golden::variant_of(path), m, x, start);
      ++groups;
    }
    EXPECT_GT(groups, 0);
  }
}

TEST(KernelGolden, Predictions) {
  const File file("jax_noprop.h5");
  for (const std::string variant : {"fm", "df", "ct"}) {
    const LossModel conditional = loss_model(file, "/losses/" + variant + "/base"),
                    unconditional = loss_model(file, "/losses/" + variant + "/unconditional");
    const auto x = file.read("/predict/" + variant + "/x").matrix();
    for (const std::string &path : golden::compared_with_kernels(file, "/predict/" + variant + "/")) {
      SCOPED_TRACE(path);
      const bool without = golden::last_part(path) == "unconditional";
      std::vector<Vector<double>> start(x.size(), Vector<double>(2, 0.0));
      if (file.has(path + "/z0")) start = file.read(path + "/z0").matrix();
      compare_solves(file, path, golden::last_part(path), without ? unconditional : conditional,
                     without ? std::vector<Vector<double>>{} : x, start);
    }
  }
}

}  // namespace
