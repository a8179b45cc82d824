/* Drawing the cases: what interacts is drawn at random; options with many choices go round, so that all of them appear.
 */
#include "tests/kernels/sweep.h"

#include <cstdlib>

namespace kernels_test {

static std::string value_of(const Keys &keys, const std::string &key) {
  for (const auto &[k, v] : keys)
    if (k == key) return v;
  return "";
}

std::string SweepCase::name() const {
  return value_of(keys, "network.type") + " " + value_of(keys, "network.hidden") + " " + value_of(keys, "variant") +
         "/" + value_of(keys, "prediction") + " C " + std::to_string(condition_width) + " d " +
         std::to_string(target_width) + " rows " + std::to_string(rows) + " " + value_of(keys, "network.activation") +
         " " + value_of(keys, "loss.weight");
}

void interpret_kernels() { setenv("NOPROP_VGPU_EXECUTOR", "interpret", 0); }

SweepCase sweep_case(int index) {
  if (index >= 3 * kSweepCases) {
    SweepCase c = sweep_case(index % kSweepCases);
    c.keys.emplace_back("precision", "tf32x3");
    return c;
  }
  if (index >= kSweepCases) {
    SweepCase c = sweep_case(index % kSweepCases);
    c.keys.emplace_back("precision", index < 2 * kSweepCases ? "tf32" : "bf16");
    /* Adam divides the gradient by its own size: where that is rounding, parameters differ by whole steps. The
     * optimizers are the same in every precision. */
    c.keys.emplace_back("optimizer.type", "sgd");
    c.keys.emplace_back("optimizer.clip", "1"); /* learning rates are those of Adam */
    return c;
  }
  std::mt19937 generator(1000 + static_cast<unsigned>(index));
  const auto pick = [&](const std::vector<std::string> &choices) { return choices[generator() % choices.size()]; };
  const auto between = [&](int low, int high) {
    return low + static_cast<int>(generator() % static_cast<unsigned>(high - low + 1));
  };
  const auto chance = [&](int percent) { return between(1, 100) <= percent; };
  const auto turn = [&](const std::vector<std::string> &choices, int by) {
    return choices[static_cast<size_t>(by) % choices.size()];
  };
  SweepCase c;
  Keys &keys = c.keys;

  const std::string variant = turn({"fm", "df", "ct"}, index);
  const bool linear = variant == "fm";
  const bool wide = index == 7 || index == 14;
  c.condition =
      wide ? (index == 7 ? kFloatCondition : kByteCondition) : static_cast<ConditionKind>((index + index / 4) % 4);
  std::string task =
      c.condition == kNoCondition ? "generate" : turn({"classify", "regress", "classify", "generate"}, index / 2);
  /* Cross-entropy needs labels and a predicted target. */
  const bool cross_entropy = variant == "ct" && task == "classify";
  std::string prediction = cross_entropy ? "target" : turn({"auto", "velocity", "noise", "target", "v"}, index / 3);
  const std::string predicted = prediction != "auto" ? prediction
                                : linear             ? "velocity"
                                : variant == "df"    ? "noise"
                                                     : "target";
  std::vector<std::string> weights = {"uniform", "elbo", "t", "min_snr", "inverse_snr", "snr_prime"};
  if (!linear) weights.push_back("drift"), weights.push_back("vp_velocity");
  const std::string weight = turn(weights, index / 2);
  const bool closed = weight == "uniform" || weight == "t" ||
                      (weight == "elbo" && (linear || predicted != "velocity")) ||
                      (linear && (weight == "min_snr" || weight == "inverse_snr"));
  const std::string normalize =
      closed ? turn({"none", "batch", "analytic"}, index / 4) : turn({"none", "batch"}, index / 4);

  /* Each on the VP path once. */
  const std::string schedule = linear ? "logistic"
                                      : turn({"cosine", "linear", "sigmoid", "exponential", "cauchy", "laplace",
                                              "quadratic", "polynomial", "sine", "tabulated"},
                                             index - index / 3 - 1);

  keys = {{"variant", variant},
          {"task", task},
          {"prediction", prediction},
          {"seed", std::to_string(generator() * uint64_t{4294967291} + generator())},
          {"schedule.type", schedule},
          {"schedule.renormalise", chance(70) ? "true" : "false"},
          {"schedule.alpha_bar", chance(50) ? "[0.001, 0.999]" : "[0.02, 0.97]"},
          {"latent.off_value", task == "classify" && chance(40) ? "-1" : "0"},
          {"loss.weight", weight},
          {"loss.normalize", normalize},
          {"loss.t_sampling", chance(50) ? "uniform" : "low_discrepancy"},
          {"loss.cap", index % 2 ? "5" : "0.7"},
          {"loss.draws", chance(25) ? "3" : "1"},
          {"loss.error", cross_entropy ? "cross_entropy" : "squared"},
          {"loss.t_eps", chance(60) ? "0.001" : "0.02"}};
  /* Times by quantiles take turns where they make sense. */
  const bool clipped = value_of(keys, "schedule.renormalise") == "false" && value_of(keys, "schedule.type") == "cosine";
  for (auto &[key, value] : keys) {
    if (key != "loss.t_sampling") continue;
    if (index % 5 >= 3 && weight != "uniform" && normalize != "batch") value = "importance";
    if (index % 5 <= 1 && weight != "elbo" && normalize != "analytic" && (linear || !clipped)) value = "gamma";
  }
  if (!cross_entropy && chance(60)) {
    keys.push_back({"loss.recon.weight", "0.3"});
    keys.push_back({"loss.recon.weighting", pick({"none", "same", "snr_prime"})});
  }
  if (!cross_entropy && chance(60)) {
    keys.push_back({"loss.reg", "0.05"});
    keys.push_back({"loss.reg_weighting", pick({"none", "same", "snr_prime"})});
    keys.push_back({"loss.reg_drift", linear || chance(50) ? "ode" : "ou_mean"});
  }
  if (schedule == "tabulated")
    keys.push_back({"schedule.table", "[[0.0, -6.5], [0.2, -3.0], [0.3, -2.5], [0.75, 4.0], [1.0, 7.25]]"});
  const int layers = wide ? 2 : between(1, 4), same = between(3, 40);
  const bool equal = chance(40); /* runs of equal layers become loops */
  std::string hidden;
  for (int k = 0; k < layers; ++k)
    hidden += (k ? ", " : "[") + std::to_string(wide ? between(5, 24) : equal ? same : between(1, 48));
  keys.push_back({"network.hidden", hidden + "]"});
  keys.push_back({"network.type", turn({"mlp", "resnet"}, index / 2)});
  keys.push_back(
      {"network.activation",
       turn({"swish", "relu", "gelu", "tanh", "softplus", "leaky_relu", "elu", "selu", "sigmoid", "linear"}, index)});
  keys.push_back({"network.squash_activation", chance(70) ? "true" : "false"});
  keys.push_back({"network.dropout", chance(50) ? "0.2" : "0"});
  const std::string embedding =
      turn({"harmonic", "sinusoidal", "fourier", "cyclical_fourier", "linear", "constant", "log_freq", "simple"},
           index + index / 8);
  keys.push_back({"network.time_embedding.type", embedding});
  keys.push_back({"network.time_embedding.size", std::to_string(2 * between(1, 6))});
  keys.push_back({"network.time_embedding.as_written", chance(30) ? "true" : "false"});

  keys.push_back({"optimizer.type", turn({"adamw", "sgd", "adam", "adagrad"}, index + index / 4)});
  const std::string optimizer = keys.back().second;
  keys.push_back({"optimizer.learning_rate", optimizer == "sgd" ? "0.02" : "0.003"});
  keys.push_back({"optimizer.weight_decay", chance(60) ? "0.01" : "0"});
  keys.push_back({"optimizer.clip", chance(60) ? "0.5" : "0"});
  keys.push_back({"optimizer.ema", chance(40) ? "0.9" : "0"});
  if (optimizer == "sgd" && chance(70)) {
    keys.push_back({"optimizer.momentum", "0.9"});
    keys.push_back({"optimizer.nesterov", chance(50) ? "true" : "false"});
  }
  keys.push_back({"optimizer.schedule", turn({"constant", "cosine", "linear"}, index)});
  keys.push_back({"optimizer.warmup_steps", chance(50) ? "3" : "0"});

  c.condition_width = c.condition == kNoCondition ? 0 : index == 7 ? 1500 : index == 14 ? 784 : between(1, 20);
  c.target_width = index == 5 ? 64 : index == 8 ? 1 : between(task == "classify" ? 2 : 1, 20);
  const int sizes[] = {1, 5, 31, 32, 33, 70, 100, 45};
  c.rows = wide ? 37 : sizes[(index * 3) % 8];
  c.batch = c.rows < 3 ? c.rows : c.rows * 2 / 5 + 1;
  c.dropout_epochs = chance(30) ? 1 : -1;
  return c;
}

Keys engine_keys(const SweepCase &c, int64_t total_steps) {
  Keys keys = c.keys;
  keys.push_back({"train.steps", std::to_string(total_steps)});
  keys.push_back({"train.batch", std::to_string(c.batch)});
  if (c.dropout_epochs >= 0) keys.push_back({"train.dropout_epochs", std::to_string(c.dropout_epochs)});
  if (value_of(c.keys, "task") == "generate") { /* the target is x there; a condition, if any, is y */
    keys.push_back({"data.target", "x"});
    keys.push_back({"data.condition", c.condition == kNoCondition ? "null" : "y"});
  }
  return keys;
}

}  // namespace kernels_test
