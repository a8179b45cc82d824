/* What the tests of models share: one virtual GPU, small configurations, data from a fixed seed. */
#ifndef TESTS_MODEL_SUPPORT_H
#define TESTS_MODEL_SUPPORT_H

#include <gtest/gtest.h>
#include <noprop/noprop.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/reference/settings.h"

extern "C" {
#include "engine/model.h"
}

namespace model_test {

using reference::Keys;

/* A failing call shows its sentence. */
#define ASSERT_OK(call) ASSERT_EQ(call, NOPROP_OK) << noprop_last_error()
#define EXPECT_OK(call) EXPECT_EQ(call, NOPROP_OK) << noprop_last_error()

/* The virtual GPU, opened once per program. */
noprop_device *device();

struct ConfigDeleter {
  void operator()(noprop_config *config) const { noprop_config_destroy(config); }
};
struct ModelDeleter {
  void operator()(noprop_model *model) const { noprop_model_destroy(model); }
};
using Config = std::unique_ptr<noprop_config, ConfigDeleter>;
using Model = std::unique_ptr<noprop_model, ModelDeleter>;

Config make_config(const Keys &keys);

/* Rows drawn from a fixed seed: condition [rows][condition_width] float, target labels or values. */
struct Data {
  long rows = 0, condition_width = 0, target_width = 0; /* target_width: classes when labels */
  std::vector<float> condition, values;
  std::vector<int32_t> labels;
  noprop_model_shape shape() const;
  noprop_array condition_array() const;
  noprop_array target_array() const;
  const noprop_array *condition_pointer(const noprop_array &array) const { return condition_width ? &array : nullptr; }
};
Data make_data(long rows, long condition_width, long target_width, bool labels, unsigned seed = 1);

Model make_model(const Keys &keys, const Data &data);
void bind(noprop_model *model, const Data &data, int batch);

/* Every array of the training state, one after the other, as raw bytes. */
std::vector<unsigned char> state_bytes(noprop_model *model);
std::vector<float> parameters(noprop_model *model, bool ema = false);
noprop_device_counters counters();

}  // namespace model_test

#endif
