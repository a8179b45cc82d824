/* noprop bench --counts: what the kernels of one step or solve do, counted by the virtual GPU, and the least time that
 * a named GPU can need for it. Nothing here is measured. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/bench.h"

enum { KERNELS_MOST = 64 };

int counts_begin(struct cli *cli) {
  const char *name = argument_text(cli, "--gpu", 0);
  const noprop_gpu *gpu = NULL;
  if (name != NULL && noprop_gpu_find(name, &gpu) != NOPROP_OK) return fail(cli, EXIT_USAGE, "%s", noprop_last_error());
  if (cli->device != NULL && strcmp(cli->device, "virtual") != 0 && strcmp(cli->device, "auto") != 0)
    return fail(cli, EXIT_USAGE, "--counts is for the virtual GPU; leave out --device %s", cli->device);
  cli->device = "virtual";
  setenv("NOPROP_VGPU_MODE", "count", 1);
  setenv("NOPROP_VGPU_GPU", gpu != NULL ? gpu->name : "", 1);
  if (gpu != NULL && gpu->capability > 86) { /* kernels as they are compiled for it; those of the library are for 8.6 */
    char capability[16];
    snprintf(capability, sizeof capability, "%d", gpu->capability);
    setenv("NOPROP_VGPU_CAPABILITY", capability, 1);
  }
  return EXIT_DONE;
}

/* ---- one step ---------------------------------------------------------------------------------------------------- */

struct counted {
  noprop_kernel_counts kernels[KERNELS_MOST];
  noprop_bounds bounds[KERNELS_MOST];
  int count;
  noprop_kernel_counts total;
  noprop_bounds total_bounds;
  double host_launches;
  /* What has to be done at least, and what was done of it. */
  double cold_dram;   /* bytes between an L2 that starts empty and DRAM, until all is written back */
  double compulsory;  /* bytes: sectors that each kernel has to read, bytes that it has to store */
  double least_flops; /* of the matrix products */
};

static void subtract(noprop_kernel_counts *from, const noprop_kernel_counts *what) {
#define SUBTRACT(name, meaning) from->name -= what->name;
  NOPROP_COUNTS(SUBTRACT)
#undef SUBTRACT
}

static void add(noprop_kernel_counts *to, const noprop_kernel_counts *what) {
#define ADD(name, meaning) to->name += what->name;
  NOPROP_COUNTS(ADD)
#undef ADD
}

/* Records since the reset, without what was counted up to `before`; those that launched something. */
static int take_counts(noprop_kernel_counts *kernels, const noprop_kernel_counts *before, int known) {
  int found = noprop_counts(kernels, KERNELS_MOST), count = 0;
  if (found > KERNELS_MOST) found = KERNELS_MOST;
  for (int i = 0; i < found; i++) {
    if (i < known) subtract(&kernels[i], &before[i]);
    if (kernels[i].launches > 0) kernels[count++] = kernels[i];
  }
  return count;
}

/* The first time does whatever is prepared once; the second starts with an empty L2; the third, which finds in the L2
 * what the second left, counts. */
static noprop_status count_work(noprop_device *device, struct subject *subject, struct counted *counted) {
  noprop_kernel_counts before[KERNELS_MOST];
  noprop_device_counters launches_before, launches_after;
  subject->work = 1;
  noprop_status status = bench_work(device, subject);
  noprop_counts_reset();
  if (status == NOPROP_OK) status = bench_work(device, subject);
  const int known = noprop_counts(before, KERNELS_MOST);
  counted->cold_dram = (double)noprop_counts_unwritten_bytes();
  for (int i = 0; i < known && i < KERNELS_MOST; i++) {
    counted->cold_dram += (double)before[i].dram_read_bytes + (double)before[i].dram_written_bytes;
    counted->compulsory += 32.0 * (double)before[i].distinct_loaded_sectors + (double)before[i].distinct_stored_bytes;
  }
  counted->least_flops = subject->flops;
  noprop_device_get_counters(device, &launches_before);
  if (status == NOPROP_OK) status = bench_work(device, subject);
  noprop_device_get_counters(device, &launches_after);
  counted->count = take_counts(counted->kernels, before, known);
  /* Kernels of graphs are launched with their graph. */
  const double graphs = (double)(launches_after.graph_launches - launches_before.graph_launches);
  counted->host_launches = graphs > 0 ? graphs : (double)(launches_after.launches - launches_before.launches);
  return status;
}

