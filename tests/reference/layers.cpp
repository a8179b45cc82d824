/* network.type custom: lists of layers, each as ops of the reference. */
#include <map>
#include <stdexcept>

#include "tests/reference/network.h"

namespace reference {
namespace {

using Layer = std::map<std::string, std::string>;

/* "[{type: dense, from: [z, x]}, ...]", without quotes and comments: a layer's lists stay texts. */
std::vector<Layer> read_layers(const std::string &text) {
  std::vector<Layer> layers;
  std::string word, key;
  int depth = 0; /* of brackets */
  const auto trimmed = [](const std::string &s) {
    const size_t first = s.find_first_not_of(" \n"), last = s.find_last_not_of(" \n");
    return first == std::string::npos ? "" : s.substr(first, last - first + 1);
  };
  for (const char c : text) {
    if (c == '{') layers.emplace_back(), word.clear();
    if (c == '[') ++depth;
    if (c == ']') --depth;
    if (c == ':') key = trimmed(word), word.clear();
    if (!layers.empty() && depth == 1 && (c == ',' || c == '}') && !key.empty())
      layers.back()[key] = trimmed(word), word.clear(), key.clear();
    else if (c != '{' && c != '}' && c != ':' && !(c == ',' && depth < 2))
      word += c;
  }
  return layers;
}

std::vector<std::string> names(std::string text) {
  std::vector<std::string> result;
  for (size_t at; (at = text.find_first_of("[],")) != std::string::npos;) text[at] = ' ';
  for (size_t first = text.find_first_not_of(' '); first != std::string::npos;) {
    const size_t last = text.find(' ', first);
    result.push_back(text.substr(first, last - first));
    first = text.find_first_not_of(' ', last);
  }
  return result;
}

struct Builder {
  Network &network;
  std::map<std::string, long> made; /* ops by names of layers */

