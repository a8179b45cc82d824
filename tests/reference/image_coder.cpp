#include "tests/reference/image_coder.h"

#include <cmath>
#include <string>

namespace reference {

namespace {

size_t at(long height, long width, long channel, long y, long x) {
  return static_cast<size_t>((channel * height + y) * width + x);
}

/* each(input place, weight place, output place) for all products of a convolution. */
template <typename Each>
void products(const BranchLayer &layer, Each each) {
  for (long n = 0; n < layer.outputs; ++n)
    for (long y = 0; y < layer.height; ++y)
      for (long x = 0; x < layer.width; ++x)
        for (long dy = -1; dy <= 1; ++dy)
          for (long dx = -1; dx <= 1; ++dx)
            for (long c = 0; c < layer.inputs; ++c) {
              if (y + dy < 0 || y + dy >= layer.height || x + dx < 0 || x + dx >= layer.width) continue;
              const long row = ((dy + 1) * 3 + dx + 1) * layer.inputs + c;
              each(at(layer.height, layer.width, c, y + dy, x + dx),
                   static_cast<size_t>(layer.weight.offset + row * layer.outputs + n),
                   at(layer.height, layer.width, n, y, x));
            }
}

template <typename Real>
Vector<Real> convolve(const BranchLayer &layer, const Vector<Real> &parameters, const Vector<Real> &input) {
  const long pixels = layer.height * layer.width;
  Vector<Real> sums;
  for (long n = 0; n < layer.outputs; ++n)
    for (long i = 0; i < pixels; ++i) sums.push_back(parameters[static_cast<size_t>(layer.bias.offset + n)]);
  products(layer, [&](size_t from, size_t weight, size_t to) { sums[to] += input[from] * parameters[weight]; });
  return sums;
}

template <typename Real>
Vector<Real> convolve_back(const BranchLayer &layer, const Vector<Real> &parameters, const Vector<Real> &input,
                           const Vector<Real> &bar, Vector<Real> &gradient) {
  const size_t pixels = static_cast<size_t>(layer.height * layer.width);
  Vector<Real> input_bar(input.size(), 0.0);
  for (size_t i = 0; i < bar.size(); ++i) gradient[static_cast<size_t>(layer.bias.offset) + i / pixels] += bar[i];
  products(layer, [&](size_t from, size_t weight, size_t to) {
    gradient[weight] += input[from] * bar[to];
    input_bar[from] += parameters[weight] * bar[to];
  });
  return input_bar;
}

/* The largest of a window's sums, the first of equal ones. */
template <typename Real>
size_t largest(const BranchLayer &layer, const Vector<Real> &sums, long channel, long y, long x) {
  size_t best = at(layer.height, layer.width, channel, 2 * y, 2 * x);
  for (long k = 1; k < 4; ++k) {
    const size_t next = at(layer.height, layer.width, channel, 2 * y + k / 2, 2 * x + k % 2);
    if (sums[next] > sums[best]) best = next;
  }
  return best;
}

/* From a decoder's sums [4 C][h][w] to places in the image [C][2 h][2 w]. */
size_t square_at(const BranchLayer &layer, long channel, long y, long x) {
  const long channels = layer.outputs / 4, part = channel / channels;
  return at(2 * layer.height, 2 * layer.width, channel % channels, 2 * y + part / 2, 2 * x + part % 2);
}

template <typename Real>
Real length_factor(const Vector<Real> &v) {
  using std::sqrt;
  Real sum = 0.0;
  for (const Real &number : v) sum += number * number;
  return Real(1.0) / sqrt(sum / static_cast<double>(v.size()) + Real(1e-12));
}

template <typename Real>
Vector<Real> to_sphere(const Vector<Real> &v) {
  Vector<Real> result = v;
  const Real factor = length_factor(v);
  for (Real &number : result) number = number * factor;
  return result;
}

/* d/dv of bar . to_sphere(v). */
template <typename Real>
Vector<Real> from_sphere(const Vector<Real> &v, const Vector<Real> &bar) {
  const Vector<Real> x = to_sphere(v);
  const Real factor = length_factor(v);
  Real along = 0.0;
  for (size_t i = 0; i < v.size(); ++i) along += bar[i] * x[i];
  Vector<Real> result;
  for (size_t i = 0; i < v.size(); ++i)
    result.push_back(factor * (bar[i] - x[i] * (along / static_cast<double>(v.size()))));
  return result;
}

/* Number (y, x, channel) of an image [channel][y][x]. */
size_t place_of(long channels, long height, long width, size_t number) {
  const auto pixel = static_cast<long>(number) / channels;
  return at(height, width, static_cast<long>(number) % channels, pixel / width, pixel % width);
}

Array place(ImageCoder &coder, const std::string &name, long rows, long columns) {
  coder.arrays.push_back({name, rows, columns, false, coder.parameters});
  coder.parameters += coder.arrays.back().size();
  return coder.arrays.back();
}

}  // namespace

ImageCoder make_image_coder(long channels, long height, long width, long latent, const std::vector<long> &encoder,
                            const std::vector<long> &decoder) {
  ImageCoder coder;
  coder.latent = latent;
  const long image_channels = channels;
  const auto add = [&](std::vector<BranchLayer> &layers, const std::string &name, BranchLayer layer) {
    const std::string prefix = name + "." + std::to_string(layers.size());
    layer.weight = place(coder, prefix + ".weight", 9 * layer.inputs, layer.outputs);
    layer.bias = place(coder, prefix + ".bias", 1, layer.outputs);
    layers.push_back(layer);
  };
  long h = height, w = width;
  for (const long outputs : encoder) {
    add(coder.encoder, "encoder", BranchLayer{h, w, channels, outputs, true, {}, {}, 0, {}, {}, false});
    channels = outputs, h /= 2, w /= 2;
  }
  coder.to_weight = place(coder, "encoder.output.weight", h * w * channels, latent);
  coder.to_bias = place(coder, "encoder.output.bias", 1, latent);
  h = height >> decoder.size(), w = width >> decoder.size();
  coder.from_weight = place(coder, "decoder.input.weight", latent, h * w * decoder[0]);
  coder.from_bias = place(coder, "decoder.input.bias", 1, h * w * decoder[0]);
  for (size_t i = 0; i < decoder.size(); ++i, h *= 2, w *= 2)
    add(coder.decoder, "decoder",
        BranchLayer{h,
                    w,
                    decoder[i],
                    4 * (i + 1 < decoder.size() ? decoder[i + 1] : image_channels),
                    false,
                    {},
                    {},
                    0,
                    {},
                    {},
                    false});
  return coder;
}

template <typename Real>
void encode_image(const ImageCoder &coder, const Vector<Real> &parameters, const Vector<Real> &image,
                  ImageTrace<Real> &trace) {
  Vector<Real> input = image;
  for (const BranchLayer &layer : coder.encoder) {
    trace.input.push_back(input);
    trace.sums.push_back(convolve(layer, parameters, input));
    input.clear();
    for (long n = 0; n < layer.outputs; ++n)
      for (long y = 0; y < layer.height / 2; ++y)
        for (long x = 0; x < layer.width / 2; ++x) {
          const Real best = trace.sums.back()[largest(layer, trace.sums.back(), n, y, x)];
          input.push_back(best > Real(0.0) ? best : Real(0.0));
        }
  }
  const BranchLayer &last = coder.encoder.back();
  trace.bottom = input;
  for (long k = 0; k < coder.latent; ++k) {
    Real sum = parameters[static_cast<size_t>(coder.to_bias.offset + k)];
    for (size_t i = 0; i < input.size(); ++i)
      sum += input[place_of(last.outputs, last.height / 2, last.width / 2, i)] *
             parameters[static_cast<size_t>(coder.to_weight.offset + static_cast<long>(i) * coder.latent + k)];
    trace.code.push_back(sum);
  }
  trace.latent = to_sphere(trace.code);
}

template <typename Real>
void decode_image(const ImageCoder &coder, const Vector<Real> &parameters, const Vector<Real> &noise,
                  ImageTrace<Real> &trace) {
  trace.noisy = trace.latent;
  for (size_t i = 0; i < noise.size(); ++i) trace.noisy[i] += noise[i];
  trace.shown = to_sphere(trace.noisy);
  const BranchLayer &first = coder.decoder.front();
  const long numbers = first.inputs * first.height * first.width;
  Vector<Real> input(static_cast<size_t>(numbers));
  for (long i = 0; i < numbers; ++i) {
    Real sum = parameters[static_cast<size_t>(coder.from_bias.offset + i)];
    for (long k = 0; k < coder.latent; ++k)
      sum += trace.shown[static_cast<size_t>(k)] *
             parameters[static_cast<size_t>(coder.from_weight.offset + k * numbers + i)];
    trace.start.push_back(sum);
    input[place_of(first.inputs, first.height, first.width, static_cast<size_t>(i))] =
        sum > Real(0.0) ? sum : Real(0.0);
  }
  for (const BranchLayer &layer : coder.decoder) {
    trace.input.push_back(input);
    trace.sums.push_back(convolve(layer, parameters, input));
    const bool ends = &layer == &coder.decoder.back();
    input.assign(trace.sums.back().size(), 0.0);
    for (long n = 0; n < layer.outputs; ++n)
      for (long y = 0; y < layer.height; ++y)
        for (long x = 0; x < layer.width; ++x) {
          const Real sum = trace.sums.back()[at(layer.height, layer.width, n, y, x)];
          input[square_at(layer, n, y, x)] = ends || sum > Real(0.0) ? sum : Real(0.0);
        }
  }
  trace.image = input;
}

template <typename Real>
ImageTrace<Real> image_error(const ImageCoder &coder, const Vector<Real> &parameters, const Vector<Real> &image,
                             const Vector<Real> &noise) {
  ImageTrace<Real> trace;
  encode_image(coder, parameters, image, trace);
  decode_image(coder, parameters, noise, trace);
  for (size_t i = 0; i < image.size(); ++i) trace.error += (trace.image[i] - image[i]) * (trace.image[i] - image[i]);
  trace.error = trace.error / static_cast<double>(image.size());
  return trace;
}

template <typename Real>
void image_backward(const ImageCoder &coder, const Vector<Real> &parameters, const Vector<Real> &image,
                    const ImageTrace<Real> &trace, double share, Vector<Real> &gradient) {
  Vector<Real> output_bar;
  for (size_t i = 0; i < image.size(); ++i)
    output_bar.push_back((trace.image[i] - image[i]) * (2 * share / static_cast<double>(image.size())));
  for (size_t l = coder.decoder.size(); l-- > 0;) {
    const BranchLayer &layer = coder.decoder[l];
    const Vector<Real> &sums = trace.sums[coder.encoder.size() + l], &input = trace.input[coder.encoder.size() + l];
    const bool ends = l + 1 == coder.decoder.size();
    Vector<Real> bar(sums.size(), 0.0);
    for (long n = 0; n < layer.outputs; ++n)
      for (long y = 0; y < layer.height; ++y)
        for (long x = 0; x < layer.width; ++x) {
          const size_t place = at(layer.height, layer.width, n, y, x);
          if (ends || sums[place] > Real(0.0)) bar[place] = output_bar[square_at(layer, n, y, x)];
        }
    output_bar = convolve_back(layer, parameters, input, bar, gradient);
  }
  const BranchLayer &first = coder.decoder.front(), &last = coder.encoder.back();
  Vector<Real> shown_bar(static_cast<size_t>(coder.latent), 0.0);
  for (size_t i = 0; i < trace.start.size(); ++i) {
    if (!(trace.start[i] > Real(0.0))) continue;
    const Real bar = output_bar[place_of(first.inputs, first.height, first.width, i)];
    gradient[static_cast<size_t>(coder.from_bias.offset) + i] += bar;
    for (size_t k = 0; k < shown_bar.size(); ++k) {
      const size_t weight = static_cast<size_t>(coder.from_weight.offset) + k * trace.start.size() + i;
      gradient[weight] += trace.shown[k] * bar;
      shown_bar[k] += parameters[weight] * bar;
    }
  }
  const Vector<Real> code_bar = from_sphere(trace.code, from_sphere(trace.noisy, shown_bar));
  output_bar.assign(trace.bottom.size(), 0.0);
  for (size_t k = 0; k < code_bar.size(); ++k) {
    gradient[static_cast<size_t>(coder.to_bias.offset) + k] += code_bar[k];
    for (size_t i = 0; i < trace.bottom.size(); ++i) {
      const size_t weight = static_cast<size_t>(coder.to_weight.offset) + i * code_bar.size() + k;
      const size_t from = place_of(last.outputs, last.height / 2, last.width / 2, i);
      gradient[weight] += trace.bottom[from] * code_bar[k];
      output_bar[from] += parameters[weight] * code_bar[k];
    }
  }
  for (size_t l = coder.encoder.size(); l-- > 0;) {
    const BranchLayer &layer = coder.encoder[l];
    Vector<Real> bar(trace.sums[l].size(), 0.0);
    for (long n = 0; n < layer.outputs; ++n)
      for (long y = 0; y < layer.height / 2; ++y)
        for (long x = 0; x < layer.width / 2; ++x) {
          const size_t best = largest(layer, trace.sums[l], n, y, x);
          if (trace.sums[l][best] > Real(0.0)) bar[best] = output_bar[at(layer.height / 2, layer.width / 2, n, y, x)];
        }
    output_bar = convolve_back(layer, parameters, trace.input[l], bar, gradient);
  }
}

#define INSTANTIATE(Real)                                                                                     \
  template void encode_image<Real>(const ImageCoder &, const Vector<Real> &, const Vector<Real> &,            \
                                   ImageTrace<Real> &);                                                       \
  template void decode_image<Real>(const ImageCoder &, const Vector<Real> &, const Vector<Real> &,            \
                                   ImageTrace<Real> &);                                                       \
  template ImageTrace<Real> image_error<Real>(const ImageCoder &, const Vector<Real> &, const Vector<Real> &, \
                                              const Vector<Real> &);                                          \
  template void image_backward<Real>(const ImageCoder &, const Vector<Real> &, const Vector<Real> &,          \
                                     const ImageTrace<Real> &, double, Vector<Real> &);
INSTANTIATE(double)
INSTANTIATE(Tracked)
#undef INSTANTIATE

}  // namespace reference
