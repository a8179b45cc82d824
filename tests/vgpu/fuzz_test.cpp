/* `fuzz` mode: kernels that depend on what hardware leaves open are exposed, those that do not give the same under
 * every seed, and blocks and warps that wait for each other get on. */
#include <cuda.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/vgpu/api_support.h"
#include "tests/vgpu/ptx_support.h"

extern "C" {
#include "engine/vgpu/fuzz.h"
#include "engine/vgpu/matrix.h"
#include "engine/vgpu/observe.h"
}

namespace {

constexpr unsigned SEEDS = 20;
using Words = std::vector<uint32_t>;

class FuzzTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_CUDA(CU(cuInit)(0));
    ASSERT_CUDA(CU(cuDevicePrimaryCtxRetain)(&context_, 0));
    ASSERT_CUDA(CU(cuCtxSetCurrent)(context_));
    ASSERT_CUDA(CU(cuMemAlloc)(&memory_, 4 * COUNT));
  }
  void TearDown() override {
    CU(cuDevicePrimaryCtxRelease)(0);
    CU(cuCtxSetCurrent)(nullptr);
    vgpu_set_mode(VGPU_MODE_RUN);
  }
  /* A kernel whose %l0 is the address of COUNT words; %r0 the thread, %r1 its block, %r2 the thread in the grid. */
  void load(const std::string &body, const std::string &before = "") {
    const std::string text =
        ptx::kernel(".reg .pred %p<8>; .reg .b32 %r<20>; .reg .b64 %l<9>; .reg .f32 %f<9>;\n" + before +
                        "ld.param.u64 %l0, [p0]; mov.u32 %r0, %tid.x; mov.u32 %r1, %ctaid.x; mov.u32 %r3, %ntid.x;\n"
                        "mad.lo.u32 %r2, %r1, %r3, %r0; mul.wide.u32 %l1, %r2, 4; add.u64 %l1, %l1, %l0;\n" +
                        body,
                    1);
    ASSERT_CUDA(CU(cuModuleLoadData)(&module_, text.c_str())) << text;
    ASSERT_CUDA(CU(cuModuleGetFunction)(&function_, module_, "k"));
  }
  /* The first `words` words after a launch on memory that holds `start` or zeros. */
  Words launch(unsigned grid, unsigned block, size_t words, const Words &start = {}, bool cooperative = false) {
    EXPECT_CUDA(CU(cuMemsetD32)(memory_, 0, COUNT));
    if (!start.empty()) {
      EXPECT_CUDA(CU(cuMemcpyHtoD)(memory_, start.data(), 4 * start.size()));
    }
    void *parameters[] = {&memory_};
    EXPECT_CUDA(cooperative ? CU(cuLaunchCooperativeKernel)(function_, grid, 1, 1, block, 1, 1, 0, nullptr, parameters)
                            : CU(cuLaunchKernel)(function_, grid, 1, 1, block, 1, 1, 0, nullptr, parameters, nullptr));
    EXPECT_CUDA(CU(cuCtxSynchronize)());
    Words result(words);
    EXPECT_CUDA(CU(cuMemcpyDtoH)(result.data(), memory_, 4 * words));
    return result;
  }
  Words fuzzed(uint64_t seed, unsigned what, unsigned grid, unsigned block, size_t words, const Words &start = {},
               bool cooperative = false) {
    vgpu_set_mode(VGPU_MODE_FUZZ);
    fuzz_set(seed, what);
    const Words result = launch(grid, block, words, start, cooperative);
    vgpu_set_mode(VGPU_MODE_RUN);
    return result;
  }
  /* The different results of all seeds. */
  std::set<Words> outcomes(unsigned grid, unsigned block, size_t words, const Words &start = {},
                           unsigned what = FUZZ_ALL) {
    std::set<Words> all;
    for (unsigned seed = 1; seed <= SEEDS; seed++) all.insert(fuzzed(seed, what, grid, block, words, start));
    return all;
  }

  enum { COUNT = 16384 };

  CUfunction function_ = nullptr;
  CUdeviceptr memory_ = 0;

 private:
  CUcontext context_ = nullptr;
  CUmodule module_ = nullptr;
};

/* ---- order ---- */

TEST_F(FuzzTest, UpdatesThatAreNotAtomicAreLost) {
  load("ld.global.u32 %r4, [%l0]; add.u32 %r4, %r4, 1; st.global.u32 [%l0], %r4;\n");
  EXPECT_EQ(launch(8, 128, 1)[0], 32u); /* one of each warp: nothing shows without fuzzing */
  const std::set<Words> all = outcomes(8, 128, 1);
  EXPECT_GT(all.size(), 3u);
  EXPECT_LT(all.begin()->front(), 32u);
}

