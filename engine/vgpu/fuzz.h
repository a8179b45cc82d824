/* `fuzz` mode: what hardware leaves open, chosen at random by a seed (NOPROP_VGPU_SEED, default 1).
 *
 * NOPROP_VGPU_FUZZ lists what is varied, separated by commas (default: all of it):
 *   order        which block runs next, which warp of it, and for how long, so also the order of atomic operations
 *   approximate  results of approximate instructions, inside the bounds that the PTX manual states
 * One seed stands for one GPU: the same operands always give the same approximation. Everything runs on one CPU thread,
 * so that a seed repeats exactly. */
#ifndef VGPU_FUZZ_H
#define VGPU_FUZZ_H

#include "engine/vgpu/ir.h"

/* A 64-bit hash of two words that passes for random: the finalizer of SplitMix64. */
uint64_t fuzz_mix(uint64_t a, uint64_t b);

/* Another value that the instruction may give for these operands (bits of f32) on the GPU that `seed` stands for;
 * `result` itself where the manual fixes the value or states no bound: infinities, NaN, zeros, sin and cos outside
 * [-100 pi, 100 pi]. Instructions: ex2, lg2, sin, cos, tanh, rcp, rsqrt, sqrt with .approx, and div with .approx or
 * .full, all of type f32. */
uint32_t fuzz_approximate(const struct ptx_instruction *instruction, uint64_t seed, uint32_t a, uint32_t b,
                          uint32_t result);
/* Whether the instruction is one of those. */
bool fuzz_is_approximate(const struct ptx_instruction *instruction);

#endif
