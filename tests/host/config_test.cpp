// Configurations: every key round-trips, every refusal says file, line, key, value and what is allowed, presets and
// checks.
#include <gtest/gtest.h>
#include <noprop/noprop.h>

#include <clocale>
#include <cmath>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "scratch.h"

extern "C" {
#include "host/config.h"
}

namespace {

struct Destroy {
  void operator()(noprop_config *config) const { noprop_config_destroy(config); }
};
using Config = std::unique_ptr<noprop_config, Destroy>;

Config make() {
  noprop_config *config = nullptr;
  EXPECT_EQ(noprop_config_create(&config), NOPROP_OK) << noprop_last_error();
  return Config(config);
}

std::string text_of(const Config &config) {
  char *text = nullptr;
  EXPECT_EQ(noprop_config_text(config.get(), &text), NOPROP_OK) << noprop_last_error();
  const std::string copy = text == nullptr ? "" : text;
  noprop_free(text);
  return copy;
}

std::string get(const Config &config, const char *key) {
  char buffer[4096];
  EXPECT_EQ(noprop_config_get(config.get(), key, buffer, sizeof buffer), NOPROP_OK) << noprop_last_error();
  return buffer;
}

// The sentence with which `text` is refused; "" if it is taken.
std::string refusal(const std::string &text) {
  const Config config = make();
  const std::string before = text_of(config);
  const noprop_status status = noprop_config_parse(config.get(), text.c_str(), "a.yaml");
  if (status == NOPROP_OK) return "";
  EXPECT_EQ(status, NOPROP_INVALID_CONFIG);
  EXPECT_EQ(text_of(config), before) << "a refused text changed the configuration";
  return noprop_last_error();
}

// The sentence with which noprop_config_check refuses these settings; "" if it does not.
std::string check_refusal(const std::vector<std::pair<const char *, const char *>> &pairs) {
  const Config config = make();
  for (const auto &[key, value] : pairs)
    EXPECT_EQ(noprop_config_set(config.get(), key, value), NOPROP_OK) << noprop_last_error();
  return noprop_config_check(config.get()) == NOPROP_OK ? "" : noprop_last_error();
}

settings resolve(const Config &config) {
  settings resolved;
  EXPECT_EQ(settings_resolve(config.get(), &resolved), NOPROP_OK) << noprop_last_error();
  return resolved;
}

// Every key alike, reals to the last bit.
void expect_same(const settings &a, const settings &b) {
  for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
    char left[4096], right[4096];
    config_format(&a, i, left, sizeof left);
    config_format(&b, i, right, sizeof right);
    EXPECT_STREQ(left, right) << CONFIG_KEYS[i].path;
  }
}

// The example of the interface page, letter by letter, but for its comments.
const char INTERFACE_EXAMPLE[] = R"(variant: ct
task: classify
preset: none
prediction: auto
seed: 0
precision: auto
data:      {file: moons.h5, condition: x, target: y, standardise: true}
schedule:  {type: cosine, alpha_bar: [0.001, 0.999], learnable: false}
latent:    {size: auto, embedding: one_hot}       # one_hot | orthonormal | learned | prototype
dt:        {blocks: 10, eta: 1.0}
coupling: independent        # or ot: minibatch optimal transport
loss:      {weight: uniform, normalize: none, t_sampling: low_discrepancy, draws: 1,
            recon: {type: mse, weight: 0.0}, reg: 0.0, vae: 0.0, kl_z0: 0.0}
network:   {type: mlp, hidden: [64, 64, 64], activation: swish, dropout: 0.0, squash_activation: true,
            time_embedding: {type: harmonic, size: 16}}
encoder:   {type: identity}
decoder:   {type: identity}
optimizer: {type: adamw, learning_rate: 1.0e-3, weight_decay: 1.0e-4, clip: 1.0, ema: 0.0,
            schedule: constant, warmup_steps: 0}        # decay over train.epochs or train.steps
train:     {epochs: 100, steps: null, batch: 256, rows: null, dropout_epochs: null, validate_every: 10, early_stop: null, checkpoint_every: 10}   # in epochs
sample:    {method: auto, steps: 20, grid: auto, init: auto, drift: ode, final_denoise: true, guidance: 1.0, rtol: 1.0e-4, atol: 1.0e-5}
)";

TEST(Config, TheInterfacePagesExampleIsTheDefault) {
  const Config given = make(), standard = make();
  ASSERT_EQ(noprop_config_parse(given.get(), INTERFACE_EXAMPLE, "example"), NOPROP_OK) << noprop_last_error();
  ASSERT_EQ(noprop_config_set(standard.get(), "data.file", "moons.h5"), NOPROP_OK);
  // Resolved, since x, y and final_denoise are what their defaults ("auto") mean for ct and classify.
  expect_same(resolve(given), resolve(standard));
}

TEST(Config, EveryKeyHasDefaultRangeMeaningAndIsFoundByItsPath) {
  const Config config = make();
  std::set<std::string> paths;
  for (int i = 0;; i++) {
    const noprop_config_key key = noprop_config_key_at(i);
    if (key.path == nullptr) {
      EXPECT_EQ(i, CONFIG_KEY_COUNT);
      break;
    }
    EXPECT_TRUE(paths.insert(key.path).second) << key.path << " stands twice";
    EXPECT_GT(strlen(key.allowed), 0u) << key.path;
    EXPECT_GT(strlen(key.meaning), 0u) << key.path;
    // The default is allowed, and is what a fresh configuration holds (written the printer's way).
    const std::string fresh = get(config, key.path);
    ASSERT_EQ(noprop_config_set(config.get(), key.path, key.default_value), NOPROP_OK) << noprop_last_error();
    EXPECT_EQ(get(config, key.path), fresh) << key.path;
  }
  EXPECT_EQ(noprop_config_key_at(-1).path, nullptr);
}

TEST(Config, TextIsCompleteAndReadsBackTheSame) {
  const Config config = make();
  ASSERT_EQ(noprop_config_parse(config.get(), R"(
variant: fm
seed: 18446744073709551615
data: {file: "a b: #1 \"quoted\" \\ é.h5", condition: null, target: "auto"}
task: generate
schedule: {alpha_bar: [0.1, 0.30000000000000004]}
network: {hidden: [1, 4096, 7], time_embedding: {size: 4}}
optimizer: {learning_rate: 1e-7, ema: 0.99999999999999989}
train: {steps: 12345678901}
)",
                                "a.yaml"),
            NOPROP_INVALID_CONFIG);  // steps out of range: nothing of it may stay
  EXPECT_EQ(get(config, "variant"), "ct");
  ASSERT_EQ(noprop_config_parse(config.get(), R"(
variant: fm
seed: 18446744073709551615
data: {file: "a b: #1 \"quoted\" \\ é.h5", condition: null, target: "auto"}
task: generate
schedule: {alpha_bar: [0.1, 0.30000000000000004]}
network: {hidden: [1, 4096, 7], time_embedding: {size: 4}}
optimizer: {learning_rate: 1e-7, ema: 0.99999999999999989}
train: {steps: 1234567890, early_stop: 3}
sample: {times: [0, 0.1, 1]}
)",
                                "a.yaml"),
            NOPROP_OK)
      << noprop_last_error();
  const std::string text = text_of(config);
  for (int i = 0; i < CONFIG_KEY_COUNT; i++) {  // complete: the last part of every path stands in it
    const char *dot = strrchr(CONFIG_KEYS[i].path, '.');
    EXPECT_NE(text.find(std::string(dot == nullptr ? CONFIG_KEYS[i].path : dot + 1) + ": "), std::string::npos);
  }
  const Config again = make();
  ASSERT_EQ(noprop_config_parse(again.get(), text.c_str(), "again"), NOPROP_OK) << noprop_last_error();
  EXPECT_EQ(text_of(again), text);
  expect_same(again->settings, config->settings);
  EXPECT_STREQ(config->settings.data.file, "a b: #1 \"quoted\" \\ \xc3\xa9.h5");
  EXPECT_STREQ(config->settings.data.target, "auto");
}

