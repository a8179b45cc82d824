/* `count` mode: kernels whose counts are worked out by hand. */
#include <cuda.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/vgpu/api_support.h"
#include "tests/vgpu/ptx_support.h"

extern "C" {
#include "engine/vgpu/count.h"
#include "engine/vgpu/observe.h"
}

namespace {

struct Launch {
  unsigned grid = 1, block = 32, shared = 0;
};

class CountTest : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("NOPROP_VGPU_PTXAS", "off", 1);
    setenv("NOPROP_VGPU_GPU", "", 1);
    vgpu_set_mode(VGPU_MODE_COUNT);
    vgpu_counts_reset();
    ASSERT_CUDA(CU(cuInit)(0));
    ASSERT_CUDA(CU(cuDevicePrimaryCtxRetain)(&context_, 0));
    ASSERT_CUDA(CU(cuCtxSetCurrent)(context_));
  }
  void TearDown() override {
    CU(cuDevicePrimaryCtxRelease)(0);
    CU(cuCtxSetCurrent)(nullptr);
    vgpu_set_mode(VGPU_MODE_RUN);
    vgpu_counts_reset();
    unsetenv("NOPROP_VGPU_PTXAS");
    unsetenv("NOPROP_VGPU_GPU");
  }

  /* Loads the kernel; %l0 is the address of `bytes` bytes, %r0 the thread, %r1 the thread in the grid. */
  void load(const std::string &body, size_t bytes = 1 << 16, const std::string &before = "") {
    vgpu_counts_reset();
    const std::string text = ptx::kernel(
        ".reg .pred %p<8>; .reg .b32 %r<40>; .reg .b64 %l<20>; .reg .f32 %f<20>; .reg .f64 %d<4>; .reg .b16 %h<8>;\n" +
            before +
            "ld.param.u64 %l0, [p0]; mov.u32 %r0, %tid.x; mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x;\n"
            "mad.lo.u32 %r1, %r1, %r2, %r0;\n" +
            body,
        1);
    ASSERT_CUDA(CU(cuModuleLoadData)(&module_, text.c_str())) << text;
    ASSERT_CUDA(CU(cuModuleGetFunction)(&function_, module_, "k"));
    ASSERT_CUDA(CU(cuMemAlloc)(&memory_, bytes));
    ASSERT_CUDA(CU(cuMemsetD8)(memory_, 0, bytes));
  }
  /* What one launch adds to the counts. */
  noprop_kernel_counts launch(Launch shape = {}) {
    const noprop_kernel_counts before = counts();
    void *parameters[] = {&memory_};
    EXPECT_CUDA(
        CU(cuLaunchKernel)(function_, shape.grid, 1, 1, shape.block, 1, 1, shape.shared, nullptr, parameters, nullptr));
    EXPECT_CUDA(CU(cuCtxSynchronize)());
    noprop_kernel_counts after = counts();
#define SUBTRACT(name, meaning) after.name -= before.name;
    NOPROP_COUNTS(SUBTRACT)
#undef SUBTRACT
    return after;
  }
  /* The preamble of load() is five instructions. */
  noprop_kernel_counts count(const std::string &body, Launch shape = {}, const std::string &before = "") {
    load(body, 1 << 16, before);
    return HasFatalFailure() ? noprop_kernel_counts{} : launch(shape);
  }

  CUdeviceptr memory_ = 0;

 private:
  static noprop_kernel_counts counts() {
    std::vector<noprop_kernel_counts> list(16);
    const int known = vgpu_counts(list.data(), static_cast<int>(list.size()));
    noprop_kernel_counts sum = {};
    for (int i = 0; i < known; i++) {
      const noprop_kernel_counts earlier = sum;
      sum = list[static_cast<size_t>(i)];
#define ADD(name, meaning) sum.name += earlier.name;
      NOPROP_COUNTS(ADD)
#undef ADD
    }
    return sum;
  }
  CUcontext context_ = nullptr;
  CUmodule module_ = nullptr;
  CUfunction function_ = nullptr;
};

/* ---- instructions ---- */