TEST_F(FuzzTest, AtomicUpdatesAreNot) {
  load("red.global.add.u32 [%l0], 1;\n");
  EXPECT_EQ(outcomes(8, 128, 1), std::set<Words>{{1024}});
}

TEST_F(FuzzTest, TheLastOfSeveralStoresIsAnyOfThem) {
  load("st.global.u32 [%l0], %r2;\n");
  const std::set<Words> all = outcomes(4, 64, 1);
  EXPECT_GT(all.size(), 5u);
  std::set<uint32_t> lanes; /* also among the lanes of a warp */
  for (const Words &words : all) {
    EXPECT_LT(words[0], 256u);
    lanes.insert(words[0] % 32);
  }
  EXPECT_GT(lanes.size(), 5u);
}

TEST_F(FuzzTest, AMissingBarrierShows) {
  const std::string array = ".shared .align 4 .b8 array[512];\n";
  const std::string write =
      "mov.u32 %r4, array; shl.b32 %r5, %r0, 2; add.u32 %r5, %r5, %r4; st.shared.u32 [%r5], %r0;\n";
  const std::string read =
      "sub.u32 %r6, 127, %r0; shl.b32 %r6, %r6, 2; add.u32 %r6, %r6, %r4; ld.shared.u32 %r7, [%r6];\n"
      "st.global.u32 [%l1], %r7;\n";
  Words right(256);
  for (unsigned i = 0; i < 256; i++) right[i] = 127 - i % 128;
  load(write + "bar.sync 0;\n" + read, array);
  EXPECT_EQ(outcomes(2, 128, 256), std::set<Words>{right});
  load(write + read, array);
  EXPECT_GT(outcomes(2, 128, 256).size(), 3u);
}

TEST_F(FuzzTest, SumsOfFloatsByAtomicsDependOnTheOrderWithinTheirBound) {
  load("ld.global.f32 %f0, [%l1+4]; red.global.add.f32 [%l0], %f0;\n");
  Words start(257);
  double exact = 0, magnitude = 0;
  for (unsigned i = 1; i <= 256; i++) {
    const float x =
        std::ldexp(1.0f + 0.0137f * static_cast<float>(i), static_cast<int>(i % 13) - 6) * (i % 3 ? 1.0f : -1.0f);
    std::memcpy(&start[i], &x, 4);
    exact += static_cast<double>(x);
    magnitude += std::fabs(static_cast<double>(x));
  }
  const std::set<Words> all = outcomes(4, 64, 1, start);
  EXPECT_GT(all.size(), 3u);
  for (const Words &words : all) EXPECT_NEAR(ptx::f32(words[0]), exact, 256 * 0x1p-24 * magnitude);
}

TEST_F(FuzzTest, ABlockMayWaitForTheOneBefore) {
  load(
      "setp.ne.u32 %p0, %r0, 0; @%p0 bra DONE; setp.eq.u32 %p1, %r1, 0; mov.u32 %r4, 0; mul.wide.u32 %l2, %r1, 4;\n"
      "add.u64 %l2, %l2, %l0; @%p1 bra GO;\n"
      "SPIN: ld.acquire.gpu.global.u32 %r4, [%l2+-4]; setp.eq.u32 %p2, %r4, 0; @%p2 bra SPIN;\n"
      "GO: add.u32 %r4, %r4, 1; st.release.gpu.global.u32 [%l2], %r4;\nDONE:\n");
  Words right(300);
  std::iota(right.begin(), right.end(), 1u);
  EXPECT_EQ(outcomes(300, 64, 300), std::set<Words>{right});
  EXPECT_EQ(outcomes(300, 64, 300, {}, FUZZ_APPROXIMATE), std::set<Words>{right}); /* and in the plain order */
}

TEST_F(FuzzTest, WarpsOfABlockMayWaitForEachOther) {
  load(
      "setp.lt.u32 %p0, %r0, 32; @%p0 bra SPIN;\n" /* the first warp waits for the second */
      "st.volatile.global.u32 [%l0+4096], 7; bra DONE;\n"
      "SPIN: ld.volatile.global.u32 %r4, [%l0+4096]; setp.eq.u32 %p1, %r4, 0; @%p1 bra SPIN;\n"
      "st.global.u32 [%l1], %r4;\nDONE:\n");
  EXPECT_EQ(outcomes(1, 64, 32), std::set<Words>{Words(32, 7)});
  EXPECT_EQ(outcomes(1, 64, 32, {}, 0), std::set<Words>{Words(32, 7)});
}

