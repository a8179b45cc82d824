/* Counter-based random numbers: Philox4x32 and what the engine draws from it (Salmon et al., SC'11, "Parallel random
 * numbers: as easy as 1, 2, 3"). Nothing here depends on threads or order: a draw is named by seed, stream, row and
 * step. */
#ifndef TESTS_REFERENCE_RANDOM_H
#define TESTS_REFERENCE_RANDOM_H

#include <array>
#include <cstdint>
#include <vector>

#include "tests/reference/tracked.h"

namespace reference {

using Words = std::array<uint32_t, 4>;

/* Philox4x32 with `rounds` rounds (10 in the engine). key: low word first. */
Words philox(const Words &counter, const std::array<uint32_t, 2> &key, int rounds = 10);

/* Streams as kernels/arguments.h freezes them. */
enum Stream {
  kTime = 0,
  kNoise = 1,
  kEncoderNoise = 2,
  kEndNoise = 2 | 1 << 8, /* layer 1 of the same stream: what is left at t = 1 */
  kDropout = 3,
  kRowOrder = 4,
  kInitialise = 5,
  kProbe = 6,
  kSde = 7,
  kConditionDropout = 8,
  kAugmentation = 9,
  kStart = 11
};

/* counter = {index, row, stream | layer << 8 | draw << 16, step}, key = seed. */
Words draw(uint64_t seed, Stream stream, uint32_t index, uint32_t row, uint32_t step, uint32_t layer = 0,
           uint32_t number = 0);

/* ((w >> 8) + 1/2) 2^-24 in float32 arithmetic: the largest values round to 1. */
double uniform01(uint32_t word);

/* u for every row of a batch. Uniform: word 0 of each row; low discrepancy: frac(u + i/B) with u of row 0. */
template <typename Real>
std::vector<Real> uniforms(uint64_t seed, uint32_t step, long rows, bool low_discrepancy, uint32_t number = 0);

/* Standard normals of one row by Box-Muller; stream kNoise or kStart. */
template <typename Real>
std::vector<Real> normals(uint64_t seed, Stream stream, uint32_t row, uint32_t step, long count, uint32_t number = 0,
                          uint32_t layer = 0);

/* Dropout: true where a feature of one row is kept. threshold = round(p 65536); kept if its 16 bits reach it. */
std::vector<bool> keep_mask(uint64_t seed, uint32_t row, uint32_t step, uint32_t layer, uint32_t number, long count,
                            double dropout);
/* 1 / (1 - round(p 65536)/65536), the factor on what is kept. */
double keep_scale(double dropout);

}  // namespace reference

#endif
