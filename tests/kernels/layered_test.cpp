/* The layered tier (engine/layered.h): which models have it, and how many launches it takes. That it computes what
 * tiles compute is in the sweeps (LayeredSweep, LayeredSolves). And cuBLASLt in it: what it computes is decided once.
 */
#include <gtest/gtest.h>

#include <fstream>

#include "tests/cublaslt_fake.h"
#include "tests/kernels/harness.h"
#include "tests/tile_form.h"

namespace {

using namespace kernels_test;

const Keys kWide = {
    {"variant", "fm"}, {"task", "regress"}, {"network.hidden", "[264, 264]"}, {"network.time_embedding.size", "6"}};

std::string description(noprop_model *model) {
  char *text = nullptr;
  if (!ok(noprop_model_describe(model, &text), "noprop_model_describe")) return "";
  const std::string said = text;
  noprop_free(text);
  return said;
}

uint64_t launches() {
  noprop_device_counters counters;
  EXPECT_EQ(noprop_device_get_counters(device(), &counters), NOPROP_OK);
  return counters.launches;
}

/* Forward a launch for each of the five ops (x.0, x.1, squash, hidden.1, output), backward one for each but the last,
 * one for all gradients of weights; draw, loss, update. In a solve the x-branch and what it gives to the squash once.
 */
TEST(LayeredTier, TakesAFixedNumberOfLaunches) {
  setenv("NOPROP_CUBLASLT", "off", 1); /* on a GPU its products would be launches more */
  Keys keys = kWide;
  keys.insert(keys.end(), {{"precision", "tf32"}, {"optimizer.clip", "0"}});
  const Settings settings = reference::settings_from(keys);
  const auto data = make_data(settings, kFloatCondition, 3, 5, 40, 3);
  const Model model = create_model(keys, data->shape);
  ASSERT_TRUE(model);
  EXPECT_NE(description(model.get()).find("tier layered"), std::string::npos) << description(model.get());
  ASSERT_TRUE(ok(noprop_model_bind(model.get(), &data->condition, &data->target, 40), "noprop_model_bind"));
  ASSERT_TRUE(ok(noprop_model_train_step(model.get(), 1), "noprop_model_train_step"));
  uint64_t before = launches();
  ASSERT_TRUE(ok(noprop_model_train_step(model.get(), 2), "noprop_model_train_step"));
  EXPECT_EQ(launches() - before, 2u * 13u);
  EXPECT_NE(description(model.get()).find("13 launches per step"), std::string::npos) << description(model.get());
  EXPECT_NE(description(model.get()).find("4 launches for an evaluation"), std::string::npos)
      << description(model.get());
  noprop_sampler_options options = noprop_sampler_options_default(model.get());
  snprintf(options.method, sizeof options.method, "midpoint");
  options.steps = 3;
  std::vector<float> latent(40 * 5);
  before = launches();
  ASSERT_TRUE(ok(noprop_sample(model.get(), &options, &data->condition, 40, latent.data(), nullptr), "noprop_sample"));
  EXPECT_EQ(launches() - before, 1u + 3u + 3u * 2u * (3u + 1u));
  EXPECT_NE(description(model.get()).find("products: ours; cuBLASLt is turned off by NOPROP_CUBLASLT"),
            std::string::npos);
  unsetenv("NOPROP_CUBLASLT");
}

/* The virtual GPU's fp32 stays with tiles where they are as fast; what asks for tensor cores with layers too wide for
 * tiles on them is layered; what the launches cannot do is tiles, or refused with a sentence. */
TEST(LayeredTier, IsChosenByWidthAndPrecision) {
  const auto said = [](const Keys &more) {
    Keys keys = kWide;
    keys.insert(keys.end(), more.begin(), more.end());
    const auto data = make_data(reference::settings_from(kWide), kFloatCondition, 3, 5, 8, 3);
    const Model model = create_model(keys, data->shape);
    return model ? description(model.get()) : "";
  };
  const auto has = [](const std::string &text, const char *part) {
    EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
  };
  has(said({}), "tier spilling");
  has(said({{"precision", "bf16"}}), "tier layered");
  has(said({{"precision", "bf16"}}), "products: ours; cuBLASLt is for GPUs, and this one is virtual");
  has(said({{"precision", "bf16"}}), "layers are 264 wide, and tiles on tensor cores have up to 256");
  has(said({{"network.hidden", "[1024]"}}), "tier layered");
  has(said({{"network.hidden", "[1024]"}, {"schedule.learnable", "true"}, {"variant", "ct"}}),
      "tiles: the layered tier has no gradients of a learnable schedule");
  {
    const Tier forced("tiles");
    has(said({{"network.hidden", "[1024]"}}), "tier spilling");
  }
  const auto refused = [](const Keys &keys, const char *sentence) {
    const auto data = make_data(reference::settings_from(kWide), kFloatCondition, 3, 5, 8, 3);
    noprop_config *config = nullptr;
    ASSERT_TRUE(ok(noprop_config_create(&config), "noprop_config_create"));
    for (const auto &[key, value] : keys)
      EXPECT_EQ(noprop_config_set(config, key.c_str(), value.c_str()), NOPROP_OK) << noprop_last_error();
    noprop_model *model = nullptr;
    EXPECT_NE(noprop_model_create(device(), config, &data->shape, &model), NOPROP_OK);
    EXPECT_NE(std::string(noprop_last_error()).find(sentence), std::string::npos) << noprop_last_error();
    noprop_model_destroy(model);
    noprop_config_destroy(config);
  };
  {
    const Tier forced("layered");
    refused(
        {{"task", "regress"}, {"network.type", "bilinear"}},
        "NOPROP_TIER is layered, but the layered tier has no kernels for networks that are no chain of dense layers");
  }
  const Tier forced("sideways");
  refused({{"task", "regress"}}, "NOPROP_TIER must be tiles or layered, not 'sideways'");
}

/* ---- what cuBLASLt computes ---- */

/* A model of the layered tier, prepared for training steps with a library in which products take so long (ours: 2 ms).
 */
struct Prepared {
  std::string before, said; /* its description before and behind the preparation */
  int measured = 0;         /* how often the clock was read meanwhile */
  uint64_t launches = 0;    /* of a request with gradients */
};

Prepared prepare(float milliseconds, size_t version = 130100) {
  const Keys keys = {{"variant", "fm"}, {"task", "regress"}, {"network.hidden", "[24, 16]"}};
  const Tier forced("layered");
  const cublaslt_fake::Library library;
  const cublaslt_fake::Clock clock(milliseconds, milliseconds);
  cublaslt_fake::state.version = version;
  Prepared p;
  const auto data = make_data(reference::settings_from(keys), kFloatCondition, 5, 16, 40, 3);
  Keys with_batch = keys;
  with_batch.emplace_back("train.batch", "40");
  const Model model = create_model(with_batch, data->shape);
  if (!model) return p;
  p.before = description(model.get());
  EXPECT_TRUE(ok(noprop_model_bind(model.get(), &data->condition, &data->target, 40), "noprop_model_bind"));
  p.measured = cublaslt_fake::Clock::readings;
  p.said = description(model.get());
  std::vector<float> gradient(static_cast<size_t>(noprop_model_parameter_values(model.get())));
  noprop_loss_request request = {};
  request.rows = 40;
  request.condition = data->condition.values;
  request.target = data->target.values;
  request.gradient = gradient.data();
  noprop_loss_terms terms;
  const uint64_t before = launches();
  EXPECT_TRUE(ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss"));
  p.launches = launches() - before;
  return p;
}

/* Launches of a step that a description names. */
long launches_said(const std::string &text) {
  const size_t at = text.find(" launches per step");
  return at == std::string::npos ? -1 : std::atol(text.c_str() + text.rfind(' ', at - 1));
}

TEST(LayeredProducts, AreMeasuredOnceAndRemembered) {
  const cublaslt_fake::Folder folder([] { prepare(1.0f); });
  const char *const all = "cuBLASLt 13.1.0 for 10 of the 11", *const none = "cuBLASLt 13.1.0 for 0 of the 11";
  const Prepared first = prepare(1.0f);
  EXPECT_NE(first.before.find("10 will be measured when a training step is prepared"), std::string::npos)
      << first.before;
  EXPECT_GT(first.measured, 0);
  EXPECT_NE(first.said.find(all), std::string::npos) << first.said;
  const size_t shapes = folder.choices().size();
  EXPECT_GT(shapes, 0u);
  {
    const Prepared second = prepare(3.0f); /* the library is the slower one now */
    EXPECT_EQ(second.measured, 0);
    EXPECT_EQ(second.said, first.said);
    EXPECT_EQ(second.before, first.said) << "what is remembered is told before training is prepared";
    EXPECT_EQ(second.launches, first.launches);
    EXPECT_EQ(folder.choices().size(), shapes);
  }
  {
    const Prepared other = prepare(3.0f, 130200); /* another version is another choice */
    EXPECT_GT(other.measured, 0);
    EXPECT_NE(other.said.find("cuBLASLt 13.2.0 for 0 of the 11"), std::string::npos) << other.said;
    EXPECT_EQ(folder.choices().size(), 2 * shapes);
  }
  for (const auto &path : folder.choices()) std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  const Prepared again = prepare(3.0f); /* damaged entries are measured again */
  EXPECT_GT(again.measured, 0);
  EXPECT_NE(again.said.find(none), std::string::npos) << again.said;
  EXPECT_EQ(prepare(1.0f).said, again.said);
}

/* As fast is not faster: times vary by a few percent from run to run. */
TEST(LayeredProducts, AreOursWhereALibraryIsNotClearlyFaster) {
  const cublaslt_fake::Folder folder([] { prepare(1.0f); });
  const Prepared p = prepare(1.95f);
  EXPECT_GT(p.measured, 0);
  EXPECT_NE(p.said.find("cuBLASLt 13.1.0 for 0 of the 11"), std::string::npos) << p.said;
}

TEST(LayeredProducts, AreOursWhereAChoiceCannotBeRemembered) {
  const cublaslt_fake::Folder folder([] { prepare(1.0f); });
  const Prepared writable = prepare(3.0f);
  const std::string file = folder.choices().at(0).string();
  cublaslt_fake::Folder::use(file); /* no folder, so that nobody can write there */
  const Prepared p = prepare(1.0f);
  EXPECT_NE(p.said.find("for 0 of the 11"), std::string::npos) << p.said;
  EXPECT_NE(p.said.find("; ours as well where the outcome cannot be remembered: " + file + ": cannot be written to"),
            std::string::npos)
      << p.said;
  EXPECT_EQ(p.launches, writable.launches);
}

/* The number of launches of a step that a model tells of has those of the library. */
TEST(LayeredProducts, AreCountedAmongTheLaunchesOfAStep) {
  const cublaslt_fake::Folder folder([] { prepare(1.0f); });
  const Prepared with = prepare(1.0f);
  const cublaslt_fake::Folder another([] {});
  const Prepared without = prepare(3.0f);
  EXPECT_EQ(launches_said(with.said) - launches_said(without.said), 10);
  EXPECT_EQ(with.launches - without.launches, 10u);
}

}  // namespace
