/* Cooperative groups and warp-level functions against plain loops over the threads. */
#include <algorithm>
#include <numeric>

#include "tests/foreign/kernels/cooperative_groups_results.h"
#include "tests/foreign/support.h"

namespace {

constexpr int kThreads = 128, kCount = 3 * kThreads;

class CooperativeGroupsTest : public foreign::Test {
 protected:
  void SetUp() override {
    NEEDS_MODULE("cooperative_groups");
    Test::SetUp();
    module = std::make_unique<foreign::Module>("cooperative_groups");
  }
  void TearDown() override {
    module.reset();
    Test::TearDown();
  }
  std::vector<int> random(size_t count = kCount) {
    std::vector<int> values(count);
    for (int &value : values) value = std::uniform_int_distribution<int>(-1000, 1000)(generator);
    return values;
  }
  std::mt19937_64 generator{11};
  std::unique_ptr<foreign::Module> module;
};

TEST_F(CooperativeGroupsTest, TilesOfEverySize) {
  const std::vector<int> x = random();
  const foreign::Array<int> device_x(x), device_result(size_t{TILE_RESULTS} * kCount);
  for (int size : {2, 4, 8, 16, 32}) {
    module->launch("tiles_of_" + std::to_string(size), kCount / kThreads, kThreads, device_x, device_result);
    std::vector<int> expected(size_t{TILE_RESULTS} * kCount);
    for (int i = 0; i < kCount; ++i) {
      const int rank = i % size, begin = i - rank;
      const int *tile = &x[begin];
      int *mine = &expected[size_t{TILE_RESULTS} * i];
      mine[RANK] = rank;
      mine[SIZE] = size;
      mine[TILE] = i % kThreads / size;
      mine[SUM] = std::accumulate(tile, tile + size, 0);
      mine[LARGEST] = *std::max_element(tile, tile + size);
      mine[INCLUSIVE] = std::accumulate(tile, tile + rank + 1, 0);
      mine[EXCLUSIVE] = mine[INCLUSIVE] - tile[rank];
      mine[DOWN] = tile[std::min(rank + 1, size - 1)];
      mine[MIRROR] = tile[size - 1 - rank];
      mine[FIRST] = tile[0];
      mine[ANY] = std::any_of(tile, tile + size, [](int value) { return value > 900; });
      mine[ALL] = std::all_of(tile, tile + size, [](int value) { return value > -900; });
      for (int lane = 0; lane < size; ++lane) {
        mine[BALLOT] |= static_cast<int>((tile[lane] > 0 ? 1u : 0u) << lane);
        mine[MATCHED] |= static_cast<int>(((tile[lane] & 3) == (tile[rank] & 3) ? 1u : 0u) << lane);
      }
    }
    EXPECT_EQ(device_result.values(), expected) << "tiles of " << size;
  }
}

TEST_F(CooperativeGroupsTest, CoalescedThreadsAreThoseThatTookTheBranch) {
  const std::vector<int> x = random();
  const foreign::Array<int> device_x(x), device_result(size_t{4} * kCount), device_total(1);
  device_total.zero();
  module->launch("coalesced", kCount / kThreads, kThreads, device_x, device_result, device_total);
  std::vector<int> expected(size_t{4} * kCount, -1);
  int total = 0;
  for (int warp = 0; warp < kCount; warp += 32) {
    int members = 0, sum = 0;
    for (int i = warp; i < warp + 32; ++i) {
      if (x[i] <= 0) continue;
      sum += x[i];
      expected[4 * i + 1] = members++;
      expected[4 * i + 3] = sum;
    }
    for (int i = warp; i < warp + 32; ++i) {
      if (x[i] > 0) expected[4 * i] = members, expected[4 * i + 2] = sum;
    }
    total += sum;
  }
  EXPECT_EQ(device_result.values(), expected);
  EXPECT_EQ(device_total.values()[0], total);
}

TEST_F(CooperativeGroupsTest, LabelledAndBinaryPartitions) {
  const std::vector<int> x = random();
  const foreign::Array<int> device_x(x), device_result(size_t{4} * kCount);
  module->launch("labelled", kCount / kThreads, kThreads, device_x, device_result);
  std::vector<int> expected(size_t{4} * kCount);
  const auto label = [&](int i) { return (x[i] % 5 + 5) % 5; };
  for (int i = 0; i < kCount; ++i) {
    int *mine = &expected[4 * i];
    for (int other = i / 32 * 32; other < i / 32 * 32 + 32; ++other) {
      if (label(other) == label(i)) mine[0] += 1, mine[1] += x[other];
      if ((x[other] < 0) == (x[i] < 0)) mine[2] += 1, mine[3] = x[other];
    }
  }
  EXPECT_EQ(device_result.values(), expected);
}

TEST_F(CooperativeGroupsTest, GridSyncWaitsForAllBlocks) {
  constexpr int blocks = 13, turns = 20;
  const foreign::Array<int> device_slots(blocks);
  device_slots.zero();
  module->launch_cooperative("grid_turns", blocks, 64, device_slots, turns);
  std::vector<int> slots(blocks);
  for (int turn = 0; turn < turns; ++turn) {
    for (int block = 0; block < blocks; ++block) {
      unsigned &slot = reinterpret_cast<unsigned &>(slots[(block + turn) % blocks]);
      slot = slot * 3 + static_cast<unsigned>(block + turn);
    }
  }
  EXPECT_EQ(device_slots.values(), slots);
}

TEST_F(CooperativeGroupsTest, WarpFunctions) {
  std::vector<unsigned> x(kCount);
  for (unsigned &value : x) value = static_cast<unsigned>(generator());
  for (int i = 0; i < 32; ++i) x[i] = 4096 + 7u * static_cast<unsigned>(i); /* a warp whose upper bits agree */
  const foreign::Array<unsigned> device_x(x), device_result(size_t{WARP_RESULTS} * kCount);
  module->launch("warp_functions", kCount / kThreads, kThreads, device_x, device_result);
  std::vector<unsigned> expected(size_t{WARP_RESULTS} * kCount);
  for (int i = 0; i < kCount; ++i) {
    const int lane = i % 32;
    const unsigned *warp = &x[i - lane];
    unsigned *mine = &expected[size_t{WARP_RESULTS} * i];
    mine[UP] = warp[lane % 16 < 3 ? lane : lane - 3];
    mine[XOR] = warp[lane ^ 5];
    mine[SUM_SYNC] = std::accumulate(warp, warp + 32, 0u);
    mine[MIN_SYNC] = *std::min_element(warp, warp + 32);
    mine[MAX_SYNC] = *std::max_element(warp, warp + 32);
    mine[AND_SYNC] = std::accumulate(warp, warp + 32, ~0u, std::bit_and<unsigned>());
    mine[OR_SYNC] = std::accumulate(warp, warp + 32, 0u, std::bit_or<unsigned>());
    mine[XOR_SYNC] = std::accumulate(warp, warp + 32, 0u, std::bit_xor<unsigned>());
    mine[MATCH_ALL] = std::all_of(warp, warp + 32, [&](unsigned value) { return value >> 10 == warp[0] >> 10; }) * ~0u;
    for (int other = 0; other < 32; ++other) {
      mine[MATCH_ANY] |= ((warp[other] & 7) == (warp[lane] & 7) ? 1u : 0u) << other;
      mine[ACTIVE] |= ((warp[other] & warp[lane] & 1) != 0 ? 1u : 0u) << other;
    }
  }
  EXPECT_EQ(device_result.values(), expected);
}

}  // namespace
