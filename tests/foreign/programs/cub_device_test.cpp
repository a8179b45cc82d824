/* CUB's device-wide algorithms compute what the standard library does. */
#include "tests/foreign/programs/cub_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>

namespace {

using cub_device::Floats;
using cub_device::Ints;
using Pairs = std::pair<Ints, Ints>;

/* One block, blocks in part, and many blocks that wait for each other. */
constexpr int kCounts[] = {1, 777, 50000};

class CubDeviceTest : public ::testing::Test {
 protected:
  Ints random(int low, int high) {
    Ints values(count);
    for (int &value : values) value = std::uniform_int_distribution<int>(low, high)(generator);
    return values;
  }
  /* The order of a stable sort: places. */
  template <typename Before>
  static Ints order(int count, Before before) {
    Ints places(count);
    std::iota(places.begin(), places.end(), 0);
    std::stable_sort(places.begin(), places.end(), before);
    return places;
  }
  template <typename T>
  static std::vector<T> at(const std::vector<T> &x, const Ints &places) {
    std::vector<T> values;
    for (int place : places) values.push_back(x[place]);
    return values;
  }
  /* Calls with the bounds of every run of equal values. */
  template <typename Use>
  static void for_runs(const Ints &x, Use use) {
    for (auto begin = x.begin(); begin != x.end();) {
      const auto end = std::find_if(begin, x.end(), [&](int value) { return value != *begin; });
      use(static_cast<int>(begin - x.begin()), static_cast<int>(end - x.begin()));
      begin = end;
    }
  }
  int count = 0; /* of items */
  std::mt19937_64 generator{5};
};

TEST_F(CubDeviceTest, ReductionsAreAccumulateAndMaximum) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    const Ints x = random(-1000, 1000);
    EXPECT_EQ(cub_device::sum(x), std::accumulate(x.begin(), x.end(), 0));
    EXPECT_EQ(cub_device::largest(x, -1001), *std::max_element(x.begin(), x.end()));
    EXPECT_EQ(cub_device::largest(x, 1001), 1001);
    const auto smallest = std::min_element(x.begin(), x.end());
    EXPECT_EQ(cub_device::place_of_smallest(x), std::make_pair(static_cast<int>(smallest - x.begin()), *smallest));
  }
}

TEST_F(CubDeviceTest, SumsOfFloatsAreWithinTheBoundOfASum) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    Floats x;
    for (int value : random(-1000000, 1000000)) x.push_back(static_cast<float>(value) * 1e-3f);
    double sum = 0, magnitude = 0;
    for (float value : x) sum += value, magnitude += std::fabs(value);
    /* In any order, n - 1 additions err by at most (n - 1) u sum |x|; a tree of CUB's is at most some 64 deep, for
     * these sizes. */
    EXPECT_NEAR(cub_device::sum(x), sum, 64 * std::numeric_limits<float>::epsilon() / 2 * magnitude);
  }
}

TEST_F(CubDeviceTest, SegmentsAndKeysAreSummedApart) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    const Ints x = random(-1000, 1000);
    Ints begins(1, 0), sums;
    while (begins.back() < count) {
      begins.push_back(begins.size() % 5 == 0 ? begins.back() /* an empty segment */
                                              : std::min(count, begins.back() + static_cast<int>(generator() % 700)));
    }
    for (size_t i = 0; i + 1 < begins.size(); ++i) {
      sums.push_back(std::accumulate(x.begin() + begins[i], x.begin() + begins[i + 1], 0));
    }
    EXPECT_EQ(cub_device::segment_sums(x, begins), sums);

    const Ints keys = random(0, 2);
    Pairs expected;
    Ints running(x.size());
    for_runs(keys, [&](int begin, int end) {
      expected.first.push_back(keys[begin]);
      expected.second.push_back(std::accumulate(x.begin() + begin, x.begin() + end, 0));
      std::partial_sum(x.begin() + begin, x.begin() + end, running.begin() + begin);
    });
    EXPECT_EQ(cub_device::sums_by_key(keys, x), expected);
    EXPECT_EQ(cub_device::inclusive_sums_by_key(keys, x), running);
  }
}