TEST(Config, RealsRoundTripBitForBit) {
  const Config config = make();
  uint64_t state = 12345;
  for (int i = 0; i < 2000; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    // Any double of (0, 1): random exponent down to subnormals, random mantissa.
    const uint64_t bits = (state >> 12) | ((state % 1022) << 52);
    double value;
    memcpy(&value, &bits, sizeof value);
    char text[64];
    snprintf(text, sizeof text, "%.17g", value);
    ASSERT_EQ(noprop_config_set(config.get(), "optimizer.weight_decay", text), NOPROP_OK) << noprop_last_error();
    ASSERT_EQ(memcmp(&config->settings.optimizer.weight_decay, &value, sizeof value), 0) << text;
    const std::string printed = get(config, "optimizer.weight_decay");
    ASSERT_NE(printed.find('.'), std::string::npos) << printed << " would be a string to some YAML readers";
    ASSERT_EQ(noprop_config_set(config.get(), "optimizer.weight_decay", printed.c_str()), NOPROP_OK) << printed;
    ASSERT_EQ(memcmp(&config->settings.optimizer.weight_decay, &value, sizeof value), 0) << printed;
  }
}

TEST(Config, NumbersDoNotDependOnTheLocale) {
  const char *before = setlocale(LC_ALL, nullptr);
  const std::string saved = before;
  if (setlocale(LC_ALL, "de_DE.UTF-8") == nullptr && setlocale(LC_ALL, "fr_FR.UTF-8") == nullptr)
    GTEST_SKIP() << "no locale with a decimal comma is installed";
  const Config config = make();
  EXPECT_EQ(noprop_config_set(config.get(), "loss.reg", "0.25"), NOPROP_OK) << noprop_last_error();
  EXPECT_EQ(get(config, "loss.reg"), "0.25");
  setlocale(LC_ALL, saved.c_str());
}

TEST(Config, UnknownKeysNameFileLineAndTheNearestKey) {
  EXPECT_EQ(refusal("network: {hiden: [3]}"), "a.yaml:1: unknown key 'network.hiden'; did you mean 'network.hidden'?");
  EXPECT_EQ(refusal("variant: ct\n\nnetwrok: {type: mlp}\n"),
            "a.yaml:3: unknown key 'netwrok'; did you mean 'network'?");
  EXPECT_EQ(refusal("learning_rate: 0.1"),
            "a.yaml:1: unknown key 'learning_rate'; did you mean 'optimizer.learning_rate'?");
  EXPECT_EQ(refusal("network:\n  type: mlp\n  time_embeding:\n    size: 3\n"),
            "a.yaml:3: unknown key 'network.time_embeding'; did you mean 'network.time_embedding'?");
  EXPECT_NE(refusal("zzzzzzzz: 1").find("a.yaml:1: unknown key 'zzzzzzzz'; "), std::string::npos);
  const Config config = make();
  EXPECT_EQ(noprop_config_set(config.get(), "netwrk.type", "mlp"), NOPROP_INVALID_CONFIG);
  EXPECT_STREQ(noprop_last_error(), "unknown key 'netwrk.type'; did you mean 'network.type'?");
  char buffer[8];
  EXPECT_EQ(noprop_config_get(config.get(), "netwrk.type", buffer, sizeof buffer), NOPROP_INVALID_CONFIG);
}

TEST(Config, EveryKeyRefusesAWrongTypeNamingFileLineKeyValueAndWhatIsAllowed) {
  for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
    const std::string path = CONFIG_KEYS[i].path, allowed = CONFIG_KEYS[i].allowed;
    // A mapping fits no key.
    EXPECT_EQ(refusal("\n" + path + ": {a: 1}"), "a.yaml:2: " + path + ": {...} is not allowed; allowed: " + allowed);
    if (CONFIG_KEYS[i].type == KEY_STRING) continue;
    const std::string word = refusal("\n" + path + ": wombatery");
    EXPECT_EQ(word, "a.yaml:2: " + path + ": wombatery is not allowed; allowed: " + allowed);
    const Config config = make();
    EXPECT_EQ(noprop_config_set(config.get(), path.c_str(), "wombatery"), NOPROP_INVALID_CONFIG);
    EXPECT_EQ(noprop_last_error(), path + ": wombatery is not allowed; allowed: " + allowed);
  }
}

TEST(Config, NumbersOutOfRangeAreRefusedAtBothEndsAndTheEndsAreTaken) {
  for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
    const config_key &key = CONFIG_KEYS[i];
    if (key.fixed || (key.type != KEY_INTEGER && key.type != KEY_REAL)) continue;
    for (const bool top : {false, true}) {
      const double end = top ? key.maximum : key.minimum;
      const bool open = top ? key.below : key.above;
      const double beyond = key.type == KEY_INTEGER ? end + (top ? 1 : -1) : std::nextafter(end, top ? 1e308 : -1e308);
      char inside[64], outside[64];
      snprintf(inside, sizeof inside, key.type == KEY_INTEGER ? "%.0f" : "%.17g", end);
      snprintf(outside, sizeof outside, key.type == KEY_INTEGER ? "%.0f" : "%.17g", beyond);
      EXPECT_EQ(refusal(std::string(key.path) + ": " + inside) == "", !open) << key.path << " " << inside;
      EXPECT_NE(refusal(std::string(key.path) + ": " + outside), "") << key.path << " " << outside;
    }
  }
}

TEST(Config, NumbersAreDecimalAndFinite) {
  for (const char *bad :
       {".nan", ".inf", "nan", "inf", "0x10", "1e999", "1_000", "1,5", "1.0f", "--1", "\"1.0\"", "''"})
    EXPECT_NE(refusal(std::string("loss.reg: ") + bad), "") << bad;
  for (const char *bad : {"3.0", "1e3", "0x10", "\"3\"", "99999999999999999999", "true"})
    EXPECT_NE(refusal(std::string("train.batch: ") + bad), "") << bad;
  for (const char *good : {"1", "+1", "1.", ".5", "1e3", "1E-3"})
    EXPECT_EQ(refusal(std::string("loss.reg: ") + good), "") << good;
  EXPECT_NE(refusal("seed: -1"), "");
  EXPECT_NE(refusal("seed: 18446744073709551616"), "");
}

TEST(Config, ListsAreChecked) {
  EXPECT_NE(refusal("network: {hidden: []}"), "");
  EXPECT_NE(refusal("network: {hidden: 64}"), "");
  EXPECT_EQ(refusal("network: {hidden: [0, 3]}"),
            "a.yaml:1: network.hidden: [0, 3] is not allowed; allowed: list of 1 to 64 integers from 1 to 4096");
  EXPECT_NE(refusal("network: {hidden: [4097]}"), "");
  EXPECT_NE(refusal("network: {hidden: [[1]]}"), "");
  std::string many = "network: {hidden: [1";
  for (int i = 1; i < SETTINGS_MAX_HIDDEN; i++) many += ", 1";
  EXPECT_EQ(refusal(many + "]}"), "");
  EXPECT_NE(refusal(many + ", 1]}"), "");
  EXPECT_EQ(refusal("sample: {times: [0, 0.25, 1]}"), "");
  EXPECT_EQ(refusal("sample: {times: null}"), "");
  EXPECT_EQ(
      refusal("sample: {times: [0, 0.5]}"),
      "a.yaml:1: sample.times: [0, 0.5] is not allowed; allowed: null or list of 2 to 33 numbers that increase from "
      "0 to 1");
  EXPECT_NE(refusal("sample: {times: [0, 0.5, 0.5, 1]}"), "");
  EXPECT_NE(refusal("sample: {times: []}"), "");
  EXPECT_NE(refusal("schedule: {alpha_bar: [0.9, 0.1]}"), "");
  EXPECT_NE(refusal("schedule: {alpha_bar: [0.1]}"), "");
  EXPECT_NE(refusal("schedule: {alpha_bar: [0.0, 0.5]}"), "");
  EXPECT_NE(refusal("schedule: {alpha_bar: [0.5, 1.0]}"), "");
}

