/* count.h: the records, the launch that is being counted, and the report at the end. */
#include "engine/vgpu/count.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/count_model.h"
#include "engine/vgpu/gpus.h"
#include "engine/vgpu/registers.h"
#include "engine/vgpu/report.h"

/* ---- records ---- */

static pthread_mutex_t records_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  noprop_kernel_counts *list;
  int count, capacity;
} records;

static bool same_configuration(const noprop_kernel_counts *a, const noprop_kernel_counts *b) {
  return strcmp(a->kernel, b->kernel) == 0 && memcmp(a->block, b->block, sizeof a->block) == 0 &&
         a->static_shared == b->static_shared && a->dynamic_shared == b->dynamic_shared &&
         a->registers == b->registers && a->local_memory == b->local_memory;
}

/* Adds the counts of a launch to those of its kernel. */
static void add_launch(const noprop_kernel_counts *launch) {
  int i = 0;
  while (i < records.count && !same_configuration(&records.list[i], launch)) i++;
  if (i == records.capacity) {
    const int capacity = records.capacity ? 2 * records.capacity : 16;
    noprop_kernel_counts *larger = realloc(records.list, (size_t)capacity * sizeof *larger);
    if (larger == NULL) return;
    records.list = larger;
    records.capacity = capacity;
  }
  if (i == records.count) {
    records.list[records.count++] = *launch;
    return;
  }
  noprop_kernel_counts *sum = &records.list[i];
  memcpy(sum->grid, launch->grid, sizeof sum->grid);
#define ADD(name, meaning) sum->name += launch->name;
  NOPROP_COUNTS(ADD)
#undef ADD
}

int vgpu_counts(noprop_kernel_counts *counts, int capacity) {
  pthread_mutex_lock(&records_lock);
  const int count = records.count;
  for (int i = 0; i < count && i < capacity; i++) counts[i] = records.list[i];
  pthread_mutex_unlock(&records_lock);
  return count;
}

/* ---- registers of the kernels of loaded modules ---- */

struct known_registers {
  struct known_registers *next;
  char kernel[256];
  const struct ptx_module *module;
  unsigned registers;
};

static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;
static struct known_registers *known;

static void note_registers(void *context, const char *kernel, unsigned registers) {
  const struct ptx_module *module = context;
  struct known_registers *entry = calloc(1, sizeof *entry);
  if (entry == NULL) return;
  snprintf(entry->kernel, sizeof entry->kernel, "%s", kernel);
  entry->module = module;
  entry->registers = registers;
  pthread_mutex_lock(&known_lock);
  entry->next = known;
  known = entry;
  pthread_mutex_unlock(&known_lock);
}

static const noprop_gpu *named_gpu(void) {
  const char *name = getenv("NOPROP_VGPU_GPU");
  return name != NULL && name[0] != '\0' ? vgpu_gpu_find(name) : NULL;
}

/* A module may have the address of one that is gone. */
static void forget_registers(const struct ptx_module *module) {
  pthread_mutex_lock(&known_lock);
  for (struct known_registers **place = &known; *place != NULL;) {
    struct known_registers *entry = *place;
    if (entry->module != module) {
      place = &entry->next;
      continue;
    }
    *place = entry->next;
    free(entry);
  }
  pthread_mutex_unlock(&known_lock);
}

void count_module(const struct ptx_module *module, const char *text) {
  const noprop_gpu *gpu = named_gpu();
  int capability = gpu != NULL ? gpu->capability : vgpu_capability();
  if (capability < (int)module->target) capability = (int)module->target; /* the least that ptxas takes */
  forget_registers(module);
  registers_compile(text, capability, note_registers, (void *)(uintptr_t)module);
}

static void find_registers(const struct ptx_function *function, noprop_kernel_counts *counts) {
  pthread_mutex_lock(&known_lock);
  const struct known_registers *entry = known;
  while (entry != NULL && (entry->module != function->module || strcmp(entry->kernel, function->name) != 0))
    entry = entry->next;
  pthread_mutex_unlock(&known_lock);
  counts->registers_are_compiled = entry != NULL;
  counts->registers = entry != NULL ? entry->registers : registers_alive(function);
}

/* ---- the launch that is being counted: one at a time ---- */

static struct {
  noprop_kernel_counts counts;
  struct l2_cache *l2;
  struct touched *touched;
  bool l2_is_chosen;
} now;

void vgpu_counts_reset(void) {
  pthread_mutex_lock(&records_lock);
  records.count = 0;
  l2_destroy(now.l2);
  now.l2 = NULL;
  now.l2_is_chosen = false;
  pthread_mutex_unlock(&records_lock);
}

unsigned long long vgpu_counts_unwritten_bytes(void) {
  pthread_mutex_lock(&records_lock);
  const unsigned long long bytes = now.l2 != NULL ? l2_dirty_bytes(now.l2) : 0;
  pthread_mutex_unlock(&records_lock);
  return bytes;
}

