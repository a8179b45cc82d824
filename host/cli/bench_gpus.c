/* noprop bench --gpus: the GPUs that bounds are known for, with where each figure was published. */
#include "host/cli/bench.h"

static void print_people(const noprop_gpu *gpu) {
  printf("%s: %s, compute capability %d.%d\n", gpu->name, gpu->title, gpu->capability / 10, gpu->capability % 10);
  struct table *table = table_create(4);
  const char *const headings[] = {"figure", "value", "unit", "source"};
  for (int i = 0; i < 4; i++) table_cell(table, "%s", headings[i]);
#define FIGURE_ROW(name, unit, meaning)         \
  if (gpu->name.value > 0) {                    \
    table_cell(table, "%s", meaning);           \
    table_cell(table, "%.6g", gpu->name.value); \
    table_cell(table, "%s", unit);              \
    table_cell(table, "%s", gpu->name.source);  \
  }
  NOPROP_GPU_FIGURES(FIGURE_ROW)
#undef FIGURE_ROW
  table_print(table);
  putchar('\n');
}

static void print_json(const noprop_gpu *gpu) {
  struct json json = {0};
  json_text(&json, "gpu", gpu->name);
  json_text(&json, "title", gpu->title);
  json_integer(&json, "capability", gpu->capability);
  json_integer(&json, "threads_per_sm", gpu->threads_per_sm);
  json_integer(&json, "blocks_per_sm", gpu->blocks_per_sm);
  json_integer(&json, "registers_per_sm", gpu->registers_per_sm);
  json_integer(&json, "shared_per_sm", gpu->shared_per_sm);
  json_integer(&json, "shared_unit", gpu->shared_unit);
  json_integer(&json, "shared_overhead", gpu->shared_overhead);
#define FIGURE_JSON(name, unit, meaning)                 \
  if (gpu->name.value > 0) {                             \
    json_number(&json, #name, gpu->name.value);          \
    json_text(&json, #name "_source", gpu->name.source); \
  }
  NOPROP_GPU_FIGURES(FIGURE_JSON)
#undef FIGURE_JSON
  json_end(&json);
}

void gpus_print(const struct cli *cli) {
  for (int i = 0; noprop_gpu_at(i) != NULL; i++)
    cli->json ? print_json(noprop_gpu_at(i)) : print_people(noprop_gpu_at(i));
}