  long width(const std::string &name) const {
    return name == "z"   ? network.latent
           : name == "x" ? network.x
           : name == "t" ? network.time
                         : width_of(made.at(name));
  }
  /* Features behind the activation. */
  long width_of(long op) const {
    const Op &o = network.ops[static_cast<size_t>(op)];
    const std::string &form = o.form.empty() ? network.activation : o.form;
    if (o.radial >= 0) return network.arrays[static_cast<size_t>(o.radial)].columns / (o.width + 1);
    return o.activation && (form == "switanh" || form == "swiglu") ? o.width / 2 : o.width;
  }
  Source source(const std::string &name, size_t weight) const {
    const Source::Kind kind = name == "z"   ? Source::kZ
                              : name == "x" ? Source::kX
                              : name == "t" ? Source::kTime
                                            : Source::kOp;
    return {kind, kind == Source::kOp ? made.at(name) : -1, width(name), weight};
  }
  size_t array(const std::string &name, long rows, long columns) const {
    network.arrays.push_back({name, rows, columns, false, network.parameters});
    network.parameters += rows * columns;
    return network.arrays.size() - 1;
  }
  long add(Op op, long op_width) const {
    op.width = op_width;
    network.ops.push_back(op);
    return static_cast<long>(network.ops.size()) - 1;
  }
};

}  // namespace

void add_custom_layers(Network &network, const std::string &text, long output) {
  std::vector<Layer> layers = read_layers(text);
  Builder b{network, {}};
  long last = -1, number = 0, readers = 0;
  std::string before;
  for (const Layer &layer : layers)
    for (const std::string &name : names(layer.count("from") ? layer.at("from") : "")) readers += name == "x";
  if (layers.empty()) throw std::invalid_argument("network.layers is empty");
  std::vector<std::pair<std::string, long>> normal; /* names and ops of batch norm */
  const auto put = [&](const Layer &layer) {
    const auto value = [&](const char *key) { return layer.count(key) ? layer.at(key) : std::string(); };
    const std::string type = value("type");
    const std::string name = value("name").empty() ? type + "." + std::to_string(number) : value("name");
    std::vector<std::string> from = names(value("from"));
    if (from.empty()) from = {before};
    if ((type == "add" || type == "multiply") && from.size() == 1) from.insert(from.begin(), before);
    Op op;
    op.activation = false;
    if (type == "dense") {
      const bool halves = value("activation") == "switanh" || value("activation") == "swiglu";
      const long width = value("width").empty() ? (halves ? 2 * output : output) : std::stol(value("width"));
      for (const std::string &in : from) {
        std::string weight_name = name;
        if (from.size() > 1) weight_name.append(".").append(in);
        const size_t weight = b.array(weight_name + ".weight", b.width(in), width);
        if (in == "x" && readers == 1) { /* what is left out without a condition */
          Op front;
          front.activation = false, front.x_branch = true;
          front.sources = {b.source(in, weight)};
          op.sources.push_back({Source::kOp, b.add(front, width), width, kNoWeight});
        } else {
          op.sources.push_back(b.source(in, weight));
        }
      }
      if (value("bias") != "false") op.bias = static_cast<long>(b.array(name + ".bias", 1, width));
      op.form = value("activation");
      op.activation = !op.form.empty();
      last = b.add(op, width);
    } else if (type == "activation") {
      op.form = value("activation"), op.activation = true;
      op.sources = {b.source(from[0], kNoWeight)};
      last = b.add(op, b.width(from[0]));
    } else if (type == "layer_norm") {
      op.sources = {b.source(from[0], kNoWeight)};
      op.norm = static_cast<long>(b.array(name + ".scale", 1, b.width(from[0])));
      b.array(name + ".bias", 1, b.width(from[0]));
      last = b.add(op, b.width(from[0]));
    } else if (type == "batch_norm") {
      op.sources = {b.source(from[0], kNoWeight)};
      op.batch = static_cast<long>(b.array(name + ".scale", 1, b.width(from[0])));
      b.array(name + ".bias", 1, b.width(from[0]));
      if (!value("momentum").empty()) op.momentum = std::stod(value("momentum"));
      normal.emplace_back(name, static_cast<long>(network.ops.size()));
      last = b.add(op, b.width(from[0]));
    } else if (type == "dropout") {
      op.sources = {b.source(from[0], kNoWeight)};
      op.dropout = true, op.rate = std::stod(value("rate")), op.layer = number;
      last = b.add(op, b.width(from[0]));
    } else if (type == "add") {
      for (const std::string &in : from) op.sources.push_back(b.source(in, kNoWeight));
      last = b.add(op, b.width(from[0]));
    } else if (type == "multiply") {
      Op other = op;
      other.sources = {b.source(from[1], kNoWeight)};
      op.times = b.add(other, b.width(from[1]));
      op.sources = {b.source(from[0], kNoWeight)};
      last = b.add(op, b.width(from[0]));
    } else if (type == "concatenate" || type == "source") {
      long width = 0;
      for (const std::string &in : from) {
        op.sources.push_back(b.source(in, kNoWeight));
        op.sources.back().at = width;
        width += b.width(in);
      }
      if (type == "source") {
        if (value("function") != "radial") throw std::invalid_argument("the reference knows the function radial alone");
        op.radial = static_cast<long>(b.array(name + ".parameters", 1, std::stol(value("parameters"))));
      }
      last = b.add(op, width);
    } else {
      throw std::invalid_argument("the reference does not know the layer " + type);
    }
    b.made[name] = last;
    before = name;
    ++number;
  };
  for (const Layer &layer : layers) put(layer);
  if (b.width_of(last) != output) put({{"type", "dense"}, {"name", "output"}});
  network.normal = normal;
}

void add_running_statistics(Network &network) {
  network.decayed = network.parameters;
  for (const auto &[name, op] : network.normal) {
    Op &of = network.ops[static_cast<size_t>(op)];
    of.statistics = static_cast<long>(network.arrays.size());
    for (const char *part : {".mean", ".variance"}) {
      network.arrays.push_back({name + part, 1, of.width, false, network.parameters});
      network.parameters += of.width;
    }
  }
}

}  // namespace reference