/* Kernels run one after the other: their times add up. */
static void find_bounds(struct counted *counted, const noprop_gpu *gpu) {
  double one_after_the_other = 0, placed = 0;
  for (int i = 0; i < counted->count; i++) add(&counted->total, &counted->kernels[i]);
  if (gpu == NULL) return;
  for (int i = 0; i < counted->count; i++) {
    noprop_counts_bound(&counted->kernels[i], 0, gpu, &counted->bounds[i]);
    one_after_the_other += counted->bounds[i].largest;
    placed += counted->bounds[i].placed_issue;
  }
  noprop_counts_bound(&counted->total, counted->host_launches, gpu, &counted->total_bounds);
  counted->total_bounds.placed_issue = placed;
  if (one_after_the_other > counted->total_bounds.largest) {
    counted->total_bounds.largest = one_after_the_other;
    counted->total_bounds.largest_name = "the kernels' sum";
  }
}

/* Without launches, which are no unit of the GPU. */
static double tightest_unit(const noprop_bounds *bounds) {
  double largest = 0;
#define LARGER(name, meaning) \
  if (&bounds->name != &bounds->launch && bounds->name > largest) largest = bounds->name;
  NOPROP_BOUNDS(LARGER)
#undef LARGER
  return largest;
}

/* ---- for people -------------------------------------------------------------------------------------------------- */

struct row {
  const char *label;
  size_t offset;
};

static unsigned long long count_at(const noprop_kernel_counts *counts, size_t offset) {
  unsigned long long value;
  memcpy(&value, (const char *)counts + offset, sizeof value);
  return value;
}

static const struct row WORK_ROWS[] = {
#define ROW(label, name) \
  { label, offsetof(noprop_kernel_counts, name) }
    ROW("launches", launches),
    ROW("blocks", blocks),
    ROW("warp instructions", warp_instructions),
    ROW("  integer", integer_instructions),
    ROW("  fp32", fp32_instructions),
    ROW("  fp64", fp64_instructions),
    ROW("  half", fp16_instructions),
    ROW("  special functions", special_instructions),
    ROW("  conversions", conversion_instructions),
    ROW("  moves, comparisons", move_instructions),
    ROW("  between lanes", exchange_instructions),
    ROW("  loads", load_instructions),
    ROW("  stores", store_instructions),
    ROW("  atomics", atomic_instructions),
    ROW("  parameters, constants", constant_instructions),
    ROW("  mma", matrix_instructions),
    ROW("  control", control_instructions),
    ROW("  barriers", barrier_instructions),
    ROW("  others", other_instructions),
    ROW("thread instructions", thread_instructions),
    ROW("branches", branches),
    ROW("  divergent", divergent_branches),
    ROW("fp32 FMA", fp32_fma),
    ROW("fp32 add", fp32_add),
    ROW("fp32 mul", fp32_mul),
    ROW("special functions", special_functions),
    ROW("conversions", conversions),
    ROW("mma FLOP f16", tensor_f16_flop),
    ROW("mma FLOP bf16", tensor_bf16_flop),
    ROW("mma FLOP tf32", tensor_tf32_flop),
    ROW("mma FLOP f64", tensor_f64_flop),
    ROW("mma FLOP fp8", tensor_fp8_flop),
    ROW("mma operations, integer", tensor_integer_op),
    ROW("global loads", global_load_requests),
    ROW("  bytes", global_load_bytes),
    ROW("  sectors of 32 bytes", global_load_sectors),
    ROW("global stores", global_store_requests),
    ROW("  bytes", global_store_bytes),
    ROW("  sectors of 32 bytes", global_store_sectors),
    ROW("global atomics", global_atomic_requests),
    ROW("  bytes", global_atomic_bytes),
    ROW("  sectors of 32 bytes", global_atomic_sectors),
    ROW("distinct bytes", distinct_bytes),
    ROW("L2 sectors asked for", l2_sectors),
    ROW("  missed", l2_misses),
    ROW("DRAM bytes read", dram_read_bytes),
    ROW("DRAM bytes written", dram_written_bytes),
    ROW("shared accesses", shared_requests),
    ROW("  bytes", shared_bytes),
    ROW("  wavefronts", shared_wavefronts),
    ROW("  bank conflicts", shared_conflicts),
    ROW("local accesses", local_requests),
    ROW("  bytes", local_bytes)
#undef ROW
};