TEST(Config, TablesOfPairs) {
  const Config config = make();
  EXPECT_EQ(get(config, "schedule.table"), "[]");
  ASSERT_EQ(noprop_config_set(config.get(), "schedule.table", "[[0, -7], [0.30000000000000004, 1.5], [1, 9]]"),
            NOPROP_OK);
  EXPECT_EQ(get(config, "schedule.table"), "[[0.0, -7.0], [0.30000000000000004, 1.5], [1.0, 9.0]]");
  char *text = nullptr;
  ASSERT_EQ(noprop_config_text(config.get(), &text), NOPROP_OK);
  const Config again = make();
  ASSERT_EQ(noprop_config_parse(again.get(), text, "again.yaml"), NOPROP_OK) << noprop_last_error();
  EXPECT_EQ(get(again, "schedule.table"), get(config, "schedule.table"));
  free(text);
  EXPECT_NE(refusal("schedule: {table: [[0, -7], [1]]}"), "");
  EXPECT_NE(refusal("schedule: {table: [0, -7]}"), "");
  EXPECT_NE(refusal("schedule: {table: [[0, a], [1, 2]]}"), "");
  EXPECT_NE(refusal("schedule: {table: [[0, -101], [1, 2]]}"), "");
  std::string many = "schedule: {table: [[0, 0]";
  for (int i = 1; i < SETTINGS_MAX_KNOTS; i++) many += ", [1.2345678901234567e-10, -1.2345678901234567e-10]";
  EXPECT_EQ(refusal(many + "]}"), "");
  EXPECT_NE(refusal(many + ", [1, 1]]}"), "");
  /* The longest there is can be printed whole. */
  ASSERT_EQ(noprop_config_parse(config.get(), (many + "]}").c_str(), nullptr), NOPROP_OK);
  EXPECT_EQ(get(config, "schedule.table").substr(0, 12), "[[0.0, 0.0],");
  EXPECT_EQ(get(config, "schedule.table").substr(get(config, "schedule.table").size() - 2), "]]");
}

TEST(Config, KeysGivenTwiceAreRefused) {
  EXPECT_EQ(refusal("seed: 1\nseed: 2"), "a.yaml:2: seed is given twice, first in line 1; allowed: once");
  EXPECT_EQ(refusal("network: {type: mlp}\nnetwork.type: mlp"),
            "a.yaml:2: network.type is given twice, first in line 1; allowed: once");
  EXPECT_EQ(refusal("network: {dropout: 0.1}\ntask: classify\nnetwork: {type: mlp}"),
            "a.yaml:3: network is given twice, first in line 1; allowed: once");
}

TEST(Config, OddYamlIsReadOrRefusedClearly) {
  EXPECT_EQ(refusal(""), "");
  EXPECT_EQ(refusal("# only a comment\n"), "");
  EXPECT_EQ(refusal("network:\nseed: 3\n"), "");
  EXPECT_EQ(refusal("loss: {reg: &w 0.5, recon: {weight: *w}}"), "") << "aliases of values are allowed";
  EXPECT_NE(refusal("network: [mlp]").find("a.yaml:1: network: [mlp] is not allowed; allowed: a section"),
            std::string::npos);
  EXPECT_NE(refusal("- a\n- b").find("a.yaml:1: "), std::string::npos);
  EXPECT_NE(refusal("network: {hidden: [64, 64").find("a.yaml:1: not valid YAML: "), std::string::npos);
  EXPECT_NE(refusal("a: b: c").find("a.yaml:1: not valid YAML: "), std::string::npos);
  EXPECT_NE(refusal("seed: 1\n---\nseed: 2\n").find("second document"), std::string::npos);
  EXPECT_NE(refusal("seed: !!int 3").find("tag"), std::string::npos);
  EXPECT_NE(refusal("network: &n {x: *n}"), "");
  EXPECT_NE(refusal("? [a, b]\n: 1"), "");
  EXPECT_NE(refusal("\xff\xfe\xff"), "");
}

TEST(Config, ValuesOfLaterVersionsAreRefusedSayingWhatIsAllowed) {
  const std::vector<std::pair<std::string, std::string>> later = {{"task", "sequence"}};
  for (const auto &[key, value] : later) {
    const std::string sentence = refusal(key + ": " + value);
    EXPECT_NE(sentence.find("a.yaml:1: " + key + ": "), std::string::npos) << sentence;
    EXPECT_NE(sentence.find("; allowed: "), std::string::npos) << sentence;
  }
  EXPECT_EQ(refusal("dt: {blocks: 10, eta: 1}"), "");
}

TEST(Config, WrappersThatMakeNoFieldAreRefused) {
  const auto has = [](const std::string &sentence, const char *part) {
    EXPECT_NE(sentence.find(part), std::string::npos) << sentence;
  };
  has(check_refusal({{"network.wrapper", "potential"}, {"variant", "supervised"}}), "network.wrapper: potential makes");
  has(check_refusal({{"network.wrapper", "geometric"}, {"network.activation", "relu"}}), "is zero everywhere");
  EXPECT_EQ(
      check_refusal({{"network.wrapper", "geometric"}, {"network.type", "bilinear"}, {"network.activation", "relu"}}),
      "");
  for (const char *wrapper : {"natural", "geometric"}) {
    has(check_refusal({{"network.wrapper", wrapper}, {"loss.condition_dropout", "0.1"}}), "no field without one");
    EXPECT_EQ(check_refusal({{"network.wrapper", wrapper}}), "");
    has(check_refusal({{"network.wrapper", wrapper}, {"network.branch.type", "cnn"}}), "makes features of it");
  }
  EXPECT_EQ(check_refusal({{"network.wrapper", "potential"}, {"network.activation", "relu"}}), "");
  has(check_refusal({{"network.type", "icnn"}}), "network.activation: swish is not both convex and increasing");
  EXPECT_EQ(check_refusal({{"network.type", "icnn"}, {"network.activation", "softplus"}}), "");
  has(check_refusal({{"network.type", "convex"}, {"variant", "dt"}}), "network.type: convex has no kernels");
  has(check_refusal({{"network.batch_norm", "stored"}, {"network.type", "resnet"}}),
      "network.batch_norm: stored is for network.type mlp and bilinear, and this is resnet");
  has(check_refusal({{"network.batch_norm", "stored"}, {"variant", "dt"}, {"task", "classify"}}), "variant dt");
  has(check_refusal({{"network.batch_norm", "stored"}, {"loss.condition_dropout", "0.1"}}), "leave a condition out");
  const auto with_norm = [&](const char *key, const char *value) {
    return check_refusal(
        {{"network.type", "custom"}, {"network.layers", "[{type: batch_norm, from: z}]"}, {key, value}});
  };
  has(with_norm("network.wrapper", "potential"), "rows of a batch depend on each other");
  has(with_norm("variant", "dt"), "has no kernels for variant dt");
  has(check_refusal({{"network.layer_norm", "true"}}), "belongs to the stream of network.type resnet");
  has(check_refusal({{"network.activation", "swiglu"}, {"variant", "supervised"}}), "activations of single features");
  has(check_refusal({{"encoder.activation", "softmax"}}), "encoder.activation: softmax is for");
}

TEST(Config, TransformersThatHaveNoKernelsAreRefused) {
  const auto refused = [](const char *key, const char *value) {
    return check_refusal({{"network.branch.type", "transformer"}, {key, value}});
  };
  const auto has = [](const std::string &sentence, const char *part) {
    EXPECT_NE(sentence.find(part), std::string::npos) << sentence;
  };
  has(refused("network.branch.width", "40"), "network.branch.width: 40 channels are no multiple of 32");
  has(refused("network.branch.heads", "3"), "network.branch.heads: 3 heads of a width of 64 have 21.3333");
  has(refused("network.branch.heads", "1"), "at most 32 for each head");
  has(refused("network.branch.feed_forward", "100"), "network.branch.feed_forward: 100 is no multiple of 32");
  has(refused("network.branch.activation", "swiglu"), "network.branch.activation: swiglu is not of single features");
  EXPECT_EQ(refused("network.branch.positions", "sinusoidal"), "");
}

