/* fuzz.h: mma in the ways that the PTX manual leaves open.
 *
 * "The accumulation order, rounding and handling of subnormal inputs are unspecified", it says of floating-point types
 * but f64; sums of f32 are at least of single precision. matrix.h's product is a chain from C on through k in order.
 * Columns of A and rows of B can be renumbered together without changing the exact product, so another order is the
 * same chain on operands whose lanes, registers and halves have changed places. */
#include <fenv.h>
#include <string.h>

#include "engine/vgpu/fuzz.h"
#include "engine/vgpu/matrix.h"

enum { LANES_OF_WARP = 32 };

struct registers {
  uint32_t lanes[MATRIX_REGISTERS][LANES_OF_WARP] __attribute__((aligned(64)));
};

bool fuzz_is_open_matrix(const struct ptx_instruction *mma) {
  switch (mma->matrix.a) {
    case PTX_F16:
    case PTX_BF16:
    case PTX_TF32:
    case PTX_E4M3:
    case PTX_E5M2:
      return true;
    default:
      return false;
  }
}

/* A permutation of 0 .. count-1 (at most 4), one of all by `random`. */
static void permutation(unsigned count, uint64_t random, unsigned order[4]) {
  for (unsigned i = 0; i < count; i++) order[i] = i;
  for (unsigned i = count; i > 1; i--) {
    const unsigned j = (unsigned)(random % i), kept = order[i - 1];
    random /= i;
    order[i - 1] = order[j];
    order[j] = kept;
  }
}

/* Elements of 16 or 8 bits in a register, in reverse order. */
static uint32_t reversed(uint32_t word, unsigned type) {
  if (type == PTX_F16 || type == PTX_BF16) return word >> 16 | word << 16;
  return type == PTX_TF32 ? word : __builtin_bswap32(word);
}

/* The operand of `count` registers with its k renumbered: `rows` registers belong to the same four columns. */
static void renumber(uint32_t (*to)[LANES_OF_WARP], const void *const *from, unsigned count, unsigned rows,
                     unsigned type, uint64_t random) {
  unsigned quad[4], groups[4];
  permutation(4, random, quad);
  permutation(count / rows, random >> 8, groups);
  const bool reverse = random >> 16 & 1;
  for (unsigned r = 0; r < count; r++) {
    const uint32_t *source = from[groups[r / rows] * rows + r % rows];
    for (unsigned l = 0; l < LANES_OF_WARP; l++) {
      const uint32_t word = source[(l & ~3u) | quad[l & 3]];
      to[r][l] = reverse ? reversed(word, type) : word;
    }
  }
}

/* To the nearest tf32, halves away from zero, as cvt.rna does; infinities and NaN as they are. */
static uint32_t nearest_tf32(uint32_t word) {
  return (word & 0x7f800000u) == 0x7f800000u ? word : (word + 0x1000u) & ~0x1fffu;
}

static float float_at(const void *lanes, unsigned l) {
  float x;
  memcpy(&x, (const char *)lanes + 4 * l, sizeof x);
  return x;
}

void fuzz_mma(const struct ptx_instruction *mma, uint64_t seed, const void *const *sources, void *const *results) {
  const struct ptx_matrix *matrix = &mma->matrix;
  const unsigned a = matrix->a_count, b = matrix->b_count, c = matrix->c_count;
  const uint64_t random = fuzz_mix(seed, (uint64_t)matrix->a << 32 | (uint64_t)matrix->m << 16 | matrix->k);
  const bool renumbers = !(matrix->m == 8 && matrix->a == PTX_F16); /* that form has places of its own */
  const bool c_last = (random >> 24 & 1) && matrix->c == PTX_F32 && matrix->d == PTX_F32;
  const bool truncates = random >> 25 & 1, rounds_operands = (random >> 26 & 1) && matrix->a == PTX_TF32;
  struct registers copies = {0}, sum = {0};
  const void *inputs[MATRIX_REGISTERS];
  void *outputs[MATRIX_REGISTERS];
  for (unsigned r = 0; r < a + b + c; r++) {
    memcpy(copies.lanes[r], sources[r], sizeof copies.lanes[r]);
    inputs[r] = copies.lanes[r];
  }
  if (renumbers) {
    renumber(copies.lanes, sources, a, matrix->m / 8u, matrix->a, random);
    renumber(copies.lanes + a, sources + a, b, 1, matrix->b, random);
  }
  for (unsigned r = 0; rounds_operands && r < a + b; r++)
    for (unsigned l = 0; l < LANES_OF_WARP; l++) copies.lanes[r][l] = nearest_tf32(copies.lanes[r][l]);
  for (unsigned r = 0; c_last && r < c; r++) memset(copies.lanes[a + b + r], 0, sizeof copies.lanes[r]);
  for (unsigned r = 0; r < mma->dst_count; r++) outputs[r] = sum.lanes[r];
  const int before = fegetround();
  if (truncates) fesetround(FE_TOWARDZERO);
  vgpu_mma(mma, inputs, outputs);
  for (unsigned r = 0; c_last && r < c; r++) {
    for (unsigned l = 0; l < LANES_OF_WARP; l++) {
      const float x = float_at(sum.lanes[r], l) + float_at(sources[a + b + r], l);
      memcpy(&sum.lanes[r][l], &x, sizeof x);
      if (x != x) sum.lanes[r][l] = 0x7fffffffu;
    }
  }
  fesetround(before);
  for (unsigned r = 0; r < mma->dst_count; r++) memcpy(results[r], sum.lanes[r], sizeof sum.lanes[r]);
}
