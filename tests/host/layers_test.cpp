/* Promises of network.layers: read as meant, refused with the key's path where not, written so that it reads the same.
 */
#include <gtest/gtest.h>
#include <noprop/noprop.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>

extern "C" {
#include "engine/network.h"
#include "host/config.h"
}

namespace {

struct ConfigDeleter {
  void operator()(noprop_config *config) const { noprop_config_destroy(config); }
};
using Config = std::unique_ptr<noprop_config, ConfigDeleter>;

/* A configuration of a custom network with these layers. */
Config with_layers(const std::string &layers, const std::string &more = "") {
  noprop_config *made = nullptr;
  EXPECT_EQ(noprop_config_create(&made), NOPROP_OK);
  Config config(made);
  const std::string text = "task: regress\nnetwork:\n  type: custom\n  layers: " + layers + "\n" + more;
  if (noprop_config_parse(made, text.c_str(), "a.yaml") != NOPROP_OK) config.reset();
  return config;
}

/* The sentence with which reading, checking or building for widths 3 (x) and 2 (z) fails; "": it does not. */
std::string refusal(const std::string &layers, const std::string &more = "", int condition = 3) {
  const Config config = with_layers(layers, more);
  if (!config) return noprop_last_error();
  if (noprop_config_check(config.get()) != NOPROP_OK) return noprop_last_error();
  const auto resolved = std::make_unique<settings>();
  if (settings_resolve(config.get(), resolved.get()) != NOPROP_OK) return noprop_last_error();
  noprop_model_shape shape = {};
  shape.condition_width = condition, shape.target_width = 2;
  network *built = nullptr;
  const noprop_status status = network_create(resolved.get(), &shape, &built);
  network_destroy(built);
  return status == NOPROP_OK ? "" : noprop_last_error();
}

std::string value(const Config &config) {
  std::string text(CONFIG_VALUE_MOST, '\0');
  EXPECT_EQ(noprop_config_get(config.get(), "network.layers", text.data(), text.size()), NOPROP_OK);
  return text.c_str();
}

TEST(Layers, AreReadWithTheLayerBeforeAsDefaultInput) {
  const Config config = with_layers(
      "\n    - {name: stem, type: dense, from: [z, x, t], width: 64, activation: swish}\n"
      "    - {type: layer_norm}\n    - {type: dropout, rate: 0.25}\n    - {type: dense, width: 64, bias: false}\n"
      "    - {type: add, from: stem}\n    - {type: multiply, from: [stem, add.4]}\n    - type: dense");
  ASSERT_TRUE(config) << noprop_last_error();
  const layer_list &list = config->settings.network.layers;
  ASSERT_EQ(list.count, 7);
  EXPECT_EQ(list.items[0].input_count, 3);
  EXPECT_EQ(list.items[0].inputs[2], LAYER_FROM_T);
  EXPECT_STREQ(list.items[1].name, "layer_norm.1");
  EXPECT_EQ(list.items[2].inputs[0], 1);
  EXPECT_EQ(list.items[2].rate, 0.25);
  EXPECT_FALSE(list.items[3].bias);
  EXPECT_EQ(list.items[3].activation, ACTIVATION_LINEAR);
  EXPECT_EQ(list.items[4].input_count, 2) << "one name is added to the layer before";
  EXPECT_EQ(list.items[4].inputs[0], 3);
  EXPECT_EQ(list.items[4].inputs[1], 0);
  EXPECT_EQ(list.items[6].width, 0);
}

TEST(Layers, AreWrittenSoThatTheyReadTheSame) {
  const Config config = with_layers(
      "[{name: \"0-a\", type: dense, from: [z, x, t], width: 8, activation: swiglu}, {type: dropout, rate: 0.1},"
      " {name: no, type: add, from: 0-a}, {type: concatenate, from: [no, z]}, {type: activation, activation: linear},"
      " {type: batch_norm, momentum: 0.25}, {type: batch_norm}, {type: dense, bias: false}]");
  ASSERT_TRUE(config) << noprop_last_error();
  char *text = nullptr;
  ASSERT_EQ(noprop_config_text(config.get(), &text), NOPROP_OK);
  noprop_config *again = nullptr;
  ASSERT_EQ(noprop_config_create(&again), NOPROP_OK);
  const Config second(again);
  ASSERT_EQ(noprop_config_parse(again, text, "again.yaml"), NOPROP_OK) << noprop_last_error() << text;
  EXPECT_EQ(memcmp(&config->settings.network.layers, &again->settings.network.layers, sizeof(layer_list)), 0) << text;
  noprop_free(text);
  /* A single value as well, as on a command line. */
  const Config third = with_layers("[]");
  ASSERT_EQ(noprop_config_set(third.get(), "network.layers", value(config).c_str()), NOPROP_OK) << noprop_last_error();
  EXPECT_EQ(value(third), value(config));
}

TEST(Layers, AreRefusedWithTheirPath) {
  const auto begins = [](const std::string &layers, const std::string &with, const std::string &more = "") {
    EXPECT_EQ(refusal(layers, more).substr(0, with.size()), with) << refusal(layers, more);
  };
  begins("[{type: dense, from: z, width: 0}]",
         "a.yaml:4: network.layers[0].width: 0 is not allowed; allowed: integer from 1 to 4096");
  begins(
      "\n  - {type: dense, from: z}\n  - {type: dence}",
      "a.yaml:6: network.layers[1].type: dence is not allowed (did you mean 'dense'?); allowed: dense, activation, ");
  begins(
      "[{type: dense, from: z, widht: 3}]",
      "a.yaml:4: network.layers[0]: type dense has no key 'widht'; allowed: type, name, from, width, activation, bias");
  begins("[{type: batch_norm, from: z, momentum: 0}]",
         "a.yaml:4: network.layers[0].momentum: 0 is not allowed; allowed: number above 0, at most 1");
  begins("[{type: dense, from: z, rate: 0.1}]", "a.yaml:4: network.layers[0]: type dense has no key 'rate'");
  begins("[{from: z}]", "a.yaml:4: network.layers[0].type: is not given");
  begins("[dense]", "a.yaml:4: network.layers[0]: dense is not allowed; allowed: keys and values");
  begins("[{type: dense, from: z, width: 4}, {type: dense, width: 4}, {type: add, from: dense.2}]",
         "a.yaml:4: network.layers[2].from: 'dense.2' is no earlier layer (did you mean 'dense.");
  begins("[{type: dense, width: 3}]", "a.yaml:4: network.layers[0].from: is not given, and the first layer");
  begins("[{type: add, from: z}]", "a.yaml:4: network.layers[0].from: is one name, and the first layer");
  begins("[{type: layer_norm, from: [z, x]}]",
         "a.yaml:4: network.layers[0].from: type layer_norm takes one input, and");
  begins("[{type: multiply, from: [z, z, z]}]", "a.yaml:4: network.layers[0].from: type multiply takes two inputs");
  begins("[{type: dense, from: [z, z]}]", "a.yaml:4: network.layers[0].from: names one input twice");
  begins("[{type: dropout, from: z}]", "a.yaml:4: network.layers[0].rate: is not given");
  begins("[{type: dropout, from: z, rate: 1}]", "a.yaml:4: network.layers[0].rate: 1 is not allowed; allowed: number");
  begins("[{type: activation, from: z}]", "a.yaml:4: network.layers[0].activation: is not given");
  begins("[{type: dense, from: z, activation: swich}]",
         "a.yaml:4: network.layers[0].activation: swich is not allowed (did you mean 'swish'?); allowed: linear, relu");
  begins("[{type: dense, from: z, bias: 3}]",
         "a.yaml:4: network.layers[0].bias: 3 is not allowed; allowed: true, false");
  begins("[{name: z, type: dense, from: z}]", "a.yaml:4: network.layers[0].name: z is what every layer may read");
  begins("[{name: a b, type: dense, from: z}]",
         "a.yaml:4: network.layers[0].name: 'a b' is not allowed; allowed: 1 to 20");
  begins("[{name: a, type: dense, from: z, width: 2}, {name: a, type: dense}]",
         "a.yaml:4: network.layers[1].name: a is the name of network.layers[0] already");
  begins("[{type: dense, from: z, width: 2}, {type: dense, from: z}]",
         "a.yaml:4: network.layers[0]: no layer reads 'dense.0'");
  begins("[{type: dense, from: z}, {type: dense}]", "a.yaml:4: network.layers[0].width: is not given; only the last");
  begins("[{type: dense, from: z, from: x}]", "a.yaml:4: network.layers[0].from: is given twice");
  begins("[]", "a.yaml:4: network.layers: [] has no layers, and network.type custom is made of them");
  begins("[{type: dense, from: z}]", "a.yaml:5: network.dropout: 0.1 is for networks by name", "  dropout: 0.1");
  /* What the data decide. */
  begins("[{type: add, from: [z, x]}]",
         "network.layers[0].from: add takes inputs of one width, and 'x' has 3 where 'z' has 2");
  begins("[{type: dense, from: z, width: 3, activation: swiglu}]",
         "network.layers[0].activation: swiglu pairs features, and there are 3; an even width is allowed");
  begins("[{name: output, type: dense, from: [z, t], width: 5}]",
         "network.layers[0].name: output is the name of the layer");
  begins("[{type: dense, from: x, width: 3}]", "network.wrapper: potential is zero everywhere", "  wrapper: potential");
  EXPECT_EQ(refusal("[{type: dense, from: [z, x]}]", "", 100), "");
  EXPECT_EQ(
      refusal("[{type: dense, from: [z, x], width: 4}, {type: dense, from: [dense.0, x]}]", "", 100).substr(0, 60),
      "network.layers[0].from: x has 100 numbers here, and more tha");
  begins("[{type: dense, from: [z, x], width: 4}, {type: dense, from: [dense.0, x]}]", "a.yaml:4: network.layers: [",
         "loss: {condition_dropout: 0.1}");
}

/* A file beside the configuration becomes part of it, and is not needed to read it again. */
TEST(Layers, OfFunctionsHoldTheirFilesText) {
  const std::string folder = testing::TempDir() + "layers_" + std::to_string(getpid());
  ASSERT_EQ(mkdir(folder.c_str(), 0700), 0);
  const std::string text = "  // \"quoted\" \\ \xc2\xb5\n\n\tfloat f, f_vjp, f_parameter_vjp;\n   ";
  std::ofstream(folder + "/f.cuh", std::ios::binary) << text;
  const std::string list =
      "network: {type: custom, layers: [{type: source, from: [z, x], file: f.cuh, function: f, width: 3, parameters: 2,"
      " initial: one}, {type: source, file: f.cuh, function: f, width: 3}, {type: dense}]}";
  std::ofstream(folder + "/a.yaml") << list;
  noprop_config *first = nullptr, *second = nullptr;
  ASSERT_EQ(noprop_config_create(&first), NOPROP_OK);
  const Config one(first);
  ASSERT_EQ(noprop_config_load(first, (folder + "/a.yaml").c_str()), NOPROP_OK) << noprop_last_error();
  EXPECT_EQ(first->settings.network.layers.source_count, 1);
  EXPECT_EQ(first->settings.network.layers.text, text);
  remove((folder + "/f.cuh").c_str());
  ASSERT_EQ(noprop_config_create(&second), NOPROP_OK);
  const Config two(second);
  EXPECT_EQ(noprop_config_load(second, (folder + "/a.yaml").c_str()), NOPROP_INVALID_CONFIG);
  EXPECT_NE(std::string(noprop_last_error()).find("network.layers[0].file: "), std::string::npos)
      << noprop_last_error();
  char *printed = nullptr;
  ASSERT_EQ(noprop_config_text(first, &printed), NOPROP_OK);
  ASSERT_EQ(noprop_config_parse(second, printed, "run/config.yaml"), NOPROP_OK) << noprop_last_error() << printed;
  EXPECT_EQ(memcmp(&first->settings.network.layers, &second->settings.network.layers, sizeof(layer_list)), 0)
      << printed;
  noprop_free(printed);
  remove((folder + "/a.yaml").c_str());
  rmdir(folder.c_str());
}

TEST(Layers, OfFunctionsAreRefusedWithTheirPath) {
  const std::string text = ", file: a.cuh, text: \"f f_vjp\"";
  EXPECT_EQ(refusal("[{type: source, from: z, width: 2, function: f" + text + "}]"), "");
  EXPECT_EQ(refusal("[{type: source, from: z, width: 2, function: f}]").substr(0, 46),
            "a.yaml:4: network.layers[0].file: is not given");
  EXPECT_EQ(refusal("[{type: source, from: z, width: 2" + text + "}]").substr(0, 50),
            "a.yaml:4: network.layers[0].function: is not given");
  EXPECT_EQ(refusal("[{type: source, from: z, width: 2, function: g" + text + "}]").substr(0, 60),
            "a.yaml:4: network.layers[0].function: a.cuh has no function ");
  EXPECT_NE(refusal("[{type: source, from: z, width: 2, parameters: 3, function: f" + text + "}]")
                .find("a.cuh has no function f_parameter_vjp"),
            std::string::npos);
  EXPECT_EQ(refusal("[{type: source, from: z, parameters: 1025, function: f" + text + "}]").substr(0, 56),
            "a.yaml:4: network.layers[0].parameters: 1025 is not allo");
  EXPECT_NE(refusal("[{type: source, from: z, function: f" + text + "}]", "  wrapper: potential")
                .find("has a vector-Jacobian product and no second derivatives"),
            std::string::npos);
}

TEST(Layers, MakeAFinalLayerWhereTheLastOneIsOfAnotherWidth) {
  const auto arrays = [](const std::string &layers) {
    const Config config = with_layers(layers);
    const auto resolved = std::make_unique<settings>();
    EXPECT_EQ(settings_resolve(config.get(), resolved.get()), NOPROP_OK);
    noprop_model_shape shape = {};
    shape.condition_width = 3, shape.target_width = 2;
    network *built = nullptr;
    EXPECT_EQ(network_create(resolved.get(), &shape, &built), NOPROP_OK) << noprop_last_error();
    std::string names;
    for (int i = 0; built && i < built->parameter_count; ++i)
      names += std::string(built->parameters[i].name) + " " + std::to_string(built->parameters[i].rows) + "x" +
               std::to_string(built->parameters[i].columns) + ", ";
    network_destroy(built);
    return names;
  };
  EXPECT_EQ(arrays("[{name: a, type: dense, from: [z, x], width: 5}]"),
            "a.z.weight 2x5, a.x.weight 3x5, a.bias 1x5, output.weight 5x2, output.bias 1x2, ");
  EXPECT_EQ(arrays("[{name: a, type: dense, from: z, width: 5}, {type: layer_norm}, {type: dense, bias: false}]"),
            "a.weight 2x5, a.bias 1x5, layer_norm.1.scale 1x5, layer_norm.1.bias 1x5, dense.2.weight 5x2, ");
}

}  // namespace
