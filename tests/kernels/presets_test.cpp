/* Presets against their formulas as the survey states them (jax-2025-11 and jax-2025-10: 2.5, 2.11, 4.5;
 * alignment-note, notebook, yhgon-mnist, yhgon-simple: 2.7 to 2.9), written out here independently of the engine's
 * table. (jax-head is compared with the earlier library's own numbers: tests/golden.) */
#include <gtest/gtest.h>

#include "tests/kernels/harness.h"
#include "tests/reference/sampler.h"

namespace {

using namespace kernels_test;

using PresetAndVariant = std::pair<const char *, const char *>;
class Preset2025 : public testing::TestWithParam<PresetAndVariant> {};
INSTANTIATE_TEST_SUITE_P(Variants, Preset2025,
                         testing::Values(PresetAndVariant{"jax-2025-11", "fm"}, PresetAndVariant{"jax-2025-11", "df"},
                                         PresetAndVariant{"jax-2025-11", "ct"}, PresetAndVariant{"jax-2025-10", "fm"},
                                         PresetAndVariant{"jax-2025-10", "ct"}));

TEST_P(Preset2025, LossIsThatOfTheSurvey) {
  const std::string preset = GetParam().first, variant = GetParam().second;
  const bool early = preset == "jax-2025-10";
  const bool plain = early && variant == "fm"; /* E |model - (target - z0)|^2 */
  const Settings settings = reference::settings_from({{"variant", variant},
                                                      {"task", "regress"},
                                                      {"schedule.type", "linear"},
                                                      {"schedule.alpha_bar", early ? "[0.01, 0.99]" : "[0.05, 0.95]"},
                                                      {"schedule.renormalise", "false"},
                                                      {"loss.weight", plain             ? "uniform"
                                                                      : variant == "fm" ? "vp_velocity"
                                                                                        : "elbo"},
                                                      {"loss.normalize", plain ? "none" : "batch"},
                                                      {"loss.t_sampling", "uniform"},
                                                      {"loss.t_eps", "0"},
                                                      {"loss.reg", "0.1"},
                                                      {"loss.reg_drift", early             ? "output"
                                                                         : variant == "fm" ? "ode"
                                                                                           : "ou_mean"},
                                                      {"network.hidden", "[9, 9]"},
                                                      {"network.squash_activation", "false"},
                                                      {"network.dropout", "0.1"},
                                                      {"network.time_embedding.type", "sinusoidal"},
                                                      {"network.time_embedding.size", early ? "64" : "32"}});
  const auto data = make_data(settings, kFloatCondition, 3, 2, 50, 21);
  const reference::Network network = reference::make_network(settings, 3, 2);
  const std::vector<float> parameters = random_parameters(network, 22);
  const Model model = create_model({{"preset", preset},
                                    {"variant", variant},
                                    {"task", "regress"},
                                    {"network.hidden", "[9, 9]"},
                                    {"loss.reg", "0.1"}},
                                   data->shape);
  ASSERT_TRUE(model);
  ASSERT_TRUE(set_parameters(model.get(), network, parameters));
  ASSERT_TRUE(set_statistics(model.get(), *data));

  reference::Batch<Tracked> batch;
  batch.z1 = data->reference.z1;
  batch.x = data->reference.x;
  draw_batch(settings, network, 4, true, batch);
  const auto want = batch_loss(settings, network, tracked(parameters), batch);
  std::vector<float> gradient(parameters.size());
  noprop_loss_request request = {};
  request.rows = data->rows;
  request.condition = data->condition.values;
  request.target = data->target.values;
  request.step = 4;
  request.dropout = true;
  request.gradient = gradient.data();
  noprop_loss_terms terms;
  ASSERT_TRUE(ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss"));
  expect_within(kTerm, terms.flow, want.flow, preset + " " + variant + " flow");
  expect_within(kTerm, terms.reg, want.reg, variant + " reg");
  expect_within(kTerm, terms.loss, want.total, variant + " loss");
  expect_within(kGradient, gradient, want.gradient, variant + " gradient");
}

/* ---- the PyTorch systems ---- */

struct TorchCase {
  const char *name, *preset;
  Keys given;    /* besides the preset, to both */
  Keys formulas; /* what the preset means, to the reference */
  int solve_steps;
  const char *method, *drift;
};

/* The scripts' network (survey 2.9, 5.8), with narrow layers. */
const char kScriptLayers[] =
    "[{name: features, type: dense, from: x, width: 6}, {name: state, type: dense, from: z, width: 6, activation: "
    "relu},"
    " {name: time, type: dense, from: t, width: 6, activation: relu},"
    " {name: fusion, type: dense, from: [features, state, time], width: 9}, {type: batch_norm},"
    " {type: activation, activation: relu}, {name: narrow, type: dense, width: 5}, {type: batch_norm},"
    " {type: activation, activation: relu}, {name: last, type: dense}]";

std::vector<TorchCase> torch_cases() {
  const Keys note = {{"variant", "ct"}, {"task", "regress"}, {"network.hidden", "[9, 9]"}};
  Keys book = {{"task", "classify"}, {"network.hidden", "[9, 9]"}, {"latent.size", "6"}};
  Keys book_fm = book;
  book.push_back({"variant", "ct"});
  book_fm.push_back({"variant", "fm"});
  const Keys classifier = {
      {"encoder.type", "linear"},          {"decoder.type", "linear"},     {"loss.recon.type", "cross_entropy"},
      {"loss.recon.weight", "1"},          {"loss.t_sampling", "uniform"}, {"loss.t_eps", "0"},
      {"network.activation", "relu"},      {"network.dropout", "0.2"},     {"network.time_embedding.type", "constant"},
      {"network.time_embedding.size", "1"}};
  Keys book_ct = classifier;
  book_ct.insert(book_ct.end(), {{"schedule.type", "cosine"},
                                 {"schedule.s", "0"},
                                 {"schedule.alpha_bar", "[1e-12, 0.999999999999]"},
                                 {"loss.weight", "notebook"},
                                 {"loss.normalize", "product"},
                                 {"loss.kl_z0", "1"},
                                 {"loss.kl_form", "norm"}});
  const Keys simple = {{"schedule.type", "sigmoid"},
                       {"schedule.k", "7"},
                       {"schedule.t_mid", "0.5"},
                       {"schedule.renormalise", "false"},
                       {"latent.embedding", "learned"},
                       {"loss.path", "signal_mean"},
                       {"loss.weight", "elbo"},
                       {"loss.scale", "bound"},
                       {"loss.error", "softmax_squared"},
                       {"loss.recon.type", "end_logits"},
                       {"loss.recon.weight", "1"},
                       {"loss.kl_z0", "1"},
                       {"loss.kl_form", "norm"},
                       {"loss.t_sampling", "uniform"},
                       {"loss.t_eps", "0"},
                       {"network.activation", "relu"},
                       {"network.time_embedding.type", "sinusoidal_unit"},
                       {"network.time_embedding.size", "64"}};
  return {{"alignment_note",
           "alignment-note",
           note,
           {{"prediction", "state"},
            {"loss.path", "root_noise"},
            {"loss.weight", "inverse_snr"},
            {"loss.normalize", "batch"},
            {"loss.t_sampling", "uniform"},
            {"loss.t_eps", "0.001"},
            {"loss.reg", "1"},
            {"loss.reg_drift", "output"}},
           1000,
           "euler",
           "relax"},
          {"notebook_ct", "notebook", book, book_ct, 50, "euler", "relax"},
          {"notebook_fm", "notebook", book_fm, classifier, 50, "euler", "ode"},
          {"yhgon_mnist",
           "yhgon-mnist",
           {{"variant", "ct"}, {"task", "classify"}, {"network.type", "custom"}, {"network.layers", kScriptLayers}},
           {{"schedule.type", "sigmoid"},
            {"schedule.k", "10"},
            {"schedule.t_mid", "0.5"},
            {"schedule.renormalise", "false"},
            {"loss.path", "signal_mean"},
            {"loss.weight", "elbo"},
            {"loss.scale", "bound"},
            {"loss.error", "softmax_squared"},
            {"loss.recon.type", "end_logits"},
            {"loss.recon.weight", "1"},
            {"loss.t_sampling", "uniform"},
            {"loss.t_eps", "0"},
            {"network.activation", "relu"},
            {"network.time_embedding.type", "sinusoidal_unit"},
            {"network.time_embedding.size", "64"}},
           40,
           "heun",
           "relax_noise"},
          {"yhgon_simple",
           "yhgon-simple",
           {{"variant", "ct"}, {"task", "classify"}, {"network.hidden", "[9, 9]"}, {"latent.size", "6"}},
           simple,
           40,
           "heun",
           "relax_noise"},
          {"yhgon_simple_with_batch_norm",
           "yhgon-simple",
           {{"variant", "ct"},
            {"task", "classify"},
            {"network.type", "custom"},
            {"network.layers", kScriptLayers},
            {"latent.size", "6"}},
           simple,
           40,
           "heun",
           "relax_noise"}};
}

class TorchPreset : public testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(Systems, TorchPreset, testing::Range(size_t{0}, torch_cases().size()),
                         [](const auto &info) { return torch_cases()[info.param].name; });

TEST_P(TorchPreset, LossAndSolveAreThoseOfTheSurvey) {
  const TorchCase c = torch_cases()[GetParam()];
  Keys keys = c.formulas;
  keys.insert(keys.end(), c.given.begin(), c.given.end());
  const Settings settings = reference::settings_from(keys);
  const auto data = make_data(settings, kFloatCondition, 3, 4, 50, 21);
  const reference::Network network = reference::make_network(settings, 3, 4);
  const std::vector<float> parameters = random_parameters(network, 22);
  Keys preset = c.given;
  preset.push_back({"preset", c.preset});
  const Model model = create_model(preset, data->shape);
  ASSERT_TRUE(model);
  ASSERT_TRUE(set_parameters(model.get(), network, parameters));
  ASSERT_TRUE(set_statistics(model.get(), *data));
  const std::string name = c.name;

  reference::Batch<Tracked> batch;
  batch.z1 = data->reference.z1;
  batch.label = data->reference.label;
  batch.x = data->reference.x;
  draw_batch(settings, network, 4, true, batch);
  const auto want = batch_loss(settings, network, tracked(parameters), batch);
  const size_t rows = static_cast<size_t>(data->rows), d = static_cast<size_t>(network.latent);
  std::vector<float> gradient(parameters.size()), z(rows * d), row_loss(rows);
  noprop_loss_request request = {};
  request.rows = data->rows;
  request.condition = data->condition.values;
  request.target = data->target.values;
  request.step = 4;
  request.dropout = true;
  request.gradient = gradient.data();
  request.z = z.data();
  request.row_loss = row_loss.data();
  noprop_loss_terms terms;
  ASSERT_TRUE(ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss"));
  expect_within(kState, z, flat(want.z), name + " z");
  expect_within(kTerm, terms.flow, want.flow, name + " flow");
  if (settings.loss.reg > 0) expect_within(kTerm, terms.reg, want.reg, name + " reg");
  if (settings.loss.recon_weight > 0) expect_within(kTerm, terms.recon, want.recon, name + " recon");
  if (settings.loss.kl_z0 > 0) expect_within(kTerm, terms.kl_z0, want.kl_z0, name + " kl_z0");
  expect_within(kTerm, terms.loss, want.total, name + " loss");
  expect_within(kRowLoss, row_loss, want.row_total, name + " rows");
  expect_within(kGradient, gradient, want.gradient, name + " gradient");

  /* The preset's own solve, with fewer steps. */
  noprop_sampler_options options = noprop_sampler_options_default(model.get());
  EXPECT_EQ(options.steps, c.solve_steps);
  EXPECT_STREQ(options.method, c.method);
  EXPECT_STREQ(options.drift, c.drift);
  EXPECT_STREQ(options.init, "normal");
  EXPECT_EQ(options.final_denoise, 0);
  std::vector<float> start, latent(rows * d);
  std::mt19937 generator(23);
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < rows * d; ++i) start.push_back(normal(generator));
  reference::Solve solve;
  solve.method = c.method, solve.drift = c.drift, solve.steps = options.steps = 6;
  options.start = start.data();
  snprintf(options.init, sizeof options.init, "given");
  std::vector<float> output(rows * static_cast<size_t>(network.target));
  ASSERT_TRUE(ok(noprop_sample(model.get(), &options, &data->condition, data->rows, latent.data(), output.data()),
                 "noprop_sample"));
  Vector<Tracked> ends, classes;
  for (size_t row = 0; row < rows; ++row) {
    const Vector<Tracked> from =
        tracked({start.begin() + static_cast<long>(row * d), start.begin() + static_cast<long>((row + 1) * d)});
    const auto states = integrate(settings, network, tracked(parameters), solve, from, data->reference.x[row]);
    ends.insert(ends.end(), states.back().begin(), states.back().end());
    if (!network.mixture) continue;
    /* The classes' probabilities at the end of the solve and at t = 1. */
    const auto trace = reference::forward<Tracked>(network, tracked(parameters), states.back(), data->reference.x[row],
                                                   reference::embed_time<Tracked>(settings, 1.0));
    Vector<Tracked> scores = trace.post[trace.post.size() - 2];
    Tracked sum = 0.0;
    for (Tracked &v : scores) sum += v = reference::exp(v);
    for (const Tracked &v : scores) classes.push_back(v / sum);
  }
  expect_within(kSolve, latent, ends, name + " solve");
  if (network.mixture) expect_within(kPrediction, output, classes, name + " classes");
}

}  // namespace
