/* What kernels did on the virtual GPU in its `count` mode (NOPROP_VGPU_MODE=count), and the lower bounds of time that
 * follow for a GPU with published figures. Counts are exact and do not depend on the number of CPU threads. A bound
 * says what a GPU cannot beat; it is never a measurement. */
#ifndef NOPROP_COUNTS_H
#define NOPROP_COUNTS_H

#include <noprop/device.h>
#include <noprop/status.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, meaning): all are sums over launches. "Warp instruction": a PTX instruction executed by a warp, once for all
 * its lanes, also if its guard is false in every lane. A global access is cut into 32-byte sectors, as the hardware's
 * coalescing does; shared memory has 32 banks of 4 bytes. */
/* clang-format off */
#define NOPROP_COUNTS(X) \
  X(launches, "kernel launches") \
  X(blocks, "blocks") \
  X(threads, "threads") \
  X(warp_instructions, "warp instructions of all classes") \
  X(active_lanes, "lanes active at them, whatever their guard") \
  X(thread_instructions, "lanes that executed them: active, and the guard true") \
  X(integer_instructions, "warp instructions: integer and bit arithmetic, address arithmetic") \
  X(fp32_instructions, "warp instructions: 32-bit floating point, without special functions and conversions") \
  X(fp64_instructions, "warp instructions: 64-bit floating point") \
  X(fp16_instructions, "warp instructions: half and bfloat16 arithmetic") \
  X(special_instructions, "warp instructions: ex2, lg2, sin, cos, tanh, rcp, rsqrt, sqrt, and division of floats") \
  X(conversion_instructions, "warp instructions: cvt") \
  X(move_instructions, "warp instructions: moves, selections, comparisons, logic of predicates") \
  X(exchange_instructions, "warp instructions: shfl, vote, match, redux, activemask, elect, bar.warp") \
  X(load_instructions, "warp instructions: loads, also cp.async and ldmatrix, but not of parameters and constants") \
  X(store_instructions, "warp instructions: stores") \
  X(atomic_instructions, "warp instructions: atomic operations and reductions") \
  X(constant_instructions, "warp instructions: loads of parameters and constants") \
  X(matrix_instructions, "warp instructions: mma") \
  X(control_instructions, "warp instructions: branches, ret, exit, trap") \
  X(barrier_instructions, "warp instructions: block-wide barriers, that is arrivals of warps") \
  X(other_instructions, "warp instructions: fences, prefetches, printf, the rest") \
  X(fp32_fma, "lanes: fused multiply-adds") \
  X(fp32_add, "lanes: additions and subtractions") \
  X(fp32_mul, "lanes: multiplications") \
  X(fp32_add_free, "lanes: those additions that a compiler may still fuse (without an explicit rounding)") \
  X(fp32_mul_free, "lanes: those multiplications that a compiler may still fuse") \
  X(fp32_other, "lanes: the other fp32 instructions (min, max, abs, neg, ...)") \
  X(fp64_flop, "floating-point operations: fma counts two, add and mul one per lane") \
  X(fp16_flop, "likewise for half and bfloat16, two lanes' worth for the x2 forms") \
  X(special_functions, "lanes: special functions") \
  X(conversions, "lanes: conversions") \
  X(tensor_f16_flop, "floating-point operations of mma, f16 operands") \
  X(tensor_bf16_flop, "likewise bf16") \
  X(tensor_tf32_flop, "likewise tf32") \
  X(tensor_f64_flop, "likewise f64") \
  X(tensor_fp8_flop, "likewise 8-bit floating point") \
  X(tensor_integer_op, "integer operations of mma") \
  X(global_load_requests, "warp accesses: loads from global memory") \
  X(global_load_bytes, "bytes that lanes asked for") \
  X(global_load_sectors, "32-byte sectors of these requests") \
  X(global_store_requests, "warp accesses: stores to global memory") \
  X(global_store_bytes, "bytes that lanes stored") \
  X(global_store_sectors, "32-byte sectors of these requests") \
  X(global_atomic_requests, "warp accesses: atomic operations on global memory") \
  X(global_atomic_bytes, "bytes that lanes worked on") \
  X(global_atomic_sectors, "32-byte sectors of these requests") \
  X(distinct_bytes, "different bytes of global memory touched, summed over launches: the compulsory traffic") \
  X(distinct_loaded_bytes, "different bytes loaded") \
  X(distinct_stored_bytes, "different bytes stored or worked on by atomics") \
  X(distinct_loaded_sectors, "different 32-byte sectors loaded") \
  X(l2_sectors, "sectors asked of the named GPU's L2: every global access, as if there were no L1") \
  X(l2_misses, "sectors among them that the L2 fetched or had to make room for") \
  X(dram_read_bytes, "bytes read from DRAM behind that L2") \
  X(dram_written_bytes, "bytes written back to DRAM when it made room") \
  X(shared_requests, "warp accesses to shared memory") \
  X(shared_bytes, "bytes that lanes accessed there") \
  X(shared_wavefronts, "wavefronts: passes through the banks") \
  X(shared_conflicts, "wavefronts more than without bank conflicts") \
  X(shared_least_wavefronts, "wavefronts if lanes of an access could be grouped at will: what a bound may use") \
  X(local_requests, "warp accesses to local memory") \
  X(local_bytes, "bytes that lanes accessed there") \
  X(branches, "conditional branches executed by warps") \
  X(divergent_branches, "those that sent lanes both ways")
/* clang-format on */

