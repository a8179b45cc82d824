/* `count` mode: what kernels did, per kernel and per launch (noprop/counts.h says what is counted).
 *
 * NOPROP_VGPU_GPU names the GPU whose L2 the accesses go through (default: none, and no DRAM traffic is counted) and
 * for which ptxas compiles. NOPROP_VGPU_REPORT is a file that receives, when the program ends, one JSON object per
 * kernel; NOPROP_VGPU_COUNT_LAUNCHES=1 adds one per launch before them. Blocks run in their order on one CPU thread, so
 * that nothing depends on the number of threads: the L2 sees the accesses block after block. Copies and sets between
 * launches leave it as it is. */
#ifndef VGPU_COUNT_H
#define VGPU_COUNT_H

#include "engine/vgpu/executor.h"
#include "noprop/counts.h"

/* Records so far, as noprop_counts. */
int vgpu_counts(noprop_kernel_counts *counts, int capacity);
void vgpu_counts_reset(void);
unsigned long long vgpu_counts_unwritten_bytes(void);

/* Adds one warp instruction to the counts of its class: `active` lanes are here, `executing` of them have a true guard.
 * Accesses, branches and traffic are counted elsewhere. */
void count_instruction(noprop_kernel_counts *counts, const struct ptx_instruction *instruction, unsigned active,
                       unsigned executing);

enum count_access { COUNT_LOAD, COUNT_STORE, COUNT_ATOMIC };

/* An access of `bytes` bytes by each lane of the mask; addresses are pointers in global memory, offsets from the start
 * of the block's shared memory, anything in local memory. */
void count_global(enum count_access access, const uint64_t address[32], uint32_t mask, unsigned bytes);
void count_shared(const uint64_t offset[32], uint32_t mask, unsigned bytes);
void count_local(uint32_t mask, unsigned bytes);

/* The record that counts now: between count_begin and count_end. */
noprop_kernel_counts *count_begin(const struct vgpu_launch *launch);
void count_end(void);

/* Finds the registers of a module's kernels; called when it is loaded. */
void count_module(const struct ptx_module *module, const char *text);

#endif