static void launch_rows(struct table *table, const struct counted *counted) {
  table_cell(table, "blocks x threads");
  for (int i = 0; i < counted->count; i++) {
    const noprop_kernel_counts *k = &counted->kernels[i];
    table_cell(table, "%u x %u", k->grid[0] * k->grid[1] * k->grid[2], k->block[0] * k->block[1] * k->block[2]);
  }
  table_cell(table, "%s", "");
  table_cell(table, "registers");
  for (int i = 0; i < counted->count; i++) table_cell(table, "%u", counted->kernels[i].registers);
  table_cell(table, "%s", "");
  table_cell(table, "shared bytes");
  for (int i = 0; i < counted->count; i++)
    table_cell(table, "%u", counted->kernels[i].static_shared + counted->kernels[i].dynamic_shared);
  table_cell(table, "%s", "");
}

static void mean_lanes_row(struct table *table, const struct counted *counted) {
  table_cell(table, "active lanes, mean");
  for (int i = 0; i <= counted->count; i++) {
    const noprop_kernel_counts *k = i < counted->count ? &counted->kernels[i] : &counted->total;
    table_cell(table, "%.2f", k->warp_instructions ? (double)k->active_lanes / (double)k->warp_instructions : 0.0);
  }
}

static void count_rows(struct table *table, const struct counted *counted) {
  for (size_t r = 0; r < sizeof WORK_ROWS / sizeof WORK_ROWS[0]; r++) {
    if (WORK_ROWS[r].offset == offsetof(noprop_kernel_counts, branches)) mean_lanes_row(table, counted);
    if (count_at(&counted->total, WORK_ROWS[r].offset) == 0) continue; /* nothing of the kind */
    table_cell(table, "%s", WORK_ROWS[r].label);
    for (int i = 0; i < counted->count; i++)
      table_cell(table, "%llu", count_at(&counted->kernels[i], WORK_ROWS[r].offset));
    table_cell(table, "%llu", count_at(&counted->total, WORK_ROWS[r].offset));
  }
}

static void microseconds(struct table *table, double seconds) {
  if (seconds < 0)
    table_cell(table, "-");
  else
    table_cell(table, "%.3f", seconds * 1e6);
}

static void bound_rows(struct table *table, const struct counted *counted) {
  table_cell(table, "occupancy, theory");
  for (int i = 0; i < counted->count; i++) table_cell(table, "%.0f %%", 100 * counted->bounds[i].occupancy);
  table_cell(table, "%s", "");
  table_cell(table, "blocks per SM");
  for (int i = 0; i < counted->count; i++) table_cell(table, "%d", counted->bounds[i].resident_blocks);
  table_cell(table, "%s", "");
#define BOUND_ROW(name, meaning)                                                         \
  table_cell(table, meaning);                                                            \
  for (int i = 0; i < counted->count; i++) microseconds(table, counted->bounds[i].name); \
  microseconds(table, counted->total_bounds.name);
  NOPROP_BOUNDS(BOUND_ROW)
#undef BOUND_ROW
  table_cell(table, "largest");
  for (int i = 0; i < counted->count; i++) microseconds(table, counted->bounds[i].largest);
  microseconds(table, counted->total_bounds.largest);
  table_cell(table, "tightest unit");
  for (int i = 0; i < counted->count; i++) table_cell(table, "%s", counted->bounds[i].largest_name);
  table_cell(table, "%s", counted->total_bounds.largest_name);
  table_cell(table, "issue of the PTX");
  for (int i = 0; i < counted->count; i++) microseconds(table, counted->bounds[i].issue);
  microseconds(table, counted->total_bounds.issue);
  table_cell(table, "  in whole blocks");
  for (int i = 0; i < counted->count; i++) microseconds(table, counted->bounds[i].placed_issue);
  microseconds(table, counted->total_bounds.placed_issue);
}

