// What goes wrong outside the mathematics: full disks, folders that cannot be written, losses that are not finite.
// In every case a sentence, exit code 1, and nothing lost that was there before.
#include <sys/stat.h>

#include <filesystem>

#include "small.h"

namespace {

// Nothing but whole files: no temporary ones are left behind.
void expect_no_temporary_files(const std::string &folder) {
  for (const auto &entry : std::filesystem::directory_iterator(folder))
    EXPECT_EQ(entry.path().filename().string().find(".tmp"), std::string::npos) << entry.path();
}

TEST(Failure, AFullDiskKeepsTheLastCheckpointAndTheRunGoesOnLater) {
  SmallWork work;
  ASSERT_EQ(work.train("unbroken").code, 0);
  ASSERT_EQ(work.train("run", {"train.epochs=4"}).code, 0);
  const std::string model = read_file(work.scratch / "run/model.h5"), best = read_file(work.scratch / "run/best.h5");
  Circumstances full;
  full.largest_file = model.size() / 2;
  const Outcome outcome = work.train("run", {"--resume"}, full);
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_NE(outcome.err.find("File too large"), std::string::npos) << outcome.err;
  EXPECT_TRUE(read_file(work.scratch / "run/model.h5") == model);
  EXPECT_TRUE(read_file(work.scratch / "run/best.h5") == best);
  expect_no_temporary_files(work.scratch / "run");
  // With space again the run ends as if nothing had happened.
  ASSERT_EQ(work.train("run", {"--resume"}).code, 0);
  EXPECT_TRUE(work.same("unbroken", "run", "model.h5"));
  EXPECT_TRUE(work.same("unbroken", "run", "history.csv"));
}

TEST(Failure, AFullDiskLeavesPredictionsAndDataAsTheyWere) {
  SmallWork work;
  ASSERT_EQ(work.train("run", {"train.epochs=1"}).code, 0);
  ASSERT_EQ(work.run({"predict", "run", "-o", "p.h5"}).code, 0);
  const std::string before = read_file(work.scratch / "p.h5");
  Circumstances full;
  full.folder = work.scratch.path;
  full.largest_file = before.size() / 2;
  for (const auto &arguments : std::vector<std::vector<std::string>>{{"predict", "run", "-o", "p.h5"},
                                                                     {"data", "two-moons", "p.h5", "--rows", "5000"}}) {
    const Outcome outcome = noprop(arguments, full);
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_NE(outcome.err.find("p.h5"), std::string::npos) << outcome.err;
    EXPECT_TRUE(read_file(work.scratch / "p.h5") == before);
  }
  expect_no_temporary_files(work.scratch.path);
}

TEST(Failure, ARunFolderThatCannotBeMadeIsSaidBeforeAnyTraining) {
  SmallWork work;
  write_file(work.scratch / "file", "not a folder");
  const Outcome beneath = work.train("file/run");
  EXPECT_EQ(beneath.code, 1);
  EXPECT_NE(beneath.err.find("file/run"), std::string::npos) << beneath.err;
  EXPECT_EQ(beneath.err.find("epoch "), std::string::npos) << beneath.err;
  const Outcome instead = work.train("file");
  EXPECT_EQ(instead.code, 1);
  EXPECT_NE(instead.err.find("not a folder"), std::string::npos) << instead.err;
  EXPECT_EQ(read_file(work.scratch / "file"), "not a folder");
}

TEST(Failure, ALossThatIsNotFiniteSaysWhereAndWhatToTryAndKeepsTheCheckpoint) {
  SmallWork work;
  const std::vector<std::string> wild = {"optimizer.type=sgd", "optimizer.clip=0", "train.epochs=3"};
  auto arguments = wild;
  arguments.push_back("optimizer.learning_rate=1.0e30");
  const Outcome outcome = work.train("wild", arguments);
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  for (const char *word : {"step ", "became infinite or not a number", "optimizer.learning_rate", "optimizer.clip"})
    EXPECT_NE(outcome.err.find(word), std::string::npos) << outcome.err;
  EXPECT_FALSE(exists(work.scratch / "wild/metrics.json"));
  // What was drawn up to the failure is finite.
  const std::string history = read_file(work.scratch / "wild/history.csv");
  EXPECT_EQ(history.find("nan"), std::string::npos);
  EXPECT_EQ(history.find("inf"), std::string::npos);
}

TEST(Failure, DataThatDoNotFitTheTaskAreRefusedBeforeTheRunFolderIsMade) {
  SmallWork work;
  const Outcome outcome = work.run({"train", "small.yaml", "data.target=z"});
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_NE(outcome.err.find("z"), std::string::npos);
  EXPECT_FALSE(exists(work.scratch / "runs/small-ct-001")) << "an empty run folder was left behind";
}

TEST(Failure, WithoutGnuplotOnlyThePicturesAreMissing) {
  SmallWork work;
  Circumstances bare;
  bare.environment["PATH"] = "/nonexistent";
  const Outcome outcome = work.train("run", {"train.epochs=1"}, bare);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("gnuplot is not installed"), std::string::npos) << outcome.err;
  EXPECT_FALSE(exists(work.scratch / "run/loss.png"));
  for (const char *name : {"run/loss.gp", "run/predictions.csv", "run/metrics.json"})
    EXPECT_TRUE(exists(work.scratch / name));
}

}  // namespace
