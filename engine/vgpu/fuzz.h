/* `fuzz` mode: what hardware leaves open, chosen at random by a seed (NOPROP_VGPU_SEED, default 1).
 *
 * NOPROP_VGPU_FUZZ lists what is varied, separated by commas (default: all of it):
 *   order        several blocks are under way at once, and which of them, and which warp, executes how many
 * instructions next is random; so is the order of lanes in an atomic operation, and which of several lanes that store
 *                to one place is last. Blocks begin in their order, a few dozen at most at once, so that a block may
 * wait for an earlier one. approximate  results of approximate instructions, inside the bounds that the PTX manual
 * states matrix       mma on floating-point elements: the order of its sum, whether C comes first or last, rounding to
 *                nearest or toward zero, and what becomes of the bits of tf32 operands that the format does not have
 * One seed stands for one GPU: the same operands always give the same approximation. Everything runs on one CPU thread,
 * so that a seed repeats exactly. NOPROP_VGPU_REPORT names a file that is told in the end what was varied how often. */
#ifndef VGPU_FUZZ_H
#define VGPU_FUZZ_H

#include "engine/vgpu/ir.h"

enum fuzz_what { FUZZ_ORDER = 1, FUZZ_APPROXIMATE = 2, FUZZ_MATRIX = 4, FUZZ_ALL = 7 };

/* From now on this seed and this choice, beginning anew. No launch may be under way. */
void fuzz_set(uint64_t seed, unsigned what);

/* How often something was varied since then. */
struct fuzz_report {
  uint64_t seed;
  unsigned what;
  uint64_t launches, turns, block_turns, shuffled_accesses, approximations, moved, matrices;
};
struct fuzz_report fuzz_report(void);

/* ---- parts ---- */

/* A 64-bit hash of two words that passes for random: the finalizer of SplitMix64. */
uint64_t fuzz_mix(uint64_t a, uint64_t b);

/* Another value that the instruction may give for these operands (bits of registers) on the GPU that `seed` stands for;
 * `result` itself where the manual fixes the value or states no bound: infinities, NaN, zeros, sin and cos outside
 * [-100 pi, 100 pi]. Instructions: ex2, lg2, sin, cos, tanh, rcp, rsqrt, sqrt with .approx, and div with .approx or
 * .full, all of type f32; ex2 and tanh of half and bfloat16 and their pairs. */
uint32_t fuzz_approximate(const struct ptx_instruction *instruction, uint64_t seed, uint32_t a, uint32_t b,
                          uint32_t result);
/* Whether the instruction is one of those. */
bool fuzz_is_approximate(const struct ptx_instruction *instruction);

/* As vgpu_mma, in another way that the manual leaves open: that of the GPU that `seed` stands for. */
void fuzz_mma(const struct ptx_instruction *mma, uint64_t seed, const void *const *sources, void *const *results);
/* Whether the manual leaves anything open: floating-point elements but f64. */
bool fuzz_is_open_matrix(const struct ptx_instruction *mma);

#endif
