/* Tolerances, models and random data of the kernel tests. */
#include "tests/kernels/harness.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <map>

#include "tests/reference/compare.h"

namespace kernels_test {

using reference::Array;
using reference::Network;

/* ---- tolerances ----------------------------------------------------------------------------------------------------
 */

/* In standard deviations of the estimated rounding error. The estimate takes every rounding as large as it can be
 * (eps |v|; uniformly distributed ones have eps |v|/sqrt(3)) and all as independent; a normal error exceeds 6
 * deviations once in 5e8 values. More is allowed where errors that are not independent add up. */
static const struct {
  const char *name;
  double deviations;
  const char *reason;
} kTolerances[] = {
    {"state", 6, "z = a z1 + b e: three roundings, and those of a, b and e"},
    {"prediction", 8, "one pass through the network; a row's errors share their inputs"},
    {"term", 8, "sums over rows, in the order of slots and lanes instead of rows"},
    {"row loss", 8, "one row's terms"},
    {"gradient", 8, "sums over rows of products of forward and backward values, which share their errors"},
    {"parameters", 10, "several steps; each step's error enters all later ones"},
    {"solve", 12, "many evaluations along one trajectory, whose errors the field carries on together"},
};

void expect_within(Quantity quantity, const std::vector<float> &got, const Vector<Tracked> &want,
                   const std::string &what, const std::vector<float> *zero) {
  const auto &row = kTolerances[quantity];
  std::vector<double> values, wanted, tolerance;
  for (size_t i = 0; i < got.size(); ++i) values.push_back(static_cast<double>(got[i]));
  for (const Tracked &w : want) {
    wanted.push_back(w.value);
    tolerance.push_back(row.deviations * w.deviation() + 1e-37 /* below float32's normal range */);
  }
  if (zero)
    for (size_t i = 0; i < zero->size() && i < values.size() && i < wanted.size(); ++i) {
      values[i] -= static_cast<double>((*zero)[i]);
      wanted[i] -= static_cast<double>((*zero)[i]);
    }
  const reference::Comparison c = reference::compare(values, wanted, tolerance);
  std::printf("[  share   ] %-10s %5.2f of %g deviations  %s\n", row.name, c.share, row.deviations, what.c_str());
  EXPECT_TRUE(c.passed) << row.name << " of " << what << ": " << c.message;
}

void expect_within(Quantity quantity, double got, Tracked want, const std::string &what) {
  const auto &row = kTolerances[quantity];
  const reference::Comparison c =
      reference::compare({got}, {want.value}, std::vector<double>{row.deviations * want.deviation() + 1e-37});
  std::printf("[  share   ] %-10s %5.2f of %g deviations  %s\n", row.name, c.share, row.deviations, what.c_str());
  EXPECT_TRUE(c.passed) << row.name << " of " << what << ": " << c.message;
}

/* ---- models --------------------------------------------------------------------------------------------------------
 */

bool ok(noprop_status status, const char *what) {
  if (status == NOPROP_OK) return true;
  ADD_FAILURE() << what << ": " << noprop_status_name(status) << ": " << noprop_last_error();
  return false;
}

noprop_device *device() {
  static noprop_device *opened = [] {
    const char *name = std::getenv("NOPROP_TEST_DEVICE");
    noprop_device *d = nullptr;
    ok(noprop_device_open(name ? name : "virtual", &d), "noprop_device_open");
    return d;
  }();
  return opened;
}

Model create_model(const Keys &keys, const noprop_model_shape &shape) {
  noprop_config *config = nullptr;
  noprop_model *model = nullptr;
  bool good = device() && ok(noprop_config_create(&config), "noprop_config_create");
  /* On a GPU `auto` would be tf32, and fp32 three products of tf32 on some. */
  setenv("NOPROP_FP32", "fma", 0);
  good = good && ok(noprop_config_set(config, "precision", "fp32"), "precision: fp32");
  for (const auto &[key, value] : keys)
    good = good && ok(noprop_config_set(config, key.c_str(), value.c_str()), (key + ": " + value).c_str());
  if (good) ok(noprop_model_create(device(), config, &shape, &model), "noprop_model_create");
  noprop_config_destroy(config);
  return Model(model);
}

std::vector<float> random_parameters(const Network &network, unsigned seed, double gain) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<float> values;
  for (const Array &array : network.arrays) {
    const bool bias = array.name.find(".bias") != std::string::npos;
    const double scale = bias ? 0.2 : gain / std::sqrt(static_cast<double>(array.rows));
    const bool variance = array.name.find(".variance") != std::string::npos;
    for (long i = 0; i < array.size(); ++i) {
      const double value = scale * normal(generator);
      values.push_back(static_cast<float>(variance ? 0.5 + std::fabs(value) : value));
    }
  }
  return values;
}

bool set_parameters(noprop_model *model, const Network &network, const std::vector<float> &values) {
  if (noprop_model_parameter_count(model) != static_cast<int>(network.arrays.size()) ||
      noprop_model_parameter_values(model) != network.parameters) {
    ADD_FAILURE() << "the model has " << noprop_model_parameter_count(model) << " arrays of "
                  << noprop_model_parameter_values(model) << " values, the reference " << network.arrays.size()
                  << " of " << network.parameters;
    return false;
  }
  for (size_t i = 0; i < network.arrays.size(); ++i) {
    const noprop_parameter p = noprop_model_parameter(model, static_cast<int>(i));
    const Array &array = network.arrays[i];
    EXPECT_EQ(array.name, p.name);
    EXPECT_EQ(array.offset, p.offset) << array.name;
    EXPECT_EQ(array.size(), p.rank == 1 ? p.shape[0] : p.shape[0] * p.shape[1]) << array.name;
    EXPECT_EQ(array.rows, p.rank == 2 ? p.shape[0] : 1) << array.name;
  }
  return ok(noprop_model_set_parameters(model, values.data()), "noprop_model_set_parameters");
}