/* Operations on matrices: those of mma where there are any, else of the multiply-adds, which do other work, too. */
static double matrix_flops(const noprop_kernel_counts *counts) {
  const double tensor =
      (double)counts->tensor_f16_flop + (double)counts->tensor_bf16_flop + (double)counts->tensor_tf32_flop;
  return tensor > 0 ? tensor : 2.0 * (double)counts->fp32_fma;
}

static double conflict_share(const noprop_kernel_counts *counts) {
  return counts->shared_wavefronts ? (double)counts->shared_conflicts / (double)counts->shared_wavefronts : 0;
}

/* How far the work is from the least that any program could do. */
static void print_distance(const struct counted *counted, const noprop_gpu *gpu) {
  printf("Distance from the least possible:\n  matrix products: %.4g FLOP, %.2f x the %.4g of the network\n",
         matrix_flops(&counted->total), matrix_flops(&counted->total) / counted->least_flops, counted->least_flops);
  printf("  shared memory: %.4g wavefronts, %.2f x those without conflicts (%.1f %% are conflicts)\n",
         (double)counted->total.shared_wavefronts,
         counted->total.shared_wavefronts > counted->total.shared_conflicts
             ? (double)counted->total.shared_wavefronts /
                   (double)(counted->total.shared_wavefronts - counted->total.shared_conflicts)
             : 1.0,
         100 * conflict_share(&counted->total));
  if (gpu == NULL) return;
  printf("  DRAM, L2 empty at the start: %.4g bytes, %.2f x the compulsory %.4g\n", counted->cold_dram,
         counted->cold_dram / counted->compulsory, counted->compulsory);
  printf("  issue slots: %.2f x the time of the tightest unit\n",
         counted->total_bounds.issue / tightest_unit(&counted->total_bounds));
}

static void heading(struct table *table, const struct counted *counted, const char *first) {
  table_cell(table, "%s", first);
  for (int i = 0; i < counted->count; i++) table_cell(table, "%s", counted->kernels[i].kernel);
  table_cell(table, "all");
}

static void describe(char *text, size_t size, const struct bench_case *what) {
  if (what->batch > 0)
    snprintf(text, size, "%s, %s, batch %d, dropout %g", what->bench, what->network, what->batch, what->dropout);
  else
    snprintf(text, size, "%s, %s, %ld rows, %d %s steps", what->bench, what->network, what->rows, what->steps,
             what->method);
}

static void print_tables(const struct subject *subject, const struct counted *counted, const noprop_gpu *gpu) {
  char title[200];
  describe(title, sizeof title, &subject->what);
  printf("%s: one %s, counted\n\n", title, subject->what.batch > 0 ? "step" : "solve");
  struct table *table = table_create(counted->count + 2);
  heading(table, counted, "kernel");
  launch_rows(table, counted);
  count_rows(table, counted);
  table_print(table);
  const bool compiled = counted->count > 0 && counted->kernels[0].registers_are_compiled;
  printf("\nRegisters: %s.\n", compiled ? "as ptxas reports" : "alive at once in the PTX, as there is no ptxas");
  if (gpu != NULL) {
    printf("\nLower bounds in microseconds for %s: a bound, never a measurement\n\n", gpu->title);
    table = table_create(counted->count + 2);
    heading(table, counted, "bound");
    bound_rows(table, counted);
    table_print(table);
    putchar('\n');
    for (int i = 0; i < counted->count; i++)
      printf("Occupancy of %s: limited by %s.\n", counted->kernels[i].kernel, counted->bounds[i].occupied_by);
    printf("Largest bound: %s.%s\n", counted->total_bounds.largest_name,
           gpu->l2_bandwidth.value > 0 ? "" : " The L2's bandwidth of this GPU is not published.");
    putchar('\n');
  }
  print_distance(counted, gpu);
  putchar('\n');
}