TEST(Config, FieldsOverTokensThatHaveNoKernelsAreRefused) {
  const auto refused = [](const char *key, const char *value) {
    return check_refusal({{"network.type", "transformer"}, {"task", "regress"}, {key, value}});
  };
  const auto has = [](const std::string &sentence, const std::string &part) {
    EXPECT_NE(sentence.find(part), std::string::npos) << sentence;
  };
  has(refused("network.transformer.width", "40"), "network.transformer.width: 40 channels are no multiple of 32");
  has(refused("network.transformer.heads", "3"), "network.transformer.heads: 3 heads of a width of 64 have 21.3333");
  has(refused("network.transformer.feed_forward", "100"), "network.transformer.feed_forward: 100 is no multiple of 32");
  has(refused("variant", "dt"), "network.type: transformer has no kernels for variant dt");
  has(refused("variant", "supervised"), "network.type: transformer has no kernels for variant supervised");
  has(refused("network.wrapper", "potential"), "network.type: transformer has no second derivatives");
  has(refused("network.branch.type", "transformer"), "reads the condition's positions itself");
  has(check_refusal({{"network.type", "transformer"}, {"task", "regress"}, {"encoder.type", "mlp"}, {"loss.vae", "1"}}),
      "has no kernels beside encoders and decoders");
  has(refused("network.hidden", "[32, 32]"), "network.hidden: [32, 32] is of networks of dense layers");
  has(refused("network.dropout", "0.1"), "network.dropout: 0.1 has no kernels for network.type transformer");
  has(refused("network.activation", "swiglu"), "network.activation: swiglu has no kernels");
  has(check_refusal({{"network.type", "transformer"}, {"variant", "ct"}, {"schedule.learnable", "true"}}),
      "has no kernels that train the schedule too");
  EXPECT_EQ(refused("network.transformer.positions", "sinusoidal"), "");
}

TEST(Config, KeysOfImagesNeedABranchThatHasThem) {
  const auto has = [](const std::string &sentence, const char *part) {
    EXPECT_NE(sentence.find(part), std::string::npos) << sentence;
  };
  has(check_refusal({{"data.augment.shift", "2"}}), "data.augment.shift: 2 is of images that go through a branch");
  has(check_refusal({{"data.augment.flip", "true"}}), "data.augment.flip: true is of images");
  has(check_refusal({{"network.branch.groups", "4"}, {"network.branch.type", "cnn"}}),
      "this is cnn, where 8 is allowed");
  has(check_refusal({{"network.branch.blocks", "[2]"}}), "this is none, where [1] is allowed");
  const std::vector<std::pair<const char *, const char *>> residual = {
      {"network.branch.type", "resnet"}, {"network.branch.channels", "[24, 40]"}, {"data.augment.shift", "2"}};
  const auto with = [&](const char *key, const char *value) {
    auto keys = residual;
    keys.emplace_back(key, value);
    return check_refusal(keys);
  };
  EXPECT_EQ(with("network.branch.blocks", "[0, 2]"), "");
  has(with("network.branch.blocks", "[1, 2, 3]"), "has 3 entries and network.branch.channels 2");
  has(with("network.branch.groups", "12"), "network.branch.groups: 12 does not divide 40");
  has(check_refusal({{"network.branch.downsample", "stride"}}), "this is none, where pool is allowed");
  EXPECT_EQ(with("network.branch.downsample", "stride"), "");
  const auto strided = [&](const char *blocks) {
    auto keys = residual;
    keys.emplace_back("network.branch.downsample", "stride");
    keys.emplace_back("network.branch.blocks", blocks);
    return check_refusal(keys);
  };
  EXPECT_EQ(strided("[0, 2]"), "");
  has(strided("[2, 0]"), "network.branch.blocks has none for entry 2 of network.branch.channels");
}

TEST(Config, FilesAreReadAndTheirTroublesNamed) {
  const Scratch scratch;
  const Config config = make();
  EXPECT_EQ(noprop_config_load(config.get(), scratch.path("none.yaml").c_str()), NOPROP_FILE_ERROR);
  EXPECT_NE(std::string(noprop_last_error()).find("No such file"), std::string::npos);
  const std::string big = scratch.write("big.yaml", std::string(2 << 20, '#'));
  EXPECT_EQ(noprop_config_load(config.get(), big.c_str()), NOPROP_INVALID_CONFIG);
  const std::string zero = scratch.write("zero.yaml", std::string("seed: 1\0", 8));
  EXPECT_EQ(noprop_config_load(config.get(), zero.c_str()), NOPROP_INVALID_CONFIG);
  const std::string good = scratch.write("good.yaml", "seed: 7\nnetwork:\n  hidden: [3]\n");
  ASSERT_EQ(noprop_config_load(config.get(), good.c_str()), NOPROP_OK) << noprop_last_error();
  EXPECT_EQ(get(config, "network.hidden"), "[3]");
  const std::string bad = scratch.write("bad.yaml", "seed: 8\nnetwork:\n  hidden: [x]\n");
  EXPECT_EQ(noprop_config_load(config.get(), bad.c_str()), NOPROP_INVALID_CONFIG);
  EXPECT_EQ(std::string(noprop_last_error()).rfind(bad + ":3: network.hidden: [x] is not allowed", 0), 0u)
      << noprop_last_error();
  EXPECT_EQ(get(config, "seed"), "7");
}

TEST(Config, FileNamesOnTheCommandLineNeedNoQuotes) {
  const Config config = make();
  for (const char *name : {"runs/a: b.h5", "[x].h5", "a #b.h5", "*star.h5", "x{y}.h5", "%1.h5"}) {
    ASSERT_EQ(noprop_config_set(config.get(), "data.file", name), NOPROP_OK) << noprop_last_error();
    EXPECT_STREQ(config->settings.data.file, name);
  }
  EXPECT_EQ(noprop_config_set(config.get(), "data.file", std::string(SETTINGS_TEXT, 'a').c_str()),
            NOPROP_INVALID_CONFIG);
  EXPECT_EQ(noprop_config_set(config.get(), "data.file", "null"), NOPROP_OK);
  EXPECT_STREQ(config->settings.data.file, "");
}

TEST(Config, GetRefusesABufferThatIsTooSmall) {
  const Config config = make();
  char small[4];
  EXPECT_EQ(noprop_config_get(config.get(), "network.hidden", small, sizeof small), NOPROP_INVALID_ARGUMENT);
  EXPECT_STREQ(small, "");
}

TEST(Config, AutosAreResolvedByVariantAndTask) {
  const Config config = make();
  const struct {
    const char *variant;
    int prediction, final_denoise;
  } cases[] = {{"fm", PREDICTION_VELOCITY, 0}, {"df", PREDICTION_NOISE, 1}, {"ct", PREDICTION_TARGET, 1}};
  for (const auto &c : cases) {
    ASSERT_EQ(noprop_config_set(config.get(), "variant", c.variant), NOPROP_OK);
    const settings s = resolve(config);
    EXPECT_EQ(s.prediction, c.prediction);
    EXPECT_EQ(s.sample.final_denoise, c.final_denoise);
    EXPECT_EQ(s.sample.init, INIT_ZERO);
    EXPECT_EQ(s.precision, PRECISION_AUTO) << "the device decides";
    EXPECT_STREQ(s.data.condition, "x");
    EXPECT_STREQ(s.data.target, "y");
  }
  noprop_config_set(config.get(), "task", "generate");
  settings s = resolve(config);
  EXPECT_STREQ(s.data.condition, "null");
  EXPECT_STREQ(s.data.target, "x");
  EXPECT_EQ(s.sample.init, INIT_NORMAL);
  noprop_config_set(config.get(), "data.condition", "y");
  EXPECT_STREQ(resolve(config).data.condition, "y");
  noprop_config_set(config.get(), "schedule.type", "logistic");
  noprop_config_set(config.get(), "network.time_embedding.type", "log_freq");
  s = resolve(config);
  EXPECT_EQ(s.schedule.type, SCHEDULE_SIGMOID);
  EXPECT_EQ(s.network.time_embedding.type, TIME_EMBEDDING_FOURIER);
}

