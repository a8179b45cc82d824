/* The table of GPUs is consistent with itself, and bounds and occupancy follow from counts as worked out by hand. */
#include "noprop/counts.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

namespace {

TEST(Counts, EveryFigureHasASource) {
  std::set<std::string> names;
  for (int i = 0; noprop_gpu_at(i); i++) {
    const noprop_gpu *gpu = noprop_gpu_at(i);
    EXPECT_TRUE(names.insert(gpu->name).second) << gpu->name;
#define CHECK_FIGURE(figure, unit, meaning) \
  EXPECT_EQ(gpu->figure.value > 0, gpu->figure.source != nullptr && gpu->figure.source[0]) << gpu->name << " " #figure;
    NOPROP_GPU_FIGURES(CHECK_FIGURE)
#undef CHECK_FIGURE
  }
  for (const char *name : {"rtx-3090", "rtx-4090", "a100-80", "l4", "h100-sxm", "b200", "rtx-5090"})
    EXPECT_EQ(names.count(name), 1u) << name;
  EXPECT_EQ(noprop_gpu_at(-1), nullptr);
}

/* Peaks are published besides clock, multiprocessors and rates: they must agree to the digits printed. */
TEST(Counts, PublishedPeaksFollowFromRatesAndClocks) {
  for (int i = 0; noprop_gpu_at(i); i++) {
    const noprop_gpu *gpu = noprop_gpu_at(i);
    const double clocks = gpu->multiprocessors.value * gpu->clock.value;
    EXPECT_NEAR(2 * gpu->fma_per_clock.value * clocks / gpu->peak_fp32.value, 1, 0.01) << gpu->name;
    /* Multiply-adds per clock and multiprocessor of four tensor cores: whole powers of two, but for a tensor clock of
     * its own that NVIDIA gives Hopper and B200. */
    const double tensor = gpu->tensor_f16.value / (2 * clocks);
    double power = 256;
    while (power < tensor * 0.75) power *= 2;
    EXPECT_NEAR(tensor / power, 1, gpu->capability == 90 || gpu->capability == 100 ? 0.09 : 0.01) << gpu->name;
    if (gpu->tensor_tf32.value > 0) {
      EXPECT_NEAR(gpu->tensor_bf16.value / gpu->tensor_f16.value, 1, 0.001) << gpu->name;
      EXPECT_NEAR(gpu->tensor_tf32.value * 2 / gpu->tensor_f16.value, 1, 0.01) << gpu->name;
    }
  }
}

TEST(Counts, NamesAreFoundHoweverTheyAreWritten) {
  const noprop_gpu *gpu = nullptr;
  ASSERT_EQ(noprop_gpu_find("RTX 3090", &gpu), NOPROP_OK);
  EXPECT_STREQ(gpu->name, "rtx-3090");
  ASSERT_EQ(noprop_gpu_find("h100_sxm", &gpu), NOPROP_OK);
  EXPECT_STREQ(gpu->name, "h100-sxm");
  EXPECT_EQ(noprop_gpu_find("rtx-3091", &gpu), NOPROP_INVALID_ARGUMENT);
  for (int i = 0; noprop_gpu_at(i); i++) EXPECT_NE(std::strstr(noprop_last_error(), noprop_gpu_at(i)->name), nullptr);
}

const noprop_gpu *gpu_named(const char *name) {
  const noprop_gpu *gpu = nullptr;
  EXPECT_EQ(noprop_gpu_find(name, &gpu), NOPROP_OK);
  return gpu;
}

/* A100: 108 multiprocessors at 1410 MHz; per clock and multiprocessor 64 FMAs, 16 special functions, 128 bytes. */
TEST(Counts, BoundsAreAmountsOverRates) {
  const double clocks = 108 * 1410e6;
  noprop_kernel_counts counts = {};
  counts.block[0] = counts.block[1] = counts.block[2] = 1;
  counts.fp32_fma = 1000000;
  counts.fp32_add = 500000;
  counts.fp32_add_free = 400000; /* may take in up to as many multiplications */
  counts.fp32_mul = 300000;
  counts.fp32_mul_free = 250000;
  counts.special_functions = 2000000;
  counts.shared_least_wavefronts = 700000;
  counts.tensor_bf16_flop = 3000000000;
  counts.tensor_tf32_flop = 1000000000;
  counts.distinct_loaded_sectors = 1000;
  counts.global_store_sectors = 200;
  counts.global_atomic_sectors = 30;
  counts.dram_read_bytes = 4000000;
  counts.dram_written_bytes = 1000000;
  noprop_bounds bounds = {};
  noprop_counts_bound(&counts, 2, gpu_named("a100-40"), &bounds);
  EXPECT_DOUBLE_EQ(bounds.fma, (1000000 + 100000 + 50000 + 400000) / (64 * clocks));
  EXPECT_DOUBLE_EQ(bounds.special, 2000000 / (16 * clocks));
  EXPECT_DOUBLE_EQ(bounds.shared, 700000 / clocks);
  EXPECT_DOUBLE_EQ(bounds.tensor, 3e9 / 312e12 + 1e9 / 156e12);
  EXPECT_DOUBLE_EQ(bounds.l2, 32.0 * 1230 / (5120 * 1410e6));
  EXPECT_DOUBLE_EQ(bounds.dram, 5e6 / 1555e9);
  EXPECT_DOUBLE_EQ(bounds.launch, 5e-6);
  EXPECT_STREQ(bounds.largest_name, "tensor");
  EXPECT_DOUBLE_EQ(bounds.largest, bounds.tensor);
}

TEST(Counts, WhatIsNotPublishedHasNoBound) {
  noprop_kernel_counts counts = {};
  counts.block[0] = counts.block[1] = counts.block[2] = 1;
  counts.distinct_loaded_sectors = 1000;
  counts.tensor_bf16_flop = 1;
  noprop_bounds bounds = {};
  noprop_counts_bound(&counts, 0, gpu_named("t4"), &bounds); /* Turing has no bf16, and its L2's speed is not public */
  EXPECT_LT(bounds.l2, 0);
  EXPECT_LT(bounds.tensor, 0);
  EXPECT_EQ(bounds.launch, 0);
}

noprop_bounds occupancy(const char *gpu, unsigned threads, unsigned registers, unsigned shared) {
  noprop_kernel_counts counts = {};
  counts.block[0] = threads;
  counts.block[1] = counts.block[2] = 1;
  counts.registers = registers;
  counts.dynamic_shared = shared;
  noprop_bounds bounds = {};
  noprop_counts_bound(&counts, 0, gpu_named(gpu), &bounds);
  return bounds;
}

void expect_occupancy(const noprop_bounds &bounds, int blocks, double share, const char *limit) {
  EXPECT_EQ(bounds.resident_blocks, blocks);
  EXPECT_DOUBLE_EQ(bounds.occupancy, share);
  EXPECT_STREQ(bounds.occupied_by, limit);
}

TEST(Counts, OccupancyIsWhatTheScarcestResourceLeaves) {
  expect_occupancy(occupancy("rtx-3090", 256, 32, 0), 6, 1.0, "threads"); /* 1536 / 256; registers allow 8 */
  expect_occupancy(occupancy("rtx-3090", 32, 16, 0), 16, 16 * 32 / 1536.0, "blocks");
  /* 65 registers: 2,304 per warp (units of 256), 7 warps in each quarter of 16,384; 28 warps are 3 blocks of 8. */
  expect_occupancy(occupancy("rtx-3090", 256, 65, 0), 3, 0.5, "registers");
  expect_occupancy(occupancy("h100-sxm", 256, 255, 0), 1, 256 / 2048.0, "registers");
  /* 48 KiB and the system's 1 KiB: two blocks in 100 KiB; four in 228 KiB. */
  expect_occupancy(occupancy("rtx-3090", 128, 32, 48 * 1024), 2, 256 / 1536.0, "shared memory");
  expect_occupancy(occupancy("h100-sxm", 128, 32, 48 * 1024), 4, 512 / 2048.0, "shared memory");
  expect_occupancy(occupancy("t4", 1024, 64, 0), 1, 1.0, "threads");
}

/* 300 instructions a block, four issued per clock: 8 blocks take as long as one, 133 on 132 multiprocessors as two. */
TEST(Counts, WholeBlocksAreIssuedByOneMultiprocessor) {
  const noprop_gpu *gpu = gpu_named("h100-sxm");
  noprop_kernel_counts counts = {};
  noprop_bounds bounds;
  const double of_one = 300 / (4 * gpu->clock.value);
  for (const auto &[blocks, turns] : {std::pair{8u, 1}, {132u, 1}, {133u, 2}, {264u, 2}}) {
    counts.launches = 3;
    counts.blocks = 3ull * blocks;
    counts.warp_instructions = 300 * counts.blocks;
    noprop_counts_bound(&counts, 0, gpu, &bounds);
    EXPECT_NEAR(bounds.placed_issue, 3 * turns * of_one, 1e-9 * of_one) << blocks;
    EXPECT_NEAR(bounds.issue, 3 * of_one * blocks / 132, 1e-9 * of_one) << blocks;
  }
}

}  // namespace
