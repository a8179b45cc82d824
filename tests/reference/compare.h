/* Comparing arrays: a tolerance per element, the largest share of it that was used, and a refusal of tolerances that
 * say nothing (those that an output of zeros would pass). */
#ifndef TESTS_REFERENCE_COMPARE_H
#define TESTS_REFERENCE_COMPARE_H

#include <string>
#include <vector>

namespace reference {

struct Comparison {
  bool passed = false;
  double share = 0;    /* largest |got - want| / tolerance */
  std::string message; /* what is wrong, or "" */
};

/* Passes if |got - want| <= tolerance everywhere. Refused (not passed) if sizes differ, if a value is not finite, or if
 * zeros would pass although `want` is not all zero. If `want` is all zero, `got` must be exactly so. */
Comparison compare(const std::vector<double> &got, const std::vector<double> &want,
                   const std::vector<double> &tolerance);

/* The same with one tolerance: `relative` times the largest |want|. */
Comparison compare(const std::vector<double> &got, const std::vector<double> &want, double relative);

}  // namespace reference

#endif
