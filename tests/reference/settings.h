/* What a model of the reference computes, by the same keys and names as the engine's configuration, so that one list of
 * key and value pairs describes a case to both. Only the mathematics; defaults as the design states them. */
#ifndef TESTS_REFERENCE_SETTINGS_H
#define TESTS_REFERENCE_SETTINGS_H

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace reference {

struct Settings {
  std::string variant = "ct", task = "classify", prediction = "auto";
  std::string precision = "fp32"; /* tf32: operands of products with 10-bit fractions */
  std::string coupling = "independent";
  uint64_t seed = 0;
  struct {
    std::string type = "cosine";
    double low = 0.001, high = 0.999; /* alpha_bar at t = 0 and t = 1 */
    double s = 0.008, k = 10, t_mid = 0.5, beta = 2, loc = 0.5, scale = 0.1, power = 2;
    bool renormalise = true, learnable = false, learn_endpoints = false;
    std::vector<std::pair<double, double>> table; /* t, gamma */
    std::vector<long> hidden = {64, 64};
    /* network: c, then K [inputs][outputs] and b [outputs] of each layer, as stored. */
    std::vector<double> numbers;
  } schedule;
  double off_value = 0;
  std::string embedding = "one_hot";
  long latent_size = 0; /* 0: the target's width */
  struct Coder {
    std::string type = "identity", activation = "swish", output = "none"; /* output: decoder */
    std::vector<long> hidden = {32, 32};
    bool normal() const { return type == "mlp_normal" || type == "resnet_normal"; }
  } encoder, decoder;
  struct {
    int blocks = 10;
    double eta = 1;
  } dt;
  struct {
    std::string weight = "uniform", normalize = "none", t_sampling = "low_discrepancy", error = "squared";
    std::string path = "auto", scale = "mean", kl_form = "exact"; /* earlier systems' forms */
    int draws = 1;
    std::string recon_type = "mse", recon_weighting = "none", reg_weighting = "none", reg_drift = "ode";
    double recon_weight = 0, reg = 0, t_eps = 1e-3, cap = 5, condition_dropout = 0, vae = 0, kl_z0 = 0;
  } loss;
  struct {
    std::string type = "mlp", activation = "swish", wrapper = "none";
    std::vector<long> hidden = {64, 64, 64};
    double dropout = 0;
    bool squash_activation = true, layer_norm = false;
    std::string batch_norm = "none";
    std::string time_type = "harmonic";
    long time_size = 16; /* 0: no time */
    bool as_written = false;
    std::string layers; /* of type custom, as the configuration says them */
  } network;
  struct {
    std::string type = "adamw", schedule = "constant";
    double learning_rate = 1e-3, weight_decay = 1e-4, clip = 1, ema = 0;
    double beta1 = .9, beta2 = .999, epsilon = 1e-8, momentum = 0;
    bool nesterov = false;
    int64_t warmup_steps = 0;
  } optimizer;

  bool linear_path() const { return variant == "fm"; }
  /* "velocity", "noise", "target" or "v": auto goes by variant. */
  std::string predicted() const;

  /* Sets the member that the engine's configuration calls `key`; throws std::invalid_argument for an unknown one. */
  void set(const std::string &key, const std::string &value);
};

using Keys = std::vector<std::pair<std::string, std::string>>;
Settings settings_from(const Keys &keys);

}  // namespace reference

#endif