TEST(Config, PresetsSetTheEarlierSystemsValues) {
  const struct {
    const char *preset, *variant;
    int weight, normalize, recon_weighting, method, drift;
    double recon;
  } cases[] = {
      {"jax-head", "fm", WEIGHT_T, NORMALIZE_NONE, TERM_WEIGHT_SAME, METHOD_EULER, DRIFT_ODE, 1.0},
      {"jax-head", "df", WEIGHT_DRIFT, NORMALIZE_NONE, TERM_WEIGHT_SAME, METHOD_MIDPOINT_TIME, DRIFT_OU_MEAN, 1.0},
      {"jax-head", "ct", WEIGHT_ELBO, NORMALIZE_NONE, TERM_WEIGHT_SAME, METHOD_MIDPOINT_TIME, DRIFT_OU_MEAN, 1.0},
      {"jax-2025-11", "fm", WEIGHT_VP_VELOCITY, NORMALIZE_BATCH, TERM_WEIGHT_SNR_PRIME, METHOD_EULER, DRIFT_ODE, 0.0},
      {"jax-2025-11", "df", WEIGHT_ELBO, NORMALIZE_BATCH, TERM_WEIGHT_SNR_PRIME, METHOD_MIDPOINT_TIME, DRIFT_OU_MEAN,
       0.0},
      {"jax-2025-11", "ct", WEIGHT_ELBO, NORMALIZE_BATCH, TERM_WEIGHT_SNR_PRIME, METHOD_MIDPOINT_TIME, DRIFT_OU_MEAN,
       0.0},
  };
  for (const auto &c : cases) {
    SCOPED_TRACE(std::string(c.preset) + " " + c.variant);
    const Config config = make();
    noprop_config_set(config.get(), "preset", c.preset);
    noprop_config_set(config.get(), "variant", c.variant);
    const settings s = resolve(config);
    EXPECT_EQ(s.loss.weight, c.weight);
    EXPECT_EQ(s.loss.normalize, c.normalize);
    EXPECT_EQ(s.loss.recon.weighting, c.recon_weighting);
    EXPECT_EQ(s.loss.recon.weight, c.recon);
    EXPECT_EQ(s.loss.reg_drift, c.drift);
    EXPECT_EQ(s.sample.method, c.method);
    EXPECT_EQ(s.sample.drift, c.drift);
    EXPECT_EQ(s.sample.final_denoise, 0);
    EXPECT_EQ(s.sample.init, INIT_ZERO);
    EXPECT_EQ(s.loss.t_sampling, T_SAMPLING_UNIFORM);
    EXPECT_EQ(s.loss.t_eps, 0.0);
    EXPECT_EQ(s.schedule.type, SCHEDULE_LINEAR);
    const double low = std::string(c.preset) == "jax-head" ? 0.01 : 0.05;
    EXPECT_EQ(s.schedule.alpha_bar[0], low);
    EXPECT_EQ(s.schedule.alpha_bar[1], 1 - low);
    EXPECT_FALSE(s.schedule.renormalise);
    EXPECT_DOUBLE_EQ(s.schedule.s, std::log1p(std::exp(0.008)));  // D-42
    EXPECT_EQ(s.latent.off_value, -1.0);
    EXPECT_EQ(s.network.hidden_count, 6);
    EXPECT_EQ(s.network.hidden[5], 32);
    EXPECT_EQ(s.network.dropout, 0.1);
    EXPECT_FALSE(s.network.squash_activation);
    EXPECT_EQ(s.network.time_embedding.type, TIME_EMBEDDING_SINUSOIDAL);
    EXPECT_EQ(s.network.time_embedding.size, 32);
    EXPECT_EQ(s.optimizer.type, OPTIMIZER_ADAM);
    EXPECT_EQ(s.optimizer.weight_decay, 0.0);
    EXPECT_EQ(s.optimizer.clip, 0.0);
    EXPECT_FALSE(s.data.standardise);
    char *notes = nullptr;
    ASSERT_EQ(config_preset_notes(&s, &notes), NOPROP_OK);
    EXPECT_NE(std::string(notes).find("D-"), std::string::npos);
    noprop_free(notes);
  }
}

/* Survey 2.11 and 4.5: the earlier README's objectives and schedule. */
/* A network by name takes the list's place where one is given. */
TEST(Config, PresetsOfPyTorchSystemsHaveTheirNetworksUnlessOneIsGiven) {
  const auto resolved = [](const char *preset, const char *key, const char *value) {
    noprop_config *made = nullptr;
    EXPECT_EQ(noprop_config_create(&made), NOPROP_OK);
    const Config config(made);
    EXPECT_EQ(noprop_config_set(made, "preset", preset), NOPROP_OK);
    if (key) {
      EXPECT_EQ(noprop_config_set(made, key, value), NOPROP_OK);
    }
    settings s;
    EXPECT_EQ(settings_resolve(made, &s), NOPROP_OK) << noprop_last_error();
    return s;
  };
  const struct {
    const char *preset;
    int layers, norms;
  } systems[] = {{"notebook", 8, 0}, {"yhgon-mnist", 10, 2}, {"yhgon-simple", 12, 2}};
  for (const auto &system : systems) {
    SCOPED_TRACE(system.preset);
    const settings s = resolved(system.preset, nullptr, nullptr);
    EXPECT_EQ(s.network.type, NETWORK_CUSTOM);
    EXPECT_EQ(s.network.layers.count, system.layers);
    int norms = 0;
    for (int i = 0; i < s.network.layers.count; ++i) norms += s.network.layers.items[i].type == LAYER_BATCH_NORM;
    EXPECT_EQ(norms, system.norms);
    EXPECT_EQ(s.network.dropout, 0);
    const settings named = resolved(system.preset, "network.hidden", "[9]");
    EXPECT_EQ(named.network.type, NETWORK_MLP);
    EXPECT_EQ(named.network.layers.count, 0);
    EXPECT_EQ(named.network.activation, ACTIVATION_RELU);
  }
}

TEST(Config, PresetJax202510IsTheEarlierReadme) {
  for (const char *variant : {"fm", "ct"}) {
    const Config config = make();
    noprop_config_set(config.get(), "preset", "jax-2025-10");
    noprop_config_set(config.get(), "variant", variant);
    const settings s = resolve(config);
    const bool ct = s.variant == VARIANT_CT;
    EXPECT_EQ(s.loss.weight, ct ? WEIGHT_ELBO : WEIGHT_UNIFORM);
    EXPECT_EQ(s.loss.normalize, ct ? NORMALIZE_BATCH : NORMALIZE_NONE);
    EXPECT_EQ(s.sample.drift, ct ? DRIFT_OU_MEAN : DRIFT_ODE);
    EXPECT_EQ(s.sample.final_denoise, 0);
    EXPECT_EQ(s.sample.init, INIT_ZERO);
    EXPECT_EQ(s.schedule.type, SCHEDULE_LINEAR);
    EXPECT_EQ(s.schedule.alpha_bar[0], 0.01);
    EXPECT_EQ(s.schedule.alpha_bar[1], 0.99);
    EXPECT_EQ(s.loss.t_sampling, T_SAMPLING_UNIFORM);
    EXPECT_EQ(s.loss.t_eps, 0.0);
    EXPECT_TRUE(s.data.standardise);
    EXPECT_EQ(s.optimizer.type, OPTIMIZER_ADAMW);
    EXPECT_EQ(s.optimizer.weight_decay, 1e-4);
    EXPECT_EQ(s.optimizer.clip, 0.0);
    EXPECT_EQ(s.train.epochs, 400);
  }
}

TEST(Config, GivenKeysOverrideAPresetAndTheTextSaysWhatIsUsed) {
  const Config config = make();
  ASSERT_EQ(noprop_config_parse(config.get(), "preset: jax-head\nvariant: df\nloss: {weight: uniform}\n", "a.yaml"),
            NOPROP_OK);
  EXPECT_EQ(resolve(config).loss.weight, WEIGHT_UNIFORM) << "given, though it is the default's value";
  EXPECT_EQ(get(config, "optimizer.type"), "adam");
  EXPECT_EQ(config->settings.optimizer.type, OPTIMIZER_ADAMW) << "the preset must not be baked in";
  const std::string text = text_of(config);
  const Config again = make();
  ASSERT_EQ(noprop_config_parse(again.get(), text.c_str(), "again"), NOPROP_OK) << noprop_last_error();
  expect_same(resolve(config), resolve(again));
  noprop_config_set(config.get(), "preset", "none");
  EXPECT_EQ(get(config, "optimizer.type"), "adamw");
}

