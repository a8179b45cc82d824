/* Narrow floating-point formats by their definition: the numbers are listed, and rounding is a search in the list. What
 * the tests of halves, bytes and tf32 compare with. */
#ifndef TESTS_VGPU_NARROW_FORMAT_H
#define TESTS_VGPU_NARROW_FORMAT_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace narrow {

__extension__ using wide = __float128;

enum class Mode { nearest, away, zero, down, up }; /* nearest: ties to even; away: ties away from zero */

/* A sign, `exponent` and `fraction` bits. `infinity`: the number after the largest, which is infinity or, where the
 * format has none, the NaN. */
struct Format {
  const char *name, *pair;
  int exponent, fraction;
  uint32_t infinity;
  std::vector<std::pair<wide, uint32_t>> ordered; /* all finite numbers above or equal to zero */

  Format(const char *format, const char *of_pair, int exponent_bits, int fraction_bits, uint32_t top)
      : name(format), pair(of_pair), exponent(exponent_bits), fraction(fraction_bits), infinity(top) {
    for (uint32_t bits = 0; bits < infinity; bits++) ordered.emplace_back(value(bits), bits);
  }
  uint32_t sign() const { return UINT32_C(1) << (exponent + fraction); }
  uint32_t all() const { return sign() - 1; }
  wide value(uint64_t bits) const {
    const int bias = (1 << (exponent - 1)) - 1;
    const int e = static_cast<int>(bits >> fraction & ((UINT64_C(1) << exponent) - 1));
    const double f = static_cast<double>(bits & ((UINT64_C(1) << fraction) - 1));
    const double x = e ? std::ldexp(1.0 + std::ldexp(f, -fraction), e - bias) : std::ldexp(f, 1 - bias - fraction);
    return bits & sign() ? -static_cast<wide>(x) : static_cast<wide>(x);
  }
  bool has_infinity() const { return infinity != all(); }
  bool nan(uint64_t bits) const { return has_infinity() ? (bits & all()) > infinity : (bits & all()) == all(); }
  bool infinite(uint64_t bits) const { return has_infinity() && (bits & all()) == infinity; }
  double number(uint64_t bits) const { /* with infinities and NaN */
    if (nan(bits)) return NAN;
    if (infinite(bits)) return bits & sign() ? -INFINITY : INFINITY;
    return static_cast<double>(value(bits));
  }
  /* x is not zero. Its neighbours are found by search; beyond the largest number they are that and the next one, were
   * there more exponents. */
  uint32_t round(wide x, Mode mode) const {
    const uint32_t minus = x < 0 ? sign() : 0;
    const wide magnitude = x < 0 ? -x : x;
    auto above = std::lower_bound(ordered.begin(), ordered.end(), std::make_pair(magnitude, UINT32_C(0)));
    if (above != ordered.end() && above->first == magnitude) return minus | above->second;
    const auto &below = *(above - 1);
    const bool beyond = above == ordered.end();
    const wide next = beyond ? 2 * ordered.back().first - (ordered.end() - 2)->first : above->first;
    const wide low = magnitude - below.first, high = next - magnitude;
    bool up = false;
    if (mode == Mode::nearest) up = low > high || (low == high && (below.second & 1));
    if (mode == Mode::away) up = low >= high;
    if (mode == Mode::down) up = x < 0;
    if (mode == Mode::up) up = x > 0;
    return minus | (up ? (beyond ? infinity : above->second) : below.second);
  }
  /* Of a double, with zeros, infinities and NaN (whose bits are all set but the sign). */
  uint32_t convert(double x, Mode mode) const {
    if (std::isnan(x)) return all();
    const uint32_t minus = std::signbit(x) ? sign() : 0;
    if (x == 0) return minus;
    if (std::isinf(x)) return minus | infinity;
    return round(x, mode);
  }
};

inline const Format &half() {
  static const Format format("f16", "f16x2", 5, 10, 0x7c00);
  return format;
}
inline const Format &brain() {
  static const Format format("bf16", "bf16x2", 8, 7, 0x7f80);
  return format;
}
inline const Format &tf32() {
  static const Format format("tf32", "", 8, 10, 0x3fc00);
  return format;
}
inline const Format &e5m2() {
  static const Format format("e5m2", "e5m2x2", 5, 2, 0x7c);
  return format;
}
inline const Format &e4m3() {
  static const Format format("e4m3", "e4m3x2", 4, 3, 0x7f);
  return format;
}

}  // namespace narrow

#endif
