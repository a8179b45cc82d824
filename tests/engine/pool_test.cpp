/* Promises of the pool in engine/device.h. */
#include <vector>

#include "tests/engine/support.h"

class PoolTest : public DeviceTest {
 protected:
  void open(size_t limit) { ASSERT_OK(pool_create(device, limit, &pool)); }
  void TearDown() override {
    pool_destroy(pool);
    DeviceTest::TearDown();
  }
  struct pool *pool = nullptr;
};

TEST_F(PoolTest, MemoryIsAlignedAndZero) {
  open(64 << 20);
  for (size_t bytes : {size_t(1), size_t(255), size_t(257), size_t(3000001)}) {
    CUdeviceptr memory;
    ASSERT_OK(pool_alloc(pool, bytes, "memory", &memory));
    EXPECT_EQ(memory % 256, 0u);
    std::vector<unsigned char> contents(bytes, 1);
    ASSERT_OK(device_download(device, contents.data(), memory, bytes));
    EXPECT_EQ(contents, std::vector<unsigned char>(bytes, 0)) << bytes;
  }
}

TEST_F(PoolTest, ReleasedMemoryComesBackInStackOrderAndZeroAgain) {
  open(64 << 20);
  CUdeviceptr below, first, second, again;
  ASSERT_OK(pool_alloc(pool, 1000, "below", &below));
  size_t mark = pool_mark(pool);
  ASSERT_OK(pool_alloc(pool, 5000, "first", &first));
  ASSERT_OK(pool_alloc(pool, 5000, "second", &second));
  EXPECT_GE(second, first + 5000);
  std::vector<int> ones(1250, 1);
  ASSERT_OK(device_upload(device, below, ones.data(), 1000));
  ASSERT_OK(device_upload(device, first, ones.data(), 5000));
  pool_release(pool, mark);
  EXPECT_EQ(pool_mark(pool), mark);
  ASSERT_OK(pool_alloc(pool, 5000, "again", &again));
  EXPECT_EQ(again, first);
  std::vector<int> contents(1250, 7);
  ASSERT_OK(device_download(device, contents.data(), again, 5000));
  EXPECT_EQ(contents, std::vector<int>(1250, 0));
  ASSERT_OK(device_download(device, contents.data(), below, 1000));
  EXPECT_EQ(contents[249], 1) << "memory below the mark was touched";
}

TEST_F(PoolTest, AddressesUseNoMemoryUntilTheyAreNeeded) {
  open(0);
  EXPECT_EQ(device->counters.pool_bytes_reserved, 0u);
  EXPECT_EQ(device->counters.allocations, 0u);
  CUdeviceptr memory;
  ASSERT_OK(pool_alloc(pool, 100, "memory", &memory));
  EXPECT_EQ(device->counters.allocations, 1u);
  const size_t piece = device->counters.pool_bytes_reserved;
  ASSERT_OK(pool_alloc(pool, 100, "memory", &memory));
  EXPECT_EQ(device->counters.allocations, 1u) << "what was mapped is used first";
  ASSERT_OK(pool_alloc(pool, piece, "memory", &memory));
  EXPECT_EQ(device->counters.allocations, 2u);
  std::vector<unsigned char> across(piece, 3);
  ASSERT_OK(device_upload(device, memory, across.data(), piece)) << "pieces side by side are one memory";
}

TEST_F(PoolTest, CountersFollowUseAndPeak) {
  open(64 << 20);
  CUdeviceptr memory;
  ASSERT_OK(pool_alloc(pool, 1000, "memory", &memory));
  EXPECT_EQ(device->counters.pool_bytes_in_use, 1024u);
  size_t mark = pool_mark(pool);
  ASSERT_OK(pool_alloc(pool, 4096, "memory", &memory));
  pool_release(pool, mark);
  EXPECT_EQ(device->counters.pool_bytes_in_use, 1024u);
  EXPECT_EQ(device->counters.pool_bytes_peak, 5120u);
  pool_destroy(pool);
  pool = nullptr;
  EXPECT_EQ(device->counters.pool_bytes_in_use, 0u);
  EXPECT_EQ(device->counters.pool_bytes_reserved, 0u);
  EXPECT_EQ(device->counters.pool_bytes_peak, 5120u);
}

TEST_F(PoolTest, TheLimitIsKeptAndNamed) {
  open(3 << 20);
  CUdeviceptr memory;
  ASSERT_OK(pool_alloc(pool, 1 << 20, "parameters", &memory));
  EXPECT_EQ(pool_alloc(pool, (2 << 20) + 1, "gradient slots", &memory), NOPROP_OUT_OF_MEMORY);
  EXPECT_EQ(memory, 0u);
  EXPECT_STREQ(noprop_last_error(),
               "gradient slots: 2.0 MiB of device memory asked for; 2.0 MiB of the limit of 3.0 MiB are left");
  EXPECT_OK(pool_alloc(pool, 2 << 20, "gradient slots", &memory)) << "a failure takes nothing";
  EXPECT_EQ(pool_alloc(pool, 1, "more", &memory), NOPROP_OUT_OF_MEMORY);
}

TEST_F(PoolTest, AnOddLimitCanBeUsedToItsLastByte) {
  open(1000001);
  CUdeviceptr memory;
  EXPECT_OK(pool_alloc(pool, 1000001, "all", &memory));
  EXPECT_EQ(pool_alloc(pool, 1, "more", &memory), NOPROP_OUT_OF_MEMORY);
}

TEST_F(PoolTest, ADeviceWithoutMemoryIsToldWithTheSizes) {
  open(0);
  struct pool *other = nullptr;
  ASSERT_OK(pool_create(device, 0, &other));
  CUdeviceptr memory;
  /* Two pools may promise more than there is; the second to ask for it gets the sentence. Addresses only: nothing of
   * this is touched, because taking it fails. */
  size_t total = device->properties.memory_bytes;
  ASSERT_OK(pool_alloc(other, 1 << 20, "some", &memory));
  EXPECT_EQ(pool_alloc(pool, total, "state", &memory), NOPROP_OUT_OF_MEMORY);
  std::string sentence = noprop_last_error();
  EXPECT_EQ(sentence.rfind("state: ", 0), 0u) << sentence;
  EXPECT_NE(sentence.find("are free"), std::string::npos) << sentence;
  EXPECT_EQ(pool_mark(pool), 0u);
  pool_destroy(other);
}
