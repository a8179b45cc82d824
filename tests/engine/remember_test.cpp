/* Promises of engine/remember.h: the first choice holds, whatever happens to the folder and whoever asks. */
#include <sys/stat.h>

#include <fstream>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/engine/support.h"

extern "C" {
#include "engine/remember.h"
}

namespace {

namespace fs = std::filesystem;

constexpr char kText[] = "product, form 1\nsome GPU\n256 x 512 x 512";

class Remember : public ::testing::Test {
 protected:
  void SetUp() override { setenv("NOPROP_CACHE", folder.path().c_str(), 1); }
  void TearDown() override { unsetenv("NOPROP_CACHE"); }

  /* What holds after `choice` was proposed. */
  static int settle(int choice, const char *text = kText) {
    char reason[200] = "";
    EXPECT_TRUE(remember_settle(text, &choice, reason, sizeof reason)) << reason;
    return choice;
  }
  static int found(const char *text = kText) {
    int choice = -1;
    return remember_find(text, &choice) ? choice : -1;
  }
  std::vector<fs::path> entries() const {
    std::vector<fs::path> paths;
    for (const auto &entry : fs::directory_iterator(folder.path()))
      if (entry.path().filename() != "choices.lock") paths.push_back(entry.path());
    return paths;
  }
  TemporaryFolder folder;
};

std::string read(const fs::path &path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

void write(const fs::path &path, const std::string &text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

TEST_F(Remember, TheFirstChoiceHolds) {
  EXPECT_EQ(found(), -1);
  EXPECT_EQ(settle(1), 1);
  EXPECT_EQ(found(), 1);
  EXPECT_EQ(settle(0), 1);
  EXPECT_EQ(found(), 1);
  EXPECT_EQ(entries().size(), 1u);
}

TEST_F(Remember, ChoicesBelongToTheirText) {
  EXPECT_EQ(settle(1), 1);
  EXPECT_EQ(settle(0, "another GPU"), 0);
  EXPECT_EQ(found(), 1);
  EXPECT_EQ(found("another GPU"), 0);
  EXPECT_EQ(found("product, form 1\nsome GPU\n256 x 512 x 51"), -1) << "a text that another begins with";
  EXPECT_NE(read(entries().at(0)).find("GPU"), std::string::npos) << "an entry can be read";
}

TEST_F(Remember, WhatIsDamagedCountsAsNone) {
  settle(1);
  const fs::path path = entries().at(0);
  const std::string stored = read(path);
  settle(0, "another GPU");
  std::vector<std::string> damaged = {"", "x", stored.substr(0, stored.size() / 2), stored.substr(0, stored.size() - 1),
                                      stored + "x"};
  for (const size_t at : {size_t{0}, size_t{9}, size_t{20}, stored.size() / 2, stored.size() - 2}) {
    damaged.push_back(stored);
    damaged.back()[at] = static_cast<char>(damaged.back()[at] ^ 1);
  }
  for (const fs::path &other : entries())
    if (other != path) damaged.push_back(read(other)); /* whole, but of another text */
  ASSERT_EQ(damaged.size(), 11u);
  for (const std::string &text : damaged) {
    write(path, text);
    EXPECT_EQ(found(), -1) << text.size();
    EXPECT_EQ(settle(1), 1);
    EXPECT_EQ(read(path), stored) << "the entry is whole again";
  }
  EXPECT_EQ(entries().size(), 2u) << "no temporary file is left";
}

TEST_F(Remember, WithoutAFolderThereIsAReason) {
  const std::string file = folder.path() + "/file"; /* where nobody can write, not even root */
  write(file, "");
  setenv("NOPROP_CACHE", (file + "/below").c_str(), 1);
  int choice = 1;
  char reason[200] = "";
  EXPECT_FALSE(remember_settle(kText, &choice, reason, sizeof reason));
  EXPECT_EQ(reason, file + "/below: cannot be written to");
  EXPECT_EQ(found(), -1);
  setenv("NOPROP_CACHE", folder.path().c_str(), 1);
  fs::create_directory(folder.path() + "/choices.lock");
  EXPECT_FALSE(remember_settle(kText, &choice, reason, sizeof reason));
  EXPECT_EQ(reason, folder.path() + "/choices.lock: Is a directory");
}

TEST_F(Remember, AFolderThatCanOnlyBeReadIsEnoughToFindAChoice) {
  settle(1);
  if (geteuid() == 0) GTEST_SKIP() << "root writes everywhere";
  chmod(folder.path().c_str(), 0500);
  EXPECT_EQ(found(), 1);
}

/* What several held at once, of whom each had proposed a choice of its own. */
void expect_agreement(const std::vector<int> &held, int remembered) {
  EXPECT_EQ(std::set<int>(held.begin(), held.end()).size(), 1u) << "they disagree";
  EXPECT_EQ(held.at(0), remembered);
}

/* In every second round all of them find an entry that is damaged. */
TEST_F(Remember, ProcessesAtOnceAgree) {
  enum { kProcesses = 4, kRounds = 50 };
  for (int round = 0; round < kRounds; ++round) {
    const std::string text = kText + std::to_string(round / 2);
    if (round % 2) write(entries().at(0), "damaged");
    int start[2], answer[2];
    ASSERT_EQ(pipe(start), 0);
    ASSERT_EQ(pipe(answer), 0);
    std::vector<pid_t> children;
    for (int i = 0; i < kProcesses; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        char reason[200], go;
        int choice = i;
        close(start[1]);
        (void)!::read(start[0], &go, 1); /* until the parent closes its end */
        const bool settled = remember_settle(text.c_str(), &choice, reason, sizeof reason);
        _exit(settled && ::write(answer[1], &choice, sizeof choice) == sizeof choice ? 0 : 1);
      }
      children.push_back(child);
    }
    close(start[0]);
    close(start[1]);
    for (const pid_t child : children) {
      int status = 0;
      waitpid(child, &status, 0);
      EXPECT_EQ(status, 0);
    }
    std::vector<int> held(kProcesses, -1);
    EXPECT_EQ(::read(answer[0], held.data(), sizeof(int) * kProcesses), static_cast<ssize_t>(sizeof(int) * kProcesses));
    close(answer[0]);
    close(answer[1]);
    expect_agreement(held, found(text.c_str()));
    if (round % 2) fs::remove(entries().at(0));
  }
}

TEST_F(Remember, ThreadsAtOnceAgree) {
  for (int round = 0; round < 50; ++round) {
    const std::string text = kText + std::to_string(round);
    std::vector<int> held(4, -1);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&, i] { held[i] = settle(i, text.c_str()); });
    for (std::thread &thread : threads) thread.join();
    expect_agreement(held, found(text.c_str()));
  }
  EXPECT_EQ(entries().size(), 50u);
}

}  // namespace
