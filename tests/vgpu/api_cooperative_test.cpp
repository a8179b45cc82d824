/* Launches whose blocks wait for each other, and launches that would never end. */
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/vgpu/api_support.h"

/* meet: every block adds 1 to counter[round], waits until all blocks have, and goes to the next round; in the end
 * out[block] = the sum over rounds of counter[round] seen. All 64 threads take part, with barriers between.
 * group_sync: grid.sync() as cooperative groups writes it, around a store that the next block reads.
 * endless: never ends. */
static const char kPtx[] = R"(.version 8.0
.target sm_75
.address_size 64
.visible .entry meet(.param .u64 counter, .param .u64 out, .param .u32 rounds)
{
  .reg .pred %p<5>; .reg .b32 %r<12>; .reg .b64 %rd<8>;
  ld.param.u64 %rd1, [counter]; ld.param.u64 %rd2, [out]; ld.param.u32 %r1, [rounds];
  mov.u32 %r2, %ctaid.x; mov.u32 %r3, %tid.x; mov.u32 %r4, %nctaid.x;
  setp.ne.u32 %p1, %r3, 0;
  mov.u32 %r5, 0; mov.u32 %r6, 0;
NEXT:
  bar.sync 0;
  @%p1 bra MET;
  mul.wide.u32 %rd3, %r5, 4; add.s64 %rd4, %rd1, %rd3;
  atom.add.release.gpu.global.u32 %r7, [%rd4], 1;
SPIN:
  ld.acquire.gpu.global.u32 %r8, [%rd4];
  setp.lt.u32 %p2, %r8, %r4;
  @%p2 bra SPIN;
  add.u32 %r6, %r6, %r8;
MET:
  bar.sync 0;
  add.u32 %r5, %r5, 1;
  setp.lt.u32 %p3, %r5, %r1;
  @%p3 bra NEXT;
  @%p1 bra DONE;
  mul.wide.u32 %rd5, %r2, 4; add.s64 %rd6, %rd2, %rd5;
  st.global.u32 [%rd6], %r6;
DONE:
  ret;
}
.visible .entry group_sync(.param .u64 data, .param .u64 out)
{
  .reg .pred %p<5>; .reg .b32 %r<16>; .reg .b64 %rd<9>;
  ld.param.u64 %rd1, [data]; ld.param.u64 %rd2, [out];
  mov.u32 %r1, %ctaid.x; mov.u32 %r2, %tid.x; mov.u32 %r3, %nctaid.x;
  setp.ne.u32 %p1, %r2, 0;
  @%p1 bra WROTE;
  mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd1, %rd3;
  add.u32 %r4, %r1, 100; st.global.u32 [%rd4], %r4;
WROTE:
  mov.u32 %r5, %envreg1; mov.u32 %r6, %envreg2; mov.b64 %rd5, {%r6, %r5}; add.s64 %rd6, %rd5, 4;
  barrier.sync 0;
  @%p1 bra PASSED;
  sub.u32 %r7, 0x80000001, %r3; setp.eq.u32 %p2, %r1, 0; selp.u32 %r8, %r7, 1, %p2;
  atom.add.release.gpu.u32 %r9, [%rd6], %r8;
SPIN:
  ld.acquire.gpu.u32 %r10, [%rd6];
  xor.b32 %r11, %r10, %r9; setp.gt.s32 %p3, %r11, -1;
  @%p3 bra SPIN;
PASSED:
  barrier.sync 0;
  @%p1 bra DONE;
  add.u32 %r12, %r1, 1; rem.u32 %r13, %r12, %r3;
  mul.wide.u32 %rd3, %r13, 4; add.s64 %rd4, %rd1, %rd3; ld.global.u32 %r14, [%rd4];
  mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd2, %rd3; st.global.u32 [%rd4], %r14;
DONE:
  ret;
}
.visible .entry endless(.param .u64 p)
{
  .reg .pred %p<2>; .reg .b32 %r<2>; .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [p];
AGAIN:
  ld.volatile.global.u32 %r1, [%rd1]; setp.ne.u32 %p1, %r1, 77;
  @%p1 bra AGAIN;
  ret;
}
)";

class ApiCooperativeTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    CUmodule own;
    ASSERT_CUDA(CU(cuModuleLoadData)(&own, kPtx));
    ASSERT_CUDA(CU(cuModuleGetFunction)(&meet, own, "meet"));
    ASSERT_CUDA(CU(cuModuleGetFunction)(&group_sync, own, "group_sync"));
    ASSERT_CUDA(CU(cuModuleGetFunction)(&endless, own, "endless"));
    int multiprocessors = 0, per = 0;
    ASSERT_CUDA(CU(cuDeviceGetAttribute)(&multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
    ASSERT_CUDA(CU(cuOccupancyMaxActiveBlocksPerMultiprocessor)(&per, meet, 64, 0));
    most = static_cast<unsigned>(multiprocessors * per);
  }
  CUfunction meet = nullptr, group_sync = nullptr, endless = nullptr;
  unsigned most = 0;
};

TEST_F(ApiCooperativeTest, BlocksThatWaitForEachOtherMakeProgress) {
  unsigned rounds = 20;
  CUdeviceptr counter = numbers, out = numbers + 4 * rounds;
  void *parameters[] = {&counter, &out, &rounds};
  for (unsigned blocks : {1u, 2u, 5u, most}) {
    ASSERT_CUDA(CU(cuMemsetD32)(numbers, 0, count));
    ASSERT_CUDA(CU(cuLaunchCooperativeKernel)(meet, blocks, 1, 1, 64, 1, 1, 0, nullptr, parameters));
    for (unsigned i = 0; i < blocks && i < 8; ++i) EXPECT_EQ(number(static_cast<int>(rounds + i)), rounds * blocks);
  }
}

TEST_F(ApiCooperativeTest, TheBarrierOfCooperativeGroupsHolds) {
  CUdeviceptr data = numbers, out = numbers + 4 * 256;
  void *parameters[] = {&data, &out};
  const unsigned blocks = most < 8 ? most : 8;
  CUlaunchAttribute attribute = {};
  attribute.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
  attribute.value.cooperative = 1;
  CUlaunchConfig config = {};
  config.gridDimX = blocks;
  config.gridDimY = config.gridDimZ = config.blockDimY = config.blockDimZ = 1;
  config.blockDimX = 96;
  config.attrs = &attribute;
  config.numAttrs = 1;
  for (int repeat = 0; repeat < 3; ++repeat) {
    ASSERT_CUDA(CU(cuMemsetD32)(numbers, 0, count));
    ASSERT_CUDA(CU(cuLaunchKernelEx)(&config, group_sync, parameters, nullptr));
    for (unsigned i = 0; i < blocks; ++i) EXPECT_EQ(number(static_cast<int>(256 + i)), 100 + (i + 1) % blocks);
  }
}

TEST_F(ApiCooperativeTest, MoreBlocksThanFitAreRefused) {
  unsigned rounds = 1;
  void *parameters[] = {&numbers, &numbers, &rounds};
  EXPECT_EQ(CU(cuLaunchCooperativeKernel)(meet, most + 1, 1, 1, 64, 1, 1, 0, nullptr, parameters),
            CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
  EXPECT_CUDA(CU(cuCtxSynchronize)());
}

TEST_F(ApiCooperativeTest, ACancelledKernelEndsWithAnError) {
  for (bool cooperative : {false, true}) {
    std::thread canceller([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      vgpu_cancel();
    });
    void *parameters[] = {&numbers};
    EXPECT_CUDA(cooperative ? CU(cuLaunchCooperativeKernel)(endless, 2, 1, 1, 32, 1, 1, 0, nullptr, parameters)
                            : CU(cuLaunchKernel)(endless, 2, 1, 1, 32, 1, 1, 0, nullptr, parameters, nullptr));
    EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_ERROR_LAUNCH_TIMEOUT);
    canceller.join();
    EXPECT_NE(std::string(vgpu_last_message()).find("stopped on request"), std::string::npos) << vgpu_last_message();
    EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_ERROR_LAUNCH_TIMEOUT);
    TearDown();
    SetUp();
  }
}

TEST_F(ApiCooperativeTest, DISABLED_EndlessKernelsMeetTheLimit) {
  void *parameters[] = {&numbers};
  EXPECT_CUDA(CU(cuLaunchKernel)(endless, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr));
  EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_ERROR_LAUNCH_TIMEOUT);
  EXPECT_NE(std::string(vgpu_last_message()).find("time limit"), std::string::npos) << vgpu_last_message();
}

TEST(ApiLimit, ALaunchLimitEndsEndlessKernels) {
  std::string command = "NOPROP_VGPU_LIMIT_SECONDS=0.2 '" + std::filesystem::read_symlink("/proc/self/exe").string() +
                        "' --gtest_also_run_disabled_tests "
                        "--gtest_filter=ApiCooperativeTest.DISABLED_EndlessKernelsMeetTheLimit > /dev/null";
  int status = std::system(command.c_str());
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
