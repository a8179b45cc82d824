/* Philox4x32, uniforms, normals and dropout masks. */
#include "tests/reference/random.h"

#include <cmath>

namespace reference {

using std::cos, std::log, std::sin, std::sqrt;

Words philox(const Words &counter, const std::array<uint32_t, 2> &key, int rounds) {
  Words c = counter;
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < rounds; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9; /* golden ratio */
    k1 += 0xBB67AE85; /* sqrt(3) - 1 */
  }
  return c;
}

Words draw(uint64_t seed, Stream stream, uint32_t index, uint32_t row, uint32_t step, uint32_t layer, uint32_t number) {
  return philox({index, row, static_cast<uint32_t>(stream) | layer << 8 | number << 16, step},
                {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

double uniform01(uint32_t word) {
  const float sum = static_cast<float>(word >> 8) + 0.5f;
  return static_cast<double>(sum) / 16777216.0;
}

template <typename Real>
std::vector<Real> uniforms(uint64_t seed, uint32_t step, long rows, bool low_discrepancy, uint32_t number) {
  std::vector<Real> u;
  for (long i = 0; i < rows; ++i) {
    const uint32_t row = low_discrepancy ? 0 : static_cast<uint32_t>(i);
    Real v = uniform01(draw(seed, kTime, 0, row, step, 0, number)[0]);
    if (low_discrepancy) {
      v += Real(static_cast<double>(i)) / Real(static_cast<double>(rows));
      v -= std::floor(value_of(v));
    }
    u.push_back(v);
  }
  return u;
}

template <typename Real>
std::vector<Real> normals(uint64_t seed, Stream stream, uint32_t row, uint32_t step, long count, uint32_t number,
                          uint32_t layer) {
  std::vector<Real> n;
  for (long i = 0; i < count; ++i) {
    const Words w = draw(seed, stream, static_cast<uint32_t>(i / 4), row, step, layer, number);
    const size_t pair = static_cast<size_t>(i % 4 / 2) * 2;
    const Real radius = sqrt(-2.0 * log(Real(uniform01(w[pair]))));
    const Real angle = 2 * M_PI * Real(uniform01(w[pair + 1]));
    n.push_back(radius * (i % 2 == 0 ? cos(angle) : sin(angle)));
  }
  return n;
}

template std::vector<double> uniforms(uint64_t, uint32_t, long, bool, uint32_t);
template std::vector<Tracked> uniforms(uint64_t, uint32_t, long, bool, uint32_t);
template std::vector<double> normals(uint64_t, Stream, uint32_t, uint32_t, long, uint32_t, uint32_t);
template std::vector<Tracked> normals(uint64_t, Stream, uint32_t, uint32_t, long, uint32_t, uint32_t);

static uint32_t threshold(double dropout) { return static_cast<uint32_t>(std::lround(dropout * 65536)); }

std::vector<bool> keep_mask(uint64_t seed, uint32_t row, uint32_t step, uint32_t layer, uint32_t number, long count,
                            double dropout) {
  std::vector<bool> keep(static_cast<size_t>(count));
  for (long i = 0; i < count; ++i) {
    const Words w = draw(seed, kDropout, static_cast<uint32_t>(i / 8), row, step, layer, number);
    const uint32_t word = w[static_cast<size_t>(i % 8 / 2)];
    const uint32_t bits = i % 2 == 0 ? word & 0xffff : word >> 16;
    keep[static_cast<size_t>(i)] = bits >= threshold(dropout);
  }
  return keep;
}

double keep_scale(double dropout) { return 1 / (1 - threshold(dropout) / 65536.0); }

}  // namespace reference
