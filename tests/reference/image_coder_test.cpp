/* The reference's convolutional encoder and decoder: derivatives against differences, and parts by hand. */
#include "tests/reference/image_coder.h"

#include <gtest/gtest.h>

#include "tests/reference/random_vector.h"

namespace {

using namespace reference;

/* Biases alone: the decoder's last layer gives its four parts as the corners of every square, less nothing. */
TEST(ImageCoder, PutsPartsOfChannelsIntoSquares) {
  const ImageCoder coder = make_image_coder(1, 4, 4, 8, {8}, {8});
  Vector<double> parameters(static_cast<size_t>(coder.parameters), 0.0), image(16, 0.0);
  for (size_t p = 0; p < 4; ++p)
    parameters[static_cast<size_t>(coder.decoder[0].bias.offset) + p] = static_cast<double>(p) - 1.5;
  parameters[static_cast<size_t>(coder.to_bias.offset) + 2] = -3; /* u = -3 e_2: z = -sqrt(8) e_2 */
  const auto trace = image_error(coder, parameters, image, Vector<double>());
  EXPECT_NEAR(trace.latent[2], -std::sqrt(8.0), 1e-10);
  EXPECT_EQ(trace.latent[1], 0);
  for (size_t i = 0; i < 16; ++i)
    EXPECT_DOUBLE_EQ(trace.image[i], static_cast<double>(i / 4 % 2 * 2 + i % 2) - 1.5) << i;
  EXPECT_DOUBLE_EQ(trace.error, (2 * 1.5 * 1.5 + 2 * 0.5 * 0.5) / 4);
}

/* Central differences in double, h = 1e-6; the third pool leaves a row out. */
TEST(ImageCoder, GradientsMatchDifferences) {
  const ImageCoder coder = make_image_coder(3, 12, 8, 8, {8, 8, 8}, {8, 8});
  Vector<double> parameters = random_vector(static_cast<size_t>(coder.parameters), 1, 0.5);
  const Vector<double> image = random_vector(3 * 12 * 8, 2, 0.5), noise = random_vector(8, 3, 0.5);
  Vector<double> gradient(parameters.size(), 0.0);
  image_backward(coder, parameters, image, image_error(coder, parameters, image, noise), 0.7, gradient);
  std::mt19937 generator(5);
  for (const Array &array : coder.arrays) {
    double largest = 0;
    for (long i = array.offset; i < array.offset + array.size(); ++i)
      largest = std::fmax(largest, std::fabs(gradient[static_cast<size_t>(i)]));
    EXPECT_GT(largest, 1e-3) << array.name;
    for (int probe = 0; probe < 40; ++probe) {
      const size_t i = static_cast<size_t>(array.offset) + generator() % static_cast<size_t>(array.size());
      const double h = 1e-6, keep = parameters[i];
      parameters[i] = keep + h;
      const double up = image_error(coder, parameters, image, noise).error;
      parameters[i] = keep - h;
      const double down = image_error(coder, parameters, image, noise).error;
      parameters[i] = keep;
      ASSERT_NEAR(gradient[i], 0.7 * (up - down) / (2 * h), 1e-7 * largest + 1e-8) << array.name << " " << i;
    }
  }
}

}  // namespace
