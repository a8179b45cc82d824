/* Which arithmetic a model's kernels use: what is asked for, what auto stands for, and what is refused. */
#include "tests/model/support.h"
#include "tests/tile_form.h"

extern "C" {
#include "engine/precision.h"
#include "kernels/arguments.h"
}

namespace {

using namespace model_test;

const Keys kClassify = {{"variant", "ct"}, {"task", "classify"}, {"network.hidden", "[8, 8]"}};

Keys with(const std::string &key, const std::string &value, Keys keys = kClassify) {
  keys.emplace_back(key, value);
  return keys;
}

std::string taken(const Model &model, std::string *reason = nullptr) {
  const char *why = nullptr;
  const std::string name = noprop_model_precision(model.get(), &why);
  if (reason) *reason = why;
  return name;
}

TEST(Precision, WhatIsAskedForIsTaken) {
  const Data data = make_data(8, 3, 5, true);
  for (const char *precision : {"fp32", "tf32x3", "tf32", "bf16"}) {
    const Model model = make_model(with("precision", precision), data);
    ASSERT_TRUE(model) << noprop_last_error();
    std::string reason;
    EXPECT_EQ(taken(model, &reason), precision);
    EXPECT_NE(reason.find("configuration"), std::string::npos) << reason;
    char *text = nullptr;
    ASSERT_OK(noprop_model_describe(model.get(), &text));
    EXPECT_NE(std::string(text).find(std::string("precision: ") + precision), std::string::npos) << text;
    noprop_free(text);
  }
  EXPECT_STREQ(noprop_model_precision(nullptr, nullptr), "");
}

TEST(Precision, AutoSaysWhatItTookAndWhy) {
  const Data data = make_data(8, 3, 5, true);
  std::string reason;
  const Model model = make_model(kClassify, data);
  ASSERT_TRUE(model);
  EXPECT_EQ(taken(model, &reason), "fp32");
  EXPECT_NE(reason.find("virtual GPU"), std::string::npos) << reason;
  const Model preset = make_model(with("preset", "jax-head"), data);
  ASSERT_TRUE(preset);
  EXPECT_EQ(taken(preset), "fp32");
}

TEST(Precision, AutoTakesTensorCoresWhereThereAreSomeAndKernelsForTheModel) {
  const Data data = make_data(8, 3, 5, true);
  const Model wide = make_model(with("network.hidden", "[264, 8]", {{"variant", "ct"}, {"task", "classify"}}), data);
  const Model narrow = make_model(kClassify, data);
  ASSERT_TRUE(wide && narrow);
  noprop_device gpu = *device(); /* as a GPU would be: only its properties are read */
  gpu.properties.is_virtual = false;
  const struct {
    const Model &model;
    int major, minor, precision;
    const char *reason;
  } cases[] = {{narrow, 8, 0, PRECISION_TF32, "tensor cores"},
               {narrow, 12, 0, PRECISION_TF32, "tensor cores"},
               {narrow, 7, 5, PRECISION_FP32, "8.0 or later, and this device has 7.5"},
               {wide, 9, 0, PRECISION_FP32, "up to 256 wide, and this network has one of 264"}};
  for (const auto &c : cases) {
    struct settings settings = c.model->settings;
    char reason[200];
    settings.precision = PRECISION_AUTO;
    gpu.properties.compute_capability[0] = c.major, gpu.properties.compute_capability[1] = c.minor;
    ASSERT_OK(precision_resolve(&gpu, c.model->network, &settings, reason, sizeof reason));
    EXPECT_EQ(settings.precision, c.precision);
    EXPECT_NE(std::string(reason).find(c.reason), std::string::npos) << reason;
    EXPECT_EQ(c.model->network->operand_form, c.precision == PRECISION_TF32 ? OPERANDS_TF32 : -1);
    settings.precision = PRECISION_BF16;
    if (c.precision == PRECISION_TF32) {
      EXPECT_OK(precision_resolve(&gpu, c.model->network, &settings, reason, sizeof reason));
    } else {
      EXPECT_EQ(precision_resolve(&gpu, c.model->network, &settings, reason, sizeof reason), NOPROP_UNSUPPORTED);
      EXPECT_NE(std::string(noprop_last_error()).find(c.reason), std::string::npos) << noprop_last_error();
      EXPECT_NE(std::string(noprop_last_error()).find("precision: bf16"), std::string::npos) << noprop_last_error();
    }
    network_place_fragments(c.model->network, -1);
  }
}

TEST(Precision, LayersTooWideForTilesOnTensorCoresAreRefusedIfBothWereAskedFor) {
  const Tier forced("tiles");
  const Data data = make_data(8, 3, 5, true);
  const Config config = make_config(with("precision", "tf32", with("network.hidden", "[8, 264]")));
  const noprop_model_shape shape = data.shape();
  noprop_model *model = nullptr;
  EXPECT_EQ(noprop_model_create(device(), config.get(), &shape, &model), NOPROP_UNSUPPORTED);
  EXPECT_NE(std::string(noprop_last_error()).find("one of 264; fp32 takes it"), std::string::npos)
      << noprop_last_error();
}

/* NOPROP_FP32 while it lives. */
class Fp32 {
 public:
  explicit Fp32(const char *value) { setenv("NOPROP_FP32", value, 1); }
  ~Fp32() { unsetenv("NOPROP_FP32"); }
  Fp32(const Fp32 &) = delete;
  Fp32 &operator=(const Fp32 &) = delete;
};

TEST(Precision, Fp32StandsForThreeProductsWhereTheyWereCountedToBeFaster) {
  const Data data = make_data(8, 3, 5, true);
  const Model wide = make_model(with("network.hidden", "[264, 8]", {{"variant", "ct"}, {"task", "classify"}}), data);
  const Model narrow = make_model(kClassify, data);
  ASSERT_TRUE(wide && narrow);
  noprop_device gpu = *device(); /* as a GPU would be: only its properties are read */
  const struct {
    const Model &model;
    bool is_virtual;
    int major, minor, precision;
    const char *reason;
  } cases[] = {{narrow, false, 8, 0, PRECISION_TF32X3, "by count on compute capability 8.0"},
               {narrow, false, 9, 0, PRECISION_TF32X3, "by count on compute capability 9.0"},
               {narrow, false, 10, 0, PRECISION_TF32X3, "by count on compute capability 10.0"},
               {narrow, false, 7, 5, PRECISION_FP32, "as the configuration says"},
               {narrow, false, 8, 6, PRECISION_FP32, "as the configuration says"},
               {narrow, false, 8, 9, PRECISION_FP32, "as the configuration says"},
               {narrow, false, 12, 0, PRECISION_FP32, "as the configuration says"},
               {narrow, true, 9, 0, PRECISION_FP32, "as the configuration says"},
               {wide, false, 9, 0, PRECISION_FP32, "tf32x3, which is as exact and here faster, keeps rows"}};
  for (const auto &c : cases) {
    struct settings settings = c.model->settings;
    char reason[200];
    const auto resolve = [&] {
      settings.precision = PRECISION_FP32;
      gpu.properties.is_virtual = c.is_virtual;
      gpu.properties.compute_capability[0] = c.major, gpu.properties.compute_capability[1] = c.minor;
      const noprop_status status = precision_resolve(&gpu, c.model->network, &settings, reason, sizeof reason);
      network_place_fragments(c.model->network, -1);
      return status;
    };
    ASSERT_OK(resolve());
    EXPECT_EQ(settings.precision, c.precision) << c.major << "." << c.minor;
    EXPECT_NE(std::string(reason).find(c.reason), std::string::npos) << reason;
    const Fp32 plain("fma");
    ASSERT_OK(resolve());
    EXPECT_EQ(settings.precision, PRECISION_FP32);
    const Fp32 wrong("fast");
    EXPECT_EQ(resolve(), NOPROP_INVALID_ARGUMENT);
    EXPECT_NE(std::string(noprop_last_error()).find("NOPROP_FP32 must be fma or tf32x3, not 'fast'"),
              std::string::npos);
  }
}

/* What tensor cores have no kernels for is computed with multiply-adds, which are as exact, unless tf32x3 itself was
 * asked for. */
TEST(Precision, Fp32AsThreeProductsStillDoesEverything) {
  const Data data = make_data(8, 3, 5, true);
  const Fp32 three("tf32x3");
  const Model model = make_model(with("precision", "fp32"), data);
  ASSERT_TRUE(model);
  std::string reason;
  EXPECT_EQ(taken(model, &reason), "tf32x3");
  EXPECT_NE(reason.find("fp32, as NOPROP_FP32 says"), std::string::npos) << reason;
  EXPECT_EQ(model->network->operand_form, OPERANDS_TF32X3);
  EXPECT_OK(model_need_train_state(model.get()));
  const Model only = make_model(with("precision", "tf32x3"), data);
  ASSERT_TRUE(only);
  EXPECT_EQ(model_need_train_state(only.get()), NOPROP_UNSUPPORTED);
  EXPECT_NE(std::string(noprop_last_error()).find("this model has tf32x3"), std::string::npos) << noprop_last_error();
}

/* Every weight stands in both of its places, and nothing else does. */
TEST(Precision, FragmentsHoldEveryWeightTwice) {
  const Data data = make_data(8, 3, 5, true);
  const Model model =
      make_model(with("network.hidden", "[8, 20, 33]", {{"variant", "ct"}, {"task", "classify"}}), data);
  ASSERT_TRUE(model);
  struct network *network = model->network;
  for (const int form : {OPERANDS_TF32, OPERANDS_BF16, OPERANDS_TF32X3}) {
    network_place_fragments(network, form);
    std::vector<int> sources(static_cast<size_t>(network_fragment_numbers(network)), -2);
    network_fragment_sources(network, sources.data());
    std::vector<int> found(static_cast<size_t>(network->padded_floats), 0);
    for (const int source : sources) {
      ASSERT_GE(source, -1);
      ASSERT_LT(source, network->padded_floats);
      if (source >= 0) ++found[static_cast<size_t>(source)];
    }
    for (int i = 0; i < network->parameter_count; ++i) {
      const parameter_entry &entry = network->parameters[i];
      for (int row = 0; row < entry.rows; ++row)
        for (int column = 0; column < entry.stride; ++column)
          EXPECT_EQ(found[static_cast<size_t>(entry.padded_offset + row * entry.stride + column)],
                    entry.fragment_offset < 0 || column >= entry.columns ? 0 : 2)
              << entry.name;
    }
  }
  network_place_fragments(network, -1);
}

}  // namespace

