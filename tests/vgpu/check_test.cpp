/* Mode `check` on kernels with one planted fault each (faults/): every one is found, with the kind and the lines that
 * the source marks, and nothing is found in the clean twins. */
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include "tests/vgpu/api_support.h"

extern "C" {
#include "engine/vgpu/check.h"
#include "engine/vgpu/observe.h"
}

namespace {

const std::string kSources = NOPROP_SOURCE_DIR "/tests/vgpu/faults/", kBuilt = NOPROP_BINARY_DIR "/faults/";

struct Case {
  const char *file, *name;
  check_kind kind;
  unsigned grid, block;
  int n;
  size_t a = 1024, b = 1024; /* elements */
  unsigned dynamic = 0;      /* bytes */
  bool b_written = true, cooperative = false;
};

std::ostream &operator<<(std::ostream &stream, const Case &one) { return stream << one.name; }

const Case cases[] = {
    {"race_shared", "missing_barrier", CHECK_RACE, 1, 256, 256},
    {"race_shared", "missing_second_barrier", CHECK_RACE, 1, 256, 256},
    {"race_shared", "two_writers", CHECK_RACE, 1, 256, 256},
    {"race_shared", "writers_in_one_instruction", CHECK_RACE, 1, 32, 256},
    {"race_shared", "missing_syncwarp", CHECK_RACE, 1, 32, 32},
    {"race_shared", "shuffle_is_no_syncwarp", CHECK_RACE, 1, 32, 32},
    {"race_shared", "syncwarp_of_half_a_warp", CHECK_RACE, 1, 32, 32},
    {"race_shared", "reduction_without_syncwarp", CHECK_RACE, 1, 32, 32},
    {"race_shared", "reduction_without_barrier", CHECK_RACE, 1, 256, 256},
    {"race_shared", "scan_in_place", CHECK_RACE, 1, 256, 256},
    {"race_shared", "atomic_against_plain", CHECK_RACE, 1, 64, 64},
    {"race_shared", "transpose", CHECK_RACE, 2, 256, 256},
    {"race_shared", "double_buffer", CHECK_RACE, 1, 256, 256},
    {"race_shared", "bytes_of_neighbours", CHECK_RACE, 1, 256, 256},
    {"race_shared", "barrier_of_half_a_block", CHECK_RACE, 1, 128, 128},
    {"race_shared", "arrive_for_sync", CHECK_RACE, 1, 64, 64},
    {"race_shared", "flag_between_warps", CHECK_RACE, 1, 64, 64},

    {"race_global", "global_neighbour", CHECK_RACE, 1, 64, 64},
    {"race_global", "neighbour_block", CHECK_RACE, 4, 64, 256},
    {"race_global", "blocks_write_one_word", CHECK_RACE, 4, 32, 9},
    {"race_global", "plain_counter", CHECK_RACE, 4, 32, 9},
    {"race_global", "counter_read_too_early", CHECK_RACE, 4, 32, 9},
    {"race_global", "counter_of_the_block", CHECK_RACE, 4, 32, 9},
    {"race_global", "last_block_no_fence", CHECK_RACE, 4, 64, 256},
    {"race_global", "last_block_block_fence", CHECK_RACE, 4, 64, 256},
    {"race_global", "last_block_no_barrier", CHECK_RACE, 4, 64, 256},
    {"race_global", "fences_of_all_threads", CHECK_RACE, 4, 64, 256},
    {"race_global", "look_back_without_release", CHECK_RACE, 5, 32, 0},
    {"race_global", "look_back_without_acquire", CHECK_RACE, 5, 32, 0},
    {"race_global", "relaxed_for_acquire", CHECK_RACE, 5, 32, 0},
    {"race_global", "plain_flag", CHECK_RACE, 3, 32, 0},
    {"race_global", "grid_barrier", CHECK_RACE, 2, 64, 128, 1024, 1024, 0, true, true},

    {"bounds", "write_past_the_end", CHECK_OUT_OF_BOUNDS, 5, 64, 257, 257},
    {"bounds", "read_past_the_end", CHECK_OUT_OF_BOUNDS, 5, 64, 300, 300},
    {"bounds", "read_before_the_start", CHECK_OUT_OF_BOUNDS, 1, 64, 64, 64},
    {"bounds", "write_before_the_start", CHECK_OUT_OF_BOUNDS, 1, 64, 64, 64},
    {"bounds", "vector_past_the_end", CHECK_OUT_OF_BOUNDS, 1, 32, 110, 110},
    {"bounds", "atomic_past_the_end", CHECK_OUT_OF_BOUNDS, 1, 256, 100, 100},
    {"bounds", "from_one_array_into_the_next", CHECK_OUT_OF_BOUNDS, 1, 64, 64},
    {"bounds", "before_an_array", CHECK_OUT_OF_BOUNDS, 1, 64, 64},
    {"bounds", "past_dynamic_shared", CHECK_OUT_OF_BOUNDS, 1, 64, 50, 1024, 1024, 200},
    {"bounds", "past_a_local_array", CHECK_OUT_OF_BOUNDS, 1, 32, 1},
    {"bounds", "past_a_variable", CHECK_OUT_OF_BOUNDS, 1, 32, 1},
    {"bounds", "past_a_constant", CHECK_OUT_OF_BOUNDS, 1, 32, 1},
    {"bounds", "misaligned_global", CHECK_MISALIGNED, 1, 32, 1},
    {"bounds", "misaligned_shared", CHECK_MISALIGNED, 1, 32, 1},
    {"bounds", "misaligned_store", CHECK_MISALIGNED, 1, 32, 1},
    {"bounds", "uninitialised_shared", CHECK_UNINITIALISED, 2, 64, 1},
    {"bounds", "uninitialised_dynamic_shared", CHECK_UNINITIALISED, 1, 64, 64, 1024, 1024, 256},
    {"bounds", "uninitialised_global", CHECK_UNINITIALISED, 1, 64, 1, 1024, 1024, 0, false},
    {"bounds", "uninitialised_counter", CHECK_UNINITIALISED, 1, 64, 1, 1024, 1024, 0, false},
    {"bounds", "uninitialised_local", CHECK_UNINITIALISED, 1, 32, 0},
    {"bounds", "half_initialised_word", CHECK_UNINITIALISED, 1, 64, 1},

    {"regions", "into_the_next_region", CHECK_OUT_OF_BOUNDS, 1, 64, 1, 1024, 1024, 512},
    {"regions", "into_the_region_before", CHECK_OUT_OF_BOUNDS, 1, 64, 1, 1024, 1024, 512},
    {"regions", "past_a_global_region", CHECK_OUT_OF_BOUNDS, 1, 64, 64},

    {"warps", "barrier_in_half_a_warp", CHECK_BARRIER, 1, 32, 1},
    {"warps", "two_barriers", CHECK_BARRIER, 1, 64, 1},
    {"warps", "barrier_that_is_never_complete", CHECK_BARRIER, 1, 96, 1},
    {"warps", "count_of_no_whole_warps", CHECK_BARRIER, 1, 64, 64},
    {"warps", "barriers_with_different_numbers", CHECK_BARRIER, 1, 64, 1},
    {"warps", "barrier_in_a_loop_of_varying_length", CHECK_BARRIER, 1, 32, 2},
    {"warps", "shuffle_from_a_lane_that_is_elsewhere", CHECK_SHUFFLE, 1, 32, 1},
    {"warps", "shuffle_from_a_lane_that_has_ended", CHECK_SHUFFLE, 1, 32, 1},
    {"warps", "shuffle_mask_names_absent_lanes", CHECK_WARP, 1, 32, 1},
    {"warps", "vote_mask_names_absent_lanes", CHECK_WARP, 1, 32, 1},
    {"warps", "lane_outside_its_own_mask", CHECK_WARP, 1, 32, 1},
    {"warps", "syncwarp_that_not_all_meet", CHECK_WARP, 1, 32, 1},
};

/* The lines of a source that are marked "//@ name"; a mark also stands for all names that begin with it. */
std::set<unsigned> marked(const std::string &file, const std::string &name) {
  std::ifstream source(kSources + file + ".cu");
  std::set<unsigned> lines;
  std::string text;
  for (unsigned line = 1; std::getline(source, text); ++line) {
    const size_t mark = text.find("//@");
    if (mark == std::string::npos) continue;
    std::string word;
    std::istringstream(text.substr(mark + 3)) >> word;
    if (word == name || name.rfind(word + "_", 0) == 0) lines.insert(line);
  }
  return lines;
}

/* A party's line in the suite's own source: functions of the toolkit's headers count where they are called. */
unsigned line_of(const check_party &party) {
  if (party.file && std::string(party.file).rfind(kSources, 0) == 0) return party.line;
  return party.call_line;
}

std::string describe() {
  std::ostringstream text;
  for (size_t i = 0; const check_finding *finding = check_finding_at(i); ++i) {
    text << finding->what << "; " << finding->place << "; line " << line_of(finding->first);
    if (finding->second.what[0]) text << " and line " << line_of(finding->second);
    text << "; " << finding->count << " times\n";
  }
  return text.str();
}

class Check : public ::testing::Test {
 protected:
  void SetUp() override {
    before = vgpu_current_mode();
    vgpu_set_mode(VGPU_MODE_CHECK);
    setenv("NOPROP_VGPU_REPORT", "/dev/null", 1);
    check_forget();
    start();
  }
  void TearDown() override {
    stop();
    unsetenv("NOPROP_VGPU_REPORT");
    check_forget();
    vgpu_set_mode(before);
  }
  void start() {
    ASSERT_CUDA(CU(cuInit)(0));
    ASSERT_CUDA(CU(cuDevicePrimaryCtxRetain)(&context, 0));
    ASSERT_CUDA(CU(cuCtxSetCurrent)(context));
  }
  void stop() {
    CU(cuDevicePrimaryCtxRelease)(0);
    CU(cuCtxSetCurrent)(nullptr);
  }
  /* Also where other tests of this program hold it. */
  void end_context() { EXPECT_CUDA(CU(cuDevicePrimaryCtxReset)(0)); }
  CUdeviceptr allocate(size_t elements, bool written) {
    CUdeviceptr pointer = 0;
    EXPECT_CUDA(CU(cuMemAlloc)(&pointer, 4 * elements));
    if (written) {
      EXPECT_CUDA(CU(cuMemsetD32)(pointer, 0, elements));
    }
    return pointer;
  }
  CUfunction load(const std::string &file, const std::string &kernel) {
    std::ifstream stream(kBuilt + file + ".ptx");
    const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    EXPECT_CUDA(CU(cuModuleLoadData)(&module, text.c_str()));
    CUfunction function = nullptr;
    EXPECT_CUDA(CU(cuModuleGetFunction)(&function, module, kernel.c_str()));
    return function;
  }
  CUresult launch(CUfunction function, const Case &one, CUdeviceptr a, CUdeviceptr b) {
    int n = one.n;
    void *parameters[] = {&a, &b, &n};
    CUresult result =
        one.cooperative
            ? CU(cuLaunchCooperativeKernel)(function, one.grid, 1, 1, one.block, 1, 1, one.dynamic, nullptr, parameters)
            : CU(cuLaunchKernel)(function, one.grid, 1, 1, one.block, 1, 1, one.dynamic, nullptr, parameters, nullptr);
    return result == CUDA_SUCCESS ? CU(cuCtxSynchronize)() : result;
  }
  CUresult run(const Case &one, const char *variant) {
    CUfunction function = load(one.file, std::string(one.name) + variant);
    const CUdeviceptr a = allocate(one.a, true), b = allocate(one.b, one.b_written);
    CUresult result = launch(function, one, a, b);
    if (result == CUDA_SUCCESS) {
      EXPECT_CUDA(CU(cuMemFree)(a));
      EXPECT_CUDA(CU(cuMemFree)(b));
      EXPECT_CUDA(CU(cuModuleUnload)(module));
    } else { /* the context is of no use any more, and what is left in it is no leak */
      vgpu_set_mode(VGPU_MODE_RUN);
      end_context();
      vgpu_set_mode(VGPU_MODE_CHECK);
    }
    return result;
  }
  vgpu_mode before = VGPU_MODE_RUN;
  CUcontext context = nullptr;
  CUmodule module = nullptr;
};

class Faults : public Check, public ::testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kBuilt + GetParam().file + ".ptx")) GTEST_SKIP() << "nvcc did not build the kernels";
    Check::SetUp();
  }
};

