/* The memory models of `count` mode against counts worked out by hand, and the L2 against a slow model of its own. */
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <random>
#include <set>

extern "C" {
#include "engine/vgpu/count_model.h"
}

namespace {

constexpr uint32_t ALL = 0xffffffffu;
using Addresses = std::array<uint64_t, 32>;

Addresses addresses(const std::function<uint64_t(uint64_t)> &of_lane) {
  Addresses list{};
  for (uint64_t lane = 0; lane < 32; lane++) list[lane] = of_lane(lane);
  return list;
}

unsigned sectors_of(const Addresses &list, uint32_t mask, unsigned bytes) {
  uint64_t sectors[MOST_SECTORS];
  return count_sectors(list.data(), mask, bytes, sectors, nullptr);
}

TEST(CountModel, ConsecutiveWordsShareSectors) {
  EXPECT_EQ(sectors_of(addresses([](uint64_t l) { return 0x1000 + 4 * l; }), ALL, 4), 4u);
  EXPECT_EQ(sectors_of(addresses([](uint64_t l) { return 0x1000 + 8 * l; }), ALL, 8), 8u);
  EXPECT_EQ(sectors_of(addresses([](uint64_t l) { return 0x1000 + 16 * l; }), ALL, 16), 16u);
  EXPECT_EQ(sectors_of(addresses([](uint64_t l) { return 0x1000 + 2 * l; }), ALL, 2), 2u);
  EXPECT_EQ(sectors_of(addresses([](uint64_t l) { return 0x1000 + l; }), ALL, 1), 1u);
}

TEST(CountModel, AStartInsideASectorCostsOneMore) {
  EXPECT_EQ(sectors_of(addresses([](uint64_t l) { return 0x1004 + 4 * l; }), ALL, 4), 5u);
  EXPECT_EQ(sectors_of(addresses([](uint64_t l) { return 0x1010 + 16 * l; }), ALL, 16), 17u);
}

TEST(CountModel, StridesWasteSectors) {
  EXPECT_EQ(sectors_of(addresses([](uint64_t l) { return 0x1000 + 8 * l; }), ALL, 4), 8u);
  EXPECT_EQ(sectors_of(addresses([](uint64_t l) { return 0x1000 + 128 * l; }), ALL, 4), 32u);
  EXPECT_EQ(sectors_of(addresses([](uint64_t) { return 0x1000; }), ALL, 4), 1u);
  EXPECT_EQ(sectors_of(addresses([](uint64_t l) { return 0x1000 + 128 * (31 - l); }), ALL, 4), 32u);
}

TEST(CountModel, OnlyActiveLanesCount) {
  const Addresses list = addresses([](uint64_t l) { return 0x1000 + 128 * l; });
  EXPECT_EQ(sectors_of(list, 0x80000001, 4), 2u);
  EXPECT_EQ(sectors_of(list, 0, 4), 0u);
}

TEST(CountModel, WrittenBytesAreKnownBitByBit) {
  uint64_t sectors[MOST_SECTORS];
  uint32_t written[MOST_SECTORS];
  const Addresses list = addresses([](uint64_t l) { return 0x1004 + 8 * l; });
  ASSERT_EQ(count_sectors(list.data(), 0x1f, 4, sectors, written), 2u);
  EXPECT_EQ(sectors[0], 0x1000u);
  EXPECT_EQ(written[0], 0xf0f0f0f0u);
  EXPECT_EQ(sectors[1], 0x1020u);
  EXPECT_EQ(written[1], 0x000000f0u);
}

struct bank_passes passes_of(const std::function<uint64_t(uint64_t)> &of_lane, unsigned bytes, uint32_t mask = ALL) {
  return count_bank_passes(addresses(of_lane).data(), mask, bytes);
}

void expect_passes(const struct bank_passes &passes, unsigned wavefronts, unsigned groups, unsigned least) {
  EXPECT_EQ(passes.wavefronts, wavefronts);
  EXPECT_EQ(passes.groups, groups);
  EXPECT_EQ(passes.least, least);
}

TEST(CountModel, BanksOfConsecutiveWordsDoNotConflict) {
  expect_passes(passes_of([](uint64_t l) { return 4 * l; }, 4), 1, 1, 1);
  expect_passes(passes_of([](uint64_t l) { return 4 * (31 - l); }, 4), 1, 1, 1);
  expect_passes(passes_of([](uint64_t l) { return l; }, 1), 1, 1, 1);       /* four lanes to a word */
  expect_passes(passes_of([](uint64_t l) { return 132 * l; }, 4), 1, 1, 1); /* rows padded by one word */
}

TEST(CountModel, AWordForAllIsOnePass) {
  expect_passes(passes_of([](uint64_t) { return 64; }, 4), 1, 1, 1);
  expect_passes(passes_of([](uint64_t l) { return l < 16 ? 64 : 128 + 64; }, 4), 2, 1, 2); /* two words of one bank */
}

TEST(CountModel, StridesConflictInPowersOfTwo) {
  for (unsigned way : {2u, 4u, 8u, 16u, 32u})
    expect_passes(passes_of([way](uint64_t l) { return 4 * way * l; }, 4), way, 1, way);
  expect_passes(passes_of([](uint64_t l) { return 12 * l; }, 4), 1, 1, 1); /* odd strides do not */
}

TEST(CountModel, WideAccessesPassInGroups) {
  expect_passes(passes_of([](uint64_t l) { return 8 * l; }, 8), 2, 2, 2);
  expect_passes(passes_of([](uint64_t l) { return 16 * l; }, 16), 4, 4, 4);
  expect_passes(passes_of([](uint64_t l) { return 16 * l; }, 8), 4, 2, 4);     /* every other pair of banks */
  expect_passes(passes_of([](uint64_t l) { return 128 * l; }, 16), 32, 4, 32); /* all lanes on four banks */
  expect_passes(passes_of([](uint64_t) { return 256; }, 16), 4, 4, 1);         /* groups could share the pass */
  expect_passes(passes_of([](uint64_t l) { return 16 * l; }, 16, 0xff), 1, 1, 1);
}

struct Destroy {
  void operator()(l2_cache *cache) const { l2_destroy(cache); }
  void operator()(touched *set) const { touched_destroy(set); }
};
using Cache = std::unique_ptr<l2_cache, Destroy>;

TEST(CountModel, AStreamThatFitsIsReadOnce) {
  const Cache cache(l2_create(64 * 1024));
  l2_traffic traffic = {};
  for (int round = 0; round < 3; round++)
    for (uint64_t at = 0; at < 64 * 1024; at += 32) l2_read(cache.get(), 0x100000 + at, &traffic);
  EXPECT_EQ(traffic.sectors, 3u * 2048);
  EXPECT_EQ(traffic.misses, 2048u);
  EXPECT_EQ(traffic.read_bytes, 64u * 1024);
  EXPECT_EQ(traffic.written_bytes, 0u);
}

TEST(CountModel, AStreamOneLineLongerMissesEverywhere) {
  const Cache cache(l2_create(64 * 1024));
  l2_traffic traffic = {};
  for (int round = 0; round < 3; round++)
    for (uint64_t at = 0; at < 64 * 1024 + 128; at += 32) l2_read(cache.get(), 0x100000 + at, &traffic);
  EXPECT_EQ(traffic.read_bytes, 3u * (64 * 1024 + 128));
}

TEST(CountModel, StoresAreWrittenBackWhenTheyMakeRoom) {
  const Cache cache(l2_create(1024));
  l2_traffic traffic = {};
  for (uint64_t at = 0; at < 4096; at += 32) l2_write(cache.get(), at, ALL, &traffic);
  EXPECT_EQ(traffic.read_bytes, 0u); /* whole sectors need not be fetched */
  EXPECT_EQ(traffic.written_bytes, 4096u - 1024);
  EXPECT_EQ(l2_dirty_bytes(cache.get()), 1024u);
}

TEST(CountModel, ALoadOfAPartlyStoredSectorFetchesIt) {
  const Cache cache(l2_create(1024));
  l2_traffic traffic = {};
  l2_write(cache.get(), 0, 0xf, &traffic);
  l2_read(cache.get(), 0, &traffic);
  EXPECT_EQ(traffic.read_bytes, 32u);
  l2_read(cache.get(), 0, &traffic);
  EXPECT_EQ(traffic.read_bytes, 32u);
  l2_write(cache.get(), 32, ALL, &traffic);
  l2_read(cache.get(), 32, &traffic);
  EXPECT_EQ(traffic.read_bytes, 32u);
  l2_update(cache.get(), 64, 0xf, &traffic); /* an atomic has to see the old value */
  EXPECT_EQ(traffic.read_bytes, 64u);
  EXPECT_EQ(traffic.sectors, 6u);
  EXPECT_EQ(l2_dirty_bytes(cache.get()), 96u);
}

/* The same cache as lists of standard containers. */
class SlowCache {
 public:
  explicit SlowCache(size_t lines) : lines_(lines) {}
  void access(uint64_t sector, uint32_t stored, bool store, l2_traffic *traffic) {
    const uint64_t address = sector / 128;
    auto found = std::find_if(order_.begin(), order_.end(), [&](const Line &line) { return line.address == address; });
    if (found == order_.end()) {
      if (order_.size() == lines_) {
        for (const auto &[index, bytes] : order_.back().stored) traffic->written_bytes += bytes ? 32 : 0;
        order_.pop_back();
      }
      order_.push_front({address, {}, {}});
    } else {
      order_.splice(order_.begin(), order_, found);
    }
    Line &line = order_.front();
    const uint64_t index = sector / 32 % 4;
    traffic->sectors++;
    const bool there = line.fetched.count(index) > 0;
    if (store) {
      if (!there && !line.stored[index]) traffic->misses++;
      line.stored[index] |= stored;
    } else if (!there && line.stored[index] != ALL) {
      traffic->misses++;
      traffic->read_bytes += 32;
      line.fetched.insert(index);
    }
  }

