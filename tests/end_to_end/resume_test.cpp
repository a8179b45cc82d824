// A training that is killed or stopped at any moment and resumed ends with the bits of one that never stopped.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include "small.h"

namespace {

constexpr const char *LONG[] = {"train.epochs=60", "network.dropout=0.1"};

// Epochs that a run's history shows so far.
long epochs_written(const std::string &run) {
  std::ifstream file(run + "/history.csv");
  return std::count(std::istreambuf_iterator<char>(file), {}, '\n') - 1;
}

TEST(Resume, AfterKillsAtRandomMomentsGivesTheBitsOfAnUnbrokenRun) {
  SmallWork work;
  const Outcome unbroken = work.train("unbroken", {LONG[0], LONG[1]});
  ASSERT_EQ(unbroken.code, 0) << unbroken.err;

  // Each kill comes once the history has grown by a few epochs, and then a random moment later: in the middle of a
  // step, of a checkpoint, of a row of the history.
  std::mt19937 random(1);
  int kills = 0;
  Outcome last;
  for (long epoch = 3; epoch < 60; epoch += 12) {
    const auto pause = std::chrono::microseconds(std::uniform_int_distribution<int>(0, 20000)(random));
    Circumstances killed;
    killed.signal = SIGKILL;
    killed.signal_when = [&] {
      if (epochs_written(work.scratch / "broken") < epoch) return false;
      std::this_thread::sleep_for(pause);
      return true;
    };
    last = work.train("broken", {"--resume", LONG[0], LONG[1]}, killed);
    kills += last.code == -SIGKILL;
    if (last.code == 0) break;
    ASSERT_EQ(last.code, -SIGKILL) << last.err;
  }
  EXPECT_GE(kills, 3) << "attempts ended before their kill";
  last = work.train("broken", {"--resume", LONG[0], LONG[1]});
  ASSERT_EQ(last.code, 0) << last.err;
  for (const char *name : {"model.h5", "best.h5", "history.csv", "metrics.json", "config.yaml", "predictions.csv"})
    EXPECT_TRUE(work.same("unbroken", "broken", name)) << name << " after " << kills << " kills";
}

TEST(Resume, AfterKillWhileACheckpointIsWrittenFindsAWholeOne) {
  SmallWork work;
  Circumstances killed;
  killed.signal = SIGKILL;
  killed.signal_when = [&] { return exists(work.scratch / "run/model.h5"); };
  const Outcome stopped = work.train("run", {LONG[0]}, killed);
  ASSERT_EQ(stopped.code, -SIGKILL);
  const Outcome inspected = work.run({"inspect", "run/model.h5"});
  EXPECT_EQ(inspected.code, 0) << inspected.err;
  EXPECT_EQ(work.train("run", {LONG[0], "--resume"}).code, 0);
}

TEST(Resume, AfterCtrlCAndTerminationGivesTheBitsOfAnUnbrokenRun) {
  SmallWork work;
  const Outcome unbroken = work.train("unbroken", {LONG[0]});
  ASSERT_EQ(unbroken.code, 0) << unbroken.err;
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string run = signal == SIGINT ? "interrupted" : "terminated";
    Circumstances stopped;
    stopped.signal = signal;
    stopped.signal_when = [&] { return exists(work.scratch / (run + "/model.h5")); };
    const Outcome first = work.train(run, {LONG[0]}, stopped);
    ASSERT_EQ(first.code, 1) << first.err;
    EXPECT_NE(first.err.find("noprop train --resume --run " + run), std::string::npos) << first.err;
    // The way on that was told needs no more than it says.
    const Outcome second = work.run({"train", "--resume", "--run", run});
    ASSERT_EQ(second.code, 0) << second.err;
    for (const char *name : {"model.h5", "history.csv", "metrics.json"})
      EXPECT_TRUE(work.same("unbroken", run, name)) << name;
  }
}

