/* One virtual GPU, small configurations and data for the tests of models. */
#include "tests/model/support.h"

#include <cmath>
#include <cstring>
#include <random>

namespace model_test {

noprop_device *device() {
  static noprop_device *opened = [] {
    noprop_device *result = nullptr;
    EXPECT_OK(noprop_device_open("virtual", &result));
    return result;
  }();
  return opened;
}

Config make_config(const Keys &keys) {
  noprop_config *config = nullptr;
  EXPECT_OK(noprop_config_create(&config));
  for (const auto &[key, value] : keys) EXPECT_OK(noprop_config_set(config, key.c_str(), value.c_str()));
  return Config(config);
}

noprop_model_shape Data::shape() const {
  noprop_model_shape shape = {};
  shape.condition_type = NOPROP_TYPE_FLOAT32;
  shape.condition_width = static_cast<int>(condition_width);
  shape.target_type = labels.empty() ? NOPROP_TYPE_FLOAT32 : NOPROP_TYPE_INT32;
  shape.target_width = static_cast<int>(target_width);
  shape.target_is_label = !labels.empty();
  return shape;
}

noprop_array Data::condition_array() const {
  noprop_array array = {};
  array.name = "x";
  array.type = NOPROP_TYPE_FLOAT32;
  array.rows = rows;
  array.width = condition_width;
  array.rank = 2;
  array.shape[0] = rows;
  array.shape[1] = condition_width;
  array.values = condition.data();
  return array;
}

noprop_array Data::target_array() const {
  noprop_array array = {};
  const bool label = !labels.empty();
  array.name = "y";
  array.type = label ? NOPROP_TYPE_INT32 : NOPROP_TYPE_FLOAT32;
  array.rows = rows;
  array.width = label ? 1 : target_width;
  array.rank = label ? 1 : 2;
  array.shape[0] = rows;
  array.shape[1] = target_width;
  array.values = label ? static_cast<const void *>(labels.data()) : values.data();
  return array;
}

Data make_data(long rows, long condition_width, long target_width, bool labels, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Data data;
  data.rows = rows;
  data.condition_width = condition_width;
  data.target_width = target_width;
  data.condition.resize(static_cast<size_t>(rows * condition_width));
  for (float &value : data.condition) value = normal(random);
  if (labels) {
    data.labels.resize(static_cast<size_t>(rows));
    for (int32_t &label : data.labels)
      label = static_cast<int32_t>(random() % static_cast<unsigned long>(target_width));
  } else {
    data.values.resize(static_cast<size_t>(rows * target_width));
    for (float &value : data.values) value = normal(random);
  }
  return data;
}

Model make_model(const Keys &keys, const Data &data) {
  const Config config = make_config(keys);
  const noprop_model_shape shape = data.shape();
  noprop_model *model = nullptr;
  EXPECT_OK(noprop_model_create(device(), config.get(), &shape, &model));
  return Model(model);
}

void bind(noprop_model *model, const Data &data, int batch) {
  const noprop_array condition = data.condition_array(), target = data.target_array();
  EXPECT_OK(noprop_model_bind(model, data.condition_pointer(condition), &target, batch));
}

std::vector<unsigned char> state_bytes(noprop_model *model) {
  std::vector<unsigned char> bytes;
  for (int i = 0; i < model_state_count(model); ++i) {
    const struct model_state state = model_state_at(model, i);
    const size_t size = static_cast<size_t>(state.values) * (state.type == NOPROP_TYPE_FLOAT64 ? 8 : 4),
                 at = bytes.size();
    bytes.resize(at + size);
    EXPECT_OK(model_state_get(model, i, bytes.data() + at));
  }
  return bytes;
}

std::vector<float> parameters(noprop_model *model, bool ema) {
  std::vector<float> values(static_cast<size_t>(noprop_model_parameter_values(model)));
  EXPECT_OK(noprop_model_get_parameters(model, ema, values.data()));
  return values;
}

noprop_device_counters counters() {
  noprop_device_counters result = {};
  EXPECT_OK(noprop_device_get_counters(device(), &result));
  return result;
}

}  // namespace model_test
