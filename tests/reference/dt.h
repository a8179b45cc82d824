/* Variant dt: blocks on a grid of noise levels, the exact bridge, the bound's terms (survey 1.1 and 1.4).
 *
 * Block k = 1..T sees z_{k-1} ~ N(sqrt(ab_{k-1}) z1, (1 - ab_{k-1}) I) and predicts z1. */
#ifndef TESTS_REFERENCE_DT_H
#define TESTS_REFERENCE_DT_H

#include <vector>

namespace reference {

/* One step of the bridge from level k-1 to level k: mean = state z + target z1, and a variance. */
struct Bridge {
  double state, target, variance;
};
/* alpha_bar before and after the step, before < after < 1. */
Bridge bridge_step(double before, double after);

/* alpha_bar_0 .. alpha_bar_T, uniform in gamma from logit(low) to logit(high). */
std::vector<double> gamma_grid(double low, double high, int blocks);

/* Weight of block k's squared error summed over the latent dimensions: eta/2 (SNR_k - SNR_{k-1}), k = 1..T at [k-1]. */
std::vector<double> block_weights(const std::vector<double> &alpha_bar, double eta);

/* KL of N(sqrt(ab) z1, (1 - ab) I) from N(0, I). */
double kl_start(const std::vector<double> &z1, double alpha_bar);

}  // namespace reference

#endif