TEST_P(Faults, AreFoundAndTheCleanTwinIsClean) {
  const Case &one = GetParam();
  const std::set<unsigned> lines = marked(one.file, one.name);
  ASSERT_FALSE(lines.empty());
  run(one, "_fault");
  bool found = false;
  for (size_t i = 0; const check_finding *finding = check_finding_at(i); ++i) {
    EXPECT_EQ(finding->kernel, std::string(one.name) + "_fault");
    std::set<unsigned> named = {line_of(finding->first)};
    if (finding->second.what[0]) named.insert(line_of(finding->second));
    EXPECT_TRUE(std::includes(lines.begin(), lines.end(), named.begin(), named.end())) << describe();
    /* Who does not wait may also find that nothing was written yet. */
    if (one.kind == CHECK_RACE && finding->kind == CHECK_UNINITIALISED) continue;
    EXPECT_EQ(finding->kind, one.kind) << describe();
    found = found || named == lines;
    const auto thread = [](const check_party &party) {
      return std::make_pair(std::vector<unsigned>(party.block, party.block + 3),
                            std::vector<unsigned>(party.thread, party.thread + 3));
    };
    if (one.kind == CHECK_RACE) {
      EXPECT_NE(finding->second.what[0], '\0');
      EXPECT_NE(thread(finding->first), thread(finding->second));
    }
    for (const check_party *party : {&finding->first, &finding->second}) {
      EXPECT_LT(party->thread[0], one.block);
      EXPECT_LT(party->block[0], one.grid);
    }
  }
  EXPECT_TRUE(found) << "the marked lines are not reported:\n" << describe();
  EXPECT_GT(vgpu_findings(), 0u);

  check_forget();
  EXPECT_CUDA(run(one, "_clean"));
  EXPECT_EQ(vgpu_findings(), 0u) << describe();
}