TEST_F(CubDeviceTest, ScansArePartialSumsAndRunningMaxima) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    const Ints x = random(-1000, 1000);
    Ints sums(x.size()), largest(1, -1001);
    std::partial_sum(x.begin(), x.end(), sums.begin());
    EXPECT_EQ(cub_device::inclusive_sums(x), sums);
    for (int value : x) largest.push_back(std::max(largest.back(), value));
    largest.pop_back();
    EXPECT_EQ(cub_device::largest_before(x, -1001), largest);

    std::vector<int64_t> wide(x.size()), wide_sums(x.size() + 1);
    for (size_t i = 0; i < x.size(); ++i) wide[i] = x[i] * (int64_t{1} << 33) + x[i];
    std::partial_sum(wide.begin(), wide.end(), wide_sums.begin() + 1);
    wide_sums.pop_back();
    EXPECT_EQ(cub_device::sums_before(wide), wide_sums);
  }
}

TEST_F(CubDeviceTest, RadixSortsAreStableSort) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    std::vector<uint64_t> wide(count);
    for (uint64_t &key : wide) key = generator() >> generator() % 64;
    std::vector<uint64_t> sorted = wide;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(cub_device::radix_sorted(wide), sorted);

    const Ints x = random(-2000, 2000);
    Ints places = order(count, [&](int a, int b) { return x[a] < x[b]; });
    EXPECT_EQ(cub_device::radix_sorted_pairs(x, 0, 32), std::make_pair(at(x, places), places));
    places = order(count, [&](int a, int b) { return (x[a] >> 3 & 63) < (x[b] >> 3 & 63); });
    EXPECT_EQ(cub_device::radix_sorted_pairs(x, 3, 9), std::make_pair(at(x, places), places));

    Floats floats;
    for (int value : random(-2000, 2000)) floats.push_back(static_cast<float>(value) * .37f);
    floats[floats.size() / 2] = -INFINITY;
    places = order(count, [&](int a, int b) { return floats[a] > floats[b]; });
    EXPECT_EQ(cub_device::radix_sorted_down(floats), std::make_pair(at(floats, places), places));
  }
}

TEST_F(CubDeviceTest, MergeSortIsStableSort) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    const Ints x = random(0, 5000);
    const Ints places = order(count, [&](int a, int b) { return x[a] / 10 < x[b] / 10; });
    EXPECT_EQ(cub_device::merge_sorted_by_tens(x), std::make_pair(at(x, places), places));
  }
}

TEST_F(CubDeviceTest, SelectionsAreCopyIfUniqueAndPartition) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    const Ints x = random(-3, 3);
    const auto is_positive = [](int value) { return value > 0; };
    Ints expected, others, by_flag;
    std::partition_copy(x.begin(), x.end(), std::back_inserter(expected), std::back_inserter(others), is_positive);
    EXPECT_EQ(cub_device::positive(x), expected);

    std::vector<char> flags(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      flags[i] = generator() % 3 == 0;
      if (flags[i]) by_flag.push_back(x[i]);
    }
    EXPECT_EQ(cub_device::flagged(x, flags), by_flag);

    const int positive = static_cast<int>(expected.size());
    expected.insert(expected.end(), others.rbegin(), others.rend());
    EXPECT_EQ(cub_device::partition(x), std::make_pair(expected, positive));

    Ints unique;
    std::unique_copy(x.begin(), x.end(), std::back_inserter(unique));
    EXPECT_EQ(cub_device::unique(x), unique);
  }
}

TEST_F(CubDeviceTest, HistogramsCount) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    std::vector<unsigned char> bytes;
    Ints counts(256);
    for (int value : random(0, 511)) {
      bytes.push_back(static_cast<unsigned char>(value < 256 ? value : 7)); /* many in one bin */
      ++counts[bytes.back()];
    }
    EXPECT_EQ(cub_device::histogram_of_bytes(bytes), counts);

    const Floats levels = {-4, -1.5f, -1, 0, .25f, 2, 3, 3.5f};
    Floats x;
    counts.assign(levels.size() - 1, 0);
    for (int value : random(-20, 20)) {
      x.push_back(static_cast<float>(value) / 4);
      const auto above = std::upper_bound(levels.begin(), levels.end(), x.back());
      if (above != levels.begin() && above != levels.end()) ++counts[above - levels.begin() - 1];
    }
    EXPECT_EQ(cub_device::histogram_between(x, levels), counts);
  }
}

TEST_F(CubDeviceTest, RunsAreFound) {
  for (int size : kCounts) {
    SCOPED_TRACE(count = size);
    const Ints x = random(0, 1);
    Pairs all, several;
    for_runs(x, [&](int begin, int end) {
      all.first.push_back(x[begin]);
      all.second.push_back(end - begin);
      if (end - begin == 1) return;
      several.first.push_back(begin);
      several.second.push_back(end - begin);
    });
    EXPECT_EQ(cub_device::runs(x), all);
    EXPECT_EQ(cub_device::runs_of_several(x), several);
  }
}

}  // namespace