noprop_kernel_counts *count_begin(const struct vgpu_launch *launch) {
  const struct ptx_function *function = launch->function;
  noprop_kernel_counts *counts = &now.counts;
  *counts = (noprop_kernel_counts){.static_shared = function->shared_bytes,
                                   .dynamic_shared = launch->dynamic_shared,
                                   .local_memory = function->local_bytes,
                                   .launches = 1};
  snprintf(counts->kernel, sizeof counts->kernel, "%s", function->name);
  memcpy(counts->block, launch->block, sizeof counts->block);
  memcpy(counts->grid, launch->grid, sizeof counts->grid);
  find_registers(function, counts);
  counts->blocks = (unsigned long long)launch->grid[0] * launch->grid[1] * launch->grid[2];
  counts->threads = counts->blocks * launch->block[0] * launch->block[1] * launch->block[2];
  if (now.touched == NULL)
    now.touched = touched_create();
  else
    touched_clear(now.touched);
  if (!now.l2_is_chosen) {
    const noprop_gpu *gpu = named_gpu();
    if (gpu != NULL && gpu->l2_bytes.value > 0) now.l2 = l2_create((size_t)gpu->l2_bytes.value);
    now.l2_is_chosen = true;
  }
  return counts;
}

static void report_launch(const noprop_kernel_counts *counts);

void count_end(void) {
  if (now.touched != NULL) {
    const struct touched_sum sum = touched_count(now.touched);
    now.counts.distinct_bytes = sum.bytes;
    now.counts.distinct_loaded_bytes = sum.loaded;
    now.counts.distinct_stored_bytes = sum.stored;
    now.counts.distinct_loaded_sectors = sum.loaded_sectors;
  }
  report_launch(&now.counts);
  pthread_mutex_lock(&records_lock);
  add_launch(&now.counts);
  pthread_mutex_unlock(&records_lock);
}

/* ---- accesses ---- */

void count_global(enum count_access access, const uint64_t address[32], uint32_t mask, unsigned bytes) {
  noprop_kernel_counts *counts = &now.counts;
  uint64_t sectors[MOST_SECTORS];
  uint32_t touched[MOST_SECTORS];
  const unsigned count = count_sectors(address, mask, bytes, sectors, touched);
  const unsigned lane_bytes = (unsigned)__builtin_popcount(mask) * bytes;
  switch (access) {
    case COUNT_LOAD:
      counts->global_load_requests++;
      counts->global_load_bytes += lane_bytes;
      counts->global_load_sectors += count;
      break;
    case COUNT_STORE:
      counts->global_store_requests++;
      counts->global_store_bytes += lane_bytes;
      counts->global_store_sectors += count;
      break;
    case COUNT_ATOMIC:
      counts->global_atomic_requests++;
      counts->global_atomic_bytes += lane_bytes;
      counts->global_atomic_sectors += count;
      break;
  }
  struct l2_traffic traffic = {0};
  for (unsigned i = 0; i < count; i++) {
    if (now.touched != NULL)
      touched_add(now.touched, sectors[i], touched[i], access == COUNT_LOAD, access != COUNT_LOAD);
    if (now.l2 == NULL) continue;
    if (access == COUNT_LOAD) l2_read(now.l2, sectors[i], &traffic);
    if (access == COUNT_STORE) l2_write(now.l2, sectors[i], touched[i], &traffic);
    if (access == COUNT_ATOMIC) l2_update(now.l2, sectors[i], touched[i], &traffic);
  }
  counts->l2_sectors += traffic.sectors;
  counts->l2_misses += traffic.misses;
  counts->dram_read_bytes += traffic.read_bytes;
  counts->dram_written_bytes += traffic.written_bytes;
}

void count_shared(const uint64_t offset[32], uint32_t mask, unsigned bytes) {
  const struct bank_passes passes = count_bank_passes(offset, mask, bytes);
  now.counts.shared_requests++;
  now.counts.shared_bytes += (unsigned)__builtin_popcount(mask) * bytes;
  now.counts.shared_wavefronts += passes.wavefronts;
  now.counts.shared_conflicts += passes.wavefronts - passes.groups;
  now.counts.shared_least_wavefronts += passes.least;
}

void count_local(uint32_t mask, unsigned bytes) {
  now.counts.local_requests++;
  now.counts.local_bytes += (unsigned)__builtin_popcount(mask) * bytes;
}

/* ---- the report ---- */

static void write_record(FILE *file, const noprop_kernel_counts *counts, const char *kind) {
  fprintf(file, "{\"kind\": \"%s\", \"kernel\": \"%s\", \"block\": [%u, %u, %u], \"grid\": [%u, %u, %u], ", kind,
          counts->kernel, counts->block[0], counts->block[1], counts->block[2], counts->grid[0], counts->grid[1],
          counts->grid[2]);
  fprintf(file, "\"static_shared\": %u, \"dynamic_shared\": %u, \"local_memory\": %u, \"registers\": %u, ",
          counts->static_shared, counts->dynamic_shared, counts->local_memory, counts->registers);
  fprintf(file, "\"registers_from\": \"%s\"", counts->registers_are_compiled ? "ptxas" : "lifetimes in the PTX");
#define WRITE(name, meaning) fprintf(file, ", \"" #name "\": %llu", counts->name);
  NOPROP_COUNTS(WRITE)
#undef WRITE
  fputs("}\n", file);
}

static void write_totals(FILE *file) {
  pthread_mutex_lock(&records_lock);
  for (int i = 0; i < records.count; i++) write_record(file, &records.list[i], "kernel");
  pthread_mutex_unlock(&records_lock);
}

static void report_launch(const noprop_kernel_counts *counts) {
  FILE *file = report_open(write_totals);
  const char *each = getenv("NOPROP_VGPU_COUNT_LAUNCHES");
  if (file != NULL && each != NULL && strcmp(each, "1") == 0) write_record(file, counts, "launch");
}
