/* The same bits whatever executes the kernels: one to three CPU threads, interpreted or translated, rows resident or
 * streamed, blocks and warps in any order. Every variation runs in a process of its own, because the virtual GPU reads
 * its environment once. */
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "tests/kernels/harness.h"

namespace {

using namespace kernels_test;

constexpr const char kResultVariable[] = "NOPROP_TEST_RESULT", kTensorVariable[] = "NOPROP_TEST_TENSOR",
                     kSharedVariable[] = "NOPROP_SHARED_BYTES", kTierVariable[] = "NOPROP_TIER",
                     kNoSequenceVariable[] = "NOPROP_TEST_NO_SEQUENCE";

/* Models that differ in their kernels: both networks, dropout, draws, logits; a wide byte condition and real targets.
 */
struct Work {
  Keys keys;
  ConditionKind condition;
  int width;
  bool sequence = false; /* the target's three numbers are positions */
};
const Work kWork[] = {
    {{{"variant", "ct"},
      {"loss.error", "cross_entropy"},
      {"network.hidden", "[24, 24, 24]"},
      {"network.dropout", "0.2"},
      {"loss.draws", "2"}},
     kFloatCondition,
     5},
    {{{"variant", "df"},
      {"network.type", "resnet"},
      {"network.hidden", "[24, 24, 24]"},
      {"network.dropout", "0.2"},
      {"loss.weight", "elbo"},
      {"loss.normalize", "batch"}},
     kLabelCondition,
     5},
    {{{"variant", "fm"},
      {"task", "regress"},
      {"network.type", "custom"},
      {"network.layers",
       "[{name: f, type: dense, from: x, width: 17, activation: gelu}, {type: dense, from: [f, z, t], width: 9},"
       " {type: batch_norm}, {type: activation, activation: gelu}, {type: dense}]"},
      {"loss.recon.weight", "0.5"}},
     kByteCondition,
     100},
    {{{"variant", "fm"},
      {"task", "regress"},
      {"network.type", "transformer"},
      {"network.transformer.width", "32"},
      {"network.transformer.layers", "1"},
      {"network.transformer.condition_layers", "1"},
      {"network.transformer.feed_forward", "32"},
      {"sample.steps", "4"}},
     kLabelCondition,
     5,
     true},
};

/* On tensor cores: their kernels are large, and what they do often is a function of the translated module. */
const Work kTensorWork[] = {
    {{{"precision", "tf32"}, {"variant", "ct"}, {"network.hidden", "[17, 9]"}, {"network.dropout", "0.2"}},
     kFloatCondition,
     5},
    {{{"precision", "bf16"}, {"variant", "fm"}, {"network.type", "resnet"}, {"network.hidden", "[12, 20]"}},
     kFloatCondition,
     5},
};

/* Launches over all rows: a product on tensor cores, and one that is multiply-adds. */
const Work kLayeredWork[] = {
    kTensorWork[0],
    {{{"precision", "fp32"}, {"variant", "ct"}, {"network.hidden", "[40]"}}, kFloatCondition, 5},
};

/* Trains, evaluates and samples models, and writes every float that comes out to `path`. */
void run_everything(const char *path) {
  std::vector<Work> all(std::begin(kWork), std::end(kWork));
  if (std::getenv(kTensorVariable)) all.assign(std::begin(kTensorWork), std::end(kTensorWork));
  if (std::getenv(kTierVariable)) all.assign(std::begin(kLayeredWork), std::end(kLayeredWork));
  for (const Work &work : all) {
    if (work.sequence && std::getenv(kNoSequenceVariable)) continue;
    Keys keys = work.keys;
    keys.insert(keys.end(), {{"optimizer.ema", "0.9"}, {"seed", "9"}});
    const bool sequence = work.sequence;
    Settings settings;
    settings.task = "regress";
    if (!sequence) settings = reference::settings_from(keys);
    const auto data = make_data(settings, work.condition, work.width, 3, 301, 3);
    for (int i = 0; sequence && i < 3; ++i) data->shape.target_shape[i] = i == 1 ? 3 : 1;
    const Model model = create_model(keys, data->shape);
    ASSERT_TRUE(model);
    if (std::getenv(kSharedVariable)) {
      char *text = nullptr;
      ASSERT_TRUE(ok(noprop_model_describe(model.get(), &text), "noprop_model_describe"));
      EXPECT_NE(std::string(text).find("tier spilling"), std::string::npos) << text;
      noprop_free(text);
    }
    ASSERT_TRUE(set_statistics(model.get(), *data));
    ASSERT_TRUE(ok(noprop_model_bind(model.get(), &data->condition, &data->target, 128), "noprop_model_bind"));
    ASSERT_TRUE(ok(noprop_model_train_step(model.get(), 7), "noprop_model_train_step"));
    std::vector<float> result = parameters_of(model.get()), average = parameters_of(model.get(), true);
    result.insert(result.end(), average.begin(), average.end());
    noprop_train_metrics metrics;
    ASSERT_TRUE(ok(noprop_model_train_metrics(model.get(), &metrics), "noprop_model_train_metrics"));
    noprop_loss_terms terms;
    ASSERT_TRUE(
        ok(noprop_model_validate(model.get(), &data->condition, &data->target, &terms), "noprop_model_validate"));
    noprop_sampler_options options = noprop_sampler_options_default(model.get());
    std::vector<float> latent(301 * 3);
    ASSERT_TRUE(
        ok(noprop_sample(model.get(), &options, &data->condition, 301, latent.data(), nullptr), "noprop_sample"));
    result.insert(result.end(), latent.begin(), latent.end());
    std::ofstream file(path, std::ios::binary | std::ios::app);
    file.write(reinterpret_cast<const char *>(result.data()),
               static_cast<std::streamsize>(result.size() * sizeof(float)));
    for (double v : {metrics.loss, metrics.gradient_norm, terms.loss, terms.flow})
      file.write(reinterpret_cast<const char *>(&v), sizeof v);
    ASSERT_TRUE(file.good());
  }
}

/* What the child processes of the other tests run; by itself it checks that the work can be done at all. */
TEST(Determinism, WorkForOneProcess) {
  const char *named = std::getenv(kResultVariable);
  const std::string path = named ? named : testing::TempDir() + "noprop_work_" + std::to_string(getpid());
  run_everything(path.c_str());
  if (!named) {
    EXPECT_EQ(unlink(path.c_str()), 0);
  }
}

/* Runs the child with additional environment variables; its bytes, or a failed test. */
std::string result_with(const std::vector<std::pair<std::string, std::string>> &environment) {
  const std::string path = testing::TempDir() + "noprop_determinism_" + std::to_string(getpid());
  unlink(path.c_str());
  char self[4096];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  EXPECT_GT(length, 0);
  self[length > 0 ? length : 0] = '\0';
  const pid_t child = fork();
  if (child == 0) {
    for (const auto &[name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    setenv(kResultVariable, path.c_str(), 1);
    execl(self, self, "--gtest_filter=Determinism.WorkForOneProcess", "--gtest_brief=1", static_cast<char *>(nullptr));
    _exit(127);
  }
  int status = -1;
  waitpid(child, &status, 0);
  std::ifstream file(path, std::ios::binary);
  const std::string said{std::istreambuf_iterator<char>(file), {}};
  unlink(path.c_str());
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the child process failed";
  EXPECT_GT(said.size(), 1000u);
  return said;
}

/* A failed comparison must not print kilobytes. */
void expect_same(const std::string &a, const std::string &b, const char *what) {
  size_t differences = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) differences += a[i] != b[i];
  EXPECT_EQ(differences, 0u) << what << ": " << differences << " of " << a.size() << " bytes differ";
}

TEST(Determinism, SameBitsForOneTwoAndThreeThreads) {
  const std::string one = result_with({{"NOPROP_VGPU_THREADS", "1"}});
  expect_same(one, result_with({{"NOPROP_VGPU_THREADS", "2"}}), "two threads");
  expect_same(one, result_with({{"NOPROP_VGPU_THREADS", "3"}}), "three threads");
}

/* Without the sequence: its kernels are large, and to translate them takes longer than all else here together. */
TEST(Determinism, SameBitsInterpretedAndTranslated) {
  const std::pair<std::string, std::string> some = {kNoSequenceVariable, "1"};
  const std::string interpreted = result_with({some, {"NOPROP_VGPU_EXECUTOR", "interpret"}});
  expect_same(interpreted, result_with({some, {"NOPROP_VGPU_EXECUTOR", "translate"}}), "translated");
  expect_same(interpreted, result_with({some}), "whatever the device chooses");
}

/* In another order the sums are those of all columns at a time, as on a GPU (GEMM_GROUP). */
TEST(Determinism, SameBitsOfLaunchesOverAllRowsForAnyThreadsAndOrder) {
  const auto with = [](std::vector<std::pair<std::string, std::string>> environment) {
    environment.emplace_back(kTierVariable, "layered");
    return result_with(environment);
  };
  const std::string one = with({{"NOPROP_VGPU_THREADS", "1"}});
  expect_same(one, with({{"NOPROP_VGPU_THREADS", "3"}}), "three threads");
  expect_same(one, with({{"NOPROP_VGPU_MODE", "fuzz"}, {"NOPROP_VGPU_FUZZ", "order"}, {"NOPROP_VGPU_SEED", "1"}}),
              "another order");
}

TEST(Determinism, SameBitsInterpretedAndTranslatedOnTensorCores) {
  const std::pair<std::string, std::string> tensor = {kTensorVariable, "1"};
  expect_same(result_with({tensor, {"NOPROP_VGPU_EXECUTOR", "interpret"}}),
              result_with({tensor, {"NOPROP_VGPU_EXECUTOR", "translate"}}), "translated");
}

TEST(Determinism, SameBitsForResidentAndStreamedRows) {
  const std::string resident = result_with({});
  expect_same(resident, result_with({{"NOPROP_STREAM", "1"}}), "streamed");
  expect_same(resident, result_with({{"NOPROP_STREAM", "1"}, {"NOPROP_STREAM_BYTES", "8192"}}),
              "streamed in small chunks");
}

/* Activations in a workspace, because a block has no shared memory for them. */
TEST(Determinism, SameBitsWhereActivationsSpill) {
  expect_same(result_with({}), result_with({{kSharedVariable, "8192"}}), "spilled");
}

TEST(Determinism, SameBitsInEveryOrderOfBlocksAndWarps) {
  const std::string plain = result_with({});
  for (const char *seed : {"1", "2", "3"})
    expect_same(plain,
                result_with({{"NOPROP_VGPU_MODE", "fuzz"}, {"NOPROP_VGPU_FUZZ", "order"}, {"NOPROP_VGPU_SEED", seed}}),
                seed);
}

/* A GPU whose approximations are others than the virtual GPU's keeps the promise, too. */
TEST(Determinism, SameBitsForResidentAndStreamedRowsOnAnotherGpu) {
  const std::string resident = result_with({{"NOPROP_VGPU_MODE", "fuzz"}, {"NOPROP_VGPU_SEED", "4"}});
  expect_same(resident, result_with({{"NOPROP_VGPU_MODE", "fuzz"}, {"NOPROP_VGPU_SEED", "4"}, {"NOPROP_STREAM", "1"}}),
              "streamed");
  EXPECT_NE(resident, result_with({})) << "the approximations were not varied";
}

}  // namespace
