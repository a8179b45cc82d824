/* noprop/counts.h: what the virtual GPU counted, the GPUs to judge it by, occupancy and bounds of time. */
#include "noprop/counts.h"

#include <math.h>
#include <stdio.h>

#include "engine/status.h"
#include "engine/vgpu/count.h"
#include "engine/vgpu/gpus.h"

int noprop_counts(noprop_kernel_counts *counts, int capacity) { return vgpu_counts(counts, capacity); }
void noprop_counts_reset(void) { vgpu_counts_reset(); }
unsigned long long noprop_counts_unwritten_bytes(void) { return vgpu_counts_unwritten_bytes(); }

const noprop_gpu *noprop_gpu_at(int index) { return vgpu_gpu_at(index); }

noprop_status noprop_gpu_find(const char *name, const noprop_gpu **gpu) {
  if (name == NULL || gpu == NULL) return status_set(NOPROP_INVALID_ARGUMENT, "noprop_gpu_find: an argument is NULL");
  *gpu = vgpu_gpu_find(name);
  if (*gpu != NULL) return NOPROP_OK;
  char names[400] = "";
  size_t length = 0;
  for (int i = 0; vgpu_gpu_at(i) != NULL && length < sizeof names; i++)
    length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", vgpu_gpu_at(i)->name);
  return status_set(NOPROP_INVALID_ARGUMENT, "there are no figures of a GPU \"%s\"; there are %s", name, names);
}

/* ---- occupancy ------------------------------------------------------------------------------------------------- */

static int divide_up(int a, int b) { return (a + b - 1) / b; }

/* Blocks per multiprocessor by registers: warps get registers in units of 256, and each of the four parts of a
 * multiprocessor has a quarter of them (cuda_occupancy.h). */
static int blocks_by_registers(const noprop_gpu *gpu, int registers, int warps) {
  enum { UNIT = 256, PARTS = 4 };
  if (registers == 0) return gpu->blocks_per_sm;
  const int of_a_warp = divide_up(registers * 32, UNIT) * UNIT;
  const int warps_of_a_part = gpu->registers_per_sm / PARTS / of_a_warp;
  return warps_of_a_part * PARTS / warps;
}

static void find_occupancy(const noprop_kernel_counts *counts, const noprop_gpu *gpu, noprop_bounds *bounds) {
  const int threads = (int)(counts->block[0] * counts->block[1] * counts->block[2]);
  const int warps = threads > 0 ? divide_up(threads, 32) : 1;
  const int shared =
      divide_up((int)(counts->static_shared + counts->dynamic_shared) + gpu->shared_overhead, gpu->shared_unit) *
      gpu->shared_unit;
  const struct {
    int blocks;
    const char *name;
  } limits[] = {{gpu->blocks_per_sm, "blocks"},
                {gpu->threads_per_sm / 32 / warps, "threads"},
                {blocks_by_registers(gpu, (int)counts->registers, warps), "registers"},
                {shared ? gpu->shared_per_sm / shared : gpu->blocks_per_sm, "shared memory"}};
  bounds->resident_blocks = limits[0].blocks;
  bounds->occupied_by = limits[0].name;
  for (int i = 1; i < 4; i++) {
    if (limits[i].blocks >= bounds->resident_blocks) continue;
    bounds->resident_blocks = limits[i].blocks;
    bounds->occupied_by = limits[i].name;
  }
  bounds->occupancy = bounds->resident_blocks * warps * 32.0 / gpu->threads_per_sm;
}

/* ---- bounds ---------------------------------------------------------------------------------------------------- */

static double most_of(double a, double b) { return a > b ? a : b; }

/* Seconds for `amount` at `rate`; what there is none of takes no time at any rate. */
static double time_of(double amount, double rate) { return amount == 0 ? 0 : rate > 0 ? amount / rate : -1; }

/* mma on the published types; others have no figure here. */
static double tensor_time(const noprop_kernel_counts *counts, const noprop_gpu *gpu) {
  const double times[] = {
      time_of((double)counts->tensor_f16_flop, gpu->tensor_f16.value),
      time_of((double)counts->tensor_bf16_flop, gpu->tensor_bf16.value),
      time_of((double)counts->tensor_tf32_flop, gpu->tensor_tf32.value),
      time_of((double)counts->tensor_f64_flop + (double)counts->tensor_fp8_flop + (double)counts->tensor_integer_op,
              0)};
  double sum = 0;
  for (int i = 0; i < 4; i++) {
    if (times[i] < 0) return -1;
    sum += times[i];
  }
  return sum;
}

/* Blocks of a launch are alike and go round over the multiprocessors. */
static double placed_issue(const noprop_kernel_counts *counts, const noprop_gpu *gpu) {
  if (counts->launches == 0 || counts->blocks == 0) return 0;
  const double blocks = (double)counts->blocks / (double)counts->launches;
  const double of_a_block = (double)counts->warp_instructions / (double)counts->blocks;
  return time_of((double)counts->launches * ceil(blocks / gpu->multiprocessors.value) * of_a_block,
                 gpu->issue_per_clock.value * gpu->clock.value);
}

void noprop_counts_bound(const noprop_kernel_counts *counts, double host_launches, const noprop_gpu *gpu,
                         noprop_bounds *bounds) {
  *bounds = (noprop_bounds){0};
  const double clocks = gpu->multiprocessors.value * gpu->clock.value;
  /* Each free addition may take in one free multiplication. */
  const double rounded = (double)(counts->fp32_add - counts->fp32_add_free + counts->fp32_mul - counts->fp32_mul_free);
  const double fused =
      (double)counts->fp32_fma + rounded + most_of((double)counts->fp32_add_free, (double)counts->fp32_mul_free);
  bounds->tensor = tensor_time(counts, gpu);
  bounds->fma = time_of(fused, gpu->fma_per_clock.value * clocks);
  bounds->special = time_of((double)counts->special_functions, gpu->special_per_clock.value * clocks);
  bounds->shared = time_of((double)counts->shared_least_wavefronts, clocks * gpu->shared_per_clock.value / 128);
  /* An L1 can keep what was loaded once; stores and atomics go through to the L2. The DRAM has to deliver what misses
   * the L2 and take what the L2 writes back. */
  const double l2_sectors = (double)counts->distinct_loaded_sectors + (double)counts->global_store_sectors +
                            (double)counts->global_atomic_sectors;
  bounds->l2 = time_of(32 * l2_sectors, gpu->l2_bandwidth.value);
  bounds->dram =
      time_of((double)counts->dram_read_bytes + (double)counts->dram_written_bytes, gpu->dram_bandwidth.value);
  bounds->launch = time_of(host_launches, 1 / gpu->launch.value);
  bounds->issue = time_of((double)counts->warp_instructions, gpu->issue_per_clock.value * clocks);
  bounds->placed_issue = placed_issue(counts, gpu);
  bounds->largest = -1;
#define LARGEST(name, meaning)          \
  if (bounds->name > bounds->largest) { \
    bounds->largest = bounds->name;     \
    bounds->largest_name = meaning;     \
  }
  NOPROP_BOUNDS(LARGEST)
#undef LARGEST
  find_occupancy(counts, gpu, bounds);
}
