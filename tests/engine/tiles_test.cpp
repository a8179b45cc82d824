/* The choice of tile forms: what the table says, and that every promise of its header holds. */
#include <gtest/gtest.h>

#include <cstdlib>
#include <initializer_list>
#include <string>

extern "C" {
#include "engine/tiles.h"
#include "kernels/arguments.h"
}
#include "tests/tile_form.h"

namespace {

unsigned blocks(const tile_form &form, unsigned batch) {
  unsigned slots, tiles;
  tiles_slots(batch, form.rows, &slots, &tiles);
  return slots;
}

TEST(Tiles, VirtualGpuKeepsVectorsOfThirtyTwoRows) {
  for (unsigned batch : {1u, 256u, 65536u})
    for (int widest : {2, 32, 256}) {
      const tile_form form = tiles_rule(0, batch, widest);
      EXPECT_EQ(form.rows, 32u);
      EXPECT_EQ(form.outputs, 8u);
    }
}

TEST(Tiles, SmallBatchesHaveSmallTilesAndFourTimesTheBlocks) {
  for (unsigned processors : {40u, 108u, 132u, 170u}) {
    EXPECT_EQ(blocks(tiles_rule(processors, 256, 32), 256), 32u);
    EXPECT_EQ(blocks(tiles_rule(processors, 256, 128), 256), 32u);
  }
  EXPECT_EQ(blocks(TILE_FORM_WIDE, 256), 8u);
}

TEST(Tiles, BatchesThatFillEveryProcessorHaveTheFormOfLeastWork) {
  EXPECT_EQ(tiles_rule(132, 32 * 132, 64).rows, 32u);
  EXPECT_EQ(tiles_rule(132, 32 * 132 - 1, 64).rows, 16u);
  EXPECT_EQ(tiles_rule(132, 16 * 132 - 1, 64).rows, 8u);
  EXPECT_EQ(tiles_rule(132, 1 << 20, 64).outputs, 8u);
}

TEST(Tiles, WarpsShareRowsOnTensorCoresWhileNoProcessorGetsASecondBlock) {
  noprop_device *device = nullptr;
  ASSERT_EQ(noprop_device_open("virtual", &device), NOPROP_OK);
  tile_form train, solve;
  const auto choose = [&](unsigned rows) {
    EXPECT_EQ(tiles_of_tensor_train(device, rows, OPERANDS_TF32, 64, &train), NOPROP_OK);
    EXPECT_EQ(tiles_of_solve(device, rows, 64, true, &solve), NOPROP_OK);
  };
  choose(16);
  EXPECT_EQ(train.outputs, 8u) << "the virtual GPU";
  setenv("NOPROP_VGPU_GPU", "a100-80", 1); /* 108 multiprocessors */
  choose(16 * 108);
  EXPECT_EQ(train.outputs, 2u);
  EXPECT_EQ(train.rows, 16u);
  EXPECT_EQ(solve.outputs, 2u);
  EXPECT_EQ(solve.rows, 16u);
  choose(16 * 108 + 1);
  EXPECT_EQ(train.outputs, 8u);
  EXPECT_EQ(solve.outputs, 8u);
  const TileForm forced("16x2");
  choose(65536);
  EXPECT_EQ(train.outputs, 2u);
  EXPECT_EQ(solve.outputs, 2u);
  unsetenv("NOPROP_VGPU_GPU");
  noprop_device_close(device);
}

/* Capability 8.6 is the virtual GPU's own. */
TEST(Tiles, WideLayersOfThreeProductsShareRowsWhereAWarpAloneWouldSpill) {
  noprop_device *device = nullptr;
  ASSERT_EQ(noprop_device_open("virtual", &device), NOPROP_OK);
  const auto outputs = [&](int major, int minor, int operands, int widest) {
    device->properties.compute_capability[0] = major;
    device->properties.compute_capability[1] = minor;
    tile_form form;
    EXPECT_EQ(tiles_of_tensor_train(device, 65536, operands, widest, &form), NOPROP_OK);
    return form.outputs;
  };
  EXPECT_EQ(outputs(8, 6, OPERANDS_TF32X3, 64), 2u);
  EXPECT_EQ(outputs(10, 0, OPERANDS_TF32X3, 64), 2u);
  EXPECT_EQ(outputs(8, 0, OPERANDS_TF32X3, 64), 8u);
  EXPECT_EQ(outputs(9, 0, OPERANDS_TF32X3, 64), 8u);
  EXPECT_EQ(outputs(8, 6, OPERANDS_TF32X3, 48), 8u);
  EXPECT_EQ(outputs(8, 6, OPERANDS_TF32, 64), 8u);
  noprop_device_close(device);
}

TEST(Tiles, SolvesOnTensorCoresTakeSixteenRowsAWarpUntilEveryProcessorHasABlock) {
  noprop_device *device = nullptr;
  ASSERT_EQ(noprop_device_open("virtual", &device), NOPROP_OK);
  setenv("NOPROP_VGPU_GPU", "a100-80", 1); /* 108 multiprocessors */
  tile_form form;
  ASSERT_EQ(tiles_of_solve(device, 128 * 108 - 1, 64, true, &form), NOPROP_OK);
  EXPECT_EQ(form.rows, 16u);
  ASSERT_EQ(tiles_of_solve(device, 128 * 108, 64, true, &form), NOPROP_OK);
  EXPECT_EQ(form.rows, 32u);
  ASSERT_EQ(tiles_of_solve(device, 256, 64, false, &form), NOPROP_OK);
  EXPECT_EQ(form.rows, 8u);
  unsetenv("NOPROP_VGPU_GPU");
  ASSERT_EQ(tiles_of_solve(device, 256, 64, true, &form), NOPROP_OK);
  EXPECT_EQ(form.rows, 32u) << "the virtual GPU";
  noprop_device_close(device);
}

/* 128 threads sum rows x widest outputs: none is left without work up to what a thread can take. */
TEST(Tiles, ThreadsShareTheWidestLayer) {
  for (unsigned batch : {256u, 2048u, 4096u, 65536u})
    for (int widest : {8, 24, 32, 33, 64, 65, 128, 1000}) {
      const tile_form form = tiles_rule(108, batch, widest);
      SCOPED_TRACE(testing::Message() << batch << " rows, " << widest << " outputs: " << form.rows << "x"
                                      << form.outputs);
      EXPECT_TRUE(form.rows == 8 || form.rows == 16 || form.rows == 32);
      EXPECT_TRUE(form.outputs == 2 || form.outputs == 4 || form.outputs == 8);
      const unsigned covered = TILE_THREADS / form.rows * form.outputs;
      EXPECT_TRUE(covered >= static_cast<unsigned>(widest) || form.outputs == 8) << "more than one turn";
    }
}

TEST(Tiles, SlotsHoldEveryTileOnce) {
  for (unsigned rows : {1u, 31u, 256u, 1000u, 5000u, 65536u, 1u << 24})
    for (unsigned tile_rows : {8u, 16u, 32u, 64u}) {
      unsigned slots, tiles;
      tiles_slots(rows, tile_rows, &slots, &tiles);
      EXPECT_LE(slots, 128u);
      EXPECT_GE(static_cast<unsigned long long>(slots) * tiles * tile_rows, rows);
      EXPECT_LT(static_cast<unsigned long long>(slots - 1) * tiles * tile_rows, rows);
    }
}

TEST(Tiles, EnvironmentVariableOverridesTheTableOrIsRefused) {
  tile_form form;
  {
    const TileForm forced("16x4");
    ASSERT_EQ(tiles_of_requests(&form), NOPROP_OK);
    EXPECT_EQ(form.rows, 16u);
    EXPECT_EQ(form.outputs, 4u);
  }
  for (const char *text : {"7x2", "8x3", "8", "8x2x", "wide", "8x"}) {
    const TileForm forced(text);
    EXPECT_EQ(tiles_of_requests(&form), NOPROP_INVALID_ARGUMENT) << text;
    EXPECT_NE(std::string(noprop_last_error()).find(text), std::string::npos) << noprop_last_error();
  }
  ASSERT_EQ(tiles_of_requests(&form), NOPROP_OK);
  EXPECT_EQ(form.rows, 32u);
}

}  // namespace