TEST_F(CountTest, InstructionsAreCountedByClass) {
  const noprop_kernel_counts c = count(
      "add.u32 %r3, %r0, 1; shl.b32 %r3, %r3, 2; lop3.b32 %r3, %r3, %r0, %r1, 0x80;\n" /* integer */
      "mov.f32 %f0, 0f3f800000; selp.f32 %f1, %f0, %f0, 1; setp.eq.u32 %p0, %r0, 3; and.pred %p1, %p0, %p0;\n" /* move
                                                                                                                */
      "fma.rn.f32 %f2, %f0, %f1, %f0; add.f32 %f2, %f2, %f0; sub.rn.f32 %f2, %f2, %f0; mul.f32 %f2, %f2, %f0;\n"
      "max.f32 %f2, %f2, %f0; neg.f32 %f3, %f2;\n"
      "fma.rn.f64 %d0, %d0, %d0, %d0; add.f64 %d1, %d0, %d0;\n"
      "ex2.approx.f32 %f4, %f0; rcp.rn.f32 %f5, %f0; div.full.f32 %f6, %f0, %f0; sqrt.approx.f32 %f7, %f0;\n"
      "cvt.rn.f32.u32 %f8, %r0; cvt.rzi.u32.f32 %r4, %f8;\n"
      "shfl.sync.bfly.b32 %r5, %r0, 1, 31, 0xffffffff; vote.sync.ballot.b32 %r6, %p0, 0xffffffff;\n"
      "membar.gl; bar.sync 0;\n",
      {2, 64});
  const unsigned long long warps = 4;
  EXPECT_EQ(c.launches, 1u);
  EXPECT_EQ(c.blocks, 2u);
  EXPECT_EQ(c.threads, 128u);
  EXPECT_EQ(c.integer_instructions, 4 * warps); /* with the preamble's mad */
  EXPECT_EQ(c.move_instructions, 7 * warps);    /* with its three moves */
  EXPECT_EQ(c.constant_instructions, warps);
  EXPECT_EQ(c.fp32_instructions, 6 * warps);
  EXPECT_EQ(c.fp64_instructions, 2 * warps);
  EXPECT_EQ(c.special_instructions, 4 * warps);
  EXPECT_EQ(c.conversion_instructions, 2 * warps);
  EXPECT_EQ(c.exchange_instructions, 2 * warps);
  EXPECT_EQ(c.other_instructions, warps);
  EXPECT_EQ(c.barrier_instructions, warps);
  EXPECT_EQ(c.control_instructions, warps); /* ret */
  EXPECT_EQ(c.load_instructions + c.store_instructions + c.atomic_instructions + c.matrix_instructions, 0u);
  EXPECT_EQ(c.warp_instructions, 31 * warps);
  EXPECT_EQ(c.active_lanes, 31 * 128u);
  EXPECT_EQ(c.thread_instructions, 31 * 128u);
  EXPECT_EQ(c.fp32_fma, 128u);
  EXPECT_EQ(c.fp32_add, 256u);
  EXPECT_EQ(c.fp32_add_free, 128u);
  EXPECT_EQ(c.fp32_mul, 128u);
  EXPECT_EQ(c.fp32_mul_free, 128u);
  EXPECT_EQ(c.fp32_other, 256u);
  EXPECT_EQ(c.fp64_flop, 3 * 128u);
  EXPECT_EQ(c.special_functions, 4 * 128u);
  EXPECT_EQ(c.conversions, 2 * 128u);
}

TEST_F(CountTest, AnUnrolledLoopOfMultiplyAdds) {
  const noprop_kernel_counts c = count(
      "mov.u32 %r3, 0;\nLOOP:\n"
      "fma.rn.f32 %f0, %f0, %f0, %f0; fma.rn.f32 %f1, %f1, %f1, %f1; fma.rn.f32 %f2, %f2, %f2, %f2;\n"
      "add.u32 %r3, %r3, 1; setp.lt.u32 %p0, %r3, 100; @%p0 bra LOOP;\n",
      {3, 96});
  EXPECT_EQ(c.fp32_fma, 100u * 3 * 288);
  EXPECT_EQ(c.warp_instructions, (6 + 100 * 6 + 1) * 9u);
  EXPECT_EQ(c.branches, 100u * 9);
  EXPECT_EQ(c.divergent_branches, 0u);
}

TEST_F(CountTest, AGuardLeavesLanesOut) {
  const noprop_kernel_counts c =
      count("setp.lt.u32 %p0, %r0, 5; @%p0 add.u32 %r3, %r0, 1; @!%p0 add.u32 %r3, %r0, 2;\n");
  EXPECT_EQ(c.warp_instructions, 5u + 3 + 1);
  EXPECT_EQ(c.active_lanes, 9u * 32);
  EXPECT_EQ(c.thread_instructions, 6u * 32 + 5 + 27 + 32);
}

