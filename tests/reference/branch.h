/* The convolutional branch of a condition that is an image, one image at a time, from its definition: 3 x 3
 * convolutions with a border of zeros, bias and ReLU, 2 x 2 max-pool behind each but the last, the mean over all pixels
 * behind that one (survey 5.8, first row). */
#ifndef TESTS_REFERENCE_BRANCH_H
#define TESTS_REFERENCE_BRANCH_H

#include "tests/reference/network.h"

namespace reference {

struct BranchLayer {
  long height, width, inputs, outputs;
  bool pool;    /* else the mean */
  Array weight; /* [9 inputs][outputs], rows in the order (y, x, input) */
  Array bias;
};

struct Branch {
  std::vector<BranchLayer> layers;
  long parameters = 0;
  /* Bits of fraction that factors of products are rounded to, 10 for tf32 (ties away from zero) or 7 for bf16 (to
   * even): those of the layers behind the first, whose sums' gradients are kept so. 0: all. */
  int operand_bits = 0;
  long features() const { return layers.back().outputs; }
};

Branch make_branch(long channels, long height, long width, const std::vector<long> &outputs);

template <typename Real>
struct BranchTrace {
  /* Of each layer: its input [channel][y][x], its sums [output][y][x]. */
  std::vector<Vector<Real>> input, sums;
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