TEST(Config, ContradictionsAreRefusedNamingTheKeyAndWhatIsAllowed) {
  using Pairs = std::vector<std::pair<const char *, const char *>>;
  const struct {
    Pairs pairs;
    const char *key;
  } cases[] = {
      {{{"loss.error", "cross_entropy"}, {"task", "regress"}}, "loss.error"},
      {{{"loss.error", "cross_entropy"}, {"variant", "fm"}}, "loss.error"},
      {{{"loss.error", "cross_entropy"}, {"variant", "df"}}, "loss.error"},
      {{{"variant", "fm"}, {"loss.weight", "drift"}}, "loss.weight"},
      {{{"loss.normalize", "analytic"}, {"loss.weight", "drift"}}, "loss.normalize"},
      {{{"loss.normalize", "analytic"}, {"loss.weight", "vp_velocity"}}, "loss.normalize"},
      {{{"loss.normalize", "analytic"}, {"loss.weight", "elbo"}, {"prediction", "velocity"}}, "loss.normalize"},
      {{{"loss.normalize", "analytic"}, {"loss.weight", "elbo"}, {"schedule.renormalise", "false"}}, "loss.normalize"},
      {{{"variant", "fm"}, {"loss.weight", "elbo"}, {"loss.t_eps", "0"}}, "loss.t_eps"},
      {{{"variant", "fm"}, {"prediction", "target"}, {"loss.t_eps", "0"}}, "loss.t_eps"},
      {{{"variant", "fm"}, {"sample.method", "dpm2m"}, {"loss.t_eps", "0"}}, "loss.t_eps"},
      {{{"coupling", "ot"}, {"sample.drift", "sde"}}, "sample.drift"},
      {{{"coupling", "ot"}, {"variant", "supervised"}}, "coupling"},
      {{{"variant", "fm"}, {"loss.weight", "inverse_snr"}, {"loss.t_eps", "0"}}, "loss.t_eps"},
      {{{"variant", "fm"}, {"loss.t_sampling", "gamma"}, {"loss.t_eps", "0"}}, "loss.t_eps"},
      {{{"prediction", "velocity"}, {"loss.weight", "min_snr"}}, "loss.weight"},
      {{{"prediction", "velocity"}, {"loss.weight", "snr_prime"}}, "loss.weight"},
      {{{"loss.normalize", "analytic"}, {"loss.weight", "min_snr"}}, "loss.normalize"},
      {{{"loss.t_sampling", "importance"}}, "loss.t_sampling"},
      {{{"loss.t_sampling", "importance"}, {"loss.weight", "t"}, {"loss.normalize", "batch"}}, "loss.normalize"},
      {{{"loss.t_sampling", "gamma"}, {"loss.weight", "elbo"}}, "loss.t_sampling"},
      {{{"loss.t_sampling", "gamma"}, {"schedule.renormalise", "false"}}, "loss.t_sampling"},
      {{{"loss.t_sampling", "gamma"}, {"loss.weight", "t"}, {"loss.normalize", "analytic"}}, "loss.normalize"},
      {{{"variant", "fm"}, {"loss.reg_drift", "ou_mean"}}, "loss.reg_drift"},
      {{{"variant", "fm"}, {"sample.drift", "ou_mean"}}, "sample.drift"},
      {{{"sample.drift", "ou_mean"}, {"sample.method", "dpm2m"}}, "sample.method"},
      {{{"sample.grid", "user"}}, "sample.grid"},
      {{{"schedule.type", "tabulated"}}, "schedule.table"},
      {{{"schedule.type", "tabulated"}, {"schedule.table", "[[0, -5], [0.9, 5]]"}}, "schedule.table"},
      {{{"schedule.type", "tabulated"}, {"schedule.table", "[[0, -5], [0.5, -5], [1, 5]]"}}, "schedule.table"},
      {{{"schedule.type", "tabulated"}, {"schedule.table", "[[0, -5], [0.5, 0], [0.5, 1], [1, 5]]"}}, "schedule.table"},
      {{{"schedule.table", "[[0, -5], [1, 5]]"}}, "schedule.table"},
      {{{"schedule.type", "network"}, {"schedule.hidden", "[8, 8, 8, 8, 8]"}}, "schedule.hidden"},
      {{{"schedule.type", "laplace"}, {"schedule.loc", "9"}}, "schedule.loc"},
      {{{"schedule.learn_endpoints", "true"}, {"schedule.learnable", "true"}}, "schedule.learn_endpoints"},
      {{{"schedule.learn_endpoints", "true"}, {"loss.kl_z0", "1"}, {"loss.vae", "1"}, {"loss.weight", "elbo"}},
       "schedule.learn_endpoints"},
      {{{"schedule.learn_endpoints", "true"},
        {"schedule.learnable", "true"},
        {"loss.vae", "1"},
        {"loss.weight", "elbo"}},
       "schedule.learn_endpoints"},
      {{{"schedule.learnable", "true"}, {"variant", "fm"}}, "schedule.learnable"},
      {{{"schedule.learnable", "true"}, {"schedule.type", "linear"}}, "schedule.learnable"},
      {{{"schedule.learnable", "true"}, {"schedule.renormalise", "false"}}, "schedule.learnable"},
      {{{"schedule.learnable", "true"}, {"schedule.s", "0"}}, "schedule.learnable"},
      {{{"schedule.learnable", "true"}, {"loss.normalize", "batch"}}, "schedule.learnable"},
      {{{"schedule.learnable", "true"}, {"precision", "tf32"}}, "schedule.learnable"},
      {{{"schedule.learnable", "true"}, {"loss.error", "softmax_squared"}}, "schedule.learnable"},
      {{{"schedule.type", "sigmoid"}, {"schedule.k", "90"}, {"schedule.t_mid", "2"}}, "schedule.t_mid"},
      {{{"sample.grid", "gamma"}, {"sample.times", "[0, 0.5, 1]"}}, "sample.times"},
      {{{"sample.drift", "sde"}, {"sample.method", "heun"}}, "sample.method"},
      {{{"sample.method", "euler_maruyama"}}, "sample.method"},
      {{{"sample.churn", "0.5"}}, "sample.churn"},
      {{{"variant", "fm"}, {"sample.drift", "sde"}, {"loss.t_eps", "0"}}, "loss.t_eps"},
      {{{"sample.guidance", "2"}}, "sample.guidance"},
      {{{"sample.guidance", "2"}, {"loss.condition_dropout", "0.1"}, {"loss.error", "cross_entropy"}},
       "sample.guidance"},
      {{{"task", "generate"}, {"loss.condition_dropout", "0.1"}}, "loss.condition_dropout"},
      {{{"precision", "tf32"}, {"loss.condition_dropout", "0.1"}}, "loss.condition_dropout"},
      {{{"precision", "tf32x3"}, {"loss.condition_dropout", "0.1"}}, "loss.condition_dropout"},
      {{{"precision", "tf32x3"}, {"schedule.learnable", "true"}}, "schedule.learnable"},
      {{{"loss.reg_drift", "sde"}}, "loss.reg_drift"},
      {{{"sample.init", "given"}}, "sample.init"},
      {{{"network.time_embedding.size", "7"}}, "network.time_embedding.size"},
      {{{"optimizer.nesterov", "true"}}, "optimizer.nesterov"},
      {{{"optimizer.momentum", "0.9"}}, "optimizer.momentum"},
      {{{"train.steps", "10"}, {"optimizer.warmup_steps", "10"}}, "optimizer.warmup_steps"},
      {{{"encoder.type", "mlp"}}, "encoder.type"},                     /* collapses: P-17 */
      {{{"encoder.type", "conv"}, {"loss.vae", "1"}}, "encoder.type"}, /* without its decoder */
      {{{"decoder.type", "conv"}, {"loss.vae", "1"}}, "decoder.type"},
      {{{"latent.noise", "0.1"}}, "latent.noise"},
      {{{"encoder.type", "conv"}, {"decoder.type", "conv"}, {"loss.vae", "1"}, {"task", "classify"}}, "encoder.type"},
      {{{"encoder.type", "conv"}, {"decoder.type", "conv"}, {"loss.vae", "1"}, {"task", "generate"}}, "latent.size"},
      {{{"encoder.type", "conv"},
        {"decoder.type", "conv"},
        {"loss.recon.weight", "1"},
        {"task", "generate"},
        {"latent.size", "8"}},
       "loss.vae"},
      {{{"encoder.type", "conv"},
        {"decoder.type", "conv"},
        {"loss.vae", "1"},
        {"loss.recon.weight", "1"},
        {"task", "generate"},
        {"latent.size", "8"}},
       "loss.recon.weight"},
      {{{"encoder.type", "conv"},
        {"decoder.type", "conv"},
        {"decoder.output", "linear"},
        {"loss.vae", "1"},
        {"task", "generate"},
        {"latent.size", "8"}},
       "decoder.output"},
      {{{"encoder.type", "conv"},
        {"decoder.type", "conv"},
        {"loss.vae", "1"},
        {"task", "regress"},
        {"latent.size", "8"},
        {"network.branch.type", "cnn"}},
       "network.branch.type"},
      {{{"encoder.type", "conv"},
        {"decoder.type", "conv"},
        {"loss.vae", "1"},
        {"loss.kl_z0", "1"},
        {"variant", "ct"},
        {"task", "generate"},
        {"latent.size", "8"}},
       "loss.kl_z0"},
      {{{"encoder.type", "conv"},
        {"decoder.type", "conv"},
        {"loss.vae", "1"},
        {"variant", "ct"},
        {"task", "generate"},
        {"latent.size", "8"},
        {"schedule.learnable", "true"}},
       "schedule.learnable"},
      {{{"encoder.type", "mlp_normal"}, {"loss.kl_z0", "1"}}, "encoder.type"},
      {{{"decoder.type", "linear"}}, "decoder.type"},
      {{{"decoder.output", "linear"}}, "decoder.output"},
      {{{"variant", "dt"}, {"encoder.type", "mlp"}}, "encoder.type"},
      {{{"variant", "dt"}, {"decoder.type", "mlp"}}, "decoder.type"},
      {{{"variant", "dt"}, {"decoder.output", "softmax"}}, "decoder.output"},
      {{{"variant", "dt"}, {"loss.vae", "1"}}, "loss.vae"},
      {{{"variant", "supervised"}, {"encoder.type", "mlp"}, {"loss.vae", "1"}}, "encoder.type"},
      {{{"variant", "supervised"}, {"decoder.output", "softmax"}}, "decoder.output"},
      {{{"variant", "supervised"}, {"loss.vae", "1"}}, "loss.vae"},
      {{{"loss.error", "cross_entropy"}, {"preset", "jax-head"}}, "loss.recon.weight"},
      {{{"loss.error", "cross_entropy"}, {"loss.reg", "0.1"}}, "loss.reg"},
      {{{"loss.error", "cross_entropy"}, {"encoder.type", "mlp"}, {"loss.vae", "1"}}, "loss.error"},
      {{{"loss.error", "cross_entropy"}, {"decoder.output", "softmax"}}, "loss.error"},
      {{{"loss.recon.type", "cross_entropy"}, {"task", "regress"}}, "loss.recon.type"},
      {{{"loss.recon.type", "log"}}, "loss.recon.type"},
      {{{"decoder.output", "softmax"}, {"task", "regress"}}, "decoder.output"},
      {{{"loss.kl_z0", "1"}, {"variant", "fm"}}, "loss.kl_z0"},
      {{{"loss.vae", "1"}, {"precision", "tf32"}}, "precision"},
      {{{"decoder.output", "softmax"}, {"precision", "tf32"}}, "precision"},
      {{{"coupling", "ot"}, {"encoder.type", "linear"}, {"loss.vae", "1"}}, "coupling"},
      {{{"data.condition", "null"}}, "data.condition"},
      {{{"data.condition", "y"}}, "data.condition"},
      {{{"preset", "notebook"}, {"variant", "df"}}, "preset"},
      {{{"preset", "notebook"}, {"variant", "dt"}, {"loss.kl_form", "exact"}}, "loss.kl_form"},
      {{{"preset", "notebook"}, {"variant", "dt"}, {"sample.drift", "sde"}}, "sample.drift"},
      {{{"dt.form", "notebook"}}, "dt.form"},
      {{{"dt.form", "notebook"}, {"variant", "dt"}, {"task", "regress"}}, "dt.form"},
      {{{"loss.kl_form", "norm"}, {"variant", "dt"}}, "loss.kl_form"},
      {{{"preset", "notebook"}, {"task", "generate"}}, "preset"},
      {{{"preset", "alignment-note"}, {"variant", "fm"}}, "preset"},
      {{{"preset", "yhgon-mnist"}, {"variant", "df"}}, "preset"},
      {{{"preset", "yhgon-simple"}, {"variant", "df"}}, "preset"},
      {{{"preset", "yhgon-simple"}, {"loss.error", "squared"}}, "loss.recon.type"},
      {{{"preset", "yhgon-simple"}, {"loss.recon.weight", "0"}}, "latent.embedding"},
      {{{"preset", "yhgon-simple"}, {"encoder.type", "linear"}}, "loss.error"},
      {{{"preset", "yhgon-simple"}, {"decoder.output", "none"}}, "decoder.output"},
      {{{"preset", "yhgon-simple"}, {"loss.vae", "1"}}, "loss.vae"},
      {{{"preset", "yhgon-simple"}, {"sample.final_denoise", "true"}}, "sample.final_denoise"},
      {{{"prediction", "state"}, {"variant", "fm"}}, "prediction"},
      {{{"loss.path", "root_noise"}, {"variant", "df"}}, "loss.path"},
      {{{"loss.path", "signal_mean"}}, "loss.path"},
      {{{"loss.path", "root_noise"}, {"sample.drift", "relax"}, {"loss.weight", "elbo"}}, "loss.path"},
      {{{"loss.path", "root_noise"}, {"sample.drift", "relax"}, {"sample.grid", "gamma"}}, "sample.grid"},
      {{{"loss.weight", "notebook"}, {"variant", "df"}}, "loss.weight"},
      {{{"loss.normalize", "product"}, {"loss.t_sampling", "gamma"}}, "loss.normalize"},
      {{{"loss.recon.type", "end_logits"}, {"loss.recon.weight", "1"}}, "loss.recon.type"},
      {{{"loss.kl_form", "norm"}, {"encoder.type", "mlp_normal"}, {"loss.vae", "1"}}, "loss.kl_form"},
      {{{"loss.reg_drift", "relax"}}, "loss.reg_drift"},
      {{{"sample.drift", "output"}}, "sample.drift"},
      {{{"sample.drift", "relax"}, {"variant", "fm"}}, "sample.drift"},
      {{{"sample.drift", "relax"}, {"sample.method", "dpm2m"}}, "sample.drift"},
      {{{"loss.error", "softmax_squared"}, {"task", "regress"}}, "loss.error"},
      {{{"loss.path", "root_noise"}, {"variant", "dt"}}, "loss.path"},
      {{{"loss.scale", "bound"}, {"variant", "supervised"}}, "loss.scale"},
      {{{"sample.method", "adaptive_compat"}, {"sample.grid", "gamma"}}, "sample.grid"},
      {{{"preset", "jax-2025-10"}, {"variant", "df"}}, "preset"},
      {{{"variant", "supervised"}, {"task", "generate"}}, "variant"},
      {{{"variant", "supervised"}, {"preset", "jax-head"}}, "preset"},
      {{{"variant", "dt"}, {"preset", "jax-head"}}, "preset"},
      {{{"variant", "dt"}, {"prediction", "noise"}}, "prediction"},
      {{{"variant", "dt"}, {"loss.weight", "min_snr"}}, "loss.weight"},
      {{{"variant", "dt"}, {"loss.error", "cross_entropy"}}, "loss.error"},
      {{{"variant", "dt"}, {"loss.recon.weight", "0.1"}}, "loss.recon.weight"},
      {{{"variant", "dt"}, {"loss.reg", "0.1"}}, "loss.reg"},
      {{{"variant", "dt"}, {"loss.condition_dropout", "0.1"}}, "loss.condition_dropout"},
      {{{"variant", "dt"}, {"schedule.learnable", "true"}}, "schedule.learnable"},
      {{{"variant", "dt"}, {"coupling", "ot"}}, "coupling"},
      {{{"variant", "dt"}, {"sample.method", "euler"}}, "sample.method"},
      {{{"variant", "dt"}, {"sample.drift", "ou_mean"}}, "sample.drift"},
      {{{"variant", "dt"}, {"sample.drift", "sde"}, {"sample.churn", "0.5"}}, "sample.churn"},
      {{{"variant", "dt"}, {"sample.times", "[0, 0.5, 1]"}}, "sample.times"},
      {{{"variant", "dt"}, {"sample.final_denoise", "true"}}, "sample.final_denoise"},
      {{{"latent.embedding", "learned"}}, "latent.embedding"},
      {{{"variant", "dt"}, {"task", "regress"}, {"latent.embedding", "orthonormal"}}, "latent.embedding"},
      {{{"variant", "dt"}, {"latent.embedding", "learned"}, {"latent.off_value", "-1"}}, "latent.off_value"},
  };
  for (const auto &c : cases) {
    const std::string sentence = check_refusal(c.pairs);
    EXPECT_EQ(sentence.rfind(std::string(c.key) + ": ", 0), 0u) << c.key << ": " << sentence;
    EXPECT_NE(sentence.find("allowed"), std::string::npos) << sentence;
  }
  EXPECT_EQ(check_refusal({{"loss.error", "cross_entropy"}}), "");
  EXPECT_EQ(check_refusal({{"coupling", "ot"}, {"variant", "fm"}}), "");
  EXPECT_EQ(check_refusal({{"coupling", "ot"}, {"sample.drift", "ode"}}), "");
  EXPECT_EQ(check_refusal({{"loss.normalize", "analytic"}, {"loss.weight", "elbo"}}), "");
  EXPECT_EQ(check_refusal({{"loss.normalize", "analytic"}, {"loss.weight", "elbo"}, {"variant", "fm"}}), "");
  EXPECT_EQ(check_refusal({{"optimizer.type", "sgd"}, {"optimizer.momentum", "0.9"}, {"optimizer.nesterov", "true"}}),
            "");
  EXPECT_EQ(check_refusal({{"task", "generate"}}), "");
  EXPECT_EQ(check_refusal({{"encoder.type", "mlp"}, {"loss.vae", "1"}}), "");
  EXPECT_EQ(check_refusal({{"encoder.type", "conv"},
                           {"decoder.type", "conv"},
                           {"loss.vae", "1"},
                           {"latent.noise", "0.2"},
                           {"task", "generate"},
                           {"latent.size", "8"}}),
            "");
  EXPECT_EQ(check_refusal({{"encoder.type", "mlp"}, {"loss.recon.weight", "1"}}), "");
  EXPECT_EQ(check_refusal({{"decoder.output", "softmax"}}), "");
  EXPECT_EQ(check_refusal({{"decoder.output", "softmax"}, {"loss.recon.type", "log"}}), "");
}