TEST_F(CountTest, ABlockThatDoesNotFillItsWarpHasFewerLanes) {
  const noprop_kernel_counts c = count("add.u32 %r3, %r0, 1;\n", {1, 40});
  EXPECT_EQ(c.warp_instructions, 2u * 7);
  EXPECT_EQ(c.active_lanes, 40u * 7);
}

TEST_F(CountTest, HalvesCountTheirElements) {
  const noprop_kernel_counts c = count(
      "fma.rn.f16x2 %r3, %r4, %r5, %r6; add.rn.f16 %h0, %h1, %h2; mul.rn.bf16x2 %r7, %r4, %r5; max.f16x2 %r8, %r4, "
      "%r5;\n"
      "fma.rn.bf16 %h3, %h0, %h1, %h2; ex2.approx.f16x2 %r9, %r4; cvt.rn.f16x2.f32 %r10, %f0, %f1;\n");
  EXPECT_EQ(c.fp16_instructions, 5u);
  EXPECT_EQ(c.fp16_flop, 32u * (4 + 1 + 2 + 0 + 2));
  EXPECT_EQ(c.special_functions, 32u);
  EXPECT_EQ(c.conversions, 64u); /* a pair of numbers is two conversions to the front end */
  EXPECT_EQ(c.fp32_instructions + c.integer_instructions, 1u); /* the preamble's mad */
}

/* ---- divergence ---- */

TEST_F(CountTest, LoopsOfDifferentLengthDiverge) {
  /* Lane l goes round l + 1 times: 32 branches, of which the last finds one lane and all others send lanes both ways.
   */
  const noprop_kernel_counts c = count(
      "mov.u32 %r3, 0;\nLOOP:\n"
      "add.u32 %r3, %r3, 1; setp.le.u32 %p0, %r3, %r0; @%p0 bra LOOP;\n");
  EXPECT_EQ(c.branches, 32u);
  EXPECT_EQ(c.divergent_branches, 31u);
  EXPECT_EQ(c.warp_instructions, 6u + 3 * 32 + 1);
  EXPECT_EQ(c.active_lanes, 6u * 32 + 3 * (32 * 33 / 2) + 32);
}

TEST_F(CountTest, BothSidesOfABranchAreExecuted) {
  const std::string body =
      "and.b32 %r3, %r0, %r4; setp.eq.u32 %p0, %r3, 0; @%p0 bra EVEN;\n"
      "add.u32 %r5, %r0, 1; add.u32 %r5, %r5, 1; bra.uni JOIN;\nEVEN: add.u32 %r5, %r0, 3;\nJOIN: mov.u32 %r6, %r5;\n";
  const noprop_kernel_counts by_lane = count("mov.u32 %r4, 1;\n" + body, {1, 64});
  EXPECT_EQ(by_lane.branches, 2u);
  EXPECT_EQ(by_lane.divergent_branches, 2u);
  EXPECT_EQ(by_lane.warp_instructions, 2u * (5 + 4 + 3 + 1 + 2));
  EXPECT_EQ(by_lane.active_lanes, 2u * (32 * (5 + 4 + 2) + 16 * (3 + 1)));
  const noprop_kernel_counts by_warp = count("mov.u32 %r4, 32;\n" + body, {1, 64});
  EXPECT_EQ(by_warp.branches, 2u);
  EXPECT_EQ(by_warp.divergent_branches, 0u);
  EXPECT_EQ(by_warp.warp_instructions, 2u * (5 + 4 + 2) + 3 + 1);
}

/* ---- global memory ---- */

struct Access {
  const char *what, *body; /* of 32 threads; %l1 = the address of lane's word: %l0 + step %r0 + start */
  unsigned long long requests, bytes, sectors;
};

