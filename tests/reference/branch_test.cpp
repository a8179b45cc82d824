/* The reference's convolutional branch: derivatives against differences, and one case by hand. */
#include "tests/reference/branch.h"

#include <gtest/gtest.h>

#include "tests/reference/random_vector.h"

namespace {

using namespace reference;

/* A kernel that copies the left neighbour, on a ramp: sums, pool and mean are counted on fingers. */
TEST(Branch, ShiftsPoolsAndAveragesAsDefined) {
  const Branch branch = make_branch(1, 4, 4, {8, 8});
  Vector<double> parameters(static_cast<size_t>(branch.parameters), 0.0), image(16);
  for (size_t i = 0; i < 16; ++i) image[i] = static_cast<double>(i + 1);
  /* layer 0, output 2: pixel (y, x - 1); layer 1, output 5: twice that channel's pixel itself, less 20. */
  parameters[static_cast<size_t>(branch.layers[0].weight.offset + (1 * 3 + 0) * 8 + 2)] = 1;
  parameters[static_cast<size_t>(branch.layers[1].weight.offset + ((1 * 3 + 1) * 8 + 2) * 8 + 5)] = 2;
  parameters[static_cast<size_t>(branch.layers[1].bias.offset + 5)] = -20;
  const auto trace = branch_forward(branch, parameters, image);
  /* Shifted rows 0 1 2 3 | 0 5 6 7 | 0 9 10 11 | 0 13 14 15, pooled 5 7 | 13 15, doubled less 20: -10 -6 6 10. */
  EXPECT_DOUBLE_EQ(trace.features[5], (0 + 0 + 6 + 10) / 4.0);
  EXPECT_DOUBLE_EQ(trace.features[4], 0);
}

/* One pixel a window: the block's skip and the norms by hand. Two channels a group and 1 pixel: u = +-1 nearly. */
TEST(Branch, ResidualBlocksNormaliseAndAddAsDefined) {
  const Branch branch = make_residual_branch(1, 2, 2, {8}, {1}, 4);
  ASSERT_EQ(branch.layers.size(), 3u);
  EXPECT_EQ(branch.parameters, (9 * 8 + 16) + 2 * (72 * 8 + 16));
  Vector<double> parameters(static_cast<size_t>(branch.parameters), 0.0);
  const auto set = [&](const Array &array, long index, double value) {
    parameters[static_cast<size_t>(array.offset + index)] = value;
  };
  /* Stage: channel 0 is the middle pixel; of 4 and 4 zeros' partner the group (0, 1) has mean 1 and variance 3. */
  set(branch.layers[0].weight, 4 * 8, 1);
  for (long c = 0; c < 8; ++c) set(branch.layers[0].scale, c, 1), set(branch.layers[2].shift, c, c == 0 ? 0.25 : -5);
  /* Four pixels 0 0 0 4 in channel 0, zeros in channel 1: mean 1/2, mean square 2, variance 7/4. */
  const auto trace = branch_forward(branch, parameters, {0, 0, 0, 4});
  const double best = 3.5 / std::sqrt(1.75 + 1e-5);
  EXPECT_NEAR(trace.input[1][0], best, 1e-12); /* pooled */
  EXPECT_NEAR(trace.features[0], best + 0.25, 1e-12) << "convolutions of zero leave the shift and the skip";
  EXPECT_NEAR(trace.features[1], 0, 0) << "a negative sum does not pass the ReLU";
}

/* Of 3 x 3 pixels the skip has those at the corners. */
TEST(Branch, StridedBlocksHalveTheImageAndProjectTheirSkip) {
  const Branch branch = make_residual_branch(1, 3, 3, {8, 16}, {0, 1}, 8, true);
  ASSERT_EQ(branch.layers.size(), 4u);
  EXPECT_EQ(branch.parameters, (9 * 8 + 16) + (72 * 16 + 32) + (8 * 16 + 32) + (9 * 16 * 16 + 32));
  Vector<double> parameters(static_cast<size_t>(branch.parameters), 0.0);
  const auto set = [&](const Array &array, long index, double value) {
    parameters[static_cast<size_t>(array.offset + index)] = value;
  };
  /* The first layer gives the image itself, a channel a group, normalised; 4 of 9 ones: mean 4/9, variance 20/81. */
  set(branch.layers[0].weight, 4 * 8, 1), set(branch.layers[0].scale, 0, 1);
  /* The skip: channels 0 and 1 a group, of channel 0 at the four corners and of zeros. */
  set(branch.layers[2].weight, 0, 1), set(branch.layers[2].scale, 0, 2), set(branch.layers[2].shift, 1, 0.5);
  const auto trace = branch_forward(branch, parameters, {1, 0, 1, 0, 1, 0, 0, 0, 1});
  const double one = 5 / 9.0 / std::sqrt(20 / 81.0 + 1e-5); /* where the image is 1; else the ReLU gives 0 */
  EXPECT_NEAR(trace.sums[2][0], one, 1e-12);
  EXPECT_EQ(trace.sums[2].size(), 4u * 16);
  /* one, one, 0, one and four zeros: mean 3/8 one, mean square 3/8 one^2. */
  const double mean = 3 * one / 8, deviation = std::sqrt(3 * one * one / 8 - mean * mean + 1e-5);
  EXPECT_NEAR(trace.features[0], 3 * 2 * (one - mean) / deviation / 4, 1e-9) << "and one below 0, which ends there";
  EXPECT_NEAR(trace.features[1], 0.5, 1e-12) << "its scale is 0";
  EXPECT_EQ(trace.sums[1].size(), 4u * 16) << "the strided convolution";
}

/* Central differences in double, h = 1e-6: the branch is smooth between its corners, which these numbers stay clear of;
 * rounding 1e-16/h = 1e-10. */
void expect_gradient_of_differences(const Branch &branch) {
  Vector<double> parameters = random_vector(static_cast<size_t>(branch.parameters), 1, 0.5);
  const Vector<double> image = random_vector(3 * 7 * 6, 2, 0.5), cotangent = random_vector(8, 3, 0.5);
  Vector<double> gradient(parameters.size(), 0.0);
  branch_backward(branch, parameters, branch_forward(branch, parameters, image), cotangent, gradient);
  const auto value = [&] {
    const auto features = branch_forward(branch, parameters, image).features;
    double sum = 0;
    for (size_t i = 0; i < features.size(); ++i) sum += features[i] * cotangent[i];
    return sum;
  };
  double largest = 0;
  for (const Array &array : branch.arrays) {
    double of_array = 0;
    for (size_t i = static_cast<size_t>(array.offset); i < static_cast<size_t>(array.offset + array.size()); ++i) {
      const double h = 1e-6, keep = parameters[i];
      parameters[i] = keep + h;
      const double up = value();
      parameters[i] = keep - h;
      const double down = value();
      parameters[i] = keep;
      ASSERT_NEAR(gradient[i], (up - down) / (2 * h), 1e-8) << array.name << " " << i;
      of_array = std::fmax(of_array, std::fabs(gradient[i]));
    }
    EXPECT_GT(of_array, 1e-3) << array.name;
    largest = std::fmax(largest, of_array);
  }
  EXPECT_GT(largest, 0.1);
}

/* An odd height: the pool leaves a row out. */
TEST(Branch, GradientsMatchDifferences) { expect_gradient_of_differences(make_branch(3, 7, 6, {8, 8, 8})); }
TEST(Branch, ResidualGradientsMatchDifferences) {
  expect_gradient_of_differences(make_residual_branch(3, 7, 6, {8, 8}, {1, 0}, 4));
  expect_gradient_of_differences(make_residual_branch(3, 7, 6, {8, 8}, {0, 1}, 4, true));
}

}  // namespace
