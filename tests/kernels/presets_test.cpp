/* Presets jax-2025-11 and jax-2025-10 against their formulas as the survey states them (2.5, 2.11, 4.5), written out
 * here independently of the engine's table. (jax-head is compared with the earlier library's own numbers:
 * tests/golden.) */
#include <gtest/gtest.h>

#include "tests/kernels/harness.h"

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
                                                      {"loss.reg_drift", variant == "fm" ? "ode" : "ou_mean"},
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

}  // namespace
