/* Promises of training: launches counted, nothing allocated or read back, the same bits however rows are stored, steps
 * are grouped or threads are counted, and a stop at the first step that is not finite. */
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/model/support.h"

using namespace model_test;

namespace {

const Keys kClassify = {{"variant", "ct"},
                        {"task", "classify"},
                        {"network.hidden", "[16, 16]"},
                        {"network.dropout", "0.1"},
                        {"optimizer.ema", "0.9"}};

Keys with(Keys keys, const Keys &more) {
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

/* Sets an environment variable while it lives. */
class Environment {
 public:
  Environment(const char *name, const char *value) : name_(name) { setenv(name, value, 1); }
  ~Environment() { unsetenv(name_); }
  Environment(const Environment &) = delete;
  Environment &operator=(const Environment &) = delete;

 private:
  const char *name_;
};

std::vector<unsigned char> trained_state(const Keys &keys, const Data &data, int batch,
                                         const std::vector<long> &groups) {
  const Model model = make_model(keys, data);
  if (!model) return {};
  bind(model.get(), data, batch);
  for (const long steps : groups) EXPECT_OK(noprop_model_train_step(model.get(), steps));
  return state_bytes(model.get());
}

}  // namespace

TEST(TrainingStep, IsTwoLaunchesAndThreeWithClipping) {
  const Data data = make_data(100, 2, 2, true);
  for (const char *clip : {"0", "1.0"}) {
    const Model model = make_model(with(kClassify, {{"optimizer.clip", clip}}), data);
    ASSERT_TRUE(model);
    bind(model.get(), data, 32);
    const noprop_device_counters before = counters();
    ASSERT_OK(noprop_model_train_step(model.get(), 70));
    const noprop_device_counters after = counters();
    EXPECT_EQ(after.launches - before.launches, 70u * (std::strcmp(clip, "0") == 0 ? 2 : 3));
    EXPECT_EQ(after.graph_launches - before.graph_launches, 2u + 6u) << "two graphs of 32 steps, six of one";
  }
}

/* Everything that a loss can have at once: encoder and decoder with their terms, a schedule that is trained with its
 * ends, draws, dropout of features and conditions, regularisation, averages. And terms beside the main one where
 * activations do not fit shared memory. */
TEST(TrainingStep, HasNoMoreLaunchesWhateverIsSwitchedOn) {
  const Data data = make_data(100, 2, 3, false);
  const Keys common = {
      {"task", "regress"},     {"variant", "ct"}, {"prediction", "v"}, {"network.time_embedding.size", "6"},
      {"loss.weight", "elbo"}, {"loss.vae", "1"}, {"loss.kl_z0", "1"}, {"precision", "fp32"}};
  const Keys all = {{"network.hidden", "[8]"},
                    {"network.dropout", "0.1"},
                    {"encoder.type", "mlp_normal"},
                    {"encoder.hidden", "[8]"},
                    {"decoder.type", "linear"},
                    {"schedule.learnable", "true"},
                    {"schedule.learn_endpoints", "true"},
                    {"schedule.s", "0.05"},
                    {"loss.reg", "0.01"},
                    {"loss.draws", "2"},
                    {"loss.condition_dropout", "0.2"},
                    {"sample.guidance", "2"},
                    {"optimizer.ema", "0.9"},
                    {"optimizer.clip", "0"}};
  for (const bool wide : {false, true}) {
    const Model model = make_model(with(common, wide ? Keys{{"network.hidden", "[512]"}} : all), data);
    ASSERT_TRUE(model);
    char *text = nullptr;
    ASSERT_OK(noprop_model_describe(model.get(), &text));
    EXPECT_NE(std::string(text).find(wide ? "spilling" : "resident"), std::string::npos) << text;
    noprop_free(text);
    bind(model.get(), data, 8);
    noprop_device_counters before = counters();
    ASSERT_OK(noprop_model_train_step(model.get(), 2));
    EXPECT_EQ(counters().launches - before.launches, 2u * (wide ? 3 : 2)) << "clipped: the default";
    if (wide) continue;
    const noprop_sampler_options options = noprop_sampler_options_default(model.get());
    const noprop_array condition = data.condition_array();
    std::vector<float> output(300);
    before = counters();
    ASSERT_OK(noprop_sample(model.get(), &options, &condition, 100, nullptr, output.data()));
    EXPECT_EQ(counters().launches - before.launches, 1u);
  }
}

TEST(TrainingStep, NeitherAllocatesNorCopiesWithinAnEpoch) {
  const Data data = make_data(1000, 2, 2, true);
  const Model model = make_model(kClassify, data);
  ASSERT_TRUE(model);
  bind(model.get(), data, 32);
  const noprop_device_counters before = counters();
  ASSERT_OK(noprop_model_train_step(model.get(), 32));
  const noprop_device_counters after = counters();
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.copies_to_host, before.copies_to_host);
  EXPECT_EQ(after.copies_to_device, before.copies_to_device);
  EXPECT_EQ(after.pool_bytes_in_use, before.pool_bytes_in_use);
}