TEST_F(FuzzTest, CooperativeLaunchesMeet) {
  /* Three rounds: every block adds one to a counter and waits until all have. */
  load(
      "mov.u32 %r4, 0; mov.u32 %r5, %nctaid.x; setp.ne.u32 %p0, %r0, 0;\n"
      "NEXT: bar.sync 0; @%p0 bra MET; mul.wide.u32 %l2, %r4, 4; add.u64 %l2, %l2, %l0;\n"
      "atom.add.release.gpu.global.u32 %r6, [%l2], 1;\n"
      "SPIN: ld.acquire.gpu.global.u32 %r7, [%l2]; setp.lt.u32 %p1, %r7, %r5; @%p1 bra SPIN;\n"
      "MET: bar.sync 0; add.u32 %r4, %r4, 1; setp.lt.u32 %p2, %r4, 3; @%p2 bra NEXT;\n");
  for (unsigned seed = 1; seed <= 5; seed++)
    for (unsigned what : {0u, static_cast<unsigned>(FUZZ_ALL)})
      EXPECT_EQ(fuzzed(seed, what, 6, 64, 3, {}, true), Words(3, 6)) << "seed " << seed;
}

TEST_F(FuzzTest, ASeedRepeatsExactly) {
  load("ld.global.u32 %r4, [%l0]; add.u32 %r4, %r4, 1; st.global.u32 [%l0], %r4; st.global.u32 [%l0+4], %r2;\n");
  const Words first = fuzzed(11, FUZZ_ALL, 8, 128, 2);
  const struct fuzz_report report = fuzz_report();
  EXPECT_EQ(fuzzed(11, FUZZ_ALL, 8, 128, 2), first);
  const struct fuzz_report again = fuzz_report();
  EXPECT_EQ(std::memcmp(&report, &again, sizeof report), 0);
  EXPECT_EQ(report.seed, 11u);
  EXPECT_EQ(report.launches, 1u);
  EXPECT_GT(report.turns, 32u); /* warps were interrupted */
  EXPECT_EQ(report.shuffled_accesses, 2u * 1024);
}

TEST_F(FuzzTest, FaultsEndTheLaunch) {
  load("setp.eq.u32 %p0, %r2, 200; @!%p0 bra DONE; mov.u64 %l2, 64; st.global.u32 [%l2], %r2;\nDONE:\n");
  vgpu_set_mode(VGPU_MODE_FUZZ);
  fuzz_set(1, FUZZ_ALL);
  void *parameters[] = {&memory_};
  CU(cuLaunchKernel)(function_, 8, 1, 1, 64, 1, 1, 0, nullptr, parameters, nullptr);
  EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_NE(std::string(vgpu_last_message()).find("block (3, 0, 0), thread (8, 0, 0)"), std::string::npos)
      << vgpu_last_message();
}

/* ---- approximations ---- */

TEST_F(FuzzTest, WhatDependsOnApproximationsIsExposed) {
  load(
      "cvt.rn.f32.u32 %f0, %r2; add.f32 %f0, %f0, 0f3f800000; rcp.approx.f32 %f1, %f0; mul.rn.f32 %f2, %f1, %f0;\n"
      "setp.eq.f32 %p0, %f2, 0f3f800000; selp.u32 %r4, 1, 0, %p0; st.global.u32 [%l1], %r4;\n");
  const Words plain = launch(4, 64, 256);
  EXPECT_GT(outcomes(4, 64, 256).size(), 10u);
  EXPECT_EQ(outcomes(4, 64, 256, {}, FUZZ_ORDER), std::set<Words>{plain});
  fuzzed(3, FUZZ_APPROXIMATE, 4, 64, 256);
  EXPECT_EQ(fuzz_report().approximations, 256u);
  EXPECT_GT(fuzz_report().moved, 50u);
}

TEST_F(FuzzTest, ResultsOverwriteTheirOperands) {
  load(
      "cvt.rn.f32.u32 %f0, %r2; ex2.approx.f32 %f0, 0f3e800000; sqrt.approx.f32 %f0, %f0; st.global.f32 [%l1], %f0;\n");
  for (const Words &words : outcomes(1, 32, 32)) /* 2^(1/8): 2 ulp of the first, halved, and 2^-23 of the second */
    for (uint32_t word : words) EXPECT_NEAR(ptx::f32(word), std::exp2(0.125), 3 * 0x1p-23 * 1.1);
}