TEST_F(CountTest, GlobalLoadsAreCutIntoSectors) {
  const Access accesses[] = {
      {"consecutive words", "mul.wide.u32 %l1, %r0, 4; add.u64 %l1, %l1, %l0; ld.global.u32 %r3, [%l1];", 1, 128, 4},
      {"misaligned by a word", "mul.wide.u32 %l1, %r0, 4; add.u64 %l1, %l1, %l0; ld.global.u32 %r3, [%l1+4];", 1, 128,
       5},
      {"every second word", "mul.wide.u32 %l1, %r0, 8; add.u64 %l1, %l1, %l0; ld.global.u32 %r3, [%l1];", 1, 128, 8},
      {"a column of a matrix", "mul.wide.u32 %l1, %r0, 128; add.u64 %l1, %l1, %l0; ld.global.u32 %r3, [%l1];", 1, 128,
       32},
      {"one word for all", "ld.global.u32 %r3, [%l0];", 1, 128, 1},
      {"pairs", "mul.wide.u32 %l1, %r0, 8; add.u64 %l1, %l1, %l0; ld.global.v2.u32 {%r3, %r4}, [%l1];", 1, 256, 8},
      {"quadruples", "mul.wide.u32 %l1, %r0, 16; add.u64 %l1, %l1, %l0; ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%l1];",
       1, 512, 16},
      {"bytes", "mul.wide.u32 %l1, %r0, 1; add.u64 %l1, %l1, %l0; ld.global.u8 %r3, [%l1];", 1, 32, 1},
      {"generic", "mul.wide.u32 %l1, %r0, 4; add.u64 %l1, %l1, %l0; ld.u32 %r3, [%l1];", 1, 128, 4},
      {"five lanes of a column",
       "mul.wide.u32 %l1, %r0, 128; add.u64 %l1, %l1, %l0; setp.lt.u32 %p0, %r0, 5; @%p0 ld.global.u32 %r3, [%l1];", 1,
       20, 5}};
  for (const Access &access : accesses) {
    const noprop_kernel_counts c = count(access.body);
    EXPECT_EQ(c.global_load_requests, access.requests) << access.what;
    EXPECT_EQ(c.global_load_bytes, access.bytes) << access.what;
    EXPECT_EQ(c.global_load_sectors, access.sectors) << access.what;
    EXPECT_EQ(c.distinct_loaded_sectors, access.sectors) << access.what;
    EXPECT_EQ(c.distinct_bytes, access.what == std::string("one word for all") ? 4 : access.bytes) << access.what;
    EXPECT_EQ(c.distinct_stored_bytes, 0u) << access.what;
    EXPECT_EQ(c.load_instructions, 1u) << access.what;
    EXPECT_EQ(c.l2_sectors, 0u) << "no GPU is named";
  }
}

TEST_F(CountTest, StoresAndAtomicsAreKeptApart) {
  const noprop_kernel_counts c = count(
      "mul.wide.u32 %l1, %r0, 4; add.u64 %l1, %l1, %l0; st.global.u32 [%l1], %r0; st.global.u32 [%l1+64], %r0;\n"
      "red.global.add.u32 [%l0], 1; atom.global.add.u32 %r3, [%l1+256], 1;\n",
      {2, 32});
  EXPECT_EQ(c.store_instructions, 4u);
  EXPECT_EQ(c.atomic_instructions, 4u);
  EXPECT_EQ(c.global_store_requests, 4u);
  EXPECT_EQ(c.global_store_bytes, 4u * 128);
  EXPECT_EQ(c.global_store_sectors, 4u * 4);
  EXPECT_EQ(c.global_atomic_requests, 4u);
  EXPECT_EQ(c.global_atomic_bytes, 4u * 128);
  EXPECT_EQ(c.global_atomic_sectors, 2u * (1 + 4));
  EXPECT_EQ(c.distinct_stored_bytes, 128u + 64 + 128); /* both blocks store to the same place */
  EXPECT_EQ(c.distinct_bytes, 128u + 64 + 128);
  EXPECT_EQ(c.distinct_loaded_bytes, 0u);
  EXPECT_EQ(c.global_load_requests, 0u);
}

TEST_F(CountTest, ReusedBytesCountOnceAsCompulsoryTraffic) {
  const noprop_kernel_counts c = count(
      "mul.wide.u32 %l1, %r0, 4; add.u64 %l1, %l1, %l0; ld.global.u32 %r3, [%l1]; ld.global.u32 %r4, [%l1];\n"
      "ld.global.u32 %r5, [%l1+64]; st.global.u32 [%l1], %r5;\n",
      {10, 32});
  EXPECT_EQ(c.global_load_bytes, 30u * 128);
  EXPECT_EQ(c.distinct_loaded_bytes, 192u);
  EXPECT_EQ(c.distinct_stored_bytes, 128u);
  EXPECT_EQ(c.distinct_bytes, 192u);
}

