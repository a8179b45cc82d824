// Helpers of the tests of converters.
#ifndef TESTS_HOST_CONVERTING_H
#define TESTS_HOST_CONVERTING_H

#include <gtest/gtest.h>
#include <noprop/noprop.h>

#include <memory>
#include <string>

#include "scratch.h"

struct Destroy {
  void operator()(noprop_dataset *dataset) const { noprop_dataset_destroy(dataset); }
};
using Dataset = std::unique_ptr<noprop_dataset, Destroy>;

inline bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

inline noprop_convert_options options(const std::string &input) {
  noprop_convert_options o = {};
  o.input = input.c_str();
  o.validation = o.test = -1;
  return o;
}

inline Dataset convert(const char *kind, const noprop_convert_options &o) {
  noprop_dataset *dataset = nullptr;
  EXPECT_EQ(noprop_dataset_convert(kind, &o, &dataset), NOPROP_OK) << noprop_last_error();
  return Dataset(dataset);
}

inline std::string refusal(const char *kind, const noprop_convert_options &o,
                           noprop_status expected = NOPROP_FILE_ERROR) {
  noprop_dataset *dataset = nullptr;
  EXPECT_EQ(noprop_dataset_convert(kind, &o, &dataset), expected);
  EXPECT_EQ(dataset, nullptr);
  return noprop_last_error();
}

inline noprop_array get(const Dataset &dataset, const char *split, const char *name) {
  noprop_array array = {};
  EXPECT_EQ(noprop_dataset_get(dataset.get(), split, name, &array), NOPROP_OK) << noprop_last_error();
  return array;
}

#endif
