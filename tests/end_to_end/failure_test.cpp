// What goes wrong outside the mathematics: full disks, folders that cannot be written, losses that are not finite.
// In every case a sentence, exit code 1, and nothing lost that was there before.
#include <sys/stat.h>
#include <unistd.h>

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

TEST(Failure, LinksAndDevicesStayWhatTheyAre) {
  SmallWork work;
  ASSERT_EQ(work.train("run", {"train.epochs=1"}).code, 0);
  write_file(work.scratch / "p.h5", "old");
  ASSERT_EQ(symlink("p.h5", (work.scratch / "link.h5").c_str()), 0);
  ASSERT_EQ(work.run({"predict", "run", "-o", "link.h5"}).code, 0);
  struct stat status;
  ASSERT_EQ(lstat((work.scratch / "link.h5").c_str(), &status), 0);
  EXPECT_TRUE(S_ISLNK(status.st_mode));
  EXPECT_EQ(work.run({"inspect", "p.h5"}).code, 0) << "the link's file was not written";
  const Outcome full = work.run({"predict", "run", "-o", "/dev/full"});
  EXPECT_EQ(full.code, 1);
  EXPECT_NE(full.err.find("/dev/full could not be written: No space left on device"), std::string::npos) << full.err;
  ASSERT_EQ(lstat("/dev/full", &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
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

// A table whose last column is the sum of the others, times `scale`: 1e25 squared is beyond float32.
void write_table(const SmallWork &work, double scale) {
  std::string table = "a,b,y\n";
  for (int row = 0; row < 500; row++) {
    const double a = 0.01 * (row % 17), b = 0.01 * (row % 23);
    table += std::to_string(a) + "," + std::to_string(b) + "," + std::to_string((a + b) * scale) + "\n";
  }
  write_file(work.scratch / "table.csv", table);
  ASSERT_EQ(work.run({"data", "csv", "table.h5", "--from", "table.csv", "--target", "y"}).code, 0);
}

TEST(Failure, ALossThatIsNotFiniteSaysWhereAndWhatToTryAndKeepsTheCheckpoint) {
  SmallWork work;
  const std::vector<std::string> keys = {"task=regress", "data.file=table.h5", "data.standardise=false",
                                         "train.epochs=4"};
  write_table(work, 1);
  auto arguments = keys;
  arguments.back() = "train.epochs=2";
  const Outcome good = work.train("run", arguments);
  ASSERT_EQ(good.code, 0) << good.err;
  const std::string model = read_file(work.scratch / "run/model.h5"),
                    history = read_file(work.scratch / "run/history.csv");

  write_table(work, 1e25);
  arguments = keys;
  arguments.push_back("--resume");
  const Outcome bad = work.train("run", arguments);
  EXPECT_EQ(bad.code, 1) << bad.err;
  // 400 rows in batches of 50: the third epoch begins with step 16.
  for (const char *word : {"step 16 (epoch 3)", "flow", "became infinite or not a number", "optimizer.learning_rate",
                           "optimizer.clip", "the last checkpoint in run is kept"})
    EXPECT_NE(bad.err.find(word), std::string::npos) << "\"" << word << "\" is not in: " << bad.err;
  EXPECT_TRUE(read_file(work.scratch / "run/model.h5") == model);
  EXPECT_EQ(read_file(work.scratch / "run/history.csv"), history);
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
