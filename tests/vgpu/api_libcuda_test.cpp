/* The virtual GPU as libcuda.so.1: an ordinary driver-API program runs on it, and it exports what it should. */
#include <dlfcn.h>
#include <stdio.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/vgpu/api_support.h"

static const std::string kFolder = NOPROP_BINARY_DIR "/vgpu";

static std::string output_of(const std::string &command) {
  std::string text;
  FILE *pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return text;
  char part[256];
  while (fgets(part, sizeof part, pipe) != nullptr) text += part;
  return pclose(pipe) == 0 ? text : "failed: " + text;
}

class ApiLibcudaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kFolder + "/libcuda.so.1")) GTEST_SKIP() << "libcuda.so.1 is not built";
  }
};

TEST_F(ApiLibcudaTest, AnOrdinaryProgramRuns) {
  if (std::system("cc --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "there is no C compiler here";
  std::string form = (std::filesystem::temp_directory_path() / "noprop-test-XXXXXX").string();
  const std::string folder = mkdtemp(form.data()), program = folder + "/program";
  ASSERT_EQ(std::system(("cc -o '" + program + "' '" NOPROP_SOURCE_DIR "/tests/vgpu/driver_program.c' '" + kFolder +
                         "/libcuda.so.1'")
                            .c_str()),
            0);
  std::string results[3];
  const char *const threads[3] = {"1", "2", "7"};
  for (int i = 0; i < 3; ++i) {
    results[i] = output_of(std::string("NOPROP_VGPU_THREADS=") + threads[i] + " LD_LIBRARY_PATH='" + kFolder + "' '" +
                           program + "'");
    EXPECT_EQ(results[i].rfind(std::string("virtual GPU (") + threads[i] + " CPU thread", 0), 0u) << results[i];
    /* sum of 1 + i / 2 for i < 10000 */
    EXPECT_NE(results[i].find("\n25007500.0\n"), std::string::npos) << results[i];
  }
  std::filesystem::remove_all(folder);
}

TEST_F(ApiLibcudaTest, ExportsTheFunctionsAndItsMarkerAndNothingElse) {
  void *library = dlopen((kFolder + "/libcuda.so.1").c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  for (const char *name : {"cuInit", "cuMemAlloc_v2", "cuLaunchKernel", "cuGraphLaunch", "cuGetProcAddress_v2"}) {
    EXPECT_NE(dlsym(library, name), nullptr) << name;
    EXPECT_NE(dlsym(library, name), vgpu_symbol(name)) << "a copy of its own";
  }
  EXPECT_NE(dlsym(library, "noprop_virtual_gpu_marker"), nullptr);
  EXPECT_EQ(dlsym(library, "vgpu_symbol"), nullptr);
  EXPECT_EQ(dlsym(library, "vgpu_cuInit"), nullptr);
  dlclose(library);
}
