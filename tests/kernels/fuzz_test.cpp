/* Training steps and solves stay within their error bounds whatever hardware does where it is free: other orders of
 * blocks, warps and lanes, other approximations inside their documented bounds (NOPROP_VGPU_MODE=fuzz). Eight seeds;
 * each runs a quarter of the sweep and some solves in a process of its own. */
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/kernels/sweep.h"

namespace {

using kernels_test::kSweepCases;

struct Child {
  bool passed;
  std::string said, report;
};

/* Runs tests of this program under a seed. */
Child run_fuzzed(int seed, const std::string &filter) {
  const std::string path = testing::TempDir() + "noprop_fuzz_" + std::to_string(getpid()), report = path + "_report";
  char self[4096];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  EXPECT_GT(length, 0);
  self[length > 0 ? length : 0] = '\0';
  const pid_t child = fork();
  if (child == 0) {
    setenv("NOPROP_VGPU_MODE", "fuzz", 1);
    setenv("NOPROP_VGPU_SEED", std::to_string(seed).c_str(), 1);
    setenv("NOPROP_VGPU_REPORT", report.c_str(), 1);
    unsetenv("NOPROP_VGPU_FUZZ");
    if (!freopen(path.c_str(), "w", stdout)) _exit(126);
    execl(self, self, ("--gtest_filter=" + filter).c_str(), "--gtest_brief=1", static_cast<char *>(nullptr));
    _exit(127);
  }
  int status = -1;
  waitpid(child, &status, 0);
  const auto content = [](const std::string &name) {
    std::ifstream file(name);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    unlink(name.c_str());
    return text;
  };
  return {WIFEXITED(status) && WEXITSTATUS(status) == 0, content(path), content(report)};
}

long number_after(const std::string &text, const std::string &key) {
  const size_t at = text.find("\"" + key + "\": ");
  return at == std::string::npos ? -1 : std::strtol(text.c_str() + at + key.size() + 4, nullptr, 10);
}

class FuzzSeeds : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Seeds, FuzzSeeds, testing::Range(1, 9));

TEST_P(FuzzSeeds, TrainingAndSolvesStayWithinTheirBounds) {
  if (std::getenv("NOPROP_TEST_DEVICE")) GTEST_SKIP() << "another device than the virtual GPU is asked for";
  std::string filter;
  for (int c = GetParam() % 4; c < kSweepCases; c += 4)
    filter += "Cases/Sweep.TrainingSteps/" + std::to_string(c) + ":Cases/Sweep.*Drawn*/" + std::to_string(c) + ":";
  filter +=
      "Cases/Solves.*/" + std::to_string(GetParam() % 14) + ":Cases/Solves.*/" + std::to_string((GetParam() + 7) % 14);
  const Child child = run_fuzzed(GetParam(), filter);
  EXPECT_TRUE(child.passed) << "seed " << GetParam() << ":\n" << child.said;
  EXPECT_NE(child.said.find("10 tests"), std::string::npos) << child.said;
  /* It was fuzzed indeed. */
  EXPECT_EQ(number_after(child.report, "seed"), GetParam()) << child.report;
  EXPECT_GT(number_after(child.report, "turns"), 1000) << child.report;
  EXPECT_GT(number_after(child.report, "moved"), 1000) << child.report;
}

}  // namespace
