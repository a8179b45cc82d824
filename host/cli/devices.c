/* noprop devices: what there is to compute on, and which one `auto` takes. */
#include "host/cli/cli.h"

static int run(struct cli *cli) {
  noprop_device *device = NULL;
  noprop_device_properties taken = {0};
  int count = 0;
  int code = open_device(cli, &device);
  if (code != EXIT_DONE) return code;
  noprop_status status = noprop_device_get_properties(device, &taken);
  if (status == NOPROP_OK) status = noprop_device_list(0, NULL, &count);
  struct table *table = cli->json ? NULL : table_create(8);
  const char *headings[] = {"device", "name", "compute", "SMs", "memory", "shared/block", "CUDA", ""};
  for (int i = 0; !cli->json && i < 8; i++) table_cell(table, "%s", headings[i]);
  for (int i = 0; status == NOPROP_OK && i < count; i++) {
    noprop_device_properties p;
    char name[32] = "virtual";
    status = noprop_device_list(i, &p, &count);
    if (status != NOPROP_OK) break;
    if (!p.is_virtual) snprintf(name, sizeof name, "gpu:%d", p.ordinal);
    bool is_taken = p.is_virtual == taken.is_virtual && p.ordinal == taken.ordinal;
    if (cli->json) {
      struct json json = {0};
      json_text(&json, "device", name);
      json_text(&json, "name", p.name);
      json_bool(&json, "virtual", p.is_virtual);
      json_bool(&json, "taken", is_taken);
      json_integer(&json, "compute_major", p.compute_capability[0]);
      json_integer(&json, "compute_minor", p.compute_capability[1]);
      json_integer(&json, "multiprocessors", p.multiprocessors);
      json_integer(&json, "memory_bytes", (long long)p.memory_bytes);
      json_integer(&json, "shared_bytes", (long long)p.shared_bytes);
      json_integer(&json, "driver_version", p.driver_version);
      if (is_taken) json_text(&json, "reason", noprop_device_reason(device));
      json_end(&json);
      continue;
    }
    table_cell(table, "%s", name);
    table_cell(table, "%s", p.name);
    table_cell(table, "%d.%d", p.compute_capability[0], p.compute_capability[1]);
    table_cell(table, "%d", p.multiprocessors);
    table_cell(table, "%.1f GiB", (double)p.memory_bytes / 1073741824.0);
    table_cell(table, "%zu KiB", p.shared_bytes / 1024);
    table_cell(table, "%d.%d", p.driver_version / 1000, p.driver_version % 1000 / 10);
    table_cell(table, "%s", is_taken ? "<- taken" : "");
  }
  table_print(table);
  if (status == NOPROP_OK && !cli->json) printf("%s\n", noprop_device_reason(device));
  code = fail_status(cli, status);
  noprop_device_close(device);
  return code;
}

static const struct argument ARGUMENTS[] = {{0}};

const struct command COMMAND_DEVICES = {
    "devices",
    "lists GPUs and the virtual GPU, and says which one is taken and why",
    ARGUMENTS,
    "Without --device the first usable GPU is taken, else the virtual GPU, which executes the same kernels on the "
    "CPU.\n"
    "NOPROP_VGPU_THREADS sets its CPU threads, NOPROP_CACHE the folder of compiled kernels.",
    "noprop devices\nnoprop --device gpu:1 devices\nnoprop devices --json",
    run,
    true};