TEST(Training, GivesTheSameBitsHoweverStepsAreGrouped) {
  const Data data = make_data(75, 3, 4, true);
  const auto at_once = trained_state(kClassify, data, 16, {45});
  EXPECT_EQ(at_once, trained_state(kClassify, data, 16, {1, 2, 3, 4, 35}));
  EXPECT_NE(at_once, trained_state(kClassify, data, 16, {44}));
}

TEST(Training, GivesTheSameBitsForResidentAndStreamedRows) {
  /* 75 rows in batches of 16: the last is short; 3 epochs. */
  const Data data = make_data(75, 3, 4, true);
  const auto resident = trained_state(kClassify, data, 16, {15});
  const Environment stream("NOPROP_STREAM", "1");
  for (const char *bytes : {"1", "600", "100000"}) {
    const Environment chunk("NOPROP_STREAM_BYTES", bytes);
    EXPECT_EQ(resident, trained_state(kClassify, data, 16, {15})) << bytes << " bytes in a chunk";
    EXPECT_EQ(resident, trained_state(kClassify, data, 16, {4, 1, 7, 3})) << bytes << " bytes in a chunk, in pieces";
  }
}

/* Makes the device look smaller while it lives: pools are limited by what the device has. */
class SmallDevice {
 public:
  explicit SmallDevice(size_t bytes) : before_(device()->properties.memory_bytes) {
    device()->properties.memory_bytes = bytes;
  }
  ~SmallDevice() { device()->properties.memory_bytes = before_; }
  SmallDevice(const SmallDevice &) = delete;
  SmallDevice &operator=(const SmallDevice &) = delete;

 private:
  size_t before_;
};

TEST(Training, StreamsRowsThatDoNotFitDeviceMemory) {
  /* 2.4 MB of rows. */
  const Data data = make_data(20000, 30, 4, true);
  const auto resident = trained_state(kClassify, data, 16, {10});
  const SmallDevice small(2 << 20);
  const Environment chunk("NOPROP_STREAM_BYTES", "100000");
  const Model model = make_model(kClassify, data);
  ASSERT_TRUE(model);
  bind(model.get(), data, 16);
  EXPECT_NE(model->binding.stream, nullptr);
  ASSERT_OK(noprop_model_train_step(model.get(), 10));
  EXPECT_EQ(state_bytes(model.get()), resident);
}

TEST(Training, SaysWhatDoesNotFitDeviceMemory) {
  const Data data = make_data(64, 3, 4, true);
  const Config config = make_config(kClassify);
  const noprop_model_shape shape = data.shape();
  noprop_model *created = nullptr;
  {
    const SmallDevice tiny(1 << 10);
    EXPECT_EQ(noprop_model_create(device(), config.get(), &shape, &created), NOPROP_OUT_OF_MEMORY);
    EXPECT_NE(std::string(noprop_last_error()).find("parameters: "), std::string::npos) << noprop_last_error();
  }
  /* Just enough for the model leaves nothing for training. */
  size_t enough = 2 << 10;
  for (; !created && enough < 1 << 20; enough += 1 << 10) {
    const SmallDevice small(enough);
    noprop_model_create(device(), config.get(), &shape, &created);
  }
  ASSERT_TRUE(created);
  const Model model(created);
  const noprop_array condition = data.condition_array(), target = data.target_array();
  EXPECT_EQ(noprop_model_bind(created, &condition, &target, 64), NOPROP_OUT_OF_MEMORY);
  EXPECT_NE(std::string(noprop_last_error()).find("gradient slots: "), std::string::npos) << noprop_last_error();
  EXPECT_EQ(noprop_model_train_step(created, 1), NOPROP_INVALID_ARGUMENT);
}