// The schedule's numbers, their moments and the record of what they have been.
TEST(Resume, GoesOnWithALearnableSchedule) {
  SmallWork work;
  const std::vector<std::string> learnable = {"variant=ct",       "schedule.learnable=true", "schedule.s=0.1",
                                              "loss.weight=elbo", "optimizer.ema=0.9",       "train.validate_every=1"};
  const auto with = [&](const char *steps) {
    std::vector<std::string> all = learnable;
    all.push_back(steps);
    return all;
  };
  const Outcome unbroken = work.train("unbroken", with("train.steps=40"));
  ASSERT_EQ(unbroken.code, 0) << unbroken.err;
  ASSERT_EQ(work.train("broken", with("train.steps=20")).code, 0);
  const Outcome resumed = work.run({"train", "--resume", "--run", "broken", "train.steps=40"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  for (const char *name : {"model.h5", "history.csv", "metrics.json"})
    EXPECT_TRUE(work.same("unbroken", "broken", name)) << name;
  const std::string record = read_file(work.scratch / "unbroken/learned_schedules.csv");
  const auto block = [&](const char *epoch) {
    return record.substr(record.find(std::string("\n") + epoch + ",0.5,"), 40);
  };
  EXPECT_NE(block("0").substr(3), block("2").substr(3)) << "the schedule has moved";
}

// One step of this training takes far longer than the test: rows, network and draws are large.
TEST(Resume, ASecondCtrlCDoesNotWaitForTheStep) {
  SmallWork work;
  ASSERT_EQ(work.run({"--quiet", "data", "two-moons", "many.h5", "--rows", "60000"}).code, 0);
  const std::vector<std::string> large = {"data.file=many.h5", "network.hidden=[256,256,256,256]", "train.batch=40000",
                                          "loss.draws=8"};
  Circumstances stopped;
  stopped.signal = SIGINT;
  stopped.signals = 2;
  using clock = std::chrono::steady_clock;
  clock::time_point seen = clock::time_point::max();
  stopped.signal_when = [&] { /* a second after the log says that the first step begins */
                              const std::string log = work.scratch / "large/log.txt";
                              if (seen == clock::time_point::max() && exists(log) &&
                                  read_file(log).find("steps in all") != std::string::npos)
                                seen = clock::now();
                              return seen != clock::time_point::max() && clock::now() - seen > std::chrono::seconds(1);
  };
  const Outcome outcome = work.train("large", large, stopped);
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_NE(outcome.err.find("stopped on request"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("no checkpoint: none had been written yet"), std::string::npos) << outcome.err;
  EXPECT_LT(clock::now() - seen, std::chrono::seconds(15)) << "waited for the step";
}

TEST(Resume, CanMakeTheTrainingLonger) {
  SmallWork work;
  ASSERT_EQ(work.train("long", {"train.steps=70", "train.validate_every=100"}).code, 0);
  // 45 steps end in the middle of the third epoch; its row of the history comes out whole after all.
  ASSERT_EQ(work.train("grown", {"train.steps=45", "train.validate_every=100"}).code, 0);
  const Outcome grown = work.run({"train", "--resume", "--run", "grown", "train.steps=70"});
  ASSERT_EQ(grown.code, 0) << grown.err;
  EXPECT_TRUE(work.same("long", "grown", "model.h5"));
  EXPECT_TRUE(work.same("long", "grown", "history.csv"));
  EXPECT_TRUE(work.same("long", "grown", "config.yaml"));
}

TEST(Resume, WithoutACheckpointStartsFromTheBeginningAndSaysSo) {
  SmallWork work;
  const Outcome outcome = work.train("fresh", {"--resume", "train.epochs=1"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("no checkpoint in fresh yet: starting from the beginning"), std::string::npos)
      << outcome.err;
}

TEST(Resume, RefusesWhatContradictsTheRun) {
  SmallWork work;
  ASSERT_EQ(work.train("run", {"train.epochs=1"}).code, 0);
  const std::string before = read_file(work.scratch / "run/model.h5");
  const Outcome outcome = work.train("run", {"--resume", "train.epochs=1", "optimizer.learning_rate=0.5"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("optimizer.learning_rate is"), std::string::npos) << outcome.err;
  EXPECT_TRUE(read_file(work.scratch / "run/model.h5") == before);

  // Other data under the same name is noticed by its number of rows.
  ASSERT_EQ(work.run({"data", "two-moons", "moons.h5", "--rows", "900"}).code, 0);
  const Outcome other = work.train("run", {"--resume", "train.epochs=2"});
  EXPECT_EQ(other.code, 1);
  EXPECT_NE(other.err.find("was trained on 1000 rows, and there are 900 now"), std::string::npos) << other.err;
}

TEST(Resume, IsAskedForWhereAFolderHoldsARun) {
  SmallWork work;
  ASSERT_EQ(work.train("run", {"train.epochs=1"}).code, 0);
  const std::string before = read_file(work.scratch / "run/model.h5");
  const Outcome outcome = work.train("run", {"train.epochs=1"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("holds a run already"), std::string::npos) << outcome.err;
  EXPECT_TRUE(read_file(work.scratch / "run/model.h5") == before);
}

}  // namespace
