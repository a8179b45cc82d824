#include "tests/reference/branch.h"

#include <cmath>
#include <string>

namespace reference {

namespace {

size_t at(const BranchLayer &layer, long channel, long y, long x) {
  return static_cast<size_t>((channel * layer.height + y) * layer.width + x);
}

size_t sum_at(const BranchLayer &layer, long channel, long y, long x) {
  return static_cast<size_t>((channel * layer.sum_height() + y) * layer.sum_width() + x);
}

size_t weight_at(const BranchLayer &layer, long dy, long dx, long input, long output) {
  return static_cast<size_t>(layer.weight.offset + ((dy * layer.side + dx) * layer.inputs + input) * layer.outputs +
                             output);
}

/* The row of the input that neighbour `dy` of row `y` of the sums is, and so for columns. */
long input_of(const BranchLayer &layer, long y, long dy) { return layer.stride * y + dy - layer.side / 2; }

bool inside(const BranchLayer &layer, long y, long x) {
  return y >= 0 && y < layer.height && x >= 0 && x < layer.width;
}

/* Which of a window's numbers is the largest, the first of equal ones; windows of one sum without a pool. */
template <typename Real>
size_t largest(const BranchLayer &layer, const Vector<Real> &sums, long channel, long y, long x) {
  if (!layer.pool) return sum_at(layer, channel, y, x);
  size_t best = sum_at(layer, channel, 2 * y, 2 * x);
  for (long k = 1; k < 4; ++k) {
    const size_t next = sum_at(layer, channel, 2 * y + k / 2, 2 * x + k % 2);
    if (sums[next] > sums[best]) best = next;
  }
  return best;
}

/* Sets `bar`, by a window's numbers, to what its output passes back: to the largest of them if that is positive. Where
 * the sign, or which one is the largest, is not certain, neither is this. */
template <typename Real>
void pass_back(const BranchLayer &layer, const Vector<Real> &ready, long channel, long y, long x, Real output_bar,
               Vector<Real> &bar) {
  const size_t best = largest(layer, ready, channel, y, x);
  const Real passed = by_sign(ready[best], Real(0.0), output_bar);
  bar[best] = passed;
  for (long k = 0; layer.pool && k < 4; ++k) {
    const size_t other = sum_at(layer, channel, 2 * y + k / 2, 2 * x + k % 2);
    if (other == best) continue;
    const Real ahead = ready[other] - ready[best];
    bar[best] = by_sign(ahead, bar[best], Real(0.0));
    bar[other] = by_sign(ahead, Real(0.0), passed);
  }
}

/* A number as it enters products of layer `l`. */
template <typename Real>
Real factor_of(const Branch &branch, size_t l, Real number) {
  return l > 0 && branch.operand_bits ? rounded_near_ties(number, branch.operand_bits, branch.operand_bits == 7)
                                      : number;
}

/* Mean and 1/deviation of each group, over its channels and all pixels. */
template <typename Real>
struct Moments {
  Vector<Real> mean, inverse;
};

template <typename Real>
Moments<Real> moments(const BranchLayer &layer, const Vector<Real> &sums) {
  using std::sqrt;
  const size_t count = sums.size() / static_cast<size_t>(layer.groups);
  Moments<Real> result;
  for (size_t g = 0; g < static_cast<size_t>(layer.groups); ++g) {
    Real mean = 0.0, variance = 0.0;
    for (size_t i = 0; i < count; ++i) mean += sums[g * count + i];
    mean = mean / static_cast<double>(count);
    for (size_t i = 0; i < count; ++i) variance += (sums[g * count + i] - mean) * (sums[g * count + i] - mean);
    result.mean.push_back(mean);
    result.inverse.push_back(Real(1.0) / sqrt(variance / static_cast<double>(count) + Real(1e-5)));
  }
  return result;
}

template <typename Real>
Vector<Real> normalised(const BranchLayer &layer, const Vector<Real> &parameters, const Vector<Real> &sums) {
  const auto of = moments(layer, sums);
  const size_t count = sums.size() / static_cast<size_t>(layer.groups);
  const size_t pixels = static_cast<size_t>(layer.sum_height() * layer.sum_width());
  Vector<Real> result;
  for (size_t i = 0; i < sums.size(); ++i)
    result.push_back((sums[i] - of.mean[i / count]) * of.inverse[i / count] *
                         parameters[static_cast<size_t>(layer.scale.offset) + i / pixels] +
                     parameters[static_cast<size_t>(layer.shift.offset) + i / pixels]);
  return result;
}

/* From d/d(normalised) to d/d(sums); adds to the gradients of scale and shift. With u = (s - mean)/deviation of one of
 * N numbers in its group: d/ds = (b - sum(b)/N - u sum(b u)/N)/deviation, b = scale d/d(normalised). */
template <typename Real>
Vector<Real> normalise_back(const BranchLayer &layer, const Vector<Real> &parameters, const Vector<Real> &sums,
                            const Vector<Real> &bar, Vector<Real> &gradient) {
  const auto of = moments(layer, sums);
  const size_t count = sums.size() / static_cast<size_t>(layer.groups);
  const size_t pixels = static_cast<size_t>(layer.sum_height() * layer.sum_width());
  Vector<Real> unit, scaled, all(of.mean.size(), 0.0), along(of.mean.size(), 0.0), result;
  for (size_t i = 0; i < sums.size(); ++i) {
    unit.push_back((sums[i] - of.mean[i / count]) * of.inverse[i / count]);
    scaled.push_back(bar[i] * parameters[static_cast<size_t>(layer.scale.offset) + i / pixels]);
    gradient[static_cast<size_t>(layer.scale.offset) + i / pixels] += bar[i] * unit[i];
    gradient[static_cast<size_t>(layer.shift.offset) + i / pixels] += bar[i];
    all[i / count] += scaled[i];
    along[i / count] += scaled[i] * unit[i];
  }
  for (size_t i = 0; i < sums.size(); ++i)
    result.push_back((scaled[i] - (all[i / count] + unit[i] * along[i / count]) / static_cast<double>(count)) *
                     of.inverse[i / count]);
  return result;
}

Array place(Branch &branch, const char *name, long rows, long columns) {
  const std::string prefix = "branch." + std::to_string(branch.layers.size());
  branch.arrays.push_back({prefix + name, rows, columns, false, branch.parameters});
  branch.parameters += branch.arrays.back().size();
  return branch.arrays.back();
}

}  // namespace

Branch make_branch(long channels, long height, long width, const std::vector<long> &outputs) {
  Branch branch;
  for (size_t i = 0; i < outputs.size(); ++i) {
    BranchLayer layer{height, width, channels, outputs[i], i + 1 < outputs.size(), {}, {}, 0, {}, {}, false};
    layer.weight = place(branch, ".weight", 9 * channels, outputs[i]);
    layer.bias = place(branch, ".bias", 1, outputs[i]);
    branch.layers.push_back(layer);
    channels = outputs[i];
    if (layer.pool) height /= 2, width /= 2;
  }
  return branch;
}

Branch make_residual_branch(long channels, long height, long width, const std::vector<long> &outputs,
                            const std::vector<long> &blocks, long groups, bool strided) {
  Branch branch;
  for (size_t stage = 0; stage < outputs.size(); ++stage)
    for (long k = strided && stage > 0 ? -1 : 0; k <= 2 * blocks[stage]; ++k) {
      const bool pool = !strided && k == 0, halves = strided && stage > 0 && k < 1, projects = halves && k == 0;
      if (strided && stage > 0 && k == 1) continue; /* the strided one, number -1, is a block's first */
      const bool skip = k > 0 && k % 2 == 0;
      BranchLayer layer{height, width, channels, outputs[stage], pool, {}, {}, groups, {}, {}, skip};
      if (halves) layer.stride = 2;
      if (projects) layer.side = 1, layer.projection = true;
      layer.weight = place(branch, ".weight", layer.side * layer.side * channels, outputs[stage]);
      layer.scale = place(branch, ".scale", 1, outputs[stage]);
      layer.shift = place(branch, ".shift", 1, outputs[stage]);
      branch.layers.push_back(layer);
      if (halves && !projects) continue; /* the projection is given the same */
      channels = outputs[stage];
      height = layer.sum_height(), width = layer.sum_width();
      if (pool) height /= 2, width /= 2;
    }
  return branch;
}

template <typename Real>
BranchTrace<Real> branch_forward(const Branch &branch, const Vector<Real> &parameters, const Vector<Real> &image) {
  BranchTrace<Real> trace;
  Vector<Real> input = image, skipped; /* a skip adds what the layer before was given, whatever its products take */
  for (size_t l = 0; l < branch.layers.size(); ++l) {
    const BranchLayer &layer = branch.layers[l];
    const Vector<Real> whole = layer.projection ? skipped : input, main = input;
    if (layer.projection) input = skipped;
    Vector<Real> weights = parameters;
    for (long i = layer.weight.offset; i < layer.weight.offset + layer.weight.size(); ++i)
      weights[static_cast<size_t>(i)] = factor_of(branch, l, weights[static_cast<size_t>(i)]);
    for (Real &number : input) number = factor_of(branch, l, number);
    Vector<Real> sums(static_cast<size_t>(layer.outputs * layer.sum_height() * layer.sum_width()));
    for (long n = 0; n < layer.outputs; ++n)
      for (long y = 0; y < layer.sum_height(); ++y)
        for (long x = 0; x < layer.sum_width(); ++x) {
          Real sum = layer.groups > 0 ? Real(0.0) : parameters[static_cast<size_t>(layer.bias.offset + n)];
          for (long dy = 0; dy < layer.side; ++dy)
            for (long dx = 0; dx < layer.side; ++dx) {
              const long row = input_of(layer, y, dy), column = input_of(layer, x, dx);
              for (long c = 0; c < layer.inputs && inside(layer, row, column); ++c)
                sum += input[at(layer, c, row, column)] * weights[weight_at(layer, dy, dx, c, n)];
            }
          sums[sum_at(layer, n, y, x)] = sum;
        }
    Vector<Real> ready = layer.groups > 0 ? normalised(layer, parameters, sums) : sums;
    for (size_t i = 0; layer.skip && i < ready.size(); ++i) ready[i] += skipped[i];
    const long side = layer.pool ? 2 : 1, height = layer.sum_height() / side, width = layer.sum_width() / side;
    Vector<Real> output;
    for (long n = 0; n < layer.outputs; ++n)
      for (long y = 0; y < height; ++y)
        for (long x = 0; x < width; ++x) {
          const Real best = ready[largest(layer, ready, n, y, x)];
          output.push_back(best > Real(0.0) ? best : Real(0.0));
        }
    trace.input.push_back(input);
    trace.sums.push_back(sums);
    trace.ready.push_back(ready);
    skipped = layer.projection ? ready : whole;
    input = layer.projection ? main : output;
  }
  const auto channels = static_cast<size_t>(branch.features()), pixels = input.size() / channels;
  for (size_t n = 0; n < channels; ++n) {
    Real sum = 0.0;
    for (size_t i = 0; i < pixels; ++i) sum += input[n * pixels + i];
    trace.features.push_back(sum / static_cast<double>(pixels));
  }
  return trace;
}

template <typename Real>
void branch_backward(const Branch &branch, const Vector<Real> &parameters, const BranchTrace<Real> &trace,
                     const Vector<Real> &cotangent, Vector<Real> &gradient) {
  const BranchLayer &last = branch.layers.back();
  const long last_side = last.pool ? 2 : 1, pixels = last.sum_height() / last_side * (last.sum_width() / last_side);
  Vector<Real> output_bar; /* of the layer's output, [channel][y][x] */
  Vector<Real> skip_bar;   /* of what a skip adds */
  for (long n = 0; n < last.outputs; ++n)
    for (long i = 0; i < pixels; ++i)
      output_bar.push_back(cotangent[static_cast<size_t>(n)] / static_cast<double>(pixels));
  for (size_t l = branch.layers.size(); l-- > 0;) {
    const BranchLayer &layer = branch.layers[l];
    const Vector<Real> &ready = trace.ready[l], &input = trace.input[l];
    Vector<Real> ready_bar(ready.size(), 0.0), input_bar(input.size(), 0.0);
    const long side = layer.pool ? 2 : 1, height = layer.sum_height() / side, width = layer.sum_width() / side;
    for (long n = 0; n < layer.outputs; ++n)
      for (long y = 0; y < height; ++y)
        for (long x = 0; x < width && !layer.projection; ++x)
          pass_back(layer, ready, n, y, x, output_bar[static_cast<size_t>((n * height + y) * width + x)], ready_bar);
    if (layer.projection)
      ready_bar = skip_bar, skip_bar.clear();
    else if (!layer.skip && !skip_bar.empty())
      input_bar = skip_bar, skip_bar.clear();
    if (layer.skip) skip_bar = ready_bar;
    const Vector<Real> sums_bar =
        layer.groups > 0 ? normalise_back(layer, parameters, trace.sums[l], ready_bar, gradient) : ready_bar;
    for (long n = 0; n < layer.outputs; ++n)
      for (long y = 0; y < layer.sum_height(); ++y)
        for (long x = 0; x < layer.sum_width(); ++x) {
          const Real bar = factor_of(branch, l, sums_bar[sum_at(layer, n, y, x)]);
          if (layer.groups == 0) gradient[static_cast<size_t>(layer.bias.offset + n)] += bar;
          for (long dy = 0; dy < layer.side; ++dy)
            for (long dx = 0; dx < layer.side; ++dx) {
              const long row = input_of(layer, y, dy), column = input_of(layer, x, dx);
              for (long c = 0; c < layer.inputs && inside(layer, row, column); ++c) {
                const size_t from = at(layer, c, row, column), weight = weight_at(layer, dy, dx, c, n);
                gradient[weight] += bar * input[from];
                input_bar[from] += bar * factor_of(branch, l, parameters[weight]);
              }
            }
        }
    if (layer.projection)
      skip_bar = input_bar; /* to what the layer before is given */
    else
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