TEST(Training, ReadsUint8RowsAsTheirValues) {
  Data data = make_data(40, 5, 3, true);
  std::vector<uint8_t> bytes(data.condition.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<uint8_t>(i * 37 % 256);
    data.condition[i] = bytes[i];
  }
  std::vector<std::vector<float>> results;
  for (const noprop_type type : {NOPROP_TYPE_FLOAT32, NOPROP_TYPE_UINT8}) {
    const Config config = make_config(kClassify);
    noprop_model_shape shape = data.shape();
    shape.condition_type = type;
    noprop_model *created = nullptr;
    ASSERT_OK(noprop_model_create(device(), config.get(), &shape, &created));
    const Model model(created);
    const std::vector<float> mean(5, 120.0f), std(5, 70.0f);
    ASSERT_OK(noprop_model_set_statistics(created, mean.data(), std.data(), nullptr, nullptr));
    noprop_array condition = data.condition_array(), target = data.target_array();
    condition.type = type;
    if (type == NOPROP_TYPE_UINT8) condition.values = bytes.data();
    ASSERT_OK(noprop_model_bind(created, &condition, &target, 16));
    ASSERT_OK(noprop_model_train_step(created, 5));
    results.push_back(parameters(created));
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(Training, ReadsFloat64RowsAsFloat32) {
  const Data data = make_data(40, 5, 2, false);
  const Keys keys = with(kClassify, {{"task", "regress"}});
  const auto want = trained_state(keys, data, 16, {4});
  const Model model = make_model(keys, data);
  ASSERT_TRUE(model);
  const std::vector<double> condition_values(data.condition.begin(), data.condition.end());
  const std::vector<double> target_values(data.values.begin(), data.values.end());
  noprop_array condition = data.condition_array(), target = data.target_array();
  condition.type = target.type = NOPROP_TYPE_FLOAT64;
  condition.values = condition_values.data();
  target.values = target_values.data();
  ASSERT_OK(noprop_model_bind(model.get(), &condition, &target, 16));
  ASSERT_OK(noprop_model_train_step(model.get(), 4));
  EXPECT_EQ(state_bytes(model.get()), want);
}

TEST(Training, ContinuesFromSavedStateWithTheSameBits) {
  const Data data = make_data(75, 3, 4, true);
  const Model whole = make_model(kClassify, data), first = make_model(kClassify, data),
              second = make_model(kClassify, data);
  ASSERT_TRUE(whole && first && second);
  bind(whole.get(), data, 16);
  ASSERT_OK(noprop_model_train_step(whole.get(), 13));
  bind(first.get(), data, 16);
  ASSERT_OK(noprop_model_train_step(first.get(), 7));
  ASSERT_EQ(model_state_count(first.get()), model_state_count(second.get()));
  for (int i = 0; i < model_state_count(first.get()); ++i) {
    const struct model_state state = model_state_at(first.get(), i);
    EXPECT_STREQ(state.name, model_state_at(second.get(), i).name);
    std::vector<double> values(static_cast<size_t>(state.values));
    ASSERT_OK(model_state_get(first.get(), i, values.data()));
    ASSERT_OK(model_state_set(second.get(), i, values.data()));
  }
  EXPECT_EQ(noprop_model_step(second.get()), 7u);
  bind(second.get(), data, 16);
  ASSERT_OK(noprop_model_train_step(second.get(), 6));
  EXPECT_EQ(state_bytes(second.get()), state_bytes(whole.get()));
}

TEST(Training, MetricsAreMeansSinceTheLastCall) {
  const Data data = make_data(75, 3, 4, true);
  const Model model = make_model(kClassify, data), single = make_model(kClassify, data);
  ASSERT_TRUE(model && single);
  bind(model.get(), data, 16);
  bind(single.get(), data, 16);
  double sum = 0.0;
  noprop_train_metrics metrics;
  for (int step = 0; step < 5; ++step) {
    ASSERT_OK(noprop_model_train_step(single.get(), 1));
    ASSERT_OK(noprop_model_train_metrics(single.get(), &metrics));
    EXPECT_EQ(metrics.steps, 1);
    EXPECT_EQ(metrics.rows, step == 4 ? 11 : 16);
    EXPECT_GT(metrics.loss, 0.0);
    sum += metrics.loss;
  }
  ASSERT_OK(noprop_model_train_step(model.get(), 5));
  ASSERT_OK(noprop_model_train_metrics(model.get(), &metrics));
  EXPECT_EQ(metrics.steps, 5);
  EXPECT_EQ(metrics.rows, 75);
  EXPECT_DOUBLE_EQ(metrics.loss, sum / 5);
  ASSERT_OK(noprop_model_train_metrics(model.get(), &metrics));
  EXPECT_EQ(metrics.steps, 0);
}

/* ---- steps that are not finite ---- */

class Halting : public testing::TestWithParam<const char *> {};

TEST_P(Halting, KeepsTheParametersOfTheLastFiniteStep) {
  const Keys keys = with(kClassify, {{"optimizer.type", "sgd"},
                                     {"optimizer.clip", GetParam()},
                                     {"task", "regress"},
                                     {"network.activation", "relu"},
                                     {"optimizer.learning_rate", "10"}});
  Data data = make_data(64, 3, 2, false);
  for (float &value : data.values) value *= 1e4f;
  const Model model = make_model(keys, data);
  ASSERT_TRUE(model);
  bind(model.get(), data, 32);
  ASSERT_OK(noprop_model_train_step(model.get(), 60));
  noprop_train_metrics metrics;
  ASSERT_OK(noprop_model_train_metrics(model.get(), &metrics));
  ASSERT_GT(metrics.bad_step, 0);
  EXPECT_STRNE(metrics.bad_term, "");
  EXPECT_EQ(metrics.step, static_cast<uint64_t>(metrics.bad_step));
  EXPECT_EQ(metrics.steps, metrics.bad_step);
  EXPECT_TRUE(std::isfinite(metrics.loss));
  const std::vector<float> halted = parameters(model.get());
  for (const float value : halted) ASSERT_TRUE(std::isfinite(value));

  ASSERT_OK(noprop_model_train_step(model.get(), 40));
  EXPECT_EQ(parameters(model.get()), halted) << "later steps change nothing";
  noprop_train_metrics later;
  ASSERT_OK(noprop_model_train_metrics(model.get(), &later));
  EXPECT_EQ(later.bad_step, metrics.bad_step);
  EXPECT_EQ(later.steps, 0);

  if (std::strcmp(metrics.bad_term, "gradient") == 0 && std::strcmp(GetParam(), "0") == 0) return;
  const Model fresh = make_model(keys, data);
  ASSERT_TRUE(fresh);
  bind(fresh.get(), data, 32);
  ASSERT_OK(noprop_model_train_step(fresh.get(), metrics.bad_step));
  EXPECT_EQ(parameters(fresh.get()), halted);
}

INSTANTIATE_TEST_SUITE_P(Clip, Halting, testing::Values("0", "1e6"));

TEST(Halting, NamesTheTermOfANonFiniteRow) {
  Data data = make_data(64, 3, 2, false);
  const Model model = make_model(with(kClassify, {{"task", "regress"}}), data);
  ASSERT_TRUE(model);
  data.values[17] = INFINITY;
  bind(model.get(), data, 64);
  const std::vector<float> before = parameters(model.get());
  ASSERT_OK(noprop_model_train_step(model.get(), 3));
  noprop_train_metrics metrics;
  ASSERT_OK(noprop_model_train_metrics(model.get(), &metrics));
  EXPECT_EQ(metrics.bad_step, 0);
  EXPECT_STREQ(metrics.bad_term, "flow");
  EXPECT_EQ(parameters(model.get()), before);
}

/* ---- threads ---- */

/* Prints a digest of a trained model and of its predictions; run below with other numbers of threads. */
TEST(Threads, DISABLED_Digest) {
  const Data data = make_data(300, 3, 4, true);
  const Model model = make_model(kClassify, data);
  ASSERT_TRUE(model);
  bind(model.get(), data, 128);
  ASSERT_OK(noprop_model_train_step(model.get(), 9));
  std::vector<unsigned char> bytes = state_bytes(model.get());
  const noprop_array condition = data.condition_array();
  noprop_sampler_options options = noprop_sampler_options_default(model.get());
  std::vector<float> output(static_cast<size_t>(300 * 4));
  ASSERT_OK(noprop_sample(model.get(), &options, &condition, 300, nullptr, output.data()));
  const auto *first = reinterpret_cast<const unsigned char *>(output.data());
  bytes.insert(bytes.end(), first, first + output.size() * sizeof(float));
  uint64_t hash = 14695981039346656037u; /* FNV-1a */
  for (const unsigned char byte : bytes) hash = (hash ^ byte) * 1099511628211u;
  std::printf("digest %016llx\n", static_cast<unsigned long long>(hash));
}

TEST(Threads, DoNotChangeABit) {
  std::vector<std::string> digests;
  for (const char *threads : {"1", "2", "3"}) {
    const std::string command =
        std::string("NOPROP_VGPU_THREADS=") + threads +
        " /proc/self/exe --gtest_also_run_disabled_tests --gtest_filter=Threads.DISABLED_Digest";
    std::array<char, 4096> path = {};
    ASSERT_GT(readlink("/proc/self/exe", path.data(), path.size() - 1), 0);
    std::string line = command;
    line.replace(line.find("/proc/self/exe"), std::strlen("/proc/self/exe"), std::string("'") + path.data() + "'");
    FILE *pipe = popen(line.c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    std::array<char, 256> text = {};
    std::string digest;
    while (std::fgets(text.data(), text.size(), pipe))
      if (std::strncmp(text.data(), "digest", 6) == 0) digest = text.data();
    EXPECT_EQ(pclose(pipe), 0);
    EXPECT_NE(digest, "") << threads << " threads";
    digests.push_back(digest);
  }
  EXPECT_EQ(digests[0], digests[1]);
  EXPECT_EQ(digests[0], digests[2]);
}
