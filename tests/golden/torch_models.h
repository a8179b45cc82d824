/* The networks of the PyTorch systems, forward in double precision, from the arrays of the golden file: what the
 * notebook (S2) and the scripts (Y) predict, so that their losses and solves can be compared. Gradients are compared by
 * differences. */
#ifndef TESTS_GOLDEN_TORCH_MODELS_H
#define TESTS_GOLDEN_TORCH_MODELS_H

#include <map>
#include <string>
#include <vector>

#include "tests/golden/golden_file.h"

namespace golden {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

/* Arrays below a path by name ("block.fusion.0.weight"); of linear layers [out][in], of convolutions [out][in][3][3].
 */
struct Weights {
  std::map<std::string, Tensor> arrays;
  Weights(const File &file, const std::string &path);
  const Row &at(const std::string &name) const { return arrays.at(name).values; }
  bool has(const std::string &name) const { return arrays.count(name) > 0; }
  /* W in + b of layer `name`. */
  Row linear(const std::string &name, const Row &in) const;
};

Row relu(Row row);
Row softmax(Row logits);
Row concatenated(std::initializer_list<Row> parts);

/* S2's block "block." of a square image and a state, dropout off (survey 5.8). */
Row denoise_block(const Weights &weights, const std::string &block, const Row &image, const Row &z);
/* Its image branch alone. */
Row denoise_backbone(const Weights &weights, const std::string &block, const Row &image);

/* Y's fusion "fuse." of features of image, state and time; batch norm with the statistics of the rows, or with the
 * running ones (survey 5.8, P-22). Logits. */
Rows fuse(const Weights &weights, const std::string &name, const Rows &features, const Weights *running);
/* Y's time features: sines, then cosines of 10000^(-k/(n/2-1)) t. */
Row time_features(double t, long n);

/* Y's schedule (survey 2.9): gamma0, gamma1 and the network gamma_tilde below `prefix` ("noise."). */
struct TorchSchedule {
  double alpha_bar, snr_prime;
};
TorchSchedule torch_schedule(const Weights &weights, const std::string &prefix, bool simple, double t);

/* One of Y's scripts. */
struct Script {
  bool simple;
  Weights weights;
  Rows images;
  std::string part(const char *mnist, const char *simple_name) const { return simple ? simple_name : mnist; }
  TorchSchedule schedule(double t) const;
  /* Logits of all rows; times [rows]. `running`: statistics of batch norm, or nullptr. */
  Rows logits(const Rows &z, const Row &times, const Weights *running) const;
  /* The predicted latent from logits: probabilities, times the vectors of the classes in the simple script. */
  Row predicted(const Row &logits) const;
  /* The label's latent. */
  Row latent(long label) const;
};

}  // namespace golden

#endif