/* ---- for programs ------------------------------------------------------------------------------------------------ */

static void bound_json(struct json *json, const char *key, double seconds) {
  if (seconds >= 0) json_number(json, key, seconds * 1e6);
}

static void print_json(const struct subject *subject, const struct counted *counted, const noprop_kernel_counts *counts,
                       const noprop_gpu *gpu, const noprop_bounds *bounds, bool is_total) {
  struct json json = {0};
  json_text(&json, "bench", subject->what.bench);
  json_text(&json, "network", subject->what.network);
  json_text(&json, "hidden", bench_hidden(&subject->what));
  json_text(&json, "precision", subject->what.precision ? subject->what.precision : "fp32");
  if (subject->what.batch > 0) {
    json_integer(&json, "batch", subject->what.batch);
    json_number(&json, "dropout", subject->what.dropout);
  } else {
    json_integer(&json, "rows", subject->what.rows);
    json_integer(&json, "steps", subject->what.steps);
    json_text(&json, "method", subject->what.method);
  }
  json_text(&json, "kernel", is_total ? "all" : counts->kernel);
  if (!is_total) {
    json_integer(&json, "grid", counts->grid[0] * counts->grid[1] * counts->grid[2]);
    json_integer(&json, "block", counts->block[0] * counts->block[1] * counts->block[2]);
    json_integer(&json, "static_shared", counts->static_shared);
    json_integer(&json, "dynamic_shared", counts->dynamic_shared);
    json_integer(&json, "local_memory", counts->local_memory);
    json_integer(&json, "registers", counts->registers);
    json_text(&json, "registers_from", counts->registers_are_compiled ? "ptxas" : "lifetimes in the PTX");
  }
#define COUNT_JSON(name, meaning) json_integer(&json, #name, (long long)counts->name);
  NOPROP_COUNTS(COUNT_JSON)
#undef COUNT_JSON
  if (is_total) {
    json_number(&json, "matrix_flops", matrix_flops(counts));
    json_number(&json, "least_matrix_flops", counted->least_flops);
    json_number(&json, "host_launches", counted->host_launches);
  }
  json_number(&json, "conflict_share", conflict_share(counts));
  if (gpu != NULL) {
    json_text(&json, "gpu", gpu->name);
    if (is_total) {
      json_number(&json, "cold_dram_bytes", counted->cold_dram);
      json_number(&json, "compulsory_bytes", counted->compulsory);
    }
    if (!is_total) {
      json_number(&json, "occupancy", bounds->occupancy);
      json_text(&json, "occupied_by", bounds->occupied_by);
    }
#define BOUND_JSON(name, meaning) bound_json(&json, "bound_" #name "_microseconds", bounds->name);
    NOPROP_BOUNDS(BOUND_JSON)
#undef BOUND_JSON
    bound_json(&json, "issue_microseconds", bounds->issue);
    bound_json(&json, "placed_issue_microseconds", bounds->placed_issue);
    bound_json(&json, "tightest_unit_microseconds", tightest_unit(bounds));
    bound_json(&json, "bound_microseconds", bounds->largest);
    json_text(&json, "bound_by", bounds->largest_name);
  }
  json_end(&json);
}

noprop_status counts_print(struct cli *cli, noprop_device *device, struct subject *subject) {
  const noprop_gpu *gpu = NULL;
  const char *name = argument_text(cli, "--gpu", 0);
  struct counted *counted = calloc(1, sizeof *counted);
  if (counted == NULL) return NOPROP_OUT_OF_MEMORY;
  noprop_status status = name != NULL ? noprop_gpu_find(name, &gpu) : NOPROP_OK;
  if (status == NOPROP_OK) status = count_work(device, subject, counted);
  progress_clear(cli);
  if (status == NOPROP_OK) {
    find_bounds(counted, gpu);
    for (int i = 0; i < counted->count && cli->json; i++)
      print_json(subject, counted, &counted->kernels[i], gpu, &counted->bounds[i], false);
    if (cli->json)
      print_json(subject, counted, &counted->total, gpu, &counted->total_bounds, true);
    else
      print_tables(subject, counted, gpu);
  }
  free(counted);
  return status;
}
