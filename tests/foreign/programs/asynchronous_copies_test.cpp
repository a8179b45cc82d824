/* Asynchronous copies to shared memory bring what plain loops read. */
#include "tests/foreign/programs/asynchronous_copies.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <random>

namespace {

class AsynchronousCopiesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int &value : x) value = std::uniform_int_distribution<int>(-1000000, 1000000)(generator);
  }
  std::mt19937_64 generator{19};
  std::vector<int> x = std::vector<int>(12 * 256);
};

TEST_F(AsynchronousCopiesTest, WholeBlocksCopyTogether) {
  std::vector<int> sums;
  for (auto begin = x.begin(); begin != x.end(); begin += 256) sums.push_back(std::accumulate(begin, begin + 256, 0));
  EXPECT_EQ(asynchronous_copies::sums_of_256(x), sums);
}

TEST_F(AsynchronousCopiesTest, TilesArriveInTurn) {
  std::vector<int> turned;
  for (size_t i = 0; i < x.size(); ++i) turned.push_back(x[i / 128 * 128 + 127 - i % 128] * static_cast<int>(i / 128));
  EXPECT_EQ(asynchronous_copies::tiles_by_groups(x), turned);
  EXPECT_EQ(asynchronous_copies::tiles_by_pipeline(x), turned);
  EXPECT_EQ(asynchronous_copies::tiles_by_barrier(x), turned);
  EXPECT_EQ(asynchronous_copies::tiles_by_block_pipeline(x), turned);
  EXPECT_EQ(asynchronous_copies::tiles_by_producer_and_consumers(x), turned);
}

TEST_F(AsynchronousCopiesTest, BarriersSeparateWritingFromReading) {
  EXPECT_EQ(asynchronous_copies::turns_of_a_barrier(50), std::vector<int>(128, 50 * 51 / 2));
}

TEST_F(AsynchronousCopiesTest, BytesThatAreNotReadAreZero) {
  for (int bytes : {16, 12, 5, 0}) {
    std::vector<int> expected(x.size());
    for (size_t i = 0; i < x.size(); i += 4) std::memcpy(&expected[i], &x[i], bytes);
    EXPECT_EQ(asynchronous_copies::with_zeros(x, bytes), expected) << bytes;
  }
}

}  // namespace
