/* The rules of coverage, and reading models. */
#include "tests/golden/golden_cases.h"

#include <cmath>
#include <cstdio>
#include <regex>
#include <set>
#include <stdexcept>

#include "tests/reference/settings.h"

namespace golden {

using reference::Array;
using reference::Network;
using reference::Settings;
using reference::Vector;

/* ---- coverage ------------------------------------------------------------------------------------------------------
 */

const char kUnknown[] = "no rule knows this group";

/* The first rule that matches a path decides. */
struct Rule {
  const char *path, *reference, *kernels;
};
static const char kCoderNoise[] = "the kernels draw the encoder's noise themselves: tests/kernels compares them";
/* Every group is a kernel of its own to compile. */
static const char kSaved[] = "kernels of the same forms are compared in other groups and in tests/kernels";

static const Rule kRules[] = {
    /* jax_noprop.h5 */
    {"/crn/mlp/output_dim_4", "", "the engine's outputs have the latent's width"},
    {"/crn/mlp/dropout_0.25", "", "the kernels draw their own masks; tests/kernels compares them"},
    {"/crn/mlp/(act_.*|time_(constant|fourier|log_freq|simple)_.*|scalar_t|default_6x32_time32_no_x)", "", kSaved},
    {"/crn/mlp/.*", "", ""},
    {"/crn/parameter_counts", "", ""},
    {"/crn/geometric/mlp_relu", "", "zero everywhere, and refused for that"},
    {"/crn/(bilinear/(base|batch_norm)|convex/width_16_to_3|potential/convex|geometric/mlp)", "", ""},
    {"/crn/.*", "", kSaved},
    {"/embeddings/time/fourier_12_custom", "the range of frequencies is fixed", "the range of frequencies is fixed"},
    {"/embeddings/time/.*", "", "compared inside networks: /crn/mlp/time_* and tests/kernels"},
    {"/embeddings/.*", "embedding of a later version", "embedding of a later version"},
    {"/encoders_decoders/.*", "", "compared inside losses: /losses/*/*coder* and tests/kernels"},
    {"/layers/activations/(softmax|log_softmax|softplusglu|swiglu|switanh)", "compared inside networks: /crn/mlp/act_*",
     "compared inside networks: tests/kernels"},
    {"/layers/activations.*", "", "compared inside networks: tests/kernels"},
    {"/layers/concat_squash(_bias)?", "", "compared inside networks: /crn/mlp/*"},
    {"/layers/.*", "layer of a later version", "layer of a later version"},
    {"/losses/[a-z]+/.*_normal_encoder_.*", "", kCoderNoise},
    {"/losses/[a-z]+/network_.*", "", kSaved},
    {"/losses/[a-z]+/schedule_network", "", "a model that does not train its schedule's network has the seed's"},
    {"/losses/(df|ct)/(cross_entropy_softmax|linear_encoder_.*)", "", kSaved},
    {"/losses/(fm|ct)/latent2x2_.*", "", kSaved},
    {"/losses/(fm|df)/latent3_mlp_.*", "", kSaved},
    {"/losses/df/schedule_(cauchy|exponential|laplace|polynomial|quadratic)", "", kSaved},
    {"/losses/[a-z]+/schedule_(frozen|logistic)", "", kSaved},
    {"/losses/df/(default_6x32|recon_none)", "", kSaved},
    {"/losses/.*", "", ""},
    {"/ode/[a-z0-9]+/model_.*", "", ""},
    {"/ode/.*", "", "not a model's field; the kernels integrate models"},
    {"/optimizer/.*", "", "training draws its own times and noise; tests/kernels compares whole runs"},
    {"/predict/(df|ct)/unconditional", "", kSaved},
    {"/predict/.*", "", ""},
    {"/schedules/.*", "", ""},
    /* torch_notebook.h5 */
    {"/S2/dt/schedule/.*", "", "levels are constants of kernels: the engine's are compared on the host"},
    {"/S2/ct/schedule", "", ""},
    {"/S2/(dt|ct|fm)/train", "", ""},
    {"/Y/(nopropct_mnist|noprop_simple)/train", "", ""},
    {"/S2/(ct|fm)/inference_.*", "", ""},
    {"/S2/dt/inference_.*", "",
     "its blocks are convolutional; the preset's solve, from prediction to prediction: tests/kernels"},
    {"/S2/denoise_block(_full)?", "", ""},
    {"/Y/time_features", "", "compared inside networks: tests/kernels"},
    {"/Y/[a-z_]+/schedule", "", "a network that need not rise (D-33): the presets take the line that it starts near"},
    {"/Y/[a-z_]+/train/buffers_(before|after)", "",
     "training draws its own times and noise; tests/kernels compares it"},
    {"/Y/[a-z_]+/train/buffers_inference", "", "statistics of inference_*; the preset's solve: tests/kernels"},
    {"/Y/[a-z_]+/inference_.*", "", "its schedule need not rise (D-33); the preset's solve: tests/kernels"},
    {"/Y/[a-z_]+/(fuse_head_.*|label_encoder|time_encoder)", "", ""},
    {"/exact/.*", "", "densities given in closed form, not a network"},
};

static const std::set<std::string> kParts = {"params",        "grad_params",  "batch_stats",        "grad_batch_stats",
                                             "params_before", "params_after", "batch_stats_before", "batch_stats_after",
                                             "buffers"};

static void walk(const File &file, const std::string &path, std::vector<Case> *result) {
  const auto groups = file.groups(path.empty() ? "/" : path);
  if (!path.empty() && (groups.empty() || !file.data_sets(path).empty())) {
    Case c{path, kUnknown, kUnknown, path};
    for (const Rule &rule : kRules)
      if (std::regex_match(path, std::regex(rule.path))) {
        c.reference = rule.reference;
        c.kernels = rule.kernels;
        c.rule = rule.path;
        break;
      }
    result->push_back(c);
  }
  for (const std::string &group : groups)
    if (kParts.count(group) == 0) walk(file, path + "/" + group, result);
}

std::vector<Case> cases(const File &file) {
  std::vector<Case> result;
  walk(file, "", &result);
  return result;
}

static std::vector<std::string> compared(const File &file, const std::string &prefix, std::string Case::*reason) {
  std::vector<std::string> paths;
  for (const Case &c : cases(file))
    if ((c.*reason).empty() && c.path.compare(0, prefix.size(), prefix) == 0) paths.push_back(c.path);
  return paths;
}
std::vector<std::string> compared_with_reference(const File &file, const std::string &prefix) {
  return compared(file, prefix, &Case::reference);
}
std::vector<std::string> compared_with_kernels(const File &file, const std::string &prefix) {
  return compared(file, prefix, &Case::kernels);
}

std::string last_part(const std::string &path) { return path.substr(path.rfind('/') + 1); }

std::string variant_of(const std::string &path) {
  const size_t first = path.find('/', 1) + 1;
  return path.substr(first, path.find('/', first) - first);
}

/* ---- networks ------------------------------------------------------------------------------------------------------
 */

Settings network_settings(const File &file, const std::string &prefix, const std::string &wrapper,
                          const std::string &type, bool has_x, bool has_t) {
  Settings settings = mlp_settings(file, prefix, has_x, has_t);
  settings.network.type = type;
  /* The earlier library's natural is a placeholder with the potential's code (survey 5.5). */
  settings.network.wrapper = wrapper == "vanilla" ? "none" : wrapper == "natural" ? "potential" : wrapper;
  if (file.has(prefix + "BatchNorm_0.scale")) settings.network.batch_norm = "stored";
  if (type == "mlp") return settings;
  settings.network.hidden.clear();
  const auto width = [&](const std::string &name) { return file.read(prefix + name).shape.back(); };
  long dense = 0;
  while (file.has(prefix + "Dense_" + std::to_string(dense) + ".kernel")) ++dense;
  if (type == "bilinear") { /* behind the x-branch the layers of z and of the context, and the output */
    for (long k = 0; k < (has_x ? dense - 3 : 1); ++k)
      settings.network.hidden.push_back(width("Dense_" + std::to_string(k) + ".kernel"));
    return settings;
  }
  const std::string block = "ConvexResNetBivariate_0.icnn_block_0.icnn_layer_";
  for (long k = 0; file.has(prefix + block + std::to_string(k) + ".W_x"); ++k)
    settings.network.hidden.push_back(width(block + std::to_string(k) + ".W_x"));
  return settings;
}

Settings mlp_settings(const File &file, const std::string &prefix, bool has_x, bool has_t) {
  Settings settings;
  settings.network.squash_activation = false;
  settings.network.as_written = true;
  settings.network.time_type = "sinusoidal";
  long dense = 0; /* with x: L of the x-branch, L - 1 hidden, 1 output; without: L */
  while (file.has(prefix + "Dense_" + std::to_string(dense) + ".kernel")) ++dense;
  const long layers = has_x ? dense / 2 : dense;
  settings.network.hidden.clear();
  /* A stack of steps has one axis more; the last axis is the width. */
  settings.network.hidden.push_back(file.read(prefix + "ConcatSquash_0.input_proj_0.kernel").shape.back());
  for (long k = 1; k < layers; ++k)
    settings.network.hidden.push_back(
        file.read(prefix + "Dense_" + std::to_string(has_x ? layers + k - 1 : k - 1) + ".bias").shape.back());
  const std::string time_weight = prefix + "ConcatSquash_0.input_proj_" + (has_x ? "2" : "1") + ".kernel";
  const auto shape = has_t ? file.read(time_weight).shape : std::vector<long>{};
  settings.network.time_size = has_t ? shape[shape.size() - 2] : 0;
  return settings;
}

/* Layers of the x-branch, of which each has a bias. */
static long branch_layers(const Network &network) {
  long layers = 0;
  for (const Array &a : network.arrays)
    layers += a.name.rfind("x.", 0) == 0 && a.name.find(".bias") != std::string::npos &&
              a.name.find(".norm.") == std::string::npos;
  return layers;
}

/* Batch norms are numbered as they are met: those of the x-branch first. */
static std::string stored_norm_name(const Network &network, const std::string &name) {
  const std::string part = name.substr(name.rfind('.'));
  const long number = name.rfind("x.", 0) == 0        ? std::stol(name.substr(2))
                      : name.rfind("hidden.", 0) == 0 ? branch_layers(network) + std::stol(name.substr(7)) - 1
                                                      : branch_layers(network);
  return "BatchNorm_" + std::to_string(number) + (part == ".variance" ? ".var" : part);
}

std::string stored_place(const std::string &folder, const std::string &name) {
  const bool statistics = name.find("BatchNorm_") != std::string::npos &&
                          (name.find(".mean") != std::string::npos || name.find(".var") != std::string::npos);
  if (!statistics) return folder + name;
  std::string other = folder;
  const size_t at = other.rfind("params");
  return other.replace(at, 6, "batch_stats") + name;
}

std::string stored_name(const Network &network, const std::string &name) {
  const bool has_x = network.x > 0;
  if (network.wrapper == "none" && name.find(".norm.") != std::string::npos) return stored_norm_name(network, name);
  if (name == "squash.z.weight") return "ConcatSquash_0.input_proj_0.kernel";
  if (name == "squash.x.weight") return "ConcatSquash_0.input_proj_1.kernel";
  if (name == "squash.t.weight")
    return has_x ? "ConcatSquash_0.input_proj_2.kernel" : "ConcatSquash_0.input_proj_1.kernel";
  const long branch = branch_layers(network);
  const std::string part = name.find(".bias") != std::string::npos ? ".bias" : ".kernel";
  for (const Array &a : network.arrays) {
    if (a.name == "bilinear.z.weight" && name.rfind("squash.", 0) != 0 && name.rfind("x.", 0) != 0)
      return "Dense_" + std::to_string(branch + (name[9] == 'z' ? 0 : name.rfind("bilinear.c", 0) == 0 ? 1 : 2)) + part;
    if (a.name == "icnn.0.0.z.weight" && name.rfind("icnn.", 0) == 0)
      return std::string("ConvexResNetBivariate_0.icnn_block_") + name[5] + ".icnn_layer_" + name[7] +
             (part == ".bias"  ? ".b"
              : name[9] == 'p' ? ".W_z"
                               : ".W_x");
    if (a.name == "icnn.0.0.z.weight" && name.rfind("block.", 0) == 0)
      return std::string("ConvexResNetBivariate_0.y_contribution_") + name[6] + part;
    if (a.name == "icnn.0.0.z.weight" && name.rfind("output.", 0) == 0) return "Dense_" + std::to_string(branch) + part;
  }
  long layers = 1; /* hidden layers: one, and one for every hidden.k */
  for (const Array &a : network.arrays)
    layers += a.name.rfind("hidden.", 0) == 0 && a.name.find(".bias") != std::string::npos &&
              a.name.find(".norm.") == std::string::npos;
  const bool bias = name.find(".bias") != std::string::npos;
  long k;
  if (name.rfind("x.", 0) == 0)
    k = std::stol(name.substr(2));
  else if (name.rfind("hidden.", 0) == 0)
    k = (has_x ? layers : 0) + std::stol(name.substr(7)) - 1;
  else if (name.rfind("output.", 0) == 0)
    k = (has_x ? layers : 0) + layers - 1;
  else
    throw std::invalid_argument("the earlier library has no array " + name);
  return "Dense_" + std::to_string(k) + (bias ? ".bias" : ".kernel");
}

Vector<double> mlp_parameters(const File &file, const std::string &prefix, const Network &network, long slice) {
  Vector<double> parameters;
  for (const Array &array : network.arrays) {
    /* A network without biases in its convex layers: they are 0. */
    const std::string place = stored_place(prefix, stored_name(network, array.name));
    const bool missing = array.name.rfind("icnn.", 0) == 0 && !file.has(place);
    Tensor stored =
        missing ? Tensor{{array.size()}, Vector<double>(static_cast<size_t>(array.size()), 0.0)} : file.read(place);
    if (slice >= 0) stored = stored.slice(static_cast<size_t>(slice));
    if (static_cast<long>(stored.values.size()) != array.size())
      throw std::runtime_error(prefix + array.name + " has an unexpected size");
    parameters.insert(parameters.end(), stored.values.begin(), stored.values.end());
  }
  return parameters;
}

/* ---- schedules and losses ------------------------------------------------------------------------------------------
 */

static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
static double softplus(double x) { return x > 30 ? x : std::log1p(std::exp(x)); }

void read_schedule(const File &file, const std::string &prefix, const std::string &type, long slice, Settings *settings,
                   const Move &move) {
  const auto raw = [&](const char *name) {
    return file.read(prefix + name).values[slice < 0 ? 0 : static_cast<size_t>(slice)] +
           (move.array == name ? move.by : 0);
  };
  auto &s = settings->schedule;
  s.type = type;
  s.renormalise = false;
  if (file.has(prefix + "alpha_bar_min_logit")) { /* survey 4.1 */
    s.low = .001 + .998 * sigmoid(raw("alpha_bar_min_logit"));
    s.high = s.low + sigmoid(raw("delta_fraction_logit")) * (.999 - s.low);
  }
  if (type == "cosine") s.s = softplus(raw("s_logit"));
  if (type == "sigmoid" || type == "logistic") {
    s.k = softplus(raw("k_logit"));
    s.t_mid = raw("t_mid");
  }
  if (type == "exponential") s.beta = softplus(raw("beta_logit"));
  if (type == "cauchy" || type == "laplace") {
    s.loc = raw("loc");
    s.scale = softplus(raw("scale_logit"));
  }
  if (type == "polynomial") s.power = 1 + softplus(raw("power_logit"));
  if (type == "network" || type == "archive_learnable") {
    s.type = "network";
    s.low = sigmoid(raw("gamma_min"));
    s.high = sigmoid(raw("gamma_max"));
    s.numbers = {raw("scale_logit")};
    s.hidden.clear();
    for (int layer = 0;; ++layer) {
      const std::string dense = prefix + "SimpleMonotonicNetwork_0.PositiveDense_" + std::to_string(layer);
      if (!file.has(dense + ".kernel")) break;
      for (const char *part : {".kernel", ".bias"}) {
        Tensor stored = file.read(dense + part);
        if (slice >= 0) stored = stored.slice(static_cast<size_t>(slice));
        if (prefix + move.array == dense + part) stored.values[move.element] += move.by;
        s.numbers.insert(s.numbers.end(), stored.values.begin(), stored.values.end());
        if (part[1] == 'b') s.hidden.push_back(static_cast<long>(stored.values.size()));
      }
    }
    s.hidden.pop_back(); /* the output */
  }
  if (type == "archive_linear" || type == "archive_cosine") { /* survey 4.5, D-16, D-17 */
    s.type = type == "archive_linear" ? "linear" : "sine";
    s.low = .01;
    s.high = .99;
  }
  if (type == "archive_sigmoid") {
    s.type = "sigmoid";
    s.k = 4;
    s.t_mid = .5;
    const std::string path = prefix.substr(0, prefix.rfind("/params")), made = file.text(path, "constructor");
    (void)std::sscanf(made.c_str(), "{'gamma_rate': %lf, 'offset': %lf}", &s.k, &s.t_mid);
  }
  if (type == "archive_simple_learnable") {
    s.type = "sigmoid";
    s.k = std::fabs(raw("gamma_rate"));
    s.t_mid = raw("gamma_offset");
  }
}

Settings head_settings(const std::string &variant) {
  return reference::settings_from({{"variant", variant},
                                   {"task", "regress"},
                                   {"schedule.type", "linear"},
                                   {"schedule.alpha_bar", "[0.01, 0.99]"},
                                   {"schedule.renormalise", "false"},
                                   {"loss.weight", variant == "fm"   ? "t"
                                                   : variant == "df" ? "drift"
                                                                     : "elbo"},
                                   {"loss.t_eps", "0"},
                                   {"loss.recon.weight", "1"},
                                   {"loss.recon.weighting", "same"},
                                   {"loss.reg_weighting", "same"},
                                   {"loss.reg_drift", variant == "fm" ? "ode" : "ou_mean"},
                                   {"network.squash_activation", "false"},
                                   {"network.time_embedding.type", "sinusoidal"},
                                   {"network.time_embedding.as_written", "true"}});
}

/* ---- encoders and decoders ---- */

/* Widths of the hidden layers of an MLP core whose arrays begin with `prefix`. */
static std::vector<long> core_widths(const File &file, const std::string &prefix) {
  std::vector<long> widths;
  for (long k = 0; file.has(prefix + std::to_string(k) + ".bias"); ++k)
    widths.push_back(file.read(prefix + std::to_string(k) + ".bias").shape[0]);
  if (!widths.empty()) widths.pop_back(); /* the output */
  return widths;
}

void read_coder(const File &file, const std::string &prefix, const std::string &type, const std::string &output,
                Settings::Coder *coder) {
  coder->type = type;
  coder->output = output;
  /* Its residual networks have no residuals (D-44); its identity is a layer where something has to change. */
  if (type.rfind("resnet", 0) == 0) coder->type = "mlp" + type.substr(6);
  const bool core = coder->type.rfind("mlp", 0) == 0;
  if (type == "identity" && file.has(prefix + "Dense_0.kernel")) coder->type = "linear";
  if (core) coder->hidden = core_widths(file, prefix + "MLP_0.Dense_");
}

std::string stored_coder_name(const Settings::Coder &coder, const std::string &name) {
  const std::string part = name.find(".bias") != std::string::npos ? ".bias" : ".kernel";
  const bool core = coder.type.rfind("mlp", 0) == 0;
  if (name.find(".linear.") != std::string::npos) return (core ? "Dense_0" : "Dense_1") + part;
  if (!core) return "Dense_0" + part;
  const size_t at = name.find(".hidden.");
  const std::string number = at == std::string::npos ? std::to_string(coder.hidden.size())
                                                     : name.substr(at + 8, name.find('.', at + 8) - at - 8);
  return "MLP_0.Dense_" + number + part;
}

/* "MLPNormalEncoder_0." of "mlp_normal". */
static std::string coder_class(const std::string &type, const char *kind) {
  const std::string normal = type.find("_normal") != std::string::npos ? "Normal" : "";
  const std::string core = type.rfind("mlp", 0) == 0      ? "MLP"
                           : type.rfind("resnet", 0) == 0 ? "ResNet"
                           : type == "linear"             ? "Linear"
                                                          : "Identity";
  return core + normal + kind + "_0.";
}

std::string loss_array(const File &file, const std::string &path, const Settings &settings, const Network &network,
                       const std::string &name) {
  if (name.rfind("encoder.", 0) == 0)
    return coder_class(file.text(path, "encoder"), "Encoder") + stored_coder_name(settings.encoder, name);
  if (name.rfind("decoder.", 0) == 0)
    return coder_class(file.text(path, "decoder"), "Decoder") + stored_coder_name(settings.decoder, name);
  return (network.wrapper == "none" ? "crn_model." : "crn_model.crn_model.") + stored_name(network, name);
}

Vector<double> loss_parameters(const File &file, const std::string &path, const Settings &settings,
                               const Network &network, const std::string &folder) {
  Vector<double> parameters;
  for (const Array &array : network.arrays) {
    const bool coder = array.name.rfind("encoder.", 0) == 0 || array.name.rfind("decoder.", 0) == 0;
    const std::string name = loss_array(file, path, settings, network, array.name);
    /* A network may be another group's. */
    const Tensor stored =
        file.read(coder || folder != "params" ? stored_place(path + "/" + folder + "/", name)
                                              : stored_place(network_prefix(file, path), name.substr(10)));
    if (static_cast<long>(stored.values.size()) != array.size())
      throw std::runtime_error(path + " " + name + " has an unexpected size");
    parameters.insert(parameters.end(), stored.values.begin(), stored.values.end());
  }
  return parameters;
}

std::string network_prefix(const File &file, const std::string &path) {
  return file.has_attribute(path, "crn_model_params") ? file.text(path, "crn_model_params") + "/"
                                                      : path + "/params/crn_model.";
}

Settings loss_settings(const File &file, const std::string &path) {
  const std::string variant = variant_of(path);
  Settings settings = head_settings(variant);
  const std::string network = file.text(path, "network"), wrapper = network.substr(0, network.find('/'));
  settings.network = network_settings(file, network_prefix(file, path) + (wrapper == "vanilla" ? "" : "crn_model."),
                                      wrapper, network.substr(wrapper.size() + 1), file.has(path + "/x"), true)
                         .network;
  settings.network.activation = file.text(path, "activation");
  settings.network.time_type = file.text(path, "time_embed_method");
  if (file.number(path, "use_snr_weight") == 0) settings.loss.weight = "uniform";
  settings.loss.recon_type = file.text(path, "recon_loss_type");
  if (settings.loss.recon_type == "cross_entropy") settings.loss.recon_type = "log"; /* P-11 */
  settings.loss.recon_weight = settings.loss.recon_type == "none" ? 0 : file.number(path, "recon_weight");
  settings.loss.reg = file.number(path, "reg_weight");
  const std::string encoder = file.text(path, "encoder"), decoder = file.text(path, "decoder");
  read_coder(file, path + "/params/" + coder_class(encoder, "Encoder"), encoder, "none", &settings.encoder);
  read_coder(file, path + "/params/" + coder_class(decoder, "Decoder"), decoder, file.text(path, "decoder_type"),
             &settings.decoder);
  const long latent = static_cast<long>(file.read(path + "/network_out").width());
  if (settings.encoder.type != "identity") settings.latent_size = latent;
  if (variant != "fm")
    read_schedule(file, path + "/params/noise_schedule.", file.text(path, "schedule"), -1, &settings);
  return settings;
}

}  // namespace golden
