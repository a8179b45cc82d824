/* Kernels that never end can be stopped, in whatever way they run on: on request (as Ctrl-C does) and by the time
 * limit. The error is a sentence that names the kernel and, where it was the limit, the limit. */
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include "tests/vgpu/api_support.h"

namespace {

/* p points to zeros; the kernel says at p + 64 that it has begun. `around` is at the level of the module. */
std::string endless(const std::string &body, const std::string &around = "") {
  return ".version 8.0\n.target sm_75\n.address_size 64\n" + around +
         ".visible .entry endless(.param .u64 p)\n{\n"
         "  .reg .pred %p<5>; .reg .b32 %r<12>; .reg .b64 %rd<8>;\n"
         "  ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mov.u32 %r2, 1; st.volatile.global.u32 [%rd1+64], %r2;\n"
         "  mov.u32 %r2, 0;\n" +
         body + "  ret;\n}\n";
}

const struct Shape {
  const char *name, *body, *around;
} shapes[] = {
    {"an empty loop", "L: bra L;\n", ""},
    {"a loop that counts",
     "L: add.u32 %r2, %r2, 1; xor.b32 %r2, %r2, %r1; setp.ne.u32 %p1, %r2, 0xffffffff; or.pred %p1, %p1, %p1;\n  @%p1 "
     "bra L;\n  bra L;\n",
     ""},
    {"a loop in divergent code",
     "and.b32 %r3, %r1, 3; setp.ne.u32 %p1, %r3, 1; @%p1 bra OUT;\nL: add.u32 %r2, %r2, %r1; setp.ne.u32 %p2, %r2, 0; "
     "@%p2 bra L; bra L;\nOUT:\n",
     ""},
    {"nested divergent loops",
     "L: and.b32 %r3, %r2, 7;\nM: add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, %r1; @%p1 bra M; add.u32 %r2, %r2, 1; bra "
     "L;\n",
     ""},
    {"spinning on global memory", "L: ld.volatile.global.u32 %r3, [%rd1]; setp.eq.u32 %p1, %r3, 0; @%p1 bra L;\n", ""},
    {"spinning on a lock", "L: atom.global.cas.b32 %r3, [%rd1], 1, 2; setp.ne.u32 %p1, %r3, 1; @%p1 bra L;\n", ""},
    {"a loop around a barrier", "L: bar.sync 0; add.u32 %r2, %r2, 1; bra L;\n", ""},
    {"a loop around two barriers and shared memory",
     "L: st.shared.u32 [s], %r2; bar.sync 0; ld.shared.u32 %r2, [s]; bar.sync 0; add.u32 %r2, %r2, 1; bra L;\n",
     ".shared .align 4 .b8 s[4];\n"},
    {"a warp that waits for another's store",
     "setp.lt.u32 %p1, %r1, 32; @%p1 bra WAIT;\n  bra DONE;\nWAIT: ld.volatile.shared.u32 %r3, [s]; setp.eq.u32 %p2, "
     "%r3, 0; @%p2 bra WAIT;\nDONE:\n",
     ".shared .align 4 .b8 s[4];\n"},
    {"a table of branches",
     "T: .branchtargets A, B;\nL: and.b32 %r3, %r2, 1; brx.idx %r3, T;\nA: add.u32 %r2, %r2, 1; bra L;\nB: add.u32 "
     "%r2, %r2, 3; bra L;\n",
     ""},
    {"votes and shuffles",
     "setp.eq.u32 %p0, %r1, 99999;\nL: shfl.sync.bfly.b32 %r2, %r1, 1, 31, 0xffffffff; vote.sync.any.pred %p1, %p0, "
     "0xffffffff; @%p1 bra OUT; bra "
     "L;\nOUT:\n",
     ""},
    {"a function that does not come back", "  call f, ();\n",
     ".func f() {\n  .reg .b32 %r<2>; mov.u32 %r1, 0;\nL: add.u32 %r1, %r1, 1; bra L;\n}\n"}};

enum class Way { plain, cooperative, graph, many_blocks };

class ApiStopTest : public ApiTest {
 protected:
  CUdeviceptr zeros = 0;
  void SetUp() override {
    ApiTest::SetUp();
    ASSERT_CUDA(CU(cuMemAlloc)(&zeros, 128));
    ASSERT_CUDA(CU(cuMemsetD32)(zeros, 0, 32));
  }
  /* Launches, and says how that ended, including synchronisation. */
  CUresult run(const Shape &shape, Way way) {
    CUmodule own;
    CUfunction function;
    EXPECT_CUDA(CU(cuModuleLoadData)(&own, endless(shape.body, shape.around).c_str())) << shape.name;
    EXPECT_CUDA(CU(cuModuleGetFunction)(&function, own, "endless"));
    void *parameters[] = {&zeros};
    CUstream stream = nullptr;
    CUresult result = CUDA_SUCCESS;
    switch (way) {
      case Way::plain:
        result = CU(cuLaunchKernel)(function, 2, 1, 1, 64, 1, 1, 0, nullptr, parameters, nullptr);
        break;
      case Way::many_blocks:
        result = CU(cuLaunchKernel)(function, 5000, 1, 1, 64, 1, 1, 0, nullptr, parameters, nullptr);
        break;
      case Way::cooperative:
        result = CU(cuLaunchCooperativeKernel)(function, 2, 1, 1, 64, 1, 1, 0, nullptr, parameters);
        break;
      case Way::graph: {
        CUgraph graph;
        CUgraphExec executable;
        EXPECT_CUDA(CU(cuStreamCreate)(&stream, CU_STREAM_NON_BLOCKING));
        EXPECT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
        EXPECT_CUDA(CU(cuLaunchKernel)(function, 2, 1, 1, 64, 1, 1, 0, stream, parameters, nullptr));
        EXPECT_CUDA(launch(2, stream));
        EXPECT_CUDA(CU(cuStreamEndCapture)(stream, &graph));
        EXPECT_CUDA(CU(cuGraphInstantiateWithFlags)(&executable, graph, 0));
        result = CU(cuGraphLaunch)(executable, stream);
        break;
      }
    }
    return result == CUDA_SUCCESS ? CU(cuCtxSynchronize)() : result;
  }