TEST_F(FuzzTest, RoundedArithmeticIsTheSameUnderEverySeed) {
  load(
      "cvt.rn.f32.u32 %f0, %r2; add.rn.f32 %f1, %f0, 0f3f8ccccd; div.rn.f32 %f2, %f0, %f1; sqrt.rn.f32 %f3, %f2;\n"
      "fma.rn.f32 %f4, %f3, %f2, %f1; st.global.f32 [%l1], %f4;\n");
  const Words plain = launch(4, 64, 256);
  EXPECT_EQ(outcomes(4, 64, 256), std::set<Words>{plain});
}

/* ---- matrices ---- */

struct Registers {
  alignas(64) uint32_t lanes[24][32];
};

struct Matrix {
  const char *name, *text; /* PTX with %r as registers */
  bool quads;              /* the layout of matrix.h for all but m8n8k4 */
};

const Matrix MATRICES[] = {
    {"f16 k16",
     "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f0,%f1,%f2,%f3}, {%r0,%r1,%r2,%r3}, {%r4,%r5}, "
     "{%f4,%f5,%f6,%f7};",
     true},
    {"bf16 k8",
     "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f0,%f1,%f2,%f3}, {%r0,%r1}, {%r4}, {%f4,%f5,%f6,%f7};",
     true},
    {"tf32 k8",
     "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f0,%f1,%f2,%f3}, {%r0,%r1,%r2,%r3}, {%r4,%r5}, "
     "{%f4,%f5,%f6,%f7};",
     true},
    {"tf32 k4",
     "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%f0,%f1,%f2,%f3}, {%r0,%r1}, {%r4}, {%f4,%f5,%f6,%f7};",
     true},
    {"f16 k4",
     "mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%f0,%f1,%f2,%f3,%f4,%f5,%f6,%f7}, {%r0,%r1}, {%r4,%r5}, "
     "{%f0,%f1,%f2,%f3,%f4,%f5,%f6,%f7};",
     false}};

/* x with ten bits of fraction, as f16 and tf32 have, and no smaller than the normal range of f16. */
float shortened(float x) { return std::fabs(x) < 0x1p-14f ? 0.0f : ptx::f32(ptx::bits(x) & 0xffffe000u); }

/* The bits of a shortened x as an element of the type. */
uint32_t element(float x, unsigned type) {
  const uint32_t bits = static_cast<uint32_t>(ptx::bits(x));
  if (type == PTX_BF16) return bits >> 16;
  if (type != PTX_F16) return bits;
  return x == 0 ? 0 : (bits >> 16 & 0x8000) | ((bits & 0x7fffffff) - (112u << 23)) >> 13;
}

class FuzzMatrix : public ::testing::TestWithParam<Matrix> {
 protected:
  void SetUp() override {
    module_ = std::make_unique<ptx::Module>(
        ptx::kernel(".reg .b32 %r<8>; .reg .f32 %f<8>;\n" + std::string(GetParam().text), 1));
    ASSERT_STREQ(module_->error.reason, "") << GetParam().name;
    const ptx_function *function = module_->function("k");
    for (uint32_t i = 0; i < function->instruction_count; i++)
      if (function->instructions[i].op == PTX_MMA) mma_ = &function->instructions[i];
    ASSERT_NE(mma_, nullptr);
  }
  /* `value` of every element of A and B; C's from `c`. */
  template <typename Value>
  void fill(Value value, Value c) {
    const unsigned per = mma_->matrix.a == PTX_TF32 ? 1 : 2;
    for (unsigned r = 0; r < mma_->src_count; r++) {
      for (unsigned l = 0; l < 32; l++) {
        const bool factor = r < mma_->matrix.a_count + mma_->matrix.b_count;
        sources_.lanes[r][l] = factor ? element(value(), mma_->matrix.a) : element(c(), PTX_F32);
        if (factor && per == 2) sources_.lanes[r][l] |= element(value(), mma_->matrix.a) << 16;
      }
    }
  }
  Words multiply(uint64_t seed, bool plain = false) {
    const void *sources[24];
    void *results[24];
    Registers result;
    for (unsigned r = 0; r < 24; r++) {
      sources[r] = sources_.lanes[r];
      results[r] = result.lanes[r];
    }
    if (plain)
      vgpu_mma(mma_, sources, results);
    else
      fuzz_mma(mma_, seed, sources, results);
    return Words(&result.lanes[0][0], &result.lanes[0][0] + 32 * mma_->dst_count);
  }

