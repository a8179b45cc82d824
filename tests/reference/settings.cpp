/* Reading settings from key and value pairs. */
#include "tests/reference/settings.h"

#include <functional>
#include <map>
#include <sstream>
#include <stdexcept>

namespace reference {

std::string Settings::predicted() const {
  if (prediction != "auto") return prediction;
  return variant == "fm" ? "velocity" : variant == "df" ? "noise" : "target";
}

/* "[8, 16]" or "8". */
static std::vector<double> numbers(std::string text) {
  for (char &c : text)
    if (c == '[' || c == ']' || c == ',') c = ' ';
  std::istringstream stream(text);
  std::vector<double> values;
  for (double v; stream >> v;) values.push_back(v);
  return values;
}

static std::vector<long> wholes(const std::string &text) {
  std::vector<long> values;
  for (double v : numbers(text)) values.push_back(static_cast<long>(v));
  return values;
}

void Settings::set(const std::string &key, const std::string &text) {
  const auto number = [&] { return std::stod(text); };
  const auto whole = [&] { return std::stol(text); };
  const auto truth = [&] { return text == "true"; };
  const std::map<std::string, std::function<void()>> keys = {
      {"variant", [&] { variant = text; }},
      {"task", [&] { task = text; }},
      {"prediction", [&] { prediction = text; }},
      {"precision", [&] { precision = text; }},
      {"coupling", [&] { coupling = text; }},
      {"seed", [&] { seed = std::stoull(text); }},
      {"schedule.type", [&] { schedule.type = text; }},
      {"schedule.alpha_bar", [&] { schedule.low = numbers(text).at(0), schedule.high = numbers(text).at(1); }},
      {"schedule.s", [&] { schedule.s = number(); }},
      {"schedule.k", [&] { schedule.k = number(); }},
      {"schedule.t_mid", [&] { schedule.t_mid = number(); }},
      {"schedule.beta", [&] { schedule.beta = number(); }},
      {"schedule.loc", [&] { schedule.loc = number(); }},
      {"schedule.scale", [&] { schedule.scale = number(); }},
      {"schedule.power", [&] { schedule.power = number(); }},
      {"schedule.learnable", [&] { schedule.learnable = truth(); }},
      {"schedule.learn_endpoints", [&] { schedule.learn_endpoints = truth(); }},
      {"schedule.hidden",
       [&] {
         schedule.hidden.clear();
         for (double v : numbers(text)) schedule.hidden.push_back(static_cast<long>(v));
       }},
      {"schedule.table",
       [&] {
         const auto all = numbers(text);
         schedule.table.clear();
         for (size_t i = 0; i + 1 < all.size(); i += 2) schedule.table.emplace_back(all[i], all[i + 1]);
       }},
      {"schedule.renormalise", [&] { schedule.renormalise = truth(); }},
      {"dt.blocks", [&] { dt.blocks = static_cast<int>(whole()); }},
      {"dt.eta", [&] { dt.eta = number(); }},
      {"latent.off_value", [&] { off_value = number(); }},
      {"loss.weight", [&] { loss.weight = text; }},
      {"loss.normalize", [&] { loss.normalize = text; }},
      {"loss.t_sampling", [&] { loss.t_sampling = text; }},
      {"loss.draws", [&] { loss.draws = static_cast<int>(whole()); }},
      {"loss.error", [&] { loss.error = text; }},
      {"loss.path", [&] { loss.path = text; }},
      {"loss.scale", [&] { loss.scale = text; }},
      {"loss.kl_form", [&] { loss.kl_form = text; }},
      {"latent.size", [&] { latent_size = text == "auto" ? 0 : whole(); }},
      {"latent.embedding", [&] { embedding = text; }},
      {"encoder.type", [&] { encoder.type = text; }},
      {"encoder.activation", [&] { encoder.activation = text; }},
      {"encoder.hidden", [&] { encoder.hidden = wholes(text); }},
      {"decoder.type", [&] { decoder.type = text; }},
      {"decoder.activation", [&] { decoder.activation = text; }},
      {"decoder.hidden", [&] { decoder.hidden = wholes(text); }},
      {"decoder.output", [&] { decoder.output = text; }},
      {"loss.vae", [&] { loss.vae = number(); }},
      {"loss.kl_z0", [&] { loss.kl_z0 = number(); }},
      {"loss.recon.type", [&] { loss.recon_type = text; }},
      {"loss.recon.weight", [&] { loss.recon_weight = number(); }},
      {"loss.recon.weighting", [&] { loss.recon_weighting = text; }},
      {"loss.reg", [&] { loss.reg = number(); }},
      {"loss.reg_weighting", [&] { loss.reg_weighting = text; }},
      {"loss.condition_dropout", [&] { loss.condition_dropout = number(); }},
      {"loss.reg_drift", [&] { loss.reg_drift = text; }},
      {"loss.cap", [&] { loss.cap = number(); }},
      {"loss.t_eps", [&] { loss.t_eps = number(); }},
      {"network.type", [&] { network.type = text; }},
      {"network.activation", [&] { network.activation = text; }},
      {"network.wrapper", [&] { network.wrapper = text; }},
      {"network.layer_norm", [&] { network.layer_norm = truth(); }},
      {"network.batch_norm", [&] { network.batch_norm = text; }},
      {"network.hidden",
       [&] {
         network.hidden.clear();
         for (double v : numbers(text)) network.hidden.push_back(static_cast<long>(v));
       }},
      {"network.layers", [&] { network.layers = text; }},
      {"network.dropout", [&] { network.dropout = number(); }},
      {"network.squash_activation", [&] { network.squash_activation = truth(); }},
      {"network.time_embedding.type", [&] { network.time_type = text; }},
      {"network.time_embedding.size", [&] { network.time_size = whole(); }},
      {"network.time_embedding.as_written", [&] { network.as_written = truth(); }},
      {"optimizer.type", [&] { optimizer.type = text; }},
      {"optimizer.schedule", [&] { optimizer.schedule = text; }},
      {"optimizer.learning_rate", [&] { optimizer.learning_rate = number(); }},
      {"optimizer.weight_decay", [&] { optimizer.weight_decay = number(); }},
      {"optimizer.clip", [&] { optimizer.clip = number(); }},
      {"optimizer.ema", [&] { optimizer.ema = number(); }},
      {"optimizer.beta1", [&] { optimizer.beta1 = number(); }},
      {"optimizer.beta2", [&] { optimizer.beta2 = number(); }},
      {"optimizer.epsilon", [&] { optimizer.epsilon = number(); }},
      {"optimizer.momentum", [&] { optimizer.momentum = number(); }},
      {"optimizer.nesterov", [&] { optimizer.nesterov = truth(); }},
      {"optimizer.warmup_steps", [&] { optimizer.warmup_steps = whole(); }},
  };
  const auto found = keys.find(key);
  if (found == keys.end()) throw std::invalid_argument("the reference does not know the key " + key);
  found->second();
}

Settings settings_from(const Keys &keys) {
  Settings settings;
  for (const auto &[key, value] : keys) settings.set(key, value);
  return settings;
}

}  // namespace reference
