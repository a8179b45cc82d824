/* Statistics of sequences, by hand. */
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <vector>

extern "C" {
#include "host/statistics.h"
}

namespace {

struct Statistics {
  float *mean = nullptr, *std = nullptr;
  ~Statistics() { std::free(mean), std::free(std); }
};

/* Two rows of two positions with two channels and a mask; padding is not a number. */
TEST(Statistics, OfSequencesLeaveOutPaddingAndTheMask) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> values = {1, 10, 1, 3, 30, 1, 5, 80, 1, nan, nan, 0};
  noprop_array array = {};
  array.name = "x", array.type = NOPROP_TYPE_FLOAT32, array.rows = 2, array.width = 6, array.values = values.data();
  Statistics s;
  ASSERT_EQ(statistics_of_sequences(&array, 3, true, &s.mean, &s.std), NOPROP_OK);
  for (size_t position = 0; position < 2; ++position) {
    EXPECT_FLOAT_EQ(s.mean[3 * position], 3);
    EXPECT_FLOAT_EQ(s.std[3 * position], std::sqrt(8.0f / 3)) << "of 1, 3 and 5";
    EXPECT_FLOAT_EQ(s.mean[3 * position + 1], 40);
    EXPECT_FLOAT_EQ(s.std[3 * position + 1], std::sqrt((900.0f + 100 + 1600) / 3));
    EXPECT_FLOAT_EQ(s.mean[3 * position + 2], 0);
    EXPECT_FLOAT_EQ(s.std[3 * position + 2], 1);
  }
  Statistics all;
  EXPECT_EQ(statistics_of_sequences(&array, 3, false, &all.mean, &all.std), NOPROP_FILE_ERROR);
  EXPECT_NE(std::string(noprop_last_error()).find("array x, channel 0"), std::string::npos);
}

}  // namespace
