/* The convolutional branch of a condition that is an image, one image at a time, from its definition.
 *
 * cnn: 3 x 3 convolutions with a border of zeros, bias and ReLU, 2 x 2 max-pool behind each but the last, the mean over
 * all pixels behind that one (survey 5.8, first row).
 * resnet: convolutions without bias, each with GroupNorm (Wu and He, 2018: mean and variance over a group's channels
 * and all pixels, 1e-5 beside the variance) and ReLU; a 2 x 2 max-pool behind the first of each stage, blocks of two
 * with a skip from the first one's input to before the second one's ReLU behind it; the mean over all pixels at the
 * end. With `strided` no pools: the first convolution of the first block of every stage but the first has stride 2,
 * and that block's skip is a 1 x 1 convolution of stride 2 with GroupNorm (He et al., 2016). */
#ifndef TESTS_REFERENCE_BRANCH_H
#define TESTS_REFERENCE_BRANCH_H

#include "tests/reference/network.h"

namespace reference {

struct BranchLayer {
  long height, width, inputs, outputs;
  bool pool;    /* else, of the last one, the mean */
  Array weight; /* [9 inputs][outputs], rows in the order (y, x, input) */
  Array bias;   /* cnn */
  long groups = 0;
  Array scale, shift; /* resnet: of `groups` groups */
  bool skip = false;  /* resnet: the input of the layer before is added, or what a projection before it gives */
  long stride = 1;
  long side = 3;           /* neighbours in a row */
  bool projection = false; /* of what the layer before is given, normalised, without a ReLU; side 1 */
  long sum_height() const { return (height + stride - 1) / stride; }
  long sum_width() const { return (width + stride - 1) / stride; }
};

struct Branch {
  std::vector<BranchLayer> layers;
  std::vector<Array> arrays; /* in their order */
  long parameters = 0;
  /* Bits of fraction that factors of products are rounded to, 10 for tf32 (ties away from zero) or 7 for bf16 (to
   * even): those of the layers behind the first, whose sums' gradients are kept so. 0: all. */
  int operand_bits = 0;
  long features() const { return layers.back().outputs; }
};

Branch make_branch(long channels, long height, long width, const std::vector<long> &outputs);
Branch make_residual_branch(long channels, long height, long width, const std::vector<long> &outputs,
                            const std::vector<long> &blocks, long groups, bool strided = false);

template <typename Real>
struct BranchTrace {
  /* Of each layer: its input [channel][y][x], its sums [output][y][x], these normalised and with what a skip adds. */
  std::vector<Vector<Real>> input, sums, ready;
  Vector<Real> features;
};

/* image: [channel][y][x]. `parameters` begin with those of the branch. */
template <typename Real>
BranchTrace<Real> branch_forward(const Branch &branch, const Vector<Real> &parameters, const Vector<Real> &image);

/* Adds d/dparameters of cotangent . features to `gradient`. */
template <typename Real>
void branch_backward(const Branch &branch, const Vector<Real> &parameters, const BranchTrace<Real> &trace,
                     const Vector<Real> &cotangent, Vector<Real> &gradient);

}  // namespace reference

#endif
