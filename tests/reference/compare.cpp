/* Comparison of arrays with tolerances that must be able to fail. */
#include "tests/reference/compare.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace reference {

Comparison compare(const std::vector<double> &got, const std::vector<double> &want,
                   const std::vector<double> &tolerance) {
  Comparison result;
  std::ostringstream message;
  if (got.size() != want.size() || tolerance.size() != want.size()) {
    message << got.size() << " values where " << want.size() << " are expected";
    result.message = message.str();
    return result;
  }
  bool zeros_pass = true, all_zero = true;
  size_t worst = 0;
  double worst_share = -1;
  for (size_t i = 0; i < want.size(); ++i) {
    zeros_pass = zeros_pass && std::fabs(want[i]) <= tolerance[i];
    all_zero = all_zero && want[i] == 0;
    const double difference = std::fabs(got[i] - want[i]);
    double share = difference == 0 ? 0 : difference / tolerance[i];
    if (!(share <= 1e300)) share = 1e300; /* not finite, or no tolerance at all */
    if (share > worst_share) worst = i, worst_share = share;
  }
  result.share = std::max(worst_share, 0.0);
  if (worst_share > 1) {
    message.precision(9);
    message << "value " << worst << " of " << want.size() << " is " << got[worst] << ", expected " << want[worst]
            << " within " << tolerance[worst] << " (" << worst_share << " of the tolerance)";
  } else if (!want.empty() && zeros_pass && !all_zero) {
    message << "the tolerance would accept zeros: it says nothing";
  } else {
    result.passed = true;
  }
  result.message = message.str();
  return result;
}

Comparison compare(const std::vector<double> &got, const std::vector<double> &want, double relative) {
  double largest = 0;
  for (double v : want) largest = std::max(largest, std::fabs(v));
  return compare(got, want, std::vector<double>(want.size(), relative * largest));
}

}  // namespace reference