  std::unique_ptr<ptx::Module> module_;
  const ptx_instruction *mma_ = nullptr;
  Registers sources_ = {};
};

INSTANTIATE_TEST_SUITE_P(Forms, FuzzMatrix, ::testing::ValuesIn(MATRICES));

/* Small integers: the sum is exact in every order and rounding, so the elements must still meet their partners. */
TEST_P(FuzzMatrix, ExactSumsAreTheSameUnderEverySeed) {
  std::mt19937 random(7);
  const std::function<float()> small = [&] { return static_cast<float>(static_cast<int>(random() % 17) - 8); };
  fill(small, small);
  ASSERT_TRUE(fuzz_is_open_matrix(mma_));
  const Words plain = multiply(0, true);
  for (uint64_t seed = 1; seed <= 200; seed++) EXPECT_EQ(multiply(seed), plain) << "seed " << seed;
}

TEST_P(FuzzMatrix, OthersDifferByRoundingOnly) {
  std::mt19937 random(8);
  std::uniform_real_distribution<float> uniform(-1, 1);
  const std::function<float()> any = [&] { return shortened(uniform(random)); };
  fill(any, any);
  const Words plain = multiply(0, true);
  std::set<Words> all;
  /* Both are off by at most k + 1 roundings (twice as large if toward zero) of sums below k + 1. */
  const double k = mma_->matrix.k + 1.0, bound = 3 * k * k * 0x1p-24;
  for (uint64_t seed = 1; seed <= 100; seed++) {
    const Words words = multiply(seed);
    for (size_t i = 0; i < words.size(); i++) ASSERT_NEAR(ptx::f32(words[i]), ptx::f32(plain[i]), bound);
    all.insert(words);
  }
  EXPECT_GT(all.size(), GetParam().quads ? 20u : 2u);
}

TEST(FuzzMatrixTest, BitsThatTf32DoesNotHaveMayCount) {
  ptx::Module module(ptx::kernel(".reg .b32 %r<8>; .reg .f32 %f<8>;\n" + std::string(MATRICES[3].text), 1));
  const ptx_function *function = module.function("k");
  const ptx_instruction *mma = nullptr;
  for (uint32_t i = 0; i < function->instruction_count; i++)
    if (function->instructions[i].op == PTX_MMA) mma = &function->instructions[i];
  ASSERT_NE(mma, nullptr);
  Registers sources = {}, result;
  const void *from[24];
  void *to[24];
  for (unsigned r = 0; r < 24; r++) {
    from[r] = sources.lanes[r];
    to[r] = result.lanes[r];
  }
  const auto results = [&](uint32_t a) { /* one product of a and 1 in every sum */
                                         std::memset(&sources, 0, sizeof sources);
                                         for (unsigned l = 0; l < 32; l += 4) {
                                           sources.lanes[0][l] = sources.lanes[1][l] = a;
                                           sources.lanes[2][l] = 0x3f800000;
                                         }
                                         std::set<uint32_t> all;
                                         for (uint64_t seed = 0; seed < 50; seed++) {
                                           fuzz_mma(mma, seed, from, to);
                                           all.insert(result.lanes[0][5]);
                                         }
                                         return all;
  };
  EXPECT_EQ(results(0x3f802000), (std::set<uint32_t>{0x3f802000}));             /* a tf32 number */
  EXPECT_EQ(results(0x3f801000), (std::set<uint32_t>{0x3f800000, 0x3f802000})); /* cut off or rounded */
}

TEST_F(FuzzTest, MatricesOfAKernelAreVaried) {
  load(
      "cvt.rn.f32.u32 %f0, %r0; mov.f32 %f1, 0f3f9d70a4; mov.f32 %f2, 0f3eaaaaab; mov.f32 %f3, %f1;\n"
      "mov.u32 %r4, 0x3555; mov.u32 %r5, 0x2e663a00;\n"
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f0,%f1,%f2,%f3}, {%r4,%r5,%r5,%r4}, {%r5,%r5}, "
      "{%f0,%f1,%f2,%f3};\nst.global.f32 [%l1], %f0;\n");
  const Words plain = launch(1, 32, 32);
  EXPECT_GT(outcomes(1, 32, 32, {}, FUZZ_MATRIX).size(), 1u);
  EXPECT_EQ(fuzz_report().matrices, 1u);
  EXPECT_EQ(outcomes(1, 32, 32, {}, FUZZ_ORDER | FUZZ_APPROXIMATE), std::set<Words>{plain});
}

}  // namespace
