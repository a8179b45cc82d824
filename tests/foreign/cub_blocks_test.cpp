/* CUB's block and warp primitives compute what the standard library does. */
#include <algorithm>
#include <numeric>

#include "tests/foreign/support.h"

namespace {

constexpr int kThreads = 128, kItems = 4, kTile = kThreads * kItems, kBlocks = 3, kCount = kTile * kBlocks;

class CubBlocksTest : public foreign::Test {
 protected:
  void SetUp() override {
    NEEDS_MODULE("cub_blocks");
    Test::SetUp();
    module = std::make_unique<foreign::Module>("cub_blocks");
  }
  void TearDown() override {
    module.reset();
    Test::TearDown();
  }
  template <typename T>
  std::vector<T> random(int low, int high) {
    std::vector<T> values(kCount);
    for (T &value : values) value = static_cast<T>(std::uniform_int_distribution<int>(low, high)(generator));
    return values;
  }
  /* Calls with the bounds of every tile of `size` items. */
  template <typename Use>
  static void tiles(int size, Use use) {
    for (int begin = 0; begin < kCount; begin += size) use(begin, begin + size);
  }
  std::mt19937_64 generator{7};
  std::unique_ptr<foreign::Module> module;
};

TEST_F(CubBlocksTest, BlockReduceIsAccumulate) {
  const std::vector<int> x = random<int>(-1000, 1000);
  const foreign::Array<int> device_x(x), device_result(size_t{2} * kCount / kThreads);
  for (const char *kernel : {"reduce_raking", "reduce_warps"}) {
    for (int valid : {1, 31, 32, 77, kThreads}) {
      module->launch(kernel, kCount / kThreads, kThreads, device_x, device_result, valid);
      const std::vector<int> result = device_result.values();
      for (int block = 0; block < kCount / kThreads; ++block) {
        const auto begin = x.begin() + block * kThreads;
        EXPECT_EQ(result[2 * block], std::accumulate(begin, begin + kThreads, 0)) << kernel;
        EXPECT_EQ(result[2 * block + 1], *std::max_element(begin, begin + valid)) << kernel << ", " << valid;
      }
    }
  }
}

TEST_F(CubBlocksTest, BlockScanIsPartialSumAndRunningMaximum) {
  const std::vector<int> x = random<int>(-1000, 1000);
  const foreign::Array<int> device_x(x), device_sums(kCount), device_largest(kCount);
  for (const char *kernel : {"scan_raking", "scan_warps"}) {
    module->launch(kernel, kBlocks, kThreads, device_x, device_sums, device_largest);
    std::vector<int> sums(kCount), largest(kCount);
    tiles(kTile, [&](int begin, int end) {
      std::partial_sum(&x[begin], &x[begin] + (end - begin), &sums[begin]);
      int before = -1000000;
      for (int i = begin; i < end; ++i) {
        largest[i] = before;
        before = std::max(before, x[i]);
      }
    });
    EXPECT_EQ(device_sums.values(), sums) << kernel;
    EXPECT_EQ(device_largest.values(), largest) << kernel;
  }
}

/* The order of a stable sort: places within their tile. */
template <typename Key, typename Before>
static void sort_tiles(const std::vector<Key> &x, int size, Before before, std::vector<Key> *sorted,
                       std::vector<int> *places) {
  sorted->resize(kCount);
  places->resize(kCount);
  for (int begin = 0; begin < kCount; begin += size) {
    const auto first = places->begin() + begin;
    std::iota(first, first + size, 0);
    std::stable_sort(first, first + size, [&](int a, int b) { return before(x[begin + a], x[begin + b]); });
    for (int i = begin; i < begin + size; ++i) (*sorted)[i] = x[begin + (*places)[i]];
  }
}

TEST_F(CubBlocksTest, SortsAreStableSort) {
  /* Few different keys, so that stability shows. */
  std::vector<float> x = random<float>(-300, 300);
  for (float &value : x) value *= .37f;
  const std::vector<int> integers = random<int>(-100, 100);
  const foreign::Array<float> device_x(x), device_sorted(kCount);
  const foreign::Array<int> device_integers(integers), device_sorted_integers(kCount), device_places(kCount);
  std::vector<float> sorted;
  std::vector<int> sorted_integers, places;

  sort_tiles(x, kTile, std::less<float>(), &sorted, &places);
  module->launch("radix_sort_float", kBlocks, kThreads, device_x, device_sorted, device_places, 0);
  EXPECT_EQ(device_sorted.values(), sorted);
  EXPECT_EQ(device_places.values(), places);
  module->launch("merge_sort", kBlocks, kThreads, device_x, device_sorted, device_places);
  EXPECT_EQ(device_sorted.values(), sorted);
  EXPECT_EQ(device_places.values(), places);

  sort_tiles(x, kTile, std::greater<float>(), &sorted, &places);
  module->launch("radix_sort_float", kBlocks, kThreads, device_x, device_sorted, device_places, 1);
  EXPECT_EQ(device_sorted.values(), sorted);
  EXPECT_EQ(device_places.values(), places);

  sort_tiles(integers, kTile, std::less<int>(), &sorted_integers, &places);
  module->launch("radix_sort_int", kBlocks, kThreads, device_integers, device_sorted_integers, device_places, 0);
  EXPECT_EQ(device_sorted_integers.values(), sorted_integers);
  EXPECT_EQ(device_places.values(), places);

  sort_tiles(x, 32 * kItems, std::less<float>(), &sorted, &places);
  module->launch("warp_merge_sort", kBlocks, kThreads, device_x, device_sorted);
  EXPECT_EQ(device_sorted.values(), sorted);
}

TEST_F(CubBlocksTest, BlockExchangeMovesItems) {
  const std::vector<int> x = random<int>(-1000, 1000);
  std::vector<int> places(kCount), scattered(kCount);
  tiles(kTile, [&](int begin, int end) {
    std::iota(places.begin() + begin, places.begin() + end, 0);
    std::shuffle(places.begin() + begin, places.begin() + end, generator);
    for (int i = begin; i < end; ++i) scattered[begin + places[i]] = x[i];
  });
  const foreign::Array<int> device_x(x), device_places(places), striped(kCount), warps(kCount),
      device_scattered(kCount);
  module->launch("exchange", kBlocks, kThreads, device_x, device_places, striped, warps, device_scattered);
  EXPECT_EQ(striped.values(), x);
  EXPECT_EQ(warps.values(), x);
  EXPECT_EQ(device_scattered.values(), scattered);
}

TEST_F(CubBlocksTest, BlockHistogramCounts) {
  const std::vector<unsigned char> x = random<unsigned char>(0, 255);
  std::vector<unsigned> counts(kBlocks * 256);
  for (int i = 0; i < kCount; ++i) ++counts[i / kTile * 256 + x[i]];
  const foreign::Array<unsigned char> device_x(x);
  const foreign::Array<unsigned> device_counts(counts.size());
  for (const char *kernel : {"histogram_sort", "histogram_atomic"}) {
    module->launch(kernel, kBlocks, kThreads, device_x, device_counts);
    EXPECT_EQ(device_counts.values(), counts) << kernel;
  }
}

TEST_F(CubBlocksTest, DifferencesAreAdjacentDifference) {
  const std::vector<int> x = random<int>(0, 2);
  std::vector<int> left(kCount), heads(kCount);
  tiles(kTile, [&](int begin, int end) {
    std::adjacent_difference(&x[begin], &x[begin] + (end - begin), &left[begin]);
    for (int i = begin; i < end; ++i) heads[i] = i == begin || x[i] != x[i - 1];
  });
  const foreign::Array<int> device_x(x), device_left(kCount), device_heads(kCount);
  module->launch("differences", kBlocks, kThreads, device_x, device_left, device_heads);
  EXPECT_EQ(device_left.values(), left);
  EXPECT_EQ(device_heads.values(), heads);
}

TEST_F(CubBlocksTest, LoadsAndStoresCopyAndTouchNothingElse) {
  const std::vector<short> x = random<short>(-30000, 30000);
  const foreign::Array<short> device_x(x), device_y(kCount);
  for (const char *kernel : {"copy_direct", "copy_vector", "copy_striped", "copy_timesliced"}) {
    for (int count : {kCount, kCount - 1, 2 * kTile + 5}) {
      CUDA(cuMemsetD16, device_y.address(), 12345, kCount);
      module->launch(kernel, kBlocks, kThreads, device_x, device_y, count);
      std::vector<short> expected = x;
      std::fill(expected.begin() + count, expected.end(), short{12345});
      EXPECT_EQ(device_y.values(), expected) << kernel << ", " << count;
    }
  }
}

TEST_F(CubBlocksTest, WarpReduceAndScanOfLogicalWarps) {
  const std::vector<int> x = random<int>(-1000, 1000);
  const foreign::Array<int> device_x(x), device_scans(kCount);
  for (int lanes : {8, 32}) {
    const foreign::Array<int> device_sums(kCount / lanes);
    module->launch("warps_of_" + std::to_string(lanes), kCount / kThreads, kThreads, device_x, device_sums,
                   device_scans);
    std::vector<int> sums, scans(kCount);
    tiles(lanes, [&](int begin, int end) {
      std::partial_sum(&x[begin], &x[begin] + (end - begin), &scans[begin]);
      sums.push_back(scans[end - 1]);
    });
    EXPECT_EQ(device_sums.values(), sums) << lanes;
    EXPECT_EQ(device_scans.values(), scans) << lanes;
  }
}

}  // namespace
