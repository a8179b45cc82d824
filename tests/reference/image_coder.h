/* Convolutional encoder and decoder of an image, one image at a time, from their definition.
 *
 * Encoder: 3 x 3 convolutions with a border of zeros, bias, ReLU and 2 x 2 max-pool; a dense layer u; z = u
 * sqrt(d)/|u|. Decoder of v = z + noise: v sqrt(d)/|v|; a dense layer with ReLU as an image; convolutions whose outputs
 * 4 C are four parts of C channels, part p the pixels (2 y + p / 2, 2 x + p % 2), with ReLU but behind the last. The
 * error is the mean over the image's numbers of the squared differences. */
#ifndef TESTS_REFERENCE_IMAGE_CODER_H
#define TESTS_REFERENCE_IMAGE_CODER_H

#include "tests/reference/branch.h"

namespace reference {

struct ImageCoder {
  std::vector<BranchLayer> encoder, decoder;
  Array to_weight, to_bias, from_weight, from_bias; /* [numbers (y, x, channel)][d]; [d][numbers (y, x, channel)] */
  std::vector<Array> arrays;                        /* in their order */
  long parameters = 0, latent = 0;
};

ImageCoder make_image_coder(long channels, long height, long width, long latent, const std::vector<long> &encoder,
                            const std::vector<long> &decoder);

template <typename Real>
struct ImageTrace {
  std::vector<Vector<Real>> input, sums; /* of each convolution, [channel][y][x] */
  Vector<Real> bottom, code, latent;     /* what the encoder's convolutions give; u; z */
  Vector<Real> noisy, shown, start;      /* v; on the sphere; sums of the dense layer, (y, x, channel) */
  Vector<Real> image;                    /* decoded, [channel][y][x] */
  Real error = 0.0;
};

/* image: [channel][y][x]. `parameters` begin with those of the coder. */
template <typename Real>
void encode_image(const ImageCoder &coder, const Vector<Real> &parameters, const Vector<Real> &image,
                  ImageTrace<Real> &trace);
/* Decodes trace.latent + noise; noise may be empty. */
template <typename Real>
void decode_image(const ImageCoder &coder, const Vector<Real> &parameters, const Vector<Real> &noise,
                  ImageTrace<Real> &trace);
/* Both, and the error. */
template <typename Real>
ImageTrace<Real> image_error(const ImageCoder &coder, const Vector<Real> &parameters, const Vector<Real> &image,
                             const Vector<Real> &noise);
/* Adds `share` times d error/dparameters. */
template <typename Real>
void image_backward(const ImageCoder &coder, const Vector<Real> &parameters, const Vector<Real> &image,
                    const ImageTrace<Real> &trace, double share, Vector<Real> &gradient);

}  // namespace reference

#endif
