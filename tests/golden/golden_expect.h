/* What the golden tests compare by, and how golden numbers are given to kernels. */
#ifndef TESTS_GOLDEN_EXPECT_H
#define TESTS_GOLDEN_EXPECT_H

#include <string>
#include <vector>

#include "tests/kernels/harness.h"
#include "tests/reference/compare.h"

namespace golden {

/* Two computations in double: some 5e4 roundings of 2^-53. */
constexpr double kRelative = 1e-11;
void expect_equal(const reference::Vector<double> &got, const reference::Vector<double> &want, const std::string &what,
                  double relative = kRelative);

/* Kernel against golden, with the error estimate of `estimate`, which must agree with golden itself to `relative`. What
 * is left between the two (times rounded to float32 in solves) counts as an error of the kernel's inputs. */
void expect_golden(kernels_test::Quantity quantity, const std::vector<float> &got,
                   const reference::Vector<double> &want, const reference::Vector<reference::Tracked> &estimate,
                   const std::string &what, double relative = 1e-9);

/* A golden value as the kernel gets it: rounded to float32. */
reference::Tracked rounded(double v);
reference::Vector<reference::Tracked> rounded(const reference::Vector<double> &values);
std::vector<reference::Vector<reference::Tracked>> rounded(const std::vector<reference::Vector<double>> &rows);
std::vector<float> single(const reference::Vector<double> &values);
reference::Vector<double> joined(const std::vector<reference::Vector<double>> &rows);

}  // namespace golden

#endif