/* Validation takes the averaged weights; on tensor cores these are copies in fragment order. */
TEST(Precision, ValidationTakesTheAveragedWeightsOnTensorCores) {
  const Data data = make_data(64, 2, 2, true);
  const Keys keys = {{"variant", "ct"}, {"network.hidden", "[16, 16]"}, {"precision", "tf32"}, {"seed", "3"}};
  Keys averaged = keys;
  averaged.insert(averaged.end(), {{"optimizer.ema", "0.9"}, {"optimizer.learning_rate", "0.05"}});
  const Model trained = make_model(averaged, data), made = make_model(keys, data);
  ASSERT_TRUE(trained && made);
  bind(trained.get(), data, 32);
  ASSERT_OK(noprop_model_train_step(trained.get(), 20));
  ASSERT_OK(noprop_model_set_parameters(made.get(), parameters(trained.get(), true).data()));
  const noprop_array condition = data.condition_array(), target = data.target_array();
  noprop_loss_terms of_trained, of_made;
  ASSERT_OK(noprop_model_validate(trained.get(), &condition, &target, &of_trained));
  ASSERT_OK(noprop_model_validate(made.get(), &condition, &target, &of_made));
  EXPECT_EQ(of_trained.loss, of_made.loss);
  ASSERT_OK(noprop_model_set_parameters(made.get(), parameters(trained.get(), false).data()));
  ASSERT_OK(noprop_model_validate(made.get(), &condition, &target, &of_made));
  EXPECT_NE(of_trained.loss, of_made.loss);
}
