/* Promises of the sampler: one launch, calls kept, options refused with a sentence, trajectories and decoding. */
#include <cmath>

#include "tests/model/support.h"

using namespace model_test;

namespace {

const Keys kRegress = {{"variant", "ct"}, {"task", "regress"}, {"network.hidden", "[8, 8]"}, {"optimizer.ema", "0.5"}};

Keys with(Keys keys, const Keys &more) {
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

void set(char *member, size_t size, const char *text) { snprintf(member, size, "%s", text); }

std::string describe(noprop_model *model, const noprop_sampler_options &options) {
  char *text = nullptr;
  EXPECT_OK(noprop_sampler_describe(model, &options, &text));
  const std::string line = text ? text : "";
  noprop_free(text);
  return line;
}

}  // namespace

TEST(Sampler, SolvesInOneLaunchWhateverTheSteps) {
  const Data data = make_data(70, 3, 2, false);
  const Model model = make_model(kRegress, data);
  ASSERT_TRUE(model);
  const noprop_array condition = data.condition_array();
  std::vector<float> output(140);
  for (const int steps : {1, 20, 50}) {
    noprop_sampler_options options = noprop_sampler_options_default(model.get());
    options.steps = steps;
    const noprop_device_counters before = counters();
    ASSERT_OK(noprop_sample(model.get(), &options, &condition, 70, nullptr, output.data()));
    EXPECT_EQ(counters().launches - before.launches, 1u);
  }
}

TEST(Sampler, ChoosesMethodsAsDocumented) {
  const Data data = make_data(8, 3, 2, false);
  const Model ct = make_model(kRegress, data), fm = make_model(with(kRegress, {{"variant", "fm"}}), data);
  ASSERT_TRUE(ct && fm);
  noprop_sampler_options options = noprop_sampler_options_default(ct.get());
  EXPECT_EQ(
      describe(ct.get(), options),
      "dpm2m on a gamma grid, 20 steps, 21 network calls per row with final denoise, drift ode, z(0) zero, averaged "
      "parameters");
  options = noprop_sampler_options_default(fm.get());
  EXPECT_EQ(describe(fm.get(), options),
            "midpoint on a t grid, 20 steps, 40 network calls per row, drift ode, z(0) zero, "
            "averaged parameters");
  options.calls = 9;
  EXPECT_NE(describe(fm.get(), options).find("euler on a t grid, 9 steps, 9 network calls"), std::string::npos);
}

TEST(Sampler, KeepsWithinTheCallsAllowed) {
  const Data data = make_data(8, 3, 2, false);
  const Model model = make_model(kRegress, data);
  ASSERT_TRUE(model);
  noprop_sampler_options options = noprop_sampler_options_default(model.get());
  options.calls = 12;
  const struct {
    const char *method;
    int denoise;
    const char *found;
  } cases[] = {{"euler", 0, "12 steps, 12 network calls"},
               {"euler", 1, "11 steps, 12 network calls"},
               {"midpoint", 1, "5 steps, 11 network calls"},
               {"heun", 0, "6 steps, 12 network calls"},
               {"rk4", 0, "3 steps, 12 network calls"},
               {"rk4", 1, "2 steps, 9 network calls"},
               {"dpm2m", 1, "11 steps, 12 network calls"},
               {"bosh3", 1, "at most 3 steps and 12 network calls"},
               {"dopri5", 0, "at most 1 steps and 8 network calls"}};
  for (const auto &c : cases) {
    set(options.method, sizeof options.method, c.method);
    options.final_denoise = c.denoise;
    EXPECT_NE(describe(model.get(), options).find(c.found), std::string::npos)
        << c.method << ": " << describe(model.get(), options);
  }
}

TEST(Sampler, TrajectoriesBeginAtTheStartAndEndAtTheResult) {
  const Data data = make_data(40, 3, 2, false);
  const Model model = make_model(with(kRegress, {{"task", "generate"}}), data);
  ASSERT_TRUE(model);
  const std::vector<float> mean = {3.0f, -2.0f}, std = {2.0f, 0.5f};
  ASSERT_OK(noprop_model_set_statistics(model.get(), nullptr, nullptr, mean.data(), std.data()));
  const noprop_array condition = data.condition_array();
  noprop_sampler_options options = noprop_sampler_options_default(model.get());
  options.steps = 6;
  options.seed = 5;
  std::vector<float> end(80), output(80), path(7 * 80), decoded(7 * 80);
  ASSERT_OK(noprop_sample(model.get(), &options, &condition, 40, end.data(), output.data()));
  options.trajectory = true;
  ASSERT_OK(noprop_sample(model.get(), &options, &condition, 40, path.data(), decoded.data()));
  EXPECT_EQ(end, std::vector<float>(path.end() - 80, path.end()));
  EXPECT_EQ(output, std::vector<float>(decoded.end() - 80, decoded.end()));
  for (size_t i = 0; i < decoded.size(); ++i)
    ASSERT_NEAR(decoded[i], path[i] * std[i % 2] + mean[i % 2], 0x1p-22 * (1.0 + std::fabs(decoded[i])));
  /* The drawn start, given back, leads to the same end; another seed to another. */
  set(options.init, sizeof options.init, "given");
  options.trajectory = false;
  options.start = path.data();
  std::vector<float> again(80);
  ASSERT_OK(noprop_sample(model.get(), &options, &condition, 40, again.data(), nullptr));
  EXPECT_EQ(again, end);
  ASSERT_OK(noprop_integrate(model.get(), &options, &condition, 40, path.data(), again.data()));
  EXPECT_EQ(again, end);
  set(options.init, sizeof options.init, "normal");
  options.seed = 6;
  ASSERT_OK(noprop_sample(model.get(), &options, &condition, 40, again.data(), nullptr));
  EXPECT_NE(again, end);
}

TEST(Sampler, RowsDoNotDependOnTheirNeighbours) {
  const Data data = make_data(70, 3, 2, false);
  const Model model = make_model(with(kRegress, {{"variant", "fm"}}), data);
  ASSERT_TRUE(model);
  noprop_array condition = data.condition_array();
  const noprop_sampler_options options = noprop_sampler_options_default(model.get());
  std::vector<float> all(140), some(2 * 33);
  ASSERT_OK(noprop_sample(model.get(), &options, &condition, 70, nullptr, all.data()));
  condition.rows = 33;
  ASSERT_OK(noprop_sample(model.get(), &options, &condition, 33, nullptr, some.data()));
  EXPECT_EQ(some, std::vector<float>(all.begin(), all.begin() + 66));
}

TEST(Sampler, TakesTheCallersTimes) {
  const Data data = make_data(20, 3, 2, false);
  const Model model = make_model(with(kRegress, {{"variant", "fm"}}), data);
  ASSERT_TRUE(model);
  const noprop_array condition = data.condition_array();
  noprop_sampler_options options = noprop_sampler_options_default(model.get());
  options.steps = 4;
  std::vector<float> uniform(40), given(40);
  ASSERT_OK(noprop_sample(model.get(), &options, &condition, 20, nullptr, uniform.data()));
  const double times[] = {0.0, 0.25, 0.5, 0.75, 1.0};
  set(options.grid, sizeof options.grid, "user");
  options.times = times;
  ASSERT_OK(noprop_sample(model.get(), &options, &condition, 20, nullptr, given.data()));
  EXPECT_EQ(uniform, given);
}

TEST(Sampler, UsesAveragedParametersUnlessToldOtherwise) {
  const Data data = make_data(64, 3, 2, false);
  const Model model = make_model(kRegress, data);
  ASSERT_TRUE(model);
  bind(model.get(), data, 32);
  ASSERT_OK(noprop_model_train_step(model.get(), 20));
  const noprop_array condition = data.condition_array();
  noprop_sampler_options options = noprop_sampler_options_default(model.get());
  std::vector<float> averaged(128), latest(128), want(128);
  ASSERT_OK(noprop_sample(model.get(), &options, &condition, 64, nullptr, averaged.data()));
  options.ema = false;
  ASSERT_OK(noprop_sample(model.get(), &options, &condition, 64, nullptr, latest.data()));
  EXPECT_NE(averaged, latest);
  const std::vector<float> average = parameters(model.get(), true);
  ASSERT_OK(noprop_model_set_parameters(model.get(), average.data()));
  ASSERT_OK(noprop_sample(model.get(), &options, &condition, 64, nullptr, want.data()));
  EXPECT_EQ(averaged, want);
}

/* One launch; every row has steps of its own, whatever its neighbours; calls stay below the bound; a trajectory ends at
 * the end point. */
TEST(Sampler, AdaptiveRowsGoTheirOwnWayInOneLaunch) {
  const Data data = make_data(70, 3, 2, false);
  const Model model = make_model(with(kRegress, {{"variant", "fm"}}), data);
  ASSERT_TRUE(model);
  noprop_array condition = data.condition_array();
  noprop_sampler_options options = noprop_sampler_options_default(model.get());
  set(options.method, sizeof options.method, "dopri5");
  set(options.init, sizeof options.init, "normal");
  options.steps = 4;                        /* points of the trajectory */
  options.rtol = 1e-6, options.atol = 1e-7; /* cubic interpolation then errs less than is asked below */
  std::vector<float> all(140), some(2 * 33), path(5 * 140);
  std::vector<noprop_solve_row> rows(70), few(33);
  noprop_solve_results results = {all.data(), nullptr, nullptr, rows.data()};
  const noprop_device_counters before = counters();
  ASSERT_OK(noprop_solve(model.get(), &options, &condition, 70, &results));
  EXPECT_EQ(counters().launches - before.launches, 1u);
  for (const auto &row : rows) {
    EXPECT_EQ(row.outcome, NOPROP_SOLVE_DONE);
    EXPECT_EQ(row.reached, 1);
    EXPECT_EQ(row.calls, 2 + 6 * (row.steps + row.rejections));
  }
  options.trajectory = true;
  ASSERT_OK(noprop_sample(model.get(), &options, &condition, 70, path.data(), nullptr));
  EXPECT_EQ(all, std::vector<float>(path.end() - 140, path.end()));
  /* The points inside: as a solve with many fixed steps has them. */
  std::vector<float> fine(41 * 140);
  noprop_sampler_options fixed = options;
  set(fixed.method, sizeof fixed.method, "rk4");
  fixed.steps = 40;
  ASSERT_OK(noprop_sample(model.get(), &fixed, &condition, 70, fine.data(), nullptr));
  for (size_t slice = 0; slice < 5; ++slice)
    for (size_t i = 0; i < 140; ++i) EXPECT_NEAR(path[slice * 140 + i], fine[slice * 10 * 140 + i], 2e-3) << slice;
  options.trajectory = false;
  condition.rows = 33;
  results = {some.data(), nullptr, nullptr, few.data()};
  ASSERT_OK(noprop_solve(model.get(), &options, &condition, 33, &results));
  EXPECT_EQ(some, std::vector<float>(all.begin(), all.begin() + 66));
  /* What the bound leaves undone is said, and where it stopped. */
  condition.rows = 70;
  options.rtol = 1e-7, options.atol = 1e-8, options.calls = 14;
  results = {all.data(), nullptr, nullptr, rows.data()};
  ASSERT_OK(noprop_solve(model.get(), &options, &condition, 70, &results));
  for (const auto &row : rows) {
    EXPECT_EQ(row.outcome, NOPROP_SOLVE_STEP_CAP);
    EXPECT_EQ(row.calls, 14);
    EXPECT_LT(row.reached, 1);
  }
  EXPECT_STREQ(noprop_solve_outcome_name(rows[0].outcome), "step_cap");
}

TEST(Sampler, RefusesWhatItCannotDoWithASentence) {
  const Data data = make_data(8, 3, 2, false);
  const Model ct = make_model(kRegress, data), fm = make_model(with(kRegress, {{"variant", "fm"}}), data);
  ASSERT_TRUE(ct && fm);
  const noprop_array condition = data.condition_array();
  std::vector<float> output(16);
  static const double backwards[] = {0.0, 0.6, 0.5, 1.0};
  const struct {
    const char *method, *grid, *init, *drift;
    int steps, calls, denoise;
    bool linear;
    const char *sentence;
  } cases[] = {
      {"leapfrog", "auto", "auto", "ode", 4, 0, -1, false, "method is \"leapfrog\"; allowed are auto, euler"},
      {"auto", "log", "auto", "ode", 4, 0, -1, false, "grid is \"log\"; allowed are auto, t, gamma, user"},
      {"auto", "auto", "warm", "ode", 4, 0, -1, false, "init is \"warm\"; allowed are auto, zero"},
      {"auto", "auto", "auto", "levy", 4, 0, -1, false, "drift is \"levy\"; allowed are ode, ou_mean, sde"},
      {"auto", "auto", "auto", "ode", 0, 0, -1, false, "steps is 0; at least 1"},
      {"auto", "auto", "auto", "ode", 4, -1, -1, false, "calls is -1"},
      {"rk4", "auto", "auto", "ode", 4, 3, 0, false, "calls is 3; method rk4 needs at least 4"},
      {"auto", "auto", "auto", "ode", 4, 0, 2, false, "final_denoise is 2"},
      {"dpm2m", "auto", "auto", "ou_mean", 4, 0, -1, false, "method is \"dpm2m\", which solves drift \"ode\""},
      {"auto", "auto", "auto", "ou_mean", 4, 0, -1, true, "drift is \"ou_mean\", which exists on the VP path only"},
      {"auto", "user", "auto", "ode", 3, 0, -1, false,
       "times: entry 2 is 0.5; times must start at 0, increase and end at 1"},
      {"auto", "auto", "given", "ode", 4, 0, -1, false, "init is \"given\", but start is NULL"},
      {"euler_maruyama", "auto", "auto", "ode", 4, 0, -1, false,
       "which solves drift \"sde\"; drift \"ode\" takes euler"},
      {"dopri5", "auto", "auto", "sde", 4, 0, -1, false, "which has no noise; drift \"sde\" takes euler_maruyama"},
      {"adaptive_compat", "gamma", "auto", "ode", 4, 0, -1, false, "grid is \"gamma\", and the steps of method"},
      {"adaptive_compat", "auto", "auto", "ode", 4, 4, 0, false, "calls is 4; method adaptive_compat needs at least 5"},
      {"dopri5", "auto", "auto", "ode", 4, 8, -1, false, "needs at least 9 (6 a step, 2 before the first, 1 for final"},
  };
  for (const auto &c : cases) {
    noprop_sampler_options options = noprop_sampler_options_default(ct.get());
    set(options.method, sizeof options.method, c.method);
    set(options.grid, sizeof options.grid, c.grid);
    set(options.init, sizeof options.init, c.init);
    set(options.drift, sizeof options.drift, c.drift);
    options.steps = c.steps;
    options.calls = c.calls;
    options.final_denoise = c.denoise;
    options.times = backwards;
    noprop_model *model = c.linear ? fm.get() : ct.get();
    EXPECT_EQ(noprop_sample(model, &options, &condition, 8, nullptr, output.data()), NOPROP_INVALID_ARGUMENT)
        << c.sentence;
    EXPECT_NE(std::string(noprop_last_error()).find(c.sentence), std::string::npos) << noprop_last_error();
  }
  /* Numbers, guidance and densities. */
  const auto refused = [&](void (*change)(noprop_sampler_options *), bool density, const std::string &sentence) {
    noprop_sampler_options options = noprop_sampler_options_default(ct.get());
    std::vector<double> log_density(8);
    change(&options);
    const noprop_solve_results results = {nullptr, output.data(), density ? log_density.data() : nullptr, nullptr};
    EXPECT_EQ(noprop_solve(ct.get(), &options, &condition, 8, &results), NOPROP_INVALID_ARGUMENT) << sentence;
    EXPECT_NE(std::string(noprop_last_error()).find(sentence), std::string::npos) << noprop_last_error();
  };
  refused([](noprop_sampler_options *o) { o->churn = 1.5; }, false, "churn is 1.5; allowed is 0 to 1");
  refused([](noprop_sampler_options *o) { o->churn = 0.5; }, false, "churn is 0.5, but drift \"ode\" has no noise");
  refused([](noprop_sampler_options *o) { o->rtol = 0; }, false, "rtol is 0; allowed is 1e-7 to 1");
  refused([](noprop_sampler_options *o) { o->max_steps = 0; }, false, "max_steps is 0");
  refused([](noprop_sampler_options *o) { o->guidance = 2; }, false, "was trained with loss.condition_dropout 0");
  refused([](noprop_sampler_options *o) { snprintf(o->drift, sizeof o->drift, "ou_mean"); }, true,
          "log densities follow drift \"ode\" alone");
  refused([](noprop_sampler_options *o) { snprintf(o->method, sizeof o->method, "dpm2m"); }, true,
          "log densities take euler, midpoint, heun, rk4, bosh3, dopri5");

  noprop_sampler_options options = noprop_sampler_options_default(ct.get());
  EXPECT_EQ(noprop_sample(ct.get(), &options, nullptr, 8, nullptr, output.data()), NOPROP_INVALID_ARGUMENT);
  EXPECT_NE(std::string(noprop_last_error()).find("the condition is missing"), std::string::npos)
      << noprop_last_error();
  EXPECT_EQ(noprop_sample(ct.get(), &options, &condition, 9, nullptr, output.data()), NOPROP_INVALID_ARGUMENT);
  EXPECT_NE(std::string(noprop_last_error()).find("has 8 rows; 9 are needed"), std::string::npos)
      << noprop_last_error();
  EXPECT_EQ(noprop_sample(ct.get(), &options, &condition, 8, nullptr, nullptr), NOPROP_INVALID_ARGUMENT);
}
