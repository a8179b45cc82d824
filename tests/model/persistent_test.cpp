/* Promises of the persistent kernel: one launch for a block of steps, the bits of launches for every step, whatever the
 * optimizer and the options; and of the rule that chooses it. */
#include <cstdlib>
#include <string>

#include "tests/model/support.h"
#include "tests/tile_form.h"

extern "C" {
#include "engine/persistent.h"
}

using namespace model_test;

namespace {

Keys with(Keys keys, const Keys &more) {
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

/* NOPROP_PERSISTENT while it lives. */
class Persistent {
 public:
  explicit Persistent(const char *value) { setenv("NOPROP_PERSISTENT", value, 1); }
  ~Persistent() { unsetenv("NOPROP_PERSISTENT"); }
  Persistent(const Persistent &) = delete;
  Persistent &operator=(const Persistent &) = delete;
};

struct Trained {
  std::vector<unsigned char> state;
  noprop_train_metrics metrics;
  unsigned long long launches;
};

Trained train(const char *persistent, const Keys &keys, const Data &data, int batch, const std::vector<long> &groups) {
  const Persistent forced(persistent);
  Trained run = {};
  const Model model = make_model(keys, data);
  if (!model) return run;
  bind(model.get(), data, batch);
  EXPECT_EQ(model->binding.persistent, persistent[0] == '1');
  const noprop_device_counters before = counters();
  for (const long steps : groups) EXPECT_OK(noprop_model_train_step(model.get(), steps));
  run.launches = counters().launches - before.launches;
  run.state = state_bytes(model.get()); /* before the metrics, whose reading starts new sums */
  EXPECT_OK(noprop_model_train_metrics(model.get(), &run.metrics));
  return run;
}

/* Several slots, a short last batch, a second epoch, dropout in the first alone. */
const Keys kBase = {{"variant", "ct"},          {"task", "classify"},          {"network.hidden", "[16, 16]"},
                    {"network.dropout", "0.1"}, {"train.dropout_epochs", "1"}, {"train.steps", "12"}};

/* `launches`: of both blocks of steps, and of what is prepared before the first. */
void expect_same_bits(const Keys &keys, const Data &data, int batch, unsigned launches = 2) {
  const Trained apart = train("0", keys, data, batch, {7});
  const Trained together = train("1", keys, data, batch, {5, 2});
  ASSERT_FALSE(apart.state.empty());
  EXPECT_EQ(apart.state, together.state);
  EXPECT_EQ(apart.metrics.loss, together.metrics.loss);
  EXPECT_EQ(apart.metrics.gradient_norm, together.metrics.gradient_norm);
  EXPECT_EQ(apart.metrics.learning_rate, together.metrics.learning_rate);
  EXPECT_EQ(apart.metrics.rows, together.metrics.rows);
  EXPECT_EQ(together.metrics.steps, 7);
  EXPECT_EQ(together.launches, launches) << "one for each block of steps";
}

}  // namespace

TEST(PersistentKernel, GivesTheBitsOfLaunchesForEveryStep) {
  const Data data = make_data(150, 2, 2, true);
  const Keys cases[] = {{{"optimizer.type", "adamw"},
                         {"optimizer.ema", "0.9"},
                         {"optimizer.clip", "0.5"},
                         {"optimizer.schedule", "cosine"}},
                        {{"optimizer.type", "sgd"},
                         {"optimizer.momentum", "0.9"},
                         {"optimizer.nesterov", "true"},
                         {"optimizer.clip", "0"},
                         {"optimizer.weight_decay", "0.01"},
                         {"optimizer.warmup_steps", "3"}},
                        {{"optimizer.type", "adagrad"}, {"optimizer.clip", "0"}, {"optimizer.schedule", "linear"}},
                        {{"optimizer.type", "adam"}, {"optimizer.clip", "0"}, {"optimizer.ema", "0.5"}}};
  for (const Keys &keys : cases) {
    SCOPED_TRACE(keys[0].second);
    expect_same_bits(with(kBase, keys), data, 70);
  }
}

/* Weights in fragment order change within the launch, too. */
TEST(PersistentKernel, GivesTheSameBitsOnTensorCores) {
  const Data data = make_data(150, 2, 2, true);
  expect_same_bits(with(kBase, {{"precision", "tf32"}, {"optimizer.clip", "0"}}), data, 130,
                   3 /* with the first fragments */);
}

TEST(PersistentKernel, GivesTheSameBitsWithTilesOfEightRowsALearnedScheduleAndCoupledNoise) {
  const TileForm tiles("8x4");
  const Data data = make_data(60, 2, 3, false);
  expect_same_bits({{"variant", "ct"},
                    {"task", "regress"},
                    {"network.hidden", "[16, 16]"},
                    {"schedule.type", "sigmoid"},
                    {"schedule.learnable", "true"},
                    {"optimizer.weight_decay", "0.05"},
                    {"optimizer.clip", "0"}},
                   data, 40);
  expect_same_bits({{"variant", "ct"},
                    {"task", "regress"},
                    {"network.hidden", "[16, 16]"},
                    {"schedule.type", "network"},
                    {"schedule.hidden", "[9, 5]"},
                    {"schedule.learnable", "true"},
                    {"loss.weight", "elbo"}},
                   data, 40);
  expect_same_bits({{"variant", "fm"}, {"task", "generate"}, {"network.hidden", "[16, 16]"}, {"coupling", "ot"}},
                   make_data(60, 0, 2, false), 40, 3 /* with the pairs */);
}

TEST(PersistentKernel, GivesTheSameBitsWithEncoderAndDecoder) {
  expect_same_bits(with(kBase, {{"encoder.type", "mlp_normal"},
                                {"encoder.hidden", "[8]"},
                                {"decoder.type", "linear"},
                                {"latent.size", "3"},
                                {"loss.recon.weight", "0.5"},
                                {"loss.vae", "1"},
                                {"loss.kl_z0", "0.1"}}),
                   make_data(60, 2, 2, true), 40);
}

/* A step that is not finite ends both in the same state: nothing changes from there on. */
TEST(PersistentKernel, StopsAtTheSameStepThatIsNotFinite) {
  const Keys keys = with(kBase, {{"task", "regress"},
                                 {"optimizer.type", "sgd"},
                                 {"optimizer.clip", "0"},
                                 {"network.activation", "relu"},
                                 {"optimizer.learning_rate", "10"}});
  Data data = make_data(64, 2, 2, false);
  for (float &value : data.values) value *= 1e4f;
  const Trained apart = train("0", keys, data, 64, {40}), together = train("1", keys, data, 64, {40});
  EXPECT_GE(apart.metrics.bad_step, 1);
  EXPECT_LT(apart.metrics.bad_step, 39);
  EXPECT_EQ(apart.metrics.bad_step, together.metrics.bad_step);
  EXPECT_STREQ(apart.metrics.bad_term, together.metrics.bad_term);
  EXPECT_EQ(apart.state, together.state);
}

TEST(PersistentKernel, IsRefusedInASentenceWhereItCannotRun) {
  const Data data = make_data(64 * 32, 2, 2, true);
  {
    const Persistent wrong("yes");
    const Model model = make_model(kBase, data);
    const noprop_array x = data.condition_array(), y = data.target_array();
    EXPECT_EQ(noprop_model_bind(model.get(), &x, &y, 32), NOPROP_INVALID_ARGUMENT);
    EXPECT_NE(std::string(noprop_last_error()).find("NOPROP_PERSISTENT must be 0 or 1, not 'yes'"), std::string::npos);
  }
  const Persistent forced("1");
  setenv("NOPROP_STREAM", "1", 1);
  const Model model = make_model(kBase, data);
  const noprop_array x = data.condition_array(), y = data.target_array();
  EXPECT_EQ(noprop_model_bind(model.get(), &x, &y, 32), NOPROP_UNSUPPORTED);
  EXPECT_NE(std::string(noprop_last_error()).find("NOPROP_PERSISTENT=1: the rows are streamed"), std::string::npos)
      << noprop_last_error();
  unsetenv("NOPROP_STREAM");
}

TEST(PersistentRule, TakesStepsThatLaunchesDominateOnAGpuAlone) {
  const persistent_case small = {false, false, 32, 8, 132, 12834, 26, false, false, false};
  EXPECT_EQ(persistent_refusal(&small), nullptr) << "6 x 32 at batch 256";
  const auto refused = [&](void (*change)(persistent_case *), const char *reason) {
    persistent_case changed = small;
    change(&changed);
    const char *refusal = persistent_refusal(&changed);
    ASSERT_NE(refusal, nullptr) << reason;
    EXPECT_NE(std::string(refusal).find(reason), std::string::npos) << refusal;
  };
  refused([](persistent_case *c) { c->is_virtual = true; }, "virtual GPU");
  refused([](persistent_case *c) { c->blocks = true; }, "variant dt");
  refused([](persistent_case *c) { c->staged = true; }, "layers are launches of their own");
  refused([](persistent_case *c) { c->resident_blocks = 31; }, "resident");
  refused([](persistent_case *c) { c->rows_per_slot = 512; }, "far longer");
  refused([](persistent_case *c) { c->weights = 100 * 12834; }, "far longer");
  refused([](persistent_case *c) { c->update_blocks = 129; }, "update");
  persistent_case unknown = small;
  unknown.resident_blocks = 0;
  EXPECT_EQ(persistent_refusal(&unknown), nullptr);
}
