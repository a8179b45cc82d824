/* Programs of others are counted, too: an ordinary driver-API program under NOPROP_VGPU_MODE=count, its report on file,
 * and the function that libcuda.so.1 has for it. */
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "noprop/counts.h"

namespace {

const std::string kLibrary = NOPROP_BINARY_DIR "/vgpu/libcuda.so.1";

class CountProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kLibrary)) GTEST_SKIP() << "libcuda.so.1 is not built";
    std::string form = (std::filesystem::temp_directory_path() / "noprop-test-XXXXXX").string();
    folder_ = mkdtemp(form.data());
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }
  std::string folder_;
};

unsigned long long number_after(const std::string &text, const std::string &key) {
  const size_t at = text.find("\"" + key + "\": ");
  return at == std::string::npos ? ~0ULL : std::strtoull(text.c_str() + at + key.size() + 4, nullptr, 10);
}

/* y = a x + y on 10,000 numbers by 40 blocks of 256 threads: 320 warps, of which 312 work with all lanes, the next with
 * 16 and seven with none. */
TEST_F(CountProgram, TheReportHasWhatItsKernelDid) {
  if (std::system("cc --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "there is no C compiler here";
  const std::string program = folder_ + "/program", report = folder_ + "/report.json";
  ASSERT_EQ(
      std::system(
          ("cc -o '" + program + "' '" NOPROP_SOURCE_DIR "/tests/vgpu/driver_program.c' '" + kLibrary + "'").c_str()),
      0);
  ASSERT_EQ(std::system(("NOPROP_VGPU_MODE=count NOPROP_VGPU_GPU=t4 NOPROP_VGPU_COUNT_LAUNCHES=1 NOPROP_VGPU_PTXAS=off "
                         "NOPROP_VGPU_REPORT='" +
                         report + "' LD_LIBRARY_PATH='" NOPROP_BINARY_DIR "/vgpu' '" + program + "' > /dev/null")
                            .c_str()),
            0);
  std::ifstream file(report);
  std::string lines[3];
  for (std::string &line : lines) std::getline(file, line);
  EXPECT_EQ(lines[0].find("{\"kind\": \"launch\", \"kernel\": \"saxpy\", \"block\": [256, 1, 1], \"grid\": [40, 1, 1]"),
            0u)
      << lines[0];
  EXPECT_EQ(lines[1].find("{\"kind\": \"kernel\", \"kernel\": \"saxpy\""), 0u) << lines[1];
  EXPECT_EQ(lines[2], "");
  const struct {
    const char *key;
    unsigned long long value;
  } expected[] = {{"launches", 1},
                  {"threads", 10240},
                  {"warp_instructions", 320 * 10 + 313 * 7 + 320},
                  {"thread_instructions", 10240 * 9 + 240 + 10000 * 7 + 10240},
                  {"fp32_fma", 10000},
                  {"branches", 320},
                  {"divergent_branches", 1},
                  {"global_load_requests", 2 * 313},
                  {"global_load_bytes", 80000},
                  {"global_load_sectors", 2 * (312 * 4 + 2)},
                  {"global_store_sectors", 312 * 4 + 2},
                  {"distinct_bytes", 80000},
                  {"distinct_stored_bytes", 40000},
                  {"l2_sectors", 3 * (312 * 4 + 2)},
                  {"dram_read_bytes", 80000},
                  {"dram_written_bytes", 0}};
  for (const auto &e : expected)
    for (const std::string &line : {lines[0], lines[1]}) EXPECT_EQ(number_after(line, e.key), e.value) << e.key;
}

TEST_F(CountProgram, TheLibraryHasTheCountsByName) {
  void *library = dlopen(kLibrary.c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  const auto counts = reinterpret_cast<decltype(&noprop_counts)>(dlsym(library, "noprop_vgpu_counts"));
  const auto reset = reinterpret_cast<decltype(&noprop_counts_reset)>(dlsym(library, "noprop_vgpu_counts_reset"));
  ASSERT_NE(counts, nullptr);
  ASSERT_NE(reset, nullptr);
  reset();
  EXPECT_EQ(counts(nullptr, 0), 0);
  dlclose(library);
}

}  // namespace
