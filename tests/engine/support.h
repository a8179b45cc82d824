/* What the tests of engine/ share: an open virtual GPU, temporary folders, and itself as a child process. */
#ifndef TESTS_ENGINE_SUPPORT_H
#define TESTS_ENGINE_SUPPORT_H

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

extern "C" {
#include "engine/device.h"
#include "engine/status.h"
}

#define EXPECT_OK(call) EXPECT_EQ((call), NOPROP_OK) << noprop_last_error()
#define ASSERT_OK(call) ASSERT_EQ((call), NOPROP_OK) << noprop_last_error()

/* A folder of its own, removed with what is in it. */
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string form = (std::filesystem::temp_directory_path() / "noprop-test-XXXXXX").string();
    path_ = mkdtemp(form.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::permissions(path_, std::filesystem::perms::owner_all, ignored);
    std::filesystem::remove_all(path_, ignored);
  }
  std::string path() const { return path_; }

 private:
  std::string path_;
};

/* The virtual GPU, with an empty folder of compiled kernels. */
class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("NOPROP_CACHE", folder.path().c_str(), 1);
    ASSERT_OK(noprop_device_open("virtual", &device));
  }
  void TearDown() override {
    noprop_device_close(device);
    unsetenv("NOPROP_CACHE");
  }
  TemporaryFolder folder;
  noprop_device *device = nullptr;
};

/* Runs one (disabled) test of this program in a process of its own, with settings such as "NAME=value" in front, and
 * tells whether it passed. */
inline bool passes_in_child(const std::string &test, const std::string &environment) {
  std::string command = environment + " '" + std::filesystem::read_symlink("/proc/self/exe").string() +
                        "' --gtest_also_run_disabled_tests --gtest_filter=" + test + " > /dev/null";
  int status = std::system(command.c_str());
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

#endif
