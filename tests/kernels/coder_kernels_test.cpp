/* Encoders, decoders and the terms that go through them: kernels against the reference. */
#include <gtest/gtest.h>

#include "tests/kernels/harness.h"

namespace {

using namespace kernels_test;
using reference::Batch;
using reference::Loss;
using reference::Network;

struct CoderCase {
  const char *name;
  Keys keys;
  int target;
};

/* Between them every encoder, decoder, output and error, latents narrower and wider than the target, several draws,
 * both paths, and each term alone and with the others. */
std::vector<CoderCase> coder_cases() {
  const Keys small = {{"network.hidden", "[12]"},
                      {"network.time_embedding.size", "4"},
                      {"encoder.hidden", "[9, 6]"},
                      {"decoder.hidden", "[5, 10]"},
                      {"optimizer.ema", "0.9"}};
  const auto with = [&](Keys keys) {
    keys.insert(keys.end(), small.begin(), small.end());
    return keys;
  };
  return {
      {"linear_fm",
       with({{"variant", "fm"},
             {"task", "regress"},
             {"latent.size", "3"},
             {"encoder.type", "linear"},
             {"decoder.type", "linear"},
             {"loss.vae", "0.5"}}),
       7},
      {"mlp_ct_softmax",
       with({{"variant", "ct"},
             {"task", "classify"},
             {"latent.size", "9"},
             {"encoder.type", "mlp"},
             {"decoder.type", "mlp"},
             {"decoder.output", "softmax"},
             {"loss.recon.weight", "0.3"},
             {"loss.recon.weighting", "same"},
             {"loss.weight", "elbo"},
             {"loss.vae", "0.5"},
             {"loss.kl_z0", "0.4"}}),
       4},
      {"mlp_normal_df",
       with({{"variant", "df"},
             {"task", "classify"},
             {"latent.size", "2"},
             {"encoder.type", "mlp_normal"},
             {"decoder.type", "resnet"},
             {"loss.recon.type", "cross_entropy"},
             {"loss.recon.weight", "0.3"},
             {"loss.vae", "0.5"},
             {"loss.kl_z0", "0.4"},
             {"loss.draws", "3"},
             {"loss.reg", "0.1"},
             {"schedule.alpha_bar", "[0.2, 0.9]"}}),
       5},
      {"resnet_normal_generate",
       with({{"variant", "ct"},
             {"task", "regress"},
             {"latent.size", "5"},
             {"encoder.type", "resnet_normal"},
             {"decoder.type", "linear"},
             {"decoder.output", "linear"},
             {"loss.recon.weight", "0.6"},
             {"network.type", "resnet"},
             {"network.hidden", "[8, 6]"}}),
       11},
      {"resnet_log",
       with({{"variant", "fm"},
             {"task", "classify"},
             {"latent.size", "4"},
             {"encoder.type", "resnet"},
             {"decoder.type", "mlp"},
             {"decoder.output", "softmax"},
             {"loss.recon.type", "log"},
             {"loss.recon.weight", "0.6"}}),
       3},
      {"identity_cross_entropy",
       with({{"variant", "ct"},
             {"task", "classify"},
             {"loss.recon.type", "cross_entropy"},
             {"loss.recon.weight", "0.6"},
             {"loss.kl_z0", "0.5"}}),
       4},
      {"identity_vae", with({{"variant", "ct"}, {"task", "regress"}, {"loss.vae", "0.6"}}), 4},
  };
}

struct Prepared {
  CoderCase c;
  Settings settings;
  std::unique_ptr<Data> data;
  Network network;
  std::vector<float> parameters;
  Model model;
};

Prepared prepare(size_t index) {
  Prepared p;
  p.c = coder_cases()[index];
  p.settings = reference::settings_from(p.c.keys);
  p.data = make_data(p.settings, kFloatCondition, 3, p.c.target, 45, 31 + static_cast<unsigned>(index));
  p.network = reference::make_network(p.settings, 3, p.c.target);
  p.parameters = random_parameters(p.network, 7 + static_cast<unsigned>(index));
  p.model = create_model(p.c.keys, p.data->shape);
  if (p.model && (!set_parameters(p.model.get(), p.network, p.parameters) || !set_statistics(p.model.get(), *p.data)))
    p.model.reset();
  return p;
}

class Coders : public testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(Cases, Coders, testing::Range(size_t{0}, coder_cases().size()),
                         [](const auto &info) { return coder_cases()[info.param].name; });

TEST_P(Coders, LossTermsAndGradients) {
  const Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  const size_t rows = static_cast<size_t>(p.data->rows), d = static_cast<size_t>(p.network.latent);
  EXPECT_EQ(noprop_model_latent_size(p.model.get()), p.network.latent);
  Batch<Tracked> batch;
  batch.z1 = p.data->reference.z1;
  batch.label = p.data->reference.label;
  batch.x = p.data->reference.x;
  draw_batch(p.settings, p.network, 5, false, batch);
  const Loss<Tracked> want = batch_loss(p.settings, p.network, tracked(p.parameters), batch);
  for (const bool gradients : {true, false}) {
    std::vector<float> g(static_cast<size_t>(p.network.parameters)), z(rows * d), row_loss(rows), latent(rows * d);
    noprop_loss_request request = {};
    request.rows = p.data->rows;
    request.condition = p.data->condition.values;
    request.target = p.data->target.values;
    request.step = 5;
    request.z = z.data();
    request.row_loss = row_loss.data();
    request.gradient = gradients ? g.data() : nullptr;
    if (!p.network.encoder.empty()) request.latent = latent.data();
    noprop_loss_terms terms;
    ASSERT_TRUE(ok(noprop_model_loss(p.model.get(), &request, &terms), "noprop_model_loss"));
    const std::string name = p.c.name;
    if (request.latent) expect_within(kState, latent, flat(want.latent), name + " latent");
    expect_within(kState, z, flat(want.z), name + " z");
    expect_within(kRowLoss, row_loss, want.row_total, name + " rows");
    expect_within(kTerm, terms.loss, want.total, name + " loss");
    expect_within(kTerm, terms.flow, want.flow, name + " flow");
    if (p.settings.loss.recon_weight > 0) expect_within(kTerm, terms.recon, want.recon, name + " recon");
    if (p.settings.loss.vae > 0) expect_within(kTerm, terms.vae, want.vae, name + " vae");
    if (p.settings.loss.kl_z0 > 0) expect_within(kTerm, terms.kl_z0, want.kl_z0, name + " kl_z0");
    if (!gradients) continue;
    for (const reference::Array &array : p.network.arrays) {
      const auto first = static_cast<long>(array.offset), last = first + array.size();
      expect_within(kGradient, {g.begin() + first, g.begin() + last},
                    {want.gradient.begin() + first, want.gradient.begin() + last}, name + " " + array.name);
    }
  }
}

/* Whole steps: every array moves as the reference says, the sums of the new terms too. */
TEST_P(Coders, TrainingSteps) {
  const Prepared p = prepare(GetParam());
  ASSERT_TRUE(p.model);
  const int64_t steps = 4;
  const long batch = 20;
  ASSERT_TRUE(ok(noprop_model_bind(p.model.get(), &p.data->condition, &p.data->target, static_cast<int>(batch)),
                 "noprop_model_bind"));
  ASSERT_TRUE(ok(noprop_model_train_step(p.model.get(), steps), "noprop_model_train_step"));
  noprop_train_metrics metrics;
  ASSERT_TRUE(ok(noprop_model_train_metrics(p.model.get(), &metrics), "noprop_model_train_metrics"));
  const auto want =
      reference::train(p.settings, p.network, tracked(p.parameters), p.data->reference, batch, steps, 100);
  expect_within(kParameters, parameters_of(p.model.get()), want.parameters, p.c.name, &p.parameters);
  Tracked vae = 0.0, kl = 0.0, loss = 0.0;
  for (const auto &l : want.losses) {
    vae += l.vae / static_cast<double>(steps);
    kl += l.kl_z0 / static_cast<double>(steps);
    loss += l.total / static_cast<double>(steps);
  }
  expect_within(kParameters, metrics.loss, loss, std::string(p.c.name) + " mean loss");
  if (p.settings.loss.vae > 0) expect_within(kParameters, metrics.vae, vae, std::string(p.c.name) + " mean vae");
  if (p.settings.loss.kl_z0 > 0) expect_within(kParameters, metrics.kl_z0, kl, std::string(p.c.name) + " mean kl_z0");
}

/* A solve in one launch gives the latent and what the decoder makes of it, at every time of a trajectory. */
TEST(CoderSolve, DecodesTheLatent) {
  for (const auto &[index, method] : {std::pair<size_t, const char *>{1, "auto"}, {0, "auto"}, {1, "bosh3"}}) {
    SCOPED_TRACE(method);
    const Prepared p = prepare(index);
    ASSERT_TRUE(p.model);
    const size_t rows = 40, steps = 3, d = static_cast<size_t>(p.network.latent), y = static_cast<size_t>(p.c.target);
    noprop_array condition = p.data->condition;
    condition.rows = condition.shape[0] = static_cast<long>(rows);
    noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
    options.steps = static_cast<int>(steps);
    options.ema = false;
    options.trajectory = true;
    snprintf(options.method, sizeof options.method, "%s", method);
    std::vector<float> latent((steps + 1) * rows * d), output((steps + 1) * rows * y);
    ASSERT_TRUE(
        ok(noprop_sample(p.model.get(), &options, &condition, static_cast<long>(rows), latent.data(), output.data()),
           "noprop_sample"));
    const Network decoder = reference::decoder_of(p.network);
    const Vector<Tracked> parameters = tracked(p.parameters);
    Vector<Tracked> want;
    for (size_t at = 0; at < (steps + 1) * rows; ++at) {
      const Vector<Tracked> z(latent.begin() + static_cast<long>(at * d),
                              latent.begin() + static_cast<long>((at + 1) * d));
      Vector<Tracked> made = reference::forward<Tracked>(decoder, parameters, z, {}, {}).output();
      /* A decoder that is trained to make logits says their probabilities: decoder.output auto. */
      if (p.settings.decoder.output == "softmax" || p.settings.loss.recon_type == "cross_entropy") {
        Tracked sum = 0.0;
        for (Tracked &v : made) sum += v = reference::exp(v);
        for (Tracked &v : made) v /= sum;
      } else {
        for (size_t j = 0; j < y; ++j)
          made[j] = made[j] * static_cast<double>(p.data->y_std[j]) + static_cast<double>(p.data->y_mean[j]);
      }
      want.insert(want.end(), made.begin(), made.end());
    }
    expect_within(kPrediction, output, want, std::string(p.c.name) + " decoded");
    /* One launch, whatever is decoded. */
    noprop_device_counters before, after;
    ASSERT_TRUE(ok(noprop_device_get_counters(device(), &before), "counters"));
    std::vector<float> again(output.size()), last(rows * y), steady(rows * d);
    ASSERT_TRUE(ok(noprop_sample(p.model.get(), &options, &condition, static_cast<long>(rows), nullptr, again.data()),
                   "noprop_sample"));
    ASSERT_TRUE(ok(noprop_device_get_counters(device(), &after), "counters"));
    EXPECT_EQ(after.launches - before.launches, 1u);
    EXPECT_EQ(again, output);
    options.trajectory = false;
    ASSERT_TRUE(ok(noprop_sample(p.model.get(), &options, &condition, static_cast<long>(rows), nullptr, last.data()),
                   "noprop_sample"));
    EXPECT_EQ(last, std::vector<float>(output.end() - static_cast<long>(rows * y), output.end()));
    if (std::string(method) != "bosh3") continue;
    /* The same field in many fixed steps; the adaptive one stays within its tolerance, 1e-4, times what the field makes
     * of it. */
    snprintf(options.method, sizeof options.method, "heun");
    options.steps = 200;
    ASSERT_TRUE(ok(noprop_sample(p.model.get(), &options, &condition, static_cast<long>(rows), steady.data(), nullptr),
                   "noprop_sample"));
    for (size_t i = 0; i < rows * d; ++i)
      EXPECT_NEAR(steady[i], latent[steps * rows * d + i], 5e-3 * (1 + std::fabs(static_cast<double>(steady[i])))) << i;
  }
}

}  // namespace