/* ---- the L2 of a GPU ---- */

TEST_F(CountTest, AStreamInsideTheL2IsReadFromDramOnce) {
  setenv("NOPROP_VGPU_GPU", "t4", 1); /* 4 MiB */
  load("mul.wide.u32 %l1, %r1, 16; add.u64 %l1, %l1, %l0; ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%l1];\n", 1 << 20);
  const noprop_kernel_counts first = launch({256, 256}), second = launch({256, 256});
  EXPECT_EQ(first.l2_sectors, (1u << 20) / 32);
  EXPECT_EQ(first.l2_misses, (1u << 20) / 32);
  EXPECT_EQ(first.dram_read_bytes, 1u << 20);
  EXPECT_EQ(first.dram_written_bytes, 0u);
  EXPECT_EQ(second.l2_sectors, (1u << 20) / 32);
  EXPECT_EQ(second.l2_misses, 0u);
  EXPECT_EQ(second.dram_read_bytes, 0u);
}

TEST_F(CountTest, AStreamBeyondTheL2IsReadAgainAndStoresAreWrittenBack) {
  setenv("NOPROP_VGPU_GPU", "t4", 1);
  load(
      "mul.wide.u32 %l1, %r1, 16; add.u64 %l1, %l1, %l0; ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%l1];\n"
      "st.global.v4.u32 [%l1], {%r3, %r4, %r5, %r6};\n",
      6 << 20);
  const unsigned blocks = (6 << 20) / 16 / 256;
  const noprop_kernel_counts first = launch({blocks, 256}), second = launch({blocks, 256});
  EXPECT_EQ(first.dram_read_bytes, 6u << 20);
  EXPECT_EQ(first.dram_written_bytes, 2u << 20); /* 4 MiB are still in the L2 */
  EXPECT_EQ(second.dram_read_bytes, 6u << 20);
  EXPECT_EQ(second.dram_written_bytes, 6u << 20);
}

TEST_F(CountTest, AStrideFetchesOnlyItsSectors) {
  setenv("NOPROP_VGPU_GPU", "t4", 1);
  const noprop_kernel_counts c =
      count("mul.wide.u32 %l1, %r1, 128; add.u64 %l1, %l1, %l0; ld.global.u32 %r3, [%l1];\n");
  EXPECT_EQ(c.dram_read_bytes, 32u * 32);
  EXPECT_EQ(c.distinct_bytes, 32u * 4);
}

/* ---- shared memory ---- */

/* An array that nothing names would be left out; the only one is at address 0. */
const std::string kAtZero = "mov.u32 %r20, buffer;\n";

struct Banks {
  const char *what, *body;
  unsigned long long wavefronts, conflicts, least;
};

TEST_F(CountTest, SharedAccessesPassThroughTheBanks) {
  const Banks accesses[] = {
      {"consecutive words", "shl.b32 %r3, %r0, 2; ld.shared.u32 %r4, [%r3];", 1, 0, 1},
      {"one word for all", "ld.shared.u32 %r4, [buffer+64];", 1, 0, 1},
      {"two to a bank", "shl.b32 %r3, %r0, 3; ld.shared.u32 %r4, [%r3];", 2, 1, 2},
      {"all in one bank", "shl.b32 %r3, %r0, 7; ld.shared.u32 %r4, [%r3];", 32, 31, 32},
      {"rows padded by a word", "mul.lo.u32 %r3, %r0, 132; ld.shared.u32 %r4, [%r3];", 1, 0, 1},
      {"pairs", "shl.b32 %r3, %r0, 3; ld.shared.v2.u32 {%r4, %r5}, [%r3];", 2, 0, 2},
      {"quadruples", "shl.b32 %r3, %r0, 4; ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r3];", 4, 0, 4},
      {"quadruples in four banks", "shl.b32 %r3, %r0, 7; ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r3];", 32, 28, 32},
      {"a 64-bit word for all", "ld.shared.u64 %l1, [buffer+8];", 2, 0, 1},
      {"stores, two to a bank", "shl.b32 %r3, %r0, 3; st.shared.u32 [%r3], %r0;", 2, 1, 2},
      {"bytes", "ld.shared.u8 %r4, [%r0];", 1, 0, 1},
      {"two lanes in one bank", "shl.b32 %r3, %r0, 7; setp.lt.u32 %p0, %r0, 2; @%p0 ld.shared.u32 %r4, [%r3];", 2, 1,
       2},
      {"generic", "cvta.shared.u64 %l2, buffer; mul.wide.u32 %l1, %r0, 8; add.u64 %l1, %l1, %l2; ld.u32 %r4, [%l1];", 2,
       1, 2}};
  for (const Banks &access : accesses) {
    const noprop_kernel_counts c = count(kAtZero + access.body, {}, ".shared .align 16 .b8 buffer[4352];\n");
    EXPECT_EQ(c.shared_requests, 1u) << access.what;
    EXPECT_EQ(c.shared_wavefronts, access.wavefronts) << access.what;
    EXPECT_EQ(c.shared_conflicts, access.conflicts) << access.what;
    EXPECT_EQ(c.shared_least_wavefronts, access.least) << access.what;
    EXPECT_EQ(c.global_load_requests + c.global_store_requests, 0u) << access.what;
    EXPECT_EQ(c.static_shared, 4352u);
  }
}

