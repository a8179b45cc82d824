/* Derivatives of activations up to the third against the reference's formulas, differentiated by nested duals. The
 * kernels' header is compiled for the host here; what a GPU's fast functions add is in the bounds of the kernel tests.
 */
#include <gtest/gtest.h>

#include <cmath>

#include "tests/reference/dual.h"
#include "tests/reference/network.h"

#define __device__
#define __forceinline__ inline
#define __expf std::exp
#define __fdividef(a, b) ((a) / (b))
#include "kernels/activation_jet.cuh"

namespace {

using reference::Dual;
using Third = Dual<Dual<Dual<double>>>;

/* p with the direction 1 at every level: the mixed parts are the derivatives. */
Third seeded(double p) { return {{{p, 1.0}, {1.0, 0.0}}, {{1.0, 0.0}, {0.0, 0.0}}}; }

Third function_of(const std::string &name, Third p) {
  if (name == "exp") return exp(p);
  if (name == "log") return log(p);
  if (name == "reciprocal") return 1.0 / p;
  if (name == "rsqrt") return 1.0 / sqrt(p + static_cast<double>(JET_EPSILON));
  return reference::activate<Third>(name, p);
}

/* Relative to what the terms of each formula can be: derivatives of products of sigmoid cancel. */
template <int FORM>
void expect_jets(const std::string &name, double low, double high) {
  double worst = 0;
  for (double at = low; at <= high; at += 0.0625) {
    if (at == 0) continue; /* kinks */
    const float p = static_cast<float>(at);
    const jet got = jet_of<FORM>(p);
    const Third want = function_of(name, seeded(static_cast<double>(p)));
    const double orders[] = {want.value.value.value, want.value.value.along, want.value.along.along,
                             want.along.along.along};
    for (int k = 0; k < 4; ++k) {
      const double scale = std::fabs(orders[k]) + (FORM < 64 ? 1 : 1e-30);
      const double error = std::fabs(static_cast<double>(got.order[k]) - orders[k]) / scale;
      worst = std::max(worst, error);
      EXPECT_LT(error, 32 * reference::kEpsilon) << name << " order " << k << " at " << p;
    }
  }
  printf("%s: largest error %.1f eps\n", name.c_str(), worst / reference::kEpsilon);
}

TEST(ActivationJets, AreTheDerivativesOfTheReferencesActivations) {
  expect_jets<ACT_LINEAR>("linear", -8, 8);
  expect_jets<ACT_RELU>("relu", -8, 8);
  expect_jets<ACT_LEAKY_RELU>("leaky_relu", -8, 8);
  expect_jets<ACT_GELU>("gelu", -4, 4);
  expect_jets<ACT_SWISH>("swish", -8, 8);
  expect_jets<ACT_SIGMOID>("sigmoid", -8, 8);
  expect_jets<ACT_TANH>("tanh", -8, 8);
  expect_jets<ACT_SOFTPLUS>("softplus", -8, 8);
  expect_jets<ACT_ELU>("elu", -8, 8);
  expect_jets<ACT_SELU>("selu", -8, 8);
  expect_jets<JET_EXP>("exp", -8, 8);
  expect_jets<JET_LOG>("log", 0.0625, 8);
  expect_jets<JET_RECIPROCAL>("reciprocal", 0.0625, 8);
  expect_jets<JET_RSQRT>("rsqrt", 0.0625, 8);
}

}  // namespace