std::vector<float> parameters_of(noprop_model *model, bool ema) {
  std::vector<float> values(static_cast<size_t>(noprop_model_parameter_values(model)));
  ok(noprop_model_get_parameters(model, ema, values.data()), "noprop_model_get_parameters");
  return values;
}

/* ---- data ----------------------------------------------------------------------------------------------------------
 */

Vector<Tracked> tracked(const std::vector<float> &values) { return {values.begin(), values.end()}; }

Vector<Tracked> flat(const std::vector<Vector<Tracked>> &rows) {
  Vector<Tracked> all;
  for (const auto &row : rows) all.insert(all.end(), row.begin(), row.end());
  return all;
}

/* (raw - mean)/std as raw * scale + shift with rounded scale and shift. */
static Tracked standardised(double raw, float mean, float std) {
  const Tracked scale = Tracked(1) / Tracked(static_cast<double>(std));
  return Tracked(raw) * scale + Tracked(-static_cast<double>(mean)) * scale;
}

std::unique_ptr<Data> make_data(const Settings &settings, ConditionKind kind, int condition, int target, long rows,
                                unsigned seed) {
  auto data = std::make_unique<Data>();
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  const size_t n = static_cast<size_t>(rows), c = static_cast<size_t>(condition), y = static_cast<size_t>(target);
  data->rows = rows;
  data->reference.x.resize(kind == kNoCondition ? 0 : n);
  data->reference.z1.resize(n);

  noprop_model_shape &shape = data->shape;
  shape = {};
  shape.condition_width = kind == kNoCondition ? 0 : condition;
  shape.target_width = target;
  noprop_array &x = data->condition, &t = data->target;
  x = {}, t = {};
  x.name = "x", t.name = "y";
  x.rows = t.rows = rows;
  x.rank = t.rank = 2;
  x.shape[0] = t.shape[0] = rows;
  x.width = x.shape[1] = condition;

  if (kind == kFloatCondition || kind == kByteCondition) {
    for (size_t i = 0; i < c; ++i) { /* standardisation that matters */
      data->x_mean.push_back(kind == kByteCondition ? 127.0f + static_cast<float>(i % 7)
                                                    : 0.25f * static_cast<float>(i % 5));
      data->x_std.push_back(kind == kByteCondition ? 70.0f : 1.5f);
    }
    for (size_t row = 0; row < n; ++row)
      for (size_t i = 0; i < c; ++i) {
        double raw;
        if (kind == kByteCondition) {
          data->x_bytes.push_back(static_cast<uint8_t>(generator() % 256));
          raw = data->x_bytes.back();
        } else {
          data->x_float.push_back(normal(generator));
          raw = static_cast<double>(data->x_float.back());
        }
        data->reference.x[row].push_back(standardised(raw, data->x_mean[i], data->x_std[i]));
      }
  }
  if (kind == kFloatCondition) shape.condition_type = x.type = NOPROP_TYPE_FLOAT32, x.values = data->x_float.data();
  if (kind == kByteCondition) shape.condition_type = x.type = NOPROP_TYPE_UINT8, x.values = data->x_bytes.data();
  if (kind == kLabelCondition) {
    for (size_t row = 0; row < n; ++row) {
      data->x_labels.push_back(static_cast<int32_t>(generator() % c));
      data->reference.x[row] = reference::one_hot<Tracked>(data->x_labels.back(), condition, 0);
    }
    shape.condition_type = x.type = NOPROP_TYPE_INT32;
    shape.condition_is_label = true;
    x.values = data->x_labels.data();
    x.rank = 1, x.width = 1;
  }
  if (settings.task == "classify") {
    for (size_t row = 0; row < n; ++row) {
      data->y_labels.push_back(static_cast<int32_t>(generator() % y));
      data->reference.label.push_back(data->y_labels.back());
      data->reference.z1[row] = reference::one_hot<Tracked>(data->y_labels.back(), target, settings.off_value);
    }
    shape.target_type = t.type = NOPROP_TYPE_INT32;
    shape.target_is_label = true;
    t.values = data->y_labels.data();
    t.rank = 1, t.width = 1;
  } else {
    for (size_t i = 0; i < y; ++i) {
      data->y_mean.push_back(0.3f * static_cast<float>(i % 3) - 0.2f);
      data->y_std.push_back(0.8f + 0.1f * static_cast<float>(i % 4));
    }
    for (size_t row = 0; row < n; ++row)
      for (size_t i = 0; i < y; ++i) {
        data->y_float.push_back(normal(generator));
        data->reference.z1[row].push_back(
            standardised(static_cast<double>(data->y_float.back()), data->y_mean[i], data->y_std[i]));
      }
    shape.target_type = t.type = NOPROP_TYPE_FLOAT32;
    t.values = data->y_float.data();
    t.width = t.shape[1] = target;
  }
  return data;
}

bool set_statistics(noprop_model *model, const Data &data) {
  const auto pointer = [](const std::vector<float> &v) { return v.empty() ? nullptr : v.data(); };
  return ok(noprop_model_set_statistics(model, pointer(data.x_mean), pointer(data.x_std), pointer(data.y_mean),
                                        pointer(data.y_std)),
            "noprop_model_set_statistics");
}

}  // namespace kernels_test
