/* Formats of 16 bits, exactly: what their bits mean, and the rounding of real numbers to them. */
#ifndef TESTS_FOREIGN_SMALL_FLOAT_H
#define TESTS_FOREIGN_SMALL_FLOAT_H

#include <cmath>
#include <cstdint>

namespace foreign {

enum class Rounding { nearest, zero, down, up };

/* A format with this many bits of significand (the leading one is not stored), and IEEE's other rules. */
struct SmallFloat {
  int digits;
  constexpr int stored() const { return digits - 1; }
  constexpr int bias() const { return (1 << (15 - stored() - 1)) - 1; }
  constexpr uint16_t infinity() const { return static_cast<uint16_t>(0x7fff >> stored() << stored()); }
  bool is_nan(uint16_t bits) const { return (bits & 0x7fff) > infinity(); }

  /* Every value is a double. */
  double value(uint16_t bits) const {
    const int exponent = (bits & 0x7fff) >> stored(), fraction = bits & ((1 << stored()) - 1);
    double magnitude =
        std::ldexp(fraction + (exponent > 0 ? 1 << stored() : 0), (exponent > 0 ? exponent : 1) - bias() - stored());
    if ((bits & 0x7fff) >= infinity()) magnitude = fraction == 0 ? INFINITY : NAN;
    return bits >> 15 != 0 ? -magnitude : magnitude;
  }

  /* The one rounding of x. */
  uint16_t rounded(double x, Rounding mode = Rounding::nearest) const {
    if (std::isnan(x)) return 0x7fff;
    const bool negative = std::signbit(x);
    const uint16_t sign = negative ? 0x8000 : 0;
    if (std::isinf(x)) return static_cast<uint16_t>(sign | infinity());
    if (x == 0) return sign;
    const int smallest = 1 - bias();
    const int exponent = std::ilogb(x) < smallest ? smallest : std::ilogb(x);
    /* A significand in units of the format's last place, which a double holds with all that is behind it. */
    const double scaled = std::ldexp(std::fabs(x), stored() - exponent), whole = std::floor(scaled);
    const double rest = scaled - whole;
    bool up = false;
    if (mode == Rounding::nearest) up = rest > .5 || (rest == .5 && std::fmod(whole, 2) == 1);
    if (mode == Rounding::up) up = rest > 0 && !negative;
    if (mode == Rounding::down) up = rest > 0 && negative;
    if (exponent > bias()) { /* too large, whatever the significand */
      const bool to_infinity = mode == Rounding::nearest || mode == (negative ? Rounding::down : Rounding::up);
      return static_cast<uint16_t>(sign | (infinity() - (to_infinity ? 0 : 1)));
    }
    /* A carry out of the significand goes into the exponent, and from the largest exponent to infinity. A subnormal
     * number lacks the leading bit, and with it the exponent's one. */
    const int bits = static_cast<int>(whole) + (up ? 1 : 0) + ((exponent + bias() - 1) << stored());
    return static_cast<uint16_t>(sign | bits);
  }
};

constexpr SmallFloat kHalf{11}, kBfloat16{8};

/* The last bit of a result that was not exact is made odd, so that a second rounding, to at least two bits fewer, is as
 * good as one (rounding to odd). `error` is what the exact value has more. */
inline double odd(double rounded, double error) {
  if (error == 0 || std::isinf(rounded)) return rounded;
  uint64_t bits;
  static_assert(sizeof bits == sizeof rounded, "bits of a double");
  __builtin_memcpy(&bits, &rounded, sizeof bits);
  if ((bits & 1) != 0) return rounded;
  return std::nextafter(rounded, error > 0 ? INFINITY : -INFINITY);
}

/* a + b with its last bit odd if it is not exact. (Knuth's error of a sum is exact.) */
inline double odd_sum(double a, double b) {
  const double sum = a + b, part = sum - a, error = (a - (sum - part)) + (b - part);
  return std::isfinite(sum) ? odd(sum, error) : sum;
}

/* An integer of 64 bits likewise. */
template <typename Integer>
double odd_integer(Integer x) {
  const bool negative = x < 0;
  uint64_t magnitude = negative ? uint64_t{0} - static_cast<uint64_t>(x) : static_cast<uint64_t>(x);
  if ((magnitude >> 53) != 0 && (magnitude & 0x7ff) != 0)
    magnitude = (magnitude & ~uint64_t{0x7ff}) | 0x800;
  else if ((magnitude >> 53) != 0)
    magnitude &= ~uint64_t{0x7ff};
  return negative ? -static_cast<double>(magnitude) : static_cast<double>(magnitude);
}

}  // namespace foreign

#endif
