#include "tests/golden/golden_expect.h"

#include <gtest/gtest.h>

namespace golden {

using reference::Tracked;
using reference::Vector;

void expect_equal(const Vector<double> &got, const Vector<double> &want, const std::string &what, double relative) {
  const auto c = reference::compare(got, want, relative);
  EXPECT_TRUE(c.passed) << what << ": " << c.message;
}

void expect_golden(kernels_test::Quantity quantity, const std::vector<float> &got, const Vector<double> &want,
                   const Vector<Tracked> &estimate, const std::string &what, double relative) {
  Vector<double> values;
  Vector<Tracked> wanted;
  for (size_t i = 0; i < estimate.size(); ++i) {
    const double golden = i < want.size() ? want[i] : 0;
    values.push_back(estimate[i].value);
    wanted.push_back({golden, estimate[i].variance + reference::square(golden - estimate[i].value)});
  }
  expect_equal(values, want, "reference, " + what, relative);
  kernels_test::expect_within(quantity, got, wanted, what);
}

Tracked rounded(double v) { return reference::rounded(v, 0); }

Vector<Tracked> rounded(const Vector<double> &values) {
  Vector<Tracked> result;
  for (const double v : values) result.push_back(rounded(v));
  return result;
}

std::vector<Vector<Tracked>> rounded(const std::vector<Vector<double>> &rows) {
  std::vector<Vector<Tracked>> result;
  for (const auto &row : rows) result.push_back(rounded(row));
  return result;
}

std::vector<float> single(const Vector<double> &values) { return {values.begin(), values.end()}; }

Vector<double> joined(const std::vector<Vector<double>> &rows) {
  Vector<double> all;
  for (const auto &row : rows) all.insert(all.end(), row.begin(), row.end());
  return all;
}

}  // namespace golden