  /* Every shape that is wanted, one after the other, each in a context of its own. `arm` makes what will end it. */
  template <typename F>
  void each(Way way, size_t step, const std::string &sentence, F arm) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i += step) {
      const Shape &shape = shapes[i];
      const auto begin = std::chrono::steady_clock::now();
      auto disarm = arm();
      const CUresult result = run(shape, way);
      const std::string message = vgpu_last_message();
      disarm();
      EXPECT_EQ(result, CUDA_ERROR_LAUNCH_TIMEOUT) << shape.name << ": " << message;
      EXPECT_NE(message.find("kernel endless"), std::string::npos) << shape.name << ": " << message;
      EXPECT_NE(message.find(sentence), std::string::npos) << shape.name << ": " << message;
      /* Milliseconds on a machine at rest; the bound leaves room for translation and for much else that runs. */
      EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30)) << shape.name;
      TearDown();
      SetUp();
    }
  }

  /* As soon as the kernel runs. The virtual GPU's memory is the host's. */
  void each_on_request(Way way, size_t step) {
    each(way, step, "stopped on request", [this] {
      const volatile unsigned *begun = reinterpret_cast<const unsigned *>(zeros) + 16;
      auto *canceller = new std::thread([begun] {
        for (int i = 0; i < 20000 && !*begun; i++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        vgpu_cancel();
      });
      return [canceller] {
        canceller->join();
        delete canceller;
      };
    });
    /* The next context is as good as new. */
    EXPECT_CUDA(launch(3));
    EXPECT_EQ(number(count - 1), 5u);
  }

  void each_by_the_limit(Way way, size_t step) {
    each(way, step, "(NOPROP_VGPU_LIMIT_SECONDS is 0.05)", [] { return [] {}; });
  }
};

/* ---- in children: the settings are read once in a process ---- */

TEST_F(ApiStopTest, DISABLED_OnRequest) {
  each_on_request(Way::plain, 1);
  each_on_request(Way::cooperative, 2);
  for (const Way way : {Way::many_blocks, Way::graph}) each_on_request(way, 5);
}

TEST_F(ApiStopTest, DISABLED_ByTheLimit) {
  each_by_the_limit(Way::plain, 1);
  each_by_the_limit(Way::cooperative, 2);
  for (const Way way : {Way::many_blocks, Way::graph}) each_by_the_limit(way, 5);
}

/* What ends in time is left alone, launch after launch, although all of them together take longer than the limit. */
TEST_F(ApiStopTest, DISABLED_LeavesShortLaunchesAlone) {
  const auto begin = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(1500)) {
    ASSERT_CUDA(launch(1));
    ASSERT_CUDA(CU(cuCtxSynchronize)());
  }
}

bool passes_with(const std::string &setting, const std::string &test) {
  const std::string command = setting + " '" + std::filesystem::read_symlink("/proc/self/exe").string() +
                              "' --gtest_also_run_disabled_tests --gtest_filter=ApiStopTest.DISABLED_" + test;
  const int status = std::system(command.c_str());
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

const char *const interpret = "NOPROP_VGPU_EXECUTOR=interpret ", *const translate = "NOPROP_VGPU_EXECUTOR=translate ";
bool has_translator() { return std::filesystem::exists(NOPROP_BINARY_DIR "/libnoprop_translate.so"); }

TEST(ApiStop, InterpretedKernelsEndOnRequest) { EXPECT_TRUE(passes_with(interpret, "OnRequest")); }

TEST(ApiStop, InterpretedKernelsEndAtTheLimit) {
  EXPECT_TRUE(passes_with(std::string(interpret) + "NOPROP_VGPU_LIMIT_SECONDS=0.05 ", "ByTheLimit"));
}

TEST(ApiStop, TranslatedKernelsEndOnRequest) {
  if (!has_translator()) GTEST_SKIP() << "the translator is not built";
  EXPECT_TRUE(passes_with(translate, "OnRequest"));
}

TEST(ApiStop, TranslatedKernelsEndAtTheLimit) {
  if (!has_translator()) GTEST_SKIP() << "the translator is not built";
  EXPECT_TRUE(passes_with(std::string(translate) + "NOPROP_VGPU_LIMIT_SECONDS=0.05 ", "ByTheLimit"));
}

TEST(ApiStop, ObservedKernelsEndOnRequest) {
  EXPECT_TRUE(passes_with("NOPROP_VGPU_MODE=fuzz NOPROP_VGPU_SEED=3 ", "OnRequest"));
}

TEST(ApiStop, TheLimitIsThatOfOneLaunch) {
  EXPECT_TRUE(passes_with("NOPROP_VGPU_LIMIT_SECONDS=1 ", "LeavesShortLaunchesAlone"));
}

}  // namespace