TEST(Config, ContradictionsPointAtTheFileAndLine) {
  const Config config = make();
  ASSERT_EQ(noprop_config_parse(config.get(), "task: regress\nloss:\n  error: cross_entropy\n", "a.yaml"), NOPROP_OK);
  EXPECT_EQ(noprop_config_check(config.get()), NOPROP_INVALID_CONFIG);
  EXPECT_EQ(std::string(noprop_last_error()).rfind("a.yaml:3: loss.error: cross_entropy ", 0), 0u)
      << noprop_last_error();
}

std::string warnings(const Config &config) {
  char *text = nullptr;
  EXPECT_EQ(config_warnings(config.get(), &text), NOPROP_OK) << noprop_last_error();
  const std::string copy = text == nullptr ? "" : text;
  noprop_free(text);
  return copy;
}

TEST(Config, DoubtfulChoicesWarn) {
  const Config config = make();
  EXPECT_EQ(warnings(config), "");
  noprop_config_set(config.get(), "loss.weight", "elbo");
  EXPECT_NE(warnings(config).find("elbo"), std::string::npos);
  noprop_config_set(config.get(), "task", "generate");
  EXPECT_EQ(warnings(config), "");
  noprop_config_set(config.get(), "sample.drift", "ou_mean");
  EXPECT_NE(warnings(config).find("ou_mean"), std::string::npos);
  const Config schedule = make();
  noprop_config_set(schedule.get(), "schedule.learnable", "true");
  EXPECT_EQ(warnings(schedule).rfind("schedule.learnable: with loss.weight uniform", 0), 0u) << warnings(schedule);
  noprop_config_set(schedule.get(), "loss.weight", "min_snr");
  EXPECT_EQ(warnings(schedule), "");
}