TEST_F(CountTest, AtomicsOnSharedMemoryPassThroughTheBanks) {
  const noprop_kernel_counts c =
      count(kAtZero + "shl.b32 %r3, %r0, 3; red.shared.add.u32 [%r3], 1; atom.shared.add.u32 %r4, [buffer], 1;\n", {},
            ".shared .align 16 .b8 buffer[256];\n");
  EXPECT_EQ(c.atomic_instructions, 2u);
  EXPECT_EQ(c.shared_requests, 2u);
  EXPECT_EQ(c.shared_wavefronts, 2u + 1);
  EXPECT_EQ(c.global_atomic_requests, 0u);
}

TEST_F(CountTest, BarriersCountTheirArrivals) {
  const noprop_kernel_counts c = count("bar.sync 0; bar.sync 0; bar.sync 1, 128;\n", {5, 128});
  EXPECT_EQ(c.barrier_instructions, 5u * 4 * 3);
}

TEST_F(CountTest, LocalMemoryIsOfItsOwnKind) {
  const noprop_kernel_counts c = count("st.local.u32 [stack], %r0; ld.local.v2.u32 {%r3, %r4}, [stack];\n", {},
                                       ".local .align 8 .b8 stack[16];\n");
  EXPECT_EQ(c.local_memory, 16u);
  EXPECT_EQ(c.local_requests, 2u);
  EXPECT_EQ(c.local_bytes, 32u * 12);
  EXPECT_EQ(c.global_load_requests + c.shared_requests, 0u);
}

/* ---- matrices ---- */

TEST_F(CountTest, MatrixInstructionsCountTheirProducts) {
  const noprop_kernel_counts c = count(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f0, %f1, %f2, %f3}, {%r3, %r4, %r5, %r6}, {%r7, %r8}, "
      "{%f0, %f1, %f2, %f3};\n"
      "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r3, %r4}, {%r7}, "
      "{%f0, %f1, %f2, %f3};\n"
      "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%f0, %f1, %f2, %f3}, {%r3, %r4}, {%r7}, "
      "{%f0, %f1, %f2, %f3};\n"
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r10, %r11, %r12, %r13}, {%r3, %r4, %r5, %r6}, {%r7, %r8}, "
      "{%r10, %r11, %r12, %r13};\n",
      {3, 64});
  EXPECT_EQ(c.matrix_instructions, 4u * 6);
  EXPECT_EQ(c.tensor_f16_flop, 6u * 2 * 16 * 8 * 16);
  EXPECT_EQ(c.tensor_bf16_flop, 6u * 2 * 16 * 8 * 8);
  EXPECT_EQ(c.tensor_tf32_flop, 6u * 2 * 16 * 8 * 4);
  EXPECT_EQ(c.tensor_integer_op, 6u * 2 * 16 * 8 * 32);
}

TEST_F(CountTest, LdmatrixReadsRowsOfSixteenBytes) {
  /* 16 rows side by side: 256 bytes, two passes; rows 128 bytes apart: all eight of a matrix in the same four banks. */
  const std::string buffer = ".shared .align 16 .b8 buffer[4096];\n";
  const std::string load = "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r4, %r5}, [%r3];\n";
  const noprop_kernel_counts dense = count(kAtZero + "and.b32 %r3, %r0, 15; shl.b32 %r3, %r3, 4;\n" + load, {}, buffer);
  EXPECT_EQ(dense.shared_bytes, 256u);
  EXPECT_EQ(dense.shared_wavefronts, 2u);
  EXPECT_EQ(dense.shared_conflicts, 0u);
  const noprop_kernel_counts apart = count(kAtZero + "and.b32 %r3, %r0, 15; shl.b32 %r3, %r3, 7;\n" + load, {}, buffer);
  EXPECT_EQ(apart.shared_wavefronts, 16u);
  EXPECT_EQ(apart.shared_conflicts, 14u);
}