INSTANTIATE_TEST_SUITE_P(Check, Faults, ::testing::ValuesIn(cases),
                         [](const auto &info) { return std::string(info.param.name); });

/* ---- the host's side ---- */

TEST_F(Check, UseAfterFreeIsFound) {
  const Case &one = *std::find_if(std::begin(cases), std::end(cases),
                                  [](const Case &other) { return std::string(other.name) == "write_past_the_end"; });
  if (!std::filesystem::exists(kBuilt + one.file + ".ptx")) GTEST_SKIP() << "nvcc did not build the kernels";
  CUfunction function = load(one.file, std::string(one.name) + "_clean");
  const CUdeviceptr a = allocate(one.a, true), later = allocate(one.a, true);
  EXPECT_CUDA(CU(cuMemFree)(a));
  EXPECT_CUDA(launch(function, one, later, later));
  EXPECT_EQ(vgpu_findings(), 0u) << describe();
  EXPECT_CUDA(launch(function, one, a, later));
  ASSERT_NE(check_finding_at(0), nullptr);
  EXPECT_EQ(check_finding_at(0)->kind, CHECK_USE_AFTER_FREE) << describe();
  EXPECT_EQ(check_finding_at(0)->address, a);
  EXPECT_EQ(check_finding_at(0)->count, one.a);
  EXPECT_EQ(check_finding_at(1), nullptr) << describe();
  EXPECT_CUDA(CU(cuMemFree)(later));
}

