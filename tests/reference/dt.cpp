#include "tests/reference/dt.h"

#include <cmath>

namespace reference {

Bridge bridge_step(double before, double after) {
  const double r = before / after, noise = 1 - before;
  return {std::sqrt(r) * (1 - after) / noise, std::sqrt(after) * (1 - r) / noise, (1 - r) * (1 - after) / noise};
}

std::vector<double> gamma_grid(double low, double high, int blocks) {
  const double first = std::log(low / (1 - low)), last = std::log(high / (1 - high));
  std::vector<double> grid;
  for (int k = 0; k <= blocks; ++k) grid.push_back(1 / (1 + std::exp(-(first + (last - first) * k / blocks))));
  return grid;
}

std::vector<double> block_weights(const std::vector<double> &alpha_bar, double eta) {
  std::vector<double> weights;
  for (size_t k = 1; k < alpha_bar.size(); ++k)
    weights.push_back(eta / 2 * (alpha_bar[k] / (1 - alpha_bar[k]) - alpha_bar[k - 1] / (1 - alpha_bar[k - 1])));
  return weights;
}

double kl_start(const std::vector<double> &z1, double alpha_bar) {
  double squares = 0;
  for (const double z : z1) squares += z * z;
  const double d = static_cast<double>(z1.size());
  return (alpha_bar * squares - d * alpha_bar - d * std::log1p(-alpha_bar)) / 2;
}

}  // namespace reference
