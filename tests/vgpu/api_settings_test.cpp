/* Environment variables with values that mean nothing are refused by cuInit with a sentence; folders of kept code that
 * cannot be used cost time, not results. Settings are read once in a process, so each is tried in a child. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/vgpu/api_support.h"

namespace {

bool passes_with(const std::string &setting, const std::string &test) {
  const std::string command = setting + " '" + std::filesystem::read_symlink("/proc/self/exe").string() +
                              "' --gtest_also_run_disabled_tests --gtest_filter=" + test;
  const int status = std::system(command.c_str());
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* TEST_NAME and TEST_VALUE: the setting that is wrong. */
TEST(ApiSettingsChild, DISABLED_IsRefused) {
  const std::string name = std::getenv("TEST_NAME"), value = std::getenv(name.c_str());
  EXPECT_EQ(CU(cuInit)(0), CUDA_ERROR_INVALID_VALUE);
  const std::string message = vgpu_last_message();
  EXPECT_NE(message.find(name + " must be "), std::string::npos) << message;
  EXPECT_NE(message.find("not '" + value.substr(0, 40)), std::string::npos) << message;
  int count = 0;
  EXPECT_NE(CU(cuDeviceGetCount)(&count), CUDA_SUCCESS) << "nothing works after that";
}

using ApiSettingsKernels = ApiTest;

TEST_F(ApiSettingsKernels, DISABLED_Run) {
  ASSERT_CUDA(launch(3));
  EXPECT_EQ(number(count - 1), 5u);
}

/* As on a disk that is full: no file can grow. */
TEST_F(ApiSettingsKernels, DISABLED_RunWithoutRoom) {
  signal(SIGXFSZ, SIG_IGN);
  const rlimit none = {0, 0};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
  ASSERT_CUDA(launch(3));
  EXPECT_EQ(number(count - 1), 5u);
}

TEST(ApiSettings, ValuesThatMeanNothingAreRefused) {
  static const struct {
    const char *name, *value;
  } wrong[] = {{"NOPROP_VGPU_THREADS", "abc"},
               {"NOPROP_VGPU_THREADS", "0"},
               {"NOPROP_VGPU_THREADS", "-1"},
               {"NOPROP_VGPU_THREADS", "100000"},
               {"NOPROP_VGPU_THREADS", "2x"},
               {"NOPROP_VGPU_CAPABILITY", "3"},
               {"NOPROP_VGPU_CAPABILITY", "8.6"},
               {"NOPROP_VGPU_CAPABILITY", "sm_86"},
               {"NOPROP_VGPU_EXECUTOR", "foo"},
               {"NOPROP_VGPU_INSTRUCTIONS", "sse"},
               {"NOPROP_VGPU_LIMIT_SECONDS", "soon"},
               {"NOPROP_VGPU_LIMIT_SECONDS", "-2"},
               {"NOPROP_VGPU_LIMIT_SECONDS", "nan"},
               {"NOPROP_VGPU_LIMIT_SECONDS", "99999999999999999999999999999999999999999999999999999999999999999999"}};
  for (const auto &setting : wrong) {
    EXPECT_TRUE(passes_with(std::string("TEST_NAME=") + setting.name + " " + setting.name + "='" + setting.value + "'",
                            "ApiSettingsChild.DISABLED_IsRefused"))
        << setting.name << "=" << setting.value;
  }
}

TEST(ApiSettings, EmptyAndSensibleValuesAreTaken) {
  for (const char *settings : {"NOPROP_VGPU_THREADS= NOPROP_VGPU_CAPABILITY= NOPROP_VGPU_EXECUTOR= "
                               "NOPROP_VGPU_INSTRUCTIONS= NOPROP_VGPU_LIMIT_SECONDS=",
                               "NOPROP_VGPU_THREADS=7 NOPROP_VGPU_CAPABILITY=88 NOPROP_VGPU_LIMIT_SECONDS=30.5",
                               "NOPROP_VGPU_THREADS=1024 NOPROP_VGPU_LIMIT_SECONDS=0"})
    EXPECT_TRUE(passes_with(settings, "ApiSettingsKernels.DISABLED_Run")) << settings;
}

TEST(ApiSettings, AFolderThatCannotBeUsedForKeptCodeDoesNoHarm) {
  if (!std::filesystem::exists(NOPROP_BINARY_DIR "/libnoprop_translate.so"))
    GTEST_SKIP() << "the translator is not built, so no code is kept";
  char name[] = "/tmp/noprop-settings-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  const std::string folder = name, file = folder + "/file";
  std::ofstream(file) << "not a folder\n";
  const std::string translate = "NOPROP_VGPU_EXECUTOR=translate NOPROP_CACHE='";
  EXPECT_TRUE(passes_with(translate + file + "'", "ApiSettingsKernels.DISABLED_Run"));
  EXPECT_TRUE(passes_with(translate + file + "/below'", "ApiSettingsKernels.DISABLED_Run"));
  EXPECT_TRUE(passes_with(translate + "/proc/nothing/here'", "ApiSettingsKernels.DISABLED_Run"));
  EXPECT_TRUE(passes_with(translate + std::string(5000, 'x') + "'", "ApiSettingsKernels.DISABLED_Run"));
  EXPECT_TRUE(passes_with(translate + folder + "/full'", "ApiSettingsKernels.DISABLED_RunWithoutRoom"));
  /* What could not be written whole is not there at all; the folder is used once there is room. */
  int left = 0;
  for (const auto &entry : std::filesystem::recursive_directory_iterator(folder + "/full"))
    left += entry.is_regular_file();
  EXPECT_EQ(left, 0);
  EXPECT_TRUE(passes_with(translate + folder + "/full'", "ApiSettingsKernels.DISABLED_Run"));
  for (const auto &entry : std::filesystem::recursive_directory_iterator(folder + "/full"))
    left += entry.is_regular_file();
  EXPECT_GT(left, 0);
  std::ifstream kept(file);
  std::string content;
  std::getline(kept, content);
  EXPECT_EQ(content, "not a folder");
  std::filesystem::remove_all(folder);
}

}  // namespace