typedef struct {
  char kernel[128];
  unsigned block[3];      /* threads */
  unsigned grid[3];       /* of the last launch */
  unsigned static_shared; /* bytes */
  unsigned dynamic_shared;
  unsigned local_memory; /* bytes per thread */
  unsigned registers;    /* per thread: of ptxas where the toolkit is there, else what the PTX keeps alive at once */
  bool registers_are_compiled;
#define NOPROP_COUNT_MEMBER(name, meaning) unsigned long long name;
  NOPROP_COUNTS(NOPROP_COUNT_MEMBER)
#undef NOPROP_COUNT_MEMBER
} noprop_kernel_counts;

/* What was counted since the start or the last reset, one record per kernel, block size and shared memory, in the order
 * of first launches: at most `capacity` records; returns how many there are. 0 unless the virtual GPU counts. The
 * counts are those of the process, of launches that have ended. The virtual GPU's libcuda.so.1 exports both functions,
 * too, as noprop_vgpu_counts and noprop_vgpu_counts_reset, for programs that use it without this library. */
NOPROP_API int noprop_counts(noprop_kernel_counts *counts, int capacity);
/* Starts anew, with an empty L2. No launch may be under way. */
NOPROP_API void noprop_counts_reset(void);
/* Bytes that the named GPU's L2 holds and has not written to DRAM yet; 0 if no GPU is named. */
NOPROP_API unsigned long long noprop_counts_unwritten_bytes(void);

/* ---- GPUs by their published figures ---- */

/* A figure with its source: a document of NVIDIA's, or a paper. Figures that nobody published are 0 and NULL. */
typedef struct {
  double value;
  const char *source;
} noprop_gpu_figure;

/* X(name, unit, meaning) */
/* clang-format off */
#define NOPROP_GPU_FIGURES(X) \
  X(multiprocessors, "", "streaming multiprocessors") \
  X(clock, "Hz", "boost clock") \
  X(peak_fp32, "FLOP/s", "fp32 without tensor cores") \
  X(fma_per_clock, "1/clock/SM", "fp32 fused multiply-adds, multiplications or additions") \
  X(special_per_clock, "1/clock/SM", "special functions") \
  X(shared_per_clock, "bytes/clock/SM", "shared memory") \
  X(tensor_f16, "FLOP/s", "dense mma on f16 with accumulation in fp32") \
  X(tensor_bf16, "FLOP/s", "dense mma on bf16") \
  X(tensor_tf32, "FLOP/s", "dense mma on tf32") \
  X(l2_bytes, "bytes", "size of the L2") \
  X(l2_bandwidth, "bytes/s", "reads from the L2") \
  X(dram_bandwidth, "bytes/s", "DRAM") \
  X(launch, "s", "time that the host needs to launch a graph of kernels, or one alone") \
  X(issue_per_clock, "1/clock/SM", "warp instructions issued")
/* clang-format on */

typedef struct {
  const char *name;     /* "h100-sxm" */
  const char *title;    /* "NVIDIA H100 SXM5 80 GB" */
  int capability;       /* 90 */
  int threads_per_sm;   /* resident at most; CUDA C++ Programming Guide, compute capabilities */
  int blocks_per_sm;    /* likewise */
  int registers_per_sm; /* likewise, of 32 bits */
  int shared_per_sm;    /* likewise, bytes */
  int shared_unit;      /* bytes that an allocation is rounded up to */
  int shared_overhead;  /* bytes that the system takes of every block */
#define NOPROP_GPU_MEMBER(name, unit, meaning) noprop_gpu_figure name;
  NOPROP_GPU_FIGURES(NOPROP_GPU_MEMBER)
#undef NOPROP_GPU_MEMBER
} noprop_gpu;

/* The index-th GPU of the table, or NULL past its end. */
NOPROP_API const noprop_gpu *noprop_gpu_at(int index);
/* By name, whatever its case, spaces, hyphens and underscores. Unknown: an error that lists the names. */
NOPROP_API noprop_status noprop_gpu_find(const char *name, const noprop_gpu **gpu);

/* ---- bounds ---- */

/* X(name, what it bounds) */
/* clang-format off */
#define NOPROP_BOUNDS(X) \
  X(tensor, "tensor") \
  X(fma, "FMA") \
  X(special, "special functions") \
  X(shared, "shared memory") \
  X(l2, "L2") \
  X(dram, "DRAM") \
  X(launch, "launch")
/* clang-format on */

/* Seconds; negative where the GPU's figure is not published. */
typedef struct {
#define NOPROP_BOUND_MEMBER(name, meaning) double name;
  NOPROP_BOUNDS(NOPROP_BOUND_MEMBER)
#undef NOPROP_BOUND_MEMBER
  double largest;
  const char *largest_name;
  /* Time to issue the PTX's warp instructions, one per scheduler and clock. Not among the bounds: the machine's
   * instructions are others (fewer moves and address calculations, more for divisions). */
  double issue;
  /* The same with whole blocks: a multiprocessor that gets two of them issues the instructions of two, and those
   * without a block issue nothing. Far more than `issue` where a launch has few blocks. */
  double placed_issue;
  /* Occupancy in theory: what registers, shared memory and block size leave. */
  int resident_blocks;     /* per multiprocessor */
  double occupancy;        /* resident threads over the most */
  const char *occupied_by; /* what limits it: "registers", "shared memory", "threads", "blocks" */
} noprop_bounds;

/* The least time that the GPU can need for what was counted, spread evenly over all multiprocessors. host_launches:
 * kernels that the host launches one by one, and graphs; 0 for kernels that a graph launches. */
NOPROP_API void noprop_counts_bound(const noprop_kernel_counts *counts, double host_launches, const noprop_gpu *gpu,
                                    noprop_bounds *bounds);

#ifdef __cplusplus
}
#endif
#endif