 private:
  struct Line {
    uint64_t address;
    std::set<uint64_t> fetched;
    std::map<uint64_t, uint32_t> stored;
  };
  size_t lines_;
  std::list<Line> order_; /* newest first */
};

TEST(CountModel, TheL2AgreesWithASlowOneOnRandomTraffic) {
  std::mt19937_64 random(3);
  const Cache cache(l2_create(24 * 128));
  SlowCache slow(24);
  l2_traffic fast_traffic = {}, slow_traffic = {};
  for (int i = 0; i < 50000; i++) {
    const uint64_t sector = 32 * (random() % 4 ? random() % 120 : random() % 4000);
    const bool store = random() % 3 == 0;
    const uint32_t bytes = random() % 2 ? ALL : 1u << random() % 32;
    if (store)
      l2_write(cache.get(), sector, bytes, &fast_traffic);
    else
      l2_read(cache.get(), sector, &fast_traffic);
    slow.access(sector, bytes, store, &slow_traffic);
    ASSERT_EQ(fast_traffic.misses, slow_traffic.misses) << "access " << i;
  }
  EXPECT_EQ(fast_traffic.sectors, slow_traffic.sectors);
  EXPECT_EQ(fast_traffic.read_bytes, slow_traffic.read_bytes);
  EXPECT_EQ(fast_traffic.written_bytes, slow_traffic.written_bytes);
  EXPECT_GT(fast_traffic.written_bytes, 0u);
}

TEST(CountModel, EveryTouchedByteCountsOnce) {
  const std::unique_ptr<touched, Destroy> set(touched_create());
  std::mt19937_64 random(5);
  std::set<uint64_t> loaded, stored, either, sectors;
  for (int i = 0; i < 5000; i++) { /* enough for the table to grow */
    const uint64_t sector = 0x40000000 + 32 * (random() % 8192);
    const uint32_t bytes = static_cast<uint32_t>(random());
    const bool load = random() % 2, store = !load || random() % 4 == 0;
    ASSERT_TRUE(touched_add(set.get(), sector, bytes, load, store));
    for (unsigned b = 0; b < 32; b++) {
      if (!(bytes >> b & 1)) continue;
      either.insert(sector + b);
      if (load) loaded.insert(sector + b);
      if (load) sectors.insert(sector);
      if (store) stored.insert(sector + b);
    }
  }
  const touched_sum sum = touched_count(set.get());
  EXPECT_EQ(sum.bytes, either.size());
  EXPECT_EQ(sum.loaded, loaded.size());
  EXPECT_EQ(sum.stored, stored.size());
  EXPECT_EQ(sum.loaded_sectors, sectors.size());
  touched_clear(set.get());
  EXPECT_EQ(touched_count(set.get()).bytes, 0u);
}

}  // namespace
