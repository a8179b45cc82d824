#include "tests/reference/branch.h"

namespace reference {

namespace {

size_t at(const BranchLayer &layer, long channel, long y, long x) {
  return static_cast<size_t>((channel * layer.height + y) * layer.width + x);
}

size_t weight_at(const BranchLayer &layer, long dy, long dx, long input, long output) {
  return static_cast<size_t>(layer.weight.offset + ((dy * 3 + dx) * layer.inputs + input) * layer.outputs + output);
}

bool inside(const BranchLayer &layer, long y, long x) {
  return y >= 0 && y < layer.height && x >= 0 && x < layer.width;
}

/* Which of a window's sums is the largest, the first of equal ones; windows of one sum without a pool. */
template <typename Real>
size_t largest(const BranchLayer &layer, const Vector<Real> &sums, long channel, long y, long x) {
  if (!layer.pool) return at(layer, channel, y, x);
  size_t best = at(layer, channel, 2 * y, 2 * x);
  for (long k = 1; k < 4; ++k) {
    const size_t next = at(layer, channel, 2 * y + k / 2, 2 * x + k % 2);
    if (sums[next] > sums[best]) best = next;
  }
  return best;
}

/* A number as it enters products of layer `l`. */
template <typename Real>
Real factor_of(const Branch &branch, size_t l, Real number) {
  return l > 0 && branch.operand_bits ? rounded_to(number, branch.operand_bits, branch.operand_bits == 7) : number;
}

}  // namespace

Branch make_branch(long channels, long height, long width, const std::vector<long> &outputs) {
  Branch branch;
  for (size_t i = 0; i < outputs.size(); ++i) {
    BranchLayer layer{height, width, channels, outputs[i], i + 1 < outputs.size(), {}, {}};
    const std::string name = "branch." + std::to_string(i);
    layer.weight = {name + ".weight", 9 * channels, outputs[i], false, branch.parameters};
    branch.parameters += layer.weight.size();
    layer.bias = {name + ".bias", 1, outputs[i], false, branch.parameters};
    branch.parameters += layer.bias.size();
    branch.layers.push_back(layer);
    channels = outputs[i];
    if (layer.pool) height /= 2, width /= 2;
  }
  return branch;
}

template <typename Real>
BranchTrace<Real> branch_forward(const Branch &branch, const Vector<Real> &parameters, const Vector<Real> &image) {
  BranchTrace<Real> trace;
  Vector<Real> input = image;
  for (size_t l = 0; l < branch.layers.size(); ++l) {
    const BranchLayer &layer = branch.layers[l];
    Vector<Real> weights = parameters;
    for (long i = layer.weight.offset; i < layer.weight.offset + layer.weight.size(); ++i)
      weights[static_cast<size_t>(i)] = factor_of(branch, l, weights[static_cast<size_t>(i)]);
    for (Real &number : input) number = factor_of(branch, l, number);
    Vector<Real> sums(static_cast<size_t>(layer.outputs * layer.height * layer.width));
    for (long n = 0; n < layer.outputs; ++n)
      for (long y = 0; y < layer.height; ++y)
        for (long x = 0; x < layer.width; ++x) {
          Real sum = parameters[static_cast<size_t>(layer.bias.offset + n)];
          for (long dy = 0; dy < 3; ++dy)
            for (long dx = 0; dx < 3; ++dx)
              for (long c = 0; c < layer.inputs && inside(layer, y + dy - 1, x + dx - 1); ++c)
                sum += input[at(layer, c, y + dy - 1, x + dx - 1)] * weights[weight_at(layer, dy, dx, c, n)];
          sums[at(layer, n, y, x)] = sum;
        }
    const long side = layer.pool ? 2 : 1, height = layer.height / side, width = layer.width / side;
    Vector<Real> output;
    for (long n = 0; n < layer.outputs; ++n)
      for (long y = 0; y < height; ++y)
        for (long x = 0; x < width; ++x) {
          const Real best = sums[largest(layer, sums, n, y, x)];
          output.push_back(best > Real(0.0) ? best : Real(0.0));
        }
    trace.input.push_back(input);
    trace.sums.push_back(sums);
    input = output;
  }
  const BranchLayer &last = branch.layers.back();
  const long pixels = last.height * last.width;
  for (long n = 0; n < last.outputs; ++n) {
    Real sum = 0.0;
    for (long i = 0; i < pixels; ++i) sum += input[static_cast<size_t>(n * pixels + i)];
    trace.features.push_back(sum / static_cast<double>(pixels));
  }
  return trace;
}

template <typename Real>
void branch_backward(const Branch &branch, const Vector<Real> &parameters, const BranchTrace<Real> &trace,
                     const Vector<Real> &cotangent, Vector<Real> &gradient) {
  const BranchLayer &last = branch.layers.back();
  Vector<Real> output_bar; /* of the layer's output, [channel][y][x] */
  for (long n = 0; n < last.outputs; ++n)
    for (long i = 0; i < last.height * last.width; ++i)
      output_bar.push_back(cotangent[static_cast<size_t>(n)] / static_cast<double>(last.height * last.width));
  for (size_t l = branch.layers.size(); l-- > 0;) {
    const BranchLayer &layer = branch.layers[l];
    const Vector<Real> &sums = trace.sums[l], &input = trace.input[l];
    Vector<Real> sums_bar(sums.size(), 0.0), input_bar(input.size(), 0.0);
    const long side = layer.pool ? 2 : 1, height = layer.height / side, width = layer.width / side;
    for (long n = 0; n < layer.outputs; ++n)
      for (long y = 0; y < height; ++y)
        for (long x = 0; x < width; ++x) {
          const size_t best = largest(layer, sums, n, y, x);
          if (sums[best] > Real(0.0)) sums_bar[best] = output_bar[static_cast<size_t>((n * height + y) * width + x)];
        }
    for (long n = 0; n < layer.outputs; ++n)
      for (long y = 0; y < layer.height; ++y)
        for (long x = 0; x < layer.width; ++x) {
          const Real bar = factor_of(branch, l, sums_bar[at(layer, n, y, x)]);
          gradient[static_cast<size_t>(layer.bias.offset + n)] += bar;
          for (long dy = 0; dy < 3; ++dy)
            for (long dx = 0; dx < 3; ++dx)
              for (long c = 0; c < layer.inputs && inside(layer, y + dy - 1, x + dx - 1); ++c) {
                const size_t from = at(layer, c, y + dy - 1, x + dx - 1), weight = weight_at(layer, dy, dx, c, n);
                gradient[weight] += bar * input[from];
                input_bar[from] += bar * factor_of(branch, l, parameters[weight]);
              }
        }
    output_bar = input_bar;
  }
}

#define INSTANTIATE(Real)                                                                                              \
  template BranchTrace<Real> branch_forward(const Branch &, const Vector<Real> &, const Vector<Real> &);               \
  template void branch_backward(const Branch &, const Vector<Real> &, const BranchTrace<Real> &, const Vector<Real> &, \
                                Vector<Real> &);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE

}  // namespace reference