TEST(Config, TheOrdinaryTwinNamesTheKeysThatItDoesNotUse) {
  const Config config = make();
  noprop_config_set(config.get(), "variant", "supervised");
  EXPECT_EQ(warnings(config), "");
  noprop_config_set(config.get(), "loss.draws", "8");
  noprop_config_set(config.get(), "loss.error", "cross_entropy");
  EXPECT_EQ(warnings(config), "loss.draws: not used, since variant supervised has no path from noise to target\n");
  noprop_config_set(config.get(), "loss.t_sampling", "importance");
  EXPECT_EQ(warnings(config),
            "loss.t_sampling: not used, since variant supervised has no path from noise to target\n"
            "loss.draws: not used, since variant supervised has no path from noise to target\n");
  struct settings settings;
  ASSERT_EQ(settings_resolve(config.get(), &settings), NOPROP_OK) << noprop_last_error();
  EXPECT_EQ(settings.loss.draws, 1);
  EXPECT_EQ(settings.prediction, PREDICTION_TARGET);
  EXPECT_EQ(settings.loss.error, LOSS_ERROR_CROSS_ENTROPY);
}

TEST(Config, DiscreteTimeTakesAStepPerBlockAndNamesTheKeysThatItDoesNotUse) {
  const Config config = make();
  noprop_config_set(config.get(), "variant", "dt");
  noprop_config_set(config.get(), "dt.blocks", "7");
  EXPECT_EQ(warnings(config), "");
  struct settings settings;
  ASSERT_EQ(settings_resolve(config.get(), &settings), NOPROP_OK) << noprop_last_error();
  EXPECT_EQ(settings.sample.steps, 7);
  EXPECT_EQ(settings.prediction, PREDICTION_TARGET);
  noprop_config_set(config.get(), "loss.weight", "elbo");
  EXPECT_EQ(warnings(config), "");
  noprop_config_set(config.get(), "sample.steps", "7");
  EXPECT_EQ(warnings(config), "");
  noprop_config_set(config.get(), "sample.steps", "50");
  EXPECT_EQ(warnings(config), "sample.steps: not used, since variant dt takes one step per block: 7\n");
  noprop_config_set(config.get(), "sample.steps", "7");
  noprop_config_set(config.get(), "loss.t_sampling", "importance");
  EXPECT_EQ(warnings(config), "loss.t_sampling: not used, since blocks of variant dt have one time each\n");
  noprop_config_set(config.get(), "loss.t_sampling", "uniform");
  noprop_config_set(config.get(), "task", "generate");
  EXPECT_NE(warnings(config).find("sde is right for generation with variant dt"), std::string::npos);
  noprop_config_set(config.get(), "sample.drift", "sde");
  EXPECT_EQ(warnings(config).find("sde is right"), std::string::npos);
  noprop_config_set(config.get(), "task", "classify");
  noprop_config_set(config.get(), "latent.embedding", "learned");
  EXPECT_NE(warnings(config).find("dt.eta: 1 with latent.embedding learned lets"), std::string::npos);
  noprop_config_set(config.get(), "dt.eta", "0.1");
  EXPECT_EQ(warnings(config).find("dt.eta"), std::string::npos);
  EXPECT_NE(noprop_config_set(config.get(), "dt.blocks", "0"), NOPROP_OK);
  EXPECT_NE(std::string(noprop_last_error()).find("dt.blocks: 0 is not allowed"), std::string::npos);
}

TEST(Config, OptionNamesAreFoundByNameOnly) {
  for (int i = 0; i < METHOD_COUNT; i++) EXPECT_EQ(option_find(METHOD_NAMES, METHOD_NAMES[i].name), i);
  EXPECT_EQ(METHOD_NAMES[METHOD_COUNT].name, nullptr);
  EXPECT_EQ(option_find(METHOD_NAMES, "Euler"), -1);
  EXPECT_EQ(option_find(METHOD_NAMES, ""), -1);
}

}  // namespace