TEST_F(Check, BadFreesAreFound) {
  const CUdeviceptr a = allocate(16, true);
  EXPECT_EQ(CU(cuMemFree)(a + 16), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA(CU(cuMemFree)(a));
  EXPECT_EQ(CU(cuMemFree)(a), CUDA_ERROR_INVALID_VALUE);
  ASSERT_NE(check_finding_at(1), nullptr);
  EXPECT_EQ(check_finding_at(0)->kind, CHECK_BAD_FREE);
  EXPECT_NE(std::string(check_finding_at(0)->what).find("16 bytes inside an allocation"), std::string::npos);
  EXPECT_EQ(check_finding_at(1)->kind, CHECK_BAD_FREE);
  EXPECT_NE(std::string(check_finding_at(1)->what).find("a second time"), std::string::npos);
  EXPECT_EQ(check_finding_at(2), nullptr) << describe();
}

TEST_F(Check, LeaksAreFoundWhenTheContextEnds) {
  const CUdeviceptr kept = allocate(25, true), freed = allocate(10, true);
  EXPECT_CUDA(CU(cuMemFree)(freed));
  EXPECT_EQ(vgpu_findings(), 0u) << describe();
  end_context();
  ASSERT_NE(check_finding_at(0), nullptr);
  EXPECT_EQ(check_finding_at(0)->kind, CHECK_LEAK);
  EXPECT_EQ(check_finding_at(0)->address, kept);
  EXPECT_NE(std::string(check_finding_at(0)->what).find("100 bytes of device memory"), std::string::npos);
  EXPECT_EQ(check_finding_at(1), nullptr) << describe();
}

/* What the host copies is as initialised as what it was copied from. */
TEST_F(Check, CopiesCarryWhetherMemoryIsInitialised) {
  const Case &one = *std::find_if(std::begin(cases), std::end(cases),
                                  [](const Case &other) { return std::string(other.name) == "uninitialised_global"; });
  if (!std::filesystem::exists(kBuilt + one.file + ".ptx")) GTEST_SKIP() << "nvcc did not build the kernels";
  CUfunction function = load(one.file, std::string(one.name) + "_fault");
  const CUdeviceptr a = allocate(64, true), b = allocate(64, false), raw = allocate(64, false);
  EXPECT_CUDA(CU(cuMemcpyDtoD)(b, a, 4 * 64));
  EXPECT_CUDA(launch(function, one, a, b));
  EXPECT_EQ(vgpu_findings(), 0u) << describe();
  std::vector<int> values(63);
  EXPECT_CUDA(CU(cuMemcpyHtoD)(raw, values.data(), 4 * 63)); /* all but the last one */
  EXPECT_CUDA(CU(cuMemcpyDtoD)(b, raw, 4 * 64));
  EXPECT_CUDA(launch(function, one, a, b));
  ASSERT_NE(check_finding_at(0), nullptr);
  EXPECT_EQ(check_finding_at(0)->kind, CHECK_UNINITIALISED);
  EXPECT_EQ(check_finding_at(0)->address, b + 4 * 63);
  EXPECT_EQ(check_finding_at(0)->count, 1u);
  EXPECT_EQ(check_finding_at(1), nullptr) << describe();
  for (CUdeviceptr pointer : {a, b, raw}) EXPECT_CUDA(CU(cuMemFree)(pointer));
}

/* A report as a reader gets it. */
TEST_F(Check, ReportsNameKernelPlaceAndBothParties) {
  const Case &one = *std::find_if(std::begin(cases), std::end(cases),
                                  [](const Case &other) { return std::string(other.name) == "neighbour_block"; });
  if (!std::filesystem::exists(kBuilt + one.file + ".ptx")) GTEST_SKIP() << "nvcc did not build the kernels";
  const std::string file = testing::TempDir() + "noprop_check_report.txt";
  std::filesystem::remove(file);
  setenv("NOPROP_VGPU_REPORT", file.c_str(), 1);
  run(one, "_fault");
  end_context();
  std::ifstream stream(file);
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  const std::set<unsigned> lines = marked(one.file, one.name);
  const std::string source = kSources + one.file + ".cu:";
  EXPECT_NE(text.find("race on global memory between blocks in kernel neighbour_block_fault"), std::string::npos);
  EXPECT_NE(text.find("an allocation of 4096 bytes, at byte "), std::string::npos);
  EXPECT_NE(text.find("write of 4 bytes by thread ("), std::string::npos);
  EXPECT_NE(text.find("read of 4 bytes by thread ("), std::string::npos);
  for (unsigned line : lines) EXPECT_NE(text.find(source + std::to_string(line)), std::string::npos);
  EXPECT_NE(text.find("noprop check: 1 finding, met 256 times"), std::string::npos) << text;
  std::filesystem::remove(file);
}

}  // namespace