TEST_F(CountTest, AsynchronousCopiesLoadFromGlobalAndStoreToShared) {
  const noprop_kernel_counts c =
      count(kAtZero +
                "mul.wide.u32 %l1, %r0, 16; add.u64 %l1, %l1, %l0; shl.b32 %r3, %r0, 4;\n"
                "cp.async.ca.shared.global [%r3], [%l1], 16; cp.async.commit_group; cp.async.wait_group 0;\n",
            {}, ".shared .align 16 .b8 buffer[512];\n");
  EXPECT_EQ(c.load_instructions, 1u);
  EXPECT_EQ(c.global_load_requests, 1u);
  EXPECT_EQ(c.global_load_bytes, 512u);
  EXPECT_EQ(c.global_load_sectors, 16u);
  EXPECT_EQ(c.shared_requests, 1u);
  EXPECT_EQ(c.shared_wavefronts, 4u);
  EXPECT_EQ(c.other_instructions, 2u);
}

/* ---- records ---- */

TEST_F(CountTest, ConfigurationsOfOneKernelAreRecordsOfTheirOwn) {
  load("add.u32 %r3, %r0, 1;\n");
  launch({1, 32});
  launch({2, 64});
  launch({3, 32});
  std::vector<noprop_kernel_counts> list(8);
  ASSERT_EQ(vgpu_counts(list.data(), 8), 2);
  EXPECT_EQ(list[0].block[0], 32u);
  EXPECT_EQ(list[0].launches, 2u);
  EXPECT_EQ(list[0].blocks, 4u);
  EXPECT_EQ(list[0].grid[0], 3u);
  EXPECT_EQ(list[1].block[0], 64u);
  EXPECT_EQ(list[1].launches, 1u);
  EXPECT_EQ(vgpu_counts(list.data(), 1), 2); /* says how many there are */
  vgpu_counts_reset();
  EXPECT_EQ(vgpu_counts(list.data(), 8), 0);
}

/* 24 values of 32 bits and an address are alive at once; ptxas is free to do better or worse, by little. */
TEST_F(CountTest, RegistersComeFromPtxasOrFromLifetimes) {
  std::string loads, sums;
  for (int i = 0; i < 24; i++) {
    const std::string r = std::to_string(i + 3);
    loads += "ld.global.u32 %r" + r + ", [%l0+" + std::to_string(4 * i) + "];\n";
    sums += "mul.lo.u32 %r" + r + ", %r" + r + ", %r" + r + "; st.global.u32 [%l0+" + std::to_string(4 * i) + "], %r" +
            r + ";\n";
  }
  const noprop_kernel_counts alive = count(loads + "bar.sync 0;\n" + sums);
  EXPECT_FALSE(alive.registers_are_compiled);
  EXPECT_GE(alive.registers, 26u);
  EXPECT_LE(alive.registers, 32u);
  if (std::system("PATH=\"$PATH:/usr/local/cuda/bin\" ptxas --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "there is no ptxas here";
  unsetenv("NOPROP_VGPU_PTXAS");
  const noprop_kernel_counts compiled = count(loads + "bar.sync 0;\n" + sums);
  EXPECT_TRUE(compiled.registers_are_compiled);
  EXPECT_GE(compiled.registers, 26u);
  EXPECT_LE(compiled.registers, 40u);
}

TEST_F(CountTest, TheModeDoesNotChangeResults) {
  load("mul.wide.u32 %l1, %r1, 4; add.u64 %l1, %l1, %l0; mul.lo.u32 %r3, %r1, 7; st.global.u32 [%l1], %r3;\n");
  launch({4, 64});
  std::vector<unsigned> values(256);
  ASSERT_CUDA(CU(cuMemcpyDtoH)(values.data(), memory_, 1024));
  for (unsigned i = 0; i < 256; i++) EXPECT_EQ(values[i], 7 * i);
}

}  // namespace
