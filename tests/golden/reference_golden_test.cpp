/* The double-precision reference against every golden group that it covers. Both sides compute in double, so the
 * tolerance is a few hundred roundings of the largest value of an array; nothing else may differ. */
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <regex>

#include "tests/golden/golden_cases.h"
#include "tests/golden/golden_expect.h"
#include "tests/reference/compare.h"
#include "tests/reference/sampler.h"
#include "tests/reference/training.h"

namespace {

using namespace reference;
using golden::File;
using golden::Tensor;

using golden::expect_equal;

Vector<double> flat(const std::vector<Vector<double>> &rows) {
  Vector<double> all;
  for (const auto &row : rows) all.insert(all.end(), row.begin(), row.end());
  return all;
}

/* ---- layers --------------------------------------------------------------------------------------------------------
 */

TEST(ReferenceGolden, NetworksAndTheirGradients) {
  const File file("jax_noprop.h5");
  const auto paths = golden::compared_with_reference(file, "/crn/");
  ASSERT_FALSE(paths.empty());
  for (const std::string &path : paths) {
    SCOPED_TRACE(path);
    const bool has_x = file.has(path + "/x"), has_t = file.has(path + "/t");
    if (path == "/crn/parameter_counts") continue;
    const auto attribute_of = [&](const char *name, const char *otherwise) {
      return file.has_attribute(path, name) ? file.text(path, name) : otherwise;
    };
    const std::string wrapper = attribute_of("config_model_type", "vanilla"),
                      inside = wrapper == "vanilla" ? "" : "crn_model.";
    Settings settings = golden::network_settings(file, path + "/params/" + inside, wrapper,
                                                 attribute_of("config_network_type", "mlp"), has_x, has_t);
    const bool drops = file.has(path + "/mask_0");
    if (drops) {
      settings.network.dropout = file.number(path, "config_dropout_rate");
    } else {
      settings.network.activation = file.text(path, "config_activation_fn");
      settings.network.time_type = file.text(path, "config_time_embed_method");
      if (has_t) settings.network.time_size = static_cast<long>(file.number(path, "config_time_embed_dim"));
    }
    const auto z = file.read(path + "/z").matrix(), out = file.read(path + "/out").matrix();
    const auto x = has_x ? file.read(path + "/x").matrix() : std::vector<Vector<double>>(z.size());
    const Network network = make_network(settings, static_cast<long>(x[0].size()), static_cast<long>(z[0].size()),
                                         static_cast<long>(out[0].size()));
    const Vector<double> parameters = golden::mlp_parameters(file, path + "/params/" + inside, network);
    const auto time = [&](size_t i) {
      if (!has_t) return 0.0;
      const Tensor t = file.read(path + "/t");
      return t.values[t.shape.empty() ? 0 : i];
    };

    std::vector<Vector<double>> got, z_bars, x_bars;
    Vector<double> gradient(parameters.size(), 0.0);
    for (size_t i = 0; i < z.size(); ++i) {
      Dropout dropout;
      if (drops) {
        /* mask_k belongs to the k-th op that drops. */
        dropout = [&, i](long op, long feature) {
          int k = 0;
          for (long o = 0; o < op; ++o) k += network.ops[static_cast<size_t>(o)].dropout;
          const Tensor mask = file.read(path + "/mask_" + std::to_string(k));
          return mask.row(i)[static_cast<size_t>(feature)] / (1 - settings.network.dropout);
        };
      }
      const auto trace = forward(network, parameters, z[i], x[i], embed_time(settings, time(i)), dropout);
      got.push_back(trace.output());
      if (drops) continue;
      Vector<double> z_bar, x_bar;
      backward(network, parameters, trace, file.read(path + "/cotangent").row(i), gradient, &z_bar, &x_bar);
      z_bars.push_back(z_bar);
      x_bars.push_back(x_bar);
    }
    expect_equal(flat(got), flat(out), "output");
    if (drops) continue;
    /* Biases that the stored network does not have are no numbers to be compared. */
    for (const auto &array : network.arrays)
      if (!file.has(golden::stored_place(path + "/params/" + inside, golden::stored_name(network, array.name))))
        std::fill_n(gradient.begin() + array.offset, array.size(), 0.0);
    expect_equal(gradient, golden::mlp_parameters(file, path + "/grad_params/" + inside, network), "gradient");
    expect_equal(flat(z_bars), file.read(path + "/grad_z").values, "gradient of z");
    if (has_x) expect_equal(flat(x_bars), file.read(path + "/grad_x").values, "gradient of x");
  }
}

TEST(ReferenceGolden, ParameterCounts) {
  const File file("jax_noprop.h5");
  for (long time : {32L, 64L})
    for (bool with_x : {true, false}) {
      Settings settings;
      settings.network.squash_activation = false;
      settings.network.hidden.assign(6, 32);
      settings.network.time_size = time;
      const std::string name = "mlp_6x32_time" + std::to_string(time) + (with_x ? "_with_x" : "_no_x");
      EXPECT_EQ(static_cast<double>(make_network(settings, with_x ? 2 : 0, 2).parameters),
                file.number("/crn/parameter_counts", name));
    }
}

TEST(ReferenceGolden, TimeEmbeddings) {
  const File file("jax_noprop.h5");
  const auto paths = golden::compared_with_reference(file, "/embeddings/time/");
  ASSERT_FALSE(paths.empty());
  for (const std::string &path : paths) {
    const std::string name = golden::last_part(path);
    Settings settings;
    settings.network.time_type = name.substr(0, name.rfind('_'));
    settings.network.time_size = std::stol(name.substr(name.rfind('_') + 1));
    settings.network.as_written = true;
    std::vector<Vector<double>> got;
    for (double t : file.read(path + "/t").values) got.push_back(embed_time(settings, t));
    /* Angles reach 2 pi 200 (cyclical_fourier as written), each off by some roundings of itself. */
    expect_equal(flat(got), file.read(path + "/out").values, path, 1e-11);
  }
}

TEST(ReferenceGolden, Activations) {
  const File file("jax_noprop.h5");
  const Tensor x = file.read("/layers/activations/x");
  long compared = 0;
  for (const std::string &path : golden::compared_with_reference(file, "/layers/activations/")) {
    const Tensor out = file.read(path + "/out"), cotangent = file.read(path + "/cotangent");
    Vector<double> value, slope;
    for (size_t i = 0; i < x.values.size(); ++i) {
      value.push_back(activate(golden::last_part(path), x.values[i]));
      slope.push_back(activate_prime(golden::last_part(path), x.values[i]) * cotangent.values[i]);
    }
    expect_equal(value, out.values, path);
    expect_equal(slope, file.read(path + "/grad_x").values, path + " gradient");
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

/* The squash alone: one dense op with three inputs. */
TEST(ReferenceGolden, ConcatSquash) {
  const File file("jax_noprop.h5");
  for (const std::string &path : golden::compared_with_reference(file, "/layers/concat_squash")) {
    SCOPED_TRACE(path);
    Network network;
    Op op;
    op.activation = false;
    Vector<double> parameters, want;
    const auto add = [&](const std::string &stored, long rows, long columns) {
      const auto values = file.read(path + "/params/" + stored).values,
                 bar = file.read(path + "/grad_params/" + stored).values;
      network.arrays.push_back({stored, rows, columns, true, network.parameters});
      network.parameters += rows * columns;
      parameters.insert(parameters.end(), values.begin(), values.end());
      want.insert(want.end(), bar.begin(), bar.end());
    };
    const Source::Kind kinds[] = {Source::kZ, Source::kX, Source::kTime};
    Tensor in[3];
    for (size_t k = 0; k < 3; ++k) {
      in[k] = file.read(path + "/in_" + std::to_string(k));
      op.width = file.read(path + "/out").shape[1];
      op.sources.push_back({kinds[k], -1, in[k].shape[1], k});
      add("input_proj_" + std::to_string(k) + ".kernel", in[k].shape[1], op.width);
    }
    for (const std::string &name : file.data_sets(path + "/params"))
      if (name.find("kernel") == std::string::npos) {
        op.bias = static_cast<long>(network.arrays.size());
        add(name, 1, op.width);
      }
    network.ops.push_back(op);
    std::vector<Vector<double>> got, bars[2];
    Vector<double> gradient(parameters.size(), 0.0), bar[2];
    for (size_t i = 0; i < in[0].rows(); ++i) {
      const auto trace = forward(network, parameters, in[0].row(i), in[1].row(i), in[2].row(i));
      got.push_back(trace.output());
      backward(network, parameters, trace, file.read(path + "/cotangent").row(i), gradient, &bar[0], &bar[1]);
      bars[0].push_back(bar[0]);
      bars[1].push_back(bar[1]);
    }
    expect_equal(flat(got), file.read(path + "/out").values, "output");
    expect_equal(gradient, want, "gradient");
    expect_equal(flat(bars[0]), file.read(path + "/grad_in_0").values, "gradient of the first input");
    expect_equal(flat(bars[1]), file.read(path + "/grad_in_1").values, "gradient of the second input");
  }
}

/* ---- schedules -----------------------------------------------------------------------------------------------------
 */

TEST(ReferenceGolden, Schedules) {
  const File file("jax_noprop.h5");
  const auto paths = golden::compared_with_reference(file, "/schedules/");
  ASSERT_FALSE(paths.empty());
  for (const std::string &path : paths) {
    Settings settings;
    golden::read_schedule(file, path + "/params/", golden::variant_of(path), -1, &settings);
    Vector<double> alpha_bar, gamma, gamma_prime, snr_prime;
    for (double t : file.read(path + "/t").values) {
      const auto v = schedule_at(settings, t);
      snr_prime.push_back(v.snr_prime);
      alpha_bar.push_back(v.alpha_bar);
      gamma.push_back(v.gamma);
      gamma_prime.push_back(v.gamma_prime);
    }
    expect_equal(alpha_bar, file.read(path + "/alpha_bar").values, path + " alpha_bar");
    expect_equal(gamma, file.read(path + "/gamma").values, path + " gamma");
    expect_equal(gamma_prime, file.read(path + "/gamma_prime").values, path + " gamma'");
    if (file.has(path + "/snr_prime")) expect_equal(snr_prime, file.read(path + "/snr_prime").values, path + " SNR'");
  }
}

/* ---- losses --------------------------------------------------------------------------------------------------------
 */

struct LossCase {
  Settings settings;
  Network network;
  Vector<double> parameters;
  Batch<double> batch;
};

LossCase loss_case(const File &file, const std::string &path) {
  LossCase c;
  c.settings = golden::loss_settings(file, path);
  c.batch.z1 = file.read(path + "/y").matrix();
  if (file.has(path + "/x")) c.batch.x = file.read(path + "/x").matrix();
  c.batch.t = {file.read(path + "/t").values};
  c.batch.noise = {file.read(path + "/noise").matrix()};
  if (file.has(path + "/encoder_noise")) c.batch.encoder_noise = file.read(path + "/encoder_noise").matrix();
  c.network = make_network(c.settings, c.batch.x.empty() ? 0 : static_cast<long>(c.batch.x[0].size()),
                           static_cast<long>(c.batch.z1[0].size()));
  c.parameters = golden::loss_parameters(file, path, c.settings, c.network, "params");
  return c;
}

TEST(ReferenceGolden, LossesAndTheirGradients) {
  const File file("jax_noprop.h5");
  const auto paths = golden::compared_with_reference(file, "/losses/");
  ASSERT_FALSE(paths.empty());
  for (const std::string &path : paths) {
    SCOPED_TRACE(path);
    const LossCase c = loss_case(file, path);
    const Loss<double> loss = batch_loss(c.settings, c.network, c.parameters, c.batch);
    if (file.has(path + "/z1")) expect_equal(flat(loss.latent), file.read(path + "/z1").values, "latent");
    expect_equal(flat(loss.z), file.read(path + "/z_t").values, "z_t");
    expect_equal(flat(loss.prediction), file.read(path + "/network_out").values, "network output");
    expect_equal(flat(loss.target), file.read(path + "/target_estimate").values, "target estimate");
    expect_equal(flat(loss.velocity), file.read(path + "/field").values, "field");
    expect_equal(loss.weight, file.read(path + "/weight").values, "weight");
    expect_equal({loss.flow}, {file.number(path, "flow_loss")}, "flow");
    if (c.settings.loss.recon_weight > 0) expect_equal({loss.recon}, {file.number(path, "recon_loss")}, "recon");
    expect_equal({loss.reg}, {file.number(path, "reg_loss")}, "reg");
    expect_equal({loss.total}, {file.number(path, "total_loss")}, "total");
    for (const auto &array : c.network.arrays) {
      const long first = array.offset, last = first + array.size();
      expect_equal({loss.gradient.begin() + first, loss.gradient.begin() + last},
                   file.read(golden::stored_place(path + "/grad_params/",
                                                  golden::loss_array(file, path, c.settings, c.network, array.name)))
                       .values,
                   "gradient of " + array.name);
    }
  }
}

/* The schedule is trained with the rest there: through states, weights and the regularised drift. By central
 * differences of the whole loss in its raw numbers (of arrays some eight elements); a step of 1e-5 leaves an error of
 * about 1e-9 of the largest third derivative, and the largest of a schedule's slopes sets the scale. */
TEST(ReferenceGolden, LossesChangeWithTheNumbersOfTheSchedule) {
  const File file("jax_noprop.h5");
  long compared = 0;
  for (const std::string &path : golden::compared_with_reference(file, "/losses/")) {
    /* Frozen: zeros. */
    if (golden::variant_of(path) == "fm" || golden::last_part(path) == "schedule_frozen") continue;
    SCOPED_TRACE(path);
    LossCase c = loss_case(file, path);
    Vector<double> got, want;
    for (const std::string &name : file.data_sets(path + "/grad_params")) {
      if (name.rfind("noise_schedule.", 0) != 0) continue;
      const Vector<double> slopes = file.read(path + "/grad_params/" + name).values;
      for (size_t element = 0; element < slopes.size(); element += 1 + slopes.size() / 8) {
        double total[2];
        const double step = 1e-5;
        for (const int side : {0, 1}) {
          golden::read_schedule(file, path + "/params/noise_schedule.", file.text(path, "schedule"), -1, &c.settings,
                                {name.substr(15), element, side ? step : -step});
          total[side] = batch_loss(c.settings, c.network, c.parameters, c.batch).total;
        }
        got.push_back((total[1] - total[0]) / (2 * step));
        want.push_back(slopes[element]);
      }
    }
    expect_equal(got, want, path + " schedule", 1e-6);
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

TEST(ReferenceGolden, EncodersAndDecoders) {
  const File file("jax_noprop.h5");
  const auto paths = golden::compared_with_reference(file, "/encoders_decoders/");
  ASSERT_FALSE(paths.empty());
  for (const std::string &path : paths) {
    SCOPED_TRACE(path);
    const bool encodes = path.find("/encoder/") != std::string::npos;
    std::string name = golden::last_part(path);
    for (const char *shape : {"_latent2x2", "_same", "_reshape"})
      if (name.size() > std::string(shape).size() && name.find(shape) != std::string::npos)
        name = name.substr(0, name.find(shape));
    const size_t cut = encodes ? std::string::npos : name.find('_');
    Settings settings;
    Settings::Coder &coder = encodes ? settings.encoder : settings.decoder;
    golden::read_coder(file, path + "/params/", name.substr(0, cut), encodes ? "none" : name.substr(cut + 1), &coder);
    const auto input = file.read(path + "/input").matrix();
    const bool normal = file.has(path + "/mu");
    std::vector<Vector<double>> wanted = file.read(path + (normal ? "/mu" : "/out")).matrix(),
                                cotangent = file.read(path + (normal ? "/cotangent_mu" : "/cotangent_out")).matrix();
    const long width = static_cast<long>(input[0].size()), made = static_cast<long>(wanted[0].size());
    if (normal)
      for (size_t i = 0; i < wanted.size(); ++i) {
        const auto variance = file.read(path + "/logvar").row(i), bar = file.read(path + "/cotangent_logvar").row(i);
        wanted[i].insert(wanted[i].end(), variance.begin(), variance.end());
        cotangent[i].insert(cotangent[i].end(), bar.begin(), bar.end());
      }
    settings.latent_size = encodes ? made : width;
    settings.network.hidden = {1};
    const Network whole = make_network(settings, 0, encodes ? width : made),
                  network = encodes ? encoder_of(whole) : decoder_of(whole);
    const std::string own = encodes ? "encoder." : "decoder.";
    Vector<double> parameters(static_cast<size_t>(whole.parameters), 0.0), gradient = parameters;
    long numbers = 0;
    for (const auto &array : whole.arrays) {
      if (array.name.rfind(own, 0) != 0) continue;
      const auto values = file.read(path + "/params/" + golden::stored_coder_name(coder, array.name)).values;
      ASSERT_EQ(static_cast<long>(values.size()), array.size()) << array.name;
      std::copy(values.begin(), values.end(), parameters.begin() + array.offset);
      numbers += array.size();
    }
    EXPECT_EQ(static_cast<double>(numbers), file.number(path, "parameter_count"));
    std::vector<Vector<double>> got, bars;
    for (size_t i = 0; i < input.size(); ++i) {
      Vector<double> out = input[i], bar = cotangent[i];
      const auto trace =
          network.ops.empty() ? reference::Trace<double>{} : forward<double>(network, parameters, input[i], {}, {});
      if (!network.ops.empty()) out = trace.output();
      if (coder.output == "softmax") {
        double sum = 0, dot = 0;
        for (double &v : out) sum += v = std::exp(v);
        for (size_t j = 0; j < out.size(); ++j) dot += bar[j] * (out[j] /= sum);
        for (size_t j = 0; j < out.size(); ++j) bar[j] = out[j] * (bar[j] - dot);
      }
      got.push_back(out);
      if (!network.ops.empty()) {
        Vector<double> through;
        backward<double>(network, parameters, trace, bar, gradient, &through);
        bar = through;
      }
      bars.push_back(bar);
    }
    expect_equal(flat(got), flat(wanted), "output");
    expect_equal(flat(bars), file.read(path + "/grad_input").values, "gradient of the input");
    for (const auto &array : whole.arrays)
      if (array.name.rfind(own, 0) == 0)
        expect_equal({gradient.begin() + array.offset, gradient.begin() + array.offset + array.size()},
                     file.read(path + "/grad_params/" + golden::stored_coder_name(coder, array.name)).values,
                     "gradient of " + array.name);
  }
}

/* Ten steps from stored start, times and noise. The schedule is trained too in ct and df: its numbers at every step are
 * taken from the file, and the network's are followed by our own gradients and updates. */
TEST(ReferenceGolden, OptimizerTrajectories) {
  const File file("jax_noprop.h5");
  const auto paths = golden::compared_with_reference(file, "/optimizer/");
  ASSERT_FALSE(paths.empty());
  for (const std::string &path : paths) {
    SCOPED_TRACE(path);
    if (golden::last_part(path) == "adam_batch_norm_one_step") continue; /* below */
    const std::string variant = golden::variant_of(path), name = golden::last_part(path),
                      prefix = path + "/params/crn_model.";
    Settings settings = golden::head_settings(variant);
    settings.network = golden::mlp_settings(file, prefix, true, true).network;
    settings.loss.reg = 0;
    settings.optimizer.type = name.substr(0, name.find('_'));
    settings.optimizer.learning_rate = file.number(path, "learning_rate");
    settings.optimizer.weight_decay = file.number(path, "weight_decay");
    settings.optimizer.beta1 = file.number(path, "beta1");
    settings.optimizer.beta2 = file.number(path, "beta2");
    settings.optimizer.epsilon = file.number(path, "epsilon");
    Batch<double> batch;
    batch.z1 = file.read(path + "/y").matrix();
    batch.x = file.read(path + "/x").matrix();
    const Tensor t = file.read(path + "/t"), noise = file.read(path + "/noise");
    const Network network =
        make_network(settings, static_cast<long>(batch.x[0].size()), static_cast<long>(batch.z1[0].size()));
    Vector<double> parameters = golden::mlp_parameters(file, prefix, network, 0);
    Optimizer<double> optimizer;
    Vector<double> totals;
    for (long step = 0; step < t.shape[0]; ++step) {
      if (variant != "fm") golden::read_schedule(file, path + "/params/noise_schedule.", "linear", step, &settings);
      batch.t = {t.row(static_cast<size_t>(step))};
      batch.noise = {noise.slice(static_cast<size_t>(step)).matrix()};
      const Loss<double> loss = batch_loss(settings, network, parameters, batch);
      totals.push_back(loss.total);
      update(settings, settings.optimizer.learning_rate, loss.gradient, optimizer, parameters);
      expect_equal(parameters, golden::mlp_parameters(file, prefix, network, step + 1),
                   "parameters after step " + std::to_string(step), 1e-10);
    }
    expect_equal(totals, file.read(path + "/total_loss").values, "losses");
  }
}

/* The statistics of batch norm are moved as weights are, by their gradients (P-22). */
TEST(ReferenceGolden, OptimizerMovesStoredStatistics) {
  const File file("jax_noprop.h5");
  const std::string path = "/optimizer/fm/adam_batch_norm_one_step", prefix = path + "/params_before/crn_model.";
  Settings settings = golden::head_settings("fm");
  settings.network = golden::network_settings(file, prefix, "vanilla", "mlp", true, true).network;
  ASSERT_EQ(settings.network.batch_norm, "stored");
  settings.loss.reg = 0.1;
  settings.optimizer.type = "adam";
  settings.optimizer.learning_rate = file.number(path, "learning_rate");
  settings.optimizer.weight_decay = 0;
  Batch<double> batch;
  batch.z1 = file.read(path + "/y").matrix();
  batch.x = file.read(path + "/x").matrix();
  batch.t = {file.read(path + "/t").values};
  batch.noise = {file.read(path + "/noise").matrix()};
  const Network network = make_network(settings, 2, 2);
  const Vector<double> before = golden::mlp_parameters(file, prefix, network);
  Vector<double> parameters = before;
  Optimizer<double> optimizer;
  update(settings, settings.optimizer.learning_rate, batch_loss(settings, network, parameters, batch).gradient,
         optimizer, parameters);
  expect_equal(parameters, golden::mlp_parameters(file, path + "/params_after/crn_model.", network), "parameters");
  for (const Array &array : network.arrays)
    EXPECT_NE(before[static_cast<size_t>(array.offset)], parameters[static_cast<size_t>(array.offset)]) << array.name;
}

/* ---- solves --------------------------------------------------------------------------------------------------------
 */

/* The earlier library's midpoint takes only the time in the middle (D-44). */
std::string method_of(const std::string &name) { return name == "midpoint" ? "midpoint_time" : name; }

/* "end_20" or "trajectory_5": compares one solve. `solve` gives all states, [steps + 1][rows][d]. */
template <typename Solver>
void compare_solves(const File &file, const std::string &path, const Solver &solve) {
  long compared = 0;
  for (const std::string &name : file.data_sets(path)) {
    std::smatch match;
    if (!std::regex_match(name, match, std::regex("(?:(euler|midpoint|heun|rk4)_)?(trajectory_|end_)?([0-9]+)")))
      continue;
    const std::string method = match[1].length() ? match[1].str() : golden::last_part(path);
    const auto states = solve(method_of(method), std::stoi(match[3]));
    Vector<double> got;
    for (size_t i = 0; i < states.size(); ++i)
      if (match[2] == "trajectory_" || i + 1 == states.size())
        got.insert(got.end(), states[i].begin(), states[i].end());
    /* Time is a running sum there and computed here: some roundings times the field's growth. */
    expect_equal(got, file.read(path + "/" + name).values, path + "/" + name, 1e-10);
    ++compared;
  }
  EXPECT_GT(compared, 0) << path;
}

/* States of all rows, [steps + 1][rows * d]. */
template <typename Row>
std::vector<Vector<double>> by_rows(size_t rows, const Row &row) {
  std::vector<Vector<double>> all;
  for (size_t i = 0; i < rows; ++i) {
    const auto states = row(i);
    all.resize(states.size());
    for (size_t s = 0; s < states.size(); ++s) all[s].insert(all[s].end(), states[s].begin(), states[s].end());
  }
  return all;
}

void compare_model_solves(const File &file, const std::string &path, const std::string &loss_path,
                          const std::vector<Vector<double>> &x, const std::vector<Vector<double>> &start) {
  LossCase c = loss_case(file, loss_path);
  compare_solves(file, path, [&](const std::string &method, int steps) {
    Solve solve;
    solve.method = method, solve.steps = steps;
    solve.drift = c.settings.variant == "fm" ? "ode" : "ou_mean";
    return by_rows(start.size(), [&](size_t i) {
      return integrate(c.settings, c.network, c.parameters, solve, start[i], x.empty() ? Vector<double>{} : x[i]);
    });
  });
}

TEST(ReferenceGolden, IntegratorsOnFunctions) {
  const File file("jax_noprop.h5");
  long compared = 0;
  for (const std::string &path : golden::compared_with_reference(file, "/ode/")) {
    const std::string name = golden::last_part(path);
    if (name.rfind("model_", 0) == 0) continue;
    const auto start = file.read(path + "/z0").matrix();
    const auto x = file.has(path + "/x") ? file.read(path + "/x").matrix() : std::vector<Vector<double>>{};
    const double from = name == "nonlinear_2d_span" ? 0.2 : 0, to = name == "nonlinear_2d_span" ? 1.7 : 1;
    const std::string group = golden::variant_of(path);
    for (const std::string &set : file.data_sets(path)) {
      std::smatch match;
      if (!std::regex_match(set, match, std::regex("(trajectory|end)_([0-9]+)"))) continue;
      const int steps = std::stoi(match[2]);
      std::vector<Field<double>> fields;
      for (size_t i = 0; i < start.size(); ++i)
        fields.push_back([&, i](const Vector<double> &z, double t) {
          if (name == "linear_forced") return Vector<double>{-z[0] + std::sin(3 * t)};
          return Vector<double>{z[1] + 0.3 * std::cos(2 * t) * z[0],
                                1.5 * (1 - z[0] * z[0]) * z[1] - z[0] + 0.5 * x[i][0]};
        });
      const auto by_steps = [&](size_t i) {
        std::vector<Vector<double>> row = {start[i]};
        const double h = (to - from) / steps;
        for (int s = 0; s < steps; ++s)
          row.push_back(runge_kutta_step(method_of(group), fields[i], row.back(), from + s * h, h));
        return row;
      };
      const auto states = group == "adaptive" ? integrate_adaptive_compat<double>(fields, from, to, steps, start).states
                                              : by_rows(start.size(), by_steps);
      Vector<double> got = match[1] == "end" ? states.back() : flat(states);
      expect_equal(got, file.read(path + "/" + set).values, path + "/" + set, 1e-10);
      ++compared;
    }
  }
  EXPECT_GT(compared, 0);
}

TEST(ReferenceGolden, IntegratorsOnModels) {
  const File file("jax_noprop.h5");
  for (const std::string &path : golden::compared_with_reference(file, "/ode/")) {
    const std::string name = golden::last_part(path);
    if (name.rfind("model_", 0) != 0) continue;
    LossCase c = loss_case(file, "/losses/" + name.substr(6) + "/base");
    const auto start = file.read(path + "/z0").matrix(), x = file.read(path + "/x").matrix();
    for (const std::string &set : file.data_sets(path)) {
      std::smatch match;
      if (!std::regex_match(set, match, std::regex("(trajectory|end)_([0-9]+)"))) continue;
      Solve solve;
      solve.method = method_of(golden::variant_of(path)), solve.steps = std::stoi(match[2]);
      solve.drift = c.settings.variant == "fm" ? "ode" : "ou_mean";
      std::vector<Field<double>> fields;
      for (size_t i = 0; i < start.size(); ++i)
        fields.push_back([&, i](const Vector<double> &z, double t) {
          const auto p = forward(c.network, c.parameters, z, x[i], embed_time(c.settings, t)).output();
          return predicted_drift(c.settings, path_at(c.settings, t), solve.drift, z, p);
        });
      const auto states = solve.method == "adaptive"
                              ? integrate_adaptive_compat<double>(fields, 0, 1, solve.steps, start).states
                              : by_rows(start.size(), [&](size_t i) {
                                  return integrate(c.settings, c.network, c.parameters, solve, start[i], x[i]);
                                });
      expect_equal(match[1] == "end" ? states.back() : flat(states), file.read(path + "/" + set).values,
                   path + "/" + set, 1e-10);
    }
  }
}

TEST(ReferenceGolden, Predictions) {
  const File file("jax_noprop.h5");
  for (const std::string variant : {"fm", "df", "ct"}) {
    const auto x = file.read("/predict/" + variant + "/x").matrix();
    for (const std::string &path : golden::compared_with_reference(file, "/predict/" + variant + "/")) {
      const bool unconditional = golden::last_part(path) == "unconditional";
      std::vector<Vector<double>> start(x.size(), Vector<double>(2, 0.0));
      if (file.has(path + "/z0")) start = file.read(path + "/z0").matrix();
      compare_model_solves(file, path, "/losses/" + variant + (unconditional ? "/unconditional" : "/base"),
                           unconditional ? std::vector<Vector<double>>{} : x, start);
    }
  }
}

/* ---- what is not compared ------------------------------------------------------------------------------------------
 */

/* Prints what happens to the groups, pattern by pattern; a group that no pattern knows fails. */
TEST(ReferenceGolden, EveryGroupIsComparedOrListed) {
  for (const char *name : {"jax_noprop.h5", "torch_notebook.h5"}) {
    const File file(name);
    std::map<std::string, std::pair<long, golden::Case>> rules;
    long both = 0, reference_only = 0, neither = 0;
    for (const golden::Case &c : golden::cases(file)) {
      EXPECT_NE(c.reference, golden::kUnknown) << c.path << " of " << name << " is neither compared nor listed";
      (c.kernels.empty() ? both : c.reference.empty() ? reference_only : neither)++;
      auto &entry = rules[c.rule];
      ++entry.first;
      entry.second = c;
    }
    std::printf("%s: %ld groups compared with reference and kernels, %ld with the reference only, %ld not compared\n",
                name, both, reference_only, neither);
    for (const auto &[rule, entry] : rules) {
      const auto &[count, c] = entry;
      if (!c.kernels.empty())
        std::printf("  %4ld  %-80s %s: %s\n", count, rule.c_str(),
                    c.reference.empty() ? "reference only" : "not compared", c.kernels.c_str());
    }
  }
  std::printf(
      "Inside compared groups, not compared: updates of schedule numbers, whose end points are trained there; moments "
      "of the SDE.\n");
}

}  // namespace
